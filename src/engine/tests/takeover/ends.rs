//! What is kept of a call besides its dialogs, whose it is, and how it ends where its node may die.

use super::*;

#[test]
fn keeps_a_session_description_as_soon_as_it_is_another_one() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_kept();
    a.caller_sends(&in_dialog(&ok, "INVITE", 2, CHANGED_SDP));
    let reinvite = a.sent()[1].1.clone();
    a.answer(FIRST, &reinvite, 200, "b1", SDP);
    a.sent();
    a.caller_sends(&in_dialog(&ok, "ACK", 2, ""));
    let kept = a.kept();
    assert_eq!(kept.len(), 2);
    let description = kept[1].1.outbound.description.as_ref().expect("one");
    assert_eq!(*description.0, *CHANGED_SDP.as_bytes());

    a.caller_sends(&in_dialog(&ok, "INVITE", 3, CHANGED_SDP));
    a.caller_sends(&in_dialog(&ok, "ACK", 3, ""));
    assert_eq!(a.kept().len(), 2, "nothing is new");
}

#[test]
fn keeps_when_a_session_expires_each_time_it_is_refreshed() {
    let mut a = node(A, 1);
    let timer = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n";
    a.caller_sends(&with_lines(&invite("1"), timer));
    let outbound = a.sent()[1].1.clone();
    a.answer(FIRST, &outbound, 200, "b1", SDP);
    let ok = a.waiting()[0].1.clone();
    a.caller_sends(&in_dialog(&ok, "ACK", 1, ""));
    let expires_at = a.kept()[0].1.expires_at();
    assert_eq!(expires_at[1], None, "the carrier knows of no timer");
    a.pass(Duration::from_secs(300));
    a.caller_sends(&with_lines(&in_dialog(&ok, "UPDATE", 2, ""), timer));
    let later = a.kept()[1].1.expires_at();
    assert_eq!(later[0], expires_at[0].map(|at| at + Duration::from_secs(300)));
}

#[test]
fn lets_go_of_a_call_that_another_has_though_it_never_heard_that_it_was_kept() {
    let mut a = node(A, 1);
    a.establish_kept();
    let call_id = a.kept()[0].1.record.call_id;
    let others = [call_id].into_iter().collect();
    let owned = Arc::new(Ownership { others, ..Ownership::default() });
    a.command(Command::Owned { owned, asked_at: a.now });
    assert_eq!(a.engine.counters().calls_released, 1);
    assert!(a.sent().is_empty());
    a.run_dry();
}

#[test]
fn asks_for_everything_again_where_the_store_is_another_one() {
    let mut a = node(A, 1);
    a.establish_kept();
    let key = a.kept()[0].0;
    a.command(Command::Kept(vec![key]));
    a.command(Command::KeepAgain);
    a.command(Command::HandOver { to: 7, limit: 10, region: None });
    a.owns(&[]);
    assert_eq!(a.engine.counters().calls_now, 1, "it may be missing there, and is nobody else's");
    a.command(Command::KeepMissing);
    assert_eq!(a.kept().len(), 2);
}

#[test]
fn writes_the_record_of_a_kept_call_once_both_sides_know_of_its_end() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_kept();
    let key = a.kept()[0].0;
    a.command(Command::Kept(vec![key]));
    a.now += Duration::from_secs(60);
    a.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    let bye = a.sent()[1].1.clone();
    assert!(!a.has_record(), "should the node die now, another one has to end the callee's side");
    let ended_at = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    a.pass(Duration::from_secs(1));
    a.answer(FIRST, &bye, 200, "", "");
    let record = a.record();
    assert_eq!((record.end_cause, record.ended_by), (EndCause::Completed, EndedBy::Caller));
    assert_eq!(record.ended_at, ended_at, "that is when it was over");
    a.run_dry();
}

