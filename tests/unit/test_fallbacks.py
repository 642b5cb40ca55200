"""Models in turn, and where they are."""

import asyncio
from itertools import pairwise

import pytest
from pydantic import SecretStr

from prelabel.config import Fallback, Settings
from prelabel.errors import (
    LLMError,
    LLMRefusesContent,
    LLMRefusesForm,
    LLMRefusesRequest,
    LLMUnavailable,
    SettingsError,
)
from prelabel.llm.endpoint import targets
from prelabel.llm.exchange import ChatReply, ChatRequest
from prelabel.llm.fallbacks import Cooldowns, Fallbacks
from prelabel.llm.memory import NoMemory

REQUEST = ChatRequest((), {})
KEY = {"OPENAI_API_KEY": "main"}


class Model:
    def __init__(self, *said: str | LLMError) -> None:
        self.said = list(said)
        self.asked = 0

    async def complete(self, request: ChatRequest) -> ChatReply:
        self.asked += 1
        said = self.said.pop(0)
        if isinstance(said, LLMError):
            raise said
        return ChatReply(said)


def complete(models: list[Model], times: int = 1) -> list[str]:
    async def ask() -> list[str]:
        names = [f"model {number}" for number in range(len(models))]
        fallbacks = Fallbacks(models, names, Cooldowns(NoMemory()))
        return [(await fallbacks.complete(REQUEST)).text for _ in range(times)]

    return asyncio.run(ask())


def test_a_model_that_failed_is_not_tried_first_for_a_while() -> None:
    models = [Model(LLMUnavailable("down"), "back"), Model("b", "b", "b")]

    assert (complete(models, 3), models[0].asked) == (["b"] * 3, 1)


def test_what_was_lost_at_models_before_is_told_with_the_reply() -> None:
    lost = LLMUnavailable("no answer")
    lost.lost_tries = 3
    models = [Model(lost), Model("b")]
    fallbacks = Fallbacks(models, ["model 0", "model 1"], Cooldowns(NoMemory()))

    assert asyncio.run(fallbacks.complete(REQUEST)).lost_tries == 3


def test_a_model_that_failed_is_better_than_none() -> None:
    models = [Model(LLMUnavailable("down"), "back"), Model("b", LLMRefusesRequest("no"))]

    assert complete(models, 2) == ["b", "back"]


def test_a_model_by_itself_has_no_cooldown() -> None:
    with pytest.raises(LLMUnavailable):
        complete([Model(LLMUnavailable("down"))])


def test_a_refused_text_is_nobodys_failure() -> None:
    models = [Model(LLMRefusesContent("filtered")), Model("b")]

    with pytest.raises(LLMRefusesContent):
        complete(models)
    assert models[1].asked == 0


def test_a_form_that_one_model_refuses_may_suit_the_next_and_is_no_failure() -> None:
    models = [Model(LLMRefusesForm("400"), "again"), Model("b")]

    assert complete(models, 2) == ["b", "again"]


DOWN, WRONG_KEY, NO_QUOTA, FORM = (
    LLMUnavailable("down"),
    LLMRefusesRequest("key"),
    LLMRefusesRequest("quota"),
    LLMRefusesForm("form"),
)


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ((WRONG_KEY, NO_QUOTA), WRONG_KEY),
        ((WRONG_KEY, DOWN), DOWN),
        ((DOWN, WRONG_KEY), DOWN),
        ((DOWN, FORM), FORM),
        ((FORM, WRONG_KEY), FORM),
    ],
)
def test_where_all_fail_the_reason_that_leaves_most_hope_is_told(errors: tuple[LLMError, ...], told: LLMError) -> None:
    with pytest.raises(LLMError) as raised:
        complete([Model(error) for error in errors])

    assert raised.value is told


class Kept(NoMemory):
    """A memory in which another process has noted that the first model fails."""

    recalled = 0

    def recall(self, name: str) -> str | None:
        self.recalled += 1
        return "1" if name == "cooldown:model 0" else None


def test_what_another_process_has_found_holds_between_two_looks_at_it() -> None:
    models, memory = [Model("a"), Model(*["b"] * 20)], Kept()

    async def ask() -> list[str]:
        fallbacks = Fallbacks(models, ["model 0", "model 1"], Cooldowns(memory))
        replies = await asyncio.gather(*(fallbacks.complete(REQUEST) for _ in range(20)))
        return [reply.text for reply in replies]

    assert (asyncio.run(ask()), memory.recalled) == (["b"] * 20, 2)


