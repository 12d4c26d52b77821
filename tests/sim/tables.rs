//! What the world's engine knows: four carriers with five gateways, one customer, one route.

use std::net::SocketAddr;

use holdfast::carrier::Rows;
use holdfast::carrier::rows::{
    CarrierRow, CustomerAddressRow, CustomerRow, GatewayRow, RouteCarrierRow, RouteRow,
};

pub const GATEWAYS: i64 = 5;

/// Where a gateway is.
pub fn address(gateway: i64) -> SocketAddr {
    format!("198.51.100.{gateway}:5060").parse().expect("an address")
}

pub fn rows() -> Rows {
    Rows {
        carriers: (1..=4).map(carrier).collect(),
        gateways: (1..=GATEWAYS).map(gateway).collect(),
        customers: vec![CustomerRow {
            customer_id: 1,
            name: "acme".to_owned(),
            enabled: true,
            region: None,
        }],
        customer_addresses: vec![CustomerAddressRow {
            address_range: "192.0.2.0/24".parse().expect("a range"),
            customer_id: 1,
        }],
        routes: vec![RouteRow {
            route_id: 1,
            enabled: true,
            customer_id: None,
            called_prefix: String::new(),
            region: None,
            strategy: "weighted".to_owned(),
            reroute_after_ringing: "carrier_fault_only".to_owned(),
            verify_unallocated: true,
            setup_budget_ms: 12_000,
            max_carriers: 4,
            max_attempts: 8,
            max_ringing_ms: 40_000,
        }],
        route_carriers: (1..=4)
            .map(|carrier_id| RouteCarrierRow {
                route_id: 1,
                carrier_id,
                priority: 1,
                weight: 1,
                cost_micros: 0,
            })
            .collect(),
        failure_rules: holdfast::carrier::seed::seed_rules(),
        number_rules: Vec::new(),
    }
}

fn carrier(carrier_id: i64) -> CarrierRow {
    CarrierRow {
        carrier_id,
        name: format!("carrier-{carrier_id}"),
        enabled: true,
        region: None,
        probe_interval_ms: 5_000,
        no_response_ms: 1_800,
        no_ringing_ms: 6_000,
        max_cps: None,
        max_channels: None,
    }
}

/// The second carrier has two.
fn gateway(gateway_id: i64) -> GatewayRow {
    GatewayRow {
        gateway_id,
        carrier_id: if gateway_id == 5 { 2 } else { gateway_id },
        name: format!("gateway-{gateway_id}"),
        host: address(gateway_id).ip().to_string(),
        port: 5060,
        transport: "udp".to_owned(),
        admin_state: "on".to_owned(),
        region: None,
        priority: 0,
        weight: 1,
        max_cps: None,
        max_channels: None,
    }
}
