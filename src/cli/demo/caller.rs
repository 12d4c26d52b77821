//! A simulated platform: a stream of calls from one socket, each followed to its end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::UdpSocket;

use crate::sip::{HeaderName, Message, Method, NameAddr, print};

/// RFC 3261 Timer A, and what stands in for Timers E and G here.
const REPEAT_AFTER: Duration = Duration::from_millis(500);
/// Times that a request is repeated before its call counts as lost.
const REPEATS: u32 = 40;
/// How often the caller looks what is due.
const TICK: Duration = Duration::from_millis(20);
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

/// What has become of the calls so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) offered: u64,
    pub(super) answered: u64,
    /// Answered, and hung up with an answer to the BYE.
    pub(super) completed: u64,
    /// Refused, with the code, or never answered.
    pub(super) lost: u64,
    pub(super) last_refusal: Option<u16>,
    pub(super) talking: u64,
    /// INVITE to answer, of the slowest call.
    pub(super) slowest: Duration,
}

/// How the stream of calls is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) router: SocketAddr,
    pub(super) every: Duration,
    pub(super) talk: Duration,
}

struct OneCall {
    number: u64,
    begun: Instant,
    invite: Bytes,
    phase: Phase,
}

enum Phase {
    Calling {
        repeat_at: Instant,
        repeats: u32,
    },
    /// A provisional response came: the router repeats what is to be repeated.
    Ringing,
    Talking {
        ack: Bytes,
        until: Instant,
        ok: Box<Message>,
    },
    HangingUp {
        bye: Bytes,
        repeat_at: Instant,
        repeats: u32,
        ack: Bytes,
    },
}

/// Makes calls until `stop`, then sees those in progress through.
pub(super) async fn run(
    stream: Stream,
    stop: tokio::sync::watch::Receiver<bool>,
    tally: Arc<Mutex<Tally>>,
) -> std::io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let own = socket.local_addr()?;
    let mut caller = Caller { stream, socket, own, calls: HashMap::new(), tally, number: 0 };
    let mut next_call = Instant::now();
    let mut octets = vec![0; 65_535];
    let mut tick = tokio::time::interval(TICK);
    loop {
        let is_stopped = *stop.borrow();
        if is_stopped && caller.calls.is_empty() {
            return Ok(());
        }
        tokio::select! {
            Ok((len, _)) = caller.socket.recv_from(&mut octets) => {
                if let Ok(message) = Message::parse(Bytes::copy_from_slice(&octets[..len])) {
                    caller.take(message).await;
                }
            }
            _ = tick.tick() => {
                let now = Instant::now();
                caller.look(now).await;
                if !is_stopped && now >= next_call {
                    next_call = now + stream.every;
                    caller.call(now).await;
                }
            }
        }
    }
}

struct Caller {
    stream: Stream,
    socket: UdpSocket,
    own: SocketAddr,
    calls: HashMap<Vec<u8>, OneCall>,
    tally: Arc<Mutex<Tally>>,
    number: u64,
}

impl Caller {
    async fn call(&mut self, now: Instant) {
        self.number += 1;
        let (number, own, router) = (self.number, self.own, self.stream.router);
        let call_id = format!("demo-{number}-{}", own.port());
        let invite = Bytes::from(format!(
            "INVITE sip:+4930{number:06}@{router} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {own};rport;branch=z9hG4bK-{number}-invite\r\n\
             From: <sip:+4930555000@{own}>;tag=caller-{number}\r\n\
             To: <sip:+4930{number:06}@{router}>\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n\
             Contact: <sip:caller@{own}>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{SDP}",
            SDP.len()
        ));
        self.send(&invite).await;
        let phase = Phase::Calling { repeat_at: now + REPEAT_AFTER, repeats: 0 };
        self.calls.insert(call_id.into_bytes(), OneCall { number, begun: now, invite, phase });
        self.note(|tally| tally.offered += 1);
    }

