//! The columns of version 2, in the order of the format.

use std::sync::Arc;

use recoup_model::limits::EXTRA_TAGS_MAX;
use recoup_model::{Reported, TokenClass};
use recoup_money::{Amount, Currency};

use super::super::BlockError;
use super::super::columns::{
    Codes, Columns, ExtraTags, KeyTags, NOT_HERE, Sparse, TextColumn, TextRef, USAGE_REPORTED, UsageColumn, Wanted,
    tag_set,
};
use super::fields::{self, CALLS, SKU, UNIT, section_of};
use super::sections::{Reader, TextSection};
use super::shapes::{
    self, CRITICAL, DURATION, EXTRA, PARENT_ELSEWHERE, PARENT_HERE, Presence, QUANTITY, REPORTED, Shapes, TEXTS, USAGE,
};
use super::texts::{self, Places};
use super::{CURRENCY_BYTES, TAGS_EXTRA, WIDE_AMOUNTS, numbers};

/// What is read besides the columns themselves.
struct Source<'a> {
    reader: Reader<'a>,
    shapes: Shapes,
    /// Numbers of the column that is being read.
    numbers: Vec<i64>,
}

/// The columns of a block of `count` events.
pub(in crate::block) fn read(count: usize, mut reader: Reader<'_>, wanted: Wanted) -> Result<Columns, BlockError> {
    let mut numbers = Vec::new();
    let shapes = shapes::read(&mut reader, count, &mut numbers)?;
    let mut source = Source { reader, shapes, numbers };
    let mut columns = Columns { len: count, ..Columns::default() };
    read_shapes(&source, &mut columns)?;
    read_times(&mut source, &mut columns)?;
    if wanted == Wanted::Times {
        return Ok(columns);
    }
    source.reader.column = "event_id";
    columns.event_id = texts::read_ids(&mut source.reader, count, (&mut columns.ids, &mut source.numbers))?;
    read_texts(&mut source, &mut columns, 0..CALLS)?;
    read_parents(&mut source, &mut columns)?;
    source.reader.column = "extra";
    let Source { reader, shapes, numbers } = &mut source;
    columns.extra = read_extra(reader, shapes.presence(|shape| shape.has(EXTRA)), numbers)?;
    columns.key_tags = read_key_tags(&mut source, count)?;
    read_figures(&mut source, &mut columns)?;
    if wanted == Wanted::WithoutCalls {
        return Ok(columns);
    }
    read_texts(&mut source, &mut columns, CALLS..fields::COUNT)?;
    source.reader.end()?;
    Ok(columns)
}

fn read_shapes(source: &Source<'_>, columns: &mut Columns) -> Result<(), BlockError> {
    let shapes = &source.shapes;
    let (sku, unit) = (text_bit(SKU), text_bit(UNIT));
    if shapes.distinct.iter().any(|shape| shape.has(sku) != shape.has(QUANTITY) || shape.has(unit) && !shape.has(sku)) {
        return Err(source.reader.wrong("names fields that exclude each other"));
    }
    columns.kind = shapes.each(|shape| shape.kind);
    columns.status = shapes.each(|shape| shape.status);
    columns.critical = shapes.each(|shape| shape.has(CRITICAL));
    columns.has_duration = shapes.each(|shape| shape.has(DURATION));
    Ok(())
}

fn text_bit(field: usize) -> u64 {
    u32::try_from(field).ok().and_then(|field| 1_u64.checked_shl(TEXTS + field)).unwrap_or_default()
}

