//! Calls that are told, not drawn: each over every network and some seeds.

use std::cell::Cell;

use holdfast::call::{CallRecord, EndCause, EndedBy};
use holdfast::health::{Reachability, Target};

use super::cx::{MS, S};
use super::gate::Gate;
use super::link::{PROFILES, Profile};
use super::party::{Server, Side};
use super::plan::{Plan, Step};
use super::world::World;

const SEEDS: u64 = 4;

#[test]
fn carries_a_call_that_the_caller_hangs_up() {
    everywhere(calling(&[(3 * S, Step::Hangup)]), answering(&[]), |world| {
        assert_eq!(end(world), (200, EndCause::Completed, EndedBy::Caller));
    });
}

#[test]
fn carries_a_call_that_the_carrier_hangs_up() {
    everywhere(calling(&[]), answering(&[(0, Step::Hangup)]), |world| {
        assert_eq!(end(world), (200, EndCause::Completed, EndedBy::Callee));
    });
}

#[test]
fn carries_a_call_through_challenges_of_its_invite_and_within_it() {
    let change = [
        (12 * S, Step::Reinvite { has_offer: true }),
        (20 * S, Step::Info),
        (30 * S, Step::Hangup),
    ];
    for profile in PROFILES {
        for seed in 0..SEEDS {
            let mut world = World::scripted(seed, profile, calling(&change), answering(&[]));
            world.gate = Some(Gate::default());
            world.run();
            if let Some(violation) = world.checks.violations.first() {
                panic!("seed {seed} ({}): {}", profile.name, world.explain(violation));
            }
            assert_eq!(end(&world), (200, EndCause::Completed, EndedBy::Caller));
            assert!(
                world.gate.is_some_and(|gate| gate.challenges >= 4),
                "INVITE, re-INVITE, INFO, BYE"
            );
        }
    }
}

#[test]
fn looks_twice_at_a_gateway_that_has_no_answer_within_a_call_and_keeps_it() {
    let change = [(4_300 * MS, Step::Reinvite { has_offer: true }), (20 * S, Step::Hangup)];
    for (code, is_doubted) in [(503, true), (488, false)] {
        let refusing = Plan { refuses_reinvites: Some(code), ..answering(&[]) };
        let mut world = World::scripted(1, PROFILES[0], calling(&change), refusing);
        world.run();
        assert_eq!(end(&world), (200, EndCause::Completed, EndedBy::Caller));
        let bursts: Vec<Target> = world
            .probes
            .iter()
            .filter(|(at, target)| world.probes.contains(&(at + 500 * MS, *target)))
            .map(|(_, target)| *target)
            .collect();
        assert_eq!(bursts.len(), usize::from(is_doubted), "{code}: {:?}", world.probes);
        if let Some(target) = bursts.first() {
            assert_eq!(world.state_of(*target), Some(Reachability::Up));
        }
    }
}

#[test]
fn lets_both_sides_hang_up_at_once() {
    let hang_up = [(3 * S, Step::Hangup)];
    everywhere(calling(&hang_up), answering(&hang_up), |world| {
        let (status_code, cause, _) = end(world);
        assert_eq!((status_code, cause), (200, EndCause::Completed));
    });
}

#[test]
fn keeps_a_call_whose_sides_change_the_session_at_once() {
    let change = [
        (2 * S, Step::Reinvite { has_offer: true }),
        (2 * S, Step::Info),
        (8 * S, Step::Reinvite { has_offer: false }),
        (40 * S, Step::Hangup),
    ];
    everywhere(calling(&change), answering(&change), |world| {
        assert_eq!(end(world).1, EndCause::Completed);
    });
}

