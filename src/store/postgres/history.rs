//! Records back in, for people.

use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::StoreError;
use super::super::history::{self, MAX_ROWS, joined};
use super::super::quality::{self, Quality};
use super::super::record::{StoredCall, StoredProbe};

macro_rules! calls_where {
    ($condition:literal) => {
        concat!(
            "select cast(call_id as text) as call_id, node, customer_id, customer, route_id, region, calling, called, \
               host(source_address) as source_address, source_port, inbound_call_id, \
               to_char(started_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as started_at, \
               to_char(ringing_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as ringing_at, \
               to_char(answered_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as answered_at, \
               to_char(ended_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as ended_at, \
               status_code, end_cause, ended_by, detail, cast(decision as text) as decision, country, taken_from \
             from calls where ",
            $condition,
            " order by calls.started_at desc, calls.call_id desc limit $1"
        )
    };
}

macro_rules! attempts_where {
    ($condition:literal) => {
        concat!(
            "select cast(call_id as text) as call_id, carrier_id, carrier, gateway_id, gateway, \
               host(address) as address, port, outbound_call_id, \
               to_char(started_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as started_at, \
               trying_ms, ringing_ms, ended_ms, origin, stage, status_code, reason, class, action, \
               failure_rule_id, late_answer, weight, failure_rule, transferred_to \
             from call_attempts where call_id in (select call_id from calls where ",
            $condition,
            " order by calls.started_at desc, calls.call_id desc limit $1) \
             order by call_attempts.call_id, attempt_number"
        )
    };
}

const PROBES: &str = "\
    select node, gateway_id, host(address) as address, port, \
      to_char(ended_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as ended_at, \
      status_code, delay_ms \
    from probe_results \
    where probe_results.ended_at between $1 and $2 \
    order by probe_results.ended_at, probe_result_id limit $3";

const QUALITY: &str = "\
    select max(call_attempts.carrier) as carrier, max(call_attempts.gateway) as gateway, \
      cast(calls.country as integer) as country, count(*) as attempts, \
      count(*) filter (where call_attempts.class = 'answered') as answered, \
      count(*) filter (where call_attempts.class in ('answered', 'destination')) as effective, \
      count(*) filter (where call_attempts.class = 'answered' \
        and calls.ended_at - calls.answered_at < interval '6 seconds') as short, \
      count(call_attempts.ringing_ms) as rang, \
      cast(coalesce(sum(extract(epoch from calls.ended_at - calls.answered_at)) \
        filter (where call_attempts.class = 'answered'), 0) as double precision) as talk_seconds, \
      cast(coalesce(sum(call_attempts.ringing_ms), 0) as double precision) as ringing_ms \
    from call_attempts join calls using (call_id) \
    where call_attempts.started_at > now() - interval '1 hour' \
    group by call_attempts.carrier_id, call_attempts.gateway_id, calls.country";

pub(super) async fn by_call_id(
    connection: &mut PgConnection,
    call_id: Uuid,
) -> Result<Vec<StoredCall>, StoreError> {
    let mut transaction = connection.begin().await?;
    let calls = sqlx::query(calls_where!("call_id = $2"))
        .bind(i64::from(MAX_ROWS))
        .bind(call_id)
        .fetch_all(&mut *transaction)
        .await?;
    let attempts = sqlx::query(attempts_where!("call_id = $2"))
        .bind(i64::from(MAX_ROWS))
        .bind(call_id)
        .fetch_all(&mut *transaction)
        .await?;
    all(&calls, &attempts)
}

pub(super) async fn by_header(
    connection: &mut PgConnection,
    call_id: &str,
) -> Result<Vec<StoredCall>, StoreError> {
    let mut transaction = connection.begin().await?;
    let calls = sqlx::query(calls_where!(
        "inbound_call_id = $2 or call_id in (\
           select call_id from call_attempts where outbound_call_id = $2)"
    ))
    .bind(i64::from(MAX_ROWS))
    .bind(call_id)
    .fetch_all(&mut *transaction)
    .await?;
    let attempts = sqlx::query(attempts_where!(
        "inbound_call_id = $2 or call_id in (\
           select call_id from call_attempts where outbound_call_id = $2)"
    ))
    .bind(i64::from(MAX_ROWS))
    .bind(call_id)
    .fetch_all(&mut *transaction)
    .await?;
    all(&calls, &attempts)
}

pub(super) async fn between(
    connection: &mut PgConnection,
    from: OffsetDateTime,
    to: OffsetDateTime,
    limit: u32,
) -> Result<Vec<StoredCall>, StoreError> {
    let mut transaction = connection.begin().await?;
    let calls = sqlx::query(calls_where!("started_at between $2 and $3"))
        .bind(i64::from(limit))
        .bind(from)
        .bind(to)
        .fetch_all(&mut *transaction)
        .await?;
    let attempts = sqlx::query(attempts_where!("started_at between $2 and $3"))
        .bind(i64::from(limit))
        .bind(from)
        .bind(to)
        .fetch_all(&mut *transaction)
        .await?;
    all(&calls, &attempts)
}

pub(super) async fn probes_between(
    connection: &mut PgConnection,
    from: OffsetDateTime,
    to: OffsetDateTime,
) -> Result<Vec<StoredProbe>, StoreError> {
    let rows = sqlx::query(PROBES)
        .bind(from)
        .bind(to)
        .bind(i64::from(MAX_ROWS))
        .fetch_all(connection)
        .await?;
    rows.iter().map(history::probe).collect()
}

pub(super) async fn quality(connection: &mut PgConnection) -> Result<Vec<Quality>, StoreError> {
    let rows = sqlx::query(QUALITY).fetch_all(connection).await?;
    let parts = rows.iter().map(quality::part).collect::<Result<_, _>>()?;
    Ok(quality::of(parts))
}

fn all(
    calls: &[sqlx::postgres::PgRow],
    attempts: &[sqlx::postgres::PgRow],
) -> Result<Vec<StoredCall>, StoreError> {
    let calls = calls.iter().map(history::call).collect::<Result<_, _>>()?;
    let attempts = attempts.iter().map(history::attempt).collect::<Result<_, _>>()?;
    Ok(joined(calls, attempts))
}
