"""Examples of the semantics, and small cases of the rules that statements rest on. `python3 -m unittest` runs them."""

import copy
import datetime as dt
import pathlib
import json
import random
import subprocess
import sys
import tempfile
import unittest
from fractions import Fraction

import compare
import recompute as r

CATALOGUE = [
    {
        "provider": "acme",
        "model": "large",
        "aliases": ["large-1"],
        "from": "2026-01-01",
        "currency": "USD",
        "per_million": {"input": "2", "output": "10"},
        "long_context": {"above": 1000, "per_million": {"input": "4", "output": "20"}},
        "tiers": {"batch": {"per_million": {"input": "1", "output": "5"}}},
    },
    {"provider": "acme", "model": "large", "from": "2026-11-01", "currency": "USD", "per_million": {"input": "3", "output": "30"}},
    {"provider": "acme", "model": "tiny", "from": "2026-01-01", "currency": "USD", "per_million": {"input": "0.0000005"}},
    {"sku": "acme.search", "unit": "call", "from": "2026-01-01", "currency": "USD", "price": "0.01"},
    {"sku": "acme.unit", "unit": "dollar", "from": "2026-01-01", "currency": "USD", "price": "1"},
]


def organisation(**changes):
    file = {
        "organisation": {"name": "Example", "currency": "USD", "time_zone": "UTC"},
        "policy": {"min_tasks": 1},
        "teams": [{"id": "a"}, {"id": "b"}],
    }
    file.update(changes)
    return file


def event(event_id, at, **fields):
    """An event at `DD` or `DDTHH:MM:SS` of October 2026; `dollars` is a shorthand for a sku that costs one each."""
    at = f"2026-10-{at}" if len(at.split("T")[0]) == 2 else at
    used_at = at + "Z" if "T" in at else at + "T12:00:00Z"
    made = {"event_id": event_id, "trace_id": "t", "used_at": used_at, "kind": "tool"}
    if "dollars" in fields:
        made.update(sku="acme.unit", unit="dollar", quantity=fields.pop("dollars"))
    tags = {name: fields.pop(name) for name in ("team", "agent", "task_type", "user") if name in fields}
    return {**made, "tags": tags, **fields}


def llm(event_id, at, usage, **fields):
    return event(event_id, at, **{"kind": "llm", "provider": "acme", "model": "large", "usage": usage, **fields})


def run(events, file=None, catalogue=CATALOGUE, period="2026-10", **more):
    return r.recompute(events, file or organisation(), catalogue, period, **more)


def lines(result, team="a", **fields):
    found = result["teams"][team]["lines"]
    return [line for line in found if all(line.get(name) == value for name, value in fields.items())]


def exact(result, team="a"):
    return Fraction(result["teams"][team]["exact_total"])


class Numbers(unittest.TestCase):
    def test_mon_1_amounts_come_from_their_text(self):
        self.assertEqual(r.to_pico(r.Fraction("1.25e-07")), 125000)
        self.assertEqual(r.text_of(Fraction("1.25e-07")), "0.000000125")
        self.assertEqual(r.half_even(Fraction(5, 10**13)), 0)
        self.assertEqual(r.half_even(Fraction(15, 10**13)), Fraction(2, 10**12))

    def test_mon_2_a_statement_adds_up_as_printed(self):
        total, amounts = r.print_amounts([Fraction("0.333333"), Fraction("0.333333"), Fraction("0.333334")], 2)
        self.assertEqual(total, 1)
        self.assertEqual([float(amount) for amount in amounts], [0.33, 0.33, 0.34])
        total, amounts = r.print_amounts([Fraction("-0.005"), Fraction("1.011")], 2)
        self.assertEqual((total, sum(amounts)), (Fraction("1.01"), Fraction("1.01")))
        self.assertEqual(amounts, [Fraction(0), Fraction("1.01")])

    def test_spl_1_examples(self):
        cases = [(100, [0, 1, 1, 1], [0, 34, 33, 33]), (10, [6, 6, 2], [4, 4, 2]), (11, [6, 6, 2], [5, 5, 1])]
        for units, weights, parts in cases:
            self.assertEqual(list(r.split(units, dict(enumerate(weights))).values()), parts)
            self.assertEqual(list(r.split(-units, dict(enumerate(weights))).values()), [-part for part in parts])

    def test_spl_1_takes_rational_weights(self):
        self.assertEqual(r.split(10, {"a": Fraction(3, 7), "b": Fraction(3, 7), "c": Fraction(1, 7)}), {"a": 4, "b": 4, "c": 2})

    def test_times_and_local_days(self):
        self.assertEqual(r.ns_of("1970-01-01T01:00:00.5+01:00"), 5 * 10**8)
        zone = r.zoneinfo.ZoneInfo("Europe/Berlin")
        self.assertEqual(r.local_day(r.ns_of("2026-10-31T23:30:00Z"), zone), dt.date(2026, 11, 1))


