//! REFER that Holdfast carries out by itself (RFC 3515, RFC 5589).

use super::*;

const TARGET: &str = "Refer-To: <sip:+14155550199@203.0.113.1;method=INVITE?Subject=x>\r\n";
const OFFER: &str = "v=0\r\no=- 7 7 IN IP4 192.0.2.8\r\ns=-\r\nt=0 0\r\nm=audio 21 RTP/AVP 0\r\n";
const ANSWER: &str = "v=0\r\no=- 8 8 IN IP4 192.0.2.6\r\ns=-\r\nt=0 0\r\nm=audio 31 RTP/AVP 0\r\n";

#[test]
fn transfers_the_callee_of_a_call_that_its_caller_refers() {
    let mut world = local(|_| {});
    let (ok, outbound) = world.establish();
    assert_eq!(text_of(&ok, HeaderName::Supported).as_deref(), Some("timer, replaces"));
    assert_eq!(text_of(&outbound, HeaderName::Supported).as_deref(), Some("timer"));
    let (notify, target) = world.refer(&ok, 2);
    assert_eq!(text_of(&notify, HeaderName::Event).as_deref(), Some("refer;id=2"));
    assert_eq!(subscription(&notify), "active;expires=600");
    assert_eq!(notify.body(), b"SIP/2.0 100 Trying\r\n");
    assert_eq!(target.request_uri(), b"sip:+14155550199@198.51.100.1");
    assert!(text_of(&target, HeaderName::From).expect("a From").starts_with("<sip:+4930123@"));
    assert_eq!(target.body(), SDP.as_bytes(), "what the callee said last");
    world.answer(FIRST, &target, 180, "t1", "");
    assert_eq!(lines(&world.sent()), []);
    world.answer(FIRST, &target, 200, "t1", SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_first("INVITE")]);
    let asked = sent[1].1.clone();
    assert_eq!((asked.to_tag(), asked.body()), (Some(&b"b1"[..]), &b""[..]));
    world.answer(FIRST, &asked, 200, "", OFFER);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("INVITE")]);
    let offered = sent[0].1.clone();
    assert_eq!((offered.to_tag(), offered.body()), (Some(&b"t1"[..]), OFFER.as_bytes()));
    world.answer(FIRST, &offered, 200, "", ANSWER);
    let sent = world.sent();
    let expected = [to_first("ACK"), to_first("ACK"), to_caller("NOTIFY"), to_caller("BYE")];
    assert_eq!(lines(&sent), expected);
    assert_eq!((sent[0].1.to_tag(), sent[0].1.body()), (Some(&b"t1"[..]), &b""[..]));
    assert_eq!((sent[1].1.to_tag(), sent[1].1.body()), (Some(&b"b1"[..]), ANSWER.as_bytes()));
    assert_eq!(subscription(&sent[2].1), "terminated;reason=noresource");
    assert_eq!(sent[2].1.body(), b"SIP/2.0 200 OK\r\n");
    world.caller_takes(&sent[2].1);
    world.caller_takes(&sent[3].1);
    assert_eq!(world.engine.counters().channels_now, 2);
    assert_eq!(world.engine.counters().transfers, 1);
    // The two that are left talk with each other.
    world.carrier_sends(FIRST, &from_carrier(&offered, "INFO", 1, "Signal=1"));
    let sent = world.sent();
    assert_eq!((lines(&sent), sent[0].1.to_tag()), (vec![to_first("INFO")], Some(&b"b1"[..])));
    world.answer(FIRST, &sent[0].1, 200, "", "");
    world.sent();
    world.carrier_sends(FIRST, &from_carrier(&offered, "BYE", 2, ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("200 OK"), to_first("BYE")]);
    world.answer(FIRST, &sent[1].1, 200, "", "");
    let record = world.record();
    assert_eq!((record.end_cause, record.ended_by), (EndCause::Completed, EndedBy::Callee));
    let whom: Vec<_> =
        record.attempts.iter().map(|attempt| attempt.transferred_to.as_deref()).collect();
    assert_eq!(whom, [None, Some("+14155550199")]);
    assert_eq!(record.attempts[1].class, Class::Answered);
    world.run_dry();
}

