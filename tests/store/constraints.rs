//! A row that makes no sense is refused by a constraint whose name says what is wrong.

use holdfast::store::StoreKind;

use crate::database::Database;

on_both_stores!(refuses_by_name, takes_what_lies_on_the_edge, a_row_goes_with_what_it_belongs_to);

/// Rows that the refused ones refer to or collide with.
const SOUND: &str = "\
    insert into carrier_groups (carrier_group_id, name) values (1, 'voice');\
    insert into carriers (carrier_id, name) values (1, 'one'), (2, 'two');\
    insert into gateways (gateway_id, carrier_id, name, host) values (1, 1, 'gw', 'gw.example.net');\
    insert into customers (customer_id, name) values (1, 'acme');\
    insert into customer_addresses (address_range, customer_id) values ('192.0.2.1/32', 1);\
    insert into routes (route_id, customer_id, called_prefix) values (1, 1, '49'), (2, null, '');\
    insert into route_carriers (route_id, carrier_id) values (1, 1);\
    insert into route_carrier_hours (route_id, carrier_id) values (1, 1);\
    insert into failure_rules (failure_rule_id, class, action) values (1, 'config', 'stop');\
    insert into number_rules (carrier_id) values (1);\
    insert into number_examples (carrier_id, expected_request_uri) values (1, 'sip:a');\
    insert into carrier_credentials (carrier_id, username, realm, ha1_md5) \
    values (1, 'u', 'r', '0123456789abcdef0123456789abcdef');\
    insert into customer_credentials (username, customer_id, realm, ha1_md5) \
    values ('u', 1, 'r', '0123456789abcdef0123456789abcdef');\
    insert into registrations (gateway_id, aor) values (1, 'sip:a@b.example');";

