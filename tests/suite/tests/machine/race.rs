//! BUD-2, BUD-3, BUD-4: whatever races, and whenever the server is killed, nothing is overspent, and at the end what is
//! committed is what was billed, to the last picounit.

use std::collections::BTreeMap;

use recoup_suite::{Books, Chance, Client, Known, Pico, RACE_CALL_MAX, RACE_MODEL, Race, Racing, SMALL, pico};
use serde_json::{Value, json};

/// Minutes after which every reservation of before has ended.
const ALL_EXPIRED_MIN: u32 = 20;

fn budgets(limits: &[(&str, &str)]) -> String {
    let budget = |(scope, limit): &(&str, &str)| format!("[[budgets]]\nscope = \"{scope}\"\nlimit = \"{limit}\"\n");
    format!("{SMALL}{RACE_MODEL}{}", limits.iter().map(budget).collect::<String>())
}

/// Two chains of three scopes: organisation, team, and either agent.
fn chains() -> Vec<Value> {
    ["triage", "writer"].iter().map(|agent| json!({ "team": "support", "agent": agent })).collect()
}

/// A budget in picounits.
#[derive(Debug)]
struct Stand {
    limit: Pico,
    posted: Pico,
    reserved: Pico,
}

fn stands(rows: &[Value]) -> BTreeMap<String, Stand> {
    let amount = |row: &Value, field: &str| pico(row[field].as_str().unwrap());
    let stand = |row: &Value| {
        let [limit, posted, reserved] = ["limit", "posted", "reserved"].map(|field| amount(row, field));
        assert_eq!(amount(row, "committed"), posted + reserved, "{row}");
        (row["scope"].as_str().unwrap().to_owned(), Stand { limit, posted, reserved })
    };
    rows.iter().map(stand).collect()
}

/// Looks at every budget until callers were answered so often, or all are done: nothing may exceed a limit at any time.
fn watch(racing: &Racing, answers: usize) -> usize {
    let mut looks = 0;
    while racing.answers() < answers && !racing.is_over() {
        let Some((rows, on_their_way)) = racing.look() else { continue };
        for (scope, Stand { limit, posted, reserved }) in stands(&rows) {
            assert!(posted <= limit, "{scope} is overspent: {posted} of {limit}");
            let committed = posted + reserved;
            assert!(committed <= limit + on_their_way, "{scope}: {committed} of {limit}, {on_their_way} on their way");
        }
        looks += 1;
    }
    looks
}

/// What was billed of a scope, or of silent callers, by what they know.
fn of_scope(scope: &str, by_agent: &BTreeMap<String, Pico>) -> Pico {
    match scope.strip_prefix("agent:") {
        Some(agent) => by_agent.get(agent).copied().unwrap_or_default(),
        None => by_agent.values().sum(),
    }
}

#[track_caller]
fn assert_posted_is_billed(client: &Client, known: &Known) {
    for (scope, stand) in stands(&client.rows("/v1/budgets")) {
        assert_eq!(stand.posted, of_scope(&scope, &known.billed), "{scope}: what is posted is what was billed");
    }
}

