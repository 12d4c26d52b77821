//! One engine, its board, the agents around it, and one clock.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use holdfast::call::{CallRecord, SessionPolicy};
use holdfast::carrier::{GatewayId, Tables, Transport};
use holdfast::engine::{
    Command, Engine, EngineSettings, Flow, Listener, ListenerId, Output, Received,
};
use holdfast::health::{Board, BoardSettings, Reachability, Target, View};

use super::checks::{Checks, Violation};
use super::cx::{Cx, Event, MS, S};
use super::gate::Gate;
use super::link::{Link, Profile};
use super::party::{Party, Side, State};
use super::plan::{self, Plan, Step, Temper};
use super::tables;
use super::text::Text;

pub const ENGINE: &str = "203.0.113.1:5060";
/// Longer than any call whose agents both live: what it ends has lost both.
const MAX_CALL: Duration = Duration::from_secs(300);
/// How long probes go on after the last agent has ended.
const PROBED: u64 = 60 * S;
/// Time after the last agent has ended in which the engine must come to rest.
const QUIET: u64 = 660 * S;

#[derive(Debug)]
pub struct World {
    pub cx: Cx,
    pub checks: Checks,
    pub parties: Vec<Party>,
    pub records: Vec<CallRecord>,
    engine: Engine,
    board: Board,
    view: Arc<View>,
    /// When each probe was sent, and to whom.
    pub probes: Vec<(u64, Target)>,
    origin: Instant,
    is_probing: bool,
    /// Agents by Call-ID.
    by_call_id: HashMap<String, Vec<usize>>,
    /// Calls still to be begun, and what their agents are to do where that is not drawn.
    calls_left: usize,
    calls: usize,
    scripts: Vec<(Plan, Plan)>,
    /// Every carrier asks for credentials.
    pub gate: Option<Gate>,
    wire: DefaultHasher,
}

impl World {
    /// A world that makes `calls` calls, two a second.
    pub fn drawn(seed: u64, profile: Profile, calls: usize) -> Self {
        Self::drawn_with(seed, profile, calls, "refuse")
    }

    /// One whose agents have each other transferred, which the engine carries out.
    pub fn transferring(seed: u64, profile: Profile, calls: usize) -> Self {
        let mut this = Self::drawn_with(seed, profile, calls, "local");
        this.cx.transfers = true;
        this
    }

    fn drawn_with(seed: u64, profile: Profile, calls: usize, refer: &str) -> Self {
        let mut this = Self::new(seed, profile, refer);
        this.calls_left = calls;
        if this.cx.chance(0.5) {
            this.cx.closed.insert(tables::address(4));
        }
        this.cx.at(0, Event::NewCall);
        this
    }

    /// A world with one call between agents that do what they are told.
    pub fn scripted(seed: u64, profile: Profile, caller: Plan, carrier: Plan) -> Self {
        let mut this = Self::new(seed, profile, "refuse");
        this.calls_left = 1;
        this.scripts.push((caller, carrier));
        this.cx.at(0, Event::NewCall);
        this
    }

    fn new(seed: u64, profile: Profile, refer: &str) -> Self {
        let origin = origin();
        let address: SocketAddr = ENGINE.parse().expect("an address");
        let settings = EngineSettings {
            listeners: vec![Listener {
                transport: Transport::Udp,
                address,
                advertised: ENGINE.into(),
            }],
            bucket_key: 7,
            max_call_duration: Some(MAX_CALL),
            session: SessionPolicy { session_expires_s: 90, min_se_s: 90 },
            ..EngineSettings::default()
        };
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut engine = Engine::new(settings, seed ^ 0x5eed, origin, wall);
        let mut rows = tables::rows();
        rows.customers[0].refer = refer.to_owned();
        let tables = Tables::check(rows, 1).expect("good rows");
        let mut board = Board::new(
            BoardSettings { node: "sim".into(), probe_timeout: Duration::from_secs(1) },
            seed ^ 0xb0a2d,
        );
        let targets: Vec<Target> = (1..=tables::GATEWAYS)
            .map(|id| Target { gateway_id: GatewayId(id), address: tables::address(id) })
            .collect();
        board.set_targets(&tables, &targets, origin);
        engine.handle_command(Command::Tables(Arc::new(tables)), origin);
        Self {
            cx: Cx::new(seed, address, Link::new(profile)),
            checks: Checks::default(),
            parties: Vec::new(),
            records: Vec::new(),
            engine,
            board,
            view: Arc::default(),
            probes: Vec::new(),
            origin,
            is_probing: true,
            by_call_id: HashMap::new(),
            calls_left: 0,
            calls: 0,
            scripts: Vec::new(),
            gate: None,
            wire: DefaultHasher::new(),
        }
    }

