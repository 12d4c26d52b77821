-- A gateway whose name has SRV records (RFC 3263): hosts, ports, priorities and weights come from DNS.

alter table gateways
  add column dns text not null default 'address',
  add constraint dns_is_address_or_srv check (dns in ('address', 'srv'));

comment on column gateways.dns is 'What name servers are asked about the host: address = A and AAAA, with the port of this row; srv = NAPTR and SRV of its transport, which say hosts, ports, priorities and weights, and the port of this row counts where there are none.';
comment on column gateways.port is 'Its port; with dns = srv only where the name has no SRV records.';
