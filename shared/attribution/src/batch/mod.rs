//! The fast way to the facts of a day: events as rows of numbers, names as places in a table.
//!
//! Most traces are *regular*: one span without a parent, every parent there, nothing corrected, retried, reported twice
//! or unpriced, no wrapper. Their facts are added up here without making an `Event` of each row. Every other trace goes
//! through [`resolve`](crate::resolve()) and [`DayBuilder`](crate::DayBuilder), where the rules are written out; both
//! ways give the same facts, which the tests hold for traces of any shape.
//!
//! Whoever reads blocks is a [`Source`]: [`day_facts`] asks it which traces its rows belong to, then for the rows, which it
//! gives to a [`Feed`]. A trace is added up when its last row came, so that few rows are held at a time, however many a day
//! has.

mod day;
mod feed;
mod measure;
mod organisations;
mod regular;
mod sums;
mod traces;
mod work;

use recoup_model::{
    Id, Identity, Kind, PriceQuery, REPORTED_TOLERANCE, Rater, Recorded, Status, Tags, Tariff, TokenClass, UnitTariff,
    Usage,
};
use recoup_money::{Currency, PICO_PER_UNIT, mul_div_half_even};

pub use self::day::{day_facts, settlement_facts};
pub use self::feed::{Feed, Source};

use self::sums::Map;
use crate::work::DEAREST_MAX;

/// A place in the table of names; 0: no name.
pub type Name = u32;

/// Tariffs of one product that are remembered; a product changes its price now and then, not daily.
const TARIFFS_PER_PRODUCT_MAX: usize = 16;

/// Classes of tokens that a row may have.
const CLASSES: usize = TokenClass::ALL.len();

/// An id as a number. Ids of 16 lower-case hexadecimal digits are the number they write, which has their order; others
/// are the fingerprint of [`Identity`], which has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanKey {
    /// The number.
    pub key: u64,
    /// Whether it is a fingerprint.
    pub is_fingerprint: bool,
}

impl SpanKey {
    /// The key of an `event_id` or `parent_id` inside a trace.
    #[must_use]
    pub fn of(trace: u64, id: &str) -> Self {
        match Self::of_hex(id) {
            Some(key) => Self { key, is_fingerprint: false },
            None => Self { key: Identity::inside(trace, id).event, is_fingerprint: true },
        }
    }

    /// The number that 16 lower-case hexadecimal digits write.
    #[must_use]
    pub fn of_hex(id: &str) -> Option<u64> {
        let lower = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if lower { u64::from_str_radix(id, 16).ok() } else { None }
    }
}

/// The numbers of one event.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its identity.
    pub identity: Identity,
    /// Its id
    pub event: SpanKey,
    /// and its parent's, where it names one.
    pub parent: Option<SpanKey>,
    /// End of the span, nanoseconds since 1970-01-01T00:00:00Z.
    pub used_at_ns: i64,
    /// Its length; `None`: not reported.
    pub duration_ms: Option<u32>,
    /// Own tags.
    pub agent: Name,
    /// Own tag.
    pub task_type: Name,
    /// Own tag.
    pub team: Name,
    /// Own tag, a pseudonym.
    pub user: Name,
    /// Own tag.
    pub project: Name,
    /// The team of its resource.
    pub resource_team: Name,
    /// Default tags of the key that brought it: a place of [`Batch::key`].
    pub key: u32,
    /// Provider, model and tier: a place of [`Batch::product`].
    pub product: u32,
    /// What its quantity counts: a place of [`Batch::sku`]; 0: it has none.
    pub sku: u32,
    /// The cost bucket.
    pub kind: Kind,
    /// How a root's task ended.
    pub status: Option<Status>,
    /// Whether it carries what only the careful way knows: `supersedes`, `retry_of`, `critical`.
    pub irregular: bool,
}

impl Row {
    /// Start of the span: its end less its length.
    #[must_use]
    pub fn started_at_ns(&self) -> i64 {
        let length_ns = i64::from(self.duration_ms.unwrap_or_default()).saturating_mul(1_000_000);
        self.used_at_ns.saturating_sub(length_ns)
    }
}

/// What an event costs, as numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Consumption<'a> {
    /// A bit for each class of `tokens`, the first class in the lowest bit; `None`: the event reports no usage.
    pub classes: Option<u16>,
    /// Tokens of these classes, in class order.
    pub tokens: &'a [u64],
    /// The quantity in picounits, of a row with a SKU.
    pub quantity_pico: i128,
    /// The reported cost.
    pub reported: Option<(i128, Currency)>,
}

