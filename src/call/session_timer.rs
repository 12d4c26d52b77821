//! Session timers (RFC 4028), agreed on each leg by itself: who refreshes its dialog, how often, and when
//! a dialog that nobody refreshed is over.

use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::LegEvent;
use super::context::Context;
use super::leg::Leg;
use super::options::Options;
use crate::sip::name_addr::param;
use crate::sip::{HeaderName, Message, Printer};

/// The shortest interval there is (RFC 4028 §4), and what Min-SE is where nobody says.
pub const MIN_SE_S: u32 = 90;
/// Before a session expires its end is told, by this time at most (RFC 4028 §10).
const FAREWELL: Duration = Duration::from_secs(32);

/// What the settings want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPolicy {
    /// The interval that we ask for; 0 = none.
    pub session_expires_s: u32,
    /// The shortest interval that we take, [`MIN_SE_S`] at least.
    pub min_se_s: u32,
}

impl Default for SessionPolicy {
    /// Asks for nothing, and takes what RFC 4028 allows.
    fn default() -> Self {
        Self { session_expires_s: 0, min_se_s: MIN_SE_S }
    }
}

/// The session timer of one leg's dialog.
#[derive(Clone, Debug, Default)]
pub struct SessionTimer {
    pub agreed: Option<Agreed>,
    /// The largest Min-SE that the peer, or a proxy on the way to it, has named; 0 = none.
    pub min_se_s: u32,
    /// When we refresh next.
    pub refresh_at: Option<Instant>,
    /// How often an interval has begun.
    pub intervals: u32,
}

/// A session timer as another node needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSession {
    /// 0 = none.
    pub interval_s: u32,
    pub are_we_refresher: bool,
    pub is_negotiated: bool,
    pub min_se_s: u32,
    /// When the peer takes the session for over, unless it is refreshed.
    #[serde(default)]
    pub expires_at: Option<SystemTime>,
}

/// An interval in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    pub interval_s: u32,
    pub are_we_refresher: bool,
    /// The peer knows of it. Else we refresh for our own sake, and nothing expires.
    pub is_negotiated: bool,
    /// The last 2xx to a refresh.
    pub since: Instant,
}

impl SessionTimer {
    /// Whether a request asks for an interval that we refuse with 422. Without `timer` in Supported it
    /// was a proxy that asked, and a 422 would be the end of the call (RFC 4028 §8.1).
    pub fn is_too_small(request: &Message, policy: SessionPolicy) -> bool {
        interval_of(request).is_some_and(|(interval_s, _)| interval_s < policy.min_se_s)
            && Options::of(request, HeaderName::Supported).has(Options::TIMER)
    }

    /// What a 422 of ours says.
    pub fn write_refusal(policy: SessionPolicy, printer: &mut Printer) {
        printer.header_fmt(HeaderName::MinSe, format_args!("{}", policy.min_se_s));
    }

    /// Goes on with what another node had agreed on; the interval begins anew.
    pub fn resume(kept: KeptSession, now: Instant) -> Self {
        let KeptSession { interval_s, are_we_refresher, is_negotiated, min_se_s, .. } = kept;
        let mut this = Self { min_se_s, ..Self::default() };
        let agreed = Agreed { interval_s, are_we_refresher, is_negotiated, since: now };
        this.begin((interval_s > 0).then_some(agreed));
        this
    }

    pub fn kept(&self, wall_at: impl Fn(Instant) -> SystemTime) -> KeptSession {
        let min_se_s = self.min_se_s;
        match self.agreed {
            Some(Agreed { interval_s, are_we_refresher, is_negotiated, since }) => {
                let expires_at = since + Duration::from_secs(interval_s.into());
                let expires_at = is_negotiated.then(|| wall_at(expires_at));
                KeptSession { interval_s, are_we_refresher, is_negotiated, min_se_s, expires_at }
            }
            None => KeptSession { min_se_s, ..KeptSession::default() },
        }
    }

    /// Takes in the Min-SE of a refresh, or of a 422 to ours; says whether it is more than was known.
    pub fn note_min_se(&mut self, message: &Message) -> bool {
        let named_s = message.first(HeaderName::MinSe).and_then(seconds).unwrap_or(0);
        let is_more = named_s > self.min_se_s;
        self.min_se_s = self.min_se_s.max(named_s);
        is_more
    }

    /// Writes Session-Expires and Min-SE into an INVITE or UPDATE of ours (RFC 4028 §7.4).
    pub fn write_request(&self, policy: SessionPolicy, printer: &mut Printer) {
        if let Some(interval_s) = self.wanted_s(policy) {
            // The roles stay as they are; at first the peer chooses.
            let refresher = match self.agreed {
                Some(Agreed { are_we_refresher: true, .. }) => ";refresher=uac",
                Some(Agreed { are_we_refresher: false, .. }) => ";refresher=uas",
                None => "",
            };
            printer.header_fmt(HeaderName::SessionExpires, format_args!("{interval_s}{refresher}"));
        }
        let min_se_s = self.min_se_s.max(policy.min_se_s);
        if self.min_se_s > 0 || min_se_s > MIN_SE_S {
            printer.header_fmt(HeaderName::MinSe, format_args!("{min_se_s}"));
        }
    }

    /// Takes in a 2xx to an INVITE or UPDATE of ours (RFC 4028 §7.2).
    pub fn on_answer(&mut self, response: &Message, policy: SessionPolicy, now: Instant) {
        let agreed = match interval_of(response) {
            Some((interval_s, refresher)) => Some(Agreed {
                interval_s: interval_s.max(MIN_SE_S),
                are_we_refresher: refresher != Some(Refresher::Uas),
                is_negotiated: true,
                since: now,
            }),
            // The peer knows of no timer: whoever wants one refreshes.
            None => self.own(policy, now),
        };
        self.begin(agreed);
    }

