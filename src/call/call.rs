//! A call: where its two legs meet. What one leg tells is matched against the call's state, and
//! nothing else is done here.

mod ending;
mod keeping;
mod succession;
mod talk;

use std::time::{Duration, Instant};

use super::admission::{Admission, Denial};
use super::attempt::Offer;
use super::context::{CallKey, Context, Event, Owner, TimerKey};
use super::credentials::Challenged;
use super::draft::Draft;
use super::hunt::Hunt;
use super::inbound::CallerPolicy;
use super::leg::Leg;
use super::setup::{Next, Setup};
use super::verdict::Failure;
pub use succession::Replaced;
use talk::{Move, Talk};

use super::{EndCause, EndedBy, LegEvent, Side, header_policy};
use crate::health::Seat;
use crate::sip::{HeaderName, Message, Method};
use crate::transaction::{ClientKey, Flow, ServerKey};

/// The longest that a call is left alone.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// One call of a shard.
#[derive(Debug)]
pub struct Call {
    key: CallKey,
    draft: Draft,
    state: State,
    /// Among its customer's calls; given back with the call's end, however long our BYE may take.
    seat: Option<Seat>,
    scheduled: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// Carriers are tried.
    Setup(Box<Setup>),
    /// Both dialogs stand.
    Talk(Box<Talk>),
    /// Our BYEs, or the ACK of an answer, are on their way.
    Ending {
        legs: Box<Talk>,
        /// What is to come before the legs are forgotten.
        waits: u8,
        /// When the record is given out at the latest; `None` = it was.
        record_by: Option<Instant>,
        /// A peer that did not know its dialog when it was told where the call has gone: it may have hung up, and its
        /// BYE be on its way.
        lost: Option<Side>,
    },
    Over,
}

impl Call {
    /// A call that may begin: hunts at once.
    pub fn begin(
        cx: &mut Context,
        key: CallKey,
        server: ServerKey,
        flow: Flow,
        offer: Offer,
        admission: Admission,
    ) -> Self {
        let mut draft = Draft::new(cx, flow, &offer);
        draft.note(|record| {
            record.customer = Some((admission.customer.id, admission.customer.name.clone()));
            record.route_id = Some(admission.plan.route.id);
            record.region = admission.plan.region.clone();
            record.plan = Some(admission.plan.clone());
        });
        let (hunt, policy) = (Hunt::new(admission.plan), CallerPolicy::of(&admission.customer));
        let seat = Some(cx.capacity.seat(&admission.customer, cx.now));
        let mut setup = Box::new(Setup::new(cx, key, server, flow, offer, hunt, policy));
        let next = setup.hunt(cx, &mut draft);
        let mut this = Self { key, draft, state: State::Setup(setup), seat, scheduled: None };
        this.go(cx, next);
        this
    }

    /// Refuses a call and writes its record.
    pub fn refuse(cx: &mut Context, server: ServerKey, flow: Flow, offer: &Offer, denial: Denial) {
        cx.reject_with(server, denial.status_code, b"", |printer| {
            // RFC 3326: which limit, for whoever reads a trace.
            if denial.cause == EndCause::OverLimit {
                let (cause, text) = (denial.status_code, &denial.detail);
                let reason = format_args!("SIP;cause={cause};text=\"{text}\"");
                printer.header_fmt(HeaderName::Reason, reason);
            }
        });
        Self::note_refused(cx, flow, offer, denial);
    }

    /// Writes the record of a call that is refused.
    pub fn note_refused(cx: &mut Context, flow: Flow, offer: &Offer, denial: Denial) {
        let mut draft = Draft::new(cx, flow, offer);
        draft.note(|record| {
            record.customer = denial.customer.map(|customer| (customer.id, customer.name.clone()));
            record.route_id = denial.route.map(|route| route.id);
            record.region = denial.plan.as_ref().and_then(|plan| plan.region.clone());
            record.plan = denial.plan;
        });
        let (source, status_code) = (flow.remote, denial.status_code);
        cx.emit_event(Event::Refused { source, status_code, detail: denial.detail.clone() });
        draft.end(cx, Some(status_code), denial.cause, EndedBy::Holdfast, &denial.detail);
    }

