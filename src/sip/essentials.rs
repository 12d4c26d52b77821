//! What transactions and dialogs ask of every message, read once; and the rules a message may break.

use super::index::Index;
use super::name_addr::split_all;
use super::scan::{Span, is_lws, is_token, number, skip_lws, token_end, trim};
use super::{Defect, HeaderName, Method, NameAddr, Via};
use super::{params, via};

/// Spans of what the accessors of a message give without further reading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Essentials {
    pub(super) via: Option<ViaSpans>,
    pub(super) call_id: Span,
    pub(super) cseq: Option<CSeq>,
    pub(super) from_tag: Option<Span>,
    pub(super) to_tag: Option<Span>,
    pub(super) max_forwards: Option<u8>,
    pub(super) content_length: Option<usize>,
}

/// The topmost Via.
#[derive(Clone, Copy, Debug)]
pub(super) struct ViaSpans {
    value: Span,
    transport: Span,
    host: Span,
    branch: Option<Span>,
    port: Option<u16>,
    has_rport: bool,
}

impl ViaSpans {
    fn of(bytes: &[u8], via: &Via<'_>) -> Self {
        Self {
            value: Span::of(bytes, via.value),
            transport: Span::of(bytes, via.transport),
            host: Span::of(bytes, via.host),
            branch: via.branch.map(|branch| Span::of(bytes, branch)),
            port: via.port,
            has_rport: via.has_rport,
        }
    }

    pub(super) fn via(self, bytes: &[u8]) -> Via<'_> {
        Via {
            transport: self.transport.of_bytes(bytes),
            host: self.host.of_bytes(bytes),
            port: self.port,
            branch: self.branch.map(|branch| branch.of_bytes(bytes)),
            has_rport: self.has_rport,
            value: self.value.of_bytes(bytes),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct CSeq {
    pub(super) number: u32,
    pub(super) method: Method,
    pub(super) method_text: Span,
}

/// RFC 3261 §8.1.1.5: less than 2^31.
const MAX_CSEQ: u64 = (1 << 31) - 1;
/// RFC 3261 §20.22
const MAX_MAX_FORWARDS: u64 = 255;
/// RFC 3261 §8.1.1.7
const BRANCH_COOKIE: &[u8] = b"z9hG4bK";

/// Fields that carry one value and stand once (RFC 3261 §7.3.1), where we act on them.
const SINGLE: [(HeaderName, &str); 7] = [
    (HeaderName::CSeq, "Repeated CSeq"),
    (HeaderName::CallId, "Repeated Call-ID"),
    (HeaderName::From, "Repeated From"),
    (HeaderName::To, "Repeated To"),
    (HeaderName::MaxForwards, "Repeated Max-Forwards"),
    (HeaderName::ContentLength, "Repeated Content-Length"),
    (HeaderName::ContentType, "Repeated Content-Type"),
];

/// Reads a head's essentials and notes the first rule it breaks.
struct Reader<'a> {
    bytes: &'a [u8],
    index: &'a Index,
    broken: Option<&'static str>,
}

impl Essentials {
    /// Reads as far as it can; the second part names the first rule broken.
    pub(super) fn read(bytes: &[u8], index: &Index) -> (Self, Option<&'static str>) {
        let mut reader = Reader { bytes, index, broken: None };
        for (name, reason) in SINGLE {
            if index.is_repeated(name) {
                reader.note(reason);
            }
        }
        let essentials = Self {
            via: reader.via(),
            call_id: reader.call_id(),
            cseq: reader.cseq(),
            from_tag: reader.tag(HeaderName::From, "Missing From", "Bad From"),
            to_tag: reader.tag(HeaderName::To, "Missing To", "Bad To"),
            max_forwards: reader.max_forwards(),
            content_length: reader.content_length(),
        };
        (essentials, reader.broken)
    }
}

impl<'a> Reader<'a> {
    fn note(&mut self, reason: &'static str) {
        self.broken.get_or_insert(reason);
    }

    fn first(&self, name: HeaderName) -> Option<&'a [u8]> {
        self.index.first(name).map(|entry| entry.value(self.bytes))
    }

    /// The topmost Via; the others are checked too, for they go back with every response.
    fn via(&mut self) -> Option<ViaSpans> {
        let mut top = None;
        let index = self.index;
        for entry in index.all(HeaderName::Via) {
            let field = entry.value(self.bytes);
            for via in Via::parse_list(field) {
                if via.is_none() {
                    self.note("Bad Via");
                }
                if top.is_none() {
                    let via = via.unwrap_or_else(|| Via::salvage(field));
                    self.check_branch(&via);
                    top = Some(ViaSpans::of(self.bytes, &via));
                }
            }
        }
        if top.is_none() {
            self.note("Missing Via");
        }
        top
    }

