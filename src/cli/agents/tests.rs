//! Callers and carriers that talk to each other, or to a router that a test plays, in virtual time.

use super::*;
use crate::sip::{HeaderName, Printer};

const CALLER: &str = "192.0.2.1:5060";
const CARRIER: &str = "192.0.2.2:5060";
const OTHER: &str = "192.0.2.3:5060";
const SOON: Duration = Duration::from_millis(200);

/// A caller whose only node is the carrier itself.
struct World {
    now: Instant,
    caller: Caller,
    carrier: Carrier,
    /// Datagrams that nobody here takes.
    astray: Vec<(SocketAddr, Message)>,
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

impl World {
    fn new(behaviour: Behaviour, nodes: &[&str]) -> Self {
        let settings = CallerSettings {
            nodes: nodes.iter().map(|node| address(node)).collect(),
            leave_after: Duration::from_secs(2),
            prefix: "t".to_owned(),
            calling: "100".to_owned(),
            called_prefix: "+999".to_owned(),
        };
        let of_carrier = CarrierSettings { behaviour, prefix: "c".to_owned() };
        Self {
            now: Instant::now(),
            caller: Caller::new(address(CALLER), settings),
            carrier: Carrier::new(address(CARRIER), of_carrier),
            astray: Vec::new(),
        }
    }

    /// Carries datagrams until there are none, then lets time pass.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.settle();
            if self.now >= until {
                return;
            }
            self.now += Duration::from_millis(10);
            self.caller.handle_timeout(self.now);
            self.carrier.handle_timeout(self.now);
        }
    }

    fn settle(&mut self) {
        loop {
            let of_caller = self.caller.poll_output().map(|sent| (address(CALLER), sent));
            let of_carrier = || self.carrier.poll_output().map(|sent| (address(CARRIER), sent));
            let Some((from, (to, octets))) = of_caller.or_else(of_carrier) else { return };
            let message = Message::parse(octets).expect("agents send SIP");
            if to == address(CALLER) {
                self.caller.handle(&message, from, self.now);
            } else if to == address(CARRIER) {
                self.carrier.handle(&message, from, self.now);
            } else {
                self.astray.push((to, message));
            }
        }
    }

    fn of_caller(&mut self) -> Vec<CallerNews> {
        std::iter::from_fn(|| self.caller.poll_news()).map(|(_, _, news)| news).collect()
    }

    fn of_carrier(&mut self) -> Vec<CarrierNews> {
        std::iter::from_fn(|| self.carrier.poll_news()).map(|(_, _, news)| news).collect()
    }

    /// One call that is answered.
    fn answered() -> Self {
        let mut world = Self::new(Behaviour::Answers, &[CARRIER]);
        world.caller.call(0, world.now);
        world.wait(SOON);
        let tried =
            CallerNews::Tried { call: 1, node: address(CARRIER), call_id: "t-1".to_owned() };
        assert_eq!(world.of_caller(), [tried, CallerNews::Rang, CallerNews::Answered]);
        assert_eq!(world.of_carrier(), [CarrierNews::Rang, CarrierNews::Answered]);
        world
    }

    /// The carrier's side gets a request of the caller's dialog, as another node at OTHER would send it.
    fn other_sends(&mut self, method: &str, seq: u32, to_tag: &str) -> u16 {
        let body = if method == "INVITE" { SDP } else { b"" };
        let mut printer = Printer::request(method.as_bytes(), b"sip:carrier@192.0.2.2");
        printer
            .header_fmt(
                HeaderName::Via,
                format_args!("SIP/2.0/UDP {OTHER};rport;branch=z9hG4bKother{seq}{method}"),
            )
            .header_fmt(HeaderName::From, format_args!("<sip:100@{CALLER}>;tag=t-1"))
            .header_fmt(HeaderName::To, format_args!("<sip:+9990000001@{CARRIER}>;tag={to_tag}"))
            .header(HeaderName::CallId, b"t-1")
            .header_fmt(HeaderName::CSeq, format_args!("{seq} {method}"))
            .header(HeaderName::MaxForwards, b"70")
            .header_fmt(HeaderName::Contact, format_args!("<sip:other@{OTHER}>"));
        let request = Message::parse(printer.finish(body)).expect("it reads");
        assert_eq!(request.defect(), None);
        self.carrier.handle(&request, address(OTHER), self.now);
        self.settle();
        let (to, answer) = self.astray.pop().expect("an answer");
        assert_eq!(to, address(OTHER));
        answer.status_code()
    }
}

