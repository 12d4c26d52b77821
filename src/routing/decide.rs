//! The decision itself: filter, tiers, strategy, panic.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use smallvec::SmallVec;

use super::filter::Filter;
use super::ranking::{Ranking, sharpened, waiting};
use super::{Candidate, Drop, Dropped, Plan};
use crate::carrier::{Carrier, Gateway, Route, RouteCarrier, Strategy, Tables};
use crate::health::{Glance, Reachability, TargetView, View};
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
/// One decision in this many takes all that may be used for alike: who did badly, or was slow, gets a call, and is
/// measured anew. Without it whoever is just not bad enough to be ejected would never be heard of again.
const MEASURING_SHARE: u64 = 20;

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
        route: query.route,
        country: query.country,
        wall: query.wall,
        has_listener: query.has_listener,
        headroom: query.headroom,
        now,
        random: Random::new(query.seed),
        is_measuring: false,
        filter: Filter::new(query, region),
        looks: Vec::new(),
        pool: Vec::with_capacity(4 * query.route.carriers.len()),
        dropped: SmallVec::new(),
        unusable: SmallVec::new(),
        usable: 0,
    };
    decision.is_measuring = decision.random.below(MEASURING_SHARE) == 0;
    let mut candidates = decision.candidates(tables, query.route);
    let is_panic = candidates.is_empty() && !decision.unusable.is_empty();
    if is_panic || query.route.is_emergency {
        decision.usable += decision.unusable.len();
        candidates.extend(decision.least_bad(MAX_CANDIDATES - candidates.len()));
    }
    let dropped = &decision.dropped[..decision.dropped.len().min(MAX_DROPPED)];
    Plan {
        route: query.route.clone(),
        region: region.cloned(),
        country: query.country,
        routing_number: None,
        tables_version: tables.version,
        seed: query.seed,
        decided_at: now,
        is_panic,
        median_latency_ms: view.median_latency_ms(),
        median_ringing_ms: view.median_ringing_ms(),
        candidates_beyond: decision.usable - candidates.len(),
        candidates,
        dropped: dropped.iter().map(Left::dropped).collect(),
        dropped_beyond: decision.dropped.len() - dropped.len(),
        is_short: decision.dropped.iter().any(|left| left.reason == Drop::Capacity),
    }
}

struct Decision<'a> {
    view: &'a View,
    filter: Filter<'a>,
    route: &'a Route,
    country: Option<u16>,
    wall: SystemTime,
    has_listener: &'a dyn Fn(&Gateway, SocketAddr) -> bool,
    headroom: &'a dyn Fn(&Carrier, &Gateway) -> f64,
    now: Instant,
    random: Random,
    /// Quality and latency count for nothing this time.
    is_measuring: bool,
    /// Of the carrier that is looked at: its usable targets.
    looks: Vec<Look>,
    /// The usable targets, no more of a carrier than a plan holds; each carrier's stand together.
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
    /// Where it stands in the health view.
    place: u32,
    /// Tier of the route.
    tier: u16,
    headroom: f64,
    score: f64,
}

/// A usable target of the carrier that is looked at: of a thousand, few become a [`Pick`].
#[derive(Clone, Copy)]
struct Look {
    /// Where its gateway stands among the carrier's, and where it stands in the health view.
    gateway: u32,
    place: u32,
    /// Among the usable targets of its gateway, by SRV priority from 0.
    srv_rank: u16,
    headroom: f64,
    score: f64,
}

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
    from: u32,
    to: u32,
    /// What it is sorted by within its tier: those outside the band last, then the highest key first.
    is_out_of_band: bool,
    key: f64,
}

impl<'a> Bid<'a> {
    fn new(place: &'a RouteCarrier, from: usize, to: usize) -> Self {
        Self { place, from: from as u32, to: to as u32, is_out_of_band: false, key: 0.0 }
    }

    fn places(&self) -> Range<usize> {
        self.from as usize..self.to as usize
    }
}

