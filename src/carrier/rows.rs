//! The tables' rows as a store reads them: unchecked.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Everything that `Tables::check` needs, read in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    pub carriers: Vec<CarrierRow>,
    pub gateways: Vec<GatewayRow>,
    pub customers: Vec<CustomerRow>,
    pub customer_addresses: Vec<CustomerAddressRow>,
    pub routes: Vec<RouteRow>,
    pub route_carriers: Vec<RouteCarrierRow>,
    pub failure_rules: Vec<FailureRuleRow>,
    pub number_rules: Vec<NumberRuleRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CarrierRow {
    pub carrier_id: i64,
    pub name: String,
    pub enabled: bool,
    pub region: Option<String>,
    pub probe_interval_ms: i32,
    pub no_response_ms: i32,
    pub no_ringing_ms: i32,
    /// Tables kept on disk by a version before these columns have no limit.
    #[serde(default)]
    pub max_cps: Option<f64>,
    #[serde(default)]
    pub max_channels: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatewayRow {
    pub gateway_id: i64,
    pub carrier_id: i64,
    pub name: String,
    pub host: String,
    pub port: i32,
    pub transport: String,
    pub admin_state: String,
    pub region: Option<String>,
    pub priority: i32,
    pub weight: i32,
    #[serde(default)]
    pub max_cps: Option<f64>,
    #[serde(default)]
    pub max_channels: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomerRow {
    pub customer_id: i64,
    pub name: String,
    pub enabled: bool,
    pub region: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomerAddressRow {
    pub address_range: IpNet,
    pub customer_id: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteRow {
    pub route_id: i64,
    pub enabled: bool,
    pub customer_id: Option<i64>,
    pub called_prefix: String,
    pub region: Option<String>,
    pub strategy: String,
    pub reroute_after_ringing: String,
    pub verify_unallocated: bool,
    pub setup_budget_ms: i32,
    pub max_carriers: i32,
    pub max_attempts: i32,
    pub max_ringing_ms: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteCarrierRow {
    pub route_id: i64,
    pub carrier_id: i64,
    pub priority: i32,
    pub weight: i32,
    /// Price per minute, in millionths.
    pub cost_micros: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
pub struct NumberRuleRow {
    pub carrier_id: i64,
    pub called_format: String,
    pub called_prefix: String,
    pub calling_format: String,
    pub country_code: String,
    pub request_uri_host: Option<String>,
    pub from_host: Option<String>,
    pub identity: String,
}
