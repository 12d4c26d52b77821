//! name-addr / addr-spec values with parameters: From, To, Contact, Route, Record-Route, P-Asserted-Identity …

/// One value of such a header.
#[derive(Clone, Copy, Debug)]
pub struct NameAddr<'a> {
    /// As written, quotes included; empty where there is none.
    pub display_name: &'a [u8],
    /// The URI without angle brackets.
    pub uri: &'a [u8],
    /// What follows the URI: `;tag=x;…`, possibly empty.
    pub params: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one value. Without angle brackets, `;` ends the URI (RFC 3261 §20.10).
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let _ = value;
        todo!()
    }

    /// A header parameter's value, name in any case; `Some(b"")` for one without a value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        let _ = name;
        todo!()
    }
}

/// Splits a header value at commas outside quotes and angle brackets; parts are trimmed.
pub fn split_list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let _ = value;
    std::iter::empty()
}

/// Finds `;name` or `;name=value` in a run of parameters, name in any case, quotes respected.
pub fn param<'a>(params: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let _ = (params, name);
    todo!()
}
