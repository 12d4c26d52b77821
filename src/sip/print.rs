//! Writes messages into one buffer, front to back.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr2;

use super::scan::{Field, fields, is_lws, line_end, skip_empty_lines, skip_lws, trim};
use super::status::reason_phrase;
use super::{Feedback, Header, HeaderName, Host, Message, NameAddr, Via, feedback, params, via};

/// Room for most messages without growing.
const START_OCTETS: usize = 1_024;
/// RFC 3261 §8.1.1.6
const MAX_FORWARDS: &[u8] = b"70";

/// Builds one message. The order of calls is the order on the wire.
///
/// Values given to `header`, `header_fmt` and `other` come out on one line, line ends in them as spaces: no value
/// can begin a header of its own.
#[derive(Debug)]
pub struct Printer {
    buffer: BytesMut,
}

impl Printer {
    /// `INVITE sip:… SIP/2.0`
    pub fn request(method: &[u8], uri: &[u8]) -> Self {
        let mut this = Self::empty();
        this.one_line(method);
        this.buffer.put_u8(b' ');
        this.one_line(uri);
        this.buffer.put_slice(b" SIP/2.0\r\n");
        this
    }

    /// `SIP/2.0 200 OK`; an empty reason takes the RFC's phrase for the code.
    pub fn response(status_code: u16, reason: &[u8]) -> Self {
        let mut this = Self::empty();
        this.buffer.put_slice(b"SIP/2.0 ");
        this.digits(u64::from(status_code));
        this.buffer.put_u8(b' ');
        if reason.is_empty() {
            this.buffer.put_slice(reason_phrase(status_code).as_bytes());
        } else {
            this.one_line(reason);
        }
        this.buffer.put_slice(b"\r\n");
        this
    }

    /// Begins the response to a request: status line, all Via values in order (the topmost one with
    /// `received` and, where asked for, `rport` of `source`: RFC 3261 §18.2.1, RFC 3581 §4), From,
    /// To (with `to_tag` added where it has none and one is given), Call-ID, CSeq. A defective
    /// request's headers are copied as far as they can be read.
    pub fn response_to(
        request: &Message,
        status_code: u16,
        reason: &[u8],
        to_tag: Option<&[u8]>,
        source: SocketAddr,
    ) -> Self {
        Self::response_telling(None, request, status_code, reason, to_tag, source)
    }

    /// As [`response_to`](Self::response_to), with how much we can take for a sender that wants to know (RFC 7339 §5.2).
    pub fn response_telling(
        feedback: Option<&Feedback>,
        request: &Message,
        status_code: u16,
        reason: &[u8],
        to_tag: Option<&[u8]>,
        source: SocketAddr,
    ) -> Self {
        let mut this = Self::response(status_code, reason);
        let is_sound = request.defect().is_none();
        for (at, header) in request.all(HeaderName::Via).enumerate() {
            match request.top_via() {
                Some(top) if at == 0 => {
                    let feedback = feedback.filter(|_| Feedback::is_wanted(&top));
                    this.top_via(&top, header.value, source, feedback);
                }
                Some(_) | None => this.field(header, is_sound),
            }
        }
        if let Some(from) = request.all(HeaderName::From).next() {
            this.field(from, is_sound);
        }
        if let Some(to) = request.all(HeaderName::To).next() {
            this.to(request, to, to_tag);
        }
        for name in [HeaderName::CallId, HeaderName::CSeq] {
            if let Some(header) = request.all(name).next() {
                this.field(header, is_sound);
            }
        }
        this
    }

    /// A request as a proxy sends it on (RFC 3261 §16.6): a Via of its own on top, what is known of the sender
    /// in the next one, one hop less to go. `None` where no hop is left.
    pub fn pass_on(request: &Message, via: &[u8], source: SocketAddr) -> Option<Bytes> {
        let hops = request.max_forwards().unwrap_or(70).checked_sub(1)?;
        let mut this = Self::request(request.method_text(), request.request_uri());
        this.header(HeaderName::Via, via);
        let mut is_first = true;
        for header in request.headers() {
            match (header.name, request.top_via()) {
                (HeaderName::Via, Some(top)) if std::mem::take(&mut is_first) => {
                    this.top_via(&top, header.value, source, None);
                }
                (HeaderName::MaxForwards | HeaderName::ContentLength, _) => {}
                _ => this.field(header, true),
            }
        }
        this.header_fmt(HeaderName::MaxForwards, format_args!("{hops}"));
        Some(this.finish(request.body()))
    }

    /// A response as a proxy sends it back (RFC 3261 §16.7): without the proxy's own Via, which stands alone in
    /// the first field.
    pub fn pass_back(response: &Message) -> Bytes {
        let mut this = Self::response(response.status_code(), response.reason());
        let mut is_first = true;
        for header in response.headers() {
            match header.name {
                HeaderName::Via if std::mem::take(&mut is_first) => {}
                HeaderName::ContentLength => {}
                _ => this.field(header, true),
            }
        }
        this.finish(response.body())
    }

