//! Octet classes, linear white space and the one cutter of heads that parser, framing and peek share.

use memchr::{memchr, memchr2};

use super::HeaderName;

/// Offsets in a message fit `u16`: see [`super::message::MAX_MESSAGE_OCTETS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u16,
    pub(super) end: u16,
}

impl Span {
    /// Where `part`, a subslice of `whole`, stands in it; an empty span for anything else.
    pub(super) fn of(whole: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        if start > whole.len() || start + part.len() > whole.len() {
            return Self::default();
        }
        Self::new(start, start + part.len())
    }

    #[expect(clippy::cast_possible_truncation, reason = "a message has at most 65 535 octets")]
    pub(super) const fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= u16::MAX as usize);
        Self { start: start as u16, end: end as u16 }
    }

    pub(super) fn of_bytes(self, bytes: &[u8]) -> &[u8] {
        &bytes[usize::from(self.start)..usize::from(self.end)]
    }
}

const TOKEN: u8 = 1;
const LWS: u8 = 2;
/// May stand unquoted in a parameter's value: a token, a host, and what peers write besides.
const VALUE: u8 = 4;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let c = octet as u8;
        // RFC 3261 §25.1: token
        if c.is_ascii_alphanumeric()
            || matches!(c, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
        {
            table[octet] |= TOKEN;
        }
        if matches!(c, b' ' | b'\t' | b'\r' | b'\n') {
            table[octet] |= LWS;
        } else if c > b' '
            && !matches!(c, 0x7f | b';' | b',' | b'"' | b'<' | b'>' | b'(' | b')' | b'=')
        {
            table[octet] |= VALUE;
        }
        octet += 1;
    }
    table
}

fn is(octet: u8, class: u8) -> bool {
    CLASSES[usize::from(octet)] & class != 0
}

/// White space, folds included: a fold reads as white space (RFC 3261 §7.3.1).
pub(super) fn is_lws(octet: u8) -> bool {
    is(octet, LWS)
}

pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&octet| is(octet, TOKEN))
}

/// The end of the token that begins at `from`.
pub(super) fn token_end(text: &[u8], from: usize) -> usize {
    end_of(text, from, TOKEN)
}

/// The end of the unquoted parameter value that begins at `from`.
pub(super) fn value_end(text: &[u8], from: usize) -> usize {
    end_of(text, from, VALUE)
}

pub(super) fn skip_lws(text: &[u8], from: usize) -> usize {
    end_of(text, from, LWS)
}

fn end_of(text: &[u8], from: usize, class: u8) -> usize {
    let mut at = from;
    while at < text.len() && is(text[at], class) {
        at += 1;
    }
    at
}

pub(super) fn trim(text: &[u8]) -> &[u8] {
    trim_end(&text[skip_lws(text, 0)..])
}

fn trim_end(text: &[u8]) -> &[u8] {
    let mut end = text.len();
    while end > 0 && is_lws(text[end - 1]) {
        end -= 1;
    }
    &text[..end]
}

/// The offset after the closing quote of the quoted string that opens at `from` (RFC 3261 §25.1).
pub(super) fn quoted_end(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Digits and nothing else, at most `max`.
pub(super) fn number(text: &[u8], max: u64) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, &octet| {
        if !octet.is_ascii_digit() {
            return None;
        }
        let sum = sum.checked_mul(10)?.checked_add(u64::from(octet - b'0'))?;
        (sum <= max).then_some(sum)
    })
}

/// One line end: the offset of the line's end without its CRLF, and of the next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineEnd {
    pub(super) text_end: usize,
    pub(super) next: usize,
    /// An LF without CR (RFC 3261 §7: lines end in CRLF).
    pub(super) is_bare: bool,
}

/// Finds the end of the line that `from` lies in; `None` when the octets end before it.
pub(super) fn line_end(bytes: &[u8], from: usize) -> Option<LineEnd> {
    let lf = from + memchr(b'\n', &bytes[from..])?;
    let is_bare = lf == from || bytes[lf - 1] != b'\r';
    Some(LineEnd { text_end: if is_bare { lf } else { lf - 1 }, next: lf + 1, is_bare })
}

/// One header field as cut from a head, its continuation lines included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: HeaderName,
    pub(super) start: usize,
    /// Equal to `start` where the field has no name or no colon: it is no header field then.
    pub(super) name_end: usize,
    /// The trimmed value.
    pub(super) value_start: usize,
    pub(super) value_end: usize,
    pub(super) next: usize,
    /// Its lines, and how many of them end in a bare LF.
    pub(super) lines: usize,
    pub(super) bare_lines: usize,
}

/// What stands at a line's start in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Field(Field),
    /// The empty line; the body begins at `body`.
    End {
        body: usize,
        is_bare: bool,
    },
    /// The octets end before the head does.
    Unfinished,
}

