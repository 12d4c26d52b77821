//! The INVITEs within a leg's dialog (RFC 3261 §13, §14), and the one that made it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Leg;
use crate::call::context::{Context, Owner};
use crate::call::credentials::{self, SentAgain};
use crate::call::offer_answer::{FirstOffer, refuse_for_now};
use crate::call::peer_refresh::Heard;
use crate::call::reliable::{Wish, rseq_of};
use crate::call::{Carried, LegEvent, header_policy, stray};
use crate::sip::{HeaderName, Message, Method, Printer, sdp};
use crate::transaction::timer::{T1, T2, TRANSACTION_LIMIT};
use crate::transaction::{ClientKey, ClientMachine, ServerKey};

/// How long the peer may think about a re-INVITE (Timer C, RFC 3261 §16.6).
pub(in crate::call) const REINVITE_LIMIT: Duration = Duration::from_secs(180);

#[derive(Debug)]
pub(super) struct ReceivedInvite {
    pub(super) server: ServerKey,
    pub(super) seq: u32,
    /// It made the dialog.
    pub(super) is_first: bool,
    pub(super) has_offer: bool,
    /// It requires 100rel.
    pub(super) wants_reliable: bool,
    /// We answer it by ourselves: the other side knows nothing of it.
    pub(super) is_ours: bool,
    /// Its answer is repeated until it is acknowledged (RFC 3261 §13.3.1.4).
    pub(super) answer: Option<Answer>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Bytes,
    pub(super) interval: Duration,
    pub(super) repeat_at: Instant,
    pub(super) give_up_at: Instant,
}

#[derive(Debug)]
pub(super) struct SentInvite {
    pub(super) client: ClientKey,
    pub(super) seq: u32,
    pub(super) has_offer: bool,
    /// Its octets: for its CANCEL, for the credentials of its ACK, and the first one's for late answers.
    pub(super) invite: Bytes,
    /// It made the dialog.
    pub(super) is_first: bool,
    pub(super) state: SentState,
}

#[derive(Debug)]
pub(super) enum SentState {
    Pending {
        is_withdrawn: bool,
        is_cancelled: bool,
    },
    /// A late offer's ACK has to wait for the other side's.
    Unacknowledged,
}

impl Leg {
    /// Takes over the peer's INVITE that made the dialog, to be answered.
    pub(in crate::call) fn hold_invite(&mut self, server: ServerKey, invite: &Message) {
        self.note_peer(invite);
        self.received =
            Some(ReceivedInvite { is_first: true, ..ReceivedInvite::new(server, invite) });
    }

    /// Takes over our INVITE that made the dialog and has its 2xx; acknowledges it unless the offer
    /// was in the 2xx.
    pub(in crate::call) fn hold_answered(
        &mut self,
        cx: &mut Context,
        client: ClientKey,
        (seq, invite): (u32, Bytes),
        offer: Option<&[u8]>,
        response: &Message,
    ) {
        self.note_peer(response);
        self.session.on_answer(response, cx.settings.session, cx.now);
        self.first_offer = None;
        if self.description.is_none() {
            self.describe(offer);
        }
        let has_offer = offer.is_some();
        self.note_heard(response, !has_offer);
        let state = SentState::Unacknowledged;
        self.sent = Some(SentInvite { client, seq, has_offer, invite, is_first: true, state });
        if has_offer {
            self.acknowledge(cx, None);
        }
    }

