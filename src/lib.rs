//! Holdfast: a SIP back-to-back user agent that routes each call to the healthiest carrier.
//!
//! The modules stand in the order of their floors: each imports only from those above it in this
//! list. Above the purity line nothing reads a clock, a socket, a task, the environment, a file or
//! the system's randomness: time and seeds are arguments.

// 1 nouns
pub mod allowance;
pub mod carrier;
pub mod digest;
pub mod random;
pub mod sip;
pub mod timers;

// 2 one machine or measure each
pub mod cluster;
pub mod dialog;
pub mod health;
pub mod registration;
pub mod transaction;

// 3 decisions
pub mod routing;

// 4 the B2BUA
pub mod call;

// 5 one shard as a value
pub mod engine;

// ══ purity line: below it, the clock, the system and the tasks ══

// 6 edges, each speaking to one outside thing; an edge may use those above it
#[allow(clippy::disallowed_methods, reason = "an edge")]
pub mod net;
#[allow(clippy::disallowed_methods, reason = "an edge")]
pub mod store;
#[allow(clippy::disallowed_methods, reason = "an edge")]
pub mod telemetry;

// 7 the loop, and the operators' door
#[allow(clippy::disallowed_methods, reason = "it speaks to the outside")]
pub mod admin;
#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock for a shard")]
pub mod shard;

// 8 the program
#[allow(clippy::disallowed_methods, reason = "it wires what speaks to the outside")]
pub mod server;

// 9 the command line
#[allow(clippy::disallowed_methods, reason = "it reads the environment and the terminal")]
pub mod cli;
