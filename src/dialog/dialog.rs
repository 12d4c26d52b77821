//! One side's state of one dialog (RFC 3261 §12).

use std::net::{IpAddr, SocketAddr};

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::carrier::Transport;
use crate::sip::name_addr::split_list;
use crate::sip::octets;
use crate::sip::{HeaderName, Host, Message, Method, NameAddr, Printer, Replaces, Uri};
use crate::transaction::{Branch, Listener};

use super::Tag;

/// Hops that our own requests may still take (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: u8 = 70;
/// Entries of a route set that we keep.
const MAX_ROUTES: usize = 32;
/// The highest CSeq that leaves room for more (RFC 3261 §8.1.1.5: below 2^31).
const MAX_SEQ: u32 = (1 << 31) - (1 << 16);

/// A dialog as one of our legs sees it.
///
/// From and To of the first request are kept byte for byte: some peers compare them whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    #[serde(with = "octets")]
    pub call_id: Box<[u8]>,
    pub local_tag: Tag,
    /// Empty for a peer of RFC 2543.
    #[serde(with = "octets")]
    pub remote_tag: Box<[u8]>,
    /// Value of our From, our tag included.
    #[serde(with = "octets")]
    pub local: Box<[u8]>,
    /// Value of our To, the peer's tag included.
    #[serde(with = "octets")]
    pub remote: Box<[u8]>,
    /// CSeq of our last request.
    pub local_seq: u32,
    /// CSeq of the peer's last request; `None` before its first.
    pub remote_seq: Option<u32>,
    /// URI of the peer's Contact.
    #[serde(with = "octets")]
    pub remote_target: Box<[u8]>,
    /// URIs with their parameters, as they stand between the angle brackets, nearest hop first.
    #[serde(with = "octets::list")]
    pub route_set: Box<[Box<[u8]>]>,
    /// The peer is behind a NAT that it does not know of: its Contact leads nowhere.
    #[serde(default)]
    pub is_behind_nat: bool,
    /// Made by an INVITE to a `sips:` URI: our Contact is one too (RFC 3261 §12.1.1, RFC 5630 §5.1.1).
    #[serde(default)]
    pub is_secure: bool,
    /// How often the target has changed.
    #[serde(skip)]
    pub targets: u32,
}

/// What an INVITE of ours tells its dialog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnInvite<'a> {
    pub request_uri: &'a [u8],
    /// Value of From.
    pub from: &'a [u8],
    pub call_id: &'a [u8],
    pub seq: u32,
}

impl<'a> OwnInvite<'a> {
    /// Looks through what we printed ourselves, which is faster than reading it as a message of anybody's: one header a
    /// line, whole names, no folding, CSeq after From and Call-ID.
    pub fn of(printed: &'a [u8]) -> Self {
        let mut own = Self::default();
        let mut start = 0;
        for end in memmem::find_iter(printed, b"\r\n") {
            let line = &printed[start..end];
            if start == 0 {
                own.request_uri = line.split(|octet| *octet == b' ').nth(1).unwrap_or_default();
            } else if let Some(from) = line.strip_prefix(b"From: ") {
                own.from = from;
            } else if let Some(call_id) = line.strip_prefix(b"Call-ID: ") {
                own.call_id = call_id;
            } else if let Some(cseq) = line.strip_prefix(b"CSeq: ") {
                let digits = cseq.iter().take_while(|octet| octet.is_ascii_digit());
                own.seq = digits.fold(0, |seq, digit| 10 * seq + u32::from(digit - b'0'));
                break;
            }
            start = end + 2;
        }
        own
    }
}

/// The address that a URI says requests go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    pub address: SocketAddr,
    /// `None` where the URI leaves it open.
    pub transport: Option<Transport>,
}

/// A request whose CSeq is lower than one before it (RFC 3261 §12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CSeq {got} after {last}")]
pub struct SeqTooLow {
    pub got: u32,
    pub last: u32,
}

impl Dialog {
    /// The dialog that our 2xx or 18x to an INVITE makes (RFC 3261 §12.1.1).
    pub fn uas(invite: &Message, local_tag: Tag) -> Self {
        let to = invite.first(HeaderName::To).unwrap_or_default();
        let local = [to, b";tag=", local_tag.to_string().as_bytes()].concat();
        let remote = invite.first(HeaderName::From).unwrap_or_default();
        Self {
            call_id: invite.call_id().into(),
            local_tag,
            remote_tag: invite.from_tag().unwrap_or_default().into(),
            local: local.into(),
            remote: remote.into(),
            local_seq: 0,
            remote_seq: Some(invite.cseq().0),
            remote_target: contact_of(invite).unwrap_or_else(|| from_uri(invite)).into(),
            route_set: record_routes(invite).collect(),
            is_behind_nat: false,
            is_secure: has_sips_uri(invite),
            targets: 0,
        }
    }

