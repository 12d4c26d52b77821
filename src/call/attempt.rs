//! One outbound leg, from its INVITE to its final response.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::contact::write_contact;
use super::context::{CallKey, Context, Owner, milliseconds, write_allow};
use super::credentials::{Challenged, SentAgain};
use super::options::Options;
use super::record::AttemptRecord;
use super::reliable::Wish;
use super::settings::Settings;
use super::terms::Terms;
use super::verdict::Failure;
use super::{Carried, KeptInvite, header_policy, stray};
use crate::carrier::number_rule::{country_of, digits_of};
use crate::carrier::{
    Action, CarrierId, Class, Identity, Origin, ReferPolicy, RuleMatch, Stage, Transport,
};
use crate::dialog::{Tag, has_sips_uri};
use crate::health::{Channel, Evidence, Reachability};
use crate::routing::Candidate;
use crate::sip::octets::Octets;
use crate::sip::{Feedback, HeaderName, Message, Method, NameAddr, Printer, Subscriber, Uri, sdp};
use crate::transaction::{Branch, ClientKey, Flow, Listener, ListenerId};

/// What a leg keeps of the carrier it goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trunk {
    /// Whose credentials its requests may carry.
    pub carrier_id: CarrierId,
    /// User part of our Contact, where we are registered (RFC 3261 §10).
    pub contact_user: Option<Arc<str>>,
}

impl Trunk {
    pub fn contact_user(&self) -> Option<&str> {
        self.contact_user.as_deref()
    }
}

/// An INVITE to a carrier.
#[derive(Debug)]
pub struct Attempt {
    call: CallKey,
    /// Its place in the record, from 1.
    number: u8,
    country: Option<u16>,
    pub candidate: Candidate,
    pub trunk: Trunk,
    pub client: ClientKey,
    pub flow: Flow,
    pub local_tag: Tag,
    /// Its octets: the CANCEL and the dialog are made from them.
    pub invite: Bytes,
    pub stage: Stage,
    /// Held until the attempt fails or is left, or its call is over.
    pub channel: Option<Channel>,
    /// On which its INVITE is sent.
    pub terms: Terms,
    /// CSeq of the last INVITE.
    pub seq: u32,
    started: Instant,
    /// The last INVITE.
    sent_at: Instant,
    first_response: Option<Duration>,
    first_ringing: Option<Duration>,
    /// The last provisional response that made a dialog, where another node may have to end that.
    pub rang: Option<Bytes>,
    outbound_call_id: String,
    /// Too large for UDP, it goes by TCP.
    has_moved: bool,
}

/// What the inbound leg offers, read once for all attempts.
#[derive(Debug)]
pub struct Offer {
    pub invite: Message,
    /// Whom the Request-URI names.
    pub called: Subscriber,
    /// Country code of the called number, where it is one.
    pub country: Option<u16>,
    /// Whom From names.
    pub calling: Subscriber,
    /// The Request-URI is a `sips:` one: every hop from here on must be by TLS.
    pub is_secure: bool,
    /// The INVITE carries an offer (RFC 3264); else the answer's ACK carries the answer.
    pub has_sdp: bool,
}

/// RFC 5393 §5.3.3
const MAX_BREADTH: u32 = 60;

impl Offer {
    pub fn new(invite: Message) -> Self {
        let called = Subscriber::parse(invite.request_uri());
        let from = from_of(&invite);
        let calling = from.map(|from| Subscriber::parse(from.uri)).unwrap_or_default();
        let country = country_of(&called.user).filter(|_| !called.is_local());
        let has_sdp = sdp::is_session_description(&invite);
        let is_secure = has_sips_uri(&invite);
        Self { invite, called, country, calling, is_secure, has_sdp }
    }

    /// Hops left for our INVITE: one less than came, 70 where none came (RFC 7332 §5).
    fn max_forwards(&self) -> u8 {
        self.invite.max_forwards().map_or(70, |hops| hops.saturating_sub(1))
    }

    /// Branches that our INVITE may have at a time: as many as came, 60 where none or more came (RFC 7332 §6,
    /// RFC 5393 §5.3.3). Carriers are tried one after the other, so each attempt has all of them.
    fn max_breadth(&self) -> u32 {
        let told = self.invite.first(HeaderName::MaxBreadth).and_then(|value| {
            std::str::from_utf8(value).ok()?.parse().ok().filter(|breadth| *breadth > 0)
        });
        told.map_or(MAX_BREADTH, |breadth: u32| breadth.min(MAX_BREADTH))
    }
}

