//! The ledger: from the facts of days to charges, pool shares, variance, balances and the lines of statements.
//!
//! Owns: [`settle`] and everything it decides (billing by token, task and time; markup; pools; variance; bills), the
//! accounts and their postings, corrections of closed periods, what blocks a close, and the check that all of it ties.
//! Does not own: who pays for a span (`recoup-attribution`), the smoothing of prices (`recoup-pricing`), rounding to
//! cents and the look of a statement (`recoup-documents`), where anything is stored.
//! Invariants: SPL-2, SPL-3, CRX-1, ATR-6, POOL-1 to POOL-5, PRC-0 to PRC-7, LED-1 to LED-4, CLO-1,
//! CLO-4. The same input gives the same bytes (CLO-5).
//! Start reading at [`settle`], then [`Settlement`]; the accounts are listed in the crate's README.

mod carry;
mod charges;
mod check;
mod close;
mod correct;
mod draft;
mod error;
pub mod journal;
mod line;
mod markup;
mod nights;
mod pairs;
mod parts;
mod pools;
mod prices;
mod rate_card;
mod recurring;
mod settle;
mod tasks;
mod variance;

pub use carry::Carried;
pub use check::{TieError, check, check_with};
pub use close::{CloseFacts, close_findings, not_charged};
pub use correct::{Booked, Correction, correct};
pub use error::LedgerError;
pub use journal::{Balances, Entry, post};
pub use line::{Bearer, Line, LineKey, LineKind, PriceModel, PricedKey};
pub use nights::{PriceNight, price_nights};
pub use parts::{Alone, Workers, each};
pub use pools::{Consumer, PoolRecord, PoolShare, RecoveredPart};
pub use prices::{PriceOrigin, PriceVersion};
pub use rate_card::{CardRow, RateCard, opening_states, rate_card};
pub use settle::{Opening, PeriodInput, Settlement, Totals, settle, settle_with};
pub use variance::VarianceRecord;
