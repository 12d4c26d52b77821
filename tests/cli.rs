//! The program's commands that read records, run as a person runs them, on a SQLite file of a test's own.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "all of it is tests")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use holdfast::store::Store;
use holdfast::store::record::{StoredAttempt, StoredCall, StoredProbe};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

const STARTED_AT: OffsetDateTime = datetime!(2026-03-04 05:06:07.123456 UTC);
const SEED: u64 = 7;

/// Two carriers of one route, the first before the second, and one in another region.
const ROWS: &str = "\
    insert into customers (customer_id, name) values (1, 'Acme'), (2, 'Idle');\
    insert into customer_addresses (address_range, customer_id) values ('192.0.2.0/24', 1);\
    insert into carriers (carrier_id, name) values (1, 'first'), (2, 'second'), (3, 'far');\
    insert into gateways (gateway_id, carrier_id, name, host, region) values \
      (1, 1, 'first-a', '198.51.100.1', 'eu'), (2, 2, 'second-a', '198.51.100.2', 'eu'), \
      (3, 3, 'far-a', '198.51.100.3', 'us');\
    insert into routes (route_id, customer_id, called_prefix, region, strategy) values \
      (1, 1, '49', 'eu', 'priority');\
    insert into route_carriers (route_id, carrier_id, priority) values (1, 1, 1), (1, 2, 2), (1, 3, 3);";

#[test]
fn explains_a_call_by_its_number_and_by_the_call_id_of_either_leg() {
    let world = World::new(&[call(1)]);
    let by_number = world.text(&["explain", "00000000-0000-0000-0000-000000000001"]);
    insta::assert_snapshot!("a_call", by_number);
    assert_eq!(world.text(&["explain", "in-1@example.com"]), by_number);
    assert_eq!(world.text(&["explain", "out-2@example.com"]), by_number);
}

#[test]
fn explains_a_call_as_json() {
    let world = World::new(&[call(1)]);
    let json = world.json(&["explain", "in-1@example.com", "--json"]);
    assert_eq!(json["call"]["call_id"], "00000000-0000-0000-0000-000000000001");
    assert_eq!(json["decision"]["candidates"][0]["theta"], 0.875);
    assert_eq!(json["decision"]["dropped"][0]["reason"], "region");
    assert_eq!(
        json["attempts"][0]["failure_rule"],
        "status 503 -> carrier_hard, next_gateway, weight 0.5"
    );
    assert_eq!(json["told"]["by_attempt"], 2);
}

#[test]
fn check_names_the_certificate_that_cannot_be_read() {
    let world = World::new(&[]);
    let tls = [
        "--listen",
        "tls:127.0.0.1:5061",
        "--tls-certificate",
        "chain.pem",
        "--tls-key",
        "key.pem",
    ];
    let line = [&["check"][..], &tls].concat();
    let output = world.run(&line);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("chain.pem: "), "{said}");
    let made = rcgen::generate_simple_self_signed(["sip.example".to_owned()]).unwrap();
    std::fs::write(world.dir.path().join("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(world.dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    assert!(world.text(&line).contains("the tables make sense"));
}

#[test]
fn says_that_a_call_is_unknown_and_fails() {
    let world = World::new(&[]);
    let output = world.run(&["explain", "nobody@nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no call on record has the number or Call-ID nobody@nowhere"), "{said}");
}

#[test]
fn refuses_a_command_line_that_makes_no_sense() {
    let world = World::new(&[]);
    for line in [
        &["explain"][..],
        &["explain", "--to", "+4930"],
        &["explain", "some-call", "--to", "+4930", "--customer", "Acme"],
        &["explain", "--to", "+4930", "--customer", "Acme", "--at", "yesterday"],
        &["replay", "--last", "0"],
        &["replay", "--last", "5", "--since", "1h"],
        &[
            "drill",
            "node-loss",
            "--nodes",
            "127.0.0.2:5060,127.0.0.3:5060",
            "--carriers",
            "127.0.0.1:7001",
        ],
        &[
            "drill",
            "node-freeze",
            "--pid",
            "0",
            "--nodes",
            "127.0.0.2:5060",
            "--carriers",
            "127.0.0.1:7001",
        ],
    ] {
        assert_eq!(world.run(line).status.code(), Some(2), "{line:?}");
    }
    for (line, says) in [
        (["explain", "--to", "+4930", "--customer", "Nobody"], "there is no customer Nobody"),
        (["explain", "--to", "+4930", "--customer", "9"], "there is no customer 9"),
    ] {
        let output = world.run(&line);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr).unwrap().contains(says), "{says}");
    }
}