#[test]
fn transfers_the_caller_of_a_call_that_its_callee_refers() {
    let mut world = local(|_| {});
    let (ok, outbound) = world.establish();
    let refer = from_carrier(&established(&outbound), "REFER", 1, "");
    world.carrier_sends(FIRST, &with_lines(&refer, TARGET));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("202 Accepted"), to_first("NOTIFY"), to_first("INVITE")]);
    let target = sent[2].1.clone();
    world.answer(FIRST, &sent[1].1, 200, "", "");
    world.answer(FIRST, &target, 200, "t1", SDP);
    let asked = world.sent().pop().expect("the caller is asked").1;
    assert_eq!((asked.method(), asked.body()), (Method::Invite, &b""[..]));
    world.caller_sends(&response(&asked, 200, "", CALLER, OFFER));
    let offered = world.sent().pop().expect("the target is told").1;
    world.answer(FIRST, &offered, 200, "", ANSWER);
    let sent = world.sent();
    let expected = [to_first("ACK"), to_caller("ACK"), to_first("NOTIFY"), to_first("BYE")];
    assert_eq!(lines(&sent), expected);
    assert_eq!(sent[3].1.to_tag(), Some(&b"b1"[..]), "who transferred is done");
    world.answer(FIRST, &sent[2].1, 200, "", "");
    world.answer(FIRST, &sent[3].1, 200, "", "");
    assert_eq!(world.engine.counters().channels_now, 1);
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("200 OK"), to_first("BYE")]);
    assert_eq!(sent[1].1.to_tag(), Some(&b"t1"[..]));
    world.answer(FIRST, &sent[1].1, 200, "", "");
    assert_eq!(world.record().ended_by, EndedBy::Caller);
    world.run_dry();
}

#[test]
fn hunts_for_the_target_and_tells_who_transfers_what_came_of_it() {
    let mut world = local(|_| {});
    let (ok, _) = world.establish();
    let (_, target) = world.refer(&ok, 2);
    world.answer(FIRST, &target, 503, "t1", "");
    let second = world.sent().pop().expect("the next carrier is called");
    assert_eq!(second.0, SECOND);
    world.answer(SECOND, &second.1, 486, "t2", "");
    let sent = world.sent();
    assert_eq!(lines(&sent)[1], to_caller("NOTIFY"));
    assert_eq!(sent[1].1.body(), b"SIP/2.0 486 Busy Here\r\n");
    assert_eq!(subscription(&sent[1].1), "terminated;reason=noresource");
    world.caller_takes(&sent[1].1);
    // The call is as it was, and may be transferred again.
    world.caller_sends(&in_dialog(&ok, "INFO", 3, "Signal=1"));
    let info = world.sent().remove(0);
    assert_eq!(info.0, FIRST);
    world.answer(FIRST, &info.1, 200, "", "");
    world.sent();
    let (notify, target) = world.refer(&ok, 4);
    assert_eq!(text_of(&notify, HeaderName::Event).as_deref(), Some("refer;id=4"));
    world.caller_hangs_up_on(&target, &ok, 5);
    let record = world.record();
    let classes: Vec<_> = record.attempts.iter().map(|attempt| attempt.class).collect();
    let expected = [Class::Answered, Class::CarrierHard, Class::Destination, Class::Destination];
    assert_eq!(classes, expected);
    world.run_dry();
}

#[test]
fn refuses_what_it_cannot_carry_out() {
    let is = |line: &str, status_code: u16| (format!("{line}\r\n"), status_code);
    for (more, status_code) in [
        is("Refer-To: <https://elsewhere.example/x>", 416),
        is("Refer-To: <sip:+1@203.0.113.1;method=SUBSCRIBE>", 403),
        is("Refer-To: <sip:203.0.113.1>", 484),
        is("Refer-To: <sip:+1@x?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>", 403),
        is("Refer-To: <sip:+1@x?Replaces=a>", 400),
        is("Refer-To: <sip:+1@x>, <sip:+2@x>", 400),
    ] {
        let mut world = local(|_| {});
        let (ok, _) = world.establish();
        world.caller_sends(&with_lines(&in_dialog(&ok, "REFER", 2, ""), &more));
        let sent = world.sent();
        assert_eq!((sent.len(), sent[0].1.status_code()), (1, status_code), "{more}");
    }
    // No route leads there.
    let mut world = local(|rows| rows.routes[0].called_prefix = "+14155550100".to_owned());
    let (ok, _) = world.establish();
    world.caller_sends(&with_lines(&in_dialog(&ok, "REFER", 2, ""), TARGET));
    assert_eq!(lines(&world.sent()), [to_caller("404 Not Found")]);
    // One at a time.
    let mut world = local(|_| {});
    let (ok, _) = world.establish();
    world.refer(&ok, 2);
    world.caller_sends(&with_lines(&in_dialog(&ok, "REFER", 3, ""), TARGET));
    assert_eq!(lines(&world.sent()), [to_caller("491 Being Transferred Already")]);
}

