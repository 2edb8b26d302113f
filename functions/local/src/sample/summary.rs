//! What was planted, for the demo to tell and for tests to check.

use chrono::Datelike;
use recoup_model::{Calendar, Kind, Status};

use super::offers::FINE_TUNED;
use super::rhythm::ZONE;
use super::script::{Payer, Scene};
use super::trace::{Cost, Span};

/// Counts over the events delivered so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SampleSummary {
    /// Distinct events: what an empty log accepts.
    pub(crate) spans: u64,
    /// Traces, an event without a trace being one of its own.
    pub(crate) traces: u64,
    /// Events without a trace.
    pub(crate) traceless: u64,
    /// Roots with a task type, and of them
    pub(crate) tasks: u64,
    /// tasks that ended well,
    pub(crate) completed: u64,
    /// tasks that failed,
    pub(crate) failed: u64,
    /// tasks that were stopped.
    pub(crate) killed: u64,
    /// Events delivered a second time, unchanged.
    pub(crate) duplicates: u64,
    /// Events delivered a second time with another content.
    pub(crate) conflicts: u64,
    /// Deliveries two or three days late, repeated ones included.
    pub(crate) late: u64,
    /// Events of a model that nobody has priced.
    pub(crate) unpriced: u64,
    /// Traces that nobody pays: no team and no user, or an unknown team.
    pub(crate) unattributed: u64,
    /// Of them those that name an unknown team.
    pub(crate) unknown_team: u64,
    /// Traces whose team stands in `[[people]]` only.
    pub(crate) from_people: u64,
    /// Traces in which an agent is called by the agent it called.
    pub(crate) cycles: u64,
    /// Spans whose parent never comes.
    pub(crate) orphans: u64,
    /// Frames that report the usage below them.
    pub(crate) wrappers: u64,
    /// Of them those that report more than that: usage that nobody observed.
    pub(crate) unobserved: u64,
    /// Model calls that were tried again.
    pub(crate) retries: u64,
    /// Calls that the gateway reported as well.
    pub(crate) shared_responses: u64,
    /// Model calls above the context threshold.
    pub(crate) long_context: u64,
    /// Model calls in the batch tier.
    pub(crate) batch: u64,
    /// Events with a reported cost and nothing to price them by.
    pub(crate) reported_only: u64,
    /// Of them those reported in euros.
    pub(crate) in_euros: u64,
    /// Traces that claim to be critical.
    pub(crate) critical: u64,
    /// Tasks that ran away and were stopped.
    pub(crate) runaways: u64,
    /// Traces that waited days for a person.
    pub(crate) approved_later: u64,
    /// Traces that end on a later local day than they start,
    pub(crate) cross_midnight: u64,
    /// and those that end in a later month.
    pub(crate) cross_month: u64,
    /// Traces that start in the hour that comes twice.
    pub(crate) repeated_hour: u64,
}

impl SampleSummary {
    /// The counts in words, in the order in which a story would tell them; what did not happen is left out.
    #[must_use]
    pub(crate) fn story(&self) -> Vec<(u64, &'static str)> {
        let told = [
            (self.spans, "spans"),
            (self.traces, "traces"),
            (self.tasks, "tasks"),
            (self.failed, "tasks that failed"),
            (self.killed, "tasks that were stopped"),
            (self.runaways, "of these tasks that ran away"),
            (self.duplicates, "events delivered twice"),
            (self.conflicts, "events that came again with another content"),
            (self.late, "deliveries two or three days late"),
            (self.unpriced, "events of a model that nobody has priced"),
            (self.unattributed, "traces that nobody pays"),
            (self.unknown_team, "of these name a team that does not exist"),
            (self.from_people, "traces whose team is found by their user"),
            (self.cycles, "traces in which two agents call each other"),
            (self.orphans, "spans whose parent never came"),
            (self.wrappers, "frames that report the usage below them once more"),
            (self.unobserved, "of these report more than anybody observed"),
            (self.retries, "model calls tried again"),
            (self.shared_responses, "calls that gateway and agent both reported"),
            (self.long_context, "model calls above the context threshold"),
            (self.batch, "model calls in the batch tier"),
            (self.reported_only, "events that only their source can price"),
            (self.in_euros, "of these in euros"),
            (self.critical, "traces that claim to be critical"),
            (self.approved_later, "traces that waited days for a person"),
            (self.traceless, "events without a trace"),
            (self.cross_midnight, "traces across midnight"),
            (self.cross_month, "traces across the end of a month"),
            (self.repeated_hour, "traces in the hour that came twice"),
        ];
        told.into_iter().filter(|(count, _)| *count > 0).collect()
    }

    pub(super) fn count_scene(&mut self, scene: &Scene) {
        let trace = &scene.trace;
        add(&mut self.traces, true);
        add(&mut self.traceless, trace.id.is_none());
        let ended = |status| trace.root.task.is_some() && trace.root.status == Some(status);
        add(&mut self.tasks, trace.root.task.is_some());
        add(&mut self.completed, ended(Status::Ok));
        add(&mut self.failed, ended(Status::Error));
        add(&mut self.killed, ended(Status::Killed));
        add(&mut self.unattributed, matches!(scene.payer, Payer::Nobody | Payer::Dissolved));
        add(&mut self.unknown_team, scene.payer == Payer::Dissolved);
        add(&mut self.from_people, scene.payer == Payer::UserOnly);
        add(&mut self.cycles, has_cycle(&trace.spans));
        add(&mut self.critical, trace.root.is_critical);
        add(&mut self.approved_later, scene.is_approved_later);
        trace.spans.iter().for_each(|span| self.count_span(span));
    }

    pub(super) fn count_span(&mut self, span: &Span) {
        add(&mut self.spans, true);
        add(&mut self.wrappers, span.is_wrapper());
        add(&mut self.unobserved, span.is_excessive);
        add(&mut self.retries, span.retry_of.is_some());
        match span.cost {
            Cost::Tokens { model, tier, usage } if span.kind == Kind::Llm => {
                add(&mut self.unpriced, model == FINE_TUNED);
                add(&mut self.long_context, model.long_above.is_some_and(|above| usage.context() > above));
                add(&mut self.batch, tier == Some("batch"));
            }
            Cost::Reported { service, .. } => {
                add(&mut self.reported_only, true);
                add(&mut self.in_euros, service.currency == "EUR");
            }
            _ => {}
        }
    }

    /// Counts a trace that runs past the end of the local day on which it starts.
    pub(super) fn count_crossing(&mut self, begin_ns: i64, end_ns: i64) {
        let calendar = Calendar::new(ZONE);
        add(&mut self.cross_midnight, true);
        add(&mut self.cross_month, calendar.day_of(begin_ns).month() != calendar.day_of(end_ns).month());
    }
}

/// Counts what holds.
pub(super) fn add(counter: &mut u64, holds: bool) {
    *counter = counter.saturating_add(u64::from(holds));
}

/// Whether an agent's frame lies below another agent's frame that lies below the first agent's.
fn has_cycle(spans: &[Span]) -> bool {
    let frame = |id: Option<u64>| spans.iter().find(|span| span.kind == Kind::Agent && Some(span.id) == id);
    spans.iter().filter(|span| span.agent.is_some()).any(|span| {
        let above = frame(span.parent);
        let top = above.and_then(|above| frame(above.parent));
        top.is_some_and(|top| top.agent == span.agent) && above.is_some_and(|above| above.agent != span.agent)
    })
}
