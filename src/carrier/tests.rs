//! What each column of failure_rules, number_rules, routes and customers does.

use super::number_rule::digits_of;
use super::rows::{
    CarrierGroupRow, CarrierRow, CustomerAddressRow, CustomerRow, FailureRuleRow, GatewayRow,
    RouteCarrierHoursRow, RouteCarrierRow, RouteRow,
};
use super::{
    Action, CarrierId, Class, CustomerId, FailureRuleId, Loss, Observation, Origin, Refusal,
    RouteId, Rows, RuleMatch, Stage, Tables,
};

#[test]
fn takes_a_rule_only_where_every_condition_holds() {
    type Change = fn(&mut FailureRuleRow);
    let conditions: [(Change, Change); 8] = [
        (|rule| rule.carrier_id = Some(1), |rule| rule.carrier_id = Some(2)),
        (|rule| rule.status = Some("486".into()), |rule| rule.status = Some("487".into())),
        (|rule| rule.status = Some("4xx".into()), |rule| rule.status = Some("5xx".into())),
        (
            |rule| rule.reason_regex = Some("(?i)^busy".into()),
            |rule| rule.reason_regex = Some("^Busy$".into()),
        ),
        (
            |rule| rule.header_name = Some("x-error".into()),
            |rule| rule.header_name = Some("x-e".into()),
        ),
        (|rule| header(rule, "^322"), |rule| header(rule, "^4")),
        (|rule| rule.q850_cause = Some(17), |rule| rule.q850_cause = Some(34)),
        (|rule| rule.stage = Some("ringing".into()), |rule| rule.stage = Some("trying".into())),
    ];
    for (index, (holds, fails)) in conditions.into_iter().enumerate() {
        assert_eq!(rule_of(&[holds]), Some(FailureRuleId(1)), "{index}");
        assert_eq!(rule_of(&[fails]), None, "{index}");
    }
    assert_eq!(rule_of(&[|rule| rule.origin = Some("remote".into())]), Some(FailureRuleId(1)));
    assert_eq!(rule_of(&[|rule| rule.origin = Some("timeout".into())]), None);
    assert_eq!(rule_of(&[|rule| rule.enabled = false]), None);
}

#[test]
fn takes_the_most_specific_rule_and_of_two_alike_the_lower_one() {
    type Change = fn(&mut FailureRuleRow);
    let rising: [Change; 7] = [
        |_| {},
        |rule| rule.stage = Some("ringing".into()),
        |rule| rule.status = Some("4xx".into()),
        |rule| rule.status = Some("486".into()),
        |rule| rule.q850_cause = Some(17),
        |rule| rule.reason_regex = Some("Busy".into()),
        |rule| rule.carrier_id = Some(1),
    ];
    for count in 1..=rising.len() {
        let last = FailureRuleId(i64::try_from(count).expect("small"));
        assert_eq!(rule_of(&rising[..count]), Some(last));
    }
    assert_eq!(rule_of(&[|_| {}, |_| {}]), Some(FailureRuleId(1)));
}

#[test]
fn gives_class_action_and_weight_of_its_rule() {
    let rule = |rule: &mut FailureRuleRow| {
        rule.class = "carrier_soft".into();
        rule.action = "next_carrier_once".into();
        rule.weight = 0.25;
    };
    let expected = RuleMatch {
        rule_id: Some(FailureRuleId(1)),
        class: Class::CarrierSoft,
        action: Action::NextCarrierOnce,
        weight: 0.25,
    };
    assert_eq!(classify(&[rule]), expected);
}

#[test]
fn knows_what_to_do_without_any_rule() {
    let tables = Tables::check(rows(), 1).expect("good rows");
    for (origin, status_code, class, action) in [
        (Origin::Remote, 486, Class::Destination, Action::Stop),
        (Origin::Remote, 603, Class::Destination, Action::Stop),
        (Origin::Remote, 500, Class::CarrierHard, Action::NextGateway),
        (Origin::Timeout, 408, Class::CarrierHard, Action::NextGateway),
        (Origin::Transport, 503, Class::CarrierHard, Action::NextGateway),
    ] {
        let seen = Observation { origin, status_code, ..busy() };
        let found = tables.failure_rules.classify(&seen);
        assert_eq!((found.rule_id, found.class, found.action), (None, class, action));
    }
}

