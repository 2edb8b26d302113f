//! Cost cells in columns.

use chrono::NaiveDate;
use recoup_attribution::SettlementFacts;
use recoup_attribution::facts::{CellKey, CellValue, Item, TaskOf};
use recoup_attribution::settlement::{Bought, Code, CostKey, Rows, Within};
use recoup_model::{Id, Kind};
use serde::{Deserialize, Serialize};

use super::columns::{Codes, Column, Numbered, Pico, Read, Runs, Texts, all_are, kind_code, kind_of, later, value_of};

/// Cost cells.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Cells {
    texts: Vec<Id>,
    items: Vec<Item>,
    team: Runs,
    project: Runs,
    agent: Runs,
    task_type: Runs,
    kind: Runs,
    provider: Runs,
    model: Runs,
    item: Runs,
    /// The type of the task that the cost belongs to; none where there is no task.
    task: Runs,
    task_agent: Runs,
    /// Days from the facts' to the one on which the task ended.
    ended: Runs,
    timed: Runs,
    pool: Runs,
    unobserved: Runs,
    cost: Column<Pico>,
    quantity: Column<Pico>,
    events: Column<u64>,
}

impl Cells {
    /// Cells as fine as queries ask.
    pub(super) fn of(day: NaiveDate, rows: &[(&CellKey, &CellValue)]) -> Self {
        let mut all = Self::default();
        // A column of texts has its own memory of what its last row said.
        let mut texts = Texts::new();
        let mut items = Codes::new();
        for (key, value) in rows {
            let task = key.task.as_ref();
            texts.push([
                (&mut all.team, key.team.as_ref()),
                (&mut all.project, key.project.as_ref()),
                (&mut all.agent, key.agent.as_ref()),
                (&mut all.task_type, key.task_type.as_ref()),
                (&mut all.provider, key.provider.as_ref()),
                (&mut all.model, key.model.as_ref()),
                (&mut all.task, task.map(|task| &task.task_type)),
                (&mut all.task_agent, task.and_then(|task| task.agent.as_ref())),
                (&mut all.pool, key.pool.as_ref()),
            ]);
            all.kind.push(kind_code(key.kind));
            all.item.push(items.code(Some(&key.item)));
            all.ended.push(task.map_or(0, |task| task.ended_on.signed_duration_since(day).num_days()));
            all.timed.push(i64::from(task.is_some_and(|task| task.timed)));
            all.unobserved.push(i64::from(key.unobserved));
            all.cost.push(Pico(value.cost));
            all.quantity.push(Pico(value.quantity));
            all.events.push(value.events);
        }
        (all.texts, all.items) = (texts.codes.values, items.values);
        all
    }

    /// Adds what [`Cells::of`] was given; `None` where a record does not hold it.
    pub(super) fn into_cells(self, day: NaiveDate, rows: &mut Vec<(CellKey, CellValue)>) -> Option<()> {
        self.are_whole()?;
        let text = |code| value_of(&self.texts, code);
        let names = [&self.team, &self.project, &self.agent, &self.task_type, &self.provider, &self.model, &self.pool];
        let [mut team, mut project, mut agent, mut task_type, mut provider, mut model, mut pool] =
            names.map(Runs::rows);
        let tasks = [&self.task, &self.task_agent, &self.ended, &self.timed];
        let [mut task, mut task_agent, mut ended, mut timed] = tasks.map(Runs::rows);
        let [mut kind, mut item, mut unobserved] = [&self.kind, &self.item, &self.unobserved].map(Runs::rows);
        let mut quantity = self.quantity.iter();
        let mut events = self.events.iter();
        rows.reserve(self.cost.len());
        for cost in self.cost.iter() {
            let (task_agent, ended, timed) = (text(task_agent.next()?)?, ended.next()?, timed.next()? != 0);
            let task = match text(task.next()?)? {
                Some(task_type) => Some(TaskOf { agent: task_agent, task_type, ended_on: later(day, ended)?, timed }),
                None => None,
            };
            let key = CellKey {
                team: text(team.next()?)?,
                project: text(project.next()?)?,
                agent: text(agent.next()?)?,
                task_type: text(task_type.next()?)?,
                kind: kind_of(kind.next()?)?,
                provider: text(provider.next()?)?,
                model: text(model.next()?)?,
                item: value_of(&self.items, item.next()?)??,
                task,
                pool: text(pool.next()?)?,
                unobserved: unobserved.next()? != 0,
            };
            rows.push((key, CellValue { cost: cost.0, quantity: quantity.next()?.0, events: *events.next()? }));
        }
        Some(())
    }

