//! TCP and TLS beside UDP: which way each message goes, and what becomes of it there.

use super::*;

const UDP: ListenerId = ListenerId(0);
const TCP: ListenerId = ListenerId(1);
const TLS: ListenerId = ListenerId(2);
/// The port that the caller's connection comes from.
const CONNECTION: &str = "192.0.2.9:43210";

fn with_first_by(transport: &str) -> World {
    World::with(|rows| transport.clone_into(&mut rows.gateways[0].transport))
}

fn receive_on(world: &mut World, flow: Flow, text: &str) {
    let bytes = Bytes::from(text.to_owned());
    world.engine.handle_received(Received { bytes, flow }, world.now);
    world.drain();
}

/// By which way each message went.
fn sent(world: &mut World) -> Vec<(Flow, Message)> {
    world.drain();
    let mut sent = Vec::new();
    world.outputs.retain(|output| {
        let Output::Send { flow, bytes } = output else { return true };
        sent.push((*flow, Message::parse(bytes.clone()).expect("we print what we can read")));
        false
    });
    sent
}

/// An INVITE as one that came over a stream.
fn over(transport: &str, contact: &str) -> String {
    invite("1")
        .replace("SIP/2.0/UDP", &format!("SIP/2.0/{transport}"))
        .replace(&format!("<sip:caller@{CALLER}>"), contact)
}

fn text(message: &Message, name: HeaderName) -> String {
    String::from_utf8_lossy(message.first(name).unwrap_or_default()).into_owned()
}

/// The flow of the BYE that we send to the caller of an answered call.
fn bye_to_caller(flow: Flow, transport: &str, contact: &str) -> Flow {
    let mut world = World::new();
    receive_on(&mut world, flow, &over(transport, contact));
    let outbound = sent(&mut world)[1].1.clone();
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let mut answered = sent(&mut world);
    let (ok, ack) = (answered.remove(1), answered.remove(0).1);
    assert_eq!(ok.0.remote, flow.remote);
    receive_on(&mut world, flow, &in_dialog(&ok.1, "ACK", 1, ""));
    world.carrier_sends(FIRST, &from_carrier(&ack, "BYE", 1, ""));
    let byes = sent(&mut world).into_iter().find(|(_, it)| it.is_request());
    byes.expect("the caller is told").0
}

#[test]
fn answers_on_the_connection_and_names_where_to_connect_when_that_is_gone() {
    let mut world = World::new();
    let flow = Flow::new(TCP, address(CONNECTION));
    receive_on(&mut world, flow, &over("TCP", "<sip:caller@192.0.2.9:5080;transport=tcp>"));
    let (trying, _) = sent(&mut world).remove(0);
    assert_eq!(trying, Flow { fallback: Some(address(CALLER)), ..flow });
    let stateless = out_of_dialog("OPTIONS", "").replace("UDP 192.0.2.9:5080", "TLS 192.0.2.9");
    let flow = Flow::new(TLS, address(CONNECTION));
    receive_on(&mut world, flow, &stateless);
    let fallback = Some(address("192.0.2.9:5061"));
    assert_eq!(sent(&mut world)[0].0, Flow { fallback, ..flow });
}

