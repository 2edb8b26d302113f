//! ANO-1 to ANO-3 by hand-made figures and by chance, ANO-4 by hand-made figures.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;

use chrono::NaiveDate;
use proptest::prelude::*;
use recoup_budgets::PeriodKind;
use recoup_budgets::anomaly::{Anomaly, Baseline, Cause, Judgement, Spent, TaskSums, judge_day, judge_task};
use recoup_budgets::forecast::{Forecast, ForecastOf, Outlook, forecast};
use recoup_model::Id;
use recoup_money::Amount;

fn day(of_november: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, of_november).unwrap()
}

fn units(units: i128) -> Amount {
    Amount::from_pico(units * 1_000_000_000_000)
}

/// A task of so many calls of a model, each of so many tokens and units.
fn spent(model: &str, calls: usize, tokens: u64, cost: i128) -> Spent {
    let mut spent = Spent::default();
    for _ in 0..calls {
        spent.add_call(&Id::from(model), tokens, units(cost), false).unwrap();
    }
    spent
}

fn sums(tasks: &[Spent]) -> TaskSums {
    let mut sums = TaskSums::default();
    tasks.iter().for_each(|task| sums.add(task).unwrap());
    sums
}

/// Days of equal tasks: (day, tasks, cost of each).
fn baseline(of: u32, days: &[(u32, usize, i128)]) -> Baseline {
    let days: Vec<(NaiveDate, TaskSums)> =
        days.iter().map(|(at, tasks, cost)| (day(*at), sums(&vec![spent("m", 1, 100, *cost); *tasks]))).collect();
    Baseline::before(day(of), days.iter().map(|(day, sums)| (*day, sums))).unwrap()
}

