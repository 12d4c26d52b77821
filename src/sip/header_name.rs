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
const LETTERS: usize = 26;

/// The known names by length and first letter: one of them each, `Other` for none.
static BY_SHAPE: [[HeaderName; LETTERS]; LONGEST + 1] = SHAPES.0;
/// For each name the next of the same length and first letter, `Other` at the last.
static NEXT_OF_SHAPE: [HeaderName; HeaderName::KNOWN_COUNT] = SHAPES.1;
/// The lower-case text of each name as words, zeros behind it.
static WORDS: [Words; HeaderName::KNOWN_COUNT] = all_words();

type Words = [u64; WINDOW_OCTETS / 8];
/// Whole words that hold the longest name.
const WINDOW_OCTETS: usize = 24;
/// Set in lower-case letters and in `-`, the only octets of known names.
const CASE_BIT: u8 = 0x20;

impl HeaderName {
    pub(super) const KNOWN_COUNT: usize = Self::Other as usize;

    pub fn from_text(text: &[u8]) -> Self {
        let mut window = [0; WINDOW_OCTETS];
        match window.get_mut(..text.len()) {
            Some(place) if is_plain(text) => {
                place.copy_from_slice(text);
                Self::in_window(&window, text.len())
            }
            Some(_) | None => Self::Other,
        }
    }

    /// As [`from_text`](Self::from_text) for the name of `len` octets at the start of `octets`, where what follows
    /// the name in the message spares a copy.
    pub(super) fn at_start(octets: &[u8], len: usize) -> Self {
        match octets.first_chunk() {
            Some(window) => Self::in_window(window, len),
            None => Self::from_text(&octets[..len]),
        }
    }

    fn in_window(window: &[u8; WINDOW_OCTETS], len: usize) -> Self {
        if len == 1 {
            return Self::from_compact(window[0]);
        }
        let letter = usize::from((window[0] | CASE_BIT).wrapping_sub(b'a'));
        let mut candidate = match BY_SHAPE.get(len) {
            Some(of_length) if letter < LETTERS => of_length[letter],
            Some(_) | None => return Self::Other,
        };
        let words = lower_words(window, len);
        while candidate != Self::Other {
            if WORDS[candidate as usize] == words {
                return candidate;
            }
            candidate = NEXT_OF_SHAPE[candidate as usize];
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

const SHAPES: ([[HeaderName; LETTERS]; LONGEST + 1], [HeaderName; HeaderName::KNOWN_COUNT]) = {
    let mut first = [[HeaderName::Other; LETTERS]; LONGEST + 1];
    let mut next = [HeaderName::Other; HeaderName::KNOWN_COUNT];
    let mut at = 0;
    while at < KNOWN.len() {
        let text = KNOWN[at].as_str().as_bytes();
        let slot = &mut first[text.len()][(text[0].to_ascii_lowercase() - b'a') as usize];
        next[at] = *slot;
        *slot = KNOWN[at];
        at += 1;
    }
    (first, next)
};

const fn all_words() -> [Words; HeaderName::KNOWN_COUNT] {
    let mut words = [[0; WINDOW_OCTETS / 8]; HeaderName::KNOWN_COUNT];
    let mut at = 0;
    while at < KNOWN.len() {
        let text = KNOWN[at].as_str().as_bytes();
        let mut window = [0; WINDOW_OCTETS];
        let mut octet = 0;
        while octet < text.len() {
            window[octet] = text[octet];
            octet += 1;
        }
        words[at] = lower_words(&window, text.len());
        at += 1;
    }
    words
}

/// The first `len` octets, letters in lower case.
const fn lower_words(window: &[u8; WINDOW_OCTETS], len: usize) -> Words {
    let mut words = [0; WINDOW_OCTETS / 8];
    let (chunks, _) = window.as_chunks::<8>();
    let mut at = 0;
    while at < chunks.len() {
        let octets = len.saturating_sub(8 * at);
        let mask = match octets {
            0 => 0,
            1..8 => u64::MAX >> (64 - 8 * octets),
            _ => u64::MAX,
        };
        words[at] = (u64::from_le_bytes(chunks[at]) | LOWER_WORD) & mask;
        at += 1;
    }
    words
}

const LOWER_WORD: u64 = u64::from_le_bytes([CASE_BIT; 8]);

/// Setting the case bit turns CR into `-`; no name may be made of one.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|&octet| octet > b' ')
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
            "Call\rID",
            "FROM\0",
            "\u{6}ROM",
        ] {
            assert_eq!(HeaderName::from_text(text.as_bytes()), HeaderName::Other);
        }
    }
}
