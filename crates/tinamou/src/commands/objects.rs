//! Objects that a user makes: memory, entropy, secrets.

use crate::control::Control;
use crate::options::Opts;
use base::Result;
use monitor::hmp::Arguments;
use monitor::{Command, Context, command};
use qapi::Qapi;
use std::fmt::Write;
use std::sync::PoisonError;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[OBJECT_ADD, OBJECT_DEL, QUERY_MEMDEV];

/// Properties of an I/O thread.
#[derive(Debug, Qapi)]
pub struct IothreadProperties {
    aio_max_batch: Option<i64>,
    poll_grow: Option<i64>,
    poll_max_ns: Option<i64>,
    poll_shrink: Option<i64>,
    thread_pool_max: Option<i64>,
    thread_pool_min: Option<i64>,
}

/// Properties of all kinds of memory.
#[derive(Debug, Qapi)]
pub struct MemoryBackendProperties {
    size: u64,
    dump: Option<bool>,
    merge: Option<bool>,
    prealloc: Option<bool>,
    prealloc_threads: Option<u32>,
    reserve: Option<bool>,
    share: Option<bool>,
    x_use_canonical_path_for_ramblock_id: Option<bool>,
}

/// Properties of memory that is a file.
#[derive(Debug, Qapi)]
pub struct MemoryBackendFileProperties {
    #[qapi(flatten)]
    common: MemoryBackendProperties,
    mem_path: String,
    discard_data: Option<bool>,
}

/// Properties of memory that is a nameless file.
#[derive(Debug, Qapi)]
pub struct MemoryBackendMemfdProperties {
    #[qapi(flatten)]
    common: MemoryBackendProperties,
    seal: Option<bool>,
}

/// Properties of a source of entropy.
#[derive(Debug, Qapi)]
pub struct RngRandomProperties {
    filename: Option<String>,
}

/// How a secret is written.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum QCryptoSecretFormat {
    /// As it is.
    Raw,
    /// In base64.
    Base64,
}

/// Properties of a secret.
#[derive(Debug, Qapi)]
pub struct SecretProperties {
    data: Option<String>,
    file: Option<String>,
    format: Option<QCryptoSecretFormat>,
    iv: Option<String>,
    keyid: Option<String>,
}

/// The kinds of objects.
#[derive(Debug, Qapi)]
#[qapi(tag = "qom-type")]
pub enum ObjectKind {
    /// An I/O thread.
    Iothread(IothreadProperties),
    /// Memory that is a file.
    MemoryBackendFile(MemoryBackendFileProperties),
    /// Memory that is a nameless file.
    MemoryBackendMemfd(MemoryBackendMemfdProperties),
    /// Memory.
    MemoryBackendRam(MemoryBackendProperties),
    /// Entropy of the program's own.
    RngBuiltin,
    /// Entropy from a file.
    RngRandom(RngRandomProperties),
    /// A secret.
    Secret(SecretProperties),
}

/// An object.
#[derive(Debug, Qapi)]
pub struct ObjectOptions {
    id: String,
    #[qapi(flatten)]
    kind: ObjectKind,
}

fn add(control: &Control, opts: &Opts) -> Result<()> {
    control.backends.lock().unwrap_or_else(PoisonError::into_inner).objects.add(opts)
}

/// Makes an object.
#[command(boxed)]
pub fn object_add(context: &mut Context<'_>, object: ObjectOptions) -> Result<()> {
    add(Control::of(context)?, &Opts::from_object("object-add", &object.to_json()))
}

/// Removes an object.
#[command(hmp("object_del", "id", "destroy QOM object"))]
pub fn object_del(context: &mut Context<'_>, id: String) -> Result<()> {
    let control = Control::of(context)?;
    control.backends.lock().unwrap_or_else(PoisonError::into_inner).objects.remove(&id)
}

/// Where on the host memory may lie.
#[derive(Clone, Copy, Debug, Qapi)]
pub enum HostMemPolicy {
    /// Wherever.
    Default,
}

/// Memory.
#[derive(Debug, Qapi)]
pub struct Memdev {
    id: Option<String>,
    size: u64,
    merge: bool,
    dump: bool,
    prealloc: bool,
    share: bool,
    reserve: Option<bool>,
    host_nodes: Vec<i64>,
    policy: HostMemPolicy,
}

/// All memory that objects have, and the machine's own.
#[command(hmp("info memdev", "", "show memory backends"))]
pub fn query_memdev(context: &mut Context<'_>) -> Result<Vec<Memdev>> {
    let control = Control::of(context)?;
    let info = |(id, ram): (String, std::sync::Arc<memory::Ram>)| Memdev {
        id: Some(id),
        size: ram.len(),
        merge: true,
        dump: true,
        prealloc: false,
        share: ram.is_shared(),
        reserve: Some(true),
        host_nodes: Vec::new(),
        policy: HostMemPolicy::Default,
    };
    let list: Vec<_> = control.memory_backends().into_iter().map(info).collect();
    for one in &list {
        let Memdev { id, size, merge, dump, prealloc, share, .. } = one;
        let _ = writeln!(
            context.out,
            "memory backend: {}\n  size:  {size}\n  merge: {merge}\n  dump: {dump}\n  prealloc: {prealloc}\n  share: {share}\n  reserve: true\n  policy: default\n  host nodes: \n",
            id.as_deref().unwrap_or_default()
        );
    }
    Ok(list)
}

fn object_add_line(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let text = std::mem::take(&mut arguments.rest).trim();
    let done =
        Opts::parse("object", text, Some("qom-type")).and_then(|opts| add(Control::of(context)?, &opts));
    done.map_err(monitor::hmp::refused)
}

/// Commands for people.
pub const HMP: &[monitor::hmp::Command] = &[monitor::hmp::Command {
    names: "object_add",
    params: "[qom-type=]type,id=str[,prop=value][,...]",
    help: "create QOM object",
    run: object_add_line,
}];
