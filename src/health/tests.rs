//! The board as its task uses it: outcomes and other nodes' words in, probes and views out, in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Board, BoardSettings, Evidence, Outcome, PeerTarget, Reachability, Target, TargetView,
};
use crate::carrier::rows::{CarrierRow, GatewayRow};
use crate::carrier::{CarrierId, Class, GatewayId, Rows, Tables};

use Reachability::{Down, HalfOpen, Suspect, Unknown, Up};

const GERMANY: u16 = 49;
const FRANCE: u16 = 33;

#[test]
fn knows_where_we_are_registered_and_holds_nothing_else_for_it() {
    let mut world = World::new(2);
    let before = world.view_of(1);
    world.tell(1, Evidence::Registration { is_registered: true });
    let after = world.view_of(1);
    assert!(!before.is_registered && after.is_registered && !world.view_of(2).is_registered);
    assert_eq!(after, TargetView { is_registered: true, ..before });
    world.tell(1, Evidence::Registration { is_registered: false });
    assert!(!world.view_of(1).is_registered);
}

mod doubts;

mod probes {
    use super::*;

    #[test]
    fn come_within_a_second_at_first_and_then_at_the_interval_give_or_take_a_twentieth() {
        let mut world = World::new(20);
        let first = world.answer_probes_for(1_000);
        assert_eq!(first.len(), 20, "each one once");
        let spread: Vec<u64> = first.iter().map(|(at, _)| *at).collect();
        assert!(spread.iter().max() > Some(&500) && spread.iter().min() < Some(&500), "{spread:?}");
        let later = world.answer_probes_for(60_000);
        for id in 1..=20 {
            let of_one = later.iter().filter(|(_, other)| *other == id).map(|(at, _)| *at);
            let times: Vec<u64> = of_one.collect();
            for pair in times.windows(2) {
                let gap = pair[1] - pair[0];
                assert!((4_750..=5_251).contains(&gap), "{gap} ms between two probes of {id}");
            }
        }
    }

    #[test]
    fn look_at_a_suspect_after_a_quarter_and_three_quarters_of_a_second() {
        let mut world = World::new(1);
        world.answer_probes_for(1_500);
        let failed_at = world.ms();
        world.silence(1);
        let probes = world.answer_probes_for(1_000);
        let delays: Vec<u64> = probes.iter().map(|(at, _)| at - failed_at).collect();
        assert_eq!(delays, [250, 750]);
        assert_eq!(world.state(1), Up, "it answered both");
    }

    #[test]
    fn go_to_nobody_who_wants_none() {
        let mut world = World::with_rows(1, |rows| rows.carriers[0].probe_interval_ms = 0);
        assert_eq!(world.answer_probes_for(60_000), []);
    }

    #[test]
    fn do_not_pile_up_while_one_is_on_its_way_and_go_on_when_its_end_is_lost() {
        let mut world = World::new(1);
        let sent = world.probes_for(30_000);
        for pair in sent.windows(2) {
            // Twice the time it may take, and a little.
            assert!(pair[1].0 - pair[0].0 >= 3_601, "{sent:?}");
        }
        assert!(sent.len() >= 5, "{sent:?}");
    }

    #[test]
    fn that_any_code_but_two_answers_are_signs_of_life() {
        for code in [200, 403, 404, 405, 481, 486, 500, 501, 603] {
            let mut world = World::new(1);
            world.probe(1, Some(code));
            assert_eq!(world.state(1), Up, "{code}");
        }
        for code in [Some(408), Some(503), None] {
            let mut world = World::new(1);
            world.probe(1, Some(200)).probe(1, code);
            assert_eq!(world.state(1), Suspect, "{code:?}");
        }
    }
}

mod outcomes {
    use super::*;

