//! A notice as a message.

use serde_json::{Value, json};

use super::SlackMessage;
use super::block::{
    BUTTON_MAX, BUTTONS_MAX, CONTEXT_MAX, FIELD_MAX, FIELDS_MAX, SECTION_MAX, URL_MAX, VALUE_MAX, header, marked,
    plain, section, when,
};
use super::callback::Button;
use crate::notice::{Action, Fact, Notice, Outcome, Severity, Table, page};
use crate::table;
use crate::text::{cut, escaped, lines, one_line, units_of};

/// Sections of facts.
const FACT_SECTIONS_MAX: usize = 3;
/// Characters of the text for notifications.
const TEXT_MAX: usize = 3_000;
/// Characters of a fact's name.
const LABEL_MAX: usize = 200;
/// Rows that are tried; fewer fit into a section.
const ROWS_MAX: usize = 500;
/// Steps that are listed.
const STEPS_MAX: usize = 10;
/// Characters of a step.
const STEP_MAX: usize = 280;

/// A notice as a message: what it is, the figures, what to do, the buttons, or what was done already.
#[must_use]
pub fn message(notice: &Notice) -> SlackMessage {
    let title = format!("{} {}", mark(notice.severity), notice.heading());
    let mut blocks = vec![header(&title)];
    let summary = escaped(&lines(&notice.summary), SECTION_MAX);
    blocks.extend((!summary.is_empty()).then(|| section(&summary)));
    blocks.extend(notice.facts.chunks(FIELDS_MAX).take(FACT_SECTIONS_MAX).map(fields));
    blocks.extend(notice.table.as_ref().and_then(table_section));
    blocks.extend(notice.outcome.as_ref().map(outcome_section));
    if notice.outcome.is_none() {
        blocks.extend(steps_section(notice));
    }
    blocks.extend(buttons(notice));
    blocks.extend(context(notice));
    SlackMessage { text: fallback(notice, &title), blocks: Value::Array(blocks) }
}

/// What stands before the title.
pub(crate) const fn mark(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "ℹ️",
        Severity::Warning => "⚠️",
        Severity::Critical => "🚨",
    }
}

fn fallback(notice: &Notice, title: &str) -> String {
    let done = notice.outcome.as_ref().map(|outcome| format!("{}. ", one_line(&outcome.what))).unwrap_or_default();
    escaped(&format!("{title}. {done}{}", one_line(&notice.summary)), TEXT_MAX)
}

fn fields(facts: &[Fact]) -> Value {
    let field = |fact: &Fact| {
        let label = escaped(&one_line(&fact.label), LABEL_MAX);
        let value_max = FIELD_MAX.saturating_sub(units_of(&label)).saturating_sub("**\n".len());
        let value = escaped(&one_line(&fact.value), value_max);
        let value = if value.is_empty() { "–" } else { &value };
        marked(&if label.is_empty() { value.to_owned() } else { format!("*{label}*\n{value}") })
    };
    json!({ "type": "section", "fields": facts.iter().map(field).collect::<Vec<_>>() })
}

/// A block of letters of one width, so that figures stand below each other.
fn table_section(table: &Table) -> Option<Value> {
    // Three backticks would begin a block, or end it.
    let typed = |text: &str| text.replace('`', "'");
    let title = escaped(&typed(&one_line(&table.title)), LABEL_MAX);
    let mut text = format!("*{title}*\n```");
    let closing = "```";
    let mut shown = 0_usize;
    let rows = table::aligned(table, ROWS_MAX);
    // Room for the last line, which says how many are left out.
    let room = SECTION_MAX.saturating_sub(closing.len()).saturating_sub("\n… and 18446744073709551615 more".len());
    for row in &rows {
        let line = escaped(&typed(row), usize::MAX);
        if units_of(&text).saturating_add(units_of(&line)).saturating_add(1) > room {
            break;
        }
        if shown > 0 {
            text.push('\n');
        }
        text.push_str(&line);
        shown = shown.saturating_add(1);
    }
    let head = usize::from(!table.columns.is_empty());
    let left_out = table.rows.len().saturating_add(head).saturating_sub(shown);
    if left_out > 0 {
        text.push_str(&format!("\n… and {left_out} more"));
    }
    text.push_str(closing);
    (!table.rows.is_empty()).then(|| section(&text))
}

