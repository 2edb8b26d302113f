//! Who pays for a trace (ATR-1).
//!
//! What the rule leaves open: the first source that names a team decides, even where that team is unknown, so that a
//! mistyped team is seen and not silently replaced; a user that only the key names comes after the key's own team.

use recoup_model::{Id, Organisation, Recorded};

use crate::trace::Span;

/// Who pays for every span of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payer {
    /// The team; `None`: unattributed.
    pub team: Option<Id>,
    /// The root's user, else that of its key's default tags: a pseudonym.
    pub user: Option<Id>,
    /// The root's project, else that of its key's default tags.
    pub project: Option<Id>,
    /// What named the team.
    pub source: PayerSource,
    /// The team as it was named, whether or not the organisation file has it.
    pub named: Option<Id>,
}

/// What named a payer's team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayerSource {
    /// The root's own tag.
    Root,
    /// The resource attributes of the root.
    Resource,
    /// The entry of the root's user in `[[people]]`.
    Person,
    /// The default tags of the root's API key.
    Key,
    /// The first span, by start and then `event_id`, that names one: its index.
    Span(usize),
    /// Nothing.
    Nobody,
}

/// `first_named` is the first span below that names a team, in order of rank.
pub(crate) fn find_payer(
    root: &Recorded,
    spans: &[Span],
    first_named: Option<usize>,
    organisation: &Organisation,
) -> Payer {
    let tags = &root.event.tags;
    let key = &root.origin.key_tags;
    let team_of = |user: &Option<Id>| organisation.people.get(user.as_ref()?)?.team.clone();
    let named_below = || {
        let at = first_named?;
        spans.get(at)?.event.tags.team.clone().map(|team| (team, PayerSource::Span(at)))
    };
    let named = (tags.team.clone().map(|team| (team, PayerSource::Root)))
        .or_else(|| root.origin.resource_team.clone().map(|team| (team, PayerSource::Resource)))
        .or_else(|| team_of(&tags.user).map(|team| (team, PayerSource::Person)))
        .or_else(|| key.team.clone().map(|team| (team, PayerSource::Key)))
        .or_else(|| team_of(&key.user).filter(|_| tags.user.is_none()).map(|team| (team, PayerSource::Person)))
        .or_else(named_below);
    let (named, source) = named.map_or((None, PayerSource::Nobody), |(team, source)| (Some(team), source));
    Payer {
        team: named.clone().filter(|team| organisation.teams.contains_key(team)),
        user: tags.user.clone().or_else(|| key.user.clone()),
        project: tags.project.clone().or_else(|| key.project.clone()),
        source,
        named,
    }
}
