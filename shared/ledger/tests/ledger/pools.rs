use recoup_ledger::{Bearer, Consumer, LedgerError, LineKind, Settlement, post};
use recoup_model::organisation::{Billing, ExchangeRate, PoolBasis, PoolMethod, Recurring};
use recoup_model::{FindingKind, Organisation};
use recoup_money::{Amount, Currency};

use crate::world::{Span, Trace, World, agent, amount, day, id, lines, organisation, pool, total, version};

fn recurring(name: &str, pool: Option<&str>, agent: Option<&str>, sum: &str) -> Recurring {
    Recurring {
        id: id(name),
        pool: pool.map(id),
        agent: agent.map(id),
        amount: amount(sum),
        currency: Currency::USD,
        period: "month".to_owned(),
        from: day(1),
        to: None,
    }
}

/// Own costs Y 7260, Z 4000; Y serves Z 20 %, A 50 %, B 30 %; Z serves Y 30 %, A 30 %, B 40 %.
fn y_and_z(method: PoolMethod, first: &str) -> Settlement {
    let mut pools =
        [("y", pool(PoolBasis::Invocations, "g", method)), ("z", pool(PoolBasis::Invocations, "g", method))];
    for (name, pool) in &mut pools {
        pool.step = Some(if *name == first { 1 } else { 2 });
    }
    let mut organisation = organisation(&pools);
    organisation.recurring =
        vec![recurring("vm-y", Some("y"), None, "7260"), recurring("vm-z", Some("z"), None, "4000")];
    let mut world = World::new(organisation);
    for (pool, via, team, calls) in [
        ("y", Some("z"), "a", 20),
        ("y", None, "a", 50),
        ("y", None, "b", 30),
        ("z", Some("y"), "b", 30),
        ("z", None, "a", 30),
        ("z", None, "b", 40),
    ] {
        world.invoke(pool, (Some(team), via), (3, calls));
    }
    world.settle()
}

#[test]
fn pool_1_sixty_percent_of_the_calls_bear_sixty_percent_of_the_cost() {
    let mut organisation = organisation(&[("safety", pool(PoolBasis::Invocations, "safety", PoolMethod::Direct))]);
    organisation.recurring = vec![recurring("vm", Some("safety"), None, "100")];
    let mut world = World::new(organisation);
    world.invoke("safety", (Some("a"), None), (2, 600));
    world.invoke("safety", (Some("b"), None), (9, 300));
    world.invoke("safety", (None, None), (9, 100));
    let settlement = world.settle();
    let line = lines(&settlement, "a", LineKind::Pool)[0];
    assert_eq!(
        (line.exact, line.ratio.as_deref(), line.basis.as_deref()),
        (amount("60"), Some("3/5"), Some("invocations"))
    );
    assert_eq!(total(&settlement, "b"), amount("30"));
    assert_eq!(settlement.totals.unattributed, amount("10"), "unattributed payers keep their weight");
}

#[test]
fn pool_2_reciprocal_pools_are_solved_exactly() {
    let settlement = y_and_z(PoolMethod::Reciprocal, "y");
    assert_eq!([total(&settlement, "a"), total(&settlement, "b")], ["6240", "5020"].map(amount));
    let full: Vec<_> = settlement.pools.iter().map(|record| record.full_cost_pico.clone()).collect();
    assert_eq!(full, ["9000000000000000/1", "5800000000000000/1"]);
    let z = &settlement.pools[0].consumers[2];
    assert_eq!((&z.consumer, z.ratio.as_str(), z.amount), (&Consumer::Pool(id("z")), "1/5", None));
    let of_a: Vec<_> = lines(&settlement, "a", LineKind::Pool).iter().map(|line| line.exact).collect();
    assert_eq!(of_a, ["4500", "1740"].map(amount), "half of 9000 and 30 % of 5800");
}

#[test]
fn pool_2_direct_and_step_down_give_the_other_answers() {
    let cents = |settlement: &Settlement, team| {
        recoup_money::div_half_even(total(settlement, team).pico(), 10_000_000_000).unwrap()
    };
    for (method, first, expected) in [
        (PoolMethod::Direct, "y", [625_179, 500_821]),
        (PoolMethod::StepDown, "y", [596_657, 529_343]),
        (PoolMethod::StepDown, "z", [648_750, 477_250]),
    ] {
        let settlement = y_and_z(method, first);
        assert_eq!([cents(&settlement, "a"), cents(&settlement, "b")], expected, "{method:?} {first}");
    }
}

