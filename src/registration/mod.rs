//! One registration at a carrier as a value (RFC 3261 §10.2): when a REGISTER is due, where it goes, and what its
//! answer means. It knows no messages; credentials are its owner's business.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// First pause once all targets have failed; it doubles with each further round.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause, and longest Retry-After that is honoured.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The longest time that a registrar may make us ask for (RFC 3261 §10.3: a minimum of an hour or less is refused to
/// nobody).
const LONGEST: Duration = Duration::from_secs(86_400);
/// The shortest time between two REGISTERs that are accepted, whatever a registrar grants.
const SHORTEST_REFRESH: Duration = Duration::from_secs(5);

/// A REGISTER to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub target: SocketAddr,
    /// For the Expires header; zero ends the registration.
    pub expires: Duration,
}

/// The registration with one gateway.
///
/// The owner calls [`on_timeout`](Self::on_timeout) when it is time, sends every [`Ask`] that comes out, tells how each
/// went by one of [`on_accepted`](Self::on_accepted), [`on_too_brief`](Self::on_too_brief) and
/// [`on_refused`](Self::on_refused), and drops it once [`is_over`](Self::is_over) holds.
#[derive(Debug)]
pub struct Binding {
    /// What we ask for: the admin's wish, or more where the registrar wants more.
    wanted: Duration,
    state: State,
    /// Rounds over all targets that have failed since the last success.
    failures: u32,
    held: Option<Held>,
    is_leaving: bool,
}

/// ```text
///            due             accepted, or all targets failed
///   Waiting ─────> Asking ──────────────────────────────────> Waiting
///      │ leave        │ refused: the next target
///      v              └──> Asking
///   Asking (zero) ──> Over
/// ```
#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Asking { ask: Ask, tried: SmallVec<[SocketAddr; 4]> },
    Over,
}

/// What a registrar has granted.
#[derive(Clone, Copy, Debug)]
struct Held {
    target: SocketAddr,
    until: Instant,
}

impl Binding {
    /// Due at once.
    pub fn new(wanted: Duration, now: Instant) -> Self {
        let state = State::Waiting { until: now };
        Self { wanted, state, failures: 0, held: None, is_leaving: false }
    }

    /// When a REGISTER is due, or what is held runs out.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = match &self.state {
            State::Waiting { until } => Some(*until),
            State::Asking { .. } | State::Over => None,
        };
        due.into_iter().chain(self.held.map(|held| held.until)).min()
    }

    /// `targets`: the gateway's addresses, in order. `draw`: 0.0 to 1.0, for pauses that nodes do not make together.
    pub fn on_timeout(&mut self, targets: &[SocketAddr], draw: f64, now: Instant) -> Option<Ask> {
        self.held.take_if(|held| held.until <= now);
        match &self.state {
            State::Waiting { until } if *until <= now => {
                let known = self.held.map(|held| held.target).filter(|it| targets.contains(it));
                match known.or(targets.first().copied()) {
                    Some(target) => Some(self.ask(target, self.wanted, SmallVec::new())),
                    None => {
                        self.pause(None, draw, now);
                        None
                    }
                }
            }
            State::Waiting { .. } | State::Asking { .. } | State::Over => None,
        }
    }

    /// A 2xx. `granted`: for how long our contact is registered there.
    pub fn on_accepted(&mut self, granted: Duration, now: Instant) -> Option<Ask> {
        let State::Asking { ask, .. } = &self.state else { return None };
        let target = ask.target;
        self.failures = 0;
        if granted.is_zero() || ask.expires.is_zero() {
            self.held = None;
            // Nothing was to be granted, or a registrar granted nothing: later, as after a failure.
            self.state = match self.is_leaving {
                true => State::Over,
                false => State::Waiting { until: now + FIRST_PAUSE },
            };
            return None;
        }
        let granted = granted.min(LONGEST);
        self.held = Some(Held { target, until: now + granted });
        // Time for another target, and for a pause, before it runs out.
        let until = now + (granted * 3 / 4).max(SHORTEST_REFRESH);
        self.state = State::Waiting { until };
        if self.is_leaving { self.leave() } else { None }
    }

    /// A 423 with its Min-Expires (RFC 3261 §10.2.8).
    pub fn on_too_brief(
        &mut self,
        at_least: Duration,
        targets: &[SocketAddr],
        draw: f64,
        now: Instant,
    ) -> Option<Ask> {
        let State::Asking { ask, tried } = &mut self.state else { return None };
        if at_least <= ask.expires || at_least > LONGEST || self.is_leaving {
            return self.on_refused(targets, None, draw, now);
        }
        self.wanted = at_least;
        let (target, tried) = (ask.target, std::mem::take(tried));
        Some(self.ask(target, at_least, tried))
    }

    /// Any other end: a refusal, silence, a port that is closed. The gateway's next target is asked at once.
    pub fn on_refused(
        &mut self,
        targets: &[SocketAddr],
        retry_after: Option<Duration>,
        draw: f64,
        now: Instant,
    ) -> Option<Ask> {
        let State::Asking { ask, tried } = &mut self.state else { return None };
        if self.is_leaving {
            // It runs out by itself.
            self.state = State::Over;
            return None;
        }
        let mut tried = std::mem::take(tried);
        tried.push(ask.target);
        match targets.iter().find(|target| !tried.contains(target)) {
            Some(target) => Some(self.ask(*target, self.wanted, tried)),
            None => {
                self.pause(retry_after, draw, now);
                None
            }
        }
    }

    /// Where we are registered is not to be reached: due at once, unless the others have just failed.
    pub fn hurry(&mut self, now: Instant) {
        if let State::Waiting { until } = &mut self.state
            && self.failures == 0
        {
            *until = now.min(*until);
        }
    }

    /// Ends the registration: what is held is given back.
    pub fn leave(&mut self) -> Option<Ask> {
        self.is_leaving = true;
        match (&self.state, self.held) {
            // Its answer decides.
            (State::Asking { .. }, _) | (State::Over, _) => None,
            (State::Waiting { .. }, Some(held)) => {
                Some(self.ask(held.target, Duration::ZERO, SmallVec::new()))
            }
            (State::Waiting { .. }, None) => {
                self.state = State::Over;
                None
            }
        }
    }

    /// Where we are registered now.
    pub fn registered_at(&self) -> Option<SocketAddr> {
        self.held.map(|held| held.target)
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    fn ask(
        &mut self,
        target: SocketAddr,
        expires: Duration,
        tried: SmallVec<[SocketAddr; 4]>,
    ) -> Ask {
        let ask = Ask { target, expires };
        self.state = State::Asking { ask, tried };
        ask
    }

    /// Waits until the next round: longer with each failure, with up to half of it drawn (as RFC 5626 §4.5).
    fn pause(&mut self, retry_after: Option<Duration>, draw: f64, now: Instant) {
        let doubled = FIRST_PAUSE * 2_u32.pow(self.failures.min(10));
        let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + 0.5 * draw.clamp(0.0, 1.0));
        let asked = retry_after.unwrap_or_default().min(LONGEST_PAUSE);
        self.failures += 1;
        self.state = State::Waiting { until: now + pause.max(asked) };
    }
}

#[cfg(test)]
mod tests;
