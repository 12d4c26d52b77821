//! What of the rows that are wanted a store lacks.

use crate::carrier::Rows;
use crate::carrier::rows::CarrierRow;

/// A gateway's name that is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "gateway '{gateway}' is there already and belongs to another carrier; choose another --name"
)]
pub struct NotOurs {
    pub gateway: String,
}

/// Of the rows of one carrier (its name first, its id 0 where it is new), those that `known` does not have. What is
/// known stays as an admin has it. Rows of a carrier that is known come with its id.
pub fn missing(known: &Rows, mut wanted: Rows) -> Result<Rows, NotOurs> {
    let is_named = |row: &CarrierRow, name: &str| row.name.to_lowercase() == name.to_lowercase();
    let name = wanted.carriers.first().map(|row| row.name.clone()).unwrap_or_default();
    let carrier = known.carriers.iter().find(|row| is_named(row, &name));
    if let Some(id) = carrier.map(|row| row.carrier_id) {
        wanted.carriers.clear();
        // They speak of the rule and the gateways of a new carrier: an admin may have changed both.
        wanted.number_examples.clear();
        wanted.gateways.iter_mut().for_each(|row| row.carrier_id = id);
        wanted.number_rules.iter_mut().for_each(|row| row.carrier_id = id);
        wanted.failure_rules.iter_mut().for_each(|row| row.carrier_id = Some(id));
    }
    let lower = |name: &str| name.to_lowercase();
    for row in &wanted.gateways {
        let mut taken = known.gateways.iter().filter(|it| lower(&it.name) == lower(&row.name));
        if taken.any(|it| it.carrier_id != row.carrier_id) {
            return Err(NotOurs { gateway: row.name.clone() });
        }
    }
    wanted
        .gateways
        .retain(|row| !known.gateways.iter().any(|it| lower(&it.name) == lower(&row.name)));
    wanted
        .number_rules
        .retain(|row| !known.number_rules.iter().any(|it| it.carrier_id == row.carrier_id));
    wanted
        .failure_rules
        .retain(|row| !known.failure_rules.iter().any(|it| it.has_conditions_of(row)));
    Ok(wanted)
}
