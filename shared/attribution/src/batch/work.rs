//! What tasks of regular traces used (ANO-1): per task a short list of what was called, per (agent, task type) sums.

use std::collections::BTreeMap;

use recoup_model::{Id, Kind};
use recoup_money::Amount;

use super::sums::Map;
use super::{Batch, Name};
use crate::error::AttributionError;
use crate::facts::DayFacts;
use crate::sum::add_count;
use crate::work::{Calls, Dearest, Squares, TaskWork, Work, WorkKey};

/// What was called: a model or a SKU by its place among the names, from [`BUCKETS`] on a cost bucket.
pub(super) type Called = u32;
/// No table of names comes near it.
const BUCKETS: Called = u32::MAX - 16;

/// A task that ended today.
#[derive(Clone, Copy)]
pub(super) struct Ended {
    pub(super) agent: Name,
    pub(super) task_type: Name,
    pub(super) team: Name,
    pub(super) trace: u64,
    /// The source's row of its root.
    pub(super) root: u64,
    pub(super) at_ns: i64,
}

/// What one task called, without making room for each anew.
#[derive(Default)]
pub(super) struct CallList(Vec<(Called, Calls)>);

impl CallList {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a call of a regular row: it bears usage, a quantity or a cost.
    #[inline]
    pub(super) fn add(&mut self, called: Called, tokens: u64, cost_pico: i64) -> Result<(), AttributionError> {
        let call = Calls { calls: 1, tokens, cost: Amount::from_pico(i128::from(cost_pico)) };
        match self.0.iter_mut().find(|(known, _)| *known == called) {
            Some((_, calls)) => calls.add(&call),
            None => {
                self.0.push((called, call));
                Ok(())
            }
        }
    }
}

/// What a row is called by: its SKU, else its model, else its cost bucket.
#[inline]
pub(super) const fn called(sku: Name, model: Name, kind: Kind) -> Called {
    if sku != 0 {
        return sku;
    }
    if model != 0 { model } else { BUCKETS.saturating_add(kind as u32) }
}

/// A task as it waits for its names.
struct Waiting {
    ended: Ended,
    calls: Vec<(Called, Calls)>,
}

struct Group {
    tasks: u64,
    squares: Squares,
    models: Map<Called, Calls>,
    dearest: Dearest<Waiting>,
}

/// The sums of a day.
pub(super) struct Works {
    dearest_max: usize,
    groups: Map<(Name, Name), Group>,
}

impl Works {
    pub(super) fn new(dearest_max: usize) -> Self {
        Self { dearest_max, groups: Map::default() }
    }

    /// Adds a task. No call of a regular trace tries an earlier one again.
    pub(super) fn add(&mut self, ended: Ended, list: &CallList) -> Result<(), AttributionError> {
        let dearest_max = self.dearest_max;
        let group = self.groups.entry((ended.agent, ended.task_type)).or_insert_with(|| Group {
            tasks: 0,
            squares: Squares::default(),
            models: Map::default(),
            dearest: Dearest::new(dearest_max),
        });
        let mut cost = Amount::ZERO;
        for (called, calls) in &list.0 {
            group.models.entry(*called).or_default().add(calls)?;
            cost = cost.checked_add(calls.cost).ok_or(AttributionError::Overflow { field: "work.cost" })?;
        }
        add_count(&mut group.tasks, 1, "work.tasks")?;
        group.squares.add_square_of(cost).ok_or(AttributionError::Overflow { field: "work.squares" })?;
        group.dearest.offer(cost, ended.trace, || Waiting { ended, calls: list.0.clone() });
        Ok(())
    }

    /// Puts the sums into facts. `trace_name` names the trace of a row.
    pub(super) fn into_facts(
        self,
        facts: &mut DayFacts,
        batch: &Batch<'_>,
        trace_name: impl Fn(u64) -> Option<Id>,
    ) -> Result<(), AttributionError> {
        let name = |name: Name| batch.names.text(name).cloned();
        let models = |calls: &mut dyn Iterator<Item = (Called, Calls)>| {
            let mut models: BTreeMap<Id, Calls> = BTreeMap::new();
            // A model may be called as a cost bucket is.
            for (called, calls) in calls {
                models.entry(text(called, batch)).or_default().add(&calls)?;
            }
            Ok::<_, AttributionError>(models)
        };
        for ((agent, task_type), group) in self.groups {
            let key = WorkKey { agent: name(agent), task_type: name(task_type).unwrap_or_else(|| Id::from("")) };
            let mut failed = None;
            let dearest = group.dearest.map(|Waiting { ended, calls }| {
                let of_task = models(&mut calls.into_iter());
                let trace = trace_name(ended.root).ok_or(AttributionError::NoEvents);
                let named = of_task.and_then(|models| Ok((models, trace?)));
                let (models, trace) = named.unwrap_or_else(|error| {
                    failed = Some(error);
                    (BTreeMap::new(), Id::from(""))
                });
                TaskWork { trace, team: name(ended.team), ended_at_ns: ended.at_ns, retries: 0, models }
            });
            if let Some(error) = failed {
                return Err(error);
            }
            let models = models(&mut group.models.into_iter())?;
            let work = Work { tasks: group.tasks, retries: 0, squares: group.squares, models, dearest };
            facts.work.insert(key, work);
        }
        Ok(())
    }
}

fn text(called: Called, batch: &Batch<'_>) -> Id {
    let bucket = called.checked_sub(BUCKETS).map(|place| {
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u32 == place);
        Id::from(kind.map_or("", Kind::name))
    });
    bucket.or_else(|| batch.names.text(called).cloned()).unwrap_or_else(|| Id::from(""))
}
