//! Random blocks: the evaluator and the host code must leave the same world.

mod common;
mod generate;
mod shrink;

use common::*;
use host::Features;

fn compare(features: Features, seeds: std::ops::Range<u64>, what: generate::Mix) {
    let mut machine = [false, true].map(|sites| Machine::new(features, sites));
    let (mut refused, total) = (0, seeds.end - seeds.start);
    for seed in seeds {
        let mut random = Random(seed.wrapping_mul(0x1234_5678_9abc_def1));
        let machine = &mut machine[(seed / 2 % 2) as usize];
        // The longest regions are as long as the longest of these.
        let most = match random.below(12) {
            0 => 900,
            1..=3 => 300,
            _ => 60,
        };
        let length = 3 + random.below(most) as usize;
        let block = generate::block(&mut random, length, what);
        let info = |id| Some(helpers(id));
        ir::verify::verify(&block, &info).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{block}"));
        assert_eq!(ir::text::parse(&block.to_string()).unwrap().insts, block.insts, "seed {seed}");
        let mut better = block.clone();
        opt::run(&mut better, &helpers, random.one_in(2));
        ir::verify::verify(&better, &info)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{block}----\n{better}"));
        // Half of the time the host gets the block as the passes leave it.
        let optimised = seed % 2 == 0;
        let given = if optimised { &better } else { &block };
        let mut world = World::new(&mut random);
        let values = world.slots;
        machine.alone = random.one_in(4);
        let insns = given.insts.iter().filter(|i| i.op == ir::Op::Insn).map(|i| i.imm as u16);
        machine.wandering = insns.filter(|_| random.one_in(3)).collect();
        machine.steady = machine.wandering.iter().copied().filter(|_| random.one_in(2)).collect();
        machine.reach = if random.one_in(2) { (0, 0x1000) } else { (-0x3000, 0x5000) };
        let values = random.one_in(2).then_some(&values);
        if machine.translate_as(given, values).is_err() {
            refused += 1;
            continue;
        }
        for _ in 0..3 {
            let (mut a, mut c) = (world.clone(), world.clone());
            let expected = evaluate(&block, &mut a);
            let passed = evaluate(&better, &mut c);
            assert!(
                passed == expected && c == a,
                "the passes changed the meaning, seed {seed}\n{block}----\n{better}"
            );
            let has = world.slots[FLAGS as usize] as u8;
            let watched = random.one_in(2).then(|| has & random.next() as u8);
            if difference(machine, given, &world, watched).is_some() {
                let small = shrink::smallest(given, |b| {
                    ir::verify::verify(b, &info).is_ok()
                        && machine.translate_as(b, values).is_ok()
                        && difference(machine, b, &world, watched).is_some()
                });
                machine.translate_as(&small, values).unwrap();
                let what = difference(machine, &small, &world, watched);
                std::fs::write(std::env::temp_dir().join("host-code.bin"), &machine.code.bytes).ok();
                let region = values.is_some();
                panic!("seed {seed}, region: {region}, watched: {watched:?}\n{small}{}", what.unwrap());
            }
            world = World::new(&mut random);
        }
    }
    println!("{refused} of {total} blocks were too complex");
    assert!(refused * 100 <= total, "{refused} of {total} blocks were too complex");
}

/// How the host's code for `block`, which the machine has translated, and the evaluator differ in what they do to `world`, if they do.
fn difference(
    machine: &mut Machine,
    block: &ir::Block,
    world: &World,
    watched: Option<u8>,
) -> Option<String> {
    let (mut a, mut b) = (world.clone(), world.clone());
    let mut expected = evaluate(block, &mut a);
    let got = machine.run_watching(&mut b, 0, watched);
    // It may leave at an instruction of its own.
    if got != expected
        && let Outcome::At(at) = got
        && !machine.alone
        && let Some(part) = before(block, at.wrapping_sub(PAGE))
    {
        a = world.clone();
        expected = evaluate(&part, &mut a);
    }
    let mut text = String::new();
    if expected != got {
        text += &format!("expected {expected:?} got {got:?}\n");
    }
    for n in (0..SLOTS).filter(|&n| a.slots[n] != b.slots[n]) {
        let (was, expected, got) = (world.slots[n], a.slots[n], b.slots[n]);
        text += &format!("slot {n}: was {was:#x} expected {expected:#x} got {got:#x}\n");
    }
    if a.mem != b.mem {
        text += "memory differs\n";
    }
    if a.log != b.log {
        text += &format!("log: expected {:?} got {:?}\n", a.log, b.log);
    }
    Some(text).filter(|t| !t.is_empty())
}

