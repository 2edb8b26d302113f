//! Shared agents and their invocations.

use std::collections::BTreeSet;

use recoup_attribution::facts::{DayFacts, PoolUse};
use recoup_model::Kind;

use crate::support::*;

fn usage(facts: &DayFacts, pool: &str, via: Option<&str>) -> PoolUse {
    let mut found = facts.pools.iter().filter(|(key, _)| &*key.pool == pool && key.via.as_deref() == via);
    found.next().map(|(_, used)| *used).unwrap_or_default()
}

#[test]
fn atr_4_a_shared_agent_s_cost_goes_into_its_pool_on_the_payer_s_account() {
    let trace = resolved([
        span("r").frame("triage").team("support").task("resolve"),
        span("own").below("r").tokens(1),
        span("g").below("r").frame("guardrail").lasts(9),
        span("call").below("g").tokens(10).lasts(2),
        span("again").below("call").frame("guardrail"),
        span("g2").below("r").agent("guardrail").tokens(100).lasts(3),
    ]);
    let facts = facts(1, [&trace]);
    let used = usage(&facts, "safety", None);
    assert_eq!((used.invocations, used.tokens, used.duration_ms, pico(used.cost)), (2, 110, 5_000, 110_000));
    let key = facts.pools.keys().next().unwrap();
    assert_eq!((key.team.as_deref(), key.agent.as_deref()), (Some("support"), Some("triage")));
    assert_eq!(pico(trace.task.unwrap().direct_cost), 1_000);
    assert!(facts.cells.keys().all(|key| (key.agent.as_deref() == Some("guardrail")) == key.pool.is_some()));
}

#[test]
fn atr_4_a_property_of_an_agent_holds_from_its_date() {
    let trace = resolved([
        span("r").frame("triage").team("support"),
        span("before").below("r").agent("late").tokens(1),
        span("after").below("r").agent("late").tokens(10).ends(24 * 3_600),
    ]);
    assert!(facts(1, [&trace]).pools.is_empty());
    let second = facts(2, [&trace]);
    assert_eq!((usage(&second, "safety", None).invocations, pico(usage(&second, "safety", None).cost)), (1, 10_000));
}

#[test]
fn atr_4_retries_are_one_invocation() {
    let retried = resolved([
        span("r").frame("triage").team("support"),
        span("g1").below("r").agent("guardrail").tokens(1).ends(1),
        span("g2").below("r").agent("guardrail").tokens(1).ends(2).retry_of("g1"),
        span("g3").below("r").agent("guardrail").tokens(1).ends(3).retry_of("g2"),
        span("other").below("r").agent("search").tokens(1).ends(4).retry_of("g3"),
        span("x1").below("r").agent("guardrail").tokens(1).ends(5).retry_of("elsewhere"),
        span("x2").below("r").agent("guardrail").tokens(1).ends(6).retry_of("elsewhere"),
        span("c1").below("r").agent("guardrail").tokens(1).ends(7).retry_of("c2"),
        span("c2").below("r").agent("guardrail").tokens(1).ends(8).retry_of("c1"),
    ]);
    let marked: Vec<&str> =
        retried.spans.iter().filter(|span| span.invocation).map(|span| &*span.event.event_id).collect();
    assert_eq!(marked, ["g1", "other", "x1", "c1"]);
    assert_eq!(usage(&facts(1, [&retried]), "safety", None).invocations, 3);
}

#[test]
fn atr_4_a_corrected_or_excluded_call_is_not_counted_twice() {
    let spans = [
        span("r").frame("triage").team("support"),
        span("g").below("r").agent("guardrail").tokens(1),
        span("fixed").supersedes("g").agent("guardrail").tokens(2),
        span("retry").below("r").agent("guardrail").tokens(1).retry_of("g"),
        span("twice").below("r").agent("guardrail").tokens(7).response("c"),
        span("sdk").below("r").agent("search").tokens(7).response("d"),
        span("gateway").below("sdk").tokens(7).response("d"),
    ];
    let excluded: BTreeSet<_> = [spans[4].identity(), spans[5].identity()].into();
    let facts = facts(1, [&resolved_without(spans, &excluded)]);
    assert_eq!(usage(&facts, "safety", None).invocations, 1);
    assert_eq!((usage(&facts, "index", None).invocations, pico(usage(&facts, "index", None).cost)), (1, 7_000));
}

#[test]
fn pool_2_use_below_another_pool_s_frame_names_that_pool() {
    let trace = resolved([
        span("r").frame("triage").team("support"),
        span("s").below("r").agent("search").tokens(1),
        span("plain").below("s").agent("helper").tokens(2),
        span("g").below("plain").agent("guardrail").tokens(4),
        span("s2").below("g").agent("search").tokens(8),
        span("tool").below("s2").kind(Kind::Tool).units(1),
    ]);
    let facts = facts(1, [&trace]);
    assert_eq!(
        (usage(&facts, "safety", Some("index")).invocations, usage(&facts, "safety", Some("index")).tokens),
        (1, 4)
    );
    assert_eq!(usage(&facts, "index", None).invocations, 1);
    let reentered = usage(&facts, "index", Some("safety"));
    assert_eq!((reentered.invocations, pico(reentered.cost)), (0, 8_500));
    assert_eq!(find(&trace, "plain").pool, None);
}
