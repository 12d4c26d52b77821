//! A store that goes away is said to be away, soon, and is used again once it is back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::store::{Store, StoreKind};
use sqlx::{Connection, SqliteConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::database::{Database, block_on};
use crate::sample::call;

#[test]
fn a_stopped_postgres_is_unavailable_until_it_is_back() {
    block_on(async {
        let database = Database::alone();
        let store = &database.store;
        store.migrate().await.unwrap();
        store.write_calls(&[call(1)]).await.unwrap();
        let mut watch = store.watch().await.unwrap();
        let server = database.server.clone().unwrap();
        server.stop().unwrap();

        let begun = Instant::now();
        let error = store.write_calls(&[call(2)]).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        assert!(store.ping().await.unwrap_err().is_unavailable());
        assert!(store.read_rows().await.unwrap_err().is_unavailable());
        assert!(store.migrate().await.unwrap_err().is_unavailable());
        assert!(watch.changed().await.unwrap_err().is_unavailable());
        assert!(watch.changed().await.unwrap_err().is_unavailable());
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());

        server.restart().unwrap();
        store.write_calls(&[call(2)]).await.unwrap();
        store.ping().await.unwrap();
        // What happened meanwhile is not known.
        watch.changed().await.unwrap();
        assert_eq!(database.count("calls").await, 2);
        database.execute("delete from failure_rules").await;
        tokio::time::timeout(Duration::from_secs(1), watch.changed()).await.unwrap().unwrap();
        store.close().await;
        assert!(store.ping().await.unwrap_err().is_unavailable());
    });
}

#[test]
fn a_postgres_that_falls_silent_is_noticed_within_ten_seconds() {
    block_on(async {
        let database = Database::empty(StoreKind::Postgres);
        database.store.migrate().await.unwrap();
        let link = Link::start(&database.url).await;
        let store = Store::open(&link.url).unwrap();
        store.ping().await.unwrap();
        let mut watch = store.watch().await.unwrap();
        link.cut();

        let begun = Instant::now();
        let (pinged, changed) = tokio::join!(store.ping(), watch.changed());
        assert!(begun.elapsed() < Duration::from_millis(12_500), "{:?}", begun.elapsed());
        assert!(pinged.unwrap_err().is_unavailable());
        assert!(changed.unwrap_err().is_unavailable());

        link.mend();
        store.ping().await.unwrap();
        watch.changed().await.unwrap();
    });
}

#[test]
fn an_absent_server_is_no_error_until_it_is_used() {
    block_on(async {
        let port = crate::ports::free_port().unwrap();
        let store = Store::open(&format!("postgres://postgres@127.0.0.1:{port}/none")).unwrap();
        let begun = Instant::now();
        let error = store.ping().await.unwrap_err();
        assert!(error.is_unavailable());
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}: ")), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
        assert!(store.watch().await.unwrap_err().is_unavailable());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
}

#[test]
fn tables_that_are_not_there_yet_are_unavailable() {
    for kind in [StoreKind::Sqlite, StoreKind::Postgres] {
        block_on(async {
            let database = Database::empty(kind);
            database.store.migrate().await.unwrap();
            let views =
                "drop view carrier_status; drop view recent_calls; drop view carrier_quality";
            database.execute(views).await;
            database.execute("drop table call_attempts").await;
            let error = database.store.write_calls(&[call(1)]).await.unwrap_err();
            assert!(error.is_unavailable(), "{error}");
        });
    }
}

#[test]
fn data_that_is_refused_is_told_from_a_store_that_is_away() {
    for kind in [StoreKind::Sqlite, StoreKind::Postgres] {
        block_on(async {
            let database = Database::empty(kind);
            database.store.migrate().await.unwrap();
            database.execute("create unique index one_node on calls (node)").await;
            let error = database.store.write_calls(&[call(1), call(2)]).await.unwrap_err();
            assert!(!error.is_unavailable(), "{error}");
            // All or nothing.
            assert_eq!(database.count("calls").await, 0);
        });
    }
}

#[test]
fn a_locked_file_is_unavailable_for_writing_until_it_is_free() {
    block_on(async {
        let database = Database::empty(StoreKind::Sqlite);
        let store = &database.store;
        store.migrate().await.unwrap();
        let mut other = SqliteConnection::connect(&database.url).await.unwrap();
        sqlx::raw_sql("begin exclusive").execute(&mut other).await.unwrap();

        let begun = Instant::now();
        let error = store.write_calls(&[call(1)]).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        store.read_rows().await.unwrap();
        let watch = store.watch().await;
        assert!(watch.is_ok());

        sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
        store.write_calls(&[call(1)]).await.unwrap();
        assert_eq!(database.count("calls").await, 1);
    });
}

/// A network between us and the server that can lose everything without a word.
struct Link {
    url: String,
    is_cut: Arc<watch::Sender<bool>>,
}

impl Link {
    async fn start(server_url: &str) -> Self {
        let (_, rest) = server_url.split_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let server: SocketAddr = server.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://postgres@{}/{database}", listener.local_addr().unwrap());
        let is_cut = Arc::new(watch::Sender::new(false));
        let cuts = is_cut.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut cut = cuts.subscribe();
                tokio::spawn(async move {
                    let mut upstream = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut upstream) => return,
                        _ = cut.changed() => {}
                    }
                    // Open for ever, but nothing passes any more.
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { url, is_cut }
    }

    fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// For new connections; those of before stay dead.
    fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}
