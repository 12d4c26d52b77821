//! `holdfast rules add PACK --carrier NAME` and `holdfast rules list`

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;

use super::flags::SettingsFlags;
use crate::carrier::packs::{self, Pack};
use crate::carrier::rows::FailureRuleRow;
use crate::carrier::{CarrierId, Rows, Tables};
use crate::store::{Store, insert};

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Add a vendor's failure rules for one carrier; those that it has already stay as they are
    Add {
        /// Which vendor's: openai, telnyx or twilio
        pack: String,
        /// Name of the carrier that the rules are for
        #[arg(long, value_name = "NAME")]
        carrier: String,
        #[command(flatten)]
        flags: SettingsFlags,
    },
    /// Print the vendors there are rules for, and the rules of the store in the order in which they are tried
    List(SettingsFlags),
}

pub(super) fn run(command: &RulesCommand) -> anyhow::Result<ExitCode> {
    match command {
        RulesCommand::Add { pack, carrier, flags } => {
            let Some(pack) = Pack::named(pack) else {
                let names: Vec<&str> = packs::all().iter().map(|pack| pack.name).collect();
                bail!("there are no rules for '{pack}'; there are some for {}", names.join(", "));
            };
            with_store(flags, async |store| add(store, &pack, carrier).await)
        }
        RulesCommand::List(flags) => with_store(flags, list),
    }
}

pub(super) fn with_store(
    flags: &SettingsFlags,
    work: impl AsyncFnOnce(&Store) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let settings = flags.raw().check()?;
    super::runtime()?.block_on(async {
        let store = Store::open(&settings.database_url)?;
        let pending = store.pending_migrations().await?;
        if !pending.is_empty() {
            bail!("the store lacks migrations {pending:?}; run `holdfast migrate`");
        }
        let worked = work(&store).await;
        store.close().await;
        worked.map(|()| ExitCode::SUCCESS)
    })
}

async fn add(store: &Store, pack: &Pack, carrier: &str) -> anyhow::Result<()> {
    let rows = store.read_rows().await?;
    let id = carrier_named(&rows, carrier)?;
    let failure_rules = pack.rules_for(id);
    let all = failure_rules.len();
    let missing = packs::missing(&rows, Rows { failure_rules, ..Rows::default() })?;
    store.execute(&insert::statements(&missing)).await?;
    let added = missing.failure_rules.len();
    let kept = all - added;
    println!("{added} rules of {} added for {carrier}, {kept} were there already", pack.name);
    Ok(())
}

/// In any case of letters, as the store's own index has it.
fn carrier_named(rows: &Rows, name: &str) -> anyhow::Result<CarrierId> {
    let found = rows.carriers.iter().find(|row| row.name.to_lowercase() == name.to_lowercase());
    let names: Vec<&str> = rows.carriers.iter().map(|row| row.name.as_str()).collect();
    let row = found.with_context(|| match names.as_slice() {
        [] => "there is no carrier yet; add one to carriers".to_owned(),
        names => format!("there is no carrier '{name}'; there are {}", names.join(", ")),
    })?;
    Ok(CarrierId(row.carrier_id))
}

async fn list(store: &Store) -> anyhow::Result<()> {
    let rows = store.read_rows().await?;
    let packs = packs::all().into_iter().map(|pack| format!("{:8} {}\n", pack.name, pack.about));
    let rules = in_order(&rows).into_iter().map(|row| line(&rows, row) + "\n");
    let text: String = packs.chain(["\n".to_owned()]).chain(rules).collect();
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// In the order in which they are tried; in that of their numbers where the tables make no sense.
fn in_order(rows: &Rows) -> Vec<&FailureRuleRow> {
    let Ok(tables) = Tables::check(rows.clone(), 1) else {
        return rows.failure_rules.iter().collect();
    };
    let places: Vec<i64> = tables.failure_rules.ids().map(|id| id.0).collect();
    let place = |row: &&FailureRuleRow| {
        places.iter().position(|id| *id == row.failure_rule_id).unwrap_or(usize::MAX)
    };
    let mut ordered: Vec<&FailureRuleRow> = rows.failure_rules.iter().collect();
    ordered.sort_by_key(place);
    ordered
}

fn line(rows: &Rows, row: &FailureRuleRow) -> String {
    let carrier = rows.carriers.iter().find(|it| Some(it.carrier_id) == row.carrier_id);
    let carrier = carrier.map_or("any carrier", |carrier| carrier.name.as_str());
    let header = row.header_name.as_ref().map(|name| match &row.header_regex {
        Some(regex) => format!("{name} ~ {regex}"),
        None => name.clone(),
    });
    let conditions = [
        row.status.clone(),
        row.reason_regex.as_ref().map(|regex| format!("reason ~ {regex}")),
        header,
        row.q850_cause.map(|cause| format!("Q.850 {cause}")),
        row.origin.clone(),
        row.stage.as_ref().map(|stage| format!("at {stage}")),
    ];
    let conditions: Vec<String> = conditions.into_iter().flatten().collect();
    let conditions = match conditions.as_slice() {
        [] => "any end".to_owned(),
        conditions => conditions.join(", "),
    };
    let weight = if row.weight > 0.0 { format!(" {}", row.weight) } else { String::new() };
    let off = if row.enabled { "" } else { " (disabled)" };
    let (id, class, action) = (row.failure_rule_id, &row.class, &row.action);
    format!("{id:5} {carrier}: {conditions} -> {class}{weight}, {action}{off}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::rows::CarrierRow;

    #[test]
    fn lists_each_rule_in_a_line_the_most_specific_first() {
        let mut rows =
            Rows { failure_rules: crate::carrier::seed::seed_rules(), ..Rows::default() };
        rows.failure_rules.truncate(6);
        rows.failure_rules[2].enabled = false;
        rows.carriers.push(carrier());
        let pack = Pack::named("twilio").expect("a pack");
        for row in pack.rules_for(CarrierId(1)) {
            let failure_rule_id = i64::try_from(rows.failure_rules.len() + 1).expect("small");
            rows.failure_rules.push(FailureRuleRow { failure_rule_id, ..row });
        }
        let lines: Vec<String> = in_order(&rows).into_iter().map(|row| line(&rows, row)).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn finds_a_carrier_in_any_case_and_says_which_there_are() {
        let rows = Rows { carriers: vec![carrier()], ..Rows::default() };
        assert_eq!(carrier_named(&rows, "TRUNK").expect("it is there"), CarrierId(1));
        let error = carrier_named(&rows, "other").expect_err("it is not").to_string();
        assert_eq!(error, "there is no carrier 'other'; there are trunk");
    }

    fn carrier() -> CarrierRow {
        CarrierRow { carrier_id: 1, name: "trunk".to_owned(), ..CarrierRow::default() }
    }
}
