"""What a request costs, and who says so."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.config import Settings
from prelabel.core.types import Usage
from prelabel.llm.endpoint import targets
from prelabel.llm.exchange import ChatReply
from prelabel.llm.pricing import Pricing, batched, stated_cost

KEY = {"OPENAI_API_KEY": "key"}
PRICES = {"LLM_PRICE_INPUT": "2", "LLM_PRICE_OUTPUT": "10"}
OWN = {"OPENAI_BASE_URL": "http://localhost:8000/v1"}
AZURE = {
    **KEY,
    "OPENAI_PROVIDER": "azure",
    "AZURE_RESOURCE_ENDPOINT": "https://acme.openai.azure.com",
    "AZURE_DEPLOYMENT_NAME": "tickets",
}


def cost(
    env: dict[str, str],
    place: int = 0,
    model: str = "gpt-4o-mini-2024-07-18",
    stated: float | None = None,
    *,
    is_batch: bool = False,
) -> float | None:
    """Of a million prompt tokens, 400,000 of them cached, and a million completion tokens.

    :param place: of the model that was asked: 0 for the main one, then its fallbacks.
    """
    settings = Settings.from_env(env)
    pricing = Pricing(targets(settings)[place], settings)
    return pricing.cost(million(400_000, 1_000_000, model, stated), is_batch=is_batch)


def million(cached: int, completion: int, model: str = "gpt-4o-mini", stated: float | None = None) -> ChatReply:
    """A reply to a million tokens."""
    return ChatReply(
        "", prompt_tokens=1_000_000, cached_tokens=cached, completion_tokens=completion, cost=stated, model=model
    )


@pytest.mark.parametrize("env", [KEY, AZURE])
def test_a_known_model_at_its_provider_costs_what_the_table_says(env: dict[str, str]) -> None:
    assert cost(env) == pytest.approx(0.6 * 0.15 + 0.4 * 0.075 + 0.6)


@pytest.mark.parametrize(
    ("env", "model"),
    [
        (OWN, "gpt-4o-mini"),
        ({"OPENAI_BASE_URL": "https://gateway.example.com/v1"}, "gpt-4o-mini"),
        ({"OPENAI_PROVIDER": "ollama", "OPENAI_MODEL": "qwen2.5:3b"}, "qwen2.5:3b"),
        (KEY, "gpt-of-tomorrow"),
        (KEY, "text-embedding-3-small"),
    ],
)
def test_an_unknown_price_is_unknown_and_not_nothing(env: dict[str, str], model: str) -> None:
    """The last has a price of its input only."""
    assert cost(env, model=model) is None


@pytest.mark.parametrize("env", [KEY, OWN, AZURE, {"OPENAI_PROVIDER": "ollama"}])
def test_the_settings_prices_go_before_the_table(env: dict[str, str]) -> None:
    assert cost({**env, **PRICES}) == 12


def test_the_table_has_batch_prices() -> None:
    """Of gpt-4o-mini, what is cached costs the same in a batch."""
    assert cost(KEY, is_batch=True) == pytest.approx(0.6 * 0.075 + 0.4 * 0.075 + 0.3)


def test_a_batch_costs_half_where_the_table_has_no_batch_price() -> None:
    live = cost(AZURE)

    assert live is not None
    assert cost(AZURE, is_batch=True) == pytest.approx(live / 2)


def test_the_settings_prices_are_halved_in_a_batch() -> None:
    assert cost({**KEY, **PRICES}, is_batch=True) == 6
    assert cost(OWN, is_batch=True) is None


def test_the_settings_prices_are_the_main_models() -> None:
    fallbacks = "gpt-4o-mini,gpt-4o-mini@http://localhost:9000/v1"
    env = {**KEY, **PRICES, "OPENAI_MODEL": "gpt-5", "OPENAI_FALLBACK_MODELS": fallbacks}

    assert [cost(env, place) for place in range(3)] == [12, pytest.approx(0.72), None]


def test_a_model_that_the_server_itself_turned_to_is_not_the_main_one() -> None:
    env = {**KEY, **PRICES, "OPENAI_PROVIDER": "openrouter", "OPENAI_MODEL": "a/b"}
    env["OPENAI_FALLBACK_MODELS"] = "openai/gpt-4o-mini"

    assert cost(env, model="openai/gpt-4o-mini") == pytest.approx(0.72)


@pytest.mark.parametrize("stated", [0.0, 0.25])
def test_what_openrouter_states_goes_before_all(stated: float) -> None:
    fallback = {**KEY, "OPENAI_FALLBACK_MODELS": "a/b@https://openrouter.ai/api/v1"}

    assert cost({**KEY, **PRICES, "OPENAI_PROVIDER": "openrouter"}, stated=stated) == stated
    assert cost(fallback, place=1, stated=stated) == stated


def test_what_other_servers_state_is_in_units_of_their_own() -> None:
    assert cost(OWN, stated=0.25) is None


def test_a_server_that_counts_no_tokens_leaves_the_cost_unknown() -> None:
    settings = Settings.from_env({**OWN, **PRICES})
    free = settings.model_copy(update={"llm_price_input": 0, "llm_price_output": 0})
    [target] = targets(settings)

    assert Pricing(target, settings).cost(ChatReply("{}")) is None
    assert Pricing(target, free).cost(ChatReply("{}")) == 0


@pytest.mark.parametrize(("cached", "completion", "dollars"), [(2_000_000, 0, 0.075), (0, -5, None), (-5, 0, None)])
def test_a_server_that_miscounts_breaks_nothing(cached: int, completion: int, dollars: float | None) -> None:
    settings = Settings.from_env(KEY)
    [target] = targets(settings)

    found = Pricing(target, settings).cost(million(cached, completion))

    assert found == (dollars if dollars is None else pytest.approx(dollars))


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, 0.95),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 0.21),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": 0, "is_byok": True}, None),
        ({"cost": 0, "is_byok": False}, 0),
        ({}, None),
        ({"cost": {"total_cost": 1}}, None),
        ({"cost": "1"}, None),
        ({"cost": True}, None),
        ({"cost": -1}, None),
        ({"cost": float("nan")}, None),
    ],
)
def test_a_stated_cost_is_all_that_is_paid(usage: dict[str, Any], dollars: float | None) -> None:
    assert stated_cost(usage) == (dollars if dollars is None else pytest.approx(dollars))


@given(st.lists(st.none() | st.floats(0, 10)))
def test_a_sum_is_unknown_as_soon_as_one_price_is(costs: list[float | None]) -> None:
    usage = Usage()

    for each in costs:
        usage.add(prompt_tokens=3, cached_tokens=2, completion_tokens=1, cost=each)

    known = [each for each in costs if each is not None]
    total = pytest.approx(sum(known)) if len(known) == len(costs) else None
    count = len(costs)
    assert usage == Usage(count, 3 * count, 2 * count, count, usage.cost)
    assert usage.cost == total


def test_tokens_of_batches_cost_half_of_the_main_models_price() -> None:
    settings = Settings.from_env({**KEY, **PRICES, "OPENAI_FALLBACK_MODELS": "gpt-4o"})

    assert batched(settings, 1_000_000, 1_000_000) == 6


def test_tokens_of_batches_at_a_server_of_ones_own_have_no_known_price() -> None:
    assert batched(Settings.from_env(OWN), 1_000_000, 1_000_000) is None
