//! Markup: lines of their own beside the charges that they are added to (PRC-5), credited to the account `markup`.
//!
//! A markup belongs to the price model of (team, root's agent), as it stood on the day the task ended. Cost outside any task
//! has that of the span's agent, where that is billed by token; under another model it passes through at actual cost (PRC-0).

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_attribution::settlement::Cost;
use recoup_model::Id;
use recoup_model::organisation::{Billing, Markup};
use recoup_money::Amount;
use recoup_pricing::internal::markup::{markup_price, task_markup, time_markup, token_markup};
use recoup_pricing::internal::time::task_minutes_pico;

use crate::draft::Draft;
use crate::error::{LedgerError, fits};
use crate::journal::MARKUP;
use crate::line::{Bearer, Line, LineKey, LineKind, PricedKey};
use crate::prices::whole;
use crate::settle::PeriodInput;
use crate::tasks::sum_ns;

/// The markups of a period while they are added up.
#[derive(Debug)]
pub(crate) struct Markups<'a> {
    /// `None`: no version of the organisation has any.
    input: Option<PeriodInput<'a>>,
    sums: BTreeMap<(Id, Marked), Added>,
    /// What passes through on the day that is being summed: it is rounded once a day.
    today: BTreeMap<(Id, Marked), Amount>,
}

/// What a markup is added to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Marked {
    agent: Option<Id>,
    task_type: Option<Id>,
    billing: Billing,
    markup: Markup,
}

/// What is added, and to how much.
#[derive(Debug, Default)]
struct Added {
    exact: Amount,
    charges: Amount,
    tasks: u64,
    active_ns: u64,
}

impl<'a> Markups<'a> {
    /// Nothing yet.
    pub(crate) fn of(input: &PeriodInput<'a>) -> Self {
        let any = input.history.versions().iter().any(|version| version.organisation.has_markup());
        Self { input: any.then_some(*input), sums: BTreeMap::new(), today: BTreeMap::new() }
    }

    /// Cost of a cell that is billed by token or lies outside any task.
    pub(crate) fn pass_through(&mut self, day: NaiveDate, of: &Cost<'_>, cost: Amount) -> Result<(), LedgerError> {
        let (Some(input), Some(team)) = (&self.input, of.team) else { return Ok(()) };
        let (agent, day) = of.task.map_or((of.agent, day), |task| (task.agent, task.ended_on));
        let task_type = of.task.map_or(of.task_type, |task| Some(task.task_type));
        let organisation = &input.history.on(day).organisation;
        let named = agent.map(|agent| &**agent);
        let by_token = organisation.billing(team, named) == Billing::Token;
        let Some(markup) = organisation.markup(team, named).filter(|_| by_token && !cost.is_zero()) else {
            return Ok(());
        };
        let marked = Marked { agent: agent.cloned(), task_type: task_type.cloned(), billing: Billing::Token, markup };
        crate::charges::add(&mut self.today, (team.clone(), marked), cost)
    }

    /// Takes the markup of what passed through on one day, once (MON-1).
    pub(crate) fn end_day(&mut self) -> Result<(), LedgerError> {
        for (key, charges) in std::mem::take(&mut self.today) {
            let exact = fits(token_markup(key.1.markup, charges), "a markup")?;
            self.sums.entry(key).or_default().add(&Added { exact, charges, ..Added::default() })?;
        }
        Ok(())
    }

    /// Completed tasks that were charged together so much at a price.
    pub(crate) fn tasks(
        &mut self,
        of: (&Id, &PricedKey, NaiveDate),
        price: Amount,
        (charges, tasks): (Amount, u64),
    ) -> Result<(), LedgerError> {
        let Some(key) = self.marked(of) else { return Ok(()) };
        let exact = fits(task_markup(key.1.markup, price, tasks), "a markup")?;
        self.sums.entry(key).or_default().add(&Added { exact, charges, tasks, ..Added::default() })
    }

    /// Active nanoseconds of each task -> tasks, that were charged together so much at a price per minute.
    pub(crate) fn minutes(
        &mut self,
        of: (&Id, &PricedKey, NaiveDate),
        price: Amount,
        (charges, durations): (Amount, &BTreeMap<u64, u64>),
    ) -> Result<(), LedgerError> {
        let Some(key) = self.marked(of) else { return Ok(()) };
        let each = |(ns, count): (&u64, &u64)| time_markup(key.1.markup, price, *ns)?.checked_mul(i128::from(*count));
        let exact = durations.iter().map(each).collect::<Option<Vec<_>>>().and_then(Amount::checked_sum);
        let (exact, active_ns) = (fits(exact, "a markup")?, sum_ns(durations)?);
        self.sums.entry(key).or_default().add(&Added { exact, charges, active_ns, ..Added::default() })
    }

    fn marked(&self, (team, key, day): (&Id, &PricedKey, NaiveDate)) -> Option<(Id, Marked)> {
        let markup = self.input.as_ref()?.history.on(day).organisation.markup(team, Some(&key.agent))?;
        let (agent, task_type) = (Some(key.agent.clone()), Some(key.task_type.clone()));
        Some((team.clone(), Marked { agent, task_type, billing: key.model.billing(), markup }))
    }

    /// Writes the lines.
    pub(crate) fn book(self, draft: &mut Draft) -> Result<(), LedgerError> {
        let Some(input) = self.input else { return Ok(()) };
        let currency = Id::from(input.organisation().organisation.currency.code());
        for ((team, marked), added) in self.sums {
            draft.bear(MARKUP, &Bearer::Team(team), line(&marked, &added, &currency)?)?;
        }
        Ok(())
    }
}

impl Added {
    fn add(&mut self, more: &Self) -> Result<(), LedgerError> {
        self.exact = fits(self.exact.checked_add(more.exact), "a markup")?;
        self.charges = fits(self.charges.checked_add(more.charges), "a markup")?;
        self.tasks = fits(self.tasks.checked_add(more.tasks), "a markup")?;
        self.active_ns = fits(self.active_ns.checked_add(more.active_ns), "a markup")?;
        Ok(())
    }
}

/// So many tasks or minutes, or so much money charged, at the price of the markup.
fn line(marked: &Marked, added: &Added, currency: &Id) -> Result<Line, LedgerError> {
    let (unit, quantity) = match (marked.markup, marked.billing) {
        (Markup::Percent(_), _) | (Markup::Fixed(_), Billing::Token) => (currency.clone(), added.charges),
        (Markup::Fixed(_), Billing::Task) => (Id::from("task"), whole(added.tasks)?),
        (Markup::Fixed(_), Billing::Time) => (Id::from("minute"), task_minutes_pico(added.active_ns)),
    };
    let key = LineKey {
        agent: marked.agent.clone(),
        task_type: marked.task_type.clone(),
        billing: Some(marked.billing),
        unit: Some(unit),
        markup: Some(marked.markup),
        ..LineKey::of(LineKind::Markup)
    };
    let mut line = Line::new(key, added.exact).with_quantity(quantity);
    line.price = markup_price(marked.markup);
    Ok(line)
}
