"""A recoup with budgets for a test: the real binary on a folder of its own, which can go away and come back."""

import http.server
import json
import os
import pathlib
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "functions" / "agents"), str(ROOT / "tests" / "contracts")]
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
import with_server  # noqa: E402
from recoup_budgets import Budgets  # noqa: E402

BINARY = os.environ.get("RECOUP_BIN", str(ROOT / "target" / "debug" / "recoup"))
PATIENCE_S = 20

ORGANISATION = """\
[organisation]
name = "Clients"
currency = "USD"
time_zone = "Europe/Berlin"
[[teams]]
id = "support"
[[teams]]
id = "marketing"
[[agents]]
id = "triage"
owner = "support"
[[agents]]
id = "pager"
owner = "support"
critical = true
[[task_types]]
id = "research"
cap = "0.02"
[[prices]]
provider = "openai"
model = "example-chat"
from = "2025-01-01"
per_million = { input = "3.00", output = "15.00" }
[[budgets]]
scope = "organisation"
limit = "10"
[[budgets]]
scope = "team:support"
limit = "0.10"
"""
# A call of the provider below: 100 tokens in, 40 out.
CALL_COST = "0.0009"


class Served(unittest.TestCase):
    """A fresh server for each test."""

    organisation = ORGANISATION

    def environment(self):
        """What the server's environment has beyond ours."""
        return {}

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="recoup-")
        self.addCleanup(folder.cleanup)
        self.data, organisation = os.path.join(folder.name, "data"), pathlib.Path(folder.name, "recoup.toml")
        organisation.write_text(self.organisation, encoding="utf-8")
        with_server.run(BINARY, self.data, "apply", str(organisation))
        key = ("--json", "keys", "create", "--role")
        self.key = json.loads(with_server.run(BINARY, self.data, *key, "ingest"))["key"]
        self.admin = json.loads(with_server.run(BINARY, self.data, *key, "admin"))["key"]
        self.log = open(os.path.join(folder.name, "server.log"), "ab")
        self.addCleanup(self.log.close)
        self.server = None
        self.addCleanup(self.go_away)
        self.server, self.url = with_server.start(BINARY, self.data, self.log, self.environment())
        self.assertIsNotNone(self.server, "the server did not start")
        self.budgets = Budgets(self.url, self.key)

    def go_away(self):
        if self.server is not None:
            with_server.stop(self.server)
            self.server = None

    def come_back(self):
        """At the same address."""
        address = urllib.parse.urlsplit(self.url).netloc
        command = [BINARY, "--data", self.data, "serve", "--listen", address]
        self.server = with_server.subprocess.Popen(command, env={**with_server.environment(), **self.environment()}, stdout=self.log, stderr=self.log)
        self.until(lambda: with_server.answers(self.url))

    def until(self, is_so):
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            self.assertLess(time.monotonic(), deadline, "it does not come to that")
            time.sleep(0.02)

    def get(self, path):
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.admin}"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def post(self, path, body):
        headers = {"Authorization": f"Bearer {self.admin}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def stands(self, scope="team:support"):
        """What is posted and reserved of a budget."""
        row = next(row for row in self.get("/v1/budgets")["rows"] if row["scope"] == scope)
        return row["posted"], row["reserved"]

    def spend(self, event_id, calls, tags):
        """As if somebody had spent that much without asking."""
        used_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event = {"event_id": event_id, "used_at": used_at, "kind": "llm", "provider": "openai", "model": "example-chat",
                 "usage": {"input": 100 * calls, "output": 40 * calls}, "tags": tags}
        self.assertEqual(self.post("/v1/events", event)["accepted"], 1)


class JsonHandler(http.server.BaseHTTPRequestHandler):
    """Answers JSON, and keeps quiet about it."""

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Provider:
    """A provider on this machine that speaks OpenAI's chat completions, and counts who calls."""

    def __init__(self):
        outer = self

        class Handler(JsonHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.calls += 1
                if outer.failures:
                    outer.failures -= 1
                    return self.answer(500, {"error": {"message": "down", "type": "server_error"}})
                self.answer(200, outer.completion(request))

        self.calls = self.failures = 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def completion(self, request):
        return {
            "id": f"chatcmpl-{self.calls}-{time.monotonic_ns()}", "object": "chat.completion", "created": int(time.time()),
            "model": request["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140},
        }

    def close(self):
        self.server.shutdown()
        self.server.server_close()
