//! `case.toml`: one behaviour, as it is written down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::store::StoreKind;

/// The folder that this test target lives in.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-tests")
}

/// One behaviour.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The folder's name.
    #[serde(skip)]
    pub(crate) name: String,
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    /// What must hold, in a sentence.
    pub(crate) about: String,
    #[serde(default = "sqlite_only")]
    pub(crate) stores: Vec<StoreKind>,
    /// The whole case must be over by then.
    #[serde(default = "default_limit_s")]
    pub(crate) limit_s: u64,
    /// The case once for each of these, with its placeholders, which stand for themselves anywhere in `case.toml`: one
    /// named `tcp` is the case `<folder>_tcp`.
    #[serde(default, rename = "variant")]
    _variant: toml::Table,
    /// Placeholders of all its files.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, toml::Value>,
    /// What is different when `HOLDFAST_TEST_LONG` is set.
    pub(crate) long: Option<Long>,
    /// The parties that are the carriers of the one route, in the order in which they are tried.
    #[serde(default)]
    pub(crate) carriers: Vec<String>,
    /// On top of what `carriers` wrote, or all there is.
    #[serde(default)]
    pub(crate) sql: String,
    /// Holdfast's settings on top of the usual ones.
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, toml::Value>,
    /// What the name server says that Holdfast then asks, by name.
    #[serde(default)]
    pub(crate) dns: BTreeMap<String, Names>,
    #[serde(default)]
    pub(crate) party: BTreeMap<String, Party>,
    /// Nothing here: every caller is started, in order of name, and awaited.
    #[serde(default)]
    pub(crate) step: Vec<Step>,
    /// For each party all it sent (`>`) and received (`<`), in order.
    #[serde(default)]
    pub(crate) wire: BTreeMap<String, Vec<String>>,
    /// Probes are part of `wire` too.
    #[serde(default)]
    pub(crate) shows_probes: bool,
    /// What each of these parties and Holdfast speak by, all the time.
    #[serde(default)]
    pub(crate) transport: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) time: Vec<TimeCheck>,
    #[serde(default)]
    pub(crate) header: Vec<HeaderCheck>,
    #[serde(default)]
    pub(crate) count: Vec<CountCheck>,
    /// All calls on record, in order of their start.
    pub(crate) record: Option<Vec<RecordCheck>>,
    #[serde(default)]
    pub(crate) query: Vec<QueryCheck>,
    /// What Holdfast's log must have said (regular expressions).
    #[serde(default)]
    pub(crate) log: Vec<String>,
}

/// Records of one name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Names {
    pub(crate) a: Vec<String>,
    /// `PRIORITY WEIGHT PORT HOST`
    pub(crate) srv: Vec<String>,
}

/// What a case is read for first.
#[derive(Deserialize)]
struct Variants {
    #[serde(default)]
    variant: BTreeMap<String, BTreeMap<String, toml::Value>>,
}

/// A case in its full length.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Long {
    limit_s: u64,
    values: BTreeMap<String, toml::Value>,
}

/// Somebody that Holdfast talks to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Party {
    pub(crate) plays: Role,
    /// SIPp: a scenario of the case's folder or of `scenarios/`, without `.xml`.
    pub(crate) scenario: Option<String>,
    /// Kamailio: its configuration in the case's folder or in `scenarios/`.
    pub(crate) config: Option<String>,
    /// SIPp: how many calls it makes or takes; 0 for one that is ended when the case is over.
    #[serde(default = "one")]
    pub(crate) calls: u32,
    /// SIPp: calls begun each second.
    #[serde(default = "ten")]
    pub(crate) rate: u32,
    /// The number that a SIPp caller dials; a telephone's own number.
    #[serde(default = "default_called")]
    pub(crate) called: String,
    #[serde(default = "loopback")]
    pub(crate) address: String,
    /// What a telephone or a proxy speaks with Holdfast: `udp`, `tcp` or `tls`.
    #[serde(default = "udp")]
    pub(crate) transport: String,
    /// Where a caller sends its requests: another party instead of Holdfast.
    pub(crate) via: Option<String>,
    /// Not started before a step says so.
    #[serde(default)]
    pub(crate) late: bool,
    /// The exit code that SIPp must end with.
    #[serde(default)]
    pub(crate) exit: i32,
    /// More options for SIPp.
    #[serde(default)]
    pub(crate) options: Vec<String>,
    /// More placeholders for its scenario or configuration.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, toml::Value>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// SIPp with a scenario that begins by sending.
    Caller,
    /// SIPp with a scenario that begins by receiving.
    Carrier,
    /// A bound port that answers nothing.
    Silent,
    /// A port that nobody has bound.
    Closed,
    /// A socket that a `send` step writes single messages with.
    Datagrams,
    /// A proxy.
    Kamailio,
    /// Telephones.
    Baresip,
    Pjsua2,
    Linphone,
}