class InternalPrices(unittest.TestCase):
    def test_prc_1_example(self):
        factor, cost, base = r.smoothing_factor(7), None, None
        self.assertEqual(r.text_of(factor), "0.094276335736")
        for day_cost, day_base in (("35.00", 100), ("52.50", 150), ("20.00", 50)):
            cost, base = r.smooth(cost, Fraction(day_cost), factor), r.smooth(base, day_base, factor)
        self.assertEqual((r.text_of(cost), r.text_of(base)), ("35.080150358443", "99.555598626010".rstrip("0")))
        self.assertEqual(r.text_of(r.on_grid(cost / base, Fraction("0.0001"))), "0.3524")

    def task(self, number, day, dollars, **fields):
        made = {"team": "a", "agent": "x", "task_type": "k", "status": "ok", **fields}
        return event("r", day, trace_id=f"t{number}", dollars=dollars, **made)

    def test_prc_1_prices_settle_to_actual_cost(self):
        file = organisation(agents=[{"id": "x", "billing": "task"}])
        result = run([self.task(1, "01", "1"), self.task(2, "02", "2"), self.task(3, "02", "3", team="b")], file)
        # The first day has no price; the second is charged at the first day's.
        (passed,) = [line for line in lines(result, kind="charge") if "price" not in line]
        self.assertEqual((passed["quantity"], passed["exact"], passed["unit"]), ("1", "1", "task"))
        (charged,) = lines(result, kind="charge", price="1")
        self.assertEqual((charged["quantity"], charged["from"]), ("1", "2026-10-02"))
        self.assertEqual(lines(result, kind="variance")[0]["exact"], "1.5")
        self.assertEqual(lines(result, "b", kind="variance")[0]["exact"], "1.5")
        self.assertEqual(exact(result) + exact(result, "b"), 6)

    def test_prc_2_seed_price_and_evidence(self):
        agents, types = [{"id": "x", "billing": "task"}], [{"id": "k", "seed_price": "0.35"}]
        file = organisation(policy={"min_tasks": 30, "min_days": 3}, agents=agents, task_types=types)
        result = run([self.task(n, f"0{n}", "1") for n in range(1, 6)], file)
        seed, learned = lines(result, kind="charge")
        self.assertEqual((seed["price"], seed["quantity"], seed.get("from")), ("0.35", "3", None))
        self.assertEqual((learned["price"], learned["quantity"], learned["from"]), ("1", "2", "2026-10-04"))

    def test_prc_1_failed_tasks_cost_but_do_not_count(self):
        file = organisation(agents=[{"id": "x", "billing": "task"}])
        tasks = [self.task(1, "01", "1"), self.task(2, "01", "1", status="error"), self.task(3, "02", "2")]
        (charged,) = lines(run(tasks, file), kind="charge", unit="task", price="2")
        self.assertEqual(charged["quantity"], "1")

    def test_prc_3_banded_and_locked(self):
        tasks = [self.task(1, "01", "1"), self.task(2, "02", "10"), self.task(3, "03", "10")]
        for lock, wanted in (("banded", [(None, None), ("02", "1"), ("03", "1.1")]), ("locked", [(None, None)])):
            policy = {"min_tasks": 1, "price_lock": lock, "price_band_percent": "10"}
            traces = r.understand_traces(tasks, r.Organisation(organisation(policy=policy)), CATALOGUE, None)
            prices = r.Prices(traces, "task", r.Organisation(organisation(policy=policy)), dt.date(2026, 10, 3))
            found = [(since and f"{since:%d}", r.text_of(price)) for since, price in prices.versions]
            self.assertEqual(found[: len(wanted)], wanted)

    def test_prc_4_minutes_are_a_union(self):
        file = organisation(agents=[{"id": "x", "billing": "time"}])
        events = []
        for number, day in ((1, "01"), (2, "02")):
            root = {"kind": "agent", "duration_ms": 600000, "team": "a", "agent": "x", "task_type": "k", "status": "ok"}
            events.append(event("r", f"{day}T12:10:00", trace_id=f"t{number}", **root))
            for name, at, seconds in (("p", "12:02:00", 120), ("q", "12:03:00", 90)):
                below = {"parent_id": "r", "duration_ms": seconds * 1000, "dollars": "1.5"}
                events.append(event(name, f"{day}T{at}", trace_id=f"t{number}", **below))
        events.append(self.task(3, "02", "4"))
        result = run(events, file)
        (charged,) = lines(result, kind="charge", unit="minute")
        self.assertEqual((charged["quantity"], charged["price"], charged["exact"]), ("3", "1", "3"))
        (passed,) = [line for line in lines(result, kind="charge", billing="time") if "price" not in line]
        self.assertEqual((passed["quantity"], passed["exact"]), ("2", "7"))
        self.assertEqual(exact(result), 10)

    def test_led_3_absorb(self):
        file = organisation(policy={"min_tasks": 1, "variance": "absorb"}, agents=[{"id": "x", "billing": "task"}])
        result = run([self.task(1, "01", "1"), self.task(2, "02", "3")], file)
        self.assertEqual((exact(result), result["absorbed"]), (2, "-2"))

    def test_prc_0_a_task_that_ends_next_month(self):
        file = organisation(agents=[{"id": "x", "billing": "task"}])
        late = self.task(2, "2026-11-01", "5")
        early = event("c", "31", trace_id="t2", parent_id="r", dollars="2")
        result = run([self.task(1, "30", "1"), late, early], file)
        self.assertEqual(lines(result, kind="variance")[0]["exact"], "2")
        without_root = run([self.task(1, "30", "1"), early], file)
        self.assertEqual(without_root[r.UNATTRIBUTED], "2")
        cut = run([self.task(1, "30", "1"), late, early], file, nights_through=dt.date(2026, 10, 31))
        self.assertEqual(cut, without_root)


