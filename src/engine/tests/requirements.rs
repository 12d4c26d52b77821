//! What the RFCs ask of whoever stands between two legs, where no other file is about it. `docs/rfc.md` says which
//! requirement each test shows.

use super::*;

/// Another port of the caller's host.
const ELSEWHERE: &str = "192.0.2.9:43210";

#[test]
fn answers_at_the_port_of_the_via_unless_it_asks_for_the_one_it_came_from() {
    for (via, answered_at, told) in [
        (";branch=z9hG4bKcaller1", CALLER, ""),
        (";branch=z9hG4bKcaller1;rport", ELSEWHERE, ";rport=43210;received=192.0.2.9"),
    ] {
        let mut world = World::new();
        world.receive(ELSEWHERE, &invite("1").replace(";branch=z9hG4bKcaller1;rport", via));
        let (to, trying) = world.sent().remove(0);
        assert_eq!((to.as_str(), trying.status_code()), (answered_at, 100));
        let via = text_of(&trying, HeaderName::Via).expect("a Via");
        for param in told.split(';').filter(|param| !param.is_empty()) {
            assert!(via.split(';').any(|has| has == param), "{via} says no {param}");
        }
    }
}

#[test]
fn refuses_what_comes_within_a_dialog_with_a_cseq_that_goes_back() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INFO", 7, ""));
    world.sent();
    world.caller_sends(&in_dialog(&ok, "INFO", 6, ""));
    assert_eq!(lines(&world.sent()), [to_caller("500 CSeq Too Low")]);
}

#[test]
fn knows_no_dialog_by_a_tag_that_it_never_gave() {
    let mut world = World::new();
    for method in ["BYE", "INVITE", "INFO", "UPDATE", "NOTIFY", "PRACK", "REFER", "OPTIONS"] {
        world.caller_sends(&out_of_dialog(method, ";tag=0123456789abcdef"));
        assert_eq!(lines(&world.sent()), [to_caller("481 Call/Transaction Does Not Exist")]);
    }
    world.caller_sends(&out_of_dialog("ACK", ";tag=0123456789abcdef"));
    assert!(world.sent().is_empty());
}

#[test]
fn lets_go_of_a_carrier_that_answers_the_cancel_and_never_its_invite() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 180, "b1", "");
    world.sent();
    world.caller_sends(&cancel("1"));
    let sent = world.sent();
    assert_eq!(lines(&sent)[2], to_caller("487 Request Terminated"), "the caller does not wait");
    world.answer(FIRST, &sent[1].1, 200, "b1", "");
    world.run_dry();
}

#[test]
fn cancels_the_carrier_that_is_tried_and_tries_no_other_when_the_caller_gives_up() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let first = world.sent()[1].1.clone();
    world.answer(FIRST, &first, 503, "b1", "");
    let second = world.sent().pop().expect("the next carrier is called").1;
    world.answer(SECOND, &second, 180, "b2", "");
    world.sent();
    world.caller_sends(&cancel("1"));
    let expected = [
        to_caller("200 OK"),
        (SECOND.to_owned(), "CANCEL".to_owned()),
        to_caller("487 Request Terminated"),
    ];
    assert_eq!(lines(&world.sent()), expected);
    world.answer(SECOND, &second, 487, "b2", "");
    assert_eq!(lines(&world.sent()), [(SECOND.to_owned(), "ACK".to_owned())]);
    assert_eq!(world.record().attempts.len(), 2);
    world.run_dry();
}

#[test]
fn answers_a_pending_reinvite_when_either_side_hangs_up() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INVITE", 2, CHANGED_SDP));
    let reinvite = world.sent()[1].1.clone();
    world.carrier_sends(FIRST, &from_carrier(&reinvite, "BYE", 1, ""));
    let sent = world.sent();
    let expected = [to_first("200 OK"), to_caller("487 Request Terminated"), to_caller("BYE")];
    assert_eq!(lines(&sent), expected);
    assert_eq!(sent[1].1.cseq(), (2, Method::Invite));
    world.answer(FIRST, &reinvite, 487, "b1", "");
    world.caller_sends(&response(&sent[2].1, 200, "a1", CALLER, ""));
    world.run_dry();
}

#[test]
fn knows_no_bye_of_a_callee_that_has_not_answered() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 180, "b1", "");
    world.sent();
    world.carrier_sends(FIRST, &from_carrier(&established(&outbound), "BYE", 1, ""));
    assert_eq!(lines(&world.sent()), [to_first("481 Call/Transaction Does Not Exist")]);
    world.answer(FIRST, &outbound, 486, "b1", "");
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_caller("486 Busy Here")]);
    world.run_dry();
}

