//! The tables of the arena: one route, a carrier with one gateway for each model, the seeded failure rules.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use holdfast::carrier::rows::{CarrierRow, GatewayRow, RouteCarrierRow, RouteRow};
use holdfast::carrier::{CarrierId, CustomerId, GatewayId, Route, Rows, Tables, seed};
use holdfast::health::{Reachability, Srv, Target};
use holdfast::routing::{Candidate, Plan};

/// What is the same for all scorers of a run.
#[derive(Clone, Debug)]
pub struct Facts {
    pub tables: Arc<Tables>,
    pub route: Arc<Route>,
    /// By index of the carrier's model.
    pub targets: Vec<Target>,
    pub start: Instant,
}

impl Facts {
    pub fn new(carriers: usize, start: Instant) -> Self {
        let ids: Vec<i64> = (1..).take(carriers).collect();
        let rows = Rows {
            carriers: ids.iter().map(|id| carrier(*id)).collect(),
            gateways: ids.iter().map(|id| gateway(*id)).collect(),
            routes: vec![route()],
            route_carriers: ids.iter().map(|id| place(*id)).collect(),
            failure_rules: seed::seed_rules(),
            ..Rows::default()
        };
        let tables = Tables::check(rows, 1).expect("good rows");
        let route = tables.route_for(CustomerId(1), "4930123456").expect("a route").clone();
        let targets = ids.iter().map(|id| target(*id)).collect();
        Self { tables: Arc::new(tables), route, targets, start }
    }

    pub fn len(&self) -> usize {
        self.targets.len()
    }

    pub fn carrier_id(&self, index: usize) -> CarrierId {
        CarrierId(index as i64 + 1)
    }

    pub fn index_of(&self, target: Target) -> usize {
        target.gateway_id.0 as usize - 1
    }

    /// A plan that tries carriers in this order: what a scorer other than Holdfast's decides.
    pub fn plan(&self, order: &[usize], now: Instant) -> Plan {
        let candidate = |index: &usize| {
            let gateway = self.tables.gateway(self.targets[*index].gateway_id).expect("a gateway");
            Candidate {
                gateway: gateway.clone(),
                target: self.targets[*index],
                srv: Srv::default(),
                priority: 1,
                reachability: Reachability::Up,
                ramp: 1.0,
                failure_rate: 0.0,
                deviation: 0.0,
                latency_ms: None,
                ringing_ms: None,
                destination_factor: 1.0,
                latency_factor: 1.0,
                headroom: 1.0,
                score: 1.0,
            }
        };
        Plan {
            route: self.route.clone(),
            region: None,
            country: None,
            routing_number: None,
            tables_version: 1,
            seed: 0,
            decided_at: now,
            is_panic: false,
            median_latency_ms: None,
            median_ringing_ms: None,
            candidates: order.iter().map(candidate).collect(),
            candidates_beyond: 0,
            dropped: Vec::new(),
            dropped_beyond: 0,
            is_short: false,
        }
    }
}

fn target(id: i64) -> Target {
    let host = u8::try_from(id).expect("few carriers");
    Target { gateway_id: GatewayId(id), address: SocketAddr::from(([192, 0, 2, host], 5060)) }
}

fn carrier(id: i64) -> CarrierRow {
    CarrierRow { carrier_id: id, name: format!("carrier-{id}"), ..CarrierRow::default() }
}

fn gateway(id: i64) -> GatewayRow {
    GatewayRow {
        gateway_id: id,
        carrier_id: id,
        name: format!("gateway-{id}"),
        host: format!("192.0.2.{id}"),
        ..GatewayRow::default()
    }
}

fn route() -> RouteRow {
    RouteRow { route_id: 1, verify_unallocated: true, ..RouteRow::default() }
}

fn place(id: i64) -> RouteCarrierRow {
    RouteCarrierRow { route_id: 1, carrier_id: id, ..RouteCarrierRow::default() }
}
