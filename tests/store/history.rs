//! Records come back as they went in, and the slow measures add up.

use holdfast::store::quality::{Measured, Quality};
use holdfast::store::record::StoredCall;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::database::Database;
use crate::sample::{STARTED_AT, attempt, call, probe};

on_both_stores!(
    finds_a_call_by_its_number_and_by_the_call_id_of_either_leg,
    gives_the_last_calls_of_a_time,
    gives_the_probes_of_a_time,
    measures_each_gateway_country_and_hour,
    measures_the_last_hour_of_each_carrier_gateway_and_country,
);

async fn finds_a_call_by_its_number_and_by_the_call_id_of_either_leg(database: Database) {
    let store = &database.store;
    let mut bare = StoredCall { decision: None, country: None, ..call(2) };
    bare.attempts.clear();
    // A Call-ID that looks like a number of ours.
    bare.inbound_call_id = Uuid::from_u128(77).to_string();
    let mut later = call(3);
    later.inbound_call_id = "in-1@example.com".to_owned();
    later.started_at += Duration::hours(1);
    later.attempts[0].outbound_call_id = "out-3".to_owned();
    later.attempts[1].outbound_call_id = "out-3-2".to_owned();
    store.write_calls(&[call(1), bare.clone(), later.clone()]).await.unwrap();

    let find = async |id: &str| store.find_calls(id).await.unwrap();
    assert_eq!(find(&call(1).call_id.to_string()).await, [call(1)]);
    assert_eq!(find(&Uuid::from_u128(77).to_string()).await, [bare]);
    assert_eq!(find("in-1@example.com").await, [later.clone(), call(1)]);
    assert_eq!(find("out-3-2").await, [later]);
    assert!(find("nobody").await.is_empty());
    assert!(find("").await.is_empty());
}

async fn gives_the_last_calls_of_a_time(database: Database) {
    let at = |number: u128| StoredCall {
        started_at: STARTED_AT + Duration::minutes(i64::try_from(number).unwrap()),
        ..call(number)
    };
    let calls: Vec<_> = (1..=5).map(at).collect();
    database.store.write_calls(&calls).await.unwrap();
    let between = async |from: i64, to: i64, limit| {
        let (from, to) = (STARTED_AT + Duration::minutes(from), STARTED_AT + Duration::minutes(to));
        database.store.calls_between(from, to, limit).await.unwrap()
    };
    assert_eq!(between(2, 4, 10).await, [at(4), at(3), at(2)]);
    assert_eq!(between(0, 9, 2).await, [at(5), at(4)]);
    assert!(between(6, 9, 2).await.is_empty());
}

async fn gives_the_probes_of_a_time(database: Database) {
    let at = |seconds| probe(STARTED_AT + Duration::seconds(seconds));
    let mut lost = at(2);
    lost.status_code = None;
    database.store.write_probes(&[at(3), at(1), lost.clone(), at(9)]).await.unwrap();
    let to = STARTED_AT + Duration::seconds(3);
    let probes = database.store.probes_between(STARTED_AT, to).await.unwrap();
    assert_eq!(probes, [at(1), lost, at(3)]);
}

/// Attempts at the carrier `won`, ten seconds apart, each in a call of its own.
fn calls(first: u128, country: Option<i16>, begun: OffsetDateTime) -> Vec<StoredCall> {
    let kinds = [
        // Class, stage, ringing, talk.
        ("answered", "ringing", Some(1_000), 60),
        ("answered", "ringing", Some(2_000), 30),
        ("answered", "trying", Some(100), 3),
        ("destination", "ringing", Some(4_000), 0),
        ("carrier_hard", "nothing", None, 0),
        ("caller", "trying", None, 0),
    ];
    let call =
        |(number, (class, stage, ringing_ms, talk)): (u128, (&str, &str, Option<u32>, i64))| {
            let is_answered = class == "answered";
            let mut attempt = attempt("won");
            attempt.started_at = begun;
            attempt.class = class.to_owned();
            attempt.stage = stage.to_owned();
            attempt.ringing_ms = ringing_ms;
            StoredCall {
                country,
                answered_at: is_answered.then_some(begun),
                ended_at: begun + Duration::seconds(talk),
                attempts: vec![attempt],
                ..call(number)
            }
        };
    (first..).zip(kinds).map(call).collect()
}

