//! Sums by numbered names, and how they become facts.

use std::collections::HashMap; // tidy: allow(hash-order) every map ends in an ordered one before anybody sees it
use std::hash::Hash;

use chrono::NaiveDate;
use recoup_model::{Finding, FindingKind, Id, Kind, TokenClass};
use recoup_money::{Amount, PICO_PER_UNIT};
use rustc_hash::FxBuildHasher;

use super::{Batch, Name};
use crate::error::AttributionError;
use crate::facts::{
    AgentCost, CellKey, CellValue, DayFacts, Item, PoolUse, PoolUseKey, TaskKey, TaskOf, TaskValue, UserKey, UserValue,
};
use crate::sum::{add_amount, add_count};

type Map<K, V> = HashMap<K, V, FxBuildHasher>; // tidy: allow(hash-order) as above

/// What was bought, as [`Item`] has it: a class of tokens, a reported cost, a frame.
pub(super) type ItemCode = u8;
pub(super) const REPORTED: ItemCode = 100;
pub(super) const FRAME: ItemCode = 101;

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

    /// Notes that a price was looked up.
    pub(super) fn look_up(&mut self, product: u32) {
        let place = usize::try_from(product).unwrap_or(usize::MAX);
        if self.products.len() <= place {
            self.products.resize(place.saturating_add(1), false);
        }
        if let Some(looked_up) = self.products.get_mut(place) {
            *looked_up = true;
        }
    }

    pub(super) fn add_cell(
        &mut self,
        code: CellCode,
        cost_pico: i64,
        tokens: u64,
        events: u64,
    ) -> Result<(), AttributionError> {
        let cell = self.cells.entry(code).or_default();
        // 2^64 tokens are below 2^104 picounits.
        let quantity = Amount::from_pico(i128::from(tokens).saturating_mul(PICO_PER_UNIT));
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
        facts.cells = ordered(self.cells, |code| {
            let (provider, model) = product(code.product);
            CellKey {
                team: name(code.team),
                project: name(code.project),
                agent: name(code.agent),
                task_type: name(code.task_type),
                kind: code.kind,
                provider,
                model,
                item: item(code.item),
                task: task(code.task),
                pool: name(code.pool),
                unobserved: false,
            }
        });
        facts.users = ordered(self.users, |code| UserKey {
            team: name(code.team),
            project: name(code.project),
            user: name(code.user),
            agent: name(code.agent),
            task_type: name(code.task_type),
            model: name(code.model),
            kind: code.kind,
        });
        facts.tasks = ordered(self.tasks, |code| TaskKey {
            team: name(code.team),
            agent: name(code.agent),
            task_type: required(code.task_type),
        });
        facts.pools = ordered(self.pools, |code| PoolUseKey {
            pool: required(code.pool),
            team: name(code.team),
            via: name(code.via),
            agent: name(code.agent),
        });
        facts.agents = ordered(self.agents, |agent| required(*agent));
        let looked_up = (0_u32..).zip(self.products).filter(|(_, looked_up)| *looked_up);
        facts.price_names = looked_up
            .map(|(place, _)| product(place))
            .filter(|(provider, model)| provider.is_some() || model.is_some())
            .map(|(provider, model)| crate::day::price_name(provider.as_ref(), model.as_ref()))
            .collect();
        facts
    }
}

/// Sums by what their codes stand for; no two codes stand for the same.
fn ordered<C, V, K: Ord>(sums: Map<C, V>, key: impl Fn(&C) -> K) -> std::collections::BTreeMap<K, V> {
    sums.into_iter().map(|(code, value)| (key(&code), value)).collect()
}

fn item(code: ItemCode) -> Item {
    match code {
        REPORTED => Item::Reported,
        FRAME => Item::Frame,
        class => Item::Tokens(TokenClass::ALL.get(usize::from(class)).copied().unwrap_or(TokenClass::Input)),
    }
}

/// A finding of a regular trace, before it is put into words.
pub(super) fn finding(kind: FindingKind, subject: String, detail: String) -> Finding {
    Finding { severity: crate::notes::severity_of(kind), kind, subject, detail }
}
