//! Drills are kept, and what they ask of the store is what the nodes have written.

use std::net::SocketAddr;
use std::time::Duration as Length;

use holdfast::carrier::Tables;
use holdfast::store::StoreKind;
use holdfast::store::answered::Lease;
use holdfast::store::drills::{CLEAN, DrillRow, DrillTables, ELSEWHERE};
use holdfast::store::record::StoredCall;
use time::Duration;
use uuid::Uuid;

use crate::database::Database;
use crate::sample::{STARTED_AT, attempt, call};

on_both_stores!(
    keeps_every_column_of_a_drill,
    gives_the_last_drills_of_a_scenario,
    refuses_a_scenario_that_nobody_knows,
    makes_tables_that_stand_and_takes_them_away,
    shows_leases_calls_and_how_a_carrier_is_seen,
    finds_the_records_of_a_drill,
);

fn drill(number: u128) -> DrillRow {
    DrillRow {
        drill_id: Uuid::from_u128(number),
        scenario: "node-loss".to_owned(),
        started_at: STARTED_AT + Duration::hours(i64::try_from(number).unwrap()),
        ended_at: STARTED_AT + Duration::hours(9),
        nodes: "192.0.2.1:5060,192.0.2.2:5060".to_owned(),
        version: "0.1.0".to_owned(),
        hypothesis: "dropped=0".to_owned(),
        passed: true,
        calls_in_flight: 1,
        calls_dropped: 2,
        calls_offered: 3,
        calls_failed: 4,
        fails_for_ms: Some(5),
        detected_ms: Some(6),
        decided_ms: Some(7),
        recovered_ms: Some(8),
        delay_before_p99_ms: Some(9),
        delay_during_p99_ms: Some(10),
        delay_after_p99_ms: Some(11),
        calls_wrong_region: Some(12),
        records_lost: Some(13),
        records_doubled: Some(14),
        report: "{\"passed\": true}".to_owned(),
    }
}

async fn keeps_every_column_of_a_drill(database: Database) {
    let bare = DrillRow {
        passed: false,
        fails_for_ms: None,
        detected_ms: None,
        decided_ms: None,
        recovered_ms: None,
        delay_before_p99_ms: None,
        delay_during_p99_ms: None,
        delay_after_p99_ms: None,
        calls_wrong_region: None,
        records_lost: None,
        records_doubled: None,
        ..drill(2)
    };
    database.store.write_drill(&drill(1)).await.unwrap();
    database.store.write_drill(&bare).await.unwrap();
    assert_eq!(database.store.drills("node-loss", 9).await.unwrap(), [bare, drill(1)]);
}

async fn gives_the_last_drills_of_a_scenario(database: Database) {
    for number in 1..=4 {
        database.store.write_drill(&drill(number)).await.unwrap();
    }
    let other = DrillRow { scenario: "partition".to_owned(), ..drill(9) };
    database.store.write_drill(&other).await.unwrap();
    let last = database.store.drills("node-loss", 2).await.unwrap();
    assert_eq!(last, [drill(4), drill(3)]);
    assert!(database.store.drills("store-loss", 2).await.unwrap().is_empty());
}

async fn refuses_a_scenario_that_nobody_knows(database: Database) {
    let wrong = DrillRow { scenario: "earthquake".to_owned(), ..drill(1) };
    let error = database.store.write_drill(&wrong).await.unwrap_err();
    assert!(!error.is_unavailable());
    assert!(error.to_string().contains("scenario_is_one_that_the_manual_lists"), "{error}");
}

fn tables(region: Option<&str>) -> DrillTables {
    DrillTables {
        caller: "192.0.2.9".parse().unwrap(),
        carriers: vec!["192.0.2.10:7001".parse().unwrap(), "192.0.2.10:7002".parse().unwrap()],
        region: region.map(str::to_owned),
    }
}

async fn makes_tables_that_stand_and_takes_them_away(database: Database) {
    let own =
        "insert into carriers (name) values ('own'); insert into customers (name) values ('drill')";
    database.execute(own).await;
    let before = database.store.read_rows().await.unwrap();
    // A second time: what is there already goes first.
    for region in [Some("eu"), None] {
        database.store.execute(&[tables(region).sql()]).await.unwrap();
    }
    let rows = database.store.read_rows().await.unwrap();
    assert!(Tables::check(rows.clone(), 1).is_ok());
    let gateways = rows.gateways.iter().map(|row| (row.name.as_str(), row.host.as_str(), row.port));
    let expected = [("drill-1", "192.0.2.10", 7001), ("drill-2", "192.0.2.10", 7002)];
    assert_eq!(gateways.collect::<Vec<_>>(), expected);
    assert_eq!(rows.customer_addresses[0].address_range, "192.0.2.9/32".parse().unwrap());
    assert_eq!(rows.routes[0].customer_id, Some(rows.customer_addresses[0].customer_id));
    assert_eq!(rows.routes[0].strategy, "priority");
    assert_eq!(rows.route_carriers.iter().map(|row| row.priority).collect::<Vec<_>>(), [1, 2]);

    database.store.execute(&[tables(Some("eu")).sql()]).await.unwrap();
    let rows = database.store.read_rows().await.unwrap();
    assert!(Tables::check(rows.clone(), 1).is_ok());
    let regions = rows.carriers.iter().map(|row| (row.name.as_str(), row.region.as_deref()));
    let expected = [
        ("own", None),
        ("drill-1", Some("eu")),
        ("drill-2", Some("eu")),
        (ELSEWHERE, Some(ELSEWHERE)),
    ];
    assert_eq!(regions.collect::<Vec<_>>(), expected);
    let caller = rows.customers.iter().find(|row| row.name == "drill-callers").unwrap();
    assert_eq!(caller.region.as_deref(), Some("eu"));
    assert_eq!(rows.route_carriers.iter().map(|row| row.priority).min(), Some(0), "the trap first");

    database.store.execute(&[CLEAN.to_owned()]).await.unwrap();
    assert_eq!(database.store.read_rows().await.unwrap(), before);
    let broken = format!("{CLEAN} insert into nowhere values (1);");
    assert!(database.store.execute(&[broken]).await.is_err());
}

