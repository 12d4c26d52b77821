-- TCP and TLS beside UDP: gateways.transport may now be 'tcp' or 'tls'. A version before this one refuses such rows, and goes on with
-- the tables it has.

alter table carriers
  add column tls_wildcard boolean not null default false;
alter table gateways
  add column large_by_tcp boolean not null default false;

comment on column carriers.tls_wildcard is 'A wildcard in its TLS certificate may stand for its host name, which RFC 5922 forbids.';
comment on column gateways.transport is 'How SIP reaches it: udp, tcp or tls.';
comment on column gateways.large_by_tcp is 'For udp: an INVITE over 1,300 octets goes by TCP to the same port, and by UDP only where that cannot be reached.';
