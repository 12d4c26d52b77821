//! Challenges of carriers, and what they are answered with (RFC 3261 §22, RFC 8760).
//!
//! A carrier's credentials go to its own targets and nowhere else, and only where a challenge is of their realm.
//! The last challenge of each target is kept: what follows carries its credentials from the start, with the nonce
//! count going up, and saves a round trip.

use std::net::SocketAddr;

use bytes::Bytes;
use hashbrown::HashMap;

use super::context::{Context, Owner};
use super::settings::Settings;
use crate::carrier::{CarrierCredentials, CarrierId, Tables};
use crate::digest::{Answer, Challenge, Credentials};
use crate::random::Ids;
use crate::sip::{HeaderName, Message, Method, Printer, print};
use crate::transaction::{Branch, ClientKey, Flow};

/// Answers to the challenges of one request at most: more would be a server that never has enough.
const MAX_ANSWERS: u8 = 3;
/// Targets whose challenges are kept.
const MAX_TARGETS: usize = 4_096;
/// Realms of one target that are kept.
const MAX_REALMS: usize = 4;

/// A challenge's header, and the one that answers it.
const HEADERS: [(HeaderName, HeaderName); 2] = [
    (HeaderName::WwwAuthenticate, HeaderName::Authorization),
    (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization),
];

/// The last challenges of carriers' targets.
#[derive(Debug, Default)]
pub struct Challenges {
    by_target: HashMap<(CarrierId, SocketAddr), Vec<Known>>,
}

/// A challenge that may be answered again.
#[derive(Debug)]
struct Known {
    /// The header that answers it.
    name: HeaderName,
    challenge: Challenge,
    cnonce: String,
    /// How often its nonce has been used.
    count: u32,
}

/// A request of ours that came back with 401 or 407.
#[derive(Debug)]
pub struct Challenged {
    pub flow: Flow,
    request: Bytes,
    /// Answers to challenges that it has behind it.
    answers: u8,
}

/// The same request on its way again.
#[derive(Debug)]
pub struct SentAgain {
    pub client: ClientKey,
    pub request: Bytes,
}

impl Context {
    /// What a 401 or 407 came back for; to be taken before the transaction has it, and forgets the request. `None` for
    /// other responses, and where nothing could be answered.
    pub fn challenged(&mut self, client: ClientKey, response: &Message) -> Option<Challenged> {
        if !matches!(response.status_code(), 401 | 407) || !self.tables.has_credentials() {
            return None;
        }
        let client = self.transactions.client(client)?;
        let (flow, answers) = (client.flow, client.answers);
        Some(Challenged { flow, request: client.machine.request().clone(), answers })
    }

    /// Sends a request again with credentials, in a new transaction of the same owner (RFC 3261 §8.1.3.5). `None` where
    /// the challenge cannot be answered, or was answered in vain.
    pub fn send_again(
        &mut self,
        carrier_id: CarrierId,
        challenged: &Challenged,
        owner: Owner,
        seq: u32,
        response: &Message,
    ) -> Option<SentAgain> {
        let request = Message::parse(challenged.request.clone()).ok()?;
        let remote = challenged.flow.remote;
        let credentials = self.tables.credentials_of(carrier_id)?.clone();
        if challenged.answers >= MAX_ANSWERS || !self.is_target_of(carrier_id, remote) {
            return None;
        }
        let key = (carrier_id, remote);
        let has_answered = challenged.answers > 0;
        if !self.challenges.learn(
            key,
            &credentials,
            &request,
            has_answered,
            response,
            &mut self.ids,
        ) {
            self.challenges.by_target.remove(&key);
            return None;
        }
        let lines = self.challenges.answers(key, &credentials, &request);
        let mut sent = Bytes::new();
        let client = self.start_client(request.method(), challenged.flow, owner, |branch, _| {
            sent = print::with_credentials(&request, Some((&branch.to_string(), seq)), &lines);
            sent.clone()
        });
        self.counters.challenges_answered += 1;
        if let Some(again) = self.transactions.client(client) {
            again.answers = challenged.answers + 1;
        }
        Some(SentAgain { client, request: sent })
    }

    /// As [`start_client`](Self::start_client), with the credentials that a carrier's target asked for last. Gives the
    /// octets, too.
    pub fn start_towards(
        &mut self,
        carrier_id: Option<CarrierId>,
        method: Method,
        flow: Flow,
        owner: Owner,
        print: impl FnOnce(Branch, &Settings) -> Bytes,
    ) -> SentAgain {
        let mut challenges = std::mem::take(&mut self.challenges);
        let tables = self.tables.clone();
        let mut sent = Bytes::new();
        let client = self.start_client(method, flow, owner, |branch, settings| {
            let request = print(branch, settings);
            sent = match carrier_id {
                Some(carrier_id) => challenges.sign(&tables, (carrier_id, flow.remote), request),
                None => request,
            };
            sent.clone()
        });
        self.challenges = challenges;
        SentAgain { client, request: sent }
    }

    /// Whether an address is one of the carrier's own.
    fn is_target_of(&self, carrier_id: CarrierId, remote: SocketAddr) -> bool {
        self.tables.gateways_of(carrier_id).iter().any(|gateway| {
            self.view.targets_of(gateway.id).iter().any(|view| view.target.address == remote)
        })
    }
}

