//! What an alert says: a notice in the forms of a topic, with a text for people and JSON for programs.

use std::collections::BTreeMap;

use recoup_messages::email::plain_text;
use recoup_messages::{Action, Audience, Fact, Notice, Severity, amazon_q, ascii_line, one_line};
use recoup_model::Period;
use recoup_store::Alert;
use recoup_store::alerts::SUBJECT_CHARS_MAX;
use serde_json::{Map, Value, json};

use super::UnpricedModel;
use crate::statements::Issued;

/// Characters of an error that an alert repeats; all of it stands in the record of the run.
const ERROR_CHARS_MAX: usize = 2_000;

/// Whose statements they are.
pub(super) struct Issuer<'a> {
    pub(super) organisation: &'a str,
    pub(super) currency: &'a str,
    /// Where the dashboard is.
    pub(super) dashboard: Option<&'a str>,
}

/// A statement was issued.
pub(super) fn statement_ready(issuer: &Issuer<'_>, issued: &Issued, run: &str) -> Alert {
    let Issuer { organisation, currency, dashboard } = issuer;
    let Issued { team, period, statement, revision, total, mode, digest, path, .. } = issued;
    let encoded = percent_encoded(team);
    let (of, file) = (shell_word(team), shell_word(&format!("{statement}.json")));
    let meaning = match mode.as_str() {
        "chargeback" => "It is booked on your cost centre.",
        _ => "It is for your information: nothing is booked.",
    };
    let open = |dashboard: &str| Action::Open {
        label: "Open statement".into(),
        url: format!("{dashboard}/statements/{period}/{encoded}?revision={revision}"),
    };
    let notice = Notice {
        id: format!("statement-ready-{statement}-r{revision}"),
        kind: "statement-ready".into(),
        severity: Severity::Info,
        title: format!("Statement of {team} for {period}: {total} {currency}"),
        summary: format!(
            "{organisation}: the {mode} statement of the team {team} for {period} was issued.\n\n{meaning}"
        ),
        facts: facts([
            ("Total", format!("{total} {currency}")),
            ("Statement", format!("{statement}, revision {revision}")),
            ("Document", path.clone()),
            ("Digest", digest.to_string()),
        ]),
        next_steps: vec![
            format!("Read it: `recoup statement {of} {period}`"),
            format!("Keep it: `recoup statement {of} {period} --format json -o {file}`"),
            format!("Check it: `recoup verify {file}`"),
            format!("Ask about a line: `recoup explain {} LINE`", shell_word(statement)),
        ],
        actions: dashboard.map(open).into_iter().collect(),
        team: Some(team.clone()),
        audience: vec![Audience::Lead],
        // A correction stands below what it corrects.
        thread: Some(format!("statement-{statement}")),
        ..plain_notice(&issued.issued_at)
    };
    let subject = format!("[recoup] {period} {team}: {total} {currency} ({mode})");
    let api = format!("/v1/statements/{period}/{encoded}?revision={revision}");
    let known = json!({
        "statement": statement, "revision": revision, "organisation": organisation, "total": total,
        "currency": currency, "mode": mode, "digest": digest, "document": path, "api": api,
        "issued_at": issued.issued_at,
    });
    let own = vec![("team", team.clone()), ("period", period.to_string()), ("run", run.to_owned())];
    carrying(&notice, "info", (&notice.id, &subject), (known, own))
}

/// A nightly run failed. `at` is when that is told.
pub(super) fn night_failed(run: &str, error: &str, at: &str) -> Alert {
    let error = shortened(error);
    let notice = Notice {
        title: "The nightly run failed".into(),
        summary: format!(
            "The nightly run {run} failed.\n\n{error}\n\n\
             Days that it had done stay done, the others stay marked and are run by the next night. No event is lost. \
             Figures of the open months are those of the last night that succeeded, and a month cannot be closed before \
             its nights have run."
        ),
        next_steps: vec![
            "Mend the cause that is named above.".into(),
            format!("Look at the run: `recoup runs {run} --json`"),
            "Run the night: `recoup nightly`".into(),
        ],
        ..failure("night-failed", run, at)
    };
    failed(&notice, &format!("[recoup] nightly run failed: {error}"), run, &error)
}

