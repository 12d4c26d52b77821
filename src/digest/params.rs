//! Scheme and parameters of an authentication field: `Digest name=value, name="quoted"` (RFC 7235 §2.1).

use std::borrow::Cow;

use smallvec::SmallVec;

/// Parameters of one field at most.
const MAX_PARAMS: usize = 32;

/// The parameters of a field whose scheme is Digest.
#[derive(Debug)]
pub(super) struct Params<'a> {
    named: SmallVec<[(&'a [u8], &'a [u8]); 12]>,
}

impl<'a> Params<'a> {
    /// `None` for another scheme, for what breaks the grammar, and where a name stands twice (RFC 7616 §3.3).
    pub(super) fn parse(field: &'a [u8]) -> Option<Self> {
        let field = field.trim_ascii();
        let scheme_end = field.iter().position(u8::is_ascii_whitespace)?;
        if !field[..scheme_end].eq_ignore_ascii_case(b"Digest") {
            return None;
        }
        let mut this = Self { named: SmallVec::new() };
        let mut rest = field[scheme_end..].trim_ascii_start();
        while !rest.is_empty() {
            // RFC 7230 §7: empty list elements are let pass.
            if rest[0] == b',' {
                rest = rest[1..].trim_ascii_start();
                continue;
            }
            let (name, value, after) = param(rest)?;
            if this.get_raw(name).is_some() || this.named.len() == MAX_PARAMS {
                return None;
            }
            this.named.push((name, value));
            rest = after.trim_ascii_start();
            if rest.first().is_some_and(|octet| *octet != b',') {
                return None;
            }
        }
        Some(this)
    }

    /// A value as it stands, without its quotes.
    pub(super) fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_raw(name.as_bytes())
    }

    fn get_raw(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.named
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }
}

/// Name, value without quotes, and what follows.
fn param(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = text.iter().position(|octet| *octet == b'=')?;
    let name = text[..equals].trim_ascii_end();
    if name.is_empty() || !name.iter().all(|octet| is_token(*octet)) {
        return None;
    }
    let rest = text[equals + 1..].trim_ascii_start();
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let end = quote_end(quoted)?;
        return Some((name, &quoted[..end], &quoted[end + 1..]));
    }
    let end = rest.iter().position(|octet| *octet == b',' || octet.is_ascii_whitespace());
    let (value, after) = rest.split_at(end.unwrap_or(rest.len()));
    // Peers write base64 without quotes.
    let is_bare = |octet: &u8| octet.is_ascii_graphic() && *octet != b'"';
    value.iter().all(is_bare).then_some((name, value, after))
}

/// Offset of the closing quote.
fn quote_end(text: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    text.iter().position(|octet| {
        let is_end = *octet == b'"' && !is_escaped;
        is_escaped = *octet == b'\\' && !is_escaped;
        is_end
    })
}

fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&octet)
}

/// A quoted string's content with its escapes resolved.
pub(super) fn unescaped(content: &[u8]) -> Cow<'_, [u8]> {
    if !content.contains(&b'\\') {
        return Cow::Borrowed(content);
    }
    let mut out = Vec::with_capacity(content.len());
    let mut octets = content.iter();
    while let Some(octet) = octets.next() {
        let meant = if *octet == b'\\' { octets.next().unwrap_or(octet) } else { octet };
        out.push(*meant);
    }
    Cow::Owned(out)
}

/// Text as the content of a quoted string.
pub(super) fn escaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|octet| matches!(octet, b'"' | b'\\')) {
        return Cow::Borrowed(text);
    }
    let escape = |octet: &u8| match octet {
        b'"' | b'\\' => vec![b'\\', *octet],
        _ => vec![*octet],
    };
    Cow::Owned(text.iter().flat_map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quoted_and_bare_values_over_folds_and_odd_blanks() {
        let field = b"digest  realm = \"a, b=\\\"c\\\"\" ,\r\n nonce=YQ==,, QOP=\"auth,auth-int\",stale = FALSE ,";
        let params = Params::parse(field).unwrap();
        assert_eq!(params.get("realm"), Some(&b"a, b=\\\"c\\\""[..]));
        assert_eq!(params.get("nonce"), Some(&b"YQ=="[..]));
        assert_eq!(params.get("qop"), Some(&b"auth,auth-int"[..]));
        assert_eq!(params.get("Stale"), Some(&b"FALSE"[..]));
        assert_eq!(params.get("opaque"), None);
    }

    #[test]
    fn refuses_other_schemes_broken_grammar_and_repeated_names() {
        for field in [
            &b""[..],
            b"Digest",
            b"Basic realm=\"x\"",
            b"DigestX realm=\"x\"",
            b"Digest realm",
            b"Digest =x",
            b"Digest realm=\"open",
            b"Digest realm=\"a\" nonce=\"b\"",
            b"Digest realm=\"a\", realm=\"b\"",
            b"Digest re alm=\"a\"",
            b"Digest realm=a\"b",
        ] {
            assert!(Params::parse(field).is_none(), "{}", String::from_utf8_lossy(field));
        }
    }

    #[test]
    fn escapes_and_resolves_escapes() {
        let name = br#"a"b\c"#;
        assert_eq!(&*escaped(name), br#"a\"b\\c"#);
        assert_eq!(&*unescaped(&escaped(name)), name);
        assert_eq!(&*unescaped(b"end\\"), b"end\\");
        assert!(matches!(unescaped(b"plain"), Cow::Borrowed(_)));
        assert!(matches!(escaped(b"plain"), Cow::Borrowed(_)));
    }
}
