//! A carrier with its gateways, as decisions go through them: side by side in memory, and made when tables are loaded.

use std::sync::Arc;

use super::{AdminState, Carrier, Gateway, GatewayId, Media, Transport};

/// A carrier with its gateways.
#[derive(Clone, Debug)]
pub struct Roster {
    pub carrier: Arc<Carrier>,
    /// By priority, then id.
    pub gateways: Vec<Arc<Gateway>>,
    /// What a decision reads of each of them.
    pub posts: Vec<Post>,
}

/// What a decision reads of every gateway; of those that it takes, the [`Gateway`] says the rest.
#[derive(Clone, Copy, Debug)]
pub struct Post {
    pub gateway_id: GatewayId,
    pub weight: f64,
    pub priority: u16,
    pub transport: Transport,
    pub traits: Traits,
}

/// What may keep a call from a gateway, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits(u8);

impl Traits {
    /// All of them, as every gateway takes some media.
    pub const ALL: Self = Self(u8::MAX);
    /// The carrier is disabled, or an admin wants no new call there.
    pub const CLOSED: Self = Self(1);
    /// It is reached by UDP or TCP.
    pub const NOT_TLS: Self = Self(2);
    /// It takes nothing but RTP.
    pub const ONLY_RTP: Self = Self(4);
    /// It takes nothing but SRTP.
    pub const ONLY_SRTP: Self = Self(8);
    /// It takes RTP and SRTP.
    pub const ANY_MEDIA: Self = Self(16);
    /// It takes some codecs only.
    pub const HAS_CODECS: Self = Self(32);
    /// It, or its carrier, has a limit.
    pub const LIMITED: Self = Self(64);

    /// With those of `other`.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// As they are where `is` holds, else none.
    pub const fn only_if(self, is: bool) -> Self {
        if is { self } else { Self(0) }
    }

    pub const fn has_any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }
}

impl Roster {
    pub(super) fn new(carrier: Arc<Carrier>, mut gateways: Vec<Arc<Gateway>>) -> Self {
        gateways.sort_by_key(|gateway| (gateway.priority, gateway.id));
        let posts = gateways.iter().map(|gateway| Post::new(&carrier, gateway)).collect();
        Self { carrier, gateways, posts }
    }
}

impl Post {
    fn new(carrier: &Carrier, gateway: &Gateway) -> Self {
        let is_open = carrier.is_enabled && gateway.admin_state == AdminState::On;
        let media = match gateway.media {
            Media::Rtp => Traits::ONLY_RTP,
            Media::Srtp => Traits::ONLY_SRTP,
            Media::Both => Traits::ANY_MEDIA,
        };
        let has_limit = carrier.limits.is_some() || gateway.limits.is_some();
        let traits = media
            .and(Traits::CLOSED.only_if(!is_open))
            .and(Traits::NOT_TLS.only_if(gateway.transport != Transport::Tls))
            .and(Traits::HAS_CODECS.only_if(gateway.codecs.is_some()))
            .and(Traits::LIMITED.only_if(has_limit));
        Self {
            gateway_id: gateway.id,
            weight: f64::from(gateway.weight),
            priority: gateway.priority,
            transport: gateway.transport,
            traits,
        }
    }
}
