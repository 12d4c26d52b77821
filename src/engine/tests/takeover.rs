//! Answered calls that move from one node to another.

use uuid::Uuid;

use super::*;
use crate::call::{CallKey, Ownership, Replica, RingingReplica};
use crate::carrier::rows::{CarrierCredentialsRow, RegistrationRow};
use crate::digest::Hidden;

mod ends;

const A: &str = "203.0.113.1:5060";
const B: &str = "203.0.113.2:5060";

#[test]
fn sends_the_answer_only_once_the_call_is_kept() {
    let mut a = node(A, 1);
    a.caller_sends(&invite("1"));
    let outbound = a.sent()[1].1.clone();
    a.answer(FIRST, &outbound, 200, "b1", SDP);
    assert_eq!(lines(&a.sent()), [to_first("ACK")], "the 200 waits");
    let kept = a.kept();
    assert_eq!(kept.len(), 1);
    let waiting = a.waiting();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].0, waiting[0].1.status_code()), (kept[0].0, 200));
    assert_eq!(kept[0].1.record.status_code, 200);
    assert!(kept[0].1.record.answered_at.is_some());
}

#[test]
fn goes_on_with_the_call_of_a_dead_node_at_another_address_until_its_end() {
    let mut a = node(A, 1);
    let (ok, outbound) = a.establish_kept();
    let mut b = node(B, 2);
    b.adopt(&a.kept()[0].1);
    b.pass(Duration::ZERO);
    let sent = b.sent();
    assert_eq!(lines(&sent), [to_caller("INVITE"), to_first("INVITE")]);
    for ((_, refresh), (own, peer)) in sent.iter().zip([(&ok, CALLER), (&outbound, FIRST)]) {
        assert_eq!(refresh.call_id(), own.call_id());
        assert_eq!(refresh.body(), SDP.as_bytes(), "the session is as it was");
        assert!(refresh.cseq().0 > 100, "far beyond what the dead node may have sent");
        let contact = String::from_utf8_lossy(refresh.first(HeaderName::Contact).expect("one"));
        assert!(contact.contains(B), "{contact}");
        let contact = if peer == CALLER { format!("caller@{CALLER}") } else { peer.to_owned() };
        b.receive(peer, &response(refresh, 200, "x", &contact, SDP));
    }
    assert_eq!(lines(&b.sent()), [to_caller("ACK"), to_first("ACK")]);
    assert_eq!(b.kept().len(), 1, "that both know is kept");

    b.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let sent = b.sent();
    assert_eq!(lines(&sent), [to_caller("200 OK"), to_first("BYE")]);
    assert!(sent[1].1.cseq().0 > 101, "after the refresh");
    b.answer(FIRST, &sent[1].1, 200, "", "");
    let record = b.record();
    let first = &a.kept()[0].1.record;
    assert_eq!(record.call_id, first.call_id);
    assert_eq!((record.end_cause, record.ended_by), (EndCause::Completed, EndedBy::Caller));
    assert_eq!(record.attempts.len(), 1);
    assert_eq!(record.started_at, first.started_at);
    b.run_dry();
}

#[test]
fn refreshes_by_update_where_the_peer_takes_it() {
    let mut a = node(A, 1);
    a.caller_sends(&invite("1").replace("Max-Forwards", "Allow: INVITE, UPDATE\r\nMax-Forwards"));
    let outbound = a.sent()[1].1.clone();
    a.answer(FIRST, &outbound, 200, "b1", SDP);
    let mut b = node(B, 2);
    b.adopt(&a.kept()[0].1);
    b.pass(Duration::ZERO);
    let sent = b.sent();
    assert_eq!(lines(&sent), [to_caller("UPDATE"), to_first("INVITE")]);
    assert!(sent[0].1.body().is_empty());
}

