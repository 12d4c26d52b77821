//! Calls in progress belong to one run of a node at a time, and their records are written once.

use std::time::Duration;

use holdfast::call::Ownership;
use holdfast::store::StoreKind;
use holdfast::store::answered::{ClaimedCall, KeptCall, LEASE_LIMIT, Lease};
use time::macros::datetime;
use uuid::Uuid;

use crate::database::Database;
use crate::sample::call;

on_both_stores!(
    keeps_a_call_and_changes_it_for_its_owner_alone,
    keeps_no_call_that_is_over,
    takes_over_the_calls_of_a_lost_lease_once,
    leaves_the_calls_of_a_living_node_alone,
    takes_the_place_of_an_earlier_run_of_its_own_at_once,
    takes_over_only_what_may_be_in_its_region,
    takes_over_as_many_as_it_is_told_and_one_by_its_number,
    writes_the_record_of_its_own_call_and_forgets_it,
    leaves_the_record_of_a_call_to_whoever_has_taken_it,
    takes_over_nothing_that_has_its_record,
    gives_calls_away_and_knows_when_they_are_settled,
    finds_a_call_by_either_tag,
    tells_how_old_every_lease_is,
    clears_away_what_crossed_its_record_and_leases_long_gone,
);

fn lease(id: i64, node: &str) -> Lease {
    let node = node.to_owned();
    Lease { id, node, address: Some("192.0.2.1:5060".into()), region: None, is_draining: false }
}

fn kept(number: u128) -> KeptCall {
    KeptCall {
        call_id: Uuid::from_u128(number),
        region: None,
        answered_at: Some(
            datetime!(2026-03-04 05:06:07.5 UTC) + Duration::from_secs(number as u64),
        ),
        inbound_tag: format!("in-{number}"),
        outbound_tag: format!("out-{number}"),
        state: format!("{{\"number\":{number}}}"),
    }
}

fn numbers(claimed: &[ClaimedCall]) -> Vec<u128> {
    let mut numbers: Vec<u128> = claimed.iter().map(|claimed| claimed.call_id.as_u128()).collect();
    numbers.sort_unstable();
    numbers
}

impl Database {
    /// Claims as many calls of run 1, and has them adopted.
    async fn take(&self, lease: &Lease, call_id: Option<Uuid>, limit: u32) -> Vec<ClaimedCall> {
        let claimed = self.store.claim(lease, &[1], call_id, limit).await.unwrap();
        let calls: Vec<Uuid> = claimed.iter().map(|claimed| claimed.call_id).collect();
        self.store.adopted(lease.id, &calls).await.unwrap();
        claimed
    }

    /// A run with these calls.
    async fn run_with(&self, id: i64, node: &str, calls: &[KeptCall]) -> Lease {
        let lease = lease(id, node);
        self.store.renew(&lease).await.unwrap();
        assert_eq!(self.store.keep(&lease, calls).await.unwrap().len(), calls.len());
        lease
    }

    async fn age(&self, id: i64) {
        let past = match self.store.kind() {
            StoreKind::Postgres => "now() - interval '2 seconds'",
            StoreKind::Sqlite => "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-2 seconds')",
        };
        let aged = format!("update node_leases set renewed_at = {past} where node_lease_id = {id}");
        self.execute(&aged).await;
    }
}

async fn keeps_a_call_and_changes_it_for_its_owner_alone(database: Database) {
    let store = &database.store;
    let a = database.run_with(1, "a", &[kept(1)]).await;
    let changed = KeptCall { state: "{\"new\":1}".into(), ..kept(1) };
    assert_eq!(store.keep(&a, std::slice::from_ref(&changed)).await.unwrap().len(), 1);
    let stolen = KeptCall { state: "{\"stolen\":1}".into(), ..kept(1) };
    assert!(store.keep(&lease(2, "b"), &[stolen]).await.unwrap().is_empty());
    let columns = ["node", "node_lease_id", "epoch", "region", "inbound_tag", "state"];
    let rows = database.columns(&columns, "calls_in_progress").await;
    assert_eq!(rows, [["a", "1", "1", "null", "in-1", "{\"new\":1}"]]);
}

async fn keeps_no_call_that_is_over(database: Database) {
    let store = &database.store;
    store.write_calls(&[call(1)]).await.unwrap();
    assert!(store.keep(&lease(1, "a"), &[kept(1)]).await.unwrap().is_empty());
    assert_eq!(database.count("calls_in_progress").await, 0);
}

