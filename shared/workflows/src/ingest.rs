//! Ingest: a request body becomes events on disk. What is answered as accepted is durable.
//!
//! I/O: one read of the organisation (remembered), at most one group of name writes, one append; on one machine, where
//! something has a budget, the rollup of what was appended.

use std::sync::Arc;

use recoup_metering::{BodyError, ItemError, Rules, Shape, read_events};
use recoup_model::digest::{content_digest, response_fingerprint};
use recoup_model::{Event, Id, Identity, Kind, Origin, Recorded, Tags};
use recoup_store::{Appended, Expect, Incoming, Key, causes};
use serde::Serialize;

use crate::access::Principal;
use crate::app::App;
use crate::error::Refusal;
use crate::records;

/// Conflicts of one request that are kept as findings; all of them are in the answer.
const CONFLICTS_KEPT_MAX: usize = 100;

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemStatus {
    /// On disk.
    Accepted,
    /// The same event was there (EVT-2).
    Duplicate,
    /// The same identity with other content was there, and stays (EVT-2).
    Conflict,
    /// Not an event that can be kept.
    Rejected,
}

/// The answer for one event.
#[derive(Clone, Debug, Serialize)]
pub struct ItemResult {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its id, where one could be read.
    pub event_id: Option<String>,
    /// What became of it.
    pub status: ItemStatus,
    /// Why it was not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ItemProblem>,
}

/// Why an event was not accepted.
#[derive(Clone, Debug, Serialize)]
pub struct ItemProblem {
    /// Stable name, kebab-case.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The field concerned.
    pub field: String,
    /// What is wrong with it, and the remedy.
    pub detail: String,
    /// The line of the body that it stands on, from 1, where each line is an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// The answer to a request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Receipt {
    /// Events on disk now.
    pub accepted: u64,
    /// Events that were there.
    pub duplicate: u64,
    /// Events whose identity was there with other content.
    pub conflict: u64,
    /// Events that cannot be kept.
    pub rejected: u64,
    /// Each event, or only those that were not accepted.
    pub results: Vec<ItemResult>,
}

/// Which items an answer lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// All.
    All,
    /// Those that were not accepted.
    Errors,
}

impl Receipt {
    fn add(&mut self, result: ItemResult, listing: Listing) {
        let counter = match result.status {
            ItemStatus::Accepted => &mut self.accepted,
            ItemStatus::Duplicate => &mut self.duplicate,
            ItemStatus::Conflict => &mut self.conflict,
            ItemStatus::Rejected => &mut self.rejected,
        };
        *counter = counter.saturating_add(1);
        if listing == Listing::All || result.status != ItemStatus::Accepted {
            self.results.push(result);
        }
    }
}

fn body_refusal(error: &BodyError) -> Refusal {
    match error {
        BodyError::TooManyEvents { .. } => Refusal::TooLarge(error.to_string()),
        _ => Refusal::invalid(error.type_name(), "body", error.to_string()),
    }
}

impl App {
    /// Takes a request body: one event, an array, or NDJSON.
    ///
    /// # Errors
    /// When the body cannot be read at all or the store fails: then nothing was acknowledged.
    pub async fn ingest(
        &self,
        principal: &Principal,
        body: &[u8],
        shape: Shape,
        listing: Listing,
    ) -> Result<Receipt, Refusal> {
        principal.may_ingest()?;
        let extra_tags = self.allowed_extra_tags().await?;
        let now_ns = self.now_ns();
        let read = read_events(body, shape, &Rules { now_ns, extra_tags: &extra_tags })
            .map_err(|error| body_refusal(&error))?;
        let origin = Origin {
            key_id: principal.key_id.as_deref().map(Id::from),
            key_tags: Arc::new(self.default_tags(principal).await?),
            resource_team: None,
        };
        let (items, events) = sort_out(read);
        let incoming = self.prepare(events, &origin, now_ns).await?;
        let outcomes = self.ports.log.append(incoming).await?;
        // What is on disk is acknowledged; the next request, or the night, counts what could not be counted now.
        if let Err(error) = self.roll_up_new().await {
            tracing::error!(error = causes(&error), "events were recorded and not counted yet");
        }
        let receipt = answer(items, &outcomes, listing)?;
        self.keep_conflicts(&receipt).await?;
        Ok(receipt)
    }

