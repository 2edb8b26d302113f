//! One event of the contract's table, checked.
//!
//! Checks run in this order: size and JSON, unknown and repeated fields, identity, time, the rest as in the contract.
//! The first that fails is the one that is reported.

use chrono::{DateTime, SecondsFormat};
use recoup_model::limits::{
    CLOCK_SKEW_HOURS_MAX, DURATION_MS_MAX, EVENT_AGE_DAYS_MAX, EVENT_BYTES_MAX, EXTRA_TAGS_MAX, ID_BYTES_MAX,
    RESERVATION_ID_BYTES_MAX, TAG_BYTES_MAX, TAG_NAME_BYTES_MAX, TOKENS_MAX,
};
use recoup_model::{Event, Id, Kind, Quantity, Reported, Status, Tags, TokenClass, Usage};
use serde_json::value::RawValue;

use crate::item::{At, ItemError, Problem, shown};
use crate::json::{self, Member};
use crate::names::{provider_id, service_tier_id};
use crate::native::read_usage_native;
use crate::nearest;

/// What the door knows: the time, and what the organisation file says about tags.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Now, nanoseconds since 1970-01-01T00:00:00Z: EVT-7 is measured from it.
    pub now_ns: i64,
    /// Tags beyond the named dimensions that the organisation file allows (`policy.extra_tags`).
    pub extra_tags: &'a [Id],
}

/// Reads one event from the text of one JSON object.
///
/// # Errors
/// The first rule that the event breaks, with the field, what is wrong, and what to do.
///
/// ```
/// use recoup_metering::{Rules, read_event};
/// let rules = Rules { now_ns: 1_760_000_000_000_000_000, extra_tags: &[] };
/// let event = read_event(r#"{"event_id":"a","used_at":"2025-10-09T08:00:00Z","kind":"llm"}"#, &rules).unwrap();
/// assert_eq!(&*event.event_id, "a");
/// let error = read_event(r#"{"event_id":"a","used_at":"2025-10-09T08:00:00Z"}"#, &rules).unwrap_err();
/// assert_eq!((error.r#type, error.field.as_str()), ("missing-field", "kind"));
/// ```
pub fn read_event(text: &str, rules: &Rules<'_>) -> Result<Event, ItemError> {
    let text = text.trim_ascii();
    if text.len() > EVENT_BYTES_MAX {
        let detail = format!("the event has {} bytes, at most {EVENT_BYTES_MAX} are allowed; shorten it", text.len());
        return Err(ItemError::new(Problem::TooLarge, "", detail));
    }
    let members = json::members(text, "")?;
    Fields::collect(&members).and_then(|fields| fields.event(rules)).map_err(|error| {
        let id = members.iter().find(|(name, _)| name == "event_id").map(|(_, value)| *value);
        let id = id.and_then(|value| json::text(value, At::top("event_id"), ID_BYTES_MAX).ok());
        ItemError { event_id: id.map(Into::into), ..error }
    })
}

/// The values of an event's fields as text; `None` where a field is absent or `null`.
#[derive(Default)]
struct Fields<'a> {
    event_id: Option<&'a RawValue>,
    trace_id: Option<&'a RawValue>,
    parent_id: Option<&'a RawValue>,
    used_at: Option<&'a RawValue>,
    duration_ms: Option<&'a RawValue>,
    kind: Option<&'a RawValue>,
    tags: Option<&'a RawValue>,
    priority: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    provider: Option<&'a RawValue>,
    model: Option<&'a RawValue>,
    service_tier: Option<&'a RawValue>,
    usage: Option<&'a RawValue>,
    usage_native: Option<&'a RawValue>,
    sku: Option<&'a RawValue>,
    quantity: Option<&'a RawValue>,
    unit: Option<&'a RawValue>,
    cost: Option<&'a RawValue>,
    response_id: Option<&'a RawValue>,
    retry_of: Option<&'a RawValue>,
    supersedes: Option<&'a RawValue>,
    reservation_id: Option<&'a RawValue>,
}

/// The fields of the contract, in its order.
const FIELD_NAMES: [&str; 22] = [
    "event_id",
    "trace_id",
    "parent_id",
    "used_at",
    "duration_ms",
    "kind",
    "tags",
    "priority",
    "status",
    "provider",
    "model",
    "service_tier",
    "usage",
    "usage_native",
    "sku",
    "quantity",
    "unit",
    "cost",
    "response_id",
    "retry_of",
    "supersedes",
    "reservation_id",
];