    /// Plays everything, waits until it is quiet, and checks what is left.
    pub fn run(&mut self) {
        self.drain();
        while self.checks.violations.is_empty() {
            let is_over = self.calls_left == 0
                && self
                    .parties
                    .iter()
                    .all(|party| party.state == State::Ended || party.facts.is_vanished);
            if is_over || self.cx.now > 3_600 * S {
                break;
            }
            self.step();
        }
        let (probed_until, end) = (self.cx.now + PROBED, self.cx.now + QUIET);
        while self.checks.violations.is_empty() && self.next_at() <= probed_until {
            self.step();
        }
        self.is_probing = false;
        while self.checks.violations.is_empty() && self.next_at() <= end {
            self.step();
        }
        if self.checks.violations.is_empty() {
            self.checks.calls_over(&self.parties, &self.records, self.calls);
            let is_asleep = self.engine.poll_timeout().is_none();
            self.checks.at_rest(self.engine.counters(), is_asleep);
        }
    }

    /// What was sent when to whom, as one number.
    pub fn digest(&self) -> u64 {
        self.wire.finish()
    }

    /// Answers of carriers that the engine had left, or of another branch.
    pub fn late_answers(&self) -> u64 {
        self.engine.counters().late_answers
    }

    /// Transfers that were carried out.
    pub fn transfers(&self) -> u64 {
        self.engine.counters().transfers
    }

    /// The ladder of a violation's call.
    pub fn explain(&self, violation: &Violation) -> String {
        let Some(call) = violation.call else { return violation.what.clone() };
        let calls: HashMap<String, usize> = self
            .by_call_id
            .iter()
            .map(|(id, parties)| (id.clone(), self.parties[parties[0]].call))
            .collect();
        let agents: String = self
            .parties
            .iter()
            .filter(|party| party.call == call)
            .map(|party| {
                let (side, state) = (party.side, party.state);
                format!(
                    "  {side:?} {} {} {state:?}: {}\n",
                    party.id, party.address, party.plan.name
                )
            })
            .collect();
        format!("{}\n{agents}{}", violation.what, self.cx.ladder.of_call(&calls, call))
    }

    /// What the board believes of a target now.
    pub fn state_of(&self, target: Target) -> Option<Reachability> {
        self.view.target(target).map(|view| view.reachability)
    }

