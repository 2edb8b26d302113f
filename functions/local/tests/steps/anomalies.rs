//! ANO-1 to ANO-4: what the nights make of tasks and days that cost far more than those before, who is told, forecasts of
//! budgets, and the report of the week.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use chrono::{Datelike, NaiveDate};
use recoup_http::{Access, InProcess, router};
use recoup_model::Tags;
use recoup_money::Amount;
use recoup_store::Alert;
use recoup_workflows::nightly::Through;
use recoup_workflows::queries::{DayRange, Paging};
use recoup_workflows::{App, Principal, Role};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::stage::Stage;

const ORGANISATION: &str = r#"
[organisation]
name = "Anomalies"
currency = "USD"
time_zone = "Europe/Berlin"
[policy]
lanes = 1
[[teams]]
id = "support"
[[teams]]
id = "marketing"
[[teams]]
id = "legal"
[[agents]]
id = "triage"
owner = "support"
[[prices]]
provider = "example"
model = "known"
from = "2026-01-01"
per_million = { input = "3.00" }
"#;

/// The day before the stage's now, which is 2026-11-10.
const YESTERDAY: &str = "2026-11-09";

struct Task<'a> {
    trace: String,
    day: &'a str,
    hour: u32,
    team: &'a str,
    calls: usize,
    tokens: u64,
}

/// A task of `triage` that ends at half past a UTC hour.
fn task<'a>(trace: &str, day: &'a str, calls: usize, tokens: u64) -> Task<'a> {
    Task { trace: trace.to_owned(), day, hour: 12, team: "support", calls, tokens }
}

impl Task<'_> {
    fn call(&self, number: usize) -> Value {
        json!({
            "trace_id": self.trace, "event_id": format!("c{number}"), "parent_id": "root", "kind": "llm",
            "used_at": format!("{}T{:02}:{:02}:00Z", self.day, self.hour, number % 30),
            "provider": "example", "model": "known", "usage": { "input": self.tokens },
        })
    }

    fn events(&self) -> Vec<Value> {
        let root = json!({
            "trace_id": self.trace, "event_id": "root", "kind": "agent", "status": "ok",
            "used_at": format!("{}T{:02}:30:00Z", self.day, self.hour),
            "tags": { "team": self.team, "agent": "triage", "task_type": "ticket" },
        });
        (0..self.calls).map(|number| self.call(number)).chain([root]).collect()
    }
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

async fn stage(more: &str) -> (Stage, Arc<App>) {
    let stage = Stage::bare();
    let app = stage.alone();
    app.apply_organisation(&format!("{ORGANISATION}{more}"), None, false).await.unwrap();
    (stage, app)
}

async fn ingest(stage: &Stage, app: &App, tasks: &[Task<'_>]) {
    let events: Vec<Value> = tasks.iter().flat_map(Task::events).collect();
    stage.ingest(app, &events).await;
}

/// Four tasks of two calls on each of the seven days before yesterday, about 0.60 USD each.
async fn usual_week(stage: &Stage, app: &App) {
    for of_november in 2..=8 {
        let day = format!("2026-11-{of_november:02}");
        let tasks: Vec<_> = (0..4_u64)
            .map(|number| task(&format!("u{of_november}-{number}"), &day, 2, 99_000 + 500 * number + of_november))
            .collect();
        ingest(stage, app, &tasks).await;
    }
}

async fn night(app: &Arc<App>) -> Value {
    app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::Yesterday).await.unwrap()
}

async fn anomalies(app: &App, kind: Option<&str>) -> (Vec<Value>, Value) {
    let range = DayRange::new(day("2026-10-01"), day("2026-12-01")).unwrap();
    let all = Paging { skip: 0, limit: 1_000 };
    let rows = app.anomalies(&Principal::operator(), range, (None, kind), all).await.unwrap();
    (rows.rows, rows.total.unwrap())
}

fn told(stage: &Stage, kind: &str) -> Vec<Alert> {
    stage.topic.told().into_iter().filter(|alert| alert.attributes["kind"] == kind).collect()
}

