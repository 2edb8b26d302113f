//! What of a trace counts for which counter (BUD-1).
//!
//! Once its root has arrived, every span counts for the payer of the trace. Until then each span counts for its own tags,
//! else those of the nearest ancestor that has them, else those of its API key, else for the organisation alone. An agent
//! answers for the exclusive cost of its spans; a task is named by `task_id`, else by the trace.

use std::collections::BTreeMap;

use recoup_attribution::{Span, Trace};
use recoup_model::organisation::History;
use recoup_model::{Id, Organisation, Recorded, Tags};
use recoup_money::Amount;

use crate::admission::{Asker, TASK_PERIOD};
use crate::counter::{Counter, Watched};

/// Why nothing can be posted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostingError {
    /// A sum does not fit (MON-3).
    #[error("what is posted to {0} in {1} does not fit; look for an absurd amount among the events")]
    Overflow(String, String),
}

/// Who a span counts for.
#[derive(Clone, Default)]
struct Bearer {
    team: Option<Id>,
    project: Option<Id>,
    user: Option<Id>,
    task: Option<Id>,
    task_type: Option<Id>,
}

/// What a trace posts, by counter: no zeros. `events` are those that the trace was resolved from.
///
/// # Errors
/// [`PostingError`].
pub fn postings(
    trace: &Trace,
    events: &[Recorded],
    history: &History,
    watched: &Watched,
) -> Result<BTreeMap<Counter, Amount>, PostingError> {
    let bearers = bearers(trace, events);
    let mut posted: BTreeMap<Counter, Amount> = BTreeMap::new();
    for (span, bearer) in trace.spans.iter().zip(&bearers) {
        if span.exclusive.is_zero() {
            continue;
        }
        let organisation = &history.on(span.local_day).organisation;
        for scope in scopes(span, bearer, organisation) {
            for period in periods(&scope, span, bearer, watched) {
                let counter = Counter { scope: scope.clone(), period };
                let held = posted.get(&counter).copied().unwrap_or_default();
                let sum = held
                    .checked_add(span.exclusive)
                    .ok_or_else(|| PostingError::Overflow(counter.scope.clone(), counter.period.clone()))?;
                posted.insert(counter, sum);
            }
        }
    }
    posted.retain(|_, amount| !amount.is_zero());
    Ok(posted)
}

/// A span of critical work (BUD-2).
#[derive(Clone, Debug)]
pub struct CriticalSpan<'a> {
    /// The span.
    pub span: &'a Span,
    /// Who it counts for.
    pub asker: Asker,
    /// The counters that its cost is posted to.
    pub counters: Vec<Counter>,
}

/// The spans that cost something and whose claim to be critical is honoured.
#[must_use]
pub fn critical_spans<'a>(
    trace: &'a Trace,
    events: &[Recorded],
    history: &History,
    watched: &Watched,
) -> Vec<CriticalSpan<'a>> {
    if !trace.spans.iter().any(|span| span.event.critical) {
        return Vec::new();
    }
    let spans = trace.spans.iter().zip(bearers(trace, events));
    let claims = spans.filter(|(span, _)| span.event.critical && !span.exclusive.is_zero());
    let critical = claims.filter_map(|(span, bearer)| {
        let organisation = &history.on(span.local_day).organisation;
        let of_scope = |scope: String| {
            let periods = periods(&scope, span, &bearer, watched);
            periods.into_iter().map(move |period| Counter { scope: scope.clone(), period }).collect::<Vec<_>>()
        };
        let counters = scopes(span, &bearer, organisation).into_iter().flat_map(of_scope).collect();
        let Bearer { team, project, user, task, .. } = bearer;
        let (agent, task_type) = (span.agent.clone(), span.task_type.clone());
        let asker = Asker { team, project, agent, user, task, task_type };
        asker.may_be_critical(organisation).then_some(CriticalSpan { span, asker, counters })
    });
    critical.collect()
}

/// The periods in which a scope counts a span: those that it has budgets for, and for a task with a cap all time.
fn periods(scope: &str, span: &Span, bearer: &Bearer, watched: &Watched) -> Vec<String> {
    let is_capped = scope.starts_with("task:") && bearer.task_type.as_ref().is_some_and(|of| watched.is_capped(of));
    let life = is_capped.then(|| TASK_PERIOD.to_owned());
    watched.kinds(scope).map(|kind| kind.period_of(span.local_day)).chain(life).collect()
}

/// The chain of scopes that a span counts for.
fn scopes(span: &Span, bearer: &Bearer, organisation: &Organisation) -> Vec<String> {
    let named = |kind: &str, id: &Option<Id>| id.as_ref().map(|id| format!("{kind}:{id}"));
    // A team that the organisation file does not have is nobody's: the cost is unattributed.
    let team = bearer.team.clone().filter(|team| organisation.teams.contains_key(team));
    let chain = [
        Some("organisation".to_owned()),
        named("team", &team),
        named("project", &bearer.project),
        named("agent", &span.agent),
        named("user", &bearer.user),
        named("task", &bearer.task),
    ];
    chain.into_iter().flatten().collect()
}

/// Who each span counts for, in the order of the spans.
fn bearers(trace: &Trace, events: &[Recorded]) -> Vec<Bearer> {
    let keys: BTreeMap<&Id, &Tags> =
        events.iter().map(|recorded| (&recorded.event.event_id, &*recorded.origin.key_tags)).collect();
    let nothing = Tags::default();
    let payer = trace.root_arrived.then_some(&trace.payer);
    let root = trace.root_span().map(|root| &root.event.tags);
    let root_task = root.and_then(|tags| tags.task_id.clone());
    let root_type = root.and_then(|tags| tags.task_type.clone());
    // In preorder a parent stands before its children. What an ancestor has only from its key is not handed down.
    let mut tagged: Vec<Bearer> = Vec::with_capacity(trace.spans.len());
    let mut bearers = Vec::with_capacity(trace.spans.len());
    for span in &trace.spans {
        let above = span.parent.and_then(|parent| tagged.get(parent)).cloned().unwrap_or_default();
        let own = &span.event.tags;
        let own = Bearer {
            team: own.team.clone().or(above.team),
            project: own.project.clone().or(above.project),
            user: own.user.clone().or(above.user),
            task: own.task_id.clone().or(above.task),
            task_type: own.task_type.clone().or(above.task_type),
        };
        if let Some(payer) = payer {
            // The task of the trace is its root's; without one a span's own or the nearest above.
            let task = root_task.clone().or_else(|| own.task.clone()).or_else(|| Some(trace.trace.clone()));
            bearers.push(Bearer {
                team: payer.team.clone(),
                project: payer.project.clone(),
                user: payer.user.clone(),
                task,
                task_type: root_type.clone().or_else(|| own.task_type.clone()),
            });
            tagged.push(own);
            continue;
        }
        let key = keys.get(&span.event.event_id).copied().unwrap_or(&nothing);
        let with_key = |tag: &Option<Id>, of_key: &Option<Id>| tag.clone().or_else(|| of_key.clone());
        bearers.push(Bearer {
            team: with_key(&own.team, &key.team),
            project: with_key(&own.project, &key.project),
            user: with_key(&own.user, &key.user),
            task: with_key(&own.task, &key.task_id).or_else(|| Some(trace.trace.clone())),
            task_type: with_key(&own.task_type, &key.task_type),
        });
        tagged.push(own);
    }
    bearers
}