#[test]
fn asks_for_the_migrations_that_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    for command in [&["explain", "some-call"][..], &["replay"]] {
        let output = run(dir.path(), command);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("run `holdfast migrate`"), "{said}");
    }
}

#[test]
fn a_dry_run_picks_what_the_tables_say() {
    let world = World::new(&[]);
    let ask =
        ["explain", "--to", "+4930123456", "--customer", "acme", "--from", "100", "--seed", "1"];
    insta::assert_snapshot!("a_dry_run", world.text(&ask));
    world.execute("update route_carriers set priority = 0 where carrier_id = 2");
    let json = world.json(&[&ask[..], &["--json"]].concat());
    assert_eq!(json["decision"]["candidates"][0]["gateway"], "second-a");
    assert_eq!(json["decision"]["candidates"][1]["gateway"], "first-a");
    world.execute(
        "update customers set routed_by = 'routing_number';
         insert into routes (route_id, called_prefix) values (7, '1202');
         insert into route_carriers (route_id, carrier_id) values (7, 1)",
    );
    let ported = ["explain", "--to", "+4930123456;npdi;rn=+1-202-5", "--customer", "acme"];
    let text = world.text(&ported);
    assert!(text.contains("calls +4930123456 (country code 49)"), "{text}");
    assert!(text.contains("Route 7 takes it, for numbers that begin with 1202."), "{text}");
    assert!(text.contains("reached by the routing number +1-202-5."), "{text}");
    world.execute("update routes set region = 'moon'");
    let text = world.text(&ask);
    assert!(text.ends_with("The caller would be told 480: no gateway in region moon."), "{text}");
    world.execute("update routes set enabled = 0");
    let text = world.text(&ask);
    assert!(text.ends_with("404: no route for this customer and number."), "{text}");
}

#[test]
fn a_dry_run_knows_the_health_that_a_node_has_saved() {
    let world = World::new(&[]);
    world.execute(
        "insert into gateway_health (node, gateway_id, address, port, state, downs, pause_left_ms, \
           failure_rate, unusable_for_ms, buckets) \
         values ('holdfast', 1, '198.51.100.1', 5060, 'down', 3, 60000, 0.5, 0, '[]')",
    );
    let ask = ["explain", "--to", "+4930123456", "--customer", "1", "--json"];
    let json = world.json(&ask);
    assert_eq!(json["decision"]["candidates"][0]["gateway"], "second-a");
    assert_eq!(json["decision"]["dropped"][0]["reason"], "down");
}

#[test]
fn a_dry_run_of_a_time_rebuilds_health_from_what_was_on_record() {
    // Two silent attempts within a second: the first carrier was down, and is not any more.
    let mut silent = call(1);
    silent.attempts.truncate(1);
    silent.attempts[0].origin = "timeout".to_owned();
    silent.attempts[0].stage = "nothing".to_owned();
    silent.attempts[0].weight = Some(1.0);
    silent.attempts[0].trying_ms = None;
    let mut again = StoredCall { call_id: Uuid::from_u128(2), ..silent.clone() };
    again.attempts[0].started_at += Duration::milliseconds(500);
    let world = World::new(&[silent, again]);
    let ask = |at: &str| {
        world.json(&["explain", "--to", "+4930123456", "--customer", "1", "--at", at, "--json"])
    };
    let before = ask("2026-03-04T05:06:06Z");
    assert_eq!(before["decision"]["candidates"][0]["gateway"], "first-a");
    assert_eq!(before["decision"]["candidates"][0]["reachability"], "unknown");
    let then = ask("2026-03-04T05:06:09Z");
    assert_eq!(then["decision"]["candidates"][0]["gateway"], "second-a");
    assert_eq!(then["decision"]["dropped"][0]["gateway"], "first-a");
    assert_eq!(then["decision"]["dropped"][0]["reason"], "down");
    assert_eq!(then["dry_run"]["attempts"], 2);
    // Probes brought it back.
    let probes: Vec<_> = (10..30)
        .map(|seconds| StoredProbe {
            node: "holdfast".to_owned(),
            gateway_id: 1,
            address: "198.51.100.1/32".parse().unwrap(),
            port: 5060,
            ended_at: STARTED_AT + Duration::seconds(seconds),
            status_code: Some(200),
            delay_ms: 20.0,
        })
        .collect();
    block_on(async { world.store().await.write_probes(&probes).await.unwrap() });
    let later = ask("2026-03-04T05:08:00Z");
    assert_eq!(later["dry_run"]["probes"], 20);
    assert_eq!(later["decision"]["candidates"][0]["reachability"], "up", "{later}");
}

