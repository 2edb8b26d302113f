//! A share of a pool: cost in, weights, the full cost, the split to the last picounit (POOL-1 to POOL-5, SPL-1, SPL-2).

use num_bigint::BigUint;
use num_rational::BigRational;
use num_traits::{Signed, Zero};
use recoup_ledger::{Bearer, Consumer, PoolRecord, PoolShare};
use recoup_model::Id;
use recoup_money::{Amount, Share, split_big};

use super::case::Case;
use super::charge::Asked;
use super::lens::{Lens, What};
use super::pools::{CostIn, passed_on};
use super::ratio;
use super::step::{Explained, Row, Step, Table, overflow, sum};
use crate::error::Refusal;

/// Explains a pool line. Returns the reading of the pool's events.
pub(crate) fn explain_share<'a>(
    found: &mut Explained,
    case: &Case,
    asked: Asked<'a>,
    lens: impl Fn(What) -> Lens<'a>,
) -> Result<Option<Lens<'a>>, Refusal> {
    let Some(pool) = asked.line.key.pool.clone() else { return Ok(None) };
    let records = &case.settlement.pools;
    let Some(record) = records.iter().find(|record| record.pool == pool) else { return Ok(None) };
    explain_cost_in(found, case, (records, record))?;
    explain_weights(found, asked, record)?;
    let share = explain_split(found, asked, (records, record))?;
    let in_price = record.consumers.iter().find(|share| is_team(share, asked.team)).and_then(|share| share.in_price);
    found.readded = share.checked_sub(in_price.unwrap_or_default()).ok_or_else(overflow)?;
    if let Some(in_price) = in_price {
        found.step(
            Step::new("in prices", &["PRC-1"])
                .say("`pool_recovery = \"price\"`: what the internal prices recover of the share has no line")
                .calculate(format!("{share} - {in_price} = {}", found.readded)),
        );
    }
    let mut lens = lens(What::Pool(pool));
    lens.team = None;
    Ok(Some(lens))
}

fn is_team(share: &PoolShare, team: &Id) -> bool {
    share.consumer == Consumer::Bearer(Bearer::Team(team.clone()))
}

fn explain_cost_in(
    found: &mut Explained,
    case: &Case,
    (records, record): (&[PoolRecord], &PoolRecord),
) -> Result<(), Refusal> {
    let cost_in = CostIn::of(&case.ground(), &record.pool)?;
    found.tie("the pool's own cost", cost_in.total()?, record.own_cost);
    let mut rows: Vec<Row> = Vec::new();
    for (agent, (cost, events)) in &cost_in.agents {
        let agent = agent.as_deref().unwrap_or("-").to_owned();
        rows.push(Row { names: vec!["agent".into(), agent, format!("{events} events")], figures: vec![*cost] });
    }
    for (id, words, cost) in &cost_in.bills {
        rows.push(Row { names: vec!["bill".into(), id.to_string(), words.clone()], figures: vec![*cost] });
    }
    if !cost_in.unattributed.is_zero() {
        let names = vec!["unattributed".into(), String::new(), "cost without a payer".into()];
        rows.push(Row { names, figures: vec![cost_in.unattributed] });
    }
    let all = rows.len();
    let table = Table::of((&["own cost", "of", "how"], &["#cost"]), rows, all)?;
    let mut step = Step::new("cost in", &["POOL-2", "POOL-4", "POOL-5"]).with(table);
    let passed = passed_on(records, &record.pool);
    let mut full = ratio::of_pico(record.own_cost);
    let mut terms = vec![record.own_cost.to_string()];
    for (from, part, pico) in &passed {
        full += pico;
        let whole = ratio::parse(&from.full_cost_pico).unwrap_or_default();
        terms.push(format!("{} of the full cost of {}, {}", ratio::percent(part), from.pool, shown(&whole)));
    }
    let stated = ratio::parse(&record.full_cost_pico).unwrap_or_default();
    let rounded = |pico: &BigRational| ratio::to_amount(pico).ok_or_else(overflow);
    found.tie("the pool's full cost", rounded(&full)?, rounded(&stated)?);
    if full != stated {
        found.tie("the pool's full cost, as a fraction", Amount::ZERO, Amount::from_pico(1));
    }
    step = step.say(format!("group {}, method {}, basis {}", record.group, record.method, record.basis));
    let equals = if full.is_integer() { "" } else { ", an exact fraction that is rounded here for reading" };
    found.step(step.calculate(format!("full cost = {} = {}{equals}", terms.join(" + "), shown(&full))));
    Ok(())
}

