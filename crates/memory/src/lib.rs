//! Guest memory.
#![forbid(unsafe_code)]
