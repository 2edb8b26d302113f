//! How an internal price came about: the nights that smoothed it, with the arithmetic of each (PRC-1 to PRC-4).

use num_bigint::BigInt;
use num_rational::BigRational;
use recoup_ledger::{PriceModel, PriceNight, PriceOrigin, PriceVersion, PricedKey};
use recoup_model::Digest;
use recoup_model::organisation::PriceLock;
use recoup_money::{Amount, PICO_PER_UNIT};
use recoup_pricing::internal::{PricePolicy, PriceState, alpha_pico};

use super::case::Case;
use super::ratio;
use super::step::{Explained, Step, Table, overflow};
use crate::error::Refusal;

/// Nights that are shown of a price; those before them are in the sums that the first one begins with.
pub(crate) const NIGHTS_MAX: usize = 10;

/// Letters of the quantity: tasks or minutes.
fn quantity_name(model: PriceModel) -> (&'static str, &'static str) {
    match model {
        PriceModel::Task => ("N", "#completed tasks"),
        PriceModel::Time => ("M", "#minutes"),
    }
}

/// Explains the version of a price: a seed, or the nights up to the one that gave it.
pub(crate) fn explain_version(
    found: &mut Explained,
    (case, before): (&Case, Option<&Case>),
    (version, sees_nights): (&PriceVersion, bool),
) -> Result<(), Refusal> {
    let PriceVersion { key, from, to, price, .. } = version;
    let until = to.map_or_else(|| "the end of the month".to_owned(), |to| format!("{to}, exclusive"));
    let per = if key.model == PriceModel::Task { "completed task" } else { "minute" };
    let mut step = Step::new("price", &["PRC-1", "PRC-2", "PRC-3"])
        .say(format!("{price} per {per} of {} for {} from {from} to {until}", key.agent, key.task_type));
    let state = state_behind(case, before, version)?;
    match (version.origin, &state) {
        (PriceOrigin::Seed, _) => {
            let seed = case.world.history.on(*from).organisation.task_types.get(&key.task_type);
            let seed = seed.and_then(|task_type| task_type.seed_price).unwrap_or_default();
            found.tie("the seed price", seed, *price);
            step = step.say(format!("it is the `seed_price` of {}: there was not enough evidence yet", key.task_type));
        }
        (PriceOrigin::Night, Some(behind)) => {
            found.tie("the price that the night gave", behind.state.price.unwrap_or_default(), *price);
            step = step.say(format!("it was given by the night of {}", behind.state.last_day));
            step = tell_inputs(step, version, &behind.state)?;
            step = tell_nights(step, found, (key, sees_nights), behind)?;
        }
        (PriceOrigin::Night, None) => {
            step = step.say("the nights that gave it lie before the first closed month".to_owned());
        }
    }
    found.step(step);
    Ok(())
}

/// The sums that a version was made of, and the nights that made them, as far as they are known.
struct Behind {
    state: PriceState,
    nights: Vec<PriceNight>,
}

/// A version that begins with the month was given by the last night of the one before.
fn state_behind(case: &Case, before: Option<&Case>, version: &PriceVersion) -> Result<Option<Behind>, Refusal> {
    let nights_of = |case: &Case| {
        let approvals = case.approvals();
        recoup_ledger::price_nights(&case.input(&approvals), &version.key)
            .map_err(|error| Refusal::computation("smooth a price again", error))
    };
    if version.from > case.period().first_day() {
        let mut nights = nights_of(case)?;
        nights.retain(|night| night.day < version.from);
        let state = nights.last().map(|night| night.after.clone());
        return Ok(state.map(|state| Behind { state, nights }));
    }
    let approvals = case.approvals();
    let opening = recoup_ledger::opening_states(&case.input(&approvals))
        .map_err(|error| Refusal::computation("read the opening of a price", error))?;
    let Some(state) = opening.get(&version.key).cloned() else { return Ok(None) };
    let nights = before.map(nights_of).transpose()?.unwrap_or_default();
    Ok(Some(Behind { state, nights }))
}

fn tell_inputs(step: Step, version: &PriceVersion, state: &PriceState) -> Result<Step, Refusal> {
    let bytes =
        serde_json::to_vec(&Some(state)).map_err(|error| Refusal::computation("write a price's inputs", error))?;
    let holds = Digest::of(&bytes) == version.inputs;
    let words = if holds { "is that of these sums" } else { "is not that of these sums" };
    Ok(step.say(format!("its inputs digest {} {words}", version.inputs)))
}

