//! Answered calls and leases.

use std::collections::HashSet;

use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use super::super::StoreError;
use super::super::answered::{
    ClaimedCall, KeptCall, Lease, OWNED, Renewed, lease, limit_ms, ownership, renewed,
};
use crate::call::Ownership;

/// A commit need not reach the disk: who loses the node and the database at one time loses these calls.
const KEEP: &str = "\
    insert into calls_in_progress (\
      call_id, node_lease_id, node, region, answered_at, inbound_tag, outbound_tag, state) \
    select kept.call_id, $1, $2, kept.region, kept.answered_at, kept.inbound_tag, \
      kept.outbound_tag, kept.state \
    from unnest($3::uuid[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[]) \
        as kept (call_id, region, answered_at, inbound_tag, outbound_tag, state), \
      (select set_config('synchronous_commit', 'off', true) as text) as setting \
    where setting.text is not null \
      and not exists (select from calls where calls.call_id = kept.call_id) \
    on conflict (call_id) do update set state = excluded.state, given_by = null, \
        is_adopted = true, answered_at = excluded.answered_at, inbound_tag = excluded.inbound_tag, \
        outbound_tag = excluded.outbound_tag \
      where calls_in_progress.node_lease_id = excluded.node_lease_id \
    returning call_id";

/// All there are, as they were before; the ages are of the database's clock.
const RENEW: &str = "\
    with renewed as (\
      insert into node_leases (node_lease_id, node, address, region, is_draining) \
      values ($1, $2, $3, $4, $5) \
      on conflict (node_lease_id) do update set renewed_at = clock_timestamp(), \
        is_draining = excluded.is_draining, address = excluded.address, region = excluded.region) \
    select node_lease_id, node, address, region, is_draining, \
      cast(extract(epoch from clock_timestamp() - renewed_at) * 1000 as bigint) as age_ms \
    from node_leases order by node_lease_id";

/// Locked until the calls have changed hands: a renewal waits, and finds what it has lost.
const CONDEMN: &str = "\
    select node_lease_id from node_leases \
    where node_lease_id = any($1) and (node = $2 \
      or renewed_at < clock_timestamp() - $3 * interval '1 millisecond') \
    for update";

/// What the dead one has ended without being able to say so.
const DELETE_ENDED: &str = "\
    delete from calls_in_progress using calls \
    where calls.call_id = calls_in_progress.call_id and calls_in_progress.node_lease_id = any($1)";

const CLAIM: &str = "\
    with picked as (\
      select call_id, node from calls_in_progress \
      where (node_lease_id = any($1) or (node_lease_id = $2 and not is_adopted)) \
        and (region is null or $4::text is null or region = $4) \
        and ($5::uuid is null or call_id = $5) \
      order by answered_at limit $6 for update skip locked) \
    update calls_in_progress set node_lease_id = $2, node = $3, is_adopted = false, \
      epoch = epoch + cast(calls_in_progress.node_lease_id <> $2 as integer) \
    from picked where calls_in_progress.call_id = picked.call_id \
    returning calls_in_progress.call_id, picked.node as taken_from, calls_in_progress.state, \
      calls_in_progress.answered_at is not null as is_answered";

const ADOPTED: &str = "\
    update calls_in_progress set is_adopted = true where node_lease_id = $1 and call_id = any($2)";

const GIVE: &str = "\
    update calls_in_progress set node_lease_id = $2, is_adopted = false, \
      given_by = $1, epoch = epoch + 1 \
    where node_lease_id = $1 and call_id = any($3)";

const DELETE_OLD_LEASES: &str = "\
    delete from node_leases where renewed_at < clock_timestamp() - interval '10 minutes' \
      and not exists (select from calls_in_progress \
        where calls_in_progress.node_lease_id = node_leases.node_lease_id)";

