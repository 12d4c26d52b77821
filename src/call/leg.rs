//! One leg of an answered call: its dialog, the INVITEs within it, and what else passes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use super::attempt::{Trunk, write_contact};
use super::context::{CallKey, Context, Owner, write_capabilities};
use super::credentials::{self, Challenged, SentAgain};
use super::inbound::write_dialog_headers;
use super::offer_answer::{FirstOffer, refuse_for_now};
use super::peer_refresh::Heard;
use super::refresh::{Refresh, SEQ_LEAP};
use super::reliable::{Wish, rack_of, rseq_of};
use super::session_timer::SessionTimer;
use super::transfer::{Referred, body_within_dialog, write_refer};
use super::{Carried, LegEvent, LegReplica, Side, header_policy, stray};
use crate::carrier::{CarrierId, HeaderRule, ReferPolicy};
use crate::dialog::Dialog;
use crate::sip::name_addr::split_list;
use crate::sip::octets::Octets;
use crate::sip::{HeaderName, Message, Method, Printer, sdp};
use crate::transaction::timer::{T1, T2, TRANSACTION_LIMIT};
use crate::transaction::{ClientKey, ClientMachine, Flow, ServerKey};

/// Requests other than INVITE that may be on their way through one leg at a time.
const MAX_RELAYS: u8 = 8;
/// How long the peer may think about a re-INVITE (Timer C, RFC 3261 §16.6).
pub(super) const REINVITE_LIMIT: Duration = Duration::from_secs(180);

/// How far our CSeq jumps where another node may have sent requests that were not told to us.
pub(super) const SEQ_JUMP: u32 = 100;

/// A confirmed dialog and what is going on in it.
#[derive(Debug)]
pub struct Leg {
    pub(super) call: CallKey,
    pub(super) side: Side,
    /// The carrier, on the outbound side.
    pub trunk: Option<Trunk>,
    pub dialog: Dialog,
    /// What of the other leg's messages this one may carry.
    pub header_rule: Arc<HeaderRule>,
    /// Where the peer's messages come from, and go to where its Contact is no address.
    pub flow: Flow,
    /// The peer takes UPDATE, as the last Allow that it sent says (RFC 3311 §4).
    pub allows_update: bool,
    /// The last session description that we sent and the peer did not refuse, byte for byte.
    pub description: Option<Box<[u8]>>,
    /// How often that has become another one.
    descriptions: u32,
    /// The last that the peer sent and we did not refuse.
    pub heard: Option<Heard>,
    pub session: SessionTimer,
    /// What becomes of the peer's REFERs.
    pub refer: ReferPolicy,
    /// Those that were sent on, the last ones last.
    pub(super) referred: SmallVec<[Referred; 1]>,
    /// What an UPDATE offers the peer for the other side, until it is answered.
    pub(super) offered: Option<(ServerKey, Box<[u8]>)>,
    /// The dialog is early, and this offer has no answer in it.
    pub(super) first_offer: Option<FirstOffer>,
    /// The peer's UPDATE that is not answered yet.
    pub(super) updating: Option<ServerKey>,
    /// RSeq of our provisional response that the 2xx has overtaken: its PRACK may still come.
    pub(super) unpracked: Option<u32>,
    /// Our own target refresh, of which the other side knows nothing.
    pub(super) refresh: Option<Box<Refresh>>,
    /// The peer's INVITE that is not answered, or whose 2xx is not acknowledged, yet.
    received: Option<ReceivedInvite>,
    /// Our INVITE that is not answered, or whose 2xx is not acknowledged, yet.
    sent: Option<SentInvite>,
    relays: u8,
    /// Requests of the peer that the other side is to answer.
    asked: SmallVec<[ServerKey; 2]>,
    /// Other branches of our forked INVITE that answered before we could acknowledge ours.
    forks: stray::Acks,
    /// We have hung up, but our BYE has to wait for the ACK of our first 2xx; with the other side's
    /// BYE, where that is why.
    farewell: Option<Option<Message>>,
    /// Our BYE was refused for its CSeq, and sent again.
    has_leapt: bool,
}

