//! How much of a gateway, of its carrier, and of what a customer may use, is in use: calls a second and calls at a time, against what
//! the tables allow and what refusals have taught.
//!
//! Each shard keeps its own account, of its own calls, and stays within its part of a limit: nobody has to
//! ask anybody. Reading changes nothing, and time is an argument.

mod customers;
mod feedback;

use std::time::{Duration, Instant};

use hashbrown::HashMap;

pub use self::customers::Seat;
use crate::carrier::{Carrier, CarrierId, CustomerId, Gateway, GatewayId, Limits, Tables};

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
    customers: HashMap<CustomerId, Usage>,
    words: feedback::Words,
    /// Gateways that have taught a limit which holds.
    teachers: usize,
    channels_now: u64,
}

/// The channel that an attempt, and the call it becomes, holds at a gateway. To be given back.
#[derive(Debug)]
#[must_use = "a channel that is not given back stays in use for ever"]
pub struct Channel {
    pub carrier_id: CarrierId,
    pub gateway_id: GatewayId,
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

/// One gateway's, one carrier's, or one customer's.
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
        self.teachers = self.gateways.values().filter(|usage| usage.has_learned()).count();
        self.carriers.retain(|id, usage| usage.channels > 0 || tables.carrier(*id).is_some());
        self.customers.retain(|id, usage| usage.channels > 0 || tables.customer(*id).is_some());
    }

    /// The free share of the tightest limit of a gateway and its carrier, 0.0 to 1.0; 0.0 when no call
    /// may begin now.
    pub fn headroom(&self, carrier: &Carrier, gateway: &Gateway, now: Instant) -> f64 {
        let parts = f64::from(self.parts.max(1));
        let of_carrier = headroom(self.carriers.get(&carrier.id), carrier.limits, parts, now);
        let of_gateway = headroom(self.gateways.get(&gateway.id), gateway.limits, parts, now);
        of_carrier.min(of_gateway)
    }

    /// Whether refusals have taught a limit. Else gateways for which the tables have none are free.
    pub fn has_learned(&self) -> bool {
        self.teachers > 0
    }

    /// An INVITE goes out: takes a token and a channel, whether or not they are there.
    pub fn start(&mut self, carrier: &Carrier, gateway: &Gateway, now: Instant) -> Channel {
        let parts = f64::from(self.parts.max(1));
        let of_carrier = self.carriers.entry(carrier.id).or_insert_with(|| Usage::new(now));
        of_carrier.start(carrier.limits, parts, now);
        let of_gateway = self.gateways.entry(gateway.id).or_insert_with(|| Usage::new(now));
        self.teachers -= usize::from(of_gateway.has_learned());
        of_gateway.start(gateway.limits, parts, now);
        self.teachers += usize::from(of_gateway.has_learned());
        self.channels_now += 1;
        Channel { carrier_id: carrier.id, gateway_id: gateway.id, started: now }
    }

    /// A call that was begun elsewhere goes on here: takes a channel, and no token.
    pub fn resume(
        &mut self,
        (carrier_id, gateway_id): (CarrierId, GatewayId),
        now: Instant,
    ) -> Channel {
        self.carriers.entry(carrier_id).or_insert_with(|| Usage::new(now)).channels += 1;
        self.gateways.entry(gateway_id).or_insert_with(|| Usage::new(now)).channels += 1;
        self.channels_now += 1;
        Channel { carrier_id, gateway_id, started: now }
    }

    /// The attempt failed or was left, or its call is over.
    pub fn release(&mut self, channel: Channel) {
        let of_carrier = self.carriers.get_mut(&channel.carrier_id);
        let of_gateway = self.gateways.get_mut(&channel.gateway_id);
        for usage in [of_carrier, of_gateway].into_iter().flatten() {
            usage.channels = usage.channels.saturating_sub(1);
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
        self.teachers -= usize::from(usage.has_learned());
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
        self.teachers += usize::from(usage.has_learned());
    }

    /// The headroom of every gateway that has had a call since it is in the tables.
    pub fn headrooms<'a>(
        &'a self,
        tables: &'a Tables,
        now: Instant,
    ) -> impl Iterator<Item = (GatewayId, f64)> + 'a {
        self.gateways.keys().filter_map(move |id| {
            let gateway = tables.gateway(*id)?;
            Some((*id, self.headroom(&gateway.carrier, gateway, now)))
        })
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

    fn has_learned(&self) -> bool {
        self.learned_cps.is_some() || self.learned_channels.is_some()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::carrier::{AdminState, Dns, Media, NumberRule, Transport};

    #[test]
    fn lets_a_seconds_calls_begin_at_once_and_then_as_many_a_second() {
        let mut world = World::new(|_, gateway| gateway.cps = Some(4.0));
        assert_eq!(world.start_all(), 4);
        world.pass(249);
        assert_eq!(world.start_all(), 0);
        world.pass(1);
        assert_eq!(world.start_all(), 1);
        world.pass(60_000);
        assert_eq!(world.start_all(), 4, "no more is saved than a second's");
    }

    #[test]
    fn lets_one_call_begin_in_two_seconds_where_half_a_one_is_allowed() {
        let mut world = World::new(|_, gateway| gateway.cps = Some(0.5));
        assert_eq!(world.start_all(), 1);
        world.pass(1_990);
        assert_eq!(world.start_all(), 0);
        world.pass(10);
        assert_eq!(world.start_all(), 1);
    }

    #[test]
    fn holds_a_channel_until_it_is_given_back() {
        let mut world = World::new(|_, gateway| gateway.channels = Some(2));
        assert_eq!(world.start_all(), 2);
        assert_eq!((world.headroom(), world.capacity.channels_now()), (0.0, 2));
        world.pass(100_000);
        assert_eq!(world.start_all(), 0);
        world.release_one();
        assert_eq!(world.headroom(), 0.5);
        world.release_one();
        assert_eq!((world.headroom(), world.capacity.channels_now()), (1.0, 0));
    }

    #[test]
    fn holds_all_gateways_of_a_carrier_to_its_limits_and_tells_the_tightest() {
        let mut world = World::new(|carrier, gateway| {
            *carrier = Limits { cps: Some(100.0), channels: Some(4) };
            gateway.channels = Some(3);
        });
        let other = gateway(2, Limits::default());
        let channel = world.capacity.start(&world.carrier, &other, world.now);
        assert_eq!(world.headroom(), 0.75);
        world.start();
        assert_eq!(world.headroom(), 0.5);
        assert_eq!(world.start_all(), 2);
        assert_eq!(world.capacity.headroom(&world.carrier, &other, world.now), 0.0);
        world.capacity.release(channel);
        assert_eq!(world.headroom(), 0.0, "the gateway's own are used up");
        assert_eq!(world.capacity.headroom(&world.carrier, &other, world.now), 0.25);
        let fast = World::new(|carrier, _| carrier.cps = Some(2.0));
        assert_eq!({ fast }.start_all(), 2, "a carrier's calls a second count too");
    }

    #[test]
    fn keeps_to_its_part_of_a_limit_but_never_to_none() {
        let mut world = World::new(|_, gateway| gateway.channels = Some(10));
        world.capacity.set_parts(4);
        assert_eq!(world.start_all(), 2);
        world.capacity.set_parts(0);
        assert_eq!(world.start_all(), 8);
        let mut small = World::new(|_, gateway| *gateway = limits(Some(2.0), Some(1)));
        small.capacity.set_parts(4);
        assert_eq!(small.start_all(), 1);
        small.release_one();
        small.pass(1_990);
        assert_eq!(small.start_all(), 0);
        small.pass(10);
        assert_eq!(small.start_all(), 1);
    }

    #[test]
    fn learns_from_a_burst_what_a_gateway_takes_a_second() {
        let mut world = World::new(|_, _| {});
        (0..10).for_each(|_| world.start());
        world.pass(50);
        (0..5).for_each(|_| world.refuse(Full::Rate));
        // It took five; the bucket is empty, and fills 4.5 times a second.
        assert_eq!(world.start_all(), 0);
        world.pass(222);
        assert_eq!(world.start_all(), 0);
        world.pass(1);
        assert_eq!(world.start_all(), 1);
        world.pass(2_000);
        assert_eq!(world.start_all(), 4);
    }

    #[test]
    fn learns_how_many_channels_a_gateway_has_where_a_refusal_speaks_of_them_or_nothing_else_began()
    {
        for (full, after_ms) in [(Full::Channels, 0), (Full::Unsaid, 5_000)] {
            let mut world = World::new(|_, _| {});
            (0..3).for_each(|_| world.start());
            world.pass(after_ms);
            world.start();
            world.refuse(full);
            assert_eq!(world.start_all(), 0, "{full:?}");
            world.release_one();
            assert_eq!(world.start_all(), 1, "{full:?}");
        }
    }

    #[test]
    fn learns_to_call_less_than_once_a_second_where_even_the_first_call_is_too_much() {
        let mut world = World::new(|_, _| {});
        world.start();
        world.refuse(Full::Rate);
        world.pass(1_111);
        assert_eq!(world.start_all(), 0);
        world.pass(1);
        world.start();
        world.refuse(Full::Rate);
        world.pass(1_234);
        assert_eq!(world.start_all(), 0);
        world.pass(1);
        assert_eq!(world.start_all(), 1);
    }

    #[test]
    fn learns_nothing_of_a_gateway_that_carries_nothing() {
        let mut world = World::new(|_, _| {});
        world.start();
        world.refuse(Full::Channels);
        assert_eq!((world.headroom(), world.capacity.has_learned()), (1.0, false));
    }

    #[test]
    fn gives_a_learned_limit_up_by_a_tenth_every_ten_seconds_until_nobody_needs_it() {
        let mut world = World::new(|_, _| {});
        (0..11).for_each(|_| world.start());
        world.refuse(Full::Channels);
        assert!(world.capacity.has_learned(), "all are asked from now on");
        (0..10).for_each(|_| world.release_one());
        assert_eq!(world.start_all(), 10);
        world.pass(9_999);
        assert_eq!(world.start_all(), 0);
        world.pass(1);
        assert_eq!(world.start_all(), 1, "eleven by now");
        world.pass(10_000);
        assert_eq!(world.start_all(), 1, "12.1 by now");
        (0..12).for_each(|_| world.release_one());
        world.pass(20_000);
        assert_eq!(world.start_all(), usize::MAX, "far more than is used");
        assert!(!world.capacity.has_learned());
    }

    #[test]
    fn never_takes_a_learned_limit_for_more_than_the_tables_allow() {
        let mut world = World::new(|_, gateway| gateway.channels = Some(3));
        (0..6).for_each(|_| world.start());
        world.refuse(Full::Channels);
        world.release_one();
        world.release_one();
        assert_eq!(world.start_all(), 0);
        world.release_one();
        assert_eq!(world.start_all(), 1);
    }

    #[test]
    fn counts_starts_in_the_last_second_only() {
        let mut starts = Usage::new(base()).starts;
        for (at_ms, in_last_second) in
            [(0, 1), (500, 2), (950, 3), (1_000, 3), (1_500, 3), (9_000, 1)]
        {
            let now = base() + Duration::from_millis(at_ms);
            starts.add(now);
            assert_eq!(starts.count(now), in_last_second, "{at_ms}");
        }
        let at = |ms| base() + Duration::from_millis(ms);
        assert_eq!(starts.count(at(9_899)), 1);
        assert_eq!(starts.count(at(10_000)), 0);
        starts.take_back(at(9_000), at(9_500));
        assert_eq!(starts.count(at(9_500)), 0);
    }

    #[test]
    fn forgets_what_the_tables_do_not_know_once_nothing_uses_it() {
        let mut world = World::new(|_, _| {});
        world.start();
        world.capacity.retain(&Tables::default());
        assert_eq!((world.capacity.gateways.len(), world.capacity.carriers.len()), (1, 1));
        world.release_one();
        world.capacity.retain(&Tables::default());
        assert_eq!((world.capacity.gateways.len(), world.capacity.carriers.len()), (0, 0));
    }

    /// One gateway of one carrier.
    struct World {
        capacity: Capacity,
        carrier: Carrier,
        gateway: Gateway,
        now: Instant,
        channels: Vec<Channel>,
    }

    impl World {
        fn new(change: impl FnOnce(&mut Limits, &mut Limits)) -> Self {
            let (mut of_carrier, mut of_gateway) = (Limits::default(), Limits::default());
            change(&mut of_carrier, &mut of_gateway);
            Self {
                capacity: Capacity::default(),
                carrier: carrier(of_carrier),
                gateway: gateway(1, of_gateway),
                now: base(),
                channels: Vec::new(),
            }
        }

        fn headroom(&self) -> f64 {
            self.capacity.headroom(&self.carrier, &self.gateway, self.now)
        }

        fn start(&mut self) {
            let channel = self.capacity.start(&self.carrier, &self.gateway, self.now);
            self.channels.push(channel);
        }

        /// Begins calls while there is room; gives how many, or `usize::MAX` for more than a hundred.
        fn start_all(&mut self) -> usize {
            for count in 0..=100 {
                if self.headroom() == 0.0 {
                    return count;
                }
                self.start();
            }
            usize::MAX
        }

        fn release_one(&mut self) {
            let channel = self.channels.remove(0);
            self.capacity.release(channel);
        }

        /// The call that began last is refused.
        fn refuse(&mut self, full: Full) {
            let channel = self.channels.pop().expect("a call");
            self.capacity.refused(channel, full, self.now);
        }

        fn pass(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
        }
    }

    fn limits(cps: Option<f64>, channels: Option<u32>) -> Limits {
        Limits { cps, channels }
    }

    fn carrier(limits: Limits) -> Carrier {
        Carrier {
            id: CarrierId(1),
            name: "a".into(),
            is_enabled: true,
            probe_interval: None,
            no_response: Duration::from_secs(1),
            no_ringing: Duration::from_secs(2),
            limits,
            errors_in_row: None,
            number_rule: NumberRule::default(),
            tls_wildcard: false,
        }
    }

    fn gateway(id: i64, limits: Limits) -> Gateway {
        Gateway {
            id: GatewayId(id),
            carrier: Arc::new(carrier(Limits::default())),
            name: "g".into(),
            host: "192.0.2.1".into(),
            port: 5060,
            transport: Transport::Udp,
            dns: Dns::Address,
            large_by_tcp: false,
            overload_control: false,
            media: Media::Both,
            codecs: None,
            admin_state: AdminState::On,
            region: None,
            priority: 0,
            weight: 1,
            limits,
        }
    }

    /// The same at every call: an `Instant` has no other origin.
    fn base() -> Instant {
        use std::sync::OnceLock;
        static BASE: OnceLock<Instant> = OnceLock::new();
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        *BASE.get_or_init(Instant::now)
    }
}
