//! Root, payer, inheritance, corrections.

use std::collections::BTreeSet;

use recoup_attribution::{
    AttributionError, Context, PayerSource, Place, Span, TagFrom, reports_of, resolve, root_names_team, second_reports,
};
use recoup_model::{FindingKind, Kind, Status, Tags};

use crate::support::*;

#[test]
fn atr_1_the_root_pays_for_every_span() {
    let trace = resolved([
        span("r").frame("triage").team("support").user("u18"),
        span("a").below("r").tokens(5).team("marketing").user("u9"),
    ]);
    assert_eq!(trace.payer.team.as_deref(), Some("support"));
    assert_eq!(trace.payer.user.as_deref(), Some("u18"));
    assert_eq!(trace.payer.source, PayerSource::Root);
    assert_eq!(find(&trace, "a").event.tags.team.as_deref(), Some("marketing"));
    let cells = facts(1, [&trace]).cells;
    assert!(cells.keys().all(|key| key.team.as_deref() == Some("support")));
}

#[test]
fn atr_1_of_several_roots_the_earliest_start_then_the_smallest_id() {
    let trace = resolved([span("b").ends(10).lasts(5), span("c").ends(7), span("a").ends(20).lasts(15)]);
    assert_eq!(root_of(&trace), "a");
    assert_eq!(parent_of(&trace, "b").as_deref(), Some("a"));
    assert_eq!(find(&trace, "c").place, Place::ExtraRoot);
    assert_eq!(subjects(&trace, FindingKind::SeveralRoots), ["t/a"]);
    assert!(trace.root_arrived);
}

#[test]
fn atr_1_a_parentless_span_wins_over_an_earlier_orphan() {
    let trace = resolved([span("late-root").ends(100), span("orphan").below("gone").ends(1)]);
    assert_eq!(root_of(&trace), "late-root");
    assert_eq!(parent_of(&trace, "orphan").as_deref(), Some("late-root"));
    assert_eq!(subjects(&trace, FindingKind::Orphan), ["t/orphan"]);
}

#[test]
fn atr_1_without_a_root_the_earliest_orphan_stands_in_and_there_is_no_task() {
    let spans = [
        span("x").below("gone").ends(9).task("resolve").team("support").tokens(1),
        span("y").below("gone").ends(8).team("marketing").task("resolve").tokens(2),
        span("z").below("y").ends(1).tokens(4),
    ];
    let trace = resolved(spans.clone());
    assert_eq!(root_of(&trace), "y");
    assert!(!trace.root_arrived && trace.task.is_none());
    assert_eq!(subjects(&trace, FindingKind::RootMissing), ["t/y"]);
    assert_eq!(subjects(&trace, FindingKind::Orphan), ["t/x"]);
    assert_eq!(pico(trace.cost), 7_000);
    let late = resolved(spans.into_iter().chain([span("gone").ends(99).team("support").task("resolve")]));
    assert_eq!(root_of(&late), "gone");
    assert_eq!(late.payer.team.as_deref(), Some("support"));
    assert!(late.task.is_some() && !kinds(&late).contains(&FindingKind::RootMissing));
}

#[test]
fn atr_1_the_payer_falls_back_in_the_stated_order() {
    let key = Tags { team: Some("marketing".into()), user: Some("u17".into()), ..Tags::default() };
    let below = span("a").below("r").team("support");
    let source = |root: Make| {
        let trace = resolved([root, below.clone()]);
        (trace.payer.team.unwrap().to_string(), trace.payer.source)
    };
    let bare = span("r");
    let keyed = bare.clone().key(key.clone());
    let known = keyed.clone().user("u17");
    let resource = known.clone().resource_team("marketing");
    let own = resource.clone().team("support");
    assert_eq!(source(own), ("support".into(), PayerSource::Root));
    assert_eq!(source(resource), ("marketing".into(), PayerSource::Resource));
    assert_eq!(source(known), ("support".into(), PayerSource::Person));
    assert_eq!(source(keyed), ("marketing".into(), PayerSource::Key));
    let only_user = Tags { user: Some("u18".into()), ..Tags::default() };
    // A user that the root names itself is not replaced by the key's.
    assert_eq!(source(bare.clone().user("u9").key(only_user.clone())), ("support".into(), PayerSource::Span(1)));
    assert_eq!(source(bare.clone().key(only_user)), ("marketing".into(), PayerSource::Person));
    assert_eq!(source(bare), ("support".into(), PayerSource::Span(1)));
}