    /// An attempt that was left behind was answered after all; on record where the call is not over yet.
    pub fn note_late_answer(&mut self, attempt: u8) {
        let index = usize::from(attempt).wrapping_sub(1);
        let before = self.draft.record().map_or(0, |record| record.attempts.len());
        match &mut self.state {
            State::Talk(talk) if index >= before => {
                if let Some(succession) = &mut talk.succession {
                    succession.draft().note_late_answer(index - before);
                }
            }
            _ => self.draft.note_late_answer(index),
        }
    }

    /// Makes room for another call of its customer, once this one is over for its peers.
    pub fn settle(&mut self, cx: &mut Context) {
        if matches!(self.state, State::Ending { .. } | State::Over)
            && let Some(seat) = self.seat.take()
        {
            cx.capacity.unseat(seat);
        }
    }

    /// Nothing is left to do: the shard drops the call.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    pub fn is_answered(&self) -> bool {
        matches!(self.state, State::Talk(_))
    }

    /// A response to the INVITE to a carrier.
    pub fn on_invite_response(&mut self, cx: &mut Context, client: ClientKey, response: &Message) {
        match &mut self.state {
            State::Setup(setup) => {
                let next = setup.on_response(cx, &mut self.draft, client, response);
                self.go(cx, next);
            }
            State::Talk(_) | State::Ending { .. } => {
                if !self.on_hunt_response(cx, client, response) {
                    self.on_reinvite_response(cx, Side::Outbound, client, response);
                }
            }
            State::Over => {}
        }
    }

    /// A request of ours came back with 401 or 407. `false` where it is not sent again.
    pub fn on_challenge(
        &mut self,
        cx: &mut Context,
        owner: Owner,
        client: ClientKey,
        challenged: &Challenged,
        response: &Message,
    ) -> bool {
        match (&mut self.state, owner) {
            (State::Setup(setup), _) => setup.on_challenge(cx, owner, client, challenged, response),
            (_, Owner::Prack(_)) => {
                let is_its = |leg: &&mut Leg| Some(&*leg.dialog.remote_tag) == response.to_tag();
                self.on_hunt_challenge(cx, owner, client, challenged, response)
                    || self.leg(Side::Outbound).filter(is_its).is_some_and(|leg| {
                        leg.on_challenge(cx, owner, client, challenged, response)
                    })
            }
            (_, Owner::Invite(_)) => {
                self.on_hunt_challenge(cx, owner, client, challenged, response)
            }
            (
                _,
                Owner::Reinvite(_, side)
                | Owner::Refresh(_, side)
                | Owner::Relay { side, .. }
                | Owner::Bye(_, side),
            ) => self
                .leg_inviting(side, client)
                .is_some_and(|leg| leg.on_challenge(cx, owner, client, challenged, response)),
            (State::Talk(_) | State::Ending { .. } | State::Over, _) => false,
        }
    }

    /// A response to a re-INVITE of ours.
    pub fn on_reinvite_response(
        &mut self,
        cx: &mut Context,
        side: Side,
        client: ClientKey,
        response: &Message,
    ) {
        if let Some(newcomer) = self.newcomer_inviting_by(client) {
            if let Some(event) = newcomer.on_invite_response(cx, client, response) {
                self.on_newcomers_event(cx, event);
            }
            return;
        }
        if let Some(leg) = self.leg(side)
            && let Some(event) = leg.on_invite_response(cx, client, response)
        {
            self.on_event(cx, side, event);
        }
    }

    /// An INVITE of ours was not answered, or not delivered.
    pub fn on_invite_failed(
        &mut self,
        cx: &mut Context,
        side: Side,
        client: ClientKey,
        failure: Failure<'_>,
    ) {
        if let State::Setup(setup) = &mut self.state {
            let next = setup.on_client_failed(cx, &mut self.draft, client, failure);
            return self.go(cx, next);
        }
        if self.on_hunt_failed(cx, client, failure) {
            return;
        }
        if let Some(newcomer) = self.newcomer_inviting_by(client) {
            if let Some(event) = newcomer.on_invite_timeout(client) {
                self.on_newcomers_event(cx, event);
            }
            return;
        }
        if let Some(leg) = self.leg(side)
            && let Some(event) = leg.on_invite_timeout(client)
        {
            self.on_event(cx, side, event);
        }
    }

    /// A response, or none in time, to a request relayed to `side`.
    pub fn on_relay_response(
        &mut self,
        cx: &mut Context,
        side: Side,
        server: ServerKey,
        response: Option<&Message>,
    ) {
        if let State::Setup(setup) = &mut self.state {
            return setup.on_relay_response(cx, side, server, response);
        }
        let is_waited_for = match &mut self.state {
            State::Talk(talk) | State::Ending { legs: talk, .. } => {
                talk.leg(side.other()).has_asked(server)
            }
            State::Setup(_) | State::Over => false,
        };
        if !is_waited_for && response.is_none_or(|response| response.status_code() >= 200) {
            // Whoever asked has its answer, or is gone: this must not end the call.
            if let Some(leg) = self.leg(side) {
                leg.on_relay_response(cx, server, response);
            }
            return;
        }
        if let Some(leg) = self.leg(side)
            && let Some(event) = leg.on_relay_response(cx, server, response)
        {
            self.on_event(cx, side, event);
        }
    }

    /// A response, or none in time, to our own refresh of `side`'s dialog.
    pub fn on_refresh_response(
        &mut self,
        cx: &mut Context,
        side: Side,
        client: ClientKey,
        answer: Result<&Message, Failure<'_>>,
    ) {
        if let Some(leg) = self.leg(side)
            && let Some(event) = leg.on_refresh_response(cx, client, answer)
        {
            self.on_event(cx, side, event);
        }
    }

    /// A request within one of the call's dialogs.
    pub fn on_request(
        &mut self,
        cx: &mut Context,
        side: Side,
        server: ServerKey,
        request: &Message,
    ) {
        match &mut self.state {
            State::Setup(setup) if !setup.has_dialog(side, request) => {
                cx.reject(server, 481, b"");
            }
            State::Setup(setup) if request.method() == Method::Bye && side == Side::Inbound => {
                // RFC 3261 §15: a caller may end an early dialog so.
                cx.respond(server, 200, b"", None, |_, _| {}, b"");
                let reason = header_policy::reason_of_cancel(request);
                let next = setup.on_caller_gone(cx, &mut self.draft, "BYE", reason);
                self.go(cx, next);
            }
            State::Setup(setup) => {
                let next = setup.on_request(cx, &mut self.draft, side, server, request);
                self.go(cx, next);
            }
            State::Talk(_) => {
                if !self.on_newcomers_request(cx, server, request)
                    && let Some(leg) = self.leg(side)
                    && let Some(event) = leg.on_request(cx, server, request)
                {
                    self.on_event(cx, side, event);
                }
            }
            State::Ending { legs, lost, .. } if request.method() == Method::Bye => {
                cx.respond(server, 200, b"", None, |_, _| {}, b"");
                legs.legs(side).0.forgo_bye();
                if lost.take_if(|lost| *lost == side).is_some() {
                    // It had hung up before it could be told.
                    let by = legs.party(side);
                    self.draft.note(|record| {
                        (record.end_cause, record.ended_by) = (EndCause::Completed, by);
                        record.detail.clear();
                    });
                    self.leave_if_done(cx);
                }
            }
            State::Ending { .. } | State::Over => cx.reject(server, 481, b""),
        }
    }

    pub fn on_ack(&mut self, cx: &mut Context, side: Side, request: &Message) {
        if let Some(leg) = self.leg(side)
            && let Some(event) = leg.on_ack(request)
        {
            self.on_event(cx, side, event);
        }
    }

    /// The caller, or a peer that sent a re-INVITE, cancels it.
    pub fn on_cancel(&mut self, cx: &mut Context, server: ServerKey, cancel: &Message) {
        if let State::Setup(setup) = &mut self.state {
            if setup.server() == server {
                let reason = header_policy::reason_of_cancel(cancel);
                let next = setup.on_caller_gone(cx, &mut self.draft, "CANCEL", reason);
                self.go(cx, next);
            }
            return;
        }
        if self.on_newcomers_cancel(cx, server) {
            return;
        }
        for side in [Side::Inbound, Side::Outbound] {
            if let Some(leg) = self.leg(side)
                && let Some(event) = leg.on_cancel(server)
            {
                self.on_event(cx, side, event);
            }
        }
    }

    pub fn on_timer(&mut self, cx: &mut Context) {
        self.scheduled = None;
        match &mut self.state {
            State::Setup(setup) => {
                let next = setup.on_timeout(cx, &mut self.draft);
                self.go(cx, next);
            }
            State::Talk(talk) => {
                if talk.ends_at.is_some_and(|at| at <= cx.now) {
                    return self.end_both(cx, EndCause::Terminated, "max_call_duration_s");
                }
                talk.tell_moves(cx);
                self.on_succession_timer(cx);
                for side in [Side::Inbound, Side::Outbound] {
                    if let Some(leg) = self.leg(side)
                        && let Some(event) = leg.on_timeout(cx)
                    {
                        self.on_event(cx, side, event);
                    }
                }
            }
            State::Ending { record_by, lost, .. } => {
                if record_by.take_if(|at| *at <= cx.now).is_some() {
                    *lost = None;
                    self.draft.give_out(cx);
                }
                for side in [Side::Inbound, Side::Outbound] {
                    if let Some(leg) = self.leg(side)
                        && let Some(event) = leg.on_timeout(cx)
                    {
                        self.on_event(cx, side, event);
                    }
                }
                self.leave_if_done(cx);
            }
            State::Over => {}
        }
    }

    /// Has the shard's timers look at this call when it next wants time, and its legs kept where they have
    /// changed.
    pub fn schedule(&mut self, cx: &mut Context) {
        if let State::Talk(talk) = &self.state
            && talk.has_news()
        {
            self.keep(cx);
        }
        let wanted = match &self.state {
            State::Setup(setup) => setup.poll_timeout(),
            State::Talk(talk) => talk.poll_timeout(),
            // An answer may still wait for its ACK, and our BYE for that.
            State::Ending { legs, record_by, .. } => {
                let legs = [legs.inbound.poll_timeout(), legs.outbound.poll_timeout()];
                legs.into_iter().flatten().chain(*record_by).min()
            }
            State::Over => None,
        };
        // A deadline stays among the timers though its call is over: far ones are looked at on the way.
        let wanted = wanted.map(|at| at.min(cx.now + LOOK_AGAIN));
        cx.timers.schedule(TimerKey::Call(self.key), wanted, &mut self.scheduled);
    }

    /// Where the legs meet: what happened on `side` of an answered call goes to the other.
    fn on_event(&mut self, cx: &mut Context, side: Side, event: LegEvent<'_>) {
        let Some(event) = self.on_event_meanwhile(cx, side, event) else { return };
        let State::Talk(talk) = &mut self.state else {
            return self.on_late_event(cx, side, event);
        };
        let (leg, other) = talk.legs(side);
        match event {
            LegEvent::Offered(carried) => {
                if !other.modify(cx, Some(carried)) {
                    leg.refuse(cx, 491, None);
                }
            }
            LegEvent::Progressed { status_code, carried } => {
                other.progress(cx, status_code, carried)
            }
            LegEvent::Answered(carried) => match other.is_invited() {
                true => other.answer(cx, 200, carried),
                // We asked for an offer, and whom it was for is gone.
                false => leg.acknowledge_as_it_was(cx),
            },
            LegEvent::Acknowledged(carried) => other.acknowledge(cx, Some(carried)),
            LegEvent::Failed { status_code, carried } => {
                other.refuse(cx, asked_by_us(status_code), carried);
                if is_dialog_gone(status_code) {
                    self.end_both(cx, EndCause::Terminated, "a leg did not know its dialog");
                }
            }
            LegEvent::Withdrawn => other.withdraw(cx),
            LegEvent::Asked { server, carried } => match other.relay(cx, server, carried) {
                Ok(()) => leg.note_relayed(carried, other),
                Err(refusal) => leg.turn_down(cx, server, refusal),
            },
            LegEvent::Referred { server, carried } => self.refer(cx, side, server, carried.0),
            LegEvent::Replied { server, status_code, carried } => {
                other.reply(cx, server, asked_by_us(status_code), carried);
                if is_dialog_gone(status_code) {
                    self.end_both(cx, EndCause::Terminated, "a leg did not know its dialog");
                }
            }
            LegEvent::Ended(carried) => self.end_by_peer(cx, side, carried),
            LegEvent::Unacknowledged => self.end_both(cx, EndCause::NoAck, "no ACK in 32 s"),
            LegEvent::Expired => self.end_both(cx, EndCause::Terminated, "session expired"),
            LegEvent::RefreshFailed { is_dialog_gone: true, .. } => {
                let detail = match talk.moves[side as usize] {
                    Move::Known => "a leg did not know its dialog",
                    Move::Due(_) | Move::Told => "lost in takeover: a leg did not know its dialog",
                };
                let is_moving = talk.moves[side as usize] != Move::Known;
                self.end_both(cx, EndCause::Terminated, detail);
                if let State::Ending { lost, record_by, .. } = &mut self.state {
                    *lost = record_by.filter(|_| is_moving).map(|_| side);
                }
            }
            LegEvent::RefreshFailed { is_dialog_gone: false, .. } => talk.tell_later(cx, side),
            LegEvent::Refreshed => {
                if talk.note_told(side) {
                    self.keep(cx);
                }
            }
        }
    }

    fn go(&mut self, cx: &mut Context, next: Next) {
        match next {
            Next::Wait => {}
            Next::Answered(legs, channel) => {
                let (inbound, outbound) = *legs;
                let ends_at = cx.settings.max_call_duration.map(|limit| cx.now + limit);
                let talk = Talk::new(inbound, outbound, ends_at, [None, channel]);
                self.state = State::Talk(Box::new(talk));
                self.keep(cx);
            }
            Next::Over => self.state = State::Over,
            // Only a transfer's target is reached without a caller that waits.
            Next::Reached(..) => {}
        }
    }

    /// The leg whose request went out in this transaction to `side`: a newcomer's, or the one that is there.
    fn leg_inviting(&mut self, side: Side, client: ClientKey) -> Option<&mut Leg> {
        match self.newcomer_inviting_by(client).is_some() {
            true => self.newcomer_inviting_by(client),
            false => self.leg(side),
        }
    }

    fn leg(&mut self, side: Side) -> Option<&mut Leg> {
        match &mut self.state {
            State::Talk(talk) | State::Ending { legs: talk, .. } => Some(talk.legs(side).0),
            State::Setup(_) | State::Over => None,
        }
    }
}

/// RFC 3261 §12.2.1.2: these end the dialog they come from.
fn is_dialog_gone(status_code: u16) -> bool {
    matches!(status_code, 408 | 481)
}

/// A challenge is for us, not for the other side (RFC 3261 §22), and so is what is said of our extensions.
pub(super) fn asked_by_us(status_code: u16) -> u16 {
    match status_code {
        401 | 407 | 420 | 421 | 422 | 494 => 500,
        other => other,
    }
}
