//! The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2).
//!
//! Sends one INVITE until it is answered, acknowledges its rejection, and hands every repeated 2xx
//! to the core.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::actions::Actions;
use super::timer::{Deadlines, T1, TIMER_D, TRANSACTION_LIMIT, Timer};
use crate::sip::{Message, print};

/// An INVITE that we sent, until its transaction has ended.
///
/// The owner calls [`on_response`](Self::on_response) and [`on_timeout`](Self::on_timeout) with
/// times that never go back, carries out `actions` after each call, and drops the machine once
/// [`is_terminated`](Self::is_terminated) holds.
#[derive(Debug)]
pub struct ClientInvite {
    /// The octets on the wire; empty once nothing can need them.
    request: Bytes,
    /// Whether the transport repeats lost messages itself: Timer A is then not armed, D is zero.
    is_reliable: bool,
    state: State,
    deadlines: Deadlines,
}

/// Figure 5 of RFC 3261 with the Accepted state of RFC 6026.
///
/// ```text
///   A: send ┌─────────┐ 1xx: deliver ┌────────────┐ 1xx: deliver
///      ┌───>│ Calling │─────────────>│ Proceeding │<───┐
///      └────┴─┬────┬──┘              └──┬──────┬──┴────┘
///             │    │ 2xx: deliver       │      │     B (Calling, or once a limit is set): time out → Terminated
///             │    └──────────┬─────────│──────┘
///             │ 3xx–6xx: ACK, deliver   │ 3xx–6xx: ACK, deliver
///             v               v         v
///         ┌───────────┐  ┌──────────┐   │
///         │ Completed │<─│──────────│───┘
///         └─────┬─────┘  │ Accepted │ 2xx: deliver
///    3xx–6xx:   │ D      └────┬─────┘
///    ACK        └──────┬──────┘ M
///                      v
///                 Terminated
/// ```
#[derive(Debug)]
enum State {
    /// `interval` is the last one armed for Timer A.
    Calling {
        interval: Duration,
    },
    Proceeding,
    Completed {
        ack: Bytes,
    },
    Accepted,
    Terminated,
}

impl ClientInvite {
    pub fn new(request: Bytes, is_reliable: bool, now: Instant, actions: &mut Actions) -> Self {
        actions.send(&request);
        let mut deadlines = Deadlines::default();
        if !is_reliable {
            deadlines.arm(Timer::A, now + T1);
        }
        deadlines.arm(Timer::B, now + TRANSACTION_LIMIT);
        Self { request, is_reliable, state: State::Calling { interval: T1 }, deadlines }
    }

    /// The octets that were sent; empty in Accepted and Terminated.
    pub fn request(&self) -> &Bytes {
        &self.request
    }

    /// Whether any response has come, so that a CANCEL may be sent (RFC 3261 §9.1).
    pub fn is_cancellable(&self) -> bool {
        matches!(self.state, State::Proceeding)
    }

    pub fn on_response(&mut self, response: &Message, now: Instant, actions: &mut Actions) {
        let status_code = response.status_code();
        let state = std::mem::replace(&mut self.state, State::Terminated);
        self.state = match state {
            State::Calling { .. } | State::Proceeding => match status_code {
                100..200 => self.proceed(&state, actions),
                200..300 => self.accept(now, actions),
                _ => self.complete(response, now, actions),
            },
            State::Completed { ack } => {
                // §17.1.1.2: a repeated final response is acknowledged again, and not delivered.
                if status_code >= 300 {
                    actions.send_again(&ack);
                }
                State::Completed { ack }
            }
            State::Accepted => {
                // RFC 6026 §7.2: every 2xx goes to the core, which acknowledges it.
                if (200..300).contains(&status_code) {
                    actions.deliver();
                }
                State::Accepted
            }
            State::Terminated => State::Terminated,
        };
    }

    pub fn on_timeout(&mut self, now: Instant, actions: &mut Actions) {
        while let Some(timer) = self.deadlines.take_expired(now) {
            match timer {
                Timer::A => self.send_again(now, actions),
                Timer::B => {
                    actions.time_out();
                    self.terminate();
                }
                _ => self.terminate(),
            }
        }
    }

    /// The transport could not deliver (RFC 3261 §17.1.4): the owner is told once, as of a time-out.
    pub fn on_transport_error(&mut self, actions: &mut Actions) {
        match self.state {
            State::Calling { .. } | State::Proceeding => {
                actions.time_out();
                self.terminate();
            }
            // The peer has answered: what is lost now is an ACK, which its retransmission asks for again.
            State::Completed { .. } | State::Accepted | State::Terminated => {}
        }
    }

    /// Stops repeating the INVITE and limits the wait for its end: the owner wants no answer any more.
    pub fn abandon(&mut self, now: Instant) {
        match self.state {
            State::Calling { .. } => self.deadlines.stop(Timer::A),
            State::Proceeding => self.limit(now + TRANSACTION_LIMIT),
            State::Completed { .. } | State::Accepted | State::Terminated => {}
        }
    }

    /// Gives a transaction that is proceeding a last moment; without one it waits for ever.
    pub fn limit(&mut self, at: Instant) {
        if matches!(self.state, State::Proceeding) {
            self.deadlines.arm(Timer::B, at);
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }

    fn proceed(&mut self, from: &State, actions: &mut Actions) -> State {
        if matches!(from, State::Calling { .. }) {
            self.deadlines.stop_all();
        }
        actions.deliver();
        State::Proceeding
    }

    fn accept(&mut self, now: Instant, actions: &mut Actions) -> State {
        actions.deliver();
        self.request = Bytes::new();
        self.deadlines.stop_all();
        self.deadlines.arm(Timer::M, now + TRANSACTION_LIMIT);
        State::Accepted
    }

    fn complete(&mut self, response: &Message, now: Instant, actions: &mut Actions) -> State {
        let ack = print::ack_for_rejection(&self.request, response);
        actions.send(&ack);
        actions.deliver();
        self.deadlines.stop_all();
        if self.is_reliable {
            return State::Terminated;
        }
        self.deadlines.arm(Timer::D, now + TIMER_D);
        State::Completed { ack }
    }

    fn send_again(&mut self, now: Instant, actions: &mut Actions) {
        if let State::Calling { interval } = &mut self.state {
            *interval *= 2;
            actions.send_again(&self.request);
            self.deadlines.arm(Timer::A, now + *interval);
        }
    }

    fn terminate(&mut self) {
        self.deadlines.stop_all();
        self.request = Bytes::new();
        self.state = State::Terminated;
    }
}
