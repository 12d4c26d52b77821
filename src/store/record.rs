//! A call and a probe as the tables keep them: plain values, which the spool can hold too.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Json;
use crate::call::{AttemptRecord, CallRecord};

/// One row of `calls` with its rows of `call_attempts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredCall {
    pub call_id: Uuid,
    pub node: String,
    pub customer_id: Option<i64>,
    pub customer: Option<String>,
    pub route_id: Option<i64>,
    pub region: Option<String>,
    pub calling: String,
    pub called: String,
    pub source_address: IpNet,
    pub source_port: u16,
    pub inbound_call_id: String,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub ringing_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub answered_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub ended_at: OffsetDateTime,
    pub status_code: u16,
    pub end_cause: String,
    pub ended_by: String,
    pub detail: String,
    /// The plan, complete enough to explain it; `None` when no decision was made.
    pub decision: Option<Json>,
    /// Country code of the called number.
    #[serde(default)]
    pub country: Option<i16>,
    /// The node that the call was taken over from last.
    #[serde(default)]
    pub taken_from: Option<String>,
    /// In the order in which they were made.
    pub attempts: Vec<StoredAttempt>,
}

/// One row of `call_attempts`; its number is its place in [`StoredCall::attempts`], from 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredAttempt {
    pub carrier_id: i64,
    pub carrier: String,
    pub gateway_id: i64,
    pub gateway: String,
    pub address: IpNet,
    pub port: u16,
    pub outbound_call_id: String,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    pub trying_ms: Option<u32>,
    pub ringing_ms: Option<u32>,
    pub ended_ms: u32,
    pub origin: String,
    pub stage: String,
    pub status_code: u16,
    pub reason: String,
    pub class: String,
    pub action: String,
    pub failure_rule_id: Option<i64>,
    pub late_answer: bool,
    /// How much it counted against the gateway; `None` = not kept.
    #[serde(default)]
    pub weight: Option<f32>,
    /// What the rule said at that time.
    #[serde(default)]
    pub failure_rule: Option<String>,
    /// Whom it called for a transfer; `None` = whom the call was for.
    #[serde(default)]
    pub transferred_to: Option<String>,
}

/// One row of `probe_results`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredProbe {
    pub node: String,
    pub gateway_id: i64,
    pub address: IpNet,
    pub port: u16,
    #[serde(with = "time::serde::rfc3339")]
    pub ended_at: OffsetDateTime,
    /// `None` when nothing came in time.
    pub status_code: Option<u16>,
    pub delay_ms: f64,
}

impl StoredCall {
    pub fn new(node: &str, record: &CallRecord) -> Self {
        Self {
            call_id: record.call_id,
            node: node.to_owned(),
            customer_id: record.customer.as_ref().map(|(id, _)| id.0),
            customer: record.customer.as_ref().map(|(_, name)| name.to_string()),
            route_id: record.route_id.map(|id| id.0),
            region: record.region.as_deref().map(str::to_owned),
            calling: storable(&record.calling),
            called: storable(&record.called),
            source_address: address(record.source),
            source_port: record.source.port(),
            inbound_call_id: storable(&record.inbound_call_id),
            started_at: wall(record.started_at),
            ringing_at: record.ringing_at.map(wall),
            answered_at: record.answered_at.map(wall),
            ended_at: wall(record.ended_at),
            status_code: record.status_code,
            end_cause: record.end_cause.to_string(),
            ended_by: record.ended_by.to_string(),
            detail: storable(&record.detail),
            decision: decision(record),
            taken_from: record.taken_from.as_deref().map(str::to_owned),
            country: record.country.and_then(|code| i16::try_from(code).ok()),
            attempts: record.attempts.iter().map(StoredAttempt::new).collect(),
        }
    }
}

/// That of this node, else the one that came with the call.
fn decision(record: &CallRecord) -> Option<Json> {
    let here = record.plan.as_ref().map(|plan| Json::from(plan.to_json()));
    here.or_else(|| Some(Json::from(record.earlier_decision.as_ref()?.get().to_owned())))
}

impl StoredAttempt {
    fn new(record: &AttemptRecord) -> Self {
        Self {
            carrier_id: record.carrier_id.0,
            carrier: record.carrier.to_string(),
            gateway_id: record.gateway_id.0,
            gateway: record.gateway.to_string(),
            address: address(record.address),
            port: record.address.port(),
            outbound_call_id: record.outbound_call_id.clone(),
            started_at: wall(record.started_at),
            trying_ms: record.trying_ms,
            ringing_ms: record.ringing_ms,
            ended_ms: record.ended_ms,
            origin: record.origin.to_string(),
            stage: record.stage.to_string(),
            status_code: record.status_code,
            reason: storable(&record.reason),
            class: record.class.to_string(),
            action: record.action.to_string(),
            failure_rule_id: record.failure_rule_id.map(|id| id.0),
            late_answer: record.late_answer,
            weight: Some(record.weight),
            failure_rule: record.failure_rule.as_deref().map(storable),
            transferred_to: record.transferred_to.as_deref().map(storable),
        }
    }
}

/// An address without its port, as `inet` has it.
pub(crate) fn address(socket: SocketAddr) -> IpNet {
    IpNet::from(socket.ip().to_canonical())
}

/// Postgres keeps microseconds: what the spool holds is what the table will.
pub(crate) fn wall(at: SystemTime) -> OffsetDateTime {
    let at = OffsetDateTime::from(at);
    let nanosecond = at.nanosecond() / 1_000 * 1_000;
    at.replace_nanosecond(nanosecond).unwrap_or(at)
}

/// Text of the wire as a table takes it: no NUL, and of bounded length.
fn storable(text: &str) -> String {
    text.chars().filter(|character| *character != '\0').take(MAX_TEXT_CHARACTERS).collect()
}

/// What a peer can make us store in one column.
const MAX_TEXT_CHARACTERS: usize = 1_000;

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A call like many, told apart by its number.
    pub(crate) fn call(number: u64) -> StoredCall {
        let at = OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_secs(number);
        StoredCall {
            call_id: Uuid::from_u64_pair(1, number),
            node: "a".to_owned(),
            customer_id: Some(1),
            customer: Some("acme".to_owned()),
            route_id: Some(1),
            region: None,
            calling: "100".to_owned(),
            called: "200".to_owned(),
            source_address: "192.0.2.1/32".parse().expect("an address"),
            source_port: 5060,
            inbound_call_id: format!("call-{number}"),
            started_at: at,
            ringing_at: None,
            answered_at: Some(at),
            ended_at: at,
            status_code: 200,
            end_cause: "completed".to_owned(),
            ended_by: "caller".to_owned(),
            detail: String::new(),
            decision: Some(serde_json::json!({ "seed": u64::MAX }).into()),
            country: Some(49),
            taken_from: None,
            attempts: Vec::new(),
        }
    }
}
