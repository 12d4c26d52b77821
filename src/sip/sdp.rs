//! Read-only facts of a session description (RFC 8866, RFC 3264). Bodies cross untouched.

use memchr::memmem;

use super::params;
use super::scan::{Cut, cut, trim};
use super::{HeaderName, Message};

/// Body parts looked at in one multipart body, at most.
const MAX_PARTS: usize = 32;
/// How deep multipart bodies may nest.
const MAX_DEPTH: usize = 3;
/// Lines of a description that are looked at, and formats of one of its media.
const MAX_LINES: usize = 500;
const MAX_FORMATS: usize = 64;

/// Whether the message's body is, or holds (multipart), a session description.
pub fn is_session_description(message: &Message) -> bool {
    description_of(message).is_some()
}

/// The session description that a message's body is, or holds (multipart).
pub fn description_of(message: &Message) -> Option<&[u8]> {
    let content_type = message.first(HeaderName::ContentType);
    description_in(content_type, message.body(), MAX_DEPTH).filter(|_| !message.body().is_empty())
}

/// A number that tells one description from another: FNV-1a, 64 bits, the same on every machine.
pub fn fingerprint(description: &[u8]) -> u64 {
    description.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Whether a description that was sent as an offer can answer `offer`, which had answered it: where each
/// refuses the same media, and neither has attributes whose answer differs from their offer (keys, roles of
/// DTLS, ICE).
pub fn can_answer(description: &[u8], offer: &[u8]) -> bool {
    const DIFFERING: [&[u8]; 4] = [b"\na=crypto:", b"\na=setup:", b"\na=ice-", b"\na=candidate:"];
    let is_plain = |text| DIFFERING.iter().all(|mark| memmem::find(text, mark).is_none());
    let refused = |text| media_lines(text).map(is_refused).collect::<Vec<bool>>();
    is_plain(description) && is_plain(offer) && refused(description) == refused(offer)
}

fn media_lines(description: &[u8]) -> impl Iterator<Item = &[u8]> {
    description
        .split(|octet| *octet == b'\n')
        .take(MAX_LINES)
        .filter_map(|line| line.strip_prefix(b"m="))
}

/// RFC 3264 §6: a port of 0 in `m=`.
fn is_refused(media: &[u8]) -> bool {
    media.split(|octet| *octet == b' ').nth(1) == Some(b"0")
}

/// The audio that a message's session description offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audio {
    /// Some of it may be plain (RFC 3551).
    pub has_rtp: bool,
    /// Some of it may be encrypted (RFC 3711), by its profile or by keys beside a plain one.
    pub has_srtp: bool,
    /// Names of its codecs, in lower case; without what only goes beside one.
    pub codecs: Vec<Box<str>>,
}

/// What audio is offered; `None` where there is no session description, or none with audio that can
/// be read.
pub fn audio_of(message: &Message) -> Option<Audio> {
    let description = description_of(message)?;
    let mut audio = Audio::default();
    let mut section: Option<Section> = None;
    for line in description.split(|octet| *octet == b'\n').take(MAX_LINES) {
        let line =
            std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).unwrap_or_default();
        if let Some(media) = line.strip_prefix("m=") {
            section.take().into_iter().for_each(|section| section.add_to(&mut audio));
            section = Section::parse(media);
        } else if let Some(attribute) = line.strip_prefix("a=")
            && let Some(section) = &mut section
        {
            section.attribute(attribute);
        }
    }
    section.into_iter().for_each(|section| section.add_to(&mut audio));
    (audio.has_rtp || audio.has_srtp).then_some(audio)
}

/// One `m=audio` with its attributes.
struct Section<'a> {
    is_encrypted: bool,
    has_keys: bool,
    formats: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Section<'a> {
    /// RFC 8866 §5.14: `audio <port> <proto> <fmt> ...`; port 0 offers nothing (RFC 3264 §5.1).
    fn parse(media: &'a str) -> Option<Self> {
        let mut fields = media.split_ascii_whitespace();
        let (kind, port, profile) = (fields.next()?, fields.next()?, fields.next()?);
        if kind != "audio" || port == "0" {
            return None;
        }
        let is_encrypted = profile.split('/').any(|part| matches!(part, "SAVP" | "SAVPF"));
        let formats = fields.take(MAX_FORMATS).map(|format| (format, None)).collect();
        Some(Self { is_encrypted, has_keys: false, formats })
    }

    fn attribute(&mut self, attribute: &'a str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "crypto" | "fingerprint" => self.has_keys = true,
            // RFC 8866 §6.6: `<payload type> <encoding name>/<clock rate>`.
            "rtpmap" => {
                let (payload_type, encoding) = value.split_once(' ').unwrap_or((value, ""));
                let encoding = encoding.trim_start().split('/').next().filter(|it| !it.is_empty());
                if let Some(format) = self.formats.iter_mut().find(|it| it.0 == payload_type) {
                    format.1 = encoding;
                }
            }
            _ => {}
        }
    }

    fn add_to(self, audio: &mut Audio) {
        audio.has_srtp |= self.is_encrypted || self.has_keys;
        audio.has_rtp |= !self.is_encrypted;
        for (payload_type, encoding) in self.formats {
            let Some(name) = encoding.or_else(|| static_encoding(payload_type)) else { continue };
            let name: Box<str> = name.to_ascii_lowercase().into();
            // RFC 4733, RFC 3389, RFC 2198: never alone.
            let goes_beside = matches!(&*name, "telephone-event" | "cn" | "red");
            if !goes_beside && !audio.codecs.contains(&name) {
                audio.codecs.push(name);
            }
        }
    }
}