/// Without the nights it is only told what they are of: the sums of two nights, and the evidence, tell what one saw of all
/// teams' tasks.
fn tell_nights(
    mut step: Step,
    found: &mut Explained,
    (key, sees_nights): (&PricedKey, bool),
    behind: &Behind,
) -> Result<Step, Refusal> {
    let (letter, words) = quantity_name(key.model);
    if !sees_nights {
        return Ok(step.say(format!(
            "smoothed cost of the tasks of all teams by their smoothed quantity; what the nights saw is for the team that runs \
             {} and for `finance`",
            key.agent
        )));
    }
    if let Some(night) = behind.nights.last() {
        for line in arithmetic(night, letter)? {
            step = step.calculate(line);
        }
        let again = smoothed(night)?;
        found.tie(format!("S_C of {}", night.day), again.0, night.after.cost);
        found.tie(format!("S_{letter} of {}", night.day), again.1, night.after.quantity);
    }
    for line in price_arithmetic(&behind.state, letter, behind.nights.last().map(|night| &night.policy)) {
        step = step.calculate(line);
    }
    if behind.nights.is_empty() {
        return Ok(step.say("the nights that gave it lie before the first closed month"));
    }
    let skipped = behind.nights.len().saturating_sub(NIGHTS_MAX);
    let rows = behind.nights.iter().skip(skipped).map(|night| {
        let text = |amount: Option<Amount>| amount.map(|amount| amount.to_string()).unwrap_or_default();
        let Some(cost) = night.seen.cost.checked_add(night.beside) else { return Err(overflow()) };
        Ok(vec![
            night.day.to_string(),
            night.seen.tasks.to_string(),
            night.seen.cost.to_string(),
            night.beside.to_string(),
            cost.to_string(),
            night.seen.quantity.to_string(),
            night.after.cost.to_string(),
            night.after.quantity.to_string(),
            text(night.after.candidate),
            text(night.after.price),
        ])
    });
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let mut table = Table::list(
        &["night of", "#tasks", "#their cost", "#pools and carry", "#C", words, "#S_C", "#S", "#candidate", "#price"],
        rows,
        NIGHTS_MAX,
    );
    table.rows_in_all = behind.nights.len();
    Ok(step.say("C and the quantity are those of all tasks that ended on the day, whoever pays for them").with(table))
}

/// `a*x + (1-a)*before`, half to even at 12 digits, for cost and quantity.
fn smoothed(night: &PriceNight) -> Result<(Amount, Amount), Refusal> {
    let cost = night.seen.cost.checked_add(night.beside).ok_or_else(overflow)?;
    let Some(before) = &night.before else { return Ok((cost, night.seen.quantity)) };
    let alpha = alpha_pico(night.policy.half_life_days).ok_or_else(overflow)?;
    let unit = BigRational::from_integer(BigInt::from(PICO_PER_UNIT));
    let weight = BigRational::from_integer(BigInt::from(alpha)) / &unit;
    let kept = BigRational::from_integer(BigInt::from(1_u8)) - &weight;
    let smooth = |seen: Amount, before: Amount| {
        ratio::to_amount(&(&weight * ratio::of_pico(seen) + &kept * ratio::of_pico(before))).ok_or_else(overflow)
    };
    Ok((smooth(cost, before.cost)?, smooth(night.seen.quantity, before.quantity)?))
}

fn arithmetic(night: &PriceNight, letter: &str) -> Result<Vec<String>, Refusal> {
    let cost = night.seen.cost.checked_add(night.beside).ok_or_else(overflow)?;
    let (after, seen) = (&night.after, night.seen.quantity);
    let Some(before) = &night.before else {
        return Ok(vec![
            format!("S_C = {cost}: the first day with tasks begins the sums"),
            format!("S_{letter} = {seen}"),
        ]);
    };
    let days = night.policy.half_life_days;
    let alpha = Amount::from_pico(alpha_pico(days).ok_or_else(overflow)?);
    let kept = Amount::from_pico(PICO_PER_UNIT).checked_sub(alpha).ok_or_else(overflow)?;
    Ok(vec![
        format!("a = 1 - 2^(-1/{days}) = {alpha} (half-life {days} days), 1 - a = {kept}"),
        format!("S_C = {alpha} x {cost} + {kept} x {} = {}", before.cost, after.cost),
        format!("S_{letter} = {alpha} x {seen} + {kept} x {} = {}", before.quantity, after.quantity),
    ])
}

