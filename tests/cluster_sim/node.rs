//! One run of a node: its engine, and what a shard, the keeper and the recorder do around it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use holdfast::call::{CallKey, CallRecord, StrangerPolicy, UnknownSources};
use holdfast::carrier::{GatewayId, Tables, Transport};
use holdfast::engine::{
    Command, Engine, EngineSettings, Flow, Listener, ListenerId, Output, Received,
};
use holdfast::health::{Board, BoardSettings, Target, View};
use holdfast::store::answered::{KeptCall, LEASE_LIMIT, Lease};

use super::cx::{Cx, Event, MS, S, ToRun, Wake, address, name, ping_address};
use super::glue::{Asked, Glue, OWNED_MARGIN};
use super::store::{Flaw, Op, Reply, Written};
use super::tables;

/// What all nodes have of their `cluster_key`.
pub const BUCKET_KEY: u64 = 7;
/// An answer waits for its call to be kept no longer.
const KEEP_WAIT: u64 = 50 * MS;
/// The keeper waits for the store no longer.
const KEEP_LIMIT: u64 = 2 * S;
/// A renewal, or a claim.
const STORE_LIMIT: u64 = 2 * S;
/// Everybody else.
const OPERATION_LIMIT: u64 = 10 * S;
const KEEPER_TRIES_AFTER: u64 = 500 * MS;
const MISSING_ROUNDS: u32 = 60;
const LINGER: u64 = 50 * MS;
const RECORDER_TRIES_AFTER: u64 = S;
/// A shard that stood still for so long asks whose its calls are.
const STOOD_STILL: u64 = 1_200 * MS;
const STOOD_STILL_WAIT: u64 = S;

/// What the answer of an operation is for.
#[derive(Debug)]
pub enum Pending {
    Keep { keys: Vec<(CallKey, uuid::Uuid, bool)>, asked_at: u64 },
    KeeperPing,
    Records(Vec<Written>),
    Glue(Asked),
}

pub struct Run {
    pub node: usize,
    pub id: u64,
    pub engine: Engine,
    pub lease: Lease,
    pub glue: Glue,
    pub flaw: Flaw,
    pending: HashMap<u64, Pending>,
    tokens: u64,
    held: HashMap<CallKey, Vec<(Flow, Bytes)>>,
    ends_of_holds: VecDeque<(u64, CallKey)>,
    keep_queue: Vec<(CallKey, KeptCall)>,
    is_keeper_busy: bool,
    is_keeping: bool,
    records: Vec<Written>,
    is_writing: bool,
    is_lingering: bool,
    /// On disk: outlives the run.
    pub spool: Vec<Written>,
    spool_again_at: Option<u64>,
    /// Until when the shard waits to be told whose its calls are.
    pub waits_until: Option<u64>,
    unread: Vec<(SocketAddr, Bytes)>,
    /// Dialogs in which this run has sent a request: Call-ID, branch, when.
    pub requests: Vec<(u64, String, String, String)>,
    branches: HashSet<String>,
}

impl Run {
    pub fn new(
        cx: &mut Cx,
        node: usize,
        id: u64,
        region: Option<String>,
        wall: SystemTime,
        tables: &Arc<Tables>,
        flaw: Flaw,
    ) -> Self {
        let own = address(node);
        let settings = EngineSettings {
            listeners: vec![Listener {
                transport: Transport::Udp,
                address: own,
                advertised: own.to_string().into(),
            }],
            bucket_key: BUCKET_KEY,
            // What nodes say to each other is heard all the same.
            strangers: StrangerPolicy {
                sources: UnknownSources::Drop,
                ..StrangerPolicy::default()
            },
            replicates: true,
            ..EngineSettings::default()
        };
        let now = cx.instant();
        let mut engine = Engine::new(settings, cx.random.next_u64(), now, wall);
        engine.handle_command(Command::Tables(tables.clone()), now);
        if let Some(view) = view(tables, now) {
            engine.handle_command(Command::View(view), now);
        }
        let lease = Lease {
            id: i64::try_from(id).expect("a small number"),
            node: name(node).to_owned(),
            address: Some(own.to_string()),
            region,
            is_draining: false,
        };
        Self {
            node,
            id,
            engine,
            glue: Glue::new(&lease, cx.now),
            lease,
            flaw,
            pending: HashMap::new(),
            tokens: 0,
            held: HashMap::new(),
            ends_of_holds: VecDeque::new(),
            keep_queue: Vec::new(),
            is_keeper_busy: false,
            is_keeping: true,
            records: Vec::new(),
            is_writing: false,
            is_lingering: false,
            spool: Vec::new(),
            spool_again_at: None,
            waits_until: None,
            unread: Vec::new(),
            requests: Vec::new(),
            branches: HashSet::new(),
        }
    }

