//! What somebody is told.

use std::sync::atomic::Ordering;

use recoup_store::{Expect, Key, Write};
use recoup_workflows::alerts::UnpricedModel;
use recoup_workflows::nightly::Through;
use recoup_workflows::{Principal, Tell};
use serde_json::Value;

use crate::stage::{Stage, closing};

#[tokio::test]
async fn what_could_not_be_published_is_published_by_the_next_run_and_then_never_again() {
    let stage = Stage::new().await;
    let (app, operator) = (stage.alone(), Principal::operator());
    stage.topic.is_down.store(true, Ordering::SeqCst);
    app.nightly(&operator, &app.new_run().unwrap(), Through::All).await.unwrap();
    app.close(&operator, &app.new_run().unwrap(), closing(false)).await.unwrap();
    assert!(stage.topic.ids().is_empty());
    stage.topic.is_down.store(false, Ordering::SeqCst);
    let app = stage.process();
    app.nightly(&operator, &app.new_run().unwrap(), Through::All).await.unwrap();
    let mut ids = stage.topic.ids();
    assert_eq!(ids.len(), 3, "{ids:?}");
    ids.sort();
    assert_eq!(ids[..2], ["statement-ready-2026-10-marketing-r1", "statement-ready-2026-10-support-r1"]);
    assert!(ids[2].starts_with("unpriced-model-"));
    app.nightly(&operator, &app.new_run().unwrap(), Through::All).await.unwrap();
    assert_eq!(stage.topic.ids().len(), 3);
}

#[tokio::test]
async fn each_statement_is_told_to_its_team() {
    let stage = Stage::new().await;
    let (app, operator) = (stage.alone(), Principal::operator());
    let closed = app.close(&operator, &app.new_run().unwrap(), closing(true)).await.unwrap();
    for row in closed["statements"].as_array().unwrap() {
        let team = row["team"].as_str().unwrap();
        let told = stage.topic.told();
        let alert = told.iter().find(|alert| alert.attributes.get("team").is_some_and(|of| of == team)).unwrap();
        let json: Value = serde_json::from_str(&alert.json).unwrap();
        assert_eq!(
            (&json["total"], &json["digest"], &json["currency"]),
            (&row["total"], &row["digest"], &"USD".into())
        );
        assert!(alert.text.contains(row["total"].as_str().unwrap()), "{}", alert.text);
        assert_eq!(alert.attributes["run"], json["run"]);
    }
}

#[tokio::test]
async fn what_cannot_be_told_holds_nothing_else_up() {
    let stage = Stage::new().await;
    let app = stage.process();
    // First in order.
    let key = Key::new("outbox", "0");
    let write = Write::Put {
        key: key.clone(),
        value: "{\"kind\":\"unheard-of\"}".into(),
        expect: Expect::Absent,
        until_s: None,
    };
    app.ports.books.write(vec![write]).await.unwrap();
    app.tell(&[Tell::NightFailed { run: "r1".into(), error: "the store failed".into() }]).await.unwrap();
    assert_eq!(stage.topic.ids(), ["night-failed-r1"]);
    assert!(app.ports.books.get(&key).await.unwrap().is_some(), "it stays for whoever can read it");
}

/// RAT-2: a model without a price is told once, whoever meets it first.
#[tokio::test]
async fn rat_2_a_model_without_a_price_is_told_once() {
    let stage = Stage::new().await;
    let (app, operator) = (stage.process(), Principal::operator());
    let met = UnpricedModel {
        provider: "example".into(),
        model: "unheard-of".into(),
        day: "2026-10-07".parse().unwrap(),
        events: 1,
    };
    app.tell(&[Tell::UnpricedModel(met.clone())]).await.unwrap();
    stage.process().tell(&[Tell::UnpricedModel(met)]).await.unwrap();
    app.nightly(&operator, &app.new_run().unwrap(), Through::All).await.unwrap();
    let told = stage.topic.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].subject, "[recoup] no price for the model unheard-of of example");
}

/// CLO-1: a close that findings refuse says so to those who did not ask for it themselves; a plan says nothing.
#[tokio::test]
async fn clo_1_a_refused_close_is_told() {
    let stage = Stage::new().await;
    let (app, operator) = (stage.process(), Principal::operator());
    let plan = recoup_workflows::close::CloseRequest { plan: true, ..closing(false) };
    app.close(&operator, &app.new_run().unwrap(), plan).await.unwrap();
    assert!(stage.topic.ids().is_empty());
    let run = app.new_run().unwrap();
    assert_eq!(app.close(&operator, &run, closing(false)).await.unwrap()["closed"], false);
    let told = stage.topic.told();
    assert_eq!(told.iter().map(|alert| alert.id.clone()).collect::<Vec<_>>(), [format!("close-failed-{run}")]);
}
