//! A batch added up: regular traces here, the others the careful way.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use recoup_model::period::utc_day;
use recoup_model::{Finding, FindingKind, Id, Identity, Recorded};

use super::measure::{Measure, PayerNames, Today};
use super::organisations::Organisations;
use super::sums::{Sums, finding};
use super::work::Works;
use super::{Batch, place_of};
use crate::day::DayBuilder;
use crate::error::AttributionError;
use crate::facts::{DayFacts, FINDINGS_PER_KIND_MAX};
use crate::first::first_recorded;
use crate::grain::Grain;
use crate::resolve::{Context, resolve};
use crate::sum::add_count;

/// Nanoseconds of a UTC day.
const UTC_DAY_NS: i64 = 86_400_000_000_000;

/// Where the events behind the rows are, by number of the row.
pub trait Source {
    /// The event as it is recorded; `None` for a row that is not there.
    fn recorded(&self, row: usize) -> Option<Recorded>;
    /// The content digest of each row, in order.
    fn digests(&self) -> impl Iterator<Item = [u8; 32]>;
    /// What names its trace.
    fn trace_name(&self, row: usize) -> Option<Id>;
}

/// The facts of a local day (of one lane) from a batch that has every event of each trace that touches the day. Of an event
/// that is there several times the first recorded stands (EVT-2).
///
/// `excluded` is as for [`resolve`](crate::resolve()). The facts are those that [`DayBuilder`] gives of the same traces,
/// in the grain of settlements those of [`DayFacts::in_settlement_grain`].
///
/// # Errors
/// [`AttributionError`], as `resolve` and `DayBuilder` have them.
pub fn day_facts(
    (day, grain): (NaiveDate, Grain),
    batch: &mut Batch<'_>,
    excluded: &BTreeSet<Identity>,
    context: &Context<'_>,
    source: &impl Source,
) -> Result<DayFacts, AttributionError> {
    let mut night = Night::new((day, grain), batch, context);
    let excluded_traces: BTreeSet<u64> = excluded.iter().map(|identity| identity.trace).collect();
    let traces = batch.traces.group();
    for members in traces.iter() {
        if !members.iter().any(|row| night.is_today(batch, *row)) {
            continue;
        }
        let is_excluded = || {
            let first = members.first().and_then(|row| batch.rows.get(place_of(*row)));
            first.is_some_and(|rated| excluded_traces.contains(&rated.row.identity.trace))
        };
        let regular = (excluded_traces.is_empty() || !is_excluded()) && night.add_regular(batch, members, source)?;
        if !regular {
            let events = members.iter().map(|row| source.recorded(place_of(*row)).ok_or(AttributionError::NoEvents));
            let events = first_recorded(events.collect::<Result<_, _>>()?);
            night.builder.add(&resolve(&events, excluded, context)?, context)?;
        }
    }
    night.finish(batch, context, source)
}

struct Night<'h> {
    today: Today,
    organisations: Organisations<'h>,
    measure: Measure,
    sums: Sums,
    works: Option<Works>,
    builder: DayBuilder,
    notes: Notes,
    /// By row whether it belongs to a regular trace of the day, whose events all count.
    counts: Vec<bool>,
}

/// Findings of regular traces: all counted, the first of each kind kept.
#[derive(Default)]
struct Notes {
    counts: BTreeMap<FindingKind, u64>,
    kept: BTreeMap<FindingKind, BTreeSet<Finding>>,
}

impl<'h> Night<'h> {
    fn new((day, grain): (NaiveDate, Grain), batch: &mut Batch<'_>, context: &Context<'h>) -> Self {
        let mut organisations = Organisations::new(context.history);
        let view = organisations.place(day, &mut batch.names);
        let (begin_ns, end_ns) = context.history.calendar().day_bounds_ns(day);
        Self {
            today: Today { day, begin_ns, end_ns, view, grain },
            organisations,
            measure: Measure::default(),
            sums: Sums::default(),
            works: batch.dearest_max.map(Works::new),
            builder: DayBuilder::new(day).keeping(batch.dearest_max).with_room(batch.len()),
            notes: Notes::default(),
            counts: vec![false; batch.len()],
        }
    }

    fn is_today(&self, batch: &Batch<'_>, row: u32) -> bool {
        let used_at_ns = batch.rows.get(place_of(row)).map(|rated| rated.row.used_at_ns);
        used_at_ns.is_some_and(|used_at_ns| (self.today.begin_ns..self.today.end_ns).contains(&used_at_ns))
    }

