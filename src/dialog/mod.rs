//! Dialogs (RFC 3261 §12): ids, route sets, sequence numbers, and the requests sent within them.

pub mod dialog;
pub mod tag;

pub use dialog::{Dialog, SeqTooLow};
pub use tag::Tag;