class PriceModels(unittest.TestCase):
    """PRC-5, idle minutes, pools in prices, approval: each with figures worked out by hand."""

    def lines(self, result, team, kind):
        return [line for line in result["teams"][team]["lines"] if line["kind"] == kind]

    def test_prc_5_percent_of_a_task_and_of_a_day_of_tokens(self):
        file = organisation(
            policy={"min_tasks": 1, "markup": {"percent": "10"}},
            agents=[{"id": "x", "billing": "task"}],
            task_types=[{"id": "s", "seed_price": "0.5"}],
        )
        events = [
            event(f"e{n}", "02", trace_id=f"t{n}", dollars="0.4", team="a", agent="x", task_type="s", status="ok") for n in range(3)
        ]
        events += [event(f"f{n}", f"0{n}", trace_id=f"f{n}", dollars="0.000000000005", team="a", agent="w") for n in (3, 4)]
        result = run(events, file)
        found = [(line["agent"], line["quantity"], line["price"], line["exact"]) for line in self.lines(result, "a", "markup")]
        self.assertEqual(found, [("w", "0.00000000001", "0.1", "0"), ("x", "1.5", "0.1", "0.15")])
        self.assertEqual((result["markup"], result["teams"]["a"]["exact_total"]), ("0.15", "1.35000000001"))

    def test_prc_5_fixed_per_minute_and_prc_4_idle_at_its_own_rate(self):
        agents = [{"id": "x", "billing": "time", "markup": {"fixed": "0.02"}, "idle_rate": "0.1"}]
        events = []
        for n in (1, 2):
            of = {"trace_id": f"t{n}", "team": "a", "agent": "x"}
            events.append(event(f"r{n}", f"0{n}T12:05:00", kind="agent", duration_ms=300_000, task_type="s", status="ok", **of))
            work = event(f"w{n}", f"0{n}T12:02:00", parent_id=f"r{n}", duration_ms=120_000, dollars="3", **of)
            events.append(work)
        result = run(events, organisation(agents=agents))
        charges = {(line["unit"], line.get("price")): (line["quantity"], line["exact"]) for line in self.lines(result, "a", "charge")}
        expected = {
            ("idle minute", None): ("3", "0"),
            ("idle minute", "0.1"): ("3", "0.3"),
            ("minute", "1.5"): ("2", "3"),
            ("task", None): ("1", "3"),
        }
        self.assertEqual(charges, expected)
        (markup,) = self.lines(result, "a", "markup")
        self.assertEqual((markup["unit"], markup["quantity"], markup["exact"]), ("minute", "2", "0.04"))
        self.assertEqual(result["teams"]["a"]["exact_total"], "6.04")

    def test_prc_1_pools_in_the_price(self):
        """A pool of 1 a day; 1/2 of 1, 3/4 of 2 and 3/4 of 3 are team a's, whose agent is billed by task."""
        file = organisation(
            policy={"min_tasks": 1, "half_life_days": 1, "pool_recovery": "price"},
            agents=[{"id": "x", "billing": "task"}, {"id": "g", "shared_pool": "p"}],
            pools=[{"id": "p", "basis": "invocations"}],
            recurring=[{"id": "vm", "pool": "p", "amount": "31", "from": "2026-10-01"}],
        )
        events = []
        for day, calls in ((1, 1), (2, 2)):
            for n in range(10):
                of = {"trace_id": f"t{day}-{n}", "team": "a"}
                root = event(f"r{n}", f"0{day}", agent="x", task_type="s", status="ok", dollars="1", **of)
                events.append(root)
                if n < calls:
                    events.append(event(f"g{n}", f"0{day}", parent_id=f"r{n}", agent="g", **of))
        events.append(event("g", "01", trace_id="other", team="b", agent="g"))
        result = run(events, file, nights_through=dt.date(2026, 10, 3))
        prices = [(row["from"], row["price"]) for row in result["task_prices"] if row["billing"] == "task"]
        self.assertEqual(prices, [("2026-10-02", "1.05"), ("2026-10-03", "1.075"), ("2026-10-04", "1.15")])
        self.assertEqual(self.lines(result, "a", "pool"), [])
        self.assertEqual([line["exact"] for line in self.lines(result, "b", "pool")], ["7.75"])
        self.assertEqual(result["teams"]["a"]["exact_total"], "43.25")

    def test_prc_3_a_card_holds_once_it_is_approved(self):
        policy = {"min_tasks": 1, "price_lock": "locked", "price_approval": "finance"}
        file = organisation(policy=policy, agents=[{"id": "x", "billing": "task"}])
        tasks = [("2026-10-05", "2"), ("2026-11-05", "3"), ("2026-12-05", "3")]
        of = {"team": "a", "agent": "x", "task_type": "s", "status": "ok"}
        events = [event(f"e{n}", day, trace_id=f"t{n}", dollars=cost, **of) for n, (day, cost) in enumerate(tasks)]
        for approved, expected in (([], None), (["2026-11"], "2"), (["2026-11", "2026-12"], "2.67"), (["2026-12"], "2.67")):
            result = run(events, file, period="2026-12", approved=approved)
            (charge,) = self.lines(result, "a", "charge")
            self.assertEqual(charge.get("price"), expected, approved)


