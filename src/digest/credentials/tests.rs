//! The examples of the RFCs, and what goes wrong.

use super::*;
use crate::digest::{Ha1s, Hidden};

/// RFC 7616 §3.9.1.
const NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
const OPAQUE: &str = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS";

#[test]
fn answers_the_examples_of_rfc_7616() {
    for (algorithm, expected) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let challenge = challenge(&format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"{NONCE}\", opaque=\"{OPAQUE}\""
        ));
        let answer = Answer {
            challenge: &challenge,
            username: "Mufasa",
            method: b"GET",
            uri: b"/dir/index.html",
            body: b"",
            count: 1,
            cnonce: CNONCE,
        };
        let printed = answer.print(&password("Circle of Life")).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&printed),
            format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", nonce=\"{NONCE}\", \
                 uri=\"/dir/index.html\", response=\"{expected}\", opaque=\"{OPAQUE}\", \
                 cnonce=\"{CNONCE}\", algorithm={algorithm}, qop=auth, nc=00000001"
            )
        );
    }
}

/// The example of RFC 7616 §3.9.2 without its userhash. Its own response is of another hash function than the one
/// it names; this one is OpenSSL's.
#[test]
fn answers_with_sha_512_256() {
    let challenge = challenge(
        "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, \
         nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\"",
    );
    let answer = Answer {
        challenge: &challenge,
        username: "Jäsøn Doe",
        method: b"GET",
        uri: b"/doe.json",
        body: b"",
        count: 1,
        cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm",
    };
    let printed = answer.print(&password("Secret, or not?")).unwrap();
    let read = Credentials::parse(&printed).unwrap();
    let expected = "7a4e1192babbba02e91182d2895bfdbf7adafc6e48d4e517ca301974843d840c";
    assert_eq!(read.response, expected.as_bytes());
    assert_eq!(read.username().as_deref(), Some("Jäsøn Doe"));
}

/// RFC 2617 §3.5, as a server reads it.
#[test]
fn finds_the_example_of_rfc_2617_right() {
    let field = br#"Digest username="Mufasa", realm="testrealm@host.com",
        nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", qop=auth, nc=00000001,
        cnonce="0a4f113b", response="6629FAE49393A05397450978507C4EF1",
        opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
    let read = Credentials::parse(field).unwrap();
    let hidden = Hidden::new("Circle Of Life".to_owned());
    let ha1 = Ha1::of(Algorithm::Md5, b"Mufasa", b"testrealm@host.com", &hidden);
    assert!(read.are_right(&ha1, b"GET", b""));
    assert!(!read.are_right(&ha1, b"POST", b""));
    let wrong = Ha1::of(Algorithm::Md5, b"Mufasa", b"other", &hidden);
    assert!(!read.are_right(&wrong, b"GET", b""));
    assert_eq!((read.count(), read.nonce), (Some(1), &b"dcd98b7102dd2f0e8b11d0f600bfb0c093"[..]));
}

/// RFC 2069, which a peer may still speak (RFC 3261 §22.4).
#[test]
fn answers_a_challenge_without_qop_without_one() {
    let challenge = challenge("Digest realm=\"r\", nonce=\"n\"");
    let printed = answer(&challenge).print(&password("p")).unwrap();
    let text = String::from_utf8(printed.clone()).unwrap();
    assert!(
        !text.contains("qop") && !text.contains("nc=") && !text.contains("algorithm"),
        "{text}"
    );
    let hash = |parts: &[&[u8]]| Algorithm::Md5.hash(parts);
    let (ha1, ha2) = (hash(&[b"u:r:p"]), hash(&[b"INVITE:sip:b@c"]));
    let expected = hash(&[ha1.as_bytes(), b"n", ha2.as_bytes()]);
    assert_eq!(Credentials::parse(&printed).unwrap().response, expected.as_bytes());
}

#[test]
fn every_algorithm_and_protection_is_right_for_who_knows_the_secret_and_for_nobody_else() {
    for algorithm in Algorithm::ALL {
        for session in ["", "-sess"] {
            for qop in ["auth", "auth-int"] {
                let challenge = challenge(&format!(
                    "Digest realm=\"r\", nonce=\"n\", qop=\"{qop}\", algorithm={}{session}",
                    algorithm.as_str()
                ));
                let printed = answer(&challenge).print(&password("p")).unwrap();
                let read = Credentials::parse(&printed).unwrap();
                let ha1 =
                    |text: &str| Ha1::of(algorithm, b"u", b"r", &Hidden::new(text.to_owned()));
                assert!(read.are_right(&ha1("p"), b"INVITE", b"body"));
                assert!(!read.are_right(&ha1("q"), b"INVITE", b"body"));
                assert!(!read.are_right(&ha1("p"), b"BYE", b"body"));
                assert_eq!(read.are_right(&ha1("p"), b"INVITE", b"other"), qop == "auth");
            }
        }
    }
}

