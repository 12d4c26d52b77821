//! Messages as they come, the crooked ones included.

use proptest::prelude::*;

use super::*;
use crate::sip::{Printer, peek};

#[test]
fn reads_an_invite() {
    let invite = parse(INVITE);
    assert_eq!(invite.defect(), None);
    assert!(invite.is_request());
    assert_eq!(invite.method(), Method::Invite);
    assert_eq!(invite.method_text(), b"INVITE");
    assert_eq!(invite.request_uri(), b"sip:+15550100@gw.example.net;user=phone");
    assert_eq!((invite.status_code(), invite.reason()), (0, &b""[..]));
    assert_eq!(invite.call_id(), b"a84b4c76e66710@pbx.example");
    assert_eq!(invite.cseq(), (314_159, Method::Invite));
    assert_eq!(invite.from_tag(), Some(&b"1928301774"[..]));
    assert_eq!(invite.to_tag(), None);
    assert_eq!(invite.max_forwards(), Some(70));
    assert_eq!(invite.body(), b"v=0\r\n");
    let via = invite.top_via().unwrap();
    assert_eq!((via.transport, via.host, via.port), (&b"UDP"[..], &b"192.0.2.4"[..], Some(5066)));
    assert_eq!(via.branch, Some(&b"z9hG4bKnash7"[..]));
    assert!(via.has_rport);
    assert_eq!(invite.first(HeaderName::Contact), Some(&b"<sip:a@192.0.2.4:5066>"[..]));
    assert_eq!(invite.by_text("x-TRUNK"), Some(&b"blue"[..]));
    assert_eq!(invite.by_text("m"), invite.first(HeaderName::Contact));
    assert_eq!(invite.by_text("X-None"), None);
    assert_eq!(invite.first(HeaderName::Route), None);
}

#[test]
fn reads_a_response() {
    let response = parse(RESPONSE);
    assert!(!response.is_request());
    assert_eq!(response.status_code(), 183);
    assert_eq!(response.reason(), b"Session Progress");
    assert_eq!((response.method(), response.method_text()), (Method::Invite, &b"INVITE"[..]));
    assert_eq!(response.to_tag(), Some(&b"314"[..]));
    assert_eq!(response.request_uri(), b"");
    assert_eq!(response.all(HeaderName::Via).count(), 2);
    assert_eq!(response.max_forwards(), None);
}

/// Everything a writer may do at once, and must still be understood.
#[test]
fn reads_folds_compact_names_odd_case_and_lists() {
    let text = "OPTIONS sip:desk@b.example;odd SIP/2.0\r\n\
        T :\r\n sip:desk@b.example ;   tag    = 42n\r\n\
        fRoM   : \"J. \\\\\\\"\"       <sip:j@a.example;tag=no>\r\n  ;\r\n  tag = 98a\r\n\
        max-FORWARDS: 0009\r\n\
        cseq: 0007\r\n  OPTIONS\r\n\
        Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=oldstyle\r\n\
        s :\r\n\
        Unheard-Of: ;;,,;;,;\r\n\
        v:  SIP  / 2.0  / TCP     relay.example   ;\r\n  branch  =   z9hG4bK1  ,\r\n SIP/2.0/UDP 192.0.2.9; branch=\r\n z9hG4bK2\r\n\
        I:  fold-1@a.example \r\n\
        M:\"Q \\\"\\\"\" <sip:j@a.example> ; p =\r\n  v ;\r\n  q = 0.33 , <sip:k@a.example>\r\n\
        L   : 0\r\n\r\n";
    let options = parse(text);
    assert_eq!(options.defect(), None);
    assert_eq!(options.to_tag(), Some(&b"42n"[..]));
    assert_eq!(options.from_tag(), Some(&b"98a"[..]));
    assert_eq!(options.max_forwards(), Some(9));
    assert_eq!(options.cseq(), (7, Method::Options));
    assert_eq!(options.call_id(), b"fold-1@a.example");
    assert_eq!(options.first(HeaderName::Subject), Some(&b""[..]));
    let via = options.top_via().unwrap();
    assert_eq!(
        (via.transport, via.host, via.branch),
        (&b"UDP"[..], &b"192.0.2.2"[..], Some(&b"oldstyle"[..]))
    );
    let second = options.all(HeaderName::Via).nth(1).unwrap();
    assert_eq!((second.name, second.name_text), (HeaderName::Via, &b"v"[..]));
    assert_eq!(Via::parse_list(second.value).flatten().count(), 2);
}

