//! Every column of the admin tables arrives, refusals are reported, and what cannot be read is named.

use std::time::{Duration, Instant};

use holdfast::carrier::{Refusal, Rows};
use holdfast::store::StoreKind;

use crate::database::Database;

on_both_stores!(
    reads_every_column,
    reads_the_defaults,
    reads_a_hundred_thousand_routes,
    replaces_the_refusals_of_a_node,
);

const EVERY_COLUMN: &str = "\
    insert into carriers (carrier_id, name, enabled, region, probe_interval_ms, no_response_ms, no_ringing_ms, \
      max_cps, max_channels) \
    values (2, 'trunk', false, 'us', 700, 300, 900, 0.5, 20);\
    insert into gateways (gateway_id, carrier_id, name, host, port, transport, admin_state, region, priority, weight, \
      max_cps, max_channels) \
    values (3, 2, 'trunk-1', '2001:db8::5', 5080, 'tls', 'draining', 'eu', 4, 5, 7.25, 3);\
    insert into customers (customer_id, name, enabled, region) values (6, 'acme', false, 'ap');\
    insert into customer_addresses (address_range, customer_id) values ('10.0.0.0/8', 6), ('2001:db8::1', 6);\
    insert into routes (route_id, enabled, customer_id, called_prefix, region, strategy, \
      reroute_after_ringing, verify_unallocated, setup_budget_ms, max_carriers, max_attempts, max_ringing_ms) \
    values (7, false, 6, '+49', 'eu', 'least_cost', 'carrier_fault_only', true, 9000, 2, 3, 60000);\
    insert into route_carriers (route_id, carrier_id, priority, weight, cost) values (7, 2, 8, 9, 0.012345);\
    insert into failure_rules (failure_rule_id, enabled, carrier_id, status, reason_regex, header_name, \
      header_regex, q850_cause, origin, stage, class, action, weight) \
    values (10, false, 2, '5xx', 'a|b', 'Warning', '399', 34, 'remote', 'trying', 'carrier_soft', 'next_carrier', 0.25);\
    insert into number_rules (carrier_id, called_format, called_prefix, calling_format, country_code, \
      request_uri_host, from_host, identity) \
    values (2, 'digits', '77#', 'national', '49', 'a.example:5070', 'b.example', 'pass');";

async fn reads_every_column(database: Database) {
    database.execute(EVERY_COLUMN).await;
    let rows = database.store.read_rows().await.unwrap();
    let expected = "\
Rows { carriers: [CarrierRow { carrier_id: 2, name: \"trunk\", enabled: false, region: Some(\"us\"), \
probe_interval_ms: 700, no_response_ms: 300, no_ringing_ms: 900, max_cps: Some(0.5), max_channels: Some(20) }], \
gateways: [GatewayRow { gateway_id: 3, carrier_id: 2, name: \"trunk-1\", host: \"2001:db8::5\", port: 5080, \
transport: \"tls\", admin_state: \"draining\", region: Some(\"eu\"), priority: 4, weight: 5, max_cps: Some(7.25), max_channels: Some(3) }], \
customers: [CustomerRow { customer_id: 6, name: \"acme\", enabled: false, region: Some(\"ap\") }], \
customer_addresses: [CustomerAddressRow { address_range: 10.0.0.0/8, customer_id: 6 }, \
CustomerAddressRow { address_range: 2001:db8::1/128, customer_id: 6 }], \
routes: [RouteRow { route_id: 7, enabled: false, customer_id: Some(6), called_prefix: \"+49\", region: Some(\"eu\"), \
strategy: \"least_cost\", reroute_after_ringing: \"carrier_fault_only\", verify_unallocated: true, \
setup_budget_ms: 9000, max_carriers: 2, max_attempts: 3, max_ringing_ms: 60000 }], \
route_carriers: [RouteCarrierRow { route_id: 7, carrier_id: 2, priority: 8, weight: 9, cost_micros: 12345 }], \
failure_rules: [FailureRuleRow { failure_rule_id: 10, enabled: false, carrier_id: Some(2), status: Some(\"5xx\"), \
reason_regex: Some(\"a|b\"), header_name: Some(\"Warning\"), header_regex: Some(\"399\"), q850_cause: Some(34), \
origin: Some(\"remote\"), stage: Some(\"trying\"), class: \"carrier_soft\", action: \"next_carrier\", weight: 0.25 }], \
number_rules: [NumberRuleRow { carrier_id: 2, called_format: \"digits\", called_prefix: \"77#\", \
calling_format: \"national\", country_code: \"49\", request_uri_host: Some(\"a.example:5070\"), \
from_host: Some(\"b.example\"), identity: \"pass\" }] }";
    assert_eq!(format!("{rows:?}"), expected);
}

