//! One run: calls arrive, carriers answer, the scorer of each node orders and learns.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::call::hunt::Hunt;
use holdfast::call::verdict::{Blame, revise};
use holdfast::carrier::{Class, Observation, Origin, RuleMatch, Stage};
use holdfast::health::PeerTarget;
use holdfast::random::Random;
use holdfast::routing::Candidate;

use super::Contender;
use super::carriers::{Answer, Callee, Fault, Limit, Model, Script, millis};
use super::oracles::{AFTER_S, BEFORE_S, Oracle};
use super::scorer::{Ended, Scorer};
use super::tables::Facts;

/// The usual size of the arena.
pub const CALLS_A_SECOND: f64 = 50.0;
pub const CARRIERS: usize = 4;
/// A caller hangs up after so much ringing.
const PATIENCE: Duration = Duration::from_secs(20);
/// Country codes that are called, all alike.
const COUNTRIES: [u16; 4] = [1, 33, 44, 49];
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Nodes hear of each other every second, what was true so long ago.
const SHARE_EVERY: Duration = Duration::from_secs(1);
const SHARED_AGE: Duration = Duration::from_millis(200);

/// What became of one call.
#[derive(Clone, Copy, Debug)]
pub struct CallRecord {
    /// Since the start of the run.
    pub at: Duration,
    pub node: usize,
    /// Carrier of its first attempt.
    pub first: Option<usize>,
    pub attempts: u32,
    /// Attempts that brought nothing, of a call that could be completed.
    pub wasted: u32,
    /// It failed although its callee could be reached.
    pub is_lost: bool,
    /// Until it rang, was answered, or the callee's side refused it.
    pub reached: Option<Duration>,
}

/// What is measured of one run.
#[derive(Debug, Default)]
pub struct Run {
    pub calls: Vec<CallRecord>,
    /// Seconds that carriers in good health were kept away, added up.
    pub away_s: f64,
    /// How often one was put away.
    pub ejections: u32,
    /// Carrier, start and end of each attempt that was wasted.
    pub wasted: Vec<(usize, Duration, Duration)>,
}

pub fn run(contender: Contender, oracle: &Oracle, calls_a_second: f64, seed: u64) -> Run {
    World::new(contender, oracle, calls_a_second, seed).run()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Response(Answer),
    Timeout,
    /// The route's limit for all attempts together.
    Budget,
    CallerGone,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Responded,
    Rang,
    Ended(End),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Arrival,
    Step { call: usize, step: Step },
    ProbeEnded { node: usize, carrier: usize, status_code: Option<u16>, delay: Duration },
    Share,
    Sample,
}

struct Attempt {
    carrier: usize,
    started: Duration,
    stage: Stage,
    trying: Option<Duration>,
    ringing: Option<Duration>,
}

struct Call {
    record: CallRecord,
    country: u16,
    callee: Callee,
    hunt: Hunt,
    attempt: Option<Attempt>,
    blamed: Option<(usize, Blame)>,
}

struct World {
    oracle: Oracle,
    facts: Facts,
    nodes: Vec<Box<dyn Scorer>>,
    models: Vec<Model>,
    limits: Vec<Limit>,
    calls: Vec<Call>,
    events: BinaryHeap<Reverse<(Duration, u64)>>,
    /// By their number, which also breaks ties.
    queued: Vec<Event>,
    random: Random,
    calls_a_second: f64,
    was_away: Vec<bool>,
    run: Run,
}

impl World {
    fn new(contender: Contender, oracle: &Oracle, calls_a_second: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let facts = Facts::new(CARRIERS, base());
        let scorer = |node: usize| contender.scorer(&facts, node, seed ^ (node as u64 + 77));
        let nodes: Vec<_> = (0..oracle.nodes()).map(scorer).collect();
        let model = |_| Model {
            trying_ms: 20.0 + 30.0 * random.unit_f64(),
            ringing_ms: 1_200.0 + 600.0 * random.unit_f64(),
            spread: 0.25,
            failures: 0.005,
        };
        let models = (0..CARRIERS).map(model).collect();
        let was_away = vec![false; CARRIERS * nodes.len()];
        Self {
            oracle: *oracle,
            facts,
            nodes,
            models,
            limits: vec![Limit::default(); CARRIERS],
            calls: Vec::new(),
            events: BinaryHeap::new(),
            queued: Vec::new(),
            random,
            calls_a_second,
            was_away,
            run: Run::default(),
        }
    }