pub(super) async fn keep(
    connection: &mut PgConnection,
    lease: &Lease,
    calls: &[KeptCall],
) -> Result<HashSet<Uuid>, StoreError> {
    let kept = sqlx::query_scalar(KEEP)
        .bind(lease.id)
        .bind(&lease.node)
        .bind(calls.iter().map(|call| call.call_id).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.region.as_deref()).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.answered_at).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.inbound_tag.as_str()).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.outbound_tag.as_str()).collect::<Vec<_>>())
        .bind(calls.iter().map(|call| call.state.as_str()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(kept.into_iter().collect())
}

pub(super) async fn renew(
    connection: &mut PgConnection,
    own: &Lease,
) -> Result<Renewed, StoreError> {
    let rows = sqlx::query(RENEW)
        .bind(own.id)
        .bind(&own.node)
        .bind(&own.address)
        .bind(&own.region)
        .bind(own.is_draining)
        .fetch_all(connection)
        .await?;
    let leases: Result<Vec<_>, _> = rows.iter().map(lease).collect();
    Ok(renewed(own.id, leases?))
}

pub(super) async fn claim(
    connection: &mut PgConnection,
    own: &Lease,
    dead: &[i64],
    call_id: Option<Uuid>,
    limit: u32,
) -> Result<Vec<ClaimedCall>, StoreError> {
    let mut transaction = connection.begin().await?;
    let condemned: Vec<i64> = sqlx::query_scalar(CONDEMN)
        .bind(dead)
        .bind(&own.node)
        .bind(limit_ms() as f64)
        .fetch_all(&mut *transaction)
        .await?;
    if !condemned.is_empty() {
        sqlx::query(DELETE_ENDED).bind(&condemned).execute(&mut *transaction).await?;
    }
    let rows = sqlx::query(CLAIM)
        .bind(&condemned)
        .bind(own.id)
        .bind(&own.node)
        .bind(&own.region)
        .bind(call_id)
        .bind(i64::from(limit))
        .fetch_all(&mut *transaction)
        .await?;
    transaction.commit().await?;
    rows.iter().map(claimed).collect()
}

fn claimed(row: &PgRow) -> Result<ClaimedCall, StoreError> {
    Ok(ClaimedCall {
        call_id: row.try_get("call_id")?,
        taken_from: row.try_get("taken_from")?,
        is_answered: row.try_get("is_answered")?,
        state: row.try_get("state")?,
    })
}

pub(super) async fn adopted(
    connection: &mut PgConnection,
    lease_id: i64,
    calls: &[Uuid],
) -> Result<(), StoreError> {
    sqlx::query(ADOPTED).bind(lease_id).bind(calls).execute(connection).await?;
    Ok(())
}

pub(super) async fn owned(
    connection: &mut PgConnection,
    lease_id: i64,
) -> Result<Ownership, StoreError> {
    let owned: Vec<(Uuid, bool)> =
        sqlx::query_as(OWNED).bind(lease_id).fetch_all(connection).await?;
    Ok(ownership(owned))
}

pub(super) async fn find(
    connection: &mut PgConnection,
    tag: &str,
) -> Result<Option<(Uuid, i64)>, StoreError> {
    let find = "select call_id, node_lease_id from calls_in_progress \
         where inbound_tag = $1 or outbound_tag = $1";
    Ok(sqlx::query_as(find).bind(tag).fetch_optional(connection).await?)
}

pub(super) async fn give(
    connection: &mut PgConnection,
    from: i64,
    to: i64,
    calls: &[Uuid],
) -> Result<(), StoreError> {
    sqlx::query(GIVE).bind(from).bind(to).bind(calls).execute(connection).await?;
    Ok(())
}

/// Calls that we gave away and whose peers do not all know yet.
pub(super) async fn unsettled(
    connection: &mut PgConnection,
    lease_id: i64,
) -> Result<i64, StoreError> {
    let count = "select count(*) from calls_in_progress where given_by = $1";
    Ok(sqlx::query_scalar(count).bind(lease_id).fetch_one(connection).await?)
}

/// Makes it as old as one that nobody has renewed.
pub(super) async fn end_lease(
    connection: &mut PgConnection,
    lease_id: i64,
) -> Result<(), StoreError> {
    let end = "update node_leases set renewed_at = clock_timestamp() - interval '1 hour' \
         where node_lease_id = $1";
    sqlx::query(end).bind(lease_id).execute(connection).await?;
    Ok(())
}

/// Clears away what crossed its record on the way, and leases of runs long gone.
pub(super) async fn sweep(connection: &mut PgConnection, lease_id: i64) -> Result<(), StoreError> {
    sqlx::query(DELETE_ENDED).bind(vec![lease_id]).execute(&mut *connection).await?;
    sqlx::query(DELETE_OLD_LEASES).execute(connection).await?;
    Ok(())
}
