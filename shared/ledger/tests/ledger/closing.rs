use recoup_ledger::{
    Bearer, CloseFacts, Correction, Line, LineKey, LineKind, TieError, check, close_findings, correct, not_charged,
};
use recoup_model::organisation::{PoolBasis, PoolMethod, VariancePolicy};
use recoup_model::{Calendar, FindingKind};
use recoup_money::{Amount, Currency};

use crate::world::{Span, Trace, World, amount, day, id, lines, october, organisation, pool, with_seed};

fn span(cost: &str) -> Span {
    Span { day: 5, cost: amount(cost).pico(), pool: None }
}

fn world(policy: VariancePolicy) -> World {
    let mut organisation =
        with_seed(organisation(&[("safety", pool(PoolBasis::Invocations, "safety", PoolMethod::Direct))]), "1");
    organisation.policy.variance = policy;
    let mut world = World::new(organisation);
    world.tasks("a", "tas", (5, 40), "31");
    world.tasks("b", "tok", (5, 1), "2");
    let guard = Span { pool: Some(("safety", None)), ..span("3") };
    world.add(&Trace {
        team: Some("a"),
        agent: "tok",
        ended: None,
        completed: false,
        active_ns: None,
        idle_ns: 0,
        spans: vec![guard, span("0.5")],
    });
    world
}

/// What arrives after the close: for teams, for nobody, into the pool, and for a task of another team.
fn late(world: &mut World) {
    // Without October's own prices this would change the price of the 6th.
    world.tasks("a", "tas", (5, 1), "5");
    world.tasks("c", "tas", (6, 4), "9");
    let guard = Span { pool: Some(("safety", None)), ..span("0.000000000001") };
    for team in [None, Some("b")] {
        let spans = vec![guard.clone(), span("0.25")];
        world.add(&Trace { team, agent: "tok", ended: None, completed: false, active_ns: None, idle_ns: 0, spans });
    }
}

#[test]
fn led_4_corrections_are_the_recomputed_close_less_what_was_booked() {
    for policy in [VariancePolicy::Settle, VariancePolicy::Absorb, VariancePolicy::Carry] {
        let mut world = world(policy);
        let original = world.settle();
        let again = world.settle_at(Some(&original.prices)).unwrap();
        assert_eq!(again.lines, original.lines, "its own prices give the same close");
        assert!(again.prices.is_empty() && again.closing == Default::default());
        assert!(correct(original.booked(), &[], &again).unwrap().is_empty());
        late(&mut world);
        let recomputed = world.settle_at(Some(&original.prices)).unwrap();
        check(&recomputed).unwrap();
        let corrections = correct(original.booked(), &[], &recomputed).unwrap();
        let sum = Amount::checked_sum(corrections.iter().map(|correction| correction.line.exact)).unwrap();
        let late_cost = recomputed.totals.priced_cost.checked_sub(original.totals.priced_cost).unwrap();
        assert_eq!((sum, late_cost), (late_cost, amount("14.500000000002")), "{policy:?}");
        assert!(correct(original.booked(), &corrections, &recomputed).unwrap().is_empty(), "booked once");
        booked_in_november(&world, &corrections, policy);
    }
}

fn booked_in_november(october_world: &World, corrections: &[Correction], policy: VariancePolicy) {
    let mut november = World::of(october_world.history.versions().to_vec());
    november.period = october().next();
    november.through = day(33);
    let without = november.settle();
    november.corrections = corrections.to_vec();
    let settlement = november.settle();
    assert_eq!((&settlement.pools, &settlement.closing), (&without.pools, &without.closing));
    assert_eq!(settlement.variances, without.variances);
    let corrected = lines(&settlement, "c", LineKind::Correction);
    let charged = corrected.iter().find(|line| line.key.original_kind == Some(LineKind::Charge)).unwrap();
    assert_eq!(charged.key.original_period, Some(october()));
    assert_eq!((charged.exact, charged.quantity), (amount("3.1"), Some(amount("4"))), "at October's own 0.775");
    let nobody = corrections.iter().find(|correction| correction.bearer == Bearer::Unattributed).unwrap();
    assert_eq!(settlement.totals.unattributed, nobody.line.exact);
    let centre = corrections.iter().find(|correction| correction.bearer == Bearer::Absorbed);
    assert_eq!(centre.is_none(), policy == VariancePolicy::Settle);
    assert_eq!(centre.map_or(Amount::ZERO, |centre| centre.line.exact), settlement.balances.of("absorbed"));
}

#[test]
fn crx_1_a_second_correction_is_measured_against_the_first() {
    let mut world = world(VariancePolicy::Settle);
    let original = world.settle();
    late(&mut world);
    let first = world.settle_at(Some(&original.prices)).unwrap();
    let earlier = correct(original.booked(), &[], &first).unwrap();
    late(&mut world);
    let second = world.settle_at(Some(&original.prices)).unwrap();
    let later = correct(original.booked(), &earlier, &second).unwrap();
    let direct = correct(first.booked(), &[], &second).unwrap();
    let figures = |corrections: &[Correction]| {
        corrections.iter().map(|c| (c.bearer.clone(), c.line.key.clone(), c.line.exact)).collect::<Vec<_>>()
    };
    assert_eq!(figures(&later), figures(&direct));
}

