//! What has been: calls with their attempts, probes, and how gateways did, read back for people.

use std::collections::HashMap;

use ipnet::IpNet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::StoreError;
use super::record::{StoredAttempt, StoredCall, StoredProbe};
use super::rows::{Columns, Line};

/// Rows that one look into the past reads at most.
pub const MAX_ROWS: u32 = 100_000;

pub(super) fn call(row: &impl Columns) -> Result<StoredCall, StoreError> {
    let line = Line { table: "calls", row };
    let call_id: String = line.get("call_id")?;
    let decision: Option<String> = line.get("decision")?;
    Ok(StoredCall {
        call_id: call_id.parse().map_err(|error| line.unreadable(&call_id, "call_id", error))?,
        node: line.get("node")?,
        customer_id: line.get("customer_id")?,
        customer: line.get("customer")?,
        route_id: line.get("route_id")?,
        region: line.get("region")?,
        calling: line.get("calling")?,
        called: line.get("called")?,
        source_address: address(&line, "source_address")?,
        source_port: small(&line, "source_port")?,
        inbound_call_id: line.get("inbound_call_id")?,
        started_at: time(&line, "started_at")?,
        ringing_at: optional_time(&line, "ringing_at")?,
        answered_at: optional_time(&line, "answered_at")?,
        ended_at: time(&line, "ended_at")?,
        status_code: small(&line, "status_code")?,
        end_cause: line.get("end_cause")?,
        ended_by: line.get("ended_by")?,
        detail: line.get("detail")?,
        decision: decision
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| line.unreadable(&call_id, "decision", error))?,
        country: line.get("country")?,
        taken_from: line.get("taken_from")?,
        attempts: Vec::new(),
    })
}

pub(super) fn attempt(row: &impl Columns) -> Result<(Uuid, StoredAttempt), StoreError> {
    let line = Line { table: "call_attempts", row };
    let call_id: String = line.get("call_id")?;
    let milliseconds = |column| {
        let value: Option<i64> = line.get(column)?;
        Ok::<_, StoreError>(value.and_then(|value| u32::try_from(value).ok()))
    };
    let attempt = StoredAttempt {
        carrier_id: line.get("carrier_id")?,
        carrier: line.get("carrier")?,
        gateway_id: line.get("gateway_id")?,
        gateway: line.get("gateway")?,
        address: address(&line, "address")?,
        port: small(&line, "port")?,
        outbound_call_id: line.get("outbound_call_id")?,
        started_at: time(&line, "started_at")?,
        trying_ms: milliseconds("trying_ms")?,
        ringing_ms: milliseconds("ringing_ms")?,
        ended_ms: milliseconds("ended_ms")?.unwrap_or_default(),
        origin: line.get("origin")?,
        stage: line.get("stage")?,
        status_code: small(&line, "status_code")?,
        reason: line.get("reason")?,
        class: line.get("class")?,
        action: line.get("action")?,
        failure_rule_id: line.get("failure_rule_id")?,
        late_answer: line.get("late_answer")?,
        weight: line.get("weight")?,
        failure_rule: line.get("failure_rule")?,
        transferred_to: line.get("transferred_to")?,
    };
    let call_id = call_id.parse().map_err(|error| line.unreadable(&call_id, "call_id", error))?;
    Ok((call_id, attempt))
}

pub(super) fn probe(row: &impl Columns) -> Result<StoredProbe, StoreError> {
    let line = Line { table: "probe_results", row };
    let status_code: Option<i32> = line.get("status_code")?;
    Ok(StoredProbe {
        node: line.get("node")?,
        gateway_id: line.get("gateway_id")?,
        address: address(&line, "address")?,
        port: small(&line, "port")?,
        ended_at: time(&line, "ended_at")?,
        status_code: status_code.and_then(|code| u16::try_from(code).ok()),
        delay_ms: line.get("delay_ms")?,
    })
}

/// Gives each call its attempts, which come in their order.
pub(super) fn joined(
    mut calls: Vec<StoredCall>,
    attempts: Vec<(Uuid, StoredAttempt)>,
) -> Vec<StoredCall> {
    let mut by_call: HashMap<Uuid, Vec<StoredAttempt>> = HashMap::new();
    for (call_id, attempt) in attempts {
        by_call.entry(call_id).or_default().push(attempt);
    }
    for call in &mut calls {
        call.attempts = by_call.remove(&call.call_id).unwrap_or_default();
    }
    calls
}

fn address<R: Columns>(line: &Line<'_, R>, column: &'static str) -> Result<IpNet, StoreError> {
    let text: String = line.get(column)?;
    let address: Option<IpNet> =
        text.parse().ok().or_else(|| Some(text.parse::<std::net::IpAddr>().ok()?.into()));
    address.ok_or_else(|| line.unreadable("?", column, format!("'{text}' is no address")))
}

fn small<R: Columns>(line: &Line<'_, R>, column: &'static str) -> Result<u16, StoreError> {
    let value: i32 = line.get(column)?;
    u16::try_from(value).map_err(|error| line.unreadable("?", column, error))
}

fn time<R: Columns>(
    line: &Line<'_, R>,
    column: &'static str,
) -> Result<OffsetDateTime, StoreError> {
    let text: String = line.get(column)?;
    OffsetDateTime::parse(&text, &Rfc3339).map_err(|error| line.unreadable("?", column, error))
}

fn optional_time<R: Columns>(
    line: &Line<'_, R>,
    column: &'static str,
) -> Result<Option<OffsetDateTime>, StoreError> {
    let text: Option<String> = line.get(column)?;
    text.map(|text| OffsetDateTime::parse(&text, &Rfc3339))
        .transpose()
        .map_err(|error| line.unreadable("?", column, error))
}
