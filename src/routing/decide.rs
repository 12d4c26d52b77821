//! The decision itself: filter, tiers, strategy, panic.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use smallvec::SmallVec;

use super::{Candidate, Drop, Dropped, Plan};
use crate::carrier::{
    AdminState, Carrier, Gateway, Media, Route, RouteCarrier, Strategy, Tables, Transport,
};
use crate::health::{Reachability, TargetView, View};
use crate::random::Random;
use crate::sip::sdp::Audio;

/// Candidates in a plan at most; a call never makes more attempts.
pub const MAX_CANDIDATES: usize = 32;
/// Targets that were left out and are named at most; the rest is counted.
pub const MAX_DROPPED: usize = 256;
/// `least_cost` takes the cheapest whose failure rate is at most this much above the best one's.
const FAILURE_RATE_BAND: f64 = 0.05;
/// One decision in this many gives its first attempt to a half-open target, which can only so come back.
const HALF_OPEN_SHARE: u64 = 4;
/// How much faster than linearly a worse gateway of a carrier loses traffic.
const SCORE_EXPONENT: i32 = 8;
/// Failure rates are told apart no finer than so, however surely they are known: carriers that are all but alike
/// share the calls, and none is so far from use that nobody knows how it does.
const INDIFFERENCE: f64 = 0.01;
/// One decision in this many takes all that may be used for alike: who did badly, or was slow, gets a call, and is
/// measured anew. Without it whoever is just not bad enough to be ejected would never be heard of again.
const MEASURING_SHARE: u64 = 20;
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
    /// For the hours of carriers.
    pub wall: SystemTime,
    /// What audio the caller offers, as far as it is known.
    pub audio: Option<&'a Audio>,
    /// A `sips:` call: every hop must be by TLS (RFC 3261 §26.2.2).
    pub needs_tls: bool,
    /// For every random draw of this decision.
    pub seed: u64,
    /// Whether one of our listeners reaches an address of a gateway.
    pub has_listener: &'a dyn Fn(&Gateway, SocketAddr) -> bool,
    /// The free share of the tightest limit of a gateway and its carrier; 0.0 = no room for a call.
    pub headroom: &'a dyn Fn(&Carrier, &Gateway) -> f64,
}

/// Chooses and orders the targets for one call.
///
/// Region, admin state, hours, TLS, media, codecs and listeners are hard filters. Then reachability and
/// capacity: a target that is down, that asked us to stay away, or whose limits are used up, is dropped;
/// a suspect one goes behind all others of the route. What is left is ordered by the route's tiers, within
/// a tier by its strategy, within a carrier by its gateways' priority. No more than half of a tier's
/// carriers stay away for their quality alone. When nothing is left, everything that passed the hard
/// filters and has room is tried, least bad first: better a bad carrier than none. An emergency call tries
/// them in any case, after everything else, and whether or not they have room.
pub fn decide(tables: &Tables, view: &View, query: &Query<'_>, now: Instant) -> Plan {
    let region = query.route.region.as_ref().or(query.customer_region);
    let mut decision = Decision {
        view,
        region,
        route: query.route,
        country: query.country,
        wall: query.wall,
        audio: query.audio,
        needs_tls: query.needs_tls,
        has_listener: query.has_listener,
        headroom: query.headroom,
        now,
        random: Random::new(query.seed),
        is_measuring: false,
        noticed_latency_ms: noticed(view.median_latency_ms, LATENCY_NOTICED_MS),
        noticed_ringing_ms: noticed(view.median_ringing_ms, RINGING_NOTICED_MS),
        pool: Vec::with_capacity(4 * query.route.carriers.len()),
        dropped: SmallVec::new(),
        unusable: SmallVec::new(),
        usable: 0,
    };
    decision.is_measuring = decision.random.below(MEASURING_SHARE) == 0;
    let mut picks = decision.candidates(tables, query.route);
    let is_panic = picks.is_empty() && !decision.unusable.is_empty();
    if is_panic {
        decision.usable = decision.unusable.len();
        picks = decision.least_bad();
    }
    if query.route.is_emergency && !is_panic {
        decision.usable += decision.unusable.len();
        picks.extend(decision.least_bad());
        picks.truncate(MAX_CANDIDATES);
    }
    let dropped = &decision.dropped[..decision.dropped.len().min(MAX_DROPPED)];
    Plan {
        route: query.route.clone(),
        region: region.cloned(),
        country: query.country,
        tables_version: tables.version,
        seed: query.seed,
        decided_at: now,
        is_panic,
        median_latency_ms: view.median_latency_ms,
        median_ringing_ms: view.median_ringing_ms,
        candidates: picks.iter().map(|pick| decision.candidate(pick)).collect(),
        candidates_beyond: decision.usable - picks.len(),
        dropped: dropped.iter().map(Left::dropped).collect(),
        dropped_beyond: decision.dropped.len() - dropped.len(),
        is_short: decision.dropped.iter().any(|left| left.reason == Drop::Capacity),
    }
}

