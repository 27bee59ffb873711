//! What the passes make of small blocks: `golden/NAME.ir` holds a block, a line `----`, and the result.
//! `TINAMOU_BLESS=1 cargo test` rewrites the results.

use ir::{HelperEffects, HelperInfo};

fn helper(id: u16) -> HelperInfo {
    let effects = [HelperEffects::Pure, HelperEffects::Hidden, HelperEffects::Any][(id as usize).min(2)];
    HelperInfo { name: "f", args: 2, returns: true, effects }
}

#[test]
fn the_passes_do_as_recorded() {
    let bless = std::env::var_os("TINAMOU_BLESS").is_some();
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mut pipeline = opt::Pipeline::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let (source, recorded) = text.split_once("----\n").unwrap_or((&text, ""));
        let mut block = ir::text::parse(source).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let info = |id| Some(helper(id));
        ir::verify::verify(&block, &info).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let region = path.file_stem().is_some_and(|name| name.to_string_lossy().starts_with("region"));
        pipeline.run(&mut block, &helper, region);
        ir::verify::verify(&block, &info).unwrap_or_else(|e| panic!("{}: {e}\n{block}", path.display()));
        if bless {
            std::fs::write(&path, format!("{source}----\n{block}")).unwrap();
        } else {
            assert!(block.to_string() == recorded, "{}: the result has changed:\n{block}", path.display());
        }
        seen += 1;
    }
    assert!(seen > 0);
}
