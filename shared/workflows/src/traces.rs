//! One trace as a tree: exclusive and inclusive cost, who pays and why.

use std::collections::BTreeSet;

use chrono::Days;
use recoup_attribution::{Context, DayBuilder, DayFacts, PayerSource, Place, Span, Trace, first_recorded, resolve};
use recoup_model::period::{format_instant, utc_day};
use recoup_model::{CostPart, Event, Identity, Rating, limits};
use serde_json::{Map, Value, json};

use crate::access::Principal;
use crate::app::App;
use crate::error::Refusal;
use crate::explain::why::{Sources, initiator, owner_of};
use crate::nightly::Cut;
use crate::people::Pseudonyms;

impl App {
    /// One trace by its id (for an event without a trace: the event's id).
    ///
    /// # Errors
    /// [`Refusal::NotFound`], also for a trace that another team pays for.
    pub async fn trace(&self, principal: &Principal, trace_id: &str) -> Result<Value, Refusal> {
        let team = principal.seen_team()?;
        let unknown = || Refusal::NotFound(format!("there is no trace `{trace_id}` that this key may see"));
        let world = self.world().await?;
        let mut found = self.events_of_traces(&BTreeSet::from([Identity::trace_of(trace_id)]), Cut::NONE).await?;
        if found.is_empty() {
            let lone = Identity::trace_of_lone(trace_id);
            found = self.events_of_traces(&BTreeSet::from([lone]), Cut::NONE).await?;
        }
        if found.is_empty() {
            return Err(unknown());
        }
        let traces: BTreeSet<u64> = found.iter().map(|(identity, _)| identity.trace).collect();
        let around = found.iter().flat_map(|(_, recorded)| {
            let day = utc_day(recorded.event.used_at_ns);
            [day.checked_sub_days(Days::new(1)), Some(day), day.checked_add_days(Days::new(1))]
        });
        let utc_days: BTreeSet<_> = around.flatten().collect();
        let utc_days: Vec<_> = utc_days.into_iter().collect();
        let (excluded, _) =
            self.excluded_reports(&world, &utc_days, &traces.iter().copied().collect::<Vec<_>>(), Cut::NONE).await?;
        let context = Context { history: &world.history, rater: world.prices.as_ref() };
        let events: Vec<_> = found.into_iter().map(|(_, recorded)| recorded).collect();
        let trace =
            resolve(&events, &excluded, &context).map_err(|error| Refusal::computation("attribute a trace", error))?;
        if team.is_some_and(|team| trace.payer.team.as_deref() != Some(team)) {
            return Err(unknown());
        }
        let user = match &trace.payer.user {
            Some(pseudonym) => Pseudonyms::name(self.books(), pseudonym).await?.or(Some(pseudonym.to_string())),
            None => None,
        };
        let currency = world.history.on(utc_days.last().copied().unwrap_or_default()).organisation.currency;
        let events = first_recorded(events);
        let sources = Sources::new((&trace, user.as_deref()), &events);
        let spans = trace.spans.iter().take(limits::TRACE_SPANS_MAX);
        Ok(json!({
            "trace_id": trace_id,
            "payer": {
                "team": trace.payer.team, "user": user, "project": trace.payer.project,
                "source": payer_source(&trace), "named": trace.payer.named,
            },
            "initiator": initiator(&trace, user.as_deref()),
            "root": trace.root_span().map(|span| &span.event.event_id),
            "root_arrived": trace.root_arrived,
            "late_root": sources.late_root(world.history.calendar()),
            "task": trace.task.as_ref().map(task_json),
            "cost": trace.cost,
            "currency": currency,
            "unpriced": trace.spans.iter().filter(|span| span.counts() && span.unpriced().next().is_some()).count(),
            "agents": agents_json(&trace, &context)?,
            "spans": spans.map(|span| span_json(&sources, &context, (&trace, span))).collect::<Vec<_>>(),
            "spans_in_all": trace.spans.len(),
            "findings": trace.findings,
        }))
    }
}

/// What named the payer's team: `root`, `resource`, `person`, `key`, `span:EVENT_ID` or `nobody` (ATR-1).
fn payer_source(trace: &Trace) -> String {
    match trace.payer.source {
        PayerSource::Root => "root".to_owned(),
        PayerSource::Resource => "resource".to_owned(),
        PayerSource::Person => "person".to_owned(),
        PayerSource::Key => "key".to_owned(),
        PayerSource::Nobody => "nobody".to_owned(),
        PayerSource::Span(at) => {
            let name = trace.spans.get(at).map(|span| span.event.event_id.as_ref()).unwrap_or_default();
            format!("span:{name}")
        }
    }
}

/// Why a span hangs where it hangs (ATR-3).
const fn place_name(place: Place) -> &'static str {
    match place {
        Place::Root => "root",
        Place::Orphan => "orphan",
        Place::LoopCut => "loop_cut",
        Place::Parent => "parent",
        Place::ExtraRoot => "extra_root",
    }
}

fn task_json(task: &recoup_attribution::Task) -> Value {
    json!({
        "agent": task.of.agent, "task_type": task.of.task_type, "ended_on": task.of.ended_on,
        "status": task.status.map(|status| status.name()), "active_ns": task.active_ns, "idle_ns": task.idle_ns,
    })
}