/// Table, what is set in its sound row, and the constraint that refuses it.
const REFUSED: &[(&str, &str, &str)] = &[
    ("carriers", "name = ' '", "name_has_1_to_100_characters"),
    ("carriers", "region = 'EU'", "region_is_lower_case_letters_digits_and_dashes"),
    ("carriers", "region = ''", "region_is_lower_case_letters_digits_and_dashes"),
    ("carriers", "probe_interval_ms = 499", "probe_interval_ms_is_0_or_500_to_3600000"),
    ("carriers", "probe_interval_ms = 3600001", "probe_interval_ms_is_0_or_500_to_3600000"),
    ("carriers", "no_response_ms = 99", "no_response_ms_is_100_to_31000"),
    ("carriers", "no_response_ms = 31001, no_ringing_ms = 40000", "no_response_ms_is_100_to_31000"),
    ("carriers", "no_response_ms = 150, no_ringing_ms = 199", "no_ringing_ms_is_200_to_120000"),
    ("carriers", "no_ringing_ms = 120001", "no_ringing_ms_is_200_to_120000"),
    ("carriers", "no_ringing_ms = no_response_ms", "no_ringing_ms_is_more_than_no_response_ms"),
    ("carriers", "max_cps = 0", "max_cps_is_more_than_0_and_up_to_1000000"),
    ("carriers", "max_cps = 1000001", "max_cps_is_more_than_0_and_up_to_1000000"),
    ("carriers", "max_channels = 0", "max_channels_is_1_to_1000000"),
    ("carriers", "max_channels = 1000001", "max_channels_is_1_to_1000000"),
    ("gateways", "max_cps = 0", "max_cps_is_more_than_0_and_up_to_1000000"),
    ("gateways", "max_cps = 1000001", "max_cps_is_more_than_0_and_up_to_1000000"),
    ("gateways", "max_channels = 0", "max_channels_is_1_to_1000000"),
    ("gateways", "max_channels = 1000001", "max_channels_is_1_to_1000000"),
    ("carrier_groups", "name = ''", "name_has_1_to_100_characters"),
    ("carrier_groups", "errors_in_row = 0", "errors_in_row_is_1_to_100"),
    ("carrier_groups", "within_s = 3601", "within_s_is_1_to_3600"),
    ("carrier_groups", "hold_s = 301", "hold_s_is_1_to_300"),
    ("gateways", "media = 'zrtp'", "media_is_rtp_srtp_or_both"),
    ("gateways", "codecs = 'PCMU,,PCMA'", "codecs_are_names_between_commas"),
    ("gateways", "codecs = ''", "codecs_are_names_between_commas"),
    ("gateways", "codecs = 'PCMU;PCMA'", "codecs_are_names_between_commas"),
    ("routes", "needs_srtp = 'maybe'", "needs_srtp_is_no_or_yes"),
    ("route_carrier_hours", "days = 'Mon'", "days_are_weekdays_such_as_mon_fri_or_sat"),
    ("route_carrier_hours", "days = ''", "days_are_weekdays_such_as_mon_fri_or_sat"),
    ("route_carrier_hours", "until_time = from_time", "until_time_is_not_from_time"),
    ("route_carrier_hours", "time_zone = ''", "time_zone_has_1_to_64_characters_and_no_blank"),
    ("gateways", "name = ''", "name_has_1_to_100_characters"),
    ("gateways", "host = ''", "host_has_1_to_253_characters_and_no_blank"),
    ("gateways", "host = 'a b'", "host_has_1_to_253_characters_and_no_blank"),
    ("gateways", "port = 0", "port_is_1_to_65535"),
    ("gateways", "port = 65536", "port_is_1_to_65535"),
    ("gateways", "transport = 'sctp'", "transport_is_udp_tcp_or_tls"),
    ("gateways", "admin_state = 'maybe'", "admin_state_is_on_draining_or_off"),
    ("gateways", "region = 'e u'", "region_is_lower_case_letters_digits_and_dashes"),
    ("gateways", "priority = -1", "priority_is_0_to_65535"),
    ("gateways", "priority = 65536", "priority_is_0_to_65535"),
    ("gateways", "weight = 0", "weight_is_1_to_1000000"),
    ("gateways", "weight = 1000001", "weight_is_1_to_1000000"),
    ("customers", "name = ''", "name_has_1_to_100_characters"),
    ("customers", "region = 'ü'", "region_is_lower_case_letters_digits_and_dashes"),
    ("routes", "called_prefix = '49x'", "called_prefix_has_up_to_20_digits"),
    ("customers", "refer = 'bounce'", "refer_is_refuse_relay_or_local"),
    ("customers", "routed_by = 'lrn'", "routed_by_is_called_or_routing_number"),
    ("routes", "called_prefix = '4+9'", "called_prefix_has_up_to_20_digits"),
    ("routes", "called_prefix = '++49'", "called_prefix_has_up_to_20_digits"),
    ("routes", "called_prefix = '123456789012345678901'", "called_prefix_has_up_to_20_digits"),
    ("routes", "region = 'EU'", "region_is_lower_case_letters_digits_and_dashes"),
    ("routes", "strategy = 'best'", "strategy_is_healthiest_weighted_least_cost_or_priority"),
    (
        "routes",
        "reroute_after_ringing = 'always'",
        "reroute_after_ringing_is_never_or_carrier_fault_only",
    ),
    ("routes", "setup_budget_ms = 499", "setup_budget_ms_is_500_to_180000"),
    ("routes", "setup_budget_ms = 180001", "setup_budget_ms_is_500_to_180000"),
    ("routes", "max_carriers = 0", "max_carriers_is_1_to_16"),
    ("routes", "max_carriers = 17", "max_carriers_is_1_to_16"),
    ("routes", "max_attempts = 0", "max_attempts_is_1_to_32"),
    ("routes", "max_attempts = 33", "max_attempts_is_1_to_32"),
    ("routes", "max_ringing_ms = 999", "max_ringing_ms_is_1000_to_3600000"),
    ("routes", "max_ringing_ms = 3600001", "max_ringing_ms_is_1000_to_3600000"),
    ("route_carriers", "priority = -1", "priority_is_0_to_65535"),
    ("route_carriers", "weight = 0", "weight_is_1_to_1000000"),
    ("route_carriers", "cost = -0.000001", "cost_is_0_to_999999"),
    ("route_carriers", "cost = 999999.5", "cost_is_0_to_999999"),
    ("failure_rules", "status = '5x'", "status_is_a_code_such_as_486_or_a_class_such_as_5xx"),
    ("failure_rules", "status = '200'", "status_is_a_code_such_as_486_or_a_class_such_as_5xx"),
    ("failure_rules", "header_regex = 'a'", "header_regex_needs_a_header_name"),
    ("failure_rules", "q850_cause = 0", "q850_cause_is_1_to_127"),
    ("failure_rules", "q850_cause = 128", "q850_cause_is_1_to_127"),
    ("failure_rules", "origin = 'local'", "origin_is_remote_timeout_or_transport"),
    ("failure_rules", "stage = 'late'", "stage_is_nothing_trying_ringing_or_early_media"),
    ("failure_rules", "class = 'bad'", "class_is_one_that_the_manual_lists"),
    ("failure_rules", "action = 'retry'", "action_is_one_that_the_manual_lists"),
    ("failure_rules", "weight = 1.01", "weight_is_0_to_1"),
    ("failure_rules", "weight = -0.01", "weight_is_0_to_1"),
    ("customers", "auth = 'maybe'", "auth_is_address_digest_either_or_both"),
    ("carrier_credentials", "username = ''", "username_has_1_to_255_characters"),
    ("carrier_credentials", "realm = ''", "realm_has_1_to_255_characters"),
    ("carrier_credentials", "ha1_md5 = 'abc'", "ha1_md5_has_32_hex_digits"),
    ("carrier_credentials", "ha1_sha256 = ha1_md5", "ha1_sha256_has_64_hex_digits"),
    ("carrier_credentials", "ha1_sha512_256 = ha1_md5", "ha1_sha512_256_has_64_hex_digits"),
    ("carrier_credentials", "password = 'p'", "either_a_password_or_hashes"),
    ("carrier_credentials", "ha1_md5 = null", "either_a_password_or_hashes"),
    ("carrier_credentials", "realm = null", "hashes_need_their_realm"),
    ("customer_credentials", "username = ''", "username_has_1_to_255_characters"),
    ("customer_credentials", "realm = ''", "realm_has_1_to_255_characters"),
    (
        "customer_credentials",
        "ha1_md5 = 'zz23456789abcdef0123456789abcdef'",
        "ha1_md5_has_32_hex_digits",
    ),
    ("customer_credentials", "ha1_sha256 = ha1_md5", "ha1_sha256_has_64_hex_digits"),
    ("customer_credentials", "ha1_md5 = null", "there_is_a_hash"),
    ("registrations", "aor = 'b.example'", "aor_is_such_as_sip_user_at_host"),
    ("registrations", "aor = 'sip:b.example'", "aor_is_such_as_sip_user_at_host"),
    ("registrations", "aor = 'sip:a@b@c'", "aor_is_such_as_sip_user_at_host"),
    ("registrations", "contact_user = ''", "contact_user_has_letters_digits_and_marks"),
    ("registrations", "contact_user = 'a@b'", "contact_user_has_letters_digits_and_marks"),
    ("registrations", "expires_s = 59", "expires_s_is_60_to_86400"),
    ("registrations", "expires_s = 86401", "expires_s_is_60_to_86400"),
    ("number_rules", "called_format = 'x'", "called_format_is_unchanged_e164_digits_or_national"),
    (
        "number_rules",
        "called_prefix = '77a'",
        "called_prefix_has_up_to_32_of_0_to_9_plus_star_hash",
    ),
    ("number_rules", "calling_format = 'x'", "calling_format_is_unchanged_e164_digits_or_national"),
    ("number_rules", "country_code = '1234'", "country_code_has_up_to_3_digits"),
    ("number_rules", "country_code = '+49'", "country_code_has_up_to_3_digits"),
    ("number_rules", "calling_format = 'national'", "national_format_needs_a_country_code"),
    ("number_rules", "request_uri_host = 'a b'", "request_uri_host_has_no_blank"),
    ("number_rules", "from_host = ''", "from_host_has_no_blank"),
    ("number_rules", "identity = 'hide'", "identity_is_pass_strip_or_assert"),
    ("number_rules", "called_regex = 'a'", "called_regex_and_replacement_come_together"),
    ("number_rules", "calling_replacement = 'a'", "calling_regex_and_replacement_come_together"),
    ("number_rules", "user_phone = 'yes'", "user_phone_is_as_received_on_or_off"),
    ("number_rules", "portability = 'yes'", "portability_is_pass_or_strip"),
    ("number_rules", "diversion = 'yes'", "diversion_is_pass_or_strip"),
    ("number_rules", "history_info = 'yes'", "history_info_is_pass_or_strip"),
    ("number_rules", "x_headers = 'Subject'", "x_headers_are_names_between_commas"),
    ("number_rules", "x_headers = 'X-A;X-B'", "x_headers_are_names_between_commas"),
    ("number_examples", "expected_request_uri = null", "something_is_expected"),
    ("gateways", "dns = 'naptr'", "dns_is_address_or_srv"),
];

