//! One leg that refreshes its peer, response by response.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use slotmap::SlotMap;

use super::*;
use crate::call::Side;
use crate::call::attempt::Trunk;
use crate::call::context::ALLOW;
use crate::call::context::{CallKey, Output};
use crate::call::{Settings, header_policy};
use crate::carrier::{CarrierId, Transport};
use crate::dialog::{Dialog, Tag};
use crate::transaction::{Flow, Listener, ListenerId};

const SDP: &str = "v=0\r\no=- 7 3 IN IP4 192.0.2.7\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";

#[test]
fn sends_an_update_without_a_body_to_a_peer_that_takes_it() {
    let mut world = World::new(Side::Outbound, "INVITE, ACK, UPDATE");
    world.refresh();
    let update = world.one();
    assert_eq!((update.method(), update.body()), (Method::Update, &b""[..]));
    assert_eq!(update.first(HeaderName::Contact), Some(&b"<sip:203.0.113.1:5060>"[..]));
    assert_eq!(update.first(HeaderName::Allow), Some(ALLOW));
    assert_eq!(update.first(HeaderName::UserAgent), Some(&b"holdfast"[..]));
    assert!(matches!(world.answer(&update, 200, ""), Some(LegEvent::Refreshed)));
    assert!(world.sent().is_empty());
    assert_eq!(world.leg.poll_timeout(), None);
}

#[test]
fn takes_the_contact_and_the_allow_that_the_peer_answers() {
    let mut world = World::new(Side::Outbound, "INVITE, ACK, UPDATE");
    world.refresh();
    let update = world.one();
    world.answer(&update, 200, "Contact: <sip:b@198.51.100.7:5070>\r\nAllow: INVITE, ACK\r\n");
    assert_eq!(&*world.leg.dialog.remote_target, b"sip:b@198.51.100.7:5070");
    assert!(!world.leg.allows_update);
}

#[test]
fn sends_the_last_description_byte_for_byte_to_a_peer_without_update_and_acknowledges() {
    let mut world = World::new(Side::Outbound, "INVITE, ACK");
    world.refresh();
    let invite = world.one();
    assert_eq!((invite.method(), invite.body()), (Method::Invite, SDP.as_bytes()));
    assert_eq!(invite.first(HeaderName::ContentType), Some(&b"application/sdp"[..]));
    assert!(world.answer(&invite, 100, "").is_none());
    assert!(matches!(world.answer(&invite, 200, ""), Some(LegEvent::Refreshed)));
    let ack = world.one();
    assert_eq!((ack.method(), ack.cseq()), (Method::Ack, (invite.cseq().0, Method::Ack)));
    assert!(ack.body().is_empty());
}

#[test]
fn tries_a_reinvite_where_update_is_refused_as_a_method() {
    for status_code in [405, 501] {
        let mut world = World::new(Side::Outbound, "UPDATE");
        world.refresh();
        let update = world.one();
        assert!(world.answer(&update, status_code, "").is_none());
        assert_eq!(world.one().method(), Method::Invite);
    }
}

#[test]
fn gives_up_on_a_method_that_is_refused_where_there_is_nothing_to_invite_with() {
    let mut world = World::new(Side::Outbound, "UPDATE");
    world.leg.description = None;
    world.refresh();
    let update = world.one();
    let event = world.answer(&update, 405, "");
    assert!(is_failed(event, 405, false), "{event:?}");
}

#[test]
fn waits_after_glare_longer_where_the_call_id_is_ours() {
    for (side, shortest_ms, longest_ms) in
        [(Side::Outbound, 2_100, 4_000), (Side::Inbound, 0, 2_000)]
    {
        for seed in 0..40 {
            let mut world = World::seeded(seed, side, "UPDATE");
            world.refresh();
            let update = world.one();
            assert!(world.answer(&update, 491, "").is_none());
            let pause = world.leg.poll_timeout().expect("another try") - world.cx.now;
            let pause_ms = u64::try_from(pause.as_millis()).expect("short");
            assert!((shortest_ms..=longest_ms).contains(&pause_ms), "{pause_ms}");
            world.pass(pause);
            assert!(world.one().cseq().0 > update.cseq().0);
        }
    }
}

#[test]
fn leaps_over_the_sequence_numbers_that_the_peer_may_have_seen() {
    let mut world = World::new(Side::Inbound, "UPDATE");
    world.refresh();
    let update = world.one();
    assert!(world.answer(&update, 500, "Retry-After: 3\r\n").is_none());
    world.pass(Duration::from_millis(2_999));
    assert!(world.sent().is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.one().cseq().0, update.cseq().0 + SEQ_LEAP + 1);
}

