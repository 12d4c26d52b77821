//! The decision itself: filter, tiers, strategy, panic.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use smallvec::SmallVec;

use super::bid::{Bid, Left, Look, Pick, draws_of, share_of_room};
use super::filter::Filter;
use super::ranking::{Leader, Ranking, rank_of, waiting};
use super::{Candidate, Drop, Plan, Reach};
use crate::carrier::{
    Carrier, Gateway, Post, Roster, Route, RouteCarrier, Strategy, Tables, Traits,
};
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

/// Of so many carriers, or targets of one, all are drawn; of more, those that matter.
const FEW: usize = 12;

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
    /// What our listeners reach.
    pub reach: Reach,
    /// The free share of the tightest limit of a gateway and its carrier; 0.0 = no room for a call.
    pub headroom: &'a dyn Fn(&Carrier, &Gateway) -> f64,
    /// Refusals have taught limits: `headroom` is asked of every gateway, not of those alone that have one in the
    /// tables.
    pub has_learned: bool,
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
    let mut random = Random::new(query.seed);
    let is_measuring = random.below(MEASURING_SHARE) == 0;
    let mut decision = Decision {
        view,
        query,
        now,
        random,
        is_measuring,
        filter: Filter::new(query, region),
        near: 0,
        looks: Vec::with_capacity(4 * query.route.carriers.len()),
        bids: Vec::with_capacity(query.route.carriers.len()),
        readmitted: Vec::new(),
        dropped: Vec::new(),
        unusable: Vec::new(),
        usable: 0,
        has_trial: false,
    };
    let order = decision.order_of(tables);
    let mut candidates = decision.candidates(&order);
    let is_panic = candidates.is_empty() && !decision.unusable.is_empty();
    if is_panic || query.route.is_emergency {
        decision.usable += decision.unusable.len();
        let room = MAX_CANDIDATES - candidates.len();
        candidates.extend(decision.least_bad(room));
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

/// Draws are numbered: who may be used takes one after the other, each carrier's waiting times follow those of its
/// scores, and what nobody looks at is never drawn. So it is the same whether much or little of it is.
struct Decision<'a> {
    view: &'a View,
    query: &'a Query<'a>,
    filter: Filter<'a>,
    now: Instant,
    random: Random,
    /// Quality and latency count for nothing this time.
    is_measuring: bool,
    /// Where in the view the gateway that was looked at last ends.
    near: usize,
    /// The usable targets; each carrier's stand together.
    looks: Vec<Look>,
    bids: Vec<Bid<'a>>,
    /// Targets that take calls though their carrier's quality speaks against it, and by which bid.
    readmitted: Vec<(u32, Pick<'a>)>,
    dropped: Vec<Left<'a>>,
    /// What passed the hard filters and has room, but cannot be used now.
    unusable: Vec<(Pick<'a>, Drop)>,
    /// How many targets may be used.
    usable: usize,
    /// One of them is half open.
    has_trial: bool,
}

impl<'a> Decision<'a> {
    /// Looks at everything; the bids in the order in which they are to be tried.
    fn order_of(&mut self, tables: &'a Tables) -> Vec<u32> {
        let route: &'a Route = self.query.route;
        let mut order = Vec::with_capacity(route.carriers.len());
        for tier in route.carriers.chunk_by(|a, b| a.priority == b.priority) {
            let (first, begun) = (self.bids.len(), self.unusable.len());
            for place in tier {
                if let Some(roster) = tables.roster_of(place.carrier_id) {
                    self.survey(roster, place);
                }
            }
            self.readmit(tables, tier, begun, first);
            self.order_tier(first, route.strategy, &mut order);
        }
        order
    }

    /// Looks at the gateways of a carrier, for those of their targets that may be used.
    fn survey(&mut self, roster: &'a Roster, place: &'a RouteCarrier) {
        let (view, query) = (self.view, self.query);
        let factor = view.destination_factor(roster.carrier.id, query.country);
        let mut bid = Bid::new(place, roster, factor, &self.random);
        // A look at a calendar: once a carrier, not once a gateway.
        let is_open = query.route.is_open(roster.carrier.id, query.wall);
        let has_limit = if query.has_learned { Traits::ALL } else { Traits::LIMITED };
        let doubtful = self.filter.doubtful(is_open).and(has_limit);
        // Nearly all are so: one address, in good health, and nothing that would have to be looked up.
        let is_simple = |post: &Post, glance: &Glance| {
            glance.gateway_id == post.gateway_id
                && glance.is_simple
                && query.reach.includes(post.transport, glance.is_ipv4)
                && !post.traits.has_any(doubtful)
        };
        let (posts, glances, from) = (&roster.posts, view.glances(), self.looks.len());
        let mut place = match posts.first() {
            Some(first) => view.places_of(first.gateway_id, self.near).start,
            None => return,
        };
        let (mut draws, is_few) = (0, posts.len().max(query.route.carriers.len()) <= FEW);
        let side_by_side = glances.get(place..place + posts.len());
        let is_whole = side_by_side
            .is_some_and(|glances| posts.iter().zip(glances).all(|(post, it)| is_simple(post, it)));
        if is_whole && !is_few && posts.len() > 1 {
            bid.whole_at = Some(place as u32);
            draws = posts.len() as u32;
            place += posts.len();
        } else {
            for (gateway, post) in (0..).zip(posts) {
                match glances.get(place) {
                    Some(glance) if is_whole || is_simple(post, glance) => {
                        self.looks.push(Look::new(gateway, place, draws, 1.0));
                        draws += 1;
                        place += 1;
                    }
                    Some(_) | None => {
                        let places = view.places_of(post.gateway_id, place);
                        place = places.end;
                        self.look_closely(&bid, gateway, places, is_open, &mut draws);
                    }
                }
            }
        }
        self.near = place;
        (bid.from, bid.to) = (from as u32, self.looks.len() as u32);
        let count = bid.whole_at.map_or(self.looks.len() - from, |_| posts.len());
        self.usable += count;
        self.random.skip(draws.into());
        bid.waits = self.random.clone();
        match count {
            0 => return,
            // One alone waits for nobody.
            1 => {
                let look = &mut self.looks[from];
                look.score = draws_of(self.is_measuring, &bid)
                    .score(&glances[look.place as usize], look.draw);
            }
            _ => {
                self.random.skip(count as u64);
                bid.is_ranked = is_few;
                if is_few {
                    self.rank_few(&bid);
                }
            }
        }
        self.bids.push(bid);
    }

    /// Finds out why a gateway, or some of its targets, cannot be used, if it is so.
    #[inline(never)]
    fn look_closely(
        &mut self,
        bid: &Bid<'a>,
        index: u32,
        places: Range<usize>,
        is_open: bool,
        draws: &mut u32,
    ) {
        let (view, query) = (self.view, self.query);
        let carrier: &'a Carrier = &bid.roster.carrier;
        let gateway = &bid.roster.gateways[index as usize];
        if let Some(reason) = self.filter.reason(carrier, is_open, gateway) {
            return self.dropped.push(Left { gateway, view: None, reason });
        }
        if places.is_empty() {
            self.dropped.push(Left { gateway, view: None, reason: Drop::Unresolved });
        }
        let (views, glances) = (view.targets(), view.glances());
        let first = self.looks.len();
        let is_registered =
            places.len() > 1 && glances[places.clone()].iter().any(|glance| glance.is_registered);
        for place in places {
            let (glance, target) = (&glances[place], &views[place]);
            let left = |reason| Left { gateway, view: Some(target), reason };
            if is_registered && !glance.is_registered {
                self.dropped.push(left(Drop::NotRegistered));
                continue;
            }
            if !query.reach.includes(gateway.transport, glance.is_ipv4) {
                self.dropped.push(left(Drop::NoListener));
                continue;
            }
            let headroom = (query.headroom)(carrier, gateway);
            let mut look = Look::new(index, place, *draws, headroom);
            *draws += 1;
            let is = |state| !glance.is_plain && target.reachability == state;
            look.is_suspect = is(Reachability::Suspect);
            let soft = if glance.is_plain { None } else { self.soft_reason(target) };
            let reason = soft.or((headroom <= 0.0).then_some(Drop::Capacity));
            let Some(reason) = reason else {
                self.has_trial |= is(Reachability::HalfOpen);
                self.looks.push(look);
                continue;
            };
            let is_emergency = query.route.is_emergency;
            if !is_emergency {
                self.dropped.push(left(reason));
            }
            if is_emergency || headroom > 0.0 {
                look.score = draws_of(self.is_measuring, bid).score(glance, look.draw);
                self.unusable.push((bid.pick(look), reason));
            }
        }
        rank_by_srv(&mut self.looks[first..], glances);
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

    /// Never ejects more than half of a tier's carriers: the least bad of those that stay away only for
    /// their quality take calls again.
    fn readmit(
        &mut self,
        tables: &'a Tables,
        tier: &'a [RouteCarrier],
        begun: usize,
        first: usize,
    ) {
        let ejected = |(_, reason): &(Pick<'_>, Drop)| *reason == Drop::Ejected;
        while 2 * (self.bids.len() - first) < tier.len() {
            let left = self.unusable[begun..].iter().enumerate().filter(|(_, it)| ejected(it));
            let best = left.max_by(|(_, a), (_, b)| a.0.look.score.total_cmp(&b.0.look.score));
            let Some((index, _)) = best else { return };
            let (pick, _) = self.unusable.remove(begun + index);
            let carrier_id = pick.roster.carrier.id;
            let place = tier.iter().find(|place| place.carrier_id == carrier_id);
            let (Some(place), Some(roster)) = (place, tables.roster_of(carrier_id)) else { return };
            self.dropped.retain(|left| left.gateway.id != pick.gateway().id);
            self.usable += 1;
            let known =
                self.bids[first..].iter().position(|bid| bid.place.carrier_id == carrier_id);
            let bid = known.map_or(self.bids.len(), |known| first + known);
            self.readmitted.push((bid as u32, pick));
            if known.is_none() {
                let factor = pick.destination_factor;
                self.bids.push(Bid::new(place, roster, factor, &self.random));
            }
        }
    }

    /// Adds the bids of a tier to the order, from the one at `first` on.
    fn order_tier(&mut self, first: usize, strategy: Strategy, order: &mut Vec<u32>) {
        let bids = first as u32..self.bids.len() as u32;
        if bids.len() < 2 {
            return order.extend(bids);
        }
        // A carrier is as good as the target that would be tried first.
        let views = self.view.targets();
        let rate =
            |lead: Option<Look>| lead.map_or(1.0, |it| views[it.place as usize].failure_rate);
        let rates: SmallVec<[f64; 16]> = match strategy {
            Strategy::Weighted | Strategy::LeastCost => {
                bids.clone().map(|at| rate(self.lead(at))).collect()
            }
            Strategy::Healthiest | Strategy::Priority => SmallVec::new(),
        };
        let limit = rates.iter().copied().fold(1.0, f64::min) + FAILURE_RATE_BAND;
        // Those outside of the band last, then the highest key first, then as they stand in the table.
        let mut sorted = Vec::with_capacity(bids.len());
        for at in bids {
            let place = self.bids[at as usize].place;
            let key = match strategy {
                // The score is a draw already: who is surely better wins nearly always, whose quality
                // is little known wins now and then, and is known better afterwards.
                Strategy::Healthiest => {
                    self.lead(at).map_or(0.0, |lead| lead.score * share_of_room(lead.headroom))
                }
                Strategy::Weighted => -waiting(self.random.unit_f64(), f64::from(place.weight)),
                Strategy::LeastCost => -(place.cost_micros as f64),
                Strategy::Priority => f64::from(place.weight),
            };
            let is_out_of_band = rates.get(at as usize - first).is_some_and(|rate| *rate > limit);
            sorted.push((is_out_of_band, !ascending(key), at));
        }
        sorted.sort_unstable();
        order.extend(sorted.iter().map(|(.., at)| *at));
    }

    /// The target of a carrier that would be tried first, whether or not the order of the others is known.
    fn lead(&self, at: u32) -> Option<Look> {
        let bid = &self.bids[at as usize];
        if bid.is_ranked {
            let first = self.ranked_of(bid).next().copied();
            return first.or_else(|| self.readmitted_of(at).next().map(|pick| pick.look));
        }
        let (mut leader, mut plain) = (Leader::default(), 0);
        let (draws, mut waits) = (draws_of(self.is_measuring, bid), bid.waits.clone());
        self.each_look(bid, |index, look, post, glance| {
            plain += usize::from(!look.is_suspect);
            let (rank, unit) = (look.rank(post), waits.unit_f64());
            if !leader.is_behind(rank, draws.weight_max(post, glance), unit) {
                let weight = draws.weight(post, glance, look.draw, look.headroom);
                leader.offer(index, rank, weight, unit);
            }
        });
        Some(self.drawn(bid, leader.first(plain)?))
    }

    /// By the gateways' priority, then by that of SRV records; within one, at random by weight. For a carrier that has
    /// few targets: all are drawn, and sorted where they stand.
    fn rank_few(&mut self, bid: &Bid<'a>) {
        let (draws, mut waits) = (draws_of(self.is_measuring, bid), bid.waits.clone());
        let (posts, glances) = (&bid.roster.posts, self.view.glances());
        let looks = &mut self.looks[bid.looks()];
        // Rank, waiting time and number in one, so that they are compared without a branch.
        let mut keys = [u128::MAX; FEW];
        for (index, (look, key)) in (0..).zip(looks.iter_mut().zip(&mut keys)) {
            let (post, glance) = (&posts[look.gateway as usize], &glances[look.place as usize]);
            look.score = draws.score(glance, look.draw);
            let weight = draws.weight_with(look.score, post, glance, look.headroom);
            let waiting = waiting(waits.unit_f64(), weight).to_bits();
            // Who is a suspect decides who comes into a plan, and not the order there.
            let rank = rank_of(false, post.priority, look.srv_rank);
            *key = u128::from(rank) << 96 | u128::from(waiting) << 32 | index;
        }
        let keys = &mut keys[..looks.len()];
        for last in (1..keys.len()).rev() {
            for at in 0..last {
                let (one, other) = (keys[at], keys[at + 1]);
                (keys[at], keys[at + 1]) = (one.min(other), one.max(other));
            }
        }
        for (look, key) in looks.iter_mut().zip(keys) {
            look.turn = *key as u32;
        }
    }

    /// What [`rank_few`](Self::rank_few) has made of them.
    fn ranked_of(&self, bid: &Bid<'a>) -> impl Iterator<Item = &Look> {
        let looks = &self.looks[bid.looks()];
        looks.iter().map(|look| &looks[look.turn as usize])
    }

    /// Gives each usable target of a carrier with its number, in the order of its gateways.
    #[inline(always)]
    fn each_look(&self, bid: &Bid<'a>, mut give: impl FnMut(u32, &Look, &Post, &Glance)) {
        let (posts, glances) = (&bid.roster.posts, self.view.glances());
        match bid.whole_at {
            Some(at) => {
                for (index, (post, glance)) in (0..).zip(posts.iter().zip(&glances[at as usize..]))
                {
                    give(index, &Look::new(index, (at + index) as usize, index, 1.0), post, glance);
                }
            }
            None => {
                for (index, look) in (0..).zip(&self.looks[bid.looks()]) {
                    let post = &posts[look.gateway as usize];
                    give(index, look, post, &glances[look.place as usize]);
                }
            }
        }
    }

    /// One of them, with its score.
    fn drawn(&self, bid: &Bid<'a>, index: u32) -> Look {
        let mut look = match bid.whole_at {
            Some(at) => Look::new(index, (at + index) as usize, index, 1.0),
            None => self.looks[bid.looks()][index as usize],
        };
        let glance = &self.view.glances()[look.place as usize];
        look.score = draws_of(self.is_measuring, bid).score(glance, look.draw);
        look
    }

    /// The same for one that has many: what cannot come into the plan is neither drawn nor sorted.
    fn rank_many(&self, bid: &Bid<'a>, ranking: &mut Ranking) {
        ranking.clear();
        let (draws, mut waits) = (draws_of(self.is_measuring, bid), bid.waits.clone());
        self.each_look(bid, |index, look, post, glance| {
            let (rank, unit) = (look.rank(post), waits.unit_f64());
            if !ranking.is_behind(rank, draws.weight_max(post, glance), unit) {
                let weight = draws.weight(post, glance, look.draw, look.headroom);
                ranking.offer(index, rank, weight, unit);
            }
        });
    }

    fn readmitted_of(&self, at: u32) -> impl Iterator<Item = Pick<'a>> {
        self.readmitted.iter().filter(move |(bid, _)| *bid == at).map(|(_, pick)| *pick)
    }

    /// What its latency leaves of a target's score.
    fn latency_factor(&self, glance: &Glance) -> f64 {
        if self.is_measuring { 1.0 } else { glance.latency_factor }
    }

    /// Suspects go last. Half-open targets follow those that are up, but now and then one of the first tier
    /// goes first, with the next candidate ready: only a real call can bring it back.
    fn candidates(&mut self, order: &[u32]) -> Vec<Candidate> {
        let mut line = Line {
            decision: self,
            first_tier: order.first().map(|at| self.bids[*at as usize].place.priority),
            is_trial: false,
            random: self.random.clone(),
            first: None,
            next: Vec::with_capacity(self.usable.min(MAX_CANDIDATES)),
            later: Default::default(),
        };
        line.is_trial = line.random.below(HALF_OPEN_SHARE) == 0 && self.has_trial;
        let mut ranking = Ranking::new();
        for at in order {
            let bid = &self.bids[*at as usize];
            if bid.is_ranked {
                self.ranked_of(bid).for_each(|look| line.put(&bid.pick(*look)));
            } else {
                self.rank_many(bid, &mut ranking);
                ranking.ranked().for_each(|index| line.put(&bid.pick(self.drawn(bid, index))));
            }
            self.readmitted_of(*at).for_each(|pick| line.put(&pick));
            if line.is_full() {
                break;
            }
        }
        line.finish()
    }

    /// Everything is down: whoever asked us to wait, or is being tried, before those that are dead.
    fn least_bad(&mut self, count: usize) -> Vec<Candidate> {
        let rank = |reason: &Drop| match reason {
            Drop::HalfOpenBusy => 0,
            Drop::RetryAfter => 1,
            _ => 2,
        };
        self.unusable.sort_by(|(a, why_a), (b, why_b)| {
            let by_score = b.look.score.partial_cmp(&a.look.score).unwrap_or(Ordering::Equal);
            rank(why_a).cmp(&rank(why_b)).then(a.tier.cmp(&b.tier)).then(by_score)
        });
        self.unusable.iter().take(count).map(|(pick, _)| self.candidate(pick)).collect()
    }

    #[inline(always)]
    fn candidate(&self, pick: &Pick<'_>) -> Candidate {
        let look = &pick.look;
        let view = &self.view.targets()[look.place as usize];
        let glance = &self.view.glances()[look.place as usize];
        Candidate {
            gateway: pick.gateway().clone(),
            target: view.target,
            srv: view.srv,
            priority: pick.tier,
            reachability: view.reachability,
            ramp: view.ramp,
            failure_rate: view.failure_rate,
            deviation: view.deviation,
            latency_ms: view.latency_ms,
            ringing_ms: view.ringing_ms,
            destination_factor: pick.destination_factor,
            latency_factor: self.latency_factor(glance),
            headroom: look.headroom,
            score: look.score,
        }
    }
}

/// Candidates in the making: those that are up, and what goes before and behind them.
struct Line<'d, 'a> {
    decision: &'d Decision<'a>,
    first_tier: Option<u16>,
    /// The first half-open target of the first tier goes before all others.
    is_trial: bool,
    random: Random,
    first: Option<Candidate>,
    next: Vec<Candidate>,
    /// Not quite up; suspect; down.
    later: [Vec<Pick<'a>>; 3],
}

impl<'a> Line<'_, 'a> {
    fn put(&mut self, pick: &Pick<'a>) {
        let view = &self.decision.view.targets()[pick.look.place as usize];
        let place = match view.reachability {
            Reachability::HalfOpen if self.is_trial && Some(pick.tier) == self.first_tier => {
                self.is_trial = false;
                self.first = Some(self.decision.candidate(pick));
                return;
            }
            // Back from being down, it gets a part of its calls.
            Reachability::Up if view.ramp < 1.0 && self.random.unit_f64() >= view.ramp => 0,
            Reachability::Up | Reachability::Unknown => {
                if self.next.len() < MAX_CANDIDATES {
                    self.next.push(self.decision.candidate(pick));
                }
                return;
            }
            Reachability::HalfOpen => 0,
            Reachability::Suspect => 1,
            Reachability::Down => 2,
        };
        if self.later[place].len() < MAX_CANDIDATES {
            self.later[place].push(*pick);
        }
    }

    /// Nothing that follows can come before these.
    fn is_full(&self) -> bool {
        self.next.len() == MAX_CANDIDATES && !self.is_trial
    }

    fn finish(self) -> Vec<Candidate> {
        let mut all = self.next;
        if let Some(first) = self.first {
            all.truncate(MAX_CANDIDATES - 1);
            all.insert(0, first);
        }
        for pick in self.later.iter().flatten().take(MAX_CANDIDATES - all.len()) {
            all.push(self.decision.candidate(pick));
        }
        all
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

/// Whole numbers that are in the same order as these; no NaN.
fn ascending(number: f64) -> u64 {
    // Both zeros are one.
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}
