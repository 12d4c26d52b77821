//! What has become of the demo's calls so far.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::cli::agents::{CallerNews, End};

#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) offered: u64,
    pub(super) answered: u64,
    /// Answered, and hung up with an answer to the BYE.
    pub(super) completed: u64,
    /// Refused, with the code, or never answered.
    pub(super) lost: u64,
    pub(super) last_refusal: Option<u16>,
    pub(super) talking: u64,
    /// INVITE to answer, of the slowest call.
    pub(super) slowest: Duration,
    /// When calls that were not answered yet were made.
    pub(super) begun: HashMap<u64, Instant>,
    /// When answered calls are to be hung up.
    pub(super) until: HashMap<u64, Instant>,
}

impl Tally {
    pub(super) fn note(
        &mut self,
        at: Instant,
        number: u64,
        news: &CallerNews,
        talk_until: Instant,
    ) {
        match news {
            CallerNews::Tried { .. } => {
                self.offered += 1;
                self.begun.insert(number, at);
            }
            CallerNews::Answered => {
                self.answered += 1;
                self.talking += 1;
                let took = self.begun.remove(&number).map(|begun| at - begun);
                self.slowest = self.slowest.max(took.unwrap_or_default());
                self.until.insert(number, talk_until);
            }
            CallerNews::Refused(code) => self.last_refusal = Some(*code),
            CallerNews::Lost => self.lost += 1,
            CallerNews::Ended(end) => {
                self.talking -= 1;
                // Nobody but us hangs up here.
                match end {
                    End::ByUs => self.completed += 1,
                    End::ByPeer { .. } | End::ByeRefused(_) | End::ByeUnanswered => self.lost += 1,
                }
                self.until.remove(&number);
            }
            CallerNews::Rang | CallerNews::Left { .. } | CallerNews::Moved(_) => {}
        }
    }

    /// Calls that have talked long enough, each once.
    pub(super) fn over_due(&mut self, now: Instant) -> Vec<u64> {
        let mut due = Vec::new();
        self.until.retain(|number, until| {
            let is_due = *until <= now;
            due.extend(is_due.then_some(*number));
            !is_due
        });
        due
    }
}
