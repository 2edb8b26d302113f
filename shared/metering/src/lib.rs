//! Wire formats in, checked cost events out: what the door accepts, and in which words it refuses.
//!
//! Owns: the shapes of a request body (one object, an array, NDJSON), the fields of the contract's Event table, the
//! conversion of every provider's own usage object into disjoint token classes, the aliases of provider names.
//! Does not own: the limits themselves (`recoup_model::limits`), identity and duplicates, prices, who pays, HTTP.
//! Invariants: EVT-1, EVT-4, EVT-6 (negative amounts), EVT-7, MON-1 (amounts are read from their text).
//! Nothing is ever dropped in silence: what cannot be kept is refused, one item at a time wherever the body allows it.
//! Start reading at [`read_events`], then [`read_event`], then [`read_usage_native`].

mod body;
mod event;
mod item;
mod json;
mod names;
mod native;
mod nearest;

pub use body::{BodyError, Items, Shape, read_events};
pub use event::{Rules, read_event};
pub use item::ItemError;
pub use names::{provider_id, service_tier_id};
pub use native::read_usage_native;
