//! Records and health with every column set.

use holdfast::carrier::GatewayId;
use holdfast::health::reachability::SavedReachability;
use holdfast::health::{Reachability, SavedTarget, Target};
use holdfast::store::record::{StoredAttempt, StoredCall, StoredProbe};
use serde_json::json;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

pub(crate) const STARTED_AT: OffsetDateTime = datetime!(2026-03-04 05:06:07.123456 UTC);

/// A call of two attempts that was answered.
pub(crate) fn call(number: u128) -> StoredCall {
    StoredCall {
        call_id: Uuid::from_u128(number),
        node: "node-1".to_owned(),
        customer_id: Some(7),
        customer: Some("acme".to_owned()),
        route_id: Some(8),
        region: Some("eu".to_owned()),
        calling: "+4930111".to_owned(),
        called: "+4930222".to_owned(),
        source_address: "2001:db8::1/128".parse().unwrap(),
        source_port: 65_535,
        inbound_call_id: format!("in-{number}@example.com"),
        started_at: STARTED_AT,
        ringing_at: Some(STARTED_AT + Duration::milliseconds(1_500)),
        answered_at: Some(STARTED_AT + Duration::seconds(3)),
        ended_at: STARTED_AT + Duration::milliseconds(63_250),
        status_code: 200,
        end_cause: "completed".to_owned(),
        ended_by: "caller".to_owned(),
        detail: "ended 'oddly'".to_owned(),
        decision: Some(json!({ "candidates": [{ "gateway_id": 2, "score": 0.5 }] }).into()),
        country: Some(49),
        taken_from: Some("other-node".to_owned()),
        attempts: vec![attempt("lost"), attempt("won")],
    }
}

pub(crate) fn attempt(carrier: &str) -> StoredAttempt {
    let is_won = carrier == "won";
    StoredAttempt {
        carrier_id: 3,
        carrier: carrier.to_owned(),
        gateway_id: 4,
        gateway: format!("{carrier}-gw"),
        address: "192.0.2.4/32".parse().unwrap(),
        port: 5070,
        outbound_call_id: format!("out-{carrier}"),
        started_at: STARTED_AT + Duration::microseconds(1),
        trying_ms: Some(u32::MAX),
        ringing_ms: is_won.then_some(20),
        ended_ms: 3_000,
        origin: "remote".to_owned(),
        stage: "ringing".to_owned(),
        status_code: if is_won { 200 } else { 503 },
        reason: "OK".to_owned(),
        class: if is_won { "answered" } else { "carrier_hard" }.to_owned(),
        action: "stop".to_owned(),
        failure_rule_id: Some(9),
        late_answer: !is_won,
        weight: Some(if is_won { 0.0 } else { 0.5 }),
        failure_rule: (!is_won).then(|| "status 503 -> carrier_hard, stop, weight 0.5".to_owned()),
        transferred_to: (!is_won).then(|| "+14155550199".to_owned()),
    }
}

pub(crate) fn probe(ended_at: OffsetDateTime) -> StoredProbe {
    StoredProbe {
        node: "node-1".to_owned(),
        gateway_id: 4,
        address: "192.0.2.4/32".parse().unwrap(),
        port: 5070,
        ended_at,
        status_code: Some(200),
        delay_ms: 12.5,
    }
}

pub(crate) fn target(gateway_id: i64, address: &str) -> SavedTarget {
    SavedTarget {
        target: Target { gateway_id: GatewayId(gateway_id), address: address.parse().unwrap() },
        reachability: SavedReachability {
            state: Reachability::HalfOpen,
            downs: u32::MAX,
            is_ejected: true,
            is_held: true,
            state_age_ms: 12_345,
            pause_left_ms: 4_000,
        },
        failure_rate: 0.125,
        latency_ms: Some(33.5),
        ringing_ms: Some(812.5),
        unusable_for_ms: 60_000,
        buckets: serde_json::from_value(json!([
            { "attempts": 8.0, "failures": 1.5 },
            { "attempts": 0.0, "failures": 0.0 },
        ]))
        .unwrap(),
    }
}
