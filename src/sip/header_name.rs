//! Header field names (RFC 3261 §7.3.1, §7.3.3): any case, long or compact.

/// A header we know by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HeaderName {
    Accept,
    AcceptContact,
    AlertInfo,
    Allow,
    AllowEvents,
    Authorization,
    CallId,
    CallInfo,
    Contact,
    ContentDisposition,
    ContentEncoding,
    ContentLanguage,
    ContentLength,
    ContentType,
    CSeq,
    Date,
    Diversion,
    ErrorInfo,
    Event,
    Expires,
    From,
    HistoryInfo,
    Identity,
    IdentityInfo,
    InReplyTo,
    MaxBreadth,
    MaxForwards,
    MimeVersion,
    MinExpires,
    MinSe,
    Organization,
    PAssertedIdentity,
    PPreferredIdentity,
    Priority,
    Privacy,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyRequire,
    RAck,
    Reason,
    RecordRoute,
    ReferTo,
    ReferredBy,
    RemotePartyId,
    Replaces,
    ReplyTo,
    Require,
    ResourcePriority,
    RetryAfter,
    Route,
    RSeq,
    Server,
    SessionExpires,
    Subject,
    SubscriptionState,
    Supported,
    Timestamp,
    To,
    Unsupported,
    UserAgent,
    UserToUser,
    Via,
    Warning,
    WwwAuthenticate,
    /// Any other name; its text is in the message.
    Other,
}

/// All names but `Other`, in the order of the enum.
const KNOWN: [HeaderName; HeaderName::KNOWN_COUNT] = [
    HeaderName::Accept,
    HeaderName::AcceptContact,
    HeaderName::AlertInfo,
    HeaderName::Allow,
    HeaderName::AllowEvents,
    HeaderName::Authorization,
    HeaderName::CallId,
    HeaderName::CallInfo,
    HeaderName::Contact,
    HeaderName::ContentDisposition,
    HeaderName::ContentEncoding,
    HeaderName::ContentLanguage,
    HeaderName::ContentLength,
    HeaderName::ContentType,
    HeaderName::CSeq,
    HeaderName::Date,
    HeaderName::Diversion,
    HeaderName::ErrorInfo,
    HeaderName::Event,
    HeaderName::Expires,
    HeaderName::From,
    HeaderName::HistoryInfo,
    HeaderName::Identity,
    HeaderName::IdentityInfo,
    HeaderName::InReplyTo,
    HeaderName::MaxBreadth,
    HeaderName::MaxForwards,
    HeaderName::MimeVersion,
    HeaderName::MinExpires,
    HeaderName::MinSe,
    HeaderName::Organization,
    HeaderName::PAssertedIdentity,
    HeaderName::PPreferredIdentity,
    HeaderName::Priority,
    HeaderName::Privacy,
    HeaderName::ProxyAuthenticate,
    HeaderName::ProxyAuthorization,
    HeaderName::ProxyRequire,
    HeaderName::RAck,
    HeaderName::Reason,
    HeaderName::RecordRoute,
    HeaderName::ReferTo,
    HeaderName::ReferredBy,
    HeaderName::RemotePartyId,
    HeaderName::Replaces,
    HeaderName::ReplyTo,
    HeaderName::Require,
    HeaderName::ResourcePriority,
    HeaderName::RetryAfter,
    HeaderName::Route,
    HeaderName::RSeq,
    HeaderName::Server,
    HeaderName::SessionExpires,
    HeaderName::Subject,
    HeaderName::SubscriptionState,
    HeaderName::Supported,
    HeaderName::Timestamp,
    HeaderName::To,
    HeaderName::Unsupported,
    HeaderName::UserAgent,
    HeaderName::UserToUser,
    HeaderName::Via,
    HeaderName::Warning,
    HeaderName::WwwAuthenticate,
];

/// The longest name we know, `P-Preferred-Identity`.
const LONGEST: usize = 20;
/// As many names as share one length, at most.
const MOST_OF_A_LENGTH: usize = 9;

/// The known names by their length; `Other` fills up.
static BY_LENGTH: [[HeaderName; MOST_OF_A_LENGTH]; LONGEST + 1] = by_length();

impl HeaderName {
    pub(super) const KNOWN_COUNT: usize = Self::Other as usize;

    pub fn from_text(text: &[u8]) -> Self {
        let &[first, ..] = text else {
            return Self::Other;
        };
        if text.len() == 1 {
            return Self::from_compact(first);
        }
        let Some(candidates) = BY_LENGTH.get(text.len()) else {
            return Self::Other;
        };
        let first = first.to_ascii_lowercase();
        for &candidate in candidates {
            let name = candidate.as_str().as_bytes();
            let Some(initial) = name.first() else {
                break;
            };
            if initial.to_ascii_lowercase() == first && text.eq_ignore_ascii_case(name) {
                return candidate;
            }
        }
        Self::Other
    }

    /// RFC 3261 §7.3.3 and the IANA registry of compact forms.
    const fn from_compact(letter: u8) -> Self {
        match letter.to_ascii_lowercase() {
            b'a' => Self::AcceptContact,
            b'b' => Self::ReferredBy,
            b'c' => Self::ContentType,
            b'e' => Self::ContentEncoding,
            b'f' => Self::From,
            b'i' => Self::CallId,
            b'k' => Self::Supported,
            b'l' => Self::ContentLength,
            b'm' => Self::Contact,
            b'n' => Self::IdentityInfo,
            b'o' => Self::Event,
            b'r' => Self::ReferTo,
            b's' => Self::Subject,
            b't' => Self::To,
            b'u' => Self::AllowEvents,
            b'v' => Self::Via,
            b'x' => Self::SessionExpires,
            b'y' => Self::Identity,
            _ => Self::Other,
        }
    }

