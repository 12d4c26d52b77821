//! Sockets and name servers.

pub mod dns;
pub mod poller;
pub mod stream;
pub mod udp;
pub mod wake;
