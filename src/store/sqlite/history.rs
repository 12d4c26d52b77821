//! Records back in, for people.

use sqlx::{Connection, SqliteConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::StoreError;
use super::super::history::{self, MAX_ROWS, joined};
use super::super::quality::{self, Quality};
use super::super::record::{StoredCall, StoredProbe};
use super::time_text;

macro_rules! calls_where {
    ($condition:literal) => {
        concat!(
            "select call_id, node, customer_id, customer, route_id, region, calling, called, \
               source_address, source_port, inbound_call_id, started_at, ringing_at, answered_at, \
               ended_at, status_code, end_cause, ended_by, detail, decision, country, taken_from \
             from calls where ",
            $condition,
            " order by started_at desc, call_id desc limit $1"
        )
    };
}

macro_rules! attempts_where {
    ($condition:literal) => {
        concat!(
            "select call_id, carrier_id, carrier, gateway_id, gateway, address, port, \
               outbound_call_id, started_at, trying_ms, ringing_ms, ended_ms, origin, stage, \
               status_code, reason, class, action, failure_rule_id, late_answer, weight, \
               failure_rule, transferred_to \
             from call_attempts where call_id in (select call_id from calls where ",
            $condition,
            " order by started_at desc, call_id desc limit $1) order by call_id, attempt_number"
        )
    };
}

const PROBES: &str = "\
    select node, gateway_id, address, port, ended_at, status_code, delay_ms from probe_results \
    where ended_at between $1 and $2 order by ended_at, probe_result_id limit $3";

const QUALITY: &str = "\
    select max(call_attempts.carrier) as carrier, max(call_attempts.gateway) as gateway, calls.country, \
      count(*) as attempts, sum(call_attempts.class = 'answered') as answered, \
      sum(call_attempts.class in ('answered', 'destination')) as effective, \
      sum(call_attempts.class = 'answered' \
        and julianday(calls.ended_at) - julianday(calls.answered_at) < 6.0 / 86400) as short, \
      count(call_attempts.ringing_ms) as rang, \
      total(case when call_attempts.class = 'answered' \
        then (julianday(calls.ended_at) - julianday(calls.answered_at)) * 86400 end) as talk_seconds, \
      total(call_attempts.ringing_ms) as ringing_ms \
    from call_attempts join calls on calls.call_id = call_attempts.call_id \
    where call_attempts.started_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour') \
    group by call_attempts.carrier_id, call_attempts.gateway_id, calls.country";

pub(super) async fn by_call_id(
    connection: &mut SqliteConnection,
    call_id: Uuid,
) -> Result<Vec<StoredCall>, StoreError> {
    let call_id = call_id.to_string();
    let mut transaction = connection.begin().await?;
    let calls = sqlx::query(calls_where!("call_id = $2"))
        .bind(MAX_ROWS)
        .bind(&call_id)
        .fetch_all(&mut *transaction)
        .await?;
    let attempts = sqlx::query(attempts_where!("call_id = $2"))
        .bind(MAX_ROWS)
        .bind(&call_id)
        .fetch_all(&mut *transaction)
        .await?;
    all(&calls, &attempts)
}

pub(super) async fn by_header(
    connection: &mut SqliteConnection,
    call_id: &str,
) -> Result<Vec<StoredCall>, StoreError> {
    let mut transaction = connection.begin().await?;
    let calls = sqlx::query(calls_where!(
        "inbound_call_id = $2 or call_id in (\
           select call_id from call_attempts where outbound_call_id = $2)"
    ))
    .bind(MAX_ROWS)
    .bind(call_id)
    .fetch_all(&mut *transaction)
    .await?;
    let attempts = sqlx::query(attempts_where!(
        "inbound_call_id = $2 or call_id in (\
           select call_id from call_attempts where outbound_call_id = $2)"
    ))
    .bind(MAX_ROWS)
    .bind(call_id)
    .fetch_all(&mut *transaction)
    .await?;
    all(&calls, &attempts)
}

pub(super) async fn between(
    connection: &mut SqliteConnection,
    from: OffsetDateTime,
    to: OffsetDateTime,
    limit: u32,
) -> Result<Vec<StoredCall>, StoreError> {
    let mut transaction = connection.begin().await?;
    let calls = sqlx::query(calls_where!("started_at between $2 and $3"))
        .bind(limit)
        .bind(time_text(from))
        .bind(time_text(to))
        .fetch_all(&mut *transaction)
        .await?;
    let attempts = sqlx::query(attempts_where!("started_at between $2 and $3"))
        .bind(limit)
        .bind(time_text(from))
        .bind(time_text(to))
        .fetch_all(&mut *transaction)
        .await?;
    all(&calls, &attempts)
}

pub(super) async fn probes_between(
    connection: &mut SqliteConnection,
    from: OffsetDateTime,
    to: OffsetDateTime,
) -> Result<Vec<StoredProbe>, StoreError> {
    let rows = sqlx::query(PROBES)
        .bind(time_text(from))
        .bind(time_text(to))
        .bind(MAX_ROWS)
        .fetch_all(connection)
        .await?;
    rows.iter().map(history::probe).collect()
}

pub(super) async fn quality(connection: &mut SqliteConnection) -> Result<Vec<Quality>, StoreError> {
    let rows = sqlx::query(QUALITY).fetch_all(connection).await?;
    let parts = rows.iter().map(quality::part).collect::<Result<_, _>>()?;
    Ok(quality::of(parts))
}

fn all(
    calls: &[sqlx::sqlite::SqliteRow],
    attempts: &[sqlx::sqlite::SqliteRow],
) -> Result<Vec<StoredCall>, StoreError> {
    let calls = calls.iter().map(history::call).collect::<Result<_, _>>()?;
    let attempts = attempts.iter().map(history::attempt).collect::<Result<_, _>>()?;
    Ok(joined(calls, attempts))
}