    /// The dialog that a 2xx to our INVITE makes (RFC 3261 §12.1.2).
    ///
    /// A response without Contact, which breaks a MUST, leaves the INVITE's Request-URI as target.
    pub fn uac(invite: OwnInvite<'_>, local_tag: Tag, response: &Message) -> Self {
        let mut route_set: Vec<Box<[u8]>> = record_routes(response).collect();
        route_set.reverse();
        Self {
            call_id: invite.call_id.into(),
            local_tag,
            remote_tag: response.to_tag().unwrap_or_default().into(),
            local: invite.from.into(),
            remote: response.first(HeaderName::To).unwrap_or_default().into(),
            local_seq: invite.seq,
            remote_seq: None,
            remote_target: contact_of(response).unwrap_or(invite.request_uri).into(),
            route_set: route_set.into(),
            is_behind_nat: false,
            is_secure: is_sips(invite.request_uri),
            targets: 0,
        }
    }

    /// The dialog that another 2xx to the INVITE with CSeq `seq`, which made this one, makes: a fork's.
    pub fn sibling(&self, seq: u32, response: &Message) -> Self {
        let mut route_set: Vec<Box<[u8]>> = record_routes(response).collect();
        route_set.reverse();
        Self {
            remote_tag: response.to_tag().unwrap_or_default().into(),
            remote: response.first(HeaderName::To).unwrap_or_default().into(),
            local_seq: seq,
            remote_seq: None,
            remote_target: contact_of(response).unwrap_or(&self.remote_target).into(),
            route_set: route_set.into(),
            ..self.clone()
        }
    }

    /// Whether a request of the peer belongs to this dialog.
    pub fn matches(&self, request: &Message) -> bool {
        *request.call_id() == *self.call_id
            && *request.from_tag().unwrap_or_default() == *self.remote_tag
    }

    /// Whether a Replaces names this dialog (RFC 3891 §3).
    pub fn is_named_by(&self, replaces: &Replaces) -> bool {
        *replaces.call_id == *self.call_id
            && *replaces.to_tag == *self.local_tag.to_string().as_bytes()
            && *replaces.from_tag == *self.remote_tag
    }

    /// How the peer of this dialog is told to replace it.
    pub fn as_replaces(&self, is_early_only: bool) -> Replaces {
        Replaces {
            call_id: self.call_id.to_vec(),
            to_tag: self.remote_tag.to_vec(),
            from_tag: self.local_tag.to_string().into_bytes(),
            is_early_only,
        }
    }

    /// Takes the CSeq of a request of the peer; a gap is legal, going back is not.
    pub fn accept_seq(&mut self, seq: u32) -> Result<(), SeqTooLow> {
        match self.remote_seq {
            Some(last) if seq < last => Err(SeqTooLow { got: seq, last }),
            _ => {
                self.remote_seq = Some(seq);
                Ok(())
            }
        }
    }

    /// Takes the Contact of a target refresh (RFC 3261 §12.2.1.2, §12.2.2).
    pub fn refresh_target(&mut self, message: &Message) {
        if let Some(contact) = contact_of(message)
            && *contact != *self.remote_target
        {
            self.remote_target = contact.into();
            self.targets = self.targets.wrapping_add(1);
        }
    }

    /// Takes in where a request that gave a Contact came from. Who writes an address of its own into Via
    /// and Contact that is not the one it sends from sits behind a NAT: requests go back through that.
    pub fn note_source(&mut self, request: &Message, source: IpAddr) {
        let contact = contact_of(request).and_then(Uri::parse).map(|uri| uri.host_kind());
        let sent_by = request.top_via().map(|via| Host::of(via.host));
        self.is_behind_nat = match (contact, sent_by) {
            (Some(Host::Address(contact)), Some(Host::Address(sent_by))) => {
                contact == sent_by && contact != source
            }
            _ => false,
        };
    }

    /// Counts our CSeq up and begins a request: start line, Via, Route, Max-Forwards, From, To,
    /// Call-ID, CSeq.
    pub fn request(&mut self, method: &[u8], listener: &Listener, branch: Branch) -> Printer {
        self.local_seq += 1;
        self.print(method, self.local_seq, listener, branch)
    }

    /// Has our next request go beyond `seq`: the peer has seen higher ones than we know of. A gap is
    /// legal (RFC 3261 §12.2.2).
    pub fn jump_seq(&mut self, seq: u32) {
        self.local_seq = self.local_seq.max(seq.min(MAX_SEQ));
    }

