//! Old and new side by side: by team, by cause, by month, and that it ties.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use recoup_ledger::{LineKind, Settlement, Totals};
use recoup_model::Id;
use recoup_money::Amount;
use serde_json::{Map, Value, json};

use super::chain::Replayed;
use super::volatility::{percent, volatility};
use crate::error::Refusal;

/// Kinds of lines that a simulation has; corrections have no part in it.
const CAUSES: [LineKind; 4] = [LineKind::Charge, LineKind::Markup, LineKind::Pool, LineKind::Variance];

fn overflow() -> Refusal {
    Refusal::computation("compare two rate cards", "a sum overflows")
}

/// An old and a new amount.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    old: Amount,
    new: Amount,
}

impl Pair {
    fn plus(self, other: Self) -> Result<Self, Refusal> {
        let old = self.old.checked_add(other.old).ok_or_else(overflow)?;
        Ok(Self { old, new: self.new.checked_add(other.new).ok_or_else(overflow)? })
    }

    fn difference(self) -> Result<Amount, Refusal> {
        self.new.checked_sub(self.old).ok_or_else(overflow)
    }

    fn json(self) -> Result<Value, Refusal> {
        let difference = self.difference()?;
        Ok(json!({
            "old": self.old, "new": self.new, "difference": difference, "percent": percent(difference, self.old),
        }))
    }
}

fn sum(pairs: impl IntoIterator<Item = Pair>) -> Result<Pair, Refusal> {
    pairs.into_iter().try_fold(Pair::default(), Pair::plus)
}

/// Events without a price, of a team or of everybody; what they cost is in no figure here (RAT-2).
pub(super) fn unpriced(settlement: &Settlement, only: Option<&str>) -> u64 {
    let ours = |team: &Option<Id>| only.is_none_or(|only| team.as_deref() == Some(only));
    let events = settlement.unpriced_events.iter().filter(|(team, _)| ours(team)).map(|(_, events)| *events);
    events.fold(0, u64::saturating_add)
}

fn unpriced_json(months: &[Replayed], only: Option<&str>) -> Value {
    let of = |side: fn(&Replayed) -> &Settlement| {
        months.iter().fold(0_u64, |sum, month| sum.saturating_add(unpriced(side(month), only)))
    };
    json!({ "old": of(|month| &month.old), "new": of(|month| &month.new) })
}

/// A team over the months.
#[derive(Debug, Default)]
struct TeamFigures {
    /// By month, in order.
    months: Vec<Pair>,
    causes: BTreeMap<LineKind, Pair>,
}

/// The sum of a team's lines of a kind.
fn of_kind(settlement: &Settlement, team: &Id, kind: LineKind) -> Result<Amount, Refusal> {
    let lines = settlement.lines.get(team).into_iter().flatten();
    let ours = lines.filter(|line| line.key.kind == kind).map(|line| line.exact);
    Amount::checked_sum(ours).ok_or_else(overflow)
}

fn figures(months: &[Replayed], team: &Id) -> Result<TeamFigures, Refusal> {
    let mut found = TeamFigures::default();
    for month in months {
        let mut whole = Pair::default();
        for kind in CAUSES {
            let pair = Pair { old: of_kind(&month.old, team, kind)?, new: of_kind(&month.new, team, kind)? };
            let known = found.causes.entry(kind).or_default();
            *known = known.plus(pair)?;
            whole = whole.plus(pair)?;
        }
        found.months.push(whole);
    }
    Ok(found)
}

fn causes_json(causes: &BTreeMap<LineKind, Pair>) -> Result<Value, Refusal> {
    let rows = causes.iter().map(|(kind, pair)| Ok((kind.name().to_owned(), pair.json()?)));
    Ok(Value::Object(rows.collect::<Result<Map<_, _>, Refusal>>()?))
}

fn outcome(difference: Amount) -> &'static str {
    match difference.cmp(&Amount::ZERO) {
        Ordering::Less => "pays less",
        Ordering::Equal => "same",
        Ordering::Greater => "pays more",
    }
}

fn team_json(months: &[Replayed], team: &Id, found: &TeamFigures) -> Result<(Amount, Value), Refusal> {
    let whole = sum(found.months.iter().copied())?;
    let difference = whole.difference()?;
    let old: Vec<Amount> = found.months.iter().map(|pair| pair.old).collect();
    let new: Vec<Amount> = found.months.iter().map(|pair| pair.new).collect();
    let by_month =
        months.iter().zip(&found.months).map(|(month, pair)| with("period", json!(month.period), pair.json()?));
    let mut row = with("team", json!(team), whole.json()?)?;
    if let Some(row) = row.as_object_mut() {
        row.insert("outcome".into(), json!(outcome(difference)));
        row.insert("volatility".into(), json!({ "old": volatility(&old), "new": volatility(&new) }));
        row.insert("causes".into(), causes_json(&found.causes)?);
        row.insert("unpriced".into(), unpriced_json(months, Some(team)));
        row.insert("months".into(), json!(by_month.collect::<Result<Vec<_>, Refusal>>()?));
    }
    Ok((difference, row))
}

