//! From rows to [`Tables`]: everything that makes no sense is named, all at once.

mod credentials;
mod numbers;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use jiff::tz::TimeZoneDatabase;
use regex::bytes::{Regex, RegexBuilder};

use super::class::{Action, Class, Origin, Stage};
use super::customer::{ReferPolicy, RoutedBy};
use super::failure_rule::{FailureRule, FailureRules, StatusMatch};
use super::gateway::{AdminState, Limits, Transport};
use super::route::{RerouteAfterRinging, Strategy};
use super::rows::{
    CarrierGroupRow, CarrierRow, CustomerRow, FailureRuleRow, GatewayRow, RouteCarrierHoursRow,
    RouteCarrierRow, RouteRow,
};
use super::{
    Carrier, CarrierId, Customer, CustomerAuth, CustomerId, Dns, ErrorsInRow, FailureRuleId,
    Gateway, GatewayId, Hours, Media, NumberRule, Refusal, Roster, Route, RouteCarrier, RouteId,
    Rows, Tables, shadow,
};

/// Longest pattern of a failure rule.
const MAX_PATTERN_OCTETS: usize = 1_000;
/// Memory that one compiled pattern may take.
const MAX_PATTERN_MEMORY_OCTETS: usize = 256 * 1024;
/// INVITEs a second; more is no limit.
const MAX_CPS: f64 = 1_000_000.0;
/// Octets of a gateway's list of codecs.
const MAX_CODECS_OCTETS: usize = 200;
/// Digits of a called prefix.
const MAX_PREFIX_DIGITS: usize = 20;

/// Checks everything and builds the snapshot, or says all that is wrong.
pub(super) fn check(rows: Rows, version: u64) -> Result<Tables, Vec<Refusal>> {
    let mut check = Check::default();
    let number_rules = check.number_rules(&rows);
    let groups = check.carrier_groups(&rows.carrier_groups);
    let carriers = check.carriers(&rows.carriers, &groups, &number_rules);
    let regions: HashMap<i64, Option<String>> =
        rows.carriers.iter().map(|row| (row.carrier_id, row.region.clone())).collect();
    let gateways = check.gateways(&rows.gateways, &carriers, &regions);
    let customers = check.customers(&rows.customers);
    let addresses = check.addresses(&rows, &customers);
    let mut gateways_by_carrier: HashMap<CarrierId, Vec<Arc<Gateway>>> = HashMap::new();
    for gateway in gateways.values() {
        gateways_by_carrier.entry(gateway.carrier.id).or_default().push(gateway.clone());
    }
    let roster = |(id, carrier): (&CarrierId, &Arc<Carrier>)| {
        let gateways = gateways_by_carrier.remove(id).unwrap_or_default();
        (*id, Roster::new(carrier.clone(), gateways))
    };
    let rosters: HashMap<CarrierId, Roster> = carriers.iter().map(roster).collect();
    check.number_examples(&rows.number_examples, &rosters);
    let carrier_rows = check.route_carriers(&rows, &rosters);
    let mut hours = check.hours(&rows.route_carrier_hours, &carrier_rows);
    let routes = check.routes(&rows.routes, &customers, &carrier_rows, &mut hours);
    let failure_rules = check.failure_rules(&rows.failure_rules, &carriers);
    let carrier_credentials = check.carrier_credentials(&rows.carrier_credentials, &carriers);
    let users = check.users(&rows.customer_credentials, &customers);
    let registrations = check.registrations(&rows.registrations, &gateways);
    if !check.refusals.is_empty() {
        return Err(check.refusals);
    }
    let longest_prefix = routes.keys().map(|(_, prefix)| prefix.len()).max().unwrap_or_default();
    let mut warnings = shadow::warnings(&failure_rules.rules);
    let addressed = addresses.iter().map(|(_, id)| *id).collect();
    warnings.extend(credentials::warnings(&carrier_credentials, &customers, &users, &addressed));
    Ok(Tables {
        version,
        warnings,
        failure_rules,
        gateways,
        rosters,
        customers,
        addresses,
        routes,
        longest_prefix,
        carrier_credentials,
        users,
        registrations,
    })
}

/// What has been refused so far.
#[derive(Default)]
struct Check {
    refusals: Vec<Refusal>,
}

/// The row that is being looked at.
struct Row<'a> {
    check: &'a mut Check,
    table: &'static str,
    key: String,
}

