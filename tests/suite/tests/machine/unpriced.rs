//! RAT-2: what has no price is kept, counted and shown, and is rated when a price arrives.

use recoup_suite::{Books, Client, Month, SMALL, large_call, lines, noon, pico};
use serde_json::{Value, json};

const MODEL: &str = "nobody-priced-this";

fn books_with_unpriced_events() -> Books {
    let books = Books::of(SMALL);
    let month = Month::before_today(1);
    let call = |id: &str, day: u32, team: &str| {
        let mut event = large_call(id, id, &noon(month.day(day)), team);
        event.insert("model".into(), MODEL.into());
        event
    };
    let priced = large_call("priced", "priced", &noon(month.day(20)), "support");
    let events = [call("a", 3, "support"), call("b", 9, "support"), call("c", 9, "marketing"), priced];
    books.ingest(&lines(&events)).ended(0);
    books
}

fn range() -> String {
    let month = Month::before_today(1);
    format!("from={}&to={}", month.first(), month.next().first())
}

fn total_cost(client: &Client) -> i128 {
    pico(client.json(&format!("/v1/costs?{}", range()))["total"]["cost"].as_str().unwrap())
}

#[track_caller]
fn rerun_days(outcome: &Value) -> Vec<(String, String)> {
    let text = |day: &Value, name: &str| day[name].as_str().unwrap().to_owned();
    outcome["days"].as_array().unwrap().iter().map(|day| (text(day, "day"), text(day, "reason"))).collect()
}

