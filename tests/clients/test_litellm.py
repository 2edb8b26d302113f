"""LiteLLM with recoup's callback, against the real binary and a provider on this machine."""

import asyncio
import threading
import unittest

from served import CALL_COST, Provider, Served

import litellm
from recoup_budgets import Refused
from recoup_litellm import RecoupBudgets

SUPPORT = {"team": "support", "agent": "triage"}
PAGER = {"team": "support", "agent": "pager", "priority": "critical"}
# One loop for all tests, as LiteLLM keeps tasks of its own on the first that it sees.
LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()
MESSAGES = [{"role": "user", "content": "Hello, what can you do for me?"}]


class LiteLlm(Served):
    def setUp(self):
        super().setUp()
        self.provider = Provider()
        self.addCleanup(self.provider.close)
        self.callback = RecoupBudgets(self.budgets)
        self.install(self.callback)
        self.addCleanup(litellm.logging_callback_manager._reset_all_callbacks)

    def install(self, callback):
        # LiteLLM copies callbacks into further lists, where an instance of the same class stays.
        litellm.logging_callback_manager._reset_all_callbacks()
        litellm.callbacks = [callback]

    async def call(self, tags=None, **more):
        arguments = {"model": "openai/example-chat", "api_base": self.provider.url, "api_key": "k", "messages": MESSAGES,
                     "max_tokens": 1000, "max_retries": 0, "metadata": {"recoup": dict(tags or SUPPORT)}, **more}
        return await litellm.acompletion(**arguments)

    def run_all(self, *calls):
        """Runs calls at the same time; what each came to. LiteLLM calls back later, on the same loop."""
        async def gathered():
            return await asyncio.gather(*calls, return_exceptions=True)

        return asyncio.run_coroutine_threadsafe(gathered(), LOOP).result()

    def test_a_call_is_billed_and_settles_its_reservation(self):
        [answer] = self.run_all(self.call())
        self.assertEqual(answer.choices[0].message.content, "hello")
        self.until(lambda: self.stands() == (CALL_COST, "0"))

    def test_a_mock_response_is_billed_by_its_usage(self):
        self.run_all(self.call(mock_response="hello"))
        # LiteLLM counts 10 tokens in and 20 out for every mock.
        self.until(lambda: self.stands() == ("0.00033", "0"))

    def test_a_stream_is_billed_when_it_ends(self):
        async def stream():
            parts = await self.call(stream=True, stream_options={"include_usage": True}, mock_response="hello you there")
            return [part async for part in parts]

        self.run_all(stream())
        self.until(lambda: self.stands()[0] != "0" and self.stands()[1] == "0")

    def test_at_the_limit_a_call_is_refused_before_its_provider_is_called(self):
        self.spend("before", 100, SUPPORT)
        [refused] = self.run_all(self.call())
        self.assertIsInstance(refused, Refused)
        self.assertEqual((refused.reason, refused.scope), ("budget-exceeded", "team:support"))
        self.assertEqual(self.provider.calls, 0)
        self.assertEqual(self.stands(), ("0.09", "0"))

    def test_racing_calls_never_overspend(self):
        outcomes = self.run_all(*(self.call() for _ in range(40)))
        refused = sum(isinstance(outcome, Refused) for outcome in outcomes)
        self.assertTrue(0 < refused < 40, outcomes)
        self.assertEqual(self.provider.calls, 40 - refused)
        self.until(lambda: self.stands()[1] == "0")
        self.assertEqual(self.stands()[0], f"{9 * (40 - refused) / 10_000:.4f}".rstrip("0"))

    def test_a_call_that_fails_gives_its_reservation_back(self):
        self.provider.failures = 1
        [failed] = self.run_all(self.call())
        self.assertIsInstance(failed, litellm.InternalServerError)
        self.until(lambda: self.stands() == ("0", "0"))

    def test_each_attempt_of_a_router_has_its_own_reservation(self):
        parameters = {"model": "openai/example-chat", "api_base": self.provider.url, "api_key": "k", "max_retries": 0}
        router = litellm.Router(model_list=[{"model_name": "chat", "litellm_params": parameters}], num_retries=2, retry_after=0)
        self.provider.failures = 1
        metadata = {"recoup": SUPPORT}
        [answer] = self.run_all(router.acompletion(model="chat", messages=MESSAGES, max_tokens=1000, metadata=metadata))
        self.assertEqual((answer.choices[0].message.content, self.provider.calls), ("hello", 2))
        self.until(lambda: self.stands() == (CALL_COST, "0"))

    def test_a_router_does_not_repeat_what_was_refused(self):
        self.spend("before", 112, SUPPORT)
        parameters = {"model": "openai/example-chat", "api_base": self.provider.url, "api_key": "k", "max_retries": 0}
        router = litellm.Router(model_list=[{"model_name": "chat", "litellm_params": parameters}], num_retries=2, retry_after=0)
        [refused] = self.run_all(router.acompletion(model="chat", messages=MESSAGES, metadata={"recoup": SUPPORT}))
        self.assertIsInstance(refused, Refused)
        self.assertEqual(self.provider.calls, 0)

    def test_behind_the_kill_switch_only_critical_work_goes_on(self):
        self.spend("before", 112, SUPPORT)
        refused, allowed = self.run_all(self.call(), self.call(PAGER))
        self.assertEqual((refused.reason, refused.scope), ("kill-switch", "team:support"))
        self.assertEqual((allowed.choices[0].message.content, self.provider.calls), ("hello", 1))
        logged = [row for row in self.get("/v1/audit")["rows"] if row["action"] == "critical-exemption"]
        self.assertEqual([row["detail"]["agent"] for row in logged], ["pager"])

    def test_a_proxy_asks_before_it_chooses_a_deployment(self):
        def hook():
            data = {"metadata": {"recoup": SUPPORT}}
            return self.callback.async_pre_call_hook(None, None, data, "acompletion")

        asyncio.run(hook())
        self.assertEqual(self.stands(), ("0", "0"))
        self.spend("before", 112, SUPPORT)
        with self.assertRaises(Refused) as refused:
            asyncio.run(hook())
        self.assertEqual((refused.exception.reason, refused.exception.status_code), ("kill-switch", 402))

    def test_whom_a_proxy_knows_goes_before_what_its_caller_says(self):
        who = self.callback._who({"recoup": {"team": "marketing", "agent": "triage"}, "user_api_key_team_id": "support"})
        self.assertEqual(who["tags"], {"team": "support", "agent": "triage"})

    def test_a_model_without_a_price_is_refused_unless_somebody_says_what_to_reserve(self):
        [refused] = self.run_all(self.call(model="openai/unheard-of"))
        self.assertEqual((refused.reason, self.provider.calls), ("no-price", 0))
        self.install(RecoupBudgets(self.budgets, unpriced="0.05"))
        self.run_all(self.call(model="openai/unheard-of"))
        self.until(lambda: self.provider.calls == 1 and self.stands() == ("0", "0"))
        self.post("/v1/runs?wait=true", {"kind": "nightly", "through": "all"})
        self.assertEqual([row["model"] for row in self.get("/v1/unpriced")["rows"]], ["unheard-of"])

    def test_without_recoup_only_critical_work_goes_on_and_is_billed_later(self):
        self.go_away()
        refused, allowed = self.run_all(self.call(), self.call(PAGER))
        self.assertEqual((refused.reason, self.provider.calls), ("unavailable", 1))
        self.assertEqual(allowed.choices[0].message.content, "hello")
        self.until(lambda: not self.budgets.flush(0))
        self.come_back()
        self.until(lambda: self.stands() == (CALL_COST, "0"))


if __name__ == "__main__":
    unittest.main()
