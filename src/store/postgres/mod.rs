//! The store on Postgres, 15 or later.

mod address;
mod answered;
mod drills;
mod health;
mod history;
mod hosts;
mod migrate;
mod records;
mod tables;
mod watch;

pub(super) use watch::PostgresWatch;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::answered::{ClaimedCall, KeptCall, Lease, Renewed};
use super::drills::{DrillRecord, DrillRow, DrillView};
use super::quality::Quality;
use super::record::{StoredCall, StoredProbe};
use super::{MIGRATION_LIMIT, OPERATION_LIMIT, PRUNE_ROWS, StoreError, within};
use crate::carrier::{Refusal, Rows, Severity};
use crate::health::{PeerTarget, SavedTarget};
use hosts::Hosts;

#[derive(Clone, Debug)]
pub(super) struct PostgresStore {
    hosts: Hosts,
}

impl PostgresStore {
    pub(super) fn open(url: &str) -> Result<Self, StoreError> {
        Ok(Self { hosts: Hosts::open(url)? })
    }

    /// How often another server than before was found.
    pub(super) fn moves(&self) -> u64 {
        *self.hosts.moves().borrow()
    }

    pub(super) async fn migrate(&self) -> Result<Vec<i64>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let migrated = within(MIGRATION_LIMIT, migrate::migrate(borrowed.connection())).await;
        self.hosts.give_back(borrowed, migrated)
    }

    pub(super) async fn pending_migrations(&self) -> Result<Vec<i64>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let pending = within(OPERATION_LIMIT, migrate::pending(borrowed.connection())).await;
        self.hosts.give_back(borrowed, pending)
    }

    pub(super) async fn read_rows(&self) -> Result<Rows, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let rows = within(OPERATION_LIMIT, tables::read(borrowed.connection())).await;
        self.hosts.give_back(borrowed, rows)
    }

    pub(super) async fn write_calls(&self, calls: &[StoredCall]) -> Result<(), StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let written =
            within(OPERATION_LIMIT, records::write_calls(borrowed.connection(), calls)).await;
        self.hosts.give_back(borrowed, written)
    }

    pub(super) async fn write_probes(&self, probes: &[StoredProbe]) -> Result<(), StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let written =
            within(OPERATION_LIMIT, records::write_probes(borrowed.connection(), probes)).await;
        self.hosts.give_back(borrowed, written)
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
                let mut borrowed = self.hosts.acquire().await?;
                let batch = records::delete(borrowed.connection(), statement, before);
                let batch = within(OPERATION_LIMIT, batch).await;
                let batch = self.hosts.give_back(borrowed, batch)?;
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
        let mut borrowed = self.hosts.acquire().await?;
        let saved =
            within(OPERATION_LIMIT, health::save(borrowed.connection(), node, targets)).await;
        self.hosts.give_back(borrowed, saved)
    }

    pub(super) async fn load_health(
        &self,
        node: &str,
    ) -> Result<Vec<(SavedTarget, Duration)>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let loaded = within(OPERATION_LIMIT, health::load(borrowed.connection(), node)).await;
        self.hosts.give_back(borrowed, loaded)
    }

    pub(super) async fn load_peers(
        &self,
        node: &str,
        lately: Duration,
    ) -> Result<Vec<PeerTarget>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let loaded =
            within(OPERATION_LIMIT, health::load_peers(borrowed.connection(), node, lately)).await;
        self.hosts.give_back(borrowed, loaded)
    }

    pub(super) async fn by_call_id(&self, call_id: Uuid) -> Result<Vec<StoredCall>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let read =
            within(OPERATION_LIMIT, history::by_call_id(borrowed.connection(), call_id)).await;
        self.hosts.give_back(borrowed, read)
    }

    pub(super) async fn by_header(&self, call_id: &str) -> Result<Vec<StoredCall>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let read =
            within(OPERATION_LIMIT, history::by_header(borrowed.connection(), call_id)).await;
        self.hosts.give_back(borrowed, read)
    }

    pub(super) async fn calls_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<StoredCall>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let read =
            within(OPERATION_LIMIT, history::between(borrowed.connection(), from, to, limit)).await;
        self.hosts.give_back(borrowed, read)
    }

    pub(super) async fn probes_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Result<Vec<StoredProbe>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let read =
            within(OPERATION_LIMIT, history::probes_between(borrowed.connection(), from, to)).await;
        self.hosts.give_back(borrowed, read)
    }

    pub(super) async fn quality(&self) -> Result<Vec<Quality>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let read = within(OPERATION_LIMIT, history::quality(borrowed.connection())).await;
        self.hosts.give_back(borrowed, read)
    }

    pub(super) async fn execute(&self, statements: &[String]) -> Result<(), StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let executed =
            within(OPERATION_LIMIT, tables::execute(borrowed.connection(), statements)).await;
        self.hosts.give_back(borrowed, executed)
    }

    pub(super) async fn report(
        &self,
        node: &str,
        complaints: &[(Severity, Refusal)],
    ) -> Result<(), StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let reported =
            within(OPERATION_LIMIT, tables::report(borrowed.connection(), node, complaints)).await;
        self.hosts.give_back(borrowed, reported)
    }

    pub(super) async fn keep(
        &self,
        lease: &Lease,
        calls: &[KeptCall],
    ) -> Result<HashSet<Uuid>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done =
            within(OPERATION_LIMIT, answered::keep(borrowed.connection(), lease, calls)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn renew(&self, lease: &Lease) -> Result<Renewed, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::renew(borrowed.connection(), lease)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn claim(
        &self,
        lease: &Lease,
        dead: &[i64],
        call_id: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<ClaimedCall>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done = within(
            OPERATION_LIMIT,
            answered::claim(borrowed.connection(), lease, dead, call_id, limit),
        )
        .await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn adopted(&self, lease_id: i64, calls: &[Uuid]) -> Result<(), StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let adopted = answered::adopted(borrowed.connection(), lease_id, calls);
        let done = within(OPERATION_LIMIT, adopted).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn owned(&self, lease_id: i64) -> Result<Vec<Uuid>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::owned(borrowed.connection(), lease_id)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn find_dialog(&self, tag: &str) -> Result<Option<(Uuid, i64)>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::find(borrowed.connection(), tag)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn give(&self, from: i64, to: i64, calls: &[Uuid]) -> Result<(), StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done =
            within(OPERATION_LIMIT, answered::give(borrowed.connection(), from, to, calls)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn unsettled(&self, lease_id: i64) -> Result<i64, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done =
            within(OPERATION_LIMIT, answered::unsettled(borrowed.connection(), lease_id)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn end_lease(&self, lease_id: i64) -> Result<(), StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done =
            within(OPERATION_LIMIT, answered::end_lease(borrowed.connection(), lease_id)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn sweep(&self, lease_id: i64) -> Result<(), StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done = within(OPERATION_LIMIT, answered::sweep(borrowed.connection(), lease_id)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn execute_drill(&self, sql: &str) -> Result<(), StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done = within(OPERATION_LIMIT, drills::execute(borrowed.connection(), sql)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn drill_view(
        &self,
        carrier: Option<SocketAddr>,
    ) -> Result<DrillView, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done = within(OPERATION_LIMIT, drills::view(borrowed.connection(), carrier)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn drill_records(
        &self,
        call_id_prefix: &str,
        since: OffsetDateTime,
    ) -> Result<Vec<DrillRecord>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done =
            within(OPERATION_LIMIT, drills::records(borrowed.connection(), call_id_prefix, since))
                .await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn write_drill(&self, row: &DrillRow) -> Result<(), StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done = within(OPERATION_LIMIT, drills::write(borrowed.connection(), row)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn drills(
        &self,
        scenario: &str,
        limit: u32,
    ) -> Result<Vec<DrillRow>, StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let done =
            within(OPERATION_LIMIT, drills::drills(borrowed.connection(), scenario, limit)).await;
        self.hosts.give_back(borrowed, done)
    }

    pub(super) async fn watch(&self) -> Result<PostgresWatch, StoreError> {
        PostgresWatch::start(self.hosts.clone()).await
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let mut borrowed = self.hosts.acquire().await?;
        let pinged = within(OPERATION_LIMIT, async {
            sqlx::raw_sql("select 1").execute(borrowed.connection()).await?;
            Ok(())
        })
        .await;
        self.hosts.give_back(borrowed, pinged)
    }

    pub(super) async fn close(&self) {
        self.hosts.close().await;
    }
}
