//! Dialogs that others take the place of: Replaces (RFC 3891), and attended transfer (RFC 5589 §7).

use super::*;

const OFFER: &str = "v=0\r\no=- 7 7 IN IP4 192.0.2.8\r\ns=-\r\nt=0 0\r\nm=audio 21 RTP/AVP 0\r\n";
const ANSWER: &str = "v=0\r\no=- 8 8 IN IP4 192.0.2.6\r\ns=-\r\nt=0 0\r\nm=audio 31 RTP/AVP 0\r\n";

#[test]
fn gives_the_callers_place_to_who_sends_an_invite_with_replaces() {
    for policy in ["relay", "local"] {
        let mut world = world(policy);
        let (ok, _) = world.establish();
        world.caller_sends(&replacing("2", &named(&ok, "")));
        let sent = world.sent();
        assert_eq!(lines(&sent), [to_caller("100 Trying"), to_first("INVITE")]);
        let offered = sent[1].1.clone();
        assert_eq!((offered.to_tag(), offered.body()), (Some(&b"b1"[..]), SDP.as_bytes()));
        assert_eq!(offered.first(HeaderName::Replaces), None);
        world.answer(FIRST, &offered, 200, "", ANSWER);
        let sent = world.sent();
        assert_eq!(lines(&sent), [to_first("ACK"), to_caller("200 OK"), to_caller("BYE")]);
        let new_ok = sent[1].1.clone();
        assert_eq!((new_ok.call_id(), new_ok.body()), (&b"call-2"[..], ANSWER.as_bytes()));
        assert_eq!(sent[2].1.call_id(), b"call-1");
        world.caller_takes(&sent[2].1);
        world.caller_sends(&in_dialog(&new_ok, "ACK", 1, ""));
        assert!(world.sent().is_empty());
        world.caller_sends(&in_dialog(&ok, "INFO", 8, ""));
        assert_eq!(lines(&world.sent()), [to_caller("481 Call/Transaction Does Not Exist")]);
        world.carrier_sends(FIRST, &from_carrier(&offered, "BYE", 1, ""));
        let sent = world.sent();
        assert_eq!(lines(&sent), [to_first("200 OK"), to_caller("BYE")]);
        assert_eq!(sent[1].1.call_id(), b"call-2");
        world.caller_takes(&sent[1].1);
        let record = world.record();
        assert_eq!((record.attempts.len(), record.ended_by), (1, EndedBy::Callee));
        world.run_dry();
    }
}

#[test]
fn carries_a_late_offer_of_who_replaces_to_the_ack() {
    let mut world = world("local");
    let (ok, _) = world.establish();
    let late = replacing("2", &named(&ok, ""));
    world.caller_sends(&late.replace(SDP, "").replace(&content(SDP), "Content-Length: 0"));
    let asked = world.sent().pop().expect("the callee is asked").1;
    assert_eq!(asked.body(), b"");
    world.answer(FIRST, &asked, 200, "", OFFER);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("200 OK"), to_caller("BYE")]);
    assert_eq!(sent[0].1.body(), OFFER.as_bytes());
    world.caller_sends(&in_dialog(&sent[0].1, "ACK", 1, ANSWER));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK")]);
    assert_eq!(sent[0].1.body(), ANSWER.as_bytes());
}

#[test]
fn refuses_a_replacement_as_the_rfc_says() {
    let mut world = world("local");
    let (ok, _) = world.establish();
    let good = named(&ok, "");
    for (value, status_code) in [
        ("call-1".to_owned(), 400),
        (format!("{good}\r\nReplaces: {good}"), 400),
        (good.replace("call-1", "call-9"), 481),
        (good.replace("from-tag=a1", "from-tag=a9"), 481),
        ("call-1;to-tag=x;from-tag=a1".to_owned(), 481),
        (named(&ok, ";early-only"), 486),
    ] {
        world.caller_sends(&replacing("2", &value));
        let sent = world.sent();
        assert_eq!((sent.len(), sent[0].1.status_code()), (1, status_code), "{value}");
    }
    // The callee does not want to: the call is as it was.
    world.caller_sends(&replacing("3", &good));
    let offered = world.sent().pop().expect("the callee is asked").1;
    world.answer(FIRST, &offered, 488, "", "");
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_caller("488 Not Acceptable Here")]);
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let bye = world.sent().pop().expect("a BYE").1;
    // It is over, but for the answer to our BYE.
    world.caller_sends(&replacing("4", &good));
    assert_eq!(lines(&world.sent()), [to_caller("603 Decline")]);
    world.answer(FIRST, &bye, 200, "", "");
    world.record();
    world.run_dry();
}

