//! Answered calls outlive the node that carries them: two real nodes at two addresses, one Postgres, and SIPp on both
//! sides, half of the calls ended by the caller and half by the callee.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test below the purity line")]

#[path = "../../sip-tests/harness/baresip.rs"]
#[allow(dead_code, reason = "a part is enough here")]
mod baresip;
#[path = "../../sip-tests/harness/ports.rs"]
mod ports;
#[path = "../../sip-tests/harness/postgres.rs"]
#[allow(dead_code, reason = "a part is enough here")]
mod postgres;
#[path = "../../sip-tests/harness/process.rs"]
#[allow(dead_code, reason = "a part is enough here")]
mod process;

mod media;
mod network;
mod pair;
mod rolling;
mod telephone;

use std::thread::sleep;
use std::time::{Duration, Instant};

use network::{Network, in_own_network};
use pair::{Pair, Place, long};
use postgres::Server;

/// What takes a second or two on an idle machine; how long it may take is the simulator's matter.
pub(crate) const SLOW: Duration = Duration::from_secs(60);

/// The whole of it: what the promise says.
#[test]
fn every_answered_call_outlives_the_kill_of_its_node_and_is_recorded_once() {
    let calls = if long() { 1_000 } else { 200 };
    let mut pair = Pair::start();
    let sipp = pair.establish(calls);
    let killed_at = Instant::now();
    pair.a.process.kill();
    pair.until("b has them", SLOW, |pair| pair.owned_by("b") == calls);
    // On a busy machine the first have hung up by then, which both of their peers had to be told for.
    pair.until("all are refreshed", SLOW, |pair| {
        pair.settled() + pair.count("calls where end_cause = 'completed'") == calls
    });
    println!("{calls} calls were refreshed {:?} after the kill", killed_at.elapsed());
    sipp.all_succeed(&pair);
    pair.ends_with_records(calls, "b|a|completed|200");
    pair.b.ends_cleanly();
}

#[test]
fn a_frozen_node_wakes_up_and_harms_no_call_that_another_has_taken() {
    let mut pair = Pair::start();
    let sipp = pair.establish(100);
    pair.a.process.signal("STOP").unwrap();
    pair.until("b has them", SLOW, |pair| pair.owned_by("b") == 100);
    pair.a.process.signal("CONT").unwrap();
    pair.until("a forgets them", SLOW, |pair| pair.a.metric("holdfast_calls") == 0);
    assert_eq!(pair.a.metric("holdfast_calls_released_total"), 100);
    sipp.all_succeed(&pair);
    pair.ends_with_records(100, "b|a|completed|200");
    pair.a.ends_cleanly();
    pair.b.ends_cleanly();
}

/// Nobody can tell it from a dead one, and it cannot tell that it is taken for one.
#[test]
fn a_node_that_is_cut_off_comes_back_and_harms_no_call_that_another_has_taken() {
    const CALLS: usize = 200;
    let name = "a_node_that_is_cut_off_comes_back_and_harms_no_call_that_another_has_taken";
    in_own_network(name, || {
        let network = Network::new();
        let server = Server::start().unwrap();
        let to_store = |_: &Server, url: &str| network.lead_to_store(url);
        let mut pair = Pair::at(network.place(), server, to_store, "", &[]);
        // Until the link is back, and what waited has come.
        pair.talk = Duration::from_secs(8);
        let sipp = pair.establish(CALLS);
        let cut_at = Instant::now();
        network.cut(0);
        pair.until("b has them", SLOW, |pair| pair.owned_by("b") == CALLS);
        pair.until("all are refreshed", SLOW, |pair| pair.settled() == CALLS);
        println!("{CALLS} calls were refreshed {:?} after the cut", cut_at.elapsed());
        network.join(0);
        pair.until("a forgets them", SLOW, |pair| {
            pair.a.metric("holdfast_calls_released_total") == CALLS
        });
        assert_eq!(pair.a.metric("holdfast_calls"), 0);
        sipp.all_succeed(&pair);
        pair.ends_with_records(CALLS, "b|a|completed|200");
        pair.until("a is one of two again", SLOW, |pair| {
            pair.a.metric("holdfast_nodes") == 2 && pair.b.metric("holdfast_nodes") == 2
        });
        pair.a.ends_cleanly();
        pair.b.ends_cleanly();
    });
}

