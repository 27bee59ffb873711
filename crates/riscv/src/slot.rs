//! Where the hart's state lives in the frame's slots. All guest-visible state but the pc is here.

/// Float registers `f0` to `f31`; the integer registers are slots 0 to 31 (slot 0 stays 0).
pub const F0: u16 = 32;

macro_rules! slots {
    ($first:literal: $($(#[$d:meta])* $name:ident;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u16)]
        enum Order { $($name),* }
        $($(#[$d])* pub const $name: u16 = $first + Order::$name as u16;)*
        /// Names of the slots from 64 on, in order.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

slots! { 64:
    /// mstatus in its 64-bit layout, SD included.
    MSTATUS;
    /// Current privilege: 0, 1 or 3.
    PRIVILEGE;
    /// sscratch.
    SSCRATCH;
    /// sepc.
    SEPC;
    /// scause.
    SCAUSE;
    /// stval.
    STVAL;
    /// stvec.
    STVEC;
    /// satp in its 64-bit layout (RV32: its own).
    SATP;
    /// mscratch.
    MSCRATCH;
    /// mepc.
    MEPC;
    /// mcause.
    MCAUSE;
    /// mtval.
    MTVAL;
    /// mtvec.
    MTVEC;
    /// mie.
    MIE;
    /// Bits of mip that software has set.
    MIP;
    /// mideleg.
    MIDELEG;
    /// medeleg.
    MEDELEG;
    /// mcounteren.
    MCOUNTEREN;
    /// scounteren.
    SCOUNTEREN;
    /// mcountinhibit.
    MCOUNTINHIBIT;
    /// menvcfg.
    MENVCFG;
    /// senvcfg.
    SENVCFG;
    /// stimecmp.
    STIMECMP;
    /// fflags.
    FFLAGS;
    /// frm.
    FRM;
    /// Address of the reservation, all ones if there is none.
    RESERVATION;
    /// What was loaded there.
    RESERVED_VALUE;
    /// mcycle minus the host's count.
    CYCLE_BASE;
    /// minstret minus the host's count.
    INSTRET_BASE;
    /// tselect.
    TSELECT;
    /// tdata1 of trigger 0.
    TDATA1_0;
    /// tdata1 of trigger 1.
    TDATA1_1;
    /// tdata2 of trigger 0.
    TDATA2_0;
    /// tdata2 of trigger 1.
    TDATA2_1;
    /// tdata3 of trigger 0.
    TDATA3_0;
    /// tdata3 of trigger 1.
    TDATA3_1;
    /// mcontext.
    MCONTEXT;
    /// pmpcfg of entries 0 to 7.
    PMPCFG0;
    /// pmpcfg of entries 8 to 15.
    PMPCFG8;
    /// pmpaddr0; the other fifteen follow.
    PMPADDR0;
}
/// One past the last slot in use.
pub const END: u16 = PMPADDR0 + 16;
const _: () = assert!(END as usize <= ir::SLOTS);
