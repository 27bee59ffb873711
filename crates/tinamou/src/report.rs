//! What the program says on standard error: with its name in front, and with `-msg` the time and the guest's name.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How messages look.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// The program's name.
    pub program: String,
    /// `-msg timestamp=on`.
    pub timestamp: bool,
    /// The guest's name, if `-msg guest-name=on` wants it.
    pub guest: Option<String>,
}

static STYLE: Mutex<Style> = Mutex::new(Style { program: String::new(), timestamp: false, guest: None });

/// Sets how messages look from now on.
pub fn set(style: Style) {
    *STYLE.lock().unwrap_or_else(PoisonError::into_inner) = style;
}

/// The program's name.
pub fn program() -> String {
    STYLE.lock().unwrap_or_else(PoisonError::into_inner).program.clone()
}

/// Says something.
pub fn say(text: impl Display) {
    let style = STYLE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = if style.timestamp { stamp(now.as_secs(), now.subsec_micros()) + " " } else { String::new() };
    let guest = style.guest.map(|name| name + " ").unwrap_or_default();
    eprintln!("{time}{guest}{}: {text}", style.program);
}

/// A time in UTC as `2026-11-25T18:23:45.123456Z`.
fn stamp(seconds: u64, micros: u32) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March, counted from the year 0: leap days come last.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day = shifted % 146_097;
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod test {
    #[test]
    fn stamps_are_dates() {
        assert_eq!(super::stamp(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(super::stamp(951_782_399, 1), "2000-02-28T23:59:59.000001Z");
        assert_eq!(super::stamp(951_782_400, 0), "2000-02-29T00:00:00.000000Z");
        assert_eq!(super::stamp(1_795_631_189, 21_847), "2026-11-25T18:26:29.021847Z");
    }
}
