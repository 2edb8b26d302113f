//! Lists that grow are read by their pages, and what only serves delivery goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use recoup_http::{Access, InProcess, router};
use recoup_store::{Books, Expect, Key, Write};
use recoup_workflows::lives::{DELIVERY_DAYS, TOLD_DAYS};
use recoup_workflows::notify::Notified;
use recoup_workflows::watch::AlertState;
use recoup_workflows::{App, Principal, Role};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::notify::{Outside, alert, spend};
use crate::rollup::{CRITICAL, critical};
use crate::stage::{ORGANISATION, Stage, all, more};

const LISTS: [&str; 4] = ["/v1/alerts", "/v1/alerts/deliveries", "/v1/budgets/extensions", "/v1/audit"];

/// Who holds a key of finance that names a person.
pub(crate) fn holder(person: &str) -> Principal {
    Principal {
        key_id: Some(format!("key of {person}")),
        role: Role::Finance,
        person: Some(person.to_owned()),
        ..Principal::operator()
    }
}

pub(crate) fn door(app: &Arc<App>) -> Router {
    router(app.clone(), Access::Operator, Arc::new(InProcess::new(app.clone())))
}

async fn get(door: &Router, path: &str) -> (StatusCode, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = door.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (status, serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap())
}

/// A list page by page, with how many pages that took.
pub(crate) async fn walk(door: &Router, path: &str, limit: usize) -> (Vec<Value>, usize) {
    let (mut rows, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    let and = if path.contains('?') { '&' } else { '?' };
    loop {
        let (status, page) = get(door, &format!("{path}{and}limit={limit}&cursor={cursor}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let some = page["rows"].as_array().unwrap().clone();
        assert!(some.len() <= limit);
        rows.extend(some);
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return (rows, pages),
        }
    }
}

/// Alerts, deliveries, extensions and the audit record of a few minutes.
pub(crate) async fn outside() -> (Outside, Arc<App>) {
    let outside = Outside::new().await;
    let app = outside.stage.alone();
    app.watch_time().await.unwrap();
    spend(&app, "e1", "support", "0.95").await;
    outside.stage.clock.pass_minutes(1);
    spend(&app, "e2", "marketing", "1.20").await;
    outside.bring_all(&app).await;
    for number in 0..20 {
        outside.stage.clock.pass_minutes(1);
        assert_eq!(outside.bring(&app, &[alert(number, "warning")]).await, [Notified::Done]);
        app.request_extension(&holder("ana"), more("1", &format!("number {number}"))).await.unwrap();
    }
    app.after_decisions().await;
    (outside, app)
}

#[tokio::test]
async fn bud_2_a_list_is_read_page_by_page_newest_first() {
    let (_outside, app) = outside().await;
    let door = door(&app);
    for (path, at) in LISTS.into_iter().zip(["fired_at", "planned_at", "requested_at", "at"]) {
        let (whole, _) = walk(&door, path, 1_000).await;
        assert!(whole.len() >= 5, "{path}: {whole:?}");
        let times: Vec<&str> = whole.iter().map(|row| row[at].as_str().unwrap()).collect();
        let sorted = if path == "/v1/audit" { times.is_sorted() } else { times.iter().rev().is_sorted() };
        assert!(sorted, "{path}: {times:?}");
        for limit in [1, 3, 7] {
            let (rows, pages) = walk(&door, path, limit).await;
            assert_eq!(rows, whole, "{path} by {limit}");
            assert_eq!(pages, whole.len().div_ceil(limit), "{path} by {limit}");
        }
        for cursor in ["7", "x", "../1"] {
            let (status, problem) = get(&door, &format!("{path}?cursor={cursor}")).await;
            assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!("cursor")), "{problem}");
        }
    }
    let (alerts, _) = walk(&door, "/v1/alerts", 1_000).await;
    let tiers: Vec<_> =
        alerts.iter().map(|row| (row["scope"].as_str().unwrap(), row["tier"].as_u64().unwrap())).collect();
    let expected = [("team:marketing", 100), ("team:marketing", 90), ("team:marketing", 70)];
    assert_eq!(tiers, [&expected[..], &[("team:support", 90), ("team:support", 70)]].concat());
    let (none, _) = walk(&door, "/v1/alerts/deliveries", 1_000).await;
    assert!(none.iter().all(|row| row.get("notice").is_none() && row.get("place").is_none()));
}

#[tokio::test]
async fn bud_2_the_audit_record_is_read_past_what_an_event_has_logged() {
    let stage = Stage::bare();
    let app = stage.alone();
    app.apply_organisation(&format!("{ORGANISATION}{CRITICAL}"), None, false).await.unwrap();
    for number in 0..4 {
        stage.clock.pass_minutes(1);
        app.audit(&Principal::operator(), "tested", &number.to_string(), json!({})).await.unwrap();
        stage.ingest(&app, &[critical(&format!("c{number}"), "1.1")]).await;
    }
    let door = door(&app);
    let (whole, _) = walk(&door, "/v1/audit", 1_000).await;
    let logged = |action: &str| whole.iter().filter(|entry| entry["action"] == action).count();
    assert_eq!((logged("tested"), logged("critical-exemption")), (4, 4), "{whole:?}");
    for limit in 1..=3 {
        assert_eq!(walk(&door, "/v1/audit", limit).await.0, whole, "by {limit}");
    }
    for limit in [1, 3, 1_000] {
        let (mut newest, pages) = walk(&door, "/v1/audit?newest=true", limit).await;
        newest.reverse();
        assert_eq!((newest, pages), (whole.clone(), whole.len().div_ceil(limit)), "by {limit}");
    }
    let since = format!("/v1/audit?newest=true&from={}", whole[3]["at"].as_str().unwrap());
    let (mut late, _) = walk(&door, &since, 2).await;
    late.reverse();
    assert_eq!(late, whole[3..], "from an instant on, on every page");
    let time = "0".repeat(20);
    for random in [0, 11, 13, 31, 33].map(|digits| "0".repeat(digits)) {
        let (status, problem) = get(&door, &format!("/v1/audit?cursor={time}-{random}")).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!("cursor")), "{random}: {problem}");
    }
}

