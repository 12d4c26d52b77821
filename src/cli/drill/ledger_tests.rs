//! Calls told as their ends see them, and the sums of it.

use super::*;

const FAULT: Ms = 10_000;
const UNDONE: Ms = 20_000;
const NODE: &str = "192.0.2.1:5060";
const NEXT: &str = "192.0.2.2:5060";

fn moments() -> Moments {
    Moments { fault_at: FAULT, undone_at: UNDONE, detected_at: Some(FAULT + 1_700) }
}

/// A ledger whose calls have one INVITE each, of the same number.
#[derive(Default)]
struct Told(Ledger);

impl Told {
    fn tried(&mut self, number: u64, call: u64, node: &str, at: Ms) {
        let node = node.parse().expect("an address");
        let call_id = format!("call-{number}");
        self.0.note_caller(at, number, CallerNews::Tried { call, node, call_id });
    }

    fn offered(&mut self, number: u64, purpose: Purpose, at: Ms) -> &mut Self {
        self.0.offer(number, purpose, at);
        self.tried(number, number, NODE, at);
        self
    }

    fn answered(&mut self, number: u64, purpose: Purpose, at: Ms) -> &mut Self {
        self.offered(number, purpose, at - 200);
        self.caller(number, at - 190, CallerNews::Rang);
        self.caller(number, at, CallerNews::Answered);
        self.0.note_carrier(at, 0, number, CarrierNews::Answered);
        self
    }

    fn caller(&mut self, number: u64, at: Ms, news: CallerNews) -> &mut Self {
        self.0.note_caller(at, number, news);
        self
    }

    fn callee(&mut self, number: u64, at: Ms, news: CarrierNews) -> &mut Self {
        self.0.note_carrier(at, 0, number, news);
        self
    }

    fn moved(&mut self, number: u64, at: Ms) -> &mut Self {
        let to: SocketAddr = NEXT.parse().expect("an address");
        self.caller(number, at, CallerNews::Moved(to));
        self.callee(number, at + 5, CarrierNews::Moved(to))
    }

    /// Hung up by the caller, and well.
    fn ended(&mut self, number: u64, at: Ms) -> &mut Self {
        self.0.note_hang_up(at, number, Side::Caller);
        self.caller(number, at + 2, CallerNews::Ended(End::ByUs));
        self.callee(number, at + 1, CarrierNews::Ended(by_peer()))
    }

    fn figures(&self, target: Target) -> Figures {
        self.0.figures(moments(), target, None)
    }

    fn causes(&self, target: Target) -> Vec<String> {
        self.figures(target).dropped.into_iter().map(|dropped| dropped.cause).collect()
    }
}

fn by_peer() -> End {
    End::ByPeer { reason: None }
}

#[test]
fn counts_calls_that_were_answered_at_the_fault_and_ended_as_they_should() {
    let mut told = Told::default();
    told.answered(1, Purpose::Held, 1_000).moved(1, FAULT + 2_000).ended(1, 30_000);
    told.answered(2, Purpose::New, 5_000).ended(2, 8_000);
    told.answered(3, Purpose::Held, 1_100).moved(3, FAULT + 2_100);
    told.0.note_hang_up(30_000, 3, Side::Callee);
    told.callee(3, 30_001, CarrierNews::Ended(End::ByUs));
    told.caller(3, 30_001, CallerNews::Ended(by_peer()));
    let figures = told.figures(Target::Node);
    assert_eq!((figures.in_flight, figures.survived), (2, 2), "one was over before");
    assert_eq!(figures.dropped, []);
    assert_eq!((figures.legs_told, figures.first_told_ms), (4, Some(2_000)));
    assert_eq!((figures.last_told_ms, figures.recovered_ms), (Some(2_105), Some(2_105)));
    assert_eq!((figures.detected_ms, figures.decided_ms), (Some(1_700), Some(2_000)));
    assert!(!told.0.is_anything_up());
}

