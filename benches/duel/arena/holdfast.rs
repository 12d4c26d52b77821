//! Holdfast's own scorer: the real board, the real decision.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::carrier::Class;
use holdfast::health::{
    Board, BoardSettings, Capacity, Channel, Evidence, Full, Outcome, PeerTarget, Reachability,
    SavedTarget, View,
};
use holdfast::random::Random;
use holdfast::routing::{Candidate, Plan, Query, Reach, decide};

use super::scorer::{Ended, Scorer};
use super::tables::Facts;

/// Views follow each other no closer, as in the program.
const VIEW_EVERY: Duration = Duration::from_millis(5);
/// The default of `probe_timeout_ms`.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1_800);

pub struct Holdfast {
    facts: Facts,
    board: Board,
    view: Arc<View>,
    viewed_at: Instant,
    random: Random,
    capacity: Capacity,
    /// Of attempts on their way, by call.
    channels: BTreeMap<usize, Channel>,
}

impl Holdfast {
    pub fn new(facts: &Facts, node: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let settings =
            BoardSettings { node: format!("node-{node}").into(), probe_timeout: PROBE_TIMEOUT };
        let mut board = Board::new(settings, random.next_u64());
        board.set_targets(&facts.tables, &facts.targets, facts.start);
        let view = board.poll_view(facts.start).expect("a first view");
        Self {
            facts: facts.clone(),
            board,
            view,
            viewed_at: facts.start,
            random,
            capacity: Capacity::default(),
            channels: BTreeMap::new(),
        }
    }

    pub fn board(&self) -> &Board {
        &self.board
    }

    fn tell(&mut self, carrier: usize, evidence: Evidence, now: Instant) {
        let outcome = Outcome {
            target: self.facts.targets[carrier],
            carrier_id: self.facts.carrier_id(carrier),
            evidence,
        };
        self.board.handle_outcome(&outcome, now);
        self.look(now);
    }

    fn look(&mut self, now: Instant) {
        if now - self.viewed_at < VIEW_EVERY {
            return;
        }
        if let Some(view) = self.board.poll_view(now) {
            self.view = view;
            self.viewed_at = now;
        }
    }
}

impl Scorer for Holdfast {
    fn plan(&mut self, country: Option<u16>, now: Instant) -> Plan {
        self.look(now);
        let capacity = &self.capacity;
        let query = Query {
            route: &self.facts.route,
            customer_region: None,
            country,
            wall: std::time::SystemTime::UNIX_EPOCH,
            audio: None,
            needs_tls: false,
            seed: self.random.next_u64(),
            reach: Reach::ALL,
            headroom: &|carrier, gateway| capacity.headroom(carrier, gateway, now),
            has_learned: capacity.has_learned(),
        };
        decide(&self.facts.tables, &self.view, &query, now)
    }

    fn view(&self) -> Arc<View> {
        self.view.clone()
    }

    fn has_room(&self, candidate: &Candidate, now: Instant) -> bool {
        self.capacity.headroom(candidate.carrier(), &candidate.gateway, now) > 0.0
    }

    fn started(&mut self, call: usize, candidate: &Candidate, now: Instant) {
        let channel = self.capacity.start(candidate.carrier(), &candidate.gateway, now);
        self.channels.insert(call, channel);
        if candidate.reachability == Reachability::HalfOpen {
            let carrier = self.facts.index_of(candidate.target);
            self.tell(carrier, Evidence::AttemptStarted, now);
        }
    }

    fn responded(&mut self, carrier: usize, now: Instant) {
        self.tell(carrier, Evidence::Alive, now);
    }

    fn rang(&mut self, carrier: usize, now: Instant) {
        self.tell(carrier, Evidence::Ringing, now);
    }

    fn ended(&mut self, ended: &Ended, now: Instant) {
        let evidence = Evidence::Attempt {
            class: ended.class,
            weight: ended.weight,
            status_code: ended.status_code,
            retry_after: None,
            trying_delay: ended.trying,
            ringing_delay: ended.ringing,
            country: ended.country,
        };
        self.tell(ended.carrier, evidence, now);
        if let Some(channel) = self.channels.remove(&ended.call) {
            match ended.class == Class::Capacity {
                true => self.capacity.refused(channel, Full::Rate, now),
                false => self.capacity.release(channel),
            }
        }
    }

    fn revised(&mut self, carrier: usize, failures: f32, country: Option<u16>, now: Instant) {
        self.tell(carrier, Evidence::Revised { failures, country }, now);
    }

    fn wake(&mut self, now: Instant) -> Vec<(usize, Duration)> {
        self.board.handle_timeout(now);
        let mut due = Vec::new();
        while let Some(probe) = self.board.poll_probe(now) {
            due.push((self.facts.index_of(probe.target), probe.timeout));
        }
        self.look(now);
        due
    }

    fn wake_at(&self) -> Option<Instant> {
        self.board.poll_timeout()
    }

    fn probed(&mut self, carrier: usize, status_code: Option<u16>, delay: Duration, now: Instant) {
        self.tell(carrier, Evidence::Probe { status_code, delay }, now);
    }

    fn is_away(&self, carrier: usize, now: Instant) -> bool {
        let Some(target) = self.view.target(self.facts.targets[carrier]) else { return true };
        target.unusable_until.is_some_and(|until| until > now)
            || match target.reachability {
                Reachability::Unknown | Reachability::Up => false,
                Reachability::Suspect | Reachability::Down | Reachability::HalfOpen => true,
            }
    }

    fn save(&self, now: Instant) -> Vec<SavedTarget> {
        self.board.save(now)
    }

    fn hear(&mut self, peers: &[PeerTarget], now: Instant) {
        self.board.merge_peers(peers, now);
    }
}
