//! What is known of the names that the tables speak of.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::locate::{Found, Place, Question};
use super::resolver::LOOKUP_LIMIT;
use crate::carrier::Gateway;
use crate::health::{Resolved, Srv, Target};

/// Bounds of how long an answer is believed, whatever its TTL says.
pub(super) const BELIEVED_AT_LEAST: Duration = Duration::from_secs(5);
pub(super) const BELIEVED_AT_MOST: Duration = Duration::from_secs(300);
/// When a name that gave no answer is asked for again.
pub(super) const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Names, their last good answers, and when to ask again.
#[derive(Debug, Default)]
pub struct Names {
    known: HashMap<Question, Known>,
}

#[derive(Debug)]
struct Known {
    /// The last good answer, and what it makes; empty as long as none has come.
    found: Found,
    places: Vec<Place>,
    ask_at: Instant,
    /// An answer has come, be it good or not.
    is_answered: bool,
    /// The last look-up failed: said once.
    is_failing: bool,
}

/// One answer, or why there is none.
#[derive(Debug)]
pub struct Answer {
    pub question: Question,
    /// And how long it is good for.
    pub result: Result<(Found, Duration), String>,
}

impl Known {
    fn new(now: Instant) -> Self {
        let found = Found::Addresses(Vec::new());
        Self { found, places: Vec::new(), ask_at: now, is_answered: false, is_failing: false }
    }
}

impl Names {
    /// Keeps exactly these questions; new ones are to be asked at once.
    pub fn set_questions(&mut self, questions: impl IntoIterator<Item = Question>, now: Instant) {
        let mut old = std::mem::take(&mut self.known);
        for question in questions {
            if self.known.contains_key(&question) {
                continue;
            }
            let known = old.remove(&question);
            self.known.insert(question, known.unwrap_or_else(|| Known::new(now)));
        }
    }

    /// The targets of a gateway; empty while nothing is known of its name.
    pub fn targets_of(&self, gateway: &Gateway) -> Vec<Resolved> {
        let target = |address: IpAddr, port: Option<u16>, srv: Srv| {
            let address = SocketAddr::new(address, port.unwrap_or(gateway.port));
            Resolved { target: Target { gateway_id: gateway.id, address }, srv }
        };
        if let Ok(address) = gateway.host.parse() {
            return vec![target(address, None, Srv::default())];
        }
        let known = Question::of(gateway).and_then(|question| self.known.get(&question));
        let places = known.map(|known| known.places.as_slice()).unwrap_or_default();
        places.iter().map(|place| target(place.address, place.port, place.srv)).collect()
    }

    /// Questions whose answer has grown old; each is given once until [`take`](Self::take) tells of it.
    pub fn due(&mut self, now: Instant) -> Vec<Question> {
        let due = self.known.iter_mut().filter(|(_, known)| known.ask_at <= now);
        due.map(|(question, known)| {
            known.ask_at = now + 2 * LOOKUP_LIMIT;
            question.clone()
        })
        .collect()
    }

    /// Whether of each name something is known, and be it that it does not resolve.
    pub fn are_answered(&self) -> bool {
        self.known.values().all(|known| known.is_answered)
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.known.values().map(|known| known.ask_at).min()
    }

