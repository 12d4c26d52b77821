//! What we say of ourselves on one leg: our Contact, and what its peer may use.

use std::sync::Arc;

use super::context::{Context, write_allow};
use super::leg::Leg;
use super::options::Options;
use super::settings::Settings;
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
    /// Whether we speak of Replaces.
    pub replaces: Options,
}

/// What is said of Replaces to a customer with this policy. Where there are other shards, its INVITE may find itself in one
/// of those, and not the dialog that it names. No INVITEs come from carriers.
pub fn replaces_for_customer(refer: ReferPolicy, settings: &Settings) -> Options {
    match refer {
        ReferPolicy::Relay | ReferPolicy::Local if settings.shards <= 1 => Options::REPLACES,
        ReferPolicy::Refuse | ReferPolicy::Relay | ReferPolicy::Local => Options::NONE,
    }
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
        Options::WITHIN_DIALOG.with(self.replaces).write(HeaderName::Supported, printer);
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
    pub(super) fn contact(&self, cx: &Context) -> OwnContact {
        let user = self.trunk.as_ref().and_then(|trunk| trunk.contact_user.clone());
        let replaces = match &self.trunk {
            Some(_) => Options::NONE,
            None => replaces_for_customer(self.refer, &cx.settings),
        };
        OwnContact { is_secure: self.dialog.is_secure, user, refer: self.refer, replaces }
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
