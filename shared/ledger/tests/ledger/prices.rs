use recoup_ledger::{LineKind, PriceModel, PriceOrigin, Settlement};
use recoup_model::FindingKind;
use recoup_model::organisation::{Billing, PoolBasis, PoolMethod, PriceLock};
use recoup_money::Amount;

use crate::world::{Span, Trace, World, agent, amount, day, id, lines, organisation, pool, total, version, with_seed};

const MINUTE_NS: u64 = 60_000_000_000;

/// Price, quantity and amount of a team's charge lines.
fn charges(settlement: &Settlement, team: &str) -> Vec<(String, String, String)> {
    let text = |value: Option<Amount>| value.map(|value| value.to_string()).unwrap_or_default();
    let figures = |line: &&recoup_ledger::Line| (text(line.price), text(line.quantity), line.exact.to_string());
    lines(settlement, team, LineKind::Charge).iter().map(figures).collect()
}

fn row(price: &str, quantity: &str, exact: &str) -> (String, String, String) {
    (price.to_owned(), quantity.to_owned(), exact.to_owned())
}

fn trace(agent: &'static str, on: i64, cost: &str) -> Trace {
    let spans = vec![Span { day: on, cost: amount(cost).pico(), pool: None }];
    Trace { team: Some("a"), agent, ended: Some(on), completed: true, active_ns: None, idle_ns: 0, spans }
}

fn task_versions(settlement: &Settlement) -> Vec<(u32, String, PriceOrigin)> {
    let of_tasks = settlement.prices.iter().filter(|version| version.key.model == PriceModel::Task);
    of_tasks.map(|version| (chrono::Datelike::day(&version.from), version.price.to_string(), version.origin)).collect()
}

#[test]
fn prc_1_three_nights_give_the_price_of_the_fourth_day() {
    let mut world = World::new(organisation(&[]));
    for (on, count, cost) in [(1, 100, "35"), (2, 150, "52.5"), (3, 50, "20"), (4, 10, "1")] {
        world.tasks("a", "tas", (on, count), cost);
    }
    world.through = day(4);
    let settlement = world.settle();
    assert_eq!(
        charges(&settlement, "a"),
        [row("", "100", "35"), row("0.35", "200", "70"), row("0.3524", "10", "3.524")],
        "the first day passes through: nobody knew a price"
    );
    assert_eq!(
        task_versions(&settlement)[..2],
        [(2, "0.35".to_owned(), PriceOrigin::Night), (4, "0.3524".to_owned(), PriceOrigin::Night)]
    );
    assert_eq!(settlement.prices[0].to, Some(day(4)));
    assert_eq!(total(&settlement, "a"), amount("108.5"), "led_3: the settled statement sums to actual cost");
}

#[test]
fn prc_2_a_seed_holds_until_there_is_evidence() {
    let mut world = World::new(with_seed(organisation(&[]), "0.5"));
    world.tasks("a", "tas", (1, 20), "4");
    world.tasks("a", "tas", (2, 9), "1.8");
    world.tasks("a", "tas", (3, 1), "0.2");
    world.tasks("a", "tas", (4, 2), "1");
    world.through = day(4);
    let settlement = world.settle();
    assert_eq!(charges(&settlement, "a"), [row("0.5", "30", "15"), row("0.2", "2", "0.4")]);
    let origins: Vec<_> = task_versions(&settlement).into_iter().map(|(from, _, origin)| (from, origin)).collect();
    assert_eq!(origins[..2], [(1, PriceOrigin::Seed), (4, PriceOrigin::Night)]);
    assert!(settlement.findings.is_empty());
}

#[test]
fn prc_2_without_any_price_tasks_pass_through_without_variance() {
    let mut world = World::new(organisation(&[]));
    world.tasks("a", "tas", (1, 2), "4");
    world.add(&Trace { completed: false, ..trace("tas", 1, "0.25") });
    world.through = day(1);
    let settlement = world.settle();
    assert_eq!(charges(&settlement, "a"), [row("", "2", "4.25")], "failed tasks cost and are not counted");
    let line = lines(&settlement, "a", LineKind::Charge)[0];
    assert_eq!((line.key.billing, line.key.unit.as_deref()), (Some(Billing::Task), Some("task")));
    assert!(settlement.variances.is_empty());
    assert_eq!(settlement.findings[0].kind, FindingKind::PassThrough);
}