/// A close failed, or findings refused it. `at` is when that is told.
pub(super) fn close_failed(run: &str, error: &str, at: &str) -> Alert {
    let error = shortened(error);
    let notice = Notice {
        title: "The close issued no statements".into(),
        summary: format!(
            "The close {run} did not issue the statements.\n\n{error}\n\n\
             Nothing that was issued before has changed. A close that was interrupted after it had frozen the month is \
             finished by the next one, with the same figures."
        ),
        next_steps: vec![
            "Mend the cause that is named above.".into(),
            "See what stands against it: `recoup close MONTH --plan`".into(),
            "Close again: `recoup close MONTH`".into(),
        ],
        ..failure("close-failed", run, at)
    };
    failed(&notice, &format!("[recoup] close failed: {error}"), run, &error)
}

/// A model without a price was met. `at` is when that is told.
pub(super) fn unpriced_model(id: &str, unpriced: &UnpricedModel, at: &str) -> Alert {
    let UnpricedModel { provider, model, day, events } = unpriced;
    let of = if provider.is_empty() { String::new() } else { format!(" of {provider}") };
    let is_known = |(_, value): &(&str, String)| !value.is_empty();
    let known = [
        ("Model", model.clone()),
        ("Provider", provider.clone()),
        ("First day", day.to_string()),
        ("Events on it", events.to_string()),
    ];
    let notice = Notice {
        id: id.to_owned(),
        kind: "unpriced-model".into(),
        severity: Severity::Warning,
        title: format!("No price for the model {model}{of}"),
        summary: format!(
            "No price is known for the model {model}{of}: {events} events on {day} have no cost yet.\n\n\
             They are counted as unpriced and never as zero: no statement, price or budget contains their cost until there \
             is a price. Once there is one, the days concerned are computed again, and what is late for a closed month \
             becomes a correction in the next one."
        ),
        facts: facts(known.into_iter().filter(is_known)),
        next_steps: vec![
            format!("See which events: `recoup unpriced --month {}`", Period::of(*day)),
            "Import a price list: `recoup prices import FILE`".into(),
            "Or name its price: a `[[prices]]` entry in the organisation file, then `recoup apply recoup.toml`".into(),
            "Then: `recoup nightly`".into(),
        ],
        ..plain_notice(at)
    };
    let subject = format!("[recoup] no price for the model {model}{of}");
    let known = json!({
        "provider": provider, "model": model, "day": day, "events": events, "api": "/v1/unpriced",
    });
    carrying(&notice, "warning", (id, &subject), (known, Vec::new()))
}

/// What stands in each notice of this file until it says otherwise.
fn plain_notice(at: &str) -> Notice {
    Notice {
        id: String::new(),
        kind: String::new(),
        severity: Severity::Info,
        title: String::new(),
        summary: String::new(),
        facts: Vec::new(),
        table: None,
        next_steps: Vec::new(),
        actions: Vec::new(),
        team: None,
        audience: vec![Audience::FinOps],
        thread: None,
        outcome: None,
        at: at.to_owned(),
    }
}

fn failure(kind: &str, run: &str, at: &str) -> Notice {
    Notice {
        id: format!("{kind}-{run}"),
        kind: kind.to_owned(),
        severity: Severity::Critical,
        facts: facts([("Run", run.to_owned())]),
        ..plain_notice(at)
    }
}

fn facts<'a>(named: impl IntoIterator<Item = (&'a str, String)>) -> Vec<Fact> {
    named.into_iter().map(|(label, value)| Fact { label: label.to_owned(), value }).collect()
}

fn failed(notice: &Notice, subject: &str, run: &str, error: &str) -> Alert {
    let known = json!({ "error": error, "api": format!("/v1/runs/{run}") });
    carrying(notice, "error", (&notice.id, subject), (known, vec![("run", run.to_owned())]))
}