#[test]
fn lets_a_cancel_cross_the_answer() {
    for cancelled_after in [900, 960, 1_000, 1_010, 1_020, 1_040, 1_080] {
        let mut caller = calling(&[]);
        caller.before.push((cancelled_after * MS, Step::Cancel));
        everywhere(caller, answering(&[]), |world| {
            let (status_code, cause, by) = end(world);
            assert!(matches!(
                (status_code, cause, by),
                (200, EndCause::Completed, EndedBy::Caller)
                    | (487, EndCause::Cancelled, EndedBy::Caller)
            ));
        });
    }
}

#[test]
fn carries_a_late_offer_and_its_answer() {
    let mut caller = calling(&[(3 * S, Step::Hangup)]);
    caller.is_late_offer = true;
    everywhere(caller, answering(&[]), |world| {
        assert_eq!(end(world).1, EndCause::Completed);
    });
}

#[test]
fn acknowledges_what_is_provisional_on_both_sides() {
    // The caller knows 100rel, or insists on it; the carrier sends reliably, or does not.
    for (reliability, is_reliable, [at_caller, at_carrier]) in [
        (Some("Supported"), true, [true, true]),
        (Some("Require"), true, [true, true]),
        (Some("Require"), false, [true, false]),
        (Some("Supported"), false, [false, false]),
        (None, true, [false, false]),
    ] {
        let (mut caller, mut carrier) = (calling(&[(3 * S, Step::Hangup)]), answering(&[]));
        caller.reliability = reliability;
        carrier.is_reliable = is_reliable;
        carrier.before[1].1 = Step::Progress { status: 183, has_media: true };
        let has_been_told = Cell::new(false);
        everywhere(caller, carrier, |world| {
            assert_eq!(end(world).1, EndCause::Completed);
            let pracks = |side| {
                let parties = world.parties.iter().filter(|party| party.side == side);
                parties.map(|party| party.facts.pracks).sum::<u32>()
            };
            // Two where the first carrier was given up, and rings all the same.
            assert_eq!(pracks(Side::Carrier) > 0, at_carrier);
            // What the carrier sends unreliably may be lost on its way to us.
            let told = pracks(Side::Caller) > 0;
            assert!(told == at_caller || (!told && !is_reliable));
            has_been_told.set(has_been_told.get() || told);
        });
        assert_eq!(has_been_told.get(), at_caller);
    }
}

#[test]
fn refreshes_both_sides_of_a_long_call() {
    everywhere(calling(&[(200 * S, Step::Hangup)]), answering(&[]), |world| {
        assert_eq!(end(world), (200, EndCause::Completed, EndedBy::Caller));
        for party in &world.parties {
            let is_invited = |server: &&Server| server.request.method() == "INVITE";
            let invites = party.servers.iter().filter(is_invited).count();
            let first = usize::from(party.side == Side::Carrier);
            // One at half of each 90 s.
            assert!(invites - first >= 4, "{invites}");
        }
    });
}

#[test]
fn hangs_up_on_a_caller_that_never_acknowledges() {
    let mut caller = calling(&[]);
    caller.never_acks = true;
    everywhere(caller, answering(&[]), |world| {
        assert_eq!(end(world), (200, EndCause::NoAck, EndedBy::Holdfast));
    });
}

#[test]
fn ends_the_leg_that_lives_when_a_request_to_the_other_finds_nobody() {
    for is_closed in [false, true] {
        let caller = calling(&[(S, Step::Vanish { is_closed })]);
        everywhere(caller, answering(&[(3 * S, Step::Info)]), |world| {
            // The carrier's own patience may end a little before ours, and an ACK may be lost with
            // the caller.
            let is_impatient = end(world).2 == EndedBy::Callee && !is_closed;
            let is_found = matches!(end(world).1, EndCause::Terminated | EndCause::NoAck);
            assert!(is_impatient || is_found, "{:?}", end(world));
        });
    }
}

#[test]
fn keeps_the_first_of_two_branches_that_answer() {
    for answers_after in [950, 1_500, 30_000] {
        let mut carrier = answering(&[]);
        carrier.before.push((100 * MS, Step::Fork { answers_after: answers_after * MS }));
        everywhere(calling(&[(5 * S, Step::Hangup)]), carrier, |world| {
            assert_eq!(end(world).1, EndCause::Completed);
        });
    }
}

