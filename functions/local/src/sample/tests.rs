//! What a sample promises, checked on its text as a server would receive it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::offers::*;
use super::playbooks::{PLAYBOOKS, Step};
use super::*;

type Identity = (String, String);

fn demo(seed: u64) -> (Vec<SampleEvent>, SampleSummary) {
    run(SampleOptions::demo(seed, day(2026, 11, 23)))
}

fn plain(spans: u64) -> (Vec<SampleEvent>, SampleSummary) {
    run(SampleOptions { seed: 3, spans, first_day: day(2026, 10, 1), days: 31, scenario: Scenario::Plain })
}

fn run(options: SampleOptions) -> (Vec<SampleEvent>, SampleSummary) {
    let mut sample = Sample::new(options).unwrap();
    let events = sample.by_ref().collect();
    (events, sample.summary().clone())
}

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

fn parse(event: &SampleEvent) -> Value {
    serde_json::from_str(&event.json).unwrap()
}

fn text<'v>(event: &'v Value, field: &str) -> Option<&'v str> {
    event.get(field).and_then(Value::as_str)
}

fn identity(event: &Value) -> Identity {
    let id = text(event, "event_id").unwrap();
    (text(event, "trace_id").unwrap_or(id).to_owned(), id.to_owned())
}

/// The first content of each identity, by trace.
fn traces(events: &[SampleEvent]) -> BTreeMap<String, BTreeMap<String, Value>> {
    let mut traces: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for event in events.iter().map(parse) {
        let (trace, id) = identity(&event);
        traces.entry(trace).or_default().entry(id).or_insert(event);
    }
    traces
}

fn parentless(spans: &BTreeMap<String, Value>) -> usize {
    spans.values().filter(|span| text(span, "parent_id").is_none()).count()
}

#[test]
fn rat_3_a_seed_gives_the_same_events() {
    let (first, summary) = demo(1);
    assert_eq!((&first, &summary), (&demo(1).0, &demo(1).1));
    assert_ne!(first, demo(2).0);
    assert_eq!(plain(3_000), plain(3_000));
}

#[test]
fn evt_1_every_event_is_a_valid_event() {
    let kinds = ["llm", "tool", "compute", "storage", "orchestration", "agent"];
    let tags = ["agent", "task_type", "task_id", "user", "team", "project", "campaign"];
    for event in demo(1).0.iter().chain(&plain(5_000).0) {
        let value = parse(event);
        assert!(event.json.len() < 2_000 && !event.json.contains('\n'));
        assert!(kinds.contains(&text(&value, "kind").unwrap()));
        let used_at = chrono::DateTime::parse_from_rfc3339(text(&value, "used_at").unwrap()).unwrap();
        let whole_milliseconds = event.used_at_ns / 1_000_000;
        assert_eq!(used_at.timestamp_millis(), whole_milliseconds);
        assert!(value["duration_ms"].is_u64());
        for field in ["event_id", "trace_id", "parent_id", "response_id", "retry_of"] {
            assert!(text(&value, field).is_none_or(|id| !id.is_empty() && id.len() <= 128));
        }
        let named = value.get("tags").and_then(Value::as_object);
        assert!(
            named.is_none_or(|named| named.iter().all(|(name, tag)| tags.contains(&name.as_str()) && tag.is_string()))
        );
        let is_frame = text(&value, "kind") == Some("agent");
        let costs = ["usage", "sku", "cost"].iter().filter(|field| value.get(**field).is_some()).count();
        assert!(is_frame || costs > 0, "no cost: {}", event.json);
        for amount in [value.get("quantity"), value.get("cost").map(|cost| &cost["amount"])].into_iter().flatten() {
            assert!(amount.as_str().unwrap().parse::<recoup_money::Amount>().unwrap().pico() >= 0);
        }
    }
}

