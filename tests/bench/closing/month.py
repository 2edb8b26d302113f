"""The seeded month: its spans as Parquet for DuckDB, the same spans as events for recoup, and the organisation file.

Traces have 1 to 40 spans, about ten. Only the root names team and task type; 2 % of the roots name no team. A root is
an `agent` span that ends after all of its trace and says how the task ended. Parents are arbitrary earlier spans of the
trace, so a shared agent may stand below itself. Traces are made in order of their start, a slice at a time, so that
memory does not grow with the month; inside a slice deliveries are shuffled by up to two minutes and 0.5 % come twice.
One trace in 100 waits for somebody on its way, mostly for hours and at most for three days, so that traces lie on both
sides of midnights and of the end of the month.
"""

import calendar
import datetime
import os

import duckdb
import numpy
import pyarrow
import pyarrow.compute
import pyarrow.parquet

TEAMS = [f"team-{number:02}" for number in range(40)]
TASK_TYPES = [f"task-{number:02}" for number in range(25)]
AGENTS = [f"agent-{number:02}" for number in range(60)]
# Shared agent -> its pool.
SHARED = {"formatter": "formatting", "guardrail": "safety", "logger": "audit"}
UNATTRIBUTED_POOL = "untagged"
ALL_AGENTS = AGENTS + list(SHARED)
STATUSES = ["ok", "error", "killed"]
KINDS = ["agent", "llm", "tool"]
# (provider, model, dollars per million input, cache_read and output tokens). With up to six decimals here, and after
# the price change, a token costs a whole number of picodollars: no event is rounded, by either engine.
MODELS = [
    ("aurora", "aurora-large", "15", "1.5", "75"),
    ("aurora", "aurora-medium", "3", "0.3", "15"),
    ("aurora", "aurora-small", "0.8", "0.08", "4"),
    ("borealis", "borealis-5", "1.25", "0.125", "10"),
    ("borealis", "borealis-5-mini", "0.25", "0.025", "2"),
    ("borealis", "borealis-4", "2.5", "1.25", "10"),
    ("borealis", "borealis-4-mini", "0.15", "0.075", "0.6"),
    ("cirrus", "cirrus-pro", "1.25", "0.31", "10"),
    ("cirrus", "cirrus-flash", "0.3", "0.075", "2.5"),
    ("drift", "drift-70b", "0.72", "0.72", "0.72"),
    ("drift", "drift-large", "2", "2", "6"),
    ("ember", "ember-pro", "0.8", "0.2", "3.2"),
]
PICO_PER_MICRO = 1_000_000
SLICE_SPANS = 500_000
SPANS_PER_TRACE = 10
SPANS_PER_TRACE_MAX = 40
# Late traces lie on this day of the month, from 0.
LATE_DAY = 19
# Of the traces, this many wait on their way.
WAITING = 0.01
WAIT_S_MAX = 3 * 86_400
MILLISECOND_US = 1_000
DAY_US = 86_400_000_000

SCHEMA = pyarrow.schema([
    ("trace_id", pyarrow.string()), ("span_id", pyarrow.string()), ("parent_span_id", pyarrow.string()),
    ("team", pyarrow.string()), ("task_type", pyarrow.string()), ("status", pyarrow.string()),
    ("agent", pyarrow.string()), ("kind", pyarrow.string()), ("provider", pyarrow.string()),
    ("model", pyarrow.string()), ("input_tokens", pyarrow.int64()), ("cache_read_tokens", pyarrow.int64()),
    ("output_tokens", pyarrow.int64()), ("tool_cost", pyarrow.decimal128(18, 6)), ("used_at", pyarrow.timestamp("us")),
    ("duration_ms", pyarrow.int64()),
])


class Month:
    """A calendar month in UTC."""

    def __init__(self, name):
        year, month = (int(part) for part in name.split("-"))
        self.name = name
        self.first = datetime.date(year, month, 1)
        self.days = calendar.monthrange(year, month)[1]
        self.next = self.first + datetime.timedelta(self.days)
        self.price_change = self.first + datetime.timedelta(14)
        self.first_us = int(numpy.datetime64(self.first.isoformat(), "us").astype(numpy.int64))


