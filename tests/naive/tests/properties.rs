//! What holds for the engine on every random world, whatever the reference says: other orders, other lanes, other nights,
//! second reports, lateness in steps.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use num_bigint::BigInt;
use recoup_attribution::{Context, DayFacts, SettlementFacts};
use recoup_ledger::{Opening, PeriodInput, Settlement, check, correct, settle};
use recoup_model::organisation::History;
use recoup_model::{Id, Identity, Kind, Recorded};
use recoup_money::{Amount, Share};
use recoup_naive::agree::differences;
use recoup_naive::engine::{BuildFacts, facts_by_resolve, facts_by_rows, facts_of, find_excluded, group, replay};
use recoup_naive::generate;
use recoup_naive::number::{split_units, whole};
use recoup_naive::random::Chance;
use recoup_naive::world::{Placed, World};
use recoup_pricing::PriceBook;

/// Worlds for each property, far from the seeds of the comparison.
fn worlds() -> impl Iterator<Item = (Chance, World)> {
    (500_000_000..500_000_120).map(|seed| (Chance::new(seed), generate::world(seed)))
}

fn shuffle<T>(chance: &mut Chance, items: &mut [T]) {
    for at in (1..items.len()).rev() {
        items.swap(at, usize::try_from(chance.below(at as u64 + 1)).unwrap());
    }
}

/// A world over which everything is known.
struct Known {
    history: History,
    prices: PriceBook,
    events: Vec<Recorded>,
    days: Vec<NaiveDate>,
}

impl Known {
    fn of(world: &World) -> Self {
        let history = world.history().unwrap();
        let prices = PriceBook::new(&[], &history).unwrap();
        let days = world.periods().into_iter().flat_map(|period| period.days()).collect();
        Self { history, prices, events: world.known(usize::MAX), days }
    }

    fn facts(&self, events: &[Recorded], build: BuildFacts) -> BTreeMap<NaiveDate, DayFacts> {
        facts_of(&self.history, &self.prices, events, (build, &self.days))
    }

    /// The first month over some facts; `None` where its pools are closed.
    fn settled(&self, world: &World, days: &BTreeMap<NaiveDate, DayFacts>, through: NaiveDate) -> Option<Settlement> {
        let input = PeriodInput {
            period: world.first,
            through,
            history: &self.history,
            days: &SettlementFacts::of_days(days).unwrap(),
            opening: &Opening::default(),
            rules: recoup_documents::RULES_VERSION,
            own_prices: None,
            corrections: &[],
            approvals: &[],
        };
        settle(&input).ok()
    }
}

fn end_of(world: &World) -> NaiveDate {
    world.first.days().last().unwrap()
}

#[test]
fn atr_5_rows_and_traces_give_the_same_facts_to_the_last_digest_and_finding() {
    for (_, world) in worlds() {
        let known = Known::of(&world);
        assert_eq!(known.facts(&known.events, facts_by_resolve), known.facts(&known.events, facts_by_rows));
    }
}

#[test]
fn atr_5_shuffled_events_give_the_same_facts_and_the_same_bytes() {
    for (mut chance, world) in worlds() {
        let known = Known::of(&world);
        let mut shuffled = known.events.clone();
        shuffle(&mut chance, &mut shuffled);
        let (before, after) = (known.facts(&known.events, facts_by_resolve), known.facts(&shuffled, facts_by_resolve));
        assert_eq!(before, after);
        let bytes = |days| serde_json::to_string(&known.settled(&world, days, end_of(&world))).unwrap();
        assert_eq!(bytes(&before), bytes(&after));
    }
}

