//! Calls that come from other nodes, or go to them.

use std::time::Instant;

use super::engine::Engine;
use crate::call::{Call, CallKey, Output, Ownership, Replica};
use crate::sip::Message;
use crate::transaction::Flow;

/// Calls that are asked for again at a time, so that the place where they are kept is not flooded.
const MISSING_AT_ONCE: usize = 1_000;
/// A request whose call is on its way to us, or to somebody, is looked at again so often; whoever sent it repeats it.
const MAX_LOOKS: u8 = 50;

impl Engine {
    pub(super) fn adopt(&mut self, replica: Replica, refresh_at: [Instant; 2]) {
        let tags = [&replica.inbound, &replica.outbound].map(|leg| leg.dialog.local_tag);
        if tags.iter().any(|tag| self.cx.dialogs.contains_key(tag)) {
            // Ours already.
            return;
        }
        let cx = &mut self.cx;
        let key = self.calls.insert_with_key(|key| Call::adopt(cx, key, replica, refresh_at));
        if self.calls.get(key).is_some_and(Call::is_answered) {
            self.cx.counters.answered_now += 1;
        }
        self.with_call(key, |_, _| {});
    }

    pub(super) fn keep_missing(&mut self) {
        let cx = &mut self.cx;
        let mut asked = 0;
        for (_, call) in &mut self.calls {
            asked += usize::from(call.keep_at_last(cx));
            if asked == MISSING_AT_ONCE {
                break;
            }
        }
    }

    /// A node that was cut off, or frozen, finds that others have gone on without it.
    /// What was kept only after that was asked may be missing among ours; what others have was kept, whether we heard of
    /// it or not.
    pub(super) fn release_others(&mut self, owned: &Ownership, asked_at: Instant) {
        let is_lost = |call: &Call| {
            let was_kept = call.kept_at().is_some_and(|kept_at| kept_at < asked_at);
            call.id().is_some_and(|call_id| {
                owned.others.contains(&call_id) || (was_kept && !owned.ours.contains(&call_id))
            })
        };
        let lost: Vec<CallKey> =
            self.calls.iter().filter(|(_, call)| is_lost(call)).map(|(key, _)| key).collect();
        for key in lost {
            self.with_call(key, Call::release);
        }
    }

    pub(super) fn hand_over(&mut self, to: i64, limit: usize, region: Option<&str>) {
        let may_go = |call: &Call| {
            call.is_ready_to_go()
                && (region.is_none() || call.region().is_none() || call.region() == region)
        };
        let ready = self.calls.iter().filter(|(_, call)| may_go(call));
        let ready: Vec<CallKey> = ready.map(|(key, _)| key).take(limit).collect();
        for key in ready {
            let Some(call_id) = self.calls.get(key).and_then(Call::id) else { continue };
            self.with_call(key, Call::release);
            self.cx.outputs.push_back(Output::Released { call_id, to });
        }
    }

    /// Asks whether another node knows a dialog; `false` where nobody does, or can be asked.
    pub(super) fn ask_others(&mut self, request: &Message, flow: Flow) -> bool {
        let Some(looks) = self.looks.filter(|_| self.cx.settings.replicates) else { return false };
        if looks == 0 && self.lookups.take(self.cx.now).is_none() {
            return false;
        }
        if looks < MAX_LOOKS {
            let request = Box::new((flow, request.clone()));
            self.cx.outputs.push_back(Output::Unknown { request, looks: looks + 1 });
        }
        true
    }
}
