//! A case's own database: a SQLite file, or a database of a private Postgres server.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use tokio::runtime::Runtime;

use super::case::StoreStep;
use super::postgres::Server;

/// Which store a case runs on.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    Sqlite,
    Postgres,
}

impl StoreKind {
    /// From `HOLDFAST_TEST_STORE`: `sqlite`, `postgres` or `both` (the default).
    pub(crate) fn wanted() -> Result<Vec<Self>> {
        match std::env::var("HOLDFAST_TEST_STORE").as_deref() {
            Ok("sqlite") => Ok(vec![Self::Sqlite]),
            Ok("postgres") => Ok(vec![Self::Postgres]),
            Ok("both") | Err(_) => Ok(vec![Self::Sqlite, Self::Postgres]),
            Ok(other) => {
                bail!("HOLDFAST_TEST_STORE is {other:?}; it takes sqlite, postgres or both")
            }
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        })
    }
}

/// One for all cases that do not stop it: each has a database of its own there.
static SHARED: Mutex<Option<Arc<Server>>> = Mutex::new(None);

/// Call once the last case has run: a static is never dropped.
pub(crate) fn stop_shared_servers() {
    SHARED.lock().expect("no holder of this lock panics").take();
}

fn shared_server() -> Result<Arc<Server>> {
    let mut shared = SHARED.lock().expect("no holder of this lock panics");
    if let Some(server) = &*shared {
        return Ok(server.clone());
    }
    let server = Arc::new(Server::start()?);
    *shared = Some(server.clone());
    Ok(server)
}

/// One case's database.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) kind: StoreKind,
    /// What Holdfast is told.
    pub(crate) url: String,
    /// Where the case looks; the standby's, once the primary has died.
    here: Mutex<String>,
    server: Option<Arc<Server>>,
    standby: Option<Server>,
    /// What keeps every writer out of a SQLite database that is "stopped".
    lock: Mutex<Option<WriteLock>>,
}

/// A transaction that holds the one write lock of a SQLite database.
#[derive(Debug)]
struct WriteLock {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Store {
    /// An empty database; with a server of its own, and a standby, where the case's steps do something to them.
    pub(crate) fn create(
        kind: StoreKind,
        dir: &Path,
        name: &str,
        steps: &[StoreStep],
    ) -> Result<Self> {
        let (here, server) = match kind {
            StoreKind::Sqlite => (format!("sqlite:{}", dir.join("holdfast.db").display()), None),
            StoreKind::Postgres => {
                let server =
                    if steps.is_empty() { shared_server()? } else { Arc::new(Server::start()?) };
                let name = format!("case_{}", name.replace('-', "_"));
                (server.create_database(&name)?, Some(server))
            }
        };
        let standby = match &server {
            Some(server) if steps.contains(&StoreStep::Promote) => Some(server.start_standby()?),
            Some(_) | None => None,
        };
        let url = match (&server, &standby) {
            (Some(server), Some(standby)) => here
                .replace(&server.address(), &format!("{},{}", standby.address(), server.address())),
            _ => here.clone(),
        };
        Ok(Self { kind, url, here: Mutex::new(here), server, standby, lock: Mutex::new(None) })
    }

    fn here(&self) -> String {
        self.here.lock().expect("no holder of this lock panics").clone()
    }

    fn server(&self) -> Result<&Server> {
        self.server.as_deref().context("this step needs Postgres")
    }

    pub(crate) fn freeze(&self) -> Result<()> {
        self.server()?.freeze()
    }

    pub(crate) fn thaw(&self) -> Result<()> {
        self.server()?.thaw()
    }

    /// The primary dies.
    pub(crate) fn die(&self) -> Result<()> {
        let (server, standby) = (self.server()?, self.standby.as_ref());
        let standby = standby.context("a case whose store dies promotes its standby")?;
        server.kill()?;
        let mut here = self.here.lock().expect("no holder of this lock panics");
        *here = here.replace(&server.address(), &standby.address());
        Ok(())
    }

