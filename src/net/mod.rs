//! Sockets and name resolution.

pub mod dns;
pub mod udp;
pub mod wake;
