//! What each column of the tables, and each state of a target, does to a decision.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::decide::MAX_CANDIDATES;
use super::{DecisionRecord, Drop, Plan, Query, Reach, decide};
use crate::carrier::rows::{
    CarrierRow, GatewayRow, RouteCarrierHoursRow, RouteCarrierRow, RouteRow,
};
use crate::carrier::{GatewayId, RouteId, Rows, Strategy, Tables};
use crate::health::{Reachability, Target, TargetView, View};
use crate::sip::sdp::Audio;

/// Decisions that a share is counted over.
const DRAWS: u64 = 2_000;

#[test]
fn tries_the_tier_of_the_lowest_priority_first() {
    let world = World::new(&[1, 2, 3], |rows| {
        rows.route_carriers[0].priority = 30;
        rows.route_carriers[1].priority = 10;
        rows.route_carriers[2].priority = 20;
    });
    assert_eq!(world.order(), [2, 3, 1]);
}

#[test]
fn shares_calls_by_weight_within_a_tier() {
    let world = World::new(&[1, 2], |rows| {
        rows.routes[0].strategy = "weighted".to_owned();
        rows.route_carriers[0].weight = 3;
    });
    assert_share(world.firsts()[&1], 0.75);
}

#[test]
fn takes_the_cheapest_unless_it_fails_far_more_than_the_best() {
    let mut world = World::new(&[1, 2], |rows| {
        rows.routes[0].strategy = "least_cost".to_owned();
        rows.route_carriers[0].cost_micros = 20_000;
        rows.route_carriers[1].cost_micros = 10_000;
    });
    assert_eq!(world.order(), [2, 1]);
    world.change(2, |view| view.failure_rate = 0.5);
    assert_eq!(world.order(), [1, 2]);
}

#[test]
fn prefers_the_healthier_and_still_gives_the_other_a_little() {
    let mut world = World::new(&[1, 2], |rows| rows.routes[0].strategy = "healthiest".to_owned());
    assert_share(world.firsts()[&1], 0.5);
    world.change(1, |view| view.failure_rate = 0.1);
    let little = share(world.firsts()[&1]);
    assert!((0.05..0.3).contains(&little), "{little}");
    // The surer it is, the less; but it is never quite forgotten.
    for id in [1, 2] {
        world.change(id, |view| view.deviation = 0.01);
    }
    let least = share(world.firsts()[&1]);
    assert!((0.01..0.05).contains(&least), "{least}");
}

#[test]
fn keeps_the_order_of_ids_within_a_tier_under_the_strategy_priority() {
    let world = World::new(&[1, 2, 3], |_| {});
    assert_eq!(world.order(), [1, 2, 3]);
}

#[test]
fn tries_gateways_of_a_carrier_by_their_priority_and_shares_by_their_weight() {
    let two = |rows: &mut Rows| rows.gateways[1].carrier_id = 1;
    let by_priority = World::new(&[1, 2], |rows| {
        two(rows);
        rows.gateways[0].priority = 2;
        rows.gateways[1].priority = 1;
        rows.route_carriers.truncate(1);
    });
    assert_eq!(by_priority.order(), [2, 1]);
    let by_weight = World::new(&[1, 2], |rows| {
        two(rows);
        rows.gateways[0].weight = 9;
        rows.route_carriers.truncate(1);
    });
    assert_share(by_weight.firsts()[&1], 0.9);
}

#[test]
fn gives_no_call_to_what_an_admin_has_put_aside() {
    type Change = fn(&mut Rows);
    let changes: [(Change, Drop); 3] = [
        (|rows| rows.carriers[0].enabled = false, Drop::CarrierDisabled),
        (|rows| rows.gateways[0].admin_state = "draining".to_owned(), Drop::GatewayDraining),
        (|rows| rows.gateways[0].admin_state = "off".to_owned(), Drop::GatewayOff),
    ];
    for (change, reason) in changes {
        let world = World::new(&[1, 2], change);
        assert_eq!((world.order(), world.dropped()), (vec![2], vec![(1, reason)]));
    }
}

