//! How much of a gateway, and of its carrier, is in use: calls a second and calls at a time, against what
//! the tables allow and what refusals have taught.
//!
//! Each shard keeps its own account, of its own calls, and stays within its part of a limit: nobody has to
//! ask anybody. Reading changes nothing, and time is an argument.

use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::carrier::{Carrier, CarrierId, Gateway, GatewayId, Limits, Tables};

/// Slots of the window that starts are counted in, a tenth of a second each.
const SLOTS: u64 = 10;
const SLOT: Duration = Duration::from_millis(100);
/// What is left of the calls a second that were taken when one more was refused.
const LEARNED_SHARE: f64 = 0.9;
/// Calls a second that a gateway gets however often it refuses.
const MIN_LEARNED_CPS: f64 = 0.05;
/// A learned limit grows by so much …
const RECOVERY: f64 = 1.1;
/// … each time that this has passed.
const RECOVER_EVERY: Duration = Duration::from_secs(10);
/// A learned limit that nothing came near to for so many steps is none any more, whatever it was.
const MAX_STEPS: u32 = 200;
/// Tokens come in fractions; so much may be lost in adding them up.
const ROUNDING: f64 = 1e-6;

/// What one shard's calls use. A value: the time comes from outside.
#[derive(Debug, Default)]
pub struct Capacity {
    /// Shards, over all nodes, that share each limit; 0 counts as 1.
    parts: u32,
    gateways: HashMap<GatewayId, Usage>,
    carriers: HashMap<CarrierId, Usage>,
    channels_now: u64,
}

/// The channel that an attempt, and the call it becomes, holds at a gateway. To be given back.
#[derive(Debug)]
#[must_use = "a channel that is not given back stays in use for ever"]
pub struct Channel {
    carrier_id: CarrierId,
    gateway_id: GatewayId,
    started: Instant,
}

/// What a refusal spoke of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too many calls at a time.
    Channels,
    /// Too many calls a second.
    Rate,
    /// It did not say.
    Unsaid,
}

/// One gateway's, or one carrier's.
#[derive(Debug)]
struct Usage {
    channels: u32,
    bucket: Bucket,
    starts: Starts,
    learned_cps: Option<Learned>,
    learned_channels: Option<Learned>,
}

impl Capacity {
    /// How many shards, over all nodes, share each limit.
    pub fn set_parts(&mut self, parts: u32) {
        self.parts = parts;
    }

    /// Forgets what is no more in the tables, once no call uses it.
    pub fn retain(&mut self, tables: &Tables) {
        self.gateways.retain(|id, usage| usage.channels > 0 || tables.gateway(*id).is_some());
        self.carriers.retain(|id, usage| usage.channels > 0 || tables.carrier(*id).is_some());
    }

    /// The free share of the tightest limit of a gateway and its carrier, 0.0 to 1.0; 0.0 when no call
    /// may begin now.
    pub fn headroom(&self, carrier: &Carrier, gateway: &Gateway, now: Instant) -> f64 {
        let parts = f64::from(self.parts.max(1));
        let of_carrier = headroom(self.carriers.get(&carrier.id), carrier.limits, parts, now);
        let of_gateway = headroom(self.gateways.get(&gateway.id), gateway.limits, parts, now);
        of_carrier.min(of_gateway)
    }

    /// An INVITE goes out: takes a token and a channel, whether or not they are there.
    pub fn start(&mut self, carrier: &Carrier, gateway: &Gateway, now: Instant) -> Channel {
        let parts = f64::from(self.parts.max(1));
        let of_carrier = self.carriers.entry(carrier.id).or_insert_with(|| Usage::new(now));
        of_carrier.start(carrier.limits, parts, now);
        let of_gateway = self.gateways.entry(gateway.id).or_insert_with(|| Usage::new(now));
        of_gateway.start(gateway.limits, parts, now);
        self.channels_now += 1;
        Channel { carrier_id: carrier.id, gateway_id: gateway.id, started: now }
    }

