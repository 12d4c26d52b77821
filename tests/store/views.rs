//! The views give an operator numbers that add up.

use time::{Duration, OffsetDateTime};

use crate::database::Database;
use crate::sample::{STARTED_AT, attempt, call, probe, target};

on_both_stores!(carrier_status_adds_up, recent_calls_shows_the_newest_first);

async fn carrier_status_adds_up(database: Database) {
    database
        .execute(
            "insert into carriers (carrier_id, name, enabled) values (3, 'trunk', false);\
             insert into gateways (gateway_id, carrier_id, name, host, admin_state) values \
             (4, 3, 'seen', 'seen.example', 'draining'), (5, 3, 'unseen', 'unseen.example', 'on')",
        )
        .await;
    let now = OffsetDateTime::now_utc();
    let recent = |number, ago| {
        let mut call = call(number);
        for attempt in &mut call.attempts {
            attempt.started_at = now - ago;
        }
        call
    };
    let mut elsewhere = recent(3, Duration::minutes(1));
    for attempt in &mut elsewhere.attempts {
        attempt.port = 5071;
    }
    let mut more = recent(4, Duration::minutes(59));
    more.attempts.extend([attempt("lost"), attempt("lost")]);
    let store = &database.store;
    store
        .write_calls(&[recent(1, Duration::minutes(5)), recent(2, Duration::minutes(61))])
        .await
        .unwrap();
    store.write_calls(&[elsewhere, more]).await.unwrap();
    let mut last = probe(now);
    last.status_code = None;
    last.delay_ms = 500.5;
    store.write_probes(&[last, probe(STARTED_AT)]).await.unwrap();
    let mut steady = target(4, "[2001:db8::4]:5060");
    steady.unusable_for_ms = 0;
    store.save_health("node-1", &[target(4, "192.0.2.4:5070"), steady]).await.unwrap();

    let columns = [
        "carrier_id",
        "carrier",
        "carrier_enabled",
        "gateway_id",
        "gateway",
        "address",
        "admin_state",
        "node",
        "state",
        "failure_rate",
        "latency_ms",
        "unusable_until > updated_at",
        "attempts_last_hour",
        "failures_last_hour",
        "answered_share",
        "last_probe_status_code",
        "last_probe_ms",
    ];
    let rows = database.columns(&columns, "carrier_status").await;
    assert_eq!(
        rows,
        [
            [
                "3",
                "trunk",
                "0",
                "4",
                "seen",
                "192.0.2.4:5070",
                "draining",
                "node-1",
                "half_open",
                "0.125",
                "33.5",
                "1",
                "4",
                "2",
                "0.5",
                "null",
                "500.5",
            ],
            [
                "3",
                "trunk",
                "0",
                "4",
                "seen",
                "[2001:db8::4]:5060",
                "draining",
                "node-1",
                "half_open",
                "0.125",
                "33.5",
                "null",
                "0",
                "0",
                "null",
                "null",
                "null",
            ],
            [
                "3",
                "trunk",
                "0",
                "5",
                "unseen",
                "unseen.example:5060",
                "on",
                "null",
                "unknown",
                "null",
                "null",
                "null",
                "0",
                "0",
                "null",
                "null",
                "null",
            ],
        ]
    );
    let probes = database.columns(&["count(last_probe_at)", "count(updated_at)"], "carrier_status");
    assert_eq!(probes.await, [["1", "2"]]);
}

async fn recent_calls_shows_the_newest_first(database: Database) {
    let mut refused = call(2);
    refused.started_at += Duration::hours(1);
    (refused.ringing_at, refused.answered_at, refused.customer) = (None, None, None);
    refused.attempts.clear();
    database.store.write_calls(&[call(1), refused]).await.unwrap();

    let columns = [
        "customer",
        "calling",
        "called",
        "status_code",
        "end_cause",
        "ended_by",
        "talk_seconds",
        "post_dial_delay_ms",
        "attempts",
        "carriers",
        "gateway",
        "detail",
        "call_id",
    ];
    let mut rows = database.columns(&columns, "recent_calls").await;
    let talk_seconds: f64 = rows[1].remove(6).parse().unwrap();
    assert!((talk_seconds - 60.25).abs() < 0.002, "{talk_seconds}");
    assert_eq!(
        rows[0],
        [
            "null",
            "+4930111",
            "+4930222",
            "200",
            "completed",
            "caller",
            "null",
            "null",
            "0",
            "null",
            "null",
            "ended 'oddly'",
            "00000000-0000-0000-0000-000000000002",
        ]
    );
    assert_eq!(
        rows[1],
        [
            "acme",
            "+4930111",
            "+4930222",
            "200",
            "completed",
            "caller",
            "1500",
            "2",
            "lost, won",
            "won-gw",
            "ended 'oddly'",
            "00000000-0000-0000-0000-000000000001",
        ]
    );
}
