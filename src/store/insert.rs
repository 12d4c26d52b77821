//! Rows to be added, as statements that both stores take and a person can read.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::carrier::Rows;
use crate::carrier::rows::{
    CarrierRow, FailureRuleRow, GatewayRow, NumberExampleRow, NumberRuleRow,
};

/// The statements that add carriers with what belongs to them; ids are left to the store. A `carrier_id` of 0 is that of
/// the first of these carriers. Columns that hold their defaults are not named.
pub fn statements(rows: &Rows) -> Vec<String> {
    let carrier = rows.carriers.first().map(|row| row.name.as_str()).unwrap_or_default();
    let mut all = Vec::new();
    let table = Table { carrier, name: "carriers" };
    all.extend(rows.carriers.iter().map(|row| table.insert(row, &CarrierRow::default())));
    let table = Table { carrier, name: "gateways" };
    all.extend(rows.gateways.iter().map(|row| table.insert(row, &GatewayRow::default())));
    let table = Table { carrier, name: "number_rules" };
    all.extend(rows.number_rules.iter().map(|row| table.insert(row, &NumberRuleRow::default())));
    let table = Table { carrier, name: "number_examples" };
    let none = NumberExampleRow::default();
    all.extend(rows.number_examples.iter().map(|row| table.insert(row, &none)));
    let table = Table { carrier, name: "failure_rules" };
    all.extend(rows.failure_rules.iter().map(|row| table.insert(row, &FailureRuleRow::default())));
    all
}

struct Table<'a> {
    /// Name of the carrier whose id is not known yet.
    carrier: &'a str,
    name: &'static str,
}

impl Table<'_> {
    fn insert<T: Serialize>(&self, row: &T, default: &T) -> String {
        let (row, default) = (columns(row), columns(default));
        let is_of_new =
            self.name != "carriers" && row.get("carrier_id").and_then(Value::as_i64) == Some(0);
        let mut names = Vec::new();
        let mut values = Vec::new();
        if is_of_new {
            names.push("carrier_id");
            let carrier = quoted(self.carrier);
            values.push(format!("(select carrier_id from carriers where name = {carrier})"));
        }
        let set = row.iter().filter(|(name, value)| default.get(*name) != Some(value));
        let mut set: Vec<_> = set.collect();
        // What a person looks for first.
        set.sort_by_key(|(name, _)| *name != "name");
        for (name, value) in set {
            if name == "carrier_id" && is_of_new {
                continue;
            }
            names.push(name);
            values.push(literal(value));
        }
        let (names, values) = (names.join(", "), values.join(", "));
        format!("insert into {} ({names}) values ({values});", self.name)
    }
}

/// A row's fields are named as its columns.
fn columns<T: Serialize>(row: &T) -> Map<String, Value> {
    match serde_json::to_value(row) {
        Ok(Value::Object(columns)) => columns,
        Ok(_) | Err(_) => Map::new(),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// A text as SQL has it; backslashes stand for themselves.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::packs::{Pack, Wanted};

    #[test]
    fn writes_a_pack_as_a_person_would() {
        let pack = Pack::named("twilio").expect("a pack");
        let edges = ["dublin".to_owned()];
        let wanted = Wanted { name: "o'twilio", account: Some("acme"), edges: &edges };
        let mut rows = pack.rows(&wanted).expect("it makes sense");
        rows.failure_rules.truncate(2);
        insta::assert_snapshot!(statements(&rows).join("\n"));
    }

    #[test]
    fn names_the_id_of_a_carrier_that_is_known() {
        let rule = NumberRuleRow { carrier_id: 7, is_trusted: true, ..NumberRuleRow::default() };
        let rows = Rows { number_rules: vec![rule], ..Rows::default() };
        assert_eq!(
            statements(&rows),
            ["insert into number_rules (carrier_id, is_trusted) values (7, true);"]
        );
    }
}