#[test]
fn keeps_a_transfer_within_the_region_and_the_limits_of_the_customer() {
    let mut world = local(|rows| {
        rows.customers[0].region = Some("eu".to_owned());
        rows.gateways[1].region = Some("eu".to_owned());
        rows.gateways[1].max_channels = Some(1);
    });
    world.caller_sends(&invite("1"));
    let outbound = world.sent().pop().expect("an attempt");
    assert_eq!(outbound.0, SECOND);
    world.answer(SECOND, &outbound.1, 200, "b1", SDP);
    let ok = world.sent().pop().expect("an answer").1;
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    world.caller_sends(&with_lines(&in_dialog(&ok, "REFER", 2, ""), TARGET));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("202 Accepted"), to_caller("NOTIFY")]);
    world.caller_takes(&sent[1].1);
    world.pass(Duration::from_millis(500));
    let sent = world.sent();
    assert_eq!(sent[0].1.body(), b"SIP/2.0 480 Temporarily Unavailable\r\n");
}

#[test]
fn goes_on_with_a_transfer_though_who_asked_for_it_hangs_up() {
    let mut world = local(|_| {});
    let (ok, _) = world.establish();
    let (_, target) = world.refer(&ok, 2);
    world.caller_sends(&in_dialog(&ok, "BYE", 3, ""));
    assert_eq!(lines(&world.sent()), [to_caller("200 OK")]);
    world.answer(FIRST, &target, 200, "t1", SDP);
    let asked = world.sent().pop().expect("the callee is asked").1;
    world.answer(FIRST, &asked, 200, "", OFFER);
    let offered = world.sent().pop().expect("the target is told").1;
    world.answer(FIRST, &offered, 200, "", ANSWER);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_first("ACK")]);
    world.carrier_sends(FIRST, &from_carrier(&asked, "BYE", 1, ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("200 OK"), to_first("BYE")]);
    assert_eq!(sent[1].1.to_tag(), Some(&b"t1"[..]));
    world.answer(FIRST, &sent[1].1, 200, "", "");
    world.record();
    world.run_dry();
}

#[test]
fn ends_a_call_whose_transfer_fails_after_who_asked_for_it_has_hung_up() {
    let mut world = local(|_| {});
    let (ok, outbound) = world.establish();
    let (_, target) = world.refer(&ok, 2);
    world.caller_sends(&in_dialog(&ok, "BYE", 3, ""));
    world.sent();
    // Nobody is there to ask.
    world.carrier_sends(FIRST, &from_carrier(&established(&outbound), "INFO", 1, "x"));
    assert_eq!(lines(&world.sent()), [to_first("480 Nobody Is There")]);
    world.answer(FIRST, &target, 486, "t1", "");
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_first("BYE")]);
    assert_eq!(sent[1].1.to_tag(), Some(&b"b1"[..]));
    world.answer(FIRST, &sent[1].1, 200, "", "");
    let record = world.record();
    assert_eq!((record.end_cause, record.ended_by), (EndCause::Completed, EndedBy::Caller));
    assert_eq!(record.detail, "hung up during a transfer that failed with 486");
    world.run_dry();
}

