//! What the statements of `src/store/postgres` do, on maps. Each runs whole, at one moment of the database's clock.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast::call::Ownership;
use holdfast::store::answered::{ClaimedCall, KeptCall, LEASE_LIMIT, Lease};
use uuid::Uuid;

/// A statement, or a transaction of some.
#[derive(Clone, Debug)]
pub enum Op {
    Ping,
    Renew(Lease),
    Keep {
        lease: Lease,
        calls: Vec<KeptCall>,
    },
    Claim {
        lease: Lease,
        dead: Vec<i64>,
        call_id: Option<Uuid>,
    },
    /// Renews, too: that waits for whoever is taking calls of this run just now, and bars whoever would.
    Owned {
        lease: Lease,
    },
    Adopted {
        lease: i64,
        calls: Vec<Uuid>,
    },
    Find {
        tag: String,
    },
    Give {
        from: i64,
        to: i64,
        calls: Vec<Uuid>,
    },
    Unsettled {
        lease: i64,
    },
    EndLease {
        lease: i64,
    },
    Records(Vec<Written>),
}

/// What a run is told.
#[derive(Clone, Debug)]
pub enum Reply {
    Done,
    Renewed { own_age: Option<Duration>, peers: Vec<(Lease, Duration)> },
    Kept(Vec<Uuid>),
    Claimed(Vec<ClaimedCall>),
    Owned(Ownership),
    Found(Option<(Uuid, i64)>),
    Count(usize),
}

/// A record on its way.
#[derive(Clone, Debug)]
pub struct Written {
    pub call_id: Uuid,
    pub inbound_call_id: String,
    pub node: String,
}

#[derive(Debug)]
pub struct Row {
    pub lease: i64,
    pub node: String,
    pub epoch: u32,
    pub region: Option<String>,
    tags: [String; 2],
    pub is_answered: bool,
    is_adopted: bool,
    given_by: Option<i64>,
    state: String,
    /// When it came to its owner.
    pub since: u64,
}

/// A call that has changed hands.
#[derive(Debug)]
pub struct Claim {
    pub call_id: Uuid,
    pub from: i64,
    pub to: i64,
    pub region: Option<String>,
    pub is_given: bool,
    pub is_answered: bool,
}

/// What the model leaves out, to see that the checks see it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Flaw {
    #[default]
    None,
    /// Two nodes may claim one call.
    LetsTwoClaim,
    /// Records are taken from whoever sends them, whoever has the call.
    TakesAnyRecord,
    /// Calls of any region go anywhere.
    IgnoresRegions,
    /// A node that was away does not look whose its calls are.
    SkipsOwnershipCheck,
    /// A node is taken for dead because its lease is old.
    BelievesLeasesAlone,
    /// What was not kept while the store was away never is.
    ForgetsMissing,
    /// Calls that are kept while the store looks for those of a node are taken for lost.
    JudgesWhatWasKeptSince,
    /// A dialog that is on its way to a node does not exist there.
    SaysUnknownTooSoon,
    /// Where a request was sent on to is not known any more when it is repeated.
    ForgetsWhereTo,
    /// A renewal that was carried out too late for its answer to be heard hides how old the lease was.
    TrustsTheNextRenewal,
    /// A claim whose answer was lost is not answered again.
    ClaimsOnce,
    /// Claimed calls are adopted, and their peers never told.
    NeverRefreshes,
    /// Calls of dead nodes are left to themselves.
    NeverClaims,
    /// A node that was away is told which calls are its own, and not which have changed hands.
    LooksAtItsOwnOnly,
    /// A node that drains gives all its calls to one other.
    GivesAllToOne,
}

#[derive(Debug, Default)]
pub struct Store {
    pub leases: BTreeMap<i64, (Lease, u64)>,
    pub rows: BTreeMap<Uuid, Row>,
    pub calls: BTreeMap<Uuid, Vec<Written>>,
    pub flaw: Flaw,
    /// Since they were last looked at.
    pub claims: Vec<Claim>,
    /// Calls that were in `rows` at some time, and when first.
    pub ever_kept: BTreeMap<Uuid, u64>,
}

impl Store {
    pub fn execute(&mut self, op: &Op, now: u64) -> Reply {
        match op {
            Op::Ping => Reply::Done,
            Op::Renew(lease) => self.renew(lease, now),
            Op::Keep { lease, calls } => self.keep(lease, calls, now),
            Op::Claim { lease, dead, call_id } => self.claim(lease, dead, *call_id, now),
            Op::Owned { lease } => {
                self.renew(lease, now);
                let of = |is_it: &dyn Fn(&Row) -> bool| {
                    self.rows.iter().filter(|(_, row)| is_it(row)).map(|(id, _)| *id).collect()
                };
                let ours = of(&|row| row.lease == lease.id);
                let others = of(&|row| row.lease != lease.id && row.epoch > 1);
                Reply::Owned(Ownership { ours, others })
            }
            Op::Adopted { lease, calls } => {
                for id in calls {
                    if let Some(row) = self.rows.get_mut(id).filter(|row| row.lease == *lease) {
                        row.is_adopted = true;
                    }
                }
                Reply::Done
            }
            Op::Find { tag } => {
                let found = self.rows.iter().find(|(_, row)| row.tags.contains(tag));
                Reply::Found(found.map(|(id, row)| (*id, row.lease)))
            }
            Op::Give { from, to, calls } => {
                self.give(*from, *to, calls, now);
                Reply::Done
            }
            Op::Unsettled { lease } => {
                let given = self.rows.values().filter(|row| row.given_by == Some(*lease));
                Reply::Count(given.count())
            }
            Op::EndLease { lease } => {
                if let Some((_, renewed_at)) = self.leases.get_mut(lease) {
                    *renewed_at = 0;
                }
                Reply::Done
            }
            Op::Records(records) => {
                self.write(records);
                Reply::Done
            }
        }
    }