    fn check_branch(&mut self, via: &Via<'_>) {
        // A cookie alone identifies nothing; no branch at all is RFC 2543's way.
        if via
            .branch
            .is_some_and(|branch| branch.is_empty() || branch.eq_ignore_ascii_case(BRANCH_COOKIE))
        {
            self.note("Bad Via Branch");
        }
    }

    fn call_id(&mut self) -> Span {
        match self.first(HeaderName::CallId) {
            None => self.note("Missing Call-ID"),
            Some(value) if value.is_empty() || value.iter().any(|&octet| is_lws(octet)) => {
                self.note("Bad Call-ID");
            }
            Some(value) => return Span::of(self.bytes, value),
        }
        Span::default()
    }

    fn cseq(&mut self) -> Option<CSeq> {
        let Some(value) = self.first(HeaderName::CSeq) else {
            self.note("Missing CSeq");
            return None;
        };
        let cseq = read_cseq(self.bytes, value);
        if cseq.is_none() {
            self.note("Bad CSeq");
        }
        cseq
    }

    fn tag(&mut self, name: HeaderName, missing: &'static str, bad: &'static str) -> Option<Span> {
        let Some(value) = self.first(name) else {
            self.note(missing);
            return None;
        };
        let Some(party) = NameAddr::parse(value) else {
            self.note(bad);
            return None;
        };
        let tag = params::find(party.params, "tag")?;
        if tag.is_quoted || !is_token(tag.value) {
            self.note(bad);
            return None;
        }
        Some(Span::of(self.bytes, tag.value))
    }

    fn max_forwards(&mut self) -> Option<u8> {
        let value = self.first(HeaderName::MaxForwards)?;
        let number = number(value, MAX_MAX_FORWARDS).and_then(|number| u8::try_from(number).ok());
        if number.is_none() {
            self.note("Bad Max-Forwards");
        }
        number
    }

    fn content_length(&mut self) -> Option<usize> {
        let value = self.first(HeaderName::ContentLength)?;
        let number = content_length(value);
        if number.is_none() {
            self.note("Bad Content-Length");
        }
        number
    }
}

/// `1*DIGIT`; what is larger than any message reads as `usize::MAX`.
pub(super) fn content_length(value: &[u8]) -> Option<usize> {
    let value = trim(value);
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = number(value, u64::from(u32::MAX)).and_then(|number| usize::try_from(number).ok());
    Some(number.unwrap_or(usize::MAX))
}

/// RFC 3261 §20.16: `1*DIGIT LWS Method`
fn read_cseq(bytes: &[u8], value: &[u8]) -> Option<CSeq> {
    let digits_end = token_end(value, 0);
    let method_start = skip_lws(value, digits_end);
    let method_end = token_end(value, method_start);
    let method = &value[method_start..method_end];
    if method_end < value.len() || method.is_empty() {
        return None;
    }
    Some(CSeq {
        number: u32::try_from(number(&value[..digits_end], MAX_CSEQ)?).ok()?,
        method: Method::from_text(method),
        method_text: Span::of(bytes, method),
    })
}

/// Rules for requests that an essential does not cover.
pub(super) fn request_defect(
    bytes: &[u8],
    index: &Index,
    method: (Method, &[u8]),
    cseq: Option<CSeq>,
) -> Option<Defect> {
    for (name, reason) in [
        (HeaderName::Contact, "Bad Contact"),
        (HeaderName::RecordRoute, "Bad Record-Route"),
        (HeaderName::Route, "Bad Route"),
    ] {
        for entry in index.all(name) {
            let value = entry.value(bytes);
            let is_star =
                name == HeaderName::Contact && method.0 == Method::Register && value == b"*";
            if !is_star && !split_all(value).all(|part| NameAddr::parse(part).is_some()) {
                return Some(Defect::bad_request(reason));
            }
        }
    }
    // RFC 3261 §8.1.1.5: the methods MUST match.
    if cseq.is_some_and(|cseq| cseq.method_text.of_bytes(bytes) != method.1) {
        return Some(match method.0 {
            // RFC 4475 §3.1.2.18: that we do not know the method weighs more.
            Method::Other => Defect { status_code: 501, reason: "Not Implemented" },
            Method::Invite
            | Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Options
            | Method::Info
            | Method::Message
            | Method::Update
            | Method::Prack
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Register
            | Method::Publish => Defect::bad_request("CSeq Method Mismatch"),
        });
    }
    None
}

/// Whether a request has a Via that an answer can follow, however broken.
pub(super) fn has_some_via(bytes: &[u8], index: &Index) -> bool {
    index.first(HeaderName::Via).is_some_and(|entry| via::first_end(entry.value(bytes)) > 0)
}
