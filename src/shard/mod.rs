//! One thread a shard: waits, reads the clock once a turn, drives its engine, sends what it asks.

mod door;
mod held;
mod lines;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Cache};
use bytes::Bytes;
use uuid::Uuid;

pub use self::door::ShardDoor;
use self::held::Held;
use self::lines::Lines;

use crate::call::{CallKey, CallRecord, Replica, RingingReplica};
use crate::carrier::{GatewayId, Tables};
use crate::engine::{
    Command, Counters, Engine, EngineSettings, Flow, ListenerId, Output, Received,
};
use crate::health::{Outcome, View};
use crate::net::stream::StreamHandle;
use crate::net::udp::{BATCH, ReceiveBuffers, UdpSocket};
use crate::net::wake::{Ready, Waker, wait};
use crate::sip::{Message, Method, peek};
use crate::telemetry::metrics::EdgeCounters;

/// Commands, and datagrams of other shards, that wait for a shard.
const MAIL_LEN: usize = 4_096;
/// Batches taken from one socket before others, and the timers, get their turn.
const BATCHES_A_TURN: usize = 4;
/// Datagrams that wait for a socket whose buffer is full.
const MAX_UNSENT: usize = 10_000;
/// Records that wait for the recorder.
const MAX_BACKLOG: usize = 100_000;
/// How often a shard shows its counters, and looks whether the recorder has room again.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Timers that no datagram wakes us for are looked at no oftener: each would cost a turn of its own. SIP's shortest is
/// 500 ms, an admin's 100 ms.
const TIMERS_EVERY: Duration = Duration::from_millis(4);
/// Outcomes go to the board no oftener, as views come from it: each time wakes its thread.
const OUTCOMES_EVERY: Duration = Duration::from_millis(5);
/// How long a shard that ends waits for the recorder to take its last records.
const LAST_RECORDS_LIMIT: Duration = Duration::from_secs(5);
/// A shard that has shown nothing for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// How often the engine is told the wall clock.
const WALL_CLOCK_EVERY: Duration = Duration::from_secs(30);
/// A shard that has not turned for so long has stood still: it wakes up every 100 ms, and nodes whose lease is lost are
/// taken for dead after 1.6 s.
const STOOD_STILL: Duration = Duration::from_millis(1_200);
/// What begins a call, and waits in the sockets of a shard that stood still for so long, is not answered any more: its
/// caller has gone elsewhere, or repeats it.
const STALE_AFTER: Duration = Duration::from_secs(4);
/// How long after its standstill a shard may take to read all that has waited.
const STALE_LIMIT: Duration = Duration::from_secs(1);
/// How long such a shard waits to hear whose its calls are.
const STOOD_STILL_WAIT: Duration = Duration::from_secs(1);
/// Addresses that the network says cannot be reached, taken from one socket in one turn.
const MAX_UNREACHABLE: usize = 64;

/// Where a shard's records go: gives one back that there is no room for.
pub type RecordSink = Box<dyn Fn(Box<CallRecord>) -> Result<(), Box<CallRecord>> + Send>;
/// Where a shard's outcomes go; `false` when there is no room.
pub type OutcomeSink = Box<dyn Fn(Vec<Outcome>) -> bool + Send>;
/// Where a shard's calls beyond itself go; `false` when there is no room.
pub type ClusterSink = Box<dyn Fn(Beyond) -> bool + Send>;

/// What a shard asks of the cluster.
#[derive(Debug)]
pub enum Beyond {
    /// Keep this, and tell the shard with [`Command::Kept`].
    Keep { shard: usize, call: CallKey, replica: Box<Replica> },
    /// The same for a call that rings, with [`Command::RingingKept`].
    KeepRinging { shard: usize, call: CallKey, replica: Box<RingingReplica> },
    /// The node with this lease is to go on with this call.
    Released { call_id: Uuid, to: i64 },
    /// Whose dialog is it?
    Unknown { shard: usize, request: Box<(Flow, Message)>, looks: u8 },
    /// The shard stood still for so long that others may have taken its calls. It waits, a little, for
    /// [`ShardHandle::go_on`].
    StoodStill { shard: usize },
}

/// What all shards look at.
#[derive(Debug)]
pub struct Shared {
    pub tables: ArcSwap<Tables>,
    pub view: ArcSwap<View>,
}

