//! The columns of version 1, in the order of the format.

use std::sync::Arc;

use recoup_model::limits::EXTRA_TAGS_MAX;
use recoup_model::{Kind, Reported, Status, TokenClass};
use recoup_money::{Amount, Currency};

use super::super::BlockError;
use super::super::columns::{
    Codes, Columns, ExtraTags, KeyTags, NOT_HERE, Sparse, TextColumn, TextRef, Texts, USAGE_REPORTED, UsageColumn,
    tag_set,
};
use super::texts::{self, Entry, EntryReader, IdReader};
use super::wire::{Reader, Sections, unzigzag};
use super::{HAS_DURATION, HAS_QUANTITY, HAS_REPORTED, HAS_USAGE, IS_CRITICAL, PARENT_ENTRY, PARENT_NONE, PARENT_TEXT};

/// The columns of a block of `count` events.
pub(in crate::block) fn read(count: usize, sections: &Sections) -> Result<Columns, BlockError> {
    let mut reader = Reader::new(sections);
    let mut columns = Columns { len: count, ..Columns::default() };
    let shapes = read_shapes(&mut reader, &mut columns)?;
    columns.used_at_ns = read_times(&mut reader, "used_at", count)?;
    columns.recorded_at_ns = read_times(&mut reader, "recorded_at", count)?;
    read_ids(&mut reader, &mut columns)?;
    read_texts(&mut reader, &mut columns, &shapes)?;
    let tags = read_tags(&mut reader, count)?;
    let named = [
        &mut columns.agent,
        &mut columns.task_type,
        &mut columns.task_id,
        &mut columns.user,
        &mut columns.team,
        &mut columns.project,
    ];
    named.into_iter().zip(tags.named).for_each(|(column, read)| *column = read);
    columns.extra = tags.extra;
    columns.key_tags = read_key_tags(&mut reader, count)?;
    read_figures(&mut reader, &mut columns, &shapes)?;
    reader.end()?;
    settle_parents(&mut columns);
    Ok(columns)
}

fn read_shapes(reader: &mut Reader<'_>, columns: &mut Columns) -> Result<Vec<u8>, BlockError> {
    reader.column = "shape";
    let shapes = reader.bytes(columns.len)?.to_vec();
    columns.critical = shapes.iter().map(|shape| shape & IS_CRITICAL != 0).collect();
    columns.has_duration = shapes.iter().map(|shape| shape & HAS_DURATION != 0).collect();
    reader.column = "kind";
    let kinds = reader.bytes(columns.len)?;
    let kind = |byte: &u8| Kind::ALL.get(usize::from(byte & 15)).copied();
    let known = kinds.iter().map(kind).collect::<Option<Vec<Kind>>>();
    columns.kind = known.ok_or_else(|| reader.wrong("names an unknown kind"))?;
    let status = |byte: &u8| match usize::from(byte >> 4).checked_sub(1) {
        None => Some(None),
        Some(at) => Status::ALL.get(at).copied().map(Some),
    };
    let known = kinds.iter().map(status).collect::<Option<Vec<Option<Status>>>>();
    columns.status = known.ok_or_else(|| reader.wrong("names an unknown status"))?;
    Ok(shapes)
}

fn read_times(reader: &mut Reader<'_>, column: &'static str, count: usize) -> Result<Vec<i64>, BlockError> {
    reader.column = column;
    let unit = 10_i64.checked_pow(u32::from(reader.byte()?)).ok_or_else(|| reader.wrong("has an unknown unit"))?;
    let mut times = Vec::with_capacity(count);
    let mut now = 0_i64;
    for _ in 0..count {
        now = now.wrapping_add(reader.signed()?);
        times.push(now.checked_mul(unit).ok_or_else(|| reader.wrong("has a time out of range"))?);
    }
    Ok(times)
}

