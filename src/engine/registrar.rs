//! Registrations on their way: bindings, and the REGISTERs that they ask for (RFC 3261 §10).
//!
//! One shard of a node does it, for its own Contact: several nodes are several contacts of one address of record.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slotmap::SlotMap;

use super::engine::Engine;
use crate::call::contact::write_contact;
use crate::call::context::{Owner, RegistrationKey, TimerKey};
use crate::call::credentials::Challenged;
use crate::call::{Context, Event, Settings};
use crate::carrier::{AdminState, CarrierId, Gateway, GatewayId, Registration};
use crate::dialog::Tag;
use crate::health::{Evidence, Reachability, Target};
use crate::registration::{Ask, Binding};
use crate::sip::name_addr::split_list;
use crate::sip::{HeaderName, Message, Method, NameAddr, Printer, Uri};
use crate::transaction::{Branch, Flow, Listener};

/// How long a REGISTER may stay without a final response.
const REGISTER_LIMIT: Duration = Duration::from_secs(4);

/// What this shard registers.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    is_on: bool,
    entries: SlotMap<RegistrationKey, Entry>,
}

/// The registration with one gateway.
#[derive(Debug)]
struct Entry {
    gateway: Arc<Gateway>,
    registration: Arc<Registration>,
    binding: Binding,
    /// RFC 3261 §10.2: one Call-ID, and a CSeq that counts up, for all REGISTERs.
    call_id: String,
    tag: Tag,
    seq: u32,
    is_leaving: bool,
    /// Where the board was last told that we are registered.
    told: Option<SocketAddr>,
    scheduled: Option<Instant>,
}

/// What a REGISTER came to.
enum End<'a> {
    Response(&'a Message),
    /// Silence, or a port that is closed.
    Nothing,
}

impl Registrar {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn has(&self, gateway_id: GatewayId) -> bool {
        self.entries.values().any(|entry| !entry.is_leaving && entry.gateway.id == gateway_id)
    }
}

impl Engine {
    /// This shard registers from now on.
    pub(super) fn start_registrar(&mut self) {
        self.registrar.is_on = true;
        self.sync_registrations();
    }

    /// Begins and ends registrations as the tables say. While the node drains it has none.
    pub(super) fn sync_registrations(&mut self) {
        let mut wanted = BTreeMap::new();
        if self.registrar.is_on && !self.cx.is_draining {
            let tables = self.cx.tables.clone();
            for (id, registration) in tables.registrations() {
                if let Some(gateway) = tables.gateway(id)
                    && gateway.admin_state != AdminState::Off
                    && gateway.carrier.is_enabled
                {
                    wanted.insert(id, (gateway.clone(), registration.clone()));
                }
            }
        }
        let keys: Vec<RegistrationKey> = self.registrar.entries.keys().collect();
        for key in keys {
            let Some(entry) = self.registrar.entries.get_mut(key) else { continue };
            if entry.is_leaving {
                continue;
            }
            let same = wanted.get(&entry.gateway.id).filter(|(gateway, registration)| {
                *registration == entry.registration
                    && gateway.carrier.id == entry.gateway.carrier.id
                    && gateway.transport == entry.gateway.transport
            });
            match same {
                Some((gateway, _)) => entry.gateway = gateway.clone(),
                None => {
                    entry.is_leaving = true;
                    let ask = entry.binding.leave();
                    self.go_on(key, ask);
                }
            }
        }
        for (gateway, registration) in wanted.into_values() {
            if !self.registrar.has(gateway.id) {
                self.begin(gateway, registration);
            }
        }
    }

    fn begin(&mut self, gateway: Arc<Gateway>, registration: Arc<Registration>) {
        let cx = &mut self.cx;
        let entry = Entry {
            binding: Binding::new(registration.expires, cx.now),
            // Its answers come to the shard of this bucket.
            call_id: cx.new_call_id(b""),
            tag: cx.new_tag(),
            seq: 0,
            is_leaving: false,
            told: None,
            scheduled: None,
            gateway,
            registration,
        };
        let key = self.registrar.entries.insert(entry);
        self.on_registration_timer(key);
    }

    /// A target that we are registered with has gone down: another one may take over.
    pub(super) fn move_registrations(&mut self) {
        let keys: Vec<RegistrationKey> = self.registrar.entries.keys().collect();
        for key in keys {
            let Some(entry) = self.registrar.entries.get_mut(key) else { continue };
            let targets = targets(&self.cx, entry.gateway.id);
            let at = entry.binding.registered_at();
            if !targets.is_empty() && at.is_some_and(|at| !targets.contains(&at)) {
                entry.binding.hurry(self.cx.now);
                self.on_registration_timer(key);
            }
        }
    }