    fn run(mut self) -> Run {
        let end = Duration::from_secs_f64(BEFORE_S + self.oracle.fault_s + AFTER_S);
        self.queue(Duration::ZERO, Event::Arrival);
        self.queue(SAMPLE_EVERY, Event::Sample);
        if self.nodes.len() > 1 {
            self.queue(SHARE_EVERY, Event::Share);
        }
        while let Some(Reverse((at, number))) = self.events.pop() {
            if at > end {
                break;
            }
            self.wake_until(at);
            match self.queued[number as usize] {
                Event::Arrival => self.arrive(at),
                Event::Step { call, step } => self.step(call, step, at),
                Event::ProbeEnded { node, carrier, status_code, delay } => {
                    let now = self.instant(at);
                    self.nodes[node].probed(carrier, status_code, delay, now);
                }
                Event::Share => self.share(at),
                Event::Sample => self.sample(at),
            }
        }
        self.run.calls = self.calls.into_iter().map(|call| call.record).collect();
        self.run
    }

    /// Lets every node's time pass up to `at`.
    fn wake_until(&mut self, at: Duration) {
        let until = self.instant(at);
        for node in 0..self.nodes.len() {
            while let Some(now) = self.nodes[node].wake_at().filter(|now| *now <= until) {
                let sent_at = now - self.facts.start;
                for (carrier, timeout) in self.nodes[node].wake(now) {
                    self.probe(node, carrier, timeout, sent_at);
                }
            }
        }
    }

    fn probe(&mut self, node: usize, carrier: usize, timeout: Duration, at: Duration) {
        let fault = self.oracle.fault_of(carrier, node, at.as_secs_f64());
        let answer = self.models[carrier].probe(fault, &mut self.random);
        let (delay, status_code) = match answer.filter(|(delay, _)| *delay < timeout) {
            Some((delay, status_code)) => (delay, Some(status_code)),
            None => (timeout, None),
        };
        self.queue(at + delay, Event::ProbeEnded { node, carrier, status_code, delay });
    }

    fn arrive(&mut self, at: Duration) {
        let gap = -(1.0 - self.random.unit_f64()).ln() / self.calls_a_second;
        self.queue(at + Duration::from_secs_f64(gap), Event::Arrival);
        let node = self.random.below(self.nodes.len() as u64) as usize;
        let country = COUNTRIES[self.random.below(COUNTRIES.len() as u64) as usize];
        let callee = self.callee();
        let now = self.instant(at);
        let plan = self.nodes[node].plan(Some(country), now);
        let record = CallRecord {
            at,
            node,
            first: None,
            attempts: 0,
            wasted: 0,
            is_lost: matches!(callee, Callee::Answers | Callee::Away | Callee::Busy),
            reached: None,
        };
        let hunt = Hunt::new(Arc::new(plan));
        self.calls.push(Call { record, country, callee, hunt, attempt: None, blamed: None });
        self.hunt(self.calls.len() - 1, at);
    }

    fn callee(&mut self) -> Callee {
        let has_bad = matches!(self.oracle.fault, Some(Fault::BadNumbers { .. }));
        if has_bad && self.random.unit_f64() < 0.2 {
            return Callee::Bad;
        }
        match self.random.unit_f64() {
            draw if draw < 0.60 => Callee::Answers,
            draw if draw < 0.83 => Callee::Away,
            draw if draw < 0.95 => Callee::Busy,
            _ => Callee::Unallocated,
        }
    }

