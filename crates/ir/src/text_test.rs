use super::parse;
use crate::builder::{K32, V};
use crate::verify::verify;
use crate::{Builder, HelperEffects, HelperInfo, Inst, Int, Int32, Int64, MemOp, Op, Ty, Val};

fn info(id: u16) -> Option<HelperInfo> {
    (id < 5).then_some(HelperInfo { name: "f", args: id as u8, returns: true, effects: HelperEffects::Any })
}

#[test]
fn every_operation_survives_the_text() {
    for &op in Op::ALL {
        for &ty in crate::verify::types(op) {
            // Enough values of every type in front for operands to name.
            let mut insts: Vec<Inst> = (0..4)
                .map(|n| Inst { op: Op::Const, ty: Ty::I64, args: [Val::NONE; 4], imm: n << 40 })
                .collect();
            let count = op.args().len();
            let mut args = [Val::NONE; 4];
            for (k, a) in args.iter_mut().take(count).enumerate() {
                *a = Val(k as u32);
            }
            for imm in [0, 1, 2, 0x102, 4 << 32 | 6, (-4i32 as u32 as u64) << 32] {
                let mut imm = imm;
                match op {
                    Op::Const
                    | Op::Get
                    | Op::GetNow
                    | Op::Set
                    | Op::PcRel
                    | Op::Insn
                    | Op::Goto
                    | Op::Expect
                    | Op::ExitIf
                    | Op::WillReturn => {}
                    Op::Load | Op::Store => imm &= !0x100,
                    Op::Amo => imm &= 0xfff,
                    Op::Cas | Op::StoreCond | Op::Call => imm &= 7,
                    Op::Jump => imm = imm.min(2),
                    Op::Leave => imm = imm.min(1),
                    _ => imm = 0,
                }
                insts.push(Inst { op, ty, args, imm });
            }
            let block = crate::Block { insts };
            let text = block.to_string();
            assert_eq!(
                parse(&text).map_err(|e| format!("{e}\n{text}")).unwrap().insts,
                block.insts,
                "{text}"
            );
        }
    }
}

#[test]
fn a_block_reads_as_the_head_of_the_file_says() {
    let b = Builder::new();
    b.insn(0x800);
    let a = b.get(10);
    let x = b.load(a + b.k(16), MemOp::S32);
    let less = x.lt_s(a);
    b.exit_if(less, 0x840);
    b.store(a + b.k(-8i64 as u64), x, MemOp::U64);
    let w: V<'_, K32> = x.lo() + x.lo();
    b.set(11, w.sx());
    b.goto(0x804);
    let text = b.block().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "insn +0x800");
    assert_eq!(lines[1], "v1:i64 = get 10");
    assert!(text.contains(" = load.s32 [v1+16]\n"), "{text}");
    assert!(text.contains(":i1 = lts.i64 v4, v1\n"), "{text}");
    assert!(text.contains("exitif v5 -> +0x840\n"), "{text}");
    assert!(text.contains("store.u64 [v1-8], v4\n"), "{text}");
    assert!(text.ends_with("goto +0x804\n"), "{text}");
    assert_eq!(parse(&text).unwrap().insts, b.block().insts);
    verify(&b.block(), &info).unwrap();
}

#[test]
fn names_may_be_any_numbers() {
    let block = parse("v70:i64 = get 1 # comment\n\nv5:i64 = add v70, v70\nset 2, v5\nleave look\n").unwrap();
    assert_eq!(block.to_string(), "v0:i64 = get 1\nv1:i64 = add v0, v0\nset.i64 2, v1\nleave look\n");
}

#[test]
fn errors_name_the_line() {
    for (text, line, what) in [
        ("v0:i64 = get 1\nv1:i64 = add v0, v7", 2, "v7 is not defined"),
        ("v0:i64 = foo 1", 1, "no operation `foo`"),
        ("v0:i64 = get x", 1, "`x` is not a number"),
        ("v0:i64 = eq.i64", 1, "the result of eq is not as written"),
        ("v0:i64 = get 1\nv0:i64 = get 1", 2, "v0 is given twice"),
    ] {
        let e = parse(text).unwrap_err();
        assert_eq!((e.line, e.what.as_str()), (line, what));
    }
}

#[test]
fn the_verifier_finds_what_is_wrong() {
    for (text, what) in [
        ("v0:i64 = get 1", "without a terminal"),
        ("leave\nleave", "in the middle"),
        ("v0:i32 = const 1\nv1:i64 = add v0, v0\nleave", "v0 is i32, not i64"),
        ("v0:i64 = get 200\nleave", "out of range"),
        ("v0:i64 = get 1\nv1:i64 = add v0\nleave", "takes 2 operands"),
        ("v0:f64 = add\nleave", "no type f64"),
        ("v0:i64 = get 1\nset.i64 1, v0\nv2:i64 = call 9(v0)\nleave", "no function 9"),
        ("v0:i32 = const 0x100000000\nleave", "out of range"),
    ] {
        let e = verify(&parse(text).unwrap(), &info).unwrap_err();
        assert!(e.to_string().contains(what), "{e}");
    }
}
