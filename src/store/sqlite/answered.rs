//! Answered calls and leases.

use std::collections::HashSet;

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};
use uuid::Uuid;

use super::super::StoreError;
use super::super::answered::{
    ClaimedCall, KeptCall, Lease, OWNED, Renewed, lease, limit_ms, ownership, renewed,
};
use super::{BEGIN_WRITING, time_text};
use crate::call::Ownership;

const KEEP: &str = "\
    insert into calls_in_progress (\
      call_id, node_lease_id, node, region, answered_at, inbound_tag, outbound_tag, state) \
    select $1, $2, $3, $4, $5, $6, $7, $8 \
    where not exists (select 1 from calls where calls.call_id = $1) \
    on conflict (call_id) do update set state = excluded.state, given_by = null, \
        is_adopted = 1, answered_at = excluded.answered_at, inbound_tag = excluded.inbound_tag, \
        outbound_tag = excluded.outbound_tag \
      where calls_in_progress.node_lease_id = excluded.node_lease_id";

pub(super) const LEASES: &str = "\
    select node_lease_id, node, address, region, is_draining, \
      cast(round((julianday('now') - julianday(renewed_at)) * 86400000) as integer) as age_ms \
    from node_leases order by node_lease_id";

const RENEW: &str = "\
    insert into node_leases (node_lease_id, node, address, region, is_draining) \
    values ($1, $2, $3, $4, $5) \
    on conflict (node_lease_id) do update set \
      renewed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), is_draining = excluded.is_draining, \
      address = excluded.address, region = excluded.region";

const IS_DEAD: &str = "\
    select count(*) from node_leases where node_lease_id = $1 and (node = $2 \
      or (julianday('now') - julianday(renewed_at)) * 86400000 > $3)";

/// What the dead one has ended without being able to say so.
const DELETE_ENDED: &str = "\
    delete from calls_in_progress where node_lease_id = $1 \
      and exists (select 1 from calls where calls.call_id = calls_in_progress.call_id)";

/// Of one dead run, or, where that is our own, what we were given or have taken, and have not adopted yet.
const PICK: &str = "\
    select call_id, node, state, answered_at is not null as is_answered from calls_in_progress \
    where node_lease_id = $1 and (node_lease_id <> $2 or not is_adopted) \
      and (region is null or $3 is null or region = $3) \
      and ($4 is null or call_id = $4) \
    order by answered_at limit $5";

const TAKE: &str = "\
    update calls_in_progress set epoch = epoch + (node_lease_id <> $2), node_lease_id = $2, \
      node = $3, is_adopted = 0 where call_id = $1";

const GIVE: &str = "\
    update calls_in_progress set node_lease_id = $2, is_adopted = 0, given_by = $1, \
      epoch = epoch + 1 where node_lease_id = $1 and call_id = $3";

const DELETE_OLD_LEASES: &str = "\
    delete from node_leases where (julianday('now') - julianday(renewed_at)) * 86400 > 600 \
      and not exists (select 1 from calls_in_progress \
        where calls_in_progress.node_lease_id = node_leases.node_lease_id)";

pub(super) async fn keep(
    connection: &mut SqliteConnection,
    own: &Lease,
    calls: &[KeptCall],
) -> Result<HashSet<Uuid>, StoreError> {
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    let mut kept = HashSet::new();
    for call in calls {
        let written = sqlx::query(KEEP)
            .bind(call.call_id.to_string())
            .bind(own.id)
            .bind(&own.node)
            .bind(&call.region)
            .bind(call.answered_at.map(time_text))
            .bind(&call.inbound_tag)
            .bind(&call.outbound_tag)
            .bind(&call.state)
            .execute(&mut *transaction)
            .await?;
        if written.rows_affected() > 0 {
            kept.insert(call.call_id);
        }
    }
    transaction.commit().await?;
    Ok(kept)
}

pub(super) async fn renew(
    connection: &mut SqliteConnection,
    own: &Lease,
) -> Result<Renewed, StoreError> {
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    let rows = sqlx::query(LEASES).fetch_all(&mut *transaction).await?;
    sqlx::query(RENEW)
        .bind(own.id)
        .bind(&own.node)
        .bind(&own.address)
        .bind(&own.region)
        .bind(own.is_draining)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    let leases: Result<Vec<_>, _> = rows.iter().map(lease).collect();
    Ok(renewed(own.id, leases?))
}