    pub fn header(&mut self, name: HeaderName, value: &[u8]) -> &mut Self {
        debug_assert!(name != HeaderName::Other, "a header needs its name");
        self.other(name.as_str(), value)
    }

    /// `header` with formatting, e.g. `format_args!("{seq} BYE")`.
    pub fn header_fmt(&mut self, name: HeaderName, value: fmt::Arguments<'_>) -> &mut Self {
        self.name(name.as_str());
        OneLine(&mut self.buffer).write_fmt(value).expect("a buffer takes all");
        self.buffer.put_slice(b"\r\n");
        self
    }

    /// A header with a name we do not know.
    pub fn other(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.name(name);
        self.one_line(value);
        self.buffer.put_slice(b"\r\n");
        self
    }

    /// A received header field, byte for byte.
    pub fn copy(&mut self, header: Header<'_>) -> &mut Self {
        self.raw(header.line)
    }

    /// Raw octets, for callers that write a header in pieces.
    pub fn raw(&mut self, octets: &[u8]) -> &mut Self {
        self.buffer.put_slice(octets);
        self
    }

    /// Ends with `Content-Length` and the body; the caller has written Content-Type.
    pub fn finish(mut self, body: &[u8]) -> Bytes {
        self.name(HeaderName::ContentLength.as_str());
        self.digits(body.len() as u64);
        self.buffer.put_slice(b"\r\n\r\n");
        self.buffer.put_slice(body);
        self.buffer.freeze()
    }

    fn empty() -> Self {
        Self { buffer: BytesMut::with_capacity(START_OCTETS) }
    }

    fn name(&mut self, name: &str) {
        self.buffer.put_slice(name.as_bytes());
        self.buffer.put_slice(b": ");
    }

    fn one_line(&mut self, value: &[u8]) {
        put_one_line(&mut self.buffer, value);
    }

    fn digits(&mut self, number: u64) {
        let mut digits = [0; 20];
        let (mut at, mut rest) = (digits.len(), number);
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.buffer.put_slice(&digits[at..]);
    }

    /// A received field: as it came, or on one clean line where its message is defective.
    fn field(&mut self, header: Header<'_>, is_sound: bool) {
        if is_sound {
            self.copy(header);
        } else {
            self.header(header.name, header.value);
        }
    }

    /// The first Via field, with what we know of the sender added to its first value.
    fn top_via(
        &mut self,
        top: &Via<'_>,
        field: &[u8],
        source: SocketAddr,
        feedback: Option<&Feedback>,
    ) {
        self.name(HeaderName::Via.as_str());
        let address = source.ip().to_canonical();
        // RFC 3261 §18.2.1, RFC 3581 §4: with rport, received is added even where the host is the source.
        let has_received = top.has_rport || Host::of(top.host).address() != Some(address);
        let mut rest = top.value;
        let params_start = via::params_start(rest);
        self.one_line(trim(&rest[..params_start]));
        rest = &rest[params_start..];
        let mut at = 0;
        while let Some(param) = params::read(rest, at) {
            if param.name.eq_ignore_ascii_case(b"rport") {
                self.buffer.put_slice(b";rport=");
                self.digits(u64::from(source.port()));
            } else if !(has_received && param.name.eq_ignore_ascii_case(b"received")
                || feedback.is_some() && is_feedback(param.name))
            {
                self.one_line(&rest[param.start..param.end]);
            }
            at = skip_lws(rest, param.end);
        }
        if has_received {
            self.received(address);
        }
        if let Some(feedback) = feedback {
            write!(self.buffer, "{feedback}").expect("a buffer takes all");
        }
        // What follows the parameters: a comment, or what broke them.
        let tail = &rest[at.min(rest.len())..];
        if !tail.is_empty() {
            self.buffer.put_u8(b' ');
            self.one_line(tail);
        }
        self.one_line(&field[top.value.len().min(field.len())..]);
        self.buffer.put_slice(b"\r\n");
    }

    /// RFC 5118 §4.5: without brackets.
    fn received(&mut self, address: IpAddr) {
        write!(self.buffer, ";received={address}").expect("a buffer takes all");
    }

    fn to(&mut self, request: &Message, to: Header<'_>, to_tag: Option<&[u8]>) {
        let is_sound = request.defect().is_none();
        let missing = to_tag.filter(|_| request.to_tag().is_none() && takes_tag(to.value));
        let Some(tag) = missing else {
            return self.field(to, is_sound);
        };
        self.name(HeaderName::To.as_str());
        if is_sound {
            self.raw(to.value);
        } else {
            self.one_line(to.value);
        }
        self.raw(b";tag=").raw(tag).raw(b"\r\n");
    }
}

/// Whether a tag can be added at the end of a To value: it reads, and has none.
fn takes_tag(to: &[u8]) -> bool {
    NameAddr::parse(to).is_some_and(|to| to.param("tag").is_none())
}

