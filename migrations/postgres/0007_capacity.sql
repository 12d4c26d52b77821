-- How much a carrier, and each of its gateways, can take. Null is no limit, so that a version before this one, which knows none,
-- goes on as it did.

alter table carriers
  add column max_cps numeric(10, 3)
    constraint max_cps_is_more_than_0_and_up_to_1000000 check (max_cps > 0 and max_cps <= 1000000),
  add column max_channels integer
    constraint max_channels_is_1_to_1000000 check (max_channels between 1 and 1000000);
alter table gateways
  add column max_cps numeric(10, 3)
    constraint max_cps_is_more_than_0_and_up_to_1000000 check (max_cps > 0 and max_cps <= 1000000),
  add column max_channels integer
    constraint max_channels_is_1_to_1000000 check (max_channels between 1 and 1000000);

comment on column carriers.max_cps is 'INVITEs a second that all its gateways together get from all nodes; 0.5 = one in two seconds; null = no limit.';
comment on column carriers.max_channels is 'Calls at a time, from their INVITE on, over all its gateways and from all nodes; null = no limit.';
comment on column gateways.max_cps is 'INVITEs a second that it gets from all nodes; 0.5 = one in two seconds; null = no limit but its carrier''s.';
comment on column gateways.max_channels is 'Calls at a time, from their INVITE on, from all nodes; null = no limit but its carrier''s.';