/// The alert that carries a notice. `own` is what subscriptions filter by, besides kind and severity.
pub(super) fn alert_of(id: &str, notice: &Notice, own: Vec<(&'static str, String)>) -> Alert {
    let subject = format!("[recoup] {}", notice.title);
    carrying(notice, notice.severity.name(), (id, &subject), (json!({}), own))
}

/// An alert for programs.
pub(super) fn machine_alert(
    kind: &str,
    (id, severity): (&str, Severity),
    (text, known): (&str, Value),
    own: Vec<(&str, String)>,
) -> Alert {
    let subject = format!("[recoup] {kind}");
    finish(kind, (id, severity.name()), (&subject, text.to_owned()), (known, own))
}

/// Failures have the severity `error` where subscriptions filter, as they always had; what `known` says stands beside the
/// notice.
fn carrying(
    notice: &Notice,
    severity: &str,
    (id, subject): (&str, &str),
    (mut known, own): (Value, Vec<(&str, String)>),
) -> Alert {
    if let Some(fields) = known.as_object_mut() {
        fields.insert("notice".to_owned(), json!(notice));
    }
    let alert = finish(&notice.kind, (id, severity), (subject, plain_text(notice)), (known, own));
    Alert { chat: Some(amazon_q::render(notice).to_string()), ..alert }
}

fn finish(
    kind: &str,
    (id, severity): (&str, &str),
    (subject, text): (&str, String),
    (known, own): (Value, Vec<(&str, String)>),
) -> Alert {
    let mut attributes: BTreeMap<String, String> =
        own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    attributes.insert("kind".into(), kind.to_owned());
    attributes.insert("severity".into(), severity.to_owned());
    let subject = ascii_line(subject, SUBJECT_CHARS_MAX);
    let mut json = Map::new();
    json.extend(attributes.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))));
    json.insert("id".into(), Value::String(id.to_owned()));
    json.insert("subject".into(), Value::String(subject.clone()));
    if let Value::Object(known) = known {
        json.extend(known);
    }
    let json = Value::Object(json).to_string();
    Alert { id: id.to_owned(), subject, text, json, chat: None, attributes }
}

fn shortened(error: &str) -> String {
    if error.chars().count() <= ERROR_CHARS_MAX {
        return error.to_owned();
    }
    let head: String = error.chars().take(ERROR_CHARS_MAX).collect();
    format!("{head}...")
}

/// A name of somebody's choice as one word of a command that may be copied into a shell.
pub(super) fn shell_word(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@%+=,".contains(&byte);
    let name = one_line(name);
    if !name.is_empty() && !name.starts_with('-') && name.bytes().all(is_plain) {
        return name;
    }
    format!("'{}'", name.replace('\'', r"'\''"))
}

