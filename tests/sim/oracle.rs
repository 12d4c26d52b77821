//! A second reader: what the engine prints must mean the same to `rsip` 0.4.
//!
//! In what the engine prints in these worlds there is no difference. [`FORMS`] are legal forms that
//! peers send: it lists all known differences, in each of which `rsip` is wrong.

use bytes::Bytes;
use rsip::headers::ToTypedHeader;
use rsip::headers::UntypedHeader;
use rsip::message::HeadersExt;
use rsip::typed::{From, To, Via};

use super::text::Text;

/// What `rsip` reads otherwise; `None` where both agree.
pub fn disagreement(bytes: &Bytes, text: &Text) -> Option<String> {
    let message = match rsip::SipMessage::try_from(bytes.as_ref()) {
        Ok(message) => message,
        Err(error) => return Some(format!("rsip cannot read {}: {error}", text.start)),
    };
    let start = match &message {
        rsip::SipMessage::Request(request) => request.method.to_string(),
        rsip::SipMessage::Response(response) => response.status_code.code().to_string(),
    };
    let expected = match text.is_request() {
        true => text.start.split(' ').next().unwrap_or_default().to_owned(),
        false => text.status().to_string(),
    };
    if start != expected {
        return Some(format!("rsip reads {start}, {expected} is meant"));
    }
    let meant = [
        text.call_id().to_owned(),
        text.tag_of_from().to_owned(),
        text.tag_of_to().to_owned(),
        format!("{} {}", text.seq(), text.method()),
        text.branch().to_owned(),
    ];
    let found = read(&message);
    let differs = |(index, meant): &(usize, &String)| found[*index].as_ref() != Some(*meant);
    let (index, meant) = meant.iter().enumerate().find(differs)?;
    Some(format!("{}: rsip reads {:?}, {meant} is meant", PARTS[index], found[index]))
}

/// What is compared.
const PARTS: [&str; 5] = ["Call-ID", "From tag", "To tag", "CSeq", "branch"];

fn read(message: &rsip::SipMessage) -> [Option<String>; 5] {
    [call_id(message), from_tag(message), to_tag(message), cseq(message), branch(message)]
}

fn call_id(message: &rsip::SipMessage) -> Option<String> {
    message.call_id_header().ok().map(|header| header.value().to_owned())
}

fn from_tag(message: &rsip::SipMessage) -> Option<String> {
    let from: From = message.from_header().ok()?.typed().ok()?;
    Some(from.tag().map(|tag| tag.value().to_owned()).unwrap_or_default())
}

fn to_tag(message: &rsip::SipMessage) -> Option<String> {
    let to: To = message.to_header().ok()?.typed().ok()?;
    Some(to.tag().map(|tag| tag.value().to_owned()).unwrap_or_default())
}

fn cseq(message: &rsip::SipMessage) -> Option<String> {
    let cseq = message.cseq_header().ok()?;
    Some(format!("{} {}", cseq.seq().ok()?, cseq.method().ok()?))
}

fn branch(message: &rsip::SipMessage) -> Option<String> {
    let via: Via = message.via_header().ok()?.typed().ok()?;
    via.branch().map(|branch| branch.value().to_owned())
}

const PLAIN: &str = "OPTIONS sip:b@h SIP/2.0\r\n\
    Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
    From: <sip:a@h>;tag=f\r\n\
    To: <sip:b@h>;tag=t\r\n\
    Call-ID: c\r\n\
    CSeq: 1 OPTIONS\r\n\
    Content-Length: 0\r\n\r\n";

/// What `rsip` cannot read, or does not find.
enum Misses {
    Nothing,
    Parts(&'static [&'static str]),
    All,
}

/// A name, what replaces what in the plain message, and what `rsip` makes of it.
type Form = (&'static str, &'static [(&'static str, &'static str)], Misses);

const FORMS: [Form; 12] = [
    ("plain", &[], Misses::Nothing),
    (
        "compact names (RFC 3261 §7.3.3)",
        &[("Via:", "v:"), ("From:", "f:"), ("To:", "t:"), ("Call-ID:", "i:")],
        Misses::Parts(&["Call-ID", "From tag", "To tag", "branch"]),
    ),
    ("names in any case (§7.3.1)", &[("Via:", "VIA:"), ("Call-ID:", "call-id:")], Misses::Nothing),
    ("space before the colon (§25.1 HCOLON)", &[("Via:", "Via :")], Misses::All),
    ("a folded line (§7.3.1)", &[(";branch", "\r\n ;branch")], Misses::All),
    (
        "IPv6 in a Via (§25.1 IPv6reference)",
        &[("h;b", "[2001:db8::1];b")],
        Misses::Parts(&["branch"]),
    ),
    ("IPv6 in a From", &[("a@h", "a@[2001:db8::1]")], Misses::Parts(&["From tag"])),
    ("an unknown method (§7.1)", &[("OPTIONS", "BREW")], Misses::All),
    (
        "a quoted name that looks like an address (§20.10)",
        &[("From: <", "From: \"<x>;tag=y\" <")],
        Misses::Parts(&["From tag"]),
    ),
    ("an address without brackets (§20.10)", &[("<sip:a@h>", "sip:a@h")], Misses::Nothing),
    (
        "two values in a line (§7.3.1)",
        &[("K1", "K1, SIP/2.0/UDP g;branch=z9hG4bK2")],
        Misses::Nothing,
    ),
    ("a tel URI", &[("<sip:a@h>", "<tel:+49301>")], Misses::Nothing),
];

#[test]
fn differs_from_rsip_in_the_forms_that_are_known_and_in_no_other() {
    for (name, changes, misses) in FORMS {
        let change = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
        let bytes = Bytes::from(changes.iter().fold(PLAIN.to_owned(), change));
        let method = if name.contains("method") { "BREW" } else { "OPTIONS" };
        let meant = ["c", "f", "t", &format!("1 {method}"), "z9hG4bK1"].map(str::to_owned);
        assert_eq!(ours(&bytes), meant, "{name}");
        let message = rsip::SipMessage::try_from(bytes.as_ref()).ok();
        let missed: Option<Vec<&str>> = message.map(|message| {
            let found = read(&message);
            let differs = |part: &usize| found[*part].as_ref() != Some(&meant[*part]);
            (0..PARTS.len()).filter(differs).map(|part| PARTS[part]).collect()
        });
        let known = match misses {
            Misses::Nothing => Some(Vec::new()),
            Misses::Parts(parts) => Some(parts.to_vec()),
            Misses::All => None,
        };
        assert_eq!(missed, known, "{name}");
    }
}

/// What the crate under test reads.
fn ours(bytes: &Bytes) -> [String; 5] {
    let message = holdfast::sip::Message::parse(bytes.clone()).expect("a message");
    assert_eq!(message.defect(), None);
    let text =
        |octets: Option<&[u8]>| String::from_utf8_lossy(octets.unwrap_or_default()).into_owned();
    [
        text(Some(message.call_id())),
        text(message.from_tag()),
        text(message.to_tag()),
        format!("{} {}", message.cseq().0, text(Some(message.method_text()))),
        text(message.top_via().and_then(|via| via.branch)),
    ]
}
