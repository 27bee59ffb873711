use super::*;

#[test]
fn sizes_and_clocks_as_the_reference_writes_them() {
    for (bytes, text) in [(684_032, "668 KiB"), (67_108_864, "64 MiB"), (1_793_065, "1.71 MiB"), (0, "0 B")] {
        assert_eq!(size(bytes), text);
    }
    assert_eq!(clock(2_005_900_000), "0000:00:02.005");
}
