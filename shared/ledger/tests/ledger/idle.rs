use recoup_ledger::{LineKind, Settlement};
use recoup_model::organisation::{Agent, Billing};

use crate::world::{Span, Trace, World, agent, amount, day, id, lines, organisation, total, version};

const MINUTE_NS: u64 = 60_000_000_000;

/// First day of the price, quantity, unit, price and amount of each charge line of team a.
fn charges(settlement: &Settlement) -> Vec<String> {
    let text = |line: &&recoup_ledger::Line| {
        let or = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let from = or(line.key.from.map(|day| day.to_string()));
        let price = or(line.price.map(|price| price.to_string()));
        format!("{from}: {} {} at {price} = {}", line.quantity.unwrap(), line.key.unit.as_deref().unwrap(), line.exact)
    };
    lines(settlement, "a", LineKind::Charge).iter().map(text).collect()
}

fn task(on: i64, minutes: u64, idle_minutes: u64) -> Trace {
    let spans = vec![Span { day: on, cost: amount("1").pico(), pool: None }];
    let (active_ns, idle_ns) = (Some(minutes * MINUTE_NS).filter(|ns| *ns > 0), idle_minutes * MINUTE_NS);
    Trace { team: Some("a"), agent: "tim", ended: Some(on), completed: true, active_ns, idle_ns, spans }
}

fn rated(rate: &str) -> recoup_model::Organisation {
    let mut organisation = organisation(&[]);
    organisation.policy.min_tasks = 1;
    organisation.agents.insert(id("tim"), Agent { idle_rate: Some(amount(rate)), ..agent(Billing::Time) });
    organisation
}

#[test]
fn prc_4_idle_minutes_are_shown_though_they_cost_nothing() {
    let mut world = World::new(organisation(&[]));
    world.add(&task(1, 2, 3));
    world.add(&task(2, 0, 4));
    let settlement = world.settle();
    assert_eq!(
        charges(&settlement),
        ["-: 2 task at - = 2", "2026-10-01: 7 idle minute at 0 = 0"],
        "by default at a rate of 0"
    );
    assert_eq!(total(&settlement, "a"), amount("2"));
}

#[test]
fn prc_4_idle_minutes_have_a_rate_of_their_own_which_is_part_of_the_variance() {
    let mut world = World::new(rated("0.01"));
    for on in 1..=3 {
        world.add(&task(on, 2, 3));
    }
    world.add(&task(3, 0, 50));
    world.through = day(3);
    let settlement = world.settle();
    assert_eq!(
        charges(&settlement),
        [
            "-: 53 idle minute at - = 0",
            "-: 2 task at - = 2",
            "2026-10-01: 6 idle minute at 0.01 = 0.06",
            "2026-10-02: 4 minute at 0.5 = 2",
        ],
        "tasks that pass through have nothing added"
    );
    let record = &settlement.variances[0];
    assert_eq!([record.charges, record.actual, record.variance], ["2.06", "2", "0.06"].map(amount));
    assert_eq!([record.price_part, record.usage_part], ["0", "0.06"].map(amount));
    assert_eq!(total(&settlement, "a"), amount("4"), "led_3: settled to actual cost");
}

#[test]
fn mon_1_idle_time_is_rounded_once_per_task() {
    let mut world = World::new(rated("0.000000000001"));
    world.add(&task(1, 1, 0));
    for _ in 0..4 {
        // 1.5 minutes at one pico are 1.5 picounits: 2 each.
        world.add(&Trace { idle_ns: 90_000_000_000, ..task(2, 1, 0) });
    }
    world.through = day(2);
    let settlement = world.settle();
    assert!(charges(&settlement).contains(&"2026-10-01: 6 idle minute at 0.000000000001 = 0.000000000008".to_owned()));
}

#[test]
fn led_2_a_changed_idle_rate_is_a_line_of_its_own_and_a_price_variance() {
    let mut world = World::of(vec![version(1, None, rated("0.01")), version(2, Some(day(3)), rated("0.04"))]);
    for on in 1..=4 {
        world.add(&task(on, 2, 10));
    }
    world.through = day(4);
    let settlement = world.settle();
    let idle: Vec<_> = charges(&settlement).into_iter().filter(|line| line.contains("idle minute at 0")).collect();
    assert_eq!(idle, ["2026-10-01: 10 idle minute at 0.01 = 0.1", "2026-10-03: 20 idle minute at 0.04 = 0.8"]);
    let record = &settlement.variances[0];
    assert_eq!(record.price_part, amount("-0.6"), "20 minutes at 0.03 more than in the beginning");
    assert_eq!(record.price_part.checked_add(record.usage_part), Some(record.variance));
}

#[test]
fn prc_2_completed_tasks_count_on_a_line_that_passes_them_through() {
    let mut world = World::new(organisation(&[]));
    for (completed, active_ns) in [(true, Some(1)), (true, None), (false, Some(1)), (false, None)] {
        let spans = vec![Span { day: 5, cost: amount("1").pico(), pool: None }];
        let team = Some("a");
        world.add(&Trace { team, agent: "tim", ended: Some(5), completed, active_ns, idle_ns: 0, spans });
    }
    let quantities = |world: &World| {
        let settlement = world.settle();
        let lines = lines(&settlement, "a", LineKind::Charge);
        lines.iter().map(|line| (line.exact, line.quantity)).collect::<Vec<_>>()
    };
    assert_eq!(quantities(&world), [(amount("4"), Some(amount("2")))]);
    world.rules = 5;
    assert_eq!(quantities(&world), [(amount("4"), Some(amount("4")))], "a month that was closed before");
}
