-- What an admin writes and Holdfast reads: carriers, gateways, customers, routes and rules.
--
-- A row that a constraint can judge is refused here, by a name that says what is wrong. What only the program can see (a regular
-- expression, a route without carriers) is reported in config_errors, and the last good tables stay in force.
--
-- Tables are strict: a column takes its type or nothing. Ids are never given twice (autoincrement), since records keep them after
-- their rows are gone.
--
-- The first failure rules are put in by the program, right after this migration and in the same transaction.

-- Whatever a call can be sent to: a PSTN trunk or the SIP door of an AI voice provider.
create table carriers (
  -- Its number in routes and records.
  carrier_id integer primary key autoincrement,
  -- Its name in logs, metrics and records; unique in any case of letters.
  name text not null,
  -- A disabled carrier gets neither calls nor probes.
  enabled integer not null default 1 constraint enabled_is_true_or_false check (enabled in (0, 1)),
  -- Region of its gateways that name none themselves, such as eu; null = none.
  region text,
  -- Time between two OPTIONS probes of one of its targets; 0 = no probes.
  probe_interval_ms integer not null default 5000,
  -- How long an INVITE may stay without any response before the next gateway is tried.
  no_response_ms integer not null default 1800,
  -- How long an attempt may stay at 100 before it is cancelled and the next carrier tried.
  no_ringing_ms integer not null default 6000,
  constraint name_has_1_to_100_characters check (trim(name) <> '' and length(cast(name as blob)) <= 100),
  constraint region_is_lower_case_letters_digits_and_dashes
    check (length(region) between 1 and 32 and region not glob '*[^a-z0-9-]*'),
  constraint probe_interval_ms_is_0_or_500_to_3600000
    check (probe_interval_ms = 0 or probe_interval_ms between 500 and 3600000),
  constraint no_response_ms_is_100_to_31000 check (no_response_ms between 100 and 31000),
  constraint no_ringing_ms_is_200_to_120000 check (no_ringing_ms between 200 and 120000),
  constraint no_ringing_ms_is_more_than_no_response_ms check (no_ringing_ms > no_response_ms)
) strict;
create unique index carrier_name_is_unique on carriers (lower(name));

-- One address, or one host name, of a carrier.
create table gateways (
  -- Its number in health and records.
  gateway_id integer primary key autoincrement,
  -- Whose gateway it is; it goes when the carrier goes.
  carrier_id integer not null references carriers on delete cascade,
  -- Its name in logs, metrics and records; unique in any case of letters.
  name text not null,
  -- An IP address (IPv6 without brackets) or a host name, which is resolved in the background.
  host text not null,
  -- Its port.
  port integer not null default 5060,
  -- How SIP reaches it: udp; tcp and tls are reserved.
  transport text not null default 'udp',
  -- on = calls and probes; draining = no new call, probes go on; off = neither.
  admin_state text not null default 'on',
  -- Where it stands, such as eu; null = where its carrier does.
  region text,
  -- Among the gateways of one carrier the lowest number is tried first.
  priority integer not null default 0,
  -- Share among gateways of one priority.
  weight integer not null default 1,
  constraint name_has_1_to_100_characters check (trim(name) <> '' and length(cast(name as blob)) <= 100),
  constraint host_has_1_to_253_characters_and_no_blank
    check (length(host) between 1 and 253 and host not glob '* *'),
  constraint port_is_1_to_65535 check (port between 1 and 65535),
  constraint transport_is_udp_tcp_or_tls check (transport in ('udp', 'tcp', 'tls')),
  constraint admin_state_is_on_draining_or_off check (admin_state in ('on', 'draining', 'off')),
  constraint region_is_lower_case_letters_digits_and_dashes
    check (length(region) between 1 and 32 and region not glob '*[^a-z0-9-]*'),
  constraint priority_is_0_to_65535 check (priority between 0 and 65535),
  constraint weight_is_1_to_1000000 check (weight between 1 and 1000000)
) strict;
create unique index gateway_name_is_unique on gateways (lower(name));
create index gateways_by_carrier on gateways (carrier_id);

-- Who may send calls.
create table customers (
  -- Its number in routes and records.
  customer_id integer primary key autoincrement,
  -- Its name in logs and records; unique in any case of letters.
  name text not null,
  -- Calls of a disabled customer are refused with 403.
  enabled integer not null default 1 constraint enabled_is_true_or_false check (enabled in (0, 1)),
  -- Calls of this customer stay on gateways of this region; null = anywhere.
  region text,
  constraint name_has_1_to_100_characters check (trim(name) <> '' and length(cast(name as blob)) <= 100),
  constraint region_is_lower_case_letters_digits_and_dashes
    check (length(region) between 1 and 32 and region not glob '*[^a-z0-9-]*')
) strict;
create unique index customer_name_is_unique on customers (lower(name));

