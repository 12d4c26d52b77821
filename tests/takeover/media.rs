//! Telephones that hear each other go on doing so while the node of their call dies.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::SLOW;
use crate::baresip::Baresip;
use crate::network::in_own_network;
use crate::pair::Pair;
use crate::ports::free_port;
use crate::process::Process;
use crate::telephone::Told;

/// A packet is sent every 20 ms. A machine that has much else to do may let a telephone wait.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);
const PACKETS_PER_S: u32 = 25;

/// Two telephones in a call: the caller, whose requests go to node a, and one behind a Kamailio.
struct Line {
    phones: [Baresip; 2],
    addresses: [Ipv4Addr; 2],
    _proxy: Process,
}

#[test]
fn telephones_hear_each_other_while_the_node_of_their_call_dies() {
    // Nobody else is heard there, and whoever runs this may listen.
    in_own_network("media::telephones_hear_each_other_while_the_node_of_their_call_dies", || {
        let mut pair = Pair::start();
        let sound = Sound::listen();
        let mut lines = [Line::call(&pair, 0, "4430100"), Line::call(&pair, 1, "4930100")];
        pair.until("both calls are kept", SLOW, |pair| {
            pair.owned_by("a") == 2 && pair.a.metric("holdfast_calls_talking") == 2
        });
        pair.until("all are heard", SLOW, |_| {
            lines.iter().all(|line| sound.is_heard_both_ways(line))
        });
        let begun = Instant::now();
        pair.a.process.kill();
        pair.until("b has them", SLOW, |pair| pair.owned_by("b") == 2);
        pair.until("both are refreshed", SLOW, |pair| pair.settled() == 2);
        println!("the calls were refreshed {:?} after the kill", begun.elapsed());
        sleep(Duration::from_secs(1));
        for line in &mut lines {
            sound.went_on_both_ways(line, begun);
            assert!(line.phones.iter_mut().all(|phone| !has_ended(phone, Duration::ZERO)));
        }
        // One is ended by the caller, the other one by the callee.
        for (line, first) in lines.iter_mut().zip([0, 1]) {
            line.phones[first].command("hangup", "").unwrap();
            let other = &mut line.phones[1 - first];
            assert!(has_ended(other, SLOW), "the other side is not told");
        }
        pair.ends_with_records(2, "b|a|completed|200");
        pair.b.ends_cleanly();
    });
}

impl Line {
    fn call(pair: &Pair, index: usize, number: &str) -> Self {
        let third = 1 + u8::try_from(index).unwrap();
        let addresses = [1, 2].map(|last| Ipv4Addr::new(127, 0, third, last));
        let [caller, callee] = addresses.map(|ip| SocketAddrV4::new(ip, free_port().unwrap()));
        let dir = pair.dir.path();
        let proxy = SocketAddrV4::new(Ipv4Addr::LOCALHOST, pair.callees[index]);
        let config = include_str!("../../sip-tests/scenarios/proxy.cfg")
            .replace("{{own.host}}", &proxy.ip().to_string())
            .replace("{{own.port}}", &proxy.port().to_string())
            .replace("{{own.transport}}", "udp")
            .replace("{{routes}}", "loose")
            .replace("{{next}}", &callee.to_string());
        let (name, run) = (format!("proxy-{index}"), dir.join(format!("proxy-{index}.run")));
        let file = dir.join(format!("{name}.cfg"));
        std::fs::write(&file, config).unwrap();
        std::fs::create_dir_all(&run).unwrap();
        let proxy = Process::start(&name, dir, "kamailio", |command| {
            command.args(["-DD", "-E", "-m", "32", "-M", "8", "-f"]).arg(&file);
            command.arg("-Y").arg(&run);
        });
        let phone = |name: &str, number: &str, own, outbound| {
            let name = &format!("{name}-{index}");
            let made = rcgen::generate_simple_self_signed([name.clone()]).unwrap();
            let file = dir.join(format!("{name}.pem"));
            std::fs::write(&file, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
            let certificate = file.to_str().unwrap();
            let told = Told { name, number, dir, own, outbound, transport: "udp", certificate };
            Baresip::start(&told).unwrap()
        };
        let through = SocketAddrV4::new(Ipv4Addr::LOCALHOST, pair.callees[index]);
        let callee = phone("callee", number, callee, through);
        let mut caller = phone("caller", "4930999", caller, pair.a.sip);
        caller.command("dial", &format!("sip:{number}@{}", pair.a.sip)).unwrap();
        Self { phones: [caller, callee], addresses, _proxy: proxy.unwrap() }
    }
}

/// A telephone has told, or tells within this time, that its call is over.
fn has_ended(phone: &mut Baresip, within: Duration) -> bool {
    let until = Instant::now() + within;
    loop {
        match phone.next_message().unwrap() {
            Some(told) if told["type"] == "CALL_CLOSED" => return true,
            Some(_) => {}
            None if Instant::now() >= until => return false,
            None => {}
        }
    }
}

/// When RTP has come to whom.
#[derive(Clone, Default)]
struct Sound(Arc<Mutex<BTreeMap<Ipv4Addr, Vec<Instant>>>>);

impl Sound {
    fn listen() -> Self {
        /// EtherType of IPv4.
        const ETH_P_IP: u16 = 0x0800;
        let protocol = Protocol::from(i32::from(ETH_P_IP.to_be()));
        let mut socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).unwrap();
        let this = Self::default();
        let heard = this.clone();
        std::thread::spawn(move || {
            let mut packet = vec![0; 1 << 16];
            while let Ok(len) = socket.read(&mut packet) {
                if let Some(to) = hearer_of(&packet[..len]) {
                    heard.0.lock().unwrap().entry(to).or_default().push(Instant::now());
                }
            }
        });
        this
    }

    fn since(&self, to: Ipv4Addr, from: Instant) -> Vec<Instant> {
        let heard = self.0.lock().unwrap();
        let by_them = heard.get(&to).into_iter().flatten();
        by_them.copied().filter(|at| *at >= from).collect()
    }

    fn is_heard_both_ways(&self, line: &Line) -> bool {
        let lately = Instant::now() - Duration::from_millis(500);
        line.addresses.iter().all(|to| !self.since(*to, lately).is_empty())
    }

    fn went_on_both_ways(&self, line: &Line, begun: Instant) {
        for to in line.addresses {
            let packets = self.since(to, begun);
            let lasted = begun.elapsed();
            let mut ends = packets.clone();
            ends.insert(0, begun);
            ends.push(begun + lasted);
            let silence = ends.windows(2).map(|two| two[1] - two[0]).max().unwrap();
            println!("to {to}: {} packets in {lasted:?}, silent for {silence:?}", packets.len());
            assert!(silence < LONGEST_SILENCE, "{to} heard nothing for {silence:?}");
            let least = PACKETS_PER_S * u32::try_from(lasted.as_secs()).unwrap();
            assert!(packets.len() >= least as usize, "{to} heard {} packets", packets.len());
        }
    }
}

/// Where a packet goes, if it is RTP with sound (RFC 3550 §5.1; PCMU or PCMA, RFC 3551).
fn hearer_of(packet: &[u8]) -> Option<Ipv4Addr> {
    const UDP: u8 = 17;
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    let rtp = packet.get(header_len + 8..)?;
    let is_rtp = packet.get(9) == Some(&UDP)
        && rtp.len() > 12
        && rtp[0] >> 6 == 2
        && matches!(rtp[1] & 0x7f, 0 | 8);
    is_rtp.then(|| Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]))
}
