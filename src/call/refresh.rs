//! Our own target refreshes within one leg's dialog, of which the other leg hears nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::attempt::retry_after;
use super::context::{Context, Owner};
use super::credentials::{self, SentAgain};
use super::leg::{Leg, REINVITE_LIMIT};
use super::verdict::Failure;
use super::{LegEvent, stray};
use crate::random::Random;
use crate::sip::{HeaderName, Message, Method};
use crate::transaction::ClientKey;
use crate::transaction::timer::T1;

/// How often a refresh is sent, whatever it is answered.
const MAX_TRIES: u8 = 8;
/// How far our CSeq leaps where the peer says that it is too low.
pub(super) const SEQ_LEAP: u32 = 1_000;
/// The longest Retry-After that is waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

/// A refresh under way.
///
/// ```text
///   refresh() ──> Waiting ──────────────> Sent ── 2xx ───────────────> Refreshed
///                   ^  an INVITE comes     │ └─── a refusal ─────────> RefreshFailed
///                   │  first: look again   │      408, 481 twice ────> RefreshFailed, the dialog is gone
///                   └──────────────────────┘
///          491, 500; at once: 405 and 501 to UPDATE, the first 408 or 481
/// ```
#[derive(Debug)]
pub struct Refresh {
    state: State,
    tries: u8,
    /// The peer was silent, or did not know the dialog.
    was_lost: bool,
    /// The call is over: only a 2xx still wants its ACK.
    is_abandoned: bool,
    /// What was sent last: the ACK carries its credentials.
    request: Bytes,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Waiting { until: Instant },
    Sent { client: ClientKey, method: Method, seq: u32 },
}

impl Leg {
    /// Tells the peer, within the dialog, where we are: UPDATE where it takes that, else a re-INVITE with
    /// the last session description that we sent. It is sent byte for byte: RFC 3264 §8 has it that a
    /// description with an unchanged version is the same one, so that nothing of the session changes and no
    /// later version has to be rewritten. What the peer answers stays here. Waits while an INVITE
    /// of either side is under way; a refresh that is under way already is enough.
    ///
    /// Ends with [`LegEvent::Refreshed`] or [`LegEvent::RefreshFailed`].
    pub fn refresh(&mut self, cx: &mut Context) {
        if self.refresh.is_none() {
            let state = State::Waiting { until: cx.now };
            let request = Bytes::new();
            let refresh =
                Refresh { state, tries: 0, was_lost: false, is_abandoned: false, request };
            self.refresh = Some(Box::new(refresh));
            self.send_refresh(cx);
        }
    }

