//! The checkers bite: each is fed the violation that it is there for.

use bytes::Bytes;
use holdfast::engine::Counters;

use super::checks::Checks;
use super::party::Side;

const CALLER: &str = "192.0.2.1:10000";
const CARRIER: &str = "198.51.100.1:5060";

#[test]
fn finds_nothing_wrong_with_what_is_right() {
    let mut wire = Wire::new();
    wire.calls();
    wire.sends(CARRIER, &message("INVITE sip:b@198.51.100.1", "legout", "1 INVITE", ""));
    wire.gets(CARRIER, &message("SIP/2.0 180 Ringing", "legout", "1 INVITE", ";tag=krr1"));
    wire.sends(CARRIER, &message("CANCEL sip:b@198.51.100.1", "legout", "1 CANCEL", ""));
    wire.sends(CALLER, &message("SIP/2.0 487 Gone", "legin", "1 INVITE", ";tag=e1"));
    wire.finds("");
}

#[test]
fn bites_on_what_cannot_be_read() {
    let mut wire = Wire::new();
    wire.sends(CALLER, "SIP/2.0 200 OK\r\nContent-Length: 7\r\n\r\n");
    wire.finds("unreadable");
}

#[test]
fn bites_on_a_missing_header() {
    let mut wire = Wire::new();
    wire.calls();
    let trying = message("SIP/2.0 180 Ringing", "legin", "1 INVITE", ";tag=e1");
    wire.sends(CALLER, &trying.replace("Contact: <sip:203.0.113.1:5060>\r\n", ""));
    wire.finds("without Contact");
}

#[test]
fn bites_on_an_address_of_the_other_side() {
    let mut wire = Wire::new();
    wire.calls();
    let invite = message("INVITE sip:b@198.51.100.1", "legout", "1 INVITE", "");
    wire.sends(CARRIER, &invite.replace("Contact", "Warning: 399 192.0.2.1 \"x\"\r\nContact"));
    wire.finds("of the other side");
}

#[test]
fn bites_on_a_call_id_of_the_other_side() {
    let mut wire = Wire::new();
    wire.calls();
    let invite = message("INVITE sip:b@198.51.100.1", "legout", "1 INVITE", "");
    wire.sends(CARRIER, &invite.replace("Contact", "In-Reply-To: legin\r\nContact"));
    wire.finds("Call-ID legin of the other side");
}

#[test]
fn bites_on_a_tag_of_the_other_side() {
    let mut wire = Wire::new();
    wire.calls();
    wire.sends(CALLER, &message("SIP/2.0 180 Ringing", "legin", "1 INVITE", ";tag=e77"));
    let invite = message("INVITE sip:b@198.51.100.1", "legout", "1 INVITE", "");
    wire.sends(CARRIER, &invite.replace("Contact", "Replaces: x;to-tag=e77\r\nContact"));
    wire.finds("tag e77 of the other side");
}

#[test]
fn bites_on_a_second_final_response() {
    let mut wire = Wire::new();
    wire.calls();
    wire.sends(CALLER, &message("SIP/2.0 486 Busy", "legin", "1 INVITE", ";tag=e1"));
    wire.sends(CALLER, &message("SIP/2.0 486 Busy", "legin", "1 INVITE", ";tag=e1"));
    wire.finds("");
    wire.sends(CALLER, &message("SIP/2.0 480 Gone", "legin", "1 INVITE", ";tag=e1"));
    wire.finds("two final responses");
}

#[test]
fn bites_on_a_provisional_response_after_the_final_one() {
    let mut wire = Wire::new();
    wire.calls();
    wire.sends(CALLER, &message("SIP/2.0 486 Busy", "legin", "1 INVITE", ";tag=e1"));
    wire.sends(CALLER, &message("SIP/2.0 180 Ringing", "legin", "1 INVITE", ";tag=e1"));
    wire.finds("after a final response");
}

#[test]
fn bites_on_a_response_to_nothing() {
    let mut wire = Wire::new();
    wire.calls();
    wire.sends(CALLER, &message("SIP/2.0 200 OK", "legin", "2 INFO", ";tag=e1"));
    wire.finds("that never came");
}

#[test]
fn bites_on_a_cancel_before_any_provisional_response() {
    let mut wire = Wire::new();
    wire.calls();
    wire.sends(CARRIER, &message("INVITE sip:b@198.51.100.1", "legout", "1 INVITE", ""));
    wire.sends(CARRIER, &message("CANCEL sip:b@198.51.100.1", "legout", "1 CANCEL", ""));
    wire.finds("before any provisional");
}

#[test]
fn bites_on_a_cancel_that_differs_from_its_invite() {
    for (what, complaint) in [
        (("1 CANCEL", "2 CANCEL"), "another CSeq"),
        (("sip:b@", "sip:c@"), "another Request-URI"),
        (("To: <sip:b", "To: <sip:d"), "another To"),
        (("branch=z9hG4bKlegout", "branch=z9hG4bKlegout;x"), "another Via"),
        (("z9hG4bKlegout", "z9hG4bKelse"), "the branch of no INVITE"),
    ] {
        let mut wire = Wire::new();
        wire.calls();
        wire.sends(CARRIER, &message("INVITE sip:b@198.51.100.1", "legout", "1 INVITE", ""));
        wire.gets(CARRIER, &message("SIP/2.0 180 Ringing", "legout", "1 INVITE", ";tag=krr1"));
        let cancel = message("CANCEL sip:b@198.51.100.1", "legout", "1 CANCEL", "");
        wire.sends(CARRIER, &cancel.replace(what.0, what.1));
        wire.finds(complaint);
    }
}

