//! A seeded world of one engine, scripted agents, a lossy network and one virtual clock.
//!
//! `docs/SIMULATOR.md` says what it plays and what it checks.

#![expect(unreachable_pub, reason = "the modules of one test program")]

mod checks;
mod cx;
mod ladder;
mod link;
mod oracle;
mod party;
mod plan;
mod tables;
mod text;
mod verdicts;
mod world;

use link::{PROFILES, Profile};
use world::World;

const SEEDS: u64 = 100;
const CALLS: usize = 100;

#[test]
fn keeps_every_promise_in_ten_thousand_drawn_calls() {
    let (first, seeds) = match (number("HOLDFAST_SIM_SEED"), number("HOLDFAST_SIM_SEEDS")) {
        (Some(seed), seeds) => (seed, seeds.unwrap_or(1)),
        (None, seeds) => (0, seeds.unwrap_or(SEEDS)),
    };
    for seed in first..first + seeds {
        play(seed, profile_of(seed), CALLS);
    }
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

/// Plays a world to its end; panics with the seed, the violation and the call's ladder.
fn play(seed: u64, profile: Profile, calls: usize) -> World {
    let mut world = World::drawn(seed, profile, calls);
    world.run();
    if let Some(violation) = world.checks.violations.first() {
        panic!(
            "seed {seed} ({}): {}\nreplay: HOLDFAST_SIM_SEED={seed} cargo test --test sim \
             keeps_every_promise",
            profile.name,
            world.explain(violation)
        );
    }
    world
}

fn profile_of(seed: u64) -> Profile {
    PROFILES[(seed % PROFILES.len() as u64) as usize]
}

#[expect(clippy::disallowed_methods, reason = "which seeds are played is the reader's to say")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