/// Where buttons do it, the commands that would are left out.
fn steps_section(notice: &Notice) -> Option<Value> {
    let has_buttons = notice.actions.iter().any(|action| !matches!(action, Action::Open { .. }));
    let shown = |step: &String| {
        let step = one_line(step);
        let words = step.strip_suffix('`').and_then(|step| step.split_once(": `")).filter(|_| has_buttons);
        let step = words.map_or_else(|| step.clone(), |(words, _)| format!("{words}."));
        format!("• {}", escaped(&step, STEP_MAX))
    };
    let lines: Vec<String> = notice.next_steps.iter().take(STEPS_MAX).map(shown).collect();
    (!lines.is_empty()).then(|| section(&format!("*What to do*\n{}", lines.join("\n"))))
}

fn outcome_section(outcome: &Outcome) -> Value {
    let what = escaped(&one_line(&outcome.what), FIELD_MAX);
    let at = if outcome.at.is_empty() { String::new() } else { format!(", {}", when(&outcome.at, LABEL_MAX)) };
    section(&format!("✅ *{what}*{at}"))
}

fn context(notice: &Notice) -> Option<Value> {
    let small = |text: &str| escaped(&one_line(text), CONTEXT_MAX);
    let elements = [small(&notice.kind), small(&notice.id), when(&notice.at, CONTEXT_MAX)];
    let elements: Vec<Value> = elements.iter().filter(|text| !text.is_empty()).map(|text| marked(text)).collect();
    (!elements.is_empty()).then(|| json!({ "type": "context", "elements": elements }))
}

/// What can be done. What was done already has no button any more; more can still be asked for, and pages can be opened.
fn buttons(notice: &Notice) -> Option<Value> {
    let is_open =
        |action: &&Action| notice.outcome.is_none() || matches!(action, Action::RequestExtension | Action::Open { .. });
    let mut elements: Vec<Value> = Vec::new();
    let mut links = 0_usize;
    for action in notice.actions.iter().filter(is_open) {
        if let Action::Open { .. } = action {
            links = links.saturating_add(1);
        }
        let Some(element) = button(action, links, notice) else { continue };
        // Slack refuses a block with two buttons of one name.
        let is_new = elements.iter().all(|other| other.get("action_id") != element.get("action_id"));
        if is_new && elements.len() < BUTTONS_MAX {
            elements.push(element);
        }
    }
    (!elements.is_empty()).then(|| json!({ "type": "actions", "elements": elements }))
}

/// A button; `None` where Slack would refuse it. `link` counts the links of the message.
fn button(action: &Action, link: usize, notice: &Notice) -> Option<Value> {
    let (button, label, style) = match action {
        Action::Acknowledge => (Button::Acknowledge, "Acknowledge", Some("primary")),
        Action::RequestExtension => (Button::RequestExtension, "Request extension", None),
        Action::Approve => (Button::Approve, "Approve", Some("primary")),
        Action::Decline => (Button::Decline, "Decline", Some("danger")),
        // Of what is only control characters nothing is left.
        Action::Open { label, .. } if one_line(label).trim().is_empty() => (Button::Open, "Open", None),
        Action::Open { label, .. } => (Button::Open, label.as_str(), None),
    };
    let name = if link > 1 && button == Button::Open { format!("open-{link}") } else { button.name().to_owned() };
    let mut element = json!({ "type": "button", "action_id": name, "text": plain(&one_line(label), BUTTON_MAX) });
    let parts = element.as_object_mut()?;
    parts.extend(style.map(|style| ("style".to_owned(), json!(style))));
    if let Action::Open { url, .. } = action {
        parts.insert("url".to_owned(), json!(page(url).filter(|url| units_of(url) <= URL_MAX)?));
        parts.insert("value".to_owned(), json!(cut(&notice.id, VALUE_MAX)));
        return Some(element);
    }
    // A part of an id would name something else.
    let is_whole = !notice.id.is_empty() && units_of(&notice.id) <= VALUE_MAX;
    parts.insert("value".to_owned(), json!(is_whole.then_some(&notice.id)?));
    if button == Button::Approve {
        parts.insert("confirm".to_owned(), confirmation(notice));
    }
    Some(element)
}

/// Asked before an approval is sent.
fn confirmation(notice: &Notice) -> Value {
    json!({
        "title": plain("Approve this?", 100), "text": plain(&notice.heading(), 300),
        "confirm": plain("Approve", 30), "deny": plain("Cancel", 30),
    })
}
