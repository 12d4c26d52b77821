//! From columns to rows, once for both stores: every value is read by its column's name and complains by it.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row, Sqlite, Type};

use super::StoreError;
use crate::carrier::rows::{
    CarrierCredentialsRow, CarrierGroupRow, CarrierRow, CustomerAddressRow, CustomerCredentialsRow,
    CustomerRow, FailureRuleRow, GatewayRow, NumberExampleRow, NumberRuleRow, RegistrationRow,
    RouteCarrierHoursRow, RouteCarrierRow, RouteRow,
};
use crate::carrier::{GatewayId, Refusal};
use crate::digest::Hidden;
use crate::health::reachability::SavedReachability;
use crate::health::{PeerTarget, Reachability, SavedTarget, Target};

/// A type that both stores know.
pub(super) trait Cell:
    Type<Postgres> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + for<'r> Decode<'r, Sqlite>
{
}

impl<T> Cell for T where
    T: Type<Postgres> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + for<'r> Decode<'r, Sqlite>
{
}

/// A row of either store.
pub(super) trait Columns {
    fn read<T: Cell>(&self, column: &str) -> Result<T, sqlx::Error>;
}

impl Columns for PgRow {
    fn read<T: Cell>(&self, column: &str) -> Result<T, sqlx::Error> {
        self.try_get(column)
    }
}

impl Columns for SqliteRow {
    fn read<T: Cell>(&self, column: &str) -> Result<T, sqlx::Error> {
        self.try_get(column)
    }
}

/// A row of a known table.
pub(super) struct Line<'r, R> {
    pub(super) table: &'static str,
    pub(super) row: &'r R,
}

impl<R: Columns> Line<'_, R> {
    pub(super) fn get<T: Cell>(&self, column: &'static str) -> Result<T, StoreError> {
        self.row.read(column).map_err(|error| match error {
            sqlx::Error::ColumnDecode { source, .. } => self.unreadable("?", column, source),
            other => self.unreadable("?", column, other),
        })
    }

    fn hidden(&self, column: &'static str) -> Result<Option<Hidden>, StoreError> {
        Ok(self.get::<Option<String>>(column)?.map(Hidden::new))
    }

    pub(super) fn unreadable(
        &self,
        key: &str,
        column: &'static str,
        reason: impl Display,
    ) -> StoreError {
        let (row, reason) = (key.to_owned(), reason.to_string());
        StoreError::Unreadable(Refusal { table: self.table, row, column, reason })
    }
}

pub(super) const CARRIER_GROUPS: &str = "select carrier_group_id, name, errors_in_row, within_s, \
     hold_s from carrier_groups order by carrier_group_id";

pub(super) fn carrier_group(row: &impl Columns) -> Result<CarrierGroupRow, StoreError> {
    let line = Line { table: "carrier_groups", row };
    Ok(CarrierGroupRow {
        carrier_group_id: line.get("carrier_group_id")?,
        name: line.get("name")?,
        errors_in_row: line.get("errors_in_row")?,
        within_s: line.get("within_s")?,
        hold_s: line.get("hold_s")?,
    })
}

pub(super) const CARRIERS: &str = "select carrier_id, name, enabled, region, carrier_group_id, \
     probe_interval_ms, no_response_ms, no_ringing_ms, \
     cast(max_cps as double precision) as max_cps, max_channels, tls_wildcard from carriers order by carrier_id";

pub(super) fn carrier(row: &impl Columns) -> Result<CarrierRow, StoreError> {
    let line = Line { table: "carriers", row };
    Ok(CarrierRow {
        carrier_id: line.get("carrier_id")?,
        name: line.get("name")?,
        enabled: line.get("enabled")?,
        region: line.get("region")?,
        carrier_group_id: line.get("carrier_group_id")?,
        probe_interval_ms: line.get("probe_interval_ms")?,
        no_response_ms: line.get("no_response_ms")?,
        no_ringing_ms: line.get("no_ringing_ms")?,
        max_cps: line.get("max_cps")?,
        max_channels: line.get("max_channels")?,
        tls_wildcard: line.get("tls_wildcard")?,
    })
}

pub(super) const GATEWAYS: &str = "select gateway_id, carrier_id, name, host, port, transport, dns, \
     large_by_tcp, media, codecs, admin_state, region, priority, weight, \
     cast(max_cps as double precision) as max_cps, max_channels from gateways order by gateway_id";

