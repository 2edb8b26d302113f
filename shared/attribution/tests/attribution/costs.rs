//! Wrappers, frames, re-entrance.

use std::collections::BTreeSet;

use recoup_attribution::{Context, DayBuilder, resolve};
use recoup_model::TokenClass::{CacheRead, Input, Output, Reasoning};
use recoup_model::{Event, FindingKind, Identity, Kind, PriceQuery, Rater, Rating, UnpricedReason, Usage};

use crate::support::*;

fn excess(trace: &recoup_attribution::Trace, event_id: &str) -> Usage {
    find(trace, event_id).unobserved.as_ref().map_or(Usage::NONE, |unobserved| unobserved.usage)
}

#[test]
fn evt_5_a_wrapper_bills_only_what_nobody_below_reports() {
    let trace = resolved([
        span("w").frame("triage").usage(&[(Input, 100), (Output, 50)]).reported(1_000_000_000),
        span("a").below("w").model("m").usage(&[(Input, 60), (Output, 50)]),
        span("tool").below("w").kind(Kind::Tool).units(1),
    ]);
    assert_eq!(excess(&trace, "w"), Usage::NONE.with(Input, 40));
    assert_eq!(pico(find(&trace, "w").exclusive), 40_000);
    assert_eq!(pico(trace.cost), 40_000 + 110_000 + 500);
    assert_eq!(subjects(&trace, FindingKind::UnobservedUsage), ["t/w"]);
    let facts = facts(1, [&trace]);
    let cell = facts.cells.iter().find(|(key, _)| key.unobserved).unwrap();
    assert_eq!((cell.0.kind, cell.0.model.as_deref(), cell.1.events), (Kind::Agent, Some("m"), 1));
}

#[test]
fn evt_5_sides_are_compared_apart_and_less_than_below_adds_nothing() {
    let trace = resolved([
        span("w").frame("triage").model("m").usage(&[(Input, 10), (Output, 70)]),
        span("a").below("w").model("m").usage(&[(Input, 60), (Reasoning, 50)]),
    ]);
    assert_eq!(excess(&trace, "w"), Usage::NONE.with(Output, 20));
    let fully_seen = resolved([
        span("w").frame("triage").model("m").usage(&[(Input, 60), (Output, 50)]),
        span("a").below("w").model("m").usage(&[(CacheRead, 60), (Reasoning, 50)]),
    ]);
    assert!(find(&fully_seen, "w").unobserved.is_none());
    assert!(!kinds(&fully_seen).contains(&FindingKind::UnobservedUsage));
}

#[test]
fn evt_5_an_excess_is_split_over_the_classes_that_exceed() {
    // Input side: 100 against 70; `input` exceeds by 30, `cache_read` by 20, so 30 split 3 : 2.
    let trace = resolved([
        span("w").frame("triage").model("m").usage(&[(Input, 60), (CacheRead, 40)]),
        span("a").below("w").model("m").usage(&[
            (Input, 30),
            (CacheRead, 20),
            (recoup_model::TokenClass::ImageInput, 20),
        ]),
    ]);
    assert_eq!(excess(&trace, "w"), Usage::NONE.with(Input, 18).with(CacheRead, 12));
}

#[test]
fn evt_5_without_usage_below_the_wrapper_s_own_is_the_excess() {
    let own = [(Input, 3), (CacheRead, 5), (Output, 7), (Reasoning, 11)];
    let trace =
        resolved([span("w").frame("triage").model("n").usage(&own), span("a").below("w").model("m").reported(9)]);
    assert_eq!(excess(&trace, "w"), own.iter().fold(Usage::NONE, |usage, (class, n)| usage.with(*class, *n)));
    assert_eq!(pico(trace.cost), 26 * 7_000 + 9);
}

#[test]
fn evt_5_nested_wrappers_count_the_largest_once() {
    let trace = resolved([
        span("outer").frame("triage").model("m").usage(&[(Input, 130)]),
        span("inner").below("outer").frame("search").model("m").usage(&[(Input, 100)]),
        span("a").below("inner").tokens(60),
        span("b").below("outer").tokens(10),
    ]);
    assert_eq!(excess(&trace, "inner").total(), 40);
    assert_eq!(excess(&trace, "outer").total(), 20);
    assert_eq!(pico(trace.cost), 130_000);
}

#[test]
fn evt_5_without_a_model_the_only_one_below_prices_else_nothing_does() {
    let wrapper = span("w").frame("triage").usage(&[(Input, 100)]);
    let one = resolved([
        wrapper.clone(),
        span("a").below("w").model("n").usage(&[(Input, 1)]),
        span("b").below("a").model("n").usage(&[(Input, 1)]),
    ]);
    assert_eq!(pico(find(&one, "w").exclusive), 98 * 7_000);
    for below in [vec![], vec![span("a").below("w").tokens(1), span("b").below("w").model("n").usage(&[(Input, 1)])]] {
        let trace = resolved([wrapper.clone()].into_iter().chain(below));
        let unobserved = find(&trace, "w").unobserved.clone().unwrap();
        assert_eq!(unobserved.rating, Rating::Unpriced(UnpricedReason::UnknownModel));
        assert_eq!(subjects(&trace, FindingKind::Unpriced), ["t/w"]);
    }
}

