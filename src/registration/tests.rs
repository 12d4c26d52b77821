//! A registration through its life, without waiting for any of it.

use super::*;

#[test]
fn registers_at_once_and_again_before_it_runs_out() {
    let mut world = World::new(300);
    assert_eq!(world.time(), Some(ask(1, 300)));
    assert_eq!(world.binding.poll_timeout(), None);
    assert_eq!(world.binding.on_accepted(seconds(300), world.now), None);
    assert_eq!(world.binding.registered_at(), Some(target(1)));
    world.pass(224);
    assert_eq!(world.time(), None);
    world.pass(1);
    assert_eq!(world.time(), Some(ask(1, 300)));
    // What is granted counts, not what was asked for.
    world.binding.on_accepted(seconds(60), world.now);
    world.pass(45);
    assert_eq!(world.time(), Some(ask(1, 300)));
}

#[test]
fn asks_for_more_where_the_registrar_wants_more_but_not_for_ever() {
    let mut world = World::new(60);
    world.time();
    let (targets, now) = (world.targets.clone(), world.now);
    let more = |binding: &mut Binding, at_least| binding.on_too_brief(at_least, &targets, 0.0, now);
    assert_eq!(more(&mut world.binding, seconds(600)), Some(ask(1, 600)));
    // One that asks for no more than it got makes no sense: the next one.
    assert_eq!(more(&mut world.binding, seconds(600)), Some(ask(2, 600)));
    assert_eq!(more(&mut world.binding, seconds(86_401)), None);
    world.pass(5);
    assert_eq!(world.time(), Some(ask(1, 600)));
}

#[test]
fn goes_to_the_next_target_at_once_and_pauses_longer_with_each_round_that_failed() {
    let mut world = World::new(300);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert_eq!(world.time(), Some(ask(1, 300)));
        assert_eq!(world.refused(None), Some(ask(2, 300)));
        assert_eq!(world.refused(None), None);
        let until = world.binding.poll_timeout().expect("a pause");
        pauses.push((until - world.now).as_secs());
        world.now = until;
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
    // Half of a pause is drawn.
    world.time();
    world.draw = 0.0;
    world.refused(None);
    world.refused(None);
    assert_eq!(world.binding.poll_timeout(), Some(world.now + seconds(150)));
}

#[test]
fn moves_at_once_when_its_target_is_gone_but_does_not_hurry_on_when_the_others_fail() {
    let mut world = World::new(300);
    world.time();
    world.binding.on_accepted(seconds(300), world.now);
    world.pass(1);
    world.binding.hurry(world.now);
    world.targets = vec![target(2)];
    assert_eq!(world.time(), Some(ask(2, 300)));
    assert_eq!(world.refused(None), None);
    world.binding.hurry(world.now);
    assert_eq!(world.time(), None);
    assert_eq!(world.binding.registered_at(), Some(target(1)));
}

#[test]
fn heeds_retry_after_within_reason() {
    for (asked, waits) in [(1, 5), (100, 100), (100_000, 300)] {
        let mut world = World::new(300);
        world.targets.truncate(1);
        world.time();
        assert_eq!(world.refused(Some(seconds(asked))), None);
        assert_eq!(world.binding.poll_timeout(), Some(world.now + seconds(waits)));
    }
}

#[test]
fn keeps_to_the_target_that_has_accepted_and_stays_registered_until_it_runs_out() {
    let mut world = World::new(300);
    world.time();
    world.refused(None);
    world.binding.on_accepted(seconds(300), world.now);
    assert_eq!(world.binding.registered_at(), Some(target(2)));
    world.pass(225);
    assert_eq!(world.time(), Some(ask(2, 300)));
    assert_eq!(world.refused(None), Some(ask(1, 300)));
    world.refused(None);
    assert_eq!(world.binding.registered_at(), Some(target(2)));
    world.pass(75);
    world.time();
    assert_eq!(world.binding.registered_at(), None);
}

#[test]
fn leaves_what_it_has_and_is_over_whatever_the_registrar_says() {
    for is_refused in [false, true] {
        let mut world = World::new(300);
        world.time();
        world.binding.on_accepted(seconds(300), world.now);
        assert_eq!(world.binding.leave(), Some(ask(1, 0)));
        assert!(!world.binding.is_over());
        match is_refused {
            true => assert_eq!(world.refused(None), None),
            false => assert_eq!(world.binding.on_accepted(Duration::ZERO, world.now), None),
        }
        assert!(world.binding.is_over());
    }
}

#[test]
fn leaves_once_its_answer_is_there() {
    let mut world = World::new(300);
    world.time();
    assert_eq!(world.binding.leave(), None);
    assert_eq!(world.binding.on_accepted(seconds(300), world.now), Some(ask(1, 0)));
    world.binding.on_accepted(Duration::ZERO, world.now);
    assert!(world.binding.is_over());
    let mut world = World::new(300);
    assert_eq!(world.binding.leave(), None);
    assert!(world.binding.is_over(), "nothing was registered");
}

#[test]
fn waits_for_a_name_to_be_resolved() {
    let mut world = World::new(300);
    world.targets.clear();
    assert_eq!(world.time(), None);
    world.targets = vec![target(1)];
    world.pass(5);
    assert_eq!(world.time(), Some(ask(1, 300)));
}

#[test]
fn a_registrar_that_grants_nothing_is_asked_again_later() {
    let mut world = World::new(300);
    world.time();
    assert_eq!(world.binding.on_accepted(Duration::ZERO, world.now), None);
    assert_eq!(world.binding.registered_at(), None);
    world.pass(5);
    assert_eq!(world.time(), Some(ask(1, 300)));
    // And one that grants a second does not have us ask every second.
    world.binding.on_accepted(seconds(1), world.now);
    world.pass(1);
    assert_eq!(world.time(), None);
}

struct World {
    binding: Binding,
    now: Instant,
    targets: Vec<SocketAddr>,
    draw: f64,
}

impl World {
    fn new(wanted: u64) -> Self {
        let now = base();
        let targets = vec![target(1), target(2)];
        Self { binding: Binding::new(seconds(wanted), now), now, targets, draw: 1.0 }
    }

    fn pass(&mut self, time: u64) {
        self.now += seconds(time);
    }

    fn time(&mut self) -> Option<Ask> {
        self.binding.on_timeout(&self.targets, self.draw, self.now)
    }

    fn refused(&mut self, retry_after: Option<Duration>) -> Option<Ask> {
        self.binding.on_refused(&self.targets, retry_after, self.draw, self.now)
    }
}

fn ask(number: u8, expires: u64) -> Ask {
    Ask { target: target(number), expires: seconds(expires) }
}

fn target(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 5060).into()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn base() -> Instant {
    Instant::now()
}
