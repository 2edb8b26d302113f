//! The fast way to the facts of a day gives what the careful one gives, for traces of any shape.

use std::collections::BTreeSet;

use proptest::prelude::*;
use recoup_attribution::batch::{Batch, Feed, Source, day_facts, settlement_facts};
use recoup_attribution::{AttributionError, Context, DayBuilder, DayFacts, Grain, SettlementFacts, resolve};
use recoup_model::digest::content_digest;
use recoup_model::{
    Event, Finding, FindingKind, Id, Identity, Kind, PriceQuery, Rater, Rating, Recorded, Status, Tags, Tariff,
    TokenClass, UnitTariff,
};
use recoup_money::{Amount, Currency};

use crate::support::*;

/// [`PriceList`], which tells its tariffs, and whose reported costs are taken without a word.
struct Tariffs;

impl Rater for Tariffs {
    fn rate(&self, event: &Event) -> Rating {
        match PriceList.rate(event) {
            Rating::Priced { cost, parts, basis, .. } => Rating::Priced { cost, parts, basis, disagrees: false },
            other => other,
        }
    }
    fn rate_tokens(&self, query: &PriceQuery<'_>) -> Rating {
        PriceList.rate_tokens(query)
    }
    fn tariff(&self, query: &PriceQuery<'_>) -> Option<Tariff> {
        let price = [("m", 1_000), ("n", 7_000)].iter().find(|(model, _)| Some(*model) == query.model)?.1;
        let per_token_pico = [Some(price); TokenClass::ALL.len()];
        Some(Tariff { from_ns: i64::MIN, to_ns: i64::MAX, context_max: u64::MAX, per_token_pico })
    }
    fn unit_tariff(&self, _: &str, _: Option<&Id>, _: i64) -> Option<UnitTariff> {
        Some(UnitTariff { from_ns: i64::MIN, to_ns: i64::MAX, price: Amount::from_pico(500) })
    }
    fn reporting_currency(&self) -> Option<Currency> {
        Some(Currency::USD)
    }
}

struct Rows<'a>(&'a [Recorded]);

/// The trace of each event and when it was used.
fn traces_of(events: &[Recorded]) -> impl Iterator<Item = (u64, i64)> {
    events.iter().map(|recorded| (Identity::of(&recorded.event).trace, recorded.event.used_at_ns))
}

impl Source for Rows<'_> {
    fn traces(&self) -> impl Iterator<Item = (u64, i64)> {
        traces_of(self.0)
    }
    fn fill(&self, feed: &mut Feed<'_, Self>) -> Result<(), AttributionError> {
        for (row, recorded) in (0..).zip(self.0) {
            match feed.wants_next() {
                true => feed.push_recorded(row, recorded)?,
                false => feed.skip(),
            }
        }
        Ok(())
    }
    fn recorded(&self, row: u64) -> Option<Recorded> {
        self.0.get(usize::try_from(row).ok()?).cloned()
    }
    fn digest(&self, row: u64) -> Option<[u8; 32]> {
        Some(content_digest(&self.0.get(usize::try_from(row).ok()?)?.event).0)
    }
    fn trace_name(&self, row: u64) -> Option<Id> {
        Some(self.0.get(usize::try_from(row).ok()?)?.event.trace_name().clone())
    }
}

fn both(of_october: u32, traces: &[Vec<Recorded>], excluded: &BTreeSet<Identity>) -> (DayFacts, DayFacts) {
    let history = history();
    let context = Context { history: &history, rater: &Tariffs };
    let mut careful = DayBuilder::new(day(of_october));
    for trace in traces {
        careful.add(&resolve(trace, excluded, &context).unwrap(), &context).unwrap();
    }
    let rows: Vec<Recorded> = traces.concat();
    let facts =
        |grain| day_facts((day(of_october), grain), Batch::new(&Tariffs), excluded, &context, &Rows(&rows)).unwrap();
    let (fast, coarse) = (facts(Grain::Query), facts(Grain::Settlement));
    let careful = careful.finish();
    assert_eq!(careful.in_settlement_grain(&history).unwrap(), coarse);
    let read = settlement_facts(day(of_october), Batch::new(&Tariffs), excluded, &context, &Rows(&rows)).unwrap();
    assert_eq!(read, SettlementFacts::coarse(&careful, &history).unwrap());
    assert_eq!(read, SettlementFacts::of(&coarse).unwrap());
    (careful, fast)
}

