//! A received message, indexed in one pass and kept byte for byte.

use bytes::Bytes;

use super::essentials::{self, Essentials};
use super::index::{Entry, Head, Index};
use super::scan::{Span, skip_empty_lines};
use super::start_line::{self, StartLine};
use super::{HeaderName, Method, Via};

/// The largest message we read, on any transport: the largest UDP payload.
pub const MAX_MESSAGE_OCTETS: usize = 65_535;
/// Header fields in a message, at most.
pub const MAX_HEADERS: usize = 250;
/// A header field with its continuation lines, at most.
pub const MAX_FIELD_OCTETS: usize = 8_192;
/// A start line, at most.
pub const MAX_START_LINE_OCTETS: usize = 8_192;
/// A header field's name, at most.
pub const MAX_NAME_OCTETS: usize = 255;

/// One SIP request or response.
///
/// Parsing allocates nothing per header. What it does not know it keeps: order, case, unknown
/// headers, octets that are not UTF-8. Cheap to clone (one reference count and the index).
///
/// A message whose frame can be read but which breaks a rule carries a [`Defect`]: it can be
/// answered with the defect's status code and must not be acted upon otherwise.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    start_line: StartLine,
    essentials: Essentials,
    body: Span,
    defect: Option<Defect>,
    index: Index,
}

/// What is wrong with a request that can still be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect {
    /// 400, 505, …
    pub status_code: u16,
    /// The reason phrase of the answer: names the header and what is wrong.
    pub reason: &'static str,
}

impl Defect {
    pub(super) const fn bad_request(reason: &'static str) -> Self {
        Self { status_code: 400, reason }
    }
}

/// Nothing that can be answered: to be dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSip {
    #[error("empty, or a keep-alive")]
    Empty,
    #[error("no start line of SIP")]
    StartLine,
    #[error("the headers do not end")]
    NoEndOfHeaders,
    #[error("over a limit of size or count")]
    TooLarge,
    #[error("a response that breaks a rule: {0}")]
    BadResponse(&'static str),
    #[error("a request without what an answer needs: {0}")]
    Unanswerable(&'static str),
}

/// One header field as it stands in the message.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    pub name: HeaderName,
    /// The name as written, compact or not; empty for a line of a defective message that is no field.
    pub name_text: &'a [u8],
    /// The value without surrounding white space; folds are kept as they came.
    pub value: &'a [u8],
    /// The whole field, folds and the final CRLF included.
    pub line: &'a [u8],
}

impl Message {
    /// Reads one datagram, or one framed message of a stream.
    ///
    /// Octets after Content-Length are ignored (RFC 3261 §18.3); too few are a 400. A request whose
    /// head does not end is a 400 too, so long as its Via came through.
    pub fn parse(bytes: Bytes) -> Result<Self, NotSip> {
        let bytes = without_keep_alive(bytes)?;
        let (start_line, next, line_defect) = start_line::read(&bytes, MAX_START_LINE_OCTETS)?;
        let head = Head::read(&bytes, next).map_err(|_| NotSip::TooLarge)?;
        let (essentials, broken) = Essentials::read(&bytes, &head.index);
        let (body, body_broken) = read_body(&bytes, &head, essentials.content_length);
        let broken = head_rule(&head).or(broken).or(body_broken);
        let defect = match start_line {
            StartLine::Response { .. } => {
                if head.body.is_none() {
                    return Err(NotSip::NoEndOfHeaders);
                }
                if let Some(rule) = broken {
                    return Err(NotSip::BadResponse(rule));
                }
                None
            }
            StartLine::Request { method, method_text, .. } => {
                if !essentials::has_some_via(&bytes, &head.index) {
                    return Err(if head.body.is_none() {
                        NotSip::NoEndOfHeaders
                    } else {
                        NotSip::Unanswerable("Via")
                    });
                }
                let method = (method, method_text.of_bytes(&bytes));
                line_defect.or(broken.map(Defect::bad_request)).or_else(|| {
                    essentials::request_defect(&bytes, &head.index, method, essentials.cseq)
                })
            }
        };
        Ok(Self { bytes, start_line, essentials, body, defect, index: head.index })
    }

