//! Each target's health, out and in.

use std::time::Duration;

use sqlx::types::Json;
use sqlx::{Connection, SqliteConnection};

use super::super::StoreError;
use super::super::rows::{bounded_ms, peer_target, saved_target};
use super::BEGIN_WRITING;
use crate::health::{PeerTarget, SavedTarget};

/// A node's rows are few and all new each time: there is nothing to keep of the old ones.
const FORGET: &str = "delete from gateway_health where node = $1";

const INSERT: &str = "\
    insert into gateway_health (\
      node, gateway_id, address, port, state, downs, pause_left_ms, failure_rate, latency_ms, \
      unusable_for_ms, buckets, is_ejected, state_age_ms, ringing_ms, is_held) \
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

/// Of each target one row: this node's, else the freshest.
const LOAD: &str = "\
    select gateway_id, address, port, state, downs, pause_left_ms, failure_rate, latency_ms, \
      unusable_for_ms, buckets, is_ejected, state_age_ms, ringing_ms, is_held, \
      cast(round((julianday('now') - julianday(updated_at)) * 86400000) as integer) as age_ms \
    from (\
      select *, row_number() over (\
        partition by gateway_id, address, port order by node = $1 desc, updated_at desc) as place \
      from gateway_health) as ranked \
    where place = 1 order by gateway_id, address, port";

/// What other nodes have written lately.
const PEERS: &str = "\
    select node, gateway_id, address, port, state, downs, pause_left_ms, failure_rate, latency_ms, \
      unusable_for_ms, buckets, is_ejected, state_age_ms, ringing_ms, is_held, \
      cast(round((julianday('now') - julianday(updated_at)) * 86400000) as integer) as age_ms \
    from gateway_health \
    where node <> $1 and (julianday('now') - julianday(updated_at)) * 86400000 < $2 \
    order by node, gateway_id, address, port";

pub(super) async fn save(
    connection: &mut SqliteConnection,
    node: &str,
    targets: &[SavedTarget],
) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    sqlx::query(FORGET).bind(node).execute(&mut *transaction).await?;
    for saved in targets {
        sqlx::query(INSERT)
            .bind(node)
            .bind(saved.target.gateway_id.0)
            .bind(saved.target.address.ip().to_string())
            .bind(i32::from(saved.target.address.port()))
            .bind(saved.reachability.state.as_str())
            .bind(saved.reachability.downs)
            .bind(bounded_ms(saved.reachability.pause_left_ms))
            .bind(saved.failure_rate)
            .bind(saved.latency_ms)
            .bind(bounded_ms(saved.unusable_for_ms))
            .bind(Json(&saved.buckets))
            .bind(saved.reachability.is_ejected)
            .bind(bounded_ms(saved.reachability.state_age_ms))
            .bind(saved.ringing_ms)
            .bind(saved.reachability.is_held)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn load(
    connection: &mut SqliteConnection,
    node: &str,
) -> Result<Vec<(SavedTarget, Duration)>, StoreError> {
    let rows = sqlx::query(LOAD).bind(node).fetch_all(connection).await?;
    rows.iter().map(saved_target).collect()
}

pub(super) async fn load_peers(
    connection: &mut SqliteConnection,
    node: &str,
    within: Duration,
) -> Result<Vec<PeerTarget>, StoreError> {
    let within_ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
    let rows = sqlx::query(PEERS).bind(node).bind(within_ms).fetch_all(connection).await?;
    rows.iter().map(peer_target).collect()
}
