//! The tables' rows as a store reads them: unchecked.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::digest::Hidden;

/// Everything that `Tables::check` needs, read in one transaction.
///
/// Rows that a version before this one kept on disk are read with the columns' defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    #[serde(default)]
    pub carrier_groups: Vec<CarrierGroupRow>,
    pub carriers: Vec<CarrierRow>,
    pub gateways: Vec<GatewayRow>,
    pub customers: Vec<CustomerRow>,
    pub customer_addresses: Vec<CustomerAddressRow>,
    pub routes: Vec<RouteRow>,
    pub route_carriers: Vec<RouteCarrierRow>,
    #[serde(default)]
    pub route_carrier_hours: Vec<RouteCarrierHoursRow>,
    pub failure_rules: Vec<FailureRuleRow>,
    pub number_rules: Vec<NumberRuleRow>,
    #[serde(default)]
    pub number_examples: Vec<NumberExampleRow>,
    #[serde(default)]
    pub carrier_credentials: Vec<CarrierCredentialsRow>,
    #[serde(default)]
    pub customer_credentials: Vec<CustomerCredentialsRow>,
    #[serde(default)]
    pub registrations: Vec<RegistrationRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CarrierGroupRow {
    pub carrier_group_id: i64,
    pub name: String,
    pub errors_in_row: i32,
    pub within_s: i32,
    pub hold_s: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CarrierRow {
    pub carrier_id: i64,
    pub name: String,
    pub enabled: bool,
    pub region: Option<String>,
    pub carrier_group_id: Option<i64>,
    pub probe_interval_ms: i32,
    pub no_response_ms: i32,
    pub no_ringing_ms: i32,
    pub max_cps: Option<f64>,
    pub max_channels: Option<i32>,
    pub tls_wildcard: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GatewayRow {
    pub gateway_id: i64,
    pub carrier_id: i64,
    pub name: String,
    pub host: String,
    pub port: i32,
    pub transport: String,
    pub dns: String,
    pub large_by_tcp: bool,
    pub media: String,
    /// Names between commas; `None` = any codec.
    pub codecs: Option<String>,
    pub admin_state: String,
    pub region: Option<String>,
    pub priority: i32,
    pub weight: i32,
    pub max_cps: Option<f64>,
    pub max_channels: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomerRow {
    pub customer_id: i64,
    pub name: String,
    pub enabled: bool,
    pub region: Option<String>,
    pub refer: String,
    pub auth: String,
    pub routed_by: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomerAddressRow {
    pub address_range: IpNet,
    pub customer_id: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteRow {
    pub route_id: i64,
    pub enabled: bool,
    pub customer_id: Option<i64>,
    pub called_prefix: String,
    pub region: Option<String>,
    pub needs_srtp: String,
    pub is_emergency: bool,
    pub strategy: String,
    pub reroute_after_ringing: String,
    pub verify_unallocated: bool,
    pub setup_budget_ms: i32,
    pub max_carriers: i32,
    pub max_attempts: i32,
    pub max_ringing_ms: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteCarrierRow {
    pub route_id: i64,
    pub carrier_id: i64,
    pub priority: i32,
    pub weight: i32,
    /// Price per minute, in millionths.
    pub cost_micros: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteCarrierHoursRow {
    pub route_id: i64,
    pub carrier_id: i64,
    /// Such as `mon-fri` or `mon,wed,sat-sun`.
    pub days: String,
    /// Such as `08:30` or `08:30:00`.
    pub from_time: String,
    pub until_time: String,
    pub time_zone: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailureRuleRow {
    pub failure_rule_id: i64,
    pub enabled: bool,
    pub carrier_id: Option<i64>,
    /// A code such as `486`, or a class such as `5xx`.
    pub status: Option<String>,
    pub reason_regex: Option<String>,
    pub header_name: Option<String>,
    pub header_regex: Option<String>,
    pub q850_cause: Option<i32>,
    pub origin: Option<String>,
    pub stage: Option<String>,
    pub class: String,
    pub action: String,
    /// How much a failure counts against the gateway, 0.0 to 1.0; only for the carrier classes.
    pub weight: f32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NumberRuleRow {
    pub carrier_id: i64,
    pub called_format: String,
    pub called_prefix: String,
    pub calling_format: String,
    pub country_code: String,
    pub request_uri_host: Option<String>,
    pub from_host: Option<String>,
    pub identity: String,
    pub is_trusted: bool,
    pub called_regex: Option<String>,
    pub called_replacement: Option<String>,
    pub calling_regex: Option<String>,
    pub calling_replacement: Option<String>,
    pub user_phone: String,
    pub portability: String,
    pub diversion: String,
    pub history_info: String,
    /// Names between commas; `None` = all.
    pub x_headers: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NumberExampleRow {
    pub number_example_id: i64,
    pub carrier_id: i64,
    /// A user part, or a whole URI.
    pub called: String,
    pub calling: String,
    pub expected_request_uri: Option<String>,
    pub expected_from: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CarrierCredentialsRow {
    pub carrier_id: i64,
    pub username: String,
    pub realm: Option<String>,
    pub ha1_md5: Option<Hidden>,
    pub ha1_sha256: Option<Hidden>,
    pub ha1_sha512_256: Option<Hidden>,
    pub password: Option<Hidden>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomerCredentialsRow {
    pub username: String,
    pub customer_id: i64,
    pub realm: String,
    pub ha1_md5: Option<Hidden>,
    pub ha1_sha256: Option<Hidden>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistrationRow {
    pub gateway_id: i64,
    pub aor: String,
    pub contact_user: Option<String>,
    pub expires_s: i32,
}

// What the columns hold that an INSERT does not name; what it has to name is 0 or empty here. Tables that a version before a
// column kept on disk are read with these too.

impl Default for CarrierRow {
    fn default() -> Self {
        Self {
            carrier_id: 0,
            name: String::new(),
            enabled: true,
            region: None,
            carrier_group_id: None,
            probe_interval_ms: 5_000,
            no_response_ms: 1_800,
            no_ringing_ms: 6_000,
            max_cps: None,
            max_channels: None,
            tls_wildcard: false,
        }
    }
}

impl Default for GatewayRow {
    fn default() -> Self {
        Self {
            gateway_id: 0,
            carrier_id: 0,
            name: String::new(),
            host: String::new(),
            port: 5060,
            transport: "udp".to_owned(),
            dns: "address".to_owned(),
            large_by_tcp: false,
            media: "both".to_owned(),
            codecs: None,
            admin_state: "on".to_owned(),
            region: None,
            priority: 0,
            weight: 1,
            max_cps: None,
            max_channels: None,
        }
    }
}

impl Default for CustomerRow {
    fn default() -> Self {
        Self {
            customer_id: 0,
            name: String::new(),
            enabled: true,
            region: None,
            refer: "refuse".to_owned(),
            auth: "address".to_owned(),
            routed_by: "called".to_owned(),
        }
    }
}

impl Default for RegistrationRow {
    fn default() -> Self {
        Self { gateway_id: 0, aor: String::new(), contact_user: None, expires_s: 300 }
    }
}

impl Default for RouteRow {
    fn default() -> Self {
        Self {
            route_id: 0,
            enabled: true,
            customer_id: None,
            called_prefix: String::new(),
            region: None,
            needs_srtp: "no".to_owned(),
            is_emergency: false,
            strategy: "healthiest".to_owned(),
            reroute_after_ringing: "never".to_owned(),
            verify_unallocated: false,
            setup_budget_ms: 12_000,
            max_carriers: 4,
            max_attempts: 8,
            max_ringing_ms: 180_000,
        }
    }
}

impl Default for RouteCarrierRow {
    fn default() -> Self {
        Self { route_id: 0, carrier_id: 0, priority: 1, weight: 1, cost_micros: 0 }
    }
}

impl Default for FailureRuleRow {
    fn default() -> Self {
        Self {
            failure_rule_id: 0,
            enabled: true,
            carrier_id: None,
            status: None,
            reason_regex: None,
            header_name: None,
            header_regex: None,
            q850_cause: None,
            origin: None,
            stage: None,
            class: String::new(),
            action: String::new(),
            weight: 1.0,
        }
    }
}

impl Default for NumberRuleRow {
    fn default() -> Self {
        let unchanged = || "unchanged".to_owned();
        Self {
            carrier_id: 0,
            called_format: unchanged(),
            called_prefix: String::new(),
            calling_format: unchanged(),
            country_code: String::new(),
            request_uri_host: None,
            from_host: None,
            identity: "strip".to_owned(),
            is_trusted: false,
            called_regex: None,
            called_replacement: None,
            calling_regex: None,
            calling_replacement: None,
            user_phone: "as_received".to_owned(),
            portability: "pass".to_owned(),
            diversion: "pass".to_owned(),
            history_info: "pass".to_owned(),
            x_headers: None,
        }
    }
}
