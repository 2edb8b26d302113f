//! Why budgets are overrun (BUD-3), as their counters tell.
//!
//! I/O: the parts of the counters of budgets that are overrun.

use recoup_budgets::Counter;
use recoup_budgets::overrun::{Cause, Overrun, Part, Parts, overrun};
use recoup_money::Amount;
use recoup_store::CounterKey;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::Refusal;

/// By how much a budget is overrun, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrunRow {
    /// What is posted beyond the limit.
    pub amount: Amount,
    /// Its causes, whose amounts sum to `amount`.
    pub causes: Vec<CauseRow>,
}

/// A cause of an overrun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseRow {
    /// What it is.
    pub cause: Cause,
    /// Its part of the overrun.
    pub amount: Amount,
}

impl From<Overrun> for OverrunRow {
    fn from(overrun: Overrun) -> Self {
        let causes = overrun.causes.into_iter().map(|(cause, amount)| CauseRow { cause, amount });
        Self { amount: overrun.amount, causes: causes.collect() }
    }
}

/// A counter with its limit and what is posted to it.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    pub(crate) counter: Counter,
    pub(crate) limit: Amount,
    pub(crate) posted: Amount,
}

impl App {
    /// Why each of them is overrun, in their order; `None` for those that are not.
    pub(crate) async fn overruns(&self, of: &[Used]) -> Result<Vec<Option<OverrunRow>>, Refusal> {
        let over: Vec<&Used> = of.iter().filter(|used| used.posted > used.limit).collect();
        let parts = over.iter().flat_map(|used| Part::ALL.map(|part| part.of(&used.counter)));
        let keys: Vec<CounterKey> = parts.map(|Counter { scope, period }| CounterKey { scope, period }).collect();
        let balances = if keys.is_empty() { Vec::new() } else { self.ports.leases.balances(&keys).await? };
        let mut posted = balances.into_iter().map(|balance| balance.posted);
        let mut row = |used: &Used| {
            if used.posted <= used.limit {
                return None;
            }
            let amounts = Part::ALL.map(|_| posted.next().unwrap_or_default());
            overrun(used.limit, used.posted, Parts::from_amounts(amounts)).map(OverrunRow::from)
        };
        Ok(of.iter().map(&mut row).collect())
    }
}
