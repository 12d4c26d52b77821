//! The failure rules that a new store begins with; an admin may change every one of them.

use super::rows::FailureRuleRow;
use super::{Action, Class, Origin, Stage};

/// What a failed carrier counts beyond doubt.
const WHOLE: f32 = 1.0;
/// What a failure counts that may not be this carrier's.
const HALF: f32 = 0.5;

/// The rows of a new `failure_rules` table, ids from 1 in this order, all enabled, all for any
/// carrier. Weights of classes other than the two carrier classes are 0: they count for nothing.
pub fn seed_rules() -> Vec<FailureRuleRow> {
    let mut rules = Vec::new();
    rules.extend(without_response());
    rules.extend(carrier_faults());
    rules.extend(capacity());
    rules.extend(destination());
    rules.extend(config());
    rules.extend(policy_blocks());
    for (id, rule) in (1..).zip(&mut rules) {
        rule.failure_rule_id = id;
    }
    rules
}

/// Our own timers and the transport.
fn without_response() -> [FailureRuleRow; 5] {
    let timeout = |stage: Stage, rule| FailureRuleRow {
        origin: Some(Origin::Timeout.to_string()),
        stage: Some(stage.to_string()),
        ..rule
    };
    [
        // Nothing at all within no_response_ms.
        timeout(Stage::Nothing, hard(None, WHOLE)),
        // A 100, but no ringing within no_ringing_ms.
        timeout(Stage::Trying, soft(None, Action::NextCarrier)),
        // It rang for max_ringing_ms.
        timeout(Stage::Ringing, stop(Class::Destination, None)),
        timeout(Stage::EarlyMedia, stop(Class::Destination, None)),
        // Port unreachable, connection refused.
        FailureRuleRow { origin: Some(Origin::Transport.to_string()), ..hard(None, WHOLE) },
    ]
}

fn carrier_faults() -> Vec<FailureRuleRow> {
    let mut rules = vec![
        hard(Some("5xx"), WHOLE),
        hard(Some("500"), WHOLE),
        hard(Some("502"), WHOLE),
        hard(Some("503"), HALF),
        hard(Some("504"), HALF),
        // The carrier's own next hop was silent.
        soft(Some("408"), Action::NextCarrier),
        // Unavailable, and nobody says why.
        soft(Some("480"), Action::NextCarrierOnce),
    ];
    // Q.850: no circuit, network out of order, temporary failure, congestion, circuit or resource
    // unavailable, bearer capability unavailable now: whatever code such a cause rides on (a 404
    // for want of circuits among them), it speaks of the network.
    rules.extend(
        [34, 38, 41, 42, 44, 47, 58].map(|cause| caused(cause, soft(None, Action::NextCarrier))),
    );
    rules
}

/// Full for now, in the words of real carriers.
fn capacity() -> [FailureRuleRow; 3] {
    let full = |status: &str, regex: &str| FailureRuleRow {
        reason_regex: Some(regex.to_owned()),
        ..rule(Class::Capacity, Action::NextCarrier, Some(status), 0.0)
    };
    [
        full("503", r"(?i)\bcps\s+limit\b"),
        full("403", r"(?i)\bchannel\s+limit\b"),
        full("486", r"\bD56?\b"),
    ]
}

fn destination() -> Vec<FailureRuleRow> {
    let verify = |status| rule(Class::Destination, Action::VerifyOnce, Some(status), 0.0);
    let mut rules = vec![
        stop(Class::Destination, Some("486")),
        // From the called side: the answer to our own CANCEL never comes here.
        stop(Class::Destination, Some("487")),
        stop(Class::Destination, Some("600")),
        stop(Class::Destination, Some("603")),
        stop(Class::Destination, Some("6xx")),
        verify("404"),
        verify("410"),
        verify("484"),
        verify("604"),
    ];
    // Q.850: no user responding, no answer, subscriber absent.
    rules.extend([18, 19, 20].map(|cause| caused(cause, stop(Class::Destination, Some("480")))));
    rules
}

fn config() -> Vec<FailureRuleRow> {
    let once = |status| rule(Class::Config, Action::NextCarrierOnce, Some(status), 0.0);
    let mut rules: Vec<_> = [
        "3xx", "400", "401", "403", "405", "407", "415", "416", "420", "421", "422", "488", "491",
        "606",
    ]
    .map(once)
    .into();
    // A loop, and too many hops: another carrier would only lengthen it.
    rules.push(stop(Class::Config, Some("482")));
    rules.push(stop(Class::Config, Some("483")));
    rules
}

/// Another carrier must not be used to get round these.
fn policy_blocks() -> [FailureRuleRow; 4] {
    let with_header = |name: &str, regex: &str, rule| FailureRuleRow {
        header_name: Some(name.to_owned()),
        header_regex: Some(regex.to_owned()),
        ..rule
    };
    let block = |status| stop(Class::PolicyBlock, status);
    [
        // Blocked by call analytics.
        with_header("Reason", r"(?i)\bv\s*=\s*analytics", block(Some("603"))),
        // RFC 8197, RFC 8688.
        block(Some("607")),
        block(Some("608")),
        with_header("X-Twilio-Error", r"\b32203\b", block(None)),
    ]
}

fn hard(status: Option<&str>, weight: f32) -> FailureRuleRow {
    rule(Class::CarrierHard, Action::NextGateway, status, weight)
}

fn soft(status: Option<&str>, action: Action) -> FailureRuleRow {
    rule(Class::CarrierSoft, action, status, HALF)
}

fn stop(class: Class, status: Option<&str>) -> FailureRuleRow {
    rule(class, Action::Stop, status, 0.0)
}

fn caused(cause: i32, rule: FailureRuleRow) -> FailureRuleRow {
    FailureRuleRow { q850_cause: Some(cause), ..rule }
}

fn rule(class: Class, action: Action, status: Option<&str>, weight: f32) -> FailureRuleRow {
    FailureRuleRow {
        failure_rule_id: 0,
        enabled: true,
        carrier_id: None,
        status: status.map(str::to_owned),
        reason_regex: None,
        header_name: None,
        header_regex: None,
        q850_cause: None,
        origin: None,
        stage: None,
        class: class.to_string(),
        action: action.to_string(),
        weight,
    }
}