fn notice(alert: &Alert) -> Value {
    serde_json::from_str::<Value>(&alert.json).unwrap()["notice"].clone()
}

fn fact<'a>(notice: &'a Value, label: &str) -> Option<&'a str> {
    notice["facts"].as_array().unwrap().iter().find(|fact| fact["label"] == label)?["value"].as_str()
}

fn amount(value: &Value) -> Amount {
    value.as_str().unwrap().parse().unwrap()
}

/// ANO-3: the parts of an excess sum to it, and the excess is what it says.
#[track_caller]
fn assert_adds_up(row: &Value) {
    let parts = row["causes"].as_object().unwrap().values().map(amount);
    assert_eq!(Amount::checked_sum(parts).unwrap(), amount(&row["excess"]), "{row}");
    let excess = amount(&row["actual"]).checked_sub(amount(&row["mean"])).unwrap();
    assert_eq!(excess, amount(&row["excess"]), "{row}");
}

#[tokio::test]
async fn ano_1_a_runaway_task_among_usual_ones_alerts_alone_and_once() {
    let (stage, app) = stage("").await;
    usual_week(&stage, &app).await;
    ingest(&stage, &app, &[task("usual", YESTERDAY, 2, 100_000), task("runaway", YESTERDAY, 40, 100_000)]).await;
    night(&app).await;
    let (rows, total) = anomalies(&app, Some("task")).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!((&row["trace_id"], &row["alert"], &row["hour"]), (&json!("runaway"), &json!("alone"), &json!(13)));
    assert_eq!((&row["actual"], &row["cause"]), (&json!("12"), &json!("calls_per_task")));
    assert_eq!(row["baseline"], json!({ "days": 7, "tasks": 28 }));
    assert_adds_up(row);
    assert_eq!((&total["tasks"], &total["days"]), (&json!(1), &json!(1)), "the day as well");
    let alone = told(&stage, "task-anomaly");
    assert_eq!(alone.len(), 1);
    assert_eq!(
        (alone[0].attributes["team"].as_str(), alone[0].attributes["scope"].as_str()),
        ("support", "agent:triage")
    );
    let notice = notice(&alone[0]);
    let summary = notice["summary"].as_str().unwrap();
    assert!(summary.contains("cost 12.00 USD") && summary.contains("x because of calls per task"), "{summary}");
    assert_eq!(notice["audience"], json!(["lead"]));
    assert!(alone[0].text.contains("recoup trace runaway"), "{}", alone[0].text);
    assert!(told(&stage, "hour-anomalies").is_empty());

    app.watch_time().await.unwrap();
    let before = stage.topic.ids();
    for app in [stage.alone(), stage.process()] {
        night(&app).await;
        app.watch_time().await.unwrap();
    }
    assert_eq!(stage.topic.ids(), before, "a night that has nothing to do tells nothing");

    let late = task("runaway", YESTERDAY, 40, 100_000).call(41);
    stage.ingest(&app, &[late]).await;
    let outcome = night(&app).await;
    assert_eq!(outcome["days"].as_array().unwrap().len(), 1);
    let (rows, _) = anomalies(&app, Some("task")).await;
    assert_eq!((rows.len(), &rows[0]["actual"]), (1, &json!("12.3")), "judged again with the late event");
    assert_adds_up(&rows[0]);
    assert_eq!(stage.topic.ids(), before, "and not told again");
}

#[tokio::test]
async fn ano_1_a_late_event_judges_the_days_again_whose_baseline_it_changes() {
    let (stage, app) = stage("").await;
    usual_week(&stage, &app).await;
    ingest(&stage, &app, &[task("dear", YESTERDAY, 8, 100_000)]).await;
    night(&app).await;
    assert_eq!(anomalies(&app, Some("task")).await.0.len(), 1, "2.40 is more than three times 0.60");
    let more: Vec<Task<'_>> = (0..8).map(|number| task(&format!("l{number}"), "2026-11-04", 2, 500_000)).collect();
    ingest(&stage, &app, &more).await;
    night(&app).await;
    let (rows, _) = anomalies(&app, Some("task")).await;
    assert!(rows.iter().all(|row| row["trace_id"] != "dear"), "against a mean of 1.13 it is usual: {rows:?}");
}

