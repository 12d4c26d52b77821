//! Both nodes are renewed, one after the other, while calls come and go.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::SLOW;
use crate::pair::{Node, Pair, Sipp};
use crate::ports::free_port;
use crate::process::{Process, tail};

const CALLS_PER_S: &str = "8";
/// How long a side that hangs up talks before, in milliseconds; and one that waits for the other to do it.
const TALKS: &str = "4000";
const WAITS: &str = "45000";
/// Between the two: most calls of the first drain are over by then, and others have begun.
const APART: Duration = Duration::from_secs(2);
/// Calls that are up when a node begins to drain.
const IN_PROGRESS: usize = 20;

#[test]
fn both_nodes_are_renewed_under_load_and_no_call_is_lost() {
    let mut pair = Pair::start();
    let callees = [callee(&pair, "44", WAITS), callee(&pair, "49", TALKS)];
    let callers = [caller(&pair, "44", TALKS), caller(&pair, "49", WAITS)];
    renew(&mut pair, |pair| &mut pair.a);
    assert!(pair.b.metric("holdfast_calls_adopted_total") >= IN_PROGRESS / 2);
    sleep(APART);
    renew(&mut pair, |pair| &mut pair.b);
    assert!(pair.a.metric("holdfast_calls_adopted_total") >= IN_PROGRESS / 2);
    sleep(Duration::from_secs(1));
    let mut calls = 0;
    for mut caller in callers {
        // It begins no new calls, and ends once the last one has.
        caller.signal("USR1").unwrap();
        let code = caller.wait(Instant::now() + SLOW);
        if code.is_err() {
            // The second time it ends at once, and says where its calls are.
            caller.signal("USR1").unwrap();
            let _ = caller.wait(Instant::now() + Duration::from_secs(5));
        }
        assert_eq!(code.ok(), Some(0), "{}", tail(&caller.log(), 90));
        calls += successful(&caller);
    }
    let mut callees = Sipp { parties: callees.into() };
    callees.parties.iter_mut().for_each(|callee| callee.signal("USR1").unwrap());
    callees.all_succeed(&pair);
    records_are_there(&pair, calls);
    pair.a.ends_cleanly();
    pair.b.ends_cleanly();
}

/// Has a node give its calls away and end, and starts it again.
fn renew(pair: &mut Pair, of: impl Fn(&mut Pair) -> &mut Node) {
    let limit = Instant::now() + SLOW;
    while of(pair).metric("holdfast_calls_talking") < IN_PROGRESS {
        assert!(Instant::now() < limit, "too few calls");
        sleep(Duration::from_millis(50));
    }
    let node = of(pair);
    let begun = Instant::now();
    node.process.signal("TERM").unwrap();
    let code = node.process.wait(Instant::now() + SLOW).unwrap();
    assert_eq!(code, 0, "no call was cut: {}", node.process.log());
    println!("a drain took {:?}", begun.elapsed());
    node.start(&[]);
    pair.until("both nodes know of each other", SLOW, |pair| {
        pair.a.metric("holdfast_nodes") == 2 && pair.b.metric("holdfast_nodes") == 2
    });
}

/// Every call that was answered has one record, and was ended by whoever was to end it. The others were refused by a
/// node that drains, and made through the other one.
fn records_are_there(pair: &Pair, calls: usize) {
    let by = |condition: &str| pair.count(&format!("calls where {condition}"));
    pair.until("all records are there", SLOW, |pair| {
        by("answered_at is not null") == calls && pair.count("calls_in_progress") == 0
    });
    let ends = pair.texts(
        "select distinct concat_ws('|', case when answered_at is not null then left(called, 2) end, \
           end_cause, status_code, ended_by, detail) as ended from calls order by ended",
    );
    let as_meant = ["44|completed|200|caller|", "49|completed|200|callee|"];
    let refused = "refused|503|holdfast|draining";
    let is_as_meant = |end: &Vec<String>| end[0] == refused || as_meant.contains(&end[0].as_str());
    assert!(ends.iter().all(is_as_meant), "{ends:?}");
    let callers = "(select distinct inbound_call_id from calls) as of_callers";
    assert_eq!(pair.count(callers), calls);
}

/// Calls, those for 44 through node a first, the others through node b.
fn caller(pair: &Pair, prefix: &str, talk: &str) -> Process {
    let (first, other) = match prefix {
        "44" => (pair.a.sip, pair.b.sip),
        _ => (pair.b.sip, pair.a.sip),
    };
    let scenario = include_str!("rolling_caller.xml")
        .replace("{{node}}", &first.to_string())
        .replace("{{other_ip}}", &other.ip().to_string())
        .replace("{{port}}", &other.port().to_string())
        .replace("{{talk}}", talk);
    let name = format!("caller-{prefix}");
    pair.sipp(&name, &scenario, free_port().unwrap(), |command| {
        command.args(["-r", CALLS_PER_S, "-s", &format!("{prefix}30100"), &first.to_string()]);
    })
}

fn callee(pair: &Pair, prefix: &str, talk: &str) -> Process {
    let scenario = include_str!("rolling_callee.xml").replace("{{talk}}", talk);
    let port = pair.callees[usize::from(prefix != "44")];
    pair.sipp(&format!("callee-{prefix}"), &scenario, port, |_| {})
}

/// What SIPp's last screen says.
fn successful(sipp: &Process) -> usize {
    let log = sipp.log();
    let line = log.lines().rev().find(|line| line.contains("Successful call"));
    let count = line.and_then(|line| line.rsplit('|').next()?.trim().parse().ok());
    count.expect("SIPp says how many calls succeeded")
}
