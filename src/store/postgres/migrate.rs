//! Brings the tables of Postgres up to date, all or nothing.

use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};

use super::super::{SEEDED_VERSION, StoreError, migrations};
use super::tables::insert_failure_rule;
use crate::carrier::seed::seed_rules;

/// Whoever migrates holds this advisory lock: "holdfast" in ASCII.
const MIGRATION_LOCK: i64 = 0x686f_6c64_6661_7374;

pub(super) async fn migrate(connection: &mut PgConnection) -> Result<Vec<i64>, StoreError> {
    let mut transaction = connection.begin().await?;
    // A migration may take longer than any other statement, and wait for another node's.
    sqlx::query("set local statement_timeout = 0").execute(&mut *transaction).await?;
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(&mut *transaction)
        .await?;
    let missing = migrations::apply(&mut *transaction, &known()).await?;
    if missing.contains(&SEEDED_VERSION) {
        seed(&mut transaction).await?;
    }
    transaction.commit().await?;
    Ok(missing)
}

pub(super) async fn pending(connection: &mut PgConnection) -> Result<Vec<i64>, StoreError> {
    let is_begun: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
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

fn known() -> Migrator {
    sqlx::migrate!("migrations/postgres")
}

async fn seed(connection: &mut PgConnection) -> Result<(), StoreError> {
    for rule in seed_rules() {
        insert_failure_rule(connection, &rule).await?;
    }
    Ok(())
}
