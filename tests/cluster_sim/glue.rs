//! What `src/server/cluster` does, without its tasks: the lease, claims, lookups, checks of ownership, the drain.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast::call::Replica;
use holdfast::cluster::{Membership, Peer, ping, refresh_times, share};
use holdfast::engine::{Command, Flow};
use holdfast::sip::Message;
use holdfast::store::answered::{ClaimedCall, LEASE_LIMIT, Lease};
use uuid::Uuid;

use super::cx::{Cx, Event, MS, S, ToRun, Wake, address, name, ping_address};
use super::node::{BUCKET_KEY, Pending, Run};
use super::store::{Flaw, Op, Reply};

const RENEW_EVERY: u64 = 400 * MS;
pub const LOOK_EVERY: u64 = 50 * MS;
const LOOK_AGAIN_AFTER: u64 = 100 * MS;
const SETTLE_LIMIT: u64 = 12 * S;
const LEGS_PER_S: u32 = 200;

/// What was kept so shortly before the store was asked for our calls may not be among them.
pub const OWNED_MARGIN: u64 = 100 * MS;
/// A request is repeated for so long.
const REQUEST_LIMIT: u64 = 32 * S;

/// A request whose dialog is looked for, and how often it was.
pub type Lookup = (Box<(Flow, Message)>, u8);

/// What the store was asked for.
#[derive(Debug)]
pub enum Asked {
    Renewal,
    Claim,
    Adopted,
    ClaimFor(Lookup),
    Owned { is_still: bool, asked_at: u64 },
    Find(Lookup),
    Give { to: i64, calls: Vec<Uuid> },
    Unsettled,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    #[default]
    Not,
    HandOver,
    Stay,
}

pub struct Glue {
    membership: Membership,
    renew_at: u64,
    is_renewing: bool,
    is_unsure: bool,
    is_claiming: bool,
    is_behind: bool,
    pub released: BTreeMap<i64, Vec<Uuid>>,
    is_giving: bool,
    hand_over_at: u64,
    has_given: bool,
    is_asking_unsettled: bool,
    settle_until: Option<u64>,
    pub is_settled: bool,
    pub drain: Drain,
    pings: u32,
    passed_on: HashMap<String, (SocketAddr, u64)>,
}

impl Glue {
    pub fn new(lease: &Lease, now: u64) -> Self {
        Self {
            membership: Membership::new(lease.node.clone(), LEASE_LIMIT),
            renew_at: now,
            is_renewing: false,
            is_unsure: false,
            is_claiming: false,
            is_behind: true,
            released: BTreeMap::new(),
            is_giving: false,
            hand_over_at: now,
            has_given: false,
            is_asking_unsettled: false,
            settle_until: None,
            is_settled: false,
            drain: Drain::Not,
            pings: 0,
            passed_on: HashMap::new(),
        }
    }

    pub fn is_busy(&self) -> bool {
        !self.released.is_empty() || self.is_giving
    }
}

impl Run {
    pub(super) fn tick(&mut self, cx: &mut Cx) {
        while let Some((id, to)) = self.glue.membership.poll_ping(cx.instant()) {
            self.ping(cx, id, to);
        }
        if cx.now >= self.glue.renew_at && !self.glue.is_renewing {
            self.glue.renew_at = cx.now + RENEW_EVERY;
            self.glue.is_renewing = true;
            self.lease.is_draining = self.glue.drain != Drain::Not;
            let op = Op::Renew(self.lease.clone());
            self.ask_store(cx, op, Pending::Glue(Asked::Renewal));
        }
        self.claim_if_due(cx);
        if self.glue.drain == Drain::HandOver {
            self.hand_over(cx);
        }
        let (node, run) = (self.node, self.id);
        cx.at(cx.now + LOOK_EVERY, Event::ToRun { node, run, what: ToRun::Tick });
    }

