//! Who may send us calls.

use std::sync::Arc;

use super::{CustomerAuth, CustomerId};

/// A platform or PBX that uses us as its SIP trunk.
#[derive(Clone, Debug)]
pub struct Customer {
    pub id: CustomerId,
    pub name: Arc<str>,
    /// Calls of a disabled customer are refused with 403.
    pub is_enabled: bool,
    /// Calls of this customer stay on gateways of this region; `None` = anywhere.
    pub region: Option<Arc<str>>,
    /// What shows that a call is this customer's.
    pub auth: CustomerAuth,
}
