//! The INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1).
//!
//! Repeats the last response to a repeated INVITE, and a rejection until its ACK comes. A 2xx is
//! repeated by the core (RFC 3261 §13.3.1.4), which knows when its ACK has come.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::actions::Actions;
use super::timer::{Deadlines, T1, T2, T4, TRANSACTION_LIMIT, Timer};

/// An INVITE that we received, until its transaction has ended.
#[derive(Debug)]
pub struct ServerInvite {
    is_reliable: bool,
    state: State,
    deadlines: Deadlines,
}

/// Figure 7 of RFC 3261 with the Accepted state of RFC 6026.
///
/// ```text
///              ┌────────────┐ INVITE: send last, 1xx: send
///              │ Proceeding │<───┐
///              └──┬──────┬──┴────┘
///  3xx–6xx: send  │      │ 2xx: send
///                 v      v
///  INVITE, G: ┌───────────┐  ┌──────────┐ INVITE: absorb, 2xx: send
///  send       │ Completed │  │ Accepted │
///             └──┬─────┬──┘  └────┬─────┘
///           ACK  │     │ H: time out  │ L
///                v     │              │
///          ┌───────────┐              │
///          │ Confirmed │──────────────┴──> Terminated
///          └───────────┘ I
/// ```
#[derive(Debug)]
enum State {
    /// The last provisional response, for repeated INVITEs; none before the first.
    Proceeding {
        last: Option<Bytes>,
    },
    /// `interval` is the last one armed for Timer G.
    Completed {
        response: Bytes,
        interval: Duration,
    },
    Confirmed,
    Accepted,
    Terminated,
}

impl ServerInvite {
    pub fn new(is_reliable: bool) -> Self {
        Self {
            is_reliable,
            state: State::Proceeding { last: None },
            deadlines: Deadlines::default(),
        }
    }

    /// Sends a response of the core. After a rejection, and for a 1xx after any final one, nothing is sent.
    pub fn respond(
        &mut self,
        status_code: u16,
        response: Bytes,
        now: Instant,
        actions: &mut Actions,
    ) {
        let state = std::mem::replace(&mut self.state, State::Terminated);
        self.state = match state {
            State::Proceeding { .. } => {
                actions.send(&response);
                match status_code {
                    100..200 => State::Proceeding { last: Some(response) },
                    200..300 => {
                        self.deadlines.arm(Timer::L, now + TRANSACTION_LIMIT);
                        State::Accepted
                    }
                    _ => {
                        if !self.is_reliable {
                            self.deadlines.arm(Timer::G, now + T1);
                        }
                        self.deadlines.arm(Timer::H, now + TRANSACTION_LIMIT);
                        State::Completed { response, interval: T1 }
                    }
                }
            }
            State::Accepted => {
                // RFC 6026 §7.1: the core's repetitions of its 2xx pass.
                if (200..300).contains(&status_code) {
                    actions.send_again(&response);
                }
                State::Accepted
            }
            State::Completed { .. } | State::Confirmed | State::Terminated => state,
        };
    }

    /// The same INVITE came again.
    pub fn on_invite(&mut self, actions: &mut Actions) {
        match &self.state {
            State::Proceeding { last: Some(response) } | State::Completed { response, .. } => {
                actions.send_again(response);
            }
            // Nothing was sent yet; or the caller has its answer and the core repeats it.
            State::Proceeding { last: None }
            | State::Confirmed
            | State::Accepted
            | State::Terminated => {}
        }
    }

    /// An ACK that matches this transaction: of a rejection, it ends here; of a 2xx it is delivered.
    pub fn on_ack(&mut self, now: Instant, actions: &mut Actions) {
        match self.state {
            State::Completed { .. } => {
                self.deadlines.stop_all();
                if self.is_reliable {
                    self.state = State::Terminated;
                } else {
                    self.deadlines.arm(Timer::I, now + T4);
                    self.state = State::Confirmed;
                }
            }
            State::Accepted => actions.deliver(),
            // Repeated, or for a response that was not sent.
            State::Confirmed | State::Proceeding { .. } | State::Terminated => {}
        }
    }

    pub fn on_timeout(&mut self, now: Instant, actions: &mut Actions) {
        while let Some(timer) = self.deadlines.take_expired(now) {
            match timer {
                Timer::G => self.send_again(now, actions),
                Timer::H => {
                    actions.time_out();
                    self.terminate();
                }
                _ => self.terminate(),
            }
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// No final response has been sent yet.
    pub fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }

    fn send_again(&mut self, now: Instant, actions: &mut Actions) {
        if let State::Completed { response, interval } = &mut self.state {
            *interval = T2.min(2 * *interval);
            actions.send_again(response);
            self.deadlines.arm(Timer::G, now + *interval);
        }
    }

    fn terminate(&mut self) {
        self.deadlines.stop_all();
        self.state = State::Terminated;
    }
}
