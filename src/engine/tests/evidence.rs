//! What an engine tells the board of gateways besides the ends of attempts and probes.

use super::*;

fn gateway(address_text: &str) -> Target {
    Target { gateway_id: GatewayId(1), address: address(address_text) }
}

/// What the board is told of a call once it is established.
fn told(world: &mut World) -> Vec<(Target, Evidence)> {
    world.outcomes().into_iter().map(|outcome| (outcome.target, outcome.evidence)).collect()
}

/// An established call that its caller has ended, and the BYE to the carrier.
fn hung_up() -> (World, Message) {
    let mut world = World::new();
    let (ok, _) = world.establish();
    world.outcomes();
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let bye = world.sent().into_iter().find(|(to, it)| to == FIRST && it.is_request());
    let bye = bye.expect("a BYE to the carrier").1;
    assert_eq!(told(&mut world), []);
    (world, bye)
}

#[test]
fn takes_an_answer_within_a_call_for_a_sign_of_life_whatever_it_says() {
    for code in [200, 481, 500] {
        let (mut world, bye) = hung_up();
        world.answer(FIRST, &bye, code, "b1", "");
        assert_eq!(told(&mut world), [(gateway(FIRST), Evidence::Alive)], "{code}");
        // The same once more is nothing new.
        world.answer(FIRST, &bye, code, "b1", "");
        assert_eq!(told(&mut world), []);
    }
}

#[test]
fn doubts_a_gateway_that_is_silent_within_a_call_or_has_no_service() {
    for code in [408, 503] {
        let (mut world, bye) = hung_up();
        world.pass(Duration::from_millis(40));
        world.answer(FIRST, &bye, code, "b1", "");
        let waited = Duration::from_millis(40);
        assert_eq!(told(&mut world), [(gateway(FIRST), Evidence::Doubt { waited })], "{code}");
    }
    let (mut world, _) = hung_up();
    world.pass(Duration::from_secs(40));
    let waited = Duration::from_secs(32);
    assert_eq!(told(&mut world), [(gateway(FIRST), Evidence::Doubt { waited })]);
}

#[test]
fn tells_what_becomes_of_a_reinvite_and_says_nothing_of_callers() {
    let mut world = World::new();
    let (ok, outbound) = world.establish();
    world.outcomes();
    world.caller_sends(&in_dialog(&ok, "INVITE", 2, CHANGED_SDP));
    let reinvite = world.sent().into_iter().find(|(to, _)| to == FIRST).expect("it is sent on").1;
    world.answer(FIRST, &reinvite, 100, "b1", "");
    assert_eq!(told(&mut world), [(gateway(FIRST), Evidence::Alive)]);
    world.answer(FIRST, &reinvite, 200, "b1", SDP);
    assert_eq!(told(&mut world), [(gateway(FIRST), Evidence::Alive)]);
    let ok = world.sent().into_iter().find(|(to, _)| to == CALLER).expect("an answer").1;
    world.caller_sends(&in_dialog(&ok, "ACK", 2, ""));
    world.sent();
    world.carrier_sends(FIRST, &from_carrier(&established(&outbound), "BYE", 1, ""));
    let bye = world.sent().into_iter().find(|(to, it)| to == CALLER && it.is_request());
    world.answer(CALLER, &bye.expect("the caller is told").1, 200, "a1", "");
    assert_eq!(told(&mut world), []);
}

#[test]
fn passes_on_what_a_connection_says_of_its_gateway_and_nothing_of_others() {
    let mut world = World::new();
    let flow = Flow::to_gateway(ListenerId(0), address(FIRST), GatewayId(1));
    let mut say = |flow, silent_for| {
        world.engine.handle_command(Command::KeepAlive { flow, silent_for }, world.now);
        told(&mut world)
    };
    let waited = Duration::from_secs(10);
    assert_eq!(say(flow, None), [(gateway(FIRST), Evidence::Alive)]);
    assert_eq!(say(flow, Some(waited)), [(gateway(FIRST), Evidence::Doubt { waited })]);
    assert_eq!(say(Flow { gateway: None, ..flow }, None), []);
    assert_eq!(say(Flow { remote: address("192.0.2.99:5060"), ..flow }, None), []);
}
