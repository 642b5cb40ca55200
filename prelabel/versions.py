"""The model version: one string for everything that answers depend on.

Label Studio hides scores and predicts everything anew when it moves, so it moves only when somebody means it. Its
fixed-length hash at the end keeps one version from being part of another's name, since Label Studio filters versions by
substring.
"""

import hashlib
import json
import re
from collections.abc import Sequence

from prelabel.config import Settings
from prelabel.core.prompt import INSTRUCTIONS_VERSION
from prelabel.store.projects import ProjectState
from prelabel.studio.label_config import LabelConfig

HASH_LENGTH = 10
WITHOUT_LLM = "weak-model"
SHAPING = (
    *("OPENAI_PROVIDER", "TEMPERATURE", "DEFAULT_PROMPT", "PROMPT_TEMPLATE", "USE_INTERNAL_PROMPT_TEMPLATE"),
    *("LABELING_METHOD", "ESCALATION_MODEL", "NUM_RESPONSES"),
)
"""Settings that shape answers and are not in a version's name."""
FORM = re.compile(rf"(?P<model>.*)-p(?P<prompt>\d+)-g(?P<generation>\d+)-[0-9a-f]{{{HASH_LENGTH}}}", re.DOTALL)


def model_version(settings: Settings, state: ProjectState, config: LabelConfig) -> str:
    """``<model>-p<prompt>-g<generation>-<hash>``, such as ``gpt-4o-mini-p3-g1-5f0c2ab91d``.

    :param settings: with the project's own over the environment's.
    """
    depends_on = [
        *_shaping(settings, state, config),
        settings.labeling_method,
        settings.escalation_model,
        state.generation,
    ]
    digest = _digest(depends_on)
    without = "rules" if settings.method == "rules" else WITHOUT_LLM
    name = settings.openai_model if settings.uses_llm else without
    model = re.sub(r"[^\w.]+", "-", name).strip("-")
    return f"{model}-p{state.prompt.version if state.prompt else 0}-g{state.generation}-{digest}"


def basis(settings: Settings, state: ProjectState, config: LabelConfig) -> str:
    """What an LLM's answers in one generation depend on: ten hexadecimal digits.

    Of the reviewed tickets that it is shown only how many they are: a new generation asks anew, with those there are.

    :param settings: as for :func:`model_version`, or with another model.
    :param config: without its reasoning field where no rationale is to be shown.
    """
    shown = [settings.few_shot_examples, settings.glossary_file, settings.context_dir]
    is_reasoned = settings.rationale == "1" or config.reasoning_field is not None
    return _digest([*_shaping(settings, state, config), *shown, is_reasoned, state.generation])


def _shaping(settings: Settings, state: ProjectState, config: LabelConfig) -> list[object]:
    # The main model alone: fallbacks step in for minutes, and adding one must not have everything predicted anew.
    return [
        INSTRUCTIONS_VERSION,
        state.prompt.text if state.prompt else settings.default_prompt_text,
        settings.prompt_template,
        settings.use_internal_prompt_template,
        config.fingerprint,
        settings.openai_provider,
        settings.openai_model,
        settings.temperature,
        settings.num_responses,
    ]


def _digest(depends_on: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:HASH_LENGTH]


def settings_apart(one: str, other: str) -> tuple[str, ...]:
    """The settings of which at least one differs where one project has these two versions, as far as they tell.

    Prompts and generations are kept in Redis by Label Studio's address, so their numbers tell of another place. Empty
    if the versions are the same, or one is of a form that is not ours.
    """
    ours, theirs = FORM.fullmatch(one), FORM.fullmatch(other)
    if ours is None or theirs is None or one == other:
        return ()
    if ours.group("prompt", "generation") != theirs.group("prompt", "generation"):
        return ("REDIS_URL", "LABEL_STUDIO_URL")
    if ours["model"] == theirs["model"]:
        return SHAPING
    if "rules" in {ours["model"], theirs["model"]}:
        return ("LABELING_METHOD",)
    if WITHOUT_LLM in {ours["model"], theirs["model"]}:
        return ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_PROVIDER")
    return ("OPENAI_MODEL",)