    /// Costs of a settlement, which have no project, no kind and no wrapper.
    pub(super) fn of_costs(day: NaiveDate, rows: &[(CostKey, CellValue)], facts: &SettlementFacts) -> Self {
        let mut all = Self::default();
        let mut texts = Numbered::of(facts);
        let mut items = Vec::new();
        for (key, value) in rows {
            let task = key.task;
            texts.push([
                (&mut all.team, key.team),
                (&mut all.project, Code::NONE),
                (&mut all.agent, key.agent),
                (&mut all.task_type, key.task_type),
                (&mut all.provider, key.provider),
                (&mut all.model, key.model),
                (&mut all.task, task.map_or(Code::NONE, |task| task.task_type)),
                (&mut all.task_agent, task.map_or(Code::NONE, |task| task.agent)),
                (&mut all.pool, key.pool),
            ]);
            let known = items.iter().position(|item| *item == key.item);
            let item = known.unwrap_or_else(|| {
                items.push(key.item);
                items.len().saturating_sub(1)
            });
            all.kind.push(kind_code(Kind::Agent));
            all.item.push(i64::try_from(item.saturating_add(1)).unwrap_or(i64::MAX));
            all.ended.push(task.map_or(0, |task| task.ended_on.signed_duration_since(day).num_days()));
            all.timed.push(i64::from(task.is_some_and(|task| task.timed)));
            all.unobserved.push(0);
            all.cost.push(Pico(value.cost));
            all.quantity.push(Pico(value.quantity));
            all.events.push(value.events);
        }
        let item = |bought: &Bought<Code>| match *bought {
            Bought::Tokens(class) => Item::Tokens(class),
            Bought::Units { sku, unit } => {
                Item::Units { sku: facts.name(sku).cloned().unwrap_or_default(), unit: facts.name(unit).cloned() }
            }
            Bought::Reported => Item::Reported,
            Bought::Unpriced => Item::Unpriced,
            Bought::Frame => Item::Frame,
        };
        (all.texts, all.items) = (texts.texts, items.iter().map(item).collect());
        all
    }

    /// Adds what [`Cells::of_costs`] was given; `None` where a record does not hold it.
    pub(super) fn into_costs(self, day: NaiveDate, rows: &mut Rows) -> Option<()> {
        self.are_whole()?;
        let items: Vec<Bought<Code>> =
            self.items.iter().map(|item| Bought::of(item).map(|name| rows.names.code(name))).collect();
        let texts = Read::of(&self.texts, &mut rows.names);
        let names = [&self.team, &self.agent, &self.task_type, &self.provider, &self.model, &self.pool];
        let [mut team, mut agent, mut task_type, mut provider, mut model, mut pool] = names.map(Runs::rows);
        let tasks = [&self.task, &self.task_agent, &self.ended, &self.timed];
        let [mut task, mut task_agent, mut ended, mut timed] = tasks.map(Runs::rows);
        let mut item = self.item.rows();
        let mut quantity = self.quantity.iter();
        let mut events = self.events.iter();
        rows.costs.reserve(self.cost.len());
        for cost in self.cost.iter() {
            let agent_of_task = texts.code(task_agent.next()?)?;
            let (ended, timed) = (ended.next()?, timed.next()? != 0);
            let task = match texts.code(task.next()?)? {
                Code::NONE => None,
                task_type => Some(Within { agent: agent_of_task, task_type, ended_on: later(day, ended)?, timed }),
            };
            let key = CostKey {
                team: texts.code(team.next()?)?,
                agent: texts.code(agent.next()?)?,
                task_type: texts.code(task_type.next()?)?,
                provider: texts.code(provider.next()?)?,
                model: texts.code(model.next()?)?,
                item: *items.get(usize::try_from(item.next()?.checked_sub(1)?).ok()?)?,
                task,
                pool: texts.code(pool.next()?)?,
            };
            let value = CellValue { cost: cost.0, quantity: quantity.next()?.0, events: *events.next()? };
            rows.costs.push((key, value));
        }
        Some(())
    }

    fn are_whole(&self) -> Option<()> {
        let names = [&self.team, &self.project, &self.agent, &self.task_type, &self.provider, &self.model, &self.pool];
        let others = [&self.kind, &self.item, &self.task, &self.task_agent, &self.ended, &self.timed, &self.unobserved];
        let lengths = names.into_iter().chain(others).map(Runs::len).chain([self.quantity.len(), self.events.len()]);
        all_are(lengths, self.cost.len())
    }
}
