-- What the score of a target needs beyond its reachability, and what another node must know to take over what this one has seen.
-- Defaults let a version before this one go on writing. `buckets` now holds twelve buckets of five seconds, then fifteen of a minute.

-- It answers, but is down, or was, because too many of its calls failed.
alter table gateway_health add column is_ejected integer not null default 0
  constraint is_ejected_is_true_or_false check (is_ejected in (0, 1));
-- How long the state had held when this row was written.
alter table gateway_health add column state_age_ms integer not null default 0;
-- INVITE to ringing, or to an answer without ringing, smoothed towards the worst; null = never measured.
alter table gateway_health add column ringing_ms real;
