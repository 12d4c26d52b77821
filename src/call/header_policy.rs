//! What of one leg's message the other leg may carry. The only place that decides it.
//!
//! What belongs to a leg (its dialog, its hops, its capabilities, its credentials) never crosses;
//! what belongs to the call, and whatever we do not know, crosses byte for byte.

use super::Carried;
use crate::carrier::number_rule::Identity;
use crate::sip::{Header, HeaderName, Message, Printer};

/// Writes the header fields of `carried` that may cross, Content-Type and its like included.
pub fn write(carried: Carried<'_>, identity: Identity, printer: &mut Printer) {
    write_but(None, carried, identity, printer);
}

/// As [`write`], without a field that is written otherwise.
pub fn write_but(
    left_out: Option<HeaderName>,
    carried: Carried<'_>,
    identity: Identity,
    printer: &mut Printer,
) {
    let has_body = !carried.0.body().is_empty();
    for header in carried.0.headers().filter(|header| Some(header.name) != left_out) {
        let crosses = match fate_of(header) {
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

/// Fields that only matter here, so that the parser need not know them. Authentication-Info and the
/// Security fields belong to one leg's credentials (RFC 3261 §22.3, RFC 3329), Path and Service-Route to
/// its hops, Join and Target-Dialog name a dialog of it (RFC 3911, RFC 4538), the charging ones are for its
/// own network (RFC 7315 §4.6).
const STAYING: [&str; 12] = [
    "Authentication-Info",
    "Proxy-Authentication-Info",
    "Security-Client",
    "Security-Server",
    "Security-Verify",
    "Path",
    "Service-Route",
    "Join",
    "Target-Dialog",
    "Same-Dialog",
    "P-Charging-Vector",
    "P-Charging-Function-Addresses",
];

fn fate_of(header: Header<'_>) -> Fate {
    let is = |name: &&str| header.name_text.eq_ignore_ascii_case(name.as_bytes());
    match header.name {
        HeaderName::Other if STAYING.iter().any(is) => Fate::Stays,
        name => fate(name),
    }
}

/// Why the caller takes its INVITE back, in its own words (RFC 3326 §2): a phone that rings must not
/// show as missed what was answered elsewhere.
pub fn reason_of_cancel(cancel: &Message) -> Option<&str> {
    std::str::from_utf8(cancel.first(HeaderName::Reason)?).ok().filter(|reason| !reason.is_empty())
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn lets_nothing_of_a_legs_dialog_hops_capabilities_and_credentials_cross() {
        let stays = [
            "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1",
            "Route: <sip:192.0.2.8;lr>",
            "Record-Route: <sip:192.0.2.8;lr>",
            "Contact: <sip:alice@192.0.2.9>",
            "Max-Forwards: 60",
            "Allow: INVITE",
            "Supported: 100rel, timer",
            "User-Agent: phone",
            "Session-Expires: 1800",
            "Min-SE: 90",
            "Replaces: c;to-tag=a;from-tag=b",
            "In-Reply-To: c@192.0.2.9",
            "Warning: 399 inside.example \"x\"",
            "Authorization: Digest username=\"a\"",
            "Proxy-Authorization: Digest username=\"a\"",
            "WWW-Authenticate: Digest realm=\"a\"",
            "Proxy-Authenticate: Digest realm=\"a\"",
            "Authentication-Info: nextnonce=\"a\"",
            "security-verify: tls",
            "Path: <sip:192.0.2.8;lr>",
            "Join: c;to-tag=a;from-tag=b",
            "Target-Dialog: c;local-tag=a;remote-tag=b",
            "P-Charging-Vector: icid-value=1",
        ];
        for line in stays {
            assert_eq!(crossed(&[line], "", Identity::Pass), "", "{line}");
        }
    }

    #[test]
    fn lets_what_belongs_to_the_call_and_the_unknown_cross_byte_for_byte() {
        let crosses = [
            "Diversion: <sip:+49@a>;reason=unconditional",
            "History-Info: <sip:a@b>;index=1",
            "Reason: Q.850;cause=16;text=\"x\"",
            "Identity: abc;info=<https://x>",
            "Privacy: id",
            "User-to-User: 00",
            "Resource-Priority: esnet.1",
            "Max-Breadth: 60",
            "subject :\tLunch,\r\n  and more",
            "X-Platform-Call: 7",
            "x-lower:  spaced ",
        ];
        for line in crosses {
            assert_eq!(crossed(&[line], "", Identity::Strip), format!("{line}\r\n"), "{line}");
        }
    }

    #[test]
    fn keeps_the_order_of_what_crosses() {
        let lines = ["X-B: 2", "Contact: <sip:a@b>", "X-A: 1", "X-B: 3"];
        assert_eq!(crossed(&lines, "", Identity::Strip), "X-B: 2\r\nX-A: 1\r\nX-B: 3\r\n");
    }

    #[test]
    fn lets_identities_cross_inside_the_trust_domain_only() {
        for line in [
            "P-Asserted-Identity: <sip:+1@a>",
            "P-Preferred-Identity: <sip:+1@a>",
            "Remote-Party-ID: <sip:+1@a>",
        ] {
            assert_eq!(crossed(&[line], "", Identity::Pass), format!("{line}\r\n"));
            assert_eq!(crossed(&[line], "", Identity::Strip), "");
            assert_eq!(crossed(&[line], "", Identity::Assert), "");
        }
    }

    #[test]
    fn lets_the_bodys_headers_cross_with_a_body_only() {
        let lines =
            ["Content-Type: application/sdp", "Content-Disposition: session", "MIME-Version: 1.0"];
        assert_eq!(crossed(&lines, "", Identity::Strip), "");
        assert_eq!(crossed(&lines, "v=0", Identity::Strip), lines.join("\r\n") + "\r\n");
    }

    /// The lines that cross of a request with these lines and this body.
    fn crossed(lines: &[&str], text: &str, identity: Identity) -> String {
        let octets = format!(
            "INFO sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK0\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INFO\r\n\
             {}\r\nContent-Length: {}\r\n\r\n{text}",
            lines.join("\r\n"),
            text.len()
        );
        let message = Message::parse(Bytes::from(octets)).expect("a request");
        let mut printer = Printer::request(b"X", b"sip:x");
        write(Carried::of(&message), identity, &mut printer);
        let printed = printer.finish(b"");
        let printed = String::from_utf8(printed.to_vec()).expect("text");
        let (_, rest) = printed.split_once("\r\n").expect("a start line");
        let (crossed, _) = rest.split_once("Content-Length: 0").expect("an end");
        crossed.to_owned()
    }
}