#[derive(Debug)]
struct ReceivedInvite {
    server: ServerKey,
    seq: u32,
    /// It made the dialog.
    is_first: bool,
    has_offer: bool,
    /// It requires 100rel.
    wants_reliable: bool,
    /// We answer it by ourselves: the other side knows nothing of it.
    is_ours: bool,
    /// Its answer is repeated until it is acknowledged (RFC 3261 §13.3.1.4).
    answer: Option<Answer>,
}

#[derive(Debug)]
struct Answer {
    response: Bytes,
    interval: Duration,
    repeat_at: Instant,
    give_up_at: Instant,
}

#[derive(Debug)]
struct SentInvite {
    client: ClientKey,
    seq: u32,
    has_offer: bool,
    /// Its octets: for its CANCEL, for the credentials of its ACK, and the first one's for late answers.
    invite: Bytes,
    /// It made the dialog.
    is_first: bool,
    state: SentState,
}

#[derive(Debug)]
enum SentState {
    Pending {
        is_withdrawn: bool,
        is_cancelled: bool,
    },
    /// A late offer's ACK has to wait for the other side's.
    Unacknowledged,
}

impl Leg {
    pub fn new(call: CallKey, side: Side, dialog: Dialog, flow: Flow) -> Self {
        Self {
            call,
            side,
            trunk: None,
            dialog,
            header_rule: Arc::default(),
            flow,
            allows_update: false,
            description: None,
            descriptions: 0,
            heard: None,
            session: SessionTimer::default(),
            refer: ReferPolicy::Refuse,
            referred: SmallVec::new(),
            offered: None,
            first_offer: None,
            updating: None,
            unpracked: None,
            refresh: None,
            received: None,
            sent: None,
            relays: 0,
            asked: SmallVec::new(),
            forks: stray::Acks::default(),
            farewell: None,
            has_leapt: false,
        }
    }

    /// A leg that another node, or an earlier run, has kept. Our CSeq jumps past whatever it may have used since.
    pub fn restore(
        cx: &Context,
        call: CallKey,
        side: Side,
        kept: LegReplica,
        flow: Flow,
        seq: u32,
    ) -> Self {
        let mut dialog = kept.dialog;
        dialog.jump_seq(seq.max(dialog.local_seq.saturating_add(SEQ_JUMP)));
        let (allows_update, description) = (kept.allows_update, kept.description);
        let description = description.map(|octets| octets.0);
        let session = SessionTimer::resume(kept.session, cx.now);
        let (heard, refer) = (kept.heard, kept.refer);
        let trunk = kept.trunk;
        let new = Self::new(call, side, dialog, flow);
        Self { trunk, allows_update, description, heard, session, refer, ..new }
    }

    /// What is kept of it.
    pub fn replica(&self, cx: &Context) -> LegReplica {
        LegReplica {
            dialog: self.dialog.clone(),
            transport: cx.settings.listener(self.flow.listener).transport,
            peer: self.flow.remote,
            gateway: self.flow.gateway,
            trunk: self.trunk.clone(),
            allows_update: self.allows_update,
            description: self.description.clone().map(Octets),
            heard: self.heard,
            session: self.session.kept(|at| cx.wall_at(at)),
            refer: self.refer,
        }
    }

    /// No request is under way, in either direction.
    pub fn is_quiet(&self) -> bool {
        self.received.is_none()
            && self.sent.is_none()
            && self.relays == 0
            && self.asked.is_empty()
            && self.refresh.is_none()
            && self.offered.is_none()
    }

    /// Gives up what is under way without a word to the peer, who hears from another node.
    pub fn fall_silent(&mut self, cx: &mut Context) {
        let received = self.received.take().map(|received| received.server);
        for server in received.into_iter().chain(self.asked.drain(..)) {
            cx.transactions.remove_server(server);
        }
        if let Some(sent) = self.sent.take() {
            let limit = cx.now + TRANSACTION_LIMIT;
            cx.with_client(sent.client, |client, _, _| client.machine.limit(limit));
        }
    }

