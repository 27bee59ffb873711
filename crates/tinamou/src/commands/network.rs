//! Networks and network cards.

use crate::control::Control;
use crate::options::Opts;
use crate::plug::{NetworkCard, netdev_text};
use backends::net::{HostForward, NetdevOption, Network, Transport, UserNet};
use base::error::Class;
use base::{Error, Result, error};
use devices::virtio::net::RxFilter;
use monitor::hmp::Arguments;
use monitor::{Command, Context, command};
use qapi::Qapi;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[NETDEV_ADD, NETDEV_DEL, QUERY_RX_FILTER, SET_LINK];

/// A text in a list.
#[derive(Debug, Qapi)]
pub struct Text {
    #[qapi(name = "str")]
    text: String,
}

/// A network of user mode.
#[derive(Debug, Qapi)]
pub struct NetdevUserOptions {
    hostname: Option<String>,
    restrict: Option<bool>,
    ipv4: Option<bool>,
    ipv6: Option<bool>,
    ip: Option<String>,
    net: Option<String>,
    host: Option<String>,
    bootfile: Option<String>,
    dhcpstart: Option<String>,
    dns: Option<String>,
    dnssearch: Option<Vec<Text>>,
    domainname: Option<String>,
    hostfwd: Option<Vec<Text>>,
    tftp_server_name: Option<String>,
}

/// The kinds of networks.
#[derive(Debug, Qapi)]
#[qapi(tag = "type")]
pub enum NetdevKindOptions {
    /// User mode.
    User(NetdevUserOptions),
}

/// A network.
#[derive(Debug, Qapi)]
pub struct Netdev {
    id: String,
    #[qapi(flatten)]
    kind: NetdevKindOptions,
}

fn not_found(id: &str) -> Error {
    error!("Device '{id}' not found").class(Class::DeviceNotFound)
}

fn add(control: &Control, opts: &Opts) -> Result<()> {
    let option = NetdevOption::parse(&netdev_text(opts)).map_err(|e| error!("{e}"))?;
    let mut backends = control.backends.lock().unwrap_or_else(PoisonError::into_inner);
    if backends.networks.contains_key(&option.id) {
        return Err(error!("Duplicate ID '{}' for netdev", option.id));
    }
    let net = Network::open(option.kind, control.events()).map_err(|e| error!("{e}"))?;
    backends.networks.insert(option.id, net);
    Ok(())
}

/// Makes a network.
#[command(name = "netdev_add", boxed)]
pub fn netdev_add(context: &mut Context<'_>, netdev: Netdev) -> Result<()> {
    add(Control::of(context)?, &Opts::from_object("netdev_add", &netdev.to_json()))
}

/// Removes a network.
#[command(name = "netdev_del", hmp("netdev_del", "id", "remove host network device"))]
pub fn netdev_del(context: &mut Context<'_>, id: String) -> Result<()> {
    let mut backends = Control::of(context)?.backends.lock().unwrap_or_else(PoisonError::into_inner);
    let net = backends.networks.remove(&id).ok_or_else(|| not_found(&id))?;
    // A card that has it sees the cable pulled out.
    for card in backends.cards().iter().filter(|card| card.network.as_deref() == Some(&id)) {
        card.card.set_link(false);
    }
    net.peer().set_receiver(None);
    Ok(())
}

/// Plugs a cable in or pulls it out; `name` is a card's or a network's.
#[command(name = "set_link", hmp("set_link", "name on|off", "change the link status of a network adapter"))]
pub fn set_link(context: &mut Context<'_>, name: String, up: bool) -> Result<()> {
    let backends = Control::of(context)?.backends.lock().unwrap_or_else(PoisonError::into_inner);
    let cards = backends.cards();
    let named = |card: &&NetworkCard| card.name == name || card.network.as_deref() == Some(&name);
    let card = cards.iter().find(named).ok_or_else(|| not_found(&name))?;
    card.card.set_link(up);
    Ok(())
}

/// The receive filters of the cards, or of one.
#[command]
pub fn query_rx_filter(context: &mut Context<'_>, name: Option<String>) -> Result<Vec<RxFilter>> {
    let backends = Control::of(context)?.backends.lock().unwrap_or_else(PoisonError::into_inner);
    let cards = backends.cards();
    let wanted = cards.iter().filter(|card| name.as_ref().is_none_or(|name| card.name == *name));
    let list: Vec<_> = wanted
        .filter_map(|card| Some(RxFilter { name: card.name.clone(), ..card.card.rx_filter()? }))
        .collect();
    match name {
        Some(name) if list.is_empty() => Err(error!("invalid net client name: {name}")),
        _ => Ok(list),
    }
}