    pub fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// As received, without empty lines before the start line.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn is_request(&self) -> bool {
        match self.start_line {
            StartLine::Request { .. } => true,
            StartLine::Response { .. } => false,
        }
    }

    /// The method of a request; of a response the method in CSeq.
    pub fn method(&self) -> Method {
        match self.start_line {
            StartLine::Request { method, .. } => method,
            StartLine::Response { .. } => self.cseq().1,
        }
    }

    /// The method's text as it came, e.g. `INVITE` or an unknown one.
    pub fn method_text(&self) -> &[u8] {
        let span = match self.start_line {
            StartLine::Request { method_text, .. } => method_text,
            StartLine::Response { .. } => {
                self.essentials.cseq.map_or(Span::default(), |cseq| cseq.method_text)
            }
        };
        span.of_bytes(&self.bytes)
    }

    /// Empty for a response.
    pub fn request_uri(&self) -> &[u8] {
        match self.start_line {
            StartLine::Request { uri, .. } => uri.of_bytes(&self.bytes),
            StartLine::Response { .. } => b"",
        }
    }

    /// 0 for a request.
    pub fn status_code(&self) -> u16 {
        match self.start_line {
            StartLine::Request { .. } => 0,
            StartLine::Response { status_code, .. } => status_code,
        }
    }

    /// The reason phrase of a response; empty for a request.
    pub fn reason(&self) -> &[u8] {
        match self.start_line {
            StartLine::Request { .. } => b"",
            StartLine::Response { reason, .. } => reason.of_bytes(&self.bytes),
        }
    }

    /// All header fields in order of the message.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.index.entries().iter().map(|entry| entry.header(&self.bytes))
    }

    /// The value of the first field of that name (not for [`HeaderName::Other`]).
    pub fn first(&self, name: HeaderName) -> Option<&[u8]> {
        self.index.first(name).map(|entry| entry.value(&self.bytes))
    }

    /// The fields of that name in order.
    pub fn all(&self, name: HeaderName) -> impl Iterator<Item = Header<'_>> {
        self.index.all(name).map(|entry: Entry| entry.header(&self.bytes))
    }

    /// The value of the first field with that name, in any case, known or not.
    pub fn by_text(&self, name: &str) -> Option<&[u8]> {
        match HeaderName::from_text(name.as_bytes()) {
            HeaderName::Other => self
                .all(HeaderName::Other)
                .find(|header| header.name_text.eq_ignore_ascii_case(name.as_bytes()))
                .map(|header| header.value),
            known => self.first(known),
        }
    }

    /// As long as Content-Length says; without one, all that follows the head.
    pub fn body(&self) -> &[u8] {
        self.body.of_bytes(&self.bytes)
    }

    /// Empty only in a defective message.
    pub fn call_id(&self) -> &[u8] {
        self.essentials.call_id.of_bytes(&self.bytes)
    }

    /// Number and method of CSeq; (0, Other) only in a defective message.
    pub fn cseq(&self) -> (u32, Method) {
        self.essentials.cseq.map_or((0, Method::Other), |cseq| (cseq.number, cseq.method))
    }

    /// The tag of From; `None` for RFC 2543 peers.
    pub fn from_tag(&self) -> Option<&[u8]> {
        self.essentials.from_tag.map(|tag| tag.of_bytes(&self.bytes))
    }

    pub fn to_tag(&self) -> Option<&[u8]> {
        self.essentials.to_tag.map(|tag| tag.of_bytes(&self.bytes))
    }

    /// The topmost Via. Every message has one; where its sent-by cannot be read, transport and host are empty.
    pub fn top_via(&self) -> Option<Via<'_>> {
        self.essentials.via.map(|via| via.via(&self.bytes))
    }

    /// `None` where the header is missing.
    pub fn max_forwards(&self) -> Option<u8> {
        self.essentials.max_forwards
    }
}

/// Takes off empty lines before the start line (RFC 3261 §7.5).
fn without_keep_alive(bytes: Bytes) -> Result<Bytes, NotSip> {
    let start = skip_empty_lines(&bytes);
    let rest = &bytes[start..];
    if rest.is_empty() || rest.iter().all(|octet| matches!(octet, 0 | b'\r' | b'\n')) {
        return Err(NotSip::Empty);
    }
    if rest.len() > MAX_MESSAGE_OCTETS {
        return Err(NotSip::TooLarge);
    }
    Ok(if start == 0 { bytes } else { bytes.slice(start..) })
}

/// The first rule that the head as such breaks.
fn head_rule(head: &Head) -> Option<&'static str> {
    if head.has_bare_line_end {
        Some("Line Without CRLF")
    } else if head.has_stray_line {
        Some("Header Without Colon")
    } else if head.body.is_none() {
        Some("Headers Without End")
    } else {
        None
    }
}

fn read_body(
    bytes: &[u8],
    head: &Head,
    content_length: Option<usize>,
) -> (Span, Option<&'static str>) {
    let Some(start) = head.body else {
        return (Span::default(), None);
    };
    match content_length {
        None => (Span::new(start, bytes.len()), None),
        Some(length) if length <= bytes.len() - start => (Span::new(start, start + length), None),
        Some(_) => (Span::new(start, bytes.len()), Some("Content-Length Beyond Message")),
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
