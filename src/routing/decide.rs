//! The decision itself: filter, tiers, strategy, panic.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::{Candidate, Drop, Dropped, Plan};
use crate::carrier::{AdminState, Carrier, Gateway, Route, RouteCarrier, Strategy, Tables};
use crate::health::{Reachability, TargetView, View};
use crate::random::Random;

/// Candidates in a plan at most; a call never makes more attempts.
pub const MAX_CANDIDATES: usize = 32;
/// `least_cost` takes the cheapest whose failure rate is at most this much above the best one's.
const FAILURE_RATE_BAND: f64 = 0.05;
/// One decision in this many gives its first attempt to a half-open target, which can only so come back.
const HALF_OPEN_SHARE: u64 = 4;
/// How much faster than linearly a worse gateway of a carrier loses traffic.
const SCORE_EXPONENT: i32 = 8;
/// Failure rates are told apart no finer than so, however surely they are known: carriers that are all but alike
/// share the calls, and none is so far from use that nobody knows how it does.
const INDIFFERENCE: f64 = 0.01;
/// One decision in this many takes no account of latencies: who was slow gets a call, and is measured anew.
const MEASURING_SHARE: u64 = 16;
/// Twice the median latency costs this share of a score.
const LATENCY_COST: f64 = 0.1;
/// However slow, a latency costs no more than this many times that share.
const LATENCY_COSTS_MAX: f64 = 5.0;
/// Differences below these are nothing that a caller notices.
const LATENCY_NOTICED_MS: f64 = 100.0;
const RINGING_NOTICED_MS: f64 = 500.0;

/// What is asked.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct Query<'a> {
    pub route: &'a Arc<Route>,
    /// The region the customer must stay in; the route's own comes first.
    pub customer_region: Option<&'a Arc<str>>,
    /// Country code of the called number, where it is one.
    pub country: Option<u16>,
    /// For every random draw of this decision.
    pub seed: u64,
    /// Whether one of our listeners reaches an address of a gateway.
    pub has_listener: &'a dyn Fn(&Gateway, SocketAddr) -> bool,
    /// The free share of the tightest limit of a gateway and its carrier; 0.0 = no room for a call.
    pub headroom: &'a dyn Fn(&Carrier, &Gateway) -> f64,
}

/// Chooses and orders the targets for one call.
///
/// Region, admin state and listeners are hard filters. Then reachability and capacity: a target that is
/// down, that asked us to stay away, or whose limits are used up, is dropped; a suspect one goes behind
/// all others of the route. What is left is ordered by the route's tiers, within a tier by its strategy,
/// within a carrier by its gateways' priority. No more than half of a tier's carriers stay away for their
/// quality alone. When nothing is left, everything that passed the hard filters and has room is tried,
/// least bad first: better a bad carrier than none.
pub fn decide(tables: &Tables, view: &View, query: &Query<'_>, now: Instant) -> Plan {
    let region = query.route.region.as_ref().or(query.customer_region);
    let mut decision = Decision {
        view,
        region,
        country: query.country,
        has_listener: query.has_listener,
        headroom: query.headroom,
        now,
        random: Random::new(query.seed),
        is_measuring: false,
        dropped: Vec::new(),
        unusable: SmallVec::new(),
    };
    decision.is_measuring = decision.random.below(MEASURING_SHARE) == 0;
    let mut candidates = decision.candidates(tables, query.route);
    let is_panic = candidates.is_empty() && !decision.unusable.is_empty();
    if is_panic {
        candidates = decision.least_bad();
    }
    candidates.truncate(MAX_CANDIDATES);
    Plan {
        route: query.route.clone(),
        region: region.cloned(),
        tables_version: tables.version,
        seed: query.seed,
        decided_at: now,
        is_panic,
        candidates,
        dropped: decision.dropped,
    }
}