#[test]
fn asks_once_more_before_it_takes_the_dialog_for_gone() {
    for status_code in [481, 408] {
        let mut world = World::new(Side::Outbound, "UPDATE");
        world.refresh();
        let first = world.one();
        assert!(world.answer(&first, status_code, "").is_none());
        let second = world.one();
        let event = world.answer(&second, status_code, "");
        assert!(is_failed(event, status_code, true), "{event:?}");
    }
}

#[test]
fn takes_silence_for_a_408() {
    let mut world = World::new(Side::Outbound, "UPDATE");
    world.refresh();
    world.one();
    assert!(world.fail(Failure::Timeout).is_none());
    world.one();
    let event = world.fail(Failure::Timeout);
    assert!(is_failed(event, 408, true), "{event:?}");
}

#[test]
fn leaves_the_call_up_whatever_else_it_is_refused_with() {
    for status_code in [401, 403, 407, 488, 503, 603] {
        let mut world = World::new(Side::Outbound, "UPDATE");
        world.refresh();
        let update = world.one();
        let event = world.answer(&update, status_code, "");
        assert!(is_failed(event, status_code, false), "{event:?}");
    }
}

#[test]
fn does_not_ask_for_ever() {
    let mut world = World::new(Side::Outbound, "UPDATE");
    world.refresh();
    for _ in 1..MAX_TRIES {
        let update = world.one();
        assert!(world.answer(&update, 491, "").is_none());
        world.pass(Duration::from_secs(4));
    }
    let update = world.one();
    assert!(is_failed(world.answer(&update, 491, ""), 491, false));
}

#[test]
fn waits_for_the_invite_of_the_peer_and_refuses_one_that_meets_its_own() {
    let mut world = World::new(Side::Outbound, "INVITE");
    let request = world.peers_invite(1);
    assert!(matches!(world.receive(&request), Some(LegEvent::Offered(_))));
    world.sent();
    world.refresh();
    world.pass(Duration::from_secs(2));
    assert!(world.sent().is_empty());
    world.leg.refuse(&mut world.cx, 488, None);
    world.sent();
    world.pass(Duration::from_secs(1));
    let invite = world.one();
    assert_eq!(invite.method(), Method::Invite);
    let request = world.peers_invite(2);
    assert!(world.receive(&request).is_none());
    assert_eq!(world.one().status_code(), 491);
    // The other side's has to wait as well.
    assert!(!world.leg.modify(&mut world.cx, Some(crate::call::Carried::of(&request))));
}

#[test]
fn acknowledges_an_answer_that_comes_when_the_call_is_over_and_asks_no_more() {
    let mut world = World::new(Side::Outbound, "INVITE");
    world.refresh();
    let invite = world.one();
    world.answer(&invite, 100, "");
    world.leg.close(&mut world.cx);
    world.answer(&invite, 200, "");
    assert_eq!(world.one().method(), Method::Ack);
    let mut world = World::new(Side::Outbound, "INVITE");
    world.refresh();
    let invite = world.one();
    world.leg.close(&mut world.cx);
    assert!(world.answer(&invite, 491, "").is_none());
    assert_eq!(world.leg.poll_timeout(), None);
}

#[test]
fn remembers_what_it_offered_once_the_peer_has_taken_it() {
    let changed = SDP.replace("7 3", "7 4");
    for (status_code, kept) in [(200, changed.as_str()), (488, SDP)] {
        let mut world = World::new(Side::Outbound, "INVITE");
        let request = with_body(&world.peers_invite(9), &changed);
        assert!(world.leg.modify(&mut world.cx, Some(crate::call::Carried::of(&request))));
        let invite = world.one();
        assert_eq!(header_policy::body(crate::call::Carried::of(&invite)), changed.as_bytes());
        let client = world.cx.transactions.client_of(&answer_to(&invite, status_code, ""));
        let client = client.expect("its transaction");
        let response = answer_to(&invite, status_code, "");
        world.leg.on_invite_response(&mut world.cx, client, &response);
        assert_eq!(world.leg.description.as_deref(), Some(kept.as_bytes()));
    }
}

fn is_failed(event: Option<LegEvent<'static>>, code: u16, is_gone: bool) -> bool {
    matches!(event, Some(LegEvent::RefreshFailed { status_code, is_dialog_gone })
        if status_code == code && is_dialog_gone == is_gone)
}

struct World {
    cx: Context,
    leg: Leg,
}

impl World {
    fn new(side: Side, allow: &str) -> Self {
        Self::seeded(1, side, allow)
    }

