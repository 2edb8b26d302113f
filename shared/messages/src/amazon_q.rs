//! Amazon Q Developer in chat applications: the custom notification, which it reads from a topic.
//!
//! What does not match its schema is dropped without a word. It shows the text by the rules of the chat it writes to, so
//! text is escaped as for Slack.

use serde_json::{Map, Value, json};

use crate::notice::Notice;
use crate::slack::mark;
use crate::text::{cut, escaped, lines, one_line, when};

/// Characters of a title.
const TITLE_MAX: usize = 250;
/// Characters of all other text of a notification together, about.
const DESCRIPTION_MAX: usize = 3_000;
/// Characters of a fact, of a row, of a step.
const LINE_MAX: usize = 300;
/// Facts, rows or steps.
const LINES_MAX: usize = 10;
/// Characters of a name that groups or finds notifications.
const NAME_MAX: usize = 250;

/// A notice as a custom notification. Those of one thread stand together.
#[must_use]
pub fn render(notice: &Notice) -> Value {
    let title = format!("{} {}", mark(notice.severity), notice.heading());
    let mut content = Map::new();
    content.insert("textType".into(), json!("client-markdown"));
    content.insert("title".into(), json!(escaped(&title, TITLE_MAX)));
    content.insert("description".into(), json!(description(notice)));
    let steps: Vec<String> = notice.next_steps.iter().take(LINES_MAX).map(|step| shown(step)).collect();
    if !steps.is_empty() && notice.outcome.is_none() {
        content.insert("nextSteps".into(), json!(steps));
    }
    let words = notice.team.iter().chain([&notice.kind]).map(|word| shown(word));
    let keywords: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    content.insert("keywords".into(), json!(keywords));
    let mut metadata = Map::new();
    metadata.extend(notice.thread.iter().map(|thread| ("threadId".to_owned(), json!(name(thread)))));
    metadata.insert("summary".into(), json!(shown(&notice.heading())));
    metadata.insert("eventType".into(), json!(shown(&notice.kind)));
    metadata.insert("additionalContext".into(), json!({ "severity": notice.severity.name() }));
    json!({
        "version": "1.0", "source": "custom", "id": name(&notice.id), "content": content, "metadata": metadata,
    })
}

fn name(text: &str) -> String {
    cut(&one_line(text), NAME_MAX)
}

fn shown(text: &str) -> String {
    escaped(&one_line(text), LINE_MAX)
}

/// It has no place of its own for figures, pages and what was done.
fn description(notice: &Notice) -> String {
    let mut parts = vec![escaped(&lines(&notice.summary), DESCRIPTION_MAX)];
    let facts = notice.facts.iter().take(LINES_MAX);
    parts.push(
        facts.map(|fact| format!("*{}:* {}", shown(&fact.label), shown(&fact.value))).collect::<Vec<_>>().join("\n"),
    );
    parts.extend(notice.table.as_ref().map(|table| {
        let rows = table.rows.iter().take(LINES_MAX).map(|row| format!("\n• {}", shown(&row.join(": "))));
        format!("*{}*{}", shown(&table.title), rows.collect::<String>())
    }));
    let done = notice.outcome.as_ref();
    parts.extend(done.map(|outcome| format!("✅ *{}*, {}", shown(&outcome.what), shown(&when(&outcome.at)))));
    parts.extend(notice.links().map(|(label, url)| format!("<{url}|{}>", shown(label))));
    parts.retain(|part| !part.is_empty());
    // Its schema asks for a description.
    if parts.is_empty() { shown(&notice.heading()) } else { parts.join("\n\n") }
}