#[test]
fn a_session_hash_depends_on_the_nonces() {
    let hash = |parts: &[&[u8]]| Algorithm::Md5.hash(parts);
    let challenge = challenge("Digest realm=\"r\", nonce=\"n\", qop=auth, algorithm=MD5-sess");
    let printed = answer(&challenge).print(&password("p")).unwrap();
    let session = hash(&[hash(&[b"u:r:p"]).as_bytes(), b"n", b"c"]);
    let ha2 = hash(&[b"INVITE:sip:b@c"]);
    let expected = hash(&[session.as_bytes(), b"n", b"00000002", b"c", b"auth", ha2.as_bytes()]);
    assert_eq!(Credentials::parse(&printed).unwrap().response, expected.as_bytes());
}

#[test]
fn keeps_escapes_as_they_came_and_writes_its_own() {
    let challenge = challenge(r#"Digest realm="the \"realm\"", nonce="n\\1", qop=auth"#);
    let answer = Answer { username: r#"a"b"#, ..answer(&challenge) };
    let printed = answer.print(&password("p")).unwrap();
    let text = String::from_utf8(printed.clone()).unwrap();
    assert!(text.contains(r#"username="a\"b", realm="the \"realm\"", nonce="n\\1""#), "{text}");
    let read = Credentials::parse(&printed).unwrap();
    assert_eq!(read.username().as_deref(), Some("a\"b"));
    assert!(read.is_of_realm(r#"the "realm""#) && !read.is_of_realm("the realm"));
}

#[test]
fn answers_with_hashes_what_they_were_made_for() {
    let hidden = Hidden::new("p".to_owned());
    let sha256 = Some(Ha1::of(Algorithm::Sha256, b"u", b"r", &hidden));
    let hashes = Secret::Ha1s(Ha1s { sha256, ..Ha1s::default() });
    let strong = challenge("Digest realm=\"r\", nonce=\"n\", qop=auth, algorithm=SHA-256");
    let (by_hash, by_password) =
        (answer(&strong).print(&hashes), answer(&strong).print(&password("p")));
    assert!(by_hash.is_some());
    assert_eq!(by_hash, by_password);
    let weak = challenge("Digest realm=\"r\", nonce=\"n\", qop=auth");
    assert_eq!(answer(&weak).print(&hashes), None);
}

#[test]
fn refuses_credentials_that_cannot_be_checked() {
    let whole = "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:b\", response=\"x\", \
                 qop=auth, nc=00000001, cnonce=\"c\"";
    assert!(Credentials::parse(whole.as_bytes()).is_some());
    for (part, other) in [
        ("username=\"u\", ", ""),
        ("realm=\"r\", ", ""),
        ("nonce=\"n\", ", ""),
        ("uri=\"sip:b\", ", ""),
        ("response=\"x\", ", ""),
        ("nc=00000001, ", ""),
        ("nc=00000001", "nc=1"),
        (", cnonce=\"c\"", ""),
        ("qop=auth", "qop=token"),
        ("Digest", "Basic"),
        ("nc=", "algorithm=SHA-1, nc="),
    ] {
        let broken = whole.replace(part, other);
        assert!(Credentials::parse(broken.as_bytes()).is_none(), "{broken}");
    }
    let odd = whole.replace("nc=00000001", "nc=0000zzzz");
    assert_eq!(Credentials::parse(odd.as_bytes()).unwrap().count(), None);
}

fn challenge(field: &str) -> Challenge {
    Challenge::parse(field.as_bytes()).unwrap()
}

fn password(text: &str) -> Secret {
    Secret::Password(Hidden::new(text.to_owned()))
}

fn answer(challenge: &Challenge) -> Answer<'_> {
    Answer {
        challenge,
        username: "u",
        method: b"INVITE",
        uri: b"sip:b@c",
        body: b"body",
        count: 2,
        cnonce: "c",
    }
}
