//! The wire as the kernel saw it: one packet socket on all IPv4 traffic, shared by all cases.
//!
//! A packet socket that asks for one protocol is given each loopback packet once, as it arrives.

use std::collections::HashMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Instant, SystemTime};

use socket2::{Domain, Protocol, Socket, Type};

/// EtherType of IPv4.
const ETH_P_IP: u16 = 0x0800;
const UDP: u8 = 17;
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

/// One UDP datagram.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) at: Instant,
    pub(crate) wall: SystemTime,
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    /// The whole IP packet, for the dissector.
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
            at: Instant::now(),
            wall: SystemTime::now(),
            from: SocketAddrV4::new(address(12), port(0)),
            to: SocketAddrV4::new(address(16), port(2)),
            packet: packet[..total_len].into(),
            payload_at: header_len + 8,
        })
    }
}

type Traces = Mutex<HashMap<u16, Arc<Mutex<Vec<Datagram>>>>>;

static TRACES: OnceLock<Option<Arc<Traces>>> = OnceLock::new();

/// What has gone to or from the watched ports, in order of time.
#[derive(Debug)]
pub(crate) struct Capture {
    trace: Arc<Mutex<Vec<Datagram>>>,
    ports: Vec<u16>,
}

impl Capture {
    /// `None` where this user may not capture.
    pub(crate) fn of_ports(ports: &[u16]) -> Option<Self> {
        let traces = TRACES.get_or_init(start).as_ref()?;
        let trace = Arc::new(Mutex::new(Vec::new()));
        let mut all = traces.lock().expect("no holder of this lock panics");
        for &port in ports {
            all.insert(port, trace.clone());
        }
        Some(Self { trace, ports: ports.to_vec() })
    }

    pub(crate) fn datagrams(&self) -> Vec<Datagram> {
        self.trace.lock().expect("no holder of this lock panics").clone()
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
        let mut buffer = vec![0; 65_536];
        while let Ok(len) = socket.read(&mut buffer) {
            let Some(datagram) = Datagram::read(&buffer[..len]) else {
                continue;
            };
            let all = shared.lock().expect("no holder of this lock panics");
            let trace = all.get(&datagram.from.port()).or_else(|| all.get(&datagram.to.port()));
            if let Some(trace) = trace {
                trace.lock().expect("no holder of this lock panics").push(datagram);
            }
        }
    });
    Some(traces)
}
