//! A block as columns: what a reader of millions of events takes instead of an [`recoup_model::Event`] each.
//!
//! Every vector has an entry for each event, in the order in which they were encoded, unless it says otherwise. Codes
//! point into the tables of this block: 0 is no value, `k` is entry `k - 1`. What all events share is stored once and
//! costs nothing per event.
//! Start reading at [`read_columns`], then [`Columns`].

mod ids;
mod restore;

use std::sync::Arc;

use recoup_model::{Kind, Reported, Status, Tags, TokenClass, Usage};
use recoup_money::Amount;

pub(super) use ids::StoredIds;
use ids::push_digits;
pub use ids::{IdBuffer, IdText, TextRef};
pub use restore::Restore;
pub(super) use restore::tag_set;

use super::{BlockError, frame};

/// In [`UsageColumn::classes`]: the event reported its usage, of whatever classes (maybe none).
pub const USAGE_REPORTED: u16 = 1 << 15;
/// In [`Columns::parent_at`]: the block does not say that it holds the parent.
pub const NOT_HERE: u32 = u32::MAX;

/// Reads a block of any codec version, and checks its checksum.
///
/// # Errors
/// Every [`BlockError`] that is about bytes.
pub fn read_columns(bytes: &[u8]) -> Result<Columns, BlockError> {
    frame::read(bytes, frame::Check::Checksum, Wanted::All)
}

/// As [`read_columns`], for bytes whose checksum somebody checked already, as [`crate::EventLog::read`] does. Other
/// bytes are still read without a panic and within bounded memory.
///
/// # Errors
/// As [`read_columns`].
pub fn read_checked_columns(bytes: &[u8]) -> Result<Columns, BlockError> {
    read_wanted_columns(bytes, Wanted::All)
}

/// Which columns a reader takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All.
    All,
    /// `response_id` and `reservation_id` may be left out, which are most of the letters of a block. Events made of
    /// such columns lack them, so that their content digests are others.
    WithoutCalls,
    /// Only when the events were used and what kind they are; every other column may be left out.
    Times,
}

/// As [`read_checked_columns`], but only what is wanted.
///
/// # Errors
/// As [`read_columns`].
pub fn read_wanted_columns(bytes: &[u8], wanted: Wanted) -> Result<Columns, BlockError> {
    frame::read(bytes, frame::Check::Lengths, wanted)
}

/// A number for each event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codes {
    /// All events have this one.
    Same(u32),
    /// One for each.
    Each(Vec<u32>),
}

impl Default for Codes {
    fn default() -> Self {
        Self::Same(0)
    }
}

impl Codes {
    /// The code of an event; 0 behind the end.
    #[must_use]
    #[inline]
    pub fn at(&self, at: usize) -> u32 {
        match self {
            Self::Same(code) => *code,
            Self::Each(codes) => codes.get(at).copied().unwrap_or_default(),
        }
    }
}

/// Place of an entry in its table.
fn entry_of(code: u32) -> Option<usize> {
    usize::try_from(code.checked_sub(1)?).ok()
}

/// Texts one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    text: String,
    ends: Vec<u32>,
}

impl Texts {
    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text of that number, from 0.
    #[must_use]
    #[inline]
    pub fn get(&self, entry: usize) -> Option<&str> {
        let end = usize::try_from(*self.ends.get(entry)?).ok()?;
        let before = entry.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        self.text.get(usize::try_from(before).ok()?..end)
    }

    /// All texts in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|entry| self.get(entry).unwrap_or_default())
    }

    pub(super) fn with_room(texts: usize) -> Self {
        Self { text: String::new(), ends: Vec::with_capacity(texts) }
    }

    pub(super) fn reserve_letters(&mut self, letters: usize) {
        self.text.reserve(letters);
    }

    pub(super) fn push(&mut self, text: &str) {
        self.push_joined(text, "");
    }

    /// Adds a text in two parts.
    pub(super) fn push_joined(&mut self, begin: &str, end: &str) {
        self.text.push_str(begin);
        self.text.push_str(end);
        self.end_entry();
    }

    /// Adds the hexadecimal text of some bytes.
    pub(super) fn push_packed(&mut self, bytes: &[u8]) {
        push_digits(&mut self.text, bytes);
        self.end_entry();
    }

    fn end_entry(&mut self) {
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }
}

/// A column of optional texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextColumn {
    /// 0: the event has no value; `k`: it has the text `k - 1`.
    pub codes: Codes,
    /// The texts that appear, each once, in order of their first event.
    pub texts: Texts,
}

impl TextColumn {
    /// Whether no event has a value.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self.codes, Codes::Same(0))
    }

    /// The text of an event.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&str> {
        self.text(self.codes.at(at))
    }

    /// The text of a code.
    #[must_use]
    pub fn text(&self, code: u32) -> Option<&str> {
        self.texts.get(entry_of(code)?)
    }
}

/// A column of optional values that are not texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sparse<T> {
    /// 0: the event has no value; `k`: it has the entry `k - 1`.
    pub codes: Codes,
    /// The values, in order of their events.
    pub entries: Vec<T>,
}

impl<T> Default for Sparse<T> {
    fn default() -> Self {
        Self { codes: Codes::default(), entries: Vec::new() }
    }
}

impl<T: Copy> Sparse<T> {
    /// Whether no event has a value.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self.codes, Codes::Same(0))
    }

    /// The value of an event.
    #[must_use]
    #[inline]
    pub fn get(&self, at: usize) -> Option<T> {
        self.entries.get(entry_of(self.codes.at(at))?).copied()
    }
}

