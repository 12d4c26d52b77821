//! What Prometheus scrapes: names, meanings, and the handle that renders them.

use std::time::{Duration, SystemTime};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::call::{CallRecord, Counters};
use crate::health::{Reachability, TargetView};
use crate::net::stream::{CloseReason, StreamCounts};

/// Seconds; dense where post-dial delays of good carriers are.
const DELAY_BUCKETS: [f64; 12] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
/// Seconds; calls from a wrong number to a long meeting.
const TALK_BUCKETS: [f64; 10] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1_800.0, 3_600.0, 14_400.0];

const POST_DIAL_DELAY: &str = "holdfast_post_dial_delay_seconds";
const TALK: &str = "holdfast_talk_seconds";

/// Makes the recorder of this process. Later calls in one process (tests) share the first one.
pub fn start() -> Metrics {
    use std::sync::OnceLock;
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(POST_DIAL_DELAY.into()), &DELAY_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Full(TALK.into()), &TALK_BUCKETS)
            })
            .expect("the buckets are not empty")
            .build_recorder();
        let handle = recorder.handle();
        // Somebody who embeds the library may have a recorder already: then ours stays empty.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        handle
    });
    Metrics { handle: handle.clone() }
}

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// The text format of Prometheus.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds histogram samples; call about every five seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// What only a shard's edge knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct EdgeCounters {
    pub keep_alives: u64,
    pub unsent: u64,
    pub undelivered: u64,
    pub outcomes_dropped: u64,
    pub records_lost: u64,
    pub records_waiting: u64,
    /// Datagrams that came while the socket's buffer was full.
    pub overflowed: u64,
    /// Would have begun something, and had waited while the node stood still.
    pub stale: u64,
    /// Answers that went out before another node could have gone on with their call.
    pub unkept: u64,
}

/// Takes over what a shard counts.
pub fn shard(index: usize, counters: &Counters, edge: &EdgeCounters) {
    let shard = index.to_string();
    for (name, value) in [
        ("holdfast_messages_received_total", counters.messages_received),
        ("holdfast_messages_sent_total", counters.messages_sent),
        ("holdfast_messages_not_sip_total", counters.dropped_not_sip),
        ("holdfast_requests_malformed_total", counters.rejected_malformed),
        ("holdfast_responses_stray_total", counters.stray_responses),
        ("holdfast_calls_offered_total", counters.calls),
        ("holdfast_calls_answered_total", counters.calls_answered),
        ("holdfast_calls_over_limit_total", counters.calls_over_limit),
        ("holdfast_calls_over_customer_limit_total", counters.calls_over_customer_limit),
        ("holdfast_calls_without_capacity_total", counters.calls_without_capacity),
        ("holdfast_calls_refused_overload_total", counters.calls_refused_overload),
        ("holdfast_calls_refused_region_total", counters.calls_refused_region),
        ("holdfast_strangers_unrecorded_total", counters.strangers_unrecorded),
        ("holdfast_unknown_dropped_total", counters.unknown_dropped),
        ("holdfast_floods_dropped_total", counters.floods_dropped),
        ("holdfast_scanners_dropped_total", counters.scanners_dropped),
        ("holdfast_answers_too_long_total", counters.answers_too_long),
        ("holdfast_attempts_started_total", counters.attempts),
        ("holdfast_transfers_total", counters.transfers),
        ("holdfast_retransmissions_sent_total", counters.retransmissions_sent),
        ("holdfast_retransmissions_received_total", counters.retransmissions_received),
        ("holdfast_late_answers_total", counters.late_answers),
        ("holdfast_calls_adopted_total", counters.calls_adopted),
        ("holdfast_calls_released_total", counters.calls_released),
        ("holdfast_requests_passed_on_total", counters.passed_on),
        ("holdfast_answers_unreplicated_total", edge.unkept),
        ("holdfast_probes_sent_total", counters.probes_sent),
        ("holdfast_registrations_refused_total", counters.registrations_refused),
        ("holdfast_challenges_answered_total", counters.challenges_answered),
        ("holdfast_challenges_sent_total", counters.challenges_sent),
        ("holdfast_authentications_failed_total", counters.authentications_failed),
        ("holdfast_authentications_blocked_total", counters.authentications_blocked),
        ("holdfast_keep_alives_total", edge.keep_alives),
        ("holdfast_datagrams_unsent_total", edge.unsent),
        ("holdfast_datagrams_undelivered_total", edge.undelivered),
        ("holdfast_datagrams_overflowed_total", edge.overflowed),
        ("holdfast_datagrams_stale_total", edge.stale),
        ("holdfast_outcomes_dropped_total", edge.outcomes_dropped),
        ("holdfast_records_lost_total", edge.records_lost),
    ] {
        counter!(name, "shard" => shard.clone()).absolute(value);
    }
    for (name, value) in [
        ("holdfast_calls", counters.calls_now),
        ("holdfast_calls_talking", counters.answered_now),
        ("holdfast_client_transactions", counters.client_transactions_now),
        ("holdfast_server_transactions", counters.server_transactions_now),
        ("holdfast_strays", counters.strays_now),
        ("holdfast_dialogs", counters.dialogs_now),
        ("holdfast_channels", counters.channels_now),
        ("holdfast_registrations", counters.registrations_now),
        ("holdfast_timers", counters.timers_now),
        ("holdfast_records_waiting", edge.records_waiting),
    ] {
        gauge!(name, "shard" => shard.clone()).set(value as f64);
    }
}