    /// An ACK of the peer. Only the one for the 2xx that is being repeated is news.
    pub fn on_ack<'a>(&mut self, request: &'a Message) -> Option<LegEvent<'a>> {
        let received = self.received.as_ref()?;
        if !self.dialog.matches(request)
            || received.answer.is_none()
            || received.seq != request.cseq().0
        {
            return None;
        }
        let is_ours = received.is_ours;
        self.received = None;
        self.note_heard(request, false);
        (!is_ours).then_some(LegEvent::Acknowledged(Carried::of(request)))
    }

    /// A response to our (re-)INVITE.
    pub fn on_invite_response<'a>(
        &mut self,
        cx: &mut Context,
        client: ClientKey,
        response: &'a Message,
    ) -> Option<LegEvent<'a>> {
        let status_code = response.status_code();
        let sent = self.sent.as_mut().filter(|sent| sent.client == client)?;
        let carried = Carried::of(response);
        match (&mut sent.state, status_code) {
            (SentState::Pending { .. }, 100) => {
                self.on_provisional(cx);
                None
            }
            (SentState::Pending { .. }, 101..200) => {
                self.on_provisional(cx);
                if let Some(rseq) = rseq_of(response) {
                    // We said nothing of 100rel; it must not wait in vain.
                    self.prack(cx, response, rseq);
                }
                Some(LegEvent::Progressed { status_code, carried })
            }
            (SentState::Pending { .. }, 200..300) => {
                sent.state = SentState::Unacknowledged;
                let invite = sent.invite.clone();
                let has_offer = sent.has_offer;
                self.dialog.refresh_target(response);
                self.note_peer(response);
                self.session.on_answer(response, cx.settings.session, cx.now);
                if let Ok(invite) = Message::parse(invite) {
                    self.note_description(&invite);
                }
                self.note_heard(response, !has_offer);
                if has_offer {
                    self.acknowledge(cx, None);
                }
                Some(LegEvent::Answered(carried))
            }
            (SentState::Pending { .. }, _) => {
                self.sent = None;
                self.session.note_min_se(response);
                Some(LegEvent::Failed { status_code, carried: Some(carried) })
            }
            (SentState::Unacknowledged, 200..300) => {
                self.on_other_answer(cx, response);
                None
            }
            // Provisional after final: late, and without meaning.
            (SentState::Unacknowledged, _) => None,
        }
    }

    /// Nobody answered our re-INVITE.
    pub fn on_invite_timeout(&mut self, client: ClientKey) -> Option<LegEvent<'static>> {
        let sent = self.sent.as_ref().filter(|sent| sent.client == client)?;
        let SentState::Pending { is_withdrawn, .. } = sent.state else { return None };
        let status_code = if is_withdrawn { 487 } else { 408 };
        self.sent = None;
        Some(LegEvent::Failed { status_code, carried: None })
    }

    /// The peer's INVITE is cancelled.
    pub fn on_cancel(&mut self, server: ServerKey) -> Option<LegEvent<'static>> {
        let received = self.received.as_ref()?;
        (received.server == server && received.answer.is_none()).then_some(LegEvent::Withdrawn)
    }

    /// Sends the other side's re-INVITE on, or asks for an offer where there is none. `false` where ours is still under
    /// way (glare).
    pub fn modify(&mut self, cx: &mut Context, carried: Option<Carried<'_>>) -> bool {
        if self.is_inviting() || self.received.is_some() || self.is_negotiating() {
            return false;
        }
        let flow = self.flow_out(cx);
        let has_offer = carried.is_some_and(|carried| sdp::is_session_description(carried.0));
        let owner = Owner::Reinvite(self.call, self.side);
        let (of, contact) = (self.carrier_id(), self.contact(cx));
        let (dialog, session) = (&mut self.dialog, &self.session);
        let sent = cx.start_towards(of, Method::Invite, flow, owner, |branch, settings| {
            let listener = settings.listener(flow.listener);
            let mut printer = dialog.request(b"INVITE", listener, branch);
            contact.write_all(listener, &mut printer);
            session.write_request(settings.session, &mut printer);
            printer.header(HeaderName::UserAgent, settings.user_agent.as_bytes());
            if let Some(carried) = carried {
                header_policy::write(carried, &self.header_rule, &mut printer);
            }
            printer.finish(carried.map(header_policy::body).unwrap_or_default())
        });
        let SentAgain { client, request: invite } = sent;
        let state = SentState::Pending { is_withdrawn: false, is_cancelled: false };
        let seq = self.dialog.local_seq;
        self.sent = Some(SentInvite { client, seq, has_offer, invite, is_first: false, state });
        true
    }

    /// The other side takes its re-INVITE back: CANCEL, as soon as a provisional response has come.
    pub fn withdraw(&mut self, cx: &mut Context) {
        let Some(sent) = &mut self.sent else { return };
        let SentState::Pending { is_withdrawn, .. } = &mut sent.state else { return };
        *is_withdrawn = true;
        let mut is_cancellable = false;
        cx.with_client(sent.client, |client, _, _| {
            if let ClientMachine::Invite(machine) = &client.machine {
                is_cancellable = machine.is_cancellable();
            }
        });
        if is_cancellable {
            self.cancel(cx);
        }
    }

    /// Relays a provisional response to the peer's re-INVITE, unless it wants to acknowledge each.
    pub fn progress(&mut self, cx: &mut Context, status_code: u16, carried: Carried<'_>) {
        let Some(received) = self.received.as_ref().filter(|received| !received.wants_reliable)
        else {
            return;
        };
        let listener = cx.settings.listener(self.flow.listener).clone();
        let contact = self.contact(cx);
        let write = |printer: &mut Printer, invite: &Message| {
            contact.write_answer(&listener, invite, printer);
            header_policy::write(carried, &self.header_rule, printer);
        };
        let body = header_policy::body(carried);
        cx.respond(received.server, status_code, b"", Some(self.dialog.local_tag), write, body);
    }

    /// Answers the peer's INVITE, and repeats the answer until it is acknowledged.
    pub fn answer(&mut self, cx: &mut Context, status_code: u16, carried: Carried<'_>) {
        if self.received.is_none() {
            return;
        }
        self.answer_with(cx, status_code, Some(carried));
        self.note_description(carried.0);
    }

    /// With what the other side answered; else with the session as it is.
    fn answer_with(&mut self, cx: &mut Context, status_code: u16, carried: Option<Carried<'_>>) {
        let contact = self.contact(cx);
        let Some(received) = &mut self.received else { return };
        // RFC 3261 §13.2.1: the answer may have come in a reliable 1xx alone, which this peer did not hear so.
        let is_owed = self.first_offer.take() == Some(FirstOffer::Theirs);
        let own = match carried {
            Some(carried) if !is_owed || sdp::is_session_description(carried.0) => None,
            Some(_) | None => self.description.as_deref(),
        };
        let is_early = received.is_first && self.heard.is_some();
        let listener = cx.settings.listener(self.flow.listener).clone();
        let (policy, now) = (cx.settings.session, cx.now);
        let session = &self.session;
        let (mut agreed, mut heard) = (None, None);
        let write = |printer: &mut Printer, invite: &Message| {
            contact.write_answer(&listener, invite, printer);
            agreed = session.write_answer(invite, policy, now, printer);
            heard = Heard::of(invite, true);
            if let Some(carried) = carried {
                header_policy::write(carried, &self.header_rule, printer);
            }
            if own.is_some() {
                printer.header(HeaderName::ContentType, b"application/sdp");
            }
        };
        let tag = Some(self.dialog.local_tag);
        let body = own.or(carried.map(header_policy::body)).unwrap_or_default();
        // Once the caller hears of the answer, another node must be able to go on with the call.
        cx.sends_kept = (received.is_first && cx.settings.replicates).then_some(self.call);
        let response = cx.respond(received.server, status_code, b"", tag, write, body);
        cx.sends_kept = None;
        let Some(response) = response else {
            self.received = None;
            return;
        };
        self.session.begin(agreed);
        // What was negotiated while the dialog was early is newer than the INVITE.
        self.heard = heard.filter(|_| !is_early).or(self.heard);
        received.answer = Some(Answer {
            response,
            interval: T1,
            repeat_at: cx.now + T1,
            give_up_at: cx.now + TRANSACTION_LIMIT,
        });
    }

    /// Refuses the peer's re-INVITE with the other side's code, and its words.
    pub fn refuse(&mut self, cx: &mut Context, status_code: u16, carried: Option<Carried<'_>>) {
        let Some(received) = self.received.take() else { return };
        let reason = carried.map(|carried| carried.0.reason()).unwrap_or_default();
        let write = |printer: &mut Printer, _: &Message| {
            if let Some(carried) = carried {
                header_policy::write(carried, &self.header_rule, printer);
            }
        };
        let body = carried.map(header_policy::body).unwrap_or_default();
        cx.respond(received.server, status_code, reason, Some(self.dialog.local_tag), write, body);
    }

    /// Acknowledges the 2xx to our INVITE; with the other side's ACK where that carries the answer.
    pub fn acknowledge(&mut self, cx: &mut Context, carried: Option<Carried<'_>>) {
        self.acknowledge_with(cx, carried, None);
    }

    /// Acknowledges the 2xx to our INVITE, where nobody has an answer to the offer in it: with what we said last, so
    /// that the session stays as it was.
    pub fn acknowledge_as_it_was(&mut self, cx: &mut Context) {
        let own = self.description.clone();
        self.acknowledge_with(cx, None, own.as_deref());
    }

    fn acknowledge_with(
        &mut self,
        cx: &mut Context,
        carried: Option<Carried<'_>>,
        own: Option<&[u8]>,
    ) {
        let flow = self.flow_out(cx);
        let is_waiting = |sent: &mut SentInvite| matches!(sent.state, SentState::Unacknowledged);
        let Some(sent) = self.sent.take_if(is_waiting) else { return };
        let branch = cx.new_branch();
        let listener = cx.settings.listener(flow.listener);
        let mut printer = self.dialog.ack(sent.seq, listener, branch);
        credentials::write_into_ack(cx, &sent.invite, &mut printer);
        let own = own.filter(|_| !sent.has_offer);
        let body = match carried.filter(|_| !sent.has_offer) {
            None if own.is_some() => {
                printer.header(HeaderName::ContentType, b"application/sdp");
                own.unwrap_or_default()
            }
            Some(carried) => {
                self.describe(sdp::description_of(carried.0));
                header_policy::write(carried, &self.header_rule, &mut printer);
                header_policy::body(carried)
            }
            None => b"",
        };
        let ack = printer.finish(body);
        cx.send(flow, ack.clone());
        // Its 2xx may still be repeated, and other branches may answer, whatever becomes of the call.
        let mut acks = std::mem::take(&mut self.forks);
        acks.note(&self.dialog.remote_tag, (flow, ack));
        let invite = if sent.is_first { sent.invite } else { Bytes::new() };
        let (of, tag) = (self.carrier_id(), self.dialog.local_tag);
        stray::keep(cx, of, sent.client, self.flow, tag, invite, acks);
    }

    /// Repeats the answer that is not acknowledged, or gives up (RFC 3261 §13.3.1.4).
    pub(super) fn repeat_answer(&mut self, cx: &mut Context) -> Option<LegEvent<'static>> {
        let received = self.received.as_mut()?;
        let answer = received.answer.as_mut()?;
        if answer.give_up_at <= cx.now {
            self.received = None;
            return Some(LegEvent::Unacknowledged);
        }
        if answer.repeat_at <= cx.now {
            answer.interval = T2.min(2 * answer.interval);
            answer.repeat_at = cx.now + answer.interval;
            let response = answer.response.clone();
            cx.with_server(received.server, |server, now, actions| {
                server.machine.respond(200, response, now, actions);
            });
        }
        None
    }

    /// A re-INVITE of the peer (RFC 3261 §14.2).
    pub(super) fn on_reinvite<'a>(
        &mut self,
        cx: &mut Context,
        server: ServerKey,
        request: &'a Message,
    ) -> Option<LegEvent<'a>> {
        match &self.received {
            Some(received) if received.answer.is_none() => {
                refuse_for_now(cx, server, b"Overlapping INVITE");
                return None;
            }
            // Its ACK for our last answer is lost, or overtaken.
            Some(_) => {
                cx.respond(server, 491, b"", None, |_, _| {}, b"");
                return None;
            }
            None => {}
        }
        if self.is_inviting() || self.waits_for_answer() {
            cx.respond(server, 491, b"", None, |_, _| {}, b"");
            return None;
        }
        if self.updating.is_some() {
            refuse_for_now(cx, server, b"Overlapping UPDATE");
            return None;
        }
        if self.refuses_interval(cx, server, request) {
            return None;
        }
        let is_ours = self.is_unchanged(request);
        if !is_ours {
            cx.respond(server, 100, b"", None, |_, _| {}, b"");
        }
        self.dialog.refresh_target(request);
        self.dialog.note_source(request, self.flow.remote.ip());
        self.note_peer(request);
        self.received = Some(ReceivedInvite { is_ours, ..ReceivedInvite::new(server, request) });
        if is_ours {
            self.answer_with(cx, 200, None);
            return None;
        }
        Some(LegEvent::Offered(Carried::of(request)))
    }

    fn on_provisional(&mut self, cx: &mut Context) {
        let Some(sent) = &self.sent else { return };
        let limit = cx.now + REINVITE_LIMIT;
        let SentState::Pending { is_withdrawn, is_cancelled } = sent.state else { return };
        if is_cancelled {
            return;
        }
        cx.with_client(sent.client, |client, _, _| client.machine.limit(limit));
        if is_withdrawn {
            self.cancel(cx);
        }
    }

    fn cancel(&mut self, cx: &mut Context) {
        let flow = self.flow_out(cx);
        let Some(sent) = &mut self.sent else { return };
        let SentState::Pending { is_cancelled, .. } = &mut sent.state else { return };
        if !std::mem::replace(is_cancelled, true) {
            stray::send_cancel(cx, sent.client, flow, &sent.invite, "");
        }
    }

    /// A repeated 2xx still waits for its ACK; one of another dialog (a fork) is hung up.
    fn on_other_answer(&mut self, cx: &mut Context, response: &Message) {
        let Some(sent) = &self.sent else { return };
        let tag = response.to_tag().unwrap_or_default();
        if *tag == *self.dialog.remote_tag || self.forks.repeat(cx, tag) {
            return;
        }
        let fork = self.dialog.sibling(sent.seq, response);
        let sent = stray::end_dialog(cx, self.carrier_id(), self.flow, fork, &sent.invite);
        cx.counters.late_answers += 1;
        self.forks.note(tag, sent);
    }

    /// Whether our INVITE went out in this transaction.
    pub(in crate::call) fn is_inviting_by(&self, client: ClientKey) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.client == client)
    }

    /// An INVITE of ours is not answered yet, or its ACK has to wait.
    pub(in crate::call) fn is_inviting(&self) -> bool {
        self.sent.is_some() || self.is_refreshing_by_invite()
    }

    /// An INVITE of the peer is not answered, or its answer not acknowledged.
    pub(in crate::call) fn is_invited(&self) -> bool {
        self.received.is_some()
    }

    /// Our INVITE has an offer that is not answered.
    pub(in crate::call) fn has_invited_with_offer(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.has_offer)
    }

    /// The peer's INVITE has an offer that is not answered.
    pub(in crate::call) fn is_invited_with_offer(&self) -> bool {
        self.received
            .as_ref()
            .is_some_and(|received| received.has_offer && received.answer.is_none())
    }
}

impl ReceivedInvite {
    fn new(server: ServerKey, invite: &Message) -> Self {
        Self {
            server,
            seq: invite.cseq().0,
            is_first: false,
            has_offer: sdp::is_session_description(invite),
            wants_reliable: Wish::of(invite) == Wish::Reliably,
            is_ours: false,
            answer: None,
        }
    }
}
