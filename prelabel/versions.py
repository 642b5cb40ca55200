"""The model version: one string for everything that answers depend on.

Label Studio hides scores and predicts everything anew when it moves, so it moves only when somebody means it. Its
fixed-length hash at the end keeps one version from being part of another's name, since Label Studio filters versions by
substring.
"""

import hashlib
import json
import re

from prelabel.config import Settings
from prelabel.core.prompt import INSTRUCTIONS_VERSION
from prelabel.store.projects import ProjectState
from prelabel.studio.label_config import LabelConfig

HASH_LENGTH = 10
WITHOUT_LLM = "weak-model"
FORM = re.compile(rf"(?P<model>.*)-p(?P<prompt>\d+)-g(?P<generation>\d+)-[0-9a-f]{{{HASH_LENGTH}}}", re.DOTALL)


def model_version(settings: Settings, state: ProjectState, config: LabelConfig) -> str:
    """``<model>-p<prompt>-g<generation>-<hash>``, such as ``gpt-4o-mini-p3-g1-5f0c2ab91d``.

    :param settings: with the project's own over the environment's.
    """
    prompt = state.prompt.text if state.prompt else settings.default_prompt_text
    # The main model alone: fallbacks step in for minutes, and adding one must not have everything predicted anew.
    depends_on = [
        INSTRUCTIONS_VERSION,
        prompt,
        settings.prompt_template,
        settings.use_internal_prompt_template,
        config.fingerprint,
        settings.openai_provider,
        settings.openai_model,
        settings.temperature,
        state.generation,
    ]
    digest = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:HASH_LENGTH]
    name = WITHOUT_LLM if settings.openai_provider == "local" else settings.openai_model
    model = re.sub(r"[^\w.]+", "-", name).strip("-")
    return f"{model}-p{state.prompt.version if state.prompt else 0}-g{state.generation}-{digest}"


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
        return ("OPENAI_PROVIDER", "TEMPERATURE", "DEFAULT_PROMPT", "PROMPT_TEMPLATE", "USE_INTERNAL_PROMPT_TEMPLATE")
    if WITHOUT_LLM in {ours["model"], theirs["model"]}:
        return ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_PROVIDER")
    return ("OPENAI_MODEL",)