#[test]
fn replay_finds_no_difference_where_nothing_was_changed_and_shows_what_a_change_does() {
    let mut calls: Vec<_> = (1..=30).map(decided).collect();
    // One that was draining, and one of a number for which there is no route.
    calls.push(StoredCall { status_code: 503, customer_id: None, ..refused(31) });
    calls.push(StoredCall { status_code: 404, called: "+1415".to_owned(), ..refused(32) });
    let world = World::new(&calls);
    insta::assert_snapshot!("replay_unchanged", world.text(&["replay"]));
    let last = world.json(&["replay", "--last", "10", "--json"]);
    assert_eq!((&last["calls"], &last["skipped"]), (&json!(9), &json!(1)));
    assert_eq!(world.json(&["replay", "--since", "1m", "--json"])["calls"], 0);

    world.execute("update gateways set admin_state = 'draining' where gateway_id = 1");
    let json = world.json(&["replay", "--json"]);
    assert_eq!(json["moved"], 30);
    assert_eq!(
        json["carriers"][0],
        json!({ "carrier": "first", "then": 30, "now": 0, "difference": -30 })
    );
    assert_eq!(
        json["carriers"][1],
        json!({ "carrier": "second", "then": 0, "now": 30, "difference": 30 })
    );

    world.execute("update routes set region = 'moon'");
    let json = world.json(&["replay", "--json"]);
    assert_eq!(json["refused_now_count"], 30);
    assert_eq!(json["refused_now"].as_array().unwrap().len(), 20);
    assert_eq!(json["refused_now"][0]["why"], "no gateway in region moon");
    let text = world.text(&["replay"]);
    assert!(text.ends_with("and 10 more"), "{text}");

    world.execute(
        "update routes set region = null;
         update gateways set admin_state = 'on';
         update customers set routed_by = 'routing_number';
         insert into routes (route_id, called_prefix) values (7, '1202');
         insert into route_carriers (route_id, carrier_id) values (7, 2)",
    );
    assert_eq!(world.json(&["replay", "--json"])["moved"], 30, "by their routing number");
}

#[test]
fn adds_a_vendor_as_a_carrier_once_and_prints_it_before() {
    let world = World::new(&[]);
    let add = [
        "carriers",
        "add",
        "twilio",
        "--trunk",
        "acme",
        "--name",
        "us-trunk",
        "--edges",
        "ashburn,dublin",
    ];
    let printed = world.text(&[&add[..], &["--dry-run"]].concat());
    assert!(printed.starts_with("insert into carriers (name, "), "{printed}");
    assert_eq!(printed.matches("insert into gateways ").count(), 2);
    let said = world.text(&add);
    let first = "us-trunk: 1 carrier, 2 gateways, 1 number rule, 6 failure rules added; none were there already";
    assert!(said.starts_with(first), "{said}");
    assert!(said.contains("insert into route_carriers"), "{said}");
    assert!(world.text(&["check"]).ends_with("the tables make sense"));

    let again = "us-trunk: none added; 1 carrier, 2 gateways, 1 number rule, 6 failure rules were there already";
    assert_eq!(world.text(&add), again);
    assert_eq!(world.text(&[&add[..], &["--dry-run"]].concat()), "");
    let more = [&add[..8], &["dublin,tokyo"]].concat();
    assert!(world.text(&more).starts_with("us-trunk: 1 gateway added;"));
}

#[test]
fn says_which_vendors_there_are_and_what_one_needs() {
    let world = World::new(&[]);
    assert_eq!(world.text(&["carriers", "list"]).lines().count(), 3);
    for (line, says) in [
        (&["carriers", "add", "vonage"][..], "there is no vendor 'vonage'"),
        (&["carriers", "add", "twilio"], "twilio needs --trunk"),
    ] {
        let output = world.run(line);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr).unwrap().contains(says), "{says}");
    }
}

