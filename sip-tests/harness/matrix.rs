//! Who was spoken with, by what, and about what: docs/interop.md, written by a run of the cases.
//!
//! A row is what one case's wire showed, not what the case says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use regex::Regex;

use super::case::{Case, Role};
use super::store::StoreKind;
use super::telephone::python;
use super::wire::{Message, Way};

/// Names the file, e.g. `docs/interop.md`. Rows of cases that are not run stay as they are there.
pub(crate) const VARIABLE: &str = "HOLDFAST_TEST_MATRIX";

const HEAD: &str =
    "| trial | caller's side | carrier's side | exercised | stores | result | what must hold |";

static ROWS: Mutex<BTreeMap<String, Row>> = Mutex::new(BTreeMap::new());

/// One case, whatever stores it ran on.
#[derive(Debug, Default)]
struct Row {
    callers: BTreeSet<String>,
    carriers: BTreeSet<String>,
    exercised: BTreeSet<&'static str>,
    stores: BTreeSet<String>,
    failure: Option<String>,
    about: String,
}

/// Takes in what passed in a case, and whether it went as it should.
pub(crate) fn note(case: &Case, store: StoreKind, messages: &[Message], has_failed: bool) {
    let mut rows = ROWS.lock().expect("no holder of this lock panics");
    let row = rows.entry(case.name.clone()).or_default();
    row.about.clone_from(&case.about);
    row.stores.insert(store.to_string());
    if has_failed {
        row.failure = Some("FAILED".to_owned());
    }
    for (name, party) in &case.party {
        let Some(peer) = peer(party.plays) else { continue };
        let side = if case.is_behind_carriers(name) { &mut row.carriers } else { &mut row.callers };
        let transports: BTreeSet<_> = messages
            .iter()
            .filter(|one| one.party == *name && one.with_holdfast)
            .map(|one| one.transport)
            .collect();
        side.extend(
            transports.iter().map(|by| format!("{peer} {}", by.to_string().to_uppercase())),
        );
        if transports.is_empty() && messages.iter().any(|one| one.party == *name) {
            side.insert(format!("{peer} behind"));
        }
    }
    row.exercised.extend(exercised(messages));
}

/// A case that cannot run here, for want of a package.
pub(crate) fn note_skipped(case: &Case, store: StoreKind, package: &str) {
    let mut rows = ROWS.lock().expect("no holder of this lock panics");
    let row = rows.entry(case.name.clone()).or_default();
    row.about.clone_from(&case.about);
    row.stores.insert(store.to_string());
    row.failure = Some(format!("skipped: {package} was not installed"));
}

fn peer(role: Role) -> Option<&'static str> {
    match role {
        Role::Caller | Role::Carrier => Some("SIPp"),
        Role::Kamailio => Some("Kamailio"),
        Role::Baresip => Some("baresip"),
        Role::Pjsua2 => Some("pjsua2"),
        Role::Linphone => Some("linphone"),
        Role::Datagrams => Some("sockets"),
        Role::Silent | Role::Closed => None,
    }
}

/// What passed between Holdfast and its peers, in words.
fn exercised(messages: &[Message]) -> BTreeSet<&'static str> {
    let mut all = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for one in messages.iter().filter(|one| one.with_holdfast && !one.text.is_probe()) {
        let (text, method) = (&one.text, one.text.method());
        let code = text.status_code();
        let is_invite = method == "INVITE" && code.is_none();
        let is_within = is_invite && text.tag("to").is_some();
        if is_invite && !is_within && one.way == Way::Received {
            asked.insert(&one.party);
        }
        let routes = text.all("record-route");
        let is_loose = routes.iter().any(|route| route.contains(";lr"));
        for (word, is_seen) in [
            ("re-INVITE", is_within),
            (
                "hold",
                is_within
                    && ["a=sendonly", "a=inactive"].iter().any(|held| text.body.contains(held)),
            ),
            ("late offer", is_invite && text.body.is_empty()),
            (
                "early media",
                method == "INVITE"
                    && code.is_some_and(|code| (101..200).contains(&code))
                    && !text.body.is_empty(),
            ),
            ("challenge", matches!(code, Some(401 | 407))),
            ("loose routing", is_loose),
            ("strict routing", !routes.is_empty() && !is_loose),
            ("sips", text.request_uri().is_some_and(|uri| uri.starts_with("sips:"))),
            (
                "session timer",
                code.is_some_and(|code| code < 300) && text.header("session-expires").is_some(),
            ),
            ("failover", asked.len() > 1),
        ] {
            if is_seen {
                all.insert(word);
            }
        }
        let methods =
            ["CANCEL", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY", "REGISTER", "OPTIONS"];
        all.extend(methods.into_iter().find(|known| *known == method && code.is_none()));
    }
    all
}

