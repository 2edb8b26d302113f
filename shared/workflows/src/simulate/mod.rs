//! What past months would have come to under another rate card or other policies. Nothing is written: not a figure, not a run;
//! where processes share the books only the question and its answer, see [`elsewhere`].
//!
//! Months are replayed from the facts that their nights stored; where the change decides on facts (another shared agent, team
//! or provider price, minutes instead of tasks) from the events in the blocks, by the functions that verify uses.
//! Start reading at [`App::simulate`], then [`chain`], [`overlay`], [`compare`].

mod chain;
mod compare;
mod elsewhere;
mod once;
mod overlay;
mod own;
mod volatility;

use std::collections::BTreeSet;
use std::sync::Arc;

use recoup_ledger::{Line, LineKind};
use recoup_model::organisation::{Change, ChangeKind, History, Version, diff, parse};
use recoup_model::{FindingKind, Id, Period, limits};
use recoup_money::Amount;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::chain::{Month, Replayed, facts_differ};
use self::overlay::Overlay;
use crate::access::{Principal, Role};
use crate::app::{App, World};
use crate::error::Refusal;

/// Months of one simulation.
pub const MONTHS_MAX: usize = 24;
/// Months where none are asked for.
pub const MONTHS_DEFAULT: usize = 3;
/// Changes that an answer lists.
const CHANGES_MAX: usize = 500;

/// Which months.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Months {
    /// The last so many that are over.
    Last(usize),
    /// From a month up to another, which is left out.
    Range(Period, Period),
}

/// What to try.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SimulationRequest {
    /// TOML with the tables of an organisation file.
    pub rate_card: Option<String>,
    /// Single settings, `KEY` -> `VALUE`, laid over the rate card.
    pub policy: Vec<(String, String)>,
    /// Which months.
    pub months: Months,
}

impl Principal {
    /// The only team whose simulated figures the key may see; `None`: all of them.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a key that may not simulate.
    pub fn may_simulate(&self) -> Result<Option<&str>, Refusal> {
        match self.role {
            Role::Finance | Role::Admin | Role::Lead => self.seen_team(),
            Role::Viewer | Role::Ingest => {
                Err(Refusal::Forbidden("this key may not simulate; use `finance`, or `lead` for one team".into()))
            }
        }
    }
}

/// A request that can be simulated.
pub struct Simulation {
    /// The only team that it is for.
    team: Option<String>,
    world: Arc<World>,
    other: History,
    months: Vec<Month>,
    asked: Months,
}

impl App {
    /// Checks a request: the rules, and that its months have figures.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`], or what is wrong with the request; [`Refusal::NotFound`] for months without figures.
    pub async fn plan_simulation(
        &self,
        principal: &Principal,
        request: &SimulationRequest,
    ) -> Result<Simulation, Refusal> {
        let team = principal.may_simulate()?.map(str::to_owned);
        let card = request.rate_card.as_deref();
        if card.is_some_and(|card| card.len() > limits::ORGANISATION_BYTES_MAX) {
            let most = limits::ORGANISATION_BYTES_MAX;
            return Err(Refusal::TooLarge(format!("the rate card has more than {most} bytes")));
        }
        let world = self.world().await?;
        let overlay = Overlay::read(card, &request.policy, (&world.history, team.as_deref()))?;
        let other = overlay.lay_over(&world.history, &self.pseudonyms)?;
        let today = world.history.calendar().day_of(self.now_ns());
        let months = choose(self.months_settled().await?, request.months, today)?;
        Ok(Simulation { team, world, other, months, asked: request.months })
    }

    /// Replays past months under other rules, and says who would have paid what. `run` names it while it is watched.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] while too many are on their way, or a figure that cannot be computed.
    pub async fn simulate(self: &Arc<Self>, run: &str, simulation: Simulation) -> Result<Value, Refusal> {
        let _stopping = self.stopping(run);
        self.begin_simulation(run, simulation.team.as_deref()).await?;
        let outcome = self.simulate_steps(run, &simulation).await;
        self.end_simulation(run, &outcome);
        outcome
    }