fn shown(pico: &BigRational) -> String {
    ratio::to_amount(pico).map_or_else(|| ratio::text(pico), |amount| amount.to_string())
}

/// Who a consumer is, as far as the asker may know.
fn consumer_name(share: &PoolShare, asked: Asked<'_>) -> String {
    match &share.consumer {
        Consumer::Pool(pool) => format!("pool {pool}"),
        Consumer::Bearer(bearer) => bearer_name(bearer, asked),
    }
}

fn bearer_name(bearer: &Bearer, asked: Asked<'_>) -> String {
    match bearer {
        Bearer::Team(team) if asked.sees_all || team == asked.team => format!("team {team}"),
        Bearer::Team(_) => OTHERS.to_owned(),
        Bearer::Unattributed => "unattributed".to_owned(),
        Bearer::Unallocated => "unallocated".to_owned(),
        Bearer::Absorbed => "absorbed".to_owned(),
    }
}

/// All other teams together, for an asker who sees only one.
const OTHERS: &str = "other teams";

fn explain_weights(found: &mut Explained, asked: Asked<'_>, record: &PoolRecord) -> Result<(), Refusal> {
    let mut merged: Vec<(String, BigUint, Option<Amount>)> = Vec::new();
    let mut total = BigUint::zero();
    for share in &record.consumers {
        let weight: BigUint = share.weight.parse().map_err(|_| overflow())?;
        total += &weight;
        let name = consumer_name(share, asked);
        match merged.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, sum, borne)) => {
                *sum += weight;
                let more = share.amount.unwrap_or_default();
                *borne = Some(borne.unwrap_or_default().checked_add(more).ok_or_else(overflow)?);
            }
            None => merged.push((name, weight, share.amount)),
        }
    }
    let unit = match record.basis.as_ref() {
        "invocations" => "invocations",
        "tokens" => "tokens",
        "duration" => "milliseconds",
        "direct_cost" => "picounits of direct cost",
        "fixed" => "picounits of per cent",
        _ => "teams",
    };
    let own = record.consumers.iter().find(|share| is_team(share, asked.team));
    let ours = own.map(|share| share.weight.clone()).unwrap_or_default();
    let part = own.and_then(|share| ratio::parse(&share.ratio)).unwrap_or_default();
    let again = ours.parse::<BigUint>().ok().filter(|_| !total.is_zero());
    let again = again.map(|weight| BigRational::new(weight.into(), total.clone().into())).unwrap_or_default();
    if again != part {
        found.tie("the ratio", Amount::ZERO, Amount::from_pico(1));
    }
    let rows = merged.into_iter().map(|(name, weight, borne)| {
        let share = if total.is_zero() {
            BigRational::zero()
        } else {
            BigRational::new(weight.clone().into(), total.clone().into())
        };
        let borne = borne.map_or_else(|| "in its full cost".to_owned(), |borne| borne.to_string());
        vec![name, weight.to_string(), ratio::text(&share), ratio::percent(&share), borne]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let all = rows.len();
    let table = Table::list(&["who", "#weight", "#ratio", "#share", "#bears"], rows, all);
    found.step(
        Step::new("ratio", &["POOL-1"])
            .say(format!("weights in {unit}, of the whole month"))
            .calculate(format!("{ours} / {total} = {} = {}", ratio::text(&part), ratio::percent(&part)))
            .with(table),
    );
    Ok(())
}

/// What a bearer gets of each pool of the group, before rounding.
struct Contributions<'a> {
    bearers: Vec<&'a Bearer>,
    /// By bearer, then by pool of the group.
    parts: Vec<Vec<BigRational>>,
}