#[test]
fn evt_5_an_llm_event_is_no_wrapper() {
    let trace = resolved([span("a").tokens(100), span("b").below("a").tokens(40)]);
    assert_eq!(pico(trace.cost), 140_000);
}

#[test]
fn evt_5_what_is_billed_elsewhere_was_observed_and_what_is_superseded_was_not() {
    let spans = |response: &str| {
        [
            span("w").frame("triage").model("m").usage(&[(Input, 100)]),
            span("a").below("w").tokens(80).response(response),
            span("b").below("w").tokens(90),
            span("c").below("w").tokens(10).supersedes("b"),
        ]
    };
    let excluded: BTreeSet<_> = [spans("x")[1].identity()].into();
    let trace = resolved_without(spans("x"), &excluded);
    assert_eq!(excess(&trace, "w").total(), 10);
    assert_eq!(pico(trace.cost), 20_000);
}

#[test]
fn evt_5_the_quantity_of_a_wrapper_is_billed_beside_its_excess() {
    let trace = resolved([
        span("w").frame("triage").model("m").usage(&[(Input, 4)]).units(2).reported(77),
        span("a").below("w").tokens(1),
    ]);
    assert_eq!(pico(find(&trace, "w").exclusive), 3_000 + 1_000);
    let facts = facts(1, [&trace]);
    assert_eq!(facts.cells.values().map(|cell| cell.events).sum::<u64>(), 2);
    assert_eq!(facts.users.values().map(|user| user.events).sum::<u64>(), 2);
}

#[test]
fn atr_2_a_re_entrant_agent_is_rolled_up_once() {
    // A(1) -> B(10) -> A(100), and an llm call (1000) below the inner A.
    let trace = resolved([
        span("a1").agent("A").tokens(1),
        span("b").below("a1").agent("B").tokens(10),
        span("a2").below("b").agent("A").tokens(100),
        span("call").below("a2").tokens(1_000),
    ]);
    assert_eq!(pico(trace.cost), 1_111_000);
    let frames: Vec<_> = ["a1", "b", "a2", "call"].map(|id| find(&trace, id).frame).into();
    assert_eq!(frames, [Some(1), Some(1), Some(2), None]);
    let agents = facts(1, [&trace]).agents;
    let (a, b) = (&agents["A"], &agents["B"]);
    assert_eq!(
        (pico(a.exclusive), pico(a.inclusive), pico(a.reentrant), a.frames),
        (1_101_000, 1_111_000, 1_100_000, 2)
    );
    assert_eq!((pico(b.exclusive), pico(b.inclusive), pico(b.reentrant), b.frames), (10_000, 1_110_000, 0, 1));
}

#[test]
fn atr_2_siblings_are_first_frames_and_an_agent_span_always_starts_one() {
    let trace = resolved([
        span("r").frame("A"),
        span("b1").below("r").agent("B").tokens(1),
        span("b2").below("r").agent("B").tokens(2),
        span("again").below("r").frame("A"),
        span("unnamed").below("r").kind(Kind::Agent),
        span("x").below("again").tokens(4),
    ]);
    let frames: Vec<_> = ["b1", "b2", "again", "unnamed", "x"].map(|id| find(&trace, id).frame).into();
    assert_eq!(frames, [Some(1), Some(1), Some(2), None, None]);
    let agents = facts(1, [&trace]).agents;
    assert_eq!(pico(agents["B"].inclusive), 3_000);
    assert_eq!((pico(agents["A"].inclusive), pico(agents["A"].reentrant)), (7_000, 4_000));
}

#[test]
fn evt_1_what_a_frame_reports_is_the_cost_of_all_at_and_below_it() {
    let frame = |cost: i128| span("f").frame("triage").reported(cost);
    let call = |name: &str| span(name).below("f").tokens(3);
    for (reported, below, own) in [(6_000, 2, 0), (5_000, 2, 0), (7_500, 2, 1_500), (3_000, 0, 3_000), (0, 1, 0)] {
        let calls = ["a", "b"].into_iter().take(below).map(call);
        let trace = resolved([frame(reported)].into_iter().chain(calls));
        assert_eq!(pico(find(&trace, "f").exclusive), own, "{reported} over {below} calls");
        assert_eq!(pico(trace.cost), own + 3_000 * below as i128, "nothing is billed twice");
        let marked = usize::from(own > 0);
        assert_eq!(subjects(&trace, FindingKind::ReportedUsed).len(), marked);
    }
    // Frames in frames: each is billed what those below it do not explain.
    let trace =
        resolved([frame(10_000), span("g").below("f").frame("writer").reported(4_000), span("a").below("g").tokens(3)]);
    assert_eq!(["f", "g", "a"].map(|name| pico(find(&trace, name).exclusive)), [6_000, 1_000, 3_000]);
    assert_eq!(pico(trace.cost), 10_000);
}

