//! One engine between a caller and two carriers, message by message.

mod authentication;
mod credentials;
mod evidence;
mod registration;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::{Command, Engine, EngineSettings, Flow, Listener, ListenerId, Output, Received};
use crate::call::{CallRecord, EndCause, EndedBy, Event};
use crate::carrier::rows::{
    CarrierRow, CustomerAddressRow, CustomerRow, GatewayRow, NumberRuleRow, RouteCarrierHoursRow,
    RouteCarrierRow, RouteRow,
};
use crate::carrier::{Class, GatewayId, Rows, Tables, Transport};
use crate::health::{
    Board, BoardSettings, Evidence, Outcome, PeerTarget, Target, TargetView, View,
};
use crate::sip::{HeaderName, Message, Method};

mod numbers;
mod overload;
mod reliable;
mod replacing;
mod requirements;
mod session_timers;
mod takeover;
mod terms;
mod transfer;
mod transferring;
mod transferring_kept;
mod transports;

const CALLER: &str = "192.0.2.9:5080";
const FIRST: &str = "198.51.100.1:5060";
const SECOND: &str = "198.51.100.2:5060";

#[test]
fn carries_a_call_from_invite_to_bye_and_writes_one_record() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("100 Trying"), to_first("INVITE")]);
    let outbound = sent[1].1.clone();
    world.answer(FIRST, &outbound, 180, "b1", "");
    assert_eq!(lines(&world.sent()), [to_caller("180 Ringing")]);
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_caller("200 OK")]);
    let ok = sent[1].1.clone();
    assert_eq!(ok.body(), SDP.as_bytes());
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("200 OK"), to_first("BYE")]);
    world.answer(FIRST, &sent[1].1, 200, "b1", "");
    let record = world.record();
    assert_eq!((record.end_cause, record.ended_by), (EndCause::Completed, EndedBy::Caller));
    assert_eq!((record.status_code, record.attempts.len()), (200, 1));
    assert_eq!(record.attempts[0].class, Class::Answered);
    world.run_dry();
}

#[test]
fn hides_each_leg_from_the_other() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    let text = String::from_utf8_lossy(outbound.bytes()).into_owned();
    assert!(!text.contains("192.0.2.9") && !text.contains("call-1"), "{text}");
    assert_eq!(outbound.max_forwards(), Some(69));
    assert_eq!(outbound.first(HeaderName::Contact), Some(&b"<sip:203.0.113.1:5060>"[..]));
}

#[test]
fn has_the_next_carrier_called_when_the_first_is_silent() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let first = world.sent()[1].1.clone();
    world.pass(Duration::from_millis(1_799));
    assert_eq!(
        lines(&world.sent()),
        [to_first("INVITE"), to_first("INVITE")].map(|line| line)[..2]
    );
    world.pass(Duration::from_millis(1));
    let sent = world.sent();
    assert_eq!(lines(&sent), [(SECOND.to_owned(), "INVITE".to_owned())]);
    assert_ne!(sent[0].1.call_id(), first.call_id());
    let second = sent[0].1.clone();
    world.answer(FIRST, &first, 180, "late", "");
    assert_eq!(lines(&world.sent()), [to_first("CANCEL")]);
    world.answer(SECOND, &second, 486, "b2", "");
    let sent = world.sent();
    assert_eq!(lines(&sent), [(SECOND.to_owned(), "ACK".to_owned()), to_caller("486 Busy Here")]);
    let record = world.record();
    assert_eq!((record.end_cause, record.status_code), (EndCause::Failed, 486));
    let seen: Vec<_> =
        record.attempts.iter().map(|attempt| (attempt.class, attempt.status_code)).collect();
    assert_eq!(seen, [(Class::CarrierHard, 408), (Class::Destination, 486)]);
}

#[test]
fn tells_the_caller_that_nobody_answered_whatever_failed_before_it_rang() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    world.pass(Duration::from_millis(1_800));
    let second = world.sent().pop().expect("a second attempt").1;
    world.answer(SECOND, &second, 180, "b2", "");
    world.sent();
    world.pass(Duration::from_secs(180));
    let expected =
        [(SECOND.to_owned(), "CANCEL".to_owned()), to_caller("480 Temporarily Unavailable")];
    assert_eq!(lines(&world.sent())[..2], expected);
    let record = world.record();
    assert_eq!((record.status_code, &*record.detail), (480, "nobody answered in time"));
}

#[test]
fn acknowledges_and_hangs_up_a_late_answer() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let first = world.sent()[1].1.clone();
    world.pass(Duration::from_millis(1_800));
    world.sent();
    world.answer(FIRST, &first, 200, "late", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_first("BYE")]);
    world.answer(FIRST, &first, 200, "late", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK")]);
    assert_eq!(world.engine.counters().late_answers, 1);
    world.caller_sends(&cancel("1"));
    let late: Vec<_> = world.record().attempts.iter().map(|attempt| attempt.late_answer).collect();
    assert_eq!(late, [true, false]);
}

#[test]
fn hangs_up_another_branch_that_answers_once_however_often_it_says_so() {
    let mut world = World::new();
    let (_, outbound) = world.establish();
    world.answer(FIRST, &outbound, 200, "fork", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_first("BYE")]);
    world.answer(FIRST, &outbound, 200, "fork", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK")]);
    assert_eq!(world.engine.counters().late_answers, 1);
}

#[test]
fn hangs_up_another_branch_that_answers_after_the_call_is_over() {
    let mut world = World::new();
    let (ok, outbound) = world.establish();
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let bye = world.sent()[1].1.clone();
    world.answer(FIRST, &bye, 200, "b1", "");
    assert_eq!(world.engine.counters().calls_now, 0);
    world.answer(FIRST, &outbound, 200, "fork", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_first("BYE")]);
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK")]);
    world.run_dry();
}

#[test]
fn acknowledges_a_repeated_answer_while_a_reinvite_is_under_way() {
    let mut world = World::new();
    let (ok, outbound) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INVITE", 2, CHANGED_SDP));
    let reinvite = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK")]);
    assert_eq!(sent[0].1.cseq().0, 1);
    world.answer(FIRST, &reinvite, 200, "b1", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_caller("200 OK")]);
}

