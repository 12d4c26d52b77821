//! Where SIP comes in: listeners, their certificates, and the limits of connections.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::{Check, ListenerSettings};
use crate::carrier::Transport;
use crate::net::stream::Limits;
use crate::net::stream::tls::TlsFiles;

/// Listeners of one node.
const MAX_LISTENERS: usize = 16;

impl Check<'_> {
    pub(super) fn listeners(&mut self) -> Vec<ListenerSettings> {
        let mut listeners: Vec<ListenerSettings> = Vec::new();
        for text in self.text("listen").split(',').map(str::trim).filter(|text| !text.is_empty()) {
            match listener(text) {
                Ok(new) if listeners.iter().any(|known| known.shares_port_with(&new)) => {
                    self.refuse("listen", &format!("{} stands there twice", new.address));
                }
                Ok(new) => listeners.push(new),
                Err(reason) => self.refuse("listen", &reason),
            }
        }
        if listeners.len() > MAX_LISTENERS {
            self.refuse("listen", &format!("{MAX_LISTENERS} listeners at most"));
        }
        if self.text("listen").is_empty() {
            self.refuse("listen", "at least one listener, such as udp:192.0.2.1:5060");
        }
        listeners
    }

    /// Where certificates are; whether they can be read is seen when they are.
    pub(super) fn tls(&mut self) -> TlsFiles {
        let file = |name| Some(self.text(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
        let (certificate, key) = (file("tls_certificate"), file("tls_key"));
        let (ca, client_ca) = (file("tls_ca"), file("tls_client_ca"));
        let key_log = file("tls_key_log");
        let listeners: Vec<ListenerSettings> =
            self.text("listen").split(',').filter_map(|text| listener(text.trim()).ok()).collect();
        let has_tls = listeners.iter().any(|listener| listener.transport == Transport::Tls);
        if has_tls && certificate.is_none() {
            self.refuse("tls_certificate", "`listen` names tls, which needs one");
        }
        if certificate.is_some() != key.is_some() {
            self.refuse("tls_key", "tls_certificate and tls_key go together");
        }
        if listeners.iter().any(|listener| listener.is_mutual) && client_ca.is_none() {
            self.refuse("tls_client_ca", "`listen` says mutual, which needs it");
        }
        TlsFiles { own: certificate.zip(key), ca, client_ca, key_log }
    }

    pub(super) fn streams(&mut self) -> Limits {
        let mut seconds = |name, high| Duration::from_secs(self.within(name, 1_u64, high));
        let idle = seconds("connection_idle_s", 86_400);
        let message = seconds("connection_message_s", 120);
        Limits {
            connections: self.within("max_connections", 1, 100_000),
            connections_per_source: self.within("max_connections_per_source", 1, 100_000),
            idle,
            message,
            ..Limits::default()
        }
    }
}

impl ListenerSettings {
    fn shares_port_with(&self, other: &Self) -> bool {
        let is_udp = |listener: &Self| listener.transport == Transport::Udp;
        self.address == other.address && self.address.port() != 0 && is_udp(self) == is_udp(other)
    }
}

/// `udp:192.0.2.1:5060`, `tcp:0.0.0.0:5060 as sip.example.com:5060`, `tls:[2001:db8::1]:5061 mutual`.
fn listener(text: &str) -> Result<ListenerSettings, String> {
    let shape = "udp:ADDRESS:PORT (or tcp, tls), or udp:ADDRESS:PORT as HOST:PORT";
    let (text, is_mutual) = match text.strip_suffix(" mutual") {
        Some(rest) => (rest.trim_end(), true),
        None => (text, false),
    };
    let (bound, advertised) = match text.split_once(" as ") {
        Some((bound, advertised)) => (bound.trim(), Some(advertised.trim())),
        None => (text, None),
    };
    let (transport, address) =
        bound.split_once(':').ok_or_else(|| format!("'{text}' must be {shape}"))?;
    let transport = Transport::from_text(transport)
        .ok_or_else(|| format!("'{transport}' is no transport; '{text}' must be {shape}"))?;
    if is_mutual && transport != Transport::Tls {
        return Err(format!("only tls can be mutual, not '{transport}'"));
    }
    let address: SocketAddr =
        address.parse().map_err(|_| format!("'{address}' is no ADDRESS:PORT; {shape}"))?;
    let advertised = match advertised {
        Some(advertised) if is_host_with_port(advertised) => advertised.to_owned(),
        Some(advertised) => {
            return Err(format!("'{advertised}' is no HOST:PORT (IPv6 in brackets)"));
        }
        None if address.ip().is_unspecified() => with_own_address(transport, address)?,
        None => address.to_string(),
    };
    Ok(ListenerSettings { transport, address, advertised, is_mutual })
}

/// On one interface only, its address needs no telling.
fn with_own_address(transport: Transport, address: SocketAddr) -> Result<String, String> {
    let reason = || {
        let port = address.port();
        format!(
            "peers must be told how to reach {address}: write '{transport}:{address} as HOST:{port}' with the \
             address that they see"
        )
    };
    let (bind, probe): (SocketAddr, SocketAddr) = match address.ip() {
        // Documentation addresses: nothing is sent, the system only says which way it would go.
        IpAddr::V4(_) => (([0, 0, 0, 0], 0).into(), ([192, 0, 2, 1], 9).into()),
        IpAddr::V6(_) => {
            let documentation = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1];
            (([0_u16; 8], 0).into(), (documentation, 9).into())
        }
    };
    let socket = std::net::UdpSocket::bind(bind).map_err(|_| reason())?;
    socket.connect(probe).map_err(|_| reason())?;
    let local = socket.local_addr().map_err(|_| reason())?;
    Ok(SocketAddr::new(local.ip(), address.port()).to_string())
}

fn is_host_with_port(text: &str) -> bool {
    if text.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-.".contains(&octet);
    !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(is_plain)
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}
