//! `-netdev` and `-nic`: reading the options.

use std::net::Ipv4Addr;

use super::socket::{DatagramOptions, StreamOptions, read_datagram, read_socket, read_stream};
use crate::Error;
use crate::options::Options;

/// What `-netdev help` prints: the back ends that exist here.
pub const NETDEV_HELP: &str = "Available netdev backend types:\nsocket\nstream\ndgram\nuser\n";

/// Back ends that QEMU has and this program has not.
const ABSENT: [&str; 8] = ["hubport", "tap", "l2tpv3", "vde", "bridge", "vhost-user", "vhost-vdpa", "netmap"];

/// Which transport a forwarding rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Transport {
    Tcp,
    Udp,
}

/// `hostfwd=tcp:HOST:PORT-GUEST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostForward {
    /// The rule as it was written.
    pub text: String,
    /// TCP or UDP.
    pub transport: Transport,
    /// The host's address; unspecified means all of them.
    pub host: Ipv4Addr,
    /// The host's port; 0 is any that is free.
    pub host_port: u16,
    /// The guest's address; the first one the DHCP server gives if not said.
    pub guest: Option<Ipv4Addr>,
    /// The guest's port.
    pub guest_port: u16,
}

impl HostForward {
    /// Reads a rule.
    ///
    /// # Errors
    /// `Invalid host forwarding rule '...' (why)`.
    pub fn parse(text: &str) -> Result<HostForward, Error> {
        let bad = |why: &str| Error::new(format!("Invalid host forwarding rule '{text}' ({why})"));
        let (transport, rest) = text.split_once(':').ok_or_else(|| bad("No : separators"))?;
        let transport = match transport {
            "tcp" | "" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(bad("Bad protocol name")),
        };
        let (host, rest) = rest.split_once(':').ok_or_else(|| bad("Missing : separator"))?;
        let host = match host {
            "" => Ipv4Addr::UNSPECIFIED,
            _ => host.parse().map_err(|_| bad("Bad host address"))?,
        };
        let (host_port, rest) = rest.split_once('-').ok_or_else(|| bad("Bad host port separator"))?;
        let host_port = host_port.parse().map_err(|_| bad("Bad host port"))?;
        let (guest, guest_port) = rest.split_once(':').ok_or_else(|| bad("Missing guest address"))?;
        let guest = match guest {
            "" => None,
            _ => Some(guest.parse().map_err(|_| bad("Bad guest address"))?),
        };
        let guest_port =
            guest_port.parse().ok().filter(|port| *port != 0).ok_or_else(|| bad("Bad guest port"))?;
        Ok(HostForward { text: text.to_owned(), transport, host, host_port, guest, guest_port })
    }
}

/// The options of `user`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserOptions {
    /// The network's address.
    pub network: Ipv4Addr,
    /// How many bits of it are the network's.
    pub prefix: u8,
    /// The gateway, which also stands for the host.
    pub host: Ipv4Addr,
    /// The name server.
    pub dns: Ipv4Addr,
    /// The first address that the DHCP server gives.
    pub dhcp_start: Ipv4Addr,
    /// The guest can reach nothing outside.
    pub restrict: bool,
    /// The name the DHCP server gives to the guest.
    pub hostname: Option<String>,
    /// The domain the DHCP server tells.
    pub domain_name: Option<String>,
    /// The domains to search that the DHCP server tells.
    pub dns_search: Vec<String>,
    /// The boot file that the DHCP server tells.
    pub bootfile: Option<String>,
    /// The name of the TFTP server that the DHCP server tells.
    pub tftp_server_name: Option<String>,
    /// Forwarding rules.
    pub forwards: Vec<HostForward>,
}

impl Default for UserOptions {
    fn default() -> Self {
        let at = |last| Ipv4Addr::new(10, 0, 2, last);
        UserOptions {
            network: at(0),
            prefix: 24,
            host: at(2),
            dns: at(3),
            dhcp_start: at(15),
            restrict: false,
            hostname: None,
            domain_name: None,
            dns_search: Vec::new(),
            bootfile: None,
            tftp_server_name: None,
            forwards: Vec::new(),
        }
    }
}

