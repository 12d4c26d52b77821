-- Calls from the PSTN to an AI voice agent: four providers that stand in for each other.
--
-- The calls come from a PSTN trunk (a customer here) and go to the first provider that is well: primary, its EU house, another
-- vendor, and one of our own. Two errors in a row within half a minute, and the next call goes elsewhere for a minute.
-- May be run again: it changes nothing then. Then load the rules of the vendors that you have, such as
--
--   holdfast rules add openai --carrier voice-primary
--
-- A provider whose door is TLS needs a `tls:` listener here, and its own name as host: its certificate must be for that.

insert into customers (customer_id, name) values (1, 'pstn-trunk')
  on conflict do nothing;
insert into customer_addresses (address_range, customer_id) values ('198.51.100.0/24', 1)
  on conflict do nothing;

insert into carrier_groups (carrier_group_id, name, errors_in_row, within_s, hold_s) values (1, 'voice', 2, 30, 60)
  on conflict do nothing;
-- A provider thinks before it rings: four seconds are no fault. Not every door answers OPTIONS: 0 asks none.
insert into carriers (carrier_id, name, region, carrier_group_id, probe_interval_ms, no_response_ms, no_ringing_ms) values
  (1, 'voice-primary', 'us', 1, 0, 2000, 8000),
  (2, 'voice-primary-eu', 'eu', 1, 0, 2000, 8000),
  (3, 'voice-second', 'us', 1, 15000, 2000, 8000),
  (4, 'voice-own', 'eu', 1, 5000, 1000, 4000)
  on conflict do nothing;
insert into gateways (gateway_id, carrier_id, name, host, port, transport, codecs) values
  (1, 1, 'voice-primary', 'sip.primary.example.net', 5061, 'tls', 'PCMU,PCMA'),
  (2, 2, 'voice-primary-eu', 'sip-eu.primary.example.net', 5061, 'tls', 'PCMU,PCMA'),
  (3, 3, 'voice-second', 'sip.second.example.com', 5060, 'udp', 'PCMU,PCMA,opus'),
  (4, 4, 'voice-own', '192.0.2.40', 5060, 'udp', null)
  on conflict do nothing;
-- The project, or the agent, is the user part of the request URI at most providers: it is put there by what sends the call.
insert into number_rules (carrier_id, called_format, calling_format, identity) values
  (1, 'unchanged', 'e164', 'strip'),
  (2, 'unchanged', 'e164', 'strip'),
  (3, 'unchanged', 'e164', 'strip'),
  (4, 'unchanged', 'e164', 'pass')
  on conflict do nothing;

-- Any number; and German ones, whose calls must stay in the EU.
insert into routes (route_id, customer_id, called_prefix, region, strategy, setup_budget_ms) values
  (1, 1, '', null, 'priority', 15000),
  (2, 1, '49', 'eu', 'priority', 15000)
  on conflict do nothing;
insert into route_carriers (route_id, carrier_id, priority) values
  (1, 1, 1), (1, 2, 2), (1, 3, 3), (1, 4, 4),
  (2, 2, 1), (2, 4, 2)
  on conflict do nothing;
