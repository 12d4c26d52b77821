//! Looks whether the file has changed, and only then whether it was an admin table.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::time::{Instant, sleep_until};

use super::super::{OPERATION_LIMIT, StoreError, within};

const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A connection of its own: to it, what our pool commits is another's change, so that it misses none.
#[derive(Debug)]
pub(in crate::store) struct SqliteWatch {
    options: SqliteConnectOptions,
    /// `None` after an error: the next call connects.
    connection: Option<SqliteConnection>,
    seen: Seen,
    next_look: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    /// SQLite's own count of commits of other connections; means nothing beyond one connection.
    data_version: i64,
    /// Raised by the triggers on the admin tables.
    revision: i64,
}

impl SqliteWatch {
    pub(super) async fn start(options: SqliteConnectOptions) -> Result<Self, StoreError> {
        let (connection, seen) = connect(&options).await?;
        let next_look = Instant::now() + POLL_INTERVAL;
        Ok(Self { options, connection: Some(connection), seen, next_look })
    }

    pub(in crate::store) async fn changed(&mut self) -> Result<(), StoreError> {
        loop {
            sleep_until(self.next_look).await;
            self.next_look = Instant::now() + POLL_INTERVAL;
            // Taken out while it is looked through: one that is left in the middle is not used again.
            let Some(mut connection) = self.connection.take() else {
                let (connection, seen) = connect(&self.options).await?;
                (self.connection, self.seen) = (Some(connection), seen);
                return Ok(());
            };
            let seen = within(OPERATION_LIMIT, look(&mut connection, self.seen)).await?;
            let is_changed = seen.revision != self.seen.revision;
            (self.connection, self.seen) = (Some(connection), seen);
            if is_changed {
                return Ok(());
            }
        }
    }
}

async fn connect(options: &SqliteConnectOptions) -> Result<(SqliteConnection, Seen), StoreError> {
    within(OPERATION_LIMIT, async {
        let mut connection = SqliteConnection::connect_with(options).await?;
        let data_version = data_version(&mut connection).await?;
        let revision = revision(&mut connection).await?;
        Ok((connection, Seen { data_version, revision }))
    })
    .await
}

async fn look(connection: &mut SqliteConnection, seen: Seen) -> Result<Seen, StoreError> {
    // Before the revision: what is committed between the two is found by the next look.
    let data_version = data_version(connection).await?;
    if data_version == seen.data_version {
        return Ok(seen);
    }
    Ok(Seen { data_version, revision: revision(connection).await? })
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("pragma data_version").fetch_one(connection).await?)
}

async fn revision(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("select revision from tables_revision").fetch_one(connection).await?)
}
