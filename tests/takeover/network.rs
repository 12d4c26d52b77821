//! Networks of a test's own: two nodes, each behind a link that can be cut, and a bridge that leads to everybody else.
//! None of them has a name outside, and all end with the last process in them, however that ends.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::pair::Place;
use crate::process::Process;

/// Set where this process runs in a network of its own.
const INSIDE: &str = "HOLDFAST_TEST_INSIDE";
/// How `unshare` makes one: for root, and for whoever may make user namespaces.
const WAYS: [&[&str]; 2] = [&["--net"], &["--user", "--map-current-user", "--keep-caps", "--net"]];
const BRIDGE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const NODES: [(&str, Ipv4Addr); 2] =
    [("link-a", Ipv4Addr::new(10, 77, 0, 2)), ("link-b", Ipv4Addr::new(10, 77, 0, 3))];

/// Plays the test of this name, whose body this is, in a network of its own. Where the machine makes none, the test
/// says so and is skipped.
pub(crate) fn in_own_network(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        return body();
    }
    for (tool, package) in
        [("ip", "iproute2"), ("nsenter", "util-linux"), ("unshare", "util-linux")]
    {
        let is_there = Command::new(tool).arg("--help").output().is_ok();
        assert!(is_there, "{tool} is needed: apt-get install {package}");
    }
    let can_do = |way: &&&[&str]| {
        let tried = "ip link add one type veth peer name two && ip link add three type bridge";
        let tried = Command::new("unshare").args(**way).args(["sh", "-c", tried]).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let Some(way) = WAYS.iter().find(can_do) else {
        // Past the harness, which keeps what a test that passes has to say.
        let text = format!("\n!!! {name} is SKIPPED: this machine makes no network namespaces\n\n");
        return std::io::stderr().write_all(text.as_bytes()).unwrap();
    };
    let played = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(*way)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let [said, told] =
        [&played.stdout, &played.stderr].map(|octets| String::from_utf8_lossy(octets));
    println!("{said}");
    assert!(played.status.success() && said.contains("1 passed"), "{told}\n{said}");
}

pub(crate) struct Network {
    /// Processes that do nothing but have the networks of the nodes.
    holders: [Process; 2],
    _dir: TempDir,
}

impl Network {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        run("ip", &["link", "add", "bridge", "type", "bridge"]);
        run("ip", &["addr", "add", &format!("{BRIDGE}/24"), "dev", "bridge"]);
        run("ip", &["link", "set", "bridge", "up"]);
        let holders = NODES.map(|(link, address)| {
            let holder = hold(link, dir.path());
            let pid = holder.pid().to_string();
            let ends = ["type", "veth", "peer", "name", "up", "netns", &pid];
            run("ip", &[&["link", "add", link], &ends[..]].concat());
            run("ip", &["link", "set", link, "master", "bridge", "up"]);
            let network = format!("--net=/proc/{pid}/ns/net");
            for arguments in
                ["link set lo up", &format!("addr add {address}/24 dev up"), "link set dev up up"]
            {
                let arguments: Vec<&str> = arguments.split(' ').collect();
                run("nsenter", &[&[network.as_str(), "ip"], &arguments[..]].concat());
            }
            holder
        });
        Self { holders, _dir: dir }
    }

    pub(crate) fn place(&self) -> Place {
        Place {
            peers: BRIDGE,
            nodes: NODES.map(|(_, address)| address),
            networks: self.holders.each_ref().map(|holder| Some(holder.pid())),
        }
    }

    /// From now on nothing comes to this node, and nothing from it.
    pub(crate) fn cut(&self, node: usize) {
        run("ip", &["link", "set", NODES[node].0, "down"]);
    }

    pub(crate) fn join(&self, node: usize) {
        run("ip", &["link", "set", NODES[node].0, "up"]);
    }

    /// A store that listens on loopback, as the nodes know it: whoever connects to the bridge is led to it.
    pub(crate) fn lead_to_store(&self, url: &str) -> String {
        let address = url.split(['@', '/']).find(|part| part.contains(':') && part.contains('.'));
        let address = address.expect("it has an address").to_owned();
        let listener = TcpListener::bind((BRIDGE, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let there = url.replace(&address, &format!("{BRIDGE}:{port}"));
        std::thread::spawn(move || {
            for here in listener.incoming().flatten() {
                if let Ok(there) = TcpStream::connect(&address) {
                    copy(here.try_clone().unwrap(), there.try_clone().unwrap());
                    copy(there, here);
                }
            }
        });
        there
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

/// A process in a network of its own.
fn hold(name: &str, dir: &Path) -> Process {
    let holder = Process::start(name, dir, "unshare", |command| {
        command.args(["--net", "sleep", "infinity"]);
    });
    let holder = holder.unwrap();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let limit = Instant::now() + Duration::from_secs(10);
    let theirs = format!("/proc/{}/ns/net", holder.pid());
    while std::fs::read_link(&theirs).is_ok_and(|network| network == own) {
        assert!(Instant::now() < limit, "no network of its own: {}", holder.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    holder
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {told}");
}