async fn refuses_by_name(database: Database) {
    database.execute(SOUND).await;
    for (table, set, constraint) in REFUSED {
        let error = refusal(&database, &format!("update {table} set {set}")).await;
        assert!(error.contains(constraint), "{table}: {set}: {error}");
    }
    let long = "x".repeat(101);
    let pattern = "y".repeat(1_001);
    let statements = [
        (
            format!("update number_rules set called_regex = '{pattern}', called_replacement = ''"),
            "called_regex_has_up_to_1000_octets",
        ),
        (
            format!("update number_rules set calling_replacement = '{long}', calling_regex = ''"),
            "calling_replacement_has_up_to_100_octets",
        ),
        (format!("update carriers set name = '{long}'"), "name_has_1_to_100_characters"),
        (
            format!("update failure_rules set reason_regex = '{pattern}'"),
            "reason_regex_has_up_to_1000_octets",
        ),
        (
            format!("update failure_rules set header_name = 'x', header_regex = '{pattern}'"),
            "header_regex_has_up_to_1000_octets",
        ),
        (
            "insert into carriers (carrier_id, name) values (8, 'ONE')".to_owned(),
            "carrier_name_is_unique",
        ),
        (
            "insert into carrier_groups (carrier_group_id, name) values (8, 'VOICE')".to_owned(),
            "carrier_group_name_is_unique",
        ),
        (
            "insert into gateways (gateway_id, carrier_id, name, host) values (8, 1, 'GW', 'h')"
                .to_owned(),
            "gateway_name_is_unique",
        ),
        (
            "insert into customers (customer_id, name) values (8, 'Acme')".to_owned(),
            "customer_name_is_unique",
        ),
        (
            "insert into routes (route_id, customer_id, called_prefix) values (8, 1, '+49')"
                .to_owned(),
            "enabled_route_is_unique_for_customer_and_prefix",
        ),
        (
            "insert into routes (route_id) values (8)".to_owned(),
            "enabled_route_is_unique_for_customer_and_prefix",
        ),
    ];
    for (statement, constraint) in &statements {
        let error = refusal(&database, statement).await;
        assert!(error.contains(constraint), "{statement}: {error}");
    }
    let unnamed = [
        "insert into gateways (gateway_id, carrier_id, name, host) values (8, 9, 'x', 'h')",
        "insert into customer_addresses (address_range, customer_id) values ('192.0.2.9/32', 9)",
        "insert into customer_addresses (address_range, customer_id) values ('everywhere', 1)",
        "insert into customer_addresses (address_range, customer_id) values ('192.0.2.1/32', 1)",
        "insert into routes (route_id, customer_id) values (8, 9)",
        "insert into route_carriers (route_id, carrier_id) values (9, 1)",
        "insert into route_carriers (route_id, carrier_id) values (1, 9)",
        "insert into failure_rules (failure_rule_id, carrier_id, class, action) values (900, 9, 'config', 'stop')",
        "insert into number_rules (carrier_id) values (9)",
        "insert into number_examples (carrier_id, expected_from) values (9, 'sip:a')",
        "insert into carrier_credentials (carrier_id, username, password) values (9, 'u', 'p')",
        "insert into customer_credentials (username, customer_id, realm, ha1_md5) \
         values ('u', 1, 'r', '0123456789abcdef0123456789abcdef')",
        "insert into registrations (gateway_id, aor) values (9, 'sip:a@b')",
        "update carriers set carrier_group_id = 9",
        "insert into route_carrier_hours (route_id, carrier_id) values (2, 1)",
        "update route_carrier_hours set from_time = 'x'",
        "update gateways set port = 'x'",
        "update carriers set enabled = null",
    ];
    for statement in unnamed {
        refusal(&database, statement).await;
    }
    if database.store.kind() == StoreKind::Postgres {
        refusal(&database, "update route_carriers set cost = 'NaN'").await;
        refusal(&database, "update failure_rules set weight = 'NaN'").await;
        refusal(&database, "update carriers set max_cps = 'NaN'").await;
    }
}

