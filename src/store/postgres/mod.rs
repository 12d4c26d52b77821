//! The store on Postgres, 15 or later.

mod address;
mod health;
mod history;
mod hosts;
mod migrate;
mod records;
mod tables;
mod watch;

pub(super) use watch::PostgresWatch;

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::history::GatewayQuality;
use super::record::{StoredCall, StoredProbe};
use super::{MIGRATION_LIMIT, OPERATION_LIMIT, PRUNE_ROWS, StoreError, within};
use crate::carrier::rows::FailureRuleRow;
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
        let mut lease = self.hosts.acquire().await?;
        let migrated = within(MIGRATION_LIMIT, migrate::migrate(&mut lease.connection)).await;
        self.hosts.give_back(lease, migrated)
    }

    pub(super) async fn pending_migrations(&self) -> Result<Vec<i64>, StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let pending = within(OPERATION_LIMIT, migrate::pending(&mut lease.connection)).await;
        self.hosts.give_back(lease, pending)
    }

    pub(super) async fn read_rows(&self) -> Result<Rows, StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let rows = within(OPERATION_LIMIT, tables::read(&mut lease.connection)).await;
        self.hosts.give_back(lease, rows)
    }

    pub(super) async fn write_calls(&self, calls: &[StoredCall]) -> Result<(), StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let written =
            within(OPERATION_LIMIT, records::write_calls(&mut lease.connection, calls)).await;
        self.hosts.give_back(lease, written)
    }

    pub(super) async fn write_probes(&self, probes: &[StoredProbe]) -> Result<(), StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let written =
            within(OPERATION_LIMIT, records::write_probes(&mut lease.connection, probes)).await;
        self.hosts.give_back(lease, written)
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
                let mut lease = self.hosts.acquire().await?;
                let batch = records::delete(&mut lease.connection, statement, before);
                let batch = within(OPERATION_LIMIT, batch).await;
                let batch = self.hosts.give_back(lease, batch)?;
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
        let mut lease = self.hosts.acquire().await?;
        let saved =
            within(OPERATION_LIMIT, health::save(&mut lease.connection, node, targets)).await;
        self.hosts.give_back(lease, saved)
    }

    pub(super) async fn load_health(
        &self,
        node: &str,
    ) -> Result<Vec<(SavedTarget, Duration)>, StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let loaded = within(OPERATION_LIMIT, health::load(&mut lease.connection, node)).await;
        self.hosts.give_back(lease, loaded)
    }

    pub(super) async fn load_peers(
        &self,
        node: &str,
        lately: Duration,
    ) -> Result<Vec<PeerTarget>, StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let loaded =
            within(OPERATION_LIMIT, health::load_peers(&mut lease.connection, node, lately)).await;
        self.hosts.give_back(lease, loaded)
    }

    pub(super) async fn by_call_id(&self, call_id: Uuid) -> Result<Vec<StoredCall>, StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let read =
            within(OPERATION_LIMIT, history::by_call_id(&mut lease.connection, call_id)).await;
        self.hosts.give_back(lease, read)
    }

    pub(super) async fn by_header(&self, call_id: &str) -> Result<Vec<StoredCall>, StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let read =
            within(OPERATION_LIMIT, history::by_header(&mut lease.connection, call_id)).await;
        self.hosts.give_back(lease, read)
    }

    pub(super) async fn calls_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<StoredCall>, StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let read =
            within(OPERATION_LIMIT, history::between(&mut lease.connection, from, to, limit)).await;
        self.hosts.give_back(lease, read)
    }

    pub(super) async fn probes_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Result<Vec<StoredProbe>, StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let read =
            within(OPERATION_LIMIT, history::probes_between(&mut lease.connection, from, to)).await;
        self.hosts.give_back(lease, read)
    }

    pub(super) async fn quality(&self) -> Result<Vec<GatewayQuality>, StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let read = within(OPERATION_LIMIT, history::quality(&mut lease.connection)).await;
        self.hosts.give_back(lease, read)
    }

    pub(super) async fn add_failure_rules(
        &self,
        rules: &[FailureRuleRow],
    ) -> Result<usize, StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let added =
            within(OPERATION_LIMIT, tables::add_failure_rules(&mut lease.connection, rules)).await;
        self.hosts.give_back(lease, added)
    }

    pub(super) async fn report(
        &self,
        node: &str,
        complaints: &[(Severity, Refusal)],
    ) -> Result<(), StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let reported =
            within(OPERATION_LIMIT, tables::report(&mut lease.connection, node, complaints)).await;
        self.hosts.give_back(lease, reported)
    }

    pub(super) async fn watch(&self) -> Result<PostgresWatch, StoreError> {
        PostgresWatch::start(self.hosts.clone()).await
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let mut lease = self.hosts.acquire().await?;
        let pinged = within(OPERATION_LIMIT, async {
            sqlx::raw_sql("select 1").execute(&mut *lease.connection).await?;
            Ok(())
        })
        .await;
        self.hosts.give_back(lease, pinged)
    }

    pub(super) async fn close(&self) {
        self.hosts.close().await;
    }
}
