//! The ledger: what the host makes of typical blocks, instruction by instruction, so that a pessimisation shows in the diff.
//!
//! Each file in `golden/` holds a block in text form, a line `----`, and the disassembly. `TINAMOU_BLESS=1 cargo test` rewrites them.

use host::{Code, Config, Emitter, Features, Layout, Placement, Stubs, Tlb};
use iced_x86::{Decoder, DecoderOptions, Formatter, NasmFormatter};
use ir::{HelperEffects, HelperInfo};

const BASE: u64 = 0x10000;
/// Where code that is rarely reached would lie.
const APART: u64 = 0x20000;

fn config() -> Config {
    Config {
        layout: Layout {
            interrupt: -128,
            mode_tag: -128,
            mxcsr: -120,
            entry_mask: -116,
            tlb: -112,
            jump_cache: -104,
            page: -96,
            calls: -88,
            page_mask: -80,
            slots: -72,
            pc: 952,
            context: 960,
            scratch: 968,
            watched: 0x700,
            polls: 0x704,
            splits: 0x708,
            code_pages: 0x710,
        },
        tlb: Tlb { entries_log2: 12, entry_log2: 4, tag: 0, addend: 8 },
        hot_slots: vec![10, 11, 12, 13, 14, 15, 2, 1, 8, 9, 5, 6],
        hot_floats: vec![47, 46, 45, 44, 43, 42, 32, 33, 34, 35, 40],
        stack_slot: 2,
        flags_slot: 60,
        features: Features {
            bmi1: true,
            bmi2: true,
            lzcnt: true,
            popcnt: true,
            fma: true,
            sse41: true,
            pclmul: true,
        },
        parallel: true,
        loops: true,
        budget: None,
        sites: Some(host::Sites { tags: 0x500, addends: 0x600, guesses: 0x780, count: 32 }),
    }
}

fn helper(id: u16) -> HelperInfo {
    let effects = [HelperEffects::Pure, HelperEffects::Hidden, HelperEffects::Any][(id as usize).min(2)];
    HelperInfo { name: "f", args: 2, returns: true, effects }
}

fn disassemble(code: &Code) -> String {
    let mut text = String::new();
    let mut formatter = NasmFormatter::new();
    formatter.options_mut().set_branch_leading_zeros(false);
    let (usual, apart) = code.bytes.split_at(code.hot as usize);
    for (base, bytes) in [(BASE, usual), (APART, apart)] {
        let mut count = 0;
        for i in &mut Decoder::with_ip(64, bytes, base, DecoderOptions::NONE) {
            let mut line = String::new();
            formatter.format(&i, &mut line);
            text += &format!("{:4x} {line}\n", i.ip() - BASE);
            count += 1;
        }
        text += &format!("{count} instructions, {} bytes\n", bytes.len());
    }
    text
}

#[test]
fn the_code_is_as_recorded() {
    let stubs = Stubs {
        load: [0x1000; 16],
        store: [0x1100; 8],
        fill: [0x1180; 6],
        attempt: [0x1190; 6],
        based: 0x2000,
        amo: [0x1200; 2],
        cas: [0x1300; 2],
        store_cond: [0x1400; 2],
        call: [0x1500; 2],
        call_quiet: [0x1600; 2],
        soft: 0x1700,
        carryless: 0x1780,
        mapped: 0x17c0,
        probe: [0x1800; 2],
        elsewhere: [0x1c40, 0x1c40],
        miss: [0x1900; 2],
        interrupt: [0x19c0; 2],
        link: [0x1a00; 2],
        dead: [0x1a40; 2],
        site: [[0x1c00; 4]; 4],
        constants: 0x1b00,
        enter: 0,
        leave: [0; 2],
        resume: 0x1b00,
    };
    let bless = std::env::var_os("TINAMOU_BLESS").is_some();
    let mut emitter = Emitter::new(config(), stubs);
    let usual = Placement {
        base: BASE,
        apart: APART,
        entry: 0x100,
        reach: (0, 0x1000),
        expected: None,
        floats: true,
        insns: 1,
        region: false,
        alone: false,
        wandering: &[],
        steady: &[],
        values: None,
    };
    let mut code = Code::default();
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let (source, recorded) = text.split_once("----\n").unwrap_or((&text, ""));
        let block = ir::text::parse(source).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        ir::verify::verify(&block, &|id| Some(helper(id)))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let placement = match path.file_stem().and_then(|name| name.to_str()) {
            Some("wide") => Placement { reach: (-0x2000, 0x2000), ..usual },
            Some("region") => Placement { region: true, wandering: &[0x104], steady: &[0x104], ..usual },
            Some("expect") => Placement { region: true, expected: Some(BASE + 0x800), ..usual },
            _ => usual,
        };
        emitter.emit(&block, &helper, &placement, &mut code).unwrap();
        let got = disassemble(&code);
        if bless {
            std::fs::write(&path, format!("{source}----\n{got}")).unwrap();
        } else {
            assert!(got == recorded, "{}: the code has changed:\n{got}", path.display());
        }
        seen += 1;
    }
    assert!(seen > 0);
}
