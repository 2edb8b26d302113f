//! Charges of tasks and minutes at the price in force when the task ended (PRC-1, PRC-3, PRC-4).

use std::collections::BTreeMap;

use chrono::NaiveDate;
use recoup_attribution::facts::TaskValue;
use recoup_model::organisation::Billing;
use recoup_model::{Id, Organisation};
use recoup_money::Amount;
use recoup_pricing::internal::task::task_charge;
use recoup_pricing::internal::time::{task_minutes_pico, time_charge};

use crate::charges::{Sums, add, pass_through_key, priced_line_key};
use crate::draft::Draft;
use crate::error::{LedgerError, fits};
use crate::journal::{PROVIDER, team_account, variance_account};
use crate::line::{Bearer, Line, LineKey, LineKind, PriceModel, PricedKey};
use crate::markup::Markups;
use crate::parts::Part;
use crate::prices::{ByPrice, InternalPrices, Priced, Rate, whole};
use crate::settle::PeriodInput;

/// The tasks of one payer, agent and task type that ended on one day.
struct Ended<'a> {
    team: &'a Id,
    /// Its number among the teams.
    payer: usize,
    day: NaiveDate,
    key: &'a PricedKey,
    rate: Option<Rate>,
    start: Option<Amount>,
    value: &'a TaskValue,
}

/// What a settlement is made in.
struct Books<'a, 'b> {
    draft: &'a mut Draft,
    sums: &'a mut Sums,
    markups: &'a mut Markups<'b>,
    minutes: Minutes,
}

/// Charges of completed tasks, which wait for their sum: one posting a team, one line a price version.
#[derive(Default)]
struct Completed {
    at_start: Amount,
    /// By number of the team.
    teams: Vec<Option<Charged>>,
}

/// What one team is charged.
#[derive(Default)]
struct Charged {
    exact: Amount,
    /// By first day of the price version.
    lines: Vec<CompletedLine>,
}

struct CompletedLine {
    rate: Rate,
    exact: Amount,
    completed: u64,
}

/// Charges by time wait for their sum, by team and line: the minutes of a line are converted once.
type Minutes = BTreeMap<(Id, LineKey), (PricedKey, u64, Line)>;