    fn renew(&mut self, own: &Lease, now: u64) -> Reply {
        let age = |at: u64| Duration::from_micros(now.saturating_sub(at));
        let own_age = self.leases.get(&own.id).map(|(_, at)| age(*at));
        let others = self.leases.values().filter(|(lease, _)| lease.id != own.id);
        let peers = others.map(|(lease, at)| (lease.clone(), age(*at))).collect();
        self.leases.insert(own.id, (own.clone(), now));
        Reply::Renewed { own_age, peers }
    }

    fn keep(&mut self, lease: &Lease, calls: &[KeptCall], now: u64) -> Reply {
        let mut kept = Vec::new();
        for call in calls {
            let is_anothers = self.rows.get(&call.call_id).is_some_and(|row| row.lease != lease.id);
            if self.calls.contains_key(&call.call_id) || is_anothers {
                continue;
            }
            kept.push(call.call_id);
            self.ever_kept.entry(call.call_id).or_insert(now);
            let tags = [call.inbound_tag.clone(), call.outbound_tag.clone()];
            if let Some(row) = self.rows.get_mut(&call.call_id) {
                row.state.clone_from(&call.state);
                row.given_by = None;
                row.is_adopted = true;
                row.is_answered = call.answered_at.is_some();
                row.tags = tags;
                continue;
            }
            let row = Row {
                lease: lease.id,
                node: lease.node.clone(),
                epoch: 1,
                region: call.region.clone(),
                tags,
                is_answered: call.answered_at.is_some(),
                is_adopted: true,
                given_by: None,
                state: call.state.clone(),
                since: now,
            };
            self.rows.insert(call.call_id, row);
        }
        Reply::Kept(kept)
    }

    fn claim(&mut self, own: &Lease, dead: &[i64], call_id: Option<Uuid>, now: u64) -> Reply {
        let limit = LEASE_LIMIT.as_micros() as u64;
        let is_condemned = |id: &i64| {
            self.leases.get(id).is_some_and(|(lease, renewed_at)| {
                lease.node == own.node || now.saturating_sub(*renewed_at) > limit
            })
        };
        let condemned: Vec<i64> = dead.iter().filter(|id| is_condemned(id)).copied().collect();
        let calls = &self.calls;
        self.rows.retain(|id, row| !(condemned.contains(&row.lease) && calls.contains_key(id)));
        let mut claimed = Vec::new();
        for (id, row) in &mut self.rows {
            let is_ours = row.lease == own.id;
            let is_free = condemned.contains(&row.lease)
                || (self.flaw == Flaw::LetsTwoClaim
                    && row.epoch == 2
                    && dead.is_empty()
                    && !is_ours);
            let is_in_region = self.flaw == Flaw::IgnoresRegions
                || row.region.is_none()
                || own.region.is_none()
                || row.region == own.region;
            let is_wanted = call_id.is_none_or(|wanted| wanted == *id);
            if !(is_free || (is_ours && !row.is_adopted)) || !is_in_region || !is_wanted {
                continue;
            }
            claimed.push(ClaimedCall {
                call_id: *id,
                taken_from: row.node.clone(),
                is_answered: row.is_answered,
                state: row.state.clone(),
            });
            if !is_ours {
                self.claims.push(Claim {
                    call_id: *id,
                    from: row.lease,
                    to: own.id,
                    region: row.region.clone(),
                    is_given: false,
                    is_answered: row.is_answered,
                });
                row.epoch += 1;
                row.since = now;
            }
            row.lease = own.id;
            row.node.clone_from(&own.node);
            row.is_adopted = self.flaw == Flaw::ClaimsOnce;
        }
        Reply::Claimed(claimed)
    }

    fn give(&mut self, from: i64, to: i64, calls: &[Uuid], now: u64) {
        for id in calls {
            let Some(row) = self.rows.get_mut(id).filter(|row| row.lease == from) else { continue };
            row.lease = to;
            row.is_adopted = false;
            row.given_by = Some(from);
            row.epoch += 1;
            row.since = now;
            let region = row.region.clone();
            self.claims.push(Claim {
                call_id: *id,
                from,
                to,
                region,
                is_given: true,
                is_answered: true,
            });
        }
    }

    pub fn write(&mut self, records: &[Written]) {
        for record in records {
            let is_own = |row: &Row| row.node == record.node;
            if self.flaw == Flaw::TakesAnyRecord {
                self.calls.entry(record.call_id).or_default().push(record.clone());
                self.rows.remove(&record.call_id);
                continue;
            }
            if self.rows.get(&record.call_id).is_some_and(is_own) {
                self.rows.remove(&record.call_id);
            }
            if !self.rows.contains_key(&record.call_id) && !self.calls.contains_key(&record.call_id)
            {
                self.calls.insert(record.call_id, vec![record.clone()]);
            }
        }
    }
}
