//! What a carrier's refusal asks of our INVITE: the same gateway is asked again on its terms.

use super::attempt::{Attempt, Offer};
use super::context::Context;
use super::options::Options;
use super::reliable::Wish;
use super::session_timer::SessionTimer;
use crate::carrier::ReferPolicy;
use crate::sip::{HeaderName, Message};

/// How often a gateway is asked again, whatever it asks for.
const MAX_TRIES: u8 = 3;

/// How an INVITE is written beyond what the call is about.
#[derive(Clone, Debug)]
pub struct Terms {
    tries: u8,
    pub session: SessionTimer,
    /// Extensions that the gateway cannot bear to hear of.
    pub unmentioned: Options,
    /// Extensions that it insists on.
    pub required: Options,
    pub refer: ReferPolicy,
}

impl Terms {
    pub fn new(refer: ReferPolicy) -> Self {
        let (unmentioned, required) = (Options::NONE, Options::NONE);
        Self { tries: 0, session: SessionTimer::default(), unmentioned, required, refer }
    }

    /// Takes in a refusal that is no verdict on the call; `false` where it asks for nothing new that we have.
    fn take(&mut self, refusal: &Message, available: Options) -> bool {
        if self.tries == MAX_TRIES {
            return false;
        }
        match refusal.status_code() {
            // RFC 3261 §8.1.3.5
            420 => {
                let unsupported = Options::of(refusal, HeaderName::Unsupported);
                let news = unsupported.within(Options::ALL).without(self.unmentioned);
                self.unmentioned = self.unmentioned.with(news);
                self.required = self.required.without(news);
                !news.is_empty()
            }
            // RFC 3261 §21.4.16
            421 => {
                let required = Options::of(refusal, HeaderName::Require);
                let news = required.within(available).without(self.required);
                let news = news.without(self.unmentioned);
                self.required = self.required.with(news);
                !news.is_empty()
            }
            // RFC 4028 §7.3
            422 => self.session.note_min_se(refusal),
            _ => false,
        }
    }
}

impl Attempt {
    /// Asks the same gateway again where its refusal is about the terms only; `false` where it is not.
    pub fn comes_to_terms(&mut self, cx: &mut Context, offer: &Offer, refusal: &Message) -> bool {
        // A reliable response that makes the offer has to be answered, which only the caller can do.
        let available = match offer.has_sdp || Wish::of(&offer.invite) != Wish::Unreliably {
            true => Options::ALL,
            false => Options::WITHIN_DIALOG,
        };
        let is_new = self.terms.take(refusal, available);
        if is_new {
            self.terms.tries += 1;
            self.send_again(cx, offer);
        }
        is_new
    }
}
