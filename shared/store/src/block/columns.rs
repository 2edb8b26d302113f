//! Events to columns and back. The order of the calls in [`write`] is the format; [`read`] mirrors it.

use std::collections::HashMap;
use std::sync::Arc;

use recoup_model::limits::EXTRA_TAGS_MAX;
use recoup_model::{Event, Id, Kind, Origin, Quantity, Recorded, Reported, Status, Tags, TokenClass, Usage};
use recoup_money::{Amount, Currency};

use super::BlockError;
use super::fields::{EVENT_ID, EXTRA, OF_EVENT, OF_TAGS, SKU, UNIT};
use super::texts::{self, EntryReader, EntryWriter, Written};
use super::wire::{Reader, Sections, unzigzag, zigzag};

const HAS_DURATION: u8 = 1;
const HAS_USAGE: u8 = 2;
const HAS_QUANTITY: u8 = 4;
const HAS_REPORTED: u8 = 8;
const IS_CRITICAL: u8 = 16;

/// All columns of some events.
pub(super) fn write(events: &[&Recorded]) -> Result<Sections, BlockError> {
    let mut out = Sections::default();
    write_shapes(&mut out, events);
    write_times(&mut out, events, |recorded| recorded.event.used_at_ns);
    write_times(&mut out, events, |recorded| recorded.recorded_at_ns);
    let event_ids = texts::write(&mut out, events, &EVENT_ID);
    write_parents(&mut out, events, &event_ids);
    for field in OF_EVENT.iter().chain([&SKU, &UNIT]) {
        texts::write(&mut out, events, field);
    }
    let tags: Vec<&Tags> = events.iter().map(|recorded| &recorded.event.tags).collect();
    write_tags(&mut out, &tags)?;
    write_key_tags(&mut out, events)?;
    write_figures(&mut out, events);
    Ok(out)
}

/// The events of a block's columns.
pub(super) fn read(count: usize, sections: &Sections) -> Result<Vec<Recorded>, BlockError> {
    let mut reader = Reader::new(sections);
    let mut events = vec![blank(); count];
    let shapes = read_shapes(&mut reader, &mut events)?;
    read_times(&mut reader, "used_at", &mut events, |recorded| &mut recorded.event.used_at_ns)?;
    read_times(&mut reader, "recorded_at", &mut events, |recorded| &mut recorded.recorded_at_ns)?;
    let event_ids = texts::read(&mut reader, events.iter_mut(), &EVENT_ID)?;
    require(&reader, event_ids.present == count)?;
    read_parents(&mut reader, &mut events, &event_ids.entries)?;
    for field in &OF_EVENT {
        texts::read(&mut reader, events.iter_mut(), field)?;
    }
    let skus = texts::read(&mut reader, events.iter_mut(), &SKU)?;
    require(&reader, skus.present == events.iter().filter(|recorded| recorded.event.quantity.is_some()).count())?;
    texts::read(&mut reader, events.iter_mut(), &UNIT)?;
    let mut tags: Vec<&mut Tags> = events.iter_mut().map(|recorded| &mut recorded.event.tags).collect();
    read_tags(&mut reader, &mut tags)?;
    read_key_tags(&mut reader, &mut events)?;
    read_figures(&mut reader, &mut events, &shapes)?;
    reader.end()?;
    Ok(events)
}

fn require(reader: &Reader<'_>, complete: bool) -> Result<(), BlockError> {
    if complete { Ok(()) } else { Err(reader.wrong("leaves a required value out")) }
}

fn blank() -> Recorded {
    let event = Event {
        trace_id: None,
        event_id: Id::from(""),
        parent_id: None,
        used_at_ns: 0,
        duration_ms: None,
        kind: Kind::Agent,
        tags: Tags::default(),
        critical: false,
        status: None,
        provider: None,
        model: None,
        service_tier: None,
        usage: None,
        quantity: None,
        reported: None,
        response_id: None,
        retry_of: None,
        supersedes: None,
        reservation_id: None,
    };
    Recorded { event, origin: Origin::default(), recorded_at_ns: 0 }
}