#[test]
fn pool_2_pools_that_serve_only_each_other_are_named() {
    let group = |basis| pool(basis, "g", PoolMethod::Reciprocal);
    let mut organisation = organisation(&[
        ("open", group(PoolBasis::Even)),
        ("x", group(PoolBasis::Invocations)),
        ("y", group(PoolBasis::Invocations)),
    ]);
    organisation.recurring = vec![recurring("vm", Some("x"), None, "10"), recurring("vm2", Some("open"), None, "10")];
    let mut world = World::new(organisation.clone());
    world.invoke("x", (Some("a"), Some("y")), (1, 1));
    world.invoke("y", (Some("a"), Some("x")), (1, 1));
    let error = world.try_settle().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the pools x, y serve only each other; give one of them a basis that reaches a team, or another method"
    );
    let LedgerError::ClosedPools { pools } = error else { unreachable!("another error") };
    assert_eq!(pools, ["x", "y"]);
    organisation.recurring.remove(0);
    world.history = recoup_model::organisation::History::new(vec![version(1, None, organisation)]).unwrap();
    assert_eq!(world.settle().totals.exact_total, amount("10"), "no cost reaches the closed pair");
}

#[test]
fn pool_1_use_below_a_pool_of_another_group_counts_for_the_payer() {
    let alone = |name| pool(PoolBasis::Invocations, name, PoolMethod::Direct);
    let mut organisation = organisation(&[("x", alone("x")), ("y", alone("y"))]);
    organisation.recurring = vec![recurring("vm", Some("x"), None, "8")];
    let mut world = World::new(organisation);
    world.invoke("x", (Some("a"), Some("y")), (1, 1));
    world.invoke("x", (Some("b"), None), (1, 3));
    assert_eq!(total(&world.settle(), "a"), amount("2"));
}

#[test]
fn pool_1_every_basis_has_its_weights() {
    let expected = [
        (PoolBasis::Invocations, ["25", "75", "0"]),
        (PoolBasis::Tokens, ["25", "75", "0"]),
        (PoolBasis::Duration, ["25", "75", "0"]),
        (PoolBasis::DirectCost, ["80", "20", "0"]),
        (PoolBasis::Fixed, ["0", "99.5", "0.5"]),
        (PoolBasis::Even, ["50", "50", "0"]),
    ];
    for (basis, shares) in expected {
        let mut safety = pool(basis, "safety", PoolMethod::Direct);
        safety.percent = [(id("b"), amount("99.5")), (id("c"), amount("0.5"))].into();
        let mut organisation = organisation(&[("safety", safety)]);
        organisation.recurring = vec![recurring("vm", Some("safety"), None, "100")];
        let mut world = World::new(organisation);
        world.tasks("a", "tok", (4, 1), "8");
        world.tasks("b", "tok", (4, 1), "2");
        world.invoke("safety", (Some("a"), None), (4, 1));
        world.invoke("safety", (Some("b"), None), (4, 3));
        let settlement = world.settle();
        let borne = ["a", "b", "c"].map(|team| {
            Amount::checked_sum(lines(&settlement, team, LineKind::Pool).iter().map(|line| line.exact)).unwrap()
        });
        assert_eq!(borne, shares.map(amount), "{basis:?}");
    }
}

#[test]
fn spl_3_a_pool_without_weights_falls_back_step_by_step() {
    let mut organisation = organisation(&[("safety", pool(PoolBasis::Tokens, "safety", PoolMethod::Direct))]);
    organisation.recurring = vec![recurring("vm", Some("safety"), None, "9")];
    let mut world = World::new(organisation);
    let found = |settlement: &Settlement| settlement.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>();
    let nobody = world.settle();
    assert_eq!(nobody.totals.unallocated, amount("9"));
    assert_eq!(found(&nobody), [FindingKind::PoolFallback, FindingKind::Unallocated]);
    let span = |cost| Span { day: 2, cost, pool: None };
    let free = Trace {
        team: Some("c"),
        agent: "tok",
        ended: None,
        completed: false,
        active_ns: None,
        idle_ns: 0,
        spans: vec![span(0)],
    };
    world.add(&free);
    let even = world.settle();
    assert_eq!((total(&even, "c"), found(&even)), (amount("9"), vec![FindingKind::PoolFallback]));
    world.tasks("a", "tok", (2, 1), "1");
    let by_cost = world.settle();
    assert_eq!([total(&by_cost, "a"), total(&by_cost, "c")], ["10", "0"].map(amount));
    world.invoke("safety", (Some("b"), None), (2, 1));
    world.facts(day(2)).pools.values_mut().for_each(|usage| usage.tokens = 0);
    assert_eq!(total(&world.settle(), "b"), amount("9"));
}