#[test]
fn reaches_a_caller_by_its_connection_unless_its_contact_names_another_way() {
    let (tcp, tls) = (Flow::new(TCP, address(CONNECTION)), Flow::new(TLS, address(CONNECTION)));
    let fallback = Some(address("192.0.2.9:5080"));
    for (contact, flow) in [
        ("<sip:c@192.0.2.9:5080;transport=tcp>", Flow { fallback, ..tcp }),
        ("<sip:c@192.0.2.9:5080>", Flow { fallback, ..tcp }),
        ("<sip:c@pbx.example.com;transport=tcp>", tcp),
        ("<sip:c@192.0.2.9:5080;transport=udp>", Flow::new(UDP, address("192.0.2.9:5080"))),
        ("<sip:c@192.0.2.77:5080;transport=tcp>", Flow::new(TCP, address("192.0.2.77:5080"))),
    ] {
        assert_eq!(bye_to_caller(tcp, "TCP", contact), flow, "{contact}");
    }
    // What came by TLS is not sent in the clear, whatever a Contact says.
    for contact in ["<sip:c@192.0.2.9:5080;transport=udp>", "<sips:c@192.0.2.9:5080>"] {
        let expected = Flow { fallback, ..tls };
        assert_eq!(bye_to_caller(tls, "TLS", contact), expected, "{contact}");
    }
    let udp = Flow::new(UDP, address(CALLER));
    let by_tcp = bye_to_caller(udp, "UDP", "<sip:c@192.0.2.9:5070;transport=tcp>");
    assert_eq!(by_tcp, Flow::new(TCP, address("192.0.2.9:5070")));
}

#[test]
fn follows_the_transport_of_a_record_route() {
    let mut world = World::new();
    let routed = invite("1").replace(
        "Max-Forwards",
        "Record-Route: <sip:192.0.2.9:5090;transport=tcp;lr>\r\nMax-Forwards",
    );
    world.caller_sends(&routed);
    let outbound = sent(&mut world)[1].1.clone();
    world.answer(FIRST, &outbound, 200, "b1", SDP);
    let mut answered = sent(&mut world);
    let (ok, ack) = (answered.remove(1).1, answered.remove(0).1);
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    world.carrier_sends(FIRST, &from_carrier(&ack, "INFO", 1, ""));
    let (flow, info) = sent(&mut world).remove(0);
    assert_eq!(info.method(), Method::Info);
    assert_eq!(flow, Flow::new(TCP, address("192.0.2.9:5090")));
    assert!(text(&info, HeaderName::Via).starts_with("SIP/2.0/TCP 203.0.113.1:5060;"));
}

#[test]
fn says_once_what_a_reliable_transport_carries() {
    for (transport, via, contact) in [
        ("tcp", "SIP/2.0/TCP 203.0.113.1:5060;", "<sip:203.0.113.1:5060;transport=tcp>"),
        ("tls", "SIP/2.0/TLS 203.0.113.1:5061;", "<sip:203.0.113.1:5061;transport=tls>"),
    ] {
        let mut world = with_first_by(transport);
        world.caller_sends(&invite("1"));
        let (flow, outbound) = sent(&mut world).remove(1);
        let listener = if transport == "tcp" { TCP } else { TLS };
        assert_eq!(flow, Flow::to_gateway(listener, address(FIRST), GatewayId(1)));
        assert!(text(&outbound, HeaderName::Via).starts_with(via));
        assert_eq!(text(&outbound, HeaderName::Contact), contact);
        world.pass(Duration::from_millis(1_799));
        assert!(sent(&mut world).is_empty(), "{transport}: it is repeated");
        world.pass(Duration::from_millis(1));
        assert_eq!(sent(&mut world)[0].0.remote, address(SECOND), "silence is not waited for");
    }
    let mut world = World::new();
    let flow = Flow::new(TCP, address(CONNECTION));
    receive_on(&mut world, flow, &over("TCP", "<sip:c@192.0.2.9:5080;transport=tcp>"));
    let outbound = sent(&mut world)[1].1.clone();
    world.answer(FIRST, &outbound, 486, "b1", "");
    let refusals = |world: &mut World| {
        let sent = sent(world).into_iter();
        sent.filter(|(flow, _)| flow.listener == TCP).count()
    };
    assert_eq!(refusals(&mut world), 1);
    world.pass(Duration::from_secs(40));
    assert_eq!(refusals(&mut world), 0, "a refusal is repeated");
    world.run_dry();
}