/// After everything that was left has expired.
#[track_caller]
fn assert_committed_is_billed(books: &Books, key: &str, known: &Known) {
    let server = books.serve_later(ALL_EXPIRED_MIN);
    let client = server.client(key);
    let is_swept = || stands(&client.rows("/v1/budgets")).values().all(|stand| stand.reserved == 0);
    for _ in 0..600 {
        if is_swept() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(is_swept(), "reservations do not end: {:?}", stands(&client.rows("/v1/budgets")));
    assert_posted_is_billed(&client, known);
}

/// Without any kill.
fn race_quietly(race: Race, limits: &[(&str, &str)]) {
    let books = Books::of(&budgets(limits));
    let key = books.key("admin", None);
    let server = books.serve();
    let racing = race.start(server.url(), &key);
    let looks = watch(&racing, usize::MAX);
    let known = racing.finish();
    println!("{looks} looks, {known:?}");
    assert!(looks > 3 && known.allowed > 50 && !known.denied.is_empty(), "no race: {looks} looks, {known:?}");
    let client = server.client(&key);
    assert_posted_is_billed(&client, &known);
    for (scope, stand) in stands(&client.rows("/v1/budgets")) {
        assert_eq!(stand.reserved, of_scope(&scope, &known.silent), "{scope}: only who said nothing still holds room");
        assert!(stand.posted + stand.reserved <= stand.limit, "{scope}: {stand:?}");
    }
    drop(client);
    assert!(server.stop());
    assert_committed_is_billed(&books, &key, &known);
}

#[test]
fn bud_3_64_racing_callers_never_overspend() {
    let race = Race { seed: 64, callers: 64, rounds: 8, tags: chains(), critical: false, full: false };
    race_quietly(
        race,
        &[("organisation", "0.5"), ("team:support", "0.4"), ("agent:triage", "0.15"), ("agent:writer", "9")],
    );
}

#[test]
fn bud_3_1000_racing_callers_never_overspend() {
    let race = Race { seed: 1_000, callers: 1_000, rounds: 1, tags: chains(), critical: false, full: false };
    race_quietly(
        race,
        &[("organisation", "9"), ("team:support", "0.6"), ("agent:triage", "0.4"), ("agent:writer", "0.5")],
    );
}

/// Kills the server at seeded moments of the race; whoever was not answered asks again at its successor.
fn race_with_kills(race: Race, kills: usize, limits: &[(&str, &str)]) {
    let books = Books::of(&budgets(limits));
    let key = books.key("admin", None);
    let mut chance = Chance::seeded(race.seed);
    let between = u64::try_from(race.callers * race.rounds / kills).unwrap();
    let mut server = books.serve();
    let racing = race.start(server.url(), &key);
    let (mut moment, mut looks) = (0, 0);
    for _ in 0..kills {
        moment += usize::try_from(chance.between(between / 4, between)).unwrap();
        looks += watch(&racing, moment);
        server.kill();
        server = books.serve();
        racing.moved_to(server.url());
    }
    looks += watch(&racing, usize::MAX);
    let known = racing.finish();
    println!("{looks} looks, {known:?}");
    assert!(
        looks > kills && known.unanswered > 0 && known.allowed > 50 && !known.denied.is_empty(),
        "no race: {known:?}"
    );
    let client = server.client(&key);
    assert_posted_is_billed(&client, &known);
    for (scope, stand) in stands(&client.rows("/v1/budgets")) {
        let silent = of_scope(&scope, &known.silent);
        assert!(stand.reserved >= silent, "{scope}: what was reserved before a kill still is: {stand:?}, {silent}");
        assert!(stand.posted + stand.reserved <= stand.limit, "{scope}: {stand:?}");
    }
    drop(client);
    server.kill();
    assert_committed_is_billed(&books, &key, &known);
}

#[test]
fn bud_3_64_racing_callers_never_overspend_while_the_server_is_killed() {
    let race = Race { seed: 65, callers: 64, rounds: 10, tags: chains(), critical: false, full: false };
    race_with_kills(race, 4, &[("organisation", "0.6"), ("team:support", "0.5"), ("agent:triage", "0.2")]);
}

#[test]
fn bud_3_1000_racing_callers_never_overspend_while_the_server_is_killed() {
    let race = Race { seed: 1_001, callers: 1_000, rounds: 1, tags: chains(), critical: false, full: false };
    race_with_kills(race, 3, &[("organisation", "9"), ("team:support", "0.6"), ("agent:triage", "0.4")]);
}

/// Critical work goes beyond the limits, every picounit of that is logged, and nobody else uses it to go beyond as well.
#[test]
fn bud_2_only_critical_work_overruns_and_all_of_it_is_logged() {
    let pager = "[[agents]]\nid = \"pager\"\nowner = \"support\"\ncritical = true\n";
    let organisation = budgets(&[("organisation", "0.5"), ("team:support", "0.2")]);
    let books = Books::of(&format!("{organisation}{pager}"));
    let key = books.key("admin", None);
    let server = books.serve();
    let tags = ["triage", "pager"].iter().map(|agent| json!({ "team": "support", "agent": agent })).collect();
    let race = Race { seed: 66, callers: 64, rounds: 8, tags, critical: true, full: false };
    let racing = race.start(server.url(), &key);
    let known = racing.finish();
    println!("{known:?}");
    let client = server.client(&key);
    assert_posted_is_billed(&client, &known);
    let all = stands(&client.rows("/v1/budgets"));
    let logged: Vec<Value> =
        client.rows("/v1/audit").into_iter().filter(|entry| entry["action"] == "critical-exemption").collect();
    let amounts: Vec<Pico> = logged.iter().map(|entry| pico(entry["detail"]["amount"].as_str().unwrap())).collect();
    let (mut one, mut other) = (amounts.clone(), known.exempt.clone());
    one.sort_unstable();
    other.sort_unstable();
    assert_eq!(one, other, "each call that was let through beyond a limit has its entry");
    let team = &all["team:support"];
    let overrun = team.posted + team.reserved - team.limit;
    assert!(overrun > 0 && overrun <= amounts.iter().sum(), "{overrun} beyond the limit, logged {amounts:?}");
    let others = [&known.billed, &known.silent].map(|by_agent| by_agent.get("triage").copied().unwrap_or_default());
    assert!(others.iter().sum::<Pico>() <= team.limit, "work that is not critical stays within: {others:?}");
    assert!(known.denied.contains_key("kill-switch") || known.denied.contains_key("budget-exceeded"), "{known:?}");
}

/// Calls of one task race for its cap: they never exceed it, and it is killed and flagged once.
#[test]
fn bud_4_racing_calls_of_one_task_stay_within_its_cap() {
    let research = "[[task_types]]\nid = \"research\"\ncap = \"0.1\"\n";
    let books = Books::of(&format!("{}{research}", budgets(&[("team:support", "100")])));
    let key = books.key("admin", None);
    let server = books.serve();
    let task = json!({ "team": "support", "agent": "triage", "task_type": "research", "task_id": "T-1" });
    let race = Race { seed: 67, callers: 64, rounds: 4, tags: vec![task.clone()], critical: false, full: false };
    let known = race.start(server.url(), &key).finish();
    println!("{known:?}");
    assert!(known.denied["task-cap"] >= 1 && known.denied["task-killed"] >= 1, "{known:?}");
    let client = server.client(&key);
    let state = json!({ "tags": task, "reserve": false });
    let stands = client.post("/v1/authorize", &state).ok(200).json();
    assert_eq!((&stands["decision"], &stands["decided_by"]["reason"]), (&json!("deny"), &json!("task-killed")));
    let cap = stands["scopes"].as_array().unwrap().iter().find(|row| row["scope"] == "task:T-1").unwrap().clone();
    let committed = pico(cap["committed"].as_str().unwrap());
    assert_eq!(committed, known.billed_in_all() + known.silent_in_all(), "{cap}");
    assert!(committed <= pico("0.1"), "{cap}");
    let reviews = client.rows("/v1/reviews");
    assert_eq!(reviews.len(), 1, "{reviews:?}");
    assert_eq!((&reviews[0]["task"], &reviews[0]["mark"]), (&json!("T-1"), &json!("killed_over_cap")));
    let resume = json!({ "state": "resumed", "note": "needed" });
    client.post("/v1/reviews/T-1/decision", &resume).ok(200);
    let again = json!({ "tags": task, "estimate": { "amount": "0.000000000001", "currency": "USD" } });
    assert_eq!(client.post("/v1/authorize", &again).ok(200).json()["decision"], "allow", "within its cap it goes on");
}

/// What an event has cost and the reservation that it ends never count both against a cap, so that a task that fits is not
/// killed, however its calls race.
#[test]
fn bud_4_a_task_whose_racing_calls_fit_its_cap_is_not_killed() {
    let (callers, rounds) = (64, 8);
    let calls = Pico::try_from(callers * rounds).unwrap();
    let (whole, part) = (calls * RACE_CALL_MAX / 1_000_000_000_000, calls * RACE_CALL_MAX % 1_000_000_000_000);
    let research = format!("[[task_types]]\nid = \"research\"\ncap = \"{whole}.{part:012}\"\n");
    let books = Books::of(&format!("{}{research}", budgets(&[("team:support", "100")])));
    let key = books.key("admin", None);
    let server = books.serve();
    let task = json!({ "team": "support", "agent": "triage", "task_type": "research", "task_id": "T-1" });
    let race = Race { seed: 68, callers, rounds, tags: vec![task.clone()], critical: false, full: true };
    let known = race.start(server.url(), &key).finish();
    assert_eq!((known.allowed, known.denied.len()), (callers * rounds, 0), "{known:?}");
    let client = server.client(&key);
    assert_eq!(client.rows("/v1/reviews"), Vec::<Value>::new());
    let more = json!({ "tags": task, "estimate": { "amount": "0.000000000001", "currency": "USD" } });
    let denied = client.post("/v1/authorize", &more).ok(200).json();
    assert_eq!(denied["decided_by"]["reason"], "task-cap", "{denied}");
}
