-- What a customer may use of us. Null is no limit, so that a version before this one, which knows none, goes on as it did.
--
-- calls.end_cause may be over_limit now: of its customer.

-- Calls at a time, from their INVITE on, over all nodes; more get 503, but for emergency routes; null = no limit.
alter table customers add column max_calls integer
  constraint max_calls_is_1_to_1000000 check (max_calls between 1 and 1000000);
-- Calls that may begin a second, over all nodes; 0.5 = one in two seconds; more get 503, but for emergency routes; null = no limit.
alter table customers add column max_cps real
  constraint max_cps_is_more_than_0_and_up_to_1000000 check (max_cps > 0 and max_cps <= 1000000);