    pub(super) fn on_registration_timer(&mut self, key: RegistrationKey) {
        let Some(entry) = self.registrar.entries.get_mut(key) else { return };
        entry.scheduled = None;
        let targets = targets(&self.cx, entry.gateway.id);
        let draw = self.cx.random.unit_f64();
        let ask = entry.binding.on_timeout(&targets, draw, self.cx.now);
        self.go_on(key, ask);
    }

    /// Sends a REGISTER again with the credentials that the registrar asks for; `false` where there are none.
    pub(super) fn answer_registrar(
        &mut self,
        key: RegistrationKey,
        challenged: &Challenged,
        response: &Message,
    ) -> bool {
        let Some(entry) = self.registrar.entries.get_mut(key) else { return false };
        let (of, owner, seq) = (entry.gateway.carrier.id, Owner::Register(key), entry.seq + 1);
        let cx = &mut self.cx;
        let Some(again) = cx.send_again(of, challenged, owner, seq, response) else {
            return false;
        };
        entry.seq = seq;
        let limit = cx.now + REGISTER_LIMIT;
        cx.with_client(again.client, |client, _, _| client.machine.limit(limit));
        true
    }

    pub(super) fn on_registered(&mut self, key: RegistrationKey, response: &Message) {
        self.on_register_end(key, &End::Response(response));
    }

    pub(super) fn on_register_failed(&mut self, key: RegistrationKey) {
        self.on_register_end(key, &End::Nothing);
    }

    fn on_register_end(&mut self, key: RegistrationKey, end: &End<'_>) {
        let Some(entry) = self.registrar.entries.get_mut(key) else { return };
        let cx = &mut self.cx;
        let now = cx.now;
        let targets = targets(cx, entry.gateway.id);
        let draw = cx.random.unit_f64();
        let ask = match end {
            End::Response(response) if (200..300).contains(&response.status_code()) => {
                let transport = entry.gateway.transport;
                let listener = targets
                    .first()
                    .and_then(|target| cx.settings.listener_for(transport, *target))
                    .map(|id| cx.settings.listener(id));
                let granted = listener.and_then(|it| granted(response, &entry.registration, it));
                entry.binding.on_accepted(granted.unwrap_or(entry.registration.expires), now)
            }
            End::Response(response) => {
                cx.counters.registrations_refused += 1;
                let at_least = seconds_of(response, HeaderName::MinExpires);
                match (response.status_code(), at_least) {
                    (423, Some(at_least)) => {
                        entry.binding.on_too_brief(at_least, &targets, draw, now)
                    }
                    _ => {
                        let event = Event::NotRegistered {
                            gateway: entry.gateway.name.clone(),
                            status_code: response.status_code(),
                            reason: String::from_utf8_lossy(response.reason()).into_owned(),
                        };
                        cx.emit_event(event);
                        let retry_after = seconds_of(response, HeaderName::RetryAfter);
                        entry.binding.on_refused(&targets, retry_after, draw, now)
                    }
                }
            }
            End::Nothing => {
                cx.counters.registrations_refused += 1;
                let gateway = entry.gateway.name.clone();
                let reason = "no response".to_owned();
                cx.emit_event(Event::NotRegistered { gateway, status_code: 408, reason });
                entry.binding.on_refused(&targets, None, draw, now)
            }
        };
        self.go_on(key, ask);
    }

    /// Sends what a binding asks for, and tells what has changed.
    fn go_on(&mut self, key: RegistrationKey, mut ask: Option<Ask>) {
        let Some(entry) = self.registrar.entries.get_mut(key) else { return };
        let cx = &mut self.cx;
        while let Some(wanted) = ask {
            if register(cx, key, entry, wanted) {
                break;
            }
            // No listener reaches it.
            let (targets, draw) = (targets(cx, entry.gateway.id), cx.random.unit_f64());
            ask = entry.binding.on_refused(&targets, None, draw, cx.now);
        }
        tell(cx, entry);
        let wanted = entry.binding.poll_timeout().filter(|_| !entry.binding.is_over());
        cx.timers.schedule(TimerKey::Registration(key), wanted, &mut entry.scheduled);
        if entry.binding.is_over() {
            self.registrar.entries.remove(key);
        }
    }
}