#[test]
fn evt_5_below_a_wrapper_a_frame_bills_nothing() {
    let wrapper = span("w").frame("triage").model("m").usage(&[(Input, 10)]);
    let frame = |cost: i128| span("f").below("w").frame("writer").reported(cost);
    let alone = resolved([wrapper.clone(), frame(10_000)]);
    assert_eq!(["w", "f"].map(|name| pico(find(&alone, name).exclusive)), [10_000, 0]);
    let called = resolved([wrapper, frame(6_000), span("a").below("f").tokens(4)]);
    assert_eq!(["w", "f", "a"].map(|name| pico(find(&called, name).exclusive)), [6_000, 0, 4_000]);
    // A wrapper below a frame is part of what the frame reports.
    let inner = span("w").below("f").frame("triage").model("m").usage(&[(Input, 10)]);
    let trace = resolved([span("f").frame("writer").reported(12_000), inner]);
    assert_eq!(["f", "w"].map(|name| pico(find(&trace, name).exclusive)), [2_000, 10_000]);
}

#[test]
fn rat_2_a_frame_hangs_on_the_prices_of_calls_that_are_billed_elsewhere() {
    let spans = [
        span("f").frame("triage").reported(10_000),
        span("a").below("f").model("n").usage(&[(Input, 1)]).response("r1"),
    ];
    let events = events(spans);
    let excluded = [Identity::of(&events[1].event)].into();
    let history = history();
    let context = Context { history: &history, rater: &PriceList };
    let trace = resolve(&events, &excluded, &context).unwrap();
    assert_eq!(pico(find(&trace, "f").exclusive), 3_000, "it was observed all the same");
    let mut builder = DayBuilder::new(trace.spans[0].local_day);
    builder.add(&trace, &context).unwrap();
    let names = builder.finish().price_names;
    assert!(
        names.iter().any(|name| name.ends_with("/n")),
        "a new price of it is a reason to run the day again: {names:?}"
    );
}

#[test]
fn evt_2_a_call_that_a_trace_reports_twice_was_observed_once() {
    let calls = |inner_parent: &str| {
        let sdk = span("sdk").below("f").tokens(3).response("r1");
        [sdk, span("gw").below(inner_parent).tokens(3).response("r1")]
    };
    // The gateway's report lies below the SDK's, or beside it.
    for parent in ["sdk", "f"] {
        let frame = span("f").frame("triage").reported(10_000);
        let trace = resolved([frame].into_iter().chain(calls(parent)));
        assert_eq!((pico(find(&trace, "f").exclusive), pico(trace.cost)), (7_000, 10_000), "below {parent}");
        let wrapper = span("f").frame("triage").model("m").usage(&[(Input, 10)]);
        let trace = resolved([wrapper].into_iter().chain(calls(parent)));
        assert_eq!((excess(&trace, "f").total(), pico(trace.cost)), (7, 10_000), "below {parent}");
    }
    // Where only one of them lies below a frame the call was seen there all the same.
    let trace = resolved([
        span("root").frame("triage"),
        span("f").below("root").frame("writer").reported(10_000),
        span("a").below("f").tokens(3).response("r1"),
        span("b").below("root").tokens(3).response("r1"),
    ]);
    assert_eq!(pico(find(&trace, "f").exclusive), 7_000);
    assert_eq!(pico(trace.cost), 10_000);
}

/// [`PriceList`] for a month that was closed before version 5 of the rules.
struct Before;

impl Rater for Before {
    fn rate(&self, event: &Event) -> Rating {
        PriceList.rate(event)
    }
    fn rate_tokens(&self, query: &PriceQuery<'_>) -> Rating {
        PriceList.rate_tokens(query)
    }
    fn is_before_rules_5(&self) -> bool {
        true
    }
}

#[test]
fn led_4_a_closed_month_keeps_its_rules() {
    let history = history();
    let cost = |spans: Vec<Make>, rater: &dyn Rater| {
        let trace = resolve(&events(spans), &BTreeSet::new(), &Context { history: &history, rater }).unwrap();
        pico(trace.cost)
    };
    let frame = || vec![span("f").frame("triage").reported(10_000), span("a").below("f").tokens(3)];
    assert_eq!((cost(frame(), &PriceList), cost(frame(), &Before)), (10_000, 13_000));
    let twice = || {
        let wrapper = span("f").frame("triage").model("m").usage(&[(Input, 10)]);
        let [sdk, gateway] = ["sdk", "gw"].map(|name| span(name).below("f").tokens(3).response("r1"));
        vec![wrapper, sdk, gateway]
    };
    assert_eq!((cost(twice(), &PriceList), cost(twice(), &Before)), (10_000, 7_000));
}