#[test]
fn lets_nobody_replace_the_dialog_of_another_customer() {
    let mut world = World::with(|rows| {
        rows.customers[0].refer = "local".to_owned();
        let other = CustomerRow {
            customer_id: 2,
            name: "other".to_owned(),
            refer: "local".to_owned(),
            ..CustomerRow::default()
        };
        rows.customers.push(other);
        let address_range = "203.0.113.99/32".parse().expect("a range");
        rows.customer_addresses.push(CustomerAddressRow { address_range, customer_id: 2 });
    });
    let (ok, _) = world.establish();
    world.receive("203.0.113.99:5060", &replacing("2", &named(&ok, "")));
    assert_eq!(lines(&world.sent())[0].1, "481 Call/Transaction Does Not Exist");
}

#[test]
fn makes_a_call_of_an_invite_with_replaces_where_the_customer_may_not_transfer() {
    let mut world = world("refuse");
    let (ok, _) = world.establish();
    assert_eq!(text_of(&ok, HeaderName::Supported).as_deref(), Some("timer"));
    world.caller_sends(&with_lines(&replacing("2", &named(&ok, "")), "Require: replaces\r\n"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("420 Bad Extension")]);
    assert_eq!(text_of(&sent[0].1, HeaderName::Unsupported).as_deref(), Some("replaces"));
    world.caller_sends(&replacing("2", &named(&ok, "")));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("100 Trying"), to_first("INVITE")]);
    assert_eq!(sent[1].1.to_tag(), None, "it is another call");
}

#[test]
fn speaks_of_replaces_only_where_every_dialog_is_found() {
    let change = |rows: &mut Rows| rows.customers[0].refer = "local".to_owned();
    let mut world = World::set_up(change, |settings| settings.shards = 2);
    let (ok, _) = world.establish();
    assert_eq!(text_of(&ok, HeaderName::Supported).as_deref(), Some("timer"));
}

#[test]
fn takes_a_replacement_back_when_its_sender_does() {
    let mut world = world("local");
    let (ok, _) = world.establish();
    world.caller_sends(&replacing("2", &named(&ok, "")));
    let offered = world.sent().pop().expect("the callee is asked").1;
    world.answer(FIRST, &offered, 180, "", "");
    world.caller_sends(&cancel("2"));
    assert_eq!(lines(&world.sent()), [to_caller("200 OK"), to_first("CANCEL")]);
    world.answer(FIRST, &offered, 487, "", "");
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_caller("487 Request Terminated")]);
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let bye = world.sent().pop().expect("a BYE").1;
    assert_eq!(bye.method(), Method::Bye);
}

#[test]
fn maps_the_dialog_that_an_attended_transfer_names_to_the_other_side() {
    let mut world = world("relay");
    let (ok, _) = world.establish();
    let (second_ok, second) = world.establish_second();
    let target = refer_to(&named(&second_ok, ""));
    world.caller_sends(&with_lines(&in_dialog(&ok, "REFER", 2, ""), &target));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("REFER")]);
    let expected = format!(
        "<sip:{FIRST}?Replaces={}%3Bto-tag%3Dc1%3Bfrom-tag%3D{}>",
        String::from_utf8_lossy(second.call_id()),
        String::from_utf8_lossy(second.from_tag().expect("our tag")),
    );
    assert_eq!(text_of(&sent[0].1, HeaderName::ReferTo), Some(expected));
}