/// Ids of the events and of their parents.
fn read_ids(reader: &mut Reader<'_>, columns: &mut Columns) -> Result<(), BlockError> {
    let count = columns.len;
    let (codes, entries) = texts::read_ids(reader, "event_id", (count, &mut columns.ids))?;
    let entry_at = |at: usize| usize::try_from(codes.at(at)).unwrap_or_default().saturating_sub(1);
    columns.event_id = (0..count).map(|at| entries.get(entry_at(at)).copied().unwrap_or(TextRef::NONE)).collect();
    // The first event of each entry.
    let mut first = Vec::with_capacity(entries.len());
    for at in 0..count {
        if entry_at(at) == first.len() {
            first.push(u32::try_from(at).unwrap_or(NOT_HERE));
        }
    }
    reader.column = "parent_id";
    let mut outside = IdReader::default();
    let mut seen = 0_usize;
    columns.parent_id = vec![TextRef::NONE; count];
    columns.parent_at = vec![NOT_HERE; count];
    let places = columns.parent_id.iter_mut().zip(&mut columns.parent_at);
    for (at, (parent_id, parent_at)) in places.enumerate() {
        if entry_at(at) == seen {
            seen += 1;
        }
        match reader.number()? {
            PARENT_NONE => {}
            PARENT_TEXT => *parent_id = outside.read(reader, &mut columns.ids)?,
            code => {
                let back = isize::try_from(unzigzag(code - PARENT_ENTRY)).unwrap_or(isize::MAX);
                let entry = back.checked_neg().and_then(|ahead| seen.checked_add_signed(ahead));
                let parent = entry.and_then(|entry| entries.get(entry).zip(first.get(entry)));
                let (id, place) = parent.ok_or_else(|| reader.wrong("refers to nothing"))?;
                (*parent_id, *parent_at) = (*id, *place);
            }
        }
    }
    Ok(())
}

/// The format knows parents by their id alone, which another trace may use too.
fn settle_parents(columns: &mut Columns) {
    let trace_id = &columns.trace_id.codes;
    for (at, parent_at) in columns.parent_at.iter_mut().enumerate() {
        let is_same = usize::try_from(*parent_at).is_ok_and(|parent| trace_id.at(parent) == trace_id.at(at));
        if !is_same || trace_id.at(at) == 0 {
            *parent_at = NOT_HERE;
        }
    }
}

fn read_texts(reader: &mut Reader<'_>, columns: &mut Columns, shapes: &[u8]) -> Result<(), BlockError> {
    let count = columns.len;
    let of_event = [
        ("trace_id", &mut columns.trace_id),
        ("provider", &mut columns.provider),
        ("model", &mut columns.model),
        ("service_tier", &mut columns.service_tier),
        ("response_id", &mut columns.response_id),
        ("retry_of", &mut columns.retry_of),
        ("supersedes", &mut columns.supersedes),
        ("reservation_id", &mut columns.reservation_id),
        ("key_id", &mut columns.key_id),
        ("resource_team", &mut columns.resource_team),
    ];
    for (name, column) in of_event {
        *column = texts::read(reader, name, count)?.0;
    }
    let has_quantity = |at: usize| shapes.get(at).is_some_and(|shape| shape & HAS_QUANTITY != 0);
    let strays = |column: &TextColumn| (0..count).any(|at| column.codes.at(at) != 0 && !has_quantity(at));
    let (skus, present) = texts::read(reader, "sku", count)?;
    if strays(&skus) {
        return Err(reader.wrong("has a value where none belongs"));
    }
    if present != (0..count).filter(|at| has_quantity(*at)).count() {
        return Err(reader.wrong("leaves a required value out"));
    }
    let (units, _) = texts::read(reader, "unit", count)?;
    if strays(&units) {
        return Err(reader.wrong("has a value where none belongs"));
    }
    (columns.sku, columns.unit) = (skus, units);
    Ok(())
}

/// Sets of tags.
struct TagColumns {
    /// agent, `task_type`, `task_id`, user, team, project.
    named: [TextColumn; 6],
    extra: ExtraTags,
}

fn read_tags(reader: &mut Reader<'_>, count: usize) -> Result<TagColumns, BlockError> {
    let mut tags = TagColumns { named: Default::default(), extra: ExtraTags::default() };
    let names = ["agent", "task_type", "task_id", "user", "team", "project"];
    for (column, name) in tags.named.iter_mut().zip(names) {
        *column = texts::read(reader, name, count)?.0;
    }
    reader.column = "extra";
    let total = reader.count()?;
    if total == 0 {
        return Ok(tags);
    }
    let mut end = 0_u32;
    tags.extra.starts.push(end);
    for _ in 0..count {
        let pairs = reader.count()?;
        end = end.saturating_add(u32::try_from(pairs).unwrap_or(u32::MAX));
        tags.extra.starts.push(end);
        if pairs > EXTRA_TAGS_MAX {
            return Err(reader.wrong("counts more tags than an event may have"));
        }
    }
    if u32::try_from(total) != Ok(end) {
        return Err(reader.wrong("counts more tags than an event may have"));
    }
    for column in [&mut tags.extra.names, &mut tags.extra.values] {
        let (read, present) = texts::read(reader, "extra", total)?;
        *column = read;
        if present != total {
            return Err(reader.wrong("leaves a required value out"));
        }
    }
    Ok(tags)
}

