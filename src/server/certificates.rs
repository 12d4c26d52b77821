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
