//! A peer's refresh of its own dialog, answered here: the other leg hears nothing of it.

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::leg::Leg;
use super::session_timer::SessionTimer;
use super::{Carried, header_policy};
use crate::sip::{HeaderName, Message, Printer, sdp};
use crate::transaction::ServerKey;

/// The last session description that the peer sent and we did not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// [`sdp::fingerprint`] of it.
    pub fingerprint: u64,
    /// It was an offer, and what we sent was its answer; else the other way round.
    pub is_offer: bool,
}

impl Heard {
    /// What a message says; `None` where it has no session description.
    pub fn of(message: &Message, is_offer: bool) -> Option<Self> {
        let description = sdp::description_of(message)?;
        Some(Self { fingerprint: sdp::fingerprint(description), is_offer })
    }
}

impl Leg {
    /// Takes in a session description of the peer, where the message has one.
    pub(super) fn note_heard(&mut self, message: &Message, is_offer: bool) {
        self.heard = Heard::of(message, is_offer).or(self.heard);
    }

    /// Refuses a refresh whose session interval is too small; `false` where it is not.
    pub(super) fn refuses_interval(
        &mut self,
        cx: &mut Context,
        server: ServerKey,
        request: &Message,
    ) -> bool {
        let policy = cx.settings.session;
        let is_too_small = SessionTimer::is_too_small(request, policy);
        if is_too_small {
            let write =
                |printer: &mut Printer, _: &Message| SessionTimer::write_refusal(policy, printer);
            cx.respond(server, 422, b"", None, write, b"");
        }
        is_too_small
    }

    /// Whether a re-INVITE or UPDATE changes nothing of the session: it repeats what the peer said last (RFC
    /// 3264 §8), and what we said last answers it.
    pub(super) fn is_unchanged(&self, request: &Message) -> bool {
        let (Some(offer), Some(own), Some(heard)) =
            (sdp::description_of(request), &self.description, self.heard)
        else {
            return false;
        };
        heard.fingerprint == sdp::fingerprint(offer)
            && (heard.is_offer || sdp::can_answer(own, offer))
    }

    /// Answers an UPDATE that says nothing of the session, or nothing new.
    pub(super) fn answer_update(&mut self, cx: &mut Context, server: ServerKey, request: &Message) {
        let own = self.description.clone().filter(|_| !request.body().is_empty());
        self.answer_update_with(cx, server, 200, None, own.as_deref());
    }

    /// Answers an UPDATE of the peer with the other side's answer, or with a description of ours.
    pub(super) fn answer_update_with(
        &mut self,
        cx: &mut Context,
        server: ServerKey,
        status_code: u16,
        carried: Option<Carried<'_>>,
        own: Option<&[u8]>,
    ) {
        let listener = cx.settings.listener(self.flow.listener).clone();
        let (policy, now) = (cx.settings.session, cx.now);
        let (session, contact) = (&self.session, self.contact(cx));
        let mut agreed = None;
        let mut heard = None;
        let write = |printer: &mut Printer, request: &Message| {
            contact.write_all(&listener, printer);
            agreed = Some(session.write_answer(request, policy, now, printer));
            heard = Heard::of(request, true);
            if let Some(carried) = carried {
                header_policy::write(carried, &self.header_rule, printer);
            } else if own.is_some() {
                printer.header(HeaderName::ContentType, b"application/sdp");
            }
        };
        let reason = carried.map(|carried| carried.0.reason()).unwrap_or_default();
        let body = carried.map(header_policy::body).or(own).unwrap_or_default();
        cx.respond(server, status_code, reason, None, write, body);
        if let Some(agreed) = agreed {
            self.session.begin(agreed);
            self.heard = heard.or(self.heard);
        }
    }
}
