//! Which traces make up a line, the largest first, and the blocks that hold them.
//!
//! I/O: every block of the days concerned; per trace that is shown one look at which blocks hold it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_attribution::{Context, DayBuilder, Trace, resolve};
use recoup_model::{Id, Recorded};
use recoup_money::Amount;

use super::case::Case;
use super::lens::{Lens, What};
use super::step::{Explained, Row, Step, Table, plus};
use crate::app::App;
use crate::error::Refusal;
use crate::nightly::{Cut, Prints};

/// Traces whose blocks are named.
pub const TRACES_MAX: usize = 100;

/// What is looked for in traces.
#[derive(Clone)]
pub(crate) struct Search {
    pub(crate) what: What,
    pub(crate) idle_since: BTreeMap<NaiveDate, NaiveDate>,
    /// Whose traces count.
    pub(crate) team: Option<Id>,
    /// Whose traces may be named; `None`: all.
    pub(crate) seen: Option<Id>,
}

/// What a trace contributes to a line.
#[derive(Clone, Debug)]
struct Found {
    /// Its fingerprint.
    trace: u64,
    name: Id,
    team: Option<Id>,
    status: &'static str,
    amount: Amount,
    /// Cost of the cells behind it.
    cost: Amount,
}

impl Search {
    pub(crate) fn of(lens: &Lens<'_>, seen: Option<&Id>) -> Self {
        Self {
            what: lens.what.clone(),
            idle_since: lens.idle_since.clone(),
            team: lens.team.cloned(),
            seen: seen.cloned(),
        }
    }
}

/// Whether charges differ from the cost of the same trace.
fn is_charge(what: &What) -> bool {
    matches!(what, What::Tasks(..) | What::Minutes(..) | What::Idle(..) | What::Markup(..))
}

fn read_traces(
    case: &Case,
    search: &Search,
    (day, traces): (NaiveDate, &[Vec<Recorded>]),
    excluded: &std::collections::BTreeSet<recoup_model::Identity>,
) -> Result<Vec<Found>, Refusal> {
    let context = Context { history: &case.world.history, rater: case.world.prices.as_ref() };
    let tariffs = case.tariffs();
    let mut lens = Lens::new(&tariffs, search.team.as_ref(), search.what.clone());
    lens.idle_since.clone_from(&search.idle_since);
    let failed = |error| Refusal::computation("attribute a trace", error);
    let mut all = Vec::new();
    for events in traces {
        let trace = resolve(events, excluded, &context).map_err(failed)?;
        if search.team.is_some() && trace.payer.team != search.team {
            continue;
        }
        let mut builder = DayBuilder::new(day);
        builder.add(&trace, &context).map_err(failed)?;
        let facts = builder.finish();
        let read = lens.read(&facts)?;
        let cost = super::step::sum(lens.cells(&facts).iter().map(|(_, value)| value.cost))?;
        // A task costs something on days before the one that it ended on, and is charged on that one.
        if !(read.amount.is_zero() && cost.is_zero()) {
            all.extend(found_in(&trace, (read.amount, cost)));
        }
    }
    Ok(all)
}

fn found_in(trace: &Trace, (amount, cost): (Amount, Amount)) -> Option<Found> {
    let root = trace.root_span()?;
    Some(Found {
        trace: root.identity.trace,
        name: trace.trace.clone(),
        team: trace.payer.team.clone(),
        status: root.event.status.map(|status| status.name()).unwrap_or_default(),
        amount,
        cost,
    })
}

