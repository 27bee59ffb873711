use super::*;

fn round_trip(page: &[u8; PAGE]) -> usize {
    let mut out = vec![1, 2, 3];
    let form = pack(page, &mut out);
    let mut back = [7; PAGE];
    unpack(&out[3..], &mut back).unwrap();
    assert_eq!(&back, page);
    assert_eq!(form, Form::Bytes((out.len() - 3) as u16));
    assert_eq!(Form::from_number(form.to_number()), Some(form));
    out.len() - 3
}

#[test]
fn pages_come_back() {
    assert!(is_zero(&[0; PAGE]));
    let mut page = [0; PAGE];
    page[4095] = 1;
    assert!(!is_zero(&page));
    assert!(round_trip(&page) < 64);
    let mut x = 1u64;
    for b in &mut page {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *b = (x >> 56) as u8;
    }
    assert_eq!(round_trip(&page), PAGE);
    assert_ne!(fingerprint(&page), fingerprint(&[0; PAGE]));
}

#[test]
fn damaged_pages_are_refused() {
    let mut page = [0; PAGE];
    assert!(unpack(&[1; 4095], &mut page).is_err());
    assert!(unpack(&[0x10, 1], &mut page).is_err());
    assert_eq!(Form::from_number(5000), None);
}
