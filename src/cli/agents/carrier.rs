//! A carrier's door: rings, answers, or does not.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::dialog::Dialog;
use super::talk::{Asked, End, Talk, ok};
use super::{Agent, SDP, Sent};
use crate::sip::{HeaderName, Message, Method, Printer, Uri};

const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";
const ALLOW_WITH_UPDATE: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE";
/// Time from the INVITE to the answer; it rings at once.
const PICK_UP: Duration = Duration::from_millis(150);
/// Digits at the end of a called number that are the INVITE's number.
const NUMBER_DIGITS: usize = 7;

/// How a carrier treats what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Behaviour {
    /// Rings, then answers.
    Answers,
    /// Answers probes, and refuses every call with 503.
    Refuses,
    /// Answers everything but new calls, of which it says nothing.
    SwallowsCalls,
    /// Takes every datagram and says nothing.
    Swallows,
    /// Its port is closed.
    Dead,
}

#[derive(Clone, Debug)]
pub(in crate::cli) struct CarrierSettings {
    pub(in crate::cli) behaviour: Behaviour,
    /// Branches and tags begin with it: letters, digits and dashes that nobody else begins with.
    pub(in crate::cli) prefix: String,
}

/// What became of the INVITE whose number is in the number that it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum CarrierNews {
    Rang,
    Answered,
    /// The router's side of the call is at another address.
    Moved(SocketAddr),
    Ended(End),
}

#[derive(Debug)]
struct Leg {
    number: u64,
    /// Of the INVITEs that came here: one number may come twice, by way of two routers.
    serial: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Ringing {
        invite: Box<Message>,
        from: SocketAddr,
        answer_at: Instant,
    },
    Talking(Box<Talk>),
    /// With this, again and again.
    Refused(Sent),
    Swallowed,
}

#[derive(Debug)]
pub(in crate::cli) struct Carrier {
    own: SocketAddr,
    settings: CarrierSettings,
    legs: HashMap<Vec<u8>, Leg>,
    by_number: HashMap<u64, Vec<u8>>,
    /// Different INVITEs that came, and how many of them were answered.
    invites: u64,
    answers: u64,
    outputs: VecDeque<Sent>,
    news: VecDeque<(Instant, u64, CarrierNews)>,
}

