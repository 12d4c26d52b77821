//! Wireshark's opinion: its SIP dissector must find nothing malformed in what Holdfast sent.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use super::capture::Datagram;

/// `LINKTYPE_RAW`: packets that begin with their IP header.
const LINKTYPE_RAW: u32 = 101;
/// The dissector reads each packet on its own, so a sample of a load test's thousands is enough.
const MAX_PACKETS: usize = 2_000;

/// Each malformed packet as a line; nothing where tshark is not installed.
pub(crate) fn malformed(datagrams: &[Datagram], dir: &Path) -> Result<Vec<String>> {
    let sip: Vec<&Datagram> = datagrams
        .iter()
        .filter(|datagram| datagram.payload().iter().any(|byte| !b"\r\n\0".contains(byte)))
        .take(MAX_PACKETS)
        .collect();
    if sip.is_empty() || !is_installed() {
        return Ok(Vec::new());
    }
    let path = dir.join("holdfast-sent.pcap");
    std::fs::write(&path, pcap(sip.iter().map(|one| (one.wall, &*one.packet))))?;
    let ports: BTreeSet<u16> =
        sip.iter().flat_map(|one| [one.from.port(), one.to.port()]).collect();
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(&path);
    for port in ports {
        command.arg("-d").arg(format!("udp.port=={port},sip"));
    }
    command.args(["-Y", "_ws.malformed or _ws.expert.severity == error or not sip"]);
    command.args(["-T", "fields", "-e", "frame.number", "-e", "sip.Request-Line"]);
    command.args(["-e", "sip.Status-Line", "-e", "_ws.expert.message"]);
    let output = command.output().context("cannot run tshark")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark failed: {told}");
    let lines = String::from_utf8_lossy(&output.stdout);
    Ok(lines
        .lines()
        .map(|line| format!("tshark finds malformed: {}", line.replace('\t', " | ")))
        .collect())
}

pub(crate) fn is_installed() -> bool {
    use std::sync::LazyLock;
    static IS_INSTALLED: LazyLock<bool> =
        LazyLock::new(|| Command::new("tshark").arg("--version").output().is_ok());
    *IS_INSTALLED
}

/// A capture file of IP packets, each with its time.
pub(crate) fn pcap<'a>(packets: impl Iterator<Item = (SystemTime, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(0xa1b2_c3d4_u32.to_le_bytes());
    out.extend(2_u16.to_le_bytes());
    out.extend(4_u16.to_le_bytes());
    out.extend([0; 8]);
    out.extend(65_535_u32.to_le_bytes());
    out.extend(LINKTYPE_RAW.to_le_bytes());
    for (wall, packet) in packets {
        let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let len = packet.len() as u32;
        out.extend((since.as_secs() as u32).to_le_bytes());
        out.extend(since.subsec_micros().to_le_bytes());
        out.extend(len.to_le_bytes());
        out.extend(len.to_le_bytes());
        out.extend_from_slice(packet);
    }
    out
}
