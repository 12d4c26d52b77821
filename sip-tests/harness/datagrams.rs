//! Single messages, written out byte for byte in a file, and the answer to each.

use std::io::ErrorKind;
use std::net::{SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::case::{Case, SendStep, plain};
use super::sip_text::SipText;
use super::template::Values;

/// How long an answer may take, and how long `silence` is listened for.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_secs(1);

/// Sends one message and checks the answer. Its To is then known as `{{<party>.to}}`.
pub(crate) fn send(
    step: &SendStep,
    case: &Case,
    values: &mut Values,
    socket: &UdpSocket,
    to: SocketAddrV4,
) -> Result<()> {
    let own = socket.local_addr()?;
    let mut filled = values.clone();
    filled.set("own.host", own.ip());
    filled.set("own.port", own.port());
    filled.set("target", to);
    for (name, value) in &step.values {
        filled.set(name.clone(), plain(value));
    }
    let text = std::fs::read_to_string(case.file(&step.file)?)?;
    let bytes = message(&text, &mut filled).with_context(|| format!("in {}", step.file))?;
    socket.send_to(&bytes, to)?;
    let Some(expect) = &step.expect else {
        return Ok(());
    };
    let branch = branch_of(&String::from_utf8_lossy(&bytes));
    if expect == "silence" {
        let answer = answer(socket, branch.as_deref(), SILENCE, false)?;
        ensure!(
            answer.is_none(),
            "{}: answered with {:?}",
            step.file,
            answer.map(|one| one.start_line)
        );
        return Ok(());
    }
    let wants_provisional = expect.starts_with('1');
    let Some(answer) = answer(socket, branch.as_deref(), ANSWER_LIMIT, wants_provisional)? else {
        bail!("{}: no answer within {ANSWER_LIMIT:?}, {expect} was expected", step.file);
    };
    ensure!(
        answer.start_line.starts_with(&format!("SIP/2.0 {expect}")),
        "{}: answered with {:?}, {expect} was expected",
        step.file,
        answer.start_line
    );
    values.set(format!("{}.to", step.from), answer.header("to").unwrap_or_default());
    Ok(())
}

/// The bytes of a `.sip` file: placeholders filled, `{{length}}` the body's length, line ends CRLF,
/// and `\xHH` any byte.
fn message(text: &str, values: &mut Values) -> Result<Vec<u8>> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let body = values.fill(body)?.replace('\n', "\r\n");
    values.set("length", bytes_of(&body)?.len());
    let head = values.fill(head)?.replace('\n', "\r\n");
    bytes_of(&format!("{head}\r\n\r\n{body}"))
}

fn bytes_of(text: &str) -> Result<Vec<u8>> {
    let mut parts = text.split("\\x");
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let hex = part.get(..2).context("\\x wants two hexadecimal digits")?;
        out.push(u8::from_str_radix(hex, 16)?);
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    Ok(out)
}

fn branch_of(text: &str) -> Option<String> {
    let (_, after) = text.split_once("branch=")?;
    let end = after.find([';', ',', '\r', ' ']).unwrap_or(after.len());
    Some(after[..end].to_owned())
}

/// The next response to that branch; `None` when the time is over.
fn answer(
    socket: &UdpSocket,
    branch: Option<&str>,
    limit: Duration,
    wants_provisional: bool,
) -> Result<Option<SipText>> {
    let until = Instant::now() + limit;
    let mut buffer = vec![0; 65_536];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        let len = match socket.recv(&mut buffer) {
            Ok(len) => len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let Some(text) = SipText::read(&buffer[..len]) else {
            continue;
        };
        let is_ours = branch.is_none_or(|branch| {
            text.header("via").is_some_and(|via| via.contains(&format!("branch={branch}")))
        });
        let is_final = text.status_code().is_some_and(|code| code >= 200);
        if is_ours && text.status_code().is_some() && is_final != wants_provisional {
            return Ok(Some(text));
        }
    }
}
