//! The text columns of an event, in the order in which they are written. The order is part of the format.

use recoup_model::{Recorded, Tags};

use super::super::columns::{Columns, TextColumn};
use super::sections::TextSection;

/// How many there are, the trace included.
pub(super) const COUNT: usize = 18;
/// The first of those that only a reader of whole events takes: they stand at the end.
pub(super) const CALLS: usize = 16;
/// Their places in [`OF_EVENT`].
pub(super) const TRACE_ID: usize = 0;
pub(super) const SKU: usize = 14;
pub(super) const UNIT: usize = 15;

/// A text of a `T`, where it has one.
pub(super) type Get<T> = fn(&T) -> Option<&str>;

/// The texts of an event.
pub(super) const OF_EVENT: [Get<Recorded>; COUNT] = [
    |recorded| recorded.event.trace_id.as_deref(),
    |recorded| recorded.event.provider.as_deref(),
    |recorded| recorded.event.model.as_deref(),
    |recorded| recorded.event.service_tier.as_deref(),
    |recorded| recorded.event.retry_of.as_deref(),
    |recorded| recorded.event.supersedes.as_deref(),
    |recorded| recorded.origin.key_id.as_deref(),
    |recorded| recorded.origin.resource_team.as_deref(),
    |recorded| recorded.event.tags.agent.as_deref(),
    |recorded| recorded.event.tags.task_type.as_deref(),
    |recorded| recorded.event.tags.task_id.as_deref(),
    |recorded| recorded.event.tags.user.as_deref(),
    |recorded| recorded.event.tags.team.as_deref(),
    |recorded| recorded.event.tags.project.as_deref(),
    |recorded| recorded.event.quantity.as_ref().map(|quantity| &*quantity.sku),
    |recorded| recorded.event.quantity.as_ref().and_then(|quantity| quantity.unit.as_deref()),
    |recorded| recorded.event.response_id.as_deref(),
    |recorded| recorded.event.reservation_id.as_deref(),
];

/// Where they are read to, and their names in errors.
pub(super) const fn of_columns(columns: &mut Columns) -> [(&'static str, &mut TextColumn); COUNT] {
    [
        ("trace_id", &mut columns.trace_id),
        ("provider", &mut columns.provider),
        ("model", &mut columns.model),
        ("service_tier", &mut columns.service_tier),
        ("retry_of", &mut columns.retry_of),
        ("supersedes", &mut columns.supersedes),
        ("key_id", &mut columns.key_id),
        ("resource_team", &mut columns.resource_team),
        ("agent", &mut columns.agent),
        ("task_type", &mut columns.task_type),
        ("task_id", &mut columns.task_id),
        ("user", &mut columns.user),
        ("team", &mut columns.team),
        ("project", &mut columns.project),
        ("sku", &mut columns.sku),
        ("unit", &mut columns.unit),
        ("response_id", &mut columns.response_id),
        ("reservation_id", &mut columns.reservation_id),
    ]
}

/// The section of a column's texts.
pub(super) const fn section_of(field: usize) -> TextSection {
    if field < CALLS { TextSection::Text } else { TextSection::Calls }
}

/// The named texts of a set of tags.
pub(super) const OF_TAGS: [Get<Tags>; 6] = [
    |tags| tags.agent.as_deref(),
    |tags| tags.task_type.as_deref(),
    |tags| tags.task_id.as_deref(),
    |tags| tags.user.as_deref(),
    |tags| tags.team.as_deref(),
    |tags| tags.project.as_deref(),
];
