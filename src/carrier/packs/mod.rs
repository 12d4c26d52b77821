//! Failure rules in the words of known vendors, for an admin to load: `holdfast rules add`.

use serde::Deserialize;

use super::CarrierId;
use super::rows::FailureRuleRow;

/// The rules of one vendor.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    #[serde(skip)]
    pub name: &'static str,
    /// What it is for, for people.
    pub about: String,
    #[serde(rename = "rule")]
    rules: Vec<PackRule>,
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

    /// Its rows for a carrier, enabled; the store gives them their ids.
    pub fn rows_for(&self, carrier_id: CarrierId) -> Vec<FailureRuleRow> {
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
