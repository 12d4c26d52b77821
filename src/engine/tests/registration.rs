//! Carriers that want to be registered with.

use super::*;
use crate::carrier::rows::{CarrierCredentialsRow, RegistrationRow};
use crate::digest::{Credentials, Hidden};

#[test]
fn registers_with_credentials_and_again_before_it_runs_out_under_one_call_id() {
    let mut world = world();
    let first = asked(&mut world);
    assert_eq!(first.request_uri(), b"sip:carrier.example");
    assert_eq!(first.first(HeaderName::To), Some(&b"<sip:4930123@carrier.example>"[..]));
    let contact = &b"<sip:trunk-1@203.0.113.1:5060>"[..];
    assert_eq!(first.first(HeaderName::Contact), Some(contact));
    assert_eq!(first.first(HeaderName::Expires), Some(&b"300"[..]));
    world.carrier_sends(FIRST, &challenge(&first));
    let again = asked(&mut world);
    assert_eq!((again.call_id(), again.cseq().0), (first.call_id(), 2));
    let field = again.first(HeaderName::Authorization).expect("credentials");
    assert_eq!(Credentials::parse(field).and_then(|it| it.username()).as_deref(), Some("user"));
    assert_eq!(registrations(&mut world), []);
    let granted = "Contact: <sip:other@192.0.2.200>;expires=30, <sip:trunk-1@203.0.113.1:5060>;expires=120\r\n";
    world.carrier_sends(FIRST, &answer(&again, 200, granted));
    assert_eq!(registrations(&mut world), [(FIRST.to_owned(), true)]);
    assert_eq!(
        events(&mut world),
        [Event::Registered { gateway: "gateway-1".into(), address: Some(address(FIRST)) }]
    );
    world.pass(Duration::from_secs(89));
    assert!(world.sent().is_empty());
    world.pass(Duration::from_secs(1));
    let refresh = asked(&mut world);
    // Its nonce is still good, and saves the round trip.
    assert_eq!((refresh.call_id(), refresh.cseq().0), (first.call_id(), 3));
    let count =
        |message: &Message| Credentials::parse(message.first(HeaderName::Authorization)?)?.count();
    assert_eq!((count(&again), count(&refresh)), (Some(1), Some(2)));
}

#[test]
fn an_invite_carries_the_contact_that_is_registered() {
    let mut world = world();
    let register = asked(&mut world);
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    assert_eq!(outbound.first(HeaderName::Contact), register.first(HeaderName::Contact));
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let ok = world.sent()[1].1.clone();
    assert_eq!(ok.first(HeaderName::Contact), Some(&b"<sip:203.0.113.1:5060>"[..]));
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    world.caller_sends(&in_dialog(&ok, "INVITE", 2, CHANGED_SDP));
    let reinvite = world.sent()[1].1.clone();
    assert_eq!(reinvite.first(HeaderName::Contact), register.first(HeaderName::Contact));
}

#[test]
fn asks_for_as_long_as_the_registrar_wants() {
    let mut world = world();
    let first = asked(&mut world);
    world.carrier_sends(FIRST, &answer(&first, 423, "Min-Expires: 1800\r\n"));
    let longer = asked(&mut world);
    assert_eq!(longer.first(HeaderName::Expires), Some(&b"1800"[..]));
    assert_eq!((longer.call_id(), longer.cseq().0), (first.call_id(), 2));
    // Nothing but the Expires of all contacts says how long it is.
    world.carrier_sends(FIRST, &answer(&longer, 200, "Expires: 40\r\n"));
    world.pass(Duration::from_secs(30));
    assert_eq!(asked(&mut world).first(HeaderName::Expires), Some(&b"1800"[..]));
}

#[test]
fn goes_to_the_gateways_next_address_when_one_refuses_or_is_silent_and_pauses_after_the_last() {
    let mut world = world();
    let first = asked(&mut world);
    world.carrier_sends(FIRST, &answer(&first, 503, "Retry-After: 20 (busy)\r\n"));
    let (to, _) = world.sent().remove(0);
    assert_eq!(to, OTHER);
    let told =
        Event::NotRegistered { gateway: "gateway-1".into(), status_code: 503, reason: "X".into() };
    assert_eq!(events(&mut world), [told]);
    world.pass(Duration::from_millis(3_999));
    assert!(world.sent().iter().all(|(to, _)| to == OTHER), "it is repeated");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.engine.counters().registrations_refused, 2);
    world.pass(Duration::from_secs(5));
    assert_eq!(asked(&mut world).cseq().0, 3);
}

#[test]
fn wrong_credentials_are_not_tried_twice() {
    let mut world = world();
    world.view(&[(1, FIRST)]);
    let first = asked(&mut world);
    world.carrier_sends(FIRST, &challenge(&first));
    let again = asked(&mut world);
    world.carrier_sends(FIRST, &challenge(&again).replace("n1", "n2"));
    assert!(world.sent().is_empty());
    let numbers = |world: &mut World| -> Vec<u32> {
        world.sent().iter().map(|(_, register)| register.cseq().0).collect()
    };
    world.pass(Duration::from_secs(2));
    assert!(numbers(&mut world).is_empty());
    world.pass(Duration::from_secs(3));
    assert_eq!(numbers(&mut world)[0], 3, "later, for somebody may have mended it");
}

#[test]
fn moves_when_the_target_it_is_registered_with_goes_down() {
    let mut world = world();
    let first = asked(&mut world);
    world.carrier_sends(FIRST, &answer(&first, 200, "Expires: 300\r\n"));
    registrations(&mut world);
    let down =
        |view: TargetView| TargetView { reachability: crate::health::Reachability::Down, ..view };
    world.view_with(&[(1, FIRST), (1, OTHER)], |view| {
        if view.target.address == address(FIRST) { down(view) } else { view }
    });
    let (to, register) = world.sent().remove(0);
    assert_eq!(to, OTHER);
    world.receive(OTHER, &answer(&register, 200, "Expires: 300\r\n"));
    assert_eq!(registrations(&mut world), [(FIRST.to_owned(), false), (OTHER.to_owned(), true)]);
}