def prices(month):
    """(provider, model, first day, day after the last or None, pico per input, cache_read and output token)."""
    rows = []
    for provider, model, *per_million in MODELS:
        micros = [int(round(float(price) * 1_000_000)) for price in per_million]
        rows.append((provider, model, month.first - datetime.timedelta(151), month.price_change, *micros))
        rows.append((provider, model, month.price_change, None, *(micro * 9 // 10 for micro in micros)))
        if any(micro % 10 for micro in micros):
            raise ValueError(f"a tenth off the price of {model} needs more than six decimals")
    return rows


def write_organisation(path, month, billing):
    """The organisation file. `billing` is a function from an agent to its billing model."""
    lines = ["[organisation]", 'name = "Closing benchmark"', 'currency = "USD"', 'time_zone = "UTC"', "", "[policy]",
             f'unattributed_pool = "{UNATTRIBUTED_POOL}"', ""]
    for team in TEAMS:
        lines += ["[[teams]]", f'id = "{team}"', 'mode = "chargeback"', ""]
    for pool in SHARED.values():
        lines += ["[[pools]]", f'id = "{pool}"', 'basis = "invocations"', 'method = "direct"', ""]
    lines += ["[[pools]]", f'id = "{UNATTRIBUTED_POOL}"', 'basis = "direct_cost"', 'method = "direct"', ""]
    for agent in AGENTS:
        lines += ["[[agents]]", f'id = "{agent}"', f'billing = "{billing(agent)}"', ""]
    for agent, pool in SHARED.items():
        lines += ["[[agents]]", f'id = "{agent}"', f'shared_pool = "{pool}"', ""]
    for provider, model, first, _, *micros in prices(month):
        per_million = [f"{micro // 1_000_000}.{micro % 1_000_000:06}" for micro in micros]
        names = ("input", "cache_read", "output")
        rates = ", ".join(f'{name} = "{price}"' for name, price in zip(names, per_million))
        lines += ["[[prices]]", f'provider = "{provider}"', f'model = "{model}"', f'from = "{first}"',
                  f"per_million = {{ {rates} }}", ""]
    with open(path, "w") as file:
        file.write("\n".join(lines))


def draw_sizes(rng, spans):
    """Spans of each trace, summing to `spans`."""
    sizes, total = [], 0
    while total < spans:
        drawn = numpy.minimum(rng.geometric(1 / SPANS_PER_TRACE, (spans - total) // SPANS_PER_TRACE + 1),
                              SPANS_PER_TRACE_MAX)
        sizes.append(drawn)
        total += int(drawn.sum())
    sizes = numpy.concatenate(sizes)
    ends = numpy.cumsum(sizes)
    count = int(numpy.searchsorted(ends, spans)) + 1
    sizes = sizes[:count]
    sizes[-1] -= int(ends[count - 1]) - spans
    return sizes


def hexadecimal(raw):
    """Rows of bytes as an array of lower-case hexadecimal strings."""
    digits = numpy.frombuffer(b"0123456789abcdef", numpy.uint8)
    count, width = raw.shape
    text = numpy.empty((count, 2 * width), numpy.uint8)
    text[:, 0::2], text[:, 1::2] = digits[raw >> 4], digits[raw & 15]
    offsets = numpy.arange(count + 1, dtype=numpy.int32) * (2 * width)
    return pyarrow.StringArray.from_buffers(count, pyarrow.py_buffer(offsets), pyarrow.py_buffer(text.tobytes()))


def names(codes, values, absent=None):
    """Codes as strings; null where `absent`."""
    codes = pyarrow.array(codes.astype(numpy.int32), mask=absent)
    return pyarrow.DictionaryArray.from_arrays(codes, pyarrow.array(values)).cast(pyarrow.string())


class Slice:
    """Traces that start close to each other, as arrays over their spans."""

    def __init__(self, rng, starts_us, sizes, waiting=WAITING):
        self.rng, traces = rng, len(sizes)
        count = int(sizes.sum())
        first = numpy.cumsum(sizes) - sizes
        self.trace = numpy.repeat(numpy.arange(traces), sizes)
        self.position = numpy.arange(count) - first[self.trace]
        self.is_root = self.position == 0
        parent = (rng.random(count) * self.position).astype(numpy.int64) + first[self.trace]
        self.trace_bytes = rng.integers(0, 256, (traces, 16), numpy.uint8)
        self.span_bytes = rng.integers(0, 256, (count, 8), numpy.uint8)
        self.parent_bytes = self.span_bytes[parent]
        self.team = rng.zipf(1.3, traces) % len(TEAMS)
        self.untagged = rng.random(traces) < 0.02
        self.task_type = rng.integers(0, len(TASK_TYPES), traces)
        self.status = rng.choice(len(STATUSES), traces, p=[0.95, 0.04, 0.01])
        self.spike = rng.random(traces) < 0.002
        self.draw_spans(count)
        self.start_us = starts_us[self.trace] + self.position * rng.integers(50_000, 900_000, count)
        after = self.position >= rng.integers(1, 8, traces)[self.trace]
        self.start_us += self.draw_waits(traces, waiting)[self.trace] * after
        self.draw_durations(first, starts_us)

    def draw_spans(self, count):
        """What each span is and uses."""
        rng, root = self.rng, self.is_root
        self.agent = draw_agents(rng, count)
        self.agent[root] = rng.integers(0, len(AGENTS), int(root.sum()))
        self.kind = numpy.where(root, 0, numpy.where(rng.random(count) < 0.62, 1, 2))
        self.draw_usage(count)

    def draw_usage(self, count):
        rng, llm = self.rng, self.kind == 1
        self.model = rng.integers(0, len(MODELS), count)
        prompt = numpy.minimum(rng.lognormal(7.6, 1.0, count), 180_000).astype(numpy.int64) + 50
        cached = (prompt * rng.beta(0.6, 1.2, count)).astype(numpy.int64)
        prompt = numpy.where(self.spike[self.trace], prompt * 20, prompt)
        output = numpy.minimum(rng.lognormal(5.4, 0.9, count), 32_000).astype(numpy.int64) + 5
        self.input, self.cached, self.output = (numpy.where(llm, some, 0) for some in (prompt - cached, cached, output))
        self.tool_micros = numpy.where(self.kind == 2, rng.integers(1, 60_000, count), 0)

    def draw_waits(self, traces, waiting):
        """How long each trace waits, microseconds; most do not."""
        waits_s = numpy.minimum(self.rng.lognormal(9.8, 1.2, traces), WAIT_S_MAX)
        return numpy.where(self.rng.random(traces) < waiting, waits_s * 1_000_000, 0).astype(numpy.int64)

    def draw_durations(self, first, starts_us):
        """A root ends a little after the last span of its trace."""
        rng, count = self.rng, len(self.trace)
        self.duration_ms = numpy.where(self.kind == 1, rng.lognormal(7.2, 0.7, count),
                                       rng.lognormal(5.5, 0.9, count)).astype(numpy.int64) + 1
        ends = numpy.where(self.is_root, 0, self.start_us + self.duration_ms * MILLISECOND_US)
        last = numpy.maximum(numpy.maximum.reduceat(ends, first), starts_us)
        whole = (last - starts_us) // MILLISECOND_US + rng.integers(1, 40, len(first))
        self.duration_ms[self.is_root] = whole
        self.used_us = self.start_us + self.duration_ms * MILLISECOND_US

    def deliveries(self):
        """Indices in order of arrival, some of them twice."""
        count = len(self.trace)
        again = self.rng.choice(count, count // 200, replace=False)
        which = numpy.concatenate([numpy.arange(count), again])
        arrival = self.used_us[which] + self.rng.integers(0, 120_000_000, len(which))
        return which[numpy.argsort(arrival, kind="stable")]

    def table(self, which):
        """The spans `which` as rows of the Parquet file."""
        trace, root, no_llm = self.trace[which], self.is_root[which], self.kind[which] != 1
        parents = hexadecimal(self.parent_bytes[which])
        parents = pyarrow.compute.if_else(pyarrow.array(root), pyarrow.scalar(None, pyarrow.string()), parents)
        return pyarrow.table([
            hexadecimal(self.trace_bytes[trace]), hexadecimal(self.span_bytes[which]), parents,
            names(self.team[trace], TEAMS, ~root | self.untagged[trace]),
            names(self.task_type[trace], TASK_TYPES, ~root), names(self.status[trace], STATUSES, ~root),
            names(self.agent[which], ALL_AGENTS), names(self.kind[which], KINDS),
            names(self.model[which], [model[0] for model in MODELS], no_llm),
            names(self.model[which], [model[1] for model in MODELS], no_llm), self.input[which], self.cached[which],
            self.output[which], micros(self.tool_micros[which]),
            pyarrow.array(self.used_us[which], pyarrow.timestamp("us")), self.duration_ms[which],
        ], schema=SCHEMA)


def draw_agents(rng, count):
    """One span in ten is of a shared agent."""
    own, shared = rng.integers(0, len(AGENTS), count), rng.integers(len(AGENTS), len(ALL_AGENTS), count)
    return numpy.where(rng.random(count) < 0.10, shared, own)


def micros(values):
    """Integers as decimals of 10^-6."""
    words = numpy.zeros((len(values), 2), numpy.int64)
    words[:, 0] = values
    buffers = [None, pyarrow.py_buffer(words.tobytes())]
    return pyarrow.Array.from_buffers(pyarrow.decimal128(18, 6), len(values), buffers)


class LateSpans(Slice):
    """Spans that hang below some of another slice's, `which`: their traces are known already."""

    def __init__(self, rng, above, which):
        count = len(which)
        self.rng, self.trace, self.is_root = rng, above.trace[which], numpy.zeros(count, bool)
        self.trace_bytes, self.spike = above.trace_bytes, above.spike
        self.team, self.untagged, self.task_type, self.status = (
            above.team, above.untagged, above.task_type, above.status)
        self.span_bytes, self.parent_bytes = rng.integers(0, 256, (count, 8), numpy.uint8), above.span_bytes[which]
        self.agent = draw_agents(rng, count)
        self.kind = numpy.where(rng.random(count) < 0.62, 1, 2)
        self.draw_usage(count)
        self.duration_ms = rng.lognormal(6.5, 0.8, count).astype(numpy.int64) + 1
        self.used_us = above.used_us[which] + self.duration_ms * MILLISECOND_US


def generate(folder, month, spans, seed):
    """Writes spans.parquet, late-traces.parquet and late-spans.parquet; returns how many traces and rows they have."""
    sizes_seed, starts_seed, late_seed, *seeds = numpy.random.SeedSequence(seed).spawn(3 + spans // SLICE_SPANS + 1)
    sizes = draw_sizes(numpy.random.default_rng(sizes_seed), spans)
    starts_us = numpy.sort(numpy.random.default_rng(starts_seed).integers(0, month.days * DAY_US, len(sizes)))
    starts_us += month.first_us
    # The slice of a trace is that of its first span.
    slice_of = (numpy.cumsum(sizes) - sizes) // SLICE_SPANS
    counts = {"traces": len(sizes), "spans": spans, "deliveries": 0, "late_spans": 0}
    with writer(folder, "spans") as all_spans, writer(folder, "late-spans") as late_spans:
        for number, slice_seed in enumerate(seeds):
            inside = slice_of == number
            if not inside.any():
                continue
            rng = numpy.random.default_rng(slice_seed)
            made = Slice(rng, starts_us[inside], sizes[inside])
            deliveries = made.deliveries()
            all_spans.write_table(made.table(deliveries))
            late = LateSpans(rng, made, rng.choice(len(made.trace), max(1, len(made.trace) // 100), replace=False))
            late_spans.write_table(late.table(numpy.arange(len(late.trace))))
            counts["deliveries"] += len(deliveries)
            counts["late_spans"] += len(late.trace)
    rng = numpy.random.default_rng(late_seed)
    with writer(folder, "late-traces") as late_traces:
        late_sizes = draw_sizes(rng, max(1, spans // 100))
        starts_us = month.first_us + LATE_DAY * DAY_US + numpy.sort(rng.integers(0, DAY_US * 9 // 10, len(late_sizes)))
        made = Slice(rng, starts_us, late_sizes, waiting=0)
        late_traces.write_table(made.table(numpy.arange(len(made.trace))))
        counts["late_traces"] = len(late_sizes)
    return counts


def writer(folder, name):
    return pyarrow.parquet.ParquetWriter(os.path.join(folder, f"{name}.parquet"), SCHEMA, compression="zstd")


# Every value is plain ASCII without quotes, so that the text of a line needs no escaping.
EVENT_LINES = """
copy (
    select '{"event_id":"' || span_id || '","trace_id":"' || trace_id || '"'
        || coalesce(',"parent_id":"' || parent_span_id || '"', '')
        || ',"used_at":"' || strftime(used_at, '%Y-%m-%dT%H:%M:%S.%fZ') || '","duration_ms":' || duration_ms
        || ',"kind":"' || kind || '","tags":{"agent":"' || agent || '"'
        || coalesce(',"task_type":"' || task_type || '"', '')
        || coalesce(',"team":"' || team || '"', '') || '}' || coalesce(',"status":"' || status || '"', '')
        || case kind
            when 'llm' then ',"provider":"' || provider || '","model":"' || model || '","usage":{"input":'
                || input_tokens || ',"cache_read":' || cache_read_tokens || ',"output":' || output_tokens || '}'
            when 'tool' then ',"cost":{"amount":"' || tool_cost || '","currency":"USD"}'
            else '' end
        || '}'
    from '%(parquet)s'
) to '%(ndjson)s' (format csv, header false, delimiter '\x1f', quote '\x1e', escape '\x1e')
"""


def write_events(folder, name):
    """NAME.parquet as NAME.ndjson, one event of recoup per line, in the same order."""
    path = os.path.join(folder, name)
    with duckdb.connect(config={"threads": 2, "temp_directory": folder}) as connection:
        sql = EVENT_LINES.replace("%(parquet)s", f"{path}.parquet").replace("%(ndjson)s", f"{path}.ndjson")
        connection.execute(sql)
    return f"{path}.ndjson"