fn shape_of(event: &Event) -> u8 {
    let flag = |holds: bool, bit: u8| if holds { bit } else { 0 };
    flag(event.duration_ms.is_some(), HAS_DURATION)
        | flag(event.usage.is_some(), HAS_USAGE)
        | flag(event.quantity.is_some(), HAS_QUANTITY)
        | flag(event.reported.is_some(), HAS_REPORTED)
        | flag(event.critical, IS_CRITICAL)
}

/// Position in the contract's order, which only grows at its end.
fn position<T: PartialEq>(all: &[T], wanted: &T) -> u8 {
    all.iter().position(|known| known == wanted).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

fn write_shapes(out: &mut Sections, events: &[&Recorded]) {
    events.iter().for_each(|recorded| out.byte(shape_of(&recorded.event)));
    for recorded in events {
        let status = recorded.event.status.map_or(0, |status| position(&Status::ALL, &status) + 1);
        out.byte(position(&Kind::ALL, &recorded.event.kind) | status << 4);
    }
}

fn read_shapes(reader: &mut Reader<'_>, events: &mut [Recorded]) -> Result<Vec<u8>, BlockError> {
    reader.column = "shape";
    let shapes = events.iter().map(|_| reader.byte()).collect::<Result<Vec<u8>, _>>()?;
    for (recorded, shape) in events.iter_mut().zip(&shapes) {
        recorded.event.critical = shape & IS_CRITICAL != 0;
        if shape & HAS_QUANTITY != 0 {
            recorded.event.quantity =
                Some(Quantity { sku: Id::clone(&recorded.event.event_id), quantity: Amount::ZERO, unit: None });
        }
    }
    reader.column = "kind";
    for recorded in events {
        let byte = reader.byte()?;
        let kind = Kind::ALL.get(usize::from(byte & 15)).ok_or_else(|| reader.wrong("names an unknown kind"))?;
        recorded.event.kind = *kind;
        if let Some(at) = usize::from(byte >> 4).checked_sub(1) {
            let status = Status::ALL.get(at).ok_or_else(|| reader.wrong("names an unknown status"))?;
            recorded.event.status = Some(*status);
        }
    }
    Ok(shapes)
}

/// Coarsest unit in nanoseconds that all times are whole multiples of, as the number of its zeros.
fn unit_zeros(times: &[i64]) -> u8 {
    let divides = |zeros: &u8| times.iter().all(|time| time % 10_i64.pow(u32::from(*zeros)) == 0);
    [9, 6, 3].into_iter().find(divides).unwrap_or(0)
}

fn write_times(out: &mut Sections, events: &[&Recorded], get: fn(&Recorded) -> i64) {
    let times: Vec<i64> = events.iter().map(|recorded| get(recorded)).collect();
    let zeros = unit_zeros(&times);
    let unit = 10_i64.pow(u32::from(zeros));
    out.byte(zeros);
    let mut before = 0_i64;
    for time in times {
        let now = time / unit;
        out.signed(now.wrapping_sub(before));
        before = now;
    }
}

fn read_times(
    reader: &mut Reader<'_>,
    column: &'static str,
    events: &mut [Recorded],
    place: fn(&mut Recorded) -> &mut i64,
) -> Result<(), BlockError> {
    reader.column = column;
    let unit = 10_i64.checked_pow(u32::from(reader.byte()?)).ok_or_else(|| reader.wrong("has an unknown unit"))?;
    let mut now = 0_i64;
    for recorded in events {
        now = now.wrapping_add(reader.signed()?);
        *place(recorded) = now.checked_mul(unit).ok_or_else(|| reader.wrong("has a time out of range"))?;
    }
    Ok(())
}

const PARENT_NONE: u64 = 0;
/// The parent is no event of the block: its id follows.
const PARENT_TEXT: u64 = 1;
/// And more: the zigzag distance to the parent's entry, back from the number of entries that the column of event ids
/// has up to this event.
const PARENT_ENTRY: u64 = 2;

fn write_parents(out: &mut Sections, events: &[&Recorded], event_ids: &Written<'_>) {
    let mut entries = EntryWriter::default();
    let entry_of = |id: &str| event_ids.get(id).and_then(|entry| i64::try_from(*entry).ok());
    let mut seen = 0;
    for recorded in events {
        if entry_of(&recorded.event.event_id) == Some(seen) {
            seen += 1;
        }
        let Some(parent) = &recorded.event.parent_id else {
            out.number(PARENT_NONE);
            continue;
        };
        if let Some(entry) = entry_of(parent) {
            out.number(PARENT_ENTRY + zigzag(seen - entry));
        } else {
            out.number(PARENT_TEXT);
            entries.write(out, parent);
        }
    }
}

fn read_parents(reader: &mut Reader<'_>, events: &mut [Recorded], event_ids: &[Id]) -> Result<(), BlockError> {
    reader.column = "parent_id";
    let mut texts = EntryReader::default();
    let mut seen = 0_usize;
    for recorded in events {
        if event_ids.get(seen).is_some_and(|entry| Id::ptr_eq(entry, &recorded.event.event_id)) {
            seen += 1;
        }
        recorded.event.parent_id = match reader.number()? {
            PARENT_NONE => None,
            PARENT_TEXT => Some(texts.read(reader)?),
            code => {
                let back = isize::try_from(unzigzag(code - PARENT_ENTRY)).unwrap_or(isize::MAX);
                let entry = back.checked_neg().and_then(|ahead| seen.checked_add_signed(ahead));
                let parent = entry.and_then(|entry| event_ids.get(entry));
                Some(Id::clone(parent.ok_or_else(|| reader.wrong("refers to nothing"))?))
            }
        };
    }
    Ok(())
}

fn write_tags(out: &mut Sections, tags: &[&Tags]) -> Result<(), BlockError> {
    for field in &OF_TAGS {
        texts::write(out, tags, field);
    }
    let total: usize = tags.iter().map(|tags| tags.extra.len()).sum();
    out.count(total);
    if total == 0 {
        return Ok(());
    }
    for tags in tags {
        if tags.extra.len() > EXTRA_TAGS_MAX {
            return Err(BlockError::TooManyTags { tags: tags.extra.len() });
        }
        out.count(tags.extra.len());
    }
    let pairs = || tags.iter().flat_map(|tags| &tags.extra);
    let names: Vec<Option<Id>> = pairs().map(|(name, _)| Some(Id::clone(name))).collect();
    let values: Vec<Option<Id>> = pairs().map(|(_, value)| Some(Id::clone(value))).collect();
    texts::write(out, &names.iter().collect::<Vec<_>>(), &EXTRA);
    texts::write(out, &values.iter().collect::<Vec<_>>(), &EXTRA);
    Ok(())
}

fn read_tags(reader: &mut Reader<'_>, tags: &mut [&mut Tags]) -> Result<(), BlockError> {
    for field in &OF_TAGS {
        texts::read(reader, tags.iter_mut().map(|tags| &mut **tags), field)?;
    }
    reader.column = EXTRA.name;
    let total = reader.count()?;
    if total == 0 {
        return Ok(());
    }
    let counts = tags.iter().map(|_| reader.count()).collect::<Result<Vec<usize>, _>>()?;
    let within = counts.iter().all(|count| *count <= EXTRA_TAGS_MAX) && counts.iter().sum::<usize>() == total;
    if !within {
        return Err(reader.wrong("counts more tags than an event may have"));
    }
    let mut names = vec![None; total];
    let mut values = vec![None; total];
    texts::read(reader, names.iter_mut(), &EXTRA)?;
    texts::read(reader, values.iter_mut(), &EXTRA)?;
    let mut pairs = names.into_iter().zip(values);
    for (tags, count) in tags.iter_mut().zip(counts) {
        for (name, value) in pairs.by_ref().take(count) {
            let pair = name.zip(value).ok_or_else(|| reader.wrong("leaves a required value out"))?;
            tags.extra.insert(pair.0, pair.1);
        }
    }
    Ok(())
}

/// What tells sets of tags apart, in a form that has an order and a hash.
fn comparable(tags: &Tags) -> impl Eq + std::hash::Hash + '_ {
    (&tags.agent, &tags.task_type, &tags.task_id, &tags.user, &tags.team, &tags.project, &tags.extra)
}

