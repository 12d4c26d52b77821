-- What a node keeps for its own restart, for its sisters and for people: each target's health, and what it refuses in the tables.
--
-- Each node writes rows of its own only. Times to come are kept as durations from updated_at, so that a restart needs no clock
-- but the store's.

-- Each target's health as a node saw it last; carrier_status shows it for people.
create table gateway_health (
  -- The Holdfast that saw it.
  node text not null,
  -- The gateway.
  gateway_id integer not null,
  -- One of the gateway's resolved addresses.
  address text not null,
  -- Its port.
  port integer not null,
  -- unknown, up, suspect, down or half_open.
  state text not null,
  -- Times in a row that it went down; the pause doubles with each.
  downs integer not null,
  -- While down: what was left of the pause before it may prove itself.
  pause_left_ms integer not null,
  -- Estimated share of attempts that fail by the carrier's fault, 0 to 1.
  failure_rate real not null,
  -- INVITE to first response, smoothed towards the worst; null = never measured.
  latency_ms real,
  -- What was left of a Retry-After; 0 = it may be used.
  unusable_for_ms integer not null,
  -- Attempts and weighted failures, five seconds each, the newest first.
  buckets text not null,
  -- When this row was written.
  updated_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  primary key (node, gateway_id, address, port)
) strict;
create index gateway_health_by_gateway on gateway_health (gateway_id);

-- What a node refuses in the admin tables now; while there is a row, the node goes on with the last good tables.
create table config_errors (
  -- Its number.
  config_error_id integer primary key,
  -- The Holdfast that refuses it.
  node text not null,
  -- The table.
  table_name text not null,
  -- The row's primary key as text, such as 3 or 3/7.
  row_key text not null,
  -- The column.
  column_name text not null,
  -- What is wrong, and what would be right.
  reason text not null,
  -- When it was last reported.
  noticed_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) strict;
create index config_errors_by_node on config_errors (node);
