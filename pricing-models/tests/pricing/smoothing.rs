//! Smoothing, evidence and locks beyond their cases.

use chrono::Days;
use num_bigint::BigUint;
use proptest::prelude::*;
use recoup_model::organisation::PriceLock;
use recoup_money::{Amount, PICO_PER_UNIT};
use recoup_pricing::internal::{Observation, PriceError, PricePolicy, advance, alpha_pico, task, time};

use crate::support::{amount, day};

fn policy(lock: PriceLock) -> PricePolicy {
    PricePolicy {
        half_life_days: 7,
        price_grid: amount("0.0001"),
        min_tasks: 30,
        min_days: 3,
        lock,
        band_percent: Some(amount("5")),
        period_starts_tomorrow: false,
    }
}

#[test]
fn prc_1_the_weight_of_a_day_is_exact_to_twelve_digits() {
    for (half_life, alpha) in [
        (1, 500_000_000_000),
        (2, 292_893_218_813),
        (3, 206_299_474_016),
        (7, 94_276_335_736),
        (14, 48_304_846_989),
        (30, 22_840_031_566),
        (365, 1_897_231_348),
        (3_650, 189_885_307),
    ] {
        assert_eq!(alpha_pico(half_life), Some(alpha), "half-life {half_life}");
    }
    assert_eq!(alpha_pico(0), None);
    assert_eq!(alpha_pico(3_651), None);
}

#[test]
fn prc_1_every_weight_is_the_nearest() {
    // (1 - a) is within half a pico of 2^(-1/h) when ((2k - 1)/2)^h < unit^h / 2 < ((2k + 1)/2)^h for k = unit - a.
    for half_life in 2..120_u32 {
        let kept = u128::try_from(PICO_PER_UNIT - alpha_pico(half_life).unwrap()).unwrap();
        let target = BigUint::from(2 * PICO_PER_UNIT.unsigned_abs()).pow(half_life);
        assert!(BigUint::from(2 * kept - 1).pow(half_life) * 2_u32 < target, "{half_life}");
        assert!(BigUint::from(2 * kept + 1).pow(half_life) * 2_u32 > target, "{half_life}");
    }
}

#[test]
fn prc_3_a_banded_price_holds_on_a_night_without_a_candidate() {
    let banded = PricePolicy { half_life_days: 1, min_tasks: 1, ..policy(PriceLock::Banded) };
    let seen = task::observe(amount("1"), 1, 1).unwrap();
    let mut state = advance(None, day("2026-10-01"), &seen, &banded).unwrap().unwrap();
    // The price is on its way to a dearer candidate when nothing smooths to a quantity any more.
    state.candidate = Some(amount("2"));
    state.quantity = Amount::ZERO;
    let next = advance(Some(state.clone()), day("2026-10-02"), &Observation::default(), &banded).unwrap().unwrap();
    assert_eq!((next.price, next.candidate), (Some(amount("1")), Some(amount("2"))));
    let locked = PricePolicy { period_starts_tomorrow: true, ..policy(PriceLock::Locked) };
    let next = advance(Some(state), day("2026-10-02"), &Observation::default(), &locked).unwrap().unwrap();
    assert_eq!(next.price, Some(amount("2")), "a locked price waits for the candidate of an earlier night");
}

#[test]
fn prc_3_a_pending_candidate_needs_the_evidence_of_the_policy_that_lifts_the_lock() {
    let locked = PricePolicy { min_tasks: 1, ..policy(PriceLock::Locked) };
    let seen = task::observe(amount("1"), 1, 1).unwrap();
    let state = advance(None, day("2026-10-01"), &seen, &locked).unwrap().unwrap();
    assert_eq!((state.candidate, state.price), (Some(amount("1")), None));
    let floating = |min_tasks| PricePolicy { min_tasks, ..policy(PriceLock::Floating) };
    let night = |min_tasks| {
        advance(Some(state.clone()), day("2026-10-02"), &Observation::default(), &floating(min_tasks)).unwrap().unwrap()
    };
    assert_eq!(night(2).price, None);
    assert_eq!(night(1).price, Some(amount("1")));
}

#[test]
fn prc_1_a_policy_that_cannot_be_used_is_named() {
    let seen = task::observe(amount("1"), 1, 1).unwrap();
    let first = day("2026-10-01");
    let night = |policy: &PricePolicy| advance(None, first, &seen, policy).unwrap_err();
    let plain = policy(PriceLock::Floating);
    assert_eq!(night(&PricePolicy { half_life_days: 0, ..plain }), PriceError::HalfLife(0));
    assert_eq!(PriceError::HalfLife(0).to_string(), "`half_life_days` is 0; write 1 to 3650");
    assert_eq!(night(&PricePolicy { price_grid: Amount::ZERO, ..plain }), PriceError::Grid(Amount::ZERO));
    let banded = PricePolicy { band_percent: None, min_tasks: 1, ..policy(PriceLock::Banded) };
    let state = advance(None, first, &seen, &banded).unwrap();
    assert_eq!(advance(state, first.succ_opt().unwrap(), &seen, &banded), Err(PriceError::Band));
}

