//! Customers that show by digest who they are.

use super::*;
use crate::carrier::rows::CustomerCredentialsRow;
use crate::digest::{Algorithm, Answer, Challenge, Ha1, Hidden, Secret};

/// An address that no customer has.
const ROAMER: &str = "203.0.113.99:5060";

#[test]
fn asks_whoever_has_no_customers_address_for_credentials_and_takes_the_call_with_them() {
    let mut world = world("digest");
    world.receive(ROAMER, &invite("1"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [(ROAMER.to_owned(), "401 Unauthorized".to_owned())]);
    let asked = challenges(&sent[0].1);
    let algorithms: Vec<_> = asked.iter().map(|challenge| challenge.algorithm).collect();
    assert_eq!(algorithms, [Algorithm::Sha256, Algorithm::Md5]);
    assert!(asked.iter().all(|it| it.is_of_realm("us") && !it.is_stale && it.qop.is_some()));
    // Nothing is left of it: no transaction, no record.
    let counters = world.engine.counters();
    assert_eq!(
        (counters.server_transactions_now, counters.calls, counters.challenges_sent),
        (0, 0, 1)
    );
    world.receive(ROAMER, &ack_of(&sent[0].1));
    assert!(world.sent().is_empty());
    for (number, challenge) in (2..).zip(&asked) {
        world.receive(ROAMER, &signed(number, challenge, number, "bob", "secret"));
        let sent = world.sent();
        assert_eq!(lines(&sent)[1], to_first("INVITE"));
        assert!(sent[1].1.first(HeaderName::Authorization).is_none());
        world.receive(ROAMER, &cancel(&number.to_string()));
        world.sent();
    }
    let record = world.outputs.iter().find_map(|output| match output {
        Output::Record(record) => Some(record.clone()),
        _ => None,
    });
    let customer = record.and_then(|record| record.customer.clone()).map(|(id, _)| id.0);
    assert_eq!(customer, Some(1));
    world.run_dry();
}

#[test]
fn wrong_credentials_are_refused_recorded_and_after_a_few_not_even_read() {
    let mut world = world("digest");
    let challenge = asked(&mut world);
    for number in 1..=10 {
        world.receive(ROAMER, &signed(number, &challenge, 1, "bob", "guess"));
        let sent = world.sent();
        assert_eq!(lines(&sent), [(ROAMER.to_owned(), "401 Unauthorized".to_owned())]);
        assert!(challenges(&sent[0].1).iter().all(|challenge| !challenge.is_stale));
    }
    assert_eq!(world.engine.counters().authentications_failed, 10);
    let record = world.outputs.iter().find_map(|output| match output {
        Output::Record(record) => Some(record.clone()),
        _ => None,
    });
    let record = record.expect("a record");
    assert_eq!((record.status_code, record.end_cause), (401, EndCause::Refused));
    assert_eq!(record.detail, "wrong credentials of user \"bob\"");
    // Even the right ones, for a while; and nobody else suffers.
    world.receive(ROAMER, &signed(11, &challenge, 1, "bob", "secret"));
    assert_eq!(lines(&world.sent()), [(ROAMER.to_owned(), "403 Forbidden".to_owned())]);
    assert_eq!(world.engine.counters().authentications_blocked, 1);
    let other = "203.0.113.98:5060";
    world.receive(other, &signed(12, &challenge, 1, "bob", "secret"));
    assert_eq!(lines(&world.sent())[1], to_first("INVITE"));
    world.pass(Duration::from_secs(120));
    world.sent();
    world.receive(ROAMER, &signed(13, &challenge, 2, "bob", "secret"));
    assert_eq!(lines(&world.sent())[1], to_first("INVITE"));
}

#[test]
fn a_user_that_there_is_not_looks_like_one_with_another_password() {
    let mut world = world("digest");
    let challenge = asked(&mut world);
    world.receive(ROAMER, &signed(1, &challenge, 1, "nobody", "secret"));
    let unknown = world.sent()[0].1.clone();
    world.receive(ROAMER, &signed(2, &challenge, 1, "bob", "guess"));
    let wrong = world.sent()[0].1.clone();
    assert_eq!(unknown.status_code(), wrong.status_code());
    assert_eq!(challenges(&unknown).len(), challenges(&wrong).len());
}

#[test]
fn a_nonce_is_good_for_five_minutes_and_each_count_once() {
    let mut world = world("digest");
    let challenge = asked(&mut world);
    let accepts = |world: &mut World, number: u32, challenge: &Challenge, count: u32| {
        world.receive(ROAMER, &signed(number, challenge, count, "bob", "secret"));
        let first = world.sent()[0].1.clone();
        world.receive(ROAMER, &cancel(&number.to_string()));
        world.sent();
        let is_stale = challenges(&first).iter().any(|challenge| challenge.is_stale);
        assert_eq!(is_stale, first.status_code() == 401);
        first.status_code() == 100
    };
    assert!(accepts(&mut world, 1, &challenge, 1));
    assert!(!accepts(&mut world, 2, &challenge, 1), "a count is used once");
    assert!(accepts(&mut world, 3, &challenge, 3), "a gap is legal");
    assert!(!accepts(&mut world, 4, &challenge, 2));
    world.pass(Duration::from_secs(299));
    world.sent();
    assert!(accepts(&mut world, 5, &challenge, 4));
    world.pass(Duration::from_secs(1));
    world.sent();
    assert!(!accepts(&mut world, 6, &challenge, 5));
    let foreign = Challenge { nonce: b"0123".as_slice().into(), ..challenge };
    assert!(!accepts(&mut world, 7, &foreign, 1), "a nonce of an earlier run");
    assert_eq!(world.engine.counters().authentications_failed, 0);
}

#[test]
fn another_node_with_the_same_key_takes_a_nonce_and_one_with_another_does_not() {
    let mut world = world("digest");
    let challenge = asked(&mut world);
    let mut other = self::world("digest");
    other.receive(ROAMER, &signed(1, &challenge, 1, "bob", "secret"));
    assert_eq!(lines(&other.sent())[1], to_first("INVITE"));
    let mut foreign = self::world("digest");
    foreign.engine.cx.settings.nonce_key = crate::digest::NonceKey::derive(b"another");
    foreign.receive(ROAMER, &signed(1, &challenge, 1, "bob", "secret"));
    assert_eq!(foreign.sent()[0].1.status_code(), 401);
}

#[test]
fn each_customer_is_admitted_by_what_its_row_says() {
    // By address: without credentials, and with; from elsewhere: with credentials.
    for (auth, by_address, by_both, by_digest) in [
        ("address", 100, 100, 403),
        ("digest", 401, 100, 100),
        ("either", 100, 100, 100),
        ("both", 401, 100, 403),
    ] {
        let mut world = world(auth);
        let challenge = asked(&mut world);
        let mut answer = |from: &str, text: &str| {
            world.receive(from, text);
            world.sent()[0].1.status_code()
        };
        assert_eq!(answer(CALLER, &invite("1")), by_address, "{auth}");
        assert_eq!(answer(CALLER, &signed(2, &challenge, 1, "bob", "secret")), by_both, "{auth}");
        assert_eq!(answer(ROAMER, &signed(3, &challenge, 2, "bob", "secret")), by_digest, "{auth}");
    }
}

#[test]
fn credentials_that_do_not_answer_our_challenge_are_asked_for_again() {
    let mut world = world("digest");
    let challenge = asked(&mut world);
    let whole = signed(1, &challenge, 1, "bob", "secret");
    for (part, other) in [
        ("realm=\"us\"", "realm=\"them\""),
        ("Digest ", "Basic "),
        (", qop=auth, nc=00000001", ""),
        ("algorithm=SHA-256", "algorithm=SHA-512-256"),
        ("algorithm=SHA-256", "algorithm=SHA-256-sess"),
    ] {
        let broken = whole.replace(part, other);
        assert_ne!(broken, whole, "{part}");
        world.receive(ROAMER, &broken);
        assert_eq!(world.sent()[0].1.status_code(), 401, "{other}");
    }
    assert_eq!(world.engine.counters().authentications_failed, 0);
    world.receive(ROAMER, &whole);
    assert_eq!(world.sent()[0].1.status_code(), 100);
}

#[test]
fn what_comes_within_the_dialog_and_what_begins_no_call_is_not_asked_for_credentials() {
    let mut world = world("digest");
    let challenge = asked(&mut world);
    world.receive(ROAMER, &signed(1, &challenge, 1, "bob", "secret"));
    let outbound = world.sent()[1].1.clone();
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let ok = world.sent()[1].1.clone();
    world.receive(ROAMER, &in_dialog(&ok, "ACK", 1, ""));
    world.receive(ROAMER, &in_dialog(&ok, "INFO", 2, ""));
    assert_eq!(lines(&world.sent()), [to_first("INFO")]);
    world.receive(ROAMER, &out_of_dialog("OPTIONS", ""));
    assert_eq!(world.sent()[0].1.status_code(), 200);
    world.receive(ROAMER, &in_dialog(&ok, "BYE", 3, ""));
    assert_eq!(world.sent()[0].1.status_code(), 200);
}

#[test]
fn offers_what_every_user_has_and_asks_nobody_where_there_is_no_user() {
    let mut world = World::with(|rows| {
        with_users(rows, "digest");
        rows.customer_credentials[0].ha1_md5 = None;
    });
    let algorithms: Vec<_> = {
        world.receive(ROAMER, &invite("1"));
        challenges(&world.sent()[0].1).iter().map(|challenge| challenge.algorithm).collect()
    };
    assert_eq!(algorithms, [Algorithm::Sha256]);
    let mut world = World::with(|rows| rows.customers[0].auth = "digest".to_owned());
    world.receive(ROAMER, &invite("1"));
    assert_eq!(world.sent()[0].1.status_code(), 403);
    world.receive(CALLER, &invite("2"));
    assert_eq!(world.sent()[0].1.status_code(), 403);
}

#[test]
fn a_node_that_drains_asks_nobody() {
    let mut world = world("digest");
    world.engine.handle_command(Command::Drain, world.now);
    world.receive(ROAMER, &invite("1"));
    assert_eq!(world.sent()[0].1.status_code(), 503);
}

fn world(auth: &str) -> World {
    World::with(|rows| with_users(rows, auth))
}

pub(super) fn with_users(rows: &mut Rows, auth: &str) {
    rows.customers[0].auth = auth.to_owned();
    let password = Hidden::new("secret".to_owned());
    let hash = |algorithm| {
        let ha1 = Ha1::of(algorithm, b"bob", b"us", &password);
        Some(Hidden::new(ha1.reveal().to_owned()))
    };
    rows.customer_credentials = vec![CustomerCredentialsRow {
        username: "bob".to_owned(),
        customer_id: 1,
        realm: "us".to_owned(),
        ha1_md5: hash(Algorithm::Md5),
        ha1_sha256: hash(Algorithm::Sha256),
    }];
}

pub(super) fn asked(world: &mut World) -> Challenge {
    world.receive(ROAMER, &invite("0"));
    challenges(&world.sent()[0].1).remove(0)
}

pub(super) fn challenges(response: &Message) -> Vec<Challenge> {
    let fields = response.all(HeaderName::WwwAuthenticate);
    fields.filter_map(|header| Challenge::parse(header.value)).collect()
}

/// The usual INVITE with an answer to a challenge.
pub(super) fn signed(
    number: u32,
    challenge: &Challenge,
    count: u32,
    user: &str,
    password: &str,
) -> String {
    let answer = Answer {
        challenge,
        username: user,
        method: b"INVITE",
        uri: b"sip:+14155550100@203.0.113.1",
        body: SDP.as_bytes(),
        count,
        cnonce: "c",
    };
    let secret = Secret::Password(Hidden::new(password.to_owned()));
    let field = answer.print(&secret).expect("a password answers all");
    let line = format!("Authorization: {}\r\n", String::from_utf8_lossy(&field));
    invite(&number.to_string()).replace("Contact:", &format!("{line}Contact:"))
}

pub(super) fn ack_of(response: &Message) -> String {
    let text = |name| String::from_utf8_lossy(response.first(name).expect("a header")).into_owned();
    format!(
        "ACK sip:+14155550100@203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bKcaller1;rport\r\n\
         Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
        text(HeaderName::From),
        text(HeaderName::To),
        text(HeaderName::CallId)
    )
}