class Payers(unittest.TestCase):
    def payer(self, events, **changes):
        (trace,) = r.understand_traces(events, r.Organisation(organisation(**changes)), CATALOGUE, None)
        return trace.payer

    def test_atr_1_chain(self):
        child = event("c", "01", parent_id="r", team="b")
        people = [{"id": "u", "team": "a"}]
        self.assertEqual(self.payer([event("r", "01", team="a"), child]), "a")
        self.assertEqual(self.payer([event("r", "01", user="u"), child], people=people), "a")
        self.assertEqual(self.payer([event("r", "01", user="u"), child]), "b")
        self.assertEqual(self.payer([event("r", "01", team="gone"), child]), None)
        self.assertEqual(self.payer([event("r", "01")]), None)

    def test_atr_3_loops_and_orphans(self):
        loop = [event("p", "01T01:00:00", parent_id="q", team="a"), event("q", "01T02:00:00", parent_id="p", team="b")]
        self.assertEqual(self.payer(loop), "a")
        orphans = [event("p", "01T02:00:00", parent_id="x", team="a"), event("q", "01T01:00:00", parent_id="y", team="b")]
        self.assertEqual(self.payer(orphans), "b")

    def test_evt_2_first_recorded_stays(self):
        events = [event("e", "02", team="a", dollars="1"), event("e", "02", team="a", dollars="1"), event("e", "01", team="b", dollars="9")]
        self.assertEqual((exact(run(events)), exact(run(events), "b")), (1, 0))

    def test_evt_2_one_report_of_a_call_is_billed(self):
        one = llm("e", "01", {"input": 100}, trace_id="t1", response_id="x")
        two = llm("e", "01", {"input": 100}, trace_id="t2", response_id="x", team="a")
        result = run([one, two])
        self.assertEqual((exact(result), result["unattributed"]), (Fraction("0.0002"), "0"))

    def test_evt_3_a_correction_replaces(self):
        events = [event("e", "01", team="a", dollars="5"), event("f", "01", team="a", dollars="3", supersedes="e")]
        self.assertEqual(exact(run(events)), 3)

    def test_orphans_wait_for_their_root(self):
        file = organisation(agents=[{"id": "x", "billing": "task"}], task_types=[{"id": "k", "seed_price": "1"}])
        child = event("c", "01", parent_id="r", team="a", agent="x", task_type="k", dollars="3")
        self.assertEqual(lines(run([child], file))[0]["billing"], "token")