struct Decision<'a> {
    view: &'a View,
    region: Option<&'a Arc<str>>,
    country: Option<u16>,
    has_listener: &'a dyn Fn(&Gateway, SocketAddr) -> bool,
    headroom: &'a dyn Fn(&Carrier, &Gateway) -> f64,
    now: Instant,
    random: Random,
    /// Latencies count for nothing this time.
    is_measuring: bool,
    dropped: Vec<Dropped>,
    /// What passed the hard filters, but cannot be used now.
    unusable: SmallVec<[(Candidate, Drop); 4]>,
}

/// The usable targets of one carrier, in the order of its gateways.
struct Bid {
    place: RouteCarrier,
    candidates: SmallVec<[Candidate; 4]>,
}

impl Bid {
    /// A carrier is as good as the target that would be tried first.
    fn score(&self) -> f64 {
        self.candidates.first().map_or(0.0, |candidate| candidate.score)
    }

    fn headroom(&self) -> f64 {
        self.candidates.first().map_or(0.0, |candidate| candidate.headroom)
    }

    fn failure_rate(&self) -> f64 {
        self.candidates.first().map_or(1.0, |candidate| candidate.failure_rate)
    }
}

impl Decision<'_> {
    fn candidates(&mut self, tables: &Tables, route: &Route) -> Vec<Candidate> {
        let mut ordered = Vec::new();
        for tier in route.carriers.chunk_by(|a, b| a.priority == b.priority) {
            let mut bids: SmallVec<[Bid; 8]> = SmallVec::new();
            let begun = self.unusable.len();
            for place in tier {
                let Some(carrier) = tables.carrier(place.carrier_id) else { continue };
                let candidates = self.targets(tables, carrier, *place);
                if !candidates.is_empty() {
                    bids.push(Bid { place: *place, candidates });
                }
            }
            self.readmit(tier, begun, &mut bids);
            self.order(&mut bids, route.strategy);
            ordered.extend(bids.into_iter().flat_map(|bid| bid.candidates));
        }
        self.place_by_reachability(ordered)
    }

    /// Never ejects more than half of a tier's carriers: the least bad of those that stay away only for
    /// their quality take calls again.
    fn readmit(&mut self, tier: &[RouteCarrier], begun: usize, bids: &mut SmallVec<[Bid; 8]>) {
        let ejected = |(_, reason): &(Candidate, Drop)| *reason == Drop::Ejected;
        while 2 * bids.len() < tier.len() {
            let left = self.unusable[begun..].iter().enumerate().filter(|(_, it)| ejected(it));
            let best = left.max_by(|(_, a), (_, b)| a.0.score.total_cmp(&b.0.score));
            let Some((index, _)) = best else { return };
            let (candidate, _) = self.unusable.remove(begun + index);
            let place = tier.iter().find(|place| place.carrier_id == candidate.carrier.id);
            let Some(place) = place else { return };
            self.dropped.retain(|dropped| dropped.gateway_id != candidate.gateway.id);
            match bids.iter_mut().find(|bid| bid.place.carrier_id == place.carrier_id) {
                Some(bid) => bid.candidates.push(candidate),
                None => {
                    let candidates = SmallVec::from_iter([candidate]);
                    bids.push(Bid { place: *place, candidates });
                }
            }
        }
    }

    /// The targets of a carrier that may be used, best first.
    fn targets(
        &mut self,
        tables: &Tables,
        carrier: &Arc<Carrier>,
        place: RouteCarrier,
    ) -> SmallVec<[Candidate; 4]> {
        let mut usable: SmallVec<[Candidate; 4]> = SmallVec::new();
        for gateway in tables.gateways_of(carrier.id) {
            if let Some(reason) = self.hard_reason(carrier, gateway) {
                self.drop(gateway, reason);
                continue;
            }
            let targets = self.view.targets_of(gateway.id);
            if targets.is_empty() {
                self.drop(gateway, Drop::Unresolved);
            }
            for target in targets {
                if !(self.has_listener)(gateway, target.target.address) {
                    self.drop(gateway, Drop::NoListener);
                    continue;
                }
                let candidate = self.candidate(carrier, gateway, target, place);
                let has_room = candidate.headroom > 0.0;
                match self.soft_reason(target) {
                    Some(reason) => {
                        self.drop(gateway, reason);
                        if has_room {
                            self.unusable.push((candidate, reason));
                        }
                    }
                    None if has_room => usable.push(candidate),
                    None => self.drop(gateway, Drop::Capacity),
                }
            }
        }
        self.order_gateways(&mut usable);
        usable
    }

    fn hard_reason(&self, carrier: &Carrier, gateway: &Gateway) -> Option<Drop> {
        if !carrier.is_enabled {
            return Some(Drop::CarrierDisabled);
        }
        match gateway.admin_state {
            AdminState::On => {}
            AdminState::Draining => return Some(Drop::GatewayDraining),
            AdminState::Off => return Some(Drop::GatewayOff),
        }
        match self.region {
            Some(region) if gateway.region.as_ref() != Some(region) => Some(Drop::Region),
            _ => None,
        }
    }

    fn soft_reason(&self, target: &TargetView) -> Option<Drop> {
        if target.unusable_until.is_some_and(|until| until > self.now) {
            return Some(Drop::RetryAfter);
        }
        match target.reachability {
            Reachability::Down if target.is_ejected => Some(Drop::Ejected),
            Reachability::Down => Some(Drop::Down),
            Reachability::HalfOpen if target.is_half_open_busy => Some(Drop::HalfOpenBusy),
            Reachability::HalfOpen
            | Reachability::Unknown
            | Reachability::Up
            | Reachability::Suspect => None,
        }
    }

    /// By the gateways' priority; within one, at random by weight.
    fn order_gateways(&mut self, candidates: &mut SmallVec<[Candidate; 4]>) {
        if candidates.len() < 2 {
            return;
        }
        let mut keyed: SmallVec<[(u16, f64, Candidate); 4]> = SmallVec::new();
        for candidate in candidates.drain(..) {
            let weight = f64::from(candidate.gateway.weight) * sharpened(candidate.score);
            let key = self.draw(weight * share_of_room(candidate.headroom));
            keyed.push((candidate.gateway.priority, key, candidate));
        }
        keyed.sort_by(|a, b| a.0.cmp(&b.0).then(descending(a.1, b.1)));
        candidates.extend(keyed.into_iter().map(|(.., candidate)| candidate));
    }

    fn order(&mut self, bids: &mut SmallVec<[Bid; 8]>, strategy: Strategy) {
        if bids.len() < 2 {
            return;
        }
        let best = bids.iter().map(Bid::failure_rate).fold(1.0, f64::min);
        let mut keyed: SmallVec<[(bool, f64, Bid); 8]> = SmallVec::new();
        for bid in bids.drain(..) {
            let is_out_of_band = bid.failure_rate() > best + FAILURE_RATE_BAND;
            let weight = f64::from(bid.place.weight);
            let key = match strategy {
                // The score is a draw already: who is surely better wins nearly always, whose quality
                // is little known wins now and then, and is known better afterwards.
                Strategy::Healthiest => (false, bid.score() * share_of_room(bid.headroom())),
                Strategy::Weighted => (is_out_of_band, self.draw(weight)),
                Strategy::LeastCost => (is_out_of_band, -(bid.place.cost_micros as f64)),
                Strategy::Priority => (false, weight),
            };
            keyed.push((key.0, key.1, bid));
        }
        keyed.sort_by(|a, b| a.0.cmp(&b.0).then(descending(a.1, b.1)));
        bids.extend(keyed.into_iter().map(|(.., bid)| bid));
    }

    /// Suspects go last. Half-open targets follow those that are up, but now and then one of the first tier
    /// goes first, with the next candidate ready: only a real call can bring it back.
    fn place_by_reachability(&mut self, ordered: Vec<Candidate>) -> Vec<Candidate> {
        let first_tier = ordered.first().map(|candidate| candidate.priority);
        let is_trial = self.random.below(HALF_OPEN_SHARE) == 0;
        let mut trial_taken = false;
        let mut placed: Vec<(u8, Candidate)> = Vec::with_capacity(ordered.len());
        for candidate in ordered {
            let rank = match candidate.reachability {
                Reachability::HalfOpen
                    if is_trial && !trial_taken && Some(candidate.priority) == first_tier =>
                {
                    trial_taken = true;
                    0
                }
                // Back from being down, it gets a part of its calls.
                Reachability::Up
                    if candidate.ramp < 1.0 && self.random.unit_f64() >= candidate.ramp =>
                {
                    2
                }
                Reachability::Up | Reachability::Unknown => 1,
                Reachability::HalfOpen => 2,
                Reachability::Suspect => 3,
                Reachability::Down => 4,
            };
            placed.push((rank, candidate));
        }
        placed.sort_by_key(|(rank, _)| *rank);
        placed.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// Everything is down: whoever asked us to wait, or is being tried, before those that are dead.
    fn least_bad(&mut self) -> Vec<Candidate> {
        let rank = |reason: &Drop| match reason {
            Drop::HalfOpenBusy => 0,
            Drop::RetryAfter => 1,
            _ => 2,
        };
        self.unusable.sort_by(|(a, why_a), (b, why_b)| {
            rank(why_a)
                .cmp(&rank(why_b))
                .then(a.priority.cmp(&b.priority))
                .then(descending(a.score, b.score))
        });
        self.unusable.drain(..).map(|(candidate, _)| candidate).collect()
    }

    fn drop(&mut self, gateway: &Gateway, reason: Drop) {
        let dropped = Dropped { gateway_id: gateway.id, gateway: gateway.name.clone(), reason };
        self.dropped.push(dropped);
    }

    fn candidate(
        &mut self,
        carrier: &Arc<Carrier>,
        gateway: &Arc<Gateway>,
        target: &TargetView,
        place: RouteCarrier,
    ) -> Candidate {
        Candidate {
            carrier: carrier.clone(),
            gateway: gateway.clone(),
            target: target.target,
            priority: place.priority,
            reachability: target.reachability,
            ramp: target.ramp,
            failure_rate: target.failure_rate,
            latency_ms: target.latency_ms,
            ringing_ms: target.ringing_ms,
            headroom: (self.headroom)(carrier, gateway),
            score: self.score(carrier, target),
        }
    }

    /// A draw from what is believed of the target's share of good attempts (Thompson sampling, with a
    /// normal distribution of the same mean and spread), less for this country and for its latency.
    fn score(&mut self, carrier: &Carrier, target: &TargetView) -> f64 {
        let mean = 1.0 - target.failure_rate;
        // Above 1 is left as it is: a cut would make ties of the best.
        let spread = target.deviation.hypot(INDIFFERENCE);
        let drawn = (mean + spread * self.random.normal_f64()).max(0.0);
        let view = self.view;
        let slower = |own: Option<f64>, median: Option<f64>, noticed_ms: f64| match (own, median) {
            (Some(own), Some(median)) if own - median > noticed_ms => own / median - 1.0,
            _ => 0.0,
        };
        let penalty = slower(target.latency_ms, view.median_latency_ms, LATENCY_NOTICED_MS)
            .max(slower(target.ringing_ms, view.median_ringing_ms, RINGING_NOTICED_MS))
            .min(LATENCY_COSTS_MAX);
        let penalty = if self.is_measuring { 0.0 } else { penalty };
        drawn * view.destination_factor(carrier.id, self.country) / (1.0 + LATENCY_COST * penalty)
    }

    /// A key whose highest falls on each of several with a chance in proportion to its weight
    /// (Efraimidis and Spirakis): `ln(u) / weight`.
    fn draw(&mut self, weight: f64) -> f64 {
        (1.0 - self.random.unit_f64()).ln() / weight.max(f64::MIN_POSITIVE)
    }
}

/// What is left of a score as a limit is used up: all of it while more than half is free.
fn share_of_room(headroom: f64) -> f64 {
    (2.0 * headroom).min(1.0)
}

fn sharpened(score: f64) -> f64 {
    score.powi(SCORE_EXPONENT)
}

fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}
