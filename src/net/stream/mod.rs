//! TCP and TLS: one thread, the hub, owns every connection of a node.
//!
//! It frames what comes in and gives each message to the shard that its Call-ID belongs to; it sends what shards
//! give it, over the connection that a flow names, or a new one. Nothing waits for a peer: each connection has a
//! bounded queue, and one that is not emptied closes that connection and no other.

mod connection;
mod hub;
mod key_log;
mod socket;
pub mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use bytes::Bytes;

pub use self::hub::Hub;
pub use self::socket::StreamListener;
use crate::carrier::GatewayId;
use crate::carrier::class::spelled;
use crate::engine::{Flow, Received};
use crate::net::wake::Waker;

/// Messages of all shards that wait for the hub.
const ORDERS_LEN: usize = 8_192;

/// What bounds connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that others opened, at a time; we open no more than as many ourselves.
    pub connections: usize,
    /// Of one address (IPv6: one /64).
    pub connections_per_source: usize,
    /// A connection that others opened and that brings nothing for so long is closed.
    pub idle: Duration,
    /// Within this a TLS handshake and the first message must be done, and each later message whole.
    pub message: Duration,
    /// How long a connection of ours may take to come about.
    pub connect: Duration,
    /// After so long without a word a connection of ours is pinged (RFC 5626 §3.5.1) ...
    pub ping_after: Duration,
    /// ... and is broken when a peer that has answered such a ping before does not answer this one.
    pub pong_within: Duration,
    /// Octets that wait for a peer that does not read.
    pub queue_octets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 500,
            connections_per_source: 50,
            idle: Duration::from_secs(3_600),
            message: Duration::from_secs(10),
            connect: Duration::from_secs(4),
            ping_after: Duration::from_secs(25),
            pong_within: Duration::from_secs(10),
            queue_octets: 1024 * 1024,
        }
    }
}

/// Who a TLS server must prove to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerName {
    /// A host name, or an address.
    pub host: Arc<str>,
    /// `*.example.com` may stand for a name.
    pub allows_wildcard: bool,
}

/// What the hub asks of the rest of the node.
pub trait Door: Send {
    /// Gives a message to its shard, or back where that has no room now.
    fn deliver(&self, received: Received) -> Result<(), Received>;
    /// Says to all shards that what was sent on a flow, and not answered, is lost.
    fn unreachable(&self, flow: Flow);
    /// Says that the peer of a connection of ours has answered a ping, or has not for so long.
    fn keep_alive(&self, flow: Flow, silent_for: Option<Duration>);
    /// The name of a gateway that the tables have.
    fn name_of(&self, gateway: GatewayId) -> Option<PeerName>;
}

spelled! {
    /// Why a connection was closed.
    CloseReason {
        /// The peer closed it.
        Peer = "peer",
        /// It could not be opened: refused, unreachable.
        Refused = "refused",
        /// It was not open in time.
        ConnectTimeout = "connect_timeout",
        /// The TLS handshake, or a record, failed.
        Tls = "tls",
        /// It broke.
        Error = "error",
        /// What came cannot be cut into messages.
        Framing = "framing",
        /// No whole message in time.
        HalfOpen = "half_open",
        /// Nothing came for too long.
        Idle = "idle",
        /// A ping was not answered.
        NoPong = "no_pong",
        /// The peer does not read what it is sent.
        SlowReader = "slow_reader",
        /// Nobody's gateway any more.
        Unused = "unused",
        /// We stop.
        Stop = "stop",
    }
}

/// What the hub counts.
#[derive(Debug, Default)]
pub struct StreamCounters {
    /// Open now, by who opened them: others, we.
    accepted_now: AtomicU64,
    opened_now: AtomicU64,
    accepted: AtomicU64,
    opened: AtomicU64,
    /// Turned away: too many, in all or of one source.
    turned_away: AtomicU64,
    pings: AtomicU64,
    /// Messages of shards that found the hub's mailbox full.
    unsent: AtomicU64,
    closed: [AtomicU64; CloseReason::ALL.len()],
}

/// A look at [`StreamCounters`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    pub accepted_now: u64,
    pub opened_now: u64,
    pub accepted: u64,
    pub opened: u64,
    pub turned_away: u64,
    pub pings: u64,
    pub unsent: u64,
    /// In the order of [`CloseReason::ALL`].
    pub closed: [u64; CloseReason::ALL.len()],
}

impl StreamCounters {
    fn count(of: &AtomicU64) {
        of.fetch_add(1, Ordering::Relaxed);
    }

    fn count_closed(&self, reason: CloseReason) {
        let at = CloseReason::ALL.iter().position(|known| *known == reason);
        if let Some(count) = at.and_then(|at| self.closed.get(at)) {
            Self::count(count);
        }
    }
}

impl StreamCounts {
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        let at = CloseReason::ALL.iter().position(|known| *known == reason);
        at.and_then(|at| self.closed.get(at)).copied().unwrap_or_default()
    }
}

#[derive(Debug)]
enum Order {
    Send { flow: Flow, bytes: Bytes },
    Stop,
}

/// The way to a running hub.
#[derive(Clone, Debug)]
pub struct StreamHandle {
    orders: SyncSender<Order>,
    waker: Arc<Waker>,
    counters: Arc<StreamCounters>,
}

/// The hub's end of its mailbox.
#[derive(Debug)]
pub struct StreamMailbox {
    orders: Receiver<Order>,
    waker: Arc<Waker>,
    counters: Arc<StreamCounters>,
}

/// A handle for shards, and the mailbox that a [`Hub`] is made with.
pub fn mailbox() -> std::io::Result<(StreamHandle, StreamMailbox)> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(ORDERS_LEN);
    let (waker, counters) = (Arc::new(Waker::new()?), Arc::new(StreamCounters::default()));
    let handle = StreamHandle { orders: sender, waker: waker.clone(), counters: counters.clone() };
    Ok((handle, StreamMailbox { orders: receiver, waker, counters }))
}

impl StreamHandle {
    /// Gives the hub messages to send, each whole; those that it has no room for are counted.
    pub fn send(&self, messages: impl Iterator<Item = (Flow, Bytes)>) {
        for (flow, bytes) in messages {
            if self.orders.try_send(Order::Send { flow, bytes }).is_err() {
                StreamCounters::count(&self.counters.unsent);
            }
        }
        self.waker.wake();
    }

    /// Has the hub send what it has, close its connections and end.
    pub fn stop(&self) {
        let _ = self.orders.send(Order::Stop);
        self.waker.wake();
    }

    pub fn counts(&self) -> StreamCounts {
        let (counters, of) = (&self.counters, |of: &AtomicU64| of.load(Ordering::Relaxed));
        StreamCounts {
            accepted_now: of(&counters.accepted_now),
            opened_now: of(&counters.opened_now),
            accepted: of(&counters.accepted),
            opened: of(&counters.opened),
            turned_away: of(&counters.turned_away),
            pings: of(&counters.pings),
            unsent: of(&counters.unsent),
            closed: std::array::from_fn(|at| of(&counters.closed[at])),
        }
    }
}

#[cfg(test)]
mod tests;
