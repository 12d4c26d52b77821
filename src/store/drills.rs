//! What `holdfast drill` asks of the store: rows for its callers and callees, what nodes show of themselves while it
//! runs, the records of its calls, and drills gone by.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::StoreError;
use super::answered::Lease;
use super::rows::{Columns, Line};

/// The region of the gateway that no call may go to.
pub const ELSEWHERE: &str = "drill-elsewhere";

pub(super) const CALLS: &str = "\
    select node, count(*) from calls_in_progress where answered_at is not null \
    group by node order by node";

/// Not those of the trap, which is at the same address.
pub(super) const STATES: &str = "\
    select gateway_health.node, gateway_health.state from gateway_health \
    join gateways on gateways.gateway_id = gateway_health.gateway_id \
    where gateway_health.address = $1 and gateway_health.port = $2 and gateways.name <> 'drill-elsewhere' \
    order by gateway_health.node";

pub(super) const RECORDS: &str = "\
    select calls.inbound_call_id, calls.node, calls.taken_from, \
      exists (select 1 from call_attempts \
        join gateways on gateways.gateway_id = call_attempts.gateway_id \
        join carriers on carriers.carrier_id = gateways.carrier_id \
        where call_attempts.call_id = calls.call_id and calls.region is not null \
          and calls.region <> coalesce(gateways.region, carriers.region, '')) as is_wrong_region \
    from calls where calls.started_at >= $2 and inbound_call_id like $1 || '%'";

/// Who calls and who is called in a drill; all rows are named `drill-…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillTables {
    /// Where calls come from.
    pub caller: IpAddr,
    /// Where callees listen, the one that is asked first before the others.
    pub carriers: Vec<SocketAddr>,
    /// Calls and carriers are of this region; `None` = of none.
    pub region: Option<String>,
}

/// One row of `drills`; durations in ms from the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillRow {
    pub drill_id: Uuid,
    pub scenario: String,
    pub started_at: OffsetDateTime,
    pub ended_at: OffsetDateTime,
    /// `address:port` with commas.
    pub nodes: String,
    pub version: String,
    pub hypothesis: String,
    pub passed: bool,
    pub calls_in_flight: i64,
    pub calls_dropped: i64,
    pub calls_offered: i64,
    pub calls_failed: i64,
    pub fails_for_ms: Option<i64>,
    pub detected_ms: Option<i64>,
    pub decided_ms: Option<i64>,
    pub recovered_ms: Option<i64>,
    pub delay_before_p99_ms: Option<i64>,
    pub delay_during_p99_ms: Option<i64>,
    pub delay_after_p99_ms: Option<i64>,
    pub calls_wrong_region: Option<i64>,
    pub records_lost: Option<i64>,
    pub records_doubled: Option<i64>,
    /// The whole report in JSON.
    pub report: String,
}

/// What nodes show of themselves in the store at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrillView {
    /// All leases, with their ages.
    pub leases: Vec<(Lease, Duration)>,
    /// Nodes, and how many answered calls each has.
    pub calls: Vec<(String, i64)>,
    /// Nodes, and the state in which each has saved the carrier's address.
    pub states: Vec<(String, String)>,
}

/// A call of a drill as it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillRecord {
    pub inbound_call_id: String,
    pub node: String,
    pub taken_from: Option<String>,
    /// An attempt went to a gateway that is not of the call's region.
    pub is_wrong_region: bool,
}

impl DrillTables {
    /// The statements that make the rows, in the SQL of either store. What an earlier drill left behind goes first.
    pub fn sql(&self) -> String {
        let region = match &self.region {
            Some(region) => format!("'{}'", region.replace('\'', "")),
            None => "null".to_owned(),
        };
        let mut sql = format!(
            "{CLEAN}\n\
             insert into customers (name, region) values ('drill-callers', {region});\n\
             insert into customer_addresses (address_range, customer_id)\n  \
               select '{}/{}', customer_id from customers where name = 'drill-callers';\n\
             insert into routes (customer_id, strategy)\n  \
               select customer_id, 'priority' from customers where name = 'drill-callers';\n",
            self.caller,
            if self.caller.is_ipv4() { 32 } else { 128 }
        );
        for (number, address) in (1..).zip(&self.carriers) {
            sql.push_str(&carrier(&format!("drill-{number}"), &region, *address, number));
        }
        // A trap: it would be asked before all others, were it not for its region.
        if let (Some(_), Some(address)) = (&self.region, self.carriers.first()) {
            sql.push_str(&carrier(ELSEWHERE, &format!("'{ELSEWHERE}'"), *address, 0));
        }
        sql
    }
}

/// Removes the rows of a drill, in the SQL of either store.
pub const CLEAN: &str = "\
    delete from customers where name = 'drill-callers';\n\
    delete from carriers where name like 'drill-%';";

fn carrier(name: &str, region: &str, address: SocketAddr, priority: u32) -> String {
    format!(
        "insert into carriers (name, region) values ('{name}', {region});\n\
         insert into gateways (carrier_id, name, host, port)\n  \
           select carrier_id, '{name}', '{}', {} from carriers where name = '{name}';\n\
         insert into route_carriers (route_id, carrier_id, priority)\n  \
           select route_id, carrier_id, {priority} from routes join customers using (customer_id), carriers\n  \
           where customers.name = 'drill-callers' and carriers.name = '{name}';\n",
        address.ip(),
        address.port(),
    )
}

pub(super) fn record(row: &impl Columns) -> Result<DrillRecord, StoreError> {
    let line = Line { table: "calls", row };
    Ok(DrillRecord {
        inbound_call_id: line.get("inbound_call_id")?,
        node: line.get("node")?,
        taken_from: line.get("taken_from")?,
        is_wrong_region: line.get("is_wrong_region")?,
    })
}

pub(super) fn drill(row: &impl Columns) -> Result<DrillRow, StoreError> {
    let line = Line { table: "drills", row };
    let drill_id: String = line.get("drill_id")?;
    let time = |column| {
        let text: String = line.get(column)?;
        let read = OffsetDateTime::parse(&text, &Rfc3339);
        read.map_err(|error| line.unreadable(&drill_id, column, error))
    };
    Ok(DrillRow {
        drill_id: drill_id
            .parse()
            .map_err(|error| line.unreadable(&drill_id, "drill_id", error))?,
        scenario: line.get("scenario")?,
        started_at: time("started_at")?,
        ended_at: time("ended_at")?,
        nodes: line.get("nodes")?,
        version: line.get("version")?,
        hypothesis: line.get("hypothesis")?,
        passed: line.get("passed")?,
        calls_in_flight: line.get("calls_in_flight")?,
        calls_dropped: line.get("calls_dropped")?,
        calls_offered: line.get("calls_offered")?,
        calls_failed: line.get("calls_failed")?,
        fails_for_ms: line.get("fails_for_ms")?,
        detected_ms: line.get("detected_ms")?,
        decided_ms: line.get("decided_ms")?,
        recovered_ms: line.get("recovered_ms")?,
        delay_before_p99_ms: line.get("delay_before_p99_ms")?,
        delay_during_p99_ms: line.get("delay_during_p99_ms")?,
        delay_after_p99_ms: line.get("delay_after_p99_ms")?,
        calls_wrong_region: line.get("calls_wrong_region")?,
        records_lost: line.get("records_lost")?,
        records_doubled: line.get("records_doubled")?,
        report: line.get("report")?,
    })
}