#[test]
fn a_check_says_which_example_does_not_hold() {
    let world = World::new(&[]);
    world.execute(
        "insert into number_rules (carrier_id, called_format) values (1, 'e164');\
         insert into number_examples (number_example_id, carrier_id, called, expected_request_uri) \
         values (1, 1, '0049301', 'sip:+49301@198.51.100.1'), (2, 1, '0049301', 'sip:49301@198.51.100.1');",
    );
    let output = world.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let refused: Vec<&str> = said.lines().filter(|line| line.starts_with("refused: ")).collect();
    assert_eq!(
        refused,
        ["refused: number_examples row 2, column expected_request_uri: '0049301' becomes \
          'sip:+49301@198.51.100.1', not 'sip:49301@198.51.100.1'"]
    );
}

#[test]
fn hashes_a_password_that_it_never_shows() {
    let dir = tempfile::tempdir().unwrap();
    let hash = |input: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["secret", "--user", "Mufasa", "--realm", "http-auth@example.org"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = hash("Circle of Life\nmore\n");
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "username       = Mufasa\n\
         realm          = http-auth@example.org\n\
         ha1_md5        = 3d78807defe7de2157e2b0b6573a855f\n\
         ha1_sha256     = 7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232\n\
         ha1_sha512_256 = fb174f5c3c7802721517cae13b98e2b8dae2e0118cb705d94ee29946319204ce\n"
    );
    assert!(output.stderr.is_empty());
    let output = hash("\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no password"));
    let odd = run(dir.path(), &["secret", "--user", "a\"b", "--realm", "r"]);
    assert_eq!(odd.status.code(), Some(1));
}

#[test]
fn tells_of_its_commands_and_flags() {
    let dir = tempfile::tempdir().unwrap();
    let mut help = String::new();
    for command in [
        &["--help"][..],
        &["serve", "--help"],
        &["check", "--help"],
        &["migrate", "--help"],
        &["carriers", "--help"],
        &["carriers", "add", "--help"],
        &["secret", "--help"],
        &["explain", "--help"],
        &["replay", "--help"],
        &["demo", "--help"],
        &["drill", "--help"],
        &["drill", "node-loss", "--help"],
        &["drill", "node-freeze", "--help"],
        &["drill", "carrier-loss", "--help"],
        &["drill", "carrier-silent", "--help"],
        &["drill", "store-loss", "--help"],
        &["drill", "partition", "--help"],
    ] {
        let output = run(dir.path(), command);
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        help.push_str(&format!("$ holdfast {}\n{text}\n", command.join(" ")));
    }
    let version = concat!("holdfast/", env!("CARGO_PKG_VERSION"));
    insta::assert_snapshot!("help", help.replace(version, "holdfast/VERSION"));
}

/// A migrated SQLite file with [`ROWS`] and some calls.
struct World {
    dir: TempDir,
}

