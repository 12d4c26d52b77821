//! The documentation, as far as a machine can judge it.

#![allow(clippy::disallowed_methods, reason = "a test of pages reads pages")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use holdfast::server::settings::KNOWN;
use regex::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    for entry in std::fs::read_dir(root().join("docs")).expect("docs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "md") {
            pages.push(path);
        }
    }
    pages
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let page = read(&root().join("docs/SETTINGS.md"));
    for known in KNOWN {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", known.name)))
            .unwrap_or_else(|| panic!("{} is not in docs/SETTINGS.md", known.name));
        // The version of the user agent changes, an empty default is said in words.
        if known.name != "user_agent" && !known.default.is_empty() {
            assert!(row.contains(&format!("| `{}` |", known.default)), "{row}");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)#]+)(#[^)]*)?\)").expect("a pattern");
    let mut followed = 0;
    for page in pages() {
        for found in link.captures_iter(&read(&page)) {
            let target = &found[1];
            if target.contains("://") {
                continue;
            }
            let path = page.parent().expect("a folder").join(target);
            assert!(path.exists(), "{}: {target} leads nowhere", page.display());
            followed += 1;
        }
    }
    assert!(followed > 5, "links were looked for");
}

#[test]
fn every_metric_that_is_written_about_exists_and_has_a_help_text() {
    let name = Regex::new(r"holdfast_[a-z_]*[a-z]").expect("a pattern");
    let source = read(&root().join("src/telemetry/metrics.rs"));
    let (used, described) = source.split_once("fn describe()").expect("metrics are described");
    let constant = |metric: &str| source.contains(&format!("&str = \"{metric}\""));
    for page in pages() {
        for found in name.find_iter(&read(&page)) {
            let metric = found.as_str();
            let is_metric = source.contains(&format!("\"{metric}\""));
            assert!(is_metric || metric == "holdfast_tables", "{}: {metric}", page.display());
        }
    }
    for found in name.find_iter(used) {
        let metric = found.as_str();
        let is_described = described.contains(&format!("\"{metric}\"")) || constant(metric);
        assert!(is_described, "{metric} has no help text");
    }
}

#[test]
fn every_file_and_folder_that_the_architecture_names_exists() {
    let page = read(&root().join("docs/ARCHITECTURE.md"));
    let named = Regex::new(r"`((?:src|tests|sip-tests|migrations|call|server)/[a-z_/.-]+)`")
        .expect("a pattern");
    for found in named.captures_iter(&page) {
        let (plain, inside) = (root().join(&found[1]), root().join("src").join(&found[1]));
        assert!(plain.exists() || inside.exists(), "{} does not exist", &found[1]);
    }
}

/// A test, a SIP case or a vector that `docs/rfc.md` names, and whether it exists.
fn is_there(named: &str) -> bool {
    let path = root().join(named.split("::").next().expect("a path"));
    match named.split_once("::") {
        Some((_, function)) => {
            let test = format!(r"#\[test\]\n(?:\s*(?://|#\[).*\n)*\s*fn {function}\(");
            path.exists() && Regex::new(&test).expect("a pattern").is_match(&read(&path))
        }
        None if named.starts_with("sip-tests/cases/") => path.join("case.toml").exists(),
        None => path.exists(),
    }
}

#[test]
fn every_requirement_of_the_rfcs_names_tests_that_exist_or_says_what_is_not_there() {
    let page = read(&root().join("docs/rfc.md"));
    let row = Regex::new(r"(?m)^\| ([A-H][0-9]{2}) \| (MUST|SHOULD|policy|informative) \| .*$")
        .expect("a pattern");
    let named = Regex::new("`((?:src|tests|sip-tests)/[^`]+)`").expect("a pattern");
    let mut ids = Vec::new();
    for found in row.captures_iter(&page) {
        let line = &found[0];
        let tests: Vec<_> = named.captures_iter(line).map(|test| test[1].to_owned()).collect();
        assert!(!tests.is_empty() || line.contains("Not there: "), "{line}");
        for test in tests {
            assert!(is_there(&test), "{}: {test} does not exist", &found[1]);
        }
        ids.push(found[1].to_owned());
    }
    let mut sorted = ids.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((ids.len(), &sorted), (77, &ids), "each of them once, in order");
}

/// The names of all SIP cases: their folders, or each folder with each of its variants.
fn sip_cases() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("sip-tests/cases")).expect("cases") {
        let folder = entry.expect("an entry").path();
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let case: toml::Table = read(&folder.join("case.toml")).parse().expect("TOML");
        match case.get("variant").and_then(toml::Value::as_table) {
            Some(variants) => {
                names.extend(variants.keys().map(|variant| format!("{name}_{variant}")))
            }
            None => drop(names.insert(name)),
        }
    }
    names
}

#[test]
fn the_page_on_interoperability_has_a_row_for_each_sip_case_and_no_other() {
    let page = read(&root().join("docs/interop.md"));
    let row = Regex::new(r"(?m)^\| `([a-z0-9_]+)` \|.*\| (sqlite|postgres|postgres, sqlite) \| (passed|skipped: [^|]+) \|").expect("a pattern");
    let named: BTreeSet<String> =
        row.captures_iter(&page).map(|found| found[1].to_owned()).collect();
    let remedy = "HOLDFAST_TEST_MATRIX=docs/interop.md sip-tests/run NAME writes rows";
    assert_eq!(named, sip_cases(), "{remedy}");
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, named.len(), "a row says that its case has failed; {remedy}");
}
