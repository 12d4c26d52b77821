//! From the shards to the store: every record into the spool at once, and from there in batches into the store.
//!
//! | file | holds |
//! |---|---|
//! | `recorder.rs` | the ends for shards and server |
//! | `recorder/clerk.rs` | the one that keeps records and decides what is delivered next |
//! | `recorder/delivery.rs` | one batch, or one file of the spool, into the store |
//! | `recorder/samples.rs` | probe results, which may be lost |

mod clerk;
mod delivery;
mod samples;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::record::{StoredCall, StoredProbe};
use super::spool::Spool;
use crate::call::CallRecord;
use clerk::Clerk;

/// Records in one transaction at most.
const MAX_BATCH: usize = 500;
/// How long a batch for the store waits for more.
const LINGER: Duration = Duration::from_millis(50);
/// How often a store that was away is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the recorder needs of a store. Clones are the same store.
pub trait RecordStore: Clone + Send + Sync + 'static {
    /// Writes all of them, in one transaction, or none; each call once, however often it is given.
    fn write_calls(
        &self,
        calls: &[StoredCall],
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    fn write_probes(
        &self,
        probes: &[StoredProbe],
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// How often the store has become another one, which may not have the last of what this one took.
    fn moves(&self) -> u64;
}

/// Why a batch was not written; nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Worth trying again later.
    #[error("the store is away: {0}")]
    Away(String),
    /// The store will never take it as it is.
    #[error("the store refuses it: {0}")]
    Refused(String),
}

/// The shards' end.
#[derive(Clone, Debug)]
pub struct RecordSender {
    calls: mpsc::Sender<Box<CallRecord>>,
    probes: mpsc::Sender<StoredProbe>,
}

impl RecordSender {
    /// Gives the record back when there is no room. Never waits.
    pub fn send(&self, record: Box<CallRecord>) -> Result<(), Box<CallRecord>> {
        self.calls.try_send(record).map_err(|error| match error {
            mpsc::error::TrySendError::Full(record) | mpsc::error::TrySendError::Closed(record) => {
                record
            }
        })
    }

    /// Drops the result when there is no room.
    pub fn send_probe(&self, probe: StoredProbe) {
        let _ = self.probes.try_send(probe);
    }
}

/// Starts the recorder; it ends, with everything written or spooled, once every sender is dropped.
/// Gives how many records it could keep nowhere.
pub fn start<S: RecordStore>(
    store: S,
    spool: Spool,
    node: String,
    queue_len: usize,
) -> (RecordSender, JoinHandle<usize>) {
    let (calls, call_queue) = mpsc::channel(queue_len);
    let (probes, probe_queue) = mpsc::channel(samples::QUEUE_LEN);
    let is_behind = Arc::new(AtomicBool::new(false));
    let samples = tokio::spawn(samples::run(store.clone(), probe_queue, is_behind.clone()));
    let clerk = Clerk::new(store, spool, node, is_behind, Instant::now());
    let runtime = Handle::current();
    let recorder = tokio::task::spawn_blocking(move || {
        let lost = runtime.block_on(clerk.run(call_queue));
        samples.abort();
        lost
    });
    (RecordSender { calls, probes }, recorder)
}
