//! The hub over loopback: connections that split, join, stall, vanish and come back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use socket2::{Domain, Socket, Type};

use super::tls::TlsFiles;
use super::*;
use crate::carrier::Transport;
use crate::engine::ListenerId;

const GATEWAY: GatewayId = GatewayId(7);

/// What a hub has told the rest of the node.
#[derive(Debug, Default)]
struct Told {
    has_no_room: AtomicBool,
    name: Mutex<Option<PeerName>>,
}

struct TestDoor {
    received: mpsc::Sender<Received>,
    unreachable: mpsc::Sender<Flow>,
    kept_alive: mpsc::Sender<(Flow, Option<Duration>)>,
    told: Arc<Told>,
}

impl Door for TestDoor {
    fn deliver(&self, received: Received) -> Result<(), Received> {
        if self.told.has_no_room.load(Ordering::Relaxed) {
            return Err(received);
        }
        let _ = self.received.send(received);
        Ok(())
    }

    fn unreachable(&self, flow: Flow) {
        let _ = self.unreachable.send(flow);
    }

    fn keep_alive(&self, flow: Flow, silent_for: Option<Duration>) {
        let _ = self.kept_alive.send((flow, silent_for));
    }

    fn name_of(&self, gateway: GatewayId) -> Option<PeerName> {
        self.told.name.lock().expect("nobody panics").clone().filter(|_| gateway == GATEWAY)
    }
}

/// A running hub with one listener.
pub(super) struct World {
    pub(super) address: SocketAddr,
    handle: StreamHandle,
    thread: Option<JoinHandle<()>>,
    received: mpsc::Receiver<Received>,
    unreachable: mpsc::Receiver<Flow>,
    kept_alive: mpsc::Receiver<(Flow, Option<Duration>)>,
    told: Arc<Told>,
    tls: Arc<ArcSwapOption<tls::TlsConfigs>>,
}

impl World {
    pub(super) fn tcp(limits: Limits) -> Self {
        Self::start(Transport::Tcp, false, limits, None)
    }

    pub(super) fn tls(is_mutual: bool, files: &TlsFiles) -> Self {
        let configs = files.load().expect("good files");
        Self::start(Transport::Tls, is_mutual, Limits::default(), Some(configs))
    }

    fn start(
        transport: Transport,
        is_mutual: bool,
        limits: Limits,
        tls: Option<tls::TlsConfigs>,
    ) -> Self {
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let listener =
            StreamListener::bind(transport, loopback, is_mutual).expect("loopback can be bound");
        let address = listener.local_address();
        let (handle, mailbox) = mailbox().expect("an eventfd");
        let (received_sender, received) = mpsc::channel();
        let (unreachable_sender, unreachable) = mpsc::channel();
        let (kept_alive_sender, kept_alive) = mpsc::channel();
        let told = Arc::new(Told::default());
        let door = TestDoor {
            received: received_sender,
            unreachable: unreachable_sender,
            kept_alive: kept_alive_sender,
            told: told.clone(),
        };
        let listeners = vec![(ListenerId(0), listener)];
        let tls = Arc::new(ArcSwapOption::new(tls.map(Arc::new)));
        let hub =
            Hub::new(listeners, mailbox, limits, tls.clone(), "test".into(), door).expect("a hub");
        let thread = Some(hub.start().expect("a thread"));
        Self { address, handle, thread, received, unreachable, kept_alive, told, tls }
    }

    pub(super) fn is_called(&self, host: &str, allows_wildcard: bool) {
        let name = PeerName { host: host.into(), allows_wildcard };
        *self.told.name.lock().expect("nobody panics") = Some(name);
    }

    pub(super) fn send(&self, flow: Flow, text: &str) {
        self.handle.send([(flow, Bytes::from(text.to_owned()))].into_iter());
    }

    pub(super) fn next(&self) -> Received {
        self.received.recv_timeout(Duration::from_secs(5)).expect("a message comes")
    }

