//! A gateway that refuses an INVITE for its terms is asked again on its own; Require of callers.

use super::*;

#[test]
fn asks_the_same_gateway_again_with_an_interval_that_it_takes() {
    let mut world = World::set_up(|_| {}, |settings| settings.session.session_expires_s = 180);
    world.caller_sends(&invite("1"));
    let first = world.sent()[1].1.clone();
    world.receive(FIRST, &with_lines(&response(&first, 422, "b1", FIRST, ""), "Min-SE: 300\r\n"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_first("INVITE")]);
    let second = &sent[1].1;
    assert_eq!(text_of(second, HeaderName::SessionExpires), Some("300".to_owned()));
    assert_eq!(text_of(second, HeaderName::MinSe), Some("300".to_owned()));
    assert_eq!((second.call_id(), second.cseq().0), (first.call_id(), 2));
    assert_eq!(second.from_tag(), first.from_tag());
    world.answer(FIRST, second, 200, "b1", SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_caller("200 OK")]);
    assert_eq!(sent[0].1.cseq().0, 2);
    world.caller_sends(&in_dialog(&sent[1].1, "ACK", 1, ""));
    world.caller_sends(&in_dialog(&sent[1].1, "BYE", 2, ""));
    let bye = world.sent()[1].1.clone();
    assert_eq!(bye.cseq().0, 3);
    world.answer(FIRST, &bye, 200, "b1", "");
    assert_eq!(world.record().attempts.len(), 1);
    world.run_dry();
}

#[test]
fn asks_again_without_the_extension_that_the_gateway_cannot_bear() {
    let mut world = World::set_up(|_| {}, |settings| settings.session.session_expires_s = 180);
    world.caller_sends(&invite("1"));
    let first = world.sent()[1].1.clone();
    let refusal = with_lines(&response(&first, 420, "b1", FIRST, ""), "Unsupported: timer\r\n");
    world.receive(FIRST, &refusal);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_first("INVITE")]);
    let supported = text_of(&sent[1].1, HeaderName::Supported).unwrap_or_default();
    assert!(!supported.contains("timer"), "{supported}");
    assert_eq!(text_of(&sent[1].1, HeaderName::SessionExpires), None);
    // The same again is a refusal like any other.
    let refusal = with_lines(&response(&sent[1].1, 420, "b2", FIRST, ""), "Unsupported: timer\r\n");
    world.receive(FIRST, &refusal);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), (SECOND.to_owned(), "INVITE".to_owned())]);
}

#[test]
fn asks_again_with_the_extension_that_the_gateway_insists_on() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let first = world.sent()[1].1.clone();
    let refusal = with_lines(&response(&first, 421, "b1", FIRST, ""), "Require: timer\r\n");
    world.receive(FIRST, &refusal);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_first("INVITE")]);
    assert_eq!(text_of(&sent[1].1, HeaderName::Require), Some("timer".to_owned()));
    // One that we do not have is no matter of terms.
    let refusal = with_lines(&response(&sent[1].1, 421, "b2", FIRST, ""), "Require: gruu\r\n");
    world.receive(FIRST, &refusal);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), (SECOND.to_owned(), "INVITE".to_owned())]);
}

#[test]
fn gives_a_gateway_its_time_anew_when_it_is_asked_again() {
    let mut world = World::set_up(|_| {}, |settings| settings.session.session_expires_s = 180);
    world.caller_sends(&invite("1"));
    let first = world.sent()[1].1.clone();
    world.pass(Duration::from_millis(1_000));
    world.sent();
    world.receive(FIRST, &with_lines(&response(&first, 422, "b1", FIRST, ""), "Min-SE: 300\r\n"));
    world.pass(Duration::from_millis(1_799));
    assert!(world.sent().iter().all(|(to, _)| to == FIRST));
    world.pass(Duration::from_millis(1));
    assert_eq!(lines(&world.sent()), [(SECOND.to_owned(), "INVITE".to_owned())]);
}

#[test]
fn takes_a_caller_that_requires_what_we_have_and_refuses_one_that_requires_more() {
    let mut world = World::new();
    world.caller_sends(&with_lines(&invite("1"), "Require: timer\r\nSupported: timer\r\n"));
    assert_eq!(lines(&world.sent())[0], to_caller("100 Trying"));
    world.caller_sends(&with_lines(&invite("2"), "Require: timer, gruu\r\nRequire: x\r\n"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("420 Bad Extension")]);
    assert_eq!(text_of(&sent[0].1, HeaderName::Unsupported), Some("gruu, x".to_owned()));
}