fn with(name: &str, value: Value, mut row: Value) -> Result<Value, Refusal> {
    if let Some(row) = row.as_object_mut() {
        row.insert(name.to_owned(), value);
    }
    Ok(row)
}

/// The terms of CLO-4 that stand beside the teams.
fn account(totals: &Totals, name: &str) -> Amount {
    match name {
        "priced_cost" => totals.priced_cost,
        "markup" => totals.markup,
        "absorbed" => totals.absorbed,
        "carried_in" => totals.carried_in,
        "carried_out" => totals.carried_out,
        "unattributed" => totals.unattributed,
        "unallocated" => totals.unallocated,
        _ => Amount::ZERO,
    }
}

const ACCOUNTS: [&str; 7] =
    ["priced_cost", "markup", "absorbed", "carried_in", "carried_out", "unattributed", "unallocated"];

/// What a simulation found: teams that pay less first. With `only` the rows and sums of that team, and no accounts.
pub(crate) fn compare(months: &[Replayed], only: Option<&str>) -> Result<Map<String, Value>, Refusal> {
    // A team whose events are all unpriced has no line.
    let both = months.iter().flat_map(|month| [&month.old, &month.new]);
    let known = both.flat_map(|of| of.lines.keys().chain(of.unpriced_events.keys().flatten()));
    let teams: BTreeSet<&Id> = known.filter(|team| only.is_none_or(|only| team.as_ref() == only)).collect();
    let found = teams.into_iter().map(|team| Ok((team, figures(months, team)?)));
    let found = found.collect::<Result<Vec<_>, Refusal>>()?;
    let mut rows = Vec::new();
    for (team, figures) in &found {
        rows.push(team_json(months, team, figures)?);
    }
    rows.sort_by_key(|(difference, _)| *difference);
    let of = |wanted: Ordering| {
        let ours = rows.iter().filter(|(difference, _)| difference.cmp(&Amount::ZERO) == wanted);
        ours.filter_map(|(_, row)| row.get("team").cloned()).collect::<Vec<_>>()
    };
    let (winners, mut losers) = (of(Ordering::Less), of(Ordering::Greater));
    losers.reverse();
    let mut causes: BTreeMap<LineKind, Pair> = BTreeMap::new();
    for (kind, pair) in found.iter().flat_map(|(_, figures)| &figures.causes) {
        let known = causes.entry(*kind).or_default();
        *known = known.plus(*pair)?;
    }
    let whole = sum(found.iter().flat_map(|(_, figures)| figures.months.iter().copied()))?;
    let mut totals = whole.json()?;
    if let Some(totals) = totals.as_object_mut() {
        totals.insert("causes".into(), causes_json(&causes)?);
        totals.insert("unpriced".into(), unpriced_json(months, only));
        totals.insert("months".into(), by_month(months, &found)?);
    }
    let mut answer = Map::new();
    answer.insert("teams".into(), json!(rows.iter().map(|(_, row)| row).collect::<Vec<_>>()));
    answer.insert("totals".into(), totals);
    answer.insert("winners".into(), json!(winners));
    answer.insert("losers".into(), json!(losers));
    if only.is_none() {
        answer.insert("accounts".into(), accounts_json(months)?);
        answer.insert("ties".into(), json!(ties(months, whole, &causes)?));
    } else {
        answer.insert("ties".into(), json!(sum(causes.values().copied())?.difference()? == whole.difference()?));
    }
    Ok(answer)
}

fn by_month(months: &[Replayed], found: &[(&Id, TeamFigures)]) -> Result<Value, Refusal> {
    let rows = months.iter().enumerate().map(|(at, month)| {
        let of_teams = found.iter().filter_map(|(_, figures)| figures.months.get(at).copied());
        with("period", json!(month.period), sum(of_teams)?.json()?)
    });
    Ok(json!(rows.collect::<Result<Vec<_>, Refusal>>()?))
}

fn account_pair(months: &[Replayed], name: &str) -> Result<Pair, Refusal> {
    sum(months
        .iter()
        .map(|month| Pair { old: account(&month.old.totals, name), new: account(&month.new.totals, name) }))
}

fn accounts_json(months: &[Replayed]) -> Result<Value, Refusal> {
    let rows = ACCOUNTS.into_iter().map(|name| Ok((name.to_owned(), account_pair(months, name)?.json()?)));
    Ok(Value::Object(rows.collect::<Result<Map<_, _>, Refusal>>()?))
}

/// Whether the teams' differences are those of their causes, and together with the accounts what the months cost (CLO-4).
fn ties(months: &[Replayed], whole: Pair, causes: &BTreeMap<LineKind, Pair>) -> Result<bool, Refusal> {
    let of = |name: &str| account_pair(months, name)?.difference();
    let borne = [whole.difference()?, of("unattributed")?, of("unallocated")?];
    let carried_in = of("carried_in")?.checked_neg().ok_or_else(overflow)?;
    let caused = [of("priced_cost")?, of("markup")?, of("absorbed")?, of("carried_out")?, carried_in];
    let by_cause = sum(causes.values().copied())?.difference()?;
    Ok(Amount::checked_sum(borne) == Amount::checked_sum(caused) && by_cause == whole.difference()?)
}
