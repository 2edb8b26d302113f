//! Behaviours of alerts. What arrived is read where a subscriber would get it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{TASKS, race};
use crate::alerts::{ALERT_BYTES_MAX, ATTRIBUTES_MAX, Alert, Alerts, SUBJECT_CHARS_MAX};

/// What a program that subscribed was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrived {
    /// The JSON of the alert.
    pub json: String,
    /// Its attributes, without its id.
    pub attributes: BTreeMap<String, String>,
}

/// What came in while a number of alerts was awaited, which adds up over calls.
pub type Probe = Arc<dyn Fn(usize) -> Pin<Box<dyn Future<Output = Vec<Arrived>> + Send>> + Send + Sync>;

/// A topic, and the eyes of one that subscribed to it.
#[derive(Clone)]
pub struct Watched {
    /// The topic.
    pub alerts: Arc<dyn Alerts>,
    /// Waits, for a while, until at least so many alerts arrived since the topic was made, and gives all of them.
    pub arrived: Probe,
}

fn alert(id: &str) -> Alert {
    let attributes = [("kind", "statement-ready"), ("team", "support"), ("period", "2026-10")];
    Alert {
        id: id.to_owned(),
        subject: format!("Statement {id}"),
        text: format!("The statement {id} is ready.\n\"Total\": 12.50 \u{20ac}"),
        json: format!(r#"{{"id":"{id}","total":"12.50","note":"\"quoted\" \u00e9 é"}}"#),
        chat: Some(format!(r#"{{"version":"1.0","source":"custom","id":"{id}"}}"#)),
        attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

fn as_arrived(alert: &Alert) -> Arrived {
    Arrived { json: alert.json.clone(), attributes: alert.attributes.clone() }
}

/// Letters that JSON escapes among them; a form for chats changes nothing for programs.
pub async fn rat_2_an_alert_arrives_with_its_json_and_attributes(watched: Watched) {
    let sent = alert("a");
    watched.alerts.publish(&sent).await.expect("publish");
    assert_eq!((watched.arrived)(1).await, [as_arrived(&sent)]);
}

/// In any order.
pub async fn rat_2_racing_alerts_all_arrive(watched: Watched) {
    race(|task| {
        let watched = watched.clone();
        async move { watched.alerts.publish(&alert(&format!("t{task:02}"))).await.expect("publish") }
    })
    .await;
    let mut found = (watched.arrived)(TASKS).await;
    found.sort();
    let mut expected: Vec<Arrived> = (0..TASKS).map(|task| as_arrived(&alert(&format!("t{task:02}")))).collect();
    expected.sort();
    assert_eq!(found, expected);
}

/// Each limit, exceeded by one, and what may not be empty; what is at a limit arrives.
pub async fn rat_2_alerts_beyond_a_limit_are_refused_in_words(watched: Watched) {
    let attributes = |count: usize| (0..count).map(|at| (format!("a{at}"), "v".to_owned())).collect();
    let with_attribute = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let refused = [
        (Alert { subject: "s".repeat(SUBJECT_CHARS_MAX + 1), ..alert("a") }, "101 characters, at most 100"),
        (Alert { subject: "two\nlines".to_owned(), ..alert("a") }, "one line of printable ASCII"),
        (Alert { subject: "caf\u{e9}".to_owned(), ..alert("a") }, "one line of printable ASCII"),
        (Alert { subject: String::new(), ..alert("a") }, "one line of printable ASCII"),
        (Alert { attributes: attributes(ATTRIBUTES_MAX), ..alert("a") }, "11 attributes with its id, at most 10"),
        (Alert { attributes: with_attribute("team", ""), ..alert("a") }, "the attribute `team` is empty"),
        (Alert { attributes: with_attribute("a b", "c"), ..alert("a") }, "`a b` cannot name an attribute"),
        (Alert { attributes: with_attribute("id", "c"), ..alert("a") }, "`id` cannot name an attribute"),
        (Alert { id: String::new(), ..alert("a") }, "the attribute `id` is empty"),
        (Alert { json: String::new(), ..alert("a") }, "its text or its JSON is empty"),
        (Alert { chat: Some(String::new()), ..alert("a") }, "its text or its JSON is empty"),
        (Alert { chat: Some("x".repeat(ALERT_BYTES_MAX)), ..alert("a") }, "bytes, at most 262144 fit"),
        (Alert { text: "x".repeat(ALERT_BYTES_MAX), ..alert("a") }, "bytes, at most 262144 fit"),
    ];
    for (refused, words) in refused {
        let error = watched.alerts.publish(&refused).await.expect_err(words);
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains(words), "{cause} does not say: {words}");
    }
    let subject = "s".repeat(SUBJECT_CHARS_MAX);
    let fits = Alert { subject, attributes: attributes(ATTRIBUTES_MAX - 1), ..alert("fits") };
    watched.alerts.publish(&fits).await.expect("publish");
    assert_eq!((watched.arrived)(1).await, [as_arrived(&fits)]);
}
