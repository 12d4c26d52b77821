//! Who proves by digest whom (RFC 3261 §22), and where we register (§10).

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::CustomerId;
use super::class::spelled;
use crate::digest::{Algorithm, Ha1s, Secret};

/// What a carrier knows us by.
#[derive(Clone, Debug)]
pub struct CarrierCredentials {
    pub username: Box<str>,
    /// The only realm they are meant for; `None` = any of this carrier's.
    pub realm: Option<Box<str>>,
    pub secret: Secret,
}

spelled! {
    /// What shows that a call is a customer's.
    CustomerAuth {
        /// The address that it comes from.
        Address = "address",
        /// Digest credentials, from wherever.
        Digest = "digest",
        Either = "either",
        Both = "both",
    }
}

impl CustomerAuth {
    /// The address alone is enough.
    pub const fn is_content_with_address(self) -> bool {
        matches!(self, Self::Address | Self::Either)
    }

    /// Credentials count for something.
    pub const fn takes_digest(self) -> bool {
        matches!(self, Self::Digest | Self::Either | Self::Both)
    }
}

/// One user of a customer.
#[derive(Clone, Debug)]
pub struct User {
    pub customer_id: CustomerId,
    pub hashes: Ha1s,
}

/// All users of customers.
#[derive(Clone, Debug, Default)]
pub struct Users {
    /// The realm that all of them are of; empty where there is none.
    pub realm: Box<str>,
    /// What every user has a hash for, the strongest first.
    pub algorithms: Vec<Algorithm>,
    pub(super) by_name: HashMap<Box<str>, User>,
}

impl Users {
    pub fn get(&self, username: &str) -> Option<&User> {
        self.by_name.get(username)
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// How we register with a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The address of record, a SIP URI with a user.
    pub aor: Arc<str>,
    /// User part of our Contact.
    pub contact_user: Arc<str>,
    /// What we ask for.
    pub expires: Duration,
}

impl Registration {
    /// The domain of the address of record as a URI: what a REGISTER is sent to (RFC 3261 §10.2).
    pub fn domain(&self) -> String {
        let scheme = self.aor.split(':').next().unwrap_or("sip");
        let domain = self.aor.rsplit('@').next().unwrap_or_default();
        format!("{scheme}:{domain}")
    }
}