/// A row with its cost.
#[derive(Clone, Copy, Debug)]
struct Rated {
    row: Row,
    /// What the source calls it.
    number: u64,
    cost_pico: i64,
    /// Where its tokens or its quantity are.
    slot: u32,
    classes: u16,
    tariff: u32,
    is_reported: bool,
    regular: bool,
}

/// What was bought from whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Product {
    provider: Name,
    model: Name,
    service_tier: Name,
}

/// What is sold in which unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Sku {
    sku: Name,
    unit: Name,
}

/// Default tags of a key, as names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct KeyNames {
    agent: Name,
    task_type: Name,
    team: Name,
    user: Name,
    project: Name,
}

/// Names and their places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    texts: Vec<Id>,
    places: Map<Id, Name>,
}

impl Names {
    fn place(&mut self, text: &str) -> Name {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let text = Id::from(text);
        self.texts.push(Id::clone(&text));
        let place = number(self.texts.len());
        self.places.insert(text, place);
        place
    }

    /// By name its place among all of them in order of their texts, from 1; 0 for no name.
    fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<(&Id, usize)> = self.texts.iter().zip(1..).collect();
        order.sort_unstable();
        let mut ranks = vec![0; order.len().saturating_add(1)];
        for (rank, (_, name)) in (1_u32..).zip(order) {
            if let Some(place) = ranks.get_mut(name) {
                *place = rank;
            }
        }
        ranks
    }

    fn text(&self, name: Name) -> Option<&Id> {
        self.texts.get(usize::try_from(name).ok()?.checked_sub(1)?)
    }
}

/// A count as a place; no table here comes near the bound, since a block has at most 4,096 events.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A place in a table.
fn place_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The events of traces that are not complete as rows, and tables of what rows name.
pub struct Batch<'r> {
    rater: &'r dyn Rater,
    reporting: Option<Currency>,
    /// By slot; a slot is used again when its trace is done.
    rows: Vec<Rated>,
    free: Vec<u32>,
    /// By slot, [`CLASSES`] each.
    tokens: Vec<u64>,
    names: Names,
    products: Vec<Product>,
    product_places: Map<Product, u32>,
    /// The same product without its tier, by product.
    untiered: Vec<u32>,
    tariffs: Vec<Tariff>,
    tariffs_of: Vec<Vec<u32>>,
    skus: Vec<Sku>,
    sku_places: Map<Sku, u32>,
    unit_tariffs: Vec<Vec<UnitTariff>>,
    /// By slot.
    quantities: Vec<i128>,
    keys: Vec<KeyNames>,
    key_places: Map<KeyNames, u32>,
    /// `None`: what tasks used is not asked for.
    dearest_max: Option<usize>,
}

impl<'r> Batch<'r> {
    /// A batch that is priced by `rater`.
    #[must_use]
    pub fn new(rater: &'r dyn Rater) -> Self {
        Self {
            rater,
            reporting: rater.reporting_currency(),
            rows: Vec::new(),
            free: Vec::new(),
            tokens: Vec::new(),
            names: Names::default(),
            products: vec![Product::default()],
            product_places: std::iter::once((Product::default(), 0)).collect(),
            untiered: vec![0],
            tariffs: Vec::new(),
            tariffs_of: vec![Vec::new()],
            skus: vec![Sku::default()],
            sku_places: Map::default(),
            unit_tariffs: vec![Vec::new()],
            quantities: Vec::new(),
            keys: vec![KeyNames::default()],
            key_places: std::iter::once((KeyNames::default(), 0)).collect(),
            dearest_max: Some(DEAREST_MAX),
        }
    }

    /// The same, but so many of the dearest tasks of each agent and task type are kept.
    #[must_use]
    pub const fn keeping(mut self, dearest_max: usize) -> Self {
        self.dearest_max = Some(dearest_max);
        self
    }

    /// The same, but what tasks used is left out of the facts.
    #[must_use]
    pub const fn without_work(mut self) -> Self {
        self.dearest_max = None;
        self
    }

    /// The place of a name.
    pub fn name(&mut self, text: &str) -> Name {
        self.names.place(text)
    }

    /// The place of default tags.
    pub fn key(&mut self, tags: &Tags) -> u32 {
        let mut place = |tag: &Option<Id>| tag.as_ref().map_or(0, |text| self.names.place(text));
        let names = KeyNames {
            agent: place(&tags.agent),
            task_type: place(&tags.task_type),
            team: place(&tags.team),
            user: place(&tags.user),
            project: place(&tags.project),
        };
        let next = number(self.keys.len());
        let place = *self.key_places.entry(names).or_insert(next);
        if place == next {
            self.keys.push(names);
        }
        place
    }

