"""LiteLLM's own proxy process with recoup's callback, against the real binary and a provider on this machine."""

import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from served import CALL_COST, PATIENCE_S, ROOT, Provider, Served, with_server

PROXY = os.environ.get("LITELLM_PROXY", str(ROOT / "target" / "venv-proxy" / "bin" / "litellm"))
START_S = 90
MASTER_KEY = "sk-of-this-test"
CALLBACK = """\
import os
from recoup_budgets import Budgets
from recoup_litellm import RecoupBudgets

budgets = RecoupBudgets(Budgets(os.environ["BUDGETS_URL"], os.environ["BUDGETS_KEY"]))
"""
SUPPORT = {"team": "support", "agent": "triage"}


class Proxy(Served):
    def setUp(self):
        super().setUp()
        self.provider = Provider()
        self.addCleanup(self.provider.close)
        folder = tempfile.TemporaryDirectory(prefix="litellm-")
        self.addCleanup(folder.cleanup)
        parameters = {"model": "openai/example-chat", "api_base": self.provider.url, "api_key": "k", "max_retries": 0}
        config = {
            "model_list": [{"model_name": "chat", "litellm_params": parameters}],
            "litellm_settings": {"callbacks": ["recoup_callback.budgets"], "num_retries": 0},
            "general_settings": {"master_key": MASTER_KEY},
        }
        path = pathlib.Path(folder.name)
        # JSON is YAML as well.
        (path / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
        (path / "recoup_callback.py").write_text(CALLBACK, encoding="utf-8")
        self.start(path)

    def start(self, folder):
        port = with_server.free_port()
        self.proxy_url = f"http://127.0.0.1:{port}"
        environment = {**with_server.environment(), "PYTHONPATH": str(ROOT / "functions" / "agents"),
                       "BUDGETS_URL": self.url, "BUDGETS_KEY": self.key}
        command = [PROXY, "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
        self.proxy_log = open(folder / "proxy.log", "ab+")
        self.addCleanup(self.proxy_log.close)
        self.proxy = subprocess.Popen(command, env=environment, cwd=folder, stdin=subprocess.DEVNULL,
                                      stdout=self.proxy_log, stderr=subprocess.STDOUT)
        self.addCleanup(with_server.stop, self.proxy)
        deadline = time.monotonic() + START_S
        while not with_server.answers(self.proxy_url, "/health/liveliness"):
            if self.proxy.poll() is not None or time.monotonic() > deadline:
                self.proxy_log.seek(0)
                self.fail(f"the proxy did not start\n{self.proxy_log.read().decode(errors='replace')}")
            time.sleep(0.2)

    def call(self, tags=SUPPORT):
        """A call as any client of OpenAI sends it: the status and the answer."""
        body = {"model": "chat", "messages": [{"role": "user", "content": "Hello, what can you do for me?"}], "max_tokens": 1000,
                "metadata": {"recoup": dict(tags)}}
        headers = {"Authorization": f"Bearer {MASTER_KEY}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.proxy_url}/v1/chat/completions", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def test_a_call_within_its_budget_passes_and_one_beyond_it_is_refused_in_our_words(self):
        status, answer = self.call()
        self.assertEqual((status, self.provider.calls), (200, 1), answer)
        self.assertEqual(answer["choices"][0]["message"]["content"], "hello")
        # Its event names the reservation and settles it.
        self.until(lambda: self.stands() == (CALL_COST, "0"))

        # There is room left, and not as much as a call may cost.
        self.spend("before", 98, SUPPORT)
        status, refused = self.call()
        self.assertEqual((status, self.provider.calls), (402, 1), refused)
        self.assertIn("recoup refused the work for team:support: budget-exceeded", refused["error"]["message"])
        self.assertEqual(self.stands(), ("0.0891", "0"))

        # At the limit the proxy refuses before it looks for a deployment; others go on.
        self.spend("more", 13, SUPPORT)
        status, refused = self.call()
        self.assertEqual((status, self.provider.calls), (402, 1), refused)
        self.assertIn("recoup refused the work for team:support: kill-switch", refused["error"]["message"])
        status, answer = self.call({"team": "marketing", "agent": "triage"})
        self.assertEqual((status, self.provider.calls), (200, 2), answer)


if __name__ == "__main__":
    unittest.main()