#[tokio::test]
async fn ano_1_a_mild_one_lands_in_the_digest_of_its_hour() {
    let (stage, app) = stage("").await;
    for of_november in 2..=8 {
        let day = format!("2026-11-{of_november:02}");
        let dear = if of_november <= 4 { 2_000_000 } else { 100_000 };
        let mut tasks: Vec<_> =
            (0..3).map(|number| task(&format!("u{of_november}-{number}"), &day, 1, 100_000)).collect();
        tasks.push(task(&format!("u{of_november}-dear"), &day, 1, dear));
        ingest(&stage, &app, &tasks).await;
    }
    let mild = |trace: &str, hour: u32, tokens| Task { hour, ..task(trace, YESTERDAY, 1, tokens) };
    let usual = task("usual", YESTERDAY, 1, 100_000);
    ingest(&stage, &app, &[mild("a", 9, 1_300_000), mild("b", 9, 1_400_000), mild("c", 10, 1_300_000), usual]).await;
    night(&app).await;
    assert!(told(&stage, "task-anomaly").is_empty());
    let hours = told(&stage, "hour-anomalies");
    assert_eq!(hours.len(), 2, "one for each hour");
    let first = notice(&hours[0]);
    assert_eq!((fact(&first, "Tasks"), fact(&first, "Cost")), (Some("2"), Some("8.10 USD")));
    assert_eq!(fact(&first, "Hour"), Some("2026-11-09, hour 10"), "local time");
    assert_eq!(fact(&first, "Dearest tasks"), Some("b (4.20 USD), a (3.90 USD)"));
    assert!(first["summary"].as_str().unwrap().contains("tokens per call"), "{first}");
    let (rows, _) = anomalies(&app, Some("task")).await;
    assert_eq!(rows.iter().map(|row| row["alert"].as_str().unwrap()).collect::<Vec<_>>(), ["hour"; 3]);
    rows.iter().for_each(assert_adds_up);
}

#[tokio::test]
async fn ano_1_more_tasks_than_a_night_keeps_are_all_recorded() {
    let (stage, app) = stage("").await;
    usual_week(&stage, &app).await;
    let tasks: Vec<Task<'_>> = (0..80).map(|number| task(&format!("r{number}"), YESTERDAY, 1, 1_000_000)).collect();
    ingest(&stage, &app, &tasks).await;
    night(&app).await;
    let (rows, total) = anomalies(&app, Some("task")).await;
    assert_eq!((rows.len(), &total["tasks"]), (80, &json!(80)));
    rows.iter().for_each(assert_adds_up);
}

#[tokio::test]
async fn ano_2_a_day_of_twice_the_calls_is_an_anomaly_and_says_so() {
    let (stage, app) = stage("").await;
    usual_week(&stage, &app).await;
    let tasks: Vec<Task<'_>> =
        (0..4_u64).map(|number| task(&format!("d{number}"), YESTERDAY, 4, 101_000 + 300 * number)).collect();
    ingest(&stage, &app, &tasks).await;
    night(&app).await;
    let (rows, _) = anomalies(&app, None).await;
    assert_eq!(rows.len(), 1, "no task of it is one: {rows:?}");
    let row = &rows[0];
    assert_eq!((&row["kind"], &row["day"], &row["tasks"]), (&json!("day"), &json!(YESTERDAY), &json!(4)));
    assert_eq!((&row["above_multiple"], &row["above_deviations"]), (&json!(false), &json!(true)));
    assert_eq!(row["cause"], "calls_per_task");
    assert!(amount(&row["causes"]["tokens_per_call"]).pico() > 0, "{row}");
    assert_adds_up(row);
    let days = told(&stage, "day-anomaly");
    assert_eq!(days.len(), 1);
    let notice = notice(&days[0]);
    assert!(notice["summary"].as_str().unwrap().contains("2.0x because of calls per task"), "{notice}");
    assert_eq!(notice["team"], "support");
}

