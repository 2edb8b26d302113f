//! Blocks of a day as rows: names are translated once a block, numbers are copied.

use std::cell::RefCell;
use std::sync::Arc;

use recoup_attribution::AttributionError;
use recoup_attribution::batch::{Batch, Consumption, Feed, Name, Row, Source, SpanKey};
use recoup_model::digest::content_digest;
use recoup_model::{Id, Identity, Kind, Recorded};
use recoup_store::block::columns::{Codes, Columns, IdBuffer, NOT_HERE, Restore, TextColumn, TextRef, USAGE_REPORTED};
pub(super) use recoup_store::block::prints::Print;
use recoup_store::block::prints::print_of;

/// What a decoded block takes however few events it has,
const BLOCK_BYTES: usize = 4_096;
/// what each event takes in columns of numbers,
const EVENT_BYTES: usize = 250;
/// and how many times longer texts are than they are stored.
const TEXT_GROWTH: usize = 4;

/// Products of a block that are found without looking them up.
const PRODUCTS_KNOWN: usize = 64;

/// A block in columns, with what tells its events apart.
pub(crate) struct DayBlock {
    pub(crate) columns: Columns,
    pub(crate) prints: Vec<Print>,
    /// About how much memory it takes.
    pub(super) weight: usize,
}

impl DayBlock {
    /// The block with fingerprints that the store kept, or else computed. `stored_bytes`: how long it is in the store.
    pub(crate) fn new(columns: Columns, prints: Option<Vec<Print>>, stored_bytes: usize) -> Self {
        let prints = prints.filter(|prints| prints.len() == columns.len).unwrap_or_else(|| prints_of(&columns));
        let of_events = columns.len.saturating_mul(EVENT_BYTES);
        let weight = BLOCK_BYTES.saturating_add(of_events).saturating_add(stored_bytes.saturating_mul(TEXT_GROWTH));
        Self { columns, prints, weight }
    }

    /// The trace of each event.
    pub(crate) fn traces(&self) -> impl Iterator<Item = u64> + '_ {
        self.prints.iter().map(|print| identity_of(print).trace)
    }

    /// The events of the block that belong to one of some traces.
    pub(crate) fn events_of(&self, wanted: impl Fn(u64) -> bool) -> Vec<(Identity, Recorded)> {
        let mut restore = self.columns.restore();
        let identities = self.prints.iter().map(identity_of).enumerate();
        identities
            .filter(|(_, identity)| wanted(identity.trace))
            .filter_map(|(at, identity)| Some((identity, restore.event(at)?)))
            .collect()
    }
}

fn prints_of(columns: &Columns) -> Vec<Print> {
    let mut restore = columns.restore();
    (0..columns.len)
        .filter_map(|at| {
            let event = restore.event(at)?.event;
            Some(print_of(Identity::of(&event), &content_digest(&event)))
        })
        .collect()
}

pub(super) fn identity_of(print: &Print) -> Identity {
    let half =
        |at: usize| print.get(at..).and_then(<[u8]>::first_chunk::<8>).map_or(0, |bytes| u64::from_be_bytes(*bytes));
    Identity { trace: half(0), event: half(8) }
}

/// The events behind the rows of a batch: those of the blocks in order, then single ones. The number of a row has that of its
/// block in the upper half and its place there in the lower one; single events lie as if in one more block.
pub(super) struct Rows<'a> {
    blocks: &'a [Arc<DayBlock>],
    single: &'a [Recorded],
    /// What was read in full, by block: the events of one share their texts.
    restores: RefCell<Vec<Option<Restore<'a>>>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(blocks: &'a [Arc<DayBlock>], single: &'a [Recorded]) -> Self {
        Self { blocks, single, restores: RefCell::new(blocks.iter().map(|_| None).collect()) }
    }

    /// The number of the first row of a block.
    fn first(block: usize) -> u64 {
        u64::try_from(block).unwrap_or(u64::MAX) << u32::BITS
    }

    /// The block of a row, or one behind the last, and its place there.
    fn place(row: u64) -> (usize, usize) {
        let place = |half: u64| usize::try_from(half).unwrap_or(usize::MAX);
        (place(row >> u32::BITS), place(row & u64::from(u32::MAX)))
    }

    fn restored(&self, block: usize, at: usize) -> Option<Recorded> {
        let mut restores = self.restores.try_borrow_mut().ok()?;
        let columns = &self.blocks.get(block)?.columns;
        restores.get_mut(block)?.get_or_insert_with(|| columns.restore()).event(at)
    }
}

