//! What customers' rows allow them.

use super::*;
use crate::call::UnknownSources;
use crate::carrier::CustomerId;
use crate::engine::Party;

#[test]
fn a_customer_that_has_as_many_calls_as_it_may_is_told_so_until_one_of_them_is_over() {
    let mut world = World::with(|rows| rows.customers[0].max_calls = Some(1));
    let (ok, _) = world.establish();
    world.caller_sends(&invite("2"));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("503 Service Unavailable")]);
    let refusal = &sent[0].1;
    assert_eq!(text_of(refusal, HeaderName::RetryAfter).as_deref(), Some("5"));
    let reason = "SIP;cause=503;text=\"over max_calls of its customer\"";
    assert_eq!(text_of(refusal, HeaderName::Reason).as_deref(), Some(reason));
    let record = world.record();
    assert_eq!((record.end_cause, record.status_code), (EndCause::OverLimit, 503));
    assert_eq!(&*record.detail, "over max_calls of its customer");
    assert_eq!(record.customer.as_ref().map(|(id, _)| id.0), Some(1));
    assert!(record.attempts.is_empty() && record.route_id.is_some());
    assert_eq!(world.engine.counters().calls_over_customer_limit, 1);
    // The next may begin with the end of the first, though our BYE is not answered.
    world.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    world.sent();
    world.caller_sends(&invite("3"));
    assert_eq!(lines(&world.sent()), [to_caller("100 Trying"), to_first("INVITE")]);
}

#[test]
fn a_call_that_is_cancelled_or_refused_leaves_its_place_to_another() {
    let mut world = World::with(|rows| rows.customers[0].max_calls = Some(1));
    for number in ["1", "2", "3"] {
        world.caller_sends(&invite(number));
        let sent = world.sent();
        assert_eq!(lines(&sent), [to_caller("100 Trying"), to_first("INVITE")]);
        if number == "2" {
            world.caller_sends(&cancel(number));
        } else {
            world.answer(FIRST, &sent[1].1, 486, "b1", "");
        }
        world.sent();
    }
    assert_eq!(world.engine.counters().calls_over_customer_limit, 0);
}

#[test]
fn a_customers_calls_begin_no_faster_than_it_may() {
    let mut world = World::with(|rows| rows.customers[0].max_cps = Some(2.0));
    let begins = |world: &mut World, number: u32| {
        world.caller_sends(&invite(&number.to_string()));
        let sent = world.sent();
        let first = sent[0].1.clone();
        (first.status_code() == 100, text_of(&first, HeaderName::Reason))
    };
    assert!(begins(&mut world, 1).0 && begins(&mut world, 2).0);
    let (is_taken, reason) = begins(&mut world, 3);
    assert!(!is_taken && reason.is_some_and(|it| it.contains("over max_cps of its customer")));
    world.pass(Duration::from_millis(500));
    world.sent();
    assert!(begins(&mut world, 4).0);
}

#[test]
fn an_emergency_call_is_never_one_too_many_for_its_customer() {
    let mut world = World::with(|rows| {
        rows.customers[0].max_calls = Some(1);
        rows.customers[0].max_cps = Some(0.001);
        rows.routes[0].is_emergency = true;
    });
    for number in ["1", "2", "3"] {
        world.caller_sends(&invite(number));
        assert_eq!(lines(&world.sent()), [to_caller("100 Trying"), to_first("INVITE")]);
    }
}

#[test]
fn a_client_certificate_shows_whose_a_call_is_wherever_it_comes_from() {
    for auth in ["address", "digest", "either", "both"] {
        let mut world = World::set_up(
            |rows| {
                rows.customers[0].auth = auth.to_owned();
                rows.customers[0].tls_subject = Some("pbx.example".to_owned());
            },
            |settings| settings.strangers.sources = UnknownSources::Drop,
        );
        world.receive_on(by_tls(Some(1)), &invite("1"));
        let sent = world.sent();
        assert_eq!(lines(&sent), [to_roamer("100 Trying"), to_first("INVITE")], "{auth}");
        world.receive_on(by_tls(Some(1)), &out_of_dialog("OPTIONS", ""));
        assert_eq!(lines(&world.sent()), [to_roamer("200 OK")], "{auth}");
        // One that no customer's certificate is.
        world.receive_on(by_tls(None), &invite("2"));
        assert!(world.sent().is_empty(), "{auth}");
        world.receive_on(by_tls(Some(1)), &cancel("1"));
        assert_eq!(world.record().customer.as_ref().map(|(id, _)| id.0), Some(1));
    }
}

