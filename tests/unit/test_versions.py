"""The model version moves when answers may, and only then."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prelabel.config import Settings
from prelabel.core.types import Prompt
from prelabel.store.keys import ProjectRef
from prelabel.store.projects import ProjectState
from prelabel.studio.label_config import TextField, parse_label_config
from prelabel.versions import SHAPING, basis, model_version, settings_apart

XML = """<View><Text name="text" value="$text"/>
<Choices name="intent" toName="text"><Choice value="Refund" background="#f00"/><Choice value="Other"/></Choices>
</View>"""
ENV = {"OPENAI_API_KEY": "sk", "OPENAI_MODEL": "gpt-4o-mini"}

NAMES = st.sampled_from(["m", "m-p0", "m-p0-g1", "gpt-4o", "gpt-4o-mini", "openai/gpt-4o", "o"])
MODELS = NAMES | st.text().map(str.strip).filter(bool)
VERSIONS = st.tuples(
    MODELS, st.none() | st.builds(Prompt, st.integers(1, 12), st.sampled_from(["a", "b"])), st.integers(1, 12)
)


def version(
    env: dict[str, str] | None = None,
    xml: str = XML,
    prompt: Prompt | None = None,
    generation: int = 1,
    project: int = 7,
) -> str:
    state = ProjectState(ProjectRef(project, 1), generation=generation, prompt=prompt)
    return model_version(Settings.from_env({**ENV, **(env or {})}), state, parse_label_config(xml))


@pytest.mark.parametrize(
    ("model", "prompt", "generation", "name"),
    [
        ("gpt-4o-mini", None, 1, "gpt-4o-mini-p0-g1"),
        ("gpt-4o-mini", Prompt(3, "Be strict."), 12, "gpt-4o-mini-p3-g12"),
        ("openai/gpt-4.1:free", None, 1, "openai-gpt-4.1-free-p0-g1"),
        ("./models/Llama 3/", None, 1, ".-models-Llama-3-p0-g1"),
    ],
)
def test_a_version_is_a_readable_name_and_a_hash(model: str, prompt: Prompt | None, generation: int, name: str) -> None:
    found = version({"OPENAI_MODEL": model}, prompt=prompt, generation=generation)

    assert re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{10}}", found)


@pytest.mark.parametrize(
    ("old", "new"), [("#f00", "#0f0"), ("<View>", '<View style="color: red">'), ("<Text", "<Header value='Hi'/><Text")]
)
def test_a_colour_is_no_change(old: str, new: str) -> None:
    assert version(xml=XML.replace(old, new)) == version()


def test_what_answers_do_not_depend_on_is_no_change() -> None:
    env = {
        "LLM_CONCURRENCY": "1",
        "PREDICT_DEADLINE": "9",
        "OPENAI_API_KEY": "sk-2",
        "PORT": "1234",
        "LOG_LEVEL": "DEBUG",
    }

    assert version(env, project=8) == version()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('value="Other"', 'value="Others"'),
        ('value="Other"', 'value="Other" hint="all else"'),
        ('value="Other"', 'value="Other" alias="o"'),
        ('toName="text"', 'toName="text" choice="multiple"'),
        ("$text", "$body"),
    ],
)
def test_another_label_or_control_is_another_version(old: str, new: str) -> None:
    assert version(xml=XML.replace(old, new)) != version()


@pytest.mark.parametrize(
    "env",
    [
        {"OPENAI_MODEL": "gpt-4o"},
        {"OPENAI_PROVIDER": "openrouter"},
        {"TEMPERATURE": "0.5"},
        {"DEFAULT_PROMPT": "Be strict."},
        {"PROMPT_TEMPLATE": "{text} {prompt}"},
        {"USE_INTERNAL_PROMPT_TEMPLATE": "0"},
        {"LABELING_METHOD": "ensemble"},
        {"ESCALATION_MODEL": "gpt-4o"},
        {"NUM_RESPONSES": "3"},
    ],
)
def test_another_model_or_prompt_is_another_version(env: dict[str, str]) -> None:
    assert version(env) != version()


def test_a_promoted_prompt_and_a_generation_are_other_versions() -> None:
    versions = [
        version(),
        version(prompt=Prompt(1, "a")),
        version(prompt=Prompt(1, "b")),
        version(prompt=Prompt(2, "a")),
        version(generation=2),
    ]

    assert len(set(versions)) == 5


def test_a_promoted_prompt_hides_the_default() -> None:
    prompt = Prompt(1, "Be strict.")

    assert version({"DEFAULT_PROMPT": "Be kind."}, prompt=prompt) == version(prompt=prompt)


def based(env: dict[str, str] | None = None, *, reasoning: bool = False, generation: int = 1) -> str:
    config = replace(parse_label_config(XML), reasoning_field=TextField("reasoning", "text") if reasoning else None)
    state = ProjectState(ProjectRef(7, 1), generation=generation)
    return basis(Settings.from_env({**ENV, **(env or {})}), state, config)


def test_whatever_shapes_an_llms_answers_is_another_basis(tmp_path: Path) -> None:
    (tmp_path / "glossary.yaml").write_text("SLA: an agreement")
    bases = [
        based(),
        based(reasoning=True),
        based(generation=2),
        based({"FEW_SHOT_EXAMPLES": "4"}),
        based({"NUM_RESPONSES": "3"}),
        based({"OPENAI_MODEL": "gpt-4o"}),
        based({"GLOSSARY_FILE": str(tmp_path / "glossary.yaml")}),
        based({"CONTEXT_DIR": str(tmp_path)}),
    ]

    assert len(set(bases)) == len(bases)
    assert based({"RATIONALE": "1"}) == based(reasoning=True)


def test_who_is_asked_beside_an_llm_is_no_other_basis() -> None:
    assert based({"LABELING_METHOD": "llm", "ESCALATION_MODEL": "gpt-4o"}) == based()


@given(VERSIONS, VERSIONS)
def test_no_version_is_part_of_another(
    one: tuple[str, Prompt | None, int], two: tuple[str, Prompt | None, int]
) -> None:
    """Label Studio filters predictions by substring."""
    assume(one != two)
    first, second = (
        version({"OPENAI_MODEL": model}, prompt=prompt, generation=number) for model, prompt, number in (one, two)
    )

    assert first not in second
    assert second not in first


@pytest.mark.parametrize(
    ("env", "names"),
    [
        ({}, ()),
        ({"OPENAI_MODEL": "gpt-4o"}, ("OPENAI_MODEL",)),
        ({"OPENAI_MODEL": "m-p0-g1"}, ("OPENAI_MODEL",)),
        ({"OPENAI_API_KEY": ""}, ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_PROVIDER")),
        *(
            (
                env,
                SHAPING,
            )
            for env in ({"OPENAI_PROVIDER": "openrouter"}, {"TEMPERATURE": "0.5"}, {"DEFAULT_PROMPT": "Be strict."})
        ),
    ],
)
def test_two_versions_of_a_project_tell_what_settings_may_differ(env: dict[str, str], names: tuple[str, ...]) -> None:
    assert settings_apart(version(), version(env)) == settings_apart(version(env), version()) == names


def test_another_prompt_or_generation_tells_of_another_redis() -> None:
    other = ("REDIS_URL", "LABEL_STUDIO_URL")

    assert settings_apart(version(), version(prompt=Prompt(1, "a"))) == other
    assert settings_apart(version(), version(generation=2)) == other


def test_a_version_that_is_not_ours_tells_nothing() -> None:
    assert settings_apart(version(), "my-llm") == ()
