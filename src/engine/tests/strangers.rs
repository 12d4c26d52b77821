//! What those get whom nobody knows.

use super::authentication::{ack_of, asked, challenges, signed, with_users};
use super::*;
use crate::call::{StrangerPolicy, UnknownSources};

/// Addresses that nobody has.
const STRANGER: &str = "203.0.113.99:5060";
const ANOTHER: &str = "203.0.113.98:5060";

#[test]
fn a_strangers_invite_is_refused_without_a_transaction_and_recorded_once_however_often_it_comes() {
    let mut world = World::new();
    for _ in 0..3 {
        world.receive(STRANGER, &invite("1"));
        assert_eq!(lines(&world.sent()), [to_stranger("403 Forbidden")]);
    }
    assert_eq!((world.record().status_code, world.record().end_cause), (403, EndCause::Refused));
    let counters = world.engine.counters();
    assert_eq!((counters.server_transactions_now, counters.retransmissions_received), (0, 2));
    world.pass(Duration::from_secs(64));
    assert!(world.sent().is_empty(), "nothing is repeated by itself");
    // Another one is another call.
    world.outputs.clear();
    world.receive(STRANGER, &invite("2"));
    world.record();
}

#[test]
fn an_acknowledged_refusal_is_no_dialog_that_others_could_know() {
    let mut world = World::set_up(|_| {}, |settings| settings.replicates = true);
    world.receive(STRANGER, &invite("1"));
    let refusal = world.sent()[0].1.clone();
    world.receive(STRANGER, &ack_of(&refusal));
    assert!(!world.outputs.iter().any(|output| matches!(output, Output::Unknown { .. })));
}

#[test]
fn unknown_sources_are_dropped_where_the_setting_says_so_and_nobody_else() {
    let drops = StrangerPolicy { sources: UnknownSources::Drop, ..StrangerPolicy::default() };
    let mut world = with_policy(|_| {}, drops);
    let malformed = out_of_dialog("OPTIONS", "").replace("Max-Forwards: 70", "Max-Forwards: 999");
    let messages = [
        invite("1"),
        invite("2").replace("Max-Forwards: 70", "Max-Forwards: 0"),
        out_of_dialog("OPTIONS", ""),
        out_of_dialog("BYE", ";tag=x"),
        out_of_dialog("REGISTER", ""),
        cancel("9"),
        malformed,
    ];
    for message in &messages {
        world.receive(STRANGER, message);
        assert!(world.sent().is_empty(), "{message}");
    }
    assert_eq!(world.engine.counters().unknown_dropped, messages.len() as u64);
    assert!(!world.outputs.iter().any(|output| matches!(output, Output::Record(_))));
    // A carrier's gateway, and a customer.
    for from in [FIRST, CALLER] {
        for message in &messages[2..] {
            world.receive(from, message);
            assert_eq!(world.sent().len(), 1, "{from}: {message}");
        }
    }
    world.caller_sends(&invite("3"));
    assert_eq!(lines(&world.sent()), [to_caller("100 Trying"), to_first("INVITE")]);
}

#[test]
fn another_nodes_ping_is_answered_whatever_comes_from_its_address() {
    let drops = StrangerPolicy {
        sources: UnknownSources::Drop,
        flood_per_s: 1,
        ..StrangerPolicy::default()
    };
    let mut world = with_policy(|_| {}, drops);
    let key = world.engine.cx.settings.bucket_key;
    for number in 1..100 {
        world.receive(STRANGER, &out_of_dialog("OPTIONS", ""));
        assert!(world.sent().is_empty());
        let (to, from) = ("203.0.113.1:5060".parse().unwrap(), "0.0.0.0:5060".parse().unwrap());
        let ping = |key| {
            let octets = crate::cluster::ping(to, from, "0123456789abcdef-1", number, key);
            String::from_utf8(octets.to_vec()).unwrap()
        };
        world.receive(STRANGER, &ping(key));
        let sent = world.sent();
        assert_eq!(lines(&sent), [to_stranger("200 OK")]);
        assert!(sent[0].1.bytes().len() <= ping(key).len());
        world.receive(STRANGER, &ping(key + 1));
        assert!(world.sent().is_empty(), "of another cluster");
    }
}

#[test]
fn a_customer_that_authenticates_is_asked_to_though_unknown_sources_are_dropped() {
    let drops = StrangerPolicy { sources: UnknownSources::Drop, ..StrangerPolicy::default() };
    let mut world = with_policy(|rows| with_users(rows, "digest"), drops);
    let challenge = asked(&mut world);
    world.receive(STRANGER, &signed(1, &challenge, 1, "bob", "secret"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_stranger("100 Trying"), to_first("INVITE")]);
    world.answer(FIRST, &sent[1].1, 200, "b1", SDP);
    let ok = world.sent()[1].1.clone();
    world.receive(STRANGER, &in_dialog(&ok, "ACK", 1, ""));
    world.receive(STRANGER, &in_dialog(&ok, "BYE", 2, ""));
    assert_eq!(lines(&world.sent()), [to_stranger("200 OK"), to_first("BYE")]);
}

