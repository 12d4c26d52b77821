-- What Holdfast writes and people read: calls with their attempts, and probes.
--
-- Records outlive the rows that they speak of: ids are kept without a foreign key, with the names of that time beside them.
-- Times are UTC, as in 2026-01-31T23:59:59.123456Z: they sort as text, and SQLite's date functions read them.
-- A call and its attempts are written once, after its end, and never changed.

-- One row for each call that has ended, whatever became of it.
create table calls (
  -- Ours; time-ordered (UUID version 7). Logs name it as call.id.
  call_id text primary key,
  -- The Holdfast that had the call.
  node text not null,
  -- Who called; null = nobody we know.
  customer_id integer,
  -- The customer's name at that time.
  customer text,
  -- The route that was taken; null = none.
  route_id integer,
  -- The region the call had to stay in; null = any.
  region text,
  -- User part of From.
  calling text not null,
  -- User part of the request URI.
  called text not null,
  -- Where the INVITE came from.
  source_address text not null,
  -- The port it came from.
  source_port integer not null,
  -- Both as one text, such as 192.0.2.1:5060.
  source text not null generated always as (
    case when source_address like '%:%' then '[' || source_address || ']' else source_address end || ':' || source_port
  ) stored,
  -- Call-ID header of the inbound leg.
  inbound_call_id text not null,
  -- When the INVITE came.
  started_at text not null,
  -- When the caller first heard of ringing; null = never.
  ringing_at text,
  -- When the caller was told that it is answered; null = never.
  answered_at text,
  -- When it was over.
  ended_at text not null,
  -- Final response to the caller's INVITE.
  status_code integer not null,
  -- completed, cancelled, failed, refused, no_ack or terminated.
  end_cause text not null,
  -- caller, callee or holdfast.
  ended_by text not null,
  -- Why the call could not be tried or ended oddly, for people; else empty.
  detail text not null,
  -- The plan: which candidates were there, with which scores; null = none was made.
  decision text
) strict;
create index calls_by_start on calls (started_at);
create index calls_by_end on calls (ended_at);
create index calls_by_called on calls (called, started_at);
create index calls_by_customer on calls (customer_id, started_at);
create index calls_by_inbound_call_id on calls (inbound_call_id);

-- One row for each outbound leg that was tried; it goes when its call goes.
create table call_attempts (
  -- The call.
  call_id text not null references calls on delete cascade,
  -- Its place in the order of attempts, from 1.
  attempt_number integer not null,
  -- The carrier that was asked.
  carrier_id integer not null,
  -- The carrier's name at that time.
  carrier text not null,
  -- The gateway that was asked.
  gateway_id integer not null,
  -- The gateway's name at that time.
  gateway text not null,
  -- The address that the INVITE went to.
  address text not null,
  -- The port that it went to.
  port integer not null,
  -- Call-ID header of the outbound leg.
  outbound_call_id text not null,
  -- When the INVITE went out.
  started_at text not null,
  -- INVITE to the first response; null = none came.
  trying_ms integer,
  -- INVITE to the first ringing; null = none came.
  ringing_ms integer,
  -- INVITE to the final response, to our timeout or to our CANCEL.
  ended_ms integer not null,
  -- Where its end came from: remote, timeout or transport.
  origin text not null,
  -- How far it had come: nothing, trying, ringing or early_media.
  stage text not null,
  -- Its final response; 408 for our own timeouts, 503 for transport errors.
  status_code integer not null,
  -- The reason phrase, or what our timer waited for.
  reason text not null,
  -- What its end means, as in failure_rules.
  class text not null,
  -- What followed from it, as in failure_rules.
  action text not null,
  -- The rule that said so; null = the built-in default.
  failure_rule_id integer,
  -- It was answered after it had been left, and ended at once.
  late_answer integer not null constraint late_answer_is_true_or_false check (late_answer in (0, 1)),
  primary key (call_id, attempt_number)
) strict;
create index call_attempts_by_gateway on call_attempts (gateway_id, started_at);
create index call_attempts_by_start on call_attempts (started_at);
create index call_attempts_by_outbound_call_id on call_attempts (outbound_call_id);

-- One row for each OPTIONS probe that has ended.
create table probe_results (
  -- Its number.
  probe_result_id integer primary key,
  -- The Holdfast that probed.
  node text not null,
  -- The gateway that was probed.
  gateway_id integer not null,
  -- The address that was probed.
  address text not null,
  -- The port that was probed.
  port integer not null,
  -- When the response came, or was waited for no more.
  ended_at text not null,
  -- The response; null = none came in time.
  status_code integer,
  -- How long it took.
  delay_ms real not null
) strict;
create index probe_results_by_end on probe_results (ended_at);
create index probe_results_by_target on probe_results (gateway_id, address, port, ended_at);
