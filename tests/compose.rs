//! The Dockerfile and docker-compose.yml, as far as they can be judged without an engine.

#![allow(clippy::disallowed_methods, reason = "a test of files reads files")]

use std::path::Path;

use holdfast::carrier::Tables;
use holdfast::server::settings::{KNOWN, Raw};
use holdfast::store::Store;
use yaml_rust2::{Yaml, YamlLoader};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn compose() -> Yaml {
    let documents = YamlLoader::load_from_str(&read("docker-compose.yml")).expect("it is YAML");
    documents.into_iter().next().expect("one document")
}

/// Each service with its environment, what it merges in included.
fn environments() -> Vec<(String, Vec<(String, String)>)> {
    let compose = compose();
    let services = compose["services"].as_hash().expect("services");
    services
        .iter()
        .map(|(name, service)| {
            let merged = &service["<<"]["environment"];
            let own = &service["environment"];
            let pairs = [merged, own].into_iter().filter_map(Yaml::as_hash).flatten();
            let pairs = pairs.map(|(name, value)| {
                let text =
                    |yaml: &Yaml| yaml.as_str().expect("a text: numbers in quotes").to_owned();
                (text(name), text(value))
            });
            (name.as_str().expect("a name").to_owned(), pairs.collect())
        })
        .collect()
}

#[test]
fn compose_has_postgres_a_router_two_carriers_and_a_caller() {
    let names: Vec<String> = environments().into_iter().map(|(name, _)| name).collect();
    for name in ["postgres", "migrate", "rows", "holdfast", "carrier-a", "carrier-b", "caller"] {
        assert!(names.iter().any(|known| known == name), "{name} is missing");
    }
}

#[test]
fn every_variable_that_compose_sets_for_holdfast_is_a_setting_that_check_takes() {
    let mut checked = 0;
    for (service, environment) in environments() {
        let ours: Vec<_> =
            environment.into_iter().filter(|(name, _)| name.starts_with("HOLDFAST_")).collect();
        if ours.is_empty() {
            continue;
        }
        for (name, _) in &ours {
            let setting = name["HOLDFAST_".len()..].to_lowercase();
            assert!(KNOWN.iter().any(|known| known.name == setting), "{service}: {name}");
        }
        let mut raw = Raw::default();
        // The address that a container has is not known here.
        raw.add_environment(ours.into_iter().map(|(name, value)| match name.as_str() {
            "HOLDFAST_LISTEN" => (name, format!("{value} as 172.30.60.2:5060")),
            _ => (name, value),
        }));
        raw.check().unwrap_or_else(|error| panic!("{service}: {error}"));
        checked += 1;
    }
    assert_eq!(checked, 2, "migrate and holdfast are given settings");
}

#[test]
fn services_wait_only_for_services_that_there_are() {
    let compose = compose();
    let services = compose["services"].as_hash().expect("services");
    for (name, service) in services {
        let waited_for: Vec<&Yaml> = match &service["depends_on"] {
            Yaml::Hash(hash) => hash.keys().collect(),
            Yaml::Array(list) => list.iter().collect(),
            _ => Vec::new(),
        };
        for other in waited_for {
            assert!(services.contains_key(other), "{name:?} waits for {other:?}");
        }
    }
}

#[test]
fn the_dockerfile_copies_only_what_there_is_and_has_every_stage_that_compose_builds() {
    let dockerfile = read("Dockerfile");
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0].starts_with("--from=") {
            continue;
        }
        for source in &words[..words.len() - 1] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
            assert!(path.exists(), "{source} is copied, and there is no such thing");
        }
    }
    let compose = compose();
    let target = compose["x-sipp"]["build"]["target"].as_str().expect("a target");
    assert!(dockerfile.contains(&format!(" AS {target}\n")), "no stage {target}");
    let mounted = read("docs/examples/compose.sql");
    assert!(read("docker-compose.yml").contains("./docs/examples/compose.sql:/compose.sql"));
    assert!(mounted.contains("insert into carriers"));
}

#[test]
fn the_rows_of_compose_make_sense_and_may_be_written_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", dir.path().join("compose.db").display());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let rows = runtime.block_on(async {
        use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
        let store = Store::open(&url).expect("a good URL");
        store.migrate().await.expect("migrated");
        let mut connection = SqliteConnection::connect(&url).await.expect("connected");
        for _ in 0..2 {
            let sql = AssertSqlSafe(read("docs/examples/compose.sql"));
            sqlx::raw_sql(sql).execute(&mut connection).await.expect("written");
        }
        store.read_rows().await.expect("read")
    });
    let tables = Tables::check(rows, 1).expect("they make sense");
    assert_eq!(tables.gateways().count(), 2);
    assert!(tables.customer_at("172.30.60.9".parse().expect("an address")).is_some());
}
