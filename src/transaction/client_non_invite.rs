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

    /// The octets that were sent; empty once a final response has come.
    pub fn request(&self) -> &Bytes {
        &self.request
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

#[cfg(test)]
mod tests {
    use super::super::testing::{REQUEST, base, done, ms, run};
    use super::*;

    #[test]
    fn repeats_at_doubling_intervals_up_to_t2_then_times_out() {
        let mut world = World::new(false);
        let log = world.run();
        let sent: Vec<u64> =
            log.iter().filter(|(_, what)| what.starts_with("again")).map(|(at, _)| *at).collect();
        assert_eq!(
            sent,
            [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
        );
        assert_eq!(log.last(), Some(&(32_000, "time out".to_owned())));
    }

    #[test]
    fn repeats_every_t2_once_a_provisional_has_come() {
        let mut world = World::new(false);
        assert_eq!(world.receive(100), ["deliver"]);
        let log = world.run();
        let sent: Vec<u64> =
            log.iter().filter(|(_, what)| what.starts_with("again")).map(|(at, _)| *at).collect();
        assert_eq!(sent[..3], [500, 4_500, 8_500]);
        assert_eq!(log.last(), Some(&(32_000, "time out".to_owned())));
    }

    #[test]
    fn delivers_one_final_and_absorbs_its_repeats_for_t4() {
        for first in [None, Some(100)] {
            let mut world = World::new(false);
            if let Some(status_code) = first {
                world.receive(status_code);
            }
            assert_eq!(world.receive(200), ["deliver"]);
            assert_eq!(world.receive(200), Vec::<String>::new());
            assert_eq!(world.receive(100), Vec::<String>::new());
            assert_eq!(world.machine.poll_timeout(), Some(world.start + T4));
            assert_eq!(world.run(), []);
            assert!(world.machine.is_terminated());
        }
    }

    #[test]
    fn sends_once_and_ends_at_the_final_over_a_reliable_transport() {
        let mut world = World::new(true);
        assert_eq!(world.machine.poll_timeout(), Some(world.start + TRANSACTION_LIMIT));
        assert_eq!(world.receive(404), ["deliver"]);
        assert!(world.machine.is_terminated());
    }

    #[test]
    fn tells_of_a_transport_error_until_it_has_a_final_response() {
        let mut world = World::new(false);
        world.machine.on_transport_error(&mut world.actions);
        assert_eq!(done(&mut world.actions), ["time out"]);
        assert!(world.machine.is_terminated());

        let mut world = World::new(false);
        world.receive(200);
        world.machine.on_transport_error(&mut world.actions);
        assert_eq!(done(&mut world.actions), Vec::<String>::new());
    }

    #[test]
    fn ends_at_a_limit_that_comes_before_timer_f() {
        let mut world = World::new(false);
        world.machine.limit(world.start + ms(700));
        let log = world.run();
        assert_eq!(log.last(), Some(&(700, "time out".to_owned())));
    }

    #[test]
    fn does_nothing_once_terminated() {
        let mut world = World::new(false);
        world.run();
        assert_eq!(world.receive(200), Vec::<String>::new());
        world.machine.on_transport_error(&mut world.actions);
        world.machine.limit(world.start);
        assert_eq!(done(&mut world.actions), Vec::<String>::new());
        assert_eq!(world.machine.poll_timeout(), None);
    }

    struct World {
        machine: ClientNonInvite,
        actions: Actions,
        start: Instant,
    }

    impl World {
        fn new(is_reliable: bool) -> Self {
            let (start, mut actions) = (base(), Actions::default());
            let request = Bytes::from_static(REQUEST);
            let machine = ClientNonInvite::new(request, is_reliable, start, &mut actions);
            assert_eq!(done(&mut actions), ["send the request"]);
            Self { machine, actions, start }
        }

        fn receive(&mut self, status_code: u16) -> Vec<String> {
            self.machine.on_response(status_code, self.start, &mut self.actions);
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
