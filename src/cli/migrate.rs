//! `holdfast migrate`

use std::process::ExitCode;

use super::flags::SettingsFlags;
use crate::store::Store;

pub(super) fn run(flags: &SettingsFlags) -> anyhow::Result<ExitCode> {
    let settings = flags.raw().check()?;
    super::runtime()?.block_on(async {
        let store = Store::open(&settings.database_url)?;
        let applied = store.migrate().await?;
        store.close().await;
        match applied.as_slice() {
            [] => println!("the tables are up to date"),
            versions => versions.iter().for_each(|version| println!("applied migration {version}")),
        }
        Ok(ExitCode::SUCCESS)
    })
}