pub(super) async fn claim(
    connection: &mut SqliteConnection,
    own: &Lease,
    dead: &[i64],
    call_id: Option<Uuid>,
    limit: u32,
) -> Result<Vec<ClaimedCall>, StoreError> {
    let call_id = call_id.map(|call_id| call_id.to_string());
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    let mut claimed: Vec<ClaimedCall> = Vec::new();
    // Our own first: what is taken from the dead must not come twice.
    for run in [&own.id].into_iter().chain(dead) {
        if *run != own.id {
            let is_dead: i64 = sqlx::query_scalar(IS_DEAD)
                .bind(run)
                .bind(&own.node)
                .bind(limit_ms())
                .fetch_one(&mut *transaction)
                .await?;
            if is_dead == 0 {
                continue;
            }
            sqlx::query(DELETE_ENDED).bind(run).execute(&mut *transaction).await?;
        }
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(claimed.len());
        let rows = sqlx::query(PICK)
            .bind(run)
            .bind(own.id)
            .bind(&own.region)
            .bind(&call_id)
            .bind(i64::try_from(room).unwrap_or(i64::MAX))
            .fetch_all(&mut *transaction)
            .await?;
        for row in &rows {
            let call_id: String = row.try_get("call_id")?;
            sqlx::query(TAKE)
                .bind(&call_id)
                .bind(own.id)
                .bind(&own.node)
                .execute(&mut *transaction)
                .await?;
            claimed.extend(of_row(row, &call_id)?);
        }
    }
    transaction.commit().await?;
    Ok(claimed)
}

fn of_row(row: &SqliteRow, call_id: &str) -> Result<Option<ClaimedCall>, StoreError> {
    let Ok(call_id) = Uuid::try_parse(call_id) else { return Ok(None) };
    let (taken_from, state) = (row.try_get("node")?, row.try_get("state")?);
    let is_answered = row.try_get("is_answered")?;
    Ok(Some(ClaimedCall { call_id, taken_from, is_answered, state }))
}

pub(super) async fn adopted(
    connection: &mut SqliteConnection,
    lease_id: i64,
    calls: &[Uuid],
) -> Result<(), StoreError> {
    let adopted =
        "update calls_in_progress set is_adopted = 1 where node_lease_id = $1 and call_id = $2";
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    for call_id in calls {
        sqlx::query(adopted)
            .bind(lease_id)
            .bind(call_id.to_string())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn owned(
    connection: &mut SqliteConnection,
    lease_id: i64,
) -> Result<Ownership, StoreError> {
    let owned: Vec<(String, bool)> =
        sqlx::query_as(OWNED).bind(lease_id).fetch_all(connection).await?;
    let owned =
        owned.iter().filter_map(|(id, is_ours)| Some((Uuid::try_parse(id).ok()?, *is_ours)));
    Ok(ownership(owned))
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    tag: &str,
) -> Result<Option<(Uuid, i64)>, StoreError> {
    let find = "select call_id, node_lease_id from calls_in_progress \
         where inbound_tag = $1 or outbound_tag = $1";
    let found: Option<(String, i64)> =
        sqlx::query_as(find).bind(tag).fetch_optional(connection).await?;
    Ok(found.and_then(|(call_id, run)| Some((Uuid::try_parse(&call_id).ok()?, run))))
}

pub(super) async fn give(
    connection: &mut SqliteConnection,
    from: i64,
    to: i64,
    calls: &[Uuid],
) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    for call_id in calls {
        sqlx::query(GIVE)
            .bind(from)
            .bind(to)
            .bind(call_id.to_string())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Calls that we gave away and whose peers do not all know yet.
pub(super) async fn unsettled(
    connection: &mut SqliteConnection,
    lease_id: i64,
) -> Result<i64, StoreError> {
    let count = "select count(*) from calls_in_progress where given_by = $1";
    Ok(sqlx::query_scalar(count).bind(lease_id).fetch_one(connection).await?)
}

/// Makes it as old as one that nobody has renewed.
pub(super) async fn end_lease(
    connection: &mut SqliteConnection,
    lease_id: i64,
) -> Result<(), StoreError> {
    let end = "update node_leases \
         set renewed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour') \
         where node_lease_id = $1";
    sqlx::query(end).bind(lease_id).execute(connection).await?;
    Ok(())
}

/// Clears away what crossed its record on the way, and leases of runs long gone.
pub(super) async fn sweep(
    connection: &mut SqliteConnection,
    lease_id: i64,
) -> Result<(), StoreError> {
    sqlx::query(DELETE_ENDED).bind(lease_id).execute(&mut *connection).await?;
    sqlx::query(DELETE_OLD_LEASES).execute(connection).await?;
    Ok(())
}
