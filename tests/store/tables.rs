//! Every column of the admin tables arrives, refusals are reported, and what cannot be read is named.

use std::time::{Duration, Instant};

use holdfast::carrier::packs::{self, Pack, Wanted};
use holdfast::carrier::rows::{
    CarrierRow, CustomerRow, FailureRuleRow, GatewayRow, NumberRuleRow, RegistrationRow,
    RouteCarrierRow, RouteRow,
};
use holdfast::carrier::{CarrierId, Refusal, Rows, Severity, Tables};
use holdfast::digest::Hidden;
use holdfast::store::{Store, StoreKind, insert};

use crate::database::Database;

on_both_stores!(
    reads_every_column,
    reads_the_defaults,
    reads_a_hundred_thousand_routes,
    replaces_the_complaints_of_a_node,
    adds_a_vendors_rules_once_and_leaves_an_admins_own,
    adds_a_vendor_as_a_carrier_all_or_nothing,
    the_example_of_ai_providers_makes_sense_and_may_be_written_twice,
);

const EVERY_COLUMN: &str = "\
    insert into carrier_groups (carrier_group_id, name, errors_in_row, within_s, hold_s) \
    values (4, 'voice', 3, 40, 50);\
    insert into carriers (carrier_id, name, enabled, region, carrier_group_id, probe_interval_ms, \
      no_response_ms, no_ringing_ms, max_cps, max_channels, tls_wildcard) \
    values (2, 'trunk', false, 'us', 4, 700, 300, 900, 0.5, 20, true);\
    insert into gateways (gateway_id, carrier_id, name, host, port, transport, dns, large_by_tcp, media, codecs, admin_state, \
      region, priority, weight, max_cps, max_channels) \
    values (3, 2, 'trunk-1', '2001:db8::5', 5080, 'tls', 'srv', true, 'both', 'PCMU, opus', 'draining', 'eu', 4, 5, 7.25, 3);\
    insert into customers (customer_id, name, enabled, region, auth, refer, routed_by) values (6, 'acme', false, 'ap', 'both', 'local', 'routing_number');\
    insert into customer_addresses (address_range, customer_id) values ('10.0.0.0/8', 6), ('2001:db8::1', 6);\
    insert into routes (route_id, enabled, customer_id, called_prefix, region, needs_srtp, is_emergency, strategy, \
      reroute_after_ringing, verify_unallocated, setup_budget_ms, max_carriers, max_attempts, max_ringing_ms) \
    values (7, false, 6, '+49', 'eu', 'yes', true, 'least_cost', 'carrier_fault_only', true, 9000, 2, 3, 60000);\
    insert into route_carriers (route_id, carrier_id, priority, weight, cost) values (7, 2, 8, 9, 0.012345);\
    insert into route_carrier_hours (route_id, carrier_id, days, from_time, until_time, time_zone) \
    values (7, 2, 'mon-fri', '08:30', '18:00', 'Europe/Berlin');\
    insert into failure_rules (failure_rule_id, enabled, carrier_id, status, reason_regex, header_name, \
      header_regex, q850_cause, origin, stage, class, action, weight) \
    values (10, false, 2, '5xx', 'a|b', 'Warning', '399', 34, 'remote', 'trying', 'carrier_soft', 'next_carrier', 0.25);\
    insert into number_rules (carrier_id, called_format, called_prefix, calling_format, country_code, \
      request_uri_host, from_host, identity, is_trusted, called_regex, called_replacement, calling_regex, \
      calling_replacement, user_phone, portability, diversion, history_info, x_headers) \
    values (2, 'digits', '77#', 'national', '49', 'a.example:5070', 'b.example', 'pass', true, '^1', '2', '^3', '4', \
      'on', 'strip', 'strip', 'strip', 'X-A, X-B');\
    insert into number_examples (number_example_id, carrier_id, called, calling, expected_request_uri, expected_from) \
    values (11, 2, '+49', '+1', 'sip:49@a', 'sip:1@b');\
    insert into carrier_credentials (carrier_id, username, realm, ha1_md5, ha1_sha256, ha1_sha512_256) \
    values (2, 'trunk', 'r', '0123456789abcdef0123456789abcdef', \
      '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', \
      'fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210');\
    insert into customer_credentials (username, customer_id, realm, ha1_md5, ha1_sha256) \
    values ('bob', 6, 'us', '0123456789abcdef0123456789abcdef', \
      '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef');\
    insert into registrations (gateway_id, aor, contact_user, expires_s) \
    values (3, 'sip:a@b.example', 'x', 900);";