/// Writes the page, where the variable names one.
pub(crate) fn write() -> Result<()> {
    let Some(path) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let names: BTreeSet<String> = Case::all()?.into_iter().map(|case| case.name).collect();
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    for line in before.lines().filter(|line| line.starts_with("| `")) {
        let name = line.split('`').nth(1).unwrap_or_default();
        if names.contains(name) {
            lines.insert(name.to_owned(), line.to_owned());
        }
    }
    let rows = ROWS.lock().expect("no holder of this lock panics");
    ensure!(!rows.is_empty(), "no case was run");
    lines.extend(rows.iter().map(|(name, row)| (name.clone(), row.line(name))));
    std::fs::write(&path, page(&lines)?)?;
    eprintln!("written: {}", path.display());
    Ok(())
}

impl Row {
    fn line(&self, name: &str) -> String {
        let join = |words: &BTreeSet<String>| words.iter().cloned().collect::<Vec<_>>().join(", ");
        let exercised: Vec<&str> = self.exercised.iter().copied().collect();
        format!(
            "| `{name}` | {} | {} | {} | {} | {} | {} |",
            join(&self.callers),
            join(&self.carriers),
            exercised.join(", "),
            join(&self.stores),
            self.failure.as_deref().unwrap_or("passed"),
            self.about.trim().replace('|', "\\|")
        )
    }
}

fn page(lines: &BTreeMap<String, String>) -> Result<String> {
    let mut out = String::from(
        "# Interoperability\n\n\
         Whom Holdfast was run against, by what, and what passed: written by the SIP cases themselves \
         (`HOLDFAST_TEST_MATRIX=docs/interop.md\nsip-tests/run`), from what was on the wire between them. \
         All that Holdfast sent was read by Wireshark's SIP dissector, what TLS carried\nfrom the captured \
         connection, and had to be without a fault.\n\n",
    );
    writeln!(out, "{}\n", versions().join(", "))?;
    out.push_str(
        "## By peer\n\n| peer | side | by | trials | exercised |\n|---|---|---|---|---|\n",
    );
    let mut peers: BTreeMap<(String, &str, String), (usize, BTreeSet<String>)> = BTreeMap::new();
    for line in lines.values() {
        let cells: Vec<&str> = line.split(" | ").collect();
        ensure!(cells.len() >= 7, "a row of another form: {line}");
        if cells[5] != "passed" {
            continue;
        }
        for (side, cell) in [("caller", cells[1]), ("carrier", cells[2])] {
            for peer in cell.split(", ").filter(|peer| !peer.is_empty()) {
                let (name, by) = peer.split_once(' ').context("a peer and its transport")?;
                let by = if by == "behind" { "a proxy" } else { by };
                let seen = peers.entry((name.to_owned(), side, by.to_owned())).or_default();
                seen.0 += 1;
                let words = cells[3].split(", ").filter(|word| !word.is_empty());
                seen.1.extend(words.map(str::to_owned));
            }
        }
    }
    for ((peer, side, by), (count, words)) in peers {
        let words: Vec<String> = words.into_iter().collect();
        writeln!(out, "| {peer} | {side} | {by} | {count} | {} |", words.join(", "))?;
    }
    write!(out, "\n## By trial\n\n{HEAD}\n|---|---|---|---|---|---|---|\n")?;
    for line in lines.values() {
        writeln!(out, "{line}")?;
    }
    Ok(out)
}

/// What the programs say that they are.
fn versions() -> Vec<String> {
    let version = |peer: &str, program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let told = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let pattern = Regex::new(r"[0-9]+\.[0-9]+\.[0-9]+").expect("a pattern");
        let number =
            pattern.find(&String::from_utf8_lossy(&told)).map(|found| found.as_str().to_owned());
        format!("{peer} {}", number.as_deref().unwrap_or("(not here)"))
    };
    let python = python().display().to_string();
    let pjsua2 = "from importlib.metadata import version; print(version('pjsua2-python'))";
    vec![
        version("SIPp", "sipp", &["-v"]),
        version("Kamailio", "kamailio", &["-v"]),
        version("baresip", "baresip", &["-h"]),
        version("pjsua2", &python, &["-c", pjsua2]),
        version("linphone", "linphonec", &["-v"]),
        version("tshark", "tshark", &["-v"]),
    ]
}
