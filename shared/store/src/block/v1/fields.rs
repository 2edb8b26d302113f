//! Which text columns a block has, in the order in which they are written. The order is part of the format.

use recoup_model::{Id, Recorded, Tags};

use super::texts::Field;

macro_rules! optional {
    ($name:literal, $holder:ty, $($path:ident).+) => {
        Field::<$holder> {
            name: $name,
            get: |holder| holder.$($path).+.as_deref(),
            set: |holder, text| {
                holder.$($path).+ = Some(text);
                true
            },
        }
    };
}

/// The id of the event, which every event has.
pub(super) const EVENT_ID: Field<Recorded> = Field {
    name: "event_id",
    get: |recorded| Some(&*recorded.event.event_id),
    set: |recorded, text| {
        recorded.event.event_id = text;
        true
    },
};

/// The SKU, which every quantity has.
pub(super) const SKU: Field<Recorded> = Field {
    name: "sku",
    get: |recorded| recorded.event.quantity.as_ref().map(|quantity| &*quantity.sku),
    set: |recorded, text| {
        recorded.event.quantity.as_mut().is_some_and(|quantity| {
            quantity.sku = text;
            true
        })
    },
};

/// The unit, which a quantity may have.
pub(super) const UNIT: Field<Recorded> = Field {
    name: "unit",
    get: |recorded| recorded.event.quantity.as_ref().and_then(|quantity| quantity.unit.as_deref()),
    set: |recorded, text| {
        recorded.event.quantity.as_mut().is_some_and(|quantity| {
            quantity.unit = Some(text);
            true
        })
    },
};

/// What an event may have.
pub(super) const OF_EVENT: [Field<Recorded>; 10] = [
    optional!("trace_id", Recorded, event.trace_id),
    optional!("provider", Recorded, event.provider),
    optional!("model", Recorded, event.model),
    optional!("service_tier", Recorded, event.service_tier),
    optional!("response_id", Recorded, event.response_id),
    optional!("retry_of", Recorded, event.retry_of),
    optional!("supersedes", Recorded, event.supersedes),
    optional!("reservation_id", Recorded, event.reservation_id),
    optional!("key_id", Recorded, origin.key_id),
    optional!("resource_team", Recorded, origin.resource_team),
];

/// What a set of tags may have, besides extra ones.
pub(super) const OF_TAGS: [Field<Tags>; 6] = [
    optional!("agent", Tags, agent),
    optional!("task_type", Tags, task_type),
    optional!("task_id", Tags, task_id),
    optional!("user", Tags, user),
    optional!("team", Tags, team),
    optional!("project", Tags, project),
];

/// A name or a value of an extra tag.
pub(super) const EXTRA: Field<Option<Id>> = Field {
    name: "extra",
    get: |text| text.as_deref(),
    set: |text, id| {
        *text = Some(id);
        true
    },
};
