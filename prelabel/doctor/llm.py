"""The LLM: one tiny ticket by the way that ``/predict`` takes, with a strict schema, tried once.

What goes wrong is looked at closer, since one status stands for many causes: a 404 is a wrong model or a wrong address.
"""

import time
from collections.abc import Iterator
from contextlib import closing

from prelabel.address import Answer, Trouble, look, without_login
from prelabel.config import Settings
from prelabel.core.parse import parse_reply
from prelabel.core.prompt import build_messages
from prelabel.core.schema import reply_schema
from prelabel.core.types import Choices, Label, Ticket
from prelabel.doctor.cures import Place, unreachable
from prelabel.doctor.findings import Finding, failed, ok, warning
from prelabel.errors import LLMError, LLMRefusesForm, LLMRefusesRequest
from prelabel.llm.exchange import ChatReply, ChatRequest
from prelabel.llm.fallbacks import Chat
from prelabel.llm.loop import LLM

LONGEST_S = 20.0
"""However long ``LLM_TIMEOUT`` is: a local server may have to load the model first."""
MOST_MODELS = 5
"""Named of those that a server has."""
QUESTION = Choices("intent", "text", (Label("refund", "refund"), Label("other", "other")))
TICKET = Ticket(1, "I want my money back.")


def check_llm(settings: Settings, check: str, *, in_container: bool) -> Iterator[Finding]:
    """:param settings: the environment's, or a project's own."""
    if settings.openai_provider == "local":
        yield ok(check, "no LLM: the embedded model answers (set OPENAI_API_KEY or OPENAI_BASE_URL for an LLM)")
        return
    alone = {"openai_fallback_models": "", "openai_fallback_api_keys": None}  # else a dead model would not be noticed
    once = settings.model_copy(update={"llm_max_retries": 0, **alone})
    started = time.monotonic()
    try:
        # One of its own, which neither goes by what was learned of the server earlier nor keeps what it finds.
        with closing(LLM(concurrency=1)) as llm:
            reply = llm.run(once, _ask, LONGEST_S, is_awaited=True)
    except TimeoutError:
        yield _unanswered(check, settings, f"no answer within {LONGEST_S:g} s", in_container=in_container)
    except LLMRefusesRequest as error:
        yield _refused(check, settings, error)
    except LLMError as error:
        yield _unanswered(check, settings, str(error), in_container=in_container)
    else:
        yield _answered(check, settings, reply, time.monotonic() - started)


async def _ask(chat: Chat) -> ChatReply:
    request = ChatRequest(build_messages((QUESTION,), "", [TICKET]), reply_schema((QUESTION,)))
    return await chat.complete(request)


def _answered(check: str, settings: Settings, reply: ChatReply, seconds: float) -> Finding:
    tokens = reply.prompt_tokens + reply.completion_tokens
    told = f"{settings.openai_model} at {without_login(settings.llm_url)}, {seconds:.1f} s, {tokens} tokens"
    if reply.problem or not parse_reply(reply.text, (QUESTION,), 1):
        cure = "use a more capable model, or a server that knows JSON schemas (structured outputs)"
        return warning(check, f"{told}: {reply.problem or 'the answer does not follow the schema'}", cure)
    return ok(check, told)


def _refused(check: str, settings: Settings, error: LLMRefusesRequest) -> Finding:
    """Wrong key, model, address or account; or a model that will not have it in this form."""
    told, _, cure = str(error).partition(": ")
    if isinstance(error, LLMRefusesForm):
        cure = "see the log of the server for its reason, and check OPENAI_MODEL and OPENAI_BASE_URL"
    found = _look(settings, "/models")
    if "answered 404" in told and isinstance(found, Answer):
        return failed(check, *_not_found(settings, told, found))
    return failed(check, f"{told}, at {without_login(settings.llm_url)}", cure)


def _not_found(settings: Settings, told: str, found: Answer) -> tuple[str, str]:
    url, model = without_login(settings.llm_url), settings.openai_model
    models = [str(row.get("id")) for row in found.data.get("data") or () if isinstance(row, dict)]
    if found.status == 200 and models and model not in models:
        named = ", ".join(models[:MOST_MODELS]) + (", ..." if len(models) > MOST_MODELS else "")
        return f"the server at {url} does not know the model {model!r}", f"set OPENAI_MODEL to one of its own: {named}"
    below = _look(settings, "/v1/models")
    if found.status == 404 and isinstance(below, Answer) and below.status in {200, 401, 403}:
        return f"{url} is not where the server speaks OpenAI's protocol", f"set OPENAI_BASE_URL={url}/v1"
    return f"{told}, at {url}", f"check OPENAI_MODEL={model} and OPENAI_BASE_URL; most servers want it to end in /v1"


def _unanswered(check: str, settings: Settings, told: str, *, in_container: bool) -> Finding:
    """Unreachable, or reached and not able to answer."""
    place = Place("an LLM", _variable(settings), settings.llm_url, "", "llm")
    found = _look(settings, "/models")
    if isinstance(found, Trouble):
        return failed(check, *unreachable(place, found, in_container=in_container))
    cure = f"see the log of the server, or its provider's status page; LLM_TIMEOUT is {settings.llm_timeout:g} s"
    return failed(check, f"{told}, at {without_login(settings.llm_url)}", cure)


def _look(settings: Settings, path: str) -> Answer | Trouble:
    key = settings.openai_api_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    return look(settings.llm_url + path, headers=headers)


def _variable(settings: Settings) -> str:
    """The setting that holds the address."""
    own = {"azure": "AZURE_RESOURCE_ENDPOINT", "ollama": "OLLAMA_ENDPOINT"}.get(settings.openai_provider)
    return "OPENAI_BASE_URL" if settings.openai_base_url or own is None else own
