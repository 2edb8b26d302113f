//! The fixture organisation makes each rule matter: for each a key of the file, or of an event, is changed, and a figure of the
//! month has to change with it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use recoup_model::registry::REGISTRY;
use recoup_naive::agree::{agree, differences};
use recoup_naive::engine::{facts_by_resolve, replay};
use recoup_naive::facts::{Figures, Replayed};
use recoup_naive::story;
use recoup_naive::world::World;

const ORGANISATION: &str = include_str!("../../fixtures/organisation.toml");
const MONTH: &str = include_str!("../../fixtures/month.ndjson");
const LATE: &str = include_str!("../../fixtures/late.ndjson");

/// Where a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    File,
    Month,
    Late,
}
use In::{File, Late, Month};

/// The rules that a change is there for, where, what, by what, and the words of a figure that changes.
type Change = (&'static [&'static str], In, &'static str, &'static str, &'static str);

const CHANGES: &[Change] = &[
    (&["MON-1"], File, "input = \"0.333333333333\"", "input = \"0.333333\"", "line marketing charge"),
    (&["MON-4", "POOL-5"], File, "rate = \"1.1000\"", "rate = \"1.2000\"", "pool archive"),
    (&["MON-4"], File, "from = \"2026-10-15\"\nrate", "from = \"2026-10-23\"\nrate", "model=petit"),
    (&["SPL-1"], File, "amount = \"100.00\"", "amount = \"100.000000000001\"", "line marketing pool pool=office"),
    (
        &["SPL-2", "POOL-2"],
        File,
        "basis = \"tokens\"               # POOL-1\ngroup = \"engines\"\n",
        "basis = \"tokens\"\n",
        "line support pool",
    ),
    (&["SPL-3"], File, "basis = \"tokens\"               # SPL-3", "basis = \"even\" # SPL-3", "pool=archive"),
    (&["CRX-1", "LED-4"], Late, "\"quantity\":\"1000\"", "\"quantity\":\"1001\"", "correction"),
    (&["EVT-2"], Month, "\"response_id\":\"resp-1\"", "\"retry_of\":\"resp-1\"", "priced_cost"),
    (&["EVT-3"], Month, "\"supersedes\":\"wrong\"", "\"supersedes\":\"other\"", "priced_cost"),
    (
        &["EVT-5"],
        Month,
        "\"usage\":{\"input\":5000,\"output\":800}",
        "\"usage\":{\"input\":4000,\"output\":300}",
        "priced_cost",
    ),
    (&["EVT-6"], Month, "\"amount\":\"0.05\"", "\"amount\":\"0.06\"", "unit=event"),
    (&["RAT-1"], File, "output = \"12.50\"", "output = \"12.51\"", "class=output"),
    (&["RAT-1"], File, "above = 200000", "above = 260000", "class=input"),
    (&["RAT-1"], File, "output = \"7.50\"", "output = \"7.51\"", "class=reasoning"),
    (&["RAT-2"], File, "model = \"petit\"\nfrom", "model = \"grand\"\nfrom", "unpriced marketing"),
    (&["ATR-1"], File, "id = \"u17\"\nteam = \"support\"", "id = \"u17\"\nteam = \"platform\"", "agent=writer"),
    (&["ATR-1"], Month, "\"team\":\"ghosts\"", "\"team\":\"support\"", "line support charge"),
    (
        &["ATR-2"],
        Month,
        "\"event_id\":\"again\",\"trace_id\":\"letter-1\",\"parent_id\":\"answer\"",
        "\"event_id\":\"again\",\"trace_id\":\"letter-1\",\"parent_id\":\"root\"",
        "2026-10-03 agent triage",
    ),
    (&["ATR-3"], Month, "\"parent_id\":\"egg\"", "\"parent_id\":\"root\"", "2026-10-11 agent search"),
    (&["ATR-4"], File, "shared_pool = \"safety\"", "shared_pool = \"office\"", "pool safety"),
    (&["ATR-4", "POOL-1"], Month, ",\"retry_of\":\"first\"", "", "pool safety team marketing"),
    (&["ATR-6"], File, "unattributed_pool = \"common\"", "", "total unattributed"),
    (&["ATR-6"], File, "unattributed_pool = \"common\"", "unattributed_pool = \"office\"", "pool=common"),
    (&["POOL-1"], File, "basis = \"invocations\"", "basis = \"tokens\"", "pool safety"),
    (&["POOL-1"], File, "basis = \"duration\"", "basis = \"invocations\"", "pool scan"),
    (&["POOL-1"], File, "support = \"50\", marketing = \"30\"", "support = \"30\", marketing = \"50\"", "pool post"),
    (&["POOL-1"], File, "basis = \"even\"                 # POOL-1", "basis = \"direct_cost\" # POOL-1", "pool=office"),
    (&["POOL-2"], File, "method = \"reciprocal\"", "method = \"direct\"", "line support pool"),
    (&["POOL-2"], File, "step = 1 ", "step = 3 ", "line support pool pool=post"),
    (
        &["POOL-3"],
        File,
        "percent = { support = \"50\", marketing = \"30\", platform = \"20\" }",
        "percent = { support = \"50\", marketing = \"30.000000000001\", platform = \"19.999999999999\" }",
        "pool post team marketing",
    ),
    (
        &["POOL-4"],
        Month,
        "\"used_at\":\"2026-10-11T07:59:31+02:00\"",
        "\"used_at\":\"2026-10-28T07:59:31+01:00\"",
        "2026-10 through 2026-10-15: pool safety",
    ),
    (&["POOL-5"], File, "from = \"2026-10-11\"            #", "from = \"2026-10-12\" #", "pool index"),
    (&["POOL-5"], File, "to = \"2026-10-31\"", "to = \"2026-10-30\"", "line support pool pool=office"),
    (&["POOL-5"], File, "agent = \"coder\"                #", "agent = \"triage\" #", "sku=build-machine"),
    (
        &["PRC-0"],
        Month,
        "\"task_type\":\"resolve_ticket\"},\"status\":\"error\"",
        "\"task_type\":\"resolve_ticket\"},\"status\":\"ok\"",
        "price triage resolve_ticket task",
    ),
    (
        &["PRC-0"],
        Month,
        "\"agent\":\"coder\",\"task_type\":\"fix_bug\"},\"status\":\"ok\"",
        "\"agent\":\"coder\"},\"status\":\"ok\"",
        "price coder fix_bug time",
    ),
    (&["PRC-1"], File, "half_life_days = 7", "half_life_days = 8", "price triage resolve_ticket task"),
    (&["PRC-1"], File, "price_grid = \"0.0001\"", "price_grid = \"0.001\"", "price coder fix_bug time"),
    (&["PRC-1"], File, "pool_recovery = \"line\"", "pool_recovery = \"price\"", "price triage resolve_ticket task"),
    (&["PRC-2"], File, "min_days = 3", "min_days = 4", "price coder fix_bug time"),
    (&["PRC-2"], File, "min_tasks = 30", "min_tasks = 2", "price triage resolve_ticket task"),
    (&["PRC-2"], File, "seed_price = \"0.05\"", "seed_price = \"0.06\"", "price triage resolve_ticket task 2026-10-01"),
    (
        &["PRC-3"],
        File,
        "price_band_percent = \"10\"",
        "price_band_percent = \"11\"",
        "price triage resolve_ticket task",
    ),
    (
        &["PRC-3"],
        File,
        "price_lock = \"banded\"          # PRC-3\nprice_band_percent = \"10\"",
        "price_lock = \"locked\"",
        "price triage resolve_ticket task",
    ),
    (&["PRC-4"], File, "idle_rate = \"0.002\"", "idle_rate = \"0.003\"", "unit=idle minute"),
    (
        &["PRC-4"],
        File,
        "billing = \"time\"                          # PRC-4\nidle_rate = \"0.002\"",
        "billing = \"task\"",
        "line platform charge agent=coder",
    ),
    (&["PRC-5"], File, "markup = { percent = \"2\" }", "", "line marketing markup agent=writer"),
    (
        &["PRC-5"],
        File,
        "markup = { fixed = \"0.01\" }",
        "markup = { fixed = \"0.02\" }",
        "line support markup agent=triage",
    ),
    (
        &["PRC-5"],
        File,
        "marketing = { percent = \"7.5\" }",
        "marketing = { percent = \"0\" }",
        "line marketing markup agent=triage",
    ),
    (&["PRC-6"], File, "billing = \"token\"                         # PRC-6", "billing = \"time\"", "agent=writer"),
    (&["PRC-7"], File, "billing_by_team = { marketing = \"token\" }", "", "line marketing charge"),
    (
        &["LED-2"],
        Month,
        "\"event_id\":\"think\",\"trace_id\":\"ticket-05\",\"parent_id\":\"root\",\"used_at\":\"2026-10-02",
        "\"event_id\":\"think\",\"trace_id\":\"ticket-05\",\"parent_id\":\"root\",\"used_at\":\"2026-11-02",
        "variance triage resolve_ticket task",
    ),
    (&["LED-3"], File, "variance = \"settle\"", "variance = \"absorb\"", "line support variance"),
    (&["LED-3"], File, "variance = \"settle\"", "variance = \"carry\"", "2026-11 through 2026-11-30: variance"),
    (
        &["LED-4"],
        Late,
        "\"team\":\"platform\",\"agent\":\"triage\",\"task_type\":\"resolve_ticket\"},\"status\":\"ok\"",
        "\"team\":\"marketing\",\"agent\":\"triage\",\"task_type\":\"resolve_ticket\"},\"status\":\"ok\"",
        "2026-11: correction marketing",
    ),
];