    #[test]
    fn of_each_class_count_as_they_should() {
        let counted = |class, weight, code| {
            let mut world = World::new(1);
            world.attempt(1, class, weight, code);
            let view = world.view_of(1);
            (view.attempts, (view.failure_rate - World::new(1).view_of(1).failure_rate).signum())
        };
        assert_eq!(counted(Class::Answered, 0.0, Some(200)), (1.0, -1.0));
        assert_eq!(counted(Class::Destination, 0.0, Some(486)), (1.0, -1.0));
        assert_eq!(counted(Class::Destination, 0.0, Some(404)), (1.0, -1.0));
        assert_eq!(counted(Class::CarrierHard, 1.0, Some(500)), (1.0, 1.0));
        assert_eq!(counted(Class::CarrierSoft, 0.5, Some(480)), (1.0, 1.0));
        for class in [Class::Capacity, Class::Config, Class::PolicyBlock, Class::Caller] {
            assert_eq!(counted(class, 0.0, Some(403)).0, 0.0, "{class}");
        }
        // A call whose own budget was over.
        assert_eq!(counted(Class::CarrierHard, 0.0, None).0, 0.0);
    }

    #[test]
    fn keep_calls_away_for_as_long_as_retry_after_says_and_no_longer_than_five_minutes() {
        for (asked_s, least_s, most_s) in [(10, 8, 12), (100_000, 240, 360)] {
            let mut world = World::new(1);
            world.tell(1, refusal(503, Some(Duration::from_secs(asked_s))));
            let until = world.view_of(1).unusable_until.expect("it asked for time");
            let asked = until - world.now;
            assert!((least_s..=most_s).contains(&asked.as_secs()), "{asked:?}");
            world.pass(asked.as_millis() as u64 + 1);
            assert_eq!(world.view_of(1).unusable_until, None);
        }
        let mut world = World::new(1);
        world.tell(1, refusal(500, Some(Duration::from_secs(10))));
        assert_eq!(world.view_of(1).unusable_until, None, "Retry-After of a 503 alone");
    }

    #[test]
    fn eject_after_three_hard_failures_in_a_row_that_nobody_contradicts() {
        let mut world = World::new(1);
        world.probe(1, Some(200)).refuse(1, 500).refuse(1, 500).refuse(1, 500);
        assert_eq!(world.state(1), Up, "the next carrier may refuse alike");
        world.pass(300);
        assert_eq!((world.state(1), world.view_of(1).is_ejected), (Down, true));
    }

    #[test]
    fn do_not_eject_for_three_that_are_not_in_a_row_or_not_close_together() {
        let mut world = World::new(1);
        world.probe(1, Some(200));
        for _ in 0..3 {
            world.refuse(1, 500).pass(400).attempt(1, Class::Answered, 0.0, Some(200));
        }
        assert_eq!(world.state(1), Up);
        let mut world = World::new(1);
        world.probe(1, Some(200));
        for _ in 0..3 {
            world.refuse(1, 500).pass(6_000);
        }
        assert_eq!(world.state(1), Up);
    }

    #[test]
    fn do_not_eject_for_numbers_that_other_carriers_refuse_alike() {
        let mut world = World::new(1);
        for _ in 0..200 {
            world.refuse(1, 503).pass(40);
            world.tell(1, Evidence::Revised { failures: -0.3, country: None });
            world.pass(400).attempt(1, Class::Answered, 0.0, Some(200));
            assert_eq!(world.state(1), Up);
        }
    }

    #[test]
    fn eject_one_that_answers_but_fails_too_many_even_after_a_good_minute() {
        let mut world = World::new(1);
        (0..500).for_each(|_| {
            world.attempt(1, Class::Answered, 0.0, Some(200));
        });
        let mut failures = 0;
        while world.state(1) == Up {
            world.attempt(1, Class::CarrierSoft, 1.0, Some(480));
            failures += 1;
            assert!(failures < 20, "a good minute hides it");
        }
        assert!(world.view_of(1).is_ejected && failures >= 4, "{failures}");
    }

    #[test]
    fn eject_one_that_denies_numbers_which_others_reach() {
        let mut world = World::new(1);
        for _ in 0..12 {
            world.attempt(1, Class::Destination, 0.0, Some(404));
        }
        assert_eq!(world.state(1), Up, "for all we know there are no such numbers");
        for _ in 0..12 {
            world.tell(1, Evidence::Revised { failures: 1.0, country: None });
        }
        assert_eq!((world.state(1), world.view_of(1).is_ejected), (Down, true));
    }

