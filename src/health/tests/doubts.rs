//! What is seen of a gateway within calls and of its connection: signs of life and doubts, and no judgement of its calls.

use super::*;

#[test]
fn begin_the_burst_whose_answers_end_them() {
    let mut world = World::new(1);
    world.answer_probes_for(1_500);
    let doubted_at = world.ms();
    doubt(&mut world, 100);
    assert_eq!(world.state(1), Suspect);
    let probes = world.answer_probes_for(1_000);
    let delays: Vec<u64> = probes.iter().map(|(at, _)| at - doubted_at).collect();
    assert_eq!(delays, [250, 750]);
    assert_eq!(world.state(1), Up);
}

#[test]
fn take_it_down_where_the_burst_is_not_answered_either() {
    let mut world = World::new(1);
    world.answer_probes_for(1_500);
    doubt(&mut world, 100);
    assert_eq!(world.probes_for(300).len(), 1);
    world.silence(1);
    assert_eq!(world.state(1), Down);
}

#[test]
fn take_nobody_down_by_themselves() {
    let mut world = World::new(1);
    world.probe(1, Some(200)).pass(200);
    for _ in 0..20 {
        doubt(&mut world, 100);
    }
    assert_eq!(world.state(1), Suspect);
}

#[test]
fn are_none_where_it_has_shown_life_since_it_was_asked() {
    let mut world = World::new(1);
    world.probe(1, Some(200)).pass(20_000);
    world.tell(1, Evidence::Alive).pass(12_000);
    doubt(&mut world, 32_000);
    assert_eq!(world.state(1), Up, "who did not answer is behind it");
    doubt(&mut world, 12_000);
    assert_eq!(world.state(1), Suspect, "it has said nothing since");
}

#[test]
fn are_none_of_a_gateway_without_probes_or_while_we_doubt_ourselves() {
    let mut world = World::with_rows(1, |rows| rows.carriers[0].probe_interval_ms = 0);
    world.tell(1, Evidence::Alive).pass(1_000);
    doubt(&mut world, 500);
    assert_eq!(world.state(1), Up);
}

#[test]
fn do_not_touch_what_is_believed_of_its_calls() {
    let mut world = World::new(1);
    world.probe(1, Some(200));
    for _ in 0..10 {
        world.attempt(1, Class::Answered, 0.0, Some(200));
    }
    let before = world.view_of(1);
    for _ in 0..10 {
        world.pass(10).tell(1, Evidence::Alive).pass(200);
        doubt(&mut world, 100);
    }
    let after = world.view_of(1);
    assert_eq!((before.attempts, before.failure_rate), (after.attempts, after.failure_rate));
    assert_eq!((before.latency_ms, after.is_ejected), (after.latency_ms, false));
}

#[test]
fn signs_of_life_clear_a_suspect_and_are_not_the_calls_that_an_ejected_one_has_to_prove() {
    let mut world = World::new(1);
    world.probe(1, Some(200)).pass(200);
    doubt(&mut world, 100);
    world.tell(1, Evidence::Alive).tell(1, Evidence::Alive);
    assert_eq!(world.state(1), Up);
    let mut world = half_open();
    assert!(world.view_of(1).is_ejected);
    (0..10).for_each(|_| {
        world.tell(1, Evidence::Alive);
    });
    assert_eq!(world.state(1), HalfOpen);
}

fn doubt(world: &mut World, waited_ms: u64) {
    world.tell(1, Evidence::Doubt { waited: Duration::from_millis(waited_ms) });
}
