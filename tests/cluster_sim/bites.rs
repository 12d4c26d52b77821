//! Each check sees what it is there for: worlds with a flaw are found out.

use super::cx::{MS, S};
use super::faults::Fault;
use super::link::{PROFILES, Profile};
use super::profile_of;
use super::store::Flaw;
use super::world::World;

/// Seeds that a flaw has to show itself in.
const SEEDS: u64 = 300;

fn is_found(flaw: Flaw) {
    is_found_on(flaw, profile_of);
}

fn is_found_on(flaw: Flaw, profile: impl Fn(u64) -> Profile) {
    let is_seen = |seed| {
        let mut world = World::drawn(seed, profile(seed), flaw);
        world.run();
        !world.checks.violations.is_empty()
    };
    assert!((0..SEEDS).any(is_seen), "{flaw:?} was not found");
}

/// The flaw shows itself in these troubles, and without it they are none.
fn is_found_in(flaw: Flaw, faults: &[(u64, Fault)]) {
    let is_seen = |seed, flaw| {
        let mut world = World::troubled(seed, PROFILES[0], flaw, faults);
        world.run();
        !world.checks.violations.is_empty()
    };
    let seen = (0..SEEDS).find(|seed| is_seen(*seed, flaw));
    let seed = seen.unwrap_or_else(|| panic!("{flaw:?} was not found"));
    assert!(!is_seen(seed, Flaw::None), "seed {seed} shows something else");
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
    is_found_in(Flaw::JudgesWhatWasKeptSince, &[(5 * S, Fault::Stall { for_us: 1_500 * MS })]);
}

#[test]
fn sees_a_dialog_denied_while_it_moves() {
    is_found(Flaw::SaysUnknownTooSoon);
}

#[test]
fn sees_a_repeated_bye_denied() {
    is_found_on(Flaw::ForgetsWhereTo, |_| PROFILES[2]);
}

#[test]
fn sees_a_call_whose_claim_was_not_heard_of() {
    // It claims about 1.8 s after the death.
    is_found_in(
        Flaw::ClaimsOnce,
        &[
            (20 * S, Fault::Crash { node: 0 }),
            (21_500 * MS, Fault::LosesAnswers { for_us: 800 * MS }),
        ],
    );
}

#[test]
fn sees_a_lapse_that_a_late_renewal_has_hidden() {
    is_found_in(
        Flaw::TrustsTheNextRenewal,
        &[
            (20 * S, Fault::CutFromStore { node: 0, for_us: 3 * S }),
            (20 * S, Fault::CutNodes { nodes: (0, 1), for_us: 6 * S }),
        ],
    );
}

#[test]
fn sees_peers_that_nobody_has_told() {
    is_found(Flaw::NeverRefreshes);
}

#[test]
fn sees_calls_of_a_dead_node_left_to_themselves() {
    is_found(Flaw::NeverClaims);
}

#[test]
fn sees_a_node_that_acts_for_a_call_it_never_heard_was_kept() {
    // What was asked for while the store stalled is kept, and the answer comes once it has been frozen.
    is_found_in(
        Flaw::LooksAtItsOwnOnly,
        &[
            (5 * S, Fault::Stall { for_us: 1_500 * MS }),
            (6_505 * MS, Fault::CutFromStore { node: 0, for_us: 4_800 * MS }),
            (6_600 * MS, Fault::Freeze { node: 0, for_us: 4_950 * MS }),
        ],
    );
}

#[test]
fn gives_the_calls_of_a_node_that_drains_to_all_the_others() {
    let most = |flaw| {
        let heirs = |seed| {
            let faults = [(20 * S, Fault::Drain { node: 0 })];
            let mut world = World::troubled(seed, PROFILES[0], flaw, &faults);
            world.run();
            world.checks.heirs.len()
        };
        (0..60).map(heirs).max()
    };
    assert_eq!(most(Flaw::None), Some(2));
    assert_eq!(most(Flaw::GivesAllToOne), Some(1));
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
    assert!(claims > 30 && given > 3 && refreshed > 15, "{claims} {given} {refreshed}");
}