impl Attempt {
    /// Sends the INVITE; `None` where no listener reaches the target. `may_move`: one too large for UDP may go by TCP.
    pub fn start(
        cx: &mut Context,
        call: CallKey,
        number: u8,
        candidate: Candidate,
        offer: &Offer,
        refer: ReferPolicy,
        may_move: bool,
    ) -> Option<Self> {
        let gateway = &candidate.gateway;
        let remote = candidate.target.address;
        let own = cx.settings.listener_for(gateway.transport, remote)?;
        let registration = cx.tables.registration_of(gateway.id);
        let trunk = Trunk {
            carrier_id: candidate.carrier().id,
            contact_user: registration.map(|it| it.contact_user.clone()),
        };
        let terms = Terms::new(refer);
        let user = trunk.contact_user();
        let by_tcp = (may_move && gateway.large_by_tcp && gateway.transport == Transport::Udp)
            .then(|| cx.settings.listener_for(Transport::Tcp, remote))
            .flatten()
            .filter(|_| NewLeg::is_too_large(&candidate, user, own, offer, &terms, &cx.settings));
        let listener = by_tcp.unwrap_or(own);
        let flow = Flow::to_gateway(listener, remote, gateway.id);
        let local_tag = cx.new_tag();
        let outbound_call_id = cx.new_call_id(offer.invite.call_id());
        let leg = NewLeg {
            candidate: &candidate,
            contact_user: user,
            local_tag,
            call_id: &outbound_call_id,
            listener,
            terms: &terms,
            seq: 1,
        };
        let SentAgain { client, request: invite } = leg.send(cx, call, offer);
        cx.counters.attempts += 1;
        let channel = cx.capacity.start(candidate.carrier(), gateway, cx.now);
        // A carrier may ask something within the early dialog, which must not hear that there is none.
        cx.dialogs.insert(local_tag, (call, super::Side::Outbound));
        if candidate.reachability == Reachability::HalfOpen {
            cx.emit_outcome(candidate.target, candidate.carrier().id, Evidence::AttemptStarted);
        }
        Some(Self {
            call,
            number,
            country: offer.country,
            candidate,
            trunk,
            client,
            flow,
            local_tag,
            invite,
            stage: Stage::Nothing,
            channel: Some(channel),
            terms,
            seq: 1,
            started: cx.now,
            sent_at: cx.now,
            first_response: None,
            first_ringing: None,
            rang: None,
            outbound_call_id,
            has_moved: by_tcp.is_some(),
        })
    }

    /// It went by TCP for its size alone, and could not be delivered: RFC 3261 §18.1.1 has it tried by UDP.
    pub fn may_move_back(&self, failure: Failure<'_>) -> bool {
        self.has_moved && self.stage == Stage::Nothing && matches!(failure, Failure::Transport)
    }

    /// Sends the INVITE once more, as it now has to be.
    pub fn send_again(&mut self, cx: &mut Context, offer: &Offer) {
        self.seq += 1;
        let leg = NewLeg {
            candidate: &self.candidate,
            contact_user: self.trunk.contact_user(),
            local_tag: self.local_tag,
            call_id: &self.outbound_call_id,
            listener: self.flow.listener,
            terms: &self.terms,
            seq: self.seq,
        };
        let SentAgain { client, request } = leg.send(cx, self.call, offer);
        (self.client, self.invite) = (client, request);
        self.sent_at = cx.now;
    }

    /// When an attempt without any response is given up.
    pub fn no_response_at(&self) -> Instant {
        self.sent_at + self.candidate.carrier().no_response
    }

    /// When an attempt that does not ring is given up.
    pub fn no_ringing_at(&self) -> Instant {
        self.started + self.candidate.carrier().no_ringing
    }

    /// Whether a request, which has our tag, is from the dialog that our INVITE makes.
    pub fn is_of(&self, request: &Message) -> bool {
        request.call_id() == self.outbound_call_id.as_bytes()
    }