fn findings(as_of_ns: i64, world: &World, missing: &[chrono::NaiveDate]) -> Vec<FindingKind> {
    let unreadable = [("lane 0".to_owned(), "short".to_owned())];
    let facts = CloseFacts {
        period: october(),
        calendar: Calendar::new(chrono_tz::Europe::Berlin),
        soft_close_days: 3,
        as_of_ns,
        missing_nights: missing,
        unfinished: None,
        unreadable_blocks: if missing.is_empty() { &[] } else { &unreadable },
        balances: &world.settle().balances,
    };
    close_findings(&facts).into_iter().map(|finding| finding.kind).collect()
}

#[test]
fn clo_1_every_blocking_finding_is_listed() {
    let world = world(VariancePolicy::Settle);
    let closable = Calendar::new(chrono_tz::Europe::Berlin).day_start_ns(day(35));
    assert!(findings(closable, &world, &[]).is_empty());
    assert_eq!(findings(closable - 1, &world, &[]), [FindingKind::PeriodOpen]);
    let all = findings(0, &world, &[day(3), day(4)]);
    let night = FindingKind::NightMissing;
    assert_eq!(all, [FindingKind::PeriodOpen, night, night, FindingKind::BlockUnreadable]);
}

#[test]
fn clo_1_a_trial_balance_that_is_not_zero_blocks() {
    let balances: recoup_ledger::Balances = serde_json::from_str(r#"{"provider":"-1","unattributed":"2"}"#).unwrap();
    let facts = CloseFacts {
        period: october(),
        calendar: Calendar::new(chrono_tz::UTC),
        soft_close_days: 0,
        as_of_ns: i64::MAX,
        missing_nights: &[],
        unfinished: None,
        unreadable_blocks: &[],
        balances: &balances,
    };
    let found = close_findings(&facts);
    assert_eq!((found.len(), found[0].kind), (1, FindingKind::TrialBalance));
    assert!(found[0].detail.contains("are 1 instead of 0"));
    let balances = recoup_ledger::Balances::default();
    let found = close_findings(&CloseFacts { unfinished: Some(october().previous()), balances: &balances, ..facts });
    assert_eq!((found.len(), found[0].kind), (1, FindingKind::NightMissing));
    assert!(found[0].detail.contains("finish it with `recoup close 2026-09`"), "{}", found[0].detail);
}

#[test]
fn clo_4_the_guard_sees_every_kind_of_damage() {
    let good = world(VariancePolicy::Settle).settle();
    let damaged = |damage: &dyn Fn(&mut recoup_ledger::Settlement)| {
        let mut settlement = good.clone();
        damage(&mut settlement);
        check(&settlement).unwrap_err()
    };
    let one = Amount::from_pico(1);
    let what = |error: TieError| match error {
        TieError::Differs { what, .. } => what,
        TieError::PartNotDone => "a part".to_owned(),
        TieError::Overflow(what) => what.to_owned(),
    };
    assert_eq!(what(damaged(&|s| s.lines.get_mut("a").unwrap()[0].exact = one)), "team/a/charge");
    assert_eq!(what(damaged(&|s| s.totals.exact_total = one)), "the sum of all lines");
    assert_eq!(what(damaged(&|s| s.totals.priced_cost = one)), "provider");
    assert_eq!(what(damaged(&|s| s.totals.carried_in = one)), "what teams and accounts bear (CLO-4)");
    assert_eq!(what(damaged(&|s| s.balances.transfer("provider", "pool/safety", one).unwrap())), "provider");
    assert_eq!(what(damaged(&|s| s.balances.transfer("carried", "pool/safety", one).unwrap())), "pool/safety");
    assert_eq!(what(damaged(&|s| s.balances.transfer("markup", "carried", one).unwrap())), "markup");
    assert_eq!(what(damaged(&|s| s.totals.corrections = one)), "what is corrected");
    assert_eq!(what(damaged(&|s| drop(s.lines.remove(&id("b"))))), "the sum of all lines");
}

#[test]
fn rat_2_atr_1_a_close_is_told_what_no_statement_holds() {
    let mut world = world(VariancePolicy::Settle);
    let mut settlement = world.settle();
    assert_eq!(not_charged(&settlement, &[], Currency::USD), []);
    let spans = vec![span("0.25")];
    world.add(&Trace { team: None, agent: "tok", ended: None, completed: false, active_ns: None, idle_ns: 0, spans });
    settlement = world.settle();
    settlement.unpriced_events = [(None, 2), (Some(id("a")), 5)].into();
    let found = not_charged(&settlement, &[], Currency::USD);
    let kinds: Vec<_> = found.iter().map(|finding| (finding.kind, finding.severity, &*finding.subject)).collect();
    let warning = recoup_model::Severity::Warning;
    assert_eq!(kinds, [(FindingKind::Unpriced, warning, "2026-10"), (FindingKind::Unattributed, warning, "2026-10")]);
    assert!(found[0].detail.starts_with("7 events or bills have no price"), "{}", found[0].detail);
    assert!(found[1].detail.starts_with("0.25 of 36.75 USD names no known team"), "{}", found[1].detail);

    // What is taken back of the month before hides nothing of this one.
    let key = LineKey { original_period: Some("2026-09".parse().unwrap()), ..LineKey::of(LineKind::Correction) };
    let back = Correction { bearer: Bearer::Unattributed, line: Line::new(key, amount("-0.25")) };
    world.corrections = vec![back];
    settlement = world.settle();
    assert!(settlement.totals.unattributed.is_zero());
    let found = not_charged(&settlement, &world.corrections, Currency::USD);
    let about: Vec<_> = found.iter().map(|finding| (finding.kind, &finding.detail[..4])).collect();
    assert_eq!(about, [(FindingKind::Unattributed, "0.25")]);
}
