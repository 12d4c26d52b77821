//! Carriers that ask who we are.

use super::*;
use crate::carrier::rows::CarrierCredentialsRow;
use crate::digest::{Algorithm, Credentials, Ha1, Hidden};

const STRANGER: &str = "198.51.100.77:5060";

#[test]
fn sends_an_invite_again_with_credentials_to_the_same_gateway() {
    let mut world = world();
    let first = invited(&mut world);
    world.carrier_sends(FIRST, &challenge(&first, 407, "n1", ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_first("INVITE")]);
    let again = sent[1].1.clone();
    assert_eq!(again.call_id(), first.call_id());
    assert_eq!(again.from_tag(), first.from_tag());
    assert_eq!(again.cseq().0, 2);
    assert_ne!(again.top_via().unwrap().branch, first.top_via().unwrap().branch);
    assert_eq!(again.body(), first.body());
    assert!(is_right(&again, HeaderName::ProxyAuthorization, "open sesame"));
    assert!(again.first(HeaderName::Authorization).is_none());
    world.answer(FIRST, &again, 200, "b1", SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_caller("200 OK")]);
    let (ack, ok) = (sent[0].1.clone(), sent[1].1.clone());
    // RFC 3261 §13.2.2.4
    assert_eq!(ack.cseq().0, 2);
    assert_eq!(
        ack.first(HeaderName::ProxyAuthorization),
        again.first(HeaderName::ProxyAuthorization)
    );
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let bye = world.sent()[1].1.clone();
    assert_eq!(bye.cseq().0, 3);
    world.answer(FIRST, &bye, 200, "b1", "");
    let record = world.record();
    assert_eq!((record.attempts.len(), record.status_code), (1, 200));
    assert_eq!(world.engine.counters().challenges_answered, 1);
    world.run_dry();
}

#[test]
fn answers_a_401_with_authorization_and_the_topmost_challenge_it_can() {
    let mut world = world();
    let first = invited(&mut world);
    let asked = challenge(&first, 401, "n1", "");
    let (before, line) = asked.split_once("WWW-Authenticate: ").unwrap();
    let asked = format!(
        "{before}WWW-Authenticate: Digest realm=\"carrier\", nonce=\"s\", algorithm=AKAv2-SHA-256\r\n\
         WWW-Authenticate: Digest realm=\"other\", nonce=\"x\", algorithm=MD5, qop=\"auth\"\r\n\
         WWW-Authenticate: Digest realm=\"carrier\", nonce=\"s\", algorithm=SHA-256, qop=\"auth\"\r\n\
         WWW-Authenticate: {line}"
    );
    world.carrier_sends(FIRST, &asked);
    let again = world.sent()[1].1.clone();
    let field = again.first(HeaderName::Authorization).unwrap();
    let read = Credentials::parse(field).unwrap();
    assert_eq!((read.algorithm, read.nonce), (Algorithm::Sha256, &b"s"[..]));
    assert_eq!(again.all(HeaderName::Authorization).count(), 1);
    assert!(is_right(&again, HeaderName::Authorization, "open sesame"));
}

