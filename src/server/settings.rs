//! Settings: raw texts from a file, the environment and flags; then checked, all at once.

mod listen;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::call::SessionPolicy;
use crate::call::session_timer::MIN_SE_S;
use crate::carrier::Transport;
use crate::carrier::class::spelled;
use crate::net::stream::Limits;
use crate::net::stream::tls::TlsFiles;
use crate::routing::Reach;
use crate::telemetry::{log, redact};

/// One setting as the file, the environment (`HOLDFAST_` and its name in capitals), the flags
/// (`--` and its name with dashes) and the documentation know it.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub name: &'static str,
    /// What holds where nothing is set, as it would be written; empty = nothing.
    pub default: &'static str,
    /// What a value looks like.
    pub shape: &'static str,
    pub about: &'static str,
}

/// Every setting there is.
pub const KNOWN: &[Known] = &[
    Known {
        name: "listen",
        default: "udp:0.0.0.0:5060",
        shape: "udp|tcp|tls:ADDRESS:PORT[ as HOST:PORT][ mutual],…",
        about: "Where SIP comes in and goes out; `as` says how peers see it (Via, Contact), needed where \
                the address is 0.0.0.0 or ::; `mutual` lets only TLS clients in whose certificate \
                tls_client_ca has signed",
    },
    Known {
        name: "tls_certificate",
        default: "",
        shape: "FILE",
        about: "Our certificate chain, ours first (PEM); needed where `listen` names tls; shown to callers, and \
                to carriers that ask; read again when it changes",
    },
    Known {
        name: "tls_key",
        default: "",
        shape: "FILE",
        about: "The private key of tls_certificate (PEM)",
    },
    Known {
        name: "tls_ca",
        default: "",
        shape: "FILE",
        about: "Authorities that carriers' certificates must come from (PEM); those that browsers trust where empty",
    },
    Known {
        name: "tls_client_ca",
        default: "",
        shape: "FILE",
        about: "Authorities that callers' certificates must come from on a `mutual` listener (PEM)",
    },
    Known {
        name: "tls_key_log",
        default: "",
        shape: "FILE",
        about: "Where the secrets of TLS connections are written, so that a capture of them can be read; whoever has \
                that file reads everything",
    },
    Known {
        name: "max_connections",
        default: "500",
        shape: "COUNT",
        about: "TCP and TLS connections that others open, at a time; we open no more than as many",
    },
    Known {
        name: "max_connections_per_source",
        default: "50",
        shape: "COUNT",
        about: "Of those, from one address (IPv6: one /64)",
    },
    Known {
        name: "connection_idle_s",
        default: "3600",
        shape: "SECONDS",
        about: "A connection that others opened, or that is no gateway's, is closed after so long without a word",
    },
    Known {
        name: "connection_message_s",
        default: "10",
        shape: "SECONDS",
        about: "A TLS handshake and the first message, and each later message, must be whole within this",
    },
    Known {
        name: "database_url",
        default: "sqlite:holdfast.db",
        shape: "URL",
        about: "The store: postgres://user:password@host/database, several hosts as a:5432,b:5432 (the one that takes \
                writes is used), or sqlite:path",
    },
    Known {
        name: "admin_listen",
        default: "127.0.0.1:9060",
        shape: "ADDRESS:PORT",
        about: "Where /healthz, /readyz and /metrics are served (HTTP)",
    },
    Known {
        name: "node_name",
        default: "holdfast",
        shape: "NAME",
        about: "This node's name in records, health and config_errors; different for each node of a cluster",
    },
    Known {
        name: "cluster_key",
        default: "",
        shape: "TEXT",
        about: "Secret that spreads Call-IDs over shards and makes nonces, the same on every node of a cluster; \
                drawn at start where empty",
    },
    Known {
        name: "shards",
        default: "0",
        shape: "COUNT",
        about: "Threads that carry calls; 0 = one for each two processors",
    },
    Known {
        name: "max_calls",
        default: "50000",
        shape: "COUNT",
        about: "Calls in progress on this node; more are answered 503",
    },
    Known {
        name: "max_call_duration_s",
        default: "0",
        shape: "SECONDS",
        about: "Answered calls are ended after this time; 0 = never",
    },
    Known {
        name: "overload_wait_ms",
        default: "0",
        shape: "MILLISECONDS",
        about: "Messages may wait for a shard so long; above that a share of new calls is answered 503; try 100; 0 = never",
    },
    Known {
        name: "session_expires_s",
        default: "1800",
        shape: "SECONDS",
        about: "How long a leg stands without a refresh, as we ask for it (RFC 4028); 0 = not asked for",
    },
    Known {
        name: "min_se_s",
        default: "90",
        shape: "SECONDS",
        about: "The shortest session interval that we take; shorter ones are answered 422",
    },
    Known {
        name: "retry_after_s",
        default: "5",
        shape: "SECONDS",
        about: "Retry-After of our own 503",
    },
    Known {
        name: "probe_timeout_ms",
        default: "1800",
        shape: "MILLISECONDS",
        about: "How long an OPTIONS probe waits for a response",
    },
    Known {
        name: "name_servers",
        default: "",
        shape: "ADDRESS[:PORT],…",
        about: "Who is asked for the names of gateways; where empty, the name servers of /etc/resolv.conf",
    },
    Known {
        name: "drain_timeout_s",
        default: "300",
        shape: "SECONDS",
        about: "How long SIGTERM lets calls in progress go on before they are ended",
    },
    Known {
        name: "region",
        default: "",
        shape: "REGION",
        about: "Where this node stands, such as eu: of other nodes' calls it takes over those of this region and \
                those of none; empty = any",
    },
    Known {
        name: "replicate",
        default: "on",
        shape: "on|off",
        about: "Answered calls are kept in the store, so that another node, or the next run, goes on with them",
    },
    Known {
        name: "replicate_wait_ms",
        default: "50",
        shape: "MILLISECONDS",
        about: "How long an answer waits for that at most before the caller gets it all the same",
    },
    Known {
        name: "takeover_legs_per_s",
        default: "200",
        shape: "COUNT",
        about: "Peers told a second that their call has moved; more where all could not be told within 8 s",
    },
    Known {
        name: "spool_dir",
        default: "spool",
        shape: "FOLDER",
        about: "Where records are until the store has them, and the last good tables and health",
    },
    Known {
        name: "spool_max_mib",
        default: "1024",
        shape: "MIB",
        about: "Records on disk at most",
    },
    Known {
        name: "record_queue",
        default: "10000",
        shape: "COUNT",
        about: "Records in memory on their way to the store",
    },
    Known {
        name: "keep_probe_results_h",
        default: "24",
        shape: "HOURS",
        about: "Rows of probe_results older than this are deleted",
    },
    Known {
        name: "keep_calls_d",
        default: "0",
        shape: "DAYS",
        about: "Rows of calls older than this are deleted; 0 = never",
    },
    Known {
        name: "log_format",
        default: "text",
        shape: "text|json",
        about: "How a line of the log is written",
    },
    Known {
        name: "log_filter",
        default: "info",
        shape: "FILTER",
        about: "What is logged, e.g. info,holdfast::shard=debug",
    },
    Known {
        name: "user_agent",
        default: concat!("holdfast/", env!("CARGO_PKG_VERSION")),
        shape: "TEXT",
        about: "User-Agent and Server in what we send",
    },
];

