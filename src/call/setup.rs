//! A call that is not answered yet: the caller waits while carriers are tried.

use std::time::{Duration, Instant};

use super::admission::plan_for;
use super::attempt::{Attempt, Offer, is_ringing};
use super::context::{CallKey, Context, Event, Output, Owner};
use super::credentials::{self, Challenged};
use super::draft::Draft;
use super::early::Early;
use super::hunt::Hunt;
use super::inbound::{CallerPolicy, Inbound};
use super::leg::Leg;
use super::verdict::{self, Blame, Failure, FinalAnswer};
use super::{EndCause, EndedBy, KeptInvite, RingingReplica, Side, header_policy};
use crate::carrier::{Action, Class, ReferPolicy, RerouteAfterRinging, Stage};
use crate::dialog::{Dialog, OwnInvite};
use crate::health::{Channel, Evidence};
use crate::routing::Candidate;
use crate::sip::octets::Octets;
use crate::sip::{HeaderName, Message, Printer, sdp, status};
use crate::transaction::timer::Deadlines;
use crate::transaction::{ClientKey, Flow, ServerKey};

/// How long a call waits for a gateway that is full.
const TOKEN_LIMIT: Duration = Duration::from_millis(500);
/// How often it looks whether there is room.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a call may take to be answered before it is kept outside of the node: most phones ring longer, but
/// what is answered at once is kept once.
const KEEP_AFTER: Duration = Duration::from_secs(1);

/// What a call waits for before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Any response to the INVITE.
    Response,
    /// A 18x after a 100.
    Ringing,
    /// The first 18x of any attempt.
    Budget,
    /// An answer, once it rings.
    Answer,
    /// Room at a gateway.
    Token,
    /// The caller's PRACK.
    Acknowledgement,
}

/// What is said of a carrier that has reached the called party.
const REACHED: Blame = Blame { class: Class::Answered, weight: 0.0, status_code: None };

/// Why a call is refused for which no gateway had room in time.
const NO_CAPACITY: &str = "no gateway of the route has capacity";

/// A caller's INVITE and the attempts made for it.
#[derive(Debug)]
pub struct Setup {
    pub(super) call: CallKey,
    pub(super) offer: Offer,
    pub(super) inbound: Inbound,
    pub(super) hunt: Hunt,
    pub(super) attempt: Option<Attempt>,
    pub(super) refer: ReferPolicy,
    /// The call is answered already, and to be transferred: attempts that it had before.
    pub(super) transfers_after: Option<u8>,
    /// The early dialogs of the attempt that stand on both sides.
    pub(super) early: Vec<Early>,
    /// The carrier's answer, which may not reach the caller before its PRACK has come.
    pub(super) held: Option<Message>,
    /// The caller has been told that it rings.
    is_ringing: bool,
    final_answer: Option<FinalAnswer>,
    /// The last attempt that failed, and what was made of it.
    blamed: Option<(Candidate, Blame)>,
    lot: Option<f64>,
    /// Until when this call waits for room, once it has begun to.
    waits_until: Option<Instant>,
    pub(super) deadlines: Deadlines<Wait>,
    /// When the call is to be kept outside of the node; and the attempt as of which it was last, and whether that had
    /// rung.
    keep_at: Option<Instant>,
    kept_attempt: Option<(u8, bool)>,
    /// Since when another node would end it.
    kept_at: Option<Instant>,
}

/// What becomes of the setup.
#[derive(Debug)]
pub enum Next {
    Wait,
    /// With the channel that the call goes on to hold.
    Answered(Box<(Leg, Leg)>, Option<Channel>),
    /// The target of a transfer has answered.
    Reached(Box<Leg>, Option<Channel>),
    Over,
}

