//! Who may send us calls.

use std::sync::Arc;

use super::class::spelled;
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
    pub refer: ReferPolicy,
    pub routed_by: RoutedBy,
}

spelled! {
    /// What the routes of a customer's calls are found by.
    #[derive(Default)]
    RoutedBy {
        #[default]
        Called = "called",
        /// The `rn` of the called number, where it has one that holds digits (RFC 4694 §5); else the called number.
        RoutingNumber = "routing_number",
    }
}

spelled! {
    /// What becomes of REFER within a customer's calls (RFC 3515).
    #[derive(Default)]
    ReferPolicy {
        /// 405.
        #[default]
        Refuse = "refuse",
        /// The other side transfers the call, or says that it does not.
        Relay = "relay",
        /// We transfer the call ourselves: by another attempt, or by joining two calls of the customer.
        Local = "local",
    }
}
