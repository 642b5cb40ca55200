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
    name = "weak-model" if settings.openai_provider == "local" else settings.openai_model
    model = re.sub(r"[^\w.]+", "-", name).strip("-")
    return f"{model}-p{state.prompt.version if state.prompt else 0}-g{state.generation}-{digest}"