#[test]
fn gives_its_registrations_back_when_the_node_drains() {
    let mut world = world();
    let first = asked(&mut world);
    world.carrier_sends(FIRST, &answer(&first, 200, "Expires: 300\r\n"));
    registrations(&mut world);
    world.engine.handle_command(Command::Drain, world.now);
    let last = asked(&mut world);
    assert_eq!(last.first(HeaderName::Expires), Some(&b"0"[..]));
    assert_eq!(last.first(HeaderName::Contact), first.first(HeaderName::Contact));
    assert_eq!(world.engine.counters().registrations_now, 1);
    world.carrier_sends(FIRST, &answer(&last, 200, ""));
    assert_eq!(registrations(&mut world), [(FIRST.to_owned(), false)]);
    assert_eq!(world.engine.counters().registrations_now, 0);
    world.run_dry();
}

#[test]
fn follows_the_tables() {
    type Change = fn(&mut Rows);
    let ends: [Change; 3] = [
        |rows| rows.registrations.clear(),
        |rows| rows.gateways[0].admin_state = "off".to_owned(),
        |rows| rows.carriers[0].enabled = false,
    ];
    for end in ends {
        let mut world = world();
        let first = asked(&mut world);
        world.carrier_sends(FIRST, &answer(&first, 200, "Expires: 300\r\n"));
        world.tables(end);
        let last = asked(&mut world);
        assert_eq!(last.first(HeaderName::Expires), Some(&b"0"[..]));
        assert!(world.sent().is_empty());
    }
    let mut world = world();
    let first = asked(&mut world);
    world.carrier_sends(FIRST, &answer(&first, 200, "Expires: 300\r\n"));
    world.tables(|_| {});
    assert!(world.sent().is_empty(), "nothing has changed");
    world.tables(|rows| rows.registrations[0].aor = "sip:new@carrier.example".to_owned());
    let sent = world.sent();
    let expires: Vec<_> = sent.iter().map(|(_, it)| it.first(HeaderName::Expires)).collect();
    assert_eq!(expires, [Some(&b"0"[..]), Some(&b"300"[..])]);
    assert_ne!(sent[0].1.call_id(), sent[1].1.call_id());
}

#[test]
fn one_shard_of_a_node_registers_and_the_others_do_not() {
    let mut world = World::with(with_registration);
    assert!(world.sent().is_empty());
    world.engine.handle_command(Command::Register, world.now);
    assert_eq!(world.sent().len(), 1);
}

/// The gateway's other address.
const OTHER: &str = "198.51.100.11:5060";

fn world() -> World {
    let mut world = World::with(with_registration);
    world.view(&[(1, FIRST), (1, OTHER), (2, SECOND)]);
    world.engine.handle_command(Command::Register, world.now);
    world
}

fn with_registration(rows: &mut Rows) {
    rows.registrations = vec![RegistrationRow {
        gateway_id: 1,
        aor: "sip:4930123@carrier.example".to_owned(),
        contact_user: Some("trunk-1".to_owned()),
        ..RegistrationRow::default()
    }];
    rows.carrier_credentials = vec![CarrierCredentialsRow {
        carrier_id: 1,
        username: "user".to_owned(),
        password: Some(Hidden::new("secret".to_owned())),
        ..CarrierCredentialsRow::default()
    }];
}

impl World {
    fn view(&mut self, targets: &[(i64, &str)]) {
        self.view_with(targets, |view| view);
    }

    fn view_with(&mut self, targets: &[(i64, &str)], change: impl Fn(TargetView) -> TargetView) {
        let view = |(id, at): &(i64, &str)| {
            let target = Target { gateway_id: GatewayId(*id), address: address(at) };
            Arc::new(change(TargetView::unknown(target)))
        };
        let view = View::new(targets.iter().map(view).collect());
        self.engine.handle_command(Command::View(Arc::new(view)), self.now);
    }

    fn tables(&mut self, change: impl FnOnce(&mut Rows)) {
        let mut rows = rows();
        with_registration(&mut rows);
        change(&mut rows);
        let tables = Tables::check(rows, 2).expect("good rows");
        self.engine.handle_command(Command::Tables(Arc::new(tables)), self.now);
    }
}

/// The one REGISTER that was sent, to the first address.
fn asked(world: &mut World) -> Message {
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_first("REGISTER")]);
    sent[0].1.clone()
}

fn answer(register: &Message, status_code: u16, line: &str) -> String {
    let text = response(register, status_code, "r", "x", "");
    let without = text.replace("Contact: <sip:x>\r\n", "");
    without.replace("Content-Length", &format!("{line}Content-Length"))
}

fn challenge(register: &Message) -> String {
    let line = "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n1\", qop=\"auth\"\r\n";
    answer(register, 401, line)
}

/// What the board was told since the last look.
fn registrations(world: &mut World) -> Vec<(String, bool)> {
    let told = |outcome: Outcome| match outcome.evidence {
        Evidence::Registration { is_registered } => {
            Some((outcome.target.address.to_string(), is_registered))
        }
        _ => None,
    };
    world.outcomes().into_iter().filter_map(told).collect()
}

fn events(world: &mut World) -> Vec<Event> {
    let events = world.outputs.iter().filter_map(|output| match output {
        Output::Event(event) => Some(event.clone()),
        _ => None,
    });
    events.collect()
}
