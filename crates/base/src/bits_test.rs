use super::*;

#[test]
fn fields() {
    assert_eq!(0xabcd_u16.bits(4, 8), 0xbc);
    assert_eq!(0xabcd_u16.range(11, 4), 0xbc);
    assert_eq!(0xabcd_u16.range(3, 4), 0);
    assert_eq!(0xabcd_u16.with_bits(4, 8, 0x5ff), 0xaffd);
    assert_eq!(u64::MAX.bits(0, 64), u64::MAX);
    assert_eq!(u64::MAX.bits(64, 1), 0);
    assert_eq!(0u32.with_bits(28, 8, 0xff), 0xf000_0000);
    assert!(0x80u8.bit(7) && !0x80u8.bit(8));
    assert_eq!(0u8.with_bit(3, true).with_bit(9, true), 8);
}

#[test]
fn signs() {
    assert_eq!(0xfffu64.sign_extend(12), u64::MAX);
    assert_eq!(0x7ffu64.sign_extend(12), 0x7ff);
    assert_eq!(0x8000_0000u64.sign_extend(32) as i64, i64::from(i32::MIN));
    assert_eq!(5u32.sign_extend(32), 5);
}

#[test]
fn alignment() {
    assert_eq!(align_up(1, 4096), Some(4096));
    assert_eq!(align_up(u64::MAX, 4096), None);
    assert_eq!(align_down(8191, 4096), 4096);
}