    /// Answers the timer of a peer's INVITE or UPDATE: writes the 2xx's fields (RFC 4028 §9) and gives
    /// what holds from then on.
    pub fn write_answer(
        &self,
        request: &Message,
        policy: SessionPolicy,
        now: Instant,
        printer: &mut Printer,
    ) -> Option<Agreed> {
        let has_timer = Options::of(request, HeaderName::Supported).has(Options::TIMER);
        let asked = interval_of(request).filter(|(interval_s, _)| *interval_s >= MIN_SE_S);
        let least_s = request.first(HeaderName::MinSe).and_then(seconds).unwrap_or(MIN_SE_S);
        let (interval_s, are_we_refresher) = match (asked, has_timer) {
            (Some((interval_s, Some(Refresher::Uac))), true) => (interval_s, false),
            (Some((interval_s, Some(Refresher::Uas))), _) => (interval_s, true),
            (Some((interval_s, _)), false) => (interval_s, true),
            // It may refresh what it has asked for; a role that is there stays.
            (Some((interval_s, None)), true) => {
                (interval_s, self.agreed.is_some_and(|agreed| agreed.are_we_refresher))
            }
            (None, true) if policy.session_expires_s > 0 => {
                (policy.session_expires_s.max(least_s), true)
            }
            (None, true) => return None,
            (None, false) => return self.own(policy, now),
        };
        let refresher = if are_we_refresher { "uas" } else { "uac" };
        printer.header_fmt(
            HeaderName::SessionExpires,
            format_args!("{interval_s};refresher={refresher}"),
        );
        if has_timer {
            Options::TIMER.write(HeaderName::Require, printer);
        }
        Some(Agreed { interval_s, are_we_refresher, is_negotiated: true, since: now })
    }

    /// Has an interval begin anew, or none hold.
    pub fn begin(&mut self, agreed: Option<Agreed>) {
        self.agreed = agreed;
        self.intervals = self.intervals.wrapping_add(u32::from(agreed.is_some()));
        self.refresh_at = agreed
            .filter(|agreed| agreed.are_we_refresher)
            .map(|agreed| agreed.since + Duration::from_secs(agreed.interval_s.into()) / 2);
    }

    /// Our refresh was refused, though the dialog stands. An interval that the peer knows of runs on, and we
    /// try again while there is time.
    pub fn on_refused(&mut self, now: Instant) {
        match self.expires_at() {
            Some(expires_at) => {
                let pause = expires_at.saturating_duration_since(now) / 2;
                self.refresh_at = (pause >= FAREWELL).then(|| now + pause);
            }
            None => self.begin(None),
        }
    }

    /// When a session that was not refreshed is over: a little before the interval is (RFC 4028 §10).
    fn expires_at(&self) -> Option<Instant> {
        let agreed = self.agreed.filter(|agreed| agreed.is_negotiated)?;
        let interval = Duration::from_secs(agreed.interval_s.into());
        Some(agreed.since + interval - FAREWELL.min(interval / 3))
    }

    /// What we ask for; `None` where we want no timer and none is there.
    fn wanted_s(&self, policy: SessionPolicy) -> Option<u32> {
        let least_s = self.min_se_s.max(policy.min_se_s);
        match self.agreed {
            Some(agreed) => Some(agreed.interval_s.max(least_s)),
            None if policy.session_expires_s > 0 => Some(policy.session_expires_s.max(least_s)),
            None => None,
        }
    }

    /// Refreshes that the peer does not know the meaning of.
    fn own(&self, policy: SessionPolicy, now: Instant) -> Option<Agreed> {
        let wanted_s = self.wanted_s(policy).filter(|_| policy.session_expires_s > 0);
        wanted_s.map(|interval_s| Agreed {
            interval_s,
            are_we_refresher: true,
            is_negotiated: false,
            since: now,
        })
    }
}

impl Leg {
    pub(super) fn poll_session(&self) -> Option<Instant> {
        [self.session.refresh_at, self.session.expires_at()].into_iter().flatten().min()
    }

    /// Refreshes the session at half its interval, or finds that nobody did.
    pub(super) fn on_session_timeout(&mut self, cx: &mut Context) -> Option<LegEvent<'static>> {
        if self.session.expires_at().is_some_and(|at| at <= cx.now) {
            self.session.begin(None);
            return Some(LegEvent::Expired);
        }
        if self.session.refresh_at.take_if(|at| *at <= cx.now).is_some() {
            self.refresh(cx);
        }
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refresher {
    Uac,
    Uas,
}

/// The interval that a message names, and who is to refresh.
fn interval_of(message: &Message) -> Option<(u32, Option<Refresher>)> {
    let value = message.first(HeaderName::SessionExpires)?;
    let refresher = match param(value, "refresher") {
        Some(uac) if uac.eq_ignore_ascii_case(b"uac") => Some(Refresher::Uac),
        Some(uas) if uas.eq_ignore_ascii_case(b"uas") => Some(Refresher::Uas),
        Some(_) | None => None,
    };
    Some((seconds(value)?, refresher))
}

/// The number at the beginning of a value, before its parameters; what is too large is the largest.
fn seconds(value: &[u8]) -> Option<u32> {
    let digits = value.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let digits = std::str::from_utf8(&value[..digits]).ok().filter(|digits| !digits.is_empty())?;
    Some(digits.parse().unwrap_or(u32::MAX))
}
