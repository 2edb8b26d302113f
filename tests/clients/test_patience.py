"""How long a client waits for an answer: for as long as recoup may take to give one, and no longer than it was told."""

import http.server
import threading
import time
import unittest

from served import JsonHandler

from recoup_budgets import Budgets, Refused, amount

# Later than a client that asks a machine nearby would wait, and within the 5 s that recoup gives its budgets on AWS.
LATE_S = 2.3
BOUND_S = 0.3
# What recoup answers for a budget with `unavailable = "allow"` that it cannot read.
ALLOWED = {"decision": "allow", "reservation_id": None, "expires_at": None, "scopes": [],
           "decided_by": {"scope": "organisation", "tier": None, "reason": "unavailable"}}


class Slow:
    """A recoup that answers after so long, or never."""

    def __init__(self, late_s=None):
        closed = self.closed = threading.Event()

        class Handler(JsonHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                if not closed.wait(late_s):
                    self.answer(200, ALLOWED)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()


class Patience(unittest.TestCase):
    def ask(self, recoup, **patience):
        """What came of it, and after how long."""
        self.addCleanup(recoup.close)
        budgets = Budgets(recoup.url, "key", **patience)
        started = time.monotonic()
        try:
            outcome = budgets.authorize({"team": "support"}, amount("0.05"))
        except Refused as refused:
            outcome = refused
        return outcome, time.monotonic() - started

    def test_bud_5_an_answer_that_takes_its_time_is_the_one_that_counts(self):
        permit, waited_s = self.ask(Slow(LATE_S))
        self.assertEqual((permit.reservation_id, permit.reason), (None, "unavailable"))
        self.assertGreaterEqual(waited_s, LATE_S)

    def test_bud_5_who_never_answers_is_given_up_in_the_time_that_was_said(self):
        refused, waited_s = self.ask(Slow(), answer_s_max=BOUND_S)
        self.assertIsInstance(refused, Refused)
        self.assertEqual(refused.reason, "unavailable")
        self.assertTrue(BOUND_S <= waited_s < LATE_S, waited_s)


if __name__ == "__main__":
    unittest.main()
