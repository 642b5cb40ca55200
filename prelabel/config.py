"""Settings: environment variables and a project's own overrides, read and checked in this one place.

A field ``openai_model`` is the variable ``OPENAI_MODEL``; an empty variable counts as unset, as Compose files pass
them. Those in ``PER_PROJECT`` can be set for one project over the environment (``connect --set``).
"""

import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from prelabel.errors import SettingsError

PROVIDER_URLS = {
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "ollama": "http://localhost:11434/v1",
}
"""Where each provider speaks OpenAI's protocol, by its own documentation of November 2026."""

PER_PROJECT = frozenset(
    {
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_MODEL",
        "TEMPERATURE",
        "NUM_RESPONSES",
        "ESCALATION_MODEL",
        "LABELING_METHOD",
        "DEFAULT_PROMPT",
        "PROMPT_PROMOTION",
        "PROMPT_TEMPLATE",
        "USE_INTERNAL_PROMPT_TEMPLATE",
        "FEW_SHOT_EXAMPLES",
        "RULES_FILE",
        "GLOSSARY_FILE",
        "CONTEXT_DIR",
        "RATIONALE",
    }
)
"""Files and folders may be any that the backend can read: only ``connect --set`` sets them, from the backend's own
shell, and nothing that Label Studio sends does."""

_LOGIN = re.compile(r"//.*@")
"""User and password in an address, which are not shown; greedily, since a password may hold any character."""

RULES_ENDINGS = (".yaml", ".yml")
GLOSSARY_ENDINGS = (*RULES_ENDINGS, ".csv")

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda name: str(name).upper())]
Provider = Literal["openai", "azure", "ollama", "openrouter", "anthropic", "local"]
Method = Literal["auto", "llm", "weak_model", "rules", "ensemble"]


@dataclass(frozen=True, slots=True)
class Fallback:
    """A model that is asked where those before it fail."""

    model: str
    base_url: str = ""
    """Of another server than the main model's; empty for the same."""
    key: str = field(default="", repr=False)
    """Its own; empty for the main one on the same server, for none on another."""


def _url(*schemes: str) -> BeforeValidator:
    """Refuses what no client could reach."""

    def check(value: Any) -> Any:
        parts = urlsplit(str(value))
        if parts.scheme not in schemes or not parts.hostname or (parts.port or 1) < 1:
            raise ValueError(f"must be an address like {schemes[0]}://host:port")
        return value

    return BeforeValidator(check)


def _check_key(value: Any) -> Any:
    if not isinstance(value, SecretStr) and not str(value).isascii():
        raise ValueError("holds a character that no key has, such as a curly quote")
    return value


def _check_fallbacks(value: Any) -> Any:
    for part in str(value).split(","):
        model, at, url = _split_fallback(part)
        if not model or (at and not urlsplit(url).hostname):
            raise ValueError(f"holds {part.strip()!r}, which is neither MODEL nor MODEL@http://host:port/v1")
    return value


def _split_fallback(part: str) -> tuple[str, str, str]:
    """Model, ``@``, address. A model's name may have an ``@`` of its own."""
    found = re.fullmatch(r"(.*?)(@)(https?:.*)", part.strip())
    return (found[1], found[2], found[3].rstrip("/")) if found else (part.strip(), "", "")


def _check_file(value: Any) -> Any:
    """A single word with a slash or a text file's ending is meant as a path."""
    text = str(value)
    is_path = not any(char.isspace() for char in text) and ("/" in text or text.endswith((".txt", ".md")))
    if is_path and not Path(text).is_file():
        raise ValueError("is no file; a prompt's text has spaces in it")
    return value


def _file(*endings: str) -> BeforeValidator:
    """Refuses what is no file of these kinds."""

    def check(value: Any) -> Any:
        path = Path(str(value))
        if path.suffix.lower() not in endings:
            raise ValueError(f"must be a file whose name ends in {', '.join(endings)}")
        if not _exists(path.is_file):
            raise ValueError("is no file")
        return value

    return BeforeValidator(check)


def _check_folder(value: Any) -> Any:
    if not _exists(Path(str(value)).is_dir):
        raise ValueError("is no folder")
    return value