#[test]
fn a_call_is_set_up_and_hung_up_from_either_side() {
    for by_caller in [true, false] {
        let mut world = World::answered();
        let now = world.now;
        let is_begun = match by_caller {
            true => world.caller.hang_up(1, now),
            false => world.carrier.hang_up(1, now),
        };
        assert!(is_begun);
        world.wait(SOON);
        let peer = End::ByPeer { reason: None };
        let (caller, carrier) = if by_caller { (End::ByUs, peer) } else { (peer, End::ByUs) };
        assert_eq!(world.of_caller(), [CallerNews::Ended(caller)]);
        assert_eq!(world.of_carrier(), [CarrierNews::Ended(carrier)]);
        assert!(!world.caller.hang_up(1, now), "it is over");
        assert_eq!(world.carrier.counts(), (1, 1));
    }
}

#[test]
fn who_is_refreshed_hangs_up_towards_the_new_target() {
    for method in ["UPDATE", "INVITE"] {
        let mut world = World::answered();
        assert_eq!(world.other_sends(method, 7_000, "c-1"), 200);
        assert_eq!(world.of_carrier(), [CarrierNews::Moved(address(OTHER))]);
        assert_eq!(world.other_sends(method, 7_001, "c-1"), 200);
        assert_eq!(world.of_carrier(), [], "it is there already");
        world.carrier.hang_up(1, world.now);
        world.settle();
        let (to, bye) = world.astray.pop().expect("a BYE");
        assert_eq!((to, bye.method_text()), (address(OTHER), &b"BYE"[..]));
        assert_eq!(bye.request_uri(), format!("sip:other@{OTHER}").as_bytes());
        assert_eq!(world.other_sends(method, 7_002, "c-1"), 481, "over for who sent the BYE");
    }
}

#[test]
fn a_dialog_wants_its_tags_and_rising_numbers() {
    let mut world = World::answered();
    assert_eq!(world.other_sends("UPDATE", 7, "c-2"), 481);
    assert_eq!(world.other_sends("UPDATE", 7, "c-1"), 200);
    assert_eq!(world.other_sends("UPDATE", 7, "c-1"), 200, "the same one again");
    assert_eq!(world.other_sends("UPDATE", 6, "c-1"), 500);
}

#[test]
fn a_bye_without_an_answer_is_given_up_after_32_seconds() {
    let mut world = World::answered();
    world.carrier.behave(Behaviour::Swallows);
    world.caller.hang_up(1, world.now);
    world.wait(Duration::from_secs(31));
    assert_eq!(world.of_caller(), []);
    world.wait(Duration::from_secs(2));
    assert_eq!(world.of_caller(), [CallerNews::Ended(End::ByeUnanswered)]);
}

#[test]
fn a_2xx_is_sent_until_it_is_acknowledged() {
    let mut world = World::new(Behaviour::Answers, &[OTHER]);
    world.caller.call(0, world.now);
    world.settle();
    let (_, invite) = world.astray.pop().expect("an INVITE");
    world.carrier.handle(&invite, address(OTHER), world.now);
    world.wait(Duration::from_secs(4));
    let oks = world.astray.iter().filter(|(_, message)| message.status_code() == 200).count();
    assert_eq!(oks, 4, "at 0.15, 0.65, 1.65 and 3.65 s");
    assert_eq!(world.other_sends("ACK", 1, "c-1"), 200, "the last 2xx: an ACK is not answered");
    world.astray.clear();
    world.wait(Duration::from_secs(8));
    world.astray.retain(|(_, message)| message.status_code() == 200);
    assert!(world.astray.is_empty());
}

