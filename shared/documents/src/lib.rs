//! Statements and manifests: values in, the same bytes out, always.
//!
//! Owns: the shape of a statement and of a manifest, canonical JSON, CSV, the comparison of two statements.
//! Does not own: the figures (`recoup-ledger`), where documents are kept (`recoup-store`).
//! Invariants: MON-2 (a statement adds up as printed), CLO-2, CLO-5 (times of issue stand outside).
//! Start reading at [`Statement`], then [`Manifest`].

mod canonical;
mod compare;
mod csv;
mod manifest;
mod sorted;
mod statement;

pub use canonical::{canonical_json, digest};
pub use compare::{Difference, compare};
pub use csv::statement_csv;
pub use manifest::{Counted, DayEvents, Manifest, OrganisationVersion, RULES_HELD, RULES_VERSION};
pub use statement::{DocumentError, ManifestRef, Statement, StatementLine};
