//! Drives and block nodes.

mod text;

pub use text::INFO;

use super::{Qapi, command};
use crate::vm::lock;
use crate::{Command, Context};
use backends::block::{BlockDevice, BlockStats, Drive, IoStatus, Limit};
use base::{Result, error};
use qapi::Value;
use std::fmt::Write;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[BLOCKDEV_DEL, QUERY_BLOCK, QUERY_BLOCKSTATS, QUERY_NAMED_BLOCK_NODES];

/// What an image is.
#[derive(Debug, Qapi)]
pub struct ImageInfo {
    filename: String,
    format: String,
    dirty_flag: Option<bool>,
    virtual_size: i64,
    actual_size: Option<i64>,
}

/// How an image is cached.
#[derive(Debug, Qapi)]
pub struct BlockdevCacheInfo {
    writeback: bool,
    direct: bool,
    no_flush: bool,
}

/// What is done about written zeroes.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum BlockdevDetectZeroesOptions {
    /// Nothing.
    Off,
}

macro_rules! limits {
    ($($n:literal $average:ident $text:literal $burst:ident $burst_text:literal $length:ident $length_text:literal,)*) => {
        /// The I/O limits of a node. What is not about an average is there only when some limit is.
        #[derive(Debug, Default, Qapi)]
        pub struct IoLimits {
            $(
                #[qapi(name = $text)]
                $average: i64,
                #[qapi(name = $burst_text)]
                $burst: Option<i64>,
                #[qapi(name = $length_text)]
                $length: Option<i64>,
            )*
            #[qapi(name = "iops_size")]
            iops_size: Option<i64>,
            group: Option<String>,
        }

        impl IoLimits {
            fn of(drive: &Drive) -> IoLimits {
                let Some(limits) = drive.device.as_ref().map(|node| node.limits()) else {
                    return IoLimits::default();
                };
                let some = |value: u64| (value > 0).then_some(value as i64);
                let limit = |n: usize| limits.each.get(n).copied().unwrap_or_default();
                let length = |limit: Limit| some(limit.burst).map(|_| limit.burst_length.max(1) as i64);
                IoLimits {
                    $(
                        $average: limit($n).average as i64,
                        $burst: some(limit($n).burst),
                        $length: length(limit($n)),
                    )*
                    iops_size: some(limits.request_size),
                    group: limits.any().then(|| drive.id.clone()),
                }
            }

            /// A line of `info block`.
            fn describe(&self, out: &mut String) {
                let Some(group) = &self.group else { return };
                out.push_str("    I/O throttling:  ");
                let all = [$(($text, self.$average, $burst_text, self.$burst.unwrap_or(0)),)*];
                for part in all.chunks(3) {
                    part.iter().for_each(|(name, value, ..)| { let _ = write!(out, " {name}={value}"); });
                    part.iter().for_each(|(.., name, value)| { let _ = write!(out, " {name}={value}"); });
                }
                let _ = writeln!(out, " iops_size={} group={group}", self.iops_size.unwrap_or(0));
            }
        }
    };
}

limits! {
    0 bps "bps" bps_max "bps_max" bps_max_length "bps_max_length",
    1 bps_rd "bps_rd" bps_rd_max "bps_rd_max" bps_rd_max_length "bps_rd_max_length",
    2 bps_wr "bps_wr" bps_wr_max "bps_wr_max" bps_wr_max_length "bps_wr_max_length",
    3 iops "iops" iops_max "iops_max" iops_max_length "iops_max_length",
    4 iops_rd "iops_rd" iops_rd_max "iops_rd_max" iops_rd_max_length "iops_rd_max_length",
    5 iops_wr "iops_wr" iops_wr_max "iops_wr_max" iops_wr_max_length "iops_wr_max_length",
}

/// A block node.
#[derive(Debug, Qapi)]
pub struct BlockDeviceInfo {
    file: String,
    node_name: Option<String>,
    ro: bool,
    drv: String,
    #[qapi(name = "backing_file_depth")]
    backing_file_depth: i64,
    active: bool,
    encrypted: bool,
    #[qapi(name = "detect_zeroes")]
    detect_zeroes: BlockdevDetectZeroesOptions,
    #[qapi(flatten)]
    limits: IoLimits,
    image: ImageInfo,
    cache: BlockdevCacheInfo,
    #[qapi(name = "write_threshold")]
    write_threshold: i64,
}

/// Whether the host has reported an error for which the machine has stopped.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum BlockDeviceIoStatus {
    /// It has not.
    Ok,
    /// It has.
    Failed,
    /// Its disk is full.
    Nospace,
}