/// RFC 3551 §6, table 4.
fn static_encoding(payload_type: &str) -> Option<&'static str> {
    Some(match payload_type {
        "0" => "PCMU",
        "3" => "GSM",
        "4" => "G723",
        "5" | "6" | "16" | "17" => "DVI4",
        "7" => "LPC",
        "8" => "PCMA",
        "9" => "G722",
        "10" | "11" => "L16",
        "12" => "QCELP",
        "13" => "CN",
        "14" => "MPA",
        "15" => "G728",
        "18" => "G729",
        _ => return None,
    })
}

/// In any case and with any parameters.
fn is_sdp(content_type: &[u8]) -> bool {
    media_type(content_type).eq_ignore_ascii_case(b"application/sdp")
}

/// The session description that a body is, or holds.
fn description_in<'a>(
    content_type: Option<&'a [u8]>,
    body: &'a [u8],
    depth: usize,
) -> Option<&'a [u8]> {
    let value = content_type?;
    if is_sdp(value) {
        return Some(body);
    }
    let kind = media_type(value);
    let is_multipart = kind.len() > 10 && kind[..10].eq_ignore_ascii_case(b"multipart/");
    let boundary = params::param(&value[kind.len()..], "boundary")?;
    if !is_multipart || depth == 0 || boundary.is_empty() {
        return None;
    }
    parts(body, boundary)
        .take(MAX_PARTS)
        .find_map(|part| description_in_part(part, boundary, depth - 1))
}

/// `part` goes on to the end of the whole: what follows its closing delimiter is cut off.
fn description_in_part<'a>(part: &'a [u8], boundary: &[u8], depth: usize) -> Option<&'a [u8]> {
    let (mut content_type, mut at) = (None, 0);
    loop {
        match cut(part, at) {
            Cut::Field(field) => {
                if field.name == HeaderName::ContentType {
                    content_type = Some(&part[field.value_start..field.value_end]);
                }
                at = field.next;
            }
            Cut::End { body, .. } => {
                let found = description_in(content_type, &part[body..], depth)?;
                let delimiter = [b"\n--", boundary].concat();
                return Some(memmem::find(found, &delimiter).map_or(found, |end| &found[..end]));
            }
            Cut::Unfinished => return None,
        }
    }
}

/// `type/subtype`, what stands before the parameters.
fn media_type(value: &[u8]) -> &[u8] {
    trim(&value[..memchr::memchr(b';', value).unwrap_or(value.len())])
}

/// The parts between the delimiter lines of RFC 2046 §5.1.1, from after each delimiter line on.
fn parts<'a>(body: &'a [u8], boundary: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = after_delimiter(body, boundary);
    std::iter::from_fn(move || {
        let text = rest?;
        rest = after_delimiter(text, boundary);
        Some(text)
    })
}