#[tokio::test]
async fn ano_3_too_little_history_says_so_and_alerts_nobody() {
    let (stage, app) = stage("").await;
    ingest(&stage, &app, &[task("t1", "2026-11-08", 1, 1_000), task("t2", YESTERDAY, 40, 1_000_000)]).await;
    night(&app).await;
    assert_eq!(anomalies(&app, None).await.0, Vec::<Value>::new());
    let (rows, total) = anomalies(&app, Some("insufficient_history")).await;
    assert_eq!((rows.len(), &total["insufficient_history"]), (2, &json!(2)));
    assert_eq!(rows[1]["baseline"], json!({ "days": 1, "tasks": 1 }));
    assert!(stage.topic.ids().is_empty());
}

#[tokio::test]
async fn ano_2_a_day_that_is_not_over_and_days_long_past_alert_nobody() {
    let (stage, app) = stage("").await;
    usual_week(&stage, &app).await;
    ingest(&stage, &app, &[Task { hour: 7, ..task("today", "2026-11-10", 40, 100_000) }]).await;
    app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    assert_eq!(anomalies(&app, None).await.0, Vec::<Value>::new());
    stage.clock.pass_minutes(30 * 24 * 60);
    night(&app).await;
    let (rows, _) = anomalies(&app, Some("task")).await;
    assert_eq!(rows.len(), 1, "recorded once the day is over");
    assert!(told(&stage, "task-anomaly").is_empty(), "nobody is told of a day a month ago");
}

/// What the team spends on a day, as its source reports.
fn spending(of: NaiveDate, amount: &str) -> Value {
    json!({
        "event_id": format!("s{of}"), "used_at": format!("{of}T10:00:00Z"), "kind": "tool",
        "tags": { "team": "support", "agent": "triage" }, "cost": { "amount": amount, "currency": "USD" },
    })
}

#[tokio::test]
async fn ano_4_a_forecast_follows_the_weekdays_with_a_range_and_respects_the_reset() {
    const BUDGETS: &str = "
[[budgets]]
scope = \"team:support\"
limit = \"200\"
[[budgets]]
scope = \"organisation\"
limit = \"80\"
[[budgets]]
scope = \"team:marketing\"
limit = \"10\"
";
    let (stage, app) = stage(BUDGETS).await;
    let mut events = Vec::new();
    for of in day("2026-10-12").iter_days().take_while(|of| *of < day("2026-11-10")) {
        let spent = match of.weekday().num_days_from_monday() {
            5 | 6 => "2",
            _ if of.iso_week().week() % 2 == 0 => "9",
            _ => "11",
        };
        events.push(spending(of, spent));
    }
    stage.ingest(&app, &events).await;
    let row = |rows: &[recoup_workflows::budgets::BudgetRow], scope: &str| {
        json!(rows.iter().find(|row| row.scope == scope).unwrap())
    };
    let before = app.budgets(&Principal::operator()).await.unwrap();
    assert_eq!(row(&before, "team:support")["forecast"], json!({ "state": "insufficient_history", "days_known": 0 }));
    night(&app).await;
    let rows = app.budgets(&Principal::operator()).await.unwrap();
    let support = row(&rows, "team:support");
    let forecast = &support["forecast"];
    // 70 until yesterday, 10 today, 14 weekdays of 10 and 6 days of 2 to come; nothing of October.
    assert_eq!((&support["posted"], &forecast["expected"]), (&json!("70"), &json!("232")));
    assert_eq!((&forecast["runs_out_on"], &forecast["days_left"]), (&json!("2026-11-26"), &json!(20)));
    assert_eq!(forecast["days_known"], 28);
    assert!(amount(&forecast["low"]) < amount(&forecast["expected"]), "{forecast}");
    assert!(amount(&forecast["high"]) > amount(&forecast["expected"]), "{forecast}");
    let marketing = row(&rows, "team:marketing");
    assert_eq!(
        (&marketing["forecast"]["expected"], &marketing["forecast"]["runs_out_on"]),
        (&json!("0"), &Value::Null)
    );

    let again = json!({ "event_id": "more", "used_at": "2026-11-10T07:30:00Z", "kind": "tool",
        "tags": { "team": "support", "agent": "triage" }, "cost": { "amount": "3", "currency": "USD" } });
    stage.ingest(&app, &[again]).await;
    let tiers = told(&stage, "budget-tier");
    let ninety = tiers.iter().find(|alert| alert.attributes["threshold"] == "90").unwrap();
    let notice = notice(ninety);
    assert!(fact(&notice, "Forecast").unwrap().starts_with("232.00 USD ("), "{notice}");
    assert_eq!(fact(&notice, "Runs out"), Some("2026-11-10"), "80 is the limit and 10 a usual Tuesday: {notice}");
}

