//! Host names to addresses, away from any call: the last good answer stays until there is a better one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;

/// How long one look-up may take, retries included.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// Bounds of how long an answer is believed, whatever its TTL says.
const BELIEVED_AT_LEAST: Duration = Duration::from_secs(5);
const BELIEVED_AT_MOST: Duration = Duration::from_secs(300);
/// When a name that gave no answer is asked for again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Addresses of one name that are used; the rest are ignored.
const MAX_ADDRESSES: usize = 16;

/// What is known of the names that the tables speak of.
#[derive(Debug, Default)]
pub struct Names {
    known: HashMap<Arc<str>, Known>,
}

#[derive(Debug)]
struct Known {
    /// Sorted; empty as long as no answer has come.
    addresses: Vec<IpAddr>,
    ask_at: Instant,
    /// The last look-up failed: said once.
    is_failing: bool,
}

/// One answer, or why there is none.
#[derive(Debug)]
pub struct Answer {
    pub host: Arc<str>,
    pub result: Result<(Vec<IpAddr>, Duration), String>,
}

impl Names {
    /// Keeps exactly these names; new ones are to be asked for at once.
    pub fn set_hosts(&mut self, hosts: impl IntoIterator<Item = Arc<str>>, now: Instant) {
        let mut old = std::mem::take(&mut self.known);
        for host in hosts {
            let known = old.remove(&host);
            let new = || Known { addresses: Vec::new(), ask_at: now, is_failing: false };
            self.known.insert(host, known.unwrap_or_else(new));
        }
    }

    /// The addresses of a name or of a written address; empty while nothing is known.
    pub fn addresses(&self, host: &str) -> Vec<IpAddr> {
        match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.known.get(host).map(|known| known.addresses.clone()).unwrap_or_default(),
        }
    }

    /// Names whose answer has grown old; each is given once until [`take`](Self::take) tells of it.
    pub fn due(&mut self, now: Instant) -> Vec<Arc<str>> {
        let due = self.known.iter_mut().filter(|(_, known)| known.ask_at <= now);
        due.map(|(host, known)| {
            known.ask_at = now + 2 * LOOKUP_LIMIT;
            host.clone()
        })
        .collect()
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.known.values().map(|known| known.ask_at).min()
    }

    /// Takes an answer in; gives whether addresses have changed.
    pub fn take(&mut self, answer: Answer, now: Instant) -> bool {
        let Some(known) = self.known.get_mut(&answer.host) else { return false };
        match answer.result {
            Ok((mut addresses, ttl)) if !addresses.is_empty() => {
                if std::mem::take(&mut known.is_failing) {
                    tracing::info!(host = %answer.host, "the name resolves again");
                }
                addresses.sort_unstable();
                addresses.dedup();
                addresses.truncate(MAX_ADDRESSES);
                known.ask_at = now + ttl.clamp(BELIEVED_AT_LEAST, BELIEVED_AT_MOST);
                let is_changed = known.addresses != addresses;
                known.addresses = addresses;
                is_changed
            }
            other => {
                known.ask_at = now + ASK_AGAIN_AFTER;
                if !std::mem::replace(&mut known.is_failing, true) {
                    let error = other.err().unwrap_or_else(|| "no address".to_owned());
                    tracing::warn!(host = %answer.host, error, kept = known.addresses.len(),
                        "a gateway's name does not resolve; its last addresses stay in use");
                }
                false
            }
        }
    }
}

/// Asks the name servers of the system's configuration.
#[derive(Clone, Debug)]
pub struct Resolver {
    inner: Arc<TokioResolver>,
}

impl Resolver {
    /// The error says what of the system's configuration (`/etc/resolv.conf`) cannot be used.
    pub fn from_system() -> Result<Self, String> {
        let build = || TokioResolver::builder_tokio()?.build();
        match build() {
            Ok(resolver) => Ok(Self { inner: Arc::new(resolver) }),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A and AAAA of a name.
    pub async fn ask(&self, host: Arc<str>) -> Answer {
        let lookup = tokio::time::timeout(LOOKUP_LIMIT, self.inner.lookup_ip(&*host)).await;
        let result = match lookup {
            Ok(Ok(found)) => {
                let ttl = found.valid_until().saturating_duration_since(Instant::now());
                Ok((found.iter().collect(), ttl))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer in {} s", LOOKUP_LIMIT.as_secs())),
        };
        Answer { host, result }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(host: &str, addresses: &[&str], ttl_s: u64) -> Answer {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address"));
        Answer { host: host.into(), result: Ok((addresses.collect(), Duration::from_secs(ttl_s))) }
    }

    fn failure(host: &str) -> Answer {
        Answer { host: host.into(), result: Err("SERVFAIL".to_owned()) }
    }

    #[test]
    fn asks_for_new_names_at_once_and_again_when_their_answer_is_old() {
        let now = Instant::now();
        let mut names = Names::default();
        names.set_hosts(["a.example".into()], now);
        assert_eq!(names.due(now), ["a.example".into()]);
        assert_eq!(names.due(now), [], "it is being asked for");
        assert!(names.take(answer("a.example", &["192.0.2.1"], 60), now));
        assert_eq!(names.next_due(), Some(now + Duration::from_secs(60)));
        assert_eq!(names.addresses("a.example"), ["192.0.2.1".parse::<IpAddr>().expect("one")]);
    }

    #[test]
    fn keeps_the_last_good_answer_when_the_name_servers_fail() {
        let now = Instant::now();
        let mut names = Names::default();
        names.set_hosts(["a.example".into()], now);
        names.take(answer("a.example", &["192.0.2.2", "192.0.2.1"], 1), now);
        assert!(!names.take(failure("a.example"), now));
        assert!(!names.take(answer("a.example", &[], 60), now));
        assert_eq!(names.addresses("a.example").len(), 2);
        assert!(!names.take(answer("a.example", &["192.0.2.1", "192.0.2.2"], 60), now), "no news");
    }

    #[test]
    fn forgets_names_that_the_tables_do_not_speak_of_any_more() {
        let now = Instant::now();
        let mut names = Names::default();
        names.set_hosts(["a.example".into()], now);
        names.take(answer("a.example", &["192.0.2.1"], 60), now);
        names.set_hosts([], now);
        assert!(names.addresses("a.example").is_empty());
        assert!(!names.take(answer("a.example", &["192.0.2.1"], 60), now));
    }

    #[test]
    fn needs_nobody_for_a_written_address() {
        let names = Names::default();
        assert_eq!(names.addresses("2001:db8::1"), ["2001:db8::1".parse::<IpAddr>().expect("one")]);
    }

    #[test]
    fn believes_no_answer_for_less_than_seconds_or_more_than_minutes() {
        let now = Instant::now();
        let mut names = Names::default();
        names.set_hosts(["a.example".into()], now);
        names.take(answer("a.example", &["192.0.2.1"], 0), now);
        assert_eq!(names.next_due(), Some(now + BELIEVED_AT_LEAST));
        names.take(answer("a.example", &["192.0.2.1"], 86_400), now);
        assert_eq!(names.next_due(), Some(now + BELIEVED_AT_MOST));
    }
}
