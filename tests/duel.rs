//! The oracles of the duel, quickly: what Holdfast's scoring must do in each, over a few seeds. The whole of it, with
//! the scorers of others, is `sip-tests/duel`.

#[path = "../benches/duel/arena/mod.rs"]
mod arena;

use arena::Contender;
use arena::measure::{Figures, median, worst};
use arena::oracles::{BEFORE_S, Oracle};
use arena::world::{CALLS_A_SECOND, CallRecord, Run, run};

const SEEDS: u64 = 5;

/// The figures of each seed, and the last run itself.
fn holdfast(name: &str) -> (Vec<Figures>, Run, Oracle) {
    let oracle = Oracle::named(name).expect("an oracle");
    let mut runs = Vec::new();
    let mut last = None;
    for seed in 1..=SEEDS {
        let oracle = oracle.with_seed(seed);
        let run = run(Contender::Holdfast, &oracle, CALLS_A_SECOND, seed);
        runs.push(Figures::of(&oracle, &run));
        last = Some((run, oracle));
    }
    let (run, oracle) = last.expect("some seeds");
    (runs, run, oracle)
}

fn worst_of(runs: &[Figures]) -> Figures {
    Figures::over(runs, worst)
}

fn median_of(runs: &[Figures]) -> Figures {
    Figures::over(runs, median)
}

#[test]
fn a_total_outage_is_avoided_within_two_seconds_and_costs_each_call_in_flight_one_attempt() {
    let (runs, run, oracle) = holdfast("total-outage");
    let worst = worst_of(&runs);
    assert!(worst.avoided_s <= 2.0, "{worst:?}");
    assert!(worst.wasted <= 0.03 && worst.lost_percent == 0.0, "{worst:?}");
    assert!(worst.recovered_s <= 15.0, "{worst:?}");
    // No more than the calls that were on their way when it fell, and a few that prove it later.
    let until = BEFORE_S + oracle.fault_s;
    let of_first = run.wasted.iter().filter(|(carrier, started, _)| {
        *carrier == 0 && (BEFORE_S..until).contains(&started.as_secs_f64())
    });
    let in_flight = 2.0 * CALLS_A_SECOND;
    assert!((of_first.count() as f64) < in_flight, "{worst:?}");
}

#[test]
fn a_carrier_that_refuses_calls_and_answers_probes_is_avoided_within_two_seconds() {
    for name in ["good-probes-bad-calls", "half-lost"] {
        let (runs, ..) = holdfast(name);
        let (median, worst) = (median_of(&runs), worst_of(&runs));
        assert!(median.avoided_s <= 2.0 && worst.avoided_s <= 3.0, "{name}: {worst:?}");
        assert!(worst.wasted <= 0.03 && worst.lost_percent == 0.0, "{name}: {worst:?}");
        assert!(median.recovered_s <= 25.0, "{name}: {median:?}");
    }
}

#[test]
fn doubtful_refusals_are_traced_to_their_carrier_by_what_others_say_of_the_number() {
    for name in ["404-no-circuit", "404-bare", "soft-480"] {
        let (runs, ..) = holdfast(name);
        let (median, worst) = (median_of(&runs), worst_of(&runs));
        assert!(worst.avoided_s <= 10.0, "{name}: {worst:?}");
        assert!(worst.wasted <= 0.06 && worst.lost_percent == 0.0, "{name}: {worst:?}");
        assert!(median.recovered_s <= 40.0, "{name}: {median:?}");
    }
}

#[test]
fn healthy_carriers_are_never_kept_away() {
    for name in ["control", "odd-probes", "bad-destination", "capacity"] {
        let (runs, ..) = holdfast(name);
        let worst = worst_of(&runs);
        assert!(worst.ejections == 0.0, "{name}: {worst:?}");
        assert!(worst.wasted <= 0.015 && worst.lost_percent < 0.05, "{name}: {worst:?}");
    }
}

#[test]
fn a_slow_carrier_is_avoided_and_tried_again_later() {
    let (runs, ..) = holdfast("slow-ringing");
    let (median, worst) = (median_of(&runs), worst_of(&runs));
    assert!(worst.avoided_s <= 15.0 && median.recovered_s <= 60.0, "{worst:?}");
    assert!(median.reached_ms < 3_500.0, "{median:?}");
}

#[test]
fn a_node_that_is_cut_off_does_not_make_the_other_condemn_anybody_and_is_back_at_once() {
    let (runs, run, oracle) = holdfast("isolated-node");
    let worst = worst_of(&runs);
    assert!(worst.away_s <= 15.0 && worst.recovered_s <= 2.0, "{worst:?}");
    // Calls of the end have not come to theirs.
    let until = BEFORE_S + oracle.fault_s + 60.0;
    let is_of_other = |call: &&CallRecord| call.node == 0 && call.at.as_secs_f64() < until;
    let of_other = run.calls.iter().filter(is_of_other);
    let lost = of_other.filter(|call| call.is_lost).count();
    assert_eq!(lost, 0, "at the node that is not cut off");
}

#[test]
fn flapping_costs_little() {
    let (runs, ..) = holdfast("flapping");
    let worst = worst_of(&runs);
    assert!(worst.wasted <= 0.08 && worst.lost_percent == 0.0, "{worst:?}");
}

#[test]
fn when_all_are_down_it_goes_on_trying_and_the_first_call_that_can_succeed_does() {
    let (runs, run, oracle) = holdfast("all-down");
    let worst = worst_of(&runs);
    assert!(worst.recovered_s <= 1.0, "{worst:?}");
    let during = BEFORE_S + 10.0..BEFORE_S + oracle.fault_s;
    let mut calls = run.calls.iter().filter(|call| during.contains(&call.at.as_secs_f64()));
    assert!(calls.all(|call| call.attempts > 0), "every call is tried");
}

#[test]
fn the_scorers_of_others_serve_a_world_in_which_nothing_is_wrong() {
    let oracle = Oracle::named("control").expect("an oracle").with_seed(1);
    for contender in Contender::ALL {
        let figures = Figures::of(&oracle, &run(contender, &oracle, CALLS_A_SECOND, 1));
        assert!(figures.lost_percent < 0.1, "{}: {figures:?}", contender.name());
    }
}

#[test]
fn a_run_is_the_same_for_the_same_seed() {
    let oracle = Oracle::named("flapping").expect("an oracle").with_seed(3);
    let calls = || format!("{:?}", run(Contender::Holdfast, &oracle, 20.0, 3).calls);
    assert!(calls() == calls(), "two runs of one seed differ");
}
