//! Alerts from the real binary to Slack and back: an event, a message, a pressed button, the message changed.

use std::time::{Duration, Instant};

use recoup_suite::{
    BERLIN, BOT_TOKEN, Books, Client, FakeMail, FakeSlack, Fault, Message, SIGNING_SECRET, SMALL, large_call, lines,
    signed, today,
};
use serde_json::Value;

const MORE: &str = r##"
[[budgets]]
scope = "team:support"
limit = "0.005"
[[budgets]]
scope = "team:marketing"
limit = "0.006"
[alerts]
finops_slack_channel = "#finops"
[[people]]
id = "ana"
team = "support"
role = "lead"
slack = "U0ANA"
"##;

fn books() -> Books {
    let support = "id = \"support\"\nslack_channel = \"#support-ai\"\nemail = \"support@example.com\"\n";
    let marketing = "id = \"marketing\"\nslack_channel = \"#marketing\"\n";
    let file = SMALL.replacen("id = \"support\"\n", support, 1).replacen("id = \"marketing\"\n", marketing, 1);
    Books::of(&format!("{file}{MORE}"))
}

fn variables(slack: &FakeSlack) -> Vec<(&'static str, String)> {
    vec![
        ("RECOUP_SLACK_BOT_TOKEN", BOT_TOKEN.to_owned()),
        ("RECOUP_SLACK_SIGNING_SECRET", SIGNING_SECRET.to_owned()),
        ("RECOUP_SLACK_API_URL", slack.api_url()),
    ]
}

/// A call that costs 0.0045, just after local midnight of today.
fn call(event_id: &str, team: &str) -> Vec<String> {
    let midnight = today().and_hms_opt(0, 0, 0).unwrap().and_local_timezone(BERLIN).earliest().unwrap();
    lines(&[large_call(event_id, event_id, &(midnight + chrono::Duration::seconds(5)).to_rfc3339(), team)])
}

fn now_s() -> i64 {
    chrono::Utc::now().timestamp()
}

/// The value of a message's button.
fn button(message: &Message, action: &str) -> Option<String> {
    let blocks = message.body["blocks"].as_array()?;
    let elements = blocks.iter().filter_map(|block| block["elements"].as_array()).flatten();
    let found = elements.into_iter().find(|element| element["action_id"] == action)?;
    found["value"].as_str().map(str::to_owned)
}

fn waiting(client: &Client) -> usize {
    client.rows("/v1/alerts/deliveries?state=waiting").len()
}

fn send(client: &Client, body: &str, at_s: i64) -> recoup_suite::Reply {
    let headers = signed(body, at_s);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client.send("POST", "/v1/slack/actions", &headers, body)
}

