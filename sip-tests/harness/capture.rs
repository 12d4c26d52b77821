//! The wire as the kernel saw it: one packet socket on all IPv4 traffic, shared by all cases. What TCP carries is cut
//! into messages, each told of as if it were a datagram; what TLS carries is kept as it is, for [`super::tls`].
//!
//! A packet socket that asks for one protocol is given each loopback packet once, as it arrives.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Instant, SystemTime};

use socket2::{Domain, Protocol, Socket, Type};

/// EtherType of IPv4.
const ETH_P_IP: u16 = 0x0800;
const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_HEADER_LEN: usize = 8;
const IP_HEADER_LEN: usize = 20;
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

/// What a message went by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}

/// One UDP datagram, or one message of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) transport: Transport,
    pub(crate) at: Instant,
    pub(crate) wall: SystemTime,
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    /// The whole IP packet, for the dissector; of a TCP message one that would have carried it by UDP.
    pub(crate) packet: Arc<[u8]>,
    payload_at: usize,
}

impl Datagram {
    pub(crate) fn payload(&self) -> &[u8] {
        &self.packet[self.payload_at..]
    }

    fn read(packet: &[u8]) -> Option<Self> {
        let header_len = usize::from(packet.first()? & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        if *packet.get(9)? != UDP || total_len > packet.len() || header_len + 8 > total_len {
            return None;
        }
        let address =
            |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        let port =
            |at: usize| u16::from_be_bytes([packet[header_len + at], packet[header_len + at + 1]]);
        Some(Self {
            transport: Transport::Udp,
            at: Instant::now(),
            wall: SystemTime::now(),
            from: SocketAddrV4::new(address(12), port(0)),
            to: SocketAddrV4::new(address(16), port(2)),
            packet: packet[..total_len].into(),
            payload_at: header_len + 8,
        })
    }
}

/// One packet of a TLS connection.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) at: Instant,
    pub(crate) wall: SystemTime,
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    /// The whole IP packet.
    pub(crate) octets: Arc<[u8]>,
}

impl Packet {
    fn of(segment: &Segment<'_>, packet: &[u8]) -> Self {
        let (at, wall) = (Instant::now(), SystemTime::now());
        Self { at, wall, from: segment.from, to: segment.to, octets: packet.into() }
    }

    /// A message that it, or the connection up to it, has carried.
    pub(crate) fn carrying(&self, message: &[u8], transport: Transport) -> Option<Datagram> {
        let (at, wall) = (self.at, self.wall);
        Some(Datagram { transport, at, wall, ..as_datagram(self.from, self.to, message)? })
    }
}

/// What a segment brings to a connection.
struct Segment<'a> {
    from: SocketAddrV4,
    to: SocketAddrV4,
    is_first: bool,
    octets: &'a [u8],
}

impl<'a> Segment<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        let header_len = usize::from(packet.first()? & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        // A segment that the kernel never cut, since loopback has no need to, has no length.
        let total_len = if total_len == 0 { packet.len() } else { total_len };
        let tcp = packet.get(header_len..total_len)?;
        let data_at = usize::from(*tcp.get(12)? >> 4) * 4;
        if packet[9] != TCP {
            return None;
        }
        let address =
            |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        Some(Self {
            from: SocketAddrV4::new(address(12), port(0)),
            to: SocketAddrV4::new(address(16), port(2)),
            is_first: tcp[13] & 0x02 != 0,
            octets: tcp.get(data_at..)?,
        })
    }
}

/// The first octet of what begins a TLS connection: a record of the handshake.
const HANDSHAKE: u8 = 0x16;

/// One direction of a connection.
#[derive(Default)]
struct Direction {
    rest: Vec<u8>,
    is_tls: Option<bool>,
}

/// All connections, each direction by itself. Loopback neither loses nor reorders.
#[derive(Default)]
struct Streams(HashMap<(SocketAddrV4, SocketAddrV4), Direction>);

impl Streams {
    /// Adds a segment; gives the messages that it completes.
    fn take(&mut self, segment: &Segment<'_>) -> Vec<Datagram> {
        let direction = self.0.entry((segment.from, segment.to)).or_default();
        if segment.is_first {
            *direction = Direction::default();
        }
        if let Some(first) = segment.octets.first() {
            direction.is_tls.get_or_insert(*first == HANDSHAKE);
        }
        let mut messages = Vec::new();
        if direction.is_tls == Some(true) {
            return messages;
        }
        let rest = &mut direction.rest;
        rest.extend_from_slice(segment.octets);
        while let Some(len) = message_len(rest) {
            let message: Vec<u8> = rest.drain(..len).collect();
            let datagram = as_datagram(segment.from, segment.to, &message);
            let by_tcp = |one| Datagram { transport: Transport::Tcp, ..one };
            messages.extend(datagram.map(by_tcp));
        }
        messages
    }

