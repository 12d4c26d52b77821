//! Dialogs (RFC 3261 §12): ids, route sets, sequence numbers, and the requests sent within them.

#[expect(clippy::module_inception, reason = "the dialog of the module `dialog`")]
pub mod dialog;
pub mod tag;

pub use dialog::{Dialog, NextHop, OwnInvite, SeqTooLow, has_sips_uri};
pub use tag::Tag;

#[cfg(test)]
mod tests;
