//! The slow measures of the last hour, for whoever watches. They move no call.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::store::Store;
use crate::telemetry::metrics::{self, SlowMeasures};

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
                    let or_none = |measure: Option<f64>| measure.unwrap_or(f64::NAN);
                    let measures = SlowMeasures {
                        asr: one.asr,
                        ner: one.ner,
                        acd_seconds: or_none(one.acd_seconds),
                        post_dial_delay_seconds: or_none(one.post_dial_delay_seconds),
                        short_call_share: or_none(one.short_call_share),
                    };
                    let of = &one.of;
                    metrics::quality(&of.carrier, of.gateway.as_deref(), of.country, measures);
                    now.insert(one.of);
                }
                // What had calls and has none any more must not look as if it went on.
                for of in shown.difference(&now) {
                    let gateway = of.gateway.as_deref();
                    metrics::quality(&of.carrier, gateway, of.country, SlowMeasures::NONE);
                }
                shown = now;
            }
            Err(error) => tracing::debug!(%error, "the measures of the last hour cannot be read"),
        }
    }
}
