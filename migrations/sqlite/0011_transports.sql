-- TCP and TLS beside UDP: gateways.transport may now be 'tcp' or 'tls'. A version before this one refuses such rows, and goes on with
-- the tables it has.

-- A wildcard in its TLS certificate may stand for its host name, which RFC 5922 forbids.
alter table carriers add column tls_wildcard integer not null default 0
  constraint tls_wildcard_is_true_or_false check (tls_wildcard in (0, 1));
-- For udp: an INVITE over 1,300 octets goes by TCP to the same port, and by UDP only where that cannot be reached.
alter table gateways add column large_by_tcp integer not null default 0
  constraint large_by_tcp_is_true_or_false check (large_by_tcp in (0, 1));