    /// Takes over the peer's INVITE that made the dialog, to be answered.
    pub(super) fn hold_invite(&mut self, server: ServerKey, invite: &Message) {
        self.note_peer(invite);
        self.received =
            Some(ReceivedInvite { is_first: true, ..ReceivedInvite::new(server, invite) });
    }

    /// Takes over our INVITE that made the dialog and has its 2xx; acknowledges it unless the offer
    /// was in the 2xx.
    pub(super) fn hold_answered(
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

    /// A request of the peer within this dialog. Answers what this leg answers by itself.
    pub fn on_request<'a>(
        &mut self,
        cx: &mut Context,
        server: ServerKey,
        request: &'a Message,
    ) -> Option<LegEvent<'a>> {
        if !self.dialog.matches(request) {
            cx.reject(server, 481, b"");
            return None;
        }
        if self.dialog.accept_seq(request.cseq().0).is_err() {
            // RFC 3261 §12.2.2
            cx.reject(server, 500, b"CSeq Too Low");
            return None;
        }
        let carried = Carried::of(request);
        match request.method() {
            Method::Invite => self.on_reinvite(cx, server, request),
            Method::Bye => {
                cx.respond(server, 200, b"", None, |_, _| {}, b"");
                Some(LegEvent::Ended(carried))
            }
            Method::Info | Method::Message | Method::Options | Method::Update | Method::Notify => {
                if request.method() == Method::Update {
                    if self.refuses_update(cx, server, request)
                        || self.refuses_interval(cx, server, request)
                    {
                        return None;
                    }
                    self.dialog.refresh_target(request);
                    self.note_peer(request);
                    if request.body().is_empty() || self.is_unchanged(request) {
                        self.answer_update(cx, server, request);
                        return None;
                    }
                    self.updating = Some(server);
                }
                self.asked.push(server);
                Some(LegEvent::Asked { server, carried })
            }
            Method::Prack => {
                let rseq = rack_of(request).map(|(rseq, _)| rseq);
                match self.unpracked.take_if(|unpracked| Some(*unpracked) == rseq) {
                    Some(_) => {
                        cx.respond(server, 200, b"", None, |_, _| {}, b"");
                    }
                    None => cx.reject(server, 481, b""),
                }
                None
            }
            Method::Refer => {
                if self.refuses_refer(cx, server, request) {
                    return None;
                }
                self.asked.push(server);
                Some(LegEvent::Asked { server, carried })
            }
            Method::Subscribe
            | Method::Register
            | Method::Publish
            | Method::Ack
            | Method::Cancel => {
                cx.reject(server, 405, b"");
                None
            }
            Method::Other => {
                cx.reject(server, 501, b"");
                None
            }
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

    /// The carrier asks for credentials for a request within the dialog: it is sent again where there are some.
    pub fn on_challenge(
        &mut self,
        cx: &mut Context,
        owner: Owner,
        client: ClientKey,
        challenged: &Challenged,
        response: &Message,
    ) -> bool {
        let Some(carrier_id) = self.carrier_id() else { return false };
        let mut invite = self.sent.as_mut().filter(|sent| sent.client == client);
        let is_withdrawn =
            |sent: &SentInvite| matches!(sent.state, SentState::Pending { is_withdrawn: true, .. });
        if invite.as_deref().is_some_and(is_withdrawn) {
            return false;
        }
        let seq = self.dialog.local_seq + 1;
        let Some(again) = cx.send_again(carrier_id, challenged, owner, seq, response) else {
            return false;
        };
        self.dialog.local_seq = seq;
        match &mut invite {
            Some(invite) => {
                (invite.client, invite.seq, invite.invite) = (again.client, seq, again.request);
            }
            None => self.note_refresh_again(client, &again, seq),
        }
        true
    }

    /// Nobody answered our re-INVITE.
    pub fn on_invite_timeout(&mut self, client: ClientKey) -> Option<LegEvent<'static>> {
        let sent = self.sent.as_ref().filter(|sent| sent.client == client)?;
        let SentState::Pending { is_withdrawn, .. } = sent.state else { return None };
        let status_code = if is_withdrawn { 487 } else { 408 };
        self.sent = None;
        Some(LegEvent::Failed { status_code, carried: None })
    }