impl Challenges {
    /// Nothing was ever asked for.
    pub fn is_empty(&self) -> bool {
        self.by_target.is_empty()
    }

    /// Forgets carriers that have no credentials any more.
    pub fn retain(&mut self, tables: &Tables) {
        self.by_target.retain(|(id, _), _| tables.credentials_of(*id).is_some());
    }

    /// Takes in what a response asks for; `false` where none of it can be answered, or an answer was wrong.
    fn learn(
        &mut self,
        key: (CarrierId, SocketAddr),
        credentials: &CarrierCredentials,
        request: &Message,
        has_answered: bool,
        response: &Message,
        ids: &mut Ids,
    ) -> bool {
        let mut is_answerable = false;
        for (asks, name) in HEADERS {
            let mut realms: Vec<Box<[u8]>> = Vec::new();
            for header in response.all(asks) {
                let Some(challenge) = Challenge::parse(header.value) else { continue };
                // RFC 8760 §2.4: of one realm's, the topmost that we can answer.
                if realms.contains(&challenge.realm) || !can_answer(credentials, &challenge) {
                    continue;
                }
                if is_refused(request, name, &challenge, has_answered) {
                    return false;
                }
                realms.push(challenge.realm.clone());
                self.keep(key, Known { name, challenge, cnonce: cnonce(ids), count: 0 });
                is_answerable = true;
            }
        }
        is_answerable
    }

    fn keep(&mut self, key: (CarrierId, SocketAddr), new: Known) {
        if self.by_target.len() >= MAX_TARGETS && !self.by_target.contains_key(&key) {
            self.by_target.clear();
        }
        let known = self.by_target.entry(key).or_default();
        known.retain(|it| it.name != new.name || it.challenge.realm != new.challenge.realm);
        if known.len() >= MAX_REALMS {
            known.remove(0);
        }
        known.push(new);
    }

    /// A request with the credentials that its target asked for last; as it is where it asked for none.
    fn sign(&mut self, tables: &Tables, key: (CarrierId, SocketAddr), request: Bytes) -> Bytes {
        if !self.by_target.contains_key(&key) {
            return request;
        }
        let Some(credentials) = tables.credentials_of(key.0) else { return request };
        match Message::parse(request.clone()) {
            Ok(message) => {
                let lines = self.answers(key, credentials, &message);
                print::with_credentials(&message, None, &lines)
            }
            Err(_) => request,
        }
    }

    fn answers(
        &mut self,
        key: (CarrierId, SocketAddr),
        credentials: &CarrierCredentials,
        request: &Message,
    ) -> Vec<(HeaderName, Vec<u8>)> {
        let known = self.by_target.get_mut(&key).map(Vec::as_mut_slice).unwrap_or_default();
        let answer = |known: &mut Known| {
            if !can_answer(credentials, &known.challenge) {
                return None;
            }
            known.count += 1;
            let answer = Answer {
                challenge: &known.challenge,
                username: &credentials.username,
                method: request.method_text(),
                uri: request.request_uri(),
                body: request.body(),
                count: known.count,
                cnonce: &known.cnonce,
            };
            Some((known.name, answer.print(&credentials.secret)?))
        };
        known.iter_mut().filter_map(answer).collect()
    }
}

/// It is of the realm that the credentials are meant for, and of an algorithm that there is a hash for.
fn can_answer(credentials: &CarrierCredentials, challenge: &Challenge) -> bool {
    let realm = credentials.realm.as_deref();
    let username = credentials.username.as_bytes();
    realm.is_none_or(|realm| challenge.is_of_realm(realm))
        && credentials.secret.ha1(challenge.algorithm, username, &challenge.realm).is_some()
}

/// RFC 3261 §22.1: what was refused must not be tried again, unless its nonce was too old. `has_answered`: the request
/// answered a challenge; else its credentials were of one that came before, which may have run out without a word.
fn is_refused(
    request: &Message,
    name: HeaderName,
    challenge: &Challenge,
    has_answered: bool,
) -> bool {
    request.all(name).filter_map(|header| Credentials::parse(header.value)).any(|sent| {
        *sent.realm == *challenge.realm
            && !challenge.is_stale
            && (has_answered || *sent.nonce == *challenge.nonce)
    })
}

fn cnonce(ids: &mut Ids) -> String {
    format!("{:016x}", ids.next_u64())
}

/// Writes the credentials of an INVITE into the ACK for its 2xx (RFC 3261 §13.2.2.4).
pub fn write_into_ack(cx: &Context, invite: &Bytes, printer: &mut Printer) {
    if cx.challenges.is_empty() {
        return;
    }
    if let Ok(invite) = Message::parse(invite.clone()) {
        for header in HEADERS.iter().flat_map(|(_, name)| invite.all(*name)) {
            printer.copy(header);
        }
    }
}

/// The realms that a response asks for, for people.
pub fn realms_of(response: &Message) -> Vec<String> {
    let fields = HEADERS.iter().flat_map(|(asks, _)| response.all(*asks));
    let mut realms: Vec<String> = fields
        .filter_map(|header| Challenge::parse(header.value))
        .map(|challenge| String::from_utf8_lossy(&challenge.realm).into_owned())
        .collect();
    realms.dedup();
    realms
}