/// The weeks that somebody was told of, in order.
fn weeks(stage: &Stage) -> Vec<String> {
    told(stage, "weekly-report").iter().map(|alert| alert.attributes["period"].clone()).collect()
}

#[tokio::test]
async fn the_report_of_the_week_comes_on_monday_in_the_organisations_zone_across_a_clock_change() {
    let budget = "
[[budgets]]
scope = \"team:support\"
limit = \"100\"
";
    let (stage, app) = stage(budget).await;
    // 2026-10-25T22:30:00Z: 23:30 on the Sunday on which the clocks went back.
    stage.clock.pass_minutes(-(15 * 24 * 60 + 570));
    let mut events: Vec<Value> = (12..=24).map(|of| spending(day(&format!("2026-10-{of}")), "3")).collect();
    let mut last = spending(day("2026-10-25"), "4");
    last["used_at"] = json!("2026-10-25T22:15:00Z");
    events.push(last);
    let unpriced = json!({ "event_id": "x", "used_at": "2026-10-20T10:00:00Z", "kind": "llm", "provider": "example",
        "model": "unheard-of", "usage": { "input": 5 }, "tags": { "team": "support", "agent": "other" } });
    events.push(unpriced);
    stage.ingest(&app, &events).await;
    app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    app.watch_time().await.unwrap();
    assert_eq!(weeks(&stage), ["2026-W42"], "on Sunday the week before is made up for, which nobody had looked at");
    stage.clock.pass_minutes(60);
    app.watch_time().await.unwrap();
    assert_eq!(weeks(&stage), ["2026-W42"], "no night has run on Monday");
    night(&app).await;
    for app in [app.clone(), stage.alone(), stage.process()] {
        app.watch_time().await.unwrap();
    }
    let reports = told(&stage, "weekly-report").split_off(1);
    assert_eq!(reports.len(), 1, "once, for the one team that spent something");
    assert_eq!(
        (reports[0].attributes["team"].as_str(), reports[0].attributes["period"].as_str()),
        ("support", "2026-W43")
    );
    let report = notice(&reports[0]);
    assert_eq!((fact(&report, "Cost"), fact(&report, "Week before")), (Some("22.00 USD"), Some("21.00 USD")));
    assert_eq!((fact(&report, "Change"), fact(&report, "Unpriced events")), (Some("+5%"), Some("1")));
    assert_eq!(fact(&report, "Budget team:support"), Some("43.00 USD of 100.00 USD, 43%, 2026-10"));
    assert!(fact(&report, "Forecast team:support").is_some(), "{report}");
    assert_eq!(report["table"]["rows"][0], json!(["triage", "22.00 USD", "21.00 USD", "+5%"]));
    assert_eq!(report["table"]["columns"].as_array().unwrap().len(), 4);

    // The Monday after that is missed, and made up for on Thursday; of weeks that nobody looked at only the last one.
    stage.clock.pass_minutes(10 * 24 * 60);
    let app = stage.process();
    app.watch_time().await.unwrap();
    assert_eq!(told(&stage, "weekly-report").len(), 2);
    night(&app).await;
    app.watch_time().await.unwrap();
    stage.clock.pass_minutes(14 * 24 * 60);
    night(&app).await;
    app.watch_time().await.unwrap();
    assert_eq!(weeks(&stage), ["2026-W42", "2026-W43", "2026-W44", "2026-W46"]);
}