    #[test]
    fn count_more_or_less_when_a_later_carrier_shows_them_in_another_light() {
        let mut world = World::new(1);
        world.refuse(1, 503);
        let before = world.view_of(1).failure_rate;
        world.tell(1, Evidence::Revised { failures: 0.5, country: None });
        let confirmed = world.view_of(1);
        assert!(confirmed.failure_rate > before && confirmed.attempts == 1.0, "{confirmed:?}");
        world.tell(1, Evidence::Revised { failures: -1.0, country: None });
        assert!(world.view_of(1).failure_rate < before);
    }

    #[test]
    fn a_failed_trial_ends_it_and_three_good_ones_bring_it_back() {
        for failure in [refusal(500, None), soft(480)] {
            let mut world = half_open();
            world.tell(1, Evidence::AttemptStarted);
            assert!(world.view_of(1).is_half_open_busy);
            world.tell(1, failure);
            assert_eq!(world.state(1), Down);
        }
        // A 404 proves nothing, and what another carrier then says of it may.
        let mut world = half_open();
        world.attempt(1, Class::Destination, 0.0, Some(404));
        assert_eq!(world.state(1), HalfOpen);
        world.tell(1, Evidence::Revised { failures: 1.0, country: None });
        assert_eq!(world.state(1), Down);
        let mut world = half_open();
        for _ in 0..3 {
            world.tell(1, Evidence::Ringing);
        }
        assert_eq!((world.state(1), world.view_of(1).ramp), (Up, 0.1));
    }

    #[test]
    fn start_afresh_after_it_was_down_and_say_nothing_while_it_is() {
        let mut world = World::new(1);
        (0..100).for_each(|_| {
            world.attempt(1, Class::Answered, 0.0, Some(200));
        });
        world.silence(1).silence(1);
        assert_eq!(world.state(1), Down);
        // Calls that were on their way, and what panic tries.
        (0..50).for_each(|_| {
            world.silence(1);
        });
        let view = world.view_of(1);
        assert_eq!(view.attempts, 0.0);
        assert!((view.failure_rate - World::new(1).view_of(1).failure_rate).abs() < 1e-9);
    }

    #[test]
    fn a_latency_rises_at_once_and_falls_the_faster_the_older_it_is() {
        let falls_to = |pause_ms| {
            let mut world = World::new(1);
            world.rings(1, 1_000).rings(1, 5_000);
            assert_eq!(world.view_of(1).ringing_ms, Some(5_000.0));
            world.pass(pause_ms).rings(1, 1_000);
            world.view_of(1).ringing_ms.expect("it was measured")
        };
        assert_eq!(falls_to(10).round(), 4_200.0);
        assert!(falls_to(10_000) < 1_600.0, "{}", falls_to(10_000));
    }

    #[test]
    fn tell_a_country_that_a_carrier_is_bad_at_from_a_carrier_that_is_bad() {
        let mut world = World::new(2);
        for _ in 0..60 {
            for carrier in [1, 2] {
                world.to(carrier, FRANCE, Class::Answered, 0.0);
            }
            world.to(1, GERMANY, Class::CarrierSoft, 0.2);
            world.to(2, GERMANY, Class::Answered, 0.0);
        }
        let view = world.board.poll_view(world.now).expect("news");
        let factor = |carrier, country| view.destination_factor(CarrierId(carrier), Some(country));
        assert!(factor(1, GERMANY) < 0.95, "{}", factor(1, GERMANY));
        for (carrier, country) in [(1, FRANCE), (2, GERMANY), (2, FRANCE)] {
            assert_eq!(factor(carrier, country), 1.0, "{carrier} {country}");
        }
        assert_eq!(view.destination_factor(CarrierId(1), None), 1.0);
    }
}

mod restarts {
    use super::*;

    #[test]
    fn find_everything_as_it_was_left() {
        let mut before = World::new(2);
        before.attempt(1, Class::CarrierSoft, 0.5, Some(480)).rings(1, 1_200);
        before.silence(2).silence(2);
        let saved = before.board.save(before.now);
        let mut after = World::new(2);
        let aged = saved.into_iter().map(|saved| (saved, Duration::from_secs(1))).collect();
        after.board.restore(aged, after.now);
        assert_eq!(after.view_of(1).failure_rate, before.view_of(1).failure_rate);
        assert_eq!(after.view_of(1).ringing_ms, Some(1_200.0));
        assert_eq!(after.state(2), Down);
    }

