-- What a customer may use of us, how else it is known, and what it is told; gateways that say how much they can take. Null is as it was before, so that a version before this
-- one goes on as it did.

alter table customers
  add column max_calls integer
    constraint max_calls_is_1_to_1000000 check (max_calls between 1 and 1000000),
  add column max_cps numeric(10, 3)
    constraint max_cps_is_more_than_0_and_up_to_1000000 check (max_cps > 0 and max_cps <= 1000000),
  add column tls_subject text
    constraint tls_subject_is_a_domain check (tls_subject ~ '^[A-Za-z0-9._-]{1,253}$'),
  add column x_headers text
    constraint x_headers_are_names_between_commas
    check (x_headers ~ '^ *$|^ *[Xx]-[A-Za-z0-9._-]* *(, *[Xx]-[A-Za-z0-9._-]* *)*$' and octet_length(x_headers) <= 1000);

alter table gateways add column overload_control boolean not null default false;

create unique index customers_by_tls_subject on customers (lower(tls_subject));

comment on column customers.max_calls is 'Calls at a time, from their INVITE on, over all nodes; more get 503, but for emergency routes; null = no limit.';
comment on column customers.max_cps is 'Calls that may begin a second, over all nodes; 0.5 = one in two seconds; more get 503, but for emergency routes; null = no limit.';
comment on column customers.tls_subject is 'A domain in its client certificate (RFC 5922), such as pbx.example.com: whoever shows one on a TLS listener that asks for it is this customer, whatever auth says; null = none.';
comment on column customers.x_headers is 'Header fields beginning with X- that it is handed from carriers, such as X-Call,X-Trace; empty = none, null = all.';
comment on column gateways.overload_control is 'Whether our INVITEs tell it that we keep to what it says of its overload (RFC 7339); it then gets the less new calls the more it asks.';
comment on column calls.end_cause is 'completed, cancelled, failed, refused, over_limit (of its customer), no_ack or terminated.';
comment on column recent_calls.end_cause is 'completed, cancelled, failed, refused, over_limit (of its customer), no_ack or terminated.';
