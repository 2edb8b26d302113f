//! Charges and markups: from the line to the cells, tasks and minutes behind it.

use std::collections::BTreeMap;

use recoup_attribution::facts::{CellKey, Item};
use recoup_ledger::{Line, LineKind, PriceModel, PriceVersion, PricedKey};
use recoup_model::organisation::{Billing, Markup};
use recoup_model::{Id, TokenClass};
use recoup_money::Amount;
use recoup_pricing::internal::markup::token_markup;

use super::bills::{BilledTo, arithmetic, bills_of};
use super::case::Case;
use super::lens::{Lens, What, minutes_of};
use super::price::explain_version;
use super::provider::ProviderPrice;
use super::rates;
use super::route::{Destination, key_of_line};
use super::step::{Explained, Row, Step, Table, overflow, plus, sum};
use crate::error::Refusal;

/// What an explanation is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) team: &'a Id,
    pub(crate) line: &'a Line,
    /// Rows of each table.
    pub(crate) rows: usize,
    /// Whether the asker sees all teams.
    pub(crate) sees_all: bool,
}

/// Whether the asker may see what single nights saw of all teams' tasks: whoever sees all, and the team that runs the agent.
fn sees_nights(case: &Case, asked: Asked<'_>, version: &PriceVersion) -> bool {
    let agents = &case.world.history.on(version.from).organisation.agents;
    let owner = agents.get(&version.key.agent).and_then(|agent| agent.owner.as_ref());
    asked.sees_all || owner == Some(asked.team)
}

/// Explains a charge. Returns the reading of facts that makes it up, for its traces; `None`: it was not made of events.
pub(crate) fn explain_charge<'a>(
    found: &mut Explained,
    (case, before): (&Case, Option<&Case>),
    asked: Asked<'a>,
    lens: impl Fn(What) -> Lens<'a>,
) -> Result<Option<Lens<'a>>, Refusal> {
    let key = &asked.line.key;
    let unit = key.unit.as_deref().unwrap_or_default();
    if key.billing == Some(Billing::Token) {
        if unit == "month" && key.sku.is_some() && key.provider.is_none() {
            explain_bill(found, case, asked)?;
            return Ok(None);
        }
        let lens = lens(What::Tokens(key.clone()));
        explain_tokens(found, case, (asked, &lens))?;
        return Ok(Some(lens));
    }
    let Some(priced) = key_of_line(key) else { return Ok(None) };
    if unit == "idle minute" {
        let lens = lens(What::Idle(priced.clone(), key.from));
        explain_idle(found, case, (asked, &lens), &priced)?;
        return Ok(Some(lens));
    }
    match (key.from, priced.model) {
        (Some(from), model) => {
            let version = case.prices.iter().find(|version| version.key == priced && version.from == from);
            match version {
                Some(version) => explain_version(found, (case, before), (version, sees_nights(case, asked, version)))?,
                None => found
                    .step(Step::new("price", &["PRC-2"]).say("it had no price at the close: its seed price applies")),
            }
            let what = match model {
                PriceModel::Task => What::Tasks(priced.clone(), from),
                PriceModel::Time => What::Minutes(priced.clone(), from),
            };
            let lens = lens(what);
            explain_priced(found, case, (asked, &lens), &priced)?;
            Ok(Some(lens))
        }
        (None, _) => {
            let lens = lens(What::Passing(priced.clone()));
            explain_passing(found, case, (asked, &lens), &priced)?;
            Ok(Some(lens))
        }
    }
}

fn explain_bill(found: &mut Explained, case: &Case, asked: Asked<'_>) -> Result<(), Refusal> {
    let mut step = Step::new("bill", &["POOL-5"]);
    let mut total = Amount::ZERO;
    for (key, bill) in bills_of(&case.world.history, case.period(), case.through())? {
        let ours = matches!(&key.to, BilledTo::Owner(team, agent)
            if team == asked.team && Some(agent) == asked.line.key.agent.as_ref());
        if ours && Some(&key.id) == asked.line.key.sku.as_ref() {
            plus(&mut total, bill.cost)?;
            step = step.calculate(arithmetic(&key, &bill, case.period()));
        }
    }
    found.readded = total;
    found.step(step.say("a recurring bill of an agent, borne by its owner, pro rata by day"));
    Ok(())
}

/// Days with what was read on each.
fn by_day(case: &Case, lens: &Lens<'_>) -> Result<Vec<(chrono::NaiveDate, super::lens::Read)>, Refusal> {
    let mut read = Vec::new();
    for (day, facts) in &case.days {
        let one = lens.read(facts)?;
        if one.found {
            read.push((*day, one));
        }
    }
    Ok(read)
}

/// The names of a cell, by which rows of tables are told apart.
pub(crate) const CELL: [&str; 8] = ["day", "agent", "task type", "project", "kind", "provider", "model", "what"];

