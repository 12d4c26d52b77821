//! Which header fields of one side the other may see, besides those that belong to a leg and never cross.

use std::sync::Arc;

use super::class::spelled;

/// Part of a checked row of `number_rules`; [`HeaderRule::default`] holds where a carrier has none, and for customers but for
/// their `x_headers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRule {
    pub identity: Identity,
    /// The carrier belongs to our trust domain (RFC 3325): it is told who calls although the caller asks for privacy, and
    /// keeps it from the called party itself.
    pub is_trusted: bool,
    /// RFC 5806.
    pub diversion: Carry,
    /// RFC 7044.
    pub history_info: Carry,
    /// Names, in lower case, of the fields beginning with `X-` that cross; `None` = all.
    pub x_headers: Option<Arc<[Box<str>]>>,
}

impl HeaderRule {
    /// Whether an `X-` field of this name, in any case, crosses.
    pub fn lets_cross(&self, name: &[u8]) -> bool {
        let Some(names) = &self.x_headers else { return true };
        names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }
}

spelled! {
    /// What becomes of P-Asserted-Identity, P-Preferred-Identity and Remote-Party-ID (RFC 3325).
    #[derive(Default)]
    Identity {
        /// Handed on as they came.
        Pass = "pass",
        /// Taken away.
        #[default]
        Strip = "strip",
        /// Replaced by a P-Asserted-Identity with the calling number.
        Assert = "assert",
    }
}

spelled! {
    /// Whether a header field is handed on.
    #[derive(Default)]
    Carry {
        #[default]
        Pass = "pass",
        Strip = "strip",
    }
}
