//! Digest access authentication (RFC 3261 §22.4, RFC 7616, RFC 8760): challenges and credentials as text and as values.
//!
//! Hashes are taken over quoted strings as they stand between their quotes, as RFC 7616 §3.4.2 has it (`unq`); names
//! are compared with their escapes resolved.

mod algorithm;
mod challenge;
mod credentials;
mod nonce;
mod params;
mod secret;

pub use algorithm::Algorithm;
pub use challenge::{Challenge, Qop};
pub use credentials::{Answer, Credentials};
pub use nonce::{Nonce, NonceKey};
pub use secret::{Ha1, Ha1s, Hidden, Secret};