/// The part of the block before the instruction at `offset`, if there is one.
fn before(block: &ir::Block, offset: u64) -> Option<ir::Block> {
    let n = block.insts.iter().rposition(|i| i.op == ir::Op::Insn && i.imm == offset)?;
    let mut part = ir::Block { insts: block.insts[..n].to_vec() };
    part.insts.push(ir::Inst { op: ir::Op::Goto, ty: ir::Ty::I64, args: [ir::Val::NONE; 4], imm: offset });
    Some(part)
}

fn count() -> u64 {
    std::env::var("TINAMOU_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3000)
}

#[test]
fn integers() {
    compare(Features::detect(), 0..count(), generate::Mix { memory: false, float: false, calls: false });
}

#[test]
fn integers_on_an_old_host() {
    compare(Features::BASE, 0..count(), generate::Mix { memory: false, float: false, calls: false });
}

#[test]
fn memory() {
    compare(Features::detect(), 0..count(), generate::Mix { memory: true, float: false, calls: false });
}

#[test]
fn calls() {
    compare(Features::detect(), 0..count(), generate::Mix { memory: true, float: false, calls: true });
}

#[test]
fn floats() {
    compare(Features::detect(), 0..count(), generate::Mix { memory: false, float: true, calls: false });
}

#[test]
fn floats_on_an_old_host() {
    compare(Features::BASE, 0..count(), generate::Mix { memory: false, float: true, calls: true });
}

#[test]
fn everything() {
    compare(Features::detect(), 0..count() * 2, generate::Mix { memory: true, float: true, calls: true });
}

/// A block that adds 1 to slot 20, then jumps to `target`.
fn jump_to(target: i64) -> ir::Block {
    let text = format!(
        "insn {ENTRY:+#x}\nv1:i64 = get 20\nv2:i64 = const 1\nv3:i64 = add v1, v2\nset.i64 20, v3\n\
         insn {:+#x}\ngoto {target:+#x}\n",
        ENTRY + 4
    );
    ir::text::parse(&text).unwrap()
}

#[test]
fn an_interrupt_leaves_before_a_jump_that_goes_back() {
    let mut machine = Machine::new(Features::detect(), true);
    let world = World::new(&mut Random(1));
    // The guest is at the target then: the jump may have overwritten what it reads. Without an interrupt a jump to itself
    // would go on for ever.
    for target in [ENTRY - 8, ENTRY] {
        machine.translate(&jump_to(target)).unwrap();
        let mut w = world.clone();
        assert_eq!(machine.run(&mut w, 1), Outcome::At(PAGE + target as u64));
        assert_eq!(w.slots[20], world.slots[20].wrapping_add(1));
    }
}

#[test]
fn a_jump_to_another_page_is_linked_within_reach_and_guarded_beyond() {
    let mut machine = Machine::new(Features::detect(), true);
    let world = World::new(&mut Random(1));
    machine.reach = (-0x1000, 0x2000);
    // Where it goes; whether it is linked and if so guarded, and whether it looks at the interrupt word by itself.
    for (target, linked, looks) in [
        (-0x1000, Some(false), true),
        (-0x1004, Some(true), false),
        (0x1000, Some(false), false),
        (0x1ffc, Some(false), false),
        // What begins there may end in a page that is not known.
        (0x1ffe, None, false),
        (0x2000, Some(true), false),
        (0x2ffe, None, false),
        (1 << 31, None, false),
    ] {
        machine.translate(&jump_to(target)).unwrap();
        let links: Vec<_> = machine.code.links.iter().map(|l| (l.target, l.guard.is_some())).collect();
        assert_eq!(links, Vec::from_iter(linked.map(|guarded| (target, guarded))));
        assert_eq!(!machine.code.points.is_empty(), looks, "{target:#x}");
        for interrupt in [0, 1] {
            let mut w = world.clone();
            let there = Outcome::At(PAGE.wrapping_add_signed(target));
            assert_eq!(machine.run(&mut w, interrupt), there);
            assert_eq!(w.slots[20], world.slots[20].wrapping_add(1));
        }
    }
}

#[test]
fn a_guard_lets_pass_where_the_page_is_mapped_and_nothing_interrupts() {
    const NUMBER: u32 = 0x3007;
    const FURTHER: u64 = 4096 * host::CODE_PAGES as u64;
    let mut machine = Machine::new(Features::detect(), true);
    let world = World::new(&mut Random(1));
    for target in [0x2468, -0x1998] {
        machine.translate(&jump_to(target)).unwrap();
        let there = PAGE.wrapping_add_signed(target);
        let (page, offset) = (there & !4095, there as u32 & 4095);
        let entry = (page >> 12) as usize % host::CODE_PAGES;
        let guard = machine.code.links[0].guard.unwrap();
        for (linked, mapped, interrupt, passes) in [
            (NUMBER ^ offset, page ^ NUMBER as u64, 0, true),
            (NUMBER ^ offset, page ^ NUMBER as u64, 1, false),
            (NUMBER ^ offset, page ^ NUMBER as u64, 1 << 31, false),
            // Another page there, none, the same elsewhere.
            (NUMBER ^ offset, page ^ (NUMBER + 1) as u64, 0, false),
            (NUMBER ^ offset, 0, 0, false),
            (NUMBER ^ offset, (page + FURTHER) ^ NUMBER as u64, 0, false),
            (NUMBER ^ offset, (page ^ 1 << 63) ^ NUMBER as u64, 0, false),
            (host::NO_CODE_PAGE, page ^ NUMBER as u64, 0, false),
            (host::NO_CODE_PAGE, 0, 0, false),
        ] {
            machine.patch(guard, linked);
            machine.code_pages[entry] = mapped;
            assert_eq!(machine.run(&mut world.clone(), interrupt), Outcome::At(there));
            assert_eq!(machine.passed, passes, "{linked:#x} {mapped:#x} {interrupt:#x}");
        }
        machine.code_pages[entry] = 0;
    }
}

/// A block that says to where a call will return, and goes there.
fn call_and_return(hint: &str) -> ir::Block {
    let text = format!(
        "insn {ENTRY:+#x}\nv1:i64 = pcrel {ENTRY:+#x}\nset.i64 1, v1\nwillreturn v1 -> {ENTRY:+#x}\njump v1{hint}\n"
    );
    ir::text::parse(&text).unwrap()
}

#[test]
fn a_return_goes_where_the_call_said_while_nothing_interrupts() {
    let mut machine = Machine::new(Features::detect(), true);
    let world = World::new(&mut Random(1));
    let entry = (world.slots[2] >> 4) as usize % host::CALLS;
    let there = PAGE + ENTRY as u64;
    for hint in [" call", " return"] {
        machine.translate(&call_and_return(hint)).unwrap();
        assert_eq!(machine.run(&mut world.clone(), 0), Outcome::At(there));
        let expected = |n| if n == entry { there } else { u64::MAX };
        assert!(machine.calls.iter().enumerate().all(|(n, call)| call[0] == expected(n)));
    }
    // What would lead astray is not looked at while the interrupt word is set.
    let block = ir::text::parse("insn +0x800\nv1:i64 = pcrel +0x800\njump v1 return\n").unwrap();
    machine.translate(&block).unwrap();
    machine.calls[entry] = [there, 0];
    assert_eq!(machine.run(&mut world.clone(), 1), Outcome::At(there));
    // Nor for another address.
    machine.calls[entry] = [there + 2, 0];
    assert_eq!(machine.run(&mut world.clone(), 0), Outcome::At(there));
}

#[test]
fn flags_are_read_and_forgotten() {
    // 1/0, then 1/3; then only what is asked for is kept.
    let text = "insn +0x800\nv1:i64 = const 0x3ff0000000000000\nv2:f64 = ffrombits v1\nv3:i64 = get 20\n\
                v4:f64 = ffrombits v3\nv5:f64 = fdiv v2, v4\nv6:i64 = getnow 50\nv16:i64 = accrued\nv26:i64 = or v6, v16\n\
                set.i64 21, v26\nv7:i64 = get 22\nset.i64 50, v7\nforget v7\nv8:i64 = getnow 50\nv18:i64 = accrued\n\
                v28:i64 = or v8, v18\nset.i64 23, v28\ngoto +0x810\n";
    let block = ir::text::parse(text).unwrap();
    let mut machine = Machine::new(Features::detect(), true);
    machine.translate(&block).unwrap();
    // The divisor, the flags before, those written at last, and those read before that.
    for (divisor, before, kept, flags) in [
        (0.0, 0, 31, 8),
        (0.0, 0, 7, 8),
        (3.0, 0, 1, 1),
        (3.0, 0, 30, 1),
        (2.0, 0, 0, 0),
        (0.0, 8, 0, 8),
        (3.0, 9, 8, 9),
        (0.0, 1, 4, 9),
        (2.0, 17, 17, 17),
    ] {
        let mut world = World::new(&mut Random(1));
        (world.slots[20], world.slots[22]) = (f64::to_bits(divisor), kept);
        world.slots[FLAGS as usize] = before;
        for watched in [None, Some(0), Some(before as u8)] {
            let (mut ours, mut theirs) = (world.clone(), world.clone());
            let there = evaluate(&block, &mut theirs);
            assert_eq!(machine.run_watching(&mut ours, 0, watched), there);
            let seen = [21, 23, FLAGS as usize].map(|n| ours.slots[n]);
            assert_eq!(seen, [flags, kept, kept], "1 / {divisor}, {before}, {watched:?}");
            assert!(ours == theirs);
        }
    }
}

#[test]
fn an_interrupt_keeps_the_jump_cache_from_being_used() {
    let mut machine = Machine::new(Features::detect(), true);
    let world = World::new(&mut Random(1));
    let target = PAGE + 4096 + 16;
    machine.translate(&jump_to(4096 + 16)).unwrap();
    // An entry that would lead astray.
    machine.jump_cache[(target >> 1) as usize % host::JUMPS] = [target ^ 3 << 57, 0];
    let mut w = world.clone();
    assert_eq!(machine.run(&mut w, 1), Outcome::At(target));
}

#[test]
fn a_result_is_compared_with_zero_by_its_flags() {
    const EDGES: [u64; 9] = [
        0,
        1,
        u64::MAX,
        1 << 63,
        i64::MAX as u64,
        1 << 31,
        i32::MAX as u64,
        u32::MAX as u64,
        0xffff_ffff_0000_0001,
    ];
    let mut machine = Machine::new(Features::detect(), true);
    for (ty, get, set) in [
        ("i64", "v1:i64 = get 10\nv2:i64 = get 11\n", "set.i64 10, v3\n"),
        (
            "i32",
            "v11:i64 = get 10\nv12:i64 = get 11\nv1:i32 = trunc v11\nv2:i32 = trunc v12\n",
            "v13:i64 = sext32 v3\nset.i64 12, v13\n",
        ),
    ] {
        for op in ["add", "sub", "and", "or", "xor"] {
            for right in ["v2".into(), format!("v20\nv20:{ty} = const 1")] {
                for (test, swapped) in
                    ["eq", "ne", "lts", "ges", "ltu", "geu"].iter().flat_map(|t| [(t, false), (t, true)])
                {
                    let (right, constant) = right
                        .split_once('\n')
                        .map_or((right.as_str(), String::new()), |(r, c)| (r, format!("{c}\n")));
                    let (a, b) = if swapped { ("v4", "v3") } else { ("v3", "v4") };
                    let text = format!(
                        "insn {ENTRY:+#x}\n{get}{constant}v4:{ty} = const 0\nv3:{ty} = {op} v1, {right}\n{set}\
                         v5:i1 = {test}.{ty} {a}, {b}\nexitif v5 -> +0x900\ngoto +0xa00\n"
                    );
                    let block = ir::text::parse(&text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
                    machine.translate(&block).unwrap();
                    for (x, y) in EDGES.iter().flat_map(|x| EDGES.map(|y| (*x, y))) {
                        let mut world = World::new(&mut Random(1));
                        (world.slots[10], world.slots[11]) = (x, y);
                        let mut other = world.clone();
                        assert_eq!(
                            machine.run(&mut world, 0),
                            evaluate(&block, &mut other),
                            "{x:#x} {y:#x}\n{text}"
                        );
                    }
                }
            }
        }
    }
}

/// Smallest forms of what seeds have found.
#[test]
fn what_was_wrong_once_is_right() {
    let blocks = [
        // Another slot's copy of what slot 25 held is read when something else waits in slot 25.
        "insn +0x800\nv1:i64 = get 0\nv2:f64 = get 25\nset.f64 36, v2\nset.i64 25, v1\nv5:i32 = const 0x12\nv6:i64 = const 0x1a\n\
         set.i64 0, v6\nv8:i64 = sext32 v5\nv9:i64 = const 0x18\nv10:i64 = clz v9\nset.i64 12, v8\nset.i64 26, v10\n\
         v13:i64 = get 36\nset.i64 4, v13\ngoto +0x20\n",
        // The flag that a comparison raises is looked at before it is forgotten.
        "insn +0x800\nv1:i64 = getnow 50\nv2:i64 = accrued\nv3:i64 = or v1, v2\nv4:f64 = const 0xffffffffffffffff\n\
         v5:i1 = fle.f64 v4, v4\nv6:i64 = getnow 50\nv7:i64 = accrued\nv8:i64 = or v6, v7\nset.i64 50, v3\nforget.i64 v3\n\
         set.i64 5, v8\ngoto +0x20\n",
    ];
    for (text, features) in blocks.iter().flat_map(|b| [(b, Features::detect()), (b, Features::BASE)]) {
        let block = ir::text::parse(text).unwrap();
        for region in [false, true] {
            let mut machine = Machine::new(features, true);
            let world = World::new(&mut Random(1));
            machine.translate_as(&block, region.then_some(&world.slots)).unwrap();
            assert_eq!(difference(&mut machine, &block, &world, None), None, "{region}\n{block}");
        }
    }
}
