//! Reading the options of `socket`, `stream` and `dgram`.

use super::super::NetdevKind;
use crate::Error;
use crate::char::{SocketAddress, SocketOptions};
use crate::options::Options;

/// Where a network over a connection is, and how `info network` calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// `stream` or `socket`.
    pub kind: &'static str,
    /// The connection.
    pub socket: SocketOptions,
}

/// An end of a network of datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatagramAddress {
    /// A host and a port.
    Inet(String, String),
    /// A path in the file system.
    Unix(String),
    /// A socket that exists already.
    Fd(String),
}

/// Where a network of datagrams is, and how `info network` calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramOptions {
    /// `dgram` or `socket`.
    pub kind: &'static str,
    /// This end.
    pub local: Option<DatagramAddress>,
    /// The other.
    pub remote: Option<DatagramAddress>,
}

fn host_and_port(text: &str, option: &str) -> Result<(String, String), Error> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| {
        Error::new(format!(
            "host address '{text}' of '{option}' doesn't contain ':' separating host from port"
        ))
    })?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port.to_owned()))
}

fn connection(address: SocketAddress, server: bool, reconnect_ms: u64) -> SocketOptions {
    SocketOptions { address, server, wait: false, nodelay: true, reconnect_ms }
}

/// Reads the options of `socket`.
pub fn read_socket(options: &mut Options) -> Result<NetdevKind, Error> {
    let ways = ["fd", "listen", "connect", "mcast", "udp"].map(|way| options.take(way));
    let local = options.take("localaddr");
    let stream = |address, server| {
        let socket = connection(address, server, 0);
        NetdevKind::Stream(Box::new(StreamOptions { kind: "socket", socket }))
    };
    let datagrams = |local: Option<(String, String)>, remote: (String, String)| {
        let inet = |(host, port)| DatagramAddress::Inet(host, port);
        let (local, remote) = (local.map(inet), Some(inet(remote)));
        NetdevKind::Datagram(Box::new(DatagramOptions { kind: "socket", local, remote }))
    };
    if local.is_some() && ways[3].is_none() && ways[4].is_none() {
        return Err(Error::new("localaddr= is only valid with mcast= or udp="));
    }
    match ways {
        [Some(fd), None, None, None, None] => Ok(NetdevKind::Descriptor(fd)),
        [None, Some(at), None, None, None] => {
            let (host, port) = host_and_port(&at, "listen")?;
            Ok(stream(SocketAddress::Tcp(host, port), true))
        }
        [None, None, Some(at), None, None] => {
            let (host, port) = host_and_port(&at, "connect")?;
            Ok(stream(SocketAddress::Tcp(host, port), false))
        }
        [None, None, None, Some(at), None] => {
            let local = local.map(|host| (host, "0".to_owned()));
            Ok(datagrams(local, host_and_port(&at, "mcast")?))
        }
        [None, None, None, None, Some(at)] => {
            let local = local.ok_or_else(|| Error::new("localaddr= is mandatory with udp="))?;
            Ok(datagrams(Some(host_and_port(&local, "localaddr")?), host_and_port(&at, "udp")?))
        }
        _ => Err(Error::new("exactly one of listen=, connect=, mcast= or udp= is required")),
    }
}

/// Takes an address's options, which begin with `name`; nothing where there are none.
fn take_address(options: &mut Options, name: &str) -> Result<Option<DatagramAddress>, Error> {
    let mut part = |part: &str| options.take(&format!("{name}.{part}"));
    let kind = part("type");
    let (host, port, path, text, hidden) =
        (part("host"), part("port"), part("path"), part("str"), part("abstract"));
    // Which address family is left to the name's resolution.
    let _ = [part("ipv4"), part("ipv6"), part("to"), part("keep-alive"), part("tight"), part("numeric")];
    if hidden.is_some_and(|value| value != "off") {
        return Err(Error::new("socket option 'abstract' is not available"));
    }
    let missing = |part: &str| Error::new(format!("Parameter '{name}.{part}' is missing"));
    let inet = |host: Option<String>, port: Option<String>| {
        Ok(DatagramAddress::Inet(host.ok_or_else(|| missing("host"))?, port.ok_or_else(|| missing("port"))?))
    };
    Ok(Some(match kind.as_deref() {
        None => return Ok(None),
        Some("inet") => inet(host, port)?,
        Some("unix") => DatagramAddress::Unix(path.ok_or_else(|| missing("path"))?),
        Some("fd") => DatagramAddress::Fd(text.ok_or_else(|| missing("str"))?),
        Some(other) => {
            return Err(Error::new(format!("Parameter '{name}.type' does not accept value '{other}'")));
        }
    }))
}

/// Reads the options of `stream`.
pub fn read_stream(options: &mut Options) -> Result<NetdevKind, Error> {
    let server = options.take_bool("server")?.unwrap_or(false);
    let seconds = options.take_number("reconnect")?;
    let millis = options.take_number("reconnect-ms")?;
    let address =
        take_address(options, "addr")?.ok_or_else(|| Error::new("Parameter 'addr.type' is missing"))?;
    if server && (seconds.is_some() || millis.is_some()) {
        return Err(Error::new("'reconnect-ms' option is incompatible with socket in server mode"));
    }
    let address = match address {
        DatagramAddress::Inet(host, port) => SocketAddress::Tcp(host, port),
        DatagramAddress::Unix(path) => SocketAddress::Unix(path),
        DatagramAddress::Fd(text) => SocketAddress::Fd(text),
    };
    let pause = millis.unwrap_or(seconds.unwrap_or(0).saturating_mul(1000));
    let socket = connection(address, server, pause);
    Ok(NetdevKind::Stream(Box::new(StreamOptions { kind: "stream", socket })))
}

/// Reads the options of `dgram`.
pub fn read_datagram(options: &mut Options) -> Result<NetdevKind, Error> {
    let (local, remote) = (take_address(options, "local")?, take_address(options, "remote")?);
    match (&local, &remote) {
        (None, None) => return Err(Error::new("dgram requires local= or remote= parameter")),
        (Some(DatagramAddress::Fd(_)), Some(_)) => {
            return Err(Error::new("don't set remote with local.fd"));
        }
        (_, Some(DatagramAddress::Fd(_))) => return Err(Error::new("remote address can't be 'fd'")),
        (Some(DatagramAddress::Inet(..) | DatagramAddress::Unix(_)), None) => {
            return Err(Error::new("dgram requires remote= parameter"));
        }
        (None, Some(DatagramAddress::Unix(_))) => return Err(Error::new("dgram requires local= parameter")),
        _ => {}
    }
    Ok(NetdevKind::Datagram(Box::new(DatagramOptions { kind: "dgram", local, remote })))
}
