//! Real-time clocks.

pub mod goldfish_rtc;