#[test]
fn says_what_became_of_a_call_that_was_dropped() {
    let mut told = Told::default();
    for number in 1..=7 {
        told.answered(number, Purpose::Held, 1_000);
        if number != 7 {
            told.moved(number, FAULT + 2_000);
        }
    }
    let reason = Some("SIP;cause=481".to_owned());
    told.caller(1, FAULT + 3_000, CallerNews::Ended(End::ByPeer { reason }));
    told.callee(2, FAULT + 3_000, CarrierNews::Ended(by_peer()));
    for number in 3..=6 {
        told.0.note_hang_up(30_000, number, Side::Caller);
    }
    told.caller(3, 30_001, CallerNews::Ended(End::ByeRefused(481)));
    told.caller(4, 62_000, CallerNews::Ended(End::ByeUnanswered));
    told.callee(4, 40_000, CarrierNews::Ended(by_peer()));
    told.caller(5, 30_001, CallerNews::Ended(End::ByUs));
    let figures = told.figures(Target::Node);
    assert_eq!((figures.in_flight, figures.survived), (7, 0));
    assert_eq!(figures.recovered_ms, None, "one was never told");
    assert_eq!(
        figures.dropped[0].state,
        "answered at -9000 ms; caller told at 2000 ms, callee told at 2005 ms"
    );
    assert_eq!(figures.dropped[6].state, "answered at -9000 ms; caller not told, callee not told");
    assert_eq!(
        told.causes(Target::Node),
        [
            "the caller got a BYE 3000 ms after the fault (SIP;cause=481)",
            "the callee got a BYE 3000 ms after the fault",
            "the caller's BYE got 481",
            "the caller's BYE got no answer",
            "the callee got no BYE",
            "the caller's BYE got no answer, and the callee none",
            "it was never hung up",
        ]
    );
    assert!(told.0.is_anything_up());
}

#[test]
fn a_side_that_hangs_up_before_it_can_be_told_needs_only_the_other_to_be_released() {
    let mut told = Told::default();
    told.answered(1, Purpose::New, 9_000).answered(2, Purpose::New, 9_000);
    for number in [1, 2] {
        told.0.note_hang_up(FAULT + 100, number, Side::Caller);
    }
    // The node that took it over found that the caller is gone.
    told.callee(1, FAULT + 2_500, CarrierNews::Ended(by_peer()));
    let figures = told.figures(Target::Node);
    assert_eq!((figures.survived, figures.hung_up_before_told), (1, 2));
    assert_eq!(told.causes(Target::Node), ["the caller's BYE got no answer, and the callee none"]);
}

#[test]
fn a_carrier_that_cannot_hear_need_not_be_told_that_the_caller_hung_up() {
    let mut told = Told::default();
    told.answered(1, Purpose::New, 9_000).answered(2, Purpose::New, 9_000);
    for (number, at) in [(1, FAULT + 100), (2, UNDONE + 100)] {
        told.0.note_hang_up(at, number, Side::Caller);
        told.caller(number, at + 1, CallerNews::Ended(End::ByUs));
    }
    let carrier = |index, is_deaf| Target::Carrier { index, is_deaf };
    assert_eq!(told.causes(carrier(0, true)), ["the callee got no BYE"], "it hears again");
    assert_eq!(told.causes(carrier(0, false)).len(), 2);
    assert_eq!(told.causes(carrier(1, true)).len(), 2, "of another carrier");
}

#[test]
fn a_call_that_is_answered_after_the_fault_may_be_dropped_too() {
    let mut told = Told::default();
    told.answered(1, Purpose::New, FAULT + 500);
    told.0.note_hang_up(FAULT + 3_500, 1, Side::Callee);
    told.callee(1, FAULT + 3_501, CarrierNews::Ended(End::ByeRefused(481)));
    let figures = told.figures(Target::Node);
    assert_eq!((figures.in_flight, figures.survived), (0, 0));
    assert_eq!(figures.dropped[0].cause, "the callee's BYE got 481");
}

#[test]
fn counts_new_calls_that_fail_and_says_why() {
    let mut told = Told::default();
    told.offered(1, Purpose::New, 9_000).caller(1, 9_100, CallerNews::Refused(404));
    told.caller(1, 9_100, CallerNews::Lost);
    told.offered(2, Purpose::New, FAULT - 100).caller(2, FAULT - 90, CallerNews::Rang);
    told.caller(2, FAULT + 15_000, CallerNews::Left { was_heard: true });
    told.caller(2, FAULT + 15_000, CallerNews::Lost);
    told.offered(3, Purpose::New, FAULT + 50);
    told.caller(3, FAULT + 2_050, CallerNews::Left { was_heard: false });
    // On to the next node, which answers.
    told.tried(4, 3, NEXT, FAULT + 2_050);
    told.caller(4, FAULT + 2_060, CallerNews::Rang).caller(4, FAULT + 2_200, CallerNews::Answered);
    told.callee(4, FAULT + 2_200, CarrierNews::Answered);
    told.ended(4, FAULT + 5_000);
    told.offered(5, Purpose::New, FAULT + 900);
    told.caller(5, FAULT + 2_900, CallerNews::Left { was_heard: false });
    told.caller(5, FAULT + 2_900, CallerNews::Lost);
    told.offered(6, Purpose::New, FAULT + 1_000);
    assert_eq!(told.0.pending(Purpose::New), 1);
    assert_eq!(told.0.lost(Purpose::New), (3, Some("no node answered".to_owned())));

    let figures = told.figures(Target::Other);
    assert_eq!((figures.offered, figures.failed_before), (4, 1));
    assert_eq!(figures.answered_by_next_node, 1);
    let failed: Vec<_> =
        figures.failed.iter().map(|failed| (failed.offered_ms, failed.cause.as_str())).collect();
    assert_eq!(
        failed,
        [
            (-100, "rang, and was never answered"),
            (900, "no node answered"),
            (1_000, "not answered by the end of the drill"),
        ]
    );
    assert_eq!((figures.fails_for_ms, figures.recovered_ms), (Some(1_000), Some(1_000)));
    assert_eq!((figures.delay_during.calls, figures.delay_during.p50_ms), (1, Some(2_010)));
}

