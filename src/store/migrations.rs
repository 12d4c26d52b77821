//! Which migrations are missing, and applying them: the same for both stores.

use sqlx::migrate::{Migrate, MigrateError, Migrator};

/// Where sqlx, and its command line tool, note what has been applied.
pub(super) const APPLIED_TABLE: &str = "_sqlx_migrations";

/// Applies what is missing and gives its versions; to be called inside a transaction that lets nobody else migrate.
///
/// Migrations that only the store knows are a newer program's: they are such that we can live with them.
pub(super) async fn apply(
    connection: &mut impl Migrate,
    known: &Migrator,
) -> Result<Vec<i64>, MigrateError> {
    connection.ensure_migrations_table(APPLIED_TABLE).await?;
    if let Some(version) = connection.dirty_version(APPLIED_TABLE).await? {
        return Err(MigrateError::Dirty(version));
    }
    let applied = connection.list_applied_migrations(APPLIED_TABLE).await?;
    let mut missing = Vec::new();
    for migration in known.iter() {
        match applied.iter().find(|applied| applied.version == migration.version) {
            Some(applied) if applied.checksum != migration.checksum => {
                return Err(MigrateError::VersionMismatch(migration.version));
            }
            Some(_) => {}
            None => {
                connection.apply(APPLIED_TABLE, migration).await?;
                missing.push(migration.version);
            }
        }
    }
    Ok(missing)
}

/// The versions that are known, but not among those that are applied.
pub(super) fn missing(known: &Migrator, applied: &[i64]) -> Vec<i64> {
    let versions = known.iter().map(|migration| migration.version);
    versions.filter(|version| !applied.contains(version)).collect()
}