#[test]
fn goes_on_to_the_next_gateway_when_a_connection_fails_and_minds_no_other_transport() {
    let mut world = with_first_by("tcp");
    world.caller_sends(&invite("1"));
    let (flow, _) = sent(&mut world).remove(1);
    for other in [
        Flow::new(UDP, address(FIRST)),
        Flow::to_gateway(TLS, address(FIRST), GatewayId(1)),
        Flow::to_gateway(TCP, address(FIRST), GatewayId(2)),
    ] {
        world.engine.handle_command(Command::Unreachable { flow: other }, world.now);
        assert!(sent(&mut world).is_empty(), "{other:?}");
    }
    world.engine.handle_command(Command::Unreachable { flow }, world.now);
    assert_eq!(sent(&mut world)[0].0.remote, address(SECOND));
}

#[test]
fn keeps_a_call_whose_connection_is_reset_and_ends_only_what_was_under_way() {
    let mut world = with_first_by("tcp");
    world.caller_sends(&invite("1"));
    let (flow, outbound) = sent(&mut world).remove(1);
    let answer = response(&outbound, 200, "b1", FIRST, SDP);
    receive_on(&mut world, flow, &answer);
    let ok = sent(&mut world).remove(1).1;
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    world.engine.handle_command(Command::Unreachable { flow }, world.now);
    assert!(sent(&mut world).is_empty());
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let (again, bye) = sent(&mut world).remove(1);
    assert_eq!((again.remote, bye.method()), (address(FIRST), Method::Bye));
    world.run_dry();
}

#[test]
fn goes_on_by_tls_with_the_same_gateway_where_another_node_takes_the_call_over() {
    let kept = |transport: &str| {
        let mut world = World::at(
            "203.0.113.1:5060",
            1,
            {
                let mut rows = rows();
                transport.clone_into(&mut rows.gateways[0].transport);
                rows
            },
            |settings| settings.replicates = true,
        );
        world.caller_sends(&invite("1"));
        let (flow, outbound) = sent(&mut world).remove(1);
        receive_on(&mut world, flow, &response(&outbound, 200, "b1", FIRST, SDP));
        let kept = world.outputs.iter().find_map(|output| match output {
            Output::Keep { replica, .. } => Some(replica.clone()),
            _ => None,
        });
        let json = serde_json::to_string(&kept.expect("it is kept")).expect("it can be written");
        serde_json::from_str::<crate::call::Replica>(&json).expect("it can be read")
    };
    let replica = kept("tls");
    assert_eq!(
        (replica.outbound.transport, replica.outbound.gateway),
        (Transport::Tls, Some(GatewayId(1)))
    );
    let mut other = World::new();
    let refresh_at = [other.now; 2];
    let adopt = Command::Adopt { replica: Box::new(replica), refresh_at };
    other.engine.handle_command(adopt, other.now);
    other.engine.handle_command(Command::EndAllCalls, other.now);
    let byes: Vec<Flow> = sent(&mut other).into_iter().map(|(flow, _)| flow).collect();
    assert!(
        byes.iter().any(|flow| flow.listener == TLS && flow.gateway() == Some(GatewayId(1))),
        "{byes:?}"
    );
}

