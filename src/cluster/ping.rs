//! OPTIONS from node to node, and what tells it from a stranger's.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::dialog::Tag;
use crate::sip::{HeaderName, Message, Method, Printer};

/// An OPTIONS of one node to another, over UDP; `key`: what all nodes have of `cluster_key`.
///
/// `number` makes it another one than those before. With its Accept (RFC 3261 §11.1) it is longer than a bare answer, which
/// is all that a stranger gets.
pub fn ping(to: SocketAddr, from: SocketAddr, call_id: &str, number: u32, key: u64) -> Bytes {
    let tag = tag(call_id.as_bytes(), key);
    let mut printer = Printer::request(b"OPTIONS", format!("sip:{to}").as_bytes());
    printer
        .header_fmt(
            HeaderName::Via,
            format_args!("SIP/2.0/UDP {from};rport;branch=z9hG4bKping-{call_id}-{number:x}"),
        )
        .header(HeaderName::MaxForwards, b"70")
        .header_fmt(HeaderName::From, format_args!("<sip:ping@{from}>;tag={tag}"))
        .header_fmt(HeaderName::To, format_args!("<sip:{to}>"))
        .header(HeaderName::CallId, call_id.as_bytes())
        .header_fmt(HeaderName::CSeq, format_args!("{number} OPTIONS"))
        .header(HeaderName::Accept, b"application/sdp");
    printer.finish(b"")
}

/// Whether a node with the same key has written it.
pub fn is_ping(request: &Message, key: u64) -> bool {
    request.method() == Method::Options
        && request.from_tag().and_then(Tag::parse) == Some(tag(request.call_id(), key))
}

/// A Call-ID holds no blank, so that no tag of a response is one of these.
fn tag(call_id: &[u8], key: u64) -> Tag {
    Tag::derived(&[b"ping ", call_id].concat(), key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_known_by_its_call_id_and_the_key_and_by_no_tag_of_a_response() {
        let address = "[2001:db8::1]:5060".parse().unwrap();
        let ping = Message::parse(ping(address, address, "1-2", 3, 7)).unwrap();
        assert_eq!(ping.defect(), None);
        assert!(is_ping(&ping, 7) && !is_ping(&ping, 8));
        let text = String::from_utf8(ping.bytes().to_vec()).unwrap();
        let response_tag = Tag::derived(b"1-2", 7).to_string();
        let own_tag = tag(b"1-2", 7).to_string();
        for other in [text.replace("1-2", "1-3"), text.replace(&own_tag, &response_tag)] {
            assert!(!is_ping(&Message::parse(Bytes::from(other)).unwrap(), 7));
        }
    }
}