async fn takes_what_lies_on_the_edge(database: Database) {
    database.execute(SOUND).await;
    for statement in [
        "update carriers set probe_interval_ms = 0, no_response_ms = 100, no_ringing_ms = 200",
        "update carriers set no_response_ms = 31000, no_ringing_ms = 120000, region = 'eu-1'",
        "update gateways set host = '2001:db8::1', port = 65535, priority = 65535, weight = 1000000",
        "update carriers set max_cps = 0.001, max_channels = 1",
        "update carrier_credentials set realm = null, ha1_md5 = null, password = ''",
        "update registrations set contact_user = '+49.a_b-c!~*()&=$', expires_s = 86400",
        "update gateways set max_cps = 1000000, max_channels = 1000000",
        "update routes set called_prefix = '+12345678901234567890' where route_id = 1",
        "update routes set max_carriers = 16, max_attempts = 32, max_ringing_ms = 3600000",
        "insert into routes (route_id, customer_id, called_prefix, enabled) values (8, 1, '+12345678901234567890', false)",
        "update route_carriers set cost = 999999, priority = 0",
        "update carrier_groups set errors_in_row = 100, within_s = 3600, hold_s = 300",
        "update gateways set codecs = 'PCMU, telephone-event,G722.1'",
        "update route_carrier_hours set days = 'mon-wed,fri,sat-sun', from_time = '22:00', until_time = '24:00'",
        "update failure_rules set status = '3xx', q850_cause = 127, weight = 0",
        "update number_rules set called_prefix = '0123456789*#+', called_format = 'national', country_code = '49'",
        "insert into customer_addresses (address_range, customer_id) values ('2001:db8::/32', 1)",
    ] {
        database.execute(statement).await;
    }
}

async fn a_row_goes_with_what_it_belongs_to(database: Database) {
    database.execute(SOUND).await;
    database.execute("update failure_rules set carrier_id = 1").await;

    database.execute("delete from carriers where carrier_id = 1").await;
    let tables = [
        "gateways",
        "route_carriers",
        "route_carrier_hours",
        "failure_rules",
        "number_rules",
        "carrier_credentials",
        "registrations",
    ];
    for table in tables {
        assert_eq!(database.count(table).await, 0, "{table}");
    }
    database.execute("update carriers set carrier_group_id = 1").await;
    database.execute("delete from carrier_groups").await;
    assert_eq!(database.count("carriers where carrier_group_id is null").await, 1);
    database.execute("delete from customers").await;
    assert_eq!(database.count("customer_addresses").await, 0);
    assert_eq!(database.count("customer_credentials").await, 0);
    assert_eq!(database.count("routes").await, 1);
}

async fn refusal(database: &Database, statement: &str) -> String {
    match database.try_execute(statement).await {
        Ok(()) => panic!("should be refused: {statement}"),
        Err(error) => error.to_string(),
    }
}