    async fn take(&mut self, message: Message) {
        if message.is_request() {
            // Nobody but us hangs up here; whatever the router asks is granted.
            if message.method() != Method::Ack {
                let ok = print::Printer::response_to(&message, 200, b"", None, self.stream.router);
                self.send(&ok.finish(b"")).await;
            }
            return;
        }
        let (status_code, (_, method)) = (message.status_code(), message.cseq());
        let Some(call) = self.calls.get_mut(message.call_id()) else { return };
        match (&mut call.phase, method) {
            (Phase::Calling { .. } | Phase::Ringing, Method::Invite) => match status_code {
                100..200 => call.phase = Phase::Ringing,
                200..300 => {
                    let (took, now) = (call.begun.elapsed(), Instant::now());
                    let ack = in_dialog(call.number, &message, self.own, "ACK", 1);
                    let until = now + self.stream.talk;
                    call.phase = Phase::Talking { ack: ack.clone(), until, ok: Box::new(message) };
                    self.send(&ack).await;
                    self.note(|tally| {
                        tally.answered += 1;
                        tally.talking += 1;
                        tally.slowest = tally.slowest.max(took);
                    });
                }
                code => {
                    let ack = print::ack_for_rejection(&call.invite, &message);
                    self.calls.remove(message.call_id());
                    self.send(&ack).await;
                    self.note(|tally| {
                        tally.lost += 1;
                        tally.last_refusal = Some(code);
                    });
                }
            },
            (Phase::Talking { ack, .. } | Phase::HangingUp { ack, .. }, Method::Invite) => {
                let ack = ack.clone();
                self.send(&ack).await;
            }
            (Phase::HangingUp { .. }, Method::Bye) if status_code >= 200 => {
                self.calls.remove(message.call_id());
                self.note(|tally| {
                    tally.talking -= 1;
                    tally.completed += 1;
                });
            }
            (
                Phase::Calling { .. }
                | Phase::Ringing
                | Phase::Talking { .. }
                | Phase::HangingUp { .. },
                _,
            ) => {}
        }
    }

    /// Hangs up what has talked long enough, repeats what has no answer.
    async fn look(&mut self, now: Instant) {
        let mut due = Vec::new();
        let mut lost = Vec::new();
        for (call_id, call) in &mut self.calls {
            match &mut call.phase {
                Phase::Talking { ack, until, ok } if *until <= now => {
                    let bye = in_dialog(call.number, ok, self.own, "BYE", 2);
                    due.push(bye.clone());
                    let (repeat_at, ack) = (now + REPEAT_AFTER, ack.clone());
                    call.phase = Phase::HangingUp { bye, repeat_at, repeats: 0, ack };
                }
                Phase::Calling { repeat_at, repeats } if *repeat_at <= now => {
                    (*repeat_at, *repeats) = (now + REPEAT_AFTER, *repeats + 1);
                    due.push(call.invite.clone());
                    if *repeats > REPEATS {
                        lost.push((call_id.clone(), false));
                    }
                }
                Phase::HangingUp { bye, repeat_at, repeats, .. } if *repeat_at <= now => {
                    (*repeat_at, *repeats) = (now + REPEAT_AFTER, *repeats + 1);
                    due.push(bye.clone());
                    if *repeats > REPEATS {
                        lost.push((call_id.clone(), true));
                    }
                }
                Phase::Calling { .. }
                | Phase::Ringing
                | Phase::Talking { .. }
                | Phase::HangingUp { .. } => {}
            }
        }
        for octets in due {
            self.send(&octets).await;
        }
        for (call_id, was_answered) in lost {
            self.calls.remove(&call_id);
            self.note(|tally| {
                tally.lost += 1;
                tally.talking -= u64::from(was_answered);
            });
        }
    }

    async fn send(&self, octets: &Bytes) {
        let _ = self.socket.send_to(octets, self.stream.router).await;
    }

    fn note(&self, write: impl FnOnce(&mut Tally)) {
        write(&mut self.tally.lock().expect("nobody panics while holding it"));
    }
}

/// A request within the dialog that a 2xx made (RFC 3261 §12.2.1.1).
fn in_dialog(number: u64, ok: &Message, own: SocketAddr, method: &str, seq: u32) -> Bytes {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let target = ok.first(HeaderName::Contact).and_then(NameAddr::parse);
    let target = text(target.map(|contact| contact.uri).unwrap_or_default());
    let header = |name| text(ok.first(name).unwrap_or_default());
    Bytes::from(format!(
        "{method} {target} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {own};rport;branch=z9hG4bK-{number}-{method}\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {seq} {method}\r\nMax-Forwards: 70\r\n\
         Content-Length: 0\r\n\r\n",
        header(HeaderName::From),
        header(HeaderName::To),
        header(HeaderName::CallId),
    ))
}
