//! Request methods (RFC 3261 §7.1; case-sensitive).

/// A method we know by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Info,
    Message,
    Update,
    Prack,
    Refer,
    Notify,
    Subscribe,
    Register,
    Publish,
    /// Any other token; its text is in the message.
    Other,
}

impl Method {
    pub fn from_text(text: &[u8]) -> Self {
        let _ = text;
        todo!()
    }

    /// The token; `Other` has none of its own and gives an empty text.
    pub const fn as_str(self) -> &'static str {
        ""
    }
}
