//! A decision as `calls.decision` keeps it: enough to explain it, and to decide again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::{Candidate, Drop, Dropped, Plan};
use crate::carrier::{CarrierId, GatewayId, RouteId, Strategy};
use crate::health::{Reachability, Srv, Target, TargetView, View};

/// What was asked, what there was, and what was left out.
///
/// Earlier versions kept less: what they did not keep reads as its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DecisionRecord {
    pub route_id: Option<RouteId>,
    pub called_prefix: Option<String>,
    pub strategy: Option<Strategy>,
    pub region: Option<String>,
    /// Country code of the called number.
    pub country: Option<u16>,
    /// The `rn` that came with the called number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_number: Option<String>,
    pub tables_version: u64,
    pub seed: u64,
    /// Everything was down and the least bad were to be tried all the same.
    #[serde(rename = "panic")]
    pub is_panic: bool,
    pub median_latency_ms: Option<f64>,
    pub median_ringing_ms: Option<f64>,
    /// In the order in which they were to be tried.
    pub candidates: Vec<CandidateRecord>,
    /// Usable targets for which the plan had no place.
    pub candidates_beyond: usize,
    pub dropped: Vec<DroppedRecord>,
    /// How many more were left out than are named.
    pub dropped_beyond: usize,
}

/// One target to try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CandidateRecord {
    pub carrier_id: Option<CarrierId>,
    pub carrier: String,
    pub gateway_id: Option<GatewayId>,
    pub gateway: String,
    pub address: SocketAddr,
    /// Tier of the route.
    pub priority: u16,
    #[serde(flatten)]
    pub health: HealthRecord,
    #[serde(default = "one")]
    pub destination_factor: f64,
    #[serde(default = "one")]
    pub latency_factor: f64,
    /// Free share of the tightest limit.
    #[serde(default = "one")]
    pub headroom: f64,
    /// Drawn; what it was sorted by within its tier under `healthiest`.
    pub score: f64,
}

/// A target, or a gateway without one, that was left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DroppedRecord {
    pub carrier_id: Option<CarrierId>,
    #[serde(default)]
    pub carrier: String,
    pub gateway_id: Option<GatewayId>,
    pub gateway: String,
    pub reason: Drop,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthRecord>,
}

/// What was known of a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthRecord {
    pub reachability: Reachability,
    /// Chance that an attempt does not fail by the carrier's fault: 1 - `failure_rate`.
    #[serde(default)]
    pub theta: f64,
    pub failure_rate: f64,
    #[serde(default)]
    pub deviation: f64,
    #[serde(default = "one")]
    pub ramp: f64,
    pub latency_ms: Option<f64>,
    pub ringing_ms: Option<f64>,
    /// Where SRV records put it among the targets of its gateway.
    #[serde(default, skip_serializing_if = "is_without_srv")]
    pub srv: Srv,
}

pub(super) fn is_without_srv(srv: &Srv) -> bool {
    *srv == Srv::default()
}

fn one() -> f64 {
    1.0
}

impl From<&Plan> for DecisionRecord {
    fn from(plan: &Plan) -> Self {
        Self {
            route_id: Some(plan.route.id),
            called_prefix: Some(plan.route.called_prefix.to_string()),
            strategy: Some(plan.route.strategy),
            region: plan.region.as_deref().map(str::to_owned),
            country: plan.country,
            routing_number: plan.routing_number.as_deref().map(str::to_owned),
            tables_version: plan.tables_version,
            seed: plan.seed,
            is_panic: plan.is_panic,
            median_latency_ms: plan.median_latency_ms,
            median_ringing_ms: plan.median_ringing_ms,
            candidates: plan.candidates.iter().map(CandidateRecord::from).collect(),
            candidates_beyond: plan.candidates_beyond,
            dropped: plan.dropped.iter().map(DroppedRecord::from).collect(),
            dropped_beyond: plan.dropped_beyond,
        }
    }
}

impl From<&Candidate> for CandidateRecord {
    fn from(candidate: &Candidate) -> Self {
        Self {
            carrier_id: Some(candidate.carrier().id),
            carrier: candidate.carrier().name.to_string(),
            gateway_id: Some(candidate.gateway.id),
            gateway: candidate.gateway.name.to_string(),
            address: candidate.target.address,
            priority: candidate.priority,
            health: HealthRecord {
                reachability: candidate.reachability,
                theta: 1.0 - candidate.failure_rate,
                failure_rate: candidate.failure_rate,
                deviation: candidate.deviation,
                ramp: candidate.ramp,
                latency_ms: candidate.latency_ms,
                ringing_ms: candidate.ringing_ms,
                srv: candidate.srv,
            },
            destination_factor: candidate.destination_factor,
            latency_factor: candidate.latency_factor,
            headroom: candidate.headroom,
            score: candidate.score,
        }
    }
}

