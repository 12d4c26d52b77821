//! Nodes, their store, the peers around them, and what befalls them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast::carrier::Tables;
use holdfast::engine::Command;
use holdfast::store::answered::{ClaimedCall, KeptCall};
use uuid::Uuid;

use super::agent::{Agent, Plan, Side, State};
use super::checks::Checks;
use super::cx::{Act, Cx, Event, MS, S, ToRun, address, name, node_at};
use super::faults::{self, Fault};
use super::glue::Drain;
use super::link::Profile;
use super::node::{self, Run};
use super::store::{Flaw, Op, Reply, Store, Written};
use super::tables;
use super::text::Text;

/// Whatever happens, a world is over by then.
const END: u64 = 420 * S;
/// Calls a drain has not got rid of by then are ended.
const DRAIN_LIMIT: u64 = 40 * S;
const CALLS: usize = 6;

pub struct Node {
    pub run: Option<Run>,
    pub region: Option<String>,
    skew: (Duration, bool),
    frozen: Option<(u64, u64)>,
    deferred: Vec<ToRun>,
    spool: Vec<Written>,
    drains_until: Option<u64>,
}

/// One run of a node, past or present.
#[derive(Clone, Debug)]
pub struct Life {
    pub node: usize,
    pub died_at: Option<u64>,
}

pub struct World {
    pub cx: Cx,
    pub store: Store,
    pub nodes: Vec<Node>,
    pub agents: Vec<Agent>,
    pub checks: Checks,
    pub lives: BTreeMap<i64, Life>,
    /// Which call of the store a dialog belongs to.
    pub uuids: HashMap<String, Uuid>,
    /// The caller's Call-ID of calls that were kept while they rang.
    pub ringing: HashMap<Uuid, String>,
    /// Calls that were cut by the end of a drain.
    pub was_cut: bool,
    /// What has befallen the world: from, to.
    pub troubles: Vec<(Fault, u64, u64)>,
    pub calls: usize,
    calls_left: usize,
    tables: Arc<Tables>,
    by_call_id: HashMap<String, usize>,
    stalled_until: u64,
    away_until: u64,
    store_cut_until: [u64; 3],
    nodes_cut_until: BTreeMap<(usize, usize), u64>,
    faults_left: usize,
}

impl World {
    pub fn drawn(seed: u64, profile: Profile, flaw: Flaw) -> Self {
        let mut this = Self::new(seed, profile, flaw);
        faults::draw(&mut this.cx, this.nodes.len());
        this.calls_left = CALLS;
        this.cx.at(0, Event::NewCall);
        this
    }

    fn new(seed: u64, profile: Profile, flaw: Flaw) -> Self {
        let mut cx = Cx::new(seed, profile);
        let regional = cx.chance(0.2);
        let region = regional.then(|| "eu".to_owned());
        let mut rows = tables::rows();
        if let Some(region) = &region {
            rows.customers.iter_mut().for_each(|row| row.region = Some(region.clone()));
            rows.gateways.iter_mut().for_each(|row| row.region = Some(region.clone()));
        }
        let tables = Arc::new(Tables::check(rows, 1).expect("good rows"));
        let count = 2 + cx.random.below(2) as usize;
        let is_skewed = cx.chance(0.5);
        let nodes = (0..count).map(|node| {
            let drawn = match cx.random.below(4) {
                _ if !regional => None,
                0 => None,
                1 if node > 0 => Some("us"),
                _ => Some("eu"),
            };
            let skew = if is_skewed { cx.random.below(4_000) } else { 0 };
            Node {
                run: None,
                region: drawn.map(str::to_owned),
                skew: (Duration::from_millis(skew), cx.chance(0.5)),
                frozen: None,
                deferred: Vec::new(),
                spool: Vec::new(),
                drains_until: None,
            }
        });
        let nodes: Vec<Node> = nodes.collect();
        let mut this = Self {
            cx,
            store: Store { flaw, ..Store::default() },
            nodes,
            agents: Vec::new(),
            checks: Checks::default(),
            lives: BTreeMap::new(),
            uuids: HashMap::new(),
            ringing: HashMap::new(),
            was_cut: false,
            troubles: Vec::new(),
            calls: 0,
            calls_left: 0,
            tables,
            by_call_id: HashMap::new(),
            stalled_until: 0,
            away_until: 0,
            store_cut_until: [0; 3],
            nodes_cut_until: BTreeMap::new(),
            faults_left: 0,
        };
        (0..count).for_each(|node| this.start(node));
        this
    }