/// What a store says of when records may go.
fn ends(outside: &Outside, partition: &str) -> Vec<Option<i64>> {
    let database = rusqlite::Connection::open(outside.stage.folder().join("recoup.sqlite3")).unwrap();
    let mut select = database.prepare(r#"SELECT until_s FROM books WHERE "partition" = ?1"#).unwrap();
    select.query_map([partition], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

pub(crate) async fn sorts(books: &Arc<dyn Books>, partition: &str) -> BTreeSet<String> {
    let page = books.scan(partition, "", None, 10_000).await.unwrap();
    page.records.into_iter().map(|record| record.key.sort).collect()
}

#[tokio::test]
async fn bud_2_what_only_serves_delivery_goes_and_what_auditors_need_stays() {
    let (outside, app) = outside().await;
    let books = outside.stage.ports().books;
    let stays = ["alerts", "list/alerts", "extensions", "list/extensions", "audit"];
    let goes = ["deliveries", "list/deliveries", "slack-threads", "told"];
    let mut before = Vec::new();
    for partition in stays {
        before.push(sorts(&books, partition).await);
        assert!(ends(&outside, partition).iter().all(Option::is_none), "{partition}");
    }
    for partition in goes {
        let ends = ends(&outside, partition);
        assert!(!ends.is_empty() && ends.iter().all(Option::is_some), "{partition}: {ends:?}");
    }
    outside.stage.clock.pass_minutes(24 * 60 * (DELIVERY_DAYS - 1));
    app.watch_time().await.unwrap();
    assert!(!sorts(&books, "deliveries").await.is_empty());
    outside.stage.clock.pass_minutes(24 * 60 * (TOLD_DAYS - DELIVERY_DAYS + 2));
    app.watch_time().await.unwrap();
    for partition in goes {
        let left = sorts(&books, partition).await;
        // Alerts were resolved on the way, and told of then.
        assert!(left.iter().all(|sort| sort.ends_with("-resolved")), "{partition}: {left:?}");
    }
    for (partition, before) in stays.into_iter().zip(before) {
        assert!(sorts(&books, partition).await.is_superset(&before), "{partition}");
    }
    assert_eq!(app.deliveries(&Principal::operator(), None, all()).await.unwrap().rows, []);
}

#[tokio::test]
async fn bud_2_records_of_an_earlier_release_are_listed_and_get_an_end() {
    let (outside, app) = outside().await;
    let books = outside.stage.ports().books;
    let door = door(&app);
    let mut whole = Vec::new();
    for path in LISTS {
        whole.push(walk(&door, path, 1_000).await);
    }
    let (goes, lists) =
        (["deliveries", "slack-threads", "told"], ["list/alerts", "list/deliveries", "list/extensions"]);
    for partition in goes {
        for record in books.scan(partition, "", None, 1_000).await.unwrap().records {
            let put = Write::Put { key: record.key, value: record.value, expect: Expect::Any, until_s: None };
            books.write(vec![put]).await.unwrap();
        }
    }
    let mut gone = vec![Key::new("state", "adopted")];
    for partition in lists.into_iter().chain(["extension-periods"]) {
        gone.extend(sorts(&books, partition).await.into_iter().map(|sort| Key::new(partition, sort)));
    }
    for key in gone {
        books.write(vec![Write::Delete { key, expect: Expect::Any }]).await.unwrap();
    }
    let unknown = Key::new("alerts", "cannot be read");
    let put = Write::Put { key: unknown, value: "{}".into(), expect: Expect::Any, until_s: None };
    books.write(vec![put]).await.unwrap();
    assert_eq!(walk(&door, "/v1/alerts", 10).await.0, [] as [Value; 0]);

    let newer = outside.stage.process();
    for _ in 0..3 {
        newer.watch_time().await.unwrap();
    }
    for (path, whole) in LISTS.into_iter().zip(whole) {
        assert_eq!(walk(&door, path, 1_000).await, whole, "{path}");
    }
    for partition in goes.into_iter().chain(["list/deliveries"]) {
        assert!(ends(&outside, partition).iter().all(Option::is_some), "{partition}");
    }
    let extension = newer.extensions(&Principal::operator(), all()).await.unwrap().rows.remove(0);
    newer.decide_extension(&holder("finn"), &extension.id, true).await.unwrap();
    let fired = newer.budget_alerts(&Principal::operator(), Some(AlertState::Fired), all()).await.unwrap();
    assert_eq!(fired.rows.len(), 5);
}
