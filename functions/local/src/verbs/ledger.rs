//! `recoup ledger`: the accounts of a month.

use clap::Args;
use recoup_model::Period;

use super::Desk;
use crate::api::Ask;
use crate::failure::{Failure, Verdict};
use crate::table::{Column, Grid, field};

/// Shows the balances of a month's accounts. Debits are positive; together they are zero.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 1: the trial balance is not zero.

Examples:
  recoup ledger 2026-10")]
pub(crate) struct Ledger {
    /// The month
    month: Period,
}

impl Ledger {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let balances = desk.api.ask(Ask::get(&["v1", "balances"]).with("period", self.month)).await?.json()?;
        let total = field(&balances, "total");
        if desk.screen.json() {
            desk.screen.document(balances.to_string().as_bytes())?;
        } else {
            let mut grid = Grid::new([Column::Name("account"), Column::Figure("balance")]);
            for row in balances.get("rows").and_then(serde_json::Value::as_array).into_iter().flatten() {
                grid.row([field(row, "account"), field(row, "amount")]);
            }
            grid.sum([format!("trial balance of {}", self.month), total.clone()]);
            desk.screen.table(&grid)?;
        }
        Ok(if total == "0" { Verdict::Yes } else { Verdict::No })
    }
}
