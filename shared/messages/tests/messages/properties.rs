//! What holds for any notice: Slack takes it, an e-mail of it is one.

use proptest::collection::vec;
use proptest::prelude::*;
use recoup_messages::slack::{message, modal_error};
use recoup_messages::{
    Action, Audience, Fact, Notice, Outcome, Severity, Table, amazon_q, ascii_line, email, one_line,
};
use serde_json::Value;

/// Pieces that lie badly at a limit, repeated until they reach beyond it.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("&"),
        Just("<!here>"),
        Just("😀"),
        Just("e\u{301}"),
        Just("\n"),
        Just("`"),
        Just("\u{0}"),
        Just("word ")
    ];
    prop_oneof![
        8 => "\\PC{0,40}",
        6 => vec(piece, 0..12).prop_map(|pieces| pieces.concat()),
        1 => ("[a&<😀 \n`]{1,4}", 0_usize..1_000).prop_map(|(piece, times)| piece.repeat(times)),
    ]
}

fn url() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("https://example.com/a?b=1&c=2".to_owned()),
        text().prop_map(|text| format!("https://{text}")),
        text()
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Acknowledge),
        Just(Action::RequestExtension),
        Just(Action::Approve),
        Just(Action::Decline),
        (text(), url()).prop_map(|(label, url)| Action::Open { label, url }),
    ]
}

fn table() -> impl Strategy<Value = Table> {
    (text(), vec(text(), 0..10), vec(vec(text(), 0..10), 0..20)).prop_map(|(title, columns, rows)| Table {
        title,
        columns,
        rows,
    })
}

prop_compose! {
    fn notice()(
        (id, kind, title, summary) in (text(), text(), text(), text()),
        severity in prop_oneof![Just(Severity::Info), Just(Severity::Warning), Just(Severity::Critical)],
        facts in vec((text(), text()).prop_map(|(label, value)| Fact { label, value }), 0..35),
        table in proptest::option::of(table()),
        next_steps in vec(text(), 0..13),
        actions in vec(action(), 0..8),
        team in proptest::option::of(text()),
        thread in proptest::option::of(text()),
        outcome in proptest::option::of((text(), text()).prop_map(|(what, at)| Outcome { what, at })),
        at in prop_oneof![Just("2026-11-23T12:00:00Z".to_owned()), text()],
    ) -> Notice {
        let audience = vec![Audience::Lead];
        Notice { id, kind, severity, title, summary, facts, table, next_steps, actions, team, audience, thread, outcome, at }
    }
}

/// What Slack would refuse, in words.
fn wrongs(blocks: &Value) -> Vec<String> {
    let blocks = blocks.as_array().unwrap();
    let mut wrongs = Vec::new();
    if blocks.is_empty() || blocks.len() > 50 {
        wrongs.push(format!("{} blocks", blocks.len()));
    }
    for block in blocks {
        let fields = block["fields"].as_array();
        let elements = block["elements"].as_array();
        match block["type"].as_str().unwrap() {
            "header" => wrongs.extend(wrong_text(&block["text"], 150)),
            "section" if fields.is_none() => wrongs.extend(wrong_text(&block["text"], 3_000)),
            "section" => {
                wrongs.extend(wrong_count(fields.unwrap(), 10));
                wrongs.extend(fields.unwrap().iter().filter_map(|field| wrong_text(field, 2_000)));
            }
            "actions" => {
                wrongs.extend(wrong_count(elements.unwrap(), 25));
                wrongs.extend(elements.unwrap().iter().flat_map(wrong_button));
                let mut names: Vec<&Value> = elements.unwrap().iter().map(|button| &button["action_id"]).collect();
                names.sort_by_key(|name| name.to_string());
                names.dedup();
                wrongs.extend((names.len() < elements.unwrap().len()).then(|| "a name twice".to_owned()));
            }
            "context" => {
                wrongs.extend(wrong_count(elements.unwrap(), 10));
                wrongs.extend(elements.unwrap().iter().filter_map(|element| wrong_text(element, 3_000)));
            }
            other => wrongs.push(format!("a block of the type {other}")),
        }
    }
    wrongs
}