    pub(crate) fn promote(&self) -> Result<()> {
        self.standby.as_ref().context("there is no standby")?.promote()
    }

    /// From now on nothing can be written: the server is stopped, or the file locked.
    pub(crate) fn stop(&self) -> Result<()> {
        if let Some(server) = &self.server {
            return server.stop();
        }
        let runtime = runtime()?;
        let connection = runtime.block_on(async {
            let mut connection = SqliteConnection::connect(&self.here()).await?;
            sqlx::raw_sql("begin exclusive").execute(&mut connection).await?;
            sqlx::Result::<SqliteConnection>::Ok(connection)
        })?;
        *self.lock.lock().expect("no holder of this lock panics") =
            Some(WriteLock { runtime, connection });
        Ok(())
    }

    pub(crate) fn start(&self) -> Result<()> {
        if let Some(server) = &self.server {
            return server.restart();
        }
        let lock = self.lock.lock().expect("no holder of this lock panics").take();
        let WriteLock { runtime, mut connection } = lock.context("the store is not stopped")?;
        runtime.block_on(async {
            sqlx::raw_sql("rollback").execute(&mut connection).await?;
            connection.close().await
        })?;
        Ok(())
    }

    /// Runs statements.
    pub(crate) fn execute(&self, sql: &str) -> Result<()> {
        let done = async {
            match self.kind {
                StoreKind::Sqlite => {
                    let mut connection = SqliteConnection::connect(&self.here()).await?;
                    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
                    connection.close().await
                }
                StoreKind::Postgres => {
                    let mut connection = PgConnection::connect(&self.here()).await?;
                    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
                    connection.close().await
                }
            }
        };
        block_on(done)?.with_context(|| format!("in: {sql}"))
    }

    /// The one column of a query, as text; null as the empty text.
    pub(crate) fn column(&self, sql: &str) -> Result<Vec<String>> {
        let sql = format!("with one(value) as ({sql}) select cast(value as text) from one");
        let read = async {
            match self.kind {
                StoreKind::Sqlite => {
                    let mut connection = SqliteConnection::connect(&self.here()).await?;
                    let query = sqlx::query(AssertSqlSafe(sql.clone()));
                    let rows = query.fetch_all(&mut connection).await?;
                    connection.close().await?;
                    rows.iter()
                        .map(|row| row.try_get(0))
                        .collect::<sqlx::Result<Vec<Option<String>>>>()
                }
                StoreKind::Postgres => {
                    let mut connection = PgConnection::connect(&self.here()).await?;
                    let query = sqlx::query(AssertSqlSafe(sql.clone()));
                    let rows = query.fetch_all(&mut connection).await?;
                    connection.close().await?;
                    rows.iter().map(|row| row.try_get(0)).collect()
                }
            }
        };
        let values = block_on(read)?.with_context(|| format!("in: {sql}"))?;
        Ok(values.into_iter().map(|value| spelled_alike(value.unwrap_or_default())).collect())
    }

    /// The one value of a query; the empty text when it gives no row.
    pub(crate) fn value(&self, sql: &str) -> Result<String> {
        Ok(self.column(sql)?.into_iter().next().unwrap_or_default())
    }

    /// Asks until the query gives that value.
    pub(crate) fn until(&self, sql: &str, is: &str, until: Instant) -> Result<()> {
        let mut last = String::new();
        while Instant::now() < until {
            // A store that is just being stopped or started is asked again.
            match self.value(sql) {
                Ok(value) if value == is => return Ok(()),
                Ok(value) => last = value,
                Err(error) => last = format!("{error:#}"),
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        bail!("{sql} should come to give {is:?} and gives {last:?}")
    }
}

/// Postgres casts a boolean to `true`, SQLite keeps it as 1.
fn spelled_alike(value: String) -> String {
    match value.as_str() {
        "true" => "1".to_owned(),
        "false" => "0".to_owned(),
        _ => value,
    }
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    Ok(runtime()?.block_on(future))
}
