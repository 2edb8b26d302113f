//! The engine in process, composed as nights and closes compose it: events -> facts of each day -> settlement.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use num_bigint::BigInt;
use recoup_attribution::batch::{Batch, Feed, Source, day_facts};
use recoup_attribution::facts::{CellKey, Item, PoolUseKey, TaskKey};
use recoup_attribution::{
    AttributionError, Context, DayBuilder, DayFacts, Grain, SettlementFacts, reports_of, resolve, second_reports,
};
use recoup_documents::RULES_VERSION;
use recoup_ledger::{
    Bearer, Consumer, Correction, LedgerError, Line, Opening, PeriodInput, PriceModel, PriceOrigin, PricedKey,
    Settlement, check, correct, rate_card, settle,
};
use recoup_model::digest::content_digest;
use recoup_model::organisation::History;
use recoup_model::{Digest, FindingKind, Id, Identity, Period, Recorded};
use recoup_money::Amount;
use recoup_pricing::PriceBook;

use crate::book::LineKey;
use crate::facts::{Figures, Replayed, shown};
use crate::number::{Q, of, text, whole};
use crate::rate::What;
use crate::world::World;

/// A way from the traces that are known to the facts of some local days. `excluded` are the reports of provider calls
/// that do not count (EVT-2).
pub type BuildFacts = fn(&[Vec<Recorded>], &BTreeSet<Identity>, &Context<'_>, &[NaiveDate]) -> Vec<DayFacts>;

/// One way of the engine.
#[derive(Clone, Copy)]
pub struct Way {
    /// What it is called.
    pub name: &'static str,
    /// How it makes facts.
    pub build: BuildFacts,
    /// Whether its facts are as fine as queries ask; else only what months are settled to is compared.
    pub is_fine: bool,
}

/// Every way that the engine has: each is held against the reference.
pub const WAYS: &[Way] = &[
    Way { name: "resolve", build: facts_by_resolve, is_fine: true },
    Way { name: "rows", build: facts_by_rows, is_fine: true },
    Way { name: "settlement grain", build: facts_for_settlement, is_fine: false },
];

/// Each trace resolved alone, then added to the builders of the days.
#[must_use]
pub fn facts_by_resolve(
    traces: &[Vec<Recorded>],
    excluded: &BTreeSet<Identity>,
    context: &Context<'_>,
    days: &[NaiveDate],
) -> Vec<DayFacts> {
    let resolved: Vec<_> = traces.iter().map(|trace| resolve(trace, excluded, context).unwrap()).collect();
    let build = |day: &NaiveDate| {
        let mut builder = DayBuilder::new(*day);
        resolved.iter().for_each(|trace| builder.add(trace, context).unwrap());
        builder.finish()
    };
    days.iter().map(build).collect()
}

/// Events as rows of numbers; traces that are not regular fall back on [`resolve`] by themselves.
#[must_use]
pub fn facts_by_rows(
    traces: &[Vec<Recorded>],
    excluded: &BTreeSet<Identity>,
    context: &Context<'_>,
    days: &[NaiveDate],
) -> Vec<DayFacts> {
    days.iter().map(|day| facts_from_rows(traces, excluded, context, (*day, Grain::Query))).collect()
}

/// The same in the grain that a close needs: without what only queries ask for.
#[must_use]
pub fn facts_for_settlement(
    traces: &[Vec<Recorded>],
    excluded: &BTreeSet<Identity>,
    context: &Context<'_>,
    days: &[NaiveDate],
) -> Vec<DayFacts> {
    days.iter().map(|day| facts_from_rows(traces, excluded, context, (*day, Grain::Settlement))).collect()
}

fn facts_from_rows(
    traces: &[Vec<Recorded>],
    excluded: &BTreeSet<Identity>,
    context: &Context<'_>,
    night: (NaiveDate, Grain),
) -> DayFacts {
    let calendar = context.history.calendar();
    let touches =
        |trace: &&Vec<Recorded>| trace.iter().any(|recorded| calendar.day_of(recorded.event.used_at_ns) == night.0);
    let rows = Rows(traces.iter().filter(touches).flatten().cloned().collect());
    day_facts(night, Batch::new(context.rater), excluded, context, &rows).unwrap()
}

/// The events behind the rows.
struct Rows(Vec<Recorded>);

impl Source for Rows {
    fn traces(&self) -> impl Iterator<Item = (u64, i64)> {
        self.0.iter().map(|recorded| (Identity::of(&recorded.event).trace, recorded.event.used_at_ns))
    }

    fn fill(&self, feed: &mut Feed<'_, Self>) -> Result<(), AttributionError> {
        (0..).zip(&self.0).try_for_each(|(row, recorded)| feed.push_recorded(row, recorded))
    }

    fn recorded(&self, row: u64) -> Option<Recorded> {
        self.0.get(usize::try_from(row).ok()?).cloned()
    }

    fn digest(&self, row: u64) -> Option<[u8; 32]> {
        Some(content_digest(&self.0.get(usize::try_from(row).ok()?)?.event).0)
    }

    fn trace_name(&self, row: u64) -> Option<Id> {
        self.0.get(usize::try_from(row).ok()?).map(|recorded| recorded.event.trace_name().clone())
    }
}

/// Events by trace, each in the order in which they were recorded.
#[must_use]
pub fn group(events: &[Recorded]) -> Vec<Vec<Recorded>> {
    let mut traces: BTreeMap<u64, Vec<Recorded>> = BTreeMap::new();
    for recorded in events {
        traces.entry(Identity::of(&recorded.event).trace).or_default().push(recorded.clone());
    }
    traces.into_values().collect()
}

/// EVT-2 over all known traces, with the engine's own judgement.
#[must_use]
pub fn find_excluded(traces: &[Vec<Recorded>], context: &Context<'_>) -> BTreeSet<Identity> {
    second_reports(traces.iter().flat_map(|trace| reports_of(trace, context)).collect())
}

/// The facts of every day of some months, over what is known.
#[must_use]
pub fn facts_of(
    history: &History,
    prices: &PriceBook,
    events: &[Recorded],
    (build, days): (BuildFacts, &[NaiveDate]),
) -> BTreeMap<NaiveDate, DayFacts> {
    let context = Context { history, rater: prices };
    let traces = group(events);
    let excluded = find_excluded(&traces, &context);
    let facts = build(&traces, &excluded, &context, days);
    facts.into_iter().map(|facts| (facts.day, facts)).collect()
}

/// A closed month.
struct Closed {
    period: Period,
    opening: Opening,
    booked: Vec<Correction>,
    settlement: Settlement,
}

/// Every figure of a world, by month and name, as [`crate::reference::replay`] names them.
#[must_use]
pub fn replay(world: &World, build: BuildFacts) -> Replayed {
    let history = world.history().unwrap();
    let prices = PriceBook::new(&[], &history).unwrap();
    let (mut by_day, mut figures) = (Figures::new(), Figures::new());
    let mut closed: Vec<Closed> = Vec::new();
    let periods = world.periods();
    for (month, period) in periods.iter().copied().enumerate() {
        let all_days: Vec<NaiveDate> = periods.iter().take(month + 1).flat_map(|period| period.days()).collect();
        let days = facts_of(&history, &prices, &world.known(month), (build, &all_days));
        for facts in period.days().map(|day| &days[&day]) {
            by_day.extend(flatten_facts(facts));
        }
        let opening = closed.last().map(|month| month.settlement.closing.clone()).unwrap_or_default();
        let read = SettlementFacts::of_days(&days).unwrap();
        let corrections = correct_all(&history, &read, &closed);
        let card = rate_card(period, &opening, &history).unwrap().filter(|_| world.approved[month]);
        let approvals: Vec<Digest> = card.into_iter().map(|card| card.digest).collect();
        let input = |through| PeriodInput {
            period,
            through,
            history: &history,
            days: &read,
            opening: &opening,
            rules: RULES_VERSION,
            own_prices: None,
            corrections: &corrections,
            approvals: &approvals,
        };
        let end = period.days().last().unwrap();
        let mut nights = vec![world.through[month], end];
        nights.dedup();
        for through in nights {
            let prefix = format!("{period} through {through}");
            match settle(&input(through)) {
                Ok(settlement) => {
                    if let Err(error) = check(&settlement) {
                        figures.insert(format!("{prefix}: check"), error.to_string());
                    }
                    figures.extend(flatten(&prefix, &settlement));
                    if through == end {
                        closed.push(Closed {
                            period,
                            opening: opening.clone(),
                            booked: corrections.clone(),
                            settlement,
                        });
                    }
                }
                Err(error) => {
                    figures.insert(prefix, refusal(&error));
                    return Replayed { days: by_day, months: figures };
                }
            }
        }
        figures.extend(correction_figures(&format!("{period}"), &corrections));
    }
    Replayed { days: by_day, months: figures }
}

fn refusal(error: &LedgerError) -> String {
    match error {
        LedgerError::ClosedPools { pools } => format!("closed pools {}", pools.join(" ")),
        error => error.to_string(),
    }
}

fn correct_all(history: &History, days: &BTreeMap<NaiveDate, SettlementFacts>, closed: &[Closed]) -> Vec<Correction> {
    let mut all = Vec::new();
    for month in closed {
        let is_ours = |correction: &&Correction| correction.line.key.original_period == Some(month.period);
        let earlier: Vec<Correction> = closed.iter().flat_map(|later| &later.booked).filter(is_ours).cloned().collect();
        let now = settle(&PeriodInput {
            period: month.period,
            through: month.period.days().last().unwrap(),
            history,
            days,
            opening: &month.opening,
            rules: RULES_VERSION,
            own_prices: Some(&month.settlement.prices),
            corrections: &month.booked,
            approvals: &[],
        });
        let Ok(now) = now else { continue };
        check(&now).unwrap();
        all.extend(correct(month.settlement.booked(), &earlier, &now).unwrap());
    }
    all
}

fn figures(amounts: &[Amount]) -> String {
    amounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn count(number: u64) -> Amount {
    Amount::from_pico(i128::from(number) * 1_000_000_000_000)
}

/// The facts of a day, as [`crate::facts::of_day`] names them.
#[must_use]
pub fn flatten_facts(facts: &DayFacts) -> Figures {
    let mut named = Figures::new();
    let day = facts.day;
    for (key, value) in &facts.cells {
        named.insert(format!("{day} {}", cell_name(key)), figures(&[value.cost, value.quantity, count(value.events)]));
    }
    for (PoolUseKey { pool, team, via, agent }, used) in &facts.pools {
        let (team, via, agent) = (shown(team.as_ref()), shown(via.as_ref()), shown(agent.as_ref()));
        let name = format!("{day} pool {pool} team={team} via={via} root agent={agent}");
        let used = [count(used.invocations), count(used.tokens), count(used.duration_ms), used.cost];
        if used.iter().any(|figure| !figure.is_zero()) {
            named.insert(name, figures(&used));
        }
    }
    for (agent, cost) in &facts.agents {
        let cost = [cost.exclusive, cost.inclusive, cost.reentrant, count(cost.frames)];
        if cost.iter().any(|figure| !figure.is_zero()) {
            named.insert(format!("{day} agent {agent}"), figures(&cost));
        }
    }
    for (TaskKey { team, agent, task_type }, of) in &facts.tasks {
        let name = format!("{day} task team={} agent={} type={task_type}", shown(team.as_ref()), shown(agent.as_ref()));
        let counts = [of.tasks, of.completed, of.failed, of.killed].map(count);
        let counts = figures(&counts);
        let timed = [of.timed_cost, count(of.timed_tasks), count(of.timed_completed)];
        let rest = figures(&[&[of.direct_cost], &timed[..], &[count(of.active_ns), count(of.idle_ns)]].concat());
        named.insert(name.clone(), format!("{counts} {rest}"));
        for (ns, tasks) in &of.durations_ns {
            named.insert(format!("{name} of {ns} ns"), tasks.to_string());
        }
    }
    named
}

fn cell_name(key: &CellKey) -> String {
    let payer = format!("team={} project={}", shown(key.team.as_ref()), shown(key.project.as_ref()));
    let tags = format!("agent={} type={}", shown(key.agent.as_ref()), shown(key.task_type.as_ref()));
    let sold = format!("provider={} model={}", shown(key.provider.as_ref()), shown(key.model.as_ref()));
    let item = crate::facts::item(&match key.item.clone() {
        Item::Tokens(class) => What::Tokens(class),
        Item::Units { sku, unit } => What::Units(sku, unit),
        Item::Reported => What::Reported,
        Item::Unpriced => What::Unpriced,
        Item::Frame => What::Frame,
    });
    let task = key.task.as_ref().map_or_else(
        || "-".to_owned(),
        |task| format!("({} {} {} {})", shown(task.agent.as_ref()), task.task_type, task.ended_on, task.timed),
    );
    let unobserved = if key.unobserved { " unobserved" } else { "" };
    let pool = shown(key.pool.as_ref());
    format!("cell {payer} {tags} {} {sold} {item} task={task} pool={pool}{unobserved}", key.kind.name())
}

fn key_name(key: &PricedKey) -> String {
    let model = match key.model {
        PriceModel::Task => "task",
        PriceModel::Time => "time",
    };
    format!("{} {} {model}", key.agent, key.task_type)
}

fn line_key(line: &Line) -> LineKey {
    let key = line.key.clone();
    LineKey {
        kind: key.kind.name(),
        agent: key.agent,
        task_type: key.task_type,
        pool: key.pool,
        billing: key.billing.map(|billing| billing.name()),
        provider: key.provider,
        model: key.model,
        class: key.class.map(|class| class.name()),
        sku: key.sku,
        from: key.from,
        unit: key.unit,
        markup: key.markup.map(|markup| crate::markup::shown(&markup)),
        original: key.original_period.map(|period| (period, key.original_kind.map_or("", |kind| kind.name()))),
    }
}

fn flatten(prefix: &str, settlement: &Settlement) -> Figures {
    let mut named = Figures::new();
    let mut put = |name: String, figure: String| {
        named.insert(format!("{prefix}: {name}"), figure);
    };
    for (team, lines) in &settlement.lines {
        for line in lines {
            let quantity = line.quantity.map_or_else(|| "-".to_owned(), |quantity| quantity.to_string());
            put(format!("line {team} {}", line_key(line)), format!("{} of {quantity}", line.exact));
        }
    }
    let totals = settlement.totals;
    for (name, total) in [
        ("priced_cost", totals.priced_cost),
        ("unattributed", totals.unattributed),
        ("unallocated", totals.unallocated),
        ("markup", totals.markup),
        ("corrections", totals.corrections),
        ("absorbed", totals.absorbed),
        ("carried_out", totals.carried_out),
        ("carried_in", totals.carried_in),
        ("exact_total", totals.exact_total),
    ] {
        put(format!("total {name}"), total.to_string());
    }
    for record in &settlement.variances {
        let parts = [
            record.charges,
            record.actual,
            record.price_part,
            record.usage_part,
            record.carried_in,
            record.carried_out,
        ];
        if parts.iter().any(|part| !part.is_zero()) {
            put(format!("variance {}", key_name(&record.key)), figures(&parts));
        }
    }
    for record in settlement.pools.iter().filter(|record| record.full_cost_pico != "0") {
        let full = record.full_cost_pico.parse::<Q>().unwrap() / whole(BigInt::from(1_000_000_000_000_i64));
        put(
            format!("pool {}", record.pool),
            format!("{} {} {}", text(&of(record.own_cost)), text(&full), record.basis),
        );
        for share in record.consumers.iter().filter(|share| share.ratio != "0") {
            let who = match &share.consumer {
                Consumer::Bearer(Bearer::Team(team)) => format!("team {team}"),
                Consumer::Bearer(bearer) => account(bearer).to_owned(),
                Consumer::Pool(pool) => format!("pool {pool}"),
            };
            put(format!("pool {} {who}", record.pool), share.ratio.clone());
        }
    }
    for version in &settlement.prices {
        let name = format!("price {} {}", key_name(&version.key), version.from);
        let seed = version.origin == PriceOrigin::Seed;
        put(name, format!("{:?} {} {seed}", version.to, version.price));
    }
    for (payer, events) in &settlement.unpriced_events {
        put(format!("unpriced {}", shown(payer.as_ref())), events.to_string());
    }
    for finding in settlement.findings.iter().filter(|finding| finding.kind == FindingKind::Unpriced) {
        put(format!("bill without a rate {}", finding.subject), "a finding".to_owned());
    }
    for (key, carried) in &settlement.closing.carried {
        put(format!("carried {}", key_name(key)), carried.to_string());
    }
    named
}

fn account(bearer: &Bearer) -> &'static str {
    match bearer {
        Bearer::Team(_) | Bearer::Unattributed => "unattributed",
        Bearer::Unallocated => "unallocated",
        Bearer::Absorbed => "absorbed",
    }
}

fn correction_figures(prefix: &str, corrections: &[Correction]) -> Figures {
    let mut sums: BTreeMap<String, Q> = BTreeMap::new();
    for correction in corrections {
        let bearer = correction.team().map_or(account(&correction.bearer), |team| &**team);
        let name = format!("{prefix}: correction {bearer} {}", line_key(&correction.line));
        *sums.entry(name).or_default() += of(correction.line.exact);
    }
    sums.into_iter().map(|(name, exact)| (name, text(&exact))).collect()
}
