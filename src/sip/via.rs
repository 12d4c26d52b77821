//! Via (RFC 3261 §20.42, RFC 3581).

use memchr::memchr2;

use super::params;
use super::scan::{quoted_end, skip_lws, token_end, trim};
use super::uri::{Host, host_end, port_number};

/// How deep comments may nest.
const MAX_COMMENT_DEPTH: u32 = 8;

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

/// The front part of a Via value, `SIP/2.0/UDP host:port`.
struct SentBy<'a> {
    transport: &'a [u8],
    host: &'a [u8],
    port: Option<u16>,
    /// Offset of what follows it.
    end: usize,
}

impl<'a> Via<'a> {
    /// Reads one value. `None` when it breaks the grammar.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (via, end) = read(trim(value))?;
        (end == via.value.len()).then_some(via)
    }

    /// The values of one header field in order; ends with a `None` at the first that breaks the grammar.
    pub fn parse_list(value: &'a [u8]) -> impl Iterator<Item = Option<Self>> {
        let mut rest = Some(value);
        std::iter::from_fn(move || {
            let text = trim(rest.take()?);
            let Some((via, end)) = read(text) else {
                return Some(None);
            };
            rest = text.get(end + 1..);
            Some(Some(via))
        })
    }

    /// What can be made of a first value that breaks the grammar, so that its sender can be told.
    pub(super) fn salvage(value: &'a [u8]) -> Self {
        let value = &value[..first_end(value)];
        let found = |name| params::find(value, name);
        let sent_by = read_sent_by(value);
        let sent_by = sent_by.unwrap_or(SentBy { transport: b"", host: b"", port: None, end: 0 });
        Self {
            transport: sent_by.transport,
            host: sent_by.host,
            port: sent_by.port,
            branch: found("branch").map(|param| param.value),
            has_rport: found("rport").is_some(),
            value,
        }
    }

    /// A parameter's value, name in any case; `Some(b"")` for one without a value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        params::param(self.params(), name)
    }

    /// `received`, with or without brackets around an IPv6 address (RFC 5118 §4.5).
    pub fn received(&self) -> Option<Host<'a>> {
        self.param("received").map(Host::of)
    }

    /// The value of `rport`.
    pub fn rport(&self) -> Option<u16> {
        port_number(self.param("rport")?)
    }

    /// What stands between sent-by and a comment.
    fn params(&self) -> &'a [u8] {
        let params = &self.value[params_start(self.value)..];
        &params[..first_outside_quotes(params, b'(')]
    }
}

/// The offset of the parameters, or of a comment where there are none: neither `;` nor `(` stands before them.
pub(super) fn params_start(value: &[u8]) -> usize {
    memchr2(b';', b'(', value).unwrap_or(value.len())
}

/// The end of the first value of a Via field that may break the grammar: the first comma outside quotes.
pub(super) fn first_end(value: &[u8]) -> usize {
    first_outside_quotes(value, b',')
}

fn first_outside_quotes(text: &[u8], octet: u8) -> usize {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(octet, b'"', rest)) {
        at += found;
        if text[at] == octet {
            return at;
        }
        at = quoted_end(text, at).unwrap_or(text.len());
    }
    text.len()
}

/// Reads the value at the start of `text`; also the offset of the comma or end that follows it.
fn read(text: &[u8]) -> Option<(Via<'_>, usize)> {
    let SentBy { transport, host, port, end } = read_sent_by(text)?;
    let (mut branch, mut has_rport) = (None, false);
    let mut value_end = end;
    let mut at = skip_lws(text, end);
    while at < text.len() && text[at] != b',' {
        if text[at] == b'(' {
            // RFC 2543 §6.40: a comment may end a Via value.
            value_end = comment_end(text, at)?;
            at = skip_lws(text, value_end);
            if at < text.len() && text[at] != b',' {
                return None;
            }
            break;
        }
        let param = params::read(text, at)?;
        match param.name.len() {
            6 if branch.is_none() && param.name.eq_ignore_ascii_case(b"branch") => {
                branch = Some(param.value);
            }
            5 if param.name.eq_ignore_ascii_case(b"rport") => has_rport = true,
            _ => {}
        }
        value_end = param.end;
        at = skip_lws(text, value_end);
    }
    let value = &text[..value_end];
    let via = Via { transport, host, port, branch, has_rport, value };
    Some((via, at))
}

/// RFC 3261 §25.1: `sent-protocol LWS sent-by`, white space allowed around `/` and `:`.
fn read_sent_by(text: &[u8]) -> Option<SentBy<'_>> {
    let name_end = token_end(text, 0);
    if !text[..name_end].eq_ignore_ascii_case(b"SIP") {
        return None;
    }
    let (_version, at) = after_slash(text, name_end)?;
    let (transport, transport_end) = after_slash(text, at)?;
    let host_start = skip_lws(text, transport_end);
    if host_start == transport_end {
        return None;
    }
    let host_end = host_start + host_end(&text[host_start..])?;
    let host = &text[host_start..host_end];
    let colon = skip_lws(text, host_end);
    if text.get(colon) != Some(&b':') {
        return Some(SentBy { transport, host, port: None, end: host_end });
    }
    let port_start = skip_lws(text, colon + 1);
    let end = token_end(text, port_start);
    let port = Some(port_number(&text[port_start..end])?);
    Some(SentBy { transport, host, port, end })
}

