//! A call's record while the call goes on.

use uuid::Uuid;

use super::attempt::Offer;
use super::context::{Context, Output};
use super::{AttemptRecord, CallRecord, EndCause, EndedBy};
use crate::transaction::Flow;

/// The record as far as it is known; given out once.
#[derive(Debug)]
pub struct Draft {
    record: Option<Box<CallRecord>>,
    /// It becomes part of another one, and is not given out.
    is_part: bool,
    /// The call has its end.
    is_concluded: bool,
}

impl Draft {
    pub fn new(cx: &mut Context, flow: Flow, offer: &Offer) -> Self {
        cx.counters.calls += 1;
        let started_at = cx.wall_at(cx.now);
        let since_epoch = started_at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let record = CallRecord {
            call_id: uuid_v7(since_epoch.as_millis(), cx.ids.next_u64(), cx.ids.next_u64()),
            customer: None,
            route_id: None,
            region: None,
            calling: offer.calling.user.clone(),
            called: offer.called.user.clone(),
            country: offer.country,
            source: flow.remote,
            inbound_call_id: String::from_utf8_lossy(offer.invite.call_id()).into_owned(),
            started_at,
            ringing_at: None,
            answered_at: None,
            ended_at: started_at,
            status_code: 0,
            end_cause: EndCause::Failed,
            ended_by: EndedBy::Holdfast,
            detail: String::new(),
            attempts: Vec::new(),
            plan: None,
            earlier_decision: None,
            taken_from: None,
        };
        Self::of(record)
    }

    /// That of a call which was begun elsewhere.
    pub fn of(record: CallRecord) -> Self {
        Self { record: Some(Box::new(record)), is_part: false, is_concluded: false }
    }

    /// What is known of a transfer of the call, apart from the call itself until it is over.
    pub fn part(&self) -> Self {
        let mut record = self.record.clone();
        if let Some(record) = &mut record {
            record.attempts.clear();
            record.detail.clear();
        }
        Self { record, is_part: true, is_concluded: false }
    }

    /// Takes the attempts of a transfer, to `called`, into the record.
    pub fn add(&mut self, part: Self, called: &str) {
        let attempts = part.record.map(|record| record.attempts).unwrap_or_default();
        self.note(|record| {
            record.attempts.extend(attempts.into_iter().map(|attempt| AttemptRecord {
                transferred_to: Some(called.to_owned()),
                ..attempt
            }));
        });
    }

    /// The record, until it has been given out.
    pub fn record(&self) -> Option<&CallRecord> {
        self.record.as_deref()
    }

    /// Another node gives the record out.
    pub fn discard(&mut self) {
        self.record = None;
    }

    /// Writes into the record, as long as it is here.
    pub fn note(&mut self, write: impl FnOnce(&mut CallRecord)) {
        if let Some(record) = &mut self.record {
            write(record);
        }
    }

    /// The attempt at `index` was answered after it had been left.
    pub fn note_late_answer(&mut self, index: usize) {
        self.note(|record| {
            if let Some(attempt) = record.attempts.get_mut(index) {
                attempt.late_answer = true;
            }
        });
    }

    /// Completes the record and gives it out.
    pub fn end(
        &mut self,
        cx: &mut Context,
        status_code: Option<u16>,
        cause: EndCause,
        by: EndedBy,
        detail: &str,
    ) {
        self.conclude(cx, status_code, cause, by, detail);
        self.give_out(cx);
    }

    /// Completes the record; the first end of a call is the one that counts.
    /// `status_code`: the final response to the caller, where that was not noted before.
    pub fn conclude(
        &mut self,
        cx: &Context,
        status_code: Option<u16>,
        cause: EndCause,
        by: EndedBy,
        detail: &str,
    ) {
        if self.is_part {
            return self.note(|record| record.status_code = status_code.unwrap_or_default());
        }
        if std::mem::replace(&mut self.is_concluded, true) {
            return;
        }
        let Some(record) = &mut self.record else { return };
        record.status_code = status_code.unwrap_or(record.status_code);
        record.end_cause = cause;
        record.ended_by = by;
        // The wall clock may have been set back since.
        let last = record.answered_at.or(record.ringing_at).unwrap_or(record.started_at);
        record.ended_at = cx.wall_at(cx.now).max(last);
        if record.detail.is_empty() {
            record.detail = detail.to_owned();
        }
    }

    /// Gives the record out, once.
    pub fn give_out(&mut self, cx: &mut Context) {
        if !self.is_part {
            cx.outputs.extend(self.record.take().map(Output::Record));
        }
    }
}

/// RFC 9562 §5.7.
fn uuid_v7(unix_ms: u128, high: u64, low: u64) -> Uuid {
    let random = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    let mut random10 = [0; 10];
    random10.copy_from_slice(&random[..10]);
    let unix_ms = u64::try_from(unix_ms).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(unix_ms, &random10).into_uuid()
}