    /// The attempt failed or was left, or its call is over.
    pub fn release(&mut self, channel: Channel) {
        for usage in
            [self.carriers.get_mut(&channel.carrier_id), self.gateways.get_mut(&channel.gateway_id)]
        {
            if let Some(usage) = usage {
                usage.channels = usage.channels.saturating_sub(1);
            }
        }
        self.channels_now = self.channels_now.saturating_sub(1);
    }

    /// The gateway refused the attempt for want of capacity: gives the channel back, and learns from what
    /// it had taken without this one.
    ///
    /// Where it took other calls in the last second, those were all it takes a second, unless the refusal
    /// spoke of channels; else those that it carries are all it carries. Whoever finds even the first call
    /// one too many shares the gateway with others, and learns to call it less than once a second.
    pub fn refused(&mut self, channel: Channel, full: Full, now: Instant) {
        let (gateway_id, started) = (channel.gateway_id, channel.started);
        self.release(channel);
        let Some(usage) = self.gateways.get_mut(&gateway_id) else { return };
        usage.turn(now);
        usage.starts.take_back(started, now);
        let starts = f64::from(usage.starts.count(now));
        let in_use = f64::from(usage.channels);
        match full {
            Full::Unsaid | Full::Rate if starts >= 1.0 => {
                usage.learn_cps(LEARNED_SHARE * starts, starts, now);
            }
            Full::Rate => {
                let before = usage.learned_cps.as_ref().map_or(1.0, |before| before.limit.min(1.0));
                usage.learn_cps((LEARNED_SHARE * before).max(MIN_LEARNED_CPS), starts, now);
            }
            Full::Unsaid | Full::Channels if in_use >= 1.0 => {
                let before = usage.learned_channels.as_ref().map_or(in_use, |before| before.limit);
                let limit = before.min(in_use);
                usage.learned_channels = Some(Learned { limit, since: now, peak: in_use });
            }
            // It carries nothing of ours that could be too much.
            Full::Unsaid | Full::Channels => {}
        }
    }

    /// Channels in use, over all gateways.
    pub fn channels_now(&self) -> u64 {
        self.channels_now
    }
}

/// A bucket that fills steadily: a token for each call.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A second's calls may come at once, and one always may.
    fn size(cps: f64) -> f64 {
        cps.max(1.0)
    }

    fn tokens(&self, cps: f64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + passed * cps).min(Self::size(cps))
    }
}

/// How many calls began in the last second, exact to a tenth of it.
#[derive(Debug)]
struct Starts {
    slots: [u32; SLOTS as usize],
    /// Since `origin`: the slot that is being filled.
    slot: u64,
    origin: Instant,
}

impl Starts {
    fn slot_at(&self, at: Instant) -> u64 {
        let passed = at.saturating_duration_since(self.origin).as_millis() / SLOT.as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }

    fn add(&mut self, now: Instant) {
        let slot = self.slot_at(now).max(self.slot);
        if slot - self.slot >= SLOTS {
            self.slots.fill(0);
        } else {
            (self.slot + 1..=slot).for_each(|slot| self.slots[index(slot)] = 0);
        }
        self.slot = slot;
        let count = &mut self.slots[index(slot)];
        *count = count.saturating_add(1);
    }

    fn count(&self, now: Instant) -> u32 {
        let oldest = (self.slot_at(now).max(self.slot) + 1).saturating_sub(SLOTS);
        (oldest..=self.slot)
            .filter(|slot| slot + SLOTS > self.slot)
            .map(|slot| self.slots[index(slot)])
            .fold(0, u32::saturating_add)
    }

    /// One that began at `at` was none.
    fn take_back(&mut self, at: Instant, now: Instant) {
        let slot = self.slot_at(at);
        if slot + SLOTS > self.slot_at(now).max(self.slot) {
            let count = &mut self.slots[index(slot)];
            *count = count.saturating_sub(1);
        }
    }
}

fn index(slot: u64) -> usize {
    (slot % SLOTS) as usize
}

/// A limit that a refusal taught.
#[derive(Debug)]
struct Learned {
    limit: f64,
    /// When it was learned, or grew last.
    since: Instant,
    /// The most that was in use since.
    peak: f64,
}