class RatingOfEvents(unittest.TestCase):
    def cost(self, *events, **changes):
        result = run(list(events), organisation(**changes))
        return result["priced_cost"], result["teams"]["a"]["unpriced_events"]

    def test_rat_1(self):
        cases = [
            ({}, {"input": 100, "cache_read": 50, "output": 10, "reasoning": 5}, "0.00045"),
            ({}, {"input": 900, "cache_read": 101}, "0.004004"),
            ({"service_tier": "batch"}, {"input": 100}, "0.0001"),
            ({"service_tier": "auto", "model": "large-1"}, {"input": 100}, "0.0002"),
            ({}, {"input": 1000}, "0.002"),
        ]
        for fields, usage, cost in cases:
            self.assertEqual(self.cost(llm("e", "01", usage, team="a", **fields)), (cost, 0))

    def test_rat_2(self):
        cases = [
            ({"service_tier": "flex"}, {"input": 1}),
            ({"service_tier": "batch"}, {"input": 1001}),
            ({"model": "other"}, {"input": 1}),
            ({"model": "other", "cost": {"amount": "0", "currency": "USD"}}, {"input": 1}),
            ({"model": "other", "cost": {"amount": "1", "currency": "EUR"}}, {"input": 1}),
            ({}, {"audio_input": 1}),
        ]
        for fields, usage in cases:
            self.assertEqual(self.cost(llm("e", "01", usage, team="a", **fields)), ("0", 1))

    def test_own_prices_win_from_their_start(self):
        own = {"provider": "acme", "model": "large", "from": "2026-10-02", "per_million": {"input": "1", "output": "1"}}
        self.assertEqual(self.cost(llm("e", "01", {"input": 100}, team="a"), prices=[own])[0], "0.0002")
        self.assertEqual(self.cost(llm("e", "02", {"input": 100}, team="a"), prices=[own])[0], "0.0001")

    def test_reported_cost_is_converted_and_has_no_class(self):
        rates = [{"from_currency": "EUR", "to_currency": "USD", "from": "2026-10-01", "rate": "1.0850"}]
        reported = llm("e", "01", {"input": 1}, team="a", model="other", cost={"amount": "2", "currency": "EUR"})
        result = run([reported], organisation(rates=rates))
        (line,) = lines(result)
        self.assertEqual((line["exact"], line.get("class"), line.get("sku")), ("2.17", None, None))

    def test_mon_1_an_event_is_rounded_once(self):
        price = {"provider": "p", "model": "m", "from": "2026-01-01", "per_million": {"input": "0.0000005", "output": "0.0000004"}}
        tiny = llm("e", "01", {"input": 1, "output": 1}, team="a", provider="p", model="m")
        result = run([tiny], organisation(prices=[price]))
        self.assertEqual(result["priced_cost"], "0.000000000001")
        self.assertEqual([line["exact"] for line in lines(result)], ["0.000000000001", "0"])

    def test_evt_5_wrappers(self):
        half = {"sku": "acme.unit", "quantity": "0.0000000000005"}

        def wrapped(own, below, **fields):
            frame = llm("w", "01", own, kind="agent", team="a", **fields)
            return [frame, *(llm(f"c{n}", "01", usage, parent_id="w") for n, usage in enumerate(below))]

        # Nothing below: its own usage; less than what is below: nothing; more: the excess, by positive differences.
        self.assertEqual(self.cost(*wrapped({"input": 100}, []))[0], "0.0002")
        self.assertEqual(self.cost(*wrapped({"input": 100}, [{"input": 80}, {"input": 30}]))[0], "0.00022")
        self.assertEqual(self.cost(*wrapped({"input": 100, "output": 9}, [{"input": 80, "output": 10}]))[0], "0.0003")
        self.assertEqual(r.unobserved({"input": 60, "cache_read": 60}, {"input": 100}), {"cache_read": 20})
        self.assertEqual(r.unobserved({"input": 60, "cache_read": 60}, {}), {"input": 60, "cache_read": 60})
        # Without a model of its own: the only one below, else unpriced.
        nameless = wrapped({"input": 100}, [{"input": 80}], model=None)
        self.assertEqual(self.cost(*nameless), ("0.0002", 0))
        self.assertEqual(self.cost(*wrapped({"input": 100}, [], model=None)), ("0", 1))
        # MON-1: half a picodollar by the piece and half in tokens are one event's, which is rounded once.
        self.assertEqual(self.cost(*wrapped({}, [], **half))[0], "0")
        self.assertEqual(self.cost(*wrapped({"input": 1}, [], model="tiny"))[0], "0")
        self.assertEqual(self.cost(*wrapped({"input": 1}, [], model="tiny", **half))[0], "0.000000000001")

    def test_pool_5_recurring(self):
        bill = {"id": "vm", "agent": "x", "amount": "310.00", "period": "month", "from": "2026-10-22"}
        result = run([], organisation(recurring=[bill], agents=[{"id": "x", "owner": "a"}]))
        (line,) = lines(result)
        self.assertEqual((line["exact"], line["sku"], line["unit"], line["quantity"]), ("100", "vm", "month", "0.322580645161"))

    def test_mon_4_a_bill_is_unpriced_where_a_day_has_no_rate(self):
        bill = {"id": "vm", "agent": "x", "amount": "31", "currency": "EUR", "from": "2026-10-01"}
        file = organisation(recurring=[bill], agents=[{"id": "x", "owner": "a"}])
        without = run([], file)
        self.assertEqual((lines(without), without["priced_cost"], without["teams"]["a"]["unpriced_events"]), ([], "0", 1))
        rate = {"from_currency": "EUR", "to_currency": "USD", "from": "2026-10-30", "rate": "2"}
        result = run([], dict(file, rates=[rate]))
        (line,) = lines(result)
        self.assertEqual((line["exact"], line["quantity"]), ("4", "0.064516129032"))
        self.assertEqual(result["teams"]["a"]["unpriced_events"], 1)
        result = run([], dict(file, rates=[dict(rate, **{"from": "2026-10-01"})]))
        self.assertEqual((exact(result), result["teams"]["a"]["unpriced_events"]), (62, 0))