#[test]
fn takes_no_name_and_no_endless_row_of_digits_for_a_number() {
    for user in ["", "+", "alice", "49x", "4+9", &"1".repeat(33)] {
        assert_eq!(digits_of(user), None, "{user}");
    }
    assert_eq!(digits_of(&"1".repeat(32)).map(|digits| digits.len()), Some(32));
}

#[test]
fn finds_the_route_a_customers_own_first_then_by_the_longest_prefix() {
    let mut rows = rows();
    for (id, customer_id, prefix, enabled) in [
        (2, None, "49", true),
        (3, None, "+4930", true),
        (4, Some(1), "", true),
        (5, None, "49301", false),
    ] {
        rows.routes.push(RouteRow { enabled, ..route(id, customer_id, prefix) });
        rows.route_carriers.push(place(id));
    }
    rows.customers.push(customer(2));
    let tables = Tables::check(rows, 1).expect("good rows");
    let found =
        |customer, called| tables.route_for(CustomerId(customer), called).map(|route| route.id);
    for (called, id) in [("+493012", 3), ("004931", 2), ("1", 1), ("alice", 1)] {
        assert_eq!(found(2, called), Some(RouteId(id)), "{called}");
    }
    assert_eq!(found(1, "+493012"), Some(RouteId(4)));
}

#[test]
fn knows_a_customer_by_the_narrowest_range_that_holds_its_address() {
    let mut rows = rows();
    rows.customers.push(CustomerRow { enabled: false, ..customer(2) });
    for (range, customer_id) in [("192.0.2.0/24", 1), ("192.0.2.9/32", 2), ("2001:db8::/32", 2)] {
        let address_range = range.parse().expect("a range");
        rows.customer_addresses.push(CustomerAddressRow { address_range, customer_id });
    }
    let tables = Tables::check(rows, 1).expect("good rows");
    let found = |address: &str| {
        tables.customer_at(address.parse().expect("an address")).map(|customer| customer.id.0)
    };
    assert_eq!(found("192.0.2.8"), Some(1));
    assert_eq!(found("192.0.2.9"), Some(2));
    assert_eq!(found("::ffff:192.0.2.8"), Some(1));
    assert_eq!(found("2001:db8::1"), Some(2));
    assert_eq!(found("198.51.100.1"), None);
    assert!(!tables.customer_at("192.0.2.9".parse().expect("an address")).expect("one").is_enabled);
}

#[test]
fn refuses_what_makes_no_sense_and_names_table_row_and_column() {
    type Change = fn(&mut Rows);
    let changes: [(Change, &str); 32] = [
        (|rows| rows.carriers[0].max_cps = Some(0.0), "carriers 1 max_cps"),
        (|rows| rows.carriers[0].max_channels = Some(0), "carriers 1 max_channels"),
        (|rows| rows.gateways[0].max_cps = Some(f64::NAN), "gateways 1 max_cps"),
        (|rows| rows.gateways[0].max_channels = Some(-1), "gateways 1 max_channels"),
        (|rows| rows.carriers[0].no_ringing_ms = 1, "carriers 1 no_ringing_ms"),
        (|rows| rows.carriers[0].probe_interval_ms = 1, "carriers 1 probe_interval_ms"),
        (|rows| rows.carriers[0].name.clear(), "carriers 1 name"),
        (|rows| rows.gateways[0].carrier_id = 7, "gateways 1 carrier_id"),
        (|rows| rows.gateways[0].host = "a b".into(), "gateways 1 host"),
        (|rows| rows.gateways[0].port = 0, "gateways 1 port"),
        (|rows| rows.gateways[0].admin_state = "maybe".into(), "gateways 1 admin_state"),
        (|rows| rows.routes[0].strategy = "best".into(), "routes 1 strategy"),
        (|rows| rows.routes[0].max_attempts = 0, "routes 1 max_attempts"),
        (|rows| rows.routes[0].setup_budget_ms = -1, "routes 1 setup_budget_ms"),
        (|rows| rows.route_carriers.clear(), "routes 1 route_id"),
        (|rows| rows.route_carriers[0].weight = 0, "route_carriers 1/1 weight"),
        (|rows| rows.carriers[0].carrier_group_id = Some(9), "carriers 1 carrier_group_id"),
        (|rows| group(rows).errors_in_row = 0, "carrier_groups 1 errors_in_row"),
        (|rows| group(rows).within_s = 0, "carrier_groups 1 within_s"),
        (|rows| group(rows).hold_s = 301, "carrier_groups 1 hold_s"),
        (|rows| group(rows).name.clear(), "carrier_groups 1 name"),
        (|rows| rows.customers[0].refer = "bounce".into(), "customers 1 refer"),
        (|rows| rows.gateways[0].media = "zrtp".into(), "gateways 1 media"),
        (|rows| rows.gateways[0].codecs = Some("PCMU PCMA".into()), "gateways 1 codecs"),
        (|rows| rows.gateways[0].codecs = Some("PCMU,".into()), "gateways 1 codecs"),
        (|rows| rows.gateways[0].dns = "naptr".into(), "gateways 1 dns"),
        (|rows| rows.customers[0].routed_by = "lrn".into(), "customers 1 routed_by"),
        (|rows| rows.gateways[0].dns = "srv".into(), "gateways 1 dns"),
        (|rows| rows.routes[0].needs_srtp = "maybe".into(), "routes 1 needs_srtp"),
        (|rows| hours(rows).carrier_id = 2, "route_carrier_hours 1/2/mon/08:00 carrier_id"),
        (|rows| hours(rows).days = "moon".into(), "route_carrier_hours 1/1/moon/08:00 days"),
        (
            |rows| hours(rows).time_zone = "Mars".into(),
            "route_carrier_hours 1/1/mon/08:00 time_zone",
        ),
    ];
    for (change, expected) in changes {
        let mut rows = rows();
        change(&mut rows);
        let refusals = Tables::check(rows, 1).expect_err(expected);
        let named =
            |refusal: &Refusal| format!("{} {} {}", refusal.table, refusal.row, refusal.column);
        let names: Vec<String> = refusals.iter().map(named).collect();
        assert!(names.iter().any(|name| name == expected), "{expected} is not in {names:?}");
    }
}

