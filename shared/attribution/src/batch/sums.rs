//! Sums by numbered names, and how they become facts.

use std::collections::BTreeSet;
use std::collections::HashMap; // tidy: allow(hash-order) every map ends in an ordered one before anybody sees it
use std::hash::Hash;

use chrono::NaiveDate;
use recoup_model::{Finding, FindingKind, Id, Kind, TokenClass};
use recoup_money::{Amount, PICO_PER_UNIT};
use rustc_hash::FxBuildHasher;

use super::{Batch, Name, place_of};
use crate::error::AttributionError;
use crate::facts::{
    AgentCost, CellKey, CellValue, DayFacts, Item, PoolUse, PoolUseKey, TaskKey, TaskOf, TaskValue, UserKey, UserValue,
};
use crate::settlement::{Bought, Code, CostKey, Numbering, Of, Rows, TasksOf, UseOf, Within};
use crate::sum::{add_amount, add_count};

pub(super) type Map<K, V> = HashMap<K, V, FxBuildHasher>; // tidy: allow(hash-order) as above

/// What was bought, as [`Item`] has it: a class of tokens, a reported cost, a frame, or from [`UNITS`] on a SKU.
pub(super) type ItemCode = u32;
pub(super) const REPORTED: ItemCode = 100;
pub(super) const FRAME: ItemCode = 101;
pub(super) const UNITS: ItemCode = 1_000;

/// The task of a trace; its place in a table stands in cells.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TaskCode {
    pub(super) agent: Name,
    pub(super) task_type: Name,
    pub(super) ended_on: NaiveDate,
    pub(super) timed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CellCode {
    pub(super) team: Name,
    pub(super) project: Name,
    pub(super) agent: Name,
    pub(super) task_type: Name,
    /// 0: none; a frame is bought from nobody.
    pub(super) product: u32,
    pub(super) pool: Name,
    /// Place of the task plus one; 0: none.
    pub(super) task: u32,
    pub(super) kind: Kind,
    pub(super) item: ItemCode,
}

