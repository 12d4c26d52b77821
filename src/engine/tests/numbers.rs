//! What a carrier's number rule makes of a call: URIs and the caller's headers.

use super::*;

/// A world whose first carrier has a number rule.
fn with_rule(change: impl FnOnce(&mut NumberRuleRow)) -> World {
    World::with(|rows| {
        let mut rule = NumberRuleRow { carrier_id: 1, ..NumberRuleRow::default() };
        change(&mut rule);
        rows.number_rules.push(rule);
    })
}

/// An INVITE with a request URI, a From and more lines.
fn invite_with(request_uri: &str, from: &str, lines: &str) -> String {
    invite("1")
        .replace("INVITE sip:+14155550100@203.0.113.1", &format!("INVITE {request_uri}"))
        .replace("<sip:+4930123@192.0.2.9>", &format!("<{from}>"))
        .replace("CSeq:", &format!("{lines}CSeq:"))
}

fn outbound(world: &mut World, invite: &str) -> Message {
    world.caller_sends(invite);
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("100 Trying"), to_first("INVITE")]);
    sent[1].1.clone()
}

fn text(message: &Message, name: &str) -> Option<String> {
    message.by_text(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

#[test]
fn routes_a_tel_uri_by_its_number_and_sends_it_on_as_a_sip_uri() {
    let mut world = World::with(|rows| {
        rows.routes[0].called_prefix = "4930".to_owned();
        rows.number_rules.push(NumberRuleRow {
            carrier_id: 1,
            called_format: "e164".to_owned(),
            calling_format: "e164".to_owned(),
            ..NumberRuleRow::default()
        });
    });
    let tel = invite_with("tel:+49-30-123;npdi;ext=5", "tel:+49(30)999", "");
    let outbound = outbound(&mut world, &tel);
    let uri = "sip:+4930123;ext=5;npdi@198.51.100.1;user=phone";
    assert_eq!(String::from_utf8_lossy(outbound.request_uri()), uri);
    assert_eq!(text(&outbound, "To"), Some(format!("<{uri}>")));
    let from = text(&outbound, "From").expect("a From");
    assert!(from.starts_with("<sip:+4930999@203.0.113.1;user=phone>;tag="), "{from}");
    world.answer(FIRST, &outbound, 486, "b1", "");
    let record = world.record();
    assert_eq!((record.called.as_str(), record.calling.as_str()), ("+49-30-123", "+49(30)999"));
    assert_eq!(record.country, Some(49));
}

#[test]
fn knows_no_country_of_a_local_number_and_keeps_its_context() {
    let mut world = with_rule(|rule| rule.called_format = "e164".to_owned());
    let local = "tel:4930123456;phone-context=example.com";
    let outbound = outbound(&mut world, &invite_with(local, "sip:+1@192.0.2.9", ""));
    let uri = "sip:4930123456;phone-context=example.com@198.51.100.1;user=phone";
    assert_eq!(String::from_utf8_lossy(outbound.request_uri()), uri);
    world.answer(FIRST, &outbound, 486, "b1", "");
    assert_eq!(world.record().country, None);
}

#[test]
fn asserts_the_caller_unless_it_asks_for_privacy_and_the_carrier_is_not_trusted() {
    for (is_trusted, privacy, is_told) in
        [(false, "", true), (false, "Privacy: id\r\n", false), (true, "Privacy: id\r\n", true)]
    {
        let mut world = with_rule(|rule| {
            rule.identity = "assert".to_owned();
            rule.is_trusted = is_trusted;
        });
        let lines = format!("P-Asserted-Identity: <sip:+1@x.example>\r\n{privacy}");
        let uri = "sip:+14155550100@203.0.113.1";
        let outbound = outbound(&mut world, &invite_with(uri, "sip:+4930123@192.0.2.9", &lines));
        let told = is_told.then(|| "<sip:+4930123@203.0.113.1>".to_owned());
        assert_eq!(text(&outbound, "P-Asserted-Identity"), told, "{privacy}");
        assert_eq!(
            text(&outbound, "Privacy").is_some(),
            !privacy.is_empty(),
            "it goes with the call"
        );
    }
}

#[test]
fn keeps_a_carriers_list_of_x_headers_for_the_whole_call_and_towards_it_alone() {
    let mut world = with_rule(|rule| rule.x_headers = Some("X-Kept".to_owned()));
    let lines = "X-Kept: 1\r\nX-Secret: 2\r\nSubject: 3\r\n";
    let uri = "sip:+14155550100@203.0.113.1";
    let outbound = outbound(&mut world, &invite_with(uri, "sip:+4930123@192.0.2.9", lines));
    let has = |message: &Message| {
        ["X-Kept", "X-Secret", "Subject"].map(|name| message.by_text(name).is_some())
    };
    assert_eq!(has(&outbound), [true, false, true]);
    let answer =
        response(&outbound, 200, "b1", FIRST, SDP).replace("CSeq:", &format!("{lines}CSeq:"));
    world.carrier_sends(FIRST, &answer);
    let ok = world.sent().pop().expect("a 200").1;
    assert_eq!(has(&ok), [true; 3]);
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    world.sent();
    let info = in_dialog(&ok, "INFO", 2, "").replace("CSeq:", &format!("{lines}CSeq:"));
    world.caller_sends(&info);
    let sent = world.sent();
    assert_eq!(sent[0].0, FIRST);
    assert_eq!(has(&sent[0].1), [true, false, true]);
}

#[test]
fn probes_a_gateway_by_the_host_that_its_calls_name() {
    let mut world = with_rule(|rule| {
        rule.request_uri_host = Some("trunk.example".to_owned());
        rule.called_prefix = "9".to_owned();
    });
    let target = Target { gateway_id: GatewayId(1), address: address(FIRST) };
    world
        .engine
        .handle_command(Command::Probe { target, timeout: Duration::from_secs(1) }, world.now);
    world.drain();
    let probe = world.sent().pop().expect("an OPTIONS").1;
    assert_eq!(probe.request_uri(), b"sip:trunk.example");
    assert_eq!(text(&probe, "To").as_deref(), Some("<sip:trunk.example>"));
}

#[test]
fn finds_the_route_of_a_ported_number_by_its_routing_number_where_the_customer_says_so() {
    for (routed_by, whom, is_second) in [
        ("routing_number", "sip:+12025331234;npdi;rn=+1-202-544-0000@203.0.113.1", true),
        ("routing_number", "tel:+1-202-533-1234;npdi;rn=+1-202-544-0000", true),
        ("routing_number", "sip:+12025331234;npdi;rn=%2B12025440000@203.0.113.1", true),
        // Nothing to go by.
        ("routing_number", "sip:+12025331234;npdi@203.0.113.1", false),
        ("routing_number", "sip:+12025331234;npdi;rn=@203.0.113.1", false),
        ("called", "sip:+12025331234;npdi;rn=+12025440000@203.0.113.1", false),
    ] {
        let mut world = World::with(|rows| {
            routed_by.clone_into(&mut rows.customers[0].routed_by);
            rows.route_carriers.truncate(1);
            rows.routes.push(RouteRow {
                route_id: 2,
                called_prefix: "1202544".to_owned(),
                ..RouteRow::default()
            });
            let carrier_id = 2;
            rows.route_carriers.push(RouteCarrierRow {
                route_id: 2,
                carrier_id,
                ..RouteCarrierRow::default()
            });
        });
        world.caller_sends(
            &invite("1").replace("sip:+14155550100@203.0.113.1 SIP", &format!("{whom} SIP")),
        );
        let (to, outbound) = world.sent().remove(1);
        assert_eq!(to, if is_second { SECOND } else { FIRST }, "{routed_by} {whom}");
        let called = String::from_utf8_lossy(outbound.request_uri()).into_owned();
        assert!(called.contains(";npdi") && called.contains("1234"), "{called}: it goes on whole");
        world.caller_sends(&cancel("1"));
        let record = world.record();
        let decided = crate::routing::DecisionRecord::from(&*record.plan.clone().expect("decided"));
        assert_eq!(decided.routing_number.is_some(), whom.contains("rn="), "{whom}");
    }
}
