"""Asks recoup before work begins, and tells it what the work has cost. Only the standard library.

    budgets = Budgets("https://recoup.example.com", key)
    permit = budgets.authorize({"team": "support", "agent": "triage"}, estimate=amount("0.05"))   # or Refused
    ... the work ...
    budgets.report({..., "reservation_id": permit.reservation_id})                                 # or budgets.release(permit)

Where recoup cannot answer, work that is not critical is refused and critical work goes on (BUD-5).
"""

import collections
import dataclasses
import http.client
import json
import logging
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

log = logging.getLogger("recoup")

# Longer than recoup waits on AWS before it answers without its books: 5 s for the budgets, 1 s for the key.
ANSWER_S_MAX = 7.0
REPORTS_WAITING_MAX = 10_000
REPORTS_PER_REQUEST_MAX = 100
PAUSE_S, PAUSE_S_MAX = 0.2, 30.0


class Refused(Exception):
    """The work must not begin. `reason` is recoup's, or `unavailable`; `scopes` says what is left where."""

    # For gateways: a refusal is final, and no client repeats a 402 by itself.
    status_code = 402

    def __init__(self, reason, scope=None, scopes=()):
        self.reason, self.scope, self.scopes = reason, scope, list(scopes)
        where = f" for {scope}" if scope else ""
        super().__init__(f"recoup refused the work{where}: {reason}")


class Misused(Exception):
    """recoup answered that the request itself is wrong: a bad key, an unknown price. `kind` is the problem's type."""

    def __init__(self, status, problem):
        self.status, self.kind = status, str(problem.get("type", "")).rpartition(":")[2].rpartition("/")[2]
        super().__init__(f"{status} {self.kind}: {problem.get('detail', '')}")


class Unavailable(Exception):
    """No answer, or none that says anything about the request."""


@dataclasses.dataclass(frozen=True)
class Permit:
    """The work may begin. Without a reservation there was nothing to reserve, or recoup was not there to do it."""

    reservation_id: str | None = None
    expires_at: str | None = None
    reason: str | None = None
    scopes: tuple = ()


def amount(text, currency="USD"):
    """An estimate in money; a decimal as text, as floats are not exact."""
    return {"amount": text, "currency": currency}


def tokens(provider, model, input_tokens, max_output_tokens, service_tier=None):
    """An estimate that recoup prices. It is an upper bound if both counts are, and the tier is the one that is billed."""
    estimate = {"provider": provider, "model": model, "input_tokens": input_tokens, "max_output_tokens": max_output_tokens}
    return estimate if service_tier is None else estimate | {"service_tier": service_tier}


class Budgets:
    """One recoup, with one key of the role `ingest`. `answer_s_max` is how long an answer is waited for: longer than recoup waits
    for its books. For a budget that it cannot read it answers as that budget is set (BUD-5); who waits for less never hears it."""

    def __init__(self, url, key, answer_s_max=ANSWER_S_MAX):
        self.url, self.key, self.answer_s_max = url.rstrip("/"), key, answer_s_max
        self._waiting = collections.deque()
        self._changed = threading.Condition()
        self._sending = 0
        self._reporter = None

    def authorize(self, tags, estimate=None, *, trace_id=None, critical=False, ttl_s=None, reserve=True):
        """A permit, or `Refused`."""
        request = {"tags": tags, "estimate": estimate, "trace_id": trace_id, "ttl_s": ttl_s}
        request = {name: value for name, value in request.items() if value is not None}
        if critical:
            request["priority"] = "critical"
        if not reserve:
            request["reserve"] = False
        try:
            answer = self._send("POST", "/v1/authorize", request)
        except Unavailable as error:
            log.warning("recoup did not answer (%s); critical work goes on, other work does not", error)
            if critical:
                return Permit(reason="unavailable")
            raise Refused("unavailable") from error
        decided = answer.get("decided_by") or {}
        if answer["decision"] != "allow":
            raise Refused(decided.get("reason", "denied"), decided.get("scope"), answer["scopes"])
        return Permit(answer["reservation_id"], answer["expires_at"], decided.get("reason"), tuple(answer["scopes"]))

    def release(self, permit):
        """Gives back what a permit holds. Where that fails it ends by itself when it expires."""
        if permit.reservation_id is None:
            return
        try:
            self._send("DELETE", f"/v1/reservations/{urllib.parse.quote(permit.reservation_id)}")
        except (Unavailable, Misused) as error:
            log.warning("a reservation stays until it expires: %s", error)

    def report(self, event):
        """Tells what something has cost, in the background: sent until recoup has it. Twice is as good as once."""
        with self._changed:
            if len(self._waiting) >= REPORTS_WAITING_MAX:
                log.error("too many reports wait; the oldest is lost: %s", self._waiting.popleft())
            self._waiting.append(event)
            if self._reporter is None:
                self._reporter = threading.Thread(target=self._keep_reporting, name="recoup-reports", daemon=True)
                self._reporter.start()
            self._changed.notify_all()

    def flush(self, patience_s=10.0):
        """Waits until recoup has every report; whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._sending, patience_s)

    def _keep_reporting(self):
        pause_s = PAUSE_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                size = min(len(self._waiting), REPORTS_PER_REQUEST_MAX)
                events = [self._waiting.popleft() for _ in range(size)]
                self._sending = size
            unsent = self._try_to_report(events)
            with self._changed:
                self._waiting.extendleft(reversed(unsent))
                self._sending = 0
                self._changed.notify_all()
            if unsent:
                time.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_S_MAX) if unsent else PAUSE_S

    def _try_to_report(self, events):
        """Sends some; gives back those that have to be sent again."""
        try:
            receipt = self._send("POST", "/v1/events?results=errors", events)
        except Unavailable as error:
            log.warning("%d reports wait for recoup: %s", len(events), error)
            return events
        except Misused as error:
            log.error("recoup does not take these reports (%s): %s", error, events)
            return []
        for result in receipt["results"]:
            if result["status"] in ("rejected", "conflict"):
                log.error("recoup did not take a report: %s", result)
        return []

    def _send(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self.answer_s_max) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            # Too many requests and failures of ours say nothing about the request.
            if error.code == 429 or error.code >= 500:
                raise Unavailable(f"status {error.code}") from error
            raise Misused(error.code, _problem(text)) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(str(error) or type(error).__name__) from error


def _problem(text):
    try:
        problem = json.loads(text)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
