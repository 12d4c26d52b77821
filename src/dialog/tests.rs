//! Dialogs against RFC 3261 §12.

use bytes::Bytes;

use super::{Dialog, OwnInvite, SeqTooLow, Tag};
use crate::carrier::Transport;
use crate::sip::{HeaderName, Message};
use crate::transaction::{Branch, Listener};

const OURS: Tag = Tag(0x1111_2222_3333_4444);

#[test]
fn keeps_the_peers_from_and_to_byte_for_byte() {
    let dialog = Dialog::uas(&invite(""), OURS);
    assert_eq!(text(&dialog.remote), "\"A. Lice\" <sip:alice@192.0.2.9>;tag=a1;x=Y");
    assert_eq!(text(&dialog.local), "<sip:Bob@192.0.2.1>;tag=1111222233334444");
    assert_eq!(text(&dialog.remote_tag), "a1");
    assert_eq!(text(&dialog.call_id), "call-1@x");
    assert_eq!((dialog.local_seq, dialog.remote_seq), (0, Some(7)));
    assert_eq!(text(&dialog.remote_target), "sip:alice@192.0.2.9:5080");
}

#[test]
fn takes_the_route_set_in_order_as_uas_and_reversed_as_uac() {
    let routes = "Record-Route: <sip:192.0.2.11;lr>, <sip:192.0.2.12;lr>\r\nRecord-Route: <sip:192.0.2.13;lr>\r\n";
    let uas = Dialog::uas(&invite(routes), OURS);
    assert_eq!(hops(&uas), ["sip:192.0.2.11;lr", "sip:192.0.2.12;lr", "sip:192.0.2.13;lr"]);
    let uac = Dialog::uac(
        OwnInvite::of(invite("").bytes()),
        OURS,
        &answer(routes, "<sip:bob@192.0.2.4>"),
    );
    assert_eq!(hops(&uac), ["sip:192.0.2.13;lr", "sip:192.0.2.12;lr", "sip:192.0.2.11;lr"]);
    assert_eq!(hop(&uac), Some(("192.0.2.13:5060".to_owned(), None)));
}

#[test]
fn sends_a_request_through_loose_routers_to_the_target() {
    let routes = "Record-Route: <sip:192.0.2.11;lr>\r\n";
    let mut dialog = Dialog::uas(&invite(routes), OURS);
    let request = print(&mut dialog, b"BYE");
    assert_eq!(text(request.request_uri()), "sip:alice@192.0.2.9:5080");
    assert_eq!(request.first(HeaderName::Route), Some(&b"<sip:192.0.2.11;lr>"[..]));
    assert_eq!(request.cseq().0, 1);
    assert_eq!(request.from_tag(), Some(&b"1111222233334444"[..]));
    assert_eq!(request.to_tag(), Some(&b"a1"[..]));
    assert_eq!(request.max_forwards(), Some(70));
}

#[test]
fn leaves_the_headers_of_a_contact_out_of_the_request_uri() {
    for (contact, expected) in [
        ("<sip:bob@192.0.2.4;x=1?Subject=a&b=c>", "sip:bob@192.0.2.4;x=1"),
        ("<sip:bob@192.0.2.4?>", "sip:bob@192.0.2.4"),
        ("<sip:what?@192.0.2.4>", "sip:what?@192.0.2.4"),
    ] {
        let mut dialog = Dialog::uac(OwnInvite::of(invite("").bytes()), OURS, &answer("", contact));
        assert_eq!(text(print(&mut dialog, b"BYE").request_uri()), expected);
    }
}

#[test]
fn puts_the_target_last_where_the_first_router_is_strict() {
    let routes = "Record-Route: <sip:192.0.2.11>, <sip:192.0.2.12;lr>\r\n";
    let mut dialog = Dialog::uas(&invite(routes), OURS);
    let request = print(&mut dialog, b"INFO");
    assert_eq!(text(request.request_uri()), "sip:192.0.2.11");
    let routes: Vec<String> =
        request.all(HeaderName::Route).map(|header| text(header.value)).collect();
    assert_eq!(routes, ["<sip:192.0.2.12;lr>", "<sip:alice@192.0.2.9:5080>"]);
}

#[test]
fn counts_its_own_sequence_up_and_acknowledges_with_the_invites() {
    let mut dialog =
        Dialog::uac(OwnInvite::of(invite("").bytes()), OURS, &answer("", "<sip:bob@192.0.2.4>"));
    assert_eq!(dialog.local_seq, 7);
    assert_eq!(print(&mut dialog, b"INFO").cseq().0, 8);
    let ack = dialog.ack(7, &listener(), Branch::without_transaction(1)).finish(b"");
    let ack = Message::parse(ack).expect("a good ACK");
    assert_eq!((ack.cseq().0, ack.method_text()), (7, &b"ACK"[..]));
}

#[test]
fn refuses_a_sequence_that_goes_back_and_takes_a_gap() {
    let mut dialog = Dialog::uas(&invite(""), OURS);
    assert_eq!(dialog.accept_seq(6), Err(SeqTooLow { got: 6, last: 7 }));
    assert_eq!(dialog.accept_seq(107), Ok(()));
    assert_eq!(dialog.remote_seq, Some(107));
}

#[test]
fn moves_its_target_with_a_new_contact_only() {
    let mut dialog = Dialog::uas(&invite(""), OURS);
    dialog.refresh_target(&answer("", "\"x\" <sip:alice@192.0.2.99;transport=UDP>;q=1"));
    assert_eq!(text(&dialog.remote_target), "sip:alice@192.0.2.99;transport=UDP");
}