    /// Nothing of its own is under way.
    pub fn is_idle(&self) -> bool {
        let counters = self.engine.counters();
        self.records.is_empty()
            && !self.is_writing
            && self.spool.is_empty()
            && self.held.is_empty()
            && self.waits_until.is_none()
            && self.engine.poll_timeout().is_none()
            && counters.calls_now == 0
            && !self.glue.is_busy()
    }

    pub fn wake(&self, cx: &mut Cx, after: u64, wake: Wake) {
        let (node, run) = (self.node, self.id);
        cx.at(cx.now + after, Event::ToRun { node, run, what: ToRun::Wake(wake) });
    }

    /// Sends an operation to the store.
    pub fn ask_store(&mut self, cx: &mut Cx, op: Op, pending: Pending) {
        self.tokens += 1;
        let token = self.tokens;
        let limit = match pending {
            Pending::Keep { .. } | Pending::KeeperPing => KEEP_LIMIT,
            Pending::Glue(Asked::Renewal | Asked::Claim | Asked::Adopted | Asked::ClaimFor(_)) => {
                STORE_LIMIT
            }
            Pending::Records(_) | Pending::Glue(_) => OPERATION_LIMIT,
        };
        self.pending.insert(token, pending);
        let (node, run) = (self.node, self.id);
        cx.at(cx.now + limit, Event::ToRun { node, run, what: ToRun::TimedOut { token } });
        let latency = latency(cx);
        let op = Box::new(op);
        cx.at(cx.now + latency, Event::ToStore { node, run, token, op });
    }

    pub fn handle(&mut self, cx: &mut Cx, what: ToRun) {
        match what {
            ToRun::Datagram { from, bytes } if self.waits_until.is_some() => {
                self.unread.push((from, bytes));
            }
            ToRun::Datagram { from, bytes } => self.receive(cx, from, bytes),
            ToRun::Reply { token, reply } => {
                if let Some(pending) = self.pending.remove(&token) {
                    self.on_reply(cx, pending, reply);
                }
            }
            ToRun::TimedOut { token } => {
                if let Some(pending) = self.pending.remove(&token) {
                    self.on_reply(cx, pending, Err(()));
                }
            }
            ToRun::Tick => self.tick(cx),
            ToRun::Wake(wake) => self.on_wake(cx, wake),
        }
        self.drain(cx);
    }

    /// The run goes on after it was frozen for a time.
    pub fn thaw(&mut self, cx: &mut Cx, frozen_for: u64) {
        let turned_before = cx.random.below(100 * MS);
        if frozen_for + turned_before >= STOOD_STILL && self.flaw != Flaw::SkipsOwnershipCheck {
            cx.note(format!("{} finds that it stood still", name(self.node)));
            self.waits_until = Some(cx.now + STOOD_STILL_WAIT);
            self.wake(cx, STOOD_STILL_WAIT, Wake::GoOn);
            self.check_ownership(cx, true);
        }
    }

    pub fn command(&mut self, cx: &mut Cx, command: Command) {
        if let Command::Kept(calls) = &command {
            for call in calls {
                self.send_held(cx, *call);
            }
        }
        self.engine.handle_command(command, cx.instant());
        self.drain(cx);
    }

    pub fn time_out(&mut self, cx: &mut Cx) {
        self.engine.handle_timeout(cx.instant());
        self.drain(cx);
    }

    pub fn go_on(&mut self, cx: &mut Cx) {
        if self.waits_until.take().is_some() {
            for (from, bytes) in std::mem::take(&mut self.unread) {
                self.receive(cx, from, bytes);
            }
        }
    }

    fn receive(&mut self, cx: &mut Cx, from: SocketAddr, bytes: Bytes) {
        let flow = Flow::new(ListenerId(0), from);
        self.engine.handle_received(Received { bytes, flow }, cx.instant());
        self.drain(cx);
    }

