//! The store on Postgres, 15 or later.

mod answered;
mod drills;
mod health;
mod history;
mod migrate;
mod records;
mod tables;
mod watch;

pub(super) use watch::PostgresWatch;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Postgres};
use time::OffsetDateTime;
use uuid::Uuid;

use super::answered::{ClaimedCall, KeptCall, Lease, Renewed};
use super::drills::{DrillRecord, DrillRow, DrillView};
use super::history::GatewayQuality;
use super::record::{StoredCall, StoredProbe};
use super::{
    ACQUIRE_LIMIT, CLOSE_LIMIT, MIGRATION_LIMIT, OPERATION_LIMIT, PRUNE_ROWS, StoreError, within,
};
use crate::carrier::rows::FailureRuleRow;
use crate::carrier::{Refusal, Rows, Severity};
use crate::health::{PeerTarget, SavedTarget};

/// Connections for everything but the watch, which has its own.
const MAX_CONNECTIONS: u32 = 5;
/// After this time the server gives a statement up by itself; a little before we do.
const STATEMENT_TIMEOUT_MS: &str = "9000";

#[derive(Clone, Debug)]
pub(super) struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    pub(super) fn open(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| StoreError::Url { reason: error.to_string() })?;
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("holdfast"),
        };
        let options = options.options([
            ("statement_timeout", STATEMENT_TIMEOUT_MS),
            ("idle_in_transaction_session_timeout", STATEMENT_TIMEOUT_MS),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_LIMIT)
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    pub(super) async fn migrate(&self) -> Result<Vec<i64>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let migrated = within(MIGRATION_LIMIT, migrate::migrate(&mut connection)).await;
        give_back(connection, migrated)
    }

    pub(super) async fn pending_migrations(&self) -> Result<Vec<i64>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let pending = within(OPERATION_LIMIT, migrate::pending(&mut connection)).await;
        give_back(connection, pending)
    }

    pub(super) async fn read_rows(&self) -> Result<Rows, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let rows = within(OPERATION_LIMIT, tables::read(&mut connection)).await;
        give_back(connection, rows)
    }

    pub(super) async fn write_calls(&self, calls: &[StoredCall]) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let written = within(OPERATION_LIMIT, records::write_calls(&mut connection, calls)).await;
        give_back(connection, written)
    }

    pub(super) async fn write_probes(&self, probes: &[StoredProbe]) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let written = within(OPERATION_LIMIT, records::write_probes(&mut connection, probes)).await;
        give_back(connection, written)
    }

    pub(super) async fn prune(
        &self,
        probes_before: OffsetDateTime,
        calls_before: Option<OffsetDateTime>,
    ) -> Result<u64, StoreError> {
        let probes = Some((records::DELETE_PROBES, probes_before));
        let calls = calls_before.map(|before| (records::DELETE_CALLS, before));
        let mut deleted = 0;
        for (statement, before) in probes.into_iter().chain(calls) {
            loop {
                let mut connection = self.pool.acquire().await?;
                let batch = records::delete(&mut connection, statement, before);
                let batch = within(OPERATION_LIMIT, batch).await;
                let batch = give_back(connection, batch)?;
                deleted += batch;
                if batch < PRUNE_ROWS.into() {
                    break;
                }
            }
        }
        Ok(deleted)
    }

    pub(super) async fn save_health(
        &self,
        node: &str,
        targets: &[SavedTarget],
    ) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let saved = within(OPERATION_LIMIT, health::save(&mut connection, node, targets)).await;
        give_back(connection, saved)
    }

    pub(super) async fn load_health(
        &self,
        node: &str,
    ) -> Result<Vec<(SavedTarget, Duration)>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let loaded = within(OPERATION_LIMIT, health::load(&mut connection, node)).await;
        give_back(connection, loaded)
    }

    pub(super) async fn load_peers(
        &self,
        node: &str,
        lately: Duration,
    ) -> Result<Vec<PeerTarget>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let loaded =
            within(OPERATION_LIMIT, health::load_peers(&mut connection, node, lately)).await;
        give_back(connection, loaded)
    }

    pub(super) async fn by_call_id(&self, call_id: Uuid) -> Result<Vec<StoredCall>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let read = within(OPERATION_LIMIT, history::by_call_id(&mut connection, call_id)).await;
        give_back(connection, read)
    }

    pub(super) async fn by_header(&self, call_id: &str) -> Result<Vec<StoredCall>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let read = within(OPERATION_LIMIT, history::by_header(&mut connection, call_id)).await;
        give_back(connection, read)
    }

    pub(super) async fn calls_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<StoredCall>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let read =
            within(OPERATION_LIMIT, history::between(&mut connection, from, to, limit)).await;
        give_back(connection, read)
    }

    pub(super) async fn probes_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Result<Vec<StoredProbe>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let read =
            within(OPERATION_LIMIT, history::probes_between(&mut connection, from, to)).await;
        give_back(connection, read)
    }

    pub(super) async fn quality(&self) -> Result<Vec<GatewayQuality>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let read = within(OPERATION_LIMIT, history::quality(&mut connection)).await;
        give_back(connection, read)
    }

    pub(super) async fn add_failure_rules(
        &self,
        rules: &[FailureRuleRow],
    ) -> Result<usize, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let added =
            within(OPERATION_LIMIT, tables::add_failure_rules(&mut connection, rules)).await;
        give_back(connection, added)
    }

    pub(super) async fn report(
        &self,
        node: &str,
        complaints: &[(Severity, Refusal)],
    ) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let reported =
            within(OPERATION_LIMIT, tables::report(&mut connection, node, complaints)).await;
        give_back(connection, reported)
    }

    pub(super) async fn keep(
        &self,
        lease: &Lease,
        calls: &[KeptCall],
    ) -> Result<HashSet<Uuid>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::keep(&mut connection, lease, calls)).await;
        give_back(connection, done)
    }

    pub(super) async fn renew(&self, lease: &Lease) -> Result<Renewed, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::renew(&mut connection, lease)).await;
        give_back(connection, done)
    }

    pub(super) async fn claim(
        &self,
        lease: &Lease,
        dead: &[i64],
        call_id: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<ClaimedCall>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done =
            within(OPERATION_LIMIT, answered::claim(&mut connection, lease, dead, call_id, limit))
                .await;
        give_back(connection, done)
    }

    pub(super) async fn owned(&self, lease_id: i64) -> Result<Vec<Uuid>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::owned(&mut connection, lease_id)).await;
        give_back(connection, done)
    }

    pub(super) async fn find_dialog(&self, tag: &str) -> Result<Option<(Uuid, i64)>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::find(&mut connection, tag)).await;
        give_back(connection, done)
    }

    pub(super) async fn give(&self, from: i64, to: i64, calls: &[Uuid]) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::give(&mut connection, from, to, calls)).await;
        give_back(connection, done)
    }

    pub(super) async fn unsettled(&self, lease_id: i64) -> Result<i64, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::unsettled(&mut connection, lease_id)).await;
        give_back(connection, done)
    }

    pub(super) async fn end_lease(&self, lease_id: i64) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::end_lease(&mut connection, lease_id)).await;
        give_back(connection, done)
    }

    pub(super) async fn sweep(&self, lease_id: i64) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::sweep(&mut connection, lease_id)).await;
        give_back(connection, done)
    }

    pub(super) async fn execute_drill(&self, sql: &str) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, drills::execute(&mut connection, sql)).await;
        give_back(connection, done)
    }

    pub(super) async fn drill_view(
        &self,
        carrier: Option<SocketAddr>,
    ) -> Result<DrillView, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, drills::view(&mut connection, carrier)).await;
        give_back(connection, done)
    }

    pub(super) async fn drill_records(
        &self,
        call_id_prefix: &str,
        since: OffsetDateTime,
    ) -> Result<Vec<DrillRecord>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done =
            within(OPERATION_LIMIT, drills::records(&mut connection, call_id_prefix, since)).await;
        give_back(connection, done)
    }

    pub(super) async fn write_drill(&self, row: &DrillRow) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, drills::write(&mut connection, row)).await;
        give_back(connection, done)
    }

    pub(super) async fn drills(
        &self,
        scenario: &str,
        limit: u32,
    ) -> Result<Vec<DrillRow>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let done = within(OPERATION_LIMIT, drills::drills(&mut connection, scenario, limit)).await;
        give_back(connection, done)
    }

    pub(super) async fn watch(&self) -> Result<PostgresWatch, StoreError> {
        PostgresWatch::start((*self.pool.connect_options()).clone()).await
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let pinged = within(OPERATION_LIMIT, async {
            sqlx::raw_sql("select 1").execute(&mut *connection).await?;
            Ok(())
        })
        .await;
        give_back(connection, pinged)
    }

    pub(super) async fn close(&self) {
        // What does not end by itself is cut off when the process ends.
        let _ = tokio::time::timeout(CLOSE_LIMIT, self.pool.close()).await;
    }
}

/// A connection that did not answer in time is cut off: put back, it would hold its place in the pool until the kernel
/// gives it up, which takes a quarter of an hour.
fn give_back<T>(
    connection: PoolConnection<Postgres>,
    result: Result<T, StoreError>,
) -> Result<T, StoreError> {
    if matches!(result, Err(StoreError::TimedOut(_))) {
        drop(connection.detach());
    }
    result
}
