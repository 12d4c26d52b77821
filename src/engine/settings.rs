//! What an engine must be told of its place in the world.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::carrier::Transport;

/// Index into [`EngineSettings::listeners`].
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

/// Checked settings of one shard.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    pub listeners: Vec<Listener>,
    /// Product token in User-Agent and Server.
    pub user_agent: Arc<str>,
    /// Hash key of the Call-ID buckets, the same on every node of a cluster.
    pub bucket_key: u64,
    /// Calls at a time in this shard; more get 503 with Retry-After.
    pub max_calls: usize,
    /// An answered call is ended after this time; `None` = never.
    pub max_call_duration: Option<Duration>,
    /// Seconds in Retry-After of our own 503.
    pub retry_after_s: u32,
}
