//! A simulated carrier: one socket, and one way to behave at a time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::sip::{HeaderName, Message, Method, Printer};

/// How a carrier treats what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// Rings, then answers.
    Answers,
    /// Answers probes, and refuses every call with 503.
    Refuses,
    /// Takes every datagram and says nothing.
    Swallows,
    /// Its port is closed.
    Dead,
}

/// Time from the INVITE to ringing, and from there to the answer.
const PICK_UP: Duration = Duration::from_millis(150);
const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                     m=audio 40002 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

/// A carrier at an address that outlives its deaths.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    behaviour: watch::Sender<Behaviour>,
    invites: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
}

impl Carrier {
    pub(super) async fn start(name: &'static str, behaviour: Behaviour) -> std::io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let (behaviour, changes) = watch::channel(behaviour);
        let (invites, answers) = (Arc::default(), Arc::default());
        let agent = Agent {
            address,
            changes,
            invites: Arc::clone(&invites),
            answers: Arc::clone(&answers),
            answered: HashMap::new(),
        };
        tokio::spawn(agent.run(Some(Arc::new(socket))));
        Ok(Self { name, address, behaviour, invites, answers })
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    pub(super) fn behaviour(&self) -> Behaviour {
        *self.behaviour.borrow()
    }

    /// Different INVITEs that came, and how many of them were answered.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.invites.load(Ordering::Relaxed), self.answers.load(Ordering::Relaxed))
    }
}

struct Agent {
    address: SocketAddr,
    changes: watch::Receiver<Behaviour>,
    invites: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
    /// The final response to each INVITE, by Call-ID, for repeated ones; `None` while it rings.
    answered: HashMap<Vec<u8>, Option<Bytes>>,
}

impl Agent {
    async fn run(mut self, mut socket: Option<Arc<UdpSocket>>) {
        let mut octets = vec![0; 65_535];
        let (pick_up, mut picked_up) = tokio::sync::mpsc::channel::<(Message, SocketAddr)>(1_024);
        loop {
            let behaviour = *self.changes.borrow_and_update();
            if behaviour == Behaviour::Dead {
                // Dropping the socket closes the port: who sends to it hears so from the system.
                socket = None;
                self.answered.clear();
            } else if socket.is_none() {
                socket = UdpSocket::bind(self.address).await.ok().map(Arc::new);
            }
            let Some(open) = socket.clone() else {
                if self.changes.changed().await.is_err() {
                    return;
                }
                continue;
            };
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { return },
                Some((invite, from)) = picked_up.recv() => self.answer(&open, &invite, from).await,
                Ok((len, from)) = open.recv_from(&mut octets) => {
                    let Ok(message) = Message::parse(Bytes::copy_from_slice(&octets[..len])) else {
                        continue;
                    };
                    if behaviour == Behaviour::Swallows {
                        self.swallow(&message);
                    } else if message.is_request() {
                        self.take(&open, message, from, behaviour, &pick_up).await;
                    }
                }
            }
        }
    }

    /// Only counts what comes.
    fn swallow(&mut self, message: &Message) {
        if message.method() == Method::Invite
            && self.answered.insert(message.call_id().to_vec(), None).is_none()
        {
            self.invites.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn take(
        &mut self,
        socket: &UdpSocket,
        request: Message,
        from: SocketAddr,
        behaviour: Behaviour,
        pick_up: &tokio::sync::mpsc::Sender<(Message, SocketAddr)>,
    ) {
        match request.method() {
            Method::Ack => {}
            Method::Invite => match self.answered.get(request.call_id()) {
                Some(Some(again)) => send(socket, again, from).await,
                Some(None) => {}
                None => self.take_invite(socket, request, from, behaviour, pick_up).await,
            },
            _ => send(socket, &response(&request, 200, from, self.address, b""), from).await,
        }
    }

    async fn take_invite(
        &mut self,
        socket: &UdpSocket,
        invite: Message,
        from: SocketAddr,
        behaviour: Behaviour,
        pick_up: &tokio::sync::mpsc::Sender<(Message, SocketAddr)>,
    ) {
        self.invites.fetch_add(1, Ordering::Relaxed);
        if behaviour == Behaviour::Refuses {
            let refusal = response(&invite, 503, from, self.address, b"");
            send(socket, &refusal, from).await;
            self.answered.insert(invite.call_id().to_vec(), Some(refusal));
            return;
        }
        self.answered.insert(invite.call_id().to_vec(), None);
        send(socket, &response(&invite, 100, from, self.address, b""), from).await;
        send(socket, &response(&invite, 180, from, self.address, b""), from).await;
        let pick_up = pick_up.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PICK_UP).await;
            let _ = pick_up.send((invite, from)).await;
        });
    }

    async fn answer(&mut self, socket: &UdpSocket, invite: &Message, from: SocketAddr) {
        // Whoever died meanwhile does not remember who rang.
        let Some(answered) = self.answered.get_mut(invite.call_id()) else { return };
        let ok = response(invite, 200, from, self.address, SDP);
        *answered = Some(ok.clone());
        self.answers.fetch_add(1, Ordering::Relaxed);
        send(socket, &ok, from).await;
    }
}

fn response(
    request: &Message,
    status_code: u16,
    from: SocketAddr,
    own: SocketAddr,
    body: &[u8],
) -> Bytes {
    let contact = format!("<sip:carrier@{own}>");
    let tag = (status_code > 100).then_some(&b"carrier"[..]);
    let mut printer = Printer::response_to(request, status_code, b"", tag, from);
    if request.method() == Method::Invite && (101..300).contains(&status_code) {
        printer.header(HeaderName::Contact, contact.as_bytes());
    }
    if !body.is_empty() {
        printer.header(HeaderName::ContentType, b"application/sdp");
    }
    printer.finish(body)
}

async fn send(socket: &UdpSocket, octets: &Bytes, to: SocketAddr) {
    // A lost datagram is repeated by whoever misses it.
    let _ = socket.send_to(octets, to).await;
}
