//! The adapters against servers that behave as Slack and as a mail server do.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use recoup_channels::{SlackClient, SlackSettings, SmtpMail};
use recoup_store::{ChannelError, Email, Mail as _, Posted, Slack as _, SlackReach};
use recoup_suite::{BOT_TOKEN, FakeMail, FakeSlack, Fault};
use serde_json::{Value, json};

fn bot(fake: &FakeSlack) -> SlackClient {
    let settings = SlackSettings::Bot { token: BOT_TOKEN.into(), api_url: fake.api_url() };
    SlackClient::with_timeout(settings, Duration::from_millis(400)).unwrap()
}

fn webhook(url: String) -> SlackClient {
    SlackClient::with_timeout(SlackSettings::Webhook { url }, Duration::from_millis(400)).unwrap()
}

fn message(text: &str) -> Value {
    json!({ "text": text, "blocks": [{ "type": "section", "text": { "type": "mrkdwn", "text": text } }] })
}

fn again(word: &str, after_s: Option<u64>) -> ChannelError {
    ChannelError::Again { service: "Slack", word: word.into(), after: after_s.map(Duration::from_secs) }
}

fn given_up(word: &str) -> ChannelError {
    ChannelError::GivenUp { service: "Slack", word: word.into() }
}

#[tokio::test]
async fn a_bot_posts_answers_in_a_thread_and_changes_what_it_posted() {
    let fake = FakeSlack::start();
    let slack = bot(&fake);
    assert_eq!(slack.reach(), SlackReach::Channels);
    let first = slack.post("#support-ai", &message("one"), None).await.unwrap().unwrap();
    assert_eq!(first.channel, "C0SUPPORT");
    let second = slack.post("#support-ai", &message("two"), Some(&first.ts)).await.unwrap().unwrap();
    slack.update(&first, &message("one, changed")).await.unwrap();
    let messages = fake.messages();
    assert_eq!((messages[0].body["text"].as_str(), messages[0].updates), (Some("one, changed"), 1));
    assert_eq!((&messages[1].ts, messages[1].thread_ts.as_ref()), (&second.ts, Some(&first.ts)));
    slack.open_view("trigger-1", &json!({ "type": "modal" })).await.unwrap();
    assert_eq!(fake.views().len(), 1);
}

