-- Routing by the number that a portability database gave (RFC 4694).
--
-- The default goes by the called number, as it was before: whoever names a routing number chooses the route.

alter table customers
  add column routed_by text not null default 'called',
  add constraint routed_by_is_called_or_routing_number check (routed_by in ('called', 'routing_number'));

comment on column customers.routed_by is 'What the routes of its calls are found by: called (number), or routing_number = the rn of the called number, where it has one.';