async fn reads_every_column(database: Database) {
    database.execute(EVERY_COLUMN).await;
    let rows = database.store.read_rows().await.unwrap();
    let expected = "\
Rows { carrier_groups: [CarrierGroupRow { carrier_group_id: 4, name: \"voice\", errors_in_row: 3, within_s: 40, \
hold_s: 50 }], \
carriers: [CarrierRow { carrier_id: 2, name: \"trunk\", enabled: false, region: Some(\"us\"), \
carrier_group_id: Some(4), probe_interval_ms: 700, no_response_ms: 300, no_ringing_ms: 900, max_cps: Some(0.5), max_channels: Some(20), tls_wildcard: true }], \
gateways: [GatewayRow { gateway_id: 3, carrier_id: 2, name: \"trunk-1\", host: \"2001:db8::5\", port: 5080, \
transport: \"tls\", dns: \"srv\", large_by_tcp: true, media: \"both\", codecs: Some(\"PCMU, opus\"), admin_state: \"draining\", region: Some(\"eu\"), priority: 4, weight: 5, max_cps: Some(7.25), max_channels: Some(3) }], \
customers: [CustomerRow { customer_id: 6, name: \"acme\", enabled: false, region: Some(\"ap\"), refer: \"local\", auth: \"both\", routed_by: \"routing_number\" }], \
customer_addresses: [CustomerAddressRow { address_range: 10.0.0.0/8, customer_id: 6 }, \
CustomerAddressRow { address_range: 2001:db8::1/128, customer_id: 6 }], \
routes: [RouteRow { route_id: 7, enabled: false, customer_id: Some(6), called_prefix: \"+49\", region: Some(\"eu\"), \
needs_srtp: \"yes\", is_emergency: true, strategy: \"least_cost\", reroute_after_ringing: \"carrier_fault_only\", verify_unallocated: true, \
setup_budget_ms: 9000, max_carriers: 2, max_attempts: 3, max_ringing_ms: 60000 }], \
route_carriers: [RouteCarrierRow { route_id: 7, carrier_id: 2, priority: 8, weight: 9, cost_micros: 12345 }], \
route_carrier_hours: [RouteCarrierHoursRow { route_id: 7, carrier_id: 2, days: \"mon-fri\", FROM\
time_zone: \"Europe/Berlin\" }], \
failure_rules: [FailureRuleRow { failure_rule_id: 10, enabled: false, carrier_id: Some(2), status: Some(\"5xx\"), \
reason_regex: Some(\"a|b\"), header_name: Some(\"Warning\"), header_regex: Some(\"399\"), q850_cause: Some(34), \
origin: Some(\"remote\"), stage: Some(\"trying\"), class: \"carrier_soft\", action: \"next_carrier\", weight: 0.25 }], \
number_rules: [NumberRuleRow { carrier_id: 2, called_format: \"digits\", called_prefix: \"77#\", \
calling_format: \"national\", country_code: \"49\", request_uri_host: Some(\"a.example:5070\"), \
from_host: Some(\"b.example\"), identity: \"pass\", is_trusted: true, called_regex: Some(\"^1\"), \
called_replacement: Some(\"2\"), calling_regex: Some(\"^3\"), calling_replacement: Some(\"4\"), user_phone: \"on\", \
portability: \"strip\", diversion: \"strip\", history_info: \"strip\", x_headers: Some(\"X-A, X-B\") }], \
number_examples: [NumberExampleRow { number_example_id: 11, carrier_id: 2, called: \"+49\", calling: \"+1\", \
expected_request_uri: Some(\"sip:49@a\"), expected_from: Some(\"sip:1@b\") }], \
carrier_credentials: [CarrierCredentialsRow { carrier_id: 2, username: \"trunk\", realm: Some(\"r\"), \
ha1_md5: Some(***), ha1_sha256: Some(***), ha1_sha512_256: Some(***), password: None }], \
customer_credentials: [CustomerCredentialsRow { username: \"bob\", customer_id: 6, realm: \"us\", \
ha1_md5: Some(***), ha1_sha256: Some(***) }], \
registrations: [RegistrationRow { gateway_id: 3, aor: \"sip:a@b.example\", contact_user: Some(\"x\"), expires_s: 900 }] }";
    // SQLite keeps times as they were written.
    let times = match database.store.kind() {
        StoreKind::Postgres => "from_time: \"08:30:00\", until_time: \"18:00:00\", ",
        StoreKind::Sqlite => "from_time: \"08:30\", until_time: \"18:00\", ",
    };
    assert_eq!(format!("{rows:?}"), expected.replace("FROM", times));
    // What `Debug` hides.
    let plain = |secret: &Option<Hidden>| secret.as_ref().map(|it| it.reveal().to_owned());
    let digits = "0123456789abcdef";
    let (trunk, user) = (&rows.carrier_credentials[0], &rows.customer_credentials[0]);
    for md5 in [&trunk.ha1_md5, &user.ha1_md5] {
        assert_eq!(plain(md5), Some(digits.repeat(2)));
    }
    for sha256 in [&trunk.ha1_sha256, &user.ha1_sha256] {
        assert_eq!(plain(sha256), Some(digits.repeat(4)));
    }
    assert_eq!(plain(&trunk.ha1_sha512_256), Some("fedcba9876543210".repeat(4)));
    let set = "update carrier_credentials set realm = null, ha1_md5 = null, ha1_sha256 = null, \
               ha1_sha512_256 = null, password = 'open sesame'";
    database.execute(set).await;
    let rows = database.store.read_rows().await.unwrap();
    assert_eq!(rows.carrier_credentials[0].realm, None);
    assert_eq!(plain(&rows.carrier_credentials[0].password).as_deref(), Some("open sesame"));
}