    fn hunt(&mut self, index: usize, at: Duration) {
        let now = self.instant(at);
        let call = &mut self.calls[index];
        let node = call.record.node;
        let view = self.nodes[node].view();
        let Some(candidate) = call.hunt.take_next(&view, |it| self.nodes[node].has_room(it, now))
        else {
            return;
        };
        let carrier = self.facts.index_of(candidate.target);
        call.record.attempts += 1;
        call.record.first = call.record.first.or(Some(carrier));
        self.nodes[node].started(index, &candidate, now);
        let script = self.models[carrier].script(
            self.oracle.fault_of(carrier, node, at.as_secs_f64()),
            &mut self.limits[carrier],
            call.callee,
            at.as_secs_f64(),
            &mut self.random,
        );
        call.attempt = Some(Attempt {
            carrier,
            started: at,
            stage: Stage::Nothing,
            trying: None,
            ringing: None,
        });
        let budget_left = (call.record.at + self.facts.route.setup_budget).saturating_sub(at);
        for (after, step) in steps(&script, &candidate, budget_left) {
            self.queue(at + after, Event::Step { call: index, step });
        }
    }

    fn step(&mut self, index: usize, step: Step, at: Duration) {
        let now = self.instant(at);
        let call = &mut self.calls[index];
        let Some(attempt) = &mut call.attempt else { return };
        let node = &mut self.nodes[call.record.node];
        match step {
            Step::Responded => {
                attempt.trying = Some(at - attempt.started);
                attempt.stage = Stage::Trying;
                node.responded(attempt.carrier, now);
            }
            Step::Rang => {
                attempt.trying = attempt.trying.or(Some(at - attempt.started));
                attempt.ringing = Some(at - attempt.started);
                attempt.stage = Stage::Ringing;
                node.rang(attempt.carrier, now);
                call.record.reached = Some(at - call.record.at);
                call.record.is_lost = false;
            }
            Step::Ended(end) => self.end(index, end, at),
        }
    }

    fn end(&mut self, index: usize, end: End, at: Duration) {
        let now = self.instant(at);
        let call = &mut self.calls[index];
        let Some(mut attempt) = call.attempt.take() else { return };
        let node = &mut self.nodes[call.record.node];
        let carrier_id = self.facts.carrier_id(attempt.carrier);
        let took = at - attempt.started;
        let answer = match end {
            End::Response(answer) => Some(answer),
            End::Timeout | End::Budget | End::CallerGone => None,
        };
        if answer.is_some() {
            attempt.trying = attempt.trying.or(Some(took));
        }
        let status_code = answer.map(|answer| answer.status_code);
        let is_answered = status_code == Some(200);
        if is_answered {
            attempt.ringing = attempt.ringing.or(Some(took));
        }
        let mut rule = match end {
            End::CallerGone => without_rule(Class::Caller),
            End::Response(_) if is_answered => without_rule(Class::Answered),
            End::Response(answer) => self.facts.tables.failure_rules.classify(&Observation {
                carrier_id,
                origin: Origin::Remote,
                stage: attempt.stage,
                status_code: answer.status_code,
                reason: answer.reason.as_bytes(),
                q850_cause: answer.cause,
                header: &|_| None,
            }),
            End::Timeout | End::Budget => self.facts.tables.failure_rules.classify(&Observation {
                carrier_id,
                origin: Origin::Timeout,
                stage: attempt.stage,
                status_code: 408,
                reason: b"",
                q850_cause: None,
                header: &|_| None,
            }),
        };
        if end == End::Budget {
            rule.weight = 0.0;
        }
        let is_second_opinion =
            call.blamed.is_some_and(|(_, earlier)| earlier.status_code == Some(404));
        node.ended(
            &Ended {
                call: index,
                carrier: attempt.carrier,
                status_code,
                is_timeout: matches!(end, End::Timeout | End::Budget),
                class: rule.class,
                weight: rule.weight,
                trying: attempt.trying,
                ringing: attempt.ringing,
                took,
                country: Some(call.country),
                is_second_opinion,
            },
            now,
        );
        let is_reached = match (call.callee, status_code) {
            (_, Some(200)) | (Callee::Busy, Some(486)) | (Callee::Unallocated, Some(404)) => true,
            _ => attempt.ringing.is_some(),
        };
        if is_reached {
            call.record.is_lost = false;
            call.record.reached = call.record.reached.or(Some(at - call.record.at));
        } else if call.callee != Callee::Bad {
            call.record.wasted += 1;
            self.run.wasted.push((attempt.carrier, attempt.started, at));
        }
        if end == End::CallerGone {
            return;
        }
        let blame = Blame { class: rule.class, weight: rule.weight, status_code };
        if let Some((earlier, earlier_blame)) = call.blamed.replace((attempt.carrier, blame)) {
            let (of_earlier, of_later) = revise(&earlier_blame, &blame);
            for (whose, failures) in [(earlier, of_earlier), (attempt.carrier, of_later)] {
                if failures != 0.0 {
                    node.revised(whose, failures, Some(call.country), now);
                }
            }
        }
        let is_over = is_answered || attempt.ringing.is_some() || end == End::Budget;
        if !is_over && call.hunt.may_follow(rule.action, carrier_id) {
            if rule.class == Class::Capacity {
                call.hunt.note_full(carrier_id, self.facts.targets[attempt.carrier]);
            }
            self.hunt(index, at);
        }
    }

