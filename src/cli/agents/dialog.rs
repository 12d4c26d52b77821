//! One end's side of a dialog (RFC 3261 §12).

use std::net::SocketAddr;

use super::Sent;
use crate::sip::{HeaderName, Host, Message, NameAddr, Printer, Uri};

#[derive(Debug)]
pub(super) struct Dialog {
    own: SocketAddr,
    /// What the branches of its requests begin with: nobody else's do.
    branch: String,
    pub(super) call_id: Vec<u8>,
    /// From and To of our requests, tags included.
    local: Vec<u8>,
    remote: Vec<u8>,
    /// The remote target, and the address that it is at.
    target: Vec<u8>,
    pub(super) target_address: SocketAddr,
    local_seq: u32,
    remote_seq: Option<u32>,
}

impl Dialog {
    /// The caller's, made by a 2xx.
    pub(super) fn of_caller(ok: &Message, own: SocketAddr, from: SocketAddr, branch: &str) -> Self {
        let text = |name| ok.first(name).unwrap_or_default().to_vec();
        let mut this = Self {
            own,
            branch: branch.to_owned(),
            call_id: ok.call_id().to_vec(),
            local: text(HeaderName::From),
            remote: text(HeaderName::To),
            target: Vec::new(),
            target_address: from,
            local_seq: ok.cseq().0,
            remote_seq: None,
        };
        this.take_target(ok, from);
        this
    }

    /// The callee's, made by answering an INVITE with a tag of ours.
    pub(super) fn of_callee(
        invite: &Message,
        tag: &str,
        own: SocketAddr,
        from: SocketAddr,
        branch: &str,
    ) -> Self {
        let text = |name| invite.first(name).unwrap_or_default().to_vec();
        let local = [&text(HeaderName::To), &b";tag="[..], tag.as_bytes()].concat();
        let mut this = Self {
            own,
            branch: branch.to_owned(),
            call_id: invite.call_id().to_vec(),
            local,
            remote: text(HeaderName::From),
            target: Vec::new(),
            target_address: from,
            local_seq: 0,
            remote_seq: Some(invite.cseq().0),
        };
        this.take_target(invite, from);
        this
    }

    /// Where the peer wants requests from now on (§12.2.1.2, §12.2.2). A name in its Contact is taken to be where the
    /// message came from.
    pub(super) fn take_target(&mut self, message: &Message, from: SocketAddr) {
        let contact = message.first(HeaderName::Contact).and_then(NameAddr::parse);
        let Some(target) = contact.map(|contact| contact.uri) else { return };
        self.target = target.to_vec();
        let address = Uri::parse(target).and_then(|uri| {
            let ip = Host::of(uri.host).address()?;
            Some(SocketAddr::new(ip, uri.port.unwrap_or(5060)))
        });
        self.target_address = address.unwrap_or(from);
    }

    /// Whether a request belongs to this dialog: the tags say so.
    pub(super) fn is_of(&self, request: &Message) -> bool {
        request.to_tag() == tag_of(&self.local) && request.from_tag() == tag_of(&self.remote)
    }

    /// Notes the sequence number of the peer's request; `false` where an earlier one was higher (§12.2.2).
    pub(super) fn take_seq(&mut self, seq: u32) -> bool {
        let is_in_order = self.remote_seq.is_none_or(|last| seq >= last);
        if is_in_order {
            self.remote_seq = Some(seq);
        }
        is_in_order
    }

    /// The ACK for a 2xx to our INVITE (§13.2.2.4).
    pub(super) fn ack(&self) -> Sent {
        self.print("ACK", self.local_seq)
    }

    /// The next request of ours.
    pub(super) fn request(&mut self, method: &str) -> Sent {
        self.local_seq += 1;
        self.print(method, self.local_seq)
    }

    fn print(&self, method: &str, seq: u32) -> Sent {
        let (own, branch) = (self.own, &self.branch);
        let mut printer = Printer::request(method.as_bytes(), &self.target);
        printer
            .header_fmt(
                HeaderName::Via,
                format_args!("SIP/2.0/UDP {own};rport;branch={branch}-{seq}-{method}"),
            )
            .header(HeaderName::MaxForwards, b"70")
            .header(HeaderName::From, &self.local)
            .header(HeaderName::To, &self.remote)
            .header(HeaderName::CallId, &self.call_id)
            .header_fmt(HeaderName::CSeq, format_args!("{seq} {method}"));
        (self.target_address, printer.finish(b""))
    }
}

fn tag_of(value: &[u8]) -> Option<&[u8]> {
    NameAddr::parse(value)?.param("tag")
}
