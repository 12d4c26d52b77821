-- What an explanation quotes, and the slow measures that people judge carriers by. They raise questions, and move no call.
--
-- New columns may be null: a version before this one goes on writing without them.

-- Country code of the called number, such as 49; null = it is no number, or has none.
alter table calls add column country integer;

-- How much its end counted against the gateway, 0 to 1, before later attempts said more; null = not kept.
alter table call_attempts add column weight real;
-- What the rule said at that time; null = no rule, or not kept.
alter table call_attempts add column failure_rule text;

-- How calls fared over the last 24 hours: a row for each hour, gateway and country of the called numbers.
create view carrier_quality as
with attempts as (
  select
    substr(call_attempts.started_at, 1, 13) || ':00:00.000000Z' as hour,
    call_attempts.carrier_id,
    call_attempts.carrier,
    call_attempts.gateway_id,
    call_attempts.gateway,
    calls.country,
    call_attempts.ringing_ms,
    call_attempts.class = 'answered' as is_answered,
    call_attempts.class in ('answered', 'destination') as is_effective,
    call_attempts.stage in ('nothing', 'trying') as is_silent,
    (julianday(calls.ended_at) - julianday(calls.answered_at)) * 86400 as talk_seconds
  from call_attempts
  join calls on calls.call_id = call_attempts.call_id
  where call_attempts.started_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-24 hours')
), ranked as (
  select
    attempts.*,
    -- Those that never rang stand last.
    row_number() over (
      partition by hour, carrier_id, gateway_id, country order by ringing_ms is null, ringing_ms
    ) as place,
    count(ringing_ms) over (partition by hour, carrier_id, gateway_id, country) as rang
  from attempts
)
select
  -- The hour in which the attempts began.
  hour,
  -- The carrier.
  carrier_id,
  -- The carrier's name, as of the attempts.
  max(carrier) as carrier,
  -- The gateway.
  gateway_id,
  -- The gateway's name, as of the attempts.
  max(gateway) as gateway,
  -- Country code of the called numbers; null = none in them.
  country,
  -- Attempts, those included that the caller gave up.
  count(*) as attempts,
  -- Those that were answered.
  sum(is_answered) as answered,
  -- Answer-seizure ratio: answered by attempts, 0 to 1.
  cast(sum(is_answered) as real) / count(*) as asr,
  -- Network effectiveness ratio: answered, or failed by the called party, by attempts, 0 to 1.
  cast(sum(is_effective) as real) / count(*) as ner,
  -- Average duration of the answered calls; null = there were none.
  avg(case when is_answered then talk_seconds end) as acd_seconds,
  -- INVITE to ringing or answer, median; null = nothing rang.
  min(case when place >= 0.5 * rang then ringing_ms end) as post_dial_delay_p50_ms,
  -- The same, of 95 in 100 attempts at most.
  min(case when place >= 0.95 * rang then ringing_ms end) as post_dial_delay_p95_ms,
  -- Share of the answered calls that were over within 6 seconds, 0 to 1; null = there were none.
  cast(sum(is_answered and talk_seconds < 6) as real) / nullif(sum(is_answered), 0) as short_call_share,
  -- Answered calls without ringing before: an answering machine, or a carrier that answers by itself.
  sum(is_answered and is_silent) as answered_without_ringing
from ranked
group by hour, carrier_id, gateway_id, country
order by hour desc, carrier, gateway, country;
