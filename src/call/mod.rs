//! The B2BUA: two legs, one call.
//!
//! A call begins in [`admission`], hunts in [`setup`], and talks over two of [`leg`]. [`call`] is where
//! they meet.

pub mod admission;
pub mod attempt;
pub mod authentication;
#[expect(clippy::module_inception, reason = "the call of the module `call`")]
pub mod call;
pub mod contact;
pub mod context;
pub mod credentials;
pub mod draft;
pub mod early;
pub mod event;
pub mod header_policy;
pub mod hunt;
pub mod inbound;
pub mod leg;
pub mod offer_answer;
pub mod options;
pub mod peer_refresh;
pub mod recent;
pub mod record;
pub mod refresh;
pub mod reliable;
pub mod replica;
pub mod session_timer;
pub mod settings;
pub mod setup;
pub mod stray;
pub mod subscription;
pub mod terms;
pub mod transfer;
pub mod verdict;

pub use call::Call;
pub use context::{CallKey, Context, Counters, Event, Output, Owner, Probe, ProbeKey, TimerKey};
pub use event::{Carried, LegEvent, Side};
pub use record::{AttemptRecord, CallRecord, EndCause, EndedBy};
pub use replica::{KeptInvite, LegReplica, Ownership, Replica, RingingReplica};
pub use session_timer::SessionPolicy;
pub use settings::{Settings, StrangerPolicy, UnknownSources};
pub use stray::StrayKey;
