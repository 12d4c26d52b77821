use std::io::{Read, Write};
use std::net::UdpSocket as Peer;
use std::sync::mpsc;

use super::*;
use crate::carrier::rows::{CarrierRow, CustomerRow, GatewayRow, NumberRuleRow};
use crate::carrier::{CustomerId, GatewayId, Rows, Transport};
use crate::engine::{Event, Listener};
use crate::health::Target;
use crate::net::stream::{self, ClientCertificate, Door, Hub, Limits, StreamListener};

/// Shards on one loopback address, and what they give out.
struct World {
    shards: Vec<(ShardHandle, JoinHandle<()>)>,
    address: SocketAddr,
    /// Of the shards' second listener.
    tcp_address: SocketAddr,
    streams: StreamHandle,
    hub: JoinHandle<()>,
    records: mpsc::Receiver<Box<CallRecord>>,
    outcomes: mpsc::Receiver<Vec<Outcome>>,
}

impl World {
    fn start(count: usize) -> Self {
        Self::with(count, no_rows())
    }

    fn with(count: usize, tables: Tables) -> Self {
        let shared = Arc::new(Shared {
            tables: ArcSwap::from_pointee(tables),
            view: ArcSwap::from_pointee(View::default()),
        });
        let (record, records) = mpsc::channel();
        let (outcome, outcomes) = mpsc::channel();
        let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
        let tcp = StreamListener::bind(Transport::Tcp, address, ClientCertificate::Unasked)
            .expect("loopback can be bound");
        let (streams, mailbox) = stream::mailbox().expect("an eventfd");
        let mut parts = Vec::new();
        for index in 0..count {
            let socket = UdpSocket::bind(address, count > 1).expect("loopback can be bound");
            address = socket.local_address();
            let (record, outcome) = (record.clone(), outcome.clone());
            parts.push(ShardParts {
                index,
                settings: settings(&[
                    (Transport::Udp, address),
                    (Transport::Tcp, tcp.local_address()),
                ]),
                sockets: vec![(ListenerId(0), socket)],
                streams: Some(streams.clone()),
                shared: shared.clone(),
                records: Box::new(move |sent| record.send(sent).map_err(|error| error.0)),
                outcomes: Box::new(move |batch| outcome.send(batch).is_ok()),
                cluster: Box::new(|_| false),
                keep_wait: Duration::ZERO,
                seed: index as u64,
            });
        }
        let shards = start(parts).expect("threads start");
        let handles = shards.iter().map(|(shard, _)| shard.clone()).collect();
        let door = ShardDoor::new(handles, shared, settings(&[]).bucket_key);
        let tcp_address = tcp.local_address();
        let (listeners, limits) = (vec![(ListenerId(1), tcp)], Limits::default());
        let hub = Hub::new(listeners, mailbox, limits, Arc::default(), "test".into(), door);
        let hub = hub.and_then(Hub::start).expect("a thread starts");
        Self { shards, address, tcp_address, streams, hub, records, outcomes }
    }

    fn sum(&self, of: fn(&Counters) -> u64) -> u64 {
        self.shards.iter().map(|(shard, _)| of(&shard.counters())).sum()
    }

    fn stop(self) -> mpsc::Receiver<Box<CallRecord>> {
        for (shard, thread) in self.shards {
            shard.stop();
            thread.join().expect("the shard did not panic");
        }
        self.streams.stop();
        self.hub.join().expect("the hub did not panic");
        self.records
    }
}

fn no_rows() -> Tables {
    Tables::check(Rows::default(), 1).expect("nothing in them is wrong")
}

fn settings(listeners: &[(Transport, SocketAddr)]) -> EngineSettings {
    EngineSettings {
        listeners: listeners
            .iter()
            .map(|(transport, address)| Listener {
                transport: *transport,
                address: *address,
                advertised: address.to_string().into(),
            })
            .collect(),
        user_agent: "test".into(),
        bucket_key: 7,
        max_calls: 100,
        ..EngineSettings::default()
    }
}

fn peer() -> Peer {
    let peer = Peer::bind("127.0.0.1:0").expect("loopback can be bound");
    peer.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit can be set");
    peer
}

fn request(peer: &Peer, method: &str, number: u32) -> String {
    let own = peer.local_addr().expect("bound");
    format!(
        "{method} sip:200@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bK{number}\r\n\
         From: <sip:100@{own}>;tag=a\r\nTo: <sip:200@127.0.0.1>\r\nCall-ID: call-{number}\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContact: <sip:100@{own}>\r\nContent-Length: 0\r\n\r\n"
    )
}

fn answer(peer: &Peer) -> String {
    let mut octets = [0; 4_096];
    let len = peer.recv(&mut octets).expect("an answer comes");
    String::from_utf8_lossy(&octets[..len]).into_owned()
}