#[test]
fn keeps_a_call_in_the_region_of_its_route_else_of_its_customer() {
    let regions = |rows: &mut Rows| {
        rows.carriers[0].region = Some("eu".to_owned());
        rows.carriers[1].region = Some("eu".to_owned());
        rows.gateways[1].region = Some("us".to_owned());
    };
    let world = World::new(&[1, 2, 3], regions);
    assert_eq!(world.order(), [1, 2, 3], "no region is asked for");
    let eu = Arc::from("eu");
    assert_eq!(ids(&world.decide(1, Some(&eu))), [1], "a gateway's own region comes first");
    let world = World::new(&[1, 2, 3], |rows| {
        regions(rows);
        rows.routes[0].region = Some("us".to_owned());
    });
    assert_eq!(ids(&world.decide(1, Some(&eu))), [2], "and a route's before its customer's");
}

#[test]
fn leaves_out_what_is_down_and_what_asked_to_be_left_alone_for_a_while() {
    let mut world = World::new(&[1, 2, 3], |_| {});
    let later = world.now + Duration::from_secs(1);
    world.change(1, |view| view.reachability = Reachability::Down);
    world.change(2, |view| view.unusable_until = Some(later));
    assert_eq!(world.order(), [3]);
    assert_eq!(world.dropped(), [(1, Drop::Down), (2, Drop::RetryAfter)]);
    world.now = later;
    assert_eq!(world.order(), [2, 3]);
}

#[test]
fn tries_a_suspect_after_everything_else_even_of_a_later_tier() {
    let mut world = World::new(&[1, 2], |rows| rows.route_carriers[1].priority = 9);
    world.change(1, |view| view.reachability = Reachability::Suspect);
    assert_eq!(world.order(), [2, 1]);
}

#[test]
fn gives_a_half_open_target_one_call_in_four_and_no_second_one_at_a_time() {
    let mut world = World::new(&[1, 2], |_| {});
    world.change(1, |view| view.reachability = Reachability::HalfOpen);
    assert_share(world.firsts()[&1], 0.25);
    world.change(1, |view| view.is_half_open_busy = true);
    assert_eq!((world.order(), world.dropped()), (vec![2], vec![(1, Drop::HalfOpenBusy)]));
}

#[test]
fn tries_the_least_bad_when_nothing_is_left_but_never_what_an_admin_put_aside() {
    let mut world = World::new(&[1, 2, 3], |rows| rows.carriers[2].enabled = false);
    let later = world.now + Duration::from_secs(1);
    world.change(1, |view| view.reachability = Reachability::Down);
    world.change(2, |view| view.unusable_until = Some(later));
    let plan = world.decide(1, None);
    assert!(plan.is_panic);
    assert_eq!(ids(&plan), [2, 1]);
}

#[test]
fn says_which_gateways_have_no_address_yet() {
    let mut world = World::new(&[1, 2], |_| {});
    world.views.remove(&1);
    assert_eq!((world.order(), world.dropped()), (vec![2], vec![(1, Drop::Unresolved)]));
}

#[test]
fn decides_the_same_for_the_same_seed() {
    let world = World::new(&[1, 2, 3], |rows| rows.routes[0].strategy = "healthiest".to_owned());
    for seed in 0..20 {
        assert_eq!(ids(&world.decide(seed, None)), ids(&world.decide(seed, None)));
    }
}

#[test]
fn leaves_out_what_is_full_and_says_so() {
    let mut world = World::new(&[1, 2], |_| {});
    world.headroom.insert(1, 0.0);
    assert_eq!((world.order(), world.dropped()), (vec![2], vec![(1, Drop::Capacity)]));
    let plan = world.decide(1, None);
    assert!(plan.is_short());
    let record = DecisionRecord::from(&plan);
    assert_eq!(record.dropped[0].reason, Drop::Capacity);
    assert_eq!(record.candidates[0].headroom, 1.0);
}

