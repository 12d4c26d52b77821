//! All transactions of a shard, and how a message finds its own.

use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use slotmap::{Key, KeyData, SlotMap, new_key_type};

use super::server_key::MAGIC_COOKIE;
use super::{
    Actions, ClientInvite, ClientNonInvite, Flow, MatchKey, ServerInvite, ServerNonInvite,
};
use crate::sip::{Message, Method};

new_key_type! {
    /// A client transaction of this shard.
    pub struct ClientKey;
    /// A server transaction of this shard.
    pub struct ServerKey;
}

/// A request that we sent. `O` is what its owner wants to be told it by.
#[derive(Debug)]
pub struct Client<O> {
    pub machine: ClientMachine,
    pub flow: Flow,
    pub owner: O,
    /// The CANCEL of this INVITE, whose responses carry the same branch.
    pub cancel: Option<ClientKey>,
    /// How often the same request went out before, each time as the answer to another challenge.
    pub answers: u8,
    /// When the request was sent first.
    pub started: Instant,
    /// When the shard's timers will look at this transaction next.
    pub scheduled: Option<Instant>,
    nonce: u64,
    method: Method,
}

#[derive(Debug)]
pub enum ClientMachine {
    Invite(ClientInvite),
    NonInvite(ClientNonInvite),
}

/// A request that we received.
#[derive(Debug)]
pub struct Server<O> {
    pub machine: ServerMachine,
    /// Where responses go (RFC 3261 §18.2.2, RFC 3581 §4).
    pub flow: Flow,
    /// Where the request came from.
    pub source: SocketAddr,
    /// Kept until the final response, which copies its headers.
    pub request: Option<Message>,
    pub owner: Option<O>,
    pub scheduled: Option<Instant>,
    key: Box<[u8]>,
    /// Set for an INVITE outside dialogs: what its other copies have in common (§8.2.2.2).
    merge_hash: Option<u64>,
}

#[derive(Debug)]
pub enum ServerMachine {
    Invite(ServerInvite),
    NonInvite(ServerNonInvite),
}

/// The branch of one of our requests: the magic cookie, 16 hex digits at random, the transaction's key in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    nonce: u64,
    key: u64,
}

impl Branch {
    /// A branch for a request without a transaction: the ACK of a 2xx (RFC 3261 §13.2.2.4).
    pub fn without_transaction(nonce: u64) -> Self {
        Self { nonce, key: 0 }
    }

    fn parse(branch: &[u8]) -> Option<Self> {
        let digits = branch.strip_prefix(MAGIC_COOKIE)?;
        let (nonce, key) = digits.split_at_checked(16)?;
        Some(Self { nonce: hex(nonce)?, key: hex(key)? })
    }
}

impl std::fmt::Display for Branch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "z9hG4bK{:016x}{:x}", self.nonce, self.key)
    }
}

/// Every transaction of a shard.
#[derive(Debug)]
pub struct Table<O> {
    clients: SlotMap<ClientKey, Client<O>>,
    servers: SlotMap<ServerKey, Server<O>>,
    by_key: HashTable<ServerKey>,
    by_merge: HashMap<u64, ServerKey>,
    hasher: DefaultHashBuilder,
}

