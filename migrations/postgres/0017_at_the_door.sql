-- What a customer may use of us. Null is no limit, so that a version before this one, which knows none, goes on as it did.

alter table customers
  add column max_calls integer
    constraint max_calls_is_1_to_1000000 check (max_calls between 1 and 1000000),
  add column max_cps numeric(10, 3)
    constraint max_cps_is_more_than_0_and_up_to_1000000 check (max_cps > 0 and max_cps <= 1000000);

comment on column customers.max_calls is 'Calls at a time, from their INVITE on, over all nodes; more get 503, but for emergency routes; null = no limit.';
comment on column customers.max_cps is 'Calls that may begin a second, over all nodes; 0.5 = one in two seconds; more get 503, but for emergency routes; null = no limit.';
comment on column calls.end_cause is 'completed, cancelled, failed, refused, over_limit (of its customer), no_ack or terminated.';
comment on column recent_calls.end_cause is 'completed, cancelled, failed, refused, over_limit (of its customer), no_ack or terminated.';