#[test]
fn tries_nothing_that_is_full_even_when_all_else_is_down() {
    let mut world = World::new(&[1, 2, 3], |_| {});
    world.headroom.insert(1, 0.0);
    assert!(!World::new(&[1], |_| {}).decide(1, None).is_short());
    world.change(2, |view| view.reachability = Reachability::Down);
    world.change(3, |view| view.reachability = Reachability::Down);
    world.headroom.insert(3, 0.0);
    let plan = world.decide(1, None);
    assert_eq!((ids(&plan), plan.is_panic, plan.is_short()), (vec![2], true, true));
}

#[test]
fn gives_a_carrier_less_as_it_fills_up_once_more_than_half_is_in_use() {
    let mut world = World::new(&[1, 2], |rows| rows.routes[0].strategy = "healthiest".to_owned());
    for id in [1, 2] {
        world.change(id, |view| {
            view.failure_rate = 0.05;
            view.deviation = 0.05;
        });
    }
    world.headroom.insert(1, 0.5);
    assert_share(world.firsts()[&1], 0.5);
    world.headroom.insert(1, 0.48);
    let less = share(world.firsts()[&1]);
    assert!((0.1..0.45).contains(&less), "{less}");
    world.headroom.insert(1, 0.25);
    assert_eq!(world.firsts().get(&1), None);
    let mut by_weight = World::new(&[1, 2], |rows| {
        rows.gateways[1].carrier_id = 1;
        rows.route_carriers.truncate(1);
    });
    by_weight.headroom.insert(1, 0.25);
    assert_share(by_weight.firsts()[&1], 1.0 / 3.0);
}

#[test]
fn takes_the_heaviest_first_under_the_strategy_priority() {
    let mut world = World::new(&[1, 2], |rows| rows.route_carriers[1].weight = 2);
    assert_eq!(world.order(), [2, 1]);
    world.change(2, |view| view.failure_rate = 0.5);
    assert_eq!(world.order(), [2, 1], "whatever their scores");
}

#[test]
fn shares_by_weight_only_among_those_near_the_best() {
    let mut world = World::new(&[1, 2], |rows| {
        rows.routes[0].strategy = "weighted".to_owned();
        rows.route_carriers[0].weight = 1_000;
    });
    world.change(1, |view| view.failure_rate = 0.5);
    assert_eq!(world.firsts().get(&1), None);
}

#[test]
fn counts_weight_under_weighted_and_priority_and_cost_under_least_cost_alone() {
    for (strategy, by_weight, by_cost) in [
        ("healthiest", false, false),
        ("weighted", true, false),
        ("least_cost", false, true),
        ("priority", true, false),
    ] {
        let favoured = |change: fn(&mut Rows)| {
            let world = World::new(&[1, 2], |rows| {
                rows.routes[0].strategy = strategy.to_owned();
                rows.route_carriers[0].cost_micros = 1;
                change(rows);
            });
            share(world.firsts().get(&2).copied().unwrap_or_default()) > 0.8
        };
        let heavy = |rows: &mut Rows| {
            rows.route_carriers[0].cost_micros = 0;
            rows.route_carriers[1].weight = 20;
        };
        assert_eq!(favoured(heavy), by_weight, "{strategy}");
        assert_eq!(favoured(|_| {}), by_cost, "{strategy}");
    }
}

#[test]
fn leaves_a_carrier_out_at_other_hours_than_its_own() {
    let mut world = World::new(&[1, 2], |rows| {
        for (days, until_time) in [("mon-wed", "24:00"), ("thu", "08:00:00")] {
            rows.route_carrier_hours.push(RouteCarrierHoursRow {
                route_id: 1,
                carrier_id: 1,
                days: days.to_owned(),
                from_time: "00:00".to_owned(),
                until_time: until_time.to_owned(),
                time_zone: "Asia/Tokyo".to_owned(),
            });
        }
    });
    // Nine o'clock there.
    assert_eq!((world.order(), world.dropped()), (vec![2], vec![(1, Drop::OutOfHours)]));
    world.wall -= Duration::from_secs(3_601);
    assert_eq!(world.order(), [1, 2]);
    world.wall -= Duration::from_secs(24 * 3_600);
    assert_eq!(world.order(), [1, 2], "any of its rows is enough");
}

