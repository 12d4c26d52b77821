//! Known vendors as rows for an admin to load: `holdfast carriers add`, and their failure rules alone, `holdfast rules add`.

mod missing;

use serde::Deserialize;

use super::CarrierId;
use super::rows::{CarrierRow, FailureRuleRow, GatewayRow, NumberExampleRow, NumberRuleRow, Rows};

pub use missing::{NotOurs, missing};

/// One vendor.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    #[serde(skip)]
    pub name: &'static str,
    /// What it is for, for people.
    pub about: String,
    /// What is to be done once its rows are there.
    pub next: String,
    /// Edges that are taken where none are named.
    pub default_edges: Vec<String>,
    /// What of the admin's own it needs to know; `None` = nothing.
    pub account: Option<Account>,
    #[serde(rename = "edge")]
    pub edges: Vec<Edge>,
    carrier: CarrierRow,
    /// What all its gateways have in common.
    gateway: GatewayRow,
    number_rule: NumberRuleRow,
    #[serde(rename = "example", default)]
    examples: Vec<NumberExampleRow>,
    #[serde(rename = "rule")]
    rules: Vec<PackRule>,
}

/// A place at which a vendor takes calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    pub name: String,
    pub host: String,
    pub region: String,
}

/// What tells the vendor whose calls these are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The flag of the command line, without its dashes.
    pub flag: String,
    pub about: String,
    /// Left away where it is written with it.
    #[serde(default)]
    suffix: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackRule {
    /// For whoever reads the file.
    #[serde(rename = "note")]
    _note: String,
    status: Option<String>,
    reason_regex: Option<String>,
    header_name: Option<String>,
    header_regex: Option<String>,
    q850_cause: Option<i32>,
    class: String,
    action: String,
    /// Only the classes that count against a carrier have one.
    #[serde(default)]
    weight: f32,
}

/// What an admin wants of a pack.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Of the carrier; its gateways are named after it.
    pub name: &'a str,
    pub account: Option<&'a str>,
    /// The first is tried first; none = the pack's default.
    pub edges: &'a [String],
}

/// Names and texts of all packs.
const PACKS: [(&str, &str); 3] = [
    ("openai", include_str!("openai.toml")),
    ("telnyx", include_str!("telnyx.toml")),
    ("twilio", include_str!("twilio.toml")),
];

/// All packs, by name.
pub fn all() -> Vec<Pack> {
    let read = |(name, text)| Pack { name, ..toml::from_str(text).expect("a test reads them all") };
    PACKS.map(read).into()
}

impl Pack {
    /// `None` where no pack has this name.
    pub fn named(name: &str) -> Option<Self> {
        all().into_iter().find(|pack| pack.name == name)
    }

    /// The failure rules for a carrier, enabled; the store gives them their ids.
    pub fn rules_for(&self, carrier_id: CarrierId) -> Vec<FailureRuleRow> {
        let row = |rule: &PackRule| FailureRuleRow {
            failure_rule_id: 0,
            enabled: true,
            carrier_id: Some(carrier_id.0),
            status: rule.status.clone(),
            reason_regex: rule.reason_regex.clone(),
            header_name: rule.header_name.clone(),
            header_regex: rule.header_regex.clone(),
            q850_cause: rule.q850_cause,
            origin: None,
            stage: None,
            class: rule.class.clone(),
            action: rule.action.clone(),
            weight: rule.weight,
        };
        self.rules.iter().map(row).collect()
    }

    /// The carrier with its gateways, rules and examples. All ids are 0: the store gives them. The error is a sentence.
    pub fn rows(&self, wanted: &Wanted<'_>) -> Result<Rows, String> {
        let account = self.account(wanted.account)?;
        let edges = self.edges(wanted.edges)?;
        let host = edges[0].host.replace("{account}", &account);
        let filled = |text: &str| text.replace("{account}", &account).replace("{host}", &host);
        let gateways = (0..).zip(&edges).map(|(priority, edge)| GatewayRow {
            name: format!("{}-{}", wanted.name, edge.name),
            host: filled(&edge.host),
            region: Some(edge.region.clone()),
            priority,
            ..self.gateway.clone()
        });
        let rule = &self.number_rule;
        let number_rule = NumberRuleRow {
            called_replacement: rule.called_replacement.as_deref().map(filled),
            ..rule.clone()
        };
        let examples = self.examples.iter().map(|example| NumberExampleRow {
            expected_request_uri: example.expected_request_uri.as_deref().map(filled),
            ..example.clone()
        });
        Ok(Rows {
            carriers: vec![CarrierRow { name: wanted.name.to_owned(), ..self.carrier.clone() }],
            gateways: gateways.collect(),
            number_rules: vec![number_rule],
            number_examples: examples.collect(),
            failure_rules: self.rules_for(CarrierId(0)),
            ..Rows::default()
        })
    }

    fn account(&self, given: Option<&str>) -> Result<String, String> {
        let Some(account) = &self.account else { return Ok(String::new()) };
        let Account { flag, about, suffix } = account;
        let text = given.ok_or_else(|| format!("{} needs --{flag}: {about}", self.name))?;
        let text = text.strip_suffix(suffix.as_str()).unwrap_or(text);
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
        match !text.is_empty() && text.len() <= 100 && text.bytes().all(is_plain) {
            true => Ok(text.to_owned()),
            false => Err(format!("'{text}' is not {about}")),
        }
    }

    /// One at least.
    fn edges(&self, names: &[String]) -> Result<Vec<&Edge>, String> {
        let names = if names.is_empty() { &self.default_edges } else { names };
        let edge = |name: &String| {
            let found = self.edges.iter().find(|edge| edge.name == *name);
            let names: Vec<&str> = self.edges.iter().map(|edge| edge.name.as_str()).collect();
            found.ok_or_else(|| {
                format!("{} has no edge '{name}'; it has {}", self.name, names.join(", "))
            })
        };
        names.iter().map(edge).collect()
    }
}

impl FailureRuleRow {
    /// Whether both are of the same attempts' ends, whatever they say of them.
    pub fn has_conditions_of(&self, other: &Self) -> bool {
        let of = |row: &Self| {
            let name = row.header_name.as_ref().map(|name| name.to_ascii_lowercase());
            let texts =
                [&row.status, &row.reason_regex, &row.header_regex, &row.origin, &row.stage];
            (row.carrier_id, row.q850_cause, name, texts.map(Clone::clone))
        };
        of(self) == of(other)
    }
}

#[cfg(test)]
mod tests;
