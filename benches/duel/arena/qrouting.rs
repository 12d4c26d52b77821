//! OpenSIPS' qrouting, both of its algorithms.
//!
//! After the module's manual (<https://opensips.org/docs/modules/3.6.x/qrouting.html>):
//!
//! - ASR, CCR (all but 5xx, 6xx and our own timeouts), PDD and AST of each destination over `history_span`, moved on
//!   every `sampling_interval` (5 s); `min_samples` 30 for ASR and CCR, 10 for PDD and AST: with fewer a statistic
//!   counts as healthy.
//! - a profile gives each statistic a `warn` and a `crit` threshold; each one crossed multiplies the destination's score
//!   by its penalty, 0.5 and 0.05 in the schema of `qr_profiles`.
//! - `dynamic-weights`: at random by score. `best-dest-first`: the highest score first, else as provisioned.
//!
//! Thresholds have no defaults, they are set for these carriers: ASR 40 % and 20 %, CCR 90 % and 70 %, PDD 3 and 6 s.
//! `history_span` is 1 minute, the least it takes, in place of its default of 30: the default would see every fault here
//! too late to matter. drouting beneath it takes a gateway out that is silent (`dr_disable` in the failure route) and puts
//! it back when it answers an OPTIONS (`probing_interval` 30 s, its default); when none is left, calls fail.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use holdfast::random::Random;
use holdfast::routing::Plan;

use super::scorer::{Ended, Scorer};
use super::tables::Facts;

const SAMPLING_INTERVAL: Duration = Duration::from_secs(5);
const HISTORY_SAMPLES: usize = 12;
const MIN_SAMPLES: f64 = 30.0;
const MIN_SAMPLES_OF_DELAYS: f64 = 10.0;
const ASR: (f64, f64) = (0.4, 0.2);
const CCR: (f64, f64) = (0.9, 0.7);
const PDD_MS: (f64, f64) = (3_000.0, 6_000.0);
const WARN_PENALTY: f64 = 0.5;
const CRIT_PENALTY: f64 = 0.05;
const PROBING_INTERVAL: Duration = Duration::from_secs(30);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    DynamicWeights,
    BestDestFirst,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    calls: f64,
    answered: f64,
    completed: f64,
    ringing: f64,
    ringing_ms: f64,
}

impl Sample {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.completed += other.completed;
        self.ringing += other.ringing;
        self.ringing_ms += other.ringing_ms;
    }

    fn score(&self) -> f64 {
        let mut score = 1.0;
        if self.calls >= MIN_SAMPLES {
            score *= penalty(-self.answered / self.calls, (-ASR.0, -ASR.1));
            score *= penalty(-self.completed / self.calls, (-CCR.0, -CCR.1));
        }
        if self.ringing >= MIN_SAMPLES_OF_DELAYS {
            score *= penalty(self.ringing_ms / self.ringing, PDD_MS);
        }
        score
    }
}

/// The higher, the worse.
fn penalty(value: f64, (warn, crit): (f64, f64)) -> f64 {
    match value {
        value if value > crit => CRIT_PENALTY,
        value if value > warn => WARN_PENALTY,
        _ => 1.0,
    }
}

#[derive(Clone, Debug)]
struct Destination {
    current: Sample,
    history: VecDeque<Sample>,
    score: f64,
    is_disabled: bool,
}

pub struct Qrouting {
    facts: Facts,
    algorithm: Algorithm,
    destinations: Vec<Destination>,
    sample_at: Instant,
    probe_at: Instant,
    random: Random,
}

impl Qrouting {
    pub fn new(facts: &Facts, algorithm: Algorithm, seed: u64) -> Self {
        let destination = Destination {
            current: Sample::default(),
            history: VecDeque::new(),
            score: 1.0,
            is_disabled: false,
        };
        Self {
            facts: facts.clone(),
            algorithm,
            destinations: vec![destination; facts.len()],
            sample_at: facts.start + SAMPLING_INTERVAL,
            probe_at: facts.start + PROBING_INTERVAL,
            random: Random::new(seed),
        }
    }

    fn sample(&mut self) {
        for destination in &mut self.destinations {
            destination.history.push_back(std::mem::take(&mut destination.current));
            if destination.history.len() > HISTORY_SAMPLES {
                destination.history.pop_front();
            }
            let mut sum = Sample::default();
            destination.history.iter().for_each(|sample| sum.add(sample));
            destination.score = sum.score();
        }
    }
}

impl Scorer for Qrouting {
    fn plan(&mut self, _country: Option<u16>, now: Instant) -> Plan {
        let mut keyed: Vec<(f64, usize)> = Vec::new();
        for (index, destination) in self.destinations.iter().enumerate() {
            if destination.is_disabled {
                continue;
            }
            let key = match self.algorithm {
                Algorithm::DynamicWeights => {
                    (1.0 - self.random.unit_f64()).ln() / destination.score
                }
                Algorithm::BestDestFirst => destination.score,
            };
            keyed.push((key, index));
        }
        keyed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let order: Vec<usize> = keyed.into_iter().map(|(_, index)| index).collect();
        self.facts.plan(&order, now)
    }

    fn ended(&mut self, ended: &Ended, _now: Instant) {
        // Holdfast's hunt asks for these, theirs would not: they would spoil the ASR of who is asked.
        if ended.is_second_opinion {
            return;
        }
        let destination = &mut self.destinations[ended.carrier];
        let is_failure = ended.is_timeout || ended.status_code.is_some_and(|it| it / 100 >= 5);
        let sample = &mut destination.current;
        sample.calls += 1.0;
        sample.answered += f64::from(ended.status_code == Some(200));
        sample.completed += f64::from(!is_failure);
        if let Some(ringing) = ended.ringing {
            sample.ringing += 1.0;
            sample.ringing_ms += ringing.as_secs_f64() * 1_000.0;
        }
        if ended.is_timeout && ended.trying.is_none() {
            destination.is_disabled = true;
        }
    }

    fn wake(&mut self, now: Instant) -> Vec<(usize, Duration)> {
        if self.sample_at <= now {
            self.sample_at = now + SAMPLING_INTERVAL;
            self.sample();
        }
        if self.probe_at > now {
            return Vec::new();
        }
        self.probe_at = now + PROBING_INTERVAL;
        let disabled = |(index, destination): (usize, &Destination)| {
            destination.is_disabled.then_some((index, PROBE_TIMEOUT))
        };
        self.destinations.iter().enumerate().filter_map(disabled).collect()
    }

    fn wake_at(&self) -> Option<Instant> {
        Some(self.sample_at.min(self.probe_at))
    }

    fn probed(&mut self, carrier: usize, status_code: Option<u16>, _: Duration, _: Instant) {
        if status_code == Some(200) {
            self.destinations[carrier].is_disabled = false;
        }
    }

    fn is_away(&self, carrier: usize, _now: Instant) -> bool {
        let destination = &self.destinations[carrier];
        destination.is_disabled || destination.score <= CRIT_PENALTY
    }
}
