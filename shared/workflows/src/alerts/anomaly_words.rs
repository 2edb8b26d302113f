//! What alerts of anomalies say, and the forecast of a budget in words.

use chrono::{Days, NaiveDate};
use recoup_budgets::anomaly::{Cause, Causes, TaskAnomaly, TaskKind};
use recoup_messages::{Audience, Fact, Notice, Severity, Table};
use recoup_model::{Digest, Id};
use recoup_money::{Amount, Currency, PICO_PER_UNIT, div_half_even};
use recoup_store::Alert;

use super::Tell;
use super::budget_words::{fact, shown};
use super::words::alert_of;
use crate::anomalies::{DayAnomaly, HourAnomalies};
use crate::app::App;
use crate::error::Refusal;
use crate::spend::ForecastRow;
use crate::watch::AlertRecord;

/// Digits of a digest that keep names apart.
const NAME_DIGITS: usize = 20;
/// Picounits of the last digit of an amount below one unit: a millionth.
const SMALL_PICO: i128 = 1_000_000;

/// Names an agent and task type.
pub(super) fn name_of(kind: &TaskKind) -> String {
    let agent = kind.agent.as_deref().unwrap_or_default();
    let digits = Digest::of(format!("{agent}\n{}", kind.task_type).as_bytes()).to_string();
    digits.get(..NAME_DIGITS).unwrap_or(&digits).to_owned()
}

impl App {
    /// The alerts that tell of an anomaly.
    pub(super) async fn anomaly_words(&self, tell: &Tell) -> Result<Vec<Alert>, Refusal> {
        let currency = self.organisation_today().await?.currency;
        let desk = Desk { currency, id: tell.id(), at: self.now_text() };
        let (notice, kind, day) = match tell {
            Tell::TaskAnomaly { found, owner } => (desk.task(found, owner.as_deref()), &found.kind, found.day),
            Tell::HourAnomalies { found, owner } => (desk.hour(found, owner.as_deref()), &found.kind, found.day),
            Tell::DayAnomaly { found, owner } => (desk.day(found, owner.as_deref()), &found.kind, found.day),
            _ => return Ok(Vec::new()),
        };
        let mut own = vec![("period", day.to_string())];
        own.extend(kind.agent.as_ref().map(|agent| ("scope", format!("agent:{agent}"))));
        own.extend(notice.team.clone().map(|team| ("team", team)));
        Ok(vec![alert_of(&desk.id, &notice, own)])
    }

    /// Where a budget's period will end, for its alert. An alert goes out without it rather than not.
    pub(super) async fn forecast_facts(&self, alert: &AlertRecord) -> Vec<Fact> {
        let forecast = self.forecast_of(alert).await.ok().flatten();
        forecast.map_or_else(Vec::new, |forecast| facts_of_forecast(&forecast, alert.currency))
    }
}

/// `Forecast`, and `Runs out` where the budget will not last.
pub(super) fn facts_of_forecast(forecast: &ForecastRow, currency: Currency) -> Vec<Fact> {
    match forecast {
        ForecastRow::InsufficientHistory { days_known } => {
            vec![fact("Forecast", format!("not yet: {days_known} days are known"))]
        }
        ForecastRow::Known { low, expected, high, runs_out_on, .. } => {
            let [low, expected, high] = [low, expected, high].map(|amount| shown(*amount, currency));
            let mut facts = vec![fact("Forecast", format!("{expected} ({low} to {high})"))];
            facts.extend(runs_out_on.map(|day| fact("Runs out", day.to_string())));
            facts
        }
    }
}

struct Desk {
    currency: Currency,
    id: String,
    at: String,
}

impl Desk {
    fn task(&self, found: &TaskAnomaly, owner: Option<&str>) -> Notice {
        let TaskAnomaly { trace, team, kind, anomaly, .. } = found;
        let times = times(anomaly.actual, anomaly.mean);
        let mut facts = vec![
            fact("Task", trace.to_string()),
            fact("Cost", self.figure(anomaly.actual)),
            fact("Usual", self.figure(anomaly.mean)),
            fact("More", self.figure(anomaly.excess)),
        ];
        facts.extend(team.as_ref().map(|team| fact("Paid by", team.to_string())));
        let summary = format!(
            "A task of {} cost {}, {times} because of {}.",
            words_of(kind),
            self.figure(anomaly.actual),
            cause(&anomaly.causes),
        );
        Notice {
            kind: "task-anomaly".into(),
            severity: Severity::Warning,
            title: format!("A task at {times} of its usual cost: {}", short(kind)),
            summary,
            facts,
            table: Some(self.causes(&anomaly.causes)),
            next_steps: vec![format!("Look at it: recoup trace {trace}")],
            ..self.notice(owner, team.as_deref())
        }
    }

    fn hour(&self, found: &HourAnomalies, owner: Option<&str>) -> Notice {
        let HourAnomalies { day, hour, kind, tasks, cost, excess, causes, dearest } = found;
        let usual = cost.checked_sub(*excess).unwrap_or_default();
        let times = times(*cost, usual);
        let many = if *tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") };
        let mut facts = vec![
            fact("Hour", format!("{day}, hour {hour}")),
            fact("Tasks", tasks.to_string()),
            fact("Cost", self.figure(*cost)),
            fact("Usual", self.figure(usual)),
            fact("More", self.figure(*excess)),
        ];
        facts.extend(self.dearest(dearest));
        Notice {
            kind: "hour-anomalies".into(),
            severity: Severity::Info,
            title: format!("{many} at {times} of the usual cost: {}, {day} hour {hour}", short(kind)),
            summary: format!(
                "{many} of {} cost {}, {times} because of {}, in hour {hour} of {day}.",
                words_of(kind),
                self.figure(*cost),
                cause(causes),
            ),
            facts,
            table: Some(self.causes(causes)),
            next_steps: steps(dearest, *day),
            ..self.notice(owner, None)
        }
    }