    pub(super) fn on_answer(&mut self, cx: &mut Cx, asked: Asked, reply: Result<Reply, ()>) {
        match (asked, reply) {
            (Asked::Renewal, reply) => {
                self.glue.is_renewing = false;
                self.glue.is_unsure |= reply.is_err() && self.flaw != Flaw::TrustsTheNextRenewal;
                if let Ok(Reply::Renewed { own_age, peers }) = reply {
                    self.on_renewed(cx, own_age, peers);
                }
            }
            (Asked::Claim, Ok(Reply::Claimed(calls))) => {
                self.adopt(cx, &calls);
                if calls.is_empty() {
                    return self.wake(cx, LOOK_AGAIN_AFTER, Wake::ClaimAgain);
                }
                let calls = calls.iter().map(|claimed| claimed.call_id).collect();
                let op = Op::Adopted { lease: self.lease.id, calls };
                self.ask_store(cx, op, Pending::Glue(Asked::Adopted));
            }
            (Asked::Adopted, Ok(_)) => self.wake(cx, LOOK_AGAIN_AFTER, Wake::ClaimAgain),
            (Asked::Claim | Asked::Adopted, _) => {
                self.glue.is_behind = true;
                self.wake(cx, RENEW_EVERY, Wake::ClaimAgain);
            }
            (Asked::ClaimFor(request), reply) => {
                self.glue.is_behind = true;
                if let Ok(Reply::Claimed(calls)) = reply {
                    self.adopt(cx, &calls);
                }
                match self.flaw {
                    Flaw::SaysUnknownTooSoon => {
                        self.command(cx, Command::Again { request: request.0, looks: None });
                    }
                    _ => self.look_again(cx, request),
                }
            }
            (Asked::Owned { is_still, asked_at }, reply) => {
                self.glue.is_unsure |= reply.is_err();
                if let Ok(Reply::Owned(mut owned)) = reply {
                    if self.flaw == Flaw::LooksAtItsOwnOnly {
                        owned.others.clear();
                    }
                    let owned = Arc::new(owned);
                    let asked_at = cx.instant_of(asked_at);
                    let before = self.engine.counters().calls_released;
                    self.command(cx, Command::Owned { owned, asked_at });
                    let lost = self.engine.counters().calls_released - before;
                    cx.note(format!("{} finds {lost} calls gone", name(self.node)));
                }
                if is_still {
                    self.go_on(cx);
                }
            }
            (Asked::Find(request), reply) => {
                let run = match reply {
                    Ok(Reply::Found(found)) => Ok(found),
                    _ => Err(()),
                };
                self.on_found(cx, request, run);
            }
            (Asked::Give { to, calls }, reply) => {
                self.glue.is_giving = false;
                match reply {
                    Ok(_) => self.glue.has_given = true,
                    Err(()) => self.glue.released.entry(to).or_default().extend(calls),
                }
            }
            (Asked::Unsettled, reply) => {
                let count = if let Ok(Reply::Count(count)) = reply { count } else { 1 };
                self.glue.is_settled |= count == 0;
                self.wake(cx, LOOK_AGAIN_AFTER, Wake::Unsettled);
            }
        }
    }

    pub(super) fn on_glue_wake(&mut self, cx: &mut Cx, wake: Wake) {
        match wake {
            Wake::ClaimAgain => self.glue.is_claiming = false,
            Wake::Find((request, looks)) => {
                let looks = Some(looks).filter(|_| self.flaw != Flaw::SaysUnknownTooSoon);
                self.command(cx, Command::Again { request, looks });
            }
            Wake::KeptLate => self.check_ownership(cx, false),
            Wake::Unsettled => self.glue.is_asking_unsettled = false,
            _ => {}
        }
    }

    fn on_renewed(
        &mut self,
        cx: &mut Cx,
        own_age: Option<Duration>,
        peers: Vec<(Lease, Duration)>,
    ) {
        let is_late = own_age.is_none_or(|age| age >= LEASE_LIMIT / 2);
        if (is_late || std::mem::take(&mut self.glue.is_unsure))
            && self.flaw != Flaw::SkipsOwnershipCheck
        {
            self.check_ownership(cx, false);
        }
        let peers = peers.into_iter().map(|(lease, lease_age)| Peer {
            id: lease.id,
            node: lease.node,
            address: lease
                .address
                .filter(|_| self.flaw != Flaw::BelievesLeasesAlone)
                .and_then(|address| address.parse().ok()),
            region: lease.region,
            is_draining: lease.is_draining,
            lease_age,
        });
        self.glue.membership.take_leases(peers.collect(), cx.instant());
        self.claim_if_due(cx);
    }

