-- What docker-compose.yml routes by: calls from its own network go to two SIPp carriers, the healthier one first.
-- May be run again: it changes nothing then.

insert into customers (customer_id, name) values (1, 'compose')
  on conflict do nothing;
insert into customer_addresses (address_range, customer_id) values ('172.30.60.0/24', 1)
  on conflict do nothing;

insert into carriers (carrier_id, name, probe_interval_ms) values
  (1, 'carrier-a', 2000),
  (2, 'carrier-b', 2000)
  on conflict do nothing;
insert into gateways (gateway_id, carrier_id, name, host) values
  (1, 1, 'carrier-a', 'carrier-a'),
  (2, 2, 'carrier-b', 'carrier-b')
  on conflict do nothing;

insert into routes (route_id) values (1)
  on conflict do nothing;
insert into route_carriers (route_id, carrier_id) values (1, 1), (1, 2)
  on conflict do nothing;
