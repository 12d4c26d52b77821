-- Calls in progress as another run needs them to go on with them, and who is alive to do so.

-- Runs of nodes: a node renews its lease all the time, and one that has not done so for 1.6 seconds and answers no OPTIONS is dead.
create table node_leases (
  -- Number of the run, drawn at its start.
  node_lease_id integer primary key,
  -- Name of the node; a later run of one name takes the place of an earlier one.
  node text not null,
  -- Where the other nodes ask it by OPTIONS whether it is alive; null = it listens nowhere on UDP.
  address text,
  -- Its region: it takes over calls of this region, and calls of none; null = of any.
  region text,
  -- It takes no new calls, and is given none.
  is_draining integer not null default 0 check (is_draining in (0, 1)),
  -- When the run began.
  started_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  -- When it was last heard of.
  renewed_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) strict;

-- Calls as another node needs them to go on with them, or to end those that ring: written when a call has rung for a second, and
-- before the caller hears of the answer; deleted with the writing of its record.
create table calls_in_progress (
  -- The call's number, in calls once it is over.
  call_id text primary key,
  -- The run of a node that has it: only that one speaks for it and writes its record.
  node_lease_id integer not null,
  -- Name of that node.
  node text not null,
  -- How many nodes, one after the other, have had it.
  epoch integer not null default 1,
  -- The region that it has to stay in; null = any.
  region text,
  -- When it was answered; null = it rings.
  answered_at text,
  -- Our tag in the caller's dialog; empty while it rings.
  inbound_tag text not null,
  -- Our tag in the carrier's dialog; empty while it rings.
  outbound_tag text not null,
  -- False: given away, and not yet seen by the node it was given to.
  is_adopted integer not null default 1 check (is_adopted in (0, 1)),
  -- The run that gave it away in a drain, until both sides know of the new node; else null.
  given_by integer,
  -- Both dialogs, and the record as far as it goes (JSON).
  state text not null
) strict;
create index calls_in_progress_by_node_lease on calls_in_progress (node_lease_id);
create index calls_in_progress_by_inbound_tag on calls_in_progress (inbound_tag);
create index calls_in_progress_by_outbound_tag on calls_in_progress (outbound_tag);

-- The node that the call was taken over from last; null = it stayed on one node.
alter table calls add column taken_from text;