#[test]
fn gives_an_offer_to_gateways_that_take_its_media_and_one_of_its_codecs() {
    let mut world = World::new(&[1, 2, 3, 4], |rows| {
        rows.gateways[1].media = "srtp".to_owned();
        rows.gateways[2].media = "both".to_owned();
        rows.gateways[2].codecs = Some("PCMU, opus".to_owned());
    });
    assert_eq!(world.order(), [1, 2, 3, 4], "an INVITE without an offer may become anything");
    for (has_rtp, has_srtp, codec, order) in [
        (true, false, "pcmu", vec![1, 3, 4]),
        (false, true, "opus", vec![2, 3]),
        (true, true, "opus", vec![1, 2, 3, 4]),
        (true, true, "g729", vec![1, 2, 4]),
    ] {
        world.audio = Some(Audio { has_rtp, has_srtp, codecs: vec![codec.into()] });
        assert_eq!(world.order(), order, "{has_rtp} {has_srtp} {codec}");
    }
    world.audio = Some(Audio { has_rtp: false, has_srtp: true, codecs: vec!["g729".into()] });
    assert_eq!(world.dropped(), [(1, Drop::Media), (3, Drop::Codec), (4, Drop::Media)]);
}

#[test]
fn sends_what_needs_srtp_nowhere_else() {
    let mut world = World::new(&[1, 2, 3], |rows| {
        rows.routes[0].needs_srtp = "yes".to_owned();
        rows.gateways[1].media = "srtp".to_owned();
        rows.gateways[2].media = "both".to_owned();
    });
    assert_eq!((world.order(), world.dropped()), (vec![2, 3], vec![(1, Drop::Media)]));
    world.audio = Some(Audio { has_rtp: true, has_srtp: false, codecs: vec![] });
    assert_eq!(world.order(), [0; 0], "an offer without it cannot become it on the way");
    world.audio = Some(Audio { has_rtp: true, has_srtp: true, codecs: vec![] });
    assert_eq!(world.order(), [2, 3]);
}

#[test]
fn tries_everything_for_an_emergency_call_what_is_unusable_last() {
    let change = |is_emergency: bool| {
        let mut world = World::new(&[1, 2, 3, 4, 5, 6], |rows| {
            rows.routes[0].is_emergency = is_emergency;
            rows.carriers[5].enabled = false;
        });
        let later = world.now + Duration::from_secs(1);
        world.change(1, |view| view.reachability = Reachability::Down);
        world.change(2, |view| {
            view.reachability = Reachability::HalfOpen;
            view.is_half_open_busy = true;
        });
        world.change(3, |view| view.unusable_until = Some(later));
        world.change(4, |view| {
            view.reachability = Reachability::Down;
            view.is_held = true;
        });
        world
    };
    assert_eq!(change(false).order(), [5]);
    let world = change(true);
    assert_eq!(world.order()[..3], [5, 2, 3]);
    assert_eq!(world.order().len(), 5);
    assert_eq!(world.dropped(), [(6, Drop::CarrierDisabled)], "an admin's word holds");
}

#[test]
fn says_that_a_carrier_is_held_and_does_not_readmit_it_for_its_tier() {
    let mut world = World::new(&[1, 2], |rows| rows.route_carriers[1].priority = 2);
    world.change(1, |view| {
        view.reachability = Reachability::Down;
        view.is_ejected = true;
        view.is_held = true;
    });
    assert_eq!((world.order(), world.dropped()), (vec![2], vec![(1, Drop::Held)]));
}