#[test]
fn delays_belong_to_the_time_in_which_a_call_was_offered() {
    let mut told = Told::default();
    for (number, at) in [(1, FAULT - 1), (2, FAULT), (3, UNDONE - 1), (4, UNDONE)] {
        told.answered(number, Purpose::New, at + 200);
    }
    told.answered(5, Purpose::Held, 5_000);
    let figures = told.figures(Target::Other);
    let calls = [figures.delay_before, figures.delay_during, figures.delay_after];
    assert_eq!(calls.map(|delay| delay.calls), [1, 2, 1]);
    assert_eq!(figures.delay_before.p99_ms, Some(10));
}

#[test]
fn a_carrier_is_recovered_from_when_another_one_answers() {
    let mut told = Told::default();
    told.answered(1, Purpose::Held, 1_000).ended(1, 30_000);
    told.answered(2, Purpose::New, FAULT + 400);
    told.0.note_carrier(FAULT + 400, 1, 2, CarrierNews::Answered);
    let figures = told.figures(Target::Carrier { index: 0, is_deaf: true });
    assert_eq!((figures.decided_ms, figures.recovered_ms), (Some(400), Some(400)));
}

#[test]
fn every_call_that_heard_the_last_word_is_to_be_on_record_once() {
    let mut told = Told::default();
    told.answered(1, Purpose::Held, 1_000).ended(1, 30_000);
    told.offered(2, Purpose::New, 2_000).caller(2, 2_100, CallerNews::Refused(486));
    told.offered(3, Purpose::New, 3_000).caller(3, 5_000, CallerNews::Left { was_heard: false });
    let record = |call: u64, taken: bool, wrong: bool| DrillRecord {
        inbound_call_id: format!("call-{call}"),
        node: "b".to_owned(),
        taken_from: taken.then(|| "a".to_owned()),
        is_wrong_region: wrong,
    };
    assert!(!told.0.are_on_record(&[record(1, true, false)]));
    assert!(told.0.are_on_record(&[record(1, true, false), record(2, false, false)]));
    let records = |records: &[DrillRecord]| {
        told.0.figures(moments(), Target::Node, Some(records)).records.expect("they were read")
    };
    let all = records(&[record(1, true, false), record(2, false, false), record(3, false, false)]);
    assert_eq!((all.expected, all.found, all.taken_over, all.wrong_region), (2, 3, 1, 0));
    assert_eq!((all.lost.len(), all.doubled.len()), (0, 0), "the third may have one, or none");
    let bad = records(&[record(1, true, true), record(1, false, false)]);
    assert_eq!((bad.lost, bad.doubled), (vec!["call-2".to_owned()], vec!["call-1".to_owned()]));
    assert_eq!(bad.wrong_region, 1);
}

#[test]
fn knows_who_talks_and_whom_the_last_trial_reached() {
    let mut told = Told::default();
    told.offered(1, Purpose::Trial, 10);
    assert_eq!(told.0.last_answered_by(), None);
    told.caller(1, 100, CallerNews::Answered).callee(1, 99, CarrierNews::Answered);
    assert_eq!(told.0.last_answered_by(), Some(NODE.parse().expect("an address")));
    assert_eq!(told.0.talking(Purpose::Trial), [(1, 0, 100)]);
    assert_eq!(told.0.talking(Purpose::New), []);
    told.0.note_hang_up(150, 1, Side::Caller);
    assert_eq!(told.0.talking(Purpose::Trial), []);
}
