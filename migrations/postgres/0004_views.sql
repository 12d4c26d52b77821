-- What people ask first: how are the carriers, and what became of the last calls.

create view carrier_status as
select
  carriers.carrier_id,
  carriers.name as carrier,
  carriers.enabled as carrier_enabled,
  gateways.gateway_id,
  gateways.name as gateway,
  coalesce(
    case family(health.address) when 6 then '[' || host(health.address) || ']' else host(health.address) end
      || ':' || health.port,
    gateways.host || ':' || gateways.port
  ) as address,
  gateways.admin_state,
  health.node,
  coalesce(health.state, 'unknown') as state,
  health.failure_rate,
  health.latency_ms,
  case when health.unusable_for_ms > 0
    then health.updated_at + health.unusable_for_ms * interval '1 millisecond'
  end as unusable_until,
  hour.attempts as attempts_last_hour,
  hour.failures as failures_last_hour,
  hour.answered::double precision / nullif(hour.attempts, 0) as answered_share,
  probe.ended_at as last_probe_at,
  probe.status_code as last_probe_status_code,
  probe.delay_ms as last_probe_ms,
  health.updated_at
from gateways
join carriers using (carrier_id)
left join gateway_health as health using (gateway_id)
cross join lateral (
  select
    count(*) as attempts,
    count(*) filter (where class in ('carrier_hard', 'carrier_soft')) as failures,
    count(*) filter (where class = 'answered') as answered
  from call_attempts
  where call_attempts.gateway_id = gateways.gateway_id
    and (health.address is null or (call_attempts.address = health.address and call_attempts.port = health.port))
    and call_attempts.started_at > now() - interval '1 hour'
) as hour
left join lateral (
  select probe_results.ended_at, probe_results.status_code, probe_results.delay_ms
  from probe_results
  where probe_results.gateway_id = gateways.gateway_id
    and probe_results.address = health.address
    and probe_results.port = health.port
  order by probe_results.ended_at desc
  limit 1
) as probe on true
order by carriers.name, gateways.name, health.address, health.port, health.node;

comment on view carrier_status is 'How the carriers are: a row for each address of each gateway, and for each node that has a say on it.';
comment on column carrier_status.carrier_id is 'The carrier.';
comment on column carrier_status.carrier is 'The carrier''s name.';
comment on column carrier_status.carrier_enabled is 'Whether the admin lets the carrier take calls.';
comment on column carrier_status.gateway_id is 'The gateway.';
comment on column carrier_status.gateway is 'The gateway''s name.';
comment on column carrier_status.address is 'Address and port, such as 192.0.2.1:5060; host and port while no node has seen it.';
comment on column carrier_status.admin_state is 'What the admin wants of the gateway: on, draining or off.';
comment on column carrier_status.node is 'The Holdfast that sees it so; null = none has seen it yet.';
comment on column carrier_status.state is 'unknown, up, suspect, down or half_open.';
comment on column carrier_status.failure_rate is 'Estimated share of attempts that fail by the carrier''s fault, 0 to 1.';
comment on column carrier_status.latency_ms is 'INVITE to first response, smoothed towards the worst.';
comment on column carrier_status.unusable_until is 'No call before this time (Retry-After); may be past.';
comment on column carrier_status.attempts_last_hour is 'Attempts that began within the last hour, of all nodes.';
comment on column carrier_status.failures_last_hour is 'Those of them that failed by the carrier''s fault.';
comment on column carrier_status.answered_share is 'The share of them that was answered, 0 to 1; null = there were none.';
comment on column carrier_status.last_probe_at is 'When its last probe ended, of any node.';
comment on column carrier_status.last_probe_status_code is 'The response to it; null = none came.';
comment on column carrier_status.last_probe_ms is 'How long it took.';
comment on column carrier_status.updated_at is 'When the node last wrote this.';

create view recent_calls as
select
  calls.started_at,
  calls.ringing_at,
  calls.answered_at,
  calls.ended_at,
  calls.customer,
  calls.calling,
  calls.called,
  calls.status_code,
  calls.end_cause,
  calls.ended_by,
  extract(epoch from calls.ended_at - calls.answered_at)::double precision as talk_seconds,
  (extract(epoch from coalesce(calls.ringing_at, calls.answered_at) - calls.started_at) * 1000)::bigint
    as post_dial_delay_ms,
  (select count(*) from call_attempts where call_attempts.call_id = calls.call_id) as attempts,
  (
    select string_agg(call_attempts.carrier, ', ' order by call_attempts.attempt_number)
    from call_attempts where call_attempts.call_id = calls.call_id
  ) as carriers,
  (
    select call_attempts.gateway from call_attempts where call_attempts.call_id = calls.call_id
    order by call_attempts.attempt_number desc limit 1
  ) as gateway,
  calls.detail,
  calls.call_id
from calls
order by calls.started_at desc, calls.call_id desc;

comment on view recent_calls is 'The calls, the newest first; ask with a limit.';
comment on column recent_calls.started_at is 'When the INVITE came.';
comment on column recent_calls.ringing_at is 'When the caller first heard of ringing; null = never.';
comment on column recent_calls.answered_at is 'When the caller was told that it is answered; null = never.';
comment on column recent_calls.ended_at is 'When it was over.';
comment on column recent_calls.customer is 'Who called; null = nobody we know.';
comment on column recent_calls.calling is 'User part of From.';
comment on column recent_calls.called is 'User part of the request URI.';
comment on column recent_calls.status_code is 'Final response to the caller''s INVITE.';
comment on column recent_calls.end_cause is 'completed, cancelled, failed, refused, no_ack or terminated.';
comment on column recent_calls.ended_by is 'caller, callee or holdfast.';
comment on column recent_calls.talk_seconds is 'Seconds from the answer to the end; null = not answered.';
comment on column recent_calls.post_dial_delay_ms is 'INVITE to the first ringing or answer; null = neither came.';
comment on column recent_calls.attempts is 'How many outbound legs were tried.';
comment on column recent_calls.carriers is 'The carriers of the attempts in their order.';
comment on column recent_calls.gateway is 'The gateway of the last attempt.';
comment on column recent_calls.detail is 'Why the call could not be tried or ended oddly.';
comment on column recent_calls.call_id is 'The call''s number in call_attempts and logs.';
