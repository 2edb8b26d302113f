//! What an event consists of. Events of a block share few shapes, so that a small code tells which fields it has.

use std::collections::HashMap;

use recoup_model::{Kind, Recorded, Status, TokenClass};

use super::super::BlockError;
use super::numbers;
use super::sections::{Reader, Writer};

pub(super) const CRITICAL: u64 = 1;
pub(super) const DURATION: u64 = 1 << 1;
pub(super) const USAGE: u64 = 1 << 2;
pub(super) const QUANTITY: u64 = 1 << 3;
pub(super) const REPORTED: u64 = 1 << 4;
/// The parent is an event of the block, of the same trace.
pub(super) const PARENT_HERE: u64 = 1 << 5;
/// There is a parent, and its id stands in the block.
pub(super) const PARENT_ELSEWHERE: u64 = 1 << 6;
pub(super) const EXTRA: u64 = 1 << 7;
/// And up: a bit for each text column, in their order.
pub(super) const TEXTS: u32 = 8;
/// Bits that mean something.
const KNOWN: u64 = (1 << (TEXTS + 18)) - 1;

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) status: Option<Status>,
    /// Which fields there are.
    pub(super) has: u64,
    /// A bit for each class with tokens, the first class in the lowest.
    pub(super) classes: u16,
}

impl Shape {
    pub(super) const fn has(&self, field: u64) -> bool {
        self.has & field != 0
    }

    /// The shape of an event, but for its parent and texts, which `has` tells.
    pub(super) fn of(recorded: &Recorded, has: u64) -> Self {
        let event = &recorded.event;
        let flag = |holds: bool, bit: u64| if holds { bit } else { 0 };
        let has = has
            | flag(event.critical, CRITICAL)
            | flag(event.duration_ms.is_some(), DURATION)
            | flag(event.usage.is_some(), USAGE)
            | flag(event.quantity.is_some(), QUANTITY)
            | flag(event.reported.is_some(), REPORTED)
            | flag(!event.tags.extra.is_empty(), EXTRA);
        let classes = event.usage.map_or(0, |usage| {
            TokenClass::ALL.into_iter().rev().fold(0, |bits, class| bits << 1 | u16::from(usage.get(class) > 0))
        });
        Self { kind: event.kind, status: event.status, has, classes }
    }
}

/// Position in the contract's order, which only grows at its end.
fn position<T: PartialEq>(all: &[T], wanted: &T) -> u8 {
    all.iter().position(|known| known == wanted).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

/// Writes the shapes that appear, then which one each event has.
pub(super) fn write(out: &mut Writer, shapes: &[Shape]) {
    let mut known: HashMap<Shape, i64> = HashMap::new();
    let mut distinct = Vec::new();
    let mut places = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let next = i64::try_from(distinct.len()).unwrap_or(i64::MAX);
        let place = *known.entry(*shape).or_insert_with(|| {
            distinct.push(*shape);
            next
        });
        places.push(place);
    }
    out.count(distinct.len());
    for shape in &distinct {
        out.byte(position(&Kind::ALL, &shape.kind));
        out.byte(shape.status.map_or(0, |status| position(&Status::ALL, &status) + 1));
        out.number(shape.has);
        out.number(u64::from(shape.classes));
    }
    if distinct.len() > 1 {
        numbers::write(out, &places);
    }
}

/// The shapes of a block's events.
#[derive(Debug)]
pub(super) struct Shapes {
    pub(super) distinct: Vec<Shape>,
    /// The place of each event's shape in `distinct`; empty where there is only one.
    places: Vec<u16>,
    events: usize,
    /// The events that have the field whose shapes are `having`: neighbouring columns are often of the same events.
    at: Vec<u32>,
    having: Vec<bool>,
    asked: Vec<bool>,
}

/// Which items of so many have a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Presence<'a> {
    None,
    All(usize),
    /// Those that stand at these places.
    Some(usize, &'a [u32]),
}

impl<'a> Presence<'a> {
    pub(super) const fn of(count: usize, at: &'a [u32]) -> Self {
        if at.is_empty() { Self::None } else { Self::Some(count, at) }
    }

    /// The items that have one.
    pub(super) fn places(self) -> impl Iterator<Item = usize> + 'a {
        let (all, some) = match self {
            Self::None => (0, &[][..]),
            Self::All(count) => (count, &[][..]),
            Self::Some(_, at) => (0, at),
        };
        (0..all).chain(some.iter().map(|at| usize::try_from(*at).unwrap_or(usize::MAX)))
    }

    /// How many have one.
    pub(super) const fn count(&self) -> usize {
        match self {
            Self::None => 0,
            Self::All(count) => *count,
            Self::Some(_, at) => at.len(),
        }
    }

    /// A value for each item that has one, in their order, and the same for all others.
    pub(super) fn spread<T: Copy>(&self, others: T, mut values: impl Iterator<Item = T>) -> Vec<T> {
        match self {
            Self::None => Vec::new(),
            Self::All(count) => values.take(*count).collect(),
            Self::Some(count, at) => {
                let mut all = vec![others; *count];
                for at in *at {
                    let slot = usize::try_from(*at).ok().and_then(|at| all.get_mut(at));
                    if let (Some(slot), Some(value)) = (slot, values.next()) {
                        *slot = value;
                    }
                }
                all
            }
        }
    }
}