    fn on_reply(&mut self, cx: &mut Cx, pending: Pending, reply: Result<Reply, ()>) {
        match (pending, reply) {
            (Pending::Keep { keys, asked_at }, Ok(Reply::Kept(kept))) => {
                self.is_keeper_busy = false;
                let of = |wanted: (bool, Option<bool>)| -> Vec<CallKey> {
                    let are = keys.iter().filter(|(_, id, is_answered)| {
                        kept.contains(id) == wanted.0
                            && wanted.1.is_none_or(|wanted| wanted == *is_answered)
                    });
                    are.map(|(key, _, _)| *key).collect()
                };
                let lost = of((false, None));
                let (ringing, answered) = (of((true, Some(false))), of((true, Some(true))));
                self.command(cx, Command::RingingKept(ringing));
                self.command(cx, Command::Kept(answered));
                self.command(cx, Command::Lost(lost));
                if cx.now - asked_at >= LEASE_LIMIT.as_micros() as u64 / 2 {
                    self.wake(cx, 2 * OWNED_MARGIN, Wake::KeptLate);
                }
                self.keep_next(cx);
            }
            (Pending::Keep { keys, .. }, _) => {
                self.forget(cx, keys.into_iter().map(|(key, _, _)| key).collect());
                cx.note(format!("{} does not keep calls for now", name(self.node)));
                self.is_keeping = false;
                self.wake(cx, KEEPER_TRIES_AFTER, Wake::KeeperPing);
            }
            (Pending::KeeperPing, Ok(_)) => {
                self.is_keeper_busy = false;
                self.is_keeping = true;
                if self.flaw != Flaw::ForgetsMissing {
                    self.wake(cx, 0, Wake::KeepMissing { rounds: MISSING_ROUNDS });
                }
            }
            (Pending::KeeperPing, Err(())) => {
                self.wake(cx, KEEPER_TRIES_AFTER, Wake::KeeperPing);
            }
            (Pending::Records(_), Ok(_)) => {
                self.is_writing = false;
                self.write_next(cx);
            }
            (Pending::Records(records), Err(())) => {
                self.is_writing = false;
                self.spool.extend(records);
                self.spool_again_at = Some(cx.now + RECORDER_TRIES_AFTER);
                self.wake(cx, RECORDER_TRIES_AFTER, Wake::SpoolAgain);
            }
            (Pending::Glue(asked), reply) => self.on_answer(cx, asked, reply),
        }
    }

    fn on_wake(&mut self, cx: &mut Cx, wake: Wake) {
        match wake {
            Wake::Linger => {
                self.is_lingering = false;
                self.write_next(cx);
            }
            Wake::SpoolAgain => {
                self.spool_again_at = None;
                self.write_next(cx);
            }
            Wake::KeeperPing => {
                let left = std::mem::take(&mut self.keep_queue);
                self.forget(cx, left.into_iter().map(|(key, _)| key).collect());
                self.ask_store(cx, Op::Ping, Pending::KeeperPing);
            }
            Wake::KeepMissing { rounds } => {
                self.command(cx, Command::KeepMissing);
                if rounds > 1 && self.is_keeping {
                    self.wake(cx, KEEPER_TRIES_AFTER, Wake::KeepMissing { rounds: rounds - 1 });
                }
            }
            Wake::EndOfHold => {
                while self.ends_of_holds.front().is_some_and(|(until, _)| *until <= cx.now) {
                    let (_, call) = self.ends_of_holds.pop_front().expect("it is there");
                    self.send_held(cx, call);
                }
            }
            // One of an earlier standstill is not for this one.
            Wake::GoOn if self.waits_until.is_some_and(|until| cx.now >= until) => self.go_on(cx),
            Wake::GoOn => {}
            other => self.on_glue_wake(cx, other),
        }
    }

    fn keep_next(&mut self, cx: &mut Cx) {
        if self.is_keeper_busy || self.keep_queue.is_empty() {
            return;
        }
        // Of a call that stands twice in it, the later state counts.
        let mut latest: HashMap<CallKey, KeptCall> = HashMap::new();
        let mut order = Vec::new();
        for (key, call) in self.keep_queue.drain(..) {
            if latest.insert(key, call).is_none() {
                order.push(key);
            }
        }
        let (mut keys, mut calls) = (Vec::new(), Vec::new());
        for key in order {
            let call = latest.remove(&key).expect("it was put there");
            keys.push((key, call.call_id, call.answered_at.is_some()));
            calls.push(call);
        }
        self.is_keeper_busy = true;
        let lease = self.lease.clone();
        let asked_at = cx.now;
        self.ask_store(cx, Op::Keep { lease, calls }, Pending::Keep { keys, asked_at });
    }

    fn forget(&mut self, cx: &mut Cx, calls: Vec<CallKey>) {
        if self.flaw != Flaw::ForgetsMissing {
            self.command(cx, Command::NotKept(calls));
        }
    }

    /// The next batch of records: what waits in the spool goes first.
    fn write_next(&mut self, cx: &mut Cx) {
        if self.is_writing || self.is_lingering {
            return;
        }
        if self.spool_again_at.is_some() {
            self.spool.append(&mut self.records);
            return;
        }
        let batch = match self.spool.is_empty() {
            true => std::mem::take(&mut self.records),
            false => {
                self.spool.append(&mut self.records);
                std::mem::take(&mut self.spool)
            }
        };
        if !batch.is_empty() {
            self.is_writing = true;
            self.ask_store(cx, Op::Records(batch.clone()), Pending::Records(batch));
        }
    }

