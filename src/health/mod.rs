//! How well each target does: evidence in, a [`View`] out.
//!
//! Reading a view never changes it, and time is an argument.

pub mod board;
pub mod capacity;
mod entry;
pub mod evidence;
pub mod posterior;
pub mod reachability;
mod streak;
pub mod view;
pub mod window;

pub use board::{Board, BoardSettings, PeerTarget, ProbeDue};
pub use capacity::{Capacity, Channel, Full, Seat};
pub use entry::SavedTarget;
pub use evidence::{Evidence, Outcome};
pub use view::{Glance, Reachability, TargetView, View};

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::carrier::GatewayId;

/// One resolved address of a gateway: the thing that is up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    pub gateway_id: GatewayId,
    pub address: SocketAddr,
}

/// Where SRV records put a target among those of its gateway (RFC 2782).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Srv {
    /// Targets of the lowest number are tried first.
    pub priority: u16,
    /// Share among those of one priority, above 0.0; they are 1.0 on average.
    pub weight: f64,
}

impl Default for Srv {
    /// What a target has without SRV records: all are alike.
    fn default() -> Self {
        Self { priority: 0, weight: 1.0 }
    }
}

/// A target as it was resolved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resolved {
    pub target: Target,
    pub srv: Srv,
}

impl From<Target> for Resolved {
    fn from(target: Target) -> Self {
        Self { target, srv: Srv::default() }
    }
}

#[cfg(test)]
mod tests;
