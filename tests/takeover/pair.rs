//! Two nodes, their store, and SIPp on both sides.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tempfile::TempDir;

use crate::SLOW;
use crate::ports::free_port;
use crate::postgres::Server;
use crate::process::{Process, tail};

const POLL: Duration = Duration::from_millis(50);

/// Long cases in full length.
pub(crate) fn long() -> bool {
    std::env::var_os("HOLDFAST_TEST_LONG").is_some()
}

/// Where nodes and peers are.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) peers: Ipv4Addr,
    pub(crate) nodes: [Ipv4Addr; 2],
    /// Processes whose networks the nodes run in; `None` = this one's.
    pub(crate) networks: [Option<u32>; 2],
}

impl Place {
    pub(crate) const LOOPBACK: Self = Self {
        peers: Ipv4Addr::LOCALHOST,
        nodes: [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)],
        networks: [None; 2],
    };
}

pub(crate) struct Pair {
    pub(crate) a: Node,
    pub(crate) b: Node,
    pub(crate) server: Server,
    /// How long calls go on once their peers know where they are.
    pub(crate) talk: Duration,
    place: Place,
    /// Of the store that is looked into.
    pub(crate) url: String,
    runtime: tokio::runtime::Runtime,
    /// The one that waits for a BYE, and the one that sends it.
    pub(crate) callees: [u16; 2],
    pub(crate) dir: TempDir,
}

pub(crate) struct Node {
    pub(crate) process: Process,
    name: &'static str,
    network: Option<u32>,
    pub(crate) sip: SocketAddrV4,
    admin: SocketAddrV4,
    url: String,
    dir: PathBuf,
}

/// Callers and callees of both kinds.
pub(crate) struct Sipp {
    pub(crate) parties: Vec<Process>,
}

impl Pair {
    pub(crate) fn start() -> Self {
        Self::with("", &[])
    }

    /// With these statements on top of the usual rows, and settings of node b.
    pub(crate) fn with(sql: &str, of_b: &[(&str, &str)]) -> Self {
        let server = Server::start().unwrap();
        Self::at(Place::LOOPBACK, server, |_, url| url.to_owned(), sql, of_b)
    }

