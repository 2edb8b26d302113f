//! [`Sample`]: traces in the order in which they start, events in the order in which they are delivered.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use recoup_model::TokenClass;

use super::chance::Chance;
use super::habits::{DEMO, Habits, PLAIN};
use super::rhythm::{Rhythm, SECOND_NS, SLOT_NS, Slot};
use super::script::{self, Order, Payer, Scene, Twist};
use super::stage::{MILLISECOND_NS, nanoseconds};
use super::summary::add;
use super::trace::{Cost, Span, Trace};
use super::{Phase, SampleError, SampleEvent, SampleOptions, SampleSummary, Scenario, line};

/// Spans of an average trace: only where in the stream the demo's rare events are planted depends on it.
const SPANS_PER_TRACE: u64 = 10;

/// A seeded stream of deliveries. It holds the traces of the last few minutes and the late events of the last few
/// days, whatever the number of spans.
///
/// ```
/// let mut sample = Sample::new(SampleOptions::demo(1, today))?;
/// for event in sample.by_ref() { post(event.json); }
/// for (count, what) in sample.summary().story() { println!("{count} {what}"); }
/// ```
#[derive(Debug)]
pub(crate) struct Sample {
    habits: &'static Habits,
    scenario: Scenario,
    spans: u64,
    chance: Chance,
    rhythm: Rhythm,
    total_weight: u64,
    passed_weight: u64,
    limit_ns: i64,
    /// No event that is still to be made is delivered before this.
    horizon_ns: i64,
    deliveries: BinaryHeap<Delivery>,
    made: u64,
    summary: SampleSummary,
}

impl Sample {
    /// The sample of these options.
    ///
    /// # Errors
    /// [`SampleError`] where the days cannot be.
    pub(crate) fn new(options: SampleOptions) -> Result<Self, SampleError> {
        options.check()?;
        let mut chance = Chance::seeded(options.seed);
        let rhythm = Rhythm::new(options.first_day, options.days, &mut chance);
        let habits = match options.scenario {
            Scenario::Demo => &DEMO,
            Scenario::Plain => &PLAIN,
        };
        Ok(Self {
            habits,
            scenario: options.scenario,
            spans: options.spans,
            chance,
            total_weight: rhythm.total_weight(),
            passed_weight: 0,
            limit_ns: rhythm.end_ns(),
            rhythm,
            horizon_ns: i64::MIN,
            deliveries: BinaryHeap::new(),
            made: 0,
            summary: SampleSummary::default(),
        })
    }

    /// What was planted in what has been made so far; complete once the iteration has ended.
    #[must_use]
    pub(crate) const fn summary(&self) -> &SampleSummary {
        &self.summary
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.deliveries.len()
    }

    /// Makes the traces that start in a slot.
    fn fill(&mut self, slot: Slot) {
        self.passed_weight = self.passed_weight.saturating_add(slot.weight);
        let due = u128::from(self.spans)
            .saturating_mul(self.passed_weight.into())
            .checked_div(self.total_weight.into())
            .and_then(|due| u64::try_from(due).ok())
            .unwrap_or(self.spans);
        while self.summary.spans < due {
            self.stage(slot, self.twist());
        }
        if slot.is_last && slot.day_end_ns < self.limit_ns && self.spans > 0 {
            self.stage(slot, Twist::CrossesMidnight);
        }
    }

    fn twist(&self) -> Twist {
        if self.is_due(self.summary.runaways, 3) { Twist::RunsAway } else { Twist::None }
    }

    /// Whether the demo needs another of something that it plants so many times, evenly over its traces.
    fn is_due(&self, planted: u64, times: u64) -> bool {
        let traces = (self.spans / SPANS_PER_TRACE).saturating_mul(planted.saturating_add(1));
        let at = traces.checked_div(times.saturating_add(1)).unwrap_or_default();
        self.scenario == Scenario::Demo && planted < times && self.summary.traces >= at
    }

    fn stage(&mut self, slot: Slot, twist: Twist) {
        let offset = self.chance.below(u64::try_from(SLOT_NS / MILLISECOND_NS).unwrap_or_default());
        let order = Order {
            start_ns: slot.begin_ns.saturating_add(nanoseconds(offset)),
            is_business: slot.is_business,
            ordinal: self.summary.traces,
            limit_ns: self.limit_ns,
            twist,
        };
        let is_conflicting = self.is_due(self.summary.conflicts, 2);
        let Some(mut scene) = script::write(order, self.habits, &mut self.chance) else {
            return;
        };
        let gateway = self.report_from_gateway(&scene);
        if self.chance.per_mille(self.habits.lost_frame) {
            let orphans = script::lose_frame(&mut scene.trace);
            self.summary.orphans = self.summary.orphans.saturating_add(u64::try_from(orphans).unwrap_or_default());
        }
        self.summary.count_scene(&scene);
        let (begin_ns, end_ns) = scene.trace.bounds_ns();
        if begin_ns < slot.day_end_ns && end_ns >= slot.day_end_ns {
            self.summary.count_crossing(begin_ns, end_ns);
        }
        add(&mut self.summary.repeated_hour, slot.is_repeated);
        add(&mut self.summary.runaways, twist == Twist::RunsAway);
        self.deliver_trace(&scene.trace, is_conflicting);
        if let Some(trace) = gateway {
            add(&mut self.summary.traces, true);
            add(&mut self.summary.shared_responses, true);
            for span in &trace.spans {
                self.summary.count_span(span);
                self.deliver_span(&trace, span, 0);
            }
        }
    }

