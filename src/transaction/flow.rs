//! Where messages come in and go out.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::carrier::Transport;

/// Index of a [`Listener`] in the settings of its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u8);

/// One socket that SIP comes in by and goes out by.
#[derive(Clone, Debug)]
pub struct Listener {
    pub transport: Transport,
    /// The bound address; its family decides which targets it can reach.
    pub address: SocketAddr,
    /// `host:port` as peers should see it in Via and Contact (IPv6 in brackets).
    pub advertised: Arc<str>,
}

impl Listener {
    /// The transport's name in a Via (RFC 3261 §20.42).
    pub fn via_transport(&self) -> &'static str {
        match self.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// Whether lost messages are repeated by the transport itself.
    pub fn is_reliable(&self) -> bool {
        match self.transport {
            Transport::Udp => false,
            Transport::Tcp | Transport::Tls => true,
        }
    }
}

/// A path to one peer: the listener it came in by, or goes out by, and the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub listener: ListenerId,
    pub remote: SocketAddr,
}
