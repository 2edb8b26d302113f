//! The rate-card simulator: what it finds is what would have been issued, and nothing is written.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use recoup_suite::{Books, Client, EVERYTHING, Month, Pico, Server, Traffic, lines, noon, pico, recoup_binary, sum};
use serde_json::{Value, json};

const TEAMS: [&str; 3] = ["alpha", "beta", "gamma"];

/// Two months of the same events under an organisation, both closed.
fn two_months(organisation: &str, seed: u64) -> Books {
    let books = Books::of(organisation);
    for back in [2, 1] {
        let month = Month::before_today(back);
        let days = u64::try_from(month.days().len()).unwrap();
        let events = Traffic { seed: seed + u64::from(back), first: month.first(), days, traces: 4 }.events();
        books.ingest(&lines(&events)).ended(0);
        books.close(month);
    }
    books
}

fn served(books: &Books) -> (Server, Client) {
    let server = books.serve();
    let client = server.client(&books.key("finance", None));
    (server, client)
}

/// Exact totals of the issued statements, by month and team, without corrections.
fn issued(books: &Books) -> BTreeMap<(String, String), Pico> {
    let mut totals = BTreeMap::new();
    for month in [2, 1].map(Month::before_today) {
        for team in TEAMS.iter().chain(&["operations"]) {
            let Ok(bytes) = std::fs::read(books.statement_path(month, team)) else { continue };
            let statement: Value = serde_json::from_slice(&bytes).unwrap();
            let lines = statement["lines"].as_array().unwrap().iter().filter(|line| line["kind"] != "correction");
            totals.insert((month.to_string(), (*team).to_owned()), sum(lines, "exact"));
        }
    }
    totals
}

/// One side of a simulation, by month and team.
fn side(outcome: &Value, side: &str) -> BTreeMap<(String, String), Pico> {
    let mut totals = BTreeMap::new();
    for team in outcome["teams"].as_array().unwrap() {
        for month in team["months"].as_array().unwrap() {
            let key = (month["period"].as_str().unwrap().to_owned(), team["team"].as_str().unwrap().to_owned());
            totals.insert(key, pico(month[side].as_str().unwrap()));
        }
    }
    totals.retain(|_, total| *total != 0);
    totals
}

fn range() -> [String; 2] {
    [Month::before_today(2).to_string(), Month::before_today(1).next().to_string()]
}

fn simulate(client: &Client, policy: &Value, card: &str) -> Value {
    let [from, to] = range();
    let mut request = json!({ "policy": policy, "from": from, "to": to });
    if !card.is_empty() {
        request["rate_card"] = card.into();
    }
    client.post("/v1/simulations", &request).ok(200).json()
}

#[track_caller]
fn assert_ties(outcome: &Value) {
    assert_eq!(outcome["ties"], true, "{outcome}");
    let teams = outcome["teams"].as_array().unwrap();
    let totals = &outcome["totals"];
    for field in ["old", "new", "difference"] {
        assert_eq!(sum(teams, field), pico(totals[field].as_str().unwrap()), "{field}");
        for row in teams.iter().chain([totals]) {
            let causes: Vec<&Value> = row["causes"].as_object().unwrap().values().collect();
            assert_eq!(sum(causes, field), pico(row[field].as_str().unwrap()), "{field} of {row}");
            assert_eq!(sum(row["months"].as_array().unwrap(), field), pico(row[field].as_str().unwrap()), "{row}");
        }
    }
    let accounts = &outcome["accounts"];
    let term = |name: &str| pico(accounts[name]["difference"].as_str().unwrap());
    let borne = pico(totals["difference"].as_str().unwrap()) + term("unattributed") + term("unallocated");
    let caused = term("priced_cost") + term("markup") + term("absorbed") + term("carried_out") - term("carried_in");
    assert_eq!(borne, caused, "CLO-4: {accounts}");
}