impl Source for Rows<'_> {
    fn traces(&self) -> impl Iterator<Item = (u64, i64)> {
        let stored = self.blocks.iter().flat_map(|block| block.traces().zip(block.columns.used_at_ns.iter().copied()));
        let single = self.single.iter().map(|one| (Identity::of(&one.event).trace, one.event.used_at_ns));
        stored.chain(single)
    }

    fn fill(&self, feed: &mut Feed<'_, Self>) -> Result<(), AttributionError> {
        for (number, block) in self.blocks.iter().enumerate() {
            push_block(feed, block, Self::first(number))?;
        }
        let first = Self::first(self.blocks.len());
        (0..).zip(self.single).try_for_each(|(at, one)| feed.push_recorded(first.saturating_add(at), one))
    }

    fn recorded(&self, row: u64) -> Option<Recorded> {
        match Self::place(row) {
            (block, at) if block < self.blocks.len() => self.restored(block, at),
            (_, at) => self.single.get(at).cloned(),
        }
    }

    fn digest(&self, row: u64) -> Option<[u8; 32]> {
        match Self::place(row) {
            (block, at) if block < self.blocks.len() => self.blocks.get(block)?.prints.get(at)?.last_chunk().copied(),
            (_, at) => Some(content_digest(&self.single.get(at)?.event).0),
        }
    }

    fn trace_name(&self, row: u64) -> Option<Id> {
        match Self::place(row) {
            (block, at) if block < self.blocks.len() => {
                let columns = &self.blocks.get(block)?.columns;
                let named = columns.trace_id.get(at).map(Id::from);
                named
                    .or_else(|| Some(Id::from(columns.id(*columns.event_id.get(at)?).as_str(&mut IdBuffer::default()))))
            }
            (_, at) => self.single.get(at).map(|one| Id::clone(one.event.trace_name())),
        }
    }
}

/// A column of a block in the names of the batch.
enum Translated<'c> {
    Same(Name),
    Each(&'c [u32], Vec<Name>),
}

impl<'c> Translated<'c> {
    fn new(batch: &mut Batch<'_>, column: &'c TextColumn) -> Self {
        let mut names = vec![0];
        names.extend(column.texts.iter().map(|text| batch.name(text)));
        match &column.codes {
            Codes::Same(code) => Self::Same(at(&names, *code)),
            Codes::Each(codes) => Self::Each(codes, names),
        }
    }

    #[inline]
    fn get(&self, event: usize) -> Name {
        match self {
            Self::Same(name) => *name,
            Self::Each(codes, names) => codes.get(event).map_or(0, |code| at(names, *code)),
        }
    }
}

#[inline]
fn at(names: &[Name], code: u32) -> Name {
    usize::try_from(code).ok().and_then(|code| names.get(code)).copied().unwrap_or_default()
}

/// The columns of a block that rows take names from.
struct Block<'c> {
    columns: &'c Columns,
    agent: Translated<'c>,
    task_type: Translated<'c>,
    team: Translated<'c>,
    user: Translated<'c>,
    project: Translated<'c>,
    resource_team: Translated<'c>,
    provider: Translated<'c>,
    model: Translated<'c>,
    service_tier: Translated<'c>,
    sku: Translated<'c>,
    unit: Translated<'c>,
    keys: Vec<u32>,
}

impl<'c> Block<'c> {
    fn new(batch: &mut Batch<'_>, columns: &'c Columns) -> Self {
        Self {
            columns,
            agent: Translated::new(batch, &columns.agent),
            task_type: Translated::new(batch, &columns.task_type),
            team: Translated::new(batch, &columns.team),
            user: Translated::new(batch, &columns.user),
            project: Translated::new(batch, &columns.project),
            resource_team: Translated::new(batch, &columns.resource_team),
            provider: Translated::new(batch, &columns.provider),
            model: Translated::new(batch, &columns.model),
            service_tier: Translated::new(batch, &columns.service_tier),
            sku: Translated::new(batch, &columns.sku),
            unit: Translated::new(batch, &columns.unit),
            keys: columns.key_tags.sets.iter().map(|tags| batch.key(tags)).collect(),
        }
    }