    #[test]
    fn keep_what_was_saved_of_a_gateway_until_it_resolves() {
        let mut before = World::new(1);
        before.silence(1).silence(1);
        let saved = before.board.save(before.now);
        let mut world = World::new(1);
        world.board.set_targets::<Target>(&world.tables, &[], world.now);
        let aged = saved.into_iter().map(|saved| (saved, Duration::ZERO)).collect();
        world.board.restore(aged, world.now);
        let targets = [target(1)];
        world.board.set_targets(&world.tables, &targets, world.now);
        assert_eq!(world.state(1), Down);
    }

    #[test]
    fn of_the_tables_change_nothing_of_what_is_known() {
        let mut world = World::new(2);
        world.silence(1).silence(1);
        let tables = world.tables.clone();
        world.board.set_targets(&tables, &[target(1), target(2)], world.now);
        assert_eq!((world.state(1), world.state(2)), (Down, Unknown));
    }
}

mod nodes {
    use super::*;

    #[test]
    fn count_what_others_saw_where_little_was_seen_here() {
        let mut other = World::new(1);
        (0..10).for_each(|_| {
            other.attempt(1, Class::CarrierSoft, 0.2, Some(480));
        });
        let mut world = World::new(1);
        let before = world.view_of(1).failure_rate;
        world.hear("b", &mut other);
        let view = world.view_of(1);
        assert_eq!(view.attempts, 10.0);
        assert!(view.failure_rate > before);
        (0..40).for_each(|_| {
            world.attempt(1, Class::Answered, 0.0, Some(200));
        });
        let own = world.view_of(1).failure_rate;
        world.board.merge_peers(&[], world.now);
        assert_eq!(world.view_of(1).failure_rate, own, "our own eyes are enough");
    }

    #[test]
    fn are_asked_by_exactly_one_and_a_node_that_leaves_moves_only_its_own_share() {
        let all = ["a", "b", "c", "d"];
        let asked = |nodes: &[&str]| {
            let mut by: BTreeMap<i64, Vec<String>> = BTreeMap::new();
            for node in nodes {
                let mut world = World::named(node, 60);
                for other in nodes.iter().filter(|other| *other != node) {
                    let mut peer = World::named(other, 60);
                    (1..=60).for_each(|id| {
                        peer.probe(id, Some(200));
                    });
                    world.peers.extend(peer.saved(other));
                }
                world.board.merge_peers(&world.peers, world.now);
                for (_, id) in world.answer_probes_for(1_000) {
                    by.entry(id).or_default().push((*node).to_owned());
                }
            }
            by
        };
        let before = asked(&all);
        assert_eq!(before.len(), 60);
        assert!(before.values().all(|nodes| nodes.len() == 1), "{before:?}");
        for node in all {
            let share = before.values().filter(|nodes| nodes[0] == node).count();
            assert!((5..=27).contains(&share), "{node} asks {share} of 60");
        }
        let after = asked(&all[..3]);
        for (id, nodes) in &before {
            assert!(nodes[0] == "d" || after[id] == *nodes, "{id} moved from {nodes:?}");
            assert_eq!(after[id].len(), 1);
        }
    }

    #[test]
    fn doubt_themselves_when_all_fails_here_and_others_reach_it() {
        let mut other = World::new(4);
        (1..=4).for_each(|id| {
            other.probe(id, Some(200));
        });
        let mut world = World::new(4);
        (1..=4).for_each(|id| {
            world.probe(id, Some(200)).silence(id);
        });
        world.hear("b", &mut other);
        assert!(world.board.is_unfit());
        // From now on it condemns nobody.
        (1..=4).for_each(|id| {
            world.silence(id).silence(id);
        });
        assert!((1..=4).all(|id| world.state(id) == Suspect));
        (1..=4).for_each(|id| {
            world.probe(id, Some(200)).probe(id, Some(200));
        });
        world.board.poll_view(world.now);
        assert!(!world.board.is_unfit());
    }