/// CLO-4, CLO-5: what a simulation finds under other rules is what would have been issued under them, to the last picounit;
/// what it finds under those that held is what was issued. The months chain.
#[test]
fn clo_5_a_simulation_finds_what_would_have_been_issued() {
    let books = two_months(EVERYTHING, 60);
    let was = issued(&books);
    let (_server, client) = served(&books);
    let card = "[[prices]]\nprovider = \"example\"\nmodel = \"example-large\"\nfrom = \"2025-01-01\"\n\
        per_million = { input = \"2.00\", cache_read = \"0.20\", output = \"40.00\" }\n\
        [[agents]]\nid = \"guardrail\"\nshared_pool = \"\"\n[[people]]\nid = \"u3\"\nteam = \"gamma\"\n";
    let large = EVERYTHING.find("model = \"example-large\"").unwrap();
    let (head, tail) = EVERYTHING.split_at(large);
    let after = tail.find("[[prices]]").unwrap();
    let repriced = format!(
        "{head}model = \"example-large\"\nfrom = \"2025-01-01\"\n\
         per_million = {{ input = \"2.00\", cache_read = \"0.20\", output = \"40.00\" }}\n\
         [[people]]\nid = \"u3\"\nteam = \"gamma\"\n{}",
        &tail[after..]
    )
    .replace("owner = \"operations\"\nshared_pool = \"safety\"", "owner = \"operations\"");
    let cases = [
        (
            json!({ "variance": "absorb" }),
            "",
            EVERYTHING.replace("variance = \"settle\"", "variance = \"absorb\""),
            false,
        ),
        (
            json!({ "agents.resolver.billing": "time", "agents.resolver.billing_by_team": "{ gamma = \"task\" }" }),
            "",
            EVERYTHING.replace(
                "billing = \"task\"\nbilling_by_team = { gamma = \"token\", beta = \"time\" }",
                "billing = \"time\"\nbilling_by_team = { gamma = \"task\" }",
            ),
            true,
        ),
        (json!({}), card, repriced, true),
        (
            json!({ "pools.safety.basis": "tokens", "pools.index.method": "direct", "pools.memories.method": "direct",
                "pools.index.step": "", "pools.memories.step": "", "half_life_days": 2 }),
            "",
            EVERYTHING
                .replace("basis = \"invocations\"\ngroup = \"checks\"", "basis = \"tokens\"\ngroup = \"checks\"")
                .replace("method = \"step_down\"\nstep = 1", "method = \"direct\"")
                .replace("method = \"step_down\"\nstep = 2", "method = \"direct\"")
                .replace("half_life_days = 7", "half_life_days = 2"),
            false,
        ),
    ];
    for (policy, card, organisation, again) in cases {
        assert_ne!(organisation, EVERYTHING);
        let outcome = simulate(&client, &policy, card);
        assert_ties(&outcome);
        assert_eq!(outcome["attributed_again"], again, "{policy}");
        assert_eq!(side(&outcome, "old"), was, "{policy}: what held is what was issued");
        assert!(!outcome["notes"].to_string().contains("came late"), "{}", outcome["notes"]);
        let would_be = issued(&two_months(&organisation, 60));
        assert_eq!(side(&outcome, "new"), would_be, "{policy} {card}");
        assert_ne!(would_be, was, "{policy} changes something");
    }
}