    /// What a run that ends, or dies, leaves on its disk.
    pub fn into_spool(mut self, is_orderly: bool) -> Vec<Written> {
        let in_flight = self.pending.into_values().filter_map(|pending| match pending {
            Pending::Records(records) => Some(records),
            Pending::Keep { .. } | Pending::KeeperPing | Pending::Glue(_) => None,
        });
        if is_orderly {
            self.spool.extend(in_flight.flatten());
            self.spool.append(&mut self.records);
        }
        self.spool
    }

    /// Starts with what an earlier run has left.
    pub fn begin(&mut self, cx: &mut Cx, spool: Vec<Written>) {
        self.spool = spool;
        self.write_next(cx);
        self.tick(cx);
        self.drain(cx);
    }

    fn record(&mut self, cx: &mut Cx, record: &CallRecord) {
        self.records.push(Written {
            call_id: record.call_id,
            inbound_call_id: record.inbound_call_id.clone(),
            node: self.lease.node.clone(),
        });
        if !self.is_lingering {
            self.is_lingering = true;
            self.wake(cx, LINGER, Wake::Linger);
        }
    }

    fn drain(&mut self, cx: &mut Cx) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send { flow, bytes } => self.send(cx, flow, bytes),
                Output::SendKept { call, flow, bytes } => {
                    self.held.entry(call).or_default().push((flow, bytes));
                    self.ends_of_holds.push_back((cx.now + KEEP_WAIT, call));
                    self.wake(cx, KEEP_WAIT, Wake::EndOfHold);
                }
                Output::Keep { call, replica } => match self.is_keeping {
                    true => {
                        self.keep_queue.extend(KeptCall::new(*replica).map(|kept| (call, kept)))
                    }
                    false => {
                        self.send_held(cx, call);
                        self.not_kept(cx, call);
                    }
                },
                Output::KeepRinging { call, replica } if self.is_keeping => {
                    self.keep_queue.extend(KeptCall::ringing(*replica).map(|kept| (call, kept)));
                }
                Output::KeepRinging { call, .. } => self.not_kept(cx, call),
                Output::Released { call_id, to } => {
                    self.glue.released.entry(to).or_default().push(call_id);
                }
                Output::Unknown { request, looks } => self.on_unknown(cx, (request, looks)),
                Output::Record(record) => self.record(cx, &record),
                Output::Outcome(_) | Output::Event(_) => {}
            }
        }
        self.keep_next(cx);
    }

    fn not_kept(&mut self, cx: &Cx, call: CallKey) {
        self.engine.handle_command(Command::NotKept(vec![call]), cx.instant());
    }

    fn send_held(&mut self, cx: &mut Cx, call: CallKey) {
        for (flow, bytes) in self.held.remove(&call).unwrap_or_default() {
            self.send(cx, flow, bytes);
        }
    }

    fn send(&mut self, cx: &mut Cx, flow: Flow, bytes: Bytes) {
        let to = flow.remote;
        if let Some(other) = (0..3).find(|other| ping_address(*other) == to) {
            return self.glue_answers_ping(cx, other, &bytes);
        }
        if let Some(other) = (0..3).find(|other| address(*other) == to) {
            cx.message(&format!("{} -> {}", name(self.node), name(other)), &bytes);
            let from = address(self.node);
            let at = cx.now + cx.between_ms(1, 5);
            return cx.at(at, Event::ToAddress { node: other, from, bytes });
        }
        self.note_request(cx.now, &bytes);
        cx.node_sends(self.node, to, bytes);
    }

    /// New requests within dialogs, for the checks.
    fn note_request(&mut self, now: u64, bytes: &Bytes) {
        let Some(text) = super::text::Text::parse(bytes) else { return };
        let is_in_dialog = text.is_request() && !text.tag_of_to().is_empty();
        let method = text.method();
        if is_in_dialog && method != "ACK" && self.branches.insert(text.branch().to_owned()) {
            let entry = (now, text.call_id().to_owned(), method.to_owned(), text.start.clone());
            self.requests.push(entry);
        }
    }
}

/// All gateways are well, and nobody probes them.
fn view(tables: &Tables, now: std::time::Instant) -> Option<Arc<View>> {
    let settings = BoardSettings { node: "sim".into(), probe_timeout: Duration::from_secs(1) };
    let mut board = Board::new(settings, 1);
    let targets: Vec<Target> = (1..=tables::GATEWAYS)
        .map(|id| Target { gateway_id: GatewayId(id), address: tables::address(id) })
        .collect();
    board.set_targets(tables, &targets, now);
    board.poll_view(now)
}

pub fn latency(cx: &mut Cx) -> u64 {
    match cx.random.below(20) {
        0 => cx.between_ms(20, 300),
        1..4 => cx.between_ms(5, 20),
        _ => cx.between_ms(1, 4),
    }
}

pub fn wall(skew: Duration, is_ahead: bool, now: u64) -> SystemTime {
    let wall =
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_micros(now);
    if is_ahead { wall + skew } else { wall - skew }
}
