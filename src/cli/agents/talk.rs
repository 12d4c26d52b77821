//! An answered call as one of its ends sees it: refreshed, hung up, over.

use std::net::SocketAddr;
use std::time::Instant;

use super::dialog::Dialog;
use super::{Repeated, SDP, Sent};
use crate::sip::{HeaderName, Message, Method, Printer};

/// How a call ended for one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum End {
    /// It hung up, and its BYE got a 2xx.
    ByUs,
    /// The other side's BYE came, with this Reason header, if any.
    ByPeer { reason: Option<String> },
    /// Its BYE was refused.
    ByeRefused(u16),
    /// Its BYE got no answer.
    ByeUnanswered,
}

/// What a peer's request in the dialog comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    /// The peer is somewhere else from now on.
    Moved(SocketAddr),
    Ended(End),
}

#[derive(Debug)]
pub(super) struct Talk {
    pub(super) dialog: Dialog,
    contact: String,
    allow: &'static str,
    /// The callee's 2xx, until its ACK comes; the caller's ACK is sent again with each 2xx.
    answer: Option<Repeated>,
    bye: Option<Repeated>,
    is_over: bool,
}

impl Talk {
    pub(super) fn new(dialog: Dialog, contact: String, allow: &'static str) -> Self {
        Self { dialog, contact, allow, answer: None, bye: None, is_over: false }
    }

    /// A 2xx that is sent until it is acknowledged.
    pub(super) fn answered(&mut self, ok: Sent, now: Instant) {
        self.answer = Some(Repeated::new(ok, now));
    }

    /// The 2xx again, for an INVITE that came again.
    pub(super) fn answer_again(&self) -> Option<Sent> {
        self.answer.as_ref().map(|answer| answer.sent.clone())
    }

    pub(super) fn on_ack(&mut self) {
        self.answer = None;
    }

    /// Whether neither side has begun to end it.
    pub(super) fn is_up(&self) -> bool {
        !self.is_over && self.bye.is_none()
    }

    /// Sends a BYE; `None` where the call is over, or as good as over.
    pub(super) fn hang_up(&mut self, now: Instant) -> Option<Sent> {
        if !self.is_up() {
            return None;
        }
        let bye = self.dialog.request("BYE");
        self.bye = Some(Repeated::new(bye.clone(), now));
        Some(bye)
    }

    /// Answers a request of the peer but ACK and CANCEL, and says what has become of the call.
    pub(super) fn on_request(&mut self, request: &Message, from: SocketAddr) -> (Sent, Asked) {
        let answer =
            |code| (from, Printer::response_to(request, code, b"", None, from).finish(b""));
        if !self.dialog.is_of(request) {
            return (answer(481), Asked::Nothing);
        }
        if !self.dialog.take_seq(request.cseq().0) {
            return (answer(500), Asked::Nothing);
        }
        match request.method() {
            // RFC 3261 §15.1.2: whatever the state, and also when it comes again.
            Method::Bye => {
                let reason = request.first(HeaderName::Reason);
                let reason = reason.map(|text| String::from_utf8_lossy(text).into_owned());
                // Ours may have crossed it, or be on its way to nobody.
                let was_over = std::mem::replace(&mut self.is_over, true);
                let asked =
                    if was_over { Asked::Nothing } else { Asked::Ended(End::ByPeer { reason }) };
                (answer(200), asked)
            }
            // §15.1.1: a session is over for who sends the BYE.
            Method::Invite | Method::Update if !self.is_up() => (answer(481), Asked::Nothing),
            Method::Invite | Method::Update => {
                let before = self.dialog.target_address;
                self.dialog.take_target(request, from);
                let body = if request.method() == Method::Invite { SDP } else { b"" };
                let ok = ok(request, None, &self.contact, self.allow, body, from);
                let now_at = self.dialog.target_address;
                (ok, if now_at == before { Asked::Nothing } else { Asked::Moved(now_at) })
            }
            Method::Ack
            | Method::Cancel
            | Method::Options
            | Method::Info
            | Method::Prack
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Message
            | Method::Register
            | Method::Publish
            | Method::Other => (answer(200), Asked::Nothing),
        }
    }

    /// A response to our BYE.
    pub(super) fn on_bye_answered(&mut self, status_code: u16) -> Option<End> {
        if status_code < 200 || self.is_over {
            return None;
        }
        self.bye.as_ref()?;
        self.is_over = true;
        Some(if status_code < 300 { End::ByUs } else { End::ByeRefused(status_code) })
    }

    /// Sends what is due again; gives the end where nothing came back for too long.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        send: &mut impl Extend<Sent>,
    ) -> Option<End> {
        if self.is_over {
            return None;
        }
        send.extend(self.answer.as_mut().and_then(|answer| answer.poll(now)));
        let bye = self.bye.as_mut()?;
        send.extend(bye.poll(now));
        self.is_over = bye.is_given_up(now);
        self.is_over.then_some(End::ByeUnanswered)
    }
}

/// A 200 that says where we are and what we understand.
pub(super) fn ok(
    request: &Message,
    tag: Option<&str>,
    contact: &str,
    allow: &str,
    body: &[u8],
    from: SocketAddr,
) -> Sent {
    let mut printer = Printer::response_to(request, 200, b"", tag.map(str::as_bytes), from);
    printer.header(HeaderName::Contact, contact.as_bytes());
    printer.header(HeaderName::Allow, allow.as_bytes());
    if !body.is_empty() {
        printer.header(HeaderName::ContentType, b"application/sdp");
    }
    (from, printer.finish(body))
}