/// What follows the line `--boundary`; `None` at the closing `--boundary--`.
fn after_delimiter<'a>(body: &'a [u8], boundary: &[u8]) -> Option<&'a [u8]> {
    for dashes in memmem::find_iter(body, b"--") {
        let is_line_start = dashes == 0 || body[dashes - 1] == b'\n';
        let Some(rest) = body[dashes + 2..].strip_prefix(boundary) else {
            continue;
        };
        if is_line_start {
            let line_end = memchr::memchr(b'\n', rest)?;
            return trim(&rest[..line_end]).is_empty().then(|| &rest[line_end + 1..]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_type_reads_in_any_case_and_with_parameters() {
        for value in ["application/sdp", "Application/SDP", "application/sdp ;charset=utf-8"] {
            assert!(is_sdp(value.as_bytes()));
        }
        for value in ["application/sdpx", "text/plain", "application/isup", ""] {
            assert!(!is_sdp(value.as_bytes()));
        }
    }

    #[test]
    fn a_plain_body_counts_only_when_there_is_one() {
        assert!(is_session_description(&message("application/SDP", "v=0\r\n")));
        assert!(!is_session_description(&message("application/sdp", "")));
        assert!(!is_session_description(&message("text/plain", "v=0\r\n")));
    }

    #[test]
    fn a_multipart_body_is_searched_for_the_part() {
        let content_type = "multipart/mixed; boundary=\"b 1\"";
        let with = "preamble --b 1\r\n--b 1\r\nContent-Type: application/isup\r\n\r\n\x01\r\n\
                    --b 1  \r\nc: Application/SDP\r\nContent-ID: <a>\r\n\r\nv=0\r\n--b 1--\r\n";
        assert!(is_session_description(&message(content_type, with)));
        let without = with.replace("Application/SDP", "text/plain");
        assert!(!is_session_description(&message(content_type, &without)));
        let after_close = "--b 1\r\n\r\nx\r\n--b 1--\r\n--b 1\r\nc: application/sdp\r\n\r\nv=0";
        assert!(!is_session_description(&message(content_type, after_close)));
    }

    #[test]
    fn nesting_is_followed_to_a_limit() {
        let nested = |depth: usize| {
            let inner = "application/sdp".to_owned();
            let (content_type, body) =
                (0..depth).fold((inner, "v=0\r\n".to_owned()), |(t, b), at| {
                    let body = format!("--n{at}\r\nContent-Type: {t}\r\n\r\n{b}\r\n--n{at}--\r\n");
                    (format!("multipart/mixed;boundary=n{at}"), body)
                });
            is_session_description(&message(&content_type, &body))
        };
        assert!(nested(2));
        assert!(nested(MAX_DEPTH));
        assert!(!nested(MAX_DEPTH + 1));
    }

    #[test]
    fn audio_is_read_from_static_payload_types_and_maps() {
        let body = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0 8 111 101 13 77\r\n\
                    a=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
                    m=video 4002 RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n";
        let audio = audio_of(&message("application/sdp", body)).expect("audio");
        let codecs: Vec<Box<str>> = ["pcmu", "pcma", "opus"].map(Into::into).into();
        assert_eq!(audio, Audio { has_rtp: true, has_srtp: false, codecs });
    }

    #[test]
    fn audio_may_be_encrypted_by_its_profile_or_by_keys_beside_a_plain_one() {
        for (media, rtp, srtp) in [
            ("m=audio 4000 RTP/AVP 0\r\n", true, false),
            ("m=audio 4000 RTP/SAVP 0\r\na=crypto:1 x inline:y\r\n", false, true),
            ("m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n", false, true),
            ("m=audio 4000 RTP/AVP 0\r\na=crypto:1 x inline:y\r\n", true, true),
            ("m=audio 4000 RTP/AVP 0\r\nm=audio 4002 RTP/SAVP 0\r\n", true, true),
            ("m=audio 4000 RTP/AVP 0\r\nm=audio 0 RTP/SAVP 0\r\n", true, false),
        ] {
            let audio = audio_of(&message("application/sdp", media)).expect("audio");
            assert_eq!((audio.has_rtp, audio.has_srtp), (rtp, srtp), "{media}");
        }
    }

    #[test]
    fn audio_is_none_where_nothing_says_of_what_kind_it_is() {
        for body in ["", "v=0\r\n", "m=audio 0 RTP/AVP 0\r\n", "m=audio\r\n", "m=image 1 udptl t38"]
        {
            assert_eq!(audio_of(&message("application/sdp", body)), None, "{body}");
        }
        assert_eq!(audio_of(&message("text/plain", "m=audio 4000 RTP/AVP 0")), None);
    }

    #[test]
    fn audio_is_read_inside_a_multipart_body_and_not_beyond_its_part() {
        let body = "--b\r\nContent-Type: application/sdp\r\n\r\nm=audio 4000 RTP/AVP 0\r\n\
                    --b\r\nContent-Type: text/plain\r\n\r\nm=audio 4000 RTP/SAVP 8\r\n--b--\r\n";
        let audio = audio_of(&message("multipart/mixed;boundary=b", body)).expect("audio");
        assert!(!audio.has_srtp);
        assert_eq!(audio.codecs, ["pcmu".into()]);
    }

    fn message(content_type: &str, body: &str) -> Message {
        let text = format!(
            "MESSAGE sip:b@x.example SIP/2.0\r\nVia: SIP/2.0/UDP y.example;branch=z9hG4bK1\r\n\
             From: <sip:a@y.example>;tag=1\r\nTo: <sip:b@x.example>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(Bytes::from(text)).unwrap()
    }
}
