//! What somebody should hear of, before it takes the form of a channel.

use serde::{Deserialize, Serialize};

use crate::text::one_line;

/// How urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody has to act.
    Critical,
}

impl Severity {
    /// Its name, as attributes of messages carry it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Who has to hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// The lead of the team.
    Lead,
    /// Those who look after all budgets.
    FinOps,
}

/// A figure with its name. Both are shown as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// `Spent`, `Budget`, `Days left`.
    pub label: String,
    /// `4,512.30 USD`.
    pub value: String,
}

/// A small table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Its head.
    pub columns: Vec<String>,
    /// Its rows, each with as many cells.
    pub rows: Vec<Vec<String>>,
}

/// What a reader can do about it, by a button where the channel has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Say that it was seen.
    Acknowledge,
    /// Ask for more.
    RequestExtension,
    /// Let somebody have more.
    Approve,
    /// Do not.
    Decline,
    /// Look at a page.
    Open {
        /// Words on the button.
        label: String,
        /// Where it leads.
        url: String,
    },
}

/// What was done about it, shown in the place of the buttons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// `Acknowledged by ana`.
    pub what: String,
    /// When, RFC 3339.
    pub at: String,
}

/// What somebody should hear of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Names it: the same notice has the same id, also when it tells of a change.
    pub id: String,
    /// `budget-tier`, `statement-ready` and so on, kebab-case.
    pub kind: String,
    /// How urgent it is.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// One or two sentences with the figures in words.
    pub summary: String,
    /// The figures.
    #[serde(default)]
    pub facts: Vec<Fact>,
    /// More figures.
    #[serde(default)]
    pub table: Option<Table>,
    /// What to do. What is typed stands in backticks, at the end after a colon.
    #[serde(default)]
    pub next_steps: Vec<String>,
    /// What can be done from the message.
    #[serde(default)]
    pub actions: Vec<Action>,
    /// The team that it concerns; `None`: the organisation.
    #[serde(default)]
    pub team: Option<String>,
    /// Who has to hear it.
    pub audience: Vec<Audience>,
    /// Messages of one thread stand together: one for each budget and period.
    #[serde(default)]
    pub thread: Option<String>,
    /// What was done about it.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// When, RFC 3339.
    pub at: String,
}

impl Notice {
    /// Its title on one line; what it is, where it has none.
    pub(crate) fn heading(&self) -> String {
        let named = [&self.title, &self.kind].map(|text| one_line(text)).into_iter().find(|text| !text.is_empty());
        named.unwrap_or_else(|| "Notice".to_owned())
    }

    /// Its pages: words and address. What is no address of a page is left out.
    pub(crate) fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.actions.iter().filter_map(|action| match action {
            Action::Open { label, url } => Some((if label.trim().is_empty() { "Open" } else { label }, page(url)?)),
            _ => None,
        })
    }
}

/// An address that may be opened: of a page, and without letters that would end it.
pub(crate) fn page(url: &str) -> Option<&str> {
    let is_page = url.starts_with("https://") || url.starts_with("http://");
    let ends = |letter: char| letter.is_whitespace() || letter.is_control() || "<>|\"'`".contains(letter);
    (is_page && !url.contains(ends)).then_some(url)
}