impl From<&Dropped> for DroppedRecord {
    fn from(dropped: &Dropped) -> Self {
        let health = dropped.health.as_ref();
        Self {
            carrier_id: Some(dropped.gateway.carrier.id),
            carrier: dropped.gateway.carrier.name.to_string(),
            gateway_id: Some(dropped.gateway.id),
            gateway: dropped.gateway.name.to_string(),
            reason: dropped.reason,
            address: health.map(|view| view.target.address),
            health: health.map(|view| HealthRecord {
                reachability: view.reachability,
                theta: 1.0 - view.failure_rate,
                failure_rate: view.failure_rate,
                deviation: view.deviation,
                ramp: view.ramp,
                latency_ms: view.latency_ms,
                ringing_ms: view.ringing_ms,
                srv: view.srv,
            }),
        }
    }
}

impl DecisionRecord {
    /// The free share of a gateway's limits that was known then; all of it where the decision did not look.
    pub fn headroom(&self, gateway_id: GatewayId) -> f64 {
        let is_full = |dropped: &DroppedRecord| {
            dropped.reason == Drop::Capacity && dropped.gateway_id == Some(gateway_id)
        };
        if self.dropped.iter().any(is_full) {
            return 0.0;
        }
        let known = |candidate: &&CandidateRecord| candidate.gateway_id == Some(gateway_id);
        self.candidates.iter().find(known).map_or(1.0, |candidate| candidate.headroom)
    }

    /// The health that was known then. Of `targets`, what the decision did not look at, or what has come since, is
    /// unknown.
    pub fn view(&self, targets: &[Target], now: Instant) -> View {
        let unknown = targets.iter().map(|target| (*target, TargetView::unknown(*target)));
        let mut targets: HashMap<Target, TargetView> = unknown.collect();
        let mut destinations = HashMap::new();
        for candidate in &self.candidates {
            let Some(gateway_id) = candidate.gateway_id else { continue };
            let target = Target { gateway_id, address: candidate.address };
            targets.insert(target, candidate.health.view(target));
            let key = candidate.carrier_id.zip(self.country);
            if let Some(key) = key.filter(|_| candidate.destination_factor < 1.0) {
                destinations.insert(key, candidate.destination_factor);
            }
        }
        for dropped in &self.dropped {
            let (Some(gateway_id), Some(address), Some(health)) =
                (dropped.gateway_id, dropped.address, &dropped.health)
            else {
                continue;
            };
            let target = Target { gateway_id, address };
            let mut view = health.view(target);
            view.is_ejected = dropped.reason == Drop::Ejected;
            view.is_half_open_busy = dropped.reason == Drop::HalfOpenBusy;
            view.unusable_until =
                (dropped.reason == Drop::RetryAfter).then(|| now + Duration::from_secs(1));
            targets.insert(target, view);
        }
        let elsewhere: HashSet<(i64, Option<SocketAddr>)> = self
            .dropped
            .iter()
            .filter(|dropped| dropped.reason == Drop::NotRegistered)
            .filter_map(|dropped| Some((dropped.gateway_id?.0, dropped.address)))
            .collect();
        for (target, view) in &mut targets {
            let of_gateway = |(id, _): &(i64, _)| *id == target.gateway_id.0;
            let is_left_out = elsewhere.contains(&(target.gateway_id.0, Some(target.address)));
            view.is_registered = elsewhere.iter().any(of_gateway) && !is_left_out;
        }
        View::new(targets.into_values().map(Arc::new).collect())
            .with_destinations(destinations)
            .with_medians(self.median_latency_ms, self.median_ringing_ms)
    }
}

impl HealthRecord {
    fn view(&self, target: Target) -> TargetView {
        TargetView {
            reachability: self.reachability,
            failure_rate: self.failure_rate,
            deviation: self.deviation,
            ramp: self.ramp,
            latency_ms: self.latency_ms,
            ringing_ms: self.ringing_ms,
            srv: self.srv,
            ..TargetView::unknown(target)
        }
    }
}
