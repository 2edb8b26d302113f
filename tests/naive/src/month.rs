//! A period settled: charges, markup, bills, pools, variance, corrections.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use num_traits::Zero;
use recoup_model::organisation::{Billing, History, Markup, Organisation, PoolRecovery, VariancePolicy};
use recoup_model::{Id, Period, Status};

use crate::book::{Bearer, LineKey, Opening, Row, Settlement, Variance};
use crate::ground::Ground;
use crate::markup;
use crate::number::{Q, of, ratio, split, to_pico, whole};
use crate::pools::{Closed, split_pools};
use crate::prices::{Besides, Key, Nights, RecoveredByNight, Version, bills_by, closed_prices, find_prices, tasks_of};
use crate::rate::{Bought, What};
use crate::recovery::{Recovered, cost_of_days, ended, priced_task, recover};
use crate::trace::{Span, Task, Trace};

/// A correction of a closed period (LED-4), booked in another.
pub type Corrections = BTreeMap<(Bearer, LineKey), Row>;

/// What a period is settled from.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The versions of the organisation.
    pub history: &'a History,
    /// Every trace that is known.
    pub traces: &'a [Trace],
    /// The month.
    pub period: Period,
    /// Its last night.
    pub through: NaiveDate,
    /// What the month before left.
    pub opening: &'a Opening,
    /// Whether finance approved its rate card.
    pub approved: bool,
    /// Of a closed month: its own prices.
    pub own_prices: Option<&'a [Version]>,
    /// Corrections booked in it.
    pub corrections: &'a Corrections,
}

/// Charges and actual cost of one (agent, task type, billing model), for its variance.
#[derive(Default)]
struct Priced {
    charges: BTreeMap<Id, Q>,
    actual: BTreeMap<Id, Q>,
    /// (quantity, charge) of each task.
    applied: Vec<(Q, Q)>,
    /// What idle minutes would have earned more at the rate of the period's start.
    idle_part: Q,
}

/// What tokens are marked up together: team, agent, task type, day.
type Day = (Id, Option<Id>, Option<Id>, NaiveDate);

/// A period while it is settled.
struct Month<'a> {
    input: Input<'a>,
    nights: Nights<'a>,
    ground: &'a Ground<'a>,
    book: Settlement,
    priced: BTreeMap<Key, Priced>,
    /// Token charges that have a markup.
    marked: BTreeMap<(Day, Markup), Q>,
}

/// Settles a period.
///
/// # Errors
/// Pools that serve only each other (POOL-2).
pub fn settle(input: Input<'_>) -> Result<Settlement, Closed> {
    let nights = Nights { history: input.history, period: input.period, through: input.through };
    let tasks = tasks_of(input.traces);
    let (prices, states) = match input.own_prices {
        Some(own) => (closed_prices(nights, &tasks, own), BTreeMap::new()),
        None => {
            let pools = recovered_by_night(nights, input.traces);
            let (opening, carried) = (&input.opening.prices, &input.opening.carried);
            find_prices(nights, &tasks, &Besides { opening, carried, approved: input.approved, pools: &pools })
        }
    };
    let ground = Ground::of(nights, input.traces);
    let groups = split_pools(&ground)?;
    let book = Settlement {
        prices,
        pools: groups.iter().flat_map(|group| group.pools.clone()).collect(),
        ..Settlement::default()
    };
    let (priced, marked) = (BTreeMap::new(), BTreeMap::new());
    let mut month = Month { input, nights, ground: &ground, book, priced, marked };
    month.book_ground();
    for trace in input.traces {
        month.book_spans(trace);
        month.book_task(trace);
    }
    month.book_token_markup();
    for group in &groups {
        for (bearer, parts) in &group.parts {
            if let Bearer::Account(account) = bearer {
                parts.values().for_each(|part| month.book.add_total(account, part));
            }
        }
    }
    month.book_pools(&recover(&ground, &groups));
    month.settle_variances();
    month.book_corrections();
    Ok(month.finish(states))
}

