//! Alerts reach people: over the real books, to servers that behave as Slack and as a mail server do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use recoup_channels::{SlackClient, SlackSettings, SmtpMail};
use recoup_metering::Shape;
use recoup_suite::{BOT_TOKEN, FakeMail, FakeSlack, Fault};
use recoup_workflows::ingest::Listing;
use recoup_workflows::notify::{Channels, Delivery, DeliveryState, How, Notified};
use recoup_workflows::{App, Principal};
use serde_json::{Value, json};

use crate::stage::{ORGANISATION, Stage, all};

const MORE: &str = r##"
[[budgets]]
scope = "team:support"
limit = "1"
[[budgets]]
scope = "team:marketing"
limit = "1"
[alerts]
finops_slack_channel = "#finops"
finops_email = "finops@example.com"
[[people]]
id = "ana"
team = "support"
role = "lead"
slack = "U0ANA"
[[people]]
id = "finn"
role = "finance"
slack = "U0FINN"
[[people]]
id = "vic"
team = "support"
role = "viewer"
slack = "U0VIC"
"##;

pub(crate) fn organisation() -> String {
    let support = "id = \"support\"\nslack_channel = \"#support-ai\"\nlead = \"ana@example.com\"\n";
    let marketing = "id = \"marketing\"\nslack_channel = \"#dead\"\n";
    let file = ORGANISATION.replacen("id = \"support\"\n", support, 1).replacen("id = \"marketing\"\n", marketing, 1);
    format!("{file}{MORE}")
}

/// A stage with Slack and a mail server.
pub(crate) struct Outside {
    pub(crate) stage: Stage,
    pub(crate) slack: FakeSlack,
    pub(crate) mail: FakeMail,
    pub(crate) channels: Channels,
}

pub(crate) fn bot(slack: &FakeSlack) -> Arc<SlackClient> {
    let settings = SlackSettings::Bot { token: BOT_TOKEN.into(), api_url: slack.api_url() };
    Arc::new(SlackClient::with_timeout(settings, Duration::from_millis(500)).unwrap())
}

impl Outside {
    pub(crate) async fn new() -> Self {
        let stage = Stage::bare();
        stage.alone().apply_organisation(&organisation(), None, false).await.unwrap();
        let (slack, mail) = (FakeSlack::start(), FakeMail::start());
        let sender = SmtpMail::sender("recoup@example.com").unwrap();
        let smtp = Arc::new(SmtpMail::new(&mail.url(), sender).unwrap());
        let channels = Channels { slack: Some(bot(&slack)), mail: Some(smtp) };
        Self { stage, slack, mail, channels }
    }

    /// Brings everything that was ever told, as a queue does that delivers again.
    pub(crate) async fn bring_all(&self, app: &Arc<App>) -> Vec<Notified> {
        app.after_decisions().await;
        let told: Vec<String> = self.stage.topic.told().into_iter().map(|alert| alert.json).collect();
        self.bring(app, &told).await
    }

    pub(crate) async fn bring(&self, app: &Arc<App>, told: &[String]) -> Vec<Notified> {
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        app.notify(&self.channels, &told).await.into_iter().map(Result::unwrap).collect()
    }

