//! Answered calls outside of their node, and the leases of those who may have them.

use std::time::Duration;

use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use super::rows::{Columns, Line};
use super::{StoreError, record};
use crate::call::{CallRecord, Ownership, Replica, RingingReplica};

/// A lease that was not renewed for so long is lost; its owner may be dead.
pub const LEASE_LIMIT: Duration = Duration::from_millis(1_600);

/// One run of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Drawn at the start of the run; above 0.
    pub id: i64,
    pub node: String,
    /// `address:port` where it answers OPTIONS over UDP.
    pub address: Option<String>,
    /// `None` = calls of any region may go there.
    pub region: Option<String>,
    pub is_draining: bool,
}

/// What a renewal found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewed {
    /// How old our lease had become; `None` = it is new.
    pub own_age: Option<Duration>,
    /// All other leases, with their ages.
    pub peers: Vec<(Lease, Duration)>,
}

/// One row of `calls_in_progress`, as its owner writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptCall {
    pub call_id: Uuid,
    pub region: Option<String>,
    /// `None` for one that rings.
    pub answered_at: Option<OffsetDateTime>,
    pub inbound_tag: String,
    pub outbound_tag: String,
    /// A [`Replica`] or, for a call that rings, a [`RingingReplica`], in JSON.
    pub state: String,
}

/// A call that this run has from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedCall {
    pub call_id: Uuid,
    /// Name of the node that had it.
    pub taken_from: String,
    /// It had been answered.
    pub is_answered: bool,
    /// A [`Replica`] or, where it had not, a [`RingingReplica`], in JSON.
    pub state: String,
}

impl KeptCall {
    /// The state in JSON; `None` where the call was never answered, or cannot be written.
    pub fn new(mut replica: Replica) -> Option<Self> {
        let answered_at = record::wall(replica.record.answered_at?);
        write_decision(&mut replica.record);
        let state = serde_json::to_string(&replica).ok()?;
        Some(Self {
            call_id: replica.record.call_id,
            region: replica.record.region.as_deref().map(str::to_owned),
            answered_at: Some(answered_at),
            inbound_tag: replica.inbound.dialog.local_tag.to_string(),
            outbound_tag: replica.outbound.dialog.local_tag.to_string(),
            state: storable(&state),
        })
    }

    /// The same of a call that rings.
    pub fn ringing(mut replica: RingingReplica) -> Option<Self> {
        write_decision(&mut replica.record);
        let state = serde_json::to_string(&replica).ok()?;
        Some(Self {
            call_id: replica.record.call_id,
            region: replica.record.region.as_deref().map(str::to_owned),
            answered_at: None,
            inbound_tag: String::new(),
            outbound_tag: String::new(),
            state: storable(&state),
        })
    }
}

impl ClaimedCall {
    /// Reads the state; the record tells whom it was taken from.
    pub fn replica(&self) -> Result<Replica, serde_json::Error> {
        let mut replica: Replica = serde_json::from_str(&self.state)?;
        replica.record.taken_from = Some(self.taken_from.as_str().into());
        Ok(replica)
    }

    /// The same of a call that rang.
    pub fn ringing(&self) -> Result<RingingReplica, serde_json::Error> {
        let mut replica: RingingReplica = serde_json::from_str(&self.state)?;
        replica.record.taken_from = Some(self.taken_from.as_str().into());
        Ok(replica)
    }
}

/// The plan stays with its node; what it was is told in full.
fn write_decision(record: &mut CallRecord) {
    if let Some(plan) = record.plan.take() {
        record.earlier_decision = RawValue::from_string(plan.to_json()).ok();
    }
}

/// A Call-ID may hold any octet, and a text of Postgres any but one.
fn storable(state: &str) -> String {
    state.replace("\\u0000", "\\ufffd")
}

pub(super) fn lease(row: &impl Columns) -> Result<(Lease, Duration), StoreError> {
    let line = Line { table: "node_leases", row };
    let age_ms: i64 = line.get("age_ms")?;
    let lease = Lease {
        id: line.get("node_lease_id")?,
        node: line.get("node")?,
        address: line.get("address")?,
        region: line.get("region")?,
        is_draining: line.get("is_draining")?,
    };
    Ok((lease, Duration::from_millis(age_ms.max(0).unsigned_abs())))
}

/// Takes our own lease out of all that there are.
pub(super) fn renewed(own: i64, leases: Vec<(Lease, Duration)>) -> Renewed {
    let (own, peers): (Vec<_>, Vec<_>) = leases.into_iter().partition(|(lease, _)| lease.id == own);
    Renewed { own_age: own.first().map(|(_, age)| *age), peers }
}

/// Calls of a run, and those of others that have changed hands.
pub(super) const OWNED: &str = "\
    select call_id, node_lease_id = $1 as is_ours from calls_in_progress \
    where node_lease_id = $1 or epoch > 1";

pub(super) fn ownership(calls: impl IntoIterator<Item = (Uuid, bool)>) -> Ownership {
    let mut ownership = Ownership::default();
    for (call_id, is_ours) in calls {
        let of = if is_ours { &mut ownership.ours } else { &mut ownership.others };
        of.insert(call_id);
    }
    ownership
}

pub(super) fn limit_ms() -> i64 {
    i64::try_from(LEASE_LIMIT.as_millis()).unwrap_or(i64::MAX)
}