async fn takes_over_the_calls_of_a_lost_lease_once(database: Database) {
    let store = &database.store;
    let calls: Vec<KeptCall> = (1..=3).map(kept).collect();
    database.run_with(1, "a", &calls).await;
    database.age(1).await;
    let (b, c) = (lease(2, "b"), lease(3, "c"));
    let (of_b, of_c) =
        tokio::join!(store.claim(&b, &[1], None, 100), store.claim(&c, &[1], None, 100));
    let (of_b, of_c) = (of_b.unwrap(), of_c.unwrap());
    assert_eq!(of_b.len() + of_c.len(), 3, "each call has one owner: {of_b:?} {of_c:?}");
    let all = numbers(&[of_b.clone(), of_c].concat());
    assert_eq!(all, [1, 2, 3]);
    if let Some(taken) = of_b.first() {
        assert_eq!(taken.taken_from, "a");
        assert_eq!(taken.state, kept(taken.call_id.as_u128()).state);
    }
    let epochs = database.columns(&["epoch"], "calls_in_progress").await;
    assert_eq!(epochs, [["2"], ["2"], ["2"]]);
    let again = database.take(&b, None, 100).await;
    assert_eq!(numbers(&again), numbers(&of_b), "until they have come");
    assert!(store.claim(&b, &[1], None, 100).await.unwrap().is_empty());
    let owned = store.owned(1).await.unwrap();
    assert_eq!((owned.ours.len(), owned.others.len()), (0, 3), "all have changed hands");
}

async fn leaves_the_calls_of_a_living_node_alone(database: Database) {
    let store = &database.store;
    let a = database.run_with(1, "a", &[kept(1)]).await;
    let b = lease(2, "b");
    assert!(store.claim(&b, &[1], None, 100).await.unwrap().is_empty());
    database.age(1).await;
    store.renew(&a).await.unwrap();
    assert!(store.claim(&b, &[1], None, 100).await.unwrap().is_empty(), "it is back");
    assert_eq!(store.owned(2).await.unwrap(), Ownership::default(), "none has changed hands");
    store.end_lease(1).await.unwrap();
    assert_eq!(store.claim(&b, &[1], None, 100).await.unwrap().len(), 1, "it has ended");
}

async fn takes_the_place_of_an_earlier_run_of_its_own_at_once(database: Database) {
    let store = &database.store;
    database.run_with(1, "a", &[kept(1)]).await;
    let again = store.claim(&lease(2, "a"), &[1], None, 100).await.unwrap();
    assert_eq!(numbers(&again), [1]);
    assert_eq!(store.owned(2).await.unwrap().ours, [Uuid::from_u128(1)].into());
}

async fn takes_over_only_what_may_be_in_its_region(database: Database) {
    let store = &database.store;
    let of = |number, region: &str| KeptCall { region: Some(region.into()), ..kept(number) };
    database.run_with(1, "a", &[of(1, "eu"), of(2, "us"), kept(3)]).await;
    database.age(1).await;
    let eu = Lease { region: Some("eu".into()), ..lease(2, "b") };
    assert_eq!(numbers(&store.claim(&eu, &[1], None, 100).await.unwrap()), [1, 3]);
    let anywhere = lease(3, "c");
    assert_eq!(numbers(&store.claim(&anywhere, &[1], None, 100).await.unwrap()), [2]);
}

async fn takes_over_as_many_as_it_is_told_and_one_by_its_number(database: Database) {
    let calls: Vec<KeptCall> = (1..=5).map(kept).collect();
    database.run_with(1, "a", &calls).await;
    database.age(1).await;
    let b = lease(2, "b");
    let one = database.take(&b, Some(Uuid::from_u128(4)), 100).await;
    assert_eq!(numbers(&one), [4]);
    assert_eq!(numbers(&database.take(&b, None, 2).await), [1, 2], "the oldest");
    assert_eq!(numbers(&database.take(&b, None, 100).await), [3, 5]);
}

async fn writes_the_record_of_its_own_call_and_forgets_it(database: Database) {
    database.run_with(1, "node-1", &[kept(1), kept(2)]).await;
    database.store.write_calls(&[call(1)]).await.unwrap();
    assert_eq!(database.count("calls").await, 1);
    let left = database.columns(&["inbound_tag"], "calls_in_progress").await;
    assert_eq!(left, [["in-2"]]);
}

async fn leaves_the_record_of_a_call_to_whoever_has_taken_it(database: Database) {
    let store = &database.store;
    database.run_with(1, "node-1", &[kept(1)]).await;
    database.age(1).await;
    store.claim(&lease(2, "node-2"), &[1], None, 100).await.unwrap();
    // The first node was only frozen, and thinks that the call is its own.
    store.write_calls(&[call(1)]).await.unwrap();
    assert_eq!(database.count("calls").await, 0);
    assert_eq!(database.count("call_attempts").await, 0);
    let mut record = call(1);
    record.node = "node-2".into();
    record.taken_from = Some("node-1".into());
    store.write_calls(&[record]).await.unwrap();
    assert_eq!(database.columns(&["node", "taken_from"], "calls").await, [["node-2", "node-1"]]);
    assert_eq!(database.count("calls_in_progress").await, 0);
}