#[test]
fn takes_an_answer_with_another_tag_than_its_ringing() {
    let mut carrier = answering(&[]);
    carrier.before.insert(2, (950 * MS, Step::ChangeTag));
    everywhere(calling(&[(3 * S, Step::Hangup)]), carrier, |world| {
        assert_eq!(end(world).1, EndCause::Completed);
    });
}

#[test]
fn sends_late_answers_home_while_the_call_is_elsewhere() {
    let carrier = Plan {
        name: "answers late",
        before: vec![(5 * S, Step::Answer)],
        after: vec![(60 * S, Step::Hangup)],
        ..Plan::default()
    };
    everywhere(calling(&[(3 * S, Step::Hangup)]), carrier, |world| {
        assert!(end(world).0 >= 480);
        assert!(world.records[0].attempts.len() > 1);
    });
}

#[test]
fn bites_on_a_record_that_tells_another_story() {
    type Lie = (&'static str, fn(&mut CallRecord));
    let lies: [Lie; 5] = [
        ("the record says 486", |record| record.status_code = 486),
        ("are recorded as attempts", |record| record.attempts.clear()),
        ("the agents know better", |record| record.ended_by = EndedBy::Callee),
        ("the agents know better", |record| record.end_cause = EndCause::NoAck),
        ("a call without a record", |record| record.inbound_call_id.clear()),
    ];
    for (complaint, lie) in lies {
        let caller = calling(&[(3 * S, Step::Hangup)]);
        let mut world = World::scripted(1, PROFILES[0], caller, answering(&[]));
        world.run();
        assert!(world.checks.violations.is_empty());
        let mut record = world.records.remove(0);
        lie(&mut record);
        world.checks.calls_over(&world.parties, &[record], 1);
        let found = &world.checks.violations[0].what;
        assert!(found.contains(complaint), "{found}");
    }
}

#[test]
fn bites_on_a_second_record_of_one_call() {
    let caller = calling(&[(3 * S, Step::Hangup)]);
    let mut world = World::scripted(1, PROFILES[0], caller, answering(&[]));
    world.run();
    let record = world.records.remove(0);
    world.checks.recorded(&record);
    let found: Vec<&str> =
        world.checks.violations.iter().map(|violation| violation.what.as_str()).collect();
    assert_eq!(found.len(), 2, "{found:?}");
}

/// Status code, cause and culprit of the one call's record.
fn end(world: &World) -> (u16, EndCause, EndedBy) {
    let record = &world.records[0];
    (record.status_code, record.end_cause, record.ended_by)
}

fn calling(after: &[(u64, Step)]) -> Plan {
    Plan {
        name: "is told",
        before: vec![(0, Step::Invite)],
        after: after.to_vec(),
        ..Plan::default()
    }
}

/// Rings after 100 ms and answers after 950.
fn answering(after: &[(u64, Step)]) -> Plan {
    let progress = Step::Progress { status: 180, has_media: false };
    Plan {
        name: "is told",
        before: vec![(5 * MS, Step::Trying), (100 * MS, progress), (950 * MS, Step::Answer)],
        after: after.to_vec(),
        ..Plan::default()
    }
}

/// Plays one call in every network from some seeds, and looks at each.
fn everywhere(caller: Plan, carrier: Plan, look: impl Fn(&World)) {
    for profile in PROFILES {
        for seed in 0..SEEDS {
            let world = once(seed, profile, &caller, &carrier);
            look(&world);
        }
    }
}

fn once(seed: u64, profile: Profile, caller: &Plan, carrier: &Plan) -> World {
    let mut world = World::scripted(seed, profile, caller.clone(), carrier.clone());
    world.run();
    if let Some(violation) = world.checks.violations.first() {
        panic!("seed {seed} ({}): {}", profile.name, world.explain(violation));
    }
    world
}
