//! What of one leg's message the other leg may carry. The only place that decides it.
//!
//! What belongs to a leg (its dialog, its hops, its capabilities, its credentials) never crosses;
//! what belongs to the call, and whatever we do not know, crosses byte for byte.

use super::Carried;
use crate::carrier::number_rule::Identity;
use crate::sip::{HeaderName, Printer};

/// Writes the header fields of `carried` that may cross, Content-Type and its like included.
pub fn write(carried: Carried<'_>, identity: Identity, printer: &mut Printer) {
    let has_body = !carried.0.body().is_empty();
    for header in carried.0.headers() {
        let crosses = match fate(header.name) {
            Fate::Crosses => true,
            Fate::Stays => false,
            Fate::GoesWithBody => has_body,
            Fate::ByTrust => identity == Identity::Pass,
        };
        if crosses {
            printer.copy(header);
        }
    }
}

/// The body crosses as it came.
pub fn body<'a>(carried: Carried<'a>) -> &'a [u8] {
    carried.0.body()
}

/// Whether the message speaks of the caller's identity itself, so that none needs to be made up.
enum Fate {
    Crosses,
    Stays,
    GoesWithBody,
    /// RFC 3325 §5: only inside the trust domain.
    ByTrust,
}

fn fate(name: HeaderName) -> Fate {
    use HeaderName as H;
    match name {
        // The dialog, the hops and the capabilities of one leg (RFC 7092 §3.1.2, RFC 5853 §3.1).
        H::Via
        | H::Route
        | H::RecordRoute
        | H::Contact
        | H::From
        | H::To
        | H::CallId
        | H::CSeq
        | H::MaxForwards
        | H::ContentLength
        | H::Allow
        | H::AllowEvents
        | H::Supported
        | H::Require
        | H::ProxyRequire
        | H::Unsupported
        | H::UserAgent
        | H::Server
        | H::Timestamp
        | H::RSeq
        | H::RAck
        | H::SessionExpires
        | H::MinSe
        | H::MinExpires
        | H::RetryAfter
        // These name a dialog of the other leg, or its hosts.
        | H::Replaces
        | H::InReplyTo
        | H::ReferTo
        | H::ReferredBy
        | H::Warning
        // Credentials and challenges belong to one leg (RFC 3261 §22).
        | H::Authorization
        | H::ProxyAuthorization
        | H::WwwAuthenticate
        | H::ProxyAuthenticate => Fate::Stays,
        H::ContentType
        | H::ContentDisposition
        | H::ContentEncoding
        | H::ContentLanguage
        | H::MimeVersion => Fate::GoesWithBody,
        H::PAssertedIdentity | H::PPreferredIdentity | H::RemotePartyId => Fate::ByTrust,
        H::Accept
        | H::AcceptContact
        | H::AlertInfo
        | H::CallInfo
        | H::Date
        | H::Diversion
        | H::ErrorInfo
        | H::Event
        | H::Expires
        | H::HistoryInfo
        | H::Identity
        | H::IdentityInfo
        | H::MaxBreadth
        | H::Organization
        | H::Priority
        | H::Privacy
        | H::Reason
        | H::ReplyTo
        | H::ResourcePriority
        | H::Subject
        | H::SubscriptionState
        | H::UserToUser
        | H::Other => Fate::Crosses,
    }
}
