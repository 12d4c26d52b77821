//! Two nodes on one Postgres: one probes for both, and they agree.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test below the purity line")]

#[path = "../sip-tests/harness/ports.rs"]
#[allow(dead_code, reason = "a part is enough here")]
mod ports;
#[path = "../sip-tests/harness/postgres.rs"]
#[allow(dead_code, reason = "a part is enough here")]
mod postgres;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast::health::{Reachability, Target};
use holdfast::server::settings::Raw;
use holdfast::server::{self, Running};
use holdfast::sip::{Message, Printer};
use holdfast::store::Store;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// How soon two nodes must agree.
const AGREEMENT: Duration = Duration::from_secs(2);
const PROBE_INTERVAL_MS: u64 = 500;

/// Answers OPTIONS for as long as it lives, and counts them.
struct Carrier {
    address: SocketAddr,
    probes: Arc<AtomicU32>,
    is_alive: Arc<AtomicBool>,
}

impl Carrier {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let carrier = Self {
            address: socket.local_addr().unwrap(),
            probes: Arc::default(),
            is_alive: Arc::new(AtomicBool::new(true)),
        };
        let (probes, is_alive) = (carrier.probes.clone(), carrier.is_alive.clone());
        std::thread::spawn(move || {
            let mut octets = [0; 4_096];
            while Arc::strong_count(&is_alive) > 1 {
                let Ok((len, from)) = socket.recv_from(&mut octets) else { continue };
                let request = Message::parse(Bytes::copy_from_slice(&octets[..len])).unwrap();
                probes.fetch_add(1, Ordering::Relaxed);
                if is_alive.load(Ordering::Relaxed) {
                    let ok = Printer::response_to(&request, 200, b"", Some(b"c"), from).finish(b"");
                    socket.send_to(&ok, from).unwrap();
                }
            }
        });
        carrier
    }
}

async fn node(name: &str, url: &str, dir: &std::path::Path) -> Running {
    let mut raw = Raw::default();
    let spool = dir.join(name).display().to_string();
    for (setting, text) in [
        ("listen", "udp:127.0.0.1:0"),
        ("admin_listen", "127.0.0.1:0"),
        ("node_name", name),
        ("database_url", url),
        ("probe_timeout_ms", "300"),
        ("spool_dir", &spool),
    ] {
        raw.add_flag(setting, text.to_owned());
    }
    let mut running = server::start(raw.check().unwrap()).await.unwrap();
    running.ready().await;
    running
}

fn state(node: &Running, target: Target) -> Reachability {
    let view = node.shared().view.load();
    view.target(target).map_or(Reachability::Unknown, |seen| seen.reachability)
}

async fn until(what: &str, limit: Duration, is: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

#[test]
fn two_nodes_share_the_probes_of_a_carrier_and_agree_on_its_death_and_return() {
    let server = postgres::Server::start().unwrap();
    let url = server.create_database("cluster").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let carrier = Carrier::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&url).unwrap();
        store.migrate().await.unwrap();
        let (ip, port) = (carrier.address.ip(), carrier.address.port());
        let rows = format!(
            "insert into carriers (carrier_id, name, probe_interval_ms) values (1, 'c', {PROBE_INTERVAL_MS});
             insert into gateways (gateway_id, carrier_id, name, host, port)
             values (1, 1, 'c', '{ip}', {port});"
        );
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut connection).await.unwrap();
        let (a, b) = (node("a", &url, dir.path()).await, node("b", &url, dir.path()).await);
        let target = Target { gateway_id: holdfast::carrier::GatewayId(1), address: carrier.address };
        let is = |state_wanted: Reachability| {
            let nodes = [&a, &b];
            move || nodes.iter().filter(|node| state(node, target) == state_wanted).count()
        };
        let up = is(Reachability::Up);
        until("both see it up", Duration::from_secs(10), || up() == 2).await;

        // Once they know of each other, one of them asks for both.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let before = carrier.probes.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(8 * PROBE_INTERVAL_MS)).await;
        let probes = carrier.probes.load(Ordering::Relaxed) - before;
        assert!((6..=11).contains(&probes), "{probes} probes in eight intervals");

        carrier.is_alive.store(false, Ordering::Relaxed);
        until("one sees it die", Duration::from_secs(5), || up() < 2).await;
        until("the other one too", AGREEMENT, || up() == 0).await;
        carrier.is_alive.store(true, Ordering::Relaxed);
        until("one sees it return", Duration::from_secs(40), || up() > 0).await;
        until("the other one too", AGREEMENT, || up() == 2).await;
        for node in [a, b] {
            node.stop().await;
        }
    });
}
