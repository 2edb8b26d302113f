use std::collections::{BTreeMap, BTreeSet};

use num_rational::BigRational;
use num_traits::Signed;
use proptest::prelude::*;
use recoup_attribution::DayFacts;
use recoup_ledger::{Bearer, Consumer, LineKind, PriceModel, PricedKey, Settlement, Workers, correct, rate_card};
use recoup_model::Organisation;
use recoup_model::organisation::{
    Billing, Markup, PoolBasis, PoolMethod, PoolRecovery, PriceApproval, PriceLock, VariancePolicy,
};
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
    let active_ns = prop::option::of(0_u64..1_000_000_000_000);
    let rest = (prop::option::weighted(0.9, -3_i64..16), any::<bool>(), active_ns, 0_u64..200_000_000_000);
    let trace = (teams, agents, rest, prop::collection::vec(span, 0..4));
    let build = |(team, agent, (ended, completed, active_ns, idle_ns), spans)| Trace {
        team,
        agent,
        ended,
        completed,
        active_ns,
        idle_ns,
        spans,
    };
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
    /// None, of the whole organisation, of agents and teams, changed in the middle of the month.
    markup: usize,
    idle: bool,
    in_price: bool,
    in_price_later: bool,
}

fn settings() -> impl Strategy<Value = Setting> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let models = (0_usize..4, any::<bool>(), any::<bool>(), any::<bool>());
    (0_usize..3, 0_usize..3, [0_usize..6, 0..6, 0..6], flags, models).prop_map(
        |(variance, method, bases, (seeded, pooled, grouped), (markup, idle, in_price, in_price_later))| Setting {
            variance,
            method,
            bases,
            seeded,
            pooled,
            grouped,
            markup,
            idle,
            in_price,
            in_price_later,
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
    first.policy.pool_recovery = recovery(setting.in_price);
    if setting.idle {
        for agent in first.agents.values_mut() {
            agent.idle_rate = Some(amount("0.0123456789"));
        }
    }
    add_markup(&mut first, setting.markup);
    let mut second = changed(first.clone(), setting.markup);
    second.policy.pool_recovery = recovery(setting.in_price_later);
    let mut world = World::of(vec![version(1, None, first), version(2, Some(day(7)), second)]);
    world.through = day(10);
    for trace in traces {
        world.add(trace);
    }
    world
}

fn recovery(in_price: bool) -> PoolRecovery {
    if in_price { PoolRecovery::Price } else { PoolRecovery::Line }
}

fn add_markup(organisation: &mut Organisation, markup: usize) {
    let percent = |text| Some(Markup::Percent(amount(text)));
    if markup >= 1 {
        organisation.policy.markup = percent("3.3333333333");
    }
    if markup >= 2 {
        organisation.agents.get_mut("tas").unwrap().markup = Some(Markup::Fixed(amount("0.000000000007")));
        organisation.agents.get_mut("tim").unwrap().markup = Some(Markup::Fixed(amount("0.07")));
        let by_team = [(id("a"), Markup::Percent(Amount::ZERO)), (id("c"), Markup::Percent(amount("7")))];
        organisation.agents.get_mut("mixed").unwrap().markup_by_team = by_team.into();
    }
}

/// The same organisation after a change of billing models, rates and markups in the middle of the month.
fn changed(mut organisation: Organisation, markup: usize) -> Organisation {
    organisation.agents.insert(id("tok"), crate::world::agent(Billing::Time));
    organisation.agents.insert(id("tas"), crate::world::agent(Billing::Token));
    if organisation.agents["tim"].idle_rate.is_some() {
        organisation.agents.get_mut("tim").unwrap().idle_rate = Some(amount("0.9"));
    }
    if markup >= 3 {
        organisation.policy.markup = Some(Markup::Percent(amount("12.5")));
    }
    organisation
}

/// The priced cost up to a day, summed from the traces and not from the facts.
fn cost_through(traces: &[Trace], through: i64) -> Amount {
    let spans = traces.iter().flat_map(|trace| &trace.spans).filter(|span| span.day <= through);
    Amount::from_pico(spans.map(|span| span.cost).sum())
}

/// (rate at the period's start - rate applied) x quantity over the lines of tasks.
fn price_part_of_lines(settlement: &Settlement, key: &PricedKey) -> i128 {
    let start = settlement.prices.iter().find(|version| version.key == *key).map(|version| version.price);
    let lines = settlement.lines.values().flatten().filter(|line| {
        let of = (line.key.kind, line.key.agent.as_ref(), line.key.task_type.as_ref(), line.key.billing);
        of == (LineKind::Charge, Some(&key.agent), Some(&key.task_type), Some(Billing::Task))
    });
    let part = |line: &recoup_ledger::Line| {
        let tasks = line.quantity.unwrap().pico() / 1_000_000_000_000;
        line.price.map_or(0, |price| (start.unwrap().pico() - price.pico()) * tasks)
    };
    lines.map(part).sum()
}

fn rational(text: &str) -> BigRational {
    let (part, whole) = text.split_once('/').unwrap_or((text, "1"));
    BigRational::new(part.parse().unwrap(), whole.parse().unwrap())
}

fn rational_of(amount: Amount) -> BigRational {
    rational(&format!("{}/1000000000000", amount.pico()))
}

/// SPL-1, written apart: floors, then one each to the largest remainders.
fn largest_remainders(amount: i128, ideal: &BTreeMap<Bearer, BigRational>) -> BTreeMap<Bearer, i128> {
    let total: BigRational = ideal.values().sum();
    let exact = |weight: &BigRational| weight * BigRational::from_integer(amount.into()) / &total;
    let mut parts: BTreeMap<Bearer, i128> = ideal
        .iter()
        .map(|(bearer, weight)| (bearer.clone(), exact(weight).floor().to_integer().try_into().unwrap()))
        .collect();
    let name = |bearer: &Bearer| match bearer {
        Bearer::Team(team) => team.to_string(),
        _ => String::new(),
    };
    let mut order: Vec<_> =
        ideal.iter().map(|(bearer, weight)| (exact(weight).fract(), weight.clone(), bearer.clone())).collect();
    order.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.cmp(&a.1)).then(name(&a.2).cmp(&name(&b.2))));
    let left = amount - parts.values().sum::<i128>();
    for (_, _, bearer) in order.into_iter().take(usize::try_from(left).unwrap()) {
        *parts.get_mut(&bearer).unwrap() += 1;
    }
    parts
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
        sum.timed_tasks += value.timed_tasks;
        sum.timed_completed += value.timed_completed;
        sum.active_ns += value.active_ns;
        sum.idle_ns += value.idle_ns;
        for (ns, count) in value.durations_ns {
            *sum.durations_ns.entry(ns).or_default() += count;
        }
        for (ns, count) in value.idles_ns {
            *sum.idles_ns.entry(ns).or_default() += count;
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

/// A thread for each part, all at the same time.
struct Apart(usize);

impl Workers for Apart {
    fn parts(&self) -> usize {
        self.0
    }

    fn run(&self, count: usize, part: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| (0..count).for_each(|number| drop(scope.spawn(move || part(number)))));
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
            let caused = totals.priced_cost.checked_add(totals.markup);
            prop_assert_eq!(borne, caused, "led_3: settled statements sum to actual cost, and markup");
        }
        prop_assert!(setting.markup > 0 || totals.markup.is_zero());
    }

    #[test]
    fn led_1_every_account_balances_and_what_passes_through_is_empty(setting in settings(), traces in traces()) {
        let world = build(&setting, &traces);
        let Some(settlement) = settled(&world) else { return Ok(()) };
        let printed: BTreeMap<_, _> = settlement.lines.keys().map(|team| (team.clone(), amount("0.004"))).collect();
        for balances in [settlement.balances.clone(), settlement.balances.with_rounding(&printed).unwrap()] {
            prop_assert_eq!(balances.trial(), Some(Amount::ZERO));
        }
        for (account, balance) in settlement.balances.accounts() {
            let passes = account.starts_with("pool/") || account.starts_with("variance/");
            prop_assert!(!passes || balance.is_zero(), "{account} is {balance}");
        }
        for (team, lines) in &settlement.lines {
            for kind in LineKind::ALL {
                let sum = lines.iter().filter(|line| line.key.kind == kind).map(|line| line.exact.pico()).sum::<i128>();
                let account = format!("team/{team}/{}", kind.name());
                prop_assert_eq!(settlement.balances.of(&account).pico(), sum, "{}", account);
            }
        }
    }

    #[test]
    fn led_2_price_and_usage_parts_are_the_variance(setting in settings(), traces in traces()) {
        let world = build(&setting, &traces);
        let Some(settlement) = settled(&world) else { return Ok(()) };
        for record in &settlement.variances {
            prop_assert_eq!(record.price_part.checked_add(record.usage_part), Some(record.variance));
            prop_assert_eq!(record.actual.checked_add(record.variance), Some(record.charges));
            if record.key.model == PriceModel::Task {
                prop_assert_eq!(record.price_part.pico(), price_part_of_lines(&settlement, &record.key));
            }
        }
    }

    #[test]
    fn spl_2_teams_then_pools_and_every_subtotal_ties(setting in settings(), traces in traces()) {
        let world = build(&setting, &traces);
        let Some(settlement) = settled(&world) else { return Ok(()) };
        let groups: BTreeSet<_> = settlement.pools.iter().map(|record| record.group.clone()).collect();
        for group in groups {
            let records: Vec<_> = settlement.pools.iter().filter(|record| record.group == group).collect();
            let own: i128 = records.iter().map(|record| record.own_cost.pico()).sum();
            let mut ideal = BTreeMap::<Bearer, BigRational>::new();
            let mut borne = BTreeMap::<Bearer, i128>::new();
            for record in &records {
                for share in &record.consumers {
                    let Consumer::Bearer(bearer) = &share.consumer else { continue };
                    let part = rational(&share.ratio) * rational(&record.full_cost_pico);
                    *ideal.entry(bearer.clone()).or_insert_with(|| rational("0")) += part;
                    *borne.entry(bearer.clone()).or_default() += share.amount.unwrap().pico();
                }
            }
            prop_assert_eq!(&borne, &largest_remainders(own, &ideal));
        }
        for (team, lines) in &settlement.lines {
            let of_lines: i128 =
                lines.iter().filter(|line| line.key.kind == LineKind::Pool).map(|line| line.exact.pico()).sum();
            let shares = settlement.pools.iter().flat_map(|record| &record.consumers);
            let ours = shares.filter(|share| share.consumer == Consumer::Bearer(Bearer::Team(team.clone())));
            let left = ours.map(|share| share.amount.unwrap().pico() - share.in_price.unwrap_or_default().pico());
            prop_assert_eq!(of_lines, left.sum::<i128>(), "a line or a price, never both");
        }
    }

    #[test]
    fn prc_5_markup_is_what_its_lines_say(setting in settings(), traces in traces()) {
        let world = build(&setting, &traces);
        let Some(settlement) = settled(&world) else { return Ok(()) };
        let markups = settlement.lines.values().flatten().filter(|line| line.key.kind == LineKind::Markup);
        let mut sum = 0;
        for line in markups {
            sum += line.exact.pico();
            let (quantity, price) = (rational_of(line.quantity.unwrap()), rational_of(line.price.unwrap()));
            let off = quantity * price - rational_of(line.exact);
            // Half a picounit for each task or day at most, and one in the minutes.
            prop_assert!(off.abs() * rational("1000000000000") <= rational("100"), "{line:?}");
        }
        prop_assert_eq!(settlement.totals.markup.pico(), sum);
        let mut without = build(&Setting { markup: 0, ..setting.clone() }, &traces).settle();
        let mut with = settlement;
        with.lines.values_mut().for_each(|lines| lines.retain(|line| line.key.kind != LineKind::Markup));
        with.lines.retain(|_, lines| !lines.is_empty());
        without.lines.retain(|_, lines| !lines.is_empty());
        prop_assert_eq!((with.lines, with.variances), (without.lines, without.variances), "it changes nothing else");
    }

    #[test]
    fn pool_3_parts_equal_the_whole_of_the_group(setting in settings(), traces in traces()) {
        let world = build(&setting, &traces);
        let Some(settlement) = settled(&world) else { return Ok(()) };
        let mut groups = BTreeMap::<_, (i128, i128)>::new();
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
    fn clo_5_settled_in_parts_by_several_it_is_the_same(setting in settings(), traces in traces(), parts in 2_usize..7) {
        let world = build(&setting, &traces);
        let Ok(settlement) = world.settle_at(None) else { return Ok(()) };
        let bytes = |settlement: &Settlement| serde_json::to_string(settlement).unwrap();
        let apart = world.settle_by(&Apart(parts), None).unwrap();
        prop_assert_eq!(bytes(&apart), bytes(&settlement));
        let own = Some(&settlement.prices[..]);
        let again = world.settle_by(&Apart(parts), own).unwrap();
        prop_assert_eq!(bytes(&again), bytes(&world.settle_at(own).unwrap()));
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
        let Ok(recomputed) = world.settle_at(Some(&original.prices)) else { return Ok(()) };
        recoup_ledger::check(&recomputed).unwrap();
        let corrections = correct(original.booked(), &[], &recomputed).unwrap();
        let sum: i128 = corrections.iter().map(|correction| correction.line.exact.pico()).sum();
        let more_markup = recomputed.totals.markup.checked_sub(original.totals.markup).unwrap();
        let expected = cost_through(&late, 10).checked_add(more_markup).unwrap();
        prop_assert_eq!(Amount::from_pico(sum), expected);
        let mut later = build(&setting, &next);
        later.opening.carried = original.closing.carried.clone();
        later.corrections = corrections;
        let Some(settlement) = settled(&later) else { return Ok(()) };
        prop_assert_eq!(settlement.totals.corrections, expected);
        prop_assert_eq!(settlement.balances.of("markup/corrections").checked_add(more_markup), Some(Amount::ZERO));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn crx_1_nightly_postings_add_up_to_the_period(setting in settings(), traces in traces()) {
        let mut world = build(&setting, &traces);
        let mut posted = recoup_ledger::Balances::default();
        let mut accounts = BTreeMap::<String, i128>::new();
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
    fn prc_3_an_approved_card_is_a_lock_without_approval(setting in settings(), traces in traces(), next in traces()) {
        let month = |approval| {
            let mut versions = build(&setting, &traces).history.versions().to_vec();
            for version in &mut versions {
                let mut organisation = (*version.organisation).clone();
                organisation.policy.price_lock = PriceLock::Locked;
                organisation.policy.price_approval = approval;
                version.organisation = organisation.into();
            }
            let mut october = World::of(versions);
            traces.iter().for_each(|trace| october.add(trace));
            let mut november = World::of(october.history.versions().to_vec());
            (november.period, november.through) = (october.period.next(), day(45));
            for trace in &next {
                let spans = trace.spans.iter().map(|span| Span { day: span.day + 31, ..span.clone() }).collect();
                november.add(&Trace { ended: trace.ended.map(|ended| ended.max(1) + 31), spans, ..trace.clone() });
            }
            let settled = settled(&october)?;
            november.opening = settled.closing.clone();
            Some(november)
        };
        let (Some(mut asking), Some(plain)) = (month(Some(PriceApproval::Finance)), month(None)) else { return Ok(()) };
        let card = rate_card(asking.period, &asking.opening, &asking.history).unwrap().unwrap();
        let Some(waiting) = settled(&asking) else { return Ok(()) };
        let held: BTreeMap<_, _> = card.rows.iter().map(|row| (row.key.clone(), row.price)).collect();
        for version in waiting.prices.iter().filter(|version| version.from == day(32)) {
            if let Some(Some(price)) = held.get(&version.key) {
                prop_assert_eq!(*price, version.price, "what was approved last holds");
            }
        }
        asking.approvals = vec![card.digest];
        let (Some(approved), Some(plain)) = (settled(&asking), settled(&plain)) else { return Ok(()) };
        prop_assert_eq!((approved.lines, approved.totals), (plain.lines, plain.totals));
    }
}