    /// Adds a trace if it is regular.
    fn add_regular(
        &mut self,
        batch: &mut Batch<'_>,
        members: &[u32],
        source: &impl Source,
    ) -> Result<bool, AttributionError> {
        if !self.measure.tree.plant(&batch.rows, members) {
            return Ok(false);
        }
        let added = self.measure.add(batch, &mut self.organisations, self.today, &mut self.sums)?;
        let Some(payer) = added else { return Ok(false) };
        if let (Some(works), Some(ended)) = (&mut self.works, self.measure.ended) {
            works.add(ended, &self.measure.calls)?;
        }
        for row in members {
            if let Some(counts) = self.counts.get_mut(place_of(*row)) {
                *counts = true;
            }
        }
        if self.today.grain == Grain::Query {
            self.add_findings(batch, &payer, source)?;
        }
        Ok(true)
    }

    fn add_findings(
        &mut self,
        batch: &Batch<'_>,
        payer: &PayerNames,
        source: &impl Source,
    ) -> Result<(), AttributionError> {
        if let Some((kind, row)) = self.measure.unpaid(payer) {
            let detail = match kind {
                FindingKind::UnknownTeam => {
                    crate::notes::unknown_team(batch.names.text(payer.named).map_or("", |team| team))
                }
                _ => crate::notes::UNATTRIBUTED.to_owned(),
            };
            self.notes.add(kind, detail, (source, row))?;
        }
        for row in self.measure.reported(batch) {
            self.notes.add(FindingKind::ReportedUsed, crate::notes::REPORTED_USED.to_owned(), (source, row))?;
        }
        Ok(())
    }

    /// Notes every event of regular traces for the manifest, in the order in which they lie.
    fn add_prints(&mut self, batch: &Batch<'_>, source: &impl Source) -> Result<(), AttributionError> {
        let mut digests = source.digests();
        let (mut day, mut last) = (None, 0..0);
        for (rated, counts) in batch.rows.iter().zip(&self.counts) {
            let digest = digests.next().ok_or(AttributionError::NoEvents)?;
            if !counts {
                continue;
            }
            let used_at_ns = rated.row.used_at_ns;
            let is_today = (self.today.begin_ns..self.today.end_ns).contains(&used_at_ns);
            if is_today && !last.contains(&used_at_ns) {
                let begin_ns = used_at_ns.saturating_sub(used_at_ns.rem_euclid(UTC_DAY_NS));
                (day, last) = (Some(utc_day(used_at_ns)), begin_ns..begin_ns.saturating_add(UTC_DAY_NS));
            }
            self.builder.prints_of(day.filter(|_| is_today)).add(rated.row.identity, &digest);
        }
        Ok(())
    }

    fn finish(
        mut self,
        batch: &Batch<'_>,
        context: &Context<'_>,
        source: &impl Source,
    ) -> Result<DayFacts, AttributionError> {
        self.add_prints(batch, source)?;
        let mut facts = self.builder.finish();
        if self.today.grain == Grain::Settlement {
            facts = facts.in_settlement_grain(context.history)?;
        }
        let mut regular = self.sums.into_facts(self.today.day, batch);
        regular.finding_counts = self.notes.counts;
        regular.findings = self.notes.kept.into_values().flatten().collect();
        if let Some(works) = self.works {
            works.into_facts(&mut regular, batch, |row| source.trace_name(place_of(row)))?;
        }
        facts.merge(regular)?;
        Ok(facts)
    }
}

impl Notes {
    fn add(
        &mut self,
        kind: FindingKind,
        detail: String,
        (source, row): (&impl Source, u32),
    ) -> Result<(), AttributionError> {
        add_count(self.counts.entry(kind).or_default(), 1, "finding_counts")?;
        let kept = self.kept.entry(kind).or_default();
        let trace = source.trace_name(place_of(row)).ok_or(AttributionError::NoEvents)?;
        let is_full = kept.len() >= FINDINGS_PER_KIND_MAX;
        // A subject begins with the name of its trace: most are told from the last one kept without being written.
        if is_full && kept.last().is_some_and(|last| is_beyond(&trace, &last.subject)) {
            return Ok(());
        }
        let recorded = source.recorded(place_of(row)).ok_or(AttributionError::NoEvents)?;
        let subject = format!("{trace}/{}", recorded.event.event_id);
        let new = finding(kind, subject, detail);
        if !is_full {
            kept.insert(new);
        } else if kept.last().is_some_and(|last| new < *last) && kept.insert(new) {
            kept.pop_last();
        }
        Ok(())
    }
}

/// Whether every text that begins with `start` comes after `last`.
fn is_beyond(start: &str, last: &str) -> bool {
    start.as_bytes() > last.as_bytes().get(..start.len()).unwrap_or(last.as_bytes())
}
