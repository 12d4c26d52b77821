//! Transactions (RFC 3261 §17 with RFC 6026): four machines as values, and the table that finds them.

pub mod actions;
pub mod client_invite;
pub mod client_non_invite;
pub mod flow;
pub mod server_invite;
pub mod server_key;
pub mod server_non_invite;
pub mod table;
pub mod timer;

pub use actions::{Action, Actions};
pub use client_invite::ClientInvite;
pub use client_non_invite::ClientNonInvite;
pub use flow::{Flow, Listener, ListenerId, Party};
pub use server_invite::ServerInvite;
pub use server_key::MatchKey;
pub use server_non_invite::ServerNonInvite;
pub use table::{
    Branch, Client, ClientKey, ClientMachine, Server, ServerKey, ServerMachine, Table,
};

#[cfg(test)]
mod testing;
