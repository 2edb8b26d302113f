//! Two reports of one provider call (EVT-2).
//!
//! What the rule leaves open: a root names a team where its own tag or its resource attributes do, and only a team that
//! the organisation file has; what is merely derived from a person or an API key is not named by the report.

use recoup_model::Recorded;

use crate::corrections::Corrections;
use crate::order::Ordered;
use crate::resolve::Context;
use crate::tree::Tree;

/// Of the events that share one (provider, `response_id`), the one that is billed: one whose root names a team, then
/// the smaller (trace, event) by name. Each candidate is (its root names a team, trace name, `event_id`).
///
/// ```
/// let reports = [(false, "gateway", "1"), (true, "sdk", "1")];
/// assert_eq!(recoup_attribution::billed_report(&reports), Some(1));
/// ```
#[must_use]
pub fn billed_report(candidates: &[(bool, &str, &str)]) -> Option<usize> {
    let ranked = candidates.iter().enumerate().map(|(at, (named, trace, event))| (!named, *trace, *event, at));
    ranked.min().map(|(_, _, _, at)| at)
}

/// Whether the root of a trace names a team (EVT-2). `events` are those of one trace, as for
/// [`resolve`](crate::resolve()); where they cannot be resolved it names none.
#[must_use]
pub fn root_names_team(events: &[Recorded], context: &Context<'_>) -> bool {
    let Ok(ordered) = Ordered::new(events) else { return false };
    let tree = Tree::new(&ordered, &Corrections::new(&ordered));
    let Some(root) = ordered.get(tree.root()) else { return false };
    let named = root.event.tags.team.as_ref().or(root.origin.resource_team.as_ref());
    named.is_some_and(|team| {
        let day = context.history.calendar().day_of(root.event.used_at_ns);
        context.history.on(day).organisation.teams.contains_key(team)
    })
}