fn write_key_tags(out: &mut Sections, events: &[&Recorded]) -> Result<(), BlockError> {
    let mut known = HashMap::new();
    let mut distinct: Vec<&Tags> = Vec::new();
    let mut numbers = Vec::with_capacity(events.len());
    let mut previous: Option<(&Arc<Tags>, usize)> = None;
    for recorded in events {
        let tags = &recorded.origin.key_tags;
        let number = match previous {
            Some((same, number)) if Arc::ptr_eq(same, tags) => number,
            _ => *known.entry(comparable(tags)).or_insert_with(|| {
                distinct.push(tags);
                distinct.len() - 1
            }),
        };
        previous = Some((tags, number));
        numbers.push(number);
    }
    out.count(distinct.len());
    write_tags(out, &distinct)?;
    if distinct.len() > 1 {
        numbers.into_iter().for_each(|number| out.count(number));
    }
    Ok(())
}

fn read_key_tags(reader: &mut Reader<'_>, events: &mut [Recorded]) -> Result<(), BlockError> {
    reader.column = "key_tags";
    let count = reader.count()?;
    if count > events.len() || (count == 0 && !events.is_empty()) {
        return Err(reader.wrong("has a wrong number of entries"));
    }
    let mut distinct = vec![Tags::default(); count];
    read_tags(reader, &mut distinct.iter_mut().collect::<Vec<_>>())?;
    reader.column = "key_tags";
    let distinct: Vec<Arc<Tags>> = distinct.into_iter().map(Arc::new).collect();
    for recorded in events {
        let number = if count > 1 { reader.count()? } else { 0 };
        let tags = distinct.get(number).ok_or_else(|| reader.wrong("refers to nothing"))?;
        recorded.origin.key_tags = Arc::clone(tags);
    }
    Ok(())
}

