//! An admin's change is told within a second, and our own writing is not.

use std::time::Duration;

use holdfast::carrier::{Refusal, Severity};
use holdfast::store::Watch;

use crate::database::Database;
use crate::sample::{STARTED_AT, call, probe, target};

on_both_stores!(
    tells_a_change_of_every_table,
    is_silent_about_our_own_writing,
    may_be_dropped_while_it_waits
);

const CHANGES: &[&str] = &[
    "insert into carrier_groups (carrier_group_id, name) values (1, 'a')",
    "update carrier_groups set hold_s = 9",
    "insert into carriers (carrier_id, name) values (1, 'a')",
    "update carriers set enabled = false",
    "insert into gateways (gateway_id, carrier_id, name, host) values (1, 1, 'a', 'a.example')",
    "update gateways set port = 5080",
    "insert into customers (customer_id, name) values (1, 'acme')",
    "update customers set region = 'eu'",
    "insert into customer_addresses (address_range, customer_id) values ('192.0.2.1/32', 1)",
    "update customer_addresses set address_range = '192.0.2.2/32'",
    "insert into routes (route_id) values (1)",
    "update routes set called_prefix = '49'",
    "insert into route_carriers (route_id, carrier_id) values (1, 1)",
    "update route_carriers set weight = 2",
    "insert into route_carrier_hours (route_id, carrier_id) values (1, 1)",
    "update route_carrier_hours set days = 'mon'",
    "delete from route_carrier_hours",
    "insert into failure_rules (failure_rule_id, class, action) values (900, 'config', 'stop')",
    "update failure_rules set weight = 0",
    "insert into number_rules (carrier_id) values (1)",
    "update number_rules set identity = 'pass'",
    "insert into carrier_credentials (carrier_id, username, password) values (1, 'u', 'p')",
    "update carrier_credentials set username = 'v'",
    "delete from carrier_credentials",
    "insert into customer_credentials (username, customer_id, realm, ha1_md5) \
     values ('u', 1, 'r', '0123456789abcdef0123456789abcdef')",
    "update customer_credentials set realm = 's'",
    "delete from customer_credentials",
    "insert into registrations (gateway_id, aor) values (1, 'sip:a@b')",
    "update registrations set expires_s = 60",
    "delete from registrations",
    "delete from number_rules",
    "delete from failure_rules",
    "delete from route_carriers",
    "delete from routes",
    "delete from customer_addresses",
    "delete from customers",
    "delete from gateways",
    "delete from carriers",
    "delete from carrier_groups",
];

async fn tells_a_change_of_every_table(database: Database) {
    let mut watch = database.store.watch().await.unwrap();
    for change in CHANGES {
        database.execute(change).await;
        assert!(is_told(&mut watch, Duration::from_secs(1)).await, "{change}");
    }
    // Each was told once.
    assert!(!is_told(&mut watch, Duration::from_millis(500)).await);
}

async fn is_silent_about_our_own_writing(database: Database) {
    let store = &database.store;
    let mut watch = store.watch().await.unwrap();
    let refusal =
        Refusal { table: "routes", row: "1".to_owned(), column: "region", reason: "?".to_owned() };

    store.write_calls(&[call(1)]).await.unwrap();
    store.write_probes(&[probe(STARTED_AT)]).await.unwrap();
    store.save_health("a", &[target(1, "192.0.2.1:5060")]).await.unwrap();
    store.report("a", &[(Severity::Error, refusal)]).await.unwrap();
    store.prune(STARTED_AT, Some(STARTED_AT)).await.unwrap();

    assert!(!is_told(&mut watch, Duration::from_millis(700)).await);
}

async fn may_be_dropped_while_it_waits(database: Database) {
    let mut watch = database.store.watch().await.unwrap();
    for _ in 0..50 {
        assert!(!is_told(&mut watch, Duration::from_millis(7)).await);
    }
    database.execute("insert into customers (name) values ('acme')").await;
    assert!(is_told(&mut watch, Duration::from_secs(1)).await);
}

async fn is_told(watch: &mut Watch, within: Duration) -> bool {
    match tokio::time::timeout(within, watch.changed()).await {
        Ok(told) => {
            told.unwrap();
            true
        }
        Err(_) => false,
    }
}
