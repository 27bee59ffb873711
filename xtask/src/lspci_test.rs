use super::*;

#[test]
fn lines_of_one_side_are_found() {
    let ours = functions("0000:00:00.0 Host bridge\n\tA\n\tB\n\n0000:00:01.0 Port\n\tC\n");
    let theirs = functions("0000:00:00.0 Host bridge\n\tB\n\tD\n");
    assert_eq!(ours.len(), 2);
    let lines = difference(&ours["0000:00:00.0"], &theirs["0000:00:00.0"]);
    assert_eq!(lines, ["here:  A", "there: D"]);
    assert!(difference(&ours["0000:00:01.0"], &ours["0000:00:01.0"]).is_empty());
}