class Pools(unittest.TestCase):
    OWN = {"Y": Fraction(7260), "Z": Fraction(4000)}
    USE = {
        "Y": {("pool", "Z"): 20, ("team", "A"): 50, ("team", "B"): 30},
        "Z": {("pool", "Y"): 30, ("team", "A"): 30, ("team", "B"): 40},
    }

    def ratios(self, pool, closed):
        weights = {who: weight for who, weight in self.USE[pool].items() if not (who[0] == "pool" and who[1] in closed)}
        return {who: Fraction(weight, sum(weights.values())) for who, weight in weights.items()}

    def test_pool_2_example(self):
        cases = [
            ("direct", "YZ", "6251.79", "5008.21"),
            ("step_down", "YZ", "5966.57", "5293.43"),
            ("step_down", "ZY", "6487.50", "4772.50"),
            ("reciprocal", "YZ", "6240.00", "5020.00"),
        ]
        for method, order, a, b in cases:
            allocation = r.allocate(self.OWN, method, self.ratios, list(order))
            given = r.share_group(self.OWN, allocation)
            sums = {who[1]: Fraction(sum(parts.values()), r.PICO) for who, parts in given.items()}
            self.assertEqual({who: f"{float(cost):.2f}" for who, cost in sums.items()}, {"A": a, "B": b})
            self.assertEqual(sum(sums.values()), 11260)
        self.assertEqual({pool: full for pool, (full, _) in allocation.items()}, {"Y": 9000, "Z": 5800})

    def test_pool_2_closed_pools_are_named(self):
        with self.assertRaisesRegex(r.Refused, "closed pools.*Y.*Z"):
            r.allocate_reciprocal(self.OWN, lambda pool, _: {("pool", "Z" if pool == "Y" else "Y"): Fraction(1)})

    def test_pool_1_sixty_percent_of_the_invocations(self):
        file = organisation(agents=[{"id": "g", "shared_pool": "safety"}], pools=[{"id": "safety", "basis": "invocations"}])
        events = [event("e", "01", trace_id=f"t{n}", team="a" if n < 6 else "b", agent="g", dollars="1") for n in range(10)]
        result = run(events, file)
        self.assertEqual((exact(result), exact(result, "b")), (6, 4))
        self.assertEqual(lines(result)[0]["kind"], "pool")

    def test_pool_1_unattributed_payers_keep_their_weight(self):
        file = organisation(agents=[{"id": "g", "shared_pool": "safety"}], pools=[{"id": "safety", "basis": "tokens"}])
        events = [llm("e", "01", {"input": 300}, trace_id="t1", team="a", agent="g")]
        events.append(llm("e", "01", {"input": 100}, trace_id="t2", agent="g"))
        result = run(events, file)
        self.assertEqual((exact(result), result["unattributed"]), (Fraction("0.0006"), "0.0002"))

    def test_atr_4_retries_are_one_invocation(self):
        file = r.Organisation(organisation(agents=[{"id": "g", "shared_pool": "p"}], pools=[{"id": "p", "basis": "even"}]))
        events = [
            event("r", "01", team="a", agent="x"),
            event("g1", "01", parent_id="r", agent="g", kind="agent"),
            event("g1a", "01", parent_id="g1", dollars="1"),
            event("g2", "01", parent_id="r", agent="g", retry_of="g1"),
            event("g3", "01", parent_id="r", agent="g", retry_of="g2"),
            event("g4", "01", parent_id="r", agent="g"),
        ]
        (trace,) = r.understand_traces(events, file, CATALOGUE, None)
        self.assertEqual(sorted(span.id for span, _ in r.invocations(trace, file)), ["g1", "g4"])

    def test_spl_3_falls_back_and_ends_unallocated(self):
        bill = {"id": "vm", "pool": "p", "amount": "10", "period": "month", "from": "2026-10-01"}
        file = organisation(recurring=[bill], pools=[{"id": "p", "basis": "invocations"}])
        self.assertEqual(run([], file)["unallocated"], "10")
        self.assertEqual(exact(run([event("e", "01", team="a")], file)), 10)


