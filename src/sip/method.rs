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
        match text {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"OPTIONS" => Self::Options,
            b"INFO" => Self::Info,
            b"MESSAGE" => Self::Message,
            b"UPDATE" => Self::Update,
            b"PRACK" => Self::Prack,
            b"REFER" => Self::Refer,
            b"NOTIFY" => Self::Notify,
            b"SUBSCRIBE" => Self::Subscribe,
            b"REGISTER" => Self::Register,
            b"PUBLISH" => Self::Publish,
            _ => Self::Other,
        }
    }

    /// The token; `Other` has none of its own and gives an empty text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Options => "OPTIONS",
            Self::Info => "INFO",
            Self::Message => "MESSAGE",
            Self::Update => "UPDATE",
            Self::Prack => "PRACK",
            Self::Refer => "REFER",
            Self::Notify => "NOTIFY",
            Self::Subscribe => "SUBSCRIBE",
            Self::Register => "REGISTER",
            Self::Publish => "PUBLISH",
            Self::Other => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_reads_back_from_its_text() {
        for text in [
            "INVITE",
            "ACK",
            "BYE",
            "CANCEL",
            "OPTIONS",
            "INFO",
            "MESSAGE",
            "UPDATE",
            "PRACK",
            "REFER",
            "NOTIFY",
            "SUBSCRIBE",
            "REGISTER",
            "PUBLISH",
        ] {
            assert_eq!(Method::from_text(text.as_bytes()).as_str(), text);
        }
    }

    #[test]
    fn methods_are_case_sensitive_and_know_no_escapes() {
        for text in [&b"invite"[..], b"Invite", b"INVIT%45", b"INVITEX", b""] {
            assert_eq!(Method::from_text(text), Method::Other);
        }
    }
}
