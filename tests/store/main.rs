//! The store's promises, each kept on SQLite and on a private Postgres server.
//!
//! `database.rs` gives every test a database of its own.

// All of it is tests, and they live below the purity line.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../../sip-tests/harness/ports.rs"]
mod ports;
#[path = "../../sip-tests/harness/postgres.rs"]
mod postgres;

#[macro_use]
mod database;
mod answered;
mod constraints;
mod degraded;
mod drills;
mod failover;
mod health;
mod history;
mod kill;
mod migrations;
mod outage;
mod records;
mod sample;
mod schema;
mod tables;
mod views;
mod watch;