#[test]
fn a_source_that_sends_too_much_gets_no_answer_until_it_slows_down_and_others_do() {
    let mut world = with_policy(|_| {}, flood(2));
    let options = out_of_dialog("OPTIONS", "");
    let broken = options.replace("Max-Forwards: 70", "Max-Forwards: 999");
    let answers = |world: &mut World, from: &str, messages: [&str; 3]| {
        let before = world.engine.counters().floods_dropped;
        for message in messages.iter().cycle().take(30) {
            world.receive(from, message);
        }
        (world.sent().len(), world.engine.counters().floods_dropped - before)
    };
    let invite = invite("1");
    assert_eq!(answers(&mut world, STRANGER, [&options, &broken, &invite]), (10, 20));
    let records = world.outputs.iter().filter(|output| matches!(output, Output::Record(_)));
    assert_eq!(records.count(), 1);
    assert_eq!(answers(&mut world, ANOTHER, [&options; 3]), (10, 20));
    for known in [CALLER, FIRST] {
        assert_eq!(answers(&mut world, known, [&options, &broken, &options]), (30, 0));
    }
    world.pass(Duration::from_secs(1));
    assert_eq!(answers(&mut world, STRANGER, [&options; 3]), (2, 28));
}

#[test]
fn one_ipv6_network_is_one_source() {
    let mut world = with_policy(|_| {}, flood(1));
    for host in 1..=20 {
        world.receive(&format!("[2001:db8:9::{host:x}]:5060"), &out_of_dialog("OPTIONS", ""));
    }
    assert_eq!(world.sent().len(), 5);
    world.receive("[2001:db8:a::1]:5060", &out_of_dialog("OPTIONS", ""));
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn whoever_authenticates_is_held_to_no_flood_limit_and_whoever_fails_to_is() {
    let mut world = with_policy(|rows| with_users(rows, "digest"), flood(1));
    let challenge = asked(&mut world);
    for number in 1..=20 {
        world.receive(STRANGER, &invite(&format!("x{number}")));
        world.receive(STRANGER, &signed(number, &challenge, number, "bob", "secret"));
        world.receive(STRANGER, &cancel(&number.to_string()));
    }
    let counters = world.engine.counters();
    assert_eq!((counters.floods_dropped, counters.challenges_sent), (0, 21));
    world.sent();
    for number in 0..9 {
        world.receive(ANOTHER, &signed(100 + number, &challenge, 1, "bob", "guess"));
    }
    assert_eq!(world.sent().len(), 5);
    assert_eq!(world.engine.counters().floods_dropped, 4);
    // What is dropped is not even looked at.
    assert_eq!(world.engine.counters().authentications_failed, 5);
}

#[test]
fn scanners_are_not_answered_but_a_customer_may_use_what_it_likes() {
    let scanners = ["friendly-scanner".into(), "sipcli".into()].into();
    let policy = StrangerPolicy { scanners, ..StrangerPolicy::default() };
    let mut world = with_policy(|_| {}, policy);
    let with_agent = |message: String, agent: &str| {
        message.replace("Max-Forwards", &format!("User-Agent: {agent}\r\nMax-Forwards"))
    };
    for agent in ["friendly-scanner", "SIPCLI/v1.8", "x Friendly-Scanner y"] {
        for message in [invite("1"), out_of_dialog("OPTIONS", ""), out_of_dialog("REGISTER", "")] {
            world.receive(STRANGER, &with_agent(message, agent));
            assert!(world.sent().is_empty(), "{agent}");
        }
    }
    assert_eq!(world.engine.counters().scanners_dropped, 9);
    assert!(!world.outputs.iter().any(|output| matches!(output, Output::Record(_))));
    world.receive(STRANGER, &with_agent(invite("2"), "phone"));
    assert_eq!(lines(&world.sent()), [to_stranger("403 Forbidden")]);
    world.caller_sends(&with_agent(invite("3"), "sipcli"));
    assert_eq!(lines(&world.sent()), [to_caller("100 Trying"), to_first("INVITE")]);
}

#[test]
fn an_answer_to_a_stranger_by_udp_goes_bare_before_it_is_longer_than_the_request_and_by_tcp_whole()
{
    let mut world = World::with(|rows| with_users(rows, "digest"));
    let options = out_of_dialog("OPTIONS", "");
    for (listener, is_whole) in [(0, false), (1, true)] {
        let flow = Flow::new(ListenerId(listener), address(STRANGER));
        let bytes = Bytes::from(options.clone());
        world.engine.handle_received(Received { bytes, flow }, world.now);
        let answer = world.sent()[0].1.clone();
        assert_eq!(answer.status_code(), 200);
        assert_eq!(answer.first(HeaderName::Allow).is_some(), is_whole);
        assert_eq!(answer.bytes().len() > options.len(), is_whole);
    }
    // One challenge, of the algorithm that everybody knows, where there is no room for two.
    let padded = |octets: usize| {
        invite("1")
            .replace("Max-Forwards", &format!("X-Pad: {}\r\nMax-Forwards", "x".repeat(octets)))
    };
    let mut asked = |text: &str| {
        world.receive(STRANGER, text);
        world.sent().first().map_or(0, |(_, answer)| challenges(answer).len())
    };
    let brief = |text: String| text.replace(&format!("User-Agent: {TALKATIVE}\r\n"), "");
    assert_eq!([asked(&brief(padded(1))), asked(&padded(1))], [1, 2]);
    let tiny = "INVITE sip:1@a SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.99;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                To: <sip:1@a>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContact: <sip:a@b>\r\nMax-Forwards: 9\r\n\r\n";
    assert_eq!(asked(tiny), 0);
    assert_eq!(world.engine.counters().answers_too_long, 1);
}

fn with_policy(change: impl FnOnce(&mut Rows), policy: StrangerPolicy) -> World {
    World::set_up(change, |settings| settings.strangers = policy)
}

fn flood(flood_per_s: u32) -> StrangerPolicy {
    StrangerPolicy { flood_per_s, ..StrangerPolicy::default() }
}

fn to_stranger(what: &str) -> (String, String) {
    (STRANGER.to_owned(), what.to_owned())
}
