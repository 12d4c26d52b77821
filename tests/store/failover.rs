//! The primary dies and its standby is promoted: the writable server is found again, by real streaming replication.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast::store::spool::Spool;
use holdfast::store::{Store, StoreKind, recorder};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::database::block_on;
use crate::kill::record;
use crate::postgres::Server;
use crate::sample::call;

/// How soon after a promotion everything must work again.
const SOON: Duration = Duration::from_secs(2);

/// A primary with a hot standby, and one URL for both.
pub(crate) struct Pair {
    pub(crate) primary: Server,
    pub(crate) standby: Server,
    pub(crate) name: String,
}

impl Pair {
    /// Brings the tables up to date, on both.
    pub(crate) async fn start() -> Self {
        let primary = Server::start().unwrap();
        let url = primary.create_database("store").unwrap();
        let name = url.rsplit('/').next().unwrap().to_owned();
        Store::open(&url).unwrap().migrate().await.unwrap();
        let standby = primary.start_standby().unwrap();
        let pair = Self { primary, standby, name };
        pair.execute(&pair.primary, "delete from failure_rules").await;
        pair.until_equal().await;
        pair
    }

    /// The standby stands first: what is used must not depend on the order.
    pub(crate) fn url(&self) -> String {
        let (standby, primary) = (self.standby.address(), self.primary.address());
        format!(
            "postgres://postgres@{standby},{primary}/{}?target_session_attrs=read-write",
            self.name
        )
    }

    pub(crate) fn url_of(&self, server: &Server) -> String {
        format!("postgres://postgres@{}/{}", server.address(), self.name)
    }

