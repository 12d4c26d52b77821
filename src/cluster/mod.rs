//! Who of the cluster is alive, and who is not: a value that is told what was read and heard, and when.
//!
//! A node is dead when both ways of hearing from it are silent: it has let its lease in the store lapse, and it does not
//! answer OPTIONS. A store that is slow, or a network that is cut between two nodes, condemns nobody by itself.

mod membership;
mod pace;
mod ping;

pub use membership::{Membership, Peer};
pub use pace::{refresh_times, share};
pub use ping::{is_ping, ping};
