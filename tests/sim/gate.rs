//! What stands before every carrier in some worlds: it asks for credentials, and takes its nonces back after a while.

use std::collections::HashSet;

use super::cx::S;
use super::text::Text;

/// How long a nonce is good for.
const EPOCH: u64 = 8 * S;

#[derive(Debug, Default)]
pub struct Gate {
    /// Branches of requests that were let through, and are whenever they come again.
    passed: HashSet<String>,
    pub challenges: usize,
}

impl Gate {
    /// The challenge of a request; `None` where it may pass. ACK and CANCEL cannot be sent again (RFC 3261 §22.1).
    pub fn challenge(&mut self, now: u64, request: &Text) -> Option<Text> {
        if matches!(request.method(), "ACK" | "CANCEL" | "OPTIONS")
            || self.passed.contains(request.branch())
        {
            return None;
        }
        let nonce = format!("epoch-{}", now / EPOCH);
        let credentials = request.get("Proxy-Authorization").unwrap_or_default();
        if credentials.contains(&format!("nonce=\"{nonce}\"")) {
            self.passed.insert(request.branch().to_owned());
            return None;
        }
        self.challenges += 1;
        let stale = if credentials.is_empty() { "" } else { ", stale=true" };
        let field = format!("Digest realm=\"gate\", nonce=\"{nonce}\", qop=\"auth\"{stale}");
        let response = request.response_to(407, "Proxy Authentication Required", "krrgate");
        Some(response.with("Proxy-Authenticate", field))
    }
}