#[test]
fn evt_2_identities_repeat_as_often_as_the_summary_says() {
    for (events, summary) in [demo(1), demo(9), plain(20_000)] {
        let mut contents: BTreeMap<Identity, &str> = BTreeMap::new();
        let (mut duplicates, mut conflicts) = (0, 0);
        for event in &events {
            match contents.entry(identity(&parse(event))) {
                std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(&event.json)),
                std::collections::btree_map::Entry::Occupied(known) if *known.get() == event.json => duplicates += 1,
                std::collections::btree_map::Entry::Occupied(_) => conflicts += 1,
            }
        }
        assert_eq!((duplicates, conflicts), (summary.duplicates, summary.conflicts));
        assert_eq!(u64::try_from(contents.len()).unwrap(), summary.spans);
        assert_eq!(u64::try_from(traces(&events).len()).unwrap(), summary.traces);
        let late = events.iter().filter(|event| event.deliver_after == Phase::Late).count();
        assert_eq!(u64::try_from(late).unwrap(), summary.late);
    }
}

#[test]
fn evt_2_a_gateway_repeats_a_call_and_names_nobody() {
    let (events, summary) = demo(1);
    let mut calls: BTreeMap<(String, String), Vec<(bool, Identity)>> = BTreeMap::new();
    for spans in traces(&events).values() {
        let root = spans.values().find(|span| text(span, "parent_id").is_none()).unwrap();
        let is_named = root["tags"].get("team").is_some();
        for span in spans.values() {
            let Some(response) = text(span, "response_id") else { continue };
            let call = (text(span, "provider").unwrap().to_owned(), response.to_owned());
            calls.entry(call).or_default().push((is_named, identity(span)));
        }
    }
    let shared: Vec<_> = calls.into_values().filter(|reports| reports.len() > 1).collect();
    assert_eq!(u64::try_from(shared.len()).unwrap(), summary.shared_responses);
    for reports in shared {
        assert_eq!(reports.iter().filter(|(is_named, _)| *is_named).count(), 1);
        assert_ne!(reports[0].1.0, reports[1].1.0, "the reports lie in different traces");
    }
}

#[test]
fn evt_7_every_event_is_used_inside_the_days() {
    let calendar = recoup_model::Calendar::new(rhythm::ZONE);
    let short = SampleOptions {
        days: 1,
        spans: 60_000,
        scenario: Scenario::Plain,
        ..SampleOptions::demo(4, day(2026, 11, 23))
    };
    let samples =
        [(demo(1).0, day(2026, 11, 4)), (plain(5_000).0, day(2026, 10, 31)), (run(short).0, day(2026, 10, 1))];
    for (events, last) in samples {
        let days: BTreeSet<_> = events.iter().map(|event| calendar.day_of(event.used_at_ns)).collect();
        assert_eq!((days.first(), days.last()), (Some(&day(2026, 10, 1)), Some(&last)));
        assert!(events.iter().all(|event| calendar.day_of(event.used_at_ns) <= last));
    }
}

#[test]
fn atr_1_a_trace_has_one_root_and_only_the_root_names_the_payer() {
    for (events, summary) in [demo(1), plain(20_000)] {
        let mut orphans = 0;
        for spans in traces(&events).values() {
            assert!((1..=40).contains(&spans.len()), "{}", spans.len());
            assert_eq!(parentless(spans), 1);
            for span in spans.values().filter(|span| text(span, "parent_id").is_some()) {
                let named = ["team", "user", "project", "task_type", "task_id"];
                assert!(named.iter().all(|tag| span.get("tags").is_none_or(|tags| tags.get(tag).is_none())));
                orphans += u64::from(!spans.contains_key(text(span, "parent_id").unwrap()));
            }
        }
        assert_eq!(orphans, summary.orphans);
    }
}

