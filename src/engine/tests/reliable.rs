//! Reliable provisional responses (RFC 3262) and UPDATE in early dialogs (RFC 3311).

use super::*;

pub(super) const REL: &str = "Supported: 100rel\r\nAllow: INVITE, ACK, PRACK, UPDATE\r\n";

#[test]
fn speaks_of_100rel_to_the_carrier_where_the_caller_does() {
    for (asked, told) in [("", "timer"), (REL, "100rel, timer"), (MUST, "100rel, timer")] {
        let mut world = World::new();
        let outbound = world.call(asked);
        assert_eq!(text_of(&outbound, HeaderName::Supported).as_deref(), Some(told));
        assert_eq!(text_of(&outbound, HeaderName::Require), None);
    }
}

#[test]
fn passes_a_reliable_response_to_the_caller_and_its_prack_to_the_carrier() {
    let mut world = World::new();
    let outbound = world.call(REL);
    world.provisional(&outbound, 183, "b1", Some(77), SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("183 X")]);
    let told = sent[0].1.clone();
    assert_eq!(text_of(&told, HeaderName::Require), Some("100rel".to_owned()));
    assert_eq!(told.body(), SDP.as_bytes());
    let rseq: u32 = text_of(&told, HeaderName::RSeq).expect("an RSeq").parse().expect("a number");
    assert!((1..1 << 31).contains(&rseq) && rseq != 77);
    world.caller_sends(&prack(&told, 2, ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("PRACK")]);
    assert_eq!(text_of(&sent[0].1, HeaderName::RAck), Some("77 1 INVITE".to_owned()));
    assert_eq!(sent[0].1.to_tag(), Some(&b"b1"[..]));
    assert_eq!(sent[0].1.cseq().0, 2);
    world.answer(FIRST, &sent[0].1, 200, "b1", "");
    assert_eq!(lines(&world.sent()), [to_caller("200 X")]);
    world.pass(Duration::from_secs(10));
    assert!(world.sent().is_empty(), "nothing is repeated");
    // The answer makes one dialog of it all.
    world.answer(FIRST, &outbound, 200, "b1", "");
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_caller("200 OK")]);
    assert_eq!((sent[0].1.cseq().0, sent[1].1.to_tag()), (1, told.to_tag()));
    assert!(sent[1].1.body().is_empty(), "the answer was in the 183");
    world.caller_sends(&in_dialog(&told, "ACK", 1, ""));
    world.caller_sends(&in_dialog(&told, "BYE", 3, ""));
    let bye = world.sent()[1].1.clone();
    assert_eq!(bye.cseq().0, 3);
    world.answer(FIRST, &bye, 200, "b1", "");
    world.run_dry();
}

#[test]
fn acknowledges_for_a_caller_without_100rel_and_gives_it_the_answer_with_the_200() {
    let mut world = World::new();
    let outbound = world.call("");
    world.provisional(&outbound, 183, "b1", Some(5), SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("183 X"), to_first("PRACK")]);
    assert_eq!(text_of(&sent[0].1, HeaderName::RSeq), None);
    assert_eq!(text_of(&sent[0].1, HeaderName::Require), None);
    assert_eq!(text_of(&sent[1].1, HeaderName::RAck), Some("5 1 INVITE".to_owned()));
    world.answer(FIRST, &sent[1].1, 200, "b1", "");
    world.answer(FIRST, &outbound, 200, "b1", "");
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_caller("200 OK")]);
    assert_eq!(sent[1].1.body(), SDP.as_bytes());
    assert_eq!(text_of(&sent[1].1, HeaderName::ContentType), Some("application/sdp".to_owned()));
}

#[test]
fn takes_reliable_responses_in_their_order_only_and_each_once() {
    let mut world = World::new();
    let outbound = world.call("");
    world.provisional(&outbound, 183, "b1", Some(5), "");
    assert_eq!(world.sent().len(), 2);
    for repeated_or_early in [5, 7, 4] {
        world.provisional(&outbound, 180, "b1", Some(repeated_or_early), "");
        assert!(world.sent().is_empty(), "{repeated_or_early}");
    }
    world.provisional(&outbound, 180, "b1", Some(6), "");
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("180 Ringing"), to_first("PRACK")]);
    // Another branch counts for itself.
    world.provisional(&outbound, 180, "b2", Some(900), "");
    let sent = world.sent();
    assert_eq!(text_of(&sent[1].1, HeaderName::RAck), Some("900 1 INVITE".to_owned()));
    assert_eq!(sent[1].1.to_tag(), Some(&b"b2"[..]));
}

