//! Option tags (RFC 3261 §19.2): which extensions we have, and which a message speaks of.

use crate::sip::name_addr::split_list;
use crate::sip::{HeaderName, Message, Printer};

/// A set of the option tags that we know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options(u8);

/// In the order in which they are written.
const KNOWN: [(&[u8], Options); 4] = [
    (b"100rel", Options::REL100),
    (b"timer", Options::TIMER),
    (b"norefersub", Options::NOREFERSUB),
    (b"replaces", Options::REPLACES),
];

impl Options {
    pub const NONE: Self = Self(0);
    /// RFC 4028
    pub const TIMER: Self = Self(1);
    /// RFC 3262
    pub const REL100: Self = Self(2);
    /// RFC 4488: of a REFER, whose subscription is between the two sides.
    pub const NOREFERSUB: Self = Self(4);
    /// RFC 3891: of an INVITE, from customers whose calls may be transferred.
    pub const REPLACES: Self = Self(8);
    /// All that we support by ourselves.
    pub const ALL: Self = Self::TIMER.with(Self::REL100);
    /// What we say of ourselves in an INVITE within a dialog: its provisional responses need not be reliable.
    pub const WITHIN_DIALOG: Self = Self::ALL.without(Self::REL100);

    /// Those that a message lists under `name`.
    pub fn of(message: &Message, name: HeaderName) -> Self {
        let tags = message.all(name).flat_map(|header| split_list(header.value));
        tags.filter_map(known).fold(Self::NONE, Self::with)
    }

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub const fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Writes the header field, unless the set is empty.
    pub fn write(self, name: HeaderName, printer: &mut Printer) {
        let tags: Vec<&[u8]> =
            KNOWN.iter().filter(|(_, option)| self.has(*option)).map(|(tag, _)| *tag).collect();
        if !tags.is_empty() {
            printer.header(name, &tags.join(&b", "[..]));
        }
    }
}

/// The option tags under Require that we do not know, for Unsupported (RFC 3261 §8.2.2.3). Proxy-Require
/// is for proxies.
pub fn unsupported(request: &Message) -> Option<Vec<u8>> {
    let tags = request.all(HeaderName::Require).flat_map(|header| split_list(header.value));
    let unknown: Vec<&[u8]> = tags.filter(|tag| known(tag).is_none()).collect();
    (!unknown.is_empty()).then(|| unknown.join(&b", "[..]))
}

fn known(tag: &[u8]) -> Option<Options> {
    KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(tag)).map(|(_, option)| *option)
}