/// Takes over what the hub of TCP and TLS counts.
pub fn streams(counts: &StreamCounts) {
    for (by, value) in [("peer", counts.accepted_now), ("us", counts.opened_now)] {
        gauge!("holdfast_connections", "opened_by" => by).set(value as f64);
    }
    for (by, value) in [("peer", counts.accepted), ("us", counts.opened)] {
        counter!("holdfast_connections_opened_total", "opened_by" => by).absolute(value);
    }
    for (reason, value) in CloseReason::ALL.iter().zip(counts.closed) {
        counter!("holdfast_connections_closed_total", "reason" => reason.as_str()).absolute(value);
    }
    counter!("holdfast_connections_turned_away_total").absolute(counts.turned_away);
    counter!("holdfast_connection_pings_total").absolute(counts.pings);
    counter!("holdfast_stream_messages_unsent_total").absolute(counts.unsent);
}

/// A call has its record.
pub fn call(call: &CallRecord) {
    counter!("holdfast_calls_ended_total",
        "end_cause" => call.end_cause.as_str(),
        "status" => format!("{}xx", call.status_code / 100))
    .increment(1);
    if let Some(at) = call.ringing_at.or(call.answered_at) {
        histogram!(POST_DIAL_DELAY).record(seconds(call.started_at, at));
    }
    if let Some(answered_at) = call.answered_at {
        histogram!(TALK).record(seconds(answered_at, call.ended_at));
    }
    for attempt in &call.attempts {
        counter!("holdfast_attempts_total",
            "carrier" => attempt.carrier.to_string(),
            "gateway" => attempt.gateway.to_string(),
            "class" => attempt.class.as_str())
        .increment(1);
    }
}

/// 0 where the wall clock was set back meanwhile.
fn seconds(from: SystemTime, to: SystemTime) -> f64 {
    to.duration_since(from).unwrap_or_default().as_secs_f64()
}

