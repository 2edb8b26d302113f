"""A runtime that obeys `kill` messages: running work that counts for the target and is not critical is stopped.

    switch = KillSwitch()
    switch.obey_in_background(sqs_messages(boto3.client("sqs"), queue_url))          # on AWS
    switch.obey_in_background(local_messages(budgets, [{"team": "support"}]))        # on one machine
    with switch.running({"team": "support", "agent": "triage"}, stop=cancel):
        ...

A message stops what runs when it comes. It is no state: whether work may begin is what `/v1/authorize` says each time.
"""

import contextlib
import itertools
import json
import logging
import threading
import time

from recoup_budgets import Misused, Refused

log = logging.getLogger("recoup")

LONG_POLL_S = 20
MESSAGES_MAX = 10
LOOK_EVERY_S = 5.0
PAUSE_S = 1.0
# The tag by which work counts for a target, by the target's first part.
TARGETS = {"team": "team", "project": "project", "agent": "agent", "user": "user", "task": "task_id"}
KILL_REASONS = {"kill-switch", "task-killed"}


class KillSwitch:
    """What runs in this process, and how it is stopped."""

    def __init__(self):
        self._lock = threading.Lock()
        self._running = {}
        self._numbers = itertools.count()

    @contextlib.contextmanager
    def running(self, tags, stop, critical=False):
        """Work that is stopped by a call of `stop(message)`, from another thread, when it has to."""
        with self._lock:
            number = next(self._numbers)
            self._running[number] = (dict(tags), stop, critical)
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(number, None)

    def obey(self, message):
        """Stops what a message says; how much that was. The same message again finds nothing left to stop."""
        with self._lock:
            hit = {number: work for number, work in self._running.items() if _is_hit(message, work)}
            for number in hit:
                del self._running[number]
        for tags, stop, _ in hit.values():
            log.warning("stopping %s: %s for %s", tags, message.get("reason"), message["target"])
            stop(message)
        return len(hit)

    def obey_all(self, messages):
        """Obeys messages as they come, for as long as there are any."""
        for message, done in messages:
            self.obey(message)
            done()

    def obey_in_background(self, messages):
        """The same on a thread of its own."""
        thread = threading.Thread(target=self.obey_all, args=(messages,), name="recoup-kill", daemon=True)
        thread.start()
        return thread


def _is_hit(message, work):
    tags, _, critical = work
    if critical and message.get("critical_may_continue", True) and message.get("reason") != "task-cap":
        return False
    kind, _, name = message["target"].partition(":")
    return kind == "organisation" or (kind in TARGETS and tags.get(TARGETS[kind]) == name)


def sqs_messages(sqs, queue_url):
    """Messages of a queue that is subscribed to recoup's topic with the filter policy `{"kind": ["kill"]}`. One is deleted
    once it was obeyed: a process that dies before leaves it to the next."""
    while True:
        try:
            answer = sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=LONG_POLL_S, MaxNumberOfMessages=MESSAGES_MAX)
        except Exception as error:  # whatever the SDK raises: the switch has to outlive it
            log.warning("the queue of kill messages cannot be read: %s", error)
            time.sleep(PAUSE_S)
            continue
        for raw in answer.get("Messages", []):
            def done(receipt=raw["ReceiptHandle"]):
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=receipt)
            message = read_message(raw["Body"])
            if message is None:
                done()
            else:
                yield message, done


def read_message(body):
    """The message in the body of an SQS message, with or without SNS's envelope; `None`: it is no kill message."""
    try:
        message = json.loads(body)
        if isinstance(message, dict) and message.get("Type") == "Notification":
            message = json.loads(message["Message"])
    except (ValueError, KeyError, TypeError):
        return None
    is_kill = isinstance(message, dict) and message.get("kind") == "kill" and isinstance(message.get("target"), str)
    return message if is_kill else None


def local_messages(budgets, watched, every_s=LOOK_EVERY_S):
    """The same on one machine, where there is no topic: asks for the state of each set of tags, without reserving anything,
    and tells of a kill switch when it closes."""
    closed = set()
    while True:
        for number, tags in enumerate(watched):
            try:
                budgets.authorize(tags, reserve=False)
                closed.discard(number)
            except Refused as refused:
                if refused.reason in KILL_REASONS and number not in closed:
                    closed.add(number)
                    reason = "task-cap" if refused.reason == "task-killed" else refused.reason
                    yield {"kind": "kill", "target": refused.scope, "reason": reason}, lambda: None
            except Misused as error:
                log.error("recoup cannot be asked for its kill switches: %s", error)
        time.sleep(every_s)
