-- Drills: what was broken on purpose, what was expected of it, and what came of it. A later drill is compared with these rows.

create table drills (
  drill_id uuid primary key,
  scenario text not null,
  started_at timestamptz not null,
  ended_at timestamptz not null,
  nodes text not null,
  version text not null,
  hypothesis text not null,
  passed boolean not null,
  calls_in_flight bigint not null,
  calls_dropped bigint not null,
  calls_offered bigint not null,
  calls_failed bigint not null,
  fails_for_ms bigint,
  detected_ms bigint,
  decided_ms bigint,
  recovered_ms bigint,
  delay_before_p99_ms bigint,
  delay_during_p99_ms bigint,
  delay_after_p99_ms bigint,
  calls_wrong_region bigint,
  records_lost bigint,
  records_doubled bigint,
  report jsonb not null,
  constraint scenario_is_one_that_the_manual_lists check (scenario in (
    'node-loss', 'node-freeze', 'carrier-loss', 'carrier-silent', 'store-loss', 'partition'))
);
create index drills_by_scenario on drills (scenario, started_at);

comment on table drills is 'One row for each `holdfast drill`; all times in ms count from the fault.';
comment on column drills.drill_id is 'Its number; time-ordered (UUID version 7).';
comment on column drills.scenario is 'What was broken: node-loss, node-freeze, carrier-loss, carrier-silent, store-loss or partition.';
comment on column drills.started_at is 'When its first call was made.';
comment on column drills.ended_at is 'When its last call and record were looked at.';
comment on column drills.nodes is 'SIP addresses of the nodes that took part, the one that callers used first before the others.';
comment on column drills.version is 'Version of the program that ran the drill.';
comment on column drills.hypothesis is 'What was expected, as --hypothesis writes it.';
comment on column drills.passed is 'Whether all of it held.';
comment on column drills.calls_in_flight is 'Answered calls at the moment of the fault.';
comment on column drills.calls_dropped is 'Those of them that ended by themselves, or could not be ended properly.';
comment on column drills.calls_offered is 'New calls from the fault on, with those that were being set up then.';
comment on column drills.calls_failed is 'Those of them that nobody answered.';
comment on column drills.fails_for_ms is 'When the last call that failed was offered; null = none failed.';
comment on column drills.detected_ms is 'When the store showed that a node had noticed: a lost lease, a carrier not up; null = not seen.';
comment on column drills.decided_ms is 'When the answer to it was first seen: a call told of its new node, a call on another carrier; null = none.';
comment on column drills.recovered_ms is 'When all was well again: every call told, no new call failing; null = never.';
comment on column drills.delay_before_p99_ms is 'INVITE to ringing of 99 in 100 calls offered before the fault, at most; null = there were none.';
comment on column drills.delay_during_p99_ms is 'The same, offered while the fault lasted.';
comment on column drills.delay_after_p99_ms is 'The same, offered after it was undone.';
comment on column drills.calls_wrong_region is 'Calls that went to a gateway of another region than theirs; null = not looked at.';
comment on column drills.records_lost is 'Calls without a record; null = not looked at.';
comment on column drills.records_doubled is 'Calls with more than one record; null = not looked at.';
comment on column drills.report is 'Everything, as the JSON file has it.';
