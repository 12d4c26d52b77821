//! What runs a case: processes, ports, the wire as it was, and the checks on it.

pub(crate) mod baresip;
pub(crate) mod capture;
pub(crate) mod case;
pub(crate) mod certificates;
pub(crate) mod datagrams;
pub(crate) mod dissect;
pub(crate) mod expect;
pub(crate) mod hiding;
pub(crate) mod matrix;
pub(crate) mod name_server;
pub(crate) mod party;
pub(crate) mod ports;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod records;
pub(crate) mod router;
pub(crate) mod sip_text;
pub(crate) mod steps;
pub(crate) mod store;
pub(crate) mod telephone;
pub(crate) mod template;
pub(crate) mod tls;
pub(crate) mod wire;
pub(crate) mod world;
