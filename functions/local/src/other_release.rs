//! A data folder that two releases work on, one after the other: the second ships other prices.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use recoup_metering::Shape;
use recoup_model::Period;
use recoup_pricing::Catalogue;
use recoup_store::SystemClock;
use recoup_store_sqlite::{Options, SqliteStore};
use recoup_workflows::close::{CloseRequest, parse_as_of};
use recoup_workflows::ingest::Listing;
use recoup_workflows::nightly::Through;
use recoup_workflows::notify::AlertQueue;
use recoup_workflows::statements::Format;
use recoup_workflows::{App, Ports, Principal};
use serde_json::{Value, json};

const ORGANISATION: &str = "[organisation]\nname = \"Two releases\"\ncurrency = \"USD\"\ntime_zone = \"Europe/Berlin\"\n\
    [[teams]]\nid = \"support\"\n";

/// A release that ships these prices per million tokens from 2025 on.
fn release(prices: &[(&str, &str)]) -> Catalogue {
    let entries = prices.iter().map(|(model, input)| {
        format!("[[prices]]\nprovider = \"example\"\nmodel = \"{model}\"\nfrom = \"2025-01-01\"\nper_million = {{ input = \"{input}\" }}\n")
    });
    let head = "source = \"a test\"\nretrieved = \"2026-01-01\"\ncurrency = \"USD\"\n";
    Catalogue::parse("release.toml", &entries.fold(head.to_owned(), |text, entry| text + &entry)).unwrap()
}

fn open(folder: &Path, shipped: Catalogue) -> Arc<App> {
    let store = SqliteStore::open(folder, Options::default()).unwrap();
    let documents = Arc::new(store.documents().clone());
    let store = Arc::new(store);
    let clock = Arc::new(SystemClock);
    let queue = AlertQueue::new(store.clone(), clock.clone());
    let ports = Ports {
        log: store.clone(),
        live: store.clone(),
        leases: store.clone(),
        books: store,
        documents,
        alerts: Arc::new(queue),
        clock,
    };
    Arc::new(App::with_catalogue(ports, [7; 32], 1, shipped))
}

/// The month so many before this one.
fn month(back: usize) -> Period {
    let today = chrono::Utc::now().date_naive();
    (0..back).fold(Period::of(today), |period, _| period.previous())
}

async fn ingest(app: &App, period: Period, id: &str, model: &str) {
    let event = json!({
        "event_id": id, "used_at": format!("{period}-12T11:00:00Z"), "kind": "llm", "tags": { "team": "support" },
        "provider": "example", "model": model, "usage": { "input": 1_000_000 },
    });
    let body = event.to_string().into_bytes();
    let receipt = app.ingest(&Principal::operator(), &body, Shape::Json, Listing::All).await.unwrap();
    assert_eq!(receipt.accepted, 1);
}

async fn close(app: &Arc<App>, period: Period) -> Value {
    app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    let as_of_ns = Some(parse_as_of(&format!("{}-10", period.next())).unwrap());
    let request = CloseRequest { period, plan: false, as_of_ns, run_missing_nights: false };
    let closed = app.close(&Principal::operator(), &app.new_run().unwrap(), request).await.unwrap();
    assert_eq!(closed["closed"], true, "{closed}");
    closed
}

async fn statement(app: &App, period: Period) -> Vec<u8> {
    app.statement(&Principal::operator(), (period, "support", None), Format::Json).await.unwrap().1
}

/// RAT-3, LED-4: what was closed with an older catalogue is recomputed with it, by a release that has another.
#[tokio::test]
async fn rat_3_a_statement_holds_under_a_release_with_other_prices() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (month(2), month(1));
    let app = open(folder.path(), release(&[("known", "3.00")]));
    app.apply_organisation(ORGANISATION, None, false).await.unwrap();
    ingest(&app, first, "a", "known").await;
    ingest(&app, first, "b", "unknown").await;
    let closed = close(&app, first).await;
    assert_eq!(closed["totals"]["priced_cost"], "3");
    let issued = statement(&app, first).await;
    assert_eq!(app.shipped_versions().await.unwrap().len(), 1);
    drop(app);

    // The second release charges more for the one model, and knows the other.
    let app = open(folder.path(), release(&[("known", "4.00"), ("unknown", "5.00")]));
    let found = app.verify(&Principal::operator(), &issued).await.unwrap();
    assert_eq!(found["holds"], true, "{found}");
    ingest(&app, second, "c", "known").await;
    let closed = close(&app, second).await;
    let terms = ["priced_cost", "corrections"].map(|term| closed["totals"][term].clone());
    assert_eq!(terms, [json!("4"), json!("5")], "what had no price is corrected, what had one is not");
    for period in [first, second] {
        let found = app.verify(&Principal::operator(), &statement(&app, period).await).await.unwrap();
        assert_eq!(found["holds"], true, "{period}: {found}");
    }
    let versions = app.shipped_versions().await.unwrap();
    assert_eq!(versions.iter().map(|version| version.number).collect::<Vec<_>>(), [1, 2]);

    // The first one again: the second month holds as well, and neither release finds anything to correct.
    drop(app);
    let app = open(folder.path(), release(&[("known", "3.00")]));
    let found = app.verify(&Principal::operator(), &statement(&app, second).await).await.unwrap();
    assert_eq!(found["holds"], true, "{found}");
    assert_eq!(app.shipped_versions().await.unwrap().len(), 2);
}

/// CLO-5: a month that was closed with other time zone data holds where no day moved, and the answer names both versions.
#[tokio::test]
async fn clo_5_other_time_zone_data_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let period = month(1);
    let app = open(folder.path(), release(&[("known", "3.00")]));
    app.apply_organisation(ORGANISATION, None, false).await.unwrap();
    ingest(&app, period, "a", "known").await;
    close(&app, period).await;
    let issued = String::from_utf8(statement(&app, period).await).unwrap();
    let path = folder.path().join(format!("documents/statements/{period}/manifest-r1.json"));
    let manifest = std::fs::read_to_string(&path).unwrap();
    let parsed: Value = serde_json::from_str(&manifest).unwrap();
    let here = parsed["time_zone_data"].as_str().unwrap().to_owned();
    // As an earlier release would have written it.
    let older = manifest.replace(&here, "1999z");
    let digest = |text: &str| recoup_model::Digest::of(text.as_bytes()).to_string();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &older).unwrap();
    let stated = issued.replace(&digest(&manifest), &digest(&older));
    assert_ne!(stated, issued);
    let found = app.verify(&Principal::operator(), stated.as_bytes()).await.unwrap();
    assert_eq!(found["holds"], true, "{found}");
    assert_eq!(found["time_zone_data"], json!({ "issued": "1999z", "here": here }));
    let altered = stated.replace("\"exact\":\"3\"", "\"exact\":\"2\"");
    let found = app.verify(&Principal::operator(), altered.as_bytes()).await.unwrap();
    let detail = found["detail"].as_str().unwrap();
    assert!(detail.contains("does not hold") && detail.contains("1999z") && detail.contains(&here), "{detail}");
}
