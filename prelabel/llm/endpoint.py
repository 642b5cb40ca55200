"""Where LLMs are and by which keys: the settings' main model and its fallbacks, and how each server is reached."""

import hashlib
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import openai

from prelabel.config import Settings
from prelabel.errors import LLMRefusesRequest

OPENROUTER_MODELS = 3
"""Most entries of OpenRouter's ``models``: more are refused with "'models' array must have 3 items or fewer"."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and a key: what one connection pool serves."""

    provider: str
    base_url: str
    key: str = field(repr=False)
    deployment: str
    api_version: str
    timeout_s: float

    @classmethod
    def of(cls, settings: Settings) -> "Endpoint":
        """:raises LLMRefusesRequest: no LLM is configured."""
        provider = settings.openai_provider
        if provider == "local":
            raise LLMRefusesRequest("no LLM is configured: set OPENAI_API_KEY, or OPENAI_BASE_URL for your own server")
        return cls(
            provider=provider,
            base_url=settings.llm_url,
            key=settings.openai_api_key.get_secret_value() if settings.openai_api_key else "none",
            deployment=settings.azure_deployment_name or "",
            api_version=settings.azure_api_version,
            timeout_s=settings.llm_timeout,
        )

    def connect(self) -> openai.AsyncOpenAI:
        """A client that tries once: pauses and further tries are :class:`prelabel.llm.chat.ChatClient`'s.

        What OpenAI's client takes from the environment by itself (``OPENAI_ORG_ID``, ``OPENAI_PROJECT_ID``,
        ``OPENAI_CUSTOM_HEADERS``) is left out: it would reach other servers, too.
        """
        client = self._client()
        client.organization = client.project = None
        client._custom_headers = {}  # noqa: SLF001  there is no other way to have none
        return client

    def _client(self) -> openai.AsyncOpenAI:
        if self.provider == "azure":
            return openai.AsyncAzureOpenAI(
                api_key=self.key,
                azure_endpoint=self.base_url,
                azure_deployment=self.deployment,
                api_version=self.api_version,
                timeout=self.timeout_s,
                max_retries=0,
            )
        return openai.AsyncOpenAI(api_key=self.key, base_url=self.base_url, timeout=self.timeout_s, max_retries=0)


@dataclass(frozen=True, slots=True)
class Target:
    """A model at an endpoint."""

    endpoint: Endpoint
    model: str
    routed_to: tuple[str, ...] = ()
    """Further models that the server itself turns to when this one fails: OpenRouter's ``models``."""

    @property
    def server_name(self) -> str:
        """Names server and model, whoever asks: by it is kept what the server was found to understand."""
        at = self.endpoint
        return _digest(at.provider, at.base_url, at.deployment, at.api_version, self.model)

    @property
    def account_name(self) -> str:
        """Names server, model and key, without telling the key."""
        return _digest(self.server_name, self.endpoint.key)

    def is_stood_in_for_by(self, served: str) -> bool:
        """Whether the server has turned to another model, by the name that its reply has: one begins as it was asked
        for, and may go on with a date; of several such the longest counts.
        """
        asked = [model for model in (self.model, *self.routed_to) if served.startswith(model)]
        return bool(asked) and max(asked, key=len) != self.model


def targets(settings: Settings) -> list[Target]:
    """The main model, then its fallbacks, in the order in which they are tried.

    Fallbacks on the main server use its key unless they have their own; one on another server never gets it. Those
    that OpenRouter can turn to by itself are left to it, which spares the way there and back.

    :raises LLMRefusesRequest: no LLM is configured.
    """
    main = Endpoint.of(settings)
    found = [Target(main, settings.openai_model)]
    for fallback in settings.fallbacks:
        if fallback.base_url and urlsplit(fallback.base_url)[:2] != urlsplit(main.base_url)[:2]:
            own = Endpoint("openai", fallback.base_url, fallback.key or "none", "", "", main.timeout_s)
        else:
            own = replace(
                main,
                base_url=fallback.base_url or main.base_url,
                key=fallback.key or main.key,
                deployment=fallback.model if main.deployment else "",
            )
        found.append(Target(own, fallback.model))
    return _routed(found)


def _routed(found: list[Target]) -> list[Target]:
    """Neighbours at OpenRouter with one key put together (https://openrouter.ai/docs/guides/routing)."""
    put_together: list[Target] = []
    for target in found:
        last = put_together[-1] if put_together else None
        is_one = last is not None and last.endpoint == target.endpoint and target.endpoint.provider == "openrouter"
        if last is not None and is_one and len(last.routed_to) < OPENROUTER_MODELS - 1:
            put_together[-1] = replace(last, routed_to=(*last.routed_to, target.model))
        else:
            put_together.append(target)
    return put_together


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
