//! Early dialogs that stand on both sides, once a carrier sends a provisional response reliably: PRACK, UPDATE and
//! their like pass between them (RFC 3262, RFC 3311).

use super::attempt::is_ringing;
use super::context::Context;
use super::draft::Draft;
use super::leg::Leg;
use super::offer_answer::FirstOffer;
use super::reliable::{Origin, Patience, rack_of, rseq_of};
use super::setup::{Next, Setup, Wait};
use super::{Carried, LegEvent, Side};
use crate::dialog::{Dialog, OwnInvite, Tag};
use crate::sip::{Message, Method, sdp};
use crate::transaction::ServerKey;

/// Early dialogs of one attempt whose reliable responses are taken.
const MAX_EARLY: usize = 8;

/// An early dialog with a carrier, and the one that the caller knows it by.
#[derive(Debug)]
pub struct Early {
    pub outbound: Leg,
    pub inbound: Leg,
    /// Of the carrier's last response.
    rseq: u32,
}

impl Early {
    /// The leg on `side`, and the other one.
    fn legs(&mut self, side: Side) -> (&mut Leg, &mut Leg) {
        match side {
            Side::Inbound => (&mut self.inbound, &mut self.outbound),
            Side::Outbound => (&mut self.outbound, &mut self.inbound),
        }
    }

    /// Answers whoever waits for an answer, for there is no way to it any more.
    fn close(mut self, cx: &mut Context) {
        self.outbound.close(cx);
        self.inbound.close(cx);
    }
}

impl Setup {
    /// Takes in a provisional response; `false` where it is a repeated one, or ahead of another, and nothing may
    /// come of it (RFC 3262 §4).
    pub(super) fn takes(&mut self, cx: &mut Context, response: &Message) -> bool {
        let Some(rseq) = rseq_of(response) else { return true };
        let tag = response.to_tag().unwrap_or_default();
        let known = self.early.iter_mut().find(|early| *early.outbound.dialog.remote_tag == *tag);
        if let Some(early) = known {
            let is_next = early.rseq.checked_add(1) == Some(rseq);
            if is_next {
                early.rseq = rseq;
            }
            return is_next;
        }
        if self.early.len() == MAX_EARLY {
            return false;
        }
        let early = self.begin_early(cx, response, rseq);
        self.early.extend(early);
        true
    }

    /// Tells the caller that it rings, and the carrier that its response has come, unless the caller will.
    pub(super) fn relay_provisional(&mut self, cx: &mut Context, response: &Message) {
        let rseq = rseq_of(response);
        let is_told = self.transfers_after.is_none() && is_ringing(response.status_code());
        let will_acknowledge = is_told && {
            let remote_tag = response.to_tag().unwrap_or_default().into();
            let origin = Origin { attempt: self.hunt.attempts(), remote_tag, rseq };
            self.inbound.progress(cx, self.call, origin, response)
        };
        self.arm_provisional();
        let tag = response.to_tag().unwrap_or_default();
        let early = self.early.iter_mut().find(|early| *early.outbound.dialog.remote_tag == *tag);
        let (Some(early), Some(rseq)) = (early, rseq) else { return };
        let has_sdp = sdp::is_session_description(response);
        if has_sdp && self.offer.has_sdp {
            early.outbound.first_offer = None;
        }
        early.outbound.note_heard(response, !self.offer.has_sdp);
        early.inbound.note_description(response);
        if !will_acknowledge {
            early.outbound.prack(cx, response, rseq);
        }
    }

    /// A request within an early dialog.
    pub(super) fn on_request(
        &mut self,
        cx: &mut Context,
        draft: &mut Draft,
        side: Side,
        server: ServerKey,
        request: &Message,
    ) -> Next {
        match (request.method(), side) {
            (Method::Prack, Side::Inbound) => return self.on_prack(cx, draft, server, request),
            // We send no carrier anything provisional, and a callee says no BYE before its answer (RFC 3261 §15).
            (Method::Prack | Method::Bye, Side::Outbound) => cx.reject(server, 481, b""),
            (
                Method::Update | Method::Info | Method::Message | Method::Options | Method::Notify,
                side,
            ) => self.on_early_request(cx, side, server, request),
            _ => cx.reject(server, 500, b"Not Answered Yet"),
        }
        Next::Wait
    }

    /// A response, or none in time, to a request that was sent on to `side`.
    pub(super) fn on_relay_response(
        &mut self,
        cx: &mut Context,
        side: Side,
        server: ServerKey,
        response: Option<&Message>,
    ) {
        let has_asked = |early: &&mut Early| match side {
            Side::Inbound => early.outbound.has_asked(server),
            Side::Outbound => early.inbound.has_asked(server),
        };
        let Some(early) = self.early.iter_mut().find(has_asked) else { return };
        let (leg, other) = early.legs(side);
        if let Some(LegEvent::Replied { server, status_code, carried }) =
            leg.on_relay_response(cx, server, response)
        {
            // A 408 is never sent on (RFC 4320 §4.2); without it nothing would be.
            let status_code = if status_code == 408 { 504 } else { status_code };
            other.reply(cx, server, super::call::asked_by_us(status_code), carried);
        }
    }

