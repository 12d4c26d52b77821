-- Digest authentication (RFC 3261 section 22) in both directions, and carriers that want to be registered with.
--
-- What proves a user is kept as HA1, the hash of username, realm and password: whoever reads the table cannot tell the password. It is
-- still as good as one in its realm, so keep the tables from those who need not read them. `holdfast secret` makes the hashes.

-- What we answer a carrier's challenges with (401, 407); only its own gateways ever get it.
create table carrier_credentials (
  -- The carrier.
  carrier_id integer primary key references carriers on delete cascade,
  -- Our name there.
  username text not null,
  -- The realm of its challenges; others are not answered. null = any, which needs a password.
  realm text,
  -- MD5 of username:realm:password, as `holdfast secret` prints it.
  ha1_md5 text,
  -- SHA-256 of username:realm:password.
  ha1_sha256 text,
  -- SHA-512/256 of username:realm:password.
  ha1_sha512_256 text,
  -- The password in plain text, instead of hashes: for a carrier whose realm is not known beforehand.
  password text,
  constraint username_has_1_to_255_characters check (length(cast(username as blob)) between 1 and 255),
  constraint realm_has_1_to_255_characters check (length(cast(realm as blob)) between 1 and 255),
  constraint ha1_md5_has_32_hex_digits check (length(ha1_md5) = 32 and ha1_md5 not glob '*[^0-9A-Fa-f]*'),
  constraint ha1_sha256_has_64_hex_digits check (length(ha1_sha256) = 64 and ha1_sha256 not glob '*[^0-9A-Fa-f]*'),
  constraint ha1_sha512_256_has_64_hex_digits
    check (length(ha1_sha512_256) = 64 and ha1_sha512_256 not glob '*[^0-9A-Fa-f]*'),
  constraint either_a_password_or_hashes
    check ((password is null) <> (ha1_md5 is null and ha1_sha256 is null and ha1_sha512_256 is null)),
  constraint hashes_need_their_realm check (password is not null or realm is not null)
) strict;

-- What shows that a call is this customer's: its address, digest credentials, either of them, or both.
alter table customers add column auth text not null default 'address'
  constraint auth_is_address_digest_either_or_both check (auth in ('address', 'digest', 'either', 'both'));

-- Users of customers that authenticate by digest.
create table customer_credentials (
  -- Whom the credentials name.
  username text primary key,
  -- Whose user it is; it goes when the customer goes.
  customer_id integer not null references customers on delete cascade,
  -- The realm that we challenge with: the same in every row.
  realm text not null,
  -- MD5 of username:realm:password, as `holdfast secret` prints it; null = MD5 is offered to nobody.
  ha1_md5 text,
  -- SHA-256 of username:realm:password; null = SHA-256 is offered to nobody.
  ha1_sha256 text,
  constraint username_has_1_to_255_characters check (length(cast(username as blob)) between 1 and 255),
  constraint realm_has_1_to_255_characters check (length(cast(realm as blob)) between 1 and 255),
  constraint ha1_md5_has_32_hex_digits check (length(ha1_md5) = 32 and ha1_md5 not glob '*[^0-9A-Fa-f]*'),
  constraint ha1_sha256_has_64_hex_digits check (length(ha1_sha256) = 64 and ha1_sha256 not glob '*[^0-9A-Fa-f]*'),
  constraint there_is_a_hash check (ha1_md5 is not null or ha1_sha256 is not null)
) strict;
create index customer_credentials_by_customer on customer_credentials (customer_id);

-- Gateways that we register with (RFC 3261 section 10), from every node with its own contact.
create table registrations (
  -- The registrar, which the calls go to as well.
  gateway_id integer primary key references gateways on delete cascade,
  -- The address of record, such as sip:user@carrier.example.
  aor text not null,
  -- User part of our Contact there, in REGISTER and INVITE; null = that of the address of record.
  contact_user text,
  -- Seconds that we ask for; the registration is renewed before they are over.
  expires_s integer not null default 300,
  constraint aor_is_such_as_sip_user_at_host
    check ((aor glob 'sip:?*@?*' or aor glob 'sips:?*@?*') and aor not glob '*@*@*' and aor not glob '*[ <>]*'
      and length(cast(aor as blob)) <= 255),
  constraint contact_user_has_letters_digits_and_marks
    check (length(contact_user) between 1 and 64 and contact_user not glob '*[^-A-Za-z0-9_.!~*()&=+$]*'),
  constraint expires_s_is_60_to_86400 check (expires_s between 60 and 86400)
) strict;

create trigger carrier_credentials_inserted after insert on carrier_credentials begin
  update tables_revision set revision = revision + 1;
end;
create trigger carrier_credentials_updated after update on carrier_credentials begin
  update tables_revision set revision = revision + 1;
end;
create trigger carrier_credentials_deleted after delete on carrier_credentials begin
  update tables_revision set revision = revision + 1;
end;

create trigger customer_credentials_inserted after insert on customer_credentials begin
  update tables_revision set revision = revision + 1;
end;
create trigger customer_credentials_updated after update on customer_credentials begin
  update tables_revision set revision = revision + 1;
end;
create trigger customer_credentials_deleted after delete on customer_credentials begin
  update tables_revision set revision = revision + 1;
end;

create trigger registrations_inserted after insert on registrations begin
  update tables_revision set revision = revision + 1;
end;
create trigger registrations_updated after update on registrations begin
  update tables_revision set revision = revision + 1;
end;
create trigger registrations_deleted after delete on registrations begin
  update tables_revision set revision = revision + 1;
end;
