-- Drills: what was broken on purpose, what was expected of it, and what came of it. A later drill is compared with these rows.

-- One row for each `holdfast drill`; all times in ms count from the fault.
create table drills (
  -- Its number; time-ordered (UUID version 7).
  drill_id text primary key,
  -- What was broken: node-loss, node-freeze, carrier-loss, carrier-silent, store-loss or partition.
  scenario text not null,
  -- When its first call was made.
  started_at text not null,
  -- When its last call and record were looked at.
  ended_at text not null,
  -- SIP addresses of the nodes that took part, the one that callers used first before the others.
  nodes text not null,
  -- Version of the program that ran the drill.
  version text not null,
  -- What was expected, as --hypothesis writes it.
  hypothesis text not null,
  -- Whether all of it held.
  passed integer not null constraint passed_is_true_or_false check (passed in (0, 1)),
  -- Answered calls at the moment of the fault.
  calls_in_flight integer not null,
  -- Those of them that ended by themselves, or could not be ended properly.
  calls_dropped integer not null,
  -- New calls from the fault on, with those that were being set up then.
  calls_offered integer not null,
  -- Those of them that nobody answered.
  calls_failed integer not null,
  -- When the last call that failed was offered; null = none failed.
  fails_for_ms integer,
  -- When the store showed that a node had noticed: a lost lease, a carrier not up; null = not seen.
  detected_ms integer,
  -- When the answer to it was first seen: a call told of its new node, a call on another carrier; null = none.
  decided_ms integer,
  -- When all was well again: every call told, no new call failing; null = never.
  recovered_ms integer,
  -- INVITE to ringing of 99 in 100 calls offered before the fault, at most; null = there were none.
  delay_before_p99_ms integer,
  -- The same, offered while the fault lasted.
  delay_during_p99_ms integer,
  -- The same, offered after it was undone.
  delay_after_p99_ms integer,
  -- Calls that went to a gateway of another region than theirs; null = not looked at.
  calls_wrong_region integer,
  -- Calls without a record; null = not looked at.
  records_lost integer,
  -- Calls with more than one record; null = not looked at.
  records_doubled integer,
  -- Everything, as the JSON file has it.
  report text not null,
  constraint scenario_is_one_that_the_manual_lists check (scenario in (
    'node-loss', 'node-freeze', 'carrier-loss', 'carrier-silent', 'store-loss', 'partition'))
) strict;
create index drills_by_scenario on drills (scenario, started_at);