/// Times, each multiplied by the unit before them.
fn read_scaled(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, BlockError> {
    let unit = 10_i64.checked_pow(u32::from(reader.byte()?)).ok_or_else(|| reader.wrong("has an unknown unit"))?;
    let mut times = Vec::new();
    numbers::read(reader, count, &mut times)?;
    let limit = i64::MAX / unit;
    if times.iter().any(|time| !(-limit - 1..=limit).contains(time)) {
        return Err(reader.wrong("has a time out of range"));
    }
    times.iter_mut().for_each(|time| *time = time.wrapping_mul(unit));
    Ok(times)
}

fn read_times(source: &mut Source<'_>, columns: &mut Columns) -> Result<(), BlockError> {
    let Source { reader, numbers, .. } = source;
    reader.column = "used_at";
    let count = columns.len;
    columns.used_at_ns = read_scaled(reader, count)?;
    reader.column = "recorded_at";
    let runs = reader.count(count)?;
    numbers::read(reader, runs, numbers)?;
    let times = read_scaled(reader, runs)?;
    columns.recorded_at_ns.reserve(count);
    for (length, time) in numbers.iter().zip(times) {
        let end = usize::try_from(*length).ok().map(|length| length.saturating_add(columns.recorded_at_ns.len()));
        let end = end.filter(|end| *end <= count).ok_or_else(|| reader.wrong("has more times than events"))?;
        columns.recorded_at_ns.resize(end, time);
    }
    if columns.recorded_at_ns.len() == count { Ok(()) } else { Err(reader.wrong("has fewer times than events")) }
}

fn read_texts(
    source: &mut Source<'_>,
    columns: &mut Columns,
    wanted: std::ops::Range<usize>,
) -> Result<(), BlockError> {
    let Source { reader, shapes, numbers } = source;
    let all = fields::of_columns(columns).into_iter().enumerate();
    for (field, (name, column)) in all.filter(|(field, _)| wanted.contains(field)) {
        reader.column = name;
        let bit = text_bit(field);
        *column = texts::read_column(reader, (shapes.presence(|shape| shape.has(bit)), section_of(field)), numbers)?;
    }
    Ok(())
}

fn read_parents(source: &mut Source<'_>, columns: &mut Columns) -> Result<(), BlockError> {
    columns.parent_id = vec![TextRef::NONE; columns.len];
    columns.parent_at = vec![NOT_HERE; columns.len];
    let Source { reader, shapes, numbers } = source;
    reader.column = "parent_id";
    let here = shapes.presence(|shape| shape.has(PARENT_HERE));
    numbers::read(reader, here.count(), numbers)?;
    place_parents(here, numbers, columns).ok_or_else(|| reader.wrong("refers to nothing"))?;
    let elsewhere = shapes.presence(|shape| shape.has(PARENT_ELSEWHERE));
    let count = elsewhere.count();
    if count == 0 {
        return Ok(());
    }
    let stored = &mut columns.ids;
    let (ids, kind) = texts::read_places(reader, count, numbers, |reader, entries, numbers| {
        texts::read_ids(reader, entries, (stored, numbers))
    })?;
    let codes = texts::spread(kind, numbers, elsewhere);
    for (at, parent_id) in columns.parent_id.iter_mut().enumerate() {
        let place = usize::try_from(codes.at(at)).unwrap_or_default().checked_sub(1);
        if let Some(id) = place.and_then(|place| ids.get(place)) {
            *parent_id = *id;
        }
    }
    Ok(())
}

/// Finds the parents by their distance. `None` where one is no event of the same trace.
fn place_parents(here: Presence<'_>, distances: &[i64], columns: &mut Columns) -> Option<()> {
    let traces = &columns.trace_id.codes;
    for (at, back) in here.places().zip(distances) {
        let parent = at.checked_add_signed(isize::try_from(*back).ok()?.checked_neg()?)?;
        *columns.parent_id.get_mut(at)? = *columns.event_id.get(parent)?;
        *columns.parent_at.get_mut(at)? = u32::try_from(parent).ok()?;
        let trace = traces.at(at);
        if trace == 0 || trace != traces.at(parent) {
            return None;
        }
    }
    Some(())
}

/// The extra tags of the sets that have some.
fn read_extra(reader: &mut Reader<'_>, has: Presence<'_>, numbers: &mut Vec<i64>) -> Result<ExtraTags, BlockError> {
    let count = has.count();
    if count == 0 {
        return Ok(ExtraTags::default());
    }
    numbers::read(reader, count, numbers)?;
    let limit = i64::try_from(EXTRA_TAGS_MAX).unwrap_or(i64::MAX);
    if numbers.iter().any(|pairs| !(1..=limit).contains(pairs)) {
        return Err(reader.wrong("counts more tags than an event may have"));
    }
    let pairs = has.spread(0, numbers.iter().map(|pairs| u32::try_from(*pairs).unwrap_or_default()));
    let mut end = 0_u32;
    let mut starts = vec![end];
    starts.extend(pairs.iter().map(|pairs| {
        end = end.saturating_add(*pairs);
        end
    }));
    let all = Presence::All(usize::try_from(end).unwrap_or_default());
    let names = texts::read_column(reader, (all, TextSection::Text), numbers)?;
    let values = texts::read_column(reader, (all, TextSection::Text), numbers)?;
    Ok(ExtraTags { starts, names, values })
}

fn read_key_tags(source: &mut Source<'_>, events: usize) -> Result<KeyTags, BlockError> {
    let Source { reader, numbers, .. } = source;
    reader.column = "key_tags";
    let count = reader.count(events)?;
    if count == 0 && events > 0 {
        return Err(reader.wrong("has no entries"));
    }
    let has = (0..count).map(|_| reader.number()).collect::<Result<Vec<u64>, _>>()?;
    if has.iter().any(|has| *has >= TAGS_EXTRA << 1) {
        return Err(reader.wrong("names an unknown field"));
    }
    let mut named: [TextColumn; 6] = Default::default();
    let mut at = Vec::new();
    for (bit, column) in named.iter_mut().enumerate() {
        shapes::find(&mut at, has.iter().map(|has| has >> bit & 1 == 1));
        *column = texts::read_column(reader, (Presence::of(count, &at), TextSection::Text), numbers)?;
    }
    shapes::find(&mut at, has.iter().map(|has| has & TAGS_EXTRA != 0));
    let extra = read_extra(reader, Presence::of(count, &at), numbers)?;
    let sets = (0..count).map(|at| Arc::new(tag_set(&named, &extra, at))).collect();
    if count <= 1 {
        return Ok(KeyTags { codes: Codes::Same(0), sets });
    }
    numbers::read(reader, events, numbers)?;
    let limit = i64::try_from(count).unwrap_or(i64::MAX);
    if numbers.iter().any(|place| !(0..limit).contains(place)) {
        return Err(reader.wrong("refers to nothing"));
    }
    let codes = numbers.iter().map(|place| u32::try_from(*place).unwrap_or_default());
    Ok(KeyTags { codes: Codes::Each(codes.collect()), sets })
}

fn read_figures(source: &mut Source<'_>, columns: &mut Columns) -> Result<(), BlockError> {
    let Source { reader, shapes, numbers } = source;
    reader.column = "duration_ms";
    let has = shapes.presence(|shape| shape.has(DURATION));
    numbers::read(reader, has.count(), numbers)?;
    let durations = numbers.iter().map(|duration_ms| duration_ms.cast_unsigned());
    columns.duration_ms = if has.count() == 0 { vec![0; columns.len] } else { has.spread(0, durations) };
    columns.usage = read_usage(reader, shapes)?;
    reader.column = "quantity";
    columns.quantity = read_sparse(reader, shapes.presence(|shape| shape.has(QUANTITY)), |reader, count| {
        read_amounts(reader, count, numbers)
    })?;
    reader.column = "reported";
    columns.reported = read_sparse(reader, shapes.presence(|shape| shape.has(REPORTED)), |reader, count| {
        read_reported(reader, count, numbers)
    })?;
    Ok(())
}

fn read_usage(reader: &mut Reader<'_>, shapes: &mut Shapes) -> Result<UsageColumn, BlockError> {
    reader.column = "usage";
    let mut by_class: [Vec<i64>; TokenClass::ALL.len()] = Default::default();
    let mut total = 0;
    for (bit, tokens) in by_class.iter_mut().enumerate() {
        let has = shapes.presence(|shape| shape.classes >> bit & 1 == 1);
        numbers::read(reader, has.count(), tokens)?;
        total += tokens.len();
    }
    let reported = |has: bool| if has { USAGE_REPORTED } else { 0 };
    let classes: Vec<u16> = shapes.each(|shape| shape.classes | reported(shape.has(USAGE)));
    let mut starts = Vec::with_capacity(classes.len());
    let mut tokens = Vec::with_capacity(total);
    let mut next = by_class.each_ref().map(|tokens| tokens.iter());
    for classes in &classes {
        starts.push(u32::try_from(tokens.len()).unwrap_or(u32::MAX));
        let mut left = classes & !USAGE_REPORTED;
        while left != 0 {
            let class = usize::try_from(left.trailing_zeros()).unwrap_or_default();
            let count = next.get_mut(class).and_then(Iterator::next).copied().unwrap_or_default();
            tokens.push(count.cast_unsigned());
            left &= left - 1;
        }
    }
    Ok(UsageColumn { classes, starts, tokens })
}

fn read_sparse<T>(
    reader: &mut Reader<'_>,
    has: Presence<'_>,
    entries: impl FnOnce(&mut Reader<'_>, usize) -> Result<Vec<T>, BlockError>,
) -> Result<Sparse<T>, BlockError> {
    let count = has.count();
    if count == 0 {
        return Ok(Sparse::default());
    }
    Ok(Sparse { entries: entries(reader, count)?, codes: texts::spread(Places::Own, &[], has) })
}

fn read_amounts(reader: &mut Reader<'_>, count: usize, numbers: &mut Vec<i64>) -> Result<Vec<Amount>, BlockError> {
    let zeros = reader.byte()?;
    if zeros == WIDE_AMOUNTS {
        let bytes = reader.bytes(count.saturating_mul(16))?.chunks_exact(16);
        let pico = bytes.map(|bytes| bytes.first_chunk().map_or(0, |bytes| i128::from_le_bytes(*bytes)));
        return Ok(pico.map(Amount::from_pico).collect());
    }
    numbers::read(reader, count, numbers)?;
    let unit = 10_i128.checked_pow(u32::from(zeros)).ok_or_else(|| reader.wrong("has an unknown unit"))?;
    let amounts = numbers.iter().map(|number| i128::from(*number).checked_mul(unit).map(Amount::from_pico));
    amounts.collect::<Option<Vec<Amount>>>().ok_or_else(|| reader.wrong("has an amount out of range"))
}

fn read_reported(reader: &mut Reader<'_>, count: usize, numbers: &mut Vec<i64>) -> Result<Vec<Reported>, BlockError> {
    let distinct = reader.count(count)?;
    let codes = reader.bytes(distinct.saturating_mul(CURRENCY_BYTES))?.chunks_exact(CURRENCY_BYTES);
    let parse = |code: &[u8]| std::str::from_utf8(code).ok().and_then(|code| code.parse::<Currency>().ok());
    let currencies = codes.map(parse).collect::<Option<Vec<Currency>>>();
    let currencies = currencies.ok_or_else(|| reader.wrong("names an unknown currency"))?;
    let mut places = Vec::new();
    if distinct > 1 {
        numbers::read(reader, count, &mut places)?;
    } else {
        places.resize(count, 0);
    }
    let amounts = read_amounts(reader, count, numbers)?;
    let currency = |place: &i64| usize::try_from(*place).ok().and_then(|place| currencies.get(place));
    let reported =
        places.iter().zip(amounts).map(|(place, amount)| Some(Reported { amount, currency: *currency(place)? }));
    reported.collect::<Option<Vec<Reported>>>().ok_or_else(|| reader.wrong("refers to nothing"))
}