#[test]
fn tells_a_caller_that_requires_it_reliably_what_the_carrier_tells_unreliably() {
    let mut world = World::new();
    let outbound = world.call(MUST);
    world.provisional(&outbound, 180, "b1", None, "");
    let told = world.sent().remove(0).1;
    assert_eq!(text_of(&told, HeaderName::Require), Some("100rel".to_owned()));
    for pause_ms in [500, 1_000, 2_000, 4_000, 8_000, 16_000] {
        world.pass(Duration::from_millis(pause_ms - 1));
        assert!(world.sent().is_empty());
        world.pass(Duration::from_millis(1));
        let sent = world.sent();
        assert_eq!(lines(&sent), [to_caller("180 Ringing")]);
        assert_eq!(sent[0].1.bytes(), told.bytes());
    }
    world.caller_sends(&prack(&told, 2, ""));
    assert_eq!(lines(&world.sent()), [to_caller("200 OK")]);
    world.caller_sends(&prack(&told, 3, ""));
    assert_eq!(lines(&world.sent()), [to_caller("481 Call/Transaction Does Not Exist")]);
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_caller("200 OK")]);
}

#[test]
fn gives_up_on_a_caller_that_acknowledges_nothing() {
    let mut world = World::new();
    let outbound = world.call(MUST);
    world.provisional(&outbound, 180, "b1", None, "");
    world.pass(Duration::from_millis(31_999));
    world.sent();
    world.pass(Duration::from_millis(1));
    assert_eq!(lines(&world.sent()), [to_first("CANCEL"), to_caller("504 Server Time-out")]);
    let record = world.record();
    assert_eq!((record.status_code, record.detail.as_str()), (504, "no PRACK in 32 s"));
    assert_eq!(record.attempts[0].weight, 0.0);
}

#[test]
fn has_a_response_wait_for_the_one_before_it() {
    let mut world = World::new();
    let outbound = world.call(MUST);
    world.provisional(&outbound, 180, "b1", None, "");
    let first = world.sent().remove(0).1;
    world.provisional(&outbound, 183, "b1", None, SDP);
    assert!(world.sent().is_empty());
    world.caller_sends(&prack(&first, 2, ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("200 OK"), to_caller("183 X")]);
    assert_eq!(rseq(&sent[1].1), rseq(&first) + 1);
}

#[test]
fn refuses_a_prack_of_nothing_that_it_knows() {
    let mut world = World::new();
    let outbound = world.call(MUST);
    world.provisional(&outbound, 180, "b1", None, "");
    let told = world.sent().remove(0).1;
    let rack = format!("RAck: {} 1 INVITE", rseq(&told));
    let beside = format!("RAck: {} 2 INVITE", rseq(&told));
    for (seq, bad) in [(2, "RAck: 1 1 INVITE"), (3, &beside), (4, "RAck: x"), (5, "X: y")] {
        world.caller_sends(&prack(&told, seq, "").replace(&rack, bad));
        assert_eq!(world.sent()[0].1.status_code(), 481, "{bad}");
    }
    world.caller_sends(&prack(&told, 6, ""));
    assert_eq!(world.sent()[0].1.status_code(), 200);
}

#[test]
fn holds_the_answer_back_until_what_it_completes_has_come() {
    let mut world = World::new();
    let outbound = world.call(MUST);
    world.provisional(&outbound, 183, "b1", None, SDP);
    let told = world.sent().remove(0).1;
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    assert!(world.sent().is_empty());
    world.caller_sends(&prack(&told, 2, ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("200 OK"), to_first("ACK"), to_caller("200 OK")]);
    assert_eq!(sent[2].1.cseq().1, Method::Invite);
}

#[test]
fn hangs_up_an_answer_that_was_held_back_for_a_caller_that_gave_up() {
    let mut world = World::new();
    let outbound = world.call(MUST);
    world.provisional(&outbound, 183, "b1", None, SDP);
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    world.sent();
    world.caller_sends(&cancel("1"));
    world.sent();
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_first("BYE")]);
}

#[test]
fn takes_the_prack_that_the_answer_has_overtaken() {
    let mut world = World::new();
    let outbound = world.call(MUST);
    world.provisional(&outbound, 180, "b1", None, "");
    let told = world.sent().remove(0).1;
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_caller("200 OK")]);
    world.caller_sends(&prack(&told, 2, ""));
    assert_eq!(lines(&world.sent()), [to_caller("200 OK")]);
    world.caller_sends(&prack(&told, 3, ""));
    assert_eq!(world.sent()[0].1.status_code(), 481);
}

