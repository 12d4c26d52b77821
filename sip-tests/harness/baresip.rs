//! A baresip telephone: no sound devices, ruled over its control socket.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::ports::free_port;
use super::process::{POLL, Process};
use super::telephone::Told;

/// Debian's place for its modules.
const MODULES: &str = "/usr/lib/baresip/modules";
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Baresip {
    /// Ended when dropped.
    pub(crate) process: Process,
    control: TcpStream,
    pending: Vec<u8>,
}

impl Baresip {
    /// Takes calls by itself; every request it sends goes to `outbound`.
    pub(crate) fn start(told: &Told<'_>) -> Result<Self> {
        let folder = told.dir.join(format!("{}.baresip", told.name));
        std::fs::create_dir_all(&folder)?;
        let control_port = free_port()?;
        std::fs::write(folder.join("config"), config(told, control_port)?)?;
        std::fs::write(folder.join("accounts"), account(told))?;
        let process = Process::start(told.name, told.dir, "baresip", |command| {
            command.arg("-4").arg("-f").arg(&folder);
        })?;
        let control = connect(SocketAddrV4::new(*told.own.ip(), control_port))?;
        control.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { process, control, pending: Vec::new() })
    }

    /// Gives a command of baresip's menu, e.g. `dial`, and waits for its being taken.
    pub(crate) fn command(&mut self, command: &str, params: &str) -> Result<()> {
        let request = serde_json::json!({ "command": command, "params": params, "token": command });
        let request = request.to_string();
        // A netstring: length, colon, text, comma.
        write!(self.control, "{}:{request},", request.len())?;
        let until = Instant::now() + ANSWER_LIMIT;
        while Instant::now() < until {
            if let Some(answer) = self.next_message()?
                && answer["response"].as_bool() == Some(true)
            {
                let is_ok = answer["ok"].as_bool() == Some(true);
                ensure!(is_ok, "baresip refused {command} {params}: {answer}");
                return Ok(());
            }
        }
        anyhow::bail!("baresip did not answer to {command} {params}")
    }

    /// An event or a response, if one has come.
    pub(crate) fn next_message(&mut self) -> Result<Option<serde_json::Value>> {
        if let Some(colon) = self.pending.iter().position(|byte| *byte == b':') {
            let len: usize = std::str::from_utf8(&self.pending[..colon])?.parse()?;
            let end = colon + 1 + len;
            if self.pending.len() > end {
                let value = serde_json::from_slice(&self.pending[colon + 1..end]);
                self.pending.drain(..=end);
                return Ok(Some(value.context("baresip writes JSON")?));
            }
        }
        let mut buffer = [0; 4096];
        // Nothing within the read timeout is nothing yet.
        if let Ok(len) = self.control.read(&mut buffer) {
            ensure!(len > 0, "baresip has ended");
            self.pending.extend_from_slice(&buffer[..len]);
        }
        Ok(None)
    }
}

fn connect(address: SocketAddrV4) -> Result<TcpStream> {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > until => {
                return Err(error).context("baresip's control port");
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// A tone as its microphone and nobody as its loudspeaker.
fn config(told: &Told<'_>, control_port: u16) -> Result<String> {
    let host = told.own.ip();
    // It takes TLS at the port after the one it is told.
    let port = told.own.port() - u16::from(told.transport == "tls");
    Ok(format!(
        "module_path {MODULES}\n\
         module account.so\n\
         module g711.so\n\
         module ausine.so\n\
         module aubridge.so\n\
         module_app menu.so\n\
         module_app ctrl_tcp.so\n\
         ctrl_tcp_listen {host}:{control_port}\n\
         sip_listen {host}:{port}\n\
         sip_trans_def {}\n\
         sip_certificate {}\n\
         sip_cafile {}\n\
         net_interface {host}\n\
         call_local_timeout 30\n\
         call_max_calls 4\n\
         audio_source ausine,440\n\
         ausrc_srate 48000\n\
         ausrc_channels 2\n\
         audio_player aubridge,nobody\n\
         audio_alert aubridge,nobody\n\
         ring_aufile none\n\
         rtp_ports 32100-32700\n\
         rtcp_mux no\n",
        told.transport,
        told.tls("both")?,
        told.tls("ca")?,
    ))
}

fn account(told: &Told<'_>) -> String {
    let Told { number, own, outbound, transport, .. } = told;
    format!(
        "<sip:{number}@{own};transport={transport}>;regint=0;answermode=auto;\
         outbound=\"sip:{outbound};transport={transport}\"\n"
    )
}
