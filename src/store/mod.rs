//! Postgres and SQLite under the same names: tables in; records, probe results, health and refusals out.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | [`Store`] and [`Watch`], which pass everything on to one of the two |
//! | `answered.rs` | calls in progress as another node needs them, and the leases of nodes |
//! | `drills.rs` | what `holdfast drill` reads and writes |
//! | `record.rs` | calls and probes as the tables keep them |
//! | `recorder.rs`, `recorder/` | from the shards to the store, in batches; a store that is away costs no record |
//! | `spool.rs`, `spool/` | records on disk until the store has them |
//! | `rows.rs` | from columns to the rows of `carrier::rows` and to saved health; one reading for both stores |
//! | `history.rs` | records back in, for explanations and measures |
//! | `migrations.rs` | which migrations are missing, and applying them |
//! | `error.rs` | [`StoreError`]: away for now, or refused |
//! | `postgres/`, `sqlite/` | the statements; a file for each of migrations, tables, records, answered calls, drills, history, health and the watch; which Postgres server is used |
//!
//! The tables themselves are in `migrations/`, one folder a store, with the same tables, views and columns.

pub mod answered;
pub mod drills;
mod error;
pub mod history;
pub mod insert;
mod json;
mod migrations;
mod postgres;
pub mod quality;
pub mod record;
pub mod recorder;
mod rows;
pub mod spool;
mod sqlite;

pub use error::StoreError;
pub use json::Json;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::call::Ownership;
use crate::carrier::{Refusal, Rows, Severity};
use crate::health::{PeerTarget, SavedTarget};
use answered::{ClaimedCall, KeptCall, Lease, Renewed};
use drills::{DrillRecord, DrillRow, DrillView};
use postgres::{PostgresStore, PostgresWatch};
use quality::Quality;
use record::{StoredCall, StoredProbe};
use recorder::{RecordStore, WriteError};
use sqlite::{SqliteStore, SqliteWatch};

/// How long a connection may be waited for; an absent store is known to be absent after it.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(2);
/// How long the servers of `database_url` may take to say which of them takes writes.
const FIND_LIMIT: Duration = Duration::from_secs(4);
/// How long one operation may take: a hung server must not hang us.
const OPERATION_LIMIT: Duration = Duration::from_secs(10);
/// How long all migrations together may take; they may rewrite large tables.
const MIGRATION_LIMIT: Duration = Duration::from_secs(3600);
/// How long open connections may take to say goodbye.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Rows that one statement of [`Store::prune`] deletes at most, so that no statement takes long.
const PRUNE_ROWS: u32 = 5_000;
/// The migration that makes `failure_rules`, which is filled when it has just been applied.
const SEEDED_VERSION: i64 = 1;

/// Which program keeps the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Postgres,
    Sqlite,
}

/// A handle on the database; clones share its connections.
///
/// Every operation but a migration and a prune ends within twenty seconds: eight to find the server that takes writes, two
/// for a connection, ten for its work. It ends with an error when the store is away; [`StoreError::is_unavailable`] tells that from data that the store refuses.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Inner,
}

#[derive(Clone, Debug)]
enum Inner {
    Postgres(PostgresStore),
    Sqlite(SqliteStore),
}

/// Tells when an admin has changed a table; see [`Store::watch`].
#[derive(Debug)]
pub struct Watch {
    inner: InnerWatch,
}

#[derive(Debug)]
enum InnerWatch {
    Postgres(PostgresWatch),
    Sqlite(Box<SqliteWatch>),
}

