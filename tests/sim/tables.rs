//! What the world's engine knows: four carriers with five gateways, one customer, one route.

use std::net::SocketAddr;

use holdfast::carrier::Rows;
use holdfast::carrier::rows::{
    CarrierCredentialsRow, CarrierRow, CustomerAddressRow, CustomerRow, GatewayRow,
    RouteCarrierRow, RouteRow,
};
use holdfast::digest::Hidden;

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
            ..CustomerRow::default()
        }],
        customer_addresses: vec![CustomerAddressRow {
            address_range: "192.0.2.0/24".parse().expect("a range"),
            customer_id: 1,
        }],
        routes: vec![RouteRow {
            route_id: 1,
            strategy: "weighted".to_owned(),
            reroute_after_ringing: "carrier_fault_only".to_owned(),
            verify_unallocated: true,
            max_ringing_ms: 40_000,
            ..RouteRow::default()
        }],
        route_carriers: (1..=4)
            .map(|carrier_id| RouteCarrierRow {
                route_id: 1,
                carrier_id,
                ..RouteCarrierRow::default()
            })
            .collect(),
        failure_rules: holdfast::carrier::seed::seed_rules(),
        number_rules: Vec::new(),
        carrier_credentials: (1..=4).map(credentials).collect(),
        ..Rows::default()
    }
}

fn carrier(carrier_id: i64) -> CarrierRow {
    CarrierRow { carrier_id, name: format!("carrier-{carrier_id}"), ..CarrierRow::default() }
}

/// Used in worlds with a gate.
fn credentials(carrier_id: i64) -> CarrierCredentialsRow {
    CarrierCredentialsRow {
        carrier_id,
        username: "trunk".to_owned(),
        realm: Some("gate".to_owned()),
        password: Some(Hidden::new("secret".to_owned())),
        ..CarrierCredentialsRow::default()
    }
}

/// The second carrier has two.
fn gateway(gateway_id: i64) -> GatewayRow {
    GatewayRow {
        gateway_id,
        carrier_id: if gateway_id == 5 { 2 } else { gateway_id },
        name: format!("gateway-{gateway_id}"),
        host: address(gateway_id).ip().to_string(),
        media: "rtp".to_owned(),
        ..GatewayRow::default()
    }
}
