-- What people ask first: how are the carriers, and what became of the last calls.

-- How the carriers are: a row for each address of each gateway, and for each node that has a say on it.
create view carrier_status as
select
  -- The carrier.
  carriers.carrier_id,
  -- The carrier's name.
  carriers.name as carrier,
  -- Whether the admin lets the carrier take calls.
  carriers.enabled as carrier_enabled,
  -- The gateway.
  gateways.gateway_id,
  -- The gateway's name.
  gateways.name as gateway,
  -- Address and port, such as 192.0.2.1:5060; host and port while no node has seen it.
  coalesce(
    case when health.address like '%:%' then '[' || health.address || ']' else health.address end || ':' || health.port,
    gateways.host || ':' || gateways.port
  ) as address,
  -- What the admin wants of the gateway: on, draining or off.
  gateways.admin_state,
  -- The Holdfast that sees it so; null = none has seen it yet.
  health.node,
  -- unknown, up, suspect, down or half_open.
  coalesce(health.state, 'unknown') as state,
  -- Estimated share of attempts that fail by the carrier's fault, 0 to 1.
  health.failure_rate,
  -- INVITE to first response, smoothed towards the worst.
  health.latency_ms,
  -- No call before this time (Retry-After); may be past.
  case when health.unusable_for_ms > 0
    then strftime('%Y-%m-%dT%H:%M:%fZ', health.updated_at, (health.unusable_for_ms / 1000.0) || ' seconds')
  end as unusable_until,
  -- Attempts that began within the last hour, of all nodes.
  count(hour.call_id) as attempts_last_hour,
  -- Those of them that failed by the carrier's fault.
  count(case when hour.class in ('carrier_hard', 'carrier_soft') then 1 end) as failures_last_hour,
  -- The share of them that was answered, 0 to 1; null = there were none.
  cast(count(case when hour.class = 'answered' then 1 end) as real) / nullif(count(hour.call_id), 0) as answered_share,
  -- When its last probe ended, of any node.
  probe.ended_at as last_probe_at,
  -- The response to it; null = none came.
  probe.status_code as last_probe_status_code,
  -- How long it took.
  probe.delay_ms as last_probe_ms,
  -- When the node last wrote this.
  health.updated_at
from gateways
join carriers on carriers.carrier_id = gateways.carrier_id
left join gateway_health as health on health.gateway_id = gateways.gateway_id
left join probe_results as probe
  on probe.probe_result_id = (
    select last.probe_result_id from probe_results as last
    where last.gateway_id = gateways.gateway_id and last.address = health.address and last.port = health.port
    order by last.ended_at desc limit 1
  )
left join call_attempts as hour
  on hour.gateway_id = gateways.gateway_id
  and (health.address is null or (hour.address = health.address and hour.port = health.port))
  and hour.started_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour')
group by gateways.gateway_id, health.node, health.address, health.port
order by carriers.name, gateways.name, health.address, health.port, health.node;

-- The calls, the newest first; ask with a limit.
create view recent_calls as
select
  -- When the INVITE came.
  calls.started_at,
  -- When the caller first heard of ringing; null = never.
  calls.ringing_at,
  -- When the caller was told that it is answered; null = never.
  calls.answered_at,
  -- When it was over.
  calls.ended_at,
  -- Who called; null = nobody we know.
  calls.customer,
  -- User part of From.
  calls.calling,
  -- User part of the request URI.
  calls.called,
  -- Final response to the caller's INVITE.
  calls.status_code,
  -- completed, cancelled, failed, refused, no_ack or terminated.
  calls.end_cause,
  -- caller, callee or holdfast.
  calls.ended_by,
  -- Seconds from the answer to the end; null = not answered.
  round((julianday(calls.ended_at) - julianday(calls.answered_at)) * 86400, 3) as talk_seconds,
  -- INVITE to the first ringing or answer; null = neither came.
  cast(
    round((julianday(coalesce(calls.ringing_at, calls.answered_at)) - julianday(calls.started_at)) * 86400000) as integer
  ) as post_dial_delay_ms,
  -- How many outbound legs were tried.
  (select count(*) from call_attempts where call_attempts.call_id = calls.call_id) as attempts,
  -- The carriers of the attempts in their order.
  (
    select group_concat(tried.carrier, ', ') from (
      select call_attempts.carrier from call_attempts where call_attempts.call_id = calls.call_id
      order by call_attempts.attempt_number
    ) as tried
  ) as carriers,
  -- The gateway of the last attempt.
  (
    select call_attempts.gateway from call_attempts where call_attempts.call_id = calls.call_id
    order by call_attempts.attempt_number desc limit 1
  ) as gateway,
  -- Why the call could not be tried or ended oddly.
  calls.detail,
  -- The call's number in call_attempts and logs.
  calls.call_id
from calls
order by calls.started_at desc, calls.call_id desc;