    /// Repeats the provisional response that the caller has not acknowledged, or gives up on the caller.
    pub(super) fn on_provisional_due(&mut self, cx: &mut Context, draft: &mut Draft) -> Next {
        let server = self.inbound.server;
        match self.inbound.provisionals.on_timeout(cx, server) {
            Patience::Waits => {
                self.arm_provisional();
                Next::Wait
            }
            Patience::IsOver => self.give_up(cx, draft, "no PRACK in 32 s", 504, Some(0.0)),
        }
    }

    /// Takes the legs of the early dialog that was answered; the others are over.
    pub(super) fn take_early(&mut self, cx: &mut Context, remote_tag: &[u8]) -> Option<Early> {
        let is_it = |early: &Early| *early.outbound.dialog.remote_tag == *remote_tag;
        let found = self.early.iter().position(is_it).map(|at| self.early.swap_remove(at));
        self.close_early(cx);
        found
    }

    /// Ends what the early dialogs of an attempt were in the middle of.
    pub(super) fn close_early(&mut self, cx: &mut Context) {
        for early in std::mem::take(&mut self.early) {
            early.close(cx);
        }
    }

    fn arm_provisional(&mut self) {
        match self.inbound.provisionals.poll_timeout() {
            Some(at) => self.deadlines.arm(Wait::Acknowledgement, at),
            None => self.deadlines.stop(Wait::Acknowledgement),
        }
    }

    fn begin_early(&mut self, cx: &mut Context, response: &Message, rseq: u32) -> Option<Early> {
        let attempt = self.attempt.as_ref()?;
        let remote_tag = response.to_tag().unwrap_or_default();
        let tag = self.inbound.tag_for(cx, self.call, self.hunt.attempts(), remote_tag);
        let dialog = Dialog::uac(OwnInvite::of(&attempt.invite), attempt.local_tag, response);
        let mut outbound = Leg::new(self.call, Side::Outbound, dialog, attempt.flow);
        outbound.session = attempt.terms.session.clone();
        outbound.refer = self.refer;
        outbound.trunk = Some(attempt.trunk.clone());
        outbound.header_rule = attempt.candidate.carrier().number_rule.headers.clone();
        outbound.note_peer(response);
        outbound.note_description(&self.offer.invite);
        let mut inbound = self.inbound.leg(self.call, tag, &self.offer.invite);
        inbound.note_heard(&self.offer.invite, true);
        (outbound.first_offer, inbound.first_offer) = match self.offer.has_sdp {
            true => (Some(FirstOffer::Ours), Some(FirstOffer::Theirs)),
            false => (Some(FirstOffer::Theirs), Some(FirstOffer::Ours)),
        };
        Some(Early { outbound, inbound, rseq })
    }

    /// The caller acknowledges a provisional response (RFC 3262 §3).
    fn on_prack(
        &mut self,
        cx: &mut Context,
        draft: &mut Draft,
        server: ServerKey,
        request: &Message,
    ) -> Next {
        let tag = request.to_tag().and_then(Tag::parse);
        let (seq, rack) = (self.offer.invite.cseq().0, rack_of(request));
        let acknowledged = match (tag, rack) {
            (Some(tag), Some((rseq, of))) if of == seq => self.inbound.provisionals.take(tag, rseq),
            _ => None,
        };
        let Some(acknowledged) = acknowledged else {
            cx.reject(server, 481, b"");
            return Next::Wait;
        };
        let origin = &acknowledged.origin;
        let is_current = origin.attempt == self.hunt.attempts();
        let is_its = |early: &&mut Early| early.outbound.dialog.remote_tag == origin.remote_tag;
        let early = self.early.iter_mut().find(is_its).filter(|_| is_current);
        match (early, origin.rseq, &self.attempt) {
            (Some(early), Some(rseq), Some(attempt)) => {
                let _ = early.inbound.dialog.accept_seq(request.cseq().0);
                early.inbound.note_heard(request, early.inbound.first_offer.is_none());
                if acknowledged.has_description {
                    early.inbound.first_offer = None;
                }
                early.inbound.ask(server);
                let rack = (rseq, attempt.seq);
                early.outbound.relay_prack(cx, server, rack, Carried::of(request));
            }
            // Nobody is there to answer an offer.
            _ if sdp::is_session_description(request) => cx.reject(server, 488, b""),
            _ => {
                cx.respond(server, 200, b"", None, |_, _| {}, b"");
            }
        }
        self.inbound.tell_next(cx);
        self.arm_provisional();
        match self.held.take() {
            Some(response) => self.answer(cx, draft, &response),
            None => Next::Wait,
        }
    }

    fn on_early_request(
        &mut self,
        cx: &mut Context,
        side: Side,
        server: ServerKey,
        request: &Message,
    ) {
        let is_it = |early: &&mut Early| match side {
            Side::Inbound => {
                request.to_tag().and_then(Tag::parse) == Some(early.inbound.dialog.local_tag)
            }
            Side::Outbound => early.outbound.dialog.matches(request),
        };
        let Some(early) = self.early.iter_mut().find(is_it) else {
            return cx.reject(server, 500, b"Not Answered Yet");
        };
        let (leg, other) = early.legs(side);
        if let Some(LegEvent::Asked { server, carried }) = leg.on_request(cx, server, request)
            && let Err(refusal) = other.relay(cx, server, carried)
        {
            leg.turn_down(cx, server, refusal);
        }
    }
}
