//! Bytes <-> messages (RFC 3261 §7, §19, §20, §25).

mod essentials;
pub mod framing;
pub mod header_name;
mod index;
pub mod message;
pub mod method;
pub mod name_addr;
pub mod octets;
mod params;
pub mod peek;
pub mod print;
pub mod replaces;
mod scan;
pub mod sdp;
mod start_line;
pub mod status;
pub mod subscriber;
pub mod uri;
pub mod via;

pub use header_name::HeaderName;
pub use message::{Defect, Header, Message, NotSip};
pub use method::Method;
pub use name_addr::NameAddr;
pub use print::Printer;
pub use replaces::Replaces;
pub use subscriber::Subscriber;
pub use uri::{Host, Uri};
pub use via::Via;
