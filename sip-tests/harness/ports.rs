//! Free ports, never fixed ones.

use std::collections::HashSet;
use std::net::{TcpListener, UdpSocket};
use std::sync::{LazyLock, Mutex};
use std::time::SystemTime;

use anyhow::{Result, bail};

/// Below the range from which the kernel takes ports for outgoing sockets, so that nothing else
/// walks into a port between its being found and its being bound.
const RANGE: std::ops::Range<u16> = 10_000..32_000;

struct Given {
    ports: HashSet<u16>,
    state: u64,
}

static GIVEN: LazyLock<Mutex<Given>> = LazyLock::new(|| {
    let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64);
    Mutex::new(Given {
        ports: HashSet::new(),
        state: nanos ^ (u64::from(std::process::id()) << 32) | 1,
    })
});

/// A port that nothing on any address of this machine has bound, for UDP or TCP, and that this
/// process never gave away before.
pub(crate) fn free_port() -> Result<u16> {
    free_ports(1)
}

/// The first of so many in a row, for whoever takes the ones behind it without being told.
pub(crate) fn free_ports(count: u16) -> Result<u16> {
    let mut given = GIVEN.lock().expect("no holder of this lock panics");
    for _ in 0..1_000 {
        let first = RANGE.start + (given.next() % RANGE.len() as u64) as u16;
        let mut all = first..first + count;
        let is_free = |port: u16| {
            !given.ports.contains(&port)
                && UdpSocket::bind(("0.0.0.0", port)).is_ok()
                && TcpListener::bind(("0.0.0.0", port)).is_ok()
        };
        if all.clone().all(is_free) {
            given.ports.extend(&mut all);
            return Ok(first);
        }
    }
    bail!("no free port found in 1000 tries")
}

impl Given {
    /// xorshift64*: spread, not secret.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
}
