//! REFER within a call (RFC 3515), where the customer's policy lets it pass: its target is mapped, and so are the
//! numbers and words of the NOTIFYs that tell what came of it.

use super::context::Context;
use super::leg::Leg;
use super::options::Options;
use super::{Carried, header_policy};
use crate::carrier::ReferPolicy;
use crate::sip::name_addr::split_list;
use crate::sip::{HeaderName, Message, Method, NameAddr, Printer, Uri};
use crate::transaction::{Listener, ServerKey};

/// REFERs of one leg that NOTIFYs may come for.
const MAX_REFERS: usize = 4;

/// A REFER that was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Referred {
    /// CSeq of the peer's REFER, which is its subscription's id (RFC 3515 §2.4.6).
    pub theirs: u32,
    /// CSeq of ours on the other leg.
    pub ours: u32,
}

impl Leg {
    /// Refuses a REFER that the policy, or the RFC, does not let pass; `false` where it may.
    pub(super) fn refuses_refer(
        &self,
        cx: &mut Context,
        server: ServerKey,
        request: &Message,
    ) -> bool {
        let (status_code, reason): (u16, &[u8]) = match (self.refer, refer_target(request)) {
            (ReferPolicy::Refuse, _) => (405, b""),
            // RFC 3515 §2.4.2: one Refer-To.
            (ReferPolicy::Relay, None) => (400, b"Bad Refer-To"),
            // It names a dialog of this side, which the other side has never heard of.
            (ReferPolicy::Relay, Some(target)) if has_replaces(&target) => {
                (403, b"Replaces Is Not Passed On")
            }
            (ReferPolicy::Relay, Some(_)) => return false,
        };
        cx.reject(server, status_code, reason);
        true
    }

    /// Remembers, once `carried` is sent on to `other`, which REFER of the peer became which of ours.
    pub(super) fn note_relayed(&mut self, carried: Carried<'_>, other: &Leg) {
        if carried.0.method() != Method::Refer {
            return;
        }
        if self.referred.len() == MAX_REFERS {
            self.referred.remove(0);
        }
        let (theirs, ours) = (carried.0.cseq().0, other.dialog.local_seq);
        self.referred.push(Referred { theirs, ours });
    }

    /// The Event of a NOTIFY to the peer with the id of its own REFER; `None` where there is none to be mapped.
    pub(super) fn mapped_event(&self, request: &Message) -> Option<Vec<u8>> {
        let event = request.first(HeaderName::Event).filter(|_| !self.referred.is_empty())?;
        let (package, id) = std::str::from_utf8(event).ok()?.split_once(";id=")?;
        let digits = id.bytes().take_while(u8::is_ascii_digit).count();
        let ours: u32 = id[..digits].parse().ok()?;
        let referred = self.referred.iter().find(|referred| referred.ours == ours)?;
        let is_refer = package.trim_end().eq_ignore_ascii_case("refer");
        let mapped = format!("{package};id={}{}", referred.theirs, &id[digits..]);
        is_refer.then(|| mapped.into_bytes())
    }
}

/// Writes what a REFER to `remote` (our From or To of its dialog) is about. A target on one of our own addresses
/// is, for the other side, one on that side.
pub(super) fn write_refer(
    remote: &[u8],
    listeners: &[Listener],
    request: &Message,
    printer: &mut Printer,
) {
    let Some(target) = refer_target(request) else { return };
    let is_own = |own: &str| is_on(target.uri, own);
    let moved = listeners
        .iter()
        .any(|listener| is_own(&listener.advertised))
        .then(|| moved(target.uri, host_and_port(remote)?))
        .flatten();
    printer.raw(b"Refer-To: ");
    if !target.display_name.is_empty() {
        printer.raw(target.display_name).raw(b" ");
    }
    let uri = moved.as_deref().unwrap_or(target.uri);
    printer.raw(b"<").raw(uri).raw(b">").raw(target.params).raw(b"\r\n");
    // RFC 4488: whoever wants no subscription says so to whom it concerns.
    let options = Options::of(request, HeaderName::Require).within(Options::NOREFERSUB);
    options.write(HeaderName::Require, printer);
}

/// What of the body of a request within the dialog may cross: of a piece of a message (RFC 3420) its start line
/// alone, for the rest names hosts of the other side.
pub(super) fn body_within_dialog<'a>(carried: Carried<'a>) -> &'a [u8] {
    let body = header_policy::body(carried);
    let content_type = carried.0.first(HeaderName::ContentType).unwrap_or_default();
    let media_type = content_type.split(|octet| *octet == b';').next().unwrap_or_default();
    if !media_type.trim_ascii().eq_ignore_ascii_case(b"message/sipfrag") {
        return body;
    }
    match body.iter().position(|octet| *octet == b'\n') {
        Some(end) => &body[..=end],
        None => body,
    }
}

/// The one Refer-To of a REFER.
fn refer_target(request: &Message) -> Option<NameAddr<'_>> {
    let mut values = request.all(HeaderName::ReferTo).flat_map(|header| split_list(header.value));
    let only = values.next().filter(|_| values.next().is_none())?;
    NameAddr::parse(only).filter(|target| !target.uri.is_empty())
}

fn has_replaces(target: &NameAddr<'_>) -> bool {
    let headers = Uri::parse(target.uri).map(|uri| uri.headers).unwrap_or_default();
    headers.split(|octet| *octet == b'&').any(|header| {
        let name = header.split(|octet| *octet == b'=').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"replaces")
    })
}

/// Whether a URI names one of our addresses, `host:port`; without a port by its host.
fn is_on(uri: &[u8], own: &str) -> bool {
    let Some(parsed) = Uri::parse(uri).filter(Uri::is_sip) else { return false };
    let named = match parsed.port {
        Some(_) => host_range(uri).map(|range| &uri[range]).unwrap_or_default(),
        None => parsed.host,
    };
    let own = if parsed.port.is_some() { own } else { own_host(own) };
    named.eq_ignore_ascii_case(own.as_bytes())
}

/// The URI with another host, and its port, in the place of its own.
fn moved(uri: &[u8], host: &[u8]) -> Option<Vec<u8>> {
    let range = host_range(uri)?;
    Some([&uri[..range.start], host, &uri[range.end..]].concat())
}

/// `host[:port]` of the URI in a From or To.
fn host_and_port(value: &[u8]) -> Option<&[u8]> {
    let uri = NameAddr::parse(value)?.uri;
    host_range(uri).map(|range| &uri[range])
}

/// Where `host[:port]` stands in a SIP URI.
fn host_range(uri: &[u8]) -> Option<std::ops::Range<usize>> {
    Uri::parse(uri).filter(Uri::is_sip)?;
    let before = |mark: u8| uri.iter().position(|octet| *octet == mark);
    let start = before(b'@').or_else(|| before(b':'))? + 1;
    let end = uri[start..].iter().position(|octet| matches!(octet, b';' | b'?'));
    Some(start..end.map_or(uri.len(), |end| start + end))
}

/// The host of `host:port`.
fn own_host(own: &str) -> &str {
    match own.rfind(':') {
        Some(colon) if !own[colon..].contains(']') => &own[..colon],
        _ => own,
    }
}
