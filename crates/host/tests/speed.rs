//! How long translation takes. `cargo test --release -p host --test speed -- --ignored --nocapture`

mod common;

use common::helpers;
use host::{Code, Emitter, Features, Stubs};

#[test]
#[ignore = "a measurement"]
fn nanoseconds_per_guest_instruction() {
    let mut emitter = Emitter::new(common::config(Features::detect()), Stubs::default());
    let mut code = Code::default();
    for name in ["loop", "memory", "select", "float", "calls"] {
        let path = format!("{}/tests/golden/{name}.ir", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let block = ir::text::parse(text.split("----").next().unwrap()).unwrap();
        let guest = block.insts.iter().filter(|i| i.op == ir::Op::Insn).count();
        let helper = |_| ir::HelperInfo { args: 2, ..helpers(2) };
        let rounds = 200_000;
        let start = std::time::Instant::now();
        for _ in 0..rounds {
            emitter.emit(&block, &helper, 0x10000, 0x100, 0, &mut code).unwrap();
        }
        let each = start.elapsed().as_nanos() as f64 / rounds as f64;
        println!(
            "{name}: {each:.0} ns, {:.0} per guest instruction, {:.1} per IR instruction, {} bytes",
            each / guest as f64,
            each / block.insts.len() as f64,
            code.bytes.len()
        );
    }
}
