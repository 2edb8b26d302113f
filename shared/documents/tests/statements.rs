//! From day facts to the bytes of a statement.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use proptest::prelude::*;
use recoup_attribution::facts::{CellKey, CellValue, EventSet, Item, PoolUse, PoolUseKey, TaskKey, TaskOf, TaskValue};
use recoup_attribution::{DayFacts, SettlementFacts};
use recoup_documents::{
    Counted, DocumentError, Manifest, RULES_VERSION, Statement, canonical_json, compare, digest, statement_csv,
};
use recoup_ledger::{Bearer, Correction, Line, LineKey, LineKind, Opening, PeriodInput, Settlement};
use recoup_model::organisation::{
    Agent, Billing, History, Markup, Mode, Policy, Pool, PoolBasis, PoolMethod, Recurring, TaskType, Team, Version,
};
use recoup_model::{Digest, Id, Kind, Organisation, Period, TokenClass};
use recoup_money::{Amount, Currency};

fn id(name: &str) -> Id {
    Id::from(name)
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

fn october(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 10, day).unwrap()
}

fn period() -> Period {
    Period::of(october(1))
}

fn organisation(mode: Mode) -> Organisation {
    let team = Team { cost_centre: Some("CC-100".to_owned()), lead: None, slack_channel: None, email: None, mode };
    let triage = Agent { billing: Billing::Task, ..Agent::default() };
    let safety = Pool {
        basis: PoolBasis::Invocations,
        group: id("safety"),
        method: PoolMethod::Direct,
        step: None,
        percent: BTreeMap::new(),
    };
    let bill = Recurring {
        id: id("vm"),
        pool: Some(id("safety")),
        agent: None,
        amount: amount("10"),
        currency: Currency::USD,
        period: "month".to_owned(),
        from: october(1),
        to: None,
    };
    Organisation {
        name: "Example, \"the\" company".to_owned(),
        currency: Currency::USD,
        time_zone: chrono_tz::Europe::Berlin,
        policy: Policy::default(),
        teams: [(id("support"), team.clone()), (id("sales"), team)].into(),
        agents: [(id("triage"), triage)].into(),
        pools: [(id("safety"), safety)].into(),
        task_types: [(id("ticket"), TaskType { cap: None, seed_price: Some(amount("0.35")), critical: false })].into(),
        people: BTreeMap::new(),
        recurring: vec![bill],
        rates: Vec::new(),
        budgets: Vec::new(),
        prices: Vec::new(),
        alerts: Default::default(),
    }
}

fn history(mode: Mode) -> History {
    history_of(organisation(mode))
}

fn history_of(organisation: Organisation) -> History {
    let text = "the file".to_owned();
    let digest = Digest::of(text.as_bytes());
    let organisation = Arc::new(organisation);
    History::new(vec![Version { number: 1, effective: None, digest, text, organisation }]).unwrap()
}

fn cell(agent: &str, item: Item, task: Option<TaskOf>) -> CellKey {
    CellKey {
        team: Some(id("support")),
        project: None,
        agent: Some(id(agent)),
        task_type: None,
        kind: Kind::Llm,
        provider: Some(id("example")),
        model: Some(id("example-large")),
        item,
        task,
        pool: None,
        unobserved: false,
    }
}

fn value(cost: &str, quantity: &str, events: u64) -> CellValue {
    CellValue { cost: amount(cost), quantity: amount(quantity), events }
}

