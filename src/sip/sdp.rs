//! Read-only facts of a session description (RFC 8866, RFC 3264). Bodies cross untouched.

use memchr::memmem;

use super::params;
use super::scan::{Cut, cut, trim};
use super::{HeaderName, Message};

/// Body parts looked at in one multipart body, at most.
const MAX_PARTS: usize = 32;
/// How deep multipart bodies may nest.
const MAX_DEPTH: usize = 3;

/// Whether the message's body is, or holds (multipart), a session description.
pub fn is_session_description(message: &Message) -> bool {
    let content_type = message.first(HeaderName::ContentType);
    !message.body().is_empty() && is_or_holds(content_type, message.body(), MAX_DEPTH)
}

/// In any case and with any parameters.
fn is_sdp(content_type: &[u8]) -> bool {
    media_type(content_type).eq_ignore_ascii_case(b"application/sdp")
}

fn is_or_holds(content_type: Option<&[u8]>, body: &[u8], depth: usize) -> bool {
    let Some(value) = content_type else {
        return false;
    };
    if is_sdp(value) {
        return true;
    }
    let kind = media_type(value);
    let is_multipart = kind.len() > 10 && kind[..10].eq_ignore_ascii_case(b"multipart/");
    let boundary = params::param(&value[kind.len()..], "boundary");
    match boundary {
        Some(boundary) if is_multipart && depth > 0 && !boundary.is_empty() => {
            parts(body, boundary).take(MAX_PARTS).any(|part| part_holds(part, depth - 1))
        }
        Some(_) | None => false,
    }
}

fn part_holds(part: &[u8], depth: usize) -> bool {
    let (mut content_type, mut at) = (None, 0);
    loop {
        match cut(part, at) {
            Cut::Field(field) => {
                if field.name == HeaderName::ContentType {
                    content_type = Some(&part[field.value_start..field.value_end]);
                }
                at = field.next;
            }
            Cut::End { body, .. } => return is_or_holds(content_type, &part[body..], depth),
            Cut::Unfinished => return false,
        }
    }
}

/// `type/subtype`, what stands before the parameters.
fn media_type(value: &[u8]) -> &[u8] {
    trim(&value[..memchr::memchr(b';', value).unwrap_or(value.len())])
}

/// The parts between the delimiter lines of RFC 2046 §5.1.1, from after each delimiter line on.
fn parts<'a>(body: &'a [u8], boundary: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = after_delimiter(body, boundary);
    std::iter::from_fn(move || {
        let text = rest?;
        rest = after_delimiter(text, boundary);
        Some(text)
    })
}

/// What follows the line `--boundary`; `None` at the closing `--boundary--`.
fn after_delimiter<'a>(body: &'a [u8], boundary: &[u8]) -> Option<&'a [u8]> {
    for dashes in memmem::find_iter(body, b"--") {
        let is_line_start = dashes == 0 || body[dashes - 1] == b'\n';
        let Some(rest) = body[dashes + 2..].strip_prefix(boundary) else {
            continue;
        };
        if is_line_start {
            let line_end = memchr::memchr(b'\n', rest)?;
            return trim(&rest[..line_end]).is_empty().then(|| &rest[line_end + 1..]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_type_reads_in_any_case_and_with_parameters() {
        for value in ["application/sdp", "Application/SDP", "application/sdp ;charset=utf-8"] {
            assert!(is_sdp(value.as_bytes()));
        }
        for value in ["application/sdpx", "text/plain", "application/isup", ""] {
            assert!(!is_sdp(value.as_bytes()));
        }
    }

    #[test]
    fn a_plain_body_counts_only_when_there_is_one() {
        assert!(is_session_description(&message("application/SDP", "v=0\r\n")));
        assert!(!is_session_description(&message("application/sdp", "")));
        assert!(!is_session_description(&message("text/plain", "v=0\r\n")));
    }

    #[test]
    fn a_multipart_body_is_searched_for_the_part() {
        let content_type = "multipart/mixed; boundary=\"b 1\"";
        let with = "preamble --b 1\r\n--b 1\r\nContent-Type: application/isup\r\n\r\n\x01\r\n\
                    --b 1  \r\nc: Application/SDP\r\nContent-ID: <a>\r\n\r\nv=0\r\n--b 1--\r\n";
        assert!(is_session_description(&message(content_type, with)));
        let without = with.replace("Application/SDP", "text/plain");
        assert!(!is_session_description(&message(content_type, &without)));
        let after_close = "--b 1\r\n\r\nx\r\n--b 1--\r\n--b 1\r\nc: application/sdp\r\n\r\nv=0";
        assert!(!is_session_description(&message(content_type, after_close)));
    }

    #[test]
    fn nesting_is_followed_to_a_limit() {
        let nested = |depth: usize| {
            let inner = "application/sdp".to_owned();
            let (content_type, body) =
                (0..depth).fold((inner, "v=0\r\n".to_owned()), |(t, b), at| {
                    let body = format!("--n{at}\r\nContent-Type: {t}\r\n\r\n{b}\r\n--n{at}--\r\n");
                    (format!("multipart/mixed;boundary=n{at}"), body)
                });
            is_session_description(&message(&content_type, &body))
        };
        assert!(nested(2));
        assert!(nested(MAX_DEPTH));
        assert!(!nested(MAX_DEPTH + 1));
    }

    fn message(content_type: &str, body: &str) -> Message {
        let text = format!(
            "MESSAGE sip:b@x.example SIP/2.0\r\nVia: SIP/2.0/UDP y.example;branch=z9hG4bK1\r\n\
             From: <sip:a@y.example>;tag=1\r\nTo: <sip:b@x.example>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(Bytes::from(text)).unwrap()
    }
}
