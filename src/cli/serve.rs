//! `holdfast serve`

use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::flags::SettingsFlags;
use crate::server::{self, Ended};
use crate::telemetry::log;

pub(super) fn run(flags: &SettingsFlags) -> anyhow::Result<ExitCode> {
    let settings = flags.raw().check()?;
    log::start(settings.log_format, &settings.log_filter)?;
    super::runtime()?.block_on(async {
        let mut signals = Signals::new().context("cannot listen for signals")?;
        let drain_timeout = settings.drain_timeout;
        let mut running = server::start(settings).await?;
        for address in running.sip_addresses() {
            tracing::info!(%address, "SIP listens");
        }
        tracing::info!(address = %running.admin_address(), "admin port listens");
        tokio::select! {
            () = running.ready() => {
                tracing::info!("ready");
                signals.next().await;
            }
            () = signals.next() => {}
        }
        tracing::info!(calls = running.calls_now(), "draining: new calls get 503");
        let calls_cut = running.drain(drain_timeout, signals.next()).await;
        let ended = Ended { calls_cut, ..running.stop().await };
        tracing::info!(calls_cut, records_lost = ended.records_lost, "ended");
        Ok(if ended == Ended::default() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
