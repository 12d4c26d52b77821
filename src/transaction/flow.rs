//! Where messages come in and go out.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::carrier::{CustomerId, GatewayId, Transport};

/// Index of a [`Listener`] in the settings of its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u8);

/// One socket that SIP comes in by and goes out by.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Who is at the other end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// Whoever has that address.
    Anybody,
    /// This gateway: a TLS peer must prove to be that one.
    Gateway(GatewayId),
    /// This customer, as it has proved by its certificate.
    Customer(CustomerId),
}

/// A path to one peer: the listener it came in by, or goes out by, and the peer's address.
///
/// Over TCP and TLS it names the connection to that address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub listener: ListenerId,
    pub remote: SocketAddr,
    pub party: Party,
    /// Where to connect when no connection to `remote` is open (RFC 3261 §18.2.2); `None` = to `remote` itself.
    pub fallback: Option<SocketAddr>,
}

impl Flow {
    /// To a peer that need not be anybody's gateway, nor any customer.
    pub const fn new(listener: ListenerId, remote: SocketAddr) -> Self {
        Self { listener, remote, party: Party::Anybody, fallback: None }
    }

    /// To a gateway.
    pub const fn to_gateway(listener: ListenerId, remote: SocketAddr, gateway: GatewayId) -> Self {
        Self { party: Party::Gateway(gateway), ..Self::new(listener, remote) }
    }

    /// The same to or from somebody's gateway, where one is given.
    pub const fn of_gateway(self, gateway: Option<GatewayId>) -> Self {
        match gateway {
            Some(gateway) => Self { party: Party::Gateway(gateway), ..self },
            None => self,
        }
    }

    pub const fn gateway(&self) -> Option<GatewayId> {
        match self.party {
            Party::Gateway(gateway) => Some(gateway),
            Party::Anybody | Party::Customer(_) => None,
        }
    }

    pub const fn customer(&self) -> Option<CustomerId> {
        match self.party {
            Party::Customer(customer) => Some(customer),
            Party::Anybody | Party::Gateway(_) => None,
        }
    }

    /// Whether what became of `failed` becomes of this one: one that names no gateway stands for all.
    pub fn is_hit_by(&self, failed: &Self) -> bool {
        self.listener == failed.listener
            && self.remote == failed.remote
            && (failed.gateway().is_none() || failed.gateway() == self.gateway())
    }
}