    /// Takes in that a response came, of whatever code.
    pub fn note_response(&mut self, cx: &mut Context, response: &Message) {
        if self.candidate.gateway.overload_control
            && let Some(feedback) = response.top_via().and_then(|via| Feedback::read(&via))
        {
            cx.capacity.note_feedback(self.candidate.target.address, feedback, cx.now);
        }
        let delay = cx.now - self.started;
        let status_code = response.status_code();
        if self.first_response.is_none() {
            self.first_response = Some(delay);
            if status_code < 200 {
                let carrier_id = self.candidate.carrier().id;
                cx.emit_outcome(self.candidate.target, carrier_id, Evidence::Alive);
            }
        }
        let stage = match status_code {
            101..200 if !is_ringing(status_code) => Stage::Trying,
            101..200 if sdp::is_session_description(response) => Stage::EarlyMedia,
            101..200 => Stage::Ringing,
            100 => Stage::Trying,
            _ => self.stage,
        };
        self.stage = self.stage.max(stage);
        if matches!(status_code, 101..200) && response.to_tag().is_some() && cx.settings.replicates
        {
            self.rang = Some(response.bytes().clone());
        }
        if self.stage >= Stage::Ringing && self.first_ringing.is_none() {
            self.first_ringing = Some(delay);
            cx.emit_outcome(self.candidate.target, self.candidate.carrier().id, Evidence::Ringing);
        }
    }

    /// Sends the INVITE again with the credentials that the carrier asks for; `false` where there are none, or they
    /// were refused.
    pub fn answer_challenge(
        &mut self,
        cx: &mut Context,
        challenged: &Challenged,
        response: &Message,
    ) -> bool {
        let (seq, owner) = (response.cseq().0 + 1, Owner::Invite(self.call));
        let of = self.trunk.carrier_id;
        let Some(again) = cx.send_again(of, challenged, owner, seq, response) else {
            return false;
        };
        self.note_response(cx, response);
        (self.client, self.invite, self.seq) = (again.client, again.request, seq);
        self.sent_at = cx.now;
        true
    }

    /// Leaves the attempt: it becomes a stray, cancelled as soon as that is allowed.
    pub fn leave(&self, cx: &mut Context, reason: &str) {
        let origin = stray::Origin { call: self.call, attempt: self.number };
        let invite = self.invite.clone();
        let of = self.trunk.carrier_id;
        stray::leave(cx, origin, of, self.client, self.flow, self.local_tag, invite, reason);
    }

    /// The record of an attempt that failed, and its outcome for the board.
    pub fn failed(&self, cx: &mut Context, failure: Failure<'_>, rule: RuleMatch) -> AttemptRecord {
        let (status_code, reason, retry_after) = match failure {
            Failure::Response(response) => (
                Some(response.status_code()),
                String::from_utf8_lossy(response.reason()).into_owned(),
                retry_after(response),
            ),
            Failure::Timeout if self.stage == Stage::Nothing => {
                (None, format!("no response in {} ms", self.elapsed_ms(cx)), None)
            }
            Failure::Timeout => (None, format!("no ringing in {} ms", self.elapsed_ms(cx)), None),
            Failure::Transport => (None, "unreachable".to_owned(), None),
        };
        let is_carrier_fault = matches!(rule.class, Class::CarrierHard | Class::CarrierSoft);
        let weight = if is_carrier_fault { rule.weight } else { 0.0 };
        self.emit(cx, rule.class, weight, status_code, retry_after);
        let mut record = self.record(cx, rule);
        record.weight = weight;
        record.failure_rule = rule.rule_id.and_then(|id| cx.tables.failure_rules.text_of(id));
        record.origin = failure.origin();
        record.status_code = failure.status_code();
        record.reason = reason;
        record
    }

    /// The record of the attempt that was answered, and its outcome.
    pub fn answered(&mut self, cx: &mut Context, response: &Message) -> AttemptRecord {
        if self.first_ringing.is_none() {
            self.first_ringing = Some(cx.now - self.started);
        }
        self.emit(cx, Class::Answered, 0.0, Some(response.status_code()), None);
        let rule = without_rule(Class::Answered);
        let mut record = self.record(cx, rule);
        record.status_code = response.status_code();
        record.reason = String::from_utf8_lossy(response.reason()).into_owned();
        record
    }

    /// The record of an attempt that the caller, or one of our limits, ended.
    pub fn given_up(&self, cx: &mut Context, reason: &str) -> AttemptRecord {
        self.emit(cx, Class::Caller, 0.0, None, None);
        let rule = without_rule(Class::Caller);
        let mut record = self.record(cx, rule);
        record.status_code = 487;
        record.origin = Origin::Timeout;
        record.reason = reason.to_owned();
        record
    }