def _exists(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except OSError as error:  # longer than a path may be, or in a folder that may not be entered
        raise ValueError(f"cannot be read: {error.strerror}") from None


Url = Annotated[str, _url("http", "https")]
RedisUrl = Annotated[str, _url("redis", "rediss")]
Key = Annotated[SecretStr, BeforeValidator(_check_key)]
FallbackModels = Annotated[str, BeforeValidator(_check_fallbacks)]
TextOrFile = Annotated[str, BeforeValidator(_check_file)]
RulesFile = Annotated[str, _file(*RULES_ENDINGS)]
GlossaryFile = Annotated[str, _file(*GLOSSARY_ENDINGS)]
Folder = Annotated[str, BeforeValidator(_check_folder)]


class Settings(BaseModel):
    """What prelabel is told from outside; built by :meth:`from_env`, never changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=str.upper)

    openai_provider: Provider = "local"
    openai_api_key: Key | None = None
    openai_base_url: Url | None = None
    openai_model: str = "gpt-4o-mini"
    openai_fallback_models: FallbackModels = ""
    openai_fallback_api_keys: Key | None = None
    azure_resource_endpoint: Url | None = None
    azure_deployment_name: str | None = None
    azure_api_version: str = "2024-10-21"
    ollama_endpoint: Url | None = None
    escalation_model: str = ""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    num_responses: Annotated[int, Field(ge=1, le=20)] = 1
    labeling_method: Method = "auto"

    prompt_prefix: str = "prompt"
    default_prompt: TextOrFile = ""
    prompt_promotion: Literal["auto", "submit", "manual"] = "auto"
    prompt_template: str = ""
    use_internal_prompt_template: bool = True
    few_shot_examples: Count = 8
    rules_file: RulesFile = ""
    glossary_file: GlossaryFile = ""
    context_dir: Folder = ""
    rationale: Literal["auto", "1", "0"] = "auto"

    llm_concurrency: AtLeastOne = 32
    llm_rpm: Count = 0
    llm_tpm: Count = 0
    llm_tasks_per_request: AtLeastOne = 10
    llm_timeout: Seconds = 20.0
    llm_max_retries: Count = 5
    llm_max_input_tokens: Annotated[int, Field(ge=500)] = 8000
    llm_price_input: Dollars | None = None
    llm_price_output: Dollars | None = None
    answer_cache_days: Count = 7
    answer_cache_size: AtLeastOne = 200_000
    predict_deadline: Seconds = 50.0
    predict_deadline_single: Seconds = 15.0
    predict_overflow: Literal["none", "run"] = "none"

    redis_url: RedisUrl = "redis://localhost:6379/0"
    label_studio_url: Url = ""
    label_studio_api_key: Key | None = None

    basic_auth_user: str = ""
    basic_auth_pass: SecretStr = SecretStr("")
    allow_no_auth: bool = False
    webhook_secret: SecretStr = SecretStr("")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 9090
    prelabel_url: Url = ""
    workers: AtLeastOne = 2
    threads: AtLeastOne = 64
    log_level: LogLevel = "INFO"

    def escalated(self) -> Self:
        """Those by which ``ESCALATION_MODEL`` is asked, once about each ticket; its price is looked up."""
        model = self.escalation_model
        changed: dict[str, Any] = {"openai_model": model, "openai_fallback_models": "", "num_responses": 1}
        if self.openai_provider == "azure":
            changed["azure_deployment_name"] = model
        return self.model_copy(update={**changed, "llm_price_input": None, "llm_price_output": None})

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the settings.

        :param env: variables to read instead of the process's own.
        :raises SettingsError: a value is not allowed; the text names variable, value and what is allowed.
        """
        return cls._checked(dict(cls.given(env)))

    @classmethod
    def given(cls, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables among ``env``, or the process's own, that are set, without blanks around their values."""
        env = os.environ if env is None else env
        return {name: env[name].strip() for name in map(str.upper, cls.model_fields) if env.get(name, "").strip()}

    def with_overrides(self, overrides: Mapping[str, str]) -> Self:
        """These settings with a project's own over them.

        A project that names another server gets the main key only where it names that key itself, and no fallbacks,
        whose keys are for the main server too. The prices are of the main model on the main server.

        :raises SettingsError: a name is not one of ``PER_PROJECT``, or its value is not allowed.
        """
        check_per_project(overrides)
        if not overrides:
            return self
        own = self.model_dump(by_alias=True, exclude_unset=True)
        settled = self._checked({**own, **overrides})
        if (settled.llm_url, settled.openai_model) != (self.llm_url, self.openai_model):
            settled = settled.model_copy(update={"llm_price_input": None, "llm_price_output": None})
        if urlsplit(settled.llm_url)[:2] == urlsplit(self.llm_url)[:2]:
            return settled
        elsewhere: dict[str, Any] = {"openai_fallback_models": "", "openai_fallback_api_keys": None}
        if "OPENAI_API_KEY" not in overrides:
            elsewhere["openai_api_key"] = None
        return settled.model_copy(update=elsewhere)

    @classmethod
    def _checked(cls, given: dict[str, Any]) -> Self:
        if "OPENAI_PROVIDER" not in given and (given.get("OPENAI_API_KEY") or given.get("OPENAI_BASE_URL")):
            given = {**given, "OPENAI_PROVIDER": "openai"}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError("; ".join(_explain(item) for item in error.errors())) from None

    @model_validator(mode="after")
    def _pieces_fit(self) -> Self:
        if self.openai_provider == "azure" and not (self.azure_resource_endpoint and self.azure_deployment_name):
            raise ValueError("OPENAI_PROVIDER=azure needs AZURE_RESOURCE_ENDPOINT and AZURE_DEPLOYMENT_NAME")
        keys = self.openai_fallback_api_keys.get_secret_value() if self.openai_fallback_api_keys else ""
        if keys and keys.count(",") > self.openai_fallback_models.count(",") + bool(self.openai_fallback_models) - 1:
            raise ValueError("OPENAI_FALLBACK_API_KEYS holds more keys than OPENAI_FALLBACK_MODELS holds models")
        if (self.llm_price_input is None) != (self.llm_price_output is None):
            raise ValueError("LLM_PRICE_INPUT and LLM_PRICE_OUTPUT go together: one of them is empty")
        if bool(self.basic_auth_user) != bool(self.basic_auth_pass.get_secret_value()):
            raise ValueError("BASIC_AUTH_USER and BASIC_AUTH_PASS go together: one of them is empty")
        return self

    @property
    def method(self) -> Method:
        """``LABELING_METHOD``; without an LLM the embedded weak model takes its place."""
        is_in_place = self.openai_provider == "local" and self.labeling_method == "llm"
        return "weak_model" if is_in_place else self.labeling_method

    @property
    def uses_llm(self) -> bool:
        """Whether an LLM is ever asked to label."""
        return self.openai_provider != "local" and self.method in {"auto", "llm", "ensemble"}

    @property
    def uses_escalation(self) -> bool:
        """Whether a stronger model is ever asked."""
        return self.uses_llm and self.method == "auto" and bool(self.escalation_model)

    @property
    def has_auth(self) -> bool:
        return bool(self.basic_auth_user)

    @property
    def address(self) -> str:
        """Where Label Studio reaches this backend: ``PRELABEL_URL``, else this machine's loopback."""
        return (self.prelabel_url or f"http://localhost:{self.port}").rstrip("/")

    @property
    def path(self) -> str:
        """The path under which this backend is known outside, such as ``/prelabel``; empty for none."""
        return urlsplit(self.address).path

    @property
    def default_prompt_text(self) -> str:
        """The default prompt, read from its file where ``DEFAULT_PROMPT`` is a file's path."""
        try:
            path = Path(self.default_prompt)
            return path.read_text("utf-8").strip() if self.default_prompt and path.is_file() else self.default_prompt
        except OSError:  # longer than a path may be
            return self.default_prompt
        except UnicodeDecodeError as error:
            raise SettingsError(f"DEFAULT_PROMPT={self.default_prompt!r} is no UTF-8 text: {error}") from None

    @property
    def llm_url(self) -> str:
        """Where the LLM is; empty for ``local``."""
        own = {"azure": self.azure_resource_endpoint, "ollama": self.ollama_endpoint}.get(self.openai_provider)
        return (self.openai_base_url or own or PROVIDER_URLS.get(self.openai_provider, "")).rstrip("/")

    @property
    def llm_prices(self) -> tuple[float, float] | None:
        """US dollars per million tokens of input and output, where they are set."""
        if self.llm_price_input is None or self.llm_price_output is None:
            return None
        return self.llm_price_input, self.llm_price_output

    @property
    def fallbacks(self) -> tuple[Fallback, ...]:
        """The models of ``OPENAI_FALLBACK_MODELS`` in their order, each with the key in its place, if it has one."""
        named = self.openai_fallback_models.split(",") if self.openai_fallback_models else []
        keys = self.openai_fallback_api_keys.get_secret_value().split(",") if self.openai_fallback_api_keys else []
        keys += [""] * (len(named) - len(keys))
        split = map(_split_fallback, named)
        return tuple(Fallback(model, url, key.strip()) for (model, _, url), key in zip(split, keys, strict=True))

    @property
    def effective_webhook_secret(self) -> str:
        """The value of ``X-Prelabel-Secret`` that ``/webhook`` accepts, empty if there is none.

        Derived from ``BASIC_AUTH_PASS`` by HMAC-SHA256 where it is not set, so that the password itself never stands
        in Label Studio's webhook settings.
        """
        password = self.basic_auth_pass.get_secret_value()
        if secret := self.webhook_secret.get_secret_value():
            return secret
        return hmac.new(password.encode(), b"prelabel webhook", hashlib.sha256).hexdigest() if password else ""

    def require_safe_listening(self, *hosts: str) -> None:
        """Refuse to answer strangers.

        :param hosts: the addresses listened at, where they are not ``HOST``.
        :raises SettingsError: one of them is beyond loopback, and there is no password.
        """
        if self.has_auth or self.allow_no_auth:
            return
        for host in hosts or (self.host,):
            if host not in LOOPBACK:
                raise SettingsError(
                    f"{host} listens beyond this machine (HOST): set BASIC_AUTH_USER and BASIC_AUTH_PASS, "
                    "or ALLOW_NO_AUTH=1 if something in front of it checks who calls"
                )


def check_per_project(names: Iterable[str]) -> None:
    """:raises SettingsError: one of ``names`` cannot be set per project."""
    for name in sorted(set(names) - PER_PROJECT):
        raise SettingsError(f"{name} cannot be set per project; these can: {', '.join(sorted(PER_PROJECT))}")


def _explain(error: Mapping[str, Any]) -> str:
    """``OPENAI_PROVIDER='opnai': Input should be 'openai', 'azure' ...``"""
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    shown = "..." if "KEY" in str(error["loc"][0]) else _LOGIN.sub("//...@", repr(error["input"]))
    return f"{error['loc'][0]}={shown}: {str(error['msg']).removeprefix('Value error, ')}"
