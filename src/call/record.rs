//! What is kept of a call once it has ended: exactly one record a call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::carrier::class::spelled;
use crate::carrier::{
    Action, CarrierId, Class, CustomerId, FailureRuleId, GatewayId, Origin, RouteId, Stage,
};
use crate::routing::Plan;

/// One call, from its INVITE to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallRecord {
    /// Ours; time-ordered (RFC 9562 version 7).
    pub call_id: Uuid,
    pub customer: Option<(CustomerId, Arc<str>)>,
    pub route_id: Option<RouteId>,
    /// The region the call had to stay in.
    pub region: Option<Arc<str>>,
    /// User part of From.
    pub calling: String,
    /// User part of the request URI.
    pub called: String,
    /// Country code of the called number, where it is one.
    pub country: Option<u16>,
    /// Where the INVITE came from.
    pub source: SocketAddr,
    /// Call-ID header of the inbound leg.
    pub inbound_call_id: String,
    pub started_at: SystemTime,
    /// First 18x to the caller.
    pub ringing_at: Option<SystemTime>,
    /// 2xx to the caller.
    pub answered_at: Option<SystemTime>,
    pub ended_at: SystemTime,
    /// Final response to the caller's INVITE.
    pub status_code: u16,
    pub end_cause: EndCause,
    pub ended_by: EndedBy,
    /// Why the call could not be tried or ended oddly, for people; empty when nothing is to be said.
    pub detail: String,
    pub attempts: Vec<AttemptRecord>,
    /// `None` when no decision was made (unknown caller, no route, draining), or on another node.
    #[serde(skip)]
    pub plan: Option<Arc<Plan>>,
    /// The decision of the node that the call was taken over from: the JSON of a
    /// [`DecisionRecord`](crate::routing::DecisionRecord), which nobody here reads.
    #[serde(default)]
    pub earlier_decision: Option<Box<RawValue>>,
    /// Name of the node that the call was taken over from last.
    #[serde(default)]
    pub taken_from: Option<Arc<str>>,
}

/// One outbound leg that was tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttemptRecord {
    pub carrier_id: CarrierId,
    pub carrier: Arc<str>,
    pub gateway_id: GatewayId,
    pub gateway: Arc<str>,
    pub address: SocketAddr,
    /// Call-ID header of the outbound leg.
    pub outbound_call_id: String,
    pub started_at: SystemTime,
    /// INVITE to the first response.
    pub trying_ms: Option<u32>,
    /// INVITE to the first 18x.
    pub ringing_ms: Option<u32>,
    /// INVITE to the final response, timeout or CANCEL.
    pub ended_ms: u32,
    pub origin: Origin,
    pub stage: Stage,
    /// 408 for our own timeouts, 503 for transport errors (RFC 3261 §8.1.3.1).
    pub status_code: u16,
    /// The reason phrase, or what our timer waited for.
    pub reason: String,
    pub class: Class,
    pub action: Action,
    pub failure_rule_id: Option<FailureRuleId>,
    /// What that rule said.
    pub failure_rule: Option<String>,
    /// How much it counted against the gateway, 0.0 to 1.0.
    pub weight: f32,
    /// An answer that came after we had left the attempt, and was ended at once.
    pub late_answer: bool,
    /// Whom it called for a transfer; `None` = whom the call was for.
    #[serde(default)]
    pub transferred_to: Option<String>,
}

spelled! {
    /// How a call ended.
    EndCause {
        /// Answered, then ended by a BYE.
        Completed = "completed",
        /// The caller gave up before an answer.
        Cancelled = "cancelled",
        /// Every attempt failed, or the last one's answer was final.
        Failed = "failed",
        /// Refused by us before any attempt (unknown caller, no route, region, limits, draining).
        Refused = "refused",
        /// Answered, but the caller never sent the ACK.
        NoAck = "no_ack",
        /// Answered, then ended by us: a limit, an admin, or a leg found dead.
        Terminated = "terminated",
    }
}

spelled! {
    EndedBy {
        Caller = "caller",
        Callee = "callee",
        Holdfast = "holdfast",
    }
}
