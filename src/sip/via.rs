//! Via (RFC 3261 §20.42, RFC 3581).

/// One Via value, read on demand.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, … as written; compare without case.
    pub transport: &'a [u8],
    /// Host as written, IPv6 in brackets.
    pub host: &'a [u8],
    pub port: Option<u16>,
    pub branch: Option<&'a [u8]>,
    /// `rport` is there, with or without a value.
    pub has_rport: bool,
    /// The whole value as written.
    pub value: &'a [u8],
}