/// Exclusive, inclusive and re-entrant cost by agent (ATR-2), over the whole trace, with who runs the agent.
fn agents_json(trace: &Trace, context: &Context<'_>) -> Result<Value, Refusal> {
    let failed = |error| Refusal::computation("add up the agents of a trace", error);
    let mut all: Option<DayFacts> = None;
    for day in trace.days() {
        let mut builder = DayBuilder::new(day);
        builder.add(trace, context).map_err(failed)?;
        let mut facts = builder.finish();
        match &mut all {
            None => all = Some(facts),
            Some(held) => {
                facts.day = held.day;
                held.merge(facts).map_err(failed)?;
            }
        }
    }
    let of_agent = |(agent, cost)| {
        let first = trace.spans.iter().find(|span| span.agent.as_ref() == Some(&agent));
        let mut row = json!(cost);
        if let Some(row) = row.as_object_mut() {
            row.insert("owner".into(), json!(first.and_then(|span| owner_of(span, context.history))));
            row.insert("pool".into(), json!(first.and_then(|span| span.pool.as_ref())));
        }
        (agent.to_string(), row)
    };
    let agents = all.map(|facts| facts.agents).unwrap_or_default();
    Ok(Value::Object(agents.into_iter().map(of_agent).collect()))
}

fn parts_json(rating: &Rating) -> Vec<Value> {
    let Rating::Priced { parts, .. } = rating else { return Vec::new() };
    let part = |part: &CostPart| match part {
        CostPart::Tokens { class, tokens, cost } => json!({ "class": class, "quantity": tokens, "cost": cost }),
        CostPart::Units { sku, quantity, unit, cost } => {
            json!({ "sku": sku, "quantity": quantity, "unit": unit, "cost": cost })
        }
        CostPart::Reported { cost } => json!({ "reported": true, "cost": cost }),
    };
    parts.iter().map(part).collect()
}

fn span_json(sources: &Sources<'_>, context: &Context<'_>, (trace, span): (&Trace, &Span)) -> Value {
    let parent = span.parent.and_then(|at| trace.spans.get(at)).map(|parent| &parent.event.event_id);
    let unobserved = span.unobserved.as_ref().map(|unobserved| parts_json(&unobserved.rating));
    json!({
        "event_id": span.event.event_id,
        "parent_id": span.event.parent_id,
        "hangs_on": parent,
        "place": place_name(span.place),
        "agent": span.agent,
        "task_type": span.task_type,
        "owner": owner_of(span, context.history),
        "why": sources.why(span),
        "own_team": span.event.tags.team,
        "own_user": span.event.tags.user,
        "own_project": span.event.tags.project,
        "kind": span.event.kind,
        "used_at": format_instant(span.event.used_at_ns),
        "recorded_at": sources.recorded_at(span),
        "duration_ms": span.event.duration_ms,
        "status": span.event.status,
        "provider": span.event.provider,
        "model": span.event.model,
        "exclusive": span.exclusive,
        "inclusive": span.inclusive,
        "parts": parts_json(&span.own),
        "unobserved": unobserved,
        "pool": span.pool,
        "frame": span.frame,
        "invocation": span.invocation,
        "unpriced": span.unpriced().next(),
        "reported_twice": span.excluded,
        "superseded_by": span.superseded_by,
        "retry_of": span.event.retry_of,
    })
}

fn put(row: &mut Map<String, Value>, name: &str, value: Value) {
    if !value.is_null() {
        row.insert(name.to_owned(), value);
    }
}

/// An event in the contract's shape, users as pseudonyms, with its cost as rated.
pub(crate) fn event_json(trace: &Trace, span: &Span) -> Value {
    let event: &Event = &span.event;
    let mut row = Map::new();
    put(&mut row, "event_id", json!(event.event_id));
    put(&mut row, "trace_id", json!(event.trace_id));
    put(&mut row, "parent_id", json!(event.parent_id));
    put(&mut row, "used_at", json!(format_instant(event.used_at_ns)));
    put(&mut row, "duration_ms", json!(event.duration_ms));
    put(&mut row, "kind", json!(event.kind));
    put(&mut row, "tags", json!(event.tags));
    put(&mut row, "priority", json!(event.critical.then_some("critical")));
    put(&mut row, "status", json!(event.status));
    put(&mut row, "provider", json!(event.provider));
    put(&mut row, "model", json!(event.model));
    put(&mut row, "service_tier", json!(event.service_tier));
    let usage = event.usage.map(|usage| {
        let counts = usage.nonzero().map(|(class, tokens)| (class.name().to_owned(), json!(tokens)));
        let counts: Map<_, _> = counts.collect();
        if counts.is_empty() { json!({ "input": 0 }) } else { Value::Object(counts) }
    });
    put(&mut row, "usage", json!(usage));
    if let Some(quantity) = &event.quantity {
        put(&mut row, "sku", json!(quantity.sku));
        put(&mut row, "quantity", json!(quantity.quantity));
        put(&mut row, "unit", json!(quantity.unit));
    }
    let reported = event.reported.map(|cost| json!({ "amount": cost.amount, "currency": cost.currency }));
    put(&mut row, "cost", json!(reported));
    put(&mut row, "response_id", json!(event.response_id));
    put(&mut row, "retry_of", json!(event.retry_of));
    put(&mut row, "supersedes", json!(event.supersedes));
    put(&mut row, "reservation_id", json!(event.reservation_id));
    let payer = json!({ "team": trace.payer.team, "project": trace.payer.project });
    let unpriced = span.unpriced().next();
    // What has no price costs what nobody knows, not nothing (RAT-2).
    let exclusive = Some(span.exclusive).filter(|cost| unpriced.is_none() || !cost.is_zero());
    let mut ours = json!({ "payer": payer, "exclusive": exclusive, "counts": span.counts() });
    if let (Some(reason), Some(ours)) = (unpriced, ours.as_object_mut()) {
        ours.insert("unpriced".into(), json!(reason));
    }
    put(&mut row, "recoup", ours);
    Value::Object(row)
}
