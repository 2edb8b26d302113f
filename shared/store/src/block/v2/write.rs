//! Events to the columns of version 2. The order of the calls in [`write`] is the format; `read` mirrors it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use recoup_model::limits::EXTRA_TAGS_MAX;
use recoup_model::{Id, Recorded, Tags, TokenClass};
use recoup_money::{Amount, Currency};

use super::super::BlockError;
use super::fields::{self, CALLS, OF_EVENT, OF_TAGS, TRACE_ID, section_of};
use super::sections::{TextSection, Writer};
use super::shapes::{self, PARENT_ELSEWHERE, PARENT_HERE, Shape, TEXTS};
use super::texts::{Dictionary, write_list};
use super::{TAGS_EXTRA, WIDE_AMOUNTS, numbers};

/// All columns of some events.
pub(in crate::block) fn write(events: &[&Recorded]) -> Result<Writer, BlockError> {
    let texts = OF_EVENT.map(|get| Dictionary::of(events.iter().filter_map(|recorded| get(recorded))));
    let [of_traces, ..] = &texts;
    let parents = Parents::of(events, of_traces);
    let mut out = Writer::default();
    shapes::write(&mut out, &shapes_of(events, &parents));
    let used_at: Vec<i64> = events.iter().map(|recorded| recorded.event.used_at_ns).collect();
    write_times(&mut out, &used_at, numbers::write_series);
    write_recorded_at(&mut out, events);
    let event_ids: Vec<&str> = events.iter().map(|recorded| &*recorded.event.event_id).collect();
    write_list(&mut out, &event_ids, TextSection::Text);
    let (first, calls) = texts.split_at(CALLS);
    first.iter().for_each(|column| column.write(&mut out, TextSection::Text));
    numbers::write(&mut out, &parents.distances);
    parents.elsewhere.write(&mut out, TextSection::Text);
    write_extra(&mut out, events.iter().map(|recorded| &recorded.event.tags.extra))?;
    write_key_tags(&mut out, events)?;
    write_figures(&mut out, events);
    for (field, column) in (CALLS..).zip(calls) {
        column.write(&mut out, section_of(field));
    }
    Ok(out)
}

/// Where the parents of the events are.
struct Parents<'a> {
    /// For each event: the field that says so, or nothing.
    fields: Vec<u64>,
    /// How far before its child each parent stands that is an event of the block.
    distances: Vec<i64>,
    elsewhere: Dictionary<'a>,
}

impl<'a> Parents<'a> {
    fn of(events: &[&'a Recorded], traces: &Dictionary<'_>) -> Self {
        let mut of_trace = traces.places.iter();
        let mut places: Vec<Option<i64>> = Vec::with_capacity(events.len());
        for recorded in events {
            places.push(recorded.event.trace_id.as_ref().and_then(|_| of_trace.next().copied()));
        }
        let mut known: HashMap<(i64, &str), i64> = HashMap::with_capacity(events.len());
        for (at, (recorded, trace)) in (0..).zip(events.iter().zip(&places)) {
            if let Some(trace) = trace {
                known.entry((*trace, &*recorded.event.event_id)).or_insert(at);
            }
        }
        let mut parents =
            Self { fields: Vec::with_capacity(events.len()), distances: Vec::new(), elsewhere: Dictionary::default() };
        let mut elsewhere = Vec::new();
        for (at, (recorded, trace)) in (0..).zip(events.iter().zip(&places)) {
            let parent_id = recorded.event.parent_id.as_deref();
            let here = parent_id.zip(*trace).and_then(|(parent_id, trace)| known.get(&(trace, parent_id)));
            parents.fields.push(match (here, parent_id) {
                (Some(parent), _) => {
                    parents.distances.push(at - parent);
                    PARENT_HERE
                }
                (None, Some(parent_id)) => {
                    elsewhere.push(parent_id);
                    PARENT_ELSEWHERE
                }
                (None, None) => 0,
            });
        }
        parents.elsewhere = Dictionary::of(elsewhere.into_iter());
        parents
    }
}

fn shapes_of(events: &[&Recorded], parents: &Parents<'_>) -> Vec<Shape> {
    let texts = |recorded: &Recorded| {
        OF_EVENT.iter().rev().fold(0, |bits, get| bits << 1 | u64::from(get(recorded).is_some())) << TEXTS
    };
    let of = |(recorded, parent): (&&Recorded, &u64)| Shape::of(recorded, parent | texts(recorded));
    events.iter().zip(&parents.fields).map(of).collect()
}

/// Coarsest unit in nanoseconds that all times are whole multiples of, as the number of its zeros.
fn unit_zeros(times: &[i64]) -> u8 {
    let divides = |zeros: &u8| times.iter().all(|time| time % 10_i64.pow(u32::from(*zeros)) == 0);
    [9, 6, 3].into_iter().find(divides).unwrap_or(0)
}

fn write_times(out: &mut Writer, times: &[i64], write: fn(&mut Writer, &[i64])) {
    let zeros = unit_zeros(times);
    let unit = 10_i64.pow(u32::from(zeros));
    out.byte(zeros);
    write(out, &times.iter().map(|time| time / unit).collect::<Vec<i64>>());
}

/// Events that were recorded together stand together.
fn write_recorded_at(out: &mut Writer, events: &[&Recorded]) {
    let runs: Vec<&[&Recorded]> = events.chunk_by(|left, right| left.recorded_at_ns == right.recorded_at_ns).collect();
    let times: Vec<i64> = runs.iter().filter_map(|run| Some(run.first()?.recorded_at_ns)).collect();
    let lengths: Vec<i64> = runs.iter().map(|run| i64::try_from(run.len()).unwrap_or(i64::MAX)).collect();
    out.count(runs.len());
    numbers::write(out, &lengths);
    write_times(out, &times, numbers::write_series);
}

/// The extra tags of the sets that have some.
fn write_extra<'a>(
    out: &mut Writer,
    sets: impl Iterator<Item = &'a BTreeMap<Id, Id>> + Clone,
) -> Result<(), BlockError> {
    let counts: Vec<usize> = sets.clone().map(BTreeMap::len).filter(|count| *count > 0).collect();
    if let Some(tags) = counts.iter().find(|count| **count > EXTRA_TAGS_MAX) {
        return Err(BlockError::TooManyTags { tags: *tags });
    }
    numbers::write(out, &counts.iter().map(|count| i64::try_from(*count).unwrap_or(i64::MAX)).collect::<Vec<_>>());
    let pairs = sets.flatten();
    Dictionary::of(pairs.clone().map(|(name, _)| &**name)).write(out, TextSection::Text);
    Dictionary::of(pairs.map(|(_, value)| &**value)).write(out, TextSection::Text);
    Ok(())
}