impl Learned {
    /// What it is by now; `None` once it is beyond what is used.
    fn now(&self, now: Instant) -> Option<f64> {
        let steps = self.steps(now);
        if steps == 0 {
            return Some(self.limit);
        }
        let grown = self.limit * RECOVERY.powi(i32::try_from(steps).unwrap_or(i32::MAX));
        // Where not even one more would have come up against it, nobody needs it.
        let is_needed = steps < MAX_STEPS && grown.floor() <= self.peak + 1.0;
        is_needed.then_some(grown)
    }

    fn steps(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.since).as_millis();
        u32::try_from(passed / RECOVER_EVERY.as_millis()).unwrap_or(u32::MAX)
    }

    /// Brings it up to date, where so much has been in use all the time.
    fn turn(self, in_use: f64, now: Instant) -> Option<Self> {
        let this = Self { peak: self.peak.max(in_use), ..self };
        let steps = this.steps(now);
        let limit = this.now(now)?;
        let since = this.since + RECOVER_EVERY * steps;
        let peak = if steps == 0 { this.peak } else { in_use };
        Some(Self { limit, since, peak })
    }
}

impl Usage {
    fn new(now: Instant) -> Self {
        Self {
            channels: 0,
            bucket: Bucket { tokens: f64::MAX, at: now },
            starts: Starts { slots: [0; SLOTS as usize], slot: 0, origin: now },
            learned_cps: None,
            learned_channels: None,
        }
    }

    fn start(&mut self, limits: Limits, parts: f64, now: Instant) {
        self.turn(now);
        if let Some(cps) = self.cps(limits, parts, now) {
            // A bucket is never so empty that a burst beyond the limit would be paid for long.
            self.bucket.tokens = (self.bucket.tokens(cps, now) - 1.0).max(-Bucket::size(cps));
            self.bucket.at = now;
        }
        self.channels += 1;
        self.starts.add(now);
        let starts = f64::from(self.starts.count(now));
        if let Some(learned) = &mut self.learned_cps {
            learned.peak = learned.peak.max(starts);
        }
        if let Some(learned) = &mut self.learned_channels {
            learned.peak = learned.peak.max(f64::from(self.channels));
        }
    }

    fn turn(&mut self, now: Instant) {
        self.learned_cps = self.learned_cps.take().and_then(|learned| learned.turn(0.0, now));
        let in_use = f64::from(self.channels);
        self.learned_channels =
            self.learned_channels.take().and_then(|learned| learned.turn(in_use, now));
    }

    fn learn_cps(&mut self, limit: f64, starts: f64, now: Instant) {
        let limit = self.learned_cps.as_ref().map_or(limit, |before| before.limit.min(limit));
        self.learned_cps = Some(Learned { limit, since: now, peak: starts });
        // It has just said that it takes no more.
        self.bucket = Bucket { tokens: 0.0, at: now };
    }

    /// This shard's calls a second.
    fn cps(&self, limits: Limits, parts: f64, now: Instant) -> Option<f64> {
        let learned = self.learned_cps.as_ref().and_then(|learned| learned.now(now));
        tighter(limits.cps.map(|cps| cps / parts), learned)
    }

    /// This shard's calls at a time: whole ones, and never none at all.
    fn channels(&self, limits: Limits, parts: f64, now: Instant) -> Option<f64> {
        let learned = self.learned_channels.as_ref().and_then(|learned| learned.now(now));
        let own = limits.channels.map(|channels| f64::from(channels) / parts);
        tighter(own, learned).map(|channels| (channels + ROUNDING).floor().max(1.0))
    }
}

fn tighter(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (limit, None) | (None, limit) => limit,
    }
}

fn headroom(usage: Option<&Usage>, limits: Limits, parts: f64, now: Instant) -> f64 {
    // Nothing is in use, and nothing was learned.
    let Some(usage) = usage else { return 1.0 };
    let of_cps = usage.cps(limits, parts, now).map_or(1.0, |cps| {
        let tokens = usage.bucket.tokens(cps, now) + ROUNDING;
        if tokens < 1.0 { 0.0 } else { (tokens / Bucket::size(cps)).min(1.0) }
    });
    let of_channels = usage
        .channels(limits, parts, now)
        .map_or(1.0, |channels| ((channels - f64::from(usage.channels)) / channels).max(0.0));
    of_cps.min(of_channels)
}
