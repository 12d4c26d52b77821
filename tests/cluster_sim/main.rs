//! A seeded cluster: nodes of real engines and real memberships, a model of the store between them, scripted peers,
//! and one virtual clock.
//!
//! `docs/SIMULATOR.md` says what it plays and what it checks.

#![expect(unreachable_pub, reason = "the modules of one test program")]
#![allow(clippy::wrong_self_convention, reason = "to_agent, to_store: where something goes")]

mod agent;
mod bites;
mod checks;
mod cx;
mod faults;
mod glue;
#[path = "../sim/link.rs"]
mod link;
mod node;
mod store;
#[path = "../sim/tables.rs"]
mod tables;
#[path = "../sim/text.rs"]
#[allow(dead_code, reason = "a part is enough here")]
mod text;
mod world;

use link::{PROFILES, Profile};
use store::Flaw;
use world::World;

const SEEDS: u64 = 300;

#[test]
fn keeps_every_call_whatever_befalls_its_nodes() {
    let (first, seeds) = match (number("HOLDFAST_SIM_SEED"), number("HOLDFAST_SIM_SEEDS")) {
        (Some(seed), seeds) => (seed, seeds.unwrap_or(1)),
        (None, many) => (0, many.unwrap_or(SEEDS)),
    };
    let failures: Vec<String> = (first..first + seeds).filter_map(play).collect();
    let heads: Vec<&str> = failures.iter().filter_map(|failure| failure.lines().next()).collect();
    if let Some(failure) = failures.first() {
        panic!("{failure}\n{} of {seeds} seeds failed:\n{}", heads.len(), heads.join("\n"));
    }
}

/// Plays a world to its end; gives the seed, the violation and its ladder where one is found.
fn play(seed: u64) -> Option<String> {
    let mut world = World::drawn(seed, profile_of(seed), Flaw::None);
    world.run();
    let violation = world.checks.violations.first()?;
    Some(format!(
        "seed {seed} ({}): {}\nreplay: HOLDFAST_SIM_SEED={seed} cargo test --test cluster_sim \
         keeps_every_call",
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