#[test]
fn ends_the_other_side_of_a_call_whose_peer_does_not_know_it_and_says_so() {
    let mut a = node(A, 1);
    a.establish_kept();
    let mut b = node(B, 2);
    b.adopt(&a.kept()[0].1);
    b.pass(Duration::ZERO);
    let sent = b.sent();
    b.answer(FIRST, &sent[1].1, 200, "", SDP);
    b.answer(CALLER, &sent[0].1, 481, "", "");
    let again = b.sent();
    assert_eq!(lines(&again), [to_first("ACK"), to_caller("ACK"), to_caller("INVITE")]);
    b.answer(CALLER, &again[2].1, 481, "", "");
    let byes = b.sent();
    assert!(lines(&byes).contains(&to_first("BYE")));
    b.pass(Duration::from_secs(5));
    let record = b.record();
    assert_eq!(record.end_cause, EndCause::Terminated);
    assert!(record.detail.starts_with("lost in takeover"), "{}", record.detail);
}

#[test]
fn leaves_a_call_up_whose_peer_refuses_the_refresh_and_tries_again_later() {
    let mut a = node(A, 1);
    a.establish_kept();
    let mut b = node(B, 2);
    b.adopt(&a.kept()[0].1);
    b.pass(Duration::ZERO);
    let sent = b.sent();
    b.answer(FIRST, &sent[1].1, 200, "", SDP);
    b.answer(CALLER, &sent[0].1, 403, "", "");
    assert_eq!(lines(&b.sent()), [to_first("ACK"), to_caller("ACK")]);
    assert_eq!(b.engine.counters().answered_now, 1);
    b.pass(Duration::from_secs(31));
    assert_eq!(lines(&b.sent())[0], to_caller("INVITE"));
}

#[test]
fn adopts_a_call_once() {
    let mut a = node(A, 1);
    a.establish_kept();
    let mut b = node(B, 2);
    for _ in 0..2 {
        b.adopt(&a.kept()[0].1);
    }
    let counters = b.engine.counters();
    assert_eq!((counters.calls_now, counters.calls_adopted, counters.channels_now), (1, 1, 1));
}

#[test]
fn records_a_call_that_it_cannot_reach() {
    let mut a = node(A, 1);
    a.establish_kept();
    let mut b = node("[2001:db8::2]:5060", 2);
    b.adopt(&a.kept()[0].1);
    let record = b.record();
    assert_eq!(record.end_cause, EndCause::Terminated);
    assert!(record.detail.contains("no listener"), "{}", record.detail);
    b.run_dry();
}

#[test]
fn keeps_the_end_that_was_set_for_a_call() {
    let limit = |settings: &mut EngineSettings| {
        settings.replicates = true;
        settings.max_call_duration = Some(Duration::from_secs(60));
    };
    let mut a = World::at(A, 1, rows(), limit);
    a.establish_kept();
    let mut b = World::at(B, 2, rows(), |settings| settings.replicates = true);
    b.now += Duration::from_secs(50);
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(50);
    b.engine.handle_command(Command::WallClock { at: b.now, wall }, b.now);
    b.adopt(&a.kept()[0].1);
    b.pass(Duration::ZERO);
    let sent = b.sent();
    b.answer(CALLER, &sent[0].1, 200, "", SDP);
    b.answer(FIRST, &sent[1].1, 200, "", SDP);
    b.sent();
    b.pass(Duration::from_secs(10));
    let byes = b.sent();
    assert_eq!(lines(&byes), [to_caller("BYE"), to_first("BYE")]);
    b.answer(CALLER, &byes[0].1, 200, "", "");
    b.answer(FIRST, &byes[1].1, 200, "", "");
    assert_eq!(b.record().detail, "max_call_duration_s");
}

#[test]
fn is_silent_about_calls_that_another_node_has_taken() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_kept();
    let key = a.kept()[0].0;
    a.command(Command::Kept(vec![key]));
    a.owns(&[]);
    assert!(a.sent().is_empty());
    assert!(!a.outputs.iter().any(|output| matches!(output, Output::Record(_))));
    let counters = a.engine.counters();
    assert_eq!((counters.calls_released, counters.calls_now, counters.dialogs_now), (1, 0, 0));
    a.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    assert!(a.sent().is_empty(), "another node may know it");
    assert_eq!(a.unknown().len(), 1);
    a.run_dry();
}