fn wait_until(what: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(5);
    while !what() {
        assert!(Instant::now() < limit, "it did not come true in 5 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn answers_over_its_socket_and_gives_each_call_a_record() {
    let world = World::start(1);
    let peer = peer();
    peer.send_to(request(&peer, "INVITE", 1).as_bytes(), world.address).expect("sent");
    assert!(answer(&peer).starts_with("SIP/2.0 403 "), "there are no customers");
    let record = world.stop().try_recv().expect("one record");
    assert_eq!((record.status_code, &*record.inbound_call_id), (403, "call-1"));
}

#[test]
fn hands_every_message_to_the_shard_that_owns_its_call() {
    let world = World::start(4);
    let peer = peer();
    for number in 0..40 {
        peer.send_to(request(&peer, "INVITE", number).as_bytes(), world.address).expect("sent");
        assert!(answer(&peer).starts_with("SIP/2.0 403 "));
    }
    // The kernel gives one peer's datagrams to one socket, the Call-IDs spread them over all.
    wait_until(|| world.sum(|counters| counters.calls) == 40);
    for (shard, _) in &world.shards {
        assert!(shard.counters().calls > 0, "a shard had nothing to do");
    }
    assert_eq!(world.stop().try_iter().count(), 40);
}

#[test]
fn takes_keep_alives_for_what_they_are() {
    let world = World::start(1);
    let peer = peer();
    let stun = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    for octets in [&b"\r\n\r\n"[..], b"\0\0\0\0", &stun, b""] {
        peer.send_to(octets, world.address).expect("sent");
    }
    wait_until(|| world.shards[0].0.edge_counters().keep_alives == 4);
    assert_eq!(world.sum(|counters| counters.messages_received), 0);
    world.stop();
}

#[test]
fn carries_what_comes_by_tcp_to_the_shard_that_owns_it_and_answers_there() {
    let world = World::start(4);
    let mut peer = std::net::TcpStream::connect(world.tcp_address).expect("it listens");
    peer.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit can be set");
    let own = self::peer();
    for number in 0..40 {
        let text = request(&own, "INVITE", number).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        peer.write_all(text.as_bytes()).expect("sent");
        let mut octets = [0; 4_096];
        let len = peer.read(&mut octets).expect("an answer comes");
        assert!(octets[..len].starts_with(b"SIP/2.0 403 "));
    }
    for (shard, _) in &world.shards {
        wait_until(|| shard.counters().calls > 0);
    }
    world.stop();
}

#[test]
fn knows_a_gateway_by_its_host_name_or_by_the_domain_that_its_carrier_is_asked_for() {
    for (host, domain, expected) in [
        ("sip.carrier.example", None, "sip.carrier.example"),
        ("sip.carrier.example", Some("carrier.example"), "sip.carrier.example"),
        ("192.0.2.1", Some("carrier.example:5061"), "carrier.example"),
        ("192.0.2.1", None, "192.0.2.1"),
        ("2001:db8::1", Some("192.0.2.1"), "2001:db8::1"),
    ] {
        let carrier = CarrierRow {
            carrier_id: 1,
            name: "one".to_owned(),
            tls_wildcard: domain.is_none(),
            ..CarrierRow::default()
        };
        let gateway = GatewayRow {
            gateway_id: 1,
            carrier_id: 1,
            name: "gateway".to_owned(),
            host: host.to_owned(),
            transport: "tls".to_owned(),
            ..GatewayRow::default()
        };
        let rule = NumberRuleRow {
            carrier_id: 1,
            request_uri_host: domain.map(str::to_owned),
            ..NumberRuleRow::default()
        };
        let rows = Rows {
            carriers: vec![carrier],
            gateways: vec![gateway],
            number_rules: vec![rule],
            ..Rows::default()
        };
        let tables = Tables::check(rows, 1).expect("good rows");
        let shared = Arc::new(Shared {
            tables: ArcSwap::from_pointee(tables),
            view: ArcSwap::from_pointee(View::default()),
        });
        let door = ShardDoor::new(Vec::new(), shared, 7);
        let name = door.name_of(GatewayId(1)).expect("it is in the tables");
        assert_eq!((&*name.host, name.allows_wildcard), (expected, domain.is_none()), "{host}");
        assert_eq!(door.name_of(GatewayId(2)), None);
    }
}

#[test]
fn shows_that_it_turns_and_drains_when_told() {
    let world = World::start(1);
    wait_until(|| world.shards[0].0.is_turning());
    assert!(world.shards[0].0.command(Command::Drain));
    let peer = peer();
    peer.send_to(request(&peer, "OPTIONS", 1).as_bytes(), world.address).expect("sent");
    assert!(answer(&peer).starts_with("SIP/2.0 503 "));
    world.stop();
}

#[test]
fn tells_every_shard_that_a_port_is_closed_whichever_socket_hears_of_it() {
    let closed = peer().local_addr().expect("bound, and closed at once");
    let carrier = CarrierRow {
        carrier_id: 1,
        name: "one".to_owned(),
        probe_interval_ms: 0,
        ..CarrierRow::default()
    };
    let gateway = GatewayRow {
        gateway_id: 1,
        carrier_id: 1,
        name: "gateway".to_owned(),
        host: closed.ip().to_string(),
        port: closed.port().into(),
        media: "rtp".to_owned(),
        ..GatewayRow::default()
    };
    let rows = Rows { carriers: vec![carrier], gateways: vec![gateway], ..Rows::default() };
    let world = World::with(4, Tables::check(rows, 1).expect("good rows"));
    let target = Target { gateway_id: GatewayId(1), address: closed };
    wait_until(|| world.shards.iter().all(|(shard, _)| shard.is_turning()));
    for (shard, _) in &world.shards {
        assert!(shard.command(Command::Probe { target, timeout: Duration::from_secs(30) }));
    }
    for _ in 0..4 {
        world.outcomes.recv_timeout(Duration::from_secs(5)).expect("a probe ends at once");
    }
    world.stop();
}

#[test]
fn writes_no_more_lines_than_its_allowance_and_counts_those_left_out() {
    let start = Instant::now();
    let mut lines = Lines::new(start);
    let source = SocketAddr::from(([192, 0, 2, 66], 5060));
    let event = Event::Refused { source, status_code: 403, detail: String::new() };
    for _ in 0..100 {
        lines.log(&event, start);
    }
    assert_eq!(lines.refused.take(start + Duration::from_secs(1)), Some(80));
    assert_eq!(lines.config.take(start), Some(0), "each kind has its own");
}

#[test]
fn keeps_records_that_find_no_room_and_gives_them_out_later() {
    let shared = Arc::new(Shared {
        tables: ArcSwap::from_pointee(no_rows()),
        view: ArcSwap::from_pointee(View::default()),
    });
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), false)
        .expect("loopback can be bound");
    let address = socket.local_address();
    let (record, records) = mpsc::sync_channel(1);
    let parts = ShardParts {
        index: 0,
        settings: settings(&[(Transport::Udp, address)]),
        sockets: vec![(ListenerId(0), socket)],
        streams: None,
        shared,
        records: Box::new(move |sent| {
            record.try_send(sent).map_err(|error| match error {
                TrySendError::Full(sent) | TrySendError::Disconnected(sent) => sent,
            })
        }),
        outcomes: Box::new(|_| true),
        cluster: Box::new(|_| false),
        keep_wait: Duration::ZERO,
        seed: 1,
    };
    let (shard, thread) = start(vec![parts]).expect("a thread starts").remove(0);
    let peer = peer();
    for number in 0..3 {
        peer.send_to(request(&peer, "INVITE", number).as_bytes(), address).expect("sent");
        answer(&peer);
    }
    wait_until(|| shard.edge_counters().records_waiting == 2);
    for _ in 0..3 {
        records.recv_timeout(Duration::from_secs(5)).expect("every record comes");
    }
    shard.stop();
    thread.join().expect("the shard did not panic");
    assert_eq!(shard.edge_counters().records_lost, 0);
}

