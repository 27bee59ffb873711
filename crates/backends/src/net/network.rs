//! A network of any kind, as an option asks for it.

use std::sync::Arc;

use events::EventLoop;

use super::socket::{DatagramNet, StreamNet};
use super::{NetPeer, NetdevKind, UserNet};
use crate::Error;

/// A network.
#[derive(Clone)]
pub enum Network {
    /// The user-mode network.
    User(Arc<UserNet>),
    /// Another program at the end of a connection.
    Stream(Arc<StreamNet>),
    /// Others that get and send datagrams.
    Datagram(Arc<DatagramNet>),
}

impl Network {
    /// Opens what an option asks for.
    ///
    /// # Errors
    /// The text to print behind `-netdev ARGUMENT: `.
    pub fn open(kind: NetdevKind, events: &EventLoop) -> Result<Network, Error> {
        Ok(match kind {
            NetdevKind::User(options) => Network::User(Arc::new(UserNet::new(*options, events.clocks())?)),
            NetdevKind::Stream(options) => Network::Stream(StreamNet::open(*options, events)?),
            NetdevKind::Datagram(options) => Network::Datagram(DatagramNet::open(&options, events)?),
            NetdevKind::Descriptor(text) => {
                let fd = crate::fd::given(&text)?;
                match rustix::net::sockopt::socket_type(&fd) {
                    Ok(rustix::net::SocketType::DGRAM) => {
                        Network::Datagram(DatagramNet::on(fd, &text, events)?)
                    }
                    _ => Network::Stream(StreamNet::on(fd, &text, events)?),
                }
            }
        })
    }

    /// The network as a card sees it.
    pub fn peer(&self) -> Arc<dyn NetPeer> {
        match self {
            Network::User(net) => net.clone(),
            Network::Stream(net) => net.clone(),
            Network::Datagram(net) => net.clone(),
        }
    }

    /// The user-mode network, if it is one.
    pub fn user(&self) -> Option<&Arc<UserNet>> {
        match self {
            Network::User(net) => Some(net),
            _ => None,
        }
    }
}
