//! Calls and probes come back as they went in, once, until they are pruned.

use holdfast::store::record::StoredCall;
use holdfast::store::{Json, StoreKind};
use time::Duration;

use crate::database::Database;
use crate::sample::{STARTED_AT, attempt, call, probe};

on_both_stores!(
    keeps_every_column_of_a_call,
    keeps_a_call_of_which_little_is_known,
    keeps_every_column_of_a_probe,
    a_repeated_batch_doubles_nothing,
    writes_a_large_batch,
    prunes_what_is_old,
    keeps_a_record_when_its_carrier_goes,
);

async fn keeps_every_column_of_a_call(database: Database) {
    database.store.write_calls(&[call(1)]).await.unwrap();

    let times: Vec<_> = ["started_at", "ringing_at", "answered_at", "ended_at"]
        .map(|column| database.time(column))
        .into();
    let source_address = database.host("source_address");
    let mut columns = vec![
        "call_id",
        "node",
        "customer_id",
        "customer",
        "route_id",
        "region",
        "calling",
        "called",
        "source_port",
        "source",
        "inbound_call_id",
        "status_code",
        "end_cause",
        "ended_by",
        "detail",
        "country",
        "taken_from",
    ];
    columns.push(&source_address);
    columns.extend(times.iter().map(String::as_str));
    assert_eq!(
        database.columns(&columns, "calls").await,
        [[
            "00000000-0000-0000-0000-000000000001",
            "node-1",
            "7",
            "acme",
            "8",
            "eu",
            "+4930111",
            "+4930222",
            "65535",
            "[2001:db8::1]:65535",
            "in-1@example.com",
            "200",
            "completed",
            "caller",
            "ended 'oddly'",
            "49",
            "other-node",
            "2001:db8::1",
            "2026-03-04T05:06:07.123456Z",
            "2026-03-04T05:06:08.623456Z",
            "2026-03-04T05:06:10.123456Z",
            "2026-03-04T05:07:10.373456Z",
        ]]
    );
    let decision = &database.columns(&["decision"], "calls").await[0][0];
    assert_eq!(Some(Json::from(decision.clone())), call(1).decision);

    let address = database.host("address");
    let started_at = database.time("started_at");
    let columns = [
        "call_id",
        "attempt_number",
        "carrier_id",
        "carrier",
        "gateway_id",
        "gateway",
        &address,
        "port",
        "outbound_call_id",
        &started_at,
        "trying_ms",
        "ringing_ms",
        "ended_ms",
        "origin",
        "stage",
        "status_code",
        "reason",
        "class",
        "action",
        "failure_rule_id",
        "late_answer",
        "weight",
        "failure_rule",
        "transferred_to",
    ];
    let attempts = database.columns(&columns, "call_attempts order by attempt_number").await;
    let first = [
        "00000000-0000-0000-0000-000000000001",
        "1",
        "3",
        "lost",
        "4",
        "lost-gw",
        "192.0.2.4",
        "5070",
        "out-lost",
        "2026-03-04T05:06:07.123457Z",
        "4294967295",
        "null",
        "3000",
        "remote",
        "ringing",
        "503",
        "OK",
        "carrier_hard",
        "stop",
        "9",
        "1",
        "0.5",
        "status 503 -> carrier_hard, stop, weight 0.5",
        "+14155550199",
    ];
    // How the stores write a real number that is whole.
    let nothing = match database.store.kind() {
        StoreKind::Postgres => "0".to_owned(),
        StoreKind::Sqlite => "0.0".to_owned(),
    };
    let second = [
        "00000000-0000-0000-0000-000000000001",
        "2",
        "3",
        "won",
        "4",
        "won-gw",
        "192.0.2.4",
        "5070",
        "out-won",
        "2026-03-04T05:06:07.123457Z",
        "4294967295",
        "20",
        "3000",
        "remote",
        "ringing",
        "200",
        "OK",
        "answered",
        "stop",
        "9",
        "0",
        &nothing,
        "null",
        "null",
    ];
    assert_eq!(attempts, [first, second]);
}

