//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), read on demand and never written back.

use std::net::{IpAddr, Ipv6Addr};

use memchr::{memchr, memchr2};

use super::params;
use super::scan::number;

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
    ///
    /// Octets that RFC 3261 wants escaped in a user part, `#` for one, are let pass: dialling
    /// strings come with them.
    pub fn parse(uri: &'a [u8]) -> Option<Self> {
        let colon = uri.iter().position(|&octet| octet == b':')?;
        let (scheme, rest) = (&uri[..colon], &uri[colon + 1..]);
        let may_stand = every(rest, |c| c > b' ' && !matches!(c, 0x7f | b'"' | b'<' | b'>'));
        if rest.is_empty() || !may_stand || !is_scheme(scheme) {
            return None;
        }
        let bare = Self { scheme, user: None, host: b"", port: None, params: b"", headers: b"" };
        if bare.is_sip() {
            return Self::parse_sip(bare, rest);
        }
        if scheme.eq_ignore_ascii_case(b"tel") {
            let end = memchr(b';', rest).unwrap_or(rest.len());
            let (user, params) = rest.split_at(end);
            return (!user.is_empty()).then_some(Self { user: Some(user), params, ..bare });
        }
        Some(bare)
    }

    fn parse_sip(bare: Self, rest: &'a [u8]) -> Option<Self> {
        // Neither parameters nor headers may hold an `@` unescaped: the user part ends at the only one.
        let (user, rest) = match memchr(b'@', rest) {
            Some(at) => {
                let end = memchr(b':', &rest[..at]).unwrap_or(at);
                (Some(&rest[..end]), &rest[at + 1..])
            }
            None => (None, rest),
        };
        let host_end = memchr2(b';', b'?', rest).unwrap_or(rest.len());
        let (host, port) = host_and_port(&rest[..host_end])?;
        let rest = &rest[host_end..];
        let (params, headers) = match memchr2(b'?', b'@', rest) {
            None => (rest, &b""[..]),
            Some(mark) if rest[mark] == b'@' || memchr(b'@', &rest[mark..]).is_some() => {
                return None;
            }
            Some(question) => (&rest[..question], &rest[question + 1..]),
        };
        Some(Self { user, host, port, params, headers, ..bare })
    }

    /// sip or sips, in any case.
    pub fn is_sip(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"sip") || self.scheme.eq_ignore_ascii_case(b"sips")
    }

    /// Every hop towards it must be by TLS (RFC 3261 §26.2.2).
    pub fn is_sips(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"sips")
    }

    pub fn host_kind(&self) -> Host<'a> {
        Host::of(self.host)
    }

    /// A URI parameter's value, name in any case; `Some(b"")` for one without a value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        params::param(self.params, name)
    }

    /// The user part with `%XX` resolved once (RFC 3261 §19.1.2), parameters of a tel number in it cut off at `;`.
    ///
    /// A `%` that begins no escape stays; what is not UTF-8 afterwards is replaced.
    pub fn user_text(&self) -> Option<String> {
        let user = self.user?;
        let user = &user[..memchr(b';', user).unwrap_or(user.len())];
        let mut text = Vec::with_capacity(user.len());
        let mut at = 0;
        while at < user.len() {
            let escaped = (user[at] == b'%').then(|| hex_pair(user.get(at + 1..at + 3)?)).flatten();
            text.push(escaped.unwrap_or(user[at]));
            at += if escaped.is_some() { 3 } else { 1 };
        }
        Some(String::from_utf8_lossy(&text).into_owned())
    }
}

impl<'a> Host<'a> {
    /// Reads a host as URIs and Via write it, IPv6 with or without brackets.
    pub fn of(host: &'a [u8]) -> Self {
        let text = match host {
            [b'[', inner @ .., b']'] => inner,
            _ => host,
        };
        let Ok(text) = std::str::from_utf8(text) else {
            return Self::Name(host);
        };
        if let Ok(address) = text.parse::<IpAddr>() {
            return Self::Address(address);
        }
        // RFC 5118 §4.10: the grammar of RFC 3261 was once read as allowing three colons.
        match text.replacen(":::", "::", 1).parse::<Ipv6Addr>() {
            Ok(address) => Self::Address(IpAddr::V6(address)),
            Err(_) => Self::Name(host),
        }
    }

    /// The address it is, one that maps IPv4 into IPv6 as IPv4.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address.to_canonical()),
            Self::Name(_) => None,
        }
    }
}

/// Looks at every octet before it answers, which a compiler can do many at a time.
fn every(text: &[u8], holds: impl Fn(u8) -> bool) -> bool {
    text.iter().fold(true, |all, &octet| all & holds(octet))
}

/// `host`, `host:port` or `[v6]:port` and nothing else.
pub(super) fn host_and_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_end = host_end(text)?;
    let (host, rest) = text.split_at(host_end);
    match rest {
        [] => Some((host, None)),
        [b':', port @ ..] => Some((host, Some(port_number(port)?))),
        _ => None,
    }
}

