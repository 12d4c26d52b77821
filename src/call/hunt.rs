//! Which candidate is next, within the budgets of the route.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::carrier::{Action, CarrierId};
use crate::health::{Reachability, Target, View};
use crate::routing::{Candidate, Plan};

/// A walk over a plan's candidates.
#[derive(Debug)]
pub struct Hunt {
    plan: Arc<Plan>,
    /// Index of the first candidate not yet tried or passed over.
    next: usize,
    /// Passed over since they had gone down; an emergency call comes back to them.
    passed: SmallVec<[usize; 4]>,
    attempts: u8,
    tried: SmallVec<[CarrierId; 4]>,
    excluded: SmallVec<[CarrierId; 4]>,
    /// Carriers that refused for want of capacity; another decision may bring them back.
    full: SmallVec<[CarrierId; 4]>,
    /// Targets that had their chance.
    tried_targets: SmallVec<[Target; 8]>,
    /// A candidate was passed over, or refused, for want of capacity.
    is_short: bool,
    /// The one other carrier that some failures allow has been granted.
    is_last_chance: bool,
}

impl Hunt {
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            plan,
            next: 0,
            passed: SmallVec::new(),
            attempts: 0,
            tried: SmallVec::new(),
            excluded: SmallVec::new(),
            full: SmallVec::new(),
            tried_targets: SmallVec::new(),
            is_short: false,
            is_last_chance: false,
        }
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Goes on with another decision: what has failed stays out, but who was only full may be tried again.
    pub fn go_on_with(&mut self, plan: Arc<Plan>) {
        self.plan = plan;
        self.next = 0;
        self.full.clear();
        self.is_short = false;
    }

    /// Whether somebody could have had the call but for want of capacity, and one more attempt may be made.
    pub fn is_short(&self) -> bool {
        let is_spent = self.attempts >= self.plan.route.max_attempts;
        let may_be_another = self.tried.len() < usize::from(self.plan.route.max_carriers);
        !is_spent && (self.is_short || may_be_another && self.plan.is_short())
    }

    /// Everything is down but what is full: better to wait a little for that.
    pub fn is_panic_for_want_of_capacity(&self) -> bool {
        self.plan.is_panic && self.plan.is_short()
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

    /// The carrier refused the last attempt for want of capacity: that holds for now only.
    pub fn note_full(&mut self, carrier: CarrierId, target: Target) {
        self.excluded.retain(|excluded| *excluded != carrier);
        self.tried_targets.retain(|tried| *tried != target);
        self.full.push(carrier);
        self.is_short = true;
    }

    /// The next candidate to try: one that has room now. One that has gone down since the decision is passed over while
    /// another is left; an emergency call comes back to it in the end.
    pub fn take_next(
        &mut self,
        view: &View,
        has_room: impl Fn(&Candidate) -> bool,
    ) -> Option<Candidate> {
        if self.attempts >= self.plan.route.max_attempts {
            return None;
        }
        let from = self.next;
        let fits = |index: &usize| self.fits(&self.plan.candidates[*index]);
        let is_down = |index: &usize| {
            let target = self.plan.candidates[*index].target;
            view.target(target).is_some_and(|now| now.reachability == Reachability::Down)
        };
        let fitting = (from..self.plan.candidates.len()).filter(fits);
        // A full carrier may still find room for an emergency.
        let is_emergency = self.plan.route.is_emergency;
        let mut left =
            fitting.clone().filter(|index| is_emergency || has_room(&self.plan.candidates[*index]));
        let first = left.clone().next();
        let is_short = fitting.count() > left.clone().count();
        let index = match first {
            Some(first) => {
                let index = left.find(|index| !is_down(index)).unwrap_or(first);
                if is_emergency {
                    let passed: SmallVec<[usize; 4]> = (from..index).filter(fits).collect();
                    self.passed.extend(passed);
                }
                self.next = index + 1;
                index
            }
            None => {
                let at = self.passed.iter().position(fits);
                self.is_short |= is_short;
                self.passed.remove(at?)
            }
        };
        self.is_short |= is_short;
        self.attempts += 1;
        let candidate = self.plan.candidates[index].clone();
        self.tried_targets.push(candidate.target);
        if !self.tried.contains(&candidate.carrier().id) {
            self.tried.push(candidate.carrier().id);
        }
        Some(candidate)
    }

    fn fits(&self, candidate: &Candidate) -> bool {
        let carrier = candidate.carrier().id;
        let is_within_budget = self.tried.contains(&carrier)
            || self.tried.len() < usize::from(self.plan.route.max_carriers);
        let is_out = self.excluded.contains(&carrier)
            || self.full.contains(&carrier)
            || self.tried_targets.contains(&candidate.target);
        !is_out && is_within_budget
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::carrier::{
        AdminState, Carrier, Dns, Gateway, GatewayId, Limits, Media, NumberRule,
        RerouteAfterRinging, Route, RouteId, Strategy, Transport,
    };
    use crate::health::{Srv, Target, TargetView};

    #[test]
    fn tries_every_gateway_in_the_order_of_the_plan() {
        let mut hunt = hunt(&[1, 1, 2], |_| {});
        assert_eq!(take(&mut hunt), Some(0));
        assert!(hunt.may_follow(Action::NextGateway, CarrierId(1)));
        assert_eq!(take(&mut hunt), Some(1));
        assert_eq!(take(&mut hunt), Some(2));
        assert_eq!(take(&mut hunt), None);
        assert_eq!(hunt.attempts(), 3);
    }

    #[test]
    fn passes_over_the_other_gateways_of_a_carrier_that_is_to_be_left() {
        let mut hunt = hunt(&[1, 1, 2], |_| {});
        take(&mut hunt);
        assert!(hunt.may_follow(Action::NextCarrier, CarrierId(1)));
        assert_eq!(take(&mut hunt), Some(2));
    }

    #[test]
    fn grants_one_other_carrier_and_no_more() {
        let mut hunt = hunt(&[1, 2, 3], |_| {});
        take(&mut hunt);
        assert!(hunt.may_follow(Action::NextCarrierOnce, CarrierId(1)));
        assert_eq!(take(&mut hunt), Some(1));
        assert!(!hunt.may_follow(Action::NextCarrierOnce, CarrierId(2)));
    }

    #[test]
    fn verifies_an_unallocated_number_only_where_the_route_says_so() {
        assert!(!hunt(&[1, 2], |_| {}).may_follow(Action::VerifyOnce, CarrierId(1)));
        let mut hunt = hunt(&[1, 2, 3], |route| route.verify_unallocated = true);
        take(&mut hunt);
        assert!(hunt.may_follow(Action::VerifyOnce, CarrierId(1)));
        assert_eq!(take(&mut hunt), Some(1));
        assert!(!hunt.may_follow(Action::VerifyOnce, CarrierId(2)));
    }

    #[test]
    fn stops_when_the_rule_says_so() {
        assert!(!hunt(&[1, 2], |_| {}).may_follow(Action::Stop, CarrierId(1)));
    }

    #[test]
    fn keeps_to_the_routes_budget_of_attempts() {
        let mut hunt = hunt(&[1, 1, 1], |route| route.max_attempts = 2);
        assert_eq!([take(&mut hunt), take(&mut hunt), take(&mut hunt)], [Some(0), Some(1), None]);
    }

    #[test]
    fn keeps_to_the_routes_budget_of_carriers_but_finishes_those_begun() {
        let mut hunt = hunt(&[1, 2, 1, 3], |route| route.max_carriers = 2);
        let taken: Vec<_> = (0..4).map(|_| take(&mut hunt)).collect();
        assert_eq!(taken, [Some(0), Some(1), Some(2), None]);
    }

    #[test]
    fn passes_over_a_target_that_went_down_since_unless_nothing_else_is_left() {
        let mut first = hunt(&[1, 2], |_| {});
        assert_eq!(index(first.take_next(&down(&[0]), |_| true)), Some(1));
        let mut second = hunt(&[1, 2], |_| {});
        assert_eq!(index(second.take_next(&down(&[0, 1]), |_| true)), Some(0));
    }

    #[test]
    fn passes_over_a_candidate_that_has_no_room_now_and_remembers_that_it_was_short() {
        let mut hunt = hunt(&[1, 2], |_| {});
        let has_room = |candidate: &Candidate| candidate.carrier().id != CarrierId(1);
        assert!(!hunt.is_short());
        assert_eq!(index(hunt.take_next(&View::default(), has_room)), Some(1));
        assert!(hunt.is_short());
        assert_eq!(take(&mut hunt), None);
        hunt.go_on_with(hunt.plan().clone());
        assert_eq!(take(&mut hunt), Some(0), "who has been tried has had its chance");
    }

    #[test]
    fn tries_a_carrier_that_was_full_again_only_after_another_decision() {
        let mut hunt = hunt(&[1, 1], |route| route.max_attempts = 2);
        take(&mut hunt);
        assert!(hunt.may_follow(Action::NextCarrier, CarrierId(1)));
        hunt.note_full(CarrierId(1), target(0));
        assert_eq!(take(&mut hunt), None);
        assert!(hunt.is_short());
        hunt.go_on_with(hunt.plan().clone());
        assert_eq!(take(&mut hunt), Some(0));
        hunt.note_full(CarrierId(1), target(0));
        assert!(!hunt.is_short(), "no attempt is left");
    }

    #[test]
    fn an_emergency_call_comes_back_to_what_it_passed_over() {
        let mut hunt = hunt(&[1, 2, 3], |route| route.is_emergency = true);
        assert_eq!(index(hunt.take_next(&down(&[0, 1]), |_| true)), Some(2));
        assert_eq!(index(hunt.take_next(&down(&[0, 1]), |_| true)), Some(0));
        assert_eq!(index(hunt.take_next(&down(&[0, 1]), |_| true)), Some(1));
        assert_eq!(index(hunt.take_next(&down(&[0, 1]), |_| true)), None);
    }

    fn take(hunt: &mut Hunt) -> Option<u16> {
        index(hunt.take_next(&View::default(), |_| true))
    }

    /// Candidates are told apart by their port.
    fn index(candidate: Option<Candidate>) -> Option<u16> {
        candidate.map(|candidate| candidate.target.address.port() - 5060)
    }

    fn down(indexes: &[u16]) -> View {
        let views = indexes.iter().map(|index| {
            Arc::new(TargetView {
                reachability: Reachability::Down,
                ..TargetView::unknown(target(*index))
            })
        });
        View::new(views.collect())
    }

    fn target(index: u16) -> Target {
        let address = ([192, 0, 2, 1], 5060 + index).into();
        Target { gateway_id: GatewayId(i64::from(index)), address }
    }

    fn hunt(carriers: &[i64], change: impl FnOnce(&mut Route)) -> Hunt {
        let mut route = Route {
            id: RouteId(1),
            customer_id: None,
            called_prefix: "".into(),
            region: None,
            needs_srtp: false,
            is_emergency: false,
            strategy: Strategy::Priority,
            reroute_after_ringing: RerouteAfterRinging::Never,
            verify_unallocated: false,
            setup_budget: Duration::from_secs(12),
            max_carriers: 4,
            max_attempts: 8,
            max_ringing: Duration::from_secs(180),
            carriers: Vec::new(),
            hours: Vec::new(),
        };
        change(&mut route);
        let candidates =
            carriers.iter().zip(0..).map(|(carrier, index)| candidate(*carrier, index));
        Hunt::new(Arc::new(Plan {
            route: Arc::new(route),
            region: None,
            country: None,
            routing_number: None,
            tables_version: 1,
            seed: 1,
            decided_at: now(),
            is_panic: false,
            median_latency_ms: None,
            median_ringing_ms: None,
            candidates: candidates.collect(),
            candidates_beyond: 0,
            dropped: Vec::new(),
            dropped_beyond: 0,
            is_short: false,
        }))
    }

    fn candidate(carrier: i64, index: u16) -> Candidate {
        let carrier = Arc::new(Carrier {
            id: CarrierId(carrier),
            name: "a".into(),
            is_enabled: true,
            errors_in_row: None,
            probe_interval: None,
            no_response: Duration::from_millis(1_800),
            no_ringing: Duration::from_millis(6_000),
            limits: Limits::default(),
            number_rule: NumberRule::default(),
            tls_wildcard: false,
        });
        let gateway = Arc::new(Gateway {
            id: GatewayId(i64::from(index)),
            carrier,
            name: "g".into(),
            host: "192.0.2.1".into(),
            port: 5060,
            transport: Transport::Udp,
            dns: Dns::Address,
            large_by_tcp: false,
            media: Media::Rtp,
            codecs: None,
            admin_state: AdminState::On,
            region: None,
            priority: 0,
            weight: 1,
            limits: Limits::default(),
        });
        Candidate {
            gateway,
            target: target(index),
            srv: Srv::default(),
            priority: 1,
            reachability: Reachability::Up,
            ramp: 1.0,
            failure_rate: 0.0,
            deviation: 0.0,
            destination_factor: 1.0,
            latency_factor: 1.0,
            latency_ms: None,
            ringing_ms: None,
            headroom: 1.0,
            score: 1.0,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn now() -> Instant {
        Instant::now()
    }
}