#[test]
fn cancels_the_attempt_when_the_caller_hangs_up() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 180, "b1", "");
    world.sent();
    world.caller_sends(&cancel("1"));
    let sent = world.sent();
    let expected = [to_caller("200 OK"), to_first("CANCEL"), to_caller("487 Request Terminated")];
    assert_eq!(lines(&sent), expected);
    let record = world.record();
    assert_eq!((record.end_cause, record.ended_by), (EndCause::Cancelled, EndedBy::Caller));
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_first("BYE")]);
    world.run_dry();
}

#[test]
fn repeats_the_answer_until_it_is_acknowledged_and_then_hangs_up() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    world.sent();
    world.pass(Duration::from_millis(31_999));
    let repeats = world.sent();
    assert_eq!(repeats.len(), 10);
    assert!(repeats.iter().all(|(to, message)| to == CALLER && message.status_code() == 200));
    world.pass(Duration::from_millis(1));
    assert_eq!(lines(&world.sent()), [to_caller("BYE"), to_first("BYE")]);
    assert_eq!(world.record().end_cause, EndCause::NoAck);
    world.run_dry();
}

#[test]
fn relays_a_reinvite_and_its_refusal_and_keeps_the_call() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INVITE", 2, CHANGED_SDP));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("100 Trying"), to_first("INVITE")]);
    let reinvite = sent[1].1.clone();
    // Glare: ours is under way.
    world.carrier_sends(FIRST, &from_carrier(&reinvite, "INVITE", 1, CHANGED_SDP));
    assert_eq!(lines(&world.sent()), [to_first("491 Request Pending")]);
    // Overlap: the caller's own is under way.
    world.caller_sends(&in_dialog(&ok, "INVITE", 3, CHANGED_SDP));
    assert_eq!(lines(&world.sent())[0].1, "500 Overlapping INVITE");
    world.answer(FIRST, &reinvite, 488, "b1", "");
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_caller("488 X")]);
    world.caller_sends(&in_dialog(&ok, "INFO", 4, "Signal=1"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("INFO")]);
    world.answer(FIRST, &sent[0].1, 200, "b1", "");
    assert_eq!(lines(&world.sent()), [to_caller("200 X")]);
    assert_eq!(world.engine.counters().answered_now, 1);
}

#[test]
fn sends_no_408_to_a_request_that_nobody_answered_and_ends_the_call() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INFO", 2, ""));
    world.sent();
    world.pass(Duration::from_secs(32));
    let sent: Vec<_> =
        lines(&world.sent()).into_iter().filter(|(_, what)| what != "INFO").collect();
    let terminated = to_caller("487 Request Terminated");
    assert_eq!(sent, [terminated, to_caller("BYE"), to_first("BYE")]);
    let record = world.record();
    assert_eq!((record.end_cause, record.ended_by), (EndCause::Terminated, EndedBy::Holdfast));
}

#[test]
fn answers_what_it_has_relayed_when_the_call_ends_before_the_other_side_has_answered() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INFO", 2, ""));
    assert_eq!(lines(&world.sent()), [to_first("INFO")]);
    world.caller_sends(&in_dialog(&ok, "BYE", 3, ""));
    let sent = world.sent();
    let terminated = to_caller("487 Request Terminated");
    assert_eq!(lines(&sent), [to_caller("200 OK"), terminated, to_first("BYE")]);
    world.answer(FIRST, &sent[2].1, 200, "b1", "");
    world.run_dry();
    assert_eq!(world.engine.counters().server_transactions_now, 0);
}

#[test]
fn forgets_a_reinvite_that_rings_when_its_call_is_over() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INVITE", 2, CHANGED_SDP));
    let reinvite = world.sent()[1].1.clone();
    world.caller_sends(&in_dialog(&ok, "BYE", 3, ""));
    let bye = world.sent().pop().expect("a BYE").1;
    world.answer(FIRST, &bye, 200, "b1", "");
    assert_eq!(world.engine.counters().calls_now, 0);
    world.answer(FIRST, &reinvite, 180, "b1", "");
    world.run_dry();
}

#[test]
fn answers_a_request_that_waits_for_the_other_side_when_the_call_ends() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INFO", 2, "Signal=1"));
    let info = world.sent()[0].1.clone();
    world.carrier_sends(FIRST, &from_carrier(&info, "BYE", 1, ""));
    let sent = world.sent();
    let expected = [to_first("200 OK"), to_caller("487 Request Terminated"), to_caller("BYE")];
    assert_eq!(lines(&sent), expected);
    world.answer(FIRST, &info, 200, "b1", "");
    assert!(world.sent().is_empty());
    world.caller_sends(&response(&sent[2].1, 200, "a1", CALLER, ""));
    world.run_dry();
}

#[test]
fn does_not_hang_up_on_a_caller_before_its_ack() {
    for is_acknowledged in [true, false] {
        let mut world = World::new();
        world.caller_sends(&invite("1"));
        let outbound = world.sent()[1].1.clone();
        world.answer(FIRST, &outbound, 200, "b1", SDP);
        let sent = world.sent();
        let (ack, ok) = (sent[0].1.clone(), sent[1].1.clone());
        world.carrier_sends(FIRST, &from_carrier(&ack, "BYE", 1, ""));
        assert_eq!(lines(&world.sent()), [to_first("200 OK")]);
        world.pass(Duration::from_millis(500));
        assert_eq!(lines(&world.sent()), [to_caller("200 OK")]);
        if is_acknowledged {
            world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
        } else {
            world.pass(Duration::from_millis(31_499));
            assert!(world.sent().iter().all(|(_, message)| message.status_code() == 200));
            world.pass(Duration::from_millis(1));
        }
        assert_eq!(lines(&world.sent()), [to_caller("BYE")]);
        let record = world.record();
        assert_eq!((record.end_cause, record.ended_by), (EndCause::Completed, EndedBy::Callee));
        world.run_dry();
    }
}

#[test]
fn sends_no_bye_to_a_caller_that_hangs_up_while_the_bye_waits_for_its_ack() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let sent = world.sent();
    let (ack, ok) = (sent[0].1.clone(), sent[1].1.clone());
    world.carrier_sends(FIRST, &from_carrier(&ack, "BYE", 1, ""));
    world.sent();
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    assert_eq!(lines(&world.sent()), [to_caller("200 OK")]);
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    world.pass(Duration::from_secs(40));
    assert!(world.sent().is_empty());
    world.run_dry();
}

