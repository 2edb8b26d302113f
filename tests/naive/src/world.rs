//! A world to settle: versions of an organisation file, and events that become known month by month.

use std::fmt;
use std::sync::Arc;

use chrono::NaiveDate;
use recoup_model::organisation::{History, Version, parse};
use recoup_model::period::format_instant;
use recoup_model::{Digest, Event, Period, Recorded};

/// An organisation file in pieces that can be left out one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// First local day on which it holds; `None`: for all time.
    pub effective: Option<NaiveDate>,
    /// `[organisation]`.
    pub head: String,
    /// Lines of `[policy]`.
    pub policy: Vec<String>,
    /// Entries, each with its own heading.
    pub entries: Vec<String>,
}

impl fmt::Display for File {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.head)?;
        if !self.policy.is_empty() {
            writeln!(out, "[policy]\n{}", self.policy.join("\n"))?;
        }
        self.entries.iter().try_for_each(|entry| writeln!(out, "{entry}"))
    }
}

/// An event, and the month in whose open time it is recorded: 0 is the first month of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Known from the close of this month on.
    pub known: usize,
    /// The event.
    pub recorded: Recorded,
}

/// Everything that is replayed: each month is settled once on the way and once at its close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// Versions of the organisation file.
    pub files: Vec<File>,
    /// The first month.
    pub first: Period,
    /// How many months.
    pub months: usize,
    /// The night at which each month is looked at on the way; the last one is not closed but settled up to it.
    pub through: Vec<NaiveDate>,
    /// Whether finance approves the rate card of each month (PRC-3).
    pub approved: Vec<bool>,
    /// The events.
    pub events: Vec<Placed>,
}

impl World {
    /// The versions of the organisation file; `None` where one of them is refused.
    #[must_use]
    pub fn history(&self) -> Option<History> {
        let read = |(number, file): (u32, &File)| {
            let text = file.to_string();
            let organisation = Arc::new(parse(&text).ok()?);
            Some(Version { number, effective: file.effective, digest: Digest::of(text.as_bytes()), text, organisation })
        };
        History::new((1..).zip(&self.files).map(read).collect::<Option<Vec<_>>>()?)
    }

    /// The months in order.
    #[must_use]
    pub fn periods(&self) -> Vec<Period> {
        std::iter::successors(Some(self.first), |period| Some(period.next())).take(self.months).collect()
    }

    /// What is known at the close of a month.
    #[must_use]
    pub fn known(&self, month: usize) -> Vec<Recorded> {
        self.events.iter().filter(|placed| placed.known <= month).map(|placed| placed.recorded.clone()).collect()
    }
}

impl fmt::Display for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(out, "--- organisation, effective {:?}\n{file}", file.effective)?;
        }
        writeln!(out, "--- {} months from {}, nights through {:?}", self.months, self.first, self.through)?;
        writeln!(out, "--- approved {:?}", self.approved)?;
        for placed in &self.events {
            writeln!(out, "known {}: {}", placed.known, shown(&placed.recorded))?;
        }
        Ok(())
    }
}

/// An event in one line, what it does not have left out.
#[must_use]
pub fn shown(recorded: &Recorded) -> String {
    let event = &recorded.event;
    let mut words = vec![
        format!("{}/{}", event.trace_id.as_deref().unwrap_or("-"), event.event_id),
        event.kind.name().to_owned(),
        format!("at {}", format_instant(event.used_at_ns)),
    ];
    let mut word = |name: &str, value: Option<String>| words.extend(value.map(|value| format!("{name}={value}")));
    let text = |id: &Option<recoup_model::Id>| id.as_ref().map(ToString::to_string);
    word("ms", event.duration_ms.map(|ms| ms.to_string()));
    word("parent", text(&event.parent_id));
    for (name, tags) in [("", &event.tags), ("key.", &*recorded.origin.key_tags)] {
        for (tag, value) in [
            ("agent", &tags.agent),
            ("type", &tags.task_type),
            ("team", &tags.team),
            ("user", &tags.user),
            ("project", &tags.project),
        ] {
            word(&format!("{name}{tag}"), text(value));
        }
    }
    word("resource.team", text(&recorded.origin.resource_team));
    word("status", event.status.map(|status| status.name().to_owned()));
    word("provider", text(&event.provider));
    word("model", text(&event.model));
    word("tier", text(&event.service_tier));
    word("usage", usage_of(event));
    word("quantity", event.quantity.as_ref().map(|of| format!("{} {} {:?}", of.quantity, of.sku, of.unit)));
    word("cost", event.reported.map(|cost| format!("{} {}", cost.amount, cost.currency.code())));
    word("response", text(&event.response_id));
    word("retry_of", text(&event.retry_of));
    word("supersedes", text(&event.supersedes));
    words.join(" ")
}

fn usage_of(event: &Event) -> Option<String> {
    let usage = event.usage?;
    let classes: Vec<String> = usage.nonzero().map(|(class, tokens)| format!("{}:{tokens}", class.name())).collect();
    Some(if classes.is_empty() { "none".to_owned() } else { classes.join(",") })
}