async fn takes_over_nothing_that_has_its_record(database: Database) {
    let store = &database.store;
    database.run_with(1, "a", &[kept(1)]).await;
    // Both were on their way at one time.
    store.write_calls(&[call(2)]).await.unwrap();
    database.execute("update calls_in_progress set call_id = (select call_id from calls)").await;
    database.age(1).await;
    assert!(store.claim(&lease(2, "b"), &[1], None, 100).await.unwrap().is_empty());
    assert_eq!(database.count("calls_in_progress").await, 0);
}

async fn gives_calls_away_and_knows_when_they_are_settled(database: Database) {
    let store = &database.store;
    database.run_with(1, "a", &[kept(1), kept(2)]).await;
    let b = database.run_with(2, "b", &[kept(3)]).await;
    store.give(1, 2, &[Uuid::from_u128(1)]).await.unwrap();
    assert_eq!(store.unsettled(1).await.unwrap(), 1);
    let given = store.claim(&b, &[], None, 100).await.unwrap();
    assert_eq!((numbers(&given), given[0].taken_from.as_str()), (vec![1], "a"));
    store.adopted(2, &[Uuid::from_u128(1)]).await.unwrap();
    assert!(store.claim(&b, &[], None, 100).await.unwrap().is_empty());
    assert_eq!(store.unsettled(1).await.unwrap(), 1, "its peers do not know yet");
    store.keep(&b, &[kept(1)]).await.unwrap();
    assert_eq!(store.unsettled(1).await.unwrap(), 0);
    assert_eq!(store.owned(1).await.unwrap().ours, [Uuid::from_u128(2)].into());
    store.give(1, 2, &[Uuid::from_u128(3)]).await.unwrap();
    assert_eq!(store.unsettled(1).await.unwrap(), 0, "only what one has can be given");
}

async fn finds_a_call_by_either_tag(database: Database) {
    let store = &database.store;
    database.run_with(7, "a", &[kept(1)]).await;
    let found = Some((Uuid::from_u128(1), 7));
    assert_eq!(store.find_dialog("in-1").await.unwrap(), found);
    assert_eq!(store.find_dialog("out-1").await.unwrap(), found);
    assert_eq!(store.find_dialog("in-2").await.unwrap(), None);
}

async fn tells_how_old_every_lease_is(database: Database) {
    let store = &database.store;
    let a = Lease { region: Some("eu".into()), is_draining: true, ..lease(1, "a") };
    let first = store.renew(&a).await.unwrap();
    assert_eq!((first.own_age, first.peers.len()), (None, 0));
    let b = lease(2, "b");
    let seen = store.renew(&b).await.unwrap();
    assert_eq!(seen.peers[0].0, a);
    assert!(seen.peers[0].1 < LEASE_LIMIT, "{seen:?}");
    database.age(1).await;
    let seen = store.renew(&b).await.unwrap();
    assert!(seen.own_age.unwrap() < LEASE_LIMIT);
    assert!(seen.peers[0].1 >= Duration::from_secs(2), "{seen:?}");
    let late = store.renew(&a).await.unwrap();
    assert!(late.own_age.unwrap() >= Duration::from_secs(2), "it learns how late it was");
    assert!(store.renew(&b).await.unwrap().peers[0].1 < LEASE_LIMIT);
}

async fn clears_away_what_crossed_its_record_and_leases_long_gone(database: Database) {
    let store = &database.store;
    database.run_with(1, "a", &[kept(1), kept(3)]).await;
    store.write_calls(&[call(2)]).await.unwrap();
    database
        .execute(
            "update calls_in_progress set call_id = (select call_id from calls) \
             where inbound_tag = 'in-1'",
        )
        .await;
    for id in 2..=3 {
        store.renew(&lease(id, "b")).await.unwrap();
        store.end_lease(id).await.unwrap();
    }
    store.keep(&lease(3, "b"), &[kept(9)]).await.unwrap();
    store.sweep(1).await.unwrap();
    let left = database.columns(&["inbound_tag"], "calls_in_progress order by inbound_tag").await;
    assert_eq!(left, [["in-3"], ["in-9"]]);
    let leases = database.columns(&["node_lease_id"], "node_leases order by node_lease_id").await;
    assert_eq!(leases, [["1"], ["3"]], "calls still wait for somebody to take them over");
}
