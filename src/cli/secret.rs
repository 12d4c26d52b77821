//! `holdfast secret --user NAME --realm REALM`: what the tables keep instead of a password.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use crate::digest::{Algorithm, Ha1, Hidden};

#[derive(Debug, Args)]
#[command(
    after_help = "The password is the first line of the standard input: it is in no history of a shell then, and \
                        in no list of processes.\n\n  holdfast secret --user trunk --realm carrier.example < password"
)]
pub(super) struct SecretFlags {
    /// Name of the user
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The realm that the challenges name
    #[arg(long)]
    realm: String,
}

pub(super) fn run(flags: &SecretFlags) -> anyhow::Result<ExitCode> {
    let is_plain = |text: &str| {
        !text.is_empty() && !text.chars().any(|it| it.is_control() || it == '"' || it == '\\')
    };
    if !is_plain(&flags.user) || !is_plain(&flags.realm) {
        bail!(
            "a user and a realm have at least one character, and no quotes, backslashes or control characters"
        );
    }
    let password = password()?;
    let hash =
        |algorithm| Ha1::of(algorithm, flags.user.as_bytes(), flags.realm.as_bytes(), &password);
    println!("username       = {}", flags.user);
    println!("realm          = {}", flags.realm);
    println!("ha1_md5        = {}", hash(Algorithm::Md5).reveal());
    println!("ha1_sha256     = {}", hash(Algorithm::Sha256).reveal());
    println!("ha1_sha512_256 = {}", hash(Algorithm::Sha512_256).reveal());
    Ok(ExitCode::SUCCESS)
}

fn password() -> anyhow::Result<Hidden> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprint!("Password (it will be seen): ");
        let _ = std::io::stderr().flush();
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("cannot read the password")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("there is no password on the standard input");
    }
    Ok(Hidden::new(password.to_owned()))
}
