//! `recoup statements`: what was issued.

use clap::Args;
use recoup_model::Period;

use super::Desk;
use super::close::statements_grid;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};

/// Statements listed at most.
const STATEMENTS_MAX: usize = 100_000;

/// Lists the statements that were issued.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  recoup statements            of every month
  recoup statements 2026-10    of one month")]
pub(crate) struct Statements {
    /// The month [default: all]
    month: Option<Period>,
}

impl Statements {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let ask = Ask::get(&["v1", "statements"]).with_some("period", self.month);
        let found = desk.api.rows(ask, STATEMENTS_MAX).await?;
        if desk.screen.json() {
            desk.screen.document(found.to_json().to_string().as_bytes())?;
        } else if found.rows.is_empty() {
            desk.screen.line("no statement was issued; close a month with `recoup close 2026-10`")?;
        } else {
            desk.screen.table(&statements_grid(&found.rows))?;
        }
        Ok(Verdict::Yes)
    }
}