impl App {
    /// The traces that make up an amount, and the blocks of those that are shown.
    pub(crate) async fn explain_traces(
        self: &Arc<Self>,
        found: &mut Explained,
        (case, cut): (&Arc<Case>, Cut),
        search: Search,
        shown: usize,
    ) -> Result<(), Refusal> {
        let shown = shown.min(TRACES_MAX);
        let traces = self.collect_traces((case, cut), &search).await?;
        let total = super::step::sum(traces.iter().map(|one| one.amount))?;
        let expected = if is_charge(&search.what) { found.readded } else { cost_of(case, &search)? };
        found.tie("the traces", total, expected);
        let charges = is_charge(&search.what);
        if charges {
            let cost = super::step::sum(traces.iter().map(|one| one.cost))?;
            found.tie("the traces' actual cost", cost, cost_of_cells(case, &search)?);
        }
        let (figures, says): (&[&'static str], _) = if charges {
            (
                &["#of this line", "#actual cost"],
                "the tasks of this line; what they cost in the month is not what is charged",
            )
        } else {
            (&["#cost"], "the traces whose events it was made of")
        };
        let seen = |one: &&Found| search.seen.is_none() || one.team == search.seen;
        let named: Vec<&Found> = traces.iter().filter(seen).collect();
        let row = |one: &&Found| {
            let amounts = if charges { vec![one.amount, one.cost] } else { vec![one.amount] };
            let team = one.team.as_deref().unwrap_or("unattributed").to_owned();
            Row { names: vec![one.name.to_string(), team, one.status.to_owned()], figures: amounts }
        };
        let mut rows: Vec<Row> = named.iter().map(row).collect();
        let hidden: Vec<&Found> = traces.iter().filter(|one| !seen(one)).collect();
        if !hidden.is_empty() {
            let mut others = Amount::ZERO;
            for one in &hidden {
                plus(&mut others, one.amount)?;
            }
            let at = rows.len().min(shown);
            rows.insert(
                at,
                Row {
                    names: vec!["traces of other teams".into(), String::new(), String::new()],
                    figures: vec![others],
                },
            );
        }
        let listed = shown.saturating_add(usize::from(!hidden.is_empty()));
        let table = Table::of((&["trace", "payer", "status"], figures), rows, listed)?;
        found.step(Step::new("traces", &["ATR-1", "ATR-5"]).say(says).with(table));
        let top: Vec<&Found> = named.into_iter().take(shown).collect();
        found.step(self.blocks_step(&top, cut).await?);
        Ok(())
    }

    /// Every trace that contributes, the largest first.
    async fn collect_traces(
        self: &Arc<Self>,
        (case, cut): (&Arc<Case>, Cut),
        search: &Search,
    ) -> Result<Vec<Found>, Refusal> {
        let mut by_trace: BTreeMap<u64, Found> = BTreeMap::new();
        for day in days_of(case, search)? {
            for lane in 0..self.lanes {
                let loaded = self.load_day(&case.world, (day, lane), (cut, Prints::Stored)).await?;
                let (case, search) = (Arc::clone(case), search.clone());
                let reading = tokio::task::spawn_blocking(move || {
                    read_traces(&case, &search, (day, &loaded.in_full()), &loaded.excluded)
                });
                for one in reading.await.map_err(|error| Refusal::computation("attribute a day", error))?? {
                    match by_trace.get_mut(&one.trace) {
                        None => drop(by_trace.insert(one.trace, one)),
                        Some(known) => {
                            plus(&mut known.amount, one.amount)?;
                            plus(&mut known.cost, one.cost)?;
                        }
                    }
                }
            }
        }
        let mut traces: Vec<Found> = by_trace.into_values().collect();
        traces.sort_by(|a, b| (b.amount, b.cost).cmp(&(a.amount, a.cost)).then_with(|| a.name.cmp(&b.name)));
        Ok(traces)
    }

    /// Where the events of some traces lie.
    async fn blocks_step(&self, traces: &[&Found], cut: Cut) -> Result<Step, Refusal> {
        let names: BTreeMap<u64, &Id> = traces.iter().map(|one| (one.trace, &one.name)).collect();
        let mut held = self.ports.log.blocks_of_traces(names.keys().copied().collect()).await?;
        held.retain(|(_, seq)| *seq <= cut.0);
        held.sort_by_key(|(trace, seq)| (traces.iter().position(|one| one.trace == *trace), *seq));
        let mut infos = BTreeMap::new();
        let mut rows = Vec::new();
        for (trace, seq) in held {
            if let std::collections::btree_map::Entry::Vacant(vacant) = infos.entry(seq) {
                vacant.insert(self.ports.log.blocks_after(seq.saturating_sub(1), 1).await?.into_iter().next());
            }
            let Some(Some(info)) = infos.get(&seq) else { continue };
            let name = names.get(&trace).map(ToString::to_string).unwrap_or_default();
            let (day, lane, events) = (info.utc_day.to_string(), info.lane.to_string(), info.events.to_string());
            rows.push(vec![name, seq.to_string(), day, lane, events, info.digest.to_string()]);
        }
        let all = rows.len();
        let table = Table::list(&["trace", "#block", "UTC day", "lane", "#events", "digest"], rows, all);
        Ok(Step::new("blocks", &["EVT-2"])
            .say("immutable, named by the digest of their content; `recoup trace ID` shows a trace span by span")
            .with(table))
    }
}

/// The days on which anything is found.
fn days_of(case: &Case, search: &Search) -> Result<Vec<NaiveDate>, Refusal> {
    let tariffs = case.tariffs();
    let mut lens = Lens::new(&tariffs, search.team.as_ref(), search.what.clone());
    lens.idle_since.clone_from(&search.idle_since);
    let mut days = Vec::new();
    for (day, facts) in &case.days {
        if lens.read(facts)?.found || !lens.cells(facts).is_empty() {
            days.push(*day);
        }
    }
    Ok(days)
}

/// The cost of the cells behind the same reading.
fn cost_of_cells(case: &Case, search: &Search) -> Result<Amount, Refusal> {
    let tariffs = case.tariffs();
    let lens = Lens::new(&tariffs, search.team.as_ref(), search.what.clone());
    super::step::sum(case.days.values().flat_map(|facts| lens.cells(facts)).map(|(_, value)| value.cost))
}

/// What the days give for the same reading.
fn cost_of(case: &Case, search: &Search) -> Result<Amount, Refusal> {
    let tariffs = case.tariffs();
    let lens = Lens::new(&tariffs, search.team.as_ref(), search.what.clone());
    let mut cost = Amount::ZERO;
    for facts in case.days.values() {
        plus(&mut cost, lens.read(facts)?.amount)?;
    }
    Ok(cost)
}
