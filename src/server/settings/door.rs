//! What those get whom nobody knows.

use super::Check;
use crate::call::{StrangerPolicy, UnknownSources};

/// What scanners that try every address of the internet call themselves.
pub(super) const SCANNERS: &str = "friendly-scanner,friendly-request,sipvicious,sipcli,sip-scan,sipscan,VaxSIPUserAgent,\
     pplsip,sundayddr,iWar,sipsak,siparmyknife,sipptk";
/// Names of scanners, and octets of one.
const MAX_SCANNERS: usize = 100;
const MAX_SCANNER_OCTETS: usize = 64;
/// More is no limit.
const MAX_FLOOD_PER_S: u32 = 1_000_000;

impl Check<'_> {
    pub(super) fn strangers(&mut self) -> StrangerPolicy {
        let sources = UnknownSources::from_text(self.text("unknown_sources"));
        if sources.is_none() {
            self.refuse("unknown_sources", "it must be refuse or drop");
        }
        StrangerPolicy {
            sources: sources.unwrap_or_default(),
            flood_per_s: self.within("flood_per_s", 0, MAX_FLOOD_PER_S),
            scanners: self.scanners().into(),
        }
    }

    fn scanners(&mut self) -> Vec<Box<str>> {
        let names = self.text("scanner_agents").split(',').map(str::trim);
        let names: Vec<Box<str>> = names.filter(|name| !name.is_empty()).map(Into::into).collect();
        let is_printable = |octet: u8| (b' '..=b'~').contains(&octet);
        let is_right =
            |name: &str| name.len() <= MAX_SCANNER_OCTETS && name.bytes().all(is_printable);
        if names.len() > MAX_SCANNERS || !names.iter().all(|name| is_right(name)) {
            let reason = format!(
                "it must be up to {MAX_SCANNERS} texts between commas, each of up to {MAX_SCANNER_OCTETS} printable \
                 ASCII characters"
            );
            self.refuse("scanner_agents", &reason);
        }
        names
    }
}
