use super::*;

#[test]
fn dates() {
    assert_eq!(parse_date("1970-01-01"), Some(0));
    assert_eq!(parse_date("2006-06-17T16:01:21"), Some(1_150_560_081 * 1_000_000_000));
    assert_eq!(parse_date("2000-02-29"), Some(951_782_400 * 1_000_000_000));
    for bad in ["", "foo", "2006-13-01", "2006-06-17T25:00:00", "1969-01-01", "2006-06"] {
        assert_eq!(parse_date(bad), None, "{bad}");
    }
}
