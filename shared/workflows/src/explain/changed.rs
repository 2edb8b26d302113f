//! What lies behind the difference of two closes of one month: cells, the figures of a pool, those of a variance.

use std::collections::BTreeMap;

use recoup_ledger::{Bearer, Consumer, LineKey, LineKind, PoolRecord, VarianceRecord};
use recoup_model::Id;
use recoup_model::organisation::Billing;
use recoup_money::Amount;

use super::case::Case;
use super::charge::{Asked, CELL, cell_names};
use super::lens::{Lens, What};
use super::ratio;
use super::route::key_of_line;
use super::step::{Explained, Row, Step, Table, overflow, plus, sum};
use crate::error::Refusal;

/// Tells it for a line, where there is more to tell than its own quantity and amount.
pub(crate) fn tell(
    found: &mut Explained,
    (first, again): (&Case, &Case),
    (asked, of): (Asked<'_>, &LineKey),
) -> Result<Option<Step>, Refusal> {
    match of.kind {
        LineKind::Charge if of.billing == Some(Billing::Token) => {
            cells(found, (first, again), (asked, What::Tokens(of.clone()))).map(Some)
        }
        LineKind::Charge if of.from.is_none() => match key_of_line(of) {
            Some(key) => cells(found, (first, again), (asked, What::Passing(key))).map(Some),
            None => Ok(None),
        },
        LineKind::Pool => {
            let figures = |case: &Case| {
                let record = case.settlement.pools.iter().find(|record| Some(&record.pool) == of.pool.as_ref());
                record.map(|record| pool_figures(record, asked.team)).unwrap_or_default()
            };
            Ok(Some(two_columns("pool", &["POOL-1", "POOL-4"], (figures(first), figures(again)))))
        }
        LineKind::Variance => {
            let figures = |case: &Case| {
                let record =
                    case.settlement.variances.iter().find(|record| Some(&record.key) == key_of_line(of).as_ref());
                record.map(variance_figures).unwrap_or_default()
            };
            Ok(Some(two_columns("variance", &["LED-2"], (figures(first), figures(again)))))
        }
        LineKind::Charge | LineKind::Markup | LineKind::Correction => Ok(None),
    }
}

/// The cells that differ.
fn cells(
    found: &mut Explained,
    (first, again): (&Case, &Case),
    (asked, what): (Asked<'_>, What),
) -> Result<Step, Refusal> {
    let mut rows: BTreeMap<Vec<String>, (Amount, Amount)> = BTreeMap::new();
    for (case, is_new) in [(first, false), (again, true)] {
        let tariffs = case.tariffs();
        let lens = Lens::new(&tariffs, Some(asked.team), what.clone());
        for (day, facts) in &case.days {
            for (key, value) in lens.cells(facts) {
                let names = std::iter::once(day.to_string()).chain(cell_names(key)).collect();
                let sums = rows.entry(names).or_default();
                plus(if is_new { &mut sums.1 } else { &mut sums.0 }, value.cost)?;
            }
        }
    }
    rows.retain(|_, (old, new)| old != new);
    let rows = rows.into_iter().map(|(names, (old, new))| {
        let difference = new.checked_sub(old).ok_or_else(overflow)?;
        Ok(Row { names, figures: vec![old, new, difference] })
    });
    let rows = rows.collect::<Result<Vec<Row>, Refusal>>()?;
    if !matches!(what, What::Passing(_)) {
        let before = line_sum(first, asked.team, &what)?;
        let after = line_sum(again, asked.team, &what)?;
        let differs = sum(rows.iter().filter_map(|row| row.figures.get(2).copied()))?;
        found.tie("the cells that differ", differs, after.checked_sub(before).ok_or_else(overflow)?);
    }
    let table = Table::of((&CELL, &["#cost before", "#cost now", "#difference"]), rows, asked.rows)?;
    Ok(Step::new("cells", &["LED-4"]).say("the cells of the line that differ since the close").with(table))
}

/// The exact amount of the line that a lens reads, as a settlement has it.
fn line_sum(case: &Case, team: &Id, what: &What) -> Result<Amount, Refusal> {
    let What::Tokens(key) = what else { return Ok(Amount::ZERO) };
    let lines = case.settlement.lines.get(team).into_iter().flatten();
    sum(lines.filter(|line| line.key == *key).map(|line| line.exact))
}

type Figures = Vec<(&'static str, String)>;

fn pool_figures(record: &PoolRecord, team: &Id) -> Figures {
    let own = record.consumers.iter().find(|share| share.consumer == Consumer::Bearer(Bearer::Team(team.clone())));
    let full = ratio::parse(&record.full_cost_pico).and_then(|full| ratio::to_amount(&full)).unwrap_or_default();
    let text = |amount: Option<Amount>| amount.unwrap_or_default().to_string();
    vec![
        ("own cost", record.own_cost.to_string()),
        ("full cost", full.to_string()),
        ("weight", own.map(|share| share.weight.clone()).unwrap_or_default()),
        ("ratio", own.map(|share| share.ratio.clone()).unwrap_or_default()),
        ("share", text(own.and_then(|share| share.amount))),
        ("of it in prices", text(own.and_then(|share| share.in_price))),
    ]
}

fn variance_figures(record: &VarianceRecord) -> Figures {
    let VarianceRecord { charges, actual, variance, price_part, usage_part, carried_in, .. } = record;
    [
        ("charges of all teams", charges),
        ("actual cost", actual),
        ("variance", variance),
        ("price part", price_part),
        ("usage part", usage_part),
        ("carried in", carried_in),
    ]
    .map(|(name, amount)| (name, amount.to_string()))
    .to_vec()
}

/// Figures before and now, by name.
fn two_columns(name: &'static str, rules: &'static [&'static str], (before, now): (Figures, Figures)) -> Step {
    let names: Vec<&'static str> =
        if now.len() > before.len() { &now } else { &before }.iter().map(|(name, _)| *name).collect();
    let of = |figures: &Figures, name: &str| {
        figures.iter().find(|(known, _)| *known == name).map(|(_, figure)| figure.clone()).unwrap_or_default()
    };
    let rows: Vec<Vec<String>> =
        names.into_iter().map(|name| vec![name.to_owned(), of(&before, name), of(&now, name)]).collect();
    let all = rows.len();
    Step::new(name, rules).with(Table::list(&["figure", "#at the close", "#recomputed"], rows, all))
}