    /// The record of an attempt whose node may die before it ends, and what another node needs to take it back.
    pub fn kept(&self, cx: &Context) -> (AttemptRecord, KeptInvite) {
        let mut record = self.record(cx, without_rule(Class::Caller));
        record.status_code = 487;
        record.origin = Origin::Transport;
        record.reason = "its node died".to_owned();
        let kept = KeptInvite {
            invite: Octets(self.invite.to_vec().into()),
            transport: cx.settings.listener(self.flow.listener).transport,
            peer: self.flow.remote,
            gateway: self.flow.gateway(),
        };
        (record, kept)
    }

    fn elapsed_ms(&self, cx: &Context) -> u32 {
        milliseconds(cx.now - self.started)
    }

    fn emit(
        &self,
        cx: &mut Context,
        class: Class,
        weight: f32,
        status_code: Option<u16>,
        retry_after: Option<Duration>,
    ) {
        let evidence = Evidence::Attempt {
            class,
            weight,
            status_code,
            retry_after,
            trying_delay: self.first_response,
            ringing_delay: self.first_ringing,
            country: self.country,
        };
        cx.emit_outcome(self.candidate.target, self.candidate.carrier().id, evidence);
    }

    fn record(&self, cx: &Context, rule: RuleMatch) -> AttemptRecord {
        AttemptRecord {
            carrier_id: self.candidate.carrier().id,
            carrier: self.candidate.carrier().name.clone(),
            gateway_id: self.candidate.gateway.id,
            gateway: self.candidate.gateway.name.clone(),
            address: self.candidate.target.address,
            outbound_call_id: self.outbound_call_id.clone(),
            started_at: cx.wall_at(self.started),
            trying_ms: self.first_response.map(milliseconds),
            ringing_ms: self.first_ringing.map(milliseconds),
            ended_ms: self.elapsed_ms(cx),
            origin: Origin::Remote,
            stage: self.stage,
            status_code: 0,
            reason: String::new(),
            class: rule.class,
            action: rule.action,
            failure_rule_id: rule.rule_id,
            failure_rule: None,
            weight: 0.0,
            late_answer: false,
            transferred_to: None,
        }
    }
}

/// The same as a `sips:` URI, which needs no transport to be named (RFC 3261 §26.2.2).
fn secured(mut uri: Vec<u8>) -> Vec<u8> {
    const TLS: &[u8] = b";transport=tls";
    if uri.ends_with(TLS) {
        uri.truncate(uri.len() - TLS.len());
    }
    if uri.starts_with(b"sip:") {
        uri.insert(3, b's');
    }
    uri
}

/// Ends that need no rule to be understood.
fn without_rule(class: Class) -> RuleMatch {
    RuleMatch { rule_id: None, class, action: Action::Stop, weight: 0.0 }
}

/// 180 to 189: what a caller hears (RFC 3261 §21.1; 199 ends an early dialog, RFC 6228).
pub fn is_ringing(status_code: u16) -> bool {
    (180..190).contains(&status_code)
}

/// Seconds of Retry-After, without its comment and parameters (RFC 3261 §20.33).
pub(super) fn retry_after(response: &Message) -> Option<Duration> {
    let value = response.first(HeaderName::RetryAfter)?;
    let digits = value.iter().take_while(|octet| octet.is_ascii_digit()).count();
    std::str::from_utf8(&value[..digits]).ok()?.parse().ok().map(Duration::from_secs)
}

fn from_of(message: &Message) -> Option<NameAddr<'_>> {
    message.first(HeaderName::From).and_then(NameAddr::parse)
}

/// What an outbound INVITE is made of, besides the offer.
struct NewLeg<'a> {
    candidate: &'a Candidate,
    contact_user: Option<&'a str>,
    local_tag: Tag,
    call_id: &'a str,
    listener: ListenerId,
    terms: &'a Terms,
    seq: u32,
}