impl Default for CellCode {
    fn default() -> Self {
        Self {
            team: 0,
            project: 0,
            agent: 0,
            task_type: 0,
            product: 0,
            pool: 0,
            task: 0,
            kind: Kind::Agent,
            item: FRAME,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct UserCode {
    pub(super) team: Name,
    pub(super) project: Name,
    pub(super) user: Name,
    pub(super) agent: Name,
    pub(super) task_type: Name,
    pub(super) model: Name,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TaskSumCode {
    pub(super) team: Name,
    pub(super) agent: Name,
    pub(super) task_type: Name,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PoolCode {
    pub(super) pool: Name,
    pub(super) team: Name,
    pub(super) via: Name,
    pub(super) agent: Name,
}

/// The sums of one day.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) cells: Map<CellCode, CellValue>,
    pub(super) users: Map<UserCode, UserValue>,
    pub(super) tasks: Map<TaskSumCode, TaskValue>,
    pub(super) pools: Map<PoolCode, PoolUse>,
    pub(super) agents: Map<Name, AgentCost>,
    task_places: Map<TaskCode, u32>,
    task_codes: Vec<TaskCode>,
    products: Vec<bool>,
    skus: Vec<bool>,
}

impl Sums {
    /// The place of a task plus one.
    pub(super) fn task(&mut self, code: TaskCode) -> u32 {
        if let Some(place) = self.task_places.get(&code) {
            return *place;
        }
        self.task_codes.push(code);
        let place = super::number(self.task_codes.len());
        self.task_places.insert(code, place);
        place
    }

    /// Notes that the price of a model was looked up,
    pub(super) fn look_up(&mut self, product: u32) {
        mark(&mut self.products, product);
    }

    /// or of a SKU.
    pub(super) fn look_up_sku(&mut self, sku: u32) {
        mark(&mut self.skus, sku);
    }

    pub(super) fn add_cell(
        &mut self,
        code: CellCode,
        cost_pico: i64,
        quantity: Amount,
        events: u64,
    ) -> Result<(), AttributionError> {
        let cell = self.cells.entry(code).or_default();
        add_amount(&mut cell.cost, Amount::from_pico(i128::from(cost_pico)), "cells.cost")?;
        add_amount(&mut cell.quantity, quantity, "cells.quantity")?;
        add_count(&mut cell.events, events, "cells.events")
    }

    /// The facts, but for what is counted by event.
    pub(super) fn into_facts(self, day: NaiveDate, batch: &Batch<'_>) -> DayFacts {
        let mut facts = DayFacts::empty(day);
        let name = |name: Name| batch.names.text(name).cloned();
        let required = |place: Name| name(place).unwrap_or_else(|| Id::from(""));
        let product = |place: u32| {
            let found = usize::try_from(place).ok().and_then(|place| batch.products.get(place));
            found.map_or((None, None), |product| (name(product.provider), name(product.model)))
        };
        let task = |place: u32| {
            let code = self.task_codes.get(usize::try_from(place).ok()?.checked_sub(1)?)?;
            let (agent, task_type) = (name(code.agent), required(code.task_type));
            Some(TaskOf { agent, task_type, ended_on: code.ended_on, timed: code.timed })
        };
        let ranks = Ranks { batch, tasks: &self.task_codes, names: batch.names.ranks() };
        facts.cells = ordered(
            self.cells,
            |code| ranks.cell(code),
            |code| {
                let (provider, model) = product(code.product);
                CellKey {
                    team: name(code.team),
                    project: name(code.project),
                    agent: name(code.agent),
                    task_type: name(code.task_type),
                    kind: code.kind,
                    provider,
                    model,
                    item: item(code.item, batch),
                    task: task(code.task),
                    pool: name(code.pool),
                    unobserved: false,
                }
            },
        );
        facts.users = ordered(
            self.users,
            |code| ranks.user(code),
            |code| UserKey {
                team: name(code.team),
                project: name(code.project),
                user: name(code.user),
                agent: name(code.agent),
                task_type: name(code.task_type),
                model: name(code.model),
                kind: code.kind,
            },
        );
        facts.tasks = ordered(
            self.tasks,
            |code| ranks.of([code.team, code.agent, code.task_type]),
            |code| TaskKey { team: name(code.team), agent: name(code.agent), task_type: required(code.task_type) },
        );
        facts.pools = ordered(
            self.pools,
            |code| ranks.of([code.pool, code.team, code.via, code.agent]),
            |code| PoolUseKey {
                pool: required(code.pool),
                team: name(code.team),
                via: name(code.via),
                agent: name(code.agent),
            },
        );
        facts.agents = ordered(self.agents, |agent| ranks.of([*agent]), |agent| required(*agent));
        facts.price_names = price_names(batch, (&self.products, &self.skus));
        facts
    }
}

impl Sums {
    /// What a settlement reads of them, and the prices that were looked up.
    pub(super) fn into_rows(self, batch: &Batch<'_>) -> (Rows, BTreeSet<String>) {
        let mut rows = Rows::default();
        let mut numbers = Numbers { batch, names: Numbering::default(), known: Vec::new() };
        for (code, value) in self.cells {
            rows.costs.push((numbers.cost(&code, &self.task_codes), value));
        }
        for (code, value) in self.tasks {
            let [team, agent, task_type] = [code.team, code.agent, code.task_type].map(|name| numbers.of(name));
            rows.tasks.push((TasksOf { team, agent, task_type }, value));
        }
        for (code, value) in self.pools {
            let [pool, team, via, agent] = [code.pool, code.team, code.via, code.agent].map(|name| numbers.of(name));
            rows.uses.push((UseOf { pool, team, via, agent }, value));
        }
        rows.names = numbers.names;
        (rows, price_names(batch, (&self.products, &self.skus)))
    }
}

/// Numbers of a settlement for those of a batch, which has more names.
struct Numbers<'b, 'r> {
    batch: &'b Batch<'r>,
    names: Numbering,
    known: Vec<Code>,
}

impl Numbers<'_, '_> {
    fn of(&mut self, name: Name) -> Code {
        let place = place_of(name);
        if self.known.len() <= place {
            self.known.resize(place.saturating_add(1), Code::NONE);
        }
        match self.known.get_mut(place) {
            Some(known) => {
                if *known == Code::NONE {
                    *known = self.names.code(self.batch.names.text(name));
                }
                *known
            }
            None => Code::NONE,
        }
    }

    fn cost(&mut self, code: &CellCode, tasks: &[TaskCode]) -> CostKey {
        let bought = usize::try_from(code.product).ok().and_then(|place| self.batch.products.get(place));
        let (provider, model) = bought.map_or((0, 0), |bought| (bought.provider, bought.model));
        let task = usize::try_from(code.task).unwrap_or_default().checked_sub(1).and_then(|at| tasks.get(at));
        let item = match code.item {
            REPORTED => Bought::Reported,
            FRAME => Bought::Frame,
            UNITS.. => {
                let sold = self.batch.skus.get(place_of(code.item.saturating_sub(UNITS)));
                let (sku, unit) = sold.map_or((0, 0), |sold| (sold.sku, sold.unit));
                Bought::Units { sku: self.of(sku), unit: self.of(unit) }
            }
            class => Bought::Tokens(class_of(class)),
        };
        Of {
            team: self.of(code.team),
            agent: self.of(code.agent),
            task_type: self.of(code.task_type),
            provider: self.of(provider),
            model: self.of(model),
            item,
            task: task.map(|task| Within {
                agent: self.of(task.agent),
                task_type: self.of(task.task_type),
                ended_on: task.ended_on,
                timed: task.timed,
            }),
            pool: self.of(code.pool),
        }
    }
}

/// What was looked up, by name.
fn price_names(batch: &Batch<'_>, (products, skus): (&[bool], &[bool])) -> BTreeSet<String> {
    let bought = marked(products).filter_map(|place| batch.products.get(place_of(place)));
    let bought = bought.filter(|product| (product.provider, product.model) != (0, 0));
    let name = |product: &super::Product| {
        crate::day::price_name(batch.names.text(product.provider), batch.names.text(product.model))
    };
    let sold = marked(skus).filter_map(|place| batch.names.text(batch.skus.get(place_of(place))?.sku));
    bought.map(name).chain(sold.map(crate::day::sku_name)).collect()
}

/// Names by their texts, so that codes are put in the order of what they stand for by comparing numbers.
struct Ranks<'b, 'r> {
    batch: &'b Batch<'r>,
    tasks: &'b [TaskCode],
    names: Vec<u32>,
}

impl Ranks<'_, '_> {
    fn of<const N: usize>(&self, names: [Name; N]) -> [u32; N] {
        let place = |name: Name| usize::try_from(name).ok().and_then(|name| self.names.get(name));
        names.map(|name| place(name).copied().unwrap_or_default())
    }

    fn cell(&self, code: &CellCode) -> impl Ord + use<> {
        let bought = usize::try_from(code.product).ok().and_then(|place| self.batch.products.get(place));
        let bought = bought.map_or([0; 2], |bought| self.of([bought.provider, bought.model]));
        let at = usize::try_from(code.task).unwrap_or_default().checked_sub(1);
        let task = at.and_then(|at| self.tasks.get(at));
        let task = task.map(|task| (self.of([task.agent, task.task_type]), task.ended_on, task.timed));
        let names = self.of([code.team, code.project, code.agent, code.task_type]);
        (names, code.kind, bought, item_rank(code.item), task, self.of([code.pool]))
    }

    fn user(&self, code: &UserCode) -> impl Ord + use<> {
        (self.of([code.team, code.project, code.user, code.agent, code.task_type, code.model]), code.kind)
    }
}

fn mark(marks: &mut Vec<bool>, place: u32) {
    let place = place_of(place);
    if marks.len() <= place {
        marks.resize(place.saturating_add(1), false);
    }
    if let Some(mark) = marks.get_mut(place) {
        *mark = true;
    }
}

fn marked(marks: &[bool]) -> impl Iterator<Item = u32> {
    (0_u32..).zip(marks).filter(|(_, marked)| **marked).map(|(place, _)| place)
}

/// A count of tokens as a quantity: 2^64 of them are below 2^104 picounits.
pub(super) fn whole(tokens: u64) -> Amount {
    Amount::from_pico(i128::from(tokens).saturating_mul(PICO_PER_UNIT))
}

/// Sums by what their codes stand for; no two codes stand for the same. `rank` is the order of `key`, as numbers: what is in
/// order already is put into a map several times faster. Where the two differ, the map puts it right.
fn ordered<C, V, R: Ord, K: Ord>(
    sums: Map<C, V>,
    rank: impl Fn(&C) -> R,
    key: impl Fn(&C) -> K,
) -> std::collections::BTreeMap<K, V> {
    let mut sums: Vec<(C, V)> = sums.into_iter().collect();
    sums.sort_by_cached_key(|(code, _)| rank(code));
    sums.into_iter().map(|(code, value)| (key(&code), value)).collect()
}

/// As [`Item`] is ordered, but for units, whose names say more.
const fn item_rank(code: ItemCode) -> (u8, ItemCode) {
    match code {
        REPORTED => (2, 0),
        FRAME => (4, 0),
        UNITS.. => (1, code),
        class => (0, class),
    }
}

fn class_of(code: ItemCode) -> TokenClass {
    TokenClass::ALL.get(place_of(code)).copied().unwrap_or(TokenClass::Input)
}

fn item(code: ItemCode, batch: &Batch<'_>) -> Item {
    match code {
        REPORTED => Item::Reported,
        FRAME => Item::Frame,
        UNITS.. => {
            let sold = batch.skus.get(place_of(code.saturating_sub(UNITS))).cloned().unwrap_or_default();
            let sku = batch.names.text(sold.sku).cloned().unwrap_or_else(|| Id::from(""));
            Item::Units { sku, unit: batch.names.text(sold.unit).cloned() }
        }
        class => Item::Tokens(class_of(class)),
    }
}

/// A finding of a regular trace, before it is put into words.
pub(super) fn finding(kind: FindingKind, subject: String, detail: String) -> Finding {
    Finding { severity: crate::notes::severity_of(kind), kind, subject, detail }
}