pub(super) fn gateway(row: &impl Columns) -> Result<GatewayRow, StoreError> {
    let line = Line { table: "gateways", row };
    Ok(GatewayRow {
        gateway_id: line.get("gateway_id")?,
        carrier_id: line.get("carrier_id")?,
        name: line.get("name")?,
        host: line.get("host")?,
        port: line.get("port")?,
        transport: line.get("transport")?,
        dns: line.get("dns")?,
        large_by_tcp: line.get("large_by_tcp")?,
        media: line.get("media")?,
        codecs: line.get("codecs")?,
        admin_state: line.get("admin_state")?,
        region: line.get("region")?,
        priority: line.get("priority")?,
        weight: line.get("weight")?,
        max_cps: line.get("max_cps")?,
        max_channels: line.get("max_channels")?,
    })
}

pub(super) const CUSTOMERS: &str = "select customer_id, name, enabled, region, auth, refer, routed_by from customers order by customer_id";

pub(super) fn customer(row: &impl Columns) -> Result<CustomerRow, StoreError> {
    let line = Line { table: "customers", row };
    Ok(CustomerRow {
        customer_id: line.get("customer_id")?,
        name: line.get("name")?,
        enabled: line.get("enabled")?,
        region: line.get("region")?,
        auth: line.get("auth")?,
        refer: line.get("refer")?,
        routed_by: line.get("routed_by")?,
    })
}

pub(super) const CUSTOMER_ADDRESSES: &str = "select cast(address_range as text) as address_range, \
     customer_id from customer_addresses order by customer_addresses.address_range";

pub(super) fn customer_address(row: &impl Columns) -> Result<CustomerAddressRow, StoreError> {
    let line = Line { table: "customer_addresses", row };
    let text: String = line.get("address_range")?;
    // A single address may stand without its prefix length.
    let address_range: Option<IpNet> =
        text.parse().ok().or_else(|| Some(text.parse::<IpAddr>().ok()?.into()));
    let reason = || {
        let reason = format!("'{text}' is neither an address nor a range such as 192.0.2.0/24");
        line.unreadable(&text, "address_range", reason)
    };
    Ok(CustomerAddressRow {
        address_range: address_range.ok_or_else(reason)?,
        customer_id: line.get("customer_id")?,
    })
}

pub(super) const ROUTES: &str = "select route_id, enabled, customer_id, called_prefix, region, \
     needs_srtp, is_emergency, strategy, reroute_after_ringing, verify_unallocated, setup_budget_ms, max_carriers, \
     max_attempts, max_ringing_ms from routes order by route_id";

pub(super) fn route(row: &impl Columns) -> Result<RouteRow, StoreError> {
    let line = Line { table: "routes", row };
    Ok(RouteRow {
        route_id: line.get("route_id")?,
        enabled: line.get("enabled")?,
        customer_id: line.get("customer_id")?,
        called_prefix: line.get("called_prefix")?,
        region: line.get("region")?,
        needs_srtp: line.get("needs_srtp")?,
        is_emergency: line.get("is_emergency")?,
        strategy: line.get("strategy")?,
        reroute_after_ringing: line.get("reroute_after_ringing")?,
        verify_unallocated: line.get("verify_unallocated")?,
        setup_budget_ms: line.get("setup_budget_ms")?,
        max_carriers: line.get("max_carriers")?,
        max_attempts: line.get("max_attempts")?,
        max_ringing_ms: line.get("max_ringing_ms")?,
    })
}

pub(super) const ROUTE_CARRIERS: &str = "select route_id, carrier_id, priority, weight, \
     cast(round(cost * 1000000) as bigint) as cost \
     from route_carriers order by route_id, carrier_id";

pub(super) fn route_carrier(row: &impl Columns) -> Result<RouteCarrierRow, StoreError> {
    let line = Line { table: "route_carriers", row };
    Ok(RouteCarrierRow {
        route_id: line.get("route_id")?,
        carrier_id: line.get("carrier_id")?,
        priority: line.get("priority")?,
        weight: line.get("weight")?,
        cost_micros: line.get("cost")?,
    })
}

