use recoup_ledger::{LineKind, Settlement, correct};
use recoup_model::organisation::{Agent, Billing, Markup, VariancePolicy};
use recoup_money::Amount;

use crate::world::{Span, Trace, World, agent, amount, day, id, lines, organisation, total, version, with_seed};

const MINUTE_NS: u64 = 60_000_000_000;

/// Agent, billing, markup, quantity, unit, price and amount of each markup line of a team.
fn markups(settlement: &Settlement, team: &str) -> Vec<String> {
    let text = |line: &&recoup_ledger::Line| {
        let amounts = [line.quantity, line.price, Some(line.exact)].map(|value| value.unwrap().to_string());
        let (agent, unit) = (line.key.agent.as_deref().unwrap_or("-"), line.key.unit.as_deref().unwrap());
        let billing = line.key.billing.unwrap().name();
        format!("{agent} by {billing}: {} {unit} at {} = {}", amounts[0], amounts[1], amounts[2])
    };
    lines(settlement, team, LineKind::Markup).iter().map(text).collect()
}

fn marked(billing: Billing, markup: Markup) -> Agent {
    Agent { markup: Some(markup), ..agent(billing) }
}

fn percent(text: &str) -> Markup {
    Markup::Percent(amount(text))
}

fn fixed(text: &str) -> Markup {
    Markup::Fixed(amount(text))
}

fn one(name: &'static str, on: i64, cost: &str) -> Trace {
    let spans = vec![Span { day: on, cost: amount(cost).pico(), pool: None }];
    Trace { team: Some("a"), agent: name, ended: Some(on), completed: true, active_ns: None, idle_ns: 0, spans }
}

#[test]
fn prc_5_a_percentage_of_completed_tasks_stands_apart_and_outside_the_variance() {
    let mut organisation = with_seed(organisation(&[]), "0.3524");
    organisation.policy.min_days = 100;
    organisation.agents.insert(id("tas"), marked(Billing::Task, percent("5")));
    let mut world = World::new(organisation);
    world.tasks("a", "tas", (1, 10), "4");
    world.add(&Trace { completed: false, ..one("tas", 1, "1") });
    let settlement = world.settle();
    assert_eq!(markups(&settlement, "a"), ["tas by task: 3.524 USD at 0.05 = 0.1762"], "failed tasks have none");
    let record = &settlement.variances[0];
    assert_eq!((record.charges, record.variance), (amount("3.524"), amount("-1.476")), "without markup");
    assert_eq!(total(&settlement, "a"), amount("5.1762"), "actual cost and markup");
    assert_eq!(settlement.totals.markup, amount("0.1762"));
    assert_eq!(settlement.balances.of("markup"), amount("-0.1762"));
    assert_eq!(settlement.balances.of("team/a/markup"), amount("0.1762"));
}

#[test]
fn mon_1_a_markup_is_rounded_once_per_task() {
    let mut organisation = with_seed(organisation(&[]), "0.000000000003");
    organisation.policy.min_days = 100;
    organisation.policy.price_grid = Amount::from_pico(1);
    organisation.agents.insert(id("tas"), marked(Billing::Task, percent("50")));
    let mut world = World::new(organisation);
    world.tasks("a", "tas", (1, 10), "0");
    // 1.5 pico a task is 2: ten tasks are 20 and not 15.
    assert_eq!(world.settle().totals.markup, Amount::from_pico(20));
}

#[test]
fn prc_5_a_fixed_markup_is_one_per_task_or_minute() {
    let mut organisation = with_seed(organisation(&[]), "0.5");
    organisation.policy.min_tasks = 1;
    organisation.agents.insert(id("tas"), marked(Billing::Task, fixed("0.02")));
    organisation.agents.insert(id("tim"), marked(Billing::Time, fixed("0.03")));
    let mut world = World::new(organisation);
    world.tasks("a", "tas", (1, 7), "3.5");
    for on in [1, 2] {
        world.add(&Trace { active_ns: Some(MINUTE_NS * 2 / 3), ..one("tim", on, "1") });
    }
    let settlement = world.settle();
    assert_eq!(
        markups(&settlement, "a"),
        ["tas by task: 7 task at 0.02 = 0.14", "tim by time: 0.666666666667 minute at 0.03 = 0.02",],
        "what passed through on the first day has no price to add to"
    );
}