/// Cuts the header field, or the empty line, that begins at `start`.
pub(super) fn cut(bytes: &[u8], start: usize) -> Cut {
    match bytes.get(start) {
        None => return Cut::Unfinished,
        Some(b'\n') => {
            return Cut::End { body: start + 1, is_bare: true };
        }
        Some(b'\r') if bytes.get(start + 1) == Some(&b'\n') => {
            return Cut::End { body: start + 2, is_bare: false };
        }
        Some(_) => {}
    }
    let Some(mut end) = line_end(bytes, start) else {
        return Cut::Unfinished;
    };
    let (name, name_end, value_from) = cut_name(bytes, start, end.text_end);
    let (mut lines, mut bare_lines) = (1, usize::from(end.is_bare));
    // A line that begins with white space continues the one before (RFC 3261 §7.3.1).
    while matches!(bytes.get(end.next), Some(b' ' | b'\t')) {
        end = match line_end(bytes, end.next) {
            Some(end) => end,
            None => return Cut::Unfinished,
        };
        lines += 1;
        bare_lines += usize::from(end.is_bare);
    }
    let value_start = skip_lws(&bytes[..end.text_end], value_from);
    let value = trim_end(&bytes[value_start..end.text_end]);
    Cut::Field(Field {
        name,
        start,
        name_end,
        value_start,
        value_end: value_start + value.len(),
        next: end.next,
        lines,
        bare_lines,
    })
}

/// The name of the field whose first line is `start..line_end`, its end, and where its value begins.
fn cut_name(bytes: &[u8], start: usize, line_end: usize) -> (HeaderName, usize, usize) {
    let no_name = (HeaderName::Other, start, start);
    let Some(colon) = memchr(b':', &bytes[start..line_end]) else {
        return no_name;
    };
    let mut name_end = start + colon;
    // RFC 3261 §25.1: HCOLON = *( SP / HTAB ) ":" SWS
    while name_end > start && matches!(bytes[name_end - 1], b' ' | b'\t') {
        name_end -= 1;
    }
    let name = HeaderName::at_start(&bytes[start..], name_end - start);
    if name == HeaderName::Other && !is_token(&bytes[start..name_end]) {
        return no_name;
    }
    (name, name_end, start + colon + 1)
}

/// The header fields of a message whose start line ends at `start`, without any limit or check.
pub(super) fn fields(bytes: &[u8], start: usize) -> impl Iterator<Item = Field> {
    let mut at = start;
    std::iter::from_fn(move || match cut(bytes, at) {
        Cut::Field(field) => {
            at = field.next;
            Some(field)
        }
        Cut::End { .. } | Cut::Unfinished => None,
    })
}

/// The offset after the CRLFs that may stand before a start line (RFC 3261 §7.5).
pub(super) fn skip_empty_lines(bytes: &[u8]) -> usize {
    let mut at = 0;
    while bytes[at..].starts_with(b"\r\n") {
        at += 2;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_belongs_to_its_field_and_white_space_around_the_value_does_not() {
        let bytes = b"Via  :\r\n SIP/2.0/UDP\r\n\thost \r\nTo: x\r\n\r\nbody";
        let Cut::Field(via) = cut(bytes, 0) else { panic!("a field") };
        assert_eq!(&bytes[via.start..via.name_end], b"Via");
        assert_eq!(&bytes[via.value_start..via.value_end], b"SIP/2.0/UDP\r\n\thost");
        let Cut::Field(to) = cut(bytes, via.next) else { panic!("a field") };
        assert_eq!(&bytes[to.value_start..to.value_end], b"x");
        assert_eq!(cut(bytes, to.next), Cut::End { body: bytes.len() - 4, is_bare: false });
    }

    #[test]
    fn bare_line_ends_are_counted() {
        for (bytes, lines, bare_lines) in [
            (&b"a: b\r\n"[..], 1, 0),
            (b"a: b\n", 1, 1),
            (b"a:\n", 1, 1),
            (b"a: b\n c\r\n\td\n", 3, 2),
        ] {
            let Cut::Field(field) = cut(bytes, 0) else { panic!("a field") };
            assert_eq!((field.lines, field.bare_lines), (lines, bare_lines));
        }
    }

    #[test]
    fn a_line_without_a_name_or_a_colon_is_no_field() {
        for line in [&b"no colon\r\n"[..], b": value\r\n", b" folded: x\r\n", b"na(me: x\r\n"] {
            let Cut::Field(field) = cut(line, 0) else { panic!("a field") };
            assert_eq!(field.start, field.name_end);
        }
    }

    #[test]
    fn an_empty_value_lies_inside_its_line() {
        let bytes = b"s :   \r\n\r\n";
        let Cut::Field(field) = cut(bytes, 0) else { panic!("a field") };
        assert_eq!(field.value_start, field.value_end);
        assert!(field.value_end <= field.next);
    }

    #[test]
    fn quotes_end_at_the_first_quote_that_is_not_escaped() {
        assert_eq!(quoted_end(br#""a\"b" c"#, 0), Some(6));
        assert_eq!(quoted_end(br#""a\\" c"#, 0), Some(5));
        assert_eq!(quoted_end(br#""a\""#, 0), None);
        assert_eq!(quoted_end(br#""a\"#, 0), None);
        assert_eq!(quoted_end(b"\"", 0), None);
    }

    #[test]
    fn numbers_are_digits_within_their_bound() {
        assert_eq!(number(b"0068", 255), Some(68));
        assert_eq!(number(b"256", 255), None);
        assert_eq!(number(b"36893488147419103232", u64::MAX), None);
        for text in [&b""[..], b"-1", b"+1", b"1 2", b"0x1"] {
            assert_eq!(number(text, 255), None);
        }
    }
}
