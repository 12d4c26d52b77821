//! The secrets of TLS connections in a file, for whoever has to read a capture of them: one line each, in the form
//! of SSLKEYLOGFILE, which Wireshark and its like take.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustls::KeyLog;

/// Appends to its file, which is nobody else's to read.
#[derive(Debug)]
pub(super) struct KeyLogFile(File);

impl KeyLogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self(file))
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = label.to_owned();
        for octets in [client_random, secret] {
            line.push(' ');
            for octet in octets {
                write!(line, "{octet:02x}").expect("a String takes all");
            }
        }
        line.push('\n');
        // A full disk must not end a call: the capture stays unread.
        let _ = (&self.0).write_all(line.as_bytes());
    }
}