/// The health of one target.
pub fn target(carrier: &str, gateway: &str, view: &TargetView) {
    let labels = [
        ("carrier", carrier.to_owned()),
        ("gateway", gateway.to_owned()),
        ("address", view.target.address.to_string()),
    ];
    let is_up = match view.reachability {
        Reachability::Unknown | Reachability::Up => 1.0,
        Reachability::HalfOpen | Reachability::Suspect => 0.5,
        Reachability::Down => 0.0,
    };
    gauge!("holdfast_gateway_up", &labels).set(is_up);
    gauge!("holdfast_gateway_failure_rate", &labels).set(view.failure_rate);
    gauge!("holdfast_gateway_latency_seconds", &labels)
        .set(view.latency_ms.unwrap_or_default() / 1_000.0);
}

/// Whether a gateway that wants a registration has accepted us.
pub fn registered(carrier: &str, gateway: &str, is_registered: bool) {
    let labels = [("carrier", carrier.to_owned()), ("gateway", gateway.to_owned())];
    gauge!("holdfast_gateway_registered", &labels).set(if is_registered { 1.0 } else { 0.0 });
}

/// What is left of a gateway's limits, 0.0 to 1.0.
pub fn headroom(carrier: &str, gateway: &str, headroom: f64) {
    let labels = [("carrier", carrier.to_owned()), ("gateway", gateway.to_owned())];
    gauge!("holdfast_gateway_headroom", &labels).set(headroom);
}

/// How attempts went in the last hour; shares are 0 to 1. NaN = there were none.
#[derive(Clone, Copy, Debug)]
pub struct SlowMeasures {
    pub asr: f64,
    pub ner: f64,
    pub acd_seconds: f64,
    pub post_dial_delay_seconds: f64,
    pub short_call_share: f64,
}

impl SlowMeasures {
    /// Of no attempt.
    pub const NONE: Self = Self {
        asr: f64::NAN,
        ner: f64::NAN,
        acd_seconds: f64::NAN,
        post_dial_delay_seconds: f64::NAN,
        short_call_share: f64::NAN,
    };
}

/// Of a carrier; of one of its gateways, or of its calls to one country, where it is named.
pub fn quality(carrier: &str, gateway: Option<&str>, country: Option<i32>, measures: SlowMeasures) {
    let mut labels = vec![metrics::Label::new("carrier", carrier.to_owned())];
    labels.extend(gateway.map(|gateway| metrics::Label::new("gateway", gateway.to_owned())));
    labels.extend(country.map(|country| metrics::Label::new("country", country.to_string())));
    for (name, measure) in [
        ("holdfast_asr", measures.asr),
        ("holdfast_ner", measures.ner),
        ("holdfast_acd_seconds", measures.acd_seconds),
        ("holdfast_post_dial_delay_seconds", measures.post_dial_delay_seconds),
        ("holdfast_short_call_share", measures.short_call_share),
    ] {
        gauge!(name, labels.clone()).set(measure);
    }
}

/// The tables in force.
pub fn tables(version: u64) {
    gauge!("holdfast_tables_version").set(version as f64);
    counter!("holdfast_tables_loaded_total").increment(1);
}

/// Rows that are refused now, and rows in force that are hardly meant so.
pub fn refusals(errors: usize, warnings: usize) {
    gauge!("holdfast_config_errors").set(errors as f64);
    gauge!("holdfast_config_warnings").set(warnings as f64);
}

/// Whether the store answers.
pub fn store_up(is_up: bool) {
    gauge!("holdfast_store_up").set(if is_up { 1.0 } else { 0.0 });
}

/// Which of the servers of `database_url` is used.
pub fn store_server<'a>(servers: impl Iterator<Item = &'a str>, used: &str) {
    for server in servers {
        let is_used = if server == used { 1.0 } else { 0.0 };
        gauge!("holdfast_store_server", "server" => server.to_owned()).set(is_used);
    }
}

/// Another server than before is used.
pub fn store_moved() {
    counter!("holdfast_store_moves_total").increment(1);
}

/// How writing a batch of records went.
pub fn records_written(count: usize, took: Duration) {
    counter!("holdfast_records_written_total").increment(count as u64);
    histogram!("holdfast_record_batch_seconds").record(took.as_secs_f64());
}