#[test]
fn a_node_that_wakes_up_begins_nothing_of_what_has_waited_meanwhile() {
    let mut pair = Pair::start();
    let caller = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (own, node) = (caller.local_addr().unwrap(), pair.a.sip);
    let invite = format!(
        "INVITE sip:4430100@{node} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {own};rport;branch=z9hG4bKstale\r\n\
         From: <sip:+49301@{own}>;tag=1\r\nTo: <sip:4430100@{node}>\r\n\
         Call-ID: stale\r\nCSeq: 1 INVITE\r\nContact: <sip:{own}>\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    pair.a.process.signal("STOP").unwrap();
    caller.send_to(invite.as_bytes(), node).unwrap();
    sleep(Duration::from_secs(5));
    pair.a.process.signal("CONT").unwrap();
    pair.until("it was read, and dropped", SLOW, |pair| {
        pair.a.metric("holdfast_datagrams_stale_total") > 0
    });
    let mut answer = [0; 2_000];
    caller.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(caller.recv(&mut answer).is_err(), "whoever called has gone elsewhere");
    // It has not, and calls again.
    sleep(Duration::from_secs(1));
    caller.set_read_timeout(Some(SLOW)).unwrap();
    caller.send_to(invite.as_bytes(), node).unwrap();
    let len = caller.recv(&mut answer).unwrap();
    assert!(answer[..len].starts_with(b"SIP/2.0 100 "));
}

#[test]
fn a_node_that_is_started_again_goes_on_with_its_own_calls() {
    let mut pair = Pair::start();
    pair.b.process.kill();
    let sipp = pair.establish(50);
    pair.a.process.kill();
    sleep(Duration::from_millis(300));
    pair.a.start(&[]);
    pair.until("a has them again", SLOW, |pair| {
        pair.a.metric("holdfast_calls_adopted_total") == 50
    });
    sipp.all_succeed(&pair);
    pair.ends_with_records(50, "a|a|completed|200");
    pair.a.ends_cleanly();
}

#[test]
fn a_drain_hands_the_calls_over_and_ends_as_soon_as_both_sides_know() {
    let mut pair = Pair::start();
    let sipp = pair.establish(100);
    let begun = Instant::now();
    pair.a.process.signal("TERM").unwrap();
    let code = pair.a.process.wait(Instant::now() + SLOW).unwrap();
    assert_eq!(code, 0, "no call was cut: {}", pair.a.process.log());
    println!("the drain took {:?}", begun.elapsed());
    assert_eq!(pair.settled(), 100);
    sipp.all_succeed(&pair);
    pair.ends_with_records(100, "b|a|completed|200");
    pair.b.ends_cleanly();
}

#[test]
fn phones_that_ring_for_a_dead_node_stop_and_their_calls_are_recorded() {
    let mut pair = Pair::start();
    let ringing = pair.ring(20);
    pair.a.process.kill();
    ringing.all_succeed(&pair);
    pair.ends_with(20, "b|a|terminated|503|holdfast");
    pair.b.ends_cleanly();
}

#[test]
fn a_store_that_hangs_takes_nothing_over_and_loses_nothing() {
    let mut pair = Pair::start();
    let sipp = pair.establish(50);
    pair.server.stop().unwrap();
    sleep(Duration::from_secs(4));
    pair.server.restart().unwrap();
    sleep(Duration::from_secs(2));
    assert_eq!(pair.owned_by("a"), 50, "both nodes were alive all the time");
    assert_eq!(pair.a.metric("holdfast_calls"), 50);
    pair.a.process.kill();
    sipp.all_succeed(&pair);
    pair.ends_with_records(50, "b|a|completed|200");
    pair.b.ends_cleanly();
}

#[test]
fn a_call_answered_while_the_store_was_away_is_kept_when_it_is_back() {
    let mut pair = Pair::start();
    pair.server.stop().unwrap();
    sleep(Duration::from_millis(500));
    let sipp = pair.call(20);
    pair.until("they talk", SLOW, |pair| pair.a.metric("holdfast_calls_talking") == 20);
    assert!(pair.a.metric("holdfast_answers_unreplicated_total") > 0);
    pair.server.restart().unwrap();
    pair.until("they are kept", SLOW, |pair| pair.owned_by("a") == 20);
    pair.a.process.kill();
    sipp.all_succeed(&pair);
    pair.ends_with_records(20, "b|a|completed|200");
}

/// The standby that is promoted has heard of none of the calls.
#[test]
fn calls_that_a_failover_of_the_store_has_lost_are_kept_again() {
    let mut standby = None;
    let both = |primary: &Server, url: &str| {
        let follower = primary.start_standby().unwrap();
        follower.stop().unwrap();
        let (first, other) = (primary.address(), follower.address());
        standby = Some(follower);
        url.replace(&first, &format!("{first},{other}")) + "?target_session_attrs=read-write"
    };
    let mut pair = Pair::at(Place::LOOPBACK, Server::start().unwrap(), both, "", &[]);
    let standby = standby.unwrap();
    pair.talk = Duration::from_secs(5);
    let sipp = pair.establish(20);
    pair.server.kill().unwrap();
    standby.restart().unwrap();
    standby.promote().unwrap();
    pair.url = pair.url.replace(&pair.server.address(), &standby.address());
    pair.until("they are kept there, and so are the leases", SLOW, |pair| {
        pair.owned_by("a") == 20 && pair.count("node_leases") == 2
    });
    pair.a.process.kill();
    pair.until("b has them", SLOW, |pair| pair.owned_by("b") == 20);
    sipp.all_succeed(&pair);
    pair.ends_with_records(20, "b|a|completed|200");
}

#[test]
fn a_node_takes_no_calls_that_have_to_stay_in_another_region() {
    let mut pair = Pair::with(
        "update customers set region = 'eu'; update carriers set region = 'eu';",
        &[("region", "us")],
    );
    let _sipp = pair.establish(10);
    pair.a.process.kill();
    sleep(Duration::from_secs(4));
    assert_eq!(pair.owned_by("a"), 10);
    assert_eq!(pair.b.metric("holdfast_calls"), 0);
    pair.b.process.kill();
    pair.b.start(&[("region", "eu")]);
    pair.until("one of their region does", SLOW, |pair| pair.owned_by("b") == 10);
}