    fn is_special(&self, event: usize) -> bool {
        let columns = self.columns;
        columns.critical.get(event) == Some(&true)
            || columns.supersedes.codes.at(event) != 0
            || columns.retry_of.codes.at(event) != 0
    }

    fn row(&self, event: usize, identity: Identity, (product, sku): (u32, u32)) -> Option<Row> {
        let columns = self.columns;
        let length = columns.duration_ms(event).map(u32::try_from);
        Some(Row {
            identity,
            event: self.key(*columns.event_id.get(event)?, identity.trace),
            parent: self.parent(event, identity.trace),
            used_at_ns: *columns.used_at_ns.get(event)?,
            duration_ms: length.and_then(Result::ok),
            agent: self.agent.get(event),
            task_type: self.task_type.get(event),
            team: self.team.get(event),
            user: self.user.get(event),
            project: self.project.get(event),
            resource_team: self.resource_team.get(event),
            key: at(&self.keys, columns.key_tags.codes.at(event)),
            product,
            sku,
            kind: columns.kind.get(event).copied().unwrap_or(Kind::Agent),
            status: columns.status.get(event).copied().flatten(),
            irregular: self.is_special(event) || length.is_some_and(|length| length.is_err()),
        })
    }

    #[inline]
    fn key(&self, id: TextRef, trace: u64) -> SpanKey {
        match id.hex16() {
            Some(key) => SpanKey { key, is_fingerprint: false },
            None => SpanKey::of(trace, self.columns.id(id).as_str(&mut IdBuffer::default())),
        }
    }

    fn parent(&self, event: usize, trace: u64) -> Option<SpanKey> {
        let parent = self.columns.parent_id.get(event).copied().filter(|id| !id.is_none())?;
        match self.columns.parent_at.get(event).and_then(|at| usize::try_from(*at).ok()) {
            // The number of an event of the same block saves the digest of a longer id.
            Some(here) if parent.hex16().is_none() && u32::try_from(here) != Ok(NOT_HERE) => {
                Some(self.key(*self.columns.event_id.get(here)?, trace))
            }
            _ => Some(self.key(parent, trace)),
        }
    }
}

/// Gives the rows of a block, of which the first has this number.
fn push_block(feed: &mut Feed<'_, Rows<'_>>, block: &DayBlock, first: u64) -> Result<(), AttributionError> {
    let columns = &block.columns;
    let translated = Block::new(feed.batch(), columns);
    let mut products = [((0, 0, 0), 0); PRODUCTS_KNOWN];
    for ((event, print), number) in block.prints.iter().enumerate().zip(first..) {
        if !feed.wants_next() {
            feed.skip();
            continue;
        }
        let batch = feed.batch();
        let identity = identity_of(print);
        let names = (translated.provider.get(event), translated.model.get(event), translated.service_tier.get(event));
        // By model: events of one product do not lie together, and a block names few.
        let place = usize::try_from(names.1).unwrap_or_default().checked_rem(PRODUCTS_KNOWN).unwrap_or_default();
        let product = match products.get_mut(place) {
            Some(known) if known.0 == names => known.1,
            known => {
                let product = batch.product(names.0, names.1, names.2);
                known.into_iter().for_each(|known| *known = (names, product));
                product
            }
        };
        let quantity = columns.quantity.get(event);
        let sku = quantity.map_or(0, |_| batch.sku(translated.sku.get(event), translated.unit.get(event)));
        let row = translated.row(event, identity, (product, sku)).ok_or(AttributionError::RowsDiffer)?;
        let classes = columns.usage.classes.get(event).copied().unwrap_or_default();
        let start = columns.usage.starts.get(event).and_then(|start| usize::try_from(*start).ok()).unwrap_or_default();
        let used = usize::try_from((classes & !USAGE_REPORTED).count_ones()).unwrap_or_default();
        let tokens = columns.usage.tokens.get(start..start.saturating_add(used)).unwrap_or_default();
        let reported = columns.reported.get(event).map(|reported| (reported.amount.pico(), reported.currency));
        let classes = (classes & USAGE_REPORTED != 0).then_some(classes & !USAGE_REPORTED);
        let quantity_pico = quantity.map_or(0, recoup_money::Amount::pico);
        feed.push(number, row, &Consumption { classes, tokens, quantity_pico, reported })?;
    }
    Ok(())
}