/// The environment variable that names the file of settings; a flag wins over it.
pub const CONFIG_VARIABLE: &str = "HOLDFAST_CONFIG";
const PREFIX: &str = "HOLDFAST_";
/// Name servers that are asked.
const MAX_NAME_SERVERS: usize = 8;

/// Checked settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub listeners: Vec<ListenerSettings>,
    pub tls: TlsFiles,
    pub streams: Limits,
    pub database_url: String,
    pub admin_listen: SocketAddr,
    pub node_name: String,
    pub cluster_key: Option<String>,
    pub shards: usize,
    pub max_calls: usize,
    pub max_call_duration: Option<Duration>,
    pub session: SessionPolicy,
    pub retry_after_s: u32,
    pub overload_wait: Option<Duration>,
    pub probe_timeout: Duration,
    /// Empty = those of the system's configuration.
    pub name_servers: Vec<SocketAddr>,
    pub drain_timeout: Duration,
    pub region: Option<String>,
    pub replicate: bool,
    pub replicate_wait: Duration,
    pub takeover_legs_per_s: u32,
    pub spool_dir: PathBuf,
    pub spool_max_octets: u64,
    pub record_queue: usize,
    pub keep_probe_results: Duration,
    pub keep_calls: Option<Duration>,
    pub log_format: log::Format,
    pub log_filter: String,
    pub user_agent: String,
}