    /// Plays everything to its end, and checks what is left.
    pub fn run(&mut self) {
        while self.checks.violations.is_empty() && self.cx.now < END && !self.is_over() {
            self.step();
        }
        if self.checks.violations.is_empty() {
            let spools = self.nodes.iter_mut().map(|node| std::mem::take(&mut node.spool));
            let spools: Vec<Written> = spools.flatten().collect();
            self.store.write(&spools);
            self.at_end();
        }
    }

    fn is_over(&self) -> bool {
        self.calls_left == 0
            && self.cx.now > 35 * S
            && self.faults_left == 0
            && self.agents.iter().all(|agent| agent.state == State::Ended)
            && self.nodes.iter().all(|node| {
                node.frozen.is_none()
                    && node.drains_until.is_none()
                    && node.run.as_ref().is_none_or(Run::is_idle)
            })
            && self.store.rows.is_empty()
    }

    fn step(&mut self) {
        let queue_at = self.cx.next_at().unwrap_or(u64::MAX);
        let mut first = (queue_at, None);
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(run) = &node.run else { continue };
            if node.frozen.is_some() || run.waits_until.is_some() {
                continue;
            }
            if let Some(at) = run.engine.poll_timeout() {
                let at = self.cx.micros(at);
                if at < first.0 {
                    first = (at, Some(index));
                }
            }
        }
        self.cx.now = first.0.max(self.cx.now);
        match first.1 {
            Some(node) => {
                if let Some(run) = &mut self.nodes[node].run {
                    run.time_out(&mut self.cx);
                }
                self.look_at(node);
            }
            None => {
                if let Some(event) = self.cx.pop() {
                    self.play(event);
                }
            }
        }
    }

    fn play(&mut self, event: Event) {
        match event {
            Event::ToRun { node, run, what } => self.to_run(node, run, what),
            Event::ToAddress { node, from, bytes } => self.to_address(node, from, bytes),
            Event::ToAgent { to, bytes } => self.to_agent(to, &bytes),
            Event::ToStore { node, run, token, op } => self.to_store(node, run, token, op),
            Event::Act { agent, act } => self.agents[agent].act(&mut self.cx, act),
            Event::NewCall => self.new_call(),
            Event::Fault(fault) => self.begin(fault),
            Event::EndOfFault(fault) => self.end_of(fault),
            Event::Check { call, node, run } => self.check_refreshed(call, node, run),
        }
    }

    fn to_run(&mut self, node: usize, run: u64, what: ToRun) {
        if self.nodes[node].run.as_ref().is_none_or(|current| current.id != run) {
            return;
        }
        if let ToRun::Reply { token, reply } = what {
            let now = self.cx.now;
            if self.store_cut_until[node] > now {
                let at = self.store_cut_until[node] + node::latency(&mut self.cx);
                let what = ToRun::Reply { token, reply };
                return self.cx.at(at, Event::ToRun { node, run, what });
            }
            let reply = if self.away_until > now { Err(()) } else { reply };
            return self.hand(node, ToRun::Reply { token, reply });
        }
        let is_tick = matches!(what, ToRun::Tick);
        self.hand(node, what);
        if is_tick {
            self.look_at_drain(node);
        }
    }

    fn hand(&mut self, node: usize, what: ToRun) {
        let state = &mut self.nodes[node];
        match (&state.frozen, &mut state.run) {
            (Some(_), Some(_)) => state.deferred.push(what),
            (None, Some(run)) => run.handle(&mut self.cx, what),
            (_, None) => {}
        }
        self.look_at(node);
    }

    fn to_address(&mut self, node: usize, from: SocketAddr, bytes: Bytes) {
        if node >= self.nodes.len() {
            return;
        }
        if let Some(other) = node_at(from)
            && self.is_cut(node, other)
        {
            return;
        }
        let state = &mut self.nodes[node];
        if state.frozen.is_none()
            && let Some(run) = &mut state.run
            && run.take_ping_answer(&self.cx, &bytes)
        {
            return;
        }
        self.hand(node, ToRun::Datagram { from, bytes });
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        let pair = (one.min(other), one.max(other));
        self.nodes_cut_until.get(&pair).is_some_and(|until| *until > self.cx.now)
    }

    fn to_agent(&mut self, to: SocketAddr, bytes: &Bytes) {
        let Some(text) = Text::parse(bytes) else { return };
        if let Some(id) = self.by_call_id.get(text.call_id()).copied() {
            let agent = &self.agents[id];
            if agent.address != to && agent.former != Some(to) && text.is_request() {
                return;
            }
            let report = self.agents[id].receive(&mut self.cx, &text);
            if let Some(report) = report {
                self.on_report(&report);
            }
            return;
        }
        if text.is_request() && text.method() == "INVITE" && text.tag_of_to().is_empty() {
            let plan = self.callee_plan(&text);
            let id = self.agents.len();
            let mut agent = Agent::callee(&mut self.cx, id, to, &text, plan);
            agent.on_request(&mut self.cx, &text);
            self.enlist(agent);
        }
    }

    fn to_store(&mut self, node: usize, run: u64, token: u64, op: Box<Op>) {
        let now = self.cx.now;
        let later = |cx: &mut Cx, at: u64, op| {
            let at = at + node::latency(cx);
            cx.at(at, Event::ToStore { node, run, token, op });
        };
        if self.store_cut_until[node] > now {
            // What was on its way may still arrive.
            if self.cx.chance(0.5) {
                later(&mut self.cx, self.store_cut_until[node], op);
            }
            return;
        }
        if self.away_until > now {
            let at = now + node::latency(&mut self.cx);
            let what = ToRun::Reply { token, reply: Err(()) };
            return self.cx.at(at, Event::ToRun { node, run, what });
        }
        if self.stalled_until > now {
            return later(&mut self.cx, self.stalled_until, op);
        }
        if let Op::Keep { calls, .. } = &*op {
            for call in calls.iter().filter(|call| call.answered_at.is_none()) {
                self.learn_ringing(call);
            }
        }
        let reply = self.store.execute(&op, now);
        self.look_at_store();
        if let (Op::Keep { calls, .. }, Reply::Kept(kept)) = (&*op, &reply) {
            let is_up = |call: &&KeptCall| call.answered_at.is_some();
            for call in calls.iter().filter(is_up).filter(|call| kept.contains(&call.call_id)) {
                self.learn(call.call_id, &call.state);
            }
        }
        self.reply(node, run, token, reply);
    }

    fn reply(&mut self, node: usize, run: u64, token: u64, reply: Reply) {
        let at = self.cx.now + node::latency(&mut self.cx);
        let what = ToRun::Reply { token, reply: Ok(reply) };
        self.cx.at(at, Event::ToRun { node, run, what });
    }

    fn learn_ringing(&mut self, call: &KeptCall) {
        let claimed = ClaimedCall {
            call_id: call.call_id,
            taken_from: String::new(),
            is_answered: false,
            state: call.state.clone(),
        };
        let replica = claimed.ringing().expect("it was written by us");
        self.ringing.insert(call.call_id, replica.record.inbound_call_id);
    }

    /// Which dialogs a kept call has.
    fn learn(&mut self, call_id: Uuid, state: &str) {
        if self.uuids.values().any(|known| *known == call_id) {
            return;
        }
        let claimed = ClaimedCall {
            call_id,
            taken_from: String::new(),
            is_answered: true,
            state: state.to_owned(),
        };
        let replica = claimed.replica().expect("it was written by us");
        let outbound = String::from_utf8_lossy(&replica.outbound.dialog.call_id).into_owned();
        self.uuids.insert(replica.record.inbound_call_id, call_id);
        self.uuids.insert(outbound, call_id);
    }

    fn new_call(&mut self) {
        let call = self.calls;
        let open: Vec<usize> = (0..self.nodes.len())
            .filter(|node| {
                let node = &self.nodes[*node];
                node.run.is_some() && node.drains_until.is_none()
            })
            .collect();
        self.calls_left -= 1;
        if self.calls_left > 0 {
            let after = self.cx.between_ms(50, 4_000);
            self.cx.at(self.cx.now + after, Event::NewCall);
        }
        let at = self.cx.random.below(open.len() as u64) as usize;
        let Some(node) = open.get(at).copied() else { return };
        let plan = self.caller_plan();
        let host: SocketAddr =
            format!("192.0.2.{}:{}", 1 + call % 200, 10_000 + call).parse().expect("an address");
        let id = self.agents.len();
        let agent = Agent::caller(&mut self.cx, id, call, host, address(node), plan);
        self.enlist(agent);
        self.calls += 1;
        self.checks.begun.push(node);
        self.agents[id].act(&mut self.cx, Act::Invite);
    }

    fn enlist(&mut self, agent: Agent) {
        self.by_call_id.insert(agent.call_id.clone(), agent.id);
        self.agents.push(agent);
    }

    fn plan(&mut self) -> Plan {
        let cx = &mut self.cx;
        let mut acts = Vec::new();
        for _ in 0..cx.random.below(3) {
            let act = match cx.random.below(4) {
                0 | 1 => Act::Info,
                2 => Act::Reinvite,
                _ => Act::Move,
            };
            acts.push((cx.between_ms(50, 20_000), act));
        }
        let refuses = [491, 500, 403, 401];
        let refuses_once =
            cx.chance(0.25).then(|| refuses[cx.random.below(refuses.len() as u64) as usize]);
        Plan {
            acts,
            rings_after: cx.between_ms(20, 300),
            answers_after: cx.between_ms(300, 2_500),
            allows_update: cx.chance(0.5),
            prefers_update: cx.chance(0.5),
            refuses_once,
        }
    }

    fn caller_plan(&mut self) -> Plan {
        let mut plan = self.plan();
        if self.cx.chance(0.5) {
            plan.acts.push((self.cx.between_ms(2_000, 45_000), Act::Hangup));
        }
        plan
    }

    /// Whoever of the two does not hang up waits until it is told.
    fn callee_plan(&mut self, invite: &Text) -> Plan {
        let call: usize =
            invite.get("X-Sim-Call").and_then(|call| call.parse().ok()).unwrap_or_default();
        let caller = self.agents.iter().find(|agent| agent.call == call);
        let is_callers = caller
            .is_some_and(|caller| caller.plan.acts.iter().any(|(_, act)| *act == Act::Hangup));
        let mut plan = self.plan();
        if !is_callers {
            plan.acts.push((self.cx.between_ms(2_000, 45_000), Act::Hangup));
        }
        plan
    }

    fn start(&mut self, node: usize) {
        let id = 1 + self.lives.len() as u64;
        let (skew, is_ahead) = self.nodes[node].skew;
        let wall = node::wall(skew, is_ahead, self.cx.now);
        let region = self.nodes[node].region.clone();
        let flaw = self.store.flaw;
        let mut run = Run::new(&mut self.cx, node, id, region, wall, &self.tables, flaw);
        self.lives.insert(run.lease.id, Life { node, died_at: None });
        let spool = std::mem::take(&mut self.nodes[node].spool);
        run.begin(&mut self.cx, spool);
        self.nodes[node].run = Some(run);
        self.look_at(node);
    }

    fn begin(&mut self, fault: Fault) {
        let now = self.cx.now;
        self.cx.note(fault.text());
        let until = fault.lasts().map_or(u64::MAX, |lasts| now + lasts);
        self.troubles.push((fault, now, until));
        if until < u64::MAX {
            self.faults_left += 1;
            self.cx.at(until, Event::EndOfFault(fault));
        }
        match fault {
            Fault::Crash { node } => self.die(node, false),
            Fault::Restart { node } => {
                if self.nodes[node].run.is_none() {
                    self.end_trouble(|other| *other == Fault::Crash { node });
                    self.start(node);
                }
            }
            Fault::Freeze { node, .. } => {
                let state = &mut self.nodes[node];
                let (since, earlier) = state.frozen.unwrap_or((now, now));
                state.frozen = state.run.as_ref().map(|_| (since, until.max(earlier)));
            }
            Fault::CutFromStore { node, .. } => {
                self.store_cut_until[node] = self.store_cut_until[node].max(until);
            }
            Fault::CutNodes { nodes: (one, other), .. } => {
                let pair = (one.min(other), one.max(other));
                let cut = self.nodes_cut_until.entry(pair).or_default();
                *cut = until.max(*cut);
            }
            Fault::CutFromPeers { node, .. } => self.cx.cut_from_peers[node] = true,
            Fault::Stall { .. } => self.stalled_until = self.stalled_until.max(until),
            Fault::Outage { .. } => self.away_until = self.away_until.max(until),
            Fault::Drain { node } => {
                let state = &mut self.nodes[node];
                if let Some(run) = &mut state.run {
                    state.drains_until = Some(now + DRAIN_LIMIT);
                    run.glue.drain = Drain::HandOver;
                    run.command(&mut self.cx, Command::Drain);
                }
            }
        }
    }

    fn end_of(&mut self, fault: Fault) {
        self.faults_left -= 1;
        let now = self.cx.now;
        match fault {
            Fault::Freeze { node, .. } => {
                let state = &mut self.nodes[node];
                let Some((since, until)) = state.frozen else { return };
                if now < until {
                    return;
                }
                state.frozen = None;
                let mut deferred = std::mem::take(&mut state.deferred);
                // A timeout is looked at only where the answer is not there.
                deferred.sort_by_key(|what| matches!(what, ToRun::TimedOut { .. }));
                self.cx.note(format!("{} goes on", name(node)));
                let Some(run) = &mut self.nodes[node].run else { return };
                run.thaw(&mut self.cx, now - since);
                for what in deferred {
                    if let ToRun::Datagram { bytes, .. } = &what
                        && let Some(run) = &mut self.nodes[node].run
                        && run.take_ping_answer(&self.cx, bytes)
                    {
                        continue;
                    }
                    self.hand(node, what);
                }
            }
            Fault::CutFromPeers { node, .. } => self.cx.cut_from_peers[node] = false,
            _ => {}
        }
    }

    fn end_trouble(&mut self, is_it: impl Fn(&Fault) -> bool) {
        let now = self.cx.now;
        for (fault, _, until) in &mut self.troubles {
            if is_it(fault) && *until == u64::MAX {
                *until = now;
            }
        }
    }

    fn die(&mut self, node: usize, is_orderly: bool) {
        let now = self.cx.now;
        let state = &mut self.nodes[node];
        state.frozen = None;
        state.deferred.clear();
        state.drains_until = None;
        let Some(run) = state.run.take() else { return };
        let lease = run.lease.id;
        if let Some(life) = self.lives.get_mut(&lease) {
            life.died_at = Some(now);
        }
        if is_orderly {
            let op = Box::new(Op::EndLease { lease });
            let event = Event::ToStore { node, run: run.id, token: 0, op };
            self.cx.at(now + MS, event);
        }
        let mut spool = run.into_spool(is_orderly);
        let is_reached = self.away_until <= now && self.store_cut_until[node] <= now;
        if is_orderly && is_reached {
            self.store.write(&std::mem::take(&mut spool));
        }
        self.nodes[node].spool = spool;
    }

    fn look_at_drain(&mut self, node: usize) {
        let now = self.cx.now;
        let Some(until) = self.nodes[node].drains_until else { return };
        let Some(run) = &mut self.nodes[node].run else { return };
        let calls_now = run.engine.counters().calls_now;
        if calls_now == 0 && (run.glue.is_settled || run.glue.drain == Drain::Stay) {
            self.cx.note(format!("{} has drained", name(node)));
            self.die(node, true);
        } else if now >= until && run.glue.drain == Drain::HandOver {
            self.cx.note(format!("{} ends {calls_now} calls", name(node)));
            self.was_cut |= calls_now > 0;
            run.glue.drain = Drain::Stay;
            run.command(&mut self.cx, Command::EndAllCalls);
        }
    }

    /// What a run has sent meanwhile.
    fn look_at(&mut self, node: usize) {
        let Some(run) = &mut self.nodes[node].run else { return };
        let requests = std::mem::take(&mut run.requests);
        let lease = run.lease.id;
        for (at, call_id, method, _) in requests {
            self.check_request(lease, at, &call_id, &method);
        }
    }

    /// Both agents of a call: the caller, and the callee that it was connected to, or else the last that was tried.
    pub fn pair(&self, call: usize) -> (Option<&Agent>, Option<&Agent>) {
        let of =
            |side| self.agents.iter().filter(move |agent| agent.call == call && agent.side == side);
        let kept = of(Side::Callee).find(|agent| self.uuids.contains_key(&agent.call_id));
        (of(Side::Caller).next(), kept.or(of(Side::Callee).next_back()))
    }
}
