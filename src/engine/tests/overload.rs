//! What a shard does that has more to do than it can.

use super::*;

#[test]
fn refuses_new_calls_without_a_trace_while_it_is_behind_and_serves_those_in_progress() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    for _ in 0..100 {
        world.now += Duration::from_millis(100);
        world.engine.note_delay(Duration::from_millis(500), world.now);
    }
    let before = world.engine.counters();
    for number in 10..60 {
        world.caller_sends(&invite(&number.to_string()));
    }
    let after = world.engine.counters();
    let refused = after.calls_refused_overload;
    assert!((45..=50).contains(&refused), "{refused} of 50, at a share of 0.98");
    assert_eq!(after.calls - before.calls, 50 - refused, "a refused one is no call");
    let servers = after.server_transactions_now - before.server_transactions_now;
    assert_eq!(servers, 50 - refused, "nor a transaction");
    let sent = world.sent();
    let refusal = sent.iter().find(|(_, message)| message.status_code() == 503).expect("one");
    assert_eq!(refusal.1.first(HeaderName::RetryAfter), Some(&b"5"[..]));
    world.caller_sends(&in_dialog(&ok, "INFO", 2, ""));
    assert_eq!(lines(&world.sent()), [to_first("INFO")]);
}

#[test]
fn takes_every_call_again_once_it_keeps_up() {
    let mut world = World::new();
    for turn in 0..200 {
        world.now += Duration::from_millis(100);
        world.engine.note_delay(Duration::from_millis(if turn < 20 { 200 } else { 0 }), world.now);
    }
    for number in 1..=8 {
        world.caller_sends(&invite(&number.to_string()));
    }
    assert_eq!(world.engine.counters().calls_refused_overload, 0);
}

#[test]
fn a_shard_that_may_be_behind_for_ever_refuses_nobody() {
    let mut world =
        World::at("203.0.113.1:5060", 1, rows(), |settings| settings.overload_wait = None);
    for _ in 0..100 {
        world.now += Duration::from_millis(100);
        world.engine.note_delay(Duration::from_millis(500), world.now);
    }
    for number in 1..=8 {
        world.caller_sends(&invite(&number.to_string()));
    }
    assert_eq!(world.engine.counters().calls_refused_overload, 0);
}
