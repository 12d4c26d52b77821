//! Read-only facts of a session description (RFC 8866, RFC 3264). Bodies cross untouched.

use super::Message;

/// Whether the message's body is, or holds (multipart), a session description.
pub fn is_session_description(message: &Message) -> bool {
    let _ = message;
    todo!()
}
