//! What customers use of us, against what their rows allow them.

use std::time::Instant;

use super::{Capacity, Full, Usage, headroom};
use crate::carrier::{Customer, CustomerId, Limits};

/// The place that a call of a customer holds. To be given back.
#[derive(Debug)]
#[must_use = "a place that is not given back stays in use for ever"]
pub struct Seat {
    customer_id: CustomerId,
}

impl Capacity {
    /// Which limit of its row stands in the way of one more call of a customer; `None` where it may begin.
    pub fn full_for(&self, customer: &Customer, now: Instant) -> Option<Full> {
        let usage = self.customers.get(&customer.id);
        let parts = f64::from(self.parts.max(1));
        let is_full = |limits| headroom(usage, limits, parts, now) <= 0.0;
        let Limits { cps, channels } = customer.limits;
        if is_full(Limits { cps: None, channels }) {
            return Some(Full::Channels);
        }
        is_full(Limits { cps, channels: None }).then_some(Full::Rate)
    }

    /// A call of a customer begins: takes a token and a place, whether or not they are there.
    pub fn seat(&mut self, customer: &Customer, now: Instant) -> Seat {
        let parts = f64::from(self.parts.max(1));
        let usage = self.customers.entry(customer.id).or_insert_with(|| Usage::new(now));
        usage.start(customer.limits, parts, now);
        Seat { customer_id: customer.id }
    }

    /// A call that was begun elsewhere goes on here: takes a place, and no token.
    pub fn resume_seat(&mut self, customer_id: CustomerId, now: Instant) -> Seat {
        self.customers.entry(customer_id).or_insert_with(|| Usage::new(now)).channels += 1;
        Seat { customer_id }
    }

    /// The call is over.
    pub fn unseat(&mut self, seat: Seat) {
        if let Some(usage) = self.customers.get_mut(&seat.customer_id) {
            usage.channels = usage.channels.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::carrier::rows::CustomerRow;
    use crate::carrier::{Rows, Tables};

    #[test]
    fn a_customer_has_as_many_calls_at_a_time_as_its_row_says() {
        let customer = customer(|row| row.max_calls = Some(2));
        let (mut capacity, now) = (Capacity::default(), base());
        let first = capacity.seat(&customer, now);
        assert_eq!(capacity.full_for(&customer, now), None);
        let _second = capacity.resume_seat(customer.id, now);
        assert_eq!(capacity.full_for(&customer, now), Some(Full::Channels));
        capacity.unseat(first);
        assert_eq!(capacity.full_for(&customer, now), None);
    }

    #[test]
    fn a_customers_calls_begin_no_faster_than_its_row_says() {
        let customer = customer(|row| row.max_cps = Some(2.0));
        let (mut capacity, now) = (Capacity::default(), base());
        for _ in 0..2 {
            assert_eq!(capacity.full_for(&customer, now), None);
            let seat = capacity.seat(&customer, now);
            capacity.unseat(seat);
        }
        assert_eq!(capacity.full_for(&customer, now), Some(Full::Rate));
        let later = now + Duration::from_millis(500);
        assert_eq!(capacity.full_for(&customer, later), None);
    }

    #[test]
    fn a_shard_keeps_to_its_part_and_a_customer_without_limits_has_none() {
        let limited = customer(|row| row.max_calls = Some(4));
        let (mut capacity, now) = (Capacity::default(), base());
        capacity.set_parts(2);
        let _seats = [capacity.seat(&limited, now), capacity.seat(&limited, now)];
        assert_eq!(capacity.full_for(&limited, now), Some(Full::Channels));
        let free = customer(|_| {});
        assert_eq!(capacity.full_for(&free, now), None);
    }

    #[test]
    fn forgets_a_customer_that_is_gone_once_its_calls_are_over() {
        let customer = customer(|row| row.max_calls = Some(1));
        let (mut capacity, now) = (Capacity::default(), base());
        let seat = capacity.seat(&customer, now);
        capacity.retain(&Tables::default());
        assert_eq!(capacity.customers.len(), 1);
        capacity.unseat(seat);
        capacity.retain(&Tables::default());
        assert_eq!(capacity.customers.len(), 0);
    }

    fn customer(change: impl FnOnce(&mut CustomerRow)) -> Customer {
        let mut row =
            CustomerRow { customer_id: 1, name: "acme".to_owned(), ..CustomerRow::default() };
        change(&mut row);
        let rows = Rows { customers: vec![row], ..Rows::default() };
        let tables = Tables::check(rows, 1).expect("good rows");
        Customer::clone(tables.customer(CustomerId(1)).expect("it is there"))
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn base() -> Instant {
        Instant::now()
    }
}