fn put_one_line(buffer: &mut BytesMut, value: &[u8]) {
    let mut rest = value;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        buffer.put_slice(&rest[..at]);
        buffer.put_u8(b' ');
        rest = &rest[skip_lws(rest, at)..];
    }
    buffer.put_slice(rest);
}

struct OneLine<'a>(&'a mut BytesMut);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        put_one_line(self.0, text.as_bytes());
        Ok(())
    }
}

fn is_feedback(name: &[u8]) -> bool {
    feedback::PARAMS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// The ACK for a non-2xx final response (RFC 3261 §17.1.1.3): request URI, top Via, Route, From, Call-ID
/// and CSeq number of the INVITE `invite` (our own bytes), To of the response, Max-Forwards.
pub fn ack_for_rejection(invite: &Bytes, response: &Message) -> Bytes {
    let to = response.first(HeaderName::To);
    within_transaction(invite, b"ACK", to).finish(b"")
}

/// The CANCEL for an INVITE that we sent (RFC 3261 §9.1): same request URI, top Via with its branch, Route, From,
/// To, Call-ID, CSeq number; `reason`, if any, becomes a Reason header.
pub fn cancel_for(invite: &Bytes, reason: Option<&[u8]>) -> Bytes {
    let mut printer = within_transaction(invite, b"CANCEL", None);
    if let Some(reason) = reason {
        printer.header(HeaderName::Reason, reason);
    }
    printer.finish(b"")
}

/// A request of our own again with other credentials: `credentials` in place of those it had, before the headers of its
/// body. `sent_again`: the branch and the CSeq number of a new transaction (RFC 3261 §8.1.3.5); without, they stay.
pub fn with_credentials(
    request: &Message,
    sent_again: Option<(&str, u32)>,
    credentials: &[(HeaderName, Vec<u8>)],
) -> Bytes {
    let mut printer = Printer::request(request.method_text(), request.request_uri());
    for header in request.headers() {
        match (header.name, sent_again) {
            (HeaderName::Authorization | HeaderName::ProxyAuthorization, _) => {}
            (HeaderName::ContentLength, _) => {}
            (HeaderName::Via, Some((branch, _))) => {
                printer.name(HeaderName::Via.as_str());
                printer.raw(before_branch(header.value)).raw(branch.as_bytes()).raw(b"\r\n");
            }
            (HeaderName::CSeq, Some((_, seq))) => {
                printer.name(HeaderName::CSeq.as_str());
                printer.digits(u64::from(seq));
                printer.raw(b" ").raw(request.method_text()).raw(b"\r\n");
            }
            _ => {
                printer.copy(header);
            }
        }
    }
    for (name, value) in credentials {
        printer.header(*name, value);
    }
    printer.finish(request.body())
}

/// A Via of ours up to its branch, which we write last.
fn before_branch(via: &[u8]) -> &[u8] {
    const BRANCH: &[u8] = b";branch=";
    let at = via.windows(BRANCH.len()).rposition(|part| part == BRANCH);
    at.map_or(via, |at| &via[..at + BRANCH.len()])
}

/// A request that belongs to the transaction of our own `invite`; its To unless another is given.
fn within_transaction(invite: &[u8], method: &[u8], to: Option<&[u8]>) -> Printer {
    let start = skip_empty_lines(invite);
    let Some(end) = line_end(invite, start) else {
        return Printer::request(method, b"");
    };
    let line = &invite[start..end.text_end];
    let uri = line.split(|&octet| octet == b' ').nth(1).unwrap_or(b"");
    let mut printer = Printer::request(method, uri);
    let value = |field: Field| &invite[field.value_start..field.value_end];
    let first = |name| fields(invite, end.next).find(|&field| field.name == name).map(value);

    if let Some(via) = first(HeaderName::Via) {
        printer.header(HeaderName::Via, &via[..via::first_end(via)]);
    }
    printer.header(HeaderName::MaxForwards, MAX_FORWARDS);
    for route in fields(invite, end.next).filter(|&field| field.name == HeaderName::Route) {
        printer.header(HeaderName::Route, value(route));
    }
    for (name, value) in [
        (HeaderName::From, first(HeaderName::From)),
        (HeaderName::To, to.or(first(HeaderName::To))),
        (HeaderName::CallId, first(HeaderName::CallId)),
    ] {
        if let Some(value) = value {
            printer.header(name, value);
        }
    }
    let cseq = first(HeaderName::CSeq).unwrap_or(b"");
    let number = &cseq[..cseq.iter().position(|&octet| is_lws(octet)).unwrap_or(cseq.len())];
    printer.name(HeaderName::CSeq.as_str());
    printer.raw(number).raw(b" ").raw(method).raw(b"\r\n");
    printer
}

#[cfg(test)]
#[path = "print_tests.rs"]
mod tests;
