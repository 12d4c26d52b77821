//! Requests for another node's dialogs, sent on as a stateless proxy does (RFC 3261 §16.11). The response comes back
//! through us, for a peer behind a NAT, or on a connection, can be reached by nobody else.
//!
//! Nothing is remembered: where the response belongs stands in our own Via, under a hash that only nodes of the
//! cluster can make.

use std::net::SocketAddr;

use super::engine::Engine;
use crate::carrier::{GatewayId, Transport};
use crate::dialog::Tag;
use crate::sip::{HeaderName, Message, Printer, Via};
use crate::transaction::{Flow, ListenerId};

/// The parameter of our Via that says where the response belongs: listener, address, port and gateway, in hex.
const PARAM: &str = "hf";
const COOKIE: &[u8] = b"z9hG4bKp";

impl Engine {
    /// Sends a request on to the node at `to`.
    pub(super) fn pass_on(&mut self, request: &Message, flow: Flow, to: SocketAddr) {
        let Some(listener) = self.cx.settings.listener_for(Transport::Udp, to) else { return };
        let own = self.cx.settings.listener(listener);
        let back = write(flow);
        let branch = branch(&back, request.top_via(), self.cx.settings.bucket_key);
        let via = format!(
            "SIP/2.0/{} {};branch={branch};{PARAM}={back}",
            own.via_transport(),
            own.advertised
        );
        if let Some(passed) = Printer::pass_on(request, via.as_bytes(), flow.remote) {
            self.cx.counters.passed_on += 1;
            self.cx.send(Flow::new(listener, to), passed);
        }
    }

    /// Sends the response to such a request back; `false` where it is none.
    pub(super) fn pass_back(&mut self, response: &Message) -> bool {
        let Some(top) = response.top_via() else { return false };
        let is_ours = top.branch.is_some_and(|branch| branch.starts_with(COOKIE));
        let Some(back) = top.param(PARAM).filter(|_| is_ours) else { return false };
        let next = response
            .all(HeaderName::Via)
            .nth(1)
            .and_then(|header| Via::parse_list(header.value).next().flatten());
        let Ok(back) = std::str::from_utf8(back) else { return false };
        let expected = branch(back, next, self.cx.settings.bucket_key);
        let Some(flow) = read(back, self.cx.settings.listeners.len()) else { return false };
        if top.branch != Some(expected.as_bytes()) {
            return false;
        }
        self.cx.send(flow, Printer::pass_back(response));
        true
    }
}

fn branch(back: &str, next: Option<Via<'_>>, key: u64) -> String {
    let next = next.and_then(|via| via.branch).unwrap_or_default();
    let hash = Tag::derived(&[back.as_bytes(), b" ", next].concat(), key);
    let cookie = String::from_utf8_lossy(COOKIE);
    format!("{cookie}{hash}")
}

fn write(flow: Flow) -> String {
    let gateway = flow.gateway().map_or(String::new(), |gateway| format!(" {gateway}"));
    let text = format!("{} {}{gateway}", flow.listener.0, flow.remote);
    text.bytes().map(|octet| format!("{octet:02x}")).collect()
}

fn read(back: &str, listeners: usize) -> Option<Flow> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let octets: Option<Vec<u8>> = back.as_bytes().chunks(2).map(pair).collect();
    let text = String::from_utf8(octets?).ok()?;
    let mut words = text.split(' ');
    let (listener, remote) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let gateway = words.next().map(|id| id.parse().map(GatewayId)).transpose().ok()?;
    (usize::from(listener) < listeners)
        .then_some(Flow::new(ListenerId(listener), remote).of_gateway(gateway))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_way_back_and_no_way_to_a_listener_that_is_not_there() {
        for remote in ["192.0.2.1:5060", "[2001:db8::1]:5061"] {
            let flow = Flow::new(ListenerId(1), remote.parse().expect("an address"));
            for flow in [flow, flow.of_gateway(Some(GatewayId(-7)))] {
                assert_eq!(read(&write(flow), 2), Some(flow));
                assert_eq!(read(&write(flow), 1), None);
            }
        }
        for text in ["", "zz", "3", "31 2e", "é0"] {
            assert_eq!(read(text, 2), None, "{text}");
        }
    }
}
