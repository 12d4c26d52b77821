//! What a drill leaves behind: one report, as Markdown for people and as JSON for machines.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::figures::{Delay, Figures};
use super::hypothesis::Check;
use super::ledger::Ms;

/// Calls that are listed one by one; the JSON file has all of them.
const MAX_LISTED: usize = 50;
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) drill_id: String,
    pub(super) scenario: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) ended_at: OffsetDateTime,
    pub(super) version: String,
    pub(super) nodes: Vec<String>,
    pub(super) carriers: Vec<String>,
    /// What was done, and how it was undone.
    pub(super) fault: String,
    pub(super) fault_lasted_ms: Ms,
    pub(super) hypothesis: String,
    pub(super) checks: Vec<Check>,
    pub(super) passed: bool,
    pub(super) timeline: Vec<Moment>,
    pub(super) figures: Figures,
    pub(super) earlier: Vec<Earlier>,
}

/// Something that happened, in ms from the fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Moment {
    pub(super) ms: Ms,
    pub(super) what: String,
}

/// A drill of the same scenario before this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Earlier {
    #[serde(with = "time::serde::rfc3339")]
    pub(super) started_at: OffsetDateTime,
    pub(super) version: String,
    pub(super) passed: bool,
    pub(super) in_flight: i64,
    pub(super) dropped: i64,
    pub(super) offered: i64,
    pub(super) failed: i64,
    pub(super) detected_ms: Option<Ms>,
    pub(super) decided_ms: Option<Ms>,
    pub(super) recovered_ms: Option<Ms>,
    pub(super) delay_during_p99_ms: Option<Ms>,
}

