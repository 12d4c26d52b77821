//! What a machine wants done; its owner drains it after each call.

use bytes::Bytes;
use smallvec::SmallVec;

/// One thing to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these octets on the transaction's flow.
    Send(Bytes),
    /// Send octets that were sent before.
    SendAgain(Bytes),
    /// Hand the message that was just given to the machine to the transaction user.
    Deliver,
    /// Tell the transaction user that nobody answered (client) or acknowledged (server) in time.
    TimeOut,
}

/// A short queue of [`Action`]s.
#[derive(Debug, Default)]
pub struct Actions {
    queue: SmallVec<[Action; 4]>,
}

impl Actions {
    pub fn send(&mut self, octets: &Bytes) {
        self.queue.push(Action::Send(octets.clone()));
    }

    pub fn send_again(&mut self, octets: &Bytes) {
        self.queue.push(Action::SendAgain(octets.clone()));
    }

    pub fn deliver(&mut self) {
        self.queue.push(Action::Deliver);
    }

    pub fn time_out(&mut self) {
        self.queue.push(Action::TimeOut);
    }

    /// Everything there is to do, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Action> + '_ {
        self.queue.drain(..)
    }
}
