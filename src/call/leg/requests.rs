//! Requests other than INVITE on their way from one leg to the other, and their answers.

use super::Leg;
use crate::call::context::{Context, Owner};
use crate::call::transfer::{body_within_dialog, write_refer};
use crate::call::{Carried, LegEvent, header_policy};
use crate::sip::{HeaderName, Message, Method, Printer, sdp};
use crate::transaction::ServerKey;

/// Requests other than INVITE that may be on their way through one leg at a time.
const MAX_RELAYS: u8 = 8;
/// Why a request is not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRelayed {
    TooMany,
    /// It holds an offer, and another one is not answered (RFC 3264 §4).
    Negotiating,
    /// The other side has hung up.
    Alone,
}

impl Leg {
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
        let named = cx.named.take();
        let (of, contact) = (self.carrier_id(), self.contact(cx));
        let (dialog, session) = (&mut self.dialog, &self.session);
        cx.start_towards(of, method, flow, owner, |branch, settings| {
            let listener = settings.listener(flow.listener);
            let mut printer = dialog.request(method.as_str().as_bytes(), listener, branch);
            if method == Method::Update {
                contact.write_all(listener, &mut printer);
                session.write_request(settings.session, &mut printer);
            } else if method == Method::Refer {
                contact.write(listener, &mut printer);
                let named = named.as_ref();
                write_refer(&dialog.remote, named, &settings.listeners, carried.0, &mut printer);
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
            NotRelayed::Alone => cx.reject(server, 480, b"Nobody Is There"),
        }
    }

    /// A request of the peer waits for the other side's answer.
    pub(in crate::call) fn ask(&mut self, server: ServerKey) {
        self.asked.push(server);
    }

    /// Answers the peer's requests that the other side will not answer any more.
    pub(in crate::call) fn close_asked(&mut self, cx: &mut Context) {
        self.updating = None;
        for server in std::mem::take(&mut self.asked) {
            cx.respond(server, 487, b"", None, |_, _| {}, b"");
        }
    }

    pub(in crate::call) fn has_asked(&self, server: ServerKey) -> bool {
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
        let contact = self.contact(cx);
        let write = |printer: &mut Printer, request: &Message| {
            if request.method() == Method::Refer && status_code < 300 {
                contact.write(&listener, printer);
            }
            if let Some(carried) = carried {
                header_policy::write(carried, &self.header_rule, printer);
            }
        };
        let body = carried.map(header_policy::body).unwrap_or_default();
        cx.respond(server, status_code, reason, None, write, body);
    }
}