    /// The place of a provider, model and tier.
    pub fn product(&mut self, provider: Name, model: Name, service_tier: Name) -> u32 {
        let product = Product { provider, model, service_tier };
        if let Some(place) = self.product_places.get(&product) {
            return *place;
        }
        let untiered = (service_tier != 0).then(|| self.product(provider, model, 0));
        let place = number(self.products.len());
        self.products.push(product.clone());
        self.product_places.insert(product, place);
        self.untiered.push(untiered.unwrap_or(place));
        self.tariffs_of.push(Vec::new());
        place
    }

    /// The place of a SKU and its unit, from 1.
    pub fn sku(&mut self, sku: Name, unit: Name) -> u32 {
        let sold = Sku { sku, unit };
        if let Some(place) = self.sku_places.get(&sold) {
            return *place;
        }
        let place = number(self.skus.len());
        self.skus.push(sold.clone());
        self.sku_places.insert(sold, place);
        self.unit_tariffs.push(Vec::new());
        place
    }

    /// Puts an event that was read in full into a slot.
    fn put_recorded(&mut self, number: u64, recorded: &Recorded) -> u32 {
        let Recorded { event, origin, .. } = recorded;
        let identity = Identity::of(event);
        let duration_ms = event.duration_ms.map(u32::try_from);
        let mut place = |text: &Option<Id>| text.as_ref().map_or(0, |text| self.names.place(text));
        let tags = &event.tags;
        let (agent, task_type, team) = (place(&tags.agent), place(&tags.task_type), place(&tags.team));
        let (user, project, resource_team) = (place(&tags.user), place(&tags.project), place(&origin.resource_team));
        let (provider, model, tier) = (place(&event.provider), place(&event.model), place(&event.service_tier));
        let sold = event.quantity.as_ref().map(|sold| (place(&Some(Id::clone(&sold.sku))), place(&sold.unit)));
        let special = event.supersedes.is_some() || event.retry_of.is_some();
        let row = Row {
            identity,
            event: SpanKey::of(identity.trace, &event.event_id),
            parent: event.parent_id.as_ref().map(|parent| SpanKey::of(identity.trace, parent)),
            used_at_ns: event.used_at_ns,
            duration_ms: duration_ms.and_then(Result::ok),
            agent,
            task_type,
            team,
            user,
            project,
            resource_team,
            key: self.key(&origin.key_tags),
            product: self.product(provider, model, tier),
            sku: sold.map_or(0, |(sku, unit)| self.sku(sku, unit)),
            kind: event.kind,
            status: event.status,
            irregular: special || event.critical || duration_ms.is_some_and(|length| length.is_err()),
        };
        let classes = |usage: &Usage| {
            let bits = TokenClass::ALL.iter().rev();
            bits.fold(0_u16, |bits, class| bits << 1 | u16::from(usage.get(*class) > 0))
        };
        let tokens: Vec<u64> = event.usage.iter().flat_map(Usage::nonzero).map(|(_, tokens)| tokens).collect();
        let reported = event.reported.map(|reported| (reported.amount.pico(), reported.currency));
        let quantity_pico = event.quantity.as_ref().map_or(0, |sold| sold.quantity.pico());
        let classes = event.usage.as_ref().map(classes);
        self.put((number, row), &Consumption { classes, tokens: &tokens, quantity_pico, reported })
    }

    /// Puts an event into a slot.
    fn put(&mut self, (number, row): (u64, Row), used: &Consumption<'_>) -> u32 {
        let rating = if row.irregular { None } else { self.rate(&row, used) };
        let (cost_pico, tariff) = rating.unwrap_or_default();
        let metered = used.classes.is_some() || row.sku != 0;
        let (is_reported, classes) = (!metered && used.reported.is_some(), used.classes.unwrap_or(0));
        let regular = rating.is_some();
        let slot = self.slot_for(Rated { row, number, cost_pico, slot: 0, classes, tariff, is_reported, regular });
        if row.sku == 0 {
            let held = self.tokens.get_mut(tokens_at(slot)..).unwrap_or_default();
            held.iter_mut().zip(used.tokens).for_each(|(held, tokens)| *held = *tokens);
        } else if let Some(held) = self.quantities.get_mut(place_of(slot)) {
            *held = used.quantity_pico;
        }
        slot
    }

    fn slot_for(&mut self, rated: Rated) -> u32 {
        if let Some(slot) = self.free.pop()
            && let Some(held) = self.rows.get_mut(place_of(slot))
        {
            *held = Rated { slot, ..rated };
            return slot;
        }
        let slot = number(self.rows.len());
        self.rows.push(Rated { slot, ..rated });
        self.tokens.resize(self.tokens.len().saturating_add(CLASSES), 0);
        self.quantities.push(0);
        slot
    }

