//! `pool_recovery = "price"` (PRC-1): what of the pools' cost internal prices take in, and what keeps its line.

use std::collections::BTreeMap;

use recoup_model::Id;
use recoup_model::organisation::{Billing, PoolRecovery};

use crate::book::Bearer;
use crate::facts::use_of;
use crate::ground::Ground;
use crate::number::{Q, split, whole};
use crate::pools::Group;
use crate::trace::Trace;

/// Parts of pools by (team, agent, task type) that prices take in, and by (team, pool) that keep their line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// By number of the group, team, agent, task type.
    pub parts: BTreeMap<(usize, Id, Id, Id), Q>,
    /// By team and pool.
    pub lines: BTreeMap<(Id, Id), Q>,
}

/// What becomes of each team's share of each pool.
#[must_use]
pub fn recover(ground: &Ground<'_>, groups: &[Group]) -> Recovered {
    let by_price = ground.nights.on(ground.nights.through).policy.pool_recovery == PoolRecovery::Price;
    let mut found = Recovered::default();
    for (number, group) in groups.iter().enumerate() {
        for (bearer, pools) in &group.parts {
            let Bearer::Team(team) = bearer else { continue };
            for (pool, share) in pools {
                let pool = Id::from(pool.as_str());
                let agents = if by_price { over_agents(ground, group, (team, &pool), share) } else { None };
                let Some(agents) = agents else {
                    *found.lines.entry((team.clone(), pool)).or_default() += share;
                    continue;
                };
                for (agent, part) in agents {
                    let agent = Id::from(agent.as_str());
                    let by_token =
                        ground.nights.on(ground.nights.through).billing(team, Some(&agent)) == Billing::Token;
                    let types = if by_token { BTreeMap::new() } else { types_of(ground, team, &agent) };
                    match split(&part, &types) {
                        Some(types) => types.into_iter().for_each(|(task_type, part)| {
                            let key = (number, team.clone(), agent.clone(), Id::from(task_type.as_str()));
                            *found.parts.entry(key).or_default() += part;
                        }),
                        None => *found.lines.entry((team.clone(), pool.clone())).or_default() += part,
                    }
                }
            }
        }
    }
    found
}

/// A team's share of a pool over its agents: by use where that is the basis, else by direct cost. Outside any task an agent
/// is the span's own.
fn over_agents(ground: &Ground<'_>, group: &Group, (team, pool): (&Id, &Id), share: &Q) -> Option<BTreeMap<String, Q>> {
    let record = group.pools.iter().find(|record| record.pool == *pool)?;
    let figure = ["invocations", "tokens", "duration"].iter().position(|basis| *basis == record.basis);
    let mut weights: BTreeMap<String, Q> = BTreeMap::new();
    for trace in ground.traces.iter().filter(|trace| trace.payer.as_ref() == Some(team)) {
        for span in trace.spans.iter().filter(|span| ground.nights.contain(span.day)) {
            let inside = |via: &Id| group.pools.iter().any(|record| record.pool == *via);
            let (agent, weight) = match figure {
                Some(_) if span.pool.as_ref() != Some(pool) || span.via.as_ref().is_some_and(inside) => continue,
                Some(figure) => (trace.spans[trace.root].agent.clone(), use_of(span)[figure].clone()),
                None if span.pool.is_some() => continue,
                None => (trace.task.as_ref().map_or(&span.agent, |task| &task.agent).clone(), span.cost()),
            };
            // What falls on no agent keeps its line.
            *weights.entry(agent.map_or_else(String::new, |agent| agent.to_string())).or_default() += weight;
        }
    }
    split(share, &weights)
}

/// The task types of (team, agent) that are not billed by token: by direct cost of the days, else by number of tasks.
fn types_of(ground: &Ground<'_>, team: &Id, agent: &Id) -> BTreeMap<String, Q> {
    let (mut cost, mut number) = (BTreeMap::<String, Q>::new(), BTreeMap::<String, Q>::new());
    for trace in ground.traces.iter().filter(|trace| trace.payer.as_ref() == Some(team)) {
        let Some((task_type, _)) = priced_task(ground, trace, team, agent) else { continue };
        *cost.entry(task_type.to_string()).or_default() += cost_of_days(ground, trace);
        *number.entry(task_type.to_string()).or_default() += ended(ground, trace);
    }
    if cost.values().sum::<Q>() == Q::default() { number } else { cost }
}

/// The task type and billing model of a trace that is a task of an agent, where that is not billed by token.
#[must_use]
pub fn priced_task<'t>(ground: &Ground<'_>, trace: &'t Trace, team: &Id, agent: &Id) -> Option<(&'t Id, Billing)> {
    let task = trace.task.as_ref().filter(|task| task.agent.as_ref() == Some(agent))?;
    let billing = ground.nights.on(task.ended_on).billing(team, Some(agent));
    (billing != Billing::Token).then_some((&task.task_type, billing))
}

/// Direct cost of a trace on the days.
#[must_use]
pub fn cost_of_days(ground: &Ground<'_>, trace: &Trace) -> Q {
    let direct = trace.spans.iter().filter(|span| span.pool.is_none() && ground.nights.contain(span.day));
    direct.map(crate::trace::Span::cost).sum()
}

/// 1 where a trace's task ended on the days.
#[must_use]
pub fn ended(ground: &Ground<'_>, trace: &Trace) -> Q {
    whole(u64::from(trace.task.as_ref().is_some_and(|task| ground.nights.contain(task.ended_on))))
}
