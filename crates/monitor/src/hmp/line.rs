//! Editing of a line: what the keys of a terminal do to it, and what is sent back so that the user sees it.

/// Longest line taken, in bytes.
const LONGEST: usize = 4095;
/// Lines remembered.
const MEMORY: usize = 64;

/// A line being typed.
#[derive(Default)]
pub struct Line {
    text: Vec<char>,
    cursor: usize,
    escape: Escape,
    history: Vec<String>,
    /// Place in the history; its length while the line is a new one.
    place: usize,
    /// Bytes of a character that are still to come.
    partial: Vec<u8>,
    /// The last byte was a carriage return: a line feed after it is none of its own.
    returned: bool,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum Escape {
    #[default]
    None,
    Begun,
    Sequence(u32),
}

/// What a byte led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// Nothing to be done but to send what is to be seen.
    More,
    /// The line is finished.
    Finished(String),
    /// The line is to be completed: the text before the cursor.
    Complete(String),
}

impl Line {
    /// Takes a byte; what is to be seen is put into `echo`.
    pub fn push(&mut self, byte: u8, echo: &mut String) -> Typed {
        let returned = std::mem::take(&mut self.returned);
        match (self.escape, byte) {
            (Escape::Begun, b'[' | b'O') => self.escape = Escape::Sequence(0),
            (Escape::Begun, _) => self.escape = Escape::None,
            (Escape::Sequence(n), b'0'..=b'9') => {
                self.escape = Escape::Sequence(n.wrapping_mul(10).wrapping_add(u32::from(byte - b'0')));
            }
            (Escape::Sequence(n), _) => {
                self.escape = Escape::None;
                self.special(n, byte, echo);
            }
            (Escape::None, b'\n') if returned => {}
            (Escape::None, b'\r' | b'\n') => {
                self.returned = byte == b'\r';
                return self.finish(echo);
            }
            (Escape::None, b'\t') => return Typed::Complete(self.text[..self.cursor].iter().collect()),
            (Escape::None, 27) => self.escape = Escape::Begun,
            (Escape::None, _) => self.key(byte, echo),
        }
        Typed::More
    }

    fn finish(&mut self, echo: &mut String) -> Typed {
        echo.push_str("\r\n");
        let line: String = std::mem::take(&mut self.text).into_iter().collect();
        self.cursor = 0;
        if !line.trim().is_empty() && self.history.last() != Some(&line) {
            self.history.push(line.clone());
            if self.history.len() > MEMORY {
                self.history.remove(0);
            }
        }
        self.place = self.history.len();
        Typed::Finished(line)
    }

    fn key(&mut self, byte: u8, echo: &mut String) {
        match byte {
            1 => self.go(0, echo),
            2 => self.go(self.cursor.saturating_sub(1), echo),
            4 => self.erase(self.cursor, self.cursor + 1, echo),
            5 => self.go(self.text.len(), echo),
            6 => self.go(self.cursor + 1, echo),
            8 | 127 => self.erase(self.cursor.saturating_sub(1), self.cursor, echo),
            11 => self.erase(self.cursor, self.text.len(), echo),
            14 => self.remember(1, echo),
            16 => self.remember(-1, echo),
            21 => self.erase(0, self.cursor, echo),
            23 => {
                let before = &self.text[..self.cursor];
                let end = before.iter().rposition(|c| *c != ' ').map_or(0, |n| n + 1);
                let start = before[..end].iter().rposition(|c| *c == ' ').map_or(0, |n| n + 1);
                self.erase(start, self.cursor, echo);
            }
            32.. => self.character(byte, echo),
            _ => {}
        }
    }

    fn character(&mut self, byte: u8, echo: &mut String) {
        self.partial.push(byte);
        match std::str::from_utf8(&self.partial) {
            Ok(text) => {
                let text = text.to_owned();
                self.partial.clear();
                self.insert(&text, echo);
            }
            // Up to four bytes may be the beginning of a character.
            Err(error) if error.error_len().is_none() && self.partial.len() < 4 => {}
            Err(_) => self.partial.clear(),
        }
    }

    /// Inserts text at the cursor.
    pub fn insert(&mut self, text: &str, echo: &mut String) {
        for c in text.chars() {
            if self.text.len() >= LONGEST {
                return;
            }
            self.text.insert(self.cursor, c);
            self.cursor += 1;
            echo.push(c);
        }
        self.redraw_rest(0, echo);
    }

    /// Shows what follows the cursor again, with `gone` characters less than before.
    fn redraw_rest(&self, gone: usize, echo: &mut String) {
        let rest = &self.text[self.cursor..];
        echo.extend(rest);
        echo.extend(std::iter::repeat_n(' ', gone));
        echo.extend(std::iter::repeat_n('\x08', rest.len() + gone));
    }

    fn go(&mut self, to: usize, echo: &mut String) {
        let to = to.min(self.text.len());
        if to < self.cursor {
            echo.extend(std::iter::repeat_n('\x08', self.cursor - to));
        } else {
            echo.extend(&self.text[self.cursor..to]);
        }
        self.cursor = to;
    }

    fn erase(&mut self, from: usize, to: usize, echo: &mut String) {
        let to = to.min(self.text.len());
        if from >= to {
            return;
        }
        self.go(from, echo);
        self.text.drain(from..to);
        self.redraw_rest(to - from, echo);
    }

    fn remember(&mut self, step: isize, echo: &mut String) {
        let Some(place) = self.place.checked_add_signed(step).filter(|p| *p <= self.history.len()) else {
            return;
        };
        self.place = place;
        let text = self.history.get(place).cloned().unwrap_or_default();
        self.erase(0, self.text.len(), echo);
        self.insert(&text, echo);
    }

    fn special(&mut self, number: u32, last: u8, echo: &mut String) {
        match (number, last) {
            (_, b'A') => self.remember(-1, echo),
            (_, b'B') => self.remember(1, echo),
            (_, b'C') => self.go(self.cursor + 1, echo),
            (_, b'D') => self.go(self.cursor.saturating_sub(1), echo),
            (_, b'H') | (1 | 7, b'~') => self.go(0, echo),
            (_, b'F') | (4 | 8, b'~') => self.go(self.text.len(), echo),
            (3, b'~') => self.erase(self.cursor, self.cursor + 1, echo),
            _ => {}
        }
    }

    /// The lines so far, the oldest first.
    pub fn history(&self) -> &[String] {
        &self.history
    }

    /// The text so far, to be shown again after other output.
    pub fn text(&self) -> String {
        self.text.iter().collect()
    }
}

#[cfg(test)]
#[path = "line_test.rs"]
mod test;
