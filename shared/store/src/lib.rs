//! The ports to everything that keeps or sends something, and the block codec.
//!
//! Owns: the traits [`EventLog`], [`Live`], [`Leases`], [`Books`], [`Documents`], [`Alerts`], [`Slack`], [`Mail`] and [`Clock`], the
//! records they pass, and the format of blocks.
//! Does not own: rules. An adapter stores what it is told and refuses what a condition refuses.
//! Invariants: EVT-2 (first recorded stays), CLO-3 (a document is written once).
//! Start reading at [`event_log`].

pub mod alerts;
pub mod block;
pub mod books;
pub mod channels;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod documents;
pub mod error;
pub mod event_log;
pub mod leases;
pub mod live;

pub use alerts::{Alert, Alerts};
pub use books::{Books, Expect, Key, Page, Record, Write, WriteError};
pub use channels::{ChannelError, Email, Mail, Posted, Slack, SlackReach};
pub use clock::{Clock, SystemClock};
pub use documents::{Documents, PutOutcome};
pub use error::{StoreError, causes};
pub use event_log::{Appended, BlockInfo, EventLog, Incoming, ResponseUse, StoredBlock};
pub use leases::{Balance, Grant, Granted, Lease, LeaseName, Leases, Room, Settlement};
pub use live::{BlockName, CounterKey, Live, PostError, TraceChange, TraceState, counter_changes};