impl Setup {
    /// Begins to hunt.
    pub fn new(
        cx: &mut Context,
        call: CallKey,
        server: ServerKey,
        flow: Flow,
        offer: Offer,
        hunt: Hunt,
        policy: CallerPolicy,
    ) -> Self {
        let mut deadlines = Deadlines::default();
        deadlines.arm(Wait::Budget, cx.now + hunt.plan().route.setup_budget);
        Self {
            call,
            refer: policy.refer,
            inbound: Inbound::new(server, flow, &offer.invite, policy),
            offer,
            hunt,
            attempt: None,
            transfers_after: None,
            early: Vec::new(),
            held: None,
            is_ringing: false,
            final_answer: None,
            blamed: None,
            lot: None,
            waits_until: None,
            deadlines,
            keep_at: cx.settings.replicates.then(|| cx.now + KEEP_AFTER),
            kept_attempt: None,
            kept_at: None,
        }
    }

    /// Begins to hunt for the target of a transfer: nobody waits with an INVITE for what comes of it. `flow`: where its
    /// REFER came from; `attempts_before`: those that the call has on record.
    pub fn for_transfer(
        cx: &mut Context,
        call: CallKey,
        flow: Flow,
        offer: Offer,
        hunt: Hunt,
        policy: CallerPolicy,
        attempts_before: u8,
    ) -> Self {
        // The key of no transaction: responses to it come to nothing.
        let new = Self::new(cx, call, ServerKey::default(), flow, offer, hunt, policy);
        Self { transfers_after: Some(attempts_before), keep_at: None, ..new }
    }

    /// What this call has drawn, 0.0 to 1.0, against the share of calls that a gateway wants held back (RFC 7339 §7.2); once,
    /// for a call that asks again and again must not wear a gateway down.
    fn lot(&mut self, cx: &mut Context) -> f64 {
        match cx.capacity.has_feedback() {
            true => *self.lot.get_or_insert_with(|| cx.random.unit_f64()),
            false => 1.0,
        }
    }

    /// Tries the next candidate, waits where one is only full, or gives the caller the final answer.
    pub fn hunt(&mut self, cx: &mut Context, draft: &mut Draft) -> Next {
        let view = cx.view.clone();
        if self.hunt.is_panic_for_want_of_capacity() && self.wait_for_room(cx) {
            return Next::Wait;
        }
        loop {
            let lot = self.lot(cx);
            let (capacity, now) = (&cx.capacity, cx.now);
            let has_room = |candidate: &Candidate| {
                capacity.headroom(candidate.carrier(), &candidate.gateway, now) > 0.0
                    && lot >= capacity.held_back(candidate.target.address, now)
            };
            let Some(candidate) = self.hunt.take_next(&view, has_room) else { break };
            let number = self.hunt.attempts();
            if self.start(cx, number, candidate, true) {
                return Next::Wait;
            }
        }
        match self.hunt.is_short() {
            true if self.wait_for_room(cx) => Next::Wait,
            true => self.fail_for_want_of_capacity(cx, draft),
            false => self.fail(cx, draft),
        }
    }

    fn start(&mut self, cx: &mut Context, number: u8, to: Candidate, may_move: bool) -> bool {
        let number = self.transfers_after.unwrap_or(0).saturating_add(number);
        self.attempt = Attempt::start(cx, self.call, number, to, &self.offer, self.refer, may_move);
        if let Some(attempt) = &self.attempt {
            self.deadlines.arm(Wait::Response, attempt.no_response_at());
        }
        self.attempt.is_some()
    }

