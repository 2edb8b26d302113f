//! Messages as they were last read by a person; `tests/clients/slack` parses those for Slack with Slack's own models.
//!
//! With `RECOUP_WRITE_GOLDEN` set they are written anew: read the difference.

use recoup_messages::slack::{ExtensionAsk, HeldBack, digest, extension_modal, message};
use recoup_messages::{Severity, amazon_q, email};
use serde::Serialize;

use crate::samples;

fn assert_golden(name: &str, content: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("RECOUP_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, content).unwrap();
    }
    assert_eq!(content, std::fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

fn pretty(value: &impl Serialize) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

#[test]
fn messages_for_slack_are_the_golden_ones() {
    for (name, notice) in samples::all() {
        assert_golden(&format!("slack-{name}.json"), &pretty(&message(&notice)));
    }
    let titles = ["Budget at 90%: team support, 2026-11", "Task stopped at its cap: <t-1>"];
    let held: Vec<HeldBack> =
        titles.iter().map(|title| HeldBack { severity: Severity::Warning, title: (*title).to_owned() }).collect();
    assert_golden("slack-digest.json", &pretty(&digest(&held, 14, "2026-11-23T12:00:00Z")));
}

#[test]
fn the_modal_for_slack_is_the_golden_one() {
    let ask = ExtensionAsk { alert: "alr-5f0c2b7d", scope: "team:support", period: "2026-11", currency: "USD" };
    assert_golden("modal-extension.json", &pretty(&extension_modal(&ask)));
}

#[test]
fn notifications_for_amazon_q_are_the_golden_ones() {
    for (name, notice) in samples::all() {
        assert_golden(&format!("amazon-q-{name}.json"), &pretty(&amazon_q::render(&notice)));
    }
}

#[test]
fn e_mails_are_the_golden_ones() {
    // The endless one is looked at by what it keeps to, not by its two hundred kilobytes.
    for (name, notice) in samples::all().into_iter().filter(|(name, _)| *name != "endless") {
        let email = email::render(&notice);
        assert_golden(&format!("email-{name}.txt"), &format!("Subject: {}\n\n{}", email.subject, email.text));
        assert_golden(&format!("email-{name}.html"), &email.html);
    }
}
