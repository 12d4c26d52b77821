//! INVITEs that no call waits for any more: whoever answers late is thanked and sent home.

use std::sync::Arc;

use bytes::Bytes;
use slotmap::new_key_type;

use super::context::{CallKey, Context, Owner};
use super::credentials;
use crate::carrier::CarrierId;
use crate::dialog::{Dialog, OwnInvite, Tag};
use crate::sip::{HeaderName, Message, Method, print};
use crate::transaction::{ClientKey, ClientMachine, Flow};

new_key_type! {
    /// An attempt that was left behind.
    pub struct StrayKey;
}

/// An INVITE whose answer nobody waits for any more; ends with its client transaction.
#[derive(Debug)]
pub struct Stray {
    /// `None` for an INVITE that was answered as it should be.
    origin: Option<Origin>,
    carrier_id: Option<CarrierId>,
    client: ClientKey,
    flow: Flow,
    local_tag: Tag,
    /// The INVITE's octets.
    invite: Bytes,
    /// Why it was left, for the Reason of its CANCEL.
    reason: Arc<str>,
    is_cancelled: bool,
    acks: Acks,
}

/// Which attempt of which call it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub call: CallKey,
    /// Its place in the record, from 1.
    pub attempt: u8,
}

/// The ACKs of one INVITE's answers by the tag that answered, for repeated 2xx.
#[derive(Debug, Default)]
pub struct Acks(Vec<(Box<[u8]>, Flow, Bytes)>);

/// More than the requests that we send in an early dialog.
const EARLY_REQUESTS: u32 = 100;
/// Answers of one forked INVITE that we keep an ACK for.
const MAX_ACKS: usize = 8;

impl Acks {
    /// Remembers the ACK of an answer, and where it went.
    pub fn note(&mut self, tag: &[u8], (flow, ack): (Flow, Bytes)) {
        if self.0.len() < MAX_ACKS {
            self.0.push((tag.into(), flow, ack));
        }
    }

    /// Acknowledges a repeated 2xx again; `false` where it is none.
    pub fn repeat(&self, cx: &mut Context, tag: &[u8]) -> bool {
        let Some((_, flow, ack)) = self.0.iter().find(|(by, ..)| **by == *tag) else {
            return false;
        };
        cx.counters.retransmissions_sent += 1;
        cx.send(*flow, ack.clone());
        true
    }
}

/// Leaves an attempt behind: no more retransmissions; CANCEL as soon as a provisional response allows
/// it (RFC 3261 §9.1).
#[expect(clippy::too_many_arguments, reason = "all that an attempt leaves behind")]
pub fn leave(
    cx: &mut Context,
    origin: Origin,
    carrier_id: CarrierId,
    client: ClientKey,
    flow: Flow,
    local_tag: Tag,
    invite: Bytes,
    reason: &str,
) {
    let stray = Stray {
        origin: Some(origin),
        carrier_id: Some(carrier_id),
        client,
        flow,
        local_tag,
        invite,
        reason: reason.into(),
        is_cancelled: false,
        acks: Acks::default(),
    };
    let key = cx.strays.insert(stray);
    let mut is_cancellable = false;
    let found = cx.with_client(client, |client, now, _| {
        client.owner = Owner::Stray(key);
        if let ClientMachine::Invite(machine) = &mut client.machine {
            is_cancellable = machine.is_cancellable();
            machine.abandon(now);
        }
    });
    if found.is_none() {
        // The transaction has timed out already: nothing can come.
        cx.strays.remove(key);
    } else if is_cancellable {
        cancel(cx, key);
    }
}

/// Keeps an INVITE that is answered and acknowledged as long as its transaction lives. `invite`:
/// empty for a re-INVITE, which no other branch can answer.
pub fn keep(
    cx: &mut Context,
    carrier_id: Option<CarrierId>,
    client: ClientKey,
    flow: Flow,
    local_tag: Tag,
    invite: Bytes,
    acks: Acks,
) {
    if cx.transactions.client(client).is_none() {
        // Too late for anything to come.
        return;
    }
    let reason = "".into();
    let stray = Stray {
        origin: None,
        carrier_id,
        client,
        flow,
        local_tag,
        invite,
        reason,
        is_cancelled: true,
        acks,
    };
    let key = cx.strays.insert(stray);
    cx.with_client(client, |client, _, _| client.owner = Owner::Stray(key));
}

