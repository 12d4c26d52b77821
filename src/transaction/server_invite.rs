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

#[cfg(test)]
mod tests {
    use super::super::testing::{base, done, run};
    use super::*;

    const NOTHING: [String; 0] = [];

    #[test]
    fn says_nothing_to_a_repeated_invite_before_its_first_response() {
        let mut world = World::new(false);
        assert_eq!(world.invite(), NOTHING);
        assert!(world.machine.is_proceeding());
        assert_eq!(world.machine.poll_timeout(), None);
    }

    #[test]
    fn repeats_the_last_provisional_to_a_repeated_invite() {
        let mut world = World::new(false);
        assert_eq!(world.respond(100), ["send 100"]);
        assert_eq!(world.respond(180), ["send 180"]);
        assert_eq!(world.invite(), ["again 180"]);
        assert_eq!(world.ack(), NOTHING);
    }

    #[test]
    fn repeats_a_rejection_from_t1_doubling_to_t2_until_timer_h() {
        let mut world = World::new(false);
        assert_eq!(world.respond(486), ["send 486"]);
        let log = world.run();
        let sent: Vec<u64> =
            log.iter().filter(|(_, what)| what == "again 486").map(|(at, _)| *at).collect();
        assert_eq!(
            sent,
            [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
        );
        assert_eq!(log.last(), Some(&(32_000, "time out".to_owned())));
        assert!(world.machine.is_terminated());
    }

    #[test]
    fn repeats_a_rejection_to_a_repeated_invite_and_sends_no_other() {
        let mut world = World::new(false);
        world.respond(486);
        assert_eq!(world.invite(), ["again 486"]);
        assert_eq!(world.respond(180), NOTHING);
        assert_eq!(world.respond(200), NOTHING);
        assert_eq!(world.respond(500), NOTHING);
    }

    #[test]
    fn absorbs_repeated_acks_for_timer_i_once_confirmed() {
        let mut world = World::new(false);
        world.respond(486);
        assert_eq!(world.ack(), NOTHING);
        assert_eq!(world.ack(), NOTHING);
        assert_eq!(world.invite(), NOTHING);
        assert_eq!(world.respond(200), NOTHING);
        assert_eq!(world.machine.poll_timeout(), Some(world.start + T4));
        assert_eq!(world.run(), []);
        assert!(world.machine.is_terminated());
    }

    #[test]
    fn sends_a_rejection_once_and_ends_at_its_ack_over_a_reliable_transport() {
        let mut world = World::new(true);
        world.respond(486);
        assert_eq!(world.machine.poll_timeout(), Some(world.start + TRANSACTION_LIMIT));
        assert_eq!(world.ack(), NOTHING);
        assert!(world.machine.is_terminated());
    }

    #[test]
    fn leaves_the_repetition_of_a_2xx_to_the_core_for_timer_l() {
        let mut world = World::new(false);
        assert_eq!(world.respond(200), ["send 200"]);
        assert_eq!(world.invite(), NOTHING);
        assert_eq!(world.respond(200), ["again 200"]);
        assert_eq!(world.respond(180), NOTHING);
        assert_eq!(world.respond(486), NOTHING);
        assert_eq!(world.ack(), ["deliver"]);
        assert_eq!(world.machine.poll_timeout(), Some(world.start + TRANSACTION_LIMIT));
        assert_eq!(world.run(), []);
        assert!(world.machine.is_terminated());
    }

    #[test]
    fn does_nothing_once_terminated() {
        let mut world = World::new(false);
        world.respond(200);
        world.run();
        assert_eq!(world.invite(), NOTHING);
        assert_eq!(world.ack(), NOTHING);
        assert_eq!(world.respond(200), NOTHING);
    }

    struct World {
        machine: ServerInvite,
        actions: Actions,
        start: Instant,
    }

    impl World {
        fn new(is_reliable: bool) -> Self {
            let machine = ServerInvite::new(is_reliable);
            Self { machine, actions: Actions::default(), start: base() }
        }

        fn respond(&mut self, status_code: u16) -> Vec<String> {
            let octets = Bytes::from(status_code.to_string());
            self.machine.respond(status_code, octets, self.start, &mut self.actions);
            done(&mut self.actions)
        }

        fn invite(&mut self) -> Vec<String> {
            self.machine.on_invite(&mut self.actions);
            done(&mut self.actions)
        }

        fn ack(&mut self) -> Vec<String> {
            self.machine.on_ack(self.start, &mut self.actions);
            done(&mut self.actions)
        }

        fn run(&mut self) -> Vec<(u64, String)> {
            let machine = &mut self.machine;
            run(self.start, &mut self.actions, |turn| {
                if let Some((now, actions)) = turn {
                    machine.on_timeout(now, actions);
                }
                machine.poll_timeout()
            })
        }
    }
}