impl UserOptions {
    /// The network's mask.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0))
    }

    /// Whether an address lies in the network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & u32::from(self.mask()) == u32::from(self.network)
    }

    /// The network's broadcast address.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) | !u32::from(self.mask()))
    }

    fn take(options: &mut Options) -> Result<UserOptions, Error> {
        let mut user = UserOptions::default();
        let ipv4 = options.take_bool("ipv4")?;
        let ipv6 = options.take_bool("ipv6")?;
        if ipv4 == Some(false) && ipv6 == Some(false) {
            return Err(Error::new("IPv4 and IPv6 disabled"));
        }
        if ipv4 == Some(false) {
            return Err(Error::new("a network with IPv6 alone is not available"));
        }
        for key in ["ipv6-net", "ipv6-prefix", "ipv6-prefixlen", "ipv6-host", "ipv6-dns"] {
            options.take(key);
        }
        user.restrict = options.take_bool("restrict")?.unwrap_or(false);
        user.hostname = options.take("hostname");
        user.domain_name = options.take("domainname");
        user.dns_search = options.take_all("dnssearch");
        user.bootfile = options.take("bootfile");
        user.tftp_server_name = options.take("tftp-server-name");
        user.take_addresses(options)?;
        for absent in ["tftp", "smb", "smbserver", "guestfwd"] {
            if options.take(absent).is_some() {
                return Err(Error::new(format!("netdev user option '{absent}' is not available")));
            }
        }
        for rule in options.take_all("hostfwd") {
            user.forwards.push(HostForward::parse(&rule)?);
        }
        Ok(user)
    }

    fn take_addresses(&mut self, options: &mut Options) -> Result<(), Error> {
        let network = options.take("net").or(options.take("ip"));
        if let Some(network) = network {
            let (address, mask) = network.split_once('/').unwrap_or((&network, ""));
            let address = u32::from(parse_address(address).ok_or_else(|| Error::new("Failed to parse net"))?);
            self.prefix = match (mask, address >> 29) {
                // The classes of old.
                ("", 0..4) => 8,
                ("", 4 | 5) => 16,
                ("", _) => 24,
                _ => parse_mask(mask)?,
            };
            self.network = Ipv4Addr::from(address & u32::from(self.mask()));
        }
        let place = |place: u32| Ipv4Addr::from(u32::from(self.network) | place & !u32::from(self.mask()));
        let (host, dns, dhcp_start) = (place(2), place(3), place(15));
        let mut address = |key: &str, default: Ipv4Addr| match options.take(key) {
            None => Ok(default),
            Some(text) => parse_address(&text).ok_or_else(|| Error::new(format!("Failed to parse {key}"))),
        };
        (self.host, self.dns) = (address("host", host)?, address("dns", dns)?);
        self.dhcp_start = match address("dhcpstart", dhcp_start) {
            Ok(start) => start,
            Err(_) => return Err(Error::new("Failed to parse DHCP start address")),
        };
        if !self.contains(self.host) {
            return Err(Error::new("Host doesn't belong to network"));
        }
        if self.dns == self.host {
            return Err(Error::new("DNS must be different from host"));
        }
        if !self.contains(self.dhcp_start) {
            return Err(Error::new("DHCP doesn't belong to network"));
        }
        if self.dhcp_start == self.host || self.dhcp_start == self.dns {
            return Err(Error::new("DHCP must be different from host and DNS"));
        }
        Ok(())
    }
}

/// An address in its usual form, or short ones such as `1` for 0.0.0.1.
fn parse_address(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok().or_else(|| text.parse::<u32>().ok().map(Ipv4Addr::from))
}

