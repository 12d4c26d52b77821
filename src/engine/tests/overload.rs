//! What a shard does that has more to do than it can.

use super::*;

#[test]
fn refuses_new_calls_without_a_trace_while_it_is_behind_and_serves_those_in_progress() {
    let mut world = World::new();
    let (ok, _) = world.establish();
    for _ in 0..100 {
        world.now += Duration::from_millis(100);
        world.engine.note_delay(Duration::from_millis(500), world.now);
    }
    let before = world.engine.counters();
    for number in 10..60 {
        world.caller_sends(&invite(&number.to_string()));
    }
    let after = world.engine.counters();
    let refused = after.calls_refused_overload;
    assert!((45..=50).contains(&refused), "{refused} of 50, at a share of 0.98");
    assert_eq!(after.calls - before.calls, 50 - refused, "a refused one is no call");
    let servers = after.server_transactions_now - before.server_transactions_now;
    assert_eq!(servers, 50 - refused, "nor a transaction");
    let sent = world.sent();
    let refusal = sent.iter().find(|(_, message)| message.status_code() == 503).expect("one");
    assert_eq!(refusal.1.first(HeaderName::RetryAfter), Some(&b"5"[..]));
    world.caller_sends(&in_dialog(&ok, "INFO", 2, ""));
    assert_eq!(lines(&world.sent()), [to_first("INFO")]);
}

#[test]
fn takes_every_call_again_once_it_keeps_up() {
    let mut world = World::new();
    for turn in 0..200 {
        world.now += Duration::from_millis(100);
        world.engine.note_delay(Duration::from_millis(if turn < 20 { 200 } else { 0 }), world.now);
    }
    for number in 1..=8 {
        world.caller_sends(&invite(&number.to_string()));
    }
    assert_eq!(world.engine.counters().calls_refused_overload, 0);
}

#[test]
fn a_shard_that_may_be_behind_for_ever_refuses_nobody() {
    let mut world =
        World::at("203.0.113.1:5060", 1, rows(), |settings| settings.overload_wait = None);
    for _ in 0..100 {
        world.now += Duration::from_millis(100);
        world.engine.note_delay(Duration::from_millis(500), world.now);
    }
    for number in 1..=8 {
        world.caller_sends(&invite(&number.to_string()));
    }
    assert_eq!(world.engine.counters().calls_refused_overload, 0);
}

#[test]
fn tells_a_neighbour_that_wants_to_know_how_much_it_is_to_send_and_nobody_else() {
    let mut world = World::new();
    let announced = |text: String| text.replace(";rport\r\n", ";rport;oc;oc-algo=\"loss,A\"\r\n");
    let told = |world: &mut World, from: &str, text: &str| {
        world.receive(from, text);
        let via = text_of(&world.sent()[0].1, HeaderName::Via).expect("a Via");
        via.split_once(";oc").map(|(_, rest)| format!(";oc{rest}"))
    };
    let calm = told(&mut world, CALLER, &announced(invite("1"))).expect("feedback");
    assert!(calm.starts_with(";oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq="), "{calm}");
    assert_eq!(told(&mut world, CALLER, &invite("2")), None);
    for _ in 0..100 {
        world.now += Duration::from_millis(100);
        world.engine.note_delay(Duration::from_millis(500), world.now);
    }
    // Without a transaction, and with one.
    for text in [out_of_dialog("OPTIONS", ""), out_of_dialog("BYE", ";tag=x"), cancel("1")] {
        let busy = told(&mut world, CALLER, &announced(text)).expect("feedback");
        assert!(busy.starts_with(";oc=98;oc-algo=\"loss\";oc-validity=500;oc-seq="), "{busy}");
        let seq = |told: &str| told.rsplit_once('=').expect("a number").1.parse::<f64>().ok();
        assert!(seq(&busy) > seq(&calm), "{busy} after {calm}");
    }
    let stranger = told(&mut world, "203.0.113.99:5060", &announced(out_of_dialog("OPTIONS", "")));
    assert!(stranger.is_some_and(|told| told.starts_with(";oc;oc-algo=\"loss,A\"")));
}