    /// The long form as RFCs write it; empty for `Other`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "Accept",
            Self::AcceptContact => "Accept-Contact",
            Self::AlertInfo => "Alert-Info",
            Self::Allow => "Allow",
            Self::AllowEvents => "Allow-Events",
            Self::Authorization => "Authorization",
            Self::CallId => "Call-ID",
            Self::CallInfo => "Call-Info",
            Self::Contact => "Contact",
            Self::ContentDisposition => "Content-Disposition",
            Self::ContentEncoding => "Content-Encoding",
            Self::ContentLanguage => "Content-Language",
            Self::ContentLength => "Content-Length",
            Self::ContentType => "Content-Type",
            Self::CSeq => "CSeq",
            Self::Date => "Date",
            Self::Diversion => "Diversion",
            Self::ErrorInfo => "Error-Info",
            Self::Event => "Event",
            Self::Expires => "Expires",
            Self::From => "From",
            Self::HistoryInfo => "History-Info",
            Self::Identity => "Identity",
            Self::IdentityInfo => "Identity-Info",
            Self::InReplyTo => "In-Reply-To",
            Self::MaxBreadth => "Max-Breadth",
            Self::MaxForwards => "Max-Forwards",
            Self::MimeVersion => "MIME-Version",
            Self::MinExpires => "Min-Expires",
            Self::MinSe => "Min-SE",
            Self::Organization => "Organization",
            Self::PAssertedIdentity => "P-Asserted-Identity",
            Self::PPreferredIdentity => "P-Preferred-Identity",
            Self::Priority => "Priority",
            Self::Privacy => "Privacy",
            Self::ProxyAuthenticate => "Proxy-Authenticate",
            Self::ProxyAuthorization => "Proxy-Authorization",
            Self::ProxyRequire => "Proxy-Require",
            Self::RAck => "RAck",
            Self::Reason => "Reason",
            Self::RecordRoute => "Record-Route",
            Self::ReferTo => "Refer-To",
            Self::ReferredBy => "Referred-By",
            Self::RemotePartyId => "Remote-Party-ID",
            Self::Replaces => "Replaces",
            Self::ReplyTo => "Reply-To",
            Self::Require => "Require",
            Self::ResourcePriority => "Resource-Priority",
            Self::RetryAfter => "Retry-After",
            Self::Route => "Route",
            Self::RSeq => "RSeq",
            Self::Server => "Server",
            Self::SessionExpires => "Session-Expires",
            Self::Subject => "Subject",
            Self::SubscriptionState => "Subscription-State",
            Self::Supported => "Supported",
            Self::Timestamp => "Timestamp",
            Self::To => "To",
            Self::Unsupported => "Unsupported",
            Self::UserAgent => "User-Agent",
            Self::UserToUser => "User-to-User",
            Self::Via => "Via",
            Self::Warning => "Warning",
            Self::WwwAuthenticate => "WWW-Authenticate",
            Self::Other => "",
        }
    }
}

const fn by_length() -> [[HeaderName; MOST_OF_A_LENGTH]; LONGEST + 1] {
    let mut table = [[HeaderName::Other; MOST_OF_A_LENGTH]; LONGEST + 1];
    let mut filled = [0; LONGEST + 1];
    let mut at = 0;
    while at < KNOWN.len() {
        let length = KNOWN[at].as_str().len();
        table[length][filled[length]] = KNOWN[at];
        filled[length] += 1;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_in_any_case() {
        for (at, name) in KNOWN.into_iter().enumerate() {
            assert_eq!(name as usize, at);
            let text = name.as_str();
            assert_eq!(HeaderName::from_text(text.as_bytes()), name);
            assert_eq!(HeaderName::from_text(text.to_uppercase().as_bytes()), name);
            assert_eq!(HeaderName::from_text(text.to_lowercase().as_bytes()), name);
        }
    }

    #[test]
    fn compact_forms_are_the_long_ones() {
        for (compact, long) in [
            ("v", "Via"),
            ("F", "From"),
            ("t", "To"),
            ("I", "Call-ID"),
            ("m", "Contact"),
            ("l", "Content-Length"),
            ("c", "Content-Type"),
            ("e", "Content-Encoding"),
            ("k", "Supported"),
            ("s", "Subject"),
            ("x", "Session-Expires"),
            ("r", "Refer-To"),
            ("b", "Referred-By"),
            ("o", "Event"),
            ("u", "Allow-Events"),
            ("a", "Accept-Contact"),
            ("y", "Identity"),
            ("n", "Identity-Info"),
        ] {
            assert_eq!(HeaderName::from_text(compact.as_bytes()).as_str(), long);
        }
    }

    #[test]
    fn other_names_stay_other() {
        for text in [
            "",
            "z",
            "Vi",
            "Via ",
            "C%6Fntact",
            "Call_ID",
            "Content-Lengths",
            "P-Preferred-Identity-And-More",
        ] {
            assert_eq!(HeaderName::from_text(text.as_bytes()), HeaderName::Other);
        }
    }
}
