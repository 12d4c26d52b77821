-- Whether a customer's calls may be transferred by REFER (RFC 3515).
--
-- The default refuses it, as it was before: whoever may transfer a call has others called at the customer's cost.

alter table customers
  add column refer text not null default 'refuse',
  add constraint refer_is_refuse_or_relay check (refer in ('refuse', 'relay'));

comment on column customers.refer is 'What becomes of REFER within its calls: refuse (405), or relay to the other side.';