/// Records that are on disk from now on, whatever becomes of this process.
pub fn records_spooled(count: usize) {
    counter!("holdfast_records_spooled_total").increment(count as u64);
}

/// Lines of the spool that are torn or spoilt.
pub fn spool_unreadable(lines: usize) {
    counter!("holdfast_spool_unreadable_total").increment(lines as u64);
}

/// Probe results that the store did not get.
pub fn probe_results_dropped(count: usize) {
    counter!("holdfast_probe_results_dropped_total").increment(count as u64);
}

/// Answered calls that another node could go on with now.
pub fn kept(count: usize, took: Duration) {
    counter!("holdfast_calls_replicated_total").increment(count as u64);
    histogram!("holdfast_replication_seconds").record(took.as_secs_f64());
}

/// Whether the store takes answered calls.
pub fn keeping(is_keeping: bool) {
    gauge!("holdfast_replication_up").set(if is_keeping { 1.0 } else { 0.0 });
}

/// Nodes that are alive, this one included.
pub fn nodes(count: usize) {
    gauge!("holdfast_nodes").set(count as f64);
}

/// Records that wait on disk for the store.
pub fn spooled(octets: u64) {
    gauge!("holdfast_spool_octets").set(octets as f64);
}

/// Records that the store will never take, kept aside.
pub fn records_refused(count: u64) {
    counter!("holdfast_records_refused_total").increment(count);
}

