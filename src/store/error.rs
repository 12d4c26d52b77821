//! What can go wrong with a store, and whether it is worth trying again.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use thiserror::Error;

use crate::carrier::Refusal;

/// An operation of the store that did not happen.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The URL is not repeated, since it may hold a password.
    #[error("the store's URL is not valid: {reason}")]
    Url { reason: String },
    #[error("cannot create the folder {path}: {error}")]
    Folder { path: PathBuf, error: std::io::Error },
    /// sqlx tries again and again, and does not say what went wrong.
    #[error(
        "no connection to the store within {} s: it is away, or does not take the user, password or \
         database of database_url", .0.as_secs()
    )]
    NoConnection(Duration),
    /// Says of each server why it will not do.
    #[error("no server of database_url takes writes: {0}")]
    NoServer(String),
    #[error("the store is slow: none of its connections was free within {} s", .0.as_secs())]
    Busy(Duration),
    #[error("the store did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// A value that an admin's client wrote past our constraints.
    #[error("{0}")]
    Unreadable(Refusal),
    #[error("cannot bring the tables up to date: {0}")]
    Migration(#[from] MigrateError),
    /// Its text says all that its sources say.
    #[error("{0}")]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::NoConnection(super::ACQUIRE_LIMIT),
            other => Self::Database(other),
        }
    }
}

impl StoreError {
    /// Whether the store is away, full, busy or not yet set up, so that the same operation may succeed later. Otherwise
    /// it refuses this very data.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::NoConnection(_) | Self::NoServer(_) | Self::Busy(_) => true,
            Self::Folder { .. } => true,
            Self::Url { .. } | Self::Unreadable(_) => false,
            Self::Migration(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => is_unavailable(error),
            Self::Migration(_) => false,
            Self::Database(error) => is_unavailable(error),
        }
    }
}

impl StoreError {
    /// Whether the server that gave it may not be the right one any more: the connection broke or fell silent, the server
    /// is going down, or takes no writes.
    pub(super) fn means_another_server(&self) -> bool {
        let error = match self {
            Self::TimedOut(_) => return true,
            Self::Database(error)
            | Self::Migration(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => error,
            Self::Url { .. } | Self::Folder { .. } | Self::Unreadable(_) | Self::Migration(_) => {
                return false;
            }
            Self::NoConnection(_) | Self::NoServer(_) | Self::Busy(_) => return false,
        };
        match error {
            sqlx::Error::Database(error) => is_of_another_server(&error.code().unwrap_or_default()),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
            // The others are about the data, or about us.
            _ => false,
        }
    }
}

/// By SQLSTATE: lost connections; shutting down, crashed, not up yet; read only.
fn is_of_another_server(code: &str) -> bool {
    code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "25006")
}

fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match error.try_downcast_ref::<sqlx::sqlite::SqliteError>() {
                Some(_) => is_sqlite_unavailable(&code, error.message()),
                None => is_postgres_unavailable(&code),
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        // A server that is cut off in the middle of a message.
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        // A connection that has lost its way: another one will do.
        | sqlx::Error::InvalidSavePointStatement => true,
        // A type of another crate that may grow: what else it knows is about the data or about us.
        _ => false,
    }
}

/// By SQLSTATE (Postgres manual, appendix A).
fn is_postgres_unavailable(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    match class {
        // Connection; login; unknown database; resources, disk full and too many connections among them; shutting
        // down, cancelled for its time; input and output of the system.
        "08" | "28" | "3D" | "53" | "57" | "58" => true,
        // Deadlock, serialization.
        "40" => true,
        _ => matches!(
            code,
            // A standby that is read only; a lock that was waited for too long.
            "25006" | "55P03"
            // Closed for having been idle in a transaction.
            | "25P03"
            // Tables that are not there yet, or that we may not touch yet.
            | "42P01" | "42501"
        ),
    }
}

/// By primary result code (sqlite.org/rescode.html).
fn is_sqlite_unavailable(code: &str, message: &str) -> bool {
    let primary = code.parse::<u32>().unwrap_or_default() & 0xff;
    match primary {
        // PERM, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL.
        3 | 5 | 6 | 7 | 8 | 9 | 10 | 13 | 14 | 15 => true,
        // ERROR: tables that are not there yet; a transaction that SQLite has ended by itself, since the disk was full.
        1 => message.starts_with("no such table") || message.contains("no transaction is active"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_look_at_when_no_connection_comes_and_says_nothing_twice() {
        let error = StoreError::from(sqlx::Error::PoolTimedOut);
        assert!(error.is_unavailable());
        assert!(error.to_string().contains("database_url"), "{error}");
        let broken = std::io::Error::other("broken pipe");
        let whole =
            format!("{:#}", anyhow::Error::from(StoreError::from(sqlx::Error::from(broken))));
        assert_eq!(whole.matches("broken pipe").count(), 1, "{whole}");
    }

    #[test]
    fn tells_an_absent_server_from_refused_data() {
        let unavailable = ["08006", "28P01", "3D000", "53100", "53300", "57P01", "57P03", "57014"];
        for code in unavailable.into_iter().chain(["25006", "40P01", "55P03", "42P01"]) {
            assert!(is_postgres_unavailable(code), "{code}");
        }
        for code in ["23505", "23514", "22001", "22P02", "42703", ""] {
            assert!(!is_postgres_unavailable(code), "{code}");
        }
    }

    #[test]
    fn looks_for_another_server_only_when_this_one_may_not_be_the_right_one() {
        for code in ["08006", "57P01", "57P02", "57P03", "25006"] {
            assert!(is_of_another_server(code), "{code}");
        }
        // A statement that took too long, a full disk, a wrong password, refused data.
        for code in ["57014", "53100", "28P01", "23505", ""] {
            assert!(!is_of_another_server(code), "{code}");
        }
        assert!(StoreError::TimedOut(Duration::from_secs(1)).means_another_server());
        assert!(!StoreError::Busy(Duration::from_secs(1)).means_another_server());
        let broken = sqlx::Error::from(std::io::Error::other("broken pipe"));
        assert!(StoreError::from(broken).means_another_server());
    }

    #[test]
    fn tells_a_busy_file_from_refused_data() {
        // BUSY_SNAPSHOT, CANTOPEN, FULL.
        for code in ["5", "517", "14", "13"] {
            assert!(is_sqlite_unavailable(code, ""), "{code}");
        }
        assert!(is_sqlite_unavailable("1", "no such table: calls"));
        assert!(is_sqlite_unavailable("1", "cannot commit - no transaction is active"));
        // CONSTRAINT_CHECK, MISMATCH.
        for code in ["1", "275", "20", ""] {
            assert!(!is_sqlite_unavailable(code, "no such column: x"), "{code}");
        }
    }
}
