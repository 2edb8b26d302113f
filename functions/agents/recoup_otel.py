"""An agent under OpenTelemetry asks recoup once per task; each span that costs something becomes an event.

    provider.add_span_processor(RecoupSpanProcessor(budgets))
    with task(budgets, tracer, "resolve", {"team": "support", "agent": "triage", "task_type": "ticket"}, amount("0.50")):
        ...                      # spans in here carry the tags, also in other services: they travel as baggage

Raises `Refused` before the task begins. The root span ends the reservation of its task; whatever it did not need is free then.
"""

import contextlib
import datetime

from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import SpanProcessor

from recoup_budgets import Refused

# Tags of recoup by the names that they have as baggage and as attributes of spans.
TAGS = {"team": "team.id", "agent": "agent.id", "task_type": "task.type", "task_id": "task.id", "user": "user.id",
        "project": "project.id"}
PRIORITY = "priority"
RESERVATION = "recoup.reservation_id"
STATUS = "recoup.status"
LLM_OPERATIONS = {"chat", "text_completion", "generate_content", "embeddings"}
TOOL_OPERATIONS = {"execute_tool", "retrieval"}


class RecoupSpanProcessor(SpanProcessor):
    """Copies the tags from the baggage to each span, and reports each span when it ends."""

    def __init__(self, budgets):
        self.budgets = budgets

    def on_start(self, span, parent_context=None):
        for name in (*TAGS.values(), PRIORITY):
            value = baggage.get_baggage(name, parent_context)
            if value is not None and name not in (span.attributes or {}):
                span.set_attribute(name, str(value))

    def on_end(self, span):
        self.budgets.report(event_of(span))

    def shutdown(self):
        self.budgets.flush()

    def force_flush(self, timeout_millis=30_000):
        return self.budgets.flush(timeout_millis / 1000)


def event_of(span):
    """A span as an event. Spans that cost nothing are kept, as they say who called whom."""
    attributes = span.attributes or {}
    operation = attributes.get("gen_ai.operation.name")
    kind = "llm" if operation in LLM_OPERATIONS else "tool" if operation in TOOL_OPERATIONS else "orchestration"
    if span.parent is None or operation in ("invoke_agent", "create_agent"):
        kind = "agent"
    usage = {name: value for name, value in attributes.items() if name.startswith("gen_ai.usage.")}
    event = {
        "event_id": trace.format_span_id(span.context.span_id), "trace_id": trace.format_trace_id(span.context.trace_id),
        "parent_id": span.parent and trace.format_span_id(span.parent.span_id),
        "used_at": _utc(span.end_time), "duration_ms": (span.end_time - span.start_time) // 1_000_000, "kind": kind,
        "tags": {tag: attributes[name] for tag, name in TAGS.items() if name in attributes},
        "priority": attributes.get(PRIORITY), "status": attributes.get(STATUS),
        "provider": attributes.get("gen_ai.provider.name"),
        "model": attributes.get("gen_ai.response.model") or attributes.get("gen_ai.request.model"),
        "usage_native": usage or None, "response_id": attributes.get("gen_ai.response.id"),
        "reservation_id": attributes.get(RESERVATION),
    }
    return {name: value for name, value in event.items() if value is not None}


@contextlib.contextmanager
def task(budgets, tracer, name, tags, estimate, *, critical=False, ttl_s=None):
    """A task with its root span; a generator of other agents' work needs nothing but the baggage."""
    tags = dict(tags)
    carried = {TAGS[tag]: value for tag, value in tags.items()}
    if critical:
        carried[PRIORITY] = "critical"
    within = context.get_current()
    for entry, value in carried.items():
        within = baggage.set_baggage(entry, value, within)
    token = context.attach(within)
    try:
        permit = budgets.authorize(tags, estimate, critical=critical, ttl_s=ttl_s)
        with tracer.start_as_current_span(name) as root:
            if permit.reservation_id:
                root.set_attribute(RESERVATION, permit.reservation_id)
            root.set_attribute(STATUS, "error")
            try:
                yield permit
                root.set_attribute(STATUS, "ok")
            except Refused:
                root.set_attribute(STATUS, "killed")
                raise
    finally:
        context.detach(token)


def _utc(nanos):
    # Whole seconds apart from their fraction: a float has not enough digits for nanoseconds.
    seconds, fraction = divmod(nanos, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