#[test]
fn joins_the_two_calls_of_an_attended_transfer() {
    let mut world = world("local");
    let (ok, _) = world.establish();
    let (second_ok, second) = world.establish_second();
    let target = refer_to(&named(&second_ok, ""));
    world.caller_sends(&with_lines(&in_dialog(&ok, "REFER", 2, ""), &target));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("202 Accepted"), to_caller("NOTIFY"), to_first("INVITE")]);
    world.caller_takes(&sent[1].1);
    let asked = sent[2].1.clone();
    assert_eq!((asked.to_tag(), asked.body()), (Some(&b"b1"[..]), &b""[..]));
    world.answer(FIRST, &asked, 200, "", OFFER);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("BYE"), to_first("INVITE")]);
    assert_eq!(sent[0].1.call_id(), b"call-2", "who transfers is done with the second call");
    world.caller_takes(&sent[0].1);
    let offered = sent[1].1.clone();
    assert_eq!((offered.to_tag(), offered.body()), (Some(&b"c1"[..]), OFFER.as_bytes()));
    let ended = world.record();
    assert_eq!((ended.end_cause, ended.ended_by), (EndCause::Completed, EndedBy::Caller));
    world.outputs.clear();
    world.answer(FIRST, &offered, 200, "", ANSWER);
    let sent = world.sent();
    let expected = [to_first("ACK"), to_first("ACK"), to_caller("NOTIFY"), to_caller("BYE")];
    assert_eq!(lines(&sent), expected);
    assert_eq!((sent[1].1.to_tag(), sent[1].1.body()), (Some(&b"b1"[..]), ANSWER.as_bytes()));
    assert_eq!(sent[3].1.call_id(), b"call-1");
    world.caller_takes(&sent[2].1);
    world.caller_takes(&sent[3].1);
    let counters = world.engine.counters();
    assert_eq!((counters.calls_now, counters.answered_now, counters.channels_now), (1, 1, 2));
    world.carrier_sends(FIRST, &from_carrier(&asked, "BYE", 1, ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("200 OK"), to_first("BYE")]);
    assert_eq!(sent[1].1.call_id(), second.call_id());
    world.answer(FIRST, &sent[1].1, 200, "", "");
    let record = world.record();
    assert_eq!(ended.detail, format!("joined with call {}", record.call_id));
    assert_eq!(record.detail, format!("joined with call {}", ended.call_id));
    world.run_dry();
}

#[test]
fn tells_who_transfers_that_the_other_call_is_gone() {
    let mut world = world("local");
    let (ok, _) = world.establish();
    let (second_ok, _) = world.establish_second();
    let target = refer_to(&named(&second_ok, ""));
    world.caller_sends(&with_lines(&in_dialog(&ok, "REFER", 2, ""), &target));
    let sent = world.sent();
    let (notify, asked) = (sent[1].1.clone(), sent[2].1.clone());
    world.caller_takes(&notify);
    world.caller_sends(&in_dialog(&second_ok, "BYE", 2, ""));
    let bye = world.sent().pop().expect("a BYE").1;
    world.answer(FIRST, &bye, 200, "", "");
    world.answer(FIRST, &asked, 200, "", OFFER);
    world.pass(Duration::from_secs(5));
    let sent = world.sent();
    let told = |message: &&(String, Message)| {
        message.1.is_request() && message.1.method() == Method::Notify
    };
    let notify = sent.iter().find(told).expect("it is told");
    assert_eq!(notify.1.body(), b"SIP/2.0 481 Call/Transaction Does Not Exist\r\n");
    let ack = sent.iter().find(|(_, message)| message.method_text() == b"ACK");
    assert_eq!(ack.expect("an answer to the offer").1.body(), SDP.as_bytes());
}

impl World {
    /// A second call of the caller, whose callee has the tag `c1`.
    fn establish_second(&mut self) -> (Message, Message) {
        self.caller_sends(&invite("2"));
        let outbound = self.sent().pop().expect("an attempt").1;
        self.answer(FIRST, &outbound, 200, "c1", SDP);
        let ok = self.sent().pop().expect("an answer").1;
        self.caller_sends(&in_dialog(&ok, "ACK", 1, "").replace("z9hG4bK", "z9hG4bKsecond"));
        assert!(self.sent().is_empty());
        (ok, outbound)
    }
}

fn world(policy: &str) -> World {
    World::with(|rows| rows.customers[0].refer = policy.to_owned())
}

/// The dialog of the caller that an answer of ours made, as Replaces names it to us.
fn named(ok: &Message, more: &str) -> String {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    format!(
        "{};to-tag={};from-tag={}{more}",
        text(ok.call_id()),
        text(ok.to_tag().expect("our tag")),
        text(ok.from_tag().expect("its tag"))
    )
}

fn replacing(number: &str, value: &str) -> String {
    with_lines(&invite(number), &format!("Replaces: {value}\r\n"))
}

fn refer_to(named: &str) -> String {
    let escaped = named.replace(';', "%3B").replace('=', "%3D");
    format!("Refer-To: <sip:203.0.113.1:5060?Replaces={escaped}>\r\n")
}
