//! Transfers and the death of a node.

use super::*;

const A: &str = "203.0.113.1:5060";
const B: &str = "203.0.113.2:5060";
const TARGET: &str = "Refer-To: <sip:+14155550199@203.0.113.1>\r\n";

#[test]
fn goes_on_with_a_transferred_call_of_a_dead_node() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_to_be_transferred();
    let target = a.refer_kept(&ok);
    a.answer(FIRST, &target, 200, "t1", SDP);
    let asked = a.sent().pop().expect("the callee is asked").1;
    a.answer(FIRST, &asked, 200, "", SDP);
    let offered = a.sent().pop().expect("the target is told").1;
    a.outputs.clear();
    a.answer(FIRST, &offered, 200, "", SDP);
    assert_eq!(lines(&a.sent()), [to_first("ACK"), to_first("ACK")]);
    let waiting: Vec<_> = a.waiting().iter().map(|(_, message)| message.method()).collect();
    assert_eq!(waiting, [Method::Notify, Method::Bye], "until another node knows of it");
    let kept = a.kept().pop().expect("it is kept").1;
    assert_eq!(kept.record.attempts.len(), 2);
    let mut b = node(B, 2);
    b.adopt(&kept);
    assert_eq!(b.engine.counters().channels_now, 2);
    b.pass(Duration::ZERO);
    let sent = b.sent();
    assert_eq!(lines(&sent), [to_first("INVITE"), to_first("INVITE")]);
    assert_eq!([sent[0].1.to_tag(), sent[1].1.to_tag()], [Some(&b"t1"[..]), Some(&b"b1"[..])]);
    for (_, refresh) in &sent {
        b.answer(FIRST, refresh, 200, "", SDP);
    }
    b.sent();
    b.carrier_sends(FIRST, &from_carrier(&sent[0].1, "BYE", 1, ""));
    let sent = b.sent();
    assert_eq!(lines(&sent), [to_first("200 OK"), to_first("BYE")]);
    assert_eq!(sent[1].1.to_tag(), Some(&b"b1"[..]));
    b.answer(FIRST, &sent[1].1, 200, "", "");
    let record = b.record();
    assert_eq!((record.end_cause, record.ended_by), (EndCause::Completed, EndedBy::Callee));
    assert_eq!(record.attempts[1].transferred_to.as_deref(), Some("+14155550199"));
    b.run_dry();
}

#[test]
fn goes_on_with_the_call_as_it_was_when_its_node_dies_during_a_transfer() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_to_be_transferred();
    let key = a.kept()[0].0;
    a.command(Command::Kept(vec![key]));
    let target = a.refer_kept(&ok);
    a.answer(FIRST, &target, 180, "t1", "");
    a.pass(Duration::from_secs(3));
    let kept = a.kept();
    assert_eq!(kept.len(), 1, "a transfer is kept once it is done");
    a.command(Command::HandOver { to: 7, limit: 10, region: None });
    assert_eq!(a.engine.counters().calls_now, 1, "it does not move meanwhile");
    // Another node has taken it: the target must not ring for nobody.
    a.command(Command::Lost(vec![key]));
    assert_eq!(lines(&a.sent()), [to_first("CANCEL")]);
    assert_eq!(a.engine.counters().channels_now, 0);
    let mut b = node(B, 2);
    b.adopt(&kept[0].1);
    b.pass(Duration::ZERO);
    assert_eq!(lines(&b.sent()), [to_caller("INVITE"), to_first("INVITE")]);
}

impl World {
    fn establish_to_be_transferred(&mut self) -> (Message, Message) {
        self.caller_sends(&invite("1"));
        let outbound = self.sent()[1].1.clone();
        self.answer(FIRST, &outbound, 200, "b1", SDP);
        self.sent();
        let ok = self.waiting()[0].1.clone();
        self.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
        (ok, outbound)
    }

    /// Has the caller refer the callee; gives the INVITE to the target.
    fn refer_kept(&mut self, ok: &Message) -> Message {
        self.caller_sends(&with_lines(&in_dialog(ok, "REFER", 2, ""), TARGET));
        let mut sent = self.sent();
        self.caller_sends(&response(&sent[1].1, 200, "", CALLER, ""));
        sent.remove(2).1
    }
}

fn node(own: &str, seed: u64) -> World {
    let mut rows = rows();
    rows.customers[0].refer = "local".to_owned();
    World::at(own, seed, rows, |settings| settings.replicates = true)
}