    /// The same somewhere else, where nodes know the store by another URL.
    pub(crate) fn at(
        place: Place,
        server: Server,
        url_of_nodes: impl FnOnce(&Server, &str) -> String,
        sql: &str,
        of_b: &[(&str, &str)],
    ) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let url = server.create_database("takeover").unwrap();
        let callees = [free_port().unwrap(), free_port().unwrap()];
        let [waits, ends] = callees;
        let peers = place.peers;
        let rows = format!(
            "insert into carriers (carrier_id, name, probe_interval_ms) values (1, 'waits', 0), (2, 'ends', 0);
             insert into gateways (carrier_id, name, host, port)
             values (1, 'waits', '{peers}', {waits}), (2, 'ends', '{peers}', {ends});
             insert into customers (customer_id, name) values (1, 'everybody');
             insert into customer_addresses values ('127.0.0.0/8', 1), ('10.0.0.0/8', 1);
             insert into routes (route_id, called_prefix) values (1, '44'), (2, '49');
             insert into route_carriers (route_id, carrier_id) values (1, 1), (2, 2); {sql}"
        );
        runtime.block_on(async {
            let store = holdfast::store::Store::open(&url).unwrap();
            store.migrate().await.unwrap();
            let mut connection = PgConnection::connect(&url).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut connection).await.unwrap();
        });
        let dir = tempfile::tempdir().unwrap();
        let port = free_port().unwrap();
        let of_nodes = url_of_nodes(&server, &url);
        let node = |index: usize, name, settings| {
            let sip = SocketAddrV4::new(place.nodes[index], port);
            Node::new(name, sip, place.networks[index], &of_nodes, dir.path(), settings)
        };
        let (a, b) = (node(0, "a", &[]), node(1, "b", of_b));
        let talk = Duration::from_secs(3);
        let pair = Self { a, b, server, talk, place, url, runtime, callees, dir };
        pair.until("both nodes know of each other", SLOW, |pair| {
            pair.a.metric("holdfast_nodes") == 2 && pair.b.metric("holdfast_nodes") == 2
        });
        pair
    }

    /// Begins calls through node a; half of them are to be ended by the caller, half by the callee.
    pub(crate) fn call(&self, calls: usize) -> Sipp {
        let half = (calls / 2).to_string();
        let mut parties = Vec::new();
        for (prefix, callee, at_callee, at_caller) in [
            ("44", self.callees[0], include_str!("is_hung_up.xml"), include_str!("hangs_up.xml")),
            ("49", self.callees[1], include_str!("hangs_up.xml"), include_str!("is_hung_up.xml")),
        ] {
            let files = [
                ("callee", include_str!("callee.xml"), at_callee, callee),
                ("caller", include_str!("caller.xml"), at_caller, free_port().unwrap()),
            ];
            for (name, scenario, end, port) in files {
                let talk = self.talk.as_millis().to_string();
                let scenario = scenario.replace("{{end}}", end).replace("{{talk}}", &talk);
                parties.push(self.sipp(&format!("{name}-{prefix}"), &scenario, port, |command| {
                    command.args(["-m", &half]);
                    if name == "caller" {
                        command.args(["-r", "50", "-l", &half, "-s", &format!("{prefix}30100")]);
                        command.arg(self.a.sip.to_string());
                    }
                }));
            }
        }
        Sipp { parties }
    }

    /// Calls that ring, and are kept as such.
    pub(crate) fn ring(&self, calls: usize) -> Sipp {
        let count = calls.to_string();
        let caller = free_port().unwrap();
        let mut parties = Vec::new();
        for (name, scenario, port) in [
            ("rings", include_str!("rings.xml"), self.callees[0]),
            ("hears", include_str!("hears.xml"), caller),
        ] {
            parties.push(self.sipp(name, scenario, port, |command| {
                command.args(["-m", &count]);
                if name == "hears" {
                    command.args(["-r", "50", "-l", &count, "-s", "4430100"]);
                    command.arg(self.a.sip.to_string());
                }
            }));
        }
        self.until("all calls are kept", Duration::from_secs(20), |pair| {
            pair.count("calls_in_progress where answered_at is null") == calls
        });
        Sipp { parties }
    }

    /// Starts a SIPp, and waits until it has its port: the first calls must not find it closed.
    pub(crate) fn sipp(
        &self,
        name: &str,
        scenario: &str,
        port: u16,
        build: impl FnOnce(&mut Command),
    ) -> Process {
        let file = self.dir.path().join(format!("{name}.xml"));
        std::fs::write(&file, scenario).unwrap();
        let own = self.place.peers;
        let sipp = Process::start(name, self.dir.path(), "sipp", |command| {
            command.args(["-sf", &file.display().to_string(), "-nostdin"]);
            command.args(["-i", &own.to_string(), "-p", &port.to_string()]);
            build(command);
        });
        let limit = Instant::now() + Duration::from_secs(10);
        while std::net::UdpSocket::bind((own, port)).is_ok() {
            assert!(Instant::now() < limit, "nobody listens on {port}");
            sleep(Duration::from_millis(10));
        }
        sipp.unwrap()
    }

    /// Calls that are answered, acknowledged and kept.
    pub(crate) fn establish(&self, calls: usize) -> Sipp {
        let sipp = self.call(calls);
        self.until("all calls are kept", SLOW, |pair| {
            pair.owned_by("a") == calls && pair.a.metric("holdfast_calls_talking") == calls
        });
        // The ACKs are on their way.
        sleep(Duration::from_millis(700));
        sipp
    }

    pub(crate) fn until(&self, what: &str, limit: Duration, is: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is(self) {
            assert!(begun.elapsed() < limit, "{what}: not within {limit:?}\n{}", self.state());
            sleep(POLL);
        }
    }

    /// For whoever has to find out why.
    fn state(&self) -> String {
        let calls = [&self.a, &self.b].map(|node| node.metric("holdfast_calls"));
        let ended = self.texts(
            "select concat_ws('|', node, end_cause, status_code, detail), count(*)::text \
             from calls group by 1",
        );
        let logs = std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = logs.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
        let logs = logs.map(|path| {
            let text = std::fs::read(&path).unwrap_or_default();
            format!("-- {}\n{}\n", path.display(), tail(&String::from_utf8_lossy(&text), 30))
        });
        format!("calls {calls:?}, ended {ended:?}\n{}", logs.collect::<String>())
    }

    pub(crate) fn owned_by(&self, node: &str) -> usize {
        self.count(&format!("calls_in_progress where node = '{node}'"))
    }

    /// Calls that have changed hands, and both of whose peers know.
    pub(crate) fn settled(&self) -> usize {
        let refreshed = "(state::json #>> '{inbound,dialog,local_seq}')::bigint > 1000 \
             and (state::json #>> '{outbound,dialog,local_seq}')::bigint > 1000";
        self.count(&format!("calls_in_progress where epoch > 1 and {refreshed}"))
    }

    /// As many records as calls, all alike: node, node it was taken from, end, status code.
    pub(crate) fn ends_with_records(&self, calls: usize, alike: &str) {
        self.until("all records are there", SLOW, |pair| pair.count("calls") == calls);
        let rows = self.texts(
            "select concat_ws('|', node, taken_from, end_cause, status_code), count(*)::text, \
               count(distinct ended_by)::text \
             from calls group by 1",
        );
        assert_eq!(rows, [[alike.to_owned(), calls.to_string(), "2".to_owned()]]);
        assert_eq!(self.count("call_attempts"), calls);
        assert_eq!(self.count("calls_in_progress"), 0);
    }

    /// The same of calls that were never answered; with who ended them.
    pub(crate) fn ends_with(&self, calls: usize, alike: &str) {
        self.until("all records are there", SLOW, |pair| pair.count("calls") == calls);
        let rows = self.texts(
            "select concat_ws('|', node, taken_from, end_cause, status_code, ended_by), \
               count(*)::text from calls group by 1",
        );
        assert_eq!(rows, [[alike.to_owned(), calls.to_string()]]);
        assert_eq!(self.count("call_attempts"), calls);
        assert_eq!(self.count("calls_in_progress"), 0);
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        let rows = self.texts(&format!("select count(*)::text from {what}"));
        rows.first().map_or(0, |row| row[0].parse().unwrap())
    }

    /// Nothing where the store is away.
    pub(crate) fn texts(&self, sql: &str) -> Vec<Vec<String>> {
        self.runtime.block_on(async {
            let Ok(mut connection) = PgConnection::connect(&self.url).await else {
                return Vec::new();
            };
            let sql = AssertSqlSafe(sql.to_owned());
            let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
            rows.iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect()
        })
    }
}