#[test]
fn says_what_a_route_could_carry_without_its_largest_carrier() {
    type Change = fn(&mut Rows);
    let cases: [(Change, &[&str]); 6] = [
        (|_| {}, &[]),
        (
            |rows| {
                rows.carriers[0].max_cps = Some(15.5);
                rows.carriers[1].max_cps = Some(39.7);
            },
            &["route 1: if carrier-2 is lost, the others carry 15.5 of 55.2 calls/s"],
        ),
        // One without a limit is the largest.
        (
            |rows| rows.carriers[1].max_cps = Some(20.0),
            &["route 1: if carrier-1 is lost, the others carry 20 calls/s"],
        ),
        // What its gateways take is all that a carrier takes.
        (
            |rows| {
                rows.carriers[0].max_cps = Some(100.0);
                rows.gateways[0].max_cps = Some(5.0);
                rows.gateways[1].max_cps = Some(7.0);
            },
            &["route 1: if carrier-2 is lost, the others carry 5 of 12 calls/s"],
        ),
        (
            |rows| {
                rows.carriers[0].max_cps = Some(1.0);
                rows.carriers[1].max_cps = Some(2.0);
                rows.carriers[1].enabled = false;
            },
            &["route 1: if carrier-1 is lost, the others carry 0 of 1 calls/s"],
        ),
        (
            |rows| {
                rows.carriers[0].max_cps = Some(1.0);
                rows.carriers[1].max_cps = Some(2.0);
                rows.routes.push(route(2, None, "49"));
                rows.route_carriers.push(RouteCarrierRow { carrier_id: 2, ..place(2) });
            },
            &[
                "route 1: if carrier-2 is lost, the others carry 1 of 3 calls/s",
                "route 2: if carrier-2 is lost, the others carry 0 of 2 calls/s",
            ],
        ),
    ];
    for (index, (change, expected)) in cases.into_iter().enumerate() {
        let mut rows = rows();
        rows.carriers.push(carrier(2));
        rows.gateways.push(gateway(2));
        rows.route_carriers.push(RouteCarrierRow { carrier_id: 2, ..place(1) });
        change(&mut rows);
        let tables = Tables::check(rows, 1).expect("good rows");
        let said: Vec<String> = Loss::of(&tables).iter().map(ToString::to_string).collect();
        assert_eq!(said, expected, "{index}");
    }
}