#[test]
fn keeps_what_is_its_own_and_what_nobody_could_have_taken() {
    let mut a = node(A, 1);
    a.establish_kept();
    let (key, replica) = a.kept()[0].clone();
    a.owns(&[]);
    assert_eq!(a.engine.counters().answered_now, 1, "it was never told that it is kept");
    a.command(Command::Kept(vec![key]));
    a.owns(&[replica.record.call_id]);
    assert_eq!(a.engine.counters().answered_now, 1);
    a.owns(&[]);
    assert_eq!(a.engine.counters().answered_now, 0);
}

#[test]
fn gives_only_quiet_kept_calls_away() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_kept();
    a.command(Command::HandOver { to: 7, limit: 10, region: None });
    assert_eq!(a.engine.counters().answered_now, 1, "nobody could go on with it yet");
    let (key, replica) = a.kept()[0].clone();
    a.command(Command::Kept(vec![key]));
    a.caller_sends(&in_dialog(&ok, "INFO", 2, ""));
    let info = a.sent()[0].1.clone();
    a.command(Command::HandOver { to: 7, limit: 10, region: None });
    assert_eq!(a.engine.counters().answered_now, 1, "a request is on its way");
    a.answer(FIRST, &info, 200, "", "");
    a.sent();
    a.command(Command::HandOver { to: 7, limit: 0, region: None });
    assert_eq!(a.engine.counters().answered_now, 1);
    a.command(Command::HandOver { to: 7, limit: 10, region: None });
    assert_eq!(a.engine.counters().answered_now, 0);
    let released = a.outputs.iter().find_map(|output| match output {
        Output::Released { call_id, to } => Some((*call_id, *to)),
        _ => None,
    });
    assert_eq!(released, Some((replica.record.call_id, 7)));
    assert!(!a.outputs.iter().any(|output| matches!(output, Output::Record(_))));
    a.run_dry();
}

#[test]
fn answers_the_carriers_challenge_of_a_refresh_under_the_contact_that_is_registered() {
    let mut a = known_node(A, 1);
    a.establish_kept();
    let mut b = known_node(B, 2);
    b.adopt(&a.kept()[0].1);
    b.pass(Duration::ZERO);
    let refresh = b.sent()[1].1.clone();
    let contact = format!("<sip:trunk@{B}>");
    assert_eq!(refresh.first(HeaderName::Contact), Some(contact.as_bytes()));
    b.receive(FIRST, &challenge(&refresh));
    let sent = b.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_first("INVITE")]);
    let again = sent[1].1.clone();
    assert_eq!(again.cseq().0, refresh.cseq().0 + 1);
    assert_eq!(again.body(), refresh.body());
    b.receive(FIRST, &response(&again, 200, "x", FIRST, SDP));
    let ack = b.sent().remove(0).1;
    assert_eq!(ack.cseq(), (again.cseq().0, Method::Ack));
    let field = again.first(HeaderName::ProxyAuthorization);
    assert!(field.is_some() && ack.first(HeaderName::ProxyAuthorization) == field);
}

#[test]
fn keeps_the_invite_that_carries_the_credentials_of_a_call_that_rings() {
    let mut a = known_node(A, 1);
    a.caller_sends(&invite("1"));
    let first = a.sent()[1].1.clone();
    a.answer(FIRST, &first, 100, "b1", "");
    a.pass(Duration::from_secs(2));
    a.receive(FIRST, &challenge(&first));
    let again = a.sent().pop().expect("an INVITE").1;
    a.answer(FIRST, &again, 100, "b1", "");
    a.pass(Duration::from_secs(2));
    let kept = a.ringing();
    let invites: Vec<&[u8]> =
        kept.iter().map(|(_, it)| &*it.carrier.as_ref().expect("one rings").invite.0).collect();
    assert_eq!(invites, [&first.bytes()[..], &again.bytes()[..]]);
}

#[test]
fn asks_again_for_what_was_not_kept() {
    let mut a = node(A, 1);
    a.establish_kept();
    let key = a.kept()[0].0;
    a.command(Command::KeepMissing);
    assert_eq!(a.kept().len(), 2);
    a.command(Command::Kept(vec![key]));
    a.command(Command::KeepMissing);
    assert_eq!(a.kept().len(), 2);
}

