//! The checks of a case on what is on record once Holdfast has ended.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use regex::Regex;

use super::case::{Case, RecordCheck, plain};
use super::store::Store;
use super::template::Values;

/// Every expectation about the records; all that is wrong, not only the first.
pub(crate) fn check(case: &Case, values: &Values, store: &Store) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(expected) = &case.record
        && let Err(error) = records(expected, values, store)
    {
        wrong.push(format!("{error:#}"));
    }
    for check in &case.query {
        let result = values.fill(&check.sql).and_then(|sql| Ok((store.value(&sql)?, sql)));
        match result {
            Ok((value, sql)) if value != check.is => {
                wrong.push(format!("{sql} should give {:?} and gives {value:?}", check.is));
            }
            Ok(_) => {}
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    wrong
}

fn records(expected: &[RecordCheck], values: &Values, store: &Store) -> Result<()> {
    let call_ids = store.column("select call_id from calls order by started_at, call_id")?;
    ensure!(
        call_ids.len() == expected.len(),
        "{} calls should be on record and {} are",
        expected.len(),
        call_ids.len()
    );
    for (number, (call_id, record)) in call_ids.iter().zip(expected).enumerate() {
        let place = format!("call {}", number + 1);
        let key = format!("cast(call_id as text) = '{call_id}'");
        row(&place, &record.columns, values, |column| {
            store.value(&format!("select {column} from calls where {key}"))
        })?;
        if let Some(attempts) = &record.attempts {
            check_attempts(&place, &key, attempts, values, store)?;
        }
    }
    Ok(())
}

fn check_attempts(
    place: &str,
    key: &str,
    expected: &[BTreeMap<String, toml::Value>],
    values: &Values,
    store: &Store,
) -> Result<()> {
    let gateways = store.column(&format!(
        "select gateway from call_attempts where {key} order by attempt_number"
    ))?;
    ensure!(
        gateways.len() == expected.len(),
        "{place} should have {} attempts and has {gateways:?}",
        expected.len()
    );
    for (index, columns) in expected.iter().enumerate() {
        let number = index + 1;
        row(&format!("{place}, attempt {number}"), columns, values, |column| {
            store.value(&format!(
                "select {column} from call_attempts where {key} and attempt_number = {number}"
            ))
        })?;
    }
    Ok(())
}

fn row(
    place: &str,
    columns: &BTreeMap<String, toml::Value>,
    values: &Values,
    read: impl Fn(&str) -> Result<String>,
) -> Result<()> {
    for (column, expected) in columns {
        let expected = values.fill(&plain(expected))?;
        let value = read(column)?;
        let is_right = match expected.strip_prefix('~') {
            Some(pattern) => Regex::new(pattern)?.is_match(&value),
            None => value == expected,
        };
        if !is_right {
            bail!("{place}: {column} should be {expected:?} and is {value:?}");
        }
    }
    Ok(())
}