#[test]
fn warns_of_rules_that_are_never_taken_and_lets_the_tables_come_into_force() {
    type Change = fn(&mut FailureRuleRow);
    let never = "it is never taken: rule 1 holds wherever it does";
    let same = "it says what rule 1 says";
    let conflict = "rule 1 has the same conditions and is taken instead, with destination and stop";
    let impossible = "a response's, whose origin is remote";
    let cases: [(&[Change], &str); 13] = [
        (&[|_| {}, |_| {}], same),
        (&[|_| {}, |rule| rule.action = "next_carrier".into()], conflict),
        (&[|_| {}, |rule| rule.weight = 0.5], conflict),
        (&[|rule| rule.carrier_id = Some(1), |rule| rule.carrier_id = Some(2)], ""),
        (&[|rule| rule.status = Some("5xx".into()), |rule| rule.status = Some("503".into())], ""),
        (
            // Of two with a stage or an origin the lower number comes first.
            &[
                |rule| rule.stage = Some("ringing".into()),
                |rule| {
                    rule.stage = Some("ringing".into());
                    rule.origin = Some("remote".into());
                },
            ],
            never,
        ),
        (
            &[
                |rule| {
                    rule.status = Some("486".into());
                    rule.origin = Some("remote".into());
                },
                |rule| rule.status = Some("486".into()),
            ],
            same,
        ),
        (&[|rule| header(rule, "a"), |rule| header(rule, "b")], ""),
        (&[|rule| rule.header_name = Some("x-error".into()), |rule| header(rule, "b")], never),
        (
            &[
                |rule| rule.reason_regex = Some("a".into()),
                |rule| {
                    rule.reason_regex = Some("a".into());
                    header(rule, "b");
                },
            ],
            never,
        ),
        (&[|rule| rule.q850_cause = Some(1), |rule| rule.q850_cause = Some(2)], ""),
        (
            &[
                |rule| rule.stage = Some("nothing".into()),
                |rule| {
                    rule.origin = Some("timeout".into());
                    rule.status = Some("408".into());
                },
            ],
            impossible,
        ),
        (&[|_| {}, |rule| rule.enabled = false], ""),
    ];
    for (changes, expected) in cases {
        let warnings = tables_with(changes).warnings;
        let reasons: Vec<&str> = warnings.iter().map(|warning| warning.reason.as_str()).collect();
        match expected {
            "" => assert!(reasons.is_empty(), "{reasons:?}"),
            _ => assert!(reasons.len() == 1 && reasons[0].contains(expected), "{reasons:?}"),
        }
    }
}

#[test]
fn reads_rows_that_were_kept_before_there_were_some_columns_and_tables() {
    let json = serde_json::to_value(rows()).expect("JSON");
    let mut old = json.clone();
    for (table, columns) in [
        ("carriers", &["carrier_group_id"][..]),
        ("gateways", &["media", "codecs", "dns"]),
        ("routes", &["needs_srtp", "is_emergency"]),
    ] {
        let row = old[table][0].as_object_mut().expect("a row");
        columns.iter().for_each(|column| assert!(row.remove(*column).is_some(), "{column}"));
    }
    for table in ["carrier_groups", "route_carrier_hours", "number_examples"] {
        assert!(old.as_object_mut().expect("tables").remove(table).is_some());
    }
    assert_eq!(serde_json::from_value::<Rows>(old).expect("they are read"), rows());
}

#[test]
fn warns_of_none_of_the_rules_that_come_with_it() {
    let mut rows = rows();
    rows.failure_rules = super::seed::seed_rules();
    for pack in super::packs::all() {
        let id = i64::try_from(rows.carriers.len() + 1).expect("small");
        rows.carriers.push(carrier(id));
        for row in pack.rules_for(CarrierId(id)) {
            let failure_rule_id = i64::try_from(rows.failure_rules.len() + 1).expect("small");
            rows.failure_rules.push(FailureRuleRow { failure_rule_id, ..row });
        }
    }
    assert_eq!(Tables::check(rows, 1).expect("good rows").warnings, []);
}

fn group(rows: &mut Rows) -> &mut CarrierGroupRow {
    rows.carrier_groups.push(CarrierGroupRow {
        carrier_group_id: 1,
        name: "voice".into(),
        errors_in_row: 2,
        within_s: 30,
        hold_s: 60,
    });
    &mut rows.carrier_groups[0]
}