impl<'a> Fields<'a> {
    fn slot(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>> {
        Some(match name {
            "event_id" => &mut self.event_id,
            "trace_id" => &mut self.trace_id,
            "parent_id" => &mut self.parent_id,
            "used_at" => &mut self.used_at,
            "duration_ms" => &mut self.duration_ms,
            "kind" => &mut self.kind,
            "tags" => &mut self.tags,
            "priority" => &mut self.priority,
            "status" => &mut self.status,
            "provider" => &mut self.provider,
            "model" => &mut self.model,
            "service_tier" => &mut self.service_tier,
            "usage" => &mut self.usage,
            "usage_native" => &mut self.usage_native,
            "sku" => &mut self.sku,
            "quantity" => &mut self.quantity,
            "unit" => &mut self.unit,
            "cost" => &mut self.cost,
            "response_id" => &mut self.response_id,
            "retry_of" => &mut self.retry_of,
            "supersedes" => &mut self.supersedes,
            "reservation_id" => &mut self.reservation_id,
            _ => return None,
        })
    }

    fn collect(members: &[Member<'a>]) -> Result<Self, ItemError> {
        let mut fields = Self::default();
        for (name, value) in members {
            let slot = fields.slot(name).ok_or_else(|| unknown_field(name))?;
            *slot = (!json::is_null(value)).then_some(*value);
        }
        Ok(fields)
    }

    fn event(&self, rules: &Rules<'_>) -> Result<Event, ItemError> {
        let provider = name("provider", self.provider, provider_id)?;
        Ok(Event {
            event_id: id("event_id", self.event_id)?
                .ok_or_else(|| missing("event_id", "send an id that is unique inside the trace"))?,
            trace_id: id("trace_id", self.trace_id)?,
            parent_id: id("parent_id", self.parent_id)?,
            used_at_ns: used_at(self.used_at, rules)?,
            duration_ms: optional(self.duration_ms, |raw| json::count(raw, At::top("duration_ms"), DURATION_MS_MAX))?,
            kind: choice("kind", self.kind, &Kind::ALL.map(Kind::name), Kind::from_name)?
                .ok_or_else(|| missing("kind", "send the cost bucket, such as llm or tool"))?,
            tags: optional(self.tags, |raw| tags(raw, rules))?.unwrap_or_default(),
            critical: choice("priority", self.priority, &["critical"], |name| (name == "critical").then_some(()))?
                .is_some(),
            status: choice("status", self.status, &Status::ALL.map(Status::name), Status::from_name)?,
            model: name("model", self.model, |model| model)?,
            service_tier: name("service_tier", self.service_tier, service_tier_id)?,
            usage: self.token_usage(provider.as_deref())?,
            quantity: self.metered_quantity()?,
            reported: optional(self.cost, reported_cost)?,
            response_id: id("response_id", self.response_id)?,
            retry_of: id("retry_of", self.retry_of)?,
            supersedes: id("supersedes", self.supersedes)?,
            reservation_id: id_up_to("reservation_id", self.reservation_id, RESERVATION_ID_BYTES_MAX)?,
            provider,
        })
    }

    fn token_usage(&self, provider: Option<&str>) -> Result<Option<Usage>, ItemError> {
        match (self.usage, self.usage_native) {
            (None, None) => Ok(None),
            (Some(classes), None) => disjoint_usage(classes).map(Some),
            (None, Some(native)) => read_usage_native(native.get(), provider).map(Some),
            (Some(_), Some(_)) => {
                let detail = "stands beside usage; send one of the two, or the tokens would be counted twice";
                Err(ItemError::new(Problem::BothUsageForms, "usage_native", detail))
            }
        }
    }

    fn metered_quantity(&self) -> Result<Option<Quantity>, ItemError> {
        let sku = name("sku", self.sku, |sku| sku)?;
        let quantity = optional(self.quantity, |raw| json::decimal(raw, At::top("quantity")))?;
        let unit = name("unit", self.unit, |unit| unit)?;
        match (sku, quantity) {
            (Some(sku), Some(quantity)) => Ok(Some(Quantity { sku, quantity, unit })),
            (Some(_), None) => Err(missing("quantity", "sku says what was used; send how many as well")),
            (None, Some(_)) => Err(missing("sku", "quantity stands there without it; send what was used")),
            (None, None) if unit.is_some() => {
                Err(missing("sku", "unit stands there without it; send sku and quantity, or leave unit out"))
            }
            (None, None) => Ok(None),
        }
    }
}

fn missing(field: &str, remedy: &str) -> ItemError {
    ItemError::new(Problem::MissingField, field, format!("is missing: {remedy}"))
}

fn unknown_field(name: &str) -> ItemError {
    let remedy = match nearest::field(name, &FIELD_NAMES) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "leave it out; dimensions of your own go into tags".to_owned(),
    };
    ItemError::new(Problem::UnknownField, At::top(name), format!("`{}` is no field of an event; {remedy}", shown(name)))
}

fn optional<T>(
    value: Option<&RawValue>,
    read: impl FnOnce(&RawValue) -> Result<T, ItemError>,
) -> Result<Option<T>, ItemError> {
    value.map(read).transpose()
}

fn id(field: &str, value: Option<&RawValue>) -> Result<Option<Id>, ItemError> {
    id_up_to(field, value, ID_BYTES_MAX)
}

fn id_up_to(field: &str, value: Option<&RawValue>, bytes_max: usize) -> Result<Option<Id>, ItemError> {
    optional(value, |raw| Ok(Id::from(&*json::text(raw, At::top(field), bytes_max)?)))
}

/// A name of up to a tag's length, brought to the one that others know it by.
fn name(field: &str, value: Option<&RawValue>, known_as: impl FnOnce(&str) -> &str) -> Result<Option<Id>, ItemError> {
    optional(value, |raw| Ok(Id::from(known_as(&json::text(raw, At::top(field), TAG_BYTES_MAX)?))))
}

/// One of a few names.
fn choice<T>(
    field: &str,
    value: Option<&RawValue>,
    names: &[&str],
    from_name: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ItemError> {
    optional(value, |raw| {
        let text = json::text(raw, At::top(field), TAG_BYTES_MAX)?;
        from_name(&text).ok_or_else(|| {
            let detail = format!("`{}` is not one of: {}; send one of these", shown(&text), names.join(", "));
            ItemError::new(Problem::UnknownValue, field, detail)
        })
    })
}

const NS_PER_HOUR: i64 = 3_600_000_000_000;
const NS_PER_DAY: i64 = 24 * NS_PER_HOUR;

/// The end of the span, inside the window of EVT-7 (both ends included).
fn used_at(value: Option<&RawValue>, rules: &Rules<'_>) -> Result<i64, ItemError> {
    let raw = value.ok_or_else(|| missing("used_at", "send when the span ended, as an RFC 3339 time"))?;
    let text = json::string(raw).unwrap_or(raw.get().into());
    let time = DateTime::parse_from_rfc3339(&text).map_err(|_| {
        let detail = format!("`{}` is not an RFC 3339 time; send one such as 2026-10-01T08:30:00Z", shown(&text));
        ItemError::new(Problem::NotATime, "used_at", detail)
    })?;
    // Outside 1677 to 2262 nanoseconds do not fit; the sign of the seconds then says on which side.
    let outside = if time.timestamp() < 0 { i64::MIN } else { i64::MAX };
    let used_at_ns = time.timestamp_nanos_opt().unwrap_or(outside);
    let earliest = rules.now_ns.saturating_sub(EVENT_AGE_DAYS_MAX.saturating_mul(NS_PER_DAY));
    let latest = rules.now_ns.saturating_add(CLOCK_SKEW_HOURS_MAX.saturating_mul(NS_PER_HOUR));
    if used_at_ns < earliest {
        let detail = format!(
            "`{}` lies more than {EVENT_AGE_DAYS_MAX} days back (before {}); correct the time",
            shown(&text),
            printed(earliest)
        );
        return Err(ItemError::new(Problem::TooOld, "used_at", detail));
    }
    if used_at_ns > latest {
        let detail = format!(
            "`{}` lies more than {CLOCK_SKEW_HOURS_MAX} hour ahead (after {}); correct the sender's clock",
            shown(&text),
            printed(latest)
        );
        return Err(ItemError::new(Problem::InTheFuture, "used_at", detail));
    }
    Ok(used_at_ns)
}

fn printed(ns: i64) -> String {
    DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The dimensions that every organisation has.
const TAG_NAMES: [&str; 6] = ["agent", "task_type", "task_id", "user", "team", "project"];

fn tags(value: &RawValue, rules: &Rules<'_>) -> Result<Tags, ItemError> {
    let mut tags = Tags::default();
    for (name, value) in json::members(value.get(), "tags")? {
        let at = At::inside("tags", &name);
        let read = || -> Result<Option<Id>, ItemError> {
            let present = (!json::is_null(value)).then_some(value);
            optional(present, |raw| Ok(Id::from(&*json::text(raw, at, TAG_BYTES_MAX)?)))
        };
        match &*name {
            "agent" => tags.agent = read()?,
            "task_type" => tags.task_type = read()?,
            "task_id" => tags.task_id = read()?,
            "user" => tags.user = read()?,
            "team" => tags.team = read()?,
            "project" => tags.project = read()?,
            _ => {
                let name = allowed_tag(&name, rules)?;
                if let Some(text) = read()? {
                    tags.extra.insert(name, text);
                }
            }
        }
    }
    if tags.extra.len() > EXTRA_TAGS_MAX {
        let detail = format!("has {} extra tags, at most {EXTRA_TAGS_MAX} are allowed; send fewer", tags.extra.len());
        return Err(ItemError::new(Problem::TooMany, "tags", detail));
    }
    Ok(tags)
}

/// The organisation's own copy of an extra tag's name.
fn allowed_tag(name: &str, rules: &Rules<'_>) -> Result<Id, ItemError> {
    if name.len() > TAG_NAME_BYTES_MAX {
        let detail = format!("the name has {} bytes, at most {TAG_NAME_BYTES_MAX} are allowed; shorten it", name.len());
        return Err(ItemError::new(Problem::TooLong, At::inside("tags", name), detail));
    }
    rules.extra_tags.iter().find(|allowed| &***allowed == name).cloned().ok_or_else(|| {
        let meant = nearest::among(name, &TAG_NAMES).map(|near| format!("did you mean `{near}`? Else "));
        let detail = format!(
            "the organisation does not keep `{}`; {}add it to policy.extra_tags in the organisation file, or leave it out",
            shown(name),
            meant.unwrap_or_default()
        );
        ItemError::new(Problem::UnknownTag, At::inside("tags", name), detail)
    })
}

/// `usage`: disjoint classes by their own names (EVT-4).
fn disjoint_usage(value: &RawValue) -> Result<Usage, ItemError> {
    let mut usage = Usage::NONE;
    let mut named = false;
    for (name, value) in json::members(value.get(), "usage")? {
        let class = TokenClass::from_name(&name).ok_or_else(|| unknown_class(&name))?;
        if !json::is_null(value) {
            usage.set(class, json::count(value, At::inside("usage", &name), TOKENS_MAX)?);
            named = true;
        }
    }
    if !named {
        let detail = "names no class; leave it out where no usage is known, or send the classes (0 is a count)";
        return Err(ItemError::new(Problem::Empty, "usage", detail));
    }
    Ok(usage)
}

fn unknown_class(name: &str) -> ItemError {
    let names = TokenClass::ALL.map(TokenClass::name);
    let remedy = match nearest::among(name, &names) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the classes are {}; a provider's own usage object goes into usage_native", names.join(", ")),
    };
    let detail = format!("`{}` is no token class; {remedy}", shown(name));
    ItemError::new(Problem::UnknownField, At::inside("usage", name), detail)
}

/// `cost`: what the source says it was (EVT-6).
fn reported_cost(value: &RawValue) -> Result<Reported, ItemError> {
    let (mut amount, mut currency) = (None, None);
    for (name, value) in json::members(value.get(), "cost")? {
        let at = At::inside("cost", &name);
        match &*name {
            _ if json::is_null(value) && matches!(&*name, "amount" | "currency") => {}
            "amount" => amount = Some(json::decimal(value, at)?),
            "currency" => {
                let code = json::text(value, at, TAG_BYTES_MAX)?;
                currency = Some(code.parse().map_err(|_| {
                    let detail = format!("`{}` is no ISO 4217 code; send one such as USD or EUR", shown(&code));
                    ItemError::new(Problem::UnknownCurrency, at, detail)
                })?);
            }
            _ => {
                let detail = format!("`{}` is no field of a cost; send amount and currency", shown(&name));
                return Err(ItemError::new(Problem::UnknownField, at, detail));
            }
        }
    }
    Ok(Reported {
        amount: amount.ok_or_else(|| missing("cost.amount", "send it as a decimal string"))?,
        currency: currency.ok_or_else(|| missing("cost.currency", "send its ISO 4217 code; none is assumed"))?,
    })
}

#[cfg(test)]
mod tests;
