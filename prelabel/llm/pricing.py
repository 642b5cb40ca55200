"""US dollars of a request, from who knows best; None where nobody knows, never 0.

What OpenRouter itself states of a request, else the settings' prices, which are the main model's, else the price table
of genai-prices, which comes with the package and is as new as ``requirements.txt``. The table knows providers by their
addresses, so that a server of one's own is unknown to it whatever its models are called.

The settings' prices are those of live requests, as providers list them. In a batch they are halved, and so is what the
table has no batch price for.
"""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from prelabel.config import Settings
from prelabel.llm.endpoint import Target, targets
from prelabel.llm.exchange import ChatReply

MILLION = 1_000_000
BATCH_FACTOR = 0.5
"""Of the price of a live request: "each model will be offered at 50% cost discount"
(https://help.openai.com/en/articles/9197833-batch-api-faq), "at 50% less cost than global standard" on Azure
(https://learn.microsoft.com/en-us/azure/foundry/openai/how-to/batch)."""


class Pricing:
    """What the requests to one target cost.

    :param settings: of which ``LLM_PRICE_INPUT`` and ``LLM_PRICE_OUTPUT`` are the prices of the main model alone.
    """

    def __init__(self, target: Target, settings: Settings) -> None:
        self._target = target
        self._states_cost = target.endpoint.provider == "openrouter" or _host(target) == "openrouter.ai"
        is_main = target.endpoint.base_url == settings.llm_url and target.model == settings.openai_model
        self._set = settings.llm_prices if is_main else None

    def cost(self, reply: ChatReply, *, is_batch: bool = False) -> float | None:
        """US dollars.

        :param reply: as it was read, its ``cost`` what the server states.
        :param is_batch: it was asked for in a batch.
        """
        if self._states_cost and reply.cost is not None:
            return reply.cost
        model = reply.model or self._target.model
        prices = None if model in self._target.routed_to else self._set
        if prices == (0, 0):
            return 0.0
        if not reply.prompt_tokens:  # the server counts none, so that nobody knows what was used
            return None
        if prices:
            dollars = (reply.prompt_tokens * prices[0] + reply.completion_tokens * prices[1]) / MILLION
            return dollars * BATCH_FACTOR if is_batch else dollars
        return _listed(self._target.endpoint.base_url, model, reply, is_batch=is_batch)


def batched(settings: Settings, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float | None:
    """What so many tokens cost in batches, which only the main model is asked in; None if its price is not known.

    :raises LLMRefusesRequest: none is configured.
    """
    reply = ChatReply("", prompt_tokens=prompt_tokens, cached_tokens=cached_tokens, completion_tokens=completion_tokens)
    return Pricing(targets(settings)[0], settings).cost(reply, is_batch=True)


def dearest(settings: Settings, prompt_tokens: int, completion_tokens: int) -> float | None:
    """What so many tokens cost at most with any of the models that ``settings`` name; None if one has no known price.

    :raises LLMRefusesRequest: none is configured.
    """
    reply = ChatReply("", prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    costs = [Pricing(target, settings).cost(reply) for target in targets(settings)]
    known = [cost for cost in costs if cost is not None]
    return max(known) if len(known) == len(costs) else None


def stated_cost(usage: Mapping[str, Any]) -> float | None:
    """What OpenRouter's ``usage`` says of the cost in US dollars, None if nothing.

    With a provider's key of one's own ("BYOK") ``cost`` is OpenRouter's fee alone and the provider's price stands
    beside it (https://openrouter.ai/docs/cookbook/administration/usage-accounting#cost-breakdown).
    """
    cost = _dollars(usage.get("cost"))
    if cost is None or not usage.get("is_byok"):
        return cost
    details = usage.get("cost_details")
    upstream = _dollars(details.get("upstream_inference_cost")) if isinstance(details, Mapping) else None
    return None if upstream is None else cost + upstream


def _listed(url: str, model: str, reply: ChatReply, *, is_batch: bool) -> float | None:
    """By the price table; None where it lacks the server, the model, or what its input or output costs."""
    import genai_prices  # late: its table is 4 MB, which a process that asks nothing is spared

    try:
        usage = genai_prices.Usage(
            input_tokens=reply.prompt_tokens,
            cache_read_tokens=min(reply.cached_tokens, reply.prompt_tokens),
            output_tokens=reply.completion_tokens,
        )
        found = live = genai_prices.calc_price(usage, model, provider_api_url=url)
        if is_batch:
            found = genai_prices.calc_price(usage, model, provider_api_url=url, price_context={"processing": "batch"})
    except (LookupError, ValueError):  # the latter for counts that cannot be
        return None
    is_whole = found.model_price.input_mtok is not None and found.model_price.output_mtok is not None
    if not is_whole:
        return None
    has_no_batch_price = is_batch and found.model_price == live.model_price
    return float(found.total_price) * (BATCH_FACTOR if has_no_batch_price else 1)


def _dollars(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _host(target: Target) -> str:
    return urlsplit(target.endpoint.base_url).hostname or ""
