//! What another node needs to go on with an answered call, and to end one that rings.

use std::net::SocketAddr;
use std::time::SystemTime;

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::CallRecord;
use super::attempt::Trunk;
use super::peer_refresh::Heard;
use super::session_timer::KeptSession;
use crate::carrier::{CarrierId, GatewayId, ReferPolicy, Transport};
use crate::dialog::Dialog;
use crate::sip::octets::Octets;

/// An answered call as it is kept outside of its node, from before the caller hears of the answer to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replica {
    /// As far as it is known.
    pub record: CallRecord,
    /// When the call is to be ended, however well it goes.
    #[serde(default)]
    pub ends_at: Option<SystemTime>,
    /// Whose channel it holds.
    #[serde(default)]
    pub channel: Option<(CarrierId, GatewayId)>,
    /// As well, where a transfer has put a carrier into the caller's place.
    #[serde(default)]
    pub inbound_channel: Option<(CarrierId, GatewayId)>,
    pub inbound: LegReplica,
    pub outbound: LegReplica,
}

impl Replica {
    /// When the session of the caller's leg, and of the callee's, is over unless it is refreshed; `None` = never.
    pub fn expires_at(&self) -> [Option<SystemTime>; 2] {
        [&self.inbound, &self.outbound].map(|leg| leg.session.expires_at)
    }
}

/// What the store knows of the calls of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Calls that it has.
    pub ours: HashSet<Uuid>,
    /// Calls of others that have changed hands: it may have had them, and not heard that they were kept.
    pub others: HashSet<Uuid>,
}

/// One leg of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LegReplica {
    pub dialog: Dialog,
    pub transport: Transport,
    /// Where the peer's messages come from.
    pub peer: SocketAddr,
    /// Whose gateway that is: by TLS, only to who proves to be that one.
    #[serde(default)]
    pub gateway: Option<GatewayId>,
    /// The carrier; none for a leg of the customer.
    #[serde(default)]
    pub trunk: Option<Trunk>,
    #[serde(default)]
    pub allows_update: bool,
    /// The last session description that we sent, for a refresh by re-INVITE.
    #[serde(default)]
    pub description: Option<Octets>,
    /// What the last one of the peer was.
    #[serde(default)]
    pub heard: Option<Heard>,
    #[serde(default)]
    pub session: KeptSession,
    #[serde(default)]
    pub refer: ReferPolicy,
}

/// A call that is being set up, kept once that takes long: it cannot move, but no phone must ring for nobody.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RingingReplica {
    /// As it is to be written should the node die now.
    pub record: CallRecord,
    pub caller: KeptInvite,
    /// The attempt under way.
    pub carrier: Option<KeptInvite>,
    /// The dialogs that stand if it has been answered since, the caller's first; known once somebody has said that it
    /// rings.
    #[serde(default)]
    pub dialogs: Option<Box<[Dialog; 2]>>,
}

/// An INVITE that has no final response yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptInvite {
    pub invite: Octets,
    pub transport: Transport,
    /// Where it came from, or went to.
    pub peer: SocketAddr,
    /// The gateway that it went to.
    #[serde(default)]
    pub gateway: Option<GatewayId>,
}
