//! A seeded world of one engine, scripted agents, a lossy network and one virtual clock.
//!
//! `docs/SIMULATOR.md` says what it plays and what it checks.

#![expect(unreachable_pub, reason = "the modules of one test program")]

mod bites;
mod checks;
mod cx;
mod gate;
mod hearing;
mod ladder;
mod link;
mod oracle;
mod party;
mod plan;
mod reliable;
mod scenarios;
mod tables;
mod text;
mod verdicts;
mod world;

use std::collections::BTreeSet;

use gate::Gate;
use holdfast::call::AttemptRecord;
use holdfast::carrier::Class;
use link::{PROFILES, Profile};
use party::Party;
use world::World;

const SEEDS: u64 = 100;
const CALLS: usize = 100;
/// Worlds with a gate.
const GATED_SEEDS: u64 = 20;
/// Worlds with transfers.
const TRANSFER_SEEDS: u64 = 40;

#[test]
fn keeps_every_promise_in_ten_thousand_drawn_calls() {
    let (first, seeds) = match (number("HOLDFAST_SIM_SEED"), number("HOLDFAST_SIM_SEEDS")) {
        (Some(seed), seeds) => (seed, seeds.unwrap_or(1)),
        (None, seeds) => (0, seeds.unwrap_or(SEEDS)),
    };
    let failures: Vec<String> = (first..first + seeds)
        .filter_map(|seed| play(World::drawn(seed, profile_of(seed), CALLS), seed))
        .collect();
    let heads: Vec<&str> = failures.iter().filter_map(|failure| failure.lines().next()).collect();
    if let Some(failure) = failures.first() {
        panic!("{failure}\n{} of {seeds} seeds failed:\n{}", heads.len(), heads.join("\n"));
    }
}

/// Fewer calls: each takes more messages, and what is drawn is the same.
#[test]
fn keeps_every_promise_where_every_carrier_asks_for_credentials() {
    let mut challenges = 0;
    for seed in 0..GATED_SEEDS {
        let mut world = World::drawn(seed, profile_of(seed), CALLS);
        world.gate = Some(Gate::default());
        world.run();
        if let Some(violation) = world.checks.violations.first() {
            panic!("seed {seed}: {}", world.explain(violation));
        }
        challenges += world.gate.map_or(0, |gate| gate.challenges);
    }
    assert!(challenges > 500, "{challenges} challenges");
}

/// Fewer calls here too: most of what is drawn is the same.
#[test]
fn keeps_every_promise_where_calls_are_transferred() {
    let (first, seeds) = match (number("HOLDFAST_SIM_SEED"), number("HOLDFAST_SIM_SEEDS")) {
        (Some(seed), seeds) => (seed, seeds.unwrap_or(1)),
        (None, seeds) => (0, seeds.unwrap_or(TRANSFER_SEEDS)),
    };
    let (mut transfers, mut failed, mut replaced) = (0, 0, 0);
    for seed in first..first + seeds {
        let mut world = World::transferring(seed, profile_of(seed), CALLS);
        world.run();
        if let Some(violation) = world.checks.violations.first() {
            panic!("seed {seed} ({}): {}", profile_of(seed).name, world.explain(violation));
        }
        transfers += world.transfers();
        let attempts = world.records.iter().flat_map(|record| &record.attempts);
        let is_failed = |attempt: &&AttemptRecord| {
            attempt.transferred_to.is_some() && attempt.class != Class::Answered
        };
        failed += attempts.filter(is_failed).count();
        let has_replaced =
            |party: &&Party| party.plan.replaces.is_some() && party.facts.answered_at.is_some();
        replaced += world.parties.iter().filter(has_replaced).count();
    }
    let enough = 5 * seeds;
    assert!(transfers >= enough, "{transfers} transfers of {seeds} seeds");
    assert!(failed as u64 >= enough, "{failed} attempts of transfers failed");
    assert!(replaced as u64 >= seeds, "{replaced} dialogs replaced");
}

#[test]
fn gives_the_same_bytes_for_the_same_seed() {
    let digest = |seed: u64| {
        let mut world = World::drawn(seed, PROFILES[4], 20);
        world.run();
        world.digest()
    };
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
}

/// The worlds above are worth their time only as long as everything happens in them.
#[test]
fn draws_calls_of_every_kind_of_end() {
    let mut ends = BTreeSet::new();
    let mut late_answers = 0;
    for seed in 0..10 {
        let mut world = World::drawn(seed, profile_of(seed), CALLS);
        world.run();
        ends.extend(
            world
                .records
                .iter()
                .map(|record| format!("{} by {}", record.end_cause, record.ended_by)),
        );
        late_answers += world.late_answers();
    }
    for end in [
        "completed by caller",
        "completed by callee",
        "cancelled by caller",
        "failed by callee",
        "failed by holdfast",
        "no_ack by holdfast",
        "terminated by holdfast",
    ] {
        assert!(ends.contains(end), "{end} is not among {ends:?}");
    }
    assert!(late_answers > 10, "{late_answers} late answers");
}

/// Plays a world to its end; gives the seed, the violation and the call's ladder where one is found.
fn play(mut world: World, seed: u64) -> Option<String> {
    world.run();
    let violation = world.checks.violations.first()?;
    Some(format!(
        "seed {seed} ({}): {}\nreplay: HOLDFAST_SIM_SEED={seed} cargo test --test sim \
         keeps_every_promise",
        profile_of(seed).name,
        world.explain(violation)
    ))
}

fn profile_of(seed: u64) -> Profile {
    PROFILES[(seed % PROFILES.len() as u64) as usize]
}

#[expect(clippy::disallowed_methods, reason = "which seeds are played is the reader's to say")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
