//! `pool_recovery = "price"`. A day has an alpha of 1/2 here, and a pool costs 1 a day.

use recoup_ledger::{Bearer, Consumer, LineKind, PriceModel, PricedKey, Settlement};
use recoup_model::Organisation;
use recoup_model::organisation::{PoolBasis, PoolMethod, PoolRecovery, Recurring, VariancePolicy};
use recoup_money::{Amount, Currency};

use crate::world::{Span, Trace, World, amount, day, id, lines, organisation, pool, total, version};

fn recovering(basis: PoolBasis) -> Organisation {
    let mut organisation = organisation(&[("safety", pool(basis, "safety", PoolMethod::Direct))]);
    organisation.policy.pool_recovery = PoolRecovery::Price;
    organisation.policy.half_life_days = 1;
    organisation.policy.min_tasks = 1;
    organisation.recurring = vec![bill("safety")];
    organisation
}

fn bill(pool: &str) -> Recurring {
    Recurring {
        id: id(&format!("vm-{pool}")),
        pool: Some(id(pool)),
        agent: None,
        amount: amount("31"),
        currency: Currency::USD,
        period: "month".to_owned(),
        from: day(1),
        to: None,
    }
}

fn through(organisation: Organisation, last: i64) -> World {
    let mut world = World::new(organisation);
    world.through = day(last);
    world
}

fn key(task_type: &str, model: PriceModel) -> PricedKey {
    let agent = if model == PriceModel::Task { "tas" } else { "tim" };
    PricedKey { agent: id(agent), task_type: id(task_type), model }
}

/// First day and price of the versions of a price.
fn versions(settlement: &Settlement, key: &PricedKey) -> Vec<(u32, String)> {
    let ours = settlement.prices.iter().filter(|version| version.key == *key);
    ours.map(|version| (chrono::Datelike::day(&version.from), version.price.to_string())).collect()
}

/// Pool lines of a team: ratio and amount.
fn pool_lines(settlement: &Settlement, team: &str) -> Vec<(String, String)> {
    let text = |line: &&recoup_ledger::Line| (line.ratio.clone().unwrap(), line.exact.to_string());
    lines(settlement, team, LineKind::Pool).iter().map(text).collect()
}

fn row(one: &str, other: &str) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

#[test]
fn prc_1_the_nightly_differences_of_a_pool_enter_the_price_and_leave_no_line() {
    let mut world = through(recovering(PoolBasis::Invocations), 3);
    world.tasks("a", "tas", (1, 10), "10");
    world.tasks("a", "tas", (2, 10), "10");
    world.use_pool("safety", (Some("a"), None, "tas"), (1, 1));
    world.use_pool("safety", (Some("b"), None, "tok"), (1, 1));
    world.use_pool("safety", (Some("a"), None, "tas"), (2, 2));
    let settlement = world.settle();
    // To date 1/2 of 1, 3/4 of 2, 3/4 of 3. So C is 10 + 0.5, 10 + 1, 0 + 0.75.
    assert_eq!(
        versions(&settlement, &key("t", PriceModel::Task)),
        [(2, "1.05".to_owned()), (3, "1.075".to_owned()), (4, "1.15".to_owned())]
    );
    assert_eq!(settlement.closing.prices[&key("t", PriceModel::Task)].cost, amount("5.75"));
    assert_eq!(pool_lines(&settlement, "a"), []);
    assert_eq!(pool_lines(&settlement, "b"), [row("1/4", "0.75")], "pairs billed by token keep theirs");
    let charges: Vec<_> = lines(&settlement, "a", LineKind::Charge).iter().map(|line| line.exact).collect();
    assert_eq!(charges, ["11.125", "10.5"].map(amount), "2.25 over what passed through and what had a price");
    let record = &settlement.variances[0];
    assert_eq!([record.actual, record.variance], ["11.125", "-0.625"].map(amount));
    assert_eq!(total(&settlement, "a"), amount("22.25"), "led_3: the settled statement sums to actual cost");
    let shares = &settlement.pools[0].consumers;
    let in_price: Vec<_> = shares.iter().map(|share| (share.amount.unwrap(), share.in_price)).collect();
    assert_eq!(in_price, [(amount("2.25"), Some(amount("2.25"))), (amount("0.75"), None)]);
    assert_eq!(shares[0].consumer, Consumer::Bearer(Bearer::Team(id("a"))));
}

#[test]
fn spl_2_a_share_is_divided_over_agents_and_then_over_task_types() {
    let mut world = through(recovering(PoolBasis::Invocations), 1);
    world.tasks("a", "tas", (1, 1), "1");
    world.task_type = "u";
    world.tasks("a", "tas", (1, 1), "2");
    for (team, agent, calls) in [("a", "tas", 3), ("a", "tok", 1), ("b", "tok", 4)] {
        world.use_pool("safety", (Some(team), None, agent), (1, calls));
    }
    let settlement = world.settle();
    assert_eq!(pool_lines(&settlement, "a"), [row("1/8", "0.125")], "one call of eight is billed by token");
    let cost = |task_type| settlement.closing.prices[&key(task_type, PriceModel::Task)].cost;
    assert_eq!([cost("t"), cost("u")], ["1.125", "2.25"].map(amount), "3/8 by the cost of the tasks: 1 and 2");
}

#[test]
fn spl_2_a_pool_that_is_not_split_by_use_is_divided_by_direct_cost() {
    for basis in [PoolBasis::Even, PoolBasis::DirectCost, PoolBasis::Fixed] {
        let mut organisation = recovering(basis);
        organisation.pools.get_mut("safety").unwrap().percent = [(id("a"), amount("100"))].into();
        let mut world = through(organisation, 1);
        world.tasks("a", "tas", (1, 1), "3");
        world.tasks("a", "tok", (1, 1), "1");
        let settlement = world.settle();
        assert_eq!(pool_lines(&settlement, "a"), [row("1/4", "0.25")], "{basis:?}");
        assert_eq!(settlement.closing.prices[&key("t", PriceModel::Task)].cost, amount("3.75"));
    }
}

