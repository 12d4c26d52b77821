//! A plain circuit breaker in front of each carrier, carriers taken in turn.
//!
//! The pattern as it is commonly described (M. Nygard, *Release It!*; M. Fowler, *CircuitBreaker*,
//! <https://martinfowler.com/bliki/CircuitBreaker.html>): closed; open after so many failures in a row; after a
//! pause half open, when one call is let through, which closes it or opens it again. Five failures and thirty
//! seconds are what libraries of the kind give in their examples. A failure is a 5xx or silence.

use std::time::{Duration, Instant};

use holdfast::routing::{Candidate, Plan};

use super::scorer::{Ended, Scorer};
use super::tables::Facts;

const FAILURES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { is_busy: bool },
}

pub struct Breaker {
    facts: Facts,
    states: Vec<State>,
    turn: usize,
}

impl Breaker {
    pub fn new(facts: &Facts) -> Self {
        let states = vec![State::Closed { failures: 0 }; facts.len()];
        Self { facts: facts.clone(), states, turn: 0 }
    }
}

impl Scorer for Breaker {
    fn plan(&mut self, _country: Option<u16>, now: Instant) -> Plan {
        let len = self.states.len();
        self.turn = (self.turn + 1) % len;
        let mut order = Vec::new();
        for index in (0..len).map(|step| (self.turn + step) % len) {
            let state = &mut self.states[index];
            if matches!(*state, State::Open { until } if until <= now) {
                *state = State::HalfOpen { is_busy: false };
            }
            match state {
                State::Closed { .. } => order.push(index),
                // The one call that tries it, if it comes to be tried.
                State::HalfOpen { is_busy: false } => order.push(index),
                State::HalfOpen { is_busy: true } | State::Open { .. } => {}
            }
        }
        self.facts.plan(&order, now)
    }

    fn started(&mut self, _call: usize, candidate: &Candidate, _now: Instant) {
        let carrier = self.facts.index_of(candidate.target);
        if let State::HalfOpen { is_busy } = &mut self.states[carrier] {
            *is_busy = true;
        }
    }

    fn ended(&mut self, ended: &Ended, now: Instant) {
        let is_failure = ended.is_timeout || ended.status_code.is_some_and(|it| it / 100 == 5);
        let state = &mut self.states[ended.carrier];
        *state = match (*state, is_failure) {
            (State::Closed { failures }, true) if failures + 1 < FAILURES => {
                State::Closed { failures: failures + 1 }
            }
            (State::Closed { .. } | State::HalfOpen { .. }, true) => {
                State::Open { until: now + PAUSE }
            }
            (State::Closed { .. } | State::HalfOpen { .. }, false) => State::Closed { failures: 0 },
            // Attempts that were on their way when it opened.
            (State::Open { until }, _) => State::Open { until },
        };
    }

    fn wake(&mut self, _now: Instant) -> Vec<(usize, Duration)> {
        Vec::new()
    }

    fn wake_at(&self) -> Option<Instant> {
        None
    }

    fn probed(&mut self, _: usize, _: Option<u16>, _: Duration, _: Instant) {}

    fn is_away(&self, carrier: usize, _now: Instant) -> bool {
        !matches!(self.states[carrier], State::Closed { .. })
    }
}