#[test]
fn atr_1_the_first_span_in_order_names_the_team() {
    let trace = resolved([
        span("r").ends(50).lasts(50),
        span("a").below("r").ends(30).team("support"),
        span("b").below("r").ends(20).team("marketing"),
        span("c").below("r").ends(10).team("support"),
        span("d").below("r").ends(10).supersedes("c"),
    ]);
    assert_eq!(trace.payer.team.as_deref(), Some("marketing"));
}

#[test]
fn atr_1_an_unknown_or_absent_team_is_unattributed_with_a_finding() {
    let unknown = resolved([span("r").team("nowhere").user("u17"), span("a").below("r").team("support")]);
    assert_eq!(unknown.payer.team, None);
    assert_eq!(unknown.payer.named.as_deref(), Some("nowhere"));
    assert_eq!(subjects(&unknown, FindingKind::UnknownTeam), ["t/r"]);
    let nobody = resolved([span("r")]);
    assert_eq!(nobody.payer.source, PayerSource::Nobody);
    assert_eq!(subjects(&nobody, FindingKind::Unattributed), ["t/r"]);
}

#[test]
fn atr_1_agent_and_task_type_come_from_the_nearest_ancestor_then_the_key() {
    let key = Tags { agent: Some("keyed".into()), ..Tags::default() };
    let trace = resolved([
        span("r").key(key.clone()),
        span("a").below("r").agent("triage").task("resolve"),
        span("b").below("a").key(key.clone()),
        span("c").below("b").agent("search"),
        span("d").below("c"),
        span("e").below("r"),
    ]);
    let agent = |id| find(&trace, id).agent.as_deref().map(str::to_owned);
    let at = |id: &str| trace.spans.iter().position(|span| &*span.event.event_id == id).unwrap();
    assert_eq!(agent("b").as_deref(), Some("triage"));
    assert_eq!(find(&trace, "b").agent_from, Some(TagFrom::Ancestor(at("a"))));
    assert_eq!(agent("d").as_deref(), Some("search"));
    assert_eq!(find(&trace, "d").task_type_from, Some(TagFrom::Ancestor(at("a"))));
    assert_eq!(find(&trace, "r").agent_from, Some(TagFrom::Key));
    assert_eq!(agent("e"), None);
}

#[test]
fn atr_3_a_loop_is_cut_at_its_earliest_start_and_hangs_on_the_root() {
    let trace = resolved([
        span("r").ends(500).tokens(1),
        span("a").below("c").ends(30).tokens(2),
        span("b").below("a").ends(20).tokens(4),
        span("c").below("b").ends(40).tokens(8),
        span("self").below("self").tokens(16),
    ]);
    assert_eq!(root_of(&trace), "r");
    assert_eq!(parent_of(&trace, "b").as_deref(), Some("r"));
    assert_eq!(parent_of(&trace, "c").as_deref(), Some("b"));
    assert_eq!(parent_of(&trace, "a").as_deref(), Some("c"));
    assert_eq!(subjects(&trace, FindingKind::ParentLoop), ["t/b", "t/self"]);
    assert_eq!(pico(trace.cost), 31_000);
}

#[test]
fn atr_3_a_trace_that_is_only_a_loop_is_rooted_at_the_cut() {
    let trace = resolved([span("b").below("a").tokens(1), span("a").below("b").tokens(2).task("x")]);
    assert_eq!(root_of(&trace), "a");
    assert!(trace.task.is_none());
    assert_eq!(kinds(&trace), [FindingKind::Unattributed, FindingKind::ParentLoop, FindingKind::RootMissing]);
}

#[test]
fn atr_3_a_chain_of_fifty_thousand_spans_resolves() {
    let deep = (1..50_000).map(|at| {
        let agent = ["triage", "search", "a", "b"][at % 4];
        span(&at.to_string()).below(&(at - 1).to_string()).agent(agent).tokens(1)
    });
    let trace = resolved([span("0").frame("triage").team("support")].into_iter().chain(deep));
    assert_eq!(pico(trace.cost), 49_999_000);
    assert_eq!(trace.spans.last().unwrap().inclusive, trace.spans.last().unwrap().exclusive);
    assert_eq!(pico(facts(1, [&trace]).agents["triage"].inclusive), 49_999_000);
}

#[test]
fn evt_3_a_correction_replaces_the_cost_of_what_it_names_and_chains() {
    let trace = resolved([
        span("r").frame("triage"),
        span("x").below("r").tokens(100),
        span("y").supersedes("x").tokens(10),
        span("z").below("r").supersedes("y").tokens(1),
        span("child").below("x").tokens(1_000),
    ]);
    assert_eq!(pico(trace.cost), 1_001_000);
    assert_eq!(find(&trace, "x").superseded_by.as_deref(), Some("z"));
    assert_eq!(parent_of(&trace, "child").as_deref(), Some("z"));
    assert_eq!(parent_of(&trace, "y").as_deref(), Some("r"));
    assert_eq!(subjects(&trace, FindingKind::Superseded), ["t/x", "t/y"]);
    assert!(!kinds(&trace).contains(&FindingKind::SeveralRoots));
    assert_eq!(facts(1, [&trace]).counted[&day(1)].events, 3);
}