#[test]
fn atr_6_unattributed_cost_is_distributed_like_a_pool() {
    let mut organisation = organisation(&[("common", pool(PoolBasis::DirectCost, "common", PoolMethod::Direct))]);
    let mut world = World::new(organisation.clone());
    world.tasks("a", "tok", (1, 1), "3");
    world.tasks("b", "tas", (1, 1), "1");
    let span = Span { day: 1, cost: amount("2").pico(), pool: None };
    let nobody = Trace {
        team: None,
        agent: "tas",
        ended: Some(1),
        completed: true,
        active_ns: None,
        idle_ns: 0,
        spans: vec![span],
    };
    world.add(&nobody);
    assert_eq!(world.settle().totals.unattributed, amount("2"));
    organisation.policy.unattributed_pool = Some(id("common"));
    world.history = recoup_model::organisation::History::new(vec![version(1, None, organisation)]).unwrap();
    world.invoke("common", (None, None), (1, 5));
    let settlement = world.settle();
    assert_eq!(settlement.totals.unattributed, Amount::ZERO);
    assert_eq!([total(&settlement, "a"), total(&settlement, "b")], ["4.5", "1.5"].map(amount));
}

#[test]
fn pool_4_nights_post_the_difference_of_the_period_to_date() {
    let mut organisation = organisation(&[("safety", pool(PoolBasis::Invocations, "safety", PoolMethod::Direct))]);
    organisation.agents.insert(id("guard"), agent(Billing::Token));
    organisation.recurring = vec![recurring("vm", Some("safety"), None, "310")];
    let mut world = World::new(organisation);
    world.invoke("safety", (Some("a"), None), (1, 1));
    world.invoke("safety", (Some("b"), None), (2, 3));
    let mut posted = recoup_ledger::Balances::default();
    let mut sum = Amount::ZERO;
    for number in 1..=31 {
        world.through = day(number);
        let settlement = world.settle();
        let entries = post(&posted, &settlement.balances).unwrap();
        assert_eq!(Amount::checked_sum(entries.iter().map(|entry| entry.amount)), Some(Amount::ZERO));
        let of_a = entries.iter().find(|entry| entry.account == "team/a/pool").map(|entry| entry.amount);
        match number {
            1 => assert_eq!(of_a, Some(amount("10"))),
            2 => assert_eq!(of_a, Some(amount("-5")), "crx_1: a quarter of 20 less the 10 of the night before"),
            _ => assert_eq!(of_a, Some(amount("2.5"))),
        }
        sum = sum.checked_add(of_a.unwrap()).unwrap();
        posted = settlement.balances;
    }
    assert_eq!(sum, amount("77.5"));
}

#[test]
fn pool_5_bills_run_pro_rata_by_day_with_the_rate_of_each_day() {
    let mut organisation = organisation(&[("safety", pool(PoolBasis::Even, "safety", PoolMethod::Direct))]);
    organisation
        .agents
        .insert(id("own"), recoup_model::organisation::Agent { owner: Some(id("b")), ..agent(Billing::Token) });
    let mut late = recurring("late", None, Some("own"), "31");
    late.from = day(11);
    late.to = Some(day(21));
    late.currency = "EUR".parse().unwrap();
    let rate = |from, rate| ExchangeRate {
        from_currency: late.currency,
        to_currency: Currency::USD,
        from: day(from),
        rate: amount(rate),
    };
    organisation.rates = vec![rate(12, "2"), rate(16, "3")];
    organisation.recurring = vec![recurring("lost", None, Some("nobody"), "31"), late];
    let mut world = World::new(organisation);
    world.through = day(15);
    let settlement = world.settle();
    assert_eq!(settlement.totals.unattributed, amount("15"), "an agent that is not there has no owner");
    let line = lines(&settlement, "b", LineKind::Charge)[0];
    assert_eq!(
        (line.exact, line.key.sku.as_deref(), line.key.unit.as_deref()),
        (amount("8"), Some("late"), Some("month"))
    );
    assert_eq!(line.quantity, Some(amount("0.129032258065")), "mon_4: four days of 31 have a rate");
    let unpriced: Vec<_> = settlement.findings.iter().map(|finding| (finding.kind, finding.subject.as_str())).collect();
    assert_eq!(unpriced, [(FindingKind::Unpriced, "late")], "mon_4: no rate on the 11th");
    assert_eq!(settlement.unpriced_events, [(Some(id("b")), 1)].into());
    world.through = day(31);
    assert_eq!(total(&world.settle(), "b"), amount("23"));
}

