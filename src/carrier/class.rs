//! The vocabulary of failure classification: what an attempt's end means and what follows from it.

/// Gives an enum its table spelling both ways, in one list.
macro_rules! spelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(::serde::Serialize, ::serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value, in the order of the definition.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// As the tables, the records and the logs spell it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text),+
                }
            }

            /// Reads the tables' spelling; `None` for any other text.
            pub fn from_text(text: &str) -> Option<Self> {
                match text {
                    $($text => Some($name::$variant),)+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use spelled;

spelled! {
    /// What the end of an attempt says, and about whom.
    Class {
        /// The carrier did its work: the call was answered.
        Answered = "answered",
        /// The carrier did its work: the called party is busy, away, unwilling or does not exist.
        Destination = "destination",
        /// The carrier failed, beyond doubt: counts with weight 1 (½ for a 503).
        CarrierHard = "carrier_hard",
        /// The carrier probably failed: counts with weight ½.
        CarrierSoft = "carrier_soft",
        /// The carrier is full for now; says nothing about its health.
        Capacity = "capacity",
        /// Ours or the carrier's configuration is wrong; raises an alert, moves no score.
        Config = "config",
        /// A policy forbids the call; another carrier must not be used to evade it.
        PolicyBlock = "policy_block",
        /// The caller gave up.
        Caller = "caller",
    }
}

impl Class {
    /// Whether an attempt of this class says anything about its carrier, good or bad.
    pub const fn is_counted(self) -> bool {
        match self {
            Self::Answered | Self::Destination | Self::CarrierHard | Self::CarrierSoft => true,
            Self::Capacity | Self::Config | Self::PolicyBlock | Self::Caller => false,
        }
    }
}

spelled! {
    /// What the hunt does after an attempt that failed before the caller heard ringing.
    Action {
        /// Try the next gateway, be it of the same carrier.
        NextGateway = "next_gateway",
        /// Try the next carrier.
        NextCarrier = "next_carrier",
        /// Try one other carrier; if that one fails alike, stop.
        NextCarrierOnce = "next_carrier_once",
        /// Stop, unless the route has `verify_unallocated`: then try exactly one other carrier.
        VerifyOnce = "verify_once",
        /// Answer the caller now.
        Stop = "stop",
    }
}

spelled! {
    /// Where the end of an attempt came from.
    Origin {
        /// A response of the carrier.
        Remote = "remote",
        /// One of our own timers.
        Timeout = "timeout",
        /// The transport: port unreachable, connection refused.
        Transport = "transport",
    }
}

spelled! {
    /// How far an attempt had come when it ended.
    Stage {
        /// Nothing had come back.
        Nothing = "nothing",
        /// A 100 had come.
        Trying = "trying",
        /// A 18x without SDP had come.
        Ringing = "ringing",
        /// A 18x with SDP had come.
        EarlyMedia = "early_media",
    }
}