/// What a shard is made of.
pub struct ShardParts {
    pub index: usize,
    pub settings: EngineSettings,
    /// One for each of the settings' listeners that is UDP.
    pub sockets: Vec<(ListenerId, UdpSocket)>,
    /// Where what goes by TCP and TLS is sent; `None` where no listener is.
    pub streams: Option<StreamHandle>,
    pub shared: Arc<Shared>,
    pub records: RecordSink,
    pub outcomes: OutcomeSink,
    pub cluster: ClusterSink,
    /// What waits to be kept waits no longer than this.
    pub keep_wait: Duration,
    pub seed: u64,
}

impl std::fmt::Debug for ShardParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardParts").field("index", &self.index).finish_non_exhaustive()
    }
}

/// What comes to a shard from other threads.
#[derive(Debug)]
enum Mail {
    Command(Command),
    /// A datagram whose call belongs to this shard.
    Received(Received),
    /// Whose calls are whose has been looked up.
    GoOn,
    Stop,
}

/// The way to a running shard.
#[derive(Clone, Debug)]
pub struct ShardHandle {
    mail: SyncSender<Mail>,
    waker: Arc<Waker>,
    published: Arc<Published>,
}

/// What a shard shows of itself.
#[derive(Debug, Default)]
struct Published {
    counters: Mutex<Counters>,
    headrooms: Mutex<Vec<(GatewayId, f64)>>,
    at: Mutex<Option<Instant>>,
    /// Datagrams that only keep a way open: CRLF, four zero octets, STUN.
    keep_alives: AtomicU64,
    /// Datagrams that the kernel had no room for.
    unsent: AtomicU64,
    /// Datagrams of other shards that found the mailbox full.
    undelivered: AtomicU64,
    /// Outcomes that the board had no room for.
    outcomes_dropped: AtomicU64,
    /// Records that found both the recorder and the backlog full.
    records_lost: AtomicU64,
    /// Records that wait for room in the recorder's queue.
    records_waiting: AtomicU64,
    /// Datagrams that would have begun something, and had waited for too long.
    stale: AtomicU64,
    /// Datagrams that the kernel dropped because a socket's buffer was full.
    overflowed: AtomicU64,
    /// Answers that went out before their call was kept.
    unkept: AtomicU64,
}

impl ShardHandle {
    /// `false` when the shard has too much to do.
    pub fn command(&self, command: Command) -> bool {
        let is_sent = self.mail.try_send(Mail::Command(command)).is_ok();
        self.waker.wake();
        is_sent
    }

    /// Has the shard look at new tables or a new view.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Ends the shard's thread after what is in its mailbox.
    pub fn stop(&self) {
        let _ = self.mail.send(Mail::Stop);
        self.waker.wake();
    }

    pub fn counters(&self) -> Counters {
        *self.published.counters.lock().expect("nobody panics while holding it")
    }

    /// What is left of the limits of each gateway that has had calls of this shard, 0.0 to 1.0.
    pub fn headrooms(&self) -> Vec<(GatewayId, f64)> {
        self.published.headrooms.lock().expect("nobody panics while holding it").clone()
    }

    /// Whether the shard's loop came round lately.
    pub fn is_turning(&self) -> bool {
        let published_at = self.published.at.lock().expect("nobody panics while holding it");
        published_at.is_none_or(|at| at.elapsed() < STUCK_AFTER)
    }

    /// What the engine itself cannot count.
    pub fn edge_counters(&self) -> EdgeCounters {
        let published = &self.published;
        EdgeCounters {
            keep_alives: published.keep_alives.load(Ordering::Relaxed),
            unsent: published.unsent.load(Ordering::Relaxed),
            undelivered: published.undelivered.load(Ordering::Relaxed),
            outcomes_dropped: published.outcomes_dropped.load(Ordering::Relaxed),
            records_lost: published.records_lost.load(Ordering::Relaxed),
            records_waiting: published.records_waiting.load(Ordering::Relaxed),
            overflowed: published.overflowed.load(Ordering::Relaxed),
            unkept: published.unkept.load(Ordering::Relaxed),
            stale: published.stale.load(Ordering::Relaxed),
        }
    }

    /// Ends the wait of a shard that stood still.
    pub fn go_on(&self) {
        let _ = self.mail.try_send(Mail::GoOn);
        self.waker.wake();
    }