/// Charges the tasks of a part of the payers that ended in the period at the price in force on the day (PRC-3).
pub(crate) fn charge_tasks(
    input: &PeriodInput<'_>,
    prices: &InternalPrices,
    part: Part<'_, '_>,
    draft: &mut Draft,
    (sums, markups): (&mut Sums, &mut Markups<'_>),
) -> Result<(), LedgerError> {
    let mut books = Books { draft, sums, markups, minutes: Minutes::new() };
    let mut payers: BTreeMap<&Id, usize> = BTreeMap::new();
    let mut all = ByPrice::<'_, '_, Completed>::new(prices);
    for facts in input.facts() {
        let organisation = &input.history.on(facts.day).organisation;
        for (team, rows) in part.of(facts, facts.tasks(), |task| task.team) {
            let Some(team) = team else { continue };
            let next = payers.len();
            let payer = *payers.entry(team).or_insert(next);
            for of_agent in rows.chunk_by(|(one, _), (next, _)| one.agent == next.agent) {
                let agent = of_agent.first().and_then(|(task, _)| facts.name(task.agent));
                let model = agent.and_then(|agent| PriceModel::of(organisation.billing(team, Some(agent))));
                let Some(model) = model else { continue };
                for (task, value) in of_agent {
                    let Some(priced) = all.of(facts, (task.agent, task.task_type), model) else { continue };
                    let (rate, start) = (priced.in_force(facts.day), priced.start);
                    let Priced { key, sum: completed, .. } = priced;
                    let ended = Ended { team, payer, day: facts.day, key, rate, start, value };
                    match model {
                        PriceModel::Task => books.charge_completed(&ended, completed)?,
                        PriceModel::Time => {
                            books.charge_durations(input, &ended)?;
                            books.charge_idle(input, &ended)?;
                        }
                    }
                }
            }
        }
    }
    books.book_minutes()?;
    books.post_completed(all.into_sums().collect(), &payers)
}

impl Completed {
    /// Adds what a team is charged at a rate.
    fn add(&mut self, payer: usize, rate: Rate, (exact, completed): (Amount, u64)) -> Result<(), LedgerError> {
        if self.teams.len() <= payer {
            self.teams.resize_with(payer.saturating_add(1), || None);
        }
        let Some(charged) = self.teams.get_mut(payer) else { return Ok(()) };
        let charged = charged.get_or_insert_default();
        charged.exact = fits(charged.exact.checked_add(exact), "a sum of costs")?;
        // Days come in order, and with them the versions.
        match charged.lines.last_mut().filter(|last| last.rate == rate) {
            Some(last) => {
                last.exact = fits(last.exact.checked_add(exact), "a line")?;
                last.completed = fits(last.completed.checked_add(completed), "the number of tasks")?;
            }
            None => charged.lines.push(CompletedLine { rate, exact, completed }),
        }
        Ok(())
    }
}

impl Books<'_, '_> {
    fn charge_completed(&mut self, ended: &Ended<'_>, sums: &mut Completed) -> Result<(), LedgerError> {
        let completed = ended.value.completed;
        let Some(rate) = ended.rate else { return self.count_passed(ended, completed) };
        let times = |price: Amount| fits(task_charge(price, completed), "a task charge");
        let exact = times(rate.price)?;
        let at_start = times(ended.start.unwrap_or(rate.price))?;
        self.markups.tasks((ended.team, ended.key, ended.day), rate.price, (exact, completed))?;
        sums.at_start = fits(sums.at_start.checked_add(at_start), "a charge at the first rate")?;
        sums.add(ended.payer, rate, (exact, completed))
    }

    /// Posts what completed tasks come to, team by team in order of agent and task type, as lines stand in a statement.
    fn post_completed(
        &mut self,
        mut all: Vec<(PricedKey, Completed)>,
        payers: &BTreeMap<&Id, usize>,
    ) -> Result<(), LedgerError> {
        all.retain(|(_, completed)| !completed.teams.is_empty());
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let accounts: Vec<String> = all.iter().map(|(key, _)| variance_account(key)).collect();
        for (team, payer) in payers {
            let (bearer, unit) = (team_account(team, LineKind::Charge), Id::from("task"));
            let of_team = all.iter().filter_map(|(_, completed)| completed.teams.get(*payer)?.as_ref());
            let count = of_team.fold(0_usize, |count, charged| count.saturating_add(charged.lines.len()));
            let mut lines = Vec::with_capacity(count);
            for ((key, completed), account) in all.iter_mut().zip(&accounts) {
                let Some(Some(charged)) = completed.teams.get_mut(*payer) else { continue };
                let before = lines.len();
                // Names of this team's own: several workers that count the users of one name wait for each other.
                let own = |name: &Id| Some(Id::from(&**name));
                let key = LineKey { agent: own(&key.agent), task_type: own(&key.task_type), ..priced_line_key(key) };
                for CompletedLine { rate, exact, completed } in std::mem::take(&mut charged.lines) {
                    let key = LineKey { from: Some(rate.from), unit: Some(unit.clone()), ..key.clone() };
                    let line = Line::new(key, exact).with_quantity(whole(completed)?);
                    if !line.is_empty() {
                        lines.push(Line { price: Some(rate.price), ..line });
                    }
                }
                if lines.len() > before {
                    self.draft.balances.transfer(account, &bearer, charged.exact)?;
                }
            }
            self.draft.note_priced(team, lines)?;
        }
        for (key, completed) in all {
            let tally = self.sums.tallies.entry(key).or_default();
            tally.at_start = fits(tally.at_start.checked_add(completed.at_start), "a charge at the first rate")?;
            for (team, payer) in payers {
                if let Some(Some(charged)) = completed.teams.get(*payer) {
                    add(&mut tally.charges, (*team).clone(), charged.exact)?;
                }
            }
        }
        Ok(())
    }

    fn charge_durations(&mut self, input: &PeriodInput<'_>, ended: &Ended<'_>) -> Result<(), LedgerError> {
        let TaskValue { durations_ns: durations, tasks, timed_tasks, completed, timed_completed, .. } = ended.value;
        let (all, timed) =
            if input.is_before_rules_6() { (*tasks, *timed_tasks) } else { (*completed, *timed_completed) };
        let Some(rate) = ended.rate else { return self.count_passed(ended, all) };
        // Tasks without a duration pass through (PRC-4).
        self.count_passed(ended, all.saturating_sub(timed))?;
        let exact = charge_each(rate.price, durations)?;
        self.tally(ended, exact, charge_each(ended.start.unwrap_or(rate.price), durations)?)?;
        self.markups.minutes((ended.team, ended.key, ended.day), rate.price, (exact, durations))?;
        let mut line = Line::new(ended.line_key(rate, "minute"), exact);
        line.price = Some(rate.price);
        self.add_minutes(ended, sum_ns(durations)?, line)
    }

    /// Idle minutes are always shown (PRC-4). They are charged, at a rate that the organisation states, where the active
    /// ones have a price; tasks that pass through at actual cost have nothing added.
    fn charge_idle(&mut self, input: &PeriodInput<'_>, ended: &Ended<'_>) -> Result<(), LedgerError> {
        let idle_ns = ended.value.idle_ns;
        let rate_on = |organisation: &Organisation| organisation.idle_rate(&ended.key.agent);
        let rate = rate_on(&input.history.on(ended.day).organisation);
        let idles = &ended.value.idles_ns;
        let charged_ns = match ended.rate {
            _ if rate.is_zero() => idle_ns,
            Some(_) => sum_ns(idles)?.min(idle_ns),
            None => 0,
        };
        if charged_ns > 0 {
            let exact = charge_each(rate, idles)?;
            let at_start = charge_each(rate_on(first_by_time(input, &ended.key.agent)), idles)?;
            if ended.rate.is_some() && (exact, at_start) != (Amount::ZERO, Amount::ZERO) {
                self.tally(ended, exact, at_start)?;
            }
            let from = Some(held_since(input, ended.day, rate_on));
            let mut line = Line::new(LineKey { from, ..ended.idle_key() }, exact);
            line.price = Some(rate);
            self.add_minutes(ended, charged_ns, line)?;
        }
        match idle_ns.saturating_sub(charged_ns) {
            0 => Ok(()),
            rest_ns => self.add_minutes(ended, rest_ns, Line::new(ended.idle_key(), Amount::ZERO)),
        }
    }

    fn add_minutes(&mut self, ended: &Ended<'_>, ns: u64, line: Line) -> Result<(), LedgerError> {
        match self.minutes.get_mut(&(ended.team.clone(), line.key.clone())) {
            Some((_, sum, known)) => {
                *sum = fits(sum.checked_add(ns), "the time of a line")?;
                fits(known.checked_add(&line), "a line")
            }
            None => {
                self.minutes.insert((ended.team.clone(), line.key.clone()), (ended.key.clone(), ns, line));
                Ok(())
            }
        }
    }

    fn book_minutes(&mut self) -> Result<(), LedgerError> {
        for ((team, _), (key, ns, line)) in std::mem::take(&mut self.minutes) {
            let line = line.with_quantity(task_minutes_pico(ns));
            self.draft.bear(&variance_account(&key), &Bearer::Team(team), line)?;
        }
        Ok(())
    }

    fn tally(&mut self, ended: &Ended<'_>, exact: Amount, at_start: Amount) -> Result<(), LedgerError> {
        let tally = self.sums.tallies.entry(ended.key.clone()).or_default();
        tally.at_start = fits(tally.at_start.checked_add(at_start), "a charge at the first rate")?;
        add(&mut tally.charges, ended.team.clone(), exact)
    }

    /// Counts tasks onto the line that passes their actual cost through.
    fn count_passed(&mut self, ended: &Ended<'_>, tasks: u64) -> Result<(), LedgerError> {
        let line = Line::new(pass_through_key(ended.key), Amount::ZERO).with_quantity(whole(tasks)?);
        self.draft.bear(PROVIDER, &Bearer::Team(ended.team.clone()), line)
    }
}

impl Ended<'_> {
    fn line_key(&self, rate: Rate, unit: &str) -> LineKey {
        LineKey { from: Some(rate.from), unit: Some(Id::from(unit)), ..priced_line_key(self.key) }
    }

    fn idle_key(&self) -> LineKey {
        LineKey { unit: Some(Id::from("idle minute")), ..priced_line_key(self.key) }
    }
}