    #[test]
    fn do_not_doubt_themselves_when_others_fail_too_or_one_carrier_still_works() {
        let dead = |alive: i64| {
            let mut world = World::new(4);
            (1..=4).for_each(|id| {
                world.probe(id, Some(200));
            });
            (1..=4).filter(|id| *id > alive).for_each(|id| {
                world.silence(id).silence(id);
            });
            world
        };
        let mut world = dead(0);
        world.hear("b", &mut dead(0));
        assert!(!world.board.is_unfit());
        let mut other = World::new(4);
        (1..=4).for_each(|id| {
            other.probe(id, Some(200));
        });
        let mut world = dead(2);
        world.hear("b", &mut other);
        assert!(!world.board.is_unfit());
    }

    #[test]
    fn do_not_believe_one_that_reaches_nobody() {
        let mut blind = World::new(4);
        blind.pass(1_000);
        (1..=4).for_each(|id| {
            blind.silence(id).silence(id);
        });
        let mut world = World::new(4);
        world.pass(1_000);
        (1..=4).for_each(|id| {
            world.probe(id, Some(200));
        });
        world.hear("b", &mut blind);
        for id in 1..=4 {
            let view = world.view_of(id);
            assert_eq!((view.reachability, view.attempts), (Up, 0.0));
        }
        // Nor is it relied on to ask for others: all are asked from here.
        let mut asked: Vec<i64> =
            world.answer_probes_for(6_000).into_iter().map(|it| it.1).collect();
        asked.sort_unstable();
        asked.dedup();
        assert_eq!(asked, [1, 2, 3, 4]);
    }
}

/// A board, its tables and its clock.
struct World {
    board: Board,
    tables: Tables,
    start: Instant,
    now: Instant,
    peers: Vec<PeerTarget>,
}

impl World {
    /// Carriers 1 to `carriers`, a gateway each, probed every 5 s.
    fn new(carriers: i64) -> Self {
        Self::with_rows(carriers, |_| {})
    }

    fn named(node: &str, carriers: i64) -> Self {
        Self::build(node, carriers, |_| {})
    }

