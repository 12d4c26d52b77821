//! What a shard must be told of its place in the world.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::SessionPolicy;
use crate::carrier::Transport;
use crate::digest::NonceKey;
use crate::routing::Reach;
use crate::transaction::{Listener, ListenerId};

/// Checked settings of one shard.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listeners: Vec<Listener>,
    /// Product token in User-Agent and Server.
    pub user_agent: Arc<str>,
    /// Hash key of the Call-ID buckets, the same on every node of a cluster.
    pub bucket_key: u64,
    /// What nonces are made and checked with, the same on every node of a cluster.
    pub nonce_key: NonceKey,
    /// Shards of this node, which share the limits of carriers and gateways.
    pub shards: u32,
    /// Calls at a time in this shard; more get 503 with Retry-After.
    pub max_calls: usize,
    /// An answered call is ended after this time; `None` = never.
    pub max_call_duration: Option<Duration>,
    /// What session timers we want.
    pub session: SessionPolicy,
    /// Seconds in Retry-After of our own 503.
    pub retry_after_s: u32,
    /// Messages may wait for us so long before new calls are refused; `None` = for ever.
    pub overload_wait: Option<Duration>,
    /// Answered calls are told to the world, so that another node can go on with them.
    pub replicates: bool,
}

impl Default for Settings {
    /// No listener yet, keys that everybody knows, one shard, no limit of time, no session timer, no replication.
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            user_agent: "holdfast".into(),
            bucket_key: 0,
            nonce_key: NonceKey::derive(b""),
            shards: 1,
            max_calls: 10_000,
            max_call_duration: None,
            session: SessionPolicy::default(),
            retry_after_s: 5,
            overload_wait: Some(Duration::from_millis(100)),
            replicates: false,
        }
    }
}

impl Settings {
    pub fn listener(&self, id: ListenerId) -> &Listener {
        &self.listeners[usize::from(id.0)]
    }

    /// What the listeners reach.
    pub fn reach(&self) -> Reach {
        self.listeners.iter().fold(Reach::default(), |reach, listener| {
            reach.and(listener.transport, listener.address.is_ipv4())
        })
    }

    /// The first listener that reaches an address over a transport.
    pub fn listener_for(&self, transport: Transport, address: SocketAddr) -> Option<ListenerId> {
        let fits = |listener: &Listener| {
            listener.transport == transport && listener.address.is_ipv4() == address.is_ipv4()
        };
        self.listeners
            .iter()
            .position(fits)
            .and_then(|index| u8::try_from(index).ok())
            .map(ListenerId)
    }
}
