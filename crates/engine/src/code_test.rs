use super::*;

#[test]
fn gathering_changes_no_byte_and_ends_with_the_memory() {
    let code = CodeMemory::new(3 << HUGE_BITS).unwrap();
    let places = [0, 4096, (1 << HUGE_BITS) - 8, 1 << HUGE_BITS, (3 << HUGE_BITS) - 8];
    for (n, &at) in places.iter().enumerate() {
        code.write(at, &[n as u8 + 1; 8]);
    }
    for at in [0, 1 << HUGE_BITS, 0, (3 << HUGE_BITS) - 1, 3 << HUGE_BITS] {
        code.gather(at);
    }
    for (n, &at) in places.iter().enumerate() {
        assert_eq!(code.read(at, 8), [n as u8 + 1; 8], "{at:#x}");
    }
    assert!(code.gathered.iter().all(|g| g.load(Relaxed)), "asked once, or never to be");
}
