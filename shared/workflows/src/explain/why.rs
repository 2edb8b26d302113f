//! Which span, API key, resource or person gave a span each of its tags, and who runs its agent (ATR-1).
//!
//! The initiator of a trace pays for every span of it; the owner of an agent is the team that runs it. They are shown
//! apart, because an owner is never charged for what others ask of its agent.

use std::collections::BTreeMap;

use recoup_attribution::{PayerSource, Span, TagFrom, Trace};
use recoup_model::organisation::History;
use recoup_model::period::format_instant;
use recoup_model::{Calendar, Identity, Recorded};
use serde_json::{Value, json};

/// What a trace was put together from: its events by identity.
pub(crate) struct Sources<'a> {
    trace: &'a Trace,
    /// The payer's user by name, where it is known.
    user: Option<&'a str>,
    events: BTreeMap<Identity, &'a Recorded>,
}

impl<'a> Sources<'a> {
    pub(crate) fn new((trace, user): (&'a Trace, Option<&'a str>), events: &'a [Recorded]) -> Self {
        let events = events.iter().map(|recorded| (Identity::of(&recorded.event), recorded)).collect();
        Self { trace, user, events }
    }

    /// For each tag of a span where it comes from: `from` is `own`, `ancestor`, `root`, `resource`, `person`, `key`,
    /// `span` or `nobody`, `name` the span, key or person. `null`: the span has no such tag.
    pub(crate) fn why(&self, span: &Span) -> Value {
        let payer = &self.trace.payer;
        let root = self.trace.root_span();
        let of_root = |own: bool| if own { from("root", self.root_name()) } else { from("key", self.key_of(root)) };
        json!({
            "agent": self.inherited(span, span.agent_from),
            "task_type": self.inherited(span, span.task_type_from),
            "team": self.team(),
            "user": payer.user.as_ref().map(|_| of_root(root.is_some_and(|root| root.event.tags.user.is_some()))),
            "project": payer.project.as_ref().map(|_| of_root(root.is_some_and(|root| root.event.tags.project.is_some()))),
        })
    }

    fn inherited(&self, span: &Span, source: Option<TagFrom>) -> Option<Value> {
        Some(match source? {
            TagFrom::Own => from("own", Some(span.event.event_id.to_string())),
            TagFrom::Ancestor(at) => from("ancestor", self.name_of(at)),
            TagFrom::Key => from("key", self.key_of(Some(span))),
        })
    }

    fn team(&self) -> Value {
        let root = self.trace.root_span();
        match self.trace.payer.source {
            PayerSource::Root => from("root", self.root_name()),
            PayerSource::Resource => from("resource", self.root_name()),
            PayerSource::Person => from("person", self.user.map(str::to_owned)),
            PayerSource::Key => from("key", self.key_of(root)),
            PayerSource::Span(at) => from("span", self.name_of(at)),
            PayerSource::Nobody => from("nobody", None),
        }
    }

    fn name_of(&self, at: usize) -> Option<String> {
        self.trace.spans.get(at).map(|span| span.event.event_id.to_string())
    }

    fn root_name(&self) -> Option<String> {
        self.name_of(self.trace.root)
    }

    fn key_of(&self, span: Option<&Span>) -> Option<String> {
        self.events.get(&span?.identity)?.origin.key_id.as_ref().map(ToString::to_string)
    }

    /// When the root was recorded, where a midnight lies between the first event of the trace and it: the nights between
    /// took the trace without its root (PRC-0).
    pub(crate) fn late_root(&self, calendar: Calendar) -> Option<Value> {
        let root = self.trace.root_span().filter(|_| self.trace.root_arrived)?;
        let root_at_ns = self.events.get(&root.identity)?.recorded_at_ns;
        let first_at_ns = self.events.values().map(|recorded| recorded.recorded_at_ns).min()?;
        (calendar.day_of(first_at_ns) < calendar.day_of(root_at_ns)).then(
            || json!({ "recorded_at": format_instant(root_at_ns), "first_recorded_at": format_instant(first_at_ns) }),
        )
    }

    pub(crate) fn recorded_at(&self, span: &Span) -> Option<String> {
        self.events.get(&span.identity).map(|recorded| format_instant(recorded.recorded_at_ns))
    }
}

fn from(source: &str, name: Option<String>) -> Value {
    json!({ "from": source, "name": name })
}

/// The team that runs a span's agent on the span's day; `None`: the organisation file names none.
pub(crate) fn owner_of<'a>(span: &Span, history: &'a History) -> Option<&'a str> {
    let agents = &history.on(span.local_day).organisation.agents;
    agents.get(span.agent.as_ref()?)?.owner.as_deref()
}

/// The root: what asked for everything in the trace, and so who pays.
pub(crate) fn initiator(trace: &Trace, user: Option<&str>) -> Value {
    let root = trace.root_span();
    json!({
        "event_id": root.map(|root| &root.event.event_id),
        "agent": root.and_then(|root| root.agent.as_ref()),
        "team": trace.payer.team,
        "user": user,
        "project": trace.payer.project,
    })
}