    fn claim_if_due(&mut self, cx: &mut Cx) {
        if self.flaw == Flaw::NeverClaims {
            return;
        }
        let glue = &mut self.glue;
        let dead = glue.membership.dead(cx.instant());
        let is_due = !dead.is_empty() || glue.is_behind || glue.membership.is_anybody_draining();
        let is_due = is_due || self.flaw == Flaw::LetsTwoClaim;
        if glue.is_claiming || !is_due || self.lease.is_draining {
            return;
        }
        glue.is_claiming = true;
        glue.is_behind = false;
        let op = Op::Claim { lease: self.lease.clone(), dead, call_id: None };
        self.ask_store(cx, op, Pending::Glue(Asked::Claim));
    }

    fn adopt(&mut self, cx: &mut Cx, calls: &[ClaimedCall]) {
        let (answered, ringing): (Vec<_>, Vec<_>) =
            calls.iter().partition(|claimed| claimed.is_answered);
        for claimed in ringing {
            let replica = Box::new(claimed.ringing().expect("it was written by us"));
            cx.note(format!("{} ends {}, which rang", name(self.node), claimed.call_id));
            self.command(cx, Command::EndRinging(replica));
        }
        let replicas: Vec<Replica> = answered
            .iter()
            .map(|claimed| claimed.replica().expect("it was written by us"))
            .collect();
        let expire_at: Vec<_> = replicas.iter().map(Replica::expires_at).collect();
        let times = refresh_times(&expire_at, LEGS_PER_S, cx.instant());
        for ((claimed, replica), mut refresh_at) in answered.into_iter().zip(replicas).zip(times) {
            if self.flaw == Flaw::NeverRefreshes {
                refresh_at = refresh_at.map(|at| at + Duration::from_secs(86_400));
            }
            let from = &claimed.taken_from;
            cx.note(format!("{} adopts {} from {from}", name(self.node), claimed.call_id));
            let replica = Box::new(replica);
            self.command(cx, Command::Adopt { replica, refresh_at });
        }
    }

    pub(super) fn on_unknown(&mut self, cx: &mut Cx, lookup: Lookup) {
        let op = Op::Find { tag: tag_of(&lookup) };
        self.ask_store(cx, op, Pending::Glue(Asked::Find(lookup)));
    }

    fn on_found(&mut self, cx: &mut Cx, lookup: Lookup, found: Result<Option<(Uuid, i64)>, ()>) {
        let found = match self.flaw {
            Flaw::SaysUnknownTooSoon => Ok(found.unwrap_or_default()),
            _ => found,
        };
        match found {
            Err(()) => self.look_again(cx, lookup),
            Ok(None) => self.on_nobodys(cx, lookup),
            Ok(Some((_, run))) if run == self.lease.id => self.look_again(cx, lookup),
            Ok(Some((call_id, run))) if self.glue.membership.dead(cx.instant()).contains(&run) => {
                let (lease, dead) = (self.lease.clone(), vec![run]);
                let op = Op::Claim { lease, dead, call_id: Some(call_id) };
                self.ask_store(cx, op, Pending::Glue(Asked::ClaimFor(lookup)));
            }
            Ok(Some((_, run))) => {
                if let Some(to) = self.glue.membership.address_of_living(run) {
                    self.pass_on(cx, lookup, to);
                }
            }
        }
    }

    fn on_nobodys(&mut self, cx: &mut Cx, lookup: Lookup) {
        match self.glue.passed_on.get(&tag_of(&lookup)).copied() {
            Some((to, at)) if cx.now < at + REQUEST_LIMIT && self.flaw != Flaw::ForgetsWhereTo => {
                self.pass_on(cx, lookup, to);
            }
            Some(_) | None => self.command(cx, Command::Again { request: lookup.0, looks: None }),
        }
    }

    fn pass_on(&mut self, cx: &mut Cx, lookup: Lookup, to: SocketAddr) {
        self.glue.passed_on.insert(tag_of(&lookup), (to, cx.now));
        self.command(cx, Command::PassOn { request: lookup.0, to });
    }

    fn look_again(&mut self, cx: &mut Cx, lookup: Lookup) {
        self.wake(cx, LOOK_AGAIN_AFTER, Wake::Find(lookup));
    }

