//! The non-INVITE client transaction (RFC 3261 §17.1.2).
//!
//! Sends one request until it is answered, and absorbs what the network repeats afterwards.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::actions::Actions;
use super::timer::{Deadlines, T1, T2, T4, TRANSACTION_LIMIT, Timer};

/// A request other than INVITE or ACK that we sent, until its transaction has ended.
///
/// Driven as [`ClientInvite`](super::ClientInvite) is.
#[derive(Debug)]
pub struct ClientNonInvite {
    /// The octets on the wire; empty once nothing can need them.
    request: Bytes,
    /// Whether the transport repeats lost messages itself: Timers E and K are then not armed.
    is_reliable: bool,
    state: State,
    deadlines: Deadlines,
}

/// Figure 6 of RFC 3261.
///
/// ```text
///   E: send ┌────────┐ 1xx: deliver ┌────────────┐ E: send (every T2), 1xx: deliver
///      ┌───>│ Trying │─────────────>│ Proceeding │<───┐
///      └────┴───┬────┘              └─────┬──────┴────┘
///               │ 2xx–6xx: deliver        │      F (either): time out → Terminated
///               v                         v
///          ┌─────────────────────────────────┐  K
///          │            Completed            │────> Terminated
///          └─────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// `interval` is the last one armed for Timer E.
    Trying {
        interval: Duration,
    },
    Proceeding,
    Completed,
    Terminated,
}

impl ClientNonInvite {
    pub fn new(request: Bytes, is_reliable: bool, now: Instant, actions: &mut Actions) -> Self {
        actions.send(&request);
        let state = State::Trying { interval: T1 };
        let mut this = Self { request, is_reliable, state, deadlines: Deadlines::default() };
        if !is_reliable {
            this.deadlines.arm(Timer::E, now + T1);
        }
        this.deadlines.arm(Timer::F, now + TRANSACTION_LIMIT);
        this
    }

    pub fn on_response(&mut self, status_code: u16, now: Instant, actions: &mut Actions) {
        self.state = match self.state {
            State::Trying { .. } | State::Proceeding => {
                actions.deliver();
                if status_code < 200 {
                    // §17.1.2.2: F runs on; E, when it next fires, is armed at T2.
                    State::Proceeding
                } else {
                    self.complete(now)
                }
            }
            // Absorbing these is what Completed is for.
            State::Completed => State::Completed,
            State::Terminated => State::Terminated,
        };
    }

    pub fn on_timeout(&mut self, now: Instant, actions: &mut Actions) {
        while let Some(timer) = self.deadlines.take_expired(now) {
            self.state = match timer {
                Timer::E => self.send_again(now, actions),
                Timer::F => {
                    actions.time_out();
                    self.terminate()
                }
                _ => self.terminate(),
            };
        }
    }

    /// The transport could not deliver (RFC 3261 §17.1.4).
    pub fn on_transport_error(&mut self, actions: &mut Actions) {
        self.state = match self.state {
            State::Trying { .. } | State::Proceeding => {
                actions.time_out();
                self.terminate()
            }
            State::Completed => State::Completed,
            State::Terminated => State::Terminated,
        };
    }

    /// Brings Timer F forward, for a request whose answer is worth less than 32 s.
    pub fn limit(&mut self, at: Instant) {
        if matches!(self.state, State::Trying { .. } | State::Proceeding) {
            self.deadlines.arm(Timer::F, at);
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    fn send_again(&mut self, now: Instant, actions: &mut Actions) -> State {
        let (state, interval) = match self.state {
            State::Trying { interval } => {
                let interval = T2.min(2 * interval);
                (State::Trying { interval }, interval)
            }
            State::Proceeding => (State::Proceeding, T2),
            State::Completed | State::Terminated => return self.state,
        };
        actions.send_again(&self.request);
        self.deadlines.arm(Timer::E, now + interval);
        state
    }

    fn complete(&mut self, now: Instant) -> State {
        if self.is_reliable {
            return self.terminate();
        }
        self.request = Bytes::new();
        self.deadlines.stop_all();
        self.deadlines.arm(Timer::K, now + T4);
        State::Completed
    }

    fn terminate(&mut self) -> State {
        self.request = Bytes::new();
        self.deadlines.stop_all();
        State::Terminated
    }
}
