-- A gateway whose name has SRV records (RFC 3263): hosts, ports, priorities and weights come from DNS.

-- What name servers are asked about the host: address = A and AAAA, with the port of this row; srv = NAPTR and SRV of its transport,
-- which say hosts, ports, priorities and weights, and the port of this row counts where there are none.
alter table gateways add column dns text not null default 'address'
  constraint dns_is_address_or_srv check (dns in ('address', 'srv'));