impl World {
    fn new(calls: &[StoredCall]) -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        block_on(async {
            let store = world.store().await;
            store.migrate().await.unwrap();
            store.write_calls(calls).await.unwrap();
            store.close().await;
        });
        world.execute(ROWS);
        world
    }

    async fn store(&self) -> Store {
        Store::open(&url(self.dir.path())).unwrap()
    }

    fn execute(&self, sql: &str) {
        use sqlx::Connection;
        block_on(async {
            let mut connection =
                sqlx::SqliteConnection::connect(&url(self.dir.path())).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
                .execute(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
        });
    }

    fn run(&self, line: &[&str]) -> Output {
        run(self.dir.path(), line)
    }

    fn text(&self, line: &[&str]) -> String {
        let output = self.run(line);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn json(&self, line: &[&str]) -> Value {
        serde_json::from_str(&self.text(line)).unwrap()
    }
}

fn run(dir: &Path, line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(line)
        .env_clear()
        .env("HOLDFAST_DATABASE_URL", url(dir))
        .current_dir(dir)
        .output()
        .unwrap()
}

fn url(dir: &Path) -> String {
    format!("sqlite:{}", dir.join("holdfast.db").display())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

/// The first carrier refused it, the second one's phone was answered.
fn call(number: u128) -> StoredCall {
    let candidate = |id: i64, carrier: &str, failure_rate: f64| {
        json!({
            "carrier_id": id,
            "carrier": carrier,
            "gateway_id": id,
            "gateway": format!("{carrier}-a"),
            "address": format!("198.51.100.{id}:5060"),
            "priority": id,
            "reachability": "up",
            "theta": 1.0 - failure_rate,
            "failure_rate": failure_rate,
            "deviation": 0.0625,
            "ramp": if id == 1 { 0.3 } else { 1.0 },
            "latency_ms": 23.5,
            "ringing_ms": null,
            "destination_factor": if id == 1 { 0.5 } else { 1.0 },
            "latency_factor": if id == 2 { 0.75 } else { 1.0 },
            "score": 0.9,
        })
    };
    let far = json!({
        "carrier_id": 3, "carrier": "far", "gateway_id": 3, "gateway": "far-a", "reason": "region",
    });
    let busy = attempt(1, "first");
    let won = StoredAttempt {
        started_at: STARTED_AT + Duration::milliseconds(46),
        ringing_ms: Some(812),
        ended_ms: 2_954,
        stage: "ringing".to_owned(),
        status_code: 200,
        reason: "OK".to_owned(),
        class: "answered".to_owned(),
        action: "stop".to_owned(),
        failure_rule_id: None,
        weight: Some(0.0),
        failure_rule: None,
        ..attempt(2, "second")
    };
    StoredCall {
        taken_from: None,
        call_id: Uuid::from_u128(number),
        node: "node-1".to_owned(),
        customer_id: Some(1),
        customer: Some("Acme".to_owned()),
        route_id: Some(1),
        region: Some("eu".to_owned()),
        calling: "100".to_owned(),
        called: "+4930123456".to_owned(),
        source_address: "192.0.2.9/32".parse().unwrap(),
        source_port: 5080,
        inbound_call_id: format!("in-{number}@example.com"),
        started_at: STARTED_AT,
        ringing_at: Some(STARTED_AT + Duration::milliseconds(858)),
        answered_at: Some(STARTED_AT + Duration::seconds(3)),
        ended_at: STARTED_AT + Duration::milliseconds(63_250),
        status_code: 200,
        end_cause: "completed".to_owned(),
        ended_by: "caller".to_owned(),
        detail: String::new(),
        decision: Some(
            json!({
                "route_id": 1,
                "called_prefix": "49",
                "strategy": "priority",
                "region": "eu",
                "country": 49,
                "tables_version": 12,
                "seed": SEED,
                "panic": false,
                "median_latency_ms": 23.5,
                "median_ringing_ms": null,
                "candidates": [candidate(1, "first", 0.125), candidate(2, "second", 0.02)],
                "dropped": [far],
            })
            .into(),
        ),
        country: Some(49),
        attempts: vec![busy, won],
    }
}

fn attempt(id: i64, carrier: &str) -> StoredAttempt {
    StoredAttempt {
        carrier_id: id,
        carrier: carrier.to_owned(),
        gateway_id: id,
        gateway: format!("{carrier}-a"),
        address: format!("198.51.100.{id}/32").parse().unwrap(),
        port: 5060,
        outbound_call_id: format!("out-{id}@example.com"),
        started_at: STARTED_AT + Duration::milliseconds(1),
        trying_ms: Some(20),
        ringing_ms: None,
        ended_ms: 45,
        origin: "remote".to_owned(),
        stage: "trying".to_owned(),
        status_code: 503,
        reason: "Service Unavailable".to_owned(),
        class: "carrier_hard".to_owned(),
        action: "next_gateway".to_owned(),
        failure_rule_id: Some(9),
        late_answer: false,
        transferred_to: None,
        weight: Some(0.5),
        failure_rule: Some("status 503 -> carrier_hard, next_gateway, weight 0.5".to_owned()),
    }
}

/// As the tables of [`ROWS`] decide it, with the first carrier fully back.
fn decided(number: u128) -> StoredCall {
    let mut call = call(number);
    let mut decision: Value = call.decision.unwrap().read().unwrap();
    decision["seed"] = json!(number);
    decision["candidates"][0]["ramp"] = json!(1.0);
    decision["routing_number"] = json!("+1-202-5");
    call.decision = Some(decision.into());
    call.started_at += Duration::seconds(i64::try_from(number).unwrap());
    call
}

/// Without a decision.
fn refused(number: u128) -> StoredCall {
    StoredCall {
        decision: None,
        attempts: Vec::new(),
        ringing_at: None,
        answered_at: None,
        end_cause: "refused".to_owned(),
        ..decided(number)
    }
}
