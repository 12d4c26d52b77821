//! The slow measures of the last hour, for whoever watches. They move no call.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::store::Store;
use crate::telemetry::metrics;

/// How often they are reckoned.
const EVERY: Duration = Duration::from_secs(60);

/// Never returns; dropped at the end of the program.
pub(super) async fn show(store: Store) {
    let mut shown = BTreeSet::new();
    loop {
        tokio::time::sleep(EVERY).await;
        match store.quality().await {
            Ok(measured) => {
                let mut now = BTreeSet::new();
                for one in measured {
                    let acd_seconds = one.acd_seconds.unwrap_or(f64::NAN);
                    metrics::quality(&one.carrier, &one.gateway, one.asr, one.ner, acd_seconds);
                    now.insert((one.carrier, one.gateway));
                }
                // What had calls and has none any more must not look as if it went on.
                for (carrier, gateway) in shown.difference(&now) {
                    metrics::quality(carrier, gateway, f64::NAN, f64::NAN, f64::NAN);
                }
                shown = now;
            }
            Err(error) => tracing::debug!(%error, "the measures of the last hour cannot be read"),
        }
    }
}
