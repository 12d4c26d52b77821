use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::clerk::ended;
use super::*;
use crate::store::record::testing::call;

const MIB: u64 = 1 << 20;

/// A store in memory that can be away, hang, move, and refuse a call by its number.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_away: bool,
    is_hanging: bool,
    moves: u64,
    refused: Vec<uuid::Uuid>,
    written: Vec<StoredCall>,
    batches: usize,
    probes: usize,
}

impl RecordStore for Fake {
    async fn write_calls(&self, calls: &[StoredCall]) -> Result<(), WriteError> {
        while self.0.lock().unwrap().is_hanging {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut state = self.0.lock().unwrap();
        if state.is_away {
            return Err(WriteError::Away("stopped".to_owned()));
        }
        if calls.iter().any(|call| state.refused.contains(&call.call_id)) {
            return Err(WriteError::Refused("bad".to_owned()));
        }
        state.batches += 1;
        for call in calls {
            if !state.written.iter().any(|known| known.call_id == call.call_id) {
                state.written.push(call.clone());
            }
        }
        Ok(())
    }

    async fn write_probes(&self, probes: &[StoredProbe]) -> Result<(), WriteError> {
        self.0.lock().unwrap().probes += probes.len();
        Ok(())
    }

    fn moves(&self) -> u64 {
        self.0.lock().unwrap().moves
    }
}

impl Fake {
    fn set_away(&self, is_away: bool) {
        self.0.lock().unwrap().is_away = is_away;
    }

    fn set_hanging(&self, is_hanging: bool) {
        self.0.lock().unwrap().is_hanging = is_hanging;
    }

    /// Another server takes its place, which has nothing of it.
    fn lose_everything(&self) {
        let mut state = self.0.lock().unwrap();
        state.moves += 1;
        state.written.clear();
    }

    fn written(&self) -> usize {
        self.0.lock().unwrap().written.len()
    }

