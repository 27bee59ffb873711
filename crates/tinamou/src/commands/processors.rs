//! Models of processors, and the processors of the machine.

use base::{Result, error};
use monitor::{Command, Context, command};
use qapi::{Map, Qapi, Value};
use riscv::Extension;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    QUERY_CPU_DEFINITIONS,
    QUERY_CPU_MODEL_EXPANSION,
    QUERY_CPUS_FAST,
    QUERY_CURRENT_MACHINE,
    QUERY_HOTPLUGGABLE_CPUS,
];

/// A model.
#[derive(Debug, Qapi)]
pub struct CpuDefinitionInfo {
    name: String,
    typename: String,
    #[qapi(name = "static")]
    is_static: bool,
    deprecated: bool,
}

/// The models. One is static if what it has will not change with a later version of this program.
#[command]
pub fn query_cpu_definitions(_: &mut Context<'_>) -> Result<Vec<CpuDefinitionInfo>> {
    let info = |name: &&str| CpuDefinitionInfo {
        name: (*name).to_owned(),
        typename: format!("{name}-riscv-cpu"),
        is_static: !matches!(*name, "rv32" | "rv64" | "max" | "max32"),
        deprecated: false,
    };
    Ok(riscv::models().iter().map(info).collect())
}

/// What is asked of an expansion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Qapi)]
pub enum CpuModelExpansionType {
    /// In terms of models that do not change.
    Static,
    /// All properties.
    Full,
}

/// A model with properties.
#[derive(Debug, Qapi)]
pub struct CpuModelInfo {
    name: String,
    props: Option<Value>,
}

/// The answer.
#[derive(Debug, Qapi)]
pub struct CpuModelExpansionInfo {
    model: CpuModelInfo,
}

/// All properties of a model.
#[command]
pub fn query_cpu_model_expansion(
    _: &mut Context<'_>,
    #[name("type")] kind: CpuModelExpansionType,
    model: CpuModelInfo,
) -> Result<CpuModelExpansionInfo> {
    if kind != CpuModelExpansionType::Full {
        return Err(error!("The requested expansion type is not supported"));
    }
    let mut text = model.name.clone();
    let props = model.props.unwrap_or(Value::Object(Map::new()));
    let props = props
        .as_object()
        .ok_or_else(|| error!("Invalid parameter type for 'model.props', expected: dict"))?;
    for (name, value) in props {
        let on = value.as_bool();
        let on = on.ok_or_else(|| error!("Invalid parameter type for '{name}', expected: boolean"))?;
        text.push_str(&format!(",{name}={on}"));
    }
    if !riscv::models().contains(&model.name.as_str()) {
        return Err(error!("The CPU type '{}' is not a known RISC-V CPU type", model.name));
    }
    let config = riscv::parse_cpu(&text).map_err(|e| error!("{e}"))?;
    let known = Extension::ALL.iter().filter(|e| e.is_property());
    let props = known.map(|e| (e.name().to_owned(), config.has(*e).into()));
    let props = Some(Value::Object(props.collect()));
    Ok(CpuModelExpansionInfo { model: CpuModelInfo { name: model.name, props } })
}

/// Where a processor is in the machine.
#[derive(Debug, Qapi)]
pub struct CpuInstanceProperties {
    core_id: Option<i64>,
}

/// A processor.
#[derive(Debug, Qapi)]
pub struct CpuInfoFast {
    cpu_index: i64,
    qom_path: String,
    thread_id: i64,
    props: Option<CpuInstanceProperties>,
    target: String,
}

/// The processors.
#[command]
pub fn query_cpus_fast(context: &mut Context<'_>) -> Result<Vec<CpuInfoFast>> {
    let mut paths = Vec::new();
    context.vm.root().walk(&mut |node| {
        if node.is_device() && node.type_name().ends_with("-riscv-cpu") {
            paths.push(node.path());
        }
    });
    let info = |(n, handle): (usize, &std::sync::Arc<cpu::CpuHandle>)| CpuInfoFast {
        cpu_index: n as i64,
        qom_path: paths.get(n).cloned().unwrap_or_default(),
        thread_id: handle.thread_id() as i64,
        props: Some(CpuInstanceProperties { core_id: Some(n as i64) }),
        target: "riscv64".into(),
    };
    Ok(context.vm.cpus().all().iter().enumerate().map(info).collect())
}

/// What the machine can.
#[derive(Debug, Qapi)]
pub struct CurrentMachineParams {
    wakeup_suspend_support: bool,
}

/// What the machine can.
#[command]
pub fn query_current_machine(_: &mut Context<'_>) -> Result<CurrentMachineParams> {
    Ok(CurrentMachineParams { wakeup_suspend_support: false })
}

/// Processors that could be plugged in: none of the machines can.
#[command(hmp("info hotpluggable-cpus", "", "Show information about hotpluggable CPUs"))]
pub fn query_hotpluggable_cpus(_: &mut Context<'_>) -> Result<Vec<Value>> {
    Err(error!("machine does not support hot-plugging CPUs"))
}
