//! Carriers that ask who we are within an early dialog (RFC 3261 §22.2, RFC 3262 §3).

use super::credentials::{challenge, is_right, with_credentials};
use super::reliable::{REL, prack};
use super::*;

#[test]
fn sends_the_callers_prack_again_with_credentials() {
    let (mut world, _, told) = ringing(REL);
    world.caller_sends(&prack(&told, 2, ""));
    let first = world.sent().remove(0).1;
    let again = challenged(&mut world, &first, 407);
    assert_eq!(lines(&[(FIRST.to_owned(), again.clone())]), [to_first("PRACK")]);
    assert_eq!(again.cseq().0, first.cseq().0 + 1);
    assert_eq!(text_of(&again, HeaderName::RAck), text_of(&first, HeaderName::RAck));
    assert!(is_right(&again, HeaderName::ProxyAuthorization, "open sesame"));
    world.answer(FIRST, &again, 200, "b1", "");
    assert_eq!(lines(&world.sent()), [to_caller("200 X")]);
}

#[test]
fn sends_its_own_prack_again_with_credentials_and_goes_on_counting_from_there() {
    let (mut world, outbound, _) = ringing("");
    let first = world.sent().remove(0).1;
    assert_eq!(first.method(), Method::Prack);
    let again = challenged(&mut world, &first, 401);
    assert!(is_right(&again, HeaderName::Authorization, "open sesame"));
    world.answer(FIRST, &again, 200, "b1", "");
    assert!(world.sent().is_empty());
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let ok = world.sent()[1].1.clone();
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let bye = world.sent()[1].1.clone();
    assert_eq!(bye.cseq().0, again.cseq().0 + 1);
    assert!(bye.first(HeaderName::Authorization).is_some(), "it was asked for once");
}

#[test]
fn sends_an_early_update_again_with_credentials_and_hides_that_it_was_asked_for_some() {
    let (mut world, _, told) = ringing(REL);
    world.caller_sends(&prack(&told, 2, ""));
    let first = world.sent().remove(0).1;
    world.answer(FIRST, &first, 200, "b1", "");
    world.sent();
    world.caller_sends(&in_dialog(&told, "UPDATE", 3, CHANGED_SDP));
    let first = world.sent().remove(0).1;
    assert_eq!(first.method(), Method::Update);
    let again = challenged(&mut world, &first, 407);
    assert_eq!(again.body(), CHANGED_SDP.as_bytes());
    assert!(is_right(&again, HeaderName::ProxyAuthorization, "open sesame"));
    // Refused once more: the caller hears of a refusal, not of credentials.
    world.receive(FIRST, &challenge(&again, 407, "n2", ""));
    assert_eq!(lines(&world.sent()), [to_caller("500 X")]);
    assert_eq!(world.engine.counters().challenges_answered, 1);
}

#[test]
fn a_challenge_of_a_carrier_without_credentials_refuses_the_callers_prack() {
    let mut world = World::new();
    let told = provisional(&mut world, REL).1;
    world.caller_sends(&prack(&told, 2, ""));
    let first = world.sent().remove(0).1;
    world.receive(FIRST, &challenge(&first, 407, "n1", ""));
    assert_eq!(lines(&world.sent()), [to_caller("500 X")]);
}

/// A carrier that knows us by credentials has sent a reliable 183 for a caller with these lines: our INVITE to it, and what
/// the caller heard.
fn ringing(asked: &str) -> (World, Message, Message) {
    let mut world = World::with(with_credentials);
    let (outbound, told) = provisional(&mut world, asked);
    (world, outbound, told)
}

fn provisional(world: &mut World, asked: &str) -> (Message, Message) {
    let outbound = world.call(asked);
    world.provisional(&outbound, 183, "b1", Some(77), SDP);
    let output = |output: &Output| match output {
        Output::Send { flow, bytes } if flow.remote.to_string() == CALLER => Some(bytes.clone()),
        _ => None,
    };
    let told = world.outputs.iter().find_map(output).expect("a 183");
    world.outputs.retain(|sent| output(sent).is_none());
    (outbound, Message::parse(told).expect("SIP"))
}

/// The request as it comes again once the carrier has asked for credentials.
fn challenged(world: &mut World, request: &Message, status_code: u16) -> Message {
    world.receive(FIRST, &challenge(request, status_code, "n1", ""));
    let mut sent = world.sent();
    assert_eq!(sent.len(), 1, "nobody else hears of it");
    assert_eq!(sent[0].0, FIRST);
    sent.remove(0).1
}
