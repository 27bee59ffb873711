use super::*;

#[test]
fn numbers() {
    assert_eq!(Endian::Little.number(&[1, 2, 3]), 0x030201);
    assert_eq!(Endian::Big.number(&[1, 2, 3]), 0x010203);
    let mut b = [0; 3];
    Endian::Big.store(0x0a0b_0c0d, &mut b);
    assert_eq!(b, [0x0b, 0x0c, 0x0d]);
    Endian::Little.store(0x0a0b_0c0d, &mut b);
    assert_eq!(b, [0x0d, 0x0c, 0x0b]);
    assert_eq!(swap(0x1234, 2), 0x3412);
    assert_eq!(swap(0x12, 1), 0x12);
    assert_eq!(swap(0x1234_5678, 4), 0x7856_3412);
}

#[test]
fn cells() {
    assert_eq!(Be::<u32>::new(0x0102_0304).bytes(), [1, 2, 3, 4]);
    assert_eq!(Le::<u16>::from_bytes([1, 2]).get(), 0x201);
    let mut c = Be::<u64>::default();
    c.set(7);
    assert_eq!(u64::from(c), 7);
}
