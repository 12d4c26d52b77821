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
pub use capacity::{Capacity, Channel, Full};
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

#[cfg(test)]
mod tests;