#[test]
fn a_record_decides_again_as_it_was_decided_then() {
    let mut world = World::new(&[1, 2, 3, 4, 5, 6], |rows| {
        rows.routes[0].strategy = "healthiest".to_owned();
        rows.gateways[5].admin_state = "off".to_owned();
    });
    let later = world.now + Duration::from_secs(60);
    world.change(1, |view| (view.failure_rate, view.deviation) = (0.3, 0.1));
    world.change(2, |view| view.ramp = 0.3);
    world.change(3, |view| view.reachability = Reachability::HalfOpen);
    world.change(4, |view| view.unusable_until = Some(later));
    world.change(5, |view| (view.latency_ms, view.ringing_ms) = (Some(900.0), None));
    let targets: Vec<Target> = world.views.values().map(|view| view.target).collect();
    for seed in 0..50 {
        let plan = world.decide(seed, None);
        // By way of JSON text, as a store keeps it.
        let text = plan.to_json();
        let by_way_of_a_map =
            serde_json::to_value(DecisionRecord::from(&plan)).expect("texts and numbers");
        assert_eq!(text, by_way_of_a_map.to_string());
        let record: DecisionRecord = serde_json::from_str(&text).expect("its own text");
        assert_eq!(record.seed, seed);
        assert_eq!(record.candidates.len(), plan.candidates.len());
        let again = world.decide_with(record.view(&targets, world.now), seed, None);
        assert_eq!(ids(&again), ids(&plan));
        let left = |plan: &Plan| {
            plan.dropped.iter().map(|left| (left.gateway.id, left.reason)).collect::<Vec<_>>()
        };
        assert_eq!(left(&again), left(&plan));
        // A number that was written and read may differ in its last bit.
        for (again, then) in again.candidates.iter().zip(&plan.candidates) {
            assert!((again.score - then.score).abs() < 1e-9, "{again:?}");
        }
    }
}

#[test]
fn a_thousand_gateways_give_a_full_plan_of_the_best_and_no_more() {
    let gateways: Vec<i64> = (1..=250).collect();
    let one_carrier = |rows: &mut Rows| {
        rows.gateways.iter_mut().for_each(|gateway| gateway.carrier_id = 1);
        rows.gateways[..100].iter_mut().for_each(|gateway| gateway.priority = 9);
        rows.route_carriers.truncate(1);
    };
    let mut world = World::new(&gateways, one_carrier);
    // The first in line are suspects: they would go behind all others.
    for id in 101..=150 {
        world.change(id, |view| view.reachability = Reachability::Suspect);
    }
    let plan = world.decide(1, None);
    assert_eq!((plan.candidates.len(), plan.candidates_beyond), (MAX_CANDIDATES, 218));
    assert!(ids(&plan).iter().all(|id| *id > 150), "{:?}", ids(&plan));

    let mut world = World::new(&gateways, |_| {});
    let plan = world.decide(1, None);
    assert_eq!(ids(&plan), (1..=32).collect::<Vec<_>>());
    assert_eq!(plan.candidates_beyond, 218);
    // Behind more than the plan has room for, but it is its turn.
    world.change(250, |view| view.reachability = Reachability::HalfOpen);
    assert_share(world.firsts().get(&250).copied().unwrap_or_default(), 0.25);
}

#[test]
fn decides_the_same_in_haste_and_with_care_however_many_there_are() {
    // Few carriers and gateways, many of each, and both at once, under every strategy.
    for (carriers, gateways) in [(3, 4), (20, 3), (2, 40), (14, 14), (1, 300)] {
        for strategy in Strategy::ALL {
            let all: Vec<i64> = (1..=carriers * gateways).collect();
            let mut world = World::new(&all, |rows| {
                rows.routes[0].strategy = strategy.to_string();
                rows.carriers.truncate(carriers as usize);
                rows.route_carriers.truncate(carriers as usize);
                for (index, row) in rows.gateways.iter_mut().enumerate() {
                    row.carrier_id = 1 + index as i64 / gateways;
                    row.weight = 1 + (index % 3) as i32;
                    row.priority = (index % 2) as i32;
                }
            });
            for id in &all {
                world.change(*id, |view| view.failure_rate = 0.001 * (*id % 50) as f64);
            }
            for seed in 0..30 {
                let plan = world.decide(seed, None);
                let expected = all.len().min(MAX_CANDIDATES);
                assert_eq!(plan.candidates.len(), expected, "{carriers}x{gateways} {strategy}");
            }
        }
    }
}