#[test]
fn prc_3_a_locked_price_waits_for_the_next_period() {
    let mut organisation = organisation(&[]);
    organisation.policy.price_lock = PriceLock::Locked;
    let mut world = World::new(organisation);
    world.tasks("a", "tas", (1, 40), "4");
    world.tasks("a", "tas", (30, 40), "4");
    let settlement = world.settle();
    assert_eq!(charges(&settlement, "a"), [row("", "80", "8")]);
    assert_eq!(settlement.prices[0].from, day(32), "the price of the last night is November's");
    let mut november = World::new((*world.history.on(day(1)).organisation).clone());
    november.period = world.period.next();
    november.through = day(33);
    november.opening = settlement.closing;
    november.tasks("a", "tas", (33, 3), "1");
    let settlement = november.settle();
    assert_eq!(charges(&settlement, "a"), [row("0.1", "3", "0.3")]);
    assert_eq!(settlement.prices[0].inputs, world.settle().prices[0].inputs);
}

#[test]
fn prc_3_late_events_make_a_newer_version_of_the_same_range() {
    let mut world = World::new(organisation(&[]));
    world.tasks("a", "tas", (1, 40), "4");
    world.through = day(2);
    let before = world.settle().prices;
    world.tasks("b", "tas", (1, 40), "8");
    let after = world.settle().prices;
    assert_eq!((before[0].from, before[0].to), (after[0].from, after[0].to));
    assert_eq!([before[0].price, after[0].price], ["0.1", "0.15"].map(amount));
    assert_ne!(before[0].inputs, after[0].inputs);
}

#[test]
fn prc_4_minutes_are_charged_at_the_rate_and_untimed_tasks_pass_through() {
    let mut organisation = organisation(&[]);
    organisation.policy.min_tasks = 1;
    let mut world = World::new(organisation);
    let timed = |on, minutes, cost| Trace { active_ns: Some(minutes * MINUTE_NS), ..trace("tim", on, cost) };
    world.add(&timed(1, 4, "2"));
    world.add(&timed(2, 3, "9"));
    world.add(&Trace { active_ns: Some(MINUTE_NS / 3), ..trace("tim", 2, "0") });
    world.add(&trace("tim", 2, "0.75"));
    world.through = day(2);
    let settlement = world.settle();
    assert_eq!(
        charges(&settlement, "a"),
        [row("", "2", "2.75"), row("0.5", "3.333333333333", "1.666666666667")],
        "one task had no rate yet, one no duration"
    );
    assert_eq!(settlement.variances[0].actual, amount("9"));
    assert_eq!(total(&settlement, "a"), amount("11.75"));
}

#[test]
fn prc_4_a_task_without_a_duration_is_no_evidence_of_a_time_price() {
    let mut organisation = organisation(&[]);
    (organisation.policy.min_tasks, organisation.policy.min_days) = (3, 9);
    let mut world = World::new(organisation);
    let timed = |on| Trace { active_ns: Some(MINUTE_NS), ..trace("tim", on, "2") };
    for on in [1, 2, 3] {
        world.add(&timed(on));
        world.add(&trace("tim", on, "1"));
        world.add(&Trace { completed: false, ..timed(on) });
    }
    world.through = day(3);
    let of_time = |settlement: &Settlement| {
        let versions = settlement.prices.iter().filter(|version| version.key.model == PriceModel::Time);
        versions.map(|version| version.from).collect::<Vec<_>>()
    };
    assert_eq!(of_time(&world.settle()), [day(4)], "three completed tasks with a duration, of six");
}