struct Decision<'a> {
    view: &'a View,
    region: Option<&'a Arc<str>>,
    route: &'a Route,
    country: Option<u16>,
    wall: SystemTime,
    audio: Option<&'a Audio>,
    needs_tls: bool,
    has_listener: &'a dyn Fn(&Gateway, SocketAddr) -> bool,
    headroom: &'a dyn Fn(&Carrier, &Gateway) -> f64,
    now: Instant,
    random: Random,
    /// Quality and latency count for nothing this time.
    is_measuring: bool,
    /// Above these somebody notices.
    noticed_latency_ms: f64,
    noticed_ringing_ms: f64,
    /// The usable targets; each carrier's stand together.
    pool: Vec<Pick<'a>>,
    dropped: SmallVec<[Left<'a>; 16]>,
    /// What passed the hard filters and has room, but cannot be used now.
    unusable: SmallVec<[(Pick<'a>, Drop); 4]>,
    /// How many targets may be used.
    usable: usize,
}

/// A target that may become a candidate. It borrows all: of a thousand, few become one.
#[derive(Clone, Copy)]
struct Pick<'a> {
    carrier: &'a Arc<Carrier>,
    gateway: &'a Arc<Gateway>,
    view: &'a Arc<TargetView>,
    /// Tier of the route.
    tier: u16,
    /// Among the gateways of its carrier.
    priority: u16,
    /// Among the usable targets of its gateway, by SRV priority from 0.
    srv_rank: u16,
    headroom: f64,
    score: f64,
    /// What it is sorted by within its carrier and priority.
    key: f64,
}

/// What a plan is made of, best first.
type Chosen<'a> = SmallVec<[Pick<'a>; MAX_CANDIDATES]>;

/// What was left out, and why.
struct Left<'a> {
    carrier: &'a Arc<Carrier>,
    gateway: &'a Arc<Gateway>,
    view: Option<&'a Arc<TargetView>>,
    reason: Drop,
}

impl Left<'_> {
    fn dropped(&self) -> Dropped {
        Dropped {
            carrier: self.carrier.clone(),
            gateway_id: self.gateway.id,
            gateway: self.gateway.name.clone(),
            health: self.view.cloned(),
            reason: self.reason,
        }
    }
}

/// The usable targets of one carrier, in the order of its gateways.
#[derive(Clone, Copy)]
struct Bid<'a> {
    place: &'a RouteCarrier,
    /// Where they stand in the pool; one at least.
    from: usize,
    to: usize,
    /// What it is sorted by within its tier.
    key: (bool, f64),
}

impl<'a> Decision<'a> {
    fn candidates(&mut self, tables: &'a Tables, route: &'a Route) -> Chosen<'a> {
        let mut ordered: SmallVec<[(usize, usize); 16]> = SmallVec::new();
        for tier in route.carriers.chunk_by(|a, b| a.priority == b.priority) {
            let mut bids: SmallVec<[Bid<'a>; 16]> = SmallVec::new();
            let begun = self.unusable.len();
            for place in tier {
                let Some(carrier) = tables.carrier(place.carrier_id) else { continue };
                let from = self.pool.len();
                self.targets(tables, carrier, place);
                let to = self.pool.len();
                if from < to {
                    bids.push(Bid { place, from, to, key: (false, 0.0) });
                }
            }
            self.readmit(tier, begun, &mut bids);
            self.order(&mut bids, route.strategy);
            ordered.extend(bids.iter().map(|bid| (bid.from, bid.to)));
        }
        self.place_by_reachability(&ordered)
    }

