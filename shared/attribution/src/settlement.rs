//! What a settlement reads of a local day: rows of numbered names.
//!
//! A settlement goes through tens of thousands of rows a day several times. Names are numbered in the order of their bytes, so
//! that rows lie in the order of what they name, and are compared and grouped by numbers alone.

use std::collections::{BTreeMap, BTreeSet, HashMap}; // tidy: allow(hash-order) only asked, never walked

use chrono::NaiveDate;
use recoup_model::organisation::History;
use recoup_model::{Id, TokenClass};
use rustc_hash::FxBuildHasher;

use crate::error::AttributionError;
use crate::facts::{CellKey, CellValue, DayFacts, EventSet, Item, PoolUse, PoolUseKey, TaskKey, TaskOf, TaskValue};
use crate::grain::coarse;
use crate::merge::{add_cell, add_pool_use, add_tasks, merge_events};

/// The number of a name; [`Code::NONE`]: no name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u32);

impl Code {
    /// No name.
    pub const NONE: Self = Self(0);

    fn at(place: usize) -> Self {
        Self(u32::try_from(place).map_or(u32::MAX, |place| place.saturating_add(1)))
    }

    /// Its place among the names.
    #[must_use]
    pub fn place(self) -> Option<usize> {
        usize::try_from(self.0.checked_sub(1)?).ok()
    }

    /// Two codes as one number.
    #[must_use]
    pub const fn with(self, other: Self) -> u64 {
        let [a, b, c, d] = self.0.to_be_bytes();
        let [e, f, g, h] = other.0.to_be_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// What was bought, as [`Item`] has it and in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bought<N> {
    /// Tokens of a class.
    Tokens(TokenClass),
    /// Units of a SKU.
    Units {
        /// Which SKU.
        sku: N,
        /// Of what.
        unit: N,
    },
    /// A reported cost without usage.
    Reported,
    /// An event without a price.
    Unpriced,
    /// An `agent` frame.
    Frame,
}

impl<N> Bought<N> {
    /// The same with other names.
    pub fn map<M>(self, mut name: impl FnMut(N) -> M) -> Bought<M> {
        match self {
            Self::Tokens(class) => Bought::Tokens(class),
            Self::Units { sku, unit } => Bought::Units { sku: name(sku), unit: name(unit) },
            Self::Reported => Bought::Reported,
            Self::Unpriced => Bought::Unpriced,
            Self::Frame => Bought::Frame,
        }
    }
}

impl<'a> Bought<Option<&'a Id>> {
    /// An item by name.
    #[must_use]
    pub fn of(item: &'a Item) -> Self {
        match item {
            Item::Tokens(class) => Self::Tokens(*class),
            Item::Units { sku, unit } => Self::Units { sku: Some(sku), unit: unit.as_ref() },
            Item::Reported => Self::Reported,
            Item::Unpriced => Self::Unpriced,
            Item::Frame => Self::Frame,
        }
    }
}

/// The task that a cost belongs to, as [`TaskOf`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Within<N, T = N> {
    /// The root's agent.
    pub agent: N,
    /// The root's task type.
    pub task_type: T,
    /// The local day on which the root ended.
    pub ended_on: NaiveDate,
    /// Whether any span of the task has a duration.
    pub timed: bool,
}

/// The dimensions of a cost, in the order of [`CellKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Of<N, T = N> {
    /// The payer's team.
    pub team: N,
    /// The span's agent.
    pub agent: N,
    /// The span's task type.
    pub task_type: N,
    /// Who sold it.
    pub provider: N,
    /// Which model.
    pub model: N,
    /// What was bought.
    pub item: Bought<N>,
    /// The task that it belongs to, where there is one.
    pub task: Option<Within<N, T>>,
    /// The pool that it goes to.
    pub pool: N,
}

/// The dimensions of a cost by number.
pub type CostKey = Of<Code>;
/// The dimensions of a cost by name.
pub type Cost<'a> = Of<Option<&'a Id>, &'a Id>;

/// Whose tasks, by number, in the order of [`TaskKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TasksOf {
    /// The payer's team.
    pub team: Code,
    /// The root's agent.
    pub agent: Code,
    /// The root's task type.
    pub task_type: Code,
}

/// Who used a pool, by number, in the order of [`PoolUseKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UseOf {
    /// The pool.
    pub pool: Code,
    /// The payer's team.
    pub team: Code,
    /// The pool whose frame stands nearest above.
    pub via: Code,
    /// The root's agent.
    pub agent: Code,
}