impl Role {
    pub(crate) fn is_telephone(self) -> bool {
        matches!(self, Self::Baresip | Self::Pjsua2 | Self::Linphone)
    }
}

/// One thing done, or awaited.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Start a party.
    Start(String),
    /// Wait until a SIPp party has ended as it should.
    Wait(String),
    /// End a party at once.
    Kill(String),
    SleepMs(u64),
    Sql(String),
    /// Wait until a query for one value gives it.
    Until(Until),
    /// Wait until a message has passed.
    See(See),
    /// Wait until a party has said something.
    Told(Told),
    Holdfast(HoldfastStep),
    Store(StoreStep),
    Send(SendStep),
    /// Give a command to a telephone: `dial`, `hold`, `resume`, `hangup`.
    Command(CommandStep),
    Http(HttpStep),
}

impl Step {
    pub(crate) fn of_store(&self) -> Option<StoreStep> {
        match self {
            Self::Store(step) => Some(*step),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Until {
    pub(crate) sql: String,
    pub(crate) is: String,
    pub(crate) within_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct See {
    /// As in `wire`: `carrier-b < INVITE`, with `#2` for the second one.
    pub(crate) message: String,
    pub(crate) within_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Told {
    pub(crate) party: String,
    /// Of what it wrote to its log (a regular expression).
    pub(crate) matches: String,
    pub(crate) within_ms: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HoldfastStep {
    Start,
    /// Start it without waiting for good tables.
    StartDegraded,
    /// SIGTERM, and go on at once.
    Drain,
    /// Wait for an exit with code 0.
    Ended,
    /// SIGKILL.
    Kill,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreStep {
    Stop,
    Start,
    /// It takes connections and answers nobody (Postgres only).
    Freeze,
    Thaw,
    /// It dies without a word, and its standby is the one that rows are looked for on (Postgres only).
    Die,
    /// The standby becomes the primary.
    Promote,
}

/// Sends the message in a file, then awaits an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendStep {
    pub(crate) from: String,
    /// A `.sip` file in the case's folder; its lines end in LF and are sent with CRLF.
    pub(crate) file: String,
    /// Start of the awaited status line after `SIP/2.0 `, e.g. `400`; nothing = wait for nothing;
    /// `silence` = no answer may come for a second.
    pub(crate) expect: Option<String>,
    /// Placeholders of this one message.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, toml::Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandStep {
    pub(crate) party: String,
    pub(crate) command: String,
    #[serde(default)]
    pub(crate) params: String,
}

/// Asks Holdfast's admin port until the answer is as it should be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpStep {
    pub(crate) path: String,
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) contains: String,
    pub(crate) within_ms: u64,
}

/// The time between two messages, each written as in `wire` behind its party.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimeCheck {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) at_most_ms: Option<u64>,
    #[serde(default)]
    pub(crate) at_least_ms: u64,
}

/// One header of one message.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderCheck {
    #[serde(rename = "in")]
    pub(crate) message: String,
    /// A header, or `request-uri`, `status-line`, `body`.
    pub(crate) name: String,
    pub(crate) is: Option<String>,
    pub(crate) matches: Option<String>,
    #[serde(default)]
    pub(crate) absent: bool,
    /// The same header of another message has the same value.
    pub(crate) same_as: Option<String>,
    pub(crate) differs_from: Option<String>,
}

/// How often a message passed, each retransmission counted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountCheck {
    pub(crate) of: String,
    #[serde(default)]
    pub(crate) at_least: usize,
    pub(crate) at_most: Option<usize>,
}

/// One row of `calls`: a text that starts with `~` is a regular expression; the empty text is null.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RecordCheck {
    /// Its rows of `call_attempts`, in order.
    pub(crate) attempts: Option<Vec<BTreeMap<String, toml::Value>>>,
    #[serde(flatten)]
    pub(crate) columns: BTreeMap<String, toml::Value>,
}