impl Settings {
    /// What the listeners reach.
    pub fn reach(&self) -> Reach {
        self.listeners.iter().fold(Reach::default(), |reach, listener| {
            reach.and(listener.transport, listener.address.is_ipv4())
        })
    }
}

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    pub transport: Transport,
    pub address: SocketAddr,
    /// `host:port` in Via and Contact.
    pub advertised: String,
    /// TLS: no client without a certificate.
    pub is_mutual: bool,
}

spelled! {
    /// Where a value came from; later ones win.
    Source {
        Default = "default",
        File = "file",
        Environment = "environment",
        Flag = "flag",
    }
}

/// A value that is not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    text: String,
    source: Source,
}

/// Everything that was given, not checked yet.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    values: BTreeMap<&'static str, Value>,
    wrong: Vec<String>,
}

/// All that is wrong with the settings, a line each.
#[derive(Debug, thiserror::Error)]
pub struct SettingsError(pub Vec<String>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings make no sense:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl Raw {
    /// Takes a TOML file. Lists are written as TOML lists, or as one text with commas.
    pub fn add_file(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.add_toml(&text, &path.display().to_string()),
            Err(error) => self.wrong.push(format!("{}: {error}", path.display())),
        }
    }

    fn add_toml(&mut self, text: &str, place: &str) {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return self.wrong.push(format!("{place}: {error}")),
        };
        for (name, value) in &table {
            match plain(value) {
                Some(text) => self.set(name, text, Source::File, place),
                None => self
                    .wrong
                    .push(format!("{place}: {name} is neither a text, a number nor a list")),
            }
        }
    }

    /// Takes the variables that begin with `HOLDFAST_`.
    pub fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (variable, text) in variables {
            match variable.strip_prefix(PREFIX) {
                Some(_) if variable == CONFIG_VARIABLE => {}
                Some(name) => {
                    self.set(&name.to_lowercase(), text, Source::Environment, &variable);
                }
                None => {}
            }
        }
    }

    /// Takes a flag's value.
    pub fn add_flag(&mut self, name: &str, text: String) {
        self.set(name, text, Source::Flag, "flags");
    }

    fn set(&mut self, name: &str, text: String, source: Source, place: &str) {
        match KNOWN.iter().find(|known| known.name == name) {
            Some(known) => {
                self.values.insert(known.name, Value { text, source });
            }
            None => {
                self.wrong.push(format!("{place}: there is no setting {name}{}", nearest(name)))
            }
        }
    }

    /// Checks everything; nothing is bound or opened.
    pub fn check(&self) -> Result<Settings, SettingsError> {
        let mut check = Check { raw: self, wrong: self.wrong.clone() };
        let settings = Settings {
            listeners: check.listeners(),
            tls: check.tls(),
            streams: check.streams(),
            database_url: check.database_url(),
            admin_listen: check.parsed("admin_listen", "ADDRESS:PORT, such as 127.0.0.1:9060"),
            node_name: check.node_name(),
            cluster_key: Some(check.text("cluster_key").to_owned()).filter(|key| !key.is_empty()),
            shards: check.within("shards", 0, 64),
            max_calls: check.within("max_calls", 1, 10_000_000),
            max_call_duration: Some(check.within("max_call_duration_s", 0, 31_536_000))
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            session: check.session(),
            retry_after_s: check.within("retry_after_s", 0, 3_600),
            overload_wait: Some(check.within("overload_wait_ms", 0, 10_000))
                .filter(|milliseconds| *milliseconds > 0)
                .map(Duration::from_millis),
            probe_timeout: Duration::from_millis(check.within("probe_timeout_ms", 100, 30_000)),
            name_servers: check.name_servers(),
            drain_timeout: Duration::from_secs(check.within("drain_timeout_s", 0, 86_400)),
            region: check.region(),
            replicate: check.is_on("replicate"),
            replicate_wait: Duration::from_millis(check.within("replicate_wait_ms", 0, 5_000)),
            takeover_legs_per_s: check.within("takeover_legs_per_s", 1, 100_000),
            spool_dir: check.text("spool_dir").into(),
            spool_max_octets: check.within("spool_max_mib", 1_u64, 1 << 20) * 1024 * 1024,
            record_queue: check.within("record_queue", 100, 1_000_000),
            keep_probe_results: Duration::from_secs(
                3_600 * check.within("keep_probe_results_h", 1_u64, 8_760),
            ),
            keep_calls: Some(check.within("keep_calls_d", 0_u64, 36_500))
                .filter(|days| *days > 0)
                .map(|days| Duration::from_secs(86_400 * days)),
            log_format: check.log_format(),
            log_filter: check.log_filter(),
            user_agent: check.user_agent(),
        };
        if check.wrong.is_empty() { Ok(settings) } else { Err(SettingsError(check.wrong)) }
    }

    /// Name, value (secrets hidden) and source of every setting, in the order of [`KNOWN`].
    pub fn effective(&self) -> impl Iterator<Item = (&'static str, String, Source)> + '_ {
        KNOWN.iter().map(|known| {
            let (text, source) = self.value(known);
            let shown = match known.name {
                "database_url" => redact::url(text),
                "cluster_key" if !text.is_empty() => "***".to_owned(),
                _ => text.to_owned(),
            };
            (known.name, shown, source)
        })
    }

    fn value(&self, known: &Known) -> (&str, Source) {
        match self.values.get(known.name) {
            Some(value) => (&value.text, value.source),
            None => (known.default, Source::Default),
        }
    }
}

