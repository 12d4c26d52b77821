//! Start lines: request lines and status lines (RFC 3261 §7.1, §7.2).

use memchr::{memchr, memrchr};

use super::scan::{Span, is_lws, is_token, line_end, number};
use super::{Defect, Method, NotSip, Uri};

/// A start line, read.
#[derive(Clone, Copy, Debug)]
pub(super) enum StartLine {
    Request { method: Method, method_text: Span, uri: Span },
    Response { status_code: u16, reason: Span },
}

/// A start line, the offset of the next line, and the first rule that it breaks.
pub(super) type Read = (StartLine, usize, Option<Defect>);

const VERSION: &[u8] = b"SIP/2.0";

/// Reads the first line of `bytes`.
pub(super) fn read(bytes: &[u8], max_octets: usize) -> Result<Read, NotSip> {
    let Some(end) = line_end(bytes, 0) else {
        return Err(NotSip::StartLine);
    };
    if end.next > max_octets {
        return Err(NotSip::TooLarge);
    }
    let line = &bytes[..end.text_end];
    let is_bare = end.is_bare || memchr(b'\r', line).is_some();
    let bare = is_bare.then_some(Defect::bad_request("Line Without CRLF"));
    if line.len() > 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        if bare.is_some() {
            return Err(NotSip::BadResponse("a bare line end"));
        }
        return Ok((read_status_line(line)?, end.next, None));
    }
    let (start_line, defect) = read_request_line(line)?;
    Ok((start_line, end.next, bare.or(defect)))
}

fn read_status_line(line: &[u8]) -> Result<StartLine, NotSip> {
    let bad = NotSip::BadResponse;
    let Some((version, rest)) = split_at_space(line) else {
        return Err(bad("no status code"));
    };
    if !version.eq_ignore_ascii_case(VERSION) {
        return Err(bad("a version other than 2.0"));
    }
    // A status line may end after the code: the space before an empty phrase gets lost on the way.
    let (code, reason) = split_at_space(rest).unwrap_or((rest, &rest[rest.len()..]));
    // RFC 3261 §7.2: three digits
    let status_code = (code.len() == 3).then(|| number(code, 699)).flatten();
    match status_code.and_then(|code| u16::try_from(code).ok()) {
        Some(status_code) if status_code >= 100 => {
            Ok(StartLine::Response { status_code, reason: Span::of(line, reason) })
        }
        Some(_) | None => Err(bad("no status code")),
    }
}

fn read_request_line(line: &[u8]) -> Result<(StartLine, Option<Defect>), NotSip> {
    let text = line.trim_ascii_end();
    let (method, rest) = split_at_space(text).ok_or(NotSip::StartLine)?;
    let at = memrchr(b' ', rest).ok_or(NotSip::StartLine)?;
    let (uri, version) = (rest[..at].trim_ascii(), &rest[at + 1..]);
    if version.len() < 4 || !version[..4].eq_ignore_ascii_case(b"SIP/") {
        return Err(NotSip::StartLine);
    }
    let defect = if !version.eq_ignore_ascii_case(VERSION) {
        version_defect(&version[4..])
    } else if text.len() < line.len() || uri.len() < at {
        // RFC 3261 §7.1: single SP, and no other white space
        Some(Defect::bad_request("Extra Space in Request-Line"))
    } else if !is_token(method) {
        Some(Defect::bad_request("Bad Method"))
    } else {
        uri_defect(uri)
    };
    let start_line = StartLine::Request {
        method: Method::from_text(method),
        method_text: Span::of(line, method),
        uri: Span::of(line, uri),
    };
    Ok((start_line, defect))
}

/// RFC 3261 §21.5.6 for a version we do not speak; 400 for what is no version.
fn version_defect(version: &[u8]) -> Option<Defect> {
    let mut numbers = version.splitn(2, |&octet| octet == b'.');
    let is_version = numbers.all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
        && version.contains(&b'.');
    Some(if is_version {
        Defect { status_code: 505, reason: "Version Not Supported" }
    } else {
        Defect::bad_request("Bad SIP-Version")
    })
}

fn uri_defect(uri: &[u8]) -> Option<Defect> {
    if uri.iter().any(|&octet| is_lws(octet)) {
        return Some(Defect::bad_request("Space in Request-URI"));
    }
    match Uri::parse(uri) {
        None => Some(Defect::bad_request("Bad Request-URI")),
        // RFC 3261 §19.1.1, table 1: no headers in a Request-URI
        Some(uri) if !uri.headers.is_empty() => Some(Defect::bad_request("Headers in Request-URI")),
        Some(_) => None,
    }
}

fn split_at_space(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr(b' ', text)?;
    Some((&text[..at], &text[at + 1..]))
}
