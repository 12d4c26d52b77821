//! Cuts a byte stream into messages (RFC 3261 §7.5, §18.3, RFC 5626 §3.5.1).

use bytes::Bytes;

/// What a stream yields.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// One whole message.
    Message(Bytes),
    /// CRLFCRLF between messages: answer with one CRLF.
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
#[derive(Debug, Default)]
pub struct Framer {}

impl Framer {
    /// Adds octets as they were read.
    pub fn push(&mut self, octets: &[u8]) {
        let _ = octets;
        todo!()
    }

    /// The next frame, `None` until more octets come.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        todo!()
    }
}