#[test]
fn keeps_octets_that_are_no_text() {
    let text = INVITE.replace("X-Trunk: blue", "X-Trunk\u{7f}");
    assert_eq!(defect(&text), Some(400));
    let bytes = replace(INVITE, b"blue", b"\xef\xff\x00\x07");
    let invite = Message::parse(Bytes::from(bytes)).unwrap();
    assert_eq!(invite.defect(), None);
    assert_eq!(invite.by_text("X-Trunk"), Some(&b"\xef\xff\x00\x07"[..]));
    let bytes = replace(INVITE, b"\"Alice\"", b"\"\x00\x07\xfe \\\x00\"");
    assert_eq!(Message::parse(Bytes::from(bytes)).unwrap().defect(), None);
}

#[test]
fn peers_of_rfc_2543_are_understood() {
    let old = "INVITE sip:b@b.example SIP/2.0\r\nVia: SIP/2.0/UDP old.example (by hand)\r\n\
        From: <sip:a@old.example;user=phone>\r\nTo: sip:b@b.example;user=phone\r\n\
        Record-Route: <sip:b@b.example;maddr=ss.example>\r\nCall-ID: 1@old.example\r\nCSeq: 5 INVITE\r\n\
        Content-Type: application/sdp\r\n\r\nv=0\r\n";
    let invite = parse(old);
    assert_eq!(invite.defect(), None);
    assert_eq!((invite.from_tag(), invite.max_forwards()), (None, None));
    assert_eq!(invite.top_via().unwrap().branch, None);
    assert_eq!(invite.body(), b"v=0\r\n");
}

#[test]
fn unknown_methods_schemes_and_types_are_not_this_floors_business() {
    for (from, to) in [
        ("INVITE", "RE%47IST%45R"),
        ("INVITE", "!odd-Method_*+`.%x'~"),
        ("sip:+15550100@gw.example.net;user=phone", "unheardOf:opaque"),
        ("sip:+15550100@gw.example.net;user=phone", "sip:1_x~(be)&a=b$/?,;;*:p@gw.example.net"),
        ("sip:+15550100@gw.example.net;user=phone", "sip:[2001:db8::7:5070]"),
        ("To: <sip:+15550100@gw.example.net>", "To: isbn:2983"),
        ("<sip:a@192.0.2.4:5066>", "<name:John_Smith>"),
        ("application/sdp", "application/unheard-of"),
        ("X-Trunk: blue", "Require: nothing, nobody"),
        ("X-Trunk: blue", "Date: Fri, 01 Jan 2010 16:00:00 EST"),
        ("X-Trunk: blue", "Expires: 1000000000000000000000000000000"),
        ("Max-Forwards: 70", "Max-Forwards: 0"),
        ("Max-Forwards: 70", "Max-Forwards: 255"),
        ("192.0.2.4:5066;", "[2001:db8::9]:5066;received=[2001:db8::1];"),
    ] {
        assert_eq!(defect(&INVITE.replace(from, to)), None, "{to}");
    }
}