/// PRC-1, POOL-4: what of the pools prices take in, to date, by night. Nights that recover nothing are left out.
fn recovered_by_night(nights: Nights<'_>, traces: &[Trace]) -> RecoveredByNight {
    let mut by_night = RecoveredByNight::new();
    let recovers = |organisation: &Organisation| organisation.policy.pool_recovery == PoolRecovery::Price;
    for through in nights.days().into_iter().filter(|day| recovers(nights.on(*day))) {
        let ground = Ground::of(Nights { through, ..nights }, traces);
        let mut sums: BTreeMap<(Id, Id), Q> = BTreeMap::new();
        // A night on which pools serve only each other takes in nothing more; the next one catches up.
        let Ok(groups) = split_pools(&ground) else {
            let before = through.pred_opt().and_then(|day| by_night.get(&day)).cloned();
            by_night.insert(through, before.unwrap_or_default());
            continue;
        };
        for ((_, _, agent, task_type), part) in recover(&ground, &groups).parts {
            *sums.entry((agent, task_type)).or_default() += part;
        }
        by_night.insert(through, sums);
    }
    by_night
}

impl Month<'_> {
    /// What nobody named pays for, and bills.
    fn book_ground(&mut self) {
        let ground = self.ground;
        self.book.add_total("priced_cost", &ground.priced);
        let nobody = ground.direct.get(&None).cloned().unwrap_or_default();
        self.book.add_total("unattributed", &nobody);
        for bill in &ground.bills {
            if bill.unpriced {
                let owner = bill.bearer.clone().err().flatten();
                *self.book.unpriced.entry(owner).or_default() += 1;
                self.book.unpriced_bills.insert(bill.id.clone());
            }
            // What has no price on any day is no line of 0 (RAT-2).
            if bill.months.is_zero() {
                continue;
            }
            if let Err(Some(owner)) = &bill.bearer {
                let (agent, sku) = (bill.agent.clone(), Some(bill.id.clone()));
                let line = LineKey { agent, sku, unit: Some("month".into()), ..token_key() };
                self.book.add_line(owner, line, Some(bill.months.clone()), &bill.cost);
            }
        }
    }

    /// The cost of a team's trace on the period's days: passed through, or behind an internal price.
    fn book_spans(&mut self, trace: &Trace) {
        let nights = self.nights;
        for span in trace.spans.iter().filter(|span| nights.contain(span.day)) {
            if span.bought.iter().any(|bought| bought.what == What::Unpriced) {
                *self.book.unpriced.entry(trace.payer.clone()).or_default() += 1;
            }
            let (None, Some(team)) = (&span.pool, &trace.payer) else { continue };
            let key = trace.task.as_ref().and_then(|task| self.key_of(task, team));
            match (trace.task.as_ref(), key) {
                (Some(task), Some(key)) if self.price_of(&key, task).is_some() => {
                    add(&mut self.priced.entry(key).or_default().actual, team.clone(), &span.cost());
                }
                (Some(_), Some(key)) => {
                    let line = priced_line("charge", &key, None, "task");
                    self.book.add_line(team, line, Some(Q::zero()), &span.cost());
                }
                _ => self.pass_through(trace, span, team),
            }
        }
    }

    fn pass_through(&mut self, trace: &Trace, span: &Span, team: &Id) {
        for bought in &span.bought {
            let (key, quantity) = token_line(span, bought);
            self.book.add_line(team, key, Some(quantity), &bought.cost);
        }
        let (agent, task_type, organisation) = match &trace.task {
            Some(task) => {
                let task_type = Some(task.task_type.clone());
                (task.agent.clone(), task_type, self.nights.on(task.ended_on))
            }
            None => (span.agent.clone(), span.task_type.clone(), self.nights.on(span.day)),
        };
        if organisation.billing(team, agent.as_deref()) != Billing::Token {
            return;
        }
        if let Some(markup) = organisation.markup(team, agent.as_deref()) {
            add(&mut self.marked, ((team.clone(), agent, task_type, span.day), markup), &span.cost());
        }
    }

    /// PRC-5: tokens know no tasks, so that each day is rounded.
    fn book_token_markup(&mut self) {
        for (((team, agent, task_type, _), markup), charge) in std::mem::take(&mut self.marked) {
            let line = LineKey { agent, task_type, kind: "markup", ..token_key() };
            self.add_markup(&team, line, markup, (&charge, &Q::zero()));
        }
    }

    fn add_markup(&mut self, team: &Id, key: LineKey, markup: Markup, (charge, units): (&Q, &Q)) {
        let (amount, quantity) = markup::on(markup, charge, units);
        let unit = match markup {
            Markup::Percent(_) => Some(Id::from(self.nights.on(self.input.through).currency.code())),
            Markup::Fixed(_) => key.unit,
        };
        let key = LineKey { markup: Some(markup::shown(&markup)), unit, from: None, ..key };
        self.book.add_line(team, key, Some(quantity), &amount);
        self.book.add_total("markup", &amount);
    }

    /// PRC-7: what the task has a price under; `None` where it is billed by token.
    fn key_of(&self, task: &Task, team: &Id) -> Option<Key> {
        match self.nights.on(task.ended_on).billing(team, task.agent.as_deref()) {
            Billing::Token => None,
            billing => Some((task.agent.clone()?, task.task_type.clone(), billing)),
        }
    }

    /// The version in force when a task ended: outside the period, what its first day has, or its last night gave.
    fn price_of(&self, key: &Key, task: &Task) -> Option<Version> {
        if key.2 == Billing::Time && task.active_ns == 0 {
            return None;
        }
        let day = task.ended_on.max(self.input.period.first_day()).min(self.input.through + Days::new(1));
        let holds =
            |version: &&Version| version.key == *key && version.from <= day && version.to.is_none_or(|to| day < to);
        self.book.prices.iter().find(holds).cloned()
    }

    /// What a task that ended in the period is charged, or is counted with where its cost passes through.
    fn book_task(&mut self, trace: &Trace) {
        let (Some(task), Some(team)) = (&trace.task, &trace.payer) else { return };
        if !self.nights.contain(task.ended_on) {
            return;
        }
        let Some(key) = self.key_of(task, team) else { return };
        let completed = whole(u64::from(task.status == Some(Status::Ok)));
        let version = self.price_of(&key, task);
        if key.2 == Billing::Time {
            self.book_idle(task, team, &key, version.is_some());
        }
        let Some(version) = version else {
            self.book.add_line(team, priced_line("charge", &key, None, "task"), Some(completed), &Q::zero());
            return;
        };
        let minutes = ratio(task.active_ns, 60_000_000_000_u64);
        let (unit, quantity) = if key.2 == Billing::Task { ("task", completed) } else { ("minute", minutes) };
        let charge = to_pico(&(&version.price * &quantity));
        let line = priced_line("charge", &key, Some(version.from), unit);
        self.book.add_line(team, line.clone(), Some(quantity.clone()), &charge);
        if let Some(markup) = self.nights.on(task.ended_on).markup(team, task.agent.as_deref()) {
            self.add_markup(team, LineKey { kind: "markup", ..line }, markup, (&charge, &quantity));
        }
        let priced = self.priced.entry(key).or_default();
        add(&mut priced.charges, team.clone(), &charge);
        priced.applied.push((quantity, charge));
    }

    /// PRC-4: idle minutes are always shown, and charged where the active ones have a price.
    fn book_idle(&mut self, task: &Task, team: &Id, key: &Key, is_priced: bool) {
        let minutes = ratio(task.idle_ns, 60_000_000_000_u64);
        let rate = |day: NaiveDate| of(self.nights.on(day).idle_rate(&key.0));
        let ours = rate(task.ended_on);
        let since = self.nights.days().into_iter().rev().skip_while(|day| *day > task.ended_on);
        // The rate begins some day; idle minutes that it is not applied to have none.
        let from = since.take_while(|day| rate(*day) == ours).last().filter(|_| is_priced || ours.is_zero());
        let charge = if is_priced { to_pico(&(&ours * &minutes)) } else { Q::zero() };
        // Rounded when all of a line are there.
        self.book.add_line(team, priced_line("charge", key, from, "idle minute"), Some(minutes), &charge);
        if is_priced {
            let priced = self.priced.entry(key.clone()).or_default();
            add(&mut priced.charges, team.clone(), &charge);
            // A new model's first rate is that of the first day on which somebody is billed by it.
            let first = self.nights.days().into_iter().find(|day| bills_by(self.nights.on(*day), key)).unwrap();
            priced.idle_part += to_pico(&(rate(first) * ratio(task.idle_ns, 60_000_000_000_u64))) - charge;
        }
    }

    /// Shares of pools as lines; what prices take in becomes actual cost of the tasks that had one, and passes through with
    /// those that had none.
    fn book_pools(&mut self, recovered: &Recovered) {
        for ((team, pool), part) in &recovered.lines {
            self.book.add_line(team, LineKey { pool: Some(pool.clone()), ..LineKey::of("pool") }, None, part);
        }
        for ((_, team, agent, task_type), part) in recovered.parts.iter().filter(|(_, part)| !part.is_zero()) {
            let buckets = self.buckets(team, agent, task_type);
            let weights = |by: fn(&(Q, Q)) -> &Q| {
                buckets.iter().map(|(name, sums)| (bucket_name(name), by(sums).clone())).collect()
            };
            let parts =
                split(part, &weights(|sums| &sums.0)).or_else(|| split(part, &weights(|sums| &sums.1))).unwrap();
            for (billing, is_priced) in buckets.into_keys() {
                let amount = &parts[&bucket_name(&(billing, is_priced))];
                let key = (agent.clone(), task_type.clone(), billing);
                if is_priced {
                    add(&mut self.priced.entry(key).or_default().actual, team.clone(), amount);
                } else {
                    self.book.add_line(team, priced_line("charge", &key, None, "task"), None, amount);
                }
            }
        }
    }

    /// Direct cost and number of a team's tasks of an agent and a type, by billing model and whether there was a price.
    fn buckets(&self, team: &Id, agent: &Id, task_type: &Id) -> BTreeMap<(Billing, bool), (Q, Q)> {
        let mut buckets: BTreeMap<(Billing, bool), (Q, Q)> = BTreeMap::new();
        for trace in self.input.traces.iter().filter(|trace| trace.payer.as_ref() == Some(team)) {
            let Some((ours, billing)) = priced_task(self.ground, trace, team, agent) else { continue };
            let (cost, number) = (cost_of_days(self.ground, trace), ended(self.ground, trace));
            if ours != task_type {
                continue;
            }
            let key = (agent.clone(), task_type.clone(), billing);
            let is_priced = trace.task.as_ref().is_some_and(|task| self.price_of(&key, task).is_some());
            let sums = buckets.entry((billing, is_priced)).or_default();
            sums.0 += cost;
            sums.1 += number;
        }
        buckets
    }

    /// LED-2, LED-3.
    fn settle_variances(&mut self) {
        let policy = self.nights.on(self.input.through).policy.variance;
        let carried = &self.input.opening.carried;
        let keys: BTreeSet<Key> = self.priced.keys().chain(carried.keys()).cloned().collect();
        for key in keys {
            let priced = self.priced.remove(&key).unwrap_or_default();
            let carried_in = carried.get(&key).cloned().unwrap_or_else(Q::zero);
            let sum = |sums: &BTreeMap<Id, Q>| sums.values().sum::<Q>();
            let (charges, actual) = (sum(&priced.charges), sum(&priced.actual));
            let variance = &charges - &actual;
            let start = self.first_rate(&key);
            // Each task at the rate of the start, rounded as its charge is.
            let at_start = |quantity: &Q| to_pico(&(start.clone().unwrap() * quantity));
            let price_part = priced.applied.iter().map(|(quantity, charge)| at_start(quantity) - charge).sum::<Q>();
            let price_part = price_part + &priced.idle_part;
            let whole_variance = &variance + &carried_in;
            let mut carried_out = Q::zero();
            self.book.add_total("carried_in", &carried_in);
            match policy {
                VariancePolicy::Settle => self.settle_variance(&key, &priced, &whole_variance),
                VariancePolicy::Absorb => self.book.add_total("absorbed", &whole_variance),
                VariancePolicy::Carry => {
                    carried_out = whole_variance.clone();
                    self.book.add_total("carried_out", &whole_variance);
                    self.book.closing.carried.insert(key.clone(), whole_variance);
                }
            }
            let usage_part = &variance - &price_part;
            let figures = [charges, actual, price_part, usage_part, carried_in, carried_out];
            self.book.variances.push(Variance { key, figures });
        }
        self.book.closing.carried.retain(|_, carried| !carried.is_zero());
    }

    /// The rate at the period's start; a new one's first.
    fn first_rate(&self, key: &Key) -> Option<Q> {
        let versions = self.book.prices.iter().filter(|version| version.key == *key);
        versions.min_by_key(|version| version.from).map(|version| version.price.clone())
    }

    /// LED-3: over the teams by their charges, else by the cost behind them, else by what such tasks cost, then SPL-3.
    fn settle_variance(&mut self, key: &Key, priced: &Priced, variance: &Q) {
        if variance.is_zero() {
            return;
        }
        let named = |sums: &BTreeMap<Id, Q>| sums.iter().map(|(id, sum)| (id.to_string(), sum.clone())).collect();
        let direct = self.ground.direct.iter();
        let direct = direct.filter_map(|(payer, cost)| Some((payer.clone()?, cost.clone()))).collect();
        let even = self.ground.active.iter().map(|team| (team.clone(), whole(1))).collect();
        let tasks = self.tasks_of(key);
        let of_kind = self.direct_cost_of(key);
        let chain = [&priced.charges, &priced.actual, &of_kind, &tasks, &direct, &even];
        let found = chain.into_iter().find_map(|weights| split(&-variance, &named(weights)));
        let Some(parts) = found else {
            self.book.add_total("unallocated", &-variance);
            return;
        };
        for (team, exact) in parts {
            let line = LineKey { unit: None, ..priced_line("variance", key, None, "") };
            self.book.add_line(&team.as_str().into(), line, None, &exact);
        }
    }

    /// What tasks of an agent and a task type cost on the period's days, pools apart, by who pays, however they are billed.
    fn direct_cost_of(&self, key: &Key) -> BTreeMap<Id, Q> {
        let mut costs = BTreeMap::new();
        for trace in self.input.traces {
            let (Some(task), Some(team)) = (&trace.task, &trace.payer) else { continue };
            if task.agent.as_ref() == Some(&key.0) && task.task_type == key.1 {
                let ours = trace.spans.iter().filter(|span| self.nights.contain(span.day) && span.pool.is_none());
                add(&mut costs, team.clone(), &ours.map(Span::cost).sum());
            }
        }
        costs
    }

    /// Tasks of an agent and a task type that ended in the period, by who pays, however they are billed.
    fn tasks_of(&self, key: &Key) -> BTreeMap<Id, Q> {
        let mut tasks = BTreeMap::new();
        for trace in self.input.traces {
            let (Some(task), Some(team)) = (&trace.task, &trace.payer) else { continue };
            if self.nights.contain(task.ended_on) && task.agent.as_ref() == Some(&key.0) && task.task_type == key.1 {
                add(&mut tasks, team.clone(), &whole(1));
            }
        }
        tasks
    }

    fn book_corrections(&mut self) {
        for ((bearer, key), Row { quantity, exact }) in self.input.corrections {
            self.book.add_total("corrections", exact);
            match bearer {
                Bearer::Team(team) => self.book.add_line(team, key.clone(), quantity.clone(), exact),
                Bearer::Account("absorbed") => self.book.add_total("absorbed", &-exact),
                Bearer::Account(account) => self.book.add_total(account, exact),
            }
        }
    }

    fn finish(self, states: BTreeMap<Key, crate::prices::State>) -> Settlement {
        let mut book = self.book;
        for lines in book.lines.values_mut() {
            for quantity in lines.values_mut().filter_map(|row| row.quantity.as_mut()) {
                *quantity = to_pico(quantity);
            }
            lines.retain(|_, row| !row.is_empty());
        }
        book.lines.retain(|_, lines| !lines.is_empty());
        book.closing.prices = states;
        if self.input.own_prices.is_some() {
            book.prices.clear();
            book.closing = Opening::default();
        }
        book.assert_ties();
        book
    }
}

