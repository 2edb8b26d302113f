//! Facts of days: tasks, cells, midnight, digests, lanes.

use recoup_attribution::facts::{DayFacts, EventSet, Item, TaskValue};
use recoup_attribution::{AttributionError, DayBuilder, SettlementFacts};
use recoup_model::TokenClass::{Input, Output};
use recoup_model::{Digest, Finding, FindingKind, Kind, Severity, Status, Tags};

use crate::support::*;

const SECOND_NS: u64 = 1_000_000_000;

fn task(facts: &DayFacts) -> TaskValue {
    assert_eq!(facts.tasks.len(), 1);
    facts.tasks.values().next().unwrap().clone()
}

#[test]
fn prc_0_a_root_with_a_task_type_is_a_task_by_its_status() {
    let traces: Vec<_> = [Some(Status::Ok), Some(Status::Error), Some(Status::Killed), None]
        .into_iter()
        .enumerate()
        .map(|(at, status)| {
            let root = span("r").frame("triage").team("support").task("resolve").trace(Some(&format!("t{at}")));
            resolved([if let Some(status) = status { root.status(status) } else { root }])
        })
        .collect();
    let value = task(&facts(1, &traces));
    assert_eq!((value.tasks, value.completed, value.failed, value.killed), (4, 1, 1, 1));
    let without = resolved([span("r").frame("triage").team("support"), span("a").below("r").task("resolve")]);
    assert!(without.task.is_none());
    let keyed = Tags { task_type: Some("resolve".into()), ..Tags::default() };
    assert!(resolved([span("r").key(keyed)]).task.is_some());
}

#[test]
fn prc_1_a_task_counts_on_the_day_it_ended_with_the_cost_of_every_day() {
    // Noon plus 12 h is midnight in Berlin: the second day begins there, while UTC is still on the first.
    let trace = resolved([
        span("r").frame("triage").team("support").task("resolve").status(Status::Ok).ends(12 * 3_600),
        span("a").below("r").tokens(1).ends(12 * 3_600 - 1),
        span("b").below("r").tokens(10).ends(12 * 3_600),
    ]);
    let (first, second) = (facts(1, [&trace]), facts(2, [&trace]));
    assert!(first.tasks.is_empty());
    assert_eq!((task(&second).completed, pico(task(&second).direct_cost)), (1, 11_000));
    let cost = |facts: &DayFacts| facts.cells.values().map(|cell| pico(cell.cost)).sum::<i128>();
    assert_eq!((cost(&first), cost(&second)), (1_000, 10_000));
    assert_eq!((first.counted[&day(1)].events, second.counted[&day(1)].events), (1, 2));
    assert_eq!((first.context.unwrap().events, second.context.unwrap().events), (2, 1));
    assert!(first.cells.keys().all(|key| key.task.as_ref().unwrap().ended_on == day(2)));
    assert_eq!((pico(first.agents["triage"].inclusive), first.agents["triage"].frames), (1_000, 0));
    assert_eq!((pico(second.agents["triage"].inclusive), second.agents["triage"].frames), (10_000, 1));
    assert_eq!(facts(3, [&trace]), DayFacts::empty(day(3)));
}

#[test]
fn prc_4_active_time_is_the_union_and_idle_the_rest_of_the_root() {
    let spans = |root: Make| {
        [
            root.team("support").task("chat").status(Status::Ok).ends(100).lasts(100),
            span("a").below("r").tokens(1).ends(20).lasts(10),
            span("b").below("r").kind(Kind::Tool).units(1).ends(25).lasts(10),
            span("c").below("r").tokens(1).ends(40).lasts(5),
            span("outside").below("r").tokens(1).ends(130).lasts(10),
            span("inner").below("r").kind(Kind::Agent).ends(90).lasts(90),
            span("wrong").below("r").tokens(1).ends(80).lasts(20),
            span("right").below("r").tokens(1).supersedes("wrong"),
        ]
    };
    let trace = resolved(spans(span("r").frame("clock")));
    let value = task(&facts(1, [&trace]));
    assert_eq!((value.active_ns, value.idle_ns), (30 * SECOND_NS, 80 * SECOND_NS));
    assert_eq!(value.durations_ns, [(30 * SECOND_NS, 1)].into());
    assert_eq!(value.idles_ns, [(80 * SECOND_NS, 1)].into());
    assert_eq!(value.timed_cost, value.direct_cost);
    assert_eq!((value.timed_tasks, value.timed_completed), (1, 1));
    let by_task = task(&facts(1, [&resolved(spans(span("r").frame("triage")))]));
    assert_eq!((by_task.active_ns, by_task.durations_ns.len()), (30 * SECOND_NS, 0));
}