#[test]
fn a_request_that_breaks_a_rule_can_still_be_answered() {
    let uri = "sip:+15550100@gw.example.net;user=phone";
    let to = "To: <sip:+15550100@gw.example.net>";
    let from = "\"Alice\" <sip:a@pbx.example>;tag=1928301774";
    let contact = "<sip:a@192.0.2.4:5066>";
    let via = "SIP/2.0/UDP 192.0.2.4:5066;rport;branch=z9hG4bKnash7";
    for (from, to) in [
        // the request line
        (uri, "<sip:b@b.example>"),
        (uri, "sip:b@b.example; lr"),
        (uri, " sip:b@b.example"),
        (uri, "sip:b@b.example "),
        (uri, "sip:b@b.example\t"),
        (uri, "sip:b@b.example?Route=%3Csip:c.example%3E"),
        (uri, "sip:2001:db8::10"),
        (uri, "b.example"),
        (uri, "sip:"),
        (uri, ""),
        ("SIP/2.0\r\nVia", "SIP/2.0  \r\nVia"),
        ("SIP/2.0\r\nVia", "SIP/2\r\nVia"),
        ("SIP/2.0\r\nVia", "SIP/2.0\nVia"),
        ("INVITE sip", "INV(ITE sip"),
        // lines
        ("X-Trunk: blue", "X-Trunk"),
        ("X-Trunk: blue", ": blue"),
        ("X-Trunk: blue", "X Trunk: blue"),
        ("X-Trunk: blue\r\n", "X-Trunk: blue\n"),
        ("X-Trunk: blue", "X-Trunk: bl\rue"),
        // what is missing
        (&format!("{to}\r\n"), ""),
        ("Call-ID: a84b4c76e66710@pbx.example\r\n", ""),
        ("CSeq: 314159 INVITE\r\n", ""),
        (&format!("From: {from}\r\n"), ""),
        // what is there twice
        ("X-Trunk: blue", to),
        ("X-Trunk: blue", "f: <sip:x@y>;tag=1"),
        ("X-Trunk: blue", "i: other"),
        ("X-Trunk: blue", "CSeq: 314159 INVITE"),
        ("X-Trunk: blue", "Max-Forwards: 5"),
        ("X-Trunk: blue", "l: 6"),
        // values
        (via, "SIP/2.0/UDP 192.0.2.15;;,;,,"),
        (via, "SIP/2.0/UDP 192.0.2.15;branch=z9hG4bK"),
        (via, "SIP/2.0/UDP 192.0.2.15;branch=z9hG4bK1,"),
        (via, "SIP/2.0/UDP 192.0.2.15;branch="),
        (from, "\"Alice <sip:a@pbx.example>;tag=1"),
        (from, "Bell, Alice <sip:a@pbx.example>;tag=1"),
        (from, "\"Alice\" < sip:a@pbx.example >;tag=1"),
        (from, "<sip:a@pbx.example>;tag="),
        (from, "<sip:a@pbx.example>;tag"),
        (from, "<sip:a@pbx.example>;tag=\"q\""),
        (from, ""),
        (contact, "sip:a@192.0.2.4?Route=%3Csip:c.example%3E"),
        (contact, "\"Joe\" <sip:a@192.0.2.4>;;;;"),
        (contact, "<sip:a@192.0.2.4>,"),
        (contact, "*"),
        (contact, ""),
        ("X-Trunk: blue", "Route: <sip:c.example;lr>, <"),
        ("X-Trunk: blue", "Record-Route: c.example"),
        ("314159 INVITE", "314159 OPTIONS"),
        ("314159 INVITE", "314159 invite"),
        ("314159 INVITE", "2147483648 INVITE"),
        ("314159 INVITE", "36893488147419103232 INVITE"),
        ("314159 INVITE", "314159"),
        ("314159 INVITE", "-1 INVITE"),
        ("314159 INVITE", "1 INVITE x"),
        ("Max-Forwards: 70", "Max-Forwards: 256"),
        ("Max-Forwards: 70", "Max-Forwards: -1"),
        ("Max-Forwards: 70", "Max-Forwards:"),
        ("a84b4c76e66710@pbx.example", ""),
        ("a84b4c76e66710@pbx.example", "two words"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5", "Content-Length: 9999999999999999999999999"),
        ("Content-Length: 5", "Content-Length: -5"),
        ("Content-Length: 5", "Content-Length: 5 5"),
        ("Content-Length: 5", "Content-Length:"),
    ] {
        let text = INVITE.replacen(from, to, 1);
        assert_ne!(text, INVITE, "{from} stands in the message");
        assert_eq!(defect(&text), Some(400), "{text}");
    }
    let last = INVITE.replace("2147483648", "2147483647");
    assert_eq!(defect(&last), None);
}

#[test]
fn a_version_we_do_not_speak_is_505_and_an_unknown_method_501_before_its_mismatch() {
    let other = INVITE.replace("SIP/2.0", "SIP/7.0");
    assert_eq!(defect(&other), Some(505));
    let unknown = INVITE.replace("INVITE sip", "NEWMETHOD sip");
    assert_eq!(defect(&unknown), Some(501));
    assert_eq!(defect(&unknown.replace("314159 INVITE", "314159 NEWMETHOD")), None);
    let case = INVITE.replace("SIP/2.0\r\nVia", "sip/2.0\r\nVia");
    assert_eq!(defect(&case), None);
}

#[test]
fn a_star_is_a_contact_of_register_only() {
    let register = INVITE.replace("INVITE", "REGISTER").replace("<sip:a@192.0.2.4:5066>", "*");
    assert_eq!(defect(&register), None);
}

#[test]
fn a_defective_request_still_gives_what_an_answer_needs() {
    let broken = INVITE.replace("X-Trunk: blue", "No colon here").replace("\"Alice\"", "\"Alice");
    let invite = parse(&broken);
    assert_eq!(invite.defect().map(|defect| defect.reason), Some("Header Without Colon"));
    assert_eq!(invite.cseq(), (314_159, Method::Invite));
    assert_eq!(invite.from_tag(), None);
    assert_eq!(invite.top_via().unwrap().branch, Some(&b"z9hG4bKnash7"[..]));
    assert!(invite.headers().any(|header| header.value == b"No colon here"));
}

#[test]
fn a_request_cut_off_before_the_empty_line_is_answered() {
    let at = INVITE.find("Content-Length").unwrap();
    let cut = parse(&INVITE[..at]);
    assert_eq!(cut.defect().map(|defect| defect.reason), Some("Headers Without End"));
    assert_eq!(cut.body(), b"");
    let at = INVITE.find("From").unwrap();
    assert_eq!(defect(&INVITE[..at + 3]), Some(400));
}

#[test]
fn what_cannot_be_answered_is_not_sip() {
    let not_sip = |text: &str| Message::parse(Bytes::from(text.to_owned())).unwrap_err();
    for text in ["", "\r\n", "\r\n\r\n", "\0\0\0\0"] {
        assert_eq!(not_sip(text), NotSip::Empty);
    }
    for text in [
        "\0\u{1}\0\0!\u{12}",
        "GET / HTTP/1.1\r\n\r\n",
        "INVITE sip:b SIP/2.0",
        "INVITE\r\n\r\n",
        "INVITE sip:b\r\n\r\n",
    ] {
        assert_eq!(not_sip(text), NotSip::StartLine, "{text}");
    }
    assert_eq!(not_sip("INVITE sip:b SIP/2.0\r\n"), NotSip::NoEndOfHeaders);
    assert_eq!(not_sip("INVITE sip:b SIP/2.0\r\nTo: <sip:b>\r\n\r\n"), NotSip::Unanswerable("Via"));
    assert_eq!(not_sip("INVITE sip:b SIP/2.0\r\nVia: \r\n\r\n"), NotSip::Unanswerable("Via"));
}

#[test]
fn a_response_that_breaks_a_rule_is_dropped() {
    for (from, to) in [
        ("183 ", "4294967479 "),
        ("183 ", "99 "),
        ("183 ", "0183 "),
        ("183 ", "700 "),
        ("183 ", "18 "),
        ("183 ", "1x3 "),
        ("SIP/2.0 183", "SIP/3.0 183"),
        ("SIP/2.0 183", "SIP/2.0\t183"),
        ("1 INVITE", "9292394834772304023312 OPTIONS"),
        ("1 INVITE", "1"),
        ("Call-ID: c1\r\n", ""),
        ("Call-ID: c1", "Call-ID: c1\r\ni: c2"),
        ("Content-Length: 0", "Content-Length: 9"),
        ("Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKa\r\n", ""),
        ("branch=z9hG4bKa", "branch=z9hG4bKa;;"),
        ("To: <sip:b@b.example>;tag=314", "To: \"open <sip:b@b.example>"),
        ("Session Progress\r\n", "Session Progress\n"),
    ] {
        let text =
            RESPONSE.replace(from, to).replace("v: SIP/2.0/UDP relay.example;branch=1\r\n", "");
        let read = Message::parse(Bytes::from(text.clone()));
        assert!(matches!(read, Err(NotSip::BadResponse(_))), "{text}\n{read:?}");
    }
}

#[test]
fn responses_are_read_with_any_reason_or_none() {
    for line in ["183 ", "183", "183 = 2**3 * 61 \u{43d}\u{43e}"] {
        let text = RESPONSE.replace("183 Session Progress", line);
        assert_eq!(parse(&text).status_code(), 183);
    }
    // What cannot be read beside the essentials does not lose a response: its peer waits for the ACK.
    let contact = RESPONSE.replace("Call-ID: c1", "Call-ID: c1\r\nContact: <broken");
    assert_eq!(parse(&contact).status_code(), 183);
}

#[test]
fn octets_after_the_body_are_ignored() {
    let text = format!("{INVITE}INVITE sip:x@y SIP/2.0\r\nCall-ID: other\r\n\r\n");
    let invite = parse(&text);
    assert_eq!(invite.defect(), None);
    assert_eq!(invite.body(), b"v=0\r\n");
    let text = format!("\r\n\r\n{INVITE}");
    assert_eq!(parse(&text).bytes(), INVITE.as_bytes());
}

#[test]
fn limits_hold() {
    let with = |extra: String| {
        let text = INVITE.replace("X-Trunk: blue\r\n", &extra);
        Message::parse(Bytes::from(text))
    };
    let of_invite = parse(INVITE).headers().count() - 1;
    assert!(with("a:\r\n".repeat(MAX_HEADERS - of_invite)).is_ok());
    assert_eq!(with("a:\r\n".repeat(MAX_HEADERS - of_invite + 1)).unwrap_err(), NotSip::TooLarge);
    assert_eq!(with("a:\r\n".repeat(12_000)).unwrap_err(), NotSip::TooLarge);
    assert!(with(format!("a:{}\r\n", "x".repeat(MAX_FIELD_OCTETS - 4))).is_ok());
    assert_eq!(
        with(format!("a:{}\r\n", "x".repeat(MAX_FIELD_OCTETS - 3))).unwrap_err(),
        NotSip::TooLarge
    );
    let folds = format!("a: b{}\r\n", "\r\n c".repeat(MAX_FIELD_OCTETS / 4));
    assert_eq!(with(folds).unwrap_err(), NotSip::TooLarge);
    assert_eq!(
        with(format!("{}: x\r\n", "a".repeat(MAX_NAME_OCTETS + 1))).unwrap_err(),
        NotSip::TooLarge
    );
    let uri = INVITE.replace("+15550100@gw", &format!("{}@gw", "1".repeat(MAX_START_LINE_OCTETS)));
    assert_eq!(Message::parse(Bytes::from(uri)).unwrap_err(), NotSip::TooLarge);
    let body = format!("{INVITE}{}", "x".repeat(MAX_MESSAGE_OCTETS));
    assert_eq!(Message::parse(Bytes::from(body)).unwrap_err(), NotSip::TooLarge);
}

proptest! {
    #[test]
    fn an_unmodified_message_prints_byte_for_byte(message in messages()) {
        let read = Message::parse(Bytes::from(message.clone())).unwrap();
        prop_assert_eq!(read.defect(), None);
        let start_line = message.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
        let mut printed = message[..start_line].to_vec();
        for header in read.headers() {
            printed.extend_from_slice(header.line);
        }
        printed.extend_from_slice(b"\r\n");
        printed.extend_from_slice(read.body());
        prop_assert_eq!(printed, message);
    }

    #[test]
    fn a_header_that_is_added_or_left_out_leaves_the_others_as_they_are(
        message in messages(),
        left_out in any::<prop::sample::Index>(),
        added in any::<prop::sample::Index>(),
    ) {
        let read = Message::parse(Bytes::from(message)).unwrap();
        let unknown: Vec<_> = read.all(HeaderName::Other).map(|header| header.line.to_vec()).collect();
        let (left_out, added) = (left_out.index(unknown.len() + 1), added.index(unknown.len() + 1));
        let mut printer = Printer::request(b"INFO", b"sip:b@h");
        for name in [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
            printer.copy(read.all(name).next().unwrap());
        }
        for (at, header) in read.all(HeaderName::Other).enumerate() {
            if at == added {
                printer.header(HeaderName::Subject, b"a\r\nb");
            }
            if at != left_out {
                printer.copy(header);
            }
        }
        let again = Message::parse(printer.finish(read.body())).unwrap();
        prop_assert_eq!(again.defect(), None);
        let mut expected = unknown;
        if left_out < expected.len() {
            expected.remove(left_out);
        }
        let copied: Vec<_> = again.all(HeaderName::Other).map(|header| header.line.to_vec()).collect();
        prop_assert_eq!(copied, expected);
        prop_assert_eq!(again.body(), read.body());
        prop_assert_eq!(again.call_id(), read.call_id());
        prop_assert_eq!((again.cseq(), again.from_tag()), (read.cseq(), read.from_tag()));
    }

    #[test]
    fn an_answer_copies_what_it_must_and_adds_a_tag(message in messages()) {
        let request = Message::parse(Bytes::from(message)).unwrap();
        let source = "192.0.2.4:5060".parse().unwrap();
        let answer = Printer::response_to(&request, 486, b"", Some(b"new"), source).finish(b"");
        let answer = Message::parse(answer).unwrap();
        for name in [HeaderName::From, HeaderName::CallId, HeaderName::CSeq] {
            let line = |message: &Message| message.all(name).next().unwrap().line.to_vec();
            prop_assert_eq!(line(&answer), line(&request));
        }
        prop_assert_eq!(answer.to_tag(), Some(&b"new"[..]));
        prop_assert_eq!(answer.top_via().unwrap().branch, request.top_via().unwrap().branch);
        prop_assert_eq!(answer.all(HeaderName::Other).count(), 0);
    }

    #[test]
    fn octets_of_any_kind_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        check_any(octets);
    }

    #[test]
    fn a_message_with_octets_changed_is_read_or_refused(
        message in messages(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..12),
    ) {
        let mut octets = message;
        for (at, octet, how) in changes {
            let at = at.index(octets.len());
            match how {
                0 => { octets.remove(at); }
                1 => octets.insert(at, octet),
                2 => octets[at] = octet,
                _ => octets[at] = b"\r\n :;,\"<>@?()\\"[usize::from(octet) % 14],
            }
        }
        check_any(octets);
    }
}

