//! The demo, as a newcomer runs it: it ends well, and its sums add up.

#![allow(clippy::disallowed_methods, reason = "a test below the purity line")]

use std::process::Command;

#[test]
fn the_demo_loses_no_call_and_its_database_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let database = dir.path().join("demo.db");
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["demo", "--rate", "4", "--keep"])
        .arg(&database)
        .current_dir(dir.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for line in ["alpha is KILLED", "alpha is revived", "bravo is mended", "No call was lost: "] {
        assert!(said.contains(line), "{line:?} is not in {said}");
    }
    assert!(database.exists(), "--keep keeps the database");
    let rescued = said.lines().find(|line| line.contains("saved by another carrier"));
    let count = rescued.and_then(|line| line.split_whitespace().last()?.parse::<u32>().ok());
    assert!(count.is_some_and(|count| count > 0), "carriers fail in it: {said}");
}
