//! What an explanation says, line by line.

use serde_json::{Value, json};
use time::Duration;
use time::macros::datetime;
use uuid::Uuid;

use super::explanation::{DryRun, Explanation};
use super::text;
use crate::carrier::seed::seed_rules;
use crate::routing::Drop;
use crate::store::record::{StoredAttempt, StoredCall};

#[test]
fn says_why_the_caller_was_told_what_no_carrier_said() {
    let mut refused = attempt("first", 503, "carrier_hard", "next_gateway");
    (refused.failure_rule_id, refused.weight) = (Some(10), Some(0.5));
    let mut silent = attempt("second", 408, "carrier_hard", "next_gateway");
    silent.origin = "timeout".to_owned();
    silent.stage = "nothing".to_owned();
    silent.reason = "no response in 1800 ms".to_owned();
    (silent.trying_ms, silent.ended_ms) = (None, 1_800);
    let call = StoredCall { attempts: vec![refused, silent], status_code: 502, ..call() };
    insta::assert_snapshot!("told_502", explain(&call));
}

#[test]
fn tells_attempts_of_a_transfer_from_those_of_the_call() {
    let first = attempt("first", 200, "answered", "stop");
    let mut second = attempt("second", 200, "answered", "stop");
    second.transferred_to = Some("+4940777".to_owned());
    let call = StoredCall {
        attempts: vec![first, second],
        answered_at: Some(datetime!(2026-03-04 05:06:09 UTC)),
        ..call()
    };
    let said = explain(&call);
    assert_eq!(said.matches("The call was to be transferred to +4940777.").count(), 1, "{said}");
    assert!(said.contains("it was answered by attempt 1"), "{said}");
}

#[test]
fn names_everything_that_was_left_out_and_why() {
    let dropped: Vec<Value> = Drop::ALL
        .iter()
        .enumerate()
        .map(|(index, reason)| {
            json!({ "carrier": "c", "gateway": format!("gateway-{index}"), "reason": reason })
        })
        .collect();
    let decision =
        json!({ "strategy": "weighted", "dropped": dropped, "dropped_beyond": 3, "region": "eu" });
    let call = StoredCall {
        decision: Some(decision.into()),
        status_code: 480,
        end_cause: "refused".to_owned(),
        ended_by: "holdfast".to_owned(),
        detail: "no gateway of the route may take calls".to_owned(),
        ..call()
    };
    insta::assert_snapshot!("left_out", explain(&call));
}

#[test]
fn reads_what_an_earlier_version_kept() {
    let decision = json!({
        "route_id": 1,
        "strategy": "healthiest",
        "region": null,
        "tables_version": 3,
        "seed": u64::MAX,
        "panic": true,
        "candidates": [{
            "carrier": "first",
            "gateway": "first-a",
            "address": "[2001:db8::1]:5060",
            "priority": 1,
            "reachability": "down",
            "ramp": 1.0,
            "failure_rate": 0.5,
            "latency_ms": 20.0,
            "ringing_ms": 800.0,
            "score": 0.25,
        }],
        "dropped": [{ "gateway": "first-a", "reason": "down" }],
    });
    let mut gone = attempt("first", 487, "caller", "stop");
    gone.origin = "timeout".to_owned();
    gone.reason = "CANCEL".to_owned();
    let call = StoredCall {
        decision: Some(decision.into()),
        attempts: vec![gone],
        status_code: 487,
        end_cause: "cancelled".to_owned(),
        ended_by: "caller".to_owned(),
        ..call()
    };
    insta::assert_snapshot!("earlier_version", explain(&call));
}

#[test]
fn says_when_nobody_known_called_and_nothing_was_decided() {
    let call = StoredCall {
        customer_id: None,
        customer: None,
        route_id: None,
        status_code: 403,
        end_cause: "refused".to_owned(),
        detail: "no customer has this address".to_owned(),
        ..call()
    };
    let said = explain(&call);
    assert!(said.contains("Nobody we know at 192.0.2.9:5080 calls +4930123456"), "{said}");
    assert!(said.ends_with("The caller was told 403 at once.\nWhy: no customer has this address."));
}

