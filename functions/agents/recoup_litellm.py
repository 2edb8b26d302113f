"""LiteLLM asks recoup before each call of a provider, and tells it afterwards what the call has cost.

    litellm.callbacks = [RecoupBudgets(Budgets(url, key))]
    await litellm.acompletion(..., max_tokens=500, metadata={"recoup": {"team": "support", "agent": "triage"}})

In a proxy, name an instance in `litellm_settings.callbacks`. Each attempt of a router has a reservation of its own. LiteLLM
has no hook that can stop `litellm.completion`; use `acompletion`.
"""

import asyncio
import datetime
import logging

import litellm
from litellm.integrations.custom_logger import CustomLogger

from recoup_budgets import Misused, Refused, amount, tokens

log = logging.getLogger("recoup")

# Where the permits of a call stand while it runs: LiteLLM hands the same dictionary to its callbacks at the end.
PERMITS = "recoup_permits"
# Tokens that a message may have beyond what is counted: providers add their own around each.
INPUT_TOKENS_SPARE = 64


class RecoupBudgets(CustomLogger):
    """The callback. `tags` are for calls that bring none; `unpriced` is the estimate of a model that recoup has no price of,
    `None` refuses such calls; `output_tokens_max` is the bound of a call that has none."""

    def __init__(self, budgets, tags=None, unpriced=None, output_tokens_max=16_384):
        super().__init__()
        self.budgets, self.tags = budgets, dict(tags or {})
        self.unpriced, self.output_tokens_max = unpriced, output_tokens_max

    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        """A proxy asks here before it chooses a deployment: what is used up is refused at once, and nothing is reserved."""
        who = self._who(data.get("metadata") or data.get("litellm_metadata"))
        await asyncio.to_thread(self.budgets.authorize, who["tags"], critical=who["critical"], reserve=False)
        return data

    async def async_pre_call_deployment_hook(self, kwargs, call_type):
        """Every call passes here right before it goes to its provider; what is raised here stops it."""
        who = self._who(kwargs.get("metadata") or kwargs.get("litellm_metadata"))
        permit = await asyncio.to_thread(self._reserve, kwargs, who)
        kwargs["litellm_logging_obj"].model_call_details.setdefault(PERMITS, []).append(permit)

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        """The newest permit belongs to the attempt that succeeded."""
        permits = kwargs.pop(PERMITS, None) or []
        permit = permits.pop() if permits else None
        if kwargs.get("cache_hit"):
            permits, permit = [*permits, permit], None
        else:
            self.budgets.report(self._event(kwargs, response_obj, permit, (start_time, end_time)))
        await self._release(*permits)

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        """The oldest permit belongs to the attempt that failed first. A call that was refused has none."""
        permits = kwargs.get(PERMITS) or []
        if permits:
            await self._release(permits.pop(0))

    async def _release(self, *permits):
        for permit in permits:
            if permit is not None:
                await asyncio.to_thread(self.budgets.release, permit)

    def _who(self, metadata):
        metadata = metadata or {}
        own = dict(metadata.get("recoup") or {})
        of_proxy = {"team": metadata.get("user_api_key_team_alias") or metadata.get("user_api_key_team_id"),
                    "user": metadata.get("user_api_key_end_user_id") or metadata.get("user_api_key_user_id")}
        critical = own.pop("priority", None) == "critical"
        trace_id, parent_id = own.pop("trace_id", None), own.pop("parent_id", None)
        of_proxy = {name: value for name, value in of_proxy.items() if value}
        # Whom a proxy knows its caller to be goes before what the caller says.
        return {"tags": {**self.tags, **own, **of_proxy}, "critical": critical, "trace_id": trace_id, "parent_id": parent_id}

    def _reserve(self, kwargs, who):
        asked = {"trace_id": who["trace_id"], "critical": who["critical"]}
        try:
            return self.budgets.authorize(who["tags"], self._estimate(kwargs), **asked)
        except Misused as error:
            if error.kind != "no-price":
                raise
            if self.unpriced is None:
                raise Refused("no-price", kwargs.get("model")) from error
            return self.budgets.authorize(who["tags"], amount(self.unpriced), **asked)

    def _estimate(self, kwargs):
        model, provider, _, _ = litellm.get_llm_provider(kwargs["model"], kwargs.get("custom_llm_provider"))
        counted = litellm.token_counter(model=model, messages=kwargs.get("messages"), tools=kwargs.get("tools"))
        most = kwargs.get("max_completion_tokens") or kwargs.get("max_tokens") or self.output_tokens_max
        tier = _tier(kwargs.get("service_tier"))
        return tokens(provider, model, counted + INPUT_TOKENS_SPARE, most * (kwargs.get("n") or 1), tier)

    def _event(self, kwargs, response, permit, times):
        payload = kwargs["standard_logging_object"]
        who = self._who((kwargs.get("litellm_params") or {}).get("metadata"))
        start, end = times
        provider = payload["custom_llm_provider"]
        event = {
            "event_id": kwargs["litellm_call_id"], "trace_id": who["trace_id"], "parent_id": who["parent_id"],
            "used_at": _utc(end), "duration_ms": int((end - start).total_seconds() * 1000), "kind": "llm",
            "tags": who["tags"], "priority": "critical" if who["critical"] else None,
            # A router's payload has the provider in front of the model; it was reserved without.
            "provider": provider, "model": kwargs["model"].removeprefix(f"{provider}/"),
            # The provider says which tier served the call.
            "service_tier": _tier(getattr(response, "service_tier", None)),
            "usage_native": _without_nothing(payload["metadata"]["usage_object"]), "response_id": payload["id"],
            "reservation_id": permit and permit.reservation_id,
        }
        return _without_nothing(event)


def _tier(name):
    """The tier of a call; `auto` leaves it to the provider, which then answers with the one that it took."""
    return name if isinstance(name, str) and name != "auto" else None


def _utc(naive_local):
    return naive_local.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")


def _without_nothing(value):
    if not isinstance(value, dict):
        return value
    return {name: _without_nothing(inner) for name, inner in value.items() if inner is not None}