#[test]
fn a_certificate_says_more_than_an_address() {
    let mut world = World::with(|rows| {
        let name = "other".to_owned();
        let other = CustomerRow { customer_id: 2, name, ..CustomerRow::default() };
        rows.customers.push(CustomerRow { enabled: false, ..other });
    });
    let flow = Flow { remote: address(CALLER), ..by_tls(Some(2)) };
    world.receive_on(flow, &invite("1"));
    let record = world.record();
    assert_eq!((record.status_code, &*record.detail), (403, "the customer is disabled"));
}

#[test]
fn a_customer_is_handed_the_x_headers_of_its_list_only() {
    let mut world =
        World::with(|rows| rows.customers[0].x_headers = Some("X-Kept, X-Also".to_owned()));
    let more = "X-Kept: 1\r\nX-Secret: 2\r\nSubject: 3\r\n";
    let has = |message: &Message| {
        ["X-Kept", "X-Secret", "Subject"].map(|name| message.by_text(name).is_some())
    };
    world.caller_sends(&with_lines(&invite("1"), more));
    let outbound = world.sent()[1].1.clone();
    assert_eq!(has(&outbound), [true; 3], "the list is for what comes to it");
    world.receive(FIRST, &with_lines(&response(&outbound, 180, "b1", FIRST, ""), more));
    assert_eq!(has(&world.sent()[0].1), [true, false, true]);
    world.receive(FIRST, &with_lines(&response(&outbound, 200, "b1", FIRST, SDP), more));
    let ok = world.sent()[1].1.clone();
    assert_eq!(has(&ok), [true, false, true]);
    world.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    let info = from_carrier(&established(&outbound), "INFO", 1, "");
    world.receive(FIRST, &with_lines(&info, more));
    let sent = world.sent();
    assert_eq!(lines(&sent), [to_caller("INFO")]);
    assert_eq!(has(&sent[0].1), [true, false, true]);
    // Refusals as well.
    world.caller_sends(&invite("2"));
    let outbound = world.sent()[1].1.clone();
    world.receive(FIRST, &with_lines(&response(&outbound, 486, "b2", FIRST, ""), more));
    assert_eq!(has(&world.sent()[1].1), [true, false, true]);
}

#[test]
fn another_node_keeps_to_what_a_customers_row_says() {
    let node = |own, seed| {
        let mut rows = rows();
        rows.customers[0].x_headers = Some(String::new());
        rows.customers[0].max_calls = Some(1);
        World::at(own, seed, rows, |settings| settings.replicates = true)
    };
    let mut a = node("203.0.113.1:5060", 1);
    let (_, outbound) = a.establish_kept();
    let mut b = node("203.0.113.2:5060", 2);
    b.adopt(&a.kept()[0].1);
    let info = from_carrier(&established(&outbound), "INFO", 1, "");
    b.receive(FIRST, &with_lines(&info, "X-Secret: 2\r\n"));
    let sent = b.sent();
    assert_eq!(lines(&sent), [to_caller("INFO")]);
    assert_eq!(sent[0].1.by_text("X-Secret"), None);
    b.caller_sends(&invite("2"));
    assert_eq!(lines(&b.sent()), [to_caller("503 Service Unavailable")]);
}

/// An address that no customer has.
const ROAMER: &str = "203.0.113.99:33000";

/// A TLS connection from there, of who has proved to be this customer.
fn by_tls(customer: Option<i64>) -> Flow {
    let party = customer.map_or(Party::Anybody, |id| Party::Customer(CustomerId(id)));
    Flow { party, ..Flow::new(ListenerId(2), address(ROAMER)) }
}

fn to_roamer(what: &str) -> (String, String) {
    (ROAMER.to_owned(), what.to_owned())
}