/// The places of the items that have something, in place of what `places` holds.
pub(super) fn find(places: &mut Vec<u32>, has: impl ExactSizeIterator<Item = bool>) {
    // Every place is written and the next one goes over it, which costs less than guessing wrong.
    places.clear();
    places.resize(has.len(), 0);
    let mut count = 0_usize;
    for (at, has) in (0..).zip(has) {
        if let Some(place) = places.get_mut(count) {
            *place = at;
        }
        count += usize::from(has);
    }
    places.truncate(count);
}

/// Shapes that a byte tells apart: more are rare, and looked up with a check.
const FEW_SHAPES: usize = 256;

impl Shapes {
    /// The events that have a field.
    pub(super) fn presence(&mut self, field: impl Fn(&Shape) -> bool) -> Presence<'_> {
        let Self { distinct, places, events, at, having, asked } = self;
        asked.clear();
        asked.extend(distinct.iter().map(field));
        if !asked.contains(&true) {
            return Presence::None;
        }
        if !asked.contains(&false) {
            return Presence::All(*events);
        }
        if asked != having {
            std::mem::swap(asked, having);
            let mut few = [false; FEW_SHAPES];
            if having.len() <= FEW_SHAPES {
                few.iter_mut().zip(having).for_each(|(few, has)| *few = *has);
                find(at, places.iter().map(|place| few.get(usize::from(place & 0xff)).copied().unwrap_or_default()));
            } else {
                find(at, places.iter().map(|place| having.get(usize::from(*place)).copied().unwrap_or_default()));
            }
        }
        Presence::Some(*events, at)
    }

    /// A value for each event, by its shape.
    pub(super) fn each<T: Copy>(&self, value: impl Fn(&Shape) -> T) -> Vec<T> {
        let Some(first) = self.distinct.first().map(&value) else { return Vec::new() };
        if self.places.is_empty() {
            return vec![first; self.events];
        }
        let mut few = [first; FEW_SHAPES];
        if self.distinct.len() <= FEW_SHAPES {
            few.iter_mut().zip(&self.distinct).for_each(|(few, shape)| *few = value(shape));
            let small = |place: &u16| few.get(usize::from(place & 0xff)).copied().unwrap_or(first);
            return self.places.iter().map(small).collect();
        }
        let values: Vec<T> = self.distinct.iter().map(value).collect();
        self.places.iter().map(|place| values.get(usize::from(*place)).copied().unwrap_or(first)).collect()
    }
}

/// Reads the shapes of `events` events.
pub(super) fn read(reader: &mut Reader<'_>, events: usize, scratch: &mut Vec<i64>) -> Result<Shapes, BlockError> {
    reader.column = "shape";
    let count = reader.count(events)?;
    if count == 0 && events > 0 {
        return Err(reader.wrong("has no entries"));
    }
    let distinct = (0..count).map(|_| read_shape(reader)).collect::<Result<Vec<Shape>, _>>()?;
    let mut places = Vec::new();
    if count > 1 {
        numbers::read(reader, events, scratch)?;
        let limit = i64::try_from(count).unwrap_or(i64::MAX);
        if scratch.iter().any(|place| !(0..limit).contains(place)) {
            return Err(reader.wrong("refers to nothing"));
        }
        places.extend(scratch.iter().map(|place| u16::try_from(*place).unwrap_or(u16::MAX)));
    }
    Ok(Shapes { distinct, places, events, at: Vec::new(), having: Vec::new(), asked: Vec::new() })
}

fn read_shape(reader: &mut Reader<'_>) -> Result<Shape, BlockError> {
    let kind = Kind::ALL.get(usize::from(reader.byte()?)).copied();
    let kind = kind.ok_or_else(|| reader.wrong("names an unknown kind"))?;
    let status = match usize::from(reader.byte()?).checked_sub(1) {
        None => None,
        Some(at) => Some(*Status::ALL.get(at).ok_or_else(|| reader.wrong("names an unknown status"))?),
    };
    let has = reader.number()?;
    let classes = reader.number()?;
    if has & !KNOWN != 0 {
        return Err(reader.wrong("names an unknown field"));
    }
    if classes >> TokenClass::ALL.len() != 0 {
        return Err(reader.wrong("names an unknown class"));
    }
    let classes = u16::try_from(classes).unwrap_or_default();
    if has & (PARENT_HERE | PARENT_ELSEWHERE) == PARENT_HERE | PARENT_ELSEWHERE || (classes != 0 && has & USAGE == 0) {
        return Err(reader.wrong("names fields that exclude each other"));
    }
    Ok(Shape { kind, status, has, classes })
}
