//! Answers that wait until their calls are kept outside of the node.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use crate::call::CallKey;
use crate::engine::Flow;

/// Messages by the call they wait for; the waits all have one length, so the oldest is over first.
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: HashMap<CallKey, Vec<(Flow, Bytes)>>,
    ends: VecDeque<(Instant, CallKey)>,
}

impl Held {
    pub(super) fn hold(&mut self, call: CallKey, flow: Flow, bytes: Bytes, until: Instant) {
        self.messages.entry(call).or_default().push((flow, bytes));
        self.ends.push_back((until, call));
    }

    /// What waits for a call, which waits no more.
    pub(super) fn take(&mut self, call: CallKey) -> Vec<(Flow, Bytes)> {
        self.messages.remove(&call).unwrap_or_default()
    }

    /// A call that has kept its messages waiting for too long.
    pub(super) fn pop_overdue(&mut self, now: Instant) -> Option<CallKey> {
        self.forget_taken();
        let (_, call) = self.ends.pop_front_if(|(until, _)| *until <= now)?;
        Some(call)
    }

    /// When the next wait is over.
    pub(super) fn next(&self) -> Option<Instant> {
        let waits = |(_, call): &&(Instant, CallKey)| self.messages.contains_key(call);
        self.ends.iter().find(waits).map(|(until, _)| *until)
    }

    fn forget_taken(&mut self) {
        while self.ends.front().is_some_and(|(_, call)| !self.messages.contains_key(call)) {
            self.ends.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slotmap::SlotMap;

    use super::*;
    use crate::engine::ListenerId;

    #[test]
    fn gives_a_message_out_once_when_its_call_is_kept_or_when_it_has_waited_long_enough() {
        let mut calls: SlotMap<CallKey, ()> = SlotMap::with_key();
        let (kept, late) = (calls.insert(()), calls.insert(()));
        let flow = Flow::new(ListenerId(0), "192.0.2.1:5060".parse().expect("an address"));
        let begun = Instant::now();
        let until = begun + Duration::from_millis(50);
        let mut held = Held::default();
        held.hold(kept, flow, Bytes::from_static(b"1"), until);
        held.hold(late, flow, Bytes::from_static(b"2"), until + Duration::from_millis(1));
        assert_eq!(held.next(), Some(until));
        assert_eq!(held.take(kept), [(flow, Bytes::from_static(b"1"))]);
        assert!(held.take(kept).is_empty());
        assert_eq!(held.next(), Some(until + Duration::from_millis(1)));
        assert_eq!(held.pop_overdue(until), None);
        assert_eq!(held.pop_overdue(until + Duration::from_millis(1)), Some(late));
        assert_eq!(held.take(late), [(flow, Bytes::from_static(b"2"))]);
        assert_eq!(held.pop_overdue(until + Duration::from_secs(1)), None);
        assert_eq!(held.next(), None);
    }
}
