//! A correction: the two closes that it is the difference of, and what came late between them (LED-4, CRX-1).

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_attribution::{Context, Grain, resolve};
use recoup_ledger::{Bearer, Correction, Line, LineKey};
use recoup_model::{Id, Identity, Period};
use recoup_money::Amount;
use recoup_store::BlockInfo;

use super::case::Case;
use super::changed;
use super::charge::Asked;
use super::step::{Explained, Row, Step, Table, overflow, plus, sum};
use super::traces::TRACES_MAX;
use crate::app::App;
use crate::close::{self, PeriodRecord};
use crate::error::Refusal;
use crate::nightly::{Cut, Prints, partners};
use crate::shipped::Known;

/// Blocks of late events that are read at once.
const BLOCKS_PER_STEP: usize = 32;

/// The line that a correction is of.
fn corrected_key(key: &LineKey) -> Option<LineKey> {
    let kind = key.original_kind?;
    Some(LineKey { kind, original_kind: None, original_period: None, ..key.clone() })
}

fn line_of<'a>(lines: Option<&'a Vec<Line>>, key: &LineKey) -> Option<&'a Line> {
    lines.into_iter().flatten().find(|line| line.key == *key)
}

fn exact(line: Option<&Line>) -> Amount {
    line.map(|line| line.exact).unwrap_or_default()
}

impl App {
    /// Explains a correction that the month of `booked_in` booked.
    pub(crate) async fn explain_correction(
        self: &Arc<Self>,
        found: &mut Explained,
        booked_in: &PeriodRecord,
        asked: Asked<'_>,
    ) -> Result<(), Refusal> {
        let key = &asked.line.key;
        let (Some(period), Some(of)) = (key.original_period, corrected_key(key)) else { return Ok(()) };
        let records = close::period_records(self.books()).await?;
        let original = records.iter().find(|record| record.is_closed() && record.period == period);
        let original = original.ok_or_else(|| Refusal::computation("explain a correction", "its month is gone"))?;
        let issued = self.lines_of_statements(original).await?;
        let before = line_of(issued.get(asked.team), &of);
        let earlier = self.corrections_between(&records, (period, booked_in.period)).await?;
        let ours = |one: &&Correction| one.bearer == Bearer::Team(asked.team.clone()) && one.line.key == *key;
        let earlier: Vec<(Period, &Line)> =
            earlier.iter().filter(|(_, one)| ours(&one)).map(|(period, one)| (*period, &one.line)).collect();
        let again = self.case_again(original, booked_in).await?;
        let after = line_of(again.settlement.lines.get(asked.team), &of);
        let corrected = sum(earlier.iter().map(|(_, line)| line.exact))?;
        let stated = exact(before).checked_add(corrected).ok_or_else(overflow)?;
        found.readded = exact(after).checked_sub(stated).ok_or_else(overflow)?;
        found.step(tell(period, booked_in.period, (before, &earlier, after))?);
        found.step(compare_lines(before, after));
        let first = self.case_of(original).await?;
        if let Some(step) = changed::tell(found, (&first, &again), (asked, &of))? {
            found.step(step);
        }
        self.explain_late(found, (original, booked_in, &again), asked).await
    }

    /// Corrections of a month that were booked before another one.
    async fn corrections_between(
        &self,
        records: &[PeriodRecord],
        (of, booked_in): (Period, Period),
    ) -> Result<Vec<(Period, Correction)>, Refusal> {
        let mut earlier = Vec::new();
        for record in records.iter().filter(|one| one.is_closed() && one.period > of && one.period < booked_in) {
            let booked = self.corrections_in(record).await?.into_iter();
            earlier
                .extend(booked.filter(|one| one.line.key.original_period == Some(of)).map(|one| (record.period, one)));
        }
        Ok(earlier)
    }

    /// A closed month as the close of a later one recomputed it: over the events that there were then.
    async fn case_again(self: &Arc<Self>, original: &PeriodRecord, later: &PeriodRecord) -> Result<Case, Refusal> {
        let world = self.world().await?;
        let own = self.world_of(&world, original, Known::By(later)).await?;
        let closed_at = later.closed_at.as_deref().unwrap_or_default();
        let nights = self.nights().await?;
        let mut ours = nights.iter().filter(|(night, _)| original.period.contains(night.day));
        let days = if ours.all(|(night, _)| night.finished_at.as_str() <= closed_at) {
            self.period_facts(original.period).await?
        } else {
            let days = (original.period.days(), Grain::Query);
            self.replay_days(&own, days, (Cut(later.cut), Prints::Stored)).await?
        };
        self.case_from(original, own, days).await
    }

