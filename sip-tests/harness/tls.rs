//! What TLS carried: tshark reads the packets with the secrets that Holdfast wrote down (`tls_key_log`).

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::capture::{Datagram, Packet, Transport};
use super::dissect;

/// The messages in these packets, in their order. Each is one that Wireshark's dissectors have found in the stream.
pub(crate) fn messages(packets: &[Packet], secrets: &Path, dir: &Path) -> Result<Vec<Datagram>> {
    if packets.is_empty() || !dissect::is_installed() {
        return Ok(Vec::new());
    }
    let path = dir.join("tls.pcap");
    std::fs::write(&path, dissect::pcap(packets.iter().map(|one| (one.wall, &*one.octets))))?;
    let ports: BTreeSet<u16> =
        packets.iter().flat_map(|one| [one.from.port(), one.to.port()]).collect();
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(&path);
    command.arg("-o").arg(format!("tls.keylog_file:{}", secrets.display()));
    for port in ports {
        command.args([
            "-d",
            &format!("tcp.port=={port},tls"),
            "-d",
            &format!("tls.port=={port},sip"),
        ]);
    }
    command.args(["-Y", "sip", "-T", "jsonraw", "--no-duplicate-keys", "-j", "sip"]);
    let output = command.output().context("cannot run tshark")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark failed: {told}");
    let frames: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    let mut left = packets.iter();
    let mut messages = Vec::new();
    for frame in frames {
        let layers = &frame["_source"]["layers"];
        let whole = octets(&layers["frame_raw"][0]).context("a frame has octets")?;
        let packet = left.find(|one| *one.octets == *whole).context("a frame is one of ours")?;
        // One message, or a list of them.
        let sip = &layers["sip_raw"];
        let texts = match sip[0].is_array() {
            true => sip.as_array().into_iter().flatten().map(|one| &one[0]).collect(),
            false => vec![&sip[0]],
        };
        for text in texts {
            let text = octets(text).context("a message has octets")?;
            messages.extend(packet.carrying(&text, Transport::Tls));
        }
    }
    Ok(messages)
}

/// Of hexadecimal digits.
fn octets(hex: &serde_json::Value) -> Option<Vec<u8>> {
    let pairs = hex.as_str()?.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
