//! The board: the one writer of health. Takes outcomes, says which probes are due, makes views.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Outcome, Reachability, Target, View};
use crate::carrier::{CarrierId, Tables};

/// Numbers of the reachability machine and the failure windows.
#[derive(Clone, Debug)]
pub struct BoardSettings {
    /// How long a probe waits for a response.
    pub probe_timeout: Duration,
}

/// A probe that is to be sent now.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeDue {
    pub target: Target,
    pub carrier_id: CarrierId,
}

/// A target's state as `gateway_health` keeps it; times are ages, so that no clock is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedTarget {
    pub target: Target,
    pub reachability: Reachability,
    // The health module decides what else.
}

/// Health of all targets. A value: time and randomness (a seed) come from outside.
#[derive(Debug)]
pub struct Board {}

impl Board {
    pub fn new(settings: BoardSettings, seed: u64) -> Self {
        let _ = (settings, seed);
        todo!()
    }

    /// Takes new tables and the addresses their gateways resolve to now. Known targets keep their state.
    pub fn set_targets(&mut self, tables: Arc<Tables>, targets: &[Target], now: Instant) {
        let _ = (tables, targets, now);
        todo!()
    }

    pub fn handle_outcome(&mut self, outcome: &Outcome, now: Instant) {
        let _ = (outcome, now);
        todo!()
    }

    /// Lets time pass: backoffs end, half-open begins. Call at [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }

    /// The next probe that is due; call until `None`.
    pub fn poll_probe(&mut self, now: Instant) -> Option<ProbeDue> {
        let _ = now;
        todo!()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// A new view if anything that decisions read has changed since the last one.
    pub fn poll_view(&mut self, now: Instant) -> Option<Arc<View>> {
        let _ = now;
        todo!()
    }

    /// For `gateway_health`: what a restart needs.
    pub fn save(&self, now: Instant) -> Vec<SavedTarget> {
        let _ = now;
        todo!()
    }

    /// Puts saved state back; `age` = how long ago it was saved. Unknown targets are kept for when they appear.
    pub fn restore(&mut self, saved: Vec<(SavedTarget, Duration)>, now: Instant) {
        let _ = (saved, now);
        todo!()
    }
}
