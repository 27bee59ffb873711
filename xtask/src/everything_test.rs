//! Reading the counts of `cargo test`.

use super::counts;

#[test]
fn the_result_line_is_read() {
    let line =
        "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
    assert_eq!(counts(line), Some((12, 3)));
    assert_eq!(counts("test a ... ok"), None);
}