    pub(super) fn next_unreachable(&self) -> Flow {
        self.unreachable.recv_timeout(Duration::from_secs(5)).expect("a failure is told")
    }

    pub(super) fn counts(&self) -> StreamCounts {
        self.handle.counts()
    }

    fn closed(&self, reason: CloseReason) {
        wait_until(|| self.counts().closed_for(reason) == 1);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok(), "the hub panicked");
        }
    }
}

pub(super) fn wait_until(what: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(5);
    while !what() {
        assert!(Instant::now() < limit, "it did not come true in 5 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn options(call_id: &str, body: &str) -> String {
    format!(
        "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5070;branch=z9hG4bK1\r\n\
         From: <sip:b@127.0.0.1>;tag=1\r\nTo: <sip:a@127.0.0.1>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const OK: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 127.0.0.1:5070\r\nContent-Length: 0\r\n\r\n";

fn connect(world: &World) -> TcpStream {
    let stream = TcpStream::connect(world.address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit can be set");
    stream
}

fn read(stream: &mut TcpStream) -> String {
    let mut octets = [0; 4_096];
    let len = stream.read(&mut octets).expect("something comes");
    String::from_utf8_lossy(&octets[..len]).into_owned()
}

/// Until the peer has closed it.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut octets = [0; 65_536];
    loop {
        match stream.read(&mut octets) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn gateway(remote: SocketAddr) -> Flow {
    Flow::to_gateway(ListenerId(0), remote, GATEWAY)
}

fn peer() -> (TcpListener, SocketAddr) {
    let peer = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let address = peer.local_addr().expect("bound");
    (peer, address)
}

fn accept(peer: &TcpListener) -> TcpStream {
    let (stream, _) = peer.accept().expect("the hub connects");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit can be set");
    stream
}

#[test]
fn frames_messages_that_segments_split_or_join_and_answers_on_the_same_connection() {
    let world = World::tcp(Limits::default());
    let mut stream = connect(&world);
    let both = options("one", "v=0") + &options("two", "");
    for part in [&both[..20], &both[20..300], &both[300..]] {
        stream.write_all(part.as_bytes()).expect("sent");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (one, two) = (world.next(), world.next());
    assert_eq!(one.bytes, options("one", "v=0"));
    assert_eq!(two.bytes, options("two", ""));
    let local = stream.local_addr().expect("bound");
    assert_eq!(one.flow, Flow::new(ListenerId(0), local));
    world.send(one.flow, OK);
    assert_eq!(read(&mut stream), OK);
    assert_eq!((world.counts().accepted, world.counts().opened), (1, 0));
}

#[test]
fn answers_a_ping_with_one_crlf() {
    let world = World::tcp(Limits::default());
    let mut stream = connect(&world);
    stream.write_all(b"\r\n\r\n").expect("sent");
    assert_eq!(read(&mut stream), "\r\n");
}

#[test]
fn refuses_what_cannot_be_framed_and_closes_that_connection_alone() {
    let world = World::tcp(Limits::default());
    let (mut bad, mut good) = (connect(&world), connect(&world));
    bad.write_all(options("bad", "").replace("Length: 0", "Length: -1").as_bytes()).expect("sent");
    let told = read(&mut bad);
    assert!(told.starts_with("SIP/2.0 400 Bad Content-Length\r\n"), "{told}");
    assert!(told.contains("Call-ID: bad\r\n") && told.contains("tag="), "{told}");
    assert!(is_closed(&mut bad));
    world.closed(CloseReason::Framing);
    good.write_all(options("good", "").as_bytes()).expect("sent");
    assert_eq!(world.next().bytes, options("good", ""));
    let mut huge = connect(&world);
    huge.write_all(&vec![b'x'; 70_000]).expect("sent");
    assert!(is_closed(&mut huge), "a message over 64 KiB");
}

#[test]
fn takes_a_message_of_60_kib() {
    let world = World::tcp(Limits::default());
    let large = options("large", &"x".repeat(60 * 1_024));
    connect(&world).write_all(large.as_bytes()).expect("sent");
    assert_eq!(world.next().bytes, large);
}

#[test]
fn opens_one_connection_to_a_target_keeps_it_and_opens_another_when_it_is_gone() {
    let world = World::tcp(Limits::default());
    let (peer, address) = peer();
    world.send(gateway(address), &options("1", ""));
    world.send(gateway(address), &options("2", ""));
    let mut stream = accept(&peer);
    let mut both = read(&mut stream);
    while both.len() < 2 * options("1", "").len() {
        both += &read(&mut stream);
    }
    assert_eq!(world.counts().opened, 1);
    stream.write_all(OK.as_bytes()).expect("sent");
    assert_eq!(world.next().flow, gateway(address));
    drop(stream);
    assert_eq!(world.next_unreachable(), gateway(address), "who waits for an answer is told");
    world.send(gateway(address), &options("3", ""));
    assert_eq!(read(&mut accept(&peer)), options("3", ""));
}

#[test]
fn tells_at_once_that_a_port_is_closed_and_in_time_that_nobody_answers() {
    let limits = Limits { connect: Duration::from_millis(200), ..Limits::default() };
    let world = World::tcp(limits);
    let (peer, address) = peer();
    drop(peer);
    let begun = Instant::now();
    world.send(gateway(address), &options("1", ""));
    assert_eq!(world.next_unreachable(), gateway(address));
    assert!(begun.elapsed() < Duration::from_secs(1));
    world.closed(CloseReason::Refused);
    // A queue that is full lets connections wait for an answer.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("loopback can be bound");
    socket.listen(0).expect("it listens");
    let full = socket.local_addr().expect("bound").as_socket().expect("an address");
    let _first = TcpStream::connect(full).expect("there is room for one");
    world.send(gateway(full), &options("2", ""));
    assert_eq!(world.next_unreachable(), gateway(full));
    world.closed(CloseReason::ConnectTimeout);
}

#[test]
fn reaches_a_peer_whose_connection_is_closed_where_its_fallback_says() {
    let world = World::tcp(Limits::default());
    let (peer, address) = peer();
    let stream = connect(&world);
    let remote = stream.local_addr().expect("bound");
    let flow = Flow { fallback: Some(address), ..Flow::new(ListenerId(0), remote) };
    wait_until(|| world.counts().accepted_now == 1);
    drop(stream);
    wait_until(|| world.counts().accepted_now == 0);
    world.send(flow, OK);
    world.send(flow, OK);
    let mut stream = accept(&peer);
    let mut both = read(&mut stream);
    while both.len() < 2 * OK.len() {
        both += &read(&mut stream);
    }
    assert_eq!(world.counts().opened, 1, "the second one finds the first one's connection");
}

#[test]
fn closes_a_peer_that_does_not_read_and_holds_up_nobody_else() {
    let limits = Limits { queue_octets: 100_000, ..Limits::default() };
    let world = World::tcp(limits);
    let (slow, mut quick) = (connect(&world), connect(&world));
    let flow_of =
        |stream: &TcpStream| Flow::new(ListenerId(0), stream.local_addr().expect("bound"));
    wait_until(|| world.counts().accepted_now == 2);
    let large = options("large", &"x".repeat(30_000));
    let limit = Instant::now() + Duration::from_secs(20);
    while world.counts().closed_for(CloseReason::SlowReader) == 0 {
        assert!(Instant::now() < limit, "it is never closed");
        world.send(flow_of(&slow), &large);
        world.send(flow_of(&quick), OK);
        assert!(read(&mut quick).starts_with("SIP/2.0 200"));
    }
    // What is sent to it now would open a connection to it, which it does not take.
    assert_eq!(world.next_unreachable().remote, flow_of(&slow).remote);
}

#[test]
fn closes_who_says_nothing_or_half_of_it_or_nothing_any_more() {
    let limits = Limits {
        message: Duration::from_millis(300),
        idle: Duration::from_millis(900),
        ..Limits::default()
    };
    let world = World::tcp(limits);
    let (mut silent, mut half, mut whole) = (connect(&world), connect(&world), connect(&world));
    half.write_all((options("1", "") + "OPTIONS sip:").as_bytes()).expect("sent");
    whole.write_all(options("2", "").as_bytes()).expect("sent");
    assert!(is_closed(&mut silent) && is_closed(&mut half));
    assert_eq!(world.counts().closed_for(CloseReason::HalfOpen), 2);
    assert_eq!(world.counts().closed_for(CloseReason::Idle), 0);
    assert!(is_closed(&mut whole));
    assert_eq!(world.counts().closed_for(CloseReason::Idle), 1);
}

#[test]
fn pings_an_idle_gateway_and_gives_up_one_that_answered_before_and_does_not_now() {
    let limits = Limits {
        ping_after: Duration::from_millis(200),
        pong_within: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::tcp(limits);
    let (peer, address) = peer();
    world.send(gateway(address), &options("1", ""));
    let mut stream = accept(&peer);
    read(&mut stream);
    for answer in ["", "\r\n", ""] {
        assert_eq!(read(&mut stream), "\r\n\r\n");
        stream.write_all(answer.as_bytes()).expect("sent");
    }
    assert!(is_closed(&mut stream));
    assert_eq!(world.counts().pings, 3);
    assert_eq!(world.counts().closed_for(CloseReason::NoPong), 1);
    assert_eq!(world.next_unreachable(), gateway(address));
    let told: Vec<_> = world.kept_alive.try_iter().collect();
    assert_eq!(told, [(gateway(address), None), (gateway(address), Some(limits.pong_within))]);
}

#[test]
fn closes_what_leads_to_nobodys_gateway_once_it_is_unused() {
    let limits = Limits { idle: Duration::from_millis(300), ..Limits::default() };
    let world = World::tcp(limits);
    world.is_called("gateway", false);
    let ((kept_peer, kept), (left_peer, left)) = (peer(), peer());
    world.send(gateway(kept), OK);
    world.send(Flow::new(ListenerId(0), left), OK);
    let (mut kept, mut left) = (accept(&kept_peer), accept(&left_peer));
    assert!(is_closed(&mut left));
    assert_eq!(read(&mut kept), OK);
    world.closed(CloseReason::Unused);
    assert_eq!(world.counts().opened_now, 1);
}

#[test]
fn turns_away_more_connections_than_a_source_and_all_may_have() {
    let limits = Limits { connections_per_source: 2, ..Limits::default() };
    let world = World::tcp(limits);
    let mut streams: Vec<TcpStream> = (0..3).map(|_| connect(&world)).collect();
    assert!(is_closed(&mut streams[2]));
    drop(streams.remove(0));
    wait_until(|| world.counts().accepted_now == 1);
    let mut again = connect(&world);
    again.write_all(b"\r\n\r\n").expect("sent");
    assert_eq!(read(&mut again), "\r\n");
    assert_eq!(world.counts().turned_away, 1);
    let world = World::tcp(Limits { connections: 1, ..Limits::default() });
    let (_first, mut second) = (connect(&world), connect(&world));
    assert!(is_closed(&mut second));
    let ((_one_peer, one), (_two_peer, two)) = (peer(), peer());
    world.send(gateway(one), OK);
    world.send(gateway(two), &options("1", ""));
    assert_eq!(world.next_unreachable(), gateway(two), "nor do we open more");
}

#[test]
fn reads_no_further_while_a_shard_has_no_room_and_loses_nothing() {
    let world = World::tcp(Limits::default());
    world.told.has_no_room.store(true, Ordering::Relaxed);
    let mut stream = connect(&world);
    for number in 0..100 {
        stream.write_all(options(&number.to_string(), "").as_bytes()).expect("sent");
    }
    assert!(world.received.recv_timeout(Duration::from_millis(100)).is_err());
    world.told.has_no_room.store(false, Ordering::Relaxed);
    for number in 0..100 {
        assert_eq!(world.next().bytes, options(&number.to_string(), ""));
    }
}

mod tls_tests;