/// Rows of a day while they are gathered, in any order.
#[derive(Debug, Default)]
pub struct Rows {
    /// Numbers for what the rows name.
    pub names: Numbering,
    /// Costs.
    pub costs: Vec<(CostKey, CellValue)>,
    /// Tasks that ended on the day.
    pub tasks: Vec<(TasksOf, TaskValue)>,
    /// Use of pools.
    pub uses: Vec<(UseOf, PoolUse)>,
}

/// Names, numbered as they come.
#[derive(Debug, Default)]
pub struct Numbering {
    codes: HashMap<Id, Code, FxBuildHasher>, // tidy: allow(hash-order) only asked, never walked
    names: Vec<Id>,
}

/// By the number of a name as it came: its number in the order of names.
struct Order(Vec<Code>);

/// What a settlement reads of a local day (of one lane, or of all).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementFacts {
    /// The local day.
    pub day: NaiveDate,
    names: Vec<Id>,
    costs: Vec<(CostKey, CellValue)>,
    tasks: Vec<(TasksOf, TaskValue)>,
    uses: Vec<(UseOf, PoolUse)>,
    /// The events of this day that counted, by UTC day.
    pub counted: BTreeMap<NaiveDate, EventSet>,
    /// Events of the day's traces that lie on other days.
    pub context: Option<EventSet>,
    /// Names that were looked up in the catalogue.
    pub price_names: BTreeSet<String>,
}

impl Numbering {
    /// The number of a name.
    pub fn code(&mut self, name: Option<&Id>) -> Code {
        let Some(name) = name else { return Code::NONE };
        if let Some(code) = self.codes.get(name) {
            return *code;
        }
        let code = Code::at(self.names.len());
        self.names.push(name.clone());
        self.codes.insert(name.clone(), code);
        code
    }

    fn in_order(self) -> (Vec<Id>, Order) {
        let mut by_name: Vec<(Id, usize)> = self.names.into_iter().zip(0..).collect();
        by_name.sort_unstable();
        let mut order = vec![Code::NONE; by_name.len()];
        for (at, (_, came)) in by_name.iter().enumerate() {
            if let Some(code) = order.get_mut(*came) {
                *code = Code::at(at);
            }
        }
        (by_name.into_iter().map(|(name, _)| name).collect(), Order(order))
    }
}

impl Order {
    fn of(&self, came: Code) -> Code {
        came.place().and_then(|place| self.0.get(place)).copied().unwrap_or_default()
    }

    fn cost(&self, key: CostKey) -> CostKey {
        let of = |code| self.of(code);
        Of {
            team: of(key.team),
            agent: of(key.agent),
            task_type: of(key.task_type),
            provider: of(key.provider),
            model: of(key.model),
            item: key.item.map(of),
            task: key.task.map(|task| Within { agent: of(task.agent), task_type: of(task.task_type), ..task }),
            pool: of(key.pool),
        }
    }

    fn tasks(&self, key: TasksOf) -> TasksOf {
        TasksOf { team: self.of(key.team), agent: self.of(key.agent), task_type: self.of(key.task_type) }
    }

    fn uses(&self, key: UseOf) -> UseOf {
        UseOf { pool: self.of(key.pool), team: self.of(key.team), via: self.of(key.via), agent: self.of(key.agent) }
    }
}

impl Rows {
    fn add_cell(&mut self, key: &CellKey, value: CellValue) {
        let mut code = |name: Option<&Id>| self.names.code(name);
        let within = |task: &TaskOf, code: &mut dyn FnMut(Option<&Id>) -> Code| Within {
            agent: code(task.agent.as_ref()),
            task_type: code(Some(&task.task_type)),
            ended_on: task.ended_on,
            timed: task.timed,
        };
        let key = Of {
            team: code(key.team.as_ref()),
            agent: code(key.agent.as_ref()),
            task_type: code(key.task_type.as_ref()),
            provider: code(key.provider.as_ref()),
            model: code(key.model.as_ref()),
            item: Bought::of(&key.item).map(&mut code),
            task: key.task.as_ref().map(|task| within(task, &mut code)),
            pool: code(key.pool.as_ref()),
        };
        self.costs.push((key, value));
    }

