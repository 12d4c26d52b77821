//! Errors of a carrier in a row, over all its targets.

use std::collections::VecDeque;
use std::time::Instant;

use super::Evidence;
use crate::carrier::{Class, ErrorsInRow};

/// The latest errors of one carrier, with no success among them.
#[derive(Debug, Default)]
pub(super) struct Streak {
    errors: VecDeque<Instant>,
    /// They took the carrier out once already: until a success, one more is enough.
    is_on_probation: bool,
}

impl Streak {
    /// Whether these errors are too many, so that the carrier is to be left.
    pub(super) fn take(&mut self, evidence: &Evidence, rule: &ErrorsInRow, now: Instant) -> bool {
        let Evidence::Attempt { class, weight, status_code, .. } = evidence else { return false };
        match class {
            Class::Answered | Class::Destination => {
                *self = Self::default();
                return false;
            }
            Class::CarrierHard | Class::CarrierSoft => {}
            Class::Capacity | Class::Config | Class::PolicyBlock | Class::Caller => return false,
        }
        let is_server_error = status_code.is_none_or(|code| (500..600).contains(&code));
        let is_error = *weight >= 1.0 || (*weight > 0.0 && is_server_error);
        if !is_error {
            return false;
        }
        self.errors.push_back(now);
        let count = usize::try_from(rule.count).unwrap_or(usize::MAX);
        while self.errors.len() > count {
            self.errors.pop_front();
        }
        let first = self.errors.front().copied().unwrap_or(now);
        let is_full = self.errors.len() == count && now - first <= rule.within;
        if is_full || self.is_on_probation {
            self.errors.clear();
            self.is_on_probation = true;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::carrier::rows::{CarrierGroupRow, CarrierRow, GatewayRow};
    use crate::carrier::{CarrierId, GatewayId, Rows, Tables};
    use crate::health::{Board, BoardSettings, Outcome, Reachability, SavedTarget, Target};

    const RULE: ErrorsInRow =
        ErrorsInRow { count: 2, within: Duration::from_secs(30), hold: Duration::from_secs(60) };

    #[test]
    fn is_full_at_the_second_error_in_a_row_within_its_time() {
        let mut world = World::new();
        assert!(!world.fails(500));
        assert!(world.pass(30).fails(500));
        let mut slow = World::new();
        assert!(!slow.fails(500));
        assert!(!slow.pass(31).fails(500));
        assert!(slow.pass(30).fails(500), "the later two count together");
    }

    #[test]
    fn begins_anew_with_a_success_and_not_with_what_says_nothing_of_the_carrier() {
        let mut world = World::new();
        world.fails(500);
        world.ends(Class::Destination, 0.0, Some(486));
        assert!(!world.fails(500));
        world.ends(Class::Caller, 0.0, Some(487));
        world.ends(Class::Capacity, 0.0, Some(503));
        assert!(world.fails(500));
    }

    #[test]
    fn counts_server_errors_silence_and_what_a_rule_counts_whole() {
        for (class, weight, status_code, counts) in [
            (Class::CarrierHard, 0.5, Some(503), true),
            (Class::CarrierHard, 1.0, None, true),
            (Class::CarrierSoft, 0.5, None, true),
            (Class::CarrierSoft, 1.0, Some(400), true),
            (Class::CarrierSoft, 0.5, Some(480), false),
            (Class::CarrierHard, 0.0, None, false),
            (Class::Capacity, 0.0, Some(503), false),
        ] {
            let mut world = World::new();
            world.ends(class, weight, status_code);
            let is_full = world.ends(class, weight, status_code);
            assert_eq!(is_full, counts, "{class} {weight} {status_code:?}");
        }
    }

    #[test]
    fn is_full_at_once_after_it_was_full_until_a_success() {
        let mut world = World::new();
        world.fails(500);
        assert!(world.fails(500));
        assert!(world.pass(3_600).fails(500));
        world.ends(Class::Answered, 0.0, Some(200));
        assert!(!world.fails(500));
    }

    #[test]
    fn too_many_take_out_all_targets_of_the_carrier_which_then_prove_themselves() {
        let mut world = World::new();
        let mut board = board(world.now);
        let fail = |board: &mut Board, world: &World, gateway_id| {
            let evidence = attempt(Class::CarrierHard, 1.0, Some(500));
            let outcome =
                Outcome { target: target(gateway_id), carrier_id: CarrierId(1), evidence };
            board.handle_outcome(&outcome, world.now);
        };
        let held = |board: &mut Board, world: &World| {
            board.handle_timeout(world.now);
            let seen = |saved: &SavedTarget| (saved.reachability.state, saved.reachability.is_held);
            board.save(world.now).iter().map(seen).collect::<Vec<_>>()
        };
        // One error at each of its two gateways; gateway 3 is another carrier's.
        fail(&mut board, &world, 1);
        fail(&mut board, &world, 2);
        let other = (Reachability::Unknown, false);
        let down = (Reachability::Down, true);
        assert_eq!(held(&mut board, &world), [down, down, other]);
        // A call that was on its way keeps it out no longer.
        world.pass(30);
        fail(&mut board, &world, 1);
        world.pass(29);
        assert_eq!(held(&mut board, &world), [down, down, other]);
        world.pass(1);
        let half_open = (Reachability::HalfOpen, false);
        assert_eq!(held(&mut board, &world), [half_open, half_open, other]);
        // One more error is enough now.
        fail(&mut board, &world, 1);
        assert_eq!(held(&mut board, &world), [down, down, other]);
        // A restart forgets nothing of it.
        let saved = board.save(world.now);
        let mut back = self::board(world.now);
        back.restore(saved.into_iter().map(|it| (it, Duration::ZERO)).collect(), world.now);
        assert_eq!(held(&mut back, &world), [down, down, other]);
    }

    #[test]
    fn a_carrier_without_a_group_goes_on() {
        let world = World::new();
        let mut board = board(world.now);
        let evidence = attempt(Class::CarrierHard, 1.0, Some(500));
        let outcome = Outcome { target: target(3), carrier_id: CarrierId(2), evidence };
        board.handle_outcome(&outcome, world.now);
        board.handle_outcome(&outcome, world.now);
        assert!(board.save(world.now).iter().all(|saved| !saved.reachability.is_held));
    }

    /// Carrier 1, in a group, with gateways 1 and 2; carrier 2 with gateway 3; none is probed.
    fn board(now: Instant) -> Board {
        let carrier = |carrier_id: i64, carrier_group_id| CarrierRow {
            carrier_id,
            name: format!("carrier-{carrier_id}"),
            carrier_group_id,
            probe_interval_ms: 0,
            ..CarrierRow::default()
        };
        let gateway = |gateway_id: i64, carrier_id| GatewayRow {
            gateway_id,
            carrier_id,
            name: format!("gateway-{gateway_id}"),
            host: format!("192.0.2.{gateway_id}"),
            media: "rtp".to_owned(),
            ..GatewayRow::default()
        };
        let rows = Rows {
            carrier_groups: vec![CarrierGroupRow {
                carrier_group_id: 7,
                name: "voice".to_owned(),
                errors_in_row: 2,
                within_s: 30,
                hold_s: 60,
            }],
            carriers: vec![carrier(1, Some(7)), carrier(2, None)],
            gateways: vec![gateway(1, 1), gateway(2, 1), gateway(3, 2)],
            ..Rows::default()
        };
        let tables = Tables::check(rows, 1).expect("good rows");
        let settings =
            BoardSettings { node: "a".into(), probe_timeout: Duration::from_millis(1_500) };
        let mut board = Board::new(settings, 1);
        board.set_targets(&tables, &[1, 2, 3].map(target), now);
        board
    }

    fn target(gateway_id: i64) -> Target {
        let last = u8::try_from(gateway_id).expect("small");
        Target { gateway_id: GatewayId(gateway_id), address: ([192, 0, 2, last], 5060).into() }
    }

    fn attempt(class: Class, weight: f32, status_code: Option<u16>) -> Evidence {
        Evidence::Attempt {
            class,
            weight,
            status_code,
            retry_after: None,
            trying_delay: None,
            ringing_delay: None,
            country: None,
        }
    }

    struct World {
        streak: Streak,
        now: Instant,
    }

    impl World {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        fn new() -> Self {
            Self { streak: Streak::default(), now: Instant::now() }
        }

        fn pass(&mut self, seconds: u64) -> &mut Self {
            self.now += Duration::from_secs(seconds);
            self
        }

        fn fails(&mut self, status_code: u16) -> bool {
            self.ends(Class::CarrierHard, 1.0, Some(status_code))
        }

        fn ends(&mut self, class: Class, weight: f32, status_code: Option<u16>) -> bool {
            self.streak.take(&attempt(class, weight, status_code), &RULE, self.now)
        }
    }
}
