//! Drills against two nodes of the program itself on one Postgres.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test below the purity line")]

#[path = "../sip-tests/harness/ports.rs"]
#[allow(dead_code, reason = "a part is enough here")]
mod ports;
#[path = "../sip-tests/harness/postgres.rs"]
#[allow(dead_code, reason = "a part is enough here")]
mod postgres;
#[path = "../sip-tests/harness/process.rs"]
#[allow(dead_code, reason = "a part is enough here")]
mod process;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use holdfast::store::Store;
use ports::free_port;
use process::Process;
use serde_json::Value;

const START_LIMIT: Duration = Duration::from_secs(20);

struct Node {
    process: Process,
    sip: SocketAddr,
}

impl Node {
    fn start(name: &str, ip: &str, url: &str, dir: &Path) -> Self {
        let (sip, admin) = (free_port().unwrap(), free_port().unwrap());
        let (listen, admin) = (format!("udp:{ip}:{sip}"), format!("{ip}:{admin}"));
        let spool = dir.join(format!("spool-{name}"));
        let mut process = Process::start(name, dir, env!("CARGO_BIN_EXE_holdfast"), |command| {
            command
                .args(["serve", "--listen", &listen, "--admin-listen", &admin])
                .args(["--node-name", name, "--database-url", url])
                .args(["--cluster-key", "of both", "--shards", "1", "--spool-dir"])
                .arg(&spool);
        })
        .unwrap();
        let begun = Instant::now();
        while !is_ready(&admin) {
            let is_alive = process.exit_code().unwrap().is_none() && begun.elapsed() < START_LIMIT;
            assert!(is_alive, "{}", process.log());
            std::thread::sleep(process::POLL);
        }
        Self { process, sip: format!("{ip}:{sip}").parse().unwrap() }
    }
}

fn is_ready(admin: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(admin) else { return false };
    let asked = stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains(" 200 ")
}

fn drill(dir: &Path, nodes: &[SocketAddr], url: &str, more: &[&str]) -> (Output, String) {
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    let carrier = || format!("127.0.0.1:{}", free_port().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    process::forget_settings(&mut command);
    let output = command
        .arg("drill")
        .args(more)
        .args(["--nodes", &nodes.join(","), "--carriers", &[carrier(), carrier()].join(",")])
        .args(["--database-url", url, "--before", "2", "--after", "2", "--report", "reports"])
        .current_dir(dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let logged = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, format!("{said}\n{logged}"))
}

/// The newest report of a scenario in JSON.
fn report(dir: &Path, scenario: &str) -> Value {
    let files = std::fs::read_dir(dir.join("reports")).unwrap();
    let paths = files.map(|file| file.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(scenario) && name.ends_with(".json")
    });
    let newest = paths.max().expect("a report");
    assert!(newest.with_extension("md").exists());
    serde_json::from_slice(&std::fs::read(newest).unwrap()).unwrap()
}

#[test]
fn answered_calls_survive_a_node_and_new_calls_a_carrier() {
    let server = postgres::Server::start().unwrap();
    let url = server.create_database("drill").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let store = runtime.block_on(async {
        let store = Store::open(&url).unwrap();
        store.migrate().await.unwrap();
        store
    });
    let a = Node::start("a", "127.0.0.2", &url, dir.path());
    let b = Node::start("b", "127.0.0.3", &url, dir.path());

    // Nobody has told the nodes of the callers: the drill says what is missing, and breaks nothing.
    let pid = a.process.pid().to_string();
    let loss = ["node-loss", "--pid", &pid, "--calls", "100", "--fault-for", "6"];
    let silent = drill(dir.path(), &[a.sip, b.sip], &url, &["carrier-silent", "--calls", "1"]);
    assert_eq!(silent.0.status.code(), Some(1), "{}", silent.1);
    assert!(silent.1.contains("insert into customers (name, region)"), "{}", silent.1);

    let carrier =
        ["carrier-loss", "--calls", "20", "--fault-for", "3", "--region", "eu", "--prepare"];
    let (output, said) = drill(dir.path(), &[a.sip], &url, &carrier);
    assert!(output.status.success(), "{said}");
    let told = report(dir.path(), "carrier-loss");
    assert!(told["figures"]["decided_ms"].as_i64().unwrap() < 1_000, "{said}");
    assert_eq!(told["figures"]["records"]["wrong_region"], 0);

    let (output, said) =
        drill(dir.path(), &[a.sip, b.sip], &url, &[&loss[..], &["--prepare", "--clean"]].concat());
    assert!(output.status.success(), "{said}{}{}", a.process.log(), b.process.log());
    assert!(said.contains("# Drill node-loss: passed"), "{said}");
    let told = report(dir.path(), "node-loss");
    let figures = &told["figures"];
    assert!(figures["in_flight"].as_u64().unwrap() >= 100, "{said}");
    assert_eq!(figures["survived"], figures["in_flight"]);
    assert!(figures["legs_told"].as_u64().unwrap() >= 200, "{said}");
    assert!(figures["answered_by_next_node"].as_u64().unwrap() > 0, "{said}");
    let records = &figures["records"];
    assert!(records["taken_over"].as_u64().unwrap() >= 100, "{said}");
    let times: Vec<i64> = ["detected_ms", "decided_ms", "recovered_ms"]
        .map(|name| figures[name].as_i64().expect(name))
        .to_vec();
    assert!(times.is_sorted(), "{times:?}");

    runtime.block_on(async {
        let kept = store.drills("node-loss", 9).await.unwrap();
        assert_eq!((kept.len(), kept[0].passed, kept[0].calls_dropped), (1, true, 0));
        assert_eq!(kept[0].records_lost, Some(0));
        assert_eq!(kept[0].recovered_ms, figures["recovered_ms"].as_i64());
        assert_eq!(kept[0].drill_id.to_string(), told["drill_id"].as_str().unwrap());
        assert!(store.read_rows().await.unwrap().carriers.is_empty(), "--clean");
        store.close().await;
    });
}
