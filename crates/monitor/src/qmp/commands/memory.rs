//! Guest memory.

use super::{HumanReadableText, Qapi, command};
use crate::vm::{read_physical, read_virtual};
use crate::{Command, Context};
use base::{Result, error};
use qapi::Value;
use std::fmt::Write as _;
use std::io::Write;

/// The commands of this file.
pub const COMMANDS: &[Command] =
    &[MEMSAVE, PMEMSAVE, QUERY_MEMORY_DEVICES, QUERY_MEMORY_SIZE_SUMMARY, X_QUERY_RAMBLOCK];

/// How much is copied at once.
const CHUNK: u64 = 1 << 20;

/// Writes guest memory to a file.
fn save(filename: &str, at: u64, size: u64, read: &dyn Fn(u64, &mut [u8]) -> bool) -> Result<()> {
    let fail = |e: std::io::Error| {
        let text = e.to_string();
        error!("Could not open '{filename}': {}", text.split(" (os error").next().unwrap_or(&text))
    };
    let mut file = std::fs::File::create(filename).map_err(fail)?;
    let mut done = 0;
    while done < size {
        let mut bytes = vec![0; CHUNK.min(size - done) as usize];
        if !read(at.wrapping_add(done), &mut bytes) {
            return Err(error!("Invalid addr 0x{:016x}/size {size} specified", at));
        }
        file.write_all(&bytes).map_err(|e| error!("writing memory to '{filename}' failed").because(e))?;
        done += bytes.len() as u64;
    }
    Ok(())
}

/// Saves memory as a vCPU sees it.
#[command(hmp(
    "memsave",
    "addr size file",
    "save to disk virtual memory dump starting at 'addr' of size 'size'"
))]
pub fn memsave(
    context: &mut Context<'_>,
    val: u64,
    size: u64,
    filename: String,
    cpu_index: Option<i64>,
) -> Result<()> {
    let cpu = cpu_index.map_or(Some(context.session.cpu), |n| usize::try_from(n).ok());
    let count = context.vm.cpus().all().len();
    let cpu = cpu.filter(|n| *n < count).ok_or_else(|| error!("Invalid parameter 'cpu-index'"))?;
    let vm = context.vm;
    save(&filename, val, size, &|at, bytes| read_virtual(vm, cpu, at, bytes))
}

/// Saves physical memory; what is not there is zeroes.
#[command(hmp(
    "pmemsave",
    "addr size file",
    "save to disk physical memory dump starting at 'addr' of size 'size'"
))]
pub fn pmemsave(context: &mut Context<'_>, val: u64, size: u64, filename: String) -> Result<()> {
    let vm = context.vm;
    save(&filename, val, size, &|at, bytes| {
        if !read_physical(vm, at, bytes) {
            bytes.fill(0);
        }
        true
    })
}

/// How much memory there is.
#[derive(Debug, Qapi)]
pub struct MemoryInfo {
    base_memory: u64,
    plugged_memory: Option<u64>,
}

/// How much memory there is.
#[command(hmp(
    "info memory_size_summary",
    "",
    "show the amount of initially allocated and present hotpluggable (if enabled) memory in bytes."
))]
pub fn query_memory_size_summary(context: &mut Context<'_>) -> Result<MemoryInfo> {
    let base_memory = context.vm.memory_size();
    let _ = writeln!(context.out, "base memory: {base_memory}");
    Ok(MemoryInfo { base_memory, plugged_memory: None })
}

/// Memory that was plugged in: no machine takes any.
#[command(hmp("info memory-devices", "", "show memory devices"))]
pub fn query_memory_devices(_: &mut Context<'_>) -> Result<Vec<Value>> {
    Ok(Vec::new())
}

/// Blocks of memory of the host that the guest uses.
#[command(hmp("info ramblock", "", "Display system ramblock information"))]
pub fn x_query_ramblock(context: &mut Context<'_>) -> Result<HumanReadableText> {
    let mut text = format!(
        "{:>24} {:>8}  {:>18} {:>18} {:>18} {:>18} {:>3}\n",
        "Block Name", "PSize", "Offset", "Used", "Total", "HVA", "RO"
    );
    let (mut offset, mut seen) = (0u64, Vec::new());
    let mut regions = vec![context.vm.memory().root().clone()];
    while let Some(region) = regions.pop() {
        regions.extend(region.children());
        let Some(ram) = region.ram_block().filter(|ram| !seen.contains(&ram.host_ptr())) else { continue };
        seen.push(ram.host_ptr());
        let (access, size, host) =
            (if region.is_readonly() { "ro" } else { "rw" }, ram.len(), ram.host_ptr());
        let _ = writeln!(
            text,
            "{:>24} {:>8}  0x{offset:016x} 0x{size:016x} 0x{size:016x} 0x{:016x} {access:>3}",
            region.name(),
            "4 KiB",
            host.addr()
        );
        offset += size;
    }
    Ok(HumanReadableText { human_readable_text: text })
}