async fn reads_the_defaults(database: Database) {
    database
        .execute(
            "insert into carrier_groups (name) values ('voice');\
             insert into carriers (name) values ('a');\
             insert into gateways (carrier_id, name, host) values (1, 'a', '192.0.2.1');\
             insert into customers (name) values ('acme');\
             insert into routes default values;\
             insert into route_carriers (route_id, carrier_id) values (1, 1);\
             insert into route_carrier_hours (route_id, carrier_id) values (1, 1);\
             insert into failure_rules (failure_rule_id, class, action) values (900, 'config', 'stop');\
             insert into number_rules (carrier_id) values (1);\
             insert into registrations (gateway_id, aor) values (1, 'sip:a@b');",
        )
        .await;
    let Rows {
        carrier_groups,
        carriers,
        gateways,
        customers,
        routes,
        route_carriers,
        route_carrier_hours,
        failure_rules,
        number_rules,
        registrations,
        ..
    } = database.store.read_rows().await.unwrap();
    assert_eq!(
        format!("{carrier_groups:?}"),
        "[CarrierGroupRow { carrier_group_id: 1, name: \"voice\", errors_in_row: 2, within_s: 30, hold_s: 60 }]"
    );
    let name = || "a".to_owned();
    let carrier = CarrierRow { carrier_id: 1, name: name(), ..CarrierRow::default() };
    assert_eq!(carriers, [carrier]);
    let host = "192.0.2.1".to_owned();
    let ids = GatewayRow { gateway_id: 1, carrier_id: 1, ..GatewayRow::default() };
    assert_eq!(gateways, [GatewayRow { name: name(), host, ..ids }]);
    let name = "acme".to_owned();
    assert_eq!(customers, [CustomerRow { customer_id: 1, name, ..CustomerRow::default() }]);
    assert_eq!(routes, [RouteRow { route_id: 1, ..RouteRow::default() }]);
    let place = RouteCarrierRow { route_id: 1, carrier_id: 1, ..RouteCarrierRow::default() };
    assert_eq!(route_carriers, [place]);
    assert_eq!(
        format!("{route_carrier_hours:?}").replace(":00:00\"", ":00\""),
        "[RouteCarrierHoursRow { route_id: 1, carrier_id: 1, days: \"mon-sun\", from_time: \"00:00\", until_time: \"24:00\", time_zone: \"UTC\" }]"
    );
    let rule = FailureRuleRow { failure_rule_id: 900, ..FailureRuleRow::default() };
    let (class, action) = ("config".to_owned(), "stop".to_owned());
    assert_eq!(failure_rules, [FailureRuleRow { class, action, ..rule }]);
    assert_eq!(number_rules, [NumberRuleRow { carrier_id: 1, ..NumberRuleRow::default() }]);
    let aor = "sip:a@b".to_owned();
    assert_eq!(
        registrations,
        [RegistrationRow { gateway_id: 1, aor, ..RegistrationRow::default() }]
    );
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

async fn replaces_the_complaints_of_a_node(database: Database) {
    let complaint = |severity, row: &str| {
        let (table, column, reason) = ("gateways", "host", "no host".to_owned());
        (severity, Refusal { table, row: row.to_owned(), column, reason })
    };
    let refusal = |row: &str| complaint(Severity::Error, row);
    let store = &database.store;
    store.report("a", &[refusal("1"), refusal("1"), refusal("2")]).await.unwrap();
    store.report("b", &[complaint(Severity::Warning, "9")]).await.unwrap();
    store.report("a", &[refusal("3")]).await.unwrap();

    let columns = ["node", "severity", "table_name", "row_key", "column_name", "reason"];
    let rows = database.columns(&columns, "config_errors order by node").await;
    assert_eq!(
        rows,
        [
            ["a", "error", "gateways", "3", "host", "no host"],
            ["b", "warning", "gateways", "9", "host", "no host"]
        ]
    );
    store.report("a", &[]).await.unwrap();
    assert_eq!(database.count("config_errors").await, 1);
}

async fn adds_a_vendors_rules_once_and_leaves_an_admins_own(database: Database) {
    database
        .execute(
            "insert into carriers (carrier_id, name) values (1, 'a'), (2, 'b');\
             insert into failure_rules (carrier_id, header_name, header_regex, class, action) \
             values (1, 'x-twilio-error', '\\b32203\\b', 'config', 'next_carrier')",
        )
        .await;
    let store = &database.store;
    let rules = Pack::named("twilio").unwrap().rules_for(CarrierId(1));
    assert_eq!(add_rules(store, &rules).await, rules.len() - 1);
    assert_eq!(add_rules(store, &rules).await, 0);
    // Those of one carrier are none of another's.
    let others = Pack::named("twilio").unwrap().rules_for(CarrierId(2));
    assert_eq!(add_rules(store, &others).await, rules.len());

    let rows = store.read_rows().await.unwrap().failure_rules;
    assert_eq!(rows.len(), 2 * rules.len());
    assert_eq!(rows[0].class, "config");
    for (row, rule) in rows.iter().filter(|row| row.carrier_id == Some(2)).zip(&others) {
        let numbered = FailureRuleRow { failure_rule_id: row.failure_rule_id, ..rule.clone() };
        assert_eq!(row, &numbered);
    }
}

/// Adds those that are missing, and gives how many.
async fn add_rules(store: &Store, rules: &[FailureRuleRow]) -> usize {
    let wanted = Rows { failure_rules: rules.to_vec(), ..Rows::default() };
    let missing = packs::missing(&store.read_rows().await.unwrap(), wanted).unwrap();
    store.execute(&insert::statements(&missing)).await.unwrap();
    missing.failure_rules.len()
}

async fn adds_a_vendor_as_a_carrier_all_or_nothing(database: Database) {
    let store = &database.store;
    for pack in packs::all() {
        let account = pack.account.as_ref().map(|_| "acme");
        let name = format!("o'{}", pack.name);
        let rows = pack.rows(&Wanted { name: &name, account, edges: &[] }).unwrap();
        let missing = packs::missing(&store.read_rows().await.unwrap(), rows.clone()).unwrap();
        let mut statements = insert::statements(&missing);
        statements.push(
            "insert into gateways (carrier_id, name, host) values (999, 'x', 'x')".to_owned(),
        );
        store.execute(&statements).await.unwrap_err();
        assert_eq!(packs::missing(&store.read_rows().await.unwrap(), rows.clone()).unwrap(), rows);
        statements.pop();
        store.execute(&statements).await.unwrap();

        let known = store.read_rows().await.unwrap();
        let id = known.carriers.iter().find(|row| row.name == name).unwrap().carrier_id;
        let rule = known.number_rules.iter().find(|row| row.carrier_id == id).unwrap();
        assert_eq!(*rule, NumberRuleRow { carrier_id: id, ..rows.number_rules[0].clone() });
        let gateway = known.gateways.iter().find(|row| row.carrier_id == id).unwrap();
        let expected = GatewayRow {
            gateway_id: gateway.gateway_id,
            carrier_id: id,
            ..rows.gateways[0].clone()
        };
        assert_eq!(*gateway, expected);
        assert_eq!(packs::missing(&known, rows).unwrap(), Rows::default());
    }
}

async fn the_example_of_ai_providers_makes_sense_and_may_be_written_twice(database: Database) {
    for _ in 0..2 {
        database.execute(include_str!("../../docs/examples/ai-providers.sql")).await;
    }
    let store = &database.store;
    let rules = Pack::named("openai").unwrap().rules_for(CarrierId(1));
    add_rules(store, &rules).await;

    let tables = Tables::check(store.read_rows().await.unwrap(), 1).unwrap();

    assert_eq!(tables.warnings, []);
    let held = |id| tables.carrier(CarrierId(id)).unwrap().errors_in_row.unwrap().count;
    assert_eq!([1, 2, 3, 4].map(held), [2; 4]);
    let trunk = tables.customer_at("198.51.100.7".parse().unwrap()).unwrap();
    let carriers = |called| {
        let route = tables.route_for(trunk.id, called).unwrap();
        route.carriers.iter().map(|place| place.carrier_id.0).collect::<Vec<_>>()
    };
    assert_eq!(carriers("+14155550100"), [1, 2, 3, 4]);
    assert_eq!(carriers("+4930123456"), [2, 4]);
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