#[test]
fn ends_a_call_whose_reinvite_finds_no_dialog_and_no_other() {
    for (status_code, ends) in [(481, true), (408, true), (488, false), (491, false), (603, false)]
    {
        let mut world = World::new();
        let (ok, _) = world.establish();
        world.caller_sends(&in_dialog(&ok, "INVITE", 2, CHANGED_SDP));
        let reinvite = world.sent()[1].1.clone();
        world.answer(FIRST, &reinvite, status_code, "b1", "");
        let sent = world.sent();
        assert_eq!(sent[1].1.status_code(), status_code, "the asker hears it as it was");
        let byes: Vec<_> =
            sent.iter().filter(|(_, it)| it.is_request() && it.method() == Method::Bye).collect();
        assert_eq!(byes.len(), if ends { 2 } else { 0 }, "{status_code}");
        assert_eq!(world.engine.counters().answered_now, u64::from(!ends), "{status_code}");
    }
}

#[test]
fn carries_a_reinvite_without_an_offer_and_the_answer_in_its_ack() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INVITE", 2, ""));
    let reinvite = world.sent()[1].1.clone();
    assert_eq!(reinvite.body(), b"");
    world.answer(FIRST, &reinvite, 200, "b1", CHANGED_SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("200 OK")], "its ACK waits for the answer");
    assert_eq!(sent[0].1.body(), CHANGED_SDP.as_bytes());
    world.caller_sends(&in_dialog(&ok, "ACK", 2, SDP));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK")]);
    assert_eq!((sent[0].1.body(), sent[0].1.cseq().0), (SDP.as_bytes(), 2));
}

#[test]
fn tells_what_rings_in_its_order_and_each_branch_in_a_dialog_of_its_own() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    let mut told = Vec::new();
    for (status_code, tag, body) in
        [(180, "b1", ""), (183, "b1", SDP), (180, "b1", ""), (183, "b2", CHANGED_SDP)]
    {
        world.answer(FIRST, &outbound, status_code, tag, body);
        let sent = world.sent();
        assert_eq!((sent.len(), sent[0].1.status_code()), (1, status_code));
        assert_eq!(sent[0].1.body(), body.as_bytes());
        told.push(text_of(&sent[0].1, HeaderName::To).expect("a To"));
    }
    assert_eq!((&told[1], &told[2]), (&told[0], &told[0]));
    assert_ne!(told[3], told[0]);
    world.answer(FIRST, &outbound, 200, "b2", CHANGED_SDP);
    let ok = world.sent()[1].1.clone();
    assert_eq!(text_of(&ok, HeaderName::To).as_ref(), Some(&told[3]));
}

#[test]
fn goes_on_with_a_carrier_that_leaves_out_the_tag_of_its_ringing_and_the_contact_of_its_answer() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    let contact = format!("Contact: <sip:{FIRST}>\r\n");
    world.receive(FIRST, &response(&outbound, 183, "", FIRST, "").replace(";tag=\r\n", "\r\n"));
    assert_eq!(lines(&world.sent()), [to_caller("183 X")]);
    world.receive(FIRST, &response(&outbound, 200, "b1", FIRST, SDP).replace(&contact, ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_caller("200 OK")]);
    world.caller_sends(&in_dialog(&sent[1].1, "ACK", 1, ""));
    world.caller_sends(&in_dialog(&sent[1].1, "BYE", 2, ""));
    let bye = world.sent().remove(1);
    assert_eq!(lines(std::slice::from_ref(&bye)), [to_first("BYE")]);
    world.answer(FIRST, &bye.1, 200, "b1", "");
    world.run_dry();
}

#[test]
fn hands_on_what_may_be_asked_within_a_call_and_answers_the_rest() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    for (seq, method) in (2..).zip(["INFO", "MESSAGE", "OPTIONS", "NOTIFY"]) {
        world.caller_sends(&in_dialog(&ok, method, seq, "Signal=1"));
        let sent = world.sent();
        assert_eq!(lines(&sent), [to_first(method)]);
        assert_eq!(sent[0].1.body(), b"Signal=1");
        world.answer(FIRST, &sent[0].1, 202, "b1", "");
        assert_eq!(lines(&world.sent()), [to_caller("202 X")]);
    }
    for (seq, method, status_code) in
        [(10, "SUBSCRIBE", 405), (11, "PUBLISH", 405), (12, "REGISTER", 405), (13, "BREW", 501)]
    {
        world.caller_sends(&in_dialog(&ok, method, seq, ""));
        let sent = world.sent();
        assert_eq!((sent.len(), sent[0].1.status_code()), (1, status_code), "{method}");
    }
}