class Whole(unittest.TestCase):
    FILE = organisation(
        organisation={"name": "Example", "currency": "USD", "time_zone": "Europe/Berlin"},
        policy={"min_tasks": 5, "min_days": 2},
        teams=[{"id": "a"}, {"id": "b"}, {"id": "c"}],
        agents=[
            {"id": "x", "billing": "task", "billing_by_team": {"c": "token"}},
            {"id": "y", "billing": "time", "owner": "b"},
            {"id": "g", "shared_pool": "p"},
            {"id": "h", "shared_pool": "q"},
        ],
        pools=[
            {"id": "p", "basis": "invocations", "group": "all", "method": "reciprocal"},
            {"id": "q", "basis": "tokens", "group": "all", "method": "reciprocal"},
        ],
        recurring=[{"id": "vm", "pool": "p", "amount": "31.00", "period": "month", "from": "2026-10-05"}],
    )

    def events(self, seed):
        dice, events = random.Random(seed), []
        for number in range(60):
            at = dt.datetime(2026, 9, 25, 12) + dt.timedelta(minutes=dice.randrange(40 * 1440))
            agent = dice.choice("xy")
            root = {"kind": "agent", "agent": agent, "task_type": "k", "status": dice.choice(["ok", "ok", "error"]), "duration_ms": 60000}
            if dice.random() < 0.9:
                root["team"] = dice.choice("abc")
            known = ["r"]
            events.append(event("r", at.isoformat(), trace_id=f"t{number}", **root))
            for child in range(dice.randrange(6)):
                fields = {"parent_id": dice.choice(known), "duration_ms": dice.randrange(50000)}
                if dice.random() < 0.4:
                    fields["agent"] = dice.choice("gh")
                usage = {"input": dice.randrange(900), "output": dice.randrange(300)}
                when = (at - dt.timedelta(seconds=dice.randrange(9))).isoformat()
                events.append(llm(f"c{child}", when, usage, trace_id=f"t{number}", **fields))
                known.append(f"c{child}")
        return events

    def test_clo_4_and_clo_5_under_any_order(self):
        for seed in range(4):
            events = self.events(seed)
            first = run(events, self.FILE)
            kinds = {line["kind"] for team in first["teams"].values() for line in team["lines"]}
            self.assertEqual(kinds, {"charge", "pool", "variance"})
            shuffled = copy.deepcopy(events) * 2
            random.Random(seed).shuffle(shuffled)
            self.assertEqual(run(shuffled, self.FILE), first)

    def test_compare_sees_every_change(self):
        expected = json.loads(json.dumps(run(self.events(1), self.FILE)))
        same = {team: dict(s, team=team, period="2026-10", currency="USD") for team, s in expected["teams"].items()}
        self.assertEqual(list(compare.compare(same, expected)), [])
        changed = copy.deepcopy(same)
        changed["a"]["lines"][0]["exact"] += "1"
        changed["b"]["lines"].pop()
        del changed["c"]
        found = " ".join(compare.compare(changed, expected))
        for words in ("a: kind=charge", "b: kind=", "missing", "c: no statement"):
            self.assertIn(words, found)

    def test_the_command_lines(self):
        here = pathlib.Path(__file__).resolve().parent
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder)
            place.joinpath("e.ndjson").write_text("\n".join(json.dumps(e) for e in self.events(2)) + "\n", encoding="utf-8")
            place.joinpath("o.toml").write_text('[organisation]\nname="E"\ntime_zone="UTC"\n[[teams]]\nid="a"\n', encoding="utf-8")
            place.joinpath("c").mkdir()
            given = ["--events", "e.ndjson", "--organisation", "o.toml", "--catalogue", "c", "--period", "2026-10", "--out", "out.json"]
            subprocess.run([sys.executable, here / "recompute.py", *given], cwd=place, check=True)
            out = json.loads(place.joinpath("out.json").read_text(encoding="utf-8"))
            statement = place / "s" / "2026-10" / "a" / "r1.json"
            statement.parent.mkdir(parents=True)
            body = dict(out["teams"]["a"], team="a", period="2026-10", currency="USD")
            for total, code in ((body["total"], 0), ("7", 1)):
                statement.write_text(json.dumps(dict(body, total=total)), encoding="utf-8")
                done = subprocess.run([sys.executable, here / "compare.py", "s", "out.json"], cwd=place, capture_output=True)
                self.assertEqual(done.returncode, code, done)


if __name__ == "__main__":
    unittest.main()
