//! From the shards to the store: records in batches, through the spool while the store is away.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, block_in_place};

use super::record::{StoredCall, StoredProbe};
use super::spool::{Segment, Spool};
use crate::call::CallRecord;
use crate::telemetry::metrics;

/// Records in one transaction at most.
const MAX_BATCH: usize = 500;
/// How long a batch waits for more.
const LINGER: Duration = Duration::from_millis(50);
/// How often a store that was away is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Records kept in memory when neither store nor spool takes them; then the queues fill.
const MAX_HELD: usize = 20_000;
/// Probe results that wait; more are dropped, since the next probe tells as much.
const PROBE_QUEUE_LEN: usize = 4_096;

/// What the recorder needs of a store.
pub trait RecordStore: Send + 'static {
    /// Writes each call once, however often it is given.
    fn write_calls(
        &self,
        calls: &[StoredCall],
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    fn write_probes(
        &self,
        probes: &[StoredProbe],
    ) -> impl Future<Output = Result<(), WriteError>> + Send;
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
    let (probes, probe_queue) = mpsc::channel(PROBE_QUEUE_LEN);
    let recorder = Recorder {
        store,
        spool,
        node,
        call_queue,
        probe_queue,
        held: Vec::new(),
        is_away: false,
        try_again_at: None,
    };
    (RecordSender { calls, probes }, tokio::spawn(recorder.run()))
}

struct Recorder<S> {
    store: S,
    spool: Spool,
    node: String,
    call_queue: mpsc::Receiver<Box<CallRecord>>,
    probe_queue: mpsc::Receiver<StoredProbe>,
    /// What neither store nor spool has taken.
    held: Vec<StoredCall>,
    is_away: bool,
    try_again_at: Option<Instant>,
}

impl<S: RecordStore> Recorder<S> {
    async fn run(mut self) -> usize {
        metrics::store_up(true);
        if !self.spool.is_empty() {
            tracing::info!(
                octets = self.spool.octets(),
                "records of an earlier run wait in the spool"
            );
        }
        let mut records = Vec::new();
        let mut probes = Vec::new();
        let mut is_open = true;
        while is_open {
            let room = MAX_BATCH.min(MAX_HELD - self.held.len());
            tokio::select! {
                count = self.call_queue.recv_many(&mut records, room), if room > 0 => {
                    is_open = count > 0;
                    if is_open && count < room {
                        tokio::time::sleep(LINGER).await;
                        while records.len() < room
                            && let Ok(record) = self.call_queue.try_recv()
                        {
                            records.push(record);
                        }
                    }
                }
                Some(probe) = self.probe_queue.recv() => {
                    probes.push(probe);
                    tokio::time::sleep(LINGER).await;
                    while probes.len() < MAX_BATCH
                        && let Ok(probe) = self.probe_queue.try_recv()
                    {
                        probes.push(probe);
                    }
                }
                () = tokio::time::sleep(TRY_AGAIN_AFTER) => {}
            }
            records.iter().for_each(|record| metrics::call(record));
            let batch: Vec<StoredCall> =
                records.drain(..).map(|record| StoredCall::new(&self.node, &record)).collect();
            self.take(batch).await;
            self.catch_up().await;
            self.write_probes(&mut probes).await;
            metrics::spooled(self.spool.octets());
        }
        self.finish().await
    }

    /// To the store, unless records wait for it already.
    async fn take(&mut self, mut batch: Vec<StoredCall>) {
        if batch.is_empty() {
            return;
        }
        let is_waiting = self.is_away || !self.spool.is_empty() || !self.held.is_empty();
        if !is_waiting && self.write(&batch).await {
            return;
        }
        self.held.append(&mut batch);
        self.spool_held();
    }

