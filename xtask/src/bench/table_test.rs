use super::*;
use std::path::PathBuf;

fn side(name: &'static str, rows: &[(&str, &[f64])]) -> Side {
    let samples = rows.iter().map(|(what, values)| ((*what).to_owned(), values.to_vec())).collect();
    Side { name, program: PathBuf::new(), extra: "", samples }
}

#[test]
fn the_median_is_the_middle_or_the_mean_of_the_two_middle_values() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    assert!(median(&[]).is_nan());
}

#[test]
fn a_row_has_all_medians_and_their_ratios() {
    let sides =
        [side("a", &[("2 boot, s", &[1.0, 2.0, 3.0])]), side("b", &[("2 boot, s", &[4.0])]), side("c", &[])];
    let text = table(&sides);
    assert!(text.starts_with("| what | a | range | b | range | b / a | c | range | c / a |\n"), "{text}");
    assert!(
        text.ends_with("| boot, s | 2.000 | 1.000-3.000 | 4.000 | 4.000-4.000 | 2.00 | - | - | - |\n"),
        "{text}"
    );
}

#[test]
fn kinds_have_geometric_means() {
    let sides = [
        side("a", &[("4 float: fft, s", &[1.0]), ("4 float: matrix, s", &[2.0]), ("1 other", &[1.0])]),
        side("b", &[("4 float: fft, s", &[2.0]), ("4 float: matrix, s", &[16.0])]),
    ];
    let text = table(&sides);
    assert!(text.ends_with("\n| **float, geometric mean** | | | | least 2.00 | **4.00** |\n"), "{text}");
}
