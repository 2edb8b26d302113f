//! What holds for every trace, however broken.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use recoup_attribution::facts::AgentCost;
use recoup_attribution::{Span, Trace};
use recoup_model::TokenClass::{CacheRead, Input, Output};
use recoup_model::{Identity, Kind};
use recoup_money::Amount;

use crate::support::*;

const AGENTS: [&str; 5] = ["A", "B", "guardrail", "search", "late"];

fn name(at: usize) -> String {
    format!("e{at}")
}

/// Any kind of span, with pointers to any other span, to itself or to nothing.
fn any_span(at: usize, spans: usize) -> impl Strategy<Value = (Make, bool)> {
    let pointer = || prop::option::weighted(0.1, 0..spans + 1);
    let tokens = prop::option::weighted(0.8, (0..200_u64, 0..50_u64, 0..100_u64));
    (
        (prop::option::weighted(0.9, 0..spans + 1), pointer(), pointer()),
        (0..6_usize, prop::option::weighted(0.6, 0..AGENTS.len()), tokens, 0..4_usize),
        (0..200_000_i64, prop::option::of(0..90_000_u64), any::<u8>()),
    )
        .prop_map(move |((parent, corrects, retries), (kind, agent, tokens, model), (end, length, dice))| {
            let mut make = span(&name(at)).kind(Kind::ALL[kind]).ends(end);
            if let Some(parent) = parent {
                make = make.below(&name(parent));
            }
            if let Some(target) = corrects {
                make = make.supersedes(&name(target));
            }
            if let Some(target) = retries {
                make = make.retry_of(&name(target));
            }
            if let Some(agent) = agent {
                make = make.agent(AGENTS[agent]);
            }
            make = [make.clone(), make.clone().model("m"), make.clone().model("n"), make.model("x")][model].clone();
            if let Some((input, cached, output)) = tokens {
                make = make.usage(&[(Input, input), (CacheRead, cached), (Output, output)]);
            }
            if let Some(length) = length {
                make = make.lasts(length);
            }
            if dice & 1 == 1 {
                make = make.team(["support", "marketing", "nowhere"][usize::from(dice) % 3]);
            }
            if dice & 2 == 2 {
                make = make.task("resolve");
            }
            if dice & 4 == 4 {
                make = make.units(i128::from(dice));
            }
            (make, dice > 230)
        })
}

type Case = (Vec<Make>, Vec<Make>, BTreeSet<Identity>);

/// Spans, the same in another order, and the excluded ones.
fn any_trace() -> impl Strategy<Value = Case> {
    (1..25_usize).prop_flat_map(|spans| (0..spans).map(|at| any_span(at, spans)).collect::<Vec<_>>()).prop_flat_map(
        |spans| {
            let excluded = spans.iter().filter(|(_, excluded)| *excluded).map(|(make, _)| make.identity()).collect();
            let spans: Vec<Make> = spans.into_iter().map(|(make, _)| make).collect();
            (Just(spans.clone()), Just(spans).prop_shuffle(), Just(excluded))
        },
    )
}

/// A span and everything above it.
fn chain(trace: &Trace, at: usize) -> Vec<&Span> {
    let mut above = vec![&trace.spans[at]];
    while let Some(parent) = above.last().unwrap().parent {
        above.push(&trace.spans[parent]);
    }
    above
}

fn add(sum: &mut Amount, more: Amount) {
    *sum = sum.checked_add(more).unwrap();
}