fn describe() {
    describe_counter!("holdfast_messages_received_total", "Datagrams given to the engine");
    describe_counter!("holdfast_messages_sent_total", "Messages sent, retransmissions included");
    describe_counter!(
        "holdfast_messages_not_sip_total",
        "Datagrams that were not SIP, or that nothing could be answered to"
    );
    describe_counter!(
        "holdfast_requests_malformed_total",
        "Requests refused for what they are (400, 505 …)"
    );
    describe_counter!("holdfast_responses_stray_total", "Responses without a transaction of ours");
    describe_counter!(
        "holdfast_calls_offered_total",
        "INVITEs that became calls, refused ones included"
    );
    describe_counter!("holdfast_calls_answered_total", "Calls answered with 2xx");
    describe_counter!(
        "holdfast_calls_ended_total",
        "Calls on record, by end_cause and class of the final response"
    );
    describe_counter!(
        "holdfast_calls_over_limit_total",
        "INVITEs answered 503 because max_calls were in progress"
    );
    describe_counter!(
        "holdfast_calls_over_customer_limit_total",
        "INVITEs answered 503 because their customer had as many calls, or as many a second, as it may"
    );
    describe_counter!(
        "holdfast_calls_refused_overload_total",
        "INVITEs answered 503 because a shard had more to do than it can (overload_wait_ms)"
    );
    describe_counter!(
        "holdfast_calls_without_capacity_total",
        "Calls refused because no gateway of their route had room in time"
    );
    describe_counter!(
        "holdfast_calls_refused_region_total",
        "Calls refused because no gateway in the region they must stay in could take them"
    );
    describe_counter!(
        "holdfast_strangers_unrecorded_total",
        "INVITEs of unknown addresses that were refused without a record, for there were too many"
    );
    describe_counter!(
        "holdfast_unknown_dropped_total",
        "Requests of unknown addresses that were not answered (unknown_sources = drop)"
    );
    describe_counter!(
        "holdfast_floods_dropped_total",
        "Requests of unknown addresses that were not answered, for those send too many (flood_per_s)"
    );
    describe_counter!(
        "holdfast_scanners_dropped_total",
        "Requests of scanners that were not answered (scanner_agents)"
    );
    describe_counter!(
        "holdfast_answers_too_long_total",
        "Requests of unknown addresses by UDP that were not answered, for the answer would be longer"
    );
    describe_counter!("holdfast_attempts_started_total", "INVITEs sent to carriers");
    describe_counter!(
        "holdfast_transfers_total",
        "Transfers carried out here, and dialogs that others have taken the place of (Replaces)"
    );
    describe_counter!(
        "holdfast_attempts_total",
        "Attempts on record, by carrier, gateway and failure class"
    );
    describe_gauge!("holdfast_connections", "TCP and TLS connections, by who opened them");
    describe_counter!(
        "holdfast_connections_opened_total",
        "TCP and TLS connections so far, by who opened them"
    );
    describe_counter!(
        "holdfast_connections_closed_total",
        "Connections closed, or never come about, by reason"
    );
    describe_counter!(
        "holdfast_connections_turned_away_total",
        "Connections beyond max_connections or max_connections_per_source"
    );
    describe_counter!("holdfast_connection_pings_total", "Keep-alive pings sent (RFC 5626)");
    describe_counter!(
        "holdfast_stream_messages_unsent_total",
        "Messages for TCP or TLS that found the hub's mailbox full"
    );
    describe_counter!("holdfast_retransmissions_sent_total", "Messages sent again");
    describe_counter!("holdfast_retransmissions_received_total", "Messages that came again");
    describe_counter!(
        "holdfast_late_answers_total",
        "Answers of carriers that had been left, each acknowledged and hung up"
    );
    describe_counter!("holdfast_probes_sent_total", "OPTIONS probes sent");
    describe_counter!(
        "holdfast_registrations_refused_total",
        "REGISTERs that were refused, or not answered"
    );
    describe_counter!(
        "holdfast_challenges_answered_total",
        "Requests sent again with the credentials that a carrier asked for"
    );
    describe_counter!("holdfast_challenges_sent_total", "INVITEs answered 401");
    describe_counter!("holdfast_authentications_failed_total", "INVITEs with wrong credentials");
    describe_counter!(
        "holdfast_authentications_blocked_total",
        "INVITEs answered 403 unread, for too many wrong credentials came from their address"
    );
    describe_counter!("holdfast_keep_alives_total", "Keep-alive datagrams");
    describe_counter!(
        "holdfast_datagrams_unsent_total",
        "Datagrams that the kernel had no room for"
    );
    describe_counter!(
        "holdfast_datagrams_undelivered_total",
        "Datagrams for another shard whose mailbox was full"
    );
    describe_counter!(
        "holdfast_datagrams_overflowed_total",
        "Datagrams dropped by the kernel because the receive buffer was full"
    );
    describe_counter!(
        "holdfast_datagrams_stale_total",
        "Datagrams that would have begun something, and had waited while the node stood still"
    );
    describe_counter!(
        "holdfast_outcomes_dropped_total",
        "Outcomes that the health board had no room for"
    );
    describe_counter!(
        "holdfast_records_lost_total",
        "Records lost because store, spool and backlog were full"
    );
    describe_counter!(
        "holdfast_calls_adopted_total",
        "Calls taken over from another node, or from an earlier run of this one"
    );
    describe_counter!(
        "holdfast_calls_released_total",
        "Calls that another node has taken over, or was given, forgotten here"
    );
    describe_counter!(
        "holdfast_requests_passed_on_total",
        "Requests within dialogs of another node that were sent on to it"
    );
    describe_counter!(
        "holdfast_answers_unreplicated_total",
        "Answers that went out before another node could have gone on with their call"
    );
    describe_counter!("holdfast_calls_replicated_total", "States of answered calls written");
    describe_histogram!("holdfast_replication_seconds", "Writing a batch of such states");
    describe_gauge!("holdfast_replication_up", "1 = the store takes answered calls");
    describe_gauge!("holdfast_nodes", "Nodes that are alive, this one included");
    describe_counter!("holdfast_records_written_total", "Records written to the store");
    describe_counter!(
        "holdfast_records_refused_total",
        "Records that the store refused for what is in them, kept in the spool folder"
    );
    describe_counter!(
        "holdfast_records_spooled_total",
        "Records put on disk, before the store has them"
    );
    describe_counter!(
        "holdfast_spool_unreadable_total",
        "Torn or spoilt lines of the spool, kept in files that end in .unreadable"
    );
    describe_counter!(
        "holdfast_probe_results_dropped_total",
        "Probe results that are not in the store, since it was away or behind with records"
    );
    describe_counter!("holdfast_tables_loaded_total", "Times that new tables came into force");
    describe_gauge!("holdfast_calls", "Calls in progress");
    describe_gauge!("holdfast_calls_talking", "Answered calls in progress");
    describe_gauge!("holdfast_client_transactions", "Client transactions now");
    describe_gauge!("holdfast_server_transactions", "Server transactions now");
    describe_gauge!("holdfast_strays", "Attempts left behind that may still answer");
    describe_gauge!("holdfast_dialogs", "Dialogs now, early ones included");
    describe_gauge!("holdfast_channels", "Channels of gateways in use, attempts included");
    describe_gauge!(
        "holdfast_registrations",
        "Registrations with carriers, wanted, held or being ended"
    );
    describe_gauge!(
        "holdfast_gateway_registered",
        "Of gateways that want a registration: 1 while we have one"
    );
    describe_gauge!("holdfast_timers", "Deadlines in the queue");
    describe_gauge!(
        "holdfast_records_waiting",
        "Records that wait in a shard for room in the recorder's queue"
    );
    describe_gauge!("holdfast_gateway_up", "1 up or unknown, 0.5 suspect or half open, 0 down");
    describe_gauge!(
        "holdfast_gateway_failure_rate",
        "Estimated share of attempts that fail by the carrier's fault"
    );
    describe_gauge!(
        "holdfast_gateway_latency_seconds",
        "INVITE or OPTIONS to first response, smoothed towards the worst; 0 = never measured"
    );
    describe_gauge!(
        "holdfast_gateway_headroom",
        "Free share of the tightest limit of a gateway and its carrier, learned ones included"
    );
    describe_gauge!(
        "holdfast_asr",
        "Answer-seizure ratio of the last hour, all nodes: answered by attempts; NaN = no attempt"
    );
    describe_gauge!(
        "holdfast_ner",
        "Network effectiveness ratio of the last hour, all nodes: answered or failed by the called \
         party, by attempts; NaN = no attempt"
    );
    describe_gauge!(
        "holdfast_acd_seconds",
        "Average duration of the calls answered in the last hour, all nodes; NaN = none"
    );
    describe_gauge!(
        "holdfast_post_dial_delay_seconds",
        "INVITE to ringing or answer in the last hour, on average, all nodes; NaN = nothing rang"
    );
    describe_gauge!(
        "holdfast_short_call_share",
        "Share of the calls answered in the last hour that were over within 6 seconds, all nodes; NaN = none"
    );
    describe_gauge!("holdfast_tables_version", "Version of the tables in force");
    describe_gauge!(
        "holdfast_config_errors",
        "Rows refused now; the tables before them stay in force"
    );
    describe_gauge!(
        "holdfast_config_warnings",
        "Rows in force that are hardly as they were meant; config_errors names them"
    );
    describe_gauge!("holdfast_store_up", "1 when the store answered last, 0 when it did not");
    describe_gauge!(
        "holdfast_store_server",
        "1 for the server of database_url that is used, 0 for the others"
    );
    describe_counter!(
        "holdfast_store_moves_total",
        "Times that another database server than before was found, or the same one promoted"
    );
    describe_gauge!("holdfast_spool_octets", "Records that wait on disk for the store");
    describe_histogram!(
        POST_DIAL_DELAY,
        "INVITE to the first ringing or answer that the caller got"
    );
    describe_histogram!(TALK, "Answer to end");
    describe_histogram!("holdfast_record_batch_seconds", "Time to write one batch of records");
}