#[test]
fn quotes_a_rule_whose_words_were_not_kept_as_it_reads_now() {
    let mut old = attempt("first", 503, "carrier_hard", "next_gateway");
    (old.failure_rule_id, old.weight) = (Some(9), None);
    let call = StoredCall { attempts: vec![old.clone()], ..call() };
    let said = explain(&call);
    assert!(
        said.contains("Rule 9 judged it (as it reads now): status 503 -> carrier_hard"),
        "{said}"
    );
    old.failure_rule_id = Some(9_999);
    let said = explain(&StoredCall { attempts: vec![old], ..call });
    assert!(said.contains("Rule 9999 judged it, which is no more;"), "{said}");
}

#[test]
fn says_of_a_dry_run_when_its_health_is_from() {
    let customer = crate::carrier::Customer {
        id: crate::carrier::CustomerId(1),
        name: "acme".into(),
        is_enabled: false,
        region: None,
        refer: crate::carrier::ReferPolicy::Refuse,
        routed_by: crate::carrier::RoutedBy::Called,
        auth: crate::carrier::CustomerAuth::Address,
    };
    let no_way = crate::routing::NoWay {
        status_code: 403,
        detail: "the customer is disabled".to_owned(),
        is_for_its_region: false,
        route: None,
        plan: None,
    };
    let dry_run = DryRun {
        at: Some(datetime!(2026-03-04 05:06:07 UTC)),
        node: "node-1".to_owned(),
        seed: 1,
        attempts: 12,
        probes: 34,
    };
    let explanation =
        Explanation::of_dry_run(dry_run, &customer, "112", String::new(), Err(Box::new(no_way)));
    insta::assert_snapshot!("dry_run_at", text::of(&explanation));
}

fn explain(call: &StoredCall) -> String {
    text::of(&Explanation::of_call(call, 1, &seed_rules()))
}

fn call() -> StoredCall {
    let started_at = datetime!(2026-03-04 05:06:07.123456 UTC);
    StoredCall {
        taken_from: None,
        call_id: Uuid::from_u128(1),
        node: "node-1".to_owned(),
        customer_id: Some(1),
        customer: Some("acme".to_owned()),
        route_id: Some(1),
        region: None,
        calling: String::new(),
        called: "+4930123456".to_owned(),
        source_address: "192.0.2.9/32".parse().expect("an address"),
        source_port: 5080,
        inbound_call_id: "in-1@example.com".to_owned(),
        started_at,
        ringing_at: None,
        answered_at: None,
        ended_at: started_at + Duration::milliseconds(1_850),
        status_code: 502,
        end_cause: "failed".to_owned(),
        ended_by: "callee".to_owned(),
        detail: String::new(),
        decision: None,
        country: None,
        attempts: Vec::new(),
    }
}

fn attempt(carrier: &str, status_code: u16, class: &str, action: &str) -> StoredAttempt {
    StoredAttempt {
        carrier_id: 1,
        carrier: carrier.to_owned(),
        gateway_id: 1,
        gateway: format!("{carrier}-a"),
        address: "198.51.100.1/32".parse().expect("an address"),
        port: 5060,
        outbound_call_id: format!("out-{carrier}"),
        started_at: datetime!(2026-03-04 05:06:07.123456 UTC),
        trying_ms: Some(20),
        ringing_ms: None,
        ended_ms: 45,
        origin: "remote".to_owned(),
        stage: "trying".to_owned(),
        status_code,
        reason: "Service Unavailable".to_owned(),
        class: class.to_owned(),
        action: action.to_owned(),
        failure_rule_id: None,
        late_answer: false,
        transferred_to: None,
        weight: None,
        failure_rule: None,
    }
}