    async fn simulate_steps(
        self: &Arc<Self>,
        run: &str,
        Simulation { team, world, other, months, asked }: &Simulation,
    ) -> Result<Value, Refusal> {
        let replayed = self.replay_months(run, (world, other), months).await?;
        let mut answer = compare::compare(&replayed, team.as_deref())?;
        let last = months.last().map(|month| month.through).unwrap_or_default();
        answer.insert("currency".into(), json!(world.history.on(last).organisation.currency));
        answer.insert("periods".into(), json!(months.iter().map(|month| month.period).collect::<Vec<_>>()));
        answer.insert("changes".into(), changes((&world.history, other), months, team.is_none())?);
        answer.insert("attributed_again".into(), json!(facts_differ(&world.history, other)));
        answer.insert("volatility_is".into(), json!(volatility::FORMULA));
        let mut notes = notes(months, &replayed, team.as_deref());
        for (month, found) in months.iter().zip(&replayed) {
            notes.extend(self.notes_of_the_close(month, found, team.as_deref()).await?);
        }
        if let Months::Last(asked) = asked
            && *asked > months.len()
        {
            notes.insert(0, format!("{asked} months were asked for, {} have figures", months.len()));
        }
        answer.insert("notes".into(), json!(notes));
        Ok(Value::Object(answer))
    }

    /// Where a closed month is replayed to something else than was issued: late events change it, and what it opens with.
    /// Corrections on its statements are those of other months.
    async fn notes_of_the_close(
        &self,
        month: &Month,
        found: &Replayed,
        only: Option<&str>,
    ) -> Result<Vec<String>, Refusal> {
        let Some(closed) = &month.closed else { return Ok(Vec::new()) };
        let sum = |lines: Option<&Vec<Line>>, corrections: bool| {
            let lines = lines.into_iter().flatten();
            let wanted = lines.filter(|line| (line.key.kind == LineKind::Correction) == corrections);
            Amount::checked_sum(wanted.map(|line| line.exact)).ok_or_else(overflow)
        };
        let mut corrections = Amount::ZERO;
        let statements = self.lines_of_statements(closed).await?;
        let teams: BTreeSet<&Id> = statements.keys().chain(found.old.lines.keys()).collect();
        let (mut issued, mut replayed, mut differs) = (Amount::ZERO, Amount::ZERO, false);
        for team in teams.into_iter().filter(|team| only.is_none_or(|only| team.as_ref() == only)) {
            let (one, other) = (sum(statements.get(team), false)?, sum(found.old.lines.get(team), false)?);
            corrections = corrections.checked_add(sum(statements.get(team), true)?).ok_or_else(overflow)?;
            differs |= one != other;
            issued = issued.checked_add(one).ok_or_else(overflow)?;
            replayed = replayed.checked_add(other).ok_or_else(overflow)?;
        }
        let differs = differs.then(|| {
            format!(
                "{} was issued with {issued} (without corrections); with what came late, for it or for the months before, \
                 the same rules give {replayed}",
                month.period
            )
        });
        let left_out = (!corrections.is_zero()).then(|| {
            format!(
                "{}: corrections of other months, {corrections} on its statements, are in no figure here",
                month.period
            )
        });
        Ok(differs.into_iter().chain(left_out).collect())
    }
}

fn overflow() -> Refusal {
    Refusal::computation("compare two rate cards", "a sum overflows")
}