#[test]
fn evt_3_a_corrected_root_hands_its_place_to_the_correction() {
    let trace = resolved([
        span("a").frame("triage").team("marketing").task("resolve").status(Status::Error),
        span("b").frame("clock").team("support").task("resolve").status(Status::Ok).supersedes("a"),
        span("c").below("a").tokens(3),
    ]);
    assert_eq!(root_of(&trace), "b");
    assert_eq!(trace.payer.team.as_deref(), Some("support"));
    assert_eq!(find(&trace, "c").agent.as_deref(), Some("clock"));
    assert_eq!(trace.task.unwrap().status, Some(Status::Ok));
}

#[test]
fn evt_3_unknown_targets_and_circles_count_with_a_finding() {
    let trace = resolved([
        span("r").tokens(1).supersedes("nothing"),
        span("a").below("r").tokens(2).supersedes("b"),
        span("b").below("r").tokens(4).supersedes("a"),
        span("c").below("r").tokens(8).supersedes("c"),
    ]);
    assert_eq!(pico(trace.cost), 15_000);
    assert_eq!(subjects(&trace, FindingKind::SupersedesUnknown), ["t/a", "t/b", "t/c", "t/r"]);
}

#[test]
fn evt_3_two_corrections_of_one_event_both_count() {
    let trace = resolved([
        span("r").tokens(1),
        span("a").below("r").tokens(2).supersedes("r"),
        span("b").below("a").tokens(4).supersedes("r"),
    ]);
    assert_eq!(pico(trace.cost), 6_000);
    assert!(trace.findings.iter().any(|finding| finding.detail.contains("2 events correct it")));
}

#[test]
fn evt_3_a_correction_below_what_it_corrects_takes_its_place() {
    let trace = resolved([
        span("r").frame("triage"),
        span("x").below("r").tokens(9),
        span("y").below("x").supersedes("x").tokens(1),
        span("child").below("x").tokens(2),
    ]);
    assert_eq!((parent_of(&trace, "y").as_deref(), parent_of(&trace, "child").as_deref()), (Some("r"), Some("y")));
    assert!(!kinds(&trace).contains(&FindingKind::ParentLoop));
}

#[test]
fn evt_2_the_report_whose_root_names_a_team_is_billed_then_the_smaller_one() {
    let call = |trace: &str, id: &str| span(id).trace(Some(trace)).tokens(1).response("call");
    let gateway = call("a", "1");
    assert_eq!(billed(&[vec![gateway.clone()], vec![call("b", "2"), call("b", "1").team("support")]]), ["b/1"]);
    assert_eq!(billed(&[vec![call("b", "1")], vec![call("a", "2")]]), ["a/2"]);
    assert_eq!(billed(&[vec![gateway]]), ["a/1"]);
    let history = history();
    let context = Context { history: &history, rater: &PriceList };
    let names = |spans: Vec<Make>| root_names_team(&events(spans), &context);
    assert!(names(vec![span("r").team("support")]));
    assert!(names(vec![span("r").resource_team("support")]));
    assert!(!names(vec![span("r").team("nowhere")]));
    assert!(!names(vec![span("r"), span("a").below("r").team("support")]));
    assert!(!names(vec![]));
}

#[test]
fn evt_2_an_excluded_report_stays_as_a_frame_and_makes_no_task() {
    let spans = [span("r").agent("guardrail").team("support").task("check").tokens(9).status(Status::Ok)];
    let excluded: BTreeSet<_> = [spans[0].identity()].into();
    let trace = resolved_without(spans, &excluded);
    assert_eq!((pico(trace.cost), trace.spans.len(), trace.task.is_none()), (0, 1, true));
    assert_eq!(subjects(&trace, FindingKind::SharedResponse), ["t/r"]);
    let facts = facts(1, [&trace]);
    assert!(facts.cells.is_empty() && facts.users.is_empty() && facts.tasks.is_empty() && facts.pools.is_empty());
    assert!(facts.counted.is_empty() && facts.agents.is_empty() && facts.price_names.is_empty());
    assert_eq!(facts.finding_counts[&FindingKind::SharedResponse], 1);
}

