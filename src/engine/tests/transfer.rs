//! REFER within a call (RFC 3515), by the customer's policy.

use super::*;

#[test]
fn refuses_to_transfer_where_the_customer_has_not_asked_for_it() {
    let mut world = World::new();
    let (ok, outbound) = world.establish();
    world.caller_sends(&refer(&ok, 2, "Refer-To: <sip:+1@203.0.113.1>\r\n"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("405 Method Not Allowed")]);
    for message in [&sent[0].1, &ok, &outbound] {
        let allow = text_of(message, HeaderName::Allow).expect("an Allow");
        assert!(!allow.contains("REFER"), "{allow}");
    }
}

#[test]
fn hands_a_transfer_on_and_tells_what_came_of_it() {
    let mut world = transferring();
    let (ok, outbound) = world.establish();
    for message in [&ok, &outbound] {
        assert!(text_of(message, HeaderName::Allow).expect("an Allow").ends_with(", REFER"));
    }
    let more = "Refer-To: \"Bob\" <sip:+14155550199@203.0.113.1:5060;user=phone>;x=y\r\n\
                Referred-By: <sip:pbx@192.0.2.9>\r\nRequire: norefersub\r\nRefer-Sub: false\r\n";
    world.caller_sends(&refer(&ok, 7, more));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("REFER")]);
    let relayed = sent[0].1.clone();
    let target = "\"Bob\" <sip:+14155550199@198.51.100.1;user=phone>;x=y";
    assert_eq!(text_of(&relayed, HeaderName::ReferTo).as_deref(), Some(target));
    assert_eq!(text_of(&relayed, HeaderName::ReferredBy), None);
    assert_eq!(text_of(&relayed, HeaderName::Require).as_deref(), Some("norefersub"));
    assert_eq!(relayed.by_text("Refer-Sub"), Some(&b"false"[..]));
    assert!(text_of(&relayed, HeaderName::Contact).is_some());
    world.answer(FIRST, &relayed, 202, "b1", "");
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("202 X")]);
    assert!(text_of(&sent[0].1, HeaderName::Contact).is_some());
    let fragment = "SIP/2.0 200 OK\r\nContact: <sip:bob@198.51.100.77>\r\n";
    let event = format!("Event: refer;id={}\r\nSubscription-State: active\r\n", relayed.cseq().0);
    let notify = with_lines(&from_carrier(&relayed, "NOTIFY", 1, fragment), &event)
        .replace("application/sdp", "message/sipfrag;version=2.0");
    world.carrier_sends(FIRST, &notify);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("NOTIFY")]);
    assert_eq!(text_of(&sent[0].1, HeaderName::Event).as_deref(), Some("refer;id=7"));
    assert_eq!(sent[0].1.body(), b"SIP/2.0 200 OK\r\n");
    world.caller_sends(&response(&sent[0].1, 200, "", CALLER, ""));
    assert_eq!(lines(&world.sent()), [to_first("200 X")]);
}

#[test]
fn leaves_a_target_alone_that_is_not_on_us() {
    for target in ["<sip:bob@elsewhere.example>", "<tel:+49301>", "<sip:+1@203.0.113.1:5999>"] {
        let mut world = transferring();
        let (ok, _) = world.establish();
        world.caller_sends(&refer(&ok, 2, &format!("Refer-To: {target}\r\n")));
        let relayed = world.sent().remove(0).1;
        assert_eq!(text_of(&relayed, HeaderName::ReferTo).as_deref(), Some(target));
    }
}

#[test]
fn maps_the_target_of_a_carriers_transfer_to_the_customers_side() {
    let mut world = transferring();
    let (_, outbound) = world.establish();
    let text = from_carrier(&established(&outbound), "REFER", 1, "");
    world.carrier_sends(FIRST, &with_lines(&text, "Refer-To: sip:200@203.0.113.1\r\n"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("REFER")]);
    assert_eq!(text_of(&sent[0].1, HeaderName::ReferTo).as_deref(), Some("<sip:200@192.0.2.9>"));
}

#[test]
fn refuses_a_transfer_that_it_cannot_hand_on() {
    let replaces = "Refer-To: <sip:bob@203.0.113.1?Replaces=c%3Bto-tag%3Da%3Bfrom-tag%3Db>\r\n";
    let two = "Refer-To: <sip:a@b.example>\r\nRefer-To: <sip:c@b.example>\r\n";
    for (more, status_code) in [(replaces, 403), (two, 400), ("", 400), ("Refer-To: <>\r\n", 400)] {
        let mut world = transferring();
        let (ok, _) = world.establish();
        world.caller_sends(&refer(&ok, 2, more));
        let sent = world.sent();
        assert_eq!((sent.len(), sent[0].1.status_code()), (1, status_code), "{more}");
    }
}

#[test]
fn tells_a_refusal_of_the_other_side() {
    let mut world = transferring();
    let (ok, _) = world.establish();
    world.caller_sends(&refer(&ok, 2, "Refer-To: <sip:+1@203.0.113.1>\r\n"));
    let relayed = world.sent().remove(0).1;
    world.answer(FIRST, &relayed, 603, "b1", "");
    assert_eq!(lines(&world.sent()), [to_caller("603 X")]);
    assert_eq!(world.engine.counters().answered_now, 1);
}

fn transferring() -> World {
    World::with(|rows| rows.customers[0].refer = "relay".to_owned())
}

fn refer(ok: &Message, seq: u32, more: &str) -> String {
    with_lines(&in_dialog(ok, "REFER", seq, ""), more)
}