#[track_caller]
fn anomalous(judgement: Judgement) -> Anomaly {
    match judgement {
        Judgement::Anomalous(anomaly) => anomaly,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ano_1_three_times_the_mean_is_usual_and_a_picounit_more_is_not() {
    let before = baseline(10, &[(7, 10, 2), (8, 10, 2), (9, 10, 2)]);
    assert_eq!(judge_task(&spent("m", 1, 100, 6), &before).unwrap(), Judgement::Usual);
    let mut more = spent("m", 1, 100, 6);
    more.add_call(&Id::from("m"), 0, Amount::from_pico(1), false).unwrap();
    let anomaly = anomalous(judge_task(&more, &before).unwrap());
    assert!(anomaly.above_multiple && anomaly.above_deviations, "all tasks cost the same");
    assert_eq!((anomaly.tasks, anomaly.days), (30, 3));
}

#[test]
fn ano_1_the_baseline_is_seven_days_before_and_not_the_day_itself() {
    let before = baseline(10, &[(2, 30, 90), (3, 10, 2), (6, 10, 2), (9, 10, 2), (10, 30, 90)]);
    assert_eq!((before.days(), before.sums().tasks()), (3, 30));
    assert_eq!(before.sums().cost(), units(60));
}

#[test]
fn ano_1_deviations_are_those_of_a_sample() {
    // 1 and 19 in turns: mean 10, sample deviation sqrt(20 * 81 / 19) = 9.2338; mean + 3 of them = 37.7.
    let tasks: Vec<Spent> = (0..20).map(|at| spent("m", 1, 100, if at % 2 == 0 { 1 } else { 19 })).collect();
    let parts: Vec<TaskSums> = tasks.chunks(4).map(sums).collect();
    let before = Baseline::before(day(10), (5..).map(day).zip(&parts)).unwrap();
    let alone = |cost| anomalous(judge_task(&spent("m", 1, 100, cost), &before).unwrap()).above_deviations;
    assert!(!alone(37) && alone(38));
}

#[test]
fn ano_2_deviations_of_days_need_five_of_them() {
    let four = baseline(10, &[(5, 10, 2), (6, 10, 2), (7, 10, 2), (8, 10, 2)]);
    let twice = sums(&[spent("m", 1, 100, 4)]);
    assert_eq!(judge_day(&twice, &four).unwrap(), Judgement::Usual);
    let five = baseline(10, &[(4, 10, 2), (5, 10, 2), (6, 10, 2), (7, 10, 2), (8, 10, 2)]);
    let anomaly = anomalous(judge_day(&twice, &five).unwrap());
    assert_eq!((anomaly.above_multiple, anomaly.above_deviations), (false, true));
    assert_eq!(judge_day(&TaskSums::default(), &five).unwrap(), Judgement::Usual, "no task, no cost per task");
}

#[test]
fn ano_3_less_than_three_days_or_twenty_tasks_is_insufficient() {
    let runaway = spent("m", 100, 100, 9);
    for (days, expected) in
        [(vec![(8, 30, 2), (9, 30, 2)], (2, 60)), (vec![(7, 6, 2), (8, 6, 2), (9, 7, 2)], (3, 19)), (vec![], (0, 0))]
    {
        let before = baseline(10, &days);
        let (days, tasks) = expected;
        let insufficient = Judgement::InsufficientHistory { days, tasks };
        assert_eq!(judge_task(&runaway, &before).unwrap(), insufficient);
        assert_eq!(judge_day(&sums(std::slice::from_ref(&runaway)), &before).unwrap(), insufficient);
    }
}

#[test]
fn ano_3_each_cause_is_named_by_the_factor_that_moved() {
    let days: Vec<TaskSums> = (0..3).map(|_| sums(&vec![spent("m", 2, 100, 1); 10])).collect();
    let before = Baseline::before(day(10), (7..).map(day).zip(&days)).unwrap();
    let mut retried = spent("m", 2, 100, 1);
    for _ in 0..6 {
        retried.add_call(&Id::from("m"), 100, units(1), true).unwrap();
    }
    for (task, cause) in [
        (spent("m", 20, 100, 1), Cause::CallsPerTask),
        (spent("m", 2, 1_000, 10), Cause::TokensPerCall),
        (spent("m", 2, 100, 10), Cause::Price),
        (spent("n", 2, 100, 10), Cause::ModelMix),
        (retried, Cause::Retries),
    ] {
        let anomaly = anomalous(judge_task(&task, &before).unwrap());
        assert_eq!(anomaly.causes.largest(), cause);
        let others = anomaly.causes.parts().into_iter().filter(|(other, _)| *other != cause);
        assert!(others.into_iter().all(|(_, part)| part.is_zero()), "{anomaly:?}");
    }
}

fn any_spent() -> impl Strategy<Value = Spent> {
    let call = (0..3_usize, 0..5_000_u64, 0..10_000_000_i128, any::<bool>());
    prop::collection::vec(call, 1..12).prop_map(|calls| {
        let mut spent = Spent::default();
        for (model, tokens, pico, is_retry) in calls {
            spent.add_call(&Id::from(["m", "n", "sku"][model]), tokens, Amount::from_pico(pico), is_retry).unwrap();
        }
        spent
    })
}

proptest! {
    #[test]
    fn ano_3_causes_sum_to_the_excess_exactly(
        history in prop::collection::vec(any_spent(), 21..40),
        task in any_spent(),
    ) {
        let days: Vec<TaskSums> = history.chunks(7).map(sums).collect();
        let before = Baseline::before(day(10), (3..).map(day).zip(&days)).unwrap();
        let judgements = [judge_task(&task, &before).unwrap(), judge_day(&sums(&[task]), &before).unwrap()];
        for judgement in judgements {
            if let Judgement::Anomalous(anomaly) = judgement {
                let parts = anomaly.causes.parts().map(|(_, part)| part);
                prop_assert_eq!(Amount::checked_sum(parts), Some(anomaly.excess));
                prop_assert_eq!(anomaly.actual.checked_sub(anomaly.mean), Some(anomaly.excess));
            }
        }
    }

    #[test]
    fn ano_1_sums_are_the_same_in_any_grouping(tasks in prop::collection::vec(any_spent(), 0..20), cut in 0..20_usize) {
        let (some, others) = tasks.split_at(cut.min(tasks.len()));
        let mut merged = sums(some);
        merged.merge(&sums(others)).unwrap();
        prop_assert_eq!(&merged, &sums(&tasks));
        let text = serde_json::to_string(&merged).unwrap();
        prop_assert_eq!(serde_json::from_str::<TaskSums>(&text).unwrap(), merged);
    }
}

fn outlook(kind: PeriodKind, today: NaiveDate, committed: i128, days: &BTreeMap<NaiveDate, Amount>) -> Outlook {
    let of = ForecastOf { kind, today, committed: units(committed), limit: Some(units(100)), days };
    match forecast(&of).unwrap() {
        Forecast::Known(outlook) => outlook,
        Forecast::InsufficientHistory { days } => panic!("{days} days"),
    }
}

#[test]
fn ano_4_a_period_starts_with_nothing_of_the_one_before() {
    let days: BTreeMap<NaiveDate, Amount> = (3..30).map(|at| (day(at), units(5))).collect();
    let last = outlook(PeriodKind::Month, day(30), 135, &days);
    assert_eq!((last.expected, last.days_left, last.runs_out_on), (units(140), 0, Some(day(30))));
    let first = NaiveDate::from_ymd_opt(2026, 12, 1).unwrap();
    let reset = outlook(PeriodKind::Month, first, 0, &days);
    assert_eq!((reset.expected, reset.days_left), (units(31 * 5), 30));
    assert_eq!((reset.low, reset.high), (reset.expected, reset.expected), "every day costs the same");
    assert_eq!(reset.runs_out_on, NaiveDate::from_ymd_opt(2026, 12, 20));
    let week = outlook(PeriodKind::Week, day(25), 12, &days);
    assert_eq!(
        (week.expected, week.days_left),
        (units(5 * 5 + 10), 4),
        "Monday and Tuesday, what is left of today, four days"
    );
}

#[test]
fn ano_4_two_days_are_too_few() {
    let days: BTreeMap<NaiveDate, Amount> = (8..10).map(|at| (day(at), units(5))).collect();
    let of = ForecastOf { kind: PeriodKind::Day, today: day(10), committed: units(1), limit: None, days: &days };
    assert_eq!(forecast(&of).unwrap(), Forecast::InsufficientHistory { days: 2 });
}
