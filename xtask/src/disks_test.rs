use super::*;

#[test]
fn a_lost_block_is_found() {
    let said = acknowledgments("x\r\nACK 0 1\r\nACK 1 2\r\nACK 0 7\r\nACK 1 9");
    assert_eq!(said, BTreeMap::from([(0, 7), (1, 2)]), "the last line is cut off");
    let mut image: Vec<u8> = [7u64, 2].iter().flat_map(|n| n.to_le_bytes().repeat(BLOCK / 8)).collect();
    assert_eq!(missing(&image, &said), None);
    // A newer one, half written.
    image[BLOCK] = 9;
    assert_eq!(missing(&image, &said), None);
    image[16] = 6;
    assert_eq!(missing(&image, &said).as_deref(), Some("block 0 has 6, though 7 was acknowledged"));
}