impl Check {
    fn row(&mut self, table: &'static str, key: impl ToString) -> Row<'_> {
        Row { check: self, table, key: key.to_string() }
    }

    fn carrier_groups(&mut self, rows: &[CarrierGroupRow]) -> HashMap<i64, ErrorsInRow> {
        let mut names = HashSet::new();
        let mut groups = HashMap::new();
        for row in rows {
            let mut check = self.row("carrier_groups", row.carrier_group_id);
            check.name(&row.name, &mut names);
            let within_s = check.within("within_s", row.within_s, 1, 3_600);
            let hold_s = check.within("hold_s", row.hold_s, 1, 300);
            let rule = ErrorsInRow {
                count: check.within("errors_in_row", row.errors_in_row, 1, 100),
                within: Duration::from_secs(within_s.into()),
                hold: Duration::from_secs(hold_s.into()),
            };
            groups.insert(row.carrier_group_id, rule);
        }
        groups
    }

    fn carriers(
        &mut self,
        rows: &[CarrierRow],
        groups: &HashMap<i64, ErrorsInRow>,
        number_rules: &HashMap<i64, NumberRule>,
    ) -> HashMap<CarrierId, Arc<Carrier>> {
        let mut names = HashSet::new();
        let mut carriers = HashMap::new();
        for row in rows {
            let mut check = self.row("carriers", row.carrier_id);
            check.name(&row.name, &mut names);
            check.region(row.region.as_deref());
            let probe_interval_ms = row.probe_interval_ms;
            if probe_interval_ms != 0 && !(500..=3_600_000).contains(&probe_interval_ms) {
                check.refuse(
                    "probe_interval_ms",
                    format!("{probe_interval_ms} must be 0 (no probes) or 500 to 3600000"),
                );
            }
            let no_response_ms = check.within("no_response_ms", row.no_response_ms, 100, 31_000);
            let no_ringing_ms = check.within("no_ringing_ms", row.no_ringing_ms, 200, 120_000);
            if no_ringing_ms <= no_response_ms {
                check.refuse(
                    "no_ringing_ms",
                    format!("{no_ringing_ms} must be more than no_response_ms ({no_response_ms})"),
                );
            }
            let limits = check.limits(row.max_cps, row.max_channels);
            if let Some(group) = row.carrier_group_id.filter(|id| !groups.contains_key(id)) {
                check.refuse("carrier_group_id", format!("there is no carrier group {group}"));
            }
            let id = CarrierId(row.carrier_id);
            let carrier = Carrier {
                id,
                name: row.name.as_str().into(),
                is_enabled: row.enabled,
                errors_in_row: row.carrier_group_id.and_then(|id| groups.get(&id)).copied(),
                probe_interval: (probe_interval_ms > 0)
                    .then(|| Duration::from_millis(probe_interval_ms.unsigned_abs().into())),
                no_response: Duration::from_millis(no_response_ms.into()),
                no_ringing: Duration::from_millis(no_ringing_ms.into()),
                limits,
                number_rule: number_rules.get(&row.carrier_id).cloned().unwrap_or_default(),
                tls_wildcard: row.tls_wildcard,
            };
            carriers.insert(id, Arc::new(carrier));
        }
        carriers
    }

    fn gateways(
        &mut self,
        rows: &[GatewayRow],
        carriers: &HashMap<CarrierId, Arc<Carrier>>,
        regions: &HashMap<i64, Option<String>>,
    ) -> HashMap<GatewayId, Arc<Gateway>> {
        let mut names = HashSet::new();
        let mut gateways = HashMap::new();
        for row in rows {
            let mut check = self.row("gateways", row.gateway_id);
            check.name(&row.name, &mut names);
            check.region(row.region.as_deref());
            if !carriers.contains_key(&CarrierId(row.carrier_id)) {
                check.refuse("carrier_id", format!("there is no carrier {}", row.carrier_id));
            }
            check.host("host", &row.host);
            let port = check.within("port", row.port, 1, 65_535);
            let transport =
                check.one_of("transport", &row.transport, Transport::from_text, Transport::ALL);
            match transport {
                Some(Transport::Tcp | Transport::Tls) if row.large_by_tcp => {
                    let reason =
                        format!("by '{}' nothing is too large; only for 'udp'", row.transport);
                    check.refuse("large_by_tcp", reason);
                }
                Some(Transport::Udp | Transport::Tcp | Transport::Tls) | None => {}
            }
            let dns = check.one_of("dns", &row.dns, Dns::from_text, Dns::ALL);
            if dns == Some(Dns::Srv) && row.host.parse::<IpAddr>().is_ok() {
                let reason = format!("an address such as {} has no SRV records", row.host);
                check.refuse("dns", reason);
            }
            let admin_state = check.one_of(
                "admin_state",
                &row.admin_state,
                AdminState::from_text,
                AdminState::ALL,
            );
            let media = check.one_of("media", &row.media, Media::from_text, Media::ALL);
            let codecs = row.codecs.as_deref().map(|text| check.codecs(text));
            let priority = check.within("priority", row.priority, 0, 65_535);
            let weight = check.within("weight", row.weight, 1, 1_000_000);
            let limits = check.limits(row.max_cps, row.max_channels);
            let inherited = regions.get(&row.carrier_id).cloned().flatten();
            let id = GatewayId(row.gateway_id);
            let Some(carrier) = carriers.get(&CarrierId(row.carrier_id)) else { continue };
            let gateway = Gateway {
                id,
                carrier: carrier.clone(),
                name: row.name.as_str().into(),
                host: row.host.as_str().into(),
                port: u16::try_from(port).unwrap_or_default(),
                transport: transport.unwrap_or(Transport::Udp),
                dns: dns.unwrap_or(Dns::Address),
                large_by_tcp: row.large_by_tcp,
                media: media.unwrap_or(Media::Rtp),
                codecs,
                admin_state: admin_state.unwrap_or(AdminState::Off),
                region: row.region.clone().or(inherited).map(|region| region.as_str().into()),
                priority: u16::try_from(priority).unwrap_or_default(),
                weight,
                limits,
            };
            gateways.insert(id, Arc::new(gateway));
        }
        gateways
    }

    fn customers(&mut self, rows: &[CustomerRow]) -> HashMap<CustomerId, Arc<Customer>> {
        let mut names = HashSet::new();
        let mut customers = HashMap::new();
        for row in rows {
            let mut check = self.row("customers", row.customer_id);
            check.name(&row.name, &mut names);
            check.region(row.region.as_deref());
            let refer = check.one_of("refer", &row.refer, ReferPolicy::from_text, ReferPolicy::ALL);
            let auth = check.one_of("auth", &row.auth, CustomerAuth::from_text, CustomerAuth::ALL);
            let routed_by =
                check.one_of("routed_by", &row.routed_by, RoutedBy::from_text, RoutedBy::ALL);
            let id = CustomerId(row.customer_id);
            let customer = Customer {
                id,
                name: row.name.as_str().into(),
                is_enabled: row.enabled,
                region: row.region.as_deref().map(Into::into),
                refer: refer.unwrap_or_default(),
                auth: auth.unwrap_or(CustomerAuth::Both),
                routed_by: routed_by.unwrap_or_default(),
            };
            customers.insert(id, Arc::new(customer));
        }
        customers
    }

    fn addresses(
        &mut self,
        rows: &Rows,
        customers: &HashMap<CustomerId, Arc<Customer>>,
    ) -> Vec<(ipnet::IpNet, CustomerId)> {
        let mut seen = HashMap::new();
        let mut addresses = Vec::new();
        for row in &rows.customer_addresses {
            let range = row.address_range.trunc();
            let mut check = self.row("customer_addresses", row.address_range);
            let id = CustomerId(row.customer_id);
            if !customers.contains_key(&id) {
                check.refuse("customer_id", format!("there is no customer {}", row.customer_id));
            }
            if let Some(other) = seen.insert(range, row.customer_id)
                && other != row.customer_id
            {
                let reason = format!("{range} belongs to customer {other} already");
                check.refuse("address_range", reason);
            }
            addresses.push((range, id));
        }
        addresses.sort_by_key(|(range, _)| std::cmp::Reverse(range.prefix_len()));
        addresses
    }

    fn route_carriers(
        &mut self,
        rows: &Rows,
        rosters: &HashMap<CarrierId, Roster>,
    ) -> BTreeMap<i64, Vec<RouteCarrier>> {
        let routes: HashSet<i64> = rows.routes.iter().map(|row| row.route_id).collect();
        let mut by_route: BTreeMap<i64, Vec<RouteCarrier>> = BTreeMap::new();
        for row in &rows.route_carriers {
            let RouteCarrierRow { route_id, carrier_id, .. } = *row;
            let mut check = self.row("route_carriers", format!("{route_id}/{carrier_id}"));
            let id = CarrierId(carrier_id);
            if !routes.contains(&route_id) {
                check.refuse("route_id", format!("there is no route {route_id}"));
            }
            match rosters.get(&id) {
                None => check.refuse("carrier_id", format!("there is no carrier {carrier_id}")),
                Some(roster) if roster.gateways.is_empty() => check.refuse(
                    "carrier_id",
                    format!("carrier {carrier_id} has no gateway; add one to gateways"),
                ),
                Some(_) => {}
            }
            let priority = check.within("priority", row.priority, 0, 65_535);
            let weight = check.within("weight", row.weight, 1, 1_000_000);
            let cost_micros = u64::try_from(row.cost_micros).unwrap_or_else(|_| {
                check.refuse("cost", "a cost must not be negative".to_owned());
                0
            });
            by_route.entry(route_id).or_default().push(RouteCarrier {
                carrier_id: id,
                priority: u16::try_from(priority).unwrap_or_default(),
                weight,
                cost_micros,
            });
        }
        by_route
    }

    fn hours(
        &mut self,
        rows: &[RouteCarrierHoursRow],
        carriers: &BTreeMap<i64, Vec<RouteCarrier>>,
    ) -> HashMap<i64, Vec<(CarrierId, Hours)>> {
        let zones = TimeZoneDatabase::bundled();
        let mut by_route: HashMap<i64, Vec<(CarrierId, Hours)>> = HashMap::new();
        for row in rows {
            let RouteCarrierHoursRow { route_id, carrier_id, days, from_time, .. } = row;
            let key = format!("{route_id}/{carrier_id}/{days}/{from_time}");
            let mut check = self.row("route_carrier_hours", key);
            let id = CarrierId(*carrier_id);
            let is_placed =
                |places: &Vec<RouteCarrier>| places.iter().any(|it| it.carrier_id == id);
            if !carriers.get(route_id).is_some_and(is_placed) {
                check.refuse("carrier_id", format!("route {route_id} has no carrier {carrier_id}"));
            }
            match Hours::parse(days, from_time, &row.until_time, &row.time_zone, &zones) {
                Ok(hours) => by_route.entry(*route_id).or_default().push((id, hours)),
                Err((column, reason)) => check.refuse(column, reason),
            }
        }
        by_route
    }

    fn routes(
        &mut self,
        rows: &[RouteRow],
        customers: &HashMap<CustomerId, Arc<Customer>>,
        carriers: &BTreeMap<i64, Vec<RouteCarrier>>,
        hours: &mut HashMap<i64, Vec<(CarrierId, Hours)>>,
    ) -> HashMap<(Option<CustomerId>, Box<str>), Arc<Route>> {
        let mut routes: HashMap<(Option<CustomerId>, Box<str>), Arc<Route>> = HashMap::new();
        for row in rows {
            let mut check = self.row("routes", row.route_id);
            let carriers = carriers.get(&row.route_id).cloned().unwrap_or_default();
            let mut route = route(&mut check, row, customers, carriers);
            route.hours = hours.remove(&row.route_id).unwrap_or_default();
            if !row.enabled {
                continue;
            }
            let key = (route.customer_id, Box::from(&*route.called_prefix));
            if let Some(other) = routes.get(&key) {
                let reason = format!(
                    "route {} has the same customer and prefix; disable one of them",
                    other.id
                );
                check.refuse("called_prefix", reason);
            }
            routes.insert(key, Arc::new(route));
        }
        routes
    }

    fn failure_rules(
        &mut self,
        rows: &[FailureRuleRow],
        carriers: &HashMap<CarrierId, Arc<Carrier>>,
    ) -> FailureRules {
        let mut rules = Vec::new();
        for row in rows {
            let mut check = self.row("failure_rules", row.failure_rule_id);
            if let Some(id) = row.carrier_id
                && !carriers.contains_key(&CarrierId(id))
            {
                check.refuse("carrier_id", format!("there is no carrier {id}"));
            }
            if let Some(rule) = failure_rule(&mut check, row)
                && row.enabled
            {
                rules.push(rule);
            }
        }
        FailureRules::new(rules)
    }
}

fn route(
    check: &mut Row<'_>,
    row: &RouteRow,
    customers: &HashMap<CustomerId, Arc<Customer>>,
    mut carriers: Vec<RouteCarrier>,
) -> Route {
    if let Some(id) = row.customer_id
        && !customers.contains_key(&CustomerId(id))
    {
        check.refuse("customer_id", format!("there is no customer {id}"));
    }
    let prefix = row.called_prefix.strip_prefix('+').unwrap_or(&row.called_prefix);
    if prefix.len() > MAX_PREFIX_DIGITS || !prefix.bytes().all(|octet| octet.is_ascii_digit()) {
        let reason = format!(
            "'{}' must be up to {MAX_PREFIX_DIGITS} digits, or empty for any number",
            row.called_prefix
        );
        check.refuse("called_prefix", reason);
    }
    check.region(row.region.as_deref());
    let needs_srtp = match row.needs_srtp.as_str() {
        "no" => false,
        "yes" => true,
        other => {
            check.refuse("needs_srtp", format!("'{other}' must be no or yes"));
            false
        }
    };
    let strategy = check.one_of("strategy", &row.strategy, Strategy::from_text, Strategy::ALL);
    let reroute = check.one_of(
        "reroute_after_ringing",
        &row.reroute_after_ringing,
        RerouteAfterRinging::from_text,
        RerouteAfterRinging::ALL,
    );
    let setup_budget_ms = check.within("setup_budget_ms", row.setup_budget_ms, 500, 180_000);
    let max_ringing_ms = check.within("max_ringing_ms", row.max_ringing_ms, 1_000, 3_600_000);
    let max_carriers = check.within("max_carriers", row.max_carriers, 1, 16);
    let max_attempts = check.within("max_attempts", row.max_attempts, 1, 32);
    if carriers.is_empty() && row.enabled {
        check.refuse(
            "route_id",
            "it has no carrier; add one to route_carriers or disable the route".to_owned(),
        );
    }
    carriers.sort_by_key(|carrier| (carrier.priority, carrier.carrier_id));
    Route {
        id: RouteId(row.route_id),
        customer_id: row.customer_id.map(CustomerId),
        called_prefix: prefix.into(),
        region: row.region.as_deref().map(Into::into),
        needs_srtp,
        is_emergency: row.is_emergency,
        strategy: strategy.unwrap_or(Strategy::Healthiest),
        reroute_after_ringing: reroute.unwrap_or(RerouteAfterRinging::Never),
        verify_unallocated: row.verify_unallocated,
        setup_budget: Duration::from_millis(setup_budget_ms.into()),
        max_carriers: u8::try_from(max_carriers).unwrap_or(u8::MAX),
        max_attempts: u8::try_from(max_attempts).unwrap_or(u8::MAX),
        max_ringing: Duration::from_millis(max_ringing_ms.into()),
        carriers,
        hours: Vec::new(),
    }
}

fn failure_rule(check: &mut Row<'_>, row: &FailureRuleRow) -> Option<FailureRule> {
    let status = row.status.as_deref().and_then(|text| check.status(text));
    let reason = row.reason_regex.as_deref().and_then(|text| check.regex("reason_regex", text));
    let header_regex =
        row.header_regex.as_deref().and_then(|text| check.regex("header_regex", text));
    if row.header_regex.is_some() && row.header_name.is_none() {
        check.refuse("header_regex", "it needs a header_name to look at".to_owned());
    }
    let header = row.header_name.as_deref().map(|name| (Arc::from(name), header_regex));
    let q850_cause = row.q850_cause.and_then(|cause| {
        let cause = check.within("q850_cause", cause, 1, 127);
        u8::try_from(cause).ok()
    });
    let origin = row
        .origin
        .as_deref()
        .and_then(|text| check.one_of("origin", text, Origin::from_text, Origin::ALL));
    let stage = row
        .stage
        .as_deref()
        .and_then(|text| check.one_of("stage", text, Stage::from_text, Stage::ALL));
    let class = check.one_of("class", &row.class, Class::from_text, Class::ALL);
    let action = check.one_of("action", &row.action, Action::from_text, Action::ALL);
    if !(0.0..=1.0).contains(&row.weight) {
        check.refuse("weight", format!("{} must be 0 to 1", row.weight));
    }
    Some(FailureRule {
        id: FailureRuleId(row.failure_rule_id),
        carrier_id: row.carrier_id.map(CarrierId),
        status,
        reason,
        header,
        q850_cause,
        origin,
        stage,
        class: class?,
        action: action?,
        weight: row.weight,
    })
}

impl Row<'_> {
    fn refuse(&mut self, column: &'static str, reason: String) {
        let refusal = Refusal { table: self.table, row: self.key.clone(), column, reason };
        self.check.refusals.push(refusal);
    }

