//! A database of a test's own, and a look into it past the store.

use std::future::Future;
use std::sync::{Arc, Mutex, Weak};

use holdfast::store::{Store, StoreKind};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use tempfile::TempDir;

use crate::postgres::Server;

/// Makes two tests of each function, one a store.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $name() {
                crate::database::run(holdfast::store::StoreKind::Sqlite, super::$name);
            })+
        }

        mod on_postgres {
            $(#[test]
            fn $name() {
                crate::database::run(holdfast::store::StoreKind::Postgres, super::$name);
            })+
        }
    };
}

/// Lives as long as a test that uses it: a static is never dropped, and would leave the server behind.
static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) store: Store,
    pub(crate) server: Option<Arc<Server>>,
    _dir: TempDir,
}

/// Runs a test on a database that is migrated and has no failure rules.
pub(crate) fn run<F: Future<Output = ()>>(kind: StoreKind, test: fn(Database) -> F) {
    block_on(async {
        let database = Database::empty(kind);
        database.store.migrate().await.unwrap();
        database.execute("delete from failure_rules").await;
        test(database).await;
    });
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

impl Database {
    /// Nothing is in it yet, and no SQLite file is there.
    pub(crate) fn empty(kind: StoreKind) -> Self {
        let server = (kind == StoreKind::Postgres).then(shared_server);
        Self::of(server)
    }

    /// With a Postgres server that no other test uses.
    pub(crate) fn alone() -> Self {
        Self::of(Some(Arc::new(Server::start().unwrap())))
    }

    fn of(server: Option<Arc<Server>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = match &server {
            Some(server) => server.create_database("store").unwrap(),
            None => format!("sqlite:{}", dir.path().join("folder/holdfast.db").display()),
        };
        Self { store: Store::open(&url).unwrap(), url, server, _dir: dir }
    }

    pub(crate) async fn execute(&self, sql: &str) {
        if let Err(error) = self.try_execute(sql).await {
            panic!("{error}, in: {sql}");
        }
    }

    pub(crate) async fn try_execute(&self, sql: &str) -> sqlx::Result<()> {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self.store.kind() {
            StoreKind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await?;
                statement.execute(&mut connection).await?;
                connection.close().await
            }
            StoreKind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await?;
                statement.execute(&mut connection).await?;
                connection.close().await
            }
        }
    }

    /// The rows of a query whose columns are all cast to text; null as `null`.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<Vec<String>> {
        let sql = AssertSqlSafe(sql.to_owned());
        let rows: Vec<Vec<Option<String>>> = match self.store.kind() {
            StoreKind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
                rows.iter()
                    .map(|row| (0..row.len()).map(|index| row.get(index)).collect())
                    .collect()
            }
            StoreKind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
                rows.iter()
                    .map(|row| (0..row.len()).map(|index| row.get(index)).collect())
                    .collect()
            }
        };
        let text = |value: Option<String>| match value.as_deref() {
            // SQLite has no booleans of its own.
            Some("true") => "1".to_owned(),
            Some("false") => "0".to_owned(),
            Some(text) => text.to_owned(),
            None => "null".to_owned(),
        };
        rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect()
    }

    /// Columns of a table as text, in an order that is the same in both stores.
    pub(crate) async fn columns(&self, columns: &[&str], from: &str) -> Vec<Vec<String>> {
        let list: Vec<_> = columns.iter().map(|column| format!("cast({column} as text)")).collect();
        self.texts(&format!("select {} from {from}", list.join(", "))).await
    }

    pub(crate) async fn count(&self, table: &str) -> u64 {
        let rows = self.columns(&["count(*)"], table).await;
        rows[0][0].parse().unwrap()
    }

    /// The expression that writes a time in the same way in both stores.
    pub(crate) fn time(&self, column: &str) -> String {
        match self.store.kind() {
            StoreKind::Postgres => {
                format!("to_char({column} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            }
            StoreKind::Sqlite => column.to_owned(),
        }
    }

    /// The expression that writes an address without its prefix length.
    pub(crate) fn host(&self, column: &str) -> String {
        match self.store.kind() {
            StoreKind::Postgres => format!("host({column})"),
            StoreKind::Sqlite => column.to_owned(),
        }
    }
}

fn shared_server() -> Arc<Server> {
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(Server::start().unwrap());
    *shared = Arc::downgrade(&server);
    server
}
