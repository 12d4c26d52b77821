//! Yeti's gateway throttling, carriers taken at random.
//!
//! After the manual, *Gateway Throttling Profiles*
//! (<https://yeti-switch.org/docs/web-interface/equipment/gateway-throttling-profiles.html>): a profile names the
//! codes that count (our own timeout, 408, 480, 503), a window (1 to 120 s), the least number of calls in it, and
//! two error rates: at `threshold start` the chance of a call begins to fall, at `threshold end` none is sent. The
//! manual gives ranges and no defaults; these are 30 %, 80 %, 30 s and 10 calls, with every code selected.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use holdfast::random::Random;
use holdfast::routing::Plan;

use super::scorer::{Ended, Scorer};
use super::tables::Facts;

const THRESHOLD_START: f64 = 0.30;
const THRESHOLD_END: f64 = 0.80;
const WINDOW: Duration = Duration::from_secs(30);
const MINIMUM_CALLS: usize = 10;

pub struct Throttling {
    facts: Facts,
    /// When an attempt ended, and whether with one of the codes.
    ended: Vec<VecDeque<(Instant, bool)>>,
    random: Random,
}

impl Throttling {
    pub fn new(facts: &Facts, seed: u64) -> Self {
        let ended = vec![VecDeque::new(); facts.len()];
        Self { facts: facts.clone(), ended, random: Random::new(seed) }
    }

    /// The chance that a call to a carrier is let through.
    fn chance(&self, carrier: usize, now: Instant) -> f64 {
        let recent = self.ended[carrier].iter().filter(|(at, _)| now - *at < WINDOW);
        let (calls, errors) = recent.fold((0, 0), |(calls, errors), (_, is_error)| {
            (calls + 1, errors + usize::from(*is_error))
        });
        if calls < MINIMUM_CALLS {
            return 1.0;
        }
        let rate = errors as f64 / calls as f64;
        ((THRESHOLD_END - rate) / (THRESHOLD_END - THRESHOLD_START)).clamp(0.0, 1.0)
    }
}

impl Scorer for Throttling {
    fn plan(&mut self, _country: Option<u16>, now: Instant) -> Plan {
        let mut order: Vec<(u64, usize)> = Vec::new();
        for carrier in 0..self.facts.len() {
            let key = self.random.next_u64();
            let chance = self.chance(carrier, now);
            if self.random.unit_f64() < chance {
                order.push((key, carrier));
            }
        }
        order.sort_unstable();
        let order: Vec<usize> = order.into_iter().map(|(_, carrier)| carrier).collect();
        self.facts.plan(&order, now)
    }

    fn ended(&mut self, ended: &Ended, now: Instant) {
        let is_error = ended.is_timeout || matches!(ended.status_code, Some(408 | 480 | 503));
        let known = &mut self.ended[ended.carrier];
        known.push_back((now, is_error));
        while known.front().is_some_and(|(at, _)| now - *at >= WINDOW) {
            known.pop_front();
        }
    }

    fn wake(&mut self, _now: Instant) -> Vec<(usize, Duration)> {
        Vec::new()
    }

    fn wake_at(&self) -> Option<Instant> {
        None
    }

    fn probed(&mut self, _: usize, _: Option<u16>, _: Duration, _: Instant) {}

    fn is_away(&self, carrier: usize, now: Instant) -> bool {
        self.chance(carrier, now) < 0.1
    }
}
