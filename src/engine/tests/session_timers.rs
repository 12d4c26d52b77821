//! Session timers of each leg (RFC 4028), and the refreshes that stay on one leg.

use super::*;

const TIMER: &str = "Supported: timer\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n";

#[test]
fn takes_the_interval_that_the_caller_asks_for_and_leaves_the_refreshes_to_it() {
    let mut world = World::new();
    let (ok, outbound) = world.establish_with(&asks("600"), "");
    assert_eq!(session_of(&ok), Some("600;refresher=uac".to_owned()));
    assert_eq!(text_of(&ok, HeaderName::Require), Some("timer".to_owned()));
    assert_eq!(text_of(&ok, HeaderName::Supported), Some("timer".to_owned()));
    // The carrier's leg has a timer of its own, or none.
    assert_eq!(session_of(&outbound), None);
    assert_eq!(text_of(&outbound, HeaderName::Supported), Some("timer".to_owned()));
}

#[test]
fn lets_the_caller_choose_who_refreshes() {
    for (asked, agreed) in [
        ("Session-Expires: 600;refresher=uas\r\n", "600;refresher=uas"),
        ("x: 600;refresher=UAC\r\n", "600;refresher=uac"),
        ("Session-Expires: 4294967296\r\n", "4294967295;refresher=uac"),
    ] {
        let mut world = World::new();
        let (ok, _) = world.establish_with(&format!("{TIMER}{asked}"), "");
        assert_eq!(session_of(&ok).as_deref(), Some(agreed));
    }
}

#[test]
fn refreshes_for_a_caller_without_timers_when_a_proxy_asked() {
    let mut world = World::new();
    let (ok, _) = world.establish_with("Session-Expires: 600\r\n", "");
    assert_eq!(session_of(&ok), Some("600;refresher=uas".to_owned()));
    assert_eq!(text_of(&ok, HeaderName::Require), None);
    world.pass(Duration::from_secs(300));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("INVITE")]);
    assert_eq!(sent[0].1.body(), ok.body());
}

#[test]
fn refuses_an_interval_that_is_too_small_and_says_what_is_not() {
    let mut world = World::set_up(|_| {}, |settings| settings.session.min_se_s = 120);
    world.caller_sends(&with_lines(&invite("1"), &asks("119")));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("422 Session Interval Too Small")]);
    assert_eq!(text_of(&sent[0].1, HeaderName::MinSe), Some("120".to_owned()));
    world.caller_sends(&with_lines(&invite("2"), &asks("120")));
    assert_eq!(lines(&world.sent())[0], to_caller("100 Trying"));
}

#[test]
fn refuses_an_interval_that_is_too_small_within_a_call() {
    let mut world = World::new();
    let (ok, _) = world.establish_with(&asks("600"), "");
    for method in ["UPDATE", "INVITE"] {
        let seq = if method == "UPDATE" { 2 } else { 3 };
        world.caller_sends(&with_lines(&in_dialog(&ok, method, seq, ""), &asks("60")));
        let sent = world.sent();
        assert_eq!(lines(&sent), [to_caller("422 Session Interval Too Small")]);
        assert_eq!(text_of(&sent[0].1, HeaderName::MinSe), Some("90".to_owned()));
    }
}

#[test]
fn asks_for_an_interval_on_both_legs_and_refreshes_each_at_half_of_it() {
    let mut world = World::set_up(|_| {}, |settings| settings.session.session_expires_s = 1_800);
    let (ok, outbound) = world.establish_with(TIMER, TIMER);
    assert_eq!(session_of(&outbound), Some("1800".to_owned()));
    assert_eq!(session_of(&ok), Some("1800;refresher=uas".to_owned()));
    world.pass(Duration::from_millis(899_999));
    assert!(world.sent().is_empty());
    world.pass(Duration::from_millis(1));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("UPDATE"), to_first("UPDATE")]);
    for (_, update) in &sent {
        assert_eq!(session_of(update), Some("1800;refresher=uac".to_owned()));
        assert_eq!(text_of(update, HeaderName::Supported), Some("timer".to_owned()));
        assert!(update.body().is_empty());
    }
    let again = "Session-Expires: 1800;refresher=uac\r\n";
    for (to, update) in &sent {
        world.receive(to, &with_lines(&response(update, 200, "", to, ""), again));
    }
    assert!(world.sent().is_empty());
    world.pass(Duration::from_secs(900));
    assert_eq!(world.sent().len(), 2);
}