#[test]
fn atr_1_the_payers_are_those_of_the_organisation_file() {
    let file = organisation_file();
    for team in company::TEAMS {
        assert!(file.contains(&format!("[[teams]]\nid = \"{}\"\n", team.id)));
        for user in team.users {
            let person = format!("[[people]]\nid = \"{user}\"\nteam = \"{}\"\n", team.id);
            assert_eq!(file.contains(&person), team.listed.contains(user), "{user}");
        }
    }
    assert!(!file.contains(company::DISSOLVED_TEAM));
    for playbook in PLAYBOOKS {
        assert!(file.contains(&format!("[[agents]]\nid = \"{}\"\n", playbook.agent)), "{}", playbook.agent);
    }
    for job in company::JOBS {
        assert!(playbooks::playbook(job.agent).is_some());
        let declared = |name: &str| file.contains(&format!("[[task_types]]\nid = \"{name}\"\n"));
        assert!(job.task_type.is_none_or(declared), "{}", job.agent);
        assert!(job.payers.iter().all(|payer| company::team(payer.0).is_some()));
    }
    assert!(file.contains(rhythm::ZONE.name()));
}

#[test]
fn the_organisation_file_is_one() {
    let (organisation, notices) = recoup_model::organisation::parse_with_notices(organisation_file()).unwrap();
    assert_eq!(notices, []);
    assert_eq!(organisation.time_zone, rhythm::ZONE);
    assert_eq!(organisation.agents.len(), PLAYBOOKS.len());
    let critical = company::JOBS.iter().filter(|job| job.critical_percent > 0);
    let declared: BTreeSet<_> = critical.map(|job| organisation.agents[job.agent].critical).collect();
    assert_eq!(declared, BTreeSet::from([false, true]), "some claims are honoured, some are not");
}

#[test]
fn atr_4_shared_agents_are_called_by_every_department() {
    let (events, _) = demo(1);
    let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for spans in traces(&events).values() {
        let team = spans.values().find_map(|span| span["tags"].get("team")).map(ToString::to_string);
        for span in spans.values() {
            if let (Some(team), Some(agent)) = (&team, span["tags"].get("agent").and_then(Value::as_str)) {
                users.entry(agent.to_owned()).or_default().insert(team.clone());
            }
        }
    }
    assert_eq!(users.len(), 17, "every agent runs");
    assert!(users["guardrail"].len() >= 4 && users["formatter"].len() >= 4);
}

#[test]
fn every_phenomenon_of_the_demo_is_planted() {
    for seed in 1..=4 {
        let (_, summary) = demo(seed);
        let planted = format!("{summary:?}");
        assert!(!planted.contains(": 0,") && !planted.contains(": 0 }"), "seed {seed}: {planted}");
        assert_eq!((summary.conflicts, summary.runaways), (2, 3));
        assert!((20_000..30_000).contains(&summary.spans), "{}", summary.spans);
        assert_eq!(summary.tasks, summary.completed + summary.failed + summary.killed);
    }
}

#[test]
fn children_come_before_their_parents() {
    let (events, _) = demo(1);
    let mut seen = BTreeSet::new();
    let early = events.iter().map(parse).filter(|event| {
        let (trace, id) = identity(event);
        let parent = text(event, "parent_id").map(|parent| (trace.clone(), parent.to_owned()));
        seen.insert((trace, id));
        parent.is_some_and(|parent| !seen.contains(&parent))
    });
    assert!(early.count() > events.len() / 2);
}

#[test]
fn late_events_come_days_after_their_use() {
    let (events, _) = demo(1);
    let mut newest = i64::MIN;
    for event in &events {
        if event.deliver_after == Phase::Late && event.used_at_ns < events[0].used_at_ns + 30 * 86_400_000_000_000 {
            assert!(newest > event.used_at_ns + 40 * 3_600_000_000_000, "{}", event.json);
        }
        newest = newest.max(event.used_at_ns);
    }
}

