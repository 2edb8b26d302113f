//! `recoup apply`: the organisation file.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use clap::Args;
use serde::Deserialize;

use super::Desk;
use crate::api::{Answer, Ask};
use crate::failure::{Failure, Problem, Verdict};
use crate::{input, screen};

/// Media type of the organisation file.
const TOML: &str = "application/toml";

/// Shows what an organisation file changes, asks, and applies it. The first version holds for all time, a later one from
/// --effective on, by default the next local midnight.
#[derive(Debug, Args)]
#[command(after_help = "\
The first version holds for all time, a later one from --effective on. Without a
terminal nothing is asked. Exit code 1: the question was answered with no.

Examples:
  recoup apply recoup.toml --dry-run     only show the difference
  recoup apply recoup.toml               show it, ask, apply from tomorrow on
  recoup apply recoup.toml --effective 2026-12-01 --yes")]
pub(crate) struct Apply {
    /// The organisation file, or - for standard input
    file: PathBuf,
    /// First local day on which it holds [default: tomorrow; the first version: for all time]
    #[arg(long, value_name = "DAY")]
    effective: Option<NaiveDate>,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// What applying a file changes, or would change.
#[derive(Deserialize)]
pub(super) struct Applied {
    version: u32,
    effective: Option<NaiveDate>,
    pub(super) changes: Vec<Change>,
    #[serde(default)]
    pub(super) notices: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Change {
    kind: String,
    path: String,
    before: Option<String>,
    after: Option<String>,
}

impl Change {
    pub(super) fn line(&self) -> String {
        let before = self.before.as_deref().unwrap_or_default();
        let after = self.after.as_deref().unwrap_or_default();
        match self.kind.as_str() {
            "added" => format!("+ {}: {after}", self.path),
            "removed" => format!("- {}: {before}", self.path),
            _ => format!("~ {}: {before} -> {after}", self.path),
        }
    }
}

impl Applied {
    pub(super) fn since(&self) -> String {
        match self.effective {
            Some(day) => format!("version {}, from {day} on", self.version),
            None => format!("version {}, for all time", self.version),
        }
    }
}

impl Apply {
    /// Lanes that the file wants its log to have; a log gets its lanes when it is made.
    pub(crate) fn lanes(&self) -> Result<Option<NonZeroU16>, Failure> {
        if self.file == Path::new("-") {
            return Ok(None);
        }
        // What is wrong with the file the service says, with every problem.
        let organisation = recoup_model::organisation::parse(&input::text(&self.file)?);
        Ok(organisation.ok().and_then(|organisation| NonZeroU16::new(organisation.policy.lanes)))
    }

    /// Refuses a file with problems, as the service does: for a file that cannot be applied no folder is made.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.file == Path::new("-") {
            return Ok(());
        }
        let Err(problems) = recoup_model::organisation::parse(&input::text(&self.file)?) else { return Ok(()) };
        let detail = format!("the organisation file has {} problem(s); nothing was applied", problems.len());
        let problems = problems.iter().map(|problem| problem.to_string().into()).collect();
        Err(Failure::Refused(Box::new(Problem { http_status: 400, title: String::new(), detail, problems })))
    }

    /// Runs the verb.
    pub(crate) async fn run(&self, desk: &Desk) -> Result<Verdict, Failure> {
        let text = input::text(&self.file)?;
        let answer = self.put(desk, &text, true).await?;
        let planned: Applied = answer.read()?;
        if !desk.screen.json() {
            for change in &planned.changes {
                desk.screen.line(change.line())?;
            }
        }
        if planned.changes.is_empty() {
            return shown(desk, (&answer, &planned), "nothing changes");
        }
        if self.dry_run {
            return shown(desk, (&answer, &planned), &format!("would be {}; nothing was written", planned.since()));
        }
        let asks = !self.yes && screen::can_ask();
        if asks && !desk.screen.confirm(&format!("Apply this as {}?", planned.since()))? {
            desk.screen.note("nothing was applied")?;
            return Ok(Verdict::No);
        }
        let answer = self.put(desk, &text, false).await?;
        let applied: Applied = answer.read()?;
        shown(desk, (&answer, &applied), &format!("applied: {}", applied.since()))
    }

    async fn put(&self, desk: &Desk, text: &str, dry_run: bool) -> Result<Answer, Failure> {
        let ask = Ask::put(&["v1", "organisation"], TOML, text.to_owned());
        desk.api.ask(ask.with("dry_run", dry_run).with_some("effective", self.effective)).await
    }
}

fn shown(desk: &Desk, (answer, applied): (&Answer, &Applied), words: &str) -> Result<Verdict, Failure> {
    if desk.screen.json() {
        desk.screen.document(&answer.bytes)?;
        return Ok(Verdict::Yes);
    }
    desk.screen.line(words)?;
    applied.notices.iter().try_for_each(|notice| desk.screen.note(notice))?;
    Ok(Verdict::Yes)
}
