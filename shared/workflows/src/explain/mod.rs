//! How figures came about: from a line of a statement down to prices, pools, cells, traces and blocks; a pool's page; where a
//! span has its tags from.
//!
//! An explanation is a second reading: it adds the line up again from the facts and the books, apart from the ledger, and
//! says whether it comes to the same, to the last picounit.
//! Start reading at [`App::explain`], then [`case`], [`lens`] and [`step`].

pub(crate) mod bills;
mod case;
mod changed;
mod charge;
mod correction;
mod lens;
pub mod pools;
mod price;
mod provider;
mod rates;
mod ratio;
mod route;
mod shares;
pub mod step;
pub mod traces;
mod variance;
pub(crate) mod why;

use std::collections::BTreeMap;
use std::sync::Arc;

use recoup_documents::{Statement, StatementLine};
use recoup_ledger::LineKind;
use recoup_model::{Id, Period};
use serde_json::{Value, json};

use self::case::Case;
use self::charge::Asked;
use self::lens::{Lens, What};
use self::step::Explained;
use self::traces::Search;
use crate::access::Principal;
use crate::app::App;
use crate::close;
use crate::error::Refusal;
use crate::nightly::Cut;
use crate::statements::{Format, read};

/// Rows of each table where none are asked for.
pub const ROWS_DEFAULT: usize = 10;

/// Which line of which statement, and how much of it.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    /// The month.
    pub period: Period,
    /// The team.
    pub team: String,
    /// The line, from 1, in the order of the statement.
    pub line: usize,
    /// Rows of each table; the others are added up in one.
    pub rows: usize,
    /// Traces that are named; 0: none are looked for.
    pub traces: usize,
}

impl App {
    /// Explains a line of an issued statement.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where it was not issued or has no such line; [`Refusal::Forbidden`] for another team's key.
    pub async fn explain(self: &Arc<Self>, principal: &Principal, request: &ExplainRequest) -> Result<Value, Refusal> {
        let (period, team) = (request.period, request.team.as_str());
        let sees_all = principal.seen_team()?.is_none();
        let (_, bytes) = self.statement(principal, (period, team, None), Format::Json).await?;
        let statement = read(&bytes)?;
        let line = request.line.checked_sub(1).and_then(|at| statement.lines.get(at)).ok_or_else(|| {
            let lines = statement.lines.len();
            Refusal::NotFound(format!("{} has lines 1 to {lines}, not {}", statement.statement, request.line))
        })?;
        let records = close::period_records(self.books()).await?;
        let closed = |record: &&close::PeriodRecord| record.is_closed();
        let record = records.iter().filter(closed).find(|record| record.period == period);
        let record = record.ok_or_else(|| Refusal::NotFound(format!("{period} is not closed")))?;
        let team = Id::from(team);
        let asked = Asked { team: &team, line: &line.line, rows: request.rows, sees_all };
        let mut found = Explained::default();
        found.step(charge::describe(&line.line, statement.currency.code()));
        if line.line.key.kind == LineKind::Correction {
            self.explain_correction(&mut found, record, asked).await?;
        } else {
            let before = records.iter().filter(closed).find(|one| one.period == period.previous());
            let needs_before = line.line.key.from == Some(period.first_day());
            let before = match before.filter(|_| needs_before) {
                Some(before) => Some(self.case_of(before).await?),
                None => None,
            };
            let case = Arc::new(self.case_of(record).await?);
            let search = explain_line(&mut found, (&case, before.as_ref()), asked)?;
            if let Some(search) = search.filter(|_| request.traces > 0) {
                self.explain_traces(&mut found, (&case, Cut(record.cut)), search, request.traces).await?;
            }
        }
        Ok(answer(&statement, (request.line, line), found))
    }
}

/// Everything about a line that needs no events; returns what to look for in them.
fn explain_line(
    found: &mut Explained,
    (case, before): (&Case, Option<&Case>),
    asked: Asked<'_>,
) -> Result<Option<Search>, Refusal> {
    let recomputed = case.settlement.lines.get(asked.team).into_iter().flatten();
    let recomputed = recomputed.filter(|line| line.key == asked.line.key).map(|line| line.exact);
    found.tie("the line, recomputed by the ledger", step::sum(recomputed)?, asked.line.exact);
    let tariffs = case.tariffs();
    let idle_since = asked.line.key.agent.as_deref().map(|agent| case.idle_since(agent)).unwrap_or_default();
    let lens = |what: What| Lens { idle_since: idle_since.clone(), ..Lens::new(&tariffs, Some(asked.team), what) };
    let read = match asked.line.key.kind {
        LineKind::Charge => charge::explain_charge(found, (case, before), asked, lens)?,
        LineKind::Markup => charge::explain_markup(found, case, asked, lens)?,
        LineKind::Pool => shares::explain_share(found, case, asked, lens)?,
        LineKind::Variance => variance::explain_variance(found, case, asked, lens)?,
        LineKind::Correction => None,
    };
    let seen = (!asked.sees_all).then_some(asked.team);
    Ok(read.map(|lens| Search::of(&lens, seen)))
}

fn answer(statement: &Statement, (number, line): (usize, &StatementLine), mut found: Explained) -> Value {
    found.tie("the line", found.readded, line.line.exact);
    let ties = found.ties.iter().all(|tie| tie.holds);
    let detail = if ties {
        format!("the arithmetic gives {}, the exact amount of the line, to the last picounit", found.readded)
    } else {
        let failed = found.ties.iter().filter(|tie| !tie.holds);
        let failed: BTreeMap<&str, String> =
            failed.map(|tie| (tie.what.as_str(), format!("{} and not {}", tie.found, tie.expected))).collect();
        let failed: Vec<String> =
            failed.into_iter().map(|(what, differs)| format!("{what} comes to {differs}")).collect();
        format!("the arithmetic does not give the line: {}; report this with the statement", failed.join("; "))
    };
    json!({
        "statement": statement.statement,
        "revision": statement.revision,
        "team": statement.team,
        "period": statement.period,
        "currency": statement.currency,
        "number": number,
        "line": line,
        "steps": found.steps,
        "checks": found.ties,
        "readded": found.readded,
        "ties": ties,
        "detail": detail,
    })
}
