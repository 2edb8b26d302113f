//! What an alert says: a subject, a text for people, the same for programs.

use std::collections::BTreeMap;

use recoup_messages::{Notice, Severity};
use recoup_store::Alert;
use recoup_store::alerts::SUBJECT_CHARS_MAX;
use serde_json::{Map, Value, json};

use super::UnpricedModel;
use crate::statements::Issued;

/// Characters of an error that an alert repeats; all of it stands in the record of the run.
const ERROR_CHARS_MAX: usize = 2_000;

/// A statement was issued. `organisation` is its name and its currency.
pub(super) fn statement_ready((organisation, currency): (&str, &str), issued: &Issued, run: &str) -> Alert {
    let Issued { team, period, statement, revision, total, mode, .. } = issued;
    let api = format!("/v1/statements/{period}/{}?revision={revision}", percent_encoded(team));
    let meaning = match mode.as_str() {
        "chargeback" => "It is booked on your cost centre.",
        _ => "It is for your information: nothing is booked.",
    };
    let text = format!(
        "{organisation}: the {mode} statement of the team {team} for {period} was issued.\n\n\
         Statement  {statement}, revision {revision}\n\
         Total      {total} {currency}\n\
         Digest     {digest}\n\
         Document   {path}\n\n\
         {meaning}\n\n\
         What to do\n\
         - Read it:          recoup statement {team} {period}\n\
         - Keep it:          recoup statement {team} {period} --format json -o {statement}.json\n\
         - Check it:         recoup verify {statement}.json\n\
         - Ask about a line: recoup explain {statement} LINE\n",
        digest = issued.digest,
        path = issued.path,
    );
    let subject = format!("[recoup] {period} {team}: {total} {currency} ({mode})");
    let known = json!({
        "statement": statement, "revision": revision, "organisation": organisation, "total": total,
        "currency": currency, "mode": mode, "digest": issued.digest, "document": issued.path, "api": api,
        "issued_at": issued.issued_at,
    });
    let id = format!("statement-ready-{statement}-r{revision}");
    let attributes = [("team", team.clone()), ("period", period.to_string()), ("run", run.to_owned())];
    alert("statement-ready", (id, "info"), (&subject, text), (known, attributes))
}

/// A nightly run failed.
pub(super) fn night_failed(run: &str, error: &str) -> Alert {
    let error = shortened(error);
    let text = format!(
        "The nightly run {run} failed.\n\n{error}\n\n\
         Days that it had done stay done, the others stay marked and are run by the next night. No event is lost. Figures of \
         the open months are those of the last night that succeeded, and a month cannot be closed before its nights have \
         run.\n\n\
         What to do\n\
         - Mend the cause that is named above.\n\
         - Look at the run: recoup runs {run} --json\n\
         - Run the night:   recoup nightly\n"
    );
    let subject = format!("[recoup] nightly run failed: {error}");
    let known = json!({ "error": error, "api": format!("/v1/runs/{run}") });
    alert(
        "night-failed",
        (format!("night-failed-{run}"), "error"),
        (&subject, text),
        (known, [("run", run.to_owned())]),
    )
}

/// A close failed, or findings refused it.
pub(super) fn close_failed(run: &str, error: &str) -> Alert {
    let error = shortened(error);
    let text = format!(
        "The close {run} did not issue the statements.\n\n{error}\n\n\
         Nothing that was issued before has changed. A close that was interrupted after it had frozen the month is finished \
         by the next one, with the same figures.\n\n\
         What to do\n\
         - Mend the cause that is named above.\n\
         - See what stands against it: recoup close MONTH --plan\n\
         - Close again:                recoup close MONTH\n"
    );
    let subject = format!("[recoup] close failed: {error}");
    let known = json!({ "error": error, "api": format!("/v1/runs/{run}") });
    alert(
        "close-failed",
        (format!("close-failed-{run}"), "error"),
        (&subject, text),
        (known, [("run", run.to_owned())]),
    )
}

/// A model without a price was met.
pub(super) fn unpriced_model(id: &str, unpriced: &UnpricedModel) -> Alert {
    let UnpricedModel { provider, model, day, events } = unpriced;
    let of = if provider.is_empty() { String::new() } else { format!(" of {provider}") };
    let text = format!(
        "No price is known for the model {model}{of}: {events} events on {day} have no cost yet.\n\n\
         They are counted as unpriced and never as zero: no statement, price or budget contains their cost until there is a \
         price. Once there is one, the days concerned are computed again, and what is late for a closed month becomes a \
         correction in the next one.\n\n\
         What to do\n\
         - See which events:    recoup unpriced\n\
         - Import a price list: recoup prices import FILE\n\
         - Or name its price:   a [[prices]] entry in the organisation file, then recoup apply recoup.toml\n\
         - Then:                recoup nightly\n"
    );
    let subject = format!("[recoup] no price for the model {model}{of}");
    let known = json!({
        "provider": provider, "model": model, "day": day, "events": events, "api": "/v1/unpriced",
    });
    alert("unpriced-model", (id.to_owned(), "warning"), (&subject, text), (known, []))
}

