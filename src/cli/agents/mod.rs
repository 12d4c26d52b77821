//! Small SIP user agents over UDP, for callers and carriers that are not real: the demo's and the drill's.
//!
//! Each is a value: messages and time in, datagrams and news out. [`start`] gives it a socket. They speak to the router
//! itself, so they know neither proxies nor route sets.

mod caller;
mod carrier;
mod dialog;
mod talk;
#[cfg(test)]
mod tests;

pub(super) use caller::{Caller, CallerNews, CallerSettings};
pub(super) use carrier::{Behaviour, Carrier, CarrierNews, CarrierSettings};
pub(super) use talk::End;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::sip::Message;

/// RFC 3261 Timers A, E and G begin with it.
const T1: Duration = Duration::from_millis(500);
/// The longest time between two repetitions.
const T2: Duration = Duration::from_secs(4);
/// Timers B, F and H.
const GIVE_UP_AFTER: Duration = Duration::from_secs(32);
/// How often an agent looks what is due.
const TICK: Duration = Duration::from_millis(10);
/// Datagrams in a row before anything else gets its turn.
const BATCH: usize = 64;
/// What the kernel keeps while we are busy.
const SOCKET_OCTETS: usize = 4 << 20;
const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                     m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

/// A datagram on its way out.
type Sent = (SocketAddr, Bytes);

/// A user agent as a value. After every call the output is polled until there is none.
pub(super) trait Agent: Send + 'static {
    fn handle(&mut self, message: &Message, from: SocketAddr, now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_output(&mut self) -> Option<Sent>;
    /// Otherwise its port is closed: who sends to it hears so from the system.
    fn is_open(&self) -> bool {
        true
    }
}

/// A datagram that is sent again until it is answered.
#[derive(Debug)]
struct Repeated {
    sent: Sent,
    due: Instant,
    interval: Duration,
    until: Instant,
}

impl Repeated {
    fn new(sent: Sent, now: Instant) -> Self {
        Self { sent, due: now + T1, interval: T1, until: now + GIVE_UP_AFTER }
    }

    /// The datagram, if it is time; nothing any more once it was waited for long enough.
    fn poll(&mut self, now: Instant) -> Option<Sent> {
        if now < self.due || self.is_given_up(now) {
            return None;
        }
        self.interval = (2 * self.interval).min(T2);
        self.due = now + self.interval;
        Some(self.sent.clone())
    }

    fn is_given_up(&self, now: Instant) -> bool {
        now >= self.until
    }
}

/// An agent with a socket. Both are gone once this is dropped.
#[derive(Debug)]
pub(super) struct Running<A> {
    pub(super) address: SocketAddr,
    agent: Arc<Mutex<A>>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl<A: Agent> Running<A> {
    /// Does something with the agent; what comes of it is sent at once.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut A) -> T) -> T {
        let done = act(&mut self.agent.lock().expect("nobody panics while holding it"));
        self.wake.notify_one();
        done
    }
}

impl<A> Drop for Running<A> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Binds an address (port 0 = any) and starts the agent that is made for what was bound.
pub(super) async fn start<A: Agent>(
    listen: SocketAddr,
    make: impl FnOnce(SocketAddr) -> A,
) -> std::io::Result<Running<A>> {
    let socket = bind(listen)?;
    let address = socket.local_addr()?;
    let agent = Arc::new(Mutex::new(make(address)));
    let wake = Arc::new(Notify::new());
    let task = tokio::spawn(run(agent.clone(), wake.clone(), address, socket));
    Ok(Running { address, agent, wake, task })
}

async fn run<A: Agent>(
    agent: Arc<Mutex<A>>,
    wake: Arc<Notify>,
    address: SocketAddr,
    socket: UdpSocket,
) {
    let mut socket = Some(socket);
    let mut octets = vec![0; 65_535];
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = receive(socket.as_ref(), &mut octets) => {
                let mut next = Some(received);
                for _ in 0..BATCH {
                    let Some((len, from)) = next else { break };
                    // What is no SIP message is no business of ours.
                    if let Ok(message) = Message::parse(Bytes::copy_from_slice(&octets[..len])) {
                        let mut agent = agent.lock().expect("nobody panics while holding it");
                        agent.handle(&message, from, Instant::now());
                    }
                    next = socket.as_ref().and_then(|open| open.try_recv_from(&mut octets).ok());
                }
            }
            () = wake.notified() => {}
            _ = tick.tick() => {
                let mut agent = agent.lock().expect("nobody panics while holding it");
                agent.handle_timeout(Instant::now());
            }
        }
        let (is_open, due) = {
            let mut agent = agent.lock().expect("nobody panics while holding it");
            let due: Vec<Sent> = std::iter::from_fn(|| agent.poll_output()).collect();
            (agent.is_open(), due)
        };
        match (is_open, &socket) {
            (true, None) => socket = bind(address).ok(),
            (false, Some(_)) => socket = None,
            (true, Some(_)) | (false, None) => {}
        }
        for (to, octets) in due {
            if let Some(open) = &socket {
                // A lost datagram is repeated by whoever misses it.
                let _ = open.send_to(&octets, to).await;
            }
        }
    }
}

async fn receive(socket: Option<&UdpSocket>, octets: &mut [u8]) -> (usize, SocketAddr) {
    let Some(socket) = socket else { return std::future::pending().await };
    loop {
        // An error is about something that we sent.
        if let Ok(received) = socket.recv_from(octets).await {
            return received;
        }
    }
}

fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
    // As much as the system grants.
    let _ = socket.set_recv_buffer_size(SOCKET_OCTETS);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