pub(super) const ROUTE_CARRIER_HOURS: &str = "select route_id, carrier_id, days, \
     cast(from_time as text) as from_time, cast(until_time as text) as until_time, time_zone \
     from route_carrier_hours \
     order by route_id, carrier_id, days, route_carrier_hours.from_time";

pub(super) fn route_carrier_hours(row: &impl Columns) -> Result<RouteCarrierHoursRow, StoreError> {
    let line = Line { table: "route_carrier_hours", row };
    Ok(RouteCarrierHoursRow {
        route_id: line.get("route_id")?,
        carrier_id: line.get("carrier_id")?,
        days: line.get("days")?,
        from_time: line.get("from_time")?,
        until_time: line.get("until_time")?,
        time_zone: line.get("time_zone")?,
    })
}

pub(super) const FAILURE_RULES: &str = "select failure_rule_id, enabled, carrier_id, status, \
     reason_regex, header_name, header_regex, q850_cause, origin, stage, class, action, weight \
     from failure_rules order by failure_rule_id";

pub(super) fn failure_rule(row: &impl Columns) -> Result<FailureRuleRow, StoreError> {
    let line = Line { table: "failure_rules", row };
    Ok(FailureRuleRow {
        failure_rule_id: line.get("failure_rule_id")?,
        enabled: line.get("enabled")?,
        carrier_id: line.get("carrier_id")?,
        status: line.get("status")?,
        reason_regex: line.get("reason_regex")?,
        header_name: line.get("header_name")?,
        header_regex: line.get("header_regex")?,
        q850_cause: line.get("q850_cause")?,
        origin: line.get("origin")?,
        stage: line.get("stage")?,
        class: line.get("class")?,
        action: line.get("action")?,
        weight: line.get("weight")?,
    })
}

/// Ids are left to the store, so that an admin's own rules are counted on from there.
pub(super) const INSERT_FAILURE_RULE: &str = "insert into failure_rules (enabled, carrier_id, \
     status, reason_regex, header_name, header_regex, q850_cause, origin, stage, class, action, \
     weight) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

pub(super) const NUMBER_RULES: &str = "select carrier_id, called_format, called_prefix, \
     calling_format, country_code, request_uri_host, from_host, identity, is_trusted, \
     called_regex, called_replacement, calling_regex, calling_replacement, user_phone, \
     portability, diversion, history_info, x_headers from number_rules order by carrier_id";

pub(super) fn number_rule(row: &impl Columns) -> Result<NumberRuleRow, StoreError> {
    let line = Line { table: "number_rules", row };
    Ok(NumberRuleRow {
        carrier_id: line.get("carrier_id")?,
        called_format: line.get("called_format")?,
        called_prefix: line.get("called_prefix")?,
        calling_format: line.get("calling_format")?,
        country_code: line.get("country_code")?,
        request_uri_host: line.get("request_uri_host")?,
        from_host: line.get("from_host")?,
        identity: line.get("identity")?,
        is_trusted: line.get("is_trusted")?,
        called_regex: line.get("called_regex")?,
        called_replacement: line.get("called_replacement")?,
        calling_regex: line.get("calling_regex")?,
        calling_replacement: line.get("calling_replacement")?,
        user_phone: line.get("user_phone")?,
        portability: line.get("portability")?,
        diversion: line.get("diversion")?,
        history_info: line.get("history_info")?,
        x_headers: line.get("x_headers")?,
    })
}

pub(super) const NUMBER_EXAMPLES: &str = "select number_example_id, carrier_id, called, calling, \
     expected_request_uri, expected_from from number_examples order by number_example_id";

pub(super) fn number_example(row: &impl Columns) -> Result<NumberExampleRow, StoreError> {
    let line = Line { table: "number_examples", row };
    Ok(NumberExampleRow {
        number_example_id: line.get("number_example_id")?,
        carrier_id: line.get("carrier_id")?,
        called: line.get("called")?,
        calling: line.get("calling")?,
        expected_request_uri: line.get("expected_request_uri")?,
        expected_from: line.get("expected_from")?,
    })
}

pub(super) const CARRIER_CREDENTIALS: &str = "select carrier_id, username, realm, ha1_md5, \
     ha1_sha256, ha1_sha512_256, password from carrier_credentials order by carrier_id";