/// The alert that carries a notice. `own` is what subscriptions filter by, besides kind and severity.
pub(super) fn alert_of(id: &str, notice: &Notice, own: Vec<(&'static str, String)>) -> Alert {
    let subject = format!("[recoup] {}", notice.title);
    let known = json!({ "notice": notice });
    finish(&notice.kind, (id, notice.severity.name()), (&subject, plain_text(notice)), (known, own))
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

/// A notice for people who read e-mail as text.
fn plain_text(notice: &Notice) -> String {
    let mut text = format!("{}\n\n", notice.summary);
    let width = notice.facts.iter().map(|fact| fact.label.chars().count()).max().unwrap_or_default();
    for fact in &notice.facts {
        text.push_str(&format!("{:width$}  {}\n", fact.label, fact.value));
    }
    if let Some(table) = &notice.table {
        text.push_str(&format!("\n{}\n", table.title));
        table.rows.iter().for_each(|row| text.push_str(&format!("- {}\n", row.join(": "))));
    }
    if let Some(outcome) = &notice.outcome {
        text.push_str(&format!("\n{}, {}\n", outcome.what, outcome.at));
    }
    if !notice.next_steps.is_empty() {
        text.push_str("\nWhat to do\n");
        notice.next_steps.iter().for_each(|step| text.push_str(&format!("- {step}\n")));
    }
    text.push_str(&format!("\n{}\n", notice.id));
    text
}

fn alert<const N: usize>(
    kind: &str,
    (id, severity): (String, &str),
    (subject, text): (&str, String),
    (known, own): (Value, [(&str, String); N]),
) -> Alert {
    finish(kind, (&id, severity), (subject, text), (known, own.into()))
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
    let subject = ascii_line(subject);
    let mut json = Map::new();
    json.extend(attributes.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))));
    json.insert("id".into(), Value::String(id.to_owned()));
    json.insert("subject".into(), Value::String(subject.clone()));
    if let Value::Object(known) = known {
        json.extend(known);
    }
    Alert { id: id.to_owned(), subject, text, json: Value::Object(json).to_string(), attributes }
}

fn shortened(error: &str) -> String {
    if error.chars().count() <= ERROR_CHARS_MAX {
        return error.to_owned();
    }
    let head: String = error.chars().take(ERROR_CHARS_MAX).collect();
    format!("{head}...")
}

fn percent_encoded(team: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    team.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// One line of at most [`SUBJECT_CHARS_MAX`] printable ASCII characters.
fn ascii_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars() {
        match character {
            ' '..='~' => line.push(character),
            _ if character.is_whitespace() || character.is_control() => line.push(' '),
            _ => match latin(character) {
                Some(letters) => line.push_str(letters),
                None => line.extend(character.escape_unicode()),
            },
        }
    }
    let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.len() <= SUBJECT_CHARS_MAX {
        return words;
    }
    let head: String = words.chars().take(SUBJECT_CHARS_MAX.saturating_sub(3)).collect();
    format!("{head}...")
}

/// How a letter beyond ASCII is written without its marks.
const fn latin(character: char) -> Option<&'static str> {
    Some(match character {
        'ä' | 'æ' => "ae",
        'ö' | 'œ' => "oe",
        'ü' => "ue",
        'ß' => "ss",
        'Ä' | 'Æ' => "Ae",
        'Ö' | 'Œ' => "Oe",
        'Ü' => "Ue",
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ą' => "a",
        'À' | 'Á' | 'Â' | 'Ã' | 'Å' | 'Ą' => "A",
        'ç' | 'ć' | 'č' => "c",
        'Ç' | 'Ć' | 'Č' => "C",
        'è' | 'é' | 'ê' | 'ë' | 'ę' | 'ě' => "e",
        'È' | 'É' | 'Ê' | 'Ë' | 'Ę' | 'Ě' => "E",
        'ì' | 'í' | 'î' | 'ï' => "i",
        'Ì' | 'Í' | 'Î' | 'Ï' => "I",
        'ł' => "l",
        'Ł' => "L",
        'ñ' | 'ń' => "n",
        'Ñ' | 'Ń' => "N",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' => "o",
        'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ø' => "O",
        'ř' => "r",
        'ś' | 'š' => "s",
        'Ś' | 'Š' => "S",
        'ù' | 'ú' | 'û' | 'ů' => "u",
        'Ù' | 'Ú' | 'Û' | 'Ů' => "U",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'Ź' | 'Ż' | 'Ž' => "Z",
        '–' | '—' => "-",
        '‘' | '’' => "'",
        '“' | '”' | '„' => "\"",
        '…' => "...",
        '€' => "EUR",
        '£' => "GBP",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use recoup_model::Digest;
    use recoup_store::alerts::{ALERT_BYTES_MAX, ATTRIBUTES_MAX};

    use super::*;

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
            statement_ready((&long, "USD"), &issued(&"é\n".repeat(64)), "r1"),
            night_failed("r1", &long),
            close_failed("r1", &long),
            unpriced_model("u1", &UnpricedModel { model: "模".repeat(128), ..unpriced() }),
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
        let alert = statement_ready(("Example", "EUR"), &issued("support"), "r1");
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
        let night = night_failed("r1", "the store failed");
        assert_eq!(night.subject, "[recoup] nightly run failed: the store failed");
        assert!(night.text.contains("the store failed") && night.text.contains("recoup nightly"));
        let close = close_failed("r2", "findings stand");
        assert!(close.text.contains("findings stand") && close.text.contains("--plan"));
        assert_eq!(close.attributes["severity"], "error");
    }

    #[test]
    fn rat_2_a_model_without_a_price_is_named_with_the_remedy() {
        let alert = unpriced_model("u1", &unpriced());
        assert_eq!(alert.subject, "[recoup] no price for the model example-large of example");
        assert!(alert.text.contains("7 events on 2026-10-03") && alert.text.contains("recoup prices import"));
        assert!(alert.text.contains("never as zero"));
    }

    #[test]
    fn a_subject_is_one_line_of_plain_letters() {
        assert_eq!(ascii_line("Größe\n des  Teams – ok"), "Groesse des Teams - ok");
        assert_eq!(ascii_line("模"), "\\u{6a21}");
        assert_eq!(ascii_line(&"a".repeat(120)).len(), SUBJECT_CHARS_MAX);
    }
}
