//! Where the cost of a period's days goes first: to pools, to a team as direct cost, to nobody. No price is needed for it.

use std::collections::{BTreeMap, BTreeSet};

use recoup_model::Id;

use crate::number::{Q, of, ratio, to_pico, whole};
use crate::prices::Nights;
use crate::rate::exchange_on;
use crate::trace::Trace;

/// Cost before anything is charged.
pub struct Ground<'a> {
    /// The days.
    pub nights: Nights<'a>,
    /// Every trace that is known.
    pub traces: &'a [Trace],
    /// Cost that went to each pool.
    pub pools: BTreeMap<Id, Q>,
    /// Direct cost by payer: what went into no pool.
    pub direct: BTreeMap<Option<Id>, Q>,
    /// Teams with an event that counts on the days.
    pub active: BTreeSet<Id>,
    /// Bills.
    pub bills: Vec<Bill>,
    /// All of it.
    pub priced: Q,
}

/// A recurring bill, for the part of the month that ran (POOL-5).
#[derive(Clone, Debug)]
pub struct Bill {
    /// Its id.
    pub id: Id,
    /// The agent that it is for, where its owner pays.
    pub agent: Option<Id>,
    /// A pool, else the owner, else nobody.
    pub bearer: Result<Id, Option<Id>>,
    /// What it costs.
    pub cost: Q,
    /// Months of it, of days with a rate.
    pub months: Q,
    /// Whether a day has no rate: unpriced (MON-4).
    pub unpriced: bool,
}

impl<'a> Ground<'a> {
    /// The cost of some days.
    #[must_use]
    pub fn of(nights: Nights<'a>, traces: &'a [Trace]) -> Self {
        let (pools, direct) = (BTreeMap::new(), BTreeMap::new());
        let bills = bills(nights);
        let mut ground = Self { nights, traces, pools, direct, active: BTreeSet::new(), bills, priced: Q::default() };
        for trace in traces {
            for span in trace.spans.iter().filter(|span| nights.contain(span.day)) {
                if span.counts() {
                    ground.active.extend(trace.payer.clone());
                }
                let bearer = span.pool.clone().ok_or_else(|| trace.payer.clone());
                ground.bear(bearer, &span.cost());
            }
        }
        for bill in ground.bills.clone() {
            ground.bear(bill.bearer, &bill.cost);
        }
        ground
    }

    fn bear(&mut self, bearer: Result<Id, Option<Id>>, cost: &Q) {
        self.priced += cost;
        match bearer.or_else(|payer| self.pool_of_nobody().filter(|_| payer.is_none()).ok_or(payer)) {
            Ok(pool) => *self.pools.entry(pool).or_default() += cost,
            Err(payer) => *self.direct.entry(payer).or_default() += cost,
        }
    }

    /// ATR-6: where unattributed cost goes, as the organisation of the last night says. It is no direct cost then.
    fn pool_of_nobody(&self) -> Option<Id> {
        self.nights.on(self.nights.through).policy.unattributed_pool.clone()
    }

    /// What went to a pool.
    #[must_use]
    pub fn pool(&self, pool: &Id) -> Q {
        self.pools.get(pool).cloned().unwrap_or_default()
    }
}

/// A bill, the agent that its line names, and the pool or else the owner that bears it.
type Borne = (Id, Option<Id>, Result<Id, Option<Id>>);

/// POOL-5: each day its part of the month, by that day's entry, exchange rate and organisation; rounded once. MON-4: a day
/// without a rate makes the bill unpriced and adds nothing.
fn bills(nights: Nights<'_>) -> Vec<Bill> {
    let days_of_month = nights.period.days().count() as u64;
    let mut sums: BTreeMap<Borne, (Q, Q, bool)> = BTreeMap::new();
    for day in nights.days() {
        let organisation = nights.on(day);
        for bill in &organisation.recurring {
            if day < bill.from || bill.to.is_some_and(|to| day >= to) {
                continue;
            }
            let agent = bill.agent.as_ref().and_then(|agent| organisation.agents.get(agent));
            let pool = bill.pool.as_ref().or_else(|| agent?.shared_pool.as_ref()).cloned();
            let owner = agent.and_then(|agent| agent.owner.clone());
            let owner = owner.filter(|owner| organisation.teams.contains_key(owner));
            // Only the line of an owner names the agent.
            let named = bill.agent.clone().filter(|_| owner.is_some() && pool.is_none());
            let sum = sums.entry((bill.id.clone(), named, pool.ok_or(owner))).or_default();
            match exchange_on(organisation, bill.currency, day) {
                Some(rate) => {
                    sum.0 += of(bill.amount) * rate / whole(days_of_month);
                    sum.1 += ratio(1, days_of_month);
                }
                None => sum.2 = true,
            }
        }
    }
    let bill = |((id, agent, bearer), (exact, months, unpriced)): (Borne, (Q, Q, bool))| Bill {
        id,
        agent,
        bearer,
        cost: to_pico(&exact),
        months: to_pico(&months),
        unpriced,
    };
    sums.into_iter().map(bill).collect()
}