/// A day with 40 tickets, tokens of an agent with a nasty name, a reported cost, an unpriced event and a guardrail.
fn facts() -> DayFacts {
    let ticket = TaskOf { agent: Some(id("triage")), task_type: id("ticket"), ended_on: october(5), timed: false };
    let search = Item::Units { sku: id("search"), unit: Some(id("call")) };
    let cells = [
        (cell("triage", Item::Tokens(TokenClass::Input), Some(ticket)), value("13.333333333333", "40000", 40)),
        (cell("=cmd()", Item::Tokens(TokenClass::Input), None), value("0.333333333333", "1000", 1)),
        (cell("=cmd()", Item::Tokens(TokenClass::CacheWrite5m), None), value("0.004999999999", "20", 0)),
        (cell("=cmd()", Item::Reported, None), value("0.01", "0", 1)),
        (cell("=cmd()", Item::Unpriced, None), value("0", "7", 2)),
        (cell("crawler", search, None), value("0.0125", "12.5", 13)),
    ];
    let tasks = TaskValue {
        tasks: 41,
        completed: 40,
        failed: 1,
        direct_cost: amount("13.333333333333"),
        ..TaskValue::default()
    };
    let uses = |team: &str, invocations| {
        let key = PoolUseKey { pool: id("safety"), team: Some(id(team)), via: None, agent: None };
        (key, PoolUse { invocations, ..PoolUse::default() })
    };
    let set = |events, text: &str| EventSet { events, digest: Digest::of(text.as_bytes()) };
    DayFacts {
        day: october(5),
        cells: cells.into(),
        users: BTreeMap::new(),
        tasks: [(TaskKey { team: Some(id("support")), agent: Some(id("triage")), task_type: id("ticket") }, tasks)]
            .into(),
        pools: [uses("support", 2), uses("sales", 1)].into(),
        agents: BTreeMap::new(),
        counted: [(october(4), set(3, "a")), (october(5), set(54, "b"))].into(),
        context: Some(set(2, "c")),
        price_names: std::collections::BTreeSet::new(),
        finding_counts: BTreeMap::new(),
        findings: Vec::new(),
        work: BTreeMap::new(),
    }
}

fn correction() -> Correction {
    let key = LineKey {
        agent: Some(id("triage")),
        billing: Some(Billing::Token),
        original_period: Some(period().previous()),
        original_kind: Some(LineKind::Charge),
        ..LineKey::of(LineKind::Correction)
    };
    Correction { bearer: Bearer::Team(id("support")), line: Line::new(key, amount("-0.126")) }
}

fn settle(history: &History, days: &BTreeMap<NaiveDate, DayFacts>, corrections: &[Correction]) -> Settlement {
    let settlement = recoup_ledger::settle(&PeriodInput {
        period: period(),
        through: october(31),
        history,
        days: &SettlementFacts::of_days(days).unwrap(),
        opening: &Opening::default(),
        rules: RULES_VERSION,
        own_prices: None,
        corrections,
        approvals: &[],
    });
    let settlement = settlement.unwrap();
    recoup_ledger::check(&settlement).unwrap();
    settlement
}

fn manifest(history: &History, facts: &[&DayFacts]) -> Manifest {
    let counted = |facts: &DayFacts| Counted { counted: facts.counted.clone(), context: facts.context };
    let days = facts.iter().map(|facts| (facts.day, counted(facts))).collect();
    let manifest = Manifest::build(period(), history, &days, Digest::of(b"catalogue"));
    manifest.with_inputs(&Opening::default(), &[correction()])
}

fn statement(mode: Mode) -> Statement {
    let history = history(mode);
    let facts = facts();
    let manifest = manifest(&history, &[&facts]);
    let settlement = settle(&history, &[(facts.day, facts)].into(), &[correction()]);
    let statement = Statement::build(&id("support"), &settlement, history.on(october(31)), 1, &manifest).unwrap();
    // What a close writes without building the lines first are the same bytes (CLO-5).
    let of_team = (&id("support"), &*settlement.lines["support"]);
    let (head, bytes) = Statement::document(of_team, &settlement, history.on(october(31)), 1, &manifest).unwrap();
    assert_eq!(String::from_utf8(bytes), String::from_utf8(canonical_json(&statement)));
    assert_eq!(head, Statement { lines: Vec::new(), ..statement.clone() });
    statement
}