#[test]
fn carries_a_late_offer_in_a_reliable_response_and_its_answer_in_the_prack() {
    let mut world = World::new();
    world.caller_sends(&late(&with_lines(&invite("1"), REL)));
    let outbound = world.sent()[1].1.clone();
    world.provisional(&outbound, 183, "b1", Some(9), SDP);
    let told = world.sent().remove(0).1;
    world.caller_sends(&prack(&told, 2, CHANGED_SDP));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("PRACK")]);
    assert_eq!(sent[0].1.body(), CHANGED_SDP.as_bytes());
    world.answer(FIRST, &sent[0].1, 200, "b1", "");
    world.sent();
    world.answer(FIRST, &outbound, 200, "b1", "");
    assert_eq!(lines(&world.sent()), [to_caller("200 OK")]);
    world.caller_sends(&in_dialog(&told, "ACK", 1, ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK")]);
    assert!(sent[0].1.body().is_empty());
}

#[test]
fn carries_an_offer_in_a_prack_and_its_answer() {
    let (mut world, outbound, told) = ringing_reliably();
    world.caller_sends(&prack(&told, 2, CHANGED_SDP));
    let relayed = world.sent().remove(0).1;
    assert_eq!(relayed.body(), CHANGED_SDP.as_bytes());
    // Nobody may offer anything meanwhile.
    world.carrier_sends(FIRST, &from_carrier(&relayed, "UPDATE", 1, SDP));
    assert_eq!(lines(&world.sent()), [to_first("491 Request Pending")]);
    world.answer(FIRST, &relayed, 200, "b1", SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("200 X")]);
    assert_eq!(sent[0].1.body(), SDP.as_bytes());
    world.answer(FIRST, &outbound, 200, "b1", "");
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_caller("200 OK")]);
}

#[test]
fn passes_an_update_of_either_side_once_the_early_session_stands() {
    let (mut world, outbound, told) = ringing_reliably();
    // The caller may not offer anything before it has acknowledged the answer.
    world.caller_sends(&in_dialog(&told, "UPDATE", 2, CHANGED_SDP));
    let sent = world.sent();
    assert_eq!(sent[0].1.status_code(), 500);
    assert!(text_of(&sent[0].1, HeaderName::RetryAfter).is_some());
    world.caller_sends(&prack(&told, 3, ""));
    let relayed = world.sent().remove(0).1;
    world.answer(FIRST, &relayed, 200, "b1", "");
    world.sent();
    world.caller_sends(&in_dialog(&told, "UPDATE", 4, CHANGED_SDP));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("UPDATE")]);
    assert_eq!(sent[0].1.body(), CHANGED_SDP.as_bytes());
    assert!(text_of(&sent[0].1, HeaderName::Contact).is_some());
    let update = sent[0].1.clone();
    // A second one, and one from the other side, meet it.
    world.caller_sends(&in_dialog(&told, "UPDATE", 5, SDP));
    let refused = world.sent().remove(0).1;
    assert_eq!(refused.status_code(), 500);
    assert!(text_of(&refused, HeaderName::RetryAfter).is_some());
    world.carrier_sends(FIRST, &from_carrier(&relayed, "UPDATE", 1, SDP));
    assert_eq!(lines(&world.sent()), [to_first("491 Request Pending")]);
    world.answer(FIRST, &update, 200, "b1", SDP);
    assert_eq!(lines(&world.sent()), [to_caller("200 X")]);
    let changed = SDP.replace("1 1 IN", "1 3 IN");
    world.carrier_sends(FIRST, &from_carrier(&relayed, "UPDATE", 2, &changed));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("UPDATE")]);
    assert_eq!((sent[0].1.body(), sent[0].1.cseq().0), (changed.as_bytes(), 1));
    // Its answer comes when the call is answered already.
    world.answer(FIRST, &outbound, 200, "b1", "");
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_caller("200 OK")]);
    world.caller_sends(&response(&sent[0].1, 200, "", CALLER, CHANGED_SDP));
    assert_eq!(lines(&world.sent()), [to_first("200 X")]);
    world.caller_sends(&in_dialog(&told, "ACK", 1, ""));
    world.caller_sends(&in_dialog(&told, "BYE", 6, ""));
    assert_eq!(lines(&world.sent()), [to_caller("200 OK"), to_first("BYE")]);
}

#[test]
fn answers_an_update_without_an_offer_in_an_early_dialog() {
    let (mut world, _, told) = ringing_reliably();
    world.caller_sends(&in_dialog(&told, "UPDATE", 2, ""));
    assert_eq!(lines(&world.sent()), [to_caller("200 OK")]);
}

