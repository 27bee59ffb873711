//! Medians and the table.

use super::*;

#[test]
fn the_median_is_the_middle_or_the_mean_of_the_two_middle_values() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    assert!(median(&[]).is_nan());
}

#[test]
fn a_row_has_both_medians_and_their_ratio() {
    let ours = Samples::from([("2 boot, s".to_owned(), vec![1.0, 2.0, 3.0])]);
    let theirs = Samples::from([("2 boot, s".to_owned(), vec![4.0])]);
    let text = table(&ours, &theirs);
    assert!(text.ends_with("| boot, s | 2.000 | 1.000-3.000 | 4.000 | 4.000-4.000 | 2.00 |\n"), "{text}");
    assert!(table(&ours, &Samples::new()).ends_with("| - | - | - |\n"));
}