    fn add_tasks_and_uses(&mut self, facts: &DayFacts) {
        for (TaskKey { team, agent, task_type }, value) in &facts.tasks {
            let [team, agent] = [team, agent].map(|name| self.names.code(name.as_ref()));
            let task_type = self.names.code(Some(task_type));
            self.tasks.push((TasksOf { team, agent, task_type }, value.clone()));
        }
        for (PoolUseKey { pool, team, via, agent }, value) in &facts.pools {
            let pool = self.names.code(Some(pool));
            let [team, via, agent] = [team, via, agent].map(|name| self.names.code(name.as_ref()));
            self.uses.push((UseOf { pool, team, via, agent }, *value));
        }
    }

    /// Adds facts as fine as they are.
    fn add(&mut self, facts: &DayFacts) {
        facts.cells.iter().for_each(|(key, value)| self.add_cell(key, *value));
        self.add_tasks_and_uses(facts);
    }

    /// Adds facts no finer than a settlement needs.
    pub(crate) fn add_coarse(&mut self, facts: &DayFacts, history: &History) {
        for (key, value) in &facts.cells {
            let (key, value) = coarse(key, value, history);
            self.add_cell(&key, value);
        }
        self.add_tasks_and_uses(facts);
    }

    /// The rows in order, those of one key added.
    ///
    /// # Errors
    /// [`AttributionError::Overflow`].
    pub fn in_order(self, day: NaiveDate) -> Result<SettlementFacts, AttributionError> {
        let (names, order) = self.names.in_order();
        Ok(SettlementFacts {
            names,
            costs: table(self.costs, |key| order.cost(key), add_cell)?,
            tasks: table(self.tasks, |key| order.tasks(key), add_tasks)?,
            uses: table(self.uses, |key| order.uses(key), add_pool_use)?,
            ..SettlementFacts::empty(day)
        })
    }
}

/// The keys are sorted and each value is moved once: values are large.
fn table<K: Ord + Copy, V: Default>(
    mut rows: Vec<(K, V)>,
    in_order: impl Fn(K) -> K,
    add: impl Fn(&mut V, V) -> Result<(), AttributionError>,
) -> Result<Vec<(K, V)>, AttributionError> {
    rows.iter_mut().for_each(|(key, _)| *key = in_order(*key));
    if rows.is_sorted_by(|(one, _), (next, _)| one < next) {
        rows.shrink_to_fit();
        return Ok(rows);
    }
    let mut order: Vec<(K, usize)> = rows.iter().enumerate().map(|(at, (key, _))| (*key, at)).collect();
    order.sort_unstable();
    let mut sorted: Vec<(K, V)> = Vec::with_capacity(rows.len());
    for (key, at) in order {
        let Some((_, value)) = rows.get_mut(at) else { continue };
        let value = std::mem::take(value);
        match sorted.last_mut().filter(|(last, _)| *last == key) {
            Some((_, sum)) => add(sum, value)?,
            None => sorted.push((key, value)),
        }
    }
    Ok(sorted)
}

impl SettlementFacts {
    /// A day on which nothing happened.
    #[must_use]
    pub const fn empty(day: NaiveDate) -> Self {
        Self {
            day,
            names: Vec::new(),
            costs: Vec::new(),
            tasks: Vec::new(),
            uses: Vec::new(),
            counted: BTreeMap::new(),
            context: None,
            price_names: BTreeSet::new(),
        }
    }

    /// What a settlement reads of facts, whatever their grain.
    ///
    /// # Errors
    /// [`AttributionError::Overflow`].
    pub fn of(facts: &DayFacts) -> Result<Self, AttributionError> {
        let mut rows = Rows::default();
        rows.add(facts);
        Ok(rows.in_order(facts.day)?.counting(facts))
    }

    /// As [`SettlementFacts::of`], no finer than a settlement needs: a settlement of either is the same.
    ///
    /// # Errors
    /// [`AttributionError::Overflow`].
    pub fn coarse(facts: &DayFacts, history: &History) -> Result<Self, AttributionError> {
        let mut rows = Rows::default();
        rows.add_coarse(facts, history);
        Ok(rows.in_order(facts.day)?.counting(facts))
    }

    /// As [`SettlementFacts::of`], of several days.
    ///
    /// # Errors
    /// [`AttributionError::Overflow`].
    pub fn of_days(days: &BTreeMap<NaiveDate, DayFacts>) -> Result<BTreeMap<NaiveDate, Self>, AttributionError> {
        days.iter().map(|(day, facts)| Ok((*day, Self::of(facts)?))).collect()
    }

    pub(crate) fn counting(mut self, facts: &DayFacts) -> Self {
        self.counted.clone_from(&facts.counted);
        self.context = facts.context;
        self.price_names.clone_from(&facts.price_names);
        self
    }

