-- How much a carrier, and each of its gateways, can take. Null is no limit, so that a version before this one, which knows none,
-- goes on as it did.

-- INVITEs a second that all its gateways together get from all nodes; 0.5 = one in two seconds; null = no limit.
alter table carriers add column max_cps real
  constraint max_cps_is_more_than_0_and_up_to_1000000 check (max_cps > 0 and max_cps <= 1000000);
-- Calls at a time, from their INVITE on, over all its gateways and from all nodes; null = no limit.
alter table carriers add column max_channels integer
  constraint max_channels_is_1_to_1000000 check (max_channels between 1 and 1000000);
-- INVITEs a second that it gets from all nodes; 0.5 = one in two seconds; null = no limit but its carrier's.
alter table gateways add column max_cps real
  constraint max_cps_is_more_than_0_and_up_to_1000000 check (max_cps > 0 and max_cps <= 1000000);
-- Calls at a time, from their INVITE on, from all nodes; null = no limit but its carrier's.
alter table gateways add column max_channels integer
  constraint max_channels_is_1_to_1000000 check (max_channels between 1 and 1000000);
