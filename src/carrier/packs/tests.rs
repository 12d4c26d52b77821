use super::*;
use crate::carrier::Tables;

fn wanted(pack: &Pack, edges: &[String]) -> Rows {
    let account = pack.account.as_ref().map(|_| "acme");
    pack.rows(&Wanted { name: pack.name, account, edges }).expect("it makes sense")
}

/// As a store would give them: with ids.
fn stored(mut rows: Rows) -> Rows {
    rows.carriers[0].carrier_id = 7;
    for (id, row) in (1..).zip(&mut rows.gateways) {
        (row.gateway_id, row.carrier_id) = (id, 7);
    }
    rows.number_rules[0].carrier_id = 7;
    for (id, row) in (1..).zip(&mut rows.number_examples) {
        (row.number_example_id, row.carrier_id) = (id, 7);
    }
    for (id, row) in (1..).zip(&mut rows.failure_rules) {
        (row.failure_rule_id, row.carrier_id) = (id, Some(7));
    }
    rows
}

#[test]
fn every_pack_makes_tables_that_make_sense_at_each_of_its_edges() {
    for pack in all() {
        for edge in &pack.edges {
            let rows = stored(wanted(&pack, std::slice::from_ref(&edge.name)));
            assert!(
                !rows.number_examples.is_empty(),
                "{} shows what it makes of numbers",
                pack.name
            );
            let tables = Tables::check(rows, 1).unwrap_or_else(|refusals| {
                panic!("{} at {}: {}", pack.name, edge.name, refusals[0])
            });
            let gateway = tables.gateways().next().expect("one");
            assert_eq!(gateway.region.as_deref(), Some(edge.region.as_str()));
        }
        let by_default = wanted(&pack, &[]).gateways;
        assert_eq!(by_default.len(), pack.default_edges.len());
    }
}

#[test]
fn no_pack_sets_a_column_that_there_is_not() {
    for (name, text) in PACKS {
        let pack: toml::Table = toml::from_str(text).expect("TOML");
        let known = |value: serde_json::Value| value.as_object().expect("columns").clone();
        for (table, columns) in [
            ("carrier", known(serde_json::to_value(CarrierRow::default()).expect("JSON"))),
            ("gateway", known(serde_json::to_value(GatewayRow::default()).expect("JSON"))),
            ("number_rule", known(serde_json::to_value(NumberRuleRow::default()).expect("JSON"))),
        ] {
            for column in pack[table].as_table().expect("a table").keys() {
                assert!(columns.contains_key(column), "{name}: {table}.{column}");
            }
        }
        let columns = known(serde_json::to_value(NumberExampleRow::default()).expect("JSON"));
        for example in pack["example"].as_array().expect("a list") {
            for column in example.as_table().expect("a table").keys() {
                assert!(columns.contains_key(column), "{name}: example.{column}");
            }
        }
    }
}

#[test]
fn all_of_a_new_carrier_is_missing_and_nothing_the_second_time() {
    let pack = Pack::named("twilio").expect("a pack");
    let rows = wanted(&pack, &[]);
    assert_eq!(missing(&Rows::default(), rows.clone()), Ok(rows.clone()));
    let left = missing(&stored(rows.clone()), rows).expect("nothing is taken");
    assert_eq!(left, Rows::default());
}

#[test]
fn leaves_what_an_admin_has_changed_and_adds_another_edge() {
    let pack = Pack::named("twilio").expect("a pack");
    let mut known = stored(wanted(&pack, &["ashburn".to_owned()]));
    known.carriers[0].name = "Twilio".to_owned();
    known.number_rules[0].called_format = "digits".to_owned();
    known.failure_rules[0].class = "config".to_owned();
    known.failure_rules.pop();
    let edges = ["ashburn".to_owned(), "dublin".to_owned()];
    let left = missing(&known, wanted(&pack, &edges)).expect("nothing is taken");
    let gateways: Vec<_> =
        left.gateways.iter().map(|row| (row.name.as_str(), row.carrier_id)).collect();
    assert_eq!(gateways, [("twilio-dublin", 7)]);
    assert_eq!(
        (left.carriers.len(), left.number_rules.len(), left.number_examples.len()),
        (0, 0, 0)
    );
    assert_eq!(left.failure_rules.len(), 1);
    assert_eq!(left.failure_rules[0].carrier_id, Some(7));
}

#[test]
fn takes_no_gateway_of_another_carrier_for_its_own() {
    let pack = Pack::named("telnyx").expect("a pack");
    let mut known = stored(wanted(&pack, &[]));
    known.carriers[0].name = "other".to_owned();
    let error = missing(&known, wanted(&pack, &[])).expect_err("it is another's").to_string();
    assert!(error.starts_with("gateway 'telnyx-us' is there already"), "{error}");
}

#[test]
fn reads_a_trunk_with_and_without_the_vendors_domain() {
    let pack = Pack::named("twilio").expect("a pack");
    for trunk in ["acme", "acme.pstn.twilio.com"] {
        let wanted = Wanted { name: "t", account: Some(trunk), edges: &[] };
        let rows = pack.rows(&wanted).expect("it makes sense");
        assert_eq!(rows.gateways[0].host, "acme.pstn.ashburn.twilio.com");
    }
}