    fn share(&mut self, at: Duration) {
        let now = self.instant(at);
        self.queue(at + SHARE_EVERY, Event::Share);
        let saved: Vec<_> = self.nodes.iter().map(|node| node.save(now)).collect();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let others = saved.iter().enumerate().filter(|(other, _)| *other != index);
            let peers: Vec<PeerTarget> = others
                .flat_map(|(other, saved)| {
                    saved.iter().map(move |saved| PeerTarget {
                        node: format!("node-{other}").into(),
                        saved: saved.clone(),
                        age: SHARED_AGE,
                    })
                })
                .collect();
            if !peers.is_empty() {
                node.hear(&peers, now);
            }
        }
    }

    fn sample(&mut self, at: Duration) {
        let now = self.instant(at);
        self.queue(at + SAMPLE_EVERY, Event::Sample);
        for (index, node) in self.nodes.iter().enumerate() {
            for carrier in 0..CARRIERS {
                let is_well = self.oracle.is_well(carrier, index, at.as_secs_f64());
                let is_away = node.is_away(carrier, now) && is_well;
                let was_away = &mut self.was_away[index * CARRIERS + carrier];
                if is_away {
                    self.run.away_s += SAMPLE_EVERY.as_secs_f64();
                    self.run.ejections += u32::from(!*was_away);
                }
                *was_away = is_away;
            }
        }
    }

    fn instant(&self, at: Duration) -> Instant {
        self.facts.start + at
    }

    fn queue(&mut self, at: Duration, event: Event) {
        self.events.push(Reverse((at, self.queued.len() as u64)));
        self.queued.push(event);
    }
}

/// What comes of an attempt, and when after its INVITE, within Holdfast's timers.
fn steps(script: &Script, candidate: &Candidate, budget_left: Duration) -> Vec<(Duration, Step)> {
    let mut steps = Vec::with_capacity(3);
    let last_at = script.last.map(|(at, _)| at);
    let first = [script.trying, script.ringing, last_at].into_iter().flatten().min();
    let ended = |after: Duration, end: End| match after > budget_left {
        true => (budget_left, Step::Ended(End::Budget)),
        false => (after, Step::Ended(end)),
    };
    let no_response = candidate.carrier().no_response;
    let Some(first) = first.filter(|at| *at <= no_response) else {
        steps.push(ended(no_response, End::Timeout));
        return steps;
    };
    if last_at != Some(first) && script.ringing != Some(first) && first <= budget_left {
        steps.push((first, Step::Responded));
    }
    let no_ringing = candidate.carrier().no_ringing;
    let ringing = script.ringing.filter(|at| last_at.is_none_or(|last| *at < last));
    match (ringing, script.last) {
        (Some(ringing), _) if ringing <= no_ringing.min(budget_left) => {
            steps.push((ringing, Step::Rang));
            let gone = ringing + PATIENCE;
            match script.last.filter(|(at, _)| *at <= gone) {
                Some((at, answer)) => steps.push((at, Step::Ended(End::Response(answer)))),
                None => steps.push((gone, Step::Ended(End::CallerGone))),
            }
        }
        (None, Some((at, answer))) if at <= no_ringing => {
            steps.push(ended(at, End::Response(answer)));
        }
        _ => steps.push(ended(no_ringing, End::Timeout)),
    }
    steps
}

fn without_rule(class: Class) -> RuleMatch {
    let action = holdfast::carrier::Action::Stop;
    RuleMatch { rule_id: None, class, action, weight: 0.0 }
}

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn base() -> Instant {
    Instant::now() + millis(0.0)
}
