-- What the score of a target needs beyond its reachability, and what another node must know to take over what this one has seen.
-- Defaults let a version before this one go on writing.

alter table gateway_health
  add column is_ejected boolean not null default false,
  add column state_age_ms bigint not null default 0,
  add column ringing_ms double precision;

comment on column gateway_health.is_ejected is 'It answers, but is down, or was, because too many of its calls failed.';
comment on column gateway_health.state_age_ms is 'How long the state had held when this row was written.';
comment on column gateway_health.ringing_ms is 'INVITE to ringing, or to an answer without ringing, smoothed towards the worst; null = never measured.';
comment on column gateway_health.buckets is 'Attempts and weighted failures, the newest first: twelve buckets of five seconds, then fifteen of a minute.';