async fn get(service: &Router, path: &str, key: &str) -> (StatusCode, Value) {
    let request = Request::builder().uri(path).header("authorization", format!("Bearer {key}"));
    let response = service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    (status, serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap())
}

#[tokio::test]
async fn ano_1_a_team_sees_the_agents_that_it_owns_and_the_tasks_that_it_pays_for() {
    let (stage, app) = stage("").await;
    usual_week(&stage, &app).await;
    let of_marketing = Task { team: "marketing", ..task("theirs", YESTERDAY, 40, 100_000) };
    ingest(&stage, &app, &[task("ours", YESTERDAY, 50, 100_000), of_marketing]).await;
    night(&app).await;
    let service = router(app.clone(), Access::Keys, Arc::new(InProcess::new(app.clone())));
    let key = async |role: Role, team: Option<&str>| {
        app.create_key(role, team.map(str::to_owned), Tags::default(), None).await.unwrap().key
    };
    let path = format!("/v1/anomalies?from={YESTERDAY}&to=2026-11-10");
    let traces = async |key: &str, more: &str| {
        let (status, answer) = get(&service, &format!("{path}{more}"), key).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let rows = answer["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| row["trace_id"].as_str().unwrap_or("day").to_owned()).collect::<Vec<_>>()
    };
    let finance = key(Role::Finance, None).await;
    assert_eq!(traces(&finance, "").await, ["day", "ours", "theirs"]);
    assert_eq!(traces(&finance, "&kind=task&limit=1").await, ["ours"]);
    assert_eq!(traces(&finance, "&agent=other").await, Vec::<String>::new());
    assert_eq!(traces(&key(Role::Viewer, Some("support")).await, "").await, ["day", "ours", "theirs"], "it owns it");
    assert_eq!(traces(&key(Role::Lead, Some("marketing")).await, "").await, ["theirs"]);
    assert_eq!(traces(&key(Role::Viewer, Some("legal")).await, "").await, Vec::<String>::new());
    let (status, _) = get(&service, &path, &key(Role::Ingest, Some("support")).await).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, answer) = get(&service, &format!("{path}&kind=odd"), &finance).await;
    assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!("kind")));
}

#[tokio::test]
async fn ano_1_what_a_night_has_no_time_for_is_judged_after_the_next() {
    let (stage, app) = stage("[[budgets]]\nscope = \"team:support\"\nlimit = \"100\"\n").await;
    usual_week(&stage, &app).await;
    ingest(&stage, &app, &[task("dear", YESTERDAY, 8, 99_000)]).await;
    let judged = async || {
        let ports = stage.ports();
        let days = ports.books.scan("judged", "", None, 100).await.unwrap().records.len();
        let spent = ports.books.scan("spend", "", None, 100).await.unwrap().records.len();
        (days, spent)
    };
    // Each look at the clock takes so long that the time is over after three.
    stage.clock.step_ns.store(100_000_000_000, Ordering::SeqCst);
    night(&app).await;
    let (days, spent) = judged().await;
    assert!(days < 8 && spent < 8, "{days} {spent}");
    assert_eq!(anomalies(&app, Some("task")).await.0.len(), 0);
    stage.clock.step_ns.store(1_000, Ordering::SeqCst);
    night(&app).await;
    assert_eq!(judged().await, (8, 8));
    assert_eq!(anomalies(&app, Some("task")).await.0.len(), 1);
}
