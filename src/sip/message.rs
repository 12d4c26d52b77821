//! A received message, indexed in one pass and kept byte for byte.

use bytes::Bytes;

use super::{HeaderName, Method, Via};

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
}

/// What is wrong with a request that can still be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect {
    /// 400, 505, …
    pub status_code: u16,
    /// The reason phrase of the answer: names the header and what is wrong.
    pub reason: &'static str,
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
    /// The name as written, compact or not.
    pub name_text: &'a [u8],
    /// The value without surrounding white space; folds are kept as they came.
    pub value: &'a [u8],
    /// The whole field, folds and the final CRLF included.
    pub line: &'a [u8],
}

impl Message {
    /// Reads one datagram, or one framed message of a stream.
    ///
    /// Octets after Content-Length are ignored (RFC 3261 §18.3); too few are a 400.
    pub fn parse(bytes: Bytes) -> Result<Self, NotSip> {
        let _ = bytes;
        todo!()
    }

    pub fn defect(&self) -> Option<Defect> {
        todo!()
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn is_request(&self) -> bool {
        todo!()
    }

    /// The method of a request; of a response the method in CSeq.
    pub fn method(&self) -> Method {
        todo!()
    }

    /// The method's text as it came, e.g. `INVITE` or an unknown one.
    pub fn method_text(&self) -> &[u8] {
        todo!()
    }

    /// Empty for a response.
    pub fn request_uri(&self) -> &[u8] {
        todo!()
    }

    /// 0 for a request.
    pub fn status_code(&self) -> u16 {
        todo!()
    }

    /// The reason phrase of a response; empty for a request.
    pub fn reason(&self) -> &[u8] {
        todo!()
    }

    /// All header fields in order of the message.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        std::iter::empty()
    }

    /// The value of the first field of that name (not for [`HeaderName::Other`]).
    pub fn first(&self, name: HeaderName) -> Option<&[u8]> {
        let _ = name;
        todo!()
    }

    /// The fields of that name in order.
    pub fn all(&self, name: HeaderName) -> impl Iterator<Item = Header<'_>> {
        let _ = name;
        std::iter::empty()
    }

    /// The value of the first field with that name, in any case, known or not.
    pub fn by_text(&self, name: &str) -> Option<&[u8]> {
        let _ = name;
        todo!()
    }

    /// As long as Content-Length says.
    pub fn body(&self) -> &[u8] {
        todo!()
    }

    /// Empty only in a defective message.
    pub fn call_id(&self) -> &[u8] {
        todo!()
    }

    /// Number and method of CSeq; (0, Other) only in a defective message.
    pub fn cseq(&self) -> (u32, Method) {
        todo!()
    }

    /// The tag of From; `None` for RFC 2543 peers.
    pub fn from_tag(&self) -> Option<&[u8]> {
        todo!()
    }

    pub fn to_tag(&self) -> Option<&[u8]> {
        todo!()
    }

    /// The topmost Via. Every message without a defect has one.
    pub fn top_via(&self) -> Option<Via<'_>> {
        todo!()
    }

    /// `None` where the header is missing.
    pub fn max_forwards(&self) -> Option<u8> {
        todo!()
    }
}
