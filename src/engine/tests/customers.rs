//! What customers' rows allow them.

use super::*;

#[test]
fn a_customer_that_has_as_many_calls_as_it_may_is_told_so_until_one_of_them_is_over() {
    let mut world = World::with(|rows| rows.customers[0].max_calls = Some(1));
    let (ok, _) = world.establish();
    world.caller_sends(&invite("2"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("503 Service Unavailable")]);
    let refusal = &sent[0].1;
    assert_eq!(text_of(refusal, HeaderName::RetryAfter).as_deref(), Some("5"));
    let reason = "SIP;cause=503;text=\"over max_calls of its customer\"";
    assert_eq!(text_of(refusal, HeaderName::Reason).as_deref(), Some(reason));
    let record = world.record();
    assert_eq!((record.end_cause, record.status_code), (EndCause::OverLimit, 503));
    assert_eq!(&*record.detail, "over max_calls of its customer");
    assert_eq!(record.customer.as_ref().map(|(id, _)| id.0), Some(1));
    assert!(record.attempts.is_empty() && record.route_id.is_some());
    assert_eq!(world.engine.counters().calls_over_customer_limit, 1);
    // The next may begin with the end of the first, though our BYE is not answered.
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    world.sent();
    world.caller_sends(&invite("3"));
    assert_eq!(lines(&world.sent()), [to_caller("100 Trying"), to_first("INVITE")]);
}

#[test]
fn a_call_that_is_cancelled_or_refused_leaves_its_place_to_another() {
    let mut world = World::with(|rows| rows.customers[0].max_calls = Some(1));
    for number in ["1", "2", "3"] {
        world.caller_sends(&invite(number));
        let sent = world.sent();
        assert_eq!(lines(&sent), [to_caller("100 Trying"), to_first("INVITE")]);
        if number == "2" {
            world.caller_sends(&cancel(number));
        } else {
            world.answer(FIRST, &sent[1].1, 486, "b1", "");
        }
        world.sent();
    }
    assert_eq!(world.engine.counters().calls_over_customer_limit, 0);
}

#[test]
fn a_customers_calls_begin_no_faster_than_it_may() {
    let mut world = World::with(|rows| rows.customers[0].max_cps = Some(2.0));
    let begins = |world: &mut World, number: u32| {
        world.caller_sends(&invite(&number.to_string()));
        let sent = world.sent();
        let first = sent[0].1.clone();
        (first.status_code() == 100, text_of(&first, HeaderName::Reason))
    };
    assert!(begins(&mut world, 1).0 && begins(&mut world, 2).0);
    let (is_taken, reason) = begins(&mut world, 3);
    assert!(!is_taken && reason.is_some_and(|it| it.contains("over max_cps of its customer")));
    world.pass(Duration::from_millis(500));
    world.sent();
    assert!(begins(&mut world, 4).0);
}

#[test]
fn an_emergency_call_is_never_one_too_many_for_its_customer() {
    let mut world = World::with(|rows| {
        rows.customers[0].max_calls = Some(1);
        rows.customers[0].max_cps = Some(0.001);
        rows.routes[0].is_emergency = true;
    });
    for number in ["1", "2", "3"] {
        world.caller_sends(&invite(number));
        assert_eq!(lines(&world.sent()), [to_caller("100 Trying"), to_first("INVITE")]);
    }
}