#[test]
fn repeats_the_answer_to_a_caller_that_hung_up_before_it_came() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let ok = world.sent()[1].1.clone();
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("200 OK"), to_first("BYE")]);
    world.answer(FIRST, &sent[1].1, 200, "b1", "");
    world.pass(Duration::from_millis(500));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("200 OK")]);
    assert_eq!(sent[0].1.cseq().1, Method::Invite);
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    assert_eq!(world.engine.counters().calls_now, 0);
    world.run_dry();
}

#[test]
fn carries_a_late_offer_to_the_ack() {
    let mut world = World::new();
    world.caller_sends(&invite("1").replace(SDP, "").replace(&content(SDP), "Content-Length: 0"));
    let outbound = world.sent()[1].1.clone();
    assert_eq!(outbound.body(), b"");
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("200 OK")]);
    world.caller_sends(&in_dialog(&sent[0].1, "ACK", 1, SDP));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK")]);
    assert_eq!(sent[0].1.body(), SDP.as_bytes());
}

#[test]
fn tries_the_next_gateway_at_once_when_a_port_is_closed() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    world.sent();
    let flow = Flow::new(ListenerId(0), address(FIRST));
    world.engine.handle_command(Command::Unreachable { flow }, world.now);
    assert_eq!(lines(&world.sent()), [(SECOND.to_owned(), "INVITE".to_owned())]);
}

#[test]
fn answers_what_begins_no_call() {
    for (request, expected) in [
        (out_of_dialog("OPTIONS", ""), "200 OK"),
        (out_of_dialog("REGISTER", ""), "405 Method Not Allowed"),
        (out_of_dialog("BREW", ""), "501 Not Implemented"),
        (out_of_dialog("BYE", ";tag=0123456789abcdef"), "481 Call/Transaction Does Not Exist"),
        (out_of_dialog("CANCEL", ""), "481 Call/Transaction Does Not Exist"),
        (invite("1").replace("Max-Forwards: 70", "Max-Forwards: 0"), "483 Too Many Hops"),
        (invite("1").replace("Max-Forwards", "Require: foo\r\nMax-Forwards"), "420 Bad Extension"),
        (
            invite("1").replace("Max-Forwards", "Accept: text/x\r\nMax-Forwards"),
            "406 Not Acceptable",
        ),
        (invite("1").replace("Max-Forwards", "Accept:\r\nMax-Forwards"), "406 Not Acceptable"),
        (invite("1").replace("INVITE sip:", "INVITE isbn:"), "416 Unsupported URI Scheme"),
        (invite("1").replace("Max-Forwards: 70", "Max-Forwards: 700"), "400 "),
    ] {
        let mut world = World::new();
        world.caller_sends(&request);
        let sent = world.sent();
        assert!(lines(&sent)[0].1.starts_with(expected), "{request}\n{:?}", lines(&sent));
        assert_eq!(sent.len(), 1);
    }
}

#[test]
fn gives_the_timestamp_of_an_invite_back_in_its_100() {
    let mut world = World::new();
    world.caller_sends(&invite("1").replace("Max-Forwards", "Timestamp: 54.2\r\nMax-Forwards"));
    let sent = world.sent();
    assert_eq!(sent[0].1.first(HeaderName::Timestamp), Some(&b"54.2"[..]));
    assert_eq!(sent[1].1.first(HeaderName::Timestamp), None);
}

#[test]
fn refuses_a_caller_that_no_customer_has_and_records_it() {
    let mut world = World::new();
    let flow = Flow::new(ListenerId(0), address("203.0.113.99:5060"));
    let bytes = Bytes::from(invite("1"));
    world.engine.handle_received(Received { bytes, flow }, world.now);
    assert_eq!(lines(&world.sent())[0].1, "403 Forbidden");
    assert_eq!(world.record().end_cause, EndCause::Refused);
}

#[test]
fn tells_a_copy_of_an_invite_that_it_is_one() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    world.sent();
    world.caller_sends(&invite("1"));
    assert_eq!(lines(&world.sent()), [to_caller("100 Trying")]);
    world.caller_sends(&invite("1").replace("z9hG4bKcaller1", "z9hG4bKother"));
    assert_eq!(lines(&world.sent()), [to_caller("482 Loop Detected")]);
    assert_eq!(world.engine.counters().calls, 1);
}

#[test]
fn answers_new_calls_with_503_while_it_drains_and_lets_the_others_go_on() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.engine.handle_command(Command::Drain, world.now);
    world.caller_sends(&invite("2"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("503 Service Unavailable")]);
    assert_eq!(sent[0].1.first(HeaderName::RetryAfter), Some(&b"5"[..]));
    world.caller_sends(&out_of_dialog("OPTIONS", ""));
    assert_eq!(lines(&world.sent()), [to_caller("503 Service Unavailable")]);
    world.caller_sends(&in_dialog(&ok, "INFO", 2, ""));
    assert_eq!(lines(&world.sent()), [to_first("INFO")]);
    world.engine.handle_command(Command::EndAllCalls, world.now);
    let expected = [to_caller("487 Request Terminated"), to_caller("BYE"), to_first("BYE")];
    assert_eq!(lines(&world.sent()), expected);
}

#[test]
fn tells_the_board_how_a_probe_ended() {
    let mut world = World::new();
    let target = Target { gateway_id: GatewayId(1), address: address(FIRST) };
    let probe = Command::Probe { target, timeout: Duration::from_millis(700) };
    world.engine.handle_command(probe.clone(), world.now);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("OPTIONS")]);
    world.answer(FIRST, &sent[0].1, 404, "x", "");
    assert!(matches!(
        world.outcomes()[..],
        [Outcome { evidence: Evidence::Probe { status_code: Some(404), .. }, .. }]
    ));
    world.engine.handle_command(probe, world.now);
    world.pass(Duration::from_millis(700));
    assert!(matches!(
        world.outcomes()[..],
        [Outcome { evidence: Evidence::Probe { status_code: None, .. }, .. }]
    ));
}

