"""A runtime that obeys kill messages: from a queue behind SNS, and on one machine."""

import json
import threading
import unittest

from served import Served

from recoup_kill import KillSwitch, local_messages, read_message, sqs_messages

SUPPORT = {"team": "support", "agent": "triage", "task_id": "T-1"}


def kill(target, reason="kill-switch"):
    """A message as recoup publishes it."""
    return {"kind": "kill", "severity": "critical", "version": 1, "id": "kill-1", "target": target, "reason": reason,
            "critical_may_continue": True, "at": "2026-11-28T20:00:00Z"}


def enveloped(message):
    """The same as SNS delivers it to a queue."""
    return json.dumps({"Type": "Notification", "Message": json.dumps(message),
                       "MessageAttributes": {"kind": {"Type": "String", "Value": message["kind"]}}})


class Queue:
    """What the AWS SDK says of a queue; it ends the reader once it is empty."""

    def __init__(self, *bodies):
        self.bodies, self.deleted, self.failures = list(bodies), [], 1

    def receive_message(self, QueueUrl, WaitTimeSeconds, MaxNumberOfMessages):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the network is away")
        if not self.bodies:
            raise KeyboardInterrupt
        return {"Messages": [{"Body": self.bodies.pop(0), "ReceiptHandle": str(len(self.bodies))}]}

    def delete_message(self, QueueUrl, ReceiptHandle):
        self.deleted.append(ReceiptHandle)


class Obeying(unittest.TestCase):
    def test_what_counts_for_the_target_stops_and_nothing_else(self):
        works = {"own": SUPPORT, "other agent": {**SUPPORT, "agent": "writer"}, "other team": {"team": "marketing"}}
        for target, expected in [("organisation", {"own", "other agent", "other team"}), ("team:support", {"own", "other agent"}),
                                 ("agent:writer", {"other agent"}), ("task:T-1", {"own", "other agent"}), ("project:x", set())]:
            switch, stopped = KillSwitch(), set()
            with self.subTest(target=target):
                contexts = [switch.running(tags, lambda _, name=name: stopped.add(name)) for name, tags in works.items()]
                for one in contexts:
                    one.__enter__()
                self.assertEqual(switch.obey(kill(target)), len(expected))
                self.assertEqual(switch.obey(kill(target)), 0, "once")
                self.assertEqual(stopped, expected)
                for one in contexts:
                    one.__exit__(None, None, None)
                self.assertEqual(switch.obey(kill("organisation")), 0, "what has ended is not stopped")

    def test_critical_work_goes_on_but_no_task_beyond_its_cap(self):
        switch, stopped = KillSwitch(), []
        with switch.running(SUPPORT, stopped.append, critical=True):
            self.assertEqual(switch.obey(kill("team:support")), 0)
            self.assertEqual(switch.obey(kill("task:T-1", "task-cap")), 1)

    def test_a_queue_behind_sns_is_read_and_emptied(self):
        switch, stopped = KillSwitch(), []
        queue = Queue(enveloped(kill("team:marketing")), "no JSON", enveloped({"kind": "budget-tier"}), json.dumps(kill("team:support")))
        with switch.running(SUPPORT, stopped.append), self.assertRaises(KeyboardInterrupt):
            switch.obey_all(sqs_messages(queue, "url"))
        self.assertEqual([message["target"] for message in stopped], ["team:support"])
        self.assertEqual(len(queue.deleted), 4)

    def test_what_is_no_kill_message_is_none(self):
        for body in ["", "1", "[]", "{}", json.dumps({"kind": "kill"}), json.dumps({"Type": "Notification"}), enveloped({"kind": "x"})]:
            self.assertIsNone(read_message(body), body)


class OnOneMachine(Served):
    def test_work_stops_when_the_kill_switch_closes(self):
        switch, stopped = KillSwitch(), threading.Event()
        switch.obey_in_background(local_messages(self.budgets, [{"team": "marketing"}, {"team": "support"}], every_s=0.02))
        with switch.running(SUPPORT, lambda _: stopped.set()):
            self.spend("some", 50, {"team": "support"})
            self.assertFalse(stopped.wait(0.2))
            self.spend("the rest", 62, {"team": "support"})
            self.assertTrue(stopped.wait(10))


if __name__ == "__main__":
    unittest.main()
