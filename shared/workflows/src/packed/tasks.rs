//! Tasks and their durations in columns.

use recoup_attribution::SettlementFacts;
use recoup_attribution::facts::TaskValue;
use recoup_attribution::settlement::{Rows, TasksOf};
use recoup_model::Id;
use serde::{Deserialize, Serialize};

use super::columns::{Column, Numbered, Pico, Read, Runs, all_are};

/// Tasks, without the durations of each.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Tasks {
    texts: Vec<Id>,
    team: Runs,
    agent: Runs,
    task_type: Runs,
    tasks: Column<u64>,
    completed: Column<u64>,
    failed: Column<u64>,
    killed: Column<u64>,
    direct_cost: Column<Pico>,
    timed_cost: Column<Pico>,
    timed_tasks: Column<u64>,
    timed_completed: Column<u64>,
    active_ns: Column<u64>,
    idle_ns: Column<u64>,
}

impl Tasks {
    pub(super) fn of(rows: &[(TasksOf, TaskValue)], facts: &SettlementFacts) -> Self {
        let mut all = Self::default();
        let mut texts = Numbered::of(facts);
        for (key, value) in rows {
            texts.push([(&mut all.team, key.team), (&mut all.agent, key.agent), (&mut all.task_type, key.task_type)]);
            all.tasks.push(value.tasks);
            all.completed.push(value.completed);
            all.failed.push(value.failed);
            all.killed.push(value.killed);
            all.direct_cost.push(Pico(value.direct_cost));
            all.timed_cost.push(Pico(value.timed_cost));
            all.timed_tasks.push(value.timed_tasks);
            all.timed_completed.push(value.timed_completed);
            all.active_ns.push(value.active_ns);
            all.idle_ns.push(value.idle_ns);
        }
        all.texts = texts.texts;
        all
    }

    /// Adds the rows; `None` where a record does not hold what was written.
    pub(super) fn into_rows(self, rows: &mut Rows) -> Option<()> {
        let texts = Read::of(&self.texts, &mut rows.names);
        let names = [&self.team, &self.agent, &self.task_type];
        let counts = [&self.completed, &self.failed, &self.killed, &self.timed_tasks, &self.timed_completed];
        let times = [&self.active_ns, &self.idle_ns].map(|times| times.len());
        let lengths = names.map(Runs::len).into_iter().chain(counts.map(|counts| counts.len())).chain(times);
        all_are(lengths.chain([self.direct_cost.len(), self.timed_cost.len()]), self.tasks.len())?;
        let [mut team, mut agent, mut task_type] = names.map(Runs::rows);
        rows.tasks.reserve(self.tasks.len());
        for (at, tasks) in self.tasks.iter().enumerate() {
            let count = |column: &[u64]| column.get(at).copied();
            let key = TasksOf {
                team: texts.code(team.next()?)?,
                agent: texts.code(agent.next()?)?,
                task_type: texts.required(task_type.next()?)?,
            };
            let value = TaskValue {
                tasks: *tasks,
                completed: count(&self.completed)?,
                failed: count(&self.failed)?,
                killed: count(&self.killed)?,
                direct_cost: self.direct_cost.get(at)?.0,
                timed_cost: self.timed_cost.get(at)?.0,
                timed_tasks: count(&self.timed_tasks)?,
                timed_completed: count(&self.timed_completed)?,
                active_ns: count(&self.active_ns)?,
                idle_ns: count(&self.idle_ns)?,
                ..TaskValue::default()
            };
            rows.tasks.push((key, value));
        }
        Some(())
    }
}

/// Whose duration it is (the number of the row among the tasks), whether it is an idle one, and how long.
pub(super) type TimeKey = (u64, bool, u64);

/// Durations of tasks -> how many have it. A list of its own: a day of one team may have more than one record holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Times {
    row: Column<u64>,
    idle: Runs,
    ns: Column<u64>,
    tasks: Column<u64>,
}

impl Times {
    pub(super) fn of(rows: &[(TimeKey, u64)]) -> Self {
        let mut all = Self::default();
        for ((row, idle, ns), tasks) in rows {
            all.row.push(*row);
            all.idle.push(i64::from(*idle));
            all.ns.push(*ns);
            all.tasks.push(*tasks);
        }
        all
    }

    /// Adds the rows; `None` where a record does not hold what was written.
    pub(super) fn into_rows(self, rows: &mut Vec<(TimeKey, u64)>) -> Option<()> {
        all_are([self.idle.len(), self.ns.len(), self.tasks.len()].into_iter(), self.row.len())?;
        let mut idle = self.idle.rows();
        for (at, row) in self.row.iter().enumerate() {
            rows.push(((*row, idle.next()? != 0, *self.ns.get(at)?), *self.tasks.get(at)?));
        }
        Some(())
    }
}
