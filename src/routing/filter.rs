//! What takes a gateway out of the question, whatever its health.

use std::sync::Arc;

use super::{Drop, Query};
use crate::carrier::{AdminState, Carrier, Gateway, Media, Traits, Transport};
use crate::sip::sdp::Audio;

/// What a call asks of every gateway.
pub(super) struct Filter<'a> {
    region: Option<&'a Arc<str>>,
    audio: Option<&'a Audio>,
    can_be_rtp: bool,
    can_be_srtp: bool,
    needs_tls: bool,
    /// Traits that may be in its way.
    doubtful: Traits,
}

impl<'a> Filter<'a> {
    /// What is not known (an INVITE without an offer) is not held against anybody.
    pub(super) fn new(query: &Query<'a>, region: Option<&'a Arc<str>>) -> Self {
        let audio = query.audio;
        let can_be_rtp = audio.is_none_or(|it| it.has_rtp) && !query.route.needs_srtp;
        let can_be_srtp = audio.is_none_or(|it| it.has_srtp);
        Self {
            region,
            audio: audio.filter(|audio| !audio.codecs.is_empty()),
            can_be_rtp,
            can_be_srtp,
            needs_tls: query.needs_tls,
            doubtful: Traits::CLOSED
                .and(Traits::HAS_CODECS)
                .and(Traits::NOT_TLS.only_if(query.needs_tls))
                .and(Traits::ONLY_RTP.only_if(!can_be_rtp))
                .and(Traits::ONLY_SRTP.only_if(!can_be_srtp))
                .and(Traits::ANY_MEDIA.only_if(!can_be_rtp && !can_be_srtp)),
        }
    }

    /// Gateways with any of these have to be looked at closely; `is_open` as for [`reason`](Self::reason).
    pub(super) fn doubtful(&self, is_open: bool) -> Traits {
        if is_open && self.region.is_none() { self.doubtful } else { Traits::ALL }
    }

    /// Why a gateway cannot have the call; `is_open` says whether its carrier takes calls at this hour.
    pub(super) fn reason(
        &self,
        carrier: &Carrier,
        is_open: bool,
        gateway: &Gateway,
    ) -> Option<Drop> {
        if !carrier.is_enabled {
            return Some(Drop::CarrierDisabled);
        }
        match gateway.admin_state {
            AdminState::On => {}
            AdminState::Draining => return Some(Drop::GatewayDraining),
            AdminState::Off => return Some(Drop::GatewayOff),
        }
        if self.region.is_some_and(|region| gateway.region.as_ref() != Some(region)) {
            return Some(Drop::Region);
        }
        if !is_open {
            return Some(Drop::OutOfHours);
        }
        if self.needs_tls && gateway.transport != Transport::Tls {
            return Some(Drop::NotSecure);
        }
        if !self.takes_media(gateway) {
            return Some(Drop::Media);
        }
        let codecs = gateway.codecs.as_ref()?;
        let offered = &self.audio?.codecs;
        (!offered.iter().any(|codec| codecs.contains(codec))).then_some(Drop::Codec)
    }

    fn takes_media(&self, gateway: &Gateway) -> bool {
        match gateway.media {
            Media::Rtp => self.can_be_rtp,
            Media::Srtp => self.can_be_srtp,
            Media::Both => self.can_be_rtp || self.can_be_srtp,
        }
    }
}
