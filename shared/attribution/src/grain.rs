//! The grain that a settlement needs: coarser than that of queries, and as exact.
//!
//! Under a price only the whole cost of (team, task) counts, in a pool only that of the pool, and without a payer only
//! the sum; what is billed by token keeps what its lines say. Users, agents and findings are for queries alone.

use recoup_model::Kind;
use recoup_model::organisation::{Billing, History};
use recoup_money::Amount;

use crate::error::AttributionError;
use crate::facts::{CellKey, CellValue, DayFacts, Item};
use crate::merge::add_cell;

/// How fine facts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// As fine as any query asks.
    Query,
    /// As fine as the lines of a statement, under the organisation of the days on which tasks ended.
    Settlement,
}

impl DayFacts {
    /// The same facts in the grain of settlements: a settlement of either is the same.
    ///
    /// # Errors
    /// [`AttributionError::Overflow`].
    pub fn in_settlement_grain(&self, history: &History) -> Result<Self, AttributionError> {
        let mut in_grain = Self::empty(self.day);
        for (key, value) in &self.cells {
            let (key, value) = coarse(key, value, history);
            add_cell(in_grain.cells.entry(key).or_default(), value)?;
        }
        in_grain.tasks.clone_from(&self.tasks);
        in_grain.pools.clone_from(&self.pools);
        in_grain.counted.clone_from(&self.counted);
        in_grain.context = self.context;
        in_grain.price_names.clone_from(&self.price_names);
        in_grain.work.clone_from(&self.work);
        Ok(in_grain)
    }
}

/// A cell in the grain of settlements.
pub(crate) fn coarse(key: &CellKey, value: &CellValue, history: &History) -> (CellKey, CellValue) {
    let coarse_key = coarse_key(key, history);
    // What is summed over several items has no quantity of its own.
    let quantity = if coarse_key.item == key.item { value.quantity } else { Amount::ZERO };
    (coarse_key, CellValue { quantity, ..*value })
}

/// What becomes of the cost of a cell: what a settlement asks of it.
fn coarse_key(key: &CellKey, history: &History) -> CellKey {
    let nobody = CellKey {
        team: None,
        project: None,
        agent: None,
        task_type: None,
        kind: Kind::Agent,
        provider: None,
        model: None,
        item: if key.item == Item::Unpriced { Item::Unpriced } else { Item::Reported },
        task: None,
        pool: None,
        unobserved: false,
    };
    let Some(team) = &key.team else {
        let task = key.task.clone().filter(|_| key.pool.is_none());
        return CellKey { pool: key.pool.clone(), task, ..nobody };
    };
    let team_only = CellKey { team: Some(team.clone()), ..nobody };
    if key.pool.is_some() {
        return CellKey { pool: key.pool.clone(), ..team_only };
    }
    let by_token = |task: &crate::facts::TaskOf| {
        let organisation = &history.on(task.ended_on).organisation;
        task.agent.is_none() || organisation.billing(team, task.agent.as_deref()) == Billing::Token
    };
    match &key.task {
        Some(task) if !by_token(task) => CellKey { task: Some(task.clone()), ..team_only },
        _ => CellKey { project: None, kind: Kind::Agent, unobserved: false, ..key.clone() },
    }
}
