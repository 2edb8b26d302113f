use proptest::prelude::*;
use recoup_attribution::DayFacts;
use recoup_ledger::{Consumer, LineKind, Settlement, correct, settle};
use recoup_model::Organisation;
use recoup_model::organisation::{Billing, PoolBasis, PoolMethod, VariancePolicy};
use recoup_money::Amount;

use crate::world::{Span, Trace, World, amount, day, id, organisation, pool, version, with_seed};

const POOLS: [&str; 3] = ["x", "y", "z"];

fn traces() -> impl Strategy<Value = Vec<Trace>> {
    let pools = prop::option::weighted(0.4, (0_usize..3, prop::option::of(0_usize..3)));
    let span = (1_i64..14, 0_i128..5_000_000_000_000, pools).prop_map(|(day, cost, used)| {
        // A pool's use never lies below its own frame.
        let used = used.map(|(pool, via)| (POOLS[pool], via.filter(|via| *via != pool).map(|via| POOLS[via])));
        Span { day, cost, pool: used }
    });
    let agents = prop_oneof![Just("tok"), Just("tas"), Just("tim"), Just("mixed")];
    let teams = prop_oneof![4 => prop_oneof![Just("a"), Just("b"), Just("c")].prop_map(Some), 1 => Just(None)];
    let rest = (prop::option::weighted(0.9, -3_i64..16), any::<bool>(), prop::option::of(0_u64..1_000_000_000_000));
    let trace = (teams, agents, rest, prop::collection::vec(span, 0..4));
    let build =
        |(team, agent, (ended, completed, active_ns), spans)| Trace { team, agent, ended, completed, active_ns, spans };
    prop::collection::vec(trace.prop_map(build), 0..60)
}

#[derive(Clone, Debug)]
struct Setting {
    variance: usize,
    method: usize,
    bases: [usize; 3],
    seeded: bool,
    pooled: bool,
    grouped: bool,
}

fn settings() -> impl Strategy<Value = Setting> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (0_usize..3, 0_usize..3, [0_usize..6, 0..6, 0..6], flags).prop_map(
        |(variance, method, bases, (seeded, pooled, grouped))| Setting {
            variance,
            method,
            bases,
            seeded,
            pooled,
            grouped,
        },
    )
}

fn build(setting: &Setting, traces: &[Trace]) -> World {
    let bases = [
        PoolBasis::DirectCost,
        PoolBasis::Invocations,
        PoolBasis::Tokens,
        PoolBasis::Duration,
        PoolBasis::Fixed,
        PoolBasis::Even,
    ];
    let method = [PoolMethod::Direct, PoolMethod::StepDown, PoolMethod::Reciprocal][setting.method];
    let pools: Vec<_> = POOLS
        .iter()
        .zip(setting.bases)
        .map(|(name, basis)| {
            let mut pool = pool(bases[basis], if setting.grouped { "g" } else { name }, method);
            pool.percent = [(id("a"), amount("33.3")), (id("b"), amount("66.7"))].into();
            (*name, pool)
        })
        .collect();
    let mut first = organisation(&pools);
    first.policy.variance = [VariancePolicy::Settle, VariancePolicy::Carry, VariancePolicy::Absorb][setting.variance];
    first.policy.min_tasks = 2;
    first.policy.unattributed_pool = setting.pooled.then(|| id("x"));
    let mut mixed = crate::world::agent(Billing::Task);
    mixed.billing_by_team = [(id("b"), Billing::Time), (id("c"), Billing::Token)].into();
    first.agents.insert(id("mixed"), mixed);
    if setting.seeded {
        first = with_seed(first, "0.7");
    }
    let second = changed(first.clone());
    let mut world = World::of(vec![version(1, None, first), version(2, Some(day(7)), second)]);
    world.through = day(10);
    for trace in traces {
        world.add(trace);
    }
    world
}

/// The same organisation after a change of billing models in the middle of the month.
fn changed(mut organisation: Organisation) -> Organisation {
    organisation.agents.insert(id("tok"), crate::world::agent(Billing::Time));
    organisation.agents.insert(id("tas"), crate::world::agent(Billing::Token));
    organisation
}

/// The priced cost up to a day, summed from the traces and not from the facts.
fn cost_through(traces: &[Trace], through: i64) -> Amount {
    let spans = traces.iter().flat_map(|trace| &trace.spans).filter(|span| span.day <= through);
    Amount::from_pico(spans.map(|span| span.cost).sum())
}

/// Closed pools are an answer too; the cases that have them say nothing else.
fn settled(world: &World) -> Option<Settlement> {
    world.try_settle().is_ok().then(|| world.settle())
}