#[test]
fn calls_a_transfer_off_when_who_is_transferred_hangs_up() {
    let mut world = local(|_| {});
    let (ok, outbound) = world.establish();
    let (_, target) = world.refer(&ok, 2);
    world.answer(FIRST, &target, 180, "t1", "");
    world.sent();
    world.carrier_sends(FIRST, &from_carrier(&established(&outbound), "BYE", 1, ""));
    let sent = world.sent();
    let expected = [to_first("200 OK"), to_first("CANCEL"), to_caller("NOTIFY"), to_caller("BYE")];
    assert_eq!(lines(&sent), expected);
    assert_eq!(sent[2].1.body(), b"SIP/2.0 487 Request Terminated\r\n");
    world.caller_takes(&sent[2].1);
    world.caller_takes(&sent[3].1);
    // It answers all the same, and is thanked.
    world.answer(FIRST, &target, 200, "t1", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK"), to_first("BYE")]);
    assert_eq!(world.record().attempts.len(), 2);
    world.run_dry();
}

#[test]
fn leaves_the_call_as_it_was_when_the_two_cannot_be_joined() {
    for step in 0..4 {
        let mut world = local(|_| {});
        let (ok, _) = world.establish();
        let (_, target) = world.refer(&ok, 2);
        world.answer(FIRST, &target, 200, "t1", SDP);
        let asked = world.sent().pop().expect("the callee is asked").1;
        let acknowledged = match step {
            // Who stays does not want to.
            0 => {
                world.answer(FIRST, &asked, 488, "", "");
                None
            }
            // The target does not like the offer, hangs up, or says nothing.
            step => {
                world.answer(FIRST, &asked, 200, "", OFFER);
                let offered = world.sent().pop().expect("the target is told").1;
                match step {
                    1 => world.answer(FIRST, &offered, 488, "", ""),
                    2 => world.carrier_sends(FIRST, &from_carrier(&offered, "BYE", 1, "")),
                    _ => world.pass(Duration::from_secs(30)),
                }
                Some(SDP)
            }
        };
        let sent = world.sent();
        let find = |method: &str, tag: &str| {
            let found = sent.iter().rev().find(|(_, message)| {
                message.is_request()
                    && message.method_text() == method.as_bytes()
                    && message.to_tag() == Some(tag.as_bytes())
            });
            found.map(|(_, message)| message.clone())
        };
        if let Some(body) = acknowledged {
            let ack = find("ACK", "b1").expect("the offer has its answer");
            assert_eq!(ack.body(), body.as_bytes(), "the session is as it was");
        }
        let notify = sent.iter().find(|(to, message)| {
            to == CALLER && message.is_request() && message.method() == Method::Notify
        });
        let notify = notify.expect("it is told").1.clone();
        let code = ["488", "488", "480", "504"][step];
        assert!(String::from_utf8_lossy(notify.body()).contains(code), "{notify:?}");
        world.caller_takes(&notify);
        match find("BYE", "t1") {
            Some(bye) => world.answer(FIRST, &bye, 200, "", ""),
            None => assert_eq!(step, 2, "the target is hung up, unless it has done so itself"),
        }
        assert_eq!(world.engine.counters().channels_now, 1);
        world.caller_sends(&in_dialog(&ok, "BYE", 9, ""));
        let bye = world.sent().pop().expect("a BYE").1;
        assert_eq!(bye.to_tag(), Some(&b"b1"[..]));
        world.answer(FIRST, &bye, 200, "", "");
        world.record();
        world.run_dry();
    }
}

#[test]
fn tries_again_when_an_invite_of_either_side_is_in_the_way() {
    let mut world = local(|_| {});
    let (ok, outbound) = world.establish();
    let (_, target) = world.refer(&ok, 2);
    // The one who stays wants the session changed, and the other has not answered yet.
    let reinvite = from_carrier(&established(&outbound), "INVITE", 1, CHANGED_SDP);
    world.carrier_sends(FIRST, &reinvite);
    let relayed = world.sent().pop().expect("it is relayed").1;
    world.answer(FIRST, &target, 200, "t1", SDP);
    assert_eq!(lines(&world.sent()), [to_first("ACK")]);
    world.caller_sends(&response(&relayed, 200, "", CALLER, SDP));
    let answered = world.sent().pop().expect("an answer").1;
    assert_eq!(answered.status_code(), 200);
    world.carrier_sends(FIRST, &from_carrier(&established(&outbound), "ACK", 1, ""));
    world.pass(Duration::from_millis(500));
    let asked = world.sent().pop().expect("the callee is asked").1;
    world.answer(FIRST, &asked, 491, "", "");
    world.pass(Duration::from_secs(4));
    let asked = world.sent().pop().expect("and asked again").1;
    world.answer(FIRST, &asked, 200, "", OFFER);
    let offered = world.sent().pop().expect("the target is told").1;
    world.answer(FIRST, &offered, 491, "", "");
    world.pass(Duration::from_secs(4));
    let offered = world.sent().pop().expect("and told again").1;
    assert_eq!((offered.method(), offered.body()), (Method::Invite, OFFER.as_bytes()));
    world.answer(FIRST, &offered, 200, "", ANSWER);
    assert!(lines(&world.sent()).contains(&to_caller("BYE")));
}

#[test]
fn says_nothing_more_to_who_wants_to_hear_nothing_of_its_transfer() {
    let mut world = local(|_| {});
    let (ok, _) = world.establish();
    let more = format!("{TARGET}Require: norefersub\r\nRefer-Sub: false\r\n");
    world.caller_sends(&with_lines(&in_dialog(&ok, "REFER", 2, ""), &more));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("202 Accepted"), to_first("INVITE")]);
    assert_eq!(sent[0].1.by_text("Refer-Sub"), Some(&b"false"[..]));
    world.answer(FIRST, &sent[1].1, 486, "t1", "");
    assert_eq!(lines(&world.sent()), [to_first("ACK")]);
}