#[test]
fn atr_5_exclusive_costs_of_a_day_sum_to_its_cells_and_to_what_is_settled() {
    for (_, world) in worlds() {
        let known = Known::of(&world);
        let days = known.facts(&known.events, facts_by_resolve);
        let mut month = Amount::default();
        for facts in days.values().filter(|facts| world.first.contains(facts.day)) {
            let cells = Amount::checked_sum(facts.cells.values().map(|cell| cell.cost)).unwrap();
            let users = Amount::checked_sum(facts.users.values().map(|user| user.cost)).unwrap();
            let named = facts.cells.iter().filter(|(key, _)| key.agent.is_some()).map(|(_, cell)| cell.cost);
            let agents = Amount::checked_sum(facts.agents.values().map(|agent| agent.exclusive)).unwrap();
            assert_eq!((cells, Amount::checked_sum(named).unwrap()), (users, agents), "{}", facts.day);
            month = month.checked_add(cells).unwrap();
        }
        let Some(settlement) = known.settled(&world, &days, end_of(&world)) else { continue };
        let without = known.settled(&world, &BTreeMap::new(), end_of(&world)).map(|bills| bills.totals.priced_cost);
        let Some(bills) = without else { continue };
        assert_eq!(settlement.totals.priced_cost, month.checked_add(bills).unwrap());
    }
}

#[test]
fn atr_5_regrouped_into_lanes_and_merged_a_day_is_the_same() {
    for (mut chance, world) in worlds() {
        let known = Known::of(&world);
        let context = Context { history: &known.history, rater: &known.prices };
        let traces = group(&known.events);
        let excluded = find_excluded(&traces, &context);
        let whole = facts_by_resolve(&traces, &excluded, &context, &known.days);
        let lanes = chance.between(2, 5);
        let mut parts: Vec<Vec<Vec<Recorded>>> = vec![Vec::new(); usize::try_from(lanes).unwrap()];
        for trace in traces {
            let lane = usize::try_from(Identity::of(&trace.first().unwrap().event).trace % lanes).unwrap();
            parts.get_mut(lane).unwrap().push(trace);
        }
        shuffle(&mut chance, &mut parts);
        let mut merged: BTreeMap<NaiveDate, DayFacts> =
            known.days.iter().map(|day| (*day, DayFacts::empty(*day))).collect();
        for part in parts {
            for facts in facts_by_rows(&part, &excluded, &context, &known.days) {
                merged.get_mut(&facts.day).unwrap().merge(facts).unwrap();
            }
        }
        let whole: BTreeMap<NaiveDate, DayFacts> = whole.into_iter().map(|facts| (facts.day, facts)).collect();
        let bytes = |days| serde_json::to_string(&known.settled(&world, days, end_of(&world))).unwrap();
        assert_eq!(bytes(&whole), bytes(&merged));
        for (day, facts) in &whole {
            let other = &merged[day];
            assert_eq!((&facts.agents, &facts.users, &facts.findings), (&other.agents, &other.users, &other.findings));
        }
    }
}

#[test]
fn evt_2_a_second_report_of_every_call_changes_no_figure() {
    let mut reports = 0;
    for (_, mut world) in worlds() {
        for placed in &mut world.events {
            placed.recorded.event.response_id = None;
            placed.recorded.event.supersedes = None;
        }
        let before = replay(&world, facts_by_resolve);
        let mut gateway = Vec::new();
        for (number, placed) in world.events.iter_mut().enumerate() {
            let event = &mut placed.recorded.event;
            if event.kind == Kind::Agent || event.provider.is_none() || event.trace_id.is_none() {
                continue;
            }
            event.response_id = Some(Id::from(format!("call-{number}")));
            let mut report = placed.clone();
            report.recorded.origin = recoup_model::Origin::default();
            let event = &mut report.recorded.event;
            event.tags = recoup_model::Tags::default();
            event.trace_id = None;
            event.event_id = Id::from(format!("zz-gateway-{number}"));
            (event.parent_id, event.retry_of, event.status) = (None, None, None);
            gateway.push(report);
        }
        reports += gateway.len();
        world.events.extend(gateway);
        let after = replay(&world, facts_by_resolve);
        assert_eq!(differences(&before.months, &after.months), []);
        assert_eq!(differences(&before.days, &after.days), []);
    }
    assert!(reports > 500, "only {reports} calls were reported twice");
}