#[test]
fn hangs_up_on_both_sides_when_nobody_refreshed_in_time() {
    let mut world = World::new();
    let (_, _) = world.establish_with(&asks("600"), "");
    world.pass(Duration::from_millis(567_999));
    assert!(world.sent().is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(lines(&world.sent()), [to_caller("BYE"), to_first("BYE")]);
    let record = world.record();
    assert_eq!((record.end_cause, record.ended_by), (EndCause::Terminated, EndedBy::Holdfast));
    assert_eq!(record.detail, "session expired");
}

#[test]
fn answers_a_refresh_of_the_caller_by_itself_and_begins_the_interval_anew() {
    for (method, body) in [("UPDATE", ""), ("UPDATE", SDP), ("INVITE", SDP)] {
        let mut world = World::new();
        let (ok, _) = world.establish_with(&asks("600"), "");
        world.pass(Duration::from_secs(300));
        let refresh = in_dialog(&ok, method, 2, body);
        world.caller_sends(&with_lines(&refresh, &asks("600;refresher=uac")));
        let sent = world.sent();
        assert_eq!((sent.len(), sent[0].1.status_code()), (1, 200), "{method}");
        assert_eq!(session_of(&sent[0].1), Some("600;refresher=uac".to_owned()));
        assert_eq!(sent[0].1.body(), if body.is_empty() { b"" } else { ok.body() });
        if method == "INVITE" {
            world.pass(Duration::from_millis(500));
            assert_eq!(lines(&world.sent()), [to_caller("200 OK")]);
            world.caller_sends(&in_dialog(&ok, "ACK", 2, ""));
        }
        assert!(world.sent().is_empty());
        world.pass(Duration::from_secs(567));
        assert!(world.sent().is_empty(), "{method}");
        world.pass(Duration::from_secs(1));
        assert_eq!(world.record().detail, "session expired");
    }
}

#[test]
fn hands_on_a_reinvite_that_changes_the_session() {
    let mut world = World::new();
    let (ok, _) = world.establish_with(&asks("600"), "");
    world.caller_sends(&in_dialog(&ok, "INVITE", 2, CHANGED_SDP));
    assert_eq!(lines(&world.sent()), [to_caller("100 Trying"), to_first("INVITE")]);
}

#[test]
fn answers_a_carriers_refresh_with_what_it_was_offered_where_that_can_answer() {
    let keyed = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n";
    for (offer, is_answered_here) in [(SDP.to_owned(), true), (format!("{SDP}{keyed}"), false)] {
        let mut world = World::new();
        let invite = invite("1").replace(&content(SDP), &content(&offer)).replace(SDP, &offer);
        world.caller_sends(&invite);
        let outbound = world.sent()[1].1.clone();
        world.answer(FIRST, &outbound, 200, "b1", SDP);
        let sent = world.sent();
        let (ack, ok) = (sent[0].1.clone(), sent[1].1.clone());
        world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
        world.carrier_sends(FIRST, &from_carrier(&ack, "INVITE", 1, SDP));
        let sent = world.sent();
        if is_answered_here {
            assert_eq!(lines(&sent), [to_first("200 OK")]);
            assert_eq!(sent[0].1.body(), offer.as_bytes());
        } else {
            assert_eq!(lines(&sent), [to_first("100 Trying"), to_caller("INVITE")]);
        }
    }
}

#[test]
fn refreshes_at_the_carriers_interval_when_the_carrier_wants_that() {
    let mut world = World::new();
    let answer = "Session-Expires: 200;refresher=uac\r\nRequire: timer\r\nAllow: UPDATE\r\n";
    world.establish_with("", answer);
    world.pass(Duration::from_secs(100));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("UPDATE")]);
    assert_eq!(session_of(&sent[0].1), Some("200;refresher=uac".to_owned()));
    // A refusal ends nothing before the interval does; it asks again meanwhile.
    world.answer(FIRST, &sent[0].1, 488, "", "");
    world.pass(Duration::from_secs(67));
    let tries = lines(&world.sent());
    assert_eq!(tries.first(), Some(&to_first("UPDATE")));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.record().detail, "session expired");
}