/// Every row of the books but for what time alone brings to a folder that is served: leases that end, alerts that
/// are told, lists that a server completes when it starts.
fn rows(books: &Books) -> String {
    let program = "import sqlite3, sys\n\
        told = ('outbox', 'told', 'alerts-handed-over', 'deliveries', 'deliveries-due', 'delivery-outlets', 'weekly-reports', 'list/deliveries')\n\
        passing = [f'INSERT INTO \"books\" VALUES(\\'{name}\\'' for name in told + (\"state\\',\\'swept\", \"state\\',\\'adopted\")]\n\
        for line in sqlite3.connect(sys.argv[1]).iterdump():\n\
        \x20   if not line.startswith(tuple(passing)): print(line)";
    let ran = Command::new("python3").arg("-c").arg(program).arg(books.data().join("recoup.sqlite3")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// Every file of a folder with its bytes, but for those of the database.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && !entry.file_name().to_string_lossy().starts_with("recoup.sqlite3") {
                found.insert(entry.path().display().to_string(), std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// CLO-3: nothing is written, neither a figure nor a run; winners and losers are told apart, and one month has no volatility.
#[test]
fn clo_3_a_simulation_writes_nothing() {
    let books = two_months(EVERYTHING, 70);
    let (_server, client) = served(&books);
    let runs = client.rows("/v1/runs");
    let (before, figures) = (files(&books.data()), rows(&books));
    assert!(before.len() > 5 && figures.lines().count() > 50, "{:?}", before.keys());
    let policy = json!({ "agents.guardrail.shared_pool": "", "variance": "absorb" });
    let outcome = client.post("/v1/simulations", &json!({ "policy": policy, "months": 1 })).ok(200).json();
    assert_ties(&outcome);
    let both = simulate(&client, &policy, "");
    let started = client.post("/v1/simulations?wait=false", &json!({ "policy": policy })).ok(202).json();
    let path = format!("/v1/simulations/{}", started["run"].as_str().unwrap());
    let ended = loop {
        let now = client.json(&path);
        if now["state"] != "running" {
            break now;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert_eq!((&ended["state"], &ended["kind"]), (&json!("done"), &json!("simulation")), "{ended}");
    assert_eq!(ended["outcome"]["totals"], both["totals"], "three months are asked for, two there");
    assert_eq!(files(&books.data()), before, "every byte of the documents is what it was");
    assert_eq!(rows(&books), figures, "every row is what it was");
    assert_eq!(client.rows("/v1/runs"), runs);

    assert_eq!(outcome["periods"], json!([Month::before_today(1).to_string()]));
    let volatilities = |outcome: &Value| {
        let teams = outcome["teams"].as_array().unwrap().iter();
        teams.map(|team| team["volatility"]["old"].clone()).collect::<Vec<_>>()
    };
    assert!(volatilities(&outcome).iter().all(Value::is_null), "{outcome}");
    assert!(volatilities(&both).iter().any(|volatility| !volatility.is_null()), "{both}");
    let notes = outcome["notes"].to_string();
    assert!(notes.contains("a volatility needs two"), "{notes}");
    for (name, sign) in [("winners", -1), ("losers", 1)] {
        for team in outcome[name].as_array().unwrap() {
            let row = outcome["teams"].as_array().unwrap().iter().find(|row| row["team"] == *team).unwrap();
            assert_eq!(pico(row["difference"].as_str().unwrap()).signum(), sign, "{row}");
        }
    }
}

/// MON-1: the volatility of two months is half of what lies between them.
#[test]
fn mon_1_the_volatility_of_two_months_is_half_their_distance() {
    let books = two_months(EVERYTHING, 80);
    let (_server, client) = served(&books);
    let outcome = simulate(&client, &json!({ "variance": "settle" }), "");
    assert_eq!(outcome["changes"], json!([]), "that is what holds");
    for team in outcome["teams"].as_array().unwrap() {
        assert_eq!((&team["difference"], &team["outcome"]), (&json!("0"), &json!("same")), "{team}");
        let months: Vec<Pico> =
            team["months"].as_array().unwrap().iter().map(|month| pico(month["old"].as_str().unwrap())).collect();
        let twice = 2 * pico(team["volatility"]["old"].as_str().unwrap());
        assert!((twice - (months[0] - months[1]).abs()).abs() <= 1, "{team}");
    }
}

/// LED-4: what came late is counted in the month that it was used in; the note says by how much the close differs.
#[test]
fn led_4_late_events_are_counted_where_they_were_used() {
    let month = Month::before_today(1);
    let books = Books::of(EVERYTHING);
    let events = lines(&Traffic { seed: 91, first: month.first(), days: 12, traces: 5 }.events());
    let (late, punctual) = events.split_at(20);
    books.ingest(punctual).ended(0);
    let closed = books.close(month);
    books.ingest(late).ended(0);
    books.json(&["nightly", "--all"]);
    let outcome = books.json(&["simulate", "--policy", "variance=settle", "--months", "1"]);
    let cost = |totals: &Value| pico(totals.as_str().unwrap());
    let now = cost(&outcome["accounts"]["priced_cost"]["old"]);
    assert!(now > cost(&closed["totals"]["priced_cost"]), "{outcome}");
    assert_eq!(outcome["totals"]["difference"], "0", "the same rules over the same events");
    assert!(outcome["notes"].to_string().contains("with what came late, for it"), "{}", outcome["notes"]);
}

/// What cannot be simulated is refused in words, before anything is replayed; the command line says it too.
#[test]
fn what_cannot_be_simulated_is_refused_in_words() {
    let books = two_months(EVERYTHING, 100);
    let card = books.write("card.toml", "[[agents]]\nid = \"resolver\"\nbilling = \"hours\"\n");
    let card = card.to_str().unwrap();
    let refused = |arguments: &[&str]| books.run(&[&["simulate"], arguments].concat()).ended(2).said();
    let far = Month::before_today(9).to_string();
    for (arguments, expected) in [
        (&[][..], "--rate-card <FILE>|--policy <KEY=VALUE>"),
        (&["--policy", "billing=task"], "policy.billing: unknown key; known here:"),
        (&["--policy", "billing=task"], "you can set a key of [policy], or teams.ID.KEY, agents.ID.KEY, pools.ID.KEY"),
        (&["--policy", "variance=absord"], "policy.variance: `absord` is not known here; did you mean `absorb`?"),
        (
            &["--policy", "agents.nobody.billing=time"],
            "there is no `nobody` in [[agents]]; declared: caller, formatter",
        ),
        (&["--policy", "pools.safety.basis=hope"], "pools.safety.basis: `hope` is not known here; write direct_cost"),
        (&["--policy", "pools.safety.basis=fixed"], "pools.safety.percent: missing"),
        (&["--policy", "half_life_days=0"], "write a whole number from 1 to 3650"),
        (&["--policy", "lanes=2"], "`policy.lanes` cannot be simulated: lanes are fixed when the event log is created"),
        (&["--policy", "variance"], "write KEY=VALUE"),
        (&["--policy", "variance=carry", "--policy", "variance=absorb"], "given twice"),
        (&["--policy", "variance=carry", "--months", "0"], "0 months; write 1 or more"),
        (&["--policy", "variance=carry", "--months", "25"], "25 months; write at most 24"),
        (&["--policy", "variance=carry", "--from", &far, "--to", &range()[0]], "has no figures"),
        (&["--policy", "variance=carry", "--from", &range()[1], "--to", &range()[0]], "`to` has to lie after `from`"),
        (&["--rate-card", card], "agents.resolver.billing: `hours` is not known here; write token, task or time"),
        (&["--rate-card", "no-such-file.toml"], "no-such-file.toml"),
    ] {
        let said = refused(arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    let (_server, client) = served(&books);
    let many: serde_json::Map<String, Value> = (0..101).map(|n| (format!("key{n}"), json!("1"))).collect();
    client.post("/v1/simulations", &json!({ "policy": many })).ok(413);
    for wrong in
        [json!({ "polisy": {} }), json!({ "policy": {}, "months": 3, "from": "2026-01", "to": "2026-02" }), json!([])]
    {
        let problem = client.post("/v1/simulations", &wrong).ok(400).json();
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 20), "{problem}");
    }
}

/// A lead simulates for the own team only; what others pay is not in the answer. The same through `--server`.
#[test]
fn a_lead_sees_the_own_team_only() {
    let books = two_months(EVERYTHING, 110);
    let (server, client) = served(&books);
    let policy = json!({ "policy": { "variance": "absorb" } });
    let whole = client.post("/v1/simulations", &policy).ok(200).json();
    let lead = server.client(&books.key("lead", Some("beta")));
    let own = lead.post("/v1/simulations", &policy).ok(200).json();
    let row = |outcome: &Value| {
        outcome["teams"].as_array().unwrap().iter().find(|row| row["team"] == "beta").unwrap().clone()
    };
    assert_eq!(own["teams"], json!([row(&whole)]));
    assert_eq!(own["totals"]["difference"], row(&whole)["difference"]);
    let text = own.to_string();
    assert!(!text.contains("alpha") && !text.contains("gamma") && own.get("accounts").is_none(), "{text}");
    let unknown =
        lead.post("/v1/simulations", &json!({ "policy": { "agents.nobody.billing": "time" } })).ok(400).text();
    assert!(!unknown.contains("declared"), "which agents there are is not told: {unknown}");
    let told = |outcome: &Value| outcome["changes"][0].clone();
    assert_eq!((&told(&whole)["before"], &told(&whole)["after"]), (&json!("settle"), &json!("absorb")));
    assert_eq!((&told(&own)["before"], &told(&own)["after"]), (&Value::Null, &json!("absorb")));
    // What another team's agent costs, moved onto the own team, would be told by the difference.
    let leak = "[[pools]]\nid = \"leak\"\nbasis = \"fixed\"\npercent = { beta = \"100\" }\n";
    let refused = lead.post("/v1/simulations", &json!({ "rate_card": leak })).ok(403).text();
    assert!(refused.contains("decides on more than one team"), "{refused}");
    client.post("/v1/simulations", &json!({ "rate_card": leak })).ok(200);
    for role in ["viewer", "ingest"] {
        let key = books.key(role, Some("beta"));
        server.client(&key).post("/v1/simulations", &policy).ok(403);
    }
    let run = lead.post("/v1/simulations?wait=false", &policy).ok(202).json()["run"].as_str().unwrap().to_owned();
    let other = server.client(&books.key("lead", Some("gamma")));
    other.get(&format!("/v1/simulations/{run}")).ok(404);
    lead.get(&format!("/v1/simulations/{run}")).ok(200);
    let key = books.key("lead", Some("beta"));
    let ran = std::process::Command::new(recoup_binary())
        .args(["--server", server.url(), "--key", &key, "--json", "simulate", "--policy", "variance=absorb"])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let through: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(through["teams"], own["teams"]);
}

/// Between a change and the next night, what the nights hold is of before it: both sides are made as of now.
#[test]
fn prc_7_a_change_that_no_night_has_taken_up_is_in_both_sides() {
    let organisation = |team: &str| {
        format!(
            "[organisation]\nname = \"S\"\ncurrency = \"USD\"\ntime_zone = \"Europe/Berlin\"\n\
             [[teams]]\nid = \"alpha\"\n[[teams]]\nid = \"beta\"\n[[people]]\nid = \"ada\"\nteam = \"{team}\"\n\
             [[prices]]\nprovider = \"ex\"\nmodel = \"m\"\nfrom = \"2025-01-01\"\nper_million = {{ input = \"3\" }}\n"
        )
    };
    let month = Month::before_today(1);
    let books = Books::of(&organisation("alpha"));
    let event = json!({ "event_id": "e", "used_at": noon(month.day(10)), "kind": "llm", "provider": "ex", "model": "m",
                        "usage": { "input": 1_000_000 }, "tags": { "agent": "a", "user": "ada" } });
    books.ingest(&[event.to_string()]).ended(0);
    books.json(&["nightly", "--all"]);
    books.apply(&organisation("beta"), &["--effective", &month.day(5).to_string(), "--yes"]).ended(0);
    let (_server, client) = served(&books);
    let unused =
        "[[prices]]\nprovider = \"ex\"\nmodel = \"unused\"\nfrom = \"2025-01-01\"\nper_million = { input = \"1\" }\n";
    for is_stale in [true, false] {
        let request = json!({ "rate_card": unused, "from": month.to_string(), "to": month.next().to_string() });
        let outcome = client.post("/v1/simulations", &request).ok(200).json();
        assert_eq!(outcome["attributed_again"], true, "{outcome}");
        let key = |team: &str| (month.to_string(), team.to_owned());
        assert_eq!(side(&outcome, "new"), BTreeMap::from([(key("beta"), pico("3"))]), "{is_stale}: {outcome}");
        assert_eq!(side(&outcome, "old"), side(&outcome, "new"), "{is_stale}: {outcome}");
        client.nightly();
    }
}
