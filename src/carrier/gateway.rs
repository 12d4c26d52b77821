//! Carriers and their gateways, as the tables describe them.

use std::sync::Arc;
use std::time::Duration;

use super::class::spelled;
use super::{CarrierId, ErrorsInRow, GatewayId, NumberRule};

/// Whatever a call can be sent to: a PSTN trunk or the SIP door of an AI voice provider.
#[derive(Clone, Debug)]
pub struct Carrier {
    pub id: CarrierId,
    pub name: Arc<str>,
    /// A disabled carrier gets neither calls nor probes.
    pub is_enabled: bool,
    /// The rule of its group; `None` = it is in none.
    pub errors_in_row: Option<ErrorsInRow>,
    /// Time between two OPTIONS probes of one of its targets; `None` = no probes.
    pub probe_interval: Option<Duration>,
    /// How long an INVITE may stay without any response before the next gateway is tried.
    pub no_response: Duration,
    /// How long an attempt may stay at 100 before it is cancelled and the next carrier tried.
    pub no_ringing: Duration,
    /// What all its gateways together can take.
    pub limits: Limits,
    /// How numbers and identities are written towards this carrier.
    pub number_rule: NumberRule,
    /// A wildcard in its TLS certificate may stand for its host name, which RFC 5922 §7.2 forbids.
    pub tls_wildcard: bool,
}

/// One address, or one host name, of a carrier.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub id: GatewayId,
    /// Whose it is, as the same tables say.
    pub carrier: Arc<Carrier>,
    pub name: Arc<str>,
    /// An IP address (IPv6 without brackets) or a host name that is resolved in the background.
    pub host: Arc<str>,
    /// Where it listens, unless SRV records of the host say otherwise.
    pub port: u16,
    pub dns: Dns,
    pub transport: Transport,
    /// By UDP, an INVITE over 1,300 octets goes by TCP to the same port (RFC 3261 §18.1.1).
    pub large_by_tcp: bool,
    pub media: Media,
    /// Codecs that it takes, in lower case; `None` = any.
    pub codecs: Option<Arc<[Box<str>]>>,
    pub admin_state: AdminState,
    /// Its own region, else its carrier's; lower case.
    pub region: Option<Arc<str>>,
    /// Among the gateways of one carrier the lowest number is tried first.
    pub priority: u16,
    /// Share among gateways of one priority, 1 or more.
    pub weight: u32,
    /// What it can take; its carrier's limits hold as well.
    pub limits: Limits,
}

/// How much somebody can take, from all nodes together; `None` = no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// INVITEs a second, above 0.
    pub cps: Option<f64>,
    /// Calls at a time, 1 or more.
    pub channels: Option<u32>,
}

impl Limits {
    /// There is one.
    pub fn is_some(self) -> bool {
        self.cps.is_some() || self.channels.is_some()
    }
}

spelled! {
    /// How SIP reaches a gateway.
    Transport {
        Udp = "udp",
        Tcp = "tcp",
        Tls = "tls",
    }
}

impl Transport {
    /// Where a SIP URI without a port is reached by it (RFC 3261 §19.1.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }
}

spelled! {
    /// What name servers are asked about a gateway's host (RFC 3263 §4.2).
    Dns {
        /// Its addresses: the port is the admin's.
        Address = "address",
        /// NAPTR and SRV, which say hosts, ports, priorities and weights; addresses where it has no SRV records.
        Srv = "srv",
    }
}

spelled! {
    /// What media a gateway takes.
    Media {
        /// Plain (RFC 3550).
        Rtp = "rtp",
        /// Encrypted (RFC 3711).
        Srtp = "srtp",
        /// Either.
        Both = "both",
    }
}

spelled! {
    /// What the admin wants of a gateway.
    AdminState {
        /// Calls and probes.
        On = "on",
        /// No new call; the calls it carries go on; probes go on.
        Draining = "draining",
        /// No new call, no probe.
        Off = "off",
    }
}
