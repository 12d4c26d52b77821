//! The floor under every figure of `sip-tests/bench`: moves datagrams between two ends and thinks nothing.
//!
//! `reflector LISTEN CARRIER`: what comes from CARRIER goes to whoever sent last from elsewhere, all the rest to
//! CARRIER. It waits, receives and sends exactly as a shard does: one `ppoll`, then batches of up to 32 datagrams in
//! one `recvmmsg` and one `sendmmsg`, so that what a shard costs above it is Holdfast's own doing.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use bytes::Bytes;
use holdfast::net::udp::{BATCH, ReceiveBuffers, UdpSocket};
use holdfast::net::wake::wait;

fn main() -> Result<()> {
    let mut addresses = std::env::args().skip(1).map(|text| text.parse::<SocketAddr>());
    let listen = addresses.next().context("usage: reflector LISTEN CARRIER")??;
    let carrier = addresses.next().context("usage: reflector LISTEN CARRIER")??;
    let socket = UdpSocket::bind(listen, false)?;
    let mut buffers = ReceiveBuffers::default();
    let mut caller = None;
    let mut unsent: Vec<(SocketAddr, Bytes)> = Vec::with_capacity(BATCH);
    loop {
        let ready = wait(&[socket.as_raw_fd()], None)?;
        if ready.has_error(0) {
            // A caller that is gone must not keep the wait ready for ever.
            while socket.take_unreachable().is_some() {}
        }
        socket.receive(&mut buffers, |from, octets| {
            let to = if from == carrier {
                caller
            } else {
                caller = Some(from);
                Some(carrier)
            };
            unsent.extend(to.map(|to| (to, Bytes::copy_from_slice(octets))));
        })?;
        let mut sent = 0;
        while sent < unsent.len() {
            match socket.send(&unsent[sent..])? {
                // The kernel is full: what a network would drop, this drops.
                0 => break,
                count => sent += count,
            }
        }
        unsent.clear();
    }
}