#[test]
fn writes_the_record_though_a_side_says_nothing_or_the_node_ends() {
    for how in [Some(Command::GiveOutRecords), None] {
        let mut a = node(A, 1);
        let (ok, _) = a.establish_kept();
        let key = a.kept()[0].0;
        a.command(Command::Kept(vec![key]));
        a.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
        match how {
            Some(command) => a.command(command),
            None => a.pass(Duration::from_secs(5)),
        }
        assert_eq!(a.record().ended_by, EndedBy::Caller);
        a.run_dry();
        a.record();
    }
}

#[test]
fn writes_the_record_of_a_call_that_was_never_kept_at_once() {
    let mut a = node(A, 1);
    let (ok, _) = a.establish_kept();
    a.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
    assert_eq!(a.record().ended_by, EndedBy::Caller);
}

#[test]
fn records_a_caller_that_hung_up_before_it_could_be_told_as_one_that_hung_up() {
    for is_late in [false, true] {
        let mut a = node(A, 1);
        let (ok, _) = a.establish_kept();
        let mut b = node(B, 2);
        b.adopt(&a.kept()[0].1);
        b.pass(Duration::ZERO);
        let sent = b.sent();
        b.answer(FIRST, &sent[1].1, 200, "", SDP);
        b.answer(CALLER, &sent[0].1, 481, "", "");
        let again = b.sent().pop().expect("it is told once more").1;
        b.answer(CALLER, &again, 481, "", "");
        let byes = b.sent();
        for (to, bye) in byes.iter().filter(|(_, sent)| sent.method() == Method::Bye) {
            b.answer(to, bye, 200, "", "");
        }
        assert!(!b.has_record());
        b.pass(Duration::from_secs(if is_late { 6 } else { 3 }));
        b.caller_sends(&in_dialog(&ok, "BYE", 2, ""));
        let record = b.record();
        let expected = match is_late {
            false => (EndCause::Completed, EndedBy::Caller, ""),
            true => {
                let lost = "lost in takeover: a leg did not know its dialog";
                (EndCause::Terminated, EndedBy::Holdfast, lost)
            }
        };
        assert_eq!((record.end_cause, record.ended_by, &*record.detail), expected);
        b.run_dry();
    }
}

#[test]
fn ends_both_sides_of_a_call_that_was_answered_after_it_was_kept_as_ringing() {
    let mut a = node(A, 1);
    a.caller_sends(&invite("1"));
    let first = a.sent()[1].1.clone();
    a.answer(FIRST, &first, 180, "b1", "");
    let ringing = a.sent().pop().expect("the caller is told").1;
    a.pass(Duration::from_secs(2));
    let text = serde_json::to_string(&a.ringing()[0].1).expect("it can be written");
    let mut b = node(B, 2);
    b.command(Command::EndRinging(Box::new(serde_json::from_str(&text).expect("and read"))));
    let byes = b.sent().split_off(2);
    assert_eq!(lines(&byes), [to_caller("BYE"), to_first("BYE")]);
    assert_eq!(byes[0].1.from_tag(), ringing.to_tag());
    assert_eq!(byes[0].1.call_id(), ringing.call_id());
    assert_eq!((byes[1].1.from_tag(), byes[1].1.to_tag()), (first.from_tag(), Some(&b"b1"[..])));
    assert!(byes.iter().all(|(_, bye)| bye.cseq().0 > first.cseq().0));
    b.run_dry();
}

#[test]
fn keeps_a_call_once_more_that_begins_to_ring_late() {
    let mut a = node(A, 1);
    a.caller_sends(&invite("1"));
    let first = a.sent()[1].1.clone();
    a.answer(FIRST, &first, 100, "", "");
    a.pass(Duration::from_millis(1_500));
    a.answer(FIRST, &first, 180, "b1", "");
    a.pass(Duration::from_secs(3));
    let kept = a.ringing();
    let has_dialogs: Vec<bool> = kept.iter().map(|(_, kept)| kept.dialogs.is_some()).collect();
    assert_eq!(has_dialogs, [false, true]);
}

impl World {
    fn has_record(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Record(_)))
    }
}
