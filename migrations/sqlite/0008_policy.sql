-- Routing policy as data: hours of a carrier within a route, what media a gateway takes, emergency routes, and groups whose carriers
-- are left for a while after a few errors in a row.
--
-- Every column has a default under which calls go as they did before, but for those that offer nothing but SRTP: they now need a
-- gateway that takes it.

-- Carriers that stand in for each other: after a few errors in a row, new calls leave one of them for a while.
create table carrier_groups (
  -- Its number in carriers.
  carrier_group_id integer primary key autoincrement,
  -- Its name for people; unique in any case of letters.
  name text not null,
  -- So many errors of a carrier, without a success between them, and it is left.
  errors_in_row integer not null default 2,
  -- Errors count together that lie within so many seconds.
  within_s integer not null default 30,
  -- How long new calls leave it; then it proves itself, one call at a time.
  hold_s integer not null default 60,
  constraint name_has_1_to_100_characters check (trim(name) <> '' and length(cast(name as blob)) <= 100),
  constraint errors_in_row_is_1_to_100 check (errors_in_row between 1 and 100),
  constraint within_s_is_1_to_3600 check (within_s between 1 and 3600),
  constraint hold_s_is_1_to_300 check (hold_s between 1 and 300)
) strict;
create unique index carrier_group_name_is_unique on carrier_groups (lower(name));

-- The group whose rule on errors in a row it follows; null = none.
alter table carriers add column carrier_group_id integer references carrier_groups on delete set null;
create index carriers_by_group on carriers (carrier_group_id);

-- The media it takes: rtp (plain), srtp (encrypted) or both.
alter table gateways add column media text not null default 'both'
  constraint media_is_rtp_srtp_or_both check (media in ('rtp', 'srtp', 'both'));
-- Codecs it takes, such as PCMU,PCMA,opus: an offer without any of them goes elsewhere; null = any.
alter table gateways add column codecs text
  constraint codecs_are_names_between_commas
  check (codecs glob '*[A-Za-z0-9]*' and codecs not glob '*[^-A-Za-z0-9._, ]*'
    and replace(codecs, ' ', '') not glob '*,,*' and replace(codecs, ' ', '') not glob ',*'
    and replace(codecs, ' ', '') not glob '*,' and length(codecs) <= 200);

-- yes = only gateways that take SRTP, and only offers of SRTP; no = as the caller offers.
alter table routes add column needs_srtp text not null default 'no'
  constraint needs_srtp_is_no_or_yes check (needs_srtp in ('no', 'yes'));
-- Emergency calls: whatever is down, full or held is tried all the same, after everything else.
alter table routes add column is_emergency integer not null default 0
  constraint is_emergency_is_true_or_false check (is_emergency in (0, 1));

-- When a carrier of a route takes its calls: within any of its rows; without a row, always.
create table route_carrier_hours (
  -- The route.
  route_id integer not null,
  -- The carrier of that route; the row goes when it leaves the route.
  carrier_id integer not null,
  -- Days on which the time begins, such as mon-fri or mon,wed,sat-sun.
  days text not null default 'mon-sun',
  -- From this time of the day on.
  from_time text not null default '00:00',
  -- Until before this time; one that is earlier than from_time is the next day's.
  until_time text not null default '24:00',
  -- The time zone of both, such as Europe/Berlin; its summer time is followed.
  time_zone text not null default 'UTC',
  primary key (route_id, carrier_id, days, from_time),
  foreign key (route_id, carrier_id) references route_carriers on delete cascade,
  constraint days_are_weekdays_such_as_mon_fri_or_sat
    check (days glob '[mtwfs][ouehra][neduitr]*' and days not glob '*[^a-z,-]*'),
  constraint from_time_is_such_as_08_30
    check (from_time glob '[0-2][0-9]:[0-5][0-9]' or from_time glob '[0-2][0-9]:[0-5][0-9]:[0-5][0-9]'),
  constraint until_time_is_such_as_18_00
    check (until_time glob '[0-2][0-9]:[0-5][0-9]' or until_time glob '[0-2][0-9]:[0-5][0-9]:[0-5][0-9]'),
  constraint until_time_is_not_from_time check (until_time <> from_time),
  constraint time_zone_has_1_to_64_characters_and_no_blank
    check (length(time_zone) between 1 and 64 and time_zone not glob '* *')
) strict;

-- Down because its carrier's errors in a row reached the limit of its group.
alter table gateway_health add column is_held integer not null default 0
  constraint is_held_is_true_or_false check (is_held in (0, 1));

-- error = the row is refused; warning = it is in force, but hardly as it was meant.
alter table config_errors add column severity text not null default 'error'
  constraint severity_is_error_or_warning check (severity in ('error', 'warning'));

create trigger carrier_groups_inserted after insert on carrier_groups begin
  update tables_revision set revision = revision + 1;
end;
create trigger carrier_groups_updated after update on carrier_groups begin
  update tables_revision set revision = revision + 1;
end;
create trigger carrier_groups_deleted after delete on carrier_groups begin
  update tables_revision set revision = revision + 1;
end;

create trigger route_carrier_hours_inserted after insert on route_carrier_hours begin
  update tables_revision set revision = revision + 1;
end;
create trigger route_carrier_hours_updated after update on route_carrier_hours begin
  update tables_revision set revision = revision + 1;
end;
create trigger route_carrier_hours_deleted after delete on route_carrier_hours begin
  update tables_revision set revision = revision + 1;
end;