/// Bills of an agent of team b, of nobody and of a pool, all in euros.
fn euro_bills(rates: &[(i64, &str)]) -> Organisation {
    let mut organisation = organisation(&[("safety", pool(PoolBasis::Even, "safety", PoolMethod::Direct))]);
    let own = recoup_model::organisation::Agent { owner: Some(id("b")), ..agent(Billing::Token) };
    organisation.agents.insert(id("own"), own);
    let euro: Currency = "EUR".parse().unwrap();
    let bills = [("r", None, Some("own")), ("lost", None, Some("nobody")), ("vm", Some("safety"), None)]
        .map(|(id, pool, agent)| Recurring { currency: euro, ..recurring(id, pool, agent, "31") });
    organisation.recurring = bills.into();
    let rate = |(from, rate): &(i64, &str)| ExchangeRate {
        from_currency: euro,
        to_currency: Currency::USD,
        from: day(*from),
        rate: amount(rate),
    };
    organisation.rates = rates.iter().map(rate).collect();
    organisation
}

#[test]
fn mon_4_a_bill_without_any_rate_is_unpriced_and_no_line_of_zero() {
    let settlement = World::new(euro_bills(&[])).settle();
    assert_eq!(settlement.lines.get("b"), None);
    assert_eq!(settlement.totals.priced_cost, Amount::ZERO);
    let counted = [(None, 2), (Some(id("b")), 1)].into();
    assert_eq!(settlement.unpriced_events, counted, "rat_2: of the owner; of nobody where a pool or nobody bears it");
    let found: Vec<_> = settlement.findings.iter().map(|finding| (finding.kind, finding.subject.as_str())).collect();
    assert_eq!(found, ["lost", "r", "vm"].map(|bill| (FindingKind::Unpriced, bill)));
    assert!(settlement.findings[1].detail.contains("in EUR has no exchange rate on 2026-10-01"));
}

#[test]
fn mon_4_only_days_with_a_rate_cost_something_and_once_all_have_one_nothing_is_unpriced() {
    let settlement = World::new(euro_bills(&[(30, "2")])).settle();
    let line = lines(&settlement, "b", LineKind::Charge)[0];
    assert_eq!((line.exact, line.quantity), (amount("4"), Some(amount("0.064516129032"))), "two days of 31");
    assert_eq!(settlement.unpriced_events, [(None, 2), (Some(id("b")), 1)].into());
    let settlement = World::new(euro_bills(&[(-40, "2")])).settle();
    assert_eq!(lines(&settlement, "b", LineKind::Charge)[0].exact, amount("62"));
    assert_eq!((settlement.unpriced_events.len(), settlement.findings.len()), (0, 0));
}

#[test]
fn pool_5_a_bill_whose_amount_changes_in_the_month_is_rounded_once() {
    let of = |rate: &str, pico: &[i128]| {
        let organisation = euro_bills(&[(-40, rate)]);
        let versions = pico.iter().zip(1..).map(|(pico, number)| {
            let mut organisation = organisation.clone();
            organisation.recurring.truncate(1);
            organisation.recurring[0].amount = Amount::from_pico(*pico);
            version(number, (number > 1).then(|| day(11 * (i64::from(number) - 1))), organisation)
        });
        let settlement = World::of(versions.collect()).settle();
        let lines = lines(&settlement, "b", LineKind::Charge);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].quantity, Some(amount("1")));
        lines[0].exact.pico()
    };
    assert_eq!(of("1", &[1, 2]), 2, "10/31 and 42/31 are 52/31; apart they would be 0 and 1");
    assert_eq!(of("1", &[2, 3, 2]), 2, "20/31, 33/31 and 20/31 are 73/31; apart they would be 1, 1 and 1");
    let halves = [[32, 1], [34, 3], [-32, -1], [-34, -3]].map(|pico| of("0.5", &pico));
    assert_eq!(halves, [6, 6, -6, -6], "5.5 and 6.5, on both sides of zero");
    let large = 10_i128.pow(26);
    assert_eq!(of("1", &[31 * large, 31 * large + 31]), 31 * large + 21, "mon_3: products are exact");
}

#[test]
fn pool_4_a_pool_that_left_the_organisation_still_bears_its_cost() {
    let with = organisation(&[("safety", pool(PoolBasis::Invocations, "safety", PoolMethod::Direct))]);
    let mut world = World::of(vec![version(1, None, with), version(2, Some(day(10)), organisation(&[]))]);
    let span = Span { day: 5, cost: 7, pool: Some(("safety", None)) };
    let trace = Trace {
        team: Some("a"),
        agent: "tok",
        ended: None,
        completed: false,
        active_ns: None,
        idle_ns: 0,
        spans: vec![span],
    };
    world.add(&trace);
    assert_eq!(total(&world.settle(), "a"), Amount::from_pico(7));
    let record = &world.settle().pools[0];
    assert_eq!(record.consumers[0].consumer, Consumer::Bearer(Bearer::Team(id("a"))));
}
