"""US dollars of a request, from who knows best; None where nobody knows, never 0.

What OpenRouter itself states of a request, else the settings' prices, which are the main model's, else the price table
of genai-prices, which comes with the package and is as new as ``requirements.txt``. The table knows providers by their
addresses, so that a server of one's own is unknown to it whatever its models are called.
"""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from prelabel.config import Settings
from prelabel.llm.endpoint import Target
from prelabel.llm.exchange import ChatReply

MILLION = 1_000_000


class Pricing:
    """What the requests to one target cost.

    :param settings: of which ``LLM_PRICE_INPUT`` and ``LLM_PRICE_OUTPUT`` are the prices of the main model alone.
    """

    def __init__(self, target: Target, settings: Settings) -> None:
        self._target = target
        self._states_cost = target.endpoint.provider == "openrouter" or _host(target) == "openrouter.ai"
        is_main = target.endpoint.base_url == settings.llm_url and target.model == settings.openai_model
        self._set = settings.llm_prices if is_main else None

    def cost(self, reply: ChatReply) -> float | None:
        """US dollars.

        :param reply: as it was read, its ``cost`` what the server states.
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
            return (reply.prompt_tokens * prices[0] + reply.completion_tokens * prices[1]) / MILLION
        return _listed(self._target.endpoint.base_url, model, reply)


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


def _listed(url: str, model: str, reply: ChatReply) -> float | None:
    """By the price table; None where it lacks the server, the model, or what its input or output costs."""
    import genai_prices  # late: its table is 4 MB, which a process that asks nothing is spared

    try:
        usage = genai_prices.Usage(
            input_tokens=reply.prompt_tokens,
            cache_read_tokens=min(reply.cached_tokens, reply.prompt_tokens),
            output_tokens=reply.completion_tokens,
        )
        found = genai_prices.calc_price(usage, model, provider_api_url=url)
    except (LookupError, ValueError):  # the latter for counts that cannot be
        return None
    is_whole = found.model_price.input_mtok is not None and found.model_price.output_mtok is not None
    return float(found.total_price) if is_whole else None


def _dollars(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _host(target: Target) -> str:
    return urlsplit(target.endpoint.base_url).hostname or ""
