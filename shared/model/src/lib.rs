//! The words everything else is written in: cost events, tags, token usage, ratings, time, organisation.
//!
//! Owns: the shape of an accepted [`Event`], its identity and content digest, the token classes, what a rating is,
//! billing periods in an organisation's time zone, the organisation file, and the registry of invariants.
//! Does not own: wire formats (`recoup-metering`), prices (`recoup-pricing`), attribution, storage.
//! Invariants: EVT-1, EVT-2, EVT-4, MON-4 (dated rates), CLO-1 (periods).
//! Start reading at [`event::Event`], then [`organisation::Organisation`].

pub mod digest;
pub mod event;
pub mod finding;
pub mod limits;
pub mod organisation;
pub mod period;
pub mod rating;
pub mod registry;
pub mod usage;

pub use digest::{Digest, Identity};
pub use event::{Event, Id, Kind, Origin, Quantity, Recorded, Reported, Status, Tags};
pub use finding::{Finding, FindingKind, Severity};
pub use organisation::Organisation;
pub use period::{Calendar, Period};
pub use rating::{Basis, CostPart, PriceQuery, REPORTED_TOLERANCE, Rater, Rating, Tariff, UnitTariff, UnpricedReason};
pub use usage::{TokenClass, Usage};
