//! How much each source that nobody knows may ask for: one bucket of tokens a source, in a bounded table.

use std::net::IpAddr;
use std::time::Instant;

use hashbrown::HashMap;

use crate::random::Random;

/// Sources that a shard remembers, some 64 octets each.
const MAX_SOURCES: usize = 10_000;
/// A source may ask for so many seconds' worth at once.
const BURST_S: f64 = 5.0;
/// Where there is no room, the one of so many drawn ones makes some that has asked for least.
const DRAWS: usize = 4;

/// The sources that have asked for something lately. Time is an argument, and so are the draws.
#[derive(Debug)]
pub(super) struct Flood {
    /// Tokens a second; `None` = as many as anybody wants.
    rate: Option<f64>,
    places: HashMap<IpAddr, usize>,
    buckets: Vec<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    source: IpAddr,
    tokens: f64,
    at: Instant,
}

impl Flood {
    /// For one of so many shards; `per_s` is what all of them let a source have, 0 = no limit.
    pub(super) fn new(per_s: u32, shards: u32) -> Self {
        let rate = (per_s > 0).then(|| f64::from(per_s) / f64::from(shards.max(1)));
        Self { rate, places: HashMap::new(), buckets: Vec::new() }
    }

    /// Whether a source has had all that it may. Reading changes nothing.
    pub(super) fn is_over(&self, source: IpAddr, now: Instant) -> bool {
        let (Some(rate), Some(place)) = (self.rate, self.places.get(&source)) else { return false };
        self.buckets[*place].tokens(rate, now) < 1.0
    }

    /// Takes a token of a source's; `false` where it has none left.
    pub(super) fn take(&mut self, source: IpAddr, now: Instant, random: &mut Random) -> bool {
        let Some(rate) = self.rate else { return true };
        let place = match self.places.get(&source) {
            Some(place) => *place,
            None => self.add(source, rate, now, random),
        };
        let bucket = &mut self.buckets[place];
        let tokens = bucket.tokens(rate, now);
        let is_there = tokens >= 1.0;
        (bucket.tokens, bucket.at) = (if is_there { tokens - 1.0 } else { tokens }, now);
        is_there
    }

    /// A source has shown who it is: what it asked for before is forgotten.
    pub(super) fn forgive(&mut self, source: IpAddr) {
        if let Some(place) = self.places.get(&source).copied() {
            self.remove(place);
        }
    }

    fn add(&mut self, source: IpAddr, rate: f64, now: Instant, random: &mut Random) -> usize {
        if self.buckets.len() >= MAX_SOURCES {
            let len = self.buckets.len();
            let drawn = (0..DRAWS).map(|_| random.below(len as u64) as usize);
            let left = |place: &usize| self.buckets[*place].tokens(rate, now);
            let fullest = drawn.max_by(|one, other| left(one).total_cmp(&left(other)));
            self.remove(fullest.unwrap_or_default());
        }
        let place = self.buckets.len();
        self.buckets.push(Bucket { source, tokens: burst(rate), at: now });
        self.places.insert(source, place);
        place
    }

    fn remove(&mut self, place: usize) {
        let gone = self.buckets.swap_remove(place);
        self.places.remove(&gone.source);
        if let Some(moved) = self.buckets.get(place) {
            self.places.insert(moved.source, place);
        }
    }
}

impl Bucket {
    fn tokens(&self, rate: f64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + passed * rate).min(burst(rate))
    }
}

/// One may always come.
fn burst(rate: f64) -> f64 {
    (rate * BURST_S).max(1.0)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_has_a_burst_and_then_a_steady_rate_and_no_other_suffers() {
        let (mut flood, mut random, now) = (Flood::new(10, 1), Random::new(1), base());
        let mut taken = |flood: &mut Flood, number, at| {
            (0..100).filter(|_| flood.take(source(number), at, &mut random)).count()
        };
        assert_eq!(taken(&mut flood, 1, now), 50);
        assert!(flood.is_over(source(1), now) && !flood.is_over(source(2), now));
        assert_eq!(taken(&mut flood, 1, now + Duration::from_millis(300)), 3);
        assert_eq!(taken(&mut flood, 2, now), 50);
        assert_eq!(taken(&mut flood, 1, now + Duration::from_secs(3_600)), 50);
    }

    #[test]
    fn each_of_several_shards_gives_its_part_and_never_none() {
        let (mut flood, mut random, now) = (Flood::new(10, 4), Random::new(1), base());
        let taken = (0..100).filter(|_| flood.take(source(1), now, &mut random)).count();
        assert_eq!(taken, 12);
        let mut flood = Flood::new(1, 64);
        assert!(flood.take(source(1), now, &mut random));
    }

    #[test]
    fn without_a_limit_nothing_is_refused_or_remembered() {
        let (mut flood, mut random, now) = (Flood::new(0, 1), Random::new(1), base());
        assert!((0..1_000).all(|_| flood.take(source(1), now, &mut random)));
        assert!(flood.buckets.is_empty() && !flood.is_over(source(1), now));
    }

    #[test]
    fn who_has_shown_who_it_is_begins_anew() {
        let (mut flood, mut random, now) = (Flood::new(1, 1), Random::new(1), base());
        while flood.take(source(1), now, &mut random) {}
        flood.take(source(2), now, &mut random);
        flood.forgive(source(1));
        assert!(!flood.is_over(source(1), now));
        assert_eq!((flood.buckets.len(), flood.places[&source(2)]), (1, 0));
    }

    #[test]
    fn many_sources_take_bounded_room_and_push_out_no_flood_that_is_still_on() {
        let (mut flood, mut random, now) = (Flood::new(10, 1), Random::new(7), base());
        while flood.take(source(0), now, &mut random) {}
        for number in 1..50_000 {
            flood.take(source(number), now, &mut random);
            assert!(flood.buckets.len() <= MAX_SOURCES);
        }
        assert_eq!(flood.places.len(), flood.buckets.len());
        assert!(flood.is_over(source(0), now));
        let is_right = |(place, bucket): (usize, &Bucket)| flood.places[&bucket.source] == place;
        assert!(flood.buckets.iter().enumerate().all(is_right));
    }

    #[test]
    fn the_same_seed_pushes_out_the_same_sources() {
        let now = base();
        let remembered = |seed| {
            let (mut flood, mut random) = (Flood::new(10, 1), Random::new(seed));
            (0..20_000).for_each(|number| {
                flood.take(source(number), now, &mut random);
            });
            flood.buckets.iter().map(|bucket| bucket.source).collect::<Vec<_>>()
        };
        assert_eq!(remembered(1), remembered(1));
        assert_ne!(remembered(1), remembered(2));
    }

    fn source(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn base() -> Instant {
        static BASE: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BASE.get_or_init(Instant::now)
    }
}