/// A query for one value, asked once Holdfast has ended.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryCheck {
    pub(crate) sql: String,
    pub(crate) is: String,
}

impl Case {
    /// Every case there is, the slowest first, so that none runs alone at the end.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let mut cases = Vec::new();
        for entry in std::fs::read_dir(root().join("cases"))? {
            let folder = entry?.path();
            if folder.join("case.toml").exists() {
                let loaded = Self::load_all(&folder)
                    .with_context(|| format!("in {}", folder.join("case.toml").display()))?;
                cases.extend(loaded);
            }
        }
        cases.sort_by_key(|case| (std::cmp::Reverse(case.limit_s), case.name.clone()));
        Ok(cases)
    }

    /// The case, or each of its variants.
    fn load_all(folder: &Path) -> Result<Vec<Self>> {
        let text = std::fs::read_to_string(folder.join("case.toml"))?;
        let Variants { variant } = toml::from_str(&text)?;
        if variant.is_empty() {
            return Ok(vec![Self::load(folder, &text)?]);
        }
        let of = |(name, values): (String, BTreeMap<String, toml::Value>)| {
            let fill = |text: String, (key, value): (&String, &toml::Value)| {
                text.replace(&format!("{{{{{key}}}}}"), &plain(value))
            };
            let mut case = Self::load(folder, &values.iter().fold(text.clone(), fill))?;
            case.name = format!("{}_{name}", case.name);
            case.values.extend(values);
            Ok(case)
        };
        variant.into_iter().map(of).collect()
    }

    fn load(folder: &Path, text: &str) -> Result<Self> {
        let mut case: Self = toml::from_str(text)?;
        let name = folder.file_name().context("a case has a folder")?;
        case.name = name.to_string_lossy().into_owned();
        case.folder = folder.to_owned();
        if let Some(long) = &case.long
            && std::env::var_os("HOLDFAST_TEST_LONG").is_some()
        {
            case.limit_s = long.limit_s;
            case.values.extend(long.values.clone());
        }
        ensure!(!case.about.is_empty(), "`about` says nothing");
        for name in case.carriers.iter().chain(case.wire.keys()) {
            ensure!(case.party.contains_key(name), "there is no party {name}");
        }
        ensure!(
            case.record.is_some() || !case.query.is_empty(),
            "neither `record` nor `query`: every case says what is on record"
        );
        Ok(case)
    }

    /// Whether a party is a carrier, or answers behind one.
    pub(crate) fn is_behind_carriers(&self, name: &str) -> bool {
        let party = &self.party[name];
        let is_carrier = |name: &str| self.carriers.iter().any(|carrier| carrier == name);
        is_carrier(name)
            || party.plays == Role::Carrier
            || party.via.as_deref().is_some_and(is_carrier)
    }

    /// A file of this case: its own, else a shared one.
    pub(crate) fn file(&self, name: &str) -> Result<PathBuf> {
        let own = self.folder.join(name);
        let shared = root().join("scenarios").join(name);
        [own, shared]
            .into_iter()
            .find(|path| path.exists())
            .with_context(|| format!("{name} is neither in the case's folder nor in scenarios/"))
    }
}

/// A TOML value as SQL, a scenario or the environment would have it.
pub(crate) fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Table(_) => value.to_string(),
    }
}

fn sqlite_only() -> Vec<StoreKind> {
    vec![StoreKind::Sqlite]
}

fn default_limit_s() -> u64 {
    60
}

fn one() -> u32 {
    1
}

fn ten() -> u32 {
    10
}

fn default_called() -> String {
    "+4930123456".to_owned()
}

fn udp() -> String {
    "udp".to_owned()
}

fn loopback() -> String {
    "127.0.0.1".to_owned()
}