def test_fallbacks_are_read_with_their_keys() -> None:
    settings = Settings.from_env(
        {
            "OPENAI_FALLBACK_MODELS": "gpt-4o, @cf/meta/llama@http://gpu:8000/v1/ ,claude@20250101",
            "OPENAI_FALLBACK_API_KEYS": ",own",
        }
    )

    assert settings.fallbacks == (
        Fallback("gpt-4o"),
        Fallback("@cf/meta/llama", "http://gpu:8000/v1", "own"),
        Fallback("claude@20250101"),
    )


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"OPENAI_FALLBACK_MODELS": "a,,b"}, "OPENAI_FALLBACK_MODELS='a,,b': holds '', which is neither MODEL"),
        ({"OPENAI_FALLBACK_MODELS": "a@http://"}, "holds 'a@http://'"),
        ({"OPENAI_FALLBACK_MODELS": "a", "OPENAI_FALLBACK_API_KEYS": "b,c"}, "more keys than"),
        ({"OPENAI_FALLBACK_API_KEYS": "b"}, "more keys than"),
        ({"OPENAI_FALLBACK_MODELS": "a", "OPENAI_FALLBACK_API_KEYS": "“b”"}, "OPENAI_FALLBACK_API_KEYS=..."),
    ],
)
def test_what_cannot_be_meant_is_refused(env: dict[str, str], why: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(env)

    assert why in str(refused.value)


def test_a_key_goes_to_its_own_server_only() -> None:
    env = {"OPENAI_FALLBACK_MODELS": "a,b,c@http://gpu:8000/v1,d@http://gpu:8000/v1"}
    keys = {"OPENAI_FALLBACK_API_KEYS": ",second,,fourth"}

    found = targets(Settings.from_env({**KEY, **env, **keys}))

    main, gpu = "https://api.openai.com/v1", "http://gpu:8000/v1"
    assert [(target.model, target.endpoint.base_url, target.endpoint.key) for target in found] == [
        ("gpt-4o-mini", main, "main"),
        ("a", main, "main"),
        ("b", main, "second"),
        ("c", gpu, "none"),
        ("d", gpu, "fourth"),
    ]


def test_a_project_on_another_server_has_no_fallbacks() -> None:
    env = {**KEY, "OPENAI_FALLBACK_MODELS": "a", "OPENAI_FALLBACK_API_KEYS": "b"}

    own = Settings.from_env(env).with_overrides({"OPENAI_BASE_URL": "http://elsewhere/v1", "OPENAI_API_KEY": "own"})

    assert [(target.model, target.endpoint.key) for target in targets(own)] == [("gpt-4o-mini", "own")]


def test_a_project_on_the_same_server_keeps_them() -> None:
    env = {**KEY, "OPENAI_FALLBACK_MODELS": "a", "OPENAI_FALLBACK_API_KEYS": "b"}

    own = Settings.from_env(env).with_overrides({"OPENAI_MODEL": "mine"})

    assert [target.model for target in targets(own)] == ["mine", "a"]
    assert own.openai_fallback_api_keys == SecretStr("b")


def test_on_azure_a_fallback_is_a_deployment() -> None:
    azure = {"AZURE_RESOURCE_ENDPOINT": "https://x.openai.azure.com", "AZURE_DEPLOYMENT_NAME": "first"}

    found = targets(Settings.from_env({**KEY, **azure, "OPENAI_PROVIDER": "azure", "OPENAI_FALLBACK_MODELS": "second"}))

    assert [target.endpoint.deployment for target in found] == ["first", "second"]


def test_openrouter_routes_three_by_itself() -> None:
    env = {**KEY, "OPENAI_PROVIDER": "openrouter", "OPENAI_MODEL": "a/a"}
    more = {"OPENAI_FALLBACK_MODELS": "b/b,c/c,d/d,e/e", "OPENAI_FALLBACK_API_KEYS": ",,,own"}

    found = targets(Settings.from_env({**env, **more}))

    assert [(target.model, *target.routed_to) for target in found] == [("a/a", "b/b", "c/c"), ("d/d",), ("e/e",)]


@pytest.mark.parametrize(
    ("first", "second", "served", "is_stand_in"),
    [
        ("x/four", "y/other", "x/four-2024-08-06", False),
        ("x/four", "y/other", "y/other-2024-08-06", True),
        ("x/four-mini", "x/four", "x/four-mini-2024-07-18", False),
        ("x/four-mini", "x/four", "x/four-2024-08-06", True),
        ("x/four", "x/four-mini", "x/four-mini", True),
        ("x/four", "y/other", "a gateway's own name", False),
    ],
)
def test_a_stand_in_is_told_by_its_name_though_that_begins_as_anothers(
    first: str, second: str, served: str, is_stand_in: bool
) -> None:
    env = {**KEY, "OPENAI_PROVIDER": "openrouter", "OPENAI_MODEL": first, "OPENAI_FALLBACK_MODELS": second}

    [target] = targets(Settings.from_env(env))

    assert target.is_stood_in_for_by(served) is is_stand_in


def test_names_tell_servers_and_keys_apart_and_no_key() -> None:
    found = [
        targets(Settings.from_env({**KEY, **env}))[0]
        for env in ({}, {"OPENAI_MODEL": "b"}, {"OPENAI_BASE_URL": "http://a/v1"}, {"OPENAI_API_KEY": "second"})
    ]

    assert len({target.account_name for target in found}) == 4
    assert len({target.server_name for target in found}) == 3
    assert all(one.endpoint.key not in one.account_name for one, _ in pairwise(found))
    assert "main" not in repr(found)