/// Tokens: only of the classes that have some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageColumn {
    /// A bit for each class with tokens, the first class in the lowest bit; and [`USAGE_REPORTED`].
    pub classes: Vec<u16>,
    /// Where an event's tokens begin in `tokens`. They are as many as it has classes, in class order.
    pub starts: Vec<u32>,
    /// Tokens of all events.
    pub tokens: Vec<u64>,
}

impl UsageColumn {
    /// The tokens of an event by class, in class order.
    #[inline]
    pub fn tokens_of(&self, at: usize) -> impl Iterator<Item = (TokenClass, u64)> {
        let classes = self.classes.get(at).copied().unwrap_or_default();
        let start = self.starts.get(at).and_then(|start| usize::try_from(*start).ok()).unwrap_or_default();
        let tokens = self.tokens.get(start..).unwrap_or_default();
        let used = TokenClass::ALL.into_iter().enumerate().filter(move |(bit, _)| classes >> bit & 1 == 1);
        used.map(|(_, class)| class).zip(tokens.iter().copied())
    }

    /// The usage of an event; `None` where it reported none.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Usage> {
        let classes = self.classes.get(at).copied().unwrap_or_default();
        let set = |mut usage: Usage, (class, tokens)| {
            usage.set(class, tokens);
            usage
        };
        (classes & USAGE_REPORTED != 0).then(|| self.tokens_of(at).fold(Usage::NONE, set))
    }
}

/// The default tags of the keys that brought the events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyTags {
    /// The number of each event's set, from 0.
    pub codes: Codes,
    /// The sets that appear.
    pub sets: Vec<Arc<Tags>>,
}

impl KeyTags {
    /// The set of an event.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&Arc<Tags>> {
        self.sets.get(usize::try_from(self.codes.at(at)).ok()?)
    }
}

/// Tags beyond the named dimensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraTags {
    /// Where the pairs of an event begin, and at its end how many there are; empty where no event has any.
    pub starts: Vec<u32>,
    /// The name in each pair.
    pub names: TextColumn,
    /// The value in each pair.
    pub values: TextColumn,
}

impl ExtraTags {
    /// Whether no event has any.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.starts.is_empty()
    }

    /// The pairs of an event.
    pub fn get(&self, at: usize) -> impl Iterator<Item = (&str, &str)> {
        let bound = |at: usize| self.starts.get(at).and_then(|bound| usize::try_from(*bound).ok()).unwrap_or_default();
        (bound(at)..bound(at.saturating_add(1))).filter_map(|pair| self.names.get(pair).zip(self.values.get(pair)))
    }
}

/// The events of a block. Times are nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// How many events.
    pub len: usize,
    /// The cost bucket.
    pub kind: Vec<Kind>,
    /// On a root: how the task ended.
    pub status: Vec<Option<Status>>,
    /// Whether the span claims `priority: critical`.
    pub critical: Vec<bool>,
    /// When the cost was caused.
    pub used_at_ns: Vec<i64>,
    /// When the event was stored.
    pub recorded_at_ns: Vec<i64>,
    /// How long the span took; 0 where `has_duration` says that nobody knows.
    pub duration_ms: Vec<u64>,
    /// Whether the event says how long it took.
    pub has_duration: Vec<bool>,
    /// The event's id, for [`Self::id`].
    pub event_id: Vec<TextRef>,
    /// The parent's id, for [`Self::id`].
    pub parent_id: Vec<TextRef>,
    /// The event of this block that is the parent: same trace, and the parent's id. [`NOT_HERE`] says nothing: the
    /// parent may be missing, in another block, or in this one.
    pub parent_at: Vec<u32>,
    /// The trace.
    pub trace_id: TextColumn,
    /// Who sold it.
    pub provider: TextColumn,
    /// Which model.
    pub model: TextColumn,
    /// Which tier of service.
    pub service_tier: TextColumn,
    /// The provider's id of the call.
    pub response_id: TextColumn,
    /// The event of the same trace that is tried again.
    pub retry_of: TextColumn,
    /// The event of the same trace that is corrected.
    pub supersedes: TextColumn,
    /// The reservation that is settled.
    pub reservation_id: TextColumn,
    /// The id of the key that brought it.
    pub key_id: TextColumn,
    /// The team that the resource names.
    pub resource_team: TextColumn,
    /// Which agent ran.
    pub agent: TextColumn,
    /// What kind of task it ran.
    pub task_type: TextColumn,
    /// Which task.
    pub task_id: TextColumn,
    /// For whom.
    pub user: TextColumn,
    /// Whose budget.
    pub team: TextColumn,
    /// Project or campaign.
    pub project: TextColumn,
    /// Further tags.
    pub extra: ExtraTags,
    /// Default tags of the key.
    pub key_tags: KeyTags,
    /// Tokens by class.
    pub usage: UsageColumn,
    /// Units that are not tokens; where an event has some it has a `sku`, and maybe a `unit`.
    pub quantity: Sparse<Amount>,
    /// The stock-keeping unit of the quantity.
    pub sku: TextColumn,
    /// What the quantity counts.
    pub unit: TextColumn,
    /// Cost as reported by the source.
    pub reported: Sparse<Reported>,
    /// Ids that are not held in their references.
    pub(super) ids: StoredIds,
}

impl Columns {
    /// The text of one of this block's ids; empty for none.
    #[must_use]
    pub fn id(&self, id: TextRef) -> IdText<'_> {
        self.ids.get(id)
    }

    /// How long an event took, where it says so.
    #[must_use]
    pub fn duration_ms(&self, at: usize) -> Option<u64> {
        self.duration_ms.get(at).copied().filter(|_| self.has_duration.get(at) == Some(&true))
    }
}