/// One lane's part of a day: the cells and tasks of the traces that hash to it, as attribution would hand them out.
fn merge(into: &mut DayFacts, lane: DayFacts) {
    for (key, value) in lane.cells {
        let sum = into.cells.entry(key).or_default();
        sum.cost = sum.cost.checked_add(value.cost).unwrap();
        sum.quantity = sum.quantity.checked_add(value.quantity).unwrap();
        sum.events += value.events;
    }
    for (key, value) in lane.tasks {
        let sum = into.tasks.entry(key).or_default();
        sum.tasks += value.tasks;
        sum.completed += value.completed;
        sum.failed += value.failed;
        sum.direct_cost = sum.direct_cost.checked_add(value.direct_cost).unwrap();
        sum.timed_cost = sum.timed_cost.checked_add(value.timed_cost).unwrap();
        sum.active_ns += value.active_ns;
        for (ns, count) in value.durations_ns {
            *sum.durations_ns.entry(ns).or_default() += count;
        }
    }
    for (key, value) in lane.pools {
        let sum = into.pools.entry(key).or_default();
        sum.invocations += value.invocations;
        sum.tokens += value.tokens;
        sum.duration_ms += value.duration_ms;
    }
    for (utc_day, set) in lane.counted {
        into.counted.entry(utc_day).and_modify(|sum| sum.events += set.events).or_insert(set);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn clo_4_every_picodollar_is_borne_once(setting in settings(), traces in traces()) {
        let world = build(&setting, &traces);
        let Some(settlement) = settled(&world) else { return Ok(()) };
        let totals = settlement.totals;
        prop_assert_eq!(totals.priced_cost, cost_through(&traces, 10));
        if setting.variance == 0 {
            let borne = Amount::checked_sum([totals.exact_total, totals.unattributed, totals.unallocated]);
            prop_assert_eq!(borne, Some(totals.priced_cost), "led_3: settled statements sum to actual cost");
        }
        for record in &settlement.variances {
            prop_assert_eq!(record.price_part.checked_add(record.usage_part), Some(record.variance));
        }
    }

    #[test]
    fn pool_3_parts_equal_the_whole_of_the_group(setting in settings(), traces in traces()) {
        let world = build(&setting, &traces);
        let Some(settlement) = settled(&world) else { return Ok(()) };
        let mut groups = std::collections::BTreeMap::<_, (i128, i128)>::new();
        for record in &settlement.pools {
            let sums = groups.entry(record.group.clone()).or_default();
            sums.0 += record.own_cost.pico();
            for share in &record.consumers {
                sums.1 += share.amount.unwrap_or_default().pico();
                prop_assert_eq!(share.amount.is_none(), matches!(share.consumer, Consumer::Pool(_)));
            }
        }
        prop_assert!(groups.values().all(|(own, borne)| own == borne), "{groups:?}");
        let lines = settlement.lines.values().flatten().filter(|line| line.key.kind == LineKind::Pool);
        prop_assert!(lines.into_iter().all(|line| line.ratio.is_some() && line.exact >= Amount::ZERO));
    }

    #[test]
    fn clo_5_order_and_lanes_change_nothing(setting in settings(), traces in traces(), lanes in 1_usize..4) {
        let world = build(&setting, &traces);
        let Some(settlement) = settled(&world) else { return Ok(()) };
        let mut merged = build(&setting, &[]);
        for lane in (0..lanes).rev() {
            let part: Vec<_> = traces.iter().rev().skip(lane).step_by(lanes).cloned().collect();
            for (on, facts) in build(&setting, &part).days {
                merge(merged.facts(on), facts);
            }
        }
        let bytes = |settlement: &Settlement| serde_json::to_string(settlement).unwrap();
        prop_assert_eq!(bytes(&settled(&merged).unwrap()), bytes(&settlement));
    }

    #[test]
    fn crx_1_nightly_postings_add_up_to_the_period(setting in settings(), traces in traces()) {
        let mut world = build(&setting, &traces);
        let mut posted = recoup_ledger::Balances::default();
        let mut accounts = std::collections::BTreeMap::<String, i128>::new();
        for number in 1..=10 {
            world.through = day(number);
            let Some(settlement) = settled(&world) else { return Ok(()) };
            let entries = recoup_ledger::post(&posted, &settlement.balances).unwrap();
            prop_assert_eq!(entries.iter().map(|entry| entry.amount.pico()).sum::<i128>(), 0);
            for entry in entries {
                *accounts.entry(entry.account).or_default() += entry.amount.pico();
            }
            posted = settlement.balances;
        }
        prop_assert!(accounts.iter().all(|(account, sum)| posted.of(account).pico() == *sum));
    }

    #[test]
    fn led_4_a_closed_period_and_its_corrections_tie(
        setting in settings(),
        on_time in traces(),
        late in traces(),
        next in traces(),
    ) {
        let mut world = build(&setting, &on_time);
        let Some(original) = settled(&world) else { return Ok(()) };
        for trace in &late {
            world.add(trace);
        }
        let Ok(recomputed) = settle(&world.input(Some(&original.prices))) else { return Ok(()) };
        recoup_ledger::check(&recomputed).unwrap();
        let corrections = correct(original.booked(), &[], &recomputed).unwrap();
        let sum: i128 = corrections.iter().map(|correction| correction.line.exact.pico()).sum();
        prop_assert_eq!(Amount::from_pico(sum), cost_through(&late, 10));
        let mut later = build(&setting, &next);
        later.opening.carried = original.closing.carried.clone();
        later.corrections = corrections;
        let Some(settlement) = settled(&later) else { return Ok(()) };
        prop_assert_eq!(settlement.totals.corrections, cost_through(&late, 10));
    }
}