    /// A response to the INVITE of the current attempt.
    pub fn on_response(
        &mut self,
        cx: &mut Context,
        draft: &mut Draft,
        client: ClientKey,
        response: &Message,
    ) -> Next {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.client == client) else {
            return Next::Wait;
        };
        attempt.note_response(cx, response);
        self.deadlines.stop(Wait::Response);
        match response.status_code() {
            100..200 => {
                if self.takes(cx, response) {
                    self.progress(cx, draft, response);
                }
                Next::Wait
            }
            200..300 if self.inbound.provisionals.holds_answer_back() => {
                self.held.get_or_insert_with(|| response.clone());
                Next::Wait
            }
            200..300 => self.answer(cx, draft, response),
            _ if attempt.comes_to_terms(cx, &self.offer, response) => {
                // What is kept of it is another INVITE now.
                self.kept_attempt = None;
                self.deadlines.stop(Wait::Ringing);
                self.deadlines.arm(Wait::Response, attempt.no_response_at());
                Next::Wait
            }
            _ => self.attempt_failed(cx, draft, Failure::Response(response)),
        }
    }

    /// The carrier asks for credentials; the same one is called again where there are some.
    pub fn on_challenge(
        &mut self,
        cx: &mut Context,
        owner: Owner,
        client: ClientKey,
        challenged: &Challenged,
        response: &Message,
    ) -> bool {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.client == client) else {
            return self.on_early_challenge(cx, owner, client, challenged, response);
        };
        let is_answered = attempt.answer_challenge(cx, challenged, response);
        if is_answered {
            // What is kept of it is another INVITE now.
            self.kept_attempt = None;
        }
        if is_answered && attempt.stage < Stage::Ringing {
            self.deadlines.stop(Wait::Ringing);
            let no_response = attempt.candidate.carrier().no_response;
            self.deadlines.arm(Wait::Response, cx.now + no_response);
        }
        is_answered
    }

    /// The INVITE of the current attempt timed out, or could not be delivered.
    pub fn on_client_failed(
        &mut self,
        cx: &mut Context,
        draft: &mut Draft,
        client: ClientKey,
        failure: Failure<'_>,
    ) -> Next {
        match &self.attempt {
            Some(attempt) if attempt.client != client => Next::Wait,
            Some(attempt) if attempt.may_move_back(failure) => {
                let (number, candidate) = (self.hunt.attempts(), attempt.candidate.clone());
                self.take_attempt(cx);
                match self.start(cx, number, candidate, false) {
                    true => Next::Wait,
                    false => self.hunt(cx, draft),
                }
            }
            Some(_) => self.attempt_failed(cx, draft, failure),
            None => Next::Wait,
        }
    }

    /// The caller gave up: by CANCEL, or by a BYE in the early dialog.
    pub fn on_caller_gone(
        &mut self,
        cx: &mut Context,
        draft: &mut Draft,
        by: &str,
        reason: Option<&str>,
    ) -> Next {
        if let Some(attempt) = self.take_attempt(cx) {
            let record = attempt.given_up(cx, by);
            draft.note(|draft| draft.attempts.push(record));
            attempt.leave(cx, reason.unwrap_or("SIP;cause=487;text=\"Request Terminated\""));
        }
        self.inbound.refuse(cx, 487, b"", |_| {});
        draft.end(cx, Some(487), EndCause::Cancelled, EndedBy::Caller, "");
        Next::Over
    }

    /// An admin, or the end of a drain, ends the call.
    pub fn on_terminated(&mut self, cx: &mut Context, draft: &mut Draft) -> Next {
        if let Some(attempt) = self.take_attempt(cx) {
            let record = attempt.given_up(cx, "ended by us");
            draft.note(|draft| draft.attempts.push(record));
            attempt.leave(cx, "");
        }
        self.inbound.refuse(cx, 480, b"", |_| {});
        draft.end(
            cx,
            Some(480),
            EndCause::Terminated,
            EndedBy::Holdfast,
            "ended while it was set up",
        );
        Next::Over
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next().into_iter().chain(self.keep_at).min()
    }

    pub fn on_timeout(&mut self, cx: &mut Context, draft: &mut Draft) -> Next {
        self.keep_if_due(cx, draft);
        while let Some(wait) = self.deadlines.take_expired(cx.now) {
            let next = match wait {
                Wait::Response | Wait::Ringing => self.leave_and_go_on(cx, draft),
                Wait::Budget => {
                    // The last carrier in the row had no full chance: that is not held against it.
                    self.give_up(cx, draft, "nothing rang in time", 504, Some(0.0))
                }
                Wait::Answer => self.give_up(cx, draft, "nobody answered in time", 480, None),
                Wait::Token => self.look_for_room(cx, draft),
                Wait::Acknowledgement => self.on_provisional_due(cx, draft),
            };
            match next {
                Next::Wait => {}
                Next::Answered(..) | Next::Reached(..) | Next::Over => return next,
            }
        }
        Next::Wait
    }

    /// Asks for what is needed to end the call, should this node die, to be kept: once it has taken a while, and again
    /// as other carriers are tried.
    fn keep_if_due(&mut self, cx: &mut Context, draft: &Draft) {
        if self.keep_at.is_none_or(|at| at > cx.now) {
            return;
        }
        self.keep_at = Some(cx.now + KEEP_AFTER);
        let dialogs = self.dialogs(cx);
        let attempt = (self.hunt.attempts(), dialogs.is_some());
        let (Some(record), true) = (draft.record(), self.kept_attempt != Some(attempt)) else {
            return;
        };
        self.kept_attempt = Some(attempt);
        let mut record = record.clone();
        let kept = self.attempt.as_ref().map(|attempt| attempt.kept(cx));
        let (attempt, carrier) = kept.unzip();
        record.attempts.extend(attempt);
        let flow = self.inbound.flow;
        let caller = KeptInvite {
            invite: Octets(self.offer.invite.bytes().to_vec().into()),
            transport: cx.settings.listener(flow.listener).transport,
            peer: flow.remote,
            gateway: None,
        };
        let replica = Box::new(RingingReplica { record, caller, carrier, dialogs });
        cx.outputs.push_back(Output::KeepRinging { call: self.call, replica });
    }

    /// What would stand if the phone that rings were answered now.
    fn dialogs(&mut self, cx: &mut Context) -> Option<Box<[Dialog; 2]>> {
        let attempt = self.attempt.as_ref()?;
        let rang = Message::parse(attempt.rang.clone()?).ok()?;
        let outbound = Dialog::uac(OwnInvite::of(&attempt.invite), attempt.local_tag, &rang);
        let tag = rang.to_tag().unwrap_or_default();
        let tag = self.inbound.tag_for(cx, self.call, self.hunt.attempts(), tag);
        let inbound = self.inbound.leg(self.call, tag, &self.offer.invite).dialog;
        Some(Box::new([inbound, outbound]))
    }

    /// Another node would end the call from now on.
    pub fn on_kept(&mut self, cx: &Context) {
        self.kept_at.get_or_insert(cx.now);
    }

    /// Asks again with the next look at it.
    pub fn on_not_kept(&mut self) {
        self.kept_attempt = None;
    }

    /// What was kept may be lost.
    pub fn on_store_moved(&mut self) {
        self.kept_at = None;
    }

    pub fn kept_at(&self) -> Option<Instant> {
        self.kept_at
    }

    /// Another node has ended the call: not a word to anybody.
    pub fn fall_silent(&mut self, cx: &mut Context) {
        self.take_attempt(cx);
        cx.transactions.remove_server(self.inbound.server);
        self.inbound.forget(cx);
    }

    /// The caller's INVITE.
    pub fn server(&self) -> ServerKey {
        self.inbound.server
    }

    /// The INVITE of the current attempt.
    pub fn is_trying(&self, client: ClientKey) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.client == client)
    }

    /// Whether a request within an early dialog comes from the one who shares it with us.
    pub fn has_dialog(&self, side: Side, request: &Message) -> bool {
        match side {
            Side::Inbound => {
                let invite = &self.offer.invite;
                request.call_id() == invite.call_id() && request.from_tag() == invite.from_tag()
            }
            Side::Outbound => self.attempt.as_ref().is_some_and(|attempt| attempt.is_of(request)),
        }
    }

    /// The current attempt, which is not one any more: nothing may come within its early dialogs.
    fn take_attempt(&mut self, cx: &mut Context) -> Option<Attempt> {
        let mut attempt = self.attempt.take()?;
        self.close_early(cx);
        self.held = None;
        cx.dialogs.remove(&attempt.local_tag);
        if let Some(channel) = attempt.channel.take() {
            cx.capacity.release(channel);
        }
        Some(attempt)
    }

    /// Has the call wait for a gateway that is full; `false` where it has waited long enough, or cannot.
    fn wait_for_room(&mut self, cx: &Context) -> bool {
        let until = *self.waits_until.get_or_insert(cx.now + TOKEN_LIMIT);
        let may_wait = cx.now < until && !self.is_ringing;
        if may_wait {
            self.deadlines.arm(Wait::Token, until.min(cx.now + LOOK_EVERY));
        }
        may_wait
    }

    /// Decides anew, for what was full may have room.
    fn look_for_room(&mut self, cx: &mut Context, draft: &mut Draft) -> Next {
        let before = self.hunt.plan().clone();
        let plan = plan_for(cx, &before.route, before.region.as_ref(), &self.offer);
        draft.note(|record| record.plan = Some(plan.clone()));
        self.hunt.go_on_with(plan);
        self.hunt(cx, draft)
    }

    fn progress(&mut self, cx: &mut Context, draft: &mut Draft, response: &Message) {
        let Some(attempt) = &self.attempt else { return };
        let status_code = response.status_code();
        if !is_ringing(status_code) {
            // Also once an earlier attempt has rung: the caller hears that one, not this.
            if attempt.stage == Stage::Trying {
                self.deadlines.arm(Wait::Ringing, attempt.no_ringing_at());
            }
            self.relay_provisional(cx, response);
            return;
        }
        self.deadlines.stop(Wait::Ringing);
        // Ringing is enough to judge the carrier before: its callee may not answer for a minute, or at all. With
        // early media it may be an announcement that there is no such number.
        if attempt.stage == Stage::Ringing {
            let candidate = attempt.candidate.clone();
            self.weigh(cx, &candidate, REACHED);
        }
        if !std::mem::replace(&mut self.is_ringing, true) {
            self.deadlines.stop(Wait::Budget);
            self.deadlines.arm(Wait::Answer, cx.now + self.hunt.plan().route.max_ringing);
            let ringing_at = cx.wall_at(cx.now);
            draft.note(|record| record.ringing_at = Some(ringing_at));
        }
        self.relay_provisional(cx, response);
    }

    pub(super) fn answer(
        &mut self,
        cx: &mut Context,
        draft: &mut Draft,
        response: &Message,
    ) -> Next {
        // The call goes on to hold it.
        let channel = self.attempt.as_mut().and_then(|attempt| attempt.channel.take());
        let early = self.take_early(cx, response.to_tag().unwrap_or_default());
        let Some(mut attempt) = self.take_attempt(cx) else { return Next::Wait };
        let record = attempt.answered(cx, response);
        self.weigh(cx, &attempt.candidate, REACHED);
        draft.note(|draft| draft.attempts.push(record));
        let invite = OwnInvite::of(&attempt.invite);
        let mut dialog = Dialog::uac(invite, attempt.local_tag, response);
        cx.dialogs.insert(attempt.local_tag, (self.call, Side::Outbound));
        let (early_outbound, early_inbound) = early.map(|it| (it.outbound, it.inbound)).unzip();
        let mut outbound = match early_outbound {
            // RFC 3261 §13.2.2.4: target and routes are the 2xx's, what was counted goes on.
            Some(mut leg) => {
                dialog.jump_seq(leg.dialog.local_seq);
                dialog.remote_seq = leg.dialog.remote_seq;
                leg.dialog = dialog;
                leg
            }
            None => Leg::new(self.call, Side::Outbound, dialog, attempt.flow),
        };
        outbound.session = attempt.terms.session.clone();
        outbound.refer = self.refer;
        outbound.header_rule = attempt.candidate.carrier().number_rule.headers.clone();
        outbound.trunk = Some(attempt.trunk.clone());
        let (sent, offer) = (attempt.invite.clone(), sdp::description_of(&self.offer.invite));
        outbound.hold_answered(cx, attempt.client, (invite.seq, sent), offer, response);
        if self.transfers_after.is_some() {
            self.inbound.forget(cx);
            return Next::Reached(Box::new(outbound), channel);
        }
        let attempts = self.hunt.attempts();
        let invite = &self.offer.invite;
        let inbound = self.inbound.answer(cx, self.call, attempts, invite, response, early_inbound);
        let answered_at = cx.wall_at(cx.now);
        draft.note(|record| {
            record.answered_at = Some(answered_at);
            record.status_code = response.status_code();
        });
        cx.counters.calls_answered += 1;
        Next::Answered(Box::new((inbound, outbound)), channel)
    }

    /// One of our timers says that the carrier had its chance.
    fn leave_and_go_on(&mut self, cx: &mut Context, draft: &mut Draft) -> Next {
        if let Some(attempt) = &self.attempt {
            attempt.leave(cx, "");
        }
        self.attempt_failed(cx, draft, Failure::Timeout)
    }

    fn attempt_failed(
        &mut self,
        cx: &mut Context,
        draft: &mut Draft,
        failure: Failure<'_>,
    ) -> Next {
        let channel = self.attempt.as_mut().and_then(|attempt| attempt.channel.take());
        let Some(attempt) = self.take_attempt(cx) else { return Next::Wait };
        self.deadlines.stop(Wait::Response);
        self.deadlines.stop(Wait::Ringing);
        let carrier = attempt.candidate.carrier();
        let rule = verdict::classify(&cx.tables, carrier.id, attempt.stage, failure);
        match channel {
            Some(channel) if rule.class == Class::Capacity => {
                cx.capacity.refused(channel, failure.full(), cx.now);
            }
            Some(channel) => cx.capacity.release(channel),
            None => {}
        }
        let record = attempt.failed(cx, failure, rule);
        let status_code = match failure {
            Failure::Response(response) => Some(response.status_code()),
            Failure::Timeout | Failure::Transport => None,
        };
        let blame = Blame { class: rule.class, weight: rule.weight, status_code };
        self.weigh(cx, &attempt.candidate, blame);
        if rule.class == Class::Config {
            let gateway = record.gateway.clone();
            let (status_code, mut reason) = (record.status_code, record.reason.clone());
            if let Failure::Response(response) = failure {
                for realm in credentials::realms_of(response) {
                    reason.push_str(&format!(" (realm {realm:?})"));
                }
            }
            cx.emit_event(Event::ConfigRefusal { gateway, status_code, reason });
        }
        draft.note(|draft| draft.attempts.push(record));
        let answer = FinalAnswer::new(failure, rule.class);
        self.final_answer = Some(FinalAnswer::better_of(self.final_answer.take(), answer));
        let is_done_ringing = self.is_ringing && !self.may_reroute_after_ringing(rule.class);
        if is_done_ringing || !self.hunt.may_follow(rule.action, carrier.id) {
            return self.fail(cx, draft);
        }
        if rule.class == Class::Capacity {
            self.hunt.note_full(carrier.id, attempt.candidate.target);
        }
        self.hunt(cx, draft)
    }

    /// Sees the attempt before in the light of this one, which is another carrier's.
    fn weigh(&mut self, cx: &mut Context, candidate: &Candidate, blame: Blame) {
        let before = self.blamed.replace((candidate.clone(), blame));
        let Some((earlier, earlier_blame)) = before else { return };
        if earlier.carrier().id == candidate.carrier().id {
            return;
        }
        let country = self.offer.country;
        let (of_earlier, of_later) = verdict::revise(&earlier_blame, &blame);
        for (whose, failures) in [(&earlier, of_earlier), (candidate, of_later)] {
            if failures != 0.0 {
                let evidence = Evidence::Revised { failures, country };
                cx.emit_outcome(whose.target, whose.carrier().id, evidence);
            }
        }
        // A third carrier sees the second one as it now is.
        if let Some((_, blame)) = &mut self.blamed {
            blame.weight += of_later;
        }
    }

    fn may_reroute_after_ringing(&self, class: Class) -> bool {
        match self.hunt.plan().route.reroute_after_ringing {
            RerouteAfterRinging::Never => false,
            RerouteAfterRinging::CarrierFaultOnly => {
                matches!(class, Class::CarrierHard | Class::CarrierSoft)
            }
        }
    }

    /// A limit of the route is reached. `weight`: what that says of the carrier that was being tried.
    pub(super) fn give_up(
        &mut self,
        cx: &mut Context,
        draft: &mut Draft,
        why: &str,
        status_code: u16,
        weight: Option<f32>,
    ) -> Next {
        if let Some(attempt) = self.take_attempt(cx) {
            let carrier_id = attempt.candidate.carrier().id;
            let mut rule =
                verdict::classify(&cx.tables, carrier_id, attempt.stage, Failure::Timeout);
            rule.action = Action::Stop;
            rule.weight = weight.unwrap_or(rule.weight);
            let mut record = attempt.failed(cx, Failure::Timeout, rule);
            record.reason = why.to_owned();
            draft.note(|draft| draft.attempts.push(record));
            attempt.leave(cx, "");
        }
        draft.note(|record| record.detail = why.to_owned());
        match self.final_answer {
            Some(_) if !self.is_ringing => self.fail(cx, draft),
            // Once it has rung, that nobody answered says more than how earlier attempts failed.
            Some(_) | None => {
                self.inbound.refuse(cx, status_code, b"", |_| {});
                draft.end(cx, Some(status_code), EndCause::Failed, EndedBy::Holdfast, "");
                Next::Over
            }
        }
    }

    /// Room did not come in time. The caller must not think that we are dead, and hears what an attempt
    /// said that failed otherwise.
    fn fail_for_want_of_capacity(&mut self, cx: &mut Context, draft: &mut Draft) -> Next {
        draft.note(|record| record.detail = NO_CAPACITY.to_owned());
        let was_full = |(_, blame): &(Candidate, Blame)| blame.class == Class::Capacity;
        let cause = match &self.final_answer {
            None => 503,
            Some(answer) if self.blamed.as_ref().is_some_and(was_full) => answer.cause,
            Some(_) => return self.fail(cx, draft),
        };
        cx.counters.calls_without_capacity += 1;
        self.inbound.refuse(cx, 480, b"", |printer| {
            printer.header_fmt(
                HeaderName::Reason,
                format_args!("SIP;cause={cause};text=\"{NO_CAPACITY}\""),
            );
        });
        let end_cause = match self.hunt.attempts() {
            0 => {
                let detail = NO_CAPACITY.to_owned();
                let source = self.inbound.flow.remote;
                cx.emit_event(Event::Refused { source, status_code: 480, detail });
                EndCause::Refused
            }
            _ => EndCause::Failed,
        };
        draft.end(cx, Some(480), end_cause, EndedBy::Holdfast, "");
        Next::Over
    }

    /// Gives the caller what says most about the called party.
    fn fail(&mut self, cx: &mut Context, draft: &mut Draft) -> Next {
        let Some(answer) = self.final_answer.take() else {
            // Candidates there were, but no listener reached one.
            self.inbound.refuse(cx, 480, b"", |_| {});
            draft.end(
                cx,
                Some(480),
                EndCause::Failed,
                EndedBy::Holdfast,
                "no candidate could be reached",
            );
            return Next::Over;
        };
        let is_mapped = answer.status_code != answer.cause;
        let response = answer.response.as_ref();
        let reason = response.filter(|_| !is_mapped).map(Message::reason).unwrap_or_default();
        let header_rule = self.inbound.policy.headers.clone();
        self.inbound.refuse(cx, answer.status_code, reason, |printer: &mut Printer| {
            if let Some(response) = response {
                let carried = super::Carried::of(response);
                header_policy::write(carried, &header_rule, printer);
            }
            if is_mapped {
                // RFC 3326 §2: what really happened, for whoever wants to know.
                let text = status::reason_phrase(answer.cause);
                let cause = answer.cause;
                printer.header_fmt(
                    HeaderName::Reason,
                    format_args!("SIP;cause={cause};text=\"{text}\""),
                );
            }
        });
        let ended_by = if response.is_some() { EndedBy::Callee } else { EndedBy::Holdfast };
        draft.end(cx, Some(answer.status_code), EndCause::Failed, ended_by, "");
        Next::Over
    }
}