/// The addresses to register with: those that are down only where all are.
fn targets(cx: &Context, gateway_id: GatewayId) -> Vec<SocketAddr> {
    let all = cx.view.targets_of(gateway_id);
    let up = all.iter().filter(|view| view.reachability != Reachability::Down);
    let up: Vec<SocketAddr> = up.map(|view| view.target.address).collect();
    match up.is_empty() {
        true => all.iter().map(|view| view.target.address).collect(),
        false => up,
    }
}

/// `false` where no listener reaches the target.
fn register(cx: &mut Context, key: RegistrationKey, entry: &mut Entry, ask: Ask) -> bool {
    let Some(listener) = cx.settings.listener_for(entry.gateway.transport, ask.target) else {
        return false;
    };
    entry.seq += 1;
    let flow = Flow::to_gateway(listener, ask.target, entry.gateway.id);
    let of = Some(entry.gateway.carrier.id);
    let sent =
        cx.start_towards(of, Method::Register, flow, Owner::Register(key), |branch, settings| {
            print(entry, ask, settings.listener(listener), branch, settings)
        });
    let limit = cx.now + REGISTER_LIMIT;
    cx.with_client(sent.client, |client, _, _| client.machine.limit(limit));
    true
}

fn print(
    entry: &Entry,
    ask: Ask,
    listener: &Listener,
    branch: Branch,
    settings: &Settings,
) -> bytes::Bytes {
    let Entry { registration, tag, seq, .. } = entry;
    let (transport, own, aor) = (listener.via_transport(), &listener.advertised, &registration.aor);
    let mut printer = Printer::request(b"REGISTER", registration.domain().as_bytes());
    printer
        .header_fmt(
            HeaderName::Via,
            format_args!("SIP/2.0/{transport} {own};rport;branch={branch}"),
        )
        .header(HeaderName::MaxForwards, b"70")
        .header_fmt(HeaderName::From, format_args!("<{aor}>;tag={tag}"))
        .header_fmt(HeaderName::To, format_args!("<{aor}>"))
        .header(HeaderName::CallId, entry.call_id.as_bytes())
        .header_fmt(HeaderName::CSeq, format_args!("{seq} REGISTER"));
    write_contact(listener, false, Some(&registration.contact_user), &mut printer);
    printer
        .header_fmt(HeaderName::Expires, format_args!("{}", ask.expires.as_secs()))
        .header(HeaderName::UserAgent, settings.user_agent.as_bytes());
    printer.finish(b"")
}

/// Tells the board, and people, where we are registered now.
fn tell(cx: &mut Context, entry: &mut Entry) {
    let at = entry.binding.registered_at();
    if at == entry.told {
        return;
    }
    let carrier_id: CarrierId = entry.gateway.carrier.id;
    for (address, is_registered) in
        entry.told.map(|it| (it, false)).into_iter().chain(at.map(|it| (it, true)))
    {
        let target = Target { gateway_id: entry.gateway.id, address };
        cx.emit_outcome(target, carrier_id, Evidence::Registration { is_registered });
    }
    entry.told = at;
    cx.emit_event(Event::Registered { gateway: entry.gateway.name.clone(), address: at });
}

/// For how long a 2xx registers our contact (RFC 3261 §10.2.1.1, §10.2.4): its own time, else that of all; `None` where
/// neither is said.
fn granted(
    response: &Message,
    registration: &Registration,
    listener: &Listener,
) -> Option<Duration> {
    let contacts = response.all(HeaderName::Contact).flat_map(|header| split_list(header.value));
    let own = contacts.filter_map(NameAddr::parse).find(|contact| {
        Uri::parse(contact.uri).is_some_and(|uri| is_ours(&uri, registration, listener))
    });
    let own = own.and_then(|contact| seconds(contact.param("expires")?));
    own.or_else(|| seconds_of(response, HeaderName::Expires))
}

fn is_ours(uri: &Uri<'_>, registration: &Registration, listener: &Listener) -> bool {
    let host = String::from_utf8_lossy(uri.host);
    let address = format!("{host}:{}", uri.port.unwrap_or(5060));
    uri.user == Some(registration.contact_user.as_bytes())
        && address.eq_ignore_ascii_case(&listener.advertised)
}

fn seconds_of(message: &Message, name: HeaderName) -> Option<Duration> {
    seconds(message.first(name)?)
}

/// Leading digits: a Retry-After may have a comment behind them.
fn seconds(text: &[u8]) -> Option<Duration> {
    let digits = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let seconds: u32 = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.into()))
}