#[test]
fn names_no_more_of_what_was_left_out_than_a_record_should_hold() {
    let gateways: Vec<i64> = (1..=255).chain(1_001..=1_045).collect();
    let world = World::new(&gateways, |rows| rows.routes[0].region = Some("moon".to_owned()));
    let plan = world.decide(1, None);
    assert_eq!((plan.dropped.len(), plan.dropped_beyond), (256, 44));
}

/// Tables of one route, and what is known of each gateway.
#[test]
fn leaves_out_whoever_is_not_reached_by_tls_where_the_call_is_a_sips_one() {
    let mut world = World::new(&[1, 2], |rows| {
        "tls".clone_into(&mut rows.gateways[1].transport);
    });
    assert_eq!(world.order(), [1, 2]);
    world.needs_tls = true;
    assert_eq!(world.order(), [2]);
    assert_eq!(world.dropped(), [(1, Drop::NotSecure)]);
}

struct World {
    tables: Tables,
    views: BTreeMap<i64, TargetView>,
    headroom: BTreeMap<i64, f64>,
    now: Instant,
    wall: SystemTime,
    audio: Option<Audio>,
    needs_tls: bool,
}

impl World {
    /// One carrier with one gateway for each id, all in one tier, under the strategy priority.
    fn new(ids: &[i64], change: impl FnOnce(&mut Rows)) -> Self {
        let mut rows = rows(ids);
        change(&mut rows);
        let tables = Tables::check(rows, 1).expect("good rows");
        let views = ids.iter().map(|id| (*id, up(*id))).collect();
        let headroom = ids.iter().map(|id| (*id, 1.0)).collect();
        // Thursday, 1 January 1970, midnight.
        let wall = SystemTime::UNIX_EPOCH;
        Self { tables, views, headroom, now: base(), wall, audio: None, needs_tls: false }
    }

    fn change(&mut self, id: i64, change: impl FnOnce(&mut TargetView)) {
        change(self.views.get_mut(&id).expect("a gateway"));
    }

    fn decide(&self, seed: u64, customer_region: Option<&Arc<str>>) -> Plan {
        let view = View::new(self.views.values().cloned().map(Arc::new).collect());
        self.decide_with(view, seed, customer_region)
    }

    fn decide_with(&self, view: View, seed: u64, customer_region: Option<&Arc<str>>) -> Plan {
        let route = self.tables.route_for(crate::carrier::CustomerId(1), "1").expect("a route");
        assert_eq!(route.id, RouteId(1));
        let query = Query {
            route,
            customer_region,
            country: None,
            wall: self.wall,
            audio: self.audio.as_ref(),
            needs_tls: self.needs_tls,
            seed,
            reach: Reach::ALL,
            headroom: &|_, gateway| self.headroom[&gateway.id.0],
            has_learned: true,
        };
        let plan = decide(&self.tables, &view, &query, self.now);
        if self.headroom.values().all(|free| *free == 1.0) {
            // Then it is the same whether every gateway is looked at closely or none that need not be.
            let hasty =
                decide(&self.tables, &view, &Query { has_learned: false, ..query }, self.now);
            assert_eq!(hasty.to_json(), plan.to_json());
        }
        plan
    }

    /// Gateways in the order in which a call tries them; with a seed that draws no trial.
    fn order(&self) -> Vec<i64> {
        ids(&self.decide(1, None))
    }

