//! Reason phrases (RFC 3261 §21 and the IANA registry).

/// The registered phrase, or one for the code's class.
pub const fn reason_phrase(status_code: u16) -> &'static str {
    let _ = status_code;
    ""
}