/// A response came for a stray. A new late answer is ended, and told by the attempt that it was.
pub fn on_response(cx: &mut Context, key: StrayKey, response: &Message) -> Option<Origin> {
    match response.status_code() {
        100..200 => {
            cancel(cx, key);
            None
        }
        200..300 => end_late_answer(cx, key, response),
        // Its machine has acknowledged it, and will end.
        _ => None,
    }
}

fn cancel(cx: &mut Context, key: StrayKey) {
    let Some(stray) = cx.strays.get_mut(key) else { return };
    if std::mem::replace(&mut stray.is_cancelled, true) {
        return;
    }
    let (client, flow, invite) = (stray.client, stray.flow, stray.invite.clone());
    let reason = stray.reason.clone();
    send_cancel(cx, client, flow, &invite, &reason);
}

/// Sends the CANCEL of an INVITE, in a transaction of its own with the INVITE's branch.
pub(super) fn send_cancel(
    cx: &mut Context,
    client: ClientKey,
    flow: Flow,
    invite: &Bytes,
    reason: &str,
) {
    let reason = (!reason.is_empty()).then_some(reason.as_bytes());
    let request = print::cancel_for(invite, reason);
    let cancel = cx.start_client(Method::Cancel, flow, Owner::Nobody, |_, _| request);
    cx.with_client(client, |client, now, _| {
        client.cancel = Some(cancel);
        // §9.1: without a final response within 64*T1 the INVITE counts as cancelled.
        client.machine.limit(now + crate::transaction::timer::TRANSACTION_LIMIT);
    });
}

/// RFC 3261 §13.2.2.4: whoever answers is acknowledged; then hung up, for the call is elsewhere.
fn end_late_answer(cx: &mut Context, key: StrayKey, response: &Message) -> Option<Origin> {
    let stray = cx.strays.get_mut(key)?;
    let tag = response.to_tag().unwrap_or_default();
    let (flow, local_tag, invite) = (stray.flow, stray.local_tag, stray.invite.clone());
    let (origin, carrier_id) = (stray.origin, stray.carrier_id);
    let acks = std::mem::take(&mut stray.acks);
    let is_repeated = acks.repeat(cx, tag);
    // A re-INVITE is kept without its octets: no other branch can answer it.
    let new = (!is_repeated && !invite.is_empty()).then(|| {
        cx.counters.late_answers += 1;
        let dialog = Dialog::uac(OwnInvite::of(&invite), local_tag, response);
        end_dialog(cx, carrier_id, flow, dialog, &invite)
    });
    let is_new = new.is_some();
    let stray = cx.strays.get_mut(key)?;
    stray.acks = acks;
    if let Some(sent) = new {
        stray.acks.note(tag, sent);
    }
    origin.filter(|_| is_new)
}

/// Acknowledges the 2xx that made a dialog and hangs it up at once; gives the ACK, for repeated 2xx.
/// `invite`: ours, whose credentials the ACK carries.
pub(super) fn end_dialog(
    cx: &mut Context,
    carrier_id: Option<CarrierId>,
    known: Flow,
    mut dialog: Dialog,
    invite: &Bytes,
) -> (Flow, Bytes) {
    let flow = cx.flow_towards(dialog.next_hop(), known);
    let branch = cx.new_branch();
    let listener = cx.settings.listener(flow.listener);
    let mut printer = dialog.ack(dialog.local_seq, listener, branch);
    credentials::write_into_ack(cx, invite, &mut printer);
    let ack = printer.finish(b"");
    cx.send(flow, ack.clone());
    // PRACKs and UPDATEs of ours may have gone before, while this dialog was early.
    dialog.jump_seq(dialog.local_seq.saturating_add(EARLY_REQUESTS));
    let owner = carrier_id.map_or(Owner::Nobody, Owner::Farewell);
    cx.start_towards(carrier_id, Method::Bye, flow, owner, |branch, settings| {
        let listener = settings.listener(flow.listener);
        let mut printer = dialog.request(b"BYE", listener, branch);
        printer.header(HeaderName::UserAgent, settings.user_agent.as_bytes());
        printer.finish(b"")
    });
    (flow, ack)
}