    fn seeded(seed: u64, side: Side, allow: &str) -> Self {
        let own = "203.0.113.1:5060".parse().expect("an address");
        let settings = Settings {
            listeners: vec![Listener {
                transport: Transport::Udp,
                address: own,
                advertised: "203.0.113.1:5060".into(),
            }],
            ..Settings::default()
        };
        let cx = Context::new(settings, seed, base(), SystemTime::UNIX_EPOCH);
        let dialog = Dialog {
            call_id: (*b"c").into(),
            local_tag: Tag(1),
            remote_tag: (*b"b").into(),
            local: (*b"<sip:a@203.0.113.1>;tag=0000000000000001").into(),
            remote: (*b"<sip:b@198.51.100.1>;tag=b").into(),
            local_seq: 1,
            remote_seq: None,
            remote_target: (*b"sip:b@198.51.100.1:5060").into(),
            route_set: Box::default(),
            is_behind_nat: false,
            is_secure: false,
            targets: 0,
        };
        let remote = "198.51.100.1:5060".parse().expect("an address");
        let flow = Flow::new(ListenerId(0), remote);
        let call = SlotMap::<CallKey, ()>::with_key().insert(());
        let mut leg = Leg::new(call, side, dialog, flow);
        leg.trunk = (side == Side::Outbound)
            .then_some(Trunk { carrier_id: CarrierId(1), contact_user: None });
        leg.allows_update = allow.contains("UPDATE");
        leg.description = Some(SDP.as_bytes().into());
        Self { cx, leg }
    }

    fn refresh(&mut self) {
        self.leg.refresh(&mut self.cx);
    }

    fn sent(&mut self) -> Vec<Message> {
        let outputs = self.cx.outputs.drain(..);
        outputs
            .filter_map(|output| match output {
                Output::Send { bytes, .. } => Some(Message::parse(bytes).expect("SIP")),
                _ => None,
            })
            .collect()
    }

    fn one(&mut self) -> Message {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    fn answer(
        &mut self,
        request: &Message,
        status_code: u16,
        lines: &str,
    ) -> Option<LegEvent<'static>> {
        let response = answer_to(request, status_code, lines);
        let client = self.cx.transactions.client_of(&response).expect("its transaction");
        self.leg.on_refresh_response(&mut self.cx, client, Ok(&response))
    }

    fn fail(&mut self, failure: Failure<'_>) -> Option<LegEvent<'static>> {
        let State::Sent { client, .. } = self.leg.refresh.as_ref().expect("a refresh").state else {
            panic!("nothing was sent");
        };
        self.leg.on_refresh_response(&mut self.cx, client, Err(failure))
    }

    fn pass(&mut self, time: Duration) {
        let end = self.cx.now + time;
        while let Some(at) = self.leg.poll_timeout().filter(|at| *at <= end) {
            self.cx.now = self.cx.now.max(at);
            assert!(self.leg.on_timeout(&mut self.cx).is_none());
        }
        self.cx.now = end;
    }

    fn peers_invite(&self, seq: u32) -> Message {
        let dialog = &self.leg.dialog;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        parse(format!(
            "INVITE sip:203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK{seq}\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: c\r\nCSeq: {seq} INVITE\r\n\
             Contact: <sip:b@198.51.100.1:5060>\r\nContent-Length: 0\r\n\r\n",
            text(&dialog.remote),
            text(&dialog.local)
        ))
    }

    fn receive<'a>(&mut self, request: &'a Message) -> Option<LegEvent<'a>> {
        let flow = self.leg.flow;
        let server =
            self.cx.transactions.open_server(request.clone(), flow, flow.remote, false, false);
        self.leg.on_request(&mut self.cx, server, request)
    }
}

fn with_body(message: &Message, body: &str) -> Message {
    let text = String::from_utf8_lossy(message.bytes()).into_owned();
    let length = body.len();
    let content =
        format!("Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{body}");
    parse(text.replace("Content-Length: 0\r\n\r\n", &content))
}

fn answer_to(request: &Message, status_code: u16, lines: &str) -> Message {
    let text = |name| String::from_utf8_lossy(request.first(name).expect("a header")).into_owned();
    parse(format!(
        "SIP/2.0 {status_code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         {lines}Content-Length: 0\r\n\r\n",
        text(HeaderName::Via),
        text(HeaderName::From),
        text(HeaderName::To),
        text(HeaderName::CallId),
        text(HeaderName::CSeq)
    ))
}

fn parse(text: String) -> Message {
    Message::parse(Bytes::from(text)).expect("SIP")
}

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn base() -> Instant {
    Instant::now()
}