#[test]
fn a_second_refusal_is_the_carriers_last_word_and_the_next_one_is_called() {
    let mut world = world();
    let first = invited(&mut world);
    world.carrier_sends(FIRST, &challenge(&first, 407, "n1", ""));
    let again = world.sent()[1].1.clone();
    world.outputs.clear();
    world.carrier_sends(FIRST, &challenge(&again, 407, "n2", ""));
    assert_eq!(lines(&world.sent()), [to_first("ACK"), (SECOND.to_owned(), "INVITE".to_owned())]);
    let told = world.outputs.iter().find_map(|output| match output {
        Output::Event(Event::ConfigRefusal { reason, .. }) => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some("X (realm \"carrier\")"));
    world.caller_sends(&cancel("1"));
    let record = world.record();
    assert_eq!(record.attempts[0].class, Class::Config);
    assert_eq!(record.attempts[0].status_code, 407);
}

#[test]
fn a_stale_nonce_is_answered_again_but_not_for_ever() {
    let mut world = world();
    let mut request = invited(&mut world);
    for nonce in ["n1", "n2", "n3"] {
        world.carrier_sends(FIRST, &challenge(&request, 407, nonce, ", stale=true"));
        let sent = world.sent();
        assert_eq!(lines(&sent), [to_first("ACK"), to_first("INVITE")], "{nonce}");
        request = sent[1].1.clone();
        let field = request.first(HeaderName::ProxyAuthorization).unwrap();
        assert_eq!(Credentials::parse(field).unwrap().nonce, nonce.as_bytes());
    }
    assert_eq!(request.cseq().0, 4);
    world.carrier_sends(FIRST, &challenge(&request, 407, "n4", ", stale=true"));
    assert_eq!(lines(&world.sent())[1].1, "INVITE");
    assert_eq!(world.engine.counters().attempts, 2);
}

#[test]
fn a_challenge_that_cannot_be_answered_is_a_refusal_as_before() {
    type Change = fn(&mut Rows);
    let changes: [Change; 3] = [
        |rows| rows.carrier_credentials.clear(),
        |rows| rows.carrier_credentials[0].carrier_id = 2,
        |rows| rows.carrier_credentials[0].realm = Some("another".to_owned()),
    ];
    for change in changes {
        let mut world = World::with(|rows| {
            with_credentials(rows);
            change(rows);
        });
        let first = invited(&mut world);
        world.carrier_sends(FIRST, &challenge(&first, 407, "n1", ""));
        assert_eq!(
            lines(&world.sent()),
            [to_first("ACK"), (SECOND.to_owned(), "INVITE".to_owned())]
        );
    }
}

#[test]
fn hashes_answer_their_realm_without_the_password() {
    let mut world = World::with(|rows| {
        let hash = Ha1::of(Algorithm::Md5, b"trunk", b"carrier", &password());
        rows.carrier_credentials = vec![CarrierCredentialsRow {
            carrier_id: 1,
            username: "trunk".to_owned(),
            realm: Some("carrier".to_owned()),
            ha1_md5: Some(Hidden::new(hash.reveal().to_owned())),
            ..CarrierCredentialsRow::default()
        }];
    });
    let first = invited(&mut world);
    world.carrier_sends(FIRST, &challenge(&first, 407, "n1", ""));
    let again = world.sent()[1].1.clone();
    assert!(is_right(&again, HeaderName::ProxyAuthorization, "open sesame"));
}

#[test]
fn the_next_call_carries_credentials_from_the_start_and_counts_the_nonce_up() {
    let mut world = world();
    let (_, again) = established(&mut world);
    assert_eq!(count(&again), Some(1));
    world.caller_sends(&invite("2"));
    let second = world.sent()[1].1.clone();
    assert_eq!((second.cseq().0, count(&second)), (1, Some(2)));
    assert!(is_right(&second, HeaderName::ProxyAuthorization, "open sesame"));
    // That nonce has run out meanwhile, and the carrier does not say so.
    world.carrier_sends(FIRST, &challenge(&second, 407, "n2", ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_first("INVITE")]);
    assert_eq!(count(&sent[1].1), Some(1));
    // But a nonce that is refused and given again is not tried again.
    world.caller_sends(&invite("3"));
    let third = world.sent()[1].1.clone();
    world.carrier_sends(FIRST, &challenge(&third, 407, "n2", ""));
    assert_eq!(world.sent()[1].0, SECOND);
}

#[test]
fn two_realms_on_the_way_are_both_satisfied() {
    let mut world = World::with(|rows| {
        with_credentials(rows);
        rows.carrier_credentials[0].realm = None;
    });
    let first = invited(&mut world);
    world.carrier_sends(FIRST, &challenge(&first, 407, "n1", ""));
    let again = world.sent()[1].1.clone();
    let asked = challenge(&again, 401, "n2", "").replace("realm=\"carrier\"", "realm=\"beyond\"");
    world.carrier_sends(FIRST, &asked);
    let third = world.sent()[1].1.clone();
    assert_eq!(third.cseq().0, 3);
    assert!(is_right(&third, HeaderName::ProxyAuthorization, "open sesame"));
    assert!(is_right(&third, HeaderName::Authorization, "open sesame"));
}

#[test]
fn answers_challenges_within_the_dialog_and_hides_them_from_the_caller() {
    let mut world = world();
    let (ok, _) = established(&mut world);
    for (seq, method, body) in
        [(2, "INFO", "Signal=1"), (3, "INVITE", CHANGED_SDP), (4, "UPDATE", SDP)]
    {
        world.caller_sends(&in_dialog(&ok, method, seq, body));
        let request = world.sent().pop().unwrap().1;
        world.carrier_sends(FIRST, &challenge(&request, 407, &format!("n-{method}"), ""));
        let sent = world.sent();
        assert_eq!(
            sent.last().map(|(to, it)| (&**to, it.method_text())),
            Some((FIRST, method.as_bytes()))
        );
        assert!(sent.iter().all(|(to, _)| to != CALLER));
        let again = sent.last().unwrap().1.clone();
        assert_eq!(again.cseq().0, request.cseq().0 + 1);
        assert!(is_right(&again, HeaderName::ProxyAuthorization, "open sesame"));
        world.answer(FIRST, &again, 200, "b1", SDP);
        let sent = world.sent();
        assert!(lines(&sent).iter().any(|(to, what)| to == CALLER && what.starts_with("200")));
        if method == "INVITE" {
            let ack = &sent.iter().find(|(to, _)| to == FIRST).unwrap().1;
            assert_eq!(ack.cseq(), (again.cseq().0, Method::Ack));
            assert!(ack.first(HeaderName::ProxyAuthorization).is_some());
            world.caller_sends(&in_dialog(&ok, "ACK", seq, ""));
        }
    }
    world.caller_sends(&in_dialog(&ok, "BYE", 5, ""));
    let bye = world.sent().pop().unwrap().1;
    world.carrier_sends(FIRST, &challenge(&bye, 401, "n-bye", ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("BYE")]);
    assert!(is_right(&sent[0].1, HeaderName::Authorization, "open sesame"));
    world.answer(FIRST, &sent[0].1, 200, "b1", "");
    world.run_dry();
}

#[test]
fn a_challenge_that_cannot_be_answered_within_the_dialog_is_no_business_of_the_caller() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.caller_sends(&in_dialog(&ok, "INFO", 2, ""));
    let info = world.sent()[0].1.clone();
    world.carrier_sends(FIRST, &challenge(&info, 401, "n1", ""));
    let sent = world.sent();
    assert_eq!(lines(&sent)[0].0, CALLER);
    assert_eq!(sent[0].1.status_code(), 500);
    assert!(sent[0].1.first(HeaderName::WwwAuthenticate).is_none());
}