/// The cells that a lens reads, the dearest first.
pub(crate) fn cells_step(case: &Case, lens: &Lens<'_>, rows: usize) -> Result<(Step, Amount), Refusal> {
    let mut cells: BTreeMap<(chrono::NaiveDate, Vec<String>), (Amount, Amount, u64)> = BTreeMap::new();
    for (day, facts) in &case.days {
        for (key, value) in lens.cells(facts) {
            let sums = cells.entry((*day, cell_names(key))).or_default();
            plus(&mut sums.0, value.cost)?;
            plus(&mut sums.1, value.quantity)?;
            sums.2 = sums.2.saturating_add(value.events);
        }
    }
    let mut sorted: Vec<_> = cells.into_iter().collect();
    sorted.sort_by(|a, b| b.1.0.cmp(&a.1.0).then_with(|| a.0.cmp(&b.0)));
    let rows_of = sorted.into_iter().map(|((day, names), (cost, quantity, events))| {
        let counts = [events.to_string(), quantity.to_string()];
        Row { names: std::iter::once(day.to_string()).chain(names).chain(counts).collect(), figures: vec![cost] }
    });
    let all: Vec<Row> = rows_of.collect();
    let total = sum(all.iter().filter_map(|row| row.figures.first().copied()))?;
    let names: Vec<&'static str> = CELL.iter().copied().chain(["#events", "#quantity"]).collect();
    let table = Table::of((&names, &["#cost"]), all, rows)?;
    Ok((Step::new("cells", &["ATR-1", "ATR-2"]).with(table), total))
}

pub(crate) fn cell_names(key: &CellKey) -> Vec<String> {
    let text = |id: &Option<Id>| id.as_ref().map(ToString::to_string).unwrap_or_default();
    let what = match &key.item {
        Item::Tokens(class) => class.name().to_owned(),
        Item::Units { sku, .. } => sku.to_string(),
        Item::Reported => "reported cost".to_owned(),
        Item::Unpriced => "no price".to_owned(),
        Item::Frame => "frame".to_owned(),
    };
    let what = if key.unobserved { format!("{what}, unobserved") } else { what };
    let names = [text(&key.agent), text(&key.task_type), text(&key.project), key.kind.name().to_owned()];
    names.into_iter().chain([text(&key.provider), text(&key.model), what]).collect()
}

fn explain_tokens(found: &mut Explained, case: &Case, (asked, lens): (Asked<'_>, &Lens<'_>)) -> Result<(), Refusal> {
    let bounds = case.world.history.calendar().period_bounds_ns(case.period());
    let prices = super::provider::prices(&case.world, asked.line, bounds);
    found.step(provider_prices(asked.line, &prices));
    let read: Vec<_> = by_day(case, lens)?;
    let quantity = sum(read.iter().map(|(_, one)| one.quantity))?;
    found.tie("the quantity", quantity, asked.line.quantity.unwrap_or_default());
    let (cells, total) = cells_step(case, lens, asked.rows)?;
    found.readded = total;
    let cells = cells.say("actual cost is passed through: the line is the sum of its cells");
    let cells = rates::arithmetic(case, lens, &prices)?.into_iter().fold(cells, Step::calculate);
    found.step(cells.calculate(format!("sum of the cells = {total}")));
    Ok(())
}

/// The provider's prices that the events of a line could have, with the time they hold (RAT-1).
fn provider_prices(line: &Line, prices: &[ProviderPrice]) -> Step {
    let step = Step::new("provider price", &["RAT-1", "MON-1"]);
    let key = &line.key;
    if key.class.is_none() && key.sku.is_none() {
        return step.say("its source reported the cost: there was no price or no usage");
    }
    let mut rows: Vec<Vec<String>> = prices.iter().map(ProviderPrice::row).collect();
    let of = match key.class {
        Some(TokenClass::Reasoning) => "a missing reasoning rate means the output rate",
        Some(_) => "a missing cache rate means the input rate",
        None => "units at their price",
    };
    if rows.is_empty() {
        return step.say("no price of the catalogue names it: the reported cost was used");
    }
    rows.truncate(super::step::ROWS_MAX);
    let all = rows.len();
    step.say(format!(
        "each event is rated on its own at the price in force when it was used, and rounded once; {of}; the organisation's \
         own price comes before the catalogue"
    ))
    .with(Table::list(&["from", "to", "source", "tier", "context", "#price", "currency"], rows, all))
}