#[test]
fn puts_no_flood_of_strangers_on_record_and_counts_what_it_left_out() {
    let mut world = World::new();
    for number in 0..600 {
        world.receive("203.0.113.66:5060", &invite(&number.to_string()));
    }
    let sent = world.sent();
    let refused = ("203.0.113.66:5060".to_owned(), "403 Forbidden".to_owned());
    assert_eq!(lines(&sent), vec![refused; 600]);
    let counters = world.engine.counters();
    assert_eq!((counters.strangers_unrecorded, counters.server_transactions_now), (100, 500));
    let records = world.outputs.iter().filter(|output| matches!(output, Output::Record(_)));
    assert_eq!(records.count(), 500);
    world.caller_sends(&invite("600"));
    assert_eq!(lines(&world.sent()), [to_caller("100 Trying"), to_first("INVITE")]);
}

#[test]
fn counts_a_call_that_cannot_stay_in_its_region() {
    let mut world = World::with(|rows| rows.customers[0].region = Some("eu".to_owned()));
    world.caller_sends(&invite("1"));
    assert_eq!(lines(&world.sent()), [to_caller("480 Temporarily Unavailable")]);
    let record = world.record();
    assert_eq!((record.end_cause, &*record.detail), (EndCause::Refused, "no gateway in region eu"));
    assert_eq!(world.engine.counters().calls_refused_region, 1);
}

#[test]
fn refuses_an_offer_that_no_gateway_takes() {
    type Change = fn(&mut Rows);
    let changes: [(Change, &str); 4] = [
        (|rows| rows.gateways.iter_mut().for_each(|it| it.media = "srtp".into()), "media"),
        (|rows| rows.routes[0].needs_srtp = "yes".into(), "media"),
        (|rows| rows.gateways.iter_mut().for_each(|it| it.codecs = Some("opus".into())), "a codec"),
        (|rows| hours_of_no_day(rows), ""),
    ];
    for (change, what) in changes {
        let mut world = World::with(change);
        world.caller_sends(&invite("1"));
        let record = world.record();
        match what {
            "" => assert_eq!(
                (record.status_code, &*record.detail),
                (480, "no carrier takes calls at this hour")
            ),
            what => assert!(
                record.status_code == 488 && record.detail.contains(what),
                "{}",
                record.detail
            ),
        }
    }
}

/// The wall clock of these tests stands at a Thursday.
fn hours_of_no_day(rows: &mut Rows) {
    rows.route_carrier_hours = (1..=2)
        .map(|carrier_id| RouteCarrierHoursRow {
            route_id: 1,
            carrier_id,
            days: "mon".to_owned(),
            from_time: "00:00".to_owned(),
            until_time: "24:00".to_owned(),
            time_zone: "UTC".to_owned(),
        })
        .collect();
}

#[test]
fn takes_no_invite_while_refused_ones_hold_too_many_transactions() {
    let mut world = World::with(|rows| rows.routes[0].enabled = false);
    for number in 0..10_081 {
        world.caller_sends(&invite(&number.to_string()));
    }
    let sent = world.sent();
    assert_eq!(lines(&sent)[10_079], to_caller("404 Not Found"));
    assert_eq!(lines(&sent)[10_080], to_caller("503 Service Unavailable"));
    assert_eq!(world.engine.counters().calls_over_limit, 1);
}

#[test]
fn asks_for_patience_before_there_are_tables() {
    let mut world = World::new();
    world.engine.handle_command(Command::Tables(Arc::default()), world.now);
    world.caller_sends(&invite("1"));
    world.caller_sends(&out_of_dialog("OPTIONS", ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), vec![to_caller("503 Service Unavailable"); 2]);
    assert!(sent[0].1.first(HeaderName::RetryAfter).is_some());
    assert_eq!(world.record().detail, "no tables are in force yet");
}

#[test]
fn refuses_what_no_datagram_could_carry_on_and_blames_no_carrier() {
    let mut world = World::new();
    let text = invite("1");
    let (head, _) = text.split_once("\r\n\r\n").expect("a head");
    let head = head.replace(&content(SDP), &content(&"x".repeat(60_000)));
    world.caller_sends(&format!("{head}\r\n\r\n{}", "x".repeat(60_000)));
    assert_eq!(lines(&world.sent()), [to_caller("513 Message Too Large")]);
    assert_eq!(world.outcomes(), []);
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INFO", 2, &"x".repeat(60_000)));
    assert_eq!(lines(&world.sent()), [to_caller("513 Message Too Large")]);
}

#[test]
fn tells_a_carrier_that_asks_within_an_early_dialog_to_wait() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 180, "b1", "");
    world.sent();
    world.carrier_sends(FIRST, &from_carrier(&outbound, "UPDATE", 1, ""));
    assert_eq!(lines(&world.sent()), [to_first("500 Not Answered Yet")]);
    world.answer(FIRST, &outbound, 486, "b1", "");
    world.sent();
    world.carrier_sends(FIRST, &from_carrier(&outbound, "UPDATE", 2, ""));
    assert_eq!(lines(&world.sent()), [to_first("481 Call/Transaction Does Not Exist")]);
    world.run_dry();
}

#[test]
fn ends_an_early_dialog_for_nobody_but_its_caller() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 180, "b1", "");
    let ringing = world.sent()[0].1.clone();
    let bye = in_dialog(&ringing, "BYE", 2, "");
    world.caller_sends(&bye.replace("tag=a1", "tag=other"));
    assert_eq!(lines(&world.sent()), [to_caller("481 Call/Transaction Does Not Exist")]);
    world.caller_sends(&bye.replace("branch=", "branch=z9hG4bKsecond"));
    let sent = world.sent();
    assert_eq!(lines(&sent)[0], to_caller("200 OK"));
    assert_eq!(lines(&sent).last(), Some(&to_caller("487 Request Terminated")));
}