#[test]
fn follows_no_redirection_and_hands_none_on() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let mut tried = world.sent().remove(1);
    for gateway in [FIRST, SECOND] {
        assert_eq!(
            lines(std::slice::from_ref(&tried)),
            [(gateway.to_owned(), "INVITE".to_owned())]
        );
        world.answer(gateway, &tried.1, 302, "b1", "");
        let sent = world.sent();
        assert_eq!((sent.len(), sent[0].1.method()), (2, Method::Ack));
        tried = sent[1].clone();
    }
    assert_eq!(lines(std::slice::from_ref(&tried)), [to_caller("502 Bad Gateway")]);
    assert_eq!(text_of(&tried.1, HeaderName::Contact), None);
}

#[test]
fn asks_no_other_carrier_once_the_called_side_has_spoken() {
    for status_code in [486, 487, 600, 603, 604, 607, 608] {
        let mut world = World::new();
        world.caller_sends(&invite("1"));
        let outbound = world.sent()[1].1.clone();
        world.answer(FIRST, &outbound, status_code, "b1", "");
        let sent = world.sent();
        let to: Vec<_> = sent.iter().map(|(to, _)| to.as_str()).collect();
        assert_eq!(to, [FIRST, CALLER], "{status_code}");
    }
}

#[test]
fn hands_on_why_a_call_ended_or_never_began() {
    let reason = "Reason: Q.850;cause=31;text=\"normal, unspecified\"\r\n";
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&with_lines(&in_dialog(&ok, "BYE", 2, ""), reason));
    let bye = world.sent()[1].1.clone();
    let told = text_of(&bye, HeaderName::Reason).expect("a Reason");
    assert_eq!(format!("Reason: {told}\r\n"), reason);
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    world.receive(FIRST, &with_lines(&response(&outbound, 486, "b1", FIRST, ""), reason));
    let refusal = world.sent()[1].1.clone();
    let told: Vec<_> = refusal.all(HeaderName::Reason).map(|header| header.value).collect();
    assert!(told.iter().any(|told| reason.as_bytes().windows(told.len()).any(|at| at == *told)));
}

#[test]
fn gives_each_attempt_as_many_branches_as_came_and_never_more_than_sixty() {
    for (came, goes) in [
        ("", "60"),
        ("Max-Breadth: 12\r\n", "12"),
        ("Max-Breadth: 4000\r\n", "60"),
        ("Max-Breadth: 0\r\n", "60"),
        ("Max-Breadth: many\r\n", "60"),
    ] {
        let mut world = World::new();
        world.caller_sends(&with_lines(&invite("1"), came));
        let outbound = world.sent()[1].1.clone();
        assert_eq!(outbound.all(HeaderName::MaxBreadth).count(), 1);
        assert_eq!(text_of(&outbound, HeaderName::MaxBreadth).as_deref(), Some(goes), "{came}");
    }
}

/// The first carrier sends all that it gets back to us as a caller of its own.
#[test]
fn ends_a_route_that_leads_back_here_by_its_hops() {
    let mut world = World::with(|rows| {
        rows.customer_addresses.push(CustomerAddressRow {
            address_range: "198.51.100.1/32".parse().expect("a range"),
            customer_id: 1,
        });
        rows.route_carriers.truncate(1);
    });
    world.caller_sends(&invite("1").replace("Max-Forwards: 70", "Max-Forwards: 4"));
    let (mut invites, mut told) = (0, Vec::new());
    for _ in 0..100 {
        let sent = world.sent();
        if sent.is_empty() {
            break;
        }
        for (to, message) in sent {
            match to.as_str() {
                FIRST => {
                    let is_invite = message.is_request() && message.method() == Method::Invite;
                    invites += u32::from(is_invite);
                    world.receive(FIRST, &String::from_utf8_lossy(message.bytes()));
                }
                CALLER => told.push(message.status_code()),
                other => panic!("{other} has no part in this"),
            }
        }
    }
    assert_eq!(invites, 4);
    assert_eq!(told, [100, 502]);
    world.run_dry();
}