    fn said(&self, channel: &str) -> Vec<String> {
        self.slack
            .messages_in(channel)
            .iter()
            .map(|message| message.body["text"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// An event of a team, with the cost that its source reports.
pub(crate) async fn spend(app: &App, id: &str, team: &str, cost: &str) {
    let event = json!({
        "event_id": id, "used_at": "2026-11-10T07:59:00Z", "kind": "tool", "tags": { "team": team },
        "cost": { "amount": cost, "currency": "USD" },
    });
    let body = event.to_string().into_bytes();
    let receipt = app.ingest(&Principal::operator(), &body, Shape::Json, Listing::All).await.unwrap();
    assert_eq!(receipt.accepted, 1, "{:?}", receipt.results);
}

async fn deliveries(app: &App) -> Vec<Delivery> {
    let mut all = app.deliveries(&Principal::operator(), None, all()).await.unwrap().rows;
    all.sort_by(|one, other| (&one.alert, &one.to).cmp(&(&other.alert, &other.to)));
    all
}

async fn states(app: &App) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for delivery in deliveries(app).await {
        *states.entry(format!("{:?}", delivery.state)).or_default() += 1;
    }
    states
}

/// An alert that nobody made.
pub(crate) fn alert(number: usize, severity: &str) -> String {
    json!({ "id": format!("night-failed-{number:03}"), "kind": "night-failed", "severity": severity,
        "subject": format!("[recoup] nightly run {number} failed"), "error": "no disk" })
    .to_string()
}

#[tokio::test]
async fn bud_2_everybody_is_told_once_whatever_is_brought_again() {
    let outside = Outside::new().await;
    let app = outside.stage.alone();
    spend(&app, "e1", "support", "0.95").await;
    for round in 0..3 {
        let app = if round == 0 { app.clone() } else { outside.stage.process() };
        assert_eq!(outside.bring_all(&app).await, [Notified::Done, Notified::Done]);
        assert_eq!(outside.said("#support-ai").len(), 2, "70 and 90");
        assert_eq!(outside.said("#finops").len(), 1, "90");
        let mut to: Vec<String> = outside.mail.taken().into_iter().map(|mail| mail.to).collect();
        to.sort();
        assert_eq!(to, ["ana@example.com", "ana@example.com", "finops@example.com"]);
    }
    let messages = outside.slack.messages_in("#support-ai");
    assert_eq!(messages[0].thread_ts, None);
    assert_eq!(messages[1].thread_ts.as_ref(), Some(&messages[0].ts), "one thread for a budget and a period");
    assert_eq!(states(&app).await, BTreeMap::from([("Sent".to_owned(), 6)]));
    outside.stage.clock.pass_minutes(241);
    app.watch_time().await.unwrap();
    outside.bring_all(&app).await;
    let escalation = outside.slack.messages_in("#support-ai").remove(2);
    assert_eq!(escalation.thread_ts.as_ref(), Some(&messages[0].ts));
    assert_eq!(escalation.body["reply_broadcast"], true, "what somebody has to act on is seen outside of the thread");
}

#[tokio::test]
async fn bud_2_an_acknowledgement_changes_the_message_in_its_place() {
    let outside = Outside::new().await;
    let app = outside.stage.alone();
    spend(&app, "e1", "support", "0.95").await;
    outside.bring_all(&app).await;
    let alerts = app.budget_alerts(&Principal::operator(), None, all()).await.unwrap().rows;
    let ninety = alerts.iter().find(|alert| alert.tier == 90).unwrap();
    app.acknowledge(&Principal::operator(), &ninety.id).await.unwrap();
    outside.bring_all(&app).await;
    outside.bring_all(&outside.stage.process()).await;
    for (channel, count) in [("#support-ai", 2), ("#finops", 1)] {
        let messages = outside.slack.messages_in(channel);
        assert_eq!(messages.len(), count, "nothing new in {channel}");
        let changed: Vec<_> = messages.iter().filter(|message| message.updates > 0).collect();
        assert_eq!(changed.len(), 1);
        assert!(changed[0].text().contains("Acknowledged by operator"), "{}", changed[0].text());
        assert!(!changed[0].text().contains("\"acknowledge\""), "its button is gone: {}", changed[0].text());
    }
    assert_eq!(outside.mail.taken().len(), 3, "no e-mail about an acknowledgement");
}

/// A crash between the service's answer and the record may repeat a message, and never loses one.
#[tokio::test]
async fn bud_2_a_crash_between_any_two_writes_loses_nothing() {
    for writes in 0..24 {
        let outside = Outside::new().await;
        spend(&outside.stage.alone(), "e1", "support", "0.95").await;
        let told: Vec<String> = outside.stage.topic.told().into_iter().map(|alert| alert.json).collect();
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        drop(outside.stage.dying_process(writes).notify(&outside.channels, &told).await);
        let app = outside.stage.alone();
        assert_eq!(outside.bring_all(&app).await, [Notified::Done, Notified::Done], "after {writes} writes");
        // Outlets are worked off at once: each of the four may repeat the one that it was at.
        let (lead, finops, mails) = (outside.said("#support-ai"), outside.said("#finops"), outside.mail.taken());
        assert!((2..=3).contains(&lead.len()), "after {writes} writes: {lead:?}");
        assert!((1..=2).contains(&finops.len()), "after {writes} writes: {finops:?}");
        assert!((3..=5).contains(&mails.len()), "after {writes} writes: {mails:?}");
        let mut ids: Vec<_> = mails.iter().filter_map(|mail| mail.header("Message-ID")).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3, "what is repeated has the same name");
        assert_eq!(states(&app).await, BTreeMap::from([("Sent".to_owned(), 6)]));
    }
}

#[tokio::test]
async fn a_message_that_was_taken_without_an_answer_is_repeated_and_not_lost() {
    let outside = Outside::new().await;
    let app = outside.stage.process();
    outside.slack.next([Fault::DoneAndClose]);
    let told = [alert(1, "critical")];
    assert!(matches!(outside.bring(&app, &told).await[0], Notified::Again { .. }));
    outside.stage.clock.pass_minutes(1);
    assert_eq!(outside.bring(&app, &told).await, [Notified::Done]);
    assert_eq!(outside.said("#finops").len(), 2);
    assert_eq!(outside.bring(&app, &told).await, [Notified::Done]);
    assert_eq!(outside.said("#finops").len(), 2);
}

#[tokio::test]
async fn a_channel_that_fails_holds_nobody_else_up_and_ends_as_a_dead_letter() {
    let outside = Outside::new().await;
    let (app, ingesting) = (outside.stage.process(), outside.stage.alone());
    outside.slack.always("#dead", Some(Fault::Status(500, None)));
    spend(&ingesting, "e1", "marketing", "0.75").await;
    spend(&ingesting, "e2", "support", "0.75").await;
    let first = outside.bring_all(&app).await;
    assert!(matches!(&first[0], Notified::Again { reason, .. } if reason.contains("500")), "{first:?}");
    assert_eq!(first[1], Notified::Done);
    assert_eq!(outside.said("#support-ai").len(), 1);
    let mut rounds = 1;
    while !matches!(outside.bring_all(&app).await[0], Notified::Dead { .. }) {
        outside.stage.clock.pass_minutes(24);
        rounds += 1;
        assert!(rounds < 40, "it is given up some time");
    }
    let posts = outside.slack.calls().iter().filter(|path| path.ends_with("chat.postMessage")).count();
    assert_eq!(posts, 1 + 16, "so many attempts and no more");
    let dead = app.deliveries(&Principal::operator(), Some(DeliveryState::Dead), all()).await.unwrap().rows;
    assert_eq!((dead.len(), dead[0].to.as_str(), dead[0].attempts), (1, "#dead", 16));
    assert!(dead[0].reason.as_deref().unwrap().contains("500"), "{dead:?}");
    assert_eq!(outside.said("#support-ai").len(), 1);

    outside.slack.always("#dead", Some(Fault::Error("is_archived")));
    spend(&ingesting, "e3", "marketing", "0.20").await;
    let states = outside.bring_all(&app).await;
    assert!(matches!(&states[2], Notified::Dead { reason } if reason.contains("is_archived")), "at once: {states:?}");

    outside.slack.always("#dead", None);
    assert_eq!(app.deliver_again(&Principal::operator(), &dead[0].alert).await.unwrap(), 1);
    assert_eq!(outside.bring_all(&app).await[0], Notified::Done, "mended, and told after all");
    assert_eq!(outside.said("#dead").len(), 1);
    assert!(app.deliver_again(&Principal::operator(), &dead[0].alert).await.is_err(), "nothing is left to tell");
}

#[tokio::test]
async fn a_service_that_asks_for_time_gets_it() {
    let outside = Outside::new().await;
    let app = outside.stage.process();
    outside.slack.next([Fault::Status(429, Some(90))]);
    let told = [alert(1, "critical"), alert(2, "critical")];
    let states = outside.bring(&app, &told).await;
    assert!(
        matches!(&states[0], Notified::Again { after, .. } if *after > Duration::from_secs(80)),
        "as long as it asked for: {states:?}"
    );
    outside.stage.clock.pass_minutes(1);
    outside.bring(&app, &told).await;
    assert_eq!(outside.slack.calls().len(), 1, "not before");
    outside.stage.clock.pass_minutes(1);
    assert_eq!(outside.bring(&app, &told).await, [Notified::Done, Notified::Done]);
    assert_eq!(outside.said("#finops").len(), 2);
}

#[tokio::test]
async fn a_storm_is_a_few_messages_and_one_digest() {
    let outside = Outside::new().await;
    let app = outside.stage.process();
    let mut told: Vec<String> = (0..60).map(|number| alert(number, "warning")).collect();
    told.push(alert(99, "critical"));
    let done = vec![Notified::Done; 61];
    assert_eq!(outside.bring(&app, &told).await, done);
    let said = outside.said("#finops");
    assert_eq!(said.len(), 10, "{said:#?}");
    assert!(said[0].contains("99"), "the gravest first: {}", said[0]);
    assert!(said[9].contains("52 notices were held back"), "{}", said[9]);
    assert_eq!(outside.mail.taken().len(), 10);
    let how = |how| move |delivery: &&Delivery| delivery.how == Some(how);
    let all = deliveries(&app).await;
    assert_eq!(all.iter().filter(how(How::Digest)).count(), 2 * 52);
    assert_eq!(all.iter().filter(how(How::Message)).count(), 2 * 9);

    let late = [alert(200, "warning")];
    assert!(matches!(outside.bring(&app, &late).await[0], Notified::Again { .. }), "the minute is full");
    outside.stage.clock.pass_minutes(1);
    assert_eq!(outside.bring(&app, &late).await, [Notified::Done]);
    assert_eq!(outside.bring(&app, &told).await, done);
    assert_eq!(outside.said("#finops").len(), 11);
}

#[tokio::test]
async fn what_nobody_can_be_told_is_seen() {
    let outside = Outside::new().await;
    let app = outside.stage.process();
    let told = alert(1, "critical");
    let results = app.notify(&Channels::default(), &[&told, "no JSON"]).await;
    assert_eq!(results[0].as_ref().unwrap(), &Notified::Done);
    assert!(results[1].is_err(), "one that cannot be read fails alone");
    let seen = app.deliveries(&Principal::operator(), Some(DeliveryState::Undeliverable), all()).await.unwrap().rows;
    assert_eq!((seen.len(), seen[0].title.as_str()), (1, "nightly run 1 failed"));
    assert_eq!(seen[0].reason.as_deref(), Some("neither Slack nor a mail server is configured"));
}

#[tokio::test]
async fn a_webhook_has_one_channel_and_its_message_is_replaced_by_the_press() {
    let outside = Outside::new().await;
    let slack = SlackClient::new(SlackSettings::Webhook { url: outside.slack.webhook_url() }).unwrap();
    let channels = Channels { slack: Some(Arc::new(slack)), mail: None };
    let outside = Outside { channels, ..outside };
    let app = outside.stage.alone();
    spend(&app, "e1", "support", "0.95").await;
    assert_eq!(outside.bring_all(&app).await, [Notified::Done, Notified::Done]);
    let messages = outside.slack.messages();
    assert_eq!(messages.len(), 2, "70 and 90, each once for all");
    let alerts = app.budget_alerts(&Principal::operator(), None, all()).await.unwrap().rows;
    let ninety = alerts.iter().find(|alert| alert.tier == 90).unwrap();
    let press = outside.slack.click("U0ANA", "acknowledge", &ninety.id, "p1");
    let client = outside.channels.slack.clone().unwrap();
    app.slack_callback(client.as_ref(), press.as_bytes()).await.unwrap();
    outside.bring_all(&app).await;
    assert_eq!(outside.slack.messages().len(), 2);
    let answers = outside.slack.answers("p1");
    assert_eq!((answers.len(), &answers[0]["replace_original"]), (1, &Value::Bool(true)));
    assert!(answers[0].to_string().contains("Acknowledged by ana"), "{}", answers[0]);
}