#[test]
fn a_node_that_does_not_answer_is_left_for_the_next() {
    let mut world = World::new(Behaviour::Answers, &[OTHER, CARRIER]);
    assert_eq!(world.caller.call(0, world.now), 1);
    world.wait(Duration::from_secs(3));
    let tried = |node: &str, call_id: &str| CallerNews::Tried {
        call: 1,
        node: address(node),
        call_id: call_id.to_owned(),
    };
    assert_eq!(
        world.of_caller(),
        [
            tried(OTHER, "t-1"),
            CallerNews::Left { was_heard: false },
            tried(CARRIER, "t-2"),
            CallerNews::Rang,
            CallerNews::Answered,
        ]
    );
    assert_eq!(world.astray.len(), 3, "at 0, 0.5 and 1.5 s");

    // The first node wakes up: whatever it says comes too late.
    let (_, invite) = world.astray.pop().expect("the INVITE");
    world.astray.clear();
    let respond = |world: &mut World, code| {
        let mut printer = Printer::response_to(&invite, code, b"", Some(b"late"), address(CALLER));
        printer.header_fmt(HeaderName::Contact, format_args!("<sip:late@{OTHER}>"));
        let response = Message::parse(printer.finish(b"")).expect("it reads");
        world.caller.handle(&response, address(OTHER), world.now);
        world.settle();
        let sent = world.astray.drain(..);
        sent.map(|(_, sent)| String::from_utf8_lossy(sent.method_text()).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(respond(&mut world, 180), ["CANCEL"]);
    assert_eq!(respond(&mut world, 180), Vec::<String>::new(), "once");
    assert_eq!(respond(&mut world, 200), ["ACK", "BYE"]);
    assert_eq!(world.of_caller(), [CallerNews::Answered]);
}

#[test]
fn a_call_is_lost_when_no_node_is_left() {
    let mut world = World::new(Behaviour::Refuses, &[CARRIER, OTHER]);
    world.caller.call(0, world.now);
    world.wait(Duration::from_secs(3));
    let news = world.of_caller();
    assert_eq!(news[1], CallerNews::Refused(503), "which another server may do better");
    assert_eq!(news[3..], [CallerNews::Left { was_heard: false }, CallerNews::Lost]);
    assert_eq!(world.carrier.counts(), (1, 0));
}

#[test]
fn what_rings_for_ever_is_cancelled() {
    let mut world = World::new(Behaviour::Answers, &[CARRIER]);
    world.caller.call(0, world.now);
    world.settle();
    world.carrier.behave(Behaviour::Swallows);
    // The answer is on its way, but the caller does not hear it.
    world.carrier.handle_timeout(world.now + Duration::from_secs(60));
    while world.carrier.poll_output().is_some() {}
    world.now += Duration::from_secs(16);
    world.caller.handle_timeout(world.now);
    let cancel = world.caller.poll_output().map(|(to, octets)| (to, octets.starts_with(b"CANCEL")));
    assert_eq!(cancel, Some((address(CARRIER), true)));
    assert_eq!(world.of_caller()[2..], [CallerNews::Left { was_heard: true }, CallerNews::Lost]);
}

#[test]
fn a_carrier_that_swallows_calls_answers_everything_else() {
    let mut world = World::answered();
    world.carrier.behave(Behaviour::SwallowsCalls);
    world.caller.call(0, world.now);
    world.caller.hang_up(1, world.now);
    world.wait(SOON);
    let news = world.of_caller();
    assert_eq!(news.last(), Some(&CallerNews::Ended(End::ByUs)));
    assert!(!news.contains(&CallerNews::Rang));
    assert_eq!(world.carrier.counts(), (2, 1));
}

#[test]
fn a_dead_carrier_forgets_what_rang_and_keeps_what_talks() {
    let mut world = World::answered();
    world.caller.call(0, world.now);
    world.settle();
    world.carrier.behave(Behaviour::Dead);
    assert!(!world.carrier.is_open());
    world.carrier.behave(Behaviour::Answers);
    world.of_carrier();
    world.wait(SOON);
    assert_eq!(world.of_carrier(), [], "nobody answers the second call");
    world.carrier.hang_up(1, world.now);
    world.wait(SOON);
    assert_eq!(world.of_carrier(), [CarrierNews::Ended(End::ByUs)]);
}

#[test]
fn half_of_the_callees_understand_update() {
    let mut world = World::new(Behaviour::Answers, &[OTHER]);
    let mut allows = Vec::new();
    for _ in 0..4 {
        world.caller.call(0, world.now);
        world.settle();
        let (_, invite) = world.astray.pop().expect("an INVITE");
        world.carrier.handle(&invite, address(OTHER), world.now);
        world.wait(SOON);
        let ok =
            world.astray.drain(..).map(|(_, message)| message).find(|m| m.status_code() == 200);
        let allow = ok.expect("a 200").first(HeaderName::Allow).expect("an Allow").to_vec();
        allows.push(String::from_utf8_lossy(&allow).contains("UPDATE"));
    }
    assert_eq!(allows, [true, false, false, true]);
}
