//! A pool's page: what went in, by what it was divided, who bears it.

use std::collections::BTreeMap;

use recoup_suite::{Books, EVERYTHING, Month, Pico, Traffic, large_call, lines, noon, pico, sum};
use serde_json::{Value, json};

fn month() -> Month {
    Month::before_today(1)
}

fn closed() -> Books {
    let books = Books::of(EVERYTHING);
    let days = u64::try_from(month().days().len()).unwrap();
    books.ingest(&lines(&Traffic { seed: 170, first: month().first(), days, traces: 4 }.events())).ended(0);
    books.close(month());
    books
}

fn amount(value: &Value) -> Pico {
    pico(value.as_str().unwrap_or_else(|| panic!("{value} is no amount")))
}

/// POOL-1, POOL-2, POOL-3, POOL-5: cost in is the cost of the shared agents and the bills, and the parts are the whole.
#[test]
fn pool_3_a_page_ties_from_cost_in_to_parts_out() {
    let books = closed();
    let server = books.serve();
    let client = server.client(&books.key("finance", None));
    let pools = client.rows(&format!("/v1/pools?period={}", month()));
    assert!(pools.len() >= 6, "{pools:?}");
    let range = format!("from={}&to={}", month().first(), month().next().first());
    let by_agent: BTreeMap<String, Pico> = client
        .rows(&format!("/v1/costs?{range}&group_by=agent"))
        .iter()
        .map(|row| (row["agent"].as_str().unwrap_or("-").to_owned(), amount(&row["cost"])))
        .collect();
    for pool in &pools {
        assert_eq!(pool["ties"], true, "{pool}");
        let cost_in = &pool["cost_in"];
        let agents = cost_in["agents"].as_array().unwrap();
        for agent in agents {
            assert_eq!(amount(&agent["cost"]), by_agent[agent["agent"].as_str().unwrap()], "{pool}");
            assert_eq!(agent["owner"], "operations");
        }
        let own =
            sum(agents, "cost") + sum(cost_in["bills"].as_array().unwrap(), "cost") + amount(&cost_in["unattributed"]);
        assert_eq!(own, amount(&pool["own_cost"]), "{pool}");
        let bearers: Vec<&Value> =
            pool["consumers"].as_array().unwrap().iter().filter(|one| !one["amount"].is_null()).collect();
        assert_eq!(sum(bearers, "amount"), amount(&pool["borne"]), "{pool}");
        let group: Vec<&Value> = pools.iter().filter(|other| other["group"] == pool["group"]).collect();
        assert_eq!(sum(group.iter().copied(), "borne"), sum(group.iter().copied(), "own_cost"), "POOL-3: {pool}");
    }
    let named = |name: &str| pools.iter().find(|pool| pool["pool"] == name).unwrap();
    let tracing = &named("tracing")["cost_in"]["bills"][0];
    let days = month().days().len();
    assert_eq!(tracing["arithmetic"], format!("310 USD x {days} of {days} days = 310"), "{tracing}");
    let line = &named("entrance")["cost_in"]["bills"][0];
    assert_eq!(amount(&line["cost"]), 20 * pico("1.085"), "MON-4: {line}");
    assert!(line["arithmetic"].as_str().unwrap().contains("sum of the rates"), "{line}");
    let passed = named("safety")["cost_in"]["pools"].as_array().unwrap();
    assert!(passed.iter().any(|from| from["pool"] == "formatting" && amount(&from["cost"]) > 0), "{passed:?}");
    let one = client.rows(&format!("/v1/pools?period={}&pool=safety", month()));
    assert_eq!(one, [named("safety").clone()]);
    client.get(&format!("/v1/pools?period={}&pool=nothing", month())).ok(404);
    server.client(&books.key("viewer", Some("alpha"))).get(&format!("/v1/pools?period={}", month())).ok(403);
}

/// LED-4: the page of a closed month stays what it was closed with, whatever comes late.
#[test]
fn led_4_the_page_of_a_closed_month_does_not_change() {
    let books = closed();
    let period = month().to_string();
    let before = books.json(&["pools", &period]);
    let mut late = large_call("late", "late", &noon(month().day(9)), "alpha");
    late.insert("tags".into(), json!({ "team": "alpha", "agent": "guardrail" }));
    books.ingest(&lines(&[late])).ended(0);
    let night = books.json(&["nightly", "--all"]);
    assert_eq!(night["days"].as_array().unwrap().len(), 1, "{night}");
    assert_eq!(books.json(&["pools", &period]), before);
}

/// The command line shows all pools, or one with its parts, of the newest month where none is named.
#[test]
fn pool_1_the_command_line_shows_a_pool() {
    let books = closed();
    let period = month().to_string();
    let all = books.run(&["pools"]).ended(0).stdout;
    assert!(all.starts_with(&format!("pools of {period}\n")) && all.contains("reciprocal"), "{all}");
    let page = books.run(&["pools", &period, "index"]).ended(0).stdout;
    for expected in
        ["group knowledge, method step_down, divided by duration", "cost in", "search", "part of", "it ties"]
    {
        assert!(page.contains(expected), "{expected} is not in\n{page}");
    }
    let said = books.run(&["pools", &period, "nothing"]).ended(2).said();
    assert!(said.contains("`nothing` had no cost") && said.contains("safety"), "{said}");
    let said = books.run(&["pools", &Month::before_today(9).to_string()]).ended(2).said();
    assert!(said.contains("nightly"), "{said}");
    let said = Books::of(EVERYTHING).run(&["pools"]).ended(2).said();
    assert!(said.contains("recoup nightly"), "{said}");
}
