use super::super::RawOptions;
use super::super::test_support::TempFile;
use super::*;

#[test]
fn writes_stay_above_until_committed() {
    // Not a multiple of the block or the sector.
    let original: Vec<u8> = (0..50_001u32).map(|index| (index % 249) as u8).collect();
    let image = TempFile::new("overlay", &original);
    let read_only = RawOptions { read_only: true, ..RawOptions::default() };
    let overlay = Overlay::new(RawFile::open(&image.0, read_only).unwrap()).unwrap();
    let mut model = original.clone();
    model.resize(overlay.len() as usize, 0);
    let (mut seed, mut at_hand) = (12345u64, 0);
    for round in 0..500u64 {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let offset = (seed >> 33) as usize % model.len();
        let len = ((seed >> 20) as usize % 9000).min(model.len() - offset);
        let bytes = vec![round as u8; len];
        overlay.write_at(offset as u64, &bytes).unwrap();
        model[offset..offset + len].copy_from_slice(&bytes);
        let mut all = vec![0; model.len()];
        overlay.read_at(0, &mut all).unwrap();
        assert!(all == model, "round {round}");
        let mut part = vec![0xee; len];
        if overlay.read_now(offset as u64, &mut part) {
            at_hand += 1;
            assert!(part == model[offset..offset + len], "round {round}");
        }
    }
    // All but what lies beyond the end of the image, unless the host's file systems cannot say.
    assert!(at_hand > 400 || at_hand == 0, "{at_hand}");
    assert!(!overlay.read_now(model.len() as u64 - 1, &mut [0; 2]));
    overlay.write_zeroes(100, 5000, true).unwrap();
    model[100..5100].fill(0);
    assert!(std::fs::read(&image.0).unwrap() == original);
    overlay.commit().unwrap();
    let mut all = vec![0; model.len()];
    overlay.read_at(0, &mut all).unwrap();
    assert!(all == model);
    let mut stored = std::fs::read(&image.0).unwrap();
    stored.resize(model.len(), 0);
    assert!(stored == model);
    assert!(overlay.write_at(model.len() as u64, b"x").is_err());
}