/// A drive.
#[derive(Debug, Qapi)]
pub struct BlockInfo {
    device: String,
    qdev: Option<String>,
    #[qapi(name = "type")]
    kind: String,
    removable: bool,
    locked: bool,
    inserted: Option<BlockDeviceInfo>,
    io_status: Option<BlockDeviceIoStatus>,
}

/// What a drive or node has in it; `None` without a medium.
fn inserted(drive: &Drive) -> Option<BlockDeviceInfo> {
    let device = drive.device.as_ref()?;
    // What has no image has no content either.
    let (file, format) = (drive.file().unwrap_or("null-co://").to_owned(), drive.format().to_owned());
    let cache = drive.option.as_ref().map(|option| option.cache).unwrap_or_default();
    let actual =
        std::fs::metadata(&file).map(|data| std::os::unix::fs::MetadataExt::blocks(&data) as i64 * 512);
    Some(BlockDeviceInfo {
        node_name: Some(drive.node_name().to_owned()),
        ro: device.read_only(),
        drv: format.clone(),
        backing_file_depth: 0,
        active: true,
        encrypted: false,
        detect_zeroes: BlockdevDetectZeroesOptions::Off,
        limits: IoLimits::of(drive),
        image: ImageInfo {
            filename: file.clone(),
            format,
            dirty_flag: Some(false),
            virtual_size: device.len() as i64,
            actual_size: actual.ok(),
        },
        file,
        cache: BlockdevCacheInfo {
            writeback: !cache.writethrough,
            direct: cache.direct,
            no_flush: cache.no_flush,
        },
        write_threshold: 0,
    })
}

/// How a device is named: by its id if it has one, else by its path.
fn user(path: &str) -> String {
    let id = path.strip_prefix("/machine/peripheral/").filter(|id| !id.contains('/'));
    id.unwrap_or(path).to_owned()
}

/// The drives, and the nodes that a device has.
#[command]
pub fn query_block(context: &mut Context<'_>) -> Result<Vec<BlockInfo>> {
    let mut list = Vec::new();
    let blocks = lock(context.vm.blocks());
    // A node that no device has is no drive.
    for drive in blocks.iter().filter(|drive| drive.option.is_some() || drive.taken) {
        let named = drive.option.is_some();
        let info = BlockInfo {
            device: if named { drive.id.clone() } else { String::new() },
            qdev: drive.user.as_deref().map(user),
            kind: "unknown".into(),
            removable: drive.removable(),
            locked: false,
            inserted: inserted(drive),
            // Only devices that wait when the machine stops for an error have a status.
            io_status: drive.device.as_ref().filter(|node| drive.taken && node.can_tell_size()).map(|node| {
                match node.status() {
                    IoStatus::Ok => BlockDeviceIoStatus::Ok,
                    IoStatus::Failed => BlockDeviceIoStatus::Failed,
                    IoStatus::NoSpace => BlockDeviceIoStatus::Nospace,
                }
            }),
        };
        list.push(info);
    }
    Ok(list)
}

/// All block nodes.
#[command]
pub fn query_named_block_nodes(
    context: &mut Context<'_>,
    _flat: Option<bool>,
) -> Result<Vec<BlockDeviceInfo>> {
    Ok(lock(context.vm.blocks()).iter().filter_map(inserted).collect())
}

/// Removes a block node.
#[command]
pub fn blockdev_del(context: &mut Context<'_>, node_name: String) -> Result<()> {
    let mut blocks = lock(context.vm.blocks());
    let node = blocks.find(&node_name).filter(|node| node.option.is_none());
    let node = node.ok_or_else(|| error!("Failed to find node with node-name='{node_name}'"))?;
    if node.taken {
        return Err(error!("Node {node_name} is in use"));
    }
    if let Some(kind) = node.device.as_ref().and_then(|node| node.job()) {
        return Err(error!("Node '{node_name}' is busy: block device is in use by block job: {kind}"));
    }
    blocks.remove(&node_name);
    Ok(())
}