/// The end of the host at the start of `text`: a name, an IPv4 address or an IPv6 one in brackets.
pub(super) fn host_end(text: &[u8]) -> Option<usize> {
    if text.first() == Some(&b'[') {
        let close = memchr(b']', text)?;
        let is_address = close > 2
            && text[1..close].iter().all(|c| c.is_ascii_hexdigit() || matches!(c, b':' | b'.'));
        return is_address.then_some(close + 1);
    }
    // `_` is no part of a host name, but DNS and peers have it.
    let end = text
        .iter()
        .position(|c| !(c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_')))
        .unwrap_or(text.len());
    (end > 0).then_some(end)
}

pub(super) fn port_number(digits: &[u8]) -> Option<u16> {
    let port = number(digits, u64::from(u16::MAX))?;
    u16::try_from(port).ok().filter(|&port| port > 0)
}

/// RFC 3986 §3.1
fn is_scheme(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.'))
}

fn hex_pair(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    let [high, low] = digits else { return None };
    u8::try_from(value(*high)? * 16 + value(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn reads_all_parts_of_a_sip_uri() {
        let uri =
            Uri::parse(b"SIPS:bob:se:cret@gw.example.net:5061;transport=TCP;lr?Subject=x&a=b")
                .unwrap();
        assert!(uri.is_sip());
        assert_eq!(uri.scheme, b"SIPS");
        assert_eq!(uri.user, Some(&b"bob"[..]));
        assert_eq!(uri.host, b"gw.example.net");
        assert_eq!(uri.port, Some(5061));
        assert_eq!(uri.params, b";transport=TCP;lr");
        assert_eq!(uri.headers, b"Subject=x&a=b");
        assert_eq!(uri.param("Transport"), Some(&b"TCP"[..]));
        assert_eq!(uri.param("lr"), Some(&b""[..]));
        assert_eq!(uri.param("maddr"), None);
    }

    #[test]
    fn a_user_part_may_hold_what_separates_elsewhere() {
        let uri = Uri::parse(b"sip:;a=1?b,/c&d$+=;x:p?w;@example.com").unwrap();
        assert_eq!(uri.user, Some(&b";a=1?b,/c&d$+=;x"[..]));
        assert_eq!(uri.host, b"example.com");
        assert_eq!((uri.params, uri.headers), (&b""[..], &b""[..]));
    }

    #[test]
    fn an_ipv6_port_is_what_follows_the_bracket() {
        let inside = Uri::parse(b"sip:[2001:db8::7:5070]").unwrap();
        assert_eq!((inside.host, inside.port), (&b"[2001:db8::7:5070]"[..], None));
        let outside = Uri::parse(b"sip:[2001:db8::7]:5070").unwrap();
        assert_eq!((outside.host, outside.port), (&b"[2001:db8::7]"[..], Some(5070)));
        let mapped = Uri::parse(b"sip:a@[::ffff:192.0.2.9]").unwrap().host_kind();
        assert_eq!(mapped.address(), Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9))));
    }

    #[test]
    fn three_colons_read_as_two() {
        let host = |uri| Uri::parse(uri).unwrap().host_kind();
        assert_eq!(host(b"sip:a@[2001:db8:::192.0.2.9]"), host(b"sip:a@[2001:db8::192.0.2.9]"));
        assert!(host(b"sip:a@[2001:db8::192.0.2.9]").address().is_some());
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for uri in [
            &b""[..],
            b"sip",
            b"sip:",
            b":x",
            b"1sip:a",
            b"<sip:a@b>",
            b"sip:a@",
            b"sip:a@b@c",
            b"sip:a@b;x=c@d",
            b"sip:2001:db8::7",
            b"sip:a@[2001:db8::7",
            b"sip:a@[]",
            b"sip:a@[host]",
            b"sip:a@b:0",
            b"sip:a@b:",
            b"sip:a@b:65536",
            b"sip:a@b:50a",
            b"sip:a b@c",
            b"sip:a@b; lr",
            b"sip:a@b\x00",
            b"sip:a@\xffb",
            b"sip:a@b,c",
            b"sip:\"a\"@b",
            b"tel:",
            b"tel:;phone-context=x",
        ] {
            assert!(Uri::parse(uri).is_none(), "{}", String::from_utf8_lossy(uri));
        }
    }

    #[test]
    fn other_schemes_give_their_scheme_only() {
        for uri in [&b"unheardOf:opaque"[..], b"soap.beep://192.0.2.3:3002", b"urn:service:sos"] {
            let uri = Uri::parse(uri).unwrap();
            assert!(!uri.is_sip() && uri.host.is_empty() && uri.user.is_none());
        }
    }

    #[test]
    fn a_tel_uri_has_a_number_and_parameters() {
        let uri = Uri::parse(b"tel:+1-201-555-0123;phone-context=example.com").unwrap();
        assert_eq!(uri.user_text().as_deref(), Some("+1-201-555-0123"));
        assert_eq!(uri.param("phone-context"), Some(&b"example.com"[..]));
        assert!(uri.host.is_empty());
    }

    #[test]
    fn escapes_resolve_once() {
        let text = |uri: &'static [u8]| Uri::parse(uri).unwrap().user_text().unwrap();
        assert_eq!(text(b"sip:sips%3Aa%40b.example@c.example"), "sips:a@b.example");
        assert_eq!(text(b"sip:%2541@c.example"), "%41");
        assert_eq!(text(b"sip:a%00b@c.example"), "a\0b");
        assert_eq!(text(b"sip:50%@c.example"), "50%");
        assert_eq!(text(b"sip:%zz%4@c.example"), "%zz%4");
        assert_eq!(text(b"sip:+1555;isub=1@c.example"), "+1555");
        assert_eq!(text(b"sip:%ff@c.example"), "\u{fffd}");
        assert_eq!(Uri::parse(b"sip:c.example").unwrap().user_text(), None);
    }
}