    /// The traces that got events between the two closes.
    async fn explain_late(
        self: &Arc<Self>,
        found: &mut Explained,
        (original, booked_in, again): (&PeriodRecord, &PeriodRecord, &Case),
        asked: Asked<'_>,
    ) -> Result<(), Refusal> {
        let calendar = again.world.history.calendar();
        let utc_days: BTreeSet<_> = original.period.days().flat_map(|day| calendar.utc_days(day)).collect();
        // An event of another month may change who pays for a trace of this one: a root that came late.
        let (reaching, other_days): (BTreeSet<u64>, BTreeSet<NaiveDate>) =
            self.traces_beyond(&utc_days).await?.into_iter().unzip();
        let mut late: BTreeSet<u64> = BTreeSet::new();
        let mut after = original.cut;
        loop {
            let blocks = self.ports.log.blocks_after(after, BLOCKS_PER_STEP).await?;
            let Some(last) = blocks.last() else { break };
            after = last.seq;
            let is_ours = |block: &&BlockInfo| utc_days.contains(&block.utc_day) || other_days.contains(&block.utc_day);
            let ours: Vec<_> = blocks.iter().filter(|block| block.seq <= booked_in.cut).filter(is_ours).collect();
            let read = self.read_columns(ours.iter().map(|block| block.seq).collect(), Prints::Stored).await?;
            for (info, block) in ours.iter().zip(&read) {
                let is_inside = utc_days.contains(&info.utc_day);
                late.extend(block.traces().filter(|trace| is_inside || reaching.contains(trace)));
            }
            if after >= booked_in.cut {
                break;
            }
        }
        let asks: Vec<NaiveDate> = utc_days.iter().copied().collect();
        let taken_over = self.taken_over(asks, (original.cut, booked_in.cut)).await?;
        let (rows, others) = self.late_rows((&late, &taken_over), (original, booked_in, again), asked).await?;
        let says = if rows.is_empty() && others == 0 {
            format!(
                "no trace of {} got an event between the two closes: prices that came later, or exchange rates, made the \
                 difference",
                original.period
            )
        } else {
            format!(
                "traces that got events between the two closes (blocks {} to {}), or report a provider call that one which did \
                 reports too; what they cost in {} now, and before",
                original.cut.saturating_add(1),
                booked_in.cut,
                original.period
            )
        };
        let mut step = Step::new("late events", &["LED-4"]).say(says);
        if others > 0 {
            step = step.say(format!("{others} more are paid by other teams; they change shares of pools and prices"));
        }
        let table = Table::of((&["trace", "payer"], &["#cost before", "#cost now"]), rows, asked.rows.min(TRACES_MAX))?;
        found.step(step.with(table));
        Ok(())
    }

    /// Traces with a report of a provider call that is reported too by a trace which got events in (after, until]: which
    /// of the reports counts may have changed (EVT-2).
    async fn taken_over(&self, utc_days: Vec<NaiveDate>, (after, until): (u64, u64)) -> Result<BTreeSet<u64>, Refusal> {
        let uses = self.ports.log.shared_responses(utc_days).await?;
        let reporting: BTreeSet<u64> = uses.iter().map(|used| used.identity.trace).collect();
        let held = self.ports.log.blocks_of_traces(reporting.into_iter().collect()).await?;
        let fresh: BTreeSet<u64> =
            held.into_iter().filter(|(_, seq)| after < *seq && *seq <= until).map(|(trace, _)| trace).collect();
        Ok(partners(&uses, &fresh.into_iter().collect::<Vec<_>>()))
    }

    /// Events of some traces that do not count because another report of the same call does (EVT-2).
    async fn excluded_in(&self, again: &Case, traces: &BTreeSet<u64>, cut: Cut) -> Result<BTreeSet<Identity>, Refusal> {
        let calendar = again.world.history.calendar();
        let utc_days: BTreeSet<_> = again.period().days().flat_map(|day| calendar.utc_days(day)).collect();
        let utc_days: Vec<_> = utc_days.into_iter().collect();
        let touched: Vec<u64> = traces.iter().copied().collect();
        Ok(self.excluded_reports(&again.world, &utc_days, &touched, cut).await?.0)
    }

