//! Read-only facts of a session description (RFC 8866, RFC 3264). Bodies cross untouched.

/// Whether the message's body is, or holds (multipart), a session description.
pub fn is_session_description(content_type: Option<&[u8]>) -> bool {
    let _ = content_type;
    todo!()
}
