//! The instructions, one file per chapter of the specification.

pub mod a;
pub mod c;
pub mod fd;
pub mod m;
pub mod privileged;
pub mod rv_i;
pub mod xthead;
pub mod zb;
pub mod zi;

use crate::table::{Row, check};

/// All tables.
pub const TABLES: &[&[Row]] = &[
    rv_i::ROWS,
    m::zmmul::ROWS,
    m::div::ROWS,
    a::zalrsc::ROWS,
    a::zaamo::ROWS,
    a::zacas::ROWS,
    fd::single::ROWS,
    fd::double::ROWS,
    fd::zfa_single::ROWS,
    fd::zfa_double::ROWS,
    fd::half::ROWS,
    fd::half_double::ROWS,
    fd::zfh::ROWS,
    fd::zfa_half::ROWS,
    c::ROWS,
    c::reserved::ROWS,
    zb::zba::ROWS,
    zb::zbb::ROWS,
    zb::common::ROWS,
    zb::zbkb::ROWS,
    zb::zbkx::ROWS,
    zb::zbc::ROWS,
    zb::zbc_reversed::ROWS,
    zb::zbs::ROWS,
    zi::zicsr::ROWS,
    zi::zifencei::ROWS,
    zi::zihintpause::ROWS,
    zi::zicond::ROWS,
    zi::zawrs::ROWS,
    zi::zicbom::ROWS,
    zi::zicboz::ROWS,
    zi::zicbop::ROWS,
    zi::zimop::ROWS,
    privileged::machine::ROWS,
    privileged::supervisor::ROWS,
    privileged::svinval::ROWS,
    xthead::ba::ROWS,
    xthead::bb::ROWS,
    xthead::bs::ROWS,
    xthead::condmov::ROWS,
    xthead::mac::ROWS,
    xthead::memidx::ROWS,
    xthead::fmemidx::ROWS,
    xthead::mempair::ROWS,
    xthead::cmo::ROWS,
    xthead::sync::ROWS,
];

#[allow(long_running_const_eval)]
const _: () = check(TABLES);