#[tokio::test]
async fn what_slack_will_never_take_is_given_up_with_its_own_word() {
    let fake = FakeSlack::start();
    let slack = bot(&fake);
    assert_eq!(slack.post("#nowhere", &message("x"), None).await, Err(given_up("channel_not_found")));
    assert_eq!(slack.post("#finops", &json!({}), None).await, Err(given_up("no_text")));
    let nothing = Posted { channel: "C0FINOPS".into(), ts: "1.0".into() };
    assert_eq!(slack.update(&nothing, &message("x")).await, Err(given_up("message_not_found")));
    assert_eq!(slack.open_view("late", &json!({ "type": "modal" })).await, Err(given_up("invalid_trigger_id")));
    let settings = SlackSettings::Bot { token: "xoxb-wrong".into(), api_url: fake.api_url() };
    let stranger = SlackClient::new(settings).unwrap();
    assert_eq!(stranger.post("#finops", &message("x"), None).await, Err(given_up("invalid_auth")));
    for error in ["invalid_blocks", "not_in_channel", "is_archived"] {
        fake.next([Fault::Error(error)]);
        assert_eq!(slack.post("#finops", &message("x"), None).await, Err(given_up(error)));
    }
    assert_eq!(fake.messages(), []);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_when_slack_says_so() {
    let fake = FakeSlack::start();
    let slack = bot(&fake);
    let cases = [
        (Fault::Status(429, Some(30)), again("429", Some(30))),
        (Fault::Status(429, None), again("429", None)),
        (Fault::Status(500, None), again("500", None)),
        (Fault::Status(503, Some(7)), again("503", Some(7))),
        (Fault::Error("ratelimited"), again("ratelimited", None)),
        (Fault::Error("internal_error"), again("internal_error", None)),
        (Fault::Slow(Duration::from_secs(1)), again("timed out", None)),
        (Fault::Close, again("the connection broke off", None)),
        (Fault::DoneAndClose, again("the connection broke off", None)),
    ];
    for (fault, expected) in cases {
        fake.next([fault.clone()]);
        assert_eq!(slack.post("#finops", &message("x"), None).await, Err(expected), "{fault:?}");
    }
    let nobody = SlackSettings::Bot { token: BOT_TOKEN.into(), api_url: "http://127.0.0.1:9/api".into() };
    let nobody = SlackClient::new(nobody).unwrap();
    assert_eq!(nobody.post("#finops", &message("x"), None).await, Err(again("not reachable", None)));
}

#[tokio::test]
async fn a_webhook_posts_and_nothing_else_and_speaks_plain_text() {
    let fake = FakeSlack::start();
    let slack = webhook(fake.webhook_url());
    assert_eq!(slack.reach(), SlackReach::OneWebhook);
    assert_eq!(slack.post("anything", &message("x"), None).await, Ok(None));
    assert_eq!(fake.messages().len(), 1);
    let nothing = Posted { channel: "C".into(), ts: "1".into() };
    assert!(matches!(slack.update(&nothing, &message("x")).await, Err(ChannelError::GivenUp { .. })));
    assert_eq!(slack.post("a", &json!({}), None).await, Err(given_up("no_text")));
    fake.next([Fault::Error("channel_is_archived"), Fault::Status(429, Some(1))]);
    assert_eq!(slack.post("a", &message("x"), None).await, Err(given_up("channel_is_archived")));
    assert_eq!(slack.post("a", &message("x"), None).await, Err(again("429", Some(1))));
    let wrong = webhook(fake.webhook_url().replace("right", "wrong"));
    assert_eq!(wrong.post("a", &message("x"), None).await, Err(given_up("no_service")));
}

#[tokio::test]
async fn a_press_is_answered_at_its_own_address() {
    let fake = FakeSlack::start();
    let slack = bot(&fake);
    let url = fake.api_url().replace("/api", "/respond/p1");
    for _ in 0..5 {
        slack.respond(&url, &json!({ "response_type": "ephemeral", "text": "no" })).await.unwrap();
    }
    assert_eq!(slack.respond(&url, &message("x")).await, Err(given_up("used_url")));
    assert_eq!(fake.answers("p1").len(), 5);
}

#[tokio::test]
async fn secrets_stand_in_no_error_and_in_no_debug() {
    let hushed = |text: String| assert!(!text.contains("hush"), "{text}");
    let settings = SlackSettings::Bot { token: "xoxb-hush".into(), api_url: "http://127.0.0.1:9/api".into() };
    let slack = SlackClient::new(settings).unwrap();
    hushed(format!("{slack:?}"));
    hushed(slack.post("#a", &message("x"), None).await.unwrap_err().to_string());
    let slack = webhook("http://127.0.0.1:9/services/hush".into());
    hushed(format!("{slack:?} {:?}", slack.post("#a", &message("x"), None).await));
    hushed(slack.respond("http://127.0.0.1:9/hush", &message("x")).await.unwrap_err().to_string());
    hushed(SlackClient::new(SlackSettings::Webhook { url: "hush".into() }).unwrap_err().to_string());
    let from = || SmtpMail::sender("recoup@example.com").unwrap();
    let mail = SmtpMail::new("smtp://ana:hush@127.0.0.1:9", from()).unwrap();
    hushed(format!("{mail:?} {:?}", mail.send(&email("ana@example.com")).await));
    for url in [
        "http://ana:hush@127.0.0.1",
        "smtp://ana:hush@mail.example.com",
        "smtp://ana:hush@mail.example.com?tls=opportunistic",
        "smtp://:hush",
        "hush",
    ] {
        hushed(SmtpMail::new(url, from()).unwrap_err().to_string());
    }
}

fn email(to: &str) -> Email {
    Email {
        to: to.into(),
        subject: "[recoup] Budget at 90%: Büro".into(),
        text: "Spent 4,512.30 USD\n".into(),
        html: "<p>Spent <b>4,512.30 USD</b></p>".into(),
        id: "0123abcd".into(),
    }
}

fn mail(url: &str) -> SmtpMail {
    SmtpMail::new(url, SmtpMail::sender("recoup <recoup@example.com>").unwrap()).unwrap()
}

#[tokio::test]
async fn an_e_mail_has_a_text_and_a_page_and_a_name_of_its_own() {
    let fake = FakeMail::start();
    mail(&fake.url()).send(&email("ana@example.com")).await.unwrap();
    mail(&fake.url_with_login("recoup", "p%20w")).send(&email("Ana <ana@example.com>")).await.unwrap();
    let taken = fake.taken();
    assert_eq!((taken[0].from.as_str(), taken[0].to.as_str()), ("recoup@example.com", "ana@example.com"));
    assert_eq!(taken[0].header("Message-ID"), Some("<0123abcd@example.com>"));
    let text = taken[0].readable();
    assert!(text.contains("multipart/alternative"), "{text}");
    assert!(text.contains("Spent 4,512.30 USD") && text.contains("<b>4,512.30 USD</b>"), "{text}");
    assert!(taken[0].header("Subject").unwrap().starts_with("[recoup]"), "{text}");
    assert_eq!(taken[1].to, "ana@example.com");
    assert_eq!(fake.logins().len(), 1, "a login is sent where the address has one");
}

#[tokio::test]
async fn a_mail_server_that_refuses_or_is_not_there_says_so() {
    let fake = FakeMail::start();
    let sender = mail(&fake.url());
    let given_up = |word: &str| Err(ChannelError::GivenUp { service: "the mail server", word: word.into() });
    assert_eq!(sender.send(&email("nobody@example.com")).await, given_up("550"));
    assert_eq!(sender.send(&email("no address")).await, given_up("the address of the recipient is none"));
    fake.next(["451 4.3.0 Later", "554 5.6.0 Never", ""]);
    let later = sender.send(&email("ana@example.com")).await.unwrap_err();
    assert_eq!(later, ChannelError::Again { service: "the mail server", word: "451".into(), after: None });
    assert_eq!(sender.send(&email("ana@example.com")).await, given_up("554"));
    let broken = sender.send(&email("ana@example.com")).await.unwrap_err();
    assert!(matches!(broken, ChannelError::Again { .. }), "taken, and nobody said so: {broken}");
    assert_eq!(fake.taken().len(), 1);
    let nobody = mail("smtp://127.0.0.1:9").send(&email("ana@example.com")).await.unwrap_err();
    assert!(matches!(nobody, ChannelError::Again { .. }), "{nobody}");
    let encrypted = mail(&fake.url().replace("smtp:", "smtps:"));
    let no_tls = encrypted.send(&email("ana@example.com")).await.unwrap_err();
    assert!(matches!(no_tls, ChannelError::Again { .. }), "{no_tls}");
    assert_eq!(fake.taken().len(), 1, "nothing goes out unencrypted where TLS was asked for");
}