-- The addresses a customer calls from; of several that fit, the narrowest range counts.
create table customer_addresses (
  -- One address or a range, such as 192.0.2.0/24.
  address_range text primary key
    constraint address_range_is_an_address_or_a_range_such_as_192_0_2_0_slash_24
    check (address_range glob '*[.:]*' and address_range not glob '*[^0-9a-fA-F.:/]*'),
  -- Whose address it is; it goes when the customer goes.
  customer_id integer not null references customers on delete cascade
) strict;
create index customer_addresses_by_customer on customer_addresses (customer_id);

-- Which carriers may take which calls: a customer's own routes come before general ones, then the longest prefix wins.
create table routes (
  -- Its number in route_carriers and records.
  route_id integer primary key autoincrement,
  -- A disabled route is looked at by no call.
  enabled integer not null default 1 constraint enabled_is_true_or_false check (enabled in (0, 1)),
  -- Whose calls it takes; null = any customer's.
  customer_id integer references customers on delete cascade,
  -- Leading digits of the called number in E.164, with or without +; empty = any number.
  called_prefix text not null default '',
  -- Only gateways of this region may take the call; null = the customer's region, if any.
  region text,
  -- How a carrier is chosen within a tier: healthiest, weighted, least_cost or priority.
  strategy text not null default 'healthiest',
  -- Whether an attempt that fails after the caller heard ringing may be followed by another: never, or carrier_fault_only.
  reroute_after_ringing text not null default 'never',
  -- Ask one other carrier before a 404, 410, 484 or 604 is believed.
  verify_unallocated integer not null default 0
    constraint verify_unallocated_is_true_or_false check (verify_unallocated in (0, 1)),
  -- Time from the INVITE to the first ringing, over all attempts.
  setup_budget_ms integer not null default 12000,
  -- Carriers tried at most for one call.
  max_carriers integer not null default 4,
  -- Attempts at most for one call.
  max_attempts integer not null default 8,
  -- How long a phone may ring before the call is cancelled and answered with 480.
  max_ringing_ms integer not null default 180000,
  constraint called_prefix_has_up_to_20_digits
    check (length(ltrim(called_prefix, '+')) <= 20 and called_prefix not glob '?*[^0-9]*'
      and called_prefix not glob '[^0-9+]*'),
  constraint region_is_lower_case_letters_digits_and_dashes
    check (length(region) between 1 and 32 and region not glob '*[^a-z0-9-]*'),
  constraint strategy_is_healthiest_weighted_least_cost_or_priority
    check (strategy in ('healthiest', 'weighted', 'least_cost', 'priority')),
  constraint reroute_after_ringing_is_never_or_carrier_fault_only
    check (reroute_after_ringing in ('never', 'carrier_fault_only')),
  constraint setup_budget_ms_is_500_to_180000 check (setup_budget_ms between 500 and 180000),
  constraint max_carriers_is_1_to_16 check (max_carriers between 1 and 16),
  constraint max_attempts_is_1_to_32 check (max_attempts between 1 and 32),
  constraint max_ringing_ms_is_1000_to_3600000 check (max_ringing_ms between 1000 and 3600000)
) strict;
create unique index enabled_route_is_unique_for_customer_and_prefix
  on routes (coalesce(customer_id, -1), ltrim(called_prefix, '+')) where enabled;

-- The carriers of a route; equal priorities form a tier.
create table route_carriers (
  -- The route.
  route_id integer not null references routes on delete cascade,
  -- The carrier, which needs a gateway.
  carrier_id integer not null references carriers on delete cascade,
  -- The tier of the lowest number is tried first.
  priority integer not null default 1,
  -- Share within the tier.
  weight integer not null default 1,
  -- Price per minute; every row in the same currency.
  cost real not null default 0,
  primary key (route_id, carrier_id),
  constraint priority_is_0_to_65535 check (priority between 0 and 65535),
  constraint weight_is_1_to_1000000 check (weight between 1 and 1000000),
  constraint cost_is_0_to_999999 check (cost between 0 and 999999)
) strict;
create index route_carriers_by_carrier on route_carriers (carrier_id);