impl NewLeg<'_> {
    /// RFC 3261 §18.1.1: more than this much, where the path's MTU is unknown, does not go by UDP.
    const MAX_DATAGRAM: usize = 1_300;

    /// Whether the INVITE would be too large for UDP. Written for its length alone, with a tag and a Call-ID as long as
    /// those it will have.
    fn is_too_large(
        candidate: &Candidate,
        contact_user: Option<&str>,
        listener: ListenerId,
        offer: &Offer,
        terms: &Terms,
        settings: &Settings,
    ) -> bool {
        let (local_tag, call_id) = (Tag(0), "0123456789abcdef");
        let leg = NewLeg { candidate, contact_user, local_tag, call_id, listener, terms, seq: 1 };
        let branch = Branch::without_transaction(0);
        leg.print(offer, branch, settings).len() > Self::MAX_DATAGRAM
    }

    /// Sends the INVITE in a transaction of its own.
    fn send(&self, cx: &mut Context, call: CallKey, offer: &Offer) -> SentAgain {
        let Candidate { target, gateway, .. } = self.candidate;
        let flow = Flow::to_gateway(self.listener, target.address, gateway.id);
        let (owner, of) = (Owner::Invite(call), Some(self.candidate.carrier().id));
        cx.start_towards(of, Method::Invite, flow, owner, |branch, settings| {
            self.print(offer, branch, settings)
        })
    }

    fn print(&self, offer: &Offer, branch: Branch, settings: &Settings) -> Bytes {
        let listener = settings.listener(self.listener);
        let gateway = &self.candidate.gateway;
        let uri = gateway.carrier.number_rule.request_uri(&offer.called, gateway);
        let uri = if offer.is_secure { secured(uri) } else { uri };
        let mut printer = Printer::request(b"INVITE", &uri);
        printer
            .header_fmt(
                HeaderName::Via,
                format_args!(
                    "SIP/2.0/{} {};rport;branch={branch}{}",
                    listener.via_transport(),
                    listener.advertised,
                    if gateway.overload_control { Feedback::ANNOUNCED } else { "" },
                ),
            )
            .header_fmt(HeaderName::MaxForwards, format_args!("{}", offer.max_forwards()))
            .header_fmt(HeaderName::MaxBreadth, format_args!("{}", offer.max_breadth()));
        self.print_parties(offer, listener, &mut printer);
        printer
            .header(HeaderName::CallId, self.call_id.as_bytes())
            .header_fmt(HeaderName::CSeq, format_args!("{} INVITE", self.seq));
        write_contact(listener, offer.is_secure, self.contact_user, &mut printer);
        write_allow(self.terms.refer, &mut printer);
        let options = self.options(offer);
        options.write(HeaderName::Supported, &mut printer);
        self.terms.required.write(HeaderName::Require, &mut printer);
        if options.has(Options::TIMER) {
            self.terms.session.write_request(settings.session, &mut printer);
        }
        printer.header(HeaderName::UserAgent, settings.user_agent.as_bytes());
        let carried = Carried::of(&offer.invite);
        let written = Some(HeaderName::MaxBreadth);
        let rule = &gateway.carrier.number_rule;
        header_policy::write_but(written, carried, &rule.headers, &mut printer);
        printer.finish(header_policy::body(carried))
    }

    /// Reliable provisional responses are spoken of where the caller takes them: what is negotiated in them, and
    /// by UPDATE after them, needs somebody to negotiate with.
    fn options(&self, offer: &Offer) -> Options {
        let options = match Wish::of(&offer.invite) {
            Wish::Unreliably => Options::WITHIN_DIALOG,
            Wish::AsItComes | Wish::Reliably => Options::ALL,
        };
        options.with(self.terms.required).without(self.terms.unmentioned)
    }

    /// From with our tag, To without one, and the identity that the carrier's rule asks for.
    fn print_parties(&self, offer: &Offer, listener: &Listener, printer: &mut Printer) {
        let rule = &self.candidate.carrier().number_rule;
        let from = from_of(&offer.invite);
        let from_host = from.and_then(|from| Uri::parse(from.uri)).map(|uri| uri.host);
        let calling = rule.from_uri(
            &offer.calling,
            from_host.unwrap_or_default(),
            host_of(&listener.advertised),
        );
        let to = rule.to_uri(&offer.called, &self.candidate.gateway);
        let to = if offer.is_secure { secured(to) } else { to };
        printer.raw(b"From: ");
        if let Some(from) = from.filter(|from| !from.display_name.is_empty()) {
            printer.raw(from.display_name).raw(b" ");
        }
        printer
            .raw(b"<")
            .raw(&calling)
            .raw(b">;tag=")
            .raw(self.local_tag.to_string().as_bytes())
            .raw(b"\r\nTo: <")
            .raw(&to)
            .raw(b">\r\n");
        let is_told = rule.headers.identity == Identity::Assert
            && header_policy::may_know_the_caller(&offer.invite, &rule.headers);
        if is_told && digits_of(&offer.calling.user).is_some() {
            printer.raw(b"P-Asserted-Identity: <").raw(&calling).raw(b">\r\n");
        }
    }
}

/// The host of `host:port`, brackets kept.
fn host_of(advertised: &str) -> &str {
    match advertised.rfind(':') {
        Some(colon) if !advertised[colon..].contains(']') => &advertised[..colon],
        _ => advertised,
    }
}