#[test]
fn keeps_a_new_target() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_kept();
    let update = in_dialog(&ok, "UPDATE", 2, "")
        .replace(&format!("<sip:caller@{CALLER}>"), "<sip:caller@192.0.2.77>");
    a.caller_sends(&update);
    let kept = a.kept();
    assert_eq!(kept.len(), 2);
    assert_eq!(*kept[1].1.inbound.dialog.remote_target, *b"sip:caller@192.0.2.77");
}

#[test]
fn answers_for_a_dialog_of_another_node_once_it_has_been_looked_for() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_kept();
    let mut b = node(B, 2);
    b.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    assert!(b.sent().is_empty());
    let unknown = b.unknown().remove(0);
    b.command(Command::Again { request: Box::new(unknown.clone()), looks: None });
    assert_eq!(lines(&b.sent()), [to_caller("481 Call/Transaction Does Not Exist")]);

    b.adopt(&a.kept()[0].1);
    b.command(Command::Again { request: Box::new(unknown), looks: None });
    let sent = b.sent();
    assert_eq!(lines(&sent[..2]), [to_caller("200 OK"), to_first("BYE")]);
}

#[test]
fn passes_a_request_on_to_the_node_that_has_its_dialog_and_the_response_back() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_kept();
    let mut b = node(B, 2);
    b.caller_sends(&in_dialog(&ok, "INFO", 2, "hello"));
    let unknown = b.unknown().remove(0);
    b.command(Command::PassOn { request: Box::new(unknown), to: address(A) });
    let sent = b.sent();
    assert_eq!(sent[0].0, A);
    assert_eq!(sent[0].1.max_forwards(), Some(69));
    a.receive(B, &text(&sent[0].1));
    let relayed = a.sent();
    assert_eq!(lines(&relayed), [to_first("INFO")]);
    assert_eq!(relayed[0].1.body(), b"hello");
    a.answer(FIRST, &relayed[0].1, 200, "", "");
    let back = a.sent();
    assert_eq!(back[0].0, B);
    b.receive(A, &text(&back[0].1));
    let back = b.sent();
    assert_eq!(back[0].0, CALLER);
    assert_eq!(back[0].1.all(HeaderName::Via).count(), 1);
    assert_eq!(b.engine.counters().passed_on, 1);

    let forged = text(&sent[0].1).replace(CALLER, "192.0.2.66:5060");
    let forged = response(&Message::parse(forged.into()).expect("SIP"), 200, "", A, "");
    let elsewhere = forged.replacen("hf=", "hf=30", 1);
    b.receive(A, &elsewhere);
    assert!(b.sent().is_empty(), "nobody else can aim our responses");
}

#[test]
fn goes_on_hiding_what_its_carrier_may_not_see() {
    let with_rule = |own, seed| {
        let mut rows = rows();
        rows.number_rules.push(NumberRuleRow {
            carrier_id: 1,
            x_headers: Some(String::new()),
            ..NumberRuleRow::default()
        });
        World::at(own, seed, rows, |settings| settings.replicates = true)
    };
    let mut a = with_rule(A, 1);
    let (ok, _) = a.establish_kept();
    let mut b = with_rule(B, 2);
    b.adopt(&a.kept()[0].1);
    let info = in_dialog(&ok, "INFO", 2, "").replace("CSeq:", "X-Secret: 1\r\nCSeq:");
    b.caller_sends(&info);
    let sent = b.sent();
    assert_eq!(lines(&sent), [to_first("INFO")]);
    assert_eq!(sent[0].1.by_text("X-Secret"), None);
}

#[test]
fn keeps_a_call_that_rings_once_it_takes_a_while_and_again_with_the_next_carrier() {
    let mut a = node(A, 1);
    a.caller_sends(&invite("1"));
    let first = a.sent()[1].1.clone();
    a.answer(FIRST, &first, 180, "b1", "");
    a.pass(Duration::from_millis(900));
    assert!(a.ringing().is_empty());
    a.pass(Duration::from_secs(3));
    let kept = a.ringing();
    assert_eq!(kept.len(), 1, "and nothing has changed since");
    assert_eq!(kept[0].1.record.attempts.len(), 1);
    assert_eq!(kept[0].1.record.attempts[0].gateway_id, GatewayId(1));
    assert_eq!(&*kept[0].1.carrier.as_ref().expect("one rings").invite.0, &first.bytes()[..]);

    let mut a = node(A, 1);
    a.caller_sends(&invite("1"));
    a.pass(Duration::from_millis(1_900));
    a.pass(Duration::from_secs(1));
    let kept = a.ringing();
    assert_eq!(kept.len(), 2, "the first carrier was silent, the second one is tried");
    assert_eq!(kept[1].1.record.attempts.len(), 2);
}

