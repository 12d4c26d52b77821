//! Calls from one address, each followed to its end.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::dialog::Dialog;
use super::talk::{Asked, End, Talk};
use super::{Agent, Repeated, SDP, Sent};
use crate::sip::{HeaderName, Message, Method, Printer, print};

const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE";
/// A call that heard something, but nothing final, is given up.
const FINAL_LIMIT: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
pub(in crate::cli) struct CallerSettings {
    /// The routers, in the order in which a call tries them.
    pub(in crate::cli) nodes: Vec<SocketAddr>,
    /// A router that does not answer an INVITE at all is left after this time.
    pub(in crate::cli) leave_after: Duration,
    /// Call-IDs and branches begin with it: letters, digits and dashes that nobody else begins with.
    pub(in crate::cli) prefix: String,
    /// Who calls.
    pub(in crate::cli) calling: String,
    /// Numbers that are called begin with it; seven digits follow.
    pub(in crate::cli) called_prefix: String,
}

/// What became of one INVITE; a call has several where a router left it unanswered. Each has a number, which is in the
/// number that it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum CallerNews {
    /// It went out, for the call of this number.
    Tried {
        call: u64,
        node: SocketAddr,
        call_id: String,
    },
    /// A provisional response but 100 came.
    Rang,
    Answered,
    /// A final response but 2xx.
    Refused(u16),
    /// Not a word came, or nothing final.
    Left {
        was_heard: bool,
    },
    /// Its call has no further router to try.
    Lost,
    /// The router's side of the call is at another address.
    Moved(SocketAddr),
    Ended(End),
}

#[derive(Debug)]
struct Try {
    number: u64,
    call: u64,
    /// Which of the nodes, counted from the one that the call began with.
    at_node: usize,
    first_node: usize,
    invite: Bytes,
    phase: Phase,
}

/// ```text
/// Calling ──1xx──► Heard ──2xx──► Talking
///    │                │
///    └──no answer─────┴──► Left   (a late 1xx is cancelled, a late 2xx hung up)
/// ```
#[derive(Debug)]
enum Phase {
    Calling { invite: Repeated, leave_at: Instant },
    Heard { rang: bool, give_up_at: Instant },
    Talking(Box<Talk>),
    Left { is_cancelled: bool },
}

#[derive(Debug)]
pub(in crate::cli) struct Caller {
    own: SocketAddr,
    settings: CallerSettings,
    tries: HashMap<Vec<u8>, Try>,
    by_number: HashMap<u64, Vec<u8>>,
    /// INVITEs so far.
    number: u64,
    calls: u64,
    outputs: VecDeque<Sent>,
    news: VecDeque<(Instant, u64, CallerNews)>,
}

