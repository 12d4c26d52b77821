//! Reliable provisional responses (RFC 3262): who wants them, the ones that the caller has to acknowledge, and
//! the PRACKs that we send.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::context::{Context, Owner};
use super::leg::Leg;
use super::options::Options;
use super::{Carried, header_policy};
use crate::dialog::Tag;
use crate::sip::{HeaderName, Message, Method, sdp};
use crate::transaction::ServerKey;
use crate::transaction::timer::{T1, TRANSACTION_LIMIT};

/// Provisional responses that wait for the one before them.
const MAX_WAITING: usize = 8;

/// How a caller is told what is provisional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It knows no 100rel.
    Unreliably,
    /// Reliably, where the carrier does so.
    AsItComes,
    /// Reliably, or not at all (Require).
    Reliably,
}

impl Wish {
    pub fn of(invite: &Message) -> Self {
        if Options::of(invite, HeaderName::Require).has(Options::REL100) {
            Self::Reliably
        } else if Options::of(invite, HeaderName::Supported).has(Options::REL100) {
            Self::AsItComes
        } else {
            Self::Unreliably
        }
    }
}

/// The RSeq of a provisional response that is sent reliably.
pub fn rseq_of(response: &Message) -> Option<u32> {
    let is_reliable = (101..200).contains(&response.status_code())
        && Options::of(response, HeaderName::Require).has(Options::REL100);
    let rseq = response.first(HeaderName::RSeq).filter(|_| is_reliable)?;
    std::str::from_utf8(rseq).ok()?.parse().ok().filter(|rseq| *rseq > 0)
}

/// What a PRACK acknowledges: RSeq and CSeq of a response to an INVITE.
pub fn rack_of(prack: &Message) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(prack.first(HeaderName::RAck)?).ok()?;
    let mut words = text.split_ascii_whitespace();
    let (rseq, seq, method) = (words.next()?, words.next()?, words.next()?);
    let is_of_invite = method == Method::Invite.as_str() && words.next().is_none();
    is_of_invite.then_some((rseq.parse().ok()?, seq.parse().ok()?))
}

/// The response of a carrier that one to the caller stands for.
#[derive(Clone, Debug)]
pub struct Origin {
    pub attempt: u8,
    pub remote_tag: Box<[u8]>,
    /// `None` where the carrier sent it unreliably: nobody there waits for a PRACK.
    pub rseq: Option<u32>,
}

/// A reliable response that the caller has not acknowledged.
#[derive(Debug)]
pub struct Unacknowledged {
    pub tag: Tag,
    pub rseq: u32,
    pub has_description: bool,
    pub origin: Origin,
    response: Bytes,
    status_code: u16,
    interval: Duration,
    repeat_at: Instant,
    give_up_at: Instant,
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Waits,
    IsOver,
}

/// The provisional responses to one INVITE of a caller. One is on its way at a time, so that they arrive in
/// order (RFC 3262 §3).
#[derive(Debug, Default)]
pub struct Provisionals {
    sent: Option<Unacknowledged>,
    /// Responses of carriers, and the tags that they go out under.
    waiting: VecDeque<(Tag, Origin, Message)>,
}

impl Provisionals {
    /// Nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.sent.is_none()
    }

    /// Has a response wait for its turn.
    pub fn wait(&mut self, tag: Tag, origin: Origin, response: Message) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((tag, origin, response));
        }
    }

    pub fn next_waiting(&mut self) -> Option<(Tag, Origin, Message)> {
        if self.sent.is_some() { None } else { self.waiting.pop_front() }
    }

    /// `response` has gone out as `rseq`, and is repeated from now on.
    pub fn note_sent(
        &mut self,
        now: Instant,
        (tag, rseq): (Tag, u32),
        origin: Origin,
        carried: &Message,
        response: Bytes,
    ) {
        self.sent = Some(Unacknowledged {
            tag,
            rseq,
            has_description: sdp::is_session_description(carried),
            origin,
            response,
            status_code: carried.status_code(),
            interval: T1,
            repeat_at: now + T1,
            give_up_at: now + TRANSACTION_LIMIT,
        });
    }

    /// Takes out what a PRACK under `tag` acknowledges.
    pub fn take(&mut self, tag: Tag, rseq: u32) -> Option<Unacknowledged> {
        self.sent.take_if(|sent| sent.tag == tag && sent.rseq == rseq)
    }

    /// A 2xx has to wait (RFC 3262 §5): the session description of a provisional response may be lost.
    pub fn holds_answer_back(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.has_description)
    }

    /// The INVITE has its final response: nothing is repeated. Gives what may still be acknowledged.
    pub fn finish(&mut self) -> Option<(Tag, u32)> {
        self.waiting.clear();
        self.sent.take().map(|sent| (sent.tag, sent.rseq))
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sent.as_ref().map(|sent| sent.repeat_at.min(sent.give_up_at))
    }

    /// Repeats what is not acknowledged, at intervals that double without an end (RFC 3262 §3).
    pub fn on_timeout(&mut self, cx: &mut Context, server: ServerKey) -> Patience {
        let Some(sent) = &mut self.sent else { return Patience::Waits };
        if sent.give_up_at <= cx.now {
            return Patience::IsOver;
        }
        if sent.repeat_at <= cx.now {
            sent.interval *= 2;
            sent.repeat_at = cx.now + sent.interval;
            let (status_code, response) = (sent.status_code, sent.response.clone());
            cx.counters.retransmissions_sent += 1;
            cx.with_server(server, |server, now, actions| {
                server.machine.respond(status_code, response, now, actions);
            });
        }
        Patience::Waits
    }
}

impl Leg {
    /// Acknowledges a provisional response of the peer by ourselves.
    pub(super) fn prack(&mut self, cx: &mut Context, response: &Message, rseq: u32) {
        let rack = (rseq, response.cseq().0);
        self.send_prack(cx, Owner::Prack(self.call), rack, None);
    }

    /// Sends the other side's PRACK on as the one for `rack`. A session description in it is an answer where
    /// the response carried the offer, else an offer.
    pub(super) fn relay_prack(
        &mut self,
        cx: &mut Context,
        server: ServerKey,
        rack: (u32, u32),
        carried: Carried<'_>,
    ) {
        if let Some(description) = sdp::description_of(carried.0) {
            match self.first_offer.take() {
                Some(_) => self.describe(Some(description)),
                None => self.offered = Some((server, description.into())),
            }
        }
        let owner = Owner::Relay { call: self.call, side: self.side, server };
        self.send_prack(cx, owner, rack, Some(carried));
    }

    fn send_prack(
        &mut self,
        cx: &mut Context,
        owner: Owner,
        (rseq, seq): (u32, u32),
        carried: Option<Carried<'_>>,
    ) {
        let flow = self.flow_out(cx);
        let of = self.carrier_id();
        let dialog = &mut self.dialog;
        cx.start_towards(of, Method::Prack, flow, owner, |branch, settings| {
            let listener = settings.listener(flow.listener);
            let mut printer = dialog.request(b"PRACK", listener, branch);
            printer
                .header_fmt(HeaderName::RAck, format_args!("{rseq} {seq} INVITE"))
                .header(HeaderName::UserAgent, settings.user_agent.as_bytes());
            if let Some(carried) = carried {
                header_policy::write(carried, &self.header_rule, &mut printer);
            }
            printer.finish(carried.map(header_policy::body).unwrap_or_default())
        });
    }
}
