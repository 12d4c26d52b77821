//! A node finds its health again, and where it has none, its sister's.

use std::time::Duration;

use holdfast::health::SavedTarget;

use crate::database::Database;
use crate::sample::target;

on_both_stores!(
    finds_its_own_health_again,
    forgets_targets_that_are_no_more,
    falls_back_on_the_freshest_of_the_others,
    names_the_column_of_a_row_that_makes_no_sense,
);

async fn finds_its_own_health_again(database: Database) {
    let mut quiet = target(2, "[2001:db8::9]:5061");
    quiet.latency_ms = None;
    let saved = [target(1, "192.0.2.1:5060"), quiet];
    database.store.save_health("a", &saved).await.unwrap();

    let loaded = database.store.load_health("a").await.unwrap();

    assert_eq!(targets(&loaded), saved);
    assert!(loaded.iter().all(|(_, age)| *age < Duration::from_secs(20)), "{loaded:?}");
}

async fn forgets_targets_that_are_no_more(database: Database) {
    let store = &database.store;
    let (kept, gone) = (target(1, "192.0.2.1:5060"), target(1, "192.0.2.1:5062"));
    store.save_health("b", std::slice::from_ref(&gone)).await.unwrap();
    store.save_health("a", &[kept.clone(), gone]).await.unwrap();
    store.save_health("a", &[SavedTarget { failure_rate: 0.5, ..kept }]).await.unwrap();

    let rows =
        database.columns(&["node", "port", "failure_rate"], "gateway_health order by 1").await;
    assert_eq!(rows, [["a", "5060", "0.5"], ["b", "5062", "0.125"]]);
    store.save_health("a", &[]).await.unwrap();
    assert_eq!(database.count("gateway_health").await, 1);
}

async fn falls_back_on_the_freshest_of_the_others(database: Database) {
    let store = &database.store;
    let rated = |gateway_id, failure_rate| SavedTarget {
        failure_rate,
        ..target(gateway_id, "192.0.2.1:5060")
    };
    store.save_health("a", &[rated(1, 0.1)]).await.unwrap();
    store.save_health("b", &[rated(1, 0.2), rated(2, 0.2)]).await.unwrap();
    store.save_health("c", &[rated(1, 0.3), rated(2, 0.3)]).await.unwrap();
    let hour_ago = match database.store.kind() {
        holdfast::store::StoreKind::Postgres => "now() - interval '1 hour'",
        holdfast::store::StoreKind::Sqlite => "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour')",
    };
    let aged =
        format!("update gateway_health set updated_at = {hour_ago} where node in ('a', 'c')");
    database.execute(&aged).await;

    let loaded = store.load_health("a").await.unwrap();

    assert_eq!(targets(&loaded), [rated(1, 0.1), rated(2, 0.2)]);
    let ages: Vec<_> = loaded.iter().map(|(_, age)| age.as_secs() / 60).collect();
    assert_eq!(ages, [60, 0]);
}

async fn names_the_column_of_a_row_that_makes_no_sense(database: Database) {
    database.store.save_health("a", &[target(1, "192.0.2.1:5060")]).await.unwrap();
    for (set, column) in [
        ("port = 70000", "port"),
        ("state = 'odd', port = 1", "state"),
        ("state = 'up', buckets = '[1]'", "buckets"),
    ] {
        database.execute(&format!("update gateway_health set {set}")).await;
        let error = database.store.load_health("a").await.unwrap_err();
        let begin = format!("gateway_health row ?, column {column}: ");
        assert!(error.to_string().starts_with(&begin), "{error}");
        assert!(!error.is_unavailable());
    }
}

fn targets(loaded: &[(SavedTarget, Duration)]) -> Vec<SavedTarget> {
    loaded.iter().map(|(saved, _)| saved.clone()).collect()
}