fn write_figures(out: &mut Sections, events: &[&Recorded]) {
    events.iter().filter_map(|recorded| recorded.event.duration_ms).for_each(|duration_ms| out.number(duration_ms));
    let usages = || events.iter().filter_map(|recorded| recorded.event.usage);
    usages().for_each(|usage| out.number(used_classes(&usage)));
    usages()
        .flat_map(|usage| usage.nonzero().map(|(_, tokens)| tokens).collect::<Vec<_>>())
        .for_each(|tokens| out.number(tokens));
    let quantities = events.iter().filter_map(|recorded| recorded.event.quantity.as_ref());
    quantities.for_each(|quantity| write_amount(out, quantity.quantity));
    write_reported(out, events);
}

/// A bit for each class that has tokens, the first class in the lowest bit.
fn used_classes(usage: &Usage) -> u64 {
    TokenClass::ALL.into_iter().rev().fold(0, |bits, class| bits << 1 | u64::from(usage.get(class) > 0))
}

fn read_figures(reader: &mut Reader<'_>, events: &mut [Recorded], shapes: &[u8]) -> Result<(), BlockError> {
    reader.column = "duration_ms";
    for recorded in having(events, shapes, HAS_DURATION) {
        recorded.event.duration_ms = Some(reader.number()?);
    }
    read_usages(reader, events, shapes)?;
    reader.column = "quantity";
    for quantity in events.iter_mut().filter_map(|recorded| recorded.event.quantity.as_mut()) {
        quantity.quantity = read_amount(reader)?;
    }
    read_reported(reader, events, shapes)
}