#[test]
fn finds_the_customer_of_a_certificate_in_the_tables_that_are_in_force() {
    let rows = Rows {
        customers: vec![CustomerRow {
            customer_id: 6,
            name: "acme".to_owned(),
            tls_subject: Some("PBX.example".to_owned()),
            ..CustomerRow::default()
        }],
        ..Rows::default()
    };
    let shared = Arc::new(Shared {
        tables: ArcSwap::from_pointee(Tables::check(rows, 1).expect("good rows")),
        view: ArcSwap::from_pointee(View::default()),
    });
    let door = ShardDoor::new(Vec::new(), shared.clone(), 7);
    let domains = ["other.example", "pbx.example"].map(Box::from);
    assert_eq!(door.customer_of(&domains), Some(CustomerId(6)));
    assert_eq!(door.customer_of(&domains[..1]), None);
    shared.tables.store(Arc::default());
    assert_eq!(door.customer_of(&domains), None);
}

#[test]
fn drops_after_a_standstill_only_what_begins_something() {
    let message = |method: &str, tag: &str| {
        Bytes::from(format!(
            "{method} sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\n\
             From: <sip:2@192.0.2.2>;tag=2\r\nTo: <sip:1@192.0.2.1>{tag}\r\nCall-ID: 1\r\n\
             CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    for (method, tag, is_dropped) in [
        ("INVITE", "", true),
        ("OPTIONS", "", true),
        ("INVITE", ";tag=1", false),
        ("BYE", ";tag=1", false),
        ("CANCEL", "", false),
        ("ACK", ";tag=1", false),
    ] {
        assert_eq!(begins_something(&message(method, tag)), is_dropped, "{method} {tag}");
    }
    assert!(!begins_something(&Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n")));
}