fn contributions<'a>(group: &[&'a PoolRecord]) -> Contributions<'a> {
    let bearer_of = |share: &'a PoolShare| match &share.consumer {
        Consumer::Bearer(bearer) => Some(bearer),
        Consumer::Pool(_) => None,
    };
    let mut bearers: Vec<&Bearer> =
        group.iter().flat_map(|record| record.consumers.iter().filter_map(bearer_of)).collect();
    bearers.sort();
    bearers.dedup();
    let part = |bearer: &Bearer, record: &PoolRecord| {
        let share = record.consumers.iter().find(|share| share.consumer == Consumer::Bearer(bearer.clone()));
        let parts = share.and_then(|share| Some((ratio::parse(&share.ratio)?, ratio::parse(&record.full_cost_pico)?)));
        parts.map_or_else(BigRational::zero, |(part, full)| part * full)
    };
    let parts = bearers.iter().map(|bearer| group.iter().map(|record| part(bearer, record)).collect()).collect();
    Contributions { bearers, parts }
}

/// The group's own cost over the bearers, then inside this one over the pools; returns its share of the pool.
fn explain_split(
    found: &mut Explained,
    asked: Asked<'_>,
    (records, record): (&[PoolRecord], &PoolRecord),
) -> Result<Amount, Refusal> {
    let group: Vec<&PoolRecord> = records.iter().filter(|one| one.group == record.group).collect();
    let own = sum(group.iter().map(|one| one.own_cost))?;
    let Contributions { bearers, parts } = contributions(&group);
    let totals: Vec<BigRational> = parts.iter().map(|parts| parts.iter().sum()).collect();
    let ids: Vec<&[u8]> = bearers.iter().map(|bearer| tie_break(bearer)).collect();
    let over = LargestRemainder::of(own, &totals, &ids)?;
    let me = bearers.iter().position(|bearer| **bearer == Bearer::Team(asked.team.clone()));
    let Some(me) = me else { return Ok(Amount::ZERO) };
    let mine = over.parts.get(me).copied().unwrap_or_default();
    let mut step = Step::new("split", &["SPL-1", "SPL-2", "POOL-3"])
        .say("first the group's own cost over all bearers, then inside the bearer over the pools, each by largest remainder")
        .calculate(over.tell("the group", own, me));
    step = step.with(split_table(asked, (&bearers, &totals), &over)?);
    found.tie("the parts of the group", sum(over.parts.iter().copied())?, own);
    let inside = parts.get(me).cloned().unwrap_or_default();
    let names: Vec<&[u8]> = group.iter().map(|one| one.pool.as_bytes()).collect();
    let within = LargestRemainder::of(mine, &inside, &names)?;
    let at = group.iter().position(|one| one.pool == record.pool).unwrap_or_default();
    if group.len() > 1 {
        step = step.calculate(within.tell(&format!("what {} bears", asked.team), mine, at));
    }
    let share = within.parts.get(at).copied().unwrap_or_default();
    let stated = record.consumers.iter().find(|share| is_team(share, asked.team)).and_then(|share| share.amount);
    found.tie("the share of the pool", share, stated.unwrap_or_default());
    found.step(step);
    Ok(share)
}

const fn no_name() -> &'static [u8] {
    b""
}

fn tie_break(bearer: &Bearer) -> &[u8] {
    match bearer {
        Bearer::Team(team) => team.as_bytes(),
        Bearer::Unattributed | Bearer::Unallocated | Bearer::Absorbed => no_name(),
    }
}

/// A split by SPL-1 with what makes it repeatable.
pub(crate) struct LargestRemainder {
    pub(crate) parts: Vec<Amount>,
    /// The exact ideal of each, in picounits.
    ideals: Vec<BigRational>,
    /// Units that the floors left over.
    left: i128,
}

