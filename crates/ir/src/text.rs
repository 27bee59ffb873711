//! The text form: one line per instruction.
//!
//! ```text
//! insn +0x800
//! v1:i64 = get 10
//! v2:i64 = load.s32 [v1+16]
//! v3:i1 = lts.i64 v2, v1
//! exitif v3 -> +0x840
//! store.u64 [v1-8], v2
//! goto +0x804
//! ```
//!
//! A value is named by the index of its instruction when printed; the parser takes any numbers, as long as each is given
//! once. The type of an instruction is written behind the operation where the result's type does not say it.
//! `#` begins a comment.

use crate::{Block, Inst, MemOp, Op, Ty, Val};
use std::collections::HashMap;
use std::fmt::{self, Write};

const MEMOPS: [&str; 7] = ["u8", "u16", "u32", "u64", "s8", "s16", "s32"];
const AMOS: [&str; 9] = ["swap", "add", "xor", "and", "or", "min", "max", "minu", "maxu"];
const TYPES: [Ty; 5] = [Ty::I1, Ty::I32, Ty::I64, Ty::F32, Ty::F64];

/// The type of operations that have only one.
fn only_type(op: Op) -> Option<Ty> {
    match crate::verify::types(op) {
        [t] => Some(*t),
        _ => None,
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, i) in self.insts.iter().enumerate() {
            print(f, n, i)?;
            f.write_char('\n')?;
        }
        Ok(())
    }
}

fn memop(imm: u64) -> &'static str {
    MEMOPS.get((imm & 0xff) as usize).copied().unwrap_or("?")
}

fn offset(imm: u64) -> String {
    let o = imm as i64;
    format!("{}{:#x}", if o < 0 { '-' } else { '+' }, o.unsigned_abs())
}

fn print(f: &mut fmt::Formatter<'_>, n: usize, i: &Inst) -> fmt::Result {
    let result = i.op.result(i.ty);
    if let Some(t) = result {
        write!(f, "v{n}:{} = ", t.name())?;
    }
    f.write_str(i.op.name())?;
    if result != Some(i.ty) && only_type(i.op) != Some(i.ty) {
        write!(f, ".{}", i.ty.name())?;
    }
    let [a, b, c, d] = i.args;
    match i.op {
        Op::Const => write!(f, " {:#x}", i.imm),
        Op::Get | Op::GetNow => write!(f, " {}", i.imm),
        Op::Set => write!(f, " {}, {a:?}", i.imm),
        Op::PcRel | Op::Insn | Op::Goto | Op::Expect => write!(f, " {}", offset(i.imm)),
        Op::Load | Op::Store => {
            write!(f, ".{} [{a:?}", memop(i.imm))?;
            match MemOp::disp(i.imm) {
                0 => {}
                disp => write!(f, "{disp:+}")?,
            }
            f.write_char(']')?;
            if i.op == Op::Store { write!(f, ", {b:?}") } else { Ok(()) }
        }
        Op::Amo => {
            let kind = AMOS.get((i.imm >> 8) as usize).copied().unwrap_or("?");
            write!(f, ".{kind}.{} [{a:?}], {b:?}", memop(i.imm))
        }
        Op::Cas => write!(f, ".{} [{a:?}], {b:?}, {c:?}", memop(i.imm)),
        Op::StoreCond => write!(f, ".{} {a:?}, [{b:?}], {c:?}, {d:?}", memop(i.imm)),
        Op::Call => {
            write!(f, " {}(", i.imm)?;
            for (k, v) in i.operands().enumerate() {
                write!(f, "{}{v:?}", if k > 0 { ", " } else { "" })?;
            }
            f.write_char(')')
        }
        Op::ExitIf | Op::WillReturn => write!(f, " {a:?} -> {}", offset(i.imm)),
        Op::Jump => write!(f, " {a:?}{}", ["", " call", " return"].get(i.imm as usize).unwrap_or(&" ?")),
        Op::Leave => f.write_str(if i.imm == 1 { " look" } else { "" }),
        _ => {
            for (k, v) in i.operands().enumerate() {
                write!(f, "{}{v:?}", if k > 0 { ", " } else { " " })?;
            }
            Ok(())
        }
    }
}