    fn is_in_order(&self) -> bool {
        self.0.lock().unwrap().written.is_sorted_by_key(|call| call.call_id)
    }
}

fn clerk(store: &Fake, dir: &std::path::Path, octets: u64, now: Instant) -> Clerk<Fake> {
    let keep = Duration::from_secs(60);
    let spool = Spool::open(dir, octets, keep, now).unwrap();
    Clerk::new(store.clone(), spool, "a".to_owned(), Arc::default(), now)
}

/// Lets everything be delivered that is due.
async fn settle(clerk: &mut Clerk<Fake>, now: Instant) {
    clerk.act(now);
    while clerk.delivery.is_some() {
        let delivered = ended(&mut clerk.delivery).await;
        clerk.note(delivered, now);
        clerk.act(now);
    }
}

fn calls(numbers: std::ops::Range<u64>) -> Vec<StoredCall> {
    numbers.map(call).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_record_is_on_disk_before_the_store_is_asked() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let mut clerk = clerk(&store, dir.path(), MIB, now);
    clerk.keep(calls(0..3), now);
    assert_eq!(store.written(), 0);
    let killed = Spool::open(dir.path(), MIB, Duration::ZERO, now).unwrap();
    assert!(killed.waiting_octets() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn writes_a_batch_in_one_go_while_the_store_is_there() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let mut clerk = clerk(&store, dir.path(), MIB, now);
    clerk.keep(calls(0..300), now);
    settle(&mut clerk, now).await;
    assert_eq!(store.written(), 0, "it waits for more");
    settle(&mut clerk, now + LINGER).await;
    assert_eq!((store.written(), store.0.lock().unwrap().batches), (300, 1));
    assert_eq!(clerk.spool.waiting_octets(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn leaves_records_in_the_spool_while_the_store_is_away_and_catches_up_in_order() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let mut clerk = clerk(&store, dir.path(), 64 * MIB, now);
    store.set_away(true);
    clerk.keep(calls(0..10), now);
    settle(&mut clerk, now + LINGER).await;
    assert!(clerk.is_away && clerk.held.is_empty());
    clerk.keep(calls(10..5_000), now + LINGER);
    store.set_away(false);
    settle(&mut clerk, now + LINGER).await;
    assert_eq!(store.written(), 0, "it is not yet time to try again");
    let later = now + LINGER + TRY_AGAIN_AFTER;
    settle(&mut clerk, later).await;
    clerk.keep(calls(5_000..5_010), later);
    settle(&mut clerk, later + LINGER).await;
    assert_eq!(store.written(), 5_010);
    assert!(store.is_in_order());
    assert!(clerk.spool.waiting_octets() == 0 && !clerk.is_away);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn keeps_records_while_the_store_hangs() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let mut clerk = clerk(&store, dir.path(), MIB, now);
    store.set_hanging(true);
    clerk.keep(calls(0..10), now);
    clerk.act(now + LINGER);
    assert!(clerk.delivery.is_some());
    let before = clerk.spool.end();
    clerk.keep(calls(10..20), now + LINGER);
    assert!(clerk.spool.end() > before, "nobody waits for the store");
    store.set_hanging(false);
    settle(&mut clerk, now + 2 * LINGER).await;
    assert_eq!(store.written(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sends_again_what_a_new_database_may_not_have_got() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let mut clerk = clerk(&store, dir.path(), MIB, now);
    clerk.keep(calls(0..10), now);
    settle(&mut clerk, now + LINGER).await;
    assert_eq!(store.written(), 10);
    store.lose_everything();
    clerk.keep(calls(10..20), now + LINGER);
    settle(&mut clerk, now + 2 * LINGER).await;
    assert_eq!(store.written(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn believes_no_answer_of_a_database_that_was_left_meanwhile() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let mut clerk = clerk(&store, dir.path(), MIB, now);
    clerk.keep(calls(0..10), now);
    clerk.act(now + LINGER);
    let delivered = ended(&mut clerk.delivery).await;
    store.lose_everything();
    clerk.note(delivered, now + LINGER);
    settle(&mut clerk, now + 2 * LINGER).await;
    assert_eq!(store.written(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn keeps_one_refused_record_aside_once_and_writes_all_others() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    store.0.lock().unwrap().refused.push(call(13).call_id);
    let mut clerk = clerk(&store, dir.path(), MIB, now);
    clerk.keep(calls(0..100), now);
    settle(&mut clerk, now + LINGER).await;
    assert_eq!(store.written(), 99);
    assert!(!clerk.is_away);
    store.lose_everything();
    settle(&mut clerk, now + 2 * LINGER).await;
    assert_eq!(store.written(), 99);
    let aside = std::fs::read_to_string(dir.path().join("refused.jsonl")).unwrap();
    assert!(aside.contains("call-13") && aside.lines().count() == 1, "{aside}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn keeps_a_refused_record_aside_later_when_the_disk_does_not_take_it_now() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    store.0.lock().unwrap().refused.push(call(1).call_id);
    let mut clerk = clerk(&store, dir.path(), MIB, now);
    let aside = dir.path().join("refused.jsonl");
    std::fs::create_dir(&aside).unwrap();
    clerk.keep(calls(0..3), now);
    settle(&mut clerk, now + LINGER).await;
    assert_eq!(store.written(), 2);
    std::fs::remove_dir(&aside).unwrap();
    settle(&mut clerk, now + Duration::from_secs(5)).await;
    assert!(std::fs::read_to_string(&aside).unwrap().contains("call-1"));
    assert_eq!(clerk.finish().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn keeps_records_in_memory_when_the_spool_is_full_and_writes_them_from_there() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let mut clerk = clerk(&store, dir.path(), 10, now);
    store.set_away(true);
    clerk.keep(calls(0..10), now);
    settle(&mut clerk, now + LINGER).await;
    assert_eq!(clerk.held.len(), 10);
    store.set_away(false);
    settle(&mut clerk, now + LINGER + TRY_AGAIN_AFTER).await;
    assert_eq!((store.written(), clerk.held.len()), (10, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_torn_line_stops_nothing_behind_it() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let mut spool = Spool::open(dir.path(), MIB, Duration::ZERO, now).unwrap();
    spool.append(&calls(0..3), now).unwrap();
    let path = spool.waiting().unwrap().path;
    spool.append(&calls(3..6), now).unwrap();
    let octets = std::fs::read(&path).unwrap();
    std::fs::write(&path, &octets[..octets.len() - 7]).unwrap();
    let mut clerk = clerk(&store, dir.path(), MIB, now);
    settle(&mut clerk, now).await;
    assert_eq!(store.written(), 5);
    assert_eq!(clerk.finish().await, 0);
    assert!(path.with_extension("unreadable").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn samples_have_no_place_while_records_wait() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let is_behind = Arc::new(AtomicBool::new(false));
    let spool = Spool::open(dir.path(), MIB, Duration::ZERO, now).unwrap();
    let mut clerk = Clerk::new(store.clone(), spool, "a".to_owned(), is_behind.clone(), now);
    let (sender, queue) = mpsc::channel(10);
    let samples = tokio::spawn(samples::run(store.clone(), queue, is_behind.clone()));
    let probe = StoredProbe {
        node: "a".to_owned(),
        gateway_id: 1,
        address: "192.0.2.1/32".parse().unwrap(),
        port: 5060,
        ended_at: time::OffsetDateTime::UNIX_EPOCH,
        status_code: None,
        delay_ms: 1.0,
    };
    store.set_away(true);
    clerk.keep(calls(0..1), now);
    settle(&mut clerk, now + LINGER).await;
    assert!(is_behind.load(Ordering::Relaxed));
    sender.send(probe.clone()).await.unwrap();
    tokio::time::sleep(3 * LINGER).await;
    store.set_away(false);
    settle(&mut clerk, now + LINGER + TRY_AGAIN_AFTER).await;
    assert!(!is_behind.load(Ordering::Relaxed));
    sender.send(probe).await.unwrap();
    drop(sender);
    samples.await.unwrap();
    assert_eq!(store.0.lock().unwrap().probes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn writes_what_an_earlier_run_has_spooled() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let open = || Spool::open(dir.path(), MIB, Duration::ZERO, now).unwrap();
    open().append(&calls(0..3), now).unwrap();
    let (sender, task) = start(store.clone(), open(), "a".to_owned(), 10);
    drop(sender);
    assert_eq!(task.await.unwrap(), 0);
    assert_eq!(store.written(), 3);
    assert_eq!(open().waiting_octets(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn leaves_everything_in_the_spool_when_it_ends_while_the_store_hangs() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    store.set_hanging(true);
    let mut clerk = clerk(&store, dir.path(), MIB, now);
    clerk.keep(calls(0..4), now);
    let begun = Instant::now();
    assert_eq!(clerk.finish().await, 0);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(Spool::open(dir.path(), MIB, Duration::ZERO, now).unwrap().waiting_octets() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn gives_the_last_records_to_a_database_found_while_it_ends() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let mut clerk = clerk(&store, dir.path(), MIB, now);
    store.set_away(true);
    clerk.keep(calls(0..10), now);
    settle(&mut clerk, now + LINGER).await;
    assert!(clerk.is_away);
    store.set_away(false);
    clerk.keep(calls(10..20), now);
    clerk.act(now + TRY_AGAIN_AFTER + LINGER);
    // The move is noticed only after the first of them has been taken.
    tokio::time::timeout(Duration::from_secs(5), async {
        while store.written() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    store.lose_everything();
    assert_eq!(clerk.finish().await, 0);
    assert_eq!(store.written(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn says_at_its_end_how_many_records_are_lost() {
    let (store, dir, now) = (Fake::default(), tempfile::tempdir().unwrap(), Instant::now());
    let mut clerk = clerk(&store, dir.path(), 10, now);
    store.set_away(true);
    clerk.keep(calls(0..4), now);
    assert_eq!(clerk.finish().await, 4);
}
