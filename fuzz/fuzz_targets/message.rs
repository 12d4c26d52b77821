//! Any octets: read or refused; every typed reader gives something or nothing; what is read prints as it came.

#![no_main]

use bytes::Bytes;
use holdfast::sip::name_addr::split_list;
use holdfast::sip::{Header, HeaderName, Message, NameAddr, Printer, Uri, Via, peek, print, sdp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let peeked = peek::call_id(octets).map(<[u8]>::to_vec);
    let Ok(message) = Message::parse(Bytes::copy_from_slice(octets)) else { return };
    if !message.call_id().is_empty() {
        assert_eq!(peeked.as_deref(), Some(message.call_id()));
    }
    for header in message.headers() {
        read_all(header);
    }
    let uri = Uri::parse(message.request_uri());
    assert_eq!(uri.and_then(|uri| uri.user_text()).is_some(), uri.is_some_and(|uri| uri.user.is_some()));
    let _ = (message.top_via(), message.cseq(), message.from_tag(), message.to_tag());
    let _ = (message.max_forwards(), message.method(), message.status_code(), message.reason());
    let _ = sdp::is_session_description(&message);
    if message.defect().is_none() {
        assert_prints_as_it_came(&message);
    }
    if message.is_request() {
        answer(&message);
    }
});

fn read_all(header: Header<'_>) {
    assert!(header.line.len() >= header.name_text.len() + header.value.len());
    for part in split_list(header.value) {
        if let Some(party) = NameAddr::parse(part) {
            let _ = (party.param("tag"), Uri::parse(party.uri).map(|uri| uri.host_kind()));
        }
    }
    if header.name == HeaderName::Via {
        for via in Via::parse_list(header.value).flatten() {
            let _ = (via.received(), via.rport(), via.param("maddr"));
            assert!(Via::parse(via.value).is_some_and(|again| again.branch == via.branch));
        }
    }
}

/// Start line, every field's line, the empty line, the body: the message, but for what trails behind.
fn assert_prints_as_it_came(message: &Message) {
    let bytes = message.bytes();
    let head: usize = message.headers().map(|header| header.line.len()).sum();
    let start_line = bytes.iter().position(|&octet| octet == b'\n').expect("a start line") + 1;
    let mut printed = bytes[..start_line].to_vec();
    for header in message.headers() {
        printed.extend_from_slice(header.line);
    }
    assert_eq!(printed.len(), start_line + head);
    printed.extend_from_slice(b"\r\n");
    printed.extend_from_slice(message.body());
    assert!(bytes.starts_with(&printed), "printed otherwise");
}

/// What we write in answer to a sound request is sound; in answer to a broken one it is at least clean lines.
fn answer(request: &Message) {
    let source = "192.0.2.9:5080".parse().expect("an address");
    let printed =
        Printer::response_to(request, 400, b"", Some(b"tag"), source).finish(b"");
    let answer = Message::parse(printed.clone());
    if request.defect().is_none() {
        let answer = answer.expect("a response");
        assert_eq!((answer.call_id(), answer.cseq()), (request.call_id(), request.cseq()));
        let cancel = print::cancel_for(request.bytes(), None);
        let ack = print::ack_for_rejection(request.bytes(), &answer);
        for own in [cancel, ack] {
            let own = Message::parse(own).expect("a request");
            assert_eq!(own.call_id(), request.call_id());
        }
    } else {
        let mut lines = printed.split(|&octet| octet == b'\n');
        assert!(lines.all(|line| line.is_empty() || line.ends_with(b"\r")));
    }
}
