//! The custom notification: what its schema asks for is always there.

use recoup_messages::amazon_q::render;
use serde_json::json;

use crate::samples::{acknowledged, all, bare, hostile, tier};

#[test]
fn a_tier_is_a_notification_of_its_thread() {
    let sent = render(&tier());
    assert_eq!(
        (&sent["version"], &sent["source"], &sent["id"]),
        (&json!("1.0"), &json!("custom"), &json!("alr-5f0c2b7d"))
    );
    assert_eq!(sent["content"]["textType"], "client-markdown");
    assert_eq!(sent["content"]["title"], "⚠️ Budget at 90%: team support, 2026-11");
    let description = sent["content"]["description"].as_str().unwrap();
    for words in [
        "*Spent:* 4,512.30 USD",
        "• triage: 2,104.18 USD",
        "<https://recoup.example.com/?period=2026-11|Open dashboard>",
    ] {
        assert!(description.contains(words), "{words} is not in\n{description}");
    }
    assert_eq!(sent["content"]["nextSteps"].as_array().unwrap().len(), 2);
    assert_eq!(sent["content"]["keywords"], json!(["support", "budget-tier"]));
    assert_eq!(sent["metadata"]["threadId"], "budget-team:support-2026-11");
    assert_eq!(sent["metadata"]["eventType"], "budget-tier");
    assert_eq!(sent["metadata"]["additionalContext"], json!({ "severity": "warning" }));
}

#[test]
fn what_was_done_stands_in_the_description() {
    let sent = render(&acknowledged());
    assert!(
        sent["content"]["description"].as_str().unwrap().contains("✅ *Acknowledged by ana*, 23 Nov 2026, 12:41 UTC")
    );
    assert!(sent["content"]["nextSteps"].is_null());
}

#[test]
fn what_the_schema_asks_for_is_always_there_and_text_does_nothing() {
    for (name, notice) in all() {
        let sent = render(&notice);
        assert!(!sent["content"]["description"].as_str().unwrap().is_empty(), "{name}");
        assert!(sent.to_string().len() < 64 * 1024, "{name} has {} bytes", sent.to_string().len());
    }
    let content = render(&hostile())["content"].to_string();
    assert!(!content.contains("<!channel>") && !content.contains("<@U1>"), "{content}");
    assert!(!render(&hostile()).to_string().contains("\\r"), "a name is one line as well");
    assert!(render(&bare())["metadata"]["threadId"].is_null());
}