    async fn late_rows(
        self: &Arc<Self>,
        (late, taken_over): (&BTreeSet<u64>, &BTreeSet<u64>),
        (original, booked_in, again): (&PeriodRecord, &PeriodRecord, &Case),
        asked: Asked<'_>,
    ) -> Result<(Vec<Row>, usize), Refusal> {
        let all = &(late | taken_over);
        let context = Context { history: &again.world.history, rater: again.world.prices.as_ref() };
        let now = self.events_of_traces(all, Cut(booked_in.cut)).await?;
        let before: BTreeSet<Identity> =
            self.events_of_traces(all, Cut(original.cut)).await?.into_iter().map(|(identity, _)| identity).collect();
        let excluded_now = self.excluded_in(again, all, Cut(booked_in.cut)).await?;
        let excluded_before = self.excluded_in(again, all, Cut(original.cut)).await?;
        let mut rows: Vec<Row> = Vec::new();
        let mut others = 0_usize;
        for events in crate::nightly::group(now) {
            let known: Vec<_> =
                events.iter().filter(|recorded| before.contains(&Identity::of(&recorded.event))).cloned().collect();
            let (_, old) = cost_in(&known, original.period, (&excluded_before, &context))?;
            let (payer, new) = cost_in(&events, original.period, (&excluded_now, &context))?;
            let first = events.first();
            if old == new && !first.is_some_and(|recorded| late.contains(&Identity::of(&recorded.event).trace)) {
                continue;
            }
            let trace = first.map(|recorded| recorded.event.trace_name().to_string()).unwrap_or_default();
            if !asked.sees_all && payer.as_ref() != Some(asked.team) {
                others = others.saturating_add(1);
                continue;
            }
            let payer = payer.as_deref().unwrap_or("unattributed").to_owned();
            rows.push(Row { names: vec![trace, payer], figures: vec![old, new] });
        }
        let ours = |row: &Row| row.names.get(1).is_some_and(|payer| *payer == **asked.team);
        rows.sort_by(|a, b| {
            ours(b).cmp(&ours(a)).then_with(|| b.figures.cmp(&a.figures)).then_with(|| a.names.cmp(&b.names))
        });
        Ok((rows, others))
    }
}

/// Who pays for a trace, and what it costs in a month.
fn cost_in(
    events: &[recoup_model::Recorded],
    period: Period,
    (excluded, context): (&BTreeSet<Identity>, &Context<'_>),
) -> Result<(Option<Id>, Amount), Refusal> {
    if events.is_empty() {
        return Ok((None, Amount::ZERO));
    }
    let trace = resolve(events, excluded, context).map_err(|error| Refusal::computation("attribute a trace", error))?;
    let mut cost = Amount::ZERO;
    for span in trace.spans.iter().filter(|span| period.contains(span.local_day)) {
        plus(&mut cost, span.exclusive)?;
    }
    Ok((trace.payer.team, cost))
}

fn tell(
    period: Period,
    booked_in: Period,
    (before, earlier, after): (Option<&Line>, &[(Period, &Line)], Option<&Line>),
) -> Result<Step, Refusal> {
    let mut step = Step::new("two closes", &["LED-4", "CRX-1"])
        .say(format!("{period} recomputed at the close of {booked_in}, with its own prices and organisation, less what was booked"))
        .calculate(format!("recomputed {}", exact(after)))
        .calculate(format!("- as issued in {period} {}", exact(before)));
    let mut booked = exact(before);
    for (in_period, line) in earlier {
        step = step.calculate(format!("- corrected in {in_period} {}", line.exact));
        plus(&mut booked, line.exact)?;
    }
    let difference = exact(after).checked_sub(booked).ok_or_else(overflow)?;
    Ok(step.calculate(format!("= {difference}")))
}

fn compare_lines(before: Option<&Line>, after: Option<&Line>) -> Step {
    let text = |amount: Option<Amount>| amount.map(|amount| amount.to_string()).unwrap_or_default();
    let row = |name: &str, line: Option<&Line>| {
        let of = |get: fn(&Line) -> String| line.map(get).unwrap_or_default();
        vec![
            name.to_owned(),
            text(line.and_then(|line| line.quantity)),
            text(line.and_then(|line| line.price)),
            of(|line| line.basis.as_deref().unwrap_or_default().to_owned()),
            of(|line| line.ratio.clone().unwrap_or_default()),
            text(line.map(|line| line.exact)),
        ]
    };
    let rows = vec![row("as issued", before), row("recomputed", after)];
    let table = Table::list(&["line", "#quantity", "#price", "basis", "#ratio", "#exact"], rows, 2);
    Step::new("the line", &["LED-4"]).with(table)
}