/// `info network`.
fn info_network(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    arguments.finish()?;
    let backends = Control::of(context)?.backends.lock().unwrap_or_else(PoisonError::into_inner);
    let describe = |net: &Network| net.peer().describe();
    let cards = backends.cards();
    let mut out = String::new();
    for card in &cards {
        let (name, model, address) = (&card.name, card.model, card.card.address());
        let _ = writeln!(out, "{name}: index=0,type=nic,model={model},macaddr={address}");
        if let Some((id, net)) = card.network.as_ref().and_then(|id| backends.networks.get_key_value(id)) {
            let _ = writeln!(out, " \\ {id}: index=0,{}", describe(net));
        }
    }
    let alone = |id: &&String| !cards.iter().any(|card| card.network.as_ref() == Some(id));
    for id in backends.networks.keys().filter(alone) {
        let _ = writeln!(out, "{id}: index=0,{}", describe(&backends.networks[id]));
    }
    context.out.push_str(&out);
    Ok(())
}

/// `info usernet`.
fn info_usernet(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    arguments.finish()?;
    let backends = Control::of(context)?.backends.lock().unwrap_or_else(PoisonError::into_inner);
    for (id, net) in backends.networks.iter().filter_map(|(id, net)| Some((id, net.user()?))) {
        let _ = write!(context.out, "Hub -1 ({id}):\n{}", net.table());
    }
    Ok(())
}

/// The network that a command about forwarding means, and what follows its name.
fn forwarding<'a>(control: &Control, text: &'a str) -> Result<(Arc<UserNet>, &'a str)> {
    let backends = control.backends.lock().unwrap_or_else(PoisonError::into_inner);
    let (id, rule) = match text.split_once(char::is_whitespace) {
        Some((id, rule)) => (Some(id), rule.trim_start()),
        None => (None, text),
    };
    let net = match id {
        Some(id) => {
            let net = backends.networks.get(id).ok_or_else(|| error!("Device '{id}' not found"))?;
            net.user().ok_or_else(|| error!("invalid netdev id '{id}'"))?
        }
        None => {
            let first = backends.networks.values().find_map(Network::user);
            first.ok_or_else(|| error!("user mode network stack not in use"))?
        }
    };
    Ok((net.clone(), rule))
}

fn hostfwd_add(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let text = std::mem::take(&mut arguments.rest).trim();
    let (net, rule) = forwarding(Control::of(context)?, text).map_err(monitor::hmp::failed)?;
    let rule = HostForward::parse(rule).map_err(|e| monitor::hmp::failed(error!("{e}")))?;
    net.add_forward(&rule).map_err(|e| monitor::hmp::failed(error!("{e}")))
}

fn hostfwd_remove(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let text = std::mem::take(&mut arguments.rest).trim();
    let (net, rule) = forwarding(Control::of(context)?, text).map_err(monitor::hmp::failed)?;
    let parts: Vec<_> = rule.split(':').collect();
    let (transport, host, port) = match parts.as_slice() {
        [transport, host, port] => (*transport, *host, *port),
        [transport, port] => (*transport, "", *port),
        _ => return Err(monitor::hmp::failed(error!("invalid format"))),
    };
    let transport = if transport == "udp" { Transport::Udp } else { Transport::Tcp };
    let host = if host.is_empty() { Some(Ipv4Addr::UNSPECIFIED) } else { host.parse().ok() };
    let found = match (host, port.parse()) {
        (Some(host), Ok(port)) => net.remove_forward(transport, host, port),
        _ => return Err(monitor::hmp::failed(error!("invalid format"))),
    };
    let result = if found { "removed" } else { "not found" };
    let _ = writeln!(context.out, "host forwarding rule for {rule} {result}");
    Ok(())
}

fn netdev_add_line(context: &mut Context<'_>, arguments: &mut Arguments<'_>) -> Result<()> {
    let text = std::mem::take(&mut arguments.rest).trim();
    let done = Opts::parse("netdev", text, Some("type")).and_then(|opts| add(Control::of(context)?, &opts));
    done.map_err(monitor::hmp::refused)
}

/// Commands for people.
pub const HMP: &[monitor::hmp::Command] = &[
    monitor::hmp::Command {
        names: "hostfwd_add",
        params: "[netdev_id] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
        help: "redirect TCP or UDP connections from host to guest (requires -net user)",
        run: hostfwd_add,
    },
    monitor::hmp::Command {
        names: "hostfwd_remove",
        params: "[netdev_id] [tcp|udp]:[hostaddr]:hostport",
        help: "remove host-to-guest TCP or UDP redirection",
        run: hostfwd_remove,
    },
    monitor::hmp::Command {
        names: "netdev_add",
        params: "[user],id=str[,prop=value][,...]",
        help: "add host network device",
        run: netdev_add_line,
    },
];

/// Subcommands of `info`.
pub const INFO: &[monitor::hmp::Command] = &[
    monitor::hmp::Command { names: "network", params: "", help: "show the network state", run: info_network },
    monitor::hmp::Command {
        names: "usernet",
        params: "",
        help: "show user network stack connection states",
        run: info_usernet,
    },
];
