//! Which request belongs to which server transaction (RFC 3261 §17.2.3).

use crate::sip::{Message, Method};

/// What every Via branch of RFC 3261 begins with (§8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// The octets that two requests of one server transaction have in common.
///
/// With the magic cookie: branch, sent-by and method. Without (RFC 2543 peers): Request-URI, From
/// tag, Call-ID, CSeq number, top Via and method. An ACK counts as its INVITE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MatchKey {
    octets: Vec<u8>,
}

impl MatchKey {
    /// The key under which `message`'s own transaction is found.
    pub fn of(message: &Message) -> Self {
        let method = match message.method() {
            Method::Ack => Method::Invite,
            other => other,
        };
        Self::with_method(message, method)
    }

    /// The key of the INVITE that a CANCEL (or an ACK) speaks of (RFC 3261 §9.2).
    pub fn of_invite(message: &Message) -> Self {
        Self::with_method(message, Method::Invite)
    }

    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    fn with_method(message: &Message, method: Method) -> Self {
        let mut this = Self { octets: Vec::with_capacity(96) };
        let via = message.top_via();
        let branch = via.and_then(|via| via.branch).unwrap_or_default();
        if let Some(via) = via.filter(|_| has_magic_cookie(branch)) {
            this.part(b"3261");
            this.part(branch);
            this.part_without_case(via.host);
            this.part(&via.port.unwrap_or_default().to_be_bytes());
        } else {
            this.part(b"2543");
            this.part(message.request_uri());
            this.part(message.from_tag().unwrap_or_default());
            this.part(message.call_id());
            this.part(&message.cseq().0.to_be_bytes());
            this.part(via.map(|via| via.value).unwrap_or_default());
        }
        match method {
            Method::Other => this.part(message.method_text()),
            known => this.part(known.as_str().as_bytes()),
        }
        this
    }

    fn part(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
        self.octets.push(0);
    }

    fn part_without_case(&mut self, octets: &[u8]) {
        self.octets.extend(octets.iter().map(u8::to_ascii_lowercase));
        self.octets.push(0);
    }
}

/// Whether a branch is one of RFC 3261: the cookie, any case (§8.1.1.7 compares tokens), and something behind it.
fn has_magic_cookie(branch: &[u8]) -> bool {
    branch.len() > MAGIC_COOKIE.len()
        && branch[..MAGIC_COOKIE.len()].eq_ignore_ascii_case(MAGIC_COOKIE)
}