    /// Whether a segment belongs to a connection that may be a TLS one, as far as is known yet.
    fn may_be_tls(&self, segment: &Segment<'_>) -> bool {
        let ways = [(segment.from, segment.to), (segment.to, segment.from)];
        ways.iter().all(|way| self.0.get(way).is_none_or(|one| one.is_tls != Some(false)))
    }
}

/// The length of the first message, keep-alives before it included, once it is there.
fn message_len(octets: &[u8]) -> Option<usize> {
    let start = octets.iter().position(|octet| !b"\r\n".contains(octet))?;
    let head = octets[start..].windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&octets[start..start + head]).to_lowercase();
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        ["content-length", "l"].contains(&name.trim()).then(|| value.trim().parse().ok())?
    };
    let body: usize = text.lines().find_map(value).unwrap_or(0);
    (octets.len() >= start + head + body).then_some(start + head + body)
}

fn as_datagram(from: SocketAddrV4, to: SocketAddrV4, message: &[u8]) -> Option<Datagram> {
    let len = u16::try_from(IP_HEADER_LEN + UDP_HEADER_LEN + message.len()).ok()?;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend((len - IP_HEADER_LEN as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend_from_slice(message);
    Datagram::read(&packet)
}

/// What has passed at the ports of one case.
#[derive(Debug, Default)]
struct Trace {
    datagrams: Vec<Datagram>,
    /// Of connections that are, or may be, TLS ones.
    packets: Vec<Packet>,
}

type Traces = Mutex<HashMap<u16, Arc<Mutex<Trace>>>>;

static TRACES: OnceLock<Option<Arc<Traces>>> = OnceLock::new();

/// What has gone to or from the watched ports, in order of time.
#[derive(Debug)]
pub(crate) struct Capture {
    trace: Arc<Mutex<Trace>>,
    ports: Vec<u16>,
}

impl Capture {
    /// `None` where this user may not capture.
    pub(crate) fn of_ports(ports: &[u16]) -> Option<Self> {
        let traces = TRACES.get_or_init(start).as_ref()?;
        let trace: Arc<Mutex<Trace>> = Arc::default();
        let mut all = traces.lock().expect("no holder of this lock panics");
        for &port in ports {
            all.insert(port, trace.clone());
        }
        Some(Self { trace, ports: ports.to_vec() })
    }

    pub(crate) fn datagrams(&self) -> Vec<Datagram> {
        self.trace.lock().expect("no holder of this lock panics").datagrams.clone()
    }

    /// What may be TLS, packet by packet.
    pub(crate) fn packets(&self) -> Vec<Packet> {
        self.trace.lock().expect("no holder of this lock panics").packets.clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Some(Some(traces)) = TRACES.get() {
            let mut all = traces.lock().expect("no holder of this lock panics");
            for port in &self.ports {
                all.remove(port);
            }
        }
    }
}

/// Opens the packet socket and reads it on a thread of its own until the process ends.
fn start() -> Option<Arc<Traces>> {
    let protocol = Protocol::from(i32::from(ETH_P_IP.to_be()));
    let mut socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).ok()?;
    // A smaller buffer than asked for only makes loss under load likelier.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    let traces: Arc<Traces> = Arc::default();
    let shared = traces.clone();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 17];
        let mut streams = Streams::default();
        while let Ok(len) = socket.read(&mut buffer) {
            let packet = &buffer[..len];
            let all = shared.lock().expect("no holder of this lock panics");
            let watched =
                |from: u16, to: u16| all.get(&from).or_else(|| all.get(&to)).map(Arc::clone);
            if let Some(datagram) = Datagram::read(packet) {
                if let Some(trace) = watched(datagram.from.port(), datagram.to.port()) {
                    let mut trace = trace.lock().expect("no holder of this lock panics");
                    trace.datagrams.push(datagram);
                }
            } else if let Some(segment) = Segment::read(packet)
                && let Some(trace) = watched(segment.from.port(), segment.to.port())
            {
                let seen = streams.take(&segment);
                let mut trace = trace.lock().expect("no holder of this lock panics");
                trace.datagrams.extend(seen);
                if streams.may_be_tls(&segment) {
                    trace.packets.push(Packet::of(&segment, packet));
                }
            }
        }
    });
    Some(traces)
}
