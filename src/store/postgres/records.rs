//! Calls and probes out: an array a column, so that a batch is one statement however long it is.

use std::collections::HashSet;

use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::record::{StoredAttempt, StoredCall, StoredProbe};
use super::super::{Json, PRUNE_ROWS, StoreError};

/// Calls that are over, as far as they are still their writer's. Those of another node stay, and it writes their record.
const DELETE_ANSWERED: &str = "\
    delete from calls_in_progress \
    using unnest($1::uuid[], $2::text[]) as ended (call_id, node) \
    where calls_in_progress.call_id = ended.call_id and calls_in_progress.node = ended.node";

const INSERT_CALLS: &str = "\
    insert into calls (\
      call_id, node, customer_id, customer, route_id, region, calling, called, source_address, \
      source_port, inbound_call_id, started_at, ringing_at, answered_at, ended_at, status_code, \
      end_cause, ended_by, detail, decision, country, taken_from) \
    select ended.* from unnest(\
      $1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[], \
      $8::text[], $9::inet[], $10::integer[], $11::text[], $12::timestamptz[], \
      $13::timestamptz[], $14::timestamptz[], $15::timestamptz[], $16::integer[], $17::text[], \
      $18::text[], $19::text[], $20::text[]::jsonb[], $21::smallint[], $22::text[]) as ended (call_id) \
    where not exists (\
      select from calls_in_progress where calls_in_progress.call_id = ended.call_id) \
    on conflict (call_id) do nothing \
    returning call_id";

const INSERT_ATTEMPTS: &str = "\
    insert into call_attempts (\
      call_id, attempt_number, carrier_id, carrier, gateway_id, gateway, address, port, \
      outbound_call_id, started_at, trying_ms, ringing_ms, ended_ms, origin, stage, status_code, \
      reason, class, action, failure_rule_id, late_answer, weight, failure_rule, \
      transferred_to) \
    select * from unnest(\
      $1::uuid[], $2::integer[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::inet[], \
      $8::integer[], $9::text[], $10::timestamptz[], $11::bigint[], $12::bigint[], $13::bigint[], \
      $14::text[], $15::text[], $16::integer[], $17::text[], $18::text[], $19::text[], \
      $20::bigint[], $21::boolean[], $22::real[], $23::text[], $24::text[])";

const INSERT_PROBES: &str = "\
    insert into probe_results (node, gateway_id, address, port, ended_at, status_code, delay_ms) \
    select * from unnest(\
      $1::text[], $2::bigint[], $3::inet[], $4::integer[], $5::timestamptz[], $6::integer[], \
      $7::double precision[])";

pub(super) const DELETE_PROBES: &str = "\
    delete from probe_results where probe_result_id in (\
      select probe_result_id from probe_results where ended_at < $1 order by ended_at limit $2)";

pub(super) const DELETE_CALLS: &str = "\
    delete from calls where call_id in (\
      select call_id from calls where ended_at < $1 order by ended_at limit $2)";

pub(super) async fn write_calls(
    connection: &mut PgConnection,
    calls: &[StoredCall],
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::query(DELETE_ANSWERED)
        .bind(column(calls, |call| call.call_id))
        .bind(column(calls, |call| call.node.as_str()))
        .execute(&mut *transaction)
        .await?;
    let new = insert_calls(&mut transaction, calls).await?;
    insert_attempts(&mut transaction, calls, new).await?;
    transaction.commit().await?;
    Ok(())
}

/// Gives those that were not there.
async fn insert_calls(
    connection: &mut PgConnection,
    calls: &[StoredCall],
) -> Result<HashSet<Uuid>, StoreError> {
    let new = sqlx::query_scalar(INSERT_CALLS)
        .bind(column(calls, |call| call.call_id))
        .bind(column(calls, |call| call.node.as_str()))
        .bind(column(calls, |call| call.customer_id))
        .bind(column(calls, |call| call.customer.as_deref()))
        .bind(column(calls, |call| call.route_id))
        .bind(column(calls, |call| call.region.as_deref()))
        .bind(column(calls, |call| call.calling.as_str()))
        .bind(column(calls, |call| call.called.as_str()))
        .bind(column(calls, |call| call.source_address))
        .bind(column(calls, |call| i32::from(call.source_port)))
        .bind(column(calls, |call| call.inbound_call_id.as_str()))
        .bind(column(calls, |call| call.started_at))
        .bind(column(calls, |call| call.ringing_at))
        .bind(column(calls, |call| call.answered_at))
        .bind(column(calls, |call| call.ended_at))
        .bind(column(calls, |call| i32::from(call.status_code)))
        .bind(column(calls, |call| call.end_cause.as_str()))
        .bind(column(calls, |call| call.ended_by.as_str()))
        .bind(column(calls, |call| call.detail.as_str()))
        .bind(column(calls, |call| call.decision.as_ref().map(Json::as_str)))
        .bind(column(calls, |call| call.country))
        .bind(column(calls, |call| call.taken_from.as_deref()))
        .fetch_all(connection)
        .await?;
    Ok(new.into_iter().collect())
}