/// The months asked for, which follow each other.
fn choose(mut settled: Vec<Month>, wanted: Months, today: chrono::NaiveDate) -> Result<Vec<Month>, Refusal> {
    let is_whole = |last: chrono::NaiveDate, month: &Month| month.through >= last && last < today;
    let is_over = |month: &Month| month.closed.is_some() || is_whole(last_day(month.period), month);
    match wanted {
        Months::Last(0) => return Err(Refusal::invalid("invalid-range", "months", "0 months; write 1 or more")),
        Months::Last(count) => {
            // A month that is not over says little about a rate card; where there is no other it has to do.
            if settled.iter().any(is_over) {
                settled.retain(is_over);
            }
            let skip = settled.len().saturating_sub(count);
            settled.drain(..skip);
        }
        Months::Range(from, to) => {
            if from >= to {
                let detail =
                    format!("`to` has to lie after `from`; it is the first month that is left out, so {}", from.next());
                return Err(Refusal::invalid("invalid-range", "to", detail));
            }
            settled.retain(|month| month.period >= from && month.period < to);
            let asked =
                std::iter::successors(Some(from), |period| Some(period.next())).take_while(|period| *period < to);
            for period in asked.take(MONTHS_MAX.saturating_add(1)) {
                if !settled.iter().any(|month| month.period == period) {
                    let detail = format!("{period} has no figures; run `recoup nightly`, or name other months");
                    return Err(Refusal::NotFound(detail));
                }
            }
        }
    }
    if settled.is_empty() {
        return Err(Refusal::NotFound("no month has figures yet; run `recoup nightly`".into()));
    }
    if settled.len() > MONTHS_MAX {
        return Err(Refusal::TooLarge(format!("a simulation replays at most {MONTHS_MAX} months")));
    }
    Ok(settled)
}

fn last_day(period: Period) -> chrono::NaiveDate {
    period.days().last().unwrap_or_default()
}

/// What differs from the organisation files that held in some months, the last one first. People are left out of it: they
/// stand under pseudonyms. What was there before is for those who may read the file.
fn changes((history, other): (&History, &History), months: &[Month], may_read: bool) -> Result<Value, Refusal> {
    let read = |version: &Version| {
        parse(&version.text).map_err(|problems| {
            let detail = problems.first().map(ToString::to_string).unwrap_or_default();
            Refusal::computation("read an organisation file", detail)
        })
    };
    let mut compared = BTreeSet::new();
    let mut changes: Vec<Change> = Vec::new();
    for day in months.iter().flat_map(Month::days).collect::<Vec<_>>().into_iter().rev() {
        let (old, new) = (history.on(day), other.on(day));
        if compared.insert(old.number) {
            let found = diff(Some(&read(old)?), &read(new)?);
            let fresh: Vec<Change> = found.into_iter().filter(|change| !changes.contains(change)).collect();
            changes.extend(fresh);
        }
    }
    let changes = changes.into_iter().take(CHANGES_MAX);
    let told = |change: Change| Change { before: change.before.filter(|_| may_read), ..change };
    let changes = changes.filter(|change| may_read || change.kind != ChangeKind::Removed);
    Ok(json!(changes.map(told).collect::<Vec<_>>()))
}

/// What a reader has to know.
fn notes(months: &[Month], replayed: &[Replayed], only: Option<&str>) -> Vec<String> {
    let mut notes = Vec::new();
    if let [only] = months {
        notes.push(format!("one month, {}: a volatility needs two", only.period));
    }
    for (month, found) in months.iter().zip(replayed) {
        let period = month.period;
        if month.closed.is_none() && month.through < last_day(period) {
            notes.push(format!("{period} is replayed up to {}, as far as its nights have come", month.through));
        }
        let [before, after] = [&found.old, &found.new].map(|settlement| compare::unpriced(settlement, only));
        if after > 0 {
            let remedy = if after > before { "; give each price from the day on which it is needed" } else { "" };
            let (what, their) =
                if after == 1 { ("event or bill has", "its") } else { ("events or bills have", "their") };
            notes.push(format!(
                "{period}: {after} {what} no price under the new rules, {before} under the old: {their} cost is not known, not \
                 zero, and in no figure here{remedy}"
            ));
        }
        let waits = |settlement: &recoup_ledger::Settlement| {
            settlement.findings.iter().any(|finding| finding.kind == FindingKind::RateCardWaits)
        };
        if waits(&found.new) && !waits(&found.old) {
            notes.push(format!(
                "{period}: nobody has approved the new rate card, so that the last approved prices hold; set \
                 `price_approval=` (nothing) to simulate its approval"
            ));
        }
    }
    if let Some(first) = months.first() {
        let later = if months.len() > 1 { "; the months after it with what the new rules left behind" } else { "" };
        notes.push(format!("{} opens with what the books opened it with{later}", first.period));
    }
    notes
}
