//! The harts of a board: objects in the tree, nodes in the device tree, interrupt inputs.

use super::platform::HartPlatform;
use crate::board::{Board, Processors};
use crate::fdt::Node as FdtNode;
use base::Result;
use cpu::{CpuHandle, Guest};
use memory::AddressSpace;
use object::{Line, LineSink, Node, NodeProperty, PropertyValue};
use riscv::{Config, Extension, Hart};
use std::sync::Arc;

/// Interrupt inputs of a hart, by their numbers in `mip` (privileged ISA, "Machine Interrupt Registers").
pub mod input {
    /// Supervisor software interrupt.
    pub const SSI: u32 = 1;
    /// Machine software interrupt.
    pub const MSI: u32 = 3;
    /// Supervisor timer interrupt.
    pub const STI: u32 = 5;
    /// Machine timer interrupt.
    pub const MTI: u32 = 7;
    /// Supervisor external interrupt.
    pub const SEI: u32 = 9;
    /// Machine external interrupt.
    pub const MEI: u32 = 11;
}

/// The inputs of one hart as a place where lines lead.
struct HartInputs(Arc<CpuHandle>);

impl LineSink for HartInputs {
    fn set(&self, n: u32, level: bool) {
        // Supervisor software interrupts are set by an edge and cleared by the hart's own software.
        if n != input::SSI || level {
            self.0.set_line(n, level);
        }
    }
}

/// The harts of a board.
pub struct Harts {
    handles: Vec<Arc<CpuHandle>>,
    /// Phandle of each hart's interrupt controller node.
    pub phandles: Vec<u32>,
}

impl Harts {
    /// Makes `count` harts and puts them on the board as its child `name`.
    pub fn build(
        board: &mut Board,
        name: &str,
        config: &Config,
        count: u32,
        reset_pc: u64,
        platform: &Arc<HartPlatform>,
    ) -> Result<Harts> {
        board.notices.extend(config.warnings().iter().map(|w| format!("warning: {w}")));
        let array = Node::new_device("riscv.hart_array");
        let fixed = |name, kind, value| NodeProperty::fixed(name, kind, value);
        let type_name = format!("{}-riscv-cpu", config.model());
        array.add_property(fixed("num-harts", "uint32", PropertyValue::Uint(count.into())));
        array.add_property(fixed("hartid-base", "uint32", PropertyValue::Uint(0)));
        array.add_property(fixed("cpu-type", "str", PropertyValue::Str(type_name.clone())));
        array.add_property(fixed("resetvec", "uint64", PropertyValue::Uint(reset_pc)));
        board.add_group(name, &array);
        let mut harts = Vec::new();
        for index in 0..count {
            let mut hart = Hart::new(index, config.clone(), platform.clone());
            hart.set_reset_pc(reset_pc);
            let node = Node::new_device(type_name.clone());
            for n in 0..16 {
                node.add_child(&format!("riscv.cpu.rnmi[{n}]"), &Node::new("irq"));
            }
            for n in 0..127 {
                node.add_child(&format!("unnamed-gpio-in[{n}]"), &Node::new("irq"));
            }
            for extension in Extension::ALL.iter().filter(|extension| extension.is_property()) {
                let on = PropertyValue::Bool(config.has(*extension));
                node.add_property(fixed(extension.name(), "bool", on));
            }
            array.add_child(&format!("harts[{index}]"), &node);
            board.spaces.insert(
                index as usize,
                AddressSpace::new(&format!("cpu-memory-{index}"), &board.system.clone()),
            );
            board.cpus.add(hart.handle().clone());
            harts.push(hart);
        }
        let handles: Vec<_> = harts.iter().map(|h| h.handle().clone()).collect();
        platform.set_harts(&handles, board.memory.clone(), &board.events);
        board.processors = Processors::RiscV(harts);
        Ok(Harts { handles, phandles: Vec::new() })
    }

    /// A line to an input of a hart.
    pub fn line(&self, hart: usize, input: u32) -> Line {
        match self.handles.get(hart) {
            Some(handle) => Line::to(Arc::new(HartInputs(handle.clone())), input),
            None => Line::unconnected(),
        }
    }

    /// Writes `/cpus`. Phandles are given out from the last hart to the first.
    pub fn describe(&mut self, board: &mut Board, config: &Config, frequency: u32) {
        let count = self.handles.len();
        let fdt = &mut board.fdt;
        fdt.node("/cpus")
            .prop_u32("#address-cells", 1)
            .prop_u32("#size-cells", 0)
            .prop_u32("timebase-frequency", frequency);
        self.phandles = vec![0; count];
        for hart in (0..count).rev() {
            let cpu = fdt.allocate_phandle();
            let controller = fdt.allocate_phandle();
            self.phandles[hart] = controller;
            let node = fdt.node(&format!("/cpus/cpu@{hart:x}"));
            describe_isa(node, config);
            node.prop_str("compatible", "riscv")
                .prop_str("device_type", "cpu")
                .prop_str("status", "okay")
                .prop_u32("reg", hart as u32)
                .prop_u32("phandle", cpu);
            node.make_child("interrupt-controller")
                .prop_u32("#interrupt-cells", 1)
                .prop_str("compatible", "riscv,cpu-intc")
                .prop_empty("interrupt-controller")
                .prop_u32("phandle", controller);
            fdt.node(&format!("/cpus/cpu-map/cluster0/core{hart}")).prop_u32("cpu", cpu);
        }
    }

    /// Cells of an `interrupts-extended` property: these inputs of each hart in turn.
    pub fn extended(&self, inputs: &[u32]) -> Vec<u32> {
        self.phandles.iter().flat_map(|p| inputs.iter().flat_map(move |i| [*p, *i])).collect()
    }
}

fn describe_isa(node: &mut FdtNode, config: &Config) {
    use riscv::Extension::{Zicbom, Zicbop, Zicboz};
    node.prop_str("riscv,isa", &config.isa_string())
        .prop_str("riscv,isa-base", &config.isa_base())
        .prop_strs("riscv,isa-extensions", &config.isa_extensions());
    for (extension, name) in [
        (Zicbom, "riscv,cbom-block-size"),
        (Zicboz, "riscv,cboz-block-size"),
        (Zicbop, "riscv,cbop-block-size"),
    ] {
        if config.has(extension) {
            node.prop_u32(name, 64);
        }
    }
    if config.mmu_type() != "riscv,none" || config.has(riscv::Extension::Mmu) {
        node.prop_str("mmu-type", config.mmu_type());
    }
}
