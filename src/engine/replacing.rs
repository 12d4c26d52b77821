//! Dialogs that are named by others: Replaces in an INVITE (RFC 3891), or in the Refer-To of a REFER (RFC 5589 §7).
//!
//! Only dialogs of this shard are found: a call, and all its dialogs, belongs to one.

use super::engine::Engine;
use crate::call::call::Replaced;
use crate::call::context::{CallKey, Owner};
use crate::call::transfer::{Fetch, Named, named_by};
use crate::call::{Call, Side};
use crate::carrier::Customer;
use crate::dialog::Tag;
use crate::sip::{HeaderName, Message, Replaces};
use crate::transaction::Flow;

impl Engine {
    /// The dialog of another call of the same customer that a REFER within `call` names.
    pub(super) fn named_for(&self, call: CallKey, refer: &Message) -> Option<Named> {
        let replaces = named_by(refer)?;
        let (key, side) = self.owner_of(&replaces)?;
        let (asking, named) = (self.calls.get(call)?, self.calls.get(key)?);
        let is_one_customers = asking.customer_id().is_some()
            && asking.customer_id() == named.customer_id()
            && key != call;
        is_one_customers.then(|| named.named(key, side, &replaces)).flatten()
    }

    /// An INVITE of a customer that names a dialog to be replaced (RFC 3891 §3).
    pub(super) fn on_replacing_invite(
        &mut self,
        request: Message,
        flow: Flow,
        customer: &Customer,
    ) {
        let mut fields = request.all(HeaderName::Replaces);
        let field = fields.next().filter(|_| fields.next().is_none());
        let Some(replaces) = field.and_then(|field| Replaces::parse(field.value)) else {
            return self.answer_statelessly(&request, flow, 400, "Bad Replaces");
        };
        let found = self.owner_of(&replaces).and_then(|(key, side)| {
            let call = self.calls.get(key)?;
            Some((key, side, call.replaced(side, &replaces)?, call.customer_id()))
        });
        let (key, side) = match found {
            Some((.., Replaced::Terminated, _)) => {
                return self.answer_statelessly(&request, flow, 603, "");
            }
            // Whose it is not hears no more than who made it up.
            Some((.., of)) if of != Some(customer.id) => {
                return self.answer_statelessly(&request, flow, 481, "");
            }
            None => return self.answer_statelessly(&request, flow, 481, ""),
            Some(_) if replaces.is_early_only => {
                return self.answer_statelessly(&request, flow, 486, "");
            }
            Some((key, side, Replaced::Confirmed, _)) => (key, side),
        };
        let server = self.open_server(request.clone(), flow, true);
        self.cx.respond(server, 100, b"", None, |_, _| {}, b"");
        if let Some(server) = self.cx.transactions.server(server) {
            server.owner = Some(Owner::Invite(key));
        }
        self.with_call(key, |call, cx| call.replace(cx, side, server, flow, &request));
    }

    /// Takes a leg out of one call for another.
    pub(super) fn fetch(&mut self, fetch: Fetch) {
        let ids = [fetch.from, fetch.by].map(|key| self.calls.get(key).and_then(Call::id));
        let mut fetched = None;
        if let Some(to) = ids[1] {
            self.with_call(fetch.from, |call, cx| fetched = call.give_away(cx, fetch.side, to));
        }
        self.with_call(fetch.by, |call, cx| call.on_fetched(cx, ids[0], fetched));
    }

    fn owner_of(&self, replaces: &Replaces) -> Option<(CallKey, Side)> {
        let tag = Tag::parse(&replaces.to_tag)?;
        self.cx.dialogs.get(&tag).copied()
    }
}
