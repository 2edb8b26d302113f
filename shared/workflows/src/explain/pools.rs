//! A pool's page: cost in, basis, weights, ratios, parts out, and whether they tie (POOL-1 to POOL-5).
//!
//! What was split stands in the run's record; what went in is added up again from the facts and the organisation file, so
//! that the two can be compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use num_rational::BigRational;
use recoup_attribution::DayFacts;
use recoup_ledger::{Consumer, PoolRecord};
use recoup_model::organisation::History;
use recoup_model::{Id, Period};
use recoup_money::Amount;
use serde_json::{Value, json};

use super::bills::{BilledTo, arithmetic, bills_of};
use super::ratio;
use crate::app::App;
use crate::close;
use crate::error::Refusal;
use crate::nightly::{SettledRecord, no_night};
use crate::shipped::Known;

/// What a period was settled from.
pub(crate) struct Ground<'a> {
    pub(crate) period: Period,
    pub(crate) through: chrono::NaiveDate,
    pub(crate) history: &'a History,
    pub(crate) days: &'a BTreeMap<chrono::NaiveDate, DayFacts>,
}

/// What went into a pool.
#[derive(Debug, Default)]
pub(crate) struct CostIn {
    /// Cost and events of each agent's spans.
    pub(crate) agents: BTreeMap<Option<Id>, (Amount, u64)>,
    /// Each bill, its arithmetic and its cost.
    pub(crate) bills: Vec<(Id, String, Amount)>,
    /// Cost without a payer, where this is the pool for it (ATR-6).
    pub(crate) unattributed: Amount,
}

fn overflow() -> Refusal {
    Refusal::computation("add up a pool", "the sum overflows")
}

fn plus(sum: &mut Amount, more: Amount) -> Result<(), Refusal> {
    *sum = sum.checked_add(more).ok_or_else(overflow)?;
    Ok(())
}

impl CostIn {
    /// Adds up what went into a pool.
    pub(crate) fn of(ground: &Ground<'_>, pool: &Id) -> Result<Self, Refusal> {
        let policy = &ground.history.on(ground.through).organisation.policy;
        let takes_unattributed = policy.unattributed_pool.as_ref() == Some(pool);
        let mut found = Self::default();
        for facts in ground.days.range(ground.period.first_day()..=ground.through).map(|(_, facts)| facts) {
            for (cell, value) in &facts.cells {
                if cell.pool.as_ref() == Some(pool) {
                    let sum = found.agents.entry(cell.agent.clone()).or_default();
                    plus(&mut sum.0, value.cost)?;
                    sum.1 = sum.1.saturating_add(value.events);
                } else if takes_unattributed && cell.pool.is_none() && cell.team.is_none() {
                    plus(&mut found.unattributed, value.cost)?;
                }
            }
        }
        for (key, bill) in bills_of(ground.history, ground.period, ground.through)? {
            match &key.to {
                BilledTo::Pool(to) if to == pool => {
                    found.bills.push((key.id.clone(), arithmetic(&key, &bill, ground.period), bill.cost));
                }
                BilledTo::Nobody if takes_unattributed => plus(&mut found.unattributed, bill.cost)?,
                _ => {}
            }
        }
        Ok(found)
    }

    /// All of it.
    pub(crate) fn total(&self) -> Result<Amount, Refusal> {
        let agents = self.agents.values().map(|(cost, _)| *cost);
        let all = agents.chain(self.bills.iter().map(|(_, _, cost)| *cost)).chain([self.unattributed]);
        Amount::checked_sum(all).ok_or_else(overflow)
    }
}

/// What other pools of the group pass on to a pool: the pool, its full cost, the fraction, and what that comes to, the latter
/// as a fraction of picounits.
pub(crate) fn passed_on<'a>(records: &'a [PoolRecord], pool: &Id) -> Vec<(&'a PoolRecord, BigRational, BigRational)> {
    let mut passed = Vec::new();
    for record in records {
        for share in record.consumers.iter().filter(|share| share.consumer == Consumer::Pool(pool.clone())) {
            if let (Some(part), Some(full)) = (ratio::parse(&share.ratio), ratio::parse(&record.full_cost_pico)) {
                passed.push((record, part.clone(), part * full));
            }
        }
    }
    passed
}