-- From what was seen at an attempt's end to what it means and what follows; the most specific rule whose every condition holds
-- is taken.
create table failure_rules (
  -- Its number in records; of two alike rules the lower one is taken.
  failure_rule_id integer primary key autoincrement,
  -- A disabled rule never matches.
  enabled integer not null default 1 constraint enabled_is_true_or_false check (enabled in (0, 1)),
  -- Condition: this carrier's attempt; null = any.
  carrier_id integer references carriers on delete cascade,
  -- Condition: a response of this code, such as 486, or class, such as 5xx; null = any end.
  status text,
  -- Condition: the reason phrase matches this regular expression; null = any.
  reason_regex text,
  -- Condition: the response has this header; null = not looked at.
  header_name text,
  -- Condition: that header's value matches this regular expression; null = any value.
  header_regex text,
  -- Condition: the Reason header has this Q.850 cause; null = not looked at.
  q850_cause integer,
  -- Condition: remote = a response, timeout = our own timer, transport = port unreachable; null = any.
  origin text,
  -- Condition: how far it had come: nothing, trying, ringing or early_media; null = any.
  stage text,
  -- What it means: answered, destination, carrier_hard, carrier_soft, capacity, config, policy_block or caller.
  class text not null,
  -- What follows: next_gateway, next_carrier, next_carrier_once, verify_once or stop.
  action text not null,
  -- How much it counts against the gateway, 0 to 1; only for carrier_hard and carrier_soft.
  weight real not null default 1,
  constraint status_is_a_code_such_as_486_or_a_class_such_as_5xx
    check (status glob '[3-6][0-9][0-9]' or status glob '[3-6]xx'),
  constraint reason_regex_has_up_to_1000_octets check (length(cast(reason_regex as blob)) <= 1000),
  constraint header_regex_has_up_to_1000_octets check (length(cast(header_regex as blob)) <= 1000),
  constraint header_regex_needs_a_header_name check (header_regex is null or header_name is not null),
  constraint q850_cause_is_1_to_127 check (q850_cause between 1 and 127),
  constraint origin_is_remote_timeout_or_transport check (origin in ('remote', 'timeout', 'transport')),
  constraint stage_is_nothing_trying_ringing_or_early_media
    check (stage in ('nothing', 'trying', 'ringing', 'early_media')),
  constraint class_is_one_that_the_manual_lists
    check (class in (
      'answered', 'destination', 'carrier_hard', 'carrier_soft', 'capacity', 'config', 'policy_block', 'caller')),
  constraint action_is_one_that_the_manual_lists
    check (action in ('next_gateway', 'next_carrier', 'next_carrier_once', 'verify_once', 'stop')),
  constraint weight_is_0_to_1 check (weight between 0 and 1)
) strict;
create index failure_rules_by_carrier on failure_rules (carrier_id);

-- How numbers and identities are written towards a carrier; a carrier without a row gets the defaults.
create table number_rules (
  -- The carrier.
  carrier_id integer primary key references carriers on delete cascade,
  -- The called number: unchanged, e164 (+ and digits), digits, or national.
  called_format text not null default 'unchanged',
  -- Put before the called number once it is formatted (a tech prefix).
  called_prefix text not null default '',
  -- The calling number: unchanged, e164 (+ and digits), digits, or national.
  calling_format text not null default 'unchanged',
  -- Digits of the country whose numbers the format national shortens, such as 49.
  country_code text not null default '',
  -- Host, or host:port, of the request URI and of To; null = the gateway's host.
  request_uri_host text,
  -- Host, or host:port, of From; null = our advertised host.
  from_host text,
  -- Identity headers: pass = handed on, strip = taken away, assert = replaced by a P-Asserted-Identity with the calling number.
  identity text not null default 'strip',
  constraint called_format_is_unchanged_e164_digits_or_national
    check (called_format in ('unchanged', 'e164', 'digits', 'national')),
  constraint called_prefix_has_up_to_32_of_0_to_9_plus_star_hash
    check (length(called_prefix) <= 32 and called_prefix not glob '*[^0-9+*#]*'),
  constraint calling_format_is_unchanged_e164_digits_or_national
    check (calling_format in ('unchanged', 'e164', 'digits', 'national')),
  constraint country_code_has_up_to_3_digits check (length(country_code) <= 3 and country_code not glob '*[^0-9]*'),
  constraint national_format_needs_a_country_code
    check (country_code <> '' or (called_format <> 'national' and calling_format <> 'national')),
  constraint request_uri_host_has_no_blank check (request_uri_host <> '' and request_uri_host not glob '* *'),
  constraint from_host_has_no_blank check (from_host <> '' and from_host not glob '* *'),
  constraint identity_is_pass_strip_or_assert check (identity in ('pass', 'strip', 'assert'))
) strict;
