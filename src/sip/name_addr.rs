//! name-addr / addr-spec values with parameters: From, To, Contact, Route, Record-Route, P-Asserted-Identity …

use memchr::{memchr, memchr3};

use super::Uri;
use super::params;
use super::scan::{is_lws, quoted_end, skip_lws, trim};

pub use super::params::param;

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
    ///
    /// `None` when it breaks the grammar, or is `*`. A display name without quotes may hold more
    /// than tokens, so long as nothing in it separates.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = trim(value);
        let (display_name, open) = match value.first()? {
            b'"' => {
                let end = quoted_end(value, 0)?;
                (&value[..end], Some(skip_lws(value, end)))
            }
            _ => match memchr(b'<', value) {
                Some(open) if is_display_name(&value[..open]) => (trim(&value[..open]), Some(open)),
                Some(_) | None => (&b""[..], None),
            },
        };
        let (uri, params) = match open {
            Some(open) => {
                let rest = value.get(open..)?.strip_prefix(b"<")?;
                let close = memchr(b'>', rest)?;
                (&rest[..close], &rest[close + 1..])
            }
            None => addr_spec(value)?,
        };
        let params = trim(params);
        let is_well_formed = Uri::parse(uri).is_some() && params::are_well_formed(params);
        is_well_formed.then_some(Self { display_name, uri, params })
    }

    /// A header parameter's value, name in any case; `Some(b"")` for one without a value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        params::param(self.params, name)
    }
}

/// A URI without angle brackets, and what follows it. RFC 3261 §20.10: one that holds a comma, a question
/// mark or a semicolon must be enclosed.
fn addr_spec(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = value.iter().position(|&octet| octet == b';' || is_lws(octet)).unwrap_or(value.len());
    let (uri, params) = value.split_at(end);
    let is_bare = uri.iter().all(|octet| !matches!(octet, b'?' | b',' | b'<'));
    is_bare.then_some((uri, params))
}

fn is_display_name(text: &[u8]) -> bool {
    text.iter().all(|&octet| {
        is_lws(octet)
            || (octet > b' '
                && octet != 0x7f
                && !matches!(octet, b'"' | b',' | b';' | b':' | b'@' | b'<' | b'>' | b'='))
    })
}

/// Splits a header value at commas outside quotes and angle brackets; parts are trimmed, empty ones left out.
pub fn split_list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split_all(value).filter(|part| !part.is_empty())
}

/// As [`split_list`], the empty parts included. An unterminated quote or bracket runs to the end.
pub(super) fn split_all(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let end = list_part_end(text);
        rest = text.get(end + 1..);
        Some(trim(&text[..end]))
    })
}

fn list_part_end(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| memchr3(b',', b'"', b'<', rest)) {
        at += found;
        at = match text[at] {
            b'"' => quoted_end(text, at).unwrap_or(text.len()),
            b'<' => memchr(b'>', &text[at..]).map_or(text.len(), |close| at + close + 1),
            _ => return at,
        };
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_inside_the_uri_or_in_quotes_is_not_the_tag() {
        let value = br#""a;tag=no <sip:no@x>;tag=no" <sip:a@b.example;tag=no?tag=no>;x="y;tag=no";Tag = yes"#;
        let to = NameAddr::parse(value).unwrap();
        assert_eq!(to.param("tag"), Some(&b"yes"[..]));
        assert_eq!(to.uri, b"sip:a@b.example;tag=no?tag=no");
        assert_eq!(to.display_name, br#""a;tag=no <sip:no@x>;tag=no""#);
        let none = NameAddr::parse(br#""a;tag=no" <sip:a@b.example;tag=no>"#).unwrap();
        assert_eq!(none.param("tag"), None);
    }

    #[test]
    fn without_brackets_parameters_belong_to_the_header() {
        let to = NameAddr::parse(b"sip:a@b.example ;\r\n tag  = 1918n").unwrap();
        assert_eq!(to.uri, b"sip:a@b.example");
        assert_eq!(to.param("tag"), Some(&b"1918n"[..]));
        assert!(to.display_name.is_empty());
    }

    #[test]
    fn display_names_are_kept_as_written() {
        for (value, display_name) in [
            (&b"caller<sip:a@b>"[..], &b"caller"[..]),
            (b"A. Bell  <sip:a@b>", b"A. Bell"),
            (b"J\xc3\xb6rg (desk) <sip:a@b>", b"J\xc3\xb6rg (desk)"),
            (b"\"\xff\x00 \\\"\\\\\"   <sip:a@b>\r\n ;x", b"\"\xff\x00 \\\"\\\\\""),
            (b"tok~`\r\n two <sip:a@b>", b"tok~`\r\n two"),
            (b"<sip:a@b>", b""),
        ] {
            let read = NameAddr::parse(value).unwrap();
            assert_eq!(read.display_name, display_name);
            assert_eq!(read.uri, b"sip:a@b");
        }
    }

    #[test]
    fn other_schemes_are_read() {
        assert_eq!(NameAddr::parse(b"isbn:2983").unwrap().uri, b"isbn:2983");
        assert!(NameAddr::parse(b"<tel:+1555;phone-context=x>").is_some());
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for value in [
            &b""[..],
            b"*",
            b"<>",
            b"<sip:a@b",
            b"sip:a@b>",
            b"\"open <sip:a@b>",
            b"\"a\" sip:a@b",
            b"Bell, Alexander <sip:a@b>",
            b"a@b <sip:a@b>",
            b"< sip:a@b >",
            b"<sip:a@b> x",
            b"<sip:a@b>;;x",
            b"<sip:a@b>;",
            b"<sip:a@b>;tag=a,<sip:c@d>",
            b"sip:a@b?Route=%3Csip:c%3E",
            b"sip:a@b,sip:c@d",
            b"sip:a@b lr",
            b"<sip:a@b>;x=\"open",
            b"<sip:2001:db8::7>",
        ] {
            assert!(NameAddr::parse(value).is_none(), "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn lists_split_at_commas_that_separate() {
        let value = br#""a,b\",c" <sip:x,y@z>;p="1,2" ,sip:q@r, , <sip:s@t>"#;
        let parts: Vec<_> = split_list(value).collect();
        assert_eq!(parts, [&br#""a,b\",c" <sip:x,y@z>;p="1,2""#[..], b"sip:q@r", b"<sip:s@t>"]);
        assert_eq!(split_list(b"").count(), 0);
        assert_eq!(
            split_list(b" 100rel ,\r\n timer").collect::<Vec<_>>(),
            [&b"100rel"[..], b"timer"]
        );
        assert_eq!(split_list(b"<sip:a,b").count(), 1);
        assert_eq!(split_all(b"a,,").count(), 3);
    }
}
