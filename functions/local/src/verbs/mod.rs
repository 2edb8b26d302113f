//! Every verb, one file each: what it asks of the interface and how it shows the answer.

pub(crate) mod alerts;
pub(crate) mod anomalies;
pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod authorize;
pub(crate) mod budgets;
pub(crate) mod close;
pub(crate) mod costs;
pub(crate) mod demo;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod findings;
pub(crate) mod ingest;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod nightly;
pub(crate) mod pools;
pub(crate) mod prices;
pub(crate) mod range;
pub(crate) mod reviews;
pub(crate) mod runs;
pub(crate) mod sample;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod statement;
pub(crate) mod statements;
pub(crate) mod trace;
pub(crate) mod unpriced;
pub(crate) mod verify;

use serde_json::Value;

use crate::api::{Api, Ask, Rows};
use crate::failure::Failure;
use crate::screen::Screen;
use crate::table::Grid;

/// What a verb works with.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    /// The books.
    pub(crate) api: Api,
    /// Where results go.
    pub(crate) screen: Screen,
}

impl Desk {
    /// Shows a list: one document, or a table and whether there is more; `nothing` where it has no rows.
    async fn list(
        &self,
        ask: Ask<'_>,
        limit: range::Limit,
        nothing: &str,
        grid: fn(&[Value]) -> Grid,
    ) -> Result<(), Failure> {
        let found = self.api.rows(ask, limit.limit).await?;
        self.show(&found, limit, (nothing, grid))
    }

    /// Shows a list that was read.
    fn show(
        &self,
        found: &Rows,
        limit: range::Limit,
        (nothing, grid): (&str, fn(&[Value]) -> Grid),
    ) -> Result<(), Failure> {
        if self.screen.json() {
            return self.screen.document(found.to_json().to_string().as_bytes());
        }
        if found.rows.is_empty() {
            return self.screen.line(nothing);
        }
        self.screen.table(&grid(&found.rows))?;
        if found.more { self.screen.line(limit.hint()) } else { Ok(()) }
    }
}
