-- Transfers that Holdfast carries out by itself, and Replaces (RFC 3891).
--
-- Old code refuses a customer with the new value, and goes on with the tables it has; it leaves the new column null.

alter table customers drop constraint refer_is_refuse_or_relay;
alter table customers
  add constraint refer_is_refuse_relay_or_local check (refer in ('refuse', 'relay', 'local'));

comment on column customers.refer is
  'What becomes of REFER within its calls: refuse (405), relay to the other side, or local = Holdfast transfers the call itself, at the customer''s cost. With relay and local its INVITEs may have Replaces.';

alter table call_attempts add column transferred_to text;

comment on column call_attempts.transferred_to is
  'Whom it called for a transfer of the answered call; null = whom the call was for.';
