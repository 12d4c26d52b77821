//! A plan as the JSON of a [`DecisionRecord`](super::DecisionRecord), written straight from what it holds.
//!
//! Names stand in the order of the alphabet, as in any JSON that was a map once; a test holds both against each other.

use serde::{Serialize, Serializer};
use std::net::SocketAddr;

use super::record::is_without_srv;
use super::{Candidate, Drop, Dropped, Plan};
use crate::carrier::{CarrierId, GatewayId, RouteId, Strategy};
use crate::health::{Reachability, Srv, TargetView};

#[derive(Serialize)]
pub(super) struct PlanText<'a> {
    called_prefix: &'a str,
    #[serde(serialize_with = "candidates")]
    candidates: &'a [Candidate],
    candidates_beyond: usize,
    country: Option<u16>,
    #[serde(serialize_with = "dropped")]
    dropped: &'a [Dropped],
    dropped_beyond: usize,
    median_latency_ms: Option<f64>,
    median_ringing_ms: Option<f64>,
    panic: bool,
    region: Option<&'a str>,
    route_id: RouteId,
    seed: u64,
    strategy: Strategy,
    tables_version: u64,
}

#[derive(Serialize)]
struct CandidateText<'a> {
    address: SocketAddr,
    carrier: &'a str,
    carrier_id: CarrierId,
    destination_factor: f64,
    deviation: f64,
    failure_rate: f64,
    gateway: &'a str,
    gateway_id: GatewayId,
    headroom: f64,
    latency_factor: f64,
    latency_ms: Option<f64>,
    priority: u16,
    ramp: f64,
    reachability: Reachability,
    ringing_ms: Option<f64>,
    score: f64,
    #[serde(skip_serializing_if = "is_without_srv")]
    srv: Srv,
    theta: f64,
}

#[derive(Serialize)]
struct DroppedText<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<SocketAddr>,
    carrier: &'a str,
    carrier_id: CarrierId,
    gateway: &'a str,
    gateway_id: GatewayId,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthText>,
    reason: Drop,
}

#[derive(Serialize)]
struct HealthText {
    deviation: f64,
    failure_rate: f64,
    latency_ms: Option<f64>,
    ramp: f64,
    reachability: Reachability,
    ringing_ms: Option<f64>,
    #[serde(skip_serializing_if = "is_without_srv")]
    srv: Srv,
    theta: f64,
}

impl<'a> From<&'a Plan> for PlanText<'a> {
    fn from(plan: &'a Plan) -> Self {
        Self {
            called_prefix: &plan.route.called_prefix,
            candidates: &plan.candidates,
            candidates_beyond: plan.candidates_beyond,
            country: plan.country,
            dropped: &plan.dropped,
            dropped_beyond: plan.dropped_beyond,
            median_latency_ms: plan.median_latency_ms,
            median_ringing_ms: plan.median_ringing_ms,
            panic: plan.is_panic,
            region: plan.region.as_deref(),
            route_id: plan.route.id,
            seed: plan.seed,
            strategy: plan.route.strategy,
            tables_version: plan.tables_version,
        }
    }
}

impl<'a> From<&'a Candidate> for CandidateText<'a> {
    fn from(candidate: &'a Candidate) -> Self {
        Self {
            address: candidate.target.address,
            carrier: &candidate.carrier().name,
            carrier_id: candidate.carrier().id,
            destination_factor: candidate.destination_factor,
            deviation: candidate.deviation,
            failure_rate: candidate.failure_rate,
            gateway: &candidate.gateway.name,
            gateway_id: candidate.gateway.id,
            headroom: candidate.headroom,
            latency_factor: candidate.latency_factor,
            latency_ms: candidate.latency_ms,
            priority: candidate.priority,
            ramp: candidate.ramp,
            reachability: candidate.reachability,
            ringing_ms: candidate.ringing_ms,
            score: candidate.score,
            srv: candidate.srv,
            theta: 1.0 - candidate.failure_rate,
        }
    }
}

impl<'a> From<&'a Dropped> for DroppedText<'a> {
    fn from(dropped: &'a Dropped) -> Self {
        let health = dropped.health.as_deref();
        Self {
            address: health.map(|view| view.target.address),
            carrier: &dropped.gateway.carrier.name,
            carrier_id: dropped.gateway.carrier.id,
            gateway: &dropped.gateway.name,
            gateway_id: dropped.gateway.id,
            health: health.map(HealthText::from),
            reason: dropped.reason,
        }
    }
}

impl From<&TargetView> for HealthText {
    fn from(view: &TargetView) -> Self {
        Self {
            deviation: view.deviation,
            failure_rate: view.failure_rate,
            latency_ms: view.latency_ms,
            ramp: view.ramp,
            reachability: view.reachability,
            ringing_ms: view.ringing_ms,
            srv: view.srv,
            theta: 1.0 - view.failure_rate,
        }
    }
}

fn candidates<S: Serializer>(all: &[Candidate], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(all.iter().map(CandidateText::from))
}

fn dropped<S: Serializer>(all: &[Dropped], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(all.iter().map(DroppedText::from))
}