    fn day(&self, found: &DayAnomaly, owner: Option<&str>) -> Notice {
        let DayAnomaly { day, kind, tasks, cost, anomaly, dearest } = found;
        let times = times(anomaly.actual, anomaly.mean);
        let mut facts = vec![
            fact("Day", day.to_string()),
            fact("Tasks", tasks.to_string()),
            fact("Cost", self.figure(*cost)),
            fact("Per task", self.figure(anomaly.actual)),
            fact("Usual per task", self.figure(anomaly.mean)),
            fact("More per task", self.figure(anomaly.excess)),
        ];
        facts.extend(self.dearest(dearest));
        Notice {
            kind: "day-anomaly".into(),
            severity: Severity::Warning,
            title: format!("A day at {times} of the usual cost per task: {}, {day}", short(kind)),
            summary: format!(
                "On {day} a task of {} cost {} on average, {times} because of {}.",
                words_of(kind),
                self.figure(anomaly.actual),
                cause(&anomaly.causes),
            ),
            facts,
            table: Some(self.causes(&anomaly.causes)),
            next_steps: steps(dearest, *day),
            ..self.notice(owner, None)
        }
    }

    /// Who hears it: those who run the agent; where nobody does, those who pay and FinOps.
    fn notice(&self, owner: Option<&str>, payer: Option<&str>) -> Notice {
        let audience = match (owner, payer) {
            (Some(_), _) => vec![Audience::Lead],
            (None, Some(_)) => vec![Audience::Lead, Audience::FinOps],
            (None, None) => vec![Audience::FinOps],
        };
        Notice {
            id: self.id.clone(),
            kind: String::new(),
            severity: Severity::Info,
            title: String::new(),
            summary: String::new(),
            facts: Vec::new(),
            table: None,
            next_steps: Vec::new(),
            actions: Vec::new(),
            team: owner.or(payer).map(str::to_owned),
            audience,
            thread: None,
            outcome: None,
            at: self.at.clone(),
        }
    }

    fn causes(&self, causes: &Causes) -> Table {
        let row = |(cause, part): (Cause, Amount)| vec![name(cause).to_owned(), self.figure(part)];
        Table {
            title: "Because of".into(),
            columns: vec!["Cause".to_owned(), "Part".to_owned()],
            rows: causes.parts().into_iter().filter(|(_, part)| !part.is_zero()).map(row).collect(),
        }
    }

    fn dearest(&self, tasks: &[(Id, Amount)]) -> Option<Fact> {
        let named: Vec<String> =
            tasks.iter().map(|(trace, cost)| format!("{trace} ({})", self.figure(*cost))).collect();
        (!named.is_empty()).then(|| fact("Dearest tasks", named.join(", ")))
    }

    /// A small amount with the digits that tell it from zero.
    fn figure(&self, amount: Amount) -> String {
        let is_small = amount.pico().unsigned_abs() < PICO_PER_UNIT.unsigned_abs() && !amount.is_zero();
        let rounded = div_half_even(amount.pico(), SMALL_PICO).and_then(|units| units.checked_mul(SMALL_PICO));
        match rounded.filter(|pico| is_small && *pico != 0) {
            Some(pico) => format!("{} {}", Amount::from_pico(pico), self.currency),
            None if is_small => format!("{amount} {}", self.currency),
            None => shown(amount, self.currency),
        }
    }
}

fn steps(dearest: &[(Id, Amount)], day: NaiveDate) -> Vec<String> {
    let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
    let mut steps: Vec<String> =
        dearest.first().map(|(trace, _)| format!("Look at the dearest: recoup trace {trace}")).into_iter().collect();
    steps.push(format!("Look at the day: recoup costs --from {day} --to {next} --by agent,task_type,model"));
    steps
}

/// What a task type is called in a sentence.
fn words_of(kind: &TaskKind) -> String {
    let agent = kind.agent.as_ref().map_or_else(|| "no agent".to_owned(), ToString::to_string);
    format!("{agent} ({})", kind.task_type)
}

fn short(kind: &TaskKind) -> String {
    format!("{}/{}", kind.agent.as_deref().unwrap_or("-"), kind.task_type)
}

/// How many times the usual something cost, to one digit.
fn times(actual: Amount, usual: Amount) -> String {
    let tenths = actual.pico().checked_mul(10).filter(|_| !usual.is_zero());
    let tenths = tenths.and_then(|tenths| div_half_even(tenths, usual.pico()));
    let halves = tenths.and_then(|tenths| Some((tenths.checked_div(10)?, tenths.checked_rem(10)?)));
    halves.map_or_else(|| "many times".to_owned(), |(whole, tenth)| format!("{whole}.{tenth}x"))
}

/// The largest cause in words.
fn cause(causes: &Causes) -> &'static str {
    name(causes.largest())
}

const fn name(cause: Cause) -> &'static str {
    match cause {
        Cause::Price => "the price of a token",
        Cause::TokensPerCall => "tokens per call",
        Cause::CallsPerTask => "calls per task",
        Cause::Retries => "retries",
        Cause::ModelMix => "the mix of models",
    }
}
