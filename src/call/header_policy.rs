//! What of one leg's message the other leg may carry. The only place that decides it.
//!
//! What belongs to a leg (its dialog, its hops, its capabilities, its credentials) never crosses;
//! what belongs to the call, and whatever we do not know, crosses byte for byte.

use super::Carried;
use crate::carrier::{Carry, HeaderRule, Identity};
use crate::sip::{Header, HeaderName, Message, Printer};

/// Writes the header fields of `carried` that may cross under a rule, Content-Type and its like included.
pub fn write(carried: Carried<'_>, rule: &HeaderRule, printer: &mut Printer) {
    write_but(None, carried, rule, printer);
}

/// As [`write()`], without a field that is written otherwise.
pub fn write_but(
    left_out: Option<HeaderName>,
    carried: Carried<'_>,
    rule: &HeaderRule,
    printer: &mut Printer,
) {
    let has_body = !carried.0.body().is_empty();
    let is_told = rule.identity == Identity::Pass && may_know_the_caller(carried.0, rule);
    for header in carried.0.headers().filter(|header| Some(header.name) != left_out) {
        let crosses = match fate_of(header) {
            Fate::Crosses => true,
            Fate::Stays => false,
            Fate::GoesWithBody => has_body,
            Fate::ByTrust => is_told,
            Fate::AsDiversion => rule.diversion == Carry::Pass,
            Fate::AsHistory => rule.history_info == Carry::Pass,
            Fate::AsExtension => rule.lets_cross(header.name_text),
        };
        if crosses {
            printer.copy(header);
        }
    }
}

/// RFC 3325 §7: who asks for the privacy of `id` has no identity told outside the trust domain.
pub fn may_know_the_caller(message: &Message, rule: &HeaderRule) -> bool {
    let asks = |value: &[u8]| {
        // RFC 3323 §4.2: values between semicolons; a peer that writes commas means the same.
        let mut values = value.split(|octet| b";,".contains(octet)).map(<[u8]>::trim_ascii);
        values.any(|value| value.eq_ignore_ascii_case(b"id"))
    };
    rule.is_trusted || !message.all(HeaderName::Privacy).any(|header| asks(header.value))
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
    AsDiversion,
    AsHistory,
    /// It begins with `X-`.
    AsExtension,
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
        HeaderName::Other if is_extension(header.name_text) => Fate::AsExtension,
        name => fate(name),
    }
}

fn is_extension(name: &[u8]) -> bool {
    name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"X-"))
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
        H::Diversion => Fate::AsDiversion,
        H::HistoryInfo => Fate::AsHistory,
        H::Accept
        | H::AcceptContact
        | H::AlertInfo
        | H::CallInfo
        | H::Date
        | H::ErrorInfo
        | H::Event
        | H::Expires
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
            assert_eq!(crossed(&[line], "", &identity(Identity::Pass)), "", "{line}");
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
            assert_eq!(
                crossed(&[line], "", &HeaderRule::default()),
                format!("{line}\r\n"),
                "{line}"
            );
        }
    }

    #[test]
    fn keeps_the_order_of_what_crosses() {
        let lines = ["X-B: 2", "Contact: <sip:a@b>", "X-A: 1", "X-B: 3"];
        assert_eq!(crossed(&lines, "", &HeaderRule::default()), "X-B: 2\r\nX-A: 1\r\nX-B: 3\r\n");
    }

    #[test]
    fn lets_identities_cross_inside_the_trust_domain_only() {
        for line in [
            "P-Asserted-Identity: <sip:+1@a>",
            "P-Preferred-Identity: <sip:+1@a>",
            "Remote-Party-ID: <sip:+1@a>",
        ] {
            assert_eq!(crossed(&[line], "", &identity(Identity::Pass)), format!("{line}\r\n"));
            assert_eq!(crossed(&[line], "", &HeaderRule::default()), "");
            assert_eq!(crossed(&[line], "", &identity(Identity::Assert)), "");
        }
    }

    #[test]
    fn tells_no_identity_against_the_callers_wish_but_to_whom_we_trust() {
        let rule = identity(Identity::Pass);
        let trusting = HeaderRule { is_trusted: true, ..rule.clone() };
        let line = "P-Asserted-Identity: <sip:+1@a>";
        for privacy in ["Privacy: id", "Privacy: header; ID;critical", "privacy: user,id"] {
            assert_eq!(crossed(&[line, privacy], "", &rule), format!("{privacy}\r\n"));
            let both = format!("{line}\r\n{privacy}\r\n");
            assert_eq!(crossed(&[line, privacy], "", &trusting), both);
        }
        let other = format!("{line}\r\nPrivacy: history\r\n");
        assert_eq!(crossed(&[line, "Privacy: history"], "", &rule), other);
    }

    #[test]
    fn strips_diversion_and_history_where_the_rule_says_so() {
        let lines = ["Diversion: <sip:+49@a>", "History-Info: <sip:a@b>;index=1"];
        let rule = HeaderRule { diversion: Carry::Strip, ..HeaderRule::default() };
        assert_eq!(crossed(&lines, "", &rule), format!("{}\r\n", lines[1]));
        let rule = HeaderRule { history_info: Carry::Strip, ..HeaderRule::default() };
        assert_eq!(crossed(&lines, "", &rule), format!("{}\r\n", lines[0]));
    }

    #[test]
    fn lets_only_the_x_headers_of_the_list_cross() {
        let lines = ["X-Call: 1", "x-trace: 2", "X-: 3", "Feature-Caps: *"];
        let with = |names: &[&str]| HeaderRule {
            x_headers: Some(names.iter().map(|name| (*name).into()).collect()),
            ..HeaderRule::default()
        };
        assert_eq!(crossed(&lines, "", &with(&["x-trace"])), "x-trace: 2\r\nFeature-Caps: *\r\n");
        assert_eq!(crossed(&lines, "", &with(&["x-call"])), "X-Call: 1\r\nFeature-Caps: *\r\n");
        assert_eq!(crossed(&lines, "", &with(&[])), "Feature-Caps: *\r\n");
    }

    #[test]
    fn lets_the_bodys_headers_cross_with_a_body_only() {
        let lines =
            ["Content-Type: application/sdp", "Content-Disposition: session", "MIME-Version: 1.0"];
        assert_eq!(crossed(&lines, "", &HeaderRule::default()), "");
        assert_eq!(crossed(&lines, "v=0", &HeaderRule::default()), lines.join("\r\n") + "\r\n");
    }

    fn identity(identity: Identity) -> HeaderRule {
        HeaderRule { identity, ..HeaderRule::default() }
    }

    /// The lines that cross of a request with these lines and this body.
    fn crossed(lines: &[&str], text: &str, rule: &HeaderRule) -> String {
        let octets = format!(
            "INFO sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK0\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INFO\r\n\
             {}\r\nContent-Length: {}\r\n\r\n{text}",
            lines.join("\r\n"),
            text.len()
        );
        let message = Message::parse(Bytes::from(octets)).expect("a request");
        let mut printer = Printer::request(b"X", b"sip:x");
        write(Carried::of(&message), rule, &mut printer);
        let printed = printer.finish(b"");
        let printed = String::from_utf8(printed.to_vec()).expect("text");
        let (_, rest) = printed.split_once("\r\n").expect("a start line");
        let (crossed, _) = rest.split_once("Content-Length: 0").expect("an end");
        crossed.to_owned()
    }
}
