//! What of a trace counts for which counter (BUD-1).
//!
//! Once its root has arrived, every span counts for the payer of the trace, where that leaves something open for those whom
//! its reservation was admitted for. Until then each span counts for its own tags, else for those that its reservation was
//! admitted for, else for those of the nearest ancestor that has them in one of these ways, else for those of its API key,
//! else for the organisation alone. An agent answers for the exclusive cost of its spans; a task is named by `task_id`, else
//! by the trace.

use std::collections::BTreeMap;

use recoup_attribution::{Span, Trace};
use recoup_model::organisation::History;
use recoup_model::{Id, Organisation, Recorded, Tags};
use recoup_money::Amount;

use crate::admission::{Asker, TASK_PERIOD};
use crate::counter::{Counter, Watched};
use crate::overrun::Parts;
use crate::reserved::{Cover, Reservations, covers};

/// Why nothing can be posted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostingError {
    /// A sum does not fit (MON-3).
    #[error("what is posted to {0} in {1} does not fit; look for an absurd amount among the events")]
    Overflow(String, String),
}

/// A trace with whom each of its spans counts for.
#[derive(Clone, Debug)]
pub struct Borne<'a> {
    trace: &'a Trace,
    /// In the order of the spans.
    spans: Vec<(Asker, Option<Cover<'a>>)>,
}

impl<'a> Borne<'a> {
    /// `events` are those that the trace was resolved from, `reservations` those that they name.
    #[must_use]
    pub fn of(trace: &'a Trace, events: &[Recorded], reservations: &'a Reservations) -> Self {
        let covers = covers(trace, events, reservations);
        let bearers = if trace.root_arrived {
            bearers_of_payer(trace, &covers)
        } else {
            bearers_by_themselves(trace, events, reservations)
        };
        Self { trace, spans: bearers.into_iter().zip(covers).collect() }
    }

    fn spans(&self) -> impl Iterator<Item = (&'a Span, &(Asker, Option<Cover<'a>>))> {
        self.trace.spans.iter().zip(&self.spans)
    }
}

/// What a trace posts, by counter: no zeros. Beside the counter of a budget its parts are posted (BUD-3).
///
/// # Errors
/// [`PostingError`].
pub fn postings(
    borne: &Borne<'_>,
    history: &History,
    watched: &Watched,
) -> Result<BTreeMap<Counter, Amount>, PostingError> {
    let mut posted = Posted::default();
    for (span, (bearer, cover)) in borne.spans() {
        if span.exclusive.is_zero() {
            continue;
        }
        let organisation = &history.on(span.local_day).organisation;
        let is_critical = span.event.critical && worker(span, bearer.clone()).may_be_critical(organisation);
        let covered = cover.map_or_else(Vec::new, |cover| scopes(&cover.reserved.asker, organisation));
        for scope in scopes(bearer, organisation) {
            let parts = match cover {
                _ if is_critical => Parts { critical: span.exclusive, ..Parts::default() },
                Some(cover) if covered.contains(&scope) => Parts::of_covered(span.exclusive, cover),
                _ => Parts::default(),
            };
            for kind in watched.kinds(&scope) {
                let counter = Counter { scope: scope.clone(), period: kind.period_of(span.local_day) };
                for (part, amount) in parts.present() {
                    posted.add(part.of(&counter), amount)?;
                }
                posted.add(counter, span.exclusive)?;
            }
            if let Some(counter) = life_of(&scope, bearer, watched) {
                posted.add(counter, span.exclusive)?;
            }
        }
    }
    posted.0.retain(|_, amount| !amount.is_zero());
    Ok(posted.0)
}

#[derive(Default)]
struct Posted(BTreeMap<Counter, Amount>);

impl Posted {
    fn add(&mut self, counter: Counter, amount: Amount) -> Result<(), PostingError> {
        let held = self.0.get(&counter).copied().unwrap_or_default();
        let Some(sum) = held.checked_add(amount) else {
            return Err(PostingError::Overflow(counter.scope, counter.period));
        };
        self.0.insert(counter, sum);
        Ok(())
    }
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
    /// What of its cost no reservation has admitted.
    pub not_admitted: Amount,
}

/// The spans that cost something and whose claim to be critical is honoured.
#[must_use]
pub fn critical_spans<'a>(borne: &Borne<'a>, history: &History, watched: &Watched) -> Vec<CriticalSpan<'a>> {
    let claims = borne.spans().filter(|(span, _)| span.event.critical && !span.exclusive.is_zero());
    let critical = claims.filter_map(|(span, (bearer, cover))| {
        let organisation = &history.on(span.local_day).organisation;
        let of_scope = |scope: String| {
            let periods = watched.kinds(&scope).map(|kind| kind.period_of(span.local_day));
            let counters: Vec<Counter> = periods.map(|period| Counter { scope: scope.clone(), period }).collect();
            counters.into_iter().chain(life_of(&scope, bearer, watched))
        };
        let counters = scopes(bearer, organisation).into_iter().flat_map(of_scope).collect();
        let asker = worker(span, bearer.clone());
        let admitted = cover.map(|cover| cover.admitted).unwrap_or_default();
        let not_admitted = span.exclusive.checked_sub(admitted)?;
        asker.may_be_critical(organisation).then_some(CriticalSpan { span, asker, counters, not_admitted })
    });
    critical.collect()
}