/// An organisation that bills everything by token at prices that stay.
const BY_TOKEN: &str = "[organisation]\nname = \"T\"\ncurrency = \"USD\"\ntime_zone = \"Europe/Berlin\"\n\
    [[teams]]\nid = \"support\"\n[[teams]]\nid = \"marketing\"\n\
    [[agents]]\nid = \"guard\"\nshared_pool = \"safety\"\n[[pools]]\nid = \"safety\"\nbasis = \"tokens\"\n\
    [[prices]]\nprovider = \"p\"\nmodel = \"m\"\nfrom = \"2024-01-01\"\nper_million = { input = \"3.3\", output = \"15.7\" }\n";

#[test]
fn prc_6_traces_moved_over_midnight_inside_the_month_change_no_line() {
    const HOUR_NS: i64 = 3_600_000_000_000;
    let mut compared = 0;
    for (mut chance, mut world) in worlds() {
        world.files.truncate(1);
        let file = world.files.first_mut().unwrap();
        (file.head, file.policy, file.entries) = (BY_TOKEN.to_owned(), Vec::new(), Vec::new());
        (world.first, world.months) = ("2026-10".parse().unwrap(), 1);
        world.events.iter_mut().for_each(|placed| placed.known = 0);
        // Everything into the middle of October, each trace as a whole.
        let middle_ns = world.history().unwrap().calendar().day_start_ns("2026-10-16".parse().unwrap());
        let mut firsts: BTreeMap<u64, i64> = BTreeMap::new();
        for placed in &world.events {
            let event = &placed.recorded.event;
            let first = firsts.entry(Identity::of(event).trace).or_insert(event.used_at_ns);
            *first = (*first).min(event.used_at_ns);
        }
        let move_to = |world: &mut World, to: &BTreeMap<u64, i64>| {
            for placed in &mut world.events {
                let event = &mut placed.recorded.event;
                let trace = Identity::of(event).trace;
                event.used_at_ns += to[&trace] - firsts[&trace];
            }
        };
        let hours = |chance: &mut Chance| i64::try_from(chance.below(240)).unwrap() - 120;
        let mut one = world.clone();
        move_to(&mut one, &firsts.keys().map(|trace| (*trace, middle_ns)).collect());
        let spread = firsts.keys().map(|trace| (*trace, middle_ns + hours(&mut chance) * HOUR_NS)).collect();
        move_to(&mut world, &spread);
        let end: BTreeSet<&str> = ["2026-10 through 2026-10-31"].into();
        let month = |world: &World| {
            let mut at_end = world.clone();
            at_end.through = vec!["2026-10-31".parse().unwrap()];
            let mut months = replay(&at_end, facts_by_resolve).months;
            months.retain(|name, _| end.iter().any(|prefix| name.starts_with(prefix)) && !name.contains(": price "));
            months
        };
        let lines = month(&one);
        compared += lines.keys().filter(|name| name.contains(": line ")).count();
        assert_eq!(differences(&lines, &month(&world)), []);
    }
    assert!(compared > 200, "only {compared} lines");
}

#[test]
fn crx_1_a_close_and_its_corrections_sum_to_the_recomputation() {
    let mut corrected = 0;
    for (_, world) in worlds().filter(|(_, world)| world.months > 1) {
        let known = Known::of(&world);
        let at_close = known.facts(&world.known(0), facts_by_resolve);
        let Some(original) = known.settled(&world, &at_close, end_of(&world)) else { continue };
        let recompute = |days: &BTreeMap<NaiveDate, DayFacts>| {
            let opening = Opening::default();
            let input = PeriodInput {
                period: world.first,
                through: end_of(&world),
                history: &known.history,
                days: &SettlementFacts::of_days(days).unwrap(),
                opening: &opening,
                rules: recoup_documents::RULES_VERSION,
                own_prices: Some(&original.prices),
                corrections: &[],
                approvals: &[],
            };
            settle(&input).ok()
        };
        // In one step, and in two.
        let Some(last) = recompute(&known.facts(&known.events, facts_by_resolve)) else { continue };
        let Some(middle) = recompute(&known.facts(&world.known(1), facts_by_resolve)) else { continue };
        let once = correct(original.booked(), &[], &last).unwrap();
        let mut twice = correct(original.booked(), &[], &middle).unwrap();
        twice.extend(correct(original.booked(), &twice, &last).unwrap());
        let sums = |corrections: &[recoup_ledger::Correction]| {
            let mut sums: BTreeMap<String, i128> = BTreeMap::new();
            for correction in corrections {
                let key = format!("{:?} {:?}", correction.bearer, correction.line.key);
                *sums.entry(key).or_default() += correction.line.exact.pico();
            }
            sums.retain(|_, sum| *sum != 0);
            sums
        };
        assert_eq!(sums(&once), sums(&twice));
        corrected += usize::from(twice.len() > once.len());
        let all: i128 = sums(&once).values().sum();
        let cost = |settlement: &Settlement| settlement.totals.priced_cost.pico() + settlement.totals.markup.pico();
        assert_eq!(all, cost(&last) - cost(&original), "led_4: all corrections are what the cost changed by");
        check(&last).unwrap();
    }
    assert!(corrected > 5, "only {corrected} worlds had two steps");
}

