//! What takes a gateway out of the question, whatever its health.

use std::sync::Arc;

use super::{Drop, Query};
use crate::carrier::{AdminState, Carrier, Gateway, Media, Transport};
use crate::sip::sdp::Audio;

/// What a call asks of every gateway.
pub(super) struct Filter<'a> {
    region: Option<&'a Arc<str>>,
    audio: Option<&'a Audio>,
    can_be_rtp: bool,
    can_be_srtp: bool,
    needs_tls: bool,
}

impl<'a> Filter<'a> {
    /// What is not known (an INVITE without an offer) is not held against anybody.
    pub(super) fn new(query: &Query<'a>, region: Option<&'a Arc<str>>) -> Self {
        let audio = query.audio;
        Self {
            region,
            audio: audio.filter(|audio| !audio.codecs.is_empty()),
            can_be_rtp: audio.is_none_or(|it| it.has_rtp) && !query.route.needs_srtp,
            can_be_srtp: audio.is_none_or(|it| it.has_srtp),
            needs_tls: query.needs_tls,
        }
    }

    /// Why a gateway cannot have the call; `is_open` says whether its carrier takes calls at this hour.
    #[inline]
    pub(super) fn reason(
        &self,
        carrier: &Carrier,
        is_open: bool,
        gateway: &Gateway,
    ) -> Option<Drop> {
        let fits = carrier.is_enabled
            && is_open
            && gateway.admin_state == AdminState::On
            && self.region.is_none_or(|region| gateway.region.as_ref() == Some(region))
            && self.is_secure_enough(gateway)
            && self.takes_media(gateway)
            && gateway.codecs.is_none();
        if fits { None } else { self.which_reason(carrier, is_open, gateway) }
    }

    fn is_secure_enough(&self, gateway: &Gateway) -> bool {
        !self.needs_tls || gateway.transport == Transport::Tls
    }

    fn takes_media(&self, gateway: &Gateway) -> bool {
        match gateway.media {
            Media::Rtp => self.can_be_rtp,
            Media::Srtp => self.can_be_srtp,
            Media::Both => self.can_be_rtp || self.can_be_srtp,
        }
    }

    #[cold]
    fn which_reason(&self, carrier: &Carrier, is_open: bool, gateway: &Gateway) -> Option<Drop> {
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
        if !self.is_secure_enough(gateway) {
            return Some(Drop::NotSecure);
        }
        if !self.takes_media(gateway) {
            return Some(Drop::Media);
        }
        let codecs = gateway.codecs.as_ref()?;
        let offered = &self.audio?.codecs;
        (!offered.iter().any(|codec| codecs.contains(codec))).then_some(Drop::Codec)
    }
}
