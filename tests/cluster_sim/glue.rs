//! What `src/server/cluster` does, without its tasks: the lease, claims, lookups, checks of ownership, the drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast::cluster::{Membership, Peer, refresh_times};
use holdfast::engine::{Command, Flow};
use holdfast::sip::Message;
use holdfast::store::answered::{ClaimedCall, LEASE_LIMIT, Lease};
use uuid::Uuid;

use super::cx::{Cx, Event, MS, S, ToRun, Wake, address, name, ping_address};
use super::node::{Pending, Run};
use super::store::{Flaw, Op, Reply};
use super::text::Text;

const RENEW_EVERY: u64 = 400 * MS;
pub const LOOK_EVERY: u64 = 50 * MS;
const LOOK_AGAIN_AFTER: u64 = 100 * MS;
const SETTLE_LIMIT: u64 = 12 * S;
const HAND_OVER_BATCH: usize = 500;
const LEGS_PER_S: u32 = 200;

/// A request whose dialog is looked for.
pub type Lookup = (Flow, Message);

/// What the store was asked for.
#[derive(Debug)]
pub enum Asked {
    Renewal,
    Claim,
    ClaimFor(Box<Lookup>),
    Owned { is_still: bool },
    Find(Box<Lookup>),
    Give(Vec<Uuid>),
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
    is_claiming: bool,
    is_behind: bool,
    pub released: Vec<Uuid>,
    is_giving: bool,
    hand_over_at: u64,
    has_given: bool,
    is_asking_unsettled: bool,
    settle_until: Option<u64>,
    pub is_settled: bool,
    pub drain: Drain,
    pings: u32,
}

