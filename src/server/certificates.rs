//! Certificates that are exchanged while we run.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::signal::unix::{SignalKind, signal};

use crate::net::stream::tls::{TlsConfigs, TlsError, TlsFiles};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What new TLS connections begin with, and the files it is read from.
#[derive(Debug)]
pub(super) struct Certificates {
    files: TlsFiles,
    configs: Arc<ArcSwapOption<TlsConfigs>>,
    written_at: Vec<Option<SystemTime>>,
}

impl Certificates {
    pub(super) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let written_at = files.written_at();
        let configs = Arc::new(ArcSwapOption::from_pointee(files.load()?));
        Ok(Self { files: files.clone(), configs, written_at })
    }

    pub(super) fn configs(&self) -> Arc<ArcSwapOption<TlsConfigs>> {
        self.configs.clone()
    }

    /// Reads the files again when they have changed, or at a SIGHUP. Connections that are open go on as they are.
    pub(super) async fn keep_fresh(mut self) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        loop {
            let told = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let is_told = tokio::select! {
                _ = told => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            self.look(is_told);
        }
    }

    fn look(&mut self, is_told: bool) {
        let written_at = self.files.written_at();
        if !is_told && written_at == self.written_at {
            return;
        }
        // Half a file is not read again until it is written on.
        self.written_at = written_at;
        match self.files.load() {
            Ok(configs) => {
                self.configs.store(Some(Arc::new(configs)));
                tracing::info!("certificates are read again");
            }
            Err(error) => {
                tracing::error!(%error, "certificates cannot be read; those before stay in force");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_new_files_when_they_change_or_when_told_and_keeps_the_old_ones_where_those_are_bad() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        let write = |age_s: u64| {
            let made = rcgen::generate_simple_self_signed(["sip.example".to_owned()]);
            let made = made.expect("a certificate");
            std::fs::write(path("chain"), made.cert.pem()).expect("written");
            std::fs::write(path("key"), made.signing_key.serialize_pem()).expect("written");
            let file = std::fs::File::options().append(true).open(path("chain"));
            let at = SystemTime::now() - Duration::from_secs(age_s);
            file.and_then(|file| file.set_modified(at)).expect("set");
        };
        write(100);
        let files = TlsFiles { own: Some((path("chain"), path("key"))), ..TlsFiles::default() };
        let mut certificates = Certificates::load(&files).expect("good files");
        let in_force = certificates.configs();
        let first = in_force.load_full().expect("set");
        let is_in_force =
            |configs: &Arc<TlsConfigs>| Arc::ptr_eq(configs, &in_force.load_full().expect("set"));
        certificates.look(false);
        assert!(is_in_force(&first), "nothing has changed");
        certificates.look(true);
        assert!(!is_in_force(&first), "told to look");
        let second = in_force.load_full().expect("set");
        write(50);
        certificates.look(false);
        assert!(!is_in_force(&second), "the file is another one");
        let third = in_force.load_full().expect("set");
        std::fs::write(path("chain"), "half a file").expect("written");
        certificates.look(false);
        assert!(is_in_force(&third), "what makes no sense is not taken");
    }
}
