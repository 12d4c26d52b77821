//! The one that keeps records, on a thread of its own, for the disk may make it wait. It waits for nobody else: what the
//! store does is done beside it ([`super::delivery`]).
//!
//! A record is on disk a few milliseconds after its call has ended. While the store is there, it is written from memory,
//! and the spool is never read. Whatever does not fit into memory, or was given to a store that then was away, is read
//! back: files first, the oldest first, so that everything arrives in its order.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::super::record::StoredCall;
use super::super::spool::Spool;
use super::delivery::{Delivered, Load, Outcome, deliver};
use super::{LINGER, MAX_BATCH, RecordStore, TRY_AGAIN_AFTER};
use crate::call::CallRecord;
use crate::telemetry::metrics;

/// Records are put to disk no oftener than this, so that many calls share one write.
const KEEP_EVERY: Duration = Duration::from_millis(5);
/// How long a record that the store has not may wait until the disk has confirmed it.
const SYNC_AFTER: Duration = Duration::from_millis(100);
/// Spooled records that are kept in memory too; beyond them they are read back.
const MAX_FRESH: usize = 4 * MAX_BATCH;
/// Records kept in memory when the spool does not take them; then the queues fill.
const MAX_HELD: usize = 20_000;
/// A delivery that takes longer than this is one behind which samples have no place.
const PROMPT: Duration = Duration::from_secs(1);
/// How often old files are looked for.
const IDLE: Duration = Duration::from_secs(1);
/// How long the store may take for what is left at the end; the spool keeps the rest.
const FINISH_LIMIT: Duration = Duration::from_secs(5);
/// Refused records that are remembered, so that none is kept aside twice.
const MAX_REFUSED: usize = 100_000;

pub(super) struct Clerk<S> {
    store: S,
    pub(super) spool: Spool,
    node: String,
    /// Records in the spool that the store has not, with their ends there; all after `disk_until`.
    fresh: VecDeque<(u64, StoredCall)>,
    /// What waits up to here is read from the spool.
    disk_until: u64,
    /// What the spool has not taken.
    pub(super) held: Vec<StoredCall>,
    /// When a spool that could not be written is tried again.
    spool_again_at: Option<Instant>,
    pub(super) is_away: bool,
    pub(super) try_again_at: Option<Instant>,
    /// When what is fresh has waited long enough for more.
    deliver_at: Option<Instant>,
    pub(super) delivery: Option<Delivery>,
    sweep_at: Instant,
    sync: Option<JoinHandle<io::Result<()>>>,
    moves: u64,
    refused: HashSet<Uuid>,
    /// Refused records that could not be kept aside yet, and why they are refused.
    unkept: Vec<(StoredCall, String)>,
    lost: usize,
    is_behind: Arc<AtomicBool>,
}

pub(super) struct Delivery {
    task: JoinHandle<Delivered>,
    begun_at: Instant,
    /// Of the store that it began with.
    moves: u64,
    /// Records in it that are nowhere else.
    held: usize,
}

impl<S: RecordStore> Clerk<S> {
    pub(super) fn new(
        store: S,
        spool: Spool,
        node: String,
        is_behind: Arc<AtomicBool>,
        now: Instant,
    ) -> Self {
        let (disk_until, moves) = (spool.end(), store.moves());
        Self {
            store,
            spool,
            node,
            fresh: VecDeque::new(),
            disk_until,
            held: Vec::new(),
            spool_again_at: None,
            is_away: false,
            try_again_at: None,
            deliver_at: None,
            delivery: None,
            sweep_at: now,
            sync: None,
            moves,
            refused: HashSet::new(),
            unkept: Vec::new(),
            lost: 0,
            is_behind,
        }
    }