#[test]
fn prc_6_tokens_pass_through_with_a_percentage_of_each_day() {
    let mut organisation = organisation(&[]);
    organisation.policy.markup = Some(percent("10"));
    let mut world = World::new(organisation);
    // Half a pico a day: to even, twice; together they would be one.
    for on in [1, 2] {
        world.add(&Trace { ended: None, ..one("tok", on, "0.000000000005") });
    }
    world.tasks("a", "tok", (3, 2), "1");
    world.add(&Trace { ended: None, ..one("tas", 3, "9") });
    let settlement = world.settle();
    assert_eq!(
        markups(&settlement, "a"),
        ["tok by token: 1.00000000001 USD at 0.1 = 0.1"],
        "prc_0: outside any task an agent billed by task passes through at actual cost"
    );
    assert_eq!(total(&settlement, "a"), amount("10.10000000001"));
}

#[test]
fn prc_5_a_changed_markup_is_a_line_of_its_own() {
    let with = |markup| {
        let mut organisation = with_seed(organisation(&[]), "1");
        organisation.policy.min_days = 100;
        organisation.agents.insert(id("tas"), marked(Billing::Task, markup));
        organisation
    };
    let mut world =
        World::of(vec![version(1, None, with(percent("5"))), version(2, Some(day(10)), with(percent("8")))]);
    world.tasks("a", "tas", (9, 1), "1");
    world.tasks("a", "tas", (10, 2), "2");
    let settlement = world.settle();
    assert_eq!(markups(&settlement, "a"), ["tas by task: 1 USD at 0.05 = 0.05", "tas by task: 2 USD at 0.08 = 0.16"]);
    let json = serde_json::to_value(lines(&settlement, "a", LineKind::Markup)[0]).unwrap();
    assert_eq!(json["markup"], serde_json::json!({ "percent": "5" }));
}

#[test]
fn led_4_markup_of_a_late_task_is_corrected_apart_from_its_cost() {
    for policy in [VariancePolicy::Settle, VariancePolicy::Carry, VariancePolicy::Absorb] {
        let mut organisation = with_seed(organisation(&[]), "1");
        organisation.policy.variance = policy;
        organisation.agents.insert(id("tas"), marked(Billing::Task, percent("5")));
        let mut world = World::new(organisation.clone());
        world.tasks("a", "tas", (1, 4), "6");
        let original = world.settle();
        world.tasks("b", "tas", (1, 2), "3");
        let recomputed = world.settle_at(Some(&original.prices)).unwrap();
        recoup_ledger::check(&recomputed).unwrap();
        let mut november = World::new(organisation);
        november.period = world.period.next();
        november.through = day(33);
        november.corrections = correct(original.booked(), &[], &recomputed).unwrap();
        let settlement = november.settle();
        assert_eq!(settlement.totals.corrections, amount("3.1"), "{policy:?}");
        assert_eq!(settlement.balances.of("markup/corrections"), amount("-0.1"));
        assert_eq!(settlement.totals.markup, Amount::ZERO);
        let corrected = lines(&settlement, "b", LineKind::Correction);
        let markup = corrected.iter().find(|line| line.key.original_kind == Some(LineKind::Markup)).unwrap();
        assert_eq!((markup.exact, markup.quantity), (amount("0.1"), Some(amount("2"))));
    }
}

#[test]
fn prc_5_without_markup_nothing_is_added() {
    let mut world = World::new(with_seed(organisation(&[]), "1"));
    world.tasks("a", "tas", (1, 4), "6");
    let settlement = world.settle();
    assert!(lines(&settlement, "a", LineKind::Markup).is_empty());
    assert!(!serde_json::to_string(&settlement.lines).unwrap().contains("markup"));
}