#[test]
fn acknowledges_a_repeated_answer_though_a_reinvite_followed_it() {
    let mut world = World::new();
    let (ok, outbound) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INVITE", 2, CHANGED_SDP));
    let sent = world.sent();
    let reinvite = sent.last().expect("it is relayed").1.clone();
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK")]);
    assert_eq!(sent[0].1.cseq(), (1, Method::Ack));
    world.answer(FIRST, &outbound, 200, "fork", SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_first("BYE")]);
    assert_eq!(sent[1].1.to_tag(), Some(&b"fork"[..]));
    world.answer(FIRST, &sent[1].1, 200, "fork", "");
    world.answer(FIRST, &reinvite, 200, "b1", SDP);
    let ok = world.sent().last().expect("the caller is told").1.clone();
    world.caller_sends(&in_dialog(&ok, "ACK", 2, ""));
    world.caller_sends(&in_dialog(&ok, "BYE", 3, ""));
    let bye = world.sent()[1].1.clone();
    world.answer(FIRST, &bye, 200, "b1", "");
    world.run_dry();
}

#[test]
fn hands_on_why_the_caller_gave_up() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 180, "b1", "");
    world.sent();
    let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
    let head = format!("Reason: {reason}\r\nContent-Length: 0");
    world.caller_sends(&cancel("1").replace("Content-Length: 0", &head));
    let sent = world.sent();
    assert_eq!(lines(&sent)[1], to_first("CANCEL"));
    assert_eq!(sent[1].1.first(HeaderName::Reason), Some(reason.as_bytes()));
}

#[test]
fn answers_a_caller_behind_a_nat_where_it_sends_from() {
    let mut world = World::new();
    let private = |text: String| text.replace(CALLER, "10.1.2.3:5080");
    world.caller_sends(&private(invite("1")));
    let outbound = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let sent = world.sent();
    let (ack, ok) = (sent[0].1.clone(), sent[1].1.clone());
    world.caller_sends(&private(in_dialog(&ok, "ACK", 1, "")));
    world.carrier_sends(FIRST, &from_carrier(&ack, "BYE", 1, ""));
    assert_eq!(lines(&world.sent()), [to_first("200 OK"), to_caller("BYE")]);
}

#[test]
fn never_lets_a_call_end_before_it_began_though_the_clock_is_set_back() {
    let mut world = World::new();
    let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let set = Command::WallClock { at: world.now, wall: begun };
    world.engine.handle_command(set, world.now);
    world.caller_sends(&invite("1"));
    let set = Command::WallClock { at: world.now, wall: SystemTime::UNIX_EPOCH };
    world.engine.handle_command(set, world.now);
    world.caller_sends(&cancel("1"));
    let record = world.record();
    assert_eq!((record.started_at, record.ended_at), (begun, begun));
}

#[test]
fn answers_what_is_on_its_way_when_the_call_ends() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INFO", 2, ""));
    assert_eq!(lines(&world.sent()), [to_first("INFO")]);
    world.caller_sends(&in_dialog(&ok, "BYE", 3, ""));
    let sent = world.sent();
    let expected = [to_caller("200 OK"), to_caller("487 Request Terminated"), to_first("BYE")];
    assert_eq!(lines(&sent), expected);
    world.answer(FIRST, &sent[2].1, 200, "b1", "");
    world.run_dry();
}

#[test]
fn escapes_what_a_number_rule_writes_so_that_no_user_part_can_end_the_line() {
    let mut world = World::with(|rows| {
        rows.number_rules.push(NumberRuleRow {
            carrier_id: 1,
            called_prefix: "77#".to_owned(),
            ..NumberRuleRow::default()
        });
    });
    let evil = "INVITE sip:a%40b%0d%0aX-Evil%3a%20y@203.0.113.1";
    world.caller_sends(&invite("1").replace("INVITE sip:+14155550100@203.0.113.1", evil));
    let sent = world.sent();
    let expected = "sip:77%23a%40b%0D%0AX-Evil%3A%20y@198.51.100.1";
    assert_eq!(String::from_utf8_lossy(sent[1].1.request_uri()), expected);
    assert_eq!(sent[1].1.by_text("X-Evil"), None);
}

#[test]
fn keeps_nothing_of_a_cancel_without_an_invite() {
    let mut world = World::new();
    world.caller_sends(&cancel("1"));
    assert_eq!(lines(&world.sent()), [to_caller("481 Call/Transaction Does Not Exist")]);
    assert_eq!(world.engine.counters().server_transactions_now, 0);
}

#[test]
fn leaves_a_second_carrier_that_does_not_ring_though_the_first_one_had_rung() {
    let mut world = World::with(|rows| {
        rows.routes[0].reroute_after_ringing = "carrier_fault_only".to_owned();
    });
    world.caller_sends(&invite("1"));
    let first = world.sent()[1].1.clone();
    world.answer(FIRST, &first, 180, "b1", "");
    world.answer(FIRST, &first, 503, "b1", "");
    let sent = world.sent();
    let second = sent.last().expect("the next carrier is called").1.clone();
    world.answer(SECOND, &second, 100, "b2", "");
    world.pass(Duration::from_millis(6_000));
    let expected = [(SECOND.to_owned(), "CANCEL".to_owned()), to_caller("502 Bad Gateway")];
    assert_eq!(lines(&world.sent()), expected);
    let record = world.record();
    let reasons: Vec<_> = record.attempts.iter().map(|attempt| attempt.reason.as_str()).collect();
    assert_eq!(reasons, ["X", "no ringing in 6000 ms"]);
}

#[test]
fn gives_the_same_bytes_for_the_same_seed() {
    let run = || {
        let mut world = World::new();
        world.establish();
        world.wire
    };
    assert_eq!(run(), run());
}

#[test]
fn gives_the_next_carrier_the_call_that_a_full_one_cannot_take_until_a_bye_frees_its_channel() {
    type Limit = fn(&mut Rows);
    let limits: [Limit; 2] = [
        |rows| rows.carriers[0].max_channels = Some(1),
        |rows| rows.gateways[0].max_channels = Some(1),
    ];
    for limit in limits {
        let mut world = World::with(limit);
        let (ok, _) = world.establish();
        assert_eq!(world.engine.counters().channels_now, 1);
        world.caller_sends(&invite("2"));
        let sent = world.sent();
        assert_eq!(lines(&sent)[1], (SECOND.to_owned(), "INVITE".to_owned()));
        world.answer(SECOND, &sent[1].1, 486, "b2", "");
        world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
        // The BYE is on its way to the carrier still.
        assert_eq!(world.engine.counters().channels_now, 0);
        world.sent();
        world.caller_sends(&invite("3"));
        assert_eq!(lines(&world.sent())[1], to_first("INVITE"));
        world.caller_sends(&cancel("3"));
        assert_eq!(world.engine.counters().channels_now, 0, "an attempt that is left holds none");
        world.run_dry();
    }
}

