use super::*;
use crate::carrier::Transport;

fn raw(given: &[(&str, &str)]) -> Raw {
    let mut raw = Raw::default();
    raw.add_flag("listen", "udp:127.0.0.1:5060".to_owned());
    for (name, text) in given {
        raw.add_flag(name, (*text).to_owned());
    }
    raw
}

fn refused(given: &[(&str, &str)]) -> String {
    raw(given).check().expect_err("it makes no sense").to_string()
}

#[test]
fn takes_flags_over_the_environment_over_the_file_over_the_default() {
    let mut raw = Raw::default();
    raw.add_toml(
        "max_calls = 1\nretry_after_s = 1\nrecord_queue = 101\nlisten = ['udp:127.0.0.1:5060']",
        "f",
    );
    let variables =
        [("HOLDFAST_MAX_CALLS", "2"), ("HOLDFAST_RETRY_AFTER_S", "2"), ("PATH", "/bin")];
    raw.add_environment(variables.map(|(a, b)| (a.to_owned(), b.to_owned())).into_iter());
    raw.add_flag("max_calls", "3".to_owned());
    let settings = raw.check().expect("it makes sense");
    let taken = (settings.max_calls, settings.retry_after_s, settings.record_queue);
    assert_eq!(taken, (3, 2, 101));
    assert_eq!(settings.drain_timeout, Duration::from_secs(300));
    let sources: BTreeMap<_, _> = raw.effective().map(|(name, _, source)| (name, source)).collect();
    assert_eq!(sources["max_calls"], Source::Flag);
    assert_eq!(sources["retry_after_s"], Source::Environment);
    assert_eq!(sources["record_queue"], Source::File);
    assert_eq!(sources["drain_timeout_s"], Source::Default);
}

#[test]
fn refuses_unknown_names_wherever_they_stand_and_proposes_the_nearest() {
    let mut raw = Raw::default();
    raw.add_toml("max_cals = 1", "holdfast.toml");
    raw.add_environment([("HOLDFAST_COLOUR".to_owned(), "red".to_owned())].into_iter());
    let told = raw.check().expect_err("unknown").to_string();
    assert!(
        told.contains("holdfast.toml: there is no setting max_cals; did you mean max_calls?"),
        "{told}"
    );
    assert!(told.contains("HOLDFAST_COLOUR: there is no setting colour"), "{told}");
}

#[test]
fn says_all_that_is_wrong_at_once_with_value_source_and_remedy() {
    let told = refused(&[("max_calls", "many"), ("admin_listen", "9060"), ("log_format", "xml")]);
    assert!(
        told.contains("max_calls = 'many' (flag): it must be a number from 1 to 10000000"),
        "{told}"
    );
    assert!(told.contains("admin_listen = '9060' (flag): it must be ADDRESS:PORT"), "{told}");
    assert!(told.contains("log_format = 'xml' (flag): it must be text or json"), "{told}");
}

#[test]
fn every_setting_has_a_value_that_it_refuses_or_takes_any_text() {
    let bad = [
        ("listen", "udp:nowhere"),
        ("database_url", "mysql://x"),
        ("admin_listen", "x"),
        ("node_name", "two words"),
        ("shards", "65"),
        ("max_calls", "0"),
        ("max_call_duration_s", "-1"),
        ("overload_wait_ms", "10001"),
        ("session_expires_s", "89"),
        ("min_se_s", "89"),
        ("retry_after_s", "x"),
        ("probe_timeout_ms", "5"),
        ("name_servers", "192.0.2.53,x"),
        ("drain_timeout_s", "x"),
        ("region", "EU"),
        ("replicate", "yes"),
        ("replicate_wait_ms", "5001"),
        ("takeover_legs_per_s", "0"),
        ("spool_max_mib", "0"),
        ("record_queue", "1"),
        ("keep_probe_results_h", "0"),
        ("keep_calls_d", "x"),
        ("log_format", "x"),
        ("log_filter", "a=b=c"),
        ("user_agent", "a\r\nb"),
        ("tls_certificate", "without-its-key.pem"),
        ("tls_key", "without-its-certificate.pem"),
        ("max_connections", "0"),
        ("max_connections_per_source", "0"),
        ("connection_idle_s", "0"),
        ("connection_message_s", "0"),
    ];
    for (name, text) in bad {
        assert!(refused(&[(name, text)]).contains(name), "{name}");
    }
    let free = ["cluster_key", "spool_dir", "tls_ca", "tls_client_ca", "tls_key_log"];
    assert_eq!(bad.len() + free.len(), KNOWN.len(), "a new setting needs a row here");
}