/// What holds of all octets: no panic in any accessor, and `peek` agrees.
fn check_any(octets: Vec<u8>) {
    let peeked = peek::call_id(&octets).map(<[u8]>::to_vec);
    let Ok(message) = Message::parse(Bytes::from(octets)) else {
        return;
    };
    if !message.call_id().is_empty() {
        assert_eq!(peeked.as_deref(), Some(message.call_id()));
    }
    assert!(message.top_via().is_some());
    for header in message.headers() {
        assert!(header.line.len() >= header.value.len() + header.name_text.len());
    }
    let lengths = message.body().len() + message.request_uri().len() + message.reason().len();
    assert!(lengths <= message.bytes().len());
}

/// Sound requests with headers that nobody knows among those that all know.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let name = "[A-Za-z0-9.!%*_+`'~-]{1,20}"
        .prop_filter("unknown", |name| HeaderName::from_text(name.as_bytes()) == HeaderName::Other);
    let word = proptest::collection::vec(
        any::<u8>().prop_filter("no line end", |octet| !matches!(octet, b'\r' | b'\n')),
        0..24,
    );
    let value = proptest::collection::vec(word, 1..4);
    let space = "[ \t]{0,3}";
    let fields = proptest::collection::vec((name, space, value), 0..30);
    let body = proptest::collection::vec(any::<u8>(), 0..80);
    (fields, body, any::<bool>()).prop_map(|(fields, body, compact)| {
        let known: [&[u8]; 5] = if compact {
            [
                b"v:SIP/2.0/UDP h;branch=z9hG4bK1",
                b"f:<sip:a@h>;tag=1",
                b"t :\r\n <sip:b@h>",
                b"i\t: c1@h",
                b"CSeq: 1\r\n\tINFO",
            ]
        } else {
            [
                b"VIA: SIP/2.0/UDP h;branch=z9hG4bK1",
                b"From: <sip:a@h>;tag=1",
                b"TO: <sip:b@h>",
                b"call-id: c1@h",
                b"CSeq: 1 INFO",
            ]
        };
        let mut message = b"INFO sip:b@h SIP/2.0\r\n".to_vec();
        let mut known = known.into_iter();
        for (name, space, value) in fields {
            if let Some(field) = known.next() {
                message.extend_from_slice(field);
                message.extend_from_slice(b"\r\n");
            }
            message.extend_from_slice(name.as_bytes());
            message.extend_from_slice(space.as_bytes());
            message.push(b':');
            message.extend_from_slice(&value.join(&b"\r\n "[..]));
            message.extend_from_slice(b"\r\n");
        }
        for field in known {
            message.extend_from_slice(field);
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(format!("l:{}\r\n\r\n", body.len()).as_bytes());
        message.extend_from_slice(&body);
        message
    })
}

fn parse(text: &str) -> Message {
    Message::parse(Bytes::from(text.to_owned())).expect("a message")
}

fn defect(text: &str) -> Option<u16> {
    parse(text).defect().map(|defect| defect.status_code)
}

fn replace(text: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    let bytes = text.as_bytes();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

const INVITE: &str = "INVITE sip:+15550100@gw.example.net;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.4:5066;rport;branch=z9hG4bKnash7\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:a@pbx.example>;tag=1928301774\r\n\
    To: <sip:+15550100@gw.example.net>\r\n\
    Call-ID: a84b4c76e66710@pbx.example\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:a@192.0.2.4:5066>\r\n\
    X-Trunk: blue\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 5\r\n\
    \r\n\
    v=0\r\n";

const RESPONSE: &str = "SIP/2.0 183 Session Progress\r\n\
    Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKa\r\n\
    v: SIP/2.0/UDP relay.example;branch=1\r\n\
    From: <sip:a@a.example>;tag=9\r\n\
    To: <sip:b@b.example>;tag=314\r\n\
    Call-ID: c1\r\n\
    CSeq: 1 INVITE\r\n\
    Content-Length: 0\r\n\
    \r\n";