fn wrong_count(items: &[Value], max: usize) -> Option<String> {
    (items.is_empty() || items.len() > max).then(|| format!("{} items", items.len()))
}

fn wrong_text(text: &Value, max: usize) -> Option<String> {
    let shown = text["text"].as_str().unwrap();
    let units = shown.encode_utf16().count();
    // What is left when each of our own times and each entity is taken out holds nothing that Slack reads.
    let read = shown.replace("<!date^", "").replace("|", "");
    let is_open = read.contains("<!") || read.contains("<@") || read.contains("<#");
    (units == 0 || units > max || is_open).then(|| format!("{units} of {max}: {shown}"))
}

fn wrong_button(button: &Value) -> Vec<String> {
    let length = |part: &str| button[part].as_str().map_or(0, |text| text.encode_utf16().count());
    let mut wrongs: Vec<String> = wrong_text(&button["text"], 75).into_iter().collect();
    wrongs.extend((length("value") > 2_000).then(|| "a value".to_owned()));
    wrongs.extend((length("url") > 3_000).then(|| "an address".to_owned()));
    let confirm = &button["confirm"];
    if confirm.is_object() {
        wrongs.extend(wrong_text(&confirm["title"], 100));
        wrongs.extend(wrong_text(&confirm["text"], 300));
    }
    wrongs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_notice_is_a_message_that_slack_takes(notice in notice()) {
        let message = message(&notice);
        prop_assert_eq!(wrongs(&message.blocks), Vec::<String>::new());
        prop_assert!(!message.text.trim().is_empty() && message.text.encode_utf16().count() <= 3_000);
        prop_assert!(!message.text.contains("<!"));
    }

    #[test]
    fn any_notice_is_an_e_mail_and_a_notification(notice in notice()) {
        let email = email::render(&notice);
        prop_assert!(!email.subject.contains(|letter: char| letter.is_control()));
        let has_zero = email.text.contains('\u{0}');
        prop_assert!(!has_zero && !email.html.contains("<!here>"));
        prop_assert_eq!(email.html.matches("<td").count(), email.html.matches("</td>").count());
        let sent = amazon_q::render(&notice);
        prop_assert!(!sent["content"]["description"].as_str().unwrap().contains("<!"));
    }

    #[test]
    fn any_text_is_a_line(text in text(), chars_max in 3_usize..200) {
        prop_assert!(!one_line(&text).contains(|letter: char| letter.is_control()));
        let line = ascii_line(&text, chars_max);
        prop_assert!(line.len() <= chars_max && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        prop_assert!(modal_error(recoup_messages::slack::Field::Reason, &text)["errors"]["reason"].is_string());
    }
}

#[test]
fn a_label_of_which_nothing_can_be_shown_is_open() {
    let open = |label: &str| Action::Open { label: label.to_owned(), url: "https://example.com/a".to_owned() };
    let actions = vec![open("\u{0}"), open(" \n")];
    let notice = Notice { actions, ..plain_notice() };
    let message = message(&notice);
    let blocks = message.blocks.as_array().unwrap();
    let buttons = blocks.iter().find(|block| block["type"] == "actions").unwrap();
    let labels: Vec<&Value> = buttons["elements"].as_array().unwrap().iter().map(|one| &one["text"]["text"]).collect();
    assert_eq!(labels, ["Open", "Open"]);
}

fn plain_notice() -> Notice {
    Notice {
        id: "alr_1".to_owned(),
        kind: "budget-tier".to_owned(),
        severity: Severity::Info,
        title: "A budget".to_owned(),
        summary: "It is used up".to_owned(),
        facts: Vec::new(),
        table: None,
        next_steps: Vec::new(),
        actions: Vec::new(),
        team: None,
        audience: vec![Audience::Lead],
        thread: None,
        outcome: None,
        at: "2026-11-23T12:00:00Z".to_owned(),
    }
}