    fn dropped(&self) -> Vec<(i64, Drop)> {
        let plan = self.decide(1, None);
        plan.dropped.iter().map(|dropped| (dropped.gateway.id.0, dropped.reason)).collect()
    }

    /// How often each gateway is tried first.
    fn firsts(&self) -> BTreeMap<i64, u64> {
        let mut firsts = BTreeMap::new();
        for seed in 0..DRAWS {
            *firsts.entry(ids(&self.decide(seed, None))[0]).or_default() += 1;
        }
        firsts
    }
}

#[test]
fn a_gateway_that_we_are_registered_with_is_called_at_that_address_only() {
    let world = World::new(&[1, 2], |_| {});
    let other = |is_registered| {
        let target =
            Target { gateway_id: GatewayId(1), address: "192.0.2.77:5060".parse().unwrap() };
        TargetView { is_registered, ..TargetView::unknown(target) }
    };
    let addresses = |is_registered| {
        let views = world.views.values().cloned().chain([other(is_registered)]);
        let view = View::new(views.map(Arc::new).collect());
        let plan = world.decide_with(view, 1, None);
        let of_first = plan.candidates.iter().filter(|it| it.gateway.id.0 == 1);
        let addresses = of_first.map(|it| it.target.address.to_string()).collect::<Vec<_>>();
        let reasons = plan.dropped.iter().map(|dropped| dropped.reason).collect::<Vec<_>>();
        (addresses.len(), addresses.contains(&"192.0.2.77:5060".to_owned()), reasons, plan)
    };
    let (count, _, reasons, _) = addresses(false);
    assert_eq!((count, reasons), (2, vec![]));
    let (count, has_it, reasons, plan) = addresses(true);
    assert_eq!((count, has_it, reasons), (1, true, vec![Drop::NotRegistered]));
    // A replay knows it as well.
    let record: DecisionRecord = serde_json::from_str(&plan.to_json()).unwrap();
    let again = world.decide_with(record.view(&[], world.now), 1, None);
    assert_eq!(again.dropped[0].reason, Drop::NotRegistered);
    assert_eq!(ids(&again), ids(&plan));
}

fn share(count: u64) -> f64 {
    count as f64 / DRAWS as f64
}

fn assert_share(count: u64, expected: f64) {
    let share = share(count);
    assert!((share - expected).abs() < 0.05, "{share} is not about {expected}");
}

fn ids(plan: &Plan) -> Vec<i64> {
    plan.candidates.iter().map(|candidate| candidate.gateway.id.0).collect()
}

fn up(id: i64) -> TargetView {
    let host = u8::try_from(id % 256).expect("small");
    let address = SocketAddr::from(([192, 0, 2, host], 5060));
    let target = Target { gateway_id: GatewayId(id), address };
    TargetView { reachability: Reachability::Up, ..TargetView::unknown(target) }
}

fn rows(ids: &[i64]) -> Rows {
    let carrier = |id: &i64| CarrierRow {
        carrier_id: *id,
        name: format!("carrier-{id}"),
        ..CarrierRow::default()
    };
    let gateway = |id: &i64| GatewayRow {
        gateway_id: *id,
        carrier_id: *id,
        name: format!("gateway-{id}"),
        host: format!("192.0.2.{}", id % 256),
        media: "rtp".to_owned(),
        ..GatewayRow::default()
    };
    let place =
        |id: &i64| RouteCarrierRow { route_id: 1, carrier_id: *id, ..RouteCarrierRow::default() };
    Rows {
        carriers: ids.iter().map(carrier).collect(),
        gateways: ids.iter().map(gateway).collect(),
        routes: vec![RouteRow {
            route_id: 1,
            strategy: "priority".to_owned(),
            ..RouteRow::default()
        }],
        route_carriers: ids.iter().map(place).collect(),
        ..Rows::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
fn base() -> Instant {
    Instant::now()
}
