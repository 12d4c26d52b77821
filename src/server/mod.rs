//! The program: settings, wiring, drain.

mod board;
mod certificates;
mod cluster;
mod health_file;
mod listeners;
mod measures;
pub mod run;
pub mod settings;
mod snapshot;
mod tables;

pub use run::{Ended, Running, StartError, start};
pub use settings::{Settings, Source};