#[test]
fn says_nothing_of_overload_where_it_refuses_nobody_for_it_or_nobody_understands() {
    for (overload_wait, algorithm) in [(None, "loss"), (Some(Duration::from_millis(100)), "rate")] {
        let mut world = World::set_up(|_| {}, |settings| settings.overload_wait = overload_wait);
        let announced = format!(";rport;oc;oc-algo=\"{algorithm}\"\r\n");
        world.caller_sends(&invite("1").replace(";rport\r\n", &announced));
        let via = text_of(&world.sent()[0].1, HeaderName::Via).expect("a Via");
        let expected = format!(";oc;oc-algo=\"{algorithm}\"");
        assert!(via.contains(&expected) && !via.contains("oc-seq"), "{via}");
    }
}

#[test]
fn sends_a_gateway_that_says_so_no_more_calls_than_it_wants_and_those_elsewhere() {
    let mut world = World::set_up(
        |rows| rows.gateways[0].overload_control = true,
        |settings| settings.max_calls = 1_000,
    );
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    let via = text_of(&outbound, HeaderName::Via).expect("a Via");
    assert!(via.ends_with(";oc;oc-algo=\"loss\""), "{via}");
    let feedback = |percent: u8, valid_for_ms: u32, seq: u8| {
        let said =
            format!("oc={percent};oc-algo=\"loss\";oc-validity={valid_for_ms};oc-seq={seq}.0");
        response(&outbound, 180, "b1", FIRST, "").replace("oc;oc-algo=\"loss\"", &said)
    };
    let mut number = 1;
    let mut go_first = |world: &mut World, calls: usize| {
        let first = (0..calls).filter(|_| {
            number += 1;
            world.caller_sends(&invite(&number.to_string()));
            world.sent().last().is_some_and(|(to, _)| to == FIRST)
        });
        first.count()
    };
    assert_eq!(go_first(&mut world, 20), 20);
    world.receive(FIRST, &feedback(100, 1_000, 1));
    assert_eq!(go_first(&mut world, 20), 0);
    world.receive(FIRST, &feedback(60, 1_000, 2));
    let taken = go_first(&mut world, 200);
    assert!((60..=100).contains(&taken), "{taken} of 200, where 40 of 100 are wanted");
    world.receive(FIRST, &feedback(0, 0, 3));
    assert_eq!(go_first(&mut world, 20), 20);
    world.receive(FIRST, &feedback(100, 1_000, 4));
    world.now += Duration::from_secs(1);
    assert_eq!(go_first(&mut world, 20), 20, "its word has run out");
}

#[test]
fn announces_nothing_to_other_gateways_and_believes_nothing_that_they_say_of_it() {
    let mut world = World::new();
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    let via = text_of(&outbound, HeaderName::Via).expect("a Via");
    assert!(!via.contains(";oc"), "{via}");
    let said =
        response(&outbound, 180, "b1", FIRST, "").replace(";rport", ";rport;oc=100;oc-seq=1.0");
    world.receive(FIRST, &said);
    world.sent();
    world.caller_sends(&invite("2"));
    assert_eq!(lines(&world.sent())[1], to_first("INVITE"));
}

#[test]
fn an_emergency_call_goes_to_a_gateway_that_is_overloaded() {
    let mut world = World::with(|rows| {
        rows.gateways[0].overload_control = true;
        rows.routes[0].is_emergency = true;
    });
    world.caller_sends(&invite("1"));
    let outbound = world.sent()[1].1.clone();
    let said = response(&outbound, 180, "b1", FIRST, "").replace(";oc;", ";oc=100;");
    world.receive(FIRST, &said);
    world.sent();
    world.caller_sends(&invite("2"));
    assert_eq!(lines(&world.sent())[1], to_first("INVITE"));
}