fn explain_priced(
    found: &mut Explained,
    case: &Case,
    (asked, lens): (Asked<'_>, &Lens<'_>),
    key: &PricedKey,
) -> Result<(), Refusal> {
    let price = asked.line.price.unwrap_or_default();
    let read = by_day(case, lens)?;
    let charges = sum(read.iter().map(|(_, one)| one.amount))?;
    let counted = sum(read.iter().map(|(_, one)| one.quantity))?;
    found.readded = charges;
    let (title, quantity, says) = match key.model {
        PriceModel::Task => (
            "#completed",
            counted,
            "a completed task is charged at the price in force when it ended; failed ones are in the price",
        ),
        PriceModel::Time => (
            "#minutes",
            minutes_of(counted),
            "each task's active minutes are charged at the price, rounded once a task",
        ),
    };
    found.tie("the quantity", quantity, asked.line.quantity.unwrap_or_default());
    let rows = read.iter().map(|(day, one)| {
        let quantity = if key.model == PriceModel::Task { one.quantity } else { minutes_of(one.quantity) };
        Row { names: vec![day.to_string(), quantity.to_string()], figures: vec![one.amount] }
    });
    let table = Table::of((&["ended on", title], &["#charge"]), rows.collect(), asked.rows)?;
    let mut step = Step::new("tasks", &["PRC-0", "PRC-3", "MON-1"]).say(says).with(table);
    if key.model == PriceModel::Task {
        step = step.calculate(format!("{quantity} completed tasks x {price} = {charges}"));
    } else {
        step = step.calculate(format!("sum over the tasks of round(minutes x {price}) = {charges}"));
    }
    found.step(step);
    let (cells, actual) = cells_step(case, lens, asked.rows)?;
    let variance = charges.checked_sub(actual).ok_or_else(overflow)?;
    found.step(
        cells
            .say("actual cost of these tasks in the month, whatever became of them; it is not what is charged")
            .calculate(format!(
                "charge {charges} - actual cost {actual} = {variance}, this line's part of the variance"
            )),
    );
    Ok(())
}

fn explain_idle(
    found: &mut Explained,
    case: &Case,
    (asked, lens): (Asked<'_>, &Lens<'_>),
    key: &PricedKey,
) -> Result<(), Refusal> {
    let read = by_day(case, lens)?;
    found.readded = sum(read.iter().map(|(_, one)| one.amount))?;
    let minutes = minutes_of(sum(read.iter().map(|(_, one)| one.quantity))?);
    found.tie("the quantity", minutes, asked.line.quantity.unwrap_or_default());
    let rows = read.iter().map(|(day, one)| Row {
        names: vec![day.to_string(), minutes_of(one.quantity).to_string()],
        figures: vec![one.amount],
    });
    let table = Table::of((&["ended on", "#idle minutes"], &["#charge"]), rows.collect(), asked.rows)?;
    let rate = asked.line.price;
    let says = match rate {
        Some(rate) => format!("the root's interval less its active minutes, at the idle rate {rate} of {}", key.agent),
        None => "idle minutes of tasks that have no price, or no time of their own: shown and not charged".to_owned(),
    };
    let arithmetic =
        format!("sum over the tasks of round(idle minutes x {}) = {}", rate.unwrap_or_default(), found.readded);
    found.step(Step::new("idle", &["PRC-4"]).say(says).calculate(arithmetic).with(table));
    Ok(())
}

fn explain_passing(
    found: &mut Explained,
    case: &Case,
    (asked, lens): (Asked<'_>, &Lens<'_>),
    key: &PricedKey,
) -> Result<(), Refusal> {
    let (cells, direct) = cells_step(case, lens, asked.rows)?;
    let parts = case.settlement.recovered.iter().filter(|part| !part.has_price && part.key == *key);
    let pools = sum(parts.filter(|part| part.team == *asked.team).map(|part| part.amount))?;
    found.readded = direct.checked_add(pools).ok_or_else(overflow)?;
    let policy = &case.world.history.on(case.through()).organisation.policy;
    let or = match key.model {
        PriceModel::Task => ", or a `seed_price`",
        PriceModel::Time => ", each with a duration",
    };
    found.step(Step::new("price", &["PRC-2"]).say(format!(
        "there is no price of {} for {}: it needs {} completed tasks or {} days with tasks{or}. Until then tasks pass through \
         at actual cost",
        key.agent, key.task_type, policy.min_tasks, policy.min_days
    )));
    let mut cells = cells.say("the line is the sum of the tasks' cost");
    cells = if pools.is_zero() {
        cells.calculate(format!("sum of the cells = {direct}"))
    } else {
        cells.calculate(format!(
            "sum of the cells {direct} + shares of pools that prices would recover {pools} = {}",
            found.readded
        ))
    };
    found.step(cells);
    Ok(())
}