const AGENTS: [&str; 7] = ["A", "B", "guardrail", "search", "late", "clock", "triage"];

/// A span of a trace that is regular unless the dice say otherwise.
fn any_span(at: usize, hex: bool) -> impl Strategy<Value = Make> {
    (
        (0..at.max(1), prop::option::weighted(0.6, 0..AGENTS.len())),
        (0..200_000_i64, prop::option::weighted(0.8, 0..90_000_u64), 0..6_usize, any::<u32>()),
        prop::option::weighted(0.9, (0..200_u64, 0..50_u64, 0..100_u64)),
    )
        .prop_map(move |((parent, agent), (end, length, what, dice), tokens)| {
            let name = |at: usize| if hex { format!("{at:016x}") } else { format!("e{at}") };
            let mut make = span(&name(at)).ends(end);
            if at > 0 {
                make = make.below(&name(parent));
            }
            let unusual = |one_in: u32, salt: u32| (dice.wrapping_mul(2_654_435_761) ^ salt).is_multiple_of(one_in);
            if let Some(agent) = agent {
                make = make.agent(AGENTS[agent]);
            }
            if let Some(length) = length {
                make = make.lasts(length);
            }
            let (input, cached, output) = tokens.unwrap_or_default();
            let usage = [(TokenClass::Input, input), (TokenClass::CacheRead, cached), (TokenClass::Output, output)];
            make = match what {
                0 => make.kind(Kind::Agent),
                1 => make.kind(Kind::Tool).reported(i128::from(dice)),
                2 => make.kind(Kind::Llm).model("n").usage(&usage),
                3 => make.kind(Kind::Tool).units(i128::from(dice % 9)),
                _ => make.kind(Kind::Llm).model("m").usage(&usage),
            };
            if dice & 1 == 1 {
                make = make.team(["support", "marketing", "nowhere"][dice as usize / 2 % 3]);
            }
            if at == 0 || unusual(4, 5) {
                make = make.task(["resolve", "search"][dice as usize % 2]);
                make = make.status([Status::Ok, Status::Error, Status::Killed][dice as usize / 4 % 3]);
            }
            if unusual(6, 7) {
                make = make.user(["u17", "u99"][dice as usize % 2]);
            }
            if unusual(9, 11) {
                let key = Tags { agent: Some("keyed".into()), task_type: Some("keyed".into()), ..Tags::default() };
                make = make.key(Tags { team: (dice & 8 == 8).then(|| "marketing".into()), ..key });
            }
            if unusual(40, 13) {
                make = make.below("missing");
            }
            if unusual(40, 17) {
                make = make.retry_of(&name(at / 2));
            }
            if unusual(40, 19) {
                make = make.supersedes(&name(at / 2));
            }
            if unusual(40, 23) {
                make = make.units(i128::from(dice % 7));
            }
            if unusual(40, 29) {
                make = make.frame("A").usage(&usage);
            }
            if unusual(40, 31) {
                make = make.model("unknown");
            }
            if unusual(20, 37) {
                make = make.ends(0);
            }
            make
        })
}

