//! One leg of an answered call: its dialog, the INVITEs within it, and what else passes.

mod ending;
mod invites;
mod requests;

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::attempt::Trunk;
use super::context::{CallKey, Context, Owner};
use super::credentials::Challenged;
use super::offer_answer::FirstOffer;
use super::peer_refresh::Heard;
use super::refresh::Refresh;
use super::reliable::rack_of;
use super::session_timer::SessionTimer;
use super::transfer::Referred;
use super::{Carried, LegEvent, LegReplica, Side, stray};
use crate::carrier::{CarrierId, HeaderRule, ReferPolicy};
use crate::dialog::Dialog;
use crate::sip::name_addr::split_list;
use crate::sip::octets::Octets;
use crate::sip::{HeaderName, Message, Method, sdp};
use crate::transaction::{ClientKey, Flow, ServerKey};

pub(super) use invites::REINVITE_LIMIT;
use invites::{ReceivedInvite, SentInvite, SentState};
pub use requests::NotRelayed;

/// How far our CSeq jumps where another node may have sent requests that were not told to us.
pub(super) const SEQ_JUMP: u32 = 100;

/// A confirmed dialog and what is going on in it.
#[derive(Debug)]
pub struct Leg {
    pub(super) call: CallKey,
    pub(super) side: Side,
    /// The carrier; `None` for a leg of the customer.
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
    /// The peer has hung up, and needs no BYE.
    pub(super) has_left: bool,
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
            has_left: false,
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
            gateway: self.flow.gateway(),
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
                if self.refer == ReferPolicy::Local {
                    return Some(LegEvent::Referred { server, carried });
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

    pub(super) fn carrier_id(&self) -> Option<CarrierId> {
        self.trunk.as_ref().map(|trunk| trunk.carrier_id)
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

    pub(super) fn flow_out(&self, cx: &Context) -> Flow {
        cx.flow_towards(self.dialog.next_hop(), self.flow)
    }
}
