-- Calls in progress as another node needs them to go on with them, and who is alive to do so.
--
-- Rows come and go with every call: the state is kept as it is written, and dead rows are cleared away early.

create table node_leases (
  node_lease_id bigint primary key,
  node text not null,
  address text,
  region text,
  is_draining boolean not null default false,
  started_at timestamptz not null default clock_timestamp(),
  renewed_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.5);

comment on table node_leases is 'Runs of nodes: a node renews its lease all the time, and one that has not done so for 1.6 seconds and answers no OPTIONS is dead.';
comment on column node_leases.node_lease_id is 'Number of the run, drawn at its start.';
comment on column node_leases.node is 'Name of the node; a later run of one name takes the place of an earlier one.';
comment on column node_leases.address is 'Where the other nodes ask it by OPTIONS whether it is alive; null = it listens nowhere on UDP.';
comment on column node_leases.region is 'Its region: it takes over calls of this region, and calls of none; null = of any.';
comment on column node_leases.is_draining is 'It takes no new calls, and is given none.';
comment on column node_leases.started_at is 'When the run began.';
comment on column node_leases.renewed_at is 'When it was last heard of, by the clock of the database.';

create table calls_in_progress (
  call_id uuid primary key,
  node_lease_id bigint not null,
  node text not null,
  epoch integer not null default 1,
  region text,
  answered_at timestamptz,
  inbound_tag text not null,
  outbound_tag text not null,
  is_adopted boolean not null default true,
  given_by bigint,
  state text not null
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
alter table calls_in_progress alter column state set storage external;
create index calls_in_progress_by_node_lease on calls_in_progress (node_lease_id);
create index calls_in_progress_by_inbound_tag on calls_in_progress (inbound_tag);
create index calls_in_progress_by_outbound_tag on calls_in_progress (outbound_tag);

comment on table calls_in_progress is 'Calls as another node needs them to go on with them, or to end those that ring: written when a call has rung for a second, and before the caller hears of the answer; deleted with the writing of its record.';
comment on column calls_in_progress.call_id is 'The call''s number, in calls once it is over.';
comment on column calls_in_progress.node_lease_id is 'The run of a node that has it: only that one speaks for it and writes its record.';
comment on column calls_in_progress.node is 'Name of that node.';
comment on column calls_in_progress.epoch is 'How many nodes, one after the other, have had it.';
comment on column calls_in_progress.region is 'The region that it has to stay in; null = any.';
comment on column calls_in_progress.answered_at is 'When it was answered; null = it rings.';
comment on column calls_in_progress.inbound_tag is 'Our tag in the caller''s dialog; empty while it rings.';
comment on column calls_in_progress.outbound_tag is 'Our tag in the carrier''s dialog; empty while it rings.';
comment on column calls_in_progress.is_adopted is 'False: given away or taken over, and not yet seen by the node that has it now.';
comment on column calls_in_progress.given_by is 'The run that gave it away in a drain, until both sides know of the new node; else null.';
comment on column calls_in_progress.state is 'Both dialogs, and the record as far as it goes (JSON).';

alter table calls add column taken_from text;
comment on column calls.taken_from is 'The node that the call was taken over from last; null = it stayed on one node.';