    /// The default tags of a key as events carry them: their user is a pseudonym, as that of an event is.
    async fn default_tags(&self, principal: &Principal) -> Result<Tags, Refusal> {
        let mut tags = principal.tags.clone();
        if let Some(user) = &mut tags.user {
            let pseudonyms = self.pseudonyms.remember(self.books(), std::slice::from_ref(user)).await?;
            if let Some(pseudonym) = pseudonyms.into_iter().next() {
                *user = pseudonym;
            }
        }
        Ok(tags)
    }

    async fn allowed_extra_tags(&self) -> Result<Vec<Id>, Refusal> {
        match self.organisation_today().await {
            Ok(organisation) => Ok(organisation.policy.extra_tags.clone()),
            Err(Refusal::Conflict { kind: "no-organisation", .. }) => Ok(Vec::new()),
            Err(refusal) => Err(refusal),
        }
    }

    async fn prepare(&self, mut events: Vec<Event>, origin: &Origin, now_ns: i64) -> Result<Vec<Incoming>, Refusal> {
        let users: Vec<Id> = events.iter().filter_map(|event| event.tags.user.clone()).collect();
        let pseudonyms = self.pseudonyms.remember(self.books(), &users).await?;
        let tagged = events.iter_mut().filter(|event| event.tags.user.is_some());
        for (event, pseudonym) in tagged.zip(pseudonyms) {
            event.tags.user = Some(pseudonym);
        }
        Ok(events
            .into_iter()
            .map(|event| Incoming {
                identity: Identity::of(&event),
                digest: content_digest(&event),
                response: response_of(&event),
                recorded: Recorded { event, origin: origin.clone(), recorded_at_ns: now_ns },
            })
            .collect())
    }

    async fn keep_conflicts(&self, receipt: &Receipt) -> Result<(), Refusal> {
        let conflicts = receipt.results.iter().filter(|result| result.status == ItemStatus::Conflict);
        let now = self.now_ns();
        let writes = conflicts.take(CONFLICTS_KEPT_MAX).map(|conflict| {
            let key = Key::new("findings/conflict", format!("{now:020}-{:06}", conflict.index));
            records::put(key, conflict, Expect::Any)
        });
        let writes = writes.collect::<Result<Vec<_>, _>>()?;
        Ok(records::write_in_groups(self.books(), writes).await?)
    }
}

/// The provider call that an event reports. A wrapper repeats what is below it and is no report of its own (EVT-5).
pub(crate) fn response_of(event: &Event) -> Option<u64> {
    if event.kind == Kind::Agent {
        return None;
    }
    Some(response_fingerprint(event.provider.as_deref()?, event.response_id.as_deref()?))
}

enum Item {
    Event(Id),
    Problem(ItemError),
}

fn sort_out(read: Vec<Result<Event, ItemError>>) -> (Vec<Item>, Vec<Event>) {
    let mut events = Vec::with_capacity(read.len());
    let items = read
        .into_iter()
        .map(|item| match item {
            Ok(event) => {
                let id = event.event_id.clone();
                events.push(event);
                Item::Event(id)
            }
            Err(problem) => Item::Problem(problem),
        })
        .collect();
    (items, events)
}

fn conflict_problem() -> ItemProblem {
    ItemProblem {
        kind: "conflict",
        field: "event_id".into(),
        detail:
            "an event with this trace_id and event_id but other content was recorded first and stays; to correct it \
                 send a new event_id with `supersedes`"
                .into(),
        line: None,
    }
}

fn answer(items: Vec<Item>, outcomes: &[Appended], listing: Listing) -> Result<Receipt, Refusal> {
    let mut receipt = Receipt::default();
    let mut outcomes = outcomes.iter();
    for (index, item) in items.into_iter().enumerate() {
        let result = match item {
            Item::Problem(problem) => {
                let ItemError { r#type: kind, field, detail, line, event_id } = problem;
                let error = Some(ItemProblem { kind, field, detail, line });
                ItemResult { index, event_id, status: ItemStatus::Rejected, error }
            }
            Item::Event(id) => {
                let outcome = outcomes.next().ok_or_else(|| {
                    Refusal::computation("answer a request", "the log answered fewer events than it was given")
                })?;
                let (status, error) = match outcome {
                    Appended::Accepted => (ItemStatus::Accepted, None),
                    Appended::Duplicate => (ItemStatus::Duplicate, None),
                    Appended::Conflict => (ItemStatus::Conflict, Some(conflict_problem())),
                };
                ItemResult { index, event_id: Some(id.to_string()), status, error }
            }
        };
        receipt.add(result, listing);
    }
    Ok(receipt)
}