async fn keeps_a_call_of_which_little_is_known(database: Database) {
    let refused = StoredCall {
        customer_id: None,
        customer: None,
        route_id: None,
        region: None,
        ringing_at: None,
        answered_at: None,
        decision: None,
        attempts: Vec::new(),
        source_address: "192.0.2.7/32".parse().unwrap(),
        ..call(2)
    };
    database.store.write_calls(&[refused]).await.unwrap();
    let columns =
        ["customer_id", "customer", "route_id", "region", "ringing_at", "answered_at", "decision"];
    assert_eq!(database.columns(&columns, "calls").await, [["null"; 7]]);
    assert_eq!(database.columns(&["source"], "calls").await, [["192.0.2.7:65535"]]);
}

async fn keeps_every_column_of_a_probe(database: Database) {
    let mut lost = probe(STARTED_AT + Duration::seconds(1));
    lost.status_code = None;
    database.store.write_probes(&[probe(STARTED_AT), lost]).await.unwrap();
    let address = database.host("address");
    let ended_at = database.time("ended_at");
    let columns = ["node", "gateway_id", &address, "port", &ended_at, "status_code", "delay_ms"];
    assert_eq!(
        database.columns(&columns, "probe_results order by ended_at").await,
        [
            ["node-1", "4", "192.0.2.4", "5070", "2026-03-04T05:06:07.123456Z", "200", "12.5"],
            ["node-1", "4", "192.0.2.4", "5070", "2026-03-04T05:06:08.123456Z", "null", "12.5"],
        ]
    );
}

async fn a_repeated_batch_doubles_nothing(database: Database) {
    let store = &database.store;
    store.write_calls(&[call(1), call(2)]).await.unwrap();
    let mut changed = call(2);
    changed.attempts.push(attempt("third"));
    store.write_calls(&[call(1), changed, call(3), call(3)]).await.unwrap();
    store.write_calls(&[]).await.unwrap();
    store.write_probes(&[]).await.unwrap();
    assert_eq!(database.count("calls").await, 3);
    assert_eq!(database.count("call_attempts").await, 6);
}

async fn writes_a_large_batch(database: Database) {
    let calls: Vec<_> = (1..=2_000).map(call).collect();
    database.store.write_calls(&calls).await.unwrap();
    assert_eq!(database.count("calls").await, 2_000);
    assert_eq!(database.count("call_attempts").await, 4_000);
}

async fn prunes_what_is_old(database: Database) {
    let store = &database.store;
    // More than one statement deletes at a time.
    let old: Vec<_> = (0..5_001).map(|_| probe(STARTED_AT)).collect();
    store.write_probes(&old).await.unwrap();
    let fresh = STARTED_AT + Duration::hours(1);
    store.write_probes(&[probe(fresh)]).await.unwrap();
    let mut late = call(2);
    late.ended_at = fresh;
    store.write_calls(&[call(1), late]).await.unwrap();

    assert_eq!(store.prune(fresh, None).await.unwrap(), 5_001);
    assert_eq!(database.count("calls").await, 2);
    assert_eq!(store.prune(fresh, Some(fresh)).await.unwrap(), 1);

    assert_eq!(database.count("probe_results").await, 1);
    let left = database.columns(&["inbound_call_id"], "calls").await;
    assert_eq!(left, [["in-2@example.com"]]);
    assert_eq!(database.count("call_attempts").await, 2);
}

async fn keeps_a_record_when_its_carrier_goes(database: Database) {
    database.execute("insert into carriers (carrier_id, name) values (3, 'won')").await;
    database.store.write_calls(&[call(1)]).await.unwrap();
    database.execute("delete from carriers").await;
    assert_eq!(database.count("call_attempts where carrier = 'won'").await, 1);
}
