-- What a customer may use of us, how else it is known, and what it is told; gateways that say how much they can take. Null is as it was before, so that a version before this
-- one goes on as it did.
--
-- calls.end_cause may be over_limit now: of its customer.

-- Calls at a time, from their INVITE on, over all nodes; more get 503, but for emergency routes; null = no limit.
alter table customers add column max_calls integer
  constraint max_calls_is_1_to_1000000 check (max_calls between 1 and 1000000);
-- Calls that may begin a second, over all nodes; 0.5 = one in two seconds; more get 503, but for emergency routes; null = no limit.
alter table customers add column max_cps real
  constraint max_cps_is_more_than_0_and_up_to_1000000 check (max_cps > 0 and max_cps <= 1000000);
-- A domain in its client certificate (RFC 5922), such as pbx.example.com: whoever shows one on a TLS listener that asks for it is this
-- customer, whatever auth says; null = none.
alter table customers add column tls_subject text
  constraint tls_subject_is_a_domain
  check (length(tls_subject) between 1 and 253 and tls_subject not glob '*[^-A-Za-z0-9._]*');
-- Header fields beginning with X- that it is handed from carriers, such as X-Call,X-Trace; empty = none, null = all.
alter table customers add column x_headers text
  constraint x_headers_are_names_between_commas
  check (length(x_headers) <= 1000 and x_headers not glob '*[^-A-Za-z0-9._, ]*'
    and (trim(x_headers) = '' or ',' || replace(lower(x_headers), ' ', '') glob ',x-*'));
-- Whether our INVITEs tell it that we keep to what it says of its overload (RFC 7339); it then gets the less new calls the more it asks.
alter table gateways add column overload_control integer not null default 0
  constraint overload_control_is_true_or_false check (overload_control in (0, 1));

create unique index customers_by_tls_subject on customers (lower(tls_subject));
