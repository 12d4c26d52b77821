//! The non-INVITE server transaction (RFC 3261 §17.2.2).
//!
//! Absorbs a repeated request until it is answered, and then repeats the answer.

use std::time::Instant;

use bytes::Bytes;

use super::actions::Actions;
use super::timer::{Deadlines, TRANSACTION_LIMIT, Timer};

/// A request other than INVITE or ACK that we received, until its transaction has ended.
#[derive(Debug)]
pub struct ServerNonInvite {
    is_reliable: bool,
    state: State,
    deadlines: Deadlines,
}

/// Figure 8 of RFC 3261.
///
/// ```text
///   request: absorb ┌────────┐ 1xx: send ┌────────────┐ request: send last, 1xx: send
///             ┌────>│ Trying │──────────>│ Proceeding │<───┐
///             └─────┴───┬────┘           └─────┬──────┴────┘
///                       │ 2xx–6xx: send        │
///                       v                      v
///                   ┌──────────────────────────────┐ J
///   request: send   │          Completed           │───> Terminated
///                   └──────────────────────────────┘
/// ```
#[derive(Debug)]
enum State {
    Trying,
    Proceeding { last: Bytes },
    Completed { response: Bytes },
    Terminated,
}

impl ServerNonInvite {
    pub fn new(is_reliable: bool) -> Self {
        Self { is_reliable, state: State::Trying, deadlines: Deadlines::default() }
    }

    /// Sends a response of the core; after a final one nothing is sent (RFC 3261 §17.2.2: discarded).
    pub fn respond(
        &mut self,
        status_code: u16,
        response: Bytes,
        now: Instant,
        actions: &mut Actions,
    ) {
        let state = std::mem::replace(&mut self.state, State::Terminated);
        self.state = match state {
            State::Trying | State::Proceeding { .. } => {
                actions.send(&response);
                if status_code < 200 {
                    State::Proceeding { last: response }
                } else if self.is_reliable {
                    State::Terminated
                } else {
                    self.deadlines.arm(Timer::J, now + TRANSACTION_LIMIT);
                    State::Completed { response }
                }
            }
            State::Completed { .. } | State::Terminated => state,
        };
    }

    /// The same request came again.
    pub fn on_request(&mut self, actions: &mut Actions) {
        match &self.state {
            State::Proceeding { last } => actions.send_again(last),
            State::Completed { response } => actions.send_again(response),
            State::Trying | State::Terminated => {}
        }
    }

    pub fn on_timeout(&mut self, now: Instant) {
        while self.deadlines.take_expired(now).is_some() {
            self.state = State::Terminated;
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }
}