/// The number of bits from a number of bits or from a mask.
fn parse_mask(text: &str) -> Result<u8, Error> {
    let bits = match text.parse::<Ipv4Addr>() {
        Ok(mask) => {
            let mask = u32::from(mask);
            if mask.leading_ones() + mask.trailing_zeros() < 32 {
                return Err(Error::new("Invalid netmask provided (it has gaps)"));
            }
            mask.leading_ones()
        }
        Err(_) => text.parse().map_err(|_| Error::new("Failed to parse netmask (trailing chars)"))?,
    };
    if (4..=32).contains(&bits) {
        Ok(bits as u8)
    } else {
        Err(Error::new("Invalid netmask provided (must be in range 4-32)"))
    }
}

/// What a `-netdev` option asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetdevKind {
    /// The user-mode network.
    User(Box<UserOptions>),
    /// Frames over a connection.
    Stream(Box<StreamOptions>),
    /// Frames as datagrams.
    Datagram(Box<DatagramOptions>),
    /// Over a socket that exists, whichever of the two it is for.
    Descriptor(String),
}

/// A parsed `-netdev` option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetdevOption {
    /// Its name.
    pub id: String,
    /// What it is.
    pub kind: NetdevKind,
}

impl NetdevOption {
    /// Reads the argument of `-netdev`. `help` is for the caller to see first ([`NETDEV_HELP`]).
    ///
    /// # Errors
    /// The text to print behind `-netdev ARGUMENT: `.
    pub fn parse(text: &str) -> Result<NetdevOption, Error> {
        let mut options = Options::parse(text, Some("type"));
        let id = options.take_id()?.ok_or_else(|| Error::new("Parameter 'id' is missing"))?;
        let kind = options.take("type").ok_or_else(|| Error::new("Parameter 'type' is missing"))?;
        let kind = read_kind(&kind, &mut options)?;
        options.finish()?;
        Ok(NetdevOption { id, kind })
    }
}

fn read_kind(kind: &str, options: &mut Options) -> Result<NetdevKind, Error> {
    match kind {
        "socket" => read_socket(options),
        "stream" => read_stream(options),
        "dgram" => read_datagram(options),
        "user" => Ok(NetdevKind::User(Box::new(UserOptions::take(options)?))),
        _ if ABSENT.contains(&kind) => Err(Error::new(format!("network back end '{kind}' is not available"))),
        _ => Err(Error::new(format!("Parameter 'type' does not accept value '{kind}'"))),
    }
}

/// A parsed `-nic` option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NicOption {
    /// `none`: the machine's default network card is not wanted either.
    None,
    /// A card with its network.
    Nic {
        /// The network's name, if said.
        id: Option<String>,
        /// The network.
        kind: NetdevKind,
        /// The card's model; the machine's default if not said.
        model: Option<String>,
        /// The card's hardware address, if said.
        mac: Option<[u8; 6]>,
    },
}

impl NicOption {
    /// Reads the argument of `-nic`. `help` and `model=help` are for the caller to see first.
    ///
    /// # Errors
    /// The text to print behind `-nic ARGUMENT: `.
    pub fn parse(text: &str) -> Result<NicOption, Error> {
        let mut options = Options::parse(text, Some("type"));
        let id = options.take_id()?;
        let kind = options.take("type").unwrap_or_else(|| "user".to_owned());
        if kind == "none" {
            options.finish()?;
            return Ok(NicOption::None);
        }
        let model = options.take("model");
        let mac = options.take("mac").map(|text| parse_mac(&text)).transpose()?;
        let kind = read_kind(&kind, &mut options)?;
        options.finish()?;
        Ok(NicOption::Nic { id, kind, model, mac })
    }
}

/// Reads a hardware address such as `52:54:00:12:34:56`.
///
/// # Errors
/// It is not one.
pub fn parse_mac(text: &str) -> Result<[u8; 6], Error> {
    let invalid = || Error::new("invalid syntax for ethernet address");
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|part| (1..=2).contains(&part.len())).ok_or_else(invalid)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
    }
    if parts.next().is_some() { Err(invalid()) } else { Ok(mac) }
}

#[cfg(test)]
#[path = "options_test.rs"]
mod test;
