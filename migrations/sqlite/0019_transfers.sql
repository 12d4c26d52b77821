-- Transfers that Holdfast carries out by itself, and Replaces (RFC 3891).
--
-- Old code refuses a customer with the new value, and goes on with the tables it has; it leaves the new column null.

alter table customers rename column refer to refer_before;
-- What becomes of REFER within its calls: refuse (405), relay to the other side, or local = Holdfast transfers the call
-- itself, at the customer's cost. With relay and local its INVITEs may have Replaces.
alter table customers add column refer text not null default 'refuse'
  constraint refer_is_refuse_relay_or_local check (refer in ('refuse', 'relay', 'local'));
update customers set refer = refer_before;
alter table customers drop column refer_before;

-- Whom it called for a transfer of the answered call; null = whom the call was for.
alter table call_attempts add column transferred_to text;
