#!/usr/bin/env python3
"""Recomputes the statements of one month from exported events: simple, slow, exact.

It is written from the documents alone (semantics and contract) and shares neither code nor structure with the product, so that a
difference between the two is a fault in one of them. Every amount is a Fraction; nothing is rounded but where a rule says so.
Start reading at `recompute`.
"""

import argparse
import datetime as dt
import json
import pathlib
import re
import sys
import tomllib
import zoneinfo
from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

PICO = 10**12
MINUTE_NS = 60 * 10**9
INPUT_SIDE = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
OUTPUT_SIDE = ("output", "reasoning", "audio_output", "image_output")
CONTEXT = ("input", "cache_read", "cache_write_5m", "cache_write_1h")
SUBSTITUTE = {"cache_read": "input", "cache_write_5m": "input", "cache_write_1h": "input", "reasoning": "output"}
BASE_TIERS = (None, "", "standard", "default", "auto")
MINOR_DIGITS = {"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "VND": 0, "BHD": 3, "JOD": 3, "KWD": 3, "OMR": 3, "TND": 3}
KIND_ORDER = ("charge", "markup", "pool", "variance", "correction")
USED_BASES = ("invocations", "tokens", "duration")
UNATTRIBUTED, UNALLOCATED = "unattributed", "unallocated"


class Refused(Exception):
    """The input holds something this program does not compute."""


class ClosedPools(Refused):
    """POOL-2: pools that serve only each other."""


# Numbers ---------------------------------------------------------------------------------------------------------------------


def half_even(value, digits=12):
    """MON-1: to `digits` fraction digits, half to even (which is what `round` of a Fraction does)."""
    return round(Fraction(value), digits)


def to_pico(value):
    """MON-1: an amount as a whole number of picounits."""
    units = Fraction(value) * PICO
    assert units.denominator == 1, f"{value} has more than 12 fraction digits"
    return units.numerator


def text_of(value):
    """A number with a finite decimal expansion as plain text without trailing zeros; None stays None."""
    if value is None:
        return None
    value, digits = Fraction(value), 0
    while (value * 10**digits).denominator != 1:
        digits += 1
        assert digits <= 60, f"{value} has no finite decimal expansion"
    units = (value * 10**digits).numerator
    whole, part = divmod(abs(units), 10**digits)
    return ("-" if units < 0 else "") + str(whole) + (f".{part:0{digits}d}" if digits else "")


def split(units, weights):
    """SPL-1: `units` over {id: weight}, by largest remainder; the weights may be any non-negative rationals."""
    scale = 1
    for weight in weights.values():
        assert weight >= 0
        scale *= Fraction(weight * scale).denominator
    whole = {key: int(weight * scale) for key, weight in weights.items()}
    total = sum(whole.values())
    if total == 0:
        assert units == 0, "SPL-3 has to choose other weights"
        return dict.fromkeys(weights, 0)
    sign, size = (-1 if units < 0 else 1), abs(units)
    parts = {key: size * weight // total for key, weight in whole.items()}
    left = size - sum(parts.values())
    by_remainder = sorted(whole, key=lambda key: (-(size * whole[key] % total), -whole[key], str(key).encode()))
    for key in by_remainder[:left]:
        parts[key] += 1
    assert sum(parts.values()) == size
    return {key: sign * part for key, part in parts.items()}


# Times -----------------------------------------------------------------------------------------------------------------------

RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)$")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


def ns_of(value):
    """Nanoseconds since the epoch of an RFC 3339 time; a bare date is 00:00 UTC."""
    if isinstance(value, (dt.datetime, dt.date)):
        value = value.isoformat()
    if len(value) == 10:
        value += "T00:00:00Z"
    match = RFC3339.match(value)
    if not match:
        raise Refused(f"not a time: {value}")
    day, clock, fraction, zone = match.groups()
    moment = dt.datetime.fromisoformat(f"{day}T{clock}" + ("+00:00" if zone in "Zz" else zone))
    since = moment - EPOCH
    return (since.days * 86400 + since.seconds) * 10**9 + int((fraction or "0").ljust(9, "0")[:9])


def local_day(ns, zone):
    """The local day of an instant in the organisation's zone."""
    return dt.datetime.fromtimestamp(ns // 10**9, zone).date()


def utc_day(ns):
    return dt.datetime.fromtimestamp(ns // 10**9, dt.timezone.utc).date()


def date_of(value):
    return value if isinstance(value, dt.date) else dt.date.fromisoformat(str(value)[:10])


def days_of_month(period):
    """All local days of `YYYY-MM`."""
    first = dt.date.fromisoformat(period + "-01")
    days = [first + dt.timedelta(n) for n in range(31)]
    return [day for day in days if day.month == first.month]


# Organisation ----------------------------------------------------------------------------------------------------------------


class Organisation:
    """The organisation file, as far as statements depend on it."""

    def __init__(self, file):
        policy = file.get("policy", {})
        self.currency = file["organisation"].get("currency", "USD")
        self.zone = zoneinfo.ZoneInfo(file["organisation"]["time_zone"])
        self.grid = Fraction(str(policy.get("price_grid", "0.0001")))
        self.half_life = int(policy.get("half_life_days", 7))
        self.min_tasks = int(policy.get("min_tasks", 30))
        self.min_days = int(policy.get("min_days", 3))
        self.lock = policy.get("price_lock", "floating")
        self.band = Fraction(str(policy.get("price_band_percent", "0")))
        self.variance = policy.get("variance", "settle")
        self.unattributed_pool = policy.get("unattributed_pool")
        self.recovers_in_price = policy.get("pool_recovery", "line") == "price"
        self.needs_approval = policy.get("price_approval", "none") == "finance"
        self.default_markup = policy.get("markup")
        self.teams = {team["id"]: team for team in file.get("teams", [])}
        self.agents = {agent["id"]: agent for agent in file.get("agents", [])}
        self.pools = {pool["id"]: pool for pool in file.get("pools", [])}
        self.seeds = {task["id"]: task.get("seed_price") for task in file.get("task_types", [])}
        self.people = {person["id"]: person for person in file.get("people", [])}
        self.recurring = file.get("recurring", [])
        self.rates = file.get("rates", [])
        self.prices = file.get("prices", [])

    def billing(self, team, agent):
        """PRC-7: the one billing model of team x agent."""
        entry = self.agents.get(agent, {})
        return entry.get("billing_by_team", {}).get(team, entry.get("billing", "token"))

    def markup(self, team, agent):
        """PRC-5: ("percent" | "fixed", value) of team x agent; None where nothing is added."""
        entry = self.agents.get(agent, {})
        stated = entry.get("markup_by_team", {}).get(team, entry.get("markup", self.default_markup))
        if stated is None:
            return None
        (kind, value), = stated.items()
        return (kind, Fraction(str(value))) if Fraction(str(value)) else None

    def idle_rate(self, agent):
        """PRC-4: what an idle minute of an agent costs."""
        return Fraction(str(self.agents.get(agent, {}).get("idle_rate", "0")))

    def pool_of(self, agent):
        """ATR-4: the pool of a shared agent."""
        return self.agents.get(agent, {}).get("shared_pool")

    def group_of(self, pool):
        return self.pools[pool].get("group", pool)

    def exchange(self, currency, day):
        """MON-4: units of the reporting currency for one of `currency` on a UTC date; None without a rate."""
        if currency == self.currency:
            return Fraction(1)
        known = [
            (date_of(rate["from"]), order, rate["rate"])
            for order, rate in enumerate(self.rates)
            if rate["from_currency"] == currency and rate["to_currency"] == self.currency and date_of(rate["from"]) <= day
        ]
        return Fraction(str(max(known)[2])) if known else None


# Rating ----------------------------------------------------------------------------------------------------------------------


class PriceList:
    """RAT-1: dated entries by (provider, model or alias) and by sku."""

    def __init__(self, entries):
        series = defaultdict(list)
        for entry in entries:
            series[self.series_of(entry)].append(dict(entry, from_ns=ns_of(entry["from"])))
        self.by_name = defaultdict(list)
        for chain in series.values():
            chain.sort(key=lambda entry: entry["from_ns"])
            for entry, following in zip(chain, chain[1:] + [None]):
                ends = [ns_of(entry["to"])] if "to" in entry else []
                ends += [following["from_ns"]] if following else []
                entry["to_ns"] = min(ends, default=None)
                for name in self.names_of(entry):
                    self.by_name[name].append(entry)

    @staticmethod
    def series_of(entry):
        return ("sku", entry["sku"]) if "sku" in entry else (entry["provider"], entry["model"])

    @staticmethod
    def names_of(entry):
        if "sku" in entry:
            return [("sku", entry["sku"])]
        return [(entry["provider"], name) for name in [entry["model"], *entry.get("aliases", [])]]

    def at(self, name, ns):
        found = [e for e in self.by_name[name] if e["from_ns"] <= ns and (e["to_ns"] is None or ns < e["to_ns"])]
        return max(found, key=lambda entry: entry["from_ns"], default=None)


def read_catalogue(folder):
    """All entries of a folder's TOML files; an entry inherits its file's currency."""
    entries = []
    for path in sorted(pathlib.Path(folder).glob("*.toml")):
        file = tomllib.loads(path.read_text(encoding="utf-8"))
        entries += [{"currency": file.get("currency", "USD"), **entry} for entry in file.get("prices", [])]
    return entries


class Rating:
    """RAT-1 and RAT-2 over the organisation's own prices and the catalogue."""

    def __init__(self, organisation, catalogue):
        self.organisation = organisation
        own = [{"currency": organisation.currency, **entry} for entry in organisation.prices]
        self.lists = [PriceList(own), PriceList(catalogue)]

    def entry(self, name, ns):
        """RAT-1: the organisation's own price wins from its `from`."""
        for prices in self.lists:
            found = prices.at(name, ns)
            if found:
                return found
        return None

    def price_tokens(self, seller, tier, usage, ns):
        """{class: exact product} in the reporting currency, or None where RAT-2 holds."""
        entry = self.entry(seller, ns)
        rates = entry and rates_for(entry, tier, sum(usage.get(name, 0) for name in CONTEXT))
        exchange = entry and self.organisation.exchange(entry["currency"], utc_day(ns))
        if not rates or exchange is None:
            return None
        products = {}
        for name, count in usage.items():
            rate = rates.get(name, rates.get(SUBSTITUTE.get(name)))
            if rate is None:
                return None
            products[name] = count * Fraction(str(rate)) / 10**6 * exchange
        return products

    def price_sku(self, sku, unit, quantity, ns):
        """(exact product, the sku's unit), or None where RAT-2 holds; another unit than the entry's has no price."""
        entry = sku and self.entry(("sku", sku), ns)
        if not entry or (unit is not None and unit != entry["unit"]):
            return None
        exchange = self.organisation.exchange(entry["currency"], utc_day(ns))
        return exchange and (quantity * Fraction(str(entry["price"])) * exchange, entry["unit"])


def rates_for(entry, tier, context):
    """RAT-1: rates of a tier, above the context threshold or not; None where no price is published."""
    if tier in BASE_TIERS:
        card = entry
    else:
        card = entry.get("tiers", {}).get(tier)
        if card is None:
            return None
    long = card.get("long_context")
    if long:
        return long["per_million"] if context > int(long["above"]) else card["per_million"]
    standard = entry.get("long_context")
    if standard and context > int(standard["above"]):
        return None
    return card["per_million"]


# Events and traces -----------------------------------------------------------------------------------------------------------


class Span:
    """One event with what is found out about it."""

    def __init__(self, event, zone):
        self.event = event
        self.id = event["event_id"]
        self.alone = event.get("trace_id") is None
        self.trace_id = self.id if self.alone else event["trace_id"]
        self.kind = event["kind"]
        self.tags = event.get("tags") or {}
        if event.get("usage_native") and not event.get("usage"):
            raise Refused(f"{self.id}: usage_native; export the disjoint classes instead (EVT-4)")
        self.usage = {name: int(count) for name, count in (event.get("usage") or {}).items() if int(count)}
        self.duration_ms = int(event.get("duration_ms") or 0)
        self.end = ns_of(event["used_at"])
        self.start = self.end - self.duration_ms * 10**6
        self.day = local_day(self.end, zone)
        self.parent, self.children = None, []
        self.agent = self.task_type = self.pool = self.trace = None
        self.superseded = self.reported_elsewhere = False
        self.corrects = None
        self.unpriced, self.cost, self.parts, self.tokens = False, Fraction(0), [], 0

    @property
    def order(self):
        return (self.start, self.id)

    @property
    def bears_cost(self):
        return not self.superseded and not self.reported_elsewhere

    @property
    def is_wrapper(self):
        """EVT-5: an `agent` event that carries usage."""
        return self.kind == "agent" and bool(self.usage) and not self.superseded

    def ancestors(self):
        above = self.parent
        while above:
            yield above
            above = above.parent


class Part:
    """What one class or sku of an event cost."""

    def __init__(self, seller, label, sku, unit_quantity, exact):
        self.seller, self.label, self.sku = seller, label, sku
        (self.unit, self.quantity), self.exact = unit_quantity, exact


class Trace:
    """Spans of one trace, its root, its payer (None: unattributed), and whether it is a task."""

    def __init__(self, spans):
        self.spans = spans
        self.root = self.payer = None
        self.is_task = False

    def direct_cost(self, days=None):
        """Cost that did not go into pools, whole or of some local days."""
        return sum((s.cost for s in self.spans if not s.pool and (days is None or s.day in days)), Fraction(0))

    @property
    def completed(self):
        """PRC-0."""
        return self.root.event.get("status") == "ok"


def read_events(path):
    """Events in the order in which they were recorded."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line, parse_float=Decimal) for line in lines if line.strip()]


def keep_first_recorded(events, zone):
    """EVT-2: of one identity the first recorded stays, be the others duplicates or conflicts."""
    kept = {}
    for event in events:
        span = Span(event, zone)
        kept.setdefault((span.alone, span.trace_id, span.id), span)
    return list(kept.values())


def mark_superseded(spans):
    """EVT-3: the event that a correction names, in its own trace, bears no cost."""
    by_identity = {(span.alone, span.trace_id, span.id): span for span in spans}
    for span in spans:
        named = span.event.get("supersedes")
        old = by_identity.get((span.alone, named if span.alone else span.trace_id, named))
        if old is not None and old is not span:
            old.superseded, span.corrects = True, old


def gather_traces(spans):
    """Traces by id; an event without a trace is a trace of its own."""
    by_trace = defaultdict(list)
    for span in spans:
        by_trace[(span.alone, span.trace_id)].append(span)
    traces = [Trace(sorted(members, key=lambda span: span.id)) for members in by_trace.values()]
    for trace in traces:
        build_tree(trace)
        for span in trace.spans:
            span.trace = trace
    return traces


def build_tree(trace):
    """ATR-1 and ATR-3: parents, loops cut at their earliest start, the root, orphans and further tops hung on it."""
    by_id = {span.id: span for span in trace.spans}
    for span in trace.spans:
        span.parent = by_id.get(span.event.get("parent_id"))
    for span in trace.spans:
        cut_loop(span)
    parentless = [span for span in trace.spans if not span.event.get("parent_id")]
    tops = [span for span in trace.spans if span.parent is None]
    trace.root = min(parentless or tops, key=lambda span: span.order)
    trace.is_task = bool(parentless) and bool(trace.root.tags.get("task_type"))
    for span in tops:
        if span is not trace.root:
            span.parent = trace.root
    for span in trace.spans:
        if span.parent:
            span.parent.children.append(span)


def cut_loop(span):
    """ATR-3: follows the parents of a span and cuts the loop that it ends in, if any."""
    path, seen = [], set()
    while span is not None and span.id not in seen:
        seen.add(span.id)
        path.append(span)
        span = span.parent
    if span is not None:
        loop = path[path.index(span) :]
        min(loop, key=lambda member: member.order).parent = None


def top_down(trace):
    """Every span after its parent."""
    order = [trace.root]
    for span in order:
        order += span.children
    assert len(order) == len(trace.spans), "ATR-5: every span has one place"
    return order


def resolve_tags(trace, organisation):
    """ATR-1: agent and task type are the span's own, else the nearest ancestor's. ATR-4: a shared agent's span is its pool's."""
    for span in top_down(trace):
        span.agent = span.tags.get("agent") or (span.parent.agent if span.parent else None)
        span.task_type = span.tags.get("task_type") or (span.parent.task_type if span.parent else None)
        span.pool = organisation.pool_of(span.agent)


def find_payer(trace, organisation):
    """ATR-1: the team that pays for a trace; None is unattributed."""
    root = trace.root
    team = root.tags.get("team") or organisation.people.get(root.tags.get("user"), {}).get("team")
    if not team:
        named = (span.tags.get("team") for span in sorted(trace.spans, key=lambda span: span.order))
        team = next((name for name in named if name), None)
    return team if team in organisation.teams else None


def mark_reported_twice(spans, organisation):
    """EVT-2: of the reports of one provider call the one is billed whose root names a team, then the smaller identity.

    What was corrected (EVT-3) reports nothing. What stands reports the call that it names, or where it names none that of the
    nearest event that it corrects, under the smallest id of both and of those between them and before.
    """
    calls = defaultdict(list)
    for span in spans:
        versions = versions_of(span)
        call = next((call for call in map(call_of, versions) if call), None)
        if call and span.kind != "agent" and not span.superseded:
            unnamed = span.trace.root.tags.get("team") not in organisation.teams
            calls[call].append((unnamed, span.trace_id, min(s.id for s in versions), span.id, span))
    for reports in calls.values():
        for *_, span in sorted(reports, key=lambda report: report[:4])[1:]:
            span.reported_elsewhere = True


def versions_of(span):
    """A span and what it corrects, directly or through others."""
    versions = []
    while span and span not in versions:
        versions.append(span)
        span = span.corrects
    return versions


def call_of(span):
    """The provider call that a span names itself; a frame names none (EVT-5)."""
    call = span.event.get("provider"), span.event.get("response_id")
    return call if all(call) and span.kind != "agent" else None


# Cost of an event ------------------------------------------------------------------------------------------------------------


def rate_trace(trace, rating):
    """Rates every span of a trace, leaves first, so that wrappers see what is below them."""
    below = {}
    for span in reversed(top_down(trace)):
        sums = defaultdict(int)
        for child in span.children:
            for name, count in below[child.id].items():
                sums[name] += count
        own = span.usage if span.kind != "agent" and not span.superseded else {}
        if span.is_wrapper:
            own = unobserved(span.usage, sums)
            rate_wrapper(span, own, rating)
        elif span.bears_cost and (span.kind != "agent" or span.event.get("quantity") is not None or span.event.get("cost")):
            rate_event(span, rating)
        for name, count in own.items():
            sums[name] += count
        below[span.id] = sums


def unobserved(own, below):
    """EVT-5: per side the excess of a wrapper over what is below it, by class in the ratio of the positive differences."""
    excess = {}
    for side in (INPUT_SIDE, OUTPUT_SIDE):
        over = sum(own.get(name, 0) for name in side) - sum(below.get(name, 0) for name in side)
        if over > 0:
            differences = {name: max(0, own.get(name, 0) - below.get(name, 0)) for name in side}
            excess.update({name: count for name, count in split(over, differences).items() if count})
    return excess


def rate_wrapper(span, excess, rating):
    """EVT-5: at the wrapper's model, else at the only model below it, else unpriced. MON-1: with what it bought by the piece."""
    found, span.unpriced = price_units(span, rating)
    span.tokens = sum(excess.values())
    seller = seller_of(span)
    if excess and not span.event.get("model"):
        models, queue = set(), list(span.children)
        for inner in queue:
            queue += inner.children
            if inner.usage and inner.event.get("model") and not inner.superseded:
                models.add(seller_of(inner))
        seller = models.pop() if len(models) == 1 else (None, None)
    if excess:
        products = rating.price_tokens(seller, span.event.get("service_tier"), excess, span.end)
        span.unpriced |= products is None
        found += [(seller, name, None, ("token", excess[name]), exact) for name, exact in (products or {}).items()]
    book_parts(span, found)


def price_units(span, rating):
    """What an event bought by the piece, as parts before rounding, and whether it has no price."""
    if span.event.get("quantity") is None:
        return [], False
    quantity = Fraction(str(span.event["quantity"]))
    priced = rating.price_sku(span.event.get("sku"), span.event.get("unit"), quantity, span.end)
    if not priced:
        return [], True
    return [(seller_of(span), None, span.event["sku"], (priced[1], quantity), priced[0])], False


def seller_of(span):
    return (span.event.get("provider"), span.event.get("model"))


def rate_event(span, rating):
    """EVT-6: the catalogue first; a reported cost only where there is no price or nothing to price."""
    event, seller = span.event, seller_of(span)
    span.tokens = sum(span.usage.values())
    found, missing = price_units(span, rating)
    if span.usage:
        products = rating.price_tokens(seller, event.get("service_tier"), span.usage, span.end)
        missing |= products is None
        found += [(seller, name, None, ("token", span.usage[name]), exact) for name, exact in (products or {}).items()]
    measured = bool(span.usage) or event.get("quantity") is not None
    if measured and not missing:
        book_parts(span, found)
    else:
        take_reported(span, rating.organisation, measured)


def take_reported(span, organisation, measured):
    """EVT-6 and MON-4: the reported cost, converted at the UTC date of use; a reported 0 prices no usage."""
    reported = span.event.get("cost")
    amount = Fraction(str(reported["amount"])) if reported else None
    exchange = organisation.exchange(reported.get("currency", organisation.currency), utc_day(span.end)) if reported else None
    if reported and exchange is not None and (amount or not measured):
        if amount:
            book_parts(span, [(seller_of(span), None, None, ("event", 1), amount * exchange)])
    else:
        span.unpriced = measured or reported is not None


def book_parts(span, found):
    """MON-1: the cost of an event is rounded once, over all its classes; its parts follow by SPL-1 over the exact products."""
    span.cost = half_even(sum(exact for *_, exact in found))
    names = {(part[1] or part[2] or ""): part for part in found}
    shares = split(to_pico(span.cost), {name: part[4] for name, part in names.items()})
    span.parts = [Part(*part[:4], Fraction(shares[name], PICO)) for name, part in names.items()]


# Internal prices -------------------------------------------------------------------------------------------------------------


def smoothing_factor(half_life):
    """PRC-1: 1 - 2^(-1/half_life), 12 digits, half to even."""
    context = Context(prec=100, rounding=ROUND_HALF_EVEN)
    power = context.power(Decimal(2), context.divide(Decimal(-1), Decimal(half_life)))
    return half_even(Fraction(context.subtract(Decimal(1), power)))


def smooth(previous, value, factor):
    """PRC-1: one day further; the first day's value starts the series."""
    return half_even(value if previous is None else factor * value + (1 - factor) * previous)


def on_grid(value, grid):
    """PRC-1: half to even on the price grid, at least one step."""
    return max(round(value / grid) * grid, grid)


def busy_ns(trace, within=None):
    """PRC-4: the union of the intervals of a task's spans other than `agent`, or of what of them lies in an interval."""
    total, reached = 0, None
    for start, end in sorted((span.start, span.end) for span in trace.spans if span.kind != "agent"):
        if within:
            start, end = max(start, within[0]), min(end, within[1])
        begin = start if reached is None else max(start, reached)
        total += max(0, end - begin)
        reached = end if reached is None else max(end, reached)
    return total


def idle_ns(trace):
    """PRC-4: the root's interval minus the active time in it."""
    root = (trace.root.start, trace.root.end)
    return root[1] - root[0] - busy_ns(trace, within=root)


class Prices:
    """PRC-1 to PRC-4 for one (agent, task type) and billing model: the price of every local day, and where it began."""

    def __init__(self, tasks, billing, organisation, last_night, recovered=None, approved=()):
        self.organisation, self.billing, self.approved = organisation, billing, approved
        self.recovered = recovered or {}
        seed = organisation.seeds.get(tasks[0].root.tags["task_type"]) if billing == "task" else None
        self.seed = None if seed is None else Fraction(str(seed))
        # PRC-4: a task without a duration is no evidence of a time price and begins none.
        tasks = [task for task in tasks if billing == "task" or busy_ns(task)]
        self.first = min((task.root.day for task in tasks), default=last_night)
        self.nights = self.run_nights(tasks, last_night)
        self.versions = self.list_versions(last_night)

    def run_nights(self, tasks, last_night):
        """The price each night publishes, None while there is none."""
        by_day = defaultdict(list)
        for task in tasks:
            by_day[task.root.day].append(task)
        factor, cost, base = smoothing_factor(self.organisation.half_life), None, None
        completed, days, price, nights = 0, 0, None, {}
        day = self.first
        while day <= last_night:
            today = by_day.get(day, [])
            done = sum(task.completed for task in today)
            completed, days = completed + done, days + bool(today)
            own = sum((task.direct_cost() for task in today), Fraction(0))
            cost = smooth(cost, own + self.recovered_on(day), factor)
            base = smooth(base, done if self.billing == "task" else minutes(today), factor)
            if base and (completed >= self.organisation.min_tasks or days >= self.organisation.min_days):
                price = self.move(price, on_grid(cost / base, self.organisation.grid))
            nights[day] = price
            day += dt.timedelta(1)
        return nights

    def recovered_on(self, day):
        """PRC-1, POOL-4: the pools' share of the month to date less that of the night before; the first night takes all."""
        before = self.recovered.get(day - dt.timedelta(1), 0) if day.day > 1 and day > self.first else 0
        return self.recovered.get(day, Fraction(0)) - before

    def move(self, last, candidate):
        """PRC-3: a banded price moves at most x % a night, at least one grid step; the first has nothing to move from."""
        grid = self.organisation.grid
        if self.organisation.lock != "banded" or last is None:
            return candidate
        step = max(last * self.organisation.band / 100 // grid * grid, grid)
        return max(min(candidate, last + step), last - step, grid)

    def in_force(self, day):
        """PRC-3: the price of night d holds from the midnight that ends d; a locked one from the next period."""
        if self.organisation.lock == "locked":
            day = day.replace(day=1)
        published = self.nights.get(day - dt.timedelta(1))
        if self.organisation.needs_approval:
            published = self.last_approved(day)
        return self.seed if published is None else published

    def last_approved(self, month):
        """PRC-3: the candidate at the start of the last month whose rate card was approved and had one."""
        while month > self.first:
            candidate = self.nights.get(month - dt.timedelta(1))
            if candidate is not None and f"{month:%Y-%m}" in self.approved:
                return candidate
            month = (month - dt.timedelta(1)).replace(day=1)
        return None

    def list_versions(self, last_night):
        """Maximal runs of days with one price: (first day or None for what always held, price)."""
        versions, day = [(None, self.in_force(self.first))], self.first
        while day <= last_night:
            day += dt.timedelta(1)
            if self.in_force(day) != versions[-1][1]:
                versions.append((day, self.in_force(day)))
        return versions

    def version_on(self, day):
        """(first day, price) in force on a day; the price may be None."""
        return [version for version in self.versions if version[0] is None or version[0] <= day][-1]


def minutes(tasks):
    """PRC-4: minutes of some tasks, 12 digits, half to even."""
    return half_even(Fraction(sum(busy_ns(task) for task in tasks), MINUTE_NS))


# Lines -----------------------------------------------------------------------------------------------------------------------

KEY = ("kind", "agent", "task_type", "pool", "billing", "provider", "model", "class", "sku", "price", "from", "unit")


class Lines:
    """The lines of one team, summed by what identifies a line."""

    def __init__(self):
        self.rows = {}

    def add(self, exact, quantity=None, unit=None, **key):
        key["unit"] = unit
        row = self.rows.setdefault(tuple(key.get(name) for name in KEY), {"exact": Fraction(0), "quantity": None})
        row["exact"] += exact
        if quantity is not None:
            row["quantity"] = (row["quantity"] or 0) + quantity

    def in_order(self):
        """The printed order: kind, then the names as strings, absent first."""
        rows = [dict(zip(KEY, key), **row) for key, row in self.rows.items()]
        names = [name for name in KEY if name not in ("kind", "price")]

        def place(row):
            return (KIND_ORDER.index(row["kind"]), [(row[name] is not None, str(row[name])) for name in names])

        return sorted(rows, key=place)


class Month:
    """Everything about the period that more than one rule needs."""

    def __init__(self, organisation, traces, period):
        self.organisation, self.traces, self.period = organisation, traces, period
        self.days, self.length = set(days_of_month(period)), len(days_of_month(period))
        self.lines = {team: Lines() for team in organisation.teams}
        self.accounts = defaultdict(Fraction)
        self.direct = defaultdict(Fraction)
        self.pool_cost = dict.fromkeys(organisation.pools, Fraction(0))
        self.active = sorted({t.payer for t in traces if t.payer and any(s.day in self.days for s in t.spans)})
        self.bills = []
        self.unpriced_bills = defaultdict(int)
        self.pool_record = []
        self.prices = {}
        self.recovered, self.ways = {}, {}

    def up_to(self, night):
        """The same month as a night sees it: its days up to that one."""
        month = Month(self.organisation, self.traces, self.period)
        month.days = {day for day in self.days if day <= night}
        month.active = sorted({t.payer for t in self.traces if t.payer and any(s.day in month.days for s in t.spans)})
        collect_costs(month)
        book_recurring(month)
        return month

    def spans(self):
        return [span for trace in self.traces for span in trace.spans if span.day in self.days]


def collect_costs(month):
    """Where each cost of the period goes first: a pool (ATR-4), a team's direct cost, or unattributed (ATR-1, ATR-6)."""
    for span in month.spans():
        month.accounts["priced_cost"] += span.cost
        if span.pool:
            month.pool_cost[span.pool] += span.cost
        elif span.trace.payer:
            month.direct[span.trace.payer] += span.cost
        elif month.organisation.unattributed_pool:
            month.pool_cost[month.organisation.unattributed_pool] += span.cost
        else:
            month.direct[None] += span.cost
            month.accounts[UNATTRIBUTED] += span.cost


def book_recurring(month):
    """POOL-5: bills pro rata by local day; those of an agent that is not shared are a token line of its owner."""
    for entry in month.organisation.recurring:
        amount, fraction, is_unpriced = recurring_amount(entry, month)
        agent = entry.get("agent")
        pool = entry.get("pool") or month.organisation.pool_of(agent)
        owner = month.organisation.agents.get(agent, {}).get("owner")
        if is_unpriced and not pool:
            month.unpriced_bills[owner] += 1
        if not fraction:
            continue
        month.accounts["priced_cost"] += amount
        if pool:
            month.pool_cost[pool] += amount
        elif owner in month.lines:
            month.direct[owner] += amount
            month.lines[owner].add(
                amount, half_even(fraction), "month", kind="charge", agent=agent, billing="token", sku=entry["id"]
            )
        elif month.organisation.unattributed_pool:
            month.pool_cost[month.organisation.unattributed_pool] += amount
        else:
            month.direct[None] += amount
            month.accounts[UNATTRIBUTED] += amount
        month.bills.append({"id": entry["id"], "amount": text_of(amount), "pool": pool, "owner": owner})


def recurring_amount(entry, month):
    """POOL-5 and MON-4: what a bill costs in the period, at each day's rate, its fraction of the month, and whether a day has no
    rate: such days are unpriced and add to neither."""
    assert entry.get("period", "month") == "month"
    first, last = date_of(entry["from"]), date_of(entry["to"]) if "to" in entry else dt.date.max
    running = [day for day in sorted(month.days) if first <= day < last]
    currency = entry.get("currency", month.organisation.currency)
    rates = [month.organisation.exchange(currency, day) for day in running]
    known = [rate for rate in rates if rate is not None]
    daily = Fraction(str(entry["amount"])) / month.length
    amount = half_even(sum((daily * rate for rate in known), Fraction(0)))
    return amount, Fraction(len(known), month.length), len(known) < len(rates)


def charge_tokens(month):
    """PRC-6 and PRC-0: pass-through of what lies outside tasks and of tasks billed by token."""
    for span in month.spans():
        trace = span.trace
        if span.pool or not trace.payer:
            continue
        if trace.is_task and month.organisation.billing(trace.payer, trace.root.agent) != "token":
            continue
        for part in span.parts:
            month.lines[trace.payer].add(
                part.exact,
                part.quantity,
                part.unit,
                kind="charge",
                agent=span.agent,
                task_type=span.task_type,
                billing="token",
                provider=part.seller[0],
                model=part.seller[1],
                sku=part.sku,
                **{"class": part.label},
            )


def mark_up_tokens(month):
    """PRC-5 and PRC-6: what is added to the tokens of each team, agent, task type and day, rounded once a day (MON-1)."""
    passed = defaultdict(Fraction)
    for span in month.spans():
        trace = span.trace
        if span.pool or not trace.payer or not span.cost:
            continue
        of = trace.root if trace.is_task else span
        markup = month.organisation.markup(trace.payer, of.agent)
        if markup and month.organisation.billing(trace.payer, of.agent) == "token":
            passed[(trace.payer, of.agent, of.task_type, markup[1], span.day)] += span.cost
    for (team, agent, task_type, percent, _), cost in passed.items():
        add_markup(month, team, (agent, task_type, "token"), ("percent", percent), (half_even(cost * percent / 100), cost))


def add_markup(month, team, of, markup, figures):
    """PRC-5: a line apart; a percentage is a price per unit of what it is taken of, a fixed one a price per task or minute."""
    (kind, value), (exact, quantity), (agent, task_type, billing) = markup, figures, of
    unit = month.organisation.currency if kind == "percent" else {"task": "task", "time": "minute"}[billing]
    price = value / 100 if kind == "percent" else value
    key = {"kind": "markup", "agent": agent, "task_type": task_type, "billing": billing, "price": price}
    month.lines[team].add(exact, quantity, unit, **key)
    month.accounts["markup"] += exact


def mark_up_task(month, trace, billing, charge):
    """PRC-5 and MON-1: what is added to one charged task, rounded once."""
    markup = month.organisation.markup(trace.payer, trace.root.agent)
    if not markup:
        return
    kind, value = markup
    of = (trace.root.agent, trace.root.task_type, billing)
    minutes_exact = Fraction(busy_ns(trace), MINUTE_NS)
    if kind == "percent":
        add_markup(month, trace.payer, of, markup, (half_even(charge * value / 100), charge))
    elif billing == "task":
        add_markup(month, trace.payer, of, markup, (value, 1))
    else:
        add_markup(month, trace.payer, of, markup, (half_even(value * minutes_exact), 0))
        month.marked_minutes[(trace.payer, *of, value)] += busy_ns(trace)


def show_idle(month, trace, is_charged):
    """PRC-4: idle minutes are always shown, and charged at their own rate where the task is; returns the charge."""
    idle, rate = idle_ns(trace), month.organisation.idle_rate(trace.root.agent)
    if not idle:
        return Fraction(0)
    key = {"kind": "charge", "agent": trace.root.agent, "task_type": trace.root.task_type, "billing": "time"}
    if is_charged or not rate:
        key.update(price=rate, **{"from": min(month.days).isoformat()})
    charge = half_even(rate * Fraction(idle, MINUTE_NS)) if is_charged else Fraction(0)
    month.lines[trace.payer].add(charge, 0, "idle minute", **key)
    month.idle_minutes[(trace.payer, key["agent"], key["task_type"], key.get("price"), key.get("from"))] += idle
    return charge


def charge_tasks(month):
    """PRC-1 to PRC-4: charges by price version and pass-through; returns {(agent, task type, billing): {team: [charge, actual]}}."""
    booked = defaultdict(lambda: defaultdict(lambda: [Fraction(0), Fraction(0)]))
    timed = defaultdict(int)
    month.marked_minutes, month.idle_minutes = defaultdict(int), defaultdict(int)
    for trace in month.traces:
        billing = trace.is_task and trace.payer and month.organisation.billing(trace.payer, trace.root.agent)
        if billing not in ("task", "time"):
            continue
        agent, task_type = trace.root.agent, trace.root.task_type
        key = {"kind": "charge", "agent": agent, "task_type": task_type, "billing": billing}
        lines, actual, ended = month.lines[trace.payer], trace.direct_cost(month.days), trace.root.day in month.days
        since, price = month.prices[(agent, task_type, billing)].version_on(trace.root.day)
        busy = busy_ns(trace)
        passes = price is None or (billing == "time" and not busy)
        idle = show_idle(month, trace, not passes) if ended and billing == "time" else Fraction(0)
        note_way(month, trace, (billing, not passes), actual, ended)
        if passes:
            count = int(ended and trace.completed)
            if actual or count:
                lines.add(actual, count, "task", **key)
            continue
        sums = booked[(agent, task_type, billing)][trace.payer]
        sums[0] += idle
        sums[1] += actual
        key.update(price=price, **{"from": since and since.isoformat()})
        if ended and billing == "task" and trace.completed:
            lines.add(price, 1, "task", **key)
            sums[0] += price
            mark_up_task(month, trace, billing, price)
        elif ended and billing == "time":
            charge = half_even(price * Fraction(busy, MINUTE_NS))
            timed[(trace.payer, *key.values())] += busy
            lines.add(charge, 0, "minute", **key)
            sums[0] += charge
            mark_up_task(month, trace, billing, charge)
    set_minutes(month, timed)
    recover_pools(month, booked)
    return booked


def set_minutes(month, timed):
    """PRC-4: the quantity of a line is the minutes of all its tasks, rounded once."""
    rows = [(*key, "minute", busy) for key, busy in timed.items()]
    rows += [
        (team, "charge", agent, task_type, "time", price, since, "idle minute", idle)
        for (team, agent, task_type, price, since), idle in month.idle_minutes.items()
    ]
    rows += [
        (team, "markup", agent, task_type, billing, price, None, "minute", busy)
        for (team, agent, task_type, billing, price), busy in month.marked_minutes.items()
    ]
    for team, kind, agent, task_type, billing, price, since, unit, ns in rows:
        row = (kind, agent, task_type, None, billing, None, None, None, None, price, since, unit)
        month.lines[team].rows[row]["quantity"] = half_even(Fraction(ns, MINUTE_NS))


def settle_variance(month, booked):
    """LED-2 and LED-3: charges minus actual cost per (agent, task type, billing model), and what becomes of it."""
    for (agent, task_type, billing), teams in sorted(booked.items(), key=str):
        variance = sum(charge - actual for charge, actual in teams.values())
        if month.organisation.variance == "absorb":
            month.accounts["absorbed"] += variance
        elif month.organisation.variance == "carry":
            month.accounts["carried_out"] += variance
        elif variance:
            charges = {team: charge for team, (charge, _) in teams.items()}
            weights = charges if any(charges.values()) else {team: actual for team, (_, actual) in teams.items()}
            for team, units in split(to_pico(-variance), weights).items():
                if units:
                    key = {"agent": agent, "task_type": task_type, "billing": billing}
                    month.lines[team].add(Fraction(units, PICO), kind="variance", **key)


# Pools in prices -------------------------------------------------------------------------------------------------------------


def note_way(month, trace, way, actual, ended):
    """PRC-1: cost and number of a team's tasks of a type by (billing, whether they have a price): a pool's share follows them."""
    key = (trace.payer, trace.root.agent, trace.root.task_type)
    cost, count = month.ways.setdefault(key, {}).get(way, (Fraction(0), 0))
    month.ways[key][way] = (cost + actual, count + int(ended))


def cost_or_number(figures):
    """SPL-3 in small: {key: (cost, number)} as weights, the numbers only where nothing has cost; without zeros."""
    for place in (0, 1):
        weights = {key: pair[place] for key, pair in figures.items() if pair[place]}
        if weights:
            return weights
    return {}


def divide_recovered(month):
    """PRC-1 and SPL-2: {(group, team, agent, task type): units} that the prices recover of the month's pools to date; the
    rest of each (team, pool) goes to month.recovered_parts, less than the whole."""
    use, by_agent = measure_use(month), use_by_agent(month)
    pairs, kinds = direct_by_agent(month), tasks_by_kind(month)
    found, month.recovered = defaultdict(int), defaultdict(int)
    for group, own, allocation in allocations(month, use):
        for who, parts in share_group(own, allocation).items():
            if who[0] != "team":
                continue
            for pool, units in parts.items():
                basis = basis_in_effect(month, use, pool)
                used = by_agent[pool][basis] if basis in USED_BASES else None
                weights = used.get(who[1], {}) if used is not None else pairs.get(who[1], {})
                weights = {agent: weight for agent, weight in weights.items() if weight}
                names = {agent or "": agent for agent in weights}
                divided = split(units, {name: weights[agent] for name, agent in names.items()}) if weights else {}
                for name, part in divided.items():
                    agent = names[name]
                    types = cost_or_number(kinds.get((who[1], agent), {}))
                    if agent and types and month.organisation.billing(who[1], agent) != "token":
                        month.recovered[(pool, who[1])] += part
                        for task_type, share in split(part, types).items():
                            found[(group, who[1], agent, task_type)] += share
    return found


def use_by_agent(month):
    """{pool: {basis: {team: {root's agent: use}}}} of what a payer, and no other pool, used."""
    use = defaultdict(lambda: defaultdict(lambda: defaultdict(lambda: defaultdict(int))))

    def note(span, pool, basis, amount):
        who = consumer_of(span, pool, month.organisation)
        if who[0] == "team":
            use[pool][basis][who[1]][span.trace.root.agent] += amount

    for trace in month.traces:
        for span, pool in invocations(trace, month.organisation):
            if span.day in month.days:
                note(span, pool, "invocations", 1)
        for span in trace.spans:
            if span.pool and span.day in month.days and span.bears_cost:
                note(span, span.pool, "tokens", span.tokens)
                note(span, span.pool, "duration", 0 if span.kind == "agent" else span.duration_ms)
    return use


def direct_by_agent(month):
    """{team: {agent: direct cost}}: the root's agent in a task, else the span's; None has its say and keeps its line."""
    pairs = defaultdict(lambda: defaultdict(Fraction))
    for span in month.spans():
        of = span.trace.root if span.trace.is_task else span
        if span.trace.payer and not span.pool:
            pairs[span.trace.payer][of.agent] += span.cost
    return pairs


def tasks_by_kind(month):
    """{(team, agent): {task type: (direct cost, tasks that have ended)}} of what is not billed by token."""
    kinds = defaultdict(lambda: defaultdict(lambda: (Fraction(0), 0)))
    for trace in month.traces:
        agent = trace.root.agent
        if trace.is_task and trace.payer and month.organisation.billing(trace.payer, agent) != "token":
            cost, count = kinds[(trace.payer, agent)][trace.root.task_type]
            ended = int(trace.root.day in month.days)
            kinds[(trace.payer, agent)][trace.root.task_type] = (cost + trace.direct_cost(month.days), count + ended)
    return kinds


def recover_pools(month, booked):
    """PRC-1: what prices recover is actual cost of the tasks that had a price, and passes through with those that had none."""
    if not month.organisation.recovers_in_price:
        return
    for (_, team, agent, task_type), units in divide_recovered(month.costed).items():
        for (billing, has_price), part in split(units, cost_or_number(month.ways[(team, agent, task_type)])).items():
            exact = Fraction(part, PICO)
            if has_price:
                booked[(agent, task_type, billing)][team][1] += exact
            else:
                key = {"kind": "charge", "agent": agent, "task_type": task_type, "billing": billing}
                month.lines[team].add(exact, 0, "task", **key)
    month.recovered = month.costed.recovered


def recovered_nights(traces, organisation, last_night):
    """POOL-4: {(agent, task type): {night: what prices recover of the month up to it}}."""
    nights, found = defaultdict(dict), {}
    if not organisation.recovers_in_price:
        return nights
    day = min(span.day for trace in traces for span in trace.spans)
    by_month = {}
    while day <= last_night:
        period = f"{day:%Y-%m}"
        if period not in by_month:
            days = set(days_of_month(period))
            by_month[period] = [trace for trace in traces if any(span.day in days for span in trace.spans)]
        try:
            found = divide_recovered(Month(organisation, by_month[period], period).up_to(day))
        except ClosedPools:
            # That night posted nothing; the next one that can catches up.
            found = found if day.day > 1 else {}
        for (_, _, agent, task_type), units in found.items():
            of = nights[(agent, task_type)]
            of[day] = of.get(day, Fraction(0)) + Fraction(units, PICO)
        day += dt.timedelta(1)
    return nights


# Pools -----------------------------------------------------------------------------------------------------------------------


def invocations(trace, organisation):
    """ATR-4: (span that opens it, pool) of each outermost frame of a shared agent, retries collapsed."""
    by_id = {span.id: span for span in trace.spans}
    found = {}
    for span in sorted(trace.spans, key=lambda span: (span.end, span.id)):
        if not span.pool or not span.bears_cost or outermost_frame(span, span.agent) is not span:
            continue
        origin, seen = span, set()
        while isinstance(origin, Span) and origin.event.get("retry_of") and origin.id not in seen:
            seen.add(origin.id)
            name = origin.event["retry_of"]
            origin = outermost_frame(by_id[name], span.agent) or by_id[name] if name in by_id else name
        found.setdefault((span.agent, origin.id if isinstance(origin, Span) else origin), span)
    return [(span, span.pool) for span in found.values()]


def outermost_frame(span, agent):
    """The topmost span of an agent at or above a span, or None."""
    frames = [above for above in [span, *span.ancestors()] if above.agent == agent]
    return frames[-1] if frames else None


def consumer_of(span, pool, organisation):
    """POOL-2: use below another pool's frame is that pool's where it is of the same group, else the payer's."""
    via = next((above.pool for above in span.ancestors() if above.pool and above.pool != pool), None)
    if via and organisation.group_of(via) == organisation.group_of(pool):
        return ("pool", via)
    return ("team", span.trace.payer) if span.trace.payer else (UNATTRIBUTED, UNATTRIBUTED)


def measure_use(month):
    """POOL-1: {pool: {basis: {consumer: use}}} of the period for the bases that are use."""
    use = {pool: {basis: defaultdict(int) for basis in ("invocations", "tokens", "duration")} for pool in month.pool_cost}
    for trace in month.traces:
        for span, pool in invocations(trace, month.organisation):
            if span.day in month.days:
                use[pool]["invocations"][consumer_of(span, pool, month.organisation)] += 1
        for span in trace.spans:
            if span.pool and span.day in month.days and span.bears_cost:
                consumer = consumer_of(span, span.pool, month.organisation)
                use[span.pool]["tokens"][consumer] += span.tokens
                use[span.pool]["duration"][consumer] += 0 if span.kind == "agent" else span.duration_ms
    return use


def weights_of(month, use, pool, basis):
    """POOL-1: {consumer: weight} of a pool under a basis; unattributed payers keep theirs."""
    if basis == "fixed":
        percent = month.organisation.pools[pool].get("percent", {})
        return {("team", team): Fraction(str(share)) for team, share in percent.items()}
    if basis == "even":
        return {("team", team): 1 for team in month.active}
    if basis == "direct_cost":
        return {("team", team) if team else (UNATTRIBUTED, UNATTRIBUTED): cost for team, cost in month.direct.items()}
    return dict(use[pool][basis])


def pool_weights(month, use, pool, closed):
    """SPL-3: (basis, weights) by the pool's basis, else invocations, direct cost, even; (None, {}) where nobody has any."""
    for basis in (month.organisation.pools[pool]["basis"], "invocations", "direct_cost", "even"):
        weights = weights_of(month, use, pool, basis)
        weights = {who: weight for who, weight in weights.items() if weight and not (who[0] == "pool" and who[1] in closed)}
        if weights:
            return basis, weights
    return None, {}


def pool_ratios(month, use, pool, closed):
    """POOL-1: {consumer: share}; without any weight the cost is unallocated."""
    _, weights = pool_weights(month, use, pool, closed)
    total = Fraction(sum(weights.values()))
    return {who: weight / total for who, weight in weights.items()} or {(UNALLOCATED, UNALLOCATED): Fraction(1)}


def basis_in_effect(month, use, pool):
    """What a pool is split by after a fallback; use by pools that are closed by then does not count."""
    members = pools_of_group(month, month.organisation.group_of(pool))
    method = month.organisation.pools[pool].get("method", "direct")
    order = step_order(month, members)
    closed = {"direct": set(members), "reciprocal": set()}.get(method, set(order[: order.index(pool) + 1]))
    return pool_weights(month, use, pool, closed)[0]


def allocate_direct(own, ratios_without):
    """POOL-2, direct: what pools use of each other is left out."""
    return {pool: (own[pool], ratios_without(pool, set(own))) for pool in own}


def allocate_step_down(own, ratios_without, order):
    """POOL-2, step down: each pool closes after its turn and receives no more."""
    held, closed, result = dict(own), set(), {}
    for pool in order:
        closed.add(pool)
        ratios = ratios_without(pool, closed)
        result[pool] = (held[pool], ratios)
        for (kind, name), share in ratios.items():
            if kind == "pool":
                held[name] += held[pool] * share
    return result


def allocate_reciprocal(own, ratios_without):
    """POOL-2, reciprocal: x = b + A'x in rationals; every pool must reach a consumer."""
    names = sorted(own)
    ratios = {pool: ratios_without(pool, set()) for pool in names}
    open_pools = set()
    for _ in names:
        open_pools |= {p for p in names if any(kind != "pool" or name in open_pools for kind, name in ratios[p])}
    if len(open_pools) < len(names):
        raise ClosedPools(f"POOL-2: closed pools {sorted(set(names) - open_pools)}")
    matrix = [[Fraction(p == q) - ratios[q].get(("pool", p), 0) for q in names] + [Fraction(own[p])] for p in names]
    return {pool: (full, ratios[pool]) for pool, full in zip(names, solve(matrix))}


def solve(matrix):
    """Gauss-Jordan elimination of an augmented matrix of rationals."""
    for column in range(len(matrix)):
        pivot = next(row for row in range(column, len(matrix)) if matrix[row][column])
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        matrix[column] = [value / matrix[column][column] for value in matrix[column]]
        for row in range(len(matrix)):
            if row != column:
                factor = matrix[row][column]
                matrix[row] = [a - factor * b for a, b in zip(matrix[row], matrix[column])]
    return [row[-1] for row in matrix]


def allocate(own, method, ratios_without, order):
    """POOL-2: {pool: (full cost, {consumer: ratio})} of a group."""
    if method == "reciprocal":
        return allocate_reciprocal(own, ratios_without)
    if method == "step_down":
        return allocate_step_down(own, ratios_without, order)
    return allocate_direct(own, ratios_without)


def share_group(own, allocation):
    """POOL-3 and SPL-2: {consumer: {pool: picounits}}: the group's cost over consumers, then inside each over its pools."""
    given = defaultdict(dict)
    for pool, (full, ratios) in allocation.items():
        for who, share in ratios.items():
            if who[0] != "pool" and full * share:
                given[who][pool] = full * share
    # Ties go by the id alone: the accounts take part under their own names.
    names = {who[1]: who for who in sorted(given)}
    assert len(names) == len(given), "a team is named like an account"
    totals = split(to_pico(sum(own.values())), {name: sum(given[who].values()) for name, who in names.items()})
    return {names[name]: split(units, given[names[name]]) for name, units in totals.items()}


def pools_of_group(month, group):
    return [pool for pool in sorted(month.organisation.pools) if month.organisation.group_of(pool) == group]


def step_order(month, members):
    pools = month.organisation.pools
    return sorted(members, key=lambda pool: (pools[pool].get("step") is None, pools[pool].get("step") or 0, pool))


def allocations(month, use):
    """POOL-2: (group, own costs, allocation) of every group."""
    pools = month.organisation.pools
    for group in sorted({month.organisation.group_of(pool) for pool in pools}):
        members = pools_of_group(month, group)
        methods = {pools[pool].get("method", "direct") for pool in members}
        if len(methods) > 1:
            raise Refused(f"pool group {group} has several methods")
        own = {pool: month.pool_cost[pool] for pool in members}
        if not any(own.values()):
            continue
        ratios = lambda pool, closed: pool_ratios(month, use, pool, closed)
        yield group, own, allocate(own, methods.pop(), ratios, step_order(month, members))


def charge_pools(month):
    """POOL-1 to POOL-4: the pools' cost of the whole period, group by group."""
    for group, own, allocation in allocations(month, measure_use(month)):
        for who, parts in share_group(own, allocation).items():
            if who[0] == "team":
                parts = {pool: units - month.recovered.get((pool, who[1]), 0) for pool, units in parts.items()}
            book_pool_parts(month, who, parts)
        record_pools(month, group, own, allocation)


def book_pool_parts(month, who, parts):
    """Pool lines of a team, or what stays on an account."""
    for pool, units in parts.items():
        exact = Fraction(units, PICO)
        if who[0] == "team":
            if units:
                month.lines[who[1]].add(exact, kind="pool", pool=pool)
        else:
            month.accounts[who[0]] += exact


def record_pools(month, group, own, allocation):
    """POOL-3: method, basis and ratios of the run."""
    for pool, (full, ratios) in sorted(allocation.items()):
        entry = month.organisation.pools[pool]
        month.pool_record.append(
            {
                "pool": pool,
                "group": group,
                "method": entry.get("method", "direct"),
                "basis": entry["basis"],
                "own_cost": text_of(own[pool]),
                "full_cost": str(full),
                "ratios": {":".join(who) if who[0] in ("team", "pool") else who[0]: str(r) for who, r in sorted(ratios.items())},
            }
        )


# Statements ------------------------------------------------------------------------------------------------------------------


def print_amounts(exacts, digits):
    """MON-2: (total, amounts) in the currency's minor unit; the amounts sum to the total."""
    scaled = [Fraction(exact) * 10**digits for exact in exacts]
    total = round(sum(scaled, Fraction(0)))
    units = [exact.numerator // exact.denominator for exact in scaled]
    order = sorted(range(len(units)), key=lambda n: (-(scaled[n] - units[n]), -scaled[n], n))
    for place in order[: total - sum(units)]:
        units[place] += 1
    assert sum(units) == total
    return Fraction(total, 10**digits), [Fraction(unit, 10**digits) for unit in units]


def make_statement(month, team):
    """CLO-2: the lines of a team with their sums."""
    rows = month.lines[team].in_order()
    total, amounts = print_amounts([row["exact"] for row in rows], MINOR_DIGITS.get(month.organisation.currency, 2))
    lines = []
    for row, amount in zip(rows, amounts):
        line = dict(row, amount=text_of(amount))
        line.update({name: text_of(row[name]) for name in ("price", "exact", "quantity")})
        if row["kind"] == "pool":
            record = next(entry for entry in month.pool_record if entry["pool"] == row["pool"])
            line.update(method=record["method"], basis=record["basis"])
            line["ratio"] = text_of(half_even(Fraction(record["ratios"].get(f"team:{team}", "0"))))
        lines.append({name: value for name, value in line.items() if value is not None})
    unpriced = sum(span.unpriced for span in month.spans() if span.trace.payer == team) + month.unpriced_bills[team]
    exact_total = sum((row["exact"] for row in rows), Fraction(0))
    return {"lines": lines, "exact_total": text_of(exact_total), "total": text_of(total), "unpriced_events": unpriced}


def list_prices(month):
    """PRC-3: every price version, with the first day it holds (absent for a seed price)."""
    rows = []
    for (agent, task_type, billing), prices in sorted(month.prices.items(), key=str):
        for since, price in prices.versions:
            if price is not None:
                row = {"agent": agent, "task_type": task_type, "billing": billing, "from": since and since.isoformat()}
                rows.append(dict({name: value for name, value in row.items() if value is not None}, price=text_of(price)))
    return rows


def check_close(accounts, statements):
    """CLO-4: what was charged and what stays on accounts equals the cost of the period, to the last picodollar."""
    charged = sum((Fraction(statement["exact_total"]) for statement in statements.values()), Fraction(0))
    left = charged + accounts[UNATTRIBUTED] + accounts[UNALLOCATED]
    names = ("priced_cost", "markup", "corrections", "residual", "absorbed", "carried_out")
    right = sum((accounts[name] for name in names), Fraction(0)) - accounts["carried_in"]
    assert left == right, f"CLO-4: {left} is not {right}"
    accounts["rounding"] = sum((Fraction(s["total"]) for s in statements.values()), Fraction(0)) - charged


def price_tasks(traces, organisation, last_night, approved):
    """PRC-1 and PRC-4: prices of every (agent, task type), all payers together, under both billing models."""
    recovered = recovered_nights(traces, organisation, last_night)
    by_kind = defaultdict(list)
    for trace in traces:
        if trace.is_task:
            by_kind[(trace.root.agent, trace.root.task_type)].append(trace)
    return {
        (*kind, billing): Prices(tasks, billing, organisation, last_night, recovered[kind], approved)
        for kind, tasks in by_kind.items()
        for billing in ("task", "time")
    }


def understand_traces(events, organisation, catalogue, nights_through):
    """From recorded events to rated traces with their payers; days after `nights_through` are not known yet."""
    spans = keep_first_recorded(events, organisation.zone)
    spans = [span for span in spans if nights_through is None or span.day <= nights_through]
    mark_superseded(spans)
    traces = gather_traces(spans)
    for trace in traces:
        resolve_tags(trace, organisation)
        trace.payer = find_payer(trace, organisation)
    mark_reported_twice(spans, organisation)
    rating = Rating(organisation, catalogue)
    for trace in traces:
        rate_trace(trace, rating)
    return traces


def recompute(events, file, catalogue, period, nights_through=None, approved=()):
    """The statements of a period and the accounts beside them; `approved` are the months whose rate card was approved."""
    organisation = Organisation(file)
    traces = understand_traces(events, organisation, catalogue, nights_through)
    month = Month(organisation, traces, period)
    last_night = nights_through or max([span.day for trace in traces for span in trace.spans] + [max(month.days)])
    month.prices = price_tasks(traces, organisation, last_night, approved)
    month.costed = month.up_to(max(month.days)) if organisation.recovers_in_price else None
    collect_costs(month)
    book_recurring(month)
    charge_tokens(month)
    mark_up_tokens(month)
    settle_variance(month, charge_tasks(month))
    charge_pools(month)
    statements = {team: make_statement(month, team) for team in sorted(organisation.teams)}
    check_close(month.accounts, statements)
    names = (UNATTRIBUTED, UNALLOCATED, "priced_cost", "markup", "corrections", "residual")
    names += ("absorbed", "carried_out", "carried_in", "rounding")
    return {
        "period": period,
        "currency": organisation.currency,
        "teams": statements,
        **{name: text_of(month.accounts[name]) for name in names},
        "task_prices": list_prices(month),
        "pools": month.pool_record,
        "recurring": month.bills,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", required=True)
    parser.add_argument("--organisation", required=True)
    parser.add_argument("--catalogue", required=True)
    parser.add_argument("--period", required=True)
    parser.add_argument("--nights-through", type=dt.date.fromisoformat)
    parser.add_argument("--approved", action="append", default=[], metavar="PERIOD")
    parser.add_argument("--out", required=True)
    given = parser.parse_args()
    file = tomllib.loads(pathlib.Path(given.organisation).read_text(encoding="utf-8"))
    try:
        catalogue = read_catalogue(given.catalogue)
        events = read_events(given.events)
        result = recompute(events, file, catalogue, given.period, given.nights_through, given.approved)
    except Refused as reason:
        sys.exit(f"recompute: {reason}")
    pathlib.Path(given.out).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
