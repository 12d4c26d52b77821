//! DNS for SIP (RFC 3263), away from any call: names are asked for in the background, and the last good answer stays until
//! there is a better one.

pub mod locate;
pub mod names;
pub mod resolver;

pub use locate::{Found, Place, Question, Record};
pub use names::{Answer, Names};
pub use resolver::Resolver;
