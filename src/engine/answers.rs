//! Answers without a transaction (RFC 3261 §8.2.7): the same request gets the same answer, and leaves nothing behind.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::engine::Engine;
use crate::call::context::ALLOW;
use crate::call::options::Options;
use crate::dialog::Tag;
use crate::sip::{Feedback, HeaderName, Message, Printer};
use crate::transaction::{Flow, Listener};

/// The reason phrase where octets are scarce.
const SHORT_REASON: &[u8] = b"No";

const SHORT_NAMES: [(HeaderName, u8); 5] = [
    (HeaderName::Via, b'v'),
    (HeaderName::From, b'f'),
    (HeaderName::To, b't'),
    (HeaderName::CallId, b'i'),
    (HeaderName::ContentLength, b'l'),
];

/// How much of an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    /// Only what the RFC asks for.
    Bare,
}

impl Engine {
    pub(super) fn answer_statelessly(
        &mut self,
        request: &Message,
        flow: Flow,
        status_code: u16,
        reason: &str,
    ) {
        self.answer_with(request, flow, status_code, reason, |_, _| {});
    }

    /// RFC 3261 §8.2.2.3
    pub(super) fn refuse_extension(&mut self, request: &Message, flow: Flow, unsupported: &[u8]) {
        self.answer_with(request, flow, 420, "", |printer, _| {
            printer.header(HeaderName::Unsupported, unsupported);
        });
    }

    /// Asks who sent an INVITE: whoever says nothing leaves nothing behind.
    pub(super) fn challenge(&mut self, invite: &Message, flow: Flow, is_stale: bool) {
        let challenges = self.cx.new_challenges(is_stale);
        self.answer_with(invite, flow, 401, "", |printer, extent| {
            // Where there is room for one only, the one that everybody knows.
            let left_out = match extent {
                Extent::Whole => 0,
                Extent::Bare => challenges.len().saturating_sub(1),
            };
            for challenge in challenges.iter().skip(left_out) {
                printer.header(HeaderName::WwwAuthenticate, challenge.as_bytes());
            }
        });
    }

    /// Answers a customer that has shown who it is, from wherever.
    pub(super) fn answer_customer(
        &mut self,
        request: &Message,
        flow: Flow,
        status_code: u16,
        reason: &str,
        write: impl Fn(&mut Printer, Extent),
    ) {
        let (feedback, what) = (self.cx.feedback(), (status_code, reason));
        let response =
            self.print_answer(feedback.as_ref(), request, flow, what, &write, Extent::Whole);
        let reply = reply_flow(request, flow, self.cx.settings.listener(flow.listener));
        self.cx.send(reply, response);
    }

    /// Answers, but for sources that are not answered. What is too long for one goes bare, or not at all.
    pub(super) fn answer_with(
        &mut self,
        request: &Message,
        flow: Flow,
        status_code: u16,
        reason: &str,
        write: impl Fn(&mut Printer, Extent),
    ) {
        let Some(room) = self.room_for_answer(request, flow, status_code) else { return };
        let feedback = self.cx.feedback().filter(|_| room.is_known);
        let print = |extent| {
            let what = (status_code, reason);
            self.print_answer(feedback.as_ref(), request, flow, what, &write, extent)
        };
        let fits = |response: &Bytes| response.len() <= room.octets;
        let whole = Some(print(Extent::Whole)).filter(fits);
        let Some(response) = whole.or_else(|| Some(print(Extent::Bare)).filter(fits)) else {
            self.cx.counters.answers_too_long += 1;
            return;
        };
        let reply = reply_flow(request, flow, self.cx.settings.listener(flow.listener));
        self.cx.send(reply, response);
    }

    fn print_answer(
        &self,
        feedback: Option<&Feedback>,
        request: &Message,
        flow: Flow,
        (status_code, reason): (u16, &str),
        write: &impl Fn(&mut Printer, Extent),
        extent: Extent,
    ) -> Bytes {
        let settings = &self.cx.settings;
        let tag = Tag::derived(request.call_id(), settings.bucket_key).to_string();
        let reason = match extent {
            Extent::Bare if status_code >= 300 => SHORT_REASON,
            Extent::Bare | Extent::Whole => reason.as_bytes(),
        };
        let tag = Some(tag.as_bytes());
        let remote = flow.remote;
        let mut printer =
            Printer::response_telling(feedback, request, status_code, reason, tag, remote);
        match (status_code, extent) {
            (200, Extent::Whole) => {
                printer
                    .header(HeaderName::Allow, ALLOW)
                    .header(HeaderName::Accept, b"application/sdp");
                Options::ALL.write(HeaderName::Supported, &mut printer);
            }
            (405, _) | (501, Extent::Whole) => {
                printer.header(HeaderName::Allow, ALLOW);
            }
            (406, _) => {
                printer.header(HeaderName::Accept, b"application/sdp");
            }
            (503, _) => {
                let seconds = settings.retry_after_s;
                printer.header_fmt(HeaderName::RetryAfter, format_args!("{seconds}"));
            }
            _ => {}
        }
        write(&mut printer, extent);
        if extent == Extent::Whole {
            printer.header(HeaderName::Server, settings.user_agent.as_bytes());
        }
        let response = printer.finish(b"");
        match extent {
            Extent::Whole => response,
            Extent::Bare => compact(&response),
        }
    }
}

/// A message without a body, with the short names of RFC 3261 §7.3.3.
fn compact(message: &[u8]) -> Bytes {
    let short = |line: &[u8]| {
        let starts = |name: &&(HeaderName, u8)| {
            let name = name.0.as_str().as_bytes();
            line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                && line.get(name.len()) == Some(&b':')
        };
        let found = SHORT_NAMES.iter().find(starts);
        found.map(|(name, short)| (*short, name.as_str().len()))
    };
    let mut compact = BytesMut::with_capacity(message.len());
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        match short(line) {
            Some((name, len)) => {
                compact.put_u8(name);
                compact.put_slice(&line[len..]);
            }
            None => compact.put_slice(line),
        }
    }
    compact.freeze()
}

/// Where the response to a request goes (RFC 3261 §18.2.2, RFC 3581 §4). A `maddr` is not followed:
/// it would let anybody aim our responses at anybody. A connection that is closed by then is opened anew to the port of
/// the Via.
pub(super) fn reply_flow(request: &Message, flow: Flow, listener: &Listener) -> Flow {
    let Some(via) = request.top_via() else { return flow };
    let port = via.port.unwrap_or(listener.transport.default_port());
    let sent_by = SocketAddr::new(flow.remote.ip(), port);
    match listener.is_reliable() {
        true => Flow { fallback: Some(sent_by), ..flow },
        false if via.has_rport => flow,
        false => Flow { remote: sent_by, ..flow },
    }
}