/// Nanoseconds of each task -> tasks, charged at a rate per minute, each task rounded once (MON-1).
fn charge_each(rate: Amount, durations: &BTreeMap<u64, u64>) -> Result<Amount, LedgerError> {
    let each = durations.iter().map(|(ns, count)| time_charge(rate, *ns)?.checked_mul(i128::from(*count)));
    fits(each.collect::<Option<Vec<_>>>().and_then(Amount::checked_sum), "a time charge")
}

/// All nanoseconds of these tasks.
pub(crate) fn sum_ns(durations: &BTreeMap<u64, u64>) -> Result<u64, LedgerError> {
    let sum = durations.iter().try_fold(0_u64, |sum, (ns, count)| sum.checked_add(ns.checked_mul(*count)?));
    fits(sum, "the time of a line")
}

/// The first day of the period from which on a figure of the organisation was, without a break, what it is on `day`.
fn held_since(input: &PeriodInput<'_>, day: NaiveDate, figure: impl Fn(&Organisation) -> Amount) -> NaiveDate {
    let first = input.period.first_day();
    let mut starts: Vec<NaiveDate> = input.history.versions().iter().filter_map(|version| version.effective).collect();
    starts.retain(|start| *start > first && *start <= day);
    starts.sort_unstable();
    let held = figure(&input.history.on(day).organisation);
    let before = |start: &NaiveDate| start.pred_opt().unwrap_or(first);
    let changed = |start: &NaiveDate| figure(&input.history.on(before(start)).organisation) != held;
    starts.into_iter().rev().find(changed).unwrap_or(first)
}

/// The organisation of the first day of the period on which somebody is billed by time for an agent (LED-2: a new model's
/// first rate); where there is none, that of the period's first day.
fn first_by_time<'a>(input: &PeriodInput<'a>, agent: &str) -> &'a Organisation {
    let days = input.local_days().map(|day| &*input.history.on(day).organisation);
    let first = days.into_iter().find(|organisation| organisation.is_billed_by(agent, Billing::Time));
    first.unwrap_or(&input.history.on(input.period.first_day()).organisation)
}
