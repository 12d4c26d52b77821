//! The checks of a case on what passed: sequences, times, headers, counts.

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;

use super::case::{Case, CountCheck, HeaderCheck, TimeCheck};
use super::template::Values;
use super::wire::{Message, Pick, Wire};

/// Every expectation about the wire; all that is wrong, not only the first.
pub(crate) fn check(case: &Case, values: &Values, wire: &Wire) -> Vec<String> {
    let messages = wire.messages();
    let mut wrong = Vec::new();
    let mut take = |result: Result<()>| {
        if let Err(error) = result {
            wrong.push(format!("{error:#}"));
        }
    };
    for (party, expected) in case.wire.iter().filter(|(party, _)| wire.knows(party)) {
        take(sequence(party, expected, &messages, case.shows_probes));
    }
    let known = |text: &str| wire.knows(text.split(' ').next().unwrap_or_default());
    for check in case.time.iter().filter(|check| known(&check.from) && known(&check.to)) {
        take(time(check, &messages));
    }
    for check in case.header.iter().filter(|check| known(&check.message)) {
        take(header(check, values, &messages));
    }
    for (party, by) in &case.transport {
        take(transport(party, by, values, &messages));
    }
    for check in case.count.iter().filter(|check| known(&check.of)) {
        take(count(check, &messages));
    }
    wrong
}

/// Retransmissions are left out; `?` at the end of an expected line makes it optional.
fn sequence(
    party: &str,
    expected: &[String],
    messages: &[Message],
    shows_probes: bool,
) -> Result<()> {
    let seen: Vec<String> = messages
        .iter()
        .filter(|message| message.party == party && !message.is_repeat)
        .filter(|message| shows_probes || !message.text.is_probe())
        .map(Message::label)
        .collect();
    let mut left = seen.as_slice();
    for (index, line) in expected.iter().enumerate() {
        let (label, is_optional) = match line.strip_suffix('?') {
            Some(label) => (label, true),
            None => (line.as_str(), false),
        };
        match left.first() {
            Some(next) if next == label => left = &left[1..],
            _ if is_optional => {}
            next => bail!(
                "{party}: message {} should be `{label}` and is `{}`; seen: {seen:?}",
                index + 1,
                next.map_or("missing", String::as_str),
            ),
        }
    }
    ensure!(left.is_empty(), "{party}: more passed than expected: {left:?}; seen: {seen:?}");
    Ok(())
}

fn find<'a>(text: &str, messages: &'a [Message]) -> Result<&'a Message> {
    let found = Pick::parse(text)?.find(messages);
    found.with_context(|| format!("`{text}` never passed"))
}

fn time(check: &TimeCheck, messages: &[Message]) -> Result<()> {
    let from = find(&check.from, messages)?.at;
    let to = find(&check.to, messages)?.at;
    let took_ms = to.saturating_duration_since(from).as_millis() as u64;
    let what = format!("from `{}` to `{}` it took {took_ms} ms", check.from, check.to);
    ensure!(took_ms >= check.at_least_ms, "{what}, less than {} ms", check.at_least_ms);
    if let Some(at_most_ms) = check.at_most_ms {
        ensure!(took_ms <= at_most_ms, "{what}, more than {at_most_ms} ms");
    }
    Ok(())
}

fn header(check: &HeaderCheck, values: &Values, messages: &[Message]) -> Result<()> {
    let value = value_of(&check.name, find(&check.message, messages)?);
    let place = format!("{} of `{}`", check.name, check.message);
    if check.absent {
        ensure!(value.is_none(), "{place} should not be there and is {value:?}");
        return Ok(());
    }
    let value = value.with_context(|| format!("{place} is missing"))?;
    if let Some(is) = &check.is {
        let is = values.fill(is)?;
        ensure!(value == is, "{place} should be {is:?} and is {value:?}");
    }
    if let Some(pattern) = &check.matches {
        let pattern = Regex::new(&values.fill(pattern)?)?;
        ensure!(pattern.is_match(&value), "{place} should match {pattern} and is {value:?}");
    }
    for (other, is_same) in [(&check.same_as, true), (&check.differs_from, false)] {
        if let Some(other) = other {
            let theirs = value_of(&check.name, find(other, messages)?);
            ensure!(
                (theirs.as_deref() == Some(&value)) == is_same,
                "{place} is {value:?}, of `{other}` it is {theirs:?}"
            );
        }
    }
    Ok(())
}

fn value_of(name: &str, message: &Message) -> Option<String> {
    let text = &message.text;
    match name {
        "request-uri" => text.request_uri().map(str::to_owned),
        "status-line" => Some(text.start_line.clone()),
        "body" => Some(text.body.clone()),
        name => {
            let all = text.all(name);
            (!all.is_empty()).then(|| all.join(", "))
        }
    }
}

/// Every message between a party and Holdfast went by this.
fn transport(party: &str, by: &str, values: &Values, messages: &[Message]) -> Result<()> {
    let by = values.fill(by)?;
    let mut seen = messages.iter().filter(|one| one.party == party && one.with_holdfast).peekable();
    ensure!(seen.peek().is_some(), "{party}: nothing passed by {by}");
    match seen.find(|one| one.transport.to_string() != by) {
        Some(other) => {
            bail!("{party}: `{}` went by {} instead of {by}", other.label(), other.transport)
        }
        None => Ok(()),
    }
}

fn count(check: &CountCheck, messages: &[Message]) -> Result<()> {
    let pick = Pick::parse(&check.of)?;
    let count = messages.iter().filter(|message| pick.matches(message)).count();
    ensure!(count >= check.at_least, "`{}` passed {count} times, not {}", check.of, check.at_least);
    if let Some(at_most) = check.at_most {
        ensure!(count <= at_most, "`{}` passed {count} times, more than {at_most}", check.of);
    }
    Ok(())
}