#[test]
fn falls_back_to_the_request_uri_where_a_2xx_has_no_contact() {
    let no_contact = answer("", "").bytes().to_vec();
    let without: Vec<u8> =
        String::from_utf8(no_contact).expect("text").replace("Contact: \r\n", "").into();
    let response = Message::parse(Bytes::from(without)).expect("a good response");
    let dialog = Dialog::uac(OwnInvite::of(invite("").bytes()), OURS, &response);
    assert_eq!(text(&dialog.remote_target), "sip:Bob@192.0.2.1");
}

#[test]
fn finds_no_address_in_a_host_name_nor_sends_to_everybody() {
    for target in
        ["sip:a@pbx.example.com", "sip:a@255.255.255.255", "sip:a@224.0.1.75", "sip:a@0.0.0.0"]
    {
        let mut dialog = Dialog::uas(&invite(""), OURS);
        dialog.remote_target = target.as_bytes().into();
        assert_eq!(dialog.next_hop(), None, "{target}");
    }
    let mut dialog = Dialog::uas(&invite(""), OURS);
    dialog.remote_target = b"sip:a@[2001:db8::7]:5070".as_slice().into();
    assert_eq!(hop(&dialog), Some(("[2001:db8::7]:5070".to_owned(), None)));
}

#[test]
fn takes_the_transport_that_a_uri_names_and_tls_for_sips_whatever_it_names() {
    for (target, address, transport) in [
        ("sip:a@192.0.2.7;transport=TCP", "192.0.2.7:5060", Some(Transport::Tcp)),
        ("sip:a@192.0.2.7:5070;transport=udp", "192.0.2.7:5070", Some(Transport::Udp)),
        ("sip:a@192.0.2.7;transport=tls", "192.0.2.7:5061", Some(Transport::Tls)),
        ("sips:a@192.0.2.7;transport=tcp", "192.0.2.7:5061", Some(Transport::Tls)),
        ("sip:a@192.0.2.7;transport=sctp", "192.0.2.7:5060", None),
    ] {
        let mut dialog = Dialog::uas(&invite(""), OURS);
        dialog.remote_target = target.as_bytes().into();
        assert_eq!(hop(&dialog), Some((address.to_owned(), transport)), "{target}");
    }
}

fn hop(dialog: &Dialog) -> Option<(String, Option<Transport>)> {
    dialog.next_hop().map(|hop| (hop.address.to_string(), hop.transport))
}

#[test]
fn matches_its_own_call_id_and_remote_tag_only() {
    let dialog = Dialog::uas(&invite(""), OURS);
    assert!(dialog.matches(&invite("")));
    let other = String::from_utf8(invite("").bytes().to_vec()).expect("text");
    for (from, to) in [("tag=a1", "tag=a2"), ("call-1@x", "call-2@x")] {
        let message = Message::parse(Bytes::from(other.replace(from, to))).expect("a good request");
        assert!(!dialog.matches(&message), "{to}");
    }
}

#[test]
fn tells_a_forks_dialog_from_its_own_by_the_tag() {
    let dialog =
        Dialog::uac(OwnInvite::of(invite("").bytes()), OURS, &answer("", "<sip:bob@192.0.2.4>"));
    let other =
        String::from_utf8(answer("", "<sip:bob@192.0.2.5>").bytes().to_vec()).expect("text");
    let other =
        Message::parse(Bytes::from(other.replace("tag=b1", "tag=b2"))).expect("a good response");
    let sibling = dialog.sibling(7, &other);
    assert_eq!(text(&sibling.remote_tag), "b2");
    assert_eq!(text(&sibling.remote_target), "sip:bob@192.0.2.5");
    assert_eq!((&sibling.call_id, sibling.local_seq), (&dialog.call_id, 7));
}

fn print(dialog: &mut Dialog, method: &[u8]) -> Message {
    let printer = dialog.request(method, &listener(), Branch::without_transaction(1));
    let message = Message::parse(printer.finish(b"")).expect("a good request");
    assert_eq!(message.defect(), None);
    message
}

fn listener() -> Listener {
    Listener {
        transport: Transport::Udp,
        address: "192.0.2.1:5060".parse().expect("an address"),
        advertised: "192.0.2.1:5060".into(),
    }
}

fn hops(dialog: &Dialog) -> Vec<String> {
    dialog.route_set.iter().map(|route| text(route)).collect()
}

#[test]
fn finds_in_an_invite_of_ours_what_its_dialog_is_made_of() {
    let printed = invite("");
    let own = OwnInvite::of(printed.bytes());
    assert_eq!(own.request_uri, printed.request_uri());
    assert_eq!(Some(own.from), printed.first(HeaderName::From));
    assert_eq!((own.call_id, own.seq), (printed.call_id(), printed.cseq().0));
}

fn invite(extra: &str) -> Message {
    message(format!(
        "INVITE sip:Bob@192.0.2.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.9:5080;branch=z9hG4bKx1\r\n\
         {extra}\
         From: \"A. Lice\" <sip:alice@192.0.2.9>;tag=a1;x=Y\r\n\
         To: <sip:Bob@192.0.2.1>\r\n\
         Call-ID: call-1@x\r\n\
         CSeq: 7 INVITE\r\n\
         Contact: <sip:alice@192.0.2.9:5080>\r\n\
         Content-Length: 0\r\n\r\n"
    ))
}

fn answer(extra: &str, contact: &str) -> Message {
    message(format!(
        "SIP/2.0 200 OK\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx1\r\n\
         {extra}\
         From: <sip:us@192.0.2.1>;tag=1111222233334444\r\n\
         To: <sip:Bob@192.0.2.4>;tag=b1\r\n\
         Call-ID: call-1@x\r\n\
         CSeq: 7 INVITE\r\n\
         Contact: {contact}\r\n\
         Content-Length: 0\r\n\r\n"
    ))
}

fn message(octets: String) -> Message {
    Message::parse(Bytes::from(octets)).expect("a good message")
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
