//! The way from connections to the shards.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::TrySendError;
use std::time::Duration;

use super::{Mail, ShardHandle, Shared, owner_of};
use crate::carrier::GatewayId;
use crate::engine::{Command, Flow, Received};
use crate::net::stream::{Door, PeerName};

/// What connections bring goes through here to all shards.
#[derive(Debug)]
pub struct ShardDoor {
    shards: Vec<ShardHandle>,
    shared: Arc<Shared>,
    bucket_key: u64,
}

impl ShardDoor {
    /// `bucket_key` as in the shards' settings.
    pub fn new(shards: Vec<ShardHandle>, shared: Arc<Shared>, bucket_key: u64) -> Self {
        Self { shards, shared, bucket_key }
    }
}

impl Door for ShardDoor {
    fn deliver(&self, received: Received) -> Result<(), Received> {
        let owner = owner_of(&received.bytes, self.bucket_key, self.shards.len()).unwrap_or(0);
        let shard = &self.shards[owner];
        let sent = shard.mail.try_send(Mail::Received(received));
        shard.waker.wake();
        match sent {
            Err(TrySendError::Full(Mail::Received(received))) => Err(received),
            // A shard that is gone wants nothing.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    fn unreachable(&self, flow: Flow) {
        for shard in &self.shards {
            // One without room hears of it by its timers.
            let _ = shard.command(Command::Unreachable { flow });
        }
    }

    fn keep_alive(&self, flow: Flow, silent_for: Option<Duration>) {
        // It concerns no call, so any shard may tell the board; one without room has other signs.
        if let Some(shard) = self.shards.first() {
            let _ = shard.command(Command::KeepAlive { flow, silent_for });
        }
    }

    fn name_of(&self, gateway: GatewayId) -> Option<PeerName> {
        let tables = self.shared.tables.load();
        let gateway = tables.gateway(gateway)?;
        let carrier = &gateway.carrier;
        // RFC 5922 §4: the domain that was asked for; an address alone is only its own.
        let of_rule = carrier.number_rule.request_uri_host.as_deref().and_then(domain);
        let host = domain(&gateway.host).or(of_rule).unwrap_or(&gateway.host);
        Some(PeerName { host: host.into(), allows_wildcard: carrier.tls_wildcard })
    }
}

/// The host name of `host` or `host:port`; `None` for an address.
fn domain(text: &str) -> Option<&str> {
    let is_address = text.starts_with('[') || text.parse::<IpAddr>().is_ok();
    let host = text.split_once(':').map_or(text, |(host, _)| host);
    (!is_address && host.parse::<IpAddr>().is_err()).then_some(host)
}