async fn reads_the_defaults(database: Database) {
    database
        .execute(
            "insert into carriers (name) values ('a');\
             insert into gateways (carrier_id, name, host) values (1, 'a', '192.0.2.1');\
             insert into customers (name) values ('acme');\
             insert into routes default values;\
             insert into route_carriers (route_id, carrier_id) values (1, 1);\
             insert into failure_rules (failure_rule_id, class, action) values (900, 'config', 'stop');\
             insert into number_rules (carrier_id) values (1);",
        )
        .await;
    let Rows {
        carriers,
        gateways,
        customers,
        routes,
        route_carriers,
        failure_rules,
        number_rules,
        ..
    } = database.store.read_rows().await.unwrap();
    let rows = format!(
        "{carriers:?}\n{gateways:?}\n{customers:?}\n{routes:?}\n{route_carriers:?}\n{failure_rules:?}\n{number_rules:?}"
    );
    let expected = "\
[CarrierRow { carrier_id: 1, name: \"a\", enabled: true, region: None, probe_interval_ms: 5000, no_response_ms: 1800, no_ringing_ms: 6000, max_cps: None, max_channels: None }]
[GatewayRow { gateway_id: 1, carrier_id: 1, name: \"a\", host: \"192.0.2.1\", port: 5060, transport: \"udp\", admin_state: \"on\", region: None, priority: 0, weight: 1, max_cps: None, max_channels: None }]
[CustomerRow { customer_id: 1, name: \"acme\", enabled: true, region: None }]
[RouteRow { route_id: 1, enabled: true, customer_id: None, called_prefix: \"\", region: None, strategy: \"healthiest\", reroute_after_ringing: \"never\", verify_unallocated: false, setup_budget_ms: 12000, max_carriers: 4, max_attempts: 8, max_ringing_ms: 180000 }]
[RouteCarrierRow { route_id: 1, carrier_id: 1, priority: 1, weight: 1, cost_micros: 0 }]
[FailureRuleRow { failure_rule_id: 900, enabled: true, carrier_id: None, status: None, reason_regex: None, header_name: None, header_regex: None, q850_cause: None, origin: None, stage: None, class: \"config\", action: \"stop\", weight: 1.0 }]
[NumberRuleRow { carrier_id: 1, called_format: \"unchanged\", called_prefix: \"\", calling_format: \"unchanged\", country_code: \"\", request_uri_host: None, from_host: None, identity: \"strip\" }]";
    assert_eq!(rows, expected);
}

async fn reads_a_hundred_thousand_routes(database: Database) {
    database
        .execute(
            "insert into routes (called_prefix) \
             with recursive numbers (number) as (\
               select 1 union all select number + 1 from numbers where number < 100000) \
             select cast(number as text) from numbers",
        )
        .await;
    let begun = Instant::now();
    let rows = database.store.read_rows().await.unwrap();
    assert_eq!(rows.routes.len(), 100_000);
    // Unoptimized and beside other tests.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

async fn replaces_the_refusals_of_a_node(database: Database) {
    let refusal = |row: &str| Refusal {
        table: "gateways",
        row: row.to_owned(),
        column: "host",
        reason: "no host".to_owned(),
    };
    let store = &database.store;
    store.report_refusals("a", &[refusal("1"), refusal("1"), refusal("2")]).await.unwrap();
    store.report_refusals("b", &[refusal("9")]).await.unwrap();
    store.report_refusals("a", &[refusal("3")]).await.unwrap();

    let columns = ["node", "table_name", "row_key", "column_name", "reason"];
    let rows = database.columns(&columns, "config_errors order by node").await;
    assert_eq!(
        rows,
        [["a", "gateways", "3", "host", "no host"], ["b", "gateways", "9", "host", "no host"]]
    );
    store.report_refusals("a", &[]).await.unwrap();
    assert_eq!(database.count("config_errors").await, 1);
}

#[test]
fn names_the_column_that_cannot_be_read() {
    crate::database::run(StoreKind::Sqlite, |database| async move {
        database
            .execute(
                "insert into customers (customer_id, name) values (1, 'acme');\
                 insert into customer_addresses (address_range, customer_id) values ('192.0.2.999/24', 1)",
            )
            .await;
        let error = database.store.read_rows().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "customer_addresses row 192.0.2.999/24, column address_range: '192.0.2.999/24' is neither an address \
             nor a range such as 192.0.2.0/24"
        );
        assert!(!error.is_unavailable());
    });
}
