//! One shard as a value: messages, commands and time in; sends, outcomes and records out.

pub mod dispatch;
#[expect(clippy::module_inception, reason = "the engine of the module `engine`")]
pub mod engine;
mod evidence;
pub mod overload;
mod passing;
mod registrar;
mod replacing;
mod takeover;

pub use crate::call::{Counters, Event, Output, Settings as EngineSettings};
pub use crate::transaction::{Flow, Listener, ListenerId};
pub use engine::{Command, Engine, Received};

#[cfg(test)]
mod tests;
