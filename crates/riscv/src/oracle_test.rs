//! Random instructions, run by QEMU and by the interpreter: the same registers, flags and memory must come out.
//!
//! Runs when `TINAMOU_ORACLE` names a `qemu-system-riscv64`, and says so otherwise.

use crate::bus_test::{Machine, RAM};
use crate::differential_test::Random;
use crate::models::parse_cpu;
use crate::table::Row;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// Where the records lie, and how many there are: inputs at 0, memory to work on at `MEMORY`, results at `RESULT`.
const RECORDS: u64 = RAM + 0x80_0000;
const COUNT: u64 = 4000;
const MEMORY: u64 = 640;
const RESULT: u64 = 1024;
const CAUSE: u64 = 1904;

fn i(op: u32, funct3: u32, rd: u32, rs1: u32, imm: u32) -> u32 {
    imm << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | op
}
fn s(op: u32, funct3: u32, rs2: u32, rs1: u32, imm: u32) -> u32 {
    (imm >> 5) << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | (imm & 31) << 7 | op
}
fn ld(rd: u32, rs1: u32, imm: u64) -> u32 {
    i(0x03, 3, rd, rs1, imm as u32)
}
fn sd(rs2: u32, rs1: u32, imm: u64) -> u32 {
    s(0x23, 3, rs2, rs1, imm as u32)
}
fn csrrw(rd: u32, csr: u32, rs1: u32) -> u32 {
    i(0x73, 1, rd, rs1, csr)
}
fn csrrs(rd: u32, csr: u32, rs1: u32) -> u32 {
    i(0x73, 2, rd, rs1, csr)
}
const MSCRATCH: u32 = 0x340;
const MEPC: u32 = 0x341;
const FCSR: u32 = 3;

/// Rows whose outcome is a matter of registers and memory alone.
fn fits(row: &Row) -> bool {
    const NOT: &[&str] = &[
        "csr", "ecall", "ebreak", "mret", "sret", "wfi", "wrs", "beq", "bne", "blt", "bge", "jal", "sfence",
        "sinval", "sc_", "lr_", "cbo", "c_j", "c_b", "c_l", "c_s", "c_f", "c_ebreak", "fence",
    ];
    const YET: &[&str] = &["c_li", "c_lui", "c_sub", "c_slli", "c_srli", "c_srai", "c_sext_b", "c_sext_h"];
    YET.contains(&row.name) || !NOT.iter().any(|n| row.name.starts_with(n))
}

/// The instruction of a record and the registers it starts with.
fn record(row: &Row, r: &mut Random, at: u64) -> (u32, [u64; 65]) {
    let mut word = row.value | r.next() as u32 & !row.mask;
    let mut v: [u64; 65] = std::array::from_fn(|n| match n {
        0..32 => r.value(),
        32..64 => r.float(),
        _ => [0, 0, 1, 2, 3, 4, 5, 7][(r.next() & 7) as usize] << 5,
    });
    let opcode = word & 0x7f;
    if row.length == 4 && matches!(opcode, 0x03 | 0x07 | 0x23 | 0x27 | 0x2f) {
        let mut rs1 = word >> 15 & 31;
        if rs1 == 0 {
            rs1 = 9;
            word |= 9 << 15;
        }
        let imm = match opcode {
            0x03 | 0x07 => word as i32 >> 20,
            0x23 | 0x27 => word as i32 >> 25 << 5 | (word >> 7 & 31) as i32,
            _ => 0,
        };
        let offset = r.next() & if opcode == 0x2f { 0x30 } else { 0x3f };
        v[rs1 as usize] = (at + MEMORY + offset).wrapping_sub(imm as u64);
        // QEMU 10.0.2 mishandles pairs that begin with x0.
        if row.name.starts_with("amocas") {
            word |= 1 << 8 | 1 << 21;
        }
    }
    if opcode == 0x0b && word >> 14 & 1 != 0 {
        // T-Head's accesses: a base in the record, and an index that stays there, whatever its shift.
        let (mut base, mut index) = (word >> 15 & 31, word >> 20 & 31);
        if base == 0 {
            base = 9;
            word |= 9 << 15;
        }
        let indexed =
            matches!(word >> 27, 0b01100 | 0b01000 | 0b11000 | 0b00100 | 0b10100 | 0b00000 | 0b10000)
                || matches!(word >> 27, 0b01110 | 0b01010 | 0b11010 | 0b00110 | 0b10110 | 0b00010 | 0b10010);
        if indexed && index == base {
            index ^= 16;
            word ^= 16 << 20;
        }
        if indexed && index != 0 {
            v[index as usize] = r.next() & 7;
        }
        v[base as usize] = at + MEMORY + 128 + (r.next() & 0x18);
    }
    (word, v)
}

