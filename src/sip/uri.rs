//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), read on demand and never written back.

use std::net::IpAddr;

/// Parts of a URI as they stand in it.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// As written: compare without case.
    pub scheme: &'a [u8],
    /// User part without password, escapes kept; for `tel:` the number.
    pub user: Option<&'a [u8]>,
    /// Empty for `tel:`; IPv6 with its brackets.
    pub host: &'a [u8],
    pub port: Option<u16>,
    /// `;transport=udp;lr` as written, possibly empty.
    pub params: &'a [u8],
    /// What follows `?`, possibly empty.
    pub headers: &'a [u8],
}

/// A host that is an address, or a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    Address(IpAddr),
    Name(&'a [u8]),
}

impl<'a> Uri<'a> {
    /// `None` when it breaks the grammar. A scheme other than sip, sips, tel gives scheme only (host empty).
    pub fn parse(uri: &'a [u8]) -> Option<Self> {
        let _ = uri;
        todo!()
    }

    /// sip or sips, in any case.
    pub fn is_sip(&self) -> bool {
        todo!()
    }

    pub fn host_kind(&self) -> Host<'a> {
        todo!()
    }

    /// A URI parameter's value, name in any case; `Some(b"")` for one without a value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        let _ = name;
        todo!()
    }

    /// The user part with `%XX` resolved once (RFC 3261 §19.1.2), parameters of a tel number in it cut off at `;`.
    pub fn user_text(&self) -> Option<String> {
        todo!()
    }
}