impl Report {
    /// For people.
    pub(super) fn markdown(&self) -> String {
        let verdict = if self.passed { "passed" } else { "FAILED" };
        let mut out = format!("# Drill {}: {verdict}\n\n", self.scenario);
        let facts = [
            ("when", format!("{} to {}", text(self.started_at), text(self.ended_at))),
            ("fault", format!("{}, for {} ms", self.fault, self.fault_lasted_ms)),
            ("nodes", self.nodes.join(", ")),
            ("carriers", self.carriers.join(", ")),
            ("hypothesis", format!("`{}`", self.hypothesis)),
            ("holdfast", self.version.clone()),
            ("number", self.drill_id.clone()),
        ];
        let facts = facts.map(|(name, fact)| vec![name.to_owned(), fact]);
        table(&mut out, &["", ""], facts);
        out.push_str("## Hypothesis\n\n");
        let checks = self.checks.iter().map(|check| {
            let holds = if check.holds { "yes" } else { "**NO**" };
            vec![check.expected.clone(), check.found.clone(), holds.to_owned()]
        });
        table(&mut out, &["expected", "found", "holds"], checks);
        self.write_times(&mut out);
        self.write_calls(&mut out);
        self.write_records(&mut out);
        self.write_earlier(&mut out);
        // One line end at the end.
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn write_times(&self, out: &mut String) {
        out.push_str("## Timeline\n\nMilliseconds from the fault.\n\n");
        let moments = self.timeline.iter();
        let moments = moments.map(|moment| vec![moment.ms.to_string(), moment.what.clone()]);
        table(out, &["ms", "what"], moments);
        let figures = &self.figures;
        let times = [
            ("to detect", figures.detected_ms),
            ("to decide", figures.decided_ms),
            ("to recover", figures.recovered_ms),
        ];
        let times = times.map(|(name, ms)| vec![name.to_owned(), number(ms)]);
        table(out, &["time", "ms"], times);
    }

    fn write_calls(&self, out: &mut String) {
        let figures = &self.figures;
        out.push_str("## Calls in flight\n\n");
        let counts = [
            ("answered when the fault came", figures.in_flight),
            ("survived", figures.survived),
            ("of these: hung up before the side could be told", figures.hung_up_before_told),
            ("dropped, those included that were answered later", figures.dropped.len()),
            ("legs told of another node", figures.legs_told),
        ];
        let counts = counts.map(|(name, count)| vec![name.to_owned(), count.to_string()]);
        table(out, &["calls", ""], counts);
        let dropped = figures.dropped.iter().take(MAX_LISTED);
        let dropped = dropped
            .map(|one| vec![format!("`{}`", one.call_id), one.state.clone(), one.cause.clone()]);
        listed(out, &["dropped", "state", "cause"], dropped, figures.dropped.len());

        out.push_str("## New calls\n\n");
        let counts = [
            ("offered", figures.offered),
            ("answered by way of another node than the first", figures.answered_by_next_node),
            ("failed", figures.failed.len()),
        ];
        let counts = counts.map(|(name, count)| vec![name.to_owned(), count.to_string()]);
        table(out, &["calls", ""], counts);
        let failed = figures.failed.iter().take(MAX_LISTED);
        let failed = failed.map(|one| {
            vec![format!("`{}`", one.call_id), one.offered_ms.to_string(), one.cause.clone()]
        });
        listed(out, &["failed", "offered ms", "cause"], failed, figures.failed.len());
        let delays = [
            ("before the fault", figures.delay_before),
            ("while it lasted", figures.delay_during),
            ("after it", figures.delay_after),
        ];
        let delays = delays.map(|(name, Delay { calls, p50_ms, p99_ms })| {
            vec![name.to_owned(), calls.to_string(), number(p50_ms), number(p99_ms)]
        });
        table(out, &["INVITE to ringing", "calls", "p50 ms", "p99 ms"], delays);
    }

    fn write_records(&self, out: &mut String) {
        out.push_str("## Records\n\n");
        let Some(records) = &self.figures.records else {
            out.push_str("Not looked at: there was no `--database-url`.\n\n");
            return;
        };
        let counts = [
            ("calls to be on record", records.expected),
            ("found", records.found),
            ("lost", records.lost.len()),
            ("doubled", records.doubled.len()),
            ("calls in a wrong region", records.wrong_region),
            ("calls that ended on another node than they were answered on", records.taken_over),
        ];
        let counts = counts.map(|(name, count)| vec![name.to_owned(), count.to_string()]);
        table(out, &["records", ""], counts);
        for (name, calls) in [("lost", &records.lost), ("doubled", &records.doubled)] {
            let rows = calls.iter().take(MAX_LISTED).map(|call_id| vec![format!("`{call_id}`")]);
            listed(out, &[name], rows, calls.len());
        }
    }

    fn write_earlier(&self, out: &mut String) {
        out.push_str("## Compared with earlier drills\n\n");
        if self.earlier.is_empty() {
            out.push_str("None of this scenario is on record.\n");
            return;
        }
        let figures = &self.figures;
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let this = Earlier {
            started_at: self.started_at,
            version: self.version.clone(),
            passed: self.passed,
            in_flight: count(figures.in_flight),
            dropped: count(figures.dropped.len()),
            offered: count(figures.offered),
            failed: count(figures.failed.len()),
            detected_ms: figures.detected_ms,
            decided_ms: figures.decided_ms,
            recovered_ms: figures.recovered_ms,
            delay_during_p99_ms: figures.delay_during.p99_ms,
        };
        let rows = std::iter::once((&this, "this one".to_owned()))
            .chain(self.earlier.iter().map(|drill| (drill, text(drill.started_at))));
        let rows = rows.map(|(drill, when)| {
            vec![
                when,
                drill.version.clone(),
                if drill.passed { "passed" } else { "FAILED" }.to_owned(),
                format!("{} of {}", drill.dropped, drill.in_flight),
                format!("{} of {}", drill.failed, drill.offered),
                number(drill.detected_ms),
                number(drill.decided_ms),
                number(drill.recovered_ms),
                number(drill.delay_during_p99_ms),
            ]
        });
        let heads = [
            "drill",
            "version",
            "verdict",
            "dropped",
            "failed",
            "detected ms",
            "decided ms",
            "recovered ms",
            "p99 ms",
        ];
        table(out, &heads, rows);
    }
}

fn text(at: OffsetDateTime) -> String {
    at.to_utc().format(TIME).expect("a date and time have all parts of the format")
}

fn number(ms: Option<Ms>) -> String {
    ms.map_or("-".to_owned(), |ms| ms.to_string())
}

/// A table, if it has rows, and how many of them are not in it.
fn listed(
    out: &mut String,
    heads: &[&str],
    rows: impl ExactSizeIterator<Item = Vec<String>>,
    count: usize,
) {
    let shown = rows.len();
    if shown == 0 {
        return;
    }
    table(out, heads, rows);
    if count > shown {
        out.push_str(&format!("And {} more, in the JSON file.\n\n", count - shown));
    }
}

fn table(out: &mut String, heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    out.push_str(&format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len())));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out.push('\n');
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