    /// Takes an answer in; gives whether targets have changed.
    pub fn take(&mut self, answer: Answer, now: Instant) -> bool {
        let Some(known) = self.known.get_mut(&answer.question) else { return false };
        known.is_answered = true;
        let host = &answer.question.host;
        let good = answer.result.and_then(|(mut found, ttl)| {
            // A partial answer is soon asked for again.
            let ttl = if found.is_partial() { Duration::ZERO } else { ttl };
            found.fill_from(&known.found);
            match found.places() {
                places if places.is_empty() => Err("no address".to_owned()),
                places => Ok((found, places, ttl)),
            }
        });
        match good {
            Ok((found, places, ttl)) => {
                if std::mem::take(&mut known.is_failing) {
                    tracing::info!(%host, "the name resolves again");
                }
                known.ask_at = now + ttl.clamp(BELIEVED_AT_LEAST, BELIEVED_AT_MOST);
                known.found = found;
                let is_changed = known.places != places;
                known.places = places;
                is_changed
            }
            Err(error) => {
                known.ask_at = now + ASK_AGAIN_AFTER;
                if !std::mem::replace(&mut known.is_failing, true) {
                    tracing::warn!(%host, error, kept = known.places.len(),
                        "a gateway's name does not resolve; its last addresses stay in use");
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::rows::{CarrierRow, GatewayRow};
    use crate::carrier::{GatewayId, Rows, Tables};
    use crate::net::dns::Record;

    fn gateway(host: &str, dns: &str) -> std::sync::Arc<Gateway> {
        let carrier = CarrierRow { carrier_id: 1, name: "a".to_owned(), ..CarrierRow::default() };
        let gateway = GatewayRow {
            gateway_id: 1,
            carrier_id: 1,
            name: "a".to_owned(),
            host: host.to_owned(),
            port: 5090,
            dns: dns.to_owned(),
            ..GatewayRow::default()
        };
        let rows = Rows { carriers: vec![carrier], gateways: vec![gateway], ..Rows::default() };
        Tables::check(rows, 1).expect("sense").gateway(GatewayId(1)).expect("it is there").clone()
    }

    /// Names that know nothing of this gateway's name yet, but that it is there.
    fn names_of(gateway: &Gateway, now: Instant) -> Names {
        let mut names = Names::default();
        names.set_questions(Question::of(gateway), now);
        names
    }

    fn addresses(list: &[&str], ttl_s: u64) -> Result<(Found, Duration), String> {
        let list = list.iter().map(|address| address.parse().expect("an address"));
        Ok((Found::Addresses(list.collect()), Duration::from_secs(ttl_s)))
    }

    fn services(list: &[(&str, u16, &[&str])]) -> Result<(Found, Duration), String> {
        let service = |(host, port, list): &(&str, u16, &[&str])| {
            let record = Record { priority: 1, weight: 1, port: *port, host: (*host).into() };
            (record, list.iter().map(|address| address.parse().expect("an address")).collect())
        };
        Ok((Found::Services(list.iter().map(service).collect()), Duration::from_secs(60)))
    }

    fn answer(gateway: &Gateway, result: Result<(Found, Duration), String>) -> Answer {
        Answer { question: Question::of(gateway).expect("a name"), result }
    }

    fn written(names: &Names, gateway: &Gateway) -> Vec<String> {
        let text = |resolved: Resolved| resolved.target.address.to_string();
        names.targets_of(gateway).into_iter().map(text).collect()
    }

    #[test]
    fn asks_for_new_names_at_once_and_again_when_their_answer_is_old() {
        let now = Instant::now();
        let gateway = gateway("a.example", "address");
        let mut names = names_of(&gateway, now);
        let question = Question { host: "a.example".into(), service: None };
        assert_eq!(names.due(now), [question]);
        assert_eq!(names.due(now), [], "it is being asked for");
        assert!(!names.are_answered());
        assert!(names.take(answer(&gateway, addresses(&["192.0.2.1"], 60)), now));
        assert!(names.are_answered());
        assert_eq!(names.next_due(), Some(now + Duration::from_secs(60)));
        assert_eq!(written(&names, &gateway), ["192.0.2.1:5090"]);
    }

    #[test]
    fn keeps_the_last_good_answer_when_the_name_servers_fail() {
        let now = Instant::now();
        let gateway = gateway("a.example", "address");
        let mut names = names_of(&gateway, now);
        names.take(answer(&gateway, addresses(&["192.0.2.2", "192.0.2.1"], 1)), now);
        assert!(!names.take(answer(&gateway, Err("SERVFAIL".to_owned())), now));
        assert!(!names.take(answer(&gateway, addresses(&[], 60)), now));
        assert_eq!(written(&names, &gateway).len(), 2);
        let again = answer(&gateway, addresses(&["192.0.2.1", "192.0.2.2"], 60));
        assert!(!names.take(again, now), "no news");
    }

    #[test]
    fn keeps_the_addresses_of_the_one_host_that_cannot_be_had() {
        let now = Instant::now();
        let gateway = gateway("a.example", "srv");
        let mut names = names_of(&gateway, now);
        let both: [(&str, u16, &[&str]); 2] =
            [("a.", 5061, &["192.0.2.1"]), ("b.", 5062, &["192.0.2.2"])];
        names.take(answer(&gateway, services(&both)), now);
        let moved: [(&str, u16, &[&str]); 2] = [("a.", 5061, &["192.0.2.9"]), ("b.", 5062, &[])];
        assert!(names.take(answer(&gateway, services(&moved)), now));
        assert_eq!(written(&names, &gateway), ["192.0.2.9:5061", "192.0.2.2:5062"]);
        assert_eq!(names.next_due(), Some(now + BELIEVED_AT_LEAST), "it is soon asked for again");
    }

    #[test]
    fn forgets_names_that_the_tables_do_not_speak_of_any_more() {
        let now = Instant::now();
        let gateway = gateway("a.example", "address");
        let mut names = names_of(&gateway, now);
        names.take(answer(&gateway, addresses(&["192.0.2.1"], 60)), now);
        names.set_questions([], now);
        assert!(names.targets_of(&gateway).is_empty());
        assert!(!names.take(answer(&gateway, addresses(&["192.0.2.1"], 60)), now));
    }

    #[test]
    fn needs_nobody_for_a_written_address() {
        let gateway = gateway("2001:db8::1", "address");
        assert_eq!(Question::of(&gateway), None);
        assert_eq!(written(&Names::default(), &gateway), ["[2001:db8::1]:5090"]);
    }

    #[test]
    fn believes_no_answer_for_less_than_seconds_or_more_than_minutes() {
        let now = Instant::now();
        let gateway = gateway("a.example", "address");
        let mut names = names_of(&gateway, now);
        names.take(answer(&gateway, addresses(&["192.0.2.1"], 0)), now);
        assert_eq!(names.next_due(), Some(now + BELIEVED_AT_LEAST));
        names.take(answer(&gateway, addresses(&["192.0.2.1"], 86_400)), now);
        assert_eq!(names.next_due(), Some(now + BELIEVED_AT_MOST));
    }
}