fn hours(rows: &mut Rows) -> &mut RouteCarrierHoursRow {
    rows.route_carrier_hours.push(RouteCarrierHoursRow {
        route_id: 1,
        carrier_id: 1,
        days: "mon".into(),
        from_time: "08:00".into(),
        until_time: "18:00".into(),
        time_zone: "UTC".into(),
    });
    &mut rows.route_carrier_hours[0]
}

fn header(rule: &mut FailureRuleRow, regex: &str) {
    rule.header_name = Some("X-Error".into());
    rule.header_regex = Some(regex.into());
}

/// Which of the rules, counted from 1, a busy callee's answer matches.
fn rule_of(changes: &[fn(&mut FailureRuleRow)]) -> Option<FailureRuleId> {
    classify(changes).rule_id
}

fn classify(changes: &[fn(&mut FailureRuleRow)]) -> RuleMatch {
    tables_with(changes).failure_rules.classify(&busy())
}

fn tables_with(changes: &[fn(&mut FailureRuleRow)]) -> Tables {
    let mut rows = rows();
    for (id, change) in (1..).zip(changes) {
        let mut rule = FailureRuleRow {
            failure_rule_id: id,
            class: "destination".into(),
            action: "stop".into(),
            weight: 0.0,
            ..FailureRuleRow::default()
        };
        change(&mut rule);
        rows.failure_rules.push(rule);
    }
    rows.carriers.push(carrier(2));
    rows.gateways.push(gateway(2));
    Tables::check(rows, 1).expect("good rows")
}

fn busy() -> Observation<'static> {
    Observation {
        carrier_id: CarrierId(1),
        origin: Origin::Remote,
        stage: Stage::Ringing,
        status_code: 486,
        reason: b"Busy Here",
        q850_cause: Some(17),
        header: &|name| name.eq_ignore_ascii_case("X-Error").then_some(b"32203"),
    }
}

fn rows() -> Rows {
    Rows {
        carriers: vec![carrier(1)],
        gateways: vec![gateway(1)],
        customers: vec![customer(1)],
        routes: vec![route(1, None, "")],
        route_carriers: vec![place(1)],
        ..Rows::default()
    }
}

fn carrier(carrier_id: i64) -> CarrierRow {
    CarrierRow { carrier_id, name: format!("carrier-{carrier_id}"), ..CarrierRow::default() }
}

fn gateway(id: i64) -> GatewayRow {
    GatewayRow {
        gateway_id: id,
        carrier_id: id,
        name: format!("gateway-{id}"),
        host: "192.0.2.1".into(),
        ..GatewayRow::default()
    }
}

fn customer(customer_id: i64) -> CustomerRow {
    CustomerRow { customer_id, name: format!("customer-{customer_id}"), ..CustomerRow::default() }
}

fn route(route_id: i64, customer_id: Option<i64>, prefix: &str) -> RouteRow {
    RouteRow {
        route_id,
        customer_id,
        called_prefix: prefix.into(),
        strategy: "priority".into(),
        ..RouteRow::default()
    }
}

fn place(route_id: i64) -> RouteCarrierRow {
    RouteCarrierRow { route_id, carrier_id: 1, ..RouteCarrierRow::default() }
}

#[test]
fn a_failure_rule_says_its_conditions_and_what_follows() {
    let rule = |change: fn(&mut crate::carrier::rows::FailureRuleRow)| {
        let mut row = super::seed::seed_rules().remove(0);
        row.origin = None;
        row.stage = None;
        row.failure_rule_id = 1;
        change(&mut row);
        let rows = Rows { failure_rules: vec![row], ..Rows::default() };
        let tables = Tables::check(rows, 1).expect("a good rule");
        tables.failure_rules.text_of(super::FailureRuleId(1)).expect("it is there")
    };
    assert_eq!(rule(|_| {}), "any end -> carrier_hard, next_gateway, weight 1");
    let all = rule(|row| {
        row.status = Some("5xx".to_owned());
        row.reason_regex = Some("(?i)cps".to_owned());
        row.header_name = Some("X-Error".to_owned());
        row.header_regex = Some("^32".to_owned());
        row.q850_cause = Some(34);
        row.origin = Some("remote".to_owned());
        row.stage = Some("trying".to_owned());
        row.class = "capacity".to_owned();
    });
    assert_eq!(
        all,
        "status 5xx, reason ~ \"(?i)cps\", header X-Error ~ \"^32\", Q.850 cause 34, origin remote, \
         stage trying -> capacity, next_gateway"
    );
}