fn any_trace() -> impl Strategy<Value = Vec<Make>> {
    let spans = |(spans, hex): (usize, bool)| (0..spans).map(|at| any_span(at, hex)).collect::<Vec<_>>();
    (1..30_usize, any::<bool>()).prop_flat_map(spans).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn atr_5_rows_give_the_facts_that_events_give(cases in prop::collection::vec((any_trace(), any::<u8>()), 1..6)) {
        let mut excluded = BTreeSet::new();
        let mut traces = Vec::new();
        for (at, (spans, dice)) in cases.into_iter().enumerate() {
            let trace = format!("t{at}");
            let spans: Vec<Make> = spans.into_iter().map(|make| make.trace(Some(&trace))).collect();
            if dice > 240 {
                excluded.insert(spans[0].identity());
            }
            traces.push(events(spans));
        }
        for of_october in 1..5 {
            let (careful, fast) = both(of_october, &traces, &excluded);
            prop_assert_eq!(careful, fast);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Recorded again as it is, or later with another time, cost and agent: neither changes a figure, wherever it lies. Another
    /// content is a finding of the day of the event that stands.
    #[test]
    fn evt_2_an_event_that_is_recorded_again_changes_no_figure(
        spans in any_trace(),
        again in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 1..4),
    ) {
        let trace = events(spans.into_iter().map(|make| make.trace(Some("t"))));
        let history = history();
        let (mut more, mut disputed) = (trace.clone(), BTreeSet::new());
        for (which, place, conflicts) in again {
            let mut other = which.get(&trace).clone();
            if conflicts && history.calendar().day_of(other.event.used_at_ns) == day(1) {
                disputed.insert(format!("t/{}", other.event.event_id));
            }
            other.recorded_at_ns += 1;
            if conflicts {
                other.event.used_at_ns -= 60_000_000_000;
                other.event.tags.agent = Some("another".into());
                other.event.usage = None;
            }
            more.insert(place.index(more.len() + 1), other);
        }
        let context = Context { history: &history, rater: &Tariffs };
        let facts = |rows: &[Recorded], grain| {
            day_facts((day(1), grain), Batch::new(&Tariffs), &BTreeSet::new(), &context, &Rows(rows)).unwrap()
        };
        prop_assert_eq!(facts(&more, Grain::Settlement), facts(&trace, Grain::Settlement));
        let mut again = facts(&more, Grain::Query);
        let (conflicts, others): (Vec<Finding>, Vec<Finding>) =
            again.findings.into_iter().partition(|finding| finding.kind == FindingKind::Conflict);
        again.findings = others;
        let found: BTreeSet<String> = conflicts.into_iter().map(|finding| finding.subject).collect();
        let count = again.finding_counts.remove(&FindingKind::Conflict).unwrap_or_default();
        prop_assert_eq!((count, found), (disputed.len() as u64, disputed));
        prop_assert_eq!(again, facts(&trace, Grain::Query));
    }
}

/// Rows that nobody may ask for once they were given.
struct Unread(Vec<Recorded>);

impl Source for Unread {
    fn traces(&self) -> impl Iterator<Item = (u64, i64)> {
        traces_of(&self.0)
    }
    fn fill(&self, feed: &mut Feed<'_, Self>) -> Result<(), AttributionError> {
        (0..).zip(&self.0).try_for_each(|(row, recorded)| feed.push_recorded(row, recorded))
    }
    fn recorded(&self, row: u64) -> Option<Recorded> {
        unreachable!("row {row} was read in full")
    }
    fn digest(&self, _: u64) -> Option<[u8; 32]> {
        Some([0; 32])
    }
    fn trace_name(&self, _: u64) -> Option<Id> {
        Some("t".into())
    }
}

/// A source that says two rows and gives one, or three.
struct Wrong(Vec<Recorded>, usize);

impl Source for Wrong {
    fn traces(&self) -> impl Iterator<Item = (u64, i64)> {
        traces_of(&self.0)
    }
    fn fill(&self, feed: &mut Feed<'_, Self>) -> Result<(), AttributionError> {
        let mut rows = (0..).zip(self.0.iter().cycle()).take(self.1);
        rows.try_for_each(|(row, recorded)| feed.push_recorded(row, recorded))
    }
    fn recorded(&self, _: u64) -> Option<Recorded> {
        None
    }
    fn digest(&self, _: u64) -> Option<[u8; 32]> {
        Some([0; 32])
    }
    fn trace_name(&self, _: u64) -> Option<Id> {
        None
    }
}

#[test]
fn evt_2_no_row_is_lost_or_counted_that_a_source_did_not_announce() {
    let history = history();
    let context = Context { history: &history, rater: &Tariffs };
    let trace = events([
        span("root").frame("triage").team("support").lasts(60),
        span("call").below("root").tokens(100).lasts(5),
    ]);
    let facts = |given| {
        let source = Wrong(trace.clone(), given);
        day_facts((day(1), Grain::Query), Batch::new(&Tariffs), &BTreeSet::new(), &context, &source)
    };
    assert!(facts(2).is_ok());
    assert_eq!(facts(1), Err(AttributionError::RowsDiffer));
    assert_eq!(facts(3), Err(AttributionError::RowsDiffer));
}

#[test]
fn a_regular_trace_is_not_read_in_full() {
    let history = history();
    let context = Context { history: &history, rater: &Tariffs };
    let trace = events([
        span("root").frame("triage").team("support").task("resolve").status(Status::Ok).lasts(60),
        span("call").below("root").agent("guardrail").tokens(100).lasts(5).ends(-40),
    ]);
    let batch = Batch::new(&Tariffs);
    let facts = day_facts((day(1), Grain::Query), batch, &BTreeSet::new(), &context, &Unread(trace)).unwrap();
    assert_eq!(facts.tasks.values().map(|task| task.completed).sum::<u64>(), 1);
    assert_eq!(facts.pools.values().map(|used| used.tokens).sum::<u64>(), 100);
}

#[test]
fn atr_5_a_regular_trace_with_every_dimension_gives_the_same_facts() {
    let name = |at: usize| format!("{at:016x}");
    let key = Tags { project: Some("launch".into()), ..Tags::default() };
    let trace = events([
        span(&name(0))
            .frame("triage")
            .team("support")
            .user("u17")
            .task("resolve")
            .status(Status::Ok)
            .lasts(60)
            .key(key),
        span(&name(1)).below(&name(0)).tokens(100).lasts(5).ends(-40),
        span(&name(2)).below(&name(0)).agent("guardrail").tokens(10).lasts(3).ends(-30),
        span(&name(3)).below(&name(2)).agent("search").tokens(20).ends(-20),
        span(&name(4)).below(&name(3)).agent("triage").kind(Kind::Tool).reported(5),
        span(&name(5)).below(&name(4)).model("n").usage(&[]).ends(43_200),
        span(&name(6)).below(&name(2)).kind(Kind::Tool).units(3).ends(-10),
    ]);
    for of_october in 1..4 {
        let (careful, fast) = both(of_october, std::slice::from_ref(&trace), &BTreeSet::new());
        assert_eq!(careful, fast);
    }
}

#[test]
fn ano_1_a_task_used_all_its_calls_on_whatever_day_and_in_whatever_pool() {
    let name = |at: usize| format!("{at:016x}");
    let trace = |retried: bool| {
        let again = span(&name(5)).below(&name(0)).tokens(7).ends(-5);
        events([
            span(&name(0)).frame("triage").team("support").task("resolve").status(Status::Error).lasts(60),
            span(&name(1)).below(&name(0)).tokens(100).lasts(5).ends(-86_400),
            span(&name(2)).below(&name(0)).agent("guardrail").tokens(10).ends(-30),
            span(&name(3)).below(&name(0)).kind(Kind::Tool).reported(5),
            span(&name(4)).below(&name(0)).kind(Kind::Tool).units(3).ends(-10),
            if retried { again.retry_of(&name(1)) } else { again },
        ])
    };
    for retried in [false, true] {
        let (careful, fast) = both(1, &[trace(retried)], &BTreeSet::new());
        assert_eq!(careful.work, fast.work);
        let (key, work) = fast.work.first_key_value().unwrap();
        assert_eq!((key.agent.as_deref(), &*key.task_type), (Some("triage"), "resolve"));
        assert_eq!((work.tasks, work.retries), (1, u64::from(retried)));
        let calls = |of: &str| work.models[of];
        assert_eq!((calls("m").calls, calls("m").tokens, pico(calls("m").cost)), (3, 117, 117_000));
        assert_eq!((calls("tool").calls, calls("tool").tokens, pico(calls("tool").cost)), (1, 0, 5));
        assert_eq!((calls("s").calls, calls("s").tokens, pico(calls("s").cost)), (1, 0, 1_500));
        let (cost, task) = work.dearest.tasks().next().unwrap();
        assert_eq!((pico(cost), &*task.trace, task.team.as_deref()), (118_505, "t", Some("support")));
        assert_eq!((work.squares.high, work.squares.low), (0, 118_505 * 118_505));
        assert!(both(2, &[trace(retried)], &BTreeSet::new()).1.work.is_empty(), "it ended the day before");
    }
}
