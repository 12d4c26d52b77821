//! Kamailio's dispatcher with algorithm 13 and congestion control.
//!
//! After the module's manual (<https://www.kamailio.org/docs/modules/stable/modules/dispatcher.html>):
//!
//! - algorithm 13: in turn among the destinations of the highest priority, where each one's priority is lowered by a
//!   point for each time that its latency holds its priority; with the attribute `cc=1` the latency is the
//!   *congestion*: the estimate of now less the average. The estimate is a moving average of the latencies of
//!   OPTIONS, `ds_latency_estimator_alpha` = 0.9.
//! - `ds_ping_interval` 10 s; `ds_probing_mode` 1, so that all are asked; `ds_probing_threshold` and
//!   `ds_inactive_threshold` 1: one failure makes a destination inactive, one good answer brings it back; without
//!   `ds_ping_reply_codes` the only good answer is a 200. An OPTIONS waits for `fr_timer`, 2 s as in the manual's sample.
//! - the script calls `ds_mark_dst("ip")` in its failure route for silence and 503, and `ds_next_dst`. Without an active
//!   destination `ds_select_dst` fails, and the call with it.

use std::time::{Duration, Instant};

use holdfast::routing::Plan;

use super::scorer::{Ended, Scorer};
use super::tables::Facts;

const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
const PRIORITY: f64 = 30.0;
const ALPHA: f64 = 0.9;

#[derive(Clone, Copy, Debug, Default)]
struct Destination {
    is_inactive: bool,
    samples: f64,
    average_ms: f64,
    estimate_ms: f64,
}

impl Destination {
    fn priority(&self) -> i64 {
        let congestion_ms = (self.estimate_ms - self.average_ms).max(0.0);
        (PRIORITY - (congestion_ms / PRIORITY).floor()) as i64
    }

    fn measure(&mut self, delay_ms: f64) {
        self.samples += 1.0;
        self.average_ms += (delay_ms - self.average_ms) / self.samples;
        self.estimate_ms = match self.samples {
            1.0 => delay_ms,
            _ => ALPHA * self.estimate_ms + (1.0 - ALPHA) * delay_ms,
        };
    }
}

pub struct Dispatcher {
    facts: Facts,
    destinations: Vec<Destination>,
    turn: usize,
    ping_at: Instant,
}

impl Dispatcher {
    pub fn new(facts: &Facts) -> Self {
        let destinations = vec![Destination::default(); facts.len()];
        Self { facts: facts.clone(), destinations, turn: 0, ping_at: facts.start }
    }
}

impl Scorer for Dispatcher {
    fn plan(&mut self, _country: Option<u16>, now: Instant) -> Plan {
        let len = self.destinations.len();
        self.turn = (self.turn + 1) % len;
        let mut order: Vec<usize> = (0..len)
            .map(|step| (self.turn + step) % len)
            .filter(|index| !self.destinations[*index].is_inactive)
            .collect();
        order.sort_by_key(|index| -self.destinations[*index].priority());
        self.facts.plan(&order, now)
    }

    fn ended(&mut self, ended: &Ended, _now: Instant) {
        if ended.is_timeout || ended.status_code == Some(503) {
            self.destinations[ended.carrier].is_inactive = true;
        }
    }

    fn wake(&mut self, now: Instant) -> Vec<(usize, Duration)> {
        if self.ping_at > now {
            return Vec::new();
        }
        self.ping_at = now + PING_INTERVAL;
        (0..self.destinations.len()).map(|index| (index, PING_TIMEOUT)).collect()
    }

    fn wake_at(&self) -> Option<Instant> {
        Some(self.ping_at)
    }

    fn probed(&mut self, carrier: usize, status_code: Option<u16>, delay: Duration, _: Instant) {
        let destination = &mut self.destinations[carrier];
        if status_code.is_some() {
            destination.measure(delay.as_secs_f64() * 1_000.0);
        }
        destination.is_inactive = status_code != Some(200);
    }

    fn is_away(&self, carrier: usize, _now: Instant) -> bool {
        self.destinations[carrier].is_inactive
    }
}
