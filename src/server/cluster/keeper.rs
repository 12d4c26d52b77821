//! Answered calls on their way to the store: what has come in while one statement ran goes out with the next.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Answer, Kept, KeptState, OWNED_MARGIN, command};
use crate::call::CallKey;
use crate::engine::Command;
use crate::shard::ShardHandle;
use crate::store::answered::{KeptCall, LEASE_LIMIT, Lease};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics;

/// Calls in one statement at most.
const MAX_BATCH: usize = 500;
/// How long the store may take; then answers wait for it no more.
const LIMIT: Duration = Duration::from_secs(2);
/// Statements begin no oftener: what comes meanwhile shares the next one. Answers wait as long at most, and not at all
/// while few calls come.
const KEEP_EVERY: Duration = Duration::from_millis(4);
/// How often a store that was away is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Keeper {
    pub(super) store: Store,
    pub(super) lease: Lease,
    pub(super) shards: Vec<ShardHandle>,
    pub(super) queue: mpsc::Receiver<Kept>,
    pub(super) is_keeping: Arc<AtomicBool>,
    pub(super) answers: mpsc::Sender<Answer>,
}

impl Keeper {
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        let mut keep_at = tokio::time::Instant::now();
        while self.queue.recv_many(&mut batch, MAX_BATCH).await > 0 {
            tokio::time::sleep_until(keep_at).await;
            keep_at = tokio::time::Instant::now() + KEEP_EVERY;
            while batch.len() < MAX_BATCH
                && let Ok(kept) = self.queue.try_recv()
            {
                batch.push(kept);
            }
            let asked: Vec<(usize, CallKey)> =
                batch.iter().map(|kept| (kept.shard, kept.call)).collect();
            if let Err(error) = self.keep(std::mem::take(&mut batch)).await {
                self.forget(asked).await;
                self.wait_for_store(&error).await;
            }
        }
    }

    /// Tells shards that these are not kept as they are now.
    async fn forget(&self, asked: Vec<(usize, CallKey)>) {
        let mut by_shard: BTreeMap<usize, Vec<CallKey>> = BTreeMap::new();
        for (shard, call) in asked {
            by_shard.entry(shard).or_default().push(call);
        }
        for (shard, calls) in by_shard {
            command(&self.shards[shard], Command::NotKept(calls)).await;
        }
    }

    async fn keep(&self, batch: Vec<Kept>) -> Result<(), StoreError> {
        let begun = Instant::now();
        // Of a call that stands twice in it, the later state counts.
        let mut states: HashMap<(usize, CallKey), KeptCall> = HashMap::new();
        for kept in batch {
            let call = match kept.state {
                KeptState::Answered(replica) => KeptCall::new(*replica),
                KeptState::Ringing(replica) => KeptCall::ringing(*replica),
            };
            if let Some(call) = call {
                states.insert((kept.shard, kept.call), call);
            }
        }
        let (keys, calls): (Vec<_>, Vec<_>) = states.into_iter().unzip();
        let keeping = self.store.keep(&self.lease, &calls);
        let timed_out = |_| StoreError::TimedOut(LIMIT);
        let kept = tokio::time::timeout(LIMIT, keeping).await.map_err(timed_out)??;
        metrics::kept(kept.len(), begun.elapsed());
        let mut by_shard: BTreeMap<(usize, Told), Vec<CallKey>> = BTreeMap::new();
        for ((shard, key), call) in keys.into_iter().zip(&calls) {
            let told = match (kept.contains(&call.call_id), call.answered_at) {
                (true, Some(_)) => Told::Kept,
                (true, None) => Told::RingingKept,
                // The store takes it from its owner alone, and from nobody once it is over.
                (false, _) => Told::Lost,
            };
            by_shard.entry((shard, told)).or_default().push(key);
        }
        for ((shard, told), calls) in by_shard {
            let told = match told {
                Told::Kept => Command::Kept(calls),
                Told::RingingKept => Command::RingingKept(calls),
                Told::Lost => Command::Lost(calls),
            };
            command(&self.shards[shard], told).await;
        }
        if begun.elapsed() >= LEASE_LIMIT / 2 {
            // Meanwhile somebody may have taken what was kept, and an earlier look at it may not have counted it.
            let answers = self.answers.clone();
            tokio::spawn(async move {
                tokio::time::sleep(2 * OWNED_MARGIN).await;
                let _ = answers.send(Answer::KeptLate).await;
            });
        }
        Ok(())
    }

    /// Answers do not wait meanwhile; what they would have waited for is asked for again at the end.
    async fn wait_for_store(&mut self, error: &StoreError) {
        tracing::warn!(%error, "calls are not kept: should this node die now, they die with it");
        self.is_keeping.store(false, Ordering::Relaxed);
        metrics::keeping(false);
        loop {
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
            let mut left = Vec::new();
            while let Ok(kept) = self.queue.try_recv() {
                left.push((kept.shard, kept.call));
            }
            self.forget(left).await;
            let ping = tokio::time::timeout(LIMIT, self.store.ping());
            if ping.await.is_ok_and(|pinged| pinged.is_ok()) {
                break;
            }
        }
        self.is_keeping.store(true, Ordering::Relaxed);
        metrics::keeping(true);
        tracing::info!("calls are kept again");
        keep_missing(&self.shards);
    }
}

/// Has every shard ask again for what is missing in the store.
pub(super) fn keep_missing(shards: &[ShardHandle]) {
    let shards = shards.to_vec();
    tokio::spawn(async move {
        // Each time some: until every shard has asked for all of its calls.
        for _ in 0..MISSING_ROUNDS {
            for shard in &shards {
                shard.command(Command::KeepMissing);
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    });
}

/// What has become of a call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Kept,
    RingingKept,
    Lost,
}

/// Rounds of a thousand calls of each shard.
const MISSING_ROUNDS: u32 = 60;