#[test]
fn gives_the_next_carrier_the_calls_beyond_the_ones_a_second_that_the_first_takes() {
    type Limit = fn(&mut Rows);
    let limits: [Limit; 2] =
        [|rows| rows.carriers[0].max_cps = Some(0.5), |rows| rows.gateways[0].max_cps = Some(0.5)];
    for limit in limits {
        let mut world = World::with(limit);
        let asked = |world: &mut World, number: &str| {
            world.caller_sends(&invite(number));
            let to = world.sent()[1].0.clone();
            world.caller_sends(&cancel(number));
            world.sent();
            to
        };
        assert_eq!(asked(&mut world, "1"), FIRST);
        world.pass(Duration::from_millis(1_999));
        world.sent();
        assert_eq!(asked(&mut world, "2"), SECOND);
        world.pass(Duration::from_millis(1));
        world.sent();
        assert_eq!(asked(&mut world, "3"), FIRST);
        world.run_dry();
    }
}

#[test]
fn shares_a_limit_with_the_other_shards_and_nodes() {
    let mut world = World::with(|rows| rows.carriers[0].max_channels = Some(6));
    let tables = world.engine.cx.tables.clone();
    let targets: Vec<Target> =
        world.engine.cx.view.targets().iter().map(|view| view.target).collect();
    let settings = BoardSettings { node: "a".into(), probe_timeout: Duration::from_secs(1) };
    let mut board = Board::new(settings, 1);
    board.set_targets(&tables, &targets, world.now);
    let saved = board.save(world.now)[0].clone();
    let peer = |node: &str| {
        let age = Duration::ZERO;
        PeerTarget { node: node.into(), saved: saved.clone(), age }
    };
    assert_eq!(board.poll_view(world.now).map(|view| view.nodes), Some(1));
    board.merge_peers(&[peer("b"), peer("c")], world.now);
    let view = board.poll_view(world.now).expect("other nodes are news");
    assert_eq!(view.nodes, 3);
    world.engine.handle_command(Command::View(view), world.now);
    let mut firsts = 0;
    for number in 1..=4 {
        world.caller_sends(&invite(&number.to_string()));
        firsts += usize::from(world.sent()[1].0 == FIRST);
    }
    assert_eq!(firsts, 2);
}

#[test]
fn waits_for_a_token_of_the_only_carrier_and_tells_the_caller_nothing_meanwhile() {
    let mut world = World::with(|rows| {
        rows.carriers[0].max_cps = Some(2.5);
        rows.route_carriers.truncate(1);
    });
    for number in ["1", "2"] {
        world.caller_sends(&invite(number));
        assert_eq!(lines(&world.sent()), [to_caller("100 Trying"), to_first("INVITE")]);
        world.caller_sends(&cancel(number));
        world.sent();
    }
    world.caller_sends(&invite("3"));
    assert_eq!(lines(&world.sent()), [to_caller("100 Trying")]);
    // Half a token was left, and the other half takes 200 ms.
    world.pass(Duration::from_millis(199));
    let sent = world.sent();
    assert!(lines(&sent).iter().all(|(to, what)| to == CALLER && what != "100 Trying"), "{sent:?}");
    world.pass(Duration::from_millis(21));
    assert!(lines(&world.sent()).contains(&to_first("INVITE")));
    world.caller_sends(&cancel("3"));
    world.run_dry();
}

#[test]
fn refuses_a_call_for_which_no_room_came_in_half_a_second() {
    let mut world = World::with(|rows| {
        rows.carriers[0].max_channels = Some(1);
        rows.route_carriers.truncate(1);
    });
    world.establish();
    world.caller_sends(&invite("2"));
    world.pass(Duration::from_millis(499));
    assert_eq!(lines(&world.sent()), [to_caller("100 Trying")]);
    world.pass(Duration::from_millis(1));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("480 Temporarily Unavailable")]);
    let reason = b"SIP;cause=503;text=\"no gateway of the route has capacity\"";
    assert_eq!(sent[0].1.first(HeaderName::Reason), Some(&reason[..]));
    let record = world.record();
    assert_eq!((record.status_code, record.end_cause), (480, EndCause::Refused));
    assert_eq!(record.detail, "no gateway of the route has capacity");
    assert_eq!(record.attempts.len(), 0);
    assert_eq!(world.engine.counters().calls_without_capacity, 1);
}

#[test]
fn gives_up_waiting_for_room_when_the_caller_does() {
    let mut world = World::with(|rows| {
        rows.carriers[0].max_channels = Some(1);
        rows.route_carriers.truncate(1);
    });
    world.establish();
    world.caller_sends(&invite("2"));
    world.caller_sends(&cancel("2"));
    let record = world.record();
    assert_eq!((record.status_code, record.end_cause), (487, EndCause::Cancelled));
    assert_eq!(world.engine.counters().channels_now, 1);
}

#[test]
fn learns_from_a_refusal_how_many_calls_a_second_a_carrier_takes_and_holds_nothing_against_it() {
    let mut world = World::new();
    let mut outbound = Vec::new();
    for number in ["1", "2", "3"] {
        world.caller_sends(&invite(number));
        let sent = world.sent();
        assert_eq!(sent[1].0, FIRST);
        outbound.push(sent[1].1.clone());
    }
    world.outcomes();
    let refusal = response(&outbound[2], 503, "b3", FIRST, "").replace(" X\r", " CPS limit\r");
    world.carrier_sends(FIRST, &refusal);
    // The second carrier has the refused call at once, and the next one without a detour.
    assert!(lines(&world.sent()).contains(&(SECOND.to_owned(), "INVITE".to_owned())));
    let is_blamed = |outcome: &Outcome| matches!(outcome.evidence, Evidence::Attempt { weight, .. } if weight != 0.0);
    assert!(!world.outcomes().iter().any(is_blamed));
    world.caller_sends(&invite("4"));
    assert_eq!(world.sent()[1].0, SECOND);
    // It took two, and gets nine tenths of that.
    world.pass(Duration::from_millis(556));
    world.sent();
    world.caller_sends(&invite("5"));
    assert_eq!(world.sent()[1].0, FIRST);
}