    pub(super) fn check_ownership(&mut self, cx: &mut Cx, is_still: bool) {
        let op = Op::Owned { lease: self.lease.clone() };
        let asked_at = match self.flaw {
            Flaw::JudgesWhatWasKeptSince => u64::MAX / 4,
            _ => cx.now.saturating_sub(OWNED_MARGIN),
        };
        self.ask_store(cx, op, Pending::Glue(Asked::Owned { is_still, asked_at }));
    }

    fn hand_over(&mut self, cx: &mut Cx) {
        let heirs = self.glue.membership.heirs(self.lease.region.as_deref());
        let heirs: Vec<(i64, Option<Arc<str>>)> =
            heirs.map(|heir| (heir.id, heir.region.as_deref().map(Arc::from))).collect();
        if heirs.is_empty() {
            self.glue.is_settled |= !self.glue.has_given;
            return;
        }
        let count = if self.flaw == Flaw::GivesAllToOne { 1 } else { heirs.len() };
        if self.glue.settle_until.is_none() {
            self.glue.is_settled = false;
        }
        if cx.now >= self.glue.hand_over_at {
            self.glue.hand_over_at = cx.now + 2 * LOOK_EVERY;
            let limit = share(self.engine.counters().calls_now as usize, count);
            for (to, region) in &heirs[..count] {
                let region = region.clone().filter(|_| self.flaw != Flaw::IgnoresRegions);
                self.command(cx, Command::HandOver { to: *to, limit, region });
            }
        }
        if !self.glue.is_giving
            && let Some((to, calls)) = self.glue.released.pop_first()
        {
            self.glue.is_giving = true;
            let is_there = heirs.iter().any(|(id, _)| *id == to);
            let to = if is_there { to } else { heirs[0].0 };
            cx.note(format!("{} gives {} calls away", name(self.node), calls.len()));
            let op = Op::Give { from: self.lease.id, to, calls: calls.clone() };
            self.ask_store(cx, op, Pending::Glue(Asked::Give { to, calls }));
        }
        let is_empty = !self.glue.is_busy() && self.engine.counters().calls_now == 0;
        if is_empty && !self.glue.is_asking_unsettled {
            let until = *self.glue.settle_until.get_or_insert(cx.now + SETTLE_LIMIT);
            if cx.now >= until {
                self.glue.is_settled = true;
                return;
            }
            self.glue.is_asking_unsettled = true;
            let op = Op::Unsettled { lease: self.lease.id };
            self.ask_store(cx, op, Pending::Glue(Asked::Unsettled));
        }
    }

    fn ping(&mut self, cx: &mut Cx, id: i64, to: SocketAddr) {
        let Some(other) = (0..3).find(|other| address(*other) == to) else { return };
        self.glue.pings += 1;
        let (own, seq) = (ping_address(self.node), self.glue.pings);
        let (run, node) = (self.id, self.node);
        let call_id = format!("ping-{run}-{id}");
        let bytes = ping(to, own, &call_id, seq, BUCKET_KEY);
        let at = cx.now + cx.between_ms(1, 5);
        let from = ping_address(node);
        cx.at(at, Event::ToAddress { node: other, from, bytes });
    }

    /// The engine answers somebody's ping.
    pub(super) fn glue_answers_ping(&mut self, cx: &mut Cx, to: usize, bytes: &Bytes) {
        let at = cx.now + cx.between_ms(1, 5);
        let from = address(self.node);
        cx.at(at, Event::ToAddress { node: to, from, bytes: bytes.clone() });
    }

    /// `true` where a datagram was an answer to one of our pings.
    pub fn take_ping_answer(&mut self, cx: &Cx, bytes: &Bytes) -> bool {
        // With short names where the answer must not be longer than the ping.
        let Ok(answer) = Message::parse(bytes.clone()) else { return false };
        let call_id = String::from_utf8_lossy(answer.call_id());
        let Some(rest) = call_id.strip_prefix("ping-").filter(|_| !answer.is_request()) else {
            return false;
        };
        if let Some((run, id)) = rest.split_once('-')
            && run.parse() == Ok(self.id)
            && let Ok(id) = id.parse()
        {
            self.glue.membership.handle_answer(id, cx.instant());
        }
        true
    }
}

fn tag_of(lookup: &Lookup) -> String {
    let tag = lookup.0.1.to_tag().unwrap_or_default();
    String::from_utf8_lossy(tag).into_owned()
}
