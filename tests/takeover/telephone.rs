//! What the telephones of these trials are told: they speak UDP, and have a certificate because they must.

use std::net::SocketAddrV4;
use std::path::Path;

use anyhow::Result;

pub(crate) struct Told<'a> {
    pub(crate) name: &'a str,
    pub(crate) number: &'a str,
    pub(crate) dir: &'a Path,
    pub(crate) own: SocketAddrV4,
    pub(crate) outbound: SocketAddrV4,
    pub(crate) transport: &'a str,
    /// With its key.
    pub(crate) certificate: &'a str,
}

impl Told<'_> {
    pub(crate) fn tls(&self, _: &str) -> Result<&str> {
        Ok(self.certificate)
    }
}
