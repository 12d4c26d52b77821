//! Which dialog a Replaces header field names (RFC 3891 §6.1), in a request or in the headers of a URI.

use super::params::param;
use super::scan::trim;

/// A dialog as the one that is asked knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaces {
    pub call_id: Vec<u8>,
    /// Of whoever is asked.
    pub to_tag: Vec<u8>,
    /// Of its peer.
    pub from_tag: Vec<u8>,
    /// Only a dialog that is not confirmed is meant.
    pub is_early_only: bool,
}

impl Replaces {
    /// Reads a field's value; `None` where it breaks the grammar: it needs a Call-ID and both tags.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = trim(value);
        let end = value.iter().position(|octet| *octet == b';')?;
        let (call_id, params) = (trim(&value[..end]), &value[end..]);
        let is_word = !call_id.is_empty() && call_id.iter().all(|octet| *octet > b' ');
        let tag = |name| param(params, name).filter(|tag| !tag.is_empty()).map(<[u8]>::to_vec);
        is_word.then_some(Self {
            call_id: call_id.to_vec(),
            to_tag: tag("to-tag")?,
            from_tag: tag("from-tag")?,
            is_early_only: param(params, "early-only").is_some(),
        })
    }

    /// Reads it from the headers of a URI, `a=b&c=d` with escapes (RFC 3261 §19.1.1). `None` where there is none;
    /// what breaks the grammar, or comes twice, is an `Err`.
    pub fn in_headers(headers: &[u8]) -> Option<Result<Self, Malformed>> {
        let mut values = headers.split(|octet| *octet == b'&').filter_map(|header| {
            let at = header.iter().position(|octet| *octet == b'=').unwrap_or(header.len());
            let (name, value) = header.split_at(at);
            name.eq_ignore_ascii_case(b"replaces").then(|| value.get(1..).unwrap_or_default())
        });
        let value = values.next()?;
        let only = values.next().is_none();
        Some(Self::parse(&unescaped(value)).filter(|_| only).ok_or(Malformed))
    }

    /// The header of a URI that names it, `Replaces=...`.
    pub fn to_uri_header(&self) -> Vec<u8> {
        let mut header = b"Replaces=".to_vec();
        push_escaped(&self.call_id, &mut header);
        header.extend_from_slice(b"%3Bto-tag%3D");
        push_escaped(&self.to_tag, &mut header);
        header.extend_from_slice(b"%3Bfrom-tag%3D");
        push_escaped(&self.from_tag, &mut header);
        if self.is_early_only {
            header.extend_from_slice(b"%3Bearly-only");
        }
        header
    }
}

/// A Replaces that names no dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a Replaces that names no dialog")]
pub struct Malformed;

/// Resolves `%XX` once; a `%` that begins no escape stays.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let pair = text.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let octet = pair
            .filter(|pair| text[at] == b'%' && !pair.starts_with('+'))
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        plain.push(octet.unwrap_or(text[at]));
        at += if octet.is_some() { 3 } else { 1 };
    }
    plain
}

/// Escapes all but RFC 3261's unreserved characters.
fn push_escaped(text: &[u8], escaped: &mut Vec<u8>) {
    for octet in text {
        if octet.is_ascii_alphanumeric() || b"-_.!~*'()".contains(octet) {
            escaped.push(*octet);
        } else {
            escaped.extend_from_slice(format!("%{octet:02X}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_call_id_and_both_tags_in_any_order() {
        let seen = Replaces::parse(b" 12@h ; from-tag=b;x ;to-tag=a; early-only").expect("one");
        assert_eq!(seen, Replaces { is_early_only: true, ..dialog() });
        for bad in [
            "",
            "12@h",
            "12@h;to-tag=a",
            "12@h;from-tag=b",
            ";to-tag=a;from-tag=b",
            "1 2;to-tag=a;from-tag=b",
            "12@h;to-tag;from-tag=b",
        ] {
            assert_eq!(Replaces::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn reads_the_one_of_a_uri_and_writes_it_again() {
        let header = b"x=y&rePlaces=12%40h%3Bto-tag%3Da%3Bfrom-tag%3Db";
        let seen = Replaces::in_headers(header).expect("there is one").expect("a good one");
        assert_eq!(seen, dialog());
        assert_eq!(seen.to_uri_header(), b"Replaces=12%40h%3Bto-tag%3Da%3Bfrom-tag%3Db");
        assert_eq!(Replaces::in_headers(&seen.to_uri_header()), Some(Ok(seen)));
        assert_eq!(Replaces::in_headers(b"x=y"), None);
        for bad in [
            "Replaces",
            "Replaces=",
            "Replaces=a%3Bto-tag%3Db",
            "Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc&Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc",
        ] {
            assert_eq!(Replaces::in_headers(bad.as_bytes()), Some(Err(Malformed)), "{bad}");
        }
    }

    fn dialog() -> Replaces {
        Replaces {
            call_id: b"12@h".to_vec(),
            to_tag: b"a".to_vec(),
            from_tag: b"b".to_vec(),
            is_early_only: false,
        }
    }
}