/// Rules that no key can break: they hold for the fixture as for every month, which other tests of this folder check.
const ALWAYS: [&str; 3] = ["ATR-5", "LED-1", "CLO-4"];

fn fixture(organisation: &str, month: &str, late: &str) -> World {
    let late: String = late.lines().map(|line| format!("@1 {line}\n")).collect();
    let mut world = story::world(organisation, ("2026-10", 2), &format!("{month}{late}"));
    world.through = vec!["2026-10-15".parse().unwrap(), "2026-11-30".parse().unwrap()];
    world
}

/// Every figure that stands in one of the two, and not the same in the other.
fn changed(before: &Replayed, after: &Replayed) -> Vec<String> {
    let all = |replayed: &Replayed| -> Figures {
        replayed.days.iter().chain(&replayed.months).map(|(name, figure)| (name.clone(), figure.clone())).collect()
    };
    differences(&all(before), &all(after)).into_iter().map(|(name, _, _)| name).collect()
}

#[test]
fn the_engine_agrees_with_the_reference_on_the_fixture() {
    if let Err(difference) = agree(0, &fixture(ORGANISATION, MONTH, LATE)) {
        unreachable!("{difference}");
    }
}

#[test]
fn each_key_changes_a_figure() {
    let before = replay(&fixture(ORGANISATION, MONTH, LATE), facts_by_resolve);
    let mut failed = Vec::new();
    for (rules, place, from, to, figure) in CHANGES {
        let alter = |text: &str, here: In| if *place == here { text.replace(from, to) } else { text.to_owned() };
        let (file, month, late) = (alter(ORGANISATION, File), alter(MONTH, Month), alter(LATE, Late));
        if (&*file, &*month, &*late) == (ORGANISATION, MONTH, LATE) {
            failed.push(format!("{rules:?}: {place:?} does not hold `{from}`"));
            continue;
        }
        let world = fixture(&file, &month, &late);
        if world.history().is_none() {
            failed.push(format!("{rules:?}: `{to}` is refused"));
            continue;
        }
        let found = changed(&before, &replay(&world, facts_by_resolve));
        if !found.iter().any(|name| name.contains(figure)) {
            let few: Vec<&String> = found.iter().take(8).collect();
            failed.push(format!(
                "{rules:?}: `{from}` -> `{to}` changes no `{figure}`, but {} others: {few:?}",
                found.len()
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_rule_about_the_money_has_a_key() {
    let shown: BTreeSet<&str> = CHANGES.iter().flat_map(|change| change.0).copied().chain(ALWAYS).collect();
    let concerns = |id: &str| ["SPL", "CRX", "ATR", "POOL", "PRC", "LED"].iter().any(|prefix| id.starts_with(prefix));
    let missing: Vec<&str> =
        REGISTRY.iter().map(|rule| rule.id).filter(|id| concerns(id) && !shown.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let unknown: Vec<&&str> = shown.iter().filter(|id| REGISTRY.iter().all(|rule| rule.id != **id)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_key_of_the_contract_is_used() {
    let contract = [
        "lanes",
        "price_grid",
        "half_life_days",
        "min_tasks",
        "min_days",
        "price_lock",
        "variance",
        "pool_recovery",
        "soft_close_days",
        "extra_tags",
        "unattributed_pool",
        "cost_centre",
        "lead",
        "slack_channel",
        "mode",
        "owner",
        "billing",
        "billing_by_team",
        "critical",
        "shared_pool",
        "basis",
        "method",
        "cap",
        "seed_price",
        "role",
        "pool",
        "amount",
        "period",
        "from",
        "from_currency",
        "to_currency",
        "rate",
        "scope",
        "limit",
        "tiers",
        "provider",
        "model",
        "per_million",
        "sku",
        "unit",
        "price",
    ];
    let keys: BTreeSet<&str> =
        ORGANISATION.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key.trim()).collect();
    let missing: Vec<&&str> = contract.iter().filter(|key| !keys.contains(**key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
