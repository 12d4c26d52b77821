-- More of what carriers want of numbers and identities, and examples that say what the rules must do.
--
-- Every column has a default under which calls go as they did before, but for one: a caller who asks for privacy (Privacy: id) is
-- told only to a carrier that is trusted with it.

-- The carrier is in our trust domain (RFC 3325): it is told who calls although the caller asks for privacy, and keeps it from the
-- called party itself.
alter table number_rules add column is_trusted integer not null default 0
  constraint is_trusted_is_true_or_false check (is_trusted in (0, 1));
-- Where this regular expression matches the called number as it is formatted, called_replacement takes the place of the match;
-- null = nowhere.
alter table number_rules add column called_regex text
  constraint called_regex_has_up_to_1000_octets check (length(cast(called_regex as blob)) <= 1000);
-- What takes the place of the match; $1 or ${1} is what the first group matched.
alter table number_rules add column called_replacement text
  constraint called_replacement_has_up_to_100_octets check (length(cast(called_replacement as blob)) <= 100)
  constraint called_regex_and_replacement_come_together
    check ((called_regex is null) = (called_replacement is null));
-- The same for the calling number.
alter table number_rules add column calling_regex text
  constraint calling_regex_has_up_to_1000_octets check (length(cast(calling_regex as blob)) <= 1000);
-- The same for the calling number.
alter table number_rules add column calling_replacement text
  constraint calling_replacement_has_up_to_100_octets check (length(cast(calling_replacement as blob)) <= 100)
  constraint calling_regex_and_replacement_come_together
    check ((calling_regex is null) = (calling_replacement is null));
-- Whether URIs have user=phone: as_received = where they came so, or as tel; on = with every number; off = never.
alter table number_rules add column user_phone text not null default 'as_received'
  constraint user_phone_is_as_received_on_or_off check (user_phone in ('as_received', 'on', 'off'));
-- rn, npdi, cic and their contexts in a number (RFC 4694): pass = handed on, strip = taken away.
alter table number_rules add column portability text not null default 'pass'
  constraint portability_is_pass_or_strip check (portability in ('pass', 'strip'));
-- Diversion: pass = handed on, strip = taken away.
alter table number_rules add column diversion text not null default 'pass'
  constraint diversion_is_pass_or_strip check (diversion in ('pass', 'strip'));
-- History-Info: pass = handed on, strip = taken away.
alter table number_rules add column history_info text not null default 'pass'
  constraint history_info_is_pass_or_strip check (history_info in ('pass', 'strip'));
-- Header fields beginning with X- that are handed on, such as X-Call,X-Trace; empty = none, null = all.
alter table number_rules add column x_headers text
  constraint x_headers_are_names_between_commas
  check (length(x_headers) <= 1000 and x_headers not glob '*[^-A-Za-z0-9._, ]*'
    and (trim(x_headers) = '' or ',' || replace(lower(x_headers), ' ', '') glob ',x-*'));

-- What a carrier's number rule must make of a call; tables in which it makes anything else are refused.
create table number_examples (
  -- Its number in complaints.
  number_example_id integer primary key autoincrement,
  -- Whose rule it is about; the row goes when the carrier goes.
  carrier_id integer not null references carriers on delete cascade,
  -- The called number as it comes: a user part, or a whole sip or tel URI.
  called text not null default '',
  -- The calling number as it comes, alike.
  calling text not null default '',
  -- The request URI for the first of the carrier's gateways; null = not looked at.
  expected_request_uri text,
  -- The URI of From, with any host where the rule has no from_host; null = not looked at.
  expected_from text,
  constraint called_has_up_to_300_octets check (length(cast(called as blob)) <= 300),
  constraint calling_has_up_to_300_octets check (length(cast(calling as blob)) <= 300),
  constraint something_is_expected check (expected_request_uri is not null or expected_from is not null),
  constraint expected_request_uri_has_up_to_500_octets check (length(cast(expected_request_uri as blob)) <= 500),
  constraint expected_from_has_up_to_500_octets check (length(cast(expected_from as blob)) <= 500)
) strict;
create index number_examples_by_carrier on number_examples (carrier_id);

create trigger number_examples_inserted after insert on number_examples begin
  update tables_revision set revision = revision + 1;
end;
create trigger number_examples_updated after update on number_examples begin
  update tables_revision set revision = revision + 1;
end;
create trigger number_examples_deleted after delete on number_examples begin
  update tables_revision set revision = revision + 1;
end;