/// Why a text is not a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ParseError {}

/// Reads the text form. Only the syntax is checked; see [`crate::verify`].
pub fn parse(text: &str) -> Result<Block, ParseError> {
    let mut block = Block::default();
    let mut names = HashMap::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        let (name, inst) = parse_line(line, &names).map_err(|what| ParseError { line: n + 1, what })?;
        if let Some(name) = name
            && names.insert(name, Val(block.insts.len() as u32)).is_some()
        {
            return Err(ParseError { line: n + 1, what: format!("v{name} is given twice") });
        }
        block.insts.push(inst);
    }
    Ok(block)
}

/// Splits a line into words, brackets and commas being spaces; signs inside brackets begin a word.
fn words(line: &str) -> Vec<String> {
    let mut out = String::new();
    let mut inside = false;
    for c in line.chars() {
        match c {
            '[' => {
                inside = true;
                out.push(' ');
            }
            ']' => {
                inside = false;
                out.push(' ');
            }
            ',' | '(' | ')' => out.push(' '),
            '+' | '-' if inside => {
                out.push(' ');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.split_whitespace().filter(|w| *w != "->").map(str::to_owned).collect()
}

fn number(w: &str) -> Result<u64, String> {
    let (negative, digits) = match w.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, w.strip_prefix('+').unwrap_or(w)),
    };
    let n = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    }
    .map_err(|_| format!("`{w}` is not a number"))?;
    Ok(if negative { n.wrapping_neg() } else { n })
}

fn parse_line(line: &str, names: &HashMap<u32, Val>) -> Result<(Option<u32>, Inst), String> {
    let (name, result, rest) = match line.split_once(" = ") {
        Some((left, rest)) => {
            let (v, t) = left.trim().split_once(':').ok_or("the result has no type")?;
            let v = v
                .strip_prefix('v')
                .and_then(|d| d.parse().ok())
                .ok_or_else(|| format!("`{v}` is no name"))?;
            let t =
                TYPES.into_iter().find(|k| k.name() == t.trim()).ok_or_else(|| format!("no type `{t}`"))?;
            (Some(v), Some(t), rest)
        }
        None => (None, None, line),
    };
    let words = words(rest);
    let (head, operands) = words.split_first().ok_or("no operation")?;
    let mut suffixes = head.split('.');
    let op = suffixes.next().and_then(|w| Op::ALL.iter().copied().find(|o| o.name() == w));
    let op = op.ok_or_else(|| format!("no operation `{head}`"))?;
    let mut i = Inst { op, ty: only_type(op).or(result).unwrap_or(Ty::I64), args: [Val::NONE; 4], imm: 0 };
    for s in suffixes {
        if let Some(t) = TYPES.into_iter().find(|t| t.name() == s) {
            i.ty = t;
        } else if let Some(k) = AMOS.iter().position(|a| *a == s) {
            i.imm |= (k as u64) << 8;
        } else if let Some(m) = MEMOPS.iter().position(|m| *m == s) {
            i.imm |= m as u64;
        } else {
            return Err(format!("`{s}` is neither a type nor a size"));
        }
    }
    if i.op.result(i.ty) != result {
        return Err(format!("the result of {} is not as written", op.name()));
    }
    let mut args = 0;
    for (k, w) in operands.iter().enumerate() {
        if let Some(v) = w.strip_prefix('v').and_then(|d| d.parse().ok()) {
            let v = names.get(&v).copied().ok_or_else(|| format!("{w} is not defined"))?;
            *i.args.get_mut(args).ok_or("too many operands")? = v;
            args += 1;
            continue;
        }
        i.imm |= match (op, w.as_str()) {
            (Op::Jump, "call") | (Op::Leave, "look") => 1,
            (Op::Jump, "return") => 2,
            (Op::Load | Op::Store, w) if k == 1 => {
                let disp = i32::try_from(number(w)? as i64).map_err(|_| "displacement out of range")?;
                (disp as u32 as u64) << 32
            }
            (_, w) => number(w)?,
        };
    }
    Ok((name, i))
}

#[cfg(test)]
#[path = "text_test.rs"]
mod test;
