//! Direct cost of each (team, root's agent) and of its task types: by what a share of a pool is divided further (PRC-1).

use std::collections::BTreeMap;

use recoup_attribution::SettlementFacts;
use recoup_attribution::settlement::Code;
use recoup_model::Id;
use recoup_model::organisation::{Billing, History};
use recoup_money::Amount;

use crate::error::{LedgerError, fits};

/// Pairs of the period up to some night.
#[derive(Debug, Default)]
pub(super) struct Pairs(BTreeMap<Id, BTreeMap<Option<Id>, Pair>>);

/// A team's work with one agent, or outside every agent.
#[derive(Debug, Default)]
pub(super) struct Pair {
    /// All direct cost, in tasks and outside.
    direct: Amount,
    /// Of its tasks that are not billed by token, by task type.
    types: BTreeMap<Id, Work>,
}

/// Tasks of one type.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    cost: Amount,
    ended: u64,
}

impl Pairs {
    /// Adds a day. Which billing model a task has is decided on the day it ended.
    pub(super) fn add_day(&mut self, history: &History, facts: &SettlementFacts) -> Result<(), LedgerError> {
        let by_token =
            |day, team: &Id, agent: &Id| history.on(day).organisation.billing(team, Some(agent)) == Billing::Token;
        for (key, value) in facts.costs().iter().filter(|(key, _)| key.pool == Code::NONE) {
            let cost = facts.cost(key);
            let agent = cost.task.map_or(cost.agent, |task| task.agent);
            let Some(team) = cost.team else { continue };
            let pair = self.0.entry(team.clone()).or_default().entry(agent.cloned()).or_default();
            pair.direct = fits(pair.direct.checked_add(value.cost), "a direct cost")?;
            let Some(agent) = agent else { continue };
            if let Some(task) = cost.task.filter(|task| !by_token(task.ended_on, team, agent)) {
                let work = pair.types.entry(task.task_type.clone()).or_default();
                work.cost = fits(work.cost.checked_add(value.cost), "a direct cost")?;
            }
        }
        for (key, value) in facts.tasks() {
            let [team, agent, task_type] = [key.team, key.agent, key.task_type].map(|code| facts.name(code));
            let (Some(team), Some(agent), Some(task_type)) = (team, agent, task_type) else { continue };
            if !by_token(facts.day, team, agent) {
                let pair = self.0.entry(team.clone()).or_default().entry(Some(agent.clone())).or_default();
                let work = pair.types.entry(task_type.clone()).or_default();
                work.ended = fits(work.ended.checked_add(value.tasks), "a number of tasks")?;
            }
        }
        Ok(())
    }

    /// Direct cost of a team by root's agent; what has no agent has its say too.
    pub(super) fn direct(&self, team: &Id) -> impl Iterator<Item = (&Option<Id>, Amount)> {
        self.0.get(team).into_iter().flatten().map(|(agent, pair)| (agent, pair.direct))
    }

    /// What divides a share of (team, agent) over its task types: their direct cost, else their tasks that have ended; empty
    /// where there are none.
    pub(super) fn weights(&self, team: &Id, agent: &Id) -> Result<BTreeMap<Id, Amount>, LedgerError> {
        let types = self.0.get(team).and_then(|agents| agents.get(&Some(agent.clone()))).map(|pair| &pair.types);
        let of = |weigh: fn(&Work) -> Amount| {
            let weights = types.into_iter().flatten().map(|(task_type, work)| (task_type.clone(), weigh(work)));
            weights.filter(|(_, weight)| !weight.is_zero()).collect::<BTreeMap<_, _>>()
        };
        let by_cost = of(|work| work.cost);
        Ok(if by_cost.is_empty() { of(|work| Amount::from_pico(i128::from(work.ended))) } else { by_cost })
    }
}
