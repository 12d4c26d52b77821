//! What goes out, to the octet.

use super::*;
use crate::sip::Method;

#[test]
fn prints_a_request() {
    let mut printer = Printer::request(b"BYE", b"sip:b@192.0.2.9");
    printer
        .header(HeaderName::Via, b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
        .header_fmt(HeaderName::CSeq, format_args!("{} BYE", 7))
        .other("X-Trunk", b"blue")
        .raw(b"Reason: Q.850")
        .raw(b";cause=16\r\n");
    assert_eq!(
        printer.finish(b"ab"),
        "BYE sip:b@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nCSeq: 7 BYE\r\n\
         X-Trunk: blue\r\nReason: Q.850;cause=16\r\nContent-Length: 2\r\n\r\nab"
    );
}

#[test]
fn a_response_takes_the_phrase_of_its_code() {
    assert!(Printer::response(486, b"").finish(b"").starts_with(b"SIP/2.0 486 Busy Here\r\n"));
    assert!(Printer::response(486, b"No").finish(b"").starts_with(b"SIP/2.0 486 No\r\n"));
}

#[test]
fn no_value_begins_a_header_of_its_own() {
    let mut printer = Printer::response(400, b"Bad\r\nEvil: 1");
    printer
        .header(HeaderName::Subject, b"a\r\n b\nEvil: 2\rEvil: 3\r\n")
        .header_fmt(HeaderName::Reason, format_args!("x{}", "\r\nEvil: 4"));
    let text = printer.finish(b"");
    assert_eq!(
        text,
        "SIP/2.0 400 Bad Evil: 1\r\nSubject: a b Evil: 2 Evil: 3 \r\nReason: x Evil: 4\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn an_answer_carries_what_its_request_asks_for() {
    let request = parse(INVITE);
    let answer =
        Printer::response_to(&request, 180, b"", Some(b"t1"), source("192.0.2.4:5066")).finish(b"");
    assert_eq!(
        answer,
        "SIP/2.0 180 Ringing\r\n\
         Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKtop , SIP/2.0/TCP b.example ;ttl=1\r\n\
         v  : SIP/2.0/UDP\r\n c.example;branch=z9hG4bKlow\r\n\
         f: \"A\" <sip:a@a.example>;tag=9\r\n\
         To: <sip:b@b.example>;tag=t1\r\n\
         Call-ID: c1\r\n\
         CSeq: 00012  INVITE\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn the_top_via_gets_what_we_know_of_the_sender() {
    for (via, from, expected) in [
        // RFC 3261 §18.2.1: received when the host is not the source, or a name.
        ("192.0.2.4:5066;branch=1", "192.0.2.4:9", "192.0.2.4:5066;branch=1"),
        ("192.0.2.5;branch=1", "192.0.2.4:9", "192.0.2.5;branch=1;received=192.0.2.4"),
        ("a.example;branch=1", "192.0.2.4:9", "a.example;branch=1;received=192.0.2.4"),
        // RFC 3581 §4: with rport both.
        (
            "192.0.2.4;rport;branch=1",
            "192.0.2.4:9",
            "192.0.2.4;rport=9;branch=1;received=192.0.2.4",
        ),
        (
            "192.0.2.4;branch=1 ; RPORT",
            "192.0.2.4:65535",
            "192.0.2.4;branch=1;rport=65535;received=192.0.2.4",
        ),
        // A sender does not say what we see.
        (
            "a.example;received=10.9.9.9;rport=1;x",
            "192.0.2.4:9",
            "a.example;rport=9;x;received=192.0.2.4",
        ),
        // IPv6, written in any way; RFC 5118 §4.5: received without brackets.
        ("[2001:DB8:0::9];branch=1", "[2001:db8::9]:9", "[2001:DB8:0::9];branch=1"),
        (
            "[2001:db8::8];branch=1",
            "[2001:db8::9]:9",
            "[2001:db8::8];branch=1;received=2001:db8::9",
        ),
        ("192.0.2.4;branch=1", "[::ffff:192.0.2.4]:9", "192.0.2.4;branch=1"),
        // RFC 2543
        ("a.example", "192.0.2.4:9", "a.example;received=192.0.2.4"),
        ("a.example (by hand)", "192.0.2.4:9", "a.example;received=192.0.2.4 (by hand)"),
        (
            "a.example;rport\r\n ;branch=1",
            "192.0.2.4:9",
            "a.example;rport=9;branch=1;received=192.0.2.4",
        ),
        ("a.example;x=\"a;rport\"", "192.0.2.4:9", "a.example;x=\"a;rport\";received=192.0.2.4"),
    ] {
        let request = parse(
            &INVITE.replace("192.0.2.4;branch=z9hG4bKtop , SIP/2.0/TCP b.example ;ttl=1", via),
        );
        assert_eq!(request.defect(), None);
        let answer = Printer::response_to(&request, 200, b"", None, source(from)).finish(b"");
        let answer = Message::parse(answer).unwrap();
        let top = answer.first(HeaderName::Via).unwrap();
        assert_eq!(String::from_utf8_lossy(top), format!("SIP/2.0/UDP {expected}"));
    }
}

#[test]
fn a_to_tag_is_added_only_where_there_is_none() {
    for (to, expected) in [
        ("To: <sip:b@b.example>", "To: <sip:b@b.example>;tag=new"),
        ("t : sip:b@b.example;user=phone", "To: sip:b@b.example;user=phone;tag=new"),
        ("To: <sip:b@b.example;tag=no>\r\n ;x", "To: <sip:b@b.example;tag=no>\r\n ;x;tag=new"),
        (
            "T: \"tag=no\" <sip:b@b.example> ; Tag = old",
            "T: \"tag=no\" <sip:b@b.example> ; Tag = old",
        ),
    ] {
        let request = parse(&INVITE.replace("To: <sip:b@b.example>", to));
        let answer =
            Printer::response_to(&request, 200, b"", Some(b"new"), source("192.0.2.4:5060"))
                .finish(b"");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains(&format!("\r\n{expected}\r\n")), "{text}");
    }
}

#[test]
fn a_defective_request_is_answered_in_clean_lines() {
    let text = INVITE
        .replace(
            "192.0.2.4;branch=z9hG4bKtop , SIP/2.0/TCP b.example ;ttl=1",
            "192.0.2.4;rport;;,;,,",
        )
        .replace("v  : SIP/2.0/UDP\r\n", "v  : SIP/2.0/UDP\n")
        .replace("To: <sip:b@b.example>", "To: \"open <sip:b@b.example>\rEvil: 1")
        .replace("Call-ID: c1\r\n", "");
    let request = parse(&text);
    assert_eq!(request.defect().map(|defect| defect.status_code), Some(400));
    let answer =
        Printer::response_to(&request, 400, b"", Some(b"t1"), source("192.0.2.4:7")).finish(b"");
    assert_eq!(
        answer,
        "SIP/2.0 400 Bad Request\r\n\
         Via: SIP/2.0/UDP 192.0.2.4;rport=7;received=192.0.2.4 ;;,;,,\r\n\
         Via: SIP/2.0/UDP c.example;branch=z9hG4bKlow\r\n\
         From: \"A\" <sip:a@a.example>;tag=9\r\n\
         To: \"open <sip:b@b.example> Evil: 1\r\n\
         CSeq: 00012  INVITE\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_rejection_is_acked_within_its_transaction() {
    let response = parse(
        "SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKours;received=192.0.2.1\r\n\
         From: <sip:a@us.example>;tag=l\r\nTo: <sip:b@b.example>;tag=theirs\r\nCall-ID: o1\r\nCSeq: 3 INVITE\r\n\r\n",
    );
    let ack = ack_for_rejection(&Bytes::from(OURS), &response);
    assert_eq!(
        ack,
        "ACK sip:b@b.example;x=1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKours\r\n\
         Max-Forwards: 70\r\n\
         Route: <sip:p1.example;lr>\r\n\
         Route: <sip:p2.example;lr>\r\n\
         From: <sip:a@us.example>;tag=l\r\n\
         To: <sip:b@b.example>;tag=theirs\r\n\
         Call-ID: o1\r\n\
         CSeq: 3 ACK\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let ack = Message::parse(ack).unwrap();
    assert_eq!((ack.defect(), ack.cseq()), (None, (3, Method::Ack)));
}

#[test]
fn an_invite_is_cancelled_within_its_transaction() {
    let cancel =
        cancel_for(&Bytes::from(OURS), Some(b"SIP;cause=200;text=\"Call completed elsewhere\""));
    assert_eq!(
        cancel,
        "CANCEL sip:b@b.example;x=1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKours\r\n\
         Max-Forwards: 70\r\n\
         Route: <sip:p1.example;lr>\r\n\
         Route: <sip:p2.example;lr>\r\n\
         From: <sip:a@us.example>;tag=l\r\n\
         To: <sip:b@b.example>\r\n\
         Call-ID: o1\r\n\
         CSeq: 3 CANCEL\r\n\
         Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let plain = Message::parse(cancel_for(&Bytes::from(OURS), None)).unwrap();
    assert_eq!(plain.first(HeaderName::Reason), None);
    assert_eq!(plain.defect(), None);
}

#[test]
fn an_invite_with_more_headers_than_we_read_is_still_cancelled() {
    let many = OURS.replace("\r\n\r\n", &format!("\r\n{}\r\n", "a: b\r\n".repeat(300)));
    assert!(Message::parse(Bytes::from(many.clone())).is_err());
    assert_eq!(cancel_for(&Bytes::from(many), None), cancel_for(&Bytes::from(OURS), None));
}

#[test]
fn a_request_goes_out_again_with_other_credentials_a_branch_and_a_number_of_its_own() {
    let ours = OURS
        .replace("branch=z9hG4bKours", "rport;branch=z9hG4bKours")
        .replace(
            "Contact:",
            "Authorization: Digest old\r\nProxy-Authorization: Digest old\r\nContact:",
        )
        .replace("Content-Length: 0\r\n\r\n", "Content-Type: a/b\r\nContent-Length: 2\r\n\r\nhi");
    let credentials = [
        (HeaderName::Authorization, b"Digest a".to_vec()),
        (HeaderName::ProxyAuthorization, b"Digest\r\nEvil: b".to_vec()),
    ];
    let again = with_credentials(&parse(&ours), Some(("z9hG4bKnew", 4)), &credentials);
    let expected = ours
        .replace("Authorization: Digest old\r\nProxy-Authorization: Digest old\r\n", "")
        .replace("z9hG4bKours", "z9hG4bKnew")
        .replace("CSeq: 3", "CSeq: 4")
        .replace(
            "Content-Length",
            "Authorization: Digest a\r\nProxy-Authorization: Digest Evil: b\r\nContent-Length",
        );
    assert_eq!(String::from_utf8_lossy(&again), expected);
    let signed = with_credentials(&parse(OURS), None, &credentials[..1]);
    let expected = OURS.replace("Content-Length", "Authorization: Digest a\r\nContent-Length");
    assert_eq!(String::from_utf8_lossy(&signed), expected);
}

fn parse(text: &str) -> Message {
    Message::parse(Bytes::from(text.to_owned())).expect("a message")
}

fn source(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

const INVITE: &str = "INVITE sip:b@b.example SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKtop , SIP/2.0/TCP b.example ;ttl=1\r\n\
    Subject: not for you\r\n\
    v  : SIP/2.0/UDP\r\n c.example;branch=z9hG4bKlow\r\n\
    CSeq: 00012  INVITE\r\n\
    f: \"A\" <sip:a@a.example>;tag=9\r\n\
    To: <sip:b@b.example>\r\n\
    Call-ID: c1\r\n\
    Content-Length: 0\r\n\
    \r\n";

const OURS: &str = "INVITE sip:b@b.example;x=1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKours\r\n\
    Max-Forwards: 69\r\n\
    Route: <sip:p1.example;lr>\r\n\
    Route: <sip:p2.example;lr>\r\n\
    From: <sip:a@us.example>;tag=l\r\n\
    To: <sip:b@b.example>\r\n\
    Call-ID: o1\r\n\
    CSeq: 3 INVITE\r\n\
    Contact: <sip:us@192.0.2.1>\r\n\
    Content-Length: 0\r\n\
    \r\n";