macro_rules! counters {
    ($($name:ident $text:literal,)*) => {
        /// The counts of a disk. What is never merged, has no zones and is refused before it gets here stays 0.
        #[derive(Debug, Default, Qapi)]
        #[allow(missing_docs)]
        pub struct BlockDeviceStats {
            $(#[qapi(name = $text)] $name: u64,)*
            #[qapi(name = "account_invalid")]
            account_invalid: bool,
            #[qapi(name = "account_failed")]
            account_failed: bool,
            #[qapi(name = "timed_stats")]
            timed_stats: Vec<Value>,
        }
    };
}

counters! {
    rd_bytes "rd_bytes",
    wr_bytes "wr_bytes",
    zone_append_bytes "zone_append_bytes",
    unmap_bytes "unmap_bytes",
    rd_operations "rd_operations",
    wr_operations "wr_operations",
    zone_append_operations "zone_append_operations",
    flush_operations "flush_operations",
    unmap_operations "unmap_operations",
    rd_total_time_ns "rd_total_time_ns",
    wr_total_time_ns "wr_total_time_ns",
    zone_append_total_time_ns "zone_append_total_time_ns",
    flush_total_time_ns "flush_total_time_ns",
    unmap_total_time_ns "unmap_total_time_ns",
    wr_highest_offset "wr_highest_offset",
    rd_merged "rd_merged",
    wr_merged "wr_merged",
    zone_append_merged "zone_append_merged",
    unmap_merged "unmap_merged",
    failed_rd_operations "failed_rd_operations",
    failed_wr_operations "failed_wr_operations",
    failed_zone_append_operations "failed_zone_append_operations",
    failed_flush_operations "failed_flush_operations",
    failed_unmap_operations "failed_unmap_operations",
    invalid_rd_operations "invalid_rd_operations",
    invalid_wr_operations "invalid_wr_operations",
    invalid_zone_append_operations "invalid_zone_append_operations",
    invalid_flush_operations "invalid_flush_operations",
    invalid_unmap_operations "invalid_unmap_operations",
}

impl BlockDeviceStats {
    fn of(stats: &BlockStats) -> BlockDeviceStats {
        let of = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
        BlockDeviceStats {
            rd_bytes: of(&stats.read.bytes),
            wr_bytes: of(&stats.write.bytes),
            unmap_bytes: of(&stats.unmap.bytes),
            rd_operations: of(&stats.read.operations),
            wr_operations: of(&stats.write.operations),
            flush_operations: of(&stats.flush.operations),
            unmap_operations: of(&stats.unmap.operations),
            rd_total_time_ns: of(&stats.read.time_ns),
            wr_total_time_ns: of(&stats.write.time_ns),
            flush_total_time_ns: of(&stats.flush.time_ns),
            unmap_total_time_ns: of(&stats.unmap.time_ns),
            wr_highest_offset: of(&stats.highest),
            failed_rd_operations: of(&stats.read.failed),
            failed_wr_operations: of(&stats.write.failed),
            failed_flush_operations: of(&stats.flush.failed),
            failed_unmap_operations: of(&stats.unmap.failed),
            account_invalid: true,
            account_failed: true,
            ..BlockDeviceStats::default()
        }
    }
}

/// The counts of a drive.
#[derive(Debug, Qapi)]
pub struct BlockStatsInfo {
    device: Option<String>,
    qdev: Option<String>,
    node_name: Option<String>,
    stats: BlockDeviceStats,
}

/// The counts of the drives, or of the nodes.
#[command(hmp("info blockstats", "", "show block device statistics"))]
pub fn query_blockstats(
    context: &mut Context<'_>,
    #[name("query-nodes")] nodes: Option<bool>,
) -> Result<Vec<BlockStatsInfo>> {
    let (blocks, nodes) = (lock(context.vm.blocks()), nodes.unwrap_or(false));
    let mut list = Vec::new();
    for drive in blocks.iter().filter(|drive| nodes || drive.option.is_some() || drive.taken) {
        let device = if drive.option.is_some() { drive.id.clone() } else { String::new() };
        let stats = drive.device.as_ref().map(|node| node.stats().clone()).unwrap_or_default();
        let stats = BlockDeviceStats::of(&stats);
        let _ = writeln!(
            context.out,
            "{device}: rd_bytes={} wr_bytes={} rd_operations={} wr_operations={} flush_operations={} \
             wr_total_time_ns={} rd_total_time_ns={} flush_total_time_ns={} rd_merged=0 wr_merged=0",
            stats.rd_bytes,
            stats.wr_bytes,
            stats.rd_operations,
            stats.wr_operations,
            stats.flush_operations,
            stats.wr_total_time_ns,
            stats.rd_total_time_ns,
            stats.flush_total_time_ns
        );
        let node_name = drive.device.as_ref().map(|_| drive.node_name().to_owned());
        list.push(BlockStatsInfo {
            device: (!nodes).then_some(device),
            qdev: drive.user.as_deref().map(user),
            node_name,
            stats,
        });
    }
    Ok(list)
}