/// BUD-2: from the event to the acknowledgement, over the wire all the way.
#[test]
fn bud_2_a_button_in_slack_acknowledges_and_its_message_says_so() {
    let (books, slack, mail) = (books(), FakeSlack::start(), FakeMail::start());
    let mut variables = variables(&slack);
    variables.push(("RECOUP_SMTP_URL", mail.url()));
    variables.push(("RECOUP_MAIL_FROM", "recoup <recoup@example.com>".to_owned()));
    let server = books.serve_with(&variables);
    let client = server.client(&books.key("admin", None));
    client.ingest(&call("e1", "support"));
    let alert = slack.until("the message of 90 %", |slack| {
        slack.messages_in("#support-ai").iter().find_map(|message| button(message, "acknowledge"))
    });
    assert_eq!(mail.until(2)[0].to, "support@example.com");

    let stranger = server.client("");
    let press = slack.click("U0ANA", "acknowledge", &alert, "p1");
    assert_eq!(send(&stranger, &press, now_s() - 400).status, 401, "too old");
    assert_eq!(stranger.post("/v1/slack/actions", &Value::Null).status, 401, "not signed");
    let unknown = slack.click("U0NOBODY", "acknowledge", &alert, "p2");
    assert_eq!(send(&stranger, &unknown, now_s()).ok(200).text(), "");
    let told = slack.until("what only they see", |slack| slack.answers("p2").first().cloned());
    assert!(told["text"].as_str().unwrap().contains("does not know who you are"), "{told}");
    assert_eq!(client.json(&format!("/v1/alerts/{alert}"))["state"], "fired");

    let began = Instant::now();
    for _ in 0..2 {
        assert_eq!(send(&stranger, &press, now_s()).ok(200).text(), "");
    }
    assert!(began.elapsed() < Duration::from_secs(3), "Slack waits three seconds");
    for channel in ["#support-ai", "#finops"] {
        let changed = slack.until("the changed message", |slack| {
            slack.messages_in(channel).into_iter().find(|message| message.updates > 0)
        });
        assert!(changed.text().contains("Acknowledged by ana"), "{}", changed.text());
        assert_eq!(button(&changed, "acknowledge"), None);
    }
    let record = client.json(&format!("/v1/alerts/{alert}"));
    assert_eq!((&record["state"], &record["acknowledged_by"]), (&"acknowledged".into(), &"ana".into()));
    let audit = client.rows("/v1/audit");
    let acknowledged: Vec<&Value> = audit.iter().filter(|entry| entry["action"] == "alert-acknowledged").collect();
    assert_eq!(acknowledged.len(), 1, "once: {audit:?}");
    assert_eq!((&acknowledged[0]["who"], &acknowledged[0]["via"]), (&"ana".into(), &"slack".into()));
    assert_eq!(slack.messages().len(), 3, "70 and 90 to the lead, 90 to FinOps");

    drop((client, stranger));
    assert!(server.stop());
    let log = std::fs::read_to_string(books.beside("server-1.log")).unwrap();
    assert!(log.contains("Alerts go to Slack by a bot, buttons at /v1/slack/actions; e-mail from recoup"), "{log}");
    assert!(!log.contains(BOT_TOKEN) && !log.contains(SIGNING_SECRET), "{log}");
}

/// A server that is killed between Slack's answer and its own record tells once more, and never not at all.
#[test]
fn a_kill_between_the_answer_and_the_record_repeats_a_message_and_loses_none() {
    let (books, slack) = (books(), FakeSlack::start());
    let variables = variables(&slack);
    let server = books.serve_with(&variables);
    let key = books.key("admin", None);
    slack.next([Fault::Slow(Duration::from_secs(4))]);
    server.client(&key).ingest(&call("e1", "marketing"));
    slack.until("the message", |slack| (slack.messages_in("#marketing").len() == 1).then_some(()));
    server.kill();
    let server = books.serve_with(&variables);
    slack.until("the message once more", |slack| (slack.messages_in("#marketing").len() == 2).then_some(()));
    let client = server.client(&key);
    slack.until("the record", |_| (waiting(&client) == 0).then_some(()));
    client.ingest(&call("e1", "marketing"));
    drop(client);
    assert!(server.stop());
    let server = books.serve_with(&variables);
    let client = server.client(&key);
    let sent = client.rows("/v1/alerts/deliveries?state=sent");
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(slack.messages().len(), 2, "recorded is recorded");
}

/// What a command leaves behind while nobody serves is told once somebody does.
#[test]
fn what_waits_in_the_books_is_told_by_the_next_server() {
    let (books, slack) = (books(), FakeSlack::start());
    books.ingest(&call("e1", "marketing")).ended(0);
    let _server = books.serve_with(&variables(&slack));
    slack.until("the message", |slack| (slack.messages_in("#marketing").len() == 1).then_some(()));
}

/// A channel that does not answer holds neither others nor requests up.
#[test]
fn a_channel_that_hangs_holds_nobody_up() {
    let (books, slack) = (books(), FakeSlack::start());
    slack.always("#marketing", Some(Fault::Slow(Duration::from_secs(9))));
    let server = books.serve_with(&variables(&slack));
    let client = server.client(&books.key("admin", None));
    let began = Instant::now();
    client.ingest(&call("e1", "marketing"));
    slack.until("a hanging post", |slack| slack.calls().first().cloned());
    client.ingest(&call("e2", "support"));
    slack.until("the others' message", |slack| slack.messages_in("#support-ai").first().cloned());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
