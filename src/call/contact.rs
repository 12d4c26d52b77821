//! What we say of ourselves on one leg: our Contact, and what its peer may use.

use std::sync::Arc;

use super::context::write_allow;
use super::leg::Leg;
use super::options::Options;
use crate::carrier::{ReferPolicy, Transport};
use crate::sip::{HeaderName, Message, Printer};
use crate::transaction::Listener;

/// What every message of ours that makes a dialog, or refreshes its target, says of us. Owned, so that a dialog may
/// count while it is written.
#[derive(Clone, Debug)]
pub struct OwnContact {
    /// The dialog is a `sips:` one.
    pub is_secure: bool,
    /// User part: what we are registered under at the carrier (RFC 3261 §10).
    pub user: Option<Arc<str>>,
    pub refer: ReferPolicy,
    /// A customer's INVITEs come to us; a carrier's do not.
    pub is_to_customer: bool,
}

impl OwnContact {
    /// Writes Contact alone.
    pub fn write(&self, listener: &Listener, printer: &mut Printer) {
        write_contact(listener, self.is_secure, self.user.as_deref(), printer);
    }

    /// Writes Contact, Allow and Supported.
    pub fn write_all(&self, listener: &Listener, printer: &mut Printer) {
        self.write(listener, printer);
        write_allow(self.refer, printer);
        let replaces = match self.refer {
            ReferPolicy::Relay | ReferPolicy::Local if self.is_to_customer => Options::REPLACES,
            ReferPolicy::Refuse | ReferPolicy::Relay | ReferPolicy::Local => Options::NONE,
        };
        Options::WITHIN_DIALOG.with(replaces).write(HeaderName::Supported, printer);
    }

    /// Writes what a response that makes a dialog carries (RFC 3261 §12.1.1).
    pub fn write_answer(&self, listener: &Listener, invite: &Message, printer: &mut Printer) {
        for header in invite.all(HeaderName::RecordRoute) {
            printer.copy(header);
        }
        self.write_all(listener, printer);
    }
}

impl Leg {
    /// What we say of ourselves to this leg's peer.
    pub(super) fn contact(&self) -> OwnContact {
        let user = self.trunk.as_ref().and_then(|trunk| trunk.contact_user.clone());
        let is_to_customer = self.trunk.is_none();
        OwnContact { is_secure: self.dialog.is_secure, user, refer: self.refer, is_to_customer }
    }
}

/// Our Contact: an address and nothing about the other leg. `is_secure`: its dialog is a `sips:` one.
/// `user`: what we are registered under.
pub fn write_contact(
    listener: &Listener,
    is_secure: bool,
    user: Option<&str>,
    printer: &mut Printer,
) {
    let (scheme, params): (&[u8], &[u8]) = match listener.transport {
        Transport::Udp => (b"sip:", b""),
        Transport::Tcp => (b"sip:", b";transport=tcp"),
        Transport::Tls if is_secure => (b"sips:", b""),
        Transport::Tls => (b"sip:", b";transport=tls"),
    };
    printer.raw(b"Contact: <").raw(scheme);
    if let Some(user) = user {
        printer.raw(user.as_bytes()).raw(b"@");
    }
    printer.raw(listener.advertised.as_bytes()).raw(params).raw(b">\r\n");
}
