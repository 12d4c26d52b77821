use std::sync::{Arc, Mutex};

use super::*;
use crate::store::record::testing::call;

/// A store in memory that can be away, and that refuses a call by its number.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_away: bool,
    refused: Vec<uuid::Uuid>,
    written: Vec<StoredCall>,
    batches: usize,
}

impl RecordStore for Fake {
    async fn write_calls(&self, calls: &[StoredCall]) -> Result<(), WriteError> {
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

    async fn write_probes(&self, _: &[StoredProbe]) -> Result<(), WriteError> {
        Ok(())
    }
}

impl Fake {
    fn set_away(&self, is_away: bool) {
        self.0.lock().unwrap().is_away = is_away;
    }

    fn written(&self) -> usize {
        self.0.lock().unwrap().written.len()
    }
}

fn recorder(store: &Fake, dir: &std::path::Path, spool_octets: u64) -> Recorder<Fake> {
    let (_, call_queue) = mpsc::channel(1);
    let (_, probe_queue) = mpsc::channel(1);
    Recorder {
        store: store.clone(),
        spool: Spool::open(dir, spool_octets).unwrap(),
        node: "a".to_owned(),
        call_queue,
        probe_queue,
        held: Vec::new(),
        is_away: false,
        try_again_at: None,
    }
}

fn calls(numbers: std::ops::Range<u64>) -> Vec<StoredCall> {
    numbers.map(call).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn writes_a_batch_in_one_go_while_the_store_is_there() {
    let (store, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    let mut recorder = recorder(&store, dir.path(), 1 << 20);
    recorder.take(calls(0..300)).await;
    assert_eq!((store.written(), store.0.lock().unwrap().batches), (300, 1));
    assert!(recorder.spool.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn spools_while_the_store_is_away_and_catches_up_once_it_is_back() {
    let (store, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    let mut recorder = recorder(&store, dir.path(), 1 << 20);
    store.set_away(true);
    recorder.take(calls(0..10)).await;
    recorder.take(calls(10..20)).await;
    assert!(recorder.held.is_empty() && !recorder.spool.is_empty());
    store.set_away(false);
    recorder.take(calls(20..30)).await;
    assert_eq!(store.written(), 0, "what is spooled goes first");
    recorder.try_again_at = None;
    recorder.catch_up().await;
    assert_eq!(store.written(), 30);
    assert!(recorder.spool.is_empty() && !recorder.is_away);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn does_not_ask_a_store_that_is_away_for_every_record() {
    let (store, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    let mut recorder = recorder(&store, dir.path(), 1 << 20);
    store.set_away(true);
    recorder.take(calls(0..1)).await;
    store.set_away(false);
    recorder.catch_up().await;
    assert_eq!(store.written(), 0, "it is not yet time to try again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn keeps_one_refused_record_aside_and_writes_all_others() {
    let (store, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    store.0.lock().unwrap().refused.push(call(13).call_id);
    let mut recorder = recorder(&store, dir.path(), 1 << 20);
    recorder.take(calls(0..100)).await;
    assert_eq!(store.written(), 99);
    assert!(!recorder.is_away);
    let aside = std::fs::read_to_string(dir.path().join("refused.jsonl")).unwrap();
    assert!(aside.contains("call-13") && aside.lines().count() == 1, "{aside}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn keeps_records_in_memory_when_the_spool_is_full_too() {
    let (store, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    let mut recorder = recorder(&store, dir.path(), 10);
    store.set_away(true);
    recorder.take(calls(0..10)).await;
    assert_eq!(recorder.held.len(), 10);
    store.set_away(false);
    recorder.try_again_at = None;
    recorder.catch_up().await;
    assert_eq!((store.written(), recorder.held.len()), (10, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn writes_what_an_earlier_run_has_spooled() {
    let (store, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    Spool::open(dir.path(), 1 << 20).unwrap().append(&calls(0..3)).unwrap();
    let spool = Spool::open(dir.path(), 1 << 20).unwrap();
    let (sender, task) = start(store.clone(), spool, "a".to_owned(), 10);
    drop(sender);
    assert_eq!(task.await.unwrap(), 0);
    assert_eq!(store.written(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn says_at_its_end_how_many_records_are_lost() {
    let (store, dir) = (Fake::default(), tempfile::tempdir().unwrap());
    let mut recorder = recorder(&store, dir.path(), 10);
    store.set_away(true);
    recorder.take(calls(0..4)).await;
    assert_eq!(recorder.finish().await, 4);
}