/// Compares with a golden file; with `RECOUP_WRITE_GOLDEN` set it writes the file instead.
fn assert_golden(name: &str, bytes: &[u8]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("RECOUP_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert_eq!(String::from_utf8_lossy(bytes), String::from_utf8_lossy(&golden), "{name}");
}

#[test]
fn clo_2_a_statement_has_the_bytes_of_the_golden_file() {
    let statement = statement(Mode::Showback);
    let json = canonical_json(&statement);
    assert_golden("statement.json", &json);
    assert_golden("statement.csv", statement_csv(&statement).as_bytes());
    assert_eq!(digest(&statement), Digest::of(&json));
    assert_eq!(serde_json::from_slice::<Statement>(&json).unwrap(), statement);
}

/// PRC-5, CLO-4: lines of their own in JSON and CSV, read back as they were, and nothing else of the statement changes.
#[test]
fn prc_5_markup_stands_apart_in_every_format() {
    let mut marked = organisation(Mode::Showback);
    marked.policy.markup = Some(Markup::Percent(amount("5")));
    marked.agents.get_mut("triage").unwrap().markup = Some(Markup::Fixed(amount("0.02")));
    let (history, facts) = (history_of(marked), facts());
    let manifest = manifest(&history, &[&facts]);
    let settlement = settle(&history, &[(facts.day, facts)].into(), &[correction()]);
    let statement = Statement::build(&id("support"), &settlement, history.on(october(31)), 1, &manifest).unwrap();
    assert_eq!(serde_json::from_slice::<Statement>(&canonical_json(&statement)).unwrap(), statement);
    let markups: Vec<_> = statement.lines.iter().filter(|line| line.line.key.kind == LineKind::Markup).collect();
    let json = serde_json::to_value(&markups).unwrap();
    let rest = serde_json::json!({ "kind": "markup", "billing": "token", "unit": "USD", "price": "0.05" });
    let line = |more: serde_json::Value| {
        let mut line = rest.clone();
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let percent = serde_json::json!({ "percent": "5" });
    assert_eq!(
        json,
        serde_json::json!([
            line(serde_json::json!({ "agent": "=cmd()", "quantity": "0.348333333332", "exact": "0.017416666667",
                                     "amount": "0.02", "markup": percent })),
            line(serde_json::json!({ "agent": "crawler", "quantity": "0.0125", "exact": "0.000625", "amount": "0.00",
                                     "markup": percent })),
            line(serde_json::json!({ "agent": "triage", "task_type": "ticket", "billing": "task", "unit": "task",
                                     "quantity": "40", "price": "0.02", "exact": "0.8", "amount": "0.80",
                                     "markup": { "fixed": "0.02" } })),
        ])
    );
    let csv = statement_csv(&statement);
    let row = csv.lines().find(|row| row.contains(",markup,triage,")).unwrap();
    assert!(row.contains(",markup,triage,ticket,,task,,,,,40,task,0.02,,"), "{row}");
    let mut others = statement.clone();
    others.lines.retain(|line| line.line.key.kind != LineKind::Markup);
    let plain = self::statement(Mode::Showback);
    let exact = |statement: &Statement| statement.lines.iter().map(|line| line.line.clone()).collect::<Vec<_>>();
    assert_eq!(exact(&others), exact(&plain));
    let more = statement.exact_total.checked_sub(plain.exact_total);
    assert_eq!(more, Some(settlement.totals.markup));
}

/// PRC-3: two cards give two manifests, and without one the manifest says nothing.
#[test]
fn clo_5_the_manifest_names_the_approved_rate_card() {
    let plain = manifest(&history(Mode::Showback), &[]);
    let with = |text: &str| plain.clone().with_rate_card(Some(Digest::of(text.as_bytes())));
    assert_ne!(with("one").digest(), with("other").digest());
    assert_eq!(plain.clone().with_rate_card(None).digest(), plain.digest());
    assert_eq!(serde_json::from_slice::<Manifest>(&canonical_json(&with("one"))).unwrap(), with("one"));
}

#[test]
fn clo_5_the_manifest_has_the_bytes_of_the_golden_file() {
    let facts = facts();
    let manifest = manifest(&history(Mode::Showback), &[&facts]);
    let json = canonical_json(&manifest);
    assert_golden("manifest.json", &json);
    assert_eq!(manifest.digest(), Digest::of(&json));
    assert_eq!(manifest.events, 57, "context events do not count");
    assert_eq!(serde_json::from_slice::<Manifest>(&json).unwrap(), manifest);
}

#[test]
fn clo_5_a_manifest_does_not_depend_on_the_order_of_facts() {
    let history = history(Mode::Showback);
    let mut other = facts();
    other.day = october(2);
    let mut outside = facts();
    outside.day = period().next().first_day();
    let forth = manifest(&history, &[&facts(), &other, &outside]);
    assert_eq!(forth, manifest(&history, &[&other, &facts()]));
    assert_ne!(forth.digest(), manifest(&history, &[&facts()]).digest());
}

#[test]
fn clo_2_notes_say_what_a_reader_must_know() {
    let shown = statement(Mode::Showback);
    let notes = [
        "Showback: for information only. Nothing is booked.",
        "2 events or bills have no price in USD yet: their cost is not in this statement and not zero.",
        "Corrections of 2026-09: -0.13 USD; the statements of that month stay as they are.",
    ];
    assert_eq!(shown.notes, notes);
    let booked = statement(Mode::Chargeback);
    assert_eq!(
        (booked.mode.as_str(), &booked.notes[..]),
        ("chargeback", &notes[1..].iter().map(ToString::to_string).collect::<Vec<_>>()[..])
    );
    assert_eq!((booked.statement.as_str(), booked.cost_centre.as_deref()), ("2026-10-support", Some("CC-100")));
}

#[test]
fn clo_2_a_team_without_lines_has_a_statement_of_zero() {
    let history = history(Mode::Chargeback);
    let settlement = settle(&history, &BTreeMap::new(), &[]);
    let manifest = manifest(&history, &[]);
    let build = |team| Statement::build(&id(team), &settlement, history.on(october(31)), 1, &manifest).unwrap();
    let left = build("left long ago");
    assert_eq!((left.total.as_str(), left.mode.as_str(), left.lines.len()), ("0.00", "showback", 0));
    let mut other = manifest.clone();
    other.period = period().next();
    let error = Statement::build(&id("support"), &settlement, history.on(october(31)), 1, &other).unwrap_err();
    assert!(matches!(error, DocumentError::OtherPeriod { .. }));
}

#[test]
fn clo_5_the_manifest_tells_openings_and_corrections_apart() {
    let history = history(Mode::Showback);
    let plain = manifest(&history, &[]);
    assert_ne!(plain.digest(), plain.clone().with_inputs(&Opening::default(), &[]).digest());
    let key = recoup_ledger::PricedKey {
        agent: id("triage"),
        task_type: id("ticket"),
        model: recoup_ledger::PriceModel::Task,
    };
    let carried = Opening { carried: [(key, amount("1"))].into(), ..Opening::default() };
    assert_ne!(plain.digest(), plain.clone().with_inputs(&carried, &[correction()]).digest());
}

#[test]
fn clo_5_a_tampered_statement_differs_where_it_was_tampered_with() {
    let good = statement(Mode::Showback);
    assert!(compare(&good, &good).is_empty());
    let mut bad = good.clone();
    bad.lines[0].amount = "0.99".to_owned();
    bad.total = "1".to_owned();
    let gone = bad.lines.pop().unwrap();
    bad.lines[1].line.key.model = Some(id("other"));
    let found: Vec<_> = compare(&bad, &good).into_iter().map(|found| (found.line, found.field)).collect();
    let last = good.lines.len();
    let expected = [(None, "total"), (Some(1), "amount"), (Some(2), "line"), (Some(2), "line"), (Some(last), "line")];
    assert_eq!(found, expected.map(|(line, field)| (line, field.to_owned())));
    assert_eq!(gone, good.lines[last - 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn mon_2_a_statement_adds_up_as_printed(costs in prop::collection::vec(-9_000_000_000_000_i128..9_000_000_000_000, 0..12)) {
        let history = history(Mode::Chargeback);
        let corrections: Vec<_> = costs
            .iter()
            .zip(0_u32..)
            .map(|(cost, number)| {
                let mut correction = correction();
                correction.line.key.agent = Some(id(&format!("agent-{number:02}")));
                correction.line.exact = Amount::from_pico(*cost);
                correction
            })
            .collect();
        let settlement = settle(&history, &BTreeMap::new(), &corrections);
        let manifest = manifest(&history, &[]);
        let statement = Statement::build(&id("support"), &settlement, history.on(october(31)), 1, &manifest).unwrap();
        let printed = Amount::checked_sum(statement.lines.iter().map(|line| line.amount.parse().unwrap()));
        prop_assert_eq!(printed, Some(statement.total.parse().unwrap()));
        let exact: i128 = costs.iter().sum();
        prop_assert_eq!(statement.exact_total.pico(), exact);
        let cent = 10_000_000_000;
        prop_assert_eq!(printed.unwrap().pico(), recoup_money::div_half_even(exact, cent).unwrap() * cent);
        let csv = statement_csv(&statement);
        let columns: Vec<usize> = csv.trim_end().split("\r\n").map(|row| row.split(',').count()).collect();
        prop_assert!(columns.iter().all(|count| *count == 27), "{columns:?}");
        prop_assert_eq!(columns.len(), costs.iter().filter(|cost| **cost != 0).count() + 2);
    }
}