impl Caller {
    pub(in crate::cli) fn new(own: SocketAddr, settings: CallerSettings) -> Self {
        Self {
            own,
            settings,
            tries: HashMap::new(),
            by_number: HashMap::new(),
            number: 0,
            calls: 0,
            outputs: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    /// Makes a call that tries the nodes from this one on, and gives its number.
    pub(in crate::cli) fn call(&mut self, first_node: usize, now: Instant) -> u64 {
        self.calls += 1;
        self.invite(self.calls, first_node, 0, now);
        self.calls
    }

    /// Hangs up an answered call, by the number of its INVITE; `false` where it is over.
    pub(in crate::cli) fn hang_up(&mut self, number: u64, now: Instant) -> bool {
        let call_id = self.by_number.get(&number);
        let found = call_id.and_then(|call_id| self.tries.get_mut(call_id));
        let Some(Try { phase: Phase::Talking(talk), .. }) = found else { return false };
        let bye = talk.hang_up(now);
        let is_begun = bye.is_some();
        self.outputs.extend(bye);
        is_begun
    }

    /// When, which INVITE, what.
    pub(in crate::cli) fn poll_news(&mut self) -> Option<(Instant, u64, CallerNews)> {
        self.news.pop_front()
    }

    fn invite(&mut self, call: u64, first_node: usize, at_node: usize, now: Instant) {
        self.number += 1;
        let nodes = &self.settings.nodes;
        let (number, own, node) =
            (self.number, self.own, nodes[(first_node + at_node) % nodes.len()]);
        let CallerSettings { prefix, calling, called_prefix, .. } = &self.settings;
        let called = format!("{called_prefix}{number:07}");
        let call_id = format!("{prefix}-{number}");
        let mut printer = Printer::request(b"INVITE", format!("sip:{called}@{node}").as_bytes());
        printer
            .header_fmt(
                HeaderName::Via,
                format_args!("SIP/2.0/UDP {own};rport;branch=z9hG4bK{prefix}-{number}-invite"),
            )
            .header(HeaderName::MaxForwards, b"70")
            .header_fmt(
                HeaderName::From,
                format_args!("<sip:{calling}@{own}>;tag={prefix}-{number}"),
            )
            .header_fmt(HeaderName::To, format_args!("<sip:{called}@{node}>"))
            .header(HeaderName::CallId, call_id.as_bytes())
            .header(HeaderName::CSeq, b"1 INVITE")
            .header(HeaderName::Contact, contact(own).as_bytes())
            .header(HeaderName::Allow, ALLOW.as_bytes())
            .header(HeaderName::ContentType, b"application/sdp");
        let invite = printer.finish(SDP);
        self.outputs.push_back((node, invite.clone()));
        let repeated = Repeated::new((node, invite.clone()), now);
        let leave_at = now + self.settings.leave_after;
        let phase = Phase::Calling { invite: repeated, leave_at };
        let one = Try { number, call, at_node, first_node, invite, phase };
        self.by_number.insert(number, call_id.clone().into_bytes());
        self.tries.insert(call_id.clone().into_bytes(), one);
        self.news.push_back((now, number, CallerNews::Tried { call, node, call_id }));
    }

    /// The call goes to the next node, if there is one.
    fn try_next(
        &mut self,
        (number, call, first_node, at_node): (u64, u64, usize, usize),
        now: Instant,
    ) {
        if at_node + 1 < self.settings.nodes.len() {
            self.invite(call, first_node, at_node + 1, now);
        } else {
            self.news.push_back((now, number, CallerNews::Lost));
        }
    }

    fn on_invite_response(&mut self, response: &Message, from: SocketAddr, now: Instant) {
        let Some(one) = self.tries.get_mut(response.call_id()) else { return };
        let number = one.number;
        let status_code = response.status_code();
        let branch = format!("z9hG4bK{}-{number}", self.settings.prefix);
        let talk = || {
            let dialog = Dialog::of_caller(response, self.own, from, &branch);
            Box::new(Talk::new(dialog, contact(self.own), ALLOW))
        };
        match (&mut one.phase, status_code) {
            (Phase::Calling { .. } | Phase::Heard { rang: false, .. }, 100..200) => {
                let rang = status_code > 100;
                if rang {
                    self.news.push_back((now, number, CallerNews::Rang));
                }
                one.phase = Phase::Heard { rang, give_up_at: now + FINAL_LIMIT };
            }
            (Phase::Calling { .. } | Phase::Heard { .. }, 200..300) => {
                let talk = talk();
                self.outputs.push_back(talk.dialog.ack());
                one.phase = Phase::Talking(talk);
                self.news.push_back((now, number, CallerNews::Answered));
            }
            // It is answered by somebody who did not hear that nobody waits any more.
            (Phase::Left { .. }, 200..300) => {
                let mut talk = talk();
                self.outputs.push_back(talk.dialog.ack());
                self.outputs.extend(talk.hang_up(now));
                one.phase = Phase::Talking(talk);
                self.news.push_back((now, number, CallerNews::Answered));
            }
            (Phase::Left { is_cancelled: false }, 100..200) => {
                one.phase = Phase::Left { is_cancelled: true };
                self.outputs.push_back((from, print::cancel_for(&one.invite, None)));
            }
            // The 2xx again: its ACK was lost.
            (Phase::Talking(talk), 200..300) => self.outputs.push_back(talk.dialog.ack()),
            (Phase::Calling { .. } | Phase::Heard { .. } | Phase::Left { .. }, 300..) => {
                self.outputs.push_back((from, print::ack_for_rejection(&one.invite, response)));
                self.news.push_back((now, number, CallerNews::Refused(status_code)));
                let was_left = matches!(one.phase, Phase::Left { .. });
                let next = (number, one.call, one.first_node, one.at_node);
                self.by_number.remove(&number);
                self.tries.remove(response.call_id());
                if was_left {
                    // Its call is elsewhere, or lost, since then.
                } else if status_code == 503 {
                    // RFC 3261 §21.5.4: another server may do.
                    self.try_next(next, now);
                } else {
                    self.news.push_back((now, number, CallerNews::Lost));
                }
            }
            (Phase::Heard { .. } | Phase::Talking(_) | Phase::Left { .. }, _)
            | (Phase::Calling { .. }, 0..100) => {}
        }
    }
}

impl Agent for Caller {
    fn handle(&mut self, message: &Message, from: SocketAddr, now: Instant) {
        if !message.is_request() {
            match message.method() {
                Method::Invite => self.on_invite_response(message, from, now),
                Method::Bye => {
                    let Some(one) = self.tries.get_mut(message.call_id()) else { return };
                    let Phase::Talking(talk) = &mut one.phase else { return };
                    if let Some(end) = talk.on_bye_answered(message.status_code()) {
                        self.news.push_back((now, one.number, CallerNews::Ended(end)));
                    }
                }
                _ => {}
            }
            return;
        }
        if message.method() == Method::Ack {
            return;
        }
        let one = self.tries.get_mut(message.call_id());
        let Some(Try { number, phase: Phase::Talking(talk), .. }) = one else {
            let code = if message.method() == Method::Options { 200 } else { 481 };
            let printer = Printer::response_to(message, code, b"", Some(b"none"), from);
            self.outputs.push_back((from, printer.finish(b"")));
            return;
        };
        let (answer, asked) = talk.on_request(message, from);
        self.outputs.push_back(answer);
        let news = match asked {
            Asked::Nothing => return,
            Asked::Moved(to) => CallerNews::Moved(to),
            Asked::Ended(end) => CallerNews::Ended(end),
        };
        self.news.push_back((now, *number, news));
    }

    fn handle_timeout(&mut self, now: Instant) {
        let mut left = Vec::new();
        for one in self.tries.values_mut() {
            match &mut one.phase {
                Phase::Calling { leave_at, .. } if now >= *leave_at => {
                    one.phase = Phase::Left { is_cancelled: false };
                    left.push((false, (one.number, one.call, one.first_node, one.at_node)));
                }
                Phase::Calling { invite, .. } => self.outputs.extend(invite.poll(now)),
                Phase::Heard { give_up_at, .. } if now >= *give_up_at => {
                    let node = self.settings.nodes
                        [(one.first_node + one.at_node) % self.settings.nodes.len()];
                    self.outputs.push_back((node, print::cancel_for(&one.invite, None)));
                    one.phase = Phase::Left { is_cancelled: true };
                    left.push((true, (one.number, one.call, one.first_node, one.at_node)));
                }
                Phase::Talking(talk) => {
                    if let Some(end) = talk.handle_timeout(now, &mut self.outputs) {
                        self.news.push_back((now, one.number, CallerNews::Ended(end)));
                    }
                }
                Phase::Heard { .. } | Phase::Left { .. } => {}
            }
        }
        left.sort_by_key(|(_, (number, ..))| *number);
        for (was_heard, next) in left {
            self.news.push_back((now, next.0, CallerNews::Left { was_heard }));
            if was_heard {
                // Whoever has heard something waits for it, and does not call again.
                self.news.push_back((now, next.0, CallerNews::Lost));
            } else {
                self.try_next(next, now);
            }
        }
    }

    fn poll_output(&mut self) -> Option<Sent> {
        self.outputs.pop_front()
    }
}

fn contact(own: SocketAddr) -> String {
    format!("<sip:caller@{own}>")
}
