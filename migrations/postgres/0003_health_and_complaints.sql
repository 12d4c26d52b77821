-- What a node keeps for its own restart, for its sisters and for people: each target's health, and what it refuses in the tables.
--
-- Each node writes rows of its own only. Times to come are kept as durations from updated_at, so that a restart needs no clock
-- but the store's.

create table gateway_health (
  node text not null,
  gateway_id bigint not null,
  address inet not null,
  port integer not null,
  state text not null,
  downs bigint not null,
  pause_left_ms bigint not null,
  failure_rate double precision not null,
  latency_ms double precision,
  unusable_for_ms bigint not null,
  buckets jsonb not null,
  updated_at timestamptz not null default now(),
  primary key (node, gateway_id, address, port)
);
create index gateway_health_by_gateway on gateway_health (gateway_id);

comment on table gateway_health is 'Each target''s health as a node saw it last; carrier_status shows it for people.';
comment on column gateway_health.node is 'The Holdfast that saw it.';
comment on column gateway_health.gateway_id is 'The gateway.';
comment on column gateway_health.address is 'One of the gateway''s resolved addresses.';
comment on column gateway_health.port is 'Its port.';
comment on column gateway_health.state is 'unknown, up, suspect, down or half_open.';
comment on column gateway_health.downs is 'Times in a row that it went down; the pause doubles with each.';
comment on column gateway_health.pause_left_ms is 'While down: what was left of the pause before it may prove itself.';
comment on column gateway_health.failure_rate is 'Estimated share of attempts that fail by the carrier''s fault, 0 to 1.';
comment on column gateway_health.latency_ms is 'INVITE to first response, smoothed towards the worst; null = never measured.';
comment on column gateway_health.unusable_for_ms is 'What was left of a Retry-After; 0 = it may be used.';
comment on column gateway_health.buckets is 'Attempts and weighted failures, five seconds each, the newest first.';
comment on column gateway_health.updated_at is 'When this row was written.';

create table config_errors (
  config_error_id bigint generated always as identity primary key,
  node text not null,
  table_name text not null,
  row_key text not null,
  column_name text not null,
  reason text not null,
  noticed_at timestamptz not null default now()
);
create index config_errors_by_node on config_errors (node);

comment on table config_errors is 'What a node refuses in the admin tables now; while there is a row, the node goes on with the last good tables.';
comment on column config_errors.config_error_id is 'Its number.';
comment on column config_errors.node is 'The Holdfast that refuses it.';
comment on column config_errors.table_name is 'The table.';
comment on column config_errors.row_key is 'The row''s primary key as text, such as 3 or 3/7.';
comment on column config_errors.column_name is 'The column.';
comment on column config_errors.reason is 'What is wrong, and what would be right.';
comment on column config_errors.noticed_at is 'When it was last reported.';
