//! The subscription that a REFER makes (RFC 3515 §2.4.4): who sent it hears how the transfer goes.

use super::context::Context;
use super::leg::Leg;
use crate::sip::{HeaderName, Message, Method, Printer, status};
use crate::transaction::ServerKey;

/// How long we say that a transfer may take. What ends earlier says so.
const EXPIRES_S: u32 = 600;

impl Leg {
    /// Accepts the peer's REFER. Gives its CSeq, which is the subscription's id (RFC 3515 §2.4.6); `None` where the peer
    /// wants no subscription (RFC 4488).
    pub(super) fn accept_refer(
        &mut self,
        cx: &mut Context,
        server: ServerKey,
        request: &Message,
    ) -> Option<u32> {
        let refer_sub = request.by_text("Refer-Sub").map(|value| {
            value.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii()
        });
        let is_unwanted = refer_sub.is_some_and(|value| value.eq_ignore_ascii_case(b"false"));
        let listener = cx.settings.listener(self.flow.listener).clone();
        let contact = self.contact(cx);
        let write = |printer: &mut Printer, _: &Message| {
            contact.write(&listener, printer);
            if is_unwanted {
                printer.other("Refer-Sub", b"false");
            }
        };
        cx.respond(server, 202, b"", None, write, b"");
        (!is_unwanted).then(|| request.cseq().0)
    }

    /// Tells the peer how its REFER with CSeq `id` goes. `is_over`: nothing more will come.
    pub(super) fn notify(&mut self, cx: &mut Context, id: u32, status_code: u16, is_over: bool) {
        let flow = self.flow_out(cx);
        let (of, owner, contact) = (self.carrier_id(), self.unawaited(), self.contact(cx));
        let dialog = &mut self.dialog;
        let reason = status::reason_phrase(status_code);
        cx.start_towards(of, Method::Notify, flow, owner, |branch, settings| {
            let listener = settings.listener(flow.listener);
            let mut printer = dialog.request(b"NOTIFY", listener, branch);
            contact.write(listener, &mut printer);
            printer.header_fmt(HeaderName::Event, format_args!("refer;id={id}"));
            match is_over {
                true => {
                    printer.header(HeaderName::SubscriptionState, b"terminated;reason=noresource")
                }
                false => printer.header_fmt(
                    HeaderName::SubscriptionState,
                    format_args!("active;expires={EXPIRES_S}"),
                ),
            };
            printer
                .header(HeaderName::UserAgent, settings.user_agent.as_bytes())
                .header(HeaderName::ContentType, b"message/sipfrag;version=2.0");
            printer.finish(format!("SIP/2.0 {status_code} {reason}\r\n").as_bytes())
        });
    }
}