async fn shows_leases_calls_and_how_a_carrier_is_seen(database: Database) {
    let store = &database.store;
    store.execute(&[tables(Some("eu")).sql()]).await.unwrap();
    let lease = Lease {
        id: 7,
        node: "a".to_owned(),
        address: Some("192.0.2.1:5060".to_owned()),
        region: None,
        is_draining: false,
    };
    store.renew(&lease).await.unwrap();
    for (number, node) in [(1, "a"), (2, "b"), (3, "b"), (4, "b")] {
        // The last one rings.
        let answered_at = if number < 4 { "'2026-03-04T05:06:07Z'" } else { "null" };
        database
            .execute(&format!(
                "insert into calls_in_progress (call_id, node_lease_id, node, answered_at, inbound_tag, \
                   outbound_tag, state) \
                 values ('00000000-0000-0000-0000-00000000000{number}', 7, '{node}', {answered_at}, 'i', 'o', '{{}}')"
            ))
            .await;
    }
    let host = match store.kind() {
        StoreKind::Postgres => "cast(host as inet)",
        StoreKind::Sqlite => "host",
    };
    database
        .execute(&format!(
            "insert into gateway_health (node, gateway_id, address, port, state, downs, pause_left_ms, \
               failure_rate, unusable_for_ms, buckets) \
             select 'a', gateway_id, {host}, port, \
               case name when 'drill-1' then 'down' else 'up' end, 0, 0, 0, 0, '[]' from gateways"
        ))
        .await;
    let carrier: SocketAddr = "192.0.2.10:7001".parse().unwrap();
    let view = store.drill_view(Some(carrier)).await.unwrap();
    let (seen, age) = &view.leases[0];
    assert_eq!((view.leases.len(), seen), (1, &lease));
    assert!(*age < Length::from_secs(5));
    assert_eq!(view.calls, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    assert_eq!(
        view.states,
        [("a".to_owned(), "down".to_owned())],
        "not the trap's at that address"
    );
    assert!(store.drill_view(None).await.unwrap().states.is_empty());
}

async fn finds_the_records_of_a_drill(database: Database) {
    let store = &database.store;
    store.execute(&[tables(Some("eu")).sql()]).await.unwrap();
    let rows = store.read_rows().await.unwrap();
    let gateway =
        |name: &str| rows.gateways.iter().find(|row| row.name == name).unwrap().gateway_id;
    let made = |number: u128, call_id: &str, region: Option<&str>, name: &str| {
        let mut attempt = attempt("drill");
        attempt.gateway_id = gateway(name);
        StoredCall {
            inbound_call_id: call_id.to_owned(),
            region: region.map(str::to_owned),
            attempts: vec![attempt],
            taken_from: None,
            ..call(number)
        }
    };
    let early = StoredCall {
        started_at: STARTED_AT - Duration::hours(1),
        ..made(5, "drill-7-5", None, "drill-1")
    };
    let taken = StoredCall {
        taken_from: Some("b".to_owned()),
        ..made(1, "drill-7-1", Some("eu"), "drill-1")
    };
    let calls = [
        taken,
        made(2, "drill-7-2", Some("eu"), ELSEWHERE),
        made(3, "drill-7-3", None, ELSEWHERE),
        made(4, "drill-77-1", None, "drill-1"),
        early,
    ];
    store.write_calls(&calls).await.unwrap();
    let mut records = store.drill_records("drill-7-", STARTED_AT).await.unwrap();
    records.sort_by(|a, b| a.inbound_call_id.cmp(&b.inbound_call_id));
    let read: Vec<_> = records
        .iter()
        .map(|record| {
            (record.inbound_call_id.as_str(), record.taken_from.as_deref(), record.is_wrong_region)
        })
        .collect();
    let expected =
        [("drill-7-1", Some("b"), false), ("drill-7-2", None, true), ("drill-7-3", None, false)];
    assert_eq!(read, expected);
    assert_eq!(records[0].node, calls[0].node);
}