fn percent_encoded(team: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    team.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use recoup_model::Digest;
    use recoup_store::alerts::{ALERT_BYTES_MAX, ATTRIBUTES_MAX};

    use super::*;

    const AT: &str = "2026-11-04T00:00:00Z";
    const ISSUER: Issuer<'_> =
        Issuer { organisation: "Example", currency: "EUR", dashboard: Some("https://recoup.example.com") };

    fn notice(alert: &Alert) -> Notice {
        let json: Value = serde_json::from_str(&alert.json).unwrap();
        serde_json::from_value(json["notice"].clone()).unwrap()
    }

    fn issued(team: &str) -> Issued {
        Issued {
            team: team.to_owned(),
            period: "2026-10".parse().unwrap(),
            statement: format!("2026-10-{team}"),
            revision: 1,
            digest: Digest::of(b"x"),
            total: "1234.56".to_owned(),
            mode: "chargeback".to_owned(),
            issued_at: "2026-11-04T00:00:00Z".to_owned(),
            path: "statements/2026-10/support/r1.json".to_owned(),
        }
    }

    fn unpriced() -> UnpricedModel {
        let day = "2026-10-03".parse().unwrap();
        UnpricedModel { provider: "example".into(), model: "example-large".into(), day, events: 7 }
    }

    #[test]
    fn every_alert_fits_a_topic() {
        let long = "ü".repeat(100_000);
        let alerts = [
            statement_ready(&Issuer { organisation: &long, ..ISSUER }, &issued(&"é\n".repeat(64)), "r1"),
            night_failed("r1", &long, AT),
            close_failed("r1", &long, AT),
            unpriced_model("u1", &UnpricedModel { model: "模".repeat(128), ..unpriced() }, AT),
        ];
        for alert in alerts {
            assert!(alert.subject.len() <= SUBJECT_CHARS_MAX, "{}", alert.subject);
            assert!(alert.subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", alert.subject);
            assert!(alert.attributes.len() <= ATTRIBUTES_MAX);
            assert!(alert.attributes.values().all(|value| !value.is_empty()));
            if !alert.text.contains(&long) {
                assert!(alert.text.len() + alert.json.len() < ALERT_BYTES_MAX / 2);
            }
        }
    }

    #[test]
    fn a_statement_says_what_is_owed_and_how_to_check_it() {
        let alert = statement_ready(&ISSUER, &issued("support"), "r1");
        assert_eq!(alert.subject, "[recoup] 2026-10 support: 1234.56 EUR (chargeback)");
        for words in ["1234.56 EUR", "recoup verify 2026-10-support.json", "booked on your cost centre", "Digest"] {
            assert!(alert.text.contains(words), "{words} is not in\n{}", alert.text);
        }
        let json: Value = serde_json::from_str(&alert.json).unwrap();
        assert_eq!(json["total"], "1234.56");
        assert_eq!(json["kind"], "statement-ready");
        assert_eq!(json["api"], "/v1/statements/2026-10/support?revision=1");
        assert_eq!(alert.attributes["team"], "support");
        assert_eq!(alert.attributes["period"], "2026-10");
    }

    #[test]
    fn a_failure_says_why_and_what_to_do() {
        let night = night_failed("r1", "the store failed", AT);
        assert_eq!(night.subject, "[recoup] nightly run failed: the store failed");
        assert!(night.text.contains("the store failed") && night.text.contains("recoup nightly"));
        let close = close_failed("r2", "findings stand", AT);
        assert!(close.text.contains("findings stand") && close.text.contains("--plan"));
        assert_eq!(close.attributes["severity"], "error");
    }

    #[test]
    fn rat_2_a_model_without_a_price_is_named_with_the_remedy() {
        let alert = unpriced_model("u1", &unpriced(), AT);
        assert_eq!(alert.subject, "[recoup] no price for the model example-large of example");
        assert!(alert.text.contains("7 events on 2026-10-03") && alert.text.contains("recoup prices import"));
        assert!(alert.text.contains("never as zero"));
    }

    #[test]
    fn every_alert_of_people_carries_its_notice_and_a_form_for_chats() {
        let alerts = [
            statement_ready(&ISSUER, &issued("support"), "r1"),
            night_failed("r1", "the store failed", AT),
            close_failed("r2", "findings stand", AT),
            unpriced_model("u1", &unpriced(), AT),
        ];
        for alert in alerts {
            let notice = notice(&alert);
            assert_eq!((&notice.id, &notice.kind), (&alert.id, &alert.attributes["kind"]));
            assert_eq!(plain_text(&notice), alert.text);
            let chat: Value = serde_json::from_str(alert.chat.as_deref().unwrap()).unwrap();
            assert_eq!((&chat["source"], &chat["id"]), (&json!("custom"), &json!(alert.id)));
        }
    }

    #[test]
    fn a_command_that_is_copied_means_one_name() {
        let cases = [
            ("support", "support"),
            ("team:support", "team:support"),
            ("r & d", "'r & d'"),
            ("x; rm -rf ~", "'x; rm -rf ~'"),
            ("it's $(id)", r"'it'\''s $(id)'"),
            ("a\nb", "'a b'"),
            ("--all", "'--all'"),
            ("", "''"),
        ];
        for (name, word) in cases {
            assert_eq!(shell_word(name), word);
        }
    }

    #[test]
    fn a_statement_is_told_to_its_lead_and_leads_to_its_page() {
        let alert = statement_ready(&ISSUER, &issued("r & d"), "r1");
        let told = notice(&alert);
        assert_eq!((told.team.as_deref(), told.audience.as_slice()), (Some("r & d"), [Audience::Lead].as_slice()));
        let url = "https://recoup.example.com/statements/2026-10/r%20%26%20d?revision=1".to_owned();
        assert_eq!(told.actions, [Action::Open { label: "Open statement".into(), url }]);
        assert_eq!(told.thread.as_deref(), Some("statement-2026-10-r & d"));
        let nowhere = statement_ready(&Issuer { dashboard: None, ..ISSUER }, &issued("support"), "r1");
        assert_eq!(notice(&nowhere).actions, []);
    }

    #[test]
    fn failures_and_models_without_a_price_are_told_to_those_who_look_after_all_budgets() {
        let alerts = [night_failed("r1", "x", AT), close_failed("r2", "x", AT), unpriced_model("u1", &unpriced(), AT)];
        for alert in alerts {
            let told = notice(&alert);
            assert_eq!((told.team, told.audience, told.at.as_str()), (None, vec![Audience::FinOps], AT));
        }
    }
}
