//! What a decision makes of one carrier: the targets that may be used, and their draws.

use std::ops::Range;
use std::sync::Arc;

use super::ranking::{rank_of, sharpened};
use super::{Drop, Dropped};
use crate::carrier::{Gateway, Post, Roster, RouteCarrier};
use crate::health::{Glance, TargetView};
use crate::random::Random;

/// A target that may be used: of a thousand, few are drawn, and fewer become candidates.
#[derive(Clone, Copy)]
pub(super) struct Look {
    /// Where its gateway stands among the carrier's, and where it stands in the health view.
    pub(super) gateway: u32,
    pub(super) place: u32,
    /// The number of its score's draw, among those of its carrier.
    pub(super) draw: u32,
    /// Of those of its carrier that are ranked: which one's turn it is here.
    pub(super) turn: u32,
    /// Among the usable targets of its gateway, by SRV priority from 0.
    pub(super) srv_rank: u16,
    pub(super) is_suspect: bool,
    pub(super) headroom: f64,
    /// Once it is drawn.
    pub(super) score: f64,
}

/// One of them with whose it is.
#[derive(Clone, Copy)]
pub(super) struct Pick<'a> {
    pub(super) roster: &'a Roster,
    pub(super) look: Look,
    /// Tier of the route.
    pub(super) tier: u16,
    pub(super) destination_factor: f64,
}

impl<'a> Pick<'a> {
    pub(super) fn gateway(&self) -> &'a Arc<Gateway> {
        &self.roster.gateways[self.look.gateway as usize]
    }
}

/// What was left out, and why.
pub(super) struct Left<'a> {
    pub(super) gateway: &'a Arc<Gateway>,
    pub(super) view: Option<&'a Arc<TargetView>>,
    pub(super) reason: Drop,
}

impl Left<'_> {
    pub(super) fn dropped(&self) -> Dropped {
        let (gateway, health) = (self.gateway.clone(), self.view.cloned());
        Dropped { gateway, health, reason: self.reason }
    }
}

/// A carrier's part: its usable targets, one at least.
pub(super) struct Bid<'a> {
    pub(super) place: &'a RouteCarrier,
    pub(super) roster: &'a Roster,
    /// Where they stand among the looks, in the order of its gateways or in that in which they are to be tried; nowhere
    /// where only a readmitted one is there, or where it is whole.
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) is_ranked: bool,
    /// All of its gateways may be used, and nothing need be said of any: from here on each stands in the view.
    pub(super) whole_at: Option<u32>,
    pub(super) destination_factor: f64,
    /// From where its scores, and its waiting times, are drawn.
    pub(super) scores: Random,
    pub(super) waits: Random,
}

impl<'a> Bid<'a> {
    pub(super) fn new(
        place: &'a RouteCarrier,
        roster: &'a Roster,
        factor: f64,
        random: &Random,
    ) -> Self {
        let (scores, waits) = (random.clone(), random.clone());
        Self {
            place,
            roster,
            from: 0,
            to: 0,
            is_ranked: true,
            whole_at: None,
            destination_factor: factor,
            scores,
            waits,
        }
    }

    pub(super) fn looks(&self) -> Range<usize> {
        self.from as usize..self.to as usize
    }

    pub(super) fn pick(&self, look: Look) -> Pick<'a> {
        let tier = self.place.priority;
        Pick { roster: self.roster, look, tier, destination_factor: self.destination_factor }
    }
}

impl Look {
    pub(super) fn new(gateway: u32, place: usize, draw: u32, headroom: f64) -> Self {
        let (place, turn, srv_rank, is_suspect) = (place as u32, 0, 0, false);
        Self { gateway, place, draw, turn, srv_rank, is_suspect, headroom, score: 0.0 }
    }

    #[inline]
    pub(super) fn rank(&self, post: &Post) -> u64 {
        rank_of(self.is_suspect, post.priority, self.srv_rank)
    }
}

/// What the draws of one carrier's targets are made of.
pub(super) struct Draws {
    pub(super) factor: f64,
    pub(super) scores: Random,
    pub(super) is_measuring: bool,
}

pub(super) fn draws_of(is_measuring: bool, bid: &Bid<'_>) -> Draws {
    Draws { factor: bid.destination_factor, scores: bid.scores.clone(), is_measuring }
}

impl Draws {
    /// A draw from what is believed of the target's share of good attempts (Thompson sampling, with a
    /// normal distribution of the same mean and spread), less for its country and its latency.
    #[inline]
    pub(super) fn score(&self, glance: &Glance, draw: u32) -> f64 {
        let drawn = self.scores.after(draw.into()).normal_f64();
        // The spread stays while it is measured, too.
        let (mean, latency_factor) = match self.is_measuring {
            true => (1.0, 1.0),
            false => (glance.mean, glance.latency_factor),
        };
        // Above 1 is left as it is: a cut would make ties of the best.
        (mean + glance.spread * drawn).max(0.0) * self.factor * latency_factor
    }

    /// Its share of the calls of its gateway's priority.
    #[inline(never)]
    pub(super) fn weight(&self, post: &Post, glance: &Glance, draw: u32, headroom: f64) -> f64 {
        self.weight_with(self.score(glance, draw), post, glance, headroom)
    }

    #[inline]
    pub(super) fn weight_with(
        &self,
        score: f64,
        post: &Post,
        glance: &Glance,
        headroom: f64,
    ) -> f64 {
        post.weight * glance.srv.weight * sharpened(score) * share_of_room(headroom)
    }

    /// No weight that is drawn is above this one.
    #[inline]
    pub(super) fn weight_max(&self, post: &Post, glance: &Glance) -> f64 {
        let score_max = match self.is_measuring {
            true => 1.0 + glance.spread * Random::NORMAL_MAX,
            false => glance.score_max,
        };
        post.weight * glance.srv.weight * sharpened(score_max)
    }
}

/// What is left of a score as a limit is used up: all of it while more than half is free.
pub(super) fn share_of_room(headroom: f64) -> f64 {
    (2.0 * headroom).min(1.0)
}