#[test]
fn answers_what_is_under_way_in_an_early_dialog_that_fails() {
    let (mut world, outbound, told) = ringing_reliably();
    world.caller_sends(&prack(&told, 2, ""));
    world.sent();
    world.answer(FIRST, &outbound, 486, "b1", "");
    let sent = lines(&world.sent());
    let expected =
        [to_first("ACK"), to_caller("487 Request Terminated"), to_caller("486 Busy Here")];
    assert_eq!(sent, expected);
    world.pass(Duration::from_secs(40));
    world.run_dry();
}

#[test]
fn follows_the_rules_of_update_in_a_call_that_is_answered() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "UPDATE", 2, CHANGED_SDP));
    let update = world.sent().remove(0).1;
    assert_eq!(update.method(), Method::Update);
    world.caller_sends(&in_dialog(&ok, "UPDATE", 3, SDP));
    assert_eq!(world.sent()[0].1.status_code(), 500);
    world.carrier_sends(FIRST, &from_carrier(&update, "UPDATE", 1, CHANGED_SDP));
    assert_eq!(lines(&world.sent()), [to_first("491 Request Pending")]);
    world.carrier_sends(FIRST, &from_carrier(&update, "INVITE", 2, CHANGED_SDP));
    assert_eq!(lines(&world.sent()), [to_first("491 Request Pending")]);
    world.caller_sends(&in_dialog(&ok, "INVITE", 4, CHANGED_SDP));
    assert_eq!(world.sent()[0].1.status_code(), 500);
    world.answer(FIRST, &update, 200, "b1", CHANGED_SDP);
    assert_eq!(lines(&world.sent()), [to_caller("200 X")]);
}

#[test]
fn acknowledges_a_reliable_response_to_a_reinvite() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&with_lines(&in_dialog(&ok, "INVITE", 2, CHANGED_SDP), MUST));
    let reinvite = world.sent()[1].1.clone();
    assert_eq!(text_of(&reinvite, HeaderName::Supported), Some("timer".to_owned()));
    world.provisional(&reinvite, 180, "b1", Some(3), "");
    // The caller would have to hear of it reliably, and need not.
    assert_eq!(lines(&world.sent()), [to_first("PRACK")]);
}

#[test]
fn asks_a_gateway_again_that_insists_on_100rel() {
    let mut world = World::new();
    let first = world.call("");
    world.receive(
        FIRST,
        &with_lines(&response(&first, 421, "b1", FIRST, ""), "Require: 100rel\r\n"),
    );
    let sent = world.sent();
    assert_eq!(text_of(&sent[1].1, HeaderName::Require), Some("100rel".to_owned()));
    assert_eq!(text_of(&sent[1].1, HeaderName::Supported), Some("100rel, timer".to_owned()));
    world.provisional(&sent[1].1, 180, "b1", Some(3), "");
    let sent = world.sent();
    assert_eq!(text_of(&sent[1].1, HeaderName::RAck), Some("3 2 INVITE".to_owned()));
}

const MUST: &str = "Require: 100rel\r\n";

/// A carrier's reliable 183 with the answer has reached a caller that takes it.
fn ringing_reliably() -> (World, Message, Message) {
    let mut world = World::new();
    let outbound = world.call(REL);
    world.provisional(&outbound, 183, "b1", Some(77), SDP);
    let told = world.sent().remove(0).1;
    (world, outbound, told)
}

impl World {
    /// The INVITE that a carrier gets for one of the caller with these lines.
    pub(super) fn call(&mut self, asked: &str) -> Message {
        self.caller_sends(&with_lines(&invite("1"), asked));
        self.sent()[1].1.clone()
    }

    pub(super) fn provisional(
        &mut self,
        request: &Message,
        status_code: u16,
        tag: &str,
        rseq: Option<u32>,
        body: &str,
    ) {
        let more = rseq.map(|rseq| format!("Require: 100rel\r\nRSeq: {rseq}\r\n"));
        let text = response(request, status_code, tag, FIRST, body);
        self.receive(FIRST, &with_lines(&text, &more.unwrap_or_default()));
    }
}

pub(super) fn prack(told: &Message, seq: u32, body: &str) -> String {
    let rack = format!("RAck: {} 1 INVITE\r\n", rseq(told));
    with_lines(&in_dialog(told, "PRACK", seq, body), &rack)
}

fn rseq(told: &Message) -> u32 {
    text_of(told, HeaderName::RSeq).expect("an RSeq").parse().expect("a number")
}

fn late(invite: &str) -> String {
    let (head, _) = invite.split_once("\r\n\r\n").expect("a head");
    let head = head.replace(&content(SDP), "Content-Length: 0");
    format!("{head}\r\n\r\n")
}
