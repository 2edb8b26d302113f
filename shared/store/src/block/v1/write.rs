//! Events to the columns of version 1, as the releases that wrote it did: what tests of its reader read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use recoup_model::limits::EXTRA_TAGS_MAX;
use recoup_model::{Event, Kind, Recorded, Status, Tags, TokenClass, Usage};
use recoup_money::{Amount, Currency};

use super::super::BlockError;
use super::super::frame::compress;
use super::frame::{VERSION, checksum};
use super::texts::{CODE_AGAIN, CODE_ENTRY, CODE_NEW, CODE_NONE, MODE_CODES, MODE_NONE, MODE_SAME, PACKED_CHARS_MAX};
use super::wire::Sections;
use super::{HAS_DURATION, HAS_QUANTITY, HAS_REPORTED, HAS_USAGE, IS_CRITICAL, PARENT_ENTRY, PARENT_NONE, PARENT_TEXT};

/// Shorter texts gain nothing from being packed.
const PACKED_CHARS_MIN: usize = 16;

/// The text of a `T`, where it has one.
type Get<T> = fn(&T) -> Option<&str>;

/// A block of some columns.
pub(in crate::block) fn seal(events: usize, sections: &Sections) -> Result<Vec<u8>, BlockError> {
    let stored = |section| compress(section).map(Cow::Owned);
    let Sections { numbers, text, packed } = sections;
    let sections = [(&**numbers, stored(numbers)?), (&**text, stored(text)?), (&**packed, stored(packed)?)];
    super::super::frame::seal((VERSION, events), sections, checksum)
}

/// All columns of some events.
pub(in crate::block) fn write(events: &[&Recorded]) -> Result<Sections, BlockError> {
    let mut out = Sections::default();
    write_shapes(&mut out, events);
    write_times(&mut out, events, |recorded| recorded.event.used_at_ns);
    write_times(&mut out, events, |recorded| recorded.recorded_at_ns);
    let event_ids = write_texts(&mut out, events, |recorded: &Recorded| Some(&recorded.event.event_id));
    write_parents(&mut out, events, &event_ids);
    let of_event: [Get<Recorded>; 12] = [
        |recorded| recorded.event.trace_id.as_deref(),
        |recorded| recorded.event.provider.as_deref(),
        |recorded| recorded.event.model.as_deref(),
        |recorded| recorded.event.service_tier.as_deref(),
        |recorded| recorded.event.response_id.as_deref(),
        |recorded| recorded.event.retry_of.as_deref(),
        |recorded| recorded.event.supersedes.as_deref(),
        |recorded| recorded.event.reservation_id.as_deref(),
        |recorded| recorded.origin.key_id.as_deref(),
        |recorded| recorded.origin.resource_team.as_deref(),
        |recorded| recorded.event.quantity.as_ref().map(|quantity| &*quantity.sku),
        |recorded| recorded.event.quantity.as_ref().and_then(|quantity| quantity.unit.as_deref()),
    ];
    for get in of_event {
        write_texts(&mut out, events, get);
    }
    let tags: Vec<&Tags> = events.iter().map(|recorded| &recorded.event.tags).collect();
    write_tags(&mut out, &tags)?;
    write_key_tags(&mut out, events)?;
    write_figures(&mut out, events);
    Ok(out)
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

fn write_tags(out: &mut Sections, tags: &[&Tags]) -> Result<(), BlockError> {
    let named: [Get<Tags>; 6] = [
        |tags| tags.agent.as_deref(),
        |tags| tags.task_type.as_deref(),
        |tags| tags.task_id.as_deref(),
        |tags| tags.user.as_deref(),
        |tags| tags.team.as_deref(),
        |tags| tags.project.as_deref(),
    ];
    for get in named {
        write_texts(out, tags, get);
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
    write_texts(out, &pairs().map(|(name, _)| name).collect::<Vec<_>>(), |name| Some(name));
    write_texts(out, &pairs().map(|(_, value)| value).collect::<Vec<_>>(), |value| Some(value));
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

/// Writes new entries of one dictionary.
#[derive(Debug, Default)]
struct EntryWriter<'a> {
    last: &'a str,
}

impl<'a> EntryWriter<'a> {
    fn write(&mut self, out: &mut Sections, text: &'a str) {
        if is_packable(text) {
            out.count(text.len() | 1);
            out.packed.extend(text.as_bytes().chunks_exact(2).map(pack));
            return;
        }
        let shared = text.bytes().zip(self.last.bytes()).take_while(|(left, right)| left == right).count();
        let rest = text.as_bytes().get(shared..).unwrap_or_default();
        out.count(rest.len() << 1);
        out.count(shared);
        out.text.extend_from_slice(rest);
        self.last = text;
    }
}

/// Whether a text is lower-case hexadecimal of even length: what unpacking gives back.
fn is_packable(text: &str) -> bool {
    text.len().is_multiple_of(2)
        && (PACKED_CHARS_MIN..=PACKED_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|letter| matches!(letter, b'0'..=b'9' | b'a'..=b'f'))
}

fn pack(pair: &[u8]) -> u8 {
    pair.iter().fold(0, |packed, letter| {
        let digit = if letter.is_ascii_digit() { letter - b'0' } else { letter - b'a' + 10 };
        packed << 4 | digit
    })
}

/// The dictionary of a written column: text to entry number.
type Written<'a> = HashMap<&'a str, usize>;

/// Writes a column and gives its dictionary.
fn write_texts<'a, T>(out: &mut Sections, items: &[&'a T], get: Get<T>) -> Written<'a> {
    let first = items.first().and_then(|item| get(item));
    let mut entries = EntryWriter::default();
    if items.iter().all(|item| get(item) == first) {
        out.byte(if first.is_some() { MODE_SAME } else { MODE_NONE });
        let written: Written<'a> = first.into_iter().map(|text| (text, 0)).collect();
        first.into_iter().for_each(|text| entries.write(out, text));
        return written;
    }
    out.byte(MODE_CODES);
    let mut written = Written::new();
    let mut previous: Option<&'a str> = None;
    for item in items {
        let Some(text) = get(item) else {
            out.number(CODE_NONE);
            continue;
        };
        if previous == Some(text) {
            out.number(CODE_AGAIN);
            continue;
        }
        previous = Some(text);
        let number = written.len();
        match written.entry(text) {
            Entry::Occupied(known) => {
                out.number(CODE_ENTRY + u64::try_from(*known.get()).unwrap_or(u64::MAX - CODE_ENTRY))
            }
            Entry::Vacant(new) => {
                new.insert(number);
                out.number(CODE_NEW);
                entries.write(out, text);
            }
        }
    }
    written
}

impl Sections {
    fn byte(&mut self, byte: u8) {
        self.numbers.push(byte);
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            let [low, ..] = number.to_le_bytes();
            self.numbers.push(low | 0x80);
            number >>= 7;
        }
        let [low, ..] = number.to_le_bytes();
        self.numbers.push(low);
    }

    fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn signed(&mut self, number: i64) {
        self.number(zigzag(number));
    }

    fn wide(&mut self, number: i128) {
        let mut rest = ((number << 1) ^ (number >> 127)).cast_unsigned();
        while rest >= 0x80 {
            let [low, ..] = rest.to_le_bytes();
            self.numbers.push(low | 0x80);
            rest >>= 7;
        }
        let [low, ..] = rest.to_le_bytes();
        self.numbers.push(low);
    }
}

/// Small numbers of either sign to small numbers.
const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}
