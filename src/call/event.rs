//! What a leg tells its call. Legs speak in events, never in messages.

use crate::sip::Message;
use crate::transaction::ServerKey;

/// One of a call's two legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The customer's.
    Inbound,
    /// The carrier's.
    Outbound,
}

impl Side {
    pub const fn other(self) -> Self {
        match self {
            Self::Inbound => Self::Outbound,
            Self::Outbound => Self::Inbound,
        }
    }
}

/// What of a message may cross to the other leg: only [`header_policy`](super::header_policy) looks inside.
#[derive(Clone, Copy, Debug)]
pub struct Carried<'a>(pub(super) &'a Message);

impl<'a> Carried<'a> {
    pub fn of(message: &'a Message) -> Self {
        Self(message)
    }
}

/// What happened on one leg of an answered call.
#[derive(Clone, Copy, Debug)]
pub enum LegEvent<'a> {
    /// The peer wants the session changed (re-INVITE); the leg holds the request until it is told the answer.
    Offered(Carried<'a>),
    /// The peer is thinking about our re-INVITE.
    Progressed { status_code: u16, carried: Carried<'a> },
    /// The peer took our re-INVITE.
    Answered(Carried<'a>),
    /// The peer acknowledged our 2xx.
    Acknowledged(Carried<'a>),
    /// The peer refused our re-INVITE; without a message it was silence.
    Failed { status_code: u16, carried: Option<Carried<'a>> },
    /// The peer took back its re-INVITE.
    Withdrawn,
    /// The peer sent another request that the other side is to answer.
    Asked { server: ServerKey, carried: Carried<'a> },
    /// The peer wants the call transferred, and we are to do it (RFC 3515).
    Referred { server: ServerKey, carried: Carried<'a> },
    /// The peer answered such a request.
    Replied { server: ServerKey, status_code: u16, carried: Option<Carried<'a>> },
    /// The peer hung up.
    Ended(Carried<'a>),
    /// The peer never acknowledged our 2xx.
    Unacknowledged,
    /// Nobody refreshed the session in time (RFC 4028 §10).
    Expired,
    /// The peer took our own target refresh.
    Refreshed,
    /// The peer refused our own target refresh for good; 408 was silence, 503 an address that cannot be
    /// reached. `is_dialog_gone`: it does not know the dialog (481), or said nothing, twice.
    RefreshFailed { status_code: u16, is_dialog_gone: bool },
}
