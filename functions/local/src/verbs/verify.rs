//! `recoup verify`: does a statement hold?

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::Desk;
use crate::api::{Ask, JSON};
use crate::failure::{Failure, Verdict};
use crate::input;
use crate::screen::Screen;
use crate::table::{Column, Grid, field};

/// Recomputes a statement from the events that it names and compares it line by line and byte by byte.
#[derive(Debug, Args)]
#[command(after_help = "\
Compares line by line and byte by byte with what the events give.
Exit code 0: it holds. 1: it does not; the lines that differ are listed.

Examples:
  recoup statement support 2026-10 --format json -o support.json
  recoup verify support.json")]
pub(crate) struct Verify {
    /// A statement as JSON, or - for standard input
    file: PathBuf,
}

impl Verify {
    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let bytes = input::whole(&self.file)?;
        let answer = desk.api.ask(Ask::post(&["v1", "statements", "verify"], JSON, bytes)).await?;
        let found = answer.json()?;
        if desk.screen.json() {
            desk.screen.document(&answer.bytes)?;
        } else {
            show(desk.screen, &found)?;
        }
        Ok(Verdict::of(found.get("holds").and_then(Value::as_bool) == Some(true)))
    }
}

/// Prints the answer.
pub(crate) fn show(screen: Screen, found: &Value) -> Result<(), Failure> {
    screen.line(format!("{}  {}", field(found, "statement"), field(found, "detail")))?;
    let differences = found.get("differences").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !differences.is_empty() {
        let mut grid = Grid::new([
            Column::Name("line"),
            Column::Name("field"),
            Column::Figure("stated"),
            Column::Figure("recomputed"),
        ]);
        for difference in differences {
            let text = |name| field(difference, name);
            grid.row([text("line"), text("field"), text("stated"), text("recomputed")]);
        }
        screen.line("")?;
        screen.table(&grid)?;
    }
    let (digest, issued) = (field(found, "digest"), field(found, "issued_digest"));
    screen.line(format!("digest of this file   {digest}"))?;
    if issued.is_empty() { Ok(()) } else { screen.line(format!("digest that was issued {issued}")) }
}
