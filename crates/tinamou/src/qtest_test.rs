use super::*;

#[test]
fn numbers_and_bytes() {
    assert_eq!(number(Some("0x1F")), Ok(31));
    assert_eq!(number(Some("12")), Ok(12));
    assert!(number(Some("x")).is_err() && number(None).is_err() && number(Some("0x1_0")).is_err());
    assert_eq!(hex(&[0, 0xab, 7]), "00ab07");
    assert_eq!(from_hex("0x00aB07"), Ok(vec![0, 0xab, 7]));
    assert!(from_hex("00").is_err() && from_hex("0xzz").is_err());
    // The examples of RFC 4648, section 10.
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(bytes.as_bytes()), text);
        assert_eq!(from_base64(text), Ok(bytes.as_bytes().to_vec()));
    }
    assert!(from_base64("a b").is_err());
    assert!(size(u64::MAX).is_err());
}