#[test]
fn sends_a_sips_call_by_tls_only_and_keeps_it_a_sips_one() {
    let sips = over("TLS", "<sips:caller@192.0.2.9:5080>").replace("INVITE sip:", "INVITE sips:");
    let flow = Flow::new(TLS, address(CONNECTION));
    let mut world = World::with(|rows| {
        "tls".clone_into(&mut rows.gateways[1].transport);
        rows.gateways[1].port = 5061;
    });
    let target = Target { gateway_id: GatewayId(2), address: address("198.51.100.2:5061") };
    let view = View::new(vec![
        Arc::new(TargetView::unknown(Target { gateway_id: GatewayId(1), address: address(FIRST) })),
        Arc::new(TargetView::unknown(target)),
    ]);
    world.engine.handle_command(Command::View(Arc::new(view)), world.now);
    receive_on(&mut world, flow, &sips);
    let (out, outbound) = sent(&mut world).remove(1);
    assert_eq!(out, Flow::to_gateway(TLS, target.address, GatewayId(2)));
    assert_eq!(outbound.request_uri(), b"sips:+14155550100@198.51.100.2");
    assert_eq!(text(&outbound, HeaderName::Contact), "<sips:203.0.113.1:5061>");
    let answer =
        response(&outbound, 200, "b1", "198.51.100.2:5061", SDP).replace("<sip:198", "<sips:198");
    receive_on(&mut world, out, &answer);
    let (_, ok) = sent(&mut world).remove(1);
    assert_eq!(text(&ok, HeaderName::Contact), "<sips:203.0.113.1:5061>");
    receive_on(&mut world, flow, &in_dialog(&ok, "ACK", 1, ""));
    receive_on(&mut world, flow, &in_dialog(&ok, "INVITE", 2, CHANGED_SDP));
    let modified =
        sent(&mut world).into_iter().find(|(_, it)| it.is_request()).expect("passed on").1;
    assert_eq!(modified.request_uri(), b"sips:198.51.100.2:5061");
    assert_eq!(text(&modified, HeaderName::Contact), "<sips:203.0.113.1:5061>");
}

#[test]
fn refuses_a_sips_call_that_no_gateway_takes_by_tls_and_says_why() {
    let mut world = World::new();
    let sips = over("TLS", "<sips:caller@192.0.2.9:5080>").replace("INVITE sip:", "INVITE sips:");
    receive_on(&mut world, Flow::new(TLS, address(CONNECTION)), &sips);
    assert_eq!(sent(&mut world)[0].1.status_code(), 480);
    let record = world.record();
    assert_eq!(record.detail, "no gateway is reached by TLS, as sips asks");
    let plan = record.plan.expect("it was decided");
    assert!(plan.dropped.iter().all(|left| left.reason == crate::routing::Drop::NotSecure));
}

#[test]
fn sends_what_is_too_large_for_udp_by_tcp_where_the_gateway_takes_it() {
    let large = invite("1")
        .replace("Max-Forwards", &format!("Subject: {}\r\nMax-Forwards", "x".repeat(900)));
    let first = |is_allowed, invite: &str| {
        let mut world = World::with(|rows| rows.gateways[0].large_by_tcp = is_allowed);
        world.caller_sends(invite);
        let (flow, outbound) = sent(&mut world).remove(1);
        (world, flow, outbound)
    };
    let (_, flow, outbound) = first(true, &large);
    assert_eq!(flow, Flow::to_gateway(TCP, address(FIRST), GatewayId(1)));
    assert!(outbound.bytes().len() > 1_300);
    assert!(text(&outbound, HeaderName::Via).starts_with("SIP/2.0/TCP "));
    assert_eq!(first(false, &large).1.listener, UDP);
    assert_eq!(first(true, &invite("1")).1.listener, UDP);
}

#[test]
fn goes_back_to_udp_when_the_gateway_takes_no_tcp_without_holding_it_against_anybody() {
    let mut world = World::with(|rows| rows.gateways[0].large_by_tcp = true);
    let large = invite("1")
        .replace("Max-Forwards", &format!("Subject: {}\r\nMax-Forwards", "x".repeat(900)));
    world.caller_sends(&large);
    let (flow, _) = sent(&mut world).remove(1);
    world.engine.handle_command(Command::Unreachable { flow }, world.now);
    let (back, outbound) = sent(&mut world).remove(0);
    assert_eq!(back, Flow::to_gateway(UDP, address(FIRST), GatewayId(1)));
    assert!(world.outcomes().is_empty());
    world.answer(FIRST, &outbound, 486, "b1", "");
    let record = world.record();
    assert_eq!((record.status_code, record.attempts.len()), (486, 1));
    world.run_dry();
}