async fn measures_each_gateway_country_and_hour(database: Database) {
    let now = OffsetDateTime::now_utc();
    let store = &database.store;
    store.write_calls(&calls(1, Some(49), now - Duration::minutes(61))).await.unwrap();
    store.write_calls(&calls(11, None, now - Duration::minutes(61))[..1]).await.unwrap();
    // Neither old ones nor another hour count with them.
    store.write_calls(&calls(21, Some(49), now - Duration::hours(25))).await.unwrap();
    store.write_calls(&calls(31, Some(49), now)[4..]).await.unwrap();

    let columns = [
        "carrier_id",
        "carrier",
        "gateway_id",
        "gateway",
        "country",
        "attempts",
        "answered",
        "asr",
        "round(cast(ner * 1000 as numeric))",
        "round(cast(acd_seconds * 1000 as numeric))",
        "post_dial_delay_p50_ms",
        "post_dial_delay_p95_ms",
        "round(cast(short_call_share * 1000 as numeric))",
        "answered_without_ringing",
    ];
    let rows = database
        .columns(&columns, "carrier_quality order by hour desc, coalesce(country, 999)")
        .await;
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| row.into_iter().map(|text| text.trim_end_matches(".0").to_owned()).collect())
        .collect();
    let beginning = ["3", "won", "4", "won-gw"];
    let expected = [
        ["49", "2", "0", "0", "0", "null", "null", "null", "null", "0"],
        ["49", "6", "3", "0.5", "667", "31000", "1000", "4000", "333", "1"],
        ["null", "1", "1", "1", "1000", "60000", "1000", "1000", "0", "0"],
    ];
    let expected: Vec<Vec<String>> = expected
        .iter()
        .map(|row| beginning.iter().chain(row).map(|text| (*text).to_owned()).collect())
        .collect();
    assert_eq!(rows, expected);
    let hours = database.columns(&["count(distinct hour)"], "carrier_quality").await;
    assert_eq!(hours, [["2"]]);
}

async fn measures_the_last_hour_of_each_carrier_gateway_and_country(database: Database) {
    let now = OffsetDateTime::now_utc();
    let store = &database.store;
    store.write_calls(&calls(1, Some(49), now - Duration::minutes(59))).await.unwrap();
    store.write_calls(&calls(21, None, now - Duration::minutes(59))[..1]).await.unwrap();
    store.write_calls(&calls(11, None, now - Duration::minutes(61))).await.unwrap();
    let [all, country, gateway] = store.quality().await.unwrap().try_into().unwrap();
    let of = |one: &Quality| {
        let Measured { carrier, gateway, country } = one.of.clone();
        (carrier, gateway, country)
    };
    assert_eq!(of(&all), ("won".to_owned(), None, None));
    assert_eq!(of(&country), ("won".to_owned(), None, Some(49)));
    assert_eq!(of(&gateway), ("won".to_owned(), Some("won-gw".to_owned()), None));
    // One call of no country is in the carrier's and the gateway's.
    let near = |measured: f64, expected: f64| {
        assert!(
            (measured - expected).abs() < 0.01,
            "{measured} is not {expected}: {country:?} {all:?}"
        );
    };
    near(country.asr, 0.5);
    near(country.ner, 4.0 / 6.0);
    near(country.acd_seconds.unwrap(), 31.0);
    near(country.post_dial_delay_seconds.unwrap(), 7.1 / 4.0);
    near(country.short_call_share.unwrap(), 1.0 / 3.0);
    for one in [&all, &gateway] {
        near(one.asr, 4.0 / 7.0);
        near(one.ner, 5.0 / 7.0);
        near(one.acd_seconds.unwrap(), (93.0 + 60.0) / 4.0);
        near(one.post_dial_delay_seconds.unwrap(), 8.1 / 5.0);
        near(one.short_call_share.unwrap(), 0.25);
    }
}