#[test]
fn keeps_nothing_of_a_call_that_rings_where_nobody_replicates() {
    let mut a = World::new();
    a.caller_sends(&invite("1"));
    let first = a.sent()[1].1.clone();
    a.answer(FIRST, &first, 180, "b1", "");
    a.pass(Duration::from_secs(3));
    assert!(a.ringing().is_empty());
}

#[test]
fn ends_a_call_of_a_dead_node_that_rings() {
    let mut a = node(A, 1);
    a.caller_sends(&invite("1"));
    let first = a.sent()[1].1.clone();
    a.answer(FIRST, &first, 180, "b1", "");
    a.pass(Duration::from_secs(2));
    let text = serde_json::to_string(&a.ringing()[0].1).expect("it can be written");
    let replica = Box::new(serde_json::from_str(&text).expect("and read"));
    let mut b = node(B, 2);
    b.command(Command::EndRinging(replica));
    let sent = b.sent();
    assert_eq!(lines(&sent[..2]), [to_first("CANCEL"), to_caller("503 Service Unavailable")]);
    let branch = |message: &Message| message.top_via().and_then(|via| via.branch.map(Vec::from));
    assert_eq!(branch(&sent[0].1), branch(&first), "the CANCEL is for that INVITE");
    assert_eq!(sent[1].1.first(HeaderName::RetryAfter), Some(&b"5"[..]));
    let record = b.record();
    assert_eq!((record.status_code, record.end_cause), (503, EndCause::Terminated));
    assert_eq!(record.detail, "its node died before it was answered");
    assert_eq!(record.attempts.len(), 1);
    b.run_dry();
}

#[test]
fn is_silent_about_a_call_that_rang_and_that_another_node_has_ended() {
    let mut a = node(A, 1);
    a.caller_sends(&invite("1"));
    let first = a.sent()[1].1.clone();
    a.answer(FIRST, &first, 180, "b1", "");
    a.pass(Duration::from_secs(2));
    a.sent();
    a.owns(&[]);
    assert_eq!(a.engine.counters().calls_now, 1, "it was never told that it is kept");
    let key = a.ringing()[0].0;
    a.command(Command::RingingKept(vec![key]));
    a.owns(&[]);
    assert_eq!(a.engine.counters().calls_now, 0);
    assert!(a.sent().is_empty());
    assert!(!a.outputs.iter().any(|output| matches!(output, Output::Record(_))));
    a.answer(FIRST, &first, 487, "b1", "");
    assert_eq!(lines(&a.sent()), [to_first("ACK")]);
    a.run_dry();
}

#[test]
fn takes_no_word_about_a_call_that_rang_for_one_about_its_answer() {
    let mut a = node(A, 1);
    a.caller_sends(&invite("1"));
    let first = a.sent()[1].1.clone();
    a.answer(FIRST, &first, 180, "b1", "");
    a.pass(Duration::from_secs(2));
    let key = a.ringing()[0].0;
    a.answer(FIRST, &first, 200, "b1", SDP);
    a.command(Command::RingingKept(vec![key]));
    a.owns(&[]);
    assert_eq!(a.engine.counters().answered_now, 1, "that it talks is not kept yet");
}

fn node(own: &str, seed: u64) -> World {
    World::at(own, seed, rows(), |settings| settings.replicates = true)
}

/// A node that its first carrier knows by credentials and a registration.
fn known_node(own: &str, seed: u64) -> World {
    let mut rows = rows();
    rows.carrier_credentials = vec![CarrierCredentialsRow {
        carrier_id: 1,
        username: "trunk".to_owned(),
        password: Some(Hidden::new("secret".to_owned())),
        ..CarrierCredentialsRow::default()
    }];
    rows.registrations = vec![RegistrationRow {
        gateway_id: 1,
        aor: "sip:trunk@carrier.example".to_owned(),
        ..RegistrationRow::default()
    }];
    World::at(own, seed, rows, |settings| settings.replicates = true)
}

