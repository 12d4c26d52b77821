-- Digest authentication (RFC 3261 section 22) in both directions, and carriers that want to be registered with.
--
-- What proves a user is kept as HA1, the hash of username, realm and password: whoever reads the table cannot tell the password. It is
-- still as good as one in its realm, so keep the tables from those who need not read them. `holdfast secret` makes the hashes.

create table carrier_credentials (
  carrier_id bigint primary key references carriers on delete cascade,
  username text not null,
  realm text,
  ha1_md5 text,
  ha1_sha256 text,
  ha1_sha512_256 text,
  password text,
  constraint username_has_1_to_255_characters check (username <> '' and octet_length(username) <= 255),
  constraint realm_has_1_to_255_characters check (realm <> '' and octet_length(realm) <= 255),
  constraint ha1_md5_has_32_hex_digits check (ha1_md5 ~ '^[0-9A-Fa-f]{32}$'),
  constraint ha1_sha256_has_64_hex_digits check (ha1_sha256 ~ '^[0-9A-Fa-f]{64}$'),
  constraint ha1_sha512_256_has_64_hex_digits check (ha1_sha512_256 ~ '^[0-9A-Fa-f]{64}$'),
  constraint either_a_password_or_hashes
    check ((password is null) <> (ha1_md5 is null and ha1_sha256 is null and ha1_sha512_256 is null)),
  constraint hashes_need_their_realm check (password is not null or realm is not null)
);

comment on table carrier_credentials is 'What we answer a carrier''s challenges with (401, 407); only its own gateways ever get it.';
comment on column carrier_credentials.carrier_id is 'The carrier.';
comment on column carrier_credentials.username is 'Our name there.';
comment on column carrier_credentials.realm is 'The realm of its challenges; others are not answered. null = any, which needs a password.';
comment on column carrier_credentials.ha1_md5 is 'MD5 of username:realm:password, as `holdfast secret` prints it.';
comment on column carrier_credentials.ha1_sha256 is 'SHA-256 of username:realm:password.';
comment on column carrier_credentials.ha1_sha512_256 is 'SHA-512/256 of username:realm:password.';
comment on column carrier_credentials.password is 'The password in plain text, instead of hashes: for a carrier whose realm is not known beforehand.';

alter table customers
  add column auth text not null default 'address',
  add constraint auth_is_address_digest_either_or_both check (auth in ('address', 'digest', 'either', 'both'));

comment on column customers.auth is 'What shows that a call is this customer''s: its address, digest credentials, either of them, or both.';

create table customer_credentials (
  username text primary key,
  customer_id bigint not null references customers on delete cascade,
  realm text not null,
  ha1_md5 text,
  ha1_sha256 text,
  constraint username_has_1_to_255_characters check (username <> '' and octet_length(username) <= 255),
  constraint realm_has_1_to_255_characters check (realm <> '' and octet_length(realm) <= 255),
  constraint ha1_md5_has_32_hex_digits check (ha1_md5 ~ '^[0-9A-Fa-f]{32}$'),
  constraint ha1_sha256_has_64_hex_digits check (ha1_sha256 ~ '^[0-9A-Fa-f]{64}$'),
  constraint there_is_a_hash check (ha1_md5 is not null or ha1_sha256 is not null)
);
create index customer_credentials_by_customer on customer_credentials (customer_id);

comment on table customer_credentials is 'Users of customers that authenticate by digest.';
comment on column customer_credentials.username is 'Whom the credentials name.';
comment on column customer_credentials.customer_id is 'Whose user it is; it goes when the customer goes.';
comment on column customer_credentials.realm is 'The realm that we challenge with: the same in every row.';
comment on column customer_credentials.ha1_md5 is 'MD5 of username:realm:password, as `holdfast secret` prints it; null = MD5 is offered to nobody.';
comment on column customer_credentials.ha1_sha256 is 'SHA-256 of username:realm:password; null = SHA-256 is offered to nobody.';

create table registrations (
  gateway_id bigint primary key references gateways on delete cascade,
  aor text not null,
  contact_user text,
  expires_s integer not null default 300,
  constraint aor_is_such_as_sip_user_at_host check (aor ~ '^sips?:[^@[:space:]<>]+@[^@[:space:]<>]+$' and octet_length(aor) <= 255),
  constraint contact_user_has_letters_digits_and_marks check (contact_user ~ '^[-A-Za-z0-9_.!~*()&=+$]{1,64}$'),
  constraint expires_s_is_60_to_86400 check (expires_s between 60 and 86400)
);

comment on table registrations is 'Gateways that we register with (RFC 3261 section 10), from every node with its own contact.';
comment on column registrations.gateway_id is 'The registrar, which the calls go to as well.';
comment on column registrations.aor is 'The address of record, such as sip:user@carrier.example.';
comment on column registrations.contact_user is 'User part of our Contact there, in REGISTER and INVITE; null = that of the address of record.';
comment on column registrations.expires_s is 'Seconds that we ask for; the registration is renewed before they are over.';

create trigger tell_tables_changed after insert or update or delete or truncate on carrier_credentials
  for each statement execute function tell_tables_changed();
create trigger tell_tables_changed after insert or update or delete or truncate on customer_credentials
  for each statement execute function tell_tables_changed();
create trigger tell_tables_changed after insert or update or delete or truncate on registrations
  for each statement execute function tell_tables_changed();