impl Store {
    /// Parses the URL: `postgres://user:password@host/database` (or `postgresql://…`), or `sqlite:path`. Of several hosts,
    /// `postgres://user:password@a:5432,b:5432/database`, the one is used that takes writes, and looked for again when it is lost.
    ///
    /// Connects when it is first used: an absent server is no error here. Must be called inside a tokio runtime.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        let inner = match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Inner::Postgres(PostgresStore::open(url)?),
            Some(("sqlite", _)) => Inner::Sqlite(SqliteStore::open(url)?),
            Some(_) | None => {
                let reason = "it must begin with postgres:// or sqlite:".to_owned();
                return Err(StoreError::Url { reason });
            }
        };
        Ok(Self { inner })
    }

    pub fn kind(&self) -> StoreKind {
        match &self.inner {
            Inner::Postgres(_) => StoreKind::Postgres,
            Inner::Sqlite(_) => StoreKind::Sqlite,
        }
    }

    /// Applies the migrations that are missing, all or none, and gives their versions. Creates the SQLite file and
    /// its folder. Fills `failure_rules` once, when the table is made.
    pub async fn migrate(&self) -> Result<Vec<i64>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.migrate().await,
            Inner::Sqlite(store) => store.migrate().await,
        }
    }

    /// Versions that this program knows and the store has not.
    pub async fn pending_migrations(&self) -> Result<Vec<i64>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.pending_migrations().await,
            Inner::Sqlite(store) => store.pending_migrations().await,
        }
    }

    /// The admin tables as they were at one moment.
    pub async fn read_rows(&self) -> Result<Rows, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.read_rows().await,
            Inner::Sqlite(store) => store.read_rows().await,
        }
    }

    /// Writes all of them or none. A call that is there already is left alone with its attempts, so that a batch may
    /// be repeated when it is not known whether it went through.
    pub async fn write_calls(&self, calls: &[StoredCall]) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.write_calls(calls).await,
            Inner::Sqlite(store) => store.write_calls(calls).await,
        }
    }

    /// Writes all of them or none.
    pub async fn write_probes(&self, probes: &[StoredProbe]) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.write_probes(probes).await,
            Inner::Sqlite(store) => store.write_probes(probes).await,
        }
    }

    /// Deletes probe results and, where a time is given for them, calls with their attempts that ended before these
    /// times. Gives how many probe results and calls.
    pub async fn prune(
        &self,
        probes_before: OffsetDateTime,
        calls_before: Option<OffsetDateTime>,
    ) -> Result<u64, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.prune(probes_before, calls_before).await,
            Inner::Sqlite(store) => store.prune(probes_before, calls_before).await,
        }
    }

    /// Replaces what this node has saved; a target that is not in the list is forgotten.
    pub async fn save_health(&self, node: &str, targets: &[SavedTarget]) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.save_health(node, targets).await,
            Inner::Sqlite(store) => store.save_health(node, targets).await,
        }
    }

    /// What this node has saved, with its age; of a target that it knows nothing about, what another node saved last.
    pub async fn load_health(
        &self,
        node: &str,
    ) -> Result<Vec<(SavedTarget, Duration)>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.load_health(node).await,
            Inner::Sqlite(store) => store.load_health(node).await,
        }
    }

    /// What other nodes have saved within the last `lately`.
    pub async fn load_peers(
        &self,
        node: &str,
        lately: Duration,
    ) -> Result<Vec<PeerTarget>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.load_peers(node, lately).await,
            Inner::Sqlite(store) => store.load_peers(node, lately).await,
        }
    }

    /// Carries out statements such as [`insert::statements`] and [`drills::DrillTables::sql`] write, all or none.
    pub async fn execute(&self, statements: &[String]) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.execute(statements).await,
            Inner::Sqlite(store) => store.execute(statements).await,
        }
    }

    /// The calls with this number of ours, or else with this Call-ID header on either side, the newest first.
    pub async fn find_calls(&self, id: &str) -> Result<Vec<StoredCall>, StoreError> {
        // Many make their Call-IDs of UUIDs, too.
        if let Ok(call_id) = Uuid::try_parse(id) {
            let found = self.by_call_id(call_id).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        match &self.inner {
            Inner::Postgres(store) => store.by_header(id).await,
            Inner::Sqlite(store) => store.by_header(id).await,
        }
    }

    async fn by_call_id(&self, call_id: Uuid) -> Result<Vec<StoredCall>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.by_call_id(call_id).await,
            Inner::Sqlite(store) => store.by_call_id(call_id).await,
        }
    }

    /// The last `limit` calls that began in this time, the newest first.
    pub async fn calls_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<StoredCall>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.calls_between(from, to, limit).await,
            Inner::Sqlite(store) => store.calls_between(from, to, limit).await,
        }
    }

    /// The probes that ended in this time, in their order.
    pub async fn probes_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Result<Vec<StoredProbe>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.probes_between(from, to).await,
            Inner::Sqlite(store) => store.probes_between(from, to).await,
        }
    }

    /// How the attempts of the last hour went, by carrier, gateway and country.
    pub async fn quality(&self) -> Result<Vec<Quality>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.quality().await,
            Inner::Sqlite(store) => store.quality().await,
        }
    }

    /// Replaces what this node complains about in `config_errors`.
    pub async fn report(
        &self,
        node: &str,
        complaints: &[(Severity, Refusal)],
    ) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.report(node, complaints).await,
            Inner::Sqlite(store) => store.report(node, complaints).await,
        }
    }

    /// Writes what is there to go on with calls, anew where it is there already. Gives those that were written: not
    /// those that are over, or that another run has.
    pub async fn keep(
        &self,
        lease: &Lease,
        calls: &[KeptCall],
    ) -> Result<HashSet<Uuid>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.keep(lease, calls).await,
            Inner::Sqlite(store) => store.keep(lease, calls).await,
        }
    }

    /// Tells that this run is alive, and reads how the others do.
    pub async fn renew(&self, lease: &Lease) -> Result<Renewed, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.renew(lease).await,
            Inner::Sqlite(store) => store.renew(lease).await,
        }
    }

    /// Takes over calls of the runs `dead`, as far as their leases are lost, or they are earlier runs of this very node;
    /// and calls that were given to us. Only of our region; only `call_id`, where one is given; `limit` at most. Gives them
    /// again until they are [`adopted`](Self::adopted): an answer of the store may be lost.
    pub async fn claim(
        &self,
        lease: &Lease,
        dead: &[i64],
        call_id: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<ClaimedCall>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.claim(lease, dead, call_id, limit).await,
            Inner::Sqlite(store) => store.claim(lease, dead, call_id, limit).await,
        }
    }

    /// Claimed calls have come to this run.
    pub async fn adopted(&self, lease_id: i64, calls: &[Uuid]) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.adopted(lease_id, calls).await,
            Inner::Sqlite(store) => store.adopted(lease_id, calls).await,
        }
    }

    /// The calls that a run has, and those of others that have changed hands.
    pub async fn owned(&self, lease_id: i64) -> Result<Ownership, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.owned(lease_id).await,
            Inner::Sqlite(store) => store.owned(lease_id).await,
        }
    }

    /// The call with this tag of ours, and the run that has it.
    pub async fn find_dialog(&self, tag: &str) -> Result<Option<(Uuid, i64)>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.find_dialog(tag).await,
            Inner::Sqlite(store) => store.find_dialog(tag).await,
        }
    }

    /// Gives calls to another run, which takes them with its next claim.
    pub async fn give(&self, from: i64, to: i64, calls: &[Uuid]) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.give(from, to, calls).await,
            Inner::Sqlite(store) => store.give(from, to, calls).await,
        }
    }

    /// How many calls that a run gave away are not settled at the other one yet.
    pub async fn unsettled(&self, lease_id: i64) -> Result<i64, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.unsettled(lease_id).await,
            Inner::Sqlite(store) => store.unsettled(lease_id).await,
        }
    }

    /// Ends the lease of a run that stops, so that others need not wait until it lapses.
    pub async fn end_lease(&self, lease_id: i64) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.end_lease(lease_id).await,
            Inner::Sqlite(store) => store.end_lease(lease_id).await,
        }
    }

    /// Clears away what crossed its record on the way, and leases of runs long gone.
    pub async fn sweep(&self, lease_id: i64) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.sweep(lease_id).await,
            Inner::Sqlite(store) => store.sweep(lease_id).await,
        }
    }

    /// What nodes show of themselves now.
    pub async fn drill_view(&self, carrier: Option<SocketAddr>) -> Result<DrillView, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.drill_view(carrier).await,
            Inner::Sqlite(store) => store.drill_view(carrier).await,
        }
    }

    /// The records of calls since a time whose inbound Call-ID begins so.
    pub async fn drill_records(
        &self,
        call_id_prefix: &str,
        since: OffsetDateTime,
    ) -> Result<Vec<DrillRecord>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.drill_records(call_id_prefix, since).await,
            Inner::Sqlite(store) => store.drill_records(call_id_prefix, since).await,
        }
    }

    /// Keeps a drill.
    pub async fn write_drill(&self, row: &DrillRow) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.write_drill(row).await,
            Inner::Sqlite(store) => store.write_drill(row).await,
        }
    }

    /// The last drills of a scenario, the newest first.
    pub async fn drills(&self, scenario: &str, limit: u32) -> Result<Vec<DrillRow>, StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.drills(scenario, limit).await,
            Inner::Sqlite(store) => store.drills(scenario, limit).await,
        }
    }

    /// How often another server than before took the place of the one in use. It may lack the last of what that had.
    pub fn moves(&self) -> u64 {
        match &self.inner {
            Inner::Postgres(store) => store.moves(),
            // A file is where it is.
            Inner::Sqlite(_) => 0,
        }
    }

    /// Watches the admin tables from now on.
    pub async fn watch(&self) -> Result<Watch, StoreError> {
        let inner = match &self.inner {
            Inner::Postgres(store) => InnerWatch::Postgres(store.watch().await?),
            Inner::Sqlite(store) => InnerWatch::Sqlite(Box::new(store.watch().await?)),
        };
        Ok(Watch { inner })
    }

    /// A round trip to the server.
    pub async fn ping(&self) -> Result<(), StoreError> {
        match &self.inner {
            Inner::Postgres(store) => store.ping().await,
            Inner::Sqlite(store) => store.ping().await,
        }
    }

    /// Closes the connections, of all clones.
    pub async fn close(&self) {
        match &self.inner {
            Inner::Postgres(store) => store.close().await,
            Inner::Sqlite(store) => store.close().await,
        }
    }
}

impl Watch {
    /// Returns when the admin tables have changed, or may have while the connection was lost. Changes that come close
    /// together may be told once. May be dropped while it waits.
    ///
    /// An error means that the store is away: call again later; it connects again by itself and then tells a
    /// possible change.
    pub async fn changed(&mut self) -> Result<(), StoreError> {
        match &mut self.inner {
            InnerWatch::Postgres(watch) => watch.changed().await,
            InnerWatch::Sqlite(watch) => watch.changed().await,
        }
    }
}

/// Gives up after `limit`.
async fn within<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, operation).await.unwrap_or(Err(StoreError::TimedOut(limit)))
}

impl RecordStore for Store {
    async fn write_calls(&self, calls: &[StoredCall]) -> Result<(), WriteError> {
        Store::write_calls(self, calls).await.map_err(write_error)
    }

    async fn write_probes(&self, probes: &[StoredProbe]) -> Result<(), WriteError> {
        Store::write_probes(self, probes).await.map_err(write_error)
    }

    fn moves(&self) -> u64 {
        Store::moves(self)
    }
}

fn write_error(error: StoreError) -> WriteError {
    match error.is_unavailable() {
        true => WriteError::Away(error.to_string()),
        false => WriteError::Refused(error.to_string()),
    }
}
