//! Calls and probes out: one prepared statement, many rows, one transaction.

use sqlx::{Connection, SqliteConnection};
use time::OffsetDateTime;

use super::super::record::{StoredAttempt, StoredCall, StoredProbe};
use super::super::{Json, PRUNE_ROWS, StoreError};
use super::{BEGIN_WRITING, address_text, time_text};

/// A call that is over, if it is still its writer's. One of another node stays, and that writes its record.
const DELETE_ANSWERED: &str = "delete from calls_in_progress where call_id = $1 and node = $2";

const INSERT_CALL: &str = "\
    insert into calls (\
      call_id, node, customer_id, customer, route_id, region, calling, called, source_address, \
      source_port, inbound_call_id, started_at, ringing_at, answered_at, ended_at, status_code, \
      end_cause, ended_by, detail, decision, country, taken_from) \
    select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
      $20, $21, $22 \
    where not exists (select 1 from calls_in_progress where call_id = $1) \
    on conflict (call_id) do nothing";

const INSERT_ATTEMPT: &str = "\
    insert into call_attempts (\
      call_id, attempt_number, carrier_id, carrier, gateway_id, gateway, address, port, \
      outbound_call_id, started_at, trying_ms, ringing_ms, ended_ms, origin, stage, status_code, \
      reason, class, action, failure_rule_id, late_answer, weight, failure_rule, \
      transferred_to) \
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
      $20, $21, $22, $23, $24)";

const INSERT_PROBE: &str = "\
    insert into probe_results (node, gateway_id, address, port, ended_at, status_code, delay_ms) \
    values ($1, $2, $3, $4, $5, $6, $7)";

pub(super) const DELETE_PROBES: &str = "\
    delete from probe_results where probe_result_id in (\
      select probe_result_id from probe_results where ended_at < $1 order by ended_at limit $2)";

pub(super) const DELETE_CALLS: &str = "\
    delete from calls where call_id in (\
      select call_id from calls where ended_at < $1 order by ended_at limit $2)";

pub(super) async fn write_calls(
    connection: &mut SqliteConnection,
    calls: &[StoredCall],
) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    for call in calls {
        let call_id = call.call_id.to_string();
        sqlx::query(DELETE_ANSWERED)
            .bind(&call_id)
            .bind(&call.node)
            .execute(&mut *transaction)
            .await?;
        if !insert_call(&mut transaction, &call_id, call).await? {
            continue;
        }
        for (number, attempt) in (1..).zip(&call.attempts) {
            insert_attempt(&mut transaction, &call_id, number, attempt).await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

/// Says whether it was not there.
async fn insert_call(
    connection: &mut SqliteConnection,
    call_id: &str,
    call: &StoredCall,
) -> Result<bool, StoreError> {
    let inserted = sqlx::query(INSERT_CALL)
        .bind(call_id)
        .bind(&call.node)
        .bind(call.customer_id)
        .bind(&call.customer)
        .bind(call.route_id)
        .bind(&call.region)
        .bind(&call.calling)
        .bind(&call.called)
        .bind(address_text(call.source_address))
        .bind(i32::from(call.source_port))
        .bind(&call.inbound_call_id)
        .bind(time_text(call.started_at))
        .bind(call.ringing_at.map(time_text))
        .bind(call.answered_at.map(time_text))
        .bind(time_text(call.ended_at))
        .bind(i32::from(call.status_code))
        .bind(&call.end_cause)
        .bind(&call.ended_by)
        .bind(&call.detail)
        .bind(call.decision.as_ref().map(Json::as_str))
        .bind(call.country)
        .bind(&call.taken_from)
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() > 0)
}

async fn insert_attempt(
    connection: &mut SqliteConnection,
    call_id: &str,
    number: i32,
    attempt: &StoredAttempt,
) -> Result<(), StoreError> {
    sqlx::query(INSERT_ATTEMPT)
        .bind(call_id)
        .bind(number)
        .bind(attempt.carrier_id)
        .bind(&attempt.carrier)
        .bind(attempt.gateway_id)
        .bind(&attempt.gateway)
        .bind(address_text(attempt.address))
        .bind(i32::from(attempt.port))
        .bind(&attempt.outbound_call_id)
        .bind(time_text(attempt.started_at))
        .bind(attempt.trying_ms)
        .bind(attempt.ringing_ms)
        .bind(attempt.ended_ms)
        .bind(&attempt.origin)
        .bind(&attempt.stage)
        .bind(i32::from(attempt.status_code))
        .bind(&attempt.reason)
        .bind(&attempt.class)
        .bind(&attempt.action)
        .bind(attempt.failure_rule_id)
        .bind(attempt.late_answer)
        .bind(attempt.weight)
        .bind(&attempt.failure_rule)
        .bind(&attempt.transferred_to)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn write_probes(
    connection: &mut SqliteConnection,
    probes: &[StoredProbe],
) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    for probe in probes {
        sqlx::query(INSERT_PROBE)
            .bind(&probe.node)
            .bind(probe.gateway_id)
            .bind(address_text(probe.address))
            .bind(i32::from(probe.port))
            .bind(time_text(probe.ended_at))
            .bind(probe.status_code.map(i32::from))
            .bind(probe.delay_ms)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// One batch of old rows; gives how many there were.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    statement: &'static str,
    before: OffsetDateTime,
) -> Result<u64, StoreError> {
    let deleted =
        sqlx::query(statement).bind(time_text(before)).bind(PRUNE_ROWS).execute(connection).await?;
    Ok(deleted.rows_affected())
}