#[test]
fn prc_1_a_night_that_is_left_out_or_repeated_is_an_error() {
    let seen = task::observe(amount("1"), 1, 1).unwrap();
    let plain = policy(PriceLock::Floating);
    let last = day("2026-10-01");
    let state = advance(None, last, &seen, &plain).unwrap();
    for wrong in ["2026-10-01", "2026-10-03", "2026-09-30"] {
        assert_eq!(advance(state.clone(), day(wrong), &seen, &plain), Err(PriceError::Gap { day: day(wrong), last }));
    }
}

#[test]
fn mon_3_a_sum_that_overflows_is_an_error() {
    let most = Observation { cost: Amount::from_pico(i128::MAX), quantity: amount("1"), tasks: u64::MAX, completed: 1 };
    let plain = policy(PriceLock::Floating);
    let state = advance(None, day("2026-10-01"), &most, &plain).unwrap();
    let next = advance(state, day("2026-10-02"), &most, &plain);
    assert_eq!(next, Err(PriceError::Overflow(day("2026-10-02"))));
}

#[test]
fn prc_4_a_minute_is_rounded_once_per_task() {
    for (ns, minutes) in [
        (60_000_000_000, "1"),
        (1, "0.000000000017"),
        (3, "0.00000000005"),
        (90_000_000_000, "1.5"),
        (u64::MAX, "307445734.56182586025"),
    ] {
        assert_eq!(time::task_minutes_pico(ns), amount(minutes), "{ns} ns");
    }
    // 0.03 a minute for 1 ns is half a pico: to even.
    assert_eq!(time::time_charge(amount("0.03"), 1), Some(Amount::ZERO));
    assert_eq!(time::time_charge(amount("0.09"), 1), Some(Amount::from_pico(2)));
    assert_eq!(time::time_charge(amount("0.05"), 60_000_000_000), Some(amount("0.05")));
    assert_eq!(time::time_charge(Amount::from_pico(i128::MAX), u64::MAX), None);
}

proptest! {
    #[test]
    fn prc_1_sums_stay_between_what_was_seen(costs in prop::collection::vec(0_i128..1_000_000_000_000_000_000, 1..30)) {
        let plain = policy(PriceLock::Floating);
        let mut state = None;
        for (at, cost) in costs.iter().enumerate() {
            let day = day("2026-10-01").checked_add_days(Days::new(u64::try_from(at).unwrap())).unwrap();
            let seen = task::observe(Amount::from_pico(*cost), 1, 1).unwrap();
            state = advance(state, day, &seen, &plain).unwrap();
        }
        let state = state.unwrap();
        prop_assert!(state.cost.pico() >= *costs.iter().min().unwrap());
        prop_assert!(state.cost.pico() <= *costs.iter().max().unwrap());
        prop_assert_eq!(state.quantity, amount("1"));
        prop_assert_eq!(state.completed, u64::try_from(costs.len()).unwrap());
    }

    #[test]
    fn prc_3_a_banded_price_keeps_its_band_and_grid(
        costs in prop::collection::vec((0_i128..1_000_000_000_000_000, 0_u64..50), 2..20),
        percent in 0_i128..40,
        step in 1_i128..1_000_000_000,
    ) {
        let banded = PricePolicy {
            band_percent: Some(Amount::from_pico(percent * PICO_PER_UNIT)),
            price_grid: Amount::from_pico(step),
            ..policy(PriceLock::Banded)
        };
        let mut state = None;
        let mut last: Option<Amount> = None;
        for (at, (cost, completed)) in costs.iter().enumerate() {
            let day = day("2026-10-01").checked_add_days(Days::new(u64::try_from(at).unwrap())).unwrap();
            let seen = task::observe(Amount::from_pico(*cost), completed + 1, *completed).unwrap();
            state = advance(state, day, &seen, &banded).unwrap();
            let price = state.as_ref().unwrap().price;
            if let (Some(last), Some(price)) = (last, price) {
                let moved = price.checked_sub(last).unwrap().pico().abs();
                prop_assert!(moved <= step.max(last.pico() * percent / 100 + 1), "{last} -> {price}");
                prop_assert!(price.pico() >= step && price.pico() % step == 0);
            }
            last = price;
        }
    }
}