#[test]
fn a_plain_month_has_ten_spans_a_trace_and_few_duplicates() {
    let (_, summary) = plain(50_000);
    assert!((50_000..52_000).contains(&summary.spans), "{}", summary.spans);
    let per_trace = summary.spans * 10 / summary.traces;
    assert!((85..115).contains(&per_trace), "{per_trace} tenths of a span");
    assert!((summary.spans * 4 / 1_000..summary.spans * 6 / 1_000).contains(&summary.duplicates));
    assert_eq!((summary.conflicts, summary.runaways), (0, 0));
}

#[test]
fn the_stream_holds_little_at_a_time() {
    let options =
        SampleOptions { seed: 1, spans: 200_000, first_day: day(2026, 10, 1), days: 31, scenario: Scenario::Plain };
    let mut sample = Sample::new(options).unwrap();
    let mut most = 0;
    while sample.next().is_some() {
        most = most.max(sample.waiting());
    }
    assert!(most < 8_000, "{most} events waited at once");
}

#[test]
fn days_that_cannot_be_are_refused() {
    let options = SampleOptions::demo(1, day(2026, 11, 1));
    assert_eq!((options.first_day, options.days), (day(2026, 10, 1), 31));
    assert_eq!(Sample::new(SampleOptions { days: 0, ..options }).err(), Some(SampleError::Days(0)));
    assert_eq!(Sample::new(SampleOptions { days: 401, ..options }).err(), Some(SampleError::Days(401)));
    let first_day = day(1969, 12, 31);
    let refused = Sample::new(SampleOptions { first_day, ..options }).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "a sample cannot begin on 1969-12-31; choose a first day between 1970-01-02 and 2200-12-31"
    );
    assert_eq!(run(SampleOptions { spans: 0, ..options }).0, []);
}

const CATALOGUE: [&str; 6] = [
    include_str!("../../../../pricing-models/catalogue/anthropic.toml"),
    include_str!("../../../../pricing-models/catalogue/aws.bedrock.toml"),
    include_str!("../../../../pricing-models/catalogue/gcp.gemini.toml"),
    include_str!("../../../../pricing-models/catalogue/mistral_ai.toml"),
    include_str!("../../../../pricing-models/catalogue/openai.toml"),
    include_str!("../../../../pricing-models/catalogue/tools.toml"),
];

/// Entries of catalogue and organisation file that are in force on 1 October 2026.
fn entries() -> Vec<&'static str> {
    let from = |entry: &str| entry.lines().find_map(|line| line.strip_prefix("from = ").map(str::to_owned));
    CATALOGUE
        .into_iter()
        .chain([organisation_file()])
        .flat_map(|file| file.split("[[prices]]").skip(1))
        .filter(|entry| from(entry).is_some_and(|from| from.as_str() <= "\"2026-10-01\""))
        .collect()
}

#[test]
fn rat_1_everything_bought_has_a_price() {
    let entries = entries();
    let models = |model: Model, needs: &[String]| {
        let (provider, name) = (format!("provider = \"{}\"", model.provider), format!("\"{}\"", model.name));
        entries
            .iter()
            .any(|entry| [&provider, &name].into_iter().chain(needs).all(|text| entry.contains(text.as_str())))
    };
    for step in PLAYBOOKS.iter().flat_map(|playbook| playbook.steps) {
        match step {
            Step::Ask(ask) => {
                let tier = ask.tier.map(|tier| format!("[prices.tiers.{tier}]"));
                let above = ask.model.long_above.map(|above| format!("above = {above},"));
                let audio = (ask.audio.1 > 0).then(|| "audio_input".to_owned());
                let needs: Vec<_> = [tier, above, audio].into_iter().flatten().collect();
                assert_eq!(models(ask.model, &needs), ask.model != FINE_TUNED, "{} {needs:?}", ask.model.name);
            }
            Step::Buy { sku, .. } => {
                let (name, unit) = (format!("sku = \"{}\"", sku.name), format!("unit = \"{}\"", sku.unit));
                assert!(entries.iter().any(|entry| entry.contains(&name) && entry.contains(&unit)), "{}", sku.name);
            }
            _ => {}
        }
    }
}