#[test]
fn answers_a_carriers_challenge_on_the_way_to_the_target() {
    let mut world = local(|rows| {
        rows.carrier_credentials.push(crate::carrier::rows::CarrierCredentialsRow {
            carrier_id: 1,
            username: "alice".to_owned(),
            password: Some(crate::digest::Hidden::new("secret".to_owned())),
            ..Default::default()
        });
    });
    let (ok, _) = world.establish();
    let (_, target) = world.refer(&ok, 2);
    let asks = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    world.receive(FIRST, &with_lines(&response(&target, 401, "t1", FIRST, ""), asks));
    let again = world.sent().pop().expect("it is sent again").1;
    assert!(again.first(HeaderName::Authorization).is_some());
    assert_eq!(again.call_id(), target.call_id());
}

impl World {
    /// Has the caller refer the callee to [`TARGET`]. Gives the first NOTIFY, which it takes, and the INVITE to the target.
    fn refer(&mut self, ok: &Message, seq: u32) -> (Message, Message) {
        self.caller_sends(&with_lines(&in_dialog(ok, "REFER", seq, ""), TARGET));
        let mut sent = self.sent();
        let expected = [to_caller("202 Accepted"), to_caller("NOTIFY"), to_first("INVITE")];
        assert_eq!(lines(&sent), expected);
        assert!(text_of(&sent[0].1, HeaderName::Contact).is_some());
        let (target, notify) = (sent.remove(2).1, sent.remove(1).1);
        self.caller_takes(&notify);
        (notify, target)
    }

    /// The caller answers a request of ours with 200.
    pub(super) fn caller_takes(&mut self, request: &Message) {
        self.caller_sends(&response(request, 200, "", CALLER, ""));
    }

    /// The target is busy, and the caller hangs up.
    fn caller_hangs_up_on(&mut self, target: &Message, ok: &Message, seq: u32) {
        self.answer(FIRST, target, 486, "t9", "");
        let notify = self.sent().pop().expect("it is told").1;
        self.caller_takes(&notify);
        self.caller_sends(&in_dialog(ok, "BYE", seq, ""));
        let bye = self.sent().pop().expect("a BYE").1;
        self.answer(FIRST, &bye, 200, "", "");
    }
}

fn local(change: impl FnOnce(&mut Rows)) -> World {
    World::with(|rows| {
        rows.customers[0].refer = "local".to_owned();
        change(rows);
    })
}

fn subscription(notify: &Message) -> String {
    text_of(notify, HeaderName::SubscriptionState).expect("a Subscription-State")
}

#[test]
fn transfers_a_call_no_more_once_its_record_is_long() {
    let mut world = local(|_| {});
    let (ok, _) = world.establish();
    let refused = (0..40).find_map(|index| {
        let refer = in_dialog(&ok, "REFER", 2 + index, "");
        world.caller_sends(&with_lines(&refer, TARGET));
        let sent = world.sent();
        if sent.len() == 1 {
            return Some((index, lines(&sent)[0].1.clone()));
        }
        let (notify, target) = (sent[1].1.clone(), sent[2].1.clone());
        world.caller_takes(&notify);
        world.answer(FIRST, &target, 503, "t1", "");
        let second = world.sent().pop().expect("the next carrier").1;
        world.answer(SECOND, &second, 486, "t2", "");
        let notify = world.sent().pop().expect("it is told").1;
        world.caller_takes(&notify);
        None
    });
    assert_eq!(refused, Some((32, "403 Transferred Too Often".to_owned())));
}
