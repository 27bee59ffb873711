use super::*;
use crate::bus_test::{Machine, RAM};
use crate::{config, csr};

fn machine(csrs: &[(u16, u64)]) -> Machine {
    let mut m = Machine::new(config::rv64(), 1 << 16);
    for &(number, value) in csrs {
        csr::store(&mut m.hart, csr::find(number).unwrap(), value);
    }
    m
}

/// How much around `va` may be fetched from alike, as an access of this kind is told.
fn told(m: &mut Machine, va: u64, access: Access) -> u8 {
    let Machine { hart, bus, .. } = m;
    hart.translate_address(bus, va, access).unwrap().fetch_log2
}

#[test]
fn who_fetches_is_told_how_much_is_mapped_alike() {
    let mut m = machine(&[]);
    assert_eq!(told(&mut m, RAM + 0x1000, Access::Execute), 21);
    assert_eq!(told(&mut m, RAM + 0x1000, Access::Read), 12);
    // PMP: 4 KiB at RAM + 0x5000 locked without rights, then everything.
    let pmp = [(0x3b0, (RAM + 0x5000) >> 2 | 0x1ff), (0x3b1, u64::MAX >> 10), (0x3a0, 0x1f98)];
    let mut m = machine(&pmp);
    for (va, log2) in [(RAM + 0x1000, 14), (RAM + 0x4000, 12), (RAM + 0x6000, 13), (RAM + 0x10_0000, 20)] {
        assert_eq!(told(&mut m, va, Access::Execute), log2, "{va:#x}");
    }
    assert_eq!(told(&mut m, RAM + 0x20_0000, Access::Execute), 21);
    // A trigger anywhere.
    let mut m = machine(&[(0x7a2, RAM + 0x9000), (0x7a1, 2 << 60 | 0x44)]);
    assert_eq!(told(&mut m, RAM + 0x1000, Access::Execute), 12);
}
