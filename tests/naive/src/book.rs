//! Lines of statements and the accounts beside them, while a period is added up.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use num_traits::Zero;
use recoup_model::{Id, Period};

use crate::facts::shown;
use crate::number::{Q, text};
use crate::prices::{Key, State, Version};

/// The dimensions of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineKey {
    /// `charge`, `pool`, `variance`, `correction`.
    pub kind: &'static str,
    /// Agent.
    pub agent: Option<Id>,
    /// Task type.
    pub task_type: Option<Id>,
    /// Pool.
    pub pool: Option<Id>,
    /// Billing model.
    pub billing: Option<&'static str>,
    /// Seller.
    pub provider: Option<Id>,
    /// Model.
    pub model: Option<Id>,
    /// Token class.
    pub class: Option<&'static str>,
    /// SKU, or the id of a bill.
    pub sku: Option<Id>,
    /// First day of the price version.
    pub from: Option<NaiveDate>,
    /// Of what the quantity is.
    pub unit: Option<Id>,
    /// Of a markup: which one.
    pub markup: Option<String>,
    /// Of a correction: the period and the kind of what it corrects.
    pub original: Option<(Period, &'static str)>,
}

impl LineKey {
    /// A line of a kind.
    #[must_use]
    pub fn of(kind: &'static str) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl std::fmt::Display for LineKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.kind)?;
        let ids = [
            ("agent", &self.agent),
            ("type", &self.task_type),
            ("pool", &self.pool),
            ("provider", &self.provider),
            ("model", &self.model),
            ("sku", &self.sku),
            ("unit", &self.unit),
        ];
        for (name, id) in ids.into_iter().filter(|(_, id)| id.is_some()) {
            write!(out, " {name}={}", shown(id.as_ref()))?;
        }
        for (name, value) in [("billing", self.billing), ("class", self.class)] {
            if let Some(value) = value {
                write!(out, " {name}={value}")?;
            }
        }
        if let Some(markup) = &self.markup {
            write!(out, " markup={markup}")?;
        }
        if let Some(from) = self.from {
            write!(out, " from={from}")?;
        }
        if let Some((period, kind)) = self.original {
            write!(out, " of={period}/{kind}")?;
        }
        Ok(())
    }
}

/// What a line holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// How many of its unit.
    pub quantity: Option<Q>,
    /// What they cost.
    pub exact: Q,
}

impl Row {
    /// Adds another, so many times.
    pub fn add(&mut self, other: &Self, times: &Q) {
        self.exact += &other.exact * times;
        if let Some(quantity) = &other.quantity {
            self.quantity = Some(self.quantity.take().unwrap_or_default() + quantity * times);
        }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_zero() && self.quantity.as_ref().is_none_or(Zero::is_zero)
    }
}

/// Who bears a cost in the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bearer {
    /// A team.
    Team(Id),
    /// One of the accounts `unattributed`, `unallocated`, `absorbed`.
    Account(&'static str),
}

impl Bearer {
    /// The bearer of a payer's cost.
    #[must_use]
    pub fn of(payer: Option<&Id>) -> Self {
        payer.map_or(Self::Account("unattributed"), |team| Self::Team(team.clone()))
    }

    /// What breaks ties (SPL-1): the accounts that are no teams come before every team.
    #[must_use]
    pub fn tie_break(&self) -> String {
        match self {
            Self::Team(team) => format!("team {team}"),
            Self::Account(account) => format!("account {account}"),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Team(team) => team.to_string(),
            Self::Account(account) => (*account).to_owned(),
        }
    }
}

/// Variance of one agent, task type and billing model (LED-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variance {
    /// Of what.
    pub key: Key,
    /// Charges less actual cost, and the parts of it: charges, actual, price part, usage part, carried in and out.
    pub figures: [Q; 6],
}

/// How a pool was split (POOL-3): by consumer the fraction of its full cost, and the full cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSplit {
    /// The pool.
    pub pool: Id,
    /// Events and bills.
    pub own: Q,
    /// With what other pools passed on.
    pub full: Q,
    /// The basis, after a fallback.
    pub basis: &'static str,
    /// Fractions by consumer: `team T`, `pool P`, or an account.
    pub ratios: BTreeMap<String, Q>,
}

/// What one period hands to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Smoothed sums.
    pub prices: BTreeMap<Key, State>,
    /// Variance carried in (LED-3).
    pub carried: BTreeMap<Key, Q>,
}

/// A settled period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Lines by team.
    pub lines: BTreeMap<Id, BTreeMap<LineKey, Row>>,
    /// The terms of CLO-4.
    pub totals: BTreeMap<&'static str, Q>,
    /// Variances.
    pub variances: Vec<Variance>,
    /// Pools.
    pub pools: Vec<PoolSplit>,
    /// Price versions.
    pub prices: Vec<Version>,
    /// Unpriced events by payer, and unpriced bills by owner.
    pub unpriced: BTreeMap<Option<Id>, u64>,
    /// Bills with a day without a rate.
    pub unpriced_bills: BTreeSet<Id>,
    /// What the next period opens with.
    pub closing: Opening,
}

impl Settlement {
    /// Adds to a line.
    pub fn add_line(&mut self, team: &Id, key: LineKey, quantity: Option<Q>, exact: &Q) {
        let lines = self.lines.entry(team.clone()).or_default();
        lines.entry(key).or_default().add(&Row { quantity, exact: exact.clone() }, &crate::number::whole(1));
    }

    /// Adds to a term of CLO-4.
    pub fn add_total(&mut self, name: &'static str, amount: &Q) {
        *self.totals.entry(name).or_insert_with(Q::zero) += amount;
    }

    /// A term of CLO-4.
    #[must_use]
    pub fn total(&self, name: &str) -> Q {
        self.totals.get(name).cloned().unwrap_or_else(Q::zero)
    }

    /// Sum of all lines.
    #[must_use]
    pub fn exact_total(&self) -> Q {
        self.lines.values().flat_map(BTreeMap::values).map(|row| &row.exact).sum()
    }

    /// CLO-4, to the last picodollar.
    pub fn assert_ties(&self) {
        let left = self.exact_total() + self.total("unattributed") + self.total("unallocated");
        let right = ["priced_cost", "markup", "corrections", "absorbed", "carried_out"].map(|name| self.total(name));
        let right = right.into_iter().sum::<Q>() - self.total("carried_in");
        assert_eq!(left, right, "clo_4: {} is not {}", text(&left), text(&right));
    }
}