impl<O: Copy> Default for Table<O> {
    fn default() -> Self {
        Self {
            clients: SlotMap::with_key(),
            servers: SlotMap::with_key(),
            by_key: HashTable::new(),
            by_merge: HashMap::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<O: Copy> Table<O> {
    /// Starts a client transaction. `print` writes the request with the branch it is given; for a
    /// CANCEL, which takes its INVITE's branch, it ignores it.
    #[expect(clippy::too_many_arguments, reason = "all that a new transaction is made of")]
    pub fn open_client(
        &mut self,
        method: Method,
        flow: Flow,
        is_reliable: bool,
        owner: O,
        nonce: u64,
        now: Instant,
        actions: &mut Actions,
        print: impl FnOnce(Branch) -> Bytes,
    ) -> ClientKey {
        self.clients.insert_with_key(|key| {
            let request = print(Branch { nonce, key: key.data().as_ffi() });
            let machine = match method {
                Method::Invite => {
                    ClientMachine::Invite(ClientInvite::new(request, is_reliable, now, actions))
                }
                _ => ClientMachine::NonInvite(ClientNonInvite::new(
                    request,
                    is_reliable,
                    now,
                    actions,
                )),
            };
            let (cancel, scheduled, answers) = (None, None, 0);
            let started = now;
            Client { machine, flow, owner, cancel, answers, started, scheduled, nonce, method }
        })
    }

    /// The client transaction of a response (RFC 3261 §17.1.3): branch and method of CSeq.
    pub fn client_of(&self, response: &Message) -> Option<ClientKey> {
        let branch = Branch::parse(response.top_via()?.branch?)?;
        let key = ClientKey::from(KeyData::from_ffi(branch.key));
        let client = self.clients.get(key).filter(|client| client.nonce == branch.nonce)?;
        let method = response.cseq().1;
        if client.method == method {
            return Some(key);
        }
        client.cancel.filter(|_| method == Method::Cancel)
    }

    pub fn client(&mut self, key: ClientKey) -> Option<&mut Client<O>> {
        self.clients.get_mut(key)
    }

    pub fn remove_client(&mut self, key: ClientKey) -> Option<Client<O>> {
        self.clients.remove(key)
    }

    /// The client transactions on one flow, for a transport error that names only the flow.
    pub fn clients_on(&self, flow: Flow) -> Vec<ClientKey> {
        self.clients
            .iter()
            .filter(|(_, client)| client.flow.is_hit_by(&flow))
            .map(|(key, _)| key)
            .collect()
    }

    /// Starts a server transaction. `is_merge_checked` for an INVITE outside dialogs.
    pub fn open_server(
        &mut self,
        request: Message,
        flow: Flow,
        source: SocketAddr,
        is_reliable: bool,
        is_merge_checked: bool,
    ) -> ServerKey {
        let key: Box<[u8]> = MatchKey::of(&request).octets().into();
        let hash = self.hasher.hash_one(&*key);
        let merge_hash = is_merge_checked.then(|| self.merge_hash(&request));
        let machine = match request.method() {
            Method::Invite => ServerMachine::Invite(ServerInvite::new(is_reliable)),
            _ => ServerMachine::NonInvite(ServerNonInvite::new(is_reliable)),
        };
        let request = Some(request);
        let (owner, scheduled) = (None, None);
        let server = Server { machine, flow, source, request, owner, scheduled, key, merge_hash };
        let server_key = self.servers.insert(server);
        let (servers, hasher) = (&self.servers, &self.hasher);
        self.by_key.insert_unique(hash, server_key, |other| hasher.hash_one(&*servers[*other].key));
        if let Some(merge_hash) = merge_hash {
            self.by_merge.insert(merge_hash, server_key);
        }
        server_key
    }

    /// The server transaction under a key (RFC 3261 §17.2.3).
    pub fn server_of(&self, key: &MatchKey) -> Option<ServerKey> {
        let hash = self.hasher.hash_one(key.octets());
        self.by_key.find(hash, |found| *self.servers[*found].key == *key.octets()).copied()
    }

    /// Whether a request that matches no transaction has come before by another path: same From
    /// tag, Call-ID and CSeq as one in progress (RFC 3261 §8.2.2.2).
    pub fn is_merged(&self, request: &Message) -> bool {
        self.by_merge.contains_key(&self.merge_hash(request))
    }

    pub fn server(&mut self, key: ServerKey) -> Option<&mut Server<O>> {
        self.servers.get_mut(key)
    }

    pub fn remove_server(&mut self, key: ServerKey) {
        let Some(server) = self.servers.remove(key) else { return };
        let hash = self.hasher.hash_one(&*server.key);
        if let Ok(entry) = self.by_key.find_entry(hash, |found| *found == key) {
            entry.remove();
        }
        if let Some(merge_hash) = server.merge_hash
            && self.by_merge.get(&merge_hash) == Some(&key)
        {
            self.by_merge.remove(&merge_hash);
        }
    }

    pub fn clients_len(&self) -> usize {
        self.clients.len()
    }

    pub fn servers_len(&self) -> usize {
        self.servers.len()
    }

    fn merge_hash(&self, request: &Message) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for part in [request.from_tag().unwrap_or_default(), request.call_id()] {
            hasher.write(part);
            hasher.write_u8(0);
        }
        hasher.write_u32(request.cseq().0);
        hasher.finish()
    }
}

impl ClientMachine {
    /// The octets that were sent; empty once nothing can need them.
    pub fn request(&self) -> &Bytes {
        match self {
            Self::Invite(machine) => machine.request(),
            Self::NonInvite(machine) => machine.request(),
        }
    }

    pub fn on_response(&mut self, response: &Message, now: Instant, actions: &mut Actions) {
        match self {
            Self::Invite(machine) => machine.on_response(response, now, actions),
            Self::NonInvite(machine) => machine.on_response(response.status_code(), now, actions),
        }
    }

    pub fn on_timeout(&mut self, now: Instant, actions: &mut Actions) {
        match self {
            Self::Invite(machine) => machine.on_timeout(now, actions),
            Self::NonInvite(machine) => machine.on_timeout(now, actions),
        }
    }

    pub fn on_transport_error(&mut self, actions: &mut Actions) {
        match self {
            Self::Invite(machine) => machine.on_transport_error(actions),
            Self::NonInvite(machine) => machine.on_transport_error(actions),
        }
    }

    pub fn limit(&mut self, at: Instant) {
        match self {
            Self::Invite(machine) => machine.limit(at),
            Self::NonInvite(machine) => machine.limit(at),
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Invite(machine) => machine.poll_timeout(),
            Self::NonInvite(machine) => machine.poll_timeout(),
        }
    }

    pub fn is_terminated(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.is_terminated(),
            Self::NonInvite(machine) => machine.is_terminated(),
        }
    }
}

impl ServerMachine {
    pub fn respond(
        &mut self,
        status_code: u16,
        response: Bytes,
        now: Instant,
        actions: &mut Actions,
    ) {
        match self {
            Self::Invite(machine) => machine.respond(status_code, response, now, actions),
            Self::NonInvite(machine) => machine.respond(status_code, response, now, actions),
        }
    }

