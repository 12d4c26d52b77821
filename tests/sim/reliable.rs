//! Reliable provisional responses (RFC 3262) as agents send and acknowledge them.

use bytes::Bytes;

use super::cx::{Act, Cx};
use super::party::{LIMIT, Party, Side, State, T1};
use super::text::Text;

/// A carrier's provisional response that waits for its PRACK.
#[derive(Clone, Debug)]
pub struct Unacknowledged {
    rseq: u32,
    has_media: bool,
    response: Bytes,
    since: u64,
}

impl Party {
    /// Makes a provisional response to the first INVITE a reliable one, where both are for that and none is
    /// on its way.
    pub(super) fn make_reliable(&mut self, cx: &mut Cx, response: Text) -> Text {
        let supported = self.servers[0].request.get("Supported").unwrap_or_default();
        let is_reliable = self.plan.is_reliable
            && supported.contains("100rel")
            && !self.is_fork
            && self.unacknowledged.is_none();
        if !is_reliable {
            return response;
        }
        self.rseq += 1;
        let rseq = self.rseq;
        let response = response.with("Require", "100rel").with("RSeq", rseq.to_string());
        self.unacknowledged = Some(Unacknowledged {
            rseq,
            has_media: !response.body.is_empty(),
            response: response.print(),
            since: cx.now,
        });
        cx.later(T1, self.id, Act::ResendReliable { rseq, interval: T1 });
        response
    }

    pub(super) fn resend_reliable(&mut self, cx: &mut Cx, rseq: u32, interval: u64) {
        let Some(unacknowledged) = self.unacknowledged.as_ref().filter(|it| it.rseq == rseq) else {
            return;
        };
        if self.state != State::Early {
            return;
        }
        if cx.now - unacknowledged.since >= LIMIT {
            return self.respond_first(cx, 504, "No PRACK", "");
        }
        cx.agent_sends(self.address, unacknowledged.response.clone());
        let interval = 2 * interval;
        cx.later(interval, self.id, Act::ResendReliable { rseq, interval });
    }

    /// RFC 3262 §3: no answer before the description of a provisional response is acknowledged.
    pub(super) fn must_wait(&self) -> bool {
        self.unacknowledged.as_ref().is_some_and(|it| it.has_media)
    }

    /// Whether a PRACK is for what waits.
    pub(super) fn takes_prack(&mut self, prack: &Text) -> bool {
        let rack = prack.get("RAck").unwrap_or_default().to_owned();
        let seq = self.servers[0].request.seq();
        let is_it = |it: &mut Unacknowledged| rack == format!("{} {seq} INVITE", it.rseq);
        let taken = self.unacknowledged.take_if(is_it).is_some();
        self.facts.pracks += u32::from(taken);
        taken
    }

    /// The caller acknowledges a reliable response, once.
    pub(super) fn acknowledge_provisional(&mut self, cx: &mut Cx, response: &Text) {
        let Some(rseq) = response.get("RSeq") else { return };
        let key = (response.tag_of_to().to_owned(), rseq.to_owned());
        let may = self.side == Side::Caller && self.state == State::Early && !self.is_leaving;
        if !may || self.plan.reliability.is_none() || !self.acknowledged.insert(key) {
            return;
        }
        self.facts.pracks += 1;
        let rack = format!("{rseq} {} INVITE", response.seq());
        self.request_with(cx, "PRACK", String::new(), &[("RAck", rack)]);
    }
}