#[test]
fn prc_1_use_outside_any_task_and_of_nobody_keeps_its_line() {
    let mut world = through(recovering(PoolBasis::Invocations), 1);
    world.use_pool("safety", (Some("a"), None, "tas"), (1, 1));
    world.use_pool("safety", (None, None, "tas"), (1, 1));
    let settlement = world.settle();
    assert_eq!(pool_lines(&settlement, "a"), [row("1/2", "0.5")], "its root may come: then a night moves it");
    assert_eq!(settlement.totals.unattributed, amount("0.5"));
    world.tasks("a", "tas", (1, 1), "0");
    let settlement = world.settle();
    assert_eq!(pool_lines(&settlement, "a"), []);
    assert_eq!(total(&settlement, "a"), amount("0.5"), "tasks that cost nothing themselves count");
}

#[test]
fn prc_1_direct_cost_without_an_agent_has_its_say_and_keeps_its_line() {
    let mut world = through(recovering(PoolBasis::DirectCost), 1);
    world.tasks("a", "tas", (1, 1), "1");
    let facts = world.facts(day(1));
    let (mut cell, value) = facts.cells.first_key_value().map(|(key, value)| (key.clone(), *value)).unwrap();
    (cell.agent, cell.task, cell.task_type) = (None, None, None);
    facts.cells.insert(cell, value);
    let settlement = world.settle();
    assert_eq!(settlement.closing.prices[&key("t", PriceModel::Task)].cost, amount("1.5"), "half of the pool");
    assert_eq!(pool_lines(&settlement, "a"), [row("1/2", "0.5")]);
    assert_eq!(total(&settlement, "a"), amount("3"));
}

#[test]
fn prc_4_a_time_price_recovers_pools_too() {
    let mut world = through(recovering(PoolBasis::Invocations), 2);
    let minute_ns = 60_000_000_000;
    for on in [1, 2] {
        let spans = vec![Span { day: on, cost: amount("4").pico(), pool: None }];
        let (active_ns, ended) = (Some(4 * minute_ns), Some(on));
        world.add(&Trace { team: Some("a"), agent: "tim", ended, completed: true, active_ns, idle_ns: 0, spans });
        world.use_pool("safety", (Some("a"), None, "tim"), (on, 1));
    }
    let settlement = world.settle();
    assert_eq!(versions(&settlement, &key("t", PriceModel::Time)), [(2, "1.25".to_owned())], "5 for 4 minutes");
    assert_eq!(total(&settlement, "a"), amount("10"));
}

#[test]
fn crx_1_a_policy_that_changes_in_the_month_moves_the_whole_share_at_once() {
    let price = recovering(PoolBasis::Invocations);
    let mut line = price.clone();
    line.policy.pool_recovery = PoolRecovery::Line;
    for (first, second, cost, left) in [(&line, &price, "7.5", vec![]), (&price, &line, "5.5", vec![row("1/1", "3")])] {
        let versions = vec![version(1, None, first.clone()), version(2, Some(day(3)), second.clone())];
        let mut world = World::of(versions);
        world.through = day(3);
        for on in 1..=3 {
            world.tasks("a", "tas", (on, 1), "6");
            world.use_pool("safety", (Some("a"), None, "tas"), (on, 1));
        }
        let settlement = world.settle();
        // Line first: 6, 6, 6 + 3. Price first: 6 + 1, 6 + 1, 6 - 2.
        assert_eq!(settlement.closing.prices[&key("t", PriceModel::Task)].cost, amount(cost));
        assert_eq!(pool_lines(&settlement, "a"), left);
        assert_eq!(total(&settlement, "a"), amount("21"));
    }
}

#[test]
fn pool_2_a_night_of_pools_that_serve_only_each_other_is_caught_up_by_the_next() {
    let group = pool(PoolBasis::Invocations, "g", PoolMethod::Reciprocal);
    let mut organisation = recovering(PoolBasis::Invocations);
    organisation.pools = [(id("x"), group.clone()), (id("y"), group)].into();
    organisation.recurring = vec![bill("x")];
    let mut world = through(organisation, 2);
    world.tasks("a", "tas", (1, 1), "1");
    world.use_pool("x", (Some("a"), Some("y"), "tas"), (1, 1));
    world.use_pool("y", (Some("a"), Some("x"), "tas"), (1, 1));
    world.use_pool("y", (Some("a"), None, "tas"), (2, 1));
    let settlement = world.settle();
    // Day 1: 1 and nothing of the pools. Day 2: 0 and both days of them.
    assert_eq!(settlement.closing.prices[&key("t", PriceModel::Task)].cost, amount("1.5"));
    assert_eq!(total(&settlement, "a"), amount("3"));
}

#[test]
fn led_3_under_absorb_and_carry_recovered_pools_are_part_of_the_variance() {
    for policy in [VariancePolicy::Absorb, VariancePolicy::Carry] {
        let mut organisation = recovering(PoolBasis::Invocations);
        organisation.policy.variance = policy;
        let mut world = through(crate::world::with_seed(organisation, "2"), 1);
        world.tasks("a", "tas", (1, 1), "1");
        world.use_pool("safety", (Some("a"), None, "tas"), (1, 1));
        let settlement = world.settle();
        assert_eq!(total(&settlement, "a"), amount("2"));
        assert_eq!(settlement.variances[0].variance, Amount::ZERO, "charged 2, for a task of 1 and a pool of 1");
    }
}