#[test]
fn watches_a_carrier_that_refreshes() {
    let mut world = World::new();
    let answer = "Session-Expires: 90;refresher=uas\r\nRequire: timer\r\n";
    let (_, outbound) = world.establish_with("", answer);
    world.pass(Duration::from_secs(45));
    world.carrier_sends(FIRST, &from_carrier(&established(&outbound), "UPDATE", 1, ""));
    assert_eq!(lines(&world.sent()), [to_first("200 OK")]);
    world.pass(Duration::from_secs(59));
    assert!(world.sent().is_empty());
}

#[test]
fn keeps_a_call_whose_peers_know_no_timers_and_refuse_to_be_refreshed() {
    let mut world = World::set_up(|_| {}, |settings| settings.session.session_expires_s = 180);
    let (ok, _) = world.establish();
    assert_eq!(session_of(&ok), None);
    world.pass(Duration::from_secs(90));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("INVITE"), to_first("INVITE")]);
    for (to, invite) in &sent {
        world.answer(to, invite, 488, "", "");
    }
    world.sent();
    world.pass(Duration::from_secs(1_000));
    assert!(world.sent().is_empty());
    assert_eq!(world.engine.counters().answered_now, 1);
}

#[test]
fn ends_a_call_whose_peer_knows_it_no_more() {
    let mut world = World::set_up(|_| {}, |settings| settings.session.session_expires_s = 180);
    world.establish_with(TIMER, TIMER);
    world.pass(Duration::from_secs(90));
    let sent = world.sent();
    world.answer(CALLER, &sent[0].1, 200, "", "");
    world.answer(FIRST, &sent[1].1, 481, "", "");
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("UPDATE")]);
    world.answer(FIRST, &sent[0].1, 481, "", "");
    assert_eq!(lines(&world.sent()), [to_caller("BYE"), to_first("BYE")]);
    assert_eq!(world.record().detail, "a leg did not know its dialog");
    world.run_dry();
}

#[test]
fn raises_its_interval_to_what_the_peer_takes_when_it_refreshes() {
    let mut world = World::set_up(|_| {}, |settings| settings.session.session_expires_s = 180);
    world.establish_with(TIMER, TIMER);
    world.pass(Duration::from_secs(90));
    let sent = world.sent();
    world.receive(FIRST, &with_lines(&response(&sent[1].1, 422, "", FIRST, ""), "Min-SE: 300\r\n"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("UPDATE")]);
    assert_eq!(session_of(&sent[0].1), Some("300;refresher=uac".to_owned()));
    assert_eq!(text_of(&sent[0].1, HeaderName::MinSe), Some("300".to_owned()));
}

#[test]
fn lets_no_timer_of_a_call_outlive_it_by_more_than_a_minute() {
    let mut world = World::set_up(|_| {}, |settings| settings.session.session_expires_s = 1_800);
    let (ok, _) = world.establish_with(TIMER, TIMER);
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let bye = world.sent()[1].1.clone();
    world.answer(FIRST, &bye, 200, "", "");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.engine.counters().timers_now, 0);
}

fn asks(interval: &str) -> String {
    format!("{TIMER}Session-Expires: {interval}\r\n")
}

fn session_of(message: &Message) -> Option<String> {
    text_of(message, HeaderName::SessionExpires)
}
