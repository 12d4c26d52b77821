//! Cuts a byte stream into messages (RFC 3261 §7.5, §18.3, RFC 5626 §3.5.1).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::HeaderName;
use super::essentials::content_length;
use super::message::MAX_MESSAGE_OCTETS;
use super::scan::{fields, line_end};

/// What a stream yields.
///
/// Each CRLF between messages counts as it comes, for a lone one may be an answer that somebody waits for: two in
/// a row give `Pong`, `Ping`. A pong that answers no ping of ours means nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// One whole message.
    Message(Bytes),
    /// The second of a CRLFCRLF between messages: answer with one CRLF.
    Ping,
    /// A single CRLF: the answer to our ping.
    Pong,
}

/// Why a connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("a message over {0} octets")]
    TooLarge(usize),
    #[error("Content-Length is missing, negative, repeated with different values or not a number")]
    ContentLength,
}

/// The unfinished rest of one stream.
///
/// Frames do not depend on how the octets were cut up on their way. After an error nothing more comes.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    state: State,
    /// The last octets taken were a CRLF between messages that may be half a ping.
    has_half_ping: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Between messages.
    #[default]
    Between,
    /// In a head; no empty line ends before offset `searched` of the buffer.
    Head { searched: usize },
    /// A head is whole: the message has this many octets.
    Body { octets: usize },
    /// The head at the front of the buffer, this long, cannot be framed.
    Failed { error: FramingError, head: usize },
}

impl Framer {
    /// Adds octets as they were read.
    pub fn push(&mut self, octets: &[u8]) {
        match self.state {
            State::Between | State::Head { .. } | State::Body { .. } => {
                self.buffer.extend_from_slice(octets);
            }
            State::Failed { .. } => {}
        }
    }

    /// The next frame, `None` until more octets come.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        loop {
            self.state = match self.state {
                State::Between => match self.between() {
                    Some(frame) => return Ok(Some(frame)),
                    None if matches!(self.buffer[..], [] | [b'\r']) => return Ok(None),
                    None => State::Head { searched: 0 },
                },
                State::Head { searched } => match self.head_end(searched) {
                    Some(head) => self.body_after(head),
                    None if self.buffer.len() >= MAX_MESSAGE_OCTETS => too_large(0),
                    None => {
                        // The line end just seen may be half of the empty line.
                        let searched = self.buffer.len().saturating_sub(2);
                        self.state = State::Head { searched };
                        return Ok(None);
                    }
                },
                State::Body { octets } if self.buffer.len() >= octets => {
                    self.state = State::Between;
                    return Ok(Some(Frame::Message(self.buffer.split_to(octets).freeze())));
                }
                State::Body { .. } => return Ok(None),
                State::Failed { error, .. } => return Err(error),
            };
        }
    }

    /// After [`FramingError::ContentLength`]: the head that could not be framed, for a 400 before the connection is
    /// closed.
    pub fn refused_head(&self) -> Option<Bytes> {
        match self.state {
            State::Failed { error: FramingError::ContentLength, head } => {
                Some(Bytes::copy_from_slice(&self.buffer[..head]))
            }
            State::Failed { .. } | State::Between | State::Head { .. } | State::Body { .. } => None,
        }
    }

    /// Octets held that no frame has carried yet.
    pub fn held_octets(&self) -> usize {
        self.buffer.len()
    }

    fn between(&mut self) -> Option<Frame> {
        if !self.buffer.starts_with(b"\r\n") {
            if !matches!(self.buffer[..], [] | [b'\r']) {
                self.has_half_ping = false;
            }
            return None;
        }
        self.buffer.advance(2);
        self.has_half_ping = !self.has_half_ping;
        Some(if self.has_half_ping { Frame::Pong } else { Frame::Ping })
    }

    /// The offset after the empty line that ends the head, if it has come.
    fn head_end(&self, searched: usize) -> Option<usize> {
        let mut at = searched;
        loop {
            at += memchr(b'\n', &self.buffer[at..])? + 1;
            match &self.buffer[at..] {
                [b'\r', b'\n', ..] => return Some(at + 2),
                // A head with bare line ends is framed, so that its message can be refused.
                [b'\n', ..] => return Some(at + 1),
                _ => {}
            }
        }
    }

    fn body_after(&self, head: usize) -> State {
        // RFC 3261 §18.3: on a stream, Content-Length says where the message ends.
        match stream_content_length(&self.buffer[..head]) {
            None => State::Failed { error: FramingError::ContentLength, head },
            Some(body) => match head.checked_add(body) {
                Some(octets) if octets <= MAX_MESSAGE_OCTETS => State::Body { octets },
                Some(_) | None => too_large(head),
            },
        }
    }
}

const fn too_large(head: usize) -> State {
    State::Failed { error: FramingError::TooLarge(MAX_MESSAGE_OCTETS), head }
}

/// The one value that all Content-Length fields of a head give.
fn stream_content_length(head: &[u8]) -> Option<usize> {
    let start = line_end(head, 0)?.next;
    let mut length = None;
    for field in fields(head, start) {
        if field.name != HeaderName::ContentLength {
            continue;
        }
        let value = content_length(&head[field.value_start..field.value_end])?;
        if length.is_some_and(|length| length != value) {
            return None;
        }
        length = Some(value);
    }
    length
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
