//! The outcome of a decision, complete enough to explain it afterwards.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::carrier::class::spelled;
use crate::carrier::{Carrier, Gateway, GatewayId, Route};
use crate::health::{Reachability, Target};

/// An ordered list of candidates, and why.
#[derive(Clone, Debug)]
pub struct Plan {
    pub route: Arc<Route>,
    /// The region the call must stay in, if any.
    pub region: Option<Arc<str>>,
    pub tables_version: u64,
    /// What random draws were made from: the same query, tables, view and seed give the same plan.
    pub seed: u64,
    pub decided_at: Instant,
    /// Everything was down and the least bad are tried all the same.
    pub is_panic: bool,
    pub candidates: Vec<Candidate>,
    pub dropped: Vec<Dropped>,
}

/// One target to try.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub carrier: Arc<Carrier>,
    pub gateway: Arc<Gateway>,
    pub target: Target,
    /// Tier of the route: its `priority`.
    pub priority: u16,
    pub reachability: Reachability,
    /// Share of its calls that it gets back after it was down.
    pub ramp: f64,
    pub failure_rate: f64,
    pub latency_ms: Option<f64>,
    pub ringing_ms: Option<f64>,
    /// Free share of the tightest limit of the gateway and its carrier, above 0.0 and up to 1.0.
    pub headroom: f64,
    /// Drawn from what is believed of it; what it was sorted by within its tier. Higher is better.
    pub score: f64,
}

/// A target, or a gateway without one, that was left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    pub gateway_id: GatewayId,
    pub gateway: Arc<str>,
    pub reason: Drop,
}

spelled! {
    /// Why a gateway is no candidate.
    Drop {
        CarrierDisabled = "carrier_disabled",
        GatewayOff = "gateway_off",
        GatewayDraining = "gateway_draining",
        /// Outside the region the call must stay in.
        Region = "region",
        /// Its host name is not resolved.
        Unresolved = "unresolved",
        Down = "down",
        /// It answers, but too many of its calls failed.
        Ejected = "ejected",
        /// Half open, and already carrying its one call.
        HalfOpenBusy = "half_open_busy",
        /// As many calls as its limits, or its carrier's, allow.
        Capacity = "capacity",
        /// Asked us to stay away (Retry-After).
        RetryAfter = "retry_after",
        /// The gateway's address family or transport has no listener here.
        NoListener = "no_listener",
    }
}

impl Plan {
    /// Whether somebody could have the call but for want of capacity.
    pub fn is_short(&self) -> bool {
        self.dropped.iter().any(|dropped| dropped.reason == Drop::Capacity)
    }

    /// As `calls.decision` keeps it.
    pub fn to_json(&self) -> Value {
        let candidates: Vec<Value> = self
            .candidates
            .iter()
            .map(|candidate| {
                json!({
                    "carrier": &*candidate.carrier.name,
                    "gateway": &*candidate.gateway.name,
                    "address": candidate.target.address,
                    "priority": candidate.priority,
                    "reachability": candidate.reachability,
                    "ramp": candidate.ramp,
                    "failure_rate": candidate.failure_rate,
                    "latency_ms": candidate.latency_ms,
                    "ringing_ms": candidate.ringing_ms,
                    "headroom": candidate.headroom,
                    "score": candidate.score,
                })
            })
            .collect();
        let dropped: Vec<Value> = self
            .dropped
            .iter()
            .map(|dropped| json!({ "gateway": &*dropped.gateway, "reason": dropped.reason }))
            .collect();
        json!({
            "route_id": self.route.id,
            "strategy": self.route.strategy,
            "region": self.region.as_deref(),
            "tables_version": self.tables_version,
            "seed": self.seed,
            "panic": self.is_panic,
            "candidates": candidates,
            "dropped": dropped,
        })
    }
}
