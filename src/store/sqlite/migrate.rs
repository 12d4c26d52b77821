//! Makes the file, and brings its tables up to date, all or nothing.

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

use super::super::{SEEDED_VERSION, StoreError, migrations};
use super::BEGIN_WRITING;
use super::tables::insert_failure_rule;
use crate::carrier::seed::seed_rules;

/// How long a migration waits for another process that migrates.
const BUSY_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

pub(super) async fn migrate(options: SqliteConnectOptions) -> Result<Vec<i64>, StoreError> {
    if let Some(folder) = options.get_filename().parent() {
        tokio::fs::create_dir_all(folder)
            .await
            .map_err(|error| StoreError::Folder { path: folder.to_owned(), error })?;
    }
    // Another node may be at it.
    let options = options.create_if_missing(true).busy_timeout(BUSY_LIMIT);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let mut transaction = connection.begin_with(BEGIN_WRITING).await?;
    let missing = migrations::apply(&mut *transaction, &known()).await?;
    if missing.contains(&SEEDED_VERSION) {
        seed(&mut transaction).await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    Ok(missing)
}

pub(super) async fn pending(connection: &mut SqliteConnection) -> Result<Vec<i64>, StoreError> {
    let is_begun: bool = sqlx::query_scalar(
        "select exists (select 1 from sqlite_master where name = '_sqlx_migrations')",
    )
    .fetch_one(&mut *connection)
    .await?;
    let applied: Vec<i64> = match is_begun {
        true => {
            sqlx::query_scalar("select version from _sqlx_migrations where success")
                .fetch_all(&mut *connection)
                .await?
        }
        false => Vec::new(),
    };
    Ok(migrations::missing(&known(), &applied))
}

/// What a file that is not there lacks.
pub(super) fn all() -> Vec<i64> {
    migrations::missing(&known(), &[])
}

fn known() -> Migrator {
    sqlx::migrate!("migrations/sqlite")
}

async fn seed(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    for rule in seed_rules() {
        insert_failure_rule(connection, &rule).await?;
    }
    Ok(())
}
