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

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::answered::{ClaimedCall, KeptCall, Lease, Renewed};
use super::drills::{DrillRecord, DrillRow, DrillView};
use super::quality::Quality;
use super::record::{StoredCall, StoredProbe};
use super::{MIGRATION_LIMIT, OPERATION_LIMIT, PRUNE_ROWS, StoreError, within};
use crate::call::Ownership;
use crate::carrier::{Refusal, Rows, Severity};
use crate::health::{PeerTarget, SavedTarget};
use hosts::Hosts;

/// What a function makes of a connection and these arguments, within the limit; the connection is given back with what
/// came of it.
macro_rules! on_connection {
    ($store:ident, $work:path $(, $argument:expr)*) => {{
        let mut borrowed = $store.hosts.acquire().await?;
        let done = within(OPERATION_LIMIT, $work(borrowed.connection() $(, $argument)*)).await;
        $store.hosts.give_back(borrowed, done)
    }};
}

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
        on_connection!(self, migrate::pending)
    }

    pub(super) async fn read_rows(&self) -> Result<Rows, StoreError> {
        on_connection!(self, tables::read)
    }

    pub(super) async fn write_calls(&self, calls: &[StoredCall]) -> Result<(), StoreError> {
        on_connection!(self, records::write_calls, calls)
    }

    pub(super) async fn write_probes(&self, probes: &[StoredProbe]) -> Result<(), StoreError> {
        on_connection!(self, records::write_probes, probes)
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
                let batch = on_connection!(self, records::delete, statement, before)?;
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
        on_connection!(self, health::save, node, targets)
    }

    pub(super) async fn load_health(
        &self,
        node: &str,
    ) -> Result<Vec<(SavedTarget, Duration)>, StoreError> {
        on_connection!(self, health::load, node)
    }

    pub(super) async fn load_peers(
        &self,
        node: &str,
        lately: Duration,
    ) -> Result<Vec<PeerTarget>, StoreError> {
        on_connection!(self, health::load_peers, node, lately)
    }

    pub(super) async fn by_call_id(&self, call_id: Uuid) -> Result<Vec<StoredCall>, StoreError> {
        on_connection!(self, history::by_call_id, call_id)
    }

    pub(super) async fn by_header(&self, call_id: &str) -> Result<Vec<StoredCall>, StoreError> {
        on_connection!(self, history::by_header, call_id)
    }

    pub(super) async fn calls_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<StoredCall>, StoreError> {
        on_connection!(self, history::between, from, to, limit)
    }

    pub(super) async fn probes_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Result<Vec<StoredProbe>, StoreError> {
        on_connection!(self, history::probes_between, from, to)
    }

    pub(super) async fn quality(&self) -> Result<Vec<Quality>, StoreError> {
        on_connection!(self, history::quality)
    }

    pub(super) async fn execute(&self, statements: &[String]) -> Result<(), StoreError> {
        on_connection!(self, tables::execute, statements)
    }

    pub(super) async fn report(
        &self,
        node: &str,
        complaints: &[(Severity, Refusal)],
    ) -> Result<(), StoreError> {
        on_connection!(self, tables::report, node, complaints)
    }

    pub(super) async fn keep(
        &self,
        lease: &Lease,
        calls: &[KeptCall],
    ) -> Result<HashSet<Uuid>, StoreError> {
        on_connection!(self, answered::keep, lease, calls)
    }

    pub(super) async fn renew(&self, lease: &Lease) -> Result<Renewed, StoreError> {
        on_connection!(self, answered::renew, lease)
    }

    pub(super) async fn claim(
        &self,
        lease: &Lease,
        dead: &[i64],
        call_id: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<ClaimedCall>, StoreError> {
        on_connection!(self, answered::claim, lease, dead, call_id, limit)
    }

    pub(super) async fn adopted(&self, lease_id: i64, calls: &[Uuid]) -> Result<(), StoreError> {
        on_connection!(self, answered::adopted, lease_id, calls)
    }

    pub(super) async fn owned(&self, lease_id: i64) -> Result<Ownership, StoreError> {
        on_connection!(self, answered::owned, lease_id)
    }

    pub(super) async fn find_dialog(&self, tag: &str) -> Result<Option<(Uuid, i64)>, StoreError> {
        on_connection!(self, answered::find, tag)
    }

    pub(super) async fn give(&self, from: i64, to: i64, calls: &[Uuid]) -> Result<(), StoreError> {
        on_connection!(self, answered::give, from, to, calls)
    }

    pub(super) async fn unsettled(&self, lease_id: i64) -> Result<i64, StoreError> {
        on_connection!(self, answered::unsettled, lease_id)
    }

    pub(super) async fn end_lease(&self, lease_id: i64) -> Result<(), StoreError> {
        on_connection!(self, answered::end_lease, lease_id)
    }

    pub(super) async fn sweep(&self, lease_id: i64) -> Result<(), StoreError> {
        on_connection!(self, answered::sweep, lease_id)
    }

    pub(super) async fn drill_view(
        &self,
        carrier: Option<SocketAddr>,
    ) -> Result<DrillView, StoreError> {
        on_connection!(self, drills::view, carrier)
    }

    pub(super) async fn drill_records(
        &self,
        call_id_prefix: &str,
        since: OffsetDateTime,
    ) -> Result<Vec<DrillRecord>, StoreError> {
        on_connection!(self, drills::records, call_id_prefix, since)
    }

    pub(super) async fn write_drill(&self, row: &DrillRow) -> Result<(), StoreError> {
        on_connection!(self, drills::write, row)
    }

    pub(super) async fn drills(
        &self,
        scenario: &str,
        limit: u32,
    ) -> Result<Vec<DrillRow>, StoreError> {
        on_connection!(self, drills::drills, scenario, limit)
    }

    pub(super) async fn watch(&self) -> Result<PostgresWatch, StoreError> {
        PostgresWatch::start(self.hosts.clone()).await
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        on_connection!(self, ping)
    }

    pub(super) async fn close(&self) {
        self.hosts.close().await;
    }
}

async fn ping(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql("select 1").execute(connection).await?;
    Ok(())
}
