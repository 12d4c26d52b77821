//! A private Postgres server in a temporary folder, on a free port of loopback.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::ports::free_port;

/// Stopped, and its folder removed, when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    port: u16,
    dir: TempDir,
    bin: PathBuf,
    databases: AtomicU32,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let server = Self::in_new_folder()?;
        let data = server.data();
        server.run(
            "initdb",
            &["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"],
        )?;
        server.restart()?;
        Ok(server)
    }

    fn in_new_folder() -> Result<Self> {
        let server = Self {
            port: free_port()?,
            dir: tempfile::Builder::new().prefix("holdfast-postgres-").tempdir()?,
            bin: binaries()?,
            databases: AtomicU32::new(0),
        };
        server.own_folder()?;
        Ok(server)
    }

    /// Makes a database and says its URL.
    pub(crate) fn create_database(&self, name: &str) -> Result<String> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}_{number}");
        let port = self.port.to_string();
        self.run("createdb", &["-h", "127.0.0.1", "-p", &port, "-U", "postgres", &name])?;
        Ok(format!("postgres://postgres@127.0.0.1:{port}/{name}"))
    }

    pub(crate) fn restart(&self) -> Result<()> {
        let options =
            format!("-p {} -c listen_addresses=127.0.0.1 -k {}", self.port, self.folder());
        let settings = "-c fsync=off -c max_connections=200 -c shared_buffers=32MB";
        let log = format!("{}/log", self.folder());
        let options = format!("{options} {settings}");
        let started =
            self.run("pg_ctl", &["start", "-w", "-D", &self.data(), "-l", &log, "-o", &options]);
        started.with_context(|| std::fs::read_to_string(log).unwrap_or_default())
    }

    pub(crate) fn stop(&self) -> Result<()> {
        self.run("pg_ctl", &["stop", "-w", "-m", "immediate", "-D", &self.data()])
    }

    /// A server that follows this one, as a hot standby: records reach it a moment after this one has said that it has them.
    pub(crate) fn start_standby(&self) -> Result<Self> {
        let standby = Self::in_new_folder()?;
        let (port, data) = (self.port.to_string(), standby.data());
        let from = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
        let to = ["-D", &data, "-R", "-X", "stream", "-c", "fast", "--no-sync"];
        standby.run("pg_basebackup", &[&from[..], &to[..]].concat())?;
        standby.restart()?;
        Ok(standby)
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) -> Result<()> {
        self.run("pg_ctl", &["promote", "-w", "-D", &self.data()])
    }

    /// Ends it as a crash would: nobody is told.
    pub(crate) fn kill(&self) -> Result<()> {
        let pid_file = format!("{}/postmaster.pid", self.data());
        let pids = std::fs::read_to_string(&pid_file)?;
        let pid = pids.lines().next().context("no pid in postmaster.pid")?;
        let status = Command::new("kill").args(["-9", pid]).status()?;
        ensure!(status.success(), "cannot kill {pid}");
        // Its children notice, a moment later; until then they keep its memory, and it could not be started again.
        for _ in 0..200 {
            if self.pids().is_empty() {
                // Nobody may have collected the dead process yet, which would look alive to the next.
                std::fs::remove_file(&pid_file)?;
                let lock = format!("{}/.s.PGSQL.{}.lock", self.folder(), self.port);
                return Ok(std::fs::remove_file(lock)?);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        bail!("children of {pid} live on")
    }

    /// Of Postgres and its children, which work in its folder.
    fn pids(&self) -> Vec<String> {
        let data = PathBuf::from(self.data());
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours =
            entries.filter(|entry| entry.path().join("cwd").read_link().is_ok_and(|at| at == data));
        ours.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// From now on it takes connections, by the kernel's hand, and answers nobody.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal("-STOP")
    }

    pub(crate) fn thaw(&self) -> Result<()> {
        self.signal("-CONT")
    }

    /// To it and its children, which work in its folder.
    fn signal(&self, signal: &str) -> Result<()> {
        for pid in self.pids() {
            // One that has just ended needs none.
            Command::new("kill").args([signal, &pid]).stderr(Stdio::null()).status()?;
        }
        Ok(())
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn folder(&self) -> String {
        self.dir.path().display().to_string()
    }

    fn data(&self) -> String {
        format!("{}/data", self.folder())
    }

    /// Postgres refuses to run as root: its folder is given to the user that Debian made for it.
    fn own_folder(&self) -> Result<()> {
        if is_root()? {
            let status = Command::new("chown").args(["postgres", &self.folder()]).status()?;
            ensure!(status.success(), "cannot give {} to the user postgres", self.folder());
        }
        Ok(())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let path = self.bin.join(program);
        let mut command = if is_root()? {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"])
                .arg(&path);
            command
        } else {
            Command::new(&path)
        };
        // Output to a file: a pipe would stay open for as long as the server that was started.
        let log_path = self.dir.path().join(format!("{program}.out"));
        let log = std::fs::File::create(&log_path)?;
        command.args(arguments).current_dir("/").env("LC_ALL", "C.UTF-8");
        let status = command.stdout(log.try_clone()?).stderr(log).status()?;
        let told = std::fs::read_to_string(&log_path).unwrap_or_default();
        ensure!(status.success(), "{program} failed: {told}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A frozen one would not stop; an error means that it was stopped already.
        let _ = self.thaw().and_then(|()| self.stop());
    }
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output()?;
    Ok(output.stdout.starts_with(b"0\n"))
}

/// Debian keeps initdb and pg_ctl out of PATH; the newest version wins.
fn binaries() -> Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .context("no Postgres in /usr/lib/postgresql: apt-get install postgresql")?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            path.join("bin/initdb").exists().then(|| (version, path.join("bin")))
        })
        .collect();
    found.sort();
    let (_, newest) = found.pop().context("no initdb below /usr/lib/postgresql")?;
    Ok(newest)
}
