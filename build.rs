//! A new migration has no Rust file that changes with it: without this, no rebuild would take it in.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