#[test]
fn gives_the_trunks_credentials_to_nobody_but_the_carriers_own_targets() {
    let mut world = world();
    let first = invited(&mut world);
    world.answer(FIRST, &first, 200, "b1", SDP);
    let ok = world.sent()[1].1.clone();
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    // The carrier's side asks the caller through us: the caller's own challenge gets nothing.
    world.carrier_sends(FIRST, &from_carrier(&first_ack(&first), "INFO", 1, ""));
    let info = world.sent().pop().unwrap().1;
    world.caller_sends(&challenge(&info, 401, "n1", "").replace(FIRST, CALLER));
    let sent = world.sent();
    assert_eq!((sent.len(), &*sent[0].0, sent[0].1.status_code()), (1, FIRST, 500));
    // The callee's Contact leads past the carrier's targets.
    let reinvite = from_carrier(&first_ack(&first), "INVITE", 2, SDP);
    let reinvite = reinvite.replace(&format!("<sip:{FIRST}>"), &format!("<sip:{STRANGER}>"));
    world.carrier_sends(FIRST, &reinvite);
    let sent = world.sent();
    let relayed = sent.last().unwrap().1.clone();
    world.caller_sends(&response(&relayed, 200, "", CALLER, SDP));
    world.sent();
    world.caller_sends(&in_dialog(&ok, "INFO", 2, ""));
    let sent = world.sent();
    let (to, info) = sent.last().unwrap().clone();
    assert_eq!(to, STRANGER);
    world.receive(STRANGER, &challenge(&info, 401, "n1", ""));
    let sent = world.sent();
    assert!(sent.iter().all(|(to, _)| to != STRANGER), "{sent:?}");
    assert_eq!(world.engine.counters().challenges_answered, 0);
}

#[test]
fn hangs_up_a_late_answer_though_the_carrier_asks_for_credentials() {
    let mut world = world();
    let first = invited(&mut world);
    world.carrier_sends(FIRST, &challenge(&first, 407, "n1", ""));
    let again = world.sent()[1].1.clone();
    world.pass(Duration::from_millis(1_800));
    world.sent();
    world.answer(FIRST, &again, 200, "late", SDP);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("ACK"), to_first("BYE")]);
    assert!(sent[0].1.first(HeaderName::ProxyAuthorization).is_some());
    let sent_before = sent[1].1.cseq().0;
    world.carrier_sends(FIRST, &challenge(&sent[1].1, 407, "n2", ""));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("BYE")]);
    assert!(is_right(&sent[0].1, HeaderName::ProxyAuthorization, "open sesame"));
    assert_eq!(sent[0].1.cseq().0, sent_before + 1);
}