impl Glue {
    pub fn new(lease: &Lease, now: u64) -> Self {
        Self {
            membership: Membership::new(lease.node.clone(), LEASE_LIMIT),
            renew_at: now,
            is_renewing: false,
            is_claiming: false,
            is_behind: true,
            released: Vec::new(),
            is_giving: false,
            hand_over_at: now,
            has_given: false,
            is_asking_unsettled: false,
            settle_until: None,
            is_settled: false,
            drain: Drain::Not,
            pings: 0,
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
                if let Ok(Reply::Renewed { own_age, peers }) = reply {
                    self.on_renewed(cx, own_age, peers);
                }
            }
            (Asked::Claim, Ok(Reply::Claimed(calls))) => {
                self.wake_with(cx, calls);
            }
            (Asked::Claim, _) => self.wake(cx, RENEW_EVERY, Wake::ClaimAgain),
            (Asked::ClaimFor(request), reply) => {
                if let Ok(Reply::Claimed(calls)) = reply {
                    self.adopt(cx, &calls);
                }
                self.command(cx, Command::Again(request));
            }
            (Asked::Owned { is_still }, reply) => {
                if let Ok(Reply::Owned(owned)) = reply {
                    self.command(cx, Command::Owned(Arc::new(owned.into_iter().collect())));
                }
                if is_still {
                    self.go_on(cx);
                }
            }
            (Asked::Find(request), reply) => {
                let run = match reply {
                    Ok(Reply::Found(found)) => found,
                    _ => None,
                };
                self.on_found(cx, request, run);
            }
            (Asked::Give(calls), reply) => {
                self.glue.is_giving = false;
                match reply {
                    Ok(_) => self.glue.has_given = true,
                    Err(()) => drop(calls),
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
            Wake::Claimed(calls) => {
                self.glue.is_claiming = false;
                self.adopt(cx, &calls);
            }
            Wake::ClaimAgain => self.glue.is_claiming = false,
            Wake::Find(request) => self.command(cx, Command::Again(request)),
            Wake::Unsettled => self.glue.is_asking_unsettled = false,
            _ => {}
        }
    }

    fn wake_with(&mut self, cx: &mut Cx, calls: Vec<ClaimedCall>) {
        self.wake(cx, LOOK_AGAIN_AFTER, Wake::Claimed(calls));
    }

    fn on_renewed(
        &mut self,
        cx: &mut Cx,
        own_age: Option<Duration>,
        peers: Vec<(Lease, Duration)>,
    ) {
        if own_age.is_some_and(|age| age >= LEASE_LIMIT / 2)
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
        let times: Vec<_> = refresh_times(calls.len(), LEGS_PER_S, cx.instant()).collect();
        for (claimed, mut refresh_at) in calls.iter().zip(times) {
            if self.flaw == Flaw::NeverRefreshes {
                refresh_at = refresh_at.map(|at| at + Duration::from_secs(86_400));
            }
            let replica = claimed.replica().expect("it was written by us");
            let from = &claimed.taken_from;
            cx.note(format!("{} adopts {} from {from}", name(self.node), claimed.call_id));
            let replica = Box::new(replica);
            self.command(cx, Command::Adopt { replica, refresh_at });
        }
    }

    pub(super) fn on_unknown(&mut self, cx: &mut Cx, request: Box<Lookup>) {
        let tag = request.1.to_tag().unwrap_or_default();
        let tag = String::from_utf8_lossy(tag).into_owned();
        self.ask_store(cx, Op::Find { tag }, Pending::Glue(Asked::Find(request)));
    }

    fn on_found(&mut self, cx: &mut Cx, request: Box<Lookup>, found: Option<(Uuid, i64)>) {
        match found {
            None => self.command(cx, Command::Again(request)),
            Some((_, run)) if run == self.lease.id => {
                self.wake(cx, LOOK_AGAIN_AFTER, Wake::Find(request));
            }
            Some((call_id, run)) if self.glue.membership.dead(cx.instant()).contains(&run) => {
                let (lease, dead) = (self.lease.clone(), vec![run]);
                let op = Op::Claim { lease, dead, call_id: Some(call_id) };
                self.ask_store(cx, op, Pending::Glue(Asked::ClaimFor(request)));
            }
            Some((_, run)) => {
                if let Some(to) = self.glue.membership.address_of_living(run) {
                    self.command(cx, Command::PassOn { request, to });
                }
            }
        }
    }

    pub(super) fn check_ownership(&mut self, cx: &mut Cx, is_still: bool) {
        let op = Op::Owned { lease: self.lease.clone() };
        self.ask_store(cx, op, Pending::Glue(Asked::Owned { is_still }));
    }

    fn hand_over(&mut self, cx: &mut Cx) {
        let Some(heir) = self.glue.membership.heir(self.lease.region.as_deref()) else {
            self.glue.is_settled |= !self.glue.has_given;
            return;
        };
        let heir = heir.id;
        if self.glue.settle_until.is_none() {
            self.glue.is_settled = false;
        }
        if cx.now >= self.glue.hand_over_at {
            self.glue.hand_over_at = cx.now + 2 * LOOK_EVERY;
            self.command(cx, Command::HandOver { limit: HAND_OVER_BATCH });
        }
        if !self.glue.released.is_empty() && !self.glue.is_giving {
            self.glue.is_giving = true;
            let calls = std::mem::take(&mut self.glue.released);
            cx.note(format!("{} gives {} calls away", name(self.node), calls.len()));
            let op = Op::Give { from: self.lease.id, to: heir, calls: calls.clone() };
            self.ask_store(cx, op, Pending::Glue(Asked::Give(calls)));
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
        let options = Text::new(format!("OPTIONS sip:{to} SIP/2.0"))
            .with("Via", format!("SIP/2.0/UDP {own};rport;branch=z9hG4bKping{run}-{seq}"))
            .with("Max-Forwards", "70")
            .with("From", format!("<sip:ping@{own}>;tag={seq}"))
            .with("To", format!("<sip:{to}>"))
            .with("Call-ID", format!("ping-{run}-{id}"))
            .with("CSeq", format!("{seq} OPTIONS"));
        let at = cx.now + cx.between_ms(1, 5);
        let from = ping_address(node);
        cx.at(at, Event::ToAddress { node: other, from, bytes: options.print() });
    }

    /// The engine answers somebody's ping.
    pub(super) fn glue_answers_ping(&mut self, cx: &mut Cx, to: usize, bytes: &Bytes) {
        let at = cx.now + cx.between_ms(1, 5);
        let from = address(self.node);
        cx.at(at, Event::ToAddress { node: to, from, bytes: bytes.clone() });
    }

    /// `true` where a datagram was an answer to one of our pings.
    pub fn take_ping_answer(&mut self, cx: &Cx, bytes: &Bytes) -> bool {
        let Some(text) = Text::parse(bytes).filter(|text| !text.is_request()) else { return false };
        let Some(rest) = text.call_id().strip_prefix("ping-") else { return false };
        if let Some((run, id)) = rest.split_once('-')
            && run.parse() == Ok(self.id)
            && let Ok(id) = id.parse()
        {
            self.glue.membership.handle_answer(id, cx.instant());
        }
        true
    }
}
