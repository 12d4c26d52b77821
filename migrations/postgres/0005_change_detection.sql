-- Every commit that touches an admin table tells all nodes on the channel holdfast_tables; they read the tables anew.
-- A trigger a statement, not a row: a load of 100,000 routes is one message.

create function tell_tables_changed() returns trigger language plpgsql as $$
begin
  notify holdfast_tables;
  return null;
end
$$;

comment on function tell_tables_changed() is 'Tells all nodes that an admin table has changed.';

create trigger tell_tables_changed after insert or update or delete or truncate on carriers
  for each statement execute function tell_tables_changed();
create trigger tell_tables_changed after insert or update or delete or truncate on gateways
  for each statement execute function tell_tables_changed();
create trigger tell_tables_changed after insert or update or delete or truncate on customers
  for each statement execute function tell_tables_changed();
create trigger tell_tables_changed after insert or update or delete or truncate on customer_addresses
  for each statement execute function tell_tables_changed();
create trigger tell_tables_changed after insert or update or delete or truncate on routes
  for each statement execute function tell_tables_changed();
create trigger tell_tables_changed after insert or update or delete or truncate on route_carriers
  for each statement execute function tell_tables_changed();
create trigger tell_tables_changed after insert or update or delete or truncate on failure_rules
  for each statement execute function tell_tables_changed();
create trigger tell_tables_changed after insert or update or delete or truncate on number_rules
  for each statement execute function tell_tables_changed();
