//! The documentation, as far as a machine can judge it.

#![allow(clippy::disallowed_methods, reason = "a test of pages reads pages")]

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
