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

#[cfg(test)]
mod tests {
    use super::super::testing::{base, done, invite, ms, response, run};
    use super::*;

    const INVITE: &str = "INVITE sip:bob@192.0.2.4 SIP/2.0";
    const ACK: &str = "ACK sip:bob@192.0.2.4 SIP/2.0";

    #[test]
    fn repeats_at_doubling_intervals_then_times_out_after_64_t1() {
        let mut world = World::new(false);
        let log = world.run();
        let sent: Vec<u64> =
            log.iter().filter(|(_, what)| what.starts_with("again")).map(|(at, _)| *at).collect();
        assert_eq!(sent, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
        assert_eq!(log.last(), Some(&(32_000, "time out".to_owned())));
        assert!(world.machine.is_terminated());
    }

    #[test]
    fn sends_once_over_a_reliable_transport() {
        let mut world = World::new(true);
        assert_eq!(world.run(), [(32_000, "time out".to_owned())]);
    }

    #[test]
    fn waits_for_ever_once_a_provisional_has_come() {
        let mut world = World::new(false);
        assert_eq!(world.receive(180), ["deliver"]);
        assert_eq!(world.machine.poll_timeout(), None);
        assert!(world.machine.is_cancellable());
        assert_eq!(world.receive(183), ["deliver"]);
    }

    #[test]
    fn times_out_when_a_limit_is_set_on_a_proceeding_one() {
        let mut world = World::new(false);
        world.receive(100);
        world.machine.limit(world.start + ms(200));
        assert_eq!(world.run(), [(200, "time out".to_owned())]);
    }

    #[test]
    fn sets_no_limit_before_a_provisional_and_after_a_final() {
        let mut world = World::new(false);
        let before = world.machine.poll_timeout();
        world.machine.limit(world.start);
        assert_eq!(world.machine.poll_timeout(), before);
        world.receive(200);
        world.machine.limit(world.start);
        assert_eq!(world.machine.poll_timeout(), Some(world.start + TRANSACTION_LIMIT));
    }

    #[test]
    fn acknowledges_and_delivers_a_rejection_and_absorbs_its_repeats_for_timer_d() {
        for first in [None, Some(180)] {
            let mut world = World::new(false);
            if let Some(status_code) = first {
                world.receive(status_code);
            }
            assert_eq!(world.receive(486), [format!("send {ACK}"), "deliver".to_owned()]);
            assert_eq!(world.receive(486), [format!("again {ACK}")]);
            assert_eq!(world.receive(180), Vec::<String>::new());
            assert_eq!(world.receive(200), Vec::<String>::new());
            assert_eq!(world.machine.poll_timeout(), Some(world.start + TIMER_D));
            assert_eq!(world.run(), []);
            assert!(world.machine.is_terminated());
        }
    }

    #[test]
    fn ends_at_a_rejection_over_a_reliable_transport() {
        let mut world = World::new(true);
        world.receive(486);
        assert!(world.machine.is_terminated());
    }

    #[test]
    fn hands_every_2xx_to_the_core_for_timer_m() {
        for is_reliable in [false, true] {
            let mut world = World::new(is_reliable);
            assert_eq!(world.receive(200), ["deliver"]);
            assert_eq!(world.receive(200), ["deliver"]);
            assert_eq!(world.receive(180), Vec::<String>::new());
            assert_eq!(world.receive(486), Vec::<String>::new());
            assert_eq!(world.machine.poll_timeout(), Some(world.start + TRANSACTION_LIMIT));
            assert_eq!(world.run(), []);
            assert!(world.machine.is_terminated());
        }
    }

    #[test]
    fn tells_of_a_transport_error_until_it_has_a_final_response() {
        let mut world = World::new(false);
        world.machine.on_transport_error(&mut world.actions);
        assert_eq!(done(&mut world.actions), ["time out"]);
        assert!(world.machine.is_terminated());

        for status_code in [200, 486] {
            let mut world = World::new(false);
            world.receive(status_code);
            world.machine.on_transport_error(&mut world.actions);
            assert_eq!(done(&mut world.actions), Vec::<String>::new());
            assert!(!world.machine.is_terminated());
        }
    }

    #[test]
    fn repeats_nothing_once_abandoned_and_still_ends_by_itself() {
        let mut world = World::new(false);
        world.machine.abandon(world.start);
        assert_eq!(world.run(), [(32_000, "time out".to_owned())]);

        let mut world = World::new(false);
        world.receive(180);
        world.machine.abandon(world.start);
        assert_eq!(world.run(), [(32_000, "time out".to_owned())]);
    }

    #[test]
    fn does_nothing_once_terminated() {
        let mut world = World::new(false);
        world.run();
        for status_code in [100, 200, 500] {
            assert_eq!(world.receive(status_code), Vec::<String>::new());
        }
        world.machine.on_transport_error(&mut world.actions);
        world.machine.abandon(world.start);
        assert_eq!(done(&mut world.actions), Vec::<String>::new());
        assert_eq!(world.machine.poll_timeout(), None);
    }

    struct World {
        machine: ClientInvite,
        actions: Actions,
        start: Instant,
    }

    impl World {
        fn new(is_reliable: bool) -> Self {
            let (start, mut actions) = (base(), Actions::default());
            let machine = ClientInvite::new(invite(), is_reliable, start, &mut actions);
            assert_eq!(done(&mut actions), [format!("send {INVITE}")]);
            Self { machine, actions, start }
        }

        fn receive(&mut self, status_code: u16) -> Vec<String> {
            self.machine.on_response(&response(status_code), self.start, &mut self.actions);
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