impl Carrier {
    pub(in crate::cli) fn new(own: SocketAddr, settings: CarrierSettings) -> Self {
        Self {
            own,
            settings,
            legs: HashMap::new(),
            by_number: HashMap::new(),
            invites: 0,
            answers: 0,
            outputs: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    pub(in crate::cli) fn behaviour(&self) -> Behaviour {
        self.settings.behaviour
    }

    pub(in crate::cli) fn behave(&mut self, behaviour: Behaviour) {
        self.settings.behaviour = behaviour;
        if behaviour == Behaviour::Dead {
            // Whoever dies does not remember who rang.
            self.legs.retain(|_, leg| matches!(leg.phase, Phase::Talking(_)));
        }
    }

    /// Different INVITEs that came, and how many of them were answered.
    pub(in crate::cli) fn counts(&self) -> (u64, u64) {
        (self.invites, self.answers)
    }

    /// Hangs up an answered call, by the number of its INVITE; `false` where it is over.
    pub(in crate::cli) fn hang_up(&mut self, number: u64, now: Instant) -> bool {
        let call_id = self.by_number.get(&number);
        let found = call_id.and_then(|call_id| self.legs.get_mut(call_id));
        let Some(Leg { phase: Phase::Talking(talk), .. }) = found else { return false };
        let bye = talk.hang_up(now);
        let is_begun = bye.is_some();
        self.outputs.extend(bye);
        is_begun
    }

    /// When, which INVITE, what.
    pub(in crate::cli) fn poll_news(&mut self) -> Option<(Instant, u64, CarrierNews)> {
        self.news.pop_front()
    }

    fn on_invite(&mut self, invite: &Message, from: SocketAddr, now: Instant) {
        if let Some(leg) = self.legs.get(invite.call_id()) {
            let again = match &leg.phase {
                Phase::Talking(talk) => talk.answer_again(),
                Phase::Refused(refusal) => Some(refusal.clone()),
                Phase::Ringing { .. } | Phase::Swallowed => None,
            };
            self.outputs.extend(again);
            return;
        }
        self.invites += 1;
        let (number, serial) = (number_of(invite), self.invites);
        let phase = match self.settings.behaviour {
            Behaviour::Answers => {
                let trying = Printer::response_to(invite, 100, b"", None, from).finish(b"");
                self.outputs.push_back((from, trying));
                let tag = self.tag(serial);
                let mut ringing =
                    Printer::response_to(invite, 180, b"", Some(tag.as_bytes()), from);
                ringing.header(HeaderName::Contact, self.contact().as_bytes());
                self.outputs.push_back((from, ringing.finish(b"")));
                self.news.push_back((now, number, CarrierNews::Rang));
                Phase::Ringing { invite: Box::new(invite.clone()), from, answer_at: now + PICK_UP }
            }
            Behaviour::Refuses => {
                let refusal = self.final_response(invite, 503, serial, from);
                self.outputs.push_back(refusal.clone());
                Phase::Refused(refusal)
            }
            Behaviour::SwallowsCalls | Behaviour::Swallows | Behaviour::Dead => Phase::Swallowed,
        };
        let call_id = invite.call_id().to_vec();
        self.by_number.insert(number, call_id.clone());
        self.legs.insert(call_id, Leg { number, serial, phase });
    }

    /// RFC 3261 §9.2: the CANCEL is answered, and so is what it cancels.
    fn on_cancel(&mut self, cancel: &Message, from: SocketAddr) {
        let found = self.legs.get(cancel.call_id());
        let code = if found.is_some() { 200 } else { 481 };
        let answer = Printer::response_to(cancel, code, b"", Some(b"cancelled"), from);
        self.outputs.push_back((from, answer.finish(b"")));
        if let Some(Leg { serial, phase: Phase::Ringing { invite, from, .. }, .. }) = found {
            let terminated = self.final_response(invite, 487, *serial, *from);
            self.outputs.push_back(terminated.clone());
            if let Some(leg) = self.legs.get_mut(cancel.call_id()) {
                leg.phase = Phase::Refused(terminated);
            }
        }
    }

    fn final_response(&self, invite: &Message, code: u16, serial: u64, from: SocketAddr) -> Sent {
        let tag = self.tag(serial);
        (from, Printer::response_to(invite, code, b"", Some(tag.as_bytes()), from).finish(b""))
    }

    fn tag(&self, serial: u64) -> String {
        format!("{}-{serial}", self.settings.prefix)
    }

    fn contact(&self) -> String {
        format!("<sip:carrier@{}>", self.own)
    }
}

impl Agent for Carrier {
    fn handle(&mut self, message: &Message, from: SocketAddr, now: Instant) {
        if self.settings.behaviour == Behaviour::Swallows {
            if message.is_request()
                && message.method() == Method::Invite
                && message.to_tag().is_none()
            {
                self.on_invite(message, from, now);
            }
            return;
        }
        if !message.is_request() {
            let Some(leg) = self.legs.get_mut(message.call_id()) else { return };
            if let Phase::Talking(talk) = &mut leg.phase
                && message.method() == Method::Bye
                && let Some(end) = talk.on_bye_answered(message.status_code())
            {
                self.news.push_back((now, leg.number, CarrierNews::Ended(end)));
            }
            return;
        }
        match (message.method(), self.legs.get_mut(message.call_id())) {
            (Method::Ack, Some(Leg { phase: Phase::Talking(talk), .. })) => talk.on_ack(),
            (Method::Ack, _) => {}
            (Method::Invite, _) if message.to_tag().is_none() => self.on_invite(message, from, now),
            (Method::Cancel, _) => self.on_cancel(message, from),
            (_, Some(Leg { number, phase: Phase::Talking(talk), .. })) => {
                let (answer, asked) = talk.on_request(message, from);
                self.outputs.push_back(answer);
                match asked {
                    Asked::Nothing => {}
                    Asked::Moved(to) => self.news.push_back((now, *number, CarrierNews::Moved(to))),
                    Asked::Ended(end) => {
                        self.news.push_back((now, *number, CarrierNews::Ended(end)))
                    }
                }
            }
            (_, _) => {
                let code = if message.to_tag().is_some() { 481 } else { 200 };
                let answer = Printer::response_to(message, code, b"", Some(b"carrier"), from);
                self.outputs.push_back((from, answer.finish(b"")));
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let contact = self.contact();
        for leg in self.legs.values_mut() {
            match &mut leg.phase {
                Phase::Ringing { invite, from, answer_at } if now >= *answer_at => {
                    let (number, prefix) = (leg.number, &self.settings.prefix);
                    // Half of all phones understand UPDATE, whichever side hangs up.
                    let allow = if number / 2 % 2 == 0 { ALLOW_WITH_UPDATE } else { ALLOW };
                    let tag = format!("{prefix}-{}", leg.serial);
                    let ok = ok(invite, Some(&tag), &contact, allow, SDP, *from);
                    let branch = format!("z9hG4bK{tag}");
                    let dialog = Dialog::of_callee(invite, &tag, self.own, *from, &branch);
                    let mut talk = Box::new(Talk::new(dialog, contact.clone(), allow));
                    talk.answered(ok.clone(), now);
                    self.outputs.push_back(ok);
                    self.answers += 1;
                    self.news.push_back((now, number, CarrierNews::Answered));
                    leg.phase = Phase::Talking(talk);
                }
                Phase::Talking(talk) => {
                    if let Some(end) = talk.handle_timeout(now, &mut self.outputs) {
                        self.news.push_back((now, leg.number, CarrierNews::Ended(end)));
                    }
                }
                Phase::Ringing { .. } | Phase::Refused(_) | Phase::Swallowed => {}
            }
        }
    }

    fn poll_output(&mut self) -> Option<Sent> {
        self.outputs.pop_front()
    }

    fn is_open(&self) -> bool {
        self.settings.behaviour != Behaviour::Dead
    }
}

/// The digits at the end of the called number.
fn number_of(invite: &Message) -> u64 {
    let user = Uri::parse(invite.request_uri()).and_then(|uri| uri.user).unwrap_or_default();
    let digits = &user[user.len().saturating_sub(NUMBER_DIGITS)..];
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}