fn read_key_tags(reader: &mut Reader<'_>, count: usize) -> Result<KeyTags, BlockError> {
    reader.column = "key_tags";
    let distinct = reader.count()?;
    if distinct > count || (distinct == 0 && count > 0) {
        return Err(reader.wrong("has a wrong number of entries"));
    }
    let columns = read_tags(reader, distinct)?;
    let sets = (0..distinct).map(|at| Arc::new(tag_set(&columns.named, &columns.extra, at))).collect();
    reader.column = "key_tags";
    if distinct <= 1 {
        return Ok(KeyTags { codes: Codes::Same(0), sets });
    }
    let mut codes = Vec::with_capacity(count);
    for _ in 0..count {
        let number = reader.count()?;
        if number >= distinct {
            return Err(reader.wrong("refers to nothing"));
        }
        codes.push(u32::try_from(number).unwrap_or(u32::MAX));
    }
    Ok(KeyTags { codes: Codes::Each(codes), sets })
}

fn read_figures(reader: &mut Reader<'_>, columns: &mut Columns, shapes: &[u8]) -> Result<(), BlockError> {
    reader.column = "duration_ms";
    columns.duration_ms = vec![0; columns.len];
    for (duration_ms, shape) in columns.duration_ms.iter_mut().zip(shapes) {
        if shape & HAS_DURATION != 0 {
            *duration_ms = reader.number()?;
        }
    }
    columns.usage = read_usage(reader, shapes)?;
    reader.column = "quantity";
    columns.quantity = read_sparse(shapes, HAS_QUANTITY, || read_amount(reader))?;
    columns.reported = read_reported(reader, shapes)?;
    Ok(())
}

fn read_sparse<T>(
    shapes: &[u8],
    bit: u8,
    mut entry: impl FnMut() -> Result<T, BlockError>,
) -> Result<Sparse<T>, BlockError> {
    let mut sparse = Sparse::default();
    if shapes.iter().all(|shape| shape & bit == 0) {
        return Ok(sparse);
    }
    let mut codes = vec![0; shapes.len()];
    let mut next = 0;
    for (code, _) in codes.iter_mut().zip(shapes).filter(|(_, shape)| **shape & bit != 0) {
        sparse.entries.push(entry()?);
        next += 1;
        *code = next;
    }
    sparse.codes = Codes::Each(codes);
    Ok(sparse)
}

fn read_usage(reader: &mut Reader<'_>, shapes: &[u8]) -> Result<UsageColumn, BlockError> {
    reader.column = "usage";
    let mut classes = vec![0_u16; shapes.len()];
    for (classes, _) in classes.iter_mut().zip(shapes).filter(|(_, shape)| **shape & HAS_USAGE != 0) {
        let used = reader.number()?;
        if used >> TokenClass::ALL.len() != 0 {
            return Err(reader.wrong("names an unknown class"));
        }
        *classes = u16::try_from(used).unwrap_or_default() | USAGE_REPORTED;
    }
    let mut starts = Vec::with_capacity(shapes.len());
    let mut total = 0_u32;
    for classes in &classes {
        starts.push(total);
        total += (classes & !USAGE_REPORTED).count_ones();
    }
    let tokens = (0..total).map(|_| reader.number()).collect::<Result<Vec<u64>, _>>()?;
    Ok(UsageColumn { classes, starts, tokens })
}

fn read_amount(reader: &mut Reader<'_>) -> Result<Amount, BlockError> {
    let zeros = reader.byte()?;
    let digits = reader.wide()?;
    let unit = 10_i128.checked_pow(u32::from(zeros));
    let pico = unit.and_then(|unit| digits.checked_mul(unit));
    pico.map(Amount::from_pico).ok_or_else(|| reader.wrong("has an amount out of range"))
}

fn read_reported(reader: &mut Reader<'_>, shapes: &[u8]) -> Result<Sparse<Reported>, BlockError> {
    reader.column = "reported";
    let count = reader.count()?;
    if count > usize::from(u8::MAX) {
        return Err(reader.wrong("has more currencies than there are"));
    }
    let mut codes = EntryReader::default();
    let mut currencies: Vec<Currency> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut code = Texts::default();
        match codes.read(reader)? {
            Entry::Text(text) => code.push(text),
            Entry::Packed(packed) => code.push_packed(packed),
        }
        let currency = code.get(0).and_then(|code| code.parse().ok());
        currencies.push(currency.ok_or_else(|| reader.wrong("names an unknown currency"))?);
    }
    let mut reported = read_sparse(shapes, HAS_REPORTED, || {
        let currency = currencies.get(usize::from(reader.byte()?));
        let currency = *currency.ok_or_else(|| reader.wrong("refers to nothing"))?;
        Ok(Reported { amount: Amount::ZERO, currency })
    })?;
    for reported in &mut reported.entries {
        reported.amount = read_amount(reader)?;
    }
    Ok(reported)
}
