//! Each target's health, out and in.

use std::time::Duration;

use sqlx::types::Json;
use sqlx::{Connection, PgConnection};

use super::super::StoreError;
use super::super::rows::{bounded_ms, peer_target, saved_target};
use crate::health::{PeerTarget, SavedTarget};

const UPSERT: &str = "\
    insert into gateway_health (\
      node, gateway_id, address, port, state, downs, pause_left_ms, failure_rate, latency_ms, \
      unusable_for_ms, buckets, is_ejected, state_age_ms, ringing_ms, is_held, updated_at) \
    select $1, *, now() from unnest(\
      $2::bigint[], $3::inet[], $4::integer[], $5::text[], $6::bigint[], $7::bigint[], \
      $8::double precision[], $9::double precision[], $10::bigint[], $11::jsonb[], \
      $12::boolean[], $13::bigint[], $14::double precision[], $15::boolean[]) \
    on conflict (node, gateway_id, address, port) do update set \
      state = excluded.state, downs = excluded.downs, pause_left_ms = excluded.pause_left_ms, \
      failure_rate = excluded.failure_rate, latency_ms = excluded.latency_ms, \
      unusable_for_ms = excluded.unusable_for_ms, buckets = excluded.buckets, \
      is_ejected = excluded.is_ejected, state_age_ms = excluded.state_age_ms, \
      ringing_ms = excluded.ringing_ms, is_held = excluded.is_held, \
      updated_at = excluded.updated_at";

const FORGET_OTHERS: &str = "\
    delete from gateway_health where node = $1 and (gateway_id, address, port) not in (\
      select * from unnest($2::bigint[], $3::inet[], $4::integer[]))";

/// Of each target one row: this node's, else the freshest.
const LOAD: &str = "\
    select gateway_id, host(address) as address, port, state, downs, pause_left_ms, failure_rate, \
      latency_ms, unusable_for_ms, cast(buckets as text) as buckets, \
      is_ejected, state_age_ms, ringing_ms, is_held, \
      cast(extract(epoch from now() - updated_at) * 1000 as bigint) as age_ms \
    from (\
      select *, row_number() over (\
        partition by gateway_id, address, port order by node = $1 desc, updated_at desc) as place \
      from gateway_health) as ranked \
    where place = 1 order by gateway_id, address, port";

/// What other nodes have written lately.
const PEERS: &str = "\
    select node, gateway_id, host(address) as address, port, state, downs, pause_left_ms, failure_rate, \
      latency_ms, unusable_for_ms, cast(buckets as text) as buckets, \
      is_ejected, state_age_ms, ringing_ms, is_held, \
      cast(extract(epoch from now() - updated_at) * 1000 as bigint) as age_ms \
    from gateway_health \
    where node <> $1 and updated_at > now() - $2 * interval '1 millisecond' \
    order by node, gateway_id, address, port";

pub(super) async fn save(
    connection: &mut PgConnection,
    node: &str,
    targets: &[SavedTarget],
) -> Result<(), StoreError> {
    let gateway_ids: Vec<_> = targets.iter().map(|saved| saved.target.gateway_id.0).collect();
    let addresses: Vec<_> = targets.iter().map(|saved| saved.target.address.ip()).collect();
    let ports: Vec<_> =
        targets.iter().map(|saved| i32::from(saved.target.address.port())).collect();
    let states = targets.iter().map(|saved| saved.reachability.state.as_str());
    let downs = targets.iter().map(|saved| i64::from(saved.reachability.downs));
    let pauses = targets.iter().map(|saved| bounded_ms(saved.reachability.pause_left_ms));
    let failure_rates = targets.iter().map(|saved| saved.failure_rate);
    let latencies = targets.iter().map(|saved| saved.latency_ms);
    let unusable = targets.iter().map(|saved| bounded_ms(saved.unusable_for_ms));
    let buckets = targets.iter().map(|saved| Json(&saved.buckets));
    let ejected = targets.iter().map(|saved| saved.reachability.is_ejected);
    let ages = targets.iter().map(|saved| bounded_ms(saved.reachability.state_age_ms));
    let ringing = targets.iter().map(|saved| saved.ringing_ms);
    let held = targets.iter().map(|saved| saved.reachability.is_held);

    let mut transaction = connection.begin().await?;
    sqlx::query(FORGET_OTHERS)
        .bind(node)
        .bind(&gateway_ids)
        .bind(&addresses)
        .bind(&ports)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(UPSERT)
        .bind(node)
        .bind(&gateway_ids)
        .bind(&addresses)
        .bind(&ports)
        .bind(states.collect::<Vec<_>>())
        .bind(downs.collect::<Vec<_>>())
        .bind(pauses.collect::<Vec<_>>())
        .bind(failure_rates.collect::<Vec<_>>())
        .bind(latencies.collect::<Vec<_>>())
        .bind(unusable.collect::<Vec<_>>())
        .bind(buckets.collect::<Vec<_>>())
        .bind(ejected.collect::<Vec<_>>())
        .bind(ages.collect::<Vec<_>>())
        .bind(ringing.collect::<Vec<_>>())
        .bind(held.collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn load(
    connection: &mut PgConnection,
    node: &str,
) -> Result<Vec<(SavedTarget, Duration)>, StoreError> {
    let rows = sqlx::query(LOAD).bind(node).fetch_all(connection).await?;
    rows.iter().map(saved_target).collect()
}

pub(super) async fn load_peers(
    connection: &mut PgConnection,
    node: &str,
    within: Duration,
) -> Result<Vec<PeerTarget>, StoreError> {
    let within_ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
    let rows = sqlx::query(PEERS).bind(node).bind(within_ms as f64).fetch_all(connection).await?;
    rows.iter().map(peer_target).collect()
}
