-- What an explanation quotes, and the slow measures that people judge carriers by. They raise questions, and move no call.
--
-- New columns may be null: a version before this one goes on writing without them.

alter table calls add column country smallint;

comment on column calls.country is 'Country code of the called number, such as 49; null = it is no number, or has none.';

alter table call_attempts
  add column weight real,
  add column failure_rule text;

comment on column call_attempts.weight is 'How much its end counted against the gateway, 0 to 1, before later attempts said more; null = not kept.';
comment on column call_attempts.failure_rule is 'What the rule said at that time; null = no rule, or not kept.';

create view carrier_quality as
select
  date_trunc('hour', call_attempts.started_at) as hour,
  call_attempts.carrier_id,
  max(call_attempts.carrier) as carrier,
  call_attempts.gateway_id,
  max(call_attempts.gateway) as gateway,
  calls.country,
  count(*) as attempts,
  count(*) filter (where call_attempts.class = 'answered') as answered,
  count(*) filter (where call_attempts.class = 'answered')::double precision / count(*) as asr,
  count(*) filter (where call_attempts.class in ('answered', 'destination'))::double precision / count(*) as ner,
  avg(extract(epoch from calls.ended_at - calls.answered_at)::double precision)
    filter (where call_attempts.class = 'answered') as acd_seconds,
  percentile_disc(0.5) within group (order by call_attempts.ringing_ms) as post_dial_delay_p50_ms,
  percentile_disc(0.95) within group (order by call_attempts.ringing_ms) as post_dial_delay_p95_ms,
  count(*) filter (
    where call_attempts.class = 'answered' and calls.ended_at - calls.answered_at < interval '6 seconds'
  )::double precision / nullif(count(*) filter (where call_attempts.class = 'answered'), 0) as short_call_share,
  count(*) filter (where call_attempts.class = 'answered' and call_attempts.stage in ('nothing', 'trying'))
    as answered_without_ringing
from call_attempts
join calls using (call_id)
where call_attempts.started_at > now() - interval '24 hours'
group by date_trunc('hour', call_attempts.started_at), call_attempts.carrier_id, call_attempts.gateway_id, calls.country
order by hour desc, carrier, gateway, calls.country;

comment on view carrier_quality is 'How calls fared over the last 24 hours: a row for each hour, gateway and country of the called numbers.';
comment on column carrier_quality.hour is 'The hour in which the attempts began.';
comment on column carrier_quality.carrier_id is 'The carrier.';
comment on column carrier_quality.carrier is 'The carrier''s name, as of the attempts.';
comment on column carrier_quality.gateway_id is 'The gateway.';
comment on column carrier_quality.gateway is 'The gateway''s name, as of the attempts.';
comment on column carrier_quality.country is 'Country code of the called numbers; null = none in them.';
comment on column carrier_quality.attempts is 'Attempts, those included that the caller gave up.';
comment on column carrier_quality.answered is 'Those that were answered.';
comment on column carrier_quality.asr is 'Answer-seizure ratio: answered by attempts, 0 to 1.';
comment on column carrier_quality.ner is 'Network effectiveness ratio: answered, or failed by the called party, by attempts, 0 to 1.';
comment on column carrier_quality.acd_seconds is 'Average duration of the answered calls; null = there were none.';
comment on column carrier_quality.post_dial_delay_p50_ms is 'INVITE to ringing or answer, median; null = nothing rang.';
comment on column carrier_quality.post_dial_delay_p95_ms is 'The same, of 95 in 100 attempts at most.';
comment on column carrier_quality.short_call_share is 'Share of the answered calls that were over within 6 seconds, 0 to 1; null = there were none.';
comment on column carrier_quality.answered_without_ringing is 'Answered calls without ringing before: an answering machine, or a carrier that answers by itself.';
