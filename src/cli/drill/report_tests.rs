use time::macros::datetime;

use super::*;
use crate::cli::drill::figures::{Dropped, Failed, Records};
use crate::cli::drill::hypothesis::Hypothesis;

fn report() -> Report {
    let figures = Figures {
        in_flight: 130,
        survived: 129,
        dropped: vec![Dropped {
            call_id: "drill-1-7".to_owned(),
            state: "answered at -900 ms; caller told at 1710 ms, callee not told".to_owned(),
            cause: "the callee's BYE got 481".to_owned(),
        }],
        hung_up_before_told: 3,
        offered: 202,
        answered_by_next_node: 20,
        failed: vec![Failed {
            call_id: "drill-1-153".to_owned(),
            offered_ms: -95,
            cause: "rang, and was never answered".to_owned(),
        }],
        fails_for_ms: Some(0),
        failed_before: 0,
        legs_told: 257,
        first_told_ms: Some(1_710),
        last_told_ms: Some(2_985),
        detected_ms: Some(1_582),
        decided_ms: Some(1_710),
        recovered_ms: Some(2_985),
        delay_before: Delay { calls: 49, p50_ms: Some(2), p99_ms: Some(16) },
        delay_during: Delay { calls: 120, p50_ms: Some(2_009), p99_ms: Some(2_030) },
        delay_after: Delay::default(),
        records: Some(Records {
            expected: 352,
            found: 351,
            lost: vec!["drill-1-152".to_owned()],
            taken_over: 131,
            ..Records::default()
        }),
    };
    let hypothesis = Hypothesis::parse("dropped=0,fails_for_ms=5000").expect("it reads");
    let checks = hypothesis.check(&figures);
    let moment = |ms, what: &str| Moment { ms, what: what.to_owned() };
    Report {
        drill_id: "01a21024-66c2-7977-a9e4-b8229129561d".to_owned(),
        scenario: "node-loss".to_owned(),
        started_at: datetime!(2026-03-04 05:06:07 UTC),
        ended_at: datetime!(2026-03-04 05:06:39 UTC),
        version: "0.1.0".to_owned(),
        nodes: vec!["192.0.2.1:5060".to_owned(), "192.0.2.2:5060".to_owned()],
        carriers: vec!["192.0.2.9:7001".to_owned()],
        fault: "`a | b`".to_owned(),
        fault_lasted_ms: 12_004,
        hypothesis: hypothesis.to_string(),
        passed: checks.iter().all(|check| check.holds),
        checks,
        timeline: vec![moment(-5_003, "100 calls are up; new ones begin"), moment(0, "fault")],
        figures,
        earlier: vec![Earlier {
            started_at: datetime!(2026-02-01 00:00:00 UTC),
            version: "0.0.9".to_owned(),
            passed: true,
            in_flight: 120,
            dropped: 0,
            offered: 200,
            failed: 2,
            detected_ms: Some(1_600),
            decided_ms: None,
            recovered_ms: Some(3_000),
            delay_during_p99_ms: Some(2_011),
        }],
    }
}

#[test]
fn a_report_for_people() {
    insta::assert_snapshot!(report().markdown());
}

#[test]
fn a_report_for_machines_has_the_same_names_as_the_sums() {
    let json = serde_json::to_value(report()).expect("it is JSON");
    assert_eq!(json["passed"], false);
    assert_eq!(json["started_at"], "2026-03-04T05:06:07Z");
    assert_eq!(json["figures"]["dropped"][0]["cause"], "the callee's BYE got 481");
    assert_eq!(json["figures"]["delay_during"]["p99_ms"], 2_030);
    assert_eq!(json["figures"]["records"]["lost"][0], "drill-1-152");
    assert_eq!(json["checks"][2]["holds"], false);
    assert_eq!(json["earlier"][0]["decided_ms"], serde_json::Value::Null);
}

#[test]
fn lists_no_more_calls_than_anybody_reads() {
    let mut report = report();
    let one = report.figures.failed[0].clone();
    report.figures.failed = vec![one; MAX_LISTED + 7];
    let text = report.markdown();
    assert_eq!(text.matches("rang, and was never answered").count(), MAX_LISTED);
    assert!(text.contains("And 7 more, in the JSON file."), "{text}");
}

#[test]
fn says_that_records_were_not_looked_at() {
    let mut report = report();
    report.figures.records = None;
    assert!(report.markdown().contains("Not looked at: there was no `--database-url`."));
}
