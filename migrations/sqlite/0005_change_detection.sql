-- Every commit that touches an admin table raises a revision; each node looks at it and reads the tables anew when it has changed.
-- Records and health raise nothing, so that our own writes never look like an admin's.

create table tables_revision (
  -- There is one row.
  tables_revision_id integer primary key constraint there_is_one_row check (tables_revision_id = 1),
  -- Higher with each change of an admin table.
  revision integer not null
) strict;
insert into tables_revision (tables_revision_id, revision) values (1, 1);

create trigger carriers_inserted after insert on carriers begin
  update tables_revision set revision = revision + 1;
end;
create trigger carriers_updated after update on carriers begin
  update tables_revision set revision = revision + 1;
end;
create trigger carriers_deleted after delete on carriers begin
  update tables_revision set revision = revision + 1;
end;

create trigger gateways_inserted after insert on gateways begin
  update tables_revision set revision = revision + 1;
end;
create trigger gateways_updated after update on gateways begin
  update tables_revision set revision = revision + 1;
end;
create trigger gateways_deleted after delete on gateways begin
  update tables_revision set revision = revision + 1;
end;

create trigger customers_inserted after insert on customers begin
  update tables_revision set revision = revision + 1;
end;
create trigger customers_updated after update on customers begin
  update tables_revision set revision = revision + 1;
end;
create trigger customers_deleted after delete on customers begin
  update tables_revision set revision = revision + 1;
end;

create trigger customer_addresses_inserted after insert on customer_addresses begin
  update tables_revision set revision = revision + 1;
end;
create trigger customer_addresses_updated after update on customer_addresses begin
  update tables_revision set revision = revision + 1;
end;
create trigger customer_addresses_deleted after delete on customer_addresses begin
  update tables_revision set revision = revision + 1;
end;

create trigger routes_inserted after insert on routes begin
  update tables_revision set revision = revision + 1;
end;
create trigger routes_updated after update on routes begin
  update tables_revision set revision = revision + 1;
end;
create trigger routes_deleted after delete on routes begin
  update tables_revision set revision = revision + 1;
end;

create trigger route_carriers_inserted after insert on route_carriers begin
  update tables_revision set revision = revision + 1;
end;
create trigger route_carriers_updated after update on route_carriers begin
  update tables_revision set revision = revision + 1;
end;
create trigger route_carriers_deleted after delete on route_carriers begin
  update tables_revision set revision = revision + 1;
end;

create trigger failure_rules_inserted after insert on failure_rules begin
  update tables_revision set revision = revision + 1;
end;
create trigger failure_rules_updated after update on failure_rules begin
  update tables_revision set revision = revision + 1;
end;
create trigger failure_rules_deleted after delete on failure_rules begin
  update tables_revision set revision = revision + 1;
end;

create trigger number_rules_inserted after insert on number_rules begin
  update tables_revision set revision = revision + 1;
end;
create trigger number_rules_updated after update on number_rules begin
  update tables_revision set revision = revision + 1;
end;
create trigger number_rules_deleted after delete on number_rules begin
  update tables_revision set revision = revision + 1;
end;