/// What tells sets of tags apart, in a form that has an order and a hash.
fn comparable(tags: &Tags) -> impl Eq + std::hash::Hash + '_ {
    (&tags.agent, &tags.task_type, &tags.task_id, &tags.user, &tags.team, &tags.project, &tags.extra)
}

fn write_key_tags(out: &mut Writer, events: &[&Recorded]) -> Result<(), BlockError> {
    let mut known = HashMap::new();
    let mut distinct: Vec<&Tags> = Vec::new();
    let mut places = Vec::with_capacity(events.len());
    let mut previous: Option<(&Arc<Tags>, i64)> = None;
    for recorded in events {
        let tags = &recorded.origin.key_tags;
        let place = match previous {
            Some((same, place)) if Arc::ptr_eq(same, tags) => place,
            _ => *known.entry(comparable(tags)).or_insert_with(|| {
                distinct.push(tags);
                i64::try_from(distinct.len()).unwrap_or(i64::MAX) - 1
            }),
        };
        previous = Some((tags, place));
        places.push(place);
    }
    out.count(distinct.len());
    for tags in &distinct {
        let named = OF_TAGS.iter().rev().fold(0, |bits, get| bits << 1 | u64::from(get(tags).is_some()));
        out.number(named | if tags.extra.is_empty() { 0 } else { TAGS_EXTRA });
    }
    for get in OF_TAGS {
        Dictionary::of(distinct.iter().filter_map(|tags| get(tags))).write(out, TextSection::Text);
    }
    write_extra(out, distinct.iter().map(|tags| &tags.extra))?;
    if distinct.len() > 1 {
        numbers::write(out, &places);
    }
    Ok(())
}

fn write_figures(out: &mut Writer, events: &[&Recorded]) {
    let durations = events.iter().filter_map(|recorded| recorded.event.duration_ms);
    numbers::write(out, &durations.map(u64::cast_signed).collect::<Vec<_>>());
    for class in TokenClass::ALL {
        let tokens = events.iter().filter_map(|recorded| Some(recorded.event.usage?.get(class)));
        let tokens: Vec<i64> = tokens.filter(|tokens| *tokens > 0).map(u64::cast_signed).collect();
        numbers::write(out, &tokens);
    }
    let quantities = events.iter().filter_map(|recorded| recorded.event.quantity.as_ref());
    write_amounts(out, quantities.map(|quantity| quantity.quantity).collect());
    write_reported(out, events);
}

fn write_reported(out: &mut Writer, events: &[&Recorded]) {
    let all = || events.iter().filter_map(|recorded| recorded.event.reported);
    let mut currencies: Vec<Currency> = Vec::new();
    let mut places = Vec::new();
    for reported in all() {
        let known = currencies.iter().position(|currency| *currency == reported.currency);
        places.push(i64::try_from(known.unwrap_or(currencies.len())).unwrap_or(i64::MAX));
        if known.is_none() {
            currencies.push(reported.currency);
        }
    }
    if currencies.is_empty() {
        return;
    }
    out.count(currencies.len());
    currencies.iter().for_each(|currency| out.planes.extend(currency.code().bytes()));
    if currencies.len() > 1 {
        numbers::write(out, &places);
    }
    write_amounts(out, all().map(|reported| reported.amount).collect());
}

/// Decimal zeros at the end of all amounts are counted, not stored: prices and quantities have few digits.
fn write_amounts(out: &mut Writer, amounts: Vec<Amount>) {
    if amounts.is_empty() {
        return;
    }
    let zeros = amounts.iter().filter_map(|amount| decimal_zeros(amount.pico())).min().unwrap_or_default();
    let unit = 10_i128.pow(u32::from(zeros));
    let small = amounts.iter().map(|amount| i64::try_from(amount.pico() / unit).ok());
    match small.collect::<Option<Vec<i64>>>() {
        Some(small) => {
            out.byte(zeros);
            numbers::write(out, &small);
        }
        None => {
            out.byte(WIDE_AMOUNTS);
            amounts.iter().for_each(|amount| out.planes.extend(amount.pico().to_le_bytes()));
        }
    }
}

/// Zeros at the end of a number; `None` for zero, which ends in any number of them.
fn decimal_zeros(mut number: i128) -> Option<u8> {
    let mut zeros = 0;
    while number != 0 && number % 10 == 0 {
        number /= 10;
        zeros += 1;
    }
    (number != 0).then_some(zeros)
}

// The traces are the first texts: parents are looked for in them.
const _: () = assert!(TRACE_ID == 0 && fields::COUNT == OF_EVENT.len());