fn challenge(request: &Message) -> String {
    let line = "Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"n\", qop=\"auth\"\r\n";
    let asked = response(request, 407, "x", FIRST, "");
    asked.replace("Content-Length", &format!("{line}Content-Length"))
}

fn text(message: &Message) -> String {
    String::from_utf8(message.bytes().to_vec()).expect("we send text")
}

#[test]
fn lets_go_of_nothing_that_was_kept_after_the_others_were_asked_for() {
    let mut a = node(A, 1);
    a.establish_kept();
    let asked_at = a.now;
    a.now += Duration::from_millis(1);
    let key = a.kept()[0].0;
    a.command(Command::Kept(vec![key]));
    let nothing = Arc::new(Ownership::default());
    a.command(Command::Owned { owned: nothing, asked_at });
    assert_eq!(a.engine.counters().answered_now, 1);
}

#[test]
fn asks_again_for_a_new_target_that_was_not_kept_and_moves_nowhere_before() {
    let mut a = node(A, 1);
    a.establish_kept();
    let key = a.kept()[0].0;
    a.command(Command::Kept(vec![key]));
    a.command(Command::NotKept(vec![key]));
    a.command(Command::HandOver { to: 7, limit: 10, region: None });
    assert_eq!(a.engine.counters().answered_now, 1, "the other node would send to the old target");
    for _ in 0..2 {
        a.command(Command::KeepMissing);
    }
    assert_eq!(a.kept().len(), 2, "asked again, and once");
}

#[test]
fn lets_go_of_what_the_store_says_is_anothers_but_ends_what_it_has_begun_to_end() {
    let mut a = node(A, 1);
    a.establish_kept();
    let key = a.kept()[0].0;
    a.command(Command::Lost(vec![key]));
    assert_eq!(a.engine.counters().calls_released, 1);
    assert!(a.sent().is_empty());
    a.run_dry();

    let mut a = node(A, 1);
    let (ok, _) = a.establish_kept();
    let key = a.kept()[0].0;
    a.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let bye = a.sent()[1].1.clone();
    a.command(Command::Lost(vec![key]));
    assert_eq!(a.engine.counters().calls_released, 0);
    a.answer(FIRST, &bye, 200, "", "");
    a.run_dry();
}

#[test]
fn gives_a_call_to_no_node_of_another_region() {
    let mut rows = rows();
    rows.customers.iter_mut().for_each(|row| row.region = Some("eu".to_owned()));
    rows.gateways.iter_mut().for_each(|row| row.region = Some("eu".to_owned()));
    let mut a = World::at(A, 1, rows, |settings| settings.replicates = true);
    a.establish_kept();
    let key = a.kept()[0].0;
    a.command(Command::Kept(vec![key]));
    a.command(Command::HandOver { to: 7, limit: 10, region: Some("us".into()) });
    assert_eq!(a.engine.counters().calls_now, 1);
    a.command(Command::HandOver { to: 7, limit: 10, region: Some("eu".into()) });
    assert_eq!(a.engine.counters().calls_now, 0);
}

#[test]
fn says_nothing_of_a_dialog_that_is_on_its_way_from_node_to_node() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_kept();
    let mut b = node(B, 2);
    b.caller_sends(&in_dialog(&ok, "INFO", 2, ""));
    let unknown = b.unknown().remove(0);
    for looks in 1..60 {
        b.command(Command::Again { request: Box::new(unknown.clone()), looks: Some(looks) });
    }
    assert!(b.sent().is_empty());
    assert_eq!(b.unknown().len(), 50, "it is not looked for for ever");
}

