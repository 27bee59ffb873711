//! Where the hart's state lives in the frame's slots. All guest-visible state but the pc is here.

use cpu::Frame;
use state::State;

/// Float registers `f0` to `f31`; the integer registers are slots 0 to 31 (slot 0 stays 0).
pub const F0: u16 = 32;

macro_rules! slots {
    ($first:literal: $($(#[$d:meta])* $name:ident $field:ident;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u16)]
        enum Order { $($name),* }
        $($(#[$d])* pub const $name: u16 = $first + Order::$name as u16;)*

        /// The hart's state as it is saved: the slots by name, and the pc.
        #[derive(Clone, Debug, Default, PartialEq, Eq, State)]
        pub struct HartState {
            /// Program counter.
            pub pc: u64,
            /// Integer registers.
            pub x: [u64; 32],
            /// Float registers.
            pub f: [u64; 32],
            $($(#[$d])* pub $field: u64,)*
            /// pmpaddr0 to pmpaddr15.
            pub pmpaddr: [u64; 16],
            /// Whether the hart waits for an interrupt or has been stopped.
            pub halted: bool,
            /// mcycle and minstret, which count the host's time.
            pub counters: [u64; 2],
            /// mhpmcounter3 to mhpmcounter18.
            pub hpm_counters: [u64; 16],
            /// mhpmevent3 to mhpmevent31.
            pub hpm_events: [u64; 29],
        }
        impl HartState {
            /// Takes it from a frame.
            pub fn take(frame: &Frame) -> HartState {
                HartState {
                    pc: frame.pc(),
                    x: std::array::from_fn(|n| frame.get(n as u16)),
                    f: std::array::from_fn(|n| frame.get(F0 + n as u16)),
                    $($field: frame.get($name),)*
                    pmpaddr: std::array::from_fn(|n| frame.get(PMPADDR0 + n as u16)),
                    ..HartState::default()
                }
            }
            /// Puts it into a frame.
            pub fn put(&self, frame: &Frame) {
                frame.set_pc(self.pc & !1);
                for n in 1..32 {
                    frame.set(n, self.x[n as usize]);
                }
                for n in 0..32 {
                    frame.set(F0 + n, self.f[n as usize]);
                }
                $(frame.set($name, self.$field);)*
                for n in 0..16 {
                    frame.set(PMPADDR0 + n, self.pmpaddr[n as usize]);
                }
            }
        }
    };
}

slots! { 64:
    /// mstatus in its 64-bit layout, SD included.
    MSTATUS mstatus;
    /// Current privilege: 0, 1 or 3.
    PRIVILEGE privilege;
    /// sscratch.
    SSCRATCH sscratch;
    /// sepc.
    SEPC sepc;
    /// scause.
    SCAUSE scause;
    /// stval.
    STVAL stval;
    /// stvec.
    STVEC stvec;
    /// satp in its 64-bit layout (RV32: its own).
    SATP satp;
    /// mscratch.
    MSCRATCH mscratch;
    /// mepc.
    MEPC mepc;
    /// mcause.
    MCAUSE mcause;
    /// mtval.
    MTVAL mtval;
    /// mtvec.
    MTVEC mtvec;
    /// mie.
    MIE mie;
    /// Bits of mip that software has set.
    MIP mip;
    /// 0 if no enabled interrupt was pending when that was looked at last; what becomes pending later says so itself.
    WITHHELD withheld;
    /// mideleg.
    MIDELEG mideleg;
    /// medeleg.
    MEDELEG medeleg;
    /// mcounteren.
    MCOUNTEREN mcounteren;
    /// scounteren.
    SCOUNTEREN scounteren;
    /// mcountinhibit.
    MCOUNTINHIBIT mcountinhibit;
    /// menvcfg.
    MENVCFG menvcfg;
    /// senvcfg.
    SENVCFG senvcfg;
    /// stimecmp.
    STIMECMP stimecmp;
    /// fflags.
    FFLAGS fflags;
    /// frm.
    FRM frm;
    /// Address of the reservation, all ones if there is none.
    RESERVATION reservation;
    /// What was loaded there.
    RESERVED_VALUE reserved_value;
    /// mcycle minus the host's count.
    CYCLE_BASE cycle_base;
    /// minstret minus the host's count.
    INSTRET_BASE instret_base;
    /// tselect.
    TSELECT tselect;
    /// tdata1 of trigger 0.
    TDATA1_0 tdata1_0;
    /// tdata1 of trigger 1.
    TDATA1_1 tdata1_1;
    /// tdata2 of trigger 0.
    TDATA2_0 tdata2_0;
    /// tdata2 of trigger 1.
    TDATA2_1 tdata2_1;
    /// tdata3 of trigger 0.
    TDATA3_0 tdata3_0;
    /// tdata3 of trigger 1.
    TDATA3_1 tdata3_1;
    /// mcontext.
    MCONTEXT mcontext;
    /// miselect.
    MISELECT miselect;
    /// siselect.
    SISELECT siselect;
    /// pmpcfg of entries 0 to 7.
    PMPCFG0 pmpcfg0;
    /// pmpcfg of entries 8 to 15.
    PMPCFG8 pmpcfg8;
}
/// pmpaddr0; the other fifteen follow.
pub const PMPADDR0: u16 = PMPCFG8 + 1;
/// One past the last slot in use.
pub const END: u16 = PMPADDR0 + 16;
const _: () = assert!(END as usize <= ir::SLOTS);