    fn next_at(&self) -> u64 {
        let engine = self.engine.poll_timeout().map(|at| self.micros(at));
        let board = self.board.poll_timeout().filter(|_| self.is_probing);
        let board = board.map(|at| self.micros(at));
        [self.cx.next_at(), engine, board].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    fn step(&mut self) {
        let at = self.next_at();
        assert_ne!(at, u64::MAX, "a world with agents has something to wait for");
        self.cx.now = at.max(self.cx.now);
        let now = self.instant();
        if self.engine.poll_timeout().is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now);
        } else if self.is_probing && self.board.poll_timeout().is_some_and(|due| due <= now) {
            self.board.handle_timeout(now);
        } else if let Some(event) = self.cx.pop() {
            self.play(event);
        }
        self.drain();
    }

    fn play(&mut self, event: Event) {
        let now = self.instant();
        match event {
            Event::ToEngine { from, bytes } => {
                self.cx.ladder.note(self.cx.now, from, "->", &bytes);
                self.checks.received(self.cx.now, from, &bytes);
                let flow = Flow::new(ListenerId(0), from);
                self.engine.handle_received(Received { bytes, flow }, now);
            }
            Event::Unreachable { to } => {
                let flow = Flow::new(ListenerId(0), to);
                self.engine.handle_command(Command::Unreachable { flow }, now);
            }
            Event::ToAgent { to, bytes } => self.hand_over(to, &bytes),
            Event::Act { party, act } => self.parties[party].act(&mut self.cx, act),
            Event::NewCall => self.new_call(),
        }
        for (call, replaces) in std::mem::take(&mut self.cx.replacements) {
            self.replace(call, replaces);
        }
        for (parent, answers_after) in std::mem::take(&mut self.cx.forks) {
            let plan = Plan {
                name: "is a fork",
                before: vec![(answers_after, Step::Answer)],
                after: self.parties[parent].plan.after.clone(),
                ..Plan::default()
            };
            let id = self.parties.len();
            let mut fork = self.parties[parent].fork(&mut self.cx, id, plan);
            fork.begin(&mut self.cx);
            self.enlist(fork);
        }
    }

    fn replace(&mut self, call: usize, replaces: String) {
        let id = self.parties.len();
        let plan = plan::replacing(&mut self.cx, replaces);
        let host = std::net::Ipv4Addr::new(192, 0, 2, 201).into();
        let address = SocketAddr::new(host, 10_000 + id as u16);
        let mut party = Party::caller(&mut self.cx, id, call, address, plan);
        party.begin(&mut self.cx);
        self.enlist(party);
    }

    fn new_call(&mut self) {
        let (id, call) = (self.parties.len(), self.calls);
        let plan = match self.scripts.get(call) {
            Some((caller, _)) => caller.clone(),
            None => plan::caller(&mut self.cx),
        };
        let address = SocketAddr::new(
            std::net::Ipv4Addr::new(192, 0, 2, 1 + (call % 200) as u8).into(),
            10_000 + call as u16,
        );
        let mut party = Party::caller(&mut self.cx, id, call, address, plan);
        party.begin(&mut self.cx);
        self.enlist(party);
        self.calls += 1;
        self.calls_left -= 1;
        if self.calls_left > 0 {
            let at = self.cx.now + self.cx.between_ms(1, 1_000);
            self.cx.at(at, Event::NewCall);
        }
    }

    fn enlist(&mut self, party: Party) {
        self.checks.knows(&party.call_id, party.side, party.call);
        self.by_call_id.entry(party.call_id.clone()).or_default().push(party.id);
        self.parties.push(party);
    }

    fn hand_over(&mut self, to: SocketAddr, bytes: &Bytes) {
        // What cannot be read has been complained of when it was sent.
        let Some(text) = Text::parse(bytes) else { return };
        if let Some(gate) = &mut self.gate
            && side_of(to) == Some(Side::Carrier)
            && text.is_request()
            && let Some(challenge) = gate.challenge(self.cx.now, &text)
        {
            return self.cx.agent_sends(to, challenge.print());
        }
        let known = self.by_call_id.get(text.call_id()).cloned().unwrap_or_default();
        let tag = if text.is_request() { text.tag_of_to() } else { text.tag_of_from() };
        let is_for = |id: &usize| {
            let party = &self.parties[*id];
            party.address == to && (tag.is_empty() || tag == party.local_tag)
        };
        let receivers: Vec<usize> = known.into_iter().filter(is_for).collect();
        for id in &receivers {
            self.parties[*id].receive(&mut self.cx, text.clone());
        }
        if !receivers.is_empty() || !text.is_request() {
            return;
        }
        match text.method() {
            "INVITE" if tag.is_empty() => self.new_attempt(to, text),
            "OPTIONS" => {
                let response = text.response_to(200, "OK", "krrprobe");
                self.cx.agent_sends(to, response.print());
            }
            "ACK" => {}
            _ => {
                let response = text.response_to(481, "Call/Transaction Does Not Exist", "krrnone");
                self.cx.agent_sends(to, response.print());
            }
        }
    }

    fn new_attempt(&mut self, to: SocketAddr, invite: Text) {
        let id = self.parties.len();
        let plan = match self.scripts.first() {
            Some((_, carrier)) => carrier.clone(),
            None => plan::carrier(&mut self.cx, temper(to)),
        };
        let Some(mut party) = Party::carrier(&mut self.cx, id, to, &invite, plan) else {
            return self.checks.complain(None, "an INVITE without its call's header".to_owned());
        };
        party.receive(&mut self.cx, invite);
        self.enlist(party);
    }

    /// Outputs go out, outcomes to the board, the board's wishes to the engine, until all is said.
    fn drain(&mut self) {
        let now = self.instant();
        loop {
            while let Some(output) = self.engine.poll_output() {
                match output {
                    Output::Send { flow, bytes } => self.send(flow.remote, bytes),
                    Output::Outcome(outcome) => self.board.handle_outcome(&outcome, now),
                    Output::Record(record) => {
                        self.checks.recorded(&record);
                        self.records.push(*record);
                    }
                    // Nothing is kept here.
                    _ => {}
                }
            }
            if let Some(view) = self.board.poll_view(now) {
                self.view = view.clone();
                self.engine.handle_command(Command::View(view), now);
            }
            let probe = if self.is_probing { self.board.poll_probe(now) } else { None };
            let Some(probe) = probe else { return };
            let (target, timeout) = (probe.target, probe.timeout);
            self.probes.push((self.cx.now, target));
            self.engine.handle_command(Command::Probe { target, timeout }, now);
        }
    }

    fn send(&mut self, to: SocketAddr, bytes: Bytes) {
        (self.cx.now, to, &bytes[..]).hash(&mut self.wire);
        self.checks.sent(self.cx.now, to, &bytes);
        self.cx.engine_sends(to, bytes);
    }

    fn instant(&self) -> Instant {
        self.origin + Duration::from_micros(self.cx.now)
    }

    /// Rounded up: who waits until then has waited long enough.
    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX - 1)
    }
}

fn temper(gateway: SocketAddr) -> Temper {
    match gateway {
        at if at == tables::address(1) => Temper::Honest,
        at if at == tables::address(2) || at == tables::address(3) => Temper::Moody,
        _ => Temper::Bad,
    }
}

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn origin() -> Instant {
    Instant::now()
}

/// Whose address this is.
pub fn side_of(address: SocketAddr) -> Option<Side> {
    let text = address.ip().to_string();
    if text.starts_with("192.0.2.") {
        Some(Side::Caller)
    } else if text.starts_with("198.51.100.") {
        Some(Side::Carrier)
    } else {
        None
    }
}

/// Keeps the unit in sight where times are compared.
pub const fn ms(time: u64) -> u64 {
    time / MS
}