#[test]
fn bites_on_a_cseq_that_does_not_grow() {
    let mut wire = Wire::new();
    wire.calls();
    wire.sends(CARRIER, &message("INVITE sip:b@198.51.100.1", "legout", "1 INVITE", ""));
    let tag = ";tag=krr1";
    let info = message("INFO sip:b@198.51.100.1", "legout", "3 INFO", tag);
    wire.sends(CARRIER, &info.replace("z9hG4bKlegout", "z9hG4bKinfo"));
    let bye = message("BYE sip:b@198.51.100.1", "legout", "3 BYE", tag);
    wire.sends(CARRIER, &bye.replace("z9hG4bKlegout", "z9hG4bKnew"));
    wire.finds("BYE has CSeq 3 after 3");
}

#[test]
fn bites_on_an_ack_of_no_invite() {
    let mut wire = Wire::new();
    wire.calls();
    wire.sends(CARRIER, &message("INVITE sip:b@198.51.100.1", "legout", "1 INVITE", ""));
    wire.sends(CARRIER, &message("ACK sip:b@198.51.100.1", "legout", "2 ACK", ";tag=krr1"));
    wire.finds("of no INVITE");
}

#[test]
fn bites_on_an_answer_that_is_neither_acknowledged_nor_hung_up() {
    let mut wire = Wire::new();
    wire.calls();
    wire.sends(CARRIER, &message("INVITE sip:b@198.51.100.1", "legout", "1 INVITE", ""));
    wire.gets(CARRIER, &message("SIP/2.0 200 OK", "legout", "1 INVITE", ";tag=krr1"));
    wire.checks.calls_over(&[], &[], 0);
    wire.finds("never acknowledged");
    wire.sends(CARRIER, &message("ACK sip:b@198.51.100.1", "legout", "1 ACK", ";tag=krr1"));
    wire.checks.violations.clear();
    wire.checks.calls_over(&[], &[], 0);
    wire.finds("the dialog of krr1 was never ended");
}

#[test]
fn bites_on_a_request_without_an_answer() {
    let mut wire = Wire::new();
    wire.calls();
    wire.checks.calls_over(&[], &[], 0);
    wire.finds("INVITE z9hG4bKlegin was never answered");
}

#[test]
fn bites_on_what_is_left_at_rest() {
    for (counters, complaint) in [
        (Counters { calls_now: 1, ..Counters::default() }, "calls_now is 1"),
        (Counters { answered_now: 1, ..Counters::default() }, "answered_now is 1"),
        (Counters { client_transactions_now: 2, ..Counters::default() }, "client_transactions_now"),
        (Counters { server_transactions_now: 2, ..Counters::default() }, "server_transactions_now"),
        (Counters { strays_now: 1, ..Counters::default() }, "strays_now"),
        (Counters { dialogs_now: 1, ..Counters::default() }, "dialogs_now"),
        (Counters { timers_now: 1, ..Counters::default() }, "timers_now"),
        (Counters { channels_now: 1, ..Counters::default() }, "channels_now is 1"),
    ] {
        let mut checks = Checks::default();
        checks.at_rest(counters, true);
        assert!(checks.violations[0].what.starts_with(complaint), "{:?}", checks.violations);
    }
    let mut checks = Checks::default();
    checks.at_rest(Counters::default(), false);
    assert_eq!(checks.violations.len(), 1);
}

/// A wire with nobody at its ends.
struct Wire {
    checks: Checks,
    at: u64,
}

impl Wire {
    fn new() -> Self {
        let mut checks = Checks::default();
        checks.knows("legin", Side::Caller, 0);
        Self { checks, at: 0 }
    }

    /// The caller's INVITE arrives.
    fn calls(&mut self) {
        self.gets(CALLER, &message("INVITE sip:b@203.0.113.1", "legin", "1 INVITE", ""));
    }

    /// An agent's message reaches the engine.
    fn gets(&mut self, from: &str, text: &str) {
        self.at += 1_000;
        let from = from.parse().expect("an address");
        self.checks.received(self.at, from, &Bytes::from(text.to_owned()));
    }

    /// The engine is made to send this.
    fn sends(&mut self, to: &str, text: &str) {
        self.at += 1_000;
        let to = to.parse().expect("an address");
        self.checks.sent(self.at, to, &Bytes::from(text.to_owned()));
    }

    /// The first complaint says so; `""`: there is none.
    fn finds(&self, complaint: &str) {
        match self.checks.violations.first() {
            None => assert_eq!(complaint, "", "nothing was found"),
            Some(found) => {
                assert!(!complaint.is_empty() && found.what.contains(complaint), "{}", found.what);
            }
        }
    }
}

/// A message of the leg `call_id`, whose branch is named after it.
fn message(start: &str, call_id: &str, cseq: &str, to_params: &str) -> String {
    let start = match start.starts_with("SIP/2.0") {
        true => start.to_owned(),
        false => format!("{start} SIP/2.0"),
    };
    format!(
        "{start}\r\nVia: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK{call_id}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@203.0.113.1>;tag=f{call_id}\r\n\
         To: <sip:b@203.0.113.1>{to_params}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\
         Contact: <sip:203.0.113.1:5060>\r\nX-Sim-Call: 0\r\nContent-Length: 0\r\n\r\n"
    )
}
