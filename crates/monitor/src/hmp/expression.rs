//! Expressions: numbers, characters, registers (`$pc`), `+ - & | ^ * / %`, unary `+ - ~`, parentheses.
//!
//! The logical operators bind tighter than sums and looser than products.

use base::{Result, error};

/// Reads the value of a register by its name.
pub type Registers<'a> = &'a dyn Fn(&str) -> Option<u64>;

/// Deepest nesting of parentheses and signs.
const DEPTH: u32 = 64;

/// Evaluates the expression at the start of `text` and returns what follows it.
pub fn evaluate<'t>(text: &'t str, registers: Registers<'_>) -> Result<(i64, &'t str)> {
    let mut parser = Parser { rest: text, registers, depth: 0 };
    let value = parser.sum()?;
    Ok((value, parser.rest))
}

struct Parser<'t, 'r> {
    rest: &'t str,
    registers: Registers<'r>,
    depth: u32,
}

impl<'t> Parser<'t, '_> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }
    fn bump(&mut self) {
        let mut chars = self.rest.chars();
        chars.next();
        self.rest = chars.as_str();
    }
    fn operator(&mut self, among: &str) -> Option<char> {
        let c = self.peek().filter(|c| among.contains(*c))?;
        self.bump();
        Some(c)
    }

    fn sum(&mut self) -> Result<i64> {
        let mut value = self.logic()?;
        while let Some(operator) = self.operator("+-") {
            let right = self.logic()?;
            value = if operator == '+' { value.wrapping_add(right) } else { value.wrapping_sub(right) };
        }
        Ok(value)
    }

    fn logic(&mut self) -> Result<i64> {
        let mut value = self.product()?;
        while let Some(operator) = self.operator("&|^") {
            let right = self.product()?;
            value = match operator {
                '&' => value & right,
                '|' => value | right,
                _ => value ^ right,
            };
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<i64> {
        let mut value = self.unary()?;
        while let Some(operator) = self.operator("*/%") {
            let right = self.unary()?;
            value = match operator {
                '*' => value.wrapping_mul(right),
                _ if right == 0 => return Err(error!("division by zero")),
                '/' => value.wrapping_div(right),
                _ => value.wrapping_rem(right),
            };
        }
        Ok(value)
    }

    fn unary(&mut self) -> Result<i64> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(error!("expression is nested too deeply"));
        }
        let value = self.operand();
        self.depth -= 1;
        value
    }

    fn operand(&mut self) -> Result<i64> {
        let Some(c) = self.peek() else { return Err(error!("unexpected end of expression")) };
        match c {
            '+' => {
                self.bump();
                self.unary()
            }
            '-' => {
                self.bump();
                Ok(self.unary()?.wrapping_neg())
            }
            '~' => {
                self.bump();
                Ok(!self.unary()?)
            }
            '(' => {
                self.bump();
                let value = self.sum()?;
                match self.operator(")") {
                    Some(_) => Ok(value),
                    None => Err(error!("')' expected")),
                }
            }
            '\'' => {
                self.bump();
                let Some(value) = self.rest.chars().next() else {
                    return Err(error!("character constant expected"));
                };
                self.bump();
                if !self.rest.starts_with('\'') {
                    return Err(error!("missing terminating ' character"));
                }
                self.bump();
                Ok(i64::from(u32::from(value)))
            }
            '$' => {
                self.bump();
                let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
                (self.registers)(name).map(|v| v as i64).ok_or_else(|| error!("unknown register"))
            }
            '0'..='9' => {
                let digits = self.word(|c| c.is_ascii_alphanumeric());
                number(digits).ok_or_else(|| error!("invalid char '{}' in expression", bad_digit(digits)))
            }
            other => Err(error!("invalid char '{other}' in expression")),
        }
    }

    fn word(&mut self, part: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }
}

fn number(digits: &str) -> Option<i64> {
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    u64::from_str_radix(digits, radix).ok().map(|n| n as i64)
}

fn bad_digit(digits: &str) -> char {
    digits.chars().skip(1).find(|c| !c.is_ascii_digit()).unwrap_or('0')
}

#[cfg(test)]
#[path = "expression_test.rs"]
mod test;