    /// The same request came again.
    pub fn on_request(&mut self, actions: &mut Actions) {
        match self {
            Self::Invite(machine) => machine.on_invite(actions),
            Self::NonInvite(machine) => machine.on_request(actions),
        }
    }

    pub fn on_timeout(&mut self, now: Instant, actions: &mut Actions) {
        match self {
            Self::Invite(machine) => machine.on_timeout(now, actions),
            Self::NonInvite(machine) => machine.on_timeout(now),
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Invite(machine) => machine.poll_timeout(),
            Self::NonInvite(machine) => machine.poll_timeout(),
        }
    }

    pub fn is_terminated(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.is_terminated(),
            Self::NonInvite(machine) => machine.is_terminated(),
        }
    }
}

fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |value: u64, digit| {
        Some(value << 4 | u64::from(char::from(*digit).to_digit(16)?))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::base;
    use super::super::{ListenerId, MatchKey};
    use super::*;

    #[test]
    fn finds_the_client_of_a_response_by_branch_and_method() {
        let mut world = World::default();
        let (key, branch) = world.open(Method::Bye);
        assert_eq!(world.table.client_of(&response(&branch, "BYE")), Some(key));
        assert_eq!(world.table.client_of(&response(&branch, "INVITE")), None);
    }

    #[test]
    fn finds_no_client_for_a_branch_that_is_guessed_or_over() {
        let mut world = World::default();
        let (key, branch) = world.open(Method::Bye);
        let guessed = branch.replace("z9hG4bK0", "z9hG4bK1");
        assert_ne!(guessed, branch);
        for other in [guessed.as_str(), "z9hG4bKshort", "another", &format!("{branch}0")] {
            assert_eq!(world.table.client_of(&response(other, "BYE")), None, "{other}");
        }
        world.table.remove_client(key);
        assert_eq!(world.table.client_of(&response(&branch, "BYE")), None);
    }

    #[test]
    fn gives_a_response_to_cancel_to_the_cancel_of_its_invite() {
        let mut world = World::default();
        let (invite, branch) = world.open(Method::Invite);
        assert_eq!(world.table.client_of(&response(&branch, "CANCEL")), None);
        let (cancel, _) = world.open(Method::Cancel);
        world.table.client(invite).expect("just opened").cancel = Some(cancel);
        assert_eq!(world.table.client_of(&response(&branch, "CANCEL")), Some(cancel));
        assert_eq!(world.table.client_of(&response(&branch, "INVITE")), Some(invite));
    }

    #[test]
    fn matches_requests_by_branch_sent_by_and_method() {
        let mut world = World::default();
        let via = "SIP/2.0/UDP Host.example:5060;branch=z9hG4bKa";
        let key = world.receive(&request("INVITE", via, "a1", 1));
        let found =
            |world: &World, message: &Message| world.table.server_of(&MatchKey::of(message));
        assert_eq!(
            found(
                &world,
                &request("INVITE", "SIP/2.0/UDP host.EXAMPLE:5060;branch=z9hG4bKa", "a1", 1)
            ),
            Some(key)
        );
        assert_eq!(found(&world, &request("ACK", via, "a1", 1)), Some(key));
        assert_eq!(found(&world, &request("CANCEL", via, "a1", 1)), None);
        assert_eq!(
            found(
                &world,
                &request("INVITE", "SIP/2.0/UDP host.example:5061;branch=z9hG4bKa", "a1", 1)
            ),
            None
        );
        assert_eq!(
            found(
                &world,
                &request("INVITE", "SIP/2.0/UDP host.example:5060;branch=z9hG4bKb", "a1", 1)
            ),
            None
        );
        let cancel = request("CANCEL", via, "a1", 1);
        assert_eq!(world.table.server_of(&MatchKey::of_invite(&cancel)), Some(key));
        world.table.remove_server(key);
        assert_eq!(found(&world, &request("INVITE", via, "a1", 1)), None);
    }

    #[test]
    fn matches_requests_of_rfc_2543_by_what_they_have() {
        let mut world = World::default();
        let via = "SIP/2.0/UDP host.example:5060";
        let key = world.receive(&request("INVITE", via, "a1", 1));
        let found =
            |world: &World, message: &Message| world.table.server_of(&MatchKey::of(message));
        assert_eq!(found(&world, &request("INVITE", via, "a1", 1)), Some(key));
        assert_eq!(found(&world, &request("ACK", via, "a1", 1)), Some(key));
        assert_eq!(found(&world, &request("INVITE", via, "a2", 1)), None);
        assert_eq!(found(&world, &request("INVITE", via, "a1", 2)), None);
        assert_eq!(found(&world, &request("INVITE", "SIP/2.0/UDP other.example", "a1", 1)), None);
    }

    #[test]
    fn knows_an_invite_that_came_by_another_path_while_the_first_is_here() {
        let mut world = World::default();
        let key = world.receive(&request("INVITE", "SIP/2.0/UDP h;branch=z9hG4bKa", "a1", 1));
        let copy = request("INVITE", "SIP/2.0/UDP h;branch=z9hG4bKb", "a1", 1);
        assert!(world.table.is_merged(&copy));
        assert!(!world.table.is_merged(&request(
            "INVITE",
            "SIP/2.0/UDP h;branch=z9hG4bKb",
            "a2",
            1
        )));
        assert!(!world.table.is_merged(&request(
            "INVITE",
            "SIP/2.0/UDP h;branch=z9hG4bKb",
            "a1",
            2
        )));
        world.table.remove_server(key);
        assert!(!world.table.is_merged(&copy));
    }

    #[derive(Default)]
    struct World {
        table: Table<()>,
        actions: Actions,
    }

    impl World {
        fn open(&mut self, method: Method) -> (ClientKey, String) {
            let mut written = String::new();
            let key = self.table.open_client(
                method,
                flow(),
                false,
                (),
                7,
                base(),
                &mut self.actions,
                |branch| {
                    written = branch.to_string();
                    Bytes::from_static(b"octets")
                },
            );
            (key, written)
        }

        fn receive(&mut self, request: &Message) -> ServerKey {
            self.table.open_server(request.clone(), flow(), flow().remote, false, true)
        }
    }

    fn flow() -> Flow {
        Flow::new(ListenerId(0), "192.0.2.4:5060".parse().expect("an address"))
    }

    fn request(method: &str, via: &str, tag: &str, seq: u32) -> Message {
        let text = format!(
            "{method} sip:bob@192.0.2.1 SIP/2.0\r\nVia: {via}\r\nFrom: <sip:a@h>;tag={tag}\r\n\
             To: <sip:b@h>\r\nCall-ID: c1\r\nCSeq: {seq} {method}\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text)).expect("a good request")
    }

    fn response(branch: &str, method: &str) -> Message {
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch={branch}\r\nFrom: <sip:a@h>;tag=a\r\n\
             To: <sip:b@h>;tag=b\r\nCall-ID: c1\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text)).expect("a good response")
    }
}
