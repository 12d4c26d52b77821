//! What a drill reads and writes.

use std::net::SocketAddr;

use sqlx::SqliteConnection;
use time::OffsetDateTime;

use super::super::StoreError;
use super::super::answered::lease;
use super::super::drills::{
    CALLS, DrillRecord, DrillRow, DrillView, RECORDS, STATES, drill, record,
};
use super::answered::LEASES;
use super::time_text;

const INSERT: &str = "\
    insert into drills (\
      drill_id, started_at, ended_at, scenario, nodes, version, hypothesis, passed, \
      calls_in_flight, calls_dropped, calls_offered, calls_failed, fails_for_ms, detected_ms, \
      decided_ms, recovered_ms, delay_before_p99_ms, delay_during_p99_ms, delay_after_p99_ms, \
      calls_wrong_region, records_lost, records_doubled, report) \
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
      $21, $22, $23)";

const DRILLS: &str = "\
    select drill_id, started_at, ended_at, scenario, nodes, version, hypothesis, passed, \
      calls_in_flight, calls_dropped, calls_offered, calls_failed, fails_for_ms, detected_ms, \
      decided_ms, recovered_ms, delay_before_p99_ms, delay_during_p99_ms, delay_after_p99_ms, \
      calls_wrong_region, records_lost, records_doubled, report \
    from drills where scenario = $1 order by drills.started_at desc limit $2";

pub(super) async fn view(
    connection: &mut SqliteConnection,
    carrier: Option<SocketAddr>,
) -> Result<DrillView, StoreError> {
    let leases = sqlx::query(LEASES).fetch_all(&mut *connection).await?;
    let calls = sqlx::query_as(CALLS).fetch_all(&mut *connection).await?;
    let states = match carrier {
        Some(carrier) => {
            sqlx::query_as(STATES)
                .bind(carrier.ip().to_string())
                .bind(i32::from(carrier.port()))
                .fetch_all(connection)
                .await?
        }
        None => Vec::new(),
    };
    Ok(DrillView { leases: leases.iter().map(lease).collect::<Result<_, _>>()?, calls, states })
}

pub(super) async fn records(
    connection: &mut SqliteConnection,
    call_id_prefix: &str,
    since: OffsetDateTime,
) -> Result<Vec<DrillRecord>, StoreError> {
    let query = sqlx::query(RECORDS).bind(call_id_prefix).bind(time_text(since));
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(record).collect()
}

pub(super) async fn write(
    connection: &mut SqliteConnection,
    row: &DrillRow,
) -> Result<(), StoreError> {
    sqlx::query(INSERT)
        .bind(row.drill_id.to_string())
        .bind(time_text(row.started_at))
        .bind(time_text(row.ended_at))
        .bind(&row.scenario)
        .bind(&row.nodes)
        .bind(&row.version)
        .bind(&row.hypothesis)
        .bind(row.passed)
        .bind(row.calls_in_flight)
        .bind(row.calls_dropped)
        .bind(row.calls_offered)
        .bind(row.calls_failed)
        .bind(row.fails_for_ms)
        .bind(row.detected_ms)
        .bind(row.decided_ms)
        .bind(row.recovered_ms)
        .bind(row.delay_before_p99_ms)
        .bind(row.delay_during_p99_ms)
        .bind(row.delay_after_p99_ms)
        .bind(row.calls_wrong_region)
        .bind(row.records_lost)
        .bind(row.records_doubled)
        .bind(&row.report)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn drills(
    connection: &mut SqliteConnection,
    scenario: &str,
    limit: u32,
) -> Result<Vec<DrillRow>, StoreError> {
    let rows =
        sqlx::query(DRILLS).bind(scenario).bind(i64::from(limit)).fetch_all(connection).await?;
    rows.iter().map(drill).collect()
}