#[test]
fn every_setting_changes_what_is_checked() {
    let base = raw(&[]).check().expect("good");
    let other = [
        ("listen", "udp:127.0.0.1:5070"),
        ("database_url", "sqlite:other.db"),
        ("admin_listen", "127.0.0.1:1"),
        ("node_name", "b"),
        ("cluster_key", "secret"),
        ("shards", "3"),
        ("max_calls", "7"),
        ("max_call_duration_s", "7"),
        ("overload_wait_ms", "100"),
        ("session_expires_s", "0"),
        ("min_se_s", "100"),
        ("retry_after_s", "7"),
        ("probe_timeout_ms", "700"),
        ("name_servers", "192.0.2.53"),
        ("drain_timeout_s", "7"),
        ("region", "eu"),
        ("replicate", "off"),
        ("replicate_wait_ms", "7"),
        ("takeover_legs_per_s", "7"),
        ("spool_dir", "elsewhere"),
        ("spool_max_mib", "7"),
        ("record_queue", "700"),
        ("keep_probe_results_h", "7"),
        ("keep_calls_d", "7"),
        ("log_format", "json"),
        ("log_filter", "debug"),
        ("user_agent", "x"),
        ("tls_certificate", "a.pem"),
        ("tls_key", "a.key"),
        ("tls_ca", "ca.pem"),
        ("tls_client_ca", "ca.pem"),
        ("tls_key_log", "secrets"),
        ("max_connections", "7"),
        ("max_connections_per_source", "7"),
        ("connection_idle_s", "7"),
        ("connection_message_s", "7"),
    ];
    for (name, text) in other {
        let pair = match name {
            "tls_certificate" => vec![(name, text), ("tls_key", "b.key")],
            "tls_key" => vec![(name, text), ("tls_certificate", "b.pem")],
            _ => vec![(name, text)],
        };
        assert_ne!(raw(&pair).check().expect("good"), base, "{name}");
    }
    assert_eq!(other.len(), KNOWN.len(), "a new setting needs a row here");
}

#[test]
fn reads_listeners_of_both_families_and_what_peers_are_told() {
    let settings = raw(&[(
        "listen",
        "udp:127.0.0.1:5060, udp:[::1]:5062 as [2001:db8::1]:5060,udp:0.0.0.0:5064 as sip.example.com:5064",
    )])
    .check()
    .expect("good");
    let advertised: Vec<_> =
        settings.listeners.iter().map(|listener| listener.advertised.as_str()).collect();
    assert_eq!(advertised, ["127.0.0.1:5060", "[2001:db8::1]:5060", "sip.example.com:5064"]);
}

#[test]
fn reads_name_servers_with_and_without_a_port() {
    let given = [("name_servers", "192.0.2.53, 192.0.2.54:5353,2001:db8::53")];
    let servers = raw(&given).check().expect("good").name_servers;
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.53:53", "192.0.2.54:5353", "[2001:db8::53]:53"]);
    let many = ["192.0.2.53"; 9].join(",");
    assert!(refused(&[("name_servers", &many)]).contains("8 name servers at most"));
    let told = refused(&[("name_servers", "ns.example")]);
    assert!(told.contains("'ns.example' is neither ADDRESS nor ADDRESS:PORT"), "{told}");
}

#[test]
fn refuses_unknown_transports_and_listeners_that_stand_twice() {
    assert!(refused(&[("listen", "carrier:127.0.0.1:5061")]).contains("no transport"));
    let twice = ["udp:127.0.0.1:5060,udp:127.0.0.1:5060", "tcp:127.0.0.1:5060,tls:127.0.0.1:5060"];
    for twice in twice {
        assert!(refused(&[("listen", twice)]).contains("twice"), "{twice}");
    }
    let both = raw(&[("listen", "udp:127.0.0.1:5060,tcp:127.0.0.1:5060")]).check().expect("good");
    let transports: Vec<_> = both.listeners.iter().map(|listener| listener.transport).collect();
    assert_eq!(transports, [Transport::Udp, Transport::Tcp]);
    assert!(refused(&[("listen", "")]).contains("at least one"));
}

#[test]
fn hides_secrets_in_what_it_prints_and_in_what_it_refuses() {
    let raw = raw(&[("database_url", "mysql://a:geheim@b/c"), ("cluster_key", "geheim")]);
    let shown: Vec<_> = raw.effective().map(|(_, value, _)| value).collect();
    assert!(!shown.join(" ").contains("geheim"));
    assert!(!raw.check().expect_err("mysql").to_string().contains("geheim"));
}

#[test]
fn starts_one_shard_for_each_two_processors_unless_told() {
    let count = |shards: &str, processors| {
        raw(&[("shards", shards)]).check().expect("good").shard_count(processors)
    };
    assert_eq!([count("0", 1), count("0", 2), count("0", 8), count("5", 2)], [1, 1, 4, 5]);
}

#[test]
fn wants_a_certificate_for_tls_and_an_authority_for_a_mutual_listener() {
    let tls = ("listen", "tls:127.0.0.1:5061");
    assert!(refused(&[tls]).contains("tls_certificate"));
    assert!(refused(&[tls, ("tls_certificate", "a.pem")]).contains("tls_key"));
    let own = [("tls_certificate", "a.pem"), ("tls_key", "a.key")];
    assert!(!raw(&[tls, own[0], own[1]]).check().expect("good").listeners[0].is_mutual);
    let mutual = ("listen", "tls:0.0.0.0:5061 as sip.example.com:5061 mutual");
    assert!(refused(&[mutual, own[0], own[1]]).contains("tls_client_ca"));
    let settings =
        raw(&[mutual, own[0], own[1], ("tls_client_ca", "ca.pem")]).check().expect("good");
    let listener = &settings.listeners[0];
    assert_eq!((listener.is_mutual, &*listener.advertised), (true, "sip.example.com:5061"));
    assert!(refused(&[("listen", "tcp:127.0.0.1:5060 mutual")]).contains("only tls"));
}