impl Settings {
    /// Shards to start on a machine with so many processors.
    pub fn shard_count(&self, processors: usize) -> usize {
        match self.shards {
            0 => (processors / 2).max(1),
            count => count,
        }
    }
}

struct Check<'a> {
    raw: &'a Raw,
    wrong: Vec<String>,
}

impl<'a> Check<'a> {
    fn text(&self, name: &str) -> &'a str {
        let known = KNOWN.iter().find(|known| known.name == name);
        self.raw.value(known.expect("every setting that is checked is in KNOWN")).0.trim()
    }

    fn refuse(&mut self, name: &str, reason: &str) {
        let text = match name {
            "database_url" => redact::url(self.text(name)),
            "cluster_key" => "***".to_owned(),
            _ => self.text(name).to_owned(),
        };
        let source = self.raw.values.get(name).map_or(Source::Default, |value| value.source);
        self.wrong.push(format!("{name} = '{text}' ({source}): {reason}"));
    }

    fn parsed<T: std::str::FromStr + DefaultForRefused>(&mut self, name: &str, shape: &str) -> T {
        match self.text(name).parse() {
            Ok(value) => value,
            Err(_) => {
                self.refuse(name, &format!("it must be {shape}"));
                T::placeholder()
            }
        }
    }

    fn within<T: std::str::FromStr + Copy + PartialOrd + fmt::Display>(
        &mut self,
        name: &str,
        low: T,
        high: T,
    ) -> T {
        match self.text(name).parse() {
            Ok(value) if low <= value && value <= high => value,
            Ok(_) | Err(_) => {
                self.refuse(name, &format!("it must be a number from {low} to {high}"));
                low
            }
        }
    }

    fn name_servers(&mut self) -> Vec<SocketAddr> {
        const PORT: u16 = 53;
        let texts = self.text("name_servers").split(',').map(str::trim);
        let mut servers = Vec::new();
        for text in texts.filter(|text| !text.is_empty()) {
            match text.parse().or_else(|_| text.parse::<IpAddr>().map(|ip| (ip, PORT).into())) {
                Ok(server) => servers.push(server),
                Err(_) => self.refuse(
                    "name_servers",
                    &format!("'{text}' is neither ADDRESS nor ADDRESS:PORT, such as 192.0.2.53:53"),
                ),
            }
        }
        if servers.len() > MAX_NAME_SERVERS {
            self.refuse("name_servers", &format!("{MAX_NAME_SERVERS} name servers at most"));
        }
        servers
    }

    fn is_on(&mut self, name: &str) -> bool {
        match self.text(name) {
            "on" => true,
            "off" => false,
            _ => {
                self.refuse(name, "it must be on or off");
                false
            }
        }
    }

    fn region(&mut self) -> Option<String> {
        let region = self.text("region");
        let is_right = |octet: u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if region.len() > 32 || !region.bytes().all(is_right) {
            self.refuse("region", "it must be lower case letters, digits and dashes, 32 at most");
        }
        Some(region.to_owned()).filter(|region| !region.is_empty())
    }

    fn database_url(&mut self) -> String {
        let url = self.text("database_url");
        let path = url.strip_prefix("sqlite:");
        let is_known = path.is_some_and(|path| !path.trim_start_matches("//").is_empty())
            || ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        if !is_known {
            self.refuse(
                "database_url",
                "it must be postgres://user:password@host/database or sqlite:path",
            );
        }
        url.to_owned()
    }

    fn session(&mut self) -> SessionPolicy {
        let longest_s = 31_536_000;
        let session_expires_s = self.within("session_expires_s", 0, longest_s);
        if (1..MIN_SE_S).contains(&session_expires_s) {
            self.refuse("session_expires_s", "it must be 0, or 90 and more");
        }
        let min_se_s = self.within("min_se_s", MIN_SE_S, longest_s);
        SessionPolicy { session_expires_s, min_se_s }
    }

    fn node_name(&mut self) -> String {
        let name = self.text("node_name");
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
        if name.is_empty() || name.len() > 63 || !name.bytes().all(is_plain) {
            self.refuse("node_name", "it must be 1 to 63 letters, digits, '-', '_' or '.'");
        }
        name.to_owned()
    }

    fn log_format(&mut self) -> log::Format {
        log::Format::from_text(self.text("log_format")).unwrap_or_else(|| {
            self.refuse("log_format", "it must be text or json");
            log::Format::Text
        })
    }

    fn log_filter(&mut self) -> String {
        let filter = self.text("log_filter");
        if let Err(error) = log::check_filter(filter) {
            self.refuse("log_filter", &error);
        }
        filter.to_owned()
    }

    fn user_agent(&mut self) -> String {
        let text = self.text("user_agent");
        let is_printable = |octet: u8| (b' '..=b'~').contains(&octet);
        if text.is_empty() || text.len() > 200 || !text.bytes().all(is_printable) {
            self.refuse("user_agent", "it must be 1 to 200 printable ASCII characters");
        }
        text.to_owned()
    }
}

/// What stands in for a value that was refused; never used, since the check then fails.
trait DefaultForRefused {
    fn placeholder() -> Self;
}

impl DefaultForRefused for SocketAddr {
    fn placeholder() -> Self {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(values) => {
            values.iter().map(plain).collect::<Option<Vec<_>>>().map(|values| values.join(","))
        }
        toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Table(_) => None,
    }
}

/// `; did you mean …?` where a known name is near.
fn nearest(name: &str) -> String {
    let distance = |known: &&Known| edit_distance(known.name, name);
    match KNOWN.iter().min_by_key(distance) {
        Some(known) if edit_distance(known.name, name) <= 3 => {
            format!("; did you mean {}?", known.name)
        }
        _ => "; `holdfast check` prints those that there are".to_owned(),
    }
}

fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