fn add<K: Ord>(sums: &mut BTreeMap<K, Q>, key: K, more: &Q) {
    *sums.entry(key).or_insert_with(Q::zero) += more;
}

fn bucket_name((billing, is_priced): &(Billing, bool)) -> String {
    format!("{} {is_priced}", billing.name())
}

fn token_key() -> LineKey {
    LineKey { billing: Some(Billing::Token.name()), ..LineKey::of("charge") }
}

fn priced_line(kind: &'static str, key: &Key, from: Option<NaiveDate>, unit: &str) -> LineKey {
    LineKey {
        agent: Some(key.0.clone()),
        task_type: Some(key.1.clone()),
        billing: Some(key.2.name()),
        from,
        unit: Some(unit.into()),
        ..LineKey::of(kind)
    }
}

/// PRC-6: one line per provider, model and class or SKU.
fn token_line(span: &Span, bought: &Bought) -> (LineKey, Q) {
    let (class, sku, unit) = match &bought.what {
        What::Tokens(class) => (Some(class.name()), None, Some(Id::from("token"))),
        What::Units(sku, unit) => (None, Some(sku.clone()), unit.clone()),
        What::Reported => (None, None, Some(Id::from("event"))),
        What::Unpriced | What::Frame => (None, None, None),
    };
    let quantity = match bought.what {
        What::Unpriced | What::Frame => Q::zero(),
        What::Reported => whole(1),
        _ => bought.quantity.clone(),
    };
    let (agent, task_type) = (span.agent.clone(), span.task_type.clone());
    let (provider, model) = (bought.provider.clone(), bought.model.clone());
    (LineKey { agent, task_type, provider, model, class, sku, unit, ..token_key() }, quantity)
}

