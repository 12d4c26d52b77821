//! What the board is told.

use std::time::Duration;

use super::Target;
use crate::carrier::{CarrierId, Class};

/// One observation about one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub target: Target,
    pub carrier_id: CarrierId,
    pub evidence: Evidence,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// An OPTIONS probe ended. `status_code` is `None` when nothing came within its time.
    Probe { status_code: Option<u16>, delay: Duration },
    /// A live sign of life that ends nothing: the first provisional of an INVITE, a response within a call, the answer
    /// to a keep-alive (RFC 5626 §3.5.1).
    Alive,
    /// A request within a call, or a keep-alive, that was sent so long ago has no answer, or 408 or 503: whoever is
    /// behind it may be gone, or it is. Says nothing of how it carries calls.
    Doubt { waited: Duration },
    /// A call rings: the carrier has done most of its work.
    Ringing,
    /// We are registered there now, or not any more (RFC 3261 §10).
    Registration { is_registered: bool },
    /// An INVITE goes to a target that is half open.
    AttemptStarted,
    /// An attempt ended.
    Attempt {
        class: Class,
        /// How much it counts as a failure, 0.0 to 1.0 (the failure rule's weight); 0 unless a carrier class.
        weight: f32,
        /// `None` when no response came.
        status_code: Option<u16>,
        /// `Retry-After` of a 503, unclamped.
        retry_after: Option<Duration>,
        /// INVITE to first response.
        trying_delay: Option<Duration>,
        /// INVITE to 18x, or to 2xx where no 18x came.
        ringing_delay: Option<Duration>,
        /// Country code of the called number (ITU-T E.164), where it is one.
        country: Option<u16>,
    },
    /// What came after it puts an earlier attempt in another light: its failures change by this much, -1.0 to 1.0.
    Revised { failures: f32, country: Option<u16> },
}