    fn pass_on(&self, received: Received) {
        match self.mail.try_send(Mail::Received(received)) {
            Ok(()) => self.waker.wake(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.published.undelivered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The shard of a message by its Call-ID; `None` where it has none that can be found.
fn owner_of(message: &[u8], bucket_key: u64, shards: usize) -> Option<usize> {
    let call_id = peek::call_id(message)?;
    Some((peek::bucket(call_id, bucket_key) % shards as u64) as usize)
}

/// Starts one thread a shard.
pub fn start(parts: Vec<ShardParts>) -> std::io::Result<Vec<(ShardHandle, JoinHandle<()>)>> {
    let mut handles = Vec::new();
    let mut mailboxes = Vec::new();
    for _ in &parts {
        let (mail, mailbox) = std::sync::mpsc::sync_channel(MAIL_LEN);
        let (waker, published) = (Arc::new(Waker::new()?), Arc::new(Published::default()));
        handles.push(ShardHandle { mail, waker, published });
        mailboxes.push(mailbox);
    }
    let mut started = Vec::new();
    for (parts, mailbox) in parts.into_iter().zip(mailboxes) {
        let peers = handles.clone();
        let own = handles[parts.index].clone();
        let thread = std::thread::Builder::new()
            .name(format!("shard-{}", parts.index))
            .spawn(move || Shard::new(parts, mailbox, peers).run())?;
        started.push((own, thread));
    }
    Ok(started)
}

struct Shard {
    index: usize,
    engine: Engine,
    bucket_key: u64,
    sockets: Vec<(ListenerId, UdpSocket)>,
    streams: Option<StreamHandle>,
    buffers: ReceiveBuffers,
    mailbox: Receiver<Mail>,
    /// All shards, this one included, by index.
    peers: Vec<ShardHandle>,
    shared: Arc<Shared>,
    records: RecordSink,
    outcomes: OutcomeSink,
    cluster: ClusterSink,
    keep_wait: Duration,
    held: Held,
    outcome_batch: Vec<Outcome>,
    outcomes_at: Instant,
    backlog: VecDeque<Box<CallRecord>>,
    /// What is to be sent by each socket.
    unsent: Vec<Vec<(SocketAddr, Bytes)>>,
    /// What is to be sent by TCP and TLS.
    streamed: Vec<(Flow, Bytes)>,
    received: Vec<Received>,
    /// Datagrams of other shards that came while we waited to be told whose our calls are.
    unread: Vec<Received>,
    turned_at: Instant,
    /// Sockets whose datagrams have waited while we stood still, and until when they may be.
    stale_sockets: Vec<bool>,
    stale_until: Instant,
    published_at: Instant,
    wall_clock_at: Instant,
    lines: Lines,
    is_stopping: bool,
}

impl Shard {
    fn new(parts: ShardParts, mailbox: Receiver<Mail>, peers: Vec<ShardHandle>) -> Self {
        let now = Instant::now();
        let bucket_key = parts.settings.bucket_key;
        let unsent = parts.sockets.iter().map(|_| Vec::new()).collect();
        Self {
            index: parts.index,
            engine: Engine::new(parts.settings, parts.seed, now, SystemTime::now()),
            bucket_key,
            sockets: parts.sockets,
            streams: parts.streams,
            buffers: ReceiveBuffers::default(),
            mailbox,
            peers,
            shared: parts.shared,
            records: parts.records,
            outcomes: parts.outcomes,
            cluster: parts.cluster,
            keep_wait: parts.keep_wait,
            held: Held::default(),
            outcome_batch: Vec::new(),
            outcomes_at: now,
            backlog: VecDeque::new(),
            unsent,
            streamed: Vec::new(),
            received: Vec::new(),
            unread: Vec::new(),
            turned_at: now,
            stale_sockets: Vec::new(),
            stale_until: now,
            published_at: now,
            wall_clock_at: now,
            lines: Lines::new(now),
            is_stopping: false,
        }
    }

    fn run(mut self) {
        let shared = self.shared.clone();
        let mut tables = Cache::new(&shared.tables);
        let mut view = Cache::new(&shared.view);
        let (mut tables_seen, mut view_seen) = (Arc::default(), Arc::default());
        let own = self.peers[self.index].waker.clone();
        let sockets = self.sockets.iter().map(|(_, socket)| socket.as_raw_fd());
        let descriptors: Vec<RawFd> = sockets.chain([own.as_raw_fd()]).collect();
        while !self.is_stopping {
            let ready = wait(&descriptors, self.time_to_wait()).unwrap_or_else(|error| {
                tracing::error!(shard = self.index, %error, "cannot wait for datagrams");
                std::thread::sleep(Duration::from_millis(10));
                Ready::default()
            });
            let now = self.look_at_clock();
            if ready.is_readable(self.sockets.len()) {
                own.clear();
            }
            if !Arc::ptr_eq(tables.load(), &tables_seen) {
                tables_seen = tables.load().clone();
                self.engine.handle_command(Command::Tables(tables_seen.clone()), now);
            }
            if !Arc::ptr_eq(view.load(), &view_seen) {
                view_seen = view.load().clone();
                self.engine.handle_command(Command::View(view_seen.clone()), now);
            }
            self.turn(&ready, now);
        }
        self.engine.handle_command(Command::GiveOutRecords, Instant::now());
        self.carry_out();
        self.hand_over_outcomes();
        self.publish(Instant::now());
        let limit = Instant::now() + LAST_RECORDS_LIMIT;
        while !self.backlog.is_empty() && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(5));
            self.publish(Instant::now());
        }
        let left = self.backlog.len() as u64;
        self.peers[self.index].published.records_lost.fetch_add(left, Ordering::Relaxed);
    }

    fn time_to_wait(&self) -> Option<Duration> {
        let now = Instant::now();
        let publish = self.published_at + PUBLISH_EVERY;
        let has_unsent = self.unsent.iter().any(|unsent| !unsent.is_empty());
        let retry = has_unsent.then(|| now + Duration::from_millis(1));
        let timers = self.engine.poll_timeout().map(|at| at.max(self.turned_at + TIMERS_EVERY));
        let outcomes = (!self.outcome_batch.is_empty()).then(|| self.outcomes_at + OUTCOMES_EVERY);
        [timers, outcomes, Some(publish), retry, self.held.next()]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_duration_since(now))
    }

    fn turn(&mut self, ready: &Ready, now: Instant) {
        self.turned_at = now;
        if now >= self.wall_clock_at + WALL_CLOCK_EVERY {
            self.wall_clock_at = now;
            let wall = SystemTime::now();
            self.engine.handle_command(Command::WallClock { at: now, wall }, now);
        }
        self.read_mail(now);
        let (mut delay, is_asked) = (Duration::ZERO, self.engine.wants_delay());
        for index in 0..self.sockets.len() {
            if ready.is_readable(index) {
                self.read_socket(index, now);
                if is_asked {
                    delay = delay.max(self.sockets[index].1.delay_of_last(SystemTime::now()));
                }
            }
            if ready.has_error(index) {
                self.read_errors(index, now);
            }
        }
        self.engine.note_delay(delay, now);
        self.engine.handle_timeout(now);
        self.carry_out();
        self.send_overdue(now);
        self.flush();
        if now >= self.outcomes_at + OUTCOMES_EVERY {
            self.outcomes_at = now;
            self.hand_over_outcomes();
        }
        if now >= self.published_at + PUBLISH_EVERY {
            self.publish(now);
        }
    }

    fn read_mail(&mut self, now: Instant) {
        for received in std::mem::take(&mut self.unread) {
            self.engine.handle_received(received, now);
            self.carry_out();
        }
        for _ in 0..MAIL_LEN {
            match self.mailbox.try_recv() {
                Ok(Mail::Command(command)) => self.obey(command, now),
                Ok(Mail::GoOn) => {}
                Ok(Mail::Received(received)) => self.engine.handle_received(received, now),
                Ok(Mail::Stop) | Err(TryRecvError::Disconnected) => {
                    self.is_stopping = true;
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
            self.carry_out();
        }
    }

    fn read_socket(&mut self, index: usize, now: Instant) {
        let listener = self.sockets[index].0;
        let is_stale = self.stale_sockets.get(index) == Some(&true) && now < self.stale_until;
        for _ in 0..BATCHES_A_TURN {
            let mut received = std::mem::take(&mut self.received);
            let published = &self.peers[self.index].published;
            let take = |remote, octets: &[u8]| {
                if is_keep_alive(octets) {
                    published.keep_alives.fetch_add(1, Ordering::Relaxed);
                } else {
                    let flow = Flow::new(listener, remote);
                    received.push(Received { bytes: Bytes::copy_from_slice(octets), flow });
                }
            };
            let count =
                self.sockets[index].1.receive(&mut self.buffers, take).unwrap_or_else(|error| {
                    tracing::error!(shard = self.index, %error, "cannot receive");
                    0
                });
            for received in received.drain(..) {
                if is_stale && begins_something(&received.bytes) {
                    self.peers[self.index].published.stale.fetch_add(1, Ordering::Relaxed);
                } else {
                    self.dispatch(received, now);
                }
            }
            self.received = received;
            if count < BATCH {
                if is_stale {
                    self.stale_sockets[index] = false;
                }
                break;
            }
        }
    }

    /// An ICMP error may reach another socket of the same port than the one that sent, so all shards
    /// hear of it. An address that is named often in one turn is looked for once.
    fn read_errors(&mut self, index: usize, now: Instant) {
        let listener = self.sockets[index].0;
        let mut unreachable: Vec<SocketAddr> = Vec::new();
        for _ in 0..MAX_UNREACHABLE {
            match self.sockets[index].1.take_unreachable() {
                Some(remote) if unreachable.contains(&remote) => {}
                Some(remote) => unreachable.push(remote),
                None => break,
            }
        }
        for remote in unreachable {
            let command = Command::Unreachable { flow: Flow::new(listener, remote) };
            for (other, peer) in self.peers.iter().enumerate() {
                if other != self.index {
                    // One without room hears of it by its timers.
                    let _ = peer.command(command.clone());
                }
            }
            self.engine.handle_command(command, now);
            self.carry_out();
        }
    }

    /// To the shard that the Call-ID belongs to.
    fn dispatch(&mut self, received: Received, now: Instant) {
        if self.peers.len() > 1
            && let Some(owner) = owner_of(&received.bytes, self.bucket_key, self.peers.len())
            && owner != self.index
        {
            return self.peers[owner].pass_on(received);
        }
        self.engine.handle_received(received, now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send { flow, bytes } => self.send(flow, bytes),
                Output::SendKept { call, flow, bytes } => {
                    self.held.hold(call, flow, bytes, self.turned_at + self.keep_wait);
                }
                Output::Keep { call, replica } => {
                    if !(self.cluster)(Beyond::Keep { shard: self.index, call, replica }) {
                        self.send_held(call, false);
                        let now = self.turned_at;
                        self.engine.handle_command(Command::NotKept(vec![call]), now);
                    }
                }
                Output::KeepRinging { call, replica } => {
                    if !(self.cluster)(Beyond::KeepRinging { shard: self.index, call, replica }) {
                        let now = self.turned_at;
                        self.engine.handle_command(Command::NotKept(vec![call]), now);
                    }
                }
                Output::Released { call_id, to } => {
                    (self.cluster)(Beyond::Released { call_id, to });
                }
                Output::Unknown { request, looks } => {
                    let shard = self.index;
                    (self.cluster)(Beyond::Unknown { shard, request, looks });
                }
                Output::Outcome(outcome) => self.outcome_batch.push(outcome),
                Output::Record(record) => self.record(record),
                Output::Event(event) => self.lines.log(&event, Instant::now()),
            }
        }
    }

    fn send(&mut self, flow: Flow, bytes: Bytes) {
        let at = self.sockets.iter().position(|(id, _)| *id == flow.listener);
        let Some(at) = at else { return self.streamed.push((flow, bytes)) };
        let unsent = &mut self.unsent[at];
        if unsent.len() < MAX_UNSENT {
            unsent.push((flow.remote, bytes));
        } else {
            self.peers[self.index].published.unsent.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn obey(&mut self, command: Command, now: Instant) {
        if let Command::Kept(calls) = &command {
            for call in calls {
                self.send_held(*call, true);
            }
        }
        self.engine.handle_command(command, now);
    }

    /// What has waited for a call to be kept goes out.
    fn send_held(&mut self, call: CallKey, is_kept: bool) {
        for (flow, bytes) in self.held.take(call) {
            if !is_kept {
                self.peers[self.index].published.unkept.fetch_add(1, Ordering::Relaxed);
            }
            self.send(flow, bytes);
        }
    }

    fn send_overdue(&mut self, now: Instant) {
        while let Some(call) = self.held.pop_overdue(now) {
            self.send_held(call, false);
        }
    }

    /// The time. A shard that finds that it stood still, frozen or starved, asks whose its calls are before it
    /// does anything: other nodes may have gone on with them.
    fn look_at_clock(&mut self) -> Instant {
        let now = Instant::now();
        if now < self.turned_at + STOOD_STILL {
            return now;
        }
        if now >= self.turned_at + STALE_AFTER {
            self.stale_sockets = vec![true; self.sockets.len()];
        }
        tracing::warn!(
            shard = self.index,
            for_ms = (now - self.turned_at).as_millis() as u64,
            "the shard stood still"
        );
        self.stale_until = now + STALE_LIMIT;
        if !(self.cluster)(Beyond::StoodStill { shard: self.index }) {
            return now;
        }
        let limit = now + STOOD_STILL_WAIT;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            match self.mailbox.recv_timeout(left) {
                Ok(Mail::Command(command)) => self.obey(command, Instant::now()),
                Ok(Mail::Received(received)) => self.unread.push(received),
                Ok(Mail::GoOn) | Err(RecvTimeoutError::Timeout) => break,
                Ok(Mail::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.is_stopping = true;
                    break;
                }
            }
        }
        let now = Instant::now();
        self.stale_until = now + STALE_LIMIT;
        now
    }

    fn record(&mut self, record: Box<CallRecord>) {
        if self.backlog.is_empty() {
            if let Err(record) = (self.records)(record) {
                self.backlog.push_back(record);
            }
        } else if self.backlog.len() < MAX_BACKLOG {
            self.backlog.push_back(record);
        } else {
            let published = &self.peers[self.index].published;
            published.records_lost.fetch_add(1, Ordering::Relaxed);
            if let Some(left_out) = self.lines.lost.take(Instant::now()) {
                tracing::error!(call.id = %record.call_id, left_out,
                    "a record is lost: store, spool and backlog are full");
            }
        }
    }

    fn flush(&mut self) {
        if let Some(streams) = self.streams.as_ref().filter(|_| !self.streamed.is_empty()) {
            streams.send(self.streamed.drain(..));
        }
        for ((_, socket), unsent) in self.sockets.iter().zip(&mut self.unsent) {
            let mut sent = 0;
            while sent < unsent.len() {
                match socket.send(&unsent[sent..]) {
                    Ok(0) => break,
                    Ok(count) => sent += count,
                    Err(error) => {
                        // This one can't be sent at all: too long, or no route to its address.
                        tracing::debug!(to = %unsent[sent].0, %error, "cannot send");
                        sent += 1;
                    }
                }
            }
            unsent.drain(..sent);
        }
    }

    fn hand_over_outcomes(&mut self) {
        if !self.outcome_batch.is_empty() {
            let batch = std::mem::take(&mut self.outcome_batch);
            let count = batch.len() as u64;
            if !(self.outcomes)(batch) {
                let published = &self.peers[self.index].published;
                published.outcomes_dropped.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    fn publish(&mut self, now: Instant) {
        self.published_at = now;
        while let Some(record) = self.backlog.pop_front() {
            if let Err(record) = (self.records)(record) {
                self.backlog.push_front(record);
                break;
            }
        }
        let published = &self.peers[self.index].published;
        published.records_waiting.store(self.backlog.len() as u64, Ordering::Relaxed);
        let overflowed = self.sockets.iter().map(|(_, socket)| socket.overflowed()).sum();
        published.overflowed.store(overflowed, Ordering::Relaxed);
        *published.at.lock().expect("nobody panics while holding it") = Some(now);
        *published.counters.lock().expect("nobody panics while holding it") =
            self.engine.counters();
        *published.headrooms.lock().expect("nobody panics while holding it") =
            self.engine.headrooms(now);
    }
}

/// What keeps a NAT binding open is no message (RFC 5626 §3.5.1, RFC 5389 §6).
fn is_keep_alive(octets: &[u8]) -> bool {
    octets.iter().all(|octet| matches!(octet, b'\r' | b'\n' | 0))
        || (octets.len() >= 20 && octets[0] < 4 && octets[4..8] == [0x21, 0x12, 0xa4, 0x42])
}

/// A request outside of any dialog that nothing was said about before. Whoever waits for its answer repeats it; not so
/// an ACK, and what a CANCEL is for may have come earlier.
fn begins_something(octets: &Bytes) -> bool {
    Message::parse(octets.clone()).is_ok_and(|message| {
        message.is_request()
            && message.to_tag().is_none()
            && !matches!(message.method(), Method::Ack | Method::Cancel)
    })
}

#[cfg(test)]
mod tests;
