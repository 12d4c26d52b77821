//! A virtual clock and readable actions for the machines' tests.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Action, Actions};
use crate::sip::Message;

pub(super) const REQUEST: &[u8] = b"the request";

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
pub(super) fn base() -> Instant {
    Instant::now()
}

pub(super) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What was done, in order, with `Deliver` and `TimeOut` by name and sends by their octets.
pub(super) fn done(actions: &mut Actions) -> Vec<String> {
    actions
        .drain()
        .map(|action| match action {
            Action::Send(octets) => format!("send {}", first_line(&octets)),
            Action::SendAgain(octets) => format!("again {}", first_line(&octets)),
            Action::Deliver => "deliver".to_owned(),
            Action::TimeOut => "time out".to_owned(),
        })
        .collect()
}

/// Runs a machine from deadline to deadline; gives what was done, with the milliseconds since `start`.
pub(super) fn run(
    start: Instant,
    actions: &mut Actions,
    mut poll_timeout: impl FnMut(Option<(Instant, &mut Actions)>) -> Option<Instant>,
) -> Vec<(u64, String)> {
    let mut log = Vec::new();
    let mut at = poll_timeout(None);
    while let Some(now) = at {
        at = poll_timeout(Some((now, actions)));
        let elapsed = u64::try_from((now - start).as_millis()).expect("tests are short");
        log.extend(done(actions).into_iter().map(|what| (elapsed, what)));
        assert!(log.len() < 1_000, "a machine that does not end");
    }
    log
}

/// Our INVITE on the wire.
pub(super) fn invite() -> Bytes {
    Bytes::from_static(
        b"INVITE sip:bob@192.0.2.4 SIP/2.0\r\n\
          Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0123456789abcdef1;rport\r\n\
          Max-Forwards: 70\r\n\
          From: <sip:alice@192.0.2.1>;tag=a1\r\n\
          To: <sip:bob@192.0.2.4>\r\n\
          Call-ID: c1\r\n\
          CSeq: 1 INVITE\r\n\
          Content-Length: 0\r\n\r\n",
    )
}

/// A response to [`invite`] with the To tag `b1`.
pub(super) fn response(status_code: u16) -> Message {
    let text = format!(
        "SIP/2.0 {status_code} Whatever\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0123456789abcdef1;rport\r\n\
         From: <sip:alice@192.0.2.1>;tag=a1\r\n\
         To: <sip:bob@192.0.2.4>;tag=b1\r\n\
         Call-ID: c1\r\n\
         CSeq: 1 INVITE\r\n\
         Content-Length: 0\r\n\r\n"
    );
    Message::parse(Bytes::from(text)).expect("a good response")
}

fn first_line(octets: &[u8]) -> String {
    let end = octets.iter().position(|octet| *octet == b'\r').unwrap_or(octets.len());
    String::from_utf8_lossy(&octets[..end]).into_owned()
}