    /// Begins the ACK for the 2xx to our INVITE with CSeq `seq` (RFC 3261 §13.2.2.4).
    pub fn ack(&self, seq: u32, listener: &Listener, branch: Branch) -> Printer {
        self.print(Method::Ack.as_str().as_bytes(), seq, listener, branch)
    }

    /// Where requests go: the first route, else the target, where that is an address. A host name,
    /// an address behind a NAT, and whatever else cannot be read, gives `None`.
    pub fn next_hop(&self) -> Option<NextHop> {
        if self.is_behind_nat && self.route_set.is_empty() {
            return None;
        }
        let uri = self.route_set.first().unwrap_or(&self.remote_target);
        let uri = Uri::parse(uri)?;
        match uri.host_kind() {
            Host::Address(address) if !is_unsendable(address) => {
                let transport = transport_of(&uri);
                let default = transport.unwrap_or(Transport::Udp).default_port();
                let address = SocketAddr::new(address, uri.port.unwrap_or(default));
                Some(NextHop { address, transport })
            }
            Host::Address(_) | Host::Name(_) => None,
        }
    }

    fn print(&self, method: &[u8], seq: u32, listener: &Listener, branch: Branch) -> Printer {
        // RFC 3261 §12.2.1.1: a strict router takes the Request-URI, and the target goes last.
        let strict = self.route_set.first().filter(|route| !is_loose(route));
        let request_uri = strict.unwrap_or(&self.remote_target);
        let mut printer = Printer::request(method, without_headers(request_uri));
        printer.header_fmt(
            HeaderName::Via,
            format_args!(
                "SIP/2.0/{} {};rport;branch={branch}",
                listener.via_transport(),
                listener.advertised
            ),
        );
        let routes = &self.route_set[usize::from(strict.is_some())..];
        for route in routes.iter().chain(strict.is_some().then_some(&self.remote_target)) {
            printer.raw(b"Route: <").raw(route).raw(b">\r\n");
        }
        printer
            .header_fmt(HeaderName::MaxForwards, format_args!("{MAX_FORWARDS}"))
            .header(HeaderName::From, &self.local)
            .header(HeaderName::To, &self.remote)
            .header(HeaderName::CallId, &self.call_id)
            .raw(b"CSeq: ")
            .raw(seq.to_string().as_bytes())
            .raw(b" ")
            .raw(method)
            .raw(b"\r\n");
        printer
    }
}

/// Whether a request is for a `sips:` URI.
pub fn has_sips_uri(request: &Message) -> bool {
    is_sips(request.request_uri())
}

fn is_sips(uri: &[u8]) -> bool {
    Uri::parse(uri).is_some_and(|uri| uri.is_sips())
}

/// RFC 3263 §4.1, RFC 5630 §3.1.4: `sips:` is TLS, whatever its parameter says.
fn transport_of(uri: &Uri<'_>) -> Option<Transport> {
    if uri.is_sips() {
        return Some(Transport::Tls);
    }
    let name = uri.param("transport")?.to_ascii_lowercase();
    Transport::from_text(std::str::from_utf8(&name).ok()?)
}

/// The URI of the first Contact.
fn contact_of(message: &Message) -> Option<&[u8]> {
    let contact = split_list(message.first(HeaderName::Contact)?).next()?;
    Some(NameAddr::parse(contact)?.uri).filter(|uri| !uri.is_empty())
}

fn from_uri(message: &Message) -> &[u8] {
    message
        .first(HeaderName::From)
        .and_then(NameAddr::parse)
        .map(|from| from.uri)
        .unwrap_or_default()
}

/// The URIs of all Record-Route values, topmost first.
fn record_routes(message: &Message) -> impl Iterator<Item = Box<[u8]>> + '_ {
    message
        .all(HeaderName::RecordRoute)
        .flat_map(|header| split_list(header.value))
        .filter_map(|value| NameAddr::parse(value).map(|route| route.uri.into()))
        .take(MAX_ROUTES)
}

/// RFC 3261 §19.1.1, table 1: a Request-URI has no headers, though a peer's Contact may come with some.
fn without_headers(uri: &[u8]) -> &[u8] {
    match Uri::parse(uri) {
        Some(read) if read.is_sip() => {
            let rest = &uri[..uri.len() - read.headers.len()];
            rest.strip_suffix(b"?").unwrap_or(rest)
        }
        Some(_) | None => uri,
    }
}

fn is_loose(route: &[u8]) -> bool {
    Uri::parse(route).is_some_and(|uri| uri.param("lr").is_some())
}

/// Addresses that nothing may be sent to on a peer's word.
fn is_unsendable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    }
}