    /// Never ejects more than half of a tier's carriers: the least bad of those that stay away only for
    /// their quality take calls again.
    fn readmit(
        &mut self,
        tier: &'a [RouteCarrier],
        begun: usize,
        bids: &mut SmallVec<[Bid<'a>; 16]>,
    ) {
        let ejected = |(_, reason): &(Pick<'_>, Drop)| *reason == Drop::Ejected;
        while 2 * bids.len() < tier.len() {
            let left = self.unusable[begun..].iter().enumerate().filter(|(_, it)| ejected(it));
            let best = left.max_by(|(_, a), (_, b)| a.0.score.total_cmp(&b.0.score));
            let Some((index, _)) = best else { return };
            let (pick, _) = self.unusable.remove(begun + index);
            let place = tier.iter().find(|place| place.carrier_id == pick.carrier.id);
            let Some(place) = place else { return };
            self.dropped.retain(|left| left.gateway.id != pick.gateway.id);
            self.usable += 1;
            let from = self.pool.len();
            let known = bids.iter_mut().find(|bid| bid.place.carrier_id == place.carrier_id);
            match known {
                Some(bid) => {
                    let others: SmallVec<[Pick<'a>; 8]> = self.pool[bid.from..bid.to].into();
                    self.pool.extend(others);
                    self.pool.push(pick);
                    (bid.from, bid.to) = (from, self.pool.len());
                }
                None => {
                    self.pool.push(pick);
                    bids.push(Bid { place, from, to: from + 1, key: (false, 0.0) });
                }
            }
        }
    }

    /// Adds the targets of a carrier that may be used to the pool, best first.
    fn targets(&mut self, tables: &'a Tables, carrier: &'a Arc<Carrier>, place: &'a RouteCarrier) {
        let begun = self.pool.len();
        let destination_factor = self.view.destination_factor(carrier.id, self.country);
        // A look at a calendar: once a carrier, not once a gateway.
        let is_open = self.route.is_open(carrier.id, self.wall);
        let gateways = tables.gateways_of(carrier.id);
        self.pool.reserve(gateways.len());
        for gateway in gateways {
            if let Some(reason) = self.hard_reason(carrier, is_open, gateway) {
                self.drop(carrier, gateway, None, reason);
                continue;
            }
            let targets = self.view.targets_of(gateway.id);
            if targets.is_empty() {
                self.drop(carrier, gateway, None, Drop::Unresolved);
            }
            let first = self.pool.len();
            let is_registered = targets.iter().any(|view| view.is_registered);
            for view in targets {
                if is_registered && !view.is_registered {
                    self.drop(carrier, gateway, Some(view), Drop::NotRegistered);
                    continue;
                }
                if !(self.has_listener)(gateway, view.target.address) {
                    self.drop(carrier, gateway, Some(view), Drop::NoListener);
                    continue;
                }
                let pick = Pick {
                    carrier,
                    gateway,
                    view,
                    tier: place.priority,
                    priority: gateway.priority,
                    srv_rank: 0,
                    headroom: (self.headroom)(carrier, gateway),
                    score: self.drawn(view) * destination_factor * self.latency_factor(view),
                    key: 0.0,
                };
                let has_room = pick.headroom > 0.0;
                match self.soft_reason(view) {
                    Some(reason) => {
                        if !self.route.is_emergency {
                            self.drop(carrier, gateway, Some(view), reason);
                        }
                        if has_room || self.route.is_emergency {
                            self.unusable.push((pick, reason));
                        }
                    }
                    None if has_room => self.pool.push(pick),
                    None if self.route.is_emergency => self.unusable.push((pick, Drop::Capacity)),
                    None => self.drop(carrier, gateway, Some(view), Drop::Capacity),
                }
            }
            rank_by_srv(&mut self.pool[first..]);
        }
        self.usable += self.pool.len() - begun;
        self.order_gateways(begun);
    }

    fn hard_reason(&self, carrier: &Carrier, is_open: bool, gateway: &Gateway) -> Option<Drop> {
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
            _ if !is_open => Some(Drop::OutOfHours),
            _ if self.needs_tls && gateway.transport != Transport::Tls => Some(Drop::NotSecure),
            _ => self.capability_reason(gateway),
        }
    }

    /// What is not known (an INVITE without an offer) is not held against anybody.
    fn capability_reason(&self, gateway: &Gateway) -> Option<Drop> {
        let takes_rtp = gateway.media != Media::Srtp && !self.route.needs_srtp;
        let takes_srtp = gateway.media != Media::Rtp;
        let (has_rtp, has_srtp) = self.audio.map_or((true, true), |it| (it.has_rtp, it.has_srtp));
        if !(takes_rtp && has_rtp || takes_srtp && has_srtp) {
            return Some(Drop::Media);
        }
        let codecs = gateway.codecs.as_ref()?;
        let offered = &self.audio.filter(|audio| !audio.codecs.is_empty())?.codecs;
        (!offered.iter().any(|codec| codecs.contains(codec))).then_some(Drop::Codec)
    }

    fn soft_reason(&self, target: &TargetView) -> Option<Drop> {
        if target.unusable_until.is_some_and(|until| until > self.now) {
            return Some(Drop::RetryAfter);
        }
        match target.reachability {
            Reachability::Down if target.is_held => Some(Drop::Held),
            Reachability::Down if target.is_ejected => Some(Drop::Ejected),
            Reachability::Down => Some(Drop::Down),
            Reachability::HalfOpen if target.is_half_open_busy => Some(Drop::HalfOpenBusy),
            Reachability::HalfOpen
            | Reachability::Unknown
            | Reachability::Up
            | Reachability::Suspect => None,
        }
    }

    /// The pool from `begun` on by the gateways' priority, then by that of SRV records; within one, at random by weight.
    fn order_gateways(&mut self, begun: usize) {
        let picks = &mut self.pool[begun..];
        if picks.len() < 2 {
            return;
        }
        for pick in &mut *picks {
            let weight =
                f64::from(pick.gateway.weight) * pick.view.srv.weight * sharpened(pick.score);
            pick.key = draw(&mut self.random, weight * share_of_room(pick.headroom));
        }
        let place = |pick: &Pick<'_>| (pick.priority, pick.srv_rank);
        let by_place =
            |a: &Pick<'_>, b: &Pick<'_>| place(a).cmp(&place(b)).then(descending(a.key, b.key));
        if picks.len() > MAX_CANDIDATES {
            // More cannot come into the plan; suspects would go behind all others there.
            let is_suspect = |pick: &Pick<'_>| pick.view.reachability == Reachability::Suspect;
            picks.select_nth_unstable_by(MAX_CANDIDATES, |a, b| {
                is_suspect(a).cmp(&is_suspect(b)).then_with(|| by_place(a, b))
            });
            self.pool.truncate(begun + MAX_CANDIDATES);
        }
        self.pool[begun..].sort_by(by_place);
    }

    fn order(&mut self, bids: &mut SmallVec<[Bid<'a>; 16]>, strategy: Strategy) {
        if bids.len() < 2 {
            return;
        }
        // A carrier is as good as the target that would be tried first.
        let pool = &self.pool;
        let first = |bid: &Bid<'_>| &pool[bid.from];
        let failure_rate = |bid: &Bid<'_>| first(bid).view.failure_rate;
        let best = bids.iter().map(failure_rate).fold(1.0, f64::min);
        for bid in bids.iter_mut() {
            let is_out_of_band = failure_rate(bid) > best + FAILURE_RATE_BAND;
            let weight = f64::from(bid.place.weight);
            bid.key = match strategy {
                // The score is a draw already: who is surely better wins nearly always, whose quality
                // is little known wins now and then, and is known better afterwards.
                Strategy::Healthiest => {
                    let first = first(bid);
                    (false, first.score * share_of_room(first.headroom))
                }
                Strategy::Weighted => (is_out_of_band, draw(&mut self.random, weight)),
                Strategy::LeastCost => (is_out_of_band, -(bid.place.cost_micros as f64)),
                Strategy::Priority => (false, weight),
            };
        }
        bids.sort_by(|a, b| a.key.0.cmp(&b.key.0).then(descending(a.key.1, b.key.1)));
    }

    /// Suspects go last. Half-open targets follow those that are up, but now and then one of the first tier
    /// goes first, with the next candidate ready: only a real call can bring it back.
    fn place_by_reachability(&mut self, ordered: &[(usize, usize)]) -> Chosen<'a> {
        let first_tier = ordered.first().map(|(from, _)| self.pool[*from].tier);
        let is_trial = self.random.below(HALF_OPEN_SHARE) == 0;
        let mut trial_taken = false;
        let mut ranks: [SmallVec<[usize; MAX_CANDIDATES]>; 5] = Default::default();
        for index in ordered.iter().flat_map(|(from, to)| *from..*to) {
            let Pick { view, tier, .. } = self.pool[index];
            let rank = match view.reachability {
                Reachability::HalfOpen if is_trial && !trial_taken && Some(tier) == first_tier => {
                    trial_taken = true;
                    0
                }
                // Back from being down, it gets a part of its calls.
                Reachability::Up if view.ramp < 1.0 && self.random.unit_f64() >= view.ramp => 2,
                Reachability::Up | Reachability::Unknown => 1,
                Reachability::HalfOpen => 2,
                Reachability::Suspect => 3,
                Reachability::Down => 4,
            };
            if ranks[rank].len() < MAX_CANDIDATES {
                ranks[rank].push(index);
            } else if rank == 1 && (trial_taken || !is_trial) {
                // Nothing that follows can come before these.
                break;
            }
        }
        let placed = ranks.iter().flatten().take(MAX_CANDIDATES);
        placed.map(|index| self.pool[*index]).collect()
    }

    /// Everything is down: whoever asked us to wait, or is being tried, before those that are dead.
    fn least_bad(&mut self) -> Chosen<'a> {
        let rank = |reason: &Drop| match reason {
            Drop::HalfOpenBusy => 0,
            Drop::RetryAfter => 1,
            _ => 2,
        };
        self.unusable.sort_by(|(a, why_a), (b, why_b)| {
            rank(why_a)
                .cmp(&rank(why_b))
                .then(a.tier.cmp(&b.tier))
                .then(descending(a.score, b.score))
        });
        self.unusable.iter().take(MAX_CANDIDATES).map(|(pick, _)| *pick).collect()
    }

    fn drop(
        &mut self,
        carrier: &'a Arc<Carrier>,
        gateway: &'a Arc<Gateway>,
        view: Option<&'a Arc<TargetView>>,
        reason: Drop,
    ) {
        self.dropped.push(Left { carrier, gateway, view, reason });
    }

    /// A draw from what is believed of the target's share of good attempts (Thompson sampling, with a
    /// normal distribution of the same mean and spread).
    fn drawn(&mut self, target: &TargetView) -> f64 {
        // What is little known is drawn more widely, then too.
        let mean = if self.is_measuring { 1.0 } else { 1.0 - target.failure_rate };
        // Above 1 is left as it is: a cut would make ties of the best.
        let spread = target.deviation.hypot(INDIFFERENCE);
        (mean + spread * self.random.normal_f64()).max(0.0)
    }

    /// What its latency leaves of a target's score: 1.0 where nobody notices it.
    fn latency_factor(&self, target: &TargetView) -> f64 {
        if self.is_measuring {
            return 1.0;
        }
        let slower = |own: Option<f64>, median: Option<f64>, noticed_ms: f64| match (own, median) {
            (Some(own), Some(median)) if own > noticed_ms => own / median - 1.0,
            _ => 0.0,
        };
        let penalty =
            slower(target.latency_ms, self.view.median_latency_ms, self.noticed_latency_ms)
                .max(slower(
                    target.ringing_ms,
                    self.view.median_ringing_ms,
                    self.noticed_ringing_ms,
                ))
                .min(LATENCY_COSTS_MAX);
        if penalty == 0.0 {
            return 1.0;
        }
        1.0 / (1.0 + LATENCY_COST * penalty)
    }

    fn candidate(&self, pick: &Pick<'_>) -> Candidate {
        let view = pick.view;
        Candidate {
            carrier: pick.carrier.clone(),
            gateway: pick.gateway.clone(),
            target: view.target,
            srv: view.srv,
            priority: pick.tier,
            reachability: view.reachability,
            ramp: view.ramp,
            failure_rate: view.failure_rate,
            deviation: view.deviation,
            latency_ms: view.latency_ms,
            ringing_ms: view.ringing_ms,
            destination_factor: self.view.destination_factor(pick.carrier.id, self.country),
            latency_factor: self.latency_factor(view),
            headroom: pick.headroom,
            score: pick.score,
        }
    }
}

/// RFC 2782: the targets of one gateway that can be used, those of the lowest priority first. Another gateway's
/// priorities say nothing of these.
fn rank_by_srv(picks: &mut [Pick<'_>]) {
    let Some(first) = picks.first().map(|pick| pick.view.srv.priority) else { return };
    if picks.iter().all(|pick| pick.view.srv.priority == first) {
        return;
    }
    let mut priorities: SmallVec<[u16; 16]> =
        picks.iter().map(|pick| pick.view.srv.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    for pick in picks {
        let rank = priorities.partition_point(|priority| *priority < pick.view.srv.priority);
        pick.srv_rank = u16::try_from(rank).unwrap_or(u16::MAX);
    }
}

/// Where a difference to the median begins to be noticed.
fn noticed(median_ms: Option<f64>, difference_ms: f64) -> f64 {
    median_ms.map_or(f64::INFINITY, |median_ms| median_ms + difference_ms)
}

/// What is left of a score as a limit is used up: all of it while more than half is free.
fn share_of_room(headroom: f64) -> f64 {
    (2.0 * headroom).min(1.0)
}

/// A key whose highest falls on each of several with a chance in proportion to its weight
/// (Efraimidis and Spirakis): `ln(u) / weight`.
fn draw(random: &mut Random, weight: f64) -> f64 {
    (1.0 - random.unit_f64()).ln() / weight.max(f64::MIN_POSITIVE)
}

fn sharpened(score: f64) -> f64 {
    score.powi(SCORE_EXPONENT)
}

fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}
