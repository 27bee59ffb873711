use super::*;

#[test]
fn sums_as_the_rfc_does() {
    // RFC 1071, section 3.
    let words = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(sum(0, &words), 0xddf2);
    assert_eq!(finish(sum(0, &words)), !0xddf2);
    assert_eq!(sum(0, &words[..7]), 0xdcfb);
    let halves = sum(sum(0, &words[..4]), &words[4..]);
    assert_eq!(halves, 0xddf2);
}

#[test]
fn finds_headers_in_anything() {
    let mut random = crate::common_test::Random::new("layers");
    for _ in 0..20_000 {
        let mut frame = vec![0; random.below(120) as usize];
        frame.iter_mut().for_each(|byte| *byte = random.value() as u8);
        if random.below(2) == 0 {
            write16(&mut frame, 12, [0x800, 0x86dd][random.below(2) as usize]);
        }
        if let Some(layers) = Layers::of(&frame) {
            assert!(layers.end <= frame.len() && layers.transport <= layers.end);
            let _ =
                (layers.headers(&frame), layers.header_is_right(&frame), layers.transport_is_right(&frame));
        }
        fill(&mut frame, random.value() as usize, random.value() as usize, random.value() as usize);
    }
}