#[test]
fn led_1_and_led_2_hold_on_every_night_of_a_month() {
    for (_, world) in worlds().take(12) {
        let known = Known::of(&world);
        let days = known.facts(&known.events, facts_by_resolve);
        for night in world.first.days() {
            let Some(settlement) = known.settled(&world, &days, night) else { continue };
            check(&settlement).unwrap();
            assert_eq!(settlement.balances.trial(), Some(Amount::default()), "led_1 on {night}");
            for record in &settlement.variances {
                let parts = record.price_part.checked_add(record.usage_part);
                assert_eq!(
                    (parts, record.charges.checked_sub(record.actual)),
                    (Some(record.variance), Some(record.variance))
                );
            }
        }
    }
}

#[test]
fn spl_1_two_ways_to_split_agree_and_merged_receivers_get_what_they_got_apart() {
    let mut chance = Chance::new(1);
    for _ in 0..3_000 {
        let most = *chance.pick(&[3, 12, 1_000_000, u64::MAX]);
        let weights: BTreeMap<String, u128> = (0..chance.between(2, 7))
            .map(|number| (format!("{}{number}", chance.pick(&["a", "B", "é"])), u128::from(chance.below(most))))
            .collect();
        let amount = i128::from(chance.number() % *chance.pick(&[7, 1_000, u64::MAX])) - 3;
        let shares: Vec<Share<'_, u128>> =
            weights.iter().map(|(id, weight)| Share { id: id.as_bytes(), weight: *weight }).collect();
        let rational = weights.iter().map(|(id, weight)| (id.clone(), whole(BigInt::from(*weight)))).collect();
        let ours = split_units(&BigInt::from(amount), &rational).map(|parts| parts.into_values().collect::<Vec<_>>());
        let theirs = recoup_money::split(amount, &shares);
        let theirs = theirs.map(|parts| parts.into_iter().map(BigInt::from).collect::<Vec<_>>());
        assert_eq!(ours, theirs, "{amount} over {weights:?}");
        let Some(apart) = recoup_money::split(amount, &shares) else { continue };
        let mut merged = shares.clone();
        let last = merged.pop().unwrap();
        merged.last_mut().unwrap().weight += last.weight;
        let together = recoup_money::split(amount, &merged).unwrap();
        let both: i128 = apart.iter().rev().take(2).sum();
        assert!((together.last().unwrap() - both).abs() < 2, "{amount} over {weights:?}");
    }
}

#[test]
fn evt_2_the_same_event_twice_counts_once() {
    let (_, world) = worlds().find(|(_, world)| !world.events.is_empty()).unwrap();
    let known = Known::of(&world);
    let context = Context { history: &known.history, rater: &known.prices };
    let Placed { recorded, .. } = world.events.first().unwrap();
    let resolved = |events: &[Recorded]| recoup_attribution::resolve(events, &BTreeSet::new(), &context).unwrap();
    assert_eq!(resolved(&[recorded.clone(), recorded.clone()]), resolved(std::slice::from_ref(recorded)));
}