    fn name(&mut self, name: &str, names: &mut HashSet<String>) {
        if name.trim().is_empty() || name.len() > 100 {
            self.refuse("name", "a name has 1 to 100 characters".to_owned());
        } else if !names.insert(name.to_lowercase()) {
            self.refuse("name", format!("'{name}' is the name of another row too"));
        }
    }

    fn region(&mut self, region: Option<&str>) {
        let is_legal = |region: &str| {
            !region.is_empty()
                && region.len() <= 32
                && region.bytes().all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if let Some(region) = region.filter(|region| !is_legal(region)) {
            self.refuse(
                "region",
                format!("'{region}' must be lower-case letters, digits and '-', such as eu"),
            );
        }
    }

    fn within(&mut self, column: &'static str, value: i32, low: i32, high: i32) -> u32 {
        if !(low..=high).contains(&value) {
            self.refuse(column, format!("{value} must be {low} to {high}"));
        }
        value.clamp(low, high).unsigned_abs()
    }

    fn limits(&mut self, max_cps: Option<f64>, max_channels: Option<i32>) -> Limits {
        if let Some(cps) = max_cps.filter(|cps| !(*cps > 0.0 && *cps <= MAX_CPS)) {
            self.refuse("max_cps", format!("{cps} must be more than 0 and up to {MAX_CPS}"));
        }
        let channels = max_channels.map(|value| self.within("max_channels", value, 1, 1_000_000));
        Limits { cps: max_cps, channels }
    }

    fn one_of<T: std::fmt::Display>(
        &mut self,
        column: &'static str,
        text: &str,
        from_text: fn(&str) -> Option<T>,
        all: &[T],
    ) -> Option<T> {
        let found = from_text(text);
        if found.is_none() {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            self.refuse(column, format!("'{text}' must be one of {}", all.join(", ")));
        }
        found
    }

    fn status(&mut self, text: &str) -> Option<StatusMatch> {
        let class = text.strip_suffix("xx").and_then(|digit| digit.parse().ok());
        let status = match (class, text.parse()) {
            (Some(class @ 3..=6), _) => Some(StatusMatch::Class(class)),
            (_, Ok(code @ 300..=699)) => Some(StatusMatch::Code(code)),
            _ => None,
        };
        if status.is_none() {
            self.refuse(
                "status",
                format!("'{text}' must be a code such as 486 or a class such as 5xx"),
            );
        }
        status
    }

    fn regex(&mut self, column: &'static str, text: &str) -> Option<Regex> {
        if text.len() > MAX_PATTERN_OCTETS {
            self.refuse(column, format!("longer than {MAX_PATTERN_OCTETS} octets"));
            return None;
        }
        match RegexBuilder::new(text).size_limit(MAX_PATTERN_MEMORY_OCTETS).build() {
            Ok(regex) => Some(regex),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                self.refuse(column, format!("no valid regular expression: {last}"));
                None
            }
        }
    }

