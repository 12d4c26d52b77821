//! Writes messages into one buffer, front to back.

use std::fmt;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::{Header, HeaderName, Message};

/// Builds one message. The order of calls is the order on the wire.
#[derive(Debug)]
pub struct Printer {
    buffer: BytesMut,
}

impl Printer {
    /// `INVITE sip:… SIP/2.0`
    pub fn request(method: &[u8], uri: &[u8]) -> Self {
        let _ = (method, uri);
        todo!()
    }

    /// `SIP/2.0 200 OK`; an empty reason takes the RFC's phrase for the code.
    pub fn response(status_code: u16, reason: &[u8]) -> Self {
        let _ = (status_code, reason);
        todo!()
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
        let _ = (request, status_code, reason, to_tag, source);
        todo!()
    }

    pub fn header(&mut self, name: HeaderName, value: &[u8]) -> &mut Self {
        let _ = (name, value);
        todo!()
    }

    /// `header` with formatting, e.g. `format_args!("{seq} BYE")`.
    pub fn header_fmt(&mut self, name: HeaderName, value: fmt::Arguments<'_>) -> &mut Self {
        let _ = (name, value);
        todo!()
    }

    /// A header with a name we do not know.
    pub fn other(&mut self, name: &str, value: &[u8]) -> &mut Self {
        let _ = (name, value);
        todo!()
    }

    /// A received header field, byte for byte.
    pub fn copy(&mut self, header: Header<'_>) -> &mut Self {
        let _ = header;
        todo!()
    }

    /// Raw octets, for callers that write a header in pieces.
    pub fn raw(&mut self, octets: &[u8]) -> &mut Self {
        let _ = octets;
        todo!()
    }

    /// Ends with `Content-Length` and the body; the caller has written Content-Type.
    pub fn finish(self, body: &[u8]) -> Bytes {
        let _ = body;
        todo!()
    }
}

/// The ACK for a non-2xx final response (RFC 3261 §17.1.1.3): request URI, top Via, Route, From, Call-ID
/// and CSeq number of the INVITE `invite` (our own bytes), To of the response, Max-Forwards.
pub fn ack_for_rejection(invite: &Bytes, response: &Message) -> Bytes {
    let _ = (invite, response);
    todo!()
}

/// The CANCEL for an INVITE that we sent (RFC 3261 §9.1): same request URI, top Via with its branch, Route, From,
/// To, Call-ID, CSeq number; `reason`, if any, becomes a Reason header.
pub fn cancel_for(invite: &Bytes, reason: Option<&[u8]>) -> Bytes {
    let _ = (invite, reason);
    todo!()
}
