//! Character devices that come and go while the machine runs.

use crate::control::Control;
use crate::options::Opts;
use backends::char::{CharBackend, CharContext, Chardev, Chardevs, SocketAddress, SocketOptions};
use base::{Result, error};
use monitor::hmp::{Rest, Word};
use monitor::{Command, Context, command};
use qapi::Qapi;

/// The commands of this file.
pub const COMMANDS: &[Command] =
    &[ADD_CLIENT, CHARDEV_ADD, CHARDEV_CHANGE, CHARDEV_REMOVE, CHARDEV_SEND_BREAK];

/// What all kinds have.
#[derive(Debug, Qapi)]
pub struct ChardevCommon {
    logfile: Option<String>,
    logappend: Option<bool>,
}

/// Output to a file.
#[derive(Debug, Qapi)]
pub struct ChardevFile {
    #[qapi(flatten)]
    common: ChardevCommon,
    out: String,
    append: Option<bool>,
}

/// Something of the host's with a name.
#[derive(Debug, Qapi)]
pub struct ChardevHostdev {
    #[qapi(flatten)]
    common: ChardevCommon,
    device: String,
}

/// A multiplexer.
#[derive(Debug, Qapi)]
pub struct ChardevMux {
    #[qapi(flatten)]
    common: ChardevCommon,
    chardev: String,
}

/// Standard input and output.
#[derive(Debug, Qapi)]
pub struct ChardevStdio {
    #[qapi(flatten)]
    common: ChardevCommon,
    signal: Option<bool>,
}

/// A ring buffer.
#[derive(Debug, Qapi)]
pub struct ChardevRingbuf {
    #[qapi(flatten)]
    common: ChardevCommon,
    size: Option<u64>,
}

/// An address of the Internet.
#[derive(Debug, Qapi)]
pub struct InetSocketAddress {
    host: String,
    port: String,
    ipv4: Option<bool>,
    ipv6: Option<bool>,
}

/// A path.
#[derive(Debug, Qapi)]
pub struct UnixSocketAddress {
    path: String,
}

/// A descriptor's number or name.
#[derive(Debug, Qapi)]
pub struct FdSocketAddress {
    #[qapi(name = "str")]
    text: String,
}

/// Data of a kind, in a structure of its own.
macro_rules! wrapped {
    ($($name:ident $inner:ident;)*) => { $(
        #[doc = concat!("[`", stringify!($inner), "`] as `data`.")]
        #[derive(Debug, Qapi)]
        pub struct $name {
            data: $inner,
        }
    )* };
}

wrapped! {
    CommonData ChardevCommon;
    FileData ChardevFile;
    HostdevData ChardevHostdev;
    MuxData ChardevMux;
    StdioData ChardevStdio;
    RingbufData ChardevRingbuf;
    SocketData ChardevSocket;
    InetData InetSocketAddress;
    UnixData UnixSocketAddress;
    FdData FdSocketAddress;
}

/// Where a socket is.
#[derive(Debug, Qapi)]
#[qapi(tag = "type")]
pub enum SocketAddressLegacy {
    /// On the Internet.
    Inet(InetData),
    /// In the file system.
    Unix(UnixData),
    /// Open already.
    Fd(FdData),
}

/// A socket.
#[derive(Debug, Qapi)]
pub struct ChardevSocket {
    #[qapi(flatten)]
    common: ChardevCommon,
    addr: SocketAddressLegacy,
    server: Option<bool>,
    wait: Option<bool>,
    nodelay: Option<bool>,
    reconnect: Option<i64>,
    reconnect_ms: Option<i64>,
}

/// The kinds of character devices.
#[derive(Debug, Qapi)]
#[qapi(tag = "type")]
pub enum ChardevBackend {
    /// Output to a file.
    File(FileData),
    /// Named pipes.
    Pipe(HostdevData),
    /// A serial line of the host.
    Serial(HostdevData),
    /// A socket.
    Socket(SocketData),
    /// A pseudo-terminal.
    Pty(CommonData),
    /// Nothing.
    Null(CommonData),
    /// A multiplexer.
    Mux(MuxData),
    /// Standard input and output.
    Stdio(StdioData),
    /// A text console.
    Vc(CommonData),
    /// A ring buffer.
    Ringbuf(RingbufData),
    /// The same.
    Memory(RingbufData),
}

/// What has come of it.
#[derive(Debug, Qapi)]
pub struct ChardevReturn {
    pty: Option<String>,
}

fn socket(socket: ChardevSocket) -> Result<(ChardevCommon, CharBackend)> {
    let address = match socket.addr {
        SocketAddressLegacy::Inet(InetData { data }) => SocketAddress::Tcp(data.host, data.port),
        SocketAddressLegacy::Unix(UnixData { data }) => SocketAddress::Unix(data.path),
        SocketAddressLegacy::Fd(FdData { data }) => SocketAddress::Fd(data.text),
    };
    // Unlike on the command line, a socket listens unless told otherwise.
    let server = socket.server.unwrap_or(true);
    let milliseconds = socket.reconnect_ms.unwrap_or(socket.reconnect.unwrap_or(0).saturating_mul(1000));
    if server && milliseconds != 0 {
        return Err(error!("'reconnect' option is incompatible with socket in server listen mode"));
    }
    if !server && socket.wait.is_some() {
        return Err(error!("'wait' option is incompatible with socket in client connect mode"));
    }
    let options = SocketOptions {
        address,
        server,
        wait: server && socket.wait.unwrap_or(false),
        nodelay: socket.nodelay.unwrap_or(false),
        reconnect_ms: milliseconds.max(0) as u64,
    };
    Ok((socket.common, CharBackend::Socket(options)))
}

