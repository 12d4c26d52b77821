//! A store that is slow, and disks that are full: records wait, in the spool or in memory, and none is lost.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use holdfast::store::spool::Spool;
use holdfast::store::{Store, StoreKind, recorder};
use sqlx::{Connection, PgConnection, SqliteConnection};
use tokio::task::JoinHandle;

use crate::database::{Database, block_on};
use crate::kill::record;
use crate::sample::call;

#[test]
fn a_store_that_takes_two_seconds_a_statement_gets_every_record_and_holds_up_no_end() {
    block_on(async {
        let database = Database::empty(StoreKind::Postgres);
        database.store.migrate().await.unwrap();
        database
            .execute(
                "create function slow() returns trigger language plpgsql as
                   $$ begin perform pg_sleep(2); return null; end $$;
                 create trigger slow before insert on calls execute function slow();",
            )
            .await;
        let dir = tempfile::tempdir().unwrap();
        let (sender, done) = start(&database.store, dir.path());
        for number in 0..600 {
            sender.send(Box::new(record(0, number))).unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let begun = Instant::now();
        drop(sender);
        assert_eq!(done.await.unwrap(), 0);
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());

        database.execute("drop trigger slow on calls").await;
        let (sender, done) = start(&database.store, dir.path());
        drop(sender);
        assert_eq!(done.await.unwrap(), 0);
        assert_eq!(database.count("calls").await, 600);
        assert_eq!(database.count("call_attempts").await, 600);
    });
}

#[test]
fn a_frozen_server_holds_nobody_up_for_long_and_is_used_again_once_it_is_thawed() {
    block_on(async {
        let database = Database::alone();
        let store = &database.store;
        store.migrate().await.unwrap();
        let mut watch = store.watch().await.unwrap();
        let server = database.server.clone().unwrap();
        server.freeze().unwrap();

        let begun = Instant::now();
        let batch = [call(1)];
        let (rows, written, health, told) = tokio::join!(
            store.read_rows(),
            store.write_calls(&batch),
            store.load_health("a"),
            watch.changed()
        );
        assert!(begun.elapsed() < Duration::from_secs(17), "{:?}", begun.elapsed());
        for error in [rows.err(), written.err(), health.err(), told.err()] {
            assert!(error.unwrap().is_unavailable());
        }
        let again = Instant::now();
        let error = store.ping().await.unwrap_err();
        assert!(again.elapsed() < Duration::from_secs(5), "{:?}", again.elapsed());
        assert!(error.to_string().contains("no answer in 4 s"), "{error}");

        server.thaw().unwrap();
        store.write_calls(&batch).await.unwrap();
        watch.changed().await.unwrap();
        assert_eq!(database.count("calls").await, 1);
    });
}

#[test]
fn work_that_is_given_up_leaves_no_connection_behind() {
    block_on(async {
        let database = Database::empty(StoreKind::Postgres);
        let store = &database.store;
        store.migrate().await.unwrap();
        let locked = lock_calls(&database.url);
        tokio::time::sleep(Duration::from_millis(500)).await;
        for number in 0..8 {
            let batch = [call(number)];
            let writing = store.write_calls(&batch);
            assert!(tokio::time::timeout(Duration::from_millis(200), writing).await.is_err());
        }
        let begun = Instant::now();
        store.ping().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        locked.await.unwrap();
    });
}

#[test]
fn more_work_than_connections_makes_a_slow_store_busy_and_not_away() {
    block_on(async {
        let database = Database::empty(StoreKind::Postgres);
        let store = database.store.clone();
        store.migrate().await.unwrap();
        let locked = lock_calls(&database.url);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let working: Vec<_> = (0..5)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move { store.write_calls(&[call(number)]).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let error = store.ping().await.unwrap_err();
        assert!(error.to_string().starts_with("the store is slow"), "{error}");
        assert!(error.is_unavailable());
        locked.await.unwrap();
        for work in working {
            work.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_full_disk_below_sqlite_and_spool_loses_no_record() {
    let Some(disk) = SmallDisk::mount() else { return };
    block_on(async {
        let url = format!("sqlite:{}", disk.path().join("holdfast.db").display());
        let store = Store::open(&url).unwrap();
        store.migrate().await.unwrap();
        let (sender, done) = start(&store, &disk.path().join("spool"));
        send(&sender, 0..100).await;
        disk.fill();
        // What its log has room for is written still.
        let mut more = 0;
        let error = loop {
            match store.write_calls(&[call((1 << 64) + more)]).await {
                Ok(()) => more += 1,
                Err(error) => break error,
            }
            assert!(more < 5_000, "the disk is full");
        };
        assert!(error.is_unavailable(), "{error}");
        assert!(error.to_string().contains("full"), "{error}");
        send(&sender, 100..1_000).await;
        disk.free();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        send(&sender, 1_000..1_100).await;
        drop(sender);
        assert_eq!(done.await.unwrap(), 0);
        assert_eq!(count(&url).await, 1_100 + i64::try_from(more).unwrap());
        store.close().await;
    });
}

#[test]
fn a_full_disk_below_the_spool_alone_keeps_nothing_from_the_store() {
    let Some(disk) = SmallDisk::mount() else { return };
    block_on(async {
        let database = Database::empty(StoreKind::Sqlite);
        database.store.migrate().await.unwrap();
        let (sender, done) = start(&database.store, disk.path());
        send(&sender, 0..100).await;
        disk.fill();
        send(&sender, 100..200).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(database.count("calls").await, 200, "from memory");
        disk.free();
        send(&sender, 200..300).await;
        drop(sender);
        assert_eq!(done.await.unwrap(), 0);
        assert_eq!(database.count("calls").await, 300);
    });
}

/// Nobody can write calls for the next four seconds.
fn lock_calls(url: &str) -> JoinHandle<()> {
    let url = url.to_owned();
    tokio::spawn(async move {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let lock = sqlx::raw_sql("begin; lock table calls; select pg_sleep(4)");
        lock.execute(&mut connection).await.unwrap();
    })
}

fn start(store: &Store, dir: &Path) -> (recorder::RecordSender, JoinHandle<usize>) {
    let spool = Spool::open(dir, 1 << 30, Duration::ZERO, Instant::now()).unwrap();
    recorder::start(store.clone(), spool, "a".to_owned(), 10_000)
}

async fn send(sender: &recorder::RecordSender, numbers: std::ops::Range<u64>) {
    for number in numbers {
        sender.send(Box::new(record(0, number))).unwrap();
        if number % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn count(url: &str) -> i64 {
    let mut connection = SqliteConnection::connect(url).await.unwrap();
    sqlx::query_scalar("select count(*) from calls").fetch_one(&mut connection).await.unwrap()
}

/// A disk of 16 MiB; unmounted when dropped.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, and said so, where the user may not mount.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(dir.path())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            println!("skipped: this user may not mount a small disk");
        }
        mounted.then_some(Self { dir })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// To the last octet.
    fn fill(&self) {
        let filled = std::fs::write(self.filler(), vec![0; 17 << 20]);
        assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