async fn insert_attempts(
    connection: &mut PgConnection,
    calls: &[StoredCall],
    mut new: HashSet<Uuid>,
) -> Result<(), StoreError> {
    let mut attempts: Vec<(Uuid, i32, &StoredAttempt)> = Vec::new();
    // Taken out once, so that a call that stands twice in the batch has its attempts once.
    for call in calls.iter().filter(|call| new.remove(&call.call_id)) {
        let numbered = (1..).zip(&call.attempts);
        attempts.extend(numbered.map(|(number, attempt)| (call.call_id, number, attempt)));
    }
    let rows = attempts.as_slice();
    sqlx::query(INSERT_ATTEMPTS)
        .bind(column(rows, |(call_id, _, _)| *call_id))
        .bind(column(rows, |(_, number, _)| *number))
        .bind(column(rows, |(_, _, attempt)| attempt.carrier_id))
        .bind(column(rows, |(_, _, attempt)| attempt.carrier.as_str()))
        .bind(column(rows, |(_, _, attempt)| attempt.gateway_id))
        .bind(column(rows, |(_, _, attempt)| attempt.gateway.as_str()))
        .bind(column(rows, |(_, _, attempt)| attempt.address))
        .bind(column(rows, |(_, _, attempt)| i32::from(attempt.port)))
        .bind(column(rows, |(_, _, attempt)| attempt.outbound_call_id.as_str()))
        .bind(column(rows, |(_, _, attempt)| attempt.started_at))
        .bind(column(rows, |(_, _, attempt)| attempt.trying_ms.map(i64::from)))
        .bind(column(rows, |(_, _, attempt)| attempt.ringing_ms.map(i64::from)))
        .bind(column(rows, |(_, _, attempt)| i64::from(attempt.ended_ms)))
        .bind(column(rows, |(_, _, attempt)| attempt.origin.as_str()))
        .bind(column(rows, |(_, _, attempt)| attempt.stage.as_str()))
        .bind(column(rows, |(_, _, attempt)| i32::from(attempt.status_code)))
        .bind(column(rows, |(_, _, attempt)| attempt.reason.as_str()))
        .bind(column(rows, |(_, _, attempt)| attempt.class.as_str()))
        .bind(column(rows, |(_, _, attempt)| attempt.action.as_str()))
        .bind(column(rows, |(_, _, attempt)| attempt.failure_rule_id))
        .bind(column(rows, |(_, _, attempt)| attempt.late_answer))
        .bind(column(rows, |(_, _, attempt)| attempt.weight))
        .bind(column(rows, |(_, _, attempt)| attempt.failure_rule.as_deref()))
        .bind(column(rows, |(_, _, attempt)| attempt.transferred_to.as_deref()))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn write_probes(
    connection: &mut PgConnection,
    probes: &[StoredProbe],
) -> Result<(), StoreError> {
    sqlx::query(INSERT_PROBES)
        .bind(column(probes, |probe| probe.node.as_str()))
        .bind(column(probes, |probe| probe.gateway_id))
        .bind(column(probes, |probe| probe.address))
        .bind(column(probes, |probe| i32::from(probe.port)))
        .bind(column(probes, |probe| probe.ended_at))
        .bind(column(probes, |probe| probe.status_code.map(i32::from)))
        .bind(column(probes, |probe| probe.delay_ms))
        .execute(connection)
        .await?;
    Ok(())
}

/// One batch of old rows; gives how many there were.
pub(super) async fn delete(
    connection: &mut PgConnection,
    statement: &'static str,
    before: OffsetDateTime,
) -> Result<u64, StoreError> {
    let deleted =
        sqlx::query(statement).bind(before).bind(i64::from(PRUNE_ROWS)).execute(connection).await?;
    Ok(deleted.rows_affected())
}

/// One column of all rows, as an array.
fn column<'r, R, T>(rows: &'r [R], of: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}
