//! Which candidate is next, within the budgets of the route.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::carrier::{Action, CarrierId};
use crate::health::{Reachability, View};
use crate::routing::{Candidate, Plan};

/// A walk over a plan's candidates.
#[derive(Debug)]
pub struct Hunt {
    plan: Arc<Plan>,
    /// Index of the first candidate not yet tried or passed over.
    next: usize,
    attempts: u8,
    tried: SmallVec<[CarrierId; 4]>,
    excluded: SmallVec<[CarrierId; 4]>,
    /// The one other carrier that some failures allow has been granted.
    is_last_chance: bool,
}

impl Hunt {
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            plan,
            next: 0,
            attempts: 0,
            tried: SmallVec::new(),
            excluded: SmallVec::new(),
            is_last_chance: false,
        }
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Attempts begun.
    pub fn attempts(&self) -> u8 {
        self.attempts
    }

    /// Takes in how the last attempt failed; `false` when the hunt is over.
    pub fn may_follow(&mut self, action: Action, failed: CarrierId) -> bool {
        let once = match action {
            Action::Stop => return false,
            Action::NextGateway => return true,
            Action::NextCarrier => false,
            Action::NextCarrierOnce => true,
            Action::VerifyOnce if self.plan.route.verify_unallocated => true,
            Action::VerifyOnce => return false,
        };
        if once && std::mem::replace(&mut self.is_last_chance, true) {
            return false;
        }
        self.excluded.push(failed);
        true
    }

    /// The next candidate to try. One that has gone down since the decision is passed over while
    /// another is left.
    pub fn take_next(&mut self, view: &View) -> Option<Candidate> {
        if self.attempts >= self.plan.route.max_attempts {
            return None;
        }
        let from = self.next;
        let fits = |index: &usize| self.fits(&self.plan.candidates[*index]);
        let is_down = |index: &usize| {
            let target = self.plan.candidates[*index].target;
            view.target(target).is_some_and(|now| now.reachability == Reachability::Down)
        };
        let mut left = (from..self.plan.candidates.len()).filter(fits);
        let first = left.clone().next()?;
        let index = left.find(|index| !is_down(index)).unwrap_or(first);
        self.next = index + 1;
        self.attempts += 1;
        let candidate = self.plan.candidates[index].clone();
        if !self.tried.contains(&candidate.carrier.id) {
            self.tried.push(candidate.carrier.id);
        }
        Some(candidate)
    }

    fn fits(&self, candidate: &Candidate) -> bool {
        let carrier = candidate.carrier.id;
        let is_within_budget = self.tried.contains(&carrier)
            || self.tried.len() < usize::from(self.plan.route.max_carriers);
        !self.excluded.contains(&carrier) && is_within_budget
    }
}