#[test]
fn a_carrier_that_falls_silent_once_it_has_its_answer_is_left_in_time() {
    let mut world = world();
    let first = invited(&mut world);
    world.pass(Duration::from_millis(1_000));
    world.sent();
    world.carrier_sends(FIRST, &challenge(&first, 407, "n1", ""));
    world.sent();
    world.pass(Duration::from_millis(1_799));
    assert!(world.sent().iter().all(|(to, _)| to == FIRST));
    world.pass(Duration::from_millis(1));
    assert_eq!(world.sent().last().map(|(to, _)| to.clone()), Some(SECOND.to_owned()));
}

#[test]
fn a_cancel_ends_the_invite_that_has_the_credentials() {
    let mut world = world();
    let first = invited(&mut world);
    world.carrier_sends(FIRST, &challenge(&first, 407, "n1", ""));
    let again = world.sent()[1].1.clone();
    world.answer(FIRST, &again, 180, "b1", "");
    world.sent();
    world.caller_sends(&cancel("1"));
    let sent = world.sent();
    let cancelled = &sent.iter().find(|(to, _)| to == FIRST).unwrap().1;
    assert_eq!(cancelled.cseq(), (2, Method::Cancel));
    assert_eq!(cancelled.top_via().unwrap().branch, again.top_via().unwrap().branch);
}

#[test]
fn a_probe_that_is_challenged_has_found_somebody() {
    let mut world = world();
    let target = Target { gateway_id: GatewayId(1), address: address(FIRST) };
    let timeout = Duration::from_secs(1);
    world.engine.handle_command(Command::Probe { target, timeout }, world.now);
    let options = world.sent()[0].1.clone();
    world.outcomes();
    world.carrier_sends(FIRST, &challenge(&options, 401, "n1", ""));
    assert!(world.sent().is_empty());
    let outcomes = world.outcomes();
    let probe =
        |it: &Outcome| matches!(it.evidence, Evidence::Probe { status_code: Some(401), .. });
    assert!(outcomes.iter().any(probe));
}

fn world() -> World {
    World::with(with_credentials)
}

pub(super) fn with_credentials(rows: &mut Rows) {
    rows.carrier_credentials = vec![CarrierCredentialsRow {
        carrier_id: 1,
        username: "trunk".to_owned(),
        realm: Some("carrier".to_owned()),
        password: Some(password()),
        ..CarrierCredentialsRow::default()
    }];
}

fn password() -> Hidden {
    Hidden::new("open sesame".to_owned())
}

/// The INVITE to the first carrier.
fn invited(world: &mut World) -> Message {
    world.caller_sends(&invite("1"));
    let first = world.sent()[1].1.clone();
    assert!(first.first(HeaderName::ProxyAuthorization).is_none());
    first
}

/// A call that was answered once its credentials had come: the caller's 200, and that INVITE.
fn established(world: &mut World) -> (Message, Message) {
    let first = invited(world);
    world.carrier_sends(FIRST, &challenge(&first, 407, "n1", ""));
    let again = world.sent()[1].1.clone();
    world.answer(FIRST, &again, 200, "b1", SDP);
    let ok = world.sent()[1].1.clone();
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    (ok, again)
}

/// A request of ours as [`from_carrier`] wants it: with the To tag of the dialog.
fn first_ack(first: &Message) -> Message {
    let text = String::from_utf8_lossy(first.bytes()).into_owned();
    let to = String::from_utf8_lossy(first.first(HeaderName::To).unwrap()).into_owned();
    let tagged = text.replace(&format!("To: {to}"), &format!("To: {to};tag=b1"));
    Message::parse(Bytes::from(tagged)).unwrap()
}

pub(super) fn challenge(request: &Message, status_code: u16, nonce: &str, more: &str) -> String {
    let name = if status_code == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
    let line = format!(
        "{name}: Digest realm=\"carrier\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"{more}\r\n"
    );
    let text = response(request, status_code, "c", FIRST, "");
    text.replace("Content-Length", &format!("{line}Content-Length"))
}

fn count(request: &Message) -> Option<u32> {
    Credentials::parse(request.first(HeaderName::ProxyAuthorization)?)?.count()
}

/// Whether a request carries credentials that show that we know the password.
pub(super) fn is_right(request: &Message, name: HeaderName, password: &str) -> bool {
    let read = Credentials::parse(request.first(name).expect("credentials")).expect("readable");
    assert_eq!(read.uri, request.request_uri());
    let hidden = Hidden::new(password.to_owned());
    let ha1 = Ha1::of(read.algorithm, b"trunk", read.realm, &hidden);
    read.are_right(&ha1, request.method_text(), request.body())
}