    pub(crate) async fn execute(&self, server: &Server, sql: &str) {
        let mut connection = PgConnection::connect(&self.url_of(server)).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    pub(crate) async fn count(&self, server: &Server, sql: &str) -> i64 {
        let mut connection = PgConnection::connect(&self.url_of(server)).await.unwrap();
        let count = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
        let count = count.fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    }

    /// From now on nothing reaches the standby, while the primary goes on saying that it has what it is given.
    pub(crate) async fn stop_replication(&self) {
        self.execute(&self.standby, "alter system set primary_conninfo = ''").await;
        self.execute(&self.standby, "select pg_reload_conf()").await;
        let receivers = "select count(*) from pg_stat_wal_receiver";
        self.until(&self.standby, receivers, 0).await;
    }

    /// Until the standby has what the primary has.
    pub(crate) async fn until_equal(&self) {
        let behind = "select count(*) from pg_stat_replication \
                      where replay_lsn = pg_current_wal_lsn()";
        self.until(&self.primary, behind, 1).await;
    }

    pub(crate) async fn until(&self, server: &Server, sql: &str, is: i64) {
        let begun = Instant::now();
        loop {
            let count = self.count(server, sql).await;
            if count == is {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{sql} gives {count}, not {is}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[test]
fn everything_moves_to_the_promoted_standby() {
    block_on(async {
        let pair = Pair::start().await;
        let store = Store::open(&pair.url()).unwrap();
        assert_eq!(store.kind(), StoreKind::Postgres);
        store.write_calls(&[call(1)]).await.unwrap();
        store.save_health("a", &[crate::sample::target(1, "192.0.2.1:5060")]).await.unwrap();
        let mut watch = store.watch().await.unwrap();
        pair.until_equal().await;

        pair.primary.kill().unwrap();
        let error = store.write_calls(&[call(2)]).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        // Known to be lost: said at once, with the reason for each server.
        let begun = Instant::now();
        let error = store.write_calls(&[call(2)]).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert!(error.to_string().contains("it is a standby"), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
        assert!(watch.changed().await.unwrap_err().is_unavailable());

        pair.standby.promote().unwrap();
        let begun = Instant::now();
        watch.changed().await.unwrap();
        store.write_calls(&[call(1), call(2)]).await.unwrap();
        assert_eq!(store.load_health("a").await.unwrap().len(), 1);
        pair.execute(&pair.standby, "insert into customers (name) values ('acme')").await;
        watch.changed().await.unwrap();
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        assert_eq!(store.read_rows().await.unwrap().customers.len(), 1);
        assert_eq!(pair.count(&pair.standby, "select count(*) from calls").await, 2);
    });
}

/// The standby lacks the last records that the primary had said to have: they are sent again.
#[test]
fn no_record_is_lost_or_doubled_when_an_asynchronous_primary_dies() {
    block_on(async {
        let pair = Pair::start().await;
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 1 << 30, Duration::from_secs(60), Instant::now());
        let store = Store::open(&pair.url()).unwrap();
        let (sender, done) = recorder::start(store.clone(), spool.unwrap(), "a".to_owned(), 10_000);
        let is_over = Arc::new(AtomicBool::new(false));
        let flow = tokio::spawn({
            let is_over = is_over.clone();
            async move {
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    sender.send(Box::new(record(0, number))).unwrap();
                    number += 1;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                number
            }
        });
        let calls = "select count(*) from calls";
        let pause = || tokio::time::sleep(Duration::from_millis(400));
        pause().await;
        pair.stop_replication().await;
        let before = pair.count(&pair.standby, calls).await;
        pause().await;
        let told = pair.count(&pair.primary, calls).await;
        assert!(told > before, "some are only on the primary: {before} of {told}");
        pair.primary.kill().unwrap();
        pause().await;
        pair.standby.promote().unwrap();
        let promoted_at = Instant::now();
        pair.until(
            &pair.standby,
            "select least(count(*), 1) from calls where ended_at > now() - interval '1 s'",
            1,
        )
        .await;
        assert!(promoted_at.elapsed() < 2 * SOON, "{:?}", promoted_at.elapsed());
        is_over.store(true, Ordering::Relaxed);
        let sent = flow.await.unwrap();
        assert_eq!(done.await.unwrap(), 0);
        // What a store that stumbles again does not take at the end is for the next run of the node.
        for _ in 0..10 {
            let spool = Spool::open(dir.path(), 1 << 30, Duration::ZERO, Instant::now()).unwrap();
            if spool.waiting_octets() == 0 {
                break;
            }
            let (sender, done) = recorder::start(store.clone(), spool, "a".to_owned(), 10);
            drop(sender);
            assert_eq!(done.await.unwrap(), 0);
        }
        assert_eq!(pair.count(&pair.standby, calls).await, i64::try_from(sent).unwrap());
        let attempts = pair.count(&pair.standby, "select count(*) from call_attempts").await;
        assert_eq!(attempts, i64::try_from(sent).unwrap());
    });
}

#[test]
fn a_server_that_is_set_read_only_is_left_while_its_connections_live() {
    block_on(async {
        let pair = Pair::start().await;
        let store = Store::open(&pair.url()).unwrap();
        store.write_calls(&[call(1)]).await.unwrap();
        let mut watch = store.watch().await.unwrap();
        pair.until_equal().await;
        pair.standby.promote().unwrap();
        pair.execute(&pair.primary, "alter system set default_transaction_read_only = on").await;
        pair.execute(&pair.primary, "select pg_reload_conf()").await;
        let read_only = "select count(*) from pg_settings \
                         where name = 'default_transaction_read_only' and setting = 'on'";
        pair.until(&pair.primary, read_only, 1).await;

        let begun = Instant::now();
        let told = tokio::spawn(async move { watch.changed().await.map(|()| watch) });
        while store.write_calls(&[call(2)]).await.is_err() {
            assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        }
        // The connection that listens has not broken: it is told that the server is another one.
        let mut watch = tokio::time::timeout(SOON, told).await.unwrap().unwrap().unwrap();
        pair.execute(&pair.standby, "insert into customers (name) values ('acme')").await;
        tokio::time::timeout(SOON, watch.changed()).await.unwrap().unwrap();
        assert_eq!(pair.count(&pair.standby, "select count(*) from calls").await, 2);
        assert_eq!(pair.count(&pair.primary, "select count(*) from calls").await, 1);
    });
}

#[test]
fn an_old_primary_that_comes_back_is_not_taken_for_the_new_one() {
    block_on(async {
        let pair = Pair::start().await;
        pair.primary.kill().unwrap();
        pair.standby.promote().unwrap();
        pair.primary.restart().unwrap();
        // Named first, and both take writes.
        let url = format!(
            "postgres://postgres@{},{}/{}",
            pair.primary.address(),
            pair.standby.address(),
            pair.name
        );
        let store = Store::open(&url).unwrap();
        store.write_calls(&[call(1)]).await.unwrap();
        assert_eq!(pair.count(&pair.standby, "select count(*) from calls").await, 1);
        assert_eq!(pair.count(&pair.primary, "select count(*) from calls").await, 0);
    });
}

#[test]
fn a_standby_does_for_reading_where_any_server_is_asked_for() {
    block_on(async {
        let pair = Pair::start().await;
        let url = pair.url_of(&pair.standby);
        let error = Store::open(&url).unwrap().read_rows().await.unwrap_err();
        assert!(error.to_string().contains("it is a standby"), "{error}");
        let store = Store::open(&format!("{url}?target_session_attrs=any")).unwrap();
        store.read_rows().await.unwrap();
        assert!(store.write_calls(&[call(1)]).await.unwrap_err().is_unavailable());
    });
}

#[test]
fn a_frozen_primary_is_left_for_the_promoted_standby() {
    block_on(async {
        let pair = Pair::start().await;
        let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "postgres://postgres@{},{}/{}",
            // Accepts, by the kernel's hand, and never says a word.
            frozen.local_addr().unwrap(),
            pair.standby.address(),
            pair.name
        );
        let store = Store::open(&url).unwrap();
        let asking =
            tokio::spawn(async move { while store.write_calls(&[call(1)]).await.is_err() {} });
        // Promoted while the frozen one is still waited for.
        tokio::time::sleep(Duration::from_millis(500)).await;
        pair.primary.kill().unwrap();
        pair.standby.promote().unwrap();
        tokio::time::timeout(SOON, asking).await.unwrap().unwrap();
    });
}