fn having<'a>(events: &'a mut [Recorded], shapes: &'a [u8], bit: u8) -> impl Iterator<Item = &'a mut Recorded> {
    events.iter_mut().zip(shapes).filter(move |(_, shape)| *shape & bit != 0).map(|(recorded, _)| recorded)
}

fn read_usages(reader: &mut Reader<'_>, events: &mut [Recorded], shapes: &[u8]) -> Result<(), BlockError> {
    reader.column = "usage";
    let having_usage = shapes.iter().filter(|shape| *shape & HAS_USAGE != 0);
    let classes = having_usage.map(|_| reader.number()).collect::<Result<Vec<u64>, _>>()?;
    for (recorded, classes) in having(events, shapes, HAS_USAGE).zip(classes) {
        if classes >> TokenClass::ALL.len() != 0 {
            return Err(reader.wrong("names an unknown class"));
        }
        let mut usage = Usage::NONE;
        for (bit, class) in TokenClass::ALL.into_iter().enumerate() {
            if classes >> bit & 1 == 1 {
                usage.set(class, reader.number()?);
            }
        }
        recorded.event.usage = Some(usage);
    }
    Ok(())
}

/// Decimal zeros at the end are counted, not stored: prices and quantities have few digits.
fn write_amount(out: &mut Sections, amount: Amount) {
    let mut digits = amount.pico();
    let mut zeros = 0;
    while digits != 0 && digits % 10 == 0 {
        digits /= 10;
        zeros += 1;
    }
    out.byte(zeros);
    out.wide(digits);
}

fn read_amount(reader: &mut Reader<'_>) -> Result<Amount, BlockError> {
    let zeros = reader.byte()?;
    let digits = reader.wide()?;
    let unit = 10_i128.checked_pow(u32::from(zeros));
    let pico = unit.and_then(|unit| digits.checked_mul(unit));
    pico.map(Amount::from_pico).ok_or_else(|| reader.wrong("has an amount out of range"))
}

fn write_reported(out: &mut Sections, events: &[&Recorded]) {
    let all = || events.iter().filter_map(|recorded| recorded.event.reported);
    let mut currencies: Vec<Currency> = Vec::new();
    for reported in all() {
        if !currencies.contains(&reported.currency) {
            currencies.push(reported.currency);
        }
    }
    let mut codes = EntryWriter::default();
    out.count(currencies.len());
    currencies.iter().for_each(|currency| codes.write(out, currency.code()));
    all().for_each(|reported| out.byte(position(&currencies, &reported.currency)));
    all().for_each(|reported| write_amount(out, reported.amount));
}

fn read_reported(reader: &mut Reader<'_>, events: &mut [Recorded], shapes: &[u8]) -> Result<(), BlockError> {
    reader.column = "reported";
    let count = reader.count()?;
    if count > usize::from(u8::MAX) {
        return Err(reader.wrong("has more currencies than there are"));
    }
    let mut codes = EntryReader::default();
    let mut currencies: Vec<Currency> = Vec::with_capacity(count);
    for _ in 0..count {
        let code = codes.read(reader)?;
        currencies.push(code.parse().map_err(|_| reader.wrong("names an unknown currency"))?);
    }
    for recorded in having(events, shapes, HAS_REPORTED) {
        let currency = currencies.get(usize::from(reader.byte()?)).ok_or_else(|| reader.wrong("refers to nothing"))?;
        recorded.event.reported = Some(Reported { amount: Amount::ZERO, currency: *currency });
    }
    for reported in events.iter_mut().filter_map(|recorded| recorded.event.reported.as_mut()) {
        reported.amount = read_amount(reader)?;
    }
    Ok(())
}