/// Own cost of the pools of a group, and what their bearers bear.
fn group_ties(records: &[PoolRecord], group: &Id) -> Result<(Amount, Amount), Refusal> {
    let ours = || records.iter().filter(|record| record.group == *group);
    let own = Amount::checked_sum(ours().map(|record| record.own_cost)).ok_or_else(overflow)?;
    let parts = ours().flat_map(|record| &record.consumers).filter_map(|share| share.amount);
    Ok((own, Amount::checked_sum(parts).ok_or_else(overflow)?))
}

fn page(ground: &Ground<'_>, records: &[PoolRecord], record: &PoolRecord) -> Result<Value, Refusal> {
    let cost_in = CostIn::of(ground, &record.pool)?;
    let passed = passed_on(records, &record.pool);
    let full = ratio::parse(&record.full_cost_pico).unwrap_or_default();
    let (group_cost, group_borne) = group_ties(records, &record.group)?;
    let sum = passed.iter().fold(ratio::of_pico(record.own_cost), |sum, (_, _, pico)| sum + pico);
    let ties = cost_in.total()? == record.own_cost && sum == full && group_cost == group_borne;
    let organisation = &ground.history.on(ground.through).organisation;
    let owner = |agent: &Option<Id>| agent.as_ref().and_then(|agent| organisation.agents.get(agent)?.owner.clone());
    let agents = cost_in.agents.iter().map(
        |(agent, (cost, events))| json!({ "agent": agent, "owner": owner(agent), "events": events, "cost": cost }),
    );
    let bills = cost_in.bills.iter().map(|(id, words, cost)| json!({ "id": id, "arithmetic": words, "cost": cost }));
    let from_pools = passed.iter().map(|(from, part, pico)| {
        json!({
            "pool": from.pool, "ratio": ratio::text(part), "exact_pico": ratio::text(pico),
            "cost": ratio::to_amount(pico),
        })
    });
    let mut row = json!(record);
    if let Some(row) = row.as_object_mut() {
        let borne = Amount::checked_sum(record.consumers.iter().filter_map(|share| share.amount));
        row.insert("borne".into(), json!(borne.ok_or_else(overflow)?));
        row.insert("full_cost".into(), json!(ratio::to_amount(&full)));
        row.insert(
            "cost_in".into(),
            json!({
                "agents": agents.collect::<Vec<_>>(), "bills": bills.collect::<Vec<_>>(),
                "unattributed": cost_in.unattributed, "pools": from_pools.collect::<Vec<_>>(),
            }),
        );
        row.insert("group_cost".into(), json!(group_cost));
        row.insert("group_borne".into(), json!(group_borne));
        row.insert("ties".into(), json!(ties));
    }
    Ok(row)
}

impl App {
    /// Every pool of a period that had cost, or one of them: cost in, basis, weights, ratios, parts out.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a period without a night and for a pool that had no cost in it.
    pub async fn pool_pages(self: &Arc<Self>, period: Period, pool: Option<&str>) -> Result<Vec<Value>, Refusal> {
        let world = self.world().await?;
        let SettledRecord { through, .. } = self.settled_record(period).await?.ok_or_else(|| no_night(period))?;
        let records = self.pools(period).await?;
        let closed = close::period_records(self.books()).await?;
        let closed = closed.iter().find(|record| record.is_closed() && record.period == period);
        let (own, days) = match closed {
            Some(closed) => {
                let own = self.world_of(&world, closed, Known::AtTheClose).await?;
                (own, self.facts_as_closed(&world, closed).await?)
            }
            None => (world, self.period_facts(period).await?),
        };
        let ground = Ground { period, through, history: &own.history, days: &days };
        let wanted = |record: &&PoolRecord| pool.is_none_or(|pool| record.pool.as_ref() == pool);
        let rows = records.iter().filter(wanted).map(|record| page(&ground, &records, record));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        match (rows.is_empty(), pool) {
            (true, Some(pool)) => Err(Refusal::NotFound(no_such_pool(pool, period, &records))),
            _ => Ok(rows),
        }
    }
}

fn no_such_pool(pool: &str, period: Period, records: &[PoolRecord]) -> String {
    let known: Vec<&str> = records.iter().map(|record| record.pool.as_ref()).collect();
    let known =
        if known.is_empty() { "no pool had any".to_owned() } else { format!("these had: {}", known.join(", ")) };
    format!("the pool `{pool}` had no cost in {period}; {known}")
}
