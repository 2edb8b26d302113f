//! Where the cost of a cell goes (PRC-0, PRC-2, PRC-4, PRC-6): read again from the prices and the organisation, apart from the
//! ledger, so that what it booked can be compared with it.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use recoup_attribution::facts::{CellKey, Item};
use recoup_ledger::{LineKey, PriceModel, PriceVersion, PricedKey};
use recoup_model::organisation::{Billing, History};
use recoup_model::{Id, Period};
use recoup_money::Amount;

/// The internal prices of a month.
#[derive(Debug)]
pub(crate) struct Tariffs<'a> {
    pub(crate) history: &'a History,
    first: NaiveDate,
    /// The day after the last night.
    last: NaiveDate,
    versions: BTreeMap<&'a PricedKey, Vec<&'a PriceVersion>>,
}

/// The price of one day, and the first day of its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) price: Amount,
    pub(crate) from: NaiveDate,
}

/// Where a cost goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination<'a> {
    /// Into a pool.
    Pool(&'a Id),
    /// Onto the account `unattributed`, or into the pool for it.
    Nobody,
    /// Onto a line of tokens or units.
    Tokens,
    /// Onto a line that passes tasks through.
    Passing(PricedKey),
    /// To where charges at a price meet actual cost.
    Priced(PricedKey),
}

impl<'a> Tariffs<'a> {
    pub(crate) fn new(
        (period, through): (Period, NaiveDate),
        history: &'a History,
        prices: impl IntoIterator<Item = &'a PriceVersion>,
    ) -> Self {
        let mut versions: BTreeMap<&PricedKey, Vec<&PriceVersion>> = BTreeMap::new();
        for version in prices {
            versions.entry(&version.key).or_default().push(version);
        }
        let last = through.checked_add_days(Days::new(1)).unwrap_or(through);
        Self { history, first: period.first_day(), last, versions }
    }

    /// The version in force on a day; a task that ended before the month has its first day's, one after it the last's.
    pub(crate) fn version(&self, key: &PricedKey, day: NaiveDate) -> Option<&'a PriceVersion> {
        let day = day.clamp(self.first, self.last);
        let holds = |version: &&&PriceVersion| version.from <= day && version.to.is_none_or(|to| day < to);
        self.versions.get(key)?.iter().find(holds).copied()
    }

    /// The price in force on a day. What had no price when the month was closed has its seed price, as it would have had.
    pub(crate) fn in_force(&self, key: &PricedKey, day: NaiveDate) -> Option<InForce> {
        if self.versions.contains_key(key) {
            return self.version(key, day).map(|version| InForce { price: version.price, from: version.from });
        }
        let day = day.clamp(self.first, self.last.pred_opt().unwrap_or(self.last));
        let seed = |day: NaiveDate| match key.model {
            PriceModel::Task => self.history.on(day).organisation.task_types.get(&key.task_type)?.seed_price,
            PriceModel::Time => None,
        };
        let price = seed(day)?;
        let earlier = self.first.iter_days().take_while(|earlier| *earlier <= day).collect::<Vec<_>>();
        let from = earlier.into_iter().rev().take_while(|earlier| seed(*earlier) == Some(price)).last();
        Some(InForce { price, from: from.unwrap_or(day) })
    }

    /// The pool for cost without a payer at the end of the month (ATR-6).
    pub(crate) fn unattributed_pool(&self) -> Option<&'a Id> {
        let through = self.last.pred_opt().unwrap_or(self.last);
        self.history.on(through).organisation.policy.unattributed_pool.as_ref()
    }

    /// Whether any price of these is known.
    pub(crate) fn first_price(&self, key: &PricedKey) -> Option<Amount> {
        Some(self.versions.get(key)?.first()?.price)
    }

    /// Where the cost of a cell goes.
    pub(crate) fn destination<'c>(&self, cell: &'c CellKey) -> Destination<'c> {
        if let Some(pool) = &cell.pool {
            return Destination::Pool(pool);
        }
        let Some(team) = &cell.team else { return Destination::Nobody };
        let Some(task) = &cell.task else { return Destination::Tokens };
        let billing = self.history.on(task.ended_on).organisation.billing(team, task.agent.as_deref());
        let (Some(agent), Some(model)) = (&task.agent, PriceModel::of(billing)) else { return Destination::Tokens };
        let key = PricedKey { agent: agent.clone(), task_type: task.task_type.clone(), model };
        let can_be_priced = model == PriceModel::Task || task.timed;
        if can_be_priced && self.in_force(&key, task.ended_on).is_some() {
            Destination::Priced(key)
        } else {
            Destination::Passing(key)
        }
    }

    /// The price key of a team's tasks on the day they ended; `None`: they are billed by token.
    pub(crate) fn key_on(&self, day: NaiveDate, team: &Id, (agent, task_type): (&Id, &Id)) -> Option<PricedKey> {
        let billing = self.history.on(day).organisation.billing(team, Some(agent));
        let model = PriceModel::of(billing)?;
        Some(PricedKey { agent: agent.clone(), task_type: task_type.clone(), model })
    }
}

/// Whether a cell that passes through belongs to a line of tokens or units.
pub(crate) fn is_of_line(cell: &CellKey, line: &LineKey) -> bool {
    let bought = match &cell.item {
        Item::Tokens(class) => (Some(*class), None, Some("token")),
        Item::Units { sku, unit } => (None, Some(sku), unit.as_deref()),
        Item::Reported => (None, None, Some("event")),
        Item::Frame | Item::Unpriced => return false,
    };
    line.billing == Some(Billing::Token)
        && (&cell.agent, &cell.task_type) == (&line.agent, &line.task_type)
        && (&cell.provider, &cell.model) == (&line.provider, &line.model)
        && bought == (line.class, line.sku.as_ref(), line.unit.as_deref())
}

/// The price key that a line names.
pub(crate) fn key_of_line(line: &LineKey) -> Option<PricedKey> {
    let model = PriceModel::of(line.billing?)?;
    Some(PricedKey { agent: line.agent.clone()?, task_type: line.task_type.clone()?, model })
}
