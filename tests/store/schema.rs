//! Both stores have the same tables, views and columns, and Postgres explains them all.

use std::collections::BTreeMap;

use holdfast::store::StoreKind;

use crate::database::{Database, block_on};

#[test]
fn both_stores_have_the_same_tables_views_and_columns() {
    block_on(async {
        let postgres = columns(StoreKind::Postgres).await;
        let mut sqlite = columns(StoreKind::Sqlite).await;
        // SQLite's means of what notify is in Postgres.
        assert!(sqlite.remove("tables_revision").is_some());
        assert_eq!(postgres, sqlite);
        assert_eq!(postgres.len(), 25);
    });
}

#[test]
fn postgres_explains_every_table_view_and_column() {
    block_on(async {
        let database = Database::empty(StoreKind::Postgres);
        database.store.migrate().await.unwrap();
        let unexplained = "\
            select cast(relname as text), coalesce(cast(attname as text), '') from pg_class \
            left join pg_attribute on attrelid = pg_class.oid and attnum > 0 \
            where relkind in ('r', 'v') and relnamespace = 'public'::regnamespace \
              and relname <> '_sqlx_migrations' \
              and (obj_description(pg_class.oid) is null \
                or col_description(pg_class.oid, attnum) is null)";
        assert_eq!(database.texts(unexplained).await, Vec::<Vec<String>>::new());
    });
}

/// By table or view, each one's by name: SQLite changes a column by making it anew, as the last one.
async fn columns(kind: StoreKind) -> BTreeMap<String, Vec<String>> {
    let database = Database::empty(kind);
    database.store.migrate().await.unwrap();
    let sql = match kind {
        StoreKind::Postgres => {
            "select cast(table_name as text), cast(column_name as text) \
             from information_schema.columns \
             where table_schema = 'public' order by table_name"
        }
        StoreKind::Sqlite => {
            "select tables.name, columns.name \
             from sqlite_master as tables, pragma_table_xinfo(tables.name) as columns \
             where tables.type in ('table', 'view') and tables.name not like 'sqlite_%' \
             order by tables.name"
        }
    };
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in database.texts(sql).await {
        tables.entry(row[0].clone()).or_default().push(row[1].clone());
    }
    tables.remove("_sqlx_migrations").unwrap();
    tables.values_mut().for_each(|columns| columns.sort());
    tables
}
