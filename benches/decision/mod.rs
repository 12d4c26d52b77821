//! Tables of one route with many carriers and gateways, and decisions over them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use holdfast::carrier::rows::{CarrierRow, CustomerRow, GatewayRow, RouteCarrierRow, RouteRow};
use holdfast::carrier::{CustomerId, GatewayId, Rows, Tables, Transport};
use holdfast::health::{Reachability, Target, TargetView, View};
use holdfast::routing::{Plan, Query, Reach, decide};

pub(crate) struct Decisions {
    tables: Tables,
    view: View,
    now: Instant,
}

impl Decisions {
    /// All are up, each a little different.
    #[allow(clippy::disallowed_methods, reason = "a world begins at some time")]
    pub(crate) fn new(carriers: i64, gateways: i64, strategy: &str) -> Self {
        let tables = Tables::check(rows(carriers, gateways, strategy), 1).expect("good rows");
        let target = |id: i64| {
            let address = SocketAddr::from(([198, 51, 100, 1], u16::try_from(id).expect("small")));
            Arc::new(TargetView {
                reachability: Reachability::Up,
                failure_rate: 0.01 + 0.001 * (id % 7) as f64,
                latency_ms: Some(20.0 + (id % 30) as f64),
                ringing_ms: Some(800.0 + (id % 90) as f64),
                ..TargetView::unknown(Target { gateway_id: GatewayId(id), address })
            })
        };
        let view = View::new((1..=carriers * gateways).map(target).collect());
        Self { tables, view, now: Instant::now() }
    }

    pub(crate) fn plan(&self, seed: u64) -> Plan {
        let route = self.tables.route_for(CustomerId(1), "+4930123456").expect("a route");
        let query = Query {
            route,
            customer_region: None,
            country: Some(49),
            wall: std::time::SystemTime::UNIX_EPOCH,
            audio: None,
            needs_tls: false,
            seed,
            reach: Reach::default().and(Transport::Udp, true),
            headroom: &|_, _| 1.0,
            has_learned: false,
        };
        decide(&self.tables, &self.view, &query, self.now)
    }
}

fn rows(carriers: i64, gateways: i64, strategy: &str) -> Rows {
    let carrier = |carrier_id| CarrierRow {
        carrier_id,
        name: format!("carrier-{carrier_id}"),
        ..CarrierRow::default()
    };
    let gateway = |gateway_id| GatewayRow {
        gateway_id,
        carrier_id: (gateway_id - 1) / gateways + 1,
        name: format!("gateway-{gateway_id}"),
        host: "198.51.100.1".to_owned(),
        port: i32::try_from(gateway_id).expect("small"),
        ..GatewayRow::default()
    };
    let place =
        |carrier_id| RouteCarrierRow { route_id: 1, carrier_id, ..RouteCarrierRow::default() };
    Rows {
        carriers: (1..=carriers).map(carrier).collect(),
        gateways: (1..=carriers * gateways).map(gateway).collect(),
        customers: vec![CustomerRow {
            customer_id: 1,
            name: "acme".to_owned(),
            ..CustomerRow::default()
        }],
        routes: vec![RouteRow {
            route_id: 1,
            strategy: strategy.to_owned(),
            ..RouteRow::default()
        }],
        route_carriers: (1..=carriers).map(place).collect(),
        ..Rows::default()
    }
}