    fn codecs(&mut self, text: &str) -> Arc<[Box<str>]> {
        let is_name = |name: &str| {
            let is_legal = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
            !name.is_empty() && name.bytes().all(is_legal)
        };
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        if text.len() > MAX_CODECS_OCTETS || !names.iter().all(|name| is_name(name)) {
            let reason = format!("'{text}' must be names between commas, such as PCMU,PCMA,opus");
            self.refuse("codecs", reason);
        }
        names.iter().map(|name| name.to_ascii_lowercase().into()).collect()
    }

    fn host(&mut self, column: &'static str, host: &str) {
        if host.parse::<IpAddr>().is_err() && !is_host_name(host) {
            self.refuse(column, format!("'{host}' is neither an IP address nor a host name"));
        }
    }

    fn host_with_port(&mut self, column: &'static str, text: &str) {
        let is_socket = text.parse::<std::net::SocketAddr>().is_ok();
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_address = bracketed.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
            || text.parse::<std::net::Ipv4Addr>().is_ok();
        let (name, port) = text.split_once(':').unwrap_or((text, "5060"));
        let is_name = is_host_name(name) && port.parse::<u16>().is_ok();
        if !(is_socket || is_address || is_name) {
            self.refuse(
                column,
                format!("'{text}' must be a host, or host:port (IPv6 in brackets)"),
            );
        }
    }
}

/// RFC 1123 §2.1; underscores are seen in the wild.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_numeric = host.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    host.len() <= 253 && !is_numeric && host.split('.').all(is_label)
}