#[test]
fn tries_the_only_carrier_again_that_was_full_and_says_so_where_that_does_not_help() {
    let mut world = World::with(|rows| {
        rows.carriers[0].max_cps = Some(10.0);
        rows.route_carriers.truncate(1);
    });
    world.caller_sends(&invite("1"));
    let first = world.sent()[1].1.clone();
    let full =
        |request| response(request, 403, "b1", FIRST, "").replace(" X\r", " channel limit\r");
    world.carrier_sends(FIRST, &full(&first));
    assert_eq!(lines(&world.sent()), [to_first("ACK")]);
    world.pass(Duration::from_millis(20));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("INVITE")]);
    world.pass(Duration::from_millis(480));
    world.sent();
    world.carrier_sends(FIRST, &full(&sent[0].1));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_caller("480 Temporarily Unavailable")]);
    let record = world.record();
    assert_eq!((record.end_cause, record.attempts.len()), (EndCause::Failed, 2));
    world.run_dry();
}

struct World {
    engine: Engine,
    now: Instant,
    outputs: Vec<Output>,
    wire: Vec<Bytes>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// With the usual rows once `change` has been at them.
    fn with(change: impl FnOnce(&mut Rows)) -> Self {
        Self::set_up(change, |_| {})
    }

    /// With the usual rows and settings once these have been at them.
    fn set_up(
        change: impl FnOnce(&mut Rows),
        change_settings: impl FnOnce(&mut EngineSettings),
    ) -> Self {
        let mut rows = rows();
        change(&mut rows);
        Self::at("203.0.113.1:5060", 1, rows, change_settings)
    }

    /// At an address of its own, drawing its ids from `seed`.
    fn at(own: &str, seed: u64, rows: Rows, change: impl FnOnce(&mut EngineSettings)) -> Self {
        let now = base();
        let mut settings = EngineSettings {
            listeners: vec![
                listener(Transport::Udp, own),
                listener(Transport::Tcp, own),
                listener(Transport::Tls, &own.replace(":5060", ":5061")),
            ],
            bucket_key: 7,
            max_calls: 10,
            ..EngineSettings::default()
        };
        change(&mut settings);
        let mut engine = Engine::new(settings, seed, now, SystemTime::UNIX_EPOCH);
        let tables = Tables::check(rows, 1).expect("good rows");
        engine.handle_command(Command::Tables(Arc::new(tables)), now);
        let targets = [(1, FIRST), (2, SECOND)].map(|(id, at)| {
            let target = Target { gateway_id: GatewayId(id), address: address(at) };
            Arc::new(TargetView::unknown(target))
        });
        engine.handle_command(Command::View(Arc::new(View::new(targets.to_vec()))), now);
        Self { engine, now, outputs: Vec::new(), wire: Vec::new() }
    }

    fn caller_sends(&mut self, text: &str) {
        self.receive(CALLER, text);
    }

    fn carrier_sends(&mut self, from: &str, text: &str) {
        self.receive(from, text);
    }

    fn receive(&mut self, from: &str, text: &str) {
        let flow = Flow::new(ListenerId(0), address(from));
        let bytes = Bytes::from(text.to_owned());
        self.engine.handle_received(Received { bytes, flow }, self.now);
        self.drain();
    }

