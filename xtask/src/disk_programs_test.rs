use super::*;

#[test]
fn fio_has_written_and_read_without_an_error() {
    assert_eq!(fio_figures("0;65536;65536").unwrap(), "64 MiB written, 64 MiB read and verified");
    for bad in ["84;65536;65536", "0;0;65536", "0;65536;0", "fio: not found", ""] {
        assert!(fio_figures(bad).is_none(), "{bad}");
    }
}