    /// Until the queue is closed. Gives how many records could be kept nowhere.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Box<CallRecord>>) -> usize {
        metrics::store_up(true);
        if self.spool.waiting_octets() > 0 {
            let octets = self.spool.waiting_octets();
            tracing::info!(octets, "records of an earlier run wait in the spool");
        }
        let mut records = Vec::new();
        let mut take_at = Instant::now();
        loop {
            let now = Instant::now();
            self.act(now);
            let room = MAX_BATCH.min(MAX_HELD - self.held.len());
            let is_taking = room > 0 && take_at <= now;
            let wake_at =
                self.wake_at(now).min(if is_taking { now + IDLE } else { take_at.max(now) });
            tokio::select! {
                count = queue.recv_many(&mut records, room), if is_taking => {
                    if count == 0 {
                        break;
                    }
                    take_at = Instant::now() + KEEP_EVERY;
                    records.iter().for_each(|record| metrics::call(record));
                    let calls = records.drain(..).map(|it| StoredCall::new(&self.node, &it));
                    let calls = calls.collect();
                    self.keep(calls, Instant::now());
                }
                delivered = ended(&mut self.delivery) => self.note(delivered, Instant::now()),
                synced = synced(&mut self.sync) => note_sync(synced),
                () = tokio::time::sleep_until(wake_at.into()) => {}
            }
        }
        self.finish().await
    }

    /// Puts records on disk, and remembers them for the store.
    pub(super) fn keep(&mut self, mut calls: Vec<StoredCall>, now: Instant) {
        self.held.append(&mut calls);
        if !self.held.is_empty() {
            self.deliver_at.get_or_insert(now + LINGER);
        }
        while !self.held.is_empty() && self.spool_again_at.is_none_or(|at| at <= now) {
            let count = self.held.len().min(MAX_BATCH);
            match self.spool.append(&self.held[..count], now) {
                Ok(ends) => {
                    metrics::records_spooled(count);
                    self.fresh.extend(ends.into_iter().zip(self.held.drain(..count)));
                    if self.spool_again_at.take().is_some() {
                        tracing::info!("the spool can be written again");
                    }
                }
                Err(error) => {
                    if self.spool_again_at.replace(now + TRY_AGAIN_AFTER).is_none() {
                        tracing::error!(%error, "the spool cannot be written; records wait in memory, \
                            and are lost if this process dies before the store has them");
                    }
                }
            }
        }
        if self.fresh.len() > MAX_FRESH {
            self.leave_to_disk(self.spool.end());
        }
    }

    /// Starts what is due.
    pub(super) fn act(&mut self, now: Instant) {
        self.look_for_move();
        self.keep(Vec::new(), now);
        if self.delivery.is_none() && self.try_again_at.is_none_or(|at| at <= now) {
            self.start_delivery(now);
        }
        if self.sync.is_none()
            && let Some(before) = now.checked_sub(SYNC_AFTER)
            && let Some(sync) = self.spool.sync(before)
        {
            self.sync = Some(tokio::task::spawn_blocking(move || sync.run()));
        }
        if self.sweep_at <= now {
            self.sweep_at = now + IDLE;
            self.set_aside(Vec::new());
            self.spool.sweep(now);
        }
        metrics::spooled(self.spool.waiting_octets());
        let is_late = self
            .delivery
            .as_ref()
            .is_some_and(|it| now.saturating_duration_since(it.begun_at) > PROMPT);
        let is_behind = self.is_away || is_late || self.waits_on_disk();
        self.is_behind.store(is_behind, Ordering::Relaxed);
    }

    fn start_delivery(&mut self, now: Instant) {
        let Some(load) = self.next_load(now) else { return };
        let held = match &load {
            Load::Held(calls) => calls.len(),
            Load::File(_) | Load::Spooled(..) => 0,
        };
        let task = tokio::spawn(deliver(self.store.clone(), load));
        self.delivery = Some(Delivery { task, begun_at: now, moves: self.moves, held });
    }

    /// Files, then what is fresh, then what the spool did not take.
    fn next_load(&mut self, now: Instant) -> Option<Load> {
        if self.waits_on_disk() {
            return self.spool.waiting().map(Load::File);
        }
        let is_full = self.fresh.len() + self.held.len() >= MAX_BATCH;
        if !is_full && self.deliver_at.is_some_and(|at| now < at) {
            return None;
        }
        self.deliver_at = None;
        let count = self.fresh.len().min(MAX_BATCH);
        let mut end = None;
        let fresh = self.fresh.drain(..count).map(|(at, call)| {
            end = Some(at);
            call
        });
        let fresh: Vec<_> = fresh.collect();
        match end {
            Some(end) => Some(Load::Spooled(fresh, end)),
            None if self.held.is_empty() => None,
            None => {
                let count = self.held.len().min(MAX_BATCH);
                Some(Load::Held(self.held.drain(..count).collect()))
            }
        }
    }

    fn waits_on_disk(&self) -> bool {
        self.spool.stored() < self.disk_until
    }

    /// What waits up to there is read from the spool, and not kept in memory any more.
    fn leave_to_disk(&mut self, until: u64) {
        self.disk_until = self.disk_until.max(until);
        while self.fresh.front().is_some_and(|(end, _)| *end <= self.disk_until) {
            self.fresh.pop_front();
        }
    }

    /// Another server may lack what the one before had just taken: what is still here is sent again.
    fn look_for_move(&mut self) {
        let moves = self.store.moves();
        if std::mem::replace(&mut self.moves, moves) != moves {
            let octets = self.spool.send_again();
            self.leave_to_disk(self.spool.end());
            tracing::info!(octets, "the last records are sent to the new database again");
        }
    }

    pub(super) fn note(
        &mut self,
        (delivery, delivered): (Delivery, Option<Delivered>),
        now: Instant,
    ) {
        // A panic of the store's: what it was given is read from the spool.
        let Some(delivered) = delivered else {
            self.lost += delivery.held;
            self.note_store(Some("writing has panicked"), now);
            return self.leave_to_disk(self.spool.end());
        };
        self.look_for_move();
        let is_current = delivery.moves == self.moves;
        self.set_aside(delivered.refused);
        if delivered.written > 0 {
            metrics::records_written(delivered.written, delivered.took);
        }
        if let Outcome::Stored = delivered.outcome {
            self.note_store(None, now);
        }
        match (delivered.load, delivered.outcome) {
            (load, Outcome::Stored) if is_current => {
                self.note_stored(load, delivered.unreadable, delivered.written, now);
            }
            // Nobody knows which of the two has it.
            (Load::File(_), Outcome::Stored) => {}
            (Load::Spooled(_, end), Outcome::Stored) => self.leave_to_disk(end),
            (Load::Held(calls), Outcome::Stored) => self.hold_again(calls),
            (load, Outcome::Away(error)) => {
                self.note_store(Some(&error), now);
                match load {
                    Load::File(_) => {}
                    Load::Spooled(_, end) => self.leave_to_disk(end),
                    Load::Held(calls) => self.hold_again(calls),
                }
            }
            (Load::File(waiting), Outcome::Unopened(error)) => {
                tracing::error!(%error, file = %waiting.path.display(), "a file of the spool cannot be opened");
                match error.kind() {
                    // Somebody has taken it away.
                    io::ErrorKind::NotFound => self.spool.note_stored(waiting.end, now),
                    _ => self.try_again_at = Some(now + TRY_AGAIN_AFTER),
                }
            }
            // Only a file is opened.
            (Load::Spooled(..) | Load::Held(_), Outcome::Unopened(_)) => {}
        }
    }

    fn note_stored(&mut self, load: Load, unreadable: usize, written: usize, now: Instant) {
        let end = match load {
            Load::Held(_) => return,
            Load::Spooled(_, end) => end,
            Load::File(waiting) => {
                if unreadable > 0 && self.spool.note_unreadable(&waiting.path, unreadable) {
                    metrics::spool_unreadable(unreadable);
                    tracing::error!(file = %waiting.path.display(), lines = unreadable, records = written,
                        "lines of the spool are torn or spoilt; the records before and behind them are in the \
                         store, and the file is kept with the ending .unreadable");
                }
                tracing::info!(records = written, "spooled records are in the store");
                waiting.end
            }
        };
        self.spool.note_stored(end, now);
        while self.fresh.front().is_some_and(|(at, _)| *at <= end) {
            self.fresh.pop_front();
        }
    }

    fn hold_again(&mut self, calls: Vec<StoredCall>) {
        let later = std::mem::replace(&mut self.held, calls);
        self.held.extend(later);
    }

    /// Keeps refused records aside, each once; those that the disk does not take are tried again later.
    fn set_aside(&mut self, mut refused: Vec<(StoredCall, String)>) {
        if self.refused.len() > MAX_REFUSED {
            self.refused.clear();
        }
        refused.append(&mut self.unkept);
        refused.retain(|(call, _)| !self.refused.contains(&call.call_id));
        for (call, error) in refused {
            // The disk is asked once.
            if !self.unkept.is_empty() && self.unkept.len() < MAX_HELD {
                self.unkept.push((call, error));
                continue;
            }
            match self.spool.set_aside(&call) {
                Ok(()) => {
                    metrics::records_refused(1);
                    tracing::error!(call.id = %call.call_id, error,
                        "the store refuses a record; it is kept in refused.jsonl of the spool folder");
                    self.refused.insert(call.call_id);
                }
                Err(failure) if self.unkept.len() < MAX_HELD => {
                    tracing::debug!(%failure, "a refused record cannot be kept aside yet");
                    self.unkept.push((call, error));
                }
                Err(failure) => {
                    tracing::error!(call.id = %call.call_id, error, %failure,
                        "the store refuses a record, which cannot be kept aside either: it is lost");
                    self.lost += 1;
                }
            }
        }
    }

    fn note_store(&mut self, error: Option<&str>, now: Instant) {
        metrics::store_up(error.is_none());
        self.try_again_at = error.map(|_| now + TRY_AGAIN_AFTER);
        let was_away = std::mem::replace(&mut self.is_away, error.is_some());
        match error {
            Some(error) if !was_away => {
                tracing::warn!(error, "the store is away; records wait in the spool");
            }
            None if was_away => tracing::info!("the store is back"),
            Some(_) | None => {}
        }
    }

    /// When something is due though nothing comes.
    fn wake_at(&self, now: Instant) -> Instant {
        let is_waiting = self.waits_on_disk() || !self.fresh.is_empty() || !self.held.is_empty();
        let deliver_at = (self.delivery.is_none() && is_waiting).then(|| {
            let linger = self.deliver_at.filter(|_| !self.waits_on_disk()).unwrap_or(now);
            self.try_again_at.unwrap_or(now).max(linger)
        });
        let sync_at = self.spool.unsynced_since().filter(|_| self.sync.is_none());
        let sync_at = sync_at.map(|since| since + SYNC_AFTER);
        deliver_at.into_iter().chain(sync_at).fold(now + IDLE, Instant::min).max(now)
    }

    /// The last records: to the store while it takes them, and the rest stays in the spool.
    pub(super) async fn finish(mut self) -> usize {
        let until = Instant::now() + FINISH_LIMIT;
        self.spool_again_at = None;
        self.keep(Vec::new(), Instant::now());
        loop {
            let now = Instant::now();
            self.deliver_at = None;
            self.look_for_move();
            if self.delivery.is_none()
                && (!self.is_away || self.try_again_at.is_none_or(|at| at <= now))
            {
                self.start_delivery(now);
            }
            if self.delivery.is_none() {
                break;
            }
            match tokio::time::timeout_at(until.into(), ended(&mut self.delivery)).await {
                Ok(delivered) => self.note(delivered, Instant::now()),
                Err(_) => {
                    tracing::warn!("the store does not answer; the last records wait in the spool");
                    break;
                }
            }
            if self.is_away {
                break;
            }
        }
        if let Some(delivery) = self.delivery.take() {
            delivery.task.abort();
            self.lost += delivery.held;
        }
        self.spool_again_at = None;
        self.keep(Vec::new(), Instant::now());
        if let Some(sync) = self.spool.sync(Instant::now()) {
            note_sync(Some(sync.run()));
        }
        self.spool.forget_kept();
        metrics::spooled(self.spool.waiting_octets());
        self.set_aside(Vec::new());
        self.lost += self.held.len() + self.unkept.len();
        if self.lost > 0 {
            tracing::error!(
                lost = self.lost,
                "records are lost: neither store nor spool took them"
            );
        }
        self.lost
    }
}

/// The end of the delivery that is under way, if any; without a result when its task did not end well.
pub(super) async fn ended(delivery: &mut Option<Delivery>) -> (Delivery, Option<Delivered>) {
    let delivered = match delivery.as_mut() {
        Some(under_way) => (&mut under_way.task).await.ok(),
        None => std::future::pending().await,
    };
    match delivery.take() {
        Some(ended) => (ended, delivered),
        None => std::future::pending().await,
    }
}

/// The end of what the disk was asked to confirm, if anything.
async fn synced(sync: &mut Option<JoinHandle<io::Result<()>>>) -> Option<io::Result<()>> {
    let Some(under_way) = sync.as_mut() else { return std::future::pending().await };
    let synced = under_way.await;
    *sync = None;
    synced.ok()
}

fn note_sync(synced: Option<io::Result<()>>) {
    if let Some(Err(error)) = synced {
        tracing::error!(%error, "the disk has not confirmed spooled records; they may be lost with the machine");
    }
}
