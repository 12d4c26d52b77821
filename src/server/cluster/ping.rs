//! OPTIONS to other nodes, from a socket of its own: whatever comes back is a sign of life.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use tokio::net::UdpSocket;

use crate::cluster::ping;
use crate::sip::Message;

/// Longest response that is read; it needs no more than its Call-ID.
const MAX_OCTETS: usize = 4_096;

#[derive(Debug)]
pub(super) struct Pinger {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    secret: u64,
    /// Of `cluster_key`.
    key: u64,
    sent: u32,
}

impl Pinger {
    /// `None` where no socket can be had: then leases alone tell who is alive.
    pub(super) async fn bind(key: u64) -> Option<Self> {
        let v4 = UdpSocket::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), 0)).await.ok();
        let v6 = UdpSocket::bind((IpAddr::from(Ipv6Addr::UNSPECIFIED), 0)).await.ok();
        let secret = getrandom::u64().ok()?;
        (v4.is_some() || v6.is_some()).then_some(Self { v4, v6, secret, key, sent: 0 })
    }

    pub(super) async fn ask(&mut self, id: i64, address: SocketAddr) {
        self.sent = self.sent.wrapping_add(1);
        let (sent, secret) = (self.sent, self.secret);
        let socket = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let Some(socket) = socket else { return };
        let Ok(own) = socket.local_addr() else { return };
        let call_id = format!("{secret:016x}-{id:x}");
        let octets = ping(address, own, &call_id, sent, self.key);
        let _ = socket.send_to(&octets, address).await;
    }

    /// Who a response is from; the secret in its Call-ID keeps others from answering for a dead node.
    fn id_of(&self, octets: &[u8]) -> Option<i64> {
        let message = Message::parse(Bytes::copy_from_slice(octets)).ok()?;
        if message.is_request() {
            return None;
        }
        let call_id = std::str::from_utf8(message.call_id()).ok()?;
        let id = call_id.strip_prefix(&format!("{:016x}-", self.secret))?;
        i64::from_str_radix(id, 16).ok()
    }
}

/// Waits for a response to one of our pings.
pub(super) async fn answered(pinger: &mut Option<Pinger>) -> Option<i64> {
    let Some(pinger) = pinger else { return std::future::pending().await };
    let (mut of_v4, mut of_v6) = ([0; MAX_OCTETS], [0; MAX_OCTETS]);
    let (received, octets) = tokio::select! {
        received = receive(&pinger.v4, &mut of_v4) => (received, &of_v4[..]),
        received = receive(&pinger.v6, &mut of_v6) => (received, &of_v6[..]),
    };
    pinger.id_of(&octets[..received])
}

async fn receive(socket: &Option<UdpSocket>, octets: &mut [u8]) -> usize {
    match socket {
        // An ICMP error is no sign of life.
        Some(socket) => socket.recv_from(octets).await.map_or(0, |(len, _)| len),
        None => std::future::pending().await,
    }
}
