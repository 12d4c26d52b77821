//! Each check sees what it is there for: worlds with a flaw are found out.

use super::profile_of;
use super::store::Flaw;
use super::world::World;

/// Seeds that a flaw has to show itself in.
const SEEDS: u64 = 250;

fn is_found(flaw: Flaw) {
    let is_seen = |seed| {
        let mut world = World::drawn(seed, profile_of(seed), flaw);
        world.run();
        !world.checks.violations.is_empty()
    };
    assert!((0..SEEDS).any(is_seen), "{flaw:?} was not found");
}

#[test]
fn sees_two_nodes_with_one_call() {
    is_found(Flaw::LetsTwoClaim);
}

#[test]
fn sees_two_records_of_one_call() {
    is_found(Flaw::TakesAnyRecord);
}

#[test]
fn sees_a_call_in_the_wrong_region() {
    is_found(Flaw::IgnoresRegions);
}

#[test]
fn sees_a_node_that_acts_for_calls_it_has_lost() {
    is_found(Flaw::SkipsOwnershipCheck);
}

#[test]
fn sees_a_living_node_taken_for_dead() {
    is_found(Flaw::BelievesLeasesAlone);
}

#[test]
fn sees_a_call_that_nobody_has_since_it_was_kept_while_the_store_was_asked() {
    is_found(Flaw::JudgesWhatWasKeptSince);
}

#[test]
fn sees_a_dialog_denied_while_it_moves() {
    is_found(Flaw::SaysUnknownTooSoon);
}

#[test]
fn sees_a_repeated_bye_denied() {
    is_found(Flaw::ForgetsWhereTo);
}

#[test]
fn sees_peers_that_nobody_has_told() {
    is_found(Flaw::NeverRefreshes);
}

#[test]
fn sees_calls_of_a_dead_node_left_to_themselves() {
    is_found(Flaw::NeverClaims);
}

/// The worlds are worth their time only as long as something happens in them.
#[test]
fn draws_worlds_in_which_calls_move() {
    let (mut claims, mut given, mut refreshed) = (0, 0, 0);
    for seed in 0..60 {
        let mut world = World::drawn(seed, profile_of(seed), Flaw::None);
        world.run();
        claims += world.checks.claims;
        given += world.checks.given;
        refreshed += world.checks.refreshed;
    }
    assert!(claims > 30 && given > 3 && refreshed > 1, "{claims} {given} {refreshed}");
}
