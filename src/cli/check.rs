//! `holdfast check`

use std::process::ExitCode;

use super::flags::SettingsFlags;
use crate::carrier::{Loss, Rows, Tables};
use crate::store::Store;

pub(super) fn run(flags: &SettingsFlags) -> anyhow::Result<ExitCode> {
    let raw = flags.raw();
    let settings = raw.check()?;
    for (name, value, source) in raw.effective() {
        println!("{name} = {value}  ({source})");
    }
    settings.tls.load()?;
    super::runtime()?.block_on(async {
        let store = Store::open(&settings.database_url)?;
        let pending = store.pending_migrations().await?;
        if !pending.is_empty() {
            println!("\nthe store lacks migrations {pending:?}; run `holdfast migrate`");
            return Ok(ExitCode::FAILURE);
        }
        let rows = store.read_rows().await?;
        store.close().await;
        println!("\n{}", counts(&rows));
        let (warnings, refusals) = match Tables::check(rows, 1) {
            Ok(tables) => {
                Loss::of(&tables).iter().for_each(|loss| println!("{loss}"));
                (tables.warnings, Vec::new())
            }
            Err(refusals) => (Vec::new(), refusals),
        };
        for warning in &warnings {
            println!("warning: {warning}");
        }
        for refusal in &refusals {
            println!("refused: {refusal}");
        }
        if refusals.is_empty() {
            println!("the tables make sense");
            Ok(ExitCode::SUCCESS)
        } else {
            Ok(ExitCode::FAILURE)
        }
    })
}

fn counts(rows: &Rows) -> String {
    format!(
        "{} carriers, {} gateways, {} registrations, {} customers, {} users, {} routes, {} failure rules, \
         {} number rules",
        rows.carriers.len(),
        rows.gateways.len(),
        rows.registrations.len(),
        rows.customers.len(),
        rows.customer_credentials.len(),
        rows.routes.len(),
        rows.failure_rules.len(),
        rows.number_rules.len()
    )
}