/// The token after the next `/`, and the offset of its end.
fn after_slash(text: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let slash = skip_lws(text, from);
    if text.get(slash) != Some(&b'/') {
        return None;
    }
    let start = skip_lws(text, slash + 1);
    let end = token_end(text, start);
    (end > start).then(|| (&text[start..end], end))
}

fn comment_end(text: &[u8], open: usize) -> Option<usize> {
    let (mut depth, mut at) = (0, open);
    loop {
        match text.get(at)? {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
        if depth > MAX_COMMENT_DEPTH {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn reads_what_matters_of_a_plain_value() {
        let via = Via::parse(b"SIP/2.0/UDP 192.0.2.7:5062;rport;branch=z9hG4bKa1;ttl=16").unwrap();
        assert_eq!(via.transport, b"UDP");
        assert_eq!((via.host, via.port), (&b"192.0.2.7"[..], Some(5062)));
        assert_eq!(via.branch, Some(&b"z9hG4bKa1"[..]));
        assert!(via.has_rport);
        assert_eq!(via.rport(), None);
        assert_eq!(via.param("TTL"), Some(&b"16"[..]));
    }

    #[test]
    fn white_space_and_folds_may_stand_between_all_its_parts() {
        let value =
            b"SIP  / 2.0\r\n / tcp \t host.example : 5070  ;\r\n Branch = z9hG4bKb ; RPORT = 7";
        let via = Via::parse(value).unwrap();
        assert_eq!(via.transport, b"tcp");
        assert_eq!((via.host, via.port), (&b"host.example"[..], Some(5070)));
        assert_eq!(via.branch, Some(&b"z9hG4bKb"[..]));
        assert_eq!(via.rport(), Some(7));
        assert_eq!(via.value, value);
    }

    #[test]
    fn reads_lists_with_comments_and_quotes() {
        let value = br#"SIP/2.0/UDP a;branch=1 (one;no, (two) \) three) , SIP/2.0/TCP b;x="y,;z" ,SIP/2.0/X [::1]:9"#;
        let hosts: Vec<_> = Via::parse_list(value).map(|via| via.unwrap().host).collect();
        assert_eq!(hosts, [&b"a"[..], b"b", b"[::1]"]);
        let first = Via::parse_list(value).next().unwrap().unwrap();
        assert_eq!(first.param("no"), None);
        assert!(first.value.ends_with(b"three)"));
        assert!(Via::parse(value).is_none(), "one value only");
    }

    #[test]
    fn received_reads_with_and_without_brackets() {
        let address = Some("2001:db8::9".parse::<IpAddr>().unwrap());
        for value in [
            &b"SIP/2.0/UDP h;received=[2001:db8::9]"[..],
            b"SIP/2.0/UDP h;received=2001:db8::9;branch=x",
        ] {
            let via = Via::parse(value).unwrap();
            assert_eq!(via.received().and_then(|host| host.address()), address);
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for value in [
            &b""[..],
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDP ",
            b"SIP/2.0/UDPhost",
            b"SIP/2.0 host",
            b"HTTP/2.0/UDP host",
            b"SIP/2.0/UDP host;;branch=x",
            b"SIP/2.0/UDP host;",
            b"SIP/2.0/UDP host;branch=x;",
            b"SIP/2.0/UDP host branch=x",
            b"SIP/2.0/UDP host:port",
            b"SIP/2.0/UDP host:99999",
            b"SIP/2.0/UDP [::1",
            b"SIP/2.0/UDP 2001:db8::7;branch=x",
            b"SIP/2.0/UDP host (comment",
            b"SIP/2.0/UDP host (comment);branch=x",
            b"SIP/2.0/UDP host ((((((((((deep))))))))))",
            b"SIP/2.0/UDP host;x=\"open",
        ] {
            assert!(Via::parse(value).is_none(), "{}", String::from_utf8_lossy(value));
        }
        let list: Vec<_> = Via::parse_list(b"SIP/2.0/UDP a,,").map(|via| via.is_some()).collect();
        assert_eq!(list, [true, false]);
    }

    #[test]
    fn a_broken_value_still_says_where_its_sender_wants_the_answer() {
        let via = Via::salvage(b"SIP/2.0/UDP 192.0.2.7;rport;;branch=z9hG4bKc;,;,,");
        assert!(via.has_rport);
        assert_eq!(via.branch, Some(&b"z9hG4bKc"[..]));
        assert_eq!(via.value, b"SIP/2.0/UDP 192.0.2.7;rport;;branch=z9hG4bKc;");
    }

    #[test]
    fn a_value_broken_behind_its_sent_by_still_names_host_and_port() {
        let via = Via::salvage(b"SIP/2.0/UDP 192.0.2.7:5062;;,;,,");
        assert_eq!((via.transport, via.host), (&b"UDP"[..], &b"192.0.2.7"[..]));
        assert_eq!(via.port, Some(5062));
        let via = Via::salvage(b"SIP/2.0/UDP 192.0.2.7:99999;branch=x");
        assert_eq!((via.host, via.port), (&b""[..], None));
    }
}