/// LED-4: what a closed period comes to now, less its close and its corrections since, per bearer and line.
#[must_use]
pub fn correct(period: Period, original: &Settlement, earlier: &Corrections, now: &Settlement) -> Corrections {
    let mut corrections = Corrections::new();
    for (sign, settlement) in [(whole(1), now), (whole(-1), original)] {
        for (team, lines) in &settlement.lines {
            for (key, row) in lines.iter().filter(|(key, _)| key.kind != "correction") {
                let key = LineKey { original: Some((period, key.kind)), kind: "correction", ..key.clone() };
                corrections.entry((Bearer::Team(team.clone()), key)).or_default().add(row, &sign);
            }
        }
        for account in ["unattributed", "unallocated"] {
            let total = Row { quantity: None, exact: settlement.total(account) };
            corrections
                .entry((Bearer::Account(account), account_key(period, "charge")))
                .or_default()
                .add(&total, &sign);
        }
    }
    for (key, row) in earlier {
        corrections.entry(key.clone()).or_default().add(row, &whole(-1));
    }
    // The centre bears what no line shows.
    let all = |settlement: &Settlement| settlement.total("priced_cost") + settlement.total("markup");
    let changed = all(now) - all(original);
    let booked: Q = earlier.values().map(|row| &row.exact).sum();
    let shown: Q = corrections.values().map(|row| &row.exact).sum();
    let rest = Row { quantity: None, exact: changed - booked - shown };
    corrections
        .entry((Bearer::Account("absorbed"), account_key(period, "variance")))
        .or_default()
        .add(&rest, &whole(1));
    corrections.retain(|_, row| !row.exact.is_zero());
    corrections
}

fn account_key(period: Period, kind: &'static str) -> LineKey {
    LineKey { original: Some((period, kind)), ..LineKey::of("correction") }
}