/// The events that are billed of some traces, as trace/event.
fn billed(traces: &[Vec<Make>]) -> Vec<String> {
    let history = history();
    let context = Context { history: &history, rater: &PriceList };
    let reports = traces.iter().flat_map(|trace| reports_of(&events(trace.clone()), &context)).collect();
    let excluded = second_reports(reports);
    let resolved = traces.iter().map(|trace| resolved_without(trace.clone(), &excluded));
    let paid = resolved.flat_map(|trace| {
        let name = |span: &Span| format!("{}/{}", trace.trace, span.event.event_id);
        trace.spans.iter().filter(|span| !span.exclusive.is_zero()).map(name).collect::<Vec<_>>()
    });
    paid.collect()
}

#[test]
fn evt_2_the_correction_of_the_billed_report_is_billed() {
    let call = |trace: &str, id: &str| span(id).trace(Some(trace)).tokens(1).response("call");
    let versions = vec![call("t", "x"), call("t", "y").supersedes("x"), call("t", "z").supersedes("y")];
    assert_eq!(billed(&[versions.clone(), vec![call("u", "a")]]), ["t/z"]);
    assert_eq!(billed(&[versions, vec![call("s", "a")]]), ["s/a"]);
    // One that names no call corrects the one that it supersedes.
    let silent = vec![call("t", "x"), span("y").tokens(1).supersedes("x")];
    assert_eq!(billed(&[silent.clone(), vec![call("u", "a")]]), ["t/y"]);
    assert_eq!(billed(&[silent, vec![call("s", "a")]]), ["s/a"]);
}

#[test]
fn evt_2_a_call_whose_first_report_was_corrected_to_another_call_is_billed_where_it_is_still_reported() {
    let call = |trace: &str, id: &str, call: &str| span(id).trace(Some(trace)).tokens(1).response(call);
    let moved = vec![call("a", "1", "r"), call("a", "2", "other").supersedes("1")];
    assert_eq!(billed(&[moved, vec![call("b", "1", "r")]]), ["a/2", "b/1"]);
}

#[test]
fn evt_3_two_corrections_of_one_reported_call_are_billed_once() {
    let call = |id: &str| span(id).tokens(1).response("r");
    assert_eq!(billed(&[vec![call("1"), call("2").supersedes("1"), call("3").supersedes("1")]]), ["t/2"]);
    let silent = |id: &str| span(id).tokens(1).supersedes("1");
    assert_eq!(billed(&[vec![call("1"), silent("2"), silent("3")]]), ["t/2"]);
}

#[test]
fn bud_2_critical_is_ignored_unless_the_agent_is_declared() {
    let trace = resolved([
        span("r").agent("pager").critical().tokens(1),
        span("a").below("r").critical().tokens(1),
        span("b").below("r").agent("triage").critical().tokens(1),
    ]);
    assert_eq!(subjects(&trace, FindingKind::CriticalIgnored), ["t/b"]);
}

#[test]
fn evt_2_of_several_records_the_first_stands_and_other_content_is_a_finding() {
    let first = span("a").below("r").tokens(5);
    let later = |make: Make| make.recorded(1);
    let same = resolved([span("r"), later(first.clone()), first.clone()]);
    assert_eq!((same.spans.len(), pico(same.cost)), (2, 5_000));
    assert!(subjects(&same, FindingKind::Conflict).is_empty(), "the same content is a duplicate");
    let other = resolved([span("r"), later(span("a").below("r").tokens(7)), first.clone()]);
    assert_eq!((other.spans.len(), pico(other.cost)), (2, 5_000));
    assert_eq!(subjects(&other, FindingKind::Conflict), ["t/a"]);
    let lone = |tokens| span("a").trace(None).tokens(tokens);
    let alone = resolved([lone(5), later(lone(7))]);
    assert_eq!((pico(alone.cost), subjects(&alone, FindingKind::Conflict)), (5_000, vec!["a/a"]));
}

#[test]
fn what_is_no_trace_is_an_error() {
    let history = history();
    let context = Context { history: &history, rater: &PriceList };
    let fails = |spans: Vec<Make>| resolve(&events(spans), &BTreeSet::new(), &context).unwrap_err();
    assert_eq!(fails(vec![]), AttributionError::NoEvents);
    let other = fails(vec![span("a"), span("b").trace(Some("u"))]);
    assert_eq!(other, AttributionError::SeveralTraces("t".into(), "u".into()));
    let lone = fails(vec![span("a").trace(None), span("b").trace(None)]);
    assert_eq!(lone, AttributionError::SeveralTraces("a".into(), "b".into()));
    let alone = resolved([span("a").trace(None).kind(Kind::Tool).units(2).task("x")]);
    assert_eq!((&*alone.trace, alone.task.is_some(), pico(alone.cost)), ("a", true, 1_000));
}