    fn answer(&mut self, from: &str, request: &Message, status_code: u16, tag: &str, body: &str) {
        let text = response(request, status_code, tag, from, body);
        self.receive(from, &text);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Runs until nothing is left to be done, and sees that nothing is left over.
    fn run_dry(&mut self) {
        while let Some(at) = self.engine.poll_timeout() {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        let counters = self.engine.counters();
        assert_eq!(counters.calls_now, 0);
        assert_eq!(counters.answered_now, 0);
        assert_eq!(counters.client_transactions_now, 0);
        assert_eq!(counters.server_transactions_now, 0);
        assert_eq!(counters.strays_now, 0);
        assert_eq!(counters.dialogs_now, 0);
        assert_eq!(counters.timers_now, 0);
        assert_eq!(counters.channels_now, 0);
    }

    fn establish(&mut self) -> (Message, Message) {
        self.establish_with("", "")
    }

    /// With lines that the caller adds to its INVITE and the carrier to its answer.
    fn establish_with(&mut self, asked: &str, answered: &str) -> (Message, Message) {
        self.caller_sends(&with_lines(&invite("1"), asked));
        let outbound = self.sent()[1].1.clone();
        self.receive(FIRST, &with_lines(&response(&outbound, 200, "b1", FIRST, SDP), answered));
        let ok = self.sent()[1].1.clone();
        self.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
        assert!(self.sent().is_empty());
        (ok, outbound)
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            if let Output::Send { bytes, .. } = &output {
                self.wire.push(bytes.clone());
            }
            self.outputs.push(output);
        }
    }

    /// What was sent since the last look: to whom, and what.
    fn sent(&mut self) -> Vec<(String, Message)> {
        self.drain();
        let mut sent = Vec::new();
        self.outputs.retain(|output| match output {
            Output::Send { flow, bytes } => {
                let message = Message::parse(bytes.clone()).expect("we print what we can read");
                assert_eq!(message.defect(), None);
                sent.push((flow.remote.to_string(), message));
                false
            }
            _ => true,
        });
        sent
    }

    fn record(&mut self) -> Box<CallRecord> {
        let mut records: Vec<_> = self
            .outputs
            .iter()
            .filter_map(|output| match output {
                Output::Record(record) => Some(record.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(records.len(), 1, "exactly one record");
        records.remove(0)
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        self.drain();
        let mut outcomes = Vec::new();
        self.outputs.retain(|output| match output {
            Output::Outcome(outcome) => {
                outcomes.push(outcome.clone());
                false
            }
            _ => true,
        });
        outcomes
    }
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";

/// What the one who sent [`SDP`] wants changed.
const CHANGED_SDP: &str =
    "v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\ns=-\r\nt=0 0\r\nm=audio 11 RTP/AVP 0\r\n";

fn content(body: &str) -> String {
    match body {
        "" => "Content-Length: 0".to_owned(),
        _ => format!("Content-Type: application/sdp\r\nContent-Length: {}", body.len()),
    }
}

fn invite(number: &str) -> String {
    format!(
        "INVITE sip:+14155550100@203.0.113.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};branch=z9hG4bKcaller{number};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:+4930123@192.0.2.9>;tag=a{number}\r\n\
         To: <sip:+14155550100@203.0.113.1>\r\n\
         Call-ID: call-{number}\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:caller@{CALLER}>\r\n\
         {}\r\n\r\n{SDP}",
        content(SDP)
    )
}

fn cancel(number: &str) -> String {
    out_of_dialog("CANCEL", "")
        .replace("z9hG4bKother", &format!("z9hG4bKcaller{number}"))
        .replace("call-other", &format!("call-{number}"))
}

fn out_of_dialog(method: &str, to_params: &str) -> String {
    format!(
        "{method} sip:203.0.113.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};branch=z9hG4bKother;rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:x@192.0.2.9>;tag=x\r\n\
         To: <sip:203.0.113.1>{to_params}\r\n\
         Call-ID: call-other\r\n\
         CSeq: 1 {method}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// A request of the caller in the dialog that `ok` made.
fn in_dialog(ok: &Message, method: &str, seq: u32, body: &str) -> String {
    let text = |name| String::from_utf8_lossy(ok.first(name).expect("a header")).into_owned();
    format!(
        "{method} sip:203.0.113.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};branch=z9hG4bK{method}{seq};rport\r\n\
         Max-Forwards: 70\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: {seq} {method}\r\nContact: <sip:caller@{CALLER}>\r\n{}\r\n\r\n{body}",
        text(HeaderName::From),
        text(HeaderName::To),
        text(HeaderName::CallId),
        content(body)
    )
}

/// A request of the carrier in the dialog that our `request` belongs to.
fn from_carrier(request: &Message, method: &str, seq: u32, body: &str) -> String {
    let text = |name| String::from_utf8_lossy(request.first(name).expect("a header")).into_owned();
    format!(
        "{method} sip:203.0.113.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {FIRST};branch=z9hG4bKcarrier{seq};rport\r\n\
         Max-Forwards: 70\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: {seq} {method}\r\nContact: <sip:{FIRST}>\r\n{}\r\n\r\n{body}",
        text(HeaderName::To),
        text(HeaderName::From),
        text(HeaderName::CallId),
        content(body)
    )
}

fn response(request: &Message, status_code: u16, tag: &str, contact: &str, body: &str) -> String {
    let text = |name| String::from_utf8_lossy(request.first(name).expect("a header")).into_owned();
    let to = match request.to_tag() {
        Some(_) => text(HeaderName::To),
        None => format!("{};tag={tag}", text(HeaderName::To)),
    };
    let reason = match (status_code, request.method()) {
        (180, _) => "Ringing",
        (200, Method::Invite | Method::Bye) => "OK",
        (486, _) => "Busy Here",
        _ => "X",
    };
    format!(
        "SIP/2.0 {status_code} {reason}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:{contact}>\r\n{}\r\n\r\n{body}",
        text(HeaderName::Via),
        text(HeaderName::From),
        text(HeaderName::CallId),
        text(HeaderName::CSeq),
        content(body)
    )
}

/// The message with more header lines, each with its line end.
fn with_lines(message: &str, more: &str) -> String {
    message.replacen("\r\nCSeq:", &format!("\r\n{more}CSeq:"), 1)
}

/// Our INVITE as a request within the dialog that the carrier's answer made.
fn established(invite: &Message) -> Message {
    let text = String::from_utf8_lossy(invite.bytes()).into_owned();
    let to = text_of(invite, HeaderName::To).expect("a To");
    let text = text.replacen(&format!("To: {to}"), &format!("To: {to};tag=b1"), 1);
    Message::parse(Bytes::from(text)).expect("SIP")
}

fn text_of(message: &Message, name: HeaderName) -> Option<String> {
    message.first(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

fn lines(sent: &[(String, Message)]) -> Vec<(String, String)> {
    sent.iter()
        .map(|(to, message)| {
            let what = match message.is_request() {
                true => message.method_text().to_vec(),
                false => {
                    [message.status_code().to_string().as_bytes(), b" ", message.reason()].concat()
                }
            };
            (to.clone(), String::from_utf8_lossy(&what).into_owned())
        })
        .collect()
}

fn to_caller(what: &str) -> (String, String) {
    (CALLER.to_owned(), what.to_owned())
}

fn to_first(what: &str) -> (String, String) {
    (FIRST.to_owned(), what.to_owned())
}

fn listener(transport: Transport, at: &str) -> Listener {
    Listener { transport, address: address(at), advertised: at.into() }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn rows() -> Rows {
    let carrier = |carrier_id, name: &str| CarrierRow {
        carrier_id,
        name: name.to_owned(),
        ..CarrierRow::default()
    };
    let gateway = |id, at: &str| GatewayRow {
        gateway_id: id,
        carrier_id: id,
        name: format!("gateway-{id}"),
        host: address(at).ip().to_string(),
        media: "rtp".to_owned(),
        ..GatewayRow::default()
    };
    Rows {
        carriers: vec![carrier(1, "one"), carrier(2, "two")],
        gateways: vec![gateway(1, FIRST), gateway(2, SECOND)],
        customers: vec![CustomerRow {
            customer_id: 1,
            name: "acme".to_owned(),
            ..CustomerRow::default()
        }],
        customer_addresses: vec![CustomerAddressRow {
            address_range: "192.0.2.0/24".parse().expect("a range"),
            customer_id: 1,
        }],
        routes: vec![RouteRow {
            route_id: 1,
            strategy: "priority".to_owned(),
            ..RouteRow::default()
        }],
        route_carriers: (1..=2)
            .map(|carrier_id| RouteCarrierRow {
                route_id: 1,
                carrier_id,
                priority: u16::try_from(carrier_id).expect("small").into(),
                ..RouteCarrierRow::default()
            })
            .collect(),
        failure_rules: crate::carrier::seed::seed_rules(),
        number_rules: Vec::new(),
        ..Rows::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn base() -> Instant {
    Instant::now()
}