    /// Cost and tariff, as [`Rater::rate`] would give them; `None` where only it can.
    fn rate(&mut self, row: &Row, used: &Consumption<'_>) -> Option<(i64, u32)> {
        let reported = match used.reported {
            Some((pico, currency)) if Some(currency) == self.reporting => Some(i64::try_from(pico).ok()?),
            Some(_) => return None,
            None => None,
        };
        let (cost, tariff) = match used.classes {
            _ if row.kind == Kind::Agent => {
                let is_free = used.classes.is_none() && reported.is_none() && row.sku == 0;
                return is_free.then_some((0, 0));
            }
            Some(_) if row.sku != 0 => return None,
            Some(classes) => self.rate_tokens(row, classes, used.tokens)?,
            None if row.sku != 0 => (self.rate_units(row, used.quantity_pico)?, 0),
            None => return reported.map(|pico| (pico, 0)),
        };
        // EVT-6: a disagreement is a finding, which the careful way words.
        let agrees = reported.is_none_or(|reported| {
            let (reported, cost, times) = (i128::from(reported), i128::from(cost), i128::from(REPORTED_TOLERANCE));
            reported.saturating_mul(times) >= cost && reported <= cost.saturating_mul(times)
        });
        agrees.then_some((cost, tariff))
    }

    fn rate_units(&mut self, row: &Row, quantity_pico: i128) -> Option<i64> {
        let place = usize::try_from(row.sku).ok()?;
        let known = self.unit_tariffs.get(place)?;
        let holds = |tariff: &&UnitTariff| (tariff.from_ns..tariff.to_ns).contains(&row.used_at_ns);
        let tariff = match known.iter().rev().find(holds) {
            Some(tariff) => *tariff,
            None if known.len() >= TARIFFS_PER_PRODUCT_MAX => return None,
            None => {
                let sold = self.skus.get(place)?;
                let (sku, unit) = (self.names.text(sold.sku)?, self.names.text(sold.unit));
                let tariff = self.rater.unit_tariff(sku, unit, row.used_at_ns)?;
                self.unit_tariffs.get_mut(place)?.push(tariff);
                tariff
            }
        };
        let cost = mul_div_half_even(tariff.price.pico(), quantity_pico, PICO_PER_UNIT)?;
        i64::try_from(cost).ok().filter(|cost| *cost >= 0)
    }

    fn rate_tokens(&mut self, row: &Row, classes: u16, tokens: &[u64]) -> Option<(i64, u32)> {
        let place = self.tariff_at(row.product, row.used_at_ns)?;
        let tariff = self.tariffs.get(usize::try_from(place).ok()?)?;
        let (mut cost, mut context) = (0_i64, 0_u64);
        for (class, count) in classes_of(classes).zip(tokens) {
            let rate = tariff.per_token_pico.get(class).copied().flatten()?;
            cost = cost.checked_add(rate.checked_mul(i64::try_from(*count).ok()?)?)?;
            if TokenClass::ALL.get(class).is_some_and(|class| class.counts_as_context()) {
                context = context.checked_add(*count)?;
            }
        }
        (context <= tariff.context_max).then_some((cost, place))
    }

    fn tariff_at(&mut self, product: u32, at_ns: i64) -> Option<u32> {
        let product = usize::try_from(product).ok()?;
        let known = self.tariffs_of.get(product)?;
        let holds = |place: &&u32| {
            let tariff = usize::try_from(**place).ok().and_then(|place| self.tariffs.get(place));
            tariff.is_some_and(|tariff| (tariff.from_ns..tariff.to_ns).contains(&at_ns))
        };
        if let Some(place) = known.iter().rev().find(holds) {
            return Some(*place);
        }
        if known.len() >= TARIFFS_PER_PRODUCT_MAX {
            return None;
        }
        let names = self.products.get(product)?;
        let text = |name: Name| self.names.text(name).map(|text| &**text);
        let tariff = self.rater.tariff(&PriceQuery {
            provider: text(names.provider),
            model: text(names.model),
            service_tier: text(names.service_tier),
            used_at_ns: at_ns,
            usage: Usage::NONE,
        })?;
        let place = number(self.tariffs.len());
        self.tariffs.push(tariff);
        self.tariffs_of.get_mut(product)?.push(place);
        Some(place)
    }
}

/// Where the tokens of a slot begin.
fn tokens_at(slot: u32) -> usize {
    place_of(slot).saturating_mul(CLASSES)
}

/// The places of the classes whose bits are set, in class order.
fn classes_of(classes: u16) -> impl Iterator<Item = usize> {
    (0..TokenClass::ALL.len()).filter(move |class| classes >> class & 1 == 1)
}