    /// A response to a request that we relayed to this leg's peer.
    pub fn on_relay_response<'a>(
        &mut self,
        cx: &Context,
        server: ServerKey,
        response: Option<&'a Message>,
    ) -> Option<LegEvent<'a>> {
        let status_code = response.map_or(408, Message::status_code);
        if status_code < 200 {
            return None;
        }
        self.relays = self.relays.saturating_sub(1);
        let offered = self.offered.take_if(|(by, _)| *by == server);
        if let Some(response) = response.filter(|_| status_code < 300) {
            if response.cseq().1 == Method::Update {
                self.dialog.refresh_target(response);
                self.note_peer(response);
                self.session.on_answer(response, cx.settings.session, cx.now);
            }
            self.describe(offered.as_ref().map(|(_, offer)| &**offer));
            self.note_heard(response, false);
        }
        Some(LegEvent::Replied { server, status_code, carried: response.map(Carried::of) })
    }

    /// The peer's INVITE is cancelled.
    pub fn on_cancel(&mut self, server: ServerKey) -> Option<LegEvent<'static>> {
        let received = self.received.as_ref()?;
        (received.server == server && received.answer.is_none()).then_some(LegEvent::Withdrawn)
    }

    /// Sends the other side's re-INVITE on. `false` where ours is still under way (glare).
    pub fn modify(&mut self, cx: &mut Context, carried: Carried<'_>) -> bool {
        if self.is_inviting() || self.received.is_some() || self.is_negotiating() {
            return false;
        }
        let flow = self.flow_out(cx);
        let has_offer = sdp::is_session_description(carried.0);
        let owner = Owner::Reinvite(self.call, self.side);
        let (dialog, session, trunk) = (&mut self.dialog, &self.session, self.trunk.as_ref());
        let of = trunk.map(|trunk| trunk.carrier_id);
        let sent = cx.start_towards(of, Method::Invite, flow, owner, |branch, settings| {
            let listener = settings.listener(flow.listener);
            let mut printer = dialog.request(b"INVITE", listener, branch);
            write_contact(
                listener,
                dialog.is_secure,
                trunk.and_then(Trunk::contact_user),
                &mut printer,
            );
            write_capabilities(self.refer, &mut printer);
            session.write_request(settings.session, &mut printer);
            printer.header(HeaderName::UserAgent, settings.user_agent.as_bytes());
            header_policy::write(carried, &self.header_rule, &mut printer);
            printer.finish(header_policy::body(carried))
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
        let user = self.trunk.as_ref().and_then(Trunk::contact_user);
        let write = |printer: &mut Printer, invite: &Message| {
            write_dialog_headers(&listener, user, invite, self.refer, printer);
            header_policy::write(carried, &self.header_rule, printer);
        };
        let body = header_policy::body(carried);
        cx.respond(received.server, status_code, b"", Some(self.dialog.local_tag), write, body);
    }

    /// Answers the peer's INVITE, and repeats the answer until it is acknowledged.
    pub fn answer(&mut self, cx: &mut Context, status_code: u16, carried: Carried<'_>) {
        self.answer_with(cx, status_code, Some(carried));
        self.note_description(carried.0);
    }

    /// With what the other side answered; else with the session as it is.
    fn answer_with(&mut self, cx: &mut Context, status_code: u16, carried: Option<Carried<'_>>) {
        let Some(received) = &mut self.received else { return };
        // RFC 3261 §13.2.1: the answer may have come in a reliable 1xx alone, which this peer did not hear so.
        let is_owed = self.first_offer.take() == Some(FirstOffer::Theirs);
        let own = match carried {
            Some(carried) if !is_owed || sdp::is_session_description(carried.0) => None,
            Some(_) | None => self.description.as_deref(),
        };
        let is_early = received.is_first && self.heard.is_some();
        let listener = cx.settings.listener(self.flow.listener).clone();
        let user = self.trunk.as_ref().and_then(Trunk::contact_user);
        let (policy, now) = (cx.settings.session, cx.now);
        let session = &self.session;
        let (mut agreed, mut heard) = (None, None);
        let write = |printer: &mut Printer, invite: &Message| {
            write_dialog_headers(&listener, user, invite, self.refer, printer);
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
        let flow = self.flow_out(cx);
        let is_waiting = |sent: &mut SentInvite| matches!(sent.state, SentState::Unacknowledged);
        let Some(sent) = self.sent.take_if(is_waiting) else { return };
        let branch = cx.new_branch();
        let listener = cx.settings.listener(flow.listener);
        let mut printer = self.dialog.ack(sent.seq, listener, branch);
        credentials::write_into_ack(cx, &sent.invite, &mut printer);
        let body = match carried.filter(|_| !sent.has_offer) {
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

    /// Sends the other side's request on, or says why that cannot be done now.
    pub fn relay(
        &mut self,
        cx: &mut Context,
        server: ServerKey,
        carried: Carried<'_>,
    ) -> Result<(), NotRelayed> {
        if self.relays >= MAX_RELAYS {
            return Err(NotRelayed::TooMany);
        }
        if sdp::is_session_description(carried.0) && self.is_negotiating() {
            return Err(NotRelayed::Negotiating);
        }
        self.relays += 1;
        let flow = self.flow_out(cx);
        let method = carried.0.method();
        let owner = Owner::Relay { call: self.call, side: self.side, server };
        if method == Method::Update {
            let offer = sdp::description_of(carried.0);
            self.offered = offer.map(|offer| (server, offer.into())).or(self.offered.take());
        }
        let event = self.mapped_event(carried.0);
        let (dialog, session, trunk) = (&mut self.dialog, &self.session, self.trunk.as_ref());
        let of = trunk.map(|trunk| trunk.carrier_id);
        cx.start_towards(of, method, flow, owner, |branch, settings| {
            let listener = settings.listener(flow.listener);
            let mut printer = dialog.request(method.as_str().as_bytes(), listener, branch);
            if method == Method::Update {
                write_contact(
                    listener,
                    dialog.is_secure,
                    trunk.and_then(Trunk::contact_user),
                    &mut printer,
                );
                write_capabilities(self.refer, &mut printer);
                session.write_request(settings.session, &mut printer);
            } else if method == Method::Refer {
                write_contact(
                    listener,
                    dialog.is_secure,
                    trunk.and_then(Trunk::contact_user),
                    &mut printer,
                );
                write_refer(&dialog.remote, &settings.listeners, carried.0, &mut printer);
            }
            printer.header(HeaderName::UserAgent, settings.user_agent.as_bytes());
            let replaced = event.is_some().then_some(HeaderName::Event);
            header_policy::write_but(replaced, carried, &self.header_rule, &mut printer);
            if let Some(event) = &event {
                printer.header(HeaderName::Event, event);
            }
            printer.finish(body_within_dialog(carried))
        });
        Ok(())
    }

    /// Refuses a request of the peer that cannot be sent on.
    pub fn turn_down(&mut self, cx: &mut Context, server: ServerKey, why: NotRelayed) {
        self.forget_asked(server);
        match why {
            NotRelayed::TooMany => cx.reject(server, 500, b"Too Many Requests At Once"),
            NotRelayed::Negotiating => {
                cx.respond(server, 491, b"", None, |_, _| {}, b"");
            }
        }
    }

    /// A request of the peer waits for the other side's answer.
    pub(super) fn ask(&mut self, server: ServerKey) {
        self.asked.push(server);
    }

    pub(super) fn has_asked(&self, server: ServerKey) -> bool {
        self.asked.contains(&server)
    }

    fn forget_asked(&mut self, server: ServerKey) {
        self.asked.retain(|asked| *asked != server);
        self.updating.take_if(|updating| *updating == server);
    }

    /// Answers a request of the peer as the other side answered it.
    pub fn reply(
        &mut self,
        cx: &mut Context,
        server: ServerKey,
        status_code: u16,
        carried: Option<Carried<'_>>,
    ) {
        if status_code == 408 {
            // RFC 4320 §4.2: never sent to anything but an INVITE. The call ends now, and that answers it.
            return;
        }
        self.forget_asked(server);
        if let Some(Carried(answer)) = carried.filter(|_| status_code < 300) {
            self.note_description(answer);
            if answer.cseq().1 == Method::Update {
                return self.answer_update_with(cx, server, status_code, carried, None);
            }
        }
        let reason = carried.map(|carried| carried.0.reason()).unwrap_or_default();
        let listener = cx.settings.listener(self.flow.listener).clone();
        let (is_secure, user) =
            (self.dialog.is_secure, self.trunk.as_ref().and_then(Trunk::contact_user));
        let write = |printer: &mut Printer, request: &Message| {
            if request.method() == Method::Refer && status_code < 300 {
                write_contact(&listener, is_secure, user, printer);
            }
            if let Some(carried) = carried {
                header_policy::write(carried, &self.header_rule, printer);
            }
        };
        let body = carried.map(header_policy::body).unwrap_or_default();
        cx.respond(server, status_code, reason, None, write, body);
    }

    /// Hangs up: answers what is pending, acknowledges what is not, sends BYE.
    pub fn end(&mut self, cx: &mut Context, reason: Option<Carried<'_>>) {
        self.close(cx);
        if self.is_unacknowledged() {
            // RFC 3261 §15: a callee does not send BYE before its 2xx is acknowledged, or never will be.
            self.farewell = Some(reason.map(|carried| carried.0.clone()));
        } else {
            self.say_bye(cx, reason);
        }
    }

    /// The ACK that our BYE has waited for has come, or never will. Says whether a BYE did wait.
    pub fn end_at_last(&mut self, cx: &mut Context) -> bool {
        let Some(reason) = self.farewell.take() else { return false };
        self.say_bye(cx, reason.as_ref().map(Carried::of));
        true
    }

    /// Sends our BYE once more, with a CSeq far beyond the last; `false` where that has been tried.
    pub fn end_again(&mut self, cx: &mut Context) -> bool {
        if std::mem::replace(&mut self.has_leapt, true) {
            return false;
        }
        self.dialog.jump_seq(self.dialog.local_seq.saturating_add(SEQ_LEAP));
        self.say_bye(cx, None);
        true
    }

    /// The peer has hung up too: a BYE of ours that still waits is not needed any more.
    pub fn forgo_bye(&mut self) {
        self.farewell = None;
    }

    /// The 2xx that made the dialog is being repeated. That goes on after a BYE: one that the peer
    /// sent in the early dialog may have crossed it, and its INVITE needs its end (RFC 5407 §3.1.3).
    pub fn is_unacknowledged(&self) -> bool {
        self.received
            .as_ref()
            .is_some_and(|received| received.is_first && received.answer.is_some())
    }

    fn say_bye(&mut self, cx: &mut Context, reason: Option<Carried<'_>>) {
        let flow = self.flow_out(cx);
        let (owner, of) = (Owner::Bye(self.call, self.side), self.carrier_id());
        let dialog = &mut self.dialog;
        cx.start_towards(of, Method::Bye, flow, owner, |branch, settings| {
            let listener = settings.listener(flow.listener);
            let mut printer = dialog.request(b"BYE", listener, branch);
            printer.header(HeaderName::UserAgent, settings.user_agent.as_bytes());
            if let Some(carried) = reason {
                header_policy::write(carried, &self.header_rule, &mut printer);
            }
            printer.finish(reason.map(header_policy::body).unwrap_or_default())
        });
    }

    /// Ends what is pending, without a BYE: the peer has hung up, or is about to be.
    pub fn close(&mut self, cx: &mut Context) {
        // RFC 3261 §15.1.2: pending requests are answered 487.
        if self.received.as_ref().is_some_and(|received| received.answer.is_none()) {
            self.refuse(cx, 487, None);
        }
        self.updating = None;
        for server in std::mem::take(&mut self.asked) {
            cx.respond(server, 487, b"", None, |_, _| {}, b"");
        }
        if !self.is_unacknowledged() {
            self.received = None;
        }
        self.acknowledge(cx, None);
        self.abandon_refresh(cx);
        self.session.begin(None);
        if let Some(sent) = &self.sent {
            let limit = cx.now + TRANSACTION_LIMIT;
            cx.with_client(sent.client, |client, _, _| client.machine.limit(limit));
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let answer = self.received.as_ref().and_then(|received| received.answer.as_ref());
        let repeats_at = answer.map(|answer| answer.repeat_at.min(answer.give_up_at));
        [repeats_at, self.poll_refresh(), self.poll_session()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn on_timeout(&mut self, cx: &mut Context) -> Option<LegEvent<'static>> {
        let event = self.repeat_answer(cx);
        if event.is_some() {
            return event;
        }
        self.on_refresh_timeout(cx);
        self.on_session_timeout(cx)
    }

    /// Repeats the answer that is not acknowledged, or gives up (RFC 3261 §13.3.1.4).
    fn repeat_answer(&mut self, cx: &mut Context) -> Option<LegEvent<'static>> {
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
    fn on_reinvite<'a>(
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

    /// An INVITE of ours is not answered yet, or its ACK has to wait.
    pub(super) fn is_inviting(&self) -> bool {
        self.sent.is_some() || self.is_refreshing_by_invite()
    }

    pub(super) fn carrier_id(&self) -> Option<CarrierId> {
        self.trunk.as_ref().map(|trunk| trunk.carrier_id)
    }

    /// An INVITE of the peer is not answered, or its answer not acknowledged.
    pub(super) fn is_invited(&self) -> bool {
        self.received.is_some()
    }

    /// Takes in what a message that makes a dialog, or refreshes its target, says of the peer.
    pub(super) fn note_peer(&mut self, message: &Message) {
        self.session.note_min_se(message);
        if message.first(HeaderName::Allow).is_some() {
            let mut allowed =
                message.all(HeaderName::Allow).flat_map(|header| split_list(header.value));
            self.allows_update = allowed.any(|method| method == Method::Update.as_str().as_bytes());
        }
    }

    /// Keeps the session description of a message that we have sent as it came; one without leaves it.
    pub(super) fn note_description(&mut self, message: &Message) {
        self.describe(sdp::description_of(message));
    }

    /// Takes in what we have sent of the session, if anything.
    pub(super) fn describe(&mut self, sent: Option<&[u8]>) {
        if let Some(sent) = sent.filter(|sent| self.description.as_deref() != Some(sent)) {
            self.description = Some(sent.into());
            self.descriptions = self.descriptions.wrapping_add(1);
        }
    }

    /// Counts new targets of the peer, and new session descriptions of ours.
    pub(super) fn terms(&self) -> u32 {
        self.dialog.targets.wrapping_add(self.descriptions)
    }

    /// Our INVITE has an offer that is not answered.
    pub(super) fn has_invited_with_offer(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.has_offer)
    }

    /// The peer's INVITE has an offer that is not answered.
    pub(super) fn is_invited_with_offer(&self) -> bool {
        self.received
            .as_ref()
            .is_some_and(|received| received.has_offer && received.answer.is_none())
    }

    pub(super) fn flow_out(&self, cx: &Context) -> Flow {
        cx.flow_towards(self.dialog.next_hop(), self.flow)
    }
}

/// Why a request is not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRelayed {
    TooMany,
    /// It holds an offer, and another one is not answered (RFC 3264 §4).
    Negotiating,
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
