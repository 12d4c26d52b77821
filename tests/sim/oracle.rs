//! A second reader: what the engine prints must mean the same to `rsip`.

use bytes::Bytes;
use rsip::headers::ToTypedHeader;
use rsip::headers::UntypedHeader;
use rsip::message::HeadersExt;
use rsip::typed::{From, To, Via};

use super::text::Text;

/// Where `rsip` 0.4 reads something else than what stands there, and is wrong. What begins a line
/// here is a reason; none has been needed for what the engine prints in these worlds.
pub const KNOWN_DIVERGENCES: [&str; 0] = [];

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
    let read = [
        ("start line", Some(start), expected),
        ("Call-ID", call_id(&message), text.call_id().to_owned()),
        ("From tag", from_tag(&message), text.from_tag().to_owned()),
        ("To tag", to_tag(&message), text.to_tag().to_owned()),
        ("CSeq", cseq(&message), format!("{} {}", text.seq(), text.method())),
        ("branch", branch(&message), text.branch().to_owned()),
    ];
    read.into_iter().find(|(_, found, expected)| found.as_ref() != Some(expected)).map(
        |(what, found, expected)| format!("{what}: rsip reads {found:?}, {expected:?} is meant"),
    )
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
