//! A batch added up: regular traces here, the others the careful way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use chrono::NaiveDate;
use recoup_model::period::utc_day;
use recoup_model::{Finding, FindingKind, Identity};

use super::feed::{Feed, Source};
use super::measure::{Measure, PayerNames, Today};
use super::organisations::Organisations;
use super::sums::{Sums, finding};
use super::work::Works;
use super::{Batch, place_of};
use crate::day::DayBuilder;
use crate::error::AttributionError;
use crate::facts::{DayFacts, FINDINGS_PER_KIND_MAX};
use crate::grain::Grain;
use crate::resolve::Context;
use crate::settlement::SettlementFacts;
use crate::sum::add_count;
use crate::trace::Trace;

/// Nanoseconds of a UTC day.
const UTC_DAY_NS: i64 = 86_400_000_000_000;

/// The facts of a local day (of one lane) from a batch that has every event of each trace that touches the day. Of an event
/// that is there several times the first recorded stands (EVT-2).
///
/// `excluded` is as for [`resolve`](crate::resolve()). The facts are those that [`DayBuilder`] gives of the same traces,
/// in the grain of settlements those of [`DayFacts::in_settlement_grain`].
///
/// # Errors
/// [`AttributionError`], as `resolve` and `DayBuilder` have them.
pub fn day_facts<S: Source>(
    (day, grain): (NaiveDate, Grain),
    mut batch: Batch<'_>,
    excluded: &BTreeSet<Identity>,
    context: &Context<'_>,
    source: &S,
) -> Result<DayFacts, AttributionError> {
    let night = Night::new((day, grain), &mut batch, context);
    let mut feed = Feed::new(night, batch, excluded, context, source);
    source.fill(&mut feed)?;
    feed.finish()
}

/// What a settlement reads of [`day_facts`].
///
/// # Errors
/// As [`day_facts`].
pub fn settlement_facts<S: Source>(
    day: NaiveDate,
    mut batch: Batch<'_>,
    excluded: &BTreeSet<Identity>,
    context: &Context<'_>,
    source: &S,
) -> Result<SettlementFacts, AttributionError> {
    let night = Night::new((day, Grain::Settlement), &mut batch, context);
    let mut feed = Feed::new(night, batch, excluded, context, source);
    source.fill(&mut feed)?;
    feed.settle()
}

/// What the traces of a day come to so far.
pub(super) struct Night<'h> {
    today: Today,
    organisations: Organisations<'h>,
    measure: Measure,
    sums: Sums,
    works: Option<Works>,
    builder: DayBuilder,
    notes: Notes,
    /// The last UTC day that events of the day lay on.
    utc: Option<(NaiveDate, Range<i64>)>,
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
            builder: DayBuilder::new(day).keeping(batch.dearest_max),
            notes: Notes::default(),
            utc: None,
        }
    }

    pub(super) fn make_room(&mut self, events: usize) {
        self.builder.make_room(events);
    }

    pub(super) fn is_today(&self, used_at_ns: i64) -> bool {
        (self.today.begin_ns..self.today.end_ns).contains(&used_at_ns)
    }

    /// Adds a trace that was resolved the careful way.
    pub(super) fn add_resolved(&mut self, trace: &Trace, context: &Context<'_>) -> Result<(), AttributionError> {
        self.builder.add(trace, context)
    }

    /// Adds a trace if it is regular.
    pub(super) fn add_regular(
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
        self.add_prints(batch, source)?;
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
        if let Some((kind, row)) = self.measure.unpaid(batch, payer) {
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

    /// Notes the events of the trace for the manifest, in order of their fingerprints.
    fn add_prints(&mut self, batch: &Batch<'_>, source: &impl Source) -> Result<(), AttributionError> {
        for (_, slot) in &self.measure.tree.events {
            let rated = batch.rows.get(place_of(*slot)).ok_or(AttributionError::RowsDiffer)?;
            let digest = source.digest(rated.number).ok_or(AttributionError::RowsDiffer)?;
            let used_at_ns = rated.row.used_at_ns;
            let is_today = self.is_today(used_at_ns);
            if is_today && self.utc.as_ref().is_none_or(|(_, day)| !day.contains(&used_at_ns)) {
                let begin_ns = used_at_ns.saturating_sub(used_at_ns.rem_euclid(UTC_DAY_NS));
                self.utc = Some((utc_day(used_at_ns), begin_ns..begin_ns.saturating_add(UTC_DAY_NS)));
            }
            let day = self.utc.as_ref().map(|(day, _)| *day).filter(|_| is_today);
            self.builder.prints_of(day).add(rated.row.identity, &digest);
        }
        Ok(())
    }

    /// What a settlement reads.
    pub(super) fn settle(self, batch: &Batch<'_>, context: &Context<'_>) -> Result<SettlementFacts, AttributionError> {
        let mut careful = self.builder.finish();
        let (mut rows, price_names) = self.sums.into_rows(batch);
        rows.add_coarse(&careful, context.history);
        careful.price_names.extend(price_names);
        Ok(rows.in_order(self.today.day)?.counting(&careful))
    }

    pub(super) fn finish(
        self,
        batch: &Batch<'_>,
        context: &Context<'_>,
        source: &impl Source,
    ) -> Result<DayFacts, AttributionError> {
        let mut facts = self.builder.finish();
        if self.today.grain == Grain::Settlement {
            facts = facts.in_settlement_grain(context.history)?;
        }
        let mut regular = self.sums.into_facts(self.today.day, batch);
        regular.finding_counts = self.notes.counts;
        regular.findings = self.notes.kept.into_values().flatten().collect();
        if let Some(works) = self.works {
            works.into_facts(&mut regular, batch, |row| source.trace_name(row))?;
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
        (source, row): (&impl Source, u64),
    ) -> Result<(), AttributionError> {
        add_count(self.counts.entry(kind).or_default(), 1, "finding_counts")?;
        let kept = self.kept.entry(kind).or_default();
        let trace = source.trace_name(row).ok_or(AttributionError::RowsDiffer)?;
        let is_full = kept.len() >= FINDINGS_PER_KIND_MAX;
        // A subject begins with the name of its trace: most are told from the last one kept without being written.
        if is_full && kept.last().is_some_and(|last| is_beyond(&trace, &last.subject)) {
            return Ok(());
        }
        let recorded = source.recorded(row).ok_or(AttributionError::RowsDiffer)?;
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