/// ATR-2 as it is written, without any cleverness.
fn expected_agents(trace: &Trace) -> BTreeMap<String, (Amount, Amount, Amount)> {
    let mut agents: BTreeMap<String, (Amount, Amount, Amount)> = BTreeMap::new();
    for at in 0..trace.spans.len() {
        let cost = trace.spans[at].exclusive;
        let above = chain(trace, at);
        let names: BTreeSet<_> = above.iter().filter_map(|span| span.agent.clone()).collect();
        if let Some(agent) = &trace.spans[at].agent {
            add(&mut agents.entry(agent.to_string()).or_default().0, cost);
        }
        for name in names {
            let sums = agents.entry(name.to_string()).or_default();
            add(&mut sums.1, cost);
            let starts = |(level, span): &(usize, &&Span)| {
                let parent = above.get(level + 1).and_then(|parent| parent.agent.as_ref());
                let named = span.event.kind == Kind::Agent && span.event.tags.agent.is_some();
                span.agent.as_ref() == Some(&name) && (parent != Some(&name) || named)
            };
            if above.iter().enumerate().filter(starts).count() >= 2 {
                add(&mut sums.2, cost);
            }
        }
    }
    agents.retain(|_, sums| *sums != Default::default());
    agents
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn atr_5_any_order_gives_the_same_trace_and_facts((spans, shuffled, excluded) in any_trace()) {
        let (one, other) = (resolved_without(spans, &excluded), resolved_without(shuffled, &excluded));
        for of_october in 1..5 {
            prop_assert_eq!(facts(of_october, [&one]), facts(of_october, [&other]));
        }
        prop_assert_eq!(one, other);
    }

    #[test]
    fn atr_5_exclusive_costs_sum_to_the_trace_and_to_its_days((spans, _, excluded) in any_trace()) {
        let count = spans.len();
        let trace = resolved_without(spans, &excluded);
        prop_assert_eq!(trace.spans.len(), count);
        let sum = Amount::checked_sum(trace.spans.iter().map(|span| span.exclusive)).unwrap();
        prop_assert_eq!(sum, trace.cost);
        prop_assert_eq!(sum, trace.root_span().unwrap().inclusive);
        let days: Vec<_> = (1..5).map(|of_october| facts(of_october, [&trace])).collect();
        let cells = Amount::checked_sum(days.iter().flat_map(|day| day.cells.values().map(|cell| cell.cost))).unwrap();
        let users = Amount::checked_sum(days.iter().flat_map(|day| day.users.values().map(|user| user.cost))).unwrap();
        let pools = Amount::checked_sum(days.iter().flat_map(|day| day.pools.values().map(|used| used.cost))).unwrap();
        let pooled = trace.spans.iter().filter(|span| span.pool.is_some()).map(|span| span.exclusive);
        prop_assert_eq!((cells, users, pools), (sum, sum, Amount::checked_sum(pooled).unwrap()));
        let counted = trace.spans.iter().filter(|span| span.counts()).count();
        let events: u64 = days.iter().flat_map(|day| day.cells.values().map(|cell| cell.events)).sum();
        let hashed: u64 = days.iter().flat_map(|day| day.counted.values().map(|set| set.events)).sum();
        prop_assert_eq!((usize::try_from(events).unwrap(), usize::try_from(hashed).unwrap()), (counted, counted));
    }

    #[test]
    fn atr_2_inclusive_and_reentrant_are_those_of_the_rule((spans, _, excluded) in any_trace()) {
        let trace = resolved_without(spans, &excluded);
        let mut agents: BTreeMap<String, (Amount, Amount, Amount)> = BTreeMap::new();
        for of_october in 1..5 {
            for (agent, AgentCost { exclusive, inclusive, reentrant, .. }) in facts(of_october, [&trace]).agents {
                let sums = agents.entry(agent.to_string()).or_default();
                add(&mut sums.0, exclusive);
                add(&mut sums.1, inclusive);
                add(&mut sums.2, reentrant);
            }
        }
        agents.retain(|_, sums| *sums != Default::default());
        prop_assert_eq!(agents, expected_agents(&trace));
    }

    #[test]
    fn atr_3_every_trace_is_one_tree_in_preorder((spans, _, excluded) in any_trace()) {
        let trace = resolved_without(spans, &excluded);
        prop_assert!(trace.spans[0].superseded_by.is_none());
        for (at, span) in trace.spans.iter().enumerate() {
            prop_assert_eq!(span.parent.is_none(), at == 0);
            if let Some(parent) = span.parent {
                prop_assert!(parent < at && at < parent + trace.spans[parent].subtree);
                prop_assert!(trace.spans[parent].superseded_by.is_none());
            }
        }
    }

    #[test]
    fn evt_5_a_subtree_counts_the_larger_of_a_wrapper_and_what_is_below((spans, _, excluded) in any_trace()) {
        let trace = resolved_without(spans, &excluded);
        let side = |span: &Span, input: bool| {
            span.event.usage.filter(|_| span.superseded_by.is_none())
                .map_or(0, |usage| if input { usage.input_side() } else { usage.output_side() })
        };
        for input in [true, false] {
            let mut totals = vec![0_u64; trace.spans.len()];
            for (at, span) in trace.spans.iter().enumerate().rev() {
                let below = totals[at];
                totals[at] = if span.is_wrapper() { below.max(side(span, input)) } else { below + side(span, input) };
                let excess = span.unobserved.as_ref()
                    .map_or(0, |seen| if input { seen.usage.input_side() } else { seen.usage.output_side() });
                prop_assert_eq!(excess, if span.is_wrapper() && span.counts() { totals[at] - below } else { 0 });
                if let Some(parent) = span.parent {
                    totals[parent] += totals[at];
                }
            }
        }
    }

    #[test]
    fn clo_5_the_order_of_traces_changes_nothing(cases in prop::collection::vec(any_trace(), 1..4)) {
        let traces: Vec<Trace> = cases.into_iter().enumerate().map(|(at, (spans, ..))| {
            let trace = format!("t{at}");
            resolved(spans.into_iter().map(|make| make.trace(Some(&trace))))
        }).collect();
        prop_assert_eq!(facts(1, traces.iter()), facts(1, traces.iter().rev()));
    }
}