#[track_caller]
fn assert_visible(client: &Client) {
    let unpriced = client.json(&format!("/v1/unpriced?{}", range()));
    assert_eq!(unpriced["total"]["events"], 3, "{unpriced}");
    let rows = unpriced["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["model"] == MODEL && row["provider"] == "example"), "{unpriced}");
    assert_eq!(total_cost(client), pico("0.0045"), "nothing is made up");
    // Beside every sum stands how many events it lacks.
    let by_model = client.json(&format!("/v1/costs?{}&group_by=model,team,user", range()));
    assert_eq!(by_model["total"]["unpriced"], 3, "{by_model}");
    for row in by_model["rows"].as_array().unwrap() {
        let lacks = if row["model"] == MODEL { row["events"].clone() } else { json!(0) };
        assert_eq!(row["unpriced"], lacks, "{row}");
    }
    let events = client.rows(&format!("/v1/events?{}", range()));
    for event in &events {
        let (exclusive, unpriced) = (&event["recoup"]["exclusive"], &event["recoup"]["unpriced"]);
        match event["model"] == MODEL {
            true => assert_eq!((exclusive, unpriced), (&Value::Null, &json!("unknown_model")), "not zero: {event}"),
            false => assert_eq!((exclusive, unpriced), (&json!("0.0045"), &Value::Null), "{event}"),
        }
    }
    let findings = client.rows(&format!("/v1/findings?{}&kind=unpriced", range()));
    let says = |finding: &Value| finding["detail"].as_str().unwrap().to_owned();
    assert!(
        findings.iter().map(says).all(|detail| detail.starts_with(&format!("no price of `example/{MODEL}` holds on"))),
        "{findings:?}"
    );
}

/// RAT-2: visible everywhere; the organisation file then prices it, and its days are run again.
#[test]
fn rat_2_an_unpriced_model_is_visible_until_the_organisation_prices_it() {
    let books = books_with_unpriced_events();
    let month = Month::before_today(1);
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    client.nightly();
    assert_visible(&client);
    let plan =
        client.run(&json!({ "kind": "close", "period": month.to_string(), "plan": true, "as_of": month.closable() }));
    assert_eq!(plan["blocking"], 0, "{plan}");
    let told = plan["findings"].as_array().unwrap().iter().find(|finding| finding["kind"] == "unpriced").unwrap();
    assert!(told["detail"].as_str().unwrap().starts_with("3 events or bills have no price"), "{told}");
    let costs = books.run(&["costs", "--month", &month.to_string(), "--by", "model"]).ended(0).said();
    assert!(costs.contains("3 of these events have no price"), "{costs}");

    let price = format!(
        "\n[[prices]]\nprovider = \"example\"\nmodel = \"{MODEL}\"\nfrom = \"2025-01-01\"\nper_million = {{ input = \"1.00\", output = \"2.00\" }}\n"
    );
    let first = month.first().to_string();
    let late = books.apply(&format!("{SMALL}{price}"), &["--dry-run"]).ended(0).json();
    let notice = late["notices"].to_string();
    assert!(notice.contains(MODEL) && notice.contains("--effective 2025-01-01"), "{notice}");
    let applied = books.apply(&format!("{SMALL}{price}"), &["--effective", &first]).ended(0).json();
    assert!(applied["notices"].to_string().contains("price nothing before that day"), "{applied}");
    let outcome = client.nightly();
    let rerun = rerun_days(&outcome);
    for day in [3, 9] {
        assert!(rerun.iter().any(|(run, _)| *run == month.day(day).to_string()), "{outcome}");
    }
    assert!(rerun.iter().all(|(_, reason)| reason.contains("organisation") || reason.contains("price")), "{outcome}");
    // 1,000 in at 1 and 100 out at 2 dollars per million: 0.0012 each.
    assert_eq!(total_cost(&client), pico("0.0045") + 3 * pico("0.0012"));
    assert_eq!(client.json(&format!("/v1/unpriced?{}", range()))["total"]["events"], 0);
    assert_eq!(rerun_days(&client.nightly()), []);
}

/// RAT-2: an imported price list does the same, for exactly the days that used the model.
#[test]
fn rat_2_an_imported_price_rates_exactly_the_days_that_lacked_it() {
    let books = books_with_unpriced_events();
    let month = Month::before_today(1);
    let server = books.serve();
    let client = server.client(&books.key("admin", None));
    client.nightly();
    assert_visible(&client);
    let list = json!({ MODEL: {
        "litellm_provider": "example", "mode": "chat",
        "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6,
    }});
    let file = books.write("prices.json", list.to_string());
    let from = month.first().to_string();
    let imported = books.json(&["prices", "import", file.to_str().unwrap(), "--source", "a test", "--from", &from]);
    assert_eq!(imported["entries"], 1, "{imported}");
    let outcome = client.nightly();
    let days: Vec<_> = rerun_days(&outcome).into_iter().map(|(day, _)| day).collect();
    assert_eq!(days, [3, 9].map(|day| month.day(day).to_string()), "{outcome}");
    assert!(
        rerun_days(&outcome).iter().all(|(_, reason)| reason.contains("price") && reason.contains(MODEL)),
        "{outcome}"
    );
    assert_eq!(total_cost(&client), pico("0.0045") + 3 * pico("0.0012"));
}

/// RAT-2, CLO-2: a statement says how many events it could not price.
#[test]
fn rat_2_a_statement_counts_its_unpriced_events() {
    let books = books_with_unpriced_events();
    let month = Month::before_today(1);
    books.close(month);
    for (team, events) in [("support", 2), ("marketing", 1)] {
        let statement: Value = serde_json::from_slice(&books.statement_bytes(month, team)).unwrap();
        assert_eq!(statement["unpriced_events"], events, "{statement}");
        assert!(statement["notes"].to_string().contains("no price"), "{statement}");
    }
}

/// RAT-1: a newer list replaces what an older one said, from the day on which its price begins, and nights notice.
#[test]
fn rat_1_a_newer_imported_price_holds_from_its_day() {
    let books = books_with_unpriced_events();
    let month = Month::before_today(1);
    let import = |name: &str, from: u32, input: f64| {
        let list = json!({ MODEL: {
            "litellm_provider": "example", "mode": "chat", "input_cost_per_token": input, "output_cost_per_token": 0,
        }});
        let file = books.write(name, list.to_string());
        let from = month.day(from).to_string();
        books.json(&["prices", "import", file.to_str().unwrap(), "--source", "a test", "--from", &from])
    };
    import("first.json", 1, 1e-6);
    let cost = || {
        let costs = books.json(&["costs", "--month", &month.to_string(), "--by", "day"]);
        let of = |day: u32| {
            let day = month.day(day).to_string();
            let rows = costs["rows"].as_array().unwrap().iter();
            rows.filter(|row| row["day"] == *day).map(|row| pico(row["cost"].as_str().unwrap())).sum::<i128>()
        };
        [of(3), of(9)]
    };
    books.json(&["nightly", "--all"]);
    // One call on the 3rd and two on the 9th, of 1,000 tokens each.
    assert_eq!(cost(), [pico("0.001"), pico("0.002")]);
    import("second.json", 9, 5e-6);
    books.json(&["nightly", "--all"]);
    assert_eq!(cost(), [pico("0.001"), pico("0.01")], "the list of the 9th holds from the 9th on");
    import("third.json", 9, 7e-6);
    books.json(&["nightly", "--all"]);
    assert_eq!(cost(), [pico("0.001"), pico("0.014")], "of two from the same day the later one");
    // A list that comes after the close prices nothing again (LED-4).
    let closed = books.close(month);
    assert_eq!(pico(closed["totals"]["priced_cost"].as_str().unwrap()), pico("0.0195"), "{closed}");
    import("fourth.json", 1, 9e-6);
    books.json(&["nightly", "--all"]);
    let verified = books.json(&["verify", books.statement_path(month, "support").to_str().unwrap()]);
    assert_eq!(verified["holds"], true, "{verified}");
    assert_eq!(cost(), [pico("0.001"), pico("0.014")]);
    let actions = books.json(&["audit"]);
    let of = |action: &str| actions["rows"].as_array().unwrap().iter().filter(|row| row["action"] == action).count();
    assert_eq!((of("prices-imported"), of("close-started")), (4, 1), "{actions}");
}