/// Why a night gave no candidate of its own (PRC-2); none where it gave one.
fn lacks(state: &PriceState, policy: &PricePolicy) -> Option<&'static str> {
    let enough = state.completed >= u64::from(policy.min_tasks) || state.days_with_tasks >= policy.min_days;
    match enough {
        false => Some("there is not enough evidence"),
        true if state.quantity <= Amount::ZERO => Some("nothing smooths to a quantity"),
        true => None,
    }
}

fn price_arithmetic(state: &PriceState, letter: &str, policy: Option<&PricePolicy>) -> Vec<String> {
    let (Some(candidate), Some(price), Some(policy)) = (state.candidate, state.price, policy) else {
        return Vec::new();
    };
    let (grid, lacks) = (policy.price_grid, lacks(state, policy));
    let found = match lacks {
        Some(why) => format!("no candidate, {why}: that of an earlier night was {candidate}"),
        None => format!(
            "candidate = S_C / S_{letter} = {} / {} = {candidate} on the grid of {grid}, half to even",
            state.cost, state.quantity
        ),
    };
    let held = match (policy.lock, lacks) {
        (PriceLock::Locked, _) => {
            format!("locked: candidates come into force when a month begins; the price is {price}")
        }
        (_, Some(_)) => format!("{}: without a candidate the last price holds, {price}", lock_name(policy.lock)),
        (PriceLock::Floating, None) => format!("floating: the price is the candidate, {price}"),
        (PriceLock::Banded, None) => {
            let band = policy.band_percent.unwrap_or_default();
            format!("banded: the price moves by {band} % a night at most, by one grid step at least; it is {price}")
        }
    };
    let evidence = format!(
        "evidence: {} completed tasks on {} days with tasks; {} or {} days are enough",
        state.completed, state.days_with_tasks, policy.min_tasks, policy.min_days
    );
    vec![found, held, evidence]
}

const fn lock_name(lock: PriceLock) -> &'static str {
    match lock {
        PriceLock::Floating => "floating",
        PriceLock::Locked => "locked",
        PriceLock::Banded => "banded",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use chrono::NaiveDate;

    use super::*;

    fn state(quantity: &str, completed: u64) -> PriceState {
        let day = NaiveDate::from_ymd_opt(2026, 10, 31).unwrap();
        PriceState {
            cost: "7".parse().unwrap(),
            quantity: quantity.parse().unwrap(),
            completed,
            tasks: completed,
            days_with_tasks: 1,
            candidate: Some("0.35".parse().unwrap()),
            price: Some("0.35".parse().unwrap()),
            first_day: day,
            last_day: day,
        }
    }

    fn policy(lock: PriceLock) -> PricePolicy {
        PricePolicy {
            half_life_days: 7,
            price_grid: "0.01".parse().unwrap(),
            min_tasks: 20,
            min_days: 3,
            lock,
            band_percent: None,
            period_starts_tomorrow: true,
        }
    }

    #[test]
    fn prc_2_a_night_without_a_candidate_says_that_the_last_price_holds() {
        let lines = |state: &PriceState, lock| price_arithmetic(state, "N", Some(&policy(lock)));
        let found = lines(&state("20", 20), PriceLock::Floating);
        assert!(found[0].starts_with("candidate = S_C / S_N = 7 / 20 = 0.35 on the grid"), "{found:?}");
        assert_eq!(found[1], "floating: the price is the candidate, 0.35");
        let few = lines(&state("19", 19), PriceLock::Floating);
        assert_eq!(few[0], "no candidate, there is not enough evidence: that of an earlier night was 0.35");
        assert_eq!(few[1], "floating: without a candidate the last price holds, 0.35");
        let none = lines(&state("0", 20), PriceLock::Banded);
        assert_eq!(none[0], "no candidate, nothing smooths to a quantity: that of an earlier night was 0.35");
        assert_eq!(none[1], "banded: without a candidate the last price holds, 0.35");
        let locked = lines(&state("0", 20), PriceLock::Locked);
        assert_eq!(locked[1], "locked: candidates come into force when a month begins; the price is 0.35");
    }
}
