//! Telephones: programs that a person would call with, without sound, told what to do by commands that are the same for
//! all of them (`dial URI`, `hold`, `resume`, `hangup`).

use std::io::Write;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};

use anyhow::{Context, Result};

use super::baresip::Baresip;
use super::case::{Role, root};
use super::ports::free_port;
use super::process::Process;
use super::template::Values;

/// What a telephone is to be.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) name: &'a str,
    pub(crate) number: &'a str,
    pub(crate) dir: &'a Path,
    pub(crate) own: SocketAddrV4,
    /// Where every request goes that begins a dialog.
    pub(crate) outbound: SocketAddrV4,
    /// `udp`, `tcp` or `tls`.
    pub(crate) transport: &'a str,
    /// Where the case's certificates are, and `scheme`, where its own URI is to be another than a `sip:` one.
    pub(crate) values: &'a Values,
}

impl Told<'_> {
    /// A file of the case's certificates: `ca`, `certificate`, `key`, `both`.
    pub(crate) fn tls(&self, kind: &str) -> Result<&str> {
        self.values.get(&format!("tls.{kind}")).context("every case has certificates")
    }
}

/// A telephone that runs. Ended when dropped.
#[derive(Debug)]
pub(crate) enum Telephone {
    Baresip(Baresip),
    /// One that reads lines; the words that it has for our commands.
    Lines {
        process: Process,
        stdin: ChildStdin,
        words: fn(&str) -> &str,
    },
}

impl Telephone {
    pub(crate) fn start(role: Role, told: &Told<'_>) -> Result<Self> {
        match role {
            Role::Pjsua2 => pjsua2(told),
            Role::Linphone => linphone(told),
            _ => Ok(Self::Baresip(Baresip::start(told)?)),
        }
    }

    pub(crate) fn command(&mut self, command: &str, params: &str) -> Result<()> {
        match self {
            Self::Baresip(baresip) => baresip.command(command, params),
            Self::Lines { stdin, words, process } => writeln!(stdin, "{} {params}", words(command))
                .and_then(|()| stdin.flush())
                .with_context(|| format!("{} does not read", process.name)),
        }
    }

    pub(crate) fn exit_code(&mut self) -> Result<Option<i32>> {
        match self {
            Self::Baresip(baresip) => baresip.process.exit_code(),
            Self::Lines { process, .. } => process.exit_code(),
        }
    }
}

/// What has to be installed for a role and is not, in a word for `sip-tests/run`.
pub(crate) fn missing(role: Role) -> Option<&'static str> {
    let is_on_path = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).exists())
    };
    match role {
        Role::Pjsua2 if !python().exists() => Some("pjsua2-python (PyPI)"),
        Role::Linphone if !is_on_path("linphonec") => Some("linphone-cli (Debian)"),
        _ => None,
    }
}

/// The interpreter that has pjsua2: of an environment that `sip-tests/run` makes.
pub(crate) fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pjsua2/bin/python")
}

fn reads_lines(process: Process, words: fn(&str) -> &str) -> Result<Telephone> {
    let mut process = process;
    let stdin = process.stdin().context("its input is ours")?;
    Ok(Telephone::Lines { process, stdin, words })
}

fn pjsua2(told: &Told<'_>) -> Result<Telephone> {
    let python = python();
    let media_port = free_port()?;
    let scheme = told.values.get("scheme").unwrap_or("sip");
    let tls = [told.tls("ca")?, told.tls("certificate")?, told.tls("key")?];
    let process = Process::start(told.name, told.dir, &python.display().to_string(), |command| {
        command.arg(root().join("harness/pjsua2_phone.py")).arg(scheme).arg(told.number);
        command.arg(told.own.ip().to_string()).arg(told.own.port().to_string());
        command.arg(told.transport).arg(told.outbound.to_string()).arg(media_port.to_string());
        command.args(tls).stdin(Stdio::piped());
    })?;
    reads_lines(process, |command| command)
}

fn linphone(told: &Told<'_>) -> Result<Telephone> {
    let config = told.dir.join(format!("{}.linphonerc", told.name));
    std::fs::write(&config, linphone_config(told)?)?;
    // Its database, whose folder it does not make.
    std::fs::create_dir_all(told.dir.join(".local/share/linphone"))?;
    let process = Process::start(told.name, told.dir, "linphonec", |command| {
        command.arg("-a").arg("-c").arg(&config).env("HOME", told.dir).stdin(Stdio::piped());
    })?;
    let mut telephone = reads_lines(process, |command| match command {
        "dial" => "call",
        "hold" => "pause",
        "hangup" => "terminate",
        other => other,
    })?;
    // No sound devices: it plays to, and records from, files.
    telephone.command("soundcard", "use files")?;
    Ok(telephone)
}

fn linphone_config(told: &Told<'_>) -> Result<String> {
    let (host, port) = (told.own.ip(), told.own.port());
    let listens = |transport: &str| if transport == told.transport { port } else { 0 };
    let media_port = free_port()?;
    Ok(format!(
        "[sip]\n\
         bind_address={host}\n\
         sip_port={}\n\
         sip_tcp_port={}\n\
         sip_tls_port={}\n\
         root_ca={}\n\
         client_cert_chain={}\n\
         client_cert_key={}\n\
         verify_server_certs=1\n\
         verify_server_cn=0\n\
         default_proxy=0\n\
         auto_net_state_mon=0\n\
         guess_hostname=0\n\
         contact=sip:{}@{host}:{port}\n\
         register_only_when_network_is_up=0\n\
         use_ipv6=0\n\
         [rtp]\n\
         bind_address={host}\n\
         audio_rtp_port={media_port}\n\
         [proxy_0]\n\
         reg_proxy=<sip:{};transport={}>\n\
         reg_route=<sip:{};transport={};lr>\n\
         reg_identity=sip:{}@{host}\n\
         reg_sendregister=0\n\
         publish=0\n",
        listens("udp"),
        listens("tcp"),
        listens("tls"),
        told.tls("ca")?,
        told.tls("certificate")?,
        told.tls("key")?,
        told.number,
        told.outbound,
        told.transport,
        told.outbound,
        told.transport,
        told.number,
    ))
}