#[test]
fn hangs_up_once_more_where_the_peer_has_seen_a_higher_cseq() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_kept();
    a.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let first = a.sent()[1].1.clone();
    a.answer(FIRST, &first, 500, "", "");
    let again = a.sent();
    assert_eq!(lines(&again), [to_first("BYE")]);
    assert!(again[0].1.cseq().0 > first.cseq().0 + 999);
    a.answer(FIRST, &again[0].1, 500, "", "");
    assert!(a.sent().is_empty(), "that was not why");
    a.run_dry();
}

impl World {
    /// The store says that these are this node's, and no others.
    fn owns(&mut self, calls: &[Uuid]) {
        let ours = calls.iter().copied().collect();
        let owned = Arc::new(Ownership { ours, ..Ownership::default() });
        let asked_at = self.now + Duration::from_millis(1);
        self.command(Command::Owned { owned, asked_at });
    }

    /// A call whose answer has waited for its call to be kept, and is acknowledged.
    pub(super) fn establish_kept(&mut self) -> (Message, Message) {
        self.caller_sends(&invite("1"));
        let outbound = self.sent()[1].1.clone();
        self.answer(FIRST, &outbound, 200, "b1", SDP);
        self.sent();
        let ok = self.waiting()[0].1.clone();
        self.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
        (ok, outbound)
    }

    pub(super) fn command(&mut self, command: Command) {
        self.engine.handle_command(command, self.now);
        self.drain();
    }

    /// As the store gives it.
    pub(super) fn adopt(&mut self, replica: &Replica) {
        let text = serde_json::to_string(replica).expect("it can be written");
        let replica = Box::new(serde_json::from_str(&text).expect("and read"));
        self.command(Command::Adopt { replica, refresh_at: [self.now; 2] });
    }

    pub(super) fn kept(&self) -> Vec<(CallKey, Replica)> {
        let kept = self.outputs.iter().filter_map(|output| match output {
            Output::Keep { call, replica } => Some((*call, (**replica).clone())),
            _ => None,
        });
        kept.collect()
    }

    fn ringing(&self) -> Vec<(CallKey, RingingReplica)> {
        let ringing = self.outputs.iter().filter_map(|output| match output {
            Output::KeepRinging { call, replica } => Some((*call, (**replica).clone())),
            _ => None,
        });
        ringing.collect()
    }

    pub(super) fn waiting(&self) -> Vec<(CallKey, Message)> {
        let waiting = self.outputs.iter().filter_map(|output| match output {
            Output::SendKept { call, bytes, .. } => {
                Some((*call, Message::parse(bytes.clone()).expect("SIP")))
            }
            _ => None,
        });
        waiting.collect()
    }

    fn unknown(&self) -> Vec<(Flow, Message)> {
        let unknown = self.outputs.iter().filter_map(|output| match output {
            Output::Unknown { request, .. } => Some((**request).clone()),
            _ => None,
        });
        unknown.collect()
    }
}

#[test]
fn goes_on_with_the_session_timer_of_the_call() {
    let mut a = node(A, 1);
    let timer = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n";
    a.caller_sends(&with_lines(&invite("1"), timer));
    let outbound = a.sent()[1].1.clone();
    a.answer(FIRST, &outbound, 200, "b1", SDP);
    let ok = a.waiting()[0].1.clone();
    let mut b = node(B, 2);
    b.adopt(&a.kept()[0].1);
    b.pass(Duration::ZERO);
    let sent = b.sent();
    assert_eq!(text_of(&sent[0].1, HeaderName::SessionExpires), Some("600;refresher=uas".into()));
    let answer = "Session-Expires: 600;refresher=uas\r\nRequire: timer\r\n";
    b.receive(CALLER, &with_lines(&response(&sent[0].1, 200, "", CALLER, ""), answer));
    b.answer(FIRST, &sent[1].1, 200, "", SDP);
    b.sent();
    // The caller goes on to refresh; the new node answers it, and misses it once it stops.
    b.pass(Duration::from_secs(300));
    b.caller_sends(&with_lines(&in_dialog(&ok, "INVITE", 2, SDP), timer));
    let sent = b.sent();
    assert_eq!(lines(&sent), [to_caller("200 OK")], "the session is as it was");
    b.caller_sends(&in_dialog(&ok, "ACK", 2, ""));
    b.pass(Duration::from_secs(568 + 5));
    assert_eq!(b.record().detail, "session expired");
}