pub(super) fn carrier_credentials(row: &impl Columns) -> Result<CarrierCredentialsRow, StoreError> {
    let line = Line { table: "carrier_credentials", row };
    Ok(CarrierCredentialsRow {
        carrier_id: line.get("carrier_id")?,
        username: line.get("username")?,
        realm: line.get("realm")?,
        ha1_md5: line.hidden("ha1_md5")?,
        ha1_sha256: line.hidden("ha1_sha256")?,
        ha1_sha512_256: line.hidden("ha1_sha512_256")?,
        password: line.hidden("password")?,
    })
}

pub(super) const CUSTOMER_CREDENTIALS: &str = "select username, customer_id, realm, ha1_md5, \
     ha1_sha256 from customer_credentials order by customer_credentials.username";

pub(super) fn customer_credentials(
    row: &impl Columns,
) -> Result<CustomerCredentialsRow, StoreError> {
    let line = Line { table: "customer_credentials", row };
    Ok(CustomerCredentialsRow {
        username: line.get("username")?,
        customer_id: line.get("customer_id")?,
        realm: line.get("realm")?,
        ha1_md5: line.hidden("ha1_md5")?,
        ha1_sha256: line.hidden("ha1_sha256")?,
    })
}

pub(super) const REGISTRATIONS: &str = "select gateway_id, aor, contact_user, expires_s \
     from registrations order by gateway_id";

pub(super) fn registration(row: &impl Columns) -> Result<RegistrationRow, StoreError> {
    let line = Line { table: "registrations", row };
    Ok(RegistrationRow {
        gateway_id: line.get("gateway_id")?,
        aor: line.get("aor")?,
        contact_user: line.get("contact_user")?,
        expires_s: line.get("expires_s")?,
    })
}

/// A row of `gateway_health`, address and buckets as text, and how many milliseconds old it is.
pub(super) fn saved_target(row: &impl Columns) -> Result<(SavedTarget, Duration), StoreError> {
    let line = Line { table: "gateway_health", row };
    let address: String = line.get("address")?;
    let address: IpAddr =
        address.parse().map_err(|error| line.unreadable("?", "address", error))?;
    let port: i32 = line.get("port")?;
    let port = u16::try_from(port).map_err(|error| line.unreadable("?", "port", error))?;
    let state: String = line.get("state")?;
    let state = Reachability::from_text(&state)
        .ok_or_else(|| line.unreadable("?", "state", format!("'{state}' is no state")))?;
    let downs: i64 = line.get("downs")?;
    let buckets: String = line.get("buckets")?;
    let milliseconds =
        |column| Ok::<u64, StoreError>(line.get::<i64>(column)?.max(0).unsigned_abs());
    let saved = SavedTarget {
        target: Target {
            gateway_id: GatewayId(line.get("gateway_id")?),
            address: SocketAddr::new(address, port),
        },
        reachability: SavedReachability {
            state,
            downs: u32::try_from(downs).map_err(|error| line.unreadable("?", "downs", error))?,
            pause_left_ms: milliseconds("pause_left_ms")?,
            is_ejected: line.get("is_ejected")?,
            is_held: line.get("is_held")?,
            state_age_ms: milliseconds("state_age_ms")?,
        },
        failure_rate: line.get("failure_rate")?,
        latency_ms: line.get("latency_ms")?,
        ringing_ms: line.get("ringing_ms")?,
        unusable_for_ms: milliseconds("unusable_for_ms")?,
        buckets: serde_json::from_str(&buckets)
            .map_err(|error| line.unreadable("?", "buckets", error))?,
    };
    Ok((saved, Duration::from_millis(milliseconds("age_ms")?)))
}

/// The same of another node.
pub(super) fn peer_target(row: &impl Columns) -> Result<PeerTarget, StoreError> {
    let (saved, age) = saved_target(row)?;
    let node: String = Line { table: "gateway_health", row }.get("node")?;
    Ok(PeerTarget { node: node.into(), saved, age })
}

/// A duration of health as a column takes it: no pause comes near this bound, and a time can be reckoned from it.
pub(super) fn bounded_ms(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).map_or(MAX_MS, |milliseconds| milliseconds.min(MAX_MS))
}

/// Some 24 days.
const MAX_MS: i64 = i32::MAX as i64;
