"""An agent under the OpenTelemetry SDK that asks once per task, against the real binary."""

import unittest

from opentelemetry import propagate
from opentelemetry.sdk.trace import TracerProvider
from served import Served

from recoup_budgets import Refused, amount
from recoup_otel import RecoupSpanProcessor, task

TAGS = {"team": "support", "agent": "triage", "task_type": "ticket", "task_id": "T-1", "user": "ada@example.com"}


class Otel(Served):
    def setUp(self):
        super().setUp()
        self.asked = 0
        authorize = self.budgets.authorize

        def counted(*arguments, **named):
            self.asked += 1
            return authorize(*arguments, **named)

        self.budgets.authorize = counted
        provider = TracerProvider()
        provider.add_span_processor(RecoupSpanProcessor(self.budgets))
        self.addCleanup(provider.shutdown)
        self.tracer = provider.get_tracer("agent")

    def chat(self, **more):
        """A model call as instrumentations record it: 0.0009."""
        with self.tracer.start_as_current_span("chat example-chat", **more) as span:
            span.set_attributes({
                "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "example-chat",
                "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 40,
            })
            return format(span.get_span_context().trace_id, "032x")

    def test_a_task_asks_once_and_each_of_its_spans_is_billed_to_its_tags(self):
        with task(self.budgets, self.tracer, "resolve", TAGS, amount("0.05")):
            self.chat()
            self.assertEqual(self.stands()[1], "0.05")
            trace_id = self.chat()
        self.assertTrue(self.budgets.flush())
        self.assertEqual(self.asked, 1)
        self.assertEqual(self.stands(), ("0.0018", "0"), "the root ended the reservation")
        seen = self.get(f"/v1/traces/{trace_id}")
        self.assertEqual((seen["cost"], seen["payer"]["team"], len(seen["spans"])), ("0.0018", "support", 3))
        self.assertEqual({span["agent"] for span in seen["spans"]}, {"triage"})

    def test_another_service_knows_the_tags_from_the_baggage(self):
        with task(self.budgets, self.tracer, "resolve", TAGS, amount("0.05")):
            headers = {}
            propagate.inject(headers)
        self.assertIn("team.id=support", headers["baggage"])
        self.chat(context=propagate.extract(headers))
        self.assertTrue(self.budgets.flush())
        self.assertEqual(self.stands(), ("0.0009", "0"))

    def test_at_the_limit_a_task_does_not_begin(self):
        self.spend("before", 100, {"team": "support"})
        with self.assertRaises(Refused) as refused:
            with task(self.budgets, self.tracer, "resolve", TAGS, amount("0.05")):
                self.fail("it began")
        self.assertEqual((refused.exception.reason, refused.exception.scope), ("budget-exceeded", "team:support"))
        left = next(row for row in refused.exception.scopes if row["scope"] == "team:support")["remaining"]
        self.assertEqual(left, "0.01")
        self.assertTrue(self.budgets.flush())
        self.assertEqual(self.stands(), ("0.09", "0"))

    def test_a_task_over_its_cap_is_killed_until_somebody_lets_it_go_on(self):
        research = {**TAGS, "task_type": "research"}
        with self.assertRaises(Refused) as refused:
            with task(self.budgets, self.tracer, "search", research, amount("0.05")):
                self.fail("it began")
        self.assertEqual((refused.exception.reason, refused.exception.scope), ("task-cap", "task:T-1"))
        with self.assertRaises(Refused) as refused:
            with task(self.budgets, self.tracer, "search", research, amount("0.01")):
                self.fail("it began")
        self.assertEqual(refused.exception.reason, "task-killed")
        self.post("/v1/reviews/T-1/decision", {"state": "resumed", "note": "needed"})
        with task(self.budgets, self.tracer, "search", research, amount("0.01")):
            pass

    def test_work_that_was_refused_inside_ends_its_task_as_killed(self):
        with self.assertRaises(Refused):
            with task(self.budgets, self.tracer, "resolve", TAGS, amount("0.05")):
                trace_id = self.chat()
                self.budgets.authorize({"team": "support"}, amount("9"))
        self.assertTrue(self.budgets.flush())
        root = next(span for span in self.get(f"/v1/traces/{trace_id}")["spans"] if span["parent_id"] is None)
        self.assertEqual((root["status"], self.stands()), ("killed", ("0.0009", "0")))

    def test_without_recoup_only_critical_tasks_begin(self):
        self.go_away()
        with self.assertRaises(Refused) as refused:
            with task(self.budgets, self.tracer, "resolve", TAGS, amount("0.05")):
                self.fail("it began")
        self.assertEqual(refused.exception.reason, "unavailable")
        with task(self.budgets, self.tracer, "resolve", {**TAGS, "agent": "pager"}, amount("0.05"), critical=True) as permit:
            self.chat()
        self.assertEqual((permit.reservation_id, permit.reason), (None, "unavailable"))
        self.come_back()
        self.until(lambda: self.stands() == ("0.0009", "0"))


if __name__ == "__main__":
    unittest.main()