    /// A response to our refresh, or why there was none.
    pub fn on_refresh_response(
        &mut self,
        cx: &mut Context,
        client: ClientKey,
        answer: Result<&Message, Failure<'_>>,
    ) -> Option<LegEvent<'static>> {
        let refresh = self.refresh.as_mut()?;
        let State::Sent { client: sent, method, seq } = refresh.state else { return None };
        if sent != client {
            return None;
        }
        let status_code = match &answer {
            Ok(response) => response.status_code(),
            Err(failure) => failure.status_code(),
        };
        let response = answer.ok();
        match status_code {
            ..200 => {
                let limit = cx.now + REINVITE_LIMIT;
                cx.with_client(client, |client, _, _| client.machine.limit(limit));
                None
            }
            200..300 => {
                let request = std::mem::take(&mut refresh.request);
                self.refresh = None;
                if let Some(response) = response {
                    self.dialog.refresh_target(response);
                    self.note_peer(response);
                    self.session.on_answer(response, cx.settings.session, cx.now);
                }
                if method == Method::Invite {
                    self.acknowledge_refresh(cx, client, seq, &request);
                }
                Some(LegEvent::Refreshed)
            }
            _ if refresh.is_abandoned => {
                self.refresh = None;
                None
            }
            _ => self.on_refusal(cx, method, status_code, response),
        }
    }

    /// Our refresh is on its way again, with the credentials that the carrier has asked for.
    pub(super) fn note_refresh_again(
        &mut self,
        client: ClientKey,
        again: &SentAgain,
        again_seq: u32,
    ) {
        let Some(refresh) = &mut self.refresh else { return };
        if let State::Sent { client: sent, seq, .. } = &mut refresh.state
            && *sent == client
        {
            (*sent, *seq) = (again.client, again_seq);
            refresh.request = again.request.clone();
        }
    }

    /// When the refresh wants time.
    pub(super) fn poll_refresh(&self) -> Option<Instant> {
        match self.refresh.as_ref()?.state {
            State::Waiting { until } => Some(until),
            State::Sent { .. } => None,
        }
    }

    pub(super) fn on_refresh_timeout(&mut self, cx: &mut Context) {
        if self.poll_refresh().is_some_and(|until| until <= cx.now) {
            self.send_refresh(cx);
        }
    }

    /// The call is over: nothing is sent again.
    pub(super) fn abandon_refresh(&mut self, cx: &mut Context) {
        let Some(refresh) = &mut self.refresh else { return };
        match refresh.state {
            State::Waiting { .. } => self.refresh = None,
            State::Sent { client, .. } => {
                refresh.is_abandoned = true;
                let limit = cx.now + crate::transaction::timer::TRANSACTION_LIMIT;
                cx.with_client(client, |client, _, _| client.machine.limit(limit));
            }
        }
    }

    /// Our refresh is a re-INVITE: no other may be under way (RFC 3261 §14).
    pub(super) fn is_refreshing_by_invite(&self) -> bool {
        self.refresh.as_ref().is_some_and(|refresh| {
            matches!(refresh.state, State::Sent { method: Method::Invite, .. })
        })
    }

    fn send_refresh(&mut self, cx: &mut Context) {
        if self.is_inviting() || self.is_invited() || self.is_negotiating() {
            return self.wait(cx.now + T1);
        }
        let flow = self.flow_out(cx);
        let owner = Owner::Refresh(self.call, self.side);
        // Without a description there is nothing to invite with.
        let description = self.description.as_deref().filter(|_| !self.allows_update);
        let method = if description.is_some() { Method::Invite } else { Method::Update };
        let (of, contact) = (self.carrier_id(), self.contact(cx));
        let (dialog, session) = (&mut self.dialog, &self.session);
        let sent = cx.start_towards(of, method, flow, owner, |branch, settings| {
            let listener = settings.listener(flow.listener);
            let mut printer = dialog.request(method.as_str().as_bytes(), listener, branch);
            contact.write_all(listener, &mut printer);
            session.write_request(settings.session, &mut printer);
            printer.header(HeaderName::UserAgent, settings.user_agent.as_bytes());
            if description.is_some() {
                printer.header(HeaderName::ContentType, b"application/sdp");
            }
            printer.finish(description.unwrap_or_default())
        });
        let seq = self.dialog.local_seq;
        if let Some(refresh) = &mut self.refresh {
            refresh.tries += 1;
            refresh.state = State::Sent { client: sent.client, method, seq };
            refresh.request = sent.request;
        }
    }

    fn on_refusal(
        &mut self,
        cx: &mut Context,
        method: Method,
        status_code: u16,
        response: Option<&Message>,
    ) -> Option<LegEvent<'static>> {
        let refresh = self.refresh.as_mut()?;
        let may_retry = refresh.tries < MAX_TRIES;
        match status_code {
            405 | 501 if method == Method::Update && self.description.is_some() => {
                self.allows_update = false;
                self.wait(cx.now);
                self.send_refresh(cx);
                None
            }
            408 | 481 if !std::mem::replace(&mut refresh.was_lost, true) => {
                self.wait(cx.now);
                self.send_refresh(cx);
                None
            }
            422 if may_retry && response.is_some_and(|told| self.session.note_min_se(told)) => {
                self.wait(cx.now);
                self.send_refresh(cx);
                None
            }
            491 if may_retry => {
                let pause = self.pause_after_glare(&mut cx.random);
                self.wait(cx.now + pause);
                None
            }
            500 if may_retry => {
                // RFC 3261 §12.2.2: whoever answers so may have seen a higher CSeq than we remember.
                self.dialog.jump_seq(self.dialog.local_seq.saturating_add(SEQ_LEAP));
                let pause = response.and_then(retry_after).unwrap_or(T1);
                self.wait(cx.now + pause.min(MAX_RETRY_AFTER));
                None
            }
            _ => {
                self.refresh = None;
                let is_dialog_gone = matches!(status_code, 408 | 481);
                self.session.on_refused(cx.now);
                Some(LegEvent::RefreshFailed { status_code, is_dialog_gone })
            }
        }
    }

    /// RFC 3261 §14.1: who made the Call-ID, as we do for carriers, waits longer, so that the two do not meet again.
    pub(super) fn pause_after_glare(&self, random: &mut Random) -> Duration {
        let tens_of_ms = match &self.trunk {
            Some(_) => 210 + random.below(191),
            None => random.below(201),
        };
        Duration::from_millis(10 * tens_of_ms)
    }

    fn wait(&mut self, until: Instant) {
        if let Some(refresh) = &mut self.refresh {
            refresh.state = State::Waiting { until };
        }
    }

    /// Acknowledges the 2xx to our re-INVITE, and whatever is repeated of it.
    fn acknowledge_refresh(
        &mut self,
        cx: &mut Context,
        client: ClientKey,
        seq: u32,
        request: &Bytes,
    ) {
        let flow = self.flow_out(cx);
        let branch = cx.new_branch();
        let mut printer = self.dialog.ack(seq, cx.settings.listener(flow.listener), branch);
        credentials::write_into_ack(cx, request, &mut printer);
        let ack = printer.finish(b"");
        cx.send(flow, ack.clone());
        let mut acks = stray::Acks::default();
        acks.note(&self.dialog.remote_tag, (flow, ack));
        let (of, tag) = (self.carrier_id(), self.dialog.local_tag);
        stray::keep(cx, of, client, self.flow, tag, Bytes::new(), acks);
    }
}

#[cfg(test)]
mod tests;