impl<'a> Decision<'a> {
    fn candidates(&mut self, tables: &'a Tables, route: &'a Route) -> Vec<Candidate> {
        let mut ordered: SmallVec<[Bid<'a>; 16]> = SmallVec::new();
        for tier in route.carriers.chunk_by(|a, b| a.priority == b.priority) {
            let (first, begun) = (ordered.len(), self.unusable.len());
            for place in tier {
                let Some(carrier) = tables.carrier(place.carrier_id) else { continue };
                let from = self.pool.len();
                self.targets(tables, carrier, place);
                let to = self.pool.len();
                if from < to {
                    ordered.push(Bid::new(place, from, to));
                }
            }
            self.readmit(tier, begun, &mut ordered, first);
            self.order(&mut ordered[first..], route.strategy);
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
        first: usize,
    ) {
        let ejected = |(_, reason): &(Pick<'_>, Drop)| *reason == Drop::Ejected;
        while 2 * (bids.len() - first) < tier.len() {
            let left = self.unusable[begun..].iter().enumerate().filter(|(_, it)| ejected(it));
            let best = left.max_by(|(_, a), (_, b)| a.0.score.total_cmp(&b.0.score));
            let Some((index, _)) = best else { return };
            let (pick, _) = self.unusable.remove(begun + index);
            let place = tier.iter().find(|place| place.carrier_id == pick.carrier.id);
            let Some(place) = place else { return };
            self.dropped.retain(|left| left.gateway.id != pick.gateway.id);
            self.usable += 1;
            let from = self.pool.len();
            let is_known = |bid: &&mut Bid<'_>| bid.place.carrier_id == place.carrier_id;
            match bids[first..].iter_mut().find(is_known) {
                Some(bid) => {
                    self.pool.extend_from_within(bid.places());
                    self.pool.push(pick);
                    *bid = Bid::new(place, from, self.pool.len());
                }
                None => {
                    self.pool.push(pick);
                    bids.push(Bid::new(place, from, from + 1));
                }
            }
        }
    }

    /// Adds the targets of a carrier that may be used to the pool, best first.
    fn targets(&mut self, tables: &'a Tables, carrier: &'a Arc<Carrier>, place: &'a RouteCarrier) {
        let destination_factor = self.view.destination_factor(carrier.id, self.country);
        // A look at a calendar: once a carrier, not once a gateway.
        let is_open = self.route.is_open(carrier.id, self.wall);
        let gateways = tables.gateways_of(carrier.id);
        let (views, glances) = (self.view.targets(), self.view.glances());
        let tier = place.priority;
        self.looks.clear();
        self.looks.reserve(gateways.len());
        let mut near = 0;
        for (index, gateway) in (0..).zip(gateways) {
            if let Some(reason) = self.filter.reason(carrier, is_open, gateway) {
                self.drop(carrier, gateway, None, reason);
                continue;
            }
            let places = self.view.places_of(gateway.id, near);
            near = places.end;
            if places.is_empty() {
                self.drop(carrier, gateway, None, Drop::Unresolved);
            }
            let first = self.looks.len();
            let is_registered = places.len() > 1
                && glances[places.clone()].iter().any(|glance| glance.is_registered);
            for place in places {
                let glance = &glances[place];
                if is_registered && !glance.is_registered {
                    self.drop(carrier, gateway, Some(&views[place]), Drop::NotRegistered);
                    continue;
                }
                if !(self.has_listener)(gateway, glance.target.address) {
                    self.drop(carrier, gateway, Some(&views[place]), Drop::NoListener);
                    continue;
                }
                let headroom = (self.headroom)(carrier, gateway);
                let has_room = headroom > 0.0;
                let score = self.drawn(glance) * destination_factor * self.latency_factor(glance);
                let look =
                    Look { gateway: index, place: place as u32, srv_rank: 0, headroom, score };
                if glance.is_plain && has_room {
                    self.looks.push(look);
                    continue;
                }
                let view = &views[place];
                let pick =
                    Pick { carrier, gateway, view, place: look.place, tier, headroom, score };
                match self.soft_reason(view) {
                    Some(reason) => {
                        if !self.route.is_emergency {
                            self.drop(carrier, gateway, Some(view), reason);
                        }
                        if has_room || self.route.is_emergency {
                            self.unusable.push((pick, reason));
                        }
                    }
                    None if has_room => self.looks.push(look),
                    None if self.route.is_emergency => self.unusable.push((pick, Drop::Capacity)),
                    None => self.drop(carrier, gateway, Some(view), Drop::Capacity),
                }
            }
            rank_by_srv(&mut self.looks[first..], glances);
        }
        self.usable += self.looks.len();
        self.rank(carrier, gateways, tier);
    }

    /// What was looked at goes into the pool by the gateways' priority, then by that of SRV records; within one, at random
    /// by weight.
    fn rank(&mut self, carrier: &'a Arc<Carrier>, gateways: &'a [Arc<Gateway>], tier: u16) {
        let views = self.view.targets();
        let pick = |look: &Look| Pick {
            carrier,
            gateway: &gateways[look.gateway as usize],
            view: &views[look.place as usize],
            place: look.place,
            tier,
            headroom: look.headroom,
            score: look.score,
        };
        if let [look] = self.looks.as_slice() {
            self.pool.push(pick(look));
            return;
        }
        let glances = self.view.glances();
        let mut ranking = Ranking::new();
        for (index, look) in (0..).zip(&self.looks) {
            let place = look.place as usize;
            let gateway = &gateways[look.gateway as usize];
            // A suspect would go behind all others of the plan.
            let is_suspect =
                !glances[place].is_plain && views[place].reachability == Reachability::Suspect;
            let weight =
                f64::from(gateway.weight) * glances[place].srv.weight * sharpened(look.score);
            ranking.offer(
                index,
                is_suspect,
                (gateway.priority, look.srv_rank),
                weight * share_of_room(look.headroom),
                self.random.unit_f64(),
            );
        }
        self.pool.extend(ranking.ranked().map(|index| pick(&self.looks[index as usize])));
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

    fn order(&mut self, bids: &mut [Bid<'a>], strategy: Strategy) {
        if bids.len() < 2 {
            return;
        }
        // A carrier is as good as the target that would be tried first.
        let pool = &self.pool;
        let first = |bid: &Bid<'_>| &pool[bid.from as usize];
        let failure_rate = |bid: &Bid<'_>| first(bid).view.failure_rate;
        let best = match strategy {
            Strategy::Weighted | Strategy::LeastCost => {
                bids.iter().map(failure_rate).fold(1.0, f64::min)
            }
            Strategy::Healthiest | Strategy::Priority => 1.0,
        };
        for bid in bids.iter_mut() {
            bid.is_out_of_band = failure_rate(bid) > best + FAILURE_RATE_BAND;
            let weight = f64::from(bid.place.weight);
            bid.key = match strategy {
                // The score is a draw already: who is surely better wins nearly always, whose quality
                // is little known wins now and then, and is known better afterwards.
                Strategy::Healthiest => {
                    let first = first(bid);
                    first.score * share_of_room(first.headroom)
                }
                Strategy::Weighted => -waiting(self.random.unit_f64(), weight),
                Strategy::LeastCost => -(bid.place.cost_micros as f64),
                Strategy::Priority => weight,
            };
        }
        bids.sort_by(|a, b| {
            a.is_out_of_band.cmp(&b.is_out_of_band).then_with(|| descending(a.key, b.key))
        });
    }

    /// Suspects go last. Half-open targets follow those that are up, but now and then one of the first tier
    /// goes first, with the next candidate ready: only a real call can bring it back.
    fn place_by_reachability(&mut self, ordered: &[Bid<'a>]) -> Vec<Candidate> {
        let first_tier = ordered.first().map(|bid| bid.place.priority);
        let is_trial = self.random.below(HALF_OPEN_SHARE) == 0;
        let mut trial_taken = false;
        let mut ranks: [SmallVec<[u32; MAX_CANDIDATES]>; 5] = Default::default();
        for index in ordered.iter().flat_map(|bid| bid.from..bid.to) {
            let Pick { view, tier, .. } = self.pool[index as usize];
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
        let placed: usize = ranks.iter().map(SmallVec::len).sum();
        let mut candidates = Vec::with_capacity(placed.min(MAX_CANDIDATES));
        for index in ranks.iter().flatten().take(MAX_CANDIDATES) {
            candidates.push(self.candidate(&self.pool[*index as usize]));
        }
        candidates
    }

    /// Everything is down: whoever asked us to wait, or is being tried, before those that are dead.
    fn least_bad(&mut self, count: usize) -> Vec<Candidate> {
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
        self.unusable.iter().take(count).map(|(pick, _)| self.candidate(pick)).collect()
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
    fn drawn(&mut self, glance: &Glance) -> f64 {
        // The spread stays then too.
        let mean = if self.is_measuring { 1.0 } else { glance.mean };
        // Above 1 is left as it is: a cut would make ties of the best.
        (mean + glance.spread * self.random.normal_f64()).max(0.0)
    }

    /// What its latency leaves of a target's score.
    fn latency_factor(&self, glance: &Glance) -> f64 {
        if self.is_measuring { 1.0 } else { glance.latency_factor }
    }

    fn candidate(&self, pick: &Pick<'_>) -> Candidate {
        let view = pick.view;
        let glance = &self.view.glances()[pick.place as usize];
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
            latency_factor: self.latency_factor(glance),
            headroom: pick.headroom,
            score: pick.score,
        }
    }
}

/// RFC 2782: the targets of one gateway that can be used, those of the lowest priority first. Another gateway's
/// priorities say nothing of these.
fn rank_by_srv(looks: &mut [Look], glances: &[Glance]) {
    let priority = |look: &Look| glances[look.place as usize].srv.priority;
    let Some(first) = looks.first().map(priority) else { return };
    if looks.iter().all(|look| priority(look) == first) {
        return;
    }
    let mut priorities: SmallVec<[u16; 16]> = looks.iter().map(priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    for look in looks {
        let rank = priorities.partition_point(|known| *known < priority(look));
        look.srv_rank = u16::try_from(rank).unwrap_or(u16::MAX);
    }
}

/// What is left of a score as a limit is used up: all of it while more than half is free.
fn share_of_room(headroom: f64) -> f64 {
    (2.0 * headroom).min(1.0)
}

fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}
