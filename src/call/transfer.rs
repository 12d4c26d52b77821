//! REFER within a call (RFC 3515): what it asks for, and whether the customer's policy has us do it, or let it pass. Where
//! it passes, its target is mapped, and so are the numbers and words of the NOTIFYs that tell what came of it.

use super::context::{CallKey, Context};
use super::leg::Leg;
use super::options::Options;
use super::{Carried, Side, header_policy};
use crate::carrier::ReferPolicy;
use crate::sip::name_addr::split_list;
use crate::sip::replaces::Malformed;
use crate::sip::{HeaderName, Message, Method, NameAddr, Printer, Replaces, Uri};
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

/// A dialog that a Refer-To names by Replaces: one of another call of the same customer, in this shard.
#[derive(Clone, Debug)]
pub struct Named {
    pub call: CallKey,
    pub side: Side,
    /// URI of the peer on the other side of that call.
    pub target: Box<[u8]>,
    /// How that peer is told of its own dialog.
    pub replaces: Replaces,
}

/// A call wants the leg on one side of another call: the one who stays has made it an offer.
#[derive(Clone, Copy, Debug)]
pub struct Fetch {
    pub by: CallKey,
    pub from: CallKey,
    pub side: Side,
}

impl Leg {
    /// Refuses a REFER that the policy, or the RFC, does not let pass; `false` where it may.
    pub(super) fn refuses_refer(
        &self,
        cx: &mut Context,
        server: ServerKey,
        request: &Message,
    ) -> bool {
        let refusal = match (self.refer, refer_target(request)) {
            (ReferPolicy::Refuse, _) => Some((405, &b""[..])),
            // RFC 3515 §2.4.2: one Refer-To.
            (_, None) => Some((400, &b"Bad Refer-To"[..])),
            (_, Some(target)) => match replaces_of(&target) {
                Some(Err(_)) => Some((400, &b"Bad Replaces"[..])),
                Some(Ok(_)) if cx.named.is_none() => {
                    Some((403, &b"Replaces Names No Call Here"[..]))
                }
                Some(Ok(_)) => None,
                None if self.refer == ReferPolicy::Local => refusal_of(&target),
                None => None,
            },
        };
        if let Some((status_code, reason)) = refusal {
            cx.reject(server, status_code, reason);
        }
        refusal.is_some()
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
/// is, for the other side, one on that side; a dialog of ours that it names is the one beyond us.
pub(super) fn write_refer(
    remote: &[u8],
    named: Option<&Named>,
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
    let named = named.map(|named| {
        let target = without_headers(&named.target);
        [target, b"?", &named.replaces.to_uri_header()].concat()
    });
    let uri = named.as_deref().or(moved.as_deref()).unwrap_or(target.uri);
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
pub(super) fn refer_target(request: &Message) -> Option<NameAddr<'_>> {
    let mut values = request.all(HeaderName::ReferTo).flat_map(|header| split_list(header.value));
    let only = values.next().filter(|_| values.next().is_none())?;
    NameAddr::parse(only).filter(|target| !target.uri.is_empty())
}

/// The dialog that the Refer-To of a REFER names.
pub fn named_by(request: &Message) -> Option<Replaces> {
    replaces_of(&refer_target(request)?)?.ok()
}

pub(super) fn replaces_of(target: &NameAddr<'_>) -> Option<Result<Replaces, Malformed>> {
    Replaces::in_headers(Uri::parse(target.uri)?.headers)
}

/// Why we do not call a target ourselves.
fn refusal_of(target: &NameAddr<'_>) -> Option<(u16, &'static [u8])> {
    let uri = Uri::parse(target.uri);
    let is_known = |uri: &Uri<'_>| uri.is_sip() || uri.scheme.eq_ignore_ascii_case(b"tel");
    let Some(uri) = uri.filter(is_known) else { return Some((416, b"")) };
    let is_call = uri.param("method").is_none_or(|method| method.eq_ignore_ascii_case(b"INVITE"));
    match (is_call, uri.user.is_some_and(|user| !user.is_empty())) {
        (false, _) => Some((403, b"Refer-To Asks For No Call")),
        (true, false) => Some((484, b"")),
        (true, true) => None,
    }
}

/// An INVITE to `target`, on behalf of `from` (a display name and a URI), that offers `description`: what the target of
/// a transfer is called with. Only its parts are looked at; it is never sent.
pub(super) fn invite_to(
    target: &NameAddr<'_>,
    from: &[u8],
    call_id: &[u8],
    description: &[u8],
) -> Option<Message> {
    let uri = without_method(without_headers(target.uri));
    let mut printer = Printer::request(Method::Invite.as_str().as_bytes(), &uri);
    printer
        .header(HeaderName::Via, b"SIP/2.0/UDP localhost;branch=z9hG4bKtransfer")
        .header(HeaderName::From, &[from, b";tag=transfer"].concat())
        .raw(b"To: <")
        .raw(&uri)
        .raw(b">\r\n")
        .header(HeaderName::CallId, call_id)
        .header(HeaderName::CSeq, b"1 INVITE")
        .header(HeaderName::ContentType, b"application/sdp");
    Message::parse(printer.finish(description)).ok()
}

/// A URI without its headers.
fn without_headers(uri: &[u8]) -> &[u8] {
    let headers = Uri::parse(uri).map(|uri| uri.headers.len()).unwrap_or_default();
    let rest = &uri[..uri.len() - headers];
    rest.strip_suffix(b"?").unwrap_or(rest)
}

/// A URI without `;method=INVITE`, which a Request-URI may not have (RFC 3261 §19.1.1).
fn without_method(uri: &[u8]) -> Vec<u8> {
    const METHOD: &[u8] = b";method=invite";
    let is_it = |window: &[u8]| window.eq_ignore_ascii_case(METHOD);
    match uri.windows(METHOD.len()).position(is_it) {
        Some(at) => [&uri[..at], &uri[at + METHOD.len()..]].concat(),
        None => uri.to_vec(),
    }
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