#[test]
fn prc_2_a_task_whose_cost_is_all_in_pools_lists_no_seed_price_before_it_ends() {
    let mut organisation = with_seed(organisation(&[("p", pool(PoolBasis::Even, "p", PoolMethod::Direct))]), "0.35");
    organisation.agents.insert(id("all"), agent(Billing::Task));
    let in_pool = |pool| Span { day: 31, cost: 5, pool };
    let ends_later = |agent, spans| Trace { team: None, spans, ended: Some(32), ..trace(agent, 31, "0") };
    let mut world = World::new(organisation);
    world.add(&ends_later("all", vec![in_pool(Some(("p", None)))]));
    world.add(&ends_later("tas", vec![in_pool(Some(("p", None))), in_pool(None)]));
    let settle = |world: &World| {
        let prices = world.settle().prices;
        prices.iter().map(|version| version.key.agent.to_string()).collect::<Vec<_>>()
    };
    let fine = settle(&world);
    for facts in world.days.values_mut() {
        *facts = facts.in_settlement_grain(&world.history).unwrap();
    }
    assert_eq!((&*fine, &*settle(&world)), (&["tas".to_owned()][..], &["tas".to_owned()][..]));
}

#[test]
fn prc_4_time_prices_begin_when_a_team_is_billed_by_time() {
    let mut by_exception = organisation(&[]);
    by_exception.policy.min_tasks = 1;
    let mut untouched = by_exception.clone();
    untouched.agents.insert(id("tim"), agent(Billing::Token));
    by_exception.agents.insert(
        id("tim"),
        recoup_model::organisation::Agent {
            billing_by_team: [(id("b"), Billing::Time)].into(),
            ..agent(Billing::Token)
        },
    );
    let mut world = World::of(vec![version(1, None, untouched), version(2, Some(day(3)), by_exception)]);
    for on in 1..=4 {
        let timed = Trace { active_ns: Some(MINUTE_NS), ..trace("tim", on, "2") };
        world.add(&timed);
        world.add(&Trace { team: Some("b"), ..timed });
    }
    world.through = day(4);
    let settlement = world.settle();
    let of_time: Vec<_> = settlement.prices.iter().filter(|version| version.key.model == PriceModel::Time).collect();
    assert_eq!((of_time.len(), of_time[0].from, of_time[0].price), (1, day(4), amount("2")));
    let models = |team| {
        let lines = lines(&settlement, team, LineKind::Charge);
        lines.into_iter().map(|line| (line.key.billing.unwrap(), line.exact.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(models("a"), [(Billing::Token, "8".to_owned())], "prc_7: the exception is team b's");
    let of_b = [(Billing::Token, "4"), (Billing::Time, "2"), (Billing::Time, "2")];
    assert_eq!(models("b"), of_b.map(|(model, exact)| (model, exact.to_owned())));
}

#[test]
fn prc_0_cost_outside_any_task_passes_through_under_every_model() {
    let mut world = World::new(with_seed(organisation(&[]), "1"));
    world.add(&Trace { ended: None, ..trace("tas", 1, "0.3") });
    let settlement = world.settle();
    let line = lines(&settlement, "a", LineKind::Charge)[0];
    assert_eq!(
        (line.key.billing, line.exact, line.quantity),
        (Some(Billing::Token), amount("0.3"), Some(amount("10")))
    );
    assert!(settlement.variances.is_empty());
}

#[test]
fn prc_6_tokens_pass_through_at_cost_per_class_and_model() {
    let mut world = World::new(organisation(&[]));
    world.tasks("a", "tok", (1, 3), "0.000000000001");
    let settlement = world.settle();
    let json = serde_json::to_value(lines(&settlement, "a", LineKind::Charge)).unwrap();
    let expected = serde_json::json!([{
        "kind": "charge", "agent": "tok", "task_type": "t", "billing": "token", "provider": "p", "model": "m",
        "class": "input", "quantity": "30", "unit": "token", "exact": "0.000000000001"
    }]);
    assert_eq!(json, expected);
}

#[test]
fn rat_2_unpriced_and_frame_events_make_no_line_but_are_counted() {
    let mut world = World::new(organisation(&[]));
    world.add(&Trace { ended: None, ..trace("tok", 1, "0") });
    let facts = world.facts(day(1));
    let (mut cell, value) = facts.cells.pop_first().unwrap();
    for item in [recoup_attribution::facts::Item::Unpriced, recoup_attribution::facts::Item::Frame] {
        cell.item = item;
        facts.cells.insert(cell.clone(), value);
    }
    let settlement = world.settle();
    assert!(settlement.lines.is_empty());
    assert_eq!(settlement.unpriced_events, [(Some(id("a")), 1)].into());
}
