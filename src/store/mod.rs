//! Postgres and SQLite under the same names: tables in; records, probe results, health and refusals out.

pub mod record;
pub mod recorder;
pub mod spool;