    /// Adds the facts of another lane of the same day, as [`DayFacts::merge`] does.
    ///
    /// # Errors
    /// As [`DayFacts::merge`].
    pub fn merge(&mut self, other: Self) -> Result<(), AttributionError> {
        if self.day != other.day {
            return Err(AttributionError::OtherDay(self.day, other.day));
        }
        merge_events((&mut self.counted, &mut self.context), (other.counted, other.context))?;
        self.price_names.extend(other.price_names);
        let mut rows = Rows::default();
        // They keep their numbers.
        for name in &self.names {
            rows.names.code(Some(name));
        }
        let came = Order(other.names.iter().map(|name| rows.names.code(Some(name))).collect());
        rows.costs.append(&mut self.costs);
        rows.costs.extend(other.costs.into_iter().map(|(key, value)| (came.cost(key), value)));
        rows.tasks.append(&mut self.tasks);
        rows.tasks.extend(other.tasks.into_iter().map(|(key, value)| (came.tasks(key), value)));
        rows.uses.append(&mut self.uses);
        rows.uses.extend(other.uses.into_iter().map(|(key, value)| (came.uses(key), value)));
        let Self { names, costs, tasks, uses, .. } = rows.in_order(self.day)?;
        (self.names, self.costs, self.tasks, self.uses) = (names, costs, tasks, uses);
        Ok(())
    }

    /// Facts by name, with cells as fine as queries ask in place of the costs.
    #[must_use]
    pub fn with_cells(self, cells: BTreeMap<CellKey, CellValue>) -> DayFacts {
        let named = |code| self.name(code).cloned();
        let tasks = self.tasks.iter().map(|(of, value)| {
            let task_type = named(of.task_type).unwrap_or_default();
            (TaskKey { team: named(of.team), agent: named(of.agent), task_type }, value.clone())
        });
        let uses = self.uses.iter().map(|(of, value)| {
            let pool = named(of.pool).unwrap_or_default();
            (PoolUseKey { pool, team: named(of.team), via: named(of.via), agent: named(of.agent) }, *value)
        });
        let (tasks, pools) = (tasks.collect(), uses.collect());
        let Self { day, counted, context, price_names, .. } = self;
        DayFacts { cells, tasks, pools, counted, context, price_names, ..DayFacts::empty(day) }
    }

    /// The name of a number.
    #[must_use]
    pub fn name(&self, code: Code) -> Option<&Id> {
        self.names.get(code.place()?)
    }

    /// The number of a name, where any row has it.
    #[must_use]
    pub fn code(&self, name: &str) -> Option<Code> {
        self.names.binary_search_by(|known| known.as_bytes().cmp(name.as_bytes())).ok().map(Code::at)
    }

    /// Every name, in order.
    #[must_use]
    pub fn names(&self) -> &[Id] {
        &self.names
    }

    /// Costs, in order.
    #[must_use]
    pub fn costs(&self) -> &[(CostKey, CellValue)] {
        &self.costs
    }

    /// Tasks that ended on the day, in order.
    #[must_use]
    pub fn tasks(&self) -> &[(TasksOf, TaskValue)] {
        &self.tasks
    }

    /// Use of pools, in order.
    #[must_use]
    pub fn uses(&self) -> &[(UseOf, PoolUse)] {
        &self.uses
    }

    /// The dimensions of a cost by name.
    #[must_use]
    pub fn cost(&self, key: &CostKey) -> Cost<'_> {
        let name = |code| self.name(code);
        let within = |task: Within<Code>| {
            let Within { agent, task_type, ended_on, timed } = task;
            // Every task has a type.
            Some(Within { agent: name(agent), task_type: name(task_type)?, ended_on, timed })
        };
        Of {
            team: name(key.team),
            agent: name(key.agent),
            task_type: name(key.task_type),
            provider: name(key.provider),
            model: name(key.model),
            item: key.item.map(name),
            task: key.task.and_then(within),
            pool: name(key.pool),
        }
    }

    /// How many rows there are, and durations of tasks that are billed by time.
    #[must_use]
    pub fn size(&self) -> usize {
        let times = self.tasks.iter().map(|(_, task)| task.durations_ns.len().saturating_add(task.idles_ns.len()));
        let rows = [self.costs.len(), self.tasks.len(), self.uses.len()];
        rows.into_iter().chain(times).fold(0, usize::saturating_add)
    }
}
