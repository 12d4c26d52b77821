//! Checks that hold in every case, whatever it is about: one side of Holdfast learns nothing of
//! the other's signalling, and Holdfast's own messages say who it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

use super::wire::{Message, Way, Wire};

/// What Holdfast told a party that only another party's leg should know.
pub(crate) fn check(wire: &Wire, holdfast: SocketAddrV4) -> Vec<String> {
    let messages: Vec<Message> = wire
        .messages()
        .into_iter()
        .filter(|message| message.with_holdfast && !message.is_repeat)
        .collect();
    let mut secrets = secrets(&messages);
    for (party, own) in &mut secrets {
        own.extend(wire.address(party).map(|address| address.to_string()));
    }
    let mut wrong = BTreeSet::new();
    for message in messages.iter().filter(|message| message.way == Way::Received) {
        for (owner, texts) in secrets.iter().filter(|(owner, _)| **owner != message.party) {
            // What the party itself has said is no secret to it (a Call-ID of both directions).
            let own = secrets.get(&message.party);
            let told = texts.iter().filter(|text| own.is_none_or(|own| !own.contains(*text)));
            for text in told.filter(|text| says(message, text)) {
                wrong.insert(format!(
                    "`{} {}` tells {text:?}, which is {owner}'s",
                    message.party,
                    message.label()
                ));
            }
        }
        wrong.extend(own_headers(message, holdfast));
    }
    wrong.into_iter().collect()
}

/// For each party what its messages say of its leg: Call-ID, tags, branches, addresses.
fn secrets(messages: &[Message]) -> BTreeMap<String, BTreeSet<String>> {
    let mut secrets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for message in messages.iter().filter(|message| message.way == Way::Sent) {
        let own = secrets.entry(message.party.clone()).or_default();
        let text = &message.text;
        own.insert(text.call_id().to_owned());
        own.extend(text.tag("from").map(str::to_owned));
        own.extend(text.tag("to").map(str::to_owned));
        if text.status_code().is_none() {
            own.extend(text.all("via").into_iter().map(str::to_owned));
            own.extend(text.all("contact").into_iter().map(str::to_owned));
            own.extend(text.all("record-route").into_iter().map(str::to_owned));
        }
        // Too short to be unlike anything else.
        own.retain(|text| text.len() >= 4);
    }
    secrets
}

fn says(message: &Message, secret: &str) -> bool {
    message.text.headers().any(|(_, value)| value.contains(secret))
}

/// A request of ours has one Via, and every Via and Contact of ours names us.
fn own_headers(message: &Message, holdfast: SocketAddrV4) -> Vec<String> {
    let mut wrong = Vec::new();
    let text = &message.text;
    let place = format!("`{} {}`", message.party, message.label());
    if text.status_code().is_none() {
        let vias = text.all("via");
        if vias.len() != 1 || vias[0].contains(',') || !vias[0].contains(&holdfast.to_string()) {
            wrong.push(format!("{place} should have our Via alone: {vias:?}"));
        }
        if let Some(value) = text.header("record-route") {
            wrong.push(format!("{place} has Record-Route: {value}"));
        }
    }
    for contact in text.all("contact") {
        let is_redirect = text.status_code().is_some_and(|code| (300..400).contains(&code));
        if !contact.contains(&holdfast.to_string()) && !is_redirect {
            wrong.push(format!("{place} has Contact {contact}, which is not us"));
        }
    }
    wrong
}