impl Node {
    fn new(
        name: &'static str,
        sip: SocketAddrV4,
        network: Option<u32>,
        url: &str,
        dir: &Path,
        settings: &[(&str, &str)],
    ) -> Self {
        let admin = SocketAddrV4::new(*sip.ip(), free_port().unwrap());
        let (url, dir) = (url.to_owned(), dir.to_owned());
        let process = run(name, network, [sip, admin], &url, &dir, settings);
        let node = Self { process, name, network, sip, admin, url, dir };
        node.ready();
        node
    }

    /// Starts it again.
    pub(crate) fn start(&mut self, settings: &[(&str, &str)]) {
        let addresses = [self.sip, self.admin];
        self.process = run(self.name, self.network, addresses, &self.url, &self.dir, settings);
        self.ready();
    }

    fn ready(&self) {
        let limit = Instant::now() + Duration::from_secs(20);
        while !get(self.admin, "/readyz").is_some_and(|answer| answer.contains(" 200 ")) {
            assert!(Instant::now() < limit, "not ready: {}", self.process.log());
            sleep(POLL);
        }
    }

    /// A metric's sum over the shards; 0 where the node does not answer.
    pub(crate) fn metric(&self, name: &str) -> usize {
        let text = get(self.admin, "/metrics").unwrap_or_default();
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let of = series.split('{').next()?;
            (of == name).then(|| value.parse::<f64>().ok())?
        });
        values.sum::<f64>() as usize
    }

    pub(crate) fn ends_cleanly(&mut self) {
        self.process.signal("TERM").unwrap();
        let code = self.process.wait(Instant::now() + Duration::from_secs(20)).unwrap();
        assert_eq!(code, 0, "{}", self.process.log());
        assert!(!self.process.log().contains("panicked"), "{}", self.process.log());
    }
}

impl Sipp {
    pub(crate) fn all_succeed(mut self, pair: &Pair) {
        let limit = Instant::now() + Duration::from_secs(90);
        for party in &mut self.parties {
            let code = party.wait(limit).unwrap();
            let nodes = [&pair.a, &pair.b].map(|node| tail(&node.process.log(), 10)).join("\n--\n");
            assert_eq!(code, 0, "{}: {}\n{nodes}", party.name, tail(&party.log(), 60));
        }
    }
}

fn run(
    name: &str,
    network: Option<u32>,
    [sip, admin]: [SocketAddrV4; 2],
    url: &str,
    dir: &Path,
    settings: &[(&str, &str)],
) -> Process {
    const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");
    let program = network.map_or(HOLDFAST, |_| "nsenter");
    let process = Process::start(name, dir, program, |command| {
        if let Some(of) = network {
            command.args([&format!("--net=/proc/{of}/ns/net"), HOLDFAST]);
        }
        command.arg("serve");
        let spool = dir.join(format!("{name}-spool")).display().to_string();
        for (setting, text) in [
            ("NODE_NAME", name),
            ("LISTEN", &format!("udp:{sip}")),
            ("ADMIN_LISTEN", &admin.to_string()),
            ("DATABASE_URL", url),
            ("CLUSTER_KEY", "shared"),
            ("SPOOL_DIR", &spool),
            ("SHARDS", "2"),
        ] {
            command.env(format!("HOLDFAST_{setting}"), text);
        }
        for (setting, text) in settings {
            command.env(format!("HOLDFAST_{}", setting.to_uppercase()), text);
        }
    });
    process.unwrap()
}

fn get(address: SocketAddrV4, path: &str) -> Option<String> {
    let limit = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address.into(), limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