    fn with_rows(carriers: i64, change: impl FnOnce(&mut Rows)) -> Self {
        Self::build("a", carriers, change)
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn build(node: &str, carriers: i64, change: impl FnOnce(&mut Rows)) -> Self {
        let mut rows = Rows {
            carriers: (1..=carriers).map(carrier).collect(),
            gateways: (1..=carriers).map(gateway).collect(),
            ..Rows::default()
        };
        change(&mut rows);
        let tables = Tables::check(rows, 1).expect("good rows");
        let settings =
            BoardSettings { node: Arc::from(node), probe_timeout: Duration::from_millis(1_800) };
        let now = Instant::now();
        let mut board = Board::new(settings, 7);
        let targets: Vec<Target> = (1..=carriers).map(target).collect();
        board.set_targets(&tables, &targets, now);
        board.poll_view(now);
        Self { board, tables, start: now, now, peers: Vec::new() }
    }

    fn ms(&self) -> u64 {
        u64::try_from((self.now - self.start).as_millis()).expect("small")
    }

    fn pass(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self.board.handle_timeout(self.now);
        self
    }

    fn tell(&mut self, id: i64, evidence: Evidence) -> &mut Self {
        let outcome = Outcome { target: target(id), carrier_id: CarrierId(id), evidence };
        self.board.handle_outcome(&outcome, self.now);
        self
    }

    fn probe(&mut self, id: i64, status_code: Option<u16>) -> &mut Self {
        self.tell(id, Evidence::Probe { status_code, delay: Duration::from_millis(20) })
    }

    fn attempt(&mut self, id: i64, class: Class, weight: f32, code: Option<u16>) -> &mut Self {
        self.tell(id, ended(class, weight, code))
    }

    fn to(&mut self, id: i64, called: u16, class: Class, weight: f32) -> &mut Self {
        let mut evidence = ended(class, weight, Some(480));
        if let Evidence::Attempt { country, .. } = &mut evidence {
            *country = Some(called);
        }
        self.tell(id, evidence)
    }

    fn rings(&mut self, id: i64, ms: u64) -> &mut Self {
        let mut evidence = ended(Class::Answered, 0.0, Some(200));
        if let Evidence::Attempt { ringing_delay, .. } = &mut evidence {
            *ringing_delay = Some(Duration::from_millis(ms));
        }
        self.tell(id, evidence)
    }

    fn refuse(&mut self, id: i64, code: u16) -> &mut Self {
        self.tell(id, refusal(code, None))
    }

    fn silence(&mut self, id: i64) -> &mut Self {
        self.attempt(id, Class::CarrierHard, 1.0, None)
    }

    fn view_of(&mut self, id: i64) -> TargetView {
        // There is a view only where there is news; the same tables again are news, and change nothing.
        let tables = self.tables.clone();
        let targets: Vec<Target> = tables.gateways().map(|gateway| target(gateway.id.0)).collect();
        self.board.set_targets(&tables, &targets, self.now);
        let view = self.board.poll_view(self.now).expect("tables are news");
        view.target(target(id)).expect("a target").as_ref().clone()
    }

    fn state(&mut self, id: i64) -> Reachability {
        self.view_of(id).reachability
    }

    /// Probes that are sent in the next `ms`: when, and to whom. Nothing comes back.
    fn probes_for(&mut self, ms: u64) -> Vec<(u64, i64)> {
        self.run_for(ms, false)
    }

    /// The same, each answered at once.
    fn answer_probes_for(&mut self, ms: u64) -> Vec<(u64, i64)> {
        self.run_for(ms, true)
    }

    fn run_for(&mut self, ms: u64, is_answered: bool) -> Vec<(u64, i64)> {
        let until = self.now + Duration::from_millis(ms);
        let mut sent = Vec::new();
        while let Some(at) = self.board.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.board.handle_timeout(self.now);
            while let Some(due) = self.board.poll_probe(self.now) {
                sent.push((self.ms(), due.target.gateway_id.0));
                if is_answered {
                    self.probe(due.target.gateway_id.0, Some(200));
                }
            }
        }
        self.now = until;
        sent
    }

    fn saved(&mut self, node: &str) -> Vec<PeerTarget> {
        let saved = self.board.save(self.now);
        let peer = |saved| PeerTarget { node: Arc::from(node), saved, age: Duration::ZERO };
        saved.into_iter().map(peer).collect()
    }

    fn hear(&mut self, node: &str, other: &mut World) {
        let peers = other.saved(node);
        self.board.merge_peers(&peers, self.now);
    }
}

/// Carrier 1 was ejected, its pause is over, and it has answered a probe.
fn half_open() -> World {
    let mut world = World::new(1);
    world.probe(1, Some(200)).refuse(1, 500).refuse(1, 500).refuse(1, 500).pass(300);
    assert_eq!(world.state(1), Down);
    world.pass(6_001).probe(1, Some(200));
    assert_eq!(world.state(1), HalfOpen);
    world
}

fn ended(class: Class, weight: f32, status_code: Option<u16>) -> Evidence {
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

fn refusal(code: u16, after: Option<Duration>) -> Evidence {
    let weight = if code == 503 { 0.5 } else { 1.0 };
    let mut evidence = ended(Class::CarrierHard, weight, Some(code));
    if let Evidence::Attempt { retry_after, .. } = &mut evidence {
        *retry_after = after;
    }
    evidence
}

fn soft(code: u16) -> Evidence {
    ended(Class::CarrierSoft, 0.5, Some(code))
}

fn target(id: i64) -> Target {
    let address = SocketAddr::from(([192, 0, 2, u8::try_from(id).expect("small")], 5060));
    Target { gateway_id: GatewayId(id), address }
}

fn carrier(id: i64) -> CarrierRow {
    CarrierRow { carrier_id: id, name: format!("carrier-{id}"), ..CarrierRow::default() }
}

fn gateway(id: i64) -> GatewayRow {
    GatewayRow {
        gateway_id: id,
        carrier_id: id,
        name: format!("gateway-{id}"),
        host: format!("192.0.2.{id}"),
        ..GatewayRow::default()
    }
}