/// The model whose instructions are drawn.
fn cpu() -> String {
    std::env::var("TINAMOU_ORACLE_CPU").unwrap_or_else(|_| "max".into())
}

/// The records after the interpreter has run the program.
fn interpreted(code: &[u8], data: &[u8]) -> Vec<u8> {
    let mut m = Machine::new(parse_cpu(&cpu()).unwrap(), 32 << 20);
    m.bus.ram[..code.len()].copy_from_slice(code);
    let at = (RECORDS - RAM) as usize;
    m.bus.ram[at..at + data.len()].copy_from_slice(data);
    for _ in 0..COUNT * 170 + 100 {
        m.interpret();
    }
    m.bus.ram[at..at + data.len()].to_vec()
}

/// The records after `program` has run the program on its board `virt`.
fn system(program: &str, code: &[u8], data: &[u8]) -> Vec<u8> {
    let directory = std::env::temp_dir().join(format!("tinamou-oracle-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = |name: &str| directory.join(name).display().to_string();
    // One firmware image: the code, and the records where they belong.
    let mut image = code.to_vec();
    image.resize((RECORDS - RAM) as usize, 0);
    image.extend(data);
    std::fs::write(file("image"), image).unwrap();
    let mut child = Command::new(program)
        .args([
            "-M",
            "virt",
            "-cpu",
            &cpu(),
            "-m",
            "64M",
            "-display",
            "none",
            "-serial",
            "null",
            "-monitor",
            "stdio",
        ])
        .args(["-bios", &file("image")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the emulator starts");
    let mut output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = output.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut monitor = child.stdin.take().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(6));
    writeln!(monitor, "stop").unwrap();
    for n in 0..COUNT {
        writeln!(monitor, "xp /160gx {:#x}", RECORDS + n * 4096 + MEMORY).unwrap();
    }
    // A monitor may drop at its end what has not been read yet.
    std::thread::sleep(std::time::Duration::from_secs(4));
    writeln!(monitor, "quit").unwrap();
    drop(monitor);
    child.wait().unwrap();
    let mut result = data.to_vec();
    for line in reader.join().unwrap().lines() {
        let Some((address, words)) = line.split_once(": 0x") else { continue };
        let Ok(address) = u64::from_str_radix(address, 16) else { continue };
        for (k, w) in words.trim_end().split(" 0x").enumerate() {
            let at = (address - RECORDS) as usize + 8 * k;
            result[at..at + 8].copy_from_slice(&u64::from_str_radix(w, 16).unwrap().to_le_bytes());
        }
    }
    let _ = std::fs::remove_dir_all(&directory);
    result
}

#[test]
fn qemu_agrees() {
    if std::env::var_os("TINAMOU_ORACLE").is_none() {
        eprintln!("skipped: TINAMOU_ORACLE does not name a qemu-system-riscv64");
        return;
    }
    let config = parse_cpu(&cpu()).unwrap();
    let rows: Vec<&Row> = config.decoder().rows().iter().copied().filter(|r| fits(r)).collect();
    let seed = std::env::var("TINAMOU_ORACLE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let mut r = Random::new(seed);
    // The handler lies at the start: it notes the cause and passes over the instruction.
    let mut code = vec![
        i(0x6f, 0, 0, 0, 0) | 0x40 << 20, // jal x0, 64
        csrrw(31, MSCRATCH, 31),
        sd(30, 31, 1912),
        csrrs(30, MEPC, 0),
        i(0x13, 0, 30, 30, 4),
        csrrw(0, MEPC, 30),
        csrrs(30, 0x342, 0),
        sd(30, 31, CAUSE),
        ld(30, 31, 1912),
        csrrw(31, MSCRATCH, 31),
        0x3020_0073,
    ];
    code.resize(16, 0x13);
    code.extend([
        0x0000_0297,             // auipc t0, 0
        i(0x13, 0, 5, 5, 0xfc4), // addi t0, t0, -60
        csrrw(0, 0x305, 5),
        0x0000_6337, // lui t1, 6
        csrrs(0, 0x300, 6),
        i(0x13, 0, 5, 0, 1),
        i(0x13, 1, 5, 5, 31), // t0 = RAM
        0x0080_0337,          // lui t1, 0x800
        0x0062_82b3,          // add t0, t0, t1
        csrrw(0, MSCRATCH, 5),
    ]);
    let mut data = vec![0u8; (COUNT * 4096) as usize];
    let mut names = Vec::new();
    for n in 0..COUNT {
        let row = rows[n as usize % rows.len()];
        // A word may also fit a more special row, such as c.jalr for c.add.
        let (word, values) = loop {
            let drawn = record(row, &mut r, RECORDS + n * 4096);
            if config.decoder().decode(drawn.0).is_some_and(fits) {
                break drawn;
            }
        };
        names.push((row.name, word, values));
        let base = (n * 4096) as usize;
        for (k, v) in values.iter().enumerate() {
            data[base + 8 * k..base + 8 * k + 8].copy_from_slice(&v.to_le_bytes());
        }
        (0..128).for_each(|k| data[base + MEMORY as usize + k] = r.next() as u8);
        code.push(csrrs(31, MSCRATCH, 0));
        code.extend((0..32).map(|k| i(0x07, 3, k, 31, 256 + 8 * k)));
        code.extend([ld(1, 31, 512), csrrw(0, FCSR, 1)]);
        code.extend((1..32).map(|k| ld(k, 31, 8 * k as u64)));
        code.push(if row.length == 2 { word & 0xffff | 0x0001_0000 } else { word });
        code.push(csrrw(31, MSCRATCH, 31));
        code.extend((1..31).map(|k| sd(k, 31, RESULT + 8 * k as u64)));
        code.extend([csrrs(30, MSCRATCH, 0), sd(30, 31, RESULT + 248)]);
        code.extend((0..32).map(|k| s(0x27, 3, k, 31, RESULT as u32 + 256 + 8 * k)));
        code.extend([csrrs(1, FCSR, 0), sd(1, 31, RESULT + 512)]);
        code.extend([0x0000_1137, 0x002f_8fb3, csrrw(0, MSCRATCH, 31)]); // next record: x31 += 4096
    }
    code.push(0x0000_006f);
    let code: Vec<u8> = code.iter().flat_map(|w| w.to_le_bytes()).collect();
    assert!(code.len() < (RECORDS - RAM) as usize);

    let theirs = system(
        &std::env::var("TINAMOU_ORACLE").unwrap_or_else(|_| "qemu-system-riscv64".into()),
        &code,
        &data,
    );
    // A whole emulator instead of the interpreter alone, if one is named.
    let ours = match std::env::var("TINAMOU_ORACLE_SYSTEM") {
        Ok(program) => system(&program, &code, &data),
        Err(_) => interpreted(&code, &data),
    };

    // Both got to the end: the last record's results have been stored.
    let last = (COUNT as usize - 1) * 4096 + RESULT as usize;
    assert!(ours[last..last + 504].iter().any(|b| *b != 0), "ours did not get to the end");
    assert!(theirs[last..last + 504].iter().any(|b| *b != 0), "QEMU did not get to the end");
    let mut wrong = Vec::new();
    for (n, (name, word, values)) in names.iter().enumerate() {
        let (a, b) = (&ours[n * 4096..][..1912], &theirs[n * 4096..][..1912]);
        if a == b {
            continue;
        }
        let text = crate::disassemble::disassemble(&config, 0, &word.to_le_bytes()).0;
        let mut line = format!("{name} {text}, fcsr {:x}:", values[64]);
        for k in (0..1912).step_by(8).filter(|&k| a[k..k + 8] != b[k..k + 8]) {
            let get = |x: &[u8]| u64::from_le_bytes(x[k..k + 8].try_into().unwrap());
            line.push_str(&format!("\n    at {k}: {:x} here, {:x} in QEMU", get(a), get(b)));
        }
        wrong.push(line);
    }
    assert!(wrong.is_empty(), "{} of {COUNT}\n{}", wrong.len(), wrong.join("\n"));
}