    fn spool_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        match block_in_place(|| self.spool.append(&self.held)) {
            Ok(()) => self.held.clear(),
            Err(error) => {
                tracing::error!(%error, held = self.held.len(),
                    "records can be written neither to the store nor to the spool; kept in memory");
            }
        }
    }

    /// Writes what waits, a file of the spool at a time, so that new records are not kept waiting.
    async fn catch_up(&mut self) {
        let is_due = self.try_again_at.is_none_or(|at| at <= Instant::now());
        if !is_due || (self.spool.is_empty() && self.held.is_empty()) {
            return;
        }
        self.try_again_at = None;
        match block_in_place(|| self.spool.oldest()) {
            Ok(Some(segment)) => self.write_segment(&segment).await,
            Ok(None) => {
                let held = std::mem::take(&mut self.held);
                if !self.write(&held).await {
                    self.held = held;
                    self.spool_held();
                }
            }
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                self.try_again_at = Some(Instant::now() + TRY_AGAIN_AFTER);
            }
        }
    }

    async fn write_segment(&mut self, segment: &Segment) {
        for batch in segment.calls.chunks(MAX_BATCH) {
            if !self.write(batch).await {
                return;
            }
        }
        if segment.unreadable > 0 {
            tracing::error!(file = %segment.path.display(), lines = segment.unreadable,
                "lines of the spool are torn; the file is kept with the ending .unreadable");
        }
        match block_in_place(|| self.spool.done(segment)) {
            Ok(()) => {
                tracing::info!(records = segment.calls.len(), "spooled records are in the store")
            }
            Err(error) => tracing::error!(%error, "a file of the spool cannot be removed"),
        }
    }

    /// `false` when the store is away. What it refuses is kept aside, and counts as done.
    async fn write(&mut self, batch: &[StoredCall]) -> bool {
        let begun = Instant::now();
        match self.store.write_calls(batch).await {
            Ok(()) => {
                self.note_store(None);
                metrics::records_written(batch.len(), begun.elapsed());
                true
            }
            Err(WriteError::Away(error)) => {
                self.note_store(Some(&error));
                false
            }
            Err(WriteError::Refused(error)) => match batch {
                [one] => {
                    self.set_aside(one, &error);
                    true
                }
                // One of them is the cause: the others must not suffer for it.
                many => {
                    let (left, right) = many.split_at(many.len() / 2);
                    Box::pin(self.write(left)).await && Box::pin(self.write(right)).await
                }
            },
        }
    }

    fn set_aside(&self, call: &StoredCall, error: &str) {
        metrics::records_refused(1);
        tracing::error!(call.id = %call.call_id, error,
            "the store refuses a record; it is kept in refused.jsonl of the spool folder");
        if let Err(error) = block_in_place(|| self.spool.set_aside(call)) {
            tracing::error!(call.id = %call.call_id, %error, "nor can it be kept there");
        }
    }

    fn note_store(&mut self, error: Option<&str>) {
        metrics::store_up(error.is_none());
        self.try_again_at = error.map(|_| Instant::now() + TRY_AGAIN_AFTER);
        let was_away = std::mem::replace(&mut self.is_away, error.is_some());
        match error {
            Some(error) if !was_away => {
                tracing::warn!(error, "the store is away; records go to the spool");
            }
            None if was_away => tracing::info!("the store is back"),
            Some(_) | None => {}
        }
    }

    async fn write_probes(&mut self, probes: &mut Vec<StoredProbe>) {
        if probes.is_empty() {
            return;
        }
        if !self.is_away
            && let Err(error) = self.store.write_probes(probes).await
        {
            tracing::debug!(%error, "probe results are not stored");
        }
        probes.clear();
    }

    /// The last records: to the store, else to the spool.
    async fn finish(mut self) -> usize {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() && !self.write(&held).await {
            self.held = held;
            self.spool_held();
        }
        while !self.is_away && !self.spool.is_empty() {
            self.try_again_at = None;
            self.catch_up().await;
        }
        metrics::spooled(self.spool.octets());
        if !self.held.is_empty() {
            tracing::error!(
                lost = self.held.len(),
                "records are lost: neither store nor spool took them"
            );
        }
        self.held.len()
    }
}

#[cfg(test)]
mod tests;