/// Whose claim to be critical it is: the kind of work is that of the span itself, whatever the task of its trace.
fn worker(span: &Span, bearer: Asker) -> Asker {
    Asker { task_type: span.task_type.clone().or(bearer.task_type), ..bearer }
}

/// The counter of a task with a cap, which is for as long as it lives.
fn life_of(scope: &str, bearer: &Asker, watched: &Watched) -> Option<Counter> {
    let is_capped = scope.starts_with("task:") && bearer.task_type.as_ref().is_some_and(|of| watched.is_capped(of));
    is_capped.then(|| Counter { scope: scope.to_owned(), period: TASK_PERIOD.to_owned() })
}

/// The chain of scopes that a span counts for.
fn scopes(bearer: &Asker, organisation: &Organisation) -> Vec<String> {
    let named = |kind: &str, id: &Option<Id>| id.as_ref().map(|id| format!("{kind}:{id}"));
    // A team that the organisation file does not have is nobody's: the cost is unattributed.
    let team = bearer.team.clone().filter(|team| organisation.teams.contains_key(team));
    let chain = [
        Some("organisation".to_owned()),
        named("team", &team),
        named("project", &bearer.project),
        named("agent", &bearer.agent),
        named("user", &bearer.user),
        named("task", &bearer.task),
    ];
    chain.into_iter().flatten().collect()
}

/// Whom each span counts for once the root has arrived, in the order of the spans. What the payer leaves open stays with the reservation: whoever asks for a team's room and then
/// names no team has not found room without end.
fn bearers_of_payer(trace: &Trace, covers: &[Option<Cover<'_>>]) -> Vec<Asker> {
    let payer = &trace.payer;
    let root = trace.root_span().map(|root| &root.event.tags);
    // In preorder a parent stands before its children. What an ancestor has only from its key is not handed down.
    let mut tagged: Vec<(Option<Id>, Option<Id>)> = Vec::with_capacity(trace.spans.len());
    let mut bearers = Vec::with_capacity(trace.spans.len());
    for (span, cover) in trace.spans.iter().zip(covers) {
        let above = span.parent.and_then(|parent| tagged.get(parent)).cloned().unwrap_or_default();
        let own = &span.event.tags;
        let (task, task_type) = (own.task_id.clone().or(above.0), own.task_type.clone().or(above.1));
        // The task of the trace is its root's; without one a span's own or the nearest above.
        let of_root = root.and_then(|tags| tags.task_id.clone());
        let of_payer = Asker {
            team: payer.team.clone(),
            project: payer.project.clone(),
            agent: span.agent.clone(),
            user: payer.user.clone(),
            task: of_root.or_else(|| task.clone()),
            task_type: root.and_then(|tags| tags.task_type.clone()).or_else(|| task_type.clone()),
        };
        let reserved = cover.map_or_else(Asker::default, |cover| cover.reserved.asker.clone());
        bearers.push(of_payer.or(&reserved).or(&of_trace(trace)));
        tagged.push((task, task_type));
    }
    bearers
}

/// A task without a name is named by its trace.
fn of_trace(trace: &Trace) -> Asker {
    Asker { task: Some(trace.trace.clone()), ..Asker::default() }
}

/// The same until the root has arrived.
fn bearers_by_themselves(trace: &Trace, events: &[Recorded], reservations: &Reservations) -> Vec<Asker> {
    let keys: BTreeMap<&Id, &Tags> =
        events.iter().map(|recorded| (&recorded.event.event_id, &*recorded.origin.key_tags)).collect();
    let (no_tags, nobody) = (Tags::default(), Asker::default());
    // As above: keys are not handed down.
    let mut tagged: Vec<Asker> = Vec::with_capacity(trace.spans.len());
    let mut bearers = Vec::with_capacity(trace.spans.len());
    for span in &trace.spans {
        let reserved = reservations.get(&span.identity).map_or(&nobody, |reserved| &reserved.asker);
        let above = span.parent.and_then(|parent| tagged.get(parent)).unwrap_or(&nobody);
        let own = Asker::of(&span.event.tags).or(reserved).or(above);
        let key = Asker::of(keys.get(&span.event.event_id).copied().unwrap_or(&no_tags));
        bearers.push(own.clone().or(&key).or(&of_trace(trace)));
        tagged.push(own);
    }
    bearers
}
