-- What Holdfast writes and people read: calls with their attempts, and probes.
--
-- Records outlive the rows that they speak of: ids are kept without a foreign key, with the names of that time beside them.
-- A call and its attempts are written once, after its end, and never changed.

create table calls (
  call_id uuid primary key,
  node text not null,
  customer_id bigint,
  customer text,
  route_id bigint,
  region text,
  calling text not null,
  called text not null,
  source_address inet not null,
  source_port integer not null,
  source text not null generated always as (
    case family(source_address) when 6 then '[' || host(source_address) || ']' else host(source_address) end
      || ':' || source_port::text
  ) stored,
  inbound_call_id text not null,
  started_at timestamptz not null,
  ringing_at timestamptz,
  answered_at timestamptz,
  ended_at timestamptz not null,
  status_code integer not null,
  end_cause text not null,
  ended_by text not null,
  detail text not null,
  decision jsonb
);
create index calls_by_start on calls (started_at);
create index calls_by_end on calls (ended_at);
create index calls_by_called on calls (called, started_at);
create index calls_by_customer on calls (customer_id, started_at);
create index calls_by_inbound_call_id on calls (inbound_call_id);

comment on table calls is 'One row for each call that has ended, whatever became of it.';
comment on column calls.call_id is 'Ours; time-ordered (UUID version 7). Logs name it as call.id.';
comment on column calls.node is 'The Holdfast that had the call.';
comment on column calls.customer_id is 'Who called; null = nobody we know.';
comment on column calls.customer is 'The customer''s name at that time.';
comment on column calls.route_id is 'The route that was taken; null = none.';
comment on column calls.region is 'The region the call had to stay in; null = any.';
comment on column calls.calling is 'User part of From.';
comment on column calls.called is 'User part of the request URI.';
comment on column calls.source_address is 'Where the INVITE came from.';
comment on column calls.source_port is 'The port it came from.';
comment on column calls.source is 'Both as one text, such as 192.0.2.1:5060.';
comment on column calls.inbound_call_id is 'Call-ID header of the inbound leg.';
comment on column calls.started_at is 'When the INVITE came.';
comment on column calls.ringing_at is 'When the caller first heard of ringing; null = never.';
comment on column calls.answered_at is 'When the caller was told that it is answered; null = never.';
comment on column calls.ended_at is 'When it was over.';
comment on column calls.status_code is 'Final response to the caller''s INVITE.';
comment on column calls.end_cause is 'completed, cancelled, failed, refused, no_ack or terminated.';
comment on column calls.ended_by is 'caller, callee or holdfast.';
comment on column calls.detail is 'Why the call could not be tried or ended oddly, for people; else empty.';
comment on column calls.decision is 'The plan: which candidates were there, with which scores; null = none was made.';

create table call_attempts (
  call_id uuid not null references calls on delete cascade,
  attempt_number integer not null,
  carrier_id bigint not null,
  carrier text not null,
  gateway_id bigint not null,
  gateway text not null,
  address inet not null,
  port integer not null,
  outbound_call_id text not null,
  started_at timestamptz not null,
  trying_ms bigint,
  ringing_ms bigint,
  ended_ms bigint not null,
  origin text not null,
  stage text not null,
  status_code integer not null,
  reason text not null,
  class text not null,
  action text not null,
  failure_rule_id bigint,
  late_answer boolean not null,
  primary key (call_id, attempt_number)
);
create index call_attempts_by_gateway on call_attempts (gateway_id, started_at);
create index call_attempts_by_start on call_attempts (started_at);
create index call_attempts_by_outbound_call_id on call_attempts (outbound_call_id);

comment on table call_attempts is 'One row for each outbound leg that was tried; it goes when its call goes.';
comment on column call_attempts.call_id is 'The call.';
comment on column call_attempts.attempt_number is 'Its place in the order of attempts, from 1.';
comment on column call_attempts.carrier_id is 'The carrier that was asked.';
comment on column call_attempts.carrier is 'The carrier''s name at that time.';
comment on column call_attempts.gateway_id is 'The gateway that was asked.';
comment on column call_attempts.gateway is 'The gateway''s name at that time.';
comment on column call_attempts.address is 'The address that the INVITE went to.';
comment on column call_attempts.port is 'The port that it went to.';
comment on column call_attempts.outbound_call_id is 'Call-ID header of the outbound leg.';
comment on column call_attempts.started_at is 'When the INVITE went out.';
comment on column call_attempts.trying_ms is 'INVITE to the first response; null = none came.';
comment on column call_attempts.ringing_ms is 'INVITE to the first ringing; null = none came.';
comment on column call_attempts.ended_ms is 'INVITE to the final response, to our timeout or to our CANCEL.';
comment on column call_attempts.origin is 'Where its end came from: remote, timeout or transport.';
comment on column call_attempts.stage is 'How far it had come: nothing, trying, ringing or early_media.';
comment on column call_attempts.status_code is 'Its final response; 408 for our own timeouts, 503 for transport errors.';
comment on column call_attempts.reason is 'The reason phrase, or what our timer waited for.';
comment on column call_attempts.class is 'What its end means, as in failure_rules.';
comment on column call_attempts.action is 'What followed from it, as in failure_rules.';
comment on column call_attempts.failure_rule_id is 'The rule that said so; null = the built-in default.';
comment on column call_attempts.late_answer is 'It was answered after it had been left, and ended at once.';

create table probe_results (
  probe_result_id bigint generated always as identity primary key,
  node text not null,
  gateway_id bigint not null,
  address inet not null,
  port integer not null,
  ended_at timestamptz not null,
  status_code integer,
  delay_ms double precision not null
);
create index probe_results_by_end on probe_results (ended_at);
create index probe_results_by_target on probe_results (gateway_id, address, port, ended_at);

comment on table probe_results is 'One row for each OPTIONS probe that has ended.';
comment on column probe_results.probe_result_id is 'Its number.';
comment on column probe_results.node is 'The Holdfast that probed.';
comment on column probe_results.gateway_id is 'The gateway that was probed.';
comment on column probe_results.address is 'The address that was probed.';
comment on column probe_results.port is 'The port that was probed.';
comment on column probe_results.ended_at is 'When the response came, or was waited for no more.';
comment on column probe_results.status_code is 'The response; null = none came in time.';
comment on column probe_results.delay_ms is 'How long it took.';