impl LargestRemainder {
    /// Splits an amount over exact weights; all zero where nobody has one.
    pub(crate) fn of(amount: Amount, weights: &[BigRational], ids: &[&[u8]]) -> Result<Self, Refusal> {
        let total: BigRational = weights.iter().sum();
        if total.is_zero() {
            return Ok(Self {
                parts: vec![Amount::ZERO; ids.len()],
                ideals: vec![BigRational::zero(); ids.len()],
                left: 0,
            });
        }
        let common = weights.iter().fold(num_bigint::BigInt::from(1_u8), |common, weight| {
            BigRational::new(common, weight.denom().clone()).numer() * weight.denom()
        });
        let shares: Vec<Share<'_, BigUint>> = ids
            .iter()
            .zip(weights)
            .map(|(id, weight)| {
                let weight = (weight.numer() * (&common / weight.denom())).to_biguint().ok_or_else(overflow)?;
                Ok(Share { id, weight })
            })
            .collect::<Result<_, Refusal>>()?;
        let parts = split_big(amount.pico(), &shares).ok_or_else(overflow)?;
        let ideals: Vec<BigRational> = weights.iter().map(|weight| ratio::of_pico(amount) * weight / &total).collect();
        let floors: BigRational = ideals.iter().map(floor).sum();
        let left = (ratio::of_pico(amount) - floors).to_integer();
        let left = i128::try_from(left).map_err(|_| overflow())?;
        Ok(Self { parts: parts.into_iter().map(Amount::from_pico).collect(), ideals, left })
    }

    /// The arithmetic of one part.
    pub(crate) fn tell(&self, of: &str, whole: Amount, at: usize) -> String {
        let part = self.parts.get(at).copied().unwrap_or_default();
        let ideal = self.ideals.get(at).cloned().unwrap_or_default();
        let floor = ratio::to_amount(&floor(&ideal)).unwrap_or_default();
        let got = if part == floor { "none of them" } else { "one of them" };
        let total: BigRational = self.ideals.iter().sum();
        let of_whole = if total.is_zero() { BigRational::zero() } else { &ideal / &total };
        format!(
            "{} of {whole} of {of} = {floor} rounded down, and {got} of the {} picounits that rounding down leaves over = {part}",
            ratio::percent(&of_whole),
            self.left.unsigned_abs()
        )
    }

    /// The fraction of a picounit that decides who gets what is left.
    fn remainder(&self, at: usize) -> String {
        let ideal = self.ideals.get(at).cloned().unwrap_or_default();
        let rest = (&ideal - floor(&ideal)).abs();
        let million = BigRational::from_integer(1_000_000_u32.into());
        format!("0.{:0>6}", (rest * million).floor().to_integer().to_string())
    }
}

/// Towards zero: SPL-1 splits the magnitude and restores the sign.
fn floor(ideal: &BigRational) -> BigRational {
    ideal.trunc()
}

fn split_table(
    asked: Asked<'_>,
    (bearers, totals): (&[&Bearer], &[BigRational]),
    over: &LargestRemainder,
) -> Result<Table, Refusal> {
    let mut rows: Vec<Row> = Vec::new();
    for (at, (bearer, total)) in bearers.iter().zip(totals).enumerate() {
        let name = bearer_name(bearer, asked);
        let part = over.parts.get(at).copied().unwrap_or_default();
        if let Some(row) = rows.iter_mut().find(|row| row.names.first() == Some(&name) && name == OTHERS) {
            for figure in &mut row.figures {
                *figure = figure.checked_add(part).ok_or_else(overflow)?;
            }
            continue;
        }
        let hidden = name == OTHERS;
        let remainder = if hidden { String::new() } else { over.remainder(at) };
        let contributed = if hidden { String::new() } else { shown(total) };
        rows.push(Row { names: vec![name, contributed, remainder], figures: vec![part] });
    }
    let all = rows.len();
    Table::of((&["who", "#of the pools' full costs", "#fraction of a picounit"], &["#bears of the group"]), rows, all)
}