#[test]
fn prc_4_a_task_without_duration_is_a_finding_where_time_is_billed() {
    let spans =
        |agent: &str| [span("r").frame(agent).team("support").task("chat").lasts(5), span("a").below("r").tokens(1)];
    let trace = resolved(spans("clock"));
    assert_eq!(subjects(&trace, FindingKind::NoDuration), ["t/r"]);
    let value = task(&facts(1, [&trace]));
    assert_eq!((pico(value.timed_cost), pico(value.direct_cost), value.durations_ns.len()), (0, 1_000, 0));
    assert_eq!((value.tasks, value.timed_tasks, value.timed_completed), (1, 0, 0));
    assert!(!kinds(&resolved(spans("triage"))).contains(&FindingKind::NoDuration));
}

#[test]
fn evt_1_an_event_counts_once_in_its_first_item() {
    let trace = resolved([
        span("r").frame("triage").team("support").user("u18").task("resolve").model("m"),
        span("a").below("r").model("m").usage(&[(Output, 5), (Input, 3)]),
        span("b").below("r").model("unknown").usage(&[(Output, 5), (Input, 3)]),
        span("c").below("r").kind(Kind::Tool).units(2),
        span("d").below("r").kind(Kind::Compute).reported(9),
        span("e").below("r").model("m").usage(&[]),
    ]);
    let facts = facts(1, [&trace]);
    let row = |item: &Item, kind: Kind| {
        let found = facts.cells.iter().find(|(key, _)| key.item == *item && key.kind == kind).unwrap();
        (pico(found.1.cost), found.1.quantity.to_string(), found.1.events)
    };
    assert_eq!(row(&Item::Tokens(Input), Kind::Llm), (3_000, "3".into(), 2));
    assert_eq!(row(&Item::Tokens(Output), Kind::Llm), (5_000, "5".into(), 0));
    assert_eq!(row(&Item::Unpriced, Kind::Llm), (0, "8".into(), 1));
    let units = Item::Units { sku: "s".into(), unit: Some("call".into()) };
    assert_eq!(row(&units, Kind::Tool), (1_000, "2".into(), 1));
    assert_eq!(row(&Item::Reported, Kind::Compute), (9, "0".into(), 1));
    assert_eq!(row(&Item::Frame, Kind::Agent), (0, "0".into(), 1));
    assert_eq!(
        facts.users.values().map(|user| (user.events, user.tasks)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
        (6, 1)
    );
    let root = facts.users.iter().find(|(_, user)| user.tasks == 1).unwrap();
    assert_eq!((root.0.kind, root.0.model.as_deref(), root.1.events), (Kind::Agent, None, 1));
    let names: Vec<&str> = facts.price_names.iter().map(String::as_str).collect();
    assert_eq!(names, ["model:p/m", "model:p/unknown", "rate:USD", "sku:s"], "nobody says that USD is its currency");
    let kinds = [FindingKind::ReportedDisagrees, FindingKind::ReportedUsed, FindingKind::Unpriced];
    assert_eq!(facts.finding_counts, kinds.map(|kind| (kind, 1)).into());
}

#[test]
fn rat_2_a_wrapper_that_is_unpriced_in_part_counts_as_unpriced() {
    let trace = resolved([span("r").frame("triage").team("support").units(2).usage(&[(Input, 9)])]);
    let cells = facts(1, [&trace]).cells;
    let events = |item: &Item| {
        let cells = cells.iter().filter(|(key, _)| std::mem::discriminant(&key.item) == std::mem::discriminant(item));
        cells.map(|(_, value)| value.events).sum::<u64>()
    };
    assert_eq!((cells.len(), pico(trace.cost)), (2, 1_000));
    assert_eq!(events(&Item::Unpriced), 1);
    assert_eq!(events(&Item::Units { sku: "s".into(), unit: None }), 0, "the event counts once");
}

#[test]
fn evt_2_the_manifest_hashes_identity_and_content_in_order_of_identity() {
    let spans = [span("r").team("support").tokens(1), span("a").below("r").tokens(2)];
    let mut bytes: Vec<Vec<u8>> = spans
        .iter()
        .map(|make| {
            let digest = recoup_model::digest::content_digest(&make.0.event);
            [make.identity().to_bytes().to_vec(), digest.0.to_vec()].concat()
        })
        .collect();
    bytes.sort();
    assert_eq!(facts(1, [&resolved(spans)]).counted[&day(1)].digest, Digest::of(&bytes.concat()));
}

#[test]
fn mon_3_an_overflowing_sum_is_an_error() {
    let history = history();
    let context = recoup_attribution::Context { history: &history, rater: &PriceList };
    let huge = |id: &str| span(id).kind(Kind::Tool).reported(i128::MAX);
    let both = events([huge("r"), huge("a").below("r")]);
    let failed = recoup_attribution::resolve(&both, &std::collections::BTreeSet::new(), &context).unwrap_err();
    assert!(matches!(failed, AttributionError::Overflow { .. }));
    let mut builder = DayBuilder::new(day(1));
    builder.add(&resolved([huge("r")]), &context).unwrap();
    let more = builder.add(&resolved([huge("r").trace(Some("u"))]), &context);
    assert!(matches!(more, Err(AttributionError::Overflow { .. })));
    let tokens = |id: &str| span(id).model("m").usage(&[(Input, u64::MAX)]);
    let wrapped = events([span("w").frame("triage").usage(&[]), tokens("a").below("w"), tokens("b").below("w")]);
    assert!(recoup_attribution::resolve(&wrapped, &std::collections::BTreeSet::new(), &context).is_err());
}

#[test]
fn facts_of_lanes_add_up_in_any_order() {
    let trace = |name: &str| {
        resolved([
            span("r").trace(Some(name)).frame("clock").team("support").task("chat").status(Status::Ok).ends(9).lasts(9),
            span("a").below("r").trace(Some(name)).tokens(7).lasts(1),
            span("g").below("r").trace(Some(name)).agent("guardrail").model("x").usage(&[(Input, 1)]),
            span("z").below("r").trace(Some(name)).tokens(1).ends(86_400),
        ])
    };
    let (one, two, three) = (trace("1"), trace("2"), trace("3"));
    let lanes = [&one, &two, &three].map(|trace| facts(1, [trace]));
    let merged = |order: [usize; 3]| {
        let mut sum = DayFacts::empty(day(1));
        order.into_iter().for_each(|lane| sum.merge(lanes[lane].clone()).unwrap());
        sum
    };
    let (sum, mut whole) = (merged([0, 1, 2]), facts(1, [&one, &two, &three]));
    assert_eq!(sum, merged([2, 0, 1]));
    // What a settlement reads of the lanes is added to the same.
    let read = |order: [usize; 3]| {
        let mut sum = SettlementFacts::empty(day(1));
        order.into_iter().for_each(|lane| sum.merge(SettlementFacts::of(&lanes[lane]).unwrap()).unwrap());
        sum
    };
    assert_eq!(read([0, 1, 2]), SettlementFacts::of(&sum).unwrap());
    assert_eq!(read([2, 0, 1]), read([0, 1, 2]));
    assert!(SettlementFacts::empty(day(2)).merge(read([0, 1, 2])).is_err());
    assert_eq!(sum.counted[&day(1)].events, whole.counted[&day(1)].events);
    let mut two_lanes = DayFacts::empty(day(1));
    for tail in [[0_u8, 255], [1, 3]] {
        let mut bytes = [0; 32];
        bytes[30..].copy_from_slice(&tail);
        let mut lane = DayFacts::empty(day(1));
        lane.context = Some(EventSet { events: 1, digest: Digest(bytes) });
        two_lanes.merge(lane).unwrap();
    }
    let added = two_lanes.context.unwrap();
    assert_eq!((added.events, &added.digest.0[29..]), (2, &[0, 2, 2][..]));
    whole.counted.clone_from(&sum.counted);
    whole.context = sum.context;
    assert_eq!(sum, whole);
    let json = serde_json::to_string(&sum).unwrap();
    let read = DayFacts { work: sum.work.clone(), ..serde_json::from_str(&json).unwrap() };
    assert_eq!(read, sum, "what tasks used stands beside the facts");
    let other = DayFacts::empty(day(1)).merge(DayFacts::empty(day(2)));
    assert_eq!(other, Err(AttributionError::OtherDay(day(1), day(2))));
}

#[test]
fn findings_are_all_counted_and_the_first_of_each_kind_kept() {
    let traces: Vec<_> =
        (0..1_005).rev().map(|at| resolved([span("r").trace(Some(&format!("{at:04}"))).frame("x")])).collect();
    let mut facts = facts(1, &traces);
    assert_eq!((facts.finding_counts[&FindingKind::Unattributed], facts.findings.len()), (1_005, 1_000));
    assert_eq!((&*facts.findings[0].subject, &*facts.findings[999].subject), ("0000/r", "0999/r"));
    let mut other = DayFacts::empty(day(1));
    let kind = FindingKind::Unattributed;
    let detail = facts.findings[0].detail.clone();
    other.findings = vec![Finding { severity: Severity::Warning, kind, subject: "0000/a".into(), detail }];
    facts.merge(other).unwrap();
    assert_eq!(
        (facts.findings.len(), &*facts.findings[0].subject, &*facts.findings[999].subject),
        (1_000, "0000/a", "0998/r")
    );
}
