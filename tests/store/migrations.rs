//! Migrations are applied once, and the first failure rules put in once.

use holdfast::carrier::seed::seed_rules;
use holdfast::carrier::{Rows, Tables};
use holdfast::store::{Store, StoreKind};

use crate::database::{Database, block_on};

on_both_stores!(
    migrates_once,
    seeds_the_failure_rules_and_never_again,
    two_nodes_may_migrate_at_a_time,
    lives_with_migrations_of_a_newer_program,
);

async fn migrates_once(migrated: Database) {
    let database = Database::empty(migrated.store.kind());
    let pending = database.store.pending_migrations().await.unwrap();
    assert_eq!(pending, versions());

    assert_eq!(database.store.migrate().await.unwrap(), pending);

    assert!(database.store.pending_migrations().await.unwrap().is_empty());
    assert!(database.store.migrate().await.unwrap().is_empty());
}

async fn seeds_the_failure_rules_and_never_again(migrated: Database) {
    let database = Database::empty(migrated.store.kind());
    database.store.migrate().await.unwrap();
    let rows = database.store.read_rows().await.unwrap();
    assert_eq!(format!("{:?}", rows.failure_rules), format!("{:?}", seed_rules()));
    assert!(Tables::check(rows, 1).is_ok());

    let own = "insert into failure_rules (status, class, action) values ('499', 'config', 'stop')";
    database.execute("delete from failure_rules where failure_rule_id <= 2").await;
    database.execute(own).await;
    database.store.migrate().await.unwrap();

    let Rows { failure_rules, .. } = database.store.read_rows().await.unwrap();
    assert_eq!(failure_rules.len(), seed_rules().len() - 1);
    assert_eq!(failure_rules[0].failure_rule_id, 3);
    let last = failure_rules.last().unwrap();
    assert_eq!(last.status.as_deref(), Some("499"));
    assert_eq!(usize::try_from(last.failure_rule_id).unwrap(), seed_rules().len() + 1);
}

async fn two_nodes_may_migrate_at_a_time(migrated: Database) {
    let database = Database::empty(migrated.store.kind());
    let sister = Store::open(&database.url).unwrap();

    let (one, other) = tokio::join!(database.store.migrate(), sister.migrate());

    let mut applied = [one.unwrap(), other.unwrap()];
    applied.sort();
    assert_eq!(applied, [vec![], versions()]);
    let rows = database.store.read_rows().await.unwrap();
    assert_eq!(rows.failure_rules.len(), seed_rules().len());
}

async fn lives_with_migrations_of_a_newer_program(database: Database) {
    database
        .execute(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
             select 9000, description, success, checksum, execution_time from _sqlx_migrations \
             where version = 1",
        )
        .await;
    assert!(database.store.pending_migrations().await.unwrap().is_empty());
    assert!(database.store.migrate().await.unwrap().is_empty());
}

#[test]
fn only_a_migration_makes_the_file() {
    block_on(async {
        let database = Database::empty(StoreKind::Sqlite);
        let error = database.store.read_rows().await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        let path = std::path::Path::new(database.url.trim_start_matches("sqlite:"));
        assert!(!path.exists());
        database.store.migrate().await.unwrap();
        assert!(path.exists());
    });
}

#[test]
fn migrates_inside_a_task() {
    block_on(async {
        let database = Database::empty(StoreKind::Sqlite);
        let store = database.store.clone();
        let applied = tokio::spawn(async move { store.migrate().await });
        assert_eq!(applied.await.unwrap().unwrap(), versions());
    });
}

#[test]
fn refuses_urls_that_name_no_store_without_telling_the_password() {
    block_on(async {
        for url in ["", "holdfast.db", "mysql://u:secret@h/d", "sqlite::memory:", "sqlite:"] {
            let error = Store::open(url).unwrap_err();
            assert!(!error.is_unavailable());
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let error = Store::open("postgres://user:secret@host:port/database").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    });
}

/// Of the files in `migrations/`, which are the same for both stores.
fn versions() -> Vec<i64> {
    let of = |store: &str| {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(store);
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut versions: Vec<i64> = files
            .map(|file| file.to_str().unwrap().split('_').next().unwrap().parse().unwrap())
            .collect();
        versions.sort_unstable();
        versions
    };
    assert_eq!(of("postgres"), of("sqlite"));
    of("postgres")
}