/// Explains a markup. Returns the reading of facts that makes it up where single tasks add up to it.
pub(crate) fn explain_markup<'a>(
    found: &mut Explained,
    case: &Case,
    asked: Asked<'a>,
    lens: impl Fn(What) -> Lens<'a>,
) -> Result<Option<Lens<'a>>, Refusal> {
    let Some(markup) = asked.line.key.markup else { return Ok(None) };
    let words = match markup {
        Markup::Percent(percent) => format!("{percent} % of the charge"),
        Markup::Fixed(each) => format!("{each} for each completed task or active minute"),
    };
    let step = Step::new("markup", &["PRC-5", "MON-1"])
        .say(format!("{words}, part of the price model and no part of the variance; rounded once a task, or once a day where cost passes through"));
    if let Some(key) = key_of_line(&asked.line.key) {
        let lens = lens(What::Markup(key.clone(), markup));
        let read = by_day(case, &lens)?;
        found.readded = sum(read.iter().map(|(_, one)| one.amount))?;
        let rows = read.iter().map(|(day, one)| {
            let quantity = if key.model == PriceModel::Task { one.quantity } else { minutes_of(one.quantity) };
            Row { names: vec![day.to_string(), quantity.to_string()], figures: vec![one.amount] }
        });
        let title = if key.model == PriceModel::Task { "#completed" } else { "#minutes" };
        let table = Table::of((&["ended on", title], &["#markup"]), rows.collect(), asked.rows)?;
        found.step(step.calculate(format!("sum over the days = {}", found.readded)).with(table));
        return Ok(Some(lens));
    }
    let mut rows = Vec::new();
    for (day, facts) in &case.days {
        let charged = passed_through(case, (*day, facts), asked, markup)?;
        if !charged.is_zero() {
            let added = token_markup(markup, charged).ok_or_else(overflow)?;
            rows.push(Row { names: vec![day.to_string()], figures: vec![charged, added] });
        }
    }
    found.readded = sum(rows.iter().filter_map(|row| row.figures.get(1).copied()))?;
    let charges = sum(rows.iter().filter_map(|row| row.figures.first().copied()))?;
    found.tie("the charges that it is taken of", charges, asked.line.quantity.unwrap_or_default());
    let table = Table::of((&["day"], &["#passed through", "#markup"]), rows, asked.rows)?;
    found.step(step.calculate(format!("sum over the days = {}", found.readded)).with(table));
    Ok(None)
}

/// Cost of a day that passes through and has this markup.
fn passed_through(
    case: &Case,
    (day, facts): (chrono::NaiveDate, &recoup_attribution::DayFacts),
    asked: Asked<'_>,
    markup: Markup,
) -> Result<Amount, Refusal> {
    let tariffs = case.tariffs();
    let line = &asked.line.key;
    let mut charged = Amount::ZERO;
    for (cell, value) in facts.cells.iter().filter(|(cell, _)| cell.team.as_ref() == Some(asked.team)) {
        let task = cell.task.as_ref();
        let (agent, on) = task.map_or((&cell.agent, day), |task| (&task.agent, task.ended_on));
        let task_type = task.map_or(cell.task_type.as_ref(), |task| Some(&task.task_type));
        let organisation = &case.world.history.on(on).organisation;
        let marked = organisation.billing(asked.team, agent.as_deref()) == Billing::Token
            && organisation.markup(asked.team, agent.as_deref()) == Some(markup)
            && (agent.as_ref(), task_type) == (line.agent.as_ref(), line.task_type.as_ref());
        if marked && tariffs.destination(cell) == Destination::Tokens {
            plus(&mut charged, value.cost)?;
        }
    }
    Ok(charged)
}

/// What a line is, in words.
pub(crate) fn describe(line: &Line, currency: &str) -> Step {
    let key = &line.key;
    let of = |id: &Option<Id>| id.as_deref().unwrap_or("-").to_owned();
    let kind = match key.kind {
        LineKind::Charge if key.unit.as_deref() == Some("idle minute") => {
            "idle minutes of tasks billed by time".to_owned()
        }
        LineKind::Charge => match (key.billing, line.price) {
            (Some(Billing::Task), Some(_)) => "completed tasks at an internal price".to_owned(),
            (Some(Billing::Time), Some(_)) => "minutes at an internal price".to_owned(),
            (Some(Billing::Task | Billing::Time), None) => "tasks passed through at actual cost".to_owned(),
            _ => "actual cost, passed through".to_owned(),
        },
        LineKind::Markup => "a markup on charges".to_owned(),
        LineKind::Pool => format!("a share of the pool {}", of(&key.pool)),
        LineKind::Variance => format!("the settled variance of {} for {}", of(&key.agent), of(&key.task_type)),
        LineKind::Correction => "a correction of a closed month".to_owned(),
    };
    let mut step = Step::new("line", &["CLO-2"]).say(kind);
    if let (Some(quantity), Some(price)) = (line.quantity, line.price) {
        let unit = of(&key.unit);
        step = step.say(format!("{quantity} {unit} at {price}, together {} {currency}", line.exact));
    } else {
        step = step.say(format!("exact amount {} {currency}", line.exact));
    }
    step
}
