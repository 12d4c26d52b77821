//! What was sent when, for people: the ladder of one call.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::Bytes;

use super::text::Text;

#[derive(Debug, Default)]
pub struct Ladder {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    at: u64,
    peer: SocketAddr,
    /// `->` arrives at the engine, `<-` sent by it; an `x` marks a loss.
    mark: &'static str,
    bytes: Bytes,
}

impl Ladder {
    pub fn note(&mut self, at: u64, peer: SocketAddr, mark: &'static str, bytes: &Bytes) {
        self.entries.push(Entry { at, peer, mark, bytes: bytes.clone() });
    }

    /// The messages of one call. `calls` knows Call-IDs.
    pub fn of_call(&self, calls: &HashMap<String, usize>, call: usize) -> String {
        let mut lines = String::new();
        for entry in &self.entries {
            let Some(text) = Text::parse(&entry.bytes) else { continue };
            if calls.get(text.call_id()) == Some(&call) {
                lines.push_str(&line(entry, &text));
            }
        }
        lines
    }
}

fn line(entry: &Entry, text: &Text) -> String {
    let what = match text.is_request() {
        true => text.method().to_owned(),
        false => text.start.trim_start_matches("SIP/2.0 ").to_owned(),
    };
    let branch = text.branch();
    format!(
        "{:>12.3} ms  {:<22} {} {:<28} {} {}  {} from {} to {}\n",
        entry.at as f64 / 1_000.0,
        entry.peer,
        entry.mark,
        what,
        text.seq(),
        text.method(),
        &branch[branch.len().saturating_sub(8)..],
        text.tag_of_from(),
        text.tag_of_to(),
    )
}
