//! A process that dies at any moment loses no record that it had put on disk, and doubles none.
//!
//! The test starts itself again as the process to be killed: [`feeder`].

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use holdfast::call::{AttemptRecord, CallRecord, EndCause, EndedBy};
use holdfast::carrier::{Action, CarrierId, Class, GatewayId, Origin, Stage};
use holdfast::random::Random;
use holdfast::store::spool::Spool;
use holdfast::store::{Store, StoreKind, recorder};
use holdfast::telemetry::metrics;
use uuid::Uuid;

use crate::database::{Database, block_on};

const ROUNDS: u64 = 24;
const URL: &str = "HOLDFAST_FEEDER_URL";
const DIR: &str = "HOLDFAST_FEEDER_DIR";
const ROUND: &str = "HOLDFAST_FEEDER_ROUND";
const SPOOL_OCTETS: u64 = 1 << 30;

#[test]
fn no_record_is_lost_or_doubled_by_kills_on_sqlite() {
    block_on(kill_again_and_again(StoreKind::Sqlite));
}

#[test]
fn no_record_is_lost_or_doubled_by_kills_on_postgres() {
    block_on(kill_again_and_again(StoreKind::Postgres));
}

async fn kill_again_and_again(kind: StoreKind) {
    let database = Database::empty(kind);
    database.store.migrate().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(7);
    let mut kept = Vec::new();
    for round in 0..ROUNDS {
        // Every third process finds no store, and leaves everything in the spool.
        let url = match (round % 3, kind) {
            (2, StoreKind::Sqlite) => "sqlite:/nowhere/at/all.db",
            (2, StoreKind::Postgres) => "postgres://postgres@127.0.0.1:1/none",
            _ => &database.url,
        };
        let feeding = Feeder::start(url, dir.path(), round);
        kept.push(feeding.killed_after(Duration::from_micros(random.below(300_000))));
    }
    assert!(kept.iter().sum::<u64>() > 1_000, "something flowed: {kept:?}");

    let spool = spool(dir.path(), kind);
    let (sender, done) = recorder::start(database.store.clone(), spool, "a".to_owned(), 100);
    drop(sender);
    assert_eq!(done.await.unwrap(), 0);
    let spool_after =
        Spool::open(dir.path(), SPOOL_OCTETS, Duration::ZERO, Instant::now()).unwrap();
    assert_eq!(spool_after.waiting_octets(), 0);

    // A call that stood twice would break the key; its attempts would stand out.
    assert_eq!(database.count("calls").await, database.count("call_attempts").await);
    let stored = database.columns(&["inbound_call_id"], "calls").await;
    let stored: std::collections::HashSet<_> = stored.into_iter().flatten().collect();
    for (round, kept) in (0..).zip(kept) {
        for number in 0..kept {
            assert!(stored.contains(&header(round, number)), "{number} of {kept} in round {round}");
        }
    }
}

/// The process that is killed, and how many records it has said to be on disk.
struct Feeder {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Feeder {
    fn start(url: &str, dir: &Path, round: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "kill::feeder"])
            .env(URL, url)
            .env(DIR, dir)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Counted from the first record on.
    fn killed_after(mut self, time: Duration) -> u64 {
        let count = |line: std::io::Result<String>| line.ok()?.strip_prefix("kept ")?.parse().ok();
        let first = self.lines.by_ref().find_map(count).expect("it keeps something");
        std::thread::sleep(time);
        // SIGKILL.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.filter_map(count).last().unwrap_or(first)
    }
}

#[test]
#[ignore = "no test: the process that the others kill"]
fn feeder() {
    let (Ok(url), Ok(dir), Ok(round)) =
        (std::env::var(URL), std::env::var(DIR), std::env::var(ROUND))
    else {
        return;
    };
    let metrics = metrics::start();
    block_on(async {
        let store = Store::open(&url).unwrap();
        let spool = spool(Path::new(&dir), store.kind());
        let (sender, _) = recorder::start(store, spool, "a".to_owned(), 1_000);
        for number in 0.. {
            // Without room it waits, as a shard does.
            let mut record = Box::new(record(round.parse().unwrap(), number));
            while let Err(back) = sender.send(record) {
                record = back;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if number % 4 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let text = metrics.render();
                let kept =
                    text.lines().find_map(|it| it.strip_prefix("holdfast_records_spooled_total "));
                println!("kept {}", kept.unwrap_or("0"));
            }
        }
    });
}

fn spool(dir: &Path, kind: StoreKind) -> Spool {
    let keep = match kind {
        StoreKind::Sqlite => Duration::ZERO,
        StoreKind::Postgres => Duration::from_secs(60),
    };
    Spool::open(dir, SPOOL_OCTETS, keep, Instant::now()).unwrap()
}

fn header(round: u64, number: u64) -> String {
    format!("{round}-{number}")
}

/// A call of one attempt.
pub(crate) fn record(round: u64, number: u64) -> CallRecord {
    let now = SystemTime::now();
    CallRecord {
        call_id: Uuid::from_u64_pair(round, number),
        customer: None,
        route_id: None,
        region: None,
        calling: "100".to_owned(),
        called: "200".to_owned(),
        country: None,
        source: "192.0.2.1:5060".parse().unwrap(),
        inbound_call_id: header(round, number),
        started_at: now,
        ringing_at: None,
        answered_at: Some(now),
        ended_at: now,
        status_code: 200,
        end_cause: EndCause::Completed,
        ended_by: EndedBy::Caller,
        detail: String::new(),
        attempts: vec![AttemptRecord {
            carrier_id: CarrierId(1),
            carrier: "c".into(),
            gateway_id: GatewayId(1),
            gateway: "g".into(),
            address: "192.0.2.2:5060".parse().unwrap(),
            outbound_call_id: header(round, number),
            started_at: now,
            trying_ms: Some(1),
            ringing_ms: None,
            ended_ms: 2,
            origin: Origin::Remote,
            stage: Stage::Ringing,
            status_code: 200,
            reason: "OK".to_owned(),
            class: Class::Answered,
            action: Action::Stop,
            failure_rule_id: None,
            failure_rule: None,
            weight: 0.0,
            late_answer: false,
            transferred_to: None,
        }],
        plan: None,
        earlier_decision: None,
        taken_from: None,
    }
}