fn backend(backend: ChardevBackend) -> Result<(ChardevCommon, CharBackend)> {
    Ok(match backend {
        ChardevBackend::File(FileData { data }) => {
            let ChardevFile { common, out, append } = data;
            (common, CharBackend::File { path: out, append: append.unwrap_or(false) })
        }
        ChardevBackend::Pipe(HostdevData { data }) => (data.common, CharBackend::Pipe { path: data.device }),
        ChardevBackend::Serial(HostdevData { data }) => {
            (data.common, CharBackend::Serial { path: data.device })
        }
        ChardevBackend::Socket(SocketData { data }) => socket(data)?,
        ChardevBackend::Pty(CommonData { data }) => (data, CharBackend::Pty),
        ChardevBackend::Null(CommonData { data }) => (data, CharBackend::Null),
        ChardevBackend::Mux(MuxData { data }) => (data.common, CharBackend::Mux { chardev: data.chardev }),
        ChardevBackend::Stdio(StdioData { data }) => {
            (data.common, CharBackend::Stdio { signal: data.signal.unwrap_or(true) })
        }
        ChardevBackend::Vc(CommonData { data }) => (data, CharBackend::Vc),
        ChardevBackend::Ringbuf(RingbufData { data }) | ChardevBackend::Memory(RingbufData { data }) => {
            (data.common, CharBackend::RingBuf { size: data.size.unwrap_or(64 << 10) })
        }
    })
}

fn open(control: &Control, chardev: &Chardev) -> Result<ChardevReturn> {
    made(control, chardev, Chardevs::open)
}

fn change(control: &Control, chardev: &Chardev) -> Result<ChardevReturn> {
    made(control, chardev, Chardevs::change)
}

type Make = fn(&mut Chardevs, &Chardev, &CharContext<'_>) -> std::result::Result<(), backends::Error>;

/// Makes a character device, and tells where it is if that was not said.
fn made(control: &Control, chardev: &Chardev, make: Make) -> Result<ChardevReturn> {
    control.lines.with(|chardevs, context| {
        make(chardevs, chardev, context).map_err(|e| error!("{e}"))?;
        let what = chardevs.list().into_iter().find(|one| one.id == chardev.id).map(|one| one.what);
        Ok(ChardevReturn { pty: what.and_then(|what| Some(what.strip_prefix("pty:")?.to_owned())) })
    })
}

/// Makes a character device.
#[command]
pub fn chardev_add(
    context: &mut Context<'_>,
    id: String,
    #[name("backend")] wanted: ChardevBackend,
) -> Result<ChardevReturn> {
    let (common, backend) = backend(wanted)?;
    let log = common.logfile.map(|path| (path, common.logappend.unwrap_or(false)));
    open(Control::of(context)?, &Chardev { id, mux: false, log, backend })
}

/// Puts another character device in the place of one.
#[command]
pub fn chardev_change(
    context: &mut Context<'_>,
    id: String,
    #[name("backend")] wanted: ChardevBackend,
) -> Result<ChardevReturn> {
    let (common, backend) = backend(wanted)?;
    let log = common.logfile.map(|path| (path, common.logappend.unwrap_or(false)));
    change(Control::of(context)?, &Chardev { id, mux: false, log, backend })
}

/// Gives a connection to a character device: one that a client has accepted, and sent and named with `getfd`.
#[command(name = "add_client")]
pub fn add_client(
    context: &mut Context<'_>,
    protocol: String,
    fdname: String,
    _skipauth: Option<bool>,
    _tls: Option<bool>,
) -> Result<()> {
    let fd = backends::fd::take_named(&fdname);
    let fd = fd.ok_or_else(|| error!("File descriptor named '{fdname}' has not been found"))?;
    Control::of(context)?
        .lines
        .with(|chardevs, _| chardevs.add_client(&protocol, fd))
        .map_err(|e| error!("{e}"))
}

/// Removes a character device that nobody has.
#[command(hmp("chardev-remove", "id", "remove chardev"))]
pub fn chardev_remove(context: &mut Context<'_>, id: String) -> Result<()> {
    Control::of(context)?.lines.with(|chardevs, _| chardevs.remove(&id)).map_err(|e| error!("{e}"))
}

/// Sends a break to whoever has the character device.
#[command(hmp("chardev-send-break", "id", "send a break on chardev"))]
pub fn chardev_send_break(context: &mut Context<'_>, id: String) -> Result<()> {
    Control::of(context)?.lines.with(|chardevs, _| chardevs.send_break(&id)).map_err(|e| error!("{e}"))
}

fn chardev_change_line(context: &mut Context<'_>, (id, args): (Word, Rest)) -> Result<()> {
    let chardev = Opts::parse("chardev", &args.0, Some("backend")).and_then(|mut opts| {
        opts.push("id", id.0);
        Chardev::parse(&opts.to_text()).map_err(|e| error!("{e}"))
    });
    let done = chardev.and_then(|chardev| change(Control::of(context)?, &chardev));
    done.map(drop).map_err(monitor::hmp::refused)
}

fn chardev_add_line(context: &mut Context<'_>, (args,): (Rest,)) -> Result<()> {
    let chardev = Opts::parse("chardev", &args.0, Some("backend"))
        .and_then(|opts| Chardev::parse(&opts.to_text()).map_err(|e| error!("{e}")));
    let done = chardev.and_then(|chardev| open(Control::of(context)?, &chardev));
    done.map(drop).map_err(monitor::hmp::refused)
}

monitor::hmp_rows! {
    /// Commands for people.
    HMP {
        "chardev-add" chardev_add_line, (Rest), "args", "add chardev";
        "chardev-change" chardev_change_line, (Word, Rest), "id args", "change chardev";
    }
}