    fn report_from_gateway(&mut self, scene: &Scene) -> Option<Trace> {
        let is_reported = self.chance.per_mille(self.habits.gateway) && scene.payer == Payer::Named;
        is_reported.then(|| script::report_from_gateway(&scene.trace, &mut self.chance)).flatten()
    }

    fn deliver_trace(&mut self, trace: &Trace, is_conflicting: bool) {
        let late_root = !is_conflicting && self.chance.per_mille(self.habits.late_root);
        let late_event = !is_conflicting && self.chance.per_mille(self.habits.late_event);
        let last = trace.spans.len().saturating_sub(1);
        for (index, span) in trace.spans.iter().enumerate() {
            let is_late = (late_root && index == 0) || (late_event && index == last);
            let delay_ns = if is_late { self.days_late() } else { 0 };
            self.deliver_span(trace, span, delay_ns);
        }
        if is_conflicting && let Some(span) = trace.spans.iter().find_map(reconsidered) {
            let event = self.event(trace, &span, Phase::OnTime);
            // Long after the first, which is the one that stays (EVT-2).
            self.deliver(span.end_ns.saturating_add(7_200 * SECOND_NS), event);
            add(&mut self.summary.conflicts, true);
        }
    }

    /// Delivers a span after its exporter's delay, and some spans twice.
    fn deliver_span(&mut self, trace: &Trace, span: &Span, late_ns: i64) {
        let is_slow = self.chance.percent(3);
        let delay = if is_slow { (5_000, 900_000) } else { (150, 6_000) };
        let at_ns = span.end_ns.saturating_add(nanoseconds(self.chance.skewed(delay))).saturating_add(late_ns);
        let phase = if late_ns > 0 { Phase::Late } else { Phase::OnTime };
        let event = self.event(trace, span, phase);
        if self.chance.per_mille(self.habits.duplicate) {
            let is_late = phase == Phase::Late || self.chance.percent(10);
            let again_ns = if is_late { self.days_late() } else { nanoseconds(self.chance.skewed((1_000, 6_000_000))) };
            let phase = if is_late { Phase::Late } else { Phase::OnTime };
            let again = SampleEvent { deliver_after: phase, ..event.clone() };
            self.deliver(at_ns.saturating_add(again_ns), again);
            add(&mut self.summary.duplicates, true);
            add(&mut self.summary.late, is_late);
        }
        self.deliver(at_ns, event);
        add(&mut self.summary.late, phase == Phase::Late);
    }

    fn days_late(&mut self) -> i64 {
        nanoseconds(self.chance.between((2 * 86_400_000, 3 * 86_400_000)))
    }

    fn event(&self, trace: &Trace, span: &Span, deliver_after: Phase) -> SampleEvent {
        SampleEvent { json: line::write(trace, span), used_at_ns: span.end_ns, deliver_after }
    }

    fn deliver(&mut self, at_ns: i64, event: SampleEvent) {
        self.made = self.made.saturating_add(1);
        self.deliveries.push(Delivery { at_ns, sequence: self.made, event });
    }
}

/// The same span with other tokens: what a second report of the same identity must not change.
fn reconsidered(span: &Span) -> Option<Span> {
    let Cost::Tokens { model, tier, usage } = span.cost else {
        return None;
    };
    let output = usage.get(TokenClass::Output).checked_add(321).filter(|_| usage.output_side() > 0)?;
    let cost = Cost::Tokens { model, tier, usage: usage.with(TokenClass::Output, output) };
    Some(Span { cost, ..span.clone() })
}

impl Iterator for Sample {
    type Item = SampleEvent;

    fn next(&mut self) -> Option<SampleEvent> {
        loop {
            if self.deliveries.peek().is_some_and(|first| first.at_ns < self.horizon_ns) {
                return self.deliveries.pop().map(|first| first.event);
            }
            let Some(slot) = self.rhythm.next() else {
                return self.deliveries.pop().map(|first| first.event);
            };
            self.fill(slot);
            self.horizon_ns = slot.begin_ns.saturating_add(SLOT_NS);
        }
    }
}

/// An event on its way. The earliest is the greatest, as a [`BinaryHeap`] hands out the greatest first.
#[derive(Debug)]
struct Delivery {
    at_ns: i64,
    /// In order of making: decides between equal times.
    sequence: u64,
    event: SampleEvent,
}

impl Ord for Delivery {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ns, other.sequence).cmp(&(self.at_ns, self.sequence))
    }
}

impl PartialOrd for Delivery {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Delivery {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Delivery {}
